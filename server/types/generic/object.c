/* OBJECT: how a value is kept. None of it counts as a use of the key. */
#include <limits.h>

#include "server/keyspace/access.h"
#include "server/types/generic/generic_internal.h"

/* The key at argument 2; NULL after a null was answered. */
static const struct record *object_of(struct command_context *context) {
    struct key key = context_key(context, 2);
    const struct record *record = context_peek(context, &key);
    if (!record) reply_null(context->reply);
    return record;
}

static const char *encoding_name(const struct command_context *context,
                                 const struct record *record) {
    return databases_type(context->databases, record)->encoding_name(record);
}

void generic_object_encoding(struct command_context *context) {
    const struct record *record = object_of(context);
    if (record) reply_bulk_text(context->reply, encoding_name(context, record));
}

void generic_object_freq(struct command_context *context) {
    const struct record *record = object_of(context);
    const struct memory_options *options = &context->types->memory;
    if (!record) return;
    if (memory_is_lfu(options)) {
        reply_integer(context->reply, access_counter(options, record, context->now_ms));
        return;
    }
    reply_error(context->reply,
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. "
                "Please note that when switching between policies at runtime LRU and LFU data "
                "will take some time to adjust.");
}

void generic_object_idletime(struct command_context *context) {
    const struct record *record = object_of(context);
    if (!record) return;
    if (memory_is_lfu(&context->types->memory)) {
        reply_error(context->reply,
                    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note "
                    "that when switching between policies at runtime LRU and LFU data will take "
                    "some time to adjust.");
        return;
    }
    reply_integer(context->reply, access_idle_ms(record, context->now_ms) / 1000);
}

/* No two keys share a value, but clients know small integers as shared for ever. */
void generic_object_refcount(struct command_context *context) {
    enum { SHARED_INTEGERS = 10000 };
    const struct record *record = object_of(context);
    if (!record) return;
    bool is_shared = record_type(record) == RECORD_STRING &&
                     strcmp(encoding_name(context, record), "int") == 0 &&
                     record_integer(record) >= 0 && record_integer(record) < SHARED_INTEGERS;
    reply_integer(context->reply, is_shared ? INT_MAX : 1);
}

void generic_object_help(struct command_context *context) {
    static const char *const lines[] = {
        "ENCODING <key>",
        "    The name of the form in which the value of <key> is kept.",
        "FREQ <key>",
        "    How often <key> is used: a logarithmic counter, known under LFU policies only.",
        "IDLETIME <key>",
        "    Seconds since <key> was last used.",
        "REFCOUNT <key>",
        "    The number of references to the value of <key>.",
        NULL,
    };
    context_help(context, lines);
}

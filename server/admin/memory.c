/* MEMORY: what keys cost. */
#include "server/admin/admin_internal.h"
#include "server/base/mem.h"

enum { DEFAULT_SAMPLES = 5 };

void admin_memory_usage(struct command_context *context) {
    int64_t samples = DEFAULT_SAMPLES;
    for (uint32_t i = 3; i < context->argc; i += 2) {
        bool is_samples = context_argument_is(context, i, "SAMPLES") && i + 1 < context->argc;
        if (is_samples && !context_integer(context, i + 1, &samples, NULL)) return;
        if (!is_samples || samples < 0) {
            reply_syntax_error(context->reply);
            return;
        }
    }
    struct key key = context_key(context, 2);
    const struct record *record = context_peek(context, &key);
    if (!record) {
        reply_null(context->reply);
        return;
    }
    const struct data_type *type = databases_type(context->databases, record);
    size_t bytes = record_memory_used(record) + type->memory_used(record, (size_t)samples);
    reply_integer(context->reply, (int64_t)bytes);
}

void admin_memory_purge(struct command_context *context) {
    mem_purge();
    reply_ok(context->reply);
}

void admin_memory_help(struct command_context *context) {
    static const char *const lines[] = {
        "PURGE",
        "    Give unused pages back to the operating system.",
        "USAGE <key> [SAMPLES <count>]",
        "    Bytes that a key and its value take. Of a collection, <count> elements are looked",
        "    at and the rest is estimated (default: 5; 0: all of them).",
        NULL,
    };
    context_help(context, lines);
}

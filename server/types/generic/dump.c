/* DUMP and RESTORE: a value as a string, and back. */
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/keyspace/access.h"
#include "server/rdb/rdb_dump.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_writer.h"
#include "server/types/generic/generic_internal.h"

void generic_dump(struct command_context *context) {
    struct key key = context_key(context, 1);
    const struct record *record = context_find(context, &key);
    if (!record) {
        reply_null(context->reply);
        return;
    }
    const struct data_type *type = databases_type(context->databases, record);
    struct rdb_writer writer;
    rdb_writer_init(&writer,
                    &(struct rdb_writer_options){.has_checksum = true, .is_compressing = true});
    rdb_write_u8(&writer, type->rdb_type(record));
    type->save(record, &writer);
    rdb_write_dump_footer(&writer);
    reply_bulk(context->reply, buffer_view(&writer.buffer));
    rdb_writer_deinit(&writer);
}

struct restore_options {
    int64_t idle_seconds; /* -1: not given */
    int64_t frequency;    /* -1: not given */
    bool replace;
    bool is_absolute;
};

static bool parse_restore_options(struct command_context *context, struct restore_options *out) {
    *out = (struct restore_options){.idle_seconds = -1, .frequency = -1};
    for (uint32_t i = 4; i < context->argc; i++) {
        bool has_value = i + 1 < context->argc;
        if (context_argument_is(context, i, "REPLACE")) {
            out->replace = true;
        } else if (context_argument_is(context, i, "ABSTTL")) {
            out->is_absolute = true;
        } else if (context_argument_is(context, i, "IDLETIME") && has_value &&
                   out->frequency == -1) {
            if (!context_integer(context, ++i, &out->idle_seconds, NULL)) return false;
            if (out->idle_seconds < 0) {
                reply_error(context->reply, "ERR Invalid IDLETIME value, must be >= 0");
                return false;
            }
        } else if (context_argument_is(context, i, "FREQ") && has_value &&
                   out->idle_seconds == -1) {
            if (!context_integer(context, ++i, &out->frequency, NULL)) return false;
            if (out->frequency < 0 || out->frequency > 255) {
                reply_error(context->reply, "ERR Invalid FREQ value, must be >= 0 and <= 255");
                return false;
            }
        } else {
            reply_syntax_error(context->reply);
            return false;
        }
    }
    return true;
}

/* The type that loads values of this RDB type, or NULL. */
static const struct data_type *type_that_loads(const struct command_context *context,
                                               uint8_t rdb_type) {
    for (unsigned code = 0; code < RECORD_TYPE_COUNT; code++) {
        const struct data_type *type = databases_type_of(context->databases, code);
        if (type && type->loads(rdb_type)) return type;
    }
    return NULL;
}

/* Reads the value in `content`. NULL when it is no good: an empty collection is not, either. */
static struct record *load_value(struct command_context *context, struct bytes content,
                                 struct bytes name) {
    if (content.len == 0) return NULL;
    const struct data_type *type = type_that_loads(context, content.data[0]);
    if (!type) return NULL;
    const struct data_type_load_context load_context = {
        .options = context->types,
        .hash_seed = databases_seed(context->databases),
        .is_deep_check = true,
    };
    struct rdb_reader reader;
    struct record *record = NULL;
    rdb_reader_init_memory(&reader, bytes_from(content, 1));
    enum status status = type->load(content.data[0], &reader, name, &load_context, &record);
    rdb_reader_deinit(&reader);
    return status == STATUS_OK ? record : NULL;
}

/* The payload's value under the key's name; NULL after an error was answered. */
static struct record *restore_value(struct command_context *context, struct bytes name) {
    struct bytes content;
    if (rdb_dump_open(context->argv[3], &content) != STATUS_OK) {
        reply_error(context->reply, "ERR DUMP payload version or checksum are wrong");
        return NULL;
    }
    struct record *record = load_value(context, content, name);
    if (!record) reply_error(context->reply, "ERR Bad data format");
    return record;
}

/* A deadline that depends on the clock goes on as the absolute one that it has become. */
static void propagate_restore(struct command_context *context, int64_t deadline_ms) {
    if (!context->is_journaled) return;
    uint32_t count = context->argc;
    struct bytes *words = mem_alloc((count + 1) * sizeof(*words));
    for (uint32_t i = 0; i < count; i++)
        words[i] = context->argv[i];
    char digits[NUMBER_TEXT_MAX];
    words[2] = bytes_of(digits, number_format_i64(deadline_ms, digits));
    words[count] = BYTES_LITERAL("ABSTTL");
    context_propagate(context, words, count + 1);
    mem_free(words);
}

/* The key's deadline has passed before it came to be: only the old value goes. */
static void restore_expired(struct command_context *context, const struct key *key,
                            bool was_there) {
    if (!was_there) return;
    const struct bytes words[] = {context->types->lazy_server_del ? BYTES_LITERAL("UNLINK")
                                                                  : BYTES_LITERAL("DEL"),
                                  key->name};
    context_changed(context, key, EVENT_GENERIC, "del");
    context_propagate(context, words, 2);
}

void generic_restore(struct command_context *context) {
    struct restore_options options;
    if (!parse_restore_options(context, &options)) return;
    struct key key = context_key(context, 1);
    if (!options.replace && context_peek(context, &key)) {
        reply_error(context->reply, "BUSYKEY Target key name already exists.");
        return;
    }
    int64_t ttl_ms;
    if (!context_integer(context, 2, &ttl_ms, NULL)) return;
    if (ttl_ms < 0) {
        reply_error(context->reply, "ERR Invalid TTL value, must be >= 0");
        return;
    }
    struct record *record = restore_value(context, key.name);
    if (!record) return;

    struct table_entry entry;
    bool was_there = context_find_to_remove(context, &key, &entry);
    if (was_there) generic_delete(context, &key, &entry, context->types->lazy_server_del);
    bool is_relative = ttl_ms != 0 && !options.is_absolute;
    int64_t deadline_ms = ttl_ms;
    if (is_relative && __builtin_add_overflow(ttl_ms, context->now_ms, &deadline_ms))
        deadline_ms = INT64_MAX;
    if (deadline_ms != 0 && deadline_ms <= context->now_ms && context->is_primary) {
        keyspace_destroy_record(context->databases, record, true);
        restore_expired(context, &key, was_there);
        reply_ok(context->reply);
        return;
    }
    if (deadline_ms != 0) record = record_with_deadline(record, true, deadline_ms);
    context_insert_take(context, &key, record);
    bool is_lfu = memory_is_lfu(&context->types->memory);
    if (is_lfu && options.frequency >= 0)
        record_set_access(record, access_counted(context->now_ms, (uint32_t)options.frequency));
    if (!is_lfu && options.idle_seconds > 0)
        record_set_access(record,
                          access_clock_idle(context->now_ms, (uint64_t)options.idle_seconds));
    context_changed(context, &key, EVENT_GENERIC, "restore");
    if (is_relative) propagate_restore(context, deadline_ms);
    reply_ok(context->reply);
}

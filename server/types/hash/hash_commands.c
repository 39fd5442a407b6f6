/* Reading and writing fields. */
#include <math.h>

#include "server/types/hash/hash_internal.h"
#include "server/types/table_piece.h"

/* -- reading ----------------------------------------------------------------------------------- */

/* The hash at argument 1 for reading; NULL when absent. False after WRONGTYPE was answered. */
static bool find_hash(struct command_context *context, const struct record **out) {
    struct key key = context_key(context, 1);
    bool failed;
    *out = context_find_typed(context, &key, RECORD_HASH, &failed);
    return !failed;
}

static void reply_field(struct reply *reply, const struct record *record, struct bytes field) {
    struct listpack_value value;
    if (record != NULL && hash_get(record, field, &value)) {
        element_reply(reply, &value);
    } else {
        reply_null(reply);
    }
}

void hash_hget(struct command_context *context) {
    const struct record *record;
    if (find_hash(context, &record)) reply_field(context->reply, record, context->argv[2]);
}

void hash_hmget(struct command_context *context) {
    const struct record *record;
    if (!find_hash(context, &record)) return;
    reply_array(context->reply, context->argc - 2);
    for (uint32_t i = 2; i < context->argc; i++)
        reply_field(context->reply, record, context->argv[i]);
}

void hash_hexists(struct command_context *context) {
    const struct record *record;
    struct listpack_value value;
    if (!find_hash(context, &record)) return;
    reply_integer(context->reply, record != NULL && hash_get(record, context->argv[2], &value));
}

void hash_hstrlen(struct command_context *context) {
    const struct record *record;
    struct listpack_value value;
    char scratch[NUMBER_TEXT_MAX];
    if (!find_hash(context, &record)) return;
    bool exists = record != NULL && hash_get(record, context->argv[2], &value);
    reply_integer(context->reply, exists ? (int64_t)element_text(&value, scratch).len : 0);
}

void hash_hlen(struct command_context *context) {
    const struct record *record;
    if (!find_hash(context, &record)) return;
    reply_integer(context->reply, record == NULL ? 0 : (int64_t)hash_count(record));
}

static void reply_pair_field(void *arg, const struct hash_pair *pair) {
    element_reply(arg, &pair->field);
}

static void reply_pair_value(void *arg, const struct hash_pair *pair) {
    element_reply(arg, &pair->value);
}

static void reply_pair(void *arg, const struct hash_pair *pair) {
    element_reply(arg, &pair->field);
    element_reply(arg, &pair->value);
}

enum { WALK_FIELDS, WALK_VALUES, WALK_PAIRS };

static void reply_field_record(void *arg, struct record *field) {
    reply_bulk(arg, record_key(field));
}

static void reply_value_record(void *arg, struct record *field) {
    struct hash_pair pair = hash_pair_of(field);
    reply_pair_value(arg, &pair);
}

static void reply_pair_record(void *arg, struct record *field) {
    struct hash_pair pair = hash_pair_of(field);
    reply_pair(arg, &pair);
}

static bool walk_pairs(struct reply_walk *walk, const struct record *record, struct reply *reply,
                       size_t max_bytes) {
    static void (*const of_record[])(void *arg, struct record *field) = {
        reply_field_record, reply_value_record, reply_pair_record};
    static void (*const of_pair[])(void *arg, const struct hash_pair *pair) = {
        reply_pair_field, reply_pair_value, reply_pair};
    const struct hash_table *hash = hash_table_of(record);
    if (hash != NULL) {
        struct table_hasher hasher = hash_hasher(hash);
        return table_walk_piece(walk, &hash->table, &hasher, of_record[walk->what], reply,
                                max_bytes);
    }
    hash_walk(record, 0, 0, of_pair[walk->what], reply);
    return true;
}

static void reply_all(struct command_context *context, uint32_t what) {
    const struct record *record;
    if (!find_hash(context, &record)) return;
    size_t count = record == NULL ? 0 : hash_count(record);
    if (what == WALK_PAIRS) {
        reply_map(context->reply, count);
    } else {
        reply_array(context->reply, count);
    }
    if (record == NULL) return;
    struct key key = context_key(context, 1);
    reply_walk_value(context, &key, record, &(struct reply_walk){.step = walk_pairs, .what = what});
}

void hash_hgetall(struct command_context *context) {
    reply_all(context, WALK_PAIRS);
}

void hash_hkeys(struct command_context *context) {
    reply_all(context, WALK_FIELDS);
}

void hash_hvals(struct command_context *context) {
    reply_all(context, WALK_VALUES);
}

/* -- writing ----------------------------------------------------------------------------------- */

/* A hash that is being written: found or fresh. A fresh one belongs to the keyspace only after
 * finish_write, so nobody sees it empty. */
struct hash_write {
    struct key key;
    struct table_entry entry;
    struct record *record;
    struct hash_policy policy;
};

/* False after WRONGTYPE was answered. */
static bool begin_write(struct command_context *context, struct hash_write *out) {
    out->key = context_key(context, 1);
    out->policy = (struct hash_policy){context->types, rng_next(context->rng)};
    if (!context_find_typed_for_write(context, &out->key, RECORD_HASH, &out->entry)) return false;
    out->record = out->entry.record;
    return true;
}

/* Sets one field; a hash that is absent is begun. True when the field is new. */
static bool write_field(struct hash_write *write, struct bytes field, struct bytes value) {
    if (write->record == NULL) write->record = hash_record_create(write->key.name);
    return hash_set(write->record, field, value, &write->policy);
}

static void finish_write(struct command_context *context, struct hash_write *write,
                         const char *event, uint64_t changes) {
    if (write->entry.record == NULL) context_insert_take(context, &write->key, write->record);
    context_changed(context, &write->key, EVENT_HASH, event);
    context->changes += changes - 1; // One was counted by context_changed.
}

/* Sets the pairs from argument 2 on. False after an error was answered. */
static bool set_pairs(struct command_context *context, int64_t *out_new_count) {
    if (context->argc % 2 != 0) {
        context_arity_error(context);
        return false;
    }
    struct hash_write write;
    if (!begin_write(context, &write)) return false;
    *out_new_count = 0;
    for (uint32_t i = 2; i < context->argc; i += 2)
        *out_new_count += write_field(&write, context->argv[i], context->argv[i + 1]);
    finish_write(context, &write, "hset", (context->argc - 2) / 2);
    return true;
}

void hash_hset(struct command_context *context) {
    int64_t new_count;
    if (set_pairs(context, &new_count)) reply_integer(context->reply, new_count);
}

void hash_hmset(struct command_context *context) {
    int64_t new_count;
    if (set_pairs(context, &new_count)) reply_ok(context->reply);
}

void hash_hsetnx(struct command_context *context) {
    struct hash_write write;
    if (!begin_write(context, &write)) return;
    struct listpack_value value;
    bool exists = write.record != NULL && hash_get(write.record, context->argv[2], &value);
    if (!exists) {
        write_field(&write, context->argv[2], context->argv[3]);
        finish_write(context, &write, "hset", 1);
    }
    reply_integer(context->reply, !exists);
}

void hash_hdel(struct command_context *context) {
    struct hash_write write;
    if (!begin_write(context, &write)) return;
    uint64_t deleted = 0;
    for (uint32_t i = 2; write.record != NULL && i < context->argc; i++)
        deleted += hash_delete(write.record, context->argv[i]);
    if (deleted > 0) {
        finish_write(context, &write, "hdel", deleted);
        if (hash_count(write.record) == 0) {
            context_delete(context, &write.key, &write.entry);
            context_event(context, &write.key, EVENT_GENERIC, "del");
        }
    }
    reply_integer(context->reply, (int64_t)deleted);
}

void hash_hincrby(struct command_context *context) {
    int64_t amount;
    if (!context_integer(context, 3, &amount, NULL)) return;
    struct hash_write write;
    if (!begin_write(context, &write)) return;
    struct bytes field = context->argv[2];
    struct listpack_value old = {.number = 0};
    if (write.record != NULL) (void)hash_get(write.record, field, &old);
    if (old.text.data != NULL && !number_parse_i64(old.text, &old.number)) {
        reply_error(context->reply, "ERR hash value is not an integer");
        return;
    }
    int64_t value;
    if (__builtin_add_overflow(old.number, amount, &value)) {
        reply_error(context->reply, "ERR increment or decrement would overflow");
        return;
    }
    char text[NUMBER_TEXT_MAX];
    write_field(&write, field, bytes_of(text, number_format_i64(value, text)));
    finish_write(context, &write, "hincrby", 1);
    reply_integer(context->reply, value);
}

/* Reads the increment of HINCRBYFLOAT; false after an error was answered. */
static bool read_increment(struct command_context *context, long double *out) {
    if (!context_long_double(context, 3, out)) return false;
    if (!isnan(*out) && !isinf(*out)) return true;
    reply_error(context->reply, "ERR value is NaN or Infinity");
    return false;
}

void hash_hincrbyfloat(struct command_context *context) {
    long double value;
    if (!read_increment(context, &value)) return;
    struct hash_write write;
    if (!begin_write(context, &write)) return;
    struct bytes field = context->argv[2];
    char scratch[NUMBER_TEXT_MAX];
    struct listpack_value old = {.number = 0};
    long double old_value = 0;
    if (write.record != NULL) (void)hash_get(write.record, field, &old);
    if (!number_parse_long_double(element_text(&old, scratch), &old_value)) {
        reply_error(context->reply, "ERR hash value is not a float");
        return;
    }
    value += old_value;
    if (isnan(value) || isinf(value)) {
        reply_error(context->reply, "ERR increment would produce NaN or Infinity");
        return;
    }
    char text[NUMBER_DOUBLE_TEXT_MAX];
    struct bytes result = bytes_of(text, number_format_human(value, text, sizeof(text)));
    write_field(&write, field, result);
    finish_write(context, &write, "hincrbyfloat", 1);
    // Replicas and files must not depend on how another machine adds and prints.
    struct bytes effect[] = {BYTES_LITERAL("HSET"), write.key.name, field, result};
    context_propagate(context, effect, ARRAY_COUNT(effect));
    reply_bulk(context->reply, result);
}

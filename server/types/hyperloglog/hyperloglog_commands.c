#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/types/hyperloglog/hyperloglog_internal.h"
#include "server/types/hyperloglog/registers.h"
#include "server/types/string/string.h"

static const char corrupt_error[] = "INVALIDOBJ Corrupted HLL object detected";

static bool check_valid(struct command_context *context, struct bytes value) {
    if (hll_is_valid(value)) return true;
    reply_error(context->reply, "WRONGTYPE Key is not a valid HyperLogLog string value.");
    return false;
}

/* The value for reading; false after an error was answered. *out_exists false: absent. */
static bool read_value(struct command_context *context, uint32_t argument, char *scratch,
                       struct bytes *out, bool *out_exists) {
    struct key key = context_key(context, argument);
    bool failed;
    const struct record *record = context_find_typed(context, &key, RECORD_STRING, &failed);
    *out_exists = record != NULL;
    if (failed) return false;
    if (record == NULL) return true;
    *out = string_view(record, scratch);
    return check_valid(context, *out);
}

/* A value that is being changed: a copy while it is sparse and small, in place where it is dense.
 */
struct change {
    struct key key;
    struct table_entry entry;
    struct buffer copy;
    uint8_t *in_place; /* NULL: `copy` is the value. */
};

/* False after an error was answered; there is nothing to release then. */
static bool change_begin(struct command_context *context, uint32_t argument,
                         struct change *change) {
    char scratch[NUMBER_TEXT_MAX];
    *change = (struct change){.key = context_key(context, argument)};
    if (!context_find_typed_for_write(context, &change->key, RECORD_STRING, &change->entry))
        return false;
    if (change->entry.record == NULL) {
        hll_create(&change->copy);
        return true;
    }
    struct bytes value = string_view(change->entry.record, scratch);
    if (!check_valid(context, value)) return false;
    if (hll_is_dense(value)) {
        change->in_place =
            string_make_writable(context, &change->key, &change->entry, HLL_DENSE_BYTES);
        return change->in_place != NULL;
    }
    buffer_append_bytes(&change->copy, value);
    return true;
}

/* Puts the copy in place of the value (or of nothing), if there is one. */
static void change_store(struct command_context *context, struct change *change) {
    if (change->in_place != NULL) return;
    struct record *old = change->entry.record;
    struct record *record = string_record_create_text(change->key.name, buffer_view(&change->copy),
                                                      true, old != NULL && record_has_deadline(old),
                                                      old == NULL ? 0 : record_deadline_ms(old));
    context_put_take(context, &change->key, &change->entry, record);
}

static void change_deinit(struct change *change) {
    buffer_deinit(&change->copy);
}

/* -- PFADD -- */

void hyperloglog_pfadd(struct command_context *context) {
    struct change change;
    if (!change_begin(context, 1, &change)) return;
    bool is_changed = change.entry.record == NULL;
    for (uint32_t i = 2; i < context->argc; i++) {
        enum hll_result result =
            change.in_place != NULL
                ? hll_add_dense(change.in_place, context->argv[i])
                : hll_add(&change.copy, context->argv[i], context->types->hll_sparse_max_bytes);
        if (result == HLL_CORRUPT) {
            reply_error(context->reply, corrupt_error);
            change_deinit(&change);
            return;
        }
        is_changed = is_changed || result == HLL_CHANGED;
    }
    if (is_changed) {
        hll_drop_cached_count(change.in_place != NULL ? change.in_place : change.copy.data);
        change_store(context, &change);
        context_changed(context, &change.key, EVENT_STRING, "pfadd");
    }
    reply_integer(context->reply, is_changed);
    change_deinit(&change);
}

/* -- PFCOUNT -- */

static void count_union(struct command_context *context) {
    uint8_t registers[HLL_REGISTERS] = {0};
    for (uint32_t i = 1; i < context->argc; i++) {
        char scratch[NUMBER_TEXT_MAX];
        struct bytes value;
        bool exists;
        if (!read_value(context, i, scratch, &value, &exists)) return;
        if (exists && !hll_collect(value, registers)) {
            reply_error(context->reply, corrupt_error);
            return;
        }
    }
    reply_integer(context->reply, (int64_t)hll_count_registers(registers));
}

/* A count that had to be made is kept in the value: a write, as far as the value is concerned. */
static void keep_count(struct command_context *context, uint64_t count) {
    struct key key = context_key(context, 1);
    struct table_entry entry;
    bool may_change = context->is_primary || context->is_from_primary;
    if (!may_change || !context_find_for_write(context, &key, &entry)) return;
    size_t len = string_len(entry.record);
    uint8_t *bytes = string_make_writable(context, &key, &entry, len);
    if (bytes == NULL) return;
    hll_set_cached_count(bytes, count);
    context_changed(context, &key, EVENT_STRING, "pfcount");
}

void hyperloglog_pfcount(struct command_context *context) {
    if (context->argc > 2) {
        count_union(context);
        return;
    }
    char scratch[NUMBER_TEXT_MAX];
    struct bytes value;
    bool exists;
    uint64_t count = 0;
    if (!read_value(context, 1, scratch, &value, &exists)) return;
    if (exists && !hll_cached_count(value, &count)) {
        if (!hll_count(value, &count)) {
            reply_error(context->reply, corrupt_error);
            return;
        }
        keep_count(context, count);
    }
    reply_integer(context->reply, (int64_t)count);
}

/* -- PFMERGE -- */

static bool collect_sources(struct command_context *context, uint8_t max[HLL_REGISTERS],
                            bool *out_dense) {
    *out_dense = false;
    for (uint32_t i = 1; i < context->argc; i++) {
        char scratch[NUMBER_TEXT_MAX];
        struct bytes value;
        bool exists;
        if (!read_value(context, i, scratch, &value, &exists)) return false;
        if (!exists) continue;
        *out_dense = *out_dense || hll_is_dense(value);
        if (!hll_collect(value, max)) {
            reply_error(context->reply, corrupt_error);
            return false;
        }
    }
    return true;
}

void hyperloglog_pfmerge(struct command_context *context) {
    uint8_t max[HLL_REGISTERS] = {0};
    bool is_dense;
    struct change change;
    if (!collect_sources(context, max, &is_dense) || !change_begin(context, 1, &change)) return;
    if (change.in_place != NULL) // Works on a copy as well: a merge is no small change.
        buffer_append(&change.copy, change.in_place, HLL_DENSE_BYTES);
    change.in_place = NULL;
    if (is_dense) (void)hll_to_dense(&change.copy);
    for (unsigned i = 0; i < HLL_REGISTERS; i++) {
        if (max[i] > 0)
            (void)hll_raise(&change.copy, i, max[i], context->types->hll_sparse_max_bytes);
    }
    hll_drop_cached_count(change.copy.data);
    change_store(context, &change);
    context_changed(context, &change.key, EVENT_STRING, "pfadd");
    reply_ok(context->reply);
    change_deinit(&change);
}

/* -- PFDEBUG, PFSELFTEST -- */

/* Stores a dense form; true when that changed something. */
static bool make_dense(struct command_context *context, struct change *change) {
    if (change->in_place != NULL) return false;
    if (hll_to_dense(&change->copy) == HLL_CORRUPT) {
        reply_error(context->reply, corrupt_error);
        return false;
    }
    change_store(context, change);
    context_changed(context, &change->key, EVENT_STRING, "pfdebug");
    return true;
}

static void reply_registers(struct command_context *context, struct bytes value) {
    uint8_t registers[HLL_REGISTERS] = {0};
    if (!hll_collect(value, registers)) return;
    reply_array(context->reply, HLL_REGISTERS);
    for (unsigned i = 0; i < HLL_REGISTERS; i++)
        reply_integer(context->reply, registers[i]);
}

static void reply_runs(struct command_context *context, struct bytes value) {
    struct buffer text = {0};
    if (hll_is_dense(value)) {
        reply_error(context->reply, "ERR HLL encoding is not sparse");
    } else if (!hll_describe(value, &text)) {
        reply_error(context->reply, corrupt_error);
    } else {
        reply_bulk(context->reply, buffer_view(&text));
    }
    buffer_deinit(&text);
}

static void debug(struct command_context *context, struct change *change) {
    bool is_three = context->argc == 3;
    struct bytes value = change->in_place != NULL ? bytes_of(change->in_place, HLL_DENSE_BYTES)
                                                  : buffer_view(&change->copy);
    if (context_argument_is(context, 1, "GETREG") && is_three) {
        uint32_t errors = context->reply->error_count;
        make_dense(context, change);
        if (context->reply->error_count != errors) return;
        reply_registers(context, change->in_place != NULL ? value : buffer_view(&change->copy));
    } else if (context_argument_is(context, 1, "DECODE") && is_three) {
        reply_runs(context, value);
    } else if (context_argument_is(context, 1, "ENCODING") && is_three) {
        reply_simple(context->reply, hll_is_dense(value) ? "dense" : "sparse");
    } else if (context_argument_is(context, 1, "TODENSE") && is_three) {
        uint32_t errors = context->reply->error_count;
        bool is_changed = make_dense(context, change);
        if (context->reply->error_count == errors) reply_integer(context->reply, is_changed);
    } else {
        char word[64];
        reply_error_format(context->reply, "ERR Unknown PFDEBUG subcommand '%s'",
                           bytes_to_text(context->argv[1], word, sizeof(word)));
    }
}

void hyperloglog_pfdebug(struct command_context *context) {
    struct key key = context_key(context, 2);
    struct change change;
    if (context_peek(context, &key) == NULL) {
        reply_error(context->reply, "ERR The specified key does not exist");
        return;
    }
    if (!change_begin(context, 2, &change)) return;
    debug(context, &change);
    change_deinit(&change);
}

/* Registers keep what is put into them, and estimates stay within four standard errors. */
void hyperloglog_pfselftest(struct command_context *context) {
    struct buffer value = {0};
    const char *error = NULL;
    hll_create(&value);
    for (uint64_t i = 1; error == NULL && i <= 100000; i++) {
        uint64_t element = rng_next(context->rng);
        hll_add(&value, bytes_of(&element, sizeof(element)), context->types->hll_sparse_max_bytes);
        if (i != 100 && i != 1000 && i != 10000 && i != 100000) continue;
        uint64_t count = 0;
        uint64_t tolerated = i * 4 / 100 + 2;
        if (!hll_count(buffer_view(&value), &count) || count + tolerated < i ||
            count > i + tolerated)
            error = "ERR TESTFAILED the estimate is too far from the number of elements";
    }
    buffer_deinit(&value);
    if (error != NULL) {
        reply_error(context->reply, error);
    } else {
        reply_ok(context->reply);
    }
}

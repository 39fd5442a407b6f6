/* Strings that are numbers: INCR and its like. */
#include <math.h>

#include "server/base/number.h"
#include "server/types/string/string_internal.h"

static void add_integer(struct command_context *context, int64_t amount) {
    struct key key = context_key(context, 1);
    struct table_entry entry;
    if (!context_find_typed_for_write(context, &key, RECORD_STRING, &entry)) return;
    int64_t value = 0;
    if (entry.record != NULL && !string_get_i64(entry.record, &value)) {
        reply_not_an_integer(context->reply);
        return;
    }
    if (__builtin_add_overflow(value, amount, &value)) {
        reply_error(context->reply, "ERR increment or decrement would overflow");
        return;
    }
    if (entry.record == NULL) {
        context_insert_take(context, &key, string_record_create_i64(key.name, value, false, 0));
    } else {
        struct record *record = string_record_set_i64(entry.record, value);
        if (record != entry.record)
            context_moved(context, &key, &entry, record, record_has_deadline(record));
    }
    context_changed(context, &key, EVENT_STRING, "incrby");
    reply_integer(context->reply, value);
}

void string_incr(struct command_context *context) {
    add_integer(context, 1);
}

void string_decr(struct command_context *context) {
    add_integer(context, -1);
}

void string_incrby(struct command_context *context) {
    int64_t amount;
    if (context_integer(context, 2, &amount, NULL)) add_integer(context, amount);
}

void string_decrby(struct command_context *context) {
    int64_t amount;
    if (!context_integer(context, 2, &amount, NULL)) return;
    if (amount == INT64_MIN) {
        reply_error(context->reply, "ERR decrement would overflow");
        return;
    }
    add_integer(context, -amount);
}

/* The number that the string says, 0 when it is absent. False after an error was answered. */
static bool read_long_double(struct command_context *context, const struct record *record,
                             long double *out) {
    char scratch[NUMBER_TEXT_MAX];
    *out = 0;
    if (record == NULL || number_parse_long_double(string_view(record, scratch), out)) return true;
    reply_error(context->reply, "ERR value is not a valid float");
    return false;
}

void string_incrbyfloat(struct command_context *context) {
    struct key key = context_key(context, 1);
    struct table_entry entry;
    if (!context_find_typed_for_write(context, &key, RECORD_STRING, &entry)) return;
    long double value;
    long double amount;
    if (!read_long_double(context, entry.record, &value)) return;
    if (!context_long_double(context, 2, &amount)) return;
    value += amount;
    if (isnan(value) || isinf(value)) {
        reply_error(context->reply, "ERR increment would produce NaN or Infinity");
        return;
    }
    char text[NUMBER_DOUBLE_TEXT_MAX];
    struct bytes result = bytes_of(text, number_format_human(value, text, sizeof(text)));
    bool has_deadline = entry.record != NULL && record_has_deadline(entry.record);
    int64_t deadline_ms = has_deadline ? record_deadline_ms(entry.record) : 0;
    context_put_take(context, &key, &entry,
                     string_record_create_text(key.name, result, false, has_deadline, deadline_ms));
    context_changed(context, &key, EVENT_STRING, "incrbyfloat");
    // Replicas and files must not depend on how another machine adds and prints.
    struct bytes effect[] = {BYTES_LITERAL("SET"), key.name, result, BYTES_LITERAL("KEEPTTL")};
    context_propagate(context, effect, ARRAY_COUNT(effect));
    reply_bulk(context->reply, result);
}

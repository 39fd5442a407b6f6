/* Deadlines of keys. A deadline is Unix time in milliseconds; a relative time counts from the
 * moment at which the execution unit began. */
#include <limits.h>

#include "server/base/number.h"
#include "server/types/generic/generic_internal.h"

/* -- setting ------------------------------------------------------------------------------------
 */

enum {
    IF_NONE = 1 << 0,
    IF_ANY = 1 << 1,
    IF_LATER = 1 << 2,
    IF_EARLIER = 1 << 3,
};

struct time_unit {
    int64_t ms;
    bool is_relative;
};

/* The options behind the time; false after an error was answered. */
static bool parse_conditions(struct command_context *context, unsigned *out) {
    unsigned conditions = 0;
    for (uint32_t i = 3; i < context->argc; i++) {
        if (context_argument_is(context, i, "NX")) {
            conditions |= IF_NONE;
        } else if (context_argument_is(context, i, "XX")) {
            conditions |= IF_ANY;
        } else if (context_argument_is(context, i, "GT")) {
            conditions |= IF_LATER;
        } else if (context_argument_is(context, i, "LT")) {
            conditions |= IF_EARLIER;
        } else {
            reply_error_format(context->reply, "ERR Unsupported option %.*s",
                               (int)context->argv[i].len, (const char *)context->argv[i].data);
            return false;
        }
    }
    if ((conditions & IF_NONE) && (conditions & ~(unsigned)IF_NONE)) {
        reply_error(context->reply,
                    "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((conditions & IF_LATER) && (conditions & IF_EARLIER)) {
        reply_error(context->reply, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    *out = conditions;
    return true;
}

/* Argument 2 as a deadline. */
static bool parse_deadline(struct command_context *context, struct time_unit unit, int64_t *out) {
    int64_t value;
    if (!context_integer(context, 2, &value, NULL)) return false;
    int64_t base_ms = unit.is_relative ? context->now_ms : 0;
    if (value > INT64_MAX / unit.ms || value < INT64_MIN / unit.ms ||
        value * unit.ms > INT64_MAX - base_ms) {
        reply_error_format(context->reply, "ERR invalid expire time in '%s' command",
                           context->command->name);
        return false;
    }
    *out = value * unit.ms + base_ms;
    return true;
}

static bool conditions_hold(unsigned conditions, const struct record *record, int64_t deadline_ms) {
    bool has_one = record_has_deadline(record);
    int64_t current_ms = record_deadline_ms(record);
    if ((conditions & IF_NONE) && has_one) return false;
    if ((conditions & IF_ANY) && !has_one) return false;
    /* No deadline is one at the end of time. */
    if ((conditions & IF_LATER) && (!has_one || deadline_ms <= current_ms)) return false;
    if ((conditions & IF_EARLIER) && has_one && deadline_ms >= current_ms) return false;
    return true;
}

/* The deadline is over: the key goes at once, and others are told so rather than a time that their
 * clocks may judge differently. */
static void delete_expired(struct command_context *context, const struct key *key,
                           struct table_entry *entry) {
    bool is_lazy = context->types->lazy_expire;
    generic_delete(context, key, entry, is_lazy);
    const struct bytes words[] = {is_lazy ? BYTES_LITERAL("UNLINK") : BYTES_LITERAL("DEL"),
                                  key->name};
    context_changed(context, key, EVENT_GENERIC, "del");
    context_propagate(context, words, 2);
}

/* The same command with an absolute time, and the conditions in their shortest form. */
static void propagate_deadline(struct command_context *context, int64_t deadline_ms,
                               unsigned conditions) {
    if (!context->is_journaled) return;
    static const struct {
        unsigned condition;
        struct bytes word;
    } options[] = {
        {IF_NONE, {(const uint8_t *)"NX", 2}},
        {IF_ANY, {(const uint8_t *)"XX", 2}},
        {IF_LATER, {(const uint8_t *)"GT", 2}},
        {IF_EARLIER, {(const uint8_t *)"LT", 2}},
    };
    char digits[NUMBER_TEXT_MAX];
    struct bytes words[3 + ARRAY_COUNT(options)] = {
        BYTES_LITERAL("PEXPIREAT"), context->argv[1],
        bytes_of(digits, number_format_i64(deadline_ms, digits))};
    uint32_t count = 3;
    for (size_t i = 0; i < ARRAY_COUNT(options); i++) {
        if (conditions & options[i].condition) words[count++] = options[i].word;
    }
    context_propagate(context, words, count);
}

static void expire(struct command_context *context, struct time_unit unit) {
    unsigned conditions;
    int64_t deadline_ms;
    if (!parse_conditions(context, &conditions)) return;
    if (!parse_deadline(context, unit, &deadline_ms)) return;

    struct key key = context_key(context, 1);
    struct table_entry entry;
    if (!context_find_for_write(context, &key, &entry) ||
        !conditions_hold(conditions, entry.record, deadline_ms)) {
        reply_integer(context->reply, 0);
        return;
    }
    if (deadline_ms <= context->now_ms && context->is_primary) {
        delete_expired(context, &key, &entry);
    } else {
        /* 0 would mean none: what a primary set to the beginning of time is over all the same. */
        context_set_deadline(context, &key, &entry, deadline_ms > 0 ? deadline_ms : 1);
        context_changed(context, &key, EVENT_GENERIC, "expire");
        if (unit.ms != 1 || unit.is_relative) propagate_deadline(context, deadline_ms, conditions);
    }
    reply_integer(context->reply, 1);
}

void generic_expire(struct command_context *context) {
    expire(context, (struct time_unit){.ms = 1000, .is_relative = true});
}

void generic_pexpire(struct command_context *context) {
    expire(context, (struct time_unit){.ms = 1, .is_relative = true});
}

void generic_expireat(struct command_context *context) {
    expire(context, (struct time_unit){.ms = 1000, .is_relative = false});
}

void generic_pexpireat(struct command_context *context) {
    expire(context, (struct time_unit){.ms = 1, .is_relative = false});
}

void generic_persist(struct command_context *context) {
    struct key key = context_key(context, 1);
    const struct record *record = context_peek(context, &key);
    struct table_entry entry;
    if (!record || !record_has_deadline(record) || !context_find_for_write(context, &key, &entry)) {
        reply_integer(context->reply, 0);
        return;
    }
    context_set_deadline(context, &key, &entry, 0);
    context_changed(context, &key, EVENT_GENERIC, "persist");
    reply_integer(context->reply, 1);
}

/* -- asking -------------------------------------------------------------------------------------
 */

enum { NO_KEY = -2, NO_DEADLINE = -1 };

static void reply_deadline(struct command_context *context, struct time_unit unit) {
    struct key key = context_key(context, 1);
    const struct record *record = context_peek(context, &key);
    if (!record || !record_has_deadline(record)) {
        reply_integer(context->reply, record ? NO_DEADLINE : NO_KEY);
        return;
    }
    int64_t ms = record_deadline_ms(record);
    if (unit.is_relative) ms = ms > context->now_ms ? ms - context->now_ms : 0;
    reply_integer(context->reply, unit.ms == 1 ? ms : (ms + unit.ms / 2) / unit.ms);
}

void generic_ttl(struct command_context *context) {
    reply_deadline(context, (struct time_unit){.ms = 1000, .is_relative = true});
}

void generic_pttl(struct command_context *context) {
    reply_deadline(context, (struct time_unit){.ms = 1, .is_relative = true});
}

void generic_expiretime(struct command_context *context) {
    reply_deadline(context, (struct time_unit){.ms = 1000, .is_relative = false});
}

void generic_pexpiretime(struct command_context *context) {
    reply_deadline(context, (struct time_unit){.ms = 1, .is_relative = false});
}

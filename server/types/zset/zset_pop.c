/* Members taken from an end, waited for, or picked by chance. */
#include "server/base/mem.h"
#include "server/types/multi_pop.h"
#include "server/types/table_picks.h"
#include "server/types/zset/zset_internal.h"

enum form {
    FORM_FLAT,   /* member, score, member, score ... */
    FORM_PAIRS,  /* An array for each. */
    FORM_NATIVE, /* Pairs in RESP3, flat in RESP2. */
};

static bool is_paired(const struct reply *reply, enum form form) {
    return form == FORM_PAIRS || (form == FORM_NATIVE && reply_is_resp3(reply));
}

/* Takes `count` members (there are so many) from an end and answers them. */
static void pop_and_reply(struct command_context *context, const struct key *key,
                          struct table_entry *entry, bool is_max, uint64_t count, bool is_paired) {
    struct record *record = entry->record;
    uint64_t size = zset_count(record);
    struct zset_cursor cursor;
    zset_cursor_begin(&cursor, record, is_max ? size - 1 : 0);
    for (uint64_t i = 0; i < count; i++) {
        struct zset_element element = zset_cursor_get(&cursor);
        if (is_paired) reply_array(context->reply, 2);
        element_reply(context->reply, &element.member);
        reply_double(context->reply, element.score);
        if (is_max) {
            zset_cursor_previous(&cursor);
        } else {
            zset_cursor_next(&cursor);
        }
    }
    context_changed(context, key, EVENT_ZSET, is_max ? "zpopmax" : "zpopmin");
    context->changes += count - 1;
    if (count < size) {
        zset_remove_range(record, is_max ? size - count : 0, count);
        return;
    }
    context_delete(context, key, entry);
    context_event(context, key, EVENT_GENERIC, "del");
}

/* -- ZPOPMIN, ZPOPMAX -- */

static void pop(struct command_context *context, bool is_max) {
    int64_t count = 1;
    bool has_count = context->argc > 2;
    if (context->argc > 3) {
        reply_syntax_error(context->reply);
        return;
    }
    if (has_count && !context_integer_in(context, 2, 0, INT64_MAX, &count,
                                         "ERR value is out of range, must be positive"))
        return;
    struct key key = context_key(context, 1);
    struct table_entry entry;
    if (!context_find_typed_for_write(context, &key, RECORD_ZSET, &entry)) return;
    if (entry.record == NULL || count == 0) {
        reply_empty_array(context->reply);
        return;
    }
    uint64_t size = zset_count(entry.record);
    uint64_t taken = (uint64_t)count < size ? (uint64_t)count : size;
    bool pairs = is_paired(context->reply, has_count ? FORM_NATIVE : FORM_FLAT);
    reply_array(context->reply, pairs ? taken : taken * 2);
    pop_and_reply(context, &key, &entry, is_max, taken, pairs);
}

void zset_zpopmin(struct command_context *context) {
    pop(context, false);
}

void zset_zpopmax(struct command_context *context) {
    pop(context, true);
}

/* -- ZMPOP, BZMPOP, BZPOPMIN, BZPOPMAX -- */

/* Answers key and members. The effect is a plain pop of the number that were taken. */
static void pop_several(struct command_context *context, const struct key *key,
                        struct table_entry *entry, bool is_max, int64_t count) {
    uint64_t size = zset_count(entry->record);
    uint64_t taken = (uint64_t)count < size ? (uint64_t)count : size;
    char number[NUMBER_TEXT_MAX];
    const struct bytes effect[] = {is_max ? BYTES_LITERAL("ZPOPMAX") : BYTES_LITERAL("ZPOPMIN"),
                                   key->name, bytes_of(number, number_format_u64(taken, number))};
    reply_array(context->reply, 2);
    reply_bulk(context->reply, key->name);
    reply_array(context->reply, taken);
    pop_and_reply(context, key, entry, is_max, taken, true);
    context_propagate(context, effect, 3);
}

void zset_zmpop(struct command_context *context) {
    struct multi_pop options;
    struct key key;
    struct table_entry entry;
    bool failed;
    if (!multi_pop_parse(context, 1, "MIN", "MAX", &options)) return;
    if (multi_pop_find(context, options.first_key, options.key_count, RECORD_ZSET, &key, &entry,
                       &failed)) {
        pop_several(context, &key, &entry, options.is_far_end, options.count);
    } else if (!failed) {
        reply_null_array(context->reply);
    }
}

void zset_bzmpop(struct command_context *context) {
    struct multi_pop options;
    struct key key;
    struct table_entry entry;
    int64_t timeout_ms;
    bool failed;
    if (!context_timeout_seconds(context, 1, &timeout_ms) ||
        !multi_pop_parse(context, 2, "MIN", "MAX", &options))
        return;
    if (multi_pop_find(context, options.first_key, options.key_count, RECORD_ZSET, &key, &entry,
                       &failed)) {
        pop_several(context, &key, &entry, options.is_far_end, options.count);
        return;
    }
    const struct block_request request = {.first_key = options.first_key,
                                          .key_count = options.key_count,
                                          .timeout_ms = timeout_ms,
                                          .type = RECORD_ZSET};
    if (!failed && !context_block(context, &request)) reply_null_array(context->reply);
}

static void blocking_pop(struct command_context *context, bool is_max) {
    struct key key;
    struct table_entry entry;
    int64_t timeout_ms;
    bool failed;
    uint32_t key_count = context->argc - 2;
    if (!context_timeout_seconds(context, context->argc - 1, &timeout_ms)) return;
    if (multi_pop_find(context, 1, key_count, RECORD_ZSET, &key, &entry, &failed)) {
        const struct bytes effect[] = {is_max ? BYTES_LITERAL("ZPOPMAX") : BYTES_LITERAL("ZPOPMIN"),
                                       key.name};
        reply_array(context->reply, 3);
        reply_bulk(context->reply, key.name);
        pop_and_reply(context, &key, &entry, is_max, 1, false);
        context_propagate(context, effect, 2);
        return;
    }
    const struct block_request request = {
        .first_key = 1, .key_count = key_count, .timeout_ms = timeout_ms, .type = RECORD_ZSET};
    if (!failed && !context_block(context, &request)) reply_null_array(context->reply);
}

void zset_bzpopmin(struct command_context *context) {
    blocking_pop(context, false);
}

void zset_bzpopmax(struct command_context *context) {
    blocking_pop(context, true);
}

/* -- ZRANDMEMBER -- */

struct picks {
    struct reply *reply;
    bool has_scores;
};

static void reply_picked(void *arg, struct record *member) {
    const struct picks *picks = arg;
    struct zset_element element = {{.text = record_key(member)}, zset_record_score(member)};
    zset_reply_element(picks->reply, &element, picks->has_scores);
}

/* `count` different members, as many as there are at the most. */
static void reply_different(struct command_context *context, const struct record *record,
                            size_t count, struct picks *picks) {
    const struct zset_table *set = zset_table_of(record);
    zset_reply_header(context->reply, count, picks->has_scores);
    if (set != NULL && count < zset_count(record)) {
        struct table_hasher hasher = zset_hasher(set);
        table_pick_different(&set->table, &hasher, context->rng, count, reply_picked, picks);
        return;
    }
    // Each is taken with the chance that what is still wanted has among what is still to come.
    size_t left = zset_count(record);
    struct zset_cursor cursor;
    zset_cursor_begin(&cursor, record, 0);
    for (; count > 0; left--) {
        if (rng_below(context->rng, left) < count) {
            struct zset_element element = zset_cursor_get(&cursor);
            zset_reply_element(context->reply, &element, picks->has_scores);
            count--;
        }
        zset_cursor_next(&cursor);
    }
}

/* Each pick among all members. A client may ask for more than it can be sent: who closes it ends
 * the work. */
static void reply_repeated(struct command_context *context, const struct record *record,
                           uint64_t count, const struct picks *picks) {
    zset_reply_header(context->reply, count, picks->has_scores);
    for (; count > 0 && !context->session->close_now; count--) {
        struct zset_element element = zset_random(record, context->rng);
        zset_reply_element(context->reply, &element, picks->has_scores);
    }
}

static bool parse_picks(struct command_context *context, int64_t *out_count, bool *out_scores) {
    if (!context_integer_in(context, 2, -INT64_MAX, INT64_MAX, out_count, NULL)) return false;
    *out_scores = context->argc > 3;
    if (context->argc == 3) return true;
    if (context->argc > 4 || !context_argument_is(context, 3, "WITHSCORES")) {
        reply_syntax_error(context->reply);
        return false;
    }
    if (*out_count < -INT64_MAX / 2 || *out_count > INT64_MAX / 2) {
        reply_error(context->reply, "ERR value is out of range");
        return false;
    }
    return true;
}

void zset_zrandmember(struct command_context *context) {
    struct picks picks = {.reply = context->reply};
    int64_t count = 1;
    bool has_count = context->argc > 2;
    if (has_count && !parse_picks(context, &count, &picks.has_scores)) return;
    const struct record *record;
    if (!zset_find(context, &record)) return;
    if (!has_count) {
        if (record == NULL) {
            reply_null(context->reply);
        } else {
            struct zset_element element = zset_random(record, context->rng);
            element_reply(context->reply, &element.member);
        }
    } else if (record == NULL || count == 0) {
        reply_empty_array(context->reply);
    } else if (count < 0) {
        reply_repeated(context, record, (uint64_t)-count, &picks);
    } else {
        size_t size = zset_count(record);
        reply_different(context, record, (uint64_t)count < size ? (size_t)count : size, &picks);
    }
}

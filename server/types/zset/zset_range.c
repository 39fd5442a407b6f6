/* Ranges by rank, score and member: what they name, and the commands that read, count, store and
 * remove them. */
#include <math.h>
#include <stdlib.h>

#include "server/command/long_reply.h"
#include "server/types/zset/zset_internal.h"

/* -- bounds -- */

/* "1.5", "(1.5", "-inf". */
static bool parse_score(struct bytes text, double *out, bool *out_exclusive) {
    *out_exclusive = text.len > 0 && text.data[0] == '(';
    if (*out_exclusive) text = bytes_from(text, 1);
    *out = 0; // Nothing at all is zero.
    return text.len == 0 || number_parse_double(text, out);
}

/* "-", "+", "[text", "(text". */
static bool parse_lex(struct bytes text, struct lex_bound *out) {
    if (text.len == 0) return false;
    *out = (struct lex_bound){.text = bytes_from(text, 1)};
    switch (text.data[0]) {
    case '-':
        out->kind = LEX_LOWEST;
        return text.len == 1;
    case '+':
        out->kind = LEX_HIGHEST;
        return text.len == 1;
    case '(':
    case '[':
        out->kind = LEX_TEXT;
        out->is_exclusive = text.data[0] == '(';
        return true;
    default:
        return false;
    }
}

bool zset_parse_bounds(struct command_context *context, uint32_t min_argument,
                       uint32_t max_argument, struct zset_range *range) {
    struct bytes min = context->argv[min_argument];
    struct bytes max = context->argv[max_argument];
    switch (range->kind) {
    case RANGE_RANK:
        return context_integer(context, min_argument, &range->start, NULL) &&
               context_integer(context, max_argument, &range->stop, NULL);
    case RANGE_SCORE:
        if (parse_score(min, &range->min, &range->min_is_exclusive) &&
            parse_score(max, &range->max, &range->max_is_exclusive))
            return true;
        reply_error(context->reply, "ERR min or max is not a float");
        return false;
    default:
        if (parse_lex(min, &range->low) && parse_lex(max, &range->high)) return true;
        reply_error(context->reply, "ERR min or max not valid string range item");
        return false;
    }
}

/* -- ranges by member -- */

/* Negative, zero, positive: the member lies before the bound, at it, behind it. */
static int compare_to_bound(struct bytes member, const struct lex_bound *bound) {
    if (bound->kind == LEX_LOWEST) return 1;
    if (bound->kind == LEX_HIGHEST) return -1;
    return bytes_compare(member, bound->text);
}

static bool is_above_low(struct bytes member, const struct zset_range *range) {
    int order = compare_to_bound(member, &range->low);
    return range->low.is_exclusive ? order > 0 : order >= 0;
}

static bool is_below_high(struct bytes member, const struct zset_range *range) {
    int order = compare_to_bound(member, &range->high);
    return range->high.is_exclusive ? order < 0 : order <= 0;
}

static bool is_empty_lex(const struct zset_range *range) {
    if (range->low.kind == LEX_HIGHEST || range->high.kind == LEX_LOWEST) {
        return range->low.kind != range->high.kind || range->low.is_exclusive ||
               range->high.is_exclusive;
    }
    if (range->low.kind == LEX_LOWEST || range->high.kind == LEX_HIGHEST) return false;
    int order = bytes_compare(range->low.text, range->high.text);
    return order > 0 || (order == 0 && (range->low.is_exclusive || range->high.is_exclusive));
}

static struct bytes member_at(const struct record *record, uint64_t rank, char *scratch) {
    struct zset_cursor cursor;
    zset_cursor_begin(&cursor, record, rank);
    struct zset_element element = zset_cursor_get(&cursor);
    return element_text(&element.member, scratch);
}

/* The first rank whose member `is_behind` says true of: of members in order by halving. */
static uint64_t first_rank(const struct record *record, const struct zset_range *range,
                           bool (*is_behind)(struct bytes member, const struct zset_range *range)) {
    char scratch[NUMBER_TEXT_MAX];
    uint64_t low = 0;
    uint64_t high = zset_count(record);
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (is_behind(member_at(record, middle, scratch), range)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static bool is_above_high(struct bytes member, const struct zset_range *range) {
    return !is_below_high(member, range);
}

/* Ranges by member are meant for sets whose scores are all equal. Where they are not, the answer is
 * still one that clients know: what a walk from one end meets. This is that walk: how many members
 * from `rank` on in one direction `says` is true of. */
static uint64_t walk_while(const struct record *record, const struct zset_range *range,
                           uint64_t rank, bool is_reversed, bool expected,
                           bool (*says)(struct bytes member, const struct zset_range *range)) {
    char scratch[NUMBER_TEXT_MAX];
    struct zset_cursor cursor;
    uint64_t count = 0;
    if (rank >= zset_count(record)) return 0;
    zset_cursor_begin(&cursor, record, rank);
    while (zset_cursor_has(&cursor)) {
        struct zset_element element = zset_cursor_get(&cursor);
        if (says(element_text(&element.member, scratch), range) != expected) break;
        count++;
        if (is_reversed) {
            zset_cursor_previous(&cursor);
        } else {
            zset_cursor_next(&cursor);
        }
    }
    return count;
}

/* The last member of the range, in its order, as seen from the head (a table) or the tail (a
 * listpack); false when there is none. */
static bool find_last_by_walking(const struct record *record, const struct zset_range *range,
                                 uint64_t *out_rank) {
    char scratch[NUMBER_TEXT_MAX];
    uint64_t size = zset_count(record);
    if (zset_table_of(record) != NULL) {
        uint64_t prefix = walk_while(record, range, 0, false, true, is_below_high);
        if (prefix == 0) return false;
        *out_rank = prefix - 1;
    } else {
        uint64_t suffix = walk_while(record, range, size - 1, true, false, is_below_high);
        if (suffix == size) return false;
        *out_rank = size - 1 - suffix;
    }
    return is_above_low(member_at(record, *out_rank, scratch), range);
}

static void locate_lex_by_walking(const struct record *record, const struct zset_range *range,
                                  uint64_t *out_first, uint64_t *out_count) {
    char scratch[NUMBER_TEXT_MAX];
    uint64_t size = zset_count(record);
    bool is_table = zset_table_of(record) != NULL;
    bool is_outside = !is_above_low(member_at(record, size - 1, scratch), range) ||
                      !is_below_high(member_at(record, 0, scratch), range);
    if (is_outside && !(is_table && range->is_removal)) return;
    uint64_t offset = (uint64_t)range->offset;
    if (range->is_reversed) {
        // What LIMIT skips is not looked at.
        if (!find_last_by_walking(record, range, out_first) || offset > *out_first) return;
        *out_first -= offset;
        *out_count = walk_while(record, range, *out_first, true, true, is_above_low);
        return;
    }
    *out_first = walk_while(record, range, 0, false, false, is_above_low);
    if (*out_first >= size || !is_below_high(member_at(record, *out_first, scratch), range)) return;
    if (is_table && range->is_count) {
        uint64_t last;
        if (!find_last_by_walking(record, range, &last)) last = size - 1;
        *out_count = last >= *out_first ? last - *out_first + 1 : 0;
        return;
    }
    if (offset >= size - *out_first) return;
    *out_first += offset;
    *out_count = walk_while(record, range, *out_first, false, true, is_below_high);
}

static bool has_one_score(const struct record *record) {
    struct zset_cursor cursor;
    zset_cursor_begin(&cursor, record, 0);
    double first = zset_cursor_get(&cursor).score;
    zset_cursor_begin(&cursor, record, zset_count(record) - 1);
    return zset_cursor_get(&cursor).score == first;
}

/* True when LIMIT's offset is in the answer already. */
static bool locate_lex(const struct record *record, const struct zset_range *range,
                       uint64_t *out_first, uint64_t *out_count) {
    *out_first = *out_count = 0;
    if (is_empty_lex(range) || range->offset < 0) return true;
    if (!has_one_score(record)) {
        locate_lex_by_walking(record, range, out_first, out_count);
        return true;
    }
    uint64_t begin = first_rank(record, range, is_above_low);
    uint64_t end = first_rank(record, range, is_above_high);
    if (begin >= end) return true;
    *out_count = end - begin;
    *out_first = range->is_reversed ? end - 1 : begin;
    return false;
}

/* -- ranges by rank and score -- */

static void locate_rank(const struct record *record, const struct zset_range *range,
                        uint64_t *out_first, uint64_t *out_count) {
    int64_t count = (int64_t)zset_count(record);
    int64_t start = range->start;
    int64_t stop = range->stop;
    *out_first = *out_count = 0;
    if (start < 0) start = start < -count ? 0 : start + count;
    if (stop < 0) stop += count;
    if (stop >= count) stop = count - 1;
    if (start > stop) return;
    *out_count = (uint64_t)(stop - start + 1);
    *out_first = (uint64_t)(range->is_reversed ? count - 1 - start : start);
}

static void locate_score(const struct record *record, const struct zset_range *range,
                         uint64_t *out_first, uint64_t *out_count) {
    *out_first = *out_count = 0;
    if (range->min > range->max ||
        (range->min == range->max && (range->min_is_exclusive || range->max_is_exclusive)))
        return;
    uint64_t begin = zset_rank_of_score(record, range->min, range->min_is_exclusive);
    uint64_t end = zset_rank_of_score(record, range->max, !range->max_is_exclusive);
    if (begin >= end) return;
    *out_count = end - begin;
    *out_first = range->is_reversed ? end - 1 : begin;
}

void zset_locate(const struct record *record, const struct zset_range *range, uint64_t *out_rank,
                 uint64_t *out_count) {
    if (range->kind == RANGE_RANK) {
        locate_rank(record, range, out_rank, out_count);
        return;
    }
    bool has_offset = false;
    if (range->kind == RANGE_SCORE) {
        locate_score(record, range, out_rank, out_count);
    } else {
        has_offset = locate_lex(record, range, out_rank, out_count);
    }
    // A negative offset runs past the end.
    uint64_t offset = has_offset ? 0 : (uint64_t)range->offset;
    if (offset >= *out_count) {
        *out_count = 0;
        return;
    }
    *out_count -= offset;
    *out_rank = range->is_reversed ? *out_rank - offset : *out_rank + offset;
    if (range->count >= 0 && (uint64_t)range->count < *out_count)
        *out_count = (uint64_t)range->count;
}

/* -- ZRANGE and its kin -- */

struct range_command {
    struct zset_range range;
    bool has_scores;
    bool kind_is_open; /* Options may choose it, */
    bool direction_is_open;
    bool is_store;
};

/* `source` is the argument of the key that is read; min, max and options follow. */
static bool parse_range(struct command_context *context, uint32_t source,
                        struct range_command *command) {
    struct zset_range *range = &command->range;
    int64_t limit = -1;
    bool has_kind = false;
    bool has_direction = false;
    for (uint32_t i = source + 3; i < context->argc; i++) {
        uint32_t left = context->argc - i - 1;
        if (!command->is_store && context_argument_is(context, i, "WITHSCORES")) {
            command->has_scores = true;
        } else if (context_argument_is(context, i, "LIMIT") && left >= 2) {
            if (!context_integer(context, i + 1, &range->offset, NULL) ||
                !context_integer(context, i + 2, &limit, NULL))
                return false;
            i += 2;
        } else if (command->direction_is_open && !has_direction &&
                   context_argument_is(context, i, "REV")) {
            has_direction = true;
            range->is_reversed = true;
        } else if (command->kind_is_open && !has_kind && context_argument_is(context, i, "BYLEX")) {
            has_kind = true;
            range->kind = RANGE_LEX;
        } else if (command->kind_is_open && !has_kind &&
                   context_argument_is(context, i, "BYSCORE")) {
            has_kind = true;
            range->kind = RANGE_SCORE;
        } else {
            reply_syntax_error(context->reply);
            return false;
        }
    }
    range->count = limit;
    if (limit != -1 && range->kind == RANGE_RANK) {
        reply_error(context->reply, "ERR syntax error, LIMIT is only supported in combination with "
                                    "either BYSCORE or BYLEX");
        return false;
    }
    if (command->has_scores && range->kind == RANGE_LEX) {
        reply_error(context->reply,
                    "ERR syntax error, WITHSCORES not supported in combination with BYLEX");
        return false;
    }
    bool is_swapped = range->is_reversed && range->kind != RANGE_RANK;
    return zset_parse_bounds(context, source + (is_swapped ? 2 : 1), source + (is_swapped ? 1 : 2),
                             range);
}

enum { WALK_BACKWARDS = 1, WALK_SCORES = 2 };

/* From the rank walk->place on, walk->left elements. */
static bool walk_range(struct reply_walk *walk, const struct record *record, struct reply *reply,
                       size_t max_bytes) {
    size_t begin = reply->out->len;
    uint64_t left = walk->left;
    bool is_backwards = (walk->what & WALK_BACKWARDS) != 0;
    struct zset_cursor cursor;
    zset_cursor_begin(&cursor, record, walk->place);
    for (; left > 0 && reply->out->len - begin < max_bytes; left--) {
        struct zset_element element = zset_cursor_get(&cursor);
        zset_reply_element(reply, &element, (walk->what & WALK_SCORES) != 0);
        if (is_backwards) {
            zset_cursor_previous(&cursor);
        } else {
            zset_cursor_next(&cursor);
        }
    }
    uint64_t done = walk->left - left;
    walk->place = is_backwards ? walk->place - done : walk->place + done;
    walk->left = left;
    return left == 0;
}

static void read_range(struct command_context *context, struct range_command command) {
    const struct record *record;
    uint64_t rank = 0;
    uint64_t count = 0;
    if (!parse_range(context, 1, &command) || !zset_find(context, &record)) return;
    if (record != NULL) zset_locate(record, &command.range, &rank, &count);
    zset_reply_header(context->reply, count, command.has_scores);
    if (count == 0) return;
    struct key key = context_key(context, 1);
    reply_walk_value(context, &key, record,
                     &(struct reply_walk){
                         .step = walk_range,
                         .place = rank,
                         .left = count,
                         .what = (command.range.is_reversed ? WALK_BACKWARDS : 0) |
                                 (command.has_scores ? WALK_SCORES : 0),
                     });
}

void zset_zrange(struct command_context *context) {
    read_range(context, (struct range_command){.kind_is_open = true, .direction_is_open = true});
}

void zset_zrevrange(struct command_context *context) {
    read_range(context, (struct range_command){.range = {.is_reversed = true}});
}

void zset_zrangebyscore(struct command_context *context) {
    read_range(context, (struct range_command){.range = {.kind = RANGE_SCORE}});
}

void zset_zrevrangebyscore(struct command_context *context) {
    read_range(context,
               (struct range_command){.range = {.kind = RANGE_SCORE, .is_reversed = true}});
}

void zset_zrangebylex(struct command_context *context) {
    read_range(context, (struct range_command){.range = {.kind = RANGE_LEX}});
}

void zset_zrevrangebylex(struct command_context *context) {
    read_range(context, (struct range_command){.range = {.kind = RANGE_LEX, .is_reversed = true}});
}

void zset_zrangestore(struct command_context *context) {
    struct range_command command = {
        .kind_is_open = true, .direction_is_open = true, .is_store = true};
    if (!parse_range(context, 2, &command)) return;
    struct key target = context_key(context, 1);
    struct key source = context_key(context, 2);
    bool failed;
    const struct record *record = context_find_typed(context, &source, RECORD_ZSET, &failed);
    if (failed) return;
    uint64_t rank = 0;
    uint64_t count = 0;
    if (record != NULL) zset_locate(record, &command.range, &rank, &count);
    struct record *result = zset_record_create(target.name);
    const struct zset_policy policy = {context->types, rng_next(context->rng)};
    struct zset_cursor cursor;
    if (count > 0) zset_cursor_begin(&cursor, record, rank);
    for (; count > 0; count--) {
        char scratch[NUMBER_TEXT_MAX];
        struct zset_element element = zset_cursor_get(&cursor);
        zset_put(result, element_text(&element.member, scratch), element.score, &policy);
        if (command.range.is_reversed) {
            zset_cursor_previous(&cursor);
        } else {
            zset_cursor_next(&cursor);
        }
    }
    zset_store_take(context, &target, "zrangestore", result);
}

/* -- counting -- */

static void count_range(struct command_context *context, enum range_kind kind) {
    struct zset_range range = {.kind = kind, .count = -1, .is_count = true};
    const struct record *record;
    uint64_t rank = 0;
    uint64_t count = 0;
    if (!zset_parse_bounds(context, 2, 3, &range) || !zset_find(context, &record)) return;
    if (record != NULL) zset_locate(record, &range, &rank, &count);
    reply_integer(context->reply, (int64_t)count);
}

void zset_zcount(struct command_context *context) {
    count_range(context, RANGE_SCORE);
}

void zset_zlexcount(struct command_context *context) {
    count_range(context, RANGE_LEX);
}

/* -- removing -- */

static void remove_range(struct command_context *context, enum range_kind kind, const char *event) {
    struct zset_range range = {.kind = kind, .count = -1, .is_removal = true};
    struct key key = context_key(context, 1);
    struct table_entry entry;
    uint64_t rank = 0;
    uint64_t count = 0;
    if (!zset_parse_bounds(context, 2, 3, &range) ||
        !context_find_typed_for_write(context, &key, RECORD_ZSET, &entry))
        return;
    if (entry.record != NULL) zset_locate(entry.record, &range, &rank, &count);
    if (count > 0) {
        zset_remove_range(entry.record, rank, count);
        context_changed(context, &key, EVENT_ZSET, event);
        context->changes += count - 1;
        zset_delete_if_empty(context, &key, &entry);
    }
    reply_integer(context->reply, (int64_t)count);
}

void zset_zremrangebyrank(struct command_context *context) {
    remove_range(context, RANGE_RANK, "zremrangebyrank");
}

void zset_zremrangebyscore(struct command_context *context) {
    remove_range(context, RANGE_SCORE, "zremrangebyscore");
}

void zset_zremrangebylex(struct command_context *context) {
    remove_range(context, RANGE_LEX, "zremrangebylex");
}

/* Elements put, read, changed and removed. */
#include <stdlib.h>

#include "server/base/mem.h"
#include "server/command/long_reply.h"
#include "server/types/list/list_internal.h"

static bool find_list(struct command_context *context, const struct record **out) {
    struct key key = context_key(context, 1);
    bool failed;
    *out = context_find_typed(context, &key, RECORD_LIST, &failed);
    return !failed;
}

/* The element's index counted from the head, or -1 when there is none. */
static int64_t absolute_index(const struct record *record, int64_t index) {
    int64_t count = (int64_t)list_count(record);
    if (index < 0) index += count;
    return index < 0 || index >= count ? -1 : index;
}

/* Turns start and stop as clients give them into a part of the list; false when it is empty. */
static bool clamp_range(const struct record *record, int64_t start, int64_t stop,
                        uint64_t *out_begin, uint64_t *out_count) {
    int64_t count = (int64_t)list_count(record);
    if (start < 0) start = start < -count ? 0 : start + count;
    if (stop < 0) stop += count;
    if (stop >= count) stop = count - 1;
    if (start > stop) return false;
    *out_begin = (uint64_t)start;
    *out_count = (uint64_t)(stop - start + 1);
    return true;
}

static void delete_if_empty(struct command_context *context, const struct key *key,
                            struct table_entry *entry) {
    if (list_count(entry->record) > 0) return;
    context_delete(context, key, entry);
    context_event(context, key, EVENT_GENERIC, "del");
}

/* -- pushing -- */

/* An element has to fit into a leaf of its own. */
static bool check_element(struct command_context *context, struct bytes element) {
    if (LIKELY(listpack_entry_bytes(element) <= LISTPACK_MAX_BYTES - LISTPACK_EMPTY_BYTES))
        return true;
    reply_error(context->reply, "ERR element exceeds the maximum size of a list element (1 GB)");
    return false;
}

static void push(struct command_context *context, bool at_head, bool only_if_there) {
    struct key key = context_key(context, 1);
    struct table_entry entry;
    if (!context_find_typed_for_write(context, &key, RECORD_LIST, &entry)) return;
    struct record *record = entry.record;
    if (record == NULL && only_if_there) {
        reply_integer(context->reply, 0);
        return;
    }
    for (uint32_t i = 2; i < context->argc; i++) {
        if (!check_element(context, context->argv[i])) return;
    }
    if (record == NULL) record = list_record_create(key.name);
    list_push_all(record, context->argv + 2, context->argc - 2, at_head, context->types);
    if (entry.record == NULL) context_insert_take(context, &key, record);
    context_changed(context, &key, EVENT_LIST, at_head ? "lpush" : "rpush");
    context->changes += context->argc - 3; // One was counted by context_changed.
    reply_integer(context->reply, (int64_t)list_count(record));
}

void list_lpush(struct command_context *context) {
    push(context, true, false);
}

void list_rpush(struct command_context *context) {
    push(context, false, false);
}

void list_lpushx(struct command_context *context) {
    push(context, true, true);
}

void list_rpushx(struct command_context *context) {
    push(context, false, true);
}

/* -- reading -- */

void list_llen(struct command_context *context) {
    const struct record *record;
    if (find_list(context, &record))
        reply_integer(context->reply, record == NULL ? 0 : (int64_t)list_count(record));
}

void list_lindex(struct command_context *context) {
    const struct record *record;
    int64_t index = 0;
    if (!find_list(context, &record)) return;
    if (record == NULL) {
        reply_null(context->reply);
        return;
    }
    if (!context_integer(context, 2, &index, NULL)) return;
    index = absolute_index(record, index);
    if (index < 0) {
        reply_null(context->reply);
        return;
    }
    struct list_cursor cursor;
    list_cursor_begin(&cursor, record, (uint64_t)index);
    struct listpack_value value = list_cursor_value(&cursor);
    element_reply(context->reply, &value);
    list_cursor_end(&cursor);
}

/* From walk->place on, walk->left elements. */
static bool walk_range(struct reply_walk *walk, const struct record *record, struct reply *reply,
                       size_t max_bytes) {
    size_t begin = reply->out->len;
    uint64_t left = walk->left;
    struct list_cursor cursor;
    list_cursor_begin(&cursor, record, walk->place);
    for (; left > 0 && reply->out->len - begin < max_bytes; left--) {
        struct listpack_value value = list_cursor_value(&cursor);
        element_reply(reply, &value);
        list_cursor_next(&cursor);
    }
    list_cursor_end(&cursor);
    walk->place += walk->left - left;
    walk->left = left;
    return left == 0;
}

void list_lrange(struct command_context *context) {
    int64_t start = 0;
    int64_t stop = 0;
    if (!context_integer(context, 2, &start, NULL) || !context_integer(context, 3, &stop, NULL))
        return;
    const struct record *record;
    if (!find_list(context, &record)) return;
    uint64_t begin = 0;
    uint64_t count = 0;
    if (record == NULL || !clamp_range(record, start, stop, &begin, &count)) {
        reply_empty_array(context->reply);
        return;
    }
    reply_array(context->reply, count);
    struct key key = context_key(context, 1);
    reply_walk_value(context, &key, record,
                     &(struct reply_walk){.step = walk_range, .place = begin, .left = count});
}

/* -- changing -- */

void list_lset(struct command_context *context) {
    struct key key = context_key(context, 1);
    struct table_entry entry;
    int64_t index = 0;
    if (!context_find_typed_for_write(context, &key, RECORD_LIST, &entry)) return;
    if (entry.record == NULL) {
        reply_error(context->reply, "ERR no such key");
        return;
    }
    if (!context_integer(context, 2, &index, NULL) || !check_element(context, context->argv[3]))
        return;
    index = absolute_index(entry.record, index);
    if (index < 0) {
        reply_error(context->reply, "ERR index out of range");
        return;
    }
    list_replace(entry.record, (uint64_t)index, context->argv[3], context->types);
    context_changed(context, &key, EVENT_LIST, "lset");
    reply_ok(context->reply);
}

/* The index of the first element equal to `element` from the head, or -1. */
static int64_t find_element(const struct record *record, struct bytes element) {
    struct list_cursor cursor;
    char scratch[NUMBER_TEXT_MAX];
    int64_t index = 0;
    int64_t found = -1;
    list_cursor_begin(&cursor, record, 0);
    for (; found < 0 && list_cursor_has(&cursor); index++) {
        if (bytes_equal(list_cursor_text(&cursor, scratch), element)) found = index;
        list_cursor_next(&cursor);
    }
    list_cursor_end(&cursor);
    return found;
}

void list_linsert(struct command_context *context) {
    bool is_behind = context_argument_is(context, 2, "AFTER");
    if (!is_behind && !context_argument_is(context, 2, "BEFORE")) {
        reply_syntax_error(context->reply);
        return;
    }
    struct key key = context_key(context, 1);
    struct table_entry entry;
    if (!context_find_typed_for_write(context, &key, RECORD_LIST, &entry)) return;
    if (entry.record == NULL) {
        reply_integer(context->reply, 0);
        return;
    }
    if (!check_element(context, context->argv[4])) return;
    int64_t index = find_element(entry.record, context->argv[3]);
    if (index < 0) {
        reply_integer(context->reply, -1);
        return;
    }
    list_insert(entry.record, (uint64_t)index, is_behind, context->argv[4], context->types);
    context_changed(context, &key, EVENT_LIST, "linsert");
    reply_integer(context->reply, (int64_t)list_count(entry.record));
}

/* Takes out up to `limit` elements equal to `element`. What stays is rebuilt only where something
 * goes: the indexes are collected first, and taken out from behind. */
static uint64_t remove_equal(struct record *record, struct bytes element, uint64_t limit,
                             bool from_tail, const struct data_type_options *options) {
    struct list_cursor cursor;
    char scratch[NUMBER_TEXT_MAX];
    struct buffer indexes = {0};
    uint64_t count = list_count(record);
    uint64_t index = from_tail ? count - 1 : 0;
    uint64_t removed = 0;
    list_cursor_begin(&cursor, record, index);
    while (list_cursor_has(&cursor) && removed < limit) {
        if (bytes_equal(list_cursor_text(&cursor, scratch), element)) {
            buffer_append(&indexes, &index, sizeof(index));
            removed++;
        }
        if (from_tail) {
            index--;
            list_cursor_previous(&cursor);
        } else {
            index++;
            list_cursor_next(&cursor);
        }
    }
    list_cursor_end(&cursor);
    for (uint64_t i = 0; i < removed; i++) {
        size_t which = from_tail ? i : removed - 1 - i; // The highest index first.
        memcpy(&index, indexes.data + which * sizeof(index), sizeof(index));
        list_delete_range(record, index, 1, options);
    }
    buffer_deinit(&indexes);
    return removed;
}

void list_lrem(struct command_context *context) {
    struct key key = context_key(context, 1);
    struct table_entry entry;
    int64_t count = 0;
    if (!context_integer(context, 2, &count, NULL)) return;
    if (!context_find_typed_for_write(context, &key, RECORD_LIST, &entry)) return;
    uint64_t removed = 0;
    if (entry.record != NULL) {
        uint64_t limit = count == 0  ? UINT64_MAX
                         : count < 0 ? 0 - (uint64_t)count
                                     : (uint64_t)count;
        removed = remove_equal(entry.record, context->argv[3], limit, count < 0, context->types);
    }
    if (removed > 0) {
        context_changed(context, &key, EVENT_LIST, "lrem");
        context->changes += removed - 1;
        delete_if_empty(context, &key, &entry);
    }
    reply_integer(context->reply, (int64_t)removed);
}

void list_ltrim(struct command_context *context) {
    int64_t start = 0;
    int64_t stop = 0;
    if (!context_integer(context, 2, &start, NULL) || !context_integer(context, 3, &stop, NULL))
        return;
    struct key key = context_key(context, 1);
    struct table_entry entry;
    if (!context_find_typed_for_write(context, &key, RECORD_LIST, &entry)) return;
    if (entry.record == NULL) {
        reply_ok(context->reply);
        return;
    }
    uint64_t size = list_count(entry.record);
    uint64_t begin = size; // An empty range keeps nothing.
    uint64_t count = 0;
    clamp_range(entry.record, start, stop, &begin, &count);
    context_changed(context, &key, EVENT_LIST, "ltrim");
    context->changes += size - count;
    context->changes -= size - count > 0; // One was counted by context_changed.
    if (count == 0) {
        context_delete(context, &key, &entry);
        context_event(context, &key, EVENT_GENERIC, "del");
    } else {
        list_delete_range(entry.record, begin + count, size - begin - count, context->types);
        list_delete_range(entry.record, 0, begin, context->types);
    }
    reply_ok(context->reply);
}

/* -- LPOS -- */

struct position_options {
    int64_t rank;
    int64_t count; /* -1: not given, the reply is one number. */
    int64_t max_compared;
};

static bool parse_position_options(struct command_context *context,
                                   struct position_options *options) {
    *options = (struct position_options){.rank = 1, .count = -1};
    for (uint32_t i = 3; i < context->argc; i += 2) {
        bool has_value = i + 1 < context->argc;
        if (context_argument_is(context, i, "RANK") && has_value) {
            if (!context_integer(context, i + 1, &options->rank, NULL)) return false;
            if (options->rank == 0) {
                reply_error(context->reply,
                            "ERR RANK can't be zero: use 1 to start from the first match, 2 from "
                            "the second ... or use negative to start from the end of the list");
                return false;
            }
        } else if (context_argument_is(context, i, "COUNT") && has_value) {
            if (!context_integer_in(context, i + 1, 0, INT64_MAX, &options->count,
                                    "ERR COUNT can't be negative"))
                return false;
        } else if (context_argument_is(context, i, "MAXLEN") && has_value) {
            if (!context_integer_in(context, i + 1, 0, INT64_MAX, &options->max_compared,
                                    "ERR MAXLEN can't be negative"))
                return false;
        } else {
            reply_syntax_error(context->reply);
            return false;
        }
    }
    return true;
}

/* Answers the positions of matches as they are found; returns how many. */
static uint64_t reply_positions(struct command_context *context, const struct record *record,
                                const struct position_options *options) {
    bool from_tail = options->rank < 0;
    // The one rank without a positive twin counts as -1, as clients know it of redis 7.0.
    uint64_t to_skip = options->rank == INT64_MIN ? 0 : (uint64_t)llabs(options->rank) - 1;
    uint64_t wanted = options->count < 0    ? 1
                      : options->count == 0 ? UINT64_MAX
                                            : (uint64_t)options->count;
    uint64_t to_compare = options->max_compared == 0 ? UINT64_MAX : (uint64_t)options->max_compared;
    struct list_cursor cursor;
    char scratch[NUMBER_TEXT_MAX];
    uint64_t index = from_tail ? list_count(record) - 1 : 0;
    uint64_t found = 0;
    list_cursor_begin(&cursor, record, index);
    for (; list_cursor_has(&cursor) && found < wanted && to_compare > 0; to_compare--) {
        if (bytes_equal(list_cursor_text(&cursor, scratch), context->argv[2])) {
            if (to_skip > 0) {
                to_skip--;
            } else {
                reply_integer(context->reply, (int64_t)index);
                found++;
            }
        }
        if (from_tail) {
            index--;
            list_cursor_previous(&cursor);
        } else {
            index++;
            list_cursor_next(&cursor);
        }
    }
    list_cursor_end(&cursor);
    return found;
}

void list_lpos(struct command_context *context) {
    struct position_options options;
    const struct record *record;
    if (!parse_position_options(context, &options) || !find_list(context, &record)) return;
    if (options.count < 0) {
        if (record == NULL || reply_positions(context, record, &options) == 0)
            reply_null(context->reply);
        return;
    }
    size_t mark = reply_begin(context->reply);
    uint64_t found = record == NULL ? 0 : reply_positions(context, record, &options);
    reply_end_array(context->reply, mark, found);
}

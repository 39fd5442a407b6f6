/* Entries: nodes of listpacks as the RDB format has them (spec/rdb.md 8.5), in a tree by id. */
#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/rdb/rdb_stream_node.h"
#include "server/types/stream/stream_internal.h"

static int compare_to_key(const void *wanted, const struct leaf_key *key) {
    return stream_id_compare(*(const struct stream_id *)wanted,
                             (struct stream_id){key->high, key->low});
}

static struct stream_id master_of(const struct leaf_place *place) {
    struct leaf_key key = leaf_place_key(place);
    return (struct stream_id){key.high, key.low};
}

/* Numbers of a node that has been checked. */
static int64_t number_at(const uint8_t *block, size_t at) {
    int64_t number = 0;
    (void)listpack_get_i64(block, at, &number);
    return number;
}

static size_t skip(const uint8_t *block, size_t at, uint64_t count) {
    for (; count > 0; count--)
        at = listpack_next(block, at);
    return at;
}

/* -- one node: count, deleted, fields, names ..., 0, then entries -- */

struct node_head {
    int64_t count;
    int64_t deleted;
    uint64_t field_count;
    size_t names_at;
    size_t entries_at; /* 0: none. */
};

static struct node_head read_head(const uint8_t *block) {
    struct node_head head;
    size_t at = listpack_first(block);
    head.count = number_at(block, at);
    at = listpack_next(block, at);
    head.deleted = number_at(block, at);
    at = listpack_next(block, at);
    head.field_count = (uint64_t)number_at(block, at);
    at = listpack_next(block, at);
    head.names_at = at;
    at = skip(block, at, head.field_count);
    head.entries_at = listpack_next(block, at); // Behind the terminator.
    return head;
}

/* The same, of a node that was checked, where only the entries' beginning is of interest. */
struct entry_head {
    size_t at;
    int64_t flags;
    struct stream_id id;
    uint64_t field_count;
    size_t value_at; /* Of the first value, or of the first name where names are told. */
    size_t behind;   /* The next entry's flags; 0: the last. */
};

static struct entry_head read_entry(const uint8_t *block, size_t at, struct stream_id master,
                                    uint64_t master_fields) {
    struct entry_head entry;
    entry.at = at;
    entry.flags = number_at(block, at);
    at = listpack_next(block, at);
    entry.id.ms = master.ms + (uint64_t)number_at(block, at);
    at = listpack_next(block, at);
    entry.id.seq = master.seq + (uint64_t)number_at(block, at);
    at = listpack_next(block, at);
    bool is_same = (entry.flags & RDB_STREAM_ENTRY_SAME_FIELDS) != 0;
    entry.field_count = master_fields;
    if (!is_same) {
        entry.field_count = (uint64_t)number_at(block, at);
        at = listpack_next(block, at);
    }
    entry.value_at = at;
    at = skip(block, at, is_same ? entry.field_count : entry.field_count * 2);
    entry.behind = listpack_next(block, at); // `at` is the entry's count of elements.
    return entry;
}

/* The flags of the entry that ends before `at` (0: at the end of the block). */
static size_t entry_before(const uint8_t *block, size_t at) {
    size_t count_at = at == 0 ? listpack_last(block) : listpack_prev(block, at);
    int64_t elements = number_at(block, count_at);
    size_t flags_at = count_at;
    for (int64_t i = 0; i < elements; i++)
        flags_at = listpack_prev(block, flags_at);
    return flags_at;
}

void stream_adopt_node_take(struct stream *stream, struct stream_id master, uint8_t *block,
                            uint64_t count) {
    struct leaf_place place = {0};
    leaf_tree_last(stream->nodes, &place);
    leaf_tree_insert_after(stream->nodes, &place, block, (uint32_t)count,
                           (struct leaf_key){master.ms, master.seq});
}

/* -- adding -- */

static bool has_names_of_master(const uint8_t *block, const struct node_head *head,
                                const struct bytes *pairs, uint32_t pair_count) {
    if (head->field_count != pair_count) return false;
    size_t at = head->names_at;
    for (uint32_t i = 0; i < pair_count; i++, at = listpack_next(block, at)) {
        if (!listpack_equals(block, at, pairs[i * 2])) return false;
    }
    return true;
}

static uint8_t *create_node(const struct bytes *pairs, uint32_t pair_count, size_t bytes) {
    uint8_t *block = listpack_create(bytes);
    listpack_append_i64(&block, 0);
    listpack_append_i64(&block, 0);
    listpack_append_i64(&block, pair_count);
    for (uint32_t i = 0; i < pair_count; i++)
        listpack_append(&block, pairs[i * 2]);
    listpack_append_i64(&block, 0);
    return block;
}

static void append_entry(uint8_t **block, bool is_same, struct stream_id difference,
                         const struct bytes *pairs, uint32_t pair_count) {
    listpack_append_i64(block, is_same ? RDB_STREAM_ENTRY_SAME_FIELDS : 0);
    listpack_append_i64(block, (int64_t)difference.ms);
    listpack_append_i64(block, (int64_t)difference.seq);
    if (!is_same) listpack_append_i64(block, pair_count);
    for (uint32_t i = 0; i < pair_count; i++) {
        if (!is_same) listpack_append(block, pairs[i * 2]);
        listpack_append(block, pairs[i * 2 + 1]);
    }
    listpack_append_i64(block, is_same ? 3 + (int64_t)pair_count : 4 + 2 * (int64_t)pair_count);
}

static bool is_full(const uint8_t *block, const struct node_head *head, size_t more_bytes,
                    const struct data_type_options *options) {
    uint64_t bytes_max = options->stream_node_max_bytes;
    if (bytes_max == 0 || bytes_max > LISTPACK_MAX_BYTES) bytes_max = LISTPACK_MAX_BYTES;
    if (listpack_bytes(block) + more_bytes >= bytes_max) return true;
    uint64_t held = (uint64_t)(head->count + head->deleted);
    return options->stream_node_max_entries > 0 && held >= options->stream_node_max_entries;
}

void stream_append(struct stream *stream, struct stream_id id, const struct bytes *pairs,
                   uint32_t pair_count, const struct data_type_options *options) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < pair_count * 2; i++)
        bytes += pairs[i].len;
    struct leaf_place place = {0};
    struct node_head head = {0};
    uint8_t *block = NULL;
    if (leaf_tree_last(stream->nodes, &place)) {
        block = leaf_place_leaf(&place);
        head = read_head(block);
        if (is_full(block, &head, bytes, options)) {
            listpack_shrink(&block);
            leaf_tree_set_leaf(&place, block);
            block = NULL;
        }
    }
    stream->last = id;
    stream->added++;
    if (block == NULL) {
        block = create_node(pairs, pair_count, 0);
        append_entry(&block, true, STREAM_ID_MIN, pairs, pair_count);
        listpack_replace_i64(&block, listpack_first(block), 1);
        leaf_tree_insert_after(stream->nodes, &place, block, 1, (struct leaf_key){id.ms, id.seq});
        return;
    }
    struct stream_id master = master_of(&place);
    bool is_same = has_names_of_master(block, &head, pairs, pair_count);
    struct stream_id difference = {id.ms - master.ms, id.seq - master.seq};
    append_entry(&block, is_same, difference, pairs, pair_count);
    listpack_replace_i64(&block, listpack_first(block), head.count + 1);
    leaf_tree_set_leaf(&place, block);
    leaf_tree_set_count(stream->nodes, &place, (uint32_t)head.count + 1);
}

/* -- walking -- */

static void enter_node(struct stream_cursor *cursor) {
    cursor->block = leaf_place_leaf(&cursor->place);
    cursor->master = master_of(&cursor->place);
    cursor->at =
        cursor->is_reversed ? entry_before(cursor->block, 0) : read_head(cursor->block).entries_at;
}

void stream_cursor_begin(struct stream_cursor *cursor, const struct stream *stream,
                         struct stream_id start, struct stream_id end, bool is_reversed) {
    struct stream_id first = is_reversed ? end : start;
    cursor->at = 0;
    cursor->is_reversed = is_reversed;
    cursor->end = is_reversed ? start : end;
    if (stream_id_compare(start, end) > 0 ||
        !leaf_tree_find(stream->nodes, compare_to_key, &first, &cursor->place))
        return;
    enter_node(cursor);
    // What comes before the first wanted entry in its node is passed over.
    while (cursor->at != 0) {
        uint64_t fields = (uint64_t)number_at(
            cursor->block, skip(cursor->block, listpack_first(cursor->block), 2));
        struct entry_head entry = read_entry(cursor->block, cursor->at, cursor->master, fields);
        int order = stream_id_compare(entry.id, first);
        if (is_reversed ? order <= 0 : order >= 0) return;
        if (!is_reversed) {
            cursor->at = entry.behind;
            if (cursor->at == 0 && leaf_place_next(&cursor->place)) enter_node(cursor);
        } else if (cursor->at != read_head(cursor->block).entries_at) {
            cursor->at = entry_before(cursor->block, cursor->at);
        } else {
            cursor->at = 0;
            if (leaf_place_previous(&cursor->place)) enter_node(cursor);
        }
    }
}

bool stream_cursor_next(struct stream_cursor *cursor, struct stream_entry *out) {
    while (cursor->at != 0) {
        struct node_head head = read_head(cursor->block);
        // As long as the walk stays in this node its head need not be read again.
        do {
            struct entry_head entry =
                read_entry(cursor->block, cursor->at, cursor->master, head.field_count);
            int order = stream_id_compare(entry.id, cursor->end);
            if (cursor->is_reversed ? order < 0 : order > 0) {
                cursor->at = 0;
                return false;
            }
            *out = (struct stream_entry){
                .id = entry.id,
                .field_count = entry.field_count,
                .block = cursor->block,
                .name_at = (entry.flags & RDB_STREAM_ENTRY_SAME_FIELDS) != 0 ? head.names_at : 0,
                .value_at = entry.value_at,
            };
            if (!cursor->is_reversed) {
                cursor->at = entry.behind;
            } else if (cursor->at != head.entries_at) {
                cursor->at = entry_before(cursor->block, cursor->at);
            } else {
                cursor->at = 0;
            }
            bool is_alive = (entry.flags & RDB_STREAM_ENTRY_DELETED) == 0;
            if (is_alive && cursor->at != 0) return true;
            if (is_alive) {
                // The last of its node: the next call goes on in the neighbour.
                bool has_more = cursor->is_reversed ? leaf_place_previous(&cursor->place)
                                                    : leaf_place_next(&cursor->place);
                if (has_more) enter_node(cursor);
                return true;
            }
        } while (cursor->at != 0);
        bool has_more = cursor->is_reversed ? leaf_place_previous(&cursor->place)
                                            : leaf_place_next(&cursor->place);
        if (!has_more) return false;
        enter_node(cursor);
    }
    return false;
}

void stream_entry_pair(struct stream_entry *entry, struct listpack_value *name,
                       struct listpack_value *value) {
    if (entry->name_at != 0) {
        *name = listpack_get(entry->block, entry->name_at);
        entry->name_at = listpack_next(entry->block, entry->name_at);
    } else {
        *name = listpack_get(entry->block, entry->value_at);
        entry->value_at = listpack_next(entry->block, entry->value_at);
    }
    *value = listpack_get(entry->block, entry->value_at);
    entry->value_at = listpack_next(entry->block, entry->value_at);
}

bool stream_has_entry(const struct stream *stream, struct stream_id id) {
    struct stream_cursor cursor;
    struct stream_entry entry;
    stream_cursor_begin(&cursor, stream, id, id, false);
    return stream_cursor_next(&cursor, &entry);
}

bool stream_edge_id(const struct stream *stream, bool is_last, struct stream_id *out) {
    struct stream_cursor cursor;
    struct stream_entry entry;
    stream_cursor_begin(&cursor, stream, STREAM_ID_MIN, STREAM_ID_MAX, is_last);
    if (!stream_cursor_next(&cursor, &entry)) return false;
    *out = entry.id;
    return true;
}

/* -- removing -- */

/* Marks the entry as deleted. Returns by how much the entries have moved: the numbers in the head
 * may need another number of bytes. */
static ptrdiff_t mark_deleted(uint8_t **block, size_t at) {
    struct node_head head = read_head(*block);
    size_t bytes = listpack_bytes(*block);
    listpack_replace_i64(block, at, number_at(*block, at) | RDB_STREAM_ENTRY_DELETED);
    size_t first = listpack_first(*block);
    listpack_replace_i64(block, first, head.count - 1);
    listpack_replace_i64(block, listpack_next(*block, first), head.deleted + 1);
    return (ptrdiff_t)listpack_bytes(*block) - (ptrdiff_t)bytes;
}

static void remove_node(struct stream *stream, struct leaf_place *place) {
    mem_free(leaf_place_leaf(place));
    leaf_tree_remove(stream->nodes, place);
}

/* The same in the tree. A node without living entries goes. */
static ptrdiff_t delete_at(struct stream *stream, struct leaf_place *place, size_t at) {
    uint32_t count = leaf_place_count(place);
    if (count == 1) {
        remove_node(stream, place);
        return 0;
    }
    uint8_t *block = leaf_place_leaf(place);
    ptrdiff_t shift = mark_deleted(&block, at);
    leaf_tree_set_leaf(place, block);
    leaf_tree_set_count(stream->nodes, place, count - 1);
    return shift;
}

bool stream_delete(struct stream *stream, struct stream_id id) {
    struct leaf_place place;
    if (!leaf_tree_find(stream->nodes, compare_to_key, &id, &place)) return false;
    const uint8_t *block = leaf_place_leaf(&place);
    struct node_head head = read_head(block);
    struct stream_id master = master_of(&place);
    for (size_t at = head.entries_at; at != 0;) {
        struct entry_head entry = read_entry(block, at, master, head.field_count);
        if (stream_id_compare(entry.id, id) == 0 && (entry.flags & RDB_STREAM_ENTRY_DELETED) == 0) {
            delete_at(stream, &place, at);
            if (stream_id_compare(id, stream->max_deleted) > 0) stream->max_deleted = id;
            return true;
        }
        at = entry.behind;
    }
    return false;
}

static bool is_wanted(const struct stream *stream, const struct stream_trim *trim,
                      struct stream_id id) {
    if (trim->strategy == TRIM_LEN) return stream_len(stream) <= trim->max_len;
    return stream_id_compare(id, trim->min_id) >= 0;
}

static struct stream_id last_id_of_node(const struct leaf_place *place) {
    const uint8_t *block = leaf_place_leaf(place);
    uint64_t fields = read_head(block).field_count;
    return read_entry(block, entry_before(block, 0), master_of(place), fields).id;
}

static bool can_go_whole(const struct stream *stream, const struct stream_trim *trim,
                         const struct leaf_place *place) {
    if (trim->strategy == TRIM_LEN)
        return stream_len(stream) - leaf_place_count(place) >= trim->max_len;
    return stream_id_compare(last_id_of_node(place), trim->min_id) < 0;
}

/* Removes entries of the first node up to the first that is to stay. */
static uint64_t trim_within(struct stream *stream, const struct stream_trim *trim,
                            struct leaf_place *place) {
    uint64_t removed = 0;
    uint64_t left = leaf_place_count(place);
    struct stream_id master = master_of(place);
    struct node_head head = read_head(leaf_place_leaf(place));
    size_t at = head.entries_at;
    while (at != 0) {
        struct entry_head entry = read_entry(leaf_place_leaf(place), at, master, head.field_count);
        if (is_wanted(stream, trim, entry.id)) break;
        at = entry.behind;
        if ((entry.flags & RDB_STREAM_ENTRY_DELETED) != 0) continue;
        ptrdiff_t shift = delete_at(stream, place, entry.at);
        removed++;
        if (--left == 0) break;
        if (at != 0) at = (size_t)((ptrdiff_t)at + shift);
    }
    return removed;
}

uint64_t stream_trim(struct stream *stream, const struct stream_trim *trim) {
    uint64_t removed = 0;
    struct leaf_place place;
    while (leaf_tree_first(stream->nodes, &place)) {
        uint32_t count = leaf_place_count(&place);
        if (trim->strategy == TRIM_LEN && stream_len(stream) <= trim->max_len) break;
        if (trim->limit > 0 && removed + count > trim->limit) break;
        if (can_go_whole(stream, trim, &place)) {
            remove_node(stream, &place);
            removed += count;
            continue;
        }
        if (!trim->is_approximate) removed += trim_within(stream, trim, &place);
        break;
    }
    return removed;
}

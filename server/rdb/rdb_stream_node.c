#include "server/rdb/rdb_stream_node.h"

#include "server/base/check.h"
#include "server/structs/listpack.h"

/* Where a walk stands; `at` is 0 behind the last element, and after anything that is amiss. */
struct walk {
    const uint8_t *block;
    size_t at;
    uint64_t total; /* Elements of the block: no count in it can be higher. */
};

static bool take_number(struct walk *walk, int64_t *out) {
    if (walk->at == 0 || !listpack_get_i64(walk->block, walk->at, out)) return false;
    walk->at = listpack_next(walk->block, walk->at);
    return true;
}

static bool take_count(struct walk *walk, int64_t *out) {
    return take_number(walk, out) && *out >= 0 && (uint64_t)*out <= walk->total;
}

static bool take_this_number(struct walk *walk, int64_t expected) {
    int64_t number = 0;
    return take_number(walk, &number) && number == expected;
}

/* Whatever lies behind is asked for anyway: running out of elements shows there. */
static void skip(struct walk *walk, int64_t count) {
    for (; count > 0 && walk->at != 0; count--)
        walk->at = listpack_next(walk->block, walk->at);
}

struct entry {
    int64_t flags;
    int64_t ms_diff;
    int64_t seq_diff;
};

static bool take_entry(struct walk *walk, int64_t master_fields, struct entry *out) {
    const int64_t all_flags = RDB_STREAM_ENTRY_DELETED | RDB_STREAM_ENTRY_SAME_FIELDS;
    bool has_head = take_number(walk, &out->flags) && out->flags >= 0 && out->flags <= all_flags &&
                    take_number(walk, &out->ms_diff) && take_number(walk, &out->seq_diff);
    if (!has_head) return false;
    enum { HEAD_ELEMENTS = 3 };
    if ((out->flags & RDB_STREAM_ENTRY_SAME_FIELDS) != 0) {
        skip(walk, master_fields);
        return take_this_number(walk, HEAD_ELEMENTS + master_fields);
    }
    int64_t fields = 0;
    if (!take_count(walk, &fields)) return false;
    skip(walk, fields * 2);
    return take_this_number(walk, HEAD_ELEMENTS + 1 + fields * 2);
}

bool rdb_stream_node_read(const uint8_t *block, struct rdb_stream_node *out) {
    struct walk walk = {block, listpack_first(block), listpack_count(block)};
    int64_t living = 0;
    int64_t deleted = 0;
    int64_t fields = 0;
    if (!take_count(&walk, &living) || !take_count(&walk, &deleted) || !take_count(&walk, &fields))
        return false;
    skip(&walk, fields);
    if (living == 0 || !take_this_number(&walk, 0)) return false;
    struct rdb_stream_node node = {0};
    struct entry entry;
    int64_t seen_deleted = 0;
    while (walk.at != 0) {
        if (!take_entry(&walk, fields, &entry)) return false;
        if ((entry.flags & RDB_STREAM_ENTRY_DELETED) != 0) {
            seen_deleted++;
            continue;
        }
        node.living_count++;
        node.last_ms_diff = (uint64_t)entry.ms_diff;
        node.last_seq_diff = (uint64_t)entry.seq_diff;
    }
    if (node.living_count != (uint64_t)living || seen_deleted != deleted) return false;
    *out = node;
    return true;
}

/* -- entries of a node that was accepted -- */

static uint64_t number_at(const uint8_t *block, size_t place) {
    int64_t number = 0;
    bool is_number = listpack_get_i64(block, place, &number);
    ASSERT(is_number);
    return (uint64_t)number;
}

static size_t skip_elements(const uint8_t *block, size_t place, uint64_t count) {
    for (; count > 0; count--)
        place = listpack_next(block, place);
    return place;
}

static void begin_walk(const uint8_t *block, struct rdb_stream_cursor *cursor) {
    size_t place = skip_elements(block, listpack_first(block), 2);
    cursor->has_begun = true;
    cursor->name_count = number_at(block, place);
    cursor->names = listpack_next(block, place);
    cursor->next = skip_elements(block, cursor->names, cursor->name_count + 1);
}

bool rdb_stream_node_next(const uint8_t *block, struct rdb_stream_cursor *cursor,
                          struct rdb_stream_entry *out) {
    if (!cursor->has_begun) begin_walk(block, cursor);
    size_t place = cursor->next;
    if (place == 0) return false;
    uint64_t flags = number_at(block, place);
    place = listpack_next(block, place);
    struct rdb_stream_entry entry = {
        .ms_diff = number_at(block, place),
        .is_deleted = (flags & RDB_STREAM_ENTRY_DELETED) != 0,
        .has_own_names = (flags & RDB_STREAM_ENTRY_SAME_FIELDS) == 0,
        .field_count = cursor->name_count,
        .names = cursor->names,
    };
    place = listpack_next(block, place);
    entry.seq_diff = number_at(block, place);
    place = listpack_next(block, place);
    if (entry.has_own_names) {
        entry.field_count = number_at(block, place);
        entry.names = place = listpack_next(block, place);
        place = skip_elements(block, place, entry.field_count * 2);
    } else {
        entry.values = place;
        place = skip_elements(block, place, entry.field_count);
    }
    cursor->next = listpack_next(block, place); // Behind the count of elements.
    *out = entry;
    return true;
}

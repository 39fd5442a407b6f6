/* The structure of a sorted set: a listpack, or a table with a tree over its records. */
#define XXH_INLINE_ALL
#include <math.h>
#include <stdlib.h>

#include <xxhash.h>

#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/structs/pointer_leaf.h"
#include "server/types/zset/zset_internal.h"

enum {
    LEAF_MAX = POINTER_LEAF_MAX,
    SCORE_BYTES_MAX = 32, /* Of a score's entry in a listpack. */
};

static uint64_t member_order(const void *state, struct bytes member) {
    const uint64_t *seed = state;
    return XXH3_64bits_withSeed(member.data, member.len, *seed);
}

struct table_hasher zset_hasher(const struct zset_table *set) {
    return (struct table_hasher){.order = member_order, .state = &set->seed};
}

static uint8_t *block_of(const struct record *record) {
    return record_pointer(record);
}

struct zset_table *zset_table_of(const struct record *record) {
    return record_encoding(record) == ZSET_TABLE ? record_pointer(record) : NULL;
}

/* -- scores -- */

double zset_record_score(const struct record *member) {
    double score;
    memcpy(&score, record_payload(member), sizeof(score));
    return score;
}

static void set_record_score(struct record *member, double score) {
    memcpy(record_payload(member), &score, sizeof(score));
}

/* Integers whose value as an entry of a listpack is exact; -0 becomes 0 on the way. */
static bool is_integer_score(double score, int64_t *out) {
    if (!(score >= -4611686018427387904.0 && score <= 4611686018427387904.0)) return false;
    *out = (int64_t)score;
    return (double)*out == score;
}

static double score_at(const uint8_t *block, size_t member_at) {
    struct listpack_value value = listpack_get(block, listpack_next(block, member_at));
    if (value.text.data == NULL) return (double)value.number;
    char text[64];
    return strtod(bytes_to_text(value.text, text, sizeof(text)), NULL);
}

/* -- the order of the tree -- */

struct position {
    double score;
    struct bytes member;
};

/* Numbers in the order of scores, with one for both zeros. */
static uint64_t score_order(double score) {
    uint64_t bits;
    if (score == 0) score = 0;
    memcpy(&bits, &score, sizeof(bits));
    return (bits >> 63) != 0 ? ~bits : bits | (uint64_t)1 << 63;
}

static struct leaf_key key_of(const struct record *first) {
    return (struct leaf_key){score_order(zset_record_score(first)), (uint64_t)(uintptr_t)first};
}

static const struct record *first_of(const struct leaf_key *key) {
    return (const struct record *)(uintptr_t)key->low;
}

static int compare_position(const struct position *position, const struct record *member) {
    double score = zset_record_score(member);
    if (position->score != score) return position->score < score ? -1 : 1;
    return bytes_compare(position->member, record_key(member));
}

static int compare_to_key(const void *wanted, const struct leaf_key *key) {
    const struct position *position = wanted;
    uint64_t order = score_order(position->score);
    if (order != key->high) return order < key->high ? -1 : 1;
    return bytes_compare(position->member, record_key(first_of(key)));
}

/* -- leaves -- */

static struct record *member_at(const struct packed_pointer *leaf, size_t index) {
    return pointer_leaf_get(leaf, index);
}

/* The first member of the leaf that does not come before the position. */
static uint32_t lower_bound(const struct packed_pointer *leaf, uint32_t count,
                            const struct position *position) {
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (compare_position(position, member_at(leaf, middle)) > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void put_leaf_behind(struct leaf_tree *tree, struct leaf_place *place,
                            struct packed_pointer *leaf, uint32_t count) {
    leaf_tree_insert_after(tree, place, leaf, count, key_of(member_at(leaf, 0)));
}

static void insert_at(struct leaf_tree *tree, struct leaf_place *place, uint32_t index,
                      struct record *member) {
    uint32_t count = leaf_place_count(place);
    leaf_tree_set_leaf(place, pointer_leaf_insert(leaf_place_leaf(place), count, index, member));
    leaf_tree_set_count(tree, place, count + 1);
    if (index == 0) leaf_tree_set_key(place, key_of(member));
}

/* Cuts a full leaf in two and leaves the place at the half where `*index` belongs. */
static void split_leaf(struct leaf_tree *tree, struct leaf_place *place, uint32_t *index) {
    enum { HALF = LEAF_MAX / 2 };
    struct packed_pointer *leaf = leaf_place_leaf(place);
    struct packed_pointer *upper = pointer_leaf_split(&leaf, LEAF_MAX, HALF);
    leaf_tree_set_leaf(place, leaf);
    leaf_tree_set_count(tree, place, HALF);
    put_leaf_behind(tree, place, upper, LEAF_MAX - HALF);
    if (*index > HALF) {
        *index -= HALF;
    } else {
        leaf_place_previous(place);
    }
}

static void tree_insert(struct leaf_tree *tree, struct record *member) {
    struct position position = {zset_record_score(member), record_key(member)};
    struct leaf_place place = {0};
    if (!leaf_tree_find(tree, compare_to_key, &position, &place)) {
        put_leaf_behind(tree, &place, pointer_leaf_create(member), 1);
        return;
    }
    uint32_t count = leaf_place_count(&place);
    uint32_t index = lower_bound(leaf_place_leaf(&place), count, &position);
    if (count == LEAF_MAX) {
        struct leaf_place next = place;
        if (index == count && !leaf_place_next(&next)) {
            // Members that come in order fill leaf after leaf.
            put_leaf_behind(tree, &place, pointer_leaf_create(member), 1);
            return;
        }
        split_leaf(tree, &place, &index);
    }
    insert_at(tree, &place, index, member);
}

/* Where a member lies. It is there. */
static uint32_t tree_find(struct leaf_tree *tree, const struct record *member,
                          struct leaf_place *out) {
    struct position position = {zset_record_score(member), record_key(member)};
    leaf_tree_find(tree, compare_to_key, &position, out);
    return pointer_leaf_find(leaf_place_leaf(out), member);
}

/* Joins the leaf at the place with the one behind it when both are small. */
static void join_with_next(struct leaf_tree *tree, struct leaf_place *place) {
    struct leaf_place next = *place;
    uint32_t count = leaf_place_count(place);
    if (count > LEAF_MAX / 4 || !leaf_place_next(&next)) return;
    uint32_t more = leaf_place_count(&next);
    if (count + more > LEAF_MAX / 2) return;
    struct packed_pointer *behind = leaf_place_leaf(&next);
    struct packed_pointer *leaf = leaf_place_leaf(place);
    leaf_tree_remove(tree, &next);
    // The place is not to be trusted any more: the removal may have moved leaves between nodes.
    struct position position = {zset_record_score(member_at(leaf, 0)),
                                record_key(member_at(leaf, 0))};
    leaf_tree_find(tree, compare_to_key, &position, place);
    leaf = pointer_leaf_resize(leaf, count, count + more);
    memcpy(leaf + count, behind, more * sizeof(*leaf));
    mem_free(behind);
    leaf_tree_set_leaf(place, leaf);
    leaf_tree_set_count(tree, place, count + more);
}

/* Takes `count` members from `index` on out of the leaf, which holds as many. Returns false when
 * the leaf is gone and none follows; else the place stands at the leaf or at the next. */
static bool remove_at(struct leaf_tree *tree, struct leaf_place *place, uint32_t index,
                      uint32_t count) {
    uint32_t held = leaf_place_count(place);
    struct packed_pointer *leaf = leaf_place_leaf(place);
    if (held == count) {
        mem_free(leaf);
        return leaf_tree_remove(tree, place);
    }
    leaf = pointer_leaf_remove(leaf, held, index, count);
    leaf_tree_set_leaf(place, leaf);
    leaf_tree_set_count(tree, place, held - count);
    if (index == 0) leaf_tree_set_key(place, key_of(member_at(leaf, 0)));
    return true;
}

static void tree_remove(struct leaf_tree *tree, const struct record *member) {
    struct leaf_place place;
    uint32_t index = tree_find(tree, member, &place);
    if (remove_at(tree, &place, index, 1)) join_with_next(tree, &place);
}

/* Whether a member may keep its place with another score. */
static bool keeps_place(const struct leaf_place *place, uint32_t index, double score) {
    struct packed_pointer *leaf = leaf_place_leaf(place);
    uint32_t count = leaf_place_count(place);
    return index > 0 && index + 1 < count &&
           zset_record_score(member_at(leaf, index - 1)) < score &&
           score < zset_record_score(member_at(leaf, index + 1));
}

static void tree_move(struct leaf_tree *tree, struct record *member, double score) {
    struct leaf_place place;
    uint32_t index = tree_find(tree, member, &place);
    if (keeps_place(&place, index, score)) {
        set_record_score(member, score);
        return;
    }
    if (remove_at(tree, &place, index, 1)) join_with_next(tree, &place);
    set_record_score(member, score);
    tree_insert(tree, member);
}

/* -- life -- */

static struct record *create_around(struct bytes key, enum zset_encoding encoding, void *value) {
    return record_create_pointer(
        &(struct record_spec){.type = RECORD_ZSET, .encoding = encoding, .key = key}, value);
}

struct record *zset_record_create(struct bytes key) {
    return create_around(key, ZSET_LISTPACK, listpack_create(0));
}

static struct zset_table *create_table(uint64_t seed) {
    struct zset_table *set = mem_alloc_zero(sizeof(*set));
    set->seed = seed;
    set->tree = leaf_tree_create(true);
    return set;
}

void zset_prefetch(const struct record *record, struct bytes member, unsigned step) {
    const struct zset_table *set = zset_table_of(record);
    if (step == 0) {
        __builtin_prefetch(record_pointer(record));
    } else if (set != NULL) {
        table_prefetch_step(&set->table, member_order(&set->seed, member), step - 1);
    }
}

static struct record *insert_member(struct zset_table *set, struct bytes member, uint64_t order,
                                    double score) {
    struct table_hasher hasher = zset_hasher(set);
    struct record *record = record_create(&(struct record_spec){
        .type = RECORD_STRING, .key = member, .payload = bytes_of(&score, sizeof(score))});
    table_insert_take(&set->table, record, order, &hasher);
    return record;
}

/* A member that belongs behind all others. */
static void append_member(struct zset_table *set, struct bytes member, double score) {
    struct record *record = insert_member(set, member, member_order(&set->seed, member), score);
    struct leaf_place place = {0};
    if (leaf_tree_last(set->tree, &place) && leaf_place_count(&place) < LEAF_MAX) {
        insert_at(set->tree, &place, leaf_place_count(&place), record);
        return;
    }
    put_leaf_behind(set->tree, &place, pointer_leaf_create(record), 1);
}

static void free_member(void *arg, struct record *member) {
    (void)arg;
    record_free(member);
}

void zset_destroy(struct record *record) {
    struct zset_table *set = zset_table_of(record);
    if (set == NULL) {
        mem_free(block_of(record));
        return;
    }
    struct table_hasher hasher = zset_hasher(set);
    leaf_tree_destroy(set->tree, mem_free);
    table_walk(&set->table, 0, 0, &hasher, free_member, NULL);
    table_deinit(&set->table);
    mem_free(set);
}

void zset_record_free(struct record *record) {
    zset_destroy(record);
    record_free(record);
}

struct record *zset_copy(const struct record *record, struct bytes key) {
    const struct zset_table *set = zset_table_of(record);
    if (set == NULL) return create_around(key, ZSET_LISTPACK, listpack_copy(block_of(record)));
    struct zset_table *copy = create_table(set->seed);
    struct zset_cursor cursor;
    for (zset_cursor_begin(&cursor, record, 0); zset_cursor_has(&cursor);
         zset_cursor_next(&cursor)) {
        struct zset_element element = zset_cursor_get(&cursor);
        append_member(copy, element.member.text, element.score);
    }
    return create_around(key, ZSET_TABLE, copy);
}

void zset_adopt_block_take(struct record *record, uint8_t *block) {
    mem_free(block_of(record));
    record_set_pointer(record, block);
}

void zset_make_table(struct record *record, uint64_t seed) {
    if (record_encoding(record) == ZSET_TABLE) return;
    struct zset_table *set = create_table(seed);
    uint8_t *block = block_of(record);
    char scratch[NUMBER_TEXT_MAX];
    size_t at = listpack_first(block);
    while (at != 0) {
        append_member(set, listpack_text(block, at, scratch), score_at(block, at));
        at = listpack_next(block, listpack_next(block, at));
    }
    mem_free(block);
    record_set_encoding(record, ZSET_TABLE);
    record_set_pointer(record, set);
}

/* -- members -- */

size_t zset_count(const struct record *record) {
    const struct zset_table *set = zset_table_of(record);
    return set != NULL ? set->table.count : listpack_count(block_of(record)) / 2;
}

static size_t find_place(const uint8_t *block, struct bytes member) {
    return listpack_find(block, listpack_first(block), member, 1);
}

bool zset_score(const struct record *record, struct bytes member, double *out) {
    const struct zset_table *set = zset_table_of(record);
    if (set != NULL) {
        const struct record *found =
            table_find(&set->table, member, member_order(&set->seed, member));
        if (found == NULL) return false;
        *out = zset_record_score(found);
        return true;
    }
    size_t at = find_place(block_of(record), member);
    if (at == 0) return false;
    *out = score_at(block_of(record), at);
    return true;
}

static void put_in_table(struct zset_table *set, struct bytes member, double score) {
    uint64_t order = member_order(&set->seed, member);
    struct record *found = table_find(&set->table, member, order);
    if (found == NULL) {
        tree_insert(set->tree, insert_member(set, member, order, score));
    } else if (zset_record_score(found) != score) {
        tree_move(set->tree, found, score);
    } else {
        set_record_score(found, score); // Zero has two signs and one place.
    }
}

/* The first pair of the block that comes behind (score, member); 0: none does. */
static size_t place_behind(const uint8_t *block, struct bytes member, double score) {
    char scratch[NUMBER_TEXT_MAX];
    size_t at = listpack_first(block);
    for (; at != 0; at = listpack_next(block, listpack_next(block, at))) {
        double other = score_at(block, at);
        if (other > score) return at;
        if (other == score && bytes_compare(listpack_text(block, at, scratch), member) > 0)
            return at;
    }
    return 0;
}

struct score_entry {
    bool is_integer;
    int64_t number;
    struct bytes text;
    char digits[64];
};

static void make_score_entry(double score, struct score_entry *out) {
    out->is_integer = is_integer_score(score, &out->number);
    if (out->is_integer) return;
    out->text =
        bytes_of(out->digits, number_format_17_digits(score, out->digits, sizeof(out->digits)));
}

static void append_to_block(uint8_t **block, struct bytes member, double score) {
    struct score_entry entry;
    make_score_entry(score, &entry);
    listpack_append(block, member);
    if (entry.is_integer) {
        listpack_append_i64(block, entry.number);
    } else {
        listpack_append(block, entry.text);
    }
}

static void insert_in_block(uint8_t **block, struct bytes member, double score) {
    size_t at = place_behind(*block, member, score);
    if (at == 0) {
        append_to_block(block, member, score);
        return;
    }
    struct score_entry entry;
    make_score_entry(score, &entry);
    size_t score_place = entry.is_integer ? listpack_insert_before_i64(block, at, entry.number)
                                          : listpack_insert_before(block, at, entry.text);
    listpack_insert_before(block, score_place, member);
}

void zset_put(struct record *record, struct bytes member, double score,
              const struct zset_policy *policy) {
    struct zset_table *set = zset_table_of(record);
    if (set != NULL) {
        put_in_table(set, member, score);
        return;
    }
    uint8_t *block = block_of(record);
    size_t at = find_place(block, member);
    if (at != 0) {
        if (score_at(block, at) == score) return;
        listpack_delete_range(&block, at, 2);
    } else if (listpack_count(block) / 2 >= policy->options->zset_max_listpack_entries ||
               member.len > policy->options->zset_max_listpack_value ||
               !listpack_fits(block, listpack_entry_bytes(member) + SCORE_BYTES_MAX)) {
        zset_make_table(record, policy->seed);
        put_in_table(zset_table_of(record), member, score);
        return;
    }
    insert_in_block(&block, member, score);
    record_set_pointer(record, block);
}

bool zset_remove(struct record *record, struct bytes member) {
    struct zset_table *set = zset_table_of(record);
    if (set == NULL) {
        uint8_t *block = block_of(record);
        size_t at = find_place(block, member);
        if (at == 0) return false;
        listpack_delete_range(&block, at, 2);
        record_set_pointer(record, block);
        return true;
    }
    struct table_hasher hasher = zset_hasher(set);
    struct table_entry entry =
        table_find_entry(&set->table, member, member_order(&set->seed, member));
    if (entry.record == NULL) return false;
    tree_remove(set->tree, entry.record);
    record_free(table_detach(&set->table, &entry, &hasher));
    return true;
}

void zset_remove_range(struct record *record, uint64_t rank, uint64_t count) {
    if (count == 0) return;
    struct zset_table *set = zset_table_of(record);
    if (set == NULL) {
        uint8_t *block = block_of(record);
        listpack_delete_range(&block, listpack_seek(block, (int64_t)rank * 2), (size_t)count * 2);
        record_set_pointer(record, block);
        return;
    }
    struct table_hasher hasher = zset_hasher(set);
    struct leaf_place place;
    uint64_t offset = 0;
    bool has_leaf = leaf_tree_at(set->tree, rank, &place, &offset);
    while (has_leaf && count > 0) {
        struct packed_pointer *leaf = leaf_place_leaf(&place);
        uint32_t held = leaf_place_count(&place) - (uint32_t)offset;
        uint32_t part = held < count ? held : (uint32_t)count;
        for (uint32_t i = 0; i < part; i++) {
            struct record *member = member_at(leaf, offset + i);
            struct bytes name = record_key(member);
            struct table_entry entry =
                table_find_entry(&set->table, name, member_order(&set->seed, name));
            table_detach(&set->table, &entry, &hasher);
        }
        // The tree compares by records, so they go after it has let go of them.
        struct record *gone[LEAF_MAX];
        for (uint32_t i = 0; i < part; i++)
            gone[i] = member_at(leaf, offset + i);
        bool is_whole = part == leaf_place_count(&place);
        has_leaf = remove_at(set->tree, &place, (uint32_t)offset, part);
        for (uint32_t i = 0; i < part; i++)
            record_free(gone[i]);
        count -= part;
        if (has_leaf && count > 0 && !is_whole) has_leaf = leaf_place_next(&place);
        offset = 0;
    }
    if (leaf_tree_at(set->tree, rank > 0 ? rank - 1 : 0, &place, &offset))
        join_with_next(set->tree, &place);
}

void zset_settle(struct record *record, const struct data_type_options *options) {
    struct zset_table *set = zset_table_of(record);
    size_t count = zset_count(record);
    if (set == NULL || count > options->zset_max_listpack_entries) return;
    struct zset_cursor cursor;
    for (zset_cursor_begin(&cursor, record, 0); zset_cursor_has(&cursor);
         zset_cursor_next(&cursor)) {
        if (zset_cursor_get(&cursor).member.text.len > options->zset_max_listpack_value) return;
    }
    uint8_t *block = listpack_create(0);
    for (zset_cursor_begin(&cursor, record, 0); zset_cursor_has(&cursor);
         zset_cursor_next(&cursor)) {
        struct zset_element element = zset_cursor_get(&cursor);
        if (!listpack_fits(block, listpack_entry_bytes(element.member.text) + SCORE_BYTES_MAX)) {
            mem_free(block);
            return;
        }
        append_to_block(&block, element.member.text, element.score);
    }
    zset_destroy(record);
    record_set_encoding(record, ZSET_LISTPACK);
    record_set_pointer(record, block);
}

/* -- ranks -- */

bool zset_rank(const struct record *record, struct bytes member, uint64_t *out_rank,
               double *out_score) {
    const struct zset_table *set = zset_table_of(record);
    if (set != NULL) {
        const struct record *found =
            table_find(&set->table, member, member_order(&set->seed, member));
        if (found == NULL) return false;
        struct leaf_place place;
        uint32_t index = tree_find(set->tree, found, &place);
        *out_rank = leaf_place_rank(&place) + index;
        *out_score = zset_record_score(found);
        return true;
    }
    const uint8_t *block = block_of(record);
    size_t wanted = find_place(block, member);
    if (wanted == 0) return false;
    uint64_t rank = 0;
    for (size_t at = listpack_first(block); at != wanted; rank++)
        at = listpack_next(block, listpack_next(block, at));
    *out_rank = rank;
    *out_score = score_at(block, wanted);
    return true;
}

struct score_bound {
    uint64_t order;
    bool or_equal;
};

/* Leaves that begin below the bound come before it. */
static int compare_bound(const void *wanted, const struct leaf_key *key) {
    const struct score_bound *bound = wanted;
    if (bound->order != key->high) return bound->order < key->high ? -1 : 1;
    return bound->or_equal ? 1 : -1;
}

uint64_t zset_rank_of_score(const struct record *record, double score, bool or_equal) {
    const struct zset_table *set = zset_table_of(record);
    if (set == NULL) {
        const uint8_t *block = block_of(record);
        uint64_t rank = 0;
        size_t at = listpack_first(block);
        while (at != 0) {
            double other = score_at(block, at);
            if (other > score || (other == score && !or_equal)) break;
            at = listpack_next(block, listpack_next(block, at));
            rank++;
        }
        return rank;
    }
    struct score_bound bound = {score_order(score), or_equal};
    struct leaf_place place;
    if (!leaf_tree_find(set->tree, compare_bound, &bound, &place)) return 0;
    struct packed_pointer *leaf = leaf_place_leaf(&place);
    uint32_t low = 0;
    uint32_t high = leaf_place_count(&place);
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        double other = zset_record_score(member_at(leaf, middle));
        if (other < score || (other == score && or_equal)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return leaf_place_rank(&place) + low;
}

/* -- walking -- */

void zset_cursor_begin(struct zset_cursor *cursor, const struct record *record, uint64_t rank) {
    const struct zset_table *set = zset_table_of(record);
    uint64_t offset = 0;
    cursor->at = 0;
    cursor->members = NULL;
    cursor->block = NULL;
    if (set == NULL) {
        cursor->block = block_of(record);
        cursor->at = listpack_seek(cursor->block, (int64_t)rank * 2);
    } else if (leaf_tree_at(set->tree, rank, &cursor->place, &offset)) {
        cursor->members = leaf_place_leaf(&cursor->place);
        cursor->index = (uint32_t)offset;
    }
}

bool zset_cursor_has(const struct zset_cursor *cursor) {
    return cursor->at != 0 || cursor->members != NULL;
}

struct zset_element zset_cursor_get(const struct zset_cursor *cursor) {
    if (cursor->members != NULL) {
        const struct record *member = member_at(cursor->members, cursor->index);
        return (struct zset_element){{.text = record_key(member)}, zset_record_score(member)};
    }
    return (struct zset_element){listpack_get(cursor->block, cursor->at),
                                 score_at(cursor->block, cursor->at)};
}

void zset_cursor_next(struct zset_cursor *cursor) {
    if (cursor->members == NULL) {
        cursor->at = listpack_next(cursor->block, listpack_next(cursor->block, cursor->at));
        return;
    }
    if (++cursor->index < leaf_place_count(&cursor->place)) return;
    cursor->index = 0;
    cursor->members = leaf_place_next(&cursor->place) ? leaf_place_leaf(&cursor->place) : NULL;
}

void zset_cursor_previous(struct zset_cursor *cursor) {
    if (cursor->members == NULL) {
        size_t score = listpack_prev(cursor->block, cursor->at);
        cursor->at = score == 0 ? 0 : listpack_prev(cursor->block, score);
        return;
    }
    if (cursor->index-- > 0) return;
    cursor->members = leaf_place_previous(&cursor->place) ? leaf_place_leaf(&cursor->place) : NULL;
    if (cursor->members != NULL) cursor->index = leaf_place_count(&cursor->place) - 1;
}

struct zset_element zset_random(const struct record *record, struct rng *rng) {
    const struct zset_table *set = zset_table_of(record);
    if (set != NULL) {
        const struct record *member = table_random(&set->table, rng);
        return (struct zset_element){{.text = record_key(member)}, zset_record_score(member)};
    }
    struct zset_cursor cursor;
    zset_cursor_begin(&cursor, record, rng_below(rng, zset_count(record)));
    return zset_cursor_get(&cursor);
}

/* Pending entries by id: arrays of pointers as the leaves of a tree. */
#include "server/base/mem.h"
#include "server/structs/pointer_leaf.h"
#include "server/types/stream/stream_internal.h"

enum { LEAF_MAX = POINTER_LEAF_MAX };

static struct leaf_key key_of(const struct stream_pending *pending) {
    return (struct leaf_key){pending->id.ms, pending->id.seq};
}

static struct stream_pending *pending_at(const struct packed_pointer *leaf, size_t index) {
    return pointer_leaf_get(leaf, index);
}

static int compare_to_key(const void *wanted, const struct leaf_key *key) {
    return stream_id_compare(*(const struct stream_id *)wanted,
                             (struct stream_id){key->high, key->low});
}

void stream_pel_deinit(struct stream_pel *pel) {
    leaf_tree_destroy(pel->tree, mem_free);
    pel->tree = NULL;
}

size_t stream_pel_count(const struct stream_pel *pel) {
    return pel->tree == NULL ? 0 : leaf_tree_count(pel->tree);
}

/* The first entry of the leaf that does not come before the id. */
static uint32_t lower_bound(const struct packed_pointer *leaf, uint32_t count,
                            struct stream_id id) {
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (stream_id_compare(pending_at(leaf, middle)->id, id) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void stream_pel_seek(const struct stream_pel *pel, struct stream_id from,
                     struct stream_pel_cursor *out) {
    out->has = pel->tree != NULL && leaf_tree_find(pel->tree, compare_to_key, &from, &out->place);
    if (!out->has) return;
    uint32_t count = leaf_place_count(&out->place);
    out->index = lower_bound(leaf_place_leaf(&out->place), count, from);
    if (out->index < count) return;
    out->has = leaf_place_next(&out->place);
    out->index = 0;
}

struct stream_pending *stream_pel_at(const struct stream_pel_cursor *cursor) {
    return pending_at(leaf_place_leaf(&cursor->place), cursor->index);
}

void stream_pel_next(struct stream_pel_cursor *cursor) {
    if (++cursor->index < leaf_place_count(&cursor->place)) return;
    cursor->index = 0;
    cursor->has = leaf_place_next(&cursor->place);
}

struct stream_pending *stream_pel_last(const struct stream_pel *pel) {
    struct leaf_place place;
    if (pel->tree == NULL || !leaf_tree_last(pel->tree, &place)) return NULL;
    return pending_at(leaf_place_leaf(&place), leaf_place_count(&place) - 1);
}

struct stream_pending *stream_pel_find(const struct stream_pel *pel, struct stream_id id) {
    struct stream_pel_cursor cursor;
    stream_pel_seek(pel, id, &cursor);
    if (!cursor.has) return NULL;
    struct stream_pending *found = stream_pel_at(&cursor);
    return stream_id_compare(found->id, id) == 0 ? found : NULL;
}

static void insert_leaf(struct leaf_tree *tree, struct leaf_place *place,
                        struct packed_pointer *leaf, uint32_t count) {
    leaf_tree_insert_after(tree, place, leaf, count, key_of(pending_at(leaf, 0)));
}

void stream_pel_insert(struct stream_pel *pel, struct stream_pending *pending) {
    struct leaf_place place = {0};
    if (pel->tree == NULL) pel->tree = leaf_tree_create(true);
    if (!leaf_tree_find(pel->tree, compare_to_key, &pending->id, &place)) {
        insert_leaf(pel->tree, &place, pointer_leaf_create(pending), 1);
        return;
    }
    struct packed_pointer *leaf = leaf_place_leaf(&place);
    uint32_t count = leaf_place_count(&place);
    uint32_t index = lower_bound(leaf, count, pending->id);
    if (count == LEAF_MAX) {
        if (index == count) { // What is delivered in order fills leaf after leaf.
            insert_leaf(pel->tree, &place, pointer_leaf_create(pending), 1);
            return;
        }
        uint32_t half = LEAF_MAX / 2;
        struct packed_pointer *upper = pointer_leaf_split(&leaf, count, half);
        leaf_tree_set_leaf(&place, leaf);
        leaf_tree_set_count(pel->tree, &place, half);
        insert_leaf(pel->tree, &place, upper, count - half);
        if (index > half) {
            index -= half;
        } else {
            leaf_place_previous(&place);
        }
        count = leaf_place_count(&place);
    }
    leaf_tree_set_leaf(&place, pointer_leaf_insert(leaf_place_leaf(&place), count, index, pending));
    leaf_tree_set_count(pel->tree, &place, count + 1);
    if (index == 0) leaf_tree_set_key(&place, key_of(pending));
}

void stream_pel_remove(struct stream_pel *pel, struct stream_id id) {
    struct leaf_place place;
    if (pel->tree == NULL || !leaf_tree_find(pel->tree, compare_to_key, &id, &place)) return;
    struct packed_pointer *leaf = leaf_place_leaf(&place);
    uint32_t count = leaf_place_count(&place);
    uint32_t index = lower_bound(leaf, count, id);
    if (index == count || stream_id_compare(pending_at(leaf, index)->id, id) != 0) return;
    if (count == 1) {
        mem_free(leaf);
        leaf_tree_remove(pel->tree, &place);
        if (leaf_tree_count(pel->tree) == 0) stream_pel_deinit(pel);
        return;
    }
    leaf = pointer_leaf_remove(leaf, count, index, 1);
    leaf_tree_set_leaf(&place, leaf);
    leaf_tree_set_count(pel->tree, &place, count - 1);
    if (index == 0) leaf_tree_set_key(&place, key_of(pending_at(leaf, 0)));
}

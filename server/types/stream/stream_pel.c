/* Pending entries by id: arrays of pointers as the leaves of a tree. */
#include "server/base/mem.h"
#include "server/types/stream/stream_internal.h"

enum { LEAF_MAX = 64 };

static struct leaf_key key_of(const struct stream_pending *pending) {
    return (struct leaf_key){pending->id.ms, pending->id.seq};
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
static uint32_t lower_bound(struct stream_pending *const *leaf, uint32_t count,
                            struct stream_id id) {
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (stream_id_compare(leaf[middle]->id, id) < 0) {
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
    struct stream_pending **leaf = leaf_place_leaf(&cursor->place);
    return leaf[cursor->index];
}

void stream_pel_next(struct stream_pel_cursor *cursor) {
    if (++cursor->index < leaf_place_count(&cursor->place)) return;
    cursor->index = 0;
    cursor->has = leaf_place_next(&cursor->place);
}

struct stream_pending *stream_pel_last(const struct stream_pel *pel) {
    struct leaf_place place;
    if (pel->tree == NULL || !leaf_tree_last(pel->tree, &place)) return NULL;
    struct stream_pending **leaf = leaf_place_leaf(&place);
    return leaf[leaf_place_count(&place) - 1];
}

struct stream_pending *stream_pel_find(const struct stream_pel *pel, struct stream_id id) {
    struct stream_pel_cursor cursor;
    stream_pel_seek(pel, id, &cursor);
    if (!cursor.has) return NULL;
    struct stream_pending *found = stream_pel_at(&cursor);
    return stream_id_compare(found->id, id) == 0 ? found : NULL;
}

/* Room for so many entries in steps, so that short lists stay small. */
static uint32_t leaf_room(uint32_t count) {
    return count <= 2 ? 2 : count <= 8 ? 8 : (count + 15) & ~15u;
}

static struct stream_pending **leaf_resize(struct stream_pending **leaf, uint32_t from,
                                           uint32_t to) {
    if (leaf != NULL && leaf_room(from) == leaf_room(to)) return leaf;
    return mem_realloc(leaf, leaf_room(to) * sizeof(struct stream_pending *));
}

static void insert_leaf(struct leaf_tree *tree, struct leaf_place *place,
                        struct stream_pending *const *items, uint32_t count) {
    struct stream_pending **leaf = leaf_resize(NULL, 0, count);
    memcpy(leaf, items, count * sizeof(*leaf));
    leaf_tree_insert_after(tree, place, leaf, count, key_of(leaf[0]));
}

void stream_pel_insert(struct stream_pel *pel, struct stream_pending *pending) {
    struct leaf_place place = {0};
    if (pel->tree == NULL) pel->tree = leaf_tree_create();
    if (!leaf_tree_find(pel->tree, compare_to_key, &pending->id, &place)) {
        insert_leaf(pel->tree, &place, &pending, 1);
        return;
    }
    struct stream_pending **leaf = leaf_place_leaf(&place);
    uint32_t count = leaf_place_count(&place);
    uint32_t index = lower_bound(leaf, count, pending->id);
    if (count == LEAF_MAX) {
        if (index == count) { // What is delivered in order fills leaf after leaf.
            insert_leaf(pel->tree, &place, &pending, 1);
            return;
        }
        uint32_t half = LEAF_MAX / 2;
        leaf_tree_set_count(pel->tree, &place, half);
        insert_leaf(pel->tree, &place, leaf + half, LEAF_MAX - half);
        if (index > half) {
            index -= half;
        } else {
            leaf_place_previous(&place);
        }
        leaf = leaf_place_leaf(&place);
        count = leaf_place_count(&place);
        leaf = leaf_resize(leaf, LEAF_MAX, count + 1);
    } else {
        leaf = leaf_resize(leaf, count, count + 1);
    }
    memmove(&leaf[index + 1], &leaf[index], (count - index) * sizeof(*leaf));
    leaf[index] = pending;
    leaf_tree_set_leaf(&place, leaf);
    leaf_tree_set_count(pel->tree, &place, count + 1);
    if (index == 0) leaf_tree_set_key(&place, key_of(pending));
}

void stream_pel_remove(struct stream_pel *pel, struct stream_id id) {
    struct leaf_place place;
    if (pel->tree == NULL || !leaf_tree_find(pel->tree, compare_to_key, &id, &place)) return;
    struct stream_pending **leaf = leaf_place_leaf(&place);
    uint32_t count = leaf_place_count(&place);
    uint32_t index = lower_bound(leaf, count, id);
    if (index == count || stream_id_compare(leaf[index]->id, id) != 0) return;
    if (count == 1) {
        mem_free(leaf);
        leaf_tree_remove(pel->tree, &place);
        if (leaf_tree_count(pel->tree) == 0) stream_pel_deinit(pel);
        return;
    }
    memmove(&leaf[index], &leaf[index + 1], (count - index - 1) * sizeof(*leaf));
    leaf = leaf_resize(leaf, count, count - 1);
    leaf_tree_set_leaf(&place, leaf);
    leaf_tree_set_count(pel->tree, &place, count - 1);
    if (index == 0) leaf_tree_set_key(&place, key_of(leaf[0]));
}

#include "server/structs/leaf_tree.h"

#include <string.h>

#include "server/base/check.h"
#include "server/base/mem.h"

/* A node that is not the root has at least half of its places taken, so any two neighbours hold
 * either few enough for one node or enough to share. A full-sized node is a little less than a
 * kilobyte, a size class of the allocator; a root grows to that in steps, since most trees are
 * small. */
enum { FAN_OUT = 31, FILL_MIN = FAN_OUT / 2, ROOT_FIRST = 2 };

/* Behind the head lie `cap` pointers to the children (leaves, or nodes of the level below), the
 * elements under each, and, in a tree that has keys, that of the first leaf under each. */
struct leaf_tree_node {
    uint32_t count;
    uint16_t cap;
    uint8_t level; /* 0: the children are leaves. */
    bool has_keys;
    uint64_t places[];
};

static inline void **children_of(const struct leaf_tree_node *node) {
    return (void **)(uintptr_t)node->places;
}

static inline uint64_t *counts_of(const struct leaf_tree_node *node) {
    return (uint64_t *)(uintptr_t)node->places + node->cap;
}

static inline struct leaf_key *keys_of(const struct leaf_tree_node *node) {
    return (struct leaf_key *)((uintptr_t)node->places + (size_t)node->cap * 16);
}

static inline struct leaf_key key_at(const struct leaf_tree_node *node, uint32_t index) {
    return node->has_keys ? keys_of(node)[index] : (struct leaf_key){0};
}

static inline void set_key_at(struct leaf_tree_node *node, uint32_t index, struct leaf_key key) {
    if (node->has_keys) keys_of(node)[index] = key;
}

static size_t node_bytes(uint32_t cap, bool has_keys) {
    return sizeof(struct leaf_tree_node) +
           cap * (2 * sizeof(uint64_t) + (has_keys ? sizeof(struct leaf_key) : 0));
}

struct leaf_tree {
    struct leaf_tree_node *root; /* NULL: empty. */
    uint64_t count;
    uint64_t leaf_count;
    uint64_t node_count : 63;
    bool has_keys : 1;
};

_Static_assert(sizeof(struct leaf_tree) == 32, "a tree and its first node fit two small blocks");

/* -- life -- */

static struct leaf_tree_node *node_create(struct leaf_tree *tree, uint32_t level, uint32_t cap) {
    struct leaf_tree_node *node = mem_alloc(node_bytes(cap, tree->has_keys));
    *node = (struct leaf_tree_node){
        .cap = (uint16_t)cap, .level = (uint8_t)level, .has_keys = tree->has_keys};
    tree->node_count++;
    return node;
}

static void node_free(struct leaf_tree *tree, struct leaf_tree_node *node) {
    tree->node_count--;
    mem_free(node);
}

struct leaf_tree *leaf_tree_create(bool has_keys) {
    struct leaf_tree *tree = mem_alloc_zero(sizeof(*tree));
    tree->has_keys = has_keys;
    return tree;
}

/* As deep as the tree, which LEAF_TREE_DEPTH_MAX bounds. */
static void destroy_under(struct leaf_tree_node *node, void (*free_leaf)(void *leaf)) {
    for (uint32_t i = 0; i < node->count; i++) {
        if (node->level > 0) {
            destroy_under(children_of(node)[i], free_leaf);
        } else if (free_leaf != NULL) {
            free_leaf(children_of(node)[i]);
        }
    }
    mem_free(node);
}

void leaf_tree_destroy(struct leaf_tree *tree, void (*free_leaf)(void *leaf)) {
    if (tree == NULL) return;
    if (tree->root != NULL) destroy_under(tree->root, free_leaf);
    mem_free(tree);
}

uint64_t leaf_tree_count(const struct leaf_tree *tree) {
    return tree->count;
}

size_t leaf_tree_leaf_count(const struct leaf_tree *tree) {
    return tree->leaf_count;
}

size_t leaf_tree_memory_used(const struct leaf_tree *tree) {
    if (tree->root == NULL) return sizeof(*tree);
    return sizeof(*tree) + node_bytes(tree->root->cap, tree->has_keys) +
           (tree->node_count - 1) * node_bytes(FAN_OUT, tree->has_keys);
}

/* -- finding -- */

/* Goes down from the last node of the place to a leaf, by the first or the last child each time. */
static void descend(struct leaf_place *place, bool is_last) {
    struct leaf_tree_node *node = place->nodes[place->depth - 1];
    while (node->level > 0) {
        node = children_of(node)[place->indexes[place->depth - 1]];
        place->nodes[place->depth] = node;
        place->indexes[place->depth] = (uint16_t)(is_last ? node->count - 1 : 0);
        place->depth++;
    }
}

bool leaf_tree_first(const struct leaf_tree *tree, struct leaf_place *out) {
    if (tree->root == NULL) return false;
    out->nodes[0] = tree->root;
    out->indexes[0] = 0;
    out->depth = 1;
    descend(out, false);
    return true;
}

bool leaf_tree_last(const struct leaf_tree *tree, struct leaf_place *out) {
    if (tree->root == NULL) return false;
    out->nodes[0] = tree->root;
    out->indexes[0] = (uint16_t)(tree->root->count - 1);
    out->depth = 1;
    descend(out, true);
    return true;
}

bool leaf_tree_at(const struct leaf_tree *tree, uint64_t rank, struct leaf_place *out,
                  uint64_t *out_offset) {
    if (rank >= tree->count) return false;
    out->depth = 0;
    struct leaf_tree_node *node = tree->root;
    for (;;) {
        uint32_t i = 0;
        while (rank >= counts_of(node)[i])
            rank -= counts_of(node)[i++];
        out->nodes[out->depth] = node;
        out->indexes[out->depth++] = (uint16_t)i;
        if (node->level == 0) break;
        node = children_of(node)[i];
    }
    *out_offset = rank;
    return true;
}

/* The last child whose key is not above the wanted one, or the first. */
static uint32_t child_for(const struct leaf_tree_node *node,
                          int (*compare)(const void *wanted, const struct leaf_key *key),
                          const void *wanted) {
    uint32_t low = 0;
    uint32_t high = node->count; // The answer is in [low, high).
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (compare(wanted, &keys_of(node)[middle]) < 0) {
            high = middle;
        } else {
            low = middle;
        }
    }
    return low;
}

bool leaf_tree_find(const struct leaf_tree *tree,
                    int (*compare)(const void *wanted, const struct leaf_key *key),
                    const void *wanted, struct leaf_place *out) {
    if (tree->root == NULL) return false;
    out->depth = 0;
    struct leaf_tree_node *node = tree->root;
    for (;;) {
        uint32_t i = child_for(node, compare, wanted);
        out->nodes[out->depth] = node;
        out->indexes[out->depth++] = (uint16_t)i;
        if (node->level == 0) return true;
        node = children_of(node)[i];
    }
}

bool leaf_place_next(struct leaf_place *place) {
    uint32_t depth = place->depth;
    while (depth > 0 && place->indexes[depth - 1] + 1u == place->nodes[depth - 1]->count)
        depth--;
    if (depth == 0) return false;
    place->indexes[depth - 1]++;
    place->depth = depth;
    descend(place, false);
    return true;
}

bool leaf_place_previous(struct leaf_place *place) {
    uint32_t depth = place->depth;
    while (depth > 0 && place->indexes[depth - 1] == 0)
        depth--;
    if (depth == 0) return false;
    place->indexes[depth - 1]--;
    place->depth = depth;
    descend(place, true);
    return true;
}

void *leaf_place_leaf(const struct leaf_place *place) {
    return children_of(place->nodes[place->depth - 1])[place->indexes[place->depth - 1]];
}

uint32_t leaf_place_count(const struct leaf_place *place) {
    return (uint32_t)counts_of(place->nodes[place->depth - 1])[place->indexes[place->depth - 1]];
}

struct leaf_key leaf_place_key(const struct leaf_place *place) {
    return key_at(place->nodes[place->depth - 1], place->indexes[place->depth - 1]);
}

uint64_t leaf_place_rank(const struct leaf_place *place) {
    uint64_t rank = 0;
    for (uint32_t d = 0; d < place->depth; d++) {
        for (uint32_t i = 0; i < place->indexes[d]; i++)
            rank += counts_of(place->nodes[d])[i];
    }
    return rank;
}

/* -- changing -- */

void leaf_tree_set_leaf(struct leaf_place *place, void *leaf) {
    children_of(place->nodes[place->depth - 1])[place->indexes[place->depth - 1]] = leaf;
}

void leaf_tree_set_count(struct leaf_tree *tree, struct leaf_place *place, uint32_t count) {
    ASSERT(count > 0);
    uint64_t change = (uint64_t)count - leaf_place_count(place); // Wraps where it shrinks.
    for (uint32_t d = 0; d < place->depth; d++)
        counts_of(place->nodes[d])[place->indexes[d]] += change;
    tree->count += change;
}

void leaf_tree_set_key(struct leaf_place *place, struct leaf_key key) {
    for (uint32_t d = place->depth; d-- > 0;) {
        set_key_at(place->nodes[d], place->indexes[d], key);
        if (place->indexes[d] > 0) return; // It is not the first above any more.
    }
}

static uint64_t sum_of(const struct leaf_tree_node *node, uint32_t first, uint32_t end) {
    uint64_t sum = 0;
    for (uint32_t i = first; i < end; i++)
        sum += counts_of(node)[i];
    return sum;
}

/* Moves `count` children between nodes or within one, as memmove does. */
static void move_children(struct leaf_tree_node *to, uint32_t at, const struct leaf_tree_node *from,
                          uint32_t first, uint32_t count) {
    memmove(&children_of(to)[at], &children_of(from)[first], count * sizeof(children_of(to)[0]));
    memmove(&counts_of(to)[at], &counts_of(from)[first], count * sizeof(counts_of(to)[0]));
    if (to->has_keys)
        memmove(&keys_of(to)[at], &keys_of(from)[first], count * sizeof(struct leaf_key));
}

static void put_child(struct leaf_tree_node *node, uint32_t at, void *child, uint64_t count,
                      struct leaf_key key) {
    move_children(node, at + 1, node, at, node->count - at);
    children_of(node)[at] = child;
    counts_of(node)[at] = count;
    set_key_at(node, at, key);
    node->count++;
}

static void drop_child(struct leaf_tree_node *node, uint32_t at) {
    node->count--;
    move_children(node, at, node, at + 1, node->count - at);
}

/* A new root above the old one; the place gets one level more. */
static void grow_root(struct leaf_tree *tree, struct leaf_place *place) {
    ASSERT(place->depth < LEAF_TREE_DEPTH_MAX);
    struct leaf_tree_node *root = node_create(tree, tree->root->level + 1, ROOT_FIRST);
    put_child(root, 0, tree->root, tree->count, key_at(tree->root, 0));
    memmove(&place->nodes[1], &place->nodes[0], place->depth * sizeof(place->nodes[0]));
    memmove(&place->indexes[1], &place->indexes[0], place->depth * sizeof(place->indexes[0]));
    place->nodes[0] = root;
    place->indexes[0] = 0;
    place->depth++;
    tree->root = root;
}

/* More places for a root that is smaller than other nodes. */
static void widen_root(struct leaf_tree *tree, struct leaf_place *place) {
    struct leaf_tree_node *root = tree->root;
    uint32_t cap = root->cap < 3 ? root->cap + 1u : root->cap * 2u + 1; // As blocks come.
    if (cap > FAN_OUT) cap = FAN_OUT;
    struct leaf_tree_node *wide = node_create(tree, root->level, cap);
    move_children(wide, 0, root, 0, root->count);
    wide->count = root->count;
    node_free(tree, root);
    tree->root = wide;
    place->nodes[0] = wide;
}

/* Splits the node at depth `d` of the place if it is full, and those above it as needed. */
static void make_room(struct leaf_tree *tree, struct leaf_place *place, uint32_t d) {
    struct leaf_tree_node *node = place->nodes[d];
    if (node->count < node->cap) return;
    if (node->cap < FAN_OUT) {
        widen_root(tree, place);
        return;
    }
    uint32_t depth_before = place->depth;
    if (d == 0) {
        grow_root(tree, place);
    } else {
        make_room(tree, place, d - 1);
    }
    d += place->depth - depth_before;
    struct leaf_tree_node *parent = place->nodes[d - 1];
    uint32_t at = place->indexes[d - 1];
    struct leaf_tree_node *right = node_create(tree, node->level, FAN_OUT);
    right->count = FAN_OUT - FILL_MIN;
    move_children(right, 0, node, FILL_MIN, right->count);
    node->count = FILL_MIN;
    uint64_t moved = sum_of(right, 0, right->count);
    counts_of(parent)[at] -= moved;
    put_child(parent, at + 1, right, moved, key_at(right, 0));
    if (place->indexes[d] < FILL_MIN) return;
    place->nodes[d] = right;
    place->indexes[d] = (uint16_t)(place->indexes[d] - FILL_MIN);
    place->indexes[d - 1]++;
}

static void insert_first(struct leaf_tree *tree, struct leaf_place *place, void *leaf,
                         uint32_t count, struct leaf_key key) {
    tree->root = node_create(tree, 0, ROOT_FIRST);
    put_child(tree->root, 0, leaf, count, key);
    place->nodes[0] = tree->root;
    place->indexes[0] = 0;
    place->depth = 1;
}

/* `shift` 1: behind the place, 0: before it. */
static void insert(struct leaf_tree *tree, struct leaf_place *place, void *leaf, uint32_t count,
                   struct leaf_key key, unsigned shift) {
    ASSERT(count > 0);
    if (tree->root == NULL) {
        insert_first(tree, place, leaf, count, key);
    } else {
        make_room(tree, place, place->depth - 1);
        uint32_t bottom = place->depth - 1;
        uint32_t at = place->indexes[bottom] + shift;
        put_child(place->nodes[bottom], at, leaf, count, key);
        place->indexes[bottom] = (uint16_t)at;
        for (uint32_t d = 0; d < bottom; d++)
            counts_of(place->nodes[d])[place->indexes[d]] += count;
        if (at == 0) leaf_tree_set_key(place, key);
    }
    tree->count += count;
    tree->leaf_count++;
}

void leaf_tree_insert_after(struct leaf_tree *tree, struct leaf_place *place, void *leaf,
                            uint32_t count, struct leaf_key key) {
    insert(tree, place, leaf, count, key, 1);
}

void leaf_tree_insert_before(struct leaf_tree *tree, struct leaf_place *place, void *leaf,
                             uint32_t count, struct leaf_key key) {
    insert(tree, place, leaf, count, key, 0);
}

/* Makes one node of two neighbours, or lets them share evenly. `at` is the left one's index. */
static void balance(struct leaf_tree *tree, struct leaf_tree_node *parent, uint32_t at) {
    struct leaf_tree_node *left = children_of(parent)[at];
    struct leaf_tree_node *right = children_of(parent)[at + 1];
    uint32_t total = left->count + right->count;
    if (total <= FAN_OUT) {
        move_children(left, left->count, right, 0, right->count);
        left->count = total;
        counts_of(parent)[at] += counts_of(parent)[at + 1];
        drop_child(parent, at + 1);
        node_free(tree, right);
        return;
    }
    uint32_t half = total / 2;
    if (left->count < half) {
        uint32_t moved = half - left->count;
        move_children(left, left->count, right, 0, moved);
        move_children(right, 0, right, moved, right->count - moved);
    } else {
        uint32_t moved = left->count - half;
        move_children(right, moved, right, 0, right->count);
        move_children(right, 0, left, half, moved);
    }
    left->count = half;
    right->count = total - half;
    counts_of(parent)[at] = sum_of(left, 0, left->count);
    counts_of(parent)[at + 1] = sum_of(right, 0, right->count);
    set_key_at(parent, at + 1, key_at(right, 0));
}

static void shrink_root(struct leaf_tree *tree) {
    struct leaf_tree_node *root = tree->root;
    if (root->count == 0) {
        node_free(tree, root);
        tree->root = NULL;
        return;
    }
    while (root->level > 0 && root->count == 1) {
        tree->root = children_of(root)[0];
        node_free(tree, root);
        root = tree->root;
    }
}

bool leaf_tree_remove(struct leaf_tree *tree, struct leaf_place *place) {
    uint64_t rank = leaf_place_rank(place);
    uint32_t count = leaf_place_count(place);
    uint32_t bottom = place->depth - 1;
    for (uint32_t d = 0; d < bottom; d++)
        counts_of(place->nodes[d])[place->indexes[d]] -= count;
    tree->count -= count;
    tree->leaf_count--;
    struct leaf_tree_node *node = place->nodes[bottom];
    drop_child(node, place->indexes[bottom]);
    // Only a root can be empty now; elsewhere the node's first key is what those above must know.
    if (place->indexes[bottom] == 0 && node->count > 0) leaf_tree_set_key(place, key_at(node, 0));
    for (uint32_t d = bottom; d > 0 && place->nodes[d]->count < FILL_MIN; d--) {
        uint32_t at = place->indexes[d - 1];
        balance(tree, place->nodes[d - 1], at == 0 ? 0 : at - 1);
    }
    shrink_root(tree);
    // No leaf is empty, so the one that followed begins at the rank of the one that went.
    uint64_t offset = 0;
    return leaf_tree_at(tree, rank, place, &offset);
}

/* -- for tests -- */

static void check_node(const struct leaf_tree *tree, const struct leaf_tree_node *node,
                       int (*compare)(const struct leaf_key *a, const struct leaf_key *b),
                       size_t *leaf_count, size_t *node_count) {
    ++*node_count;
    ASSERT(node->count <= FAN_OUT && node->count > 0);
    ASSERT(node == tree->root || node->count >= FILL_MIN);
    ASSERT(node != tree->root || node->level == 0 || node->count > 1);
    for (uint32_t i = 0; i < node->count; i++) {
        ASSERT(counts_of(node)[i] > 0);
        if (i > 0 && compare != NULL)
            ASSERT(compare(&keys_of(node)[i - 1], &keys_of(node)[i]) <= 0);
        if (node->level == 0) {
            ++*leaf_count;
            continue;
        }
        const struct leaf_tree_node *child = children_of(node)[i];
        ASSERT(child->level + 1 == node->level);
        ASSERT(sum_of(child, 0, child->count) == counts_of(node)[i]);
        ASSERT(key_at(child, 0).high == key_at(node, i).high &&
               key_at(child, 0).low == key_at(node, i).low);
        check_node(tree, child, compare, leaf_count, node_count);
    }
}

void leaf_tree_check(const struct leaf_tree *tree,
                     int (*compare)(const struct leaf_key *a, const struct leaf_key *b)) {
    size_t leaf_count = 0;
    size_t node_count = 0;
    if (tree->root != NULL) {
        ASSERT(sum_of(tree->root, 0, tree->root->count) == tree->count);
        check_node(tree, tree->root, compare, &leaf_count, &node_count);
    } else {
        ASSERT(tree->count == 0);
    }
    ASSERT(leaf_count == tree->leaf_count && node_count == tree->node_count);
}

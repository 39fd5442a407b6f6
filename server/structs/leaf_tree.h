/* A counted B+tree over leaves that its user fills: rank and key lead to a leaf in O(log n).
 *
 * The tree knows how many elements lie in each leaf and, for ordered users, the key of each leaf's
 * first element; what a leaf is (a listpack, an array of scores) only its user knows. Lists use
 * ranks alone, sorted sets ranks and keys, streams keys alone.
 *
 * Words
 *   leaf   a block of elements, allocated, grown, split and freed by the user; never empty while it
 *          is in the tree.
 *   rank   how many elements lie before an element: 0 .. leaf_tree_count - 1.
 *   key    16 bytes that stand for a leaf's first element, compared by the user's function.
 *   place  where a leaf lies: the way from the root. Any change of the tree other than through this
 *          place makes it invalid.
 *
 * Cost: everything is O(log n) in the number of leaves unless it says otherwise. Memory: 32 bytes a
 * leaf in inner nodes that are at least half full.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/compiler.h"

struct leaf_tree;
struct leaf_tree_node;

struct leaf_key {
    uint64_t high;
    uint64_t low;
};

enum { LEAF_TREE_DEPTH_MAX = 16 };

struct leaf_place {
    struct leaf_tree_node *nodes[LEAF_TREE_DEPTH_MAX]; /* From the root down. */
    uint16_t indexes[LEAF_TREE_DEPTH_MAX];
    uint32_t depth;
};

/* Creates an empty tree. Never NULL. Without keys, which cost 16 bytes a leaf, a leaf is found by
 * its rank only, and the keys that are given count for nothing. */
struct leaf_tree *leaf_tree_create(bool has_keys);

/* Frees the tree; `free_leaf` (NULL: none) is called for each leaf. NULL tree is fine. O(leaves) */
void leaf_tree_destroy(struct leaf_tree *tree, void (*free_leaf)(void *leaf));

uint64_t leaf_tree_count(const struct leaf_tree *tree);    /* Elements. O(1) */
size_t leaf_tree_leaf_count(const struct leaf_tree *tree); /* O(1) */
/* Bytes that the tree's own nodes hold. O(1) */
size_t leaf_tree_memory_used(const struct leaf_tree *tree);

/* -- finding -- */

/* The first and the last leaf. False when the tree is empty. */
bool leaf_tree_first(const struct leaf_tree *tree, struct leaf_place *out);
bool leaf_tree_last(const struct leaf_tree *tree, struct leaf_place *out);

/* The leaf that holds the element of this rank, and how many of its elements lie before that one.
 * False when the rank is not below the count. */
bool leaf_tree_at(const struct leaf_tree *tree, uint64_t rank, struct leaf_place *out,
                  uint64_t *out_offset);

/* The last leaf whose key is not above the wanted one, or the first leaf when all are above: where
 * an element lies, if it is there, and where it belongs, if it is not. `compare` tells the order of
 * `wanted` (the caller's own form of a key) and of a leaf's key, as strcmp does. False when the
 * tree is empty. */
bool leaf_tree_find(const struct leaf_tree *tree,
                    int (*compare)(const void *wanted, const struct leaf_key *key),
                    const void *wanted, struct leaf_place *out);

/* Moves to the neighbour. False (and the place unchanged) at the end. O(1) amortised. */
bool leaf_place_next(struct leaf_place *place);
bool leaf_place_previous(struct leaf_place *place);

void *leaf_place_leaf(const struct leaf_place *place);
uint32_t leaf_place_count(const struct leaf_place *place); /* Elements in the leaf. */
struct leaf_key leaf_place_key(const struct leaf_place *place);
uint64_t leaf_place_rank(const struct leaf_place *place); /* Elements before the leaf. */

/* -- changing -- */

/* The leaf at the place lies elsewhere now, or holds another number of elements (not 0), or begins
 * with another key. The keys stay in order. */
void leaf_tree_set_leaf(struct leaf_place *place, void *leaf); /* O(1) */
void leaf_tree_set_count(struct leaf_tree *tree, struct leaf_place *place, uint32_t count);
void leaf_tree_set_key(struct leaf_place *place, struct leaf_key key);

/* Puts a leaf behind (before) the one at the place; into an empty tree whatever the place. The
 * place then stands at the new leaf. */
void leaf_tree_insert_after(struct leaf_tree *tree, struct leaf_place *place, void *leaf,
                            uint32_t count, struct leaf_key key);
void leaf_tree_insert_before(struct leaf_tree *tree, struct leaf_place *place, void *leaf,
                             uint32_t count, struct leaf_key key);

/* Takes the leaf at the place out; the caller owns it again (read it first). The place then stands
 * at the leaf that followed. Returns false, with the place invalid, when none follows. */
bool leaf_tree_remove(struct leaf_tree *tree, struct leaf_place *place);

/* -- for tests -- */

/* Asserts that counts, keys and fill of all nodes are as they must be. O(leaves) */
void leaf_tree_check(const struct leaf_tree *tree,
                     int (*compare)(const struct leaf_key *a, const struct leaf_key *b));

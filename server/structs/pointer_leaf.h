/* A leaf of pointers: an array that grows by the allocator's size classes, six bytes a pointer.
 *
 * Leaves of a leaf_tree over objects that lie elsewhere are made of these: the members of a sorted
 * set in order, the pending entries of a consumer. Who has the leaf knows how many it holds; NULL
 * is a leaf without room. Addresses of user space have 47 bits.
 */
#pragma once

#include <stdint.h>
#include <string.h>

struct packed_pointer {
    uint8_t bytes[6];
};

enum { POINTER_LEAF_MAX = 85 }; /* What fits into half a kilobyte. */

/* The pointer's bits. Reads two bytes more than it takes: a leaf has them behind its last one. */
static inline uint64_t pointer_leaf_bits(const struct packed_pointer *leaf, size_t index) {
    uint64_t word;
    memcpy(&word, (const uint8_t *)leaf + index * sizeof(*leaf), sizeof(word));
    return word & (((uint64_t)1 << 48) - 1);
}

static inline void *pointer_leaf_get(const struct packed_pointer *leaf, size_t index) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): 48 bits are all there is.
    return (void *)(uintptr_t)pointer_leaf_bits(leaf, index);
}

/* Where a pointer lies that is there. */
static inline uint32_t pointer_leaf_find(const struct packed_pointer *leaf, const void *pointer) {
    uint64_t wanted = (uint64_t)(uintptr_t)pointer;
    uint32_t index = 0;
    while (pointer_leaf_bits(leaf, index) != wanted)
        index++;
    return index;
}

static inline void pointer_leaf_set(struct packed_pointer *leaf, size_t index,
                                    const void *pointer) {
    uint64_t word = (uint64_t)(uintptr_t)pointer;
    memcpy(leaf[index].bytes, &word, sizeof(leaf->bytes));
}

/* Room for `to` pointers where there was some for `from`; the leaf may move. */
struct packed_pointer *pointer_leaf_resize(struct packed_pointer *leaf, uint32_t from, uint32_t to);

/* A leaf of the one pointer. */
struct packed_pointer *pointer_leaf_create(const void *pointer);

/* Puts a pointer before the one at `index` (or behind the last) of `count`. */
struct packed_pointer *pointer_leaf_insert(struct packed_pointer *leaf, uint32_t count,
                                           uint32_t index, const void *pointer);

/* Takes `removed` pointers from `index` on out of `count`; some stay. */
struct packed_pointer *pointer_leaf_remove(struct packed_pointer *leaf, uint32_t count,
                                           uint32_t index, uint32_t removed);

/* Cuts what lies from `at` on off into a leaf of its own; *inout_leaf, of `count`, keeps the rest.
 */
struct packed_pointer *pointer_leaf_split(struct packed_pointer **inout_leaf, uint32_t count,
                                          uint32_t at);

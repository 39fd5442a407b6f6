#include "server/structs/pointer_leaf.h"

#include "server/base/mem.h"

/* The size class that holds so many pointers, and the two bytes that reading the last one needs. */
static size_t room_bytes(uint32_t count) {
    size_t bytes = count * sizeof(struct packed_pointer) + 2;
    size_t step = bytes <= 128 ? 16 : bytes <= 256 ? 32 : 64;
    return (bytes + step - 1) & ~(step - 1);
}

struct packed_pointer *pointer_leaf_resize(struct packed_pointer *leaf, uint32_t from,
                                           uint32_t to) {
    if (leaf != NULL && room_bytes(from) == room_bytes(to)) return leaf;
    return mem_realloc(leaf, room_bytes(to));
}

struct packed_pointer *pointer_leaf_create(const void *pointer) {
    struct packed_pointer *leaf = pointer_leaf_resize(NULL, 0, 1);
    pointer_leaf_set(leaf, 0, pointer);
    return leaf;
}

struct packed_pointer *pointer_leaf_insert(struct packed_pointer *leaf, uint32_t count,
                                           uint32_t index, const void *pointer) {
    leaf = pointer_leaf_resize(leaf, count, count + 1);
    memmove(&leaf[index + 1], &leaf[index], (count - index) * sizeof(*leaf));
    pointer_leaf_set(leaf, index, pointer);
    return leaf;
}

struct packed_pointer *pointer_leaf_remove(struct packed_pointer *leaf, uint32_t count,
                                           uint32_t index, uint32_t removed) {
    memmove(&leaf[index], &leaf[index + removed], (count - index - removed) * sizeof(*leaf));
    return pointer_leaf_resize(leaf, count, count - removed);
}

struct packed_pointer *pointer_leaf_split(struct packed_pointer **inout_leaf, uint32_t count,
                                          uint32_t at) {
    struct packed_pointer *upper = pointer_leaf_resize(NULL, 0, count - at);
    memcpy(upper, *inout_leaf + at, (count - at) * sizeof(*upper));
    *inout_leaf = pointer_leaf_resize(*inout_leaf, count, at);
    return upper;
}

#include "server/structs/intset.h"

#include <string.h>

#include "server/base/check.h"
#include "server/base/mem.h"

static uint32_t read_u32(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

size_t intset_count(const uint8_t *block) {
    return read_u32(block + 4);
}

int64_t intset_get(const uint8_t *block, size_t index) {
    ASSERT(index < intset_count(block));
    uint32_t width = read_u32(block);
    const uint8_t *at = block + INTSET_HEADER_BYTES + index * width;
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++)
        value |= (uint64_t)at[i] << (8 * i);
    unsigned unused = 64 - 8 * width;
    return (int64_t)(value << unused) >> unused;
}

/* The index of the member, or where it belongs. */
static bool find_index(const uint8_t *block, int64_t member, size_t *out) {
    size_t low = 0;
    size_t high = intset_count(block);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int64_t here = intset_get(block, middle);
        if (here == member) {
            *out = middle;
            return true;
        }
        if (here < member)
            low = middle + 1;
        else
            high = middle;
    }
    *out = low;
    return false;
}

bool intset_contains(const uint8_t *block, int64_t member) {
    size_t index;
    return find_index(block, member, &index);
}

/* -- changes -- */

static void write_u32(uint8_t *at, uint32_t value) {
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static void write_member(uint8_t *block, size_t index, int64_t member) {
    uint32_t width = read_u32(block);
    uint8_t *at = block + INTSET_HEADER_BYTES + index * width;
    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)((uint64_t)member >> (8 * i));
}

static uint32_t width_of(int64_t member) {
    if (member >= INT16_MIN && member <= INT16_MAX) return 2;
    if (member >= INT32_MIN && member <= INT32_MAX) return 4;
    return 8;
}

size_t intset_bytes(const uint8_t *block) {
    return INTSET_HEADER_BYTES + (size_t)read_u32(block) * intset_count(block);
}

uint8_t *intset_create(void) {
    uint8_t *block = mem_alloc(INTSET_HEADER_BYTES);
    write_u32(block, 2);
    write_u32(block + 4, 0);
    return block;
}

/* The same members, wider. */
static void widen(uint8_t **block, uint32_t width) {
    size_t count = intset_count(*block);
    uint8_t *wide = mem_alloc(INTSET_HEADER_BYTES + width * count);
    write_u32(wide, width);
    write_u32(wide + 4, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        write_member(wide, i, intset_get(*block, i));
    mem_free(*block);
    *block = wide;
}

bool intset_add(uint8_t **block, int64_t member) {
    size_t index;
    if (find_index(*block, member, &index)) return false;
    if (width_of(member) > read_u32(*block)) widen(block, width_of(member));
    size_t width = read_u32(*block);
    size_t count = intset_count(*block);
    *block = mem_realloc(*block, INTSET_HEADER_BYTES + width * (count + 1));
    uint8_t *at = *block + INTSET_HEADER_BYTES + index * width;
    memmove(at + width, at, (count - index) * width);
    write_member(*block, index, member);
    write_u32(*block + 4, (uint32_t)count + 1);
    return true;
}

bool intset_remove(uint8_t **block, int64_t member) {
    size_t index;
    if (!find_index(*block, member, &index)) return false;
    size_t width = read_u32(*block);
    size_t count = intset_count(*block);
    uint8_t *at = *block + INTSET_HEADER_BYTES + index * width;
    memmove(at, at + width, (count - index - 1) * width);
    *block = mem_realloc(*block, INTSET_HEADER_BYTES + width * (count - 1));
    write_u32(*block + 4, (uint32_t)count - 1);
    return true;
}

bool intset_is_valid(struct bytes block) {
    if (block.len < INTSET_HEADER_BYTES) return false;
    uint64_t width = read_u32(block.data);
    uint64_t count = read_u32(block.data + 4);
    if ((width != 2 && width != 4 && width != 8) || count == 0) return false;
    if (block.len != INTSET_HEADER_BYTES + width * count) return false;
    for (size_t i = 1; i < count; i++) {
        if (intset_get(block.data, i - 1) >= intset_get(block.data, i)) return false;
    }
    return true;
}

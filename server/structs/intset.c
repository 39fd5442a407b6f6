#include "server/structs/intset.h"

#include "server/base/check.h"

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

bool intset_contains(const uint8_t *block, int64_t member) {
    size_t low = 0;
    size_t high = intset_count(block);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int64_t here = intset_get(block, middle);
        if (here == member) return true;
        if (here < member)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
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

#include <string.h>

#include <criterion/criterion.h>

#include "server/base/rng.h"
#include "server/types/bitmap/bits.h"

static unsigned plain_bit(struct bytes bytes, uint64_t at) {
    return bytes.data[at / 8] >> (7 - at % 8) & 1u;
}

Test(bits, are_counted_and_found_as_one_by_one) {
    struct rng rng;
    uint8_t data[100];
    rng_seed(&rng, 3);
    for (int round = 0; round < 400; round++) {
        size_t len = rng_below(&rng, sizeof(data) + 1);
        unsigned kind = (unsigned)rng_below(&rng, 4);
        for (size_t i = 0; i < len; i++)
            data[i] = kind == 0 ? 0 : kind == 1 ? 0xff : (uint8_t)rng_next(&rng);
        if (kind < 2 && len > 0) data[rng_below(&rng, len)] ^= (uint8_t)(1u << rng_below(&rng, 8));
        struct bytes bytes = bytes_of(data, len);
        uint64_t set = 0;
        for (uint64_t i = 0; i < len * 8; i++)
            set += plain_bit(bytes, i);
        cr_assert_eq(bits_count(bytes), set);
        uint64_t from = rng_below(&rng, len * 8 + 10);
        for (unsigned value = 0; value < 2; value++) {
            int64_t expected = -1;
            for (uint64_t i = from; expected < 0 && i < len * 8; i++)
                if (plain_bit(bytes, i) == value) expected = (int64_t)i;
            cr_assert_eq(bits_find(bytes, from, value != 0), expected);
        }
    }
}

Test(bits, hold_integers_anywhere) {
    struct rng rng;
    uint8_t data[64] = {0};
    rng_seed(&rng, 4);
    for (int round = 0; round < 5000; round++) {
        unsigned width = 1 + (unsigned)rng_below(&rng, 64);
        uint64_t offset = rng_below(&rng, sizeof(data) * 8 - width);
        uint64_t mask = width == 64 ? UINT64_MAX : ((uint64_t)1 << width) - 1;
        uint64_t value = rng_next(&rng) & mask;
        uint8_t before[64];
        memcpy(before, data, sizeof(data));
        bits_set(data, offset, width, value);
        cr_assert_eq(bits_get(bytes_of(data, sizeof(data)), offset, width), value);
        for (uint64_t i = 0; i < sizeof(data) * 8; i++)
            if (i < offset || i >= offset + width)
                cr_assert_eq(plain_bit(bytes_of(data, 64), i), plain_bit(bytes_of(before, 64), i));
    }
    cr_assert_eq(bits_get(bytes_of(data, 1), 4, 8), (uint64_t)(data[0] & 15) << 4);
}

Test(bits, add_with_every_kind_of_overflow) {
    uint64_t sum;
    cr_assert(bits_add(250, 10, 8, false, BITS_WRAP, &sum) && sum == 4);
    cr_assert(bits_add(250, 10, 8, false, BITS_SATURATE, &sum) && sum == 255);
    cr_assert(!bits_add(250, 10, 8, false, BITS_FAIL, &sum));
    cr_assert(bits_add(5, -10, 8, false, BITS_SATURATE, &sum) && sum == 0);
    cr_assert(bits_add((uint64_t)(int64_t)-120, -10, 8, true, BITS_WRAP, &sum) && sum == 126);
    cr_assert(bits_add((uint64_t)(int64_t)-120, -10, 8, true, BITS_SATURATE, &sum) && sum == 128);
    cr_assert(bits_add(INT64_MAX, 1, 64, true, BITS_WRAP, &sum) && (int64_t)sum == INT64_MIN);
    cr_assert(!bits_add(INT64_MAX, INT64_MAX, 64, true, BITS_FAIL, &sum));
}

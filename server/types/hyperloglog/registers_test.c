#include <math.h>
#include <stdio.h>

#include <criterion/criterion.h>

#include "server/base/rng.h"
#include "server/types/hyperloglog/registers.h"

static struct bytes element_of(unsigned number, char out[32]) {
    return bytes_of(out, (size_t)sprintf(out, "element:%u", number));
}

static void expect_same_registers(const struct buffer *a, const struct buffer *b) {
    uint8_t left[HLL_REGISTERS] = {0};
    uint8_t right[HLL_REGISTERS] = {0};
    cr_assert(hll_collect(buffer_view(a), left));
    cr_assert(hll_collect(buffer_view(b), right));
    cr_assert_arr_eq(left, right, HLL_REGISTERS);
}

Test(hyperloglog, is_the_same_sparse_and_dense) {
    struct buffer sparse = {0};
    struct buffer dense = {0};
    hll_create(&sparse);
    hll_create(&dense);
    cr_assert_eq(hll_to_dense(&dense), HLL_CHANGED);
    for (unsigned i = 0; i < 5000; i++) {
        char text[32];
        struct bytes element = element_of(i, text);
        enum hll_result result = hll_add(&sparse, element, 3000);
        cr_assert_neq(result, HLL_CORRUPT);
        cr_assert_eq(result, hll_add_dense(dense.data, element));
        if (i % 500 == 0) expect_same_registers(&sparse, &dense);
    }
    cr_assert(hll_is_dense(buffer_view(&sparse)));
    expect_same_registers(&sparse, &dense);
    buffer_deinit(&sparse);
    buffer_deinit(&dense);
}

Test(hyperloglog, estimates_within_its_error) {
    struct buffer value = {0};
    hll_create(&value);
    for (unsigned i = 1; i <= 200000; i++) {
        char text[32];
        hll_add(&value, element_of(i, text), 3000);
        if (i != 10 && i != 100 && i != 1000 && i != 10000 && i != 200000) continue;
        uint64_t count;
        cr_assert(hll_count(buffer_view(&value), &count));
        // The standard error is 0.81 %.
        cr_assert_float_eq((double)count, i, i * 0.0325 + 1, "%u counted as %llu", i,
                           (unsigned long long)count);
    }
    buffer_deinit(&value);
}

/* Whatever the bytes are: nothing is read or written outside of them. */
Test(hyperloglog, survives_bytes_that_are_none) {
    struct rng rng;
    struct buffer value = {0};
    rng_seed(&rng, 9);
    for (int round = 0; round < 3000; round++) {
        hll_create(&value);
        value.len = HLL_HEADER_BYTES;
        size_t len = rng_below(&rng, 60);
        for (size_t i = 0; i < len; i++)
            buffer_append_u8(&value, (uint8_t)rng_next(&rng));
        uint8_t registers[HLL_REGISTERS] = {0};
        uint64_t count;
        struct buffer text = {0};
        (void)hll_collect(buffer_view(&value), registers);
        (void)hll_count(buffer_view(&value), &count);
        (void)hll_describe(buffer_view(&value), &text);
        for (unsigned i = 0; i < 20; i++) {
            char element[32];
            (void)hll_add(&value, element_of((unsigned)rng_next(&rng), element), 100);
        }
        buffer_deinit(&text);
    }
    buffer_deinit(&value);
}

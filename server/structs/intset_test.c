#include <criterion/criterion.h>

#include "server/base/mem.h"
#include "server/base/rng.h"
#include "server/structs/intset.h"

Test(intset, reads_every_width) {
    static const uint8_t narrow[] = {2, 0, 0, 0, 3, 0, 0, 0, 0xfb, 0xff, 1, 0, 2, 0};
    cr_assert(intset_is_valid(bytes_of(narrow, sizeof(narrow))));
    cr_assert_eq(intset_count(narrow), 3);
    cr_assert_eq(intset_get(narrow, 0), -5);
    cr_assert_eq(intset_get(narrow, 2), 2);
    cr_assert(intset_contains(narrow, 1));
    cr_assert_not(intset_contains(narrow, 0));
    static const uint8_t middle[] = {4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x80};
    cr_assert(intset_is_valid(bytes_of(middle, sizeof(middle))));
    cr_assert_eq(intset_get(middle, 0), INT32_MIN);
    static const uint8_t wide[] = {8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80};
    cr_assert(intset_is_valid(bytes_of(wide, sizeof(wide))));
    cr_assert_eq(intset_get(wide, 0), INT64_MIN);
}

Test(intset, refuses_what_the_format_forbids) {
    static const uint8_t cases[][14] = {
        {2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 1, 0, 2, 0}, // Equal members.
        {2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 3, 0, 2, 0}, // Not ascending.
        {3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 2, 0, 3, 0}, // Width 3.
        {2, 0, 0, 0, 4, 0, 0, 0, 1, 0, 2, 0, 3, 0}, // A member too many.
        {2, 0, 0, 0, 3, 0, 0, 0x80, 1, 0, 2, 0, 3, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_assert_not(intset_is_valid(bytes_of(cases[i], sizeof(cases[i]))), "case %zu", i);
    static const uint8_t empty[] = {2, 0, 0, 0, 0, 0, 0, 0};
    cr_assert_not(intset_is_valid(bytes_of(empty, sizeof(empty))));
    cr_assert_not(intset_is_valid(bytes_of(empty, 7)));
}

Test(intset, random_changes_equal_a_plain_model) {
    enum { MEMBERS = 300, STEPS = 20000 };
    static int64_t numbers[MEMBERS];
    static bool is_in[MEMBERS];
    struct rng rng;
    rng_seed(&rng, 7);
    for (int i = 0; i < MEMBERS; i++) {
        // Of every width, both signs, all different.
        int64_t base = i % 3 == 0 ? 0 : i % 3 == 1 ? 100000 : INT64_C(5000000000);
        numbers[i] = (base + i) * (i % 2 == 0 ? 1 : -1);
    }
    uint8_t *block = intset_create();
    size_t count = 0;
    for (int step = 0; step < STEPS; step++) {
        size_t pick = rng_below(&rng, MEMBERS);
        if (rng_below(&rng, 2) == 0) {
            cr_assert_eq(intset_add(&block, numbers[pick]), !is_in[pick]);
            count += !is_in[pick];
            is_in[pick] = true;
        } else {
            cr_assert_eq(intset_remove(&block, numbers[pick]), is_in[pick]);
            count -= is_in[pick];
            is_in[pick] = false;
        }
        cr_assert_eq(intset_count(block), count);
        cr_assert_eq(intset_contains(block, numbers[pick]), is_in[pick]);
        if (count > 0 && step % 64 == 0)
            cr_assert(intset_is_valid(bytes_of(block, intset_bytes(block))));
    }
    for (int i = 0; i < MEMBERS; i++)
        cr_assert_eq(intset_contains(block, numbers[i]), is_in[i]);
    mem_free(block);
}

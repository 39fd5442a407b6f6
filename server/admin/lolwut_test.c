#include <criterion/criterion.h>

#include "server/admin/lolwut.h"

/* Lines of `columns` Braille characters, each of three bytes. */
static bool is_picture(struct bytes text, struct lolwut_size size) {
    size_t line = (size_t)size.columns * 3 + 1;
    if (text.len != line * size.rows) return false;
    for (size_t i = 0; i < text.len; i++) {
        size_t at = i % line;
        if ((at == line - 1) != (text.data[i] == '\n')) return false;
        if (at < line - 1 && at % 3 == 0 && text.data[i] != 0xe2) return false;
    }
    return true;
}

static void draw_both(uint64_t seed, struct lolwut_size size, struct buffer *flock,
                      struct buffer *ripples) {
    struct rng rng;
    rng_seed(&rng, seed);
    lolwut_flock(&rng, size, 300, flock);
    lolwut_ripples(&rng, size, 12, ripples);
}

Test(lolwut, a_picture_has_the_size_that_was_asked_for) {
    const struct lolwut_size sizes[] = {{1, 1}, {66, 18}, {LOLWUT_COLUMNS_MAX, LOLWUT_ROWS_MAX}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct buffer flock = {0}, ripples = {0};
        draw_both(i, sizes[i], &flock, &ripples);
        cr_assert(is_picture(buffer_view(&flock), sizes[i]));
        cr_assert(is_picture(buffer_view(&ripples), sizes[i]));
        buffer_deinit(&flock);
        buffer_deinit(&ripples);
    }
}

Test(lolwut, the_seed_is_the_picture) {
    struct buffer flocks[3] = {0}, ripples[3] = {0};
    const uint64_t seeds[] = {1, 1, 2};
    for (size_t i = 0; i < 3; i++)
        draw_both(seeds[i], (struct lolwut_size){40, 10}, &flocks[i], &ripples[i]);
    cr_assert(bytes_equal(buffer_view(&flocks[0]), buffer_view(&flocks[1])));
    cr_assert_not(bytes_equal(buffer_view(&flocks[0]), buffer_view(&flocks[2])));
    cr_assert(bytes_equal(buffer_view(&ripples[0]), buffer_view(&ripples[1])));
    cr_assert_not(bytes_equal(buffer_view(&ripples[0]), buffer_view(&ripples[2])));
    for (size_t i = 0; i < 3; i++) {
        buffer_deinit(&flocks[i]);
        buffer_deinit(&ripples[i]);
    }
}

#include <stdlib.h>

#include <criterion/criterion.h>

#include "server/base/buffer.h"
#include "server/base/mem.h"
#include "server/base/rng.h"
#include "server/structs/listpack.h"

static struct bytes block_bytes(const uint8_t *block) {
    return bytes_of(block, listpack_bytes(block));
}

static void assert_valid(const uint8_t *block, size_t count) {
    size_t walked = 0;
    cr_assert(listpack_is_valid(block_bytes(block), &walked));
    cr_assert_eq(walked, count);
    cr_assert_eq(listpack_count(block), count);
}

Test(listpack, writes_the_bytes_of_the_format) {
    static const uint8_t expected[] = {
        0x1a, 0,    0,    0,    5,    0,    0x85, 'h',  'e',  'l',  'l',  'o',  0x06,
        0x01, 0x01, 0xdf, 0xff, 0x02, 0xcf, 0xff, 0x02, 0xf1, 0x00, 0x10, 0x03, 0xff,
    };
    uint8_t *block = listpack_create(0);
    cr_assert_eq(listpack_bytes(block), LISTPACK_EMPTY_BYTES);
    listpack_append(&block, BYTES_LITERAL("hello"));
    listpack_append(&block, BYTES_LITERAL("1"));
    listpack_append_i64(&block, -1);
    listpack_append_i64(&block, 4095);
    listpack_append(&block, BYTES_LITERAL("4096"));
    cr_assert(bytes_equal(block_bytes(block), bytes_of(expected, sizeof(expected))));
    assert_valid(block, 5);
    listpack_destroy(block);
}

Test(listpack, keeps_every_integer_in_its_smallest_form) {
    static const struct {
        int64_t number;
        size_t entry_bytes;
    } cases[] = {
        {0, 2},         {127, 2},       {128, 3},        {-1, 3},         {-4096, 3},
        {4095, 3},      {-4097, 4},     {4096, 4},       {32767, 4},      {-32768, 4},
        {32768, 5},     {8388607, 5},   {-8388608, 5},   {8388608, 6},    {-8388609, 6},
        {INT32_MAX, 6}, {INT32_MIN, 6}, {1LL << 31, 10}, {INT64_MAX, 10}, {INT64_MIN, 10},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char text[NUMBER_TEXT_MAX];
        struct bytes decimal = bytes_of(text, number_format_i64(cases[i].number, text));
        cr_assert_eq(listpack_entry_bytes(decimal), cases[i].entry_bytes, "%lld",
                     (long long)cases[i].number);
        uint8_t *block = listpack_create(0);
        size_t place = listpack_append(&block, decimal);
        struct listpack_value value = listpack_get(block, place);
        cr_assert_null(value.text.data);
        cr_assert_eq(value.number, cases[i].number);
        char scratch[NUMBER_TEXT_MAX];
        cr_assert(bytes_equal(listpack_text(block, place, scratch), decimal));
        cr_assert(listpack_equals(block, place, decimal));
        cr_assert_eq(listpack_find(block, place, decimal, 0), place);
        assert_valid(block, 1);
        listpack_destroy(block);
    }
}

Test(listpack, keeps_strings_of_every_length_class) {
    static const size_t lengths[] = {0,    1,     62,    63,    64,    125,     126,     4095,
                                     4096, 16376, 16377, 16378, 16379, 2097145, 2097146, 2097147};
    uint8_t *text = mem_alloc(2097147);
    memset(text, 'x', 2097147);
    uint8_t *block = listpack_create(0);
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++)
        listpack_append(&block, bytes_of(text, lengths[i]));
    assert_valid(block, ARRAY_COUNT(lengths));
    size_t place = listpack_last(block);
    for (size_t i = ARRAY_COUNT(lengths); i-- > 0; place = listpack_prev(block, place)) {
        cr_assert_eq(listpack_get(block, place).text.len, lengths[i]);
        cr_assert_eq(listpack_seek(block, (int64_t)i), place);
        cr_assert_eq(listpack_find(block, listpack_first(block), bytes_of(text, lengths[i]), 0),
                     place);
    }
    cr_assert_eq(place, 0);
    listpack_destroy(block);
    mem_free(text);
}

Test(listpack, walks_and_seeks_from_both_ends) {
    uint8_t *block = listpack_create(0);
    cr_assert_eq(listpack_first(block), 0);
    cr_assert_eq(listpack_last(block), 0);
    cr_assert_eq(listpack_seek(block, 0), 0);
    cr_assert_eq(listpack_seek(block, -1), 0);
    for (int i = 0; i < 10; i++)
        listpack_append_i64(&block, i * 1000);
    for (int i = -10; i < 10; i++) {
        int64_t number = -1;
        cr_assert(listpack_get_i64(block, listpack_seek(block, i), &number));
        cr_assert_eq(number, (i < 0 ? i + 10 : i) * 1000);
    }
    cr_assert_eq(listpack_seek(block, 10), 0);
    cr_assert_eq(listpack_seek(block, -11), 0);
    cr_assert_eq(listpack_prev(block, listpack_first(block)), 0);
    cr_assert_eq(listpack_next(block, listpack_last(block)), 0);
    listpack_destroy(block);
}

Test(listpack, finds_fields_and_not_values) {
    uint8_t *block = listpack_create(0);
    static const char *const entries[] = {"a", "b", "b", "7", "7", "a", "", "c"};
    for (size_t i = 0; i < ARRAY_COUNT(entries); i++)
        listpack_append(&block, bytes_of_text(entries[i]));
    size_t first = listpack_first(block);
    cr_assert_eq(listpack_find(block, first, BYTES_LITERAL("b"), 1), listpack_seek(block, 2));
    cr_assert_eq(listpack_find(block, first, BYTES_LITERAL("7"), 1), listpack_seek(block, 4));
    cr_assert_eq(listpack_find(block, first, (struct bytes){0}, 1), listpack_seek(block, 6));
    cr_assert_eq(listpack_find(block, first, BYTES_LITERAL("c"), 1), 0);
    cr_assert_eq(listpack_find(block, first, BYTES_LITERAL("07"), 0), 0);
    cr_assert_eq(listpack_find(block, 0, BYTES_LITERAL("a"), 0), 0);
    listpack_destroy(block);
}

Test(listpack, finds_a_number_that_a_peer_stored_as_text) {
    static const uint8_t foreign[] = {10, 0, 0, 0, 1, 0, 0x81, '5', 2, 0xff};
    cr_assert(listpack_is_valid(bytes_of(foreign, sizeof(foreign)), NULL));
    cr_assert_eq(listpack_find(foreign, listpack_first(foreign), BYTES_LITERAL("5"), 0), 6);
    int64_t number = 0;
    cr_assert(listpack_get_i64(foreign, 6, &number));
    cr_assert_eq(number, 5);
}

Test(listpack, splits_and_joins) {
    uint8_t *block = listpack_create(0);
    for (int i = 0; i < 20; i++)
        listpack_append_i64(&block, i * 321);
    uint8_t *whole = listpack_copy(block);
    uint8_t *tail = listpack_split(&block, listpack_seek(block, 7));
    assert_valid(block, 7);
    assert_valid(tail, 13);
    listpack_append_all(&block, tail);
    cr_assert(bytes_equal(block_bytes(block), block_bytes(whole)));
    listpack_destroy(tail);
    tail = listpack_split(&block, listpack_first(block));
    assert_valid(block, 0);
    cr_assert(bytes_equal(block_bytes(tail), block_bytes(whole)));
    listpack_destroy(block);
    listpack_destroy(tail);
    listpack_destroy(whole);
}

Test(listpack, counts_beyond_its_header) {
    uint8_t *block = listpack_create(0);
    for (int i = 0; i < 65534; i++)
        listpack_append_i64(&block, 1);
    assert_valid(block, 65534);
    for (int i = 0; i < 66; i++)
        listpack_append_i64(&block, 1);
    assert_valid(block, 65600);
    cr_assert_neq(listpack_seek(block, 65599), 0);
    cr_assert_eq(listpack_seek(block, 65600), 0);
    cr_assert_neq(listpack_seek(block, -65600), 0);
    listpack_delete_range(&block, listpack_first(block), 65597);
    assert_valid(block, 3);
    listpack_destroy(block);
}

/* The model: the entries as texts in an array. */
enum { MODEL_MAX = 40 };
struct model {
    struct buffer entries[MODEL_MAX];
    size_t count;
};

static void model_insert(struct model *model, size_t index, struct bytes text) {
    memmove(model->entries + index + 1, model->entries + index,
            (model->count - index) * sizeof(struct buffer));
    model->entries[index] = (struct buffer){0};
    buffer_append_bytes(&model->entries[index], text);
    model->count++;
}

static void model_delete(struct model *model, size_t index) {
    buffer_deinit(&model->entries[index]);
    model->count--;
    memmove(model->entries + index, model->entries + index + 1,
            (model->count - index) * sizeof(struct buffer));
}

static struct bytes random_text(struct rng *rng, char *text, size_t cap) {
    static const int64_t borders[] = {127, 4095, -4096, 32767, 1 << 23, INT32_MIN};
    if (rng_below(rng, 2) == 0) {
        int64_t number = borders[rng_below(rng, ARRAY_COUNT(borders))] + (int64_t)rng_below(rng, 3);
        return bytes_of(text, number_format_i64(number, text));
    }
    size_t len = rng_below(rng, rng_below(rng, 8) == 0 ? cap : 70);
    memset(text, 'a' + (char)rng_below(rng, 3), len);
    return bytes_of(text, len);
}

static void assert_equals_model(const uint8_t *block, const struct model *model) {
    assert_valid(block, model->count);
    size_t place = listpack_first(block);
    for (size_t i = 0; i < model->count; i++, place = listpack_next(block, place)) {
        char scratch[NUMBER_TEXT_MAX];
        struct bytes text = listpack_text(block, place, scratch);
        cr_assert(bytes_equal(text, buffer_view(&model->entries[i])), "entry %zu", i);
    }
    cr_assert_eq(place, 0);
}

static void change_at_random(uint8_t **block, struct model *model, struct rng *rng) {
    char scratch[5000];
    struct bytes text = random_text(rng, scratch, sizeof(scratch));
    size_t index = rng_below(rng, model->count + 1);
    size_t place = listpack_seek(*block, (int64_t)index);
    bool is_full = model->count == MODEL_MAX;
    switch (rng_below(rng, 6)) {
    case 0:
        if (is_full) break;
        if (place == 0)
            listpack_append(block, text);
        else
            listpack_insert_before(block, place, text);
        model_insert(model, index, text);
        break;
    case 1:
        if (is_full || place == 0) break;
        listpack_insert_after(block, place, text);
        model_insert(model, index + 1, text);
        break;
    case 2:
        if (is_full) break;
        listpack_prepend(block, text);
        model_insert(model, 0, text);
        break;
    case 3:
        if (place == 0) break;
        listpack_replace(block, place, text);
        model_delete(model, index);
        model_insert(model, index, text);
        break;
    case 4:
        if (place == 0) break;
        cr_assert_eq(listpack_delete(block, place), index + 1 == model->count ? 0 : place);
        model_delete(model, index);
        break;
    default:
        if (place == 0 || rng_below(rng, 4) != 0) break;
        size_t count = rng_below(rng, 5);
        listpack_delete_range(block, place, count);
        while (count-- > 0 && index < model->count)
            model_delete(model, index);
    }
}

Test(listpack, agrees_with_an_array_over_random_changes) {
    struct rng rng;
    rng_seed(&rng, 11);
    uint8_t *block = listpack_create(0);
    struct model model = {0};
    for (int step = 0; step < 20000; step++) {
        change_at_random(&block, &model, &rng);
        assert_equals_model(block, &model);
    }
    while (model.count > 0)
        model_delete(&model, 0);
    listpack_destroy(block);
}

/* Whatever passes the check may be walked both ways without leaving the block. */
static void walk(const uint8_t *block, size_t count) {
    size_t seen = 0;
    size_t read = 0;
    for (size_t at = listpack_first(block); at != 0; at = listpack_next(block, at), seen++) {
        char scratch[NUMBER_TEXT_MAX];
        struct bytes text = listpack_text(block, at, scratch);
        for (size_t i = 0; i < text.len; i++)
            read += text.data[i];
    }
    cr_assert_eq(seen, count);
    cr_assert(read < SIZE_MAX);
    for (size_t at = listpack_last(block); at != 0; at = listpack_prev(block, at))
        seen--;
    cr_assert_eq(seen, 0);
}

Test(listpack, refuses_damage_or_stays_inside) {
    struct rng rng;
    rng_seed(&rng, 12);
    uint8_t *block = listpack_create(0);
    char scratch[300];
    for (int i = 0; i < 30; i++)
        listpack_append(&block, random_text(&rng, scratch, sizeof(scratch)));
    size_t total = listpack_bytes(block);
    for (int round = 0; round < 50000; round++) {
        size_t len = rng_below(&rng, 4) == 0 ? rng_below(&rng, total) : total;
        uint8_t *damaged = mem_alloc(len + (len == 0)); // Exact, so that ASan sees an over-read.
        memcpy(damaged, block, len);
        for (uint64_t i = rng_below(&rng, 4); i > 0 && len > 0; i--)
            damaged[rng_below(&rng, len)] = (uint8_t)rng_next(&rng);
        if (len < total && len >= 4) memcpy(damaged, &(uint32_t){(uint32_t)len}, 4);
        if (len > 0 && rng_below(&rng, 2) == 0) damaged[len - 1] = 0xff;
        size_t count = 0;
        if (listpack_is_valid(bytes_of(damaged, len), &count)) walk(damaged, count);
        mem_free(damaged);
    }
    listpack_destroy(block);
}

Test(listpack, refuses_what_the_format_forbids) {
    static const struct {
        const char *what;
        size_t len;
        uint8_t block[16];
    } cases[] = {
        {"too short", 6, {6, 0, 0, 0, 0, 0}},
        {"total beyond the end", 7, {8, 0, 0, 0, 0, 0, 0xff}},
        {"no end mark", 7, {7, 0, 0, 0, 0, 0, 0xfe}},
        {"count too high", 9, {9, 0, 0, 0, 2, 0, 1, 1, 0xff}},
        {"wrong backlen", 9, {9, 0, 0, 0, 1, 0, 1, 2, 0xff}},
        {"unknown first byte", 9, {9, 0, 0, 0, 1, 0, 0xf5, 1, 0xff}},
        {"end mark inside", 9, {9, 0, 0, 0, 0, 0, 0xff, 1, 0xff}},
        {"string past the end", 9, {9, 0, 0, 0, 1, 0, 0x85, 6, 0xff}},
        {"size field past the end", 8, {8, 0, 0, 0, 1, 0, 0xf0, 0xff}},
        {"entry without backlen", 8, {8, 0, 0, 0, 1, 0, 1, 0xff}},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        cr_assert_not(listpack_is_valid(bytes_of(cases[i].block, cases[i].len), NULL), "%s",
                      cases[i].what);
    static const uint8_t unknown_count[] = {9, 0, 0, 0, 0xff, 0xff, 1, 1, 0xff};
    cr_assert(listpack_is_valid(bytes_of(unknown_count, sizeof(unknown_count)), NULL));
}

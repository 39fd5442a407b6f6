/* Lists against a plain array: random pushes, insertions, replacements and removals at every leaf
 * size and compression depth, each state also read through RDB. */
#include <stdio.h>

#include <criterion/criterion.h>

#include "server/base/mem.h"
#include "server/base/rng.h"
#include "server/keyspace/digest.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_writer.h"
#include "server/types/list/list_internal.h"

enum { MODEL_MAX = 600 };

struct model {
    uint32_t items[MODEL_MAX];
    uint64_t count;
};

/* Numbers, short texts, and now and then one that is larger than a leaf. */
static struct bytes element_of(uint32_t number, char out[10000]) {
    if (number % 3 == 0) return bytes_of(out, (size_t)sprintf(out, "%u", number));
    int len = sprintf(out, "element number %u, repeated repeated repeated", number);
    if (number % 97 != 0) return bytes_of(out, (size_t)len);
    memset(out + len, 'x', 9000);
    return bytes_of(out, (size_t)len + 9000);
}

static void assert_same(const struct record *record, const struct model *model) {
    char text[10000];
    char scratch[NUMBER_TEXT_MAX];
    cr_assert_eq(list_count(record), model->count);
    if (model->count == 0) return;
    struct list_cursor cursor;
    list_cursor_begin(&cursor, record, 0);
    for (uint64_t i = 0; i < model->count; i++) {
        cr_assert(
            bytes_equal(list_cursor_text(&cursor, scratch), element_of(model->items[i], text)));
        list_cursor_next(&cursor);
    }
    cr_assert(!list_cursor_has(&cursor));
    list_cursor_end(&cursor);
    list_cursor_begin(&cursor, record, model->count - 1);
    for (uint64_t i = model->count; i-- > 0;) {
        cr_assert(
            bytes_equal(list_cursor_text(&cursor, scratch), element_of(model->items[i], text)));
        list_cursor_previous(&cursor);
    }
    list_cursor_end(&cursor);
}

static void model_insert(struct model *model, uint64_t index, uint32_t item) {
    memmove(&model->items[index + 1], &model->items[index],
            (model->count - index) * sizeof(model->items[0]));
    model->items[index] = item;
    model->count++;
}

static void model_delete(struct model *model, uint64_t index, uint64_t count) {
    memmove(&model->items[index], &model->items[index + count],
            (model->count - index - count) * sizeof(model->items[0]));
    model->count -= count;
}

static void change(struct record *record, struct model *model, struct rng *rng,
                   const struct data_type_options *options) {
    char text[10000];
    uint32_t item = (uint32_t)rng_below(rng, 100000);
    struct bytes element = element_of(item, text);
    unsigned what = (unsigned)rng_below(rng, 10);
    uint64_t index = model->count == 0 ? 0 : rng_below(rng, model->count);
    if (model->count >= MODEL_MAX - 1) what = 9;
    if (what < 4 || model->count == 0) {
        bool at_head = rng_below(rng, 2) == 0;
        list_push(record, element, at_head, options);
        model_insert(model, at_head ? 0 : model->count, item);
    } else if (what < 7) {
        bool is_behind = rng_below(rng, 2) == 0;
        list_insert(record, index, is_behind, element, options);
        model_insert(model, index + is_behind, item);
    } else if (what < 8) {
        list_replace(record, index, element, options);
        model->items[index] = item;
    } else {
        uint64_t room = model->count - index;
        uint64_t most = what == 9 ? room : room < 3 ? room : 3;
        uint64_t count = 1 + rng_below(rng, most);
        list_delete_range(record, index, count, options);
        model_delete(model, index, count);
    }
}

static void destroy(struct record *record) {
    list_destroy(record);
    record_free(record);
}

static void assert_survives(const struct record *record, const struct model *model,
                            const struct data_type_options *options) {
    if (model->count == 0) return; // No key holds an empty list.
    struct rdb_writer writer;
    struct rdb_reader reader;
    struct record *loaded = NULL;
    const struct data_type_load_context context = {options, 7, true};
    rdb_writer_init(&writer, &(struct rdb_writer_options){0});
    list_type.save(record, &writer);
    rdb_reader_init_memory(&reader, buffer_view(&writer.buffer));
    cr_assert_eq(
        list_type.load(list_type.rdb_type(record), &reader, BYTES_LITERAL("k"), &context, &loaded),
        STATUS_OK);
    struct digest before = {{0}};
    struct digest after = {{0}};
    assert_same(loaded, model);
    list_type.digest(record, &before);
    list_type.digest(loaded, &after);
    cr_assert_arr_eq(before.bytes, after.bytes, sizeof(before.bytes));
    destroy(loaded);
    rdb_reader_deinit(&reader);
    rdb_writer_deinit(&writer);
}

Test(list, follows_a_plain_array) {
    static const int64_t sizes[] = {-2, 1, 3, -1, 20, 0, -5};
    for (unsigned round = 0; round < 14; round++) {
        const struct data_type_options options = {.list_max_listpack_size = sizes[round % 7],
                                                  .list_compress_depth = round < 7 ? 0 : round % 3};
        struct rng rng;
        struct model model = {.count = 0};
        rng_seed(&rng, round + 1);
        struct record *record = list_record_create(BYTES_LITERAL("key"));
        for (unsigned step = 0; step < 1500; step++) {
            change(record, &model, &rng, &options);
            if (step % 50 == 0) {
                assert_same(record, &model);
                assert_survives(record, &model, &options);
            }
        }
        assert_same(record, &model);
        struct record *copy = list_copy(record, BYTES_LITERAL("copy"));
        assert_same(copy, &model);
        destroy(copy);
        destroy(record);
    }
}

Test(list, of_one_leaf_becomes_a_listpack_again) {
    const struct data_type_options options = {.list_max_listpack_size = -1};
    struct record *record = list_record_create(BYTES_LITERAL("key"));
    for (unsigned i = 0; i < 2000; i++)
        list_push(record, BYTES_LITERAL("some element"), i % 2 == 0, &options);
    cr_assert_eq(record_encoding(record), LIST_TREE);
    list_delete_range(record, 50, 1900, &options);
    cr_assert_eq(list_count(record), 100);
    cr_assert_eq(record_encoding(record), LIST_LISTPACK);
    destroy(record);
}

Test(list, compresses_what_lies_far_from_its_ends) {
    struct data_type_options options = {.list_max_listpack_size = -1};
    struct record *plain = list_record_create(BYTES_LITERAL("key"));
    struct record *packed = list_record_create(BYTES_LITERAL("key"));
    for (unsigned i = 0; i < 20000; i++) {
        options.list_compress_depth = 0;
        list_push(plain, BYTES_LITERAL("the same words again and again"), false, &options);
        options.list_compress_depth = 1;
        list_push(packed, BYTES_LITERAL("the same words again and again"), false, &options);
    }
    struct list_cursor cursor;
    char scratch[NUMBER_TEXT_MAX];
    list_cursor_begin(&cursor, packed, 10000);
    cr_assert(
        bytes_equal_text(list_cursor_text(&cursor, scratch), "the same words again and again"));
    cr_assert_not_null(cursor.opened);
    list_cursor_end(&cursor);
    destroy(plain);
    destroy(packed);
}

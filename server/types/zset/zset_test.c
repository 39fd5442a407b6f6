/* Sorted sets against a plain array: random members and scores through every encoding, ranks,
 * ranges and RDB included. */
#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "server/base/mem.h"
#include "server/base/rng.h"
#include "server/keyspace/digest.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_writer.h"
#include "server/types/zset/zset_internal.h"

enum { MODEL_MAX = 2000 };

static const struct data_type_options options = {
    .zset_max_listpack_entries = 20,
    .zset_max_listpack_value = 24,
};
static const struct zset_policy policy = {&options, 42};

struct pair {
    uint32_t name;
    double score;
};

struct model {
    struct pair pairs[MODEL_MAX];
    size_t count;
};

static struct bytes name_of(uint32_t name, char out[64]) {
    return bytes_of(out, (size_t)sprintf(out, name % 2 == 0 ? "%u" : "member:%u", name));
}

static int compare_pairs(const void *a, const void *b) {
    const struct pair *left = a;
    const struct pair *right = b;
    char left_name[64];
    char right_name[64];
    if (left->score != right->score) return left->score < right->score ? -1 : 1;
    return bytes_compare(name_of(left->name, left_name), name_of(right->name, right_name));
}

static size_t model_find(const struct model *model, uint32_t name) {
    size_t at = 0;
    while (at < model->count && model->pairs[at].name != name)
        at++;
    return at;
}

static void model_put(struct model *model, uint32_t name, double score) {
    size_t at = model_find(model, name);
    model->pairs[at] = (struct pair){name, score};
    if (at == model->count) model->count++;
    qsort(model->pairs, model->count, sizeof(struct pair), compare_pairs);
}

static void model_remove(struct model *model, size_t at, size_t count) {
    memmove(&model->pairs[at], &model->pairs[at + count],
            (model->count - at - count) * sizeof(struct pair));
    model->count -= count;
}

static void assert_same(const struct record *record, const struct model *model) {
    cr_assert_eq(zset_count(record), model->count);
    struct zset_cursor cursor;
    zset_cursor_begin(&cursor, record, 0);
    for (size_t i = 0; i < model->count; i++, zset_cursor_next(&cursor)) {
        char name[64];
        char scratch[NUMBER_TEXT_MAX];
        struct zset_element element = zset_cursor_get(&cursor);
        struct bytes expected = name_of(model->pairs[i].name, name);
        cr_assert(bytes_equal(element_text(&element.member, scratch), expected));
        cr_assert_eq(element.score, model->pairs[i].score);
        uint64_t rank;
        double score;
        cr_assert(zset_rank(record, expected, &rank, &score));
        cr_assert_eq(rank, i);
        cr_assert_eq(score, element.score);
    }
    cr_assert(!zset_cursor_has(&cursor));
    for (double bound = -3; bound < 24; bound += 0.5) {
        size_t below = 0;
        size_t up_to = 0;
        for (size_t i = 0; i < model->count; i++) {
            below += model->pairs[i].score < bound;
            up_to += model->pairs[i].score <= bound;
        }
        cr_assert_eq(zset_rank_of_score(record, bound, false), below);
        cr_assert_eq(zset_rank_of_score(record, bound, true), up_to);
    }
}

static void assert_survives(const struct record *record, const struct model *model) {
    if (model->count == 0) return; // No key holds an empty set.
    struct rdb_writer writer;
    struct rdb_reader reader;
    struct digest before = {{0}};
    struct digest after = {{0}};
    struct record *loaded = NULL;
    const struct data_type_load_context context = {&options, 7, true};
    rdb_writer_init(&writer, &(struct rdb_writer_options){0});
    zset_type.save(record, &writer);
    rdb_reader_init_memory(&reader, buffer_view(&writer.buffer));
    cr_assert_eq(
        zset_type.load(zset_type.rdb_type(record), &reader, BYTES_LITERAL("k"), &context, &loaded),
        STATUS_OK);
    assert_same(loaded, model);
    zset_type.digest(record, &before);
    zset_type.digest(loaded, &after);
    cr_assert_arr_eq(before.bytes, after.bytes, sizeof(before.bytes));
    zset_record_free(loaded);
    rdb_reader_deinit(&reader);
    rdb_writer_deinit(&writer);
}

static void change(struct record *record, struct model *model, struct rng *rng, uint32_t names) {
    char name[64];
    uint32_t number = (uint32_t)rng_below(rng, names);
    double score = (double)rng_below(rng, 41) / 2;
    uint64_t what = rng_below(rng, 20);
    if (what < 14) {
        zset_put(record, name_of(number, name), score, &policy);
        model_put(model, number, score);
    } else if (what < 19) {
        size_t at = model_find(model, number);
        cr_assert_eq(zset_remove(record, name_of(number, name)), at < model->count);
        if (at < model->count) model_remove(model, at, 1);
    } else if (model->count > 0) {
        size_t at = rng_below(rng, model->count);
        size_t count = 1 + rng_below(rng, (model->count - at + 3) / 4);
        zset_remove_range(record, at, count);
        model_remove(model, at, count);
    }
}

static void follow(uint32_t names, unsigned steps, uint64_t seed) {
    struct rng rng;
    struct model *model = mem_alloc_zero(sizeof(*model));
    rng_seed(&rng, seed);
    struct record *record = zset_record_create(BYTES_LITERAL("key"));
    for (unsigned step = 0; step < steps; step++) {
        change(record, model, &rng, names);
        if (step % (steps / 20) == 0) {
            assert_same(record, model);
            assert_survives(record, model);
        }
    }
    assert_same(record, model);
    struct record *copy = zset_copy(record, BYTES_LITERAL("copy"));
    assert_same(copy, model);
    zset_record_free(copy);
    zset_record_free(record);
    mem_free(model);
}

Test(zset, that_is_small_follows_a_plain_array) {
    for (uint64_t seed = 1; seed <= 10; seed++)
        follow(18, 400, seed);
}

Test(zset, follows_a_plain_array) {
    for (uint64_t seed = 1; seed <= 4; seed++)
        follow(1500, 4000, seed);
}

Test(zset, takes_members_that_come_in_order) {
    struct record *record = zset_record_create(BYTES_LITERAL("key"));
    char name[64];
    for (uint32_t i = 0; i < 20000; i++)
        zset_put(record, name_of(i, name), i, &policy);
    // Leaf after leaf is filled: hardly more than one for each 64 members.
    cr_assert_leq(leaf_tree_leaf_count(zset_table_of(record)->tree), 20000 / 64 + 2);
    struct zset_cursor cursor;
    zset_cursor_begin(&cursor, record, 12345);
    cr_assert_eq(zset_cursor_get(&cursor).score, 12345);
    zset_record_free(record);
}

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "server/base/rng.h"
#include "server/structs/leaf_tree.h"

/* The plain model: the same leaves in an array. A leaf's address is its name. */
enum { LEAVES_MAX = 5000 };

struct model {
    void *leaves[LEAVES_MAX];
    uint32_t counts[LEAVES_MAX];
    struct leaf_key keys[LEAVES_MAX];
    size_t count;
};

static int compare_keys(const struct leaf_key *a, const struct leaf_key *b) {
    return (a->high > b->high) - (a->high < b->high);
}

static int compare_wanted(const void *wanted, const struct leaf_key *key) {
    return compare_keys(wanted, key);
}

static void model_insert(struct model *model, size_t at, void *leaf, uint32_t count,
                         struct leaf_key key) {
    size_t behind = model->count - at;
    memmove(&model->leaves[at + 1], &model->leaves[at], behind * sizeof(model->leaves[0]));
    memmove(&model->counts[at + 1], &model->counts[at], behind * sizeof(model->counts[0]));
    memmove(&model->keys[at + 1], &model->keys[at], behind * sizeof(model->keys[0]));
    model->leaves[at] = leaf;
    model->counts[at] = count;
    model->keys[at] = key;
    model->count++;
}

static void model_remove(struct model *model, size_t at) {
    size_t behind = --model->count - at;
    memmove(&model->leaves[at], &model->leaves[at + 1], behind * sizeof(model->leaves[0]));
    memmove(&model->counts[at], &model->counts[at + 1], behind * sizeof(model->counts[0]));
    memmove(&model->keys[at], &model->keys[at + 1], behind * sizeof(model->keys[0]));
}

static uint64_t model_rank(const struct model *model, size_t at) {
    uint64_t rank = 0;
    for (size_t i = 0; i < at; i++)
        rank += model->counts[i];
    return rank;
}

static void expect_equal(const struct leaf_tree *tree, const struct model *model) {
    leaf_tree_check(tree, compare_keys);
    cr_assert_eq(leaf_tree_leaf_count(tree), model->count);
    cr_assert_eq(leaf_tree_count(tree), model_rank(model, model->count));
    struct leaf_place place;
    uint64_t rank = 0;
    size_t at = 0;
    for (bool has = leaf_tree_first(tree, &place); has; has = leaf_place_next(&place), at++) {
        cr_assert_eq(leaf_place_leaf(&place), model->leaves[at]);
        cr_assert_eq(leaf_place_count(&place), model->counts[at]);
        cr_assert_eq(leaf_place_key(&place).high, model->keys[at].high);
        cr_assert_eq(leaf_place_rank(&place), rank);
        rank += model->counts[at];
    }
    cr_assert_eq(at, model->count);
    for (bool has = leaf_tree_last(tree, &place); has; has = leaf_place_previous(&place))
        cr_assert_eq(leaf_place_leaf(&place), model->leaves[--at]);
    cr_assert_eq(at, 0u);
}

/* The place of the leaf at `at`, found by a rank inside it. */
static void find_by_rank(const struct leaf_tree *tree, const struct model *model, size_t at,
                         uint64_t inside, struct leaf_place *out) {
    uint64_t offset = 0;
    cr_assert(leaf_tree_at(tree, model_rank(model, at) + inside, out, &offset));
    cr_assert_eq(leaf_place_leaf(out), model->leaves[at]);
    cr_assert_eq(offset, inside);
}

static void insert_somewhere(struct leaf_tree *tree, struct model *model, struct rng *rng,
                             uintptr_t name) {
    uint32_t count = 1 + (uint32_t)rng_below(rng, 9);
    size_t at = model->count == 0 ? 0 : rng_below(rng, model->count + 1);
    uint64_t low = at == 0 ? 0 : model->keys[at - 1].high;
    uint64_t high = at == model->count ? UINT64_MAX : model->keys[at].high;
    if (high - low < 2) return; // No key fits in between.
    struct leaf_key key = {low + (high - low) / 2, name};
    struct leaf_place place = {.depth = 0};
    if (at == model->count && at > 0) {
        find_by_rank(tree, model, at - 1, 0, &place);
        leaf_tree_insert_after(tree, &place, (void *)name, count, key);
    } else {
        if (model->count > 0) find_by_rank(tree, model, at, model->counts[at] - 1, &place);
        leaf_tree_insert_before(tree, &place, (void *)name, count, key);
    }
    model_insert(model, at, (void *)name, count, key);
    cr_assert_eq(leaf_place_leaf(&place), (void *)name);
    cr_assert_eq(leaf_place_rank(&place), model_rank(model, at));
}

static void remove_somewhere(struct leaf_tree *tree, struct model *model, struct rng *rng) {
    size_t at = rng_below(rng, model->count);
    struct leaf_place place;
    find_by_rank(tree, model, at, 0, &place);
    bool has_next = leaf_tree_remove(tree, &place);
    model_remove(model, at);
    cr_assert_eq(has_next, at < model->count);
    if (has_next) cr_assert_eq(leaf_place_leaf(&place), model->leaves[at]);
}

static void change_somewhere(struct leaf_tree *tree, struct model *model, struct rng *rng) {
    size_t at = rng_below(rng, model->count);
    struct leaf_place place;
    cr_assert(leaf_tree_find(tree, compare_wanted, &model->keys[at], &place));
    cr_assert_eq(leaf_place_leaf(&place), model->leaves[at]);
    model->counts[at] = 1 + (uint32_t)rng_below(rng, 20);
    leaf_tree_set_count(tree, &place, model->counts[at]);
    if (at == 0 && model->keys[at].high > 1) {
        model->keys[at].high--;
        leaf_tree_set_key(&place, model->keys[at]);
    }
}

Test(leaf_tree, an_empty_tree_has_nothing_to_find) {
    struct leaf_tree *tree = leaf_tree_create(true);
    struct leaf_place place;
    uint64_t offset = 0;
    struct leaf_key key = {1, 1};
    cr_assert(!leaf_tree_first(tree, &place) && !leaf_tree_last(tree, &place));
    cr_assert(!leaf_tree_at(tree, 0, &place, &offset));
    cr_assert(!leaf_tree_find(tree, compare_wanted, &key, &place));
    leaf_tree_check(tree, compare_keys);
    leaf_tree_destroy(tree, NULL);
    leaf_tree_destroy(NULL, NULL);
}

Test(leaf_tree, a_key_below_all_leads_to_the_first_leaf) {
    struct leaf_tree *tree = leaf_tree_create(true);
    struct leaf_place place = {.depth = 0};
    for (uintptr_t i = 1; i <= 1000; i++)
        leaf_tree_insert_after(tree, &place, (void *)i, 1, (struct leaf_key){i * 10, 0});
    for (uint64_t wanted = 0; wanted < 10020; wanted++) {
        struct leaf_key key = {wanted, 0};
        uint64_t expected = wanted < 10 ? 1 : wanted / 10 > 1000 ? 1000 : wanted / 10;
        cr_assert(leaf_tree_find(tree, compare_wanted, &key, &place));
        cr_assert_eq((uint64_t)(uintptr_t)leaf_place_leaf(&place), expected);
    }
    leaf_tree_destroy(tree, NULL);
}

Test(leaf_tree, random_changes_give_what_a_plain_array_gives) {
    static struct model model;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct rng rng;
        rng_seed(&rng, seed);
        struct leaf_tree *tree = leaf_tree_create(true);
        model.count = 0;
        uintptr_t name = 0;
        // Grows for a while, then shrinks to nothing, with all kinds of change in between.
        for (int step = 0; step < 9000 || model.count > 0; step++) {
            unsigned chance = (unsigned)rng_below(&rng, 10);
            unsigned growth = step < 4500 ? 6 : 2;
            if (model.count == 0 || (chance < growth && model.count < LEAVES_MAX && step < 9000)) {
                insert_somewhere(tree, &model, &rng, ++name);
            } else if (chance < 8) {
                remove_somewhere(tree, &model, &rng);
            } else {
                change_somewhere(tree, &model, &rng);
            }
            if (step % 500 == 0) expect_equal(tree, &model);
        }
        expect_equal(tree, &model);
        cr_assert_eq(leaf_tree_count(tree), 0u);
        leaf_tree_destroy(tree, NULL);
    }
}

static size_t freed_count;

static void count_free(void *leaf) {
    free(leaf);
    freed_count++;
}

Test(leaf_tree, destroying_frees_each_leaf_once) {
    struct leaf_tree *tree = leaf_tree_create(true);
    struct leaf_place place = {.depth = 0};
    for (int i = 0; i < 3000; i++)
        leaf_tree_insert_before(tree, &place, malloc(8), 1, (struct leaf_key){0, 0});
    cr_assert_eq(leaf_tree_leaf_count(tree), 3000u);
    cr_assert_lt(leaf_tree_memory_used(tree), 3000u * 72);
    freed_count = 0;
    leaf_tree_destroy(tree, count_free);
    cr_assert_eq(freed_count, 3000u);
}

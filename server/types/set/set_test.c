#include <stdio.h>

#include <criterion/criterion.h>

#include "server/base/mem.h"
#include "server/base/rng.h"
#include "server/keyspace/digest.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_writer.h"
#include "server/types/set/set_internal.h"

#define MODEL_MAX 300u

static const struct data_type_options options = {
    .set_max_intset_entries = 16,
    .set_max_listpack_entries = 24,
    .set_max_listpack_value = 20,
};
static const struct set_policy policy = {&options, 42};

static struct bytes member_name(size_t number, unsigned kind, char out[64]) {
    int len = snprintf(out, 64,
                       kind == 0   ? "%zu"
                       : kind == 1 ? "member:%zu"
                                   : "a member that is longer than short ones are: %zu",
                       number);
    return bytes_of(out, (size_t)len);
}

static void destroy(struct record *record) {
    set_destroy(record);
    record_free(record);
}

static void count_member(void *arg, const struct listpack_value *member) {
    size_t *seen = arg;
    (void)member;
    ++*seen;
}

static void assert_same(const struct record *record, const bool *model, size_t count,
                        unsigned kind) {
    size_t seen = 0;
    cr_assert_eq(set_count(record), count);
    set_walk(record, count_member, &seen);
    cr_assert_eq(seen, count);
    for (size_t i = 0; i < MODEL_MAX; i++) {
        char name[64];
        cr_assert_eq(set_contains(record, member_name(i, kind, name)), model[i]);
    }
}

/* Through RDB and back: the same members, whatever the encoding. */
static void assert_survives(const struct record *record) {
    struct rdb_writer writer;
    struct rdb_reader reader;
    struct digest before = {{0}};
    struct digest after = {{0}};
    struct record *loaded = NULL;
    const struct data_type_load_context context = {&options, 7, true};
    rdb_writer_init(&writer, &(struct rdb_writer_options){.is_compressing = true});
    set_type.save(record, &writer);
    rdb_reader_init_memory(&reader, buffer_view(&writer.buffer));
    cr_assert_eq(
        set_type.load(set_type.rdb_type(record), &reader, BYTES_LITERAL("s"), &context, &loaded),
        STATUS_OK);
    set_type.digest(record, &before);
    set_type.digest(loaded, &after);
    cr_assert_eq(memcmp(&before, &after, sizeof(before)), 0);
    destroy(loaded);
    rdb_reader_deinit(&reader);
    rdb_writer_deinit(&writer);
}

static void run_random(unsigned kind, unsigned members, enum set_encoding last) {
    static bool model[MODEL_MAX];
    struct rng rng;
    rng_seed(&rng, kind + members);
    memset(model, 0, sizeof(model));
    struct record *record = set_record_create(BYTES_LITERAL("s"));
    size_t count = 0;
    for (int step = 0; step < 6000; step++) {
        size_t pick = rng_below(&rng, members);
        char name[64];
        struct bytes member = member_name(pick, kind, name);
        if (rng_below(&rng, 3) > 0) {
            cr_assert_eq(set_add(record, member, &policy), !model[pick]);
            count += !model[pick];
            model[pick] = true;
        } else {
            cr_assert_eq(set_remove(record, member), model[pick]);
            count -= model[pick];
            model[pick] = false;
        }
        if (step % 500 == 0) assert_same(record, model, count, kind);
    }
    assert_same(record, model, count, kind);
    cr_assert_eq(record_encoding(record), last);
    if (count > 0) assert_survives(record);
    struct record *copy = set_copy(record, BYTES_LITERAL("copy"));
    assert_same(copy, model, count, kind);
    destroy(copy);
    destroy(record);
}

Test(set, random_changes_equal_a_plain_model) {
    run_random(0, 15, SET_INTSET);
    run_random(0, MODEL_MAX, SET_TABLE);
    run_random(1, 20, SET_LISTPACK);
    run_random(1, MODEL_MAX, SET_TABLE);
    run_random(2, 10, SET_TABLE);
}

static void note_member(void *arg, const struct listpack_value *member) {
    size_t *counts = arg;
    char scratch[NUMBER_TEXT_MAX];
    struct bytes text = element_text(member, scratch);
    int64_t number = -1;
    cr_assert(
        number_parse_i64(bytes_from(text, text.data[0] == 'm' ? strlen("member:") : 0), &number));
    counts[number]++;
}

/* Each member is picked about as often as any other. */
static void assert_fair(unsigned kind, size_t members, size_t picked) {
    enum { ROUNDS = 20000 };
    static size_t counts[MODEL_MAX];
    struct rng rng;
    rng_seed(&rng, 3);
    memset(counts, 0, sizeof(counts));
    struct record *record = set_record_create(BYTES_LITERAL("s"));
    for (size_t i = 0; i < members; i++) {
        char name[64];
        set_add(record, member_name(i, kind, name), &policy);
    }
    for (int round = 0; round < ROUNDS; round++)
        set_pick_different(record, &rng, picked, note_member, counts);
    double wanted = (double)ROUNDS * (double)picked / (double)members;
    for (size_t i = 0; i < members; i++) {
        cr_assert(counts[i] > wanted * 0.85 && counts[i] < wanted * 1.15, "member %zu: %zu for %f",
                  i, counts[i], wanted);
    }
    destroy(record);
}

Test(set, picks_are_fair) {
    assert_fair(0, 10, 3);
    assert_fair(1, 20, 7);
    assert_fair(1, 100, 60);
}

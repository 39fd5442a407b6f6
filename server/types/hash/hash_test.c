#include <stdio.h>

#include <criterion/criterion.h>

#include "server/base/mem.h"
#include "server/base/rng.h"
#include "server/keyspace/digest.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_writer.h"
#include "server/types/hash/hash_internal.h"

#define MODEL_MAX 400u
#define TEXT_MAX 1500u

/* The plain model: fields by number, each with its value. */
struct model {
    struct {
        bool is_there;
        size_t len;
        uint8_t value[TEXT_MAX];
    } fields[MODEL_MAX];
    size_t count;
};

static const struct data_type_options options = {
    .hash_max_listpack_entries = 32,
    .hash_max_listpack_value = 64,
};
static const struct hash_policy policy = {&options, 42};
static const struct bytes key = BYTES_LITERAL("h");

/* Half of the names are numbers. */
static struct bytes field_name(size_t number, char out[32]) {
    int len = snprintf(out, 32, number % 2 ? "%zu" : "field:%zu", number);
    return bytes_of(out, (size_t)len);
}

static struct record *hash_create(void) {
    return hash_record_create(key);
}

static void destroy(struct record *record) {
    hash_destroy(record);
    record_free(record);
}

static void check_pair(void *arg, const struct hash_pair *pair) {
    size_t *seen = arg;
    (void)pair;
    ++*seen;
}

static void assert_same(const struct record *record, const struct model *model, size_t fields) {
    cr_assert_eq(hash_count(record), model->count);
    size_t seen = 0;
    hash_walk(record, 0, 0, check_pair, &seen);
    cr_assert_eq(seen, model->count);
    for (size_t i = 0; i < fields; i++) {
        char name[32];
        char scratch[NUMBER_TEXT_MAX];
        struct listpack_value value;
        bool is_there = hash_get(record, field_name(i, name), &value);
        cr_assert_eq(is_there, model->fields[i].is_there, "field %zu", i);
        if (!is_there) continue;
        cr_assert(bytes_equal(element_text(&value, scratch),
                              bytes_of(model->fields[i].value, model->fields[i].len)));
    }
}

/* A value of random length and kind into the model's field. */
static struct bytes random_value(struct rng *rng, struct model *model, size_t i, size_t max_len) {
    uint8_t *value = model->fields[i].value;
    if (rng_below(rng, 2) == 0) {
        int64_t number = (int64_t)rng_next(rng) >> rng_below(rng, 64);
        model->fields[i].len = number_format_i64(number, (char *)value);
    } else {
        model->fields[i].len = rng_below(rng, max_len + 1);
        memset(value, (int)('a' + rng_below(rng, 26)), model->fields[i].len);
    }
    return bytes_of(value, model->fields[i].len);
}

static void run_model(uint64_t seed, size_t fields, size_t max_len) {
    struct rng rng;
    rng_seed(&rng, seed);
    struct model *model = mem_alloc_zero(sizeof(*model));
    struct record *record = hash_create();
    for (int step = 0; step < 4000; step++) {
        char name[32];
        size_t i = rng_below(&rng, fields);
        struct bytes field = field_name(i, name);
        if (rng_below(&rng, 3) == 0) {
            bool was_there = model->fields[i].is_there;
            cr_assert_eq(hash_delete(record, field), was_there);
            model->count -= was_there;
            model->fields[i].is_there = false;
        } else {
            bool is_new = !model->fields[i].is_there;
            struct bytes value = random_value(&rng, model, i, max_len);
            cr_assert_eq(hash_set(record, field, value, &policy), is_new);
            model->count += is_new;
            model->fields[i].is_there = true;
        }
        if (step % 100 == 0) assert_same(record, model, fields);
    }
    assert_same(record, model, fields);
    struct record *copy = hash_copy(record, key);
    destroy(record);
    assert_same(copy, model, fields);
    destroy(copy);
    mem_free(model);
}

Test(hash, a_small_one_holds_what_a_plain_model_holds) {
    for (uint64_t seed = 1; seed <= 10; seed++)
        run_model(seed, 20, 64);
}

Test(hash, a_large_one_holds_what_a_plain_model_holds) {
    for (uint64_t seed = 1; seed <= 5; seed++)
        run_model(seed, MODEL_MAX, TEXT_MAX - 1);
}

Test(hash, it_becomes_a_table_beyond_the_limits_and_stays_one) {
    struct record *record = hash_create();
    char name[32];
    for (size_t i = 0; i < 32; i++)
        hash_set(record, field_name(i, name), BYTES_LITERAL("v"), &policy);
    cr_assert_str_eq(hash_type.encoding_name(record), "listpack");
    hash_set(record, BYTES_LITERAL("one more"), BYTES_LITERAL("v"), &policy);
    cr_assert_str_eq(hash_type.encoding_name(record), "hashtable");
    for (size_t i = 0; i < 32; i++)
        cr_assert(hash_delete(record, field_name(i, name)));
    cr_assert_str_eq(hash_type.encoding_name(record), "hashtable");
    destroy(record);

    record = hash_create();
    uint8_t text[65] = {0};
    hash_set(record, BYTES_LITERAL("f"), bytes_of(text, 64), &policy);
    cr_assert_str_eq(hash_type.encoding_name(record), "listpack");
    hash_set(record, BYTES_LITERAL("f"), bytes_of(text, 65), &policy);
    cr_assert_str_eq(hash_type.encoding_name(record), "hashtable");
    destroy(record);
}

static void assert_round_trip(size_t fields) {
    struct model *model = mem_alloc_zero(sizeof(*model));
    struct rng rng;
    rng_seed(&rng, fields);
    struct record *record = hash_create();
    for (size_t i = 0; i < fields; i++) {
        char name[32];
        hash_set(record, field_name(i, name), random_value(&rng, model, i, 64), &policy);
        model->fields[i].is_there = true;
        model->count++;
    }
    struct rdb_writer writer;
    rdb_writer_init(&writer, &(struct rdb_writer_options){.is_compressing = true});
    hash_type.save(record, &writer);
    struct rdb_reader reader;
    rdb_reader_init_memory(&reader, buffer_view(&writer.buffer));
    const struct data_type_load_context context = {.options = &options, .hash_seed = 7};
    struct record *loaded = NULL;
    cr_assert_eq(hash_type.load(hash_type.rdb_type(record), &reader, key, &context, &loaded),
                 STATUS_OK);
    assert_same(loaded, model, fields);
    struct digest a = {{0}};
    struct digest b = {{0}};
    hash_type.digest(record, &a);
    hash_type.digest(loaded, &b);
    cr_assert_arr_eq(a.bytes, b.bytes, sizeof(a.bytes));
    rdb_reader_deinit(&reader);
    rdb_writer_deinit(&writer);
    destroy(record);
    destroy(loaded);
    mem_free(model);
}

Test(hash, a_saved_one_loads_again) {
    assert_round_trip(1);
    assert_round_trip(32);
    assert_round_trip(33);
    assert_round_trip(MODEL_MAX);
}

static enum status load_bytes(uint8_t type, struct bytes bytes, struct record **out) {
    struct rdb_reader reader;
    rdb_reader_init_memory(&reader, bytes);
    const struct data_type_load_context context = {.options = &options, .hash_seed = 7};
    enum status status = hash_type.load(type, &reader, key, &context, out);
    rdb_reader_deinit(&reader);
    return status;
}

Test(hash, loading_refuses_repeated_fields_and_skips_empty_hashes) {
    struct record *record = NULL;
    const uint8_t repeated[] = {2, 1, 'a', 1, 'x', 1, 'a', 1, 'y'};
    cr_assert_eq(load_bytes(4, bytes_of(repeated, sizeof(repeated)), &record), STATUS_BAD_FORMAT);
    cr_assert_null(record);
    const uint8_t empty[] = {0};
    cr_assert_eq(load_bytes(4, bytes_of(empty, sizeof(empty)), &record), STATUS_OK);
    cr_assert_null(record);
    const uint8_t listpack[] = {0x0d, 0x0d, 0,    0,    0,    2,    0,
                                0x81, 0x66, 0x02, 0x81, 0x76, 0x02, 0xff};
    cr_assert_eq(load_bytes(16, bytes_of(listpack, sizeof(listpack)), &record), STATUS_OK);
    struct listpack_value value;
    cr_assert(hash_get(record, BYTES_LITERAL("f"), &value));
    cr_assert(bytes_equal(value.text, BYTES_LITERAL("v")));
    destroy(record);
}

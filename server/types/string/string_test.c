#include <criterion/criterion.h>

#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/base/rng.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_writer.h"
#include "server/types/string/string.h"

static const struct bytes key = BYTES_LITERAL("some key");

static void destroy(struct record *record) {
    string_destroy(record);
    record_free(record);
}

static void assert_value(const struct record *record, struct bytes value) {
    char scratch[NUMBER_TEXT_MAX];
    cr_assert(bytes_equal(string_view(record, scratch), value));
    cr_assert_eq(string_len(record), value.len);
    cr_assert(bytes_equal(record_key(record), key));
}

Test(string, encodings_have_the_names_that_clients_know) {
    static const char digits[] = "0123456789012345678901234567890123456789012345";
    const struct {
        struct bytes value;
        const char *name;
    } cases[] = {
        {BYTES_LITERAL("0"), "int"},
        {BYTES_LITERAL("-9223372036854775808"), "int"},
        {BYTES_LITERAL("9223372036854775808"), "embstr"},
        {BYTES_LITERAL("007"), "embstr"},
        {BYTES_LITERAL("+7"), "embstr"},
        {BYTES_LITERAL(""), "embstr"},
        {bytes_of(digits, 44), "embstr"},
        {bytes_of(digits, 45), "raw"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct record *record = string_record_create(key, cases[i].value, false, 0);
        cr_assert_str_eq(string_type.encoding_name(record), cases[i].name, "case %zu", i);
        assert_value(record, cases[i].value);
        destroy(record);
    }
}

Test(string, a_record_takes_any_value_after_any_other) {
    struct rng rng;
    rng_seed(&rng, 7);
    static const size_t lens[] = {0, 1, 7, 8, 9, 20, 21, 44, 100, 1023, 1024, 1025, 3000, 70000};
    uint8_t *bytes = mem_alloc(70000);
    for (size_t i = 0; i < 70000; i++)
        bytes[i] = (uint8_t)('a' + rng_below(&rng, 26));
    struct record *record = string_record_create(key, BYTES_LITERAL("x"), true, 12345);
    for (int step = 0; step < 20000; step++) {
        if (rng_below(&rng, 4) == 0) {
            char text[NUMBER_TEXT_MAX];
            int64_t number = (int64_t)(rng_next(&rng) >> rng_below(&rng, 64));
            record = string_record_set(record, bytes_of(text, number_format_i64(number, text)));
            int64_t read = 0;
            cr_assert(string_get_i64(record, &read));
            cr_assert_eq(read, number);
        } else {
            struct bytes value = bytes_of(bytes, lens[rng_below(&rng, ARRAY_COUNT(lens))]);
            record = string_record_set(record, value);
            assert_value(record, value);
        }
        cr_assert_eq(record_deadline_ms(record), 12345);
    }
    destroy(record);
    mem_free(bytes);
}

Test(string, a_copy_keeps_value_and_encoding_but_no_deadline) {
    struct record *raw = string_record_create_text(key, BYTES_LITERAL("12"), true, true, 99);
    struct record *copy = string_type.copy(raw, key);
    cr_assert_str_eq(string_type.encoding_name(copy), "raw");
    assert_value(copy, BYTES_LITERAL("12"));
    cr_assert_not(record_has_deadline(copy));
    destroy(raw);
    destroy(copy);
}

Test(string, a_saved_value_loads_again) {
    uint8_t long_value[5000];
    memset(long_value, 'z', sizeof(long_value));
    const struct bytes values[] = {
        BYTES_LITERAL(""),
        BYTES_LITERAL("-129"),
        BYTES_LITERAL("9223372036854775807"),
        BYTES_LITERAL("text"),
        bytes_of(long_value, sizeof(long_value)),
    };
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        struct record *record = string_record_create(key, values[i], false, 0);
        struct rdb_writer writer;
        rdb_writer_init(&writer, &(struct rdb_writer_options){.is_compressing = true});
        string_type.save(record, &writer);
        struct rdb_reader reader;
        rdb_reader_init_memory(&reader, buffer_view(&writer.buffer));
        struct record *loaded = NULL;
        cr_assert_eq(string_type.load(string_type.rdb_type(record), &reader, key, NULL, &loaded),
                     STATUS_OK);
        assert_value(loaded, values[i]);
        cr_assert_eq(record_encoding(loaded), record_encoding(record));
        rdb_reader_deinit(&reader);
        rdb_writer_deinit(&writer);
        destroy(record);
        destroy(loaded);
    }
}

Test(string, a_blob_that_others_refer_to_is_copied_before_it_grows) {
    struct blob *shared = blob_create_copy(BYTES_LITERAL("abc"));
    struct blob *mine = blob_make_room(blob_retain(shared), 10);
    cr_assert_neq(mine, shared);
    mine->data[0] = 'X';
    cr_assert(bytes_equal(blob_view(shared), BYTES_LITERAL("abc")));
    cr_assert_not(blob_is_shared(shared));
    blob_release(shared);
    blob_release(mine);
}

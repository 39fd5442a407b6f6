#include <criterion/criterion.h>

#include "server/keyspace/digest.h"

static void digest_of_string(const struct record *record, struct digest *digest) {
    digest_mix(digest, bytes_of(record_payload(record), record_payload_len(record)));
}

static const struct data_type text_type = {
    .name = "string", .code = RECORD_STRING, .digest = digest_of_string};

static struct record *text_record(bool has_deadline) {
    return record_create(&(struct record_spec){
        .type = RECORD_STRING,
        .key = BYTES_LITERAL("k"),
        .payload = BYTES_LITERAL("v"),
        .has_deadline = has_deadline,
        .deadline_ms = 4102444800000,
    });
}

Test(digest, a_string_has_the_digest_that_redis_gives_it) {
    struct digest digest = {0};
    struct record *record = text_record(false);
    digest_record(&digest, &text_type, record);
    char text[DIGEST_TEXT_SIZE];
    digest_text(&digest, text);
    cr_assert_str_eq(text, "d79ee9fe5d5ad902d7f6620efc3b07b75ddd742f");
    record_free(record);
}

Test(digest, a_deadline_changes_it_and_its_time_does_not) {
    struct digest with = {0};
    struct digest without = {0};
    struct record *record = text_record(true);
    digest_record(&with, &text_type, record);
    record = record_with_deadline(record, true, 4102444800001);
    struct digest other = {0};
    digest_record(&other, &text_type, record);
    record = record_with_deadline(record, false, 0);
    digest_record(&without, &text_type, record);
    cr_assert_arr_eq(with.bytes, other.bytes, sizeof(with.bytes));
    cr_assert_arr_neq(with.bytes, without.bytes, sizeof(with.bytes));
    record_free(record);
}

Test(digest, xoring_is_the_same_in_any_order_and_mixing_is_not) {
    struct digest ab = {0}, ba = {0}, mixed_ab = {0}, mixed_ba = {0};
    digest_xor(&ab, BYTES_LITERAL("a"));
    digest_xor(&ab, BYTES_LITERAL("b"));
    digest_xor(&ba, BYTES_LITERAL("b"));
    digest_xor(&ba, BYTES_LITERAL("a"));
    digest_mix(&mixed_ab, BYTES_LITERAL("a"));
    digest_mix(&mixed_ab, BYTES_LITERAL("b"));
    digest_mix(&mixed_ba, BYTES_LITERAL("b"));
    digest_mix(&mixed_ba, BYTES_LITERAL("a"));
    cr_assert_arr_eq(ab.bytes, ba.bytes, sizeof(ab.bytes));
    cr_assert_arr_neq(mixed_ab.bytes, mixed_ba.bytes, sizeof(mixed_ab.bytes));
}

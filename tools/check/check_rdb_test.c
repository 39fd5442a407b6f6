#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "server/base/compiler.h"
#include "tools/check/check_guard.h"
#include "tools/check/check_rdb.h"
#include "tools/check/check_text.h"

struct input {
    struct bytes left;
};

static enum status fill(void *context, uint8_t *out, size_t cap, size_t *out_len) {
    struct input *input = context;
    size_t len = input->left.len < cap ? input->left.len : cap;
    if (len > 0) memcpy(out, input->left.data, len);
    input->left = bytes_from(input->left, len);
    *out_len = len;
    return STATUS_OK;
}

/* Checks the bytes; the caller frees the output. */
static char *check(struct bytes bytes, struct check_rdb_report *report) {
    struct input input = {bytes};
    char *output = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&output, &len);
    check_rdb(&(struct check_rdb_input){{fill, &input}, "x.rdb", out, 1000}, report);
    fclose(out);
    return output;
}

static void assert_output(struct bytes bytes, const char *expected) {
    struct check_rdb_report report = {0};
    char *output = check(bytes, &report);
    cr_assert_str_eq(output, expected);
    free(output);
    check_rdb_report_deinit(&report);
}

#define RAW(text) BYTES_LITERAL(text)

Test(check_rdb, tells_each_item_with_the_offset_behind_it) {
    assert_output(RAW("REDIS0003\xfa\1a\1b\xfe\2\xfd\1\0\0\0\0\1k\1v\xff"),
                  "[offset 0] Checking RDB file x.rdb\n"
                  "[offset 14] AUX FIELD a = 'b'\n"
                  "[offset 16] Selecting DB ID 2\n"
                  "[offset 27] \\o/ RDB looks OK! \\o/\n"
                  "[info] 1 keys read\n[info] 1 expires\n[info] 0 already expired\n");
}

Test(check_rdb, tells_the_key_and_the_step_of_a_damage) {
    assert_output(RAW("REDIS0010\0\1k\5ab"), "[offset 0] Checking RDB file x.rdb\n"
                                             "--- RDB ERROR DETECTED ---\n"
                                             "[offset 13] Unexpected EOF reading RDB file\n"
                                             "[additional info] While doing: read-object-value\n"
                                             "[additional info] Reading key 'k'\n"
                                             "[additional info] Reading type 0 (string)\n"
                                             "[info] 1 keys read\n[info] 0 expires\n"
                                             "[info] 0 already expired\n");
}

Test(check_rdb, ends_where_a_preamble_ends) {
    struct check_rdb_report report = {0};
    free(check(RAW("REDIS0003\0\1k\1v\xff*1\r\n"), &report));
    cr_assert_not(report.error.is_set);
    cr_assert_eq(report.end_offset, 15);
    check_rdb_report_deinit(&report);
}

Test(check_rdb, remembers_the_biggest_keys_in_order) {
    struct buffer file = {0};
    buffer_append_text(&file, "REDIS0003");
    static const uint8_t lengths[] = {3, 9, 1, 7, 5, 8, 2, 6};
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        buffer_append(&file, "\0\1", 2);
        buffer_append_u8(&file, (uint8_t)('a' + i));
        buffer_append_u8(&file, lengths[i]);
        buffer_append(&file, "012345678", lengths[i]);
    }
    buffer_append_u8(&file, 0xff);
    struct check_rdb_report report = {0};
    free(check(buffer_view(&file), &report));
    const struct check_rdb_type_summary *strings = &report.types[CHECK_RDB_STRING];
    cr_assert_eq(strings->keys, 8);
    cr_assert_eq(strings->biggest_count, CHECK_RDB_BIGGEST_MAX);
    static const char expected[] = "bfdhe"; // 9, 8, 7, 6, 5 bytes.
    for (unsigned i = 0; i < CHECK_RDB_BIGGEST_MAX; i++)
        cr_assert_eq(strings->biggest[i].name.data[0], expected[i]);
    check_rdb_report_deinit(&report);
    buffer_deinit(&file);
}

static void fault(void *arg) {
    *(int *)arg += 1;
    raise(SIGSEGV);
    *(int *)arg += 1;
}

static enum status fill_and_fault(void *context, uint8_t *out, size_t cap, size_t *out_len) {
    struct input *input = context;
    if (input->left.len == 0) abort();
    return fill(context, out, cap, out_len);
}

Test(check_guard, ends_the_work_that_faults_each_time) {
#ifdef DUNLIN_SANITIZED
    cr_skip_test("the sanitizer takes the signals");
#endif
    int steps = 0;
    cr_assert_not(check_guard_run(fault, &steps));
    cr_assert_not(check_guard_run(fault, &steps));
    cr_assert_eq(steps, 2);
}

Test(check_rdb, tells_where_a_decoder_has_crashed) {
#ifdef DUNLIN_SANITIZED
    cr_skip_test("the sanitizer takes the signals");
#endif
    struct input input = {RAW("REDIS0010\0\1k")};
    struct check_rdb_report report = {0};
    cr_assert_not(
        check_rdb(&(struct check_rdb_input){{fill_and_fault, &input}, "x.rdb", NULL, 0}, &report));
    cr_assert(bytes_equal_text(buffer_view(&report.error.text),
                               "Server crash checking the specified RDB file!"));
    cr_assert_eq(report.error.offset, 12);
    cr_assert_str_eq(report.error.doing, "read-object-value");
    check_rdb_report_deinit(&report);
}

Test(check_text, shows_what_is_utf8_and_escapes_the_rest) {
    static const struct {
        struct bytes text;
        const char *shown;
    } cases[] = {
        {RAW("plain"), "plain"},         {RAW("a\nb\0"), "a\\x0ab\\x00"},
        {RAW("\xc3\xa9"), "\xc3\xa9"},   {RAW("\xc3("), "\\xc3("},
        {RAW("\xc2\x9b"), "\\xc2\\x9b"}, {RAW("\xed\xa0\x80"), "\\xed\\xa0\\x80"},
        {RAW("\xf0\x9f"), "\\xf0\\x9f"}, {RAW("123456789"), "12345678..."},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buffer shown = {0};
        check_append_readable(&shown, cases[i].text, 8);
        cr_assert(bytes_equal_text(buffer_view(&shown), cases[i].shown), "case %zu", i);
        buffer_deinit(&shown);
    }
}

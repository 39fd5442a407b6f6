#include <stdio.h>

#include <criterion/criterion.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "server/base/crc.h"
#include "server/base/glob.h"
#include "server/base/number.h"
#include "server/base/rng.h"

Test(crc, gives_the_standard_check_values) {
    cr_assert_eq(crc16(BYTES_LITERAL("123456789")), 0x31c3);
    cr_assert_eq(crc16(BYTES_LITERAL("foo")) % 16384, 12182);
    cr_assert_eq(crc64(0, BYTES_LITERAL("123456789")), 0xe9c6d914c4b8d9cau);
    uint64_t split = crc64(crc64(0, BYTES_LITERAL("12345")), BYTES_LITERAL("6789"));
    cr_assert_eq(split, 0xe9c6d914c4b8d9cau);
}

/* Long inputs take another way than short ones: byte by byte is the short way. */
Test(crc, is_the_same_in_one_piece_and_byte_by_byte) {
    uint8_t text[1000];
    struct rng rng;
    rng_seed(&rng, 1);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)rng_next(&rng);
    for (size_t len = 0; len < sizeof(text) - 16; len++) {
        const uint8_t *at = text + len % 16;
        uint64_t expected = len;
        for (size_t i = 0; i < len; i++)
            expected = crc64(expected, bytes_of(at + i, 1));
        cr_assert_eq(crc64(len, bytes_of(at, len)), expected, "%zu bytes", len);
    }
}

Test(glob, matches_as_keys_does) {
    static const struct {
        const char *pattern;
        const char *text;
        bool matches;
    } cases[] = {
        {"*", "", false},           {"a*", "a", true},
        {"a*c", "abbbc", true},     {"a?c", "abc", true},
        {"a?c", "ac", false},       {"[a-c]x", "bx", true},
        {"[^a-c]x", "bx", false},   {"\\*", "*", true},
        {"\\*", "a", false},        {"h[ae]llo", "hillo", false},
        {"a*b*c", "axxbyy", false}, {"**a**", "bbabb", true},
        {"foo", "foo", true},       {"", "", true},
        {"", "a", false},           {"[a", "a", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_assert_eq(
            glob_matches(bytes_of_text(cases[i].pattern), bytes_of_text(cases[i].text), false),
            cases[i].matches, "%s against %s", cases[i].pattern, cases[i].text);
    }
    cr_assert(glob_matches(BYTES_LITERAL("MAX*"), BYTES_LITERAL("maxmemory"), true));
}

Test(number, reads_only_canonical_integers) {
    int64_t value = 7;
    cr_assert(number_parse_i64(BYTES_LITERAL("-9223372036854775808"), &value));
    cr_assert_eq(value, INT64_MIN);
    cr_assert(number_parse_i64(BYTES_LITERAL("9223372036854775807"), &value));
    cr_assert_eq(value, INT64_MAX);
    static const char *const refused[] = {
        "", "-", "+1", " 1", "1 ", "01", "-0", "9223372036854775808", "1e3", "0x1"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        cr_assert_not(number_parse_i64(bytes_of_text(refused[i]), &value), "%s", refused[i]);
}

Test(number, formats_what_it_reads) {
    char text[NUMBER_TEXT_MAX];
    int64_t values[] = {0, 9, 10, 99, 100, -1, -100, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        int64_t back = 1;
        unsigned len = number_format_i64(values[i], text);
        cr_assert(number_parse_i64(bytes_of(text, len), &back));
        cr_assert_eq(back, values[i]);
    }
}

Test(number, formats_every_count_of_digits) {
    char text[NUMBER_TEXT_MAX];
    char expected[32];
    uint64_t power = 1;
    for (int digits = 0; digits < 20; digits++, power *= 10) {
        const uint64_t values[] = {power - 1, power, power + 1, power * 9 / 5};
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
            unsigned len = number_format_u64(values[i], text);
            snprintf(expected, sizeof(expected), "%llu", (unsigned long long)values[i]);
            cr_assert(bytes_equal_text(bytes_of(text, len), expected), "%s", expected);
        }
    }
    cr_assert_eq(number_format_u64(UINT64_MAX, text), 20);
}

Test(number, reads_memory_sizes) {
    uint64_t size = 0;
    cr_assert(number_parse_memory(BYTES_LITERAL("1gb"), &size));
    cr_assert_eq(size, 1073741824u);
    cr_assert(number_parse_memory(BYTES_LITERAL("2K"), &size));
    cr_assert_eq(size, 2000u);
    cr_assert_not(number_parse_memory(BYTES_LITERAL("2x"), &size));
    cr_assert_not(number_parse_memory(BYTES_LITERAL(""), &size));
}

Test(number, formats_floats_for_people) {
    char text[NUMBER_DOUBLE_TEXT_MAX];
    unsigned len = number_format_human(3.0L, text, sizeof(text));
    cr_assert_eq(len, 1);
    len = number_format_human(10.6L, text, sizeof(text));
    cr_assert(bytes_equal_text(bytes_of(text, len), "10.6"));
}

Test(buffer, grows_and_consumes) {
    struct buffer buffer = {0};
    for (int i = 0; i < 1000; i++)
        buffer_append_format(&buffer, "%d,", i);
    buffer_consume(&buffer, 2);
    cr_assert_eq(buffer.data[0], '1');
    buffer_append_i64(&buffer, -5);
    cr_assert_eq(buffer.data[buffer.len - 1], '5');
    buffer_deinit(&buffer);
}

Test(rng, stays_below_its_bound) {
    struct rng rng;
    rng_seed(&rng, 42);
    for (int i = 0; i < 10000; i++)
        cr_assert_lt(rng_below(&rng, 7), 7);
}

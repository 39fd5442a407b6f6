#include <criterion/criterion.h>

#include "server/base/compiler.h"
#include "server/base/words.h"

/* Joins the words with '|'; "!" for a failure. */
static void split_to_text(const char *line, struct buffer *out) {
    struct words words = {0};
    if (words_split(&words, bytes_of_text(line), 8) != STATUS_OK) {
        buffer_append_text(out, "!");
    }
    for (size_t i = 0; i < words.count; i++) {
        if (i > 0) buffer_append_text(out, "|");
        buffer_append_bytes(out, words.items[i]);
    }
    buffer_append_u8(out, 0);
    words_deinit(&words);
}

Test(words, are_cut_as_users_know_it) {
    static const struct {
        const char *line;
        const char *wanted;
    } cases[] = {
        {"", ""},
        {"  \t ", ""},
        {"set  a\tb\r\n", "set|a|b"},
        {"\"a b\" 'c d'", "a b|c d"},
        {"\"\\n\\x41\\\\\\\"\\q\"", "\nA\\\"q"},
        {"\"\\xzz\"", "xzz"},
        {"'\\'\\n'", "'\\n"},
        {"ab\"cd\" e", "abcd|e"},
        {"\"\" ''", "|"},
        {"\"a\"b", "!"},
        {"'a'b", "!"},
        {"\"a", "!"},
        {"\"a\\\"", "!"},
        {"'a", "!"},
        {"1 2 3 4 5 6 7 8", "1|2|3|4|5|6|7|8"},
        {"1 2 3 4 5 6 7 8 9", "!"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buffer out = {0};
        split_to_text(cases[i].line, &out);
        cr_expect_str_eq((const char *)out.data, cases[i].wanted, "line <%s>", cases[i].line);
        buffer_deinit(&out);
    }
}

Test(words, read_back_what_was_quoted) {
    uint8_t all[256];
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (uint8_t)i;
    const struct bytes samples[] = {
        bytes_of(all, sizeof(all)), BYTES_LITERAL(""),         BYTES_LITERAL("plain"),
        BYTES_LITERAL("two words"), BYTES_LITERAL("it's"),     BYTES_LITERAL("back\\slash"),
        BYTES_LITERAL("#comment"),  BYTES_LITERAL("\xc3\xa4"),
    };
    struct words words = {0};
    for (size_t i = 0; i < ARRAY_COUNT(samples); i++) {
        struct buffer line = {0};
        words_append(&line, samples[i]);
        buffer_append_u8(&line, ' ');
        words_append_quoted(&line, samples[i]);
        cr_assert_eq(words_split(&words, buffer_view(&line), 2), STATUS_OK);
        cr_assert_eq(words.count, 2);
        cr_expect(bytes_equal(words.items[0], samples[i]));
        cr_expect(bytes_equal(words.items[1], samples[i]));
        buffer_deinit(&line);
    }
    words_deinit(&words);
}

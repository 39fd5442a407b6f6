#include <criterion/criterion.h>

#include "tools/client/format.h"

/* One reply in every format. Recorded from redis-cli 7.0.15, except JSON's errors, infinity and
 * quotes inside quoted JSON, where the reference writes what no JSON parser reads, and big numbers,
 * which it cannot show. */
static const struct {
    const char *resp;
    const char *standard;
    const char *raw;
    const char *csv;
    const char *json;
    const char *quoted_json;
} cases[] = {
    {"+OK\r\n", "OK\n", "OK\n", "\"OK\"\n", "\"OK\"\n", "\"OK\"\n"},
    {"-ERR a\"b\r\n", "(error) ERR a\"b\n", "ERR a\"b\n\n", "ERROR,\"ERR a\\\"b\"\n",
     "{\"error\":\"ERR a\\\"b\",\"code\":\"ERR\"}\n",
     "{\"error\":\"ERR a\\\\\\\"b\",\"code\":\"ERR\"}\n"},
    {":12345\r\n", "(integer) 12345\n", "12345\n", "12345\n", "12345\n", "12345\n"},
    {",3.141\r\n", "(double) 3.141\n", "3.141\n", "3.141\n", "3.141\n", "3.141\n"},
    {",inf\r\n", "(double) inf\n", "inf\n", "inf\n", "\"inf\"\n", "\"inf\"\n"},
    {"_\r\n", "(nil)\n", "\n", "NULL\n", "null\n", "null\n"},
    {"#t\r\n", "(true)\n", "(true)\n", "true\n", "true\n", "true\n"},
    {"#f\r\n", "(false)\n", "(false)\n", "false\n", "false\n", "false\n"},
    {"(123456789012345678901\r\n", "(big number) 123456789012345678901\n",
     "123456789012345678901\n", "123456789012345678901\n", "123456789012345678901\n",
     "123456789012345678901\n"},
    {"=8\r\ntxt:a\nb\"\r\n", "a\nb\"\n", "a\nb\"\n", "\"a\\nb\\\"\"\n", "\"a\\nb\\\"\"\n",
     "\"a\\\\nb\\\\\\\"\"\n"},
    {"$9\r\n\n\r\t\b\f\a\x01\xc3\xa9\r\n", "\"\\n\\r\\t\\b\\x0c\\a\\x01\\xc3\\xa9\"\n",
     "\n\r\t\b\f\a\x01\xc3\xa9\n", "\"\\n\\r\\t\\b\\x0c\\a\\x01\\xc3\\xa9\"\n",
     "\"\\n\\r\\t\\b\\f\\u0007\\u0001\xc3\xa9\"\n",
     "\"\\\\n\\\\r\\\\t\\\\b\\\\x0c\\\\a\\\\x01\\\\xc3\\\\xa9\"\n"},
    {"*0\r\n", "(empty array)\n", "\n", "\n", "[]\n", "[]\n"},
    {"%0\r\n", "(empty hash)\n", "\n", "\n", "{}\n", "{}\n"},
    {"~0\r\n", "(empty set)\n", "\n", "\n", "[]\n", "[]\n"},
    {"*5\r\n:1\r\n*3\r\n:2\r\n*0\r\n*1\r\n:3\r\n$1\r\nx\r\n$-1\r\n*2\r\n*0\r\n*1\r\n$1\r\na\r\n",
     "1) (integer) 1\n"
     "2) 1) (integer) 2\n"
     "   2) (empty array)\n"
     "   3) 1) (integer) 3\n"
     "3) \"x\"\n"
     "4) (nil)\n"
     "5) 1) (empty array)\n"
     "   2) 1) \"a\"\n",
     "1\n2\n\n3\nx\n\n\na\n", "1,2,,3,\"x\",NULL,,\"a\"\n",
     "[1,[2,[],[3]],\"x\",null,[[],[\"a\"]]]\n", "[1,[2,[],[3]],\"x\",null,[[],[\"a\"]]]\n"},
    {"%2\r\n$1\r\na\r\n%1\r\n$1\r\nb\r\n*2\r\n:1\r\n:2\r\n$1\r\nc\r\n:1\r\n",
     "1# \"a\" => \n"
     "   1# \"b\" => \n"
     "      1) (integer) 1\n"
     "      2) (integer) 2\n"
     "2# \"c\" => (integer) 1\n",
     "a b 1\n2\nc 1\n", "\"a\",\"b\",1,2,\"c\",1\n", "{\"a\":{\"b\":[1,2]},\"c\":1}\n",
     "{\"a\":{\"b\":[1,2]},\"c\":1}\n"},
    {"%1\r\n:0\r\n~1\r\n$1\r\nx\r\n", "1# (integer) 0 => 1~ \"x\"\n", "0 x\n", "0,\"x\"\n",
     "{\"0\":[\"x\"]}\n", "{\"0\":[\"x\"]}\n"},
    {">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n", "-> invalidate: 'a', 'b'\n",
     "invalidate\na\nb\n", "\"invalidate\",\"a\",\"b\"\n", "[\"invalidate\",[\"a\",\"b\"]]\n",
     "[\"invalidate\",[\"a\",\"b\"]]\n"},
};

static void expect(const char *resp, const struct format *format, const char *expected) {
    struct reply_reader *reader = reply_reader_create();
    struct reply *reply;
    struct buffer text = {0};
    reply_reader_feed(reader, bytes_of_text(resp));
    cr_assert_eq(reply_reader_next(reader, &reply), STATUS_OK, "%s", resp);
    format_reply(format, reply, &text);
    buffer_append_u8(&text, 0);
    cr_assert_str_eq((char *)text.data, expected, "%s", resp);
    buffer_deinit(&text);
    reply_destroy(reply);
    reply_reader_destroy(reader);
}

Test(format, shows_every_kind_in_every_style) {
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *const expected[] = {cases[i].standard, cases[i].raw, cases[i].csv,
                                        cases[i].json, cases[i].quoted_json};
        for (int style = FORMAT_STANDARD; style <= FORMAT_QUOTED_JSON; style++) {
            struct format format = {.style = (enum format_style)style,
                                    .item_delimiter = BYTES_LITERAL("\n"),
                                    .reply_delimiter = BYTES_LITERAL("\n")};
            expect(cases[i].resp, &format, expected[style]);
        }
    }
}

Test(format, aligns_the_indexes_of_ten_and_more_items) {
    struct format format = {.style = FORMAT_STANDARD};
    expect("*10\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n:7\r\n:8\r\n*2\r\n:9\r\n:9\r\n:10\r\n",
           &format,
           " 1) (integer) 1\n 2) (integer) 2\n 3) (integer) 3\n 4) (integer) 4\n"
           " 5) (integer) 5\n 6) (integer) 6\n 7) (integer) 7\n 8) (integer) 8\n"
           " 9) 1) (integer) 9\n    2) (integer) 9\n10) (integer) 10\n");
}

Test(format, divides_raw_items_and_replies_as_told) {
    struct format format = {.style = FORMAT_RAW,
                            .item_delimiter = BYTES_LITERAL(","),
                            .reply_delimiter = BYTES_LITERAL(";")};
    expect("*3\r\n:1\r\n*0\r\n%1\r\n+a\r\n:2\r\n", &format, "1,,a 2;");
}

Test(format, shows_attributes_when_asked) {
    struct format format = {.style = FORMAT_STANDARD, .show_attributes = true};
    expect("|1\r\n+ttl\r\n:3\r\n+OK\r\n", &format, "|1# ttl => (integer) 3\nOK\n");
    format.show_attributes = false;
    expect("|1\r\n+ttl\r\n:3\r\n+OK\r\n", &format, "OK\n");
}

Test(format, knows_the_commands_that_answer_with_texts) {
    struct bytes info[] = {BYTES_LITERAL("INFO"), BYTES_LITERAL("server")};
    struct bytes nodes[] = {BYTES_LITERAL("cluster"), BYTES_LITERAL("NODES")};
    struct bytes slots[] = {BYTES_LITERAL("cluster"), BYTES_LITERAL("slots")};
    cr_assert(format_is_text_command(2, info));
    cr_assert(format_is_text_command(2, nodes));
    cr_assert_not(format_is_text_command(2, slots));
    cr_assert_not(format_is_text_command(1, nodes));
}

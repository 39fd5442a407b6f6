#include <criterion/criterion.h>

#include "server/base/buffer.h"
#include "server/resp/reply_reader.h"

/* A reply as one line of text, so that a test can say what it expects. */
static void show(const struct reply *reply, struct buffer *out) {
    static const char *const names[] = {"simple", "error", "int", "bulk", "null",
                                        "double", "bool",  "big", "verb", "array",
                                        "set",    "push",  "map"};
    if (reply->attributes != NULL) {
        buffer_append_text(out, "|");
        show(reply->attributes, out);
        buffer_append_text(out, "|");
    }
    buffer_append_text(out, names[reply->kind]);
    if (reply_is_aggregate(reply)) {
        buffer_append_text(out, "[");
        for (size_t i = 0; i < reply->count; i++) {
            if (i > 0) buffer_append_text(out, " ");
            show(&reply->items[i], out);
        }
        buffer_append_text(out, "]");
    } else if (reply->kind == REPLY_INTEGER || reply->kind == REPLY_BOOLEAN) {
        buffer_append_format(out, ":%lld", (long long)reply->integer);
    } else if (reply->kind != REPLY_NULL) {
        buffer_append_text(out, ":");
        buffer_append_bytes(out, reply->text);
    }
}

static const struct {
    const char *input;
    const char *expected;
} replies[] = {
    {"+OK\r\n", "simple:OK"},
    {"-ERR no\r\n", "error:ERR no"},
    {":-12\r\n", "int:-12"},
    {"$5\r\na\r\nbc\r\n", "bulk:a\r\nbc"},
    {"$0\r\n\r\n", "bulk:"},
    {"$-1\r\n", "null"},
    {"*-1\r\n", "null"},
    {"_\r\n", "null"},
    {",3.25\r\n", "double:3.25"},
    {",inf\r\n", "double:inf"},
    {"#t\r\n", "bool:1"},
    {"#f\r\n", "bool:0"},
    {"(3492890328409238509324850943850943825024385\r\n",
     "big:3492890328409238509324850943850943825024385"},
    {"=8\r\ntxt:text\r\n", "verb:text"},
    {"!5\r\nERR a\r\n", "error:ERR a"},
    {"*0\r\n", "array[]"},
    {"*2\r\n*1\r\n:1\r\n*0\r\n", "array[array[int:1] array[]]"},
    {"%2\r\n+a\r\n:1\r\n+b\r\n~1\r\n+c\r\n", "map[simple:a int:1 simple:b set[simple:c]]"},
    {">2\r\n+x\r\n+y\r\n", "push[simple:x simple:y]"},
    {"|1\r\n+ttl\r\n:3\r\n*2\r\n|1\r\n+p\r\n#t\r\n+a\r\n+b\r\n",
     "|map[simple:ttl int:3]|array[|map[simple:p bool:1]|simple:a simple:b]"},
    {"|0\r\n+OK\r\n", "simple:OK"},
};

Test(reply_reader, reads_every_kind_whole_and_byte_by_byte) {
    for (size_t i = 0; i < ARRAY_COUNT(replies); i++) {
        for (int whole = 0; whole < 2; whole++) {
            struct reply_reader *reader = reply_reader_create();
            struct reply *reply = NULL;
            enum status status = STATUS_AGAIN;
            size_t len = strlen(replies[i].input);
            for (size_t at = 0; at < len;) {
                size_t step = whole ? len : 1;
                cr_assert_eq(status, STATUS_AGAIN, "%s ended early", replies[i].input);
                reply_reader_feed(reader, bytes_of(replies[i].input + at, step));
                status = reply_reader_next(reader, &reply);
                at += step;
            }
            cr_assert_eq(status, STATUS_OK, "%s", replies[i].input);
            struct buffer text = {0};
            show(reply, &text);
            buffer_append_u8(&text, 0);
            cr_assert_str_eq((char *)text.data, replies[i].expected);
            cr_assert_eq(reply_reader_rest_view(reader).len, 0);
            buffer_deinit(&text);
            reply_destroy(reply);
            reply_reader_destroy(reader);
        }
    }
}

Test(reply_reader, gives_pipelined_replies_one_after_the_other) {
    struct reply_reader *reader = reply_reader_create();
    reply_reader_feed(reader, BYTES_LITERAL(":1\r\n:2\r\n:"));
    struct reply *reply;
    for (int64_t i = 1; i <= 2; i++) {
        cr_assert_eq(reply_reader_next(reader, &reply), STATUS_OK);
        cr_assert_eq(reply->integer, i);
        reply_destroy(reply);
    }
    cr_assert_eq(reply_reader_next(reader, &reply), STATUS_AGAIN);
    reply_reader_destroy(reader);
}

static const struct {
    const char *input;
    enum status status;
    const char *error;
} broken[] = {
    {"x\r\n", STATUS_BAD_FORMAT, "Protocol error, got \"x\" as reply type byte"},
    {"\x01", STATUS_BAD_FORMAT, "Protocol error, got \"\\x01\" as reply type byte"},
    {":1a\r\n", STATUS_BAD_FORMAT, "Bad integer value"},
    {"$-2\r\n", STATUS_BAD_FORMAT, "Bad bulk string length"},
    {"$9999999999\r\n", STATUS_TOO_BIG, "Bulk string length out of range"},
    {"$1\r\nabc", STATUS_BAD_FORMAT, "Bulk string is not followed by CRLF"},
    {"*9999999999\r\n", STATUS_TOO_BIG, "Multi-bulk length out of range"},
    {"#x\r\n", STATUS_BAD_FORMAT, "Bad bool value"},
    {"(12a\r\n", STATUS_BAD_FORMAT, "Bad bignum value"},
    {",1,5\r\n", STATUS_BAD_FORMAT, "Bad double value"},
    {"+a\rb", STATUS_BAD_FORMAT, "Protocol error, CR without LF"},
    {"*2\r\n:1\r\n?\r\n", STATUS_BAD_FORMAT, "Protocol error, got \"?\" as reply type byte"},
    {"|1\r\n+a\r\n+b\r\n|1\r\n+a\r\n+b\r\n+OK\r\n", STATUS_BAD_FORMAT,
     "Protocol error, attributes of attributes"},
};

Test(reply_reader, refuses_what_is_not_resp_and_stays_broken) {
    for (size_t i = 0; i < ARRAY_COUNT(broken); i++) {
        struct reply_reader *reader = reply_reader_create();
        struct reply *reply;
        reply_reader_feed(reader, bytes_of_text(broken[i].input));
        cr_assert_eq(reply_reader_next(reader, &reply), broken[i].status, "%s", broken[i].input);
        cr_assert_str_eq(reply_reader_error(reader), broken[i].error);
        reply_reader_feed(reader, BYTES_LITERAL("+OK\r\n"));
        cr_assert_eq(reply_reader_next(reader, &reply), broken[i].status);
        reply_reader_destroy(reader);
    }
}

Test(reply_reader, bounds_the_depth) {
    struct reply_reader *reader = reply_reader_create();
    for (unsigned i = 0; i <= REPLY_DEPTH_MAX; i++) {
        reply_reader_feed(reader, BYTES_LITERAL("*1\r\n"));
    }
    struct reply *reply;
    cr_assert_eq(reply_reader_next(reader, &reply), STATUS_TOO_BIG);
    reply_reader_destroy(reader);
}

Test(reply_reader, does_not_believe_a_huge_count) {
    struct reply_reader *reader = reply_reader_create();
    reply_reader_feed(reader, BYTES_LITERAL("*1000000000\r\n:1\r\n"));
    struct reply *reply;
    cr_assert_eq(reply_reader_next(reader, &reply), STATUS_AGAIN);
    reply_reader_destroy(reader);
}

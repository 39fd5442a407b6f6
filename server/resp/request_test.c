#include <criterion/criterion.h>

#include "server/base/buffer.h"
#include "server/resp/reply.h"
#include "server/resp/request.h"

static const struct request_limits limits = {512u << 20, 1024 * 1024, true};

static enum request_result parse(struct request *request, const char *text, size_t *consumed) {
    size_t need = 0;
    return request_parse(request, bytes_of_text(text), &limits, consumed, &need);
}

Test(request, slices_an_array_in_place) {
    struct request request = {0};
    size_t consumed = 0;
    const char *text = "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$11\r\nhello world\r\n*1";
    cr_assert_eq(parse(&request, text, &consumed), REQUEST_COMPLETE);
    cr_assert_eq(request.argc, 3);
    cr_assert(bytes_equal_text(request.argv[0], "SET"));
    cr_assert_eq(request.argv[1].len, 0);
    cr_assert(bytes_equal_text(request.argv[2], "hello world"));
    cr_assert_eq(consumed, strlen(text) - 2);
    request_deinit(&request);
}

Test(request, asks_for_at_least_what_is_missing_at_every_cut) {
    struct request request = {0};
    const char *text = "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$11\r\nhello world\r\n";
    for (size_t len = 1; len < strlen(text); len++) {
        size_t consumed = 0;
        size_t need = 0;
        cr_assert_eq(request_parse(&request, bytes_of(text, len), &limits, &consumed, &need),
                     REQUEST_INCOMPLETE);
        cr_assert(need > len && need <= strlen(text), "%zu at %zu", need, len);
    }
    request_deinit(&request);
}

Test(request, refuses_what_the_protocol_refuses) {
    static const struct {
        const char *text;
        const char *error;
    } cases[] = {
        {"*x\r\n", "invalid multibulk length"},
        {"*1048577\r\n", "invalid multibulk length"},
        {"*1\r\n+3\r\n", "expected '$', got '+'"},
        {"*1\r\n$-1\r\n", "invalid bulk length"},
        {"*1\r\n$abc\r\n", "invalid bulk length"},
        {"*1\r\n$2000000000\r\n", "invalid bulk length"},
        {"SET \"a\r\n", "unbalanced quotes in request"},
    };
    struct request request = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t consumed = 0;
        cr_assert_eq(parse(&request, cases[i].text, &consumed), REQUEST_INVALID, "%s",
                     cases[i].text);
        cr_assert_str_eq(request.error, cases[i].error);
    }
    request_deinit(&request);
}

Test(request, reads_inline_commands) {
    struct request request = {0};
    size_t consumed = 0;
    cr_assert_eq(parse(&request, "set  key \"a b\\x41\"\r\nnext", &consumed), REQUEST_COMPLETE);
    cr_assert_eq(request.argc, 3);
    cr_assert(bytes_equal_text(request.argv[2], "a bA"));
    cr_assert_eq(consumed, 20);
    cr_assert_eq(parse(&request, "\r\n", &consumed), REQUEST_COMPLETE);
    cr_assert_eq(request.argc, 0);
    request_deinit(&request);
}

Test(reply, differs_between_protocols_only_where_it_should) {
    struct buffer out = {0};
    struct reply reply = {.out = &out, .resp = 2};
    size_t mark = reply_begin(&reply);
    reply_bulk_text(&reply, "a");
    reply_integer(&reply, -12);
    reply_end_map(&reply, mark, 1);
    reply_null(&reply);
    cr_assert(bytes_equal_text(buffer_view(&out), "*2\r\n$1\r\na\r\n:-12\r\n$-1\r\n"));
    buffer_clear(&out);
    reply.resp = 3;
    mark = reply_begin(&reply);
    reply_bulk_text(&reply, "a");
    reply_double(&reply, 0.5);
    reply_end_map(&reply, mark, 1);
    reply_null(&reply);
    cr_assert(bytes_equal_text(buffer_view(&out), "%1\r\n$1\r\na\r\n,0.5\r\n_\r\n"));
    buffer_deinit(&out);
}

/* Requests: RESP arrays of bulk strings, and inline command lines, parsed in place.
 *
 * The parser keeps no state and owns nothing. Given the bytes that a client has sent so far it
 * finds the first complete command and describes its arguments as slices of those bytes. An
 * incomplete command comes back with a lower bound of how many bytes it needs, so that a caller who
 * waits for that many never parses a large command more than a few dozen times, however slowly it
 * trickles in. What is to be sent to another server, or to a log, is written in the same form.
 */
#pragma once

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "server/base/words.h"

#define REQUEST_INLINE_MAX (64u * 1024u)

/* Arguments of a command; grows as needed and is used again for the next one. */
struct request {
    struct bytes *argv;
    uint32_t argc;
    uint32_t cap;
    struct words words; /* Of an inline command, unquoted. */
    const char *error;  /* After REQUEST_INVALID: the text behind "-ERR Protocol error: ". */
    char error_text[64];
};

struct request_limits {
    uint64_t bulk_max;      /* proto-max-bulk-len */
    uint64_t multibulk_max; /* 1024 * 1024 elements once authenticated */
    bool is_authenticated;  /* Before that: 10 arguments of 16 KB, as an unknown peer needs no more.
                             */
};

enum request_result {
    REQUEST_COMPLETE, /* request->argc may be 0: an empty line or array, to be skipped. */
    REQUEST_INCOMPLETE,
    REQUEST_INVALID, /* Answer with request->error and close: the stream cannot be trusted. */
};

void request_deinit(struct request *request);

/* Finds the first command in `input`.
 *
 * out_consumed: bytes of `input` that the command takes (REQUEST_COMPLETE only).
 * out_need:     the least total of bytes without which the command cannot be complete
 *               (REQUEST_INCOMPLETE only; more than input.len).
 * The slices in request->argv live as long as the input, those of an inline command until the next
 * call with the same request.
 */
MUST_USE enum request_result request_parse(struct request *request, struct bytes input,
                                           const struct request_limits *limits,
                                           size_t *out_consumed, size_t *out_need);

/* Appends a command as a client sends it, or one word of it: whoever does that by word has appended
 * "*<count>\r\n" before. */
void request_append(struct buffer *out, const struct bytes *argv, uint32_t argc);
void request_append_word(struct buffer *out, struct bytes word);

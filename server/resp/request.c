#include "server/resp/request.h"

#include <stdio.h>

#include "server/base/mem.h"
#include "server/base/number.h"

enum {
    FIRST_ARGUMENTS = 16,
    UNAUTHENTICATED_ARGUMENTS = 10,
    UNAUTHENTICATED_BULK = 16384,
    BIG_REQUEST = 256,  /* More arguments than this are not kept between commands. */
    LEAST_ARGUMENT = 6, /* "$0\r\n\r\n" */
};

void request_deinit(struct request *request) {
    mem_free(request->argv);
    words_deinit(&request->words);
    *request = (struct request){0};
}

static enum request_result invalid(struct request *request, const char *error) {
    request->error = error;
    return REQUEST_INVALID;
}

static COLD void grow_arguments(struct request *request, uint32_t count) {
    uint32_t cap = request->cap < FIRST_ARGUMENTS ? FIRST_ARGUMENTS : request->cap;
    while (cap < count)
        cap *= 2;
    request->argv = mem_realloc(request->argv, cap * sizeof(*request->argv));
    request->cap = cap;
}

static inline void reserve_arguments(struct request *request, uint32_t count) {
    if (UNLIKELY(count > request->cap)) grow_arguments(request, count);
}

/* Finds the end of the line that starts at `at`: the index of CR, or SIZE_MAX. */
static size_t find_line_end(struct bytes input, size_t at) {
    const uint8_t *cr = memchr(input.data + at, '\r', input.len - at);
    if (cr == NULL) return SIZE_MAX;
    return (size_t)(cr - input.data);
}

/* A length of one to three digits, which nearly all are; -1 sends the caller the long way. In a
 * complete command at least five bytes are left: "0\r\n\r\n". */
static inline int64_t short_length(const uint8_t *at, size_t left, size_t *digits) {
    if (left < 5) return -1;
    unsigned value = (unsigned)at[0] - '0';
    if (value > 9) return -1;
    *digits = 1;
    if (LIKELY(at[1] == '\r')) return value;
    for (; *digits < 3 && value != 0; ++*digits) {
        unsigned digit = (unsigned)at[*digits] - '0';
        if (digit > 9) return -1;
        value = value * 10 + digit;
        if (at[*digits + 1] == '\r') {
            ++*digits;
            return value;
        }
    }
    return -1;
}

/* Splits an inline command into words with the quoting of configuration files. */
static enum request_result parse_inline(struct request *request, struct bytes input,
                                        size_t *out_consumed, size_t *out_need) {
    const uint8_t *newline = memchr(input.data, '\n', input.len);
    if (newline == NULL) {
        if (input.len > REQUEST_INLINE_MAX) return invalid(request, "too big inline request");
        *out_need = input.len + 1;
        return REQUEST_INCOMPLETE;
    }
    size_t len = (size_t)(newline - input.data);
    *out_consumed = len + 1;
    if (len > 0 && input.data[len - 1] == '\r') len--;
    request->argc = 0;
    enum status status =
        words_split(&request->words, bytes_of(input.data, len), REQUEST_INLINE_MAX);
    if (status != STATUS_OK) return invalid(request, "unbalanced quotes in request");
    reserve_arguments(request, (uint32_t)request->words.count + 1);
    for (size_t i = 0; i < request->words.count; i++)
        request->argv[request->argc++] = request->words.items[i];
    return REQUEST_COMPLETE;
}

static COLD int read_long_length(struct bytes input, size_t *at, int64_t *out) {
    size_t end = find_line_end(input, *at);
    if (end == SIZE_MAX || end + 1 >= input.len)
        return input.len - *at > REQUEST_INLINE_MAX ? -2 : 0;
    if (!number_parse_i64(bytes_of(input.data + *at, end - *at), out)) return -1;
    *at = end + 2;
    return 1;
}

/* Reads the number of a "*" or "$" line at `at` (behind the mark). Moves `at` behind the line.
 * STATUS-like: 1 read, 0 incomplete, -1 not a number, -2 a line without end. */
static inline int read_length(struct bytes input, size_t *at, int64_t *out) {
    size_t digits = 0;
    int64_t value = short_length(input.data + *at, input.len - *at, &digits);
    if (UNLIKELY(value < 0)) return read_long_length(input, at, out);
    *at += digits + 2;
    *out = value;
    return 1;
}

static enum request_result incomplete(size_t *out_need, size_t have, size_t need) {
    *out_need = need > have ? need : have + 1;
    return REQUEST_INCOMPLETE;
}

enum request_result request_parse(struct request *request, struct bytes input,
                                  const struct request_limits *limits, size_t *out_consumed,
                                  size_t *out_need) {
    if (input.len == 0) return incomplete(out_need, 0, 1);
    if (UNLIKELY(input.data[0] != '*')) return parse_inline(request, input, out_consumed, out_need);

    size_t at = 1;
    int64_t count = 0;
    int got = read_length(input, &at, &count);
    if (got == 0) return incomplete(out_need, input.len, 0);
    if (got == -2) return invalid(request, "too big mbulk count string");
    if (got < 0 || count > (int64_t)limits->multibulk_max)
        return invalid(request, "invalid multibulk length");
    if (count > UNAUTHENTICATED_ARGUMENTS && !limits->is_authenticated)
        return invalid(request, "unauthenticated multibulk length");
    request->argc = 0;
    if (request->cap > BIG_REQUEST && count <= BIG_REQUEST) {
        mem_free(request->argv);
        request->argv = NULL;
        request->cap = 0;
    }
    if (count <= 0) {
        *out_consumed = at;
        return REQUEST_COMPLETE;
    }
    // The count is the client's word: room is made as arguments really arrive.
    reserve_arguments(request, count < FIRST_ARGUMENTS ? (uint32_t)count : FIRST_ARGUMENTS);

    for (int64_t left = count; left > 0; left--) {
        size_t least = at + (size_t)left * LEAST_ARGUMENT;
        if (at >= input.len) return incomplete(out_need, input.len, least);
        if (UNLIKELY(input.data[at] != '$')) {
            snprintf(request->error_text, sizeof(request->error_text), "expected '$', got '%c'",
                     input.data[at]);
            return invalid(request, request->error_text);
        }
        at++;
        int64_t len = 0;
        got = read_length(input, &at, &len);
        if (got == 0) return incomplete(out_need, input.len, least);
        if (got == -2) return invalid(request, "too big bulk count string");
        if (got < 0 || len < 0 || (uint64_t)len > limits->bulk_max)
            return invalid(request, "invalid bulk length");
        if (len > UNAUTHENTICATED_BULK && !limits->is_authenticated)
            return invalid(request, "unauthenticated bulk length");
        size_t end = at + (size_t)len + 2;
        if (end > input.len)
            return incomplete(out_need, input.len, end + (size_t)(left - 1) * LEAST_ARGUMENT);
        if (request->argc == request->cap) reserve_arguments(request, request->argc + 1);
        request->argv[request->argc++] = bytes_of(input.data + at, (size_t)len);
        at = end;
    }
    *out_consumed = at;
    return REQUEST_COMPLETE;
}

/* -- writing -- */

/* Every effect of a command comes through here: room is asked for once. */
enum { LENGTH_CAP = 1 + NUMBER_TEXT_MAX + 2, WORD_CAP = LENGTH_CAP + 2 };

static uint8_t *put_length(uint8_t *at, char kind, uint64_t length) {
    *at++ = (uint8_t)kind;
    at += number_format_u64(length, (char *)at);
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

static uint8_t *put_word(uint8_t *at, struct bytes word) {
    at = put_length(at, '$', word.len);
    if (word.len > 0) memcpy(at, word.data, word.len);
    at += word.len;
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

void request_append_word(struct buffer *out, struct bytes word) {
    uint8_t *start = buffer_reserve(out, word.len + WORD_CAP);
    out->len += (size_t)(put_word(start, word) - start);
}

void request_append(struct buffer *out, const struct bytes *argv, uint32_t argc) {
    size_t cap = LENGTH_CAP;
    for (uint32_t i = 0; i < argc; i++)
        cap += argv[i].len + WORD_CAP;
    uint8_t *start = buffer_reserve(out, cap);
    uint8_t *at = put_length(start, '*', argc);
    for (uint32_t i = 0; i < argc; i++)
        at = put_word(at, argv[i]);
    out->len += (size_t)(at - start);
}

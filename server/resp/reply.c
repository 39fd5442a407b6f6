#include "server/resp/reply.h"

#include <math.h>
#include <stdio.h>

#include "server/base/compiler.h"
#include "server/base/number.h"

/* Room for a type byte, a number and CRLF. */
enum { LINE_CAP = 1 + NUMBER_TEXT_MAX + 2 };

static void append_line_number(struct reply *reply, char mark, int64_t value) {
    if (UNLIKELY(reply->is_muted)) return;
    char *at = (char *)buffer_reserve(reply->out, LINE_CAP);
    char *start = at;
    *at++ = mark;
    if (LIKELY(value >= 0 && value < 10)) {
        *at++ = (char)('0' + value);
    } else {
        at += number_format_i64(value, at);
    }
    *at++ = '\r';
    *at++ = '\n';
    reply->out->len += (size_t)(at - start);
}

static void append_literal(struct reply *reply, struct bytes encoded) {
    if (UNLIKELY(reply->is_muted)) return;
    buffer_append_bytes(reply->out, encoded);
}

void reply_raw(struct reply *reply, struct bytes encoded) {
    append_literal(reply, encoded);
}

void reply_ok(struct reply *reply) {
    append_literal(reply, BYTES_LITERAL("+OK\r\n"));
}

void reply_simple(struct reply *reply, const char *text) {
    if (reply->is_muted) return;
    buffer_append_u8(reply->out, '+');
    buffer_append_text(reply->out, text);
    buffer_append(reply->out, "\r\n", 2);
}

void reply_error(struct reply *reply, const char *text) {
    reply->error_count++;
    size_t word = 0;
    while (text[word] != '\0' && text[word] != ' ' && word < sizeof(reply->last_error) - 1) {
        reply->last_error[word] = text[word];
        word++;
    }
    reply->last_error[word] = '\0';
    if (reply->is_muted) return;
    buffer_append_u8(reply->out, '-');
    size_t start = reply->out->len;
    buffer_append_text(reply->out, text);
    for (size_t i = start; i < reply->out->len; i++) {
        if (reply->out->data[i] == '\r' || reply->out->data[i] == '\n') reply->out->data[i] = ' ';
    }
    buffer_append(reply->out, "\r\n", 2);
}

void reply_error_format(struct reply *reply, const char *format, ...) {
    struct buffer text = {0};
    va_list args;
    va_start(args, format);
    buffer_append_format_list(&text, format, args);
    va_end(args);
    buffer_append_u8(&text, '\0');
    reply_error(reply, (const char *)text.data);
    buffer_deinit(&text);
}

void reply_integer(struct reply *reply, int64_t value) {
    append_line_number(reply, ':', value);
}

void reply_bulk(struct reply *reply, struct bytes value) {
    if (UNLIKELY(reply->is_muted)) return;
    uint8_t *start = buffer_reserve(reply->out, LINE_CAP + value.len + 2);
    uint8_t *at = start;
    *at++ = '$';
    at += number_format_u64(value.len, (char *)at);
    *at++ = '\r';
    *at++ = '\n';
    if (value.len > 0) memcpy(at, value.data, value.len);
    at += value.len;
    *at++ = '\r';
    *at++ = '\n';
    reply->out->len += (size_t)(at - start);
}

void reply_bulk_text(struct reply *reply, const char *text) {
    reply_bulk(reply, bytes_of_text(text));
}

void reply_bulk_integer(struct reply *reply, int64_t value) {
    char text[NUMBER_TEXT_MAX];
    reply_bulk(reply, bytes_of(text, number_format_i64(value, text)));
}

void reply_bulk_format(struct reply *reply, const char *format, ...) {
    struct buffer text = {0};
    va_list args;
    va_start(args, format);
    buffer_append_format_list(&text, format, args);
    va_end(args);
    reply_bulk(reply, buffer_view(&text));
    buffer_deinit(&text);
}

void reply_null(struct reply *reply) {
    append_literal(reply,
                   reply_is_resp3(reply) ? BYTES_LITERAL("_\r\n") : BYTES_LITERAL("$-1\r\n"));
}

void reply_null_array(struct reply *reply) {
    append_literal(reply,
                   reply_is_resp3(reply) ? BYTES_LITERAL("_\r\n") : BYTES_LITERAL("*-1\r\n"));
}

void reply_bool(struct reply *reply, bool value) {
    if (reply_is_resp3(reply)) {
        append_literal(reply, value ? BYTES_LITERAL("#t\r\n") : BYTES_LITERAL("#f\r\n"));
    } else {
        reply_integer(reply, value);
    }
}

void reply_double(struct reply *reply, double value) {
    if (reply->is_muted) return;
    char text[64];
    unsigned len = number_format_17_digits(value, text, sizeof(text));
    if (!reply_is_resp3(reply)) {
        reply_bulk(reply, bytes_of(text, len));
        return;
    }
    buffer_append_u8(reply->out, ',');
    buffer_append(reply->out, text, len);
    buffer_append(reply->out, "\r\n", 2);
}

void reply_fixed_double(struct reply *reply, long double value) {
    if (!reply_is_resp3(reply)) {
        reply_human_double(reply, value);
        return;
    }
    if (reply->is_muted) return;
    char text[NUMBER_DOUBLE_TEXT_MAX];
    unsigned len = number_format_human(value, text, sizeof(text));
    buffer_append_u8(reply->out, ',');
    buffer_append(reply->out, text, len);
    buffer_append(reply->out, "\r\n", 2);
}

void reply_human_double(struct reply *reply, long double value) {
    char text[NUMBER_DOUBLE_TEXT_MAX];
    reply_bulk(reply, bytes_of(text, number_format_human(value, text, sizeof(text))));
}

void reply_verbatim(struct reply *reply, struct bytes text) {
    if (!reply_is_resp3(reply)) {
        reply_bulk(reply, text);
        return;
    }
    if (reply->is_muted) return;
    buffer_append_format(reply->out, "=%zu\r\ntxt:", text.len + 4);
    buffer_append_bytes(reply->out, text);
    buffer_append(reply->out, "\r\n", 2);
}

void reply_array(struct reply *reply, size_t count) {
    append_line_number(reply, '*', (int64_t)count);
}

void reply_set(struct reply *reply, size_t count) {
    append_line_number(reply, reply_is_resp3(reply) ? '~' : '*', (int64_t)count);
}

void reply_map(struct reply *reply, size_t pair_count) {
    if (reply_is_resp3(reply)) {
        append_line_number(reply, '%', (int64_t)pair_count);
    } else {
        append_line_number(reply, '*', (int64_t)pair_count * 2);
    }
}

void reply_push(struct reply *reply, size_t count) {
    append_line_number(reply, reply_is_resp3(reply) ? '>' : '*', (int64_t)count);
}

void reply_empty_array(struct reply *reply) {
    append_literal(reply, BYTES_LITERAL("*0\r\n"));
}

size_t reply_begin(struct reply *reply) {
    return reply->out->len;
}

/* Puts the header line in front of what was written since the mark. */
static void end_aggregate(struct reply *reply, size_t mark, char type, size_t count) {
    if (reply->is_muted) return;
    char line[LINE_CAP];
    size_t len = 0;
    line[len++] = type;
    len += number_format_u64(count, line + len);
    line[len++] = '\r';
    line[len++] = '\n';
    struct buffer *out = reply->out;
    buffer_reserve(out, len);
    memmove(out->data + mark + len, out->data + mark, out->len - mark);
    memcpy(out->data + mark, line, len);
    out->len += len;
}

void reply_end_array(struct reply *reply, size_t mark, size_t count) {
    end_aggregate(reply, mark, '*', count);
}

void reply_end_map(struct reply *reply, size_t mark, size_t pair_count) {
    bool is_map = reply_is_resp3(reply);
    end_aggregate(reply, mark, is_map ? '%' : '*', is_map ? pair_count : pair_count * 2);
}

void reply_end_set(struct reply *reply, size_t mark, size_t count) {
    end_aggregate(reply, mark, reply_is_resp3(reply) ? '~' : '*', count);
}

void reply_wrong_type(struct reply *reply) {
    reply_error(reply, "WRONGTYPE Operation against a key holding the wrong kind of value");
}

void reply_syntax_error(struct reply *reply) {
    reply_error(reply, "ERR syntax error");
}

void reply_not_an_integer(struct reply *reply) {
    reply_error(reply, "ERR value is not an integer or out of range");
}

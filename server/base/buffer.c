#include "server/base/buffer.h"

#include <stdio.h>

#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/base/number.h"

enum { FIRST_CAP = 64, DOUBLING_LIMIT = 1 << 20 };

void buffer_deinit(struct buffer *buffer) {
    mem_free(buffer->data);
    *buffer = (struct buffer){0};
}

uint8_t *buffer_grow(struct buffer *buffer, size_t extra) {
    size_t need = buffer->len + extra;
    ASSERT(need >= extra);
    size_t cap = buffer->cap < FIRST_CAP ? FIRST_CAP : buffer->cap;
    while (cap < need)
        cap += cap < DOUBLING_LIMIT ? cap : cap / 8;
    buffer->data = mem_realloc(buffer->data, cap);
    buffer->cap = cap;
    return buffer->data + buffer->len;
}

void buffer_append(struct buffer *buffer, const void *data, size_t len) {
    if (len == 0) return;
    memcpy(buffer_reserve(buffer, len), data, len);
    buffer->len += len;
}

void buffer_append_bytes(struct buffer *buffer, struct bytes bytes) {
    buffer_append(buffer, bytes.data, bytes.len);
}

void buffer_append_text(struct buffer *buffer, const char *text) {
    buffer_append(buffer, text, strlen(text));
}

void buffer_append_u8(struct buffer *buffer, uint8_t byte) {
    *buffer_reserve(buffer, 1) = byte;
    buffer->len++;
}

void buffer_append_i64(struct buffer *buffer, int64_t value) {
    char *at = (char *)buffer_reserve(buffer, NUMBER_TEXT_MAX);
    buffer->len += number_format_i64(value, at);
}

void buffer_append_format_list(struct buffer *buffer, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    char *at = (char *)buffer_reserve(buffer, 128);
    int len = vsnprintf(at, 128, format, args);
    ASSERT(len >= 0);
    if (len >= 128) {
        at = (char *)buffer_reserve(buffer, (size_t)len + 1);
        vsnprintf(at, (size_t)len + 1, format, again);
    }
    va_end(again);
    buffer->len += (size_t)len;
}

void buffer_append_format(struct buffer *buffer, const char *format, ...) {
    va_list args;
    va_start(args, format);
    buffer_append_format_list(buffer, format, args);
    va_end(args);
}

void buffer_consume(struct buffer *buffer, size_t count) {
    ASSERT(count <= buffer->len);
    buffer->len -= count;
    if (buffer->len > 0 && count > 0) memmove(buffer->data, buffer->data + count, buffer->len);
}

/* A growing run of bytes with one owner: what replies, packets and files are put together in.
 *
 * An all-zero struct is an empty buffer. Growth doubles up to a megabyte and then adds an eighth.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"

struct buffer {
    uint8_t *data;
    size_t len;
    size_t cap;
};

void buffer_deinit(struct buffer *buffer); /* Frees the bytes; the buffer is empty again. */

uint8_t *buffer_grow(struct buffer *buffer, size_t extra); /* The slow half of buffer_reserve. */

/* Makes room for `extra` more bytes and returns where they go. The length does not change. */
static inline uint8_t *buffer_reserve(struct buffer *buffer, size_t extra) {
    if (LIKELY(extra <= buffer->cap - buffer->len)) return buffer->data + buffer->len;
    return buffer_grow(buffer, extra);
}

void buffer_append(struct buffer *buffer, const void *data, size_t len);
void buffer_append_bytes(struct buffer *buffer, struct bytes bytes);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_append_u8(struct buffer *buffer, uint8_t byte);
void buffer_append_i64(struct buffer *buffer, int64_t value); /* Decimal. */
void buffer_append_format(struct buffer *buffer, const char *format, ...) PRINTF_LIKE(2, 3);
void buffer_append_format_list(struct buffer *buffer, const char *format, va_list args)
    PRINTF_LIKE(2, 0);

/* Drops the first `count` bytes and moves the rest to the front. */
void buffer_consume(struct buffer *buffer, size_t count);

/* Forgets the bytes, keeps the memory. */
static inline void buffer_clear(struct buffer *buffer) {
    buffer->len = 0;
}

/* The bytes so far; valid until the next call that changes the buffer. */
static inline struct bytes buffer_view(const struct buffer *buffer) {
    return (struct bytes){buffer->data, buffer->len};
}

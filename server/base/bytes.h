/* A borrowed run of bytes, and the questions that everybody asks of one.
 *
 * `struct bytes` owns nothing: whoever hands one out says how long it stays valid. The bytes may
 * hold anything, NUL included, and are not terminated.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *data;
    size_t len;
};

/* A string literal as bytes; also usable in initialisers. */
#define BYTES_LITERAL(text) ((struct bytes){(const uint8_t *)("" text), sizeof(text) - 1})

static inline struct bytes bytes_of(const void *data, size_t len) {
    return (struct bytes){(const uint8_t *)data, len};
}

static inline struct bytes bytes_of_text(const char *text) {
    return bytes_of(text, strlen(text));
}

/* What is compared is short as a rule: a call of memcmp costs more than looking. */
static inline bool bytes_equal(struct bytes a, struct bytes b) {
    if (a.len != b.len) return false;
    if (a.len - 8 > 8) return a.len == 0 || memcmp(a.data, b.data, a.len) == 0;
    uint64_t heads[2];
    uint64_t tails[2];
    memcpy(&heads[0], a.data, 8);
    memcpy(&heads[1], b.data, 8);
    memcpy(&tails[0], a.data + a.len - 8, 8);
    memcpy(&tails[1], b.data + b.len - 8, 8);
    return ((heads[0] ^ heads[1]) | (tails[0] ^ tails[1])) == 0;
}

static inline bool bytes_equal_text(struct bytes a, const char *text) {
    return bytes_equal(a, bytes_of_text(text));
}

/* The bytes from `start` on; `start` may not lie behind the end. */
static inline struct bytes bytes_from(struct bytes a, size_t start) {
    return (struct bytes){a.data + start, a.len - start};
}

/* Order of memcmp, a proper prefix first. Negative, zero or positive. */
int bytes_compare(struct bytes a, struct bytes b);

/* Equal but for the case of ASCII letters. */
bool bytes_equal_nocase(struct bytes a, struct bytes b);
bool bytes_equal_text_nocase(struct bytes a, const char *text);

/* Copies at most `cap - 1` bytes to `out` and ends them with NUL. Returns `out`. */
char *bytes_to_text(struct bytes a, char *out, size_t cap);

/* A fresh NUL-terminated copy; the caller frees it with mem_free. */
char *bytes_copy_text(struct bytes a);

static inline char ascii_lower(char c) {
    return (c >= 'A' && c <= 'Z') ? (char)(c + ('a' - 'A')) : c;
}

/* The lower-case ASCII form of the first `len` bytes. `out` holds at least `len` bytes. */
void bytes_lower(struct bytes a, char *out);

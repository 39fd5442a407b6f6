#include "server/base/words.h"

#include "server/base/check.h"
#include "server/base/mem.h"

static bool is_blank(uint8_t c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static uint8_t unescape(uint8_t c) {
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

/* Where the next byte comes from and where the next one of a word goes. */
struct splitter {
    const uint8_t *next;
    const uint8_t *end;
    uint8_t *out;
};

/* Reads what stands behind an opening double quote, the closing one included. */
static bool read_double_quoted(struct splitter *s) {
    while (s->next < s->end) {
        uint8_t c = *s->next++;
        if (c == '"') return s->next == s->end || is_blank(*s->next);
        if (c != '\\' || s->next == s->end) {
            *s->out++ = c;
            continue;
        }
        if (*s->next == 'x' && s->end - s->next >= 3 && hex_digit(s->next[1]) >= 0 &&
            hex_digit(s->next[2]) >= 0) {
            *s->out++ = (uint8_t)(hex_digit(s->next[1]) * 16 + hex_digit(s->next[2]));
            s->next += 3;
        } else {
            *s->out++ = unescape(*s->next++);
        }
    }
    return false;
}

static bool read_single_quoted(struct splitter *s) {
    while (s->next < s->end) {
        uint8_t c = *s->next++;
        if (c == '\'') return s->next == s->end || is_blank(*s->next);
        if (c == '\\' && s->next < s->end && *s->next == '\'') c = *s->next++;
        *s->out++ = c;
    }
    return false;
}

/* Reads one word; false for unbalanced quotes. A quote that closes also ends the word. */
static bool read_word(struct splitter *s) {
    while (s->next < s->end && !is_blank(*s->next)) {
        uint8_t c = *s->next++;
        if (c == '"') return read_double_quoted(s);
        if (c == '\'') return read_single_quoted(s);
        *s->out++ = c;
    }
    return true;
}

static bool words_grow(struct words *words) {
    size_t cap = words->cap == 0 ? 8 : words->cap * 2;
    struct bytes *items = mem_try_realloc(words->items, cap * sizeof(*items));
    if (items == NULL) return false;
    words->items = items;
    words->cap = cap;
    return true;
}

/* Room for all bytes at once, so that the slices never move. */
static bool words_make_room(struct words *words, size_t len) {
    if (words->storage.cap >= len && words->storage.data != NULL) return true;
    uint8_t *storage = mem_try_realloc(words->storage.data, len == 0 ? 1 : len);
    if (storage == NULL) return false;
    words->storage.data = storage;
    words->storage.cap = len == 0 ? 1 : len;
    return true;
}

enum status words_split(struct words *words, struct bytes line, size_t max_count) {
    words->count = 0;
    words->storage.len = 0;
    const uint8_t *nul = line.len == 0 ? NULL : memchr(line.data, 0, line.len);
    size_t len = nul == NULL ? line.len : (size_t)(nul - line.data);
    if (len == 0) return STATUS_OK;
    if (!words_make_room(words, len)) return STATUS_NO_MEMORY;

    struct splitter s = {.next = line.data, .end = line.data + len, .out = words->storage.data};
    enum status status = STATUS_OK;
    for (;;) {
        while (s.next < s.end && is_blank(*s.next))
            s.next++;
        if (s.next == s.end) break;
        const uint8_t *start = s.out;
        status = STATUS_TOO_BIG;
        if (words->count == max_count) goto fail;
        status = STATUS_NO_MEMORY;
        if (words->count == words->cap && !words_grow(words)) goto fail;
        status = STATUS_BAD_FORMAT;
        if (!read_word(&s)) goto fail;
        words->items[words->count++] = bytes_of(start, (size_t)(s.out - start));
    }
    words->storage.len = (size_t)(s.out - words->storage.data);
    return STATUS_OK;

fail:
    words->count = 0;
    return status;
}

void words_deinit(struct words *words) {
    mem_free(words->items);
    buffer_deinit(&words->storage);
    *words = (struct words){0};
}

void words_append_quoted(struct buffer *out, struct bytes word) {
    buffer_append_u8(out, '"');
    for (size_t i = 0; i < word.len; i++) {
        uint8_t c = word.data[i];
        switch (c) {
        case '\\':
        case '"':
            buffer_append_format(out, "\\%c", c);
            break;
        case '\n':
            buffer_append_text(out, "\\n");
            break;
        case '\r':
            buffer_append_text(out, "\\r");
            break;
        case '\t':
            buffer_append_text(out, "\\t");
            break;
        case '\a':
            buffer_append_text(out, "\\a");
            break;
        case '\b':
            buffer_append_text(out, "\\b");
            break;
        default:
            if (c >= 0x20 && c < 0x7f) {
                buffer_append_u8(out, c);
            } else {
                buffer_append_format(out, "\\x%02x", c);
            }
        }
    }
    buffer_append_u8(out, '"');
}

void words_append(struct buffer *out, struct bytes word) {
    bool is_plain = word.len > 0 && word.data[0] != '#';
    for (size_t i = 0; i < word.len && is_plain; i++) {
        uint8_t c = word.data[i];
        is_plain = c > 0x20 && c < 0x7f && c != '"' && c != '\'' && c != '\\';
    }
    if (is_plain) {
        buffer_append_bytes(out, word);
    } else {
        words_append_quoted(out, word);
    }
}

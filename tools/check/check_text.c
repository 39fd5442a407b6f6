#include "tools/check/check_text.h"

#include <stdbool.h>

/* Bytes of the UTF-8 character at the beginning; 0 when there is none that may be shown. Overlong
 * forms, surrogates and what lies above U+10FFFF are none. */
static size_t character_bytes(struct bytes text) {
    uint8_t first = text.data[0];
    if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
    size_t len = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.len < len) return 0;
    for (size_t i = 1; i < len; i++) {
        if ((text.data[i] & 0xc0) != 0x80) return 0;
    }
    uint8_t second = text.data[1];
    bool is_outside = (first == 0xc2 && second < 0xa0) || // The second set of control characters.
                      (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                      (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
    return is_outside ? 0 : len;
}

void check_append_readable(struct buffer *out, struct bytes text, size_t max_bytes) {
    size_t at = 0;
    while (at < text.len && at < max_bytes) {
        size_t len = character_bytes(bytes_from(text, at));
        if (len == 0)
            buffer_append_format(out, "\\x%02x", text.data[at]);
        else
            buffer_append(out, text.data + at, len);
        at += len == 0 ? 1 : len;
    }
    if (at < text.len) buffer_append_text(out, "...");
}

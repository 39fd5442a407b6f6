#include "server/types/generic/scan_cursor.h"

#include "server/base/check.h"

uint64_t scan_place_after(const struct table *table, uint64_t place, uint32_t buckets) {
    uint64_t next = scan_place_cut(table_place_after(table, place, buckets));
    if (next == place && place != 0)
        next = scan_place_cut(table_place_after(table, place, buckets + 1));
    ASSERT(next == 0 || next > place);
    return next;
}

bool scan_cursor_parse(struct bytes text, uint64_t *out) {
    if (text.len == 0) return false;
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)text.data[i] - '0';
        if (digit > 9) return false;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *out = value;
    return true;
}

bool scan_pattern_tag(struct bytes pattern, struct bytes *out_tag) {
    size_t open = SIZE_MAX;
    bool has_tag = true; /* False behind "{}": braces say nothing from there on. */
    for (size_t i = 0; i < pattern.len; i++) {
        uint8_t c = pattern.data[i];
        if (c == '*' || c == '?' || c == '[' || c == '\\') return false;
        if (!has_tag) continue;
        if (c == '{' && open == SIZE_MAX) {
            open = i;
        } else if (c == '}' && open != SIZE_MAX) {
            if (i > open + 1) {
                *out_tag = bytes_of(pattern.data + open + 1, i - open - 1);
                return true;
            }
            has_tag = false;
        }
    }
    *out_tag = pattern;
    return true;
}

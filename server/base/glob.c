#include "server/base/glob.h"

static uint8_t fold(uint8_t c, bool ignore_case) {
    return ignore_case ? (uint8_t)ascii_lower((char)c) : c;
}

/* Matches one byte against the class that starts behind '['; moves `at` onto its last byte. */
static bool class_matches(struct bytes pattern, size_t *at, uint8_t c, bool ignore_case) {
    size_t i = *at + 1;
    bool is_negated = i < pattern.len && pattern.data[i] == '^';
    if (is_negated) i++;
    bool matched = false;
    for (;; i++) {
        if (i >= pattern.len) { // An unclosed class ends with the pattern.
            i = pattern.len - 1;
            break;
        }
        if (pattern.data[i] == '\\' && i + 1 < pattern.len) {
            i++;
            if (pattern.data[i] == c) matched = true;
        } else if (pattern.data[i] == ']') {
            break;
        } else if (i + 2 < pattern.len && pattern.data[i + 1] == '-') {
            uint8_t low = fold(pattern.data[i], ignore_case);
            uint8_t high = fold(pattern.data[i + 2], ignore_case);
            if (low > high) {
                uint8_t swap = low;
                low = high;
                high = swap;
            }
            uint8_t folded = fold(c, ignore_case);
            if (folded >= low && folded <= high) matched = true;
            i += 2;
        } else if (fold(pattern.data[i], ignore_case) == fold(c, ignore_case)) {
            matched = true;
        }
    }
    *at = i;
    return matched != is_negated;
}

/* One pattern element against one byte. `next` gets the place behind the element. */
static bool element_matches(struct bytes pattern, size_t at, uint8_t c, bool ignore_case,
                            size_t *next) {
    bool matched;
    switch (pattern.data[at]) {
    case '?':
        matched = true;
        break;
    case '[':
        matched = class_matches(pattern, &at, c, ignore_case);
        break;
    case '\\':
        if (at + 1 < pattern.len) at++;
        matched = fold(pattern.data[at], ignore_case) == fold(c, ignore_case);
        break;
    default:
        matched = fold(pattern.data[at], ignore_case) == fold(c, ignore_case);
    }
    *next = at + 1;
    return matched;
}

/* Only the last star ever needs another try: whatever an earlier one could swallow, the later one
 * can too. That keeps the work at pattern times text. */
bool glob_matches(struct bytes pattern, struct bytes text, bool ignore_case) {
    if (text.len == 0) return pattern.len == 0;
    size_t p = 0;
    size_t t = 0;
    size_t star_pattern = SIZE_MAX;
    size_t star_text = 0;
    while (t < text.len) {
        size_t next = 0;
        if (p < pattern.len && pattern.data[p] == '*') {
            star_pattern = ++p;
            star_text = t;
        } else if (p < pattern.len &&
                   element_matches(pattern, p, text.data[t], ignore_case, &next)) {
            p = next;
            t++;
        } else if (star_pattern != SIZE_MAX) {
            p = star_pattern;
            t = ++star_text;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}

bool glob_is_literal(struct bytes pattern) {
    for (size_t i = 0; i < pattern.len; i++) {
        if (memchr("*?[\\", pattern.data[i], 4) != NULL) return false;
    }
    return true;
}

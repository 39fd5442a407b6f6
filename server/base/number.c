#include "server/base/number.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

bool number_parse_u64(struct bytes text, uint64_t *out) {
    if (text.len == 0 || text.len > 20) return false;
    if (text.data[0] == '0' && text.len > 1) return false;
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)text.data[i] - '0';
        if (digit > 9) return false;
        if (__builtin_mul_overflow(value, (uint64_t)10, &value)) return false;
        if (__builtin_add_overflow(value, (uint64_t)digit, &value)) return false;
    }
    *out = value;
    return true;
}

bool number_parse_i64(struct bytes text, int64_t *out) {
    if (text.len == 0) return false;
    bool is_negative = text.data[0] == '-';
    if (is_negative) text = bytes_from(text, 1);
    uint64_t magnitude = 0;
    if (!number_parse_u64(text, &magnitude)) return false;
    if (is_negative) {
        if (magnitude == 0 || magnitude > (uint64_t)INT64_MAX + 1) return false;
        *out = (int64_t)(0 - magnitude);
        return true;
    }
    if (magnitude > (uint64_t)INT64_MAX) return false;
    *out = (int64_t)magnitude;
    return true;
}

bool number_parse_long_double(struct bytes text, long double *out) {
    char buffer[NUMBER_DOUBLE_TEXT_MAX];
    if (text.len == 0 || text.len >= sizeof(buffer)) return false;
    if (text.data[0] <= ' ' && text.data[0] != 0) return false;
    memcpy(buffer, text.data, text.len);
    buffer[text.len] = '\0';
    char *end = NULL;
    errno = 0;
    long double value = strtold(buffer, &end);
    if ((size_t)(end - buffer) != text.len || isnan(value)) return false;
    if (errno == ERANGE && (isinf(value) || value == 0)) return false;
    *out = value;
    return true;
}

bool number_parse_double(struct bytes text, double *out) {
    char buffer[NUMBER_DOUBLE_TEXT_MAX];
    if (text.len == 0 || text.len >= sizeof(buffer)) return false;
    if (text.data[0] <= ' ' && text.data[0] != 0) return false;
    memcpy(buffer, text.data, text.len);
    buffer[text.len] = '\0';
    char *end = NULL;
    errno = 0;
    double value = strtod(buffer, &end);
    if ((size_t)(end - buffer) != text.len || isnan(value)) return false;
    if (errno == ERANGE && (isinf(value) || value == 0)) return false;
    *out = value;
    return true;
}

static const char digit_pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233"
    "34353637383940414243444546474849505152535455565758596061626364656667"
    "6869707172737475767778798081828384858687888990919293949596979899";

static unsigned count_digits(uint64_t value) {
    unsigned count = 1;
    for (; value >= 10000; value /= 10000)
        count += 4;
    return count + (value >= 10) + (value >= 100) + (value >= 1000);
}

/* Most numbers are lengths of one or two digits. */
unsigned number_format_u64(uint64_t value, char *out) {
    if (value < 10) {
        out[0] = (char)('0' + value);
        return 1;
    }
    unsigned len = value < 100 ? 2 : count_digits(value);
    char *at = out + len;
    for (; value >= 100; value /= 100)
        memcpy(at -= 2, &digit_pairs[value % 100 * 2], 2);
    if (value >= 10) {
        memcpy(at - 2, &digit_pairs[value * 2], 2);
    } else {
        at[-1] = (char)('0' + value);
    }
    return len;
}

unsigned number_format_i64(int64_t value, char *out) {
    if (value >= 0) return number_format_u64((uint64_t)value, out);
    out[0] = '-';
    return 1 + number_format_u64(0 - (uint64_t)value, out + 1);
}

unsigned number_format_double(double value, char *out, unsigned cap) {
    if (isnan(value)) return (unsigned)snprintf(out, cap, "nan");
    if (isinf(value)) return (unsigned)snprintf(out, cap, value > 0 ? "inf" : "-inf");
    // Integral values print as integers, which is also their shortest form.
    if (value == floor(value) && fabs(value) < 9007199254740992.0 &&
        !(value == 0 && signbit(value)))
        return (unsigned)snprintf(out, cap, "%lld", (long long)value);
    for (int digits = 15; digits < 17; digits++) {
        int len = snprintf(out, cap, "%.*g", digits, value);
        if (strtod(out, NULL) == value) return (unsigned)len;
    }
    return (unsigned)snprintf(out, cap, "%.17g", value);
}

unsigned number_format_17_digits(double value, char *out, unsigned cap) {
    if (isnan(value)) return (unsigned)snprintf(out, cap, "nan");
    if (isinf(value)) return (unsigned)snprintf(out, cap, value > 0 ? "inf" : "-inf");
    if (fabs(value) < 9007199254740992.0) {
        int64_t integer = (int64_t)value;
        if ((double)integer == value && !(integer == 0 && signbit(value)))
            return number_format_i64(integer, out);
    }
    return (unsigned)snprintf(out, cap, "%.17g", value);
}

unsigned number_format_human(long double value, char *out, unsigned cap) {
    if (!isfinite(value)) return 0;
    int len = snprintf(out, cap, "%.17Lf", value);
    if (len <= 0 || (unsigned)len >= cap) return 0;
    if (memchr(out, '.', (size_t)len) != NULL) {
        while (out[len - 1] == '0')
            len--;
        if (out[len - 1] == '.') len--;
    }
    if (len == 2 && out[0] == '-' && out[1] == '0') {
        out[0] = '0';
        len = 1;
    }
    return (unsigned)len;
}

bool number_parse_memory(struct bytes text, uint64_t *out) {
    static const struct {
        const char *suffix;
        uint64_t factor;
    } units[] = {
        {"b", 1},
        {"k", 1000},
        {"kb", 1024},
        {"m", 1000000},
        {"mb", 1024 * 1024},
        {"g", 1000000000},
        {"gb", 1024 * 1024 * 1024},
    };
    size_t digits = 0;
    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
        digits++;
    // Leading zeros are fine in a size, unlike in a protocol integer.
    size_t start = 0;
    while (start + 1 < digits && text.data[start] == '0')
        start++;
    uint64_t value = 0;
    if (!number_parse_u64(bytes_of(text.data + start, digits - start), &value)) return false;
    struct bytes suffix = bytes_from(text, digits);
    if (suffix.len == 0) {
        *out = value;
        return true;
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (!bytes_equal_text_nocase(suffix, units[i].suffix)) continue;
        if (__builtin_mul_overflow(value, units[i].factor, &value)) return false;
        *out = value;
        return true;
    }
    return false;
}

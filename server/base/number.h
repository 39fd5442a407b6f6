/* Numbers as text, with the strictness that the protocol asks for. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/bytes.h"

/* Room for any 64-bit integer in decimal, sign included. */
#define NUMBER_TEXT_MAX 21

/* Room for any double as number_format_double writes it, and for any long double as
 * number_format_human does. */
#define NUMBER_DOUBLE_TEXT_MAX 5120

/* Reads a canonical decimal integer: "0", or an optional '-' and digits without leading zero. No
 * spaces, no '+'. False, and `out` untouched, on anything else or on overflow. */
bool number_parse_i64(struct bytes text, int64_t *out);

/* Unsigned, digits only, leading zeros refused. */
bool number_parse_u64(struct bytes text, uint64_t *out);

/* Reads a floating point number that fills the whole text ("inf" and friends too); refuses NaN,
 * leading spaces, trailing bytes and more than NUMBER_DOUBLE_TEXT_MAX - 1 bytes. */
bool number_parse_double(struct bytes text, double *out);
bool number_parse_long_double(struct bytes text, long double *out);

/* Writes decimal digits; returns how many. `out` has NUMBER_TEXT_MAX bytes and gets no NUL. */
unsigned number_format_i64(int64_t value, char *out);
unsigned number_format_u64(uint64_t value, char *out);

/* Shortest of the forms "%.17g" that reads back as the same double; "inf", "-inf" and "nan" by
 * these names. Returns the length; `cap` is at least 40. Not terminated beyond snprintf's NUL. */
unsigned number_format_double(double value, char *out, unsigned cap);

/* The form of scores: "%.17g", and "inf", "-inf", "nan". Integers below 2^53 come without printf.
 * Returns the length; `cap` is at least 40. */
unsigned number_format_17_digits(double value, char *out, unsigned cap);

/* INCRBYFLOAT's form: fixed notation, 17 digits, trailing zeros cut. Returns the length, or 0 when
 * the value is not finite. `cap` is NUMBER_DOUBLE_TEXT_MAX. */
unsigned number_format_human(long double value, char *out, unsigned cap);

/* Reads "10mb", "4k", "1gb", "17": powers of 1000 for k, m, g and of 1024 for kb, mb, gb, any case.
 */
bool number_parse_memory(struct bytes text, uint64_t *out);

/* Bits and integers in runs of bytes, bit 0 being the highest of the first byte. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/bytes.h"

/* How many bits are set. About 0.1 ns a byte. */
uint64_t bits_count(struct bytes bytes);

/* The first bit with this value at or behind `from`, or -1. */
int64_t bits_find(struct bytes bytes, uint64_t from, bool value);

/* An unsigned integer of 1 to 64 bits, high bit first; bits behind the end are 0. */
uint64_t bits_get(struct bytes bytes, uint64_t offset, unsigned width);
/* The bits lie within the bytes. */
void bits_set(uint8_t *bytes, uint64_t offset, unsigned width, uint64_t value);

/* The low `width` bits of `value` as a signed number. */
int64_t bits_sign_extend(uint64_t value, unsigned width);

enum bits_overflow { BITS_WRAP, BITS_SATURATE, BITS_FAIL };

/* value + increment in `width` bits, signed or not. False: it does not fit and `overflow` is
 * BITS_FAIL. An unsigned value has at most 63 bits. */
bool bits_add(uint64_t value, int64_t increment, unsigned width, bool is_signed,
              enum bits_overflow overflow, uint64_t *out);

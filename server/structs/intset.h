/* A set of integers as a sorted array of one width: the RDB format's block.
 *
 *     width(u32 LE: 2, 4 or 8) count(u32 LE) { member, `width` bytes LE }
 *
 * Members ascend strictly. Here is what it takes to read one: blocks from outside go through
 * intset_is_valid first, the other functions trust theirs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/bytes.h"

#define INTSET_HEADER_BYTES 8u

/* True when the bytes are an intset with at least one member, sorted, to the last byte. O(n). */
bool intset_is_valid(struct bytes block);

size_t intset_count(const uint8_t *block);

/* Member `index` in ascending order; index < intset_count. */
int64_t intset_get(const uint8_t *block, size_t index);

/* O(log n). */
bool intset_contains(const uint8_t *block, int64_t member);

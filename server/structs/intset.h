/* A set of integers as a sorted array of one width: the RDB format's block.
 *
 *     width(u32 LE: 2, 4 or 8) count(u32 LE) { member, `width` bytes LE }
 *
 * Members ascend strictly. Blocks from outside go through intset_is_valid first, the other
 * functions trust theirs. A block is memory of mem_alloc that its owner frees with mem_free;
 * functions that may move it take the address of the owner's pointer.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"

#define INTSET_HEADER_BYTES 8u

/* True when the bytes are an intset with at least one member, sorted, to the last byte. O(n). */
bool intset_is_valid(struct bytes block);

size_t intset_count(const uint8_t *block);

/* Member `index` in ascending order; index < intset_count. */
int64_t intset_get(const uint8_t *block, size_t index);

/* O(log n). */
bool intset_contains(const uint8_t *block, int64_t member);

size_t intset_bytes(const uint8_t *block); /* The whole block, as it would be saved. */

/* An empty set. Not valid to save while it is empty. Never NULL. */
MUST_USE uint8_t *intset_create(void);

/* Returns false when the member is there already. O(n): what lies behind it moves, and all of it
 * when the member needs a greater width. */
bool intset_add(uint8_t **block, int64_t member);

/* Returns false when there is no such member. O(n) */
bool intset_remove(uint8_t **block, int64_t member);

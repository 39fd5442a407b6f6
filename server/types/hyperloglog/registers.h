/* The bytes of a HyperLogLog, as they lie in the string that clients GET and SET.
 *
 *     "HYLL" | encoding (1) | unused (3) | cached count (8, low byte first) | registers
 *
 * 16384 registers; each holds the longest run of zeros (plus one) that was seen in the hashes that
 * fell to it. The highest bit of the cached count says that it is out of date.
 *
 * Dense: 6 bits a register, low bits of a byte first: 12288 bytes. Sparse: runs, in the order of
 * the registers:
 *
 *     00llllll            l + 1 registers that are 0
 *     01llllll llllllll   l + 1 registers that are 0, high byte first
 *     1vvvvvll            l + 1 registers that are v + 1
 *
 * A value arrives from clients, so every function stays within its bytes and says when they are not
 * what they should be. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"

enum {
    HLL_REGISTERS = 16384,
    HLL_HEADER_BYTES = 16,
    HLL_DENSE_BYTES = HLL_HEADER_BYTES + HLL_REGISTERS * 6 / 8,
};

enum hll_result { HLL_SAME, HLL_CHANGED, HLL_CORRUPT };

/* An empty one, sparse. */
void hll_create(struct buffer *out);

/* True when it has the header and, if dense, the length of one. Runs are checked as they are read.
 */
bool hll_is_valid(struct bytes value);
bool hll_is_dense(struct bytes value);

/* Adds an element. A sparse one that gets longer than `sparse_max` bytes, or has to hold what runs
 * can't, becomes dense. Marks the cached count as out of date when something has changed. */
enum hll_result hll_add(struct buffer *value, struct bytes element, uint64_t sparse_max);
/* The same in place. */
enum hll_result hll_add_dense(uint8_t *value, struct bytes element);

/* Raises one register. */
enum hll_result hll_raise(struct buffer *value, unsigned index, unsigned count,
                          uint64_t sparse_max);
enum hll_result hll_to_dense(struct buffer *value);

/* Raises max[i] to the i-th register. False: corrupt. */
bool hll_collect(struct bytes value, uint8_t max[HLL_REGISTERS]);

/* The estimate. False: corrupt. */
bool hll_count(struct bytes value, uint64_t *out);
uint64_t hll_count_registers(const uint8_t registers[HLL_REGISTERS]);

/* The cached count; false when it is out of date. */
bool hll_cached_count(struct bytes value, uint64_t *out);
void hll_set_cached_count(uint8_t *value, uint64_t count);
void hll_drop_cached_count(uint8_t *value);

/* The runs of a sparse one as "z:n" (short), "Z:n" (long), "v:value,n", with spaces between. False:
 * corrupt. */
bool hll_describe(struct bytes value, struct buffer *out);

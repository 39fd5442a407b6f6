/* Randomness as a value: a small generator that its owner seeds. Not for secrets; those come from
 * rng_fill_from_os.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state[4];
};

/* The same seed gives the same numbers. */
void rng_seed(struct rng *rng, uint64_t seed);

/* Seeds from the operating system. */
void rng_seed_from_os(struct rng *rng);

uint64_t rng_next(struct rng *rng);

/* Evenly in 0 .. bound - 1; bound > 0. */
uint64_t rng_below(struct rng *rng, uint64_t bound);

/* Fills with bytes that nobody can guess (getrandom). */
void rng_fill_from_os(void *out, size_t len);

/* Writes `len` random lower-case hex digits, without NUL: the form of node, run and history ids. */
void rng_hex(struct rng *rng, char *out, size_t len);

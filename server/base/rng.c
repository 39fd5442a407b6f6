#include "server/base/rng.h"

#include <sys/random.h>

#include "server/base/check.h"

static uint64_t split_mix(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void rng_seed(struct rng *rng, uint64_t seed) {
    for (int i = 0; i < 4; i++)
        rng->state[i] = split_mix(&seed);
}

void rng_seed_from_os(struct rng *rng) {
    uint64_t seed = 0;
    rng_fill_from_os(&seed, sizeof(seed));
    rng_seed(rng, seed);
}

static uint64_t rotate(uint64_t x, int bits) {
    return (x << bits) | (x >> (64 - bits));
}

/* xoshiro256++ */
uint64_t rng_next(struct rng *rng) {
    uint64_t *s = rng->state;
    uint64_t result = rotate(s[0] + s[3], 23) + s[0];
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *rng, uint64_t bound) {
    ASSERT(bound > 0);
    // The high half of the product is even enough once the short tail is refused.
    uint64_t threshold = (0 - bound) % bound;
    for (;;) {
        __uint128_t product = (__uint128_t)rng_next(rng) * bound;
        if ((uint64_t)product >= threshold) return (uint64_t)(product >> 64);
    }
}

void rng_fill_from_os(void *out, size_t len) {
    uint8_t *at = out;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        ASSERT(got > 0);
        at += got;
        len -= (size_t)got;
    }
}

void rng_hex(struct rng *rng, char *out, size_t len) {
    for (size_t i = 0; i < len; i++)
        out[i] = "0123456789abcdef"[rng_next(rng) >> 60];
}

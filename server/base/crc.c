#include "server/base/crc.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Tables are computed once: 16 bits four bits at a time would do, eight at a time is what a key of
 * a request deserves. */
static uint16_t crc16_table[256];
static uint64_t crc64_table[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Carry-less multiplication, where the processor has it, takes 64 bytes at a time: a register of 16
 * bytes stands for a polynomial of degree 127, and to carry its upper and its lower half N bits on
 * is to multiply them with x^(N + 64) and x^N, modulo the polynomial. (The product of two reflected
 * words comes out one power too high, so the factors are one lower.) What is left at the end has
 * the same checksum as all that was folded into it. */
enum { FOLD_BYTES = 64 };

static bool can_fold;
static uint64_t fold_by_64[2]; /* Factors of the upper and the lower half: bytes ahead, */
static uint64_t fold_by_16[2]; /* and for the four registers into one. */

static uint64_t reflect(uint64_t value) {
    uint64_t out = 0;
    for (int i = 0; i < 64; i++)
        out |= ((value >> i) & 1) << (63 - i);
    return out;
}

/* x^n modulo the polynomial, reflected. */
static uint64_t power_of_x(uint64_t polynomial, unsigned n) {
    uint64_t power = (uint64_t)1 << 63;
    for (unsigned i = 0; i < n; i++)
        power = (power >> 1) ^ ((power & 1) ? polynomial : 0);
    return power;
}

static void build_factors(uint64_t polynomial) {
    fold_by_64[0] = power_of_x(polynomial, 512 + 64 - 1);
    fold_by_64[1] = power_of_x(polynomial, 512 - 1);
    fold_by_16[0] = power_of_x(polynomial, 128 + 64 - 1);
    fold_by_16[1] = power_of_x(polynomial, 128 - 1);
#if defined(__x86_64__)
    can_fold = __builtin_cpu_supports("pclmul") != 0;
#endif
}

static void build_tables(void) {
    const uint64_t polynomial = reflect(0xad93d23594c935a9u);
    for (unsigned i = 0; i < 256; i++) {
        uint16_t short_crc = (uint16_t)(i << 8);
        uint64_t crc = i;
        for (int bit = 0; bit < 8; bit++) {
            short_crc = (uint16_t)((short_crc << 1) ^ ((short_crc & 0x8000u) ? 0x1021u : 0));
            crc = (crc >> 1) ^ ((crc & 1) ? polynomial : 0);
        }
        crc16_table[i] = short_crc;
        crc64_table[0][i] = crc;
    }
    for (unsigned i = 0; i < 256; i++) {
        for (int k = 1; k < 8; k++) {
            uint64_t before = crc64_table[k - 1][i];
            crc64_table[k][i] = (before >> 8) ^ crc64_table[0][before & 0xff];
        }
    }
    build_factors(polynomial);
}

/* Runs before main, so that no request pays for the check. */
__attribute__((constructor)) static void prepare(void) {
    pthread_once(&once, build_tables);
}

uint16_t crc16(struct bytes bytes) {
    uint16_t crc = 0;
    for (size_t i = 0; i < bytes.len; i++)
        crc = (uint16_t)((crc << 8) ^ crc16_table[((crc >> 8) ^ bytes.data[i]) & 0xff]);
    return crc;
}

static uint64_t crc64_by_table(uint64_t crc, struct bytes bytes) {
    const uint8_t *at = bytes.data;
    size_t left = bytes.len;
    for (; left >= 8; left -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        crc ^= word;
        crc = crc64_table[7][crc & 0xff] ^ crc64_table[6][(crc >> 8) & 0xff] ^
              crc64_table[5][(crc >> 16) & 0xff] ^ crc64_table[4][(crc >> 24) & 0xff] ^
              crc64_table[3][(crc >> 32) & 0xff] ^ crc64_table[2][(crc >> 40) & 0xff] ^
              crc64_table[1][(crc >> 48) & 0xff] ^ crc64_table[0][crc >> 56];
    }
    for (; left > 0; left--, at++)
        crc = (crc >> 8) ^ crc64_table[0][(crc ^ *at) & 0xff];
    return crc;
}

#if defined(__x86_64__)

__attribute__((target("pclmul"))) static __m128i fold(__m128i sum, __m128i factors, __m128i next) {
    __m128i upper = _mm_clmulepi64_si128(sum, factors, 0x00);
    __m128i lower = _mm_clmulepi64_si128(sum, factors, 0x11);
    return _mm_xor_si128(_mm_xor_si128(upper, lower), next);
}

static __m128i load(const uint8_t *at) {
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

/* FOLD_BYTES of bytes at least. */
__attribute__((target("pclmul"))) static uint64_t crc64_by_folding(uint64_t crc,
                                                                   struct bytes bytes) {
    const __m128i by_64 = load((const uint8_t *)fold_by_64);
    const __m128i by_16 = load((const uint8_t *)fold_by_16);
    const uint8_t *at = bytes.data;
    const uint8_t *end = at + bytes.len;
    __m128i sums[4] = {load(at), load(at + 16), load(at + 32), load(at + 48)};
    sums[0] = _mm_xor_si128(sums[0], _mm_set_epi64x(0, (int64_t)crc));
    for (at += FOLD_BYTES; end - at >= FOLD_BYTES; at += FOLD_BYTES) {
        for (int i = 0; i < 4; i++)
            sums[i] = fold(sums[i], by_64, load(at + 16 * (size_t)i));
    }
    __m128i sum = sums[0];
    for (int i = 1; i < 4; i++)
        sum = fold(sum, by_16, sums[i]);
    uint8_t left[16];
    memcpy(left, &sum, sizeof(left));
    crc = crc64_by_table(0, bytes_of(left, sizeof(left)));
    return crc64_by_table(crc, bytes_of(at, (size_t)(end - at)));
}

#else

static uint64_t crc64_by_folding(uint64_t crc, struct bytes bytes) {
    return crc64_by_table(crc, bytes);
}

#endif

uint64_t crc64(uint64_t crc, struct bytes bytes) {
    return can_fold && bytes.len >= FOLD_BYTES ? crc64_by_folding(crc, bytes)
                                               : crc64_by_table(crc, bytes);
}

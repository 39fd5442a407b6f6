#include "server/base/crc.h"

#include <pthread.h>

/* Tables are computed once: 16 bits four bits at a time would do, eight at a time is what a key of
 * a request deserves. */
static uint16_t crc16_table[256];
static uint64_t crc64_table[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint64_t reflect(uint64_t value) {
    uint64_t out = 0;
    for (int i = 0; i < 64; i++)
        out |= ((value >> i) & 1) << (63 - i);
    return out;
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

uint64_t crc64(uint64_t crc, struct bytes bytes) {
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

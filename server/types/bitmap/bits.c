#include "server/types/bitmap/bits.h"

static uint64_t load_word(const uint8_t *data) {
    uint64_t word;
    memcpy(&word, data, sizeof(word));
    return word;
}

uint64_t bits_count(struct bytes bytes) {
    uint64_t sums[4] = {0};
    size_t at = 0;
    // Four sums, so that one addition need not wait for another.
    for (; at + 32 <= bytes.len; at += 32) {
        for (unsigned i = 0; i < 4; i++)
            sums[i] += (unsigned)__builtin_popcountll(load_word(bytes.data + at + i * 8));
    }
    for (; at < bytes.len; at++)
        sums[0] += (unsigned)__builtin_popcount(bytes.data[at]);
    return sums[0] + sums[1] + sums[2] + sums[3];
}

int64_t bits_find(struct bytes bytes, uint64_t from, bool value) {
    uint8_t other = value ? 0x00 : 0xff;
    size_t at = from / 8;
    if (at >= bytes.len) return -1;
    // What comes before `from` in its byte is made to be of no interest.
    uint8_t first = (uint8_t)(0xff >> from % 8);
    uint8_t byte = value ? bytes.data[at] & first : bytes.data[at] | (uint8_t)~first;
    if (byte == other) {
        uint64_t other_word = value ? 0 : UINT64_MAX;
        at++;
        while (at + 8 <= bytes.len && load_word(bytes.data + at) == other_word)
            at += 8;
        while (at < bytes.len && bytes.data[at] == other)
            at++;
        if (at == bytes.len) return -1;
        byte = bytes.data[at];
    }
    uint32_t wanted = value ? byte : (uint8_t)~byte;
    return (int64_t)(at * 8) + __builtin_clz(wanted) - 24;
}

uint64_t bits_get(struct bytes bytes, uint64_t offset, unsigned width) {
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++, offset++) {
        uint64_t byte = offset / 8;
        unsigned bit = byte < bytes.len ? bytes.data[byte] >> (7 - offset % 8) & 1u : 0;
        value = value << 1 | bit;
    }
    return value;
}

void bits_set(uint8_t *bytes, uint64_t offset, unsigned width, uint64_t value) {
    for (unsigned i = width; i-- > 0; offset++) {
        uint8_t mask = (uint8_t)(1u << (7 - offset % 8));
        if ((value >> i & 1) != 0) {
            bytes[offset / 8] |= mask;
        } else {
            bytes[offset / 8] &= (uint8_t)~mask;
        }
    }
}

int64_t bits_sign_extend(uint64_t value, unsigned width) {
    unsigned unused = 64 - width;
    return (int64_t)(value << unused) >> unused;
}

bool bits_add(uint64_t value, int64_t increment, unsigned width, bool is_signed,
              enum bits_overflow overflow, uint64_t *out) {
    // 128 bits hold any sum.
    __int128 sum = (is_signed ? (__int128)(int64_t)value : (__int128)value) + increment;
    __int128 max = is_signed ? ((__int128)1 << (width - 1)) - 1 : ((__int128)1 << width) - 1;
    __int128 min = is_signed ? -max - 1 : 0;
    uint64_t mask = width == 64 ? UINT64_MAX : ((uint64_t)1 << width) - 1;
    if (sum < min || sum > max) {
        if (overflow == BITS_FAIL) return false;
        // Redis 7.0 counts the room above in 64 bits: what lies too far below has none, it finds.
        bool has_wrapped = is_signed && width < 64 && max - (int64_t)value > INT64_MAX;
        if (overflow == BITS_SATURATE) sum = sum < min && !has_wrapped ? min : max;
    }
    *out = (uint64_t)sum & mask;
    return true;
}

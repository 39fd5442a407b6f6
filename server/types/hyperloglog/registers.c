#include "server/types/hyperloglog/registers.h"

#include <math.h>

enum {
    INDEX_BITS = 14,
    HASH_BITS = 64 - INDEX_BITS,
    ENCODING_AT = 4,
    COUNT_AT = 8,
    DENSE = 0,
    SPARSE = 1,
    SHORT_ZERO_MAX = 64,
    VALUE_RUN_MAX = 4,
    VALUE_MAX = 32, /* That a run can tell. */
};

/* -- hashing -- */

/* MurmurHash64A with the seed that every HyperLogLog of this format was made with. */
static uint64_t hash_element(struct bytes element) {
    const uint64_t factor = 0xc6a4a7935bd1e995u;
    const uint8_t *data = element.data;
    size_t left = element.len;
    uint64_t hash = 0xadc83b19u ^ (element.len * factor);
    for (; left >= 8; data += 8, left -= 8) {
        uint64_t word;
        memcpy(&word, data, sizeof(word));
        word *= factor;
        word ^= word >> 47;
        word *= factor;
        hash = (hash ^ word) * factor;
    }
    if (left > 0) {
        uint64_t word = 0;
        memcpy(&word, data, left);
        hash = (hash ^ word) * factor;
    }
    hash ^= hash >> 47;
    hash *= factor;
    return hash ^ hash >> 47;
}

/* The register of an element, and how long its run of zeros is, plus one. */
static unsigned run_of(struct bytes element, unsigned *out_index) {
    uint64_t hash = hash_element(element);
    *out_index = (unsigned)hash & (HLL_REGISTERS - 1);
    // A bit behind the last ends the longest run.
    uint64_t rest = hash >> INDEX_BITS | (uint64_t)1 << HASH_BITS;
    return (unsigned)__builtin_ctzll(rest) + 1;
}

/* -- the header -- */

bool hll_is_dense(struct bytes value) {
    return value.data[ENCODING_AT] == DENSE;
}

bool hll_is_valid(struct bytes value) {
    if (value.len < HLL_HEADER_BYTES || memcmp(value.data, "HYLL", 4) != 0) return false;
    if (value.data[ENCODING_AT] > SPARSE) return false;
    return !hll_is_dense(value) || value.len == HLL_DENSE_BYTES;
}

static void append_zeros(struct buffer *out, unsigned count);

void hll_create(struct buffer *out) {
    static const uint8_t header[HLL_HEADER_BYTES] = {'H', 'Y', 'L', 'L', SPARSE};
    buffer_clear(out);
    buffer_append(out, header, sizeof(header));
    append_zeros(out, HLL_REGISTERS);
}

bool hll_cached_count(struct bytes value, uint64_t *out) {
    uint64_t count;
    memcpy(&count, value.data + COUNT_AT, sizeof(count));
    if ((count >> 63) != 0) return false;
    *out = count;
    return true;
}

void hll_set_cached_count(uint8_t *value, uint64_t count) {
    memcpy(value + COUNT_AT, &count, sizeof(count));
}

void hll_drop_cached_count(uint8_t *value) {
    value[COUNT_AT + 7] |= 0x80;
}

/* -- dense -- */

static unsigned dense_get(const uint8_t *registers, unsigned index) {
    unsigned bit = index * 6;
    unsigned word = registers[bit / 8];
    // The last register ends with the last byte.
    if (bit / 8 + 1 < HLL_REGISTERS * 6 / 8) word |= (unsigned)registers[bit / 8 + 1] << 8;
    return word >> bit % 8 & 63u;
}

static void dense_put(uint8_t *registers, unsigned index, unsigned count) {
    unsigned bit = index * 6;
    unsigned shift = bit % 8;
    uint8_t *at = registers + bit / 8;
    at[0] = (uint8_t)((at[0] & ~(63u << shift)) | count << shift);
    if (shift > 2) at[1] = (uint8_t)((at[1] & ~(63u >> (8 - shift))) | count >> (8 - shift));
}

static enum hll_result dense_raise(uint8_t *value, unsigned index, unsigned count) {
    uint8_t *registers = value + HLL_HEADER_BYTES;
    if (dense_get(registers, index) >= count) return HLL_SAME;
    dense_put(registers, index, count);
    hll_drop_cached_count(value);
    return HLL_CHANGED;
}

enum hll_result hll_add_dense(uint8_t *value, struct bytes element) {
    unsigned index;
    unsigned count = run_of(element, &index);
    return dense_raise(value, index, count);
}

/* -- sparse -- */

struct run {
    unsigned len;
    unsigned value; /* 0: zeros. */
    unsigned bytes;
};

/* The run at `at`; false when there is no whole one. */
static bool read_run(struct bytes value, size_t at, struct run *out) {
    if (at >= value.len) return false;
    uint8_t byte = value.data[at];
    if ((byte & 0x80) != 0) {
        *out = (struct run){(byte & 3u) + 1, (byte >> 2 & 31u) + 1, 1};
    } else if ((byte & 0x40) == 0) {
        *out = (struct run){(byte & 63u) + 1, 0, 1};
    } else {
        if (at + 1 >= value.len) return false;
        *out = (struct run){((byte & 63u) << 8 | value.data[at + 1]) + 1, 0, 2};
    }
    return true;
}

static uint8_t value_byte(unsigned value, unsigned len) {
    return (uint8_t)(0x80u | (value - 1) << 2 | (len - 1));
}

static void append_zeros(struct buffer *out, unsigned count) {
    if (count == 0) return;
    if (count <= SHORT_ZERO_MAX) {
        buffer_append_u8(out, (uint8_t)(count - 1));
        return;
    }
    buffer_append_u8(out, (uint8_t)(0x40u | (count - 1) >> 8));
    buffer_append_u8(out, (uint8_t)(count - 1));
}

static void append_run(struct buffer *out, unsigned value, unsigned count) {
    if (value == 0) {
        append_zeros(out, count);
    } else if (count > 0) {
        buffer_append_u8(out, value_byte(value, count));
    }
}

/* Replaces `bytes` bytes at `at`. */
static void splice(struct buffer *value, size_t at, size_t bytes, struct bytes with) {
    size_t behind = value->len - at - bytes;
    buffer_reserve(value, with.len);
    memmove(value->data + at + with.len, value->data + at + bytes, behind);
    memcpy(value->data + at, with.data, with.len);
    value->len = at + with.len + behind;
}

/* Joins neighbours of one value, looking at five runs from `at` on: a change can have made no more
 * of them alike. */
static void join_runs(struct buffer *value, size_t at) {
    struct run run;
    struct run next;
    for (int i = 0; i < 5 && read_run(buffer_view(value), at, &run); i++) {
        bool is_pair = run.value > 0 && read_run(buffer_view(value), at + 1, &next);
        if (is_pair && next.value == run.value && run.len + next.len <= VALUE_RUN_MAX) {
            uint8_t joined = value_byte(run.value, run.len + next.len);
            splice(value, at, 2, bytes_of(&joined, 1));
        } else {
            at += run.bytes;
        }
    }
}

static enum hll_result promote_and_raise(struct buffer *value, unsigned index, unsigned count) {
    if (hll_to_dense(value) == HLL_CORRUPT) return HLL_CORRUPT;
    return dense_raise(value->data, index, count);
}

static enum hll_result sparse_raise(struct buffer *value, unsigned index, unsigned count,
                                    uint64_t sparse_max) {
    size_t at = HLL_HEADER_BYTES;
    size_t previous = HLL_HEADER_BYTES;
    unsigned first = 0;
    struct run run;
    if (count > VALUE_MAX) return promote_and_raise(value, index, count);
    for (;;) {
        if (!read_run(buffer_view(value), at, &run)) return HLL_CORRUPT;
        if (index < first + run.len) break;
        previous = at;
        first += run.len;
        at += run.bytes;
    }
    if (run.value >= count) return HLL_SAME;
    // The run in up to three pieces: what is before the register, the register, what is behind it.
    uint8_t room[8];
    struct buffer pieces = {.data = room, .cap = sizeof(room)};
    append_run(&pieces, run.value, index - first);
    append_run(&pieces, count, 1);
    append_run(&pieces, run.value, first + run.len - 1 - index);
    if (pieces.len > run.bytes && value->len + pieces.len - run.bytes > sparse_max)
        return promote_and_raise(value, index, count);
    splice(value, at, run.bytes, buffer_view(&pieces));
    join_runs(value, previous);
    hll_drop_cached_count(value->data);
    return HLL_CHANGED;
}

/* -- both -- */

enum hll_result hll_raise(struct buffer *value, unsigned index, unsigned count,
                          uint64_t sparse_max) {
    if (hll_is_dense(buffer_view(value))) return dense_raise(value->data, index, count);
    return sparse_raise(value, index, count, sparse_max);
}

enum hll_result hll_add(struct buffer *value, struct bytes element, uint64_t sparse_max) {
    unsigned index;
    unsigned count = run_of(element, &index);
    return hll_raise(value, index, count, sparse_max);
}

bool hll_collect(struct bytes value, uint8_t max[HLL_REGISTERS]) {
    if (hll_is_dense(value)) {
        for (unsigned i = 0; i < HLL_REGISTERS; i++) {
            unsigned count = dense_get(value.data + HLL_HEADER_BYTES, i);
            if (count > max[i]) max[i] = (uint8_t)count;
        }
        return true;
    }
    unsigned index = 0;
    struct run run;
    for (size_t at = HLL_HEADER_BYTES; at < value.len; at += run.bytes) {
        if (!read_run(value, at, &run) || index + run.len > HLL_REGISTERS) return false;
        for (unsigned end = index + run.len; index < end; index++) {
            if (run.value > max[index]) max[index] = (uint8_t)run.value;
        }
    }
    return index == HLL_REGISTERS;
}

enum hll_result hll_to_dense(struct buffer *value) {
    uint8_t registers[HLL_REGISTERS] = {0};
    if (hll_is_dense(buffer_view(value))) return HLL_SAME;
    if (!hll_collect(buffer_view(value), registers)) return HLL_CORRUPT;
    value->len = HLL_HEADER_BYTES;
    memset(buffer_reserve(value, HLL_DENSE_BYTES - HLL_HEADER_BYTES), 0,
           HLL_DENSE_BYTES - HLL_HEADER_BYTES);
    value->len = HLL_DENSE_BYTES;
    value->data[ENCODING_AT] = DENSE;
    for (unsigned i = 0; i < HLL_REGISTERS; i++) {
        if (registers[i] > 0) dense_put(value->data + HLL_HEADER_BYTES, i, registers[i]);
    }
    return HLL_CHANGED;
}

/* -- counting --
 *
 * O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", 2017: an estimate from
 * how often each value occurs, without a table of corrections. */

static double sigma(double x) {
    if (x == 1.0) return INFINITY;
    double weight = 1;
    double sum = x;
    double before;
    do {
        x *= x;
        before = sum;
        sum += x * weight;
        weight += weight;
    } while (before != sum);
    return sum;
}

static double tau(double x) {
    if (x == 0.0 || x == 1.0) return 0;
    double weight = 1;
    double sum = 1 - x;
    double before;
    do {
        x = sqrt(x);
        before = sum;
        weight *= 0.5;
        sum -= (1 - x) * (1 - x) * weight;
    } while (before != sum);
    return sum / 3;
}

uint64_t hll_count_registers(const uint8_t registers[HLL_REGISTERS]) {
    const double m = HLL_REGISTERS;
    const double alpha = 0.721347520444481703680; // 1 / (2 ln 2)
    unsigned occurrences[64] = {0};
    for (unsigned i = 0; i < HLL_REGISTERS; i++)
        occurrences[registers[i] & 63]++;
    double z = m * tau((m - occurrences[HASH_BITS + 1]) / m);
    for (int j = HASH_BITS; j >= 1; j--) {
        z += occurrences[j];
        z *= 0.5;
    }
    z += m * sigma(occurrences[0] / m);
    return (uint64_t)llround(alpha * m * m / z);
}

bool hll_count(struct bytes value, uint64_t *out) {
    uint8_t registers[HLL_REGISTERS] = {0};
    if (!hll_collect(value, registers)) return false;
    *out = hll_count_registers(registers);
    return true;
}

bool hll_describe(struct bytes value, struct buffer *out) {
    struct run run;
    for (size_t at = HLL_HEADER_BYTES; at < value.len; at += run.bytes) {
        if (!read_run(value, at, &run)) return false;
        if (at > HLL_HEADER_BYTES) buffer_append_u8(out, ' ');
        if (run.value > 0) {
            buffer_append_format(out, "v:%u,%u", run.value, run.len);
        } else {
            buffer_append_format(out, "%c:%u", run.bytes == 1 ? 'z' : 'Z', run.len);
        }
    }
    return true;
}

#include "server/structs/listpack.h"

#include <string.h>

#include "server/base/check.h"
#include "server/base/mem.h"

enum {
    END = 0xff,
    COUNT_UNKNOWN = 0xffff, // The header says no more than "65,535 or more".
    HEAD_MAX = 9,           // Bytes of encoding before a string, or of a whole integer.
    BACKLEN_MAX = 5,
};

/* First bytes that carry a size of their own. Below F0 the value or length is in the byte. */
enum { STRING_32 = 0xf0, INT_16 = 0xf1, INT_24 = 0xf2, INT_32 = 0xf3, INT_64 = 0xf4 };

/* An entry before it is written: head, then body, then the backlen of both. */
struct encoded {
    uint8_t head[HEAD_MAX];
    size_t head_len;
    struct bytes body;
};

static uint32_t read_u32(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void write_little_endian(uint8_t *at, uint64_t value, unsigned width) {
    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static int64_t read_signed(const uint8_t *at, unsigned width) {
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++)
        value |= (uint64_t)at[i] << (8 * i);
    unsigned unused = 64 - 8 * width;
    return (int64_t)(value << unused) >> unused;
}

static uint32_t total_of(const uint8_t *block) {
    return read_u32(block);
}

static unsigned header_count(const uint8_t *block) {
    return (unsigned)block[4] | (unsigned)block[5] << 8;
}

static void set_header(uint8_t *block, size_t total, size_t count) {
    if (count > COUNT_UNKNOWN) count = COUNT_UNKNOWN;
    write_little_endian(block, total, 4);
    write_little_endian(block + 4, count, 2);
}

/* Bytes of encoding and data of the entry at `at`. */
static inline size_t body_len(const uint8_t *at) {
    uint8_t first = at[0];
    if (first < 0x80) return 1;
    if (first < 0xc0) return 1 + (size_t)(first & 0x3f);
    if (first < 0xe0) return 2;
    if (first < 0xf0) return 2 + ((size_t)(first & 0x0f) << 8 | at[1]);
    switch (first) {
    case STRING_32:
        return 5 + (size_t)read_u32(at + 1);
    case INT_16:
        return 3;
    case INT_24:
        return 4;
    case INT_32:
        return 5;
    case INT_64:
        return 9;
    default:
        UNREACHABLE(); // The end mark or a byte that listpack_is_valid refuses.
    }
}

/* The limits lie one below the powers of two from the second on: the format says so. */
static inline size_t backlen_size(size_t len) {
    if (len <= 127) return 1;
    if (len <= 16382) return 2;
    if (len <= 2097150) return 3;
    if (len <= 268435454) return 4;
    return 5;
}

static inline size_t entry_size(const uint8_t *at) {
    uint8_t first = at[0];
    if (first < 0x80) return 2; // The two commonest kinds have a backlen of one byte.
    if (first < 0xc0) return 2 + (size_t)(first & 0x3f);
    size_t len = body_len(at);
    return len + backlen_size(len);
}

static void write_backlen(uint8_t *at, size_t len) {
    size_t size = backlen_size(len);
    for (size_t i = size; i-- > 0;) {
        at[i] = (uint8_t)((len & 0x7f) | (i > 0 ? 0x80 : 0));
        len >>= 7;
    }
}

/* Reads the backlen whose last byte is `*last`, going left. */
static size_t read_backlen(const uint8_t *last) {
    size_t len = 0;
    for (unsigned shift = 0;; shift += 7, last--) {
        len |= (size_t)(*last & 0x7f) << shift;
        if ((*last & 0x80) == 0) return len;
    }
}

static void encode_number(int64_t number, struct encoded *out) {
    out->body = (struct bytes){0};
    if (number >= 0 && number <= 127) {
        out->head[0] = (uint8_t)number;
        out->head_len = 1;
    } else if (number >= -4096 && number <= 4095) {
        unsigned bits = (unsigned)number & 0x1fff;
        out->head[0] = (uint8_t)(0xc0 | bits >> 8);
        out->head[1] = (uint8_t)bits;
        out->head_len = 2;
    } else {
        unsigned width = 8;
        uint8_t first = INT_64;
        if (number >= INT16_MIN && number <= INT16_MAX) {
            width = 2;
            first = INT_16;
        } else if (number >= -(1 << 23) && number < 1 << 23) {
            width = 3;
            first = INT_24;
        } else if (number >= INT32_MIN && number <= INT32_MAX) {
            width = 4;
            first = INT_32;
        }
        out->head[0] = first;
        write_little_endian(out->head + 1, (uint64_t)number, width);
        out->head_len = 1 + width;
    }
}

static void encode_text(struct bytes text, struct encoded *out) {
    int64_t number = 0;
    if (number_parse_i64(text, &number)) {
        encode_number(number, out);
        return;
    }
    ASSERT(text.len < LISTPACK_MAX_BYTES);
    out->body = text;
    if (text.len <= 63) {
        out->head[0] = (uint8_t)(0x80 | text.len);
        out->head_len = 1;
    } else if (text.len <= 4095) {
        out->head[0] = (uint8_t)(0xe0 | text.len >> 8);
        out->head[1] = (uint8_t)text.len;
        out->head_len = 2;
    } else {
        out->head[0] = STRING_32;
        write_little_endian(out->head + 1, text.len, 4);
        out->head_len = 5;
    }
}

static size_t encoded_size(const struct encoded *entry) {
    size_t len = entry->head_len + entry->body.len;
    return len + backlen_size(len);
}

static void write_entry(uint8_t *at, const struct encoded *entry) {
    memcpy(at, entry->head, entry->head_len);
    at += entry->head_len;
    if (entry->body.len > 0) memcpy(at, entry->body.data, entry->body.len);
    write_backlen(at + entry->body.len, entry->head_len + entry->body.len);
}

/* Growth relies on the allocator's size classes, so that a block has no slack of its own. */
static void ensure_room(uint8_t **block, size_t total) {
    ASSERT(total <= LISTPACK_MAX_BYTES);
    if (total > mem_usable_size(*block)) *block = mem_realloc(*block, total);
}

/* Turns the `old_size` bytes at `place` into `new_size` ones, whose content the caller writes. */
static uint8_t *resize_gap(uint8_t **block, size_t place, size_t old_size, size_t new_size,
                           size_t count) {
    size_t old_total = total_of(*block);
    size_t total = old_total - old_size + new_size;
    if (total > old_total) ensure_room(block, total);
    uint8_t *at = *block + place;
    if (new_size != old_size) memmove(at + new_size, at + old_size, old_total - place - old_size);
    set_header(*block, total, count);
    if (total < old_total && total + total / 4 < mem_usable_size(*block)) listpack_shrink(block);
    return *block + place;
}

static size_t add(uint8_t **block, size_t place, const struct encoded *entry) {
    unsigned count = header_count(*block);
    if (count != COUNT_UNKNOWN) count++;
    write_entry(resize_gap(block, place, 0, encoded_size(entry), count), entry);
    return place;
}

static void replace(uint8_t **block, size_t place, const struct encoded *entry) {
    size_t old_size = entry_size(*block + place);
    uint8_t *at = resize_gap(block, place, old_size, encoded_size(entry), header_count(*block));
    write_entry(at, entry);
}

uint8_t *listpack_create(size_t cap_bytes) {
    if (cap_bytes < LISTPACK_EMPTY_BYTES) cap_bytes = LISTPACK_EMPTY_BYTES;
    uint8_t *block = mem_alloc(cap_bytes);
    set_header(block, LISTPACK_EMPTY_BYTES, 0);
    block[LISTPACK_HEADER_BYTES] = END;
    return block;
}

void listpack_destroy(uint8_t *block) {
    mem_free(block);
}

uint8_t *listpack_copy(const uint8_t *block) {
    size_t total = total_of(block);
    uint8_t *copy = mem_alloc(total);
    memcpy(copy, block, total);
    return copy;
}

size_t listpack_bytes(const uint8_t *block) {
    return total_of(block);
}

size_t listpack_count(const uint8_t *block) {
    unsigned known = header_count(block);
    if (known != COUNT_UNKNOWN) return known;
    size_t count = 0;
    for (const uint8_t *at = block + LISTPACK_HEADER_BYTES; *at != END; at += entry_size(at))
        count++;
    return count;
}

static inline size_t place_or_end(const uint8_t *block, size_t place) {
    return block[place] == END ? 0 : place;
}

size_t listpack_first(const uint8_t *block) {
    return place_or_end(block, LISTPACK_HEADER_BYTES);
}

size_t listpack_next(const uint8_t *block, size_t place) {
    return place_or_end(block, place + entry_size(block + place));
}

size_t listpack_prev(const uint8_t *block, size_t place) {
    if (place == LISTPACK_HEADER_BYTES) return 0;
    size_t len = read_backlen(block + place - 1);
    return place - len - backlen_size(len);
}

size_t listpack_last(const uint8_t *block) {
    return listpack_prev(block, total_of(block) - 1);
}

size_t listpack_seek(const uint8_t *block, int64_t index) {
    unsigned known = header_count(block);
    if (known != COUNT_UNKNOWN) {
        if (index < 0) index += known;
        if (index < 0 || index >= known) return 0;
        if (index > known / 2) index -= known; // Nearer from the end.
    }
    size_t place = 0;
    if (index >= 0) {
        place = listpack_first(block);
        while (place != 0 && index-- > 0)
            place = listpack_next(block, place);
    } else {
        place = listpack_last(block);
        while (place != 0 && ++index < 0)
            place = listpack_prev(block, place);
    }
    return place;
}

struct listpack_value listpack_get(const uint8_t *block, size_t place) {
    const uint8_t *at = block + place;
    uint8_t first = at[0];
    if (first < 0x80) return (struct listpack_value){.number = first};
    if (first < 0xc0) return (struct listpack_value){.text = {at + 1, first & 0x3f}};
    if (first < 0xe0) {
        int bits = (first & 0x1f) << 8 | at[1];
        return (struct listpack_value){.number = bits < 0x1000 ? bits : bits - 0x2000};
    }
    if (first < 0xf0) return (struct listpack_value){.text = {at + 2, body_len(at) - 2}};
    if (first == STRING_32) return (struct listpack_value){.text = {at + 5, body_len(at) - 5}};
    return (struct listpack_value){.number = read_signed(at + 1, (unsigned)body_len(at) - 1)};
}

struct bytes listpack_text(const uint8_t *block, size_t place, char *scratch) {
    struct listpack_value value = listpack_get(block, place);
    if (value.text.data != NULL) return value.text;
    return bytes_of(scratch, number_format_i64(value.number, scratch));
}

bool listpack_get_i64(const uint8_t *block, size_t place, int64_t *out) {
    struct listpack_value value = listpack_get(block, place);
    if (value.text.data != NULL) return number_parse_i64(value.text, out);
    *out = value.number;
    return true;
}

bool listpack_equals(const uint8_t *block, size_t place, struct bytes text) {
    struct listpack_value value = listpack_get(block, place);
    if (value.text.data != NULL) return bytes_equal(value.text, text);
    int64_t number = 0;
    return number_parse_i64(text, &number) && number == value.number;
}

size_t listpack_find(const uint8_t *block, size_t place, struct bytes text, size_t skip) {
    if (place == 0) return 0;
    int64_t number = 0;
    bool is_number = number_parse_i64(text, &number);
    size_t skipped = skip;
    for (const uint8_t *at = block + place; *at != END; at += entry_size(at)) {
        if (skipped < skip) {
            skipped++;
            continue;
        }
        skipped = 0;
        uint8_t first = at[0];
        // The commonest entry by far is a short string: one compare of lengths rules most out.
        if ((first & 0xc0) == 0x80) {
            if (bytes_equal(bytes_of(at + 1, first & 0x3f), text)) return (size_t)(at - block);
            continue;
        }
        struct listpack_value value = listpack_get(block, (size_t)(at - block));
        bool is_equal = value.text.data != NULL ? bytes_equal(value.text, text)
                                                : is_number && value.number == number;
        if (is_equal) return (size_t)(at - block);
    }
    return 0;
}

size_t listpack_entry_bytes(struct bytes text) {
    struct encoded entry;
    encode_text(text, &entry);
    return encoded_size(&entry);
}

bool listpack_fits(const uint8_t *block, size_t extra_bytes) {
    return extra_bytes <= LISTPACK_MAX_BYTES - total_of(block);
}

size_t listpack_append(uint8_t **block, struct bytes text) {
    return listpack_insert_before(block, total_of(*block) - 1, text);
}

size_t listpack_append_i64(uint8_t **block, int64_t number) {
    return listpack_insert_before_i64(block, total_of(*block) - 1, number);
}

size_t listpack_insert_before(uint8_t **block, size_t place, struct bytes text) {
    struct encoded entry;
    encode_text(text, &entry);
    return add(block, place, &entry);
}

size_t listpack_insert_before_i64(uint8_t **block, size_t place, int64_t number) {
    struct encoded entry;
    encode_number(number, &entry);
    return add(block, place, &entry);
}

size_t listpack_insert_after(uint8_t **block, size_t place, struct bytes text) {
    return listpack_insert_before(block, place + entry_size(*block + place), text);
}

size_t listpack_prepend(uint8_t **block, struct bytes text) {
    return listpack_insert_before(block, LISTPACK_HEADER_BYTES, text);
}

void listpack_replace(uint8_t **block, size_t place, struct bytes text) {
    struct encoded entry;
    encode_text(text, &entry);
    replace(block, place, &entry);
}

void listpack_replace_i64(uint8_t **block, size_t place, int64_t number) {
    struct encoded entry;
    encode_number(number, &entry);
    replace(block, place, &entry);
}

size_t listpack_delete(uint8_t **block, size_t place) {
    return listpack_delete_range(block, place, 1);
}

size_t listpack_delete_range(uint8_t **block, size_t place, size_t count) {
    size_t end = place;
    size_t deleted = 0;
    while (deleted < count && (*block)[end] != END) {
        end += entry_size(*block + end);
        deleted++;
    }
    size_t left = header_count(*block);
    if (left != COUNT_UNKNOWN) left -= deleted;
    resize_gap(block, place, end - place, 0, left);
    return place_or_end(*block, place);
}

uint8_t *listpack_split(uint8_t **block, size_t place) {
    size_t kept = 0;
    for (size_t at = LISTPACK_HEADER_BYTES; at < place; at += entry_size(*block + at))
        kept++;
    size_t count = listpack_count(*block);
    size_t total = total_of(*block);
    uint8_t *tail = mem_alloc(LISTPACK_HEADER_BYTES + total - place);
    memcpy(tail + LISTPACK_HEADER_BYTES, *block + place, total - place); // With the end mark.
    set_header(tail, LISTPACK_HEADER_BYTES + total - place, count - kept);
    (*block)[place] = END;
    set_header(*block, place + 1, kept);
    listpack_shrink(block);
    return tail;
}

void listpack_append_all(uint8_t **block, const uint8_t *tail) {
    size_t total = total_of(*block);
    size_t extra = total_of(tail) - LISTPACK_EMPTY_BYTES;
    size_t count = COUNT_UNKNOWN;
    if (header_count(*block) != COUNT_UNKNOWN && header_count(tail) != COUNT_UNKNOWN)
        count = (size_t)header_count(*block) + header_count(tail);
    uint8_t *at = resize_gap(block, total - 1, 0, extra, count);
    memcpy(at, tail + LISTPACK_HEADER_BYTES, extra);
}

void listpack_reserve(uint8_t **block, size_t more) {
    ensure_room(block, total_of(*block) + more);
}

void listpack_shrink(uint8_t **block) {
    *block = mem_realloc(*block, total_of(*block));
}

/* Checks the entry at `at` and returns its size; 0 when it is broken or does not end before `end`,
 * which is where the end mark stands. */
static size_t check_entry(const uint8_t *at, const uint8_t *end) {
    size_t left = (size_t)(end - at);
    uint8_t first = at[0];
    if (first < 0xc0) { // The two commonest kinds have a backlen of one byte.
        size_t short_len = first < 0x80 ? 1 : 1 + (size_t)(first & 0x3f);
        return short_len < left && at[short_len] == short_len ? short_len + 1 : 0;
    }
    if (first > INT_64) return 0;
    size_t size_field = first == STRING_32 ? 5 : first < 0xf0 ? 2 : 1;
    if (size_field > left) return 0;
    size_t len = body_len(at);
    size_t size = len + backlen_size(len);
    if (size > left) return 0;
    uint8_t backlen[BACKLEN_MAX];
    write_backlen(backlen, len);
    return memcmp(at + len, backlen, size - len) == 0 ? size : 0;
}

bool listpack_is_valid(struct bytes block, size_t *out_count) {
    if (block.len < LISTPACK_EMPTY_BYTES || block.len > LISTPACK_MAX_BYTES) return false;
    if (total_of(block.data) != block.len || block.data[block.len - 1] != END) return false;
    const uint8_t *end = block.data + block.len - 1;
    size_t count = 0;
    for (const uint8_t *at = block.data + LISTPACK_HEADER_BYTES; at < end; count++) {
        size_t size = check_entry(at, end);
        if (size == 0) return false;
        at += size;
    }
    unsigned claimed = header_count(block.data);
    if (claimed != COUNT_UNKNOWN && claimed != count) return false;
    if (out_count != NULL) *out_count = count;
    return true;
}

/* A record: a key with its value in one allocation.
 *
 *     header (8 bytes) | long key length (8, rare) | deadline (8, if any) | key | payload
 *
 * The payload is a short string itself, an 8-byte integer, or an 8-byte pointer to what the type
 * hangs on it. The header's bits:
 *
 *     type 4 | encoding 4 | has deadline 1 | marks 4 | access clock 24 | key length 11 | payload
 * length 16
 *
 * Where a key is all that there is, as in a set, a record may be bare, and its header two bytes:
 *
 *     type 4 (15) | 0 5 | key length 7 || key
 *
 * It has no payload, deadline, marks or access clock, and only record_key, record_has_deadline,
 * record_free and record_memory_used are for it.
 *
 * A record has one owner, the bucket that points to it, and no pointer to it outlives the lock of
 * its slot: growth and defragmentation may move it. The same form serves the keys of a keyspace,
 * the fields of a hash and the members of a set.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "server/base/bytes.h"

#define RECORD_INLINE_MAX 65535u   /* Longest payload that can lie in the record. */
#define RECORD_SHORT_KEY_MAX 2046u /* Longer keys bring their length along in 8 bytes. */
#define RECORD_LONG_KEY 2047u

#define RECORD_BARE 15u /* The type of a bare record. */
#define RECORD_BARE_KEY_MAX 127u

struct record {
    uint64_t header;
};

enum {
    RECORD_TYPE_SHIFT = 0,
    RECORD_ENCODING_SHIFT = 4,
    RECORD_DEADLINE_SHIFT = 8,
    RECORD_MARKS_SHIFT = 9,
    RECORD_ACCESS_SHIFT = 13,
    RECORD_KEY_LEN_SHIFT = 37,
    RECORD_PAYLOAD_LEN_SHIFT = 48,
};

static inline unsigned record_type(const struct record *record) {
    return (unsigned)record->header & 15u;
}

static inline unsigned record_encoding(const struct record *record) {
    return (unsigned)(record->header >> RECORD_ENCODING_SHIFT) & 15u;
}

static inline void record_set_encoding(struct record *record, unsigned encoding) {
    record->header = (record->header & ~((uint64_t)15 << RECORD_ENCODING_SHIFT)) |
                     ((uint64_t)encoding << RECORD_ENCODING_SHIFT);
}

static inline bool record_has_deadline(const struct record *record) {
    return (record->header >> RECORD_DEADLINE_SHIFT) & 1u;
}

/* One bit for each snapshot pass that may be under way: set = this pass has the record already. */
static inline unsigned record_marks(const struct record *record) {
    return (unsigned)(record->header >> RECORD_MARKS_SHIFT) & 15u;
}

static inline void record_set_marks(struct record *record, unsigned marks) {
    record->header = (record->header & ~((uint64_t)15 << RECORD_MARKS_SHIFT)) |
                     ((uint64_t)marks << RECORD_MARKS_SHIFT);
}

/* The 24-bit access clock: seconds (LRU) or minutes and counter (LFU). */
static inline uint32_t record_access(const struct record *record) {
    return (uint32_t)(record->header >> RECORD_ACCESS_SHIFT) & 0xffffffu;
}

static inline void record_set_access(struct record *record, uint32_t access) {
    record->header = (record->header & ~((uint64_t)0xffffff << RECORD_ACCESS_SHIFT)) |
                     ((uint64_t)(access & 0xffffffu) << RECORD_ACCESS_SHIFT);
}

static inline bool record_has_long_key(const struct record *record) {
    return ((record->header >> RECORD_KEY_LEN_SHIFT) & 2047u) == RECORD_LONG_KEY;
}

static inline size_t record_key_offset(const struct record *record) {
    return sizeof(uint64_t) + (record_has_long_key(record) ? 8u : 0u) +
           (record_has_deadline(record) ? 8u : 0u);
}

static inline size_t record_key_len(const struct record *record) {
    size_t len = (record->header >> RECORD_KEY_LEN_SHIFT) & 2047u;
    if (__builtin_expect(len != RECORD_LONG_KEY, 1)) return len;
    uint64_t long_len;
    memcpy(&long_len, (const uint8_t *)record + 8, 8);
    return long_len;
}

static inline bool record_is_bare(const struct record *record) {
    return record_type(record) == RECORD_BARE;
}

/* Borrowed: valid as long as the record stays where it is. */
static inline struct bytes record_key(const struct record *record) {
    if (__builtin_expect(record_is_bare(record), 0))
        return bytes_of((const uint8_t *)record + 2, (record->header >> 9) & 127u);
    return bytes_of((const uint8_t *)record + record_key_offset(record), record_key_len(record));
}

/* Length of the payload that lies in the record: the string's, or 8 for an integer or a pointer. */
static inline size_t record_payload_len(const struct record *record) {
    return (size_t)(record->header >> RECORD_PAYLOAD_LEN_SHIFT);
}

/* For a payload that changes in place: the caller has looked that the allocation has room. */
static inline void record_set_payload_len(struct record *record, size_t len) {
    record->header = (record->header & (((uint64_t)1 << RECORD_PAYLOAD_LEN_SHIFT) - 1)) |
                     ((uint64_t)len << RECORD_PAYLOAD_LEN_SHIFT);
}

static inline uint8_t *record_payload(const struct record *record) {
    return (uint8_t *)record + record_key_offset(record) + record_key_len(record);
}

/* The payload of a record whose value hangs on it, or that is an integer. Unaligned on purpose. */
static inline void *record_pointer(const struct record *record) {
    void *pointer;
    memcpy(&pointer, record_payload(record), sizeof(pointer));
    return pointer;
}

static inline void record_set_pointer(struct record *record, void *pointer) {
    memcpy(record_payload(record), &pointer, sizeof(pointer));
}

static inline int64_t record_integer(const struct record *record) {
    int64_t value;
    memcpy(&value, record_payload(record), sizeof(value));
    return value;
}

static inline void record_set_integer(struct record *record, int64_t value) {
    memcpy(record_payload(record), &value, sizeof(value));
}

/* Absolute Unix time in ms; 0 when the record has none. */
static inline int64_t record_deadline_ms(const struct record *record) {
    if (!record_has_deadline(record)) return 0;
    int64_t deadline;
    memcpy(&deadline, (const uint8_t *)record + (record_has_long_key(record) ? 16 : 8), 8);
    return deadline;
}

/* What a new record is to hold. `payload.data` may be NULL: the bytes are then left to the caller.
 */
struct record_spec {
    unsigned type;
    unsigned encoding;
    struct bytes key;
    struct bytes payload; /* At most RECORD_INLINE_MAX bytes. */
    bool has_deadline;
    int64_t deadline_ms;
    uint32_t access;
};

/* Never NULL. The caller owns it until a table takes it; release with record_free. */
struct record *record_create(const struct record_spec *spec);

/* A record with a pointer (or integer) as payload. */
struct record *record_create_pointer(const struct record_spec *spec, void *pointer);

/* A record that is nothing but its key: bare when the key is short enough. */
struct record *record_create_bare(struct bytes key);

/* Frees the one allocation, nothing that hangs on it. NULL is fine. */
void record_free(struct record *record);

/* The same record with another key, payload or deadline: the old one is freed. Marks and access
 * clock stay. */
struct record *record_with_payload(struct record *record, unsigned encoding, struct bytes payload);
struct record *record_with_deadline(struct record *record, bool has_deadline, int64_t deadline_ms);
struct record *record_with_key(struct record *record, struct bytes key);

/* Bytes that the allocator holds for the record alone. */
size_t record_memory_used(const struct record *record);

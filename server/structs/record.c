#include "server/structs/record.h"

#include "server/base/check.h"
#include "server/base/mem.h"

struct record *record_create(const struct record_spec *spec) {
    ASSERT(spec->payload.len <= RECORD_INLINE_MAX);
    bool is_long = spec->key.len > RECORD_SHORT_KEY_MAX;
    size_t head = sizeof(uint64_t) + (is_long ? 8u : 0u) + (spec->has_deadline ? 8u : 0u);
    struct record *record = mem_alloc(head + spec->key.len + spec->payload.len);
    uint64_t key_len = is_long ? RECORD_LONG_KEY : spec->key.len;
    record->header = (uint64_t)spec->type | ((uint64_t)spec->encoding << RECORD_ENCODING_SHIFT) |
                     ((uint64_t)spec->has_deadline << RECORD_DEADLINE_SHIFT) |
                     ((uint64_t)(spec->access & 0xffffffu) << RECORD_ACCESS_SHIFT) |
                     (key_len << RECORD_KEY_LEN_SHIFT) |
                     ((uint64_t)spec->payload.len << RECORD_PAYLOAD_LEN_SHIFT);
    uint8_t *at = (uint8_t *)record + sizeof(uint64_t);
    if (is_long) {
        uint64_t long_len = spec->key.len;
        memcpy(at, &long_len, 8);
        at += 8;
    }
    if (spec->has_deadline) {
        memcpy(at, &spec->deadline_ms, 8);
        at += 8;
    }
    if (spec->key.len > 0) memcpy(at, spec->key.data, spec->key.len);
    at += spec->key.len;
    if (spec->payload.data != NULL && spec->payload.len > 0)
        memcpy(at, spec->payload.data, spec->payload.len);
    return record;
}

struct record *record_create_pointer(const struct record_spec *spec, void *pointer) {
    struct record_spec with_pointer = *spec;
    with_pointer.payload = bytes_of(&pointer, sizeof(pointer));
    return record_create(&with_pointer);
}

struct record *record_create_bare(struct bytes key) {
    if (key.len > RECORD_BARE_KEY_MAX)
        return record_create(&(struct record_spec){.key = key, .payload = BYTES_LITERAL("")});
    // Headers are read as eight bytes, whatever they are.
    size_t size = key.len + 2 < sizeof(uint64_t) ? sizeof(uint64_t) : key.len + 2;
    struct record *record = mem_alloc(size);
    uint8_t *at = (uint8_t *)record;
    at[0] = RECORD_BARE;
    at[1] = (uint8_t)(key.len << 1); // Where others say whether they have a deadline, it is 0.
    if (key.len > 0) memcpy(at + 2, key.data, key.len);
    return record;
}

void record_free(struct record *record) {
    mem_free(record);
}

/* A new record from `spec` that keeps the old one's marks; the old one is freed. */
static struct record *rebuild(struct record *old, const struct record_spec *spec) {
    struct record *fresh = record_create(spec);
    record_set_marks(fresh, record_marks(old));
    mem_free(old);
    return fresh;
}

static struct record_spec spec_of(const struct record *record) {
    return (struct record_spec){
        .type = record_type(record),
        .encoding = record_encoding(record),
        .key = record_key(record),
        .payload = bytes_of(record_payload(record), record_payload_len(record)),
        .has_deadline = record_has_deadline(record),
        .deadline_ms = record_deadline_ms(record),
        .access = record_access(record),
    };
}

struct record *record_with_payload(struct record *record, unsigned encoding, struct bytes payload) {
    struct record_spec spec = spec_of(record);
    spec.encoding = encoding;
    spec.payload = payload;
    return rebuild(record, &spec);
}

struct record *record_with_deadline(struct record *record, bool has_deadline, int64_t deadline_ms) {
    if (has_deadline && record_has_deadline(record)) {
        memcpy((uint8_t *)record + (record_has_long_key(record) ? 16 : 8), &deadline_ms, 8);
        return record;
    }
    if (has_deadline == record_has_deadline(record)) return record;
    struct record_spec spec = spec_of(record);
    spec.has_deadline = has_deadline;
    spec.deadline_ms = deadline_ms;
    return rebuild(record, &spec);
}

struct record *record_with_key(struct record *record, struct bytes key) {
    struct record_spec spec = spec_of(record);
    spec.key = key;
    return rebuild(record, &spec);
}

size_t record_memory_used(const struct record *record) {
    return mem_usable_size(record);
}

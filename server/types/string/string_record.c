/* String records on their own, with no key space around them. */
#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/types/string/string_internal.h"

#define INTEGER_LEN_MAX 20u
static inline bool parse_integer(struct bytes value, int64_t *out) {
    if (value.len == 0 || value.len > INTEGER_LEN_MAX) return false;
    // Most values are no numbers, and their first byte says so.
    if (value.data[0] > '9') return false;
    return number_parse_i64(value, out);
}

/* -- reading ----------------------------------------------------------------------------------- */

struct bytes string_view(const struct record *record, char *scratch) {
    switch (record_encoding(record)) {
    case STRING_INT:
        return bytes_of(scratch, number_format_i64(record_integer(record), scratch));
    case STRING_BLOB:
        return blob_view(record_pointer(record));
    default:
        return bytes_of(record_payload(record), record_payload_len(record));
    }
}

size_t string_len(const struct record *record) {
    char scratch[NUMBER_TEXT_MAX];
    return string_view(record, scratch).len;
}

bool string_get_i64(const struct record *record, int64_t *out) {
    if (record_encoding(record) == STRING_INT) {
        *out = record_integer(record);
        return true;
    }
    char scratch[NUMBER_TEXT_MAX];
    return parse_integer(string_view(record, scratch), out);
}

size_t string_memory_used(const struct record *record) {
    return record_encoding(record) == STRING_BLOB ? mem_usable_size(record_pointer(record)) : 0;
}

/* -- records ----------------------------------------------------------------------------------- */

struct record *string_record_create_i64(struct bytes key, int64_t value, bool has_deadline,
                                        int64_t deadline_ms) {
    return record_create(&(struct record_spec){
        .type = RECORD_STRING,
        .encoding = STRING_INT,
        .key = key,
        .payload = bytes_of(&value, sizeof(value)),
        .has_deadline = has_deadline,
        .deadline_ms = deadline_ms,
    });
}

struct record *string_record_create_blob(struct bytes key, struct blob *blob, bool has_deadline,
                                         int64_t deadline_ms) {
    return record_create_pointer(
        &(struct record_spec){
            .type = RECORD_STRING,
            .encoding = STRING_BLOB,
            .key = key,
            .has_deadline = has_deadline,
            .deadline_ms = deadline_ms,
        },
        blob);
}

struct record *string_record_create_text(struct bytes key, struct bytes value, bool is_raw,
                                         bool has_deadline, int64_t deadline_ms) {
    if (value.len <= STRING_EMBEDDED_MAX) {
        return record_create(&(struct record_spec){
            .type = RECORD_STRING,
            .encoding = is_raw ? STRING_EMBEDDED_RAW : STRING_EMBEDDED,
            .key = key,
            .payload = value,
            .has_deadline = has_deadline,
            .deadline_ms = deadline_ms,
        });
    }
    struct blob *blob = blob_create(value.len);
    if (value.data != NULL) memcpy(blob->data, value.data, value.len);
    blob->len = value.len;
    return string_record_create_blob(key, blob, has_deadline, deadline_ms);
}

struct record *string_record_create(struct bytes key, struct bytes value, bool has_deadline,
                                    int64_t deadline_ms) {
    int64_t number;
    if (parse_integer(value, &number))
        return string_record_create_i64(key, number, has_deadline, deadline_ms);
    return string_record_create_text(key, value, false, has_deadline, deadline_ms);
}

uint8_t *string_bytes(struct record *record) {
    ASSERT(record_encoding(record) != STRING_INT);
    if (record_encoding(record) != STRING_BLOB) return record_payload(record);
    struct blob *blob = record_pointer(record);
    return blob->data;
}

void string_destroy(struct record *record) {
    if (record_encoding(record) == STRING_BLOB) blob_release(record_pointer(record));
}

/* -- changing records -------------------------------------------------------------------------- */

struct record *string_record_set_payload(struct record *record, unsigned encoding,
                                         struct bytes payload) {
    if (payload.len != record_payload_len(record)) {
        size_t head = record_key_offset(record) + record_key_len(record);
        if (mem_good_size(head + payload.len) != mem_usable_size(record))
            return record_with_payload(record, encoding, payload);
        record_set_payload_len(record, payload.len);
    }
    record_set_encoding(record, encoding);
    if (payload.len > 0) memcpy(record_payload(record), payload.data, payload.len);
    return record;
}

struct record *string_record_set_blob(struct record *record, struct blob *blob) {
    return string_record_set_payload(record, STRING_BLOB, bytes_of(&blob, sizeof(struct blob *)));
}

struct record *string_record_set_i64(struct record *record, int64_t value) {
    if (LIKELY(record_encoding(record) == STRING_INT)) {
        record_set_integer(record, value);
        return record;
    }
    string_destroy(record);
    return string_record_set_payload(record, STRING_INT, bytes_of(&value, sizeof(value)));
}

/* The value into the blob that is there. False when that would not fit, or waste its room. */
static bool overwrite_blob(const struct record *record, struct bytes value) {
    if (record_encoding(record) != STRING_BLOB) return false;
    struct blob *blob = record_pointer(record);
    if (blob_is_shared(blob) || value.len > blob->cap || value.len < blob->cap / 2) return false;
    memcpy(blob->data, value.data, value.len);
    blob->len = value.len;
    return true;
}

struct record *string_record_set(struct record *record, struct bytes value) {
    int64_t number;
    if (parse_integer(value, &number)) return string_record_set_i64(record, number);
    if (value.len <= STRING_EMBEDDED_MAX) {
        string_destroy(record);
        return string_record_set_payload(record, STRING_EMBEDDED, value);
    }
    if (overwrite_blob(record, value)) return record;
    string_destroy(record);
    return string_record_set_blob(record, blob_create_copy(value));
}

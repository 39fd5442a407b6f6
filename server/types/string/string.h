/* Strings: the value of SET and its like, and the form in which hash fields keep theirs.
 *
 * A string record holds its value in one of four encodings:
 *
 *     STRING_INT           8-byte integer, for canonical decimals
 *     STRING_EMBEDDED      the bytes themselves, behind the key
 *     STRING_EMBEDDED_RAW  the same; OBJECT ENCODING calls it raw, since it was changed in place
 *     STRING_BLOB          a pointer to a struct blob, for more than STRING_EMBEDDED_MAX bytes
 *
 * Other modules (bitmaps, HyperLogLog, SORT) read strings by string_view and change them by
 * string_make_writable; how a value is kept stays inside.
 */
#pragma once

#include "server/command/context.h"
#include "server/structs/blob.h"

#define STRING_EMBEDDED_MAX 1024u

enum string_encoding {
    STRING_INT = 0,
    STRING_EMBEDDED = 1,
    STRING_EMBEDDED_RAW = 2,
    STRING_BLOB = 3,
};

extern const struct data_type string_type;
extern const struct command string_commands[];

/* -- records, with no key space around them ---------------------------------------------------- */

/* The value as bytes: a view into the record or its blob, or of `scratch` (NUMBER_TEXT_MAX bytes)
 * for an integer. Good until the record changes. */
struct bytes string_view(const struct record *record, char *scratch);
size_t string_len(const struct record *record);

/* The value as an integer; false when it is not a canonical one. */
bool string_get_i64(const struct record *record, int64_t *out);

/* A new record with the encoding that suits the value. Never NULL; the caller owns it.
 * `deadline_ms` only counts with `has_deadline`. */
MUST_USE struct record *string_record_create(struct bytes key, struct bytes value,
                                             bool has_deadline, int64_t deadline_ms);

/* The same, never as an integer. With `is_raw` OBJECT ENCODING says raw whatever the length. A NULL
 * `value.data` leaves the bytes to the caller: see string_bytes. */
MUST_USE struct record *string_record_create_text(struct bytes key, struct bytes value, bool is_raw,
                                                  bool has_deadline, int64_t deadline_ms);
MUST_USE struct record *string_record_create_i64(struct bytes key, int64_t value, bool has_deadline,
                                                 int64_t deadline_ms);

/* The bytes of a value that is no integer, to write into; string_len of them. */
uint8_t *string_bytes(struct record *record);

/* Puts another value into a string record, reusing its memory when that fits. Key, deadline, marks
 * and access clock stay. Returns the record, which is another one when it had to move (the old one
 * is freed). */
MUST_USE struct record *string_record_set(struct record *record, struct bytes value);
MUST_USE struct record *string_record_set_i64(struct record *record, int64_t value);

/* Frees the blob, if there is one; not the record. */
void string_destroy(struct record *record);

/* Bytes held beyond the record. */
size_t string_memory_used(const struct record *record);

/* -- values of keys, for handlers -------------------------------------------------------------- */

void string_reply(struct reply *reply, const struct record *record);

/* Makes the value at `entry` (from context_find_typed_for_write; its record may be NULL: absent)
 * a text of at least `len` bytes that the caller may change until the next look-up. What is new is
 * zero. The length never shrinks. Answers an error and returns NULL when there is no memory. The
 * caller says context_changed. */
uint8_t *string_make_writable(struct command_context *context, const struct key *key,
                              struct table_entry *entry, size_t len);

/* False, with the error answered, when `len + extra` is longer than a string may be. */
bool string_check_len(struct command_context *context, size_t len, size_t extra);

/* Stores the value whatever was at `entry`; deadline_ms 0: without deadline. */
void string_store(struct command_context *context, const struct key *key, struct table_entry *entry,
                  struct bytes value, int64_t deadline_ms);

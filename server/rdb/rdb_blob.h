/* The blobs in which small collections lie in RDB files: listpack, intset, and the older ziplist
 * and zipmap, which are only read.
 *
 * A blob is checked to its last byte before anything is taken from it, and against what its type
 * demands: hashes and sorted sets have pairs, members and fields are unique, scores are numbers and
 * ascend. An entry is told as listpack_get does: text, or a number with `text.data` NULL.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "server/base/number.h"
#include "server/base/status.h"
#include "server/rdb/rdb_format.h"
#include "server/rdb/rdb_reader.h"
#include "server/structs/listpack.h"

enum rdb_blob_kind { RDB_BLOB_LISTPACK, RDB_BLOB_ZIPLIST, RDB_BLOB_ZIPMAP, RDB_BLOB_INTSET };

/* Owned; all-zero is none. `count` is the number of entries, fields and values counted apart. */
struct rdb_blob {
    uint8_t *data;
    size_t len;
    size_t count;
    enum rdb_blob_kind kind;
};

/* Where a walk stands; all-zero is the beginning. */
struct rdb_blob_cursor {
    size_t place;
    size_t index;
};

/* True when the bytes are a well-formed blob of that kind. `out_count` gets its entries. */
bool rdb_blob_is_valid(enum rdb_blob_kind kind, struct bytes bytes, size_t *out_count);

/* Reads the string that is the value of a key of type 9 .. 13, 16, 17, 20, or one node of type 14,
 * 18 (a packed one), 15, 19, 21, and checks it. Any other type asserts. A blob without entries is
 * STATUS_OK with `count` 0, except where the format forbids it (intset, zipmap). On failure there
 * is nothing to release. O(n log n) where entries must be unique. */
MUST_USE enum status rdb_read_blob(struct rdb_reader *reader, unsigned type, struct rdb_blob *out);

/* Reads a node of a stream of this type: the id from which its entries count, and its listpack,
 * which is not empty. On failure there is nothing to release. */
MUST_USE enum status rdb_read_stream_node(struct rdb_reader *reader, unsigned type,
                                          struct rdb_stream_id *out_master, struct rdb_blob *out);

void rdb_blob_deinit(struct rdb_blob *blob);

/* The entry at the cursor, which moves on; false at the end. A text is a view into the blob. */
bool rdb_blob_next(const struct rdb_blob *blob, struct rdb_blob_cursor *cursor,
                   struct listpack_value *out);

/* Gives the entries as a listpack (a listpack blob as it is) and empties the blob. STATUS_TOO_BIG
 * when no listpack can hold them; the blob then stays. */
MUST_USE enum status rdb_blob_detach_listpack(struct rdb_blob *blob, uint8_t **out_block);

/* The pairs of a hash of type 4, 9, 13 or 16, one after the other. Fields of type 4 come straight
 * from the reader and may repeat: whoever collects them refuses that (`Duplicate hash fields
 * detected`). Those of blobs are unique. */
struct rdb_pairs {
    struct rdb_reader *reader;
    uint64_t count; /* As the input claims it; of a blob it is true. */
    uint64_t left;
    struct rdb_blob blob; /* `data` is NULL for type 4. */
    struct rdb_blob_cursor cursor;
    struct buffer field;
    char field_text[NUMBER_TEXT_MAX];
    char value_text[NUMBER_TEXT_MAX];
};

/* On failure there is nothing to release. */
MUST_USE enum status rdb_pairs_init(struct rdb_pairs *pairs, struct rdb_reader *reader,
                                    unsigned type);
void rdb_pairs_deinit(struct rdb_pairs *pairs);

/* STATUS_NOT_FOUND after the last. The views end with the next call on `pairs` or its reader. */
MUST_USE enum status rdb_pairs_next(struct rdb_pairs *pairs, struct bytes *out_field,
                                    struct bytes *out_value);

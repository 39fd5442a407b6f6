/* A node of a stream as the RDB format has it: a listpack of
 *
 *     count deleted fields { name } 0 { flags ms-diff seq-diff [ fields { name value } | { value }
 * ] elements }
 *
 * with one entry for each that was added and not trimmed, deleted ones included. An entry's id is
 * that of its node plus the two differences.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rdb_stream_entry_flag { RDB_STREAM_ENTRY_DELETED = 1, RDB_STREAM_ENTRY_SAME_FIELDS = 2 };

struct rdb_stream_node {
    uint64_t living_count; /* At least 1. */
    uint64_t last_ms_diff; /* Of the last living entry, both modulo 2^64. */
    uint64_t last_seq_diff;
};

/* True when a valid listpack is such a node with a living entry; `out` is written then. O(n). */
bool rdb_stream_node_read(const uint8_t *block, struct rdb_stream_node *out);

/* Where a walk over the entries stands; all-zero is before the first. */
struct rdb_stream_cursor {
    bool has_begun;
    size_t next;  /* Place of the next entry. */
    size_t names; /* Of the node's fields. */
    uint64_t name_count;
};

/* An entry. Its values follow each other from `values` on and its names from `names` on; where they
 * are its own, name and value take turns, and `values` is not set. */
struct rdb_stream_entry {
    uint64_t ms_diff;
    uint64_t seq_diff;
    uint64_t field_count;
    size_t names;
    size_t values;
    bool has_own_names;
    bool is_deleted;
};

/* The next entry of a node that rdb_stream_node_read accepted, deleted ones included; false at the
 * end. */
bool rdb_stream_node_next(const uint8_t *block, struct rdb_stream_cursor *cursor,
                          struct rdb_stream_entry *out);

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
#include <stdint.h>

enum rdb_stream_entry_flag { RDB_STREAM_ENTRY_DELETED = 1, RDB_STREAM_ENTRY_SAME_FIELDS = 2 };

struct rdb_stream_node {
    uint64_t living_count; /* At least 1. */
    uint64_t last_ms_diff; /* Of the last living entry, both modulo 2^64. */
    uint64_t last_seq_diff;
};

/* True when a valid listpack is such a node with a living entry; `out` is written then. O(n). */
bool rdb_stream_node_read(const uint8_t *block, struct rdb_stream_node *out);

/* Checks the value of a key to its last byte, as deeply as loading it would, without keeping it.
 *
 * What is held at a time: one string or blob of the value, and a fingerprint of 16 bytes for each
 * of its members as far as they must be unique (fields, members, pending entries), up to
 * RDB_CHECK_UNIQUE_MAX of them. In a larger collection the members beyond that number are not
 * compared with the others.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/compiler.h"
#include "server/base/status.h"
#include "server/rdb/rdb_reader.h"

#define RDB_CHECK_UNIQUE_MAX ((uint64_t)1 << 21) /* 64 MB of fingerprints. */

struct rdb_value_facts {
    uint64_t element_count; /* Members, pairs, entries; 1 of a string and of a module's value. */
    bool is_empty;          /* No element, and the type demands one. Servers drop such a key. */
};

/* Reads the value of a key of this type (enum rdb_type), modules' included. A failure is in the
 * reader's `error`. O(n), O(n log n) for blobs of unique members. */
MUST_USE enum status rdb_check_value(struct rdb_reader *reader, unsigned type,
                                     struct rdb_value_facts *out);

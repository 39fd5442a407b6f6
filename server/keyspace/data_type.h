/* What a data type must say of itself so that everything else need not know it.
 *
 * A type is one folder under server/types/ that exports one `const struct data_type`. A `switch`
 * over types elsewhere is a missing member here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buffer.h"
#include "server/base/compiler.h"
#include "server/base/status.h"
#include "server/keyspace/memory_options.h"
#include "server/structs/record.h"

enum record_type {
    RECORD_STRING = 0,
    RECORD_LIST = 1,
    RECORD_SET = 2,
    RECORD_ZSET = 3,
    RECORD_HASH = 4,
    RECORD_STREAM = 6,
    RECORD_TYPE_COUNT = 16,
};

struct rdb_writer;
struct rdb_reader;

/* Where the saving of a value in steps stands: a type's own. All-zero: at the beginning. */
struct save_walk {
    uint32_t stage;
    uint32_t group;
    uint32_t item;
    uint64_t place[2];
};

/* Thresholds between encodings and the like: options that types ask for. Changed only while
 * everything is parked. */
struct data_type_options {
    uint64_t hash_max_listpack_entries;
    uint64_t hash_max_listpack_value;
    uint64_t set_max_intset_entries;
    uint64_t set_max_listpack_entries;
    uint64_t set_max_listpack_value;
    int64_t list_max_listpack_size; /* Elements of a leaf; -1 .. -5: 4 .. 64 KB instead. */
    uint64_t list_compress_depth;   /* Leaves at each end that are not compressed; 0: none is. */
    uint64_t zset_max_listpack_entries;
    uint64_t zset_max_listpack_value;
    uint64_t stream_node_max_entries; /* 0: no limit. */
    uint64_t stream_node_max_bytes;
    uint64_t hll_sparse_max_bytes;
    uint64_t proto_max_bulk_len; /* Longest string that APPEND or SETRANGE may make. */
    bool lazy_expire;            /* Free in the background what has expired, */
    bool lazy_server_del;        /* what another value replaces, */
    bool lazy_user_del;          /* what DEL deletes, */
    bool lazy_user_flush;        /* what FLUSHALL and FLUSHDB empty without being told how. */
    struct memory_options memory;
};

/* What a loader has at hand. */
struct data_type_load_context {
    const struct data_type_options *options;
    uint64_t hash_seed;
    bool is_deep_check; /* Check every element (untrusted payloads), not only the frame. */
};

/* A digest of 20 bytes that DEBUG DIGEST-VALUE shows, and how elements are mixed into it
 * (see keyspace/digest.h). */
struct digest {
    uint8_t bytes[20];
};

enum { DATA_TYPE_PREFETCH_STEPS = 3 };

struct data_type {
    const char *name; /* What TYPE answers. */
    enum record_type code;

    /* The name that OBJECT ENCODING answers. */
    const char *(*encoding_name)(const struct record *record);

    /* Frees what hangs on the record (not the record itself). */
    void (*destroy)(struct record *record);

    /* How many allocations destroy would free; over 64 it is done in the background. O(1). */
    size_t (*free_effort)(const struct record *record);

    /* An independent copy of the value under another key, without deadline. */
    struct record *(*copy)(const struct record *record, struct bytes key);

    /* Bytes held by the value beyond the record. `samples` 0: count everything. */
    size_t (*memory_used)(const struct record *record, size_t samples);

    /* Number of elements (1 for a string), for introspection. */
    uint64_t (*element_count)(const struct record *record);

    /* RDB: the type byte for the value as it is encoded, and the value behind it (spec/rdb.md 7).
     */
    uint8_t (*rdb_type)(const struct record *record);
    void (*save)(const struct record *record, struct rdb_writer *writer);

    /* The same in steps: writes the next elements, at least one and about `max_bytes` of them, and
     * moves the walk on. True when those were the last ones. The value may not change between
     * steps; its record may move. NULL: `save` is one step. */
    bool (*save_step)(const struct record *record, struct save_walk *walk,
                      struct rdb_writer *writer, size_t max_bytes);

    /* Another record with the same key, deadline and value, in O(1): a later change of the one does
     * not show in the other. NULL, or returns NULL: this value can't be shared. */
    struct record *(*share)(const struct record *record);

    /* True when this type loads RDB type byte `rdb_type`. */
    bool (*loads)(uint8_t rdb_type);

    /* Reads a value into a fresh record for `key`. STATUS_OK with *out_record NULL: an empty
     * collection, to be skipped. On another status nothing is left behind. */
    MUST_USE enum status (*load)(uint8_t rdb_type, struct rdb_reader *reader, struct bytes key,
                                 const struct data_type_load_context *context,
                                 struct record **out_record);

    /* Sends for what a command about `element` will look at: step 0 for what the record points to,
     * the next ones for what lies behind that. NULL: there is nothing to gain. The key's slot is
     * locked. */
    void (*prefetch)(const struct record *record, struct bytes element, unsigned step);

    /* Adds the value to the digest: its elements alone (keyspace/digest.h). */
    void (*digest)(const struct record *record, struct digest *digest);
};

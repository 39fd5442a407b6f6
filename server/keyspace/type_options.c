#include "server/keyspace/type_options.h"

#include "server/base/compiler.h"
#include "server/keyspace/data_type.h"

const struct option data_type_option_rows[] = {
    {
        .name = "hash-max-listpack-entries",
        .alias = "hash-max-ziplist-entries",
        .field = OPTION_UINT(struct data_type_options, hash_max_listpack_entries),
        .range = {.initial = 512, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "Fields up to which a hash is kept as one compact block.",
    },
    {
        .name = "hash-max-listpack-value",
        .alias = "hash-max-ziplist-value",
        .field = OPTION_MEMORY(struct data_type_options, hash_max_listpack_value),
        .range = {.initial = 64, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "Bytes of a field or value up to which its hash is kept as one compact block.",
    },
    {
        .name = "set-max-intset-entries",
        .field = OPTION_UINT(struct data_type_options, set_max_intset_entries),
        .range = {.initial = 512, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "Members up to which a set of integers is kept as a sorted array.",
    },
    {
        .name = "set-max-listpack-entries",
        .field = OPTION_UINT(struct data_type_options, set_max_listpack_entries),
        .range = {.initial = 128, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "Members up to which a set is kept as one compact block.",
    },
    {
        .name = "set-max-listpack-value",
        .field = OPTION_MEMORY(struct data_type_options, set_max_listpack_value),
        .range = {.initial = 64, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "Bytes of a member up to which its set is kept as one compact block.",
    },
    {
        .name = "list-max-listpack-size",
        .alias = "list-max-ziplist-size",
        .field = OPTION_INT(struct data_type_options, list_max_listpack_size),
        .range = {.initial = -2, .min = INT32_MIN, .max = INT32_MAX},
        .live = true,
        .doc = "Elements in a leaf of a list, or -1 to -5 for leaves of 4, 8, 16, 32 or 64 KB.",
    },
    {
        .name = "list-compress-depth",
        .field = OPTION_UINT(struct data_type_options, list_compress_depth),
        .range = {.initial = 0, .min = 0, .max = INT32_MAX},
        .live = true,
        .doc = "Leaves at each end of a list that stay uncompressed; 0 compresses none.",
    },
    {
        .name = "zset-max-listpack-entries",
        .alias = "zset-max-ziplist-entries",
        .field = OPTION_UINT(struct data_type_options, zset_max_listpack_entries),
        .range = {.initial = 128, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "Members up to which a sorted set is kept as one compact block.",
    },
    {
        .name = "zset-max-listpack-value",
        .alias = "zset-max-ziplist-value",
        .field = OPTION_MEMORY(struct data_type_options, zset_max_listpack_value),
        .range = {.initial = 64, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "Bytes of a member up to which its sorted set is kept as one compact block.",
    },
    {
        .name = "stream-node-max-entries",
        .field = OPTION_UINT(struct data_type_options, stream_node_max_entries),
        .range = {.initial = 100, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "Entries of a stream that lie together in a node; 0: as many as its bytes allow.",
    },
    {
        .name = "stream-node-max-bytes",
        .field = OPTION_MEMORY(struct data_type_options, stream_node_max_bytes),
        .range = {.initial = 4096, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "Bytes of a stream's node; 0: as many as its entries take.",
    },
    {
        .name = "hll-sparse-max-bytes",
        .field = OPTION_MEMORY(struct data_type_options, hll_sparse_max_bytes),
        .range = {.initial = 3000, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "Bytes up to which a HyperLogLog is kept in its sparse form.",
    },
    {
        .name = "proto-max-bulk-len",
        .field = OPTION_MEMORY(struct data_type_options, proto_max_bulk_len),
        .range = {.initial = 536870912, .min = 1048576, .max = INT64_MAX},
        .live = true,
        .doc = "Longest string that a client may send or that APPEND and SETRANGE may make.",
    },
};
const size_t data_type_option_count = ARRAY_COUNT(data_type_option_rows);

/* The numbers of the RDB format. */
#pragma once

#define RDB_VERSION_WRITTEN 10u       /* Of redis 7.0: what every server since then reads. */
#define RDB_VERSION_READABLE 12u      /* Of a file; 12 as long as only known types occur. */
#define RDB_VERSION_READABLE_DUMP 11u /* Of a DUMP payload. */
#define RDB_VERSION_READABLE_VALKEY 80u

#define RDB_HEADER_BYTES 9u

enum rdb_opcode {
    RDB_OPCODE_SLOT_IMPORT = 0xf3,
    RDB_OPCODE_SLOT_INFO = 0xf4,
    RDB_OPCODE_FUNCTION = 0xf5,
    RDB_OPCODE_FUNCTION_PRE_GA = 0xf6,
    RDB_OPCODE_MODULE_AUX = 0xf7,
    RDB_OPCODE_IDLE = 0xf8,
    RDB_OPCODE_FREQ = 0xf9,
    RDB_OPCODE_AUX = 0xfa,
    RDB_OPCODE_RESIZE_DB = 0xfb,
    RDB_OPCODE_EXPIRE_MS = 0xfc,
    RDB_OPCODE_EXPIRE_SECONDS = 0xfd,
    RDB_OPCODE_SELECT_DB = 0xfe,
    RDB_OPCODE_END = 0xff,
};

/* The type byte of a value: kind and encoding. */
enum rdb_type {
    RDB_TYPE_STRING = 0,
    RDB_TYPE_LIST = 1,
    RDB_TYPE_SET = 2,
    RDB_TYPE_ZSET_TEXT = 3,
    RDB_TYPE_HASH = 4,
    RDB_TYPE_ZSET = 5,
    RDB_TYPE_MODULE_PRE_GA = 6,
    RDB_TYPE_MODULE = 7,
    RDB_TYPE_HASH_ZIPMAP = 9,
    RDB_TYPE_LIST_ZIPLIST = 10,
    RDB_TYPE_SET_INTSET = 11,
    RDB_TYPE_ZSET_ZIPLIST = 12,
    RDB_TYPE_HASH_ZIPLIST = 13,
    RDB_TYPE_LIST_ZIPLISTS = 14,
    RDB_TYPE_STREAM_1 = 15,
    RDB_TYPE_HASH_LISTPACK = 16,
    RDB_TYPE_ZSET_LISTPACK = 17,
    RDB_TYPE_LIST_NODES = 18,
    RDB_TYPE_STREAM_2 = 19,
    RDB_TYPE_SET_LISTPACK = 20,
    RDB_TYPE_STREAM_3 = 21,
};

/* What the nodes of RDB_TYPE_LIST_NODES hold. */
enum rdb_list_node { RDB_LIST_NODE_PLAIN = 1, RDB_LIST_NODE_PACKED = 2 };

/* Walks an RDB file item by item.
 *
 *     rdb_reader_init(&reader, source);
 *     rdb_file_init(&file, &reader, &options);
 *     while ((status = rdb_file_next(&file, &item)) == STATUS_OK && item.kind != RDB_ITEM_END)
 *         if (item.kind == RDB_ITEM_KEY) … read or skip the value with the reader …
 *
 * After RDB_ITEM_KEY the reader stands at the value, which the caller must consume (a loader of the
 * type, or rdb_skip_value) before it asks for the next item. The header is read by the first call,
 * the checksum before RDB_ITEM_END is given. A failure is told by the reader's `error`, and `stage`
 * says what was being read.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "server/base/status.h"
#include "server/rdb/rdb_format.h"
#include "server/rdb/rdb_reader.h"

struct rdb_file_options {
    uint64_t database_count; /* A higher SELECTDB is STATUS_OUT_OF_RANGE; 0: any number. */
    bool is_checksum_ignored;
    bool is_skipping_modules; /* Gives modules' values and items instead of refusing the file. */
    bool checks_type_first;   /* Refuses an unknown type before the key's name is read. */
    bool leaves_names;        /* RDB_ITEM_KEY comes before the key's name, which is the caller's to
                               * consume, too. */
};

/* What the reading is at: name for people, meaning. */
#define RDB_STAGE_LIST(X)                                                                          \
    X(RDB_STAGE_START, "start")    /* The header. */                                               \
    X(RDB_STAGE_TYPE, "read-type") /* An opcode, LRU and LFU words. */                             \
    X(RDB_STAGE_EXPIRY, "read-expire")                                                             \
    X(RDB_STAGE_KEY, "read-key")                                                                   \
    X(RDB_STAGE_VALUE, "read-object-value") /* Since RDB_ITEM_KEY: the caller. */                  \
    X(RDB_STAGE_CHECKSUM, "check-sum")                                                             \
    X(RDB_STAGE_LENGTH, "read-len") /* Of SELECTDB and RESIZEDB. */                                \
    X(RDB_STAGE_AUX, "read-aux")                                                                   \
    X(RDB_STAGE_MODULE_AUX, "read-module-aux")                                                     \
    X(RDB_STAGE_FUNCTIONS, "read-functions")

enum rdb_stage {
#define RDB_STAGE_ENUM(name, text) name,
    RDB_STAGE_LIST(RDB_STAGE_ENUM)
#undef RDB_STAGE_ENUM
};

enum rdb_item_kind {
    RDB_ITEM_AUX,        /* name, value */
    RDB_ITEM_SELECT_DB,  /* db */
    RDB_ITEM_RESIZE_DB,  /* key_count, expiry_count: hints, don't allocate by them */
    RDB_ITEM_FUNCTION,   /* value: the library's source */
    RDB_ITEM_MODULE_AUX, /* name: the module; the next rdb_file_next skips its data */
    RDB_ITEM_KEY,        /* type, name, attributes */
    RDB_ITEM_END,        /* checksum */
};

enum rdb_checksum {
    RDB_CHECKSUM_VERIFIED,
    RDB_CHECKSUM_ABSENT,   /* A version below 5 has none. */
    RDB_CHECKSUM_DISABLED, /* Saved as 0. */
    RDB_CHECKSUM_IGNORED,
};

struct rdb_item {
    enum rdb_item_kind kind;
    unsigned type;     /* enum rdb_type; one that can be loaded, or RDB_TYPE_MODULE. */
    struct bytes name; /* Both views end with the next rdb_file_next. */
    struct bytes value;
    uint64_t db;
    uint64_t key_count;
    uint64_t expiry_count;
    int64_t expires_at_ms; /* This and what follows, but for `checksum`: of a key only. */
    uint64_t idle_seconds;
    bool has_expiry;
    bool has_idle;
    bool has_freq;
    bool is_name_left; /* The name comes next (leaves_names); those of modules have been read. */
    uint8_t freq;
    enum rdb_checksum checksum;
};

/* Create with rdb_file_init. For others to read: `version`, `stage`, `key_type` (of the key whose
 * type byte has been read last), and the two checksums after STATUS_BAD_CHECKSUM. */
struct rdb_file {
    struct rdb_reader *reader;
    struct rdb_file_options options;
    struct buffer name;
    struct buffer value;
    struct rdb_item attributes; /* Of the next key, whatever items stand before it. */
    bool is_open;
    bool has_module_data; /* The reader stands at it. */
    enum rdb_stage stage;
    unsigned key_type;
    unsigned version;
    uint64_t stored_checksum;
    uint64_t computed_checksum;
};

/* The reader stays the caller's. */
void rdb_file_init(struct rdb_file *file, struct rdb_reader *reader,
                   const struct rdb_file_options *options);
void rdb_file_deinit(struct rdb_file *file);

/* As in "read-type". */
const char *rdb_stage_name(enum rdb_stage stage);

/* Reads on to the next item. */
MUST_USE enum status rdb_file_next(struct rdb_file *file, struct rdb_item *out);

/* Checks an RDB file, or the RDB part at the head of an append-only file, to its last byte, and
 * counts what is in it.
 *
 * Memory is bounded: the file is read once, in pieces, and of its keys only the largest few of each
 * type are remembered (server/rdb/rdb_check.h says what checking a value takes). So a key that
 * comes twice in one database is not found.
 *
 * The output is that of redis-check-rdb 7.0.15, line by line; a summary and a JSON form go beyond
 * it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "server/base/buffer.h"
#include "server/base/compiler.h"
#include "server/rdb/rdb_file.h"
#include "server/rdb/rdb_reader.h"

#define CHECK_RDB_BIGGEST_MAX 5u      /* Keys that are remembered of each type. */
#define CHECK_RDB_AUX_MAX 64u         /* AUX fields that are remembered. */
#define CHECK_RDB_DATABASES_MAX 1024u /* Databases that are counted each for itself. */

enum check_rdb_type {
    CHECK_RDB_STRING,
    CHECK_RDB_LIST,
    CHECK_RDB_SET,
    CHECK_RDB_ZSET,
    CHECK_RDB_HASH,
    CHECK_RDB_STREAM,
    CHECK_RDB_MODULE,
    CHECK_RDB_TYPE_COUNT,
};

struct check_rdb_key {
    struct buffer name; /* Made readable, and cut when it is long. */
    uint64_t db;
    uint64_t bytes; /* In the file: attributes, name and value. */
    uint64_t elements;
};

struct check_rdb_type_summary {
    uint64_t keys;
    uint64_t bytes;
    uint64_t elements;
    unsigned biggest_count;
    struct check_rdb_key biggest[CHECK_RDB_BIGGEST_MAX]; /* Most bytes first. */
};

struct check_rdb_aux {
    struct buffer name;
    struct buffer value;
};

struct check_rdb_database {
    uint64_t db;
    uint64_t keys;
    uint64_t expires;
};

struct check_rdb_error {
    bool is_set;
    bool has_key;
    bool has_type;
    bool is_empty_collection; /* `text` is what the reference says of one. */
    uint64_t offset;
    unsigned type;     /* enum rdb_type */
    const char *doing; /* As in "read-type". */
    struct buffer key; /* Made readable. */
    struct buffer text;
};

/* What is known of a file. All-zero is empty; release with check_rdb_report_deinit. */
struct check_rdb_report {
    unsigned version;
    uint64_t end_offset; /* Bytes consumed: what follows an RDB preamble begins there. */
    enum rdb_checksum checksum;
    uint64_t keys;
    uint64_t expires;
    uint64_t already_expired;
    uint64_t functions;
    uint64_t module_aux;
    unsigned aux_count;
    unsigned database_count;
    struct check_rdb_aux aux[CHECK_RDB_AUX_MAX];
    struct check_rdb_database *databases;
    struct check_rdb_type_summary types[CHECK_RDB_TYPE_COUNT];
    struct check_rdb_error error;
};

struct check_rdb_input {
    struct rdb_source source;
    const char *name; /* Of the file, for the output. */
    FILE *out;        /* Lines go there as the check proceeds; NULL: none are written. */
    int64_t now_ms;   /* Unix time: which keys have expired. */
};

/* Checks what the source gives, up to the end of the RDB part. Returns true when it is good. The
 * report, which was all-zero, has what was found up to the damage. */
bool check_rdb(const struct check_rdb_input *input, struct check_rdb_report *report);

/* The same, from the current position of a descriptor, which stays the caller's and is read beyond
 * the end of the RDB part; the wall clock says what has expired. Offsets count from that position.
 */
bool check_rdb_descriptor(int fd, const char *name, FILE *out, struct check_rdb_report *report);

void check_rdb_report_deinit(struct check_rdb_report *report);

/* The type's name among servers ("zset"). */
const char *check_rdb_type_name(enum check_rdb_type type);

/* The name of an encoding in messages of the reference ("zset-listpack"). */
const char *check_rdb_encoding_name(unsigned rdb_type);

/* Writes for each type how many keys, bytes and elements there are, and the biggest keys. */
void check_rdb_print_summary(const struct check_rdb_report *report, FILE *out);

/* Writes the whole report as one JSON object on one line. */
void check_rdb_print_json(const struct check_rdb_report *report, const char *name, FILE *out);

/* The program dunlin-check-rdb: checks the file that the arguments name. Returns the exit status.
 * Its own name is taken from argv[0]. */
int check_rdb_main(int argc, char **argv);

/* True when a program that is called by this path is to be the checker: dunlin-, redis- or
 * valkey-check-rdb, in any folder. */
bool check_rdb_is_called_so(const char *path);

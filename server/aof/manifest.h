/* The manifest of a multi-part append-only log: which files make up the log, and in what order.
 *
 * A log has at most one base (the data set at some moment) and increments (what was done since).
 * Files that a rewrite has made superfluous are history until they are deleted. On disk it is a
 * line for each file:
 *
 *     file appendonly.aof.2.base.rdb seq 2 type b
 *     file appendonly.aof.1.incr.aof seq 1 type h
 *     file appendonly.aof.2.incr.aof seq 2 type i
 *
 * This is the value only: reading, writing and the steps of a rewrite, without a file system. A
 * rewrite works on a copy, makes the copy durable and then lets it take the place of the first.
 *
 * An all-zero struct is an empty manifest. Names are without folder and owned by the manifest.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "server/base/status.h"

/* A line of a manifest may have this many bytes, its newline included. */
#define AOF_MANIFEST_LINE_MAX_BYTES 1024u

/* With every byte escaped, its name and number still fit a line. */
#define AOF_PREFIX_MAX_BYTES 200u

/* Far enough from the end that counting on never overflows. */
#define AOF_SEQUENCE_MAX ((uint64_t)1 << 62)

struct aof_file {
    char *name; /* NULL: no such file. */
    uint64_t sequence;
};

struct aof_file_list {
    struct aof_file *items;
    size_t count;
    size_t cap;
};

struct aof_manifest {
    struct aof_file base;
    struct aof_file_list history;    /* The latest first. */
    struct aof_file_list increments; /* In the order in which they are loaded. */
    uint64_t base_sequence;          /* Of the latest base and increment, 0 before the first. */
    uint64_t increment_sequence;
};

/* Why a manifest cannot be read. */
struct aof_manifest_error {
    const char *reason; /* The text that administrators know, static. */
    unsigned line;      /* From 1; 0 when no line is concerned. */
    struct bytes text;  /* That line, without blanks around it: a slice of what was parsed. */
};

enum aof_base_format { AOF_BASE_COMMANDS, AOF_BASE_RDB };

void aof_manifest_deinit(struct aof_manifest *manifest); /* The manifest is empty again. */
struct aof_manifest aof_manifest_copy(const struct aof_manifest *manifest);

/* Reads a whole manifest file into an empty manifest.
 *
 * Lines that begin with '#' are skipped. The others are pairs of a key and a value, cut like lines
 * of the configuration; `file`, `seq` and `type` must be there, in any order and case, and keys
 * that are not known are skipped. A sequence number is decimal, 1 .. AOF_SEQUENCE_MAX; a name is
 * one that a folder can hold.
 *
 * Returns  STATUS_OK, or STATUS_BAD_FORMAT with `out_error` set; `out_manifest` is then empty.
 * Cost     linear in the text.
 */
MUST_USE enum status aof_manifest_parse(struct bytes text, struct aof_manifest *out_manifest,
                                        struct aof_manifest_error *out_error);

/* Appends the manifest as a file holds it: base, history, increments; an empty one is a comment.
 * aof_manifest_parse reads it back as the same value. */
void aof_manifest_encode(const struct aof_manifest *manifest, struct buffer *out);

/* Appends the report of an error: a heading, the line concerned, if any, and the reason. */
void aof_manifest_error_format(const struct aof_manifest_error *error, struct buffer *out);

/* No base and no increments: there is nothing to load. */
bool aof_manifest_is_empty(const struct aof_manifest *manifest);

/* The name that the next increment will get: `prefix` (the option appendfilename, at most
 * AOF_PREFIX_MAX_BYTES), number and suffix. The caller frees it with mem_free. */
char *aof_manifest_next_increment_name(const struct aof_manifest *manifest, const char *prefix);
char *aof_manifest_next_base_name(const struct aof_manifest *manifest, const char *prefix,
                                  enum aof_base_format format);

/* Adds the next increment at the end and returns its name, which is the manifest's. */
const char *aof_manifest_add_increment(struct aof_manifest *manifest, const char *prefix);

/* Puts the next base in place of the present one and returns its name, which is the manifest's. The
 * present base and all increments but the last, which goes on being written, become history. */
const char *aof_manifest_begin_base(struct aof_manifest *manifest, const char *prefix,
                                    enum aof_base_format format);

/* Makes a file that was a log of its own, before there were manifests, the base of an empty
 * manifest: number 1 under its old name. */
void aof_manifest_adopt_base(struct aof_manifest *manifest, const char *name);

void aof_manifest_drop_history(struct aof_manifest *manifest);

/* What the parts of dunlin-check-aof share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tools/check/aof_scan.h"
#include "tools/check/check_aof.h"

struct json_object;

struct check_aof_options {
    const char *path;
    bool is_fixing;
    bool is_sure; /* Fix without a question. */
    bool has_json;
    bool has_time_limit; /* Cut off what is later. */
    int64_t time_limit;
};

/* One run of the tool. */
struct check_aof {
    struct check_aof_options options;
    const struct check_aof_io *io;
    FILE *out;                 /* Where texts go: with --json they are collected. */
    uint64_t line_count;       /* Of the files so far, as the reference counts on. */
    struct json_object *files; /* With --json: an object for each file so far. */
    uint64_t command_count;    /* The sums of the files so far, */
    uint64_t transaction_count;
    uint64_t timestamp_count;
    uint64_t valid_bytes; /* and how far the last of them is valid. */
};

enum aof_role { AOF_ROLE_BASE, AOF_ROLE_INCREMENT, AOF_ROLE_ALONE };

struct aof_part {
    const char *path;
    const char *name; /* What reports call it. */
    enum aof_role role;
    bool has_rdb;       /* It begins with a snapshot. */
    bool is_last;       /* No file follows it, so it may be cut at a time, */
    bool may_lose_tail; /* and where no bytes follow, what is damaged at its end. */
};

enum aof_part_result { AOF_PART_VALID, AOF_PART_EMPTY, AOF_PART_CUT, AOF_PART_FAILED };

struct aof_part_report {
    uint64_t size;      /* Before anything was cut off. */
    uint64_t rdb_bytes; /* Of the snapshot that it begins with. */
    uint64_t valid_bytes;
    struct aof_scan scan;
};

/* Checks one file, reports on it, and cuts it if that is asked for. */
enum aof_part_result check_aof_part(struct check_aof *check, const struct aof_part *part);

/* Appends what `part` turned out to be to check->files. */
void check_aof_json_add(struct check_aof *check, const struct aof_part *part,
                        const struct aof_part_report *report, enum aof_part_result result);

/* Prints the object of a whole run; `messages` is the text of the reports. Takes check->files. */
void check_aof_json_print(struct check_aof *check, const char *messages, bool is_ok);

/* Reads one file of an append-only log from end to end and says how far it is sound. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/aof/aof_reader.h"
#include "server/base/compiler.h"
#include "server/base/status.h"

struct aof_scan_options {
    uint64_t start_offset; /* Where the commands begin: behind a snapshot, if there is one. */
    bool has_time_limit;   /* Look for the first annotation with a later time than the limit, */
    int64_t time_limit;    /* a Unix time in seconds, and stop there. */
};

enum aof_scan_end {
    AOF_SCAN_JUDGED,        /* `verdict` is set. */
    AOF_SCAN_LATER,         /* `cut_offset` is set. */
    AOF_SCAN_BAD_TIMESTAMP, /* With a time limit only: an annotation that should be a time. */
};

struct aof_scan {
    enum aof_scan_end end;
    struct aof_verdict verdict;
    uint64_t cut_offset; /* What precedes it is complete and not later than the limit. */
    uint64_t command_count;
    uint64_t transaction_count; /* Complete ones. */
    uint64_t timestamp_count;
    int64_t first_timestamp;
    int64_t last_timestamp;
};

/* Reads the file from its start offset on, in bounded memory. STATUS_IO_ERROR: errno says why. */
MUST_USE enum status aof_scan_run(int file, const struct aof_scan_options *options,
                                  struct aof_scan *out);

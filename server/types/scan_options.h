/* What HSCAN, SSCAN and ZSCAN have in common: cursor, MATCH and COUNT. */
#pragma once

#include "server/command/context.h"

struct scan_options {
    uint64_t place;       /* Where in the order of hashes to go on; 0: the beginning. */
    uint64_t count;       /* About so many elements; at least 1. */
    struct bytes pattern; /* Without data: everything. */
};

/* Reads `COMMAND key cursor [MATCH pattern] [COUNT n]` and finds the collection in the order in
 * which its errors are told: cursor, type, options. Returns its record; NULL after an error, or,
 * when the key is absent, an empty scan was answered. */
const struct record *scan_begin(struct command_context *context, enum record_type type,
                                struct scan_options *out);

bool scan_matches(const struct scan_options *options, struct bytes element);

/* Calls `visit` for the records of the table from options->place on until about `count` were seen,
 * and returns where to go on, 0 at the end. Work is bounded by 10 buckets for each element of
 * `count`, however empty the table. */
uint64_t scan_table(const struct scan_options *options, const struct table *table,
                    const struct table_hasher *hasher,
                    void (*visit)(void *arg, struct record *record), void *arg);

/* Begins the reply: an array of the cursor that stands for `place` and of elements that follow. */
void scan_reply_cursor(struct command_context *context, uint64_t place);

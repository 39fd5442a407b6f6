/* dunlin-check-aof: looks for damage in an append-only log and cuts it off on request.
 *
 *     dunlin-check-aof [--json] [--yes] [--fix|--truncate-to-timestamp T] FILE
 *
 * FILE is the manifest of a log, or one file of commands, which may begin with a snapshot. What is
 * checked is the form: the snapshot's checksum, the commands' lengths and line ends, MULTI and
 * EXEC; not whether a server knows the commands.
 *
 * The texts and the statuses are those of redis-check-aof 7.0.15. Beyond it: --json prints one
 * object instead (the texts are its "messages"), --yes fixes without a question, and a file is
 * opened for writing only if it may be changed. It is stricter in what a server would stumble over
 * at its next start: commands without arguments, blanks and signs in numbers, a torn annotation.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* What the tool is connected to. */
struct check_aof_io {
    FILE *in; /* Answers to questions. */
    FILE *out;
    /* Checks the snapshot that `path` begins with and reports to `out`, calling the file `name`.
     * False: not sound. `out_bytes`: its length. */
    bool (*check_rdb)(FILE *out, const char *path, const char *name, uint64_t *out_bytes);
};

/* Runs the tool with a command line as main gets it. Returns the exit status: 0 when all is valid
 * or has been cut to what is valid, 1 otherwise. */
int check_aof_main(int argc, char **argv, const struct check_aof_io *io);

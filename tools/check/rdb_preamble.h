/* The snapshot at the beginning of a file of a log: whether it is sound, and where it ends. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Walks the snapshot without looking into values, and reports to `out` as the checker of dump files
 * does, calling the file `name`. False: it is damaged, or `path` cannot be read. `out_bytes` is its
 * length, checksum included. */
bool rdb_preamble_check(FILE *out, const char *path, const char *name, uint64_t *out_bytes);

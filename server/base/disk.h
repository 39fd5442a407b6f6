/* The way to files that must outlast the process: dumps, logs, manifests, temporary files.
 *
 * Each function is the system call that its name says, with two differences: a write writes all of
 * its bytes, and a fault that was ordered (disk_fault.h) happens here. On failure errno says why.
 * Any thread; each call may wait for the disk.
 */
#pragma once

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"

/* Opens a file in `folder` (AT_FDCWD: the working folder), closed on exec, made with mode 0644.
 * `flags` are open's. -1 on failure. */
MUST_USE int disk_open(int folder, const char *name, int flags);

/* Writes all the bytes at the file's place. `out_done` (may be NULL) is how many got there, on
 * failure too. A disk that takes nothing and does not say why is full: ENOSPC. */
MUST_USE bool disk_write(int file, struct bytes bytes, size_t *out_done);

MUST_USE bool disk_truncate(int file, uint64_t len);

/* What was written is on the disk; disk_sync_data leaves out times and the like. After a failure
 * nobody knows what is, and a later success does not tell. */
MUST_USE bool disk_sync(int file);
MUST_USE bool disk_sync_data(int file);

/* The names in an open folder, or in the one that holds `path`, are on the disk. */
MUST_USE bool disk_sync_folder(int folder);
MUST_USE bool disk_sync_folder_of(const char *path);

MUST_USE bool disk_rename(int from_folder, const char *from, int to_folder, const char *to);

/* Also for cleaning up, where a failure leaves a file that nobody reads: errno is kept then. */
bool disk_remove(int folder, const char *name);
void disk_clean_up(int folder, const char *name);

/* Faults of the disk, and ends of the process around its operations, on order: how tests reach the
 * moments that a crash or a full disk picks once in a million times.
 *
 * One order is in force at a time. It is four words:
 *
 *     WHAT OPERATION NTH PATTERN       "kill-after rename 2 *.manifest"
 *
 *   WHAT       kill-before, kill-amid, kill-after: the process kills itself (SIGKILL) before the
 *              operation, after it, or, of a write, when half of the bytes are written;
 *              power-off-before, power-off-after: the same, and what was written since the order
 *              and not made durable by a sync is lost (names are not); an order of this kind that
 *              follows another keeps what that one knew;
 *              EIO, ENOSPC, EROFS, EDQUOT, EMFILE, EACCES: the operation fails so, and all that
 *              match after it, until the order is withdrawn. A write that fails with ENOSPC has
 *              written half, as on a disk that fills.
 *   OPERATION  open (for writing), write, truncate, sync (both kinds), sync-folder, rename, remove,
 *              any
 *   NTH        the first that it happens to, 1 ..: only operations that match are counted
 *   PATTERN    a glob for the file's name, without its folder; of a rename the new one
 *
 * Without an order each operation of disk.h looks at one word. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "server/base/status.h"

enum disk_operation {
    DISK_OPEN,
    DISK_WRITE,
    DISK_TRUNCATE,
    DISK_SYNC,
    DISK_SYNC_FOLDER,
    DISK_RENAME,
    DISK_REMOVE,
    DISK_OPERATION_COUNT, /* Any of them. */
};

/* Puts an order in force and begins to count; "off" withdraws the one there is. STATUS_BAD_FORMAT:
 * it is none, and what was in force stays. */
MUST_USE enum status disk_fault_order(struct bytes text);

/* How many operations have matched the order in force, or the last one. */
uint64_t disk_fault_count(void);

/* -- for disk.c -- */

extern _Atomic bool disk_fault_is_ordered;

/* What is to happen to an operation: nothing, an error instead of it, or an end. */
struct disk_fault {
    int error;        /* errno; 0: none. */
    bool kills_after; /* disk_fault_kill is to be called when it is done, */
    bool kills_amid;  /* or half done. */
    bool is_tracked;  /* disk_fault_note is to be called after it; others wait until then. */
};

/* Counts the operation, and kills the process if it is to end before it. With `name` NULL the
 * file's own is looked up; an operation without a file of its own has -1. */
struct disk_fault disk_fault_of(enum disk_operation operation, int file, const char *name);
void disk_fault_note(enum disk_operation operation, int file, bool is_done);
NORETURN void disk_fault_kill(void);

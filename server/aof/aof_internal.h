/* What the files of this folder share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "server/aof/aof.h"
#include "server/aof/manifest.h"
#include "server/journal/journal.h"
#include "server/net/network.h"
#include "server/rdb/rdb_writer.h"
#include "server/snapshot/snapshot.h"

enum {
    RETIRED_MAX = 16, /* Files that are to be fsynced and closed; a rewrite retires one. */
    NAME_MAX_BYTES = 512,
    REWRITE_FAILURES_FREE = 3, /* After so many in a row automatic ones are put off. */
    REWRITE_DELAY_MAX_MIN = 60,
};

enum aof_state { AOF_OFF, AOF_WAITING, AOF_ON };

struct aof_rewrite;

struct aof {
    struct aof_create_options made_of;
    struct aof_options *options;
    struct journal *journal;
    struct dispatcher *dispatcher;
    struct network *network;

    /* Changed while everything is parked, or before the workers start. */
    _Atomic int state; /* enum aof_state */
    _Atomic int sync;  /* enum aof_sync, in force. */
    bool has_stamps;

    /* The files. The folder is held open: `dir` may change, the log stays where it is. */
    pthread_mutex_t manifest_lock; /* Nobody who has it asks for an exclusive section. */
    struct aof_manifest manifest;
    bool has_manifest; /* Was read, or made. */
    int folder;        /* -1: not opened yet. */

    pthread_mutex_t sync_lock; /* One fsync at a time; before file_lock. */
    pthread_mutex_t gate_lock; /* The gate and the policy change together. */

    /* Appending. Under file_lock, which is held during a write but never during an fsync. */
    pthread_mutex_t file_lock;
    int file; /* The increment; -1: none. */
    uint64_t file_bytes;
    struct buffer pending;           /* Taken from the journal, not written. */
    struct journal_mark pending_end; /* Behind it. */
    int retired[RETIRED_MAX];
    uint32_t retired_count;
    uint64_t complained_ms; /* When a failed write was logged last. */
    char error_text[256];
    _Atomic bool has_write_error;
    _Atomic bool has_sync_error;

    _Atomic uint64_t written; /* Log positions. */
    _Atomic uint64_t synced;
    _Atomic uint64_t written_offset; /* Replication offsets: what came up to there is written, */
    _Atomic uint64_t synced_offset;  /* and is on the disk. */
    _Atomic uint64_t requested;      /* With always: the thread was told of so much. */
    _Atomic uint64_t sync_began_ms;  /* Of the fsync that runs; 0: none. */
    _Atomic uint64_t delayed_count;

    /* The thread that fsyncs; made when the log is first opened. */
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t wake_lock;
    pthread_cond_t wake;
    bool is_woken;
    bool is_ending;

    /* Rewriting. The fields up to the figures change while everything is parked. */
    struct aof_rewrite *rewrite; /* The one that runs. */
    _Atomic bool is_scheduled;
    _Atomic bool is_rewriting; /* `rewrite` is there; for those who look from outside. */
    _Atomic uint32_t failures; /* In a row. */
    _Atomic uint64_t not_before_ms;
    _Atomic uint64_t rewrite_began_ms;
    _Atomic int64_t last_seconds; /* -1: none yet. */
    _Atomic uint64_t rewrites;
    _Atomic bool last_failed;
    _Atomic uint64_t current_bytes; /* Base and increments. */
    _Atomic uint64_t base_bytes;    /* After the last rewrite. */
};

/* -- aof_files.c: the folder and its manifest -- */

/* Opens the folder; with `makes` it is made if need be. Errors are logged and leave errno. */
enum status aof_folder_open(struct aof *aof, bool makes);
/* Closes the folder and forgets its manifest: what comes next is found where `dir` is by then.
 * Everything parked, no rewrite runs, and the log is not on. */
void aof_folder_forget(struct aof *aof);
/* Reads the manifest, if there is one. */
enum status aof_manifest_load(struct aof *aof);
/* Moves an old single file into the folder, as the base, if the manifest lists nothing else. */
enum status aof_adopt_old_file(struct aof *aof);
/* Makes sure that there is a manifest, if only one that lists nothing: numbered files without one
 * are taken for a log that has lost it. Before the first such file gets its name. manifest_lock is
 * held, or nobody else runs. */
enum status aof_manifest_begin(struct aof *aof);
/* Makes the manifest durable and puts it in place of the one that was. It is taken only on success.
 * manifest_lock is held, or nobody else runs. */
enum status aof_manifest_replace(struct aof *aof, struct aof_manifest *fresh);
/* Deletes the history's files and lists them no longer. manifest_lock is held. */
void aof_drop_history(struct aof *aof);
enum status aof_file_open(struct aof *aof, const char *name, bool truncates, int *out_file);
enum status aof_file_bytes(struct aof *aof, const char *name, uint64_t *out_bytes);
enum status aof_folder_sync(struct aof *aof);

/* -- aof_conversion.c: from the RDB that a pass writes to a base of commands -- */

struct aof_conversion;

/* With `has_stamp` the commands begin with an annotation of the time. */
struct aof_conversion *aof_conversion_create(struct rdb_sink sink, bool has_stamp);
void aof_conversion_destroy(struct aof_conversion *conversion); /* NULL is fine. */

/* The pass's side: gives the next piece, and waits while the conversion is behind. Anything but
 * STATUS_OK: it has failed and needs no more. */
enum status aof_conversion_push(struct aof_conversion *conversion, struct bytes bytes);
/* Nothing more comes: all was given, or `status` says why not. */
void aof_conversion_end(struct aof_conversion *conversion, enum status status);

/* Converts, on the caller's thread, until the end has come. A failure is logged. */
enum status aof_conversion_run(struct aof_conversion *conversion);

/* -- aof_append.c -- */

/* Writes what has gathered. False: it could not. With `always` that ends the process. */
bool aof_write_out(struct aof *aof);
/* Writes, then fsyncs on the caller's thread. */
void aof_sync_now(struct aof *aof);
/* Goes on in another file (taken; -1: none), of that length; the old one is fsynced and closed in
 * the background. Everything parked, or before the workers start. */
void aof_switch_file(struct aof *aof, int file, uint64_t bytes);
/* Makes the policy of the options the one in force. Everything parked. */
void aof_apply_sync(struct aof *aof);
void aof_start_thread(struct aof *aof);
void aof_end_thread(struct aof *aof);
void aof_before_replies(void *aof); /* Each worker, at the end of its turn. */

/* -- aof_rewrite.c -- */

/* Begins to rewrite. Everything parked; from a thread of its own where files must be listed before.
 * False: one is running. */
bool aof_rewrite_start(struct aof *aof);
/* Begins the first base of a log that was switched on. Everything parked. False: logged. */
bool aof_rewrite_start_first(struct aof *aof);
/* Gives up the running one. Everything parked. */
void aof_rewrite_cancel(struct aof *aof);
void aof_rewrite_wait(struct aof *aof); /* No worker runs any more. */

/* The append-only file: every change on the disk, in the order of the journal.
 *
 * The journal gathers the log's bytes under its lock, while the slots that changed are locked. They
 * are written to the present *increment* before anybody is told of them: by the first worker at the
 * end of its turn, for all; with appendfsync always by the thread of this module, which writes and
 * fsyncs in a loop and moves the network's gate, so that replies wait for the disk and workers
 * don't. With everysec the thread fsyncs once a second.
 *
 * A *rewrite* makes the files short again: a snapshot pass writes a new *base*, and what is done
 * since its beginning goes to a new increment. The manifest (manifest.h) says which files count.
 *
 * Words: *waiting* - the log was switched on and its first base is not complete; what is done
 * meanwhile goes to an increment that no manifest names yet, and a crash leaves what was before.
 *
 * Threads: states change while everything is parked, or before the workers start. Figures are
 * atomics.
 *
 * Source: spec/aof.md.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/buffer.h"
#include "server/base/turn.h"
#include "server/command/dispatch.h"
#include "server/config/config.h"
#include "server/config/option.h"

struct aof;

enum aof_sync { AOF_SYNC_NO, AOF_SYNC_EVERY_SECOND, AOF_SYNC_ALWAYS };

struct aof_options {
    bool is_on;        /* appendonly */
    char *file_prefix; /* appendfilename */
    char *folder;      /* appenddirname */
    int sync;          /* appendfsync: enum aof_sync */
    bool pauses_sync;  /* no-appendfsync-on-rewrite */
    bool loads_truncated;
    bool has_rdb_base; /* aof-use-rdb-preamble; else bases are commands. */
    bool has_timestamps;
    bool syncs_rewrite_in_pieces; /* aof-rewrite-incremental-fsync */
    bool keeps_history;           /* aof-disable-auto-gc */
    uint64_t rewrite_percentage;  /* Growth that begins a rewrite; 0 never. */
    uint64_t rewrite_min_bytes;
};
extern const struct option aof_option_rows[];
extern const uint32_t aof_option_count;
config_apply aof_apply_options; /* Context: the address of the module's pointer. */

extern const struct command aof_commands[]; /* BGREWRITEAOF */

struct aof_create_options {
    struct aof_options *options;
    struct command_modules *modules;
    struct databases *databases;
    struct exclusive *exclusive;
    /* More is on the disk than before (WAITAOF). On whatever thread fsyncs; may be NULL. */
    void (*synced)(void *state);
    void *synced_state;
};

/* Before the network starts: it hooks itself into the network's turns. */
struct aof *aof_create(const struct aof_create_options *options);

/* No worker runs any more: writes and fsyncs what is left. NULL is fine. */
void aof_destroy(struct aof *aof);

/* -- start and end -- */

/* Loads what the manifest names into the databases, which are empty, through `worker`, with
 * everything parked or before the workers start. False: the log says why, and the process is to
 * end. */
bool aof_load(struct aof *aof, struct dispatch_worker *worker);

/* Opens the last increment for appending, making what is not there yet. False: as above. */
bool aof_start(struct aof *aof);

/* DEBUG LOADAOF: empties the databases and loads again; everything parked. False: as aof_load; with
 * a log that is on the data is gone. */
bool aof_reload(struct aof *aof, struct dispatch_worker *worker);

/* The process is about to end; everything parked. Writes and fsyncs. False: a first base is being
 * written, and unless `is_forced` the end would lose what was done since. */
bool aof_prepare_end(struct aof *aof, bool is_forced);

/* -- while it runs -- */

/* Another data set has taken the place of the one that was logged (a full synchronisation): the log
 * begins anew, waiting. Everything parked. */
void aof_begin_anew(struct aof *aof);

/* Once a cron period on the node's loop: rewrites that are due. */
void aof_tick(struct aof *aof, uint64_t monotonic_ms);

/* The MISCONF text while ADMISSION_LOG_ERROR is set. */
const char *aof_error_text(const struct aof *aof);

/* Log position up to which a restart would find everything; 0 while waiting. Any thread. */
uint64_t aof_synced_position(const struct aof *aof);
/* On a replica: what its primary sent up to this replication offset is on the disk. */
uint64_t aof_synced_offset(const struct aof *aof);
bool aof_is_on(const struct aof *aof); /* appendonly; also while waiting. */

/* INFO's lines, for its Persistence section. */
void aof_info(void *aof, struct buffer *out);
uint64_t aof_buffer_bytes(const struct aof *aof); /* Not written yet. */

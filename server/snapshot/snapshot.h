/* Snapshots without fork: passes over all keys, the dump file, and loading.
 *
 * A pass walks every slot under its lock, a bounded time each, and writes each key once, as it was
 * when the pass began. Whoever is about to change a key that the pass has not reached gives it the
 * old value first (keyspace_before_change). What a pass writes goes to a sink: the dump file or the
 * links of replicas. The pass waits for a slow sink with nothing locked; only the values that
 * writers hand over meanwhile may pile up.
 *
 * Words: *pass* - one walk; *sink* - where its bytes go; *replication fields* - the ids and the
 * offset that a dump carries so that a restart, or a replica, can go on from it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/buffer.h"
#include "server/base/status.h"
#include "server/base/turn.h"
#include "server/command/dispatch.h"
#include "server/config/config.h"
#include "server/config/option.h"
#include "server/keyspace/keyspace.h"
#include "server/script/libraries.h"

struct snapshotter;
struct snapshot_pass;

struct save_point {
    uint64_t seconds;
    uint64_t changes;
};

enum { SAVE_POINT_MAX = 32 };

struct save_points {
    struct save_point items[SAVE_POINT_MAX];
    uint32_t count;
};

struct snapshot_options {
    char *file_name; /* dbfilename */
    bool is_compressing;
    bool has_checksum;
    bool stops_writes_on_error;
    bool syncs_in_pieces;  /* rdb-save-incremental-fsync */
    int64_t key_delay_us;  /* How long a pass sleeps for each key that it has written. */
    uint64_t buffer_limit; /* Bytes that a pass may hold for its sink; 0: no limit. */
    struct save_points save_points;
};
extern const struct option snapshot_option_rows[];
extern const uint32_t snapshot_option_count;
extern const struct command snapshot_commands[]; /* SAVE, BGSAVE, LASTSAVE */
/* For config_register; `context` is a struct snapshotter **, which may not be set yet. */
bool snapshot_apply_options(void *context, struct config_change *change);

/* The place of a data set in its history; see spec/replication.md 9. */
struct snapshot_replication {
    bool is_known;
    char id[41];
    uint64_t offset;
    int database; /* Selected in the stream; -1 none. */
};

struct snapshotter_create_options {
    struct snapshot_options *options;
    struct databases *databases;
    struct command_modules *modules;
    struct exclusive *exclusive;
    const struct data_type_options *types;
    /* Fills in the replication fields at the moment a pass begins; everything is parked. */
    void (*read_replication)(void *state, struct snapshot_replication *out);
    void *replication_state;
};

struct snapshotter *snapshotter_create(const struct snapshotter_create_options *options);
void snapshotter_destroy(struct snapshotter *snapshotter);

/* -- passes -- */

struct snapshot_sink {
    /* Takes bytes; may wait (nothing is locked, no turn is held). Another status than STATUS_OK
     * aborts the pass. Runs on the pass's thread. */
    enum status (*write)(void *state, struct bytes bytes);
    /* The last byte was taken: makes it durable. NULL: nothing to do. Like `write`. */
    enum status (*finish)(void *state);
    /* The pass has ended, after its last byte was taken, or with the status that ended it. Runs on
     * the pass's thread inside an exclusive section. */
    void (*done)(void *state, enum status status);
    void *state;
    bool is_read_at_once; /* Compressing strings for it would be for nothing. */
};

/* Begins a pass over everything as it is now. Everything parked; O(1). NULL when PASS_MAX passes
 * are running. The pass frees itself after `done`. */
struct snapshot_pass *snapshot_begin(struct snapshotter *snapshotter,
                                     const struct snapshot_sink *sink);

/* The same for the base of an append-only log: its head says so, and carries no history. */
struct snapshot_pass *snapshot_begin_base(struct snapshotter *snapshotter,
                                          const struct snapshot_sink *sink);

/* Writes the base of a log at once, while everything is parked. */
enum status snapshot_write_base(struct snapshotter *snapshotter,
                                enum status (*write)(void *state, struct bytes bytes), void *state);

/* Appends a whole RDB file of the libraries alone, or of nothing. Everything parked. */
void snapshot_write_without_keys(const struct snapshotter *snapshotter, bool has_libraries,
                                 struct buffer *out);

/* Makes the pass end soon with STATUS_CLOSED. Any thread, while the pass exists. */
void snapshot_abort(struct snapshot_pass *pass);

/* Where a save has put the dump, whatever `dir` and `dbfilename` are by now. */
struct snapshot_dump {
    int folder; /* Borrowed. */
    const char *name;
    uint64_t number;
};

/* Told the outcome of a save inside an exclusive section. `dump` is NULL when no file was begun. */
typedef void snapshot_saved(void *arg, enum status status, const struct snapshot_dump *dump);

/* Begins to save to the dump file in the background. Everything parked. False: one is under way, or
 * as many passes as there may be. `fn` may be NULL. */
bool snapshot_save_in_background(struct snapshotter *snapshotter, snapshot_saved *fn, void *arg);

/* The same for somebody who waits for it: a failure is for them to tell, and has no writes refused.
 */
bool snapshot_save_for_client(struct snapshotter *snapshotter, snapshot_saved *fn, void *arg);

/* Whether the save of this number is the last one that has put a dump in place. Any thread. */
bool snapshot_dump_is(struct snapshotter *snapshotter, uint64_t number);

/* Saves to the dump file at once, while everything is parked. */
enum status snapshot_save_now(struct snapshotter *snapshotter);

/* True when there are save points, so that a shutdown saves. */
bool snapshot_wants_save(const struct snapshotter *snapshotter);

/* Once a cron period on the node's loop: starts saves that are due. */
void snapshot_tick(struct snapshotter *snapshotter);

/* -- loading -- */

/* What a snapshot holds: everything that a server serves. */
struct snapshot_data {
    struct databases *databases;
    struct libraries *libraries;
};

/* Empty, as a sibling of what is served. */
void snapshot_data_init(const struct snapshotter *snapshotter, struct snapshot_data *data);
/* Destroys what it holds; fine when that was adopted, or all zero. */
void snapshot_data_deinit(struct snapshot_data *data);
/* Puts it in the place of what is served, which is destroyed. Everything parked. */
void snapshot_data_adopt(const struct snapshotter *snapshotter, struct snapshot_data *data);

struct snapshot_source {
    /* As rdb_source's. */
    enum status (*fill)(void *state, uint8_t *out, size_t cap, size_t *out_len);
    void *state;
};

struct snapshot_loaded {
    struct snapshot_replication replication;
    uint64_t keys;
    uint64_t expired;
    uint64_t bytes;  /* Length of the RDB: more may follow it in its file. */
    char error[256]; /* What went wrong, for the log. */
};

/* Reads a whole RDB file into `into`, which is empty and used by nobody else. With `drops_expired`
 * keys whose time is over are left out (a primary's restart), or left to expire where the file says
 * what history it belongs to. On failure `into` holds a part. */
enum status snapshot_load(struct snapshotter *snapshotter, const struct snapshot_source *source,
                          const struct snapshot_data *into, bool drops_expired,
                          struct snapshot_loaded *out);

/* Reads the dump file at start or for DEBUG RELOAD. STATUS_NOT_FOUND: there is none. */
enum status snapshot_load_file(struct snapshotter *snapshotter, const struct snapshot_data *into,
                               bool drops_expired, struct snapshot_loaded *out);

/* The ways of DEBUG RELOAD. */
struct snapshot_reload {
    bool is_saving;  /* First. Without: NOSAVE. */
    bool keeps_data; /* NOFLUSH: what the file has is added to what there is. */
    bool is_merging; /* MERGE: and takes the place of what has the same name. */
};

/* DEBUG RELOAD: saves, empties, loads; everything parked. False: `error` says why, and what is
 * served has not changed. */
bool snapshot_reload(struct snapshotter *snapshotter, const struct snapshot_reload *how,
                     char *error, size_t cap);

/* All databases have been emptied: where there are save points a save follows at once, so that a
 * restart does not bring back what is gone. Everything parked. */
void snapshot_note_flushed(struct snapshotter *snapshotter);

/* What was changed so far needs no save: it came from files. Before the workers start. */
void snapshot_forget_changes(struct snapshotter *snapshotter);

/* -- figures -- */

/* INFO's Persistence section, without its heading; what comes after the log's fields. */
void snapshot_info(void *snapshotter, struct buffer *out);
void snapshot_info_progress(void *snapshotter, struct buffer *out);
/* Shown while a load runs; set by whoever loads. */
void snapshot_set_loading(struct snapshotter *snapshotter, bool is_loading);
/* So many bytes are about to be read (0: nobody knows how many): INFO and now and then a line in
 * the log tell how far that is. Ends with snapshot_set_loading(false). */
void snapshot_expect_bytes(struct snapshotter *snapshotter, uint64_t total_bytes);
void snapshot_note_loaded(struct snapshotter *snapshotter, uint64_t bytes); /* More of them. */

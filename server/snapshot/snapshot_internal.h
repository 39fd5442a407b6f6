/* What the files of this folder share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "server/base/lock.h"
#include "server/rdb/rdb_writer.h"
#include "server/snapshot/snapshot.h"

/* A value that the pass writes in steps: a huge one, or one that was put off because a step had
 * written enough. As long as it lies in the keyspace its slot's lock covers it, too, and who must
 * change it writes the rest. */
struct pass_value {
    struct pass_value *next;
    struct keyspace *keyspace;
    unsigned number; /* Of the database. */
    struct key key;  /* Its name lies behind this struct. */
    struct save_walk walk;
    bool is_begun;
    bool is_done;
    bool is_wanted;                 /* Somebody waits until it is written. */
    struct keyspace_orphan *orphan; /* It left the keyspace: the pass's own now, */
    struct record *shared;          /* as is one that shares what lies there. */
    size_t held_bytes;              /* What it keeps in memory. */
    uint8_t name[];
};

/* Where records are written, and the database selected there. */
struct pass_lane {
    struct rdb_writer writer;
    int database;
};

/* A part of what is written. Of one size and used again. */
struct pass_chunk {
    struct pass_chunk *next;
    size_t len;
    uint8_t data[(1 << 17) - 16];
};

struct snapshot_pass {
    struct keyspace_pass base; /* First: the keyspace knows a pass by it. */
    struct snapshotter *snapshotter;
    struct snapshot_sink sink;
    struct turn *turn;
    unsigned turn_index;
    pthread_t thread;
    _Atomic bool is_aborted;

    /* The keyspaces as they were, held by reference, under the numbers they had. */
    struct keyspace *keyspaces[DATABASE_MAX];
    unsigned numbers[DATABASE_MAX];
    unsigned keyspace_count;

    /* The place: which keyspace and slot are at work (keyspace << 16 | slot), and inside that slot
     * the order up to which everything is written. Changed with the slot at work locked. */
    _Atomic uint32_t slot_place;
    _Atomic uint64_t order_place;
    uint64_t step_begin; /* Where the step began in what is written; the pass's thread alone. */
    uint64_t rested_us;  /* When it last slept; the same. */

    /* The pass's thread alone, or who holds the slot of the value that is being written in steps.
     */
    struct pass_lane main;
    struct pass_chunk *filling; /* Where the main lane's output is gathered, or NULL. */
    struct buffer spare_aside;  /* The pass's thread alone. */

    pthread_mutex_t lock; /* The leaf lock, for all that follows. Nobody encodes a step under it. */
    pthread_cond_t has_output;
    pthread_cond_t has_room;
    struct pass_lane side;          /* What writers save; the pass brings it to the main lane. */
    struct pass_chunk *first_chunk; /* Not yet with the sink, */
    struct pass_chunk *last_chunk;
    size_t outgoing_bytes; /* as many bytes, */
    size_t sent_bytes;     /* and what the sink has in hand. */
    struct pass_chunk *spare_chunks;
    unsigned spare_chunk_count;
    bool is_complete; /* Nothing more comes. */
    pthread_t pump;
    struct pass_value *values; /* In the order in which they will be written. */
    _Atomic uint32_t value_count;
    uint32_t wanted_count;
    size_t values_bytes;  /* Sum of what they hold. */
    _Atomic bool is_full; /* More is held than may be: changes wait. */
    bool has_refused;     /* Somebody waits for that. */
    uint64_t keys_written;
    uint64_t preimages_written;
};

struct snapshotter {
    struct snapshotter_create_options options;
    struct turn turns[PASS_MAX];
    bool turn_is_used[PASS_MAX];
    _Atomic uint32_t pass_count;
    struct snapshot_pass *passes[PASS_MAX]; /* By turn; changed while everything is parked. */

    /* How far the pass is that began last; 0 and 0 when it has ended. */
    const struct snapshot_pass *shown_pass; /* Changed while everything is parked. */
    _Atomic uint64_t keys_processed;
    _Atomic uint64_t keys_total;

    /* The dump file; changed while everything is parked. */
    bool is_saving;
    bool is_save_scheduled;
    uint64_t saves;       /* Begun for SAVE, BGSAVE, save points and replicas. */
    uint64_t last_save_s; /* Unix time of the last good save, or of the start. */
    uint64_t last_try_ms; /* Monotonic. */
    bool last_failed;     /* In the background, and none has succeeded since. */
    int64_t last_seconds; /* -1: none yet. */
    uint64_t save_began_ms;
    uint64_t changes_at_save;
    uint64_t changes_at_begin;
    uint64_t last_save_number;
    pthread_mutex_t name_lock;  /* A leaf, for: */
    uint64_t named_save_number; /* Of the save whose file has the dump's name. */

    _Atomic bool is_loading;
    _Atomic uint64_t loading_bytes;
    _Atomic uint64_t loading_total_bytes; /* 0: not known. */
    _Atomic uint64_t loading_used_memory; /* As the file says. */
    _Atomic uint64_t loading_began_s;
    _Atomic uint64_t loading_began_ms; /* Monotonic, as is: */
    _Atomic uint64_t loading_told_ms;
    _Atomic uint64_t loaded_keys; /* By the last load of an RDB, wherever it came from. */
    _Atomic uint64_t loaded_expired;
    _Atomic uint64_t preimage_us_max;
    _Atomic uint64_t step_us_max;
    _Atomic uint64_t preimages;
    _Atomic uint64_t paused_writes; /* How often a write was put aside. */
    _Atomic uint64_t held_bytes_max;
};

/* Writes what stands before the libraries, and these. The writer's sink is set. */
void snapshot_write_libraries(const struct snapshotter *snapshotter, struct rdb_writer *writer);
void snapshot_write_head(const struct snapshotter *snapshotter, struct rdb_writer *writer,
                         bool is_log_base, uint64_t used_bytes);
/* A key with what goes before it: deadline, and idle time or counter where the policy asks. */
void snapshot_write_record(const struct snapshotter *snapshotter, struct rdb_writer *writer,
                           const struct record *record);
/* What stands between a key's attributes and its value. */
void snapshot_write_key(const struct snapshotter *snapshotter, struct rdb_writer *writer,
                        const struct record *record);
void snapshot_note_longest(_Atomic uint64_t *longest, uint64_t us);
/* Whether one more pass may begin. */
bool snapshot_has_room(const struct snapshotter *snapshotter);

/* -- dump_file.c -- */

/* Whether writes are refused after a failed save, as the options have it now. Everything parked. */
void dump_file_apply_options(struct snapshotter *snapshotter);

/* -- pass_output.c: lanes and the sink -- */

void pass_output_init(struct snapshot_pass *pass); /* The sink is set. */
void pass_output_deinit(struct snapshot_pass *pass);
/* Starts the thread that feeds the sink; everything was written, waits until it has got it. */
void pass_output_start(struct snapshot_pass *pass);
void pass_output_finish(struct snapshot_pass *pass);

/* The main lane, for its owner, with this database selected. */
struct rdb_writer *pass_output_main(struct snapshot_pass *pass, unsigned number);
/* The side lane likewise. The pass's lock is held. */
struct rdb_writer *pass_output_side(struct snapshot_pass *pass, unsigned number);
/* Brings what lies in the side lane to the main one. The pass's thread, between two values. */
void pass_output_merge(struct snapshot_pass *pass);
/* Looks whether more is held than may be. The pass's lock is held. */
void pass_output_measure(struct snapshot_pass *pass);

/* Between two steps: waits while the sink is behind, and rests now and then, unless somebody waits
 * for the pass. Nothing but the turn is held. */
void pass_output_wait(struct snapshot_pass *pass);
/* Lets go of a slot in favour of who waits for it. */
void pass_release_slot(struct slot_lock *lock);

/* -- pass_values.c: values that are written in steps -- */

/* The record is not written now but soon. The slot is locked. */
void pass_values_put_off(struct snapshot_pass *pass, struct keyspace *keyspace, unsigned number,
                         const struct key *key);
/* True when the key still lies in its keyspace and is yet to be written. The slot is locked. */
bool pass_values_has(struct snapshot_pass *pass, const struct keyspace *keyspace, uint16_t slot,
                     uint64_t order);
/* Writes, or shares, what somebody is about to change. The slot is locked. */
void pass_values_save(struct snapshot_pass *pass, struct keyspace *keyspace, unsigned number,
                      const struct key *key, const struct record *record);
/* For struct keyspace_pass. */
void pass_values_take(struct keyspace_pass *base, struct keyspace *keyspace, const struct key *key,
                      struct keyspace_orphan *orphan);
bool pass_values_must_wait(struct keyspace_pass *base, struct keyspace *keyspace,
                           const struct key *key, const struct record *record,
                           enum keyspace_change change);
/* Writes all that wait. The pass's thread; nothing but the turn is held. */
void pass_values_write(struct snapshot_pass *pass);
/* Which of the pass's keyspaces this is, or -1. */
int pass_index_of(const struct snapshot_pass *pass, const struct keyspace *keyspace);

uint64_t snapshot_changes(const struct snapshotter *snapshotter);

/* What the files of this folder share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "server/rdb/rdb_writer.h"
#include "server/snapshot/snapshot.h"

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
    uint32_t last_begun; /* For the debug check that slots are taken in order. */

    /* The leaf lock: the writer, and what it has put out but the sink has not got. */
    pthread_mutex_t lock;
    struct rdb_writer writer;
    struct buffer outgoing;
    int written_database;
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
    uint64_t saves;
    uint64_t last_save_s; /* Unix time of the last good save, or of the start. */
    uint64_t last_try_ms; /* Monotonic. */
    bool last_failed;
    int64_t last_seconds; /* -1: none yet. */
    uint64_t save_began_ms;
    uint64_t changes_at_save;
    uint64_t changes_at_begin;

    _Atomic bool is_loading;
    _Atomic uint64_t loading_bytes; /* Of files at the start; 0 in all of them else. */
    _Atomic uint64_t loading_total_bytes;
    _Atomic uint64_t loading_used_memory; /* As the file says. */
    _Atomic uint64_t loading_began_s;
    uint64_t loading_told_ms; /* The loader's alone. */
    uint64_t loaded_keys;
    uint64_t loaded_expired;
    _Atomic uint64_t preimage_us_max;
    _Atomic uint64_t step_us_max;
    _Atomic uint64_t preimages;
};

/* Writes what stands before the first key. The writer's sink is set. */
void snapshot_write_head(const struct snapshotter *snapshotter, struct rdb_writer *writer,
                         bool is_log_base, uint64_t used_bytes);
/* A key with what goes before it: deadline, and idle time or counter where the policy asks. */
void snapshot_write_record(const struct snapshotter *snapshotter, struct rdb_writer *writer,
                           const struct record *record);
uint64_t snapshot_changes(const struct snapshotter *snapshotter);

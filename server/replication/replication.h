/* Replication: following a primary, and serving replicas, by the PSYNC protocol.
 *
 * A node always has a history: a replication id and an offset, kept by the journal. As a replica it
 * copies its primary's stream into its own journal byte for byte and applies it; as a primary it
 * serves the journal to whoever continues from an offset it still has (partial synchronisation), or
 * begins a snapshot pass for those who can't (full synchronisation). After a promotion the old id
 * stays valid up to the offset of the change, so siblings go on without a full synchronisation.
 *
 * Words: *primary link* - our connection to the primary; *replica link* - a client that sent PSYNC;
 * *history* - (replication id, offset); *second id* - the id of the history that ours branched off.
 *
 * Threads: the primary link and its timers run on worker 0's loop, a replica link on the worker of
 * its client. Roles change only while everything is parked. Figures are published as atomics, so
 * that the node's thread reads them without waiting.
 *
 * Source: spec/replication.md.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/buffer.h"
#include "server/command/command.h"
#include "server/command/context.h"
#include "server/config/config.h"
#include "server/config/option.h"
#include "server/net/network.h"
#include "server/snapshot/snapshot.h"

struct replication;

/* An address to follow; an empty host follows nobody. */
struct replication_target {
    char host[256];
    uint16_t port;
};

enum replication_diskless_load {
    DISKLESS_LOAD_DISABLED, /* Through the dump file; the old data goes before the new is loaded. */
    DISKLESS_LOAD_ON_EMPTY, /* From the socket when there is nothing to lose. */
    DISKLESS_LOAD_SWAP,     /* From the socket, beside the old data. */
};

struct replication_options {
    struct replication_target target; /* replicaof: what the file says, then what is followed. */
    char *primary_user;               /* masteruser */
    char *primary_auth;               /* masterauth */
    bool serves_stale_data;
    bool is_read_only;
    bool is_diskless_sync;
    uint64_t diskless_delay_s;
    uint64_t diskless_max_replicas;
    int diskless_load;       /* enum replication_diskless_load */
    bool removes_sync_files; /* rdb-del-sync-files */
    uint64_t ping_period_s;
    uint64_t timeout_s;
    uint64_t backlog_size;
    uint64_t backlog_ttl_s;
    uint64_t priority;
    bool is_announced;
    char *announce_ip;
    uint64_t announce_port;
    uint64_t min_replicas;
    uint64_t min_replicas_max_lag_s;
};
extern const struct option replication_option_rows[];
extern const uint32_t replication_option_count;
config_apply replication_apply_options; /* Context: the address of the module's pointer. */

/* REPLICAOF, SLAVEOF, ROLE, PSYNC, SYNC, REPLCONF, WAIT, WAITAOF, FAILOVER. */
extern const struct command replication_commands[];

/* More of our log is on the disk: clients of WAITAOF may go on. Any thread. */
void replication_log_synced(struct replication *replication);

struct replication_create_options {
    struct replication_options *options;
    const struct network_options *network;
    struct command_modules *modules; /* Journal, network, snapshotter and dispatcher are there. */
    struct databases *databases;
    struct exclusive *exclusive;
};

struct replication *replication_create(const struct replication_create_options *options);
void replication_destroy(struct replication *replication); /* No worker runs any more. */

/* Takes over the history that a dump file carried (spec 9): as the place to continue from when this
 * node is going to follow a primary, else as second id. Before replication_start. */
void replication_restore(struct replication *replication, const struct snapshot_replication *from,
                         bool will_follow);

/* Starts the timers and follows the configured primary. Before the workers run. */
void replication_start(struct replication *replication);

/* For the snapshotter: the history at the moment a pass begins. Everything parked. */
void replication_read_history(void *replication, struct snapshot_replication *out);

/* INFO's Replication section, and what replication adds to Stats and Memory. */
void replication_info(void *replication, struct buffer *out);
void replication_info_stats(void *replication, struct buffer *out);
void replication_info_memory(void *replication, struct buffer *out);
uint64_t replication_link_bytes(struct replication *replication); /* What replicas take here. */
void replication_reset_stats(struct replication *replication);

/* For SHUTDOWN: asks replicas for an acknowledgement and says whether each has everything. Any
 * thread. */
bool replication_caught_up(void *replication);

/* -- for the cluster's adapter -- */

/* Follows this primary from now on: drops the present primary link, sets the role and starts to
 * connect. `full_resync` forgets the cached history. Following the same address again is no change.
 * `ip` is copied. Everything parked. */
void replication_follow(struct replication *replication, const char *ip, uint16_t port,
                        bool full_resync);

/* Becomes a primary: the second id is the one we followed, a new id begins, everything received
 * whole is applied. No change on a primary. Everything parked. */
void replication_promote(struct replication *replication);

/* What the bus and CLUSTER want to know. Any thread; never waits. */
struct replication_facts {
    uint64_t offset;                /* Produced as a primary, applied as a replica. */
    bool replicates;                /* A primary is configured. */
    bool primary_link_up;           /* Synchronised and connected. */
    uint64_t primary_heard_mono_ms; /* While up: when the primary was last heard of. */
    uint64_t primary_lost_mono_ms;  /* While down: since when; 0 = it never was up. */
};
void replication_facts_read(const struct replication *replication, struct replication_facts *out);

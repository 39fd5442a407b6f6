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
#include "server/config/option.h"

struct replication;

extern const struct option replication_option_rows[];
extern const uint32_t replication_option_count;
/* REPLICAOF, SLAVEOF, ROLE, PSYNC, SYNC, REPLCONF, WAIT, FAILOVER. */
extern const struct command replication_commands[];

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

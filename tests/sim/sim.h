/* Many buses in one process: a virtual network, virtual disks, virtual time, one seed.
 *
 * The seed decides delay, loss, duplication, reordering, partitions, pauses, crashes and writes
 * that a crash tears. The same options give the same run, to the last packet. Invariants are
 * checked after every step; the first that breaks ends the run.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SIM_NODES_MAX 256

struct sim_options {
    uint64_t seed;
    uint32_t node_count;
    uint32_t primary_count; /* The first nodes; the others become their replicas in turn. */
    uint64_t node_timeout_ms;
    bool prints_trace; /* Every log line and fault, as it happens. */
};

struct sim;

/* Nodes that know nothing but what their operator has told them: slots, epochs, whom to meet. */
struct sim *sim_create(const struct sim_options *options);
void sim_destroy(struct sim *sim);

/* Runs for so long, or until an invariant breaks: then false. */
bool sim_run(struct sim *sim, uint64_t duration_ms);

/* From now on faults happen at random; `false` ends all of them and restarts who is down. */
void sim_set_faults(struct sim *sim, bool are_on);

/* The operator moves some slots, one at a time, from one primary to another in the documented order
 * (IMPORTING, MIGRATING, NODE at the target, NODE at the source). Only in times of peace. */
void sim_move_slots(struct sim *sim, uint32_t count);

/* Stops a node for good, or until sim_restart; it loses what its disk had not got. */
void sim_crash(struct sim *sim, uint32_t node);
void sim_restart(struct sim *sim, uint32_t node);

/* True when all nodes that run see the same owners, epochs, roles, no failure and state ok. On
 * false the reason is in sim_failure_view. */
bool sim_views_agree(struct sim *sim);

/* Runs until all views agree, for `limit_ms` at most. */
bool sim_run_until_views_agree(struct sim *sim, uint64_t limit_ms);

const char *sim_failure_view(const struct sim *sim);
void sim_print_trace(const struct sim *sim); /* The last lines, to standard error. */

struct sim_counts {
    uint64_t steps, packets, failovers, crashes, torn_writes, votes;
};
struct sim_counts sim_counts_view(const struct sim *sim);

/* A node of a cluster: the bus's adapter, redirection, the CLUSTER commands, MIGRATE.
 *
 * `clusterbus/` decides, this folder carries out. The bus has a thread of its own, with the sockets
 * to other nodes: it never waits for workers, so a heartbeat leaves on time whatever they do. The
 * bus's state is under one lock, held for a step and what must be durable before anything else.
 * What a step wants changed in the server (who serves a slot, the role, data) is queued and applied
 * in an exclusive section, by the node's loop or by the CLUSTER command that brought it about.
 *
 * Workers never look at the bus: each slot has a pointer to its *route*, which says who serves it
 * and how clients reach that node, and which changes only while everything is parked.
 *
 * Source: spec/cluster-bus.md.
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

struct cluster;

enum cluster_endpoint { CLUSTER_ENDPOINT_IP, CLUSTER_ENDPOINT_HOSTNAME, CLUSTER_ENDPOINT_UNKNOWN };

struct cluster_options {
    bool is_enabled;
    char *config_file;
    uint64_t port; /* Of the bus; 0: the clients' plus 10000. */
    uint64_t node_timeout_ms;
    uint64_t ping_interval_ms;
    uint64_t manual_failover_timeout_ms;
    uint64_t blacklist_ttl_s;
    uint64_t migration_barrier;
    uint64_t replica_validity_factor;
    uint64_t link_sendbuf_limit;
    bool requires_full_coverage;
    bool allows_reads_when_down;
    bool allows_pubsubshard_when_down;
    bool allows_replica_migration;
    bool replica_no_failover;
    int preferred_endpoint; /* enum cluster_endpoint */
    char *announce_ip;
    uint64_t announce_port;
    uint64_t announce_bus_port;
    char *announce_hostname;
    char *announce_human_nodename;
    char *announce_client_ipv4;
    char *announce_client_ipv6;
};
extern const struct option cluster_option_rows[];
extern const uint32_t cluster_option_count;
config_apply cluster_apply_options; /* Context: the address of the module's pointer. */

extern const struct command cluster_commands[]; /* CLUSTER, ASKING, READONLY, READWRITE */

struct cluster_create_options {
    const struct cluster_options *options;
    const struct network_options *network;
    struct command_modules *modules;
    struct databases *databases;
    struct loop *node_loop; /* Where effects are applied, in its turn. */
    struct dispatch_worker *node_worker;
    uint64_t ping_replica_period_ms;
};

/* Reads or makes nodes.conf and takes its lock. NULL: `error` says what is wrong with it; the
 * process is expected to end with status 1. */
struct cluster *cluster_create(const struct cluster_create_options *options, char *error,
                               size_t cap);

/* The data are in memory: begins to listen on the bus port and to talk. Before the workers run.
 * False: `error` names the address. */
bool cluster_start(struct cluster *cluster, char *error, size_t cap);
/* Ends the bus's thread and saves nodes.conf. No worker runs any more. */
void cluster_stop(struct cluster *cluster);
void cluster_destroy(struct cluster *cluster); /* NULL is fine. */

/* Whether nodes.conf says that this node is a replica. Before cluster_start. */
bool cluster_is_replica(const struct cluster *cluster);

/* Tells the other nodes what was published here: all of them, or those of this shard. Any thread.
 */
void cluster_publish(struct cluster *cluster, struct bytes channel, struct bytes message,
                     bool is_shard);

/* The hook of dispatch (struct dispatch_hooks). */
bool cluster_redirect(struct cluster *cluster, struct command_context *context, uint32_t flags,
                      const struct key *keys, uint32_t key_count);

/* What the cluster adds to INFO's Stats and Memory. */
void cluster_info_stats(void *cluster, struct buffer *out);
void cluster_info_memory(void *cluster, struct buffer *out);
uint64_t cluster_link_bytes(struct cluster *cluster); /* What the bus's links take. */

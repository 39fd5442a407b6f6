/* What the files of this folder share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "clusterbus/bus.h"
#include "clusterbus/nodes_conf.h"
#include "server/cluster/cluster.h"
#include "server/keyspace/keyspace.h"
#include "server/net/link.h"

/* -- routes -- */

/* What struct slot's `route` points to: who serves the slot. It changes only while everything is
 * parked, so nobody keeps one across commands. NULL there: no owner, and nothing is imported. */
struct route {
    const struct route_node *owner;        /* NULL: none. */
    const struct route_node *migrating_to; /* From the owner to here; NULL: not. */
    const struct route_node *importing_from;
    bool is_open; /* Of one slot alone, and freed with its change; else part of its owner. */
};

/* How clients reach a node. Lives as long as a slot refers to it or the bus knows the node. */
struct route_node {
    struct route_node *next;
    struct route route; /* Of all slots that it owns and that do not move. */
    struct node_id id;
    uint32_t refs; /* From slots. */
    bool is_known;
    bool is_me;
    bool is_my_primary;
    uint16_t tcp_port;
    uint16_t tls_port;
    char ip[BUS_IP_CAP];
    char client_ipv4[BUS_IP_CAP];
    char client_ipv6[BUS_IP_CAP];
    char hostname[BUS_NAME_CAP];
};

/* -- what steps leave to be done -- */

/* An effect for the server, copied out of the step. */
struct pending_effect {
    struct pending_effect *next;
    enum bus_effect_type type;
    char ip[BUS_IP_CAP];
    uint16_t port;
    bool full_resync;
    bool is_ok;
    uint64_t until_mono_ms;
    uint8_t *slots; /* Bitmap of BUS_SLOT_BYTES: DELETE_KEYS. */
};

/* An effect for the links, in the order of the steps. */
struct outgoing {
    struct outgoing *next;
    enum bus_effect_type type; /* SEND, CONNECT, CLOSE */
    uint64_t link;
    struct bus_packet *packet;
    char ip[BUS_IP_CAP];
    uint16_t port;
};

struct bus_link; /* A connection to another node: links.c. */
enum { LINK_BUCKETS = 1024, BUS_LISTENER_MAX = 16 };

struct cluster {
    struct cluster_create_options made_of;
    const struct cluster_options *options;

    pthread_mutex_t lock; /* Everything of the bus, down to `stats`. A leaf. */
    struct bus *bus;
    struct bus_effects effects;
    struct rng rng;
    struct outgoing *outgoing_first;
    struct outgoing *outgoing_last;
    struct pending_effect *pending_first;
    struct pending_effect *pending_last;
    uint8_t changed_slots[BUS_SLOT_BYTES]; /* Whose routes are to be looked up again. */
    bool has_changed_slots;
    bool has_changed_nodes;
    bool is_apply_posted;
    bool is_flush_posted;
    int persist_error; /* Of the last step, when its command reports it. */
    bool reports_persist_error;

    int nodes_file; /* Holds the lock. */

    /* The bus thread's. */
    struct loop *loop;
    struct loop_timer *timer;
    struct bus_link *links[LINK_BUCKETS];
    uint64_t last_inbound;
    struct listener *listeners[BUS_LISTENER_MAX];
    uint32_t listener_count;
    uint32_t link_count;
    _Atomic uint64_t limit_exceeded_count;
    _Atomic uint64_t link_bytes;

    /* Changed while everything is parked. */
    struct route_node *nodes;
    bool is_primary;
    bool is_ok;
    bool is_started;
};

/* -- cluster.c -- */

/* For views: the lock keeps the bus still. */
void cluster_lock(struct cluster *cluster);
void cluster_unlock(struct cluster *cluster);

/* One step; the lock is held. Persists, queues the rest. */
enum bus_result cluster_step(struct cluster *cluster, const struct bus_input *input);
/* After steps, without the lock: sees to it that what they left gets done. On the bus's thread the
 * links are served at once. */
void cluster_after_steps(struct cluster *cluster, bool is_bus_thread);

/* Runs a CLUSTER command that changes something, applies what follows from it and answers.
 * Everything parked. */
void cluster_run_command(struct command_context *context, const struct bus_command *command);

/* Fills in both clocks. */
struct bus_now cluster_now(void);

/* -- apply.c: in the server -- */

/* Applies everything that is queued. Everything parked, the lock not held. `worker` is the
 * caller's. */
void cluster_apply(struct cluster *cluster, struct dispatch_worker *worker);
void cluster_apply_posted(void *cluster); /* On the node's loop. */
/* Brings the routes up to date with the bus: the nodes' addresses, and the slots of this bitmap.
 * Everything parked or before the workers start. */
void routes_update(struct cluster *cluster, const uint8_t *slots);
void routes_deinit(struct cluster *cluster);

/* -- links.c: sockets of the bus, on its thread -- */

bool links_listen(struct cluster *cluster, char *error, size_t cap);
void links_flush(struct cluster *cluster); /* Carries out what is queued. */
void links_check_limits(struct cluster *cluster);
void links_deinit(struct cluster *cluster);
/* For CLUSTER LINKS: what a link's queue holds. False: no such link. The lock is held, and the bus
 * thread changes its table only under it. */
struct link_figures {
    uint64_t created_wall_ms;
    uint64_t queued_bytes;
    uint64_t allocated_bytes;
};
bool links_figures(struct cluster *cluster, uint64_t link, struct link_figures *out);

/* -- nodes_file.c -- */

/* Opens and locks the file and reads it. False: `error` says why. */
bool nodes_file_open(const char *path, int *out_file, struct buffer *out_text, char *error,
                     size_t cap);
/* Replaces the file durably (or just atomically); the lock moves to the new one. 0 or errno. */
int nodes_file_replace(const char *path, int *file, struct bytes text, bool must_fsync);

/* -- redirect.c -- */

/* The endpoint that a client is told, after cluster-preferred-endpoint-type. */
const char *route_endpoint(const struct cluster *cluster, const struct route_node *node,
                           const struct session *session);
/* The address of a node for this client: what it announces to clients of its family. */
const char *route_ip(const char *ip, const char *client_ipv4, const char *client_ipv6,
                     const struct session *session);

/* -- commands -- */

void cluster_command_meet(struct command_context *context);
void cluster_command_forget(struct command_context *context);
void cluster_command_replicate(struct command_context *context);
void cluster_command_addslots(struct command_context *context);
void cluster_command_addslotsrange(struct command_context *context);
void cluster_command_delslots(struct command_context *context);
void cluster_command_delslotsrange(struct command_context *context);
void cluster_command_flushslots(struct command_context *context);
void cluster_command_setslot(struct command_context *context);
void cluster_command_set_config_epoch(struct command_context *context);
void cluster_command_bumpepoch(struct command_context *context);
void cluster_command_failover(struct command_context *context);
void cluster_command_reset(struct command_context *context);
void cluster_command_saveconfig(struct command_context *context);

void cluster_command_myid(struct command_context *context);
void cluster_command_myshardid(struct command_context *context);
void cluster_command_nodes(struct command_context *context);
void cluster_command_replicas(struct command_context *context);
void cluster_command_slots(struct command_context *context);
void cluster_command_shards(struct command_context *context);
void cluster_command_info(struct command_context *context);
void cluster_command_links(struct command_context *context);
void cluster_command_keyslot(struct command_context *context);
void cluster_command_countkeysinslot(struct command_context *context);
void cluster_command_getkeysinslot(struct command_context *context);
void cluster_command_count_failure_reports(struct command_context *context);
void cluster_command_slot_stats(struct command_context *context);
void cluster_command_help(struct command_context *context);
void cluster_command_asking(struct command_context *context);
void cluster_command_readonly(struct command_context *context);
void cluster_command_readwrite(struct command_context *context);

/* False after "This instance has cluster support disabled" was answered. */
bool cluster_is_enabled(struct command_context *context);
/* Reads a slot; false after the error was answered. */
bool cluster_parse_slot(struct command_context *context, uint32_t argument, uint16_t *out);

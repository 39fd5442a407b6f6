/* What the files of this folder share: the state, and who does what with it.
 *
 * Moments are milliseconds of a clock that never goes back and is far from zero, so that 0 can mean
 * "never" and intervals cannot underflow: bus->now_ms = mono_ms + BUS_TIME_BASE.
 */
#pragma once

#include "clusterbus/bus.h"
#include "clusterbus/slot_map.h"
#include "clusterbus/wire.h"

#define BUS_TIME_BASE (UINT64_C(1) << 41)
#define BUS_BLACKLIST_MAX 4096u
#define BUS_LINKS_MAX 65536u
#define OFFSET_UNKNOWN UINT64_MAX

struct node;

struct link {
    uint64_t id;
    struct node *node; /* NULL: inbound, has not said who it is. */
    bool is_outbound;
    bool is_connected;
    bool peer_has_extensions;
    bool is_closed; /* Within a step: freed, waits for its memory to go. */
    uint64_t created_ms;
    char peer_ip[BUS_IP_CAP];
    char local_ip[BUS_IP_CAP];
};

/* Says that `reporter` suspects the node that has the report. */
struct failure_report {
    struct node *reporter;
    uint64_t time_ms;
};

struct node {
    struct node_id id;
    struct node_id shard_id;
    uint16_t member; /* Its number in the slot map. */
    uint16_t flags;
    uint32_t index; /* In bus->nodes. */
    struct node *primary;
    struct node **replicas; /* Sorted by id. */
    uint32_t replica_count;
    uint32_t replica_cap;
    uint64_t config_epoch; /* Change with node_set_epoch: the slot map has it too. */
    uint64_t created_ms;
    uint64_t ping_sent_ms; /* 0 = no ping outstanding. */
    uint64_t pong_received_ms;
    uint64_t data_received_ms;
    uint64_t failed_ms;
    uint64_t voted_ms;       /* When we last voted for a replica of this primary. */
    uint64_t orphaned_ms;    /* 0 = not orphaned. */
    uint64_t meet_sent_ms;   /* On any link. */
    uint64_t in_link_end_ms; /* When its inbound link ended, or the node was made. */
    uint64_t repl_offset;
    uint64_t vote_epoch; /* The election epoch for which it has voted for us. */
    char ip[BUS_IP_CAP];
    uint16_t port;       /* Client port of the bus's transport. */
    uint16_t other_port; /* The other client port. */
    uint16_t bus_port;
    char *names[4]; /* enum node_name; NULL = unset. */
    struct failure_report *reports;
    uint32_t report_count;
    uint32_t report_cap;
    uint32_t gossip_mark; /* The packet that last spoke of this node. */
    struct link *out_link;
    struct link *in_link;
};

enum node_name { NAME_HOST, NAME_HUMAN, NAME_CLIENT_IPV4, NAME_CLIENT_IPV6, NAME_COUNT };

/* Pointers found by a 64-bit hash; open addressing, at most half full. */
struct pointer_table {
    uint64_t *hashes;
    void **items; /* NULL = free. */
    uint32_t cap;
    uint32_t count;
};

struct blacklist_entry {
    struct node_id id;
    uint64_t until_ms;
};

struct election {
    bool is_scheduled;
    bool is_sent;
    uint64_t at_ms;
    uint64_t epoch;
    uint32_t rank;
    uint32_t votes;
};

struct manual_failover {
    uint64_t end_ms;      /* 0 = none runs. */
    bool can_start;       /* Replica: offsets agree, or forced. */
    uint64_t offset;      /* Replica: where the primary stopped; OFFSET_UNKNOWN. */
    struct node *replica; /* Primary: who asked. */
};

struct bus {
    struct bus_config config;
    struct bus_host host;
    struct bus_facts facts;
    /* Membership. */
    struct node *myself;
    struct node **nodes; /* Myself first. */
    uint32_t node_count;
    uint32_t node_cap;
    struct pointer_table nodes_by_id;
    struct node **nodes_by_member;
    uint32_t member_cap;
    struct pointer_table links;
    struct link **closed;
    uint32_t closed_count, closed_cap;
    uint64_t next_link_id;
    struct blacklist_entry *blacklist;
    uint32_t blacklist_count;
    struct slot_map *slots;
    /* Epochs and state. */
    uint64_t current_epoch;
    uint64_t last_vote_epoch;
    bool is_ok;
    uint32_t size; /* Voting primaries at the last evaluation. */
    uint64_t first_evaluation_ms;
    uint64_t minority_ms;
    struct election election;
    struct manual_failover manual;
    uint32_t suspected_count; /* At the last tick. */
    uint64_t tick_count;
    uint32_t gossip_mark;
    uint64_t version;
    uint64_t sent[BUS_MESSAGE_TYPE_COUNT];
    uint64_t received[BUS_MESSAGE_TYPE_COUNT];
    int packet_filter;
    bool filter_closes_link;
    /* Of the running step. */
    uint64_t now_ms;
    struct bus_now now;
    struct rng *rng;
    struct bus_effects *out;
    bool wants_state, wants_failover, wants_manual_failover;
};

/* ---- effects.c --------------------------------------------------------------------------------
 */

void effects_persist(struct bus_effects *out, bool must_fsync);
void effects_send(struct bus_effects *out, uint64_t link, struct bus_packet *packet); /* Refs. */
void effects_link(struct bus_effects *out, enum bus_effect_type type, uint64_t link);
struct bus_effect *effects_add(struct bus_effects *out, enum bus_effect_type type);
const char *effects_copy_text(struct bus_effects *out, const char *text);
/* A text that lives as long as the effects; cut at 511 bytes. */
const char *effects_format(struct bus_effects *out, const char *format, ...) PRINTF_LIKE(2, 3);
/* The bitmap of a bitmap effect, which is added when it was not there. */
uint8_t *effects_slots(struct bus_effects *out, enum bus_effect_type type);
void effects_log(struct bus_effects *out, enum log_level level, const char *format, ...)
    PRINTF_LIKE(3, 4);
void effects_finish(struct bus_effects *out);
struct bus_packet *packet_create(uint32_t len); /* One reference. */

#define bus_log(bus, level, ...) effects_log((bus)->out, level, __VA_ARGS__)
#define ID_FORMAT "%.40s"

static inline void bus_save(struct bus *bus) {
    effects_persist(bus->out, false);
}

static inline void bus_save_durably(struct bus *bus) {
    effects_persist(bus->out, true);
}

/* ---- node_table.c -----------------------------------------------------------------------------
 */

/* `id` NULL: a random one. NULL when the table is full. The first node is myself. */
struct node *node_create(struct bus *bus, const struct node_id *id, uint16_t flags);
void node_delete(struct bus *bus, struct node *node); /* Never myself. */
void node_destroy_all(struct bus *bus);
void node_rename(struct bus *bus, struct node *node, const struct node_id *id);
struct node *node_find(const struct bus *bus, const struct node_id *id);
struct node *node_of_member(const struct bus *bus, uint16_t member); /* NULL for MEMBER_NONE. */
void node_set_epoch(struct bus *bus, struct node *node, uint64_t epoch);
/* Moves the node to the replicas of `primary`; NULL: of nobody known. */
void node_set_primary(struct node *node, struct node *primary);
/* Sets or clears (NULL, empty) a name; true when it changed. */
bool node_set_name(struct node *node, enum node_name which, struct bytes text);
/* Emits NODE_CHANGED. */
void node_changed(struct bus *bus, const struct node *node);
uint32_t node_working_replicas(const struct node *node); /* Not failed. */
struct node *node_top_primary(struct node *node);        /* The node itself when a primary. */

bool node_add_report(struct bus *bus, struct node *node, struct node *reporter);
bool node_remove_report(struct bus *bus, struct node *node, struct node *reporter);
uint32_t node_count_reports(struct node *node, uint64_t not_before_ms); /* Purges older ones. */

void blacklist_add(struct bus *bus, const struct node_id *id, uint64_t ttl_ms);
bool blacklist_has(struct bus *bus, const struct node_id *id);
void blacklist_purge(struct bus *bus);

void *index_find(const struct pointer_table *table, uint64_t hash, const void *key,
                 bool (*matches)(const void *item, const void *key));
void index_add(struct pointer_table *table, uint64_t hash, void *item);
void index_remove(struct pointer_table *table, uint64_t hash, const void *item);
void index_deinit(struct pointer_table *table);

static inline bool node_is(const struct node *node, unsigned flags) {
    return (node->flags & flags) != 0;
}

static inline void node_add_flags(struct node *node, unsigned flags) {
    node->flags = (uint16_t)(node->flags | flags);
}

static inline void node_drop_flags(struct node *node, unsigned flags) {
    node->flags = (uint16_t)(node->flags & ~flags);
}

static inline bool node_same_shard(const struct node *a, const struct node *b) {
    return node_id_equal(&a->shard_id, &b->shard_id);
}

static inline uint32_t node_slot_count(const struct bus *bus, const struct node *node) {
    return slot_map_count(bus->slots, node->member);
}

static inline bool node_is_voting(const struct bus *bus, const struct node *node) {
    return node_is(node, BUS_NODE_PRIMARY) && node_slot_count(bus, node) > 0;
}

static inline bool i_am_primary(const struct bus *bus) {
    return node_is(bus->myself, BUS_NODE_PRIMARY);
}

/* The node whose slots I serve: myself or my primary (NULL when it is unknown). */
static inline struct node *my_primary(const struct bus *bus) {
    return i_am_primary(bus) ? bus->myself : bus->myself->primary;
}

/* ---- links.c ----------------------------------------------------------------------------------
 */

struct link *link_find(const struct bus *bus, uint64_t id);
void link_dial(struct bus *bus, struct node *node);
void link_accept(struct bus *bus, uint64_t id, const char *peer_ip, const char *local_ip);
void link_connected(struct bus *bus, struct link *link, const char *local_ip);
/* Ends a link. `is_told`: the adapter closed it itself. */
void link_end(struct bus *bus, struct link *link, bool is_told);
void link_set_inbound(struct bus *bus, struct link *link, struct node *node);
void links_reap(struct bus *bus);
void links_destroy_all(struct bus *bus);

static inline bool node_is_reachable(const struct node *node) {
    return node->out_link != NULL && node->out_link->is_connected;
}

/* ---- message.c --------------------------------------------------------------------------------
 */

void message_send_gossip(struct bus *bus, struct link *link, enum wire_type type);
void message_send_update(struct bus *bus, struct link *link, const struct node *about);
void message_send_vote(struct bus *bus, struct node *to);
void message_send_mfstart(struct bus *bus, struct node *to);
void message_broadcast_fail(struct bus *bus, const struct node *failed);
void message_broadcast_vote_request(struct bus *bus);
void message_broadcast_pong(struct bus *bus, bool only_my_shard);
void message_publish(struct bus *bus, struct bytes channel, struct bytes message, bool is_shard);

/* ---- receive.c, gossip.c ----------------------------------------------------------------------
 */

void receive_packet(struct bus *bus, struct link *link, struct bytes packet);
/* A handshake with this address unless one runs already; NULL then, or when the table is full. */
struct node *handshake_start(struct bus *bus, const char *ip, uint16_t port, uint16_t other_port,
                             uint16_t bus_port, uint16_t flags);
void gossip_apply(struct bus *bus, struct node *sender, const struct wire_message *message);
void gossip_apply_extensions(struct bus *bus, struct node *sender,
                             const struct wire_message *message);
/* The ip when it is fit for a file and a reply, else "". */
const char *address_clean(const char *ip);
/* My own address and names, from the configuration. */
void myself_configure(struct bus *bus);
void myself_set_ip(struct bus *bus, const char *ip);
/* The client port for replication. */
uint16_t node_replication_port(const struct bus *bus, const struct node *node);
uint16_t node_tcp_port(const struct bus *bus, const struct node *node);
uint16_t node_tls_port(const struct bus *bus, const struct node *node);

/* ---- failure.c --------------------------------------------------------------------------------
 */

void failure_promote_if_quorum(struct bus *bus, struct node *node);
void failure_set(struct bus *bus, struct node *node); /* The FAIL flag, however it came. */
void failure_clear_if_possible(struct bus *bus, struct node *node);
void state_update(struct bus *bus);
uint32_t bus_quorum(const struct bus *bus);

/* ---- claims.c ---------------------------------------------------------------------------------
 */

void claims_apply(struct bus *bus, struct node *node, uint64_t epoch, const uint8_t *claimed);
void claims_on_gossip(struct bus *bus, struct node *sender, const struct wire_message *message);
void claims_on_update(struct bus *bus, const struct wire_message *message);
void claims_adopt_shard(struct bus *bus, struct node *node, const struct node_id *shard_id);
/* Raises my config epoch above all known ones without asking; false when it is already alone on
 * top. */
bool epoch_bump(struct bus *bus);
void slot_assign(struct bus *bus, uint16_t slot, struct node *owner); /* NULL: nobody. */
void slot_assign_all(struct bus *bus, struct node *from, struct node *to);
void slot_set_migrating(struct bus *bus, uint16_t slot, struct node *target);
void slot_set_importing(struct bus *bus, uint16_t slot, struct node *source);
void slots_close_all(struct bus *bus);
struct replicate_options {
    bool closes_slots;
    bool full_resync;
};
void role_become_replica(struct bus *bus, struct node *primary, struct replicate_options options);
void role_become_primary(struct bus *bus);
void role_follow_again(struct bus *bus, bool full_resync); /* Tells the server whom it follows. */

/* ---- failover.c, manual_failover.c, replica_migration.c ----------------------------------------
 */

void failover_run(struct bus *bus);
void failover_on_vote_request(struct bus *bus, struct node *sender,
                              const struct wire_message *message);
void failover_on_vote(struct bus *bus, struct node *sender, const struct wire_message *message);
void failover_replace_primary(struct bus *bus);
void failover_observe_epoch(struct bus *bus, uint64_t config_epoch);

enum bus_result manual_failover_start(struct bus *bus, enum bus_command_type type);
void manual_failover_run(struct bus *bus);
void manual_failover_expire(struct bus *bus);
void manual_failover_reset(struct bus *bus);
void manual_failover_on_request(struct bus *bus, struct link *link, struct node *sender);

void replica_migration_run(struct bus *bus, uint32_t max_replicas);

/* ---- cron.c, command.c, nodes_conf.c -----------------------------------------------------------
 */

void cron_run(struct bus *bus);
enum bus_result command_run(struct bus *bus, const struct bus_command *command);
enum status nodes_conf_load(struct bus *bus, struct bytes text);

/* The Redis Cluster bus as a pure state machine: membership, gossip, failure detection, epochs,
 * slot ownership, elections.
 *
 * A bus has no clock, no socket, no file and no global. `bus_step` takes one input (a packet's
 * bytes, a link's fate, the tick, an administrator's command) with the time and a random source,
 * changes the state, and returns *effects* for the adapter to carry out in their order. Equal
 * state, input, time and randomness give equal effects.
 *
 * Words
 *   node      a member, named by a 40-byte id; *myself* is the local one.
 *   link      a TCP connection, named by a number. Outbound ones (we dialled) carry what we send;
 *             answers go back on the link that the question came in on. The bus numbers outbound
 *             links (BUS_LINK_OUTBOUND and up), the adapter numbers inbound ones below that. A
 *             number is never used twice.
 *   suspected a node that we have not heard of in time (wire and text: PFAIL, "fail?").
 *   failed    a node that a quorum of voting primaries suspects (wire: FAIL).
 *
 * Order of effects: at most one PERSIST in a step, and it is the first effect. So whatever must be
 * durable (a vote, an epoch, a slot) is on the disk before a packet or a client can tell of it. An
 * adapter that cannot persist must stop the process and carry out none of the others.
 *
 * Memory: a bus copies what it keeps; what an input points to needs to live for the call only.
 * What an effect points to lives until the next bus_step or bus_effects_clear with these effects,
 * except a packet that was ref'ed. One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clusterbus/node_id.h"
#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "server/base/log.h"
#include "server/base/rng.h"
#include "server/base/status.h"

#define BUS_SLOT_COUNT 16384u
#define BUS_SLOT_BYTES (BUS_SLOT_COUNT / 8)
#define BUS_IP_CAP 46u    /* Textual address with its NUL. */
#define BUS_NAME_CAP 256u /* Hostname or human node name with its NUL. */
#define BUS_TICK_MS 100u  /* How often the adapter gives BUS_INPUT_TICK. */
#define BUS_NODES_MAX 16383u
#define BUS_FRAME_MAX (1u << 30) /* A longer packet closes its link. */
#define BUS_PEEK_BYTES 14u       /* What bus_frame_length wants to see. */
#define BUS_LINK_NONE 0u
#define BUS_LINK_OUTBOUND (UINT64_C(1) << 62) /* Inbound numbers are 1 .. this - 1. */

struct bus;

/* Both clocks at one moment. Intervals use `mono_ms`; `wall_ms` (unix time) appears on the wire, in
 * nodes.conf and in the black list. */
struct bus_now {
    uint64_t mono_ms;
    uint64_t wall_ms;
};

/* ---- Configuration and facts ------------------------------------------------------------------
 *
 * Numbers mean what the directives of the same name mean. Ports are the ones that the server
 * listens on; 0 = none (announce_*: not announced otherwise). Strings are NUL-terminated. */
struct bus_config {
    uint64_t node_timeout_ms;            /* 15000 */
    uint64_t ping_interval_ms;           /* 0 = half the node timeout. */
    uint64_t manual_failover_timeout_ms; /* 5000 */
    uint64_t blacklist_ttl_ms;           /* 60000 */
    uint64_t repl_ping_period_ms;        /* 10000; repl-ping-replica-period. */
    uint32_t replica_validity_factor;    /* 10; 0 = data are never too old. */
    uint32_t migration_barrier;          /* 1 */
    uint16_t tcp_port;
    uint16_t tls_port;
    uint16_t bus_port; /* The port the bus listens on: never 0. */
    uint16_t announce_tcp_port;
    uint16_t announce_tls_port;
    uint16_t announce_bus_port;
    bool tls_cluster;
    bool tls_replication;
    bool require_full_coverage;   /* true */
    bool allow_replica_migration; /* true */
    bool replica_no_failover;     /* false */
    char announce_ip[BUS_IP_CAP];
    char announce_client_ipv4[BUS_IP_CAP];
    char announce_client_ipv6[BUS_IP_CAP];
    char announce_hostname[BUS_NAME_CAP];
    char announce_human_nodename[BUS_NAME_CAP];
};

/* The defaults that stand behind the fields above; ports 0. */
void bus_config_init(struct bus_config *config);

/* What only the server knows. Set before a step whenever it changed; the bus reads it in the step.
 */
struct bus_facts {
    uint64_t repl_offset;           /* Produced as a primary, applied as a replica. */
    bool primary_link_up;           /* The replication link to my primary works. */
    uint64_t primary_heard_mono_ms; /* While up: when the primary was last heard of. */
    uint64_t primary_lost_mono_ms;  /* While down: since when. 0 = never was up. */
    /* The server follows a primary. While a replica's is false, each tick gives BECOME_REPLICA. */
    bool replicates;
};

/* Questions about the keyspace, answered without side effects. Called within bus_step only. */
struct bus_host {
    void *context;
    uint64_t (*slot_key_count)(void *context, uint16_t slot);
    uint64_t (*key_count)(void *context); /* All databases. */
};

struct bus_options {
    struct bus_config config;
    struct bus_host host;
    /* Text of nodes.conf, or empty to start as a new node with ids from `rng`. */
    struct bytes nodes_conf;
};

/* Creates the bus of a node.
 *
 * STATUS_OK. An empty `nodes_conf` makes a new node: `effects` then hold a PERSIST.
 * STATUS_BAD_FORMAT: corrupted nodes.conf; `effects` hold the log line that names the line; the
 * server exits with status 1 (specification 7.2).
 * The first cluster state is fail. Release with bus_destroy. */
struct bus_effects;
MUST_USE enum status bus_create(const struct bus_options *options, struct bus_now now,
                                struct rng *rng, struct bus_effects *effects, struct bus **out_bus);
void bus_destroy(struct bus *bus); /* NULL is fine. */

void bus_set_facts(struct bus *bus, const struct bus_facts *facts);
const struct bus_facts *bus_facts_view(const struct bus *bus);
const struct bus_config *bus_config_view(const struct bus *bus);

/* ---- Framing ----------------------------------------------------------------------------------
 */

/* How long the packet is that starts with these bytes.
 *
 * STATUS_OK: `*out_len` is its length, header included; collect so many bytes and give them as
 * BUS_INPUT_PACKET. STATUS_AGAIN: show at least BUS_PEEK_BYTES. STATUS_BAD_FORMAT, STATUS_TOO_BIG:
 * close the link (specification 1.3). */
MUST_USE enum status bus_frame_length(struct bytes head, size_t *out_len);

/* True for a packet whose step must find the server at rest: a manual failover begins with it, and
 * the answer tells an offset behind which nothing may be written any more. So the adapter stops
 * writers before it gives such a packet, and lets them go after the effects are applied. */
bool bus_packet_needs_rest(struct bytes packet);

/* ---- Inputs -----------------------------------------------------------------------------------
 */

enum bus_input_type {
    BUS_INPUT_TICK,           /* Every BUS_TICK_MS. */
    BUS_INPUT_LINK_CONNECTED, /* An outbound link (CONNECT effect) is established. */
    BUS_INPUT_LINK_ACCEPTED,  /* A peer dialled us. */
    BUS_INPUT_LINK_CLOSED,    /* EOF, error, failed dial, or over cluster-link-sendbuf-limit. Not
                               * given for links that a CLOSE effect ended. */
    BUS_INPUT_PACKET,         /* One whole packet. */
    BUS_INPUT_CONFIG,         /* Options changed. */
    BUS_INPUT_PUBLISH,        /* A local PUBLISH or SPUBLISH: tell the others. */
    BUS_INPUT_DATASET_LOADED, /* Once after start, data are in memory (specification 5.8). Until
                               * then the adapter gives no ticks and accepts nobody. */
    BUS_INPUT_COMMAND,        /* An administrator's CLUSTER command. */
};

struct slot_range {
    uint16_t first;
    uint16_t last; /* Inclusive. */
};

enum bus_command_type {
    BUS_COMMAND_MEET,             /* ip, port, bus_port */
    BUS_COMMAND_FORGET,           /* node */
    BUS_COMMAND_REPLICATE,        /* node */
    BUS_COMMAND_REPLICATE_NO_ONE, /* A replica becomes an empty primary. */
    BUS_COMMAND_ADDSLOTS,         /* ranges */
    BUS_COMMAND_DELSLOTS,         /* ranges */
    BUS_COMMAND_FLUSHSLOTS,
    BUS_COMMAND_SETSLOT_MIGRATING, /* slot, node */
    BUS_COMMAND_SETSLOT_IMPORTING, /* slot, node */
    BUS_COMMAND_SETSLOT_STABLE,    /* slot */
    BUS_COMMAND_SETSLOT_NODE,      /* slot, node */
    BUS_COMMAND_SET_CONFIG_EPOCH,  /* epoch */
    BUS_COMMAND_BUMPEPOCH,
    BUS_COMMAND_FAILOVER,
    BUS_COMMAND_FAILOVER_FORCE,
    BUS_COMMAND_FAILOVER_TAKEOVER,
    BUS_COMMAND_RESET_SOFT,
    BUS_COMMAND_RESET_HARD,
    BUS_COMMAND_SAVECONFIG,
    /* For atomic slot migration: myself owns `ranges` from now on, under a new config epoch that is
     * at least `epoch`; durable, then told to everybody. */
    BUS_COMMAND_TAKE_SLOTS,
};

struct bus_command {
    enum bus_command_type type;
    struct bytes node; /* The id as typed; need not be one. */
    struct bytes ip;   /* As typed. */
    int64_t port;
    int64_t bus_port;       /* 0 = port + 10000. */
    uint16_t slot;          /* Below BUS_SLOT_COUNT. */
    bool from_primary_link; /* SETSLOT that came in the replication stream. */
    uint64_t epoch;
    const struct slot_range *ranges;
    size_t range_count;
};

struct bus_input {
    enum bus_input_type type;
    uint64_t link;                   /* LINK_*, PACKET */
    const char *peer_ip;             /* LINK_ACCEPTED: numeric address of the peer. */
    const char *local_ip;            /* LINK_ACCEPTED, LINK_CONNECTED: our end's address. */
    struct bytes packet;             /* PACKET */
    struct bytes channel;            /* PUBLISH */
    struct bytes message;            /* PUBLISH */
    bool is_shard;                   /* PUBLISH: SPUBLISH */
    const struct bus_config *config; /* CONFIG */
    struct bus_command command;      /* COMMAND */
};

/* ---- Results of commands ----------------------------------------------------------------------
 *
 * Name and reply text, written once. In a text %s is the argument as typed, %u the slot, %u-pairs
 * the range. BUS_OK* are successes. Those from BUS_BAD_PORT on are raised by the adapter while it
 * parses; they stand here so that the texts have one home. */
#define BUS_RESULT_LIST(X)                                                                         \
    X(BUS_OK, "OK")                                                                                \
    X(BUS_OK_BUMPED, "BUMPED %llu")                                                                \
    X(BUS_OK_STILL, "STILL %llu")                                                                  \
    X(BUS_UNKNOWN_NODE, "ERR Unknown node %s")                                                     \
    X(BUS_UNKNOWN_PEER, "ERR I don't know about node %s")                                          \
    X(BUS_BAD_ADDRESS, "ERR Invalid node address specified: %s")                                   \
    X(BUS_FORGET_MYSELF, "ERR I tried hard but I can't forget myself...")                          \
    X(BUS_FORGET_PRIMARY, "ERR Can't forget my master!")                                           \
    X(BUS_REPLICATE_MYSELF, "ERR Can't replicate myself")                                          \
    X(BUS_REPLICATE_REPLICA, "ERR I can only replicate a master, not a replica.")                  \
    X(BUS_REPLICATE_NOT_EMPTY,                                                                     \
      "ERR To set a master the node must be empty and without assigned slots.")                    \
    X(BUS_SLOT_BUSY, "ERR Slot %u is already busy")                                                \
    X(BUS_SLOT_UNASSIGNED, "ERR Slot %u is already unassigned")                                    \
    X(BUS_SLOT_REPEATED, "ERR Slot %u specified multiple times")                                   \
    X(BUS_FLUSHSLOTS_NOT_EMPTY, "ERR DB must be empty to perform CLUSTER FLUSHSLOTS.")             \
    X(BUS_SETSLOT_REPLICA, "ERR Please use SETSLOT only with masters.")                            \
    X(BUS_SLOT_NOT_MINE, "ERR I'm not the owner of hash slot %u")                                  \
    X(BUS_SLOT_ALREADY_MINE, "ERR I'm already the owner of hash slot %u")                          \
    X(BUS_TARGET_IS_REPLICA, "ERR Target node is not a master")                                    \
    X(BUS_SLOT_HAS_KEYS, "ERR Can't assign hashslot %u to a different node while I still hold "    \
                         "keys for this hash slot.")                                               \
    X(BUS_EPOCH_NOT_ALONE, "ERR The user can assign a config epoch only when the node does not "   \
                           "know any other node.")                                                 \
    X(BUS_EPOCH_NOT_ZERO, "ERR Node config epoch is already non-zero")                             \
    X(BUS_FAILOVER_PRIMARY, "ERR You should send CLUSTER FAILOVER to a replica")                   \
    X(BUS_FAILOVER_NO_PRIMARY, "ERR I'm a replica but my master is unknown to me")                 \
    X(BUS_FAILOVER_PRIMARY_DOWN,                                                                   \
      "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE")                           \
    X(BUS_RESET_NOT_EMPTY, "ERR CLUSTER RESET can't be called with master nodes containing keys")  \
    X(BUS_NOT_PRIMARY, "ERR Only a primary can take slots")                                        \
    X(BUS_BAD_PORT, "ERR Invalid TCP base port specified: %s")                                     \
    X(BUS_BAD_BUS_PORT, "ERR Invalid TCP bus port specified: %s")                                  \
    X(BUS_BAD_SLOT, "ERR Invalid or out of range slot")                                            \
    X(BUS_BAD_RANGE, "ERR start slot number %u is greater than end slot number %u")                \
    X(BUS_BAD_EPOCH, "ERR Invalid config epoch specified: %s")                                     \
    X(BUS_SETSLOT_SYNTAX,                                                                          \
      "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP")               \
    X(BUS_TIMEOUT_MISSING, "ERR Missing timeout value")                                            \
    X(BUS_TIMEOUT_NOT_INTEGER, "ERR timeout is not an integer or out of range")                    \
    X(BUS_TIMEOUT_NEGATIVE, "ERR timeout is negative")                                             \
    X(BUS_NOT_ENOUGH_REPLICAS, "NOREPLICAS Not enough good replicas to write.")                    \
    X(BUS_NOT_A_PRIMARY, "ERR The specified node is not a master")                                 \
    X(BUS_DISABLED, "ERR This instance has cluster support disabled")

enum bus_result {
#define BUS_RESULT_ENUM(name, text) name,
    BUS_RESULT_LIST(BUS_RESULT_ENUM)
#undef BUS_RESULT_ENUM
};

/* What a result's text speaks of. */
struct bus_result_args {
    struct bytes argument;   /* As typed; a MEET address as "ip:port". */
    struct slot_range slots; /* The slot (both ends), or the range. */
    uint64_t epoch;
};

/* Appends the reply: for errors code and text without '-' and CRLF, for BUS_OK* the simple string
 * without '+'. */
void bus_result_write(enum bus_result result, const struct bus_result_args *args,
                      struct buffer *out);

/* ---- Effects ----------------------------------------------------------------------------------
 */

/* Bytes that several links send. Counted, since a link's queue outlives the step and a broadcast
 * shares one copy. Not thread safe. */
struct bus_packet {
    uint32_t ref_count;
    uint32_t len;
    uint8_t data[];
};
struct bus_packet *bus_packet_ref(struct bus_packet *packet);
void bus_packet_unref(struct bus_packet *packet); /* NULL is fine. */

enum bus_effect_type {
    BUS_EFFECT_PERSIST, /* must_fsync. Always first. Text: nodes_conf_write. Without
                         * must_fsync the write may wait for other writes, yet never may it
                         * leave a torn file. */
    BUS_EFFECT_SEND,    /* link, packet: queue it behind what the link has. Ref it to keep it. */
    BUS_EFFECT_CONNECT, /* link, ip, port: dial; then LINK_CONNECTED or LINK_CLOSED. */
    BUS_EFFECT_CLOSE,   /* link: forget it and its queue. */
    BUS_EFFECT_ROUTES,  /* effects->routes: slots whose owner, migrating or importing peer
                         * changed; ask bus_slot_view. */
    BUS_EFFECT_DROP_CHANNELS,  /* effects->dropped_channels: slots whose shard channels end. */
    BUS_EFFECT_DELETE_KEYS,    /* effects->deleted_keys: slots whose keys go, with propagation. */
    BUS_EFFECT_STATE,          /* is_ok: the cluster's state changed. */
    BUS_EFFECT_BECOME_REPLICA, /* node, ip, port, full_resync: follow this primary. Also given when
                                * its address changed or when replication was not configured. */
    BUS_EFFECT_BECOME_PRIMARY, /* Stop following; keep the old history as secondary id. */
    BUS_EFFECT_FLUSH_DATASET,  /* CLUSTER RESET or REPLICATE NO ONE on a replica. */
    BUS_EFFECT_PAUSE_WRITES,   /* until_mono_ms: manual failover, I am the old primary. */
    BUS_EFFECT_UNPAUSE_WRITES,
    BUS_EFFECT_NODE_CHANGED, /* node: appeared, left, or its address, names, role changed. */
    BUS_EFFECT_DELIVER,      /* channel, message, is_shard: to local subscribers. */
    BUS_EFFECT_LOG,          /* level, text (NUL-terminated). */
};

struct bus_effect {
    enum bus_effect_type type;
    union {
        struct {
            uint64_t link;
            struct bus_packet *packet; /* SEND */
            const char *ip;            /* CONNECT */
            uint16_t port;             /* CONNECT: bus port of the peer. */
            bool tls;                  /* CONNECT */
        };
        bool must_fsync;
        bool is_ok;
        uint64_t until_mono_ms;
        struct {
            struct node_id node;
            const char *primary_ip;
            uint16_t primary_port; /* Client port for replication. */
            bool full_resync;
        };
        struct {
            struct bytes channel;
            struct bytes message;
            bool is_shard;
        };
        struct {
            enum log_level level;
            const char *text;
        };
    };
};

struct bus_arena_block;
struct bus_effects {
    struct bus_effect *list; /* In the order to carry out. */
    size_t count;
    struct bus_result_args result_args; /* For the text of a command's result. */
    uint8_t routes[BUS_SLOT_BYTES];     /* Slot s = bit s % 8 of byte s / 8; valid when there is  */
    uint8_t dropped_channels[BUS_SLOT_BYTES]; /* such an effect, else meaningless.               */
    uint8_t deleted_keys[BUS_SLOT_BYTES];
    /* The rest is the bus's. */
    struct bus_effect *storage;
    size_t cap;
    struct bus_arena_block *arena;
    bool has_routes, has_dropped_channels, has_deleted_keys;
    bool has_persist, must_fsync;
    bool wants_debug; /* Set by the caller: also LOG effects of level debug and verbose. */
};

void bus_effects_init(struct bus_effects *effects);
void bus_effects_deinit(struct bus_effects *effects);
void bus_effects_clear(struct bus_effects *effects); /* Releases packets; keeps the memory. */

/* ---- The step ---------------------------------------------------------------------------------
 */

/* Feeds one input. `effects` are cleared first. Returns a command's result, BUS_OK for all other
 * inputs. A command that is refused changes nothing. Cost: O(1) amortised for packets that tell
 * nothing new, O(nodes) for a tick. */
enum bus_result bus_step(struct bus *bus, const struct bus_input *input, struct bus_now now,
                         struct rng *rng, struct bus_effects *effects);

/* ---- Views ------------------------------------------------------------------------------------
 *
 * Valid until the next step. Node flags are those of specification 2.4. */
enum bus_node_flag {
    BUS_NODE_PRIMARY = 0x0001,
    BUS_NODE_REPLICA = 0x0002,
    BUS_NODE_SUSPECTED = 0x0004,
    BUS_NODE_FAILED = 0x0008,
    BUS_NODE_MYSELF = 0x0010,
    BUS_NODE_HANDSHAKE = 0x0020,
    BUS_NODE_NOADDR = 0x0040,
    BUS_NODE_MEET = 0x0080,
    BUS_NODE_MIGRATE_TO = 0x0100,
    BUS_NODE_NOFAILOVER = 0x0200,
    BUS_NODE_EXTENSIONS = 0x0400,
    BUS_NODE_LIGHT_PUBLISH = 0x0800,
    BUS_NODE_LIGHT_MODULE = 0x1000,
    BUS_NODE_PRIMARY_FAILED = 0x2000,
};

struct bus_node_view {
    struct node_id id;
    struct node_id shard_id;
    bool has_primary;
    struct node_id primary_id; /* When has_primary. */
    uint16_t flags;
    uint64_t config_epoch;          /* A replica's: its primary's. */
    uint64_t repl_offset;           /* Own: from the facts. */
    uint64_t ping_sent_wall_ms;     /* 0 = none outstanding. */
    uint64_t pong_received_wall_ms; /* 0 = never. */
    uint64_t out_link;              /* BUS_LINK_NONE: disconnected. */
    uint64_t in_link;
    const char *ip; /* Empty when unknown. */
    uint16_t tcp_port;
    uint16_t tls_port;
    uint16_t bus_port;
    const char *hostname; /* Empty when unset; so the next three. */
    const char *human_nodename;
    const char *client_ipv4;
    const char *client_ipv6;
    uint32_t slot_count;
    const uint8_t *slots; /* Bitmap of BUS_SLOT_BYTES, or NULL when slot_count is 0. */
    uint32_t replica_count;
};

size_t bus_node_count(const struct bus *bus); /* Myself and handshakes included. */

/* `index` below bus_node_count; myself is 0. The order changes only when a node leaves. */
void bus_node_view_at(const struct bus *bus, size_t index, struct bus_node_view *out);

/* False when no node has this id (or it is no id). O(1). */
bool bus_node_find(const struct bus *bus, struct bytes id, struct bus_node_view *out);

struct bus_slot_view {
    bool has_owner, is_mine, is_migrating, is_importing;
    struct node_id owner;
    struct node_id migrating_to;
    struct node_id importing_from;
};
void bus_slot_view(const struct bus *bus, uint16_t slot, struct bus_slot_view *out);

/* The node that a link belongs to; false for an inbound link that has not said who it is. */
bool bus_link_node(const struct bus *bus, uint64_t link, struct node_id *out_node);

/* Message types, numbered as on the wire. */
#define BUS_MESSAGE_TYPE_COUNT 11
const char *bus_message_type_text(unsigned type); /* "ping", "auth-req", … */

struct bus_status {
    bool is_ok;
    bool is_primary;
    uint64_t current_epoch;
    uint64_t last_vote_epoch;
    uint64_t my_epoch; /* The primary's on a replica. */
    uint32_t size;     /* Voting primaries. */
    uint32_t known_nodes;
    uint32_t slots_assigned, slots_ok, slots_suspected, slots_failed;
    uint32_t nodes_suspected, nodes_failed, voting_suspected, voting_failed;
    bool manual_failover_runs;
    uint64_t version; /* Rises with every change that NODES, SLOTS or SHARDS would show, pings and
                       * offsets aside. */
    uint64_t sent[BUS_MESSAGE_TYPE_COUNT];
    uint64_t received[BUS_MESSAGE_TYPE_COUNT];
};
/* O(nodes). */
void bus_status_view(const struct bus *bus, struct bus_status *out);
bool bus_is_ok(const struct bus *bus);

/* The few of these that are worth asking for after each step. O(1). */
struct bus_epochs {
    uint64_t current;
    uint64_t mine; /* My own config epoch, also on a replica. */
    uint64_t last_vote;
    bool is_primary;
};
struct bus_epochs bus_epochs_view(const struct bus *bus);

/* Reports about a node that count (CLUSTER COUNT-FAILURE-REPORTS). False when it is unknown. */
bool bus_failure_report_count(const struct bus *bus, struct bytes id, struct bus_now now,
                              uint32_t *out_count);

/* DEBUG DROP-CLUSTER-PACKET-FILTER: packets of this type are dropped (-1 none, -2 all), and with
 * `closes_link` their link closed. */
void bus_set_packet_filter(struct bus *bus, int type, bool closes_link);

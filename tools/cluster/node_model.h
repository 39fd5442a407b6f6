/* A cluster as one of its nodes, or each of its nodes for itself, describes it: CLUSTER NODES.
 *
 * Words: a *view* is what one node says of all nodes; the *model* of a loaded cluster holds for
 * each node what that node says of itself. An *open slot* is one that a node marks as migrating or
 * importing. A *signature* is the slot map of a view as text: equal texts mean that nodes agree.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "server/base/status.h"
#include "tools/cluster/slot_set.h"

#define NODE_ID_LEN 40u
#define NODE_HOST_MAX 256u
#define NODE_FLAGS_MAX 128u
#define NODE_LIST_MAX 20000u /* Nodes in one view. */
#define CLUSTER_BUS_OFFSET 10000

struct open_slot {
    uint16_t slot;
    char node_id[NODE_ID_LEN + 1]; /* The other side. */
};

struct open_slots {
    struct open_slot *items; /* Owned. */
    size_t count;
};

struct cluster_node {
    char id[NODE_ID_LEN + 1];
    char host[NODE_HOST_MAX]; /* Empty when the view does not know it. */
    int port;
    int bus_port;
    char flags[NODE_FLAGS_MAX];       /* The server's words, without "myself". */
    char primary_id[NODE_ID_LEN + 1]; /* Of a replica; else empty. */
    uint64_t config_epoch;
    bool is_myself;
    bool is_replica;
    bool is_failed;    /* fail, not fail? */
    bool is_suspected; /* fail? */
    bool has_no_address;
    bool is_in_handshake;
    bool is_connected; /* The view's link to it. */
    struct slot_set slots;
    struct open_slots migrating;
    struct open_slots importing;

    /* What loading and planning add. */
    size_t replica_count;
    char *signature;      /* Owned; of this node's view. NULL before it is known. */
    struct slot_set keys; /* Slots of which it holds keys, where that was asked for. */
    bool is_reachable;
};

struct node_list {
    struct cluster_node **items; /* Owned nodes, owned array. */
    size_t count;
    size_t cap;
};

void cluster_node_destroy(struct cluster_node *node);

/* Takes the node. */
void node_list_take(struct node_list *list, struct cluster_node *node);
void node_list_deinit(struct node_list *list);

/* Parses a reply of CLUSTER NODES.
 *
 * Returns STATUS_OK, or STATUS_BAD_FORMAT for a line that is none; `out` is then empty.
 */
MUST_USE enum status node_list_parse(struct bytes text, struct node_list *out);

/* Appends `id:range,range|id:...` of the nodes with slots, sorted by id. */
void node_list_append_signature(const struct node_list *list, struct buffer *out);

/* NULL when there is none. */
struct cluster_node *node_list_find(const struct node_list *list, const char *id);
struct cluster_node *node_list_find_myself(const struct node_list *list);

/* Finds by complete id, by an id's beginning that only one node has, or by host:port. NULL when
 * nothing or more than one thing matches. */
struct cluster_node *node_list_resolve(const struct node_list *list, struct bytes name);

/* Sets the replica_count of all nodes. */
void node_list_count_replicas(struct node_list *list);

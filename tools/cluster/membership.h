/* Decisions about nodes that come and go. */
#pragma once

#include "tools/cluster/node_model.h"
#include "tools/cluster/report.h"

/* The primary with the fewest replicas, the first of several; `excluded` (may be NULL) is never
 * chosen. NULL when there is none. Needs node_list_count_replicas. */
struct cluster_node *membership_choose_primary(const struct node_list *nodes,
                                               const struct cluster_node *excluded);

/* What to do with a node that shall be added. */
enum join_decision {
    JOIN_NEW,         /* It is no member: MEET it. */
    JOIN_DONE,        /* A member with the wanted role: nothing to do. */
    JOIN_CHANGE_ROLE, /* A member with another role, and the caller may change it. */
    JOIN_REFUSED,     /* The report says why. */
};

/* Decides about host:port as the views of `nodes` know it. `primary` is whom it shall replicate
 * (NULL: it shall be a primary, or, with `any_primary`, a replica of anybody). */
enum join_decision membership_decide_join(const struct node_list *nodes, const char *host, int port,
                                          bool wants_replica, const struct cluster_node *primary,
                                          bool forces_role, struct report *report);

/* One step of forgetting a node. */
struct forget_step {
    struct cluster_node *node;        /* Who is told. */
    struct cluster_node *new_primary; /* If it replicates the leaving node: whom it shall replicate
                                         first. Else NULL. */
};

/* What each remaining reachable node has to do when `leaving` is removed. `steps` has room for
 * all nodes; returns how many there are. Counts the moved replicas. */
size_t membership_plan_forget(struct node_list *nodes, const struct cluster_node *leaving,
                              struct forget_step *steps);

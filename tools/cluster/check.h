/* Is a cluster in order: do nodes agree, are slots open, uncovered or owned twice. */
#pragma once

#include <stdbool.h>

#include "server/base/compiler.h"
#include "tools/cluster/node_model.h"
#include "tools/cluster/report.h"

struct check_options {
    bool searches_owners; /* The nodes' `keys` are filled in then. */
    bool hides_nodes;     /* No description of each node. */
    bool shows_extra;     /* Further findings; they do not count as failures. */
};

/* Appends the check of a loaded cluster (the first node is the one that was asked for it). Returns
 * true when nothing is wrong. */
MUST_USE bool check_cluster(const struct node_list *nodes, const struct check_options *options,
                            struct report *report);

/* True when all loaded nodes have the same signature. */
MUST_USE bool check_nodes_agree(const struct node_list *nodes);

/* True when each slot has an owner among the primaries. */
MUST_USE bool check_all_slots_covered(const struct node_list *nodes);

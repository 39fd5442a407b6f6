/* Have all nodes met: do they agree, do they know each other, and if not, who cannot reach whom. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/base/compiler.h"
#include "tools/cluster/node_model.h"
#include "tools/cluster/report.h"

/* What one node says. */
struct node_view {
    const struct cluster_node *node;
    const struct node_list *view;
};

/* True when all views have the same signature and each lists `node_count` nodes, none of them in
 * handshake. */
MUST_USE bool join_is_complete(const struct node_view *views, size_t view_count, size_t node_count);

/* Appends the bus addresses that some view cannot reach, and from where. */
void join_describe_broken_links(const struct node_view *views, size_t view_count,
                                struct report *report);

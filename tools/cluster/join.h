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

/* True when the view lists every node that has a view, by its own id and with an address. Others in
 * the list (in handshake, failed, about to be forgotten) do not count: they may stay for ever. */
MUST_USE bool join_knows_all(const struct node_list *view, const struct node_view *views,
                             size_t view_count);

/* True when all views have the same signature and each knows all nodes that have a view. */
MUST_USE bool join_is_complete(const struct node_view *views, size_t view_count);

/* Appends the bus addresses that some view cannot reach, and from where. */
void join_describe_broken_links(const struct node_view *views, size_t view_count,
                                struct report *report);

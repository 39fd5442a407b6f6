/* How nodes and clusters are shown. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tools/cluster/node_model.h"
#include "tools/cluster/report.h"

/* Appends the two or three lines about a node, `indent` blanks before each. */
void describe_node(const struct cluster_node *node, unsigned indent, struct report *report);

/* Appends the two lines about a replica that is planned and not one yet. */
void describe_planned_replica(const struct cluster_node *node, struct report *report);

void describe_all(const struct node_list *nodes, struct report *report);

/* Appends what `info` shows of one primary, and what it shows at the end. */
void describe_key_count(const struct cluster_node *node, uint64_t key_count, struct report *report);
void describe_totals(size_t primary_count, uint64_t key_count, struct report *report);

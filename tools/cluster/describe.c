#include "tools/cluster/describe.h"

void describe_node(const struct cluster_node *node, unsigned indent, struct report *report) {
    report_plain(report, "%*s%c: %s %s:%d\n", (int)indent, "", node->is_replica ? 'S' : 'M',
                 node->id, node->host, node->port);
    report_plain(report, "%*s   slots:", (int)indent, "");
    slot_set_append_runs(&node->slots, true, &report->text);
    report_plain(report, " (%zu slots) %s\n", slot_set_count(&node->slots), node->flags);
    if (node->is_replica) {
        report_plain(report, "%*s   replicates %s\n", (int)indent, "", node->primary_id);
    } else if (node->replica_count > 0) {
        report_plain(report, "%*s   %zu additional replica(s)\n", (int)indent, "",
                     node->replica_count);
    }
}

void describe_planned_replica(const struct cluster_node *node, struct report *report) {
    report_plain(report, "S: %s %s:%d\n   replicates %s\n", node->id, node->host, node->port,
                 node->primary_id);
}

void describe_all(const struct node_list *nodes, struct report *report) {
    for (size_t i = 0; i < nodes->count; i++)
        describe_node(nodes->items[i], 0, report);
}

void describe_key_count(const struct cluster_node *node, uint64_t key_count,
                        struct report *report) {
    report_plain(report, "%s:%d (%.8s...) -> %llu keys | %zu slots | %zu %s.\n", node->host,
                 node->port, node->id, (unsigned long long)key_count, slot_set_count(&node->slots),
                 node->replica_count, report->profile->replicas);
}

void describe_totals(size_t primary_count, uint64_t key_count, struct report *report) {
    report_ok(report, "[OK] %llu keys in %zu %s.\n", (unsigned long long)key_count, primary_count,
              report->profile->primaries);
    report_plain(report, "%.2f keys per slot on average.\n",
                 (double)key_count / (double)CLUSTER_SLOTS);
}

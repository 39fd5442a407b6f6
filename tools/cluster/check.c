#include "tools/cluster/check.h"

#include <string.h>

#include "tools/cluster/describe.h"

static bool is_asked(const struct cluster_node *node) {
    return node->is_reachable;
}

bool check_nodes_agree(const struct node_list *nodes) {
    const char *first = NULL;
    for (size_t i = 0; i < nodes->count; i++) {
        const struct cluster_node *node = nodes->items[i];
        if (!is_asked(node) || node->signature == NULL) continue;
        if (first == NULL) first = node->signature;
        if (strcmp(first, node->signature) != 0) return false;
    }
    return first != NULL;
}

bool check_all_slots_covered(const struct node_list *nodes) {
    struct slot_set covered = {0};
    for (size_t i = 0; i < nodes->count; i++) {
        const struct cluster_node *node = nodes->items[i];
        if (is_asked(node) && !node->is_replica) slot_set_add_all(&covered, &node->slots);
    }
    return slot_set_count(&covered) == CLUSTER_SLOTS;
}

static void check_open_of_node(const struct cluster_node *node, const struct open_slots *open,
                               const char *state, struct slot_set *all, struct report *report) {
    if (open->count == 0) return;
    struct buffer list = {0};
    for (size_t i = 0; i < open->count; i++) {
        if (i > 0) buffer_append_u8(&list, ',');
        buffer_append_format(&list, "%u", open->items[i].slot);
        slot_set_add(all, open->items[i].slot);
    }
    report_error(report, "[WARNING] Node %s:%d has slots in %s state %.*s.\n", node->host,
                 node->port, state, (int)list.len, (const char *)list.data);
    buffer_deinit(&list);
}

static void append_slots(const struct slot_set *slots, struct buffer *out) {
    const char *before = "";
    for (unsigned slot = 0; slot < CLUSTER_SLOTS; slot++) {
        if (!slot_set_has(slots, slot)) continue;
        buffer_append_format(out, "%s%u", before, slot);
        before = ",";
    }
}

static bool check_open_slots(const struct node_list *nodes, struct report *report) {
    struct slot_set open = {0};
    report_info(report, ">>> Check for open slots...\n");
    for (size_t i = 0; i < nodes->count; i++) {
        const struct cluster_node *node = nodes->items[i];
        if (!is_asked(node)) continue;
        check_open_of_node(node, &node->migrating, "migrating", &open, report);
        check_open_of_node(node, &node->importing, "importing", &open, report);
    }
    if (slot_set_count(&open) == 0) return true;
    struct buffer list = {0};
    append_slots(&open, &list);
    report_error(report, "[WARNING] The following slots are open: %.*s.\n", (int)list.len,
                 (const char *)list.data);
    buffer_deinit(&list);
    return false;
}

static bool check_coverage(const struct node_list *nodes, struct report *report) {
    report_info(report, ">>> Check slots coverage...\n");
    if (check_all_slots_covered(nodes)) {
        report_ok(report, "[OK] All %u slots covered.\n", CLUSTER_SLOTS);
        return true;
    }
    report_error(report, "[ERR] Not all %u slots are covered by nodes.\n\n", CLUSTER_SLOTS);
    return false;
}

static bool owns(const struct cluster_node *node, unsigned slot) {
    if (!is_asked(node) || node->is_replica) return false;
    return slot_set_has(&node->slots, slot) || slot_set_has(&node->keys, slot);
}

static bool check_owners(const struct node_list *nodes, struct report *report) {
    bool is_clean = true;
    report_info(report, ">>> Check for multiple slot owners...\n");
    for (unsigned slot = 0; slot < CLUSTER_SLOTS; slot++) {
        size_t owner_count = 0;
        for (size_t i = 0; i < nodes->count; i++)
            owner_count += owns(nodes->items[i], slot);
        if (owner_count < 2) continue;
        is_clean = false;
        report_error(report, "[WARNING] Slot %u has %zu owners:\n", slot, owner_count);
        for (size_t i = 0; i < nodes->count; i++) {
            const struct cluster_node *node = nodes->items[i];
            if (owns(node, slot)) report_plain(report, "    %s:%d\n", node->host, node->port);
        }
    }
    if (is_clean) report_ok(report, "[OK] No multiple owners found.\n");
    return is_clean;
}

static void check_extra(const struct node_list *nodes, struct report *report) {
    report_info(report, ">>> Further findings...\n");
    for (size_t i = 0; i < nodes->count; i++) {
        const struct cluster_node *node = nodes->items[i];
        const char *finding = NULL;
        if (!node->is_reachable) {
            finding = "is not reachable";
        } else if (node->is_in_handshake) {
            finding = "is in handshake";
        } else if (!node->is_replica && slot_set_count(&node->slots) > 0 &&
                   node->replica_count == 0) {
            finding = "has slots and no replicas";
        } else if (node->is_replica && node_list_find(nodes, node->primary_id) == NULL) {
            finding = "replicates an unknown node";
        }
        if (finding != NULL) {
            report_plain(report, "Node %s:%d %s.\n", node->host, node->port, finding);
        }
        for (size_t k = 0; k < i; k++) {
            const struct cluster_node *other = nodes->items[k];
            if (node->is_replica || other->is_replica || !node->is_reachable) continue;
            if (!other->is_reachable || node->config_epoch != other->config_epoch) continue;
            report_plain(report, "Nodes %s:%d and %s:%d have the same config epoch %llu.\n",
                         other->host, other->port, node->host, node->port,
                         (unsigned long long)node->config_epoch);
        }
    }
}

bool check_cluster(const struct node_list *nodes, const struct check_options *options,
                   struct report *report) {
    report_info(report, ">>> Performing Cluster Check (using node %s:%d)\n", nodes->items[0]->host,
                nodes->items[0]->port);
    for (size_t i = 0; i < nodes->count && !options->hides_nodes; i++) {
        if (is_asked(nodes->items[i])) describe_node(nodes->items[i], 0, report);
    }
    bool is_clean = check_nodes_agree(nodes);
    if (is_clean) {
        report_ok(report, "[OK] All nodes agree about slots configuration.\n");
    } else {
        report_error(report, "[ERR] Nodes don't agree about configuration!\n");
    }
    is_clean &= check_open_slots(nodes, report);
    is_clean &= check_coverage(nodes, report);
    if (options->searches_owners) is_clean &= check_owners(nodes, report);
    if (options->shows_extra) check_extra(nodes, report);
    return is_clean;
}

#include "tools/cluster/membership.h"

#include <string.h>

struct cluster_node *membership_choose_primary(const struct node_list *nodes,
                                               const struct cluster_node *excluded) {
    struct cluster_node *chosen = NULL;
    for (size_t i = 0; i < nodes->count; i++) {
        struct cluster_node *node = nodes->items[i];
        if (node->is_replica || node == excluded || !node->is_reachable) continue;
        if (chosen == NULL || node->replica_count < chosen->replica_count) chosen = node;
    }
    return chosen;
}

static const struct cluster_node *find_address(const struct node_list *nodes, const char *host,
                                               int port) {
    for (size_t i = 0; i < nodes->count; i++) {
        const struct cluster_node *node = nodes->items[i];
        if (node->port == port && strcmp(node->host, host) == 0) return node;
    }
    return NULL;
}

enum join_decision membership_decide_join(const struct node_list *nodes, const char *host, int port,
                                          bool wants_replica, const struct cluster_node *primary,
                                          bool forces_role, struct report *report) {
    const struct cluster_node *member = find_address(nodes, host, port);
    if (member == NULL || !member->is_reachable) return JOIN_NEW;
    bool has_role = member->is_replica == wants_replica;
    if (has_role && wants_replica && primary != NULL) {
        has_role = strcmp(member->primary_id, primary->id) == 0;
    }
    if (has_role) return JOIN_DONE;
    /* A primary that has slots cannot become a replica, whoever asks. */
    bool can_change = wants_replica && (member->is_replica || slot_set_count(&member->slots) == 0);
    if (forces_role && can_change) return JOIN_CHANGE_ROLE;
    report_error(report, "[ERR] Node %s:%d is already a member of the cluster, as %s", host, port,
                 member->is_replica ? report->profile->replica : report->profile->primary);
    if (member->is_replica) report_error(report, " of %s", member->primary_id);
    report_error(report, ".\n");
    if (can_change) {
        report_plain(report, "Use --cluster-force-role to change its role.\n");
    }
    return JOIN_REFUSED;
}

size_t membership_plan_forget(struct node_list *nodes, const struct cluster_node *leaving,
                              struct forget_step *steps) {
    size_t count = 0;
    for (size_t i = 0; i < nodes->count; i++) {
        struct cluster_node *node = nodes->items[i];
        if (node == leaving || !node->is_reachable) continue;
        struct cluster_node *new_primary = NULL;
        if (node->is_replica && strcmp(node->primary_id, leaving->id) == 0) {
            new_primary = membership_choose_primary(nodes, leaving);
            if (new_primary != NULL) new_primary->replica_count++;
        }
        steps[count++] = (struct forget_step){.node = node, .new_primary = new_primary};
    }
    return count;
}

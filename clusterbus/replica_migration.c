/* A shard with replicas to spare lends one to a primary that has lost all of its own (specification
 * 6.8). */
#include "clusterbus/bus_internal.h"

#define MIGRATION_DELAY_MS 5000u

static bool is_orphaned(const struct node *node) {
    return node_is(node, BUS_NODE_PRIMARY) && !node_is(node, BUS_NODE_FAILED) &&
           node_is(node, BUS_NODE_MIGRATE_TO) && node_working_replicas(node) == 0;
}

static uint32_t healthy_replicas(const struct node *primary) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < primary->replica_count; i++)
        count += !node_is(primary->replicas[i], BUS_NODE_FAILED | BUS_NODE_SUSPECTED);
    return count;
}

void replica_migration_run(struct bus *bus, uint32_t max_replicas) {
    struct node *primary = bus->myself->primary;
    if (!bus->is_ok || primary == NULL) return;
    if (healthy_replicas(primary) <= bus->config.migration_barrier) return;

    struct node *target = NULL;
    struct node *candidate = bus->myself;
    for (uint32_t i = 0; i < bus->node_count; i++) {
        struct node *node = bus->nodes[i];
        if (is_orphaned(node)) {
            if (node->orphaned_ms == 0) node->orphaned_ms = bus->now_ms;
            if (target == NULL && node_slot_count(bus, node) > 0) target = node;
        } else {
            node->orphaned_ms = 0;
        }
        if (!node_is(node, BUS_NODE_PRIMARY) || node_working_replicas(node) != max_replicas)
            continue;
        for (uint32_t j = 0; j < node->replica_count; j++)
            if (node_id_compare(&node->replicas[j]->id, &candidate->id) < 0)
                candidate = node->replicas[j];
    }
    if (target == NULL || candidate != bus->myself) return;
    if (bus->now_ms - target->orphaned_ms <= MIGRATION_DELAY_MS) return;
    bus_log(bus, LOG_LEVEL_NOTICE, "Migrating to orphaned primary " ID_FORMAT, target->id.text);
    struct replicate_options options = {.closes_slots = true, .full_resync = true};
    role_become_replica(bus, target, options);
    bus_save_durably(bus);
}

/* Failed nodes and the state of the cluster (specification 4). */
#include "clusterbus/bus_internal.h"

#define STARTUP_WRITABLE_DELAY_MS 2000u
#define REJOIN_DELAY_MIN_MS 500u
#define REJOIN_DELAY_MAX_MS 5000u

uint32_t bus_quorum(const struct bus *bus) {
    uint32_t size = 0;
    for (uint32_t i = 0; i < bus->node_count; i++)
        size += node_is_voting(bus, bus->nodes[i]);
    return size / 2 + 1;
}

void failure_set(struct bus *bus, struct node *node) {
    node_drop_flags(node, BUS_NODE_SUSPECTED);
    node_add_flags(node, BUS_NODE_FAILED);
    node->failed_ms = bus->now_ms;
    node_changed(bus, node);
    bus->wants_state = true;
    bus_save(bus);
}

void failure_promote_if_quorum(struct bus *bus, struct node *node) {
    if (!node_is(node, BUS_NODE_SUSPECTED) || node_is(node, BUS_NODE_FAILED)) return;
    uint32_t voices = node_count_reports(node, bus->now_ms - bus->config.node_timeout_ms * 2);
    voices += node_is_voting(bus, bus->myself);
    if (voices < bus_quorum(bus)) return;
    bus_log(bus, LOG_LEVEL_NOTICE, "Marking node " ID_FORMAT " as failing (quorum reached).",
            node->id.text);
    failure_set(bus, node);
    message_broadcast_fail(bus, node);
}

/* A primary that still has slots is given time in which a replica may take them. */
void failure_clear_if_possible(struct bus *bus, struct node *node) {
    if (node_is_voting(bus, node) &&
        bus->now_ms - node->failed_ms <= bus->config.node_timeout_ms * 2)
        return;
    bus_log(bus, LOG_LEVEL_NOTICE, "Clear FAIL state for node " ID_FORMAT ": it is reachable again",
            node->id.text);
    node_drop_flags(node, BUS_NODE_FAILED);
    node_changed(bus, node);
    bus->wants_state = true;
    bus_save(bus);
}

static uint64_t rejoin_delay_ms(const struct bus *bus) {
    uint64_t delay_ms = bus->config.node_timeout_ms;
    if (delay_ms > REJOIN_DELAY_MAX_MS) return REJOIN_DELAY_MAX_MS;
    return delay_ms < REJOIN_DELAY_MIN_MS ? REJOIN_DELAY_MIN_MS : delay_ms;
}

void state_update(struct bus *bus) {
    bus->wants_state = false;
    if (bus->first_evaluation_ms == 0) bus->first_evaluation_ms = bus->now_ms;

    uint32_t size = 0;
    uint32_t reachable = 0;
    bool is_covered = slot_map_assigned_count(bus->slots) == BUS_SLOT_COUNT;
    for (uint32_t i = 0; i < bus->node_count; i++) {
        const struct node *node = bus->nodes[i];
        if (node_slot_count(bus, node) == 0) continue;
        if (node_is(node, BUS_NODE_FAILED)) is_covered = false;
        if (!node_is(node, BUS_NODE_PRIMARY)) continue;
        size++;
        reachable += !node_is(node, BUS_NODE_SUSPECTED | BUS_NODE_FAILED);
    }
    bus->size = size;

    if (i_am_primary(bus) && !bus->is_ok &&
        bus->now_ms - bus->first_evaluation_ms < STARTUP_WRITABLE_DELAY_MS)
        return;
    bool is_ok = is_covered || !bus->config.require_full_coverage;
    if (reachable < size / 2 + 1) {
        is_ok = false;
        bus->minority_ms = bus->now_ms;
    }
    if (is_ok == bus->is_ok) return;
    if (is_ok && i_am_primary(bus) && bus->minority_ms != 0 &&
        bus->now_ms - bus->minority_ms < rejoin_delay_ms(bus))
        return;
    bus->is_ok = is_ok;
    bus->version++;
    effects_add(bus->out, BUS_EFFECT_STATE)->is_ok = is_ok;
    bus_log(bus, LOG_LEVEL_NOTICE, "Cluster state changed: %s", is_ok ? "ok" : "fail");
}

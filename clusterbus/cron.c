/* What happens ten times a second (specification 3.2). */
#include "clusterbus/bus_internal.h"

#define RANDOM_PING_EVERY 10u /* Ticks. */
#define RANDOM_PING_DRAWS 5u

static uint64_t handshake_timeout_ms(const struct bus *bus) {
    return bus->config.node_timeout_ms > 1000 ? bus->config.node_timeout_ms : 1000;
}

static void keep_links(struct bus *bus) {
    bus->suspected_count = 0;
    for (uint32_t i = 0; i < bus->node_count;) {
        struct node *node = bus->nodes[i];
        if (node == bus->myself || node_is(node, BUS_NODE_NOADDR)) {
            i++;
            continue;
        }
        bus->suspected_count += node_is(node, BUS_NODE_SUSPECTED);
        if (node_is(node, BUS_NODE_HANDSHAKE) &&
            bus->now_ms - node->created_ms > handshake_timeout_ms(bus)) {
            node_delete(bus, node); /* The last node takes its place. */
            continue;
        }
        if (node->out_link == NULL && node->ip[0] != '\0' && node->bus_port != 0)
            link_dial(bus, node);
        i++;
    }
}

static void ping_someone(struct bus *bus) {
    struct node *oldest = NULL;
    for (uint32_t i = 0; i < RANDOM_PING_DRAWS; i++) {
        struct node *node = bus->nodes[rng_below(bus->rng, bus->node_count)];
        if (!node_is_reachable(node) || node->ping_sent_ms != 0) continue;
        if (node == bus->myself || node_is(node, BUS_NODE_HANDSHAKE)) continue;
        if (oldest == NULL || node->pong_received_ms < oldest->pong_received_ms) oldest = node;
    }
    if (oldest != NULL) message_send_gossip(bus, oldest->out_link, WIRE_PING);
}

/* A link that brings nothing although we wait may be dead without knowing it. */
static void drop_stale_link(struct bus *bus, struct node *node) {
    uint64_t half_ms = bus->config.node_timeout_ms / 2;
    if (node->out_link == NULL || node->ping_sent_ms == 0) return;
    if (bus->now_ms - node->out_link->created_ms <= bus->config.node_timeout_ms) return;
    if (bus->now_ms - node->ping_sent_ms <= half_ms) return;
    if (bus->now_ms - node->data_received_ms <= half_ms) return;
    link_end(bus, node->out_link, false);
}

/* A peer that is well but never dials us may have forgotten us: meet it again. */
static void meet_again(struct bus *bus, struct node *node) {
    const unsigned unusual =
        BUS_NODE_HANDSHAKE | BUS_NODE_MEET | BUS_NODE_SUSPECTED | BUS_NODE_FAILED;
    uint64_t timeout_ms = handshake_timeout_ms(bus);
    if (node->in_link != NULL || !node_is_reachable(node) || node_is(node, unusual)) return;
    if (!node_is(node, BUS_NODE_LIGHT_MODULE)) return; /* Those handle a second MEET. */
    if (bus->now_ms - node->in_link_end_ms <= timeout_ms) return;
    if (node->meet_sent_ms != 0 && bus->now_ms - node->meet_sent_ms <= timeout_ms) return;
    message_send_gossip(bus, node->out_link, WIRE_MEET);
}

static uint64_t ping_interval_ms(const struct bus *bus) {
    return bus->config.ping_interval_ms != 0 ? bus->config.ping_interval_ms
                                             : bus->config.node_timeout_ms / 2;
}

static void suspect_if_silent(struct bus *bus, struct node *node) {
    uint64_t ping_age_ms = bus->now_ms - node->ping_sent_ms;
    uint64_t data_age_ms = bus->now_ms - node->data_received_ms;
    uint64_t silence_ms = ping_age_ms < data_age_ms ? ping_age_ms : data_age_ms;
    if (silence_ms <= bus->config.node_timeout_ms) return;
    if (node_is(node, BUS_NODE_SUSPECTED | BUS_NODE_FAILED)) return;
    bus_log(bus, LOG_LEVEL_DEBUG, "*** NODE " ID_FORMAT " possibly failing", node->id.text);
    node_add_flags(node, BUS_NODE_SUSPECTED);
    node_changed(bus, node);
    bus->wants_state = true;
    if (node_is_voting(bus, bus->myself)) failure_promote_if_quorum(bus, node);
}

static void watch_node(struct bus *bus, struct node *node) {
    drop_stale_link(bus, node);
    meet_again(bus, node);
    if (node_is_reachable(node) && node->ping_sent_ms == 0 &&
        bus->now_ms - node->pong_received_ms > ping_interval_ms(bus)) {
        message_send_gossip(bus, node->out_link, WIRE_PING);
        return;
    }
    if (bus->manual.end_ms != 0 && bus->manual.replica == node && node_is_reachable(node)) {
        message_send_gossip(bus, node->out_link, WIRE_PING);
        return;
    }
    if (node->ping_sent_ms != 0) suspect_if_silent(bus, node);
}

static void run_as_replica(struct bus *bus) {
    uint32_t orphaned = 0;
    uint32_t max_replicas = 0;
    uint32_t mine = 0;
    for (uint32_t i = 0; i < bus->node_count; i++) {
        const struct node *node = bus->nodes[i];
        if (!node_is(node, BUS_NODE_PRIMARY) || node_is(node, BUS_NODE_FAILED)) continue;
        uint32_t replicas = node_working_replicas(node);
        orphaned +=
            replicas == 0 && node_slot_count(bus, node) > 0 && node_is(node, BUS_NODE_MIGRATE_TO);
        if (replicas > max_replicas) max_replicas = replicas;
        if (node == bus->myself->primary) mine = replicas;
    }
    manual_failover_run(bus);
    failover_run(bus);
    if (i_am_primary(bus)) return;
    if (orphaned > 0 && max_replicas >= 2 && mine == max_replicas &&
        bus->config.allow_replica_migration)
        replica_migration_run(bus, max_replicas);
}

void cron_run(struct bus *bus) {
    bus->tick_count++;
    keep_links(bus);
    if (bus->tick_count % RANDOM_PING_EVERY == 0) ping_someone(bus);
    for (uint32_t i = 0; i < bus->node_count; i++) {
        struct node *node = bus->nodes[i];
        if (node == bus->myself || node_is(node, BUS_NODE_NOADDR | BUS_NODE_HANDSHAKE)) continue;
        watch_node(bus, node);
    }
    if (!i_am_primary(bus) && !bus->facts.replicates) role_follow_again(bus, false);
    manual_failover_expire(bus);
    if (!i_am_primary(bus)) run_as_replica(bus);
    if (!bus->is_ok) bus->wants_state = true;
}

#include <string.h>

#include "clusterbus/bus_internal.h"
#include "server/base/check.h"

size_t bus_node_count(const struct bus *bus) {
    return bus->node_count;
}

static uint64_t wall_of(const struct bus *bus, uint64_t moment_ms) {
    if (moment_ms == 0) return 0;
    uint64_t ago_ms = bus->now_ms - moment_ms;
    return ago_ms < bus->now.wall_ms ? bus->now.wall_ms - ago_ms : 0;
}

static const char *name_or_empty(const struct node *node, enum node_name which) {
    return node->names[which] != NULL ? node->names[which] : "";
}

static void view_node(const struct bus *bus, const struct node *node, struct bus_node_view *out) {
    uint32_t slot_count = node_slot_count(bus, node);
    *out = (struct bus_node_view){
        .id = node->id,
        .shard_id = node->shard_id,
        .has_primary = node->primary != NULL,
        .flags = node->flags,
        .config_epoch = node->primary != NULL ? node->primary->config_epoch : node->config_epoch,
        .repl_offset = node == bus->myself ? bus->facts.repl_offset : node->repl_offset,
        .ping_sent_wall_ms = wall_of(bus, node->ping_sent_ms),
        .pong_received_wall_ms = wall_of(bus, node->pong_received_ms),
        .out_link = node->out_link != NULL ? node->out_link->id : BUS_LINK_NONE,
        .in_link = node->in_link != NULL ? node->in_link->id : BUS_LINK_NONE,
        .ip = node->ip,
        .tcp_port = node_tcp_port(bus, node),
        .tls_port = node_tls_port(bus, node),
        .bus_port = node->bus_port,
        .hostname = name_or_empty(node, NAME_HOST),
        .human_nodename = name_or_empty(node, NAME_HUMAN),
        .client_ipv4 = name_or_empty(node, NAME_CLIENT_IPV4),
        .client_ipv6 = name_or_empty(node, NAME_CLIENT_IPV6),
        .slot_count = slot_count,
        .slots = slot_count > 0 ? slot_map_bitmap_view(bus->slots, node->member) : NULL,
        .replica_count = node->replica_count,
    };
    if (node->primary != NULL) out->primary_id = node->primary->id;
}

void bus_node_view_at(const struct bus *bus, size_t index, struct bus_node_view *out) {
    ASSERT(index < bus->node_count);
    view_node(bus, bus->nodes[index], out);
}

bool bus_node_find(const struct bus *bus, struct bytes id, struct bus_node_view *out) {
    struct node_id parsed;
    if (!node_id_parse(id, &parsed)) return false;
    const struct node *node = node_find(bus, &parsed);
    if (node == NULL) return false;
    view_node(bus, node, out);
    return true;
}

void bus_slot_view(const struct bus *bus, uint16_t slot, struct bus_slot_view *out) {
    const struct node *owner = node_of_member(bus, slot_map_owner(bus->slots, slot));
    const struct node *target = node_of_member(bus, slot_map_migrating(bus->slots, slot));
    const struct node *source = node_of_member(bus, slot_map_importing(bus->slots, slot));
    *out = (struct bus_slot_view){.has_owner = owner != NULL,
                                  .is_mine = owner == bus->myself,
                                  .is_migrating = target != NULL,
                                  .is_importing = source != NULL};
    if (owner != NULL) out->owner = owner->id;
    if (target != NULL) out->migrating_to = target->id;
    if (source != NULL) out->importing_from = source->id;
}

const char *bus_message_type_text(unsigned type) {
    static const char *const texts[BUS_MESSAGE_TYPE_COUNT] = {
        "ping",     "pong",   "meet",    "fail",   "publish",     "auth-req",
        "auth-ack", "update", "mfstart", "module", "publishshard"};
    ASSERT(type < BUS_MESSAGE_TYPE_COUNT);
    return texts[type];
}

bool bus_is_ok(const struct bus *bus) {
    return bus->is_ok;
}

struct bus_epochs bus_epochs_view(const struct bus *bus) {
    return (struct bus_epochs){.current = bus->current_epoch,
                               .mine = bus->myself->config_epoch,
                               .last_vote = bus->last_vote_epoch,
                               .is_primary = i_am_primary(bus)};
}

void bus_status_view(const struct bus *bus, struct bus_status *out) {
    const struct node *served = my_primary(bus);
    *out = (struct bus_status){
        .is_ok = bus->is_ok,
        .is_primary = i_am_primary(bus),
        .current_epoch = bus->current_epoch,
        .last_vote_epoch = bus->last_vote_epoch,
        .my_epoch = served != NULL ? served->config_epoch : bus->myself->config_epoch,
        .size = bus->size,
        .known_nodes = bus->node_count,
        .slots_assigned = slot_map_assigned_count(bus->slots),
        .manual_failover_runs = bus->manual.end_ms != 0,
        .version = bus->version,
    };
    for (uint32_t i = 0; i < bus->node_count; i++) {
        const struct node *node = bus->nodes[i];
        uint32_t slots = node_slot_count(bus, node);
        bool is_voting = node_is_voting(bus, node);
        if (node_is(node, BUS_NODE_FAILED)) {
            out->slots_failed += slots;
            out->nodes_failed++;
            out->voting_failed += is_voting;
        } else if (node_is(node, BUS_NODE_SUSPECTED)) {
            out->slots_suspected += slots;
            out->nodes_suspected++;
            out->voting_suspected += is_voting;
        } else {
            out->slots_ok += slots;
        }
    }
    memcpy(out->sent, bus->sent, sizeof(out->sent));
    memcpy(out->received, bus->received, sizeof(out->received));
}

bool bus_failure_report_count(const struct bus *bus, struct bytes id, struct bus_now now,
                              uint32_t *out_count) {
    struct node_id parsed;
    if (!node_id_parse(id, &parsed)) return false;
    const struct node *node = node_find(bus, &parsed);
    if (node == NULL) return false;
    uint64_t oldest_ms = now.mono_ms + BUS_TIME_BASE - bus->config.node_timeout_ms * 2;
    uint32_t count = 0;
    for (uint32_t i = 0; i < node->report_count; i++)
        count += node->reports[i].time_ms >= oldest_ms;
    *out_count = count;
    return true;
}

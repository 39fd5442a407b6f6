/* The administrator's commands (specification 8.8, 8.11, 8.12). */
#include <arpa/inet.h>
#include <string.h>

#include "clusterbus/bus_internal.h"

#define BUS_PORT_OFFSET 10000

/* The node that a command names; NULL when it is none we know. */
static struct node *find_named(const struct bus *bus, const struct bus_command *command) {
    struct node_id id;
    if (!node_id_parse(command->node, &id)) return NULL;
    struct node *node = node_find(bus, &id);
    return node != NULL && !node_is(node, BUS_NODE_HANDSHAKE) ? node : NULL;
}

static bool is_port(int64_t port) {
    return port > 0 && port <= UINT16_MAX;
}

/* The address in the form that everybody writes it in; false when it is none. */
static bool normalise_ip(struct bytes text, char *out) {
    uint8_t parsed[16];
    if (text.len == 0 || text.len >= BUS_IP_CAP || memchr(text.data, 0, text.len) != NULL)
        return false;
    bytes_to_text(text, out, BUS_IP_CAP);
    for (int i = 0; i < 2; i++) {
        int family = i == 0 ? AF_INET : AF_INET6;
        if (inet_pton(family, out, parsed) == 1)
            return inet_ntop(family, parsed, out, BUS_IP_CAP) != NULL;
    }
    return false;
}

static enum bus_result meet(struct bus *bus, const struct bus_command *command) {
    char ip[BUS_IP_CAP];
    int64_t bus_port = command->bus_port != 0 ? command->bus_port : command->port + BUS_PORT_OFFSET;
    if (!is_port(command->port) || !is_port(bus_port) || !normalise_ip(command->ip, ip)) {
        bus->out->result_args.argument =
            bytes_of_text(effects_format(bus->out, "%.*s:%lld", (int)command->ip.len,
                                         (const char *)command->ip.data, (long long)command->port));
        return BUS_BAD_ADDRESS;
    }
    handshake_start(bus, ip, (uint16_t)command->port, 0, (uint16_t)bus_port, BUS_NODE_MEET);
    return BUS_OK;
}

static enum bus_result forget(struct bus *bus, const struct bus_command *command) {
    struct node_id id;
    struct node *node = find_named(bus, command);
    if (node == NULL) {
        bool is_forgotten = node_id_parse(command->node, &id) && blacklist_has(bus, &id);
        return is_forgotten ? BUS_OK : BUS_UNKNOWN_NODE;
    }
    if (node == bus->myself) return BUS_FORGET_MYSELF;
    if (node == bus->myself->primary) return BUS_FORGET_PRIMARY;
    id = node->id;
    blacklist_add(bus, &id, bus->config.blacklist_ttl_ms);
    node_delete(bus, node);
    bus_save(bus);
    return BUS_OK;
}

static uint64_t key_count(const struct bus *bus) {
    return bus->host.key_count(bus->host.context);
}

static enum bus_result replicate(struct bus *bus, const struct bus_command *command) {
    struct node *me = bus->myself;
    struct node *node = find_named(bus, command);
    if (node == NULL) return BUS_UNKNOWN_NODE;
    if (node == me) return BUS_REPLICATE_MYSELF;
    if (node_is(node, BUS_NODE_REPLICA)) return BUS_REPLICATE_REPLICA;
    if (i_am_primary(bus) && (node_slot_count(bus, me) > 0 || key_count(bus) > 0))
        return BUS_REPLICATE_NOT_EMPTY;
    if (me->primary == node) return BUS_OK;
    struct replicate_options options = {.closes_slots = true, .full_resync = true};
    role_become_replica(bus, node, options);
    message_broadcast_pong(bus, false);
    bus_save_durably(bus);
    return BUS_OK;
}

static enum bus_result replicate_no_one(struct bus *bus) {
    if (i_am_primary(bus)) return BUS_OK;
    effects_add(bus->out, BUS_EFFECT_FLUSH_DATASET);
    manual_failover_reset(bus);
    role_become_primary(bus);
    rng_hex(bus->rng, bus->myself->shard_id.text, NODE_ID_LENGTH);
    message_broadcast_pong(bus, false);
    bus_save_durably(bus);
    return BUS_OK;
}

/* ---- Slots ------------------------------------------------------------------------------------
 */

/* Whether each slot of the ranges may be given away, or taken away; notes the first that may not.
 */
static enum bus_result check_ranges(struct bus *bus, const struct bus_command *command,
                                    bool wants_assigned) {
    uint8_t seen[BUS_SLOT_BYTES] = {0};
    for (size_t i = 0; i < command->range_count; i++) {
        struct slot_range range = command->ranges[i];
        if (range.last >= BUS_SLOT_COUNT) return BUS_BAD_SLOT;
        bus->out->result_args.slots = range;
        if (range.first > range.last) return BUS_BAD_RANGE;
        for (uint32_t slot = range.first; slot <= range.last; slot++) {
            uint16_t number = (uint16_t)slot;
            bus->out->result_args.slots = (struct slot_range){number, number};
            bool is_assigned = slot_map_owner(bus->slots, number) != MEMBER_NONE;
            if (is_assigned != wants_assigned)
                return wants_assigned ? BUS_SLOT_UNASSIGNED : BUS_SLOT_BUSY;
            if (slot_bits_has(seen, number)) return BUS_SLOT_REPEATED;
            slot_bits_add(seen, number);
        }
    }
    return BUS_OK;
}

static enum bus_result change_ranges(struct bus *bus, const struct bus_command *command,
                                     bool is_adding) {
    enum bus_result result = check_ranges(bus, command, !is_adding);
    if (result != BUS_OK) return result;
    for (size_t i = 0; i < command->range_count; i++)
        for (uint32_t slot = command->ranges[i].first; slot <= command->ranges[i].last; slot++) {
            if (is_adding && slot_map_importing(bus->slots, (uint16_t)slot) != MEMBER_NONE)
                slot_set_importing(bus, (uint16_t)slot, NULL);
            slot_assign(bus, (uint16_t)slot, is_adding ? bus->myself : NULL);
        }
    bus->wants_state = true;
    bus_save_durably(bus);
    return BUS_OK;
}

static enum bus_result flush_slots(struct bus *bus) {
    if (key_count(bus) > 0) return BUS_FLUSHSLOTS_NOT_EMPTY;
    slot_assign_all(bus, bus->myself, NULL);
    bus->wants_state = true;
    bus_save_durably(bus);
    return BUS_OK;
}

static enum bus_result take_slots(struct bus *bus, const struct bus_command *command) {
    if (!i_am_primary(bus)) return BUS_NOT_PRIMARY;
    for (size_t i = 0; i < command->range_count; i++)
        if (command->ranges[i].last >= BUS_SLOT_COUNT) return BUS_BAD_SLOT;
    for (size_t i = 0; i < command->range_count; i++)
        for (uint32_t slot = command->ranges[i].first; slot <= command->ranges[i].last; slot++) {
            if (slot_map_importing(bus->slots, (uint16_t)slot) != MEMBER_NONE)
                slot_set_importing(bus, (uint16_t)slot, NULL);
            if (slot_map_migrating(bus->slots, (uint16_t)slot) != MEMBER_NONE)
                slot_set_migrating(bus, (uint16_t)slot, NULL);
            slot_assign(bus, (uint16_t)slot, bus->myself);
        }
    if (command->epoch > 0 && bus->current_epoch < command->epoch - 1)
        bus->current_epoch = command->epoch - 1;
    if (!epoch_bump(bus) && bus->myself->config_epoch < command->epoch) {
        bus->current_epoch = command->epoch;
        node_set_epoch(bus, bus->myself, command->epoch);
    }
    bus_save_durably(bus);
    message_broadcast_pong(bus, false);
    return BUS_OK;
}

static enum bus_result set_slot_peer(struct bus *bus, const struct bus_command *command) {
    bool is_migrating = command->type == BUS_COMMAND_SETSLOT_MIGRATING;
    bool is_mine = slot_map_owner(bus->slots, command->slot) == my_primary(bus)->member;
    if (is_migrating && !is_mine) return BUS_SLOT_NOT_MINE;
    if (!is_migrating && is_mine) return BUS_SLOT_ALREADY_MINE;
    struct node *peer = find_named(bus, command);
    if (peer == NULL) return BUS_UNKNOWN_PEER;
    if (node_is(peer, BUS_NODE_REPLICA)) return BUS_TARGET_IS_REPLICA;
    if (is_migrating)
        slot_set_migrating(bus, command->slot, peer);
    else
        slot_set_importing(bus, command->slot, peer);
    return BUS_OK;
}

static enum bus_result set_slot_node(struct bus *bus, const struct bus_command *command) {
    uint16_t slot = command->slot;
    struct node *me = bus->myself;
    struct node *served = my_primary(bus);
    struct node *target = find_named(bus, command);
    if (target == NULL) return BUS_UNKNOWN_NODE;
    if (node_is(target, BUS_NODE_REPLICA)) return BUS_TARGET_IS_REPLICA;
    struct node *owner = node_of_member(bus, slot_map_owner(bus->slots, slot));
    bool has_keys = bus->host.slot_key_count(bus->host.context, slot) > 0;
    if (owner == me && target != me && has_keys) return BUS_SLOT_HAS_KEYS;

    if (!has_keys && slot_map_migrating(bus->slots, slot) != MEMBER_NONE)
        slot_set_migrating(bus, slot, NULL);
    slot_assign(bus, slot, target);
    bus_save_durably(bus);
    if (owner != NULL && owner == served && target != served && node_slot_count(bus, served) == 0 &&
        bus->config.allow_replica_migration) {
        bool same_shard = node_same_shard(target, me);
        struct replicate_options options = {.closes_slots = !same_shard,
                                            .full_resync = !same_shard};
        bus_log(bus, LOG_LEVEL_NOTICE,
                "My last slot has left. Reconfiguring myself as a replica of " ID_FORMAT,
                target->id.text);
        role_become_replica(bus, target, options);
    }
    if ((target == me || target == served) && slot_map_importing(bus->slots, slot) != MEMBER_NONE) {
        slot_set_importing(bus, slot, NULL);
        if (target == me) {
            epoch_bump(bus);
            message_broadcast_pong(bus, false);
        }
    }
    return BUS_OK;
}

static enum bus_result set_slot(struct bus *bus, const struct bus_command *command) {
    bus->out->result_args.slots = (struct slot_range){command->slot, command->slot};
    if (command->slot >= BUS_SLOT_COUNT) return BUS_BAD_SLOT;
    if (!i_am_primary(bus) && (!command->from_primary_link || bus->myself->primary == NULL))
        return BUS_SETSLOT_REPLICA;
    enum bus_result result = BUS_OK;
    if (command->type == BUS_COMMAND_SETSLOT_NODE) {
        result = set_slot_node(bus, command);
    } else if (command->type == BUS_COMMAND_SETSLOT_STABLE) {
        slot_set_migrating(bus, command->slot, NULL);
        slot_set_importing(bus, command->slot, NULL);
    } else {
        result = set_slot_peer(bus, command);
    }
    if (result != BUS_OK) return result;
    bus->wants_state = true;
    bus_save_durably(bus);
    return BUS_OK;
}

/* ---- Epochs, reset ----------------------------------------------------------------------------
 */

static enum bus_result set_config_epoch(struct bus *bus, const struct bus_command *command) {
    if (bus->node_count > 1) return BUS_EPOCH_NOT_ALONE;
    if (bus->myself->config_epoch != 0) return BUS_EPOCH_NOT_ZERO;
    node_set_epoch(bus, bus->myself, command->epoch);
    if (bus->current_epoch < command->epoch) bus->current_epoch = command->epoch;
    bus->wants_state = true;
    bus_save_durably(bus);
    return BUS_OK;
}

static enum bus_result bump_epoch(struct bus *bus) {
    bool is_bumped = epoch_bump(bus);
    bus->out->result_args.epoch = bus->myself->config_epoch;
    return is_bumped ? BUS_OK_BUMPED : BUS_OK_STILL;
}

static enum bus_result reset(struct bus *bus, bool is_hard) {
    struct node *me = bus->myself;
    if (i_am_primary(bus) && key_count(bus) > 0) return BUS_RESET_NOT_EMPTY;
    if (!i_am_primary(bus)) effects_add(bus->out, BUS_EFFECT_FLUSH_DATASET);
    manual_failover_reset(bus);
    role_become_primary(bus);
    slots_close_all(bus);
    for (uint32_t i = 0; i < bus->node_count; i++)
        slot_assign_all(bus, bus->nodes[i], NULL);
    while (bus->node_count > 1)
        node_delete(bus, bus->nodes[bus->node_count - 1]);
    bus->blacklist_count = 0;
    if (is_hard) {
        bus->current_epoch = bus->last_vote_epoch = 0;
        node_set_epoch(bus, me, 0);
        struct node_id id;
        rng_hex(bus->rng, id.text, NODE_ID_LENGTH);
        node_rename(bus, me, &id);
        rng_hex(bus->rng, me->shard_id.text, NODE_ID_LENGTH);
        bus_log(bus, LOG_LEVEL_NOTICE, "Node hard reset, now I'm " ID_FORMAT, me->id.text);
    }
    bus->wants_state = true;
    bus_save_durably(bus);
    return BUS_OK;
}

enum bus_result command_run(struct bus *bus, const struct bus_command *command) {
    bus->out->result_args.argument = command->node;
    switch (command->type) {
    case BUS_COMMAND_MEET:
        return meet(bus, command);
    case BUS_COMMAND_FORGET:
        return forget(bus, command);
    case BUS_COMMAND_REPLICATE:
        return replicate(bus, command);
    case BUS_COMMAND_REPLICATE_NO_ONE:
        return replicate_no_one(bus);
    case BUS_COMMAND_ADDSLOTS:
        return change_ranges(bus, command, true);
    case BUS_COMMAND_DELSLOTS:
        return change_ranges(bus, command, false);
    case BUS_COMMAND_FLUSHSLOTS:
        return flush_slots(bus);
    case BUS_COMMAND_SETSLOT_MIGRATING:
    case BUS_COMMAND_SETSLOT_IMPORTING:
    case BUS_COMMAND_SETSLOT_STABLE:
    case BUS_COMMAND_SETSLOT_NODE:
        return set_slot(bus, command);
    case BUS_COMMAND_SET_CONFIG_EPOCH:
        return set_config_epoch(bus, command);
    case BUS_COMMAND_BUMPEPOCH:
        return bump_epoch(bus);
    case BUS_COMMAND_FAILOVER:
    case BUS_COMMAND_FAILOVER_FORCE:
    case BUS_COMMAND_FAILOVER_TAKEOVER:
        return manual_failover_start(bus, command->type);
    case BUS_COMMAND_RESET_SOFT:
        return reset(bus, false);
    case BUS_COMMAND_RESET_HARD:
        return reset(bus, true);
    case BUS_COMMAND_SAVECONFIG:
        bus_save_durably(bus);
        return BUS_OK;
    case BUS_COMMAND_TAKE_SLOTS:
        return take_slots(bus, command);
    }
    return BUS_OK;
}

/* Who owns which slot, and which role follows from it (specification 5). */
#include <string.h>

#include "clusterbus/bus_internal.h"
#include "server/base/check.h"

/* ---- Slots and their effects ------------------------------------------------------------------
 */

static bool any_primary_has_replica(const struct bus *bus) {
    for (uint32_t i = 0; i < bus->node_count; i++)
        if (bus->nodes[i]->replica_count > 0) return true;
    return false;
}

static void route_changed(struct bus *bus, uint16_t slot) {
    slot_bits_add(effects_slots(bus->out, BUS_EFFECT_ROUTES), slot);
    bus->version++;
}

void slot_assign(struct bus *bus, uint16_t slot, struct node *owner) {
    uint16_t before = slot_map_owner(bus->slots, slot);
    uint16_t member = owner != NULL ? owner->member : MEMBER_NONE;
    slot_map_assign(bus->slots, slot, member);
    if (before == member) return;
    route_changed(bus, slot);
    bus->wants_state = true;
    if (before != MEMBER_NONE)
        slot_bits_add(effects_slots(bus->out, BUS_EFFECT_DROP_CHANNELS), slot);
    if (owner != NULL && node_slot_count(bus, owner) == 1 && any_primary_has_replica(bus))
        node_add_flags(owner, BUS_NODE_MIGRATE_TO);
}

void slot_assign_all(struct bus *bus, struct node *from, struct node *to) {
    if (node_slot_count(bus, from) == 0) return;
    uint8_t bitmap[BUS_SLOT_BYTES];
    memcpy(bitmap, slot_map_bitmap_view(bus->slots, from->member), sizeof(bitmap));
    for (uint32_t i = 0; i < SLOT_WORDS; i++)
        for (uint64_t word = slot_bits_word(bitmap, i); word != 0; word &= word - 1)
            slot_assign(bus, (uint16_t)(i * 64 + (uint32_t)__builtin_ctzll(word)), to);
}

void slot_set_migrating(struct bus *bus, uint16_t slot, struct node *target) {
    slot_map_set_migrating(bus->slots, slot, target != NULL ? target->member : MEMBER_NONE);
    route_changed(bus, slot);
}

void slot_set_importing(struct bus *bus, uint16_t slot, struct node *source) {
    slot_map_set_importing(bus->slots, slot, source != NULL ? source->member : MEMBER_NONE);
    route_changed(bus, slot);
}

static bool has_open_slots(const struct bus *bus) {
    return slot_map_migrating_count(bus->slots) + slot_map_importing_count(bus->slots) > 0;
}

void slots_close_all(struct bus *bus) {
    if (!has_open_slots(bus)) return;
    for (uint16_t slot = 0; slot < BUS_SLOT_COUNT; slot++) {
        if (slot_map_migrating(bus->slots, slot) != MEMBER_NONE)
            slot_set_migrating(bus, slot, NULL);
        if (slot_map_importing(bus->slots, slot) != MEMBER_NONE)
            slot_set_importing(bus, slot, NULL);
    }
}

/* ---- My role ----------------------------------------------------------------------------------
 */

void role_follow_again(struct bus *bus, bool full_resync) {
    const struct node *primary = bus->myself->primary;
    if (primary == NULL || primary->ip[0] == '\0') return;
    const char *ip = effects_copy_text(bus->out, primary->ip);
    struct bus_effect *effect = effects_add(bus->out, BUS_EFFECT_BECOME_REPLICA);
    effect->node = primary->id;
    effect->primary_ip = ip;
    effect->primary_port = node_replication_port(bus, primary);
    effect->full_resync = full_resync;
}

void role_become_replica(struct bus *bus, struct node *primary, struct replicate_options options) {
    struct node *me = bus->myself;
    ASSERT(primary != me && node_slot_count(bus, me) == 0);
    node_drop_flags(me, BUS_NODE_PRIMARY | BUS_NODE_MIGRATE_TO);
    node_add_flags(me, BUS_NODE_REPLICA);
    if (options.closes_slots) slots_close_all(bus);
    node_set_primary(me, primary);
    me->shard_id = primary->shard_id;
    node_changed(bus, me);
    role_follow_again(bus, options.full_resync);

    uint8_t *dropped = effects_slots(bus->out, BUS_EFFECT_DROP_CHANNELS);
    const uint8_t *kept = slot_map_bitmap_view(bus->slots, primary->member);
    for (uint32_t i = 0; i < BUS_SLOT_BYTES; i++)
        dropped[i] = (uint8_t)(dropped[i] | ~kept[i]);
    manual_failover_reset(bus);
    bus->election = (struct election){0};
    bus->wants_state = true;
}

void role_become_primary(struct bus *bus) {
    struct node *me = bus->myself;
    if (i_am_primary(bus)) return;
    node_set_primary(me, NULL);
    node_drop_flags(me, BUS_NODE_REPLICA);
    node_add_flags(me, BUS_NODE_PRIMARY);
    node_changed(bus, me);
    bus->election = (struct election){0};
    effects_add(bus->out, BUS_EFFECT_BECOME_PRIMARY);
    bus->wants_state = true;
}

/* ---- Epochs -----------------------------------------------------------------------------------
 */

bool epoch_bump(struct bus *bus) {
    uint64_t max = bus->current_epoch;
    for (uint32_t i = 0; i < bus->node_count; i++)
        if (bus->nodes[i]->config_epoch > max) max = bus->nodes[i]->config_epoch;
    if (bus->myself->config_epoch != 0 && bus->myself->config_epoch == max) return false;
    bus->current_epoch = max + 1;
    node_set_epoch(bus, bus->myself, bus->current_epoch);
    bus_save_durably(bus);
    bus_log(bus, LOG_LEVEL_NOTICE, "New configEpoch set to %llu",
            (unsigned long long)bus->current_epoch);
    return true;
}

/* Two primaries under one epoch: the one with the smaller id takes the next. */
static void resolve_collision(struct bus *bus, const struct node *sender, uint64_t epoch) {
    struct node *me = bus->myself;
    if (!i_am_primary(bus) || !node_is(sender, BUS_NODE_PRIMARY)) return;
    if (epoch != me->config_epoch || sender->config_epoch != me->config_epoch) return;
    if (node_id_compare(&sender->id, &me->id) <= 0) return;
    bus->current_epoch++;
    node_set_epoch(bus, me, bus->current_epoch);
    bus_save_durably(bus);
    bus_log(bus, LOG_LEVEL_NOTICE,
            "configEpoch collision with node " ID_FORMAT ". Updating my configEpoch to %llu",
            sender->id.text, (unsigned long long)bus->current_epoch);
}

/* ---- Claims -----------------------------------------------------------------------------------
 */

/* What applying one claim finds out on its way. */
struct claim {
    struct node *node;
    uint64_t epoch;
    struct node *served; /* Whose slots I serve: myself or my primary. */
    bool same_shard;
    bool took_from_served;
    bool has_dirty;
    uint8_t dirty[BUS_SLOT_BYTES]; /* Slots that I lost with keys in them. */
};

/* A slot that is claimed by a node that does not have it (5.4 step 2). */
static void take_slot(struct bus *bus, struct claim *claim, uint16_t slot) {
    if (slot_map_claim_is_stale(bus->slots, slot, claim->node->member, claim->epoch)) return;
    struct node *owner = node_of_member(bus, slot_map_owner(bus->slots, slot));
    if (owner == bus->myself && bus->host.slot_key_count(bus->host.context, slot) > 0) {
        slot_bits_add(claim->dirty, slot);
        claim->has_dirty = true;
    }
    if (owner != NULL && owner == claim->served) claim->took_from_served = true;

    if (slot_map_migrating(bus->slots, slot) != MEMBER_NONE && !claim->same_shard)
        slot_set_migrating(bus, slot, NULL);
    struct node *source = node_of_member(bus, slot_map_importing(bus->slots, slot));
    if (source != NULL && source != claim->node)
        slot_set_importing(bus, slot, node_same_shard(source, claim->node) ? claim->node : NULL);
    slot_assign(bus, slot, claim->node);
    bus_save_durably(bus);
}

/* An open slot that the node does not claim (steps 4 and 5): the target's shard has failed over, or
 * the source has given the slot up. */
static void follow_open_slot(struct bus *bus, struct claim *claim, uint16_t slot) {
    struct node *node = claim->node;
    struct node *target = node_of_member(bus, slot_map_migrating(bus->slots, slot));
    if (target != NULL && target != node && node_same_shard(target, node) &&
        (target->config_epoch < claim->epoch || node_is(target, BUS_NODE_REPLICA))) {
        slot_set_migrating(bus, slot, node);
        bus_save_durably(bus);
    }
    if (!i_am_primary(bus) || slot_map_importing(bus->slots, slot) != node->member) return;
    uint16_t owner = slot_map_owner(bus->slots, slot);
    /* A third node that owns the slot has not given it up. */
    if (owner != MEMBER_NONE && owner != node->member && owner != bus->myself->member) return;
    slot_set_importing(bus, slot, NULL);
    bus_save_durably(bus);
    if (owner == bus->myself->member) return;
    slot_assign(bus, slot, bus->myself);
    epoch_bump(bus);
    bus_log(bus, LOG_LEVEL_NOTICE, "Took slot %u over: its source has given it up", slot);
}

static void walk_claimed_slots(struct bus *bus, struct claim *claim, const uint8_t *claimed) {
    uint16_t member = claim->node->member;
    bool has_open = has_open_slots(bus);
    for (uint32_t i = 0; i < SLOT_WORDS; i++) {
        uint64_t asked = slot_bits_word(claimed, i);
        uint64_t owned = slot_bits_word(slot_map_bitmap_view(bus->slots, member), i);
        for (uint64_t word = asked | owned; word != 0; word &= word - 1) {
            uint16_t slot = (uint16_t)(i * 64 + (uint32_t)__builtin_ctzll(word));
            uint64_t bit = word & -word;
            if (!(owned & bit))
                take_slot(bus, claim, slot);
            else
                slot_map_mark_unclaimed(bus->slots, slot, !(asked & bit));
        }
        if (!has_open) continue;
        for (uint64_t word = ~asked; word != 0; word &= word - 1)
            follow_open_slot(bus, claim, (uint16_t)(i * 64 + (uint32_t)__builtin_ctzll(word)));
    }
}

static bool is_empty_bitmap(const uint8_t *bitmap) {
    for (uint32_t i = 0; i < SLOT_WORDS; i++)
        if (slot_bits_word(bitmap, i) != 0) return false;
    return true;
}

void claims_apply(struct bus *bus, struct node *node, uint64_t epoch, const uint8_t *claimed) {
    struct node *me = bus->myself;
    if (node == me) {
        bus_log(bus, LOG_LEVEL_NOTICE, "Discarding a claim about myself.");
        return;
    }
    struct claim claim = {.node = node,
                          .epoch = epoch,
                          .served = my_primary(bus),
                          .same_shard = node_same_shard(node, me)};
    walk_claimed_slots(bus, &claim, claimed);

    bool follows = claim.took_from_served;
    /* A shard without slots has a new primary too. */
    if (!follows && me->primary != node && is_empty_bitmap(claimed) &&
        node_slot_count(bus, me) == 0 && claim.same_shard && claim.served != NULL &&
        claim.served->config_epoch < epoch)
        follows = true;

    if (follows && claim.served != NULL && node_slot_count(bus, claim.served) == 0) {
        if (bus->config.allow_replica_migration || claim.same_shard) {
            bus_log(
                bus, LOG_LEVEL_NOTICE,
                "Configuration change detected. Reconfiguring myself as a replica of " ID_FORMAT,
                node->id.text);
            struct replicate_options options = {.closes_slots = !claim.same_shard,
                                                .full_resync = !claim.same_shard};
            role_become_replica(bus, node, options);
            bus_save_durably(bus);
            return;
        }
        bus_log(bus, LOG_LEVEL_NOTICE,
                "My last slot was moved to " ID_FORMAT "; I stay an empty primary.", node->id.text);
    }
    if (!claim.has_dirty) return;
    uint8_t *deleted = effects_slots(bus->out, BUS_EFFECT_DELETE_KEYS);
    for (uint32_t i = 0; i < BUS_SLOT_BYTES; i++)
        deleted[i] |= claim.dirty[i];
}

/* Tells a sender whose claim is out of date who has the first such slot. */
static void correct_stale_claim(struct bus *bus, struct node *sender, uint64_t epoch,
                                const uint8_t *claimed) {
    if (!node_is_reachable(sender)) return;
    const uint8_t *owned = slot_map_bitmap_view(bus->slots, sender->member);
    for (uint32_t i = 0; i < SLOT_WORDS; i++) {
        uint64_t word = slot_bits_word(claimed, i) & ~slot_bits_word(owned, i);
        for (; word != 0; word &= word - 1) {
            uint16_t slot = (uint16_t)(i * 64 + (uint32_t)__builtin_ctzll(word));
            if (slot_map_is_unclaimed(bus->slots, slot)) continue;
            const struct node *owner = node_of_member(bus, slot_map_owner(bus->slots, slot));
            if (owner == sender || owner->config_epoch <= epoch) continue;
            message_send_update(bus, sender->out_link, owner);
            return;
        }
    }
}

/* ---- Roles of others --------------------------------------------------------------------------
 */

static void sender_became_primary(struct bus *bus, struct node *sender) {
    if (node_is(sender, BUS_NODE_PRIMARY) && sender->primary == NULL) return;
    bool had_primary = sender->primary != NULL;
    node_set_primary(sender, NULL);
    if (had_primary) node_add_flags(sender, BUS_NODE_MIGRATE_TO);
    node_drop_flags(sender, BUS_NODE_REPLICA);
    node_add_flags(sender, BUS_NODE_PRIMARY);
    node_changed(bus, sender);
    bus->wants_state = true;
    bus_save(bus);
}

static void sender_became_replica(struct bus *bus, struct node *sender, struct node *claimed,
                                  uint64_t epoch) {
    if (claimed != NULL && claimed != sender && node_same_shard(claimed, sender)) {
        if (sender->config_epoch > epoch) {
            bus_log(bus, LOG_LEVEL_NOTICE,
                    "Ignored a stale claim of " ID_FORMAT " to be a replica of " ID_FORMAT,
                    sender->id.text, claimed->id.text);
        } else if (claimed != bus->myself) {
            /* A failover that we learn of from the one who lost. */
            sender_became_primary(bus, claimed);
            if (claimed->config_epoch < epoch) node_set_epoch(bus, claimed, epoch);
        }
    } else {
        slot_assign_all(bus, sender, NULL);
    }
    node_drop_flags(sender, BUS_NODE_PRIMARY | BUS_NODE_MIGRATE_TO);
    node_add_flags(sender, BUS_NODE_REPLICA);
    node_changed(bus, sender);
    bus->wants_state = true;
    bus_save(bus);
}

/* My primary is itself a replica: follow the one on top. */
static void leave_sub_replica(struct bus *bus) {
    struct node *primary = bus->myself->primary;
    if (i_am_primary(bus) || primary == NULL || primary->primary == NULL) return;
    struct node *top = node_top_primary(primary);
    if (top == bus->myself || top == primary) return;
    struct replicate_options options = {.closes_slots = true,
                                        .full_resync = !node_same_shard(top, bus->myself)};
    bus_log(bus, LOG_LEVEL_NOTICE,
            "I'm a sub-replica! Reconfiguring myself from " ID_FORMAT " to " ID_FORMAT,
            primary->id.text, top->id.text);
    role_become_replica(bus, top, options);
    bus_save_durably(bus);
}

void claims_adopt_shard(struct bus *bus, struct node *node, const struct node_id *shard_id) {
    if (!node_id_equal(&node->shard_id, shard_id)) {
        node->shard_id = *shard_id;
        node_changed(bus, node);
        bus_save(bus);
    }
    struct node *me = bus->myself;
    if (me->primary == node && !node_same_shard(me, node)) {
        me->shard_id = node->shard_id;
        node_changed(bus, me);
        bus_save_durably(bus);
    }
}

static void on_role(struct bus *bus, struct node *sender, const struct wire_header *header) {
    if (node_id_is_zero(&header->replica_of)) {
        sender_became_primary(bus, sender);
        return;
    }
    struct node *claimed = node_find(bus, &header->replica_of);
    if (claimed == sender) claimed = NULL;
    if (node_is(sender, BUS_NODE_PRIMARY))
        sender_became_replica(bus, sender, claimed, header->config_epoch);
    else if (!node_is(sender, BUS_NODE_REPLICA))
        node_add_flags(sender, BUS_NODE_REPLICA); /* Known by name alone until now. */
    if (claimed == NULL || claimed == sender->primary) return;
    node_set_primary(sender, claimed);
    sender->shard_id = claimed->shard_id;
    node_changed(bus, sender);
    bus_save(bus);
    leave_sub_replica(bus);
}

void claims_on_gossip(struct bus *bus, struct node *sender, const struct wire_message *message) {
    const struct wire_header *header = &message->header;
    bool was_replica = node_is(sender, BUS_NODE_REPLICA);
    on_role(bus, sender, header);

    if (node_id_is_zero(&header->replica_of)) {
        const uint8_t *owned = slot_map_bitmap_view(bus->slots, sender->member);
        if (was_replica || memcmp(owned, header->slots, BUS_SLOT_BYTES) != 0) {
            claims_apply(bus, sender, header->config_epoch, header->slots);
            correct_stale_claim(bus, sender, header->config_epoch, header->slots);
        }
    }
    resolve_collision(bus, sender, header->config_epoch);
}

void claims_on_update(struct bus *bus, const struct wire_message *message) {
    struct node *node = node_find(bus, &message->update.node);
    uint64_t epoch = message->update.config_epoch;
    if (node == NULL || node_is(node, BUS_NODE_HANDSHAKE) || node->config_epoch >= epoch) return;
    if (node == bus->myself) return;
    if (node_is(node, BUS_NODE_REPLICA)) sender_became_primary(bus, node);
    node_set_epoch(bus, node, epoch);
    if (epoch > bus->current_epoch) bus->current_epoch = epoch;
    bus_save_durably(bus);
    claims_apply(bus, node, epoch, message->update.slots);
}

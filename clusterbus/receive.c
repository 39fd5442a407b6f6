/* A packet comes in: who sent it, may it be believed, what does its type ask for (specification
 * 1.4 to 1.7, 3.5, 3.6). */
#include <string.h>

#include "clusterbus/bus_internal.h"

static uint64_t handshake_timeout_ms(const struct bus *bus) {
    return bus->config.node_timeout_ms > 1000 ? bus->config.node_timeout_ms : 1000;
}

struct node *handshake_start(struct bus *bus, const char *ip, uint16_t port, uint16_t other_port,
                             uint16_t bus_port, uint16_t flags) {
    for (uint32_t i = 0; i < bus->node_count; i++) {
        const struct node *node = bus->nodes[i];
        if (node_is(node, BUS_NODE_HANDSHAKE) && strcmp(node->ip, ip) == 0 && node->port == port &&
            node->bus_port == bus_port)
            return NULL;
    }
    struct node *node = node_create(bus, NULL, (uint16_t)(BUS_NODE_HANDSHAKE | flags));
    if (node == NULL) return NULL;
    memcpy(node->ip, ip, strnlen(ip, BUS_IP_CAP - 1));
    node->port = port;
    node->other_port = other_port;
    node->bus_port = bus_port;
    return node;
}

/* What a header says of its sender's address. */
static const char *header_ip(const struct link *link, const struct wire_header *header) {
    const char *ip = address_clean(header->ip);
    return ip[0] != '\0' ? ip : link->peer_ip;
}

static bool take_address(struct bus *bus, struct node *node, const struct link *link,
                         const struct wire_header *header) {
    const char *ip = header_ip(link, header);
    if (node == bus->myself || ip[0] == '\0') return false;
    if (strcmp(node->ip, ip) == 0 && node->port == header->port &&
        node->other_port == header->other_port && node->bus_port == header->bus_port)
        return false;
    char copy[BUS_IP_CAP] = {0};
    memcpy(copy, ip, strnlen(ip, BUS_IP_CAP - 1));
    memcpy(node->ip, copy, BUS_IP_CAP);
    node->port = header->port;
    node->other_port = header->other_port;
    node->bus_port = header->bus_port;
    node_drop_flags(node, BUS_NODE_NOADDR);
    if (node->out_link != NULL && node->out_link != link) link_end(bus, node->out_link, false);
    node_changed(bus, node);
    bus_log(bus, LOG_LEVEL_NOTICE, "Address updated for node " ID_FORMAT ", now %s:%u",
            node->id.text, node->ip, node->port);
    if (node == bus->myself->primary) role_follow_again(bus, false);
    bus->wants_state = true;
    bus_save(bus);
    return true;
}

/* Every full header of a known sender: what it can do, how far its epochs and data are. */
static void note_sender(struct bus *bus, struct node *sender, const struct wire_message *message) {
    const struct wire_header *header = &message->header;
    const uint16_t capabilities = BUS_NODE_LIGHT_PUBLISH | BUS_NODE_LIGHT_MODULE;
    sender->flags = (uint16_t)((sender->flags & ~capabilities) | (header->flags & capabilities));
    if (header->message_flags[0] & WIRE_HAS_EXTENSIONS) node_add_flags(sender, BUS_NODE_EXTENSIONS);
    sender->data_received_ms = bus->now_ms;

    if (header->current_epoch > bus->current_epoch) {
        bus->current_epoch = header->current_epoch;
        bus_save_durably(bus);
    }
    bool claims_primary = node_id_is_zero(&header->replica_of);
    if (claims_primary && header->config_epoch > sender->config_epoch) {
        node_set_epoch(bus, sender, header->config_epoch);
        bus_save_durably(bus);
    }
    sender->repl_offset = header->repl_offset;

    struct manual_failover *manual = &bus->manual;
    if (manual->end_ms != 0 && !i_am_primary(bus) && sender == bus->myself->primary &&
        (header->message_flags[0] & WIRE_PAUSED) && manual->offset == OFFSET_UNKNOWN) {
        manual->offset = header->repl_offset;
        bus->wants_manual_failover = true;
        bus_log(bus, LOG_LEVEL_NOTICE,
                "Received replication offset for paused primary manual failover: %llu",
                (unsigned long long)manual->offset);
    }
    if (claims_primary) failover_observe_epoch(bus, header->config_epoch);
}

/* ---- PING, PONG, MEET -------------------------------------------------------------------------
 */

static void learn_own_ip(struct bus *bus, const struct link *link, uint16_t type) {
    if (bus->config.announce_ip[0] != '\0' || link->local_ip[0] == '\0') return;
    if (type != WIRE_MEET && bus->myself->ip[0] != '\0') return;
    myself_set_ip(bus, link->local_ip);
}

/* A stranger wants to meet us. */
static void on_meet_of_stranger(struct bus *bus, struct link *link,
                                const struct wire_message *message) {
    const struct wire_header *header = &message->header;
    const char *ip = header_ip(link, header);
    if (link->node == NULL && ip[0] != '\0' && header->bus_port != 0) {
        struct node *node =
            handshake_start(bus, ip, header->port, header->other_port, header->bus_port, 0);
        if (node != NULL) link_set_inbound(bus, link, node);
    }
    gossip_apply(bus, link->node, message);
}

/* Someone we know, and have known for a while, says MEET: it has lost our link. A new one brings it
 * a ping at once. */
static void on_meet_of_friend(struct bus *bus, struct node *sender, const struct link *link) {
    if (sender->out_link == NULL || sender->out_link == link) return;
    if (bus->now_ms - sender->created_ms <= handshake_timeout_ms(bus)) return;
    if (bus->now_ms - sender->out_link->created_ms <= handshake_timeout_ms(bus)) return;
    link_end(bus, sender->out_link, false);
}

/* The first answer on a link that we dialled to meet a node. False: the link's node is gone. */
static bool finish_handshake(struct bus *bus, struct link *link, struct node *known,
                             const struct wire_header *header) {
    struct node *node = link->node;
    if (known != NULL || !node_id_is_valid(&header->sender)) {
        bus_log(bus, LOG_LEVEL_VERBOSE, "Handshake: we already know node " ID_FORMAT,
                header->sender.text);
        if (known != NULL && known != bus->myself) take_address(bus, known, link, header);
        node_delete(bus, node);
        bus_save(bus);
        return false;
    }
    node_drop_flags(node, BUS_NODE_HANDSHAKE);
    node_add_flags(node, header->flags & (BUS_NODE_PRIMARY | BUS_NODE_REPLICA));
    if (node_is(node, BUS_NODE_PRIMARY)) node_drop_flags(node, BUS_NODE_REPLICA);
    node->created_ms = bus->now_ms;
    node_rename(bus, node, &header->sender);
    bus_log(bus, LOG_LEVEL_NOTICE, "Handshake with node " ID_FORMAT " completed.", node->id.text);
    bus_save(bus);
    return true;
}

/* Another node answers at the address of the one we dialled. */
static void on_other_identity(struct bus *bus, struct link *link) {
    struct node *node = link->node;
    bus_log(bus, LOG_LEVEL_NOTICE, "Node " ID_FORMAT " is no longer at %s:%u", node->id.text,
            node->ip, node->bus_port);
    node_add_flags(node, BUS_NODE_NOADDR);
    memset(node->ip, 0, BUS_IP_CAP);
    node->port = node->other_port = node->bus_port = 0;
    node_changed(bus, node);
    link_end(bus, link, false);
    bus_save(bus);
}

static void on_pong(struct bus *bus, struct node *node) {
    node->pong_received_ms = bus->now_ms;
    node->ping_sent_ms = 0;
    if (node_is(node, BUS_NODE_SUSPECTED)) {
        node_drop_flags(node, BUS_NODE_SUSPECTED);
        node_changed(bus, node);
        bus->wants_state = true;
        bus_save(bus);
    } else if (node_is(node, BUS_NODE_FAILED)) {
        failure_clear_if_possible(bus, node);
    }
}

static void on_gossip_message(struct bus *bus, struct link *link, struct node *sender,
                              const struct wire_message *message) {
    const struct wire_header *header = &message->header;
    if (header->type != WIRE_PONG) {
        learn_own_ip(bus, link, header->type);
        if (header->type == WIRE_MEET) {
            if (sender == NULL)
                on_meet_of_stranger(bus, link, message);
            else
                on_meet_of_friend(bus, sender, link);
        }
        message_send_gossip(bus, link, WIRE_PONG);
    }
    if (sender != NULL) node_drop_flags(sender, BUS_NODE_MEET);

    if (link->is_outbound) {
        if (node_is(link->node, BUS_NODE_HANDSHAKE)) {
            if (!finish_handshake(bus, link, sender, header)) return;
        } else if (!node_id_equal(&link->node->id, &header->sender)) {
            on_other_identity(bus, link);
            return;
        }
    }

    if (sender != NULL) {
        sender->flags = (uint16_t)((sender->flags & ~BUS_NODE_NOFAILOVER) |
                                   (header->flags & BUS_NODE_NOFAILOVER));
        if (header->type == WIRE_PING && !node_is(sender, BUS_NODE_HANDSHAKE) &&
            sender->out_link != link)
            take_address(bus, sender, link, header);
    }
    if (link->is_outbound && header->type == WIRE_PONG) on_pong(bus, link->node);
    if (sender == NULL || sender == bus->myself) return;
    claims_on_gossip(bus, sender, message);
    gossip_apply(bus, sender, message);
    gossip_apply_extensions(bus, sender, message);
}

/* ---- All types --------------------------------------------------------------------------------
 */

static void on_fail(struct bus *bus, const struct wire_message *message) {
    struct node *node = node_find(bus, &message->failed);
    if (node == NULL || node == bus->myself || node_is(node, BUS_NODE_FAILED)) return;
    bus_log(bus, LOG_LEVEL_NOTICE, "FAIL message received from " ID_FORMAT " about " ID_FORMAT,
            message->header.sender.text, node->id.text);
    failure_set(bus, node);
}

static void on_publish(struct bus *bus, const struct wire_message *message) {
    struct bus_effect *effect = effects_add(bus->out, BUS_EFFECT_DELIVER);
    effect->channel = message->publish.channel;
    effect->message = message->publish.message;
    effect->is_shard = message->header.type == WIRE_PUBLISH_SHARD;
}

static void dispatch(struct bus *bus, struct link *link, struct node *sender,
                     const struct wire_message *message) {
    switch (message->header.type) {
    case WIRE_PING:
    case WIRE_PONG:
    case WIRE_MEET:
        on_gossip_message(bus, link, sender, message);
        return;
    default:
        break;
    }
    if (sender == NULL || sender == bus->myself) return;
    switch (message->header.type) {
    case WIRE_FAIL:
        on_fail(bus, message);
        break;
    case WIRE_PUBLISH:
    case WIRE_PUBLISH_SHARD:
        on_publish(bus, message);
        break;
    case WIRE_VOTE_REQUEST:
        failover_on_vote_request(bus, sender, message);
        break;
    case WIRE_VOTE:
        failover_on_vote(bus, sender, message);
        break;
    case WIRE_MFSTART:
        manual_failover_on_request(bus, link, sender);
        break;
    case WIRE_UPDATE:
        claims_on_update(bus, message);
        break;
    default:
        break; /* MODULE: there are no modules here. */
    }
}

static bool is_filtered(struct bus *bus, struct link *link, uint16_t type) {
    if (bus->packet_filter != -2 && bus->packet_filter != (int)type) return false;
    if (bus->filter_closes_link) link_end(bus, link, false);
    return true;
}

static void receive_light(struct bus *bus, struct link *link, const struct wire_message *message) {
    struct node *sender = link->node;
    if (sender == NULL || node_is(sender, BUS_NODE_HANDSHAKE)) {
        link_end(bus, link, false);
        return;
    }
    sender->data_received_ms = bus->now_ms;
    dispatch(bus, link, sender, message);
}

void receive_packet(struct bus *bus, struct link *link, struct bytes packet) {
    size_t len;
    if (bus_frame_length(packet, &len) != STATUS_OK || len != packet.len) {
        link_end(bus, link, false);
        return;
    }
    bool is_light;
    uint16_t type = wire_peek_type(packet, &is_light);
    if (is_light && !wire_type_has_light_form(type)) return;
    if (type < BUS_MESSAGE_TYPE_COUNT) bus->received[type]++;
    if (bus->packet_filter != -1 && is_filtered(bus, link, type)) return;
    struct wire_message message;
    if (wire_decode(packet, &message) != STATUS_OK) {
        bus_log(bus, LOG_LEVEL_WARNING, "Ignored a malformed packet of type %u and %zu bytes", type,
                packet.len);
        return;
    }
    if (is_light) {
        receive_light(bus, link, &message);
        return;
    }

    /* The id in the header counts, also where the link was another's: what a node says under a new
     * name must not be booked on its old one. A temporary id names nobody. */
    struct node *sender = node_find(bus, &message.header.sender);
    if (sender != NULL && node_is(sender, BUS_NODE_HANDSHAKE)) sender = NULL;
    if (message.header.message_flags[0] & WIRE_HAS_EXTENSIONS) link->peer_has_extensions = true;
    if (sender != NULL && sender != bus->myself) {
        if (link->node == NULL) link_set_inbound(bus, link, sender);
        note_sender(bus, sender, &message);
    }
    dispatch(bus, link, sender, &message);
}

/* Building and sending packets (specification 2 and 3.3). */
#include <string.h>

#include "clusterbus/bus_internal.h"
#include "server/base/check.h"

/* Forgotten nodes told of in one packet. */
#define FORGOTTEN_PER_PACKET 1024u

static uint64_t wall_of(const struct bus *bus, uint64_t moment_ms) {
    if (moment_ms == 0) return 0;
    uint64_t ago_ms = bus->now_ms - moment_ms;
    return ago_ms < bus->now.wall_ms ? bus->now.wall_ms - ago_ms : 0;
}

static void fill_header(const struct bus *bus, enum wire_type type, struct wire_header *out) {
    const struct node *me = bus->myself;
    const struct node *primary = me->primary != NULL ? me->primary : me;
    memset(out, 0, sizeof(*out));
    out->type = (uint16_t)type;
    out->port = me->port;
    out->other_port = me->other_port;
    out->bus_port = me->bus_port;
    out->current_epoch = bus->current_epoch;
    out->config_epoch = primary->config_epoch;
    out->repl_offset = bus->facts.repl_offset;
    out->sender = me->id;
    out->slots = slot_map_bitmap_view(bus->slots, primary->member);
    if (me->primary != NULL) out->replica_of = me->primary->id;
    memcpy(out->ip, bus->config.announce_ip, BUS_IP_CAP);
    out->flags = me->flags;
    out->state = bus->is_ok ? 0 : 1;
    if (i_am_primary(bus) && bus->manual.end_ms != 0) out->message_flags[0] |= WIRE_PAUSED;
}

static void send_packet(struct bus *bus, struct link *link, struct bus_packet *packet,
                        enum wire_type type) {
    effects_send(bus->out, link->id, packet);
    bus->sent[type]++;
}

/* Sends, and lets go of the packet. */
static void send_once(struct bus *bus, struct link *link, struct bus_packet *packet,
                      enum wire_type type) {
    send_packet(bus, link, packet, type);
    bus_packet_unref(packet);
}

/* ---- PING, PONG, MEET -------------------------------------------------------------------------
 */

static void describe(const struct bus *bus, const struct node *node, struct wire_gossip *out) {
    out->id = node->id;
    out->ping_sent_s = (uint32_t)(wall_of(bus, node->ping_sent_ms) / 1000);
    out->pong_received_s = (uint32_t)(wall_of(bus, node->pong_received_ms) / 1000);
    memcpy(out->ip, node->ip, BUS_IP_CAP);
    out->port = node->port;
    out->bus_port = node->bus_port;
    out->flags = node->flags;
    out->other_port = node->other_port;
}

/* Some nodes at random, then everyone we suspect: bad news travels in every packet. */
static uint8_t *put_gossip(struct bus *bus, uint8_t *at, const struct node *receiver,
                           uint32_t wanted, uint32_t suspected_wanted, uint16_t *out_count) {
    uint32_t fresh = bus->node_count > 2 ? bus->node_count - 2 : 0;
    uint32_t count = 0;
    uint32_t mark = ++bus->gossip_mark;
    struct wire_gossip entry;
    for (uint32_t draws = wanted * 3; draws > 0 && fresh > 0 && count < wanted; draws--) {
        struct node *node = bus->nodes[rng_below(bus->rng, bus->node_count)];
        if (node == bus->myself || node == receiver || node_is(node, BUS_NODE_SUSPECTED)) continue;
        if (node_is(node, BUS_NODE_HANDSHAKE | BUS_NODE_NOADDR) ||
            (node->out_link == NULL && node_slot_count(bus, node) == 0)) {
            fresh--;
            continue;
        }
        if (node->gossip_mark == mark) continue;
        node->gossip_mark = mark;
        describe(bus, node, &entry);
        at = wire_put_gossip(at, &entry);
        fresh--;
        count++;
    }
    for (uint32_t i = 0; i < bus->node_count && suspected_wanted > 0; i++) {
        const struct node *node = bus->nodes[i];
        if (!node_is(node, BUS_NODE_SUSPECTED) ||
            node_is(node, BUS_NODE_HANDSHAKE | BUS_NODE_NOADDR))
            continue;
        describe(bus, node, &entry);
        at = wire_put_gossip(at, &entry);
        suspected_wanted--;
        count++;
    }
    *out_count = (uint16_t)count;
    return at;
}

static const uint16_t name_extension[NAME_COUNT] = {
    [NAME_HOST] = WIRE_EXTENSION_HOSTNAME,
    [NAME_HUMAN] = WIRE_EXTENSION_HUMAN_NODENAME,
    [NAME_CLIENT_IPV4] = WIRE_EXTENSION_CLIENT_IPV4,
    [NAME_CLIENT_IPV6] = WIRE_EXTENSION_CLIENT_IPV6,
};

static uint32_t forgotten_count(const struct bus *bus) {
    return bus->blacklist_count < FORGOTTEN_PER_PACKET ? bus->blacklist_count
                                                       : FORGOTTEN_PER_PACKET;
}

static size_t extensions_size(const struct bus *bus) {
    size_t size = WIRE_EXTENSION_SIZE(NODE_ID_LENGTH) +
                  forgotten_count(bus) * (size_t)WIRE_EXTENSION_SIZE(WIRE_FORGOTTEN_LEN);
    for (int i = 0; i < NAME_COUNT; i++)
        if (bus->myself->names[i] != NULL)
            size += WIRE_EXTENSION_SIZE(strlen(bus->myself->names[i]) + 1);
    return size;
}

static uint8_t *put_extensions(struct bus *bus, uint8_t *at, uint16_t *out_count) {
    uint16_t count = 0;
    for (int i = 0; i < NAME_COUNT; i++) {
        const char *name = bus->myself->names[i];
        if (name == NULL) continue;
        at = wire_put_extension(at, name_extension[i], bytes_of(name, strlen(name) + 1));
        count++;
    }
    for (uint32_t i = 0; i < forgotten_count(bus); i++) {
        const struct blacklist_entry *entry = &bus->blacklist[i];
        uint8_t data[WIRE_FORGOTTEN_LEN];
        memcpy(data, entry->id.text, NODE_ID_LENGTH);
        wire_put_u64(data + NODE_ID_LENGTH, (entry->until_ms - bus->now_ms + 999) / 1000);
        at = wire_put_extension(at, WIRE_EXTENSION_FORGOTTEN, bytes_of(data, sizeof(data)));
        count++;
    }
    at = wire_put_extension(at, WIRE_EXTENSION_SHARD_ID,
                            bytes_of(bus->myself->shard_id.text, NODE_ID_LENGTH));
    *out_count = (uint16_t)(count + 1);
    return at;
}

void message_send_gossip(struct bus *bus, struct link *link, enum wire_type type) {
    struct node *node = link->node;
    uint32_t wanted = bus->node_count / 10 > 3 ? bus->node_count / 10 : 3;
    uint32_t fresh = bus->node_count > 2 ? bus->node_count - 2 : 0;
    if (wanted > fresh) wanted = fresh;
    uint32_t suspected = bus->suspected_count;
    bool sends_extensions =
        link->peer_has_extensions || (node != NULL && node_is(node, BUS_NODE_EXTENSIONS));
    if (bus->blacklist_count > 0) blacklist_purge(bus);

    size_t cap = WIRE_HEADER_SIZE + (wanted + suspected) * (size_t)WIRE_GOSSIP_SIZE +
                 (sends_extensions ? extensions_size(bus) : 0);
    struct bus_packet *packet = packet_create((uint32_t)cap);
    struct wire_header header;
    fill_header(bus, type, &header);
    header.message_flags[0] |= WIRE_HAS_EXTENSIONS;
    uint8_t *end = put_gossip(bus, packet->data + WIRE_HEADER_SIZE, node, wanted, suspected,
                              &header.gossip_count);
    if (sends_extensions) end = put_extensions(bus, end, &header.extension_count);
    wire_put_header(packet->data, &header);
    wire_finish(packet->data, end);
    packet->len = (uint32_t)(end - packet->data);
    ASSERT(packet->len <= cap);

    if (node != NULL && link->is_outbound) {
        if (type == WIRE_PING) node->ping_sent_ms = bus->now_ms;
        if (type == WIRE_MEET) node->meet_sent_ms = bus->now_ms;
    }
    send_once(bus, link, packet, type);
}

void message_broadcast_pong(struct bus *bus, bool only_my_shard) {
    const struct node *primary = my_primary(bus);
    for (uint32_t i = 0; i < bus->node_count; i++) {
        struct node *node = bus->nodes[i];
        if (node == bus->myself || node_is(node, BUS_NODE_HANDSHAKE) || !node_is_reachable(node))
            continue;
        if (only_my_shard && (primary == NULL || node->primary != primary)) continue;
        message_send_gossip(bus, node->out_link, WIRE_PONG);
    }
}

/* ---- The others -------------------------------------------------------------------------------
 */

/* A packet of a full header, and room for `extra` bytes behind it. */
static struct bus_packet *start_packet(struct bus *bus, enum wire_type type, uint32_t extra,
                                       uint8_t message_flags) {
    struct wire_header header;
    fill_header(bus, type, &header);
    header.message_flags[0] |= message_flags;
    struct bus_packet *packet = packet_create(WIRE_HEADER_SIZE + extra);
    wire_put_header(packet->data, &header);
    wire_finish(packet->data, packet->data + packet->len);
    return packet;
}

static void broadcast(struct bus *bus, struct bus_packet *packet, enum wire_type type) {
    for (uint32_t i = 0; i < bus->node_count; i++) {
        struct node *node = bus->nodes[i];
        if (node == bus->myself || node_is(node, BUS_NODE_HANDSHAKE) || !node_is_reachable(node))
            continue;
        send_packet(bus, node->out_link, packet, type);
    }
    bus_packet_unref(packet);
}

void message_broadcast_fail(struct bus *bus, const struct node *failed) {
    struct bus_packet *packet = start_packet(bus, WIRE_FAIL, NODE_ID_LENGTH, 0);
    wire_put_fail(packet->data + WIRE_HEADER_SIZE, &failed->id);
    broadcast(bus, packet, WIRE_FAIL);
}

void message_broadcast_vote_request(struct bus *bus) {
    uint8_t force = bus->manual.end_ms != 0 ? WIRE_FORCE_VOTE : 0;
    broadcast(bus, start_packet(bus, WIRE_VOTE_REQUEST, 0, force), WIRE_VOTE_REQUEST);
}

void message_send_vote(struct bus *bus, struct node *to) {
    if (!node_is_reachable(to)) return;
    send_once(bus, to->out_link, start_packet(bus, WIRE_VOTE, 0, 0), WIRE_VOTE);
}

void message_send_mfstart(struct bus *bus, struct node *to) {
    if (!node_is_reachable(to)) return;
    send_once(bus, to->out_link, start_packet(bus, WIRE_MFSTART, 0, 0), WIRE_MFSTART);
}

void message_send_update(struct bus *bus, struct link *link, const struct node *about) {
    uint8_t claimed[BUS_SLOT_BYTES];
    slot_map_copy_claimed(bus->slots, about->member, claimed);
    struct bus_packet *packet =
        start_packet(bus, WIRE_UPDATE, WIRE_UPDATE_SIZE - WIRE_HEADER_SIZE, 0);
    wire_put_update(packet->data + WIRE_HEADER_SIZE, about->config_epoch, &about->id, claimed);
    send_once(bus, link, packet, WIRE_UPDATE);
}

static struct bus_packet *publish_packet(struct bus *bus, enum wire_type type, bool is_light,
                                         struct bytes channel, struct bytes message) {
    uint32_t extra = (uint32_t)(WIRE_PUBLISH_OVERHEAD + channel.len + message.len);
    if (!is_light) {
        struct bus_packet *packet = start_packet(bus, type, extra, 0);
        wire_put_publish(packet->data + WIRE_HEADER_SIZE, channel, message);
        return packet;
    }
    struct bus_packet *packet = packet_create(WIRE_LIGHT_HEADER_SIZE + extra);
    struct wire_header header = {.type = (uint16_t)type, .is_light = true};
    uint8_t *end = wire_put_header(packet->data, &header);
    wire_finish(packet->data, wire_put_publish(end, channel, message));
    return packet;
}

/* One copy in each form that a receiver asks for, shared by all of them. */
void message_publish(struct bus *bus, struct bytes channel, struct bytes message, bool is_shard) {
    if (channel.len + message.len > BUS_FRAME_MAX - WIRE_HEADER_SIZE - WIRE_PUBLISH_OVERHEAD) {
        bus_log(bus, LOG_LEVEL_WARNING, "A published message is too long for the cluster bus");
        return;
    }
    enum wire_type type = is_shard ? WIRE_PUBLISH_SHARD : WIRE_PUBLISH;
    struct bus_packet *forms[2] = {NULL, NULL};
    for (uint32_t i = 0; i < bus->node_count; i++) {
        struct node *node = bus->nodes[i];
        if (node == bus->myself || node_is(node, BUS_NODE_HANDSHAKE) || !node_is_reachable(node))
            continue;
        if (is_shard && !node_same_shard(node, bus->myself)) continue;
        bool is_light = node_is(node, BUS_NODE_LIGHT_PUBLISH);
        if (forms[is_light] == NULL)
            forms[is_light] = publish_packet(bus, type, is_light, channel, message);
        send_packet(bus, node->out_link, forms[is_light], type);
    }
    bus_packet_unref(forms[0]);
    bus_packet_unref(forms[1]);
}

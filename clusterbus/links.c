#include <string.h>

#include "clusterbus/bus_internal.h"
#include "server/base/check.h"
#include "server/base/mem.h"

static uint64_t link_hash(uint64_t id) {
    id *= 0x9e3779b97f4a7c15u;
    return id ^ id >> 29;
}

static bool link_has_id(const void *item, const void *key) {
    const struct link *link = item;
    return link->id == *(const uint64_t *)key;
}

struct link *link_find(const struct bus *bus, uint64_t id) {
    return index_find(&bus->links, link_hash(id), &id, link_has_id);
}

static struct link *link_create(struct bus *bus, uint64_t id) {
    struct link *link = mem_alloc_zero(sizeof(*link));
    link->id = id;
    link->created_ms = bus->now_ms;
    index_add(&bus->links, link_hash(id), link);
    return link;
}

static void copy_ip(char *out, const char *ip) {
    size_t len = ip == NULL ? 0 : strnlen(ip, BUS_IP_CAP - 1);
    memset(out, 0, BUS_IP_CAP);
    if (len > 0) memcpy(out, ip, len);
}

void link_dial(struct bus *bus, struct node *node) {
    ASSERT(node->out_link == NULL);
    struct link *link = link_create(bus, bus->next_link_id++);
    link->is_outbound = true;
    link->node = node;
    copy_ip(link->peer_ip, node->ip);
    node->out_link = link;
    /* Without a link no ping leaves, and without a ping nobody would be suspected: a dial that
     * fails or hangs counts as a ping without an answer. */
    if (node->ping_sent_ms == 0) node->ping_sent_ms = bus->now_ms;
    const char *ip = effects_copy_text(bus->out, node->ip);
    struct bus_effect *effect = effects_add(bus->out, BUS_EFFECT_CONNECT);
    effect->link = link->id;
    effect->ip = ip;
    effect->port = node->bus_port;
    effect->tls = bus->config.tls_cluster;
}

void link_accept(struct bus *bus, uint64_t id, const char *peer_ip, const char *local_ip) {
    ASSERT(id != BUS_LINK_NONE && id < BUS_LINK_OUTBOUND);
    if (link_find(bus, id) != NULL || bus->links.count >= BUS_LINKS_MAX) {
        effects_link(bus->out, BUS_EFFECT_CLOSE, id);
        return;
    }
    struct link *link = link_create(bus, id);
    link->is_connected = true;
    copy_ip(link->peer_ip, address_clean(peer_ip == NULL ? "" : peer_ip));
    copy_ip(link->local_ip, address_clean(local_ip == NULL ? "" : local_ip));
}

/* A reconnect never resets the clock of a ping that is outstanding. */
void link_connected(struct bus *bus, struct link *link, const char *local_ip) {
    if (!link->is_outbound || link->is_connected) return;
    link->is_connected = true;
    copy_ip(link->local_ip, address_clean(local_ip == NULL ? "" : local_ip));
    struct node *node = link->node;
    uint64_t ping_sent_ms = node->ping_sent_ms;
    message_send_gossip(bus, link, node_is(node, BUS_NODE_MEET) ? WIRE_MEET : WIRE_PING);
    if (ping_sent_ms != 0) node->ping_sent_ms = ping_sent_ms;
}

void link_end(struct bus *bus, struct link *link, bool is_told) {
    if (link->is_closed) return;
    struct node *node = link->node;
    if (node != NULL && node->out_link == link) {
        node->out_link = NULL;
        bus->version++;
    }
    if (node != NULL && node->in_link == link) {
        node->in_link = NULL;
        node->in_link_end_ms = bus->now_ms;
    }
    index_remove(&bus->links, link_hash(link->id), link);
    link->node = NULL;
    link->is_closed = true;
    /* Whoever handles a packet of this link may still look at it. */
    if (bus->closed_count == bus->closed_cap) {
        bus->closed_cap = bus->closed_cap == 0 ? 8 : bus->closed_cap * 2;
        bus->closed = mem_realloc(bus->closed, bus->closed_cap * sizeof(struct link *));
    }
    bus->closed[bus->closed_count++] = link;
    if (!is_told) effects_link(bus->out, BUS_EFFECT_CLOSE, link->id);
}

void link_set_inbound(struct bus *bus, struct link *link, struct node *node) {
    if (node->in_link == link) return;
    if (node->in_link != NULL) link_end(bus, node->in_link, false);
    node->in_link = link;
    link->node = node;
    if (link->peer_has_extensions) node_add_flags(node, BUS_NODE_EXTENSIONS);
}

void links_reap(struct bus *bus) {
    for (uint32_t i = 0; i < bus->closed_count; i++)
        mem_free(bus->closed[i]);
    bus->closed_count = 0;
}

void links_destroy_all(struct bus *bus) {
    for (uint32_t i = 0; i < bus->links.cap; i++)
        mem_free(bus->links.items != NULL ? bus->links.items[i] : NULL);
    index_deinit(&bus->links);
    links_reap(bus);
    mem_free(bus->closed);
}

bool bus_link_node(const struct bus *bus, uint64_t id, struct node_id *out_node) {
    const struct link *link = link_find(bus, id);
    if (link == NULL || link->node == NULL) return false;
    *out_node = link->node->id;
    return true;
}

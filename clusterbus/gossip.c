/* What a sender tells of others (specification 3.4) and of itself in extensions (2.7). */
#include <arpa/inet.h>
#include <string.h>

#include "clusterbus/bus_internal.h"

/* A pong that a third party saw may lie this far in our future. */
#define CLOCK_SKEW_MS 500u

/* Flags that say something of the teller's own table and nothing of the node. */
#define FLAGS_NOT_COPIED (BUS_NODE_MYSELF | BUS_NODE_HANDSHAKE | BUS_NODE_MEET)

const char *address_clean(const char *ip) {
    for (const char *at = ip; *at != '\0'; at++) {
        char c = *at;
        bool is_fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '.' || c == ':' || c == '-' || c == '_';
        if (!is_fine) return "";
    }
    return ip;
}

static void on_reachability(struct bus *bus, struct node *sender, struct node *node,
                            const struct wire_gossip *entry) {
    bool is_bad = (entry->flags & (BUS_NODE_SUSPECTED | BUS_NODE_FAILED)) != 0;
    if (sender != NULL && node_is_voting(bus, sender) && node != sender) {
        if (is_bad) {
            if (node_add_report(bus, node, sender))
                bus_log(bus, LOG_LEVEL_VERBOSE,
                        "Node " ID_FORMAT " reported node " ID_FORMAT " as not reachable.",
                        sender->id.text, node->id.text);
            failure_promote_if_quorum(bus, node);
        } else if (node_remove_report(bus, node, sender)) {
            bus_log(bus, LOG_LEVEL_VERBOSE,
                    "Node " ID_FORMAT " reported node " ID_FORMAT " is back online.",
                    sender->id.text, node->id.text);
        }
    }

    /* Fresh news of others postpones our own ping. */
    if (is_bad || node->ping_sent_ms != 0 || entry->pong_received_s == 0) return;
    uint64_t oldest = bus->now_ms - bus->config.node_timeout_ms * 2;
    if (node->report_count > 0 && node_count_reports(node, oldest) > 0) return;
    uint64_t heard_wall_ms = (uint64_t)entry->pong_received_s * 1000;
    if (heard_wall_ms > bus->now.wall_ms + CLOCK_SKEW_MS) return;
    uint64_t heard_ms = bus->now_ms + heard_wall_ms - bus->now.wall_ms;
    if (heard_ms > node->pong_received_ms) node->pong_received_ms = heard_ms;
}

/* We can't reach it, the teller can, at another address: follow. */
static void on_new_address(struct bus *bus, struct node *node, const struct wire_gossip *entry) {
    if (!node_is(node, BUS_NODE_SUSPECTED | BUS_NODE_FAILED)) return;
    if (entry->flags & (BUS_NODE_SUSPECTED | BUS_NODE_FAILED | BUS_NODE_NOADDR)) return;
    const char *ip = address_clean(entry->ip);
    if (ip[0] == '\0') return;
    if (strcmp(node->ip, ip) == 0 && node->port == entry->port &&
        node->other_port == entry->other_port && node->bus_port == entry->bus_port)
        return;
    if (node->out_link != NULL) link_end(bus, node->out_link, false);
    memcpy(node->ip, entry->ip, BUS_IP_CAP);
    node->port = entry->port;
    node->other_port = entry->other_port;
    node->bus_port = entry->bus_port;
    node_drop_flags(node, BUS_NODE_NOADDR);
    node_changed(bus, node);
    if (node == bus->myself->primary) role_follow_again(bus, false);
    bus_save(bus);
}

static void add_node(struct bus *bus, const struct wire_gossip *entry) {
    const char *ip = address_clean(entry->ip);
    if (ip[0] == '\0' || entry->bus_port == 0) return;
    struct node *node = node_create(bus, &entry->id, (uint16_t)(entry->flags & ~FLAGS_NOT_COPIED));
    if (node == NULL) return;
    /* It is one of the two, or neither while nobody knows. */
    if (node_is(node, BUS_NODE_PRIMARY)) node_drop_flags(node, BUS_NODE_REPLICA);
    if (node_is(node, BUS_NODE_FAILED)) node->failed_ms = bus->now_ms;
    memcpy(node->ip, entry->ip, BUS_IP_CAP);
    node->port = entry->port;
    node->other_port = entry->other_port;
    node->bus_port = entry->bus_port;
    bus_save(bus);
}

void gossip_apply(struct bus *bus, struct node *sender, const struct wire_message *message) {
    struct wire_gossip entry;
    for (uint16_t i = 0; i < message->header.gossip_count; i++) {
        wire_gossip_at(message, i, &entry);
        if (node_id_is_valid(&entry.id)) continue;
        bus_log(bus, LOG_LEVEL_WARNING, "Ignored a gossip section with a malformed node id");
        return;
    }
    for (uint16_t i = 0; i < message->header.gossip_count; i++) {
        wire_gossip_at(message, i, &entry);
        struct node *node = node_find(bus, &entry.id);
        if (node == bus->myself) continue;
        if (node != NULL) {
            on_reachability(bus, sender, node, &entry);
            on_new_address(bus, node, &entry);
        } else if (sender != NULL && !(entry.flags & BUS_NODE_NOADDR) &&
                   !blacklist_has(bus, &entry.id)) {
            add_node(bus, &entry);
        }
    }
}

/* ---- Extensions -------------------------------------------------------------------------------
 */

static bool is_hostname(struct bytes text) {
    if (text.len >= BUS_NAME_CAP) return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = (char)text.data[i];
        bool is_fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '.' || c == '-';
        if (!is_fine) return false;
    }
    return true;
}

/* What nodes.conf can hold as an auxiliary value (specification 7.1). */
static bool is_human_name(struct bytes text) {
    if (text.len >= BUS_NAME_CAP) return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c <= ' ' || c == 0x7f || c == ',' || c == '=' || c == '"' || c == '\'' ||
            strchr("!#$%&()*+;<>?@[]^{|}~", c) != NULL)
            return false;
    }
    return true;
}

static bool is_address(struct bytes text, int family) {
    char copy[BUS_IP_CAP];
    uint8_t parsed[16];
    if (text.len >= sizeof(copy)) return false;
    return text.len == 0 || inet_pton(family, bytes_to_text(text, copy, sizeof(copy)), parsed) == 1;
}

/* Type 4 is another thing in some servers' packets: what is no address is no news. */
static bool name_of_extension(const struct wire_extension *extension, enum node_name *out_which,
                              struct bytes *out_text) {
    if (!wire_text(extension->data, out_text)) return false;
    switch (extension->type) {
    case WIRE_EXTENSION_HOSTNAME:
        *out_which = NAME_HOST;
        return is_hostname(*out_text);
    case WIRE_EXTENSION_HUMAN_NODENAME:
        *out_which = NAME_HUMAN;
        return is_human_name(*out_text);
    case WIRE_EXTENSION_CLIENT_IPV4:
        *out_which = NAME_CLIENT_IPV4;
        return is_address(*out_text, AF_INET);
    case WIRE_EXTENSION_CLIENT_IPV6:
        *out_which = NAME_CLIENT_IPV6;
        return is_address(*out_text, AF_INET6);
    default:
        return false;
    }
}

static void on_forgotten(struct bus *bus, const struct node *sender, struct bytes data) {
    if (data.len < WIRE_FORGOTTEN_LEN) return;
    struct node_id id;
    memcpy(id.text, data.data, NODE_ID_LENGTH);
    struct node *node = node_find(bus, &id);
    /* The sender is in the middle of being served; it can't speak of itself anyway. */
    if (node == NULL || node == bus->myself || node == bus->myself->primary || node == sender)
        return;
    uint64_t ttl_s = wire_get_u64(data.data + NODE_ID_LENGTH);
    if (ttl_s == 0) return;
    if (ttl_s > UINT32_MAX) ttl_s = UINT32_MAX;
    blacklist_add(bus, &id, ttl_s * 1000);
    node_delete(bus, node);
    bus_save(bus);
}

void gossip_apply_extensions(struct bus *bus, struct node *sender,
                             const struct wire_message *message) {
    struct bytes names[NAME_COUNT] = {{NULL, 0}};
    struct node_id shard_id;
    bool has_shard_id = false;
    struct bytes cursor = message->extensions;
    struct wire_extension extension;
    while (wire_extension_next(&cursor, &extension)) {
        enum node_name which;
        struct bytes text;
        if (extension.type == WIRE_EXTENSION_FORGOTTEN) {
            on_forgotten(bus, sender, extension.data);
        } else if (extension.type == WIRE_EXTENSION_SHARD_ID) {
            has_shard_id = extension.data.len >= NODE_ID_LENGTH &&
                           node_id_parse(bytes_of(extension.data.data, NODE_ID_LENGTH), &shard_id);
        } else if (name_of_extension(&extension, &which, &text)) {
            names[which] = text;
        } else {
            bus_log(bus, LOG_LEVEL_DEBUG, "Skipped an extension of type %u", extension.type);
        }
    }
    bool is_changed = false;
    for (int i = 0; i < NAME_COUNT; i++)
        is_changed |= node_set_name(sender, (enum node_name)i, names[i]);
    if (is_changed) {
        node_changed(bus, sender);
        bus_save(bus);
    }
    if (has_shard_id)
        claims_adopt_shard(bus, sender, &shard_id);
    else
        claims_adopt_shard(bus, sender, &node_top_primary(sender)->shard_id);
}

/* nodes.conf and CLUSTER NODES lines (specification 7.1, 7.2, 8.14). */
#include "clusterbus/nodes_conf.h"

#include <string.h>

#include "clusterbus/bus_internal.h"
#include "server/base/number.h"

#define DEFAULT_BUS_PORT_OFFSET 10000

/* ---- Writing ----------------------------------------------------------------------------------
 */

static const struct flag_word {
    uint16_t flag;
    const char *word;
} flag_words[] = {
    {BUS_NODE_MYSELF, "myself"}, {BUS_NODE_PRIMARY, "master"},
    {BUS_NODE_REPLICA, "slave"}, {BUS_NODE_SUSPECTED, "fail?"},
    {BUS_NODE_FAILED, "fail"},   {BUS_NODE_HANDSHAKE, "handshake"},
    {BUS_NODE_NOADDR, "noaddr"}, {BUS_NODE_NOFAILOVER, "nofailover"},
};

static void write_flags(uint16_t flags, struct buffer *out) {
    bool is_first = true;
    for (size_t i = 0; i < ARRAY_COUNT(flag_words); i++) {
        if (!(flags & flag_words[i].flag)) continue;
        if (!is_first) buffer_append_u8(out, ',');
        buffer_append_text(out, flag_words[i].word);
        is_first = false;
    }
    if (is_first) buffer_append_text(out, "noflags");
}

static void write_slots(const struct bus *bus, const struct node *node, struct buffer *out) {
    if (node_slot_count(bus, node) == 0) return;
    const uint8_t *bitmap = slot_map_bitmap_view(bus->slots, node->member);
    for (uint32_t slot = 0; slot < BUS_SLOT_COUNT; slot++) {
        if (slot % 64 == 0 && slot_bits_word(bitmap, slot / 64) == 0) {
            slot += 63;
            continue;
        }
        if (!slot_bits_has(bitmap, (uint16_t)slot)) continue;
        uint32_t first = slot;
        while (slot + 1 < BUS_SLOT_COUNT && slot_bits_has(bitmap, (uint16_t)(slot + 1)))
            slot++;
        buffer_append_u8(out, ' ');
        buffer_append_i64(out, first);
        if (slot == first) continue;
        buffer_append_u8(out, '-');
        buffer_append_i64(out, slot);
    }
}

static void write_open_slots(const struct bus *bus, struct buffer *out) {
    if (slot_map_migrating_count(bus->slots) + slot_map_importing_count(bus->slots) == 0) return;
    for (uint16_t slot = 0; slot < BUS_SLOT_COUNT; slot++) {
        const struct node *target = node_of_member(bus, slot_map_migrating(bus->slots, slot));
        const struct node *source = node_of_member(bus, slot_map_importing(bus->slots, slot));
        if (target != NULL)
            buffer_append_format(out, " [%u->-" ID_FORMAT "]", slot, target->id.text);
        if (source != NULL)
            buffer_append_format(out, " [%u-<-" ID_FORMAT "]", slot, source->id.text);
    }
}

static uint64_t wall_of(const struct bus *bus, uint64_t moment_ms) {
    if (moment_ms == 0) return 0;
    uint64_t ago_ms = bus->now_ms - moment_ms;
    return ago_ms < bus->now.wall_ms ? bus->now.wall_ms - ago_ms : 0;
}

static void append_u64(struct buffer *out, uint64_t value) {
    char text[NUMBER_TEXT_MAX];
    buffer_append(out, text, number_format_u64(value, text));
}

/* From the flags to the end of the line. */
static void write_rest(const struct bus *bus, const struct node *node, struct buffer *out) {
    buffer_append_u8(out, ' ');
    write_flags(node->flags, out);
    buffer_append_u8(out, ' ');
    if (node->primary != NULL)
        buffer_append(out, node->primary->id.text, NODE_ID_LENGTH);
    else
        buffer_append_u8(out, '-');
    buffer_append_u8(out, ' ');
    append_u64(out, wall_of(bus, node->ping_sent_ms));
    buffer_append_u8(out, ' ');
    append_u64(out, wall_of(bus, node->pong_received_ms));
    buffer_append_u8(out, ' ');
    append_u64(out, node->primary != NULL ? node->primary->config_epoch : node->config_epoch);
    buffer_append_text(out, node == bus->myself || node->out_link != NULL ? " connected"
                                                                          : " disconnected");
    write_slots(bus, node, out);
    if (node == bus->myself) write_open_slots(bus, out);
}

static void write_address(const struct node *node, const char *ip, uint16_t port,
                          struct buffer *out) {
    buffer_append(out, node->id.text, NODE_ID_LENGTH);
    buffer_append_u8(out, ' ');
    buffer_append_text(out, ip);
    buffer_append_u8(out, ':');
    buffer_append_i64(out, port);
    buffer_append_u8(out, '@');
    buffer_append_i64(out, node->bus_port);
}

static void write_aux(const char *name, const char *value, struct buffer *out) {
    if (value == NULL) return;
    buffer_append_u8(out, ',');
    buffer_append_text(out, name);
    buffer_append_u8(out, '=');
    buffer_append_text(out, value);
}

static void write_file_line(const struct bus *bus, const struct node *node, struct buffer *out) {
    write_address(node, node->ip, node_tcp_port(bus, node), out);
    buffer_append_u8(out, ',');
    if (node->names[NAME_HOST] != NULL) buffer_append_text(out, node->names[NAME_HOST]);
    write_aux("client-ipv6", node->names[NAME_CLIENT_IPV6], out);
    write_aux("client-ipv4", node->names[NAME_CLIENT_IPV4], out);
    buffer_append_text(out, ",tls-port=");
    buffer_append_i64(out, node_tls_port(bus, node));
    write_aux("nodename", node->names[NAME_HUMAN], out);
    buffer_append_text(out, ",shard-id=");
    buffer_append(out, node->shard_id.text, NODE_ID_LENGTH);
    write_rest(bus, node, out);
    buffer_append_u8(out, '\n');
}

void nodes_conf_write(const struct bus *bus, struct buffer *out) {
    for (uint32_t i = 0; i < bus->node_count; i++)
        if (!node_is(bus->nodes[i], BUS_NODE_HANDSHAKE)) write_file_line(bus, bus->nodes[i], out);
    buffer_append_format(out, "vars currentEpoch %llu lastVoteEpoch %llu\n",
                         (unsigned long long)bus->current_epoch,
                         (unsigned long long)bus->last_vote_epoch);
}

void nodes_line_write(const struct bus *bus, size_t index, const struct nodes_line_options *options,
                      struct buffer *out) {
    const struct node *node = bus->nodes[index];
    const char *ip = node->ip;
    if (options->client_ipv6 && node->names[NAME_CLIENT_IPV6] != NULL)
        ip = node->names[NAME_CLIENT_IPV6];
    else if (options->client_ipv4 && node->names[NAME_CLIENT_IPV4] != NULL)
        ip = node->names[NAME_CLIENT_IPV4];
    uint16_t port = options->tls_port ? node_tls_port(bus, node) : node_tcp_port(bus, node);
    write_address(node, ip, port, out);
    if (node->names[NAME_HOST] != NULL) {
        buffer_append_u8(out, ',');
        buffer_append_text(out, node->names[NAME_HOST]);
    }
    write_rest(bus, node, out);
}

/* ---- Loading ----------------------------------------------------------------------------------
 */

/* Takes the bytes up to `end` (or all that is left) from `rest`. */
static struct bytes take_until(struct bytes *rest, char end) {
    const uint8_t *at = rest->len == 0 ? NULL : memchr(rest->data, end, rest->len);
    size_t len = at == NULL ? rest->len : (size_t)(at - rest->data);
    struct bytes token = bytes_of(rest->data, len);
    *rest = bytes_from(*rest, at == NULL ? len : len + 1);
    return token;
}

/* The next word between blanks; empty at the end. */
static struct bytes take_word(struct bytes *line) {
    struct bytes word = {NULL, 0};
    while (line->len > 0 && word.len == 0)
        word = take_until(line, ' ');
    return word;
}

static bool parse_port(struct bytes text, uint16_t *out) {
    uint64_t value;
    if (!number_parse_u64(text, &value) || value > UINT16_MAX) return false;
    *out = (uint16_t)value;
    return true;
}

static struct node *find_or_create(struct bus *bus, struct bytes text) {
    struct node_id id;
    if (!node_id_parse(text, &id)) return NULL;
    struct node *node = node_find(bus, &id);
    return node != NULL ? node : node_create(bus, &id, 0);
}

struct line_facts {
    bool has_shard_id;
    bool has_tls_port;
    uint16_t tcp_port;
    uint16_t tls_port;
};

static bool load_aux(struct node *node, struct bytes field, struct line_facts *facts) {
    const uint8_t *equals = field.len == 0 ? NULL : memchr(field.data, '=', field.len);
    if (equals == NULL) return false;
    struct bytes name = bytes_of(field.data, (size_t)(equals - field.data));
    struct bytes value = bytes_from(field, name.len + 1);
    if (value.len >= BUS_NAME_CAP) return false;
    if (bytes_equal_text(name, "shard-id"))
        return facts->has_shard_id = node_id_parse(value, &node->shard_id);
    if (bytes_equal_text(name, "tls-port"))
        return facts->has_tls_port = parse_port(value, &facts->tls_port);
    if (bytes_equal_text(name, "tcp-port")) return parse_port(value, &facts->tcp_port);
    if (bytes_equal_text(name, "nodename")) node_set_name(node, NAME_HUMAN, value);
    if (bytes_equal_text(name, "client-ipv4")) node_set_name(node, NAME_CLIENT_IPV4, value);
    if (bytes_equal_text(name, "client-ipv6")) node_set_name(node, NAME_CLIENT_IPV6, value);
    return true; /* A newer server's field is none of ours. */
}

/* ip:port[@bus-port][,hostname][,name=value]... */
static bool load_address(struct bus *bus, struct node *node, struct bytes field,
                         struct line_facts *facts) {
    struct bytes address = take_until(&field, ',');
    size_t colon = address.len;
    while (colon > 0 && address.data[colon - 1] != ':')
        colon--;
    if (colon == 0 || colon > BUS_IP_CAP) return false;
    char ip[BUS_IP_CAP];
    bytes_to_text(bytes_of(address.data, colon - 1), ip, sizeof(ip));
    memset(node->ip, 0, BUS_IP_CAP);
    memcpy(node->ip, ip, strlen(address_clean(ip)));
    struct bytes ports = bytes_from(address, colon);
    bool has_bus_port = memchr(ports.data, '@', ports.len) != NULL;
    if (!parse_port(take_until(&ports, '@'), &facts->tcp_port)) return false;
    if (has_bus_port) {
        if (!parse_port(ports, &node->bus_port)) return false;
    } else {
        node->bus_port = (uint16_t)(facts->tcp_port + DEFAULT_BUS_PORT_OFFSET);
    }
    if (field.len > 0) {
        struct bytes hostname = take_until(&field, ',');
        if (hostname.len >= BUS_NAME_CAP) return false;
        node_set_name(node, NAME_HOST, hostname);
    }
    while (field.len > 0)
        if (!load_aux(node, take_until(&field, ','), facts)) return false;
    node->port = bus->config.tls_cluster ? facts->tls_port : facts->tcp_port;
    node->other_port = bus->config.tls_cluster ? facts->tcp_port : facts->tls_port;
    return true;
}

static bool load_flags(struct bus *bus, struct node *node, struct bytes field) {
    while (field.len > 0) {
        struct bytes word = take_until(&field, ',');
        uint16_t flag = 0;
        for (size_t i = 0; i < ARRAY_COUNT(flag_words); i++)
            if (bytes_equal_text(word, flag_words[i].word)) flag = flag_words[i].flag;
        if (bytes_equal_text(word, "primary")) flag = BUS_NODE_PRIMARY;
        if (bytes_equal_text(word, "replica")) flag = BUS_NODE_REPLICA;
        if (flag == 0 && !bytes_equal_text(word, "noflags")) return false;
        if (flag == BUS_NODE_MYSELF) {
            if (bus->myself != NULL) return false;
            bus->myself = node;
        }
        if (flag == BUS_NODE_FAILED) node->failed_ms = bus->now_ms;
        node_add_flags(node, flag);
    }
    return true;
}

static bool parse_slot(struct bytes text, uint16_t *out) {
    return parse_port(text, out) && *out < BUS_SLOT_COUNT;
}

/* [slot->-id] or [slot-<-id] */
static bool load_open_slot(struct bus *bus, struct bytes word) {
    if (word.len < 4 || word.data[word.len - 1] != ']') return false;
    word = bytes_of(word.data + 1, word.len - 2);
    uint16_t slot;
    if (!parse_slot(take_until(&word, '-'), &slot) || word.len < 2) return false;
    uint8_t direction = word.data[0];
    if ((direction != '>' && direction != '<') || word.data[1] != '-') return false;
    struct node *peer = find_or_create(bus, bytes_from(word, 2));
    if (peer == NULL) return false;
    if (direction == '>')
        slot_set_migrating(bus, slot, peer);
    else
        slot_set_importing(bus, slot, peer);
    return true;
}

static bool load_slots(struct bus *bus, struct node *node, struct bytes line) {
    for (struct bytes word = take_word(&line); word.len > 0; word = take_word(&line)) {
        if (word.data[0] == '[') {
            if (!load_open_slot(bus, word)) return false;
            continue;
        }
        bool is_range = memchr(word.data, '-', word.len) != NULL;
        uint16_t first;
        uint16_t last;
        if (!parse_slot(take_until(&word, '-'), &first)) return false;
        last = first;
        if (is_range && (!parse_slot(word, &last) || last < first)) return false;
        for (uint32_t slot = first; slot <= last; slot++)
            slot_assign(bus, (uint16_t)slot, node);
    }
    return true;
}

static bool load_node_line(struct bus *bus, struct bytes line) {
    struct bytes id = take_word(&line);
    struct bytes address = take_word(&line);
    struct bytes flags = take_word(&line);
    struct bytes primary = take_word(&line);
    struct bytes ping = take_word(&line);
    struct bytes pong = take_word(&line);
    struct bytes epoch_text = take_word(&line);
    struct bytes link_state = take_word(&line);
    uint64_t epoch;
    struct line_facts facts = {0};
    struct node *node = find_or_create(bus, id);
    if (link_state.len == 0 || node == NULL) return false;
    if (!load_address(bus, node, address, &facts) || !load_flags(bus, node, flags)) return false;
    if (!bytes_equal_text(primary, "-")) {
        struct node *named = find_or_create(bus, primary);
        if (named == NULL || named == node) return false;
        node_set_primary(node, named);
    }
    if (!bytes_equal_text(ping, "0")) node->ping_sent_ms = bus->now_ms;
    if (!bytes_equal_text(pong, "0")) node->pong_received_ms = bus->now_ms;
    if (!number_parse_u64(epoch_text, &epoch)) return false;
    node_set_epoch(bus, node, node_is(node, BUS_NODE_REPLICA) ? 0 : epoch);
    return load_slots(bus, node, line);
}

static bool load_vars(struct bus *bus, struct bytes line) {
    for (struct bytes name = take_word(&line); name.len > 0; name = take_word(&line)) {
        struct bytes value = take_word(&line);
        uint64_t number;
        if (value.len == 0 || !number_parse_u64(value, &number)) return false;
        if (bytes_equal_text(name, "currentEpoch"))
            bus->current_epoch = number;
        else if (bytes_equal_text(name, "lastVoteEpoch"))
            bus->last_vote_epoch = number;
        else
            bus_log(bus, LOG_LEVEL_NOTICE, "Skipping unknown cluster config variable '%.*s'",
                    (int)name.len, (const char *)name.data);
    }
    return true;
}

/* What holds whatever the file says: myself comes first, replicas are in their primary's shard, no
 * epoch is above the current one. */
static void settle(struct bus *bus) {
    struct node *me = bus->myself;
    struct node *first = bus->nodes[0];
    bus->nodes[me->index] = first;
    first->index = me->index;
    bus->nodes[0] = me;
    me->index = 0;
    me->ping_sent_ms = me->pong_received_ms = 0;
    if (!node_is(me, BUS_NODE_REPLICA)) node_add_flags(me, BUS_NODE_PRIMARY);
    for (uint32_t i = 0; i < bus->node_count; i++) {
        struct node *node = bus->nodes[i];
        if (node->primary != NULL) node->shard_id = node_top_primary(node)->shard_id;
        if (node->config_epoch > bus->current_epoch) bus->current_epoch = node->config_epoch;
    }
    if (node_is(me, BUS_NODE_REPLICA) && node_slot_count(bus, me) > 0)
        slot_assign_all(bus, me, NULL);
}

enum status nodes_conf_load(struct bus *bus, struct bytes text) {
    struct bytes line = {NULL, 0};
    while (text.len > 0) {
        line = take_until(&text, '\n');
        if (line.len > 0 && line.data[line.len - 1] == '\r') line.len--;
        struct bytes rest = line;
        struct bytes first = take_word(&rest);
        if (first.len == 0) continue;
        bool is_fine =
            bytes_equal_text(first, "vars") ? load_vars(bus, rest) : load_node_line(bus, line);
        if (!is_fine) goto fail;
    }
    line = BYTES_LITERAL("(no line is mine)");
    if (bus->myself == NULL) goto fail;
    settle(bus);
    return STATUS_OK;

fail:
    bus_log(bus, LOG_LEVEL_WARNING, "Unrecoverable error: corrupted cluster config file \"%.*s\".",
            (int)(line.len < 400 ? line.len : 400), (const char *)line.data);
    return STATUS_BAD_FORMAT;
}

#include "clusterbus/wire.h"

#include <string.h>

#include "server/base/check.h"

/* Offsets of the full header (specification 2.1). */
enum {
    AT_LENGTH = 4,
    AT_VERSION = 8,
    AT_PORT = 10,
    AT_TYPE = 12,
    AT_COUNT = 14,
    AT_CURRENT_EPOCH = 16,
    AT_CONFIG_EPOCH = 24,
    AT_OFFSET = 32,
    AT_SENDER = 40,
    AT_SLOTS = 80,
    AT_REPLICA_OF = 2128,
    AT_IP = 2168,
    AT_EXTENSIONS = 2214,
    AT_OTHER_PORT = 2246,
    AT_BUS_PORT = 2248,
    AT_FLAGS = 2250,
    AT_STATE = 2252,
    AT_MESSAGE_FLAGS = 2253,
};

static const char signature[4] = {'R', 'C', 'm', 'b'};

static uint16_t get_u16(const uint8_t *in) {
    return (uint16_t)(in[0] << 8 | in[1]);
}

static uint32_t get_u32(const uint8_t *in) {
    return (uint32_t)get_u16(in) << 16 | get_u16(in + 2);
}

uint64_t wire_get_u64(const uint8_t *in) {
    return (uint64_t)get_u32(in) << 32 | get_u32(in + 4);
}

static void put_u16(uint8_t *out, uint16_t value) {
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}

static void put_u32(uint8_t *out, uint32_t value) {
    put_u16(out, (uint16_t)(value >> 16));
    put_u16(out + 2, (uint16_t)value);
}

void wire_put_u64(uint8_t *out, uint64_t value) {
    put_u32(out, (uint32_t)(value >> 32));
    put_u32(out + 4, (uint32_t)value);
}

/* Bytes may follow the first NUL of a field: they are stale and dropped. */
static void get_ip(const uint8_t *in, char *out) {
    size_t len = strnlen((const char *)in, BUS_IP_CAP - 1);
    memset(out, 0, BUS_IP_CAP);
    memcpy(out, in, len);
}

bool wire_type_has_light_form(uint16_t type) {
    return type == WIRE_PUBLISH || type == WIRE_PUBLISH_SHARD || type == WIRE_MODULE;
}

uint16_t wire_peek_type(struct bytes packet, bool *out_is_light) {
    ASSERT(packet.len >= BUS_PEEK_BYTES);
    uint16_t type = get_u16(packet.data + AT_TYPE);
    *out_is_light = (type & WIRE_LIGHT_BIT) != 0;
    return (uint16_t)(type & ~WIRE_LIGHT_BIT);
}

enum status bus_frame_length(struct bytes head, size_t *out_len) {
    if (head.len < BUS_PEEK_BYTES) return STATUS_AGAIN;
    if (memcmp(head.data, signature, sizeof(signature)) != 0) return STATUS_BAD_FORMAT;
    bool is_light;
    wire_peek_type(head, &is_light);
    size_t len = get_u32(head.data + AT_LENGTH);
    if (len < (is_light ? WIRE_LIGHT_HEADER_SIZE : WIRE_HEADER_SIZE)) return STATUS_BAD_FORMAT;
    if (len > BUS_FRAME_MAX) return STATUS_TOO_BIG;
    *out_len = len;
    return STATUS_OK;
}

bool bus_packet_needs_rest(struct bytes packet) {
    bool is_light;
    return packet.len >= BUS_PEEK_BYTES && wire_peek_type(packet, &is_light) == WIRE_MFSTART;
}

static void decode_header(const uint8_t *in, struct wire_header *out) {
    out->port = get_u16(in + AT_PORT);
    out->gossip_count = get_u16(in + AT_COUNT);
    out->current_epoch = wire_get_u64(in + AT_CURRENT_EPOCH);
    out->config_epoch = wire_get_u64(in + AT_CONFIG_EPOCH);
    out->repl_offset = wire_get_u64(in + AT_OFFSET);
    memcpy(out->sender.text, in + AT_SENDER, NODE_ID_LENGTH);
    out->slots = in + AT_SLOTS;
    memcpy(out->replica_of.text, in + AT_REPLICA_OF, NODE_ID_LENGTH);
    get_ip(in + AT_IP, out->ip);
    out->extension_count = get_u16(in + AT_EXTENSIONS);
    out->other_port = get_u16(in + AT_OTHER_PORT);
    out->bus_port = get_u16(in + AT_BUS_PORT);
    out->flags = get_u16(in + AT_FLAGS);
    out->state = in[AT_STATE];
    memcpy(out->message_flags, in + AT_MESSAGE_FLAGS, sizeof(out->message_flags));
}

/* Length of the extension at the front of `rest`, 0 when there is no valid one. */
static size_t extension_length(struct bytes rest) {
    if (rest.len < WIRE_EXTENSION_HEAD) return 0;
    size_t len = get_u32(rest.data);
    return len >= WIRE_EXTENSION_HEAD && len % 8 == 0 && len <= rest.len ? len : 0;
}

static enum status decode_gossip(struct bytes body, struct wire_message *out) {
    size_t gossip_len = (size_t)out->header.gossip_count * WIRE_GOSSIP_SIZE;
    if (body.len < gossip_len) return STATUS_BAD_FORMAT;
    out->gossip = bytes_of(body.data, gossip_len);
    out->extensions = bytes_from(body, gossip_len);

    struct bytes rest = out->extensions;
    if (out->header.message_flags[0] & WIRE_HAS_EXTENSIONS) {
        for (uint16_t i = 0; i < out->header.extension_count; i++) {
            size_t len = extension_length(rest);
            if (len == 0) return STATUS_BAD_FORMAT;
            rest = bytes_from(rest, len);
        }
    } else if (out->header.extension_count != 0) {
        return STATUS_BAD_FORMAT;
    }
    return rest.len == 0 ? STATUS_OK : STATUS_BAD_FORMAT;
}

static enum status decode_publish(struct bytes body, struct wire_message *out) {
    if (body.len < WIRE_PUBLISH_OVERHEAD) return STATUS_BAD_FORMAT;
    uint64_t channel_len = get_u32(body.data);
    uint64_t message_len = get_u32(body.data + 4);
    if (body.len - WIRE_PUBLISH_OVERHEAD != channel_len + message_len) return STATUS_BAD_FORMAT;
    out->publish.channel = bytes_of(body.data + WIRE_PUBLISH_OVERHEAD, channel_len);
    out->publish.message = bytes_of(body.data + WIRE_PUBLISH_OVERHEAD + channel_len, message_len);
    return STATUS_OK;
}

static enum status decode_module(struct bytes body, struct wire_message *out) {
    if (body.len < WIRE_MODULE_OVERHEAD) return STATUS_BAD_FORMAT;
    if (body.len - WIRE_MODULE_OVERHEAD != get_u32(body.data + 8)) return STATUS_BAD_FORMAT;
    memcpy(out->module.id, body.data, sizeof(out->module.id));
    out->module.type = body.data[12];
    out->module.payload = bytes_from(body, WIRE_MODULE_OVERHEAD);
    return STATUS_OK;
}

static enum status decode_update(struct bytes body, struct wire_message *out) {
    if (body.len != WIRE_UPDATE_SIZE - WIRE_HEADER_SIZE) return STATUS_BAD_FORMAT;
    out->update.config_epoch = wire_get_u64(body.data);
    memcpy(out->update.node.text, body.data + 8, NODE_ID_LENGTH);
    out->update.slots = body.data + 8 + NODE_ID_LENGTH;
    return STATUS_OK;
}

static enum status decode_body(struct bytes body, struct wire_message *out) {
    switch (out->header.type) {
    case WIRE_PING:
    case WIRE_PONG:
    case WIRE_MEET:
        return decode_gossip(body, out);
    case WIRE_FAIL:
        if (body.len != NODE_ID_LENGTH) return STATUS_BAD_FORMAT;
        memcpy(out->failed.text, body.data, NODE_ID_LENGTH);
        return STATUS_OK;
    case WIRE_PUBLISH:
    case WIRE_PUBLISH_SHARD:
        return decode_publish(body, out);
    case WIRE_VOTE_REQUEST:
    case WIRE_VOTE:
    case WIRE_MFSTART:
        return body.len == 0 ? STATUS_OK : STATUS_BAD_FORMAT;
    case WIRE_UPDATE:
        return decode_update(body, out);
    case WIRE_MODULE:
        return decode_module(body, out);
    default:
        return STATUS_UNSUPPORTED;
    }
}

enum status wire_decode(struct bytes packet, struct wire_message *out) {
    size_t len;
    if (bus_frame_length(packet, &len) != STATUS_OK || len > packet.len) return STATUS_BAD_FORMAT;
    packet.len = len;
    bool is_light;
    uint16_t type = wire_peek_type(packet, &is_light);
    if (is_light && !wire_type_has_light_form(type)) return STATUS_UNSUPPORTED;
    if (get_u16(packet.data + AT_VERSION) != WIRE_VERSION) return STATUS_UNSUPPORTED;

    memset(out, 0, sizeof(*out));
    out->header.is_light = is_light;
    out->header.type = type;
    if (is_light) return decode_body(bytes_from(packet, WIRE_LIGHT_HEADER_SIZE), out);
    decode_header(packet.data, &out->header);
    return decode_body(bytes_from(packet, WIRE_HEADER_SIZE), out);
}

void wire_gossip_at(const struct wire_message *message, uint16_t index, struct wire_gossip *out) {
    ASSERT((size_t)(index + 1) * WIRE_GOSSIP_SIZE <= message->gossip.len);
    const uint8_t *in = message->gossip.data + (size_t)index * WIRE_GOSSIP_SIZE;
    memcpy(out->id.text, in, NODE_ID_LENGTH);
    out->ping_sent_s = get_u32(in + 40);
    out->pong_received_s = get_u32(in + 44);
    get_ip(in + 48, out->ip);
    out->port = get_u16(in + 94);
    out->bus_port = get_u16(in + 96);
    out->flags = get_u16(in + 98);
    out->other_port = get_u16(in + 100);
}

bool wire_extension_next(struct bytes *cursor, struct wire_extension *out) {
    size_t len = extension_length(*cursor);
    if (len == 0) return false;
    out->type = get_u16(cursor->data + 4);
    out->data = bytes_of(cursor->data + WIRE_EXTENSION_HEAD, len - WIRE_EXTENSION_HEAD);
    *cursor = bytes_from(*cursor, len);
    return true;
}

bool wire_text(struct bytes field, struct bytes *out) {
    const uint8_t *end = field.len == 0 ? NULL : memchr(field.data, 0, field.len);
    if (end == NULL) return false;
    *out = bytes_of(field.data, (size_t)(end - field.data));
    return true;
}

uint8_t *wire_put_header(uint8_t *out, const struct wire_header *header) {
    size_t size = header->is_light ? WIRE_LIGHT_HEADER_SIZE : WIRE_HEADER_SIZE;
    memset(out, 0, size);
    memcpy(out, signature, sizeof(signature));
    put_u16(out + AT_VERSION, WIRE_VERSION);
    put_u16(out + AT_TYPE, (uint16_t)(header->type | (header->is_light ? WIRE_LIGHT_BIT : 0)));
    if (header->is_light) return out + size;

    put_u16(out + AT_PORT, header->port);
    put_u16(out + AT_COUNT, header->gossip_count);
    wire_put_u64(out + AT_CURRENT_EPOCH, header->current_epoch);
    wire_put_u64(out + AT_CONFIG_EPOCH, header->config_epoch);
    wire_put_u64(out + AT_OFFSET, header->repl_offset);
    memcpy(out + AT_SENDER, header->sender.text, NODE_ID_LENGTH);
    memcpy(out + AT_SLOTS, header->slots, BUS_SLOT_BYTES);
    memcpy(out + AT_REPLICA_OF, header->replica_of.text, NODE_ID_LENGTH);
    memcpy(out + AT_IP, header->ip, strnlen(header->ip, BUS_IP_CAP - 1));
    put_u16(out + AT_EXTENSIONS, header->extension_count);
    put_u16(out + AT_OTHER_PORT, header->other_port);
    put_u16(out + AT_BUS_PORT, header->bus_port);
    put_u16(out + AT_FLAGS, header->flags);
    out[AT_STATE] = header->state;
    memcpy(out + AT_MESSAGE_FLAGS, header->message_flags, sizeof(header->message_flags));
    return out + size;
}

uint8_t *wire_put_gossip(uint8_t *out, const struct wire_gossip *entry) {
    memset(out, 0, WIRE_GOSSIP_SIZE);
    memcpy(out, entry->id.text, NODE_ID_LENGTH);
    put_u32(out + 40, entry->ping_sent_s);
    put_u32(out + 44, entry->pong_received_s);
    memcpy(out + 48, entry->ip, strnlen(entry->ip, BUS_IP_CAP - 1));
    put_u16(out + 94, entry->port);
    put_u16(out + 96, entry->bus_port);
    put_u16(out + 98, entry->flags);
    put_u16(out + 100, entry->other_port);
    return out + WIRE_GOSSIP_SIZE;
}

uint8_t *wire_put_extension(uint8_t *out, uint16_t type, struct bytes data) {
    size_t size = WIRE_EXTENSION_SIZE(data.len);
    memset(out, 0, size);
    put_u32(out, (uint32_t)size);
    put_u16(out + 4, type);
    if (data.len > 0) memcpy(out + WIRE_EXTENSION_HEAD, data.data, data.len);
    return out + size;
}

uint8_t *wire_put_fail(uint8_t *out, const struct node_id *failed) {
    memcpy(out, failed->text, NODE_ID_LENGTH);
    return out + NODE_ID_LENGTH;
}

uint8_t *wire_put_publish(uint8_t *out, struct bytes channel, struct bytes message) {
    put_u32(out, (uint32_t)channel.len);
    put_u32(out + 4, (uint32_t)message.len);
    out += WIRE_PUBLISH_OVERHEAD;
    if (channel.len > 0) memcpy(out, channel.data, channel.len);
    if (message.len > 0) memcpy(out + channel.len, message.data, message.len);
    return out + channel.len + message.len;
}

uint8_t *wire_put_update(uint8_t *out, uint64_t config_epoch, const struct node_id *node,
                         const uint8_t *slots) {
    wire_put_u64(out, config_epoch);
    memcpy(out + 8, node->text, NODE_ID_LENGTH);
    memcpy(out + 8 + NODE_ID_LENGTH, slots, BUS_SLOT_BYTES);
    return out + WIRE_UPDATE_SIZE - WIRE_HEADER_SIZE;
}

uint8_t *wire_put_module(uint8_t *out, const uint8_t *id, uint8_t type, struct bytes payload) {
    memcpy(out, id, 8);
    put_u32(out + 8, (uint32_t)payload.len);
    out[12] = type;
    if (payload.len > 0) memcpy(out + WIRE_MODULE_OVERHEAD, payload.data, payload.len);
    return out + WIRE_MODULE_OVERHEAD + payload.len;
}

void wire_finish(uint8_t *packet, uint8_t *end) {
    put_u32(packet + AT_LENGTH, (uint32_t)(end - packet));
}

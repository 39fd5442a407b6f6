/* Bus packets from any bytes: the input is taken once as it is and once with its length and
 * signature set right, so that the fuzzer gets past the first check. Whatever decodes is walked. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "clusterbus/wire.h"
#include "server/base/check.h"
#include "server/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t touched; // Each byte of a view is really read.

static void touch(struct bytes view) {
    for (size_t i = 0; i < view.len; i++)
        touched = (uint8_t)view.data[i];
}

static void walk_payload(const struct wire_message *message) {
    switch (message->header.type) {
    case WIRE_PUBLISH:
    case WIRE_PUBLISH_SHARD:
        touch(message->publish.channel);
        touch(message->publish.message);
        break;
    case WIRE_UPDATE:
        touch(bytes_of(message->update.slots, BUS_SLOT_BYTES));
        break;
    case WIRE_MODULE:
        touch(message->module.payload);
        break;
    default:
        break;
    }
}

static void decode(struct bytes packet) {
    struct wire_message message;
    if (wire_decode(packet, &message) != STATUS_OK) return;
    walk_payload(&message);
    if (message.header.is_light) return;
    touch(bytes_of(message.header.slots, BUS_SLOT_BYTES));
    ASSERT(memchr(message.header.ip, '\0', sizeof(message.header.ip)) != NULL);
    if (message.header.type > WIRE_MEET) return;
    for (uint16_t i = 0; i < message.header.gossip_count; i++) {
        struct wire_gossip entry;
        wire_gossip_at(&message, i, &entry);
        ASSERT(memchr(entry.ip, '\0', sizeof(entry.ip)) != NULL);
    }
    struct bytes cursor = message.extensions;
    struct wire_extension extension;
    size_t extension_count = 0;
    while (wire_extension_next(&cursor, &extension)) {
        struct bytes text;
        if (wire_text(extension.data, &text)) touch(text);
        extension_count++;
    }
    ASSERT(extension_count == message.header.extension_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < WIRE_LIGHT_HEADER_SIZE) return 0;
    uint8_t *packet = mem_alloc(size);
    memcpy(packet, data, size);
    decode(bytes_of(packet, size));
    memcpy(packet, "RCmb", 4);
    for (int i = 0; i < 4; i++)
        packet[4 + i] = (uint8_t)(size >> (24 - 8 * i));
    decode(bytes_of(packet, size));
    mem_free(packet);
    return 0;
}

/* Hostile packets: what decodes must survive encoding and decoding again, and a bus that knows some
 * nodes must survive them on its links. With libFuzzer, or (without) as a program that runs a
 * bounded number of mutations of valid packets, and the files of a corpus.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterbus/fixture_internal.h"
#include "clusterbus/nodes_conf.h"
#include "server/base/check.h"
#include "server/base/mem.h"

#define INPUT_MAX 65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t encode(const struct wire_message *message, uint8_t *out) {
    uint8_t *end = wire_put_header(out, &message->header);
    struct bytes cursor = message->extensions;
    struct wire_extension extension;
    struct wire_gossip entry;
    switch (message->header.type) {
    case WIRE_PING:
    case WIRE_PONG:
    case WIRE_MEET:
        for (uint16_t i = 0; i < message->header.gossip_count; i++) {
            wire_gossip_at(message, i, &entry);
            end = wire_put_gossip(end, &entry);
        }
        while (wire_extension_next(&cursor, &extension))
            end = wire_put_extension(end, extension.type, extension.data);
        break;
    case WIRE_FAIL:
        end = wire_put_fail(end, &message->failed);
        break;
    case WIRE_PUBLISH:
    case WIRE_PUBLISH_SHARD:
        end = wire_put_publish(end, message->publish.channel, message->publish.message);
        break;
    case WIRE_UPDATE:
        end = wire_put_update(end, message->update.config_epoch, &message->update.node,
                              message->update.slots);
        break;
    case WIRE_MODULE:
        end =
            wire_put_module(end, message->module.id, message->module.type, message->module.payload);
        break;
    default:
        break;
    }
    wire_finish(out, end);
    return (size_t)(end - out);
}

/* Encoding drops stale bytes; after that, decoding and encoding change nothing. */
static void check_codec(struct bytes packet) {
    static uint8_t first[INPUT_MAX];
    static uint8_t second[INPUT_MAX];
    struct wire_message message;
    if (packet.len > INPUT_MAX || wire_decode(packet, &message) != STATUS_OK) return;
    size_t len = encode(&message, first);
    ASSERT(len <= packet.len);
    ASSERT(wire_decode(bytes_of(first, len), &message) == STATUS_OK);
    ASSERT(encode(&message, second) == len);
    ASSERT(memcmp(first, second, len) == 0);
}

/* What is saved must be readable, whatever came in. */
static void check_bus(const struct fixture *fixture) {
    struct buffer conf = {0};
    nodes_conf_write(fixture->bus, &conf);
    struct bus_options options = {.config = fixture->config, .nodes_conf = buffer_view(&conf)};
    struct bus_effects effects;
    struct rng rng;
    struct bus *bus;
    rng_seed(&rng, 1);
    bus_effects_init(&effects);
    enum status status = bus_create(&options, fixture->now, &rng, &effects, &bus);
    ASSERT(status == STATUS_OK);
    bus_destroy(bus);
    bus_effects_deinit(&effects);
    buffer_deinit(&conf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > INPUT_MAX) return 0;
    struct bytes packet = bytes_of(data + 1, size - 1);
    check_codec(packet);

    struct fixture fixture;
    struct bus_node_view view;
    fixture_start_fresh(&fixture, fixture_three_primaries);
    uint64_t link = fixture_accept(&fixture);
    /* The first byte says on which link: a new one, or the one to b, c, d or e. */
    if (data[0] % 5 > 0 && fixture_view(&fixture, (char)('a' + data[0] % 5), &view))
        link = view.out_link;
    for (int i = 0; i < 2; i++) {
        fixture_packet(&fixture, link, packet.data, packet.len);
        fixture_tick(&fixture);
    }
    fixture_advance(&fixture, 500);
    check_bus(&fixture);
    fixture_end(&fixture);
    return 0;
}

#ifndef DUNLIN_LIBFUZZER

#define MUTATIONS_DEFAULT 3000u

static struct rng source;

/* A valid packet of a random type, then some bytes wrong. */
static size_t make_input(uint8_t *out) {
    static const char senders[] = "bcdex";
    struct fixture fixture;
    struct wire_header header;
    uint8_t *packet = out + 1;
    fixture_start_fresh(&fixture, fixture_three_primaries);
    out[0] = (uint8_t)rng_below(&source, 5);
    char sender = senders[rng_below(&source, 5)];
    if (out[0] > 0) sender = (char)('a' + out[0]);
    fixture_header(&fixture, sender, (uint16_t)rng_below(&source, 12), &header);
    header.is_light = wire_type_has_light_form(header.type) && rng_below(&source, 2) == 0;
    struct wire_message message = {.header = header};
    static uint8_t gossip[4 * WIRE_GOSSIP_SIZE];
    static uint8_t extensions[512];
    switch (header.type) {
    case WIRE_FAIL:
        message.failed = fixture_id((char)('a' + rng_below(&source, 6)));
        break;
    case WIRE_UPDATE:
        message.update.node = fixture_id((char)('a' + rng_below(&source, 6)));
        message.update.config_epoch = rng_below(&source, 20);
        message.update.slots = header.slots;
        break;
    case WIRE_PUBLISH:
    case WIRE_PUBLISH_SHARD:
        message.publish.channel = BYTES_LITERAL("channel");
        message.publish.message = BYTES_LITERAL("message");
        break;
    case WIRE_PING:
    case WIRE_PONG:
    case WIRE_MEET: {
        uint8_t *end = gossip;
        message.header.gossip_count = (uint16_t)rng_below(&source, 4);
        for (unsigned i = 0; i < message.header.gossip_count; i++) {
            struct wire_gossip entry = {.id = fixture_id((char)('a' + rng_below(&source, 8))),
                                        .pong_received_s = 1700000000,
                                        .ip = "127.0.0.1",
                                        .port = 7009,
                                        .bus_port = 17009,
                                        .flags = (uint16_t)rng_next(&source)};
            end = wire_put_gossip(end, &entry);
        }
        message.gossip = bytes_of(gossip, (size_t)(end - gossip));
        end = extensions;
        message.header.extension_count = (uint16_t)rng_below(&source, 6);
        for (unsigned i = 0; i < message.header.extension_count; i++)
            end = wire_put_extension(
                end, (uint16_t)rng_below(&source, 8),
                bytes_of("eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee\0\0\0\0\0\0\0\3",
                         (size_t)rng_below(&source, 49)));
        message.extensions = bytes_of(extensions, (size_t)(end - extensions));
        break;
    }
    default:
        break;
    }
    size_t len = encode(&message, packet);
    for (uint64_t count = rng_below(&source, 6); count > 0; count--) {
        /* Most of a packet is a bitmap: aim besides it half of the time. */
        size_t at = (size_t)rng_below(&source, len);
        if (at >= 80 && at < 2128 && rng_below(&source, 4) != 0)
            at = (size_t)rng_below(&source, len < 80 ? len : 80);
        packet[at] = (uint8_t)rng_next(&source);
    }
    if (rng_below(&source, 8) == 0) len = (size_t)rng_below(&source, len);
    fixture_end(&fixture);
    return len + 1;
}

static void run_file(const char *folder, const char *name) {
    char path[4096];
    static uint8_t input[INPUT_MAX];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) return;
    size_t len = fread(input, 1, sizeof(input), file);
    fclose(file);
    LLVMFuzzerTestOneInput(input, len);
}

static void write_file(const char *folder, unsigned long number, const uint8_t *input, size_t len) {
    char path[4096];
    snprintf(path, sizeof(path), "%s/mutation-%05lu", folder, number);
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    fwrite(input, 1, len, file);
    fclose(file);
}

/* wire_fuzz [mutations [seed [corpus-folder-to-run [folder-to-write-mutations-to]]]] */
int main(int argc, char **argv) {
    unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : MUTATIONS_DEFAULT;
    rng_seed(&source, argc > 2 ? strtoull(argv[2], NULL, 10) : 1);
    if (argc > 3 && argv[3][0] != '\0') {
        DIR *folder = opendir(argv[3]);
        if (folder == NULL) {
            perror(argv[3]);
            return 1;
        }
        struct dirent *entry;
        while ((entry = readdir(folder)) != NULL)
            run_file(argv[3], entry->d_name);
        closedir(folder);
    }
    static uint8_t input[INPUT_MAX];
    for (unsigned long i = 0; i < count; i++) {
        size_t len = make_input(input);
        if (argc > 4) write_file(argv[4], i, input, len);
        LLVMFuzzerTestOneInput(input, len);
    }
    printf("%lu mutations survived\n", count);
    return 0;
}

#endif

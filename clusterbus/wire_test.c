#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "clusterbus/wire.h"
#include "server/base/mem.h"

#define SAMPLES DUNLIN_SOURCE_ROOT "/../shared/spec/samples"

/* Reads the hex columns of a recorded packet. */
static size_t read_sample(const char *path, uint8_t *out, size_t cap) {
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    char line[512];
    size_t len = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (line[0] == '#') continue;
        char *at = strstr(line, "  ");
        if (at == NULL) continue;
        unsigned value;
        int used;
        for (unsigned column = 0; column < 16; column++) {
            if (sscanf(at, "%2x%n", &value, &used) != 1) break;
            cr_assert_lt(len, cap);
            out[len++] = (uint8_t)value;
            at += used;
        }
    }
    fclose(file);
    return len;
}

/* Takes a packet apart into values and puts it together from them. */
static size_t reencode(const struct wire_message *message, uint8_t *out) {
    uint8_t *end = wire_put_header(out, &message->header);
    switch (message->header.type) {
    case WIRE_PING:
    case WIRE_PONG:
    case WIRE_MEET:
        for (uint16_t i = 0; i < message->header.gossip_count; i++) {
            struct wire_gossip entry;
            wire_gossip_at(message, i, &entry);
            end = wire_put_gossip(end, &entry);
        }
        struct bytes cursor = message->extensions;
        struct wire_extension extension;
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

Test(wire, decoding_and_encoding_every_sample_is_byte_identical) {
    DIR *folder = opendir(SAMPLES);
    if (folder == NULL) cr_skip_test("no recorded packets at " SAMPLES);
    struct dirent *entry;
    unsigned count = 0;
    while ((entry = readdir(folder)) != NULL) {
        size_t name_len = strlen(entry->d_name);
        if (strncmp(entry->d_name, "bus-", 4) != 0 || name_len < 4 ||
            strcmp(entry->d_name + name_len - 4, ".hex") != 0)
            continue;
        char path[1024];
        snprintf(path, sizeof(path), "%s/%s", SAMPLES, entry->d_name);
        static uint8_t packet[16384];
        static uint8_t again[16384];
        size_t len = read_sample(path, packet, sizeof(packet));
        size_t framed = 0;
        cr_assert_eq(bus_frame_length(bytes_of(packet, len), &framed), STATUS_OK, "%s", path);
        cr_assert_eq(framed, len, "%s", path);
        struct wire_message message;
        cr_assert_eq(wire_decode(bytes_of(packet, len), &message), STATUS_OK, "%s", path);
        cr_assert_eq(reencode(&message, again), len, "%s", path);
        cr_assert_eq(memcmp(packet, again, len), 0, "%s", path);
        count++;
    }
    closedir(folder);
    cr_assert_geq(count, 20u);
}

/* An empty packet of a type; returns its length. */
static size_t make(uint8_t *out, uint16_t type, bool is_light, uint16_t gossip_count) {
    static const uint8_t no_slots[BUS_SLOT_BYTES];
    struct wire_header header = {
        .type = type, .is_light = is_light, .slots = no_slots, .gossip_count = gossip_count};
    uint8_t *end = wire_put_header(out, &header);
    wire_finish(out, end);
    return (size_t)(end - out);
}

static enum status decode(const uint8_t *packet, size_t len) {
    struct wire_message message;
    /* A copy of the exact size, so that a sanitizer sees a read beyond it. */
    uint8_t *copy = mem_alloc(len);
    memcpy(copy, packet, len);
    enum status status = wire_decode(bytes_of(copy, len), &message);
    mem_free(copy);
    return status;
}

Test(wire, a_full_header_has_2256_bytes_and_a_gossip_entry_104) {
    uint8_t packet[8192];
    cr_assert_eq(make(packet, WIRE_PING, false, 0), 2256u);
    struct wire_gossip entry = {0};
    cr_assert_eq(wire_put_gossip(packet, &entry) - packet, 104);
}

Test(wire, a_bad_signature_or_a_too_short_length_closes_the_link) {
    uint8_t packet[4096];
    size_t len = make(packet, WIRE_PING, false, 0);
    size_t framed;
    cr_assert_eq(bus_frame_length(bytes_of(packet, 13), &framed), STATUS_AGAIN);
    wire_finish(packet, packet + 2255);
    cr_assert_eq(bus_frame_length(bytes_of(packet, len), &framed), STATUS_BAD_FORMAT);
    make(packet, WIRE_PUBLISH, true, 0);
    wire_finish(packet, packet + 15);
    cr_assert_eq(bus_frame_length(bytes_of(packet, 16), &framed), STATUS_BAD_FORMAT);
    make(packet, WIRE_PING, false, 0);
    packet[0] = 'X';
    cr_assert_eq(bus_frame_length(bytes_of(packet, len), &framed), STATUS_BAD_FORMAT);
    memcpy(packet, "RCmb\xff\xff\xff\xff", 8);
    cr_assert_eq(bus_frame_length(bytes_of(packet, len), &framed), STATUS_TOO_BIG);
}

Test(wire, another_version_and_unknown_types_are_unsupported) {
    uint8_t packet[4096];
    size_t len = make(packet, WIRE_PING, false, 0);
    packet[9] = 2;
    cr_assert_eq(decode(packet, len), STATUS_UNSUPPORTED);
    len = make(packet, 11, false, 0);
    cr_assert_eq(decode(packet, len), STATUS_UNSUPPORTED);
    len = make(packet, 200, false, 0);
    cr_assert_eq(decode(packet, len), STATUS_UNSUPPORTED);
    len = make(packet, WIRE_PING, true, 0);
    cr_assert_eq(decode(packet, len), STATUS_UNSUPPORTED);
}

Test(wire, a_ping_with_a_missing_entry_or_trailing_bytes_is_refused) {
    uint8_t packet[4096] = {0};
    size_t len = make(packet, WIRE_PING, false, 1);
    cr_assert_eq(decode(packet, len), STATUS_BAD_FORMAT);
    len = make(packet, WIRE_PING, false, 0);
    wire_finish(packet, packet + len + 8);
    cr_assert_eq(decode(packet, len + 8), STATUS_BAD_FORMAT);
}

Test(wire, a_fail_of_another_length_is_refused) {
    uint8_t packet[4096] = {0};
    size_t len = make(packet, WIRE_FAIL, false, 0);
    cr_assert_eq(decode(packet, len), STATUS_BAD_FORMAT);
    wire_finish(packet, packet + WIRE_FAIL_SIZE);
    cr_assert_eq(decode(packet, WIRE_FAIL_SIZE), STATUS_OK);
    wire_finish(packet, packet + WIRE_FAIL_SIZE + 1);
    cr_assert_eq(decode(packet, WIRE_FAIL_SIZE + 1), STATUS_BAD_FORMAT);
}

Test(wire, extension_lengths_are_multiples_of_8_within_the_packet) {
    static const struct {
        uint32_t length;
        enum status status;
    } cases[] = {
        {16, STATUS_OK},         {8, STATUS_BAD_FORMAT},           {0, STATUS_BAD_FORMAT},
        {12, STATUS_BAD_FORMAT}, {24, STATUS_BAD_FORMAT},          {0x10010, STATUS_BAD_FORMAT},
        {7, STATUS_BAD_FORMAT},  {0xfffffff8u, STATUS_BAD_FORMAT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t packet[4096] = {0};
        size_t len = make(packet, WIRE_PING, false, 0);
        packet[2215] = 1; /* extensions */
        packet[2253] = WIRE_HAS_EXTENSIONS;
        wire_put_extension(packet + len, 77, BYTES_LITERAL("12345678"));
        for (int byte = 0; byte < 4; byte++)
            packet[len + (size_t)byte] = (uint8_t)(cases[i].length >> (24 - 8 * byte));
        wire_finish(packet, packet + len + 16);
        cr_assert_eq(decode(packet, len + 16), cases[i].status, "length %u", cases[i].length);
    }
}

Test(wire, extensions_need_their_flag_and_the_flag_needs_none) {
    uint8_t packet[4096] = {0};
    size_t len = make(packet, WIRE_PING, false, 0);
    packet[2215] = 1;
    wire_put_extension(packet + len, 0, BYTES_LITERAL("name"));
    wire_finish(packet, packet + len + 16);
    cr_assert_eq(decode(packet, len + 16), STATUS_BAD_FORMAT);
    len = make(packet, WIRE_PING, false, 0);
    packet[2253] = WIRE_HAS_EXTENSIONS;
    cr_assert_eq(decode(packet, len), STATUS_OK);
}

Test(wire, a_publish_whose_lengths_overflow_is_refused) {
    uint8_t packet[64] = {0};
    size_t len = make(packet, WIRE_PUBLISH, true, 0);
    memset(packet + len, 0xff, 8);
    wire_finish(packet, packet + len + 8);
    cr_assert_eq(decode(packet, len + 8), STATUS_BAD_FORMAT);
}

Test(wire, a_slot_is_bit_s_mod_8_of_byte_s_div_8) {
    uint8_t slots[BUS_SLOT_BYTES] = {0};
    slots[0] = 0x02;
    struct wire_header header = {.type = WIRE_PING, .slots = slots};
    uint8_t packet[4096];
    wire_finish(packet, wire_put_header(packet, &header));
    struct wire_message message;
    cr_assert_eq(wire_decode(bytes_of(packet, 2256), &message), STATUS_OK);
    cr_assert_eq(message.header.slots[0], 0x02);
}

/* Handshake, addresses and gossip (specification 1 and 3). */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "clusterbus/fixture_internal.h"
#include "clusterbus/nodes_conf.h"

static const struct bytes nothing = {NULL, 0};

static bool is_dialled(const struct fixture *f, uint16_t port) {
    for (size_t i = 0; i < f->effects.count; i++)
        if (f->effects.list[i].type == BUS_EFFECT_CONNECT && f->effects.list[i].port == port)
            return true;
    return false;
}

static bool conf_has(const struct fixture *f, const char *text) {
    struct buffer conf = {0};
    nodes_conf_write(f->bus, &conf);
    buffer_append_u8(&conf, 0);
    bool has = strstr((const char *)conf.data, text) != NULL;
    buffer_deinit(&conf);
    return has;
}

Test(membership, a_ping_from_an_unknown_id_is_answered_and_creates_no_node) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct wire_header header;
    fixture_header(&f, 'x', WIRE_PING, &header);
    header.current_epoch = 77;
    uint64_t link = fixture_accept(&f);
    fixture_say(&f, link, &header, nothing);
    cr_assert(fixture_sent(&f, '*', WIRE_PONG, NULL));
    cr_assert_eq(bus_node_count(f.bus), 5u);
    cr_assert_eq(bus_epochs_view(f.bus).current, 3u, "an unknown sender raises no epoch");
    fixture_end(&f);
}

Test(membership, a_meet_makes_one_handshake_node_that_is_dialled_within_200_ms) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct wire_header header;
    fixture_header(&f, 'x', WIRE_MEET, &header);
    fixture_say(&f, fixture_accept(&f), &header, nothing);
    cr_assert(fixture_sent(&f, '*', WIRE_PONG, NULL));
    fixture_say(&f, fixture_accept(&f), &header, nothing);
    cr_assert_eq(bus_node_count(f.bus), 6u);
    fixture_tick(&f);
    cr_assert(is_dialled(&f, header.bus_port));
    struct bus_node_view view;
    bus_node_view_at(f.bus, 0, &view);
    cr_assert_str_eq(view.ip, "127.0.0.9", "own ip is learnt from the socket on MEET");
    fixture_end(&f);
}

Test(membership, a_handshake_takes_the_id_of_the_first_pong_and_is_saved_only_then) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct bus_command meet = {
        .type = BUS_COMMAND_MEET, .ip = BYTES_LITERAL("127.0.0.1"), .port = 7055};
    cr_assert_eq(fixture_command(&f, meet), BUS_OK);
    cr_assert_eq(fixture_command(&f, meet), BUS_OK);
    cr_assert_eq(bus_node_count(f.bus), 6u, "MEET twice makes one handshake");
    cr_assert(!conf_has(&f, "7055"));
    fixture_tick(&f);
    const struct bus_effect *dial = fixture_effect(&f, BUS_EFFECT_CONNECT);
    cr_assert_not_null(dial);
    uint64_t link = dial->link;
    cr_assert_eq(dial->port, 17055);
    bus_step(f.bus, &(struct bus_input){.type = BUS_INPUT_LINK_CONNECTED, .link = link}, f.now,
             &f.rng, &f.effects);
    cr_assert(fixture_sent(&f, '*', WIRE_MEET, NULL));
    struct wire_header header;
    fixture_header(&f, 'x', WIRE_PONG, &header);
    fixture_say(&f, link, &header, nothing);
    struct bus_node_view view;
    cr_assert(fixture_view(&f, 'x', &view));
    cr_assert(!(view.flags & BUS_NODE_HANDSHAKE));
    cr_assert(conf_has(&f, "7055"));
    cr_assert_eq(f.effects.list[0].type, BUS_EFFECT_PERSIST);
    fixture_end(&f);
}

Test(membership, a_handshake_without_pong_disappears_after_its_timeout) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    fixture_command(&f, (struct bus_command){
                            .type = BUS_COMMAND_MEET, .ip = BYTES_LITERAL("::1"), .port = 7055});
    fixture_live(&f, FIXTURE_NT, "");
    cr_assert_eq(bus_node_count(f.bus), 6u);
    fixture_live(&f, 200, "");
    cr_assert_eq(bus_node_count(f.bus), 5u);
    fixture_end(&f);
}

Test(membership, a_pong_with_another_id_marks_the_node_noaddr_and_closes_the_link) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct bus_node_view view;
    fixture_view(&f, 'c', &view);
    struct wire_header header;
    fixture_header(&f, 'x', WIRE_PONG, &header);
    fixture_say(&f, view.out_link, &header, nothing);
    cr_assert(fixture_view(&f, 'c', &view));
    cr_assert(view.flags & BUS_NODE_NOADDR);
    cr_assert_str_empty(view.ip);
    cr_assert_eq(fixture_count(&f, BUS_EFFECT_CLOSE), 1u);
    cr_assert_eq(view.out_link, BUS_LINK_NONE);
    fixture_end(&f);
}

Test(membership, an_inbound_ping_with_a_new_address_updates_the_node_and_a_pong_does_not) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct wire_header header;
    struct bus_node_view view;
    uint64_t link = fixture_accept(&f);
    fixture_header(&f, 'b', WIRE_PONG, &header);
    header.bus_port = 17999;
    fixture_say(&f, link, &header, nothing);
    fixture_view(&f, 'b', &view);
    cr_assert_eq(view.bus_port, 17001);
    header.type = WIRE_PING;
    memcpy(header.ip, "10.0.0.7", 9);
    fixture_say(&f, link, &header, nothing);
    fixture_view(&f, 'b', &view);
    cr_assert_eq(view.bus_port, 17999);
    cr_assert_str_eq(view.ip, "10.0.0.7", "the header's address overrides the socket's");
    cr_assert_eq(view.out_link, BUS_LINK_NONE);
    fixture_tick(&f);
    cr_assert(is_dialled(&f, 17999));
    fixture_end(&f);
}

Test(membership, a_second_inbound_link_replaces_and_closes_the_first) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct wire_header header;
    fixture_header(&f, 'b', WIRE_PING, &header);
    uint64_t first = fixture_accept(&f);
    fixture_say(&f, first, &header, nothing);
    uint64_t second = fixture_accept(&f);
    fixture_say(&f, second, &header, nothing);
    cr_assert_eq(fixture_count(&f, BUS_EFFECT_CLOSE), 1u);
    cr_assert_eq(fixture_effect(&f, BUS_EFFECT_CLOSE)->link, first);
    struct bus_node_view view;
    fixture_view(&f, 'b', &view);
    cr_assert_eq(view.in_link, second);
    fixture_end(&f);
}

Test(membership, reconnecting_does_not_reset_the_outstanding_ping_time) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    fixture_live(&f, 2000, "c");
    struct bus_node_view before;
    struct bus_node_view after;
    fixture_view(&f, 'c', &before);
    cr_assert_neq(before.ping_sent_wall_ms, 0u);
    bus_step(f.bus, &(struct bus_input){.type = BUS_INPUT_LINK_CLOSED, .link = before.out_link},
             f.now, &f.rng, &f.effects);
    fixture_live(&f, 200, "c");
    fixture_view(&f, 'c', &after);
    cr_assert_neq(after.out_link, before.out_link);
    cr_assert_eq(after.ping_sent_wall_ms, before.ping_sent_wall_ms);
    fixture_end(&f);
}

Test(membership, a_light_publish_as_first_packet_closes_the_link_and_a_light_ping_is_ignored) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    uint8_t packet[64];
    struct wire_header header = {.type = WIRE_PUBLISH, .is_light = true};
    uint8_t *end =
        wire_put_publish(wire_put_header(packet, &header), BYTES_LITERAL("c"), BYTES_LITERAL("m"));
    wire_finish(packet, end);
    fixture_packet(&f, fixture_accept(&f), packet, (size_t)(end - packet));
    cr_assert_not_null(fixture_effect(&f, BUS_EFFECT_CLOSE));
    cr_assert_null(fixture_effect(&f, BUS_EFFECT_DELIVER));

    uint64_t link = fixture_accept(&f);
    header.type = WIRE_PING;
    end = wire_put_header(packet, &header);
    wire_finish(packet, end);
    fixture_packet(&f, link, packet, (size_t)(end - packet));
    cr_assert_eq(f.effects.count, 0u);
    fixture_end(&f);
}

Test(membership, publish_goes_light_to_those_who_can_and_shard_messages_stay_in_the_shard) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct wire_header header;
    struct wire_message message;
    fixture_header(&f, 'c', WIRE_PONG, &header);
    header.flags = BUS_NODE_PRIMARY;
    fixture_say(&f, BUS_LINK_NONE, &header, nothing);
    struct bus_input publish = {.type = BUS_INPUT_PUBLISH,
                                .channel = BYTES_LITERAL("chan"),
                                .message = BYTES_LITERAL("hello")};
    bus_step(f.bus, &publish, f.now, &f.rng, &f.effects);
    cr_assert_eq(fixture_count(&f, BUS_EFFECT_SEND), 4u);
    cr_assert(fixture_sent(&f, 'b', WIRE_PUBLISH, &message));
    cr_assert(message.header.is_light);
    cr_assert(fixture_sent(&f, 'c', WIRE_PUBLISH, &message));
    cr_assert(!message.header.is_light);
    cr_assert(bytes_equal_text(message.publish.message, "hello"));
    publish.is_shard = true;
    bus_step(f.bus, &publish, f.now, &f.rng, &f.effects);
    cr_assert_eq(fixture_count(&f, BUS_EFFECT_SEND), 1u);
    cr_assert(fixture_sent(&f, 'd', WIRE_PUBLISH_SHARD, NULL));
    fixture_end(&f);
}

/* Gossip of one entry about node `about`. */
static void gossip(struct fixture *f, char sender, char about, uint16_t flags) {
    struct wire_header header;
    struct wire_gossip entry = {.id = fixture_id(about),
                                .port = 7077,
                                .bus_port = 17077,
                                .flags = flags,
                                .ip = "127.0.0.1"};
    uint8_t payload[WIRE_GOSSIP_SIZE];
    wire_put_gossip(payload, &entry);
    fixture_header(f, sender, WIRE_PING, &header);
    header.gossip_count = 1;
    uint64_t link = fixture_accept(f);
    fixture_say(f, link, &header, bytes_of(payload, sizeof(payload)));
}

Test(membership, gossip_of_a_known_node_adds_nodes_and_that_of_a_stranger_does_not) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct bus_node_view view;
    gossip(&f, 'x', 'z', BUS_NODE_PRIMARY);
    cr_assert(!fixture_view(&f, 'z', &view));
    gossip(&f, 'b', 'z', BUS_NODE_PRIMARY | BUS_NODE_MYSELF);
    cr_assert(fixture_view(&f, 'z', &view));
    cr_assert_eq(view.flags, BUS_NODE_PRIMARY);
    fixture_end(&f);
}

Test(membership, a_malformed_id_spoils_the_whole_gossip_section) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    gossip(&f, 'b', '!', BUS_NODE_PRIMARY);
    cr_assert_eq(bus_node_count(f.bus), 5u);
    fixture_end(&f);
}

Test(membership, forget_blocks_gossip_is_told_to_others_and_repeats_as_ok) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct node_id id = fixture_id('e');
    struct bus_command forget = {.type = BUS_COMMAND_FORGET,
                                 .node = bytes_of(id.text, NODE_ID_LENGTH)};
    cr_assert_eq(fixture_command(&f, forget), BUS_OK);
    cr_assert_eq(fixture_command(&f, forget), BUS_OK);
    struct bus_node_view view;
    gossip(&f, 'b', 'e', BUS_NODE_REPLICA);
    cr_assert(!fixture_view(&f, 'e', &view));

    struct wire_message message;
    cr_assert(fixture_sent(&f, '*', WIRE_PONG, &message));
    struct bytes cursor = message.extensions;
    struct wire_extension extension;
    bool is_told = false;
    while (wire_extension_next(&cursor, &extension)) {
        if (extension.type != WIRE_EXTENSION_FORGOTTEN) continue;
        is_told = memcmp(extension.data.data, id.text, NODE_ID_LENGTH) == 0;
        cr_assert_eq(wire_get_u64(extension.data.data + NODE_ID_LENGTH), 60u);
    }
    cr_assert(is_told);
    f.now.mono_ms += 61000;
    f.now.wall_ms += 61000;
    gossip(&f, 'b', 'e', BUS_NODE_REPLICA);
    cr_assert(fixture_view(&f, 'e', &view));
    fixture_end(&f);
}

/* A PING of b with one extension. */
static void extend(struct fixture *f, uint16_t type, struct bytes data) {
    struct wire_header header;
    uint8_t payload[256];
    size_t len = (size_t)(wire_put_extension(payload, type, data) - payload);
    fixture_header(f, 'b', WIRE_PING, &header);
    header.extension_count = 1;
    fixture_say(f, BUS_LINK_NONE, &header, bytes_of(payload, len));
}

Test(membership, a_forgotten_node_is_dropped_unless_it_is_myself) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    uint8_t data[WIRE_FORGOTTEN_LEN];
    memset(data, 'a', NODE_ID_LENGTH);
    wire_put_u64(data + NODE_ID_LENGTH, 30);
    extend(&f, WIRE_EXTENSION_FORGOTTEN, bytes_of(data, sizeof(data)));
    cr_assert_eq(bus_node_count(f.bus), 5u);
    memset(data, 'e', NODE_ID_LENGTH);
    extend(&f, WIRE_EXTENSION_FORGOTTEN, bytes_of(data, sizeof(data)));
    cr_assert_eq(bus_node_count(f.bus), 4u);
    fixture_end(&f);
}

Test(membership, a_hostname_that_disappears_is_cleared) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct bus_node_view view;
    extend(&f, WIRE_EXTENSION_HOSTNAME, bytes_of("b.test", 7));
    fixture_view(&f, 'b', &view);
    cr_assert_str_eq(view.hostname, "b.test");
    extend(&f, 77, BYTES_LITERAL("unknown"));
    fixture_view(&f, 'b', &view);
    cr_assert_str_empty(view.hostname);
    cr_assert(fixture_sent(&f, '*', WIRE_PONG, NULL), "an unknown extension disturbs nothing");
    extend(&f, WIRE_EXTENSION_HOSTNAME, bytes_of("b.test\nvars", 12));
    fixture_view(&f, 'b', &view);
    cr_assert_str_empty(view.hostname, "a name that would break nodes.conf is no name");
    fixture_end(&f);
}

Test(membership, a_type_4_extension_that_is_no_address_disturbs_nothing) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct bus_node_view view;
    uint8_t secret[40];
    memset(secret, 0xab, sizeof(secret));
    extend(&f, WIRE_EXTENSION_CLIENT_IPV4, bytes_of(secret, sizeof(secret)));
    cr_assert(fixture_sent(&f, '*', WIRE_PONG, NULL));
    fixture_view(&f, 'b', &view);
    cr_assert_str_empty(view.client_ipv4);
    extend(&f, WIRE_EXTENSION_CLIENT_IPV4, bytes_of("192.0.2.7", 10));
    fixture_view(&f, 'b', &view);
    cr_assert_str_eq(view.client_ipv4, "192.0.2.7");
    fixture_end(&f);
}

Test(membership, a_peer_is_pinged_when_its_last_pong_is_older_than_half_the_timeout) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    fixture_pong(&f, 'b');
    struct bus_node_view view;
    for (uint64_t ms = 0; ms <= FIXTURE_NT / 2 + BUS_TICK_MS; ms += BUS_TICK_MS)
        fixture_tick(&f);
    fixture_view(&f, 'b', &view);
    cr_assert_neq(view.ping_sent_wall_ms, 0u);
    fixture_end(&f);
}

Test(membership, a_malformed_packet_is_ignored_and_the_link_stays) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    uint64_t link = fixture_accept(&f);
    struct wire_header header;
    fixture_header(&f, 'b', WIRE_FAIL, &header);
    fixture_say(&f, link, &header, BYTES_LITERAL("short"));
    cr_assert_null(fixture_effect(&f, BUS_EFFECT_CLOSE));
    fixture_header(&f, 'b', WIRE_PING, &header);
    fixture_say(&f, link, &header, nothing);
    cr_assert(fixture_sent(&f, '*', WIRE_PONG, NULL));
    fixture_say(&f, link, &header, BYTES_LITERAL("trailing"));
    cr_assert(!fixture_sent(&f, '*', WIRE_PONG, NULL));
    fixture_end(&f);
}

/* A cluster of `count` primaries with one slot each. */
static void start_crowd(struct fixture *f, unsigned count) {
    static char conf[8192];
    size_t len = 0;
    for (unsigned i = 0; i < count; i++) {
        char id[NODE_ID_LENGTH + 1] = {0};
        memset(id, (int)('a' + i), NODE_ID_LENGTH);
        len += (size_t)snprintf(conf + len, sizeof(conf) - len,
                                "%s 127.0.0.1:%u@%u %smaster - 0 0 %u connected %u\n", id, 7000 + i,
                                17000 + i, i == 0 ? "myself," : "", i + 1, i);
    }
    fixture_start(f, conf);
}

Test(membership, a_ping_tells_of_few_nodes_and_of_neither_sender_nor_receiver) {
    struct fixture f;
    start_crowd(&f, 8);
    struct wire_header header;
    fixture_header(&f, 'b', WIRE_PING, &header);
    for (int round = 0; round < 50; round++) {
        struct wire_message message;
        fixture_say(&f, BUS_LINK_NONE, &header, nothing);
        cr_assert(fixture_sent(&f, 'b', WIRE_PONG, &message));
        cr_assert_leq(message.header.gossip_count, 3u);
        cr_assert(message.header.message_flags[0] & WIRE_HAS_EXTENSIONS);
        for (uint16_t i = 0; i < message.header.gossip_count; i++) {
            struct wire_gossip entry;
            wire_gossip_at(&message, i, &entry);
            cr_assert(entry.id.text[0] != 'a' && entry.id.text[0] != 'b');
        }
    }
    fixture_end(&f);
}

Test(membership, all_suspected_nodes_are_in_every_ping) {
    struct fixture f;
    start_crowd(&f, 8);
    fixture_live(&f, FIXTURE_NT * 2, "defgh");
    struct wire_header header;
    struct wire_message message;
    fixture_header(&f, 'b', WIRE_PING, &header);
    fixture_say(&f, BUS_LINK_NONE, &header, nothing);
    cr_assert(fixture_sent(&f, 'b', WIRE_PONG, &message));
    unsigned suspected = 0;
    for (uint16_t i = 0; i < message.header.gossip_count; i++) {
        struct wire_gossip entry;
        wire_gossip_at(&message, i, &entry);
        suspected += (entry.flags & BUS_NODE_SUSPECTED) != 0;
    }
    cr_assert_eq(suspected, 5u);
    fixture_end(&f);
}

Test(membership, a_suspected_node_is_followed_to_where_gossip_says_it_is_reachable) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct bus_node_view view;
    gossip(&f, 'b', 'c', BUS_NODE_PRIMARY);
    fixture_view(&f, 'c', &view);
    cr_assert_eq(view.bus_port, 17002, "a reachable node is not moved by others");
    fixture_live(&f, FIXTURE_NT * 2, "c");
    gossip(&f, 'b', 'c', BUS_NODE_PRIMARY);
    fixture_view(&f, 'c', &view);
    cr_assert_eq(view.bus_port, 17077);
    fixture_end(&f);
}

Test(membership, meeting_a_known_node_again_ends_without_a_second_entry) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    fixture_command(&f, (struct bus_command){.type = BUS_COMMAND_MEET,
                                             .ip = BYTES_LITERAL("127.0.0.2"),
                                             .port = 7001});
    fixture_tick(&f);
    const struct bus_effect *dial = fixture_effect(&f, BUS_EFFECT_CONNECT);
    cr_assert_not_null(dial);
    uint64_t link = dial->link;
    bus_step(f.bus, &(struct bus_input){.type = BUS_INPUT_LINK_CONNECTED, .link = link}, f.now,
             &f.rng, &f.effects);
    struct wire_header header;
    fixture_header(&f, 'b', WIRE_PONG, &header);
    fixture_say(&f, link, &header, nothing);
    cr_assert_eq(bus_node_count(f.bus), 5u);
    struct bus_node_view view;
    fixture_view(&f, 'b', &view);
    cr_assert_str_eq(view.ip, "127.0.0.2", "its address is updated");
    fixture_end(&f);
}

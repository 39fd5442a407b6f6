/* Epochs, roles, slot ownership (specification 5). */
#include <string.h>

#include <criterion/criterion.h>

#include "clusterbus/fixture_internal.h"
#include "clusterbus/slot_map.h"

static const struct bytes nothing = {NULL, 0};

/* A PONG of a primary that claims its own slots and `slot`, under `epoch`. */
static void claim(struct fixture *f, char sender, uint16_t slot, uint64_t epoch) {
    struct wire_header header;
    uint8_t slots[BUS_SLOT_BYTES];
    fixture_header(f, sender, WIRE_PONG, &header);
    memcpy(slots, header.slots, sizeof(slots));
    slot_bits_add(slots, slot);
    header.slots = slots;
    header.config_epoch = epoch;
    if (epoch > header.current_epoch) header.current_epoch = epoch;
    header.replica_of = (struct node_id){{0}};
    fixture_say(f, BUS_LINK_NONE, &header, nothing);
}

static void claim_range(struct fixture *f, char sender, uint16_t first, uint16_t last,
                        uint64_t epoch) {
    struct wire_header header;
    uint8_t slots[BUS_SLOT_BYTES] = {0};
    fixture_header(f, sender, WIRE_PONG, &header);
    for (uint32_t slot = first; slot <= last; slot++)
        slot_bits_add(slots, (uint16_t)slot);
    header.slots = slots;
    header.config_epoch = epoch;
    header.current_epoch = epoch;
    header.replica_of = (struct node_id){{0}};
    fixture_say(f, BUS_LINK_NONE, &header, nothing);
}

Test(claims, the_current_epoch_rises_with_a_known_sender_durably) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct wire_header header;
    fixture_header(&f, 'b', WIRE_PONG, &header);
    header.current_epoch = 9;
    fixture_say(&f, BUS_LINK_NONE, &header, nothing);
    cr_assert_eq(bus_epochs_view(f.bus).current, 9u);
    cr_assert_eq(f.effects.list[0].type, BUS_EFFECT_PERSIST);
    cr_assert(f.effects.list[0].must_fsync);
    fixture_end(&f);
}

Test(claims, a_greater_epoch_takes_a_slot_and_an_equal_or_smaller_one_does_not) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    claim(&f, 'b', 11000, 2);
    cr_assert_eq(fixture_owner(&f, 11000), 'c');
    claim(&f, 'b', 11000, 4);
    cr_assert_eq(fixture_owner(&f, 11000), 'b');
    cr_assert_not_null(fixture_effect(&f, BUS_EFFECT_ROUTES));
    cr_assert(slot_bits_has(f.effects.routes, 11000));
    cr_assert_not_null(fixture_effect(&f, BUS_EFFECT_DROP_CHANNELS));
    fixture_end(&f);
}

Test(claims, a_slot_that_its_owner_stops_claiming_stays_until_anyone_claims_it) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    claim_range(&f, 'c', 10924, 16383, 3);
    cr_assert_eq(fixture_owner(&f, 10923), 'c');
    claim(&f, 'b', 10923, 2);
    cr_assert_eq(fixture_owner(&f, 10923), 'b');
    fixture_end(&f);
}

Test(claims, a_stale_claimant_receives_one_update_about_the_first_owner) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct wire_message message;
    claim(&f, 'b', 11000, 2);
    cr_assert(fixture_sent(&f, 'b', WIRE_UPDATE, &message));
    cr_assert_eq(message.update.node.text[0], 'c');
    cr_assert_eq(message.update.config_epoch, 3u);
    cr_assert_eq(fixture_count(&f, BUS_EFFECT_SEND), 1u);
    fixture_end(&f);
}

static void update(struct fixture *f, char about, uint64_t epoch, uint16_t first, uint16_t last) {
    static uint8_t payload[WIRE_UPDATE_SIZE - WIRE_HEADER_SIZE];
    uint8_t slots[BUS_SLOT_BYTES] = {0};
    for (uint32_t slot = first; slot <= last; slot++)
        slot_bits_add(slots, (uint16_t)slot);
    struct node_id id = fixture_id(about);
    wire_put_update(payload, epoch, &id, slots);
    struct wire_header header;
    fixture_header(f, 'b', WIRE_UPDATE, &header);
    fixture_say(f, BUS_LINK_NONE, &header, bytes_of(payload, sizeof(payload)));
}

Test(claims, an_update_counts_only_under_a_greater_epoch_and_never_about_myself) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    update(&f, 'c', 3, 0, 5460);
    cr_assert_eq(fixture_owner(&f, 0), 'a');
    update(&f, 'a', 9, 5461, 10922);
    cr_assert_eq(fixture_owner(&f, 5461), 'b');
    update(&f, 'c', 4, 0, 10);
    cr_assert_eq(fixture_owner(&f, 0), 'c');
    cr_assert_eq(fixture_owner(&f, 11), 'a');
    fixture_end(&f);
}

Test(claims, a_primary_that_loses_its_last_slot_to_its_replica_follows_it) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    update(&f, 'd', 7, 0, 5460);
    const struct bus_effect *role = fixture_effect(&f, BUS_EFFECT_BECOME_REPLICA);
    cr_assert_not_null(role);
    cr_assert_eq(role->node.text[0], 'd');
    cr_assert_eq(role->primary_port, 7003);
    cr_assert(!role->full_resync, "the same shard has the same history");
    cr_assert_eq(f.effects.list[0].type, BUS_EFFECT_PERSIST);
    cr_assert(f.effects.list[0].must_fsync);
    cr_assert(!bus_epochs_view(f.bus).is_primary);
    fixture_end(&f);
}

Test(claims, with_migration_off_a_primary_emptied_by_another_shard_stays_one) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    f.config.allow_replica_migration = false;
    bus_step(f.bus, &(struct bus_input){.type = BUS_INPUT_CONFIG, .config = &f.config}, f.now,
             &f.rng, &f.effects);
    claim_range(&f, 'c', 0, 5460, 8);
    cr_assert(bus_epochs_view(f.bus).is_primary);
    cr_assert_null(fixture_effect(&f, BUS_EFFECT_BECOME_REPLICA));
    cr_assert_eq(fixture_owner(&f, 0), 'c');
    fixture_end(&f);
}

Test(claims, a_primary_that_loses_some_slots_deletes_their_keys) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    f.key_count = 3;
    claim(&f, 'c', 100, 8);
    cr_assert_not_null(fixture_effect(&f, BUS_EFFECT_DELETE_KEYS));
    cr_assert(slot_bits_has(f.effects.deleted_keys, 100));
    cr_assert(!slot_bits_has(f.effects.deleted_keys, 101));
    fixture_end(&f);
}

Test(claims, of_two_primaries_with_one_epoch_the_smaller_id_moves) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct wire_header header;
    fixture_header(&f, 'b', WIRE_PONG, &header);
    header.config_epoch = 1;
    fixture_say(&f, BUS_LINK_NONE, &header, nothing);
    cr_assert_eq(bus_epochs_view(f.bus).mine, 1u, "b is held under 2, so there is no collision");
    fixture_end(&f);

    fixture_start(&f, fixture_three_primaries);
    cr_assert_eq(fixture_command(&f, (struct bus_command){.type = BUS_COMMAND_BUMPEPOCH}),
                 BUS_OK_BUMPED);
    cr_assert_eq(bus_epochs_view(f.bus).mine, 4u);
    fixture_header(&f, 'b', WIRE_PONG, &header);
    header.config_epoch = 4;
    fixture_say(&f, BUS_LINK_NONE, &header, nothing);
    cr_assert_eq(bus_epochs_view(f.bus).mine, 5u);
    cr_assert_eq(bus_epochs_view(f.bus).current, 5u);
    cr_assert(f.effects.list[0].type == BUS_EFFECT_PERSIST && f.effects.list[0].must_fsync);
    fixture_end(&f);
}

static enum bus_result set_slot(struct fixture *f, enum bus_command_type type, uint16_t slot,
                                char node) {
    static struct node_id id;
    id = fixture_id(node);
    return fixture_command(f, (struct bus_command){.type = type,
                                                   .slot = slot,
                                                   .node = bytes_of(id.text, NODE_ID_LENGTH)});
}

Test(claims, an_importing_slot_follows_the_failover_of_its_source) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    cr_assert_eq(set_slot(&f, BUS_COMMAND_SETSLOT_IMPORTING, 6000, 'b'), BUS_OK);
    update(&f, 'e', 9, 5461, 10922);
    struct bus_slot_view view;
    bus_slot_view(f.bus, 6000, &view);
    cr_assert(view.is_importing);
    cr_assert_eq(view.importing_from.text[0], 'e');
    fixture_end(&f);
}

Test(claims, a_migrating_slot_follows_the_failover_of_its_target) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    cr_assert_eq(set_slot(&f, BUS_COMMAND_SETSLOT_MIGRATING, 100, 'b'), BUS_OK);
    update(&f, 'e', 9, 5461, 10922);
    struct bus_slot_view view;
    bus_slot_view(f.bus, 100, &view);
    cr_assert(view.is_migrating);
    cr_assert_eq(view.migrating_to.text[0], 'e');
    fixture_end(&f);
}

Test(claims, an_importing_primary_takes_over_what_its_source_gives_up) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    cr_assert_eq(set_slot(&f, BUS_COMMAND_SETSLOT_IMPORTING, 10923, 'c'), BUS_OK);
    claim_range(&f, 'c', 10924, 16383, 3);
    cr_assert_eq(fixture_owner(&f, 10923), 'a');
    cr_assert_eq(bus_epochs_view(f.bus).mine, 4u);
    fixture_end(&f);
}

Test(claims, finishing_an_import_bumps_the_epoch_once_and_tells_everybody) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    cr_assert_eq(set_slot(&f, BUS_COMMAND_SETSLOT_IMPORTING, 6000, 'b'), BUS_OK);
    cr_assert_eq(set_slot(&f, BUS_COMMAND_SETSLOT_NODE, 6000, 'a'), BUS_OK);
    cr_assert_eq(bus_epochs_view(f.bus).mine, 4u);
    cr_assert(fixture_sent(&f, 'b', WIRE_PONG, NULL));
    cr_assert(fixture_sent(&f, 'c', WIRE_PONG, NULL));
    fixture_end(&f);
}

Test(claims, commands_refuse_with_the_exact_texts) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct buffer text = {0};
    struct node_id b = fixture_id('b');
    struct node_id d = fixture_id('d');
    struct node_id mine = fixture_id('a');
    struct slot_range busy = {5, 5};
    const struct {
        struct bus_command command;
        const char *text;
    } cases[] = {
        {{.type = BUS_COMMAND_ADDSLOTS, .ranges = &busy, .range_count = 1},
         "ERR Slot 5 is already busy"},
        {{.type = BUS_COMMAND_FORGET, .node = bytes_of(mine.text, NODE_ID_LENGTH)},
         "ERR I tried hard but I can't forget myself..."},
        {{.type = BUS_COMMAND_FORGET, .node = BYTES_LITERAL("nobody")}, "ERR Unknown node nobody"},
        {{.type = BUS_COMMAND_REPLICATE, .node = bytes_of(d.text, NODE_ID_LENGTH)},
         "ERR I can only replicate a master, not a replica."},
        {{.type = BUS_COMMAND_REPLICATE, .node = bytes_of(b.text, NODE_ID_LENGTH)},
         "ERR To set a master the node must be empty and without assigned slots."},
        {{.type = BUS_COMMAND_SETSLOT_MIGRATING,
          .slot = 6000,
          .node = bytes_of(b.text, NODE_ID_LENGTH)},
         "ERR I'm not the owner of hash slot 6000"},
        {{.type = BUS_COMMAND_SETSLOT_IMPORTING, .slot = 6000, .node = BYTES_LITERAL("x")},
         "ERR I don't know about node x"},
        {{.type = BUS_COMMAND_SETSLOT_NODE, .slot = 6000, .node = bytes_of(d.text, NODE_ID_LENGTH)},
         "ERR Target node is not a master"},
        {{.type = BUS_COMMAND_MEET, .ip = BYTES_LITERAL("host.test"), .port = 7000},
         "ERR Invalid node address specified: host.test:7000"},
        {{.type = BUS_COMMAND_MEET, .ip = BYTES_LITERAL("10.0.0.1"), .port = 60000},
         "ERR Invalid node address specified: 10.0.0.1:60000"},
        {{.type = BUS_COMMAND_FAILOVER}, "ERR You should send CLUSTER FAILOVER to a replica"},
        {{.type = BUS_COMMAND_SET_CONFIG_EPOCH, .epoch = 3},
         "ERR The user can assign a config epoch only when the node does not know any other "
         "node."},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum bus_result result = fixture_command(&f, cases[i].command);
        buffer_clear(&text);
        bus_result_write(result, &f.effects.result_args, &text);
        cr_assert(bytes_equal_text(buffer_view(&text), cases[i].text), "%.*s", (int)text.len,
                  (const char *)text.data);
        cr_assert_null(fixture_effect(&f, BUS_EFFECT_PERSIST));
    }
    buffer_deinit(&text);
    fixture_end(&f);
}

Test(claims, a_hard_reset_leaves_an_empty_primary_under_a_new_id) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    f.key_count = 1;
    cr_assert_eq(fixture_command(&f, (struct bus_command){.type = BUS_COMMAND_RESET_HARD}),
                 BUS_RESET_NOT_EMPTY);
    f.key_count = 0;
    cr_assert_eq(fixture_command(&f, (struct bus_command){.type = BUS_COMMAND_RESET_HARD}), BUS_OK);
    cr_assert_eq(bus_node_count(f.bus), 1u);
    cr_assert_eq(bus_epochs_view(f.bus).current, 0u);
    cr_assert_eq(fixture_owner(&f, 0), '-');
    struct bus_node_view view;
    cr_assert(!fixture_view(&f, 'a', &view));
    cr_assert_gt(fixture_count(&f, BUS_EFFECT_CLOSE), 3u);
    fixture_end(&f);
}

Test(claims, taking_slots_claims_them_under_an_epoch_at_least_as_high_as_asked) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct slot_range range = {6000, 6010};
    struct bus_command take = {
        .type = BUS_COMMAND_TAKE_SLOTS, .ranges = &range, .range_count = 1, .epoch = 12};
    cr_assert_eq(fixture_command(&f, take), BUS_OK);
    cr_assert_eq(fixture_owner(&f, 6010), 'a');
    cr_assert_eq(bus_epochs_view(f.bus).mine, 12u);
    cr_assert(f.effects.list[0].type == BUS_EFFECT_PERSIST && f.effects.list[0].must_fsync);
    cr_assert(fixture_sent(&f, 'b', WIRE_PONG, NULL));
    fixture_end(&f);
}

Test(claims, a_replica_of_a_node_that_became_a_replica_follows_the_one_on_top) {
    static const char chain[] = FIXTURE_LINE(
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "7000",
        "myself,slave bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 0 0 1 connected")
        FIXTURE_LINE("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "7001", "master - 0 0 1 connected")
            FIXTURE_LINE(
                "cccccccccccccccccccccccccccccccccccccccc", "7002",
                "master - 0 0 2 connected 0-16383") "vars currentEpoch 3 lastVoteEpoch 0\n";
    struct fixture f;
    fixture_start(&f, chain);
    struct wire_header header;
    fixture_header(&f, 'b', WIRE_PONG, &header);
    header.flags = BUS_NODE_REPLICA;
    header.replica_of = fixture_id('c');
    fixture_say(&f, BUS_LINK_NONE, &header, nothing);
    const struct bus_effect *role = fixture_effect(&f, BUS_EFFECT_BECOME_REPLICA);
    cr_assert_not_null(role);
    cr_assert_eq(role->node.text[0], 'c');
    fixture_end(&f);
}

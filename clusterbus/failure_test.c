/* Suspicion, failure, the cluster's state (specification 4). */
#include <string.h>

#include <criterion/criterion.h>

#include "clusterbus/fixture_internal.h"

static bool has_flag(const struct fixture *f, char letter, unsigned flag) {
    struct bus_node_view view;
    cr_assert(fixture_view(f, letter, &view));
    return (view.flags & flag) != 0;
}

static void report(struct fixture *f, char sender, char about, uint16_t flags) {
    struct wire_header header;
    struct wire_gossip entry = {.id = fixture_id(about),
                                .port = (uint16_t)(7000 + about - 'a'),
                                .bus_port = (uint16_t)(17000 + about - 'a'),
                                .flags = flags,
                                .ip = "127.0.0.1"};
    uint8_t payload[WIRE_GOSSIP_SIZE];
    wire_put_gossip(payload, &entry);
    fixture_header(f, sender, WIRE_PONG, &header);
    header.gossip_count = 1;
    fixture_say(f, BUS_LINK_NONE, &header, bytes_of(payload, sizeof(payload)));
}

static void say_fail(struct fixture *f, char sender, char about) {
    struct wire_header header;
    struct node_id id = fixture_id(about);
    fixture_header(f, sender, WIRE_FAIL, &header);
    fixture_say(f, BUS_LINK_NONE, &header, bytes_of(id.text, NODE_ID_LENGTH));
}

Test(failure, a_silent_peer_is_suspected_after_the_node_timeout_and_not_earlier) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    fixture_live(&f, FIXTURE_NT - BUS_TICK_MS, "c");
    cr_assert(!has_flag(&f, 'c', BUS_NODE_SUSPECTED));
    fixture_live(&f, FIXTURE_NT, "c");
    cr_assert(has_flag(&f, 'c', BUS_NODE_SUSPECTED));
    fixture_pong(&f, 'c');
    cr_assert(!has_flag(&f, 'c', BUS_NODE_SUSPECTED));
    fixture_end(&f);
}

Test(failure, any_packet_of_the_peer_postpones_suspicion) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct wire_header header;
    uint64_t link = fixture_accept(&f);
    for (int i = 0; i < 10; i++) {
        fixture_live(&f, FIXTURE_NT / 2, "c");
        fixture_header(&f, 'c', WIRE_PING, &header);
        struct bytes none = {NULL, 0};
        fixture_say(&f, link, &header, none);
    }
    cr_assert(!has_flag(&f, 'c', BUS_NODE_SUSPECTED));
    fixture_end(&f);
}

Test(failure, reports_of_a_quorum_of_voting_primaries_make_it_fail) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    fixture_live(&f, FIXTURE_NT * 2, "c");
    report(&f, 'd', 'c', BUS_NODE_PRIMARY | BUS_NODE_SUSPECTED);
    cr_assert(!has_flag(&f, 'c', BUS_NODE_FAILED), "a replica's report does not count");
    report(&f, 'b', 'c', BUS_NODE_PRIMARY | BUS_NODE_SUSPECTED);
    cr_assert(has_flag(&f, 'c', BUS_NODE_FAILED));
    cr_assert(!has_flag(&f, 'c', BUS_NODE_SUSPECTED));
    cr_assert(fixture_sent(&f, 'b', WIRE_FAIL, NULL));
    cr_assert(fixture_sent(&f, 'd', WIRE_FAIL, NULL));
    cr_assert(!bus_is_ok(f.bus), "a failed owner leaves slots uncovered");
    fixture_end(&f);
}

Test(failure, reports_end_after_twice_the_node_timeout) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct node_id id = fixture_id('c');
    uint32_t count = 9;
    report(&f, 'b', 'c', BUS_NODE_PRIMARY | BUS_NODE_SUSPECTED);
    struct bytes text = bytes_of(id.text, NODE_ID_LENGTH);
    cr_assert(bus_failure_report_count(f.bus, text, f.now, &count));
    cr_assert_eq(count, 1u);
    f.now.mono_ms += FIXTURE_NT * 2 + 1;
    cr_assert(bus_failure_report_count(f.bus, text, f.now, &count));
    cr_assert_eq(count, 0u);
    fixture_end(&f);
}

Test(failure, a_fail_message_is_applied_at_once_but_not_from_strangers_or_about_me) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct wire_header header;
    struct node_id id = fixture_id('c');
    fixture_header(&f, 'x', WIRE_FAIL, &header);
    uint64_t link = fixture_accept(&f);
    fixture_say(&f, link, &header, bytes_of(id.text, NODE_ID_LENGTH));
    cr_assert(!has_flag(&f, 'c', BUS_NODE_FAILED));
    say_fail(&f, 'b', 'a');
    cr_assert(!has_flag(&f, 'a', BUS_NODE_FAILED));
    say_fail(&f, 'b', 'c');
    cr_assert(has_flag(&f, 'c', BUS_NODE_FAILED));
    cr_assert(!fixture_sent(&f, '*', WIRE_FAIL, NULL), "it is not told on");
    fixture_end(&f);
}

Test(failure, fail_clears_at_once_for_replicas_and_late_for_primaries_with_slots) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    say_fail(&f, 'b', 'd');
    cr_assert(has_flag(&f, 'd', BUS_NODE_FAILED));
    fixture_pong(&f, 'd');
    cr_assert(!has_flag(&f, 'd', BUS_NODE_FAILED));
    say_fail(&f, 'b', 'c');
    fixture_live(&f, FIXTURE_NT * 2 - BUS_TICK_MS, "");
    cr_assert(has_flag(&f, 'c', BUS_NODE_FAILED));
    fixture_live(&f, 3 * BUS_TICK_MS, "");
    cr_assert(!has_flag(&f, 'c', BUS_NODE_FAILED));
    fixture_end(&f);
}

Test(failure, coverage_matters_only_when_it_is_required) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    cr_assert(bus_is_ok(f.bus));
    struct slot_range range = {5, 5};
    fixture_command(
        &f, (struct bus_command){.type = BUS_COMMAND_DELSLOTS, .ranges = &range, .range_count = 1});
    cr_assert(!bus_is_ok(f.bus));
    f.config.require_full_coverage = false;
    bus_step(f.bus, &(struct bus_input){.type = BUS_INPUT_CONFIG, .config = &f.config}, f.now,
             &f.rng, &f.effects);
    cr_assert(bus_is_ok(f.bus));
    fixture_end(&f);
}

Test(failure, a_minority_is_not_ok_and_comes_back_after_the_rejoin_delay) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    fixture_live(&f, FIXTURE_NT * 2, "bcde");
    cr_assert(!bus_is_ok(f.bus));
    fixture_live(&f, FIXTURE_NT - BUS_TICK_MS, "");
    cr_assert(!bus_is_ok(f.bus));
    fixture_live(&f, BUS_TICK_MS * 4, "");
    cr_assert(bus_is_ok(f.bus));
    fixture_end(&f);
}

Test(failure, a_restarted_primary_stays_in_fail_for_two_seconds) {
    struct fixture f;
    struct bus_effects effects;
    struct bus *bus;
    fixture_start(&f, fixture_three_primaries);
    bus_effects_init(&effects);
    struct bus_options options = {.config = f.config,
                                  .nodes_conf = bytes_of_text(fixture_three_primaries)};
    cr_assert_eq(bus_create(&options, f.now, &f.rng, &effects, &bus), STATUS_OK);
    struct bus_now now = f.now;
    for (int i = 0; i <= 19; i++, now.mono_ms += 100)
        bus_step(bus, &(struct bus_input){.type = BUS_INPUT_TICK}, now, &f.rng, &effects);
    cr_assert(!bus_is_ok(bus));
    for (int i = 0; i < 3; i++, now.mono_ms += 100)
        bus_step(bus, &(struct bus_input){.type = BUS_INPUT_TICK}, now, &f.rng, &effects);
    cr_assert(bus_is_ok(bus));
    bus_destroy(bus);
    bus_effects_deinit(&effects);
    fixture_end(&f);
}

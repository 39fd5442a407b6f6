/* Votes, elections, manual failover (specification 6). */
#include <string.h>

#include <criterion/criterion.h>

#include "clusterbus/fixture_internal.h"
#include "clusterbus/nodes_conf.h"

#define A40 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B40 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C40 "cccccccccccccccccccccccccccccccccccccccc"
#define D40 "dddddddddddddddddddddddddddddddddddddddd"

static const struct bytes nothing = {NULL, 0};

/* Myself is a, a replica of b; c and d are primaries. */
static const char i_am_a_replica[] =
    FIXTURE_LINE(A40, "7000", "myself,slave " B40 " 0 0 1 connected")
        FIXTURE_LINE(B40, "7001", "master - 0 0 1 connected 0-5460")
            FIXTURE_LINE(C40, "7002", "master - 0 0 2 connected 5461-10922") FIXTURE_LINE(
                D40, "7003",
                "master - 0 0 3 connected 10923-16383") "vars currentEpoch 3 lastVoteEpoch 0\n";

static void say_fail(struct fixture *f, char sender, char about) {
    struct wire_header header;
    struct node_id id = fixture_id(about);
    fixture_header(f, sender, WIRE_FAIL, &header);
    fixture_say(f, BUS_LINK_NONE, &header, bytes_of(id.text, NODE_ID_LENGTH));
}

/* e, replica of b, asks for a vote under `epoch`. True when it gets it. */
static bool ask(struct fixture *f, char sender, uint64_t epoch, uint8_t message_flags) {
    struct wire_header header;
    fixture_header(f, sender, WIRE_VOTE_REQUEST, &header);
    header.current_epoch = epoch;
    header.message_flags[0] = message_flags;
    fixture_say(f, BUS_LINK_NONE, &header, nothing);
    return fixture_sent(f, sender, WIRE_VOTE, NULL);
}

Test(failover, a_vote_is_persisted_with_fsync_before_it_is_sent) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    say_fail(&f, 'c', 'b');
    cr_assert(ask(&f, 'e', 4, 0));
    cr_assert_eq(f.effects.list[0].type, BUS_EFFECT_PERSIST);
    cr_assert(f.effects.list[0].must_fsync);
    cr_assert_eq(bus_epochs_view(f.bus).last_vote, 4u);
    struct buffer conf = {0};
    nodes_conf_write(f.bus, &conf);
    buffer_append_u8(&conf, 0);
    cr_assert_not_null(strstr((const char *)conf.data, "lastVoteEpoch 4"));
    buffer_deinit(&conf);
    fixture_end(&f);
}

Test(failover, a_voter_votes_once_in_an_epoch_also_after_a_restart) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    say_fail(&f, 'c', 'b');
    cr_assert(ask(&f, 'e', 4, 0));
    struct buffer conf = {0};
    nodes_conf_write(f.bus, &conf);
    buffer_append_u8(&conf, 0);
    fixture_end(&f);
    fixture_start(&f, (const char *)conf.data);
    buffer_deinit(&conf);
    say_fail(&f, 'c', 'b');
    cr_assert(!ask(&f, 'e', 4, 0));
    cr_assert(ask(&f, 'e', 5, 0));
    fixture_end(&f);
}

Test(failover, a_voter_refuses_an_epoch_below_its_own) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    say_fail(&f, 'c', 'b');
    cr_assert(!ask(&f, 'e', 2, 0));
    fixture_end(&f);
}

Test(failover, a_voter_refuses_while_the_primary_is_up_unless_forced) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    cr_assert(!ask(&f, 'e', 4, 0));
    cr_assert(ask(&f, 'e', 5, WIRE_FORCE_VOTE));
    fixture_end(&f);
}

Test(failover, a_voter_refuses_a_requester_that_is_a_primary) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    cr_assert(!ask(&f, 'c', 4, WIRE_FORCE_VOTE));
    fixture_end(&f);
}

Test(failover, a_voter_refuses_a_second_vote_about_one_primary_within_twice_the_timeout) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    cr_assert(ask(&f, 'e', 4, WIRE_FORCE_VOTE));
    cr_assert(!ask(&f, 'e', 5, WIRE_FORCE_VOTE));
    fixture_live(&f, FIXTURE_NT * 2, "");
    cr_assert(ask(&f, 'e', 6, WIRE_FORCE_VOTE));
    fixture_end(&f);
}

Test(failover, a_voter_refuses_a_claim_of_slots_with_a_greater_epoch) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct wire_header header;
    fixture_header(&f, 'e', WIRE_VOTE_REQUEST, &header);
    header.current_epoch = 4;
    header.config_epoch = 1;
    header.message_flags[0] = WIRE_FORCE_VOTE;
    fixture_say(&f, BUS_LINK_NONE, &header, nothing);
    cr_assert(!fixture_sent(&f, 'e', WIRE_VOTE, NULL));
    fixture_end(&f);
}

Test(failover, a_replica_has_no_vote) {
    struct fixture f;
    fixture_start(&f, i_am_a_replica);
    cr_assert(!ask(&f, 'c', 9, WIRE_FORCE_VOTE));
    fixture_end(&f);
}

static void heard_primary(struct fixture *f) {
    f->facts.replicates = true;
    f->facts.primary_link_up = true;
    f->facts.primary_heard_mono_ms = f->now.mono_ms;
}

/* Ticks until the vote request leaves; how long that took. */
static uint64_t wait_for_request(struct fixture *f, uint64_t limit_ms) {
    for (uint64_t ms = 0; ms <= limit_ms; ms += BUS_TICK_MS) {
        heard_primary(f);
        fixture_pong(f, 'c');
        fixture_pong(f, 'd');
        fixture_tick(f);
        if (fixture_sent(f, '*', WIRE_VOTE_REQUEST, NULL)) return ms + BUS_TICK_MS;
    }
    return UINT64_MAX;
}

static void vote(struct fixture *f, char sender, uint64_t epoch) {
    struct wire_header header;
    fixture_header(f, sender, WIRE_VOTE, &header);
    header.current_epoch = epoch;
    fixture_say(f, BUS_LINK_NONE, &header, nothing);
}

Test(failover, the_request_leaves_500_to_1000_ms_after_the_failure_under_the_next_epoch) {
    struct fixture f;
    fixture_start(&f, i_am_a_replica);
    heard_primary(&f);
    say_fail(&f, 'c', 'b');
    uint64_t waited_ms = wait_for_request(&f, 3000);
    cr_assert_geq(waited_ms, 500u);
    cr_assert_leq(waited_ms, 1200u);
    cr_assert_eq(bus_epochs_view(f.bus).current, 4u);
    cr_assert(f.effects.list[0].type == BUS_EFFECT_PERSIST && f.effects.list[0].must_fsync);
    fixture_end(&f);
}

Test(failover, a_quorum_of_votes_promotes_and_one_short_does_not) {
    struct fixture f;
    fixture_start(&f, i_am_a_replica);
    heard_primary(&f);
    say_fail(&f, 'c', 'b');
    wait_for_request(&f, 3000);
    vote(&f, 'c', 3);
    vote(&f, 'c', 4);
    vote(&f, 'c', 4);
    cr_assert(!bus_epochs_view(f.bus).is_primary, "an old vote and a repeated one do not count");
    vote(&f, 'd', 4);
    cr_assert(bus_epochs_view(f.bus).is_primary);
    cr_assert_eq(bus_epochs_view(f.bus).mine, 4u);
    cr_assert_eq(fixture_owner(&f, 0), 'a');
    cr_assert(f.effects.list[0].type == BUS_EFFECT_PERSIST && f.effects.list[0].must_fsync);
    cr_assert_not_null(fixture_effect(&f, BUS_EFFECT_BECOME_PRIMARY));
    cr_assert(fixture_sent(&f, 'c', WIRE_PONG, NULL));
    fixture_end(&f);
}

Test(failover, a_failed_election_is_retried_no_sooner_than_four_timeouts_later) {
    struct fixture f;
    fixture_start(&f, i_am_a_replica);
    heard_primary(&f);
    say_fail(&f, 'c', 'b');
    cr_assert_neq(wait_for_request(&f, 3000), UINT64_MAX);
    cr_assert_eq(wait_for_request(&f, FIXTURE_NT * 4), UINT64_MAX);
    cr_assert_neq(wait_for_request(&f, 3000), UINT64_MAX);
    fixture_end(&f);
}

Test(failover, stale_data_and_no_failover_keep_a_replica_from_asking) {
    struct fixture f;
    fixture_start(&f, i_am_a_replica);
    f.facts.replicates = true;
    f.facts.primary_link_up = false;
    f.facts.primary_lost_mono_ms = f.now.mono_ms;
    f.now.mono_ms += 10000 + FIXTURE_NT * 12;
    say_fail(&f, 'c', 'b');
    for (int i = 0; i < 30; i++) {
        fixture_pong(&f, 'c');
        fixture_pong(&f, 'd');
        fixture_tick(&f);
        cr_assert(!fixture_sent(&f, '*', WIRE_VOTE_REQUEST, NULL));
    }
    f.config.replica_no_failover = true;
    bus_step(f.bus, &(struct bus_input){.type = BUS_INPUT_CONFIG, .config = &f.config}, f.now,
             &f.rng, &f.effects);
    cr_assert_eq(wait_for_request(&f, 3000), UINT64_MAX);
    f.config.replica_no_failover = false;
    bus_step(f.bus, &(struct bus_input){.type = BUS_INPUT_CONFIG, .config = &f.config}, f.now,
             &f.rng, &f.effects);
    cr_assert_neq(wait_for_request(&f, 3000), UINT64_MAX);
    fixture_end(&f);
}

Test(failover, a_manual_failover_waits_for_the_offset_and_asks_with_force) {
    struct fixture f;
    fixture_start(&f, i_am_a_replica);
    heard_primary(&f);
    f.facts.repl_offset = 90;
    cr_assert_eq(fixture_command(&f, (struct bus_command){.type = BUS_COMMAND_FAILOVER}), BUS_OK);
    cr_assert(fixture_sent(&f, 'b', WIRE_MFSTART, NULL));
    struct wire_header header;
    fixture_header(&f, 'b', WIRE_PING, &header);
    header.message_flags[0] |= WIRE_PAUSED;
    header.repl_offset = 100;
    fixture_say(&f, BUS_LINK_NONE, &header, nothing);
    fixture_tick(&f);
    cr_assert(!fixture_sent(&f, '*', WIRE_VOTE_REQUEST, NULL));
    f.facts.repl_offset = 100;
    cr_assert_leq(wait_for_request(&f, 300), 300u);
    struct wire_message message;
    cr_assert(fixture_sent(&f, 'b', WIRE_VOTE_REQUEST, &message));
    cr_assert(message.header.message_flags[0] & WIRE_FORCE_VOTE);
    fixture_end(&f);
}

Test(failover, a_primary_pauses_writes_for_its_replica_and_resumes_when_it_takes_too_long) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct wire_header header;
    fixture_header(&f, 'e', WIRE_MFSTART, &header);
    fixture_say(&f, BUS_LINK_NONE, &header, nothing);
    cr_assert_null(fixture_effect(&f, BUS_EFFECT_PAUSE_WRITES), "e is not my replica");
    fixture_header(&f, 'd', WIRE_MFSTART, &header);
    fixture_say(&f, BUS_LINK_NONE, &header, nothing);
    const struct bus_effect *pause = fixture_effect(&f, BUS_EFFECT_PAUSE_WRITES);
    cr_assert_not_null(pause);
    cr_assert_eq(pause->until_mono_ms, f.now.mono_ms + 10000);
    struct wire_message message;
    cr_assert(fixture_sent(&f, 'd', WIRE_PING, &message));
    cr_assert(message.header.message_flags[0] & WIRE_PAUSED);
    fixture_live(&f, 5000, "");
    cr_assert_null(fixture_effect(&f, BUS_EFFECT_UNPAUSE_WRITES));
    fixture_live(&f, BUS_TICK_MS, "");
    cr_assert_not_null(fixture_effect(&f, BUS_EFFECT_UNPAUSE_WRITES));
    fixture_end(&f);
}

Test(failover, takeover_needs_nobody_and_has_the_greatest_epoch) {
    struct fixture f;
    fixture_start(&f, i_am_a_replica);
    fixture_live(&f, FIXTURE_NT * 3, "bcd");
    struct bus_command takeover = {.type = BUS_COMMAND_FAILOVER_TAKEOVER};
    cr_assert_eq(fixture_command(&f, takeover), BUS_OK);
    cr_assert(bus_epochs_view(f.bus).is_primary);
    cr_assert_eq(bus_epochs_view(f.bus).mine, 4u);
    cr_assert_eq(fixture_owner(&f, 5460), 'a');
    fixture_end(&f);
}

Test(failover, a_replica_moves_to_an_orphaned_primary_after_five_seconds) {
    static const char lonely[] = FIXTURE_LINE(A40, "7000", "myself,slave " B40 " 0 0 1 connected")
        FIXTURE_LINE(B40, "7001", "master - 0 0 1 connected 0-8000")
            FIXTURE_LINE(C40, "7002", "master - 0 0 2 connected 8001-16383")
                FIXTURE_LINE(D40, "7003", "slave " B40 " 0 0 1 connected")
                    FIXTURE_LINE("eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", "7004",
                                 "slave " C40
                                 " 0 0 2 connected") "vars currentEpoch 3 lastVoteEpoch 0\n";
    struct fixture f;
    struct bus_node_view view;
    fixture_start(&f, lonely);
    heard_primary(&f);
    say_fail(&f, 'b', 'e');
    fixture_live(&f, 4900, "e");
    fixture_view(&f, 'a', &view);
    cr_assert_eq(view.primary_id.text[0], 'b');
    fixture_live(&f, 400, "e");
    fixture_view(&f, 'a', &view);
    cr_assert_eq(view.primary_id.text[0], 'c');
    fixture_end(&f);
}

Test(failover, a_replica_follows_its_primary_to_another_address) {
    struct fixture f;
    fixture_start(&f, i_am_a_replica);
    struct wire_header header;
    uint64_t link = fixture_accept(&f);
    fixture_header(&f, 'b', WIRE_PING, &header);
    header.port = 7999;
    fixture_say(&f, link, &header, nothing);
    const struct bus_effect *role = fixture_effect(&f, BUS_EFFECT_BECOME_REPLICA);
    cr_assert_not_null(role);
    cr_assert_eq(role->primary_port, 7999);
    fixture_end(&f);
}

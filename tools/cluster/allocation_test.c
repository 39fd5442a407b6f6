#include <criterion/criterion.h>

#include "tools/client/profile.h"
#include "tools/cluster/allocation.h"

static struct report new_report(void) {
    return (struct report){.profile = profile_find("redis-cli", NULL)};
}

static const char *text_of(struct report *report) {
    buffer_append_u8(&report->text, 0);
    return (const char *)report->text.data;
}

static void fill(struct placement *nodes, size_t count, const char *const *hosts) {
    for (size_t i = 0; i < count; i++) {
        nodes[i] = (struct placement){.host = hosts[i], .port = (int)(7000 + i), .id = "id"};
    }
}

/* Recorded from redis-cli 7.0.15 with six nodes on one host. */
Test(allocation, places_six_nodes_of_one_host_as_the_reference_does) {
    static const char *const hosts[] = {"127.0.0.1", "127.0.0.1", "127.0.0.1",
                                        "127.0.0.1", "127.0.0.1", "127.0.0.1"};
    struct placement nodes[6];
    struct report report = new_report();
    fill(nodes, 6, hosts);
    allocation_plan(nodes, 6, 1, &report);
    cr_assert_str_eq(text_of(&report),
                     ">>> Performing hash slots allocation on 6 nodes...\n"
                     "Master[0] -> Slots 0 - 5460\n"
                     "Master[1] -> Slots 5461 - 10922\n"
                     "Master[2] -> Slots 10923 - 16383\n"
                     "Adding replica 127.0.0.1:7004 to 127.0.0.1:7000\n"
                     "Adding replica 127.0.0.1:7005 to 127.0.0.1:7001\n"
                     "Adding replica 127.0.0.1:7003 to 127.0.0.1:7002\n"
                     ">>> Trying to optimize slaves allocation for anti-affinity\n"
                     "[WARNING] Some slaves are in the same host as their master\n");
    buffer_deinit(&report.text);
}

Test(allocation, cuts_the_slots_of_five_primaries_as_the_reference_does) {
    static const char *const hosts[] = {"a", "b", "c", "d", "e"};
    struct placement nodes[5];
    struct report report = new_report();
    fill(nodes, 5, hosts);
    allocation_plan(nodes, 5, 0, &report);
    cr_assert_str_eq(text_of(&report), ">>> Performing hash slots allocation on 5 nodes...\n"
                                       "Master[0] -> Slots 0 - 3276\n"
                                       "Master[1] -> Slots 3277 - 6553\n"
                                       "Master[2] -> Slots 6554 - 9829\n"
                                       "Master[3] -> Slots 9830 - 13106\n"
                                       "Master[4] -> Slots 13107 - 16383\n");
    buffer_deinit(&report.text);
}

Test(allocation, interleaves_hosts_and_separates_replicas) {
    static const char *const hosts[] = {"a", "a", "b", "b", "c", "c"};
    struct placement nodes[6];
    struct report report = new_report();
    fill(nodes, 6, hosts);
    allocation_plan(nodes, 6, 1, &report);
    cr_assert(nodes[0].is_primary && nodes[2].is_primary && nodes[4].is_primary);
    cr_assert_eq(allocation_affinity_score(nodes, 6), 0);
    buffer_deinit(&report.text);
}

Test(allocation, gives_left_over_nodes_to_the_primaries_in_turn) {
    static const char *const hosts[] = {"a", "b", "c", "d", "e"};
    struct placement nodes[5];
    struct report report = new_report();
    fill(nodes, 5, hosts);
    allocation_plan(nodes, 5, 1, &report);
    cr_assert_not_null(strstr(text_of(&report), "Adding replica"));
    size_t primaries = 0;
    for (size_t i = 0; i < 5; i++)
        primaries += nodes[i].is_primary;
    cr_assert_eq(primaries, allocation_primary_count(5, 1));
    buffer_deinit(&report.text);
}

Test(allocation, finds_the_separation_of_many_replicas_by_search) {
    static const char *const hosts[] = {"a", "a", "a", "a", "b", "b", "b", "b",
                                        "c", "c", "c", "c", "d", "d", "d", "d"};
    struct placement nodes[16];
    struct report report = new_report();
    fill(nodes, 16, hosts);
    allocation_plan(nodes, 16, 3, &report);
    cr_assert_eq(allocation_affinity_score(nodes, 16), 0);
    buffer_deinit(&report.text);
}

Test(allocation, scores_a_replica_beside_its_primary_and_replicas_side_by_side) {
    struct placement nodes[] = {
        {.host = "a", .is_primary = true},
        {.host = "a", .primary_index = 0},
        {.host = "b", .primary_index = 0},
        {.host = "b", .primary_index = 0},
    };
    cr_assert_eq(allocation_affinity_score(nodes, 4), 10002);
}

/* Reading CLUSTER NODES, checking, resharding, and decisions about members. */
#include <criterion/criterion.h>

#include "server/base/mem.h"
#include "tools/client/profile.h"
#include "tools/cluster/address.h"
#include "tools/cluster/check.h"
#include "tools/cluster/describe.h"
#include "tools/cluster/join.h"
#include "tools/cluster/membership.h"
#include "tools/cluster/node_model.h"
#include "tools/cluster/reshard_plan.h"

#define A "cb8071e5e643d78deff963479704fce2a2710a05"
#define B "fb4ba9dc7768cab12aa8383cc4f908d69a4b6de4"
#define C "7d400cf73c2e882c0eb89a044e28276e312b1794"
#define D "bb4b6dcd7cc368c5475f3b9a7ce5e7992c73d394"

/* A view of a healthy cluster, in the form of redis-server 7.0.15. */
#define VIEW                                                                                       \
    C " 127.0.0.1:7002@17002 master - 0 1700000000000 3 connected 10923-16383\n" D                 \
      " 127.0.0.1:7003@17003 slave " A " 0 1700000000000 1 connected\n" A                          \
      " 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5460\n" B                           \
      " 127.0.0.1:7001@17001,host-b master - 0 1700000000000 2 connected 5461-10922\n"

static struct node_list parse(const char *text) {
    struct node_list nodes;
    cr_assert_eq(node_list_parse(bytes_of_text(text), &nodes), STATUS_OK);
    for (size_t i = 0; i < nodes.count; i++) {
        nodes.items[i]->is_reachable = true;
        nodes.items[i]->signature = bytes_copy_text(BYTES_LITERAL("same"));
    }
    node_list_count_replicas(&nodes);
    return nodes;
}

static struct report new_report(void) {
    return (struct report){.profile = profile_find("redis-cli", NULL)};
}

static void expect(struct report *report, const char *text) {
    buffer_append_u8(&report->text, 0);
    cr_assert_str_eq((const char *)report->text.data, text);
    buffer_deinit(&report->text);
}

Test(node_model, reads_roles_addresses_slots_and_links) {
    struct node_list nodes = parse(VIEW);
    cr_assert_eq(nodes.count, 4);
    const struct cluster_node *a = node_list_find(&nodes, A);
    const struct cluster_node *b = node_list_find(&nodes, B);
    const struct cluster_node *d = node_list_find(&nodes, D);
    cr_assert(a->is_myself && !a->is_replica && a->replica_count == 1);
    cr_assert_str_eq(a->flags, "master");
    cr_assert_eq(slot_set_count(&a->slots), 5461);
    cr_assert_str_eq(b->host, "127.0.0.1");
    cr_assert_eq(b->port, 7001);
    cr_assert_eq(b->bus_port, 17001);
    cr_assert(d->is_replica && strcmp(d->primary_id, A) == 0);
    node_list_deinit(&nodes);
}

Test(node_model, reads_open_slots_failures_and_missing_addresses) {
    struct node_list nodes =
        parse(A " :0@0 myself,master,noaddr,fail? - 0 0 1 disconnected 7 9-10 [7->-" B "] [12-<-" C
                "]\n");
    const struct cluster_node *node = nodes.items[0];
    cr_assert(node->has_no_address && node->is_suspected && !node->is_failed);
    cr_assert(!node->is_connected);
    cr_assert_eq(slot_set_count(&node->slots), 3);
    cr_assert_eq(node->migrating.items[0].slot, 7);
    cr_assert_str_eq(node->migrating.items[0].node_id, B);
    cr_assert_eq(node->importing.items[0].slot, 12);
    node_list_deinit(&nodes);
}

Test(node_model, refuses_lines_that_are_none) {
    static const char *const lines[] = {
        "",
        "abc\n",
        A " 127.0.0.1:7000@17000 master - 0 0 1 connected 5-99999\n",
        A " 127.0.0.1 master - 0 0 1 connected\n",
        A " 127.0.0.1:7000@17000 master - 0 0 x connected\n",
        A " 127.0.0.1:7000@17000 master - 0 0 1 connected [12>x]\n",
        A A " 127.0.0.1:7000@17000 master - 0 0 1 connected\n",
    };
    struct node_list nodes;
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        cr_assert_eq(node_list_parse(bytes_of_text(lines[i]), &nodes), STATUS_BAD_FORMAT, "%s",
                     lines[i]);
    }
}

Test(node_model, makes_a_signature_sorted_by_id) {
    struct node_list nodes = parse(VIEW);
    struct buffer text = {0};
    node_list_append_signature(&nodes, &text);
    buffer_append_u8(&text, 0);
    cr_assert_str_eq((char *)text.data, C ":10923-16383|" A ":0-5460|" B ":5461-10922");
    buffer_deinit(&text);
    node_list_deinit(&nodes);
}

Test(node_model, resolves_ids_beginnings_and_addresses) {
    struct node_list nodes = parse(VIEW);
    cr_assert_eq(node_list_resolve(&nodes, bytes_of_text(B)), node_list_find(&nodes, B));
    cr_assert_eq(node_list_resolve(&nodes, BYTES_LITERAL("fb4")), node_list_find(&nodes, B));
    cr_assert_eq(node_list_resolve(&nodes, BYTES_LITERAL("127.0.0.1:7002")),
                 node_list_find(&nodes, C));
    cr_assert_null(node_list_resolve(&nodes, BYTES_LITERAL("nope")));
    cr_assert_null(node_list_resolve(&nodes, BYTES_LITERAL("")));
    node_list_deinit(&nodes);
}

/* Recorded from redis-cli 7.0.15. */
Test(check, tells_of_a_healthy_cluster_as_the_reference_does) {
    struct node_list nodes = parse(VIEW);
    struct report report = new_report();
    struct check_options options = {0};
    cr_assert(check_cluster(&nodes, &options, &report));
    expect(&report, ">>> Performing Cluster Check (using node 127.0.0.1:7002)\n"
                    "M: " C " 127.0.0.1:7002\n"
                    "   slots:[10923-16383] (5461 slots) master\n"
                    "S: " D " 127.0.0.1:7003\n"
                    "   slots: (0 slots) slave\n"
                    "   replicates " A "\n"
                    "M: " A " 127.0.0.1:7000\n"
                    "   slots:[0-5460] (5461 slots) master\n"
                    "   1 additional replica(s)\n"
                    "M: " B " 127.0.0.1:7001\n"
                    "   slots:[5461-10922] (5462 slots) master\n"
                    "[OK] All nodes agree about slots configuration.\n"
                    ">>> Check for open slots...\n"
                    ">>> Check slots coverage...\n"
                    "[OK] All 16384 slots covered.\n");
    node_list_deinit(&nodes);
}

Test(check, finds_open_slots_gaps_and_disagreement) {
    struct node_list nodes =
        parse(A " 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5 [2->-" B "] [3->-" B
                "]\n" B " 127.0.0.1:7001@17001 master - 0 0 2 connected 6-10 [2-<-" A "]\n");
    struct report report = new_report();
    struct check_options options = {.hides_nodes = true};
    mem_free(nodes.items[1]->signature);
    nodes.items[1]->signature = bytes_copy_text(BYTES_LITERAL("other"));
    cr_assert_not(check_cluster(&nodes, &options, &report));
    expect(&report, ">>> Performing Cluster Check (using node 127.0.0.1:7000)\n"
                    "[ERR] Nodes don't agree about configuration!\n"
                    ">>> Check for open slots...\n"
                    "[WARNING] Node 127.0.0.1:7000 has slots in migrating state 2,3.\n"
                    "[WARNING] Node 127.0.0.1:7001 has slots in importing state 2.\n"
                    "[WARNING] The following slots are open: 2,3.\n"
                    ">>> Check slots coverage...\n"
                    "[ERR] Not all 16384 slots are covered by nodes.\n\n");
    node_list_deinit(&nodes);
}

Test(check, finds_slots_with_several_owners) {
    struct node_list nodes = parse(VIEW);
    struct report report = new_report();
    struct check_options options = {.hides_nodes = true, .searches_owners = true};
    slot_set_add(&node_list_find(&nodes, A)->keys, 16383);
    cr_assert_not(check_cluster(&nodes, &options, &report));
    buffer_append_u8(&report.text, 0);
    cr_assert_not_null(strstr((char *)report.text.data, "[WARNING] Slot 16383 has 2 owners:\n"
                                                        "    127.0.0.1:7002\n"
                                                        "    127.0.0.1:7000\n"));
    buffer_deinit(&report.text);
    node_list_deinit(&nodes);
}

Test(check, leaves_unreachable_nodes_out_of_coverage) {
    struct node_list nodes = parse(VIEW);
    cr_assert(check_all_slots_covered(&nodes));
    node_list_find(&nodes, B)->is_reachable = false;
    cr_assert_not(check_all_slots_covered(&nodes));
    node_list_deinit(&nodes);
}

static size_t moves_from(const struct reshard_plan *plan, const struct cluster_node *source) {
    size_t count = 0;
    for (size_t i = 0; i < plan->count; i++)
        count += plan->moves[i].source == source;
    return count;
}

Test(reshard_plan, takes_from_each_source_by_its_size_and_is_exact) {
    struct node_list nodes = parse(VIEW);
    const struct cluster_node *a = node_list_find(&nodes, A);
    const struct cluster_node *b = node_list_find(&nodes, B);
    const struct cluster_node *c = node_list_find(&nodes, C);
    const struct cluster_node *sources[] = {a, b, c};
    struct reshard_plan plan;
    reshard_plan_compute(sources, 3, 100, false, &plan);
    cr_assert_eq(plan.count, 100);
    cr_assert_eq(moves_from(&plan, b), 34);
    cr_assert_eq(moves_from(&plan, a), 33);
    cr_assert_eq(moves_from(&plan, c), 33);
    cr_assert_eq(plan.moves[0].slot, 5461);
    cr_assert_eq(plan.moves[34].slot, 0);
    reshard_plan_deinit(&plan);
    node_list_deinit(&nodes);
}

/* redis-cli 7.0.15 rounds the largest up and the others down: 7 from (5462, 5461, 5461). */
Test(reshard_plan, rounds_like_the_reference_when_asked) {
    struct node_list nodes = parse(VIEW);
    const struct cluster_node *sources[] = {node_list_find(&nodes, A), node_list_find(&nodes, B),
                                            node_list_find(&nodes, C)};
    struct reshard_plan plan;
    reshard_plan_compute(sources, 3, 8, true, &plan);
    cr_assert_eq(moves_from(&plan, sources[1]), 3);
    cr_assert_eq(moves_from(&plan, sources[0]), 2);
    cr_assert_eq(moves_from(&plan, sources[2]), 2);
    cr_assert_eq(plan.count, 7);
    reshard_plan_deinit(&plan);
    node_list_deinit(&nodes);
}

Test(reshard_plan, never_takes_more_than_there_is) {
    struct node_list nodes = parse(VIEW);
    const struct cluster_node *sources[] = {node_list_find(&nodes, A)};
    for (int like_reference = 0; like_reference < 2; like_reference++) {
        struct reshard_plan plan;
        reshard_plan_compute(sources, 1, 16384, like_reference, &plan);
        cr_assert_eq(plan.count, 5461);
        reshard_plan_deinit(&plan);
    }
    node_list_deinit(&nodes);
}

/* Recorded from redis-cli 7.0.15. */
Test(reshard_plan, is_described_as_the_reference_does) {
    struct node_list nodes = parse(VIEW);
    const struct cluster_node *sources[] = {node_list_find(&nodes, A)};
    struct reshard_plan plan;
    struct report report = new_report();
    reshard_plan_compute(sources, 1, 2, false, &plan);
    reshard_plan_describe(&plan, sources, 1, node_list_find(&nodes, B), 2, &report);
    expect(&report, "\nReady to move 2 slots.\n"
                    "  Source nodes:\n"
                    "    M: " A " 127.0.0.1:7000\n"
                    "       slots:[0-5460] (5461 slots) master\n"
                    "       1 additional replica(s)\n"
                    "  Destination node:\n"
                    "    M: " B " 127.0.0.1:7001\n"
                    "       slots:[5461-10922] (5462 slots) master\n"
                    "  Resharding plan:\n"
                    "    Moving slot 0 from " A "\n"
                    "    Moving slot 1 from " A "\n");
    reshard_plan_deinit(&plan);
    node_list_deinit(&nodes);
}

Test(membership, chooses_the_primary_with_the_fewest_replicas) {
    struct node_list nodes = parse(VIEW);
    cr_assert_eq(membership_choose_primary(&nodes, NULL), node_list_find(&nodes, C));
    cr_assert_eq(membership_choose_primary(&nodes, node_list_find(&nodes, C)),
                 node_list_find(&nodes, B));
    node_list_deinit(&nodes);
}

Test(membership, decides_about_nodes_that_are_members_already) {
    struct node_list nodes = parse(VIEW);
    struct report report = new_report();
    const struct cluster_node *a = node_list_find(&nodes, A);
    const struct cluster_node *b = node_list_find(&nodes, B);
    const struct {
        int port;
        bool wants_replica;
        const struct cluster_node *primary;
        bool forces;
        enum join_decision decision;
    } cases[] = {
        {7009, false, NULL, false, JOIN_NEW},     {7000, false, NULL, false, JOIN_DONE},
        {7003, true, NULL, false, JOIN_DONE},     {7003, true, a, false, JOIN_DONE},
        {7003, true, b, false, JOIN_REFUSED},     {7003, true, b, true, JOIN_CHANGE_ROLE},
        {7000, true, b, true, JOIN_REFUSED}, /* It has slots. */
        {7003, false, NULL, false, JOIN_REFUSED},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        enum join_decision decision =
            membership_decide_join(&nodes, "127.0.0.1", cases[i].port, cases[i].wants_replica,
                                   cases[i].primary, cases[i].forces, &report);
        cr_assert_eq(decision, cases[i].decision, "case %zu", i);
    }
    buffer_deinit(&report.text);
    node_list_deinit(&nodes);
}

Test(membership, moves_the_replicas_of_a_leaving_primary) {
    struct node_list nodes = parse(VIEW);
    struct forget_step steps[4];
    size_t count = membership_plan_forget(&nodes, node_list_find(&nodes, A), steps);
    cr_assert_eq(count, 3);
    for (size_t i = 0; i < count; i++) {
        bool is_replica = strcmp(steps[i].node->id, D) == 0;
        cr_assert_eq(steps[i].new_primary, is_replica ? node_list_find(&nodes, C) : NULL);
    }
    node_list_deinit(&nodes);
}

Test(join, is_complete_when_all_agree_and_know_all) {
    struct node_list nodes = parse(VIEW);
    struct node_list same = parse(VIEW);
    struct node_view views[] = {{nodes.items[0], &nodes}, {nodes.items[1], &same}};
    cr_assert(join_is_complete(views, 2));
    slot_set_remove(&same.items[0]->slots, 16383);
    cr_assert_not(join_is_complete(views, 2));
    node_list_deinit(&nodes);
    node_list_deinit(&same);
}

Test(join, waits_for_nobody_but_the_nodes_at_hand) {
    struct node_list one = parse(A " 127.0.0.1:7000@17000 myself,master - 0 0 1 connected\n" B
                                   " 127.0.0.1:7001@17001 slave " A " 0 0 1 connected\n" C
                                   " 127.0.0.1:7001@17001 handshake - 0 0 0 disconnected\n");
    struct node_list other = parse(B " 127.0.0.1:7001@17001 myself,slave " A " 0 0 1 connected\n" A
                                     " 127.0.0.1:7000@17000 master - 0 0 1 connected\n");
    struct node_view views[] = {{one.items[0], &one}, {other.items[0], &other}};
    cr_assert(join_is_complete(views, 2), "an address in handshake twice");
    one.items[1]->is_in_handshake = true;
    cr_assert_not(join_is_complete(views, 2));
    node_list_deinit(&one);
    node_list_deinit(&other);
}

Test(join, names_bus_ports_that_nobody_reaches) {
    struct node_list nodes =
        parse(A " 127.0.0.1:7000@17000 myself,master - 0 0 1 connected\n" B
                " 10.0.0.2:7001@17001 master,handshake - 0 0 0 disconnected\n");
    struct node_view views[] = {{nodes.items[0], &nodes}};
    struct report report = new_report();
    join_describe_broken_links(views, 1, &report);
    expect(&report,
           "Warning: 1 node(s) may be unreachable\n"
           " - The port 17001 of node 10.0.0.2 may be unreachable from:\n"
           "   127.0.0.1:7000\n"
           "Cluster bus ports must be reachable by every node.\n"
           "Remember that cluster bus ports are different from standard instance ports.\n");
    node_list_deinit(&nodes);
}

Test(address, reads_hosts_ports_and_bus_ports) {
    static const struct {
        const char *text;
        const char *host; /* NULL: no address. */
        int port;
        int bus_port;
    } cases[] = {
        {"127.0.0.1:7000", "127.0.0.1", 7000, 0},
        {"host:7000@17999", "host", 7000, 17999},
        {"::1:7000", "::1", 7000, 0},
        {"[::1]:7000", "::1", 7000, 0},
        {"7000", NULL, 0, 0},
        {"host:", NULL, 0, 0},
        {":7000", NULL, 0, 0},
        {"host:70000", NULL, 0, 0},
        {"host:0", NULL, 0, 0},
        {"host:7000@x", NULL, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct address address;
        bool is_valid = address_parse(bytes_of_text(cases[i].text), &address);
        cr_assert_eq(is_valid, cases[i].host != NULL, "%s", cases[i].text);
        if (!is_valid) continue;
        cr_assert_str_eq(address.host, cases[i].host);
        cr_assert_eq(address.port, cases[i].port);
        cr_assert_eq(address.bus_port, cases[i].bus_port);
    }
}

Test(address, reads_two_words) {
    struct bytes words[] = {BYTES_LITERAL("host"), BYTES_LITERAL("7000"), BYTES_LITERAL("id")};
    struct address address;
    cr_assert_eq(address_parse_words(3, words, &address), 2);
    cr_assert_eq(address.port, 7000);
    cr_assert_eq(address_parse_words(1, words, &address), 0);
}

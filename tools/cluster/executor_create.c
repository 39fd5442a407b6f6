/* create, and the wait for nodes to meet. */
#include <stdio.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "tools/cluster/allocation.h"
#include "tools/cluster/describe.h"
#include "tools/cluster/executor_internal.h"
#include "tools/cluster/join.h"

#define JOIN_POLL_US 100000u
#define JOIN_DOT_MS 1000u
#define JOIN_MEET_AGAIN_MS 5000u
#define JOIN_WARNING_MS 20000u /* Until links are looked at, and this for each node more. */
#define JOIN_WARNING_PER_NODE_MS 150u
#define REPLICATE_TRIES 50u
#define SETTLE_MS 5000u

/* ---- the join ---- */

static bool refresh_views(struct executor *executor, struct node_view *views, size_t *out_count) {
    bool is_complete = true;
    *out_count = 0;
    for (size_t i = 0; i < executor->nodes.count; i++) {
        struct member *member = &executor->members[i];
        if (member->client == NULL) continue;
        struct node_list view = {0};
        if (!executor_read_view(member->client, &view)) {
            is_complete = false;
            continue;
        }
        node_list_deinit(&member->view);
        member->view = view;
        views[(*out_count)++] = (struct node_view){.node = member->node, .view = &member->view};
    }
    return is_complete;
}

static struct reply *ask_to_meet(struct client *client, const char *host,
                                 const struct address *known) {
    if (known->bus_port != 0 && known->bus_port != known->port + CLUSTER_BUS_OFFSET) {
        return executor_ask(client, "CLUSTER MEET %s %d %d", host, known->port, known->bus_port);
    }
    return executor_ask(client, "CLUSTER MEET %s %d", host, known->port);
}

static void meet_again(struct executor *executor, const struct address *known,
                       const struct node_view *views, size_t view_count) {
    char host[NODE_HOST_MAX];
    if (!executor_resolve(known->host, host, sizeof(host))) return;
    for (size_t i = 1; i < executor->nodes.count; i++) {
        struct member *member = &executor->members[i];
        if (member->client == NULL || join_knows_all(&member->view, views, view_count)) continue;
        reply_destroy(ask_to_meet(member->client, host, known));
    }
}

static bool wait_loop(struct executor *executor, const struct address *known,
                      struct node_view *views) {
    int64_t patience = executor->context->options.wait_seconds;
    uint64_t start = clock_monotonic_ms();
    uint64_t warning_every = JOIN_WARNING_MS + JOIN_WARNING_PER_NODE_MS * executor->nodes.count;
    uint64_t dot_at = start + JOIN_DOT_MS;
    uint64_t warning_at = start + warning_every;
    uint64_t meet_at = start + JOIN_MEET_AGAIN_MS;
    for (;;) {
        size_t view_count = 0;
        bool is_read = refresh_views(executor, views, &view_count);
        if (is_read && join_is_complete(views, view_count)) return true;
        uint64_t now = clock_monotonic_ms();
        bool is_over = patience > 0 && now - start >= (uint64_t)patience * 1000;
        if (now >= dot_at) {
            report_plain(&executor->report, ".");
            dot_at += JOIN_DOT_MS;
        }
        if (now >= meet_at) {
            meet_again(executor, known, views, view_count);
            meet_at += JOIN_MEET_AGAIN_MS;
        }
        if (now >= warning_at || is_over) {
            report_plain(&executor->report, "\n");
            join_describe_broken_links(views, view_count, &executor->report);
            warning_at += warning_every;
        }
        executor_flush(executor);
        if (is_over) return false;
        usleep(JOIN_POLL_US);
    }
}

bool executor_wait_for_join(struct executor *executor, const struct address *known) {
    struct node_view *views = mem_alloc((executor->nodes.count + 1) * sizeof(*views));
    report_plain(&executor->report, "Waiting for the cluster to join\n");
    executor_flush(executor);
    bool has_joined = wait_loop(executor, known, views);
    report_plain(&executor->report, "\n");
    if (!has_joined) {
        report_error(&executor->report,
                     "[ERR] The nodes have not all met within %lld seconds. What was done so far "
                     "stays done.\n",
                     (long long)executor->context->options.wait_seconds);
    }
    executor_flush(executor);
    mem_free(views);
    return has_joined;
}

static bool is_up(struct executor *executor) {
    for (size_t i = 0; i < executor->nodes.count; i++) {
        if (executor->members[i].client == NULL) continue;
        struct reply *reply = executor_ask(executor->members[i].client, "CLUSTER INFO");
        bool is_ok = reply != NULL && reply->text.data != NULL &&
                     memmem(reply->text.data, reply->text.len, "cluster_state:ok", 16) != NULL;
        reply_destroy(reply);
        if (!is_ok) return false;
    }
    return true;
}

void executor_settle(struct executor *executor) {
    struct node_view *views = mem_alloc((executor->nodes.count + 1) * sizeof(*views));
    uint64_t end = clock_monotonic_ms() + SETTLE_MS;
    for (;;) {
        size_t view_count = 0;
        bool is_settled = refresh_views(executor, views, &view_count) &&
                          join_is_complete(views, view_count) && is_up(executor);
        if (is_settled || clock_monotonic_ms() >= end) break;
        usleep(JOIN_POLL_US);
    }
    mem_free(views);
}

bool executor_replicate(struct executor *executor, struct member *member, const char *primary_id) {
    for (unsigned i = 1;; i++) {
        struct reply *reply = executor_ask(member->client, "CLUSTER REPLICATE %s", primary_id);
        bool is_unknown = reply != NULL && reply->kind == REPLY_ERROR &&
                          memmem(reply->text.data, reply->text.len, "Unknown node", 12) != NULL;
        if (!is_unknown || i == REPLICATE_TRIES) {
            return executor_expect_ok(executor, member->node, member->client, reply);
        }
        reply_destroy(reply);
        usleep(JOIN_POLL_US);
    }
}

bool executor_meet(struct executor *executor, struct member *member, const struct address *known) {
    char host[NODE_HOST_MAX];
    struct report *report = &executor->report;
    if (!executor_resolve(known->host, host, sizeof(host))) {
        report_error(report, "Invalid IP address or hostname specified: %s\n", known->host);
        return false;
    }
    struct reply *reply = ask_to_meet(member->client, host, known);
    if (executor_expect_ok(executor, member->node, member->client, reply)) return true;
    report_error(report, "Failed to send CLUSTER MEET command.\n");
    return false;
}

/* ---- create ---- */

static void tell_not_empty(struct executor *executor, const struct address *address) {
    report_error(&executor->report,
                 "[ERR] Node %s:%d is not empty. Either the node already knows other nodes (check "
                 "with CLUSTER NODES) or contains some key in database 0.\n",
                 address->host, address->port);
}

bool executor_add_empty_member(struct executor *executor, const struct address *address,
                               bool *out_is_not_empty) {
    struct client *client = executor_connect(executor, address->host, address->port);
    *out_is_not_empty = false;
    if (client == NULL) return false;
    struct cluster_node *node = NULL;
    struct node_list view = {0};
    if (!executor_is_cluster_node(client)) {
        report_error(&executor->report, "[ERR] Node %s:%d is not configured as a cluster node.\n",
                     address->host, address->port);
    } else if (!executor_is_empty_node(client)) {
        *out_is_not_empty = true;
    } else {
        node = executor_read_node(client, address->host, &view);
    }
    if (node == NULL) {
        client_destroy(client);
        return false;
    }
    snprintf(node->host, sizeof(node->host), "%s", address->host);
    node->port = address->port;
    if (address->bus_port != 0) node->bus_port = address->bus_port;
    executor_add_member(executor, node, client, view);
    return true;
}

static bool parse_addresses(struct executor *executor, size_t count, const struct bytes *words,
                            struct address *out) {
    for (size_t i = 0; i < count; i++) {
        if (address_parse(words[i], &out[i])) continue;
        fprintf(executor->context->err, "Invalid address format: %.*s\n", (int)words[i].len,
                (const char *)words[i].data);
        return false;
    }
    return true;
}

/* True when the given nodes, and no others, are one healthy cluster already; the check has been
 * printed then. */
static bool is_created_already(struct executor *executor, const struct address *addresses,
                               size_t count) {
    struct buffer before = executor->report.text;
    executor->report.text = (struct buffer){0};
    executor_unload(executor);
    bool is_created = executor_load(executor, &addresses[0]) && executor->nodes.count == count;
    for (size_t i = 0; i < count && is_created; i++) {
        char host[NODE_HOST_MAX];
        bool is_found = false;
        if (!executor_resolve(addresses[i].host, host, sizeof(host))) host[0] = 0;
        for (size_t k = 0; k < executor->nodes.count; k++) {
            const struct cluster_node *node = executor->nodes.items[k];
            bool is_same_host =
                strcmp(node->host, host) == 0 || strcmp(node->host, addresses[i].host) == 0;
            is_found |= is_same_host && node->port == addresses[i].port && node->is_reachable;
        }
        is_created = is_found;
    }
    buffer_deinit(&executor->report.text);
    executor->report.text = before;
    return is_created;
}

static bool check_primary_count(struct executor *executor, size_t node_count) {
    const struct cluster_options *options = &executor->context->options;
    const struct profile *words = executor->context->profile;
    struct report *report = &executor->report;
    size_t replicas = (size_t)options->replicas;
    size_t primary_count = allocation_primary_count(node_count, replicas);
    if (primary_count >= ALLOCATION_PRIMARIES_MIN) return true;
    if (primary_count > 0 && options->allows_few_primaries) return true;
    if (primary_count > 0 && words->is_valkey) {
        report_info(report,
                    "Requested to create a cluster with %zu primaries and %zu replicas per "
                    "primary.\n",
                    primary_count, replicas);
        return executor_confirm(executor, "Valkey cluster requires at least 3 primary nodes for "
                                          "automatic failover. Are you sure?");
    }
    report_error(report,
                 "*** ERROR: Invalid configuration for cluster creation.\n"
                 "*** %s Cluster requires at least 3 %s nodes.\n"
                 "*** This is not possible with %zu nodes and %zu replicas per node.\n",
                 words->server, words->primary, node_count, replicas);
    report_error(report, "*** At least %zu nodes are required.\n",
                 ALLOCATION_PRIMARIES_MIN * (replicas + 1));
    return false;
}

/* Plans and writes the plan into the model. */
static void allocate(struct executor *executor) {
    size_t count = executor->nodes.count;
    struct placement *nodes = mem_alloc_zero(count * sizeof(*nodes));
    for (size_t i = 0; i < count; i++) {
        const struct cluster_node *node = executor->nodes.items[i];
        nodes[i] = (struct placement){.host = node->host, .port = node->port, .id = node->id};
    }
    allocation_plan(nodes, count, (size_t)executor->context->options.replicas, &executor->report);
    for (size_t i = 0; i < count; i++) {
        struct cluster_node *node = executor->nodes.items[i];
        node->is_replica = !nodes[i].is_primary;
        if (nodes[i].is_primary) {
            for (unsigned slot = nodes[i].first_slot; slot <= nodes[i].last_slot; slot++) {
                slot_set_add(&node->slots, slot);
            }
        } else {
            snprintf(node->primary_id, sizeof(node->primary_id), "%s",
                     nodes[nodes[i].primary_index].id);
        }
    }
    mem_free(nodes);
    for (size_t i = 0; i < count; i++) {
        const struct cluster_node *node = executor->nodes.items[i];
        if (node->is_replica) {
            describe_planned_replica(node, &executor->report);
        } else {
            describe_node(node, 0, &executor->report);
        }
    }
}

/* Gives a primary its slots, one run at a time; servers before 7.0 want them one by one. */
static bool assign_slots(struct executor *executor, struct member *member) {
    unsigned slot = 0;
    unsigned first;
    unsigned last;
    while (slot_set_next_run(&member->node->slots, &slot, &first, &last)) {
        struct reply *reply =
            executor_ask(member->client, "CLUSTER ADDSLOTSRANGE %u %u", first, last);
        bool is_known = reply == NULL || reply->kind != REPLY_ERROR ||
                        memmem(reply->text.data, reply->text.len, "nknown subcommand", 17) == NULL;
        for (unsigned one = first; one <= last && !is_known; one++) {
            reply_destroy(reply);
            reply = executor_ask(member->client, "CLUSTER ADDSLOTS %u", one);
            if (reply == NULL || reply->kind == REPLY_ERROR) break;
        }
        if (!executor_expect_ok(executor, member->node, member->client, reply)) return false;
    }
    return true;
}

static bool apply_plan(struct executor *executor, const struct address *addresses) {
    struct report *report = &executor->report;
    for (size_t i = 0; i < executor->nodes.count; i++) {
        if (executor->nodes.items[i]->is_replica) continue;
        if (!assign_slots(executor, &executor->members[i])) return false;
    }
    report_info(report, ">>> Nodes configuration updated\n");
    report_info(report, ">>> Assign a different config epoch to each node\n");
    for (size_t i = 0; i < executor->nodes.count; i++) {
        /* Best effort: without it the nodes resolve the collision on their own. */
        reply_destroy(
            executor_ask(executor->members[i].client, "CLUSTER SET-CONFIG-EPOCH %zu", i + 1));
    }
    report_info(report, ">>> Sending CLUSTER MEET messages to join the cluster\n");
    executor_flush(executor);
    for (size_t i = 1; i < executor->nodes.count; i++) {
        if (!executor_meet(executor, &executor->members[i], &addresses[0])) return false;
    }
    if (!executor_wait_for_join(executor, &addresses[0])) return false;
    for (size_t i = 0; i < executor->nodes.count; i++) {
        struct member *member = &executor->members[i];
        if (!member->node->is_replica) continue;
        if (!executor_replicate(executor, member, member->node->primary_id)) return false;
    }
    executor_settle(executor);
    return true;
}

static int create_from(struct executor *executor, const struct address *addresses, size_t count) {
    for (size_t i = 0; i < count; i++) {
        bool is_not_empty;
        if (executor_add_empty_member(executor, &addresses[i], &is_not_empty)) continue;
        if (is_not_empty && is_created_already(executor, addresses, count) &&
            executor_check(executor)) {
            fprintf(executor->context->err, "cluster already created\n");
            return 0;
        }
        if (is_not_empty) tell_not_empty(executor, &addresses[i]);
        return 1;
    }
    if (!check_primary_count(executor, count)) return 1;
    allocate(executor);
    if (!executor_confirm(executor, "Can I set the above configuration?")) return 1;
    if (!apply_plan(executor, addresses)) return 1;
    executor_unload(executor);
    if (!executor_load(executor, &addresses[0])) return 1;
    return executor_check(executor) ? 0 : 1;
}

int executor_create(struct executor *executor, size_t count, const struct bytes *words) {
    struct address *addresses = mem_alloc_zero(count * sizeof(*addresses));
    bool is_valid = parse_addresses(executor, count, words, addresses);
    int status = is_valid ? create_from(executor, addresses, count) : 1;
    mem_free(addresses);
    return status;
}

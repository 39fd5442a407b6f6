/* add-node and del-node. */
#include <stdio.h>

#include "server/base/mem.h"
#include "tools/cluster/executor_internal.h"
#include "tools/cluster/membership.h"

/* ---- add-node ---- */

/* What add-node is about. */
struct addition {
    struct address new_node;
    struct address entry;
    struct cluster_node *primary; /* Whom the new node shall replicate; NULL: nobody. */
};

static bool choose_primary(struct executor *executor, struct addition *addition) {
    const struct cluster_options *options = &executor->context->options;
    if (!options->adds_replica) return true;
    if (options->primary_id == NULL) return true; /* Chosen when it is clear that one is needed. */
    addition->primary = node_list_resolve(&executor->nodes, bytes_of_text(options->primary_id));
    if (addition->primary != NULL && !addition->primary->is_replica) return true;
    report_error(&executor->report, "[ERR] No such %s ID %s\n", executor->report.profile->primary,
                 options->primary_id);
    return false;
}

static bool choose_smallest(struct executor *executor, struct addition *addition) {
    if (!executor->context->options.adds_replica || addition->primary != NULL) return true;
    addition->primary = membership_choose_primary(&executor->nodes, NULL);
    if (addition->primary == NULL) return false;
    report_plain(&executor->report, "Automatically selected %s %s:%d\n",
                 executor->report.profile->primary, addition->primary->host,
                 addition->primary->port);
    return true;
}

static void tell_not_empty(struct executor *executor, const struct address *address) {
    report_error(&executor->report,
                 "[ERR] Node %s:%d is not empty. Either the node already knows other nodes (check "
                 "with CLUSTER NODES) or contains some key in database 0.\n",
                 address->host, address->port);
}

/* Takes the cluster's functions over to a new primary; replicas get them from theirs. */
static bool copy_functions(struct executor *executor, struct member *member) {
    struct report *report = &executor->report;
    struct client *entry = executor->members[0].client;
    report_info(report, ">>> Getting functions from cluster\n");
    struct reply *dump = executor_ask(entry, "FUNCTION DUMP");
    if (dump == NULL || dump->kind != REPLY_BULK) {
        report_info(report,
                    ">>> Failed retrieving Functions from the cluster, skip this step as %s "
                    "version do not support function command (error = '%s')\n",
                    executor->context->profile->server,
                    dump == NULL ? client_error(entry) : (const char *)dump->text.data);
        reply_destroy(dump);
        return true;
    }
    report_info(report, ">>> Send FUNCTION LIST to %s:%d to verify there is no functions in it\n",
                member->node->host, member->node->port);
    struct reply *list = executor_ask(member->client, "FUNCTION LIST");
    bool is_free = list != NULL && list->kind == REPLY_ARRAY && list->count == 0;
    bool has_functions = list != NULL && list->kind == REPLY_ARRAY && list->count > 0;
    if (has_functions) {
        report_error(report, ">>> New node already contains functions and can not be added to the "
                             "cluster. Use FUNCTION FLUSH and try again.\n");
    } else if (!is_free) {
        is_free = executor_expect_ok(executor, member->node, member->client, list);
        list = NULL;
    }
    reply_destroy(list);
    bool is_copied = is_free;
    if (is_free) {
        report_info(report, ">>> Send FUNCTION RESTORE to %s:%d\n", member->node->host,
                    member->node->port);
        struct bytes argv[3] = {BYTES_LITERAL("FUNCTION"), BYTES_LITERAL("RESTORE"), dump->text};
        struct reply *reply = NULL;
        if (client_call(member->client, 3, argv, &reply) != STATUS_OK) reply = NULL;
        is_copied = executor_expect_ok(executor, member->node, member->client, reply);
    }
    reply_destroy(dump);
    return is_copied;
}

static bool finish_replica(struct executor *executor, struct member *member,
                           const struct cluster_node *primary) {
    report_info(&executor->report, ">>> Configure node as replica of %s:%d.\n", primary->host,
                primary->port);
    return executor_replicate(executor, member, primary->id);
}

static bool join_new(struct executor *executor, struct addition *addition) {
    struct report *report = &executor->report;
    if (!choose_smallest(executor, addition)) return false;
    bool is_not_empty;
    if (!executor_add_empty_member(executor, &addition->new_node, &is_not_empty)) {
        if (is_not_empty) {
            tell_not_empty(executor, &addition->new_node);
        } else {
            report_error(report, "[ERR] Sorry, can't connect to node %s:%d\n",
                         addition->new_node.host, addition->new_node.port);
        }
        return false;
    }
    struct member *member = &executor->members[executor->nodes.count - 1];
    if (addition->primary == NULL && !copy_functions(executor, member)) return false;
    report_info(report, ">>> Send CLUSTER MEET to node %s:%d to make it join the cluster.\n",
                addition->new_node.host, addition->new_node.port);
    addition->entry.bus_port = executor->members[0].node->bus_port;
    if (!executor_meet(executor, member, &addition->entry)) return false;
    if (addition->primary == NULL) return true;
    return executor_wait_for_join(executor, &addition->entry) &&
           finish_replica(executor, member, addition->primary);
}

static bool change_role(struct executor *executor, struct addition *addition) {
    struct member *member = NULL;
    for (size_t i = 0; i < executor->nodes.count; i++) {
        const struct cluster_node *node = executor->nodes.items[i];
        if (node->port == addition->new_node.port &&
            strcmp(node->host, addition->new_node.host) == 0) {
            member = &executor->members[i];
        }
    }
    if (member == NULL) return false;
    if (addition->primary == NULL) {
        addition->primary = membership_choose_primary(&executor->nodes, member->node);
    }
    return addition->primary != NULL && finish_replica(executor, member, addition->primary);
}

static bool add_loaded(struct executor *executor, struct addition *addition) {
    const struct cluster_options *options = &executor->context->options;
    char host[NODE_HOST_MAX];
    const char *known_as = addition->new_node.host;
    if (executor_resolve(known_as, host, sizeof(host))) known_as = host;
    switch (membership_decide_join(&executor->nodes, known_as, addition->new_node.port,
                                   options->adds_replica, addition->primary, options->forces_role,
                                   &executor->report)) {
    case JOIN_NEW:
        return join_new(executor, addition);
    case JOIN_CHANGE_ROLE:
        return change_role(executor, addition);
    case JOIN_DONE:
        fprintf(executor->context->err, "node is a member already\n");
        return true;
    case JOIN_REFUSED:
        break;
    }
    return false;
}

int executor_add_node(struct executor *executor, size_t count, const struct bytes *words) {
    struct addition addition = {0};
    if (executor_entry_address(executor, 1, words, &addition.new_node) == 0) return 1;
    if (executor_entry_address(executor, count - 1, words + 1, &addition.entry) == 0) return 1;
    report_info(&executor->report, ">>> Adding node %s:%d to cluster %s:%d\n",
                addition.new_node.host, addition.new_node.port, addition.entry.host,
                addition.entry.port);
    if (!executor_load(executor, &addition.entry) || !executor_check(executor)) return 1;
    if (!choose_primary(executor, &addition) || !add_loaded(executor, &addition)) return 1;
    executor_flush(executor);
    executor_settle(executor);
    report_ok(&executor->report, "[OK] New node added correctly.\n");
    return 0;
}

/* ---- del-node ---- */

static bool is_unknown_node(const struct reply *reply) {
    return reply != NULL && reply->kind == REPLY_ERROR &&
           memmem(reply->text.data, reply->text.len, "Unknown node", 12) != NULL;
}

static bool forget_on(struct executor *executor, const struct forget_step *step,
                      const struct cluster_node *leaving) {
    struct member *member = executor_member(executor, step->node);
    if (step->new_primary != NULL) {
        report_info(&executor->report, ">>> %s:%d as replica of %s:%d\n", step->node->host,
                    step->node->port, step->new_primary->host, step->new_primary->port);
        if (!executor_replicate(executor, member, step->new_primary->id)) return false;
    }
    struct reply *reply = executor_ask(member->client, "CLUSTER FORGET %s", leaving->id);
    if (is_unknown_node(reply)) { /* Forgotten already. */
        reply_destroy(reply);
        return true;
    }
    return executor_expect_ok(executor, member->node, member->client, reply);
}

static bool forget_everywhere(struct executor *executor, const struct cluster_node *leaving) {
    report_info(&executor->report, ">>> Sending CLUSTER FORGET messages to the cluster...\n");
    struct forget_step *steps = mem_alloc(executor->nodes.count * sizeof(*steps));
    size_t step_count = membership_plan_forget(&executor->nodes, leaving, steps);
    bool is_forgotten = true;
    for (size_t i = 0; i < step_count && is_forgotten; i++) {
        is_forgotten = forget_on(executor, &steps[i], leaving);
    }
    mem_free(steps);
    return is_forgotten;
}

/* Gossip on its way may have brought the node back to someone who was told early: once more there.
 */
static bool forget_again(struct executor *executor, const struct cluster_node *leaving) {
    for (size_t i = 0; i < executor->nodes.count; i++) {
        struct member *member = &executor->members[i];
        struct node_list view = {0};
        if (member->node == leaving || !member->node->is_reachable) continue;
        if (!executor_read_view(member->client, &view)) continue; /* It has answered FORGET. */
        bool is_known = node_list_find(&view, leaving->id) != NULL;
        node_list_deinit(&view);
        struct forget_step step = {.node = member->node};
        if (is_known && !forget_on(executor, &step, leaving)) return false;
    }
    return true;
}

static bool reset(struct executor *executor, struct member *member) {
    struct report *report = &executor->report;
    if (!member->node->is_reachable) {
        report_warning(report, "*** Node %s:%d is not reachable, CLUSTER RESET not sent.\n",
                       member->node->host, member->node->port);
        report_plain(report, "The other nodes refuse to meet it again for 60 seconds.\n");
        return true;
    }
    report_info(report, ">>> Sending CLUSTER RESET SOFT to the deleted node.\n");
    struct reply *reply = executor_ask(member->client, "CLUSTER RESET SOFT");
    return executor_expect_ok(executor, member->node, member->client, reply);
}

int executor_del_node(struct executor *executor, size_t count, const struct bytes *words) {
    struct report *report = &executor->report;
    struct address entry;
    size_t taken = executor_entry_address(executor, count, words, &entry);
    if (taken == 0 || taken == count) return 1;
    struct bytes id = words[taken];
    report_info(report, ">>> Removing node %.*s from cluster %s:%d\n", (int)id.len,
                (const char *)id.data, entry.host, entry.port);
    if (!executor_load(executor, &entry)) return 1;
    struct cluster_node *leaving = node_list_resolve(&executor->nodes, id);
    if (leaving == NULL) {
        if (executor->context->options.ignores_missing) return 0;
        report_error(report, "[ERR] No such node ID %.*s\n", (int)id.len, (const char *)id.data);
        return 1;
    }
    if (slot_set_count(&leaving->slots) > 0) {
        report_error(report, "[ERR] Node %s:%d is not empty! Reshard data away and try again.\n",
                     leaving->host, leaving->port);
        return 1;
    }
    if (!forget_everywhere(executor, leaving) || !forget_again(executor, leaving)) return 1;
    return reset(executor, executor_member(executor, leaving)) ? 0 : 1;
}

/* reshard: asks for what the options do not say, plans, moves. */
#include <stdio.h>

#include "server/base/mem.h"
#include "server/base/number.h"
#include "tools/cluster/executor_internal.h"
#include "tools/cluster/reshard_plan.h"

#define ANSWER_MAX 128u
#define ANSWERS_MAX 100u /* Wrong answers in a row before the tool gives up. */

struct reshard {
    size_t slot_count;
    const struct cluster_node *target;
    const struct cluster_node **sources; /* Room for all nodes. */
    size_t source_count;
};

static bool read_slot_count(struct executor *executor, struct reshard *reshard) {
    char question[80];
    char answer[ANSWER_MAX];
    reshard->slot_count = (size_t)executor->context->options.slots;
    snprintf(question, sizeof(question), "How many slots do you want to move (from 1 to %u)? ",
             CLUSTER_SLOTS);
    for (unsigned i = 0; i < ANSWERS_MAX; i++) {
        if (reshard->slot_count >= 1 && reshard->slot_count <= CLUSTER_SLOTS) return true;
        if (!executor_read_answer(executor, question, answer, sizeof(answer))) return false;
        uint64_t number;
        reshard->slot_count = number_parse_u64(bytes_of_text(answer), &number) ? number : 0;
    }
    return false;
}

/* The primary that `name` means; tells when there is none. */
static const struct cluster_node *find_primary(struct executor *executor, struct bytes name) {
    struct cluster_node *node = node_list_resolve(&executor->nodes, name);
    if (node != NULL && !node->is_replica && node->is_reachable) return node;
    report_error(&executor->report,
                 "*** The specified node (%.*s) is not known or not a %s, please retry.\n",
                 (int)name.len, (const char *)name.data, executor->report.profile->primary);
    return NULL;
}

static bool read_target(struct executor *executor, struct reshard *reshard) {
    const char *wanted = executor->context->options.to;
    char answer[ANSWER_MAX];
    if (wanted == NULL) {
        if (!executor_read_answer(executor, "What is the receiving node ID? ", answer,
                                  sizeof(answer))) {
            return false;
        }
        wanted = answer;
    }
    reshard->target = find_primary(executor, bytes_of_text(wanted));
    return reshard->target != NULL;
}

static void add_all_sources(struct executor *executor, struct reshard *reshard) {
    reshard->source_count = 0;
    for (size_t i = 0; i < executor->nodes.count; i++) {
        const struct cluster_node *node = executor->nodes.items[i];
        if (node->is_replica || !node->is_reachable || node == reshard->target) continue;
        reshard->sources[reshard->source_count++] = node;
    }
}

static bool add_source(struct executor *executor, struct reshard *reshard, struct bytes name) {
    const struct cluster_node *node = find_primary(executor, name);
    if (node == NULL) return false;
    if (node == reshard->target) {
        report_error(&executor->report,
                     "*** It is not possible to use the target node as source node.\n");
        return true;
    }
    for (size_t i = 0; i < reshard->source_count; i++) {
        if (reshard->sources[i] == node) return true;
    }
    reshard->sources[reshard->source_count++] = node;
    return true;
}

static bool ask_sources(struct executor *executor, struct reshard *reshard) {
    report_plain(&executor->report,
                 "Please enter all the source node IDs.\n"
                 "  Type 'all' to use all the nodes as source nodes for the hash slots.\n"
                 "  Type 'done' once you entered all the source nodes IDs.\n");
    for (unsigned i = 0; i < ANSWERS_MAX; i++) {
        char question[40];
        char answer[ANSWER_MAX];
        snprintf(question, sizeof(question), "Source node #%zu: ", reshard->source_count + 1);
        if (!executor_read_answer(executor, question, answer, sizeof(answer))) return false;
        if (strcmp(answer, "done") == 0) return true;
        if (strcmp(answer, "all") == 0) {
            add_all_sources(executor, reshard);
            return true;
        }
        if (answer[0] != 0 && !add_source(executor, reshard, bytes_of_text(answer))) return false;
    }
    return false;
}

static bool read_sources(struct executor *executor, struct reshard *reshard) {
    const char *from = executor->context->options.from;
    if (from == NULL) {
        if (!ask_sources(executor, reshard)) return false;
    } else if (strcmp(from, "all") == 0) {
        add_all_sources(executor, reshard);
    }
    while (from != NULL && strcmp(from, "all") != 0 && *from != 0) {
        size_t len = strcspn(from, ",");
        if (len > 0 && !add_source(executor, reshard, bytes_of(from, len))) return false;
        from += len + (from[len] == ',' ? 1 : 0);
    }
    if (reshard->source_count > 0) return true;
    executor_flush(executor);
    fprintf(executor->context->err, "*** No source nodes given, operation aborted.\n");
    return false;
}

static bool confirm_plan(struct executor *executor) {
    char answer[ANSWER_MAX];
    if (executor->context->options.says_yes) return true;
    return executor_read_answer(executor,
                                "Do you want to proceed with the proposed reshard plan (yes/no)? ",
                                answer, sizeof(answer)) &&
           bytes_equal_text_nocase(bytes_of_text(answer), "yes");
}

static bool carry_out(struct executor *executor, const struct reshard_plan *plan,
                      const struct cluster_node *target) {
    for (size_t i = 0; i < plan->count; i++) {
        struct slot_transfer transfer = {
            .source = executor_member(executor, plan->moves[i].source),
            .target = executor_member(executor, target),
            .slot = plan->moves[i].slot,
        };
        if (!executor_move_slot(executor, &transfer)) return false;
    }
    executor_flush(executor);
    executor_settle(executor);
    return true;
}

static bool plan_and_move(struct executor *executor, struct reshard *reshard) {
    struct reshard_plan plan;
    reshard_plan_compute(reshard->sources, reshard->source_count, reshard->slot_count,
                         executor->context->options.plans_like_reference, &plan);
    reshard_plan_describe(&plan, reshard->sources, reshard->source_count, reshard->target,
                          reshard->slot_count, &executor->report);
    bool is_done = confirm_plan(executor) && carry_out(executor, &plan, reshard->target);
    reshard_plan_deinit(&plan);
    return is_done;
}

int executor_reshard(struct executor *executor, size_t count, const struct bytes *words) {
    struct address address;
    if (executor_entry_address(executor, count, words, &address) == 0) return 1;
    if (!executor_load(executor, &address)) return 1;
    if (!executor_check(executor)) {
        fprintf(executor->context->err, "*** Please fix your cluster problems before resharding\n");
        return 1;
    }
    struct reshard reshard = {0};
    reshard.sources = mem_alloc(executor->nodes.count * sizeof(*reshard.sources));
    bool is_done = read_slot_count(executor, &reshard) && read_target(executor, &reshard) &&
                   read_sources(executor, &reshard) && plan_and_move(executor, &reshard);
    mem_free(reshard.sources);
    return is_done ? 0 : 1;
}

/* Moves one slot, key by key, so that clients never find it without an owner. */
#include <stdio.h>

#include "server/base/mem.h"
#include "server/base/number.h"
#include "tools/cluster/executor_internal.h"

#define MIGRATE_GRACE_MS 10000u /* How much longer than MIGRATE's own timeout we wait for it. */
#define IO_TIMEOUT_MS 30000u

static bool fail(struct executor *executor, const char *text) {
    report_error(&executor->report, "clusterManagerMoveSlot failed: %s\n", text);
    return false;
}

static const char *error_text(const struct client *client, const struct reply *reply) {
    return reply == NULL ? client_error(client) : (const char *)reply->text.data;
}

static bool is_error(const struct reply *reply) {
    return reply == NULL || reply->kind == REPLY_ERROR;
}

static bool starts_with(const struct reply *reply, const char *start) {
    size_t len = strlen(start);
    return reply->text.len >= len && memcmp(reply->text.data, start, len) == 0;
}

static bool set_slot(struct executor *executor, struct member *member, unsigned slot,
                     const char *state, const char *node_id) {
    struct reply *reply =
        executor_ask(member->client, "CLUSTER SETSLOT %u %s %s", slot, state, node_id);
    bool is_set = !is_error(reply) || fail(executor, error_text(member->client, reply));
    reply_destroy(reply);
    return is_set;
}

/* A source that gave its last slot away may have become a replica at once: not an error then. */
static bool tolerates(const struct reply *reply) {
    static const char *const starts[] = {
        "ERR Please use SETSLOT only with masters.",
        "ERR Please use SETSLOT only with primaries.",
        "UNBLOCKED",
        "NOREPLICAS",
    };
    for (size_t i = 0; i < ARRAY_COUNT(starts); i++) {
        if (starts_with(reply, starts[i])) return true;
    }
    return false;
}

static bool finish_on_source(struct executor *executor, const struct slot_transfer *transfer) {
    struct client *client = transfer->source->client;
    struct reply *reply = executor_ask(client, "CLUSTER SETSLOT %u NODE %s", transfer->slot,
                                       transfer->target->node->id);
    bool is_done = !is_error(reply) || (reply != NULL && tolerates(reply)) ||
                   fail(executor, error_text(client, reply));
    reply_destroy(reply);
    return is_done;
}

/* First the target, so that a crash in between cannot leave the slot without an owner. */
static bool finish(struct executor *executor, const struct slot_transfer *transfer) {
    const char *target_id = transfer->target->node->id;
    if (!set_slot(executor, transfer->target, transfer->slot, "NODE", target_id)) return false;
    if (!finish_on_source(executor, transfer)) return false;
    for (size_t i = 0; i < executor->nodes.count; i++) {
        struct member *member = &executor->members[i];
        if (member == transfer->target || member == transfer->source) continue;
        if (member->node->is_replica || !member->node->is_reachable) continue;
        if (!set_slot(executor, member, transfer->slot, "NODE", target_id)) return false;
    }
    return true;
}

/* ---- keys ---- */

/* The target's address as the source knows it: that is who connects. */
static const struct cluster_node *target_as_seen(const struct slot_transfer *transfer) {
    const struct cluster_node *seen =
        node_list_find(&transfer->source->view, transfer->target->node->id);
    return seen != NULL && seen->host[0] != 0 ? seen : transfer->target->node;
}

static struct reply *send_migrate(struct executor *executor, const struct slot_transfer *transfer,
                                  const struct reply *keys, bool replaces) {
    const struct cluster_context *context = executor->context;
    const struct cluster_node *target = target_as_seen(transfer);
    struct client *client = transfer->source->client;
    char port[NUMBER_TEXT_MAX];
    char timeout[NUMBER_TEXT_MAX];
    struct bytes *argv = mem_alloc((keys->count + 11) * sizeof(*argv));
    size_t argc = 0;
    argv[argc++] = BYTES_LITERAL("MIGRATE");
    argv[argc++] = bytes_of_text(target->host);
    argv[argc++] = bytes_of(port, number_format_i64(target->port, port));
    argv[argc++] = BYTES_LITERAL("");
    argv[argc++] = BYTES_LITERAL("0");
    argv[argc++] = bytes_of(timeout, number_format_i64(context->options.timeout_ms, timeout));
    if (replaces) argv[argc++] = BYTES_LITERAL("REPLACE");
    if (context->password != NULL) {
        argv[argc++] = context->user != NULL ? BYTES_LITERAL("AUTH2") : BYTES_LITERAL("AUTH");
        if (context->user != NULL) argv[argc++] = bytes_of_text(context->user);
        argv[argc++] = bytes_of_text(context->password);
    }
    argv[argc++] = BYTES_LITERAL("KEYS");
    for (size_t i = 0; i < keys->count; i++)
        argv[argc++] = keys->items[i].text;
    struct reply *reply = NULL;
    client_set_io_timeout(client, (uint32_t)context->options.timeout_ms + MIGRATE_GRACE_MS);
    if (client_call(client, argc, argv, &reply) != STATUS_OK) reply = NULL;
    client_set_io_timeout(client, IO_TIMEOUT_MS);
    mem_free(argv);
    return reply;
}

static struct reply *ask_digests(struct client *client, const struct reply *keys) {
    struct bytes *argv = mem_alloc((keys->count + 2) * sizeof(*argv));
    argv[0] = BYTES_LITERAL("DEBUG");
    argv[1] = BYTES_LITERAL("DIGEST-VALUE");
    for (size_t i = 0; i < keys->count; i++)
        argv[i + 2] = keys->items[i].text;
    struct reply *reply = NULL;
    if (client_call(client, keys->count + 2, argv, &reply) != STATUS_OK) reply = NULL;
    mem_free(argv);
    return reply;
}

static bool is_missing(struct bytes digest) {
    for (size_t i = 0; i < digest.len; i++) {
        if (digest.data[i] != '0') return false;
    }
    return true;
}

static bool is_conflict(const struct reply *source, const struct reply *target, size_t i) {
    if (i >= source->count || i >= target->count) return true;
    struct bytes a = source->items[i].text;
    struct bytes b = target->items[i].text;
    return !is_missing(a) && !is_missing(b) && !bytes_equal(a, b);
}

static bool tell_check_failed(struct executor *executor, const struct reply *reply) {
    struct report *report = &executor->report;
    bool is_forbidden = reply != NULL && reply->kind == REPLY_ERROR &&
                        memmem(reply->text.data, reply->text.len, "not allowed", 11) != NULL;
    report_error(report, "*** Value check failed!\n");
    if (is_forbidden) {
        report_error(report,
                     "DEBUG command is not allowed.\n"
                     "You can turn on the enable-debug-command option.\n"
                     "Or you can relaunch the command with --cluster-replace option to force key "
                     "overriding.\n");
    } else {
        report_error(report, "DEBUG DIGEST-VALUE command is not supported.\n"
                             "You can relaunch the command with --cluster-replace option to force "
                             "key overriding.\n");
    }
    return false;
}

static void tell_conflicts(struct executor *executor, const struct slot_transfer *transfer,
                           const struct reply *keys, const struct reply *source,
                           const struct reply *target, size_t count) {
    struct report *report = &executor->report;
    report_error(report,
                 "*** Found %zu key(s) in both source node and target node having different "
                 "values.\n",
                 count);
    report_error(report, "    Source node: %s:%d\n", transfer->source->node->host,
                 transfer->source->node->port);
    report_error(report, "    Target node: %s:%d\n", transfer->target->node->host,
                 transfer->target->node->port);
    report_error(report, "    Keys(s):\n");
    for (size_t i = 0; i < keys->count; i++) {
        if (!is_conflict(source, target, i)) continue;
        report_error(report, "    - %.*s\n", (int)keys->items[i].text.len,
                     (const char *)keys->items[i].text.data);
    }
    report_error(report, "Please fix the above key(s) manually and try again or relaunch the "
                         "command \nwith --cluster-replace option to force key overriding.\n");
}

/* True when the keys have the same values on both sides, as far as both have them. */
static bool check_values(struct executor *executor, const struct slot_transfer *transfer,
                         const struct reply *keys) {
    report_warning(&executor->report, "*** Checking key values on both nodes...\n");
    struct reply *source = ask_digests(transfer->source->client, keys);
    struct reply *target = is_error(source) ? NULL : ask_digests(transfer->target->client, keys);
    bool is_same = true;
    if (is_error(source) || is_error(target)) {
        is_same = tell_check_failed(executor, is_error(source) ? source : target);
    } else {
        size_t conflicts = 0;
        for (size_t i = 0; i < keys->count; i++)
            conflicts += is_conflict(source, target, i);
        is_same = conflicts == 0;
        if (!is_same) tell_conflicts(executor, transfer, keys, source, target, conflicts);
    }
    reply_destroy(source);
    reply_destroy(target);
    return is_same;
}

static bool tell_migrate_error(struct executor *executor, const struct slot_transfer *transfer,
                               const struct reply *reply) {
    struct client *client = transfer->source->client;
    report_plain(&executor->report, "\n");
    report_error(&executor->report, "Node %s:%d replied with error:\n%s\n",
                 transfer->source->node->host, transfer->source->node->port,
                 error_text(client, reply));
    return false;
}

/* Moves one batch; a key that the target has already is replaced if that loses nothing, or if the
 * user wants it. */
static bool migrate_keys(struct executor *executor, const struct slot_transfer *transfer,
                         const struct reply *keys) {
    struct reply *reply = send_migrate(executor, transfer, keys, false);
    bool is_busy = reply != NULL && reply->kind == REPLY_ERROR &&
                   memmem(reply->text.data, reply->text.len, "BUSYKEY", 7) != NULL;
    if (is_busy) {
        report_warning(&executor->report, "\n*** Target key exists\n");
        if (!executor->context->options.replaces_keys && !check_values(executor, transfer, keys)) {
            reply_destroy(reply);
            return false;
        }
        report_warning(&executor->report, "*** Replacing target keys...\n");
        reply_destroy(reply);
        reply = send_migrate(executor, transfer, keys, true);
    }
    bool is_moved = !is_error(reply) || tell_migrate_error(executor, transfer, reply);
    reply_destroy(reply);
    for (size_t i = 0; i < keys->count && is_moved; i++)
        report_plain(&executor->report, ".");
    executor_flush(executor);
    return is_moved;
}

static bool move_keys(struct executor *executor, const struct slot_transfer *transfer) {
    struct client *client = transfer->source->client;
    for (;;) {
        struct reply *keys = executor_ask(client, "CLUSTER GETKEYSINSLOT %u %lld", transfer->slot,
                                          (long long)executor->context->options.pipeline);
        bool is_valid = !is_error(keys) && keys->kind == REPLY_ARRAY;
        if (!is_valid) fail(executor, error_text(client, keys));
        bool is_done = is_valid && keys->count == 0;
        bool is_moved = is_valid && (is_done || migrate_keys(executor, transfer, keys));
        reply_destroy(keys);
        if (!is_moved) return false;
        if (is_done) return true;
    }
}

bool executor_move_slot(struct executor *executor, const struct slot_transfer *transfer) {
    struct cluster_node *source = transfer->source->node;
    struct cluster_node *target = transfer->target->node;
    report_plain(&executor->report,
                 executor->report.profile->is_valkey ? "Moving slot %u from %s:%d to %s:%d "
                                                     : "Moving slot %u from %s:%d to %s:%d: ",
                 transfer->slot, source->host, source->port, target->host, target->port);
    executor_flush(executor);
    if (!set_slot(executor, transfer->target, transfer->slot, "IMPORTING", source->id)) {
        return false;
    }
    if (!set_slot(executor, transfer->source, transfer->slot, "MIGRATING", target->id)) {
        return false;
    }
    bool is_moved = move_keys(executor, transfer);
    report_plain(&executor->report, "\n");
    if (!is_moved) return false;
    if (!finish(executor, transfer)) return false;
    slot_set_remove(&source->slots, transfer->slot);
    slot_set_add(&target->slots, transfer->slot);
    return true;
}

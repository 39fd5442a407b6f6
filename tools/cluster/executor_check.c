/* check, info and call: sub-commands that change nothing of their own. */
#include <stdio.h>

#include "server/base/mem.h"
#include "server/base/number.h"
#include "tools/client/format.h"
#include "tools/cluster/describe.h"
#include "tools/cluster/executor_internal.h"

#define COUNT_BATCH 1024u /* COUNTKEYSINSLOT requests in flight. */

/* Sums "keys=N" over all databases of INFO keyspace. */
static uint64_t sum_keys(struct bytes info) {
    uint64_t sum = 0;
    static const char mark[] = ":keys=";
    const uint8_t *end = info.data + info.len;
    const uint8_t *at = info.data;
    while ((at = memmem(at, (size_t)(end - at), mark, sizeof(mark) - 1)) != NULL) {
        at += sizeof(mark) - 1;
        size_t len = 0;
        while (at + len < end && at[len] >= '0' && at[len] <= '9')
            len++;
        uint64_t keys;
        if (number_parse_u64(bytes_of(at, len), &keys)) sum += keys;
    }
    return sum;
}

/* The lines about keys, slots and replicas of each primary. */
static bool show_key_counts(struct executor *executor) {
    uint64_t total = 0;
    size_t primary_count = 0;
    for (size_t i = 0; i < executor->nodes.count; i++) {
        struct member *member = &executor->members[i];
        if (member->node->is_replica || !member->node->is_reachable) continue;
        struct reply *reply = executor_ask(member->client, "INFO keyspace");
        uint64_t keys = reply != NULL && reply->kind != REPLY_ERROR ? sum_keys(reply->text) : 0;
        if (!executor_expect_ok(executor, member->node, member->client, reply)) return false;
        describe_key_count(member->node, keys, &executor->report);
        total += keys;
        primary_count++;
    }
    describe_totals(primary_count, total, &executor->report);
    executor_flush(executor);
    return true;
}

/* Asks a node which slots it has keys of, many slots at a time. */
static bool load_key_slots(struct executor *executor, struct member *member) {
    for (unsigned start = 0; start < CLUSTER_SLOTS; start += COUNT_BATCH) {
        struct buffer requests = {0};
        for (unsigned slot = start; slot < start + COUNT_BATCH; slot++) {
            buffer_append_format(&requests, "CLUSTER COUNTKEYSINSLOT %u\r\n", slot);
        }
        enum status status = client_send_raw(member->client, buffer_view(&requests));
        buffer_deinit(&requests);
        for (unsigned slot = start; slot < start + COUNT_BATCH; slot++) {
            struct reply *reply = NULL;
            if (status == STATUS_OK) status = client_read(member->client, &reply);
            bool has_keys = reply != NULL && reply->kind == REPLY_INTEGER && reply->integer > 0;
            if (!executor_expect_ok(executor, member->node, member->client, reply)) return false;
            if (has_keys) slot_set_add(&member->node->keys, slot);
        }
    }
    return true;
}

int executor_run_check(struct executor *executor, size_t count, const struct bytes *words) {
    struct address address;
    if (executor_entry_address(executor, count, words, &address) == 0) return 1;
    if (!executor_load(executor, &address)) return 1;
    bool is_clean = show_key_counts(executor);
    for (size_t i = 0; i < executor->nodes.count; i++) {
        struct member *member = &executor->members[i];
        if (!executor->context->options.searches_owners || member->node->is_replica) continue;
        if (member->node->is_reachable) is_clean &= load_key_slots(executor, member);
    }
    is_clean &= executor_check(executor);
    return is_clean ? 0 : 1;
}

int executor_info(struct executor *executor, size_t count, const struct bytes *words) {
    struct address address;
    if (executor_entry_address(executor, count, words, &address) == 0) return 1;
    return executor_load(executor, &address) && show_key_counts(executor) ? 0 : 1;
}

static bool is_called(const struct executor *executor, const struct cluster_node *node) {
    const struct cluster_options *options = &executor->context->options;
    if (!node->is_reachable) return false;
    if (options->only_primaries && node->is_replica) return false;
    return !options->only_replicas || node->is_replica;
}

int executor_call(struct executor *executor, size_t count, const struct bytes *words) {
    struct address address;
    size_t taken = executor_entry_address(executor, count, words, &address);
    if (taken == 0 || !executor_load(executor, &address)) return 1;
    if (taken == count) return 1;
    size_t argc = count - taken;
    const struct bytes *argv = words + taken;
    struct report *report = &executor->report;
    struct buffer command = {0};
    for (size_t i = 0; i < argc; i++) {
        if (i > 0) buffer_append_u8(&command, ' ');
        buffer_append_bytes(&command, argv[i]);
    }
    report_info(report, ">>> Calling %.*s\n", (int)command.len, (const char *)command.data);
    buffer_deinit(&command);
    /* All nodes work at the same time; what they say is printed in their order. */
    for (size_t i = 0; i < executor->nodes.count; i++) {
        if (!is_called(executor, executor->nodes.items[i])) continue;
        if (client_send(executor->members[i].client, argc, argv) != STATUS_OK)
            continue; /* The read tells. */
    }
    bool has_error = false;
    for (size_t i = 0; i < executor->nodes.count; i++) {
        struct member *member = &executor->members[i];
        if (!is_called(executor, member->node)) continue;
        struct reply *reply = NULL;
        bool is_read = client_read(member->client, &reply) == STATUS_OK;
        report_plain(report, "%s:%d: ", member->node->host, member->node->port);
        if (is_read) {
            format_raw(reply, BYTES_LITERAL("\n"), &report->text);
            report_plain(report, "\n");
        } else {
            report_plain(report, "Failed!\n");
        }
        has_error |= !is_read || reply->kind == REPLY_ERROR;
        reply_destroy(reply);
        executor_flush(executor);
    }
    return has_error && executor->context->errors_fail ? 1 : 0;
}

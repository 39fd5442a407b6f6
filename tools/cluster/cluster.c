#include "tools/cluster/cluster.h"

#include "tools/cluster/executor_internal.h"

struct subcommand {
    const char *name;
    int arity; /* Arguments; negative: at least so many. */
    int (*run)(struct executor *executor, size_t count, const struct bytes *words);
    const char *arguments;
    const char *options[9]; /* For the help. */
};

#define ANY_NODE "<host:port> or <host> <port> - separated by either colon or space"

static const struct subcommand subcommands[] = {
    {"create",
     -1,
     executor_create,
     "host1:port1 ... hostN:portN",
     {"--cluster-replicas <arg>", "--cluster-wait <seconds>", "--cluster-allow-few-masters"}},
    {"check",
     -1,
     executor_run_check,
     ANY_NODE,
     {"--cluster-search-multiple-owners", "--cluster-check-extra"}},
    {"info", -1, executor_info, ANY_NODE, {NULL}},
    {"fix", -1, NULL, ANY_NODE, {NULL}},
    {"reshard",
     -1,
     executor_reshard,
     ANY_NODE,
     {"--cluster-from <arg>", "--cluster-to <arg>", "--cluster-slots <arg>", "--cluster-yes",
      "--cluster-timeout <arg>", "--cluster-pipeline <arg>", "--cluster-replace",
      "--cluster-plan-compat"}},
    {"rebalance", -1, NULL, ANY_NODE, {NULL}},
    {"add-node",
     -2,
     executor_add_node,
     "new_host:new_port existing_host:existing_port",
     {"--cluster-slave", "--cluster-master-id <arg>", "--cluster-wait <seconds>",
      "--cluster-force-role"}},
    {"del-node", -2, executor_del_node, "host:port node_id", {"--cluster-ignore-missing"}},
    {"call",
     -2,
     executor_call,
     "host:port command arg arg .. arg",
     {"--cluster-only-masters", "--cluster-only-replicas"}},
    {"set-timeout", 2, NULL, "host:port milliseconds", {NULL}},
    {"import", 1, NULL, "host:port", {NULL}},
    {"backup", 2, NULL, "host:port backup_directory", {NULL}},
    {"help", 0, executor_help, "", {NULL}},
};

int executor_help(struct executor *executor, size_t count UNUSED,
                  const struct bytes *words UNUSED) {
    struct report *report = &executor->report;
    report_plain(report, "Cluster Manager Commands:\n");
    for (size_t i = 0; i < ARRAY_COUNT(subcommands); i++) {
        if (subcommands[i].run == NULL) continue;
        report_plain(report, "  %-15s%s\n", subcommands[i].name, subcommands[i].arguments);
        for (size_t k = 0; subcommands[i].options[k] != NULL; k++) {
            report_plain(report, "%17s%s\n", "", subcommands[i].options[k]);
        }
    }
    report_plain(report, "\nFor check, reshard, del-node, info, call you can specify the host and "
                         "port of any working node in the cluster.\n\n"
                         "Cluster Manager Options:\n"
                         "  --cluster-yes  Automatic yes to cluster commands prompts\n\n");
    /* redis-cli and valkey-cli end with 1 here, and so do we under their names. */
    return strcmp(executor->context->profile->tool, "dunlin-cli") == 0 ? 0 : 1;
}

static const struct subcommand *find(struct bytes name) {
    for (size_t i = 0; i < ARRAY_COUNT(subcommands); i++) {
        if (bytes_equal_text(name, subcommands[i].name)) return &subcommands[i];
    }
    return NULL;
}

static bool has_arity(const struct subcommand *subcommand, size_t count) {
    if (subcommand->arity < 0) return count >= (size_t)-subcommand->arity;
    return count == (size_t)subcommand->arity;
}

int cluster_run(const struct cluster_context *context, size_t count, const struct bytes *words) {
    const struct subcommand *subcommand = find(words[0]);
    if (subcommand == NULL) {
        fprintf(context->err, "Unknown --cluster subcommand\n");
        return 1;
    }
    if (!has_arity(subcommand, count - 1)) {
        fprintf(context->err,
                "[ERR] Wrong number of arguments for specified --cluster sub command\n");
        return 1;
    }
    if (subcommand->run == NULL) {
        fprintf(context->err, "%s: --cluster %s is not part of this version yet.\n",
                context->profile->tool, subcommand->name);
        return 1;
    }
    struct executor executor;
    executor_init(&executor, context);
    int status = subcommand->run(&executor, count - 1, words + 1);
    executor_deinit(&executor);
    return status;
}

/* The rows of CLUSTER and of the commands that concern one connection to a cluster. */
#include "server/cluster/cluster_internal.h"

static const char *const varying_tips[] = {"nondeterministic_output", NULL};
static const char *const all_shards_tips[] = {"nondeterministic_output",
                                              "request_policy:all_shards", NULL};

static const struct argument cluster_addslots_arguments[] = {
    {.name = "slot", .kind = ARGUMENT_INTEGER, .is_multiple = true},
    {.name = NULL},
};

static const struct argument cluster_addslotsrange_start_slot_end_slot_arguments[] = {
    {.name = "start-slot", .kind = ARGUMENT_INTEGER},
    {.name = "end-slot", .kind = ARGUMENT_INTEGER},
    {.name = NULL},
};

static const struct argument cluster_addslotsrange_arguments[] = {
    {.name = "start-slot_end-slot",
     .kind = ARGUMENT_BLOCK,
     .is_multiple = true,
     .children = cluster_addslotsrange_start_slot_end_slot_arguments},
    {.name = NULL},
};

static const struct argument cluster_count_failure_reports_arguments[] = {
    {.name = "node-id", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument cluster_countkeysinslot_arguments[] = {
    {.name = "slot", .kind = ARGUMENT_INTEGER},
    {.name = NULL},
};

static const struct argument cluster_delslots_arguments[] = {
    {.name = "slot", .kind = ARGUMENT_INTEGER, .is_multiple = true},
    {.name = NULL},
};

static const struct argument cluster_delslotsrange_start_slot_end_slot_arguments[] = {
    {.name = "start-slot", .kind = ARGUMENT_INTEGER},
    {.name = "end-slot", .kind = ARGUMENT_INTEGER},
    {.name = NULL},
};

static const struct argument cluster_delslotsrange_arguments[] = {
    {.name = "start-slot_end-slot",
     .kind = ARGUMENT_BLOCK,
     .is_multiple = true,
     .children = cluster_delslotsrange_start_slot_end_slot_arguments},
    {.name = NULL},
};

static const struct argument cluster_failover_options_arguments[] = {
    {.name = "force", .kind = ARGUMENT_PURE_TOKEN, .token = "FORCE"},
    {.name = "takeover", .kind = ARGUMENT_PURE_TOKEN, .token = "TAKEOVER"},
    {.name = NULL},
};

static const struct argument cluster_failover_arguments[] = {
    {.name = "options",
     .kind = ARGUMENT_ONE_OF,
     .is_optional = true,
     .children = cluster_failover_options_arguments},
    {.name = NULL},
};

static const struct argument cluster_forget_arguments[] = {
    {.name = "node-id", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument cluster_getkeysinslot_arguments[] = {
    {.name = "slot", .kind = ARGUMENT_INTEGER},
    {.name = "count", .kind = ARGUMENT_INTEGER},
    {.name = NULL},
};

static const struct argument cluster_keyslot_arguments[] = {
    {.name = "key", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument cluster_meet_arguments[] = {
    {.name = "ip", .kind = ARGUMENT_STRING},
    {.name = "port", .kind = ARGUMENT_INTEGER},
    {.name = "cluster_bus_port", .kind = ARGUMENT_INTEGER, .is_optional = true, .since = "4.0.0"},
    {.name = NULL},
};

static const struct argument cluster_replicas_arguments[] = {
    {.name = "node-id", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument cluster_replicate_arguments[] = {
    {.name = "node-id", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument cluster_reset_hard_soft_arguments[] = {
    {.name = "hard", .kind = ARGUMENT_PURE_TOKEN, .token = "HARD"},
    {.name = "soft", .kind = ARGUMENT_PURE_TOKEN, .token = "SOFT"},
    {.name = NULL},
};

static const struct argument cluster_reset_arguments[] = {
    {.name = "hard_soft",
     .kind = ARGUMENT_ONE_OF,
     .is_optional = true,
     .children = cluster_reset_hard_soft_arguments},
    {.name = NULL},
};

static const struct argument cluster_set_config_epoch_arguments[] = {
    {.name = "config-epoch", .kind = ARGUMENT_INTEGER},
    {.name = NULL},
};

static const struct argument cluster_setslot_subcommand_arguments[] = {
    {.name = "node-id", .kind = ARGUMENT_STRING, .token = "IMPORTING"},
    {.name = "node-id", .kind = ARGUMENT_STRING, .token = "MIGRATING"},
    {.name = "node-id", .kind = ARGUMENT_STRING, .token = "NODE"},
    {.name = "stable", .kind = ARGUMENT_PURE_TOKEN, .token = "STABLE"},
    {.name = NULL},
};

static const struct argument cluster_setslot_arguments[] = {
    {.name = "slot", .kind = ARGUMENT_INTEGER},
    {.name = "subcommand",
     .kind = ARGUMENT_ONE_OF,
     .children = cluster_setslot_subcommand_arguments},
    {.name = NULL},
};

static const struct argument cluster_slaves_arguments[] = {
    {.name = "node-id", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument cluster_slot_stats_filter_slotsrange_arguments[] = {
    {.name = "start-slot", .kind = ARGUMENT_INTEGER},
    {.name = "end-slot", .kind = ARGUMENT_INTEGER},
    {.name = NULL},
};

static const struct argument cluster_slot_stats_filter_orderby_order_arguments[] = {
    {.name = "asc", .kind = ARGUMENT_PURE_TOKEN, .token = "ASC"},
    {.name = "desc", .kind = ARGUMENT_PURE_TOKEN, .token = "DESC"},
    {.name = NULL},
};

static const struct argument cluster_slot_stats_filter_orderby_arguments[] = {
    {.name = "metric", .kind = ARGUMENT_STRING},
    {.name = "limit", .kind = ARGUMENT_INTEGER, .token = "LIMIT", .is_optional = true},
    {.name = "order",
     .kind = ARGUMENT_ONE_OF,
     .is_optional = true,
     .children = cluster_slot_stats_filter_orderby_order_arguments},
    {.name = NULL},
};

static const struct argument cluster_slot_stats_filter_arguments[] = {
    {.name = "slotsrange",
     .kind = ARGUMENT_BLOCK,
     .token = "SLOTSRANGE",
     .children = cluster_slot_stats_filter_slotsrange_arguments},
    {.name = "orderby",
     .kind = ARGUMENT_BLOCK,
     .token = "ORDERBY",
     .children = cluster_slot_stats_filter_orderby_arguments},
    {.name = NULL},
};

static const struct argument cluster_slot_stats_arguments[] = {
    {.name = "filter", .kind = ARGUMENT_ONE_OF, .children = cluster_slot_stats_filter_arguments},
    {.name = NULL},
};

static const struct command cluster_subcommands[] = {
    {
        .name = "addslots",
        .arity = -3,
        .group = GROUP_CLUSTER,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_addslots,
        .since = "3.0.0",
        .summary = "Claim individual hash slots for this node.",
        .complexity = "O(N)",
        .arguments = cluster_addslots_arguments,
    },
    {
        .name = "addslotsrange",
        .arity = -4,
        .group = GROUP_CLUSTER,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_addslotsrange,
        .since = "7.0.0",
        .summary = "Claim slot ranges for this node.",
        .complexity = "O(N)",
        .arguments = cluster_addslotsrange_arguments,
    },
    {
        .name = "bumpepoch",
        .arity = 2,
        .group = GROUP_CLUSTER,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_bumpepoch,
        .since = "3.0.0",
        .summary = "Raise the node's config epoch if it is not already the highest.",
        .complexity = "O(1)",
        .tips = varying_tips,
    },
    {
        .name = "count-failure-reports",
        .arity = 3,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_count_failure_reports,
        .since = "3.0.0",
        .summary = "How many nodes currently report the given node as failing.",
        .complexity = "O(N)",
        .arguments = cluster_count_failure_reports_arguments,
        .tips = varying_tips,
    },
    {
        .name = "countkeysinslot",
        .arity = 3,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_countkeysinslot,
        .since = "3.0.0",
        .summary = "Number of local keys hashing to a slot.",
        .complexity = "O(1)",
        .arguments = cluster_countkeysinslot_arguments,
    },
    {
        .name = "delslots",
        .arity = -3,
        .group = GROUP_CLUSTER,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_delslots,
        .since = "3.0.0",
        .summary = "Forget who serves individual slots.",
        .complexity = "O(N)",
        .arguments = cluster_delslots_arguments,
    },
    {
        .name = "delslotsrange",
        .arity = -4,
        .group = GROUP_CLUSTER,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_delslotsrange,
        .since = "7.0.0",
        .summary = "Forget who serves slot ranges.",
        .complexity = "O(N)",
        .arguments = cluster_delslotsrange_arguments,
    },
    {
        .name = "failover",
        .arity = -2,
        .group = GROUP_CLUSTER,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_failover,
        .since = "3.0.0",
        .summary = "Ask a replica to take over from its master.",
        .complexity = "O(1)",
        .arguments = cluster_failover_arguments,
    },
    {
        .name = "flushslots",
        .arity = 2,
        .group = GROUP_CLUSTER,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_flushslots,
        .since = "3.0.0",
        .summary = "Forget all slot ownership on this node.",
        .complexity = "O(1)",
    },
    {
        .name = "forget",
        .arity = 3,
        .group = GROUP_CLUSTER,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_forget,
        .since = "3.0.0",
        .summary = "Remove a node from the local node table.",
        .complexity = "O(1)",
        .arguments = cluster_forget_arguments,
    },
    {
        .name = "getkeysinslot",
        .arity = 4,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_EXCLUSIVE,
        .flags = COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_getkeysinslot,
        .since = "3.0.0",
        .summary = "Some local key names of a slot.",
        .complexity = "O(log(N))",
        .arguments = cluster_getkeysinslot_arguments,
        .tips = varying_tips,
    },
    {
        .name = "help",
        .arity = 2,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_help,
        .since = "5.0.0",
        .summary = "Usage text for CLUSTER.",
        .complexity = "O(1)",
    },
    {
        .name = "info",
        .arity = 2,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_info,
        .since = "3.0.0",
        .summary = "State counters of the cluster as text lines.",
        .complexity = "O(1)",
        .tips = varying_tips,
    },
    {
        .name = "keyslot",
        .arity = 3,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_keyslot,
        .since = "3.0.0",
        .summary = "Hash slot number of a key name.",
        .complexity = "O(N)",
        .arguments = cluster_keyslot_arguments,
    },
    {
        .name = "links",
        .arity = 2,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_links,
        .since = "7.0.0",
        .summary = "The bus connections to and from peers.",
        .complexity = "O(N)",
        .tips = varying_tips,
    },
    {
        .name = "meet",
        .arity = -4,
        .group = GROUP_CLUSTER,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_meet,
        .since = "3.0.0",
        .summary = "Start a handshake with another node.",
        .complexity = "O(1)",
        .arguments = cluster_meet_arguments,
    },
    {
        .name = "myid",
        .arity = 2,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_myid,
        .since = "3.0.0",
        .summary = "Node id of this server.",
        .complexity = "O(1)",
    },
    {
        .name = "myshardid",
        .arity = 2,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_myshardid,
        .since = "7.2.0",
        .summary = "Shard id of this server.",
        .complexity = "O(1)",
        .tips = varying_tips,
    },
    {
        .name = "nodes",
        .arity = 2,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_nodes,
        .since = "3.0.0",
        .summary = "Node table in nodes.conf line syntax.",
        .complexity = "O(N)",
        .tips = varying_tips,
    },
    {
        .name = "replicas",
        .arity = 3,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_replicas,
        .since = "5.0.0",
        .summary = "Node lines of a master's replicas.",
        .complexity = "O(1)",
        .arguments = cluster_replicas_arguments,
        .tips = varying_tips,
    },
    {
        .name = "replicate",
        .arity = 3,
        .group = GROUP_CLUSTER,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_replicate,
        .since = "3.0.0",
        .summary = "Turn this node into a replica of the given master.",
        .complexity = "O(1)",
        .arguments = cluster_replicate_arguments,
    },
    {
        .name = "reset",
        .arity = -2,
        .group = GROUP_CLUSTER,
        .flags = COMMAND_ADMIN | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_reset,
        .since = "3.0.0",
        .summary = "Return the node to a blank cluster state, soft or hard.",
        .complexity = "O(N)",
        .arguments = cluster_reset_arguments,
    },
    {
        .name = "saveconfig",
        .arity = 2,
        .group = GROUP_CLUSTER,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_saveconfig,
        .since = "3.0.0",
        .summary = "Write nodes.conf now.",
        .complexity = "O(1)",
    },
    {
        .name = "set-config-epoch",
        .arity = 3,
        .group = GROUP_CLUSTER,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_set_config_epoch,
        .since = "3.0.0",
        .summary = "Assign the config epoch of a brand-new node.",
        .complexity = "O(1)",
        .arguments = cluster_set_config_epoch_arguments,
    },
    {
        .name = "setslot",
        .arity = -4,
        .group = GROUP_CLUSTER,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_setslot,
        .since = "3.0.0",
        .summary = "Set migrating/importing/stable/owner state of a slot.",
        .complexity = "O(1)",
        .arguments = cluster_setslot_arguments,
    },
    {
        .name = "shards",
        .arity = 2,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_shards,
        .since = "7.0.0",
        .summary = "Slots, nodes and health grouped per shard.",
        .complexity = "O(N)",
        .tips = varying_tips,
    },
    {
        .name = "slaves",
        .arity = 3,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_replicas,
        .since = "3.0.0",
        .summary = "Former name of CLUSTER REPLICAS.",
        .complexity = "O(1)",
        .deprecated_since = "5.0.0",
        .replaced_by = "`CLUSTER REPLICAS`",
        .arguments = cluster_slaves_arguments,
        .tips = varying_tips,
    },
    {
        .name = "slot-stats",
        .arity = -4,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_slot_stats,
        .since = "8.0.0",
        .summary = "Per-slot usage counters, by range or ordered by a metric.",
        .complexity = "O(N)",
        .arguments = cluster_slot_stats_arguments,
        .tips = all_shards_tips,
    },
    {
        .name = "slots",
        .arity = 2,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_STALE,
        .container = "cluster",
        .handler = cluster_command_slots,
        .since = "3.0.0",
        .summary = "Slot ranges with their serving nodes.",
        .complexity = "O(N)",
        .deprecated_since = "7.0.0",
        .replaced_by = "`CLUSTER SHARDS`",
        .tips = varying_tips,
    },
    COMMAND_END,
};

const struct command cluster_commands[] = {
    {
        .name = "cluster",
        .arity = -2,
        .group = GROUP_CLUSTER,
        .subcommands = cluster_subcommands,
        .since = "3.0.0",
        .summary = "Parent of the cluster subcommands.",
        .complexity = "Depends on the subcommand.",
    },
    {
        .name = "asking",
        .arity = 1,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_FAST,
        .categories = CATEGORY_CONNECTION,
        .handler = cluster_command_asking,
        .since = "3.0.0",
        .summary = "Let the next command touch a slot that is being imported.",
        .complexity = "O(1)",
    },
    {
        .name = "readonly",
        .arity = 1,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_FAST | COMMAND_LOADING | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = cluster_command_readonly,
        .since = "3.0.0",
        .summary = "Permit reads from this cluster replica.",
        .complexity = "O(1)",
    },
    {
        .name = "readwrite",
        .arity = 1,
        .group = GROUP_CLUSTER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_FAST | COMMAND_LOADING | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = cluster_command_readwrite,
        .since = "3.0.0",
        .summary = "Undo READONLY.",
        .complexity = "O(1)",
    },
    COMMAND_END,
};

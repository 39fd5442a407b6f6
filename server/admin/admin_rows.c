/* The rows of the commands for administrators. */
#include "server/admin/admin_internal.h"

static const struct argument command_line_arguments[] = {
    {.name = "command", .kind = ARGUMENT_STRING},
    {.name = "arg", .kind = ARGUMENT_STRING, .is_optional = true, .is_multiple = true},
    {.name = NULL},
};

static const struct argument command_names_arguments[] = {
    {.name = "command-name", .kind = ARGUMENT_STRING, .is_optional = true, .is_multiple = true},
    {.name = NULL},
};

static const char *const unordered_tips[] = {"nondeterministic_output_order", NULL};

static const struct command_history command_info_history[] = {
    {"7.0.0", "Lists all commands when none is named."},
    {.version = NULL},
};

static const struct argument command_list_filterby_arguments[] = {
    {.name = "module-name", .kind = ARGUMENT_STRING, .token = "MODULE"},
    {.name = "category", .kind = ARGUMENT_STRING, .token = "ACLCAT"},
    {.name = "pattern", .kind = ARGUMENT_PATTERN, .token = "PATTERN"},
    {.name = NULL},
};

static const struct argument command_list_arguments[] = {
    {.name = "filterby",
     .kind = ARGUMENT_ONE_OF,
     .token = "FILTERBY",
     .is_optional = true,
     .children = command_list_filterby_arguments},
    {.name = NULL},
};

static const struct argument config_get_parameter_arguments[] = {
    {.name = "parameter", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument config_get_arguments[] = {
    {.name = "parameter",
     .kind = ARGUMENT_BLOCK,
     .is_multiple = true,
     .children = config_get_parameter_arguments},
    {.name = NULL},
};

static const struct command_history config_get_history[] = {
    {"7.0.0", "Takes several patterns."},
    {.version = NULL},
};

static const struct argument config_set_parameter_value_arguments[] = {
    {.name = "parameter", .kind = ARGUMENT_STRING},
    {.name = "value", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument config_set_arguments[] = {
    {.name = "parameter_value",
     .kind = ARGUMENT_BLOCK,
     .is_multiple = true,
     .children = config_set_parameter_value_arguments},
    {.name = NULL},
};

static const struct command_history config_set_history[] = {
    {"7.0.0", "Takes several options."},
    {.version = NULL},
};

static const char *const all_nodes_tips[] = {"request_policy:all_nodes",
                                             "response_policy:all_succeeded", NULL};

static const char *const all_shards_tips[] = {"request_policy:all_shards",
                                              "response_policy:all_succeeded", NULL};

static const struct argument memory_usage_arguments[] = {
    {.name = "key", .kind = ARGUMENT_KEY},
    {.name = "count", .kind = ARGUMENT_INTEGER, .token = "SAMPLES", .is_optional = true},
    {.name = NULL},
};

static const struct argument lolwut_arguments[] = {
    {.name = "version", .kind = ARGUMENT_INTEGER, .token = "VERSION", .is_optional = true},
    {.name = NULL},
};

static const char *const varying_tips[] = {"nondeterministic_output", NULL};

static const struct command command_subcommands[] = {
    {
        .name = "count",
        .container = "command",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = admin_command_count,
        .since = "2.8.13",
        .summary = "Total number of commands.",
        .complexity = "O(1)",
    },
    {
        .name = "docs",
        .container = "command",
        .arity = -2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = admin_command_docs,
        .since = "7.0.0",
        .summary = "Documentation maps with argument trees.",
        .complexity = "O(N) where N is the number of commands that are asked for.",
        .arguments = command_names_arguments,
        .tips = unordered_tips,
    },
    {
        .name = "getkeys",
        .container = "command",
        .arity = -4,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = admin_command_getkeys,
        .since = "2.8.13",
        .summary = "Key arguments of a full command line.",
        .complexity = "O(N) where N is the number of arguments.",
        .arguments = command_line_arguments,
    },
    {
        .name = "getkeysandflags",
        .container = "command",
        .arity = -4,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = admin_command_getkeysandflags,
        .since = "7.0.0",
        .summary = "Key arguments plus how each is accessed.",
        .complexity = "O(N) where N is the number of arguments.",
        .arguments = command_line_arguments,
    },
    {
        .name = "help",
        .container = "command",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = admin_command_help,
        .since = "5.0.0",
        .summary = "Usage text for COMMAND.",
        .complexity = "O(1)",
    },
    {
        .name = "info",
        .container = "command",
        .arity = -2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = admin_command_info,
        .since = "2.8.13",
        .summary = "Metadata tuples for the named commands.",
        .complexity = "O(N) where N is the number of commands that are asked for.",
        .arguments = command_names_arguments,
        .history = command_info_history,
        .tips = unordered_tips,
    },
    {
        .name = "list",
        .container = "command",
        .arity = -2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = admin_command_list,
        .since = "7.0.0",
        .summary = "Command names, optionally by module, category or pattern.",
        .complexity = "O(N) where N is the number of commands.",
        .arguments = command_list_arguments,
        .tips = unordered_tips,
    },
    COMMAND_END,
};

static const struct command config_subcommands[] = {
    {
        .name = "get",
        .container = "config",
        .arity = -3,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_NO_SCRIPT | COMMAND_LOADING | COMMAND_STALE,
        .handler = admin_config_get,
        .since = "2.0.0",
        .summary = "Values of parameters that match glob patterns.",
        .complexity = "O(N) where N is the number of options.",
        .arguments = config_get_arguments,
        .history = config_get_history,
    },
    {
        .name = "help",
        .container = "config",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .handler = admin_config_help,
        .since = "5.0.0",
        .summary = "Usage text for CONFIG.",
        .complexity = "O(1)",
    },
    {
        .name = "resetstat",
        .container = "config",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_EXCLUSIVE,
        .flags = COMMAND_ADMIN | COMMAND_NO_SCRIPT | COMMAND_LOADING | COMMAND_STALE,
        .handler = admin_config_resetstat,
        .since = "2.0.0",
        .summary = "Zero the statistics counters.",
        .complexity = "O(1)",
    },
    {
        .name = "rewrite",
        .container = "config",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_EXCLUSIVE,
        .flags = COMMAND_ADMIN | COMMAND_NO_SCRIPT | COMMAND_LOADING | COMMAND_STALE,
        .handler = admin_config_rewrite,
        .since = "2.8.0",
        .summary = "Persist the live settings into the config file.",
        .complexity = "O(N) where N is the size of the configuration file.",
    },
    {
        .name = "set",
        .container = "config",
        .arity = -4,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_EXCLUSIVE,
        .flags = COMMAND_ADMIN | COMMAND_NO_SCRIPT | COMMAND_LOADING | COMMAND_STALE,
        .handler = admin_config_set,
        .since = "2.0.0",
        .summary = "Change parameters while running, all or nothing.",
        .complexity = "O(N) where N is the number of options that are given.",
        .arguments = config_set_arguments,
        .history = config_set_history,
        .tips = all_nodes_tips,
    },
    COMMAND_END,
};

static const char *const varying_shards_tips[] = {
    "nondeterministic_output", "request_policy:all_shards", "response_policy:special", NULL};

static const struct argument module_load_arguments[] = {
    {.name = "path", .kind = ARGUMENT_STRING},
    {.name = "arg", .kind = ARGUMENT_STRING, .is_optional = true, .is_multiple = true},
    {.name = NULL},
};

static const struct argument module_loadex_config_arguments[] = {
    {.name = "name", .kind = ARGUMENT_STRING},
    {.name = "value", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument module_loadex_arguments[] = {
    {.name = "path", .kind = ARGUMENT_STRING},
    {.name = "configs",
     .kind = ARGUMENT_BLOCK,
     .token = "CONFIG",
     .is_optional = true,
     .is_multiple = true,
     .is_multiple_token = true,
     .children = module_loadex_config_arguments},
    {.name = "args",
     .kind = ARGUMENT_STRING,
     .token = "ARGS",
     .is_optional = true,
     .is_multiple = true},
    {.name = NULL},
};

static const struct argument module_unload_arguments[] = {
    {.name = "name", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct command module_subcommands[] = {
    {
        .name = "help",
        .container = "module",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .handler = admin_module_help,
        .since = "5.0.0",
        .summary = "Usage text for MODULE.",
        .complexity = "O(1)",
    },
    {
        .name = "list",
        .container = "module",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_NO_SCRIPT,
        .handler = admin_module_list,
        .since = "4.0.0",
        .summary = "Loaded modules.",
        .complexity = "O(1)",
        .tips = unordered_tips,
    },
    {
        .name = "load",
        .container = "module",
        .arity = -3,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_NO_SCRIPT,
        .handler = admin_module_change,
        .since = "4.0.0",
        .summary = "Refused: modules are not loaded.",
        .complexity = "O(1)",
        .arguments = module_load_arguments,
    },
    {
        .name = "loadex",
        .container = "module",
        .arity = -3,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_NO_SCRIPT,
        .handler = admin_module_change,
        .since = "7.0.0",
        .summary = "Refused: modules are not loaded.",
        .complexity = "O(1)",
        .arguments = module_loadex_arguments,
    },
    {
        .name = "unload",
        .container = "module",
        .arity = 3,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_NO_SCRIPT,
        .handler = admin_module_change,
        .since = "4.0.0",
        .summary = "Refused: modules are not loaded.",
        .complexity = "O(1)",
        .arguments = module_unload_arguments,
    },
    COMMAND_END,
};

static const struct command memory_subcommands[] = {
    {
        .name = "doctor",
        .container = "memory",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .handler = admin_memory_doctor,
        .since = "4.0.0",
        .summary = "Advice about the use of memory.",
        .complexity = "O(1)",
        .tips = varying_shards_tips,
    },
    {
        .name = "help",
        .container = "memory",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .handler = admin_memory_help,
        .since = "4.0.0",
        .summary = "Usage text for MEMORY.",
        .complexity = "O(1)",
    },
    {
        .name = "malloc-stats",
        .container = "memory",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .handler = admin_memory_malloc_stats,
        .since = "4.0.0",
        .summary = "The allocator's own report.",
        .complexity = "Depends on how much there is to tell.",
        .tips = varying_shards_tips,
    },
    {
        .name = "purge",
        .container = "memory",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .handler = admin_memory_purge,
        .since = "4.0.0",
        .summary = "Ask the allocator to give back dirty pages.",
        .complexity = "Depends on how much memory is unused.",
        .tips = all_shards_tips,
    },
    {
        .name = "stats",
        .container = "memory",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .handler = admin_memory_stats,
        .since = "4.0.0",
        .summary = "Where the memory goes.",
        .complexity = "O(1)",
        .tips = varying_shards_tips,
    },
    {
        .name = "usage",
        .container = "memory",
        .arity = -3,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_KEYS,
        .flags = COMMAND_READONLY,
        .keys = KEYS_AT(2, KEY_RO),
        .handler = admin_memory_usage,
        .since = "4.0.0",
        .summary = "Estimated bytes that a key occupies.",
        .complexity = "O(N) where N is the number of samples.",
        .arguments = memory_usage_arguments,
    },
    COMMAND_END,
};

const struct command admin_commands[] = {
    {
        .name = "command",
        .arity = -1,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = admin_command,
        .subcommands = command_subcommands,
        .since = "2.8.13",
        .summary = "Metadata of every command; parent of its subcommands.",
        .complexity = "O(N) where N is the number of commands.",
        .tips = unordered_tips,
    },
    {
        .name = "config",
        .arity = -2,
        .group = GROUP_SERVER,
        .subcommands = config_subcommands,
        .since = "2.0.0",
        .summary = "Parent of the configuration subcommands.",
        .complexity = "Depends on the subcommand.",
    },
    {
        .name = "debug",
        .arity = -2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_EXCLUSIVE,
        .flags = COMMAND_ADMIN | COMMAND_NO_SCRIPT | COMMAND_LOADING | COMMAND_STALE |
                 COMMAND_PROTECTED | COMMAND_SYSTEM,
        .handler = admin_debug,
        .since = "1.0.0",
        .summary = "Internal testing and diagnostics hooks.",
        .complexity = "Depends on the subcommand.",
    },
    {
        .name = "lolwut",
        .arity = -1,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_READONLY | COMMAND_FAST,
        .handler = admin_lolwut,
        .since = "5.0.0",
        .summary = "Version art.",
        .complexity = "O(N) where N is the size of the picture.",
        .arguments = lolwut_arguments,
    },
    {
        .name = "memory",
        .arity = -2,
        .group = GROUP_SERVER,
        .subcommands = memory_subcommands,
        .since = "4.0.0",
        .summary = "Parent of the memory subcommands.",
        .complexity = "Depends on the subcommand.",
    },
    {
        .name = "module",
        .arity = -2,
        .group = GROUP_SERVER,
        .subcommands = module_subcommands,
        .since = "4.0.0",
        .summary = "Parent of the module subcommands.",
        .complexity = "Depends on the subcommand.",
    },
    {
        .name = "time",
        .arity = 1,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST,
        .handler = admin_time,
        .since = "2.6.0",
        .summary = "Server clock as seconds and microseconds.",
        .complexity = "O(1)",
        .tips = varying_tips,
    },
    COMMAND_END,
};

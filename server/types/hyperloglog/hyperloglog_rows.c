/* The HyperLogLog commands as rows: see command/command.h. */
#include "server/types/hyperloglog/hyperloglog_internal.h"

static const struct argument pfadd_arguments[] = {
    {.name = "key", .kind = ARGUMENT_KEY},
    {.name = "element", .kind = ARGUMENT_STRING, .is_optional = true, .is_multiple = true},
    {.name = NULL},
};

static const struct argument pfcount_arguments[] = {
    {.name = "key", .kind = ARGUMENT_KEY, .is_multiple = true},
    {.name = NULL},
};

static const struct argument pfdebug_arguments[] = {
    {.name = "subcommand", .kind = ARGUMENT_STRING},
    {.name = "key", .kind = ARGUMENT_KEY},
    {.name = NULL},
};

static const struct argument pfmerge_arguments[] = {
    {.name = "destkey", .kind = ARGUMENT_KEY},
    {.name = "sourcekey", .kind = ARGUMENT_KEY, .is_multiple = true, .key_spec = 1},
    {.name = NULL},
};

const struct command hyperloglog_commands[] = {
    {
        .name = "pfadd",
        .arity = -2,
        .group = GROUP_HYPERLOGLOG,
        .class = COMMAND_CLASS_KEYS,
        .flags = COMMAND_DENY_OOM | COMMAND_FAST | COMMAND_WRITE,
        .categories = CATEGORY_HYPERLOGLOG,
        .keys = {{.begin = KEY_BEGIN_INDEX, .index = 1, .step = 1, .flags = KEY_RW | KEY_INSERT}},
        .handler = hyperloglog_pfadd,
        .since = "2.8.9",
        .summary = "Feed elements to a HyperLogLog.",
        .complexity = "O(1)",
        .arguments = pfadd_arguments,
    },
    {
        .name = "pfcount",
        .arity = -2,
        .group = GROUP_HYPERLOGLOG,
        .class = COMMAND_CLASS_KEYS,
        .flags = COMMAND_MAY_REPLICATE | COMMAND_READONLY,
        .categories = CATEGORY_HYPERLOGLOG,
        .keys = {{.begin = KEY_BEGIN_INDEX,
                  .index = 1,
                  .last = -1,
                  .step = 1,
                  .flags = KEY_RW | KEY_ACCESS,
                  .notes = "RW because it may change the internal representation of the key, and "
                           "propagate to replicas"}},
        .handler = hyperloglog_pfcount,
        .since = "2.8.9",
        .summary = "Estimated distinct count of one or the union of several.",
        .complexity = "O(1); O(N)",
        .arguments = pfcount_arguments,
    },
    {
        .name = "pfdebug",
        .arity = 3,
        .group = GROUP_HYPERLOGLOG,
        .class = COMMAND_CLASS_KEYS,
        .flags = COMMAND_ADMIN | COMMAND_DENY_OOM | COMMAND_WRITE,
        .categories = CATEGORY_HYPERLOGLOG,
        .keys = {{.begin = KEY_BEGIN_INDEX, .index = 2, .step = 1, .flags = KEY_RW | KEY_ACCESS}},
        .handler = hyperloglog_pfdebug,
        .since = "2.8.9",
        .summary = "HyperLogLog internals for testing.",
        .arguments = pfdebug_arguments,
    },
    {
        .name = "pfmerge",
        .arity = -2,
        .group = GROUP_HYPERLOGLOG,
        .class = COMMAND_CLASS_KEYS,
        .flags = COMMAND_DENY_OOM | COMMAND_WRITE,
        .categories = CATEGORY_HYPERLOGLOG,
        .keys = {{.begin = KEY_BEGIN_INDEX,
                  .index = 1,
                  .step = 1,
                  .flags = KEY_RW | KEY_ACCESS | KEY_INSERT},
                 {.begin = KEY_BEGIN_INDEX,
                  .index = 2,
                  .last = -1,
                  .step = 1,
                  .flags = KEY_RO | KEY_ACCESS}},
        .handler = hyperloglog_pfmerge,
        .since = "2.8.9",
        .summary = "Union HyperLogLogs into a destination.",
        .complexity = "O(N)",
        .arguments = pfmerge_arguments,
    },
    {
        .name = "pfselftest",
        .arity = 1,
        .group = GROUP_HYPERLOGLOG,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN,
        .categories = CATEGORY_HYPERLOGLOG,
        .handler = hyperloglog_pfselftest,
        .since = "2.8.9",
        .summary = "Built-in HyperLogLog self check.",
    },
    COMMAND_END,
};

/* The LATENCY commands as rows: see command/command.h. */
#include "server/observe/latency_internal.h"

static const struct argument event_arguments[] = {
    {.name = "event", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument histogram_arguments[] = {
    {.name = "command", .kind = ARGUMENT_STRING, .is_optional = true, .is_multiple = true},
    {.name = NULL},
};

static const struct argument reset_arguments[] = {
    {.name = "event", .kind = ARGUMENT_STRING, .is_optional = true, .is_multiple = true},
    {.name = NULL},
};

static const char *const ask_tips[] = {"nondeterministic_output", "request_policy:all_nodes",
                                       "response_policy:special", NULL};
static const char *const reset_tips[] = {"request_policy:all_nodes",
                                         "response_policy:all_succeeded", NULL};

static const struct command subcommands[] = {
    {
        .name = "doctor",
        .container = "latency",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .handler = latency_command_doctor,
        .since = "2.8.13",
        .summary = "Advice about what was slow.",
        .complexity = "O(1)",
        .tips = ask_tips,
    },
    {
        .name = "graph",
        .container = "latency",
        .arity = 3,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .handler = latency_command_graph,
        .since = "2.8.13",
        .summary = "A chart of the samples of a class of events.",
        .complexity = "O(1)",
        .arguments = event_arguments,
        .tips = ask_tips,
    },
    {
        .name = "help",
        .container = "latency",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .handler = latency_command_help,
        .since = "2.8.13",
        .summary = "Usage text for LATENCY.",
        .complexity = "O(1)",
    },
    {
        .name = "histogram",
        .container = "latency",
        .arity = -2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .handler = latency_command_histogram,
        .since = "7.0.0",
        .summary = "Distribution of the durations of commands.",
        .complexity = "O(N) where N is the number of commands",
        .arguments = histogram_arguments,
        .tips = ask_tips,
    },
    {
        .name = "history",
        .container = "latency",
        .arity = 3,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .handler = latency_command_history,
        .since = "2.8.13",
        .summary = "Samples of a class of events.",
        .complexity = "O(1)",
        .arguments = event_arguments,
        .tips = ask_tips,
    },
    {
        .name = "latest",
        .container = "latency",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .handler = latency_command_latest,
        .since = "2.8.13",
        .summary = "The last sample of each class of events.",
        .complexity = "O(1)",
        .tips = ask_tips,
    },
    {
        .name = "reset",
        .container = "latency",
        .arity = -2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .handler = latency_command_reset,
        .since = "2.8.13",
        .summary = "Forgets samples.",
        .complexity = "O(1)",
        .arguments = reset_arguments,
        .tips = reset_tips,
    },
    COMMAND_END,
};

const struct command latency_commands[] = {
    {
        .name = "latency",
        .arity = -2,
        .group = GROUP_SERVER,
        .since = "2.8.13",
        .summary = "Parent of the latency monitor's subcommands.",
        .complexity = "depends",
        .subcommands = subcommands,
    },
    COMMAND_END,
};

/* The pub/sub commands as rows: see command/command.h. */
#include "server/pubsub/pubsub_internal.h"

static const struct argument psubscribe_pattern_arguments[] = {
    {.name = "pattern", .kind = ARGUMENT_PATTERN},
    {.name = NULL},
};

static const struct argument psubscribe_arguments[] = {
    {.name = "pattern",
     .kind = ARGUMENT_BLOCK,
     .is_multiple = true,
     .children = psubscribe_pattern_arguments},
    {.name = NULL},
};

static const struct argument publish_arguments[] = {
    {.name = "channel", .kind = ARGUMENT_STRING},
    {.name = "message", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument pubsub_channels_arguments[] = {
    {.name = "pattern", .kind = ARGUMENT_PATTERN, .is_optional = true},
    {.name = NULL},
};

static const struct argument pubsub_numsub_arguments[] = {
    {.name = "channel", .kind = ARGUMENT_STRING, .is_optional = true, .is_multiple = true},
    {.name = NULL},
};

static const struct argument pubsub_shardnumsub_arguments[] = {
    {.name = "shardchannel", .kind = ARGUMENT_STRING, .is_optional = true, .is_multiple = true},
    {.name = NULL},
};

static const struct command pubsub_subcommands[] = {
    {
        .name = "channels",
        .container = "pubsub",
        .arity = -2,
        .group = GROUP_PUBSUB,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_PUBSUB | COMMAND_STALE,
        .handler = pubsub_command_pubsub_channels,
        .since = "2.8.0",
        .summary = "Channels with subscribers.",
        .complexity = "O(N)",
        .arguments = pubsub_channels_arguments,
    },
    {
        .name = "help",
        .container = "pubsub",
        .arity = 2,
        .group = GROUP_PUBSUB,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .handler = pubsub_command_pubsub_help,
        .since = "6.2.0",
        .summary = "Usage text for PUBSUB.",
        .complexity = "O(1)",
    },
    {
        .name = "numpat",
        .container = "pubsub",
        .arity = 2,
        .group = GROUP_PUBSUB,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_PUBSUB | COMMAND_STALE,
        .handler = pubsub_command_pubsub_numpat,
        .since = "2.8.0",
        .summary = "Count of distinct subscribed patterns.",
        .complexity = "O(1)",
    },
    {
        .name = "numsub",
        .container = "pubsub",
        .arity = -2,
        .group = GROUP_PUBSUB,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_PUBSUB | COMMAND_STALE,
        .handler = pubsub_command_pubsub_numsub,
        .since = "2.8.0",
        .summary = "Subscriber counts of channels.",
        .complexity = "O(N)",
        .arguments = pubsub_numsub_arguments,
    },
    {
        .name = "shardchannels",
        .container = "pubsub",
        .arity = -2,
        .group = GROUP_PUBSUB,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_PUBSUB | COMMAND_STALE,
        .handler = pubsub_command_pubsub_shardchannels,
        .since = "7.0.0",
        .summary = "Shard channels with subscribers.",
        .complexity = "O(N)",
        .arguments = pubsub_channels_arguments,
    },
    {
        .name = "shardnumsub",
        .container = "pubsub",
        .arity = -2,
        .group = GROUP_PUBSUB,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_PUBSUB | COMMAND_STALE,
        .handler = pubsub_command_pubsub_shardnumsub,
        .since = "7.0.0",
        .summary = "Subscriber counts of shard channels.",
        .complexity = "O(N)",
        .arguments = pubsub_shardnumsub_arguments,
    },
    COMMAND_END,
};

static const struct argument punsubscribe_arguments[] = {
    {.name = "pattern", .kind = ARGUMENT_PATTERN, .is_optional = true, .is_multiple = true},
    {.name = NULL},
};

static const struct argument spublish_arguments[] = {
    {.name = "shardchannel", .kind = ARGUMENT_STRING},
    {.name = "message", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument ssubscribe_arguments[] = {
    {.name = "shardchannel", .kind = ARGUMENT_STRING, .is_multiple = true},
    {.name = NULL},
};

static const struct argument subscribe_arguments[] = {
    {.name = "channel", .kind = ARGUMENT_STRING, .is_multiple = true},
    {.name = NULL},
};

const struct command pubsub_commands[] = {
    {
        .name = "psubscribe",
        .arity = -2,
        .group = GROUP_PUBSUB,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_PUBSUB | COMMAND_STALE,
        .channels = CHANNELS_PATTERNS,
        .handler = pubsub_command_psubscribe,
        .since = "2.0.0",
        .summary = "Listen to channels by glob.",
        .complexity = "O(N)",
        .arguments = psubscribe_arguments,
    },
    {
        .name = "publish",
        .arity = 3,
        .group = GROUP_PUBSUB,
        .class = COMMAND_CLASS_CLIENT,
        .flags =
            COMMAND_MAY_REPLICATE | COMMAND_FAST | COMMAND_LOADING | COMMAND_PUBSUB | COMMAND_STALE,
        .channels = CHANNELS_FIRST,
        .handler = pubsub_command_publish,
        .since = "2.0.0",
        .summary = "Send a message to a channel.",
        .complexity = "O(N+M)",
        .arguments = publish_arguments,
    },
    {
        .name = "pubsub",
        .arity = -2,
        .group = GROUP_PUBSUB,
        .class = COMMAND_CLASS_CLIENT,
        .subcommands = pubsub_subcommands,
        .since = "2.8.0",
        .summary = "Parent of the pub/sub inspection subcommands.",
        .complexity = "d; e; p; e; n; d; s",
    },
    {
        .name = "punsubscribe",
        .arity = -1,
        .group = GROUP_PUBSUB,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_PUBSUB | COMMAND_STALE,
        .handler = pubsub_command_punsubscribe,
        .since = "2.0.0",
        .summary = "Stop listening to globs.",
        .complexity = "O(N+M)",
        .arguments = punsubscribe_arguments,
    },
    {
        .name = "spublish",
        .arity = 3,
        .group = GROUP_PUBSUB,
        .class = COMMAND_CLASS_KEYS,
        .flags =
            COMMAND_MAY_REPLICATE | COMMAND_FAST | COMMAND_LOADING | COMMAND_PUBSUB | COMMAND_STALE,
        .keys = {{.begin = KEY_BEGIN_INDEX, .index = 1, .step = 1, .flags = KEY_NOT_KEY}},
        .channels = CHANNELS_FIRST,
        .handler = pubsub_command_spublish,
        .since = "7.0.0",
        .summary = "Send a message to a shard channel.",
        .complexity = "O(N)",
        .arguments = spublish_arguments,
    },
    {
        .name = "ssubscribe",
        .arity = -2,
        .group = GROUP_PUBSUB,
        .class = COMMAND_CLASS_KEYS,
        .flags = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_PUBSUB | COMMAND_STALE,
        .keys =
            {{.begin = KEY_BEGIN_INDEX, .index = 1, .last = -1, .step = 1, .flags = KEY_NOT_KEY}},
        .channels = CHANNELS_ALL,
        .handler = pubsub_command_ssubscribe,
        .since = "7.0.0",
        .summary = "Listen to shard channels.",
        .complexity = "O(N)",
        .arguments = ssubscribe_arguments,
    },
    {
        .name = "subscribe",
        .arity = -2,
        .group = GROUP_PUBSUB,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_PUBSUB | COMMAND_STALE,
        .channels = CHANNELS_ALL,
        .handler = pubsub_command_subscribe,
        .since = "2.0.0",
        .summary = "Listen to channels.",
        .complexity = "O(N)",
        .arguments = subscribe_arguments,
    },
    {
        .name = "sunsubscribe",
        .arity = -1,
        .group = GROUP_PUBSUB,
        .class = COMMAND_CLASS_KEYS,
        .flags = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_PUBSUB | COMMAND_STALE,
        .keys =
            {{.begin = KEY_BEGIN_INDEX, .index = 1, .last = -1, .step = 1, .flags = KEY_NOT_KEY}},
        .handler = pubsub_command_sunsubscribe,
        .since = "7.0.0",
        .summary = "Stop listening to shard channels.",
        .complexity = "O(N)",
        .arguments = pubsub_shardnumsub_arguments,
    },
    {
        .name = "unsubscribe",
        .arity = -1,
        .group = GROUP_PUBSUB,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_PUBSUB | COMMAND_STALE,
        .handler = pubsub_command_unsubscribe,
        .since = "2.0.0",
        .summary = "Stop listening to channels.",
        .complexity = "O(N)",
        .arguments = pubsub_numsub_arguments,
    },
    COMMAND_END,
};

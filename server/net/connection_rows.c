#include "server/net/connection_internal.h"
#include "server/net/network.h"

static const struct argument ping_arguments[] = {
    {.name = "message", .kind = ARGUMENT_STRING, .is_optional = true},
    {.name = NULL},
};

static const char *const ping_tips[] = {"request_policy:all_shards",
                                        "response_policy:all_succeeded", NULL};

static const struct argument echo_arguments[] = {
    {.name = "message", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument select_arguments[] = {
    {.name = "index", .kind = ARGUMENT_INTEGER},
    {.name = NULL},
};

static const struct argument hello_arguments_username_password_arguments[] = {
    {.name = "username", .kind = ARGUMENT_STRING},
    {.name = "password", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument hello_arguments_arguments[] = {
    {.name = "protover", .kind = ARGUMENT_INTEGER},
    {.name = "username_password",
     .kind = ARGUMENT_BLOCK,
     .token = "AUTH",
     .is_optional = true,
     .children = hello_arguments_username_password_arguments},
    {.name = "clientname", .kind = ARGUMENT_STRING, .token = "SETNAME", .is_optional = true},
    {.name = NULL},
};

static const struct argument hello_arguments[] = {
    {.name = "arguments",
     .kind = ARGUMENT_BLOCK,
     .is_optional = true,
     .children = hello_arguments_arguments},
    {.name = NULL},
};

static const struct argument auth_arguments[] = {
    {.name = "username", .kind = ARGUMENT_STRING, .is_optional = true, .since = "6.0.0"},
    {.name = "password", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument client_setname_arguments[] = {
    {.name = "connection-name", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument client_setinfo_attr_arguments[] = {
    {.name = "libname", .kind = ARGUMENT_STRING, .token = "LIB-NAME"},
    {.name = "libver", .kind = ARGUMENT_STRING, .token = "LIB-VER"},
    {.name = NULL},
};

static const struct argument client_setinfo_arguments[] = {
    {.name = "attr", .kind = ARGUMENT_ONE_OF, .children = client_setinfo_attr_arguments},
    {.name = NULL},
};

static const char *const client_setinfo_tips[] = {"request_policy:all_nodes",
                                                  "response_policy:all_succeeded", NULL};

static const char *const client_info_tips[] = {"nondeterministic_output", NULL};

static const struct argument client_list_normal_master_replica_pubsub_arguments[] = {
    {.name = "normal", .kind = ARGUMENT_PURE_TOKEN, .token = "NORMAL"},
    {.name = "master", .kind = ARGUMENT_PURE_TOKEN, .token = "MASTER"},
    {.name = "replica", .kind = ARGUMENT_PURE_TOKEN, .token = "REPLICA"},
    {.name = "pubsub", .kind = ARGUMENT_PURE_TOKEN, .token = "PUBSUB"},
    {.name = NULL},
};

static const struct argument client_list_id_arguments[] = {
    {.name = "client-id", .kind = ARGUMENT_INTEGER, .is_multiple = true},
    {.name = NULL},
};

static const struct argument client_list_arguments[] = {
    {.name = "normal_master_replica_pubsub",
     .kind = ARGUMENT_ONE_OF,
     .token = "TYPE",
     .is_optional = true,
     .since = "5.0.0",
     .children = client_list_normal_master_replica_pubsub_arguments},
    {.name = "id",
     .kind = ARGUMENT_BLOCK,
     .token = "ID",
     .is_optional = true,
     .since = "6.2.0",
     .children = client_list_id_arguments},
    {.name = NULL},
};

static const char *const client_list_tips[] = {"nondeterministic_output", NULL};

static const struct argument client_kill_filter_new_format_normal_master_slave_pubsub_arguments[] =
    {
        {.name = "normal", .kind = ARGUMENT_PURE_TOKEN, .token = "NORMAL"},
        {.name = "master", .kind = ARGUMENT_PURE_TOKEN, .token = "MASTER", .since = "3.2.0"},
        {.name = "slave", .kind = ARGUMENT_PURE_TOKEN, .token = "SLAVE"},
        {.name = "replica", .kind = ARGUMENT_PURE_TOKEN, .token = "REPLICA", .since = "5.0.0"},
        {.name = "pubsub", .kind = ARGUMENT_PURE_TOKEN, .token = "PUBSUB"},
        {.name = NULL},
};

static const struct argument client_kill_filter_new_format_arguments[] = {
    {.name = "client-id",
     .kind = ARGUMENT_INTEGER,
     .token = "ID",
     .is_optional = true,
     .since = "2.8.12"},
    {.name = "normal_master_slave_pubsub",
     .kind = ARGUMENT_ONE_OF,
     .token = "TYPE",
     .is_optional = true,
     .since = "2.8.12",
     .children = client_kill_filter_new_format_normal_master_slave_pubsub_arguments},
    {.name = "username", .kind = ARGUMENT_STRING, .token = "USER", .is_optional = true},
    {.name = "ip:port", .kind = ARGUMENT_STRING, .token = "ADDR", .is_optional = true},
    {.name = "ip:port",
     .kind = ARGUMENT_STRING,
     .token = "LADDR",
     .is_optional = true,
     .since = "6.2.0"},
    {.name = "yes/no", .kind = ARGUMENT_STRING, .token = "SKIPME", .is_optional = true},
    {.name = NULL},
};

static const struct argument client_kill_filter_arguments[] = {
    {.name = "ip:port", .kind = ARGUMENT_STRING, .deprecated_since = "2.8.12"},
    {.name = "new-format",
     .kind = ARGUMENT_ONE_OF,
     .is_multiple = true,
     .children = client_kill_filter_new_format_arguments},
    {.name = NULL},
};

static const struct argument client_kill_arguments[] = {
    {.name = "filter", .kind = ARGUMENT_ONE_OF, .children = client_kill_filter_arguments},
    {.name = NULL},
};

static const struct argument client_no_evict_enabled_arguments[] = {
    {.name = "on", .kind = ARGUMENT_PURE_TOKEN, .token = "ON"},
    {.name = "off", .kind = ARGUMENT_PURE_TOKEN, .token = "OFF"},
    {.name = NULL},
};

static const struct argument client_no_evict_arguments[] = {
    {.name = "enabled", .kind = ARGUMENT_ONE_OF, .children = client_no_evict_enabled_arguments},
    {.name = NULL},
};

static const struct argument client_caching_mode_arguments[] = {
    {.name = "yes", .kind = ARGUMENT_PURE_TOKEN, .token = "YES"},
    {.name = "no", .kind = ARGUMENT_PURE_TOKEN, .token = "NO"},
    {.name = NULL},
};

static const struct argument client_caching_arguments[] = {
    {.name = "mode", .kind = ARGUMENT_ONE_OF, .children = client_caching_mode_arguments},
    {.name = NULL},
};

static const struct argument client_tracking_status_arguments[] = {
    {.name = "on", .kind = ARGUMENT_PURE_TOKEN, .token = "ON"},
    {.name = "off", .kind = ARGUMENT_PURE_TOKEN, .token = "OFF"},
    {.name = NULL},
};

static const struct argument client_tracking_arguments[] = {
    {.name = "status", .kind = ARGUMENT_ONE_OF, .children = client_tracking_status_arguments},
    {.name = "client-id", .kind = ARGUMENT_INTEGER, .token = "REDIRECT", .is_optional = true},
    {.name = "prefix",
     .kind = ARGUMENT_STRING,
     .token = "PREFIX",
     .is_optional = true,
     .is_multiple = true,
     .is_multiple_token = true},
    {.name = "bcast", .kind = ARGUMENT_PURE_TOKEN, .token = "BCAST", .is_optional = true},
    {.name = "optin", .kind = ARGUMENT_PURE_TOKEN, .token = "OPTIN", .is_optional = true},
    {.name = "optout", .kind = ARGUMENT_PURE_TOKEN, .token = "OPTOUT", .is_optional = true},
    {.name = "noloop", .kind = ARGUMENT_PURE_TOKEN, .token = "NOLOOP", .is_optional = true},
    {.name = NULL},
};

static const struct argument client_no_touch_enabled_arguments[] = {
    {.name = "on", .kind = ARGUMENT_PURE_TOKEN, .token = "ON"},
    {.name = "off", .kind = ARGUMENT_PURE_TOKEN, .token = "OFF"},
    {.name = NULL},
};

static const struct argument client_no_touch_arguments[] = {
    {.name = "enabled", .kind = ARGUMENT_ONE_OF, .children = client_no_touch_enabled_arguments},
    {.name = NULL},
};

static const struct argument client_reply_on_off_skip_arguments[] = {
    {.name = "on", .kind = ARGUMENT_PURE_TOKEN, .token = "ON"},
    {.name = "off", .kind = ARGUMENT_PURE_TOKEN, .token = "OFF"},
    {.name = "skip", .kind = ARGUMENT_PURE_TOKEN, .token = "SKIP"},
    {.name = NULL},
};

static const struct argument client_reply_arguments[] = {
    {.name = "on_off_skip",
     .kind = ARGUMENT_ONE_OF,
     .children = client_reply_on_off_skip_arguments},
    {.name = NULL},
};

static const struct argument client_pause_mode_arguments[] = {
    {.name = "write", .kind = ARGUMENT_PURE_TOKEN, .token = "WRITE"},
    {.name = "all", .kind = ARGUMENT_PURE_TOKEN, .token = "ALL"},
    {.name = NULL},
};

static const struct argument client_pause_arguments[] = {
    {.name = "timeout", .kind = ARGUMENT_INTEGER},
    {.name = "mode",
     .kind = ARGUMENT_ONE_OF,
     .is_optional = true,
     .since = "6.2.0",
     .children = client_pause_mode_arguments},
    {.name = NULL},
};

static const struct argument client_unblock_timeout_error_arguments[] = {
    {.name = "timeout", .kind = ARGUMENT_PURE_TOKEN, .token = "TIMEOUT"},
    {.name = "error", .kind = ARGUMENT_PURE_TOKEN, .token = "ERROR"},
    {.name = NULL},
};

static const struct argument client_unblock_arguments[] = {
    {.name = "client-id", .kind = ARGUMENT_INTEGER},
    {.name = "timeout_error",
     .kind = ARGUMENT_ONE_OF,
     .is_optional = true,
     .children = client_unblock_timeout_error_arguments},
    {.name = NULL},
};

static const struct command client_subcommands[] = {
    {
        .name = "getname",
        .arity = 2,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_getname,
        .container = "client",
        .since = "2.6.9",
        .summary = "Name previously given to this connection",
        .complexity = "O(1)",
    },
    {
        .name = "caching",
        .arity = 3,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_caching,
        .container = "client",
        .since = "6.0.0",
        .summary = "Say whether the next command's keys are tracked",
        .complexity = "O(1)",
        .arguments = client_caching_arguments,
    },
    {
        .name = "getredir",
        .arity = 2,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_getredir,
        .container = "client",
        .since = "6.0.0",
        .summary = "Who is told of changes in place of this connection",
        .complexity = "O(1)",
    },
    {
        .name = "tracking",
        .arity = -3,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_tracking,
        .classify = client_tracking_classify,
        .container = "client",
        .since = "6.0.0",
        .summary = "Be told of changes of keys that this connection may have copies of",
        .complexity = "O(1)",
        .arguments = client_tracking_arguments,
    },
    {
        .name = "trackinginfo",
        .arity = 2,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_trackinginfo,
        .container = "client",
        .since = "6.2.0",
        .summary = "How this connection is told of changes",
        .complexity = "O(1)",
    },
    {
        .name = "setname",
        .arity = 3,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_setname,
        .container = "client",
        .since = "2.6.9",
        .summary = "Give this connection a name",
        .complexity = "O(1)",
        .arguments = client_setname_arguments,
    },
    {
        .name = "setinfo",
        .arity = 4,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_setinfo,
        .container = "client",
        .since = "7.2.0",
        .summary = "Record client library name or version on the connection",
        .complexity = "O(1)",
        .arguments = client_setinfo_arguments,
        .tips = client_setinfo_tips,
    },
    {
        .name = "id",
        .arity = 2,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_id,
        .container = "client",
        .since = "5.0.0",
        .summary = "Unique number of this connection",
        .complexity = "O(1)",
    },
    {
        .name = "info",
        .arity = 2,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_info,
        .container = "client",
        .since = "6.2.0",
        .summary = "One description line about this connection",
        .complexity = "O(1)",
        .tips = client_info_tips,
    },
    {
        .name = "list",
        .arity = -2,
        .group = GROUP_CONNECTION,
        .flags = COMMAND_ADMIN | COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_list,
        .container = "client",
        .since = "2.4.0",
        .summary = "Description line for each connection, optionally filtered",
        .complexity = "O(N)",
        .arguments = client_list_arguments,
        .tips = client_list_tips,
    },
    {
        .name = "kill",
        .arity = -3,
        .group = GROUP_CONNECTION,
        .flags = COMMAND_ADMIN | COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_kill_command,
        .container = "client",
        .since = "2.4.0",
        .summary = "Close connections picked by address or by filters",
        .complexity = "O(N)",
        .arguments = client_kill_arguments,
    },
    {
        .name = "no-evict",
        .arity = 3,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_no_evict,
        .container = "client",
        .since = "7.0.0",
        .summary = "Exempt this connection from client memory eviction",
        .complexity = "O(1)",
        .arguments = client_no_evict_arguments,
    },
    {
        .name = "no-touch",
        .arity = 3,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_no_touch,
        .container = "client",
        .since = "7.2.0",
        .summary = "Stop this connection's reads from refreshing LRU/LFU data",
        .complexity = "O(1)",
        .arguments = client_no_touch_arguments,
    },
    {
        .name = "reply",
        .arity = 3,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_reply,
        .container = "client",
        .since = "3.2.0",
        .summary = "Turn replies on this connection on, off, or off for one command",
        .complexity = "O(1)",
        .arguments = client_reply_arguments,
    },
    {
        .name = "pause",
        .arity = -3,
        .group = GROUP_CONNECTION,
        .flags = COMMAND_ADMIN | COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_pause,
        .container = "client",
        .since = "2.9.50",
        .summary = "Hold back all or only writing commands for a while",
        .complexity = "O(1)",
        .arguments = client_pause_arguments,
    },
    {
        .name = "unpause",
        .arity = 2,
        .group = GROUP_CONNECTION,
        .flags = COMMAND_ADMIN | COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_unpause,
        .container = "client",
        .since = "6.2.0",
        .summary = "End a CLIENT PAUSE early",
        .complexity = "O(N)",
    },
    {
        .name = "unblock",
        .arity = -3,
        .group = GROUP_CONNECTION,
        .flags = COMMAND_ADMIN | COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_unblock,
        .container = "client",
        .since = "5.0.0",
        .summary = "Wake a connection blocked in another command",
        .complexity = "O(log N)",
        .arguments = client_unblock_arguments,
    },
    {
        .name = "help",
        .arity = 2,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = client_help,
        .container = "client",
        .since = "5.0.0",
        .summary = "Usage text for CLIENT",
        .complexity = "O(1)",
    },
    COMMAND_END,
};

const struct command connection_commands[] = {
    {
        .name = "ping",
        .arity = -1,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_FAST,
        .categories = CATEGORY_CONNECTION,
        .handler = connection_ping,
        .since = "1.0.0",
        .summary = "Liveness check, may echo a message",
        .complexity = "O(1)",
        .arguments = ping_arguments,
        .tips = ping_tips,
    },
    {
        .name = "echo",
        .arity = 2,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_FAST | COMMAND_LOADING | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = connection_echo,
        .since = "1.0.0",
        .summary = "Send the argument back",
        .complexity = "O(1)",
        .arguments = echo_arguments,
    },
    {
        .name = "select",
        .arity = 2,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_FAST | COMMAND_LOADING | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = connection_select,
        .since = "1.0.0",
        .summary = "Switch database",
        .complexity = "O(1)",
        .arguments = select_arguments,
    },
    {
        .name = "quit",
        .arity = -1,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ALLOW_BUSY | COMMAND_FAST | COMMAND_LOADING | COMMAND_NO_AUTH |
                 COMMAND_NO_SCRIPT | COMMAND_STALE | COMMAND_TRANSACTION,
        .categories = CATEGORY_CONNECTION,
        .handler = connection_quit,
        .since = "1.0.0",
        .summary = "Close the connection politely",
        .complexity = "O(1)",
    },
    {
        .name = "monitor",
        .arity = 1,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .handler = connection_monitor,
        .since = "1.0.0",
        .summary = "Show every command that runs to this connection.",
    },
    {
        .name = "reset",
        .arity = 1,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ALLOW_BUSY | COMMAND_FAST | COMMAND_LOADING | COMMAND_NO_AUTH |
                 COMMAND_NO_SCRIPT | COMMAND_STALE | COMMAND_TRANSACTION,
        .categories = CATEGORY_CONNECTION,
        .handler = connection_reset,
        .since = "6.2.0",
        .summary = "Bring the connection back to its initial state",
        .complexity = "O(1)",
    },
    {
        .name = "hello",
        .arity = -1,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ALLOW_BUSY | COMMAND_FAST | COMMAND_LOADING | COMMAND_NO_AUTH |
                 COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = connection_hello,
        .since = "6.0.0",
        .summary = "Negotiate the protocol version, optionally logging in and naming",
        .complexity = "O(1)",
        .arguments = hello_arguments,
    },
    {
        .name = "auth",
        .arity = -2,
        .group = GROUP_CONNECTION,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ALLOW_BUSY | COMMAND_FAST | COMMAND_LOADING | COMMAND_NO_AUTH |
                 COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_CONNECTION,
        .handler = connection_auth,
        .since = "1.0.0",
        .summary = "Log the connection in with a password, optionally as a named user",
        .complexity = "O(N)",
        .arguments = auth_arguments,
    },
    {
        .name = "client",
        .arity = -2,
        .group = GROUP_CONNECTION,
        .since = "2.4.0",
        .summary = "Parent of the connection management subcommands",
        .complexity = "depends",
        .subcommands = client_subcommands,
    },
    COMMAND_END,
};

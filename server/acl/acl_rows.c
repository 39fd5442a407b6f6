/* The rows of ACL. */
#include "server/acl/acl_internal.h"

enum {
    ANYBODY = COMMAND_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
    ADMINISTRATOR = ANYBODY | COMMAND_ADMIN,
};

static const struct argument cat_arguments[] = {
    {.name = "categoryname", .kind = ARGUMENT_STRING, .is_optional = true},
    {.name = NULL},
};

static const struct argument names_arguments[] = {
    {.name = "username", .kind = ARGUMENT_STRING, .is_multiple = true},
    {.name = NULL},
};

static const struct argument dryrun_arguments[] = {
    {.name = "username", .kind = ARGUMENT_STRING},
    {.name = "command", .kind = ARGUMENT_STRING},
    {.name = "arg", .kind = ARGUMENT_STRING, .is_optional = true, .is_multiple = true},
    {.name = NULL},
};

static const struct argument genpass_arguments[] = {
    {.name = "bits", .kind = ARGUMENT_INTEGER, .is_optional = true},
    {.name = NULL},
};

static const struct argument name_arguments[] = {
    {.name = "username", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument log_operation_arguments[] = {
    {.name = "count", .kind = ARGUMENT_INTEGER},
    {.name = "reset", .kind = ARGUMENT_PURE_TOKEN, .token = "RESET"},
    {.name = NULL},
};

static const struct argument log_arguments[] = {
    {.name = "operation",
     .kind = ARGUMENT_ONE_OF,
     .is_optional = true,
     .children = log_operation_arguments},
    {.name = NULL},
};

static const struct argument setuser_arguments[] = {
    {.name = "username", .kind = ARGUMENT_STRING},
    {.name = "rule", .kind = ARGUMENT_STRING, .is_optional = true, .is_multiple = true},
    {.name = NULL},
};

static const struct command_history getuser_history[] = {
    {"6.2.0", "Shows patterns of channels."},
    {"7.0.0", "Shows selectors, and patterns with their rights in one text."},
    {.version = NULL},
};

static const struct command_history log_history[] = {
    {"7.2.0", "Shows an id of each entry and when it was made and last changed."},
    {.version = NULL},
};

static const struct command_history setuser_history[] = {
    {"6.2.0", "Takes patterns of channels."},
    {"7.0.0", "Takes selectors and patterns of keys with rights."},
    {.version = NULL},
};

static const struct command acl_subcommands[] = {
    {
        .name = "cat",
        .container = "acl",
        .arity = -2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = ANYBODY,
        .handler = acl_command_cat,
        .since = "6.0.0",
        .summary = "Lists the categories of commands, or the commands of one",
        .complexity = "O(1), as there are so many commands",
        .arguments = cat_arguments,
    },
    {
        .name = "deluser",
        .container = "acl",
        .arity = -3,
        .group = GROUP_SERVER,
        .flags = ADMINISTRATOR,
        .handler = acl_command_deluser,
        .since = "6.0.0",
        .summary = "Deletes users and closes their connections",
        .complexity = "O(1) for each user, and O(N) for N connections",
        .arguments = names_arguments,
    },
    {
        .name = "dryrun",
        .container = "acl",
        .arity = -4,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = ADMINISTRATOR,
        .handler = acl_command_dryrun,
        .since = "7.0.0",
        .summary = "Says whether a user may run a command, without running it",
        .complexity = "O(1)",
        .arguments = dryrun_arguments,
    },
    {
        .name = "genpass",
        .container = "acl",
        .arity = -2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = ANYBODY,
        .handler = acl_command_genpass,
        .since = "6.0.0",
        .summary = "Makes a random password",
        .complexity = "O(1)",
        .arguments = genpass_arguments,
    },
    {
        .name = "getuser",
        .container = "acl",
        .arity = 3,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = ADMINISTRATOR,
        .handler = acl_command_getuser,
        .since = "6.0.0",
        .summary = "Shows a user's rules",
        .complexity = "O(N), when N is the number of rules",
        .arguments = name_arguments,
        .history = getuser_history,
    },
    {
        .name = "help",
        .container = "acl",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .handler = acl_command_help,
        .since = "6.0.0",
        .summary = "Usage text for ACL",
        .complexity = "O(1)",
    },
    {
        .name = "list",
        .container = "acl",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = ADMINISTRATOR,
        .handler = acl_command_list,
        .since = "6.0.0",
        .summary = "Shows all users with their rules, as files have them",
        .complexity = "O(N), when N is the number of users",
    },
    {
        .name = "load",
        .container = "acl",
        .arity = 2,
        .group = GROUP_SERVER,
        .flags = ADMINISTRATOR,
        .handler = acl_command_load,
        .since = "6.0.0",
        .summary = "Reads the users from the ACL file again",
        .complexity = "O(N), when N is the number of users",
    },
    {
        .name = "log",
        .container = "acl",
        .arity = -2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = ADMINISTRATOR,
        .handler = acl_command_log,
        .since = "6.0.0",
        .summary = "Shows what was denied, or forgets it",
        .complexity = "O(N), when N is the number of entries shown",
        .arguments = log_arguments,
        .history = log_history,
    },
    {
        .name = "save",
        .container = "acl",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = ADMINISTRATOR,
        .handler = acl_command_save,
        .since = "6.0.0",
        .summary = "Writes all users to the ACL file",
        .complexity = "O(N), when N is the number of users",
    },
    {
        .name = "setuser",
        .container = "acl",
        .arity = -3,
        .group = GROUP_SERVER,
        .flags = ADMINISTRATOR,
        .handler = acl_command_setuser,
        .since = "6.0.0",
        .summary = "Creates a user, or changes one, by rules from left to right",
        .complexity = "O(N), when N is the number of rules, and O(M) for M connections",
        .arguments = setuser_arguments,
        .history = setuser_history,
    },
    {
        .name = "users",
        .container = "acl",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = ADMINISTRATOR,
        .handler = acl_command_users,
        .since = "6.0.0",
        .summary = "Names of all users",
        .complexity = "O(N), when N is the number of users",
    },
    {
        .name = "whoami",
        .container = "acl",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = ANYBODY,
        .handler = acl_command_whoami,
        .since = "6.0.0",
        .summary = "Name of this connection's user",
        .complexity = "O(1)",
    },
    COMMAND_END,
};

const struct command acl_commands[] = {
    {
        .name = "acl",
        .arity = -2,
        .group = GROUP_SERVER,
        .since = "6.0.0",
        .summary = "Parent of the subcommands about users and their rights",
        .complexity = "depends",
        .subcommands = acl_subcommands,
    },
    COMMAND_END,
};

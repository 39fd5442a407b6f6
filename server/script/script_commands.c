/* EVAL and its like, and SCRIPT. */
#include "server/command/dispatch.h"
#include "server/script/script_internal.h"

/* -- EVAL, EVALSHA -- */

bool script_parse_key_count(struct command_context *context, const char *not_a_number,
                            uint32_t *out) {
    int64_t count = 0;
    if (!context_integer(context, 2, &count, not_a_number)) return false;
    if (count > (int64_t)context->argc - 3) {
        reply_error(context->reply, "ERR Number of keys can't be greater than number of args");
        return false;
    }
    if (count < 0) {
        reply_error(context->reply, "ERR Number of keys can't be negative");
        return false;
    }
    *out = (uint32_t)count;
    return true;
}

/* What admission would say of a command that may write: its flags are those of what it runs. */
static const char *refusal_of_node(const struct command_context *context, uint32_t flags) {
    const struct dispatcher *dispatcher = context->modules->dispatcher;
    uint32_t admission = dispatcher_admission(dispatcher);
    bool may_write = (flags & SCRIPT_HAS_LINE) != 0 && (flags & SCRIPT_NO_WRITES) == 0;
    if (may_write && (flags & SCRIPT_ALLOW_OOM) == 0 && dispatch_is_out_of_memory(context->worker))
        return "OOM command not allowed when used memory > 'maxmemory'.";
    if (may_write && (admission & (ADMISSION_DISK_ERROR | ADMISSION_LOG_ERROR)) != 0)
        return dispatch_disk_error(dispatcher);
    if (may_write && (admission & ADMISSION_FEW_REPLICAS) != 0)
        return "NOREPLICAS Not enough good replicas to write.";
    if (may_write && (admission & ADMISSION_READ_ONLY) != 0)
        return "READONLY You can't write against a read only replica.";
    if ((admission & ADMISSION_STALE) != 0 && (flags & SCRIPT_ALLOW_STALE) == 0)
        return "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    return NULL;
}

/* NULL, or why what has these flags may not begin now. */
static const char *refusal(const struct command_context *context, uint32_t flags) {
    bool may_write = (flags & SCRIPT_HAS_LINE) != 0 && (flags & SCRIPT_NO_WRITES) == 0;
    const char *refused = context->is_from_primary ? NULL : refusal_of_node(context, flags);
    if (refused != NULL) return refused;
    if ((flags & SCRIPT_NO_CLUSTER) != 0 && context->modules->cluster != NULL)
        return "ERR Can not run script on cluster, 'no-cluster' flag is set.";
    if (may_write && (context->command->flags & COMMAND_READONLY) != 0)
        return "ERR Can not execute a script with write flag using *_ro command.";
    return NULL;
}

void script_run_admitted(struct command_context *context, const struct script_call *call) {
    const char *refused = refusal(context, call->flags);
    if (refused == NULL) {
        script_run(context, call);
        return;
    }
    lua_pop(call->interpreter->lua, 1);
    reply_error(context->reply, refused);
}

/* The function lies on Lua's stack. */
static void run(struct command_context *context, const char *sha1, uint32_t flags,
                uint32_t key_count) {
    script_run_admitted(context, &(struct script_call){
                                     .interpreter = &context->modules->scripts->interpreter,
                                     .name = sha1,
                                     .flags = flags,
                                     .key_count = key_count,
                                 });
}

static void eval(struct command_context *context) {
    uint32_t key_count = 0;
    uint32_t flags = 0;
    char sha1[SHA1_TEXT + 1];
    if (!script_parse_key_count(context, NULL, &key_count)) return;
    script_sha1(context->argv[1], sha1);
    if (script_load(context, context->argv[1], sha1, &flags)) run(context, sha1, flags, key_count);
}

static void evalsha(struct command_context *context) {
    uint32_t key_count = 0;
    uint32_t flags = 0;
    char sha1[SHA1_TEXT + 1] = "";
    if (!script_parse_key_count(context, NULL, &key_count)) return;
    if (context->argv[1].len == SHA1_TEXT) bytes_lower(context->argv[1], sha1);
    if (sha1[0] == '\0' || !script_find(context->modules->scripts, sha1, &flags)) {
        reply_error(context->reply, "NOSCRIPT No matching script. Please use EVAL.");
        return;
    }
    run(context, sha1, flags, key_count);
}

/* -- SCRIPT -- */

static void script_load_command(struct command_context *context) {
    char sha1[SHA1_TEXT + 1];
    uint32_t flags = 0;
    script_sha1(context->argv[2], sha1);
    if (!script_load(context, context->argv[2], sha1, &flags)) return;
    lua_pop(context->modules->scripts->interpreter.lua, 1);
    reply_bulk_text(context->reply, sha1);
}

static void script_exists(struct command_context *context) {
    struct scripts *scripts = context->modules->scripts;
    reply_array(context->reply, context->argc - 2);
    for (uint32_t i = 2; i < context->argc; i++) {
        char sha1[SHA1_TEXT + 1] = "";
        uint32_t flags = 0;
        bool is_there = false;
        if (context->argv[i].len == SHA1_TEXT) {
            bytes_lower(context->argv[i], sha1);
            is_there = script_find(scripts, sha1, &flags);
        }
        if (is_there) lua_pop(scripts->interpreter.lua, 1);
        reply_integer(context->reply, is_there);
    }
}

static void script_flush(struct command_context *context) {
    bool is_fine =
        context->argc == 2 || (context->argc == 3 && (context_argument_is(context, 2, "SYNC") ||
                                                      context_argument_is(context, 2, "ASYNC")));
    if (!is_fine) {
        reply_error(context->reply, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
        return;
    }
    scripts_flush(context->modules->scripts);
    reply_ok(context->reply);
}

static void script_kill_command(struct command_context *context) {
    script_kill(context, false);
}

static void script_debug(struct command_context *context) {
    if (context_argument_is(context, 2, "NO")) {
        reply_ok(context->reply);
    } else if (context_argument_is(context, 2, "YES") || context_argument_is(context, 2, "SYNC")) {
        reply_error(context->reply, "ERR This server has no debugger for scripts");
    } else {
        reply_error(context->reply, "ERR Use SCRIPT DEBUG YES/SYNC/NO");
    }
}

static void script_help(struct command_context *context) {
    static const char *const lines[] = {
        "DEBUG (YES|SYNC|NO)",
        "    The debugger for the next EVAL; there is none, so NO.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Which of these scripts are kept.",
        "FLUSH [ASYNC|SYNC]",
        "    Forget all scripts.",
        "KILL",
        "    Stop the script that runs, if it has written nothing.",
        "LOAD <script>",
        "    Compile and keep a script, without running it.",
        NULL,
    };
    context_help(context, lines);
}

/* -- rows -- */

static const struct argument eval_arguments[] = {
    {.name = "script", .kind = ARGUMENT_STRING},
    {.name = "numkeys", .kind = ARGUMENT_INTEGER},
    {.name = "key", .kind = ARGUMENT_KEY, .is_optional = true, .is_multiple = true},
    {.name = "arg", .kind = ARGUMENT_STRING, .is_optional = true, .is_multiple = true},
    {.name = NULL},
};

static const struct argument evalsha_arguments[] = {
    {.name = "sha1", .kind = ARGUMENT_STRING},
    {.name = "numkeys", .kind = ARGUMENT_INTEGER},
    {.name = "key", .kind = ARGUMENT_KEY, .is_optional = true, .is_multiple = true},
    {.name = "arg", .kind = ARGUMENT_STRING, .is_optional = true, .is_multiple = true},
    {.name = NULL},
};

static const struct argument debug_modes[] = {
    {.name = "yes", .kind = ARGUMENT_PURE_TOKEN, .token = "YES"},
    {.name = "sync", .kind = ARGUMENT_PURE_TOKEN, .token = "SYNC"},
    {.name = "no", .kind = ARGUMENT_PURE_TOKEN, .token = "NO"},
    {.name = NULL},
};

static const struct argument debug_arguments[] = {
    {.name = "mode", .kind = ARGUMENT_ONE_OF, .children = debug_modes},
    {.name = NULL},
};

static const struct argument exists_arguments[] = {
    {.name = "sha1", .kind = ARGUMENT_STRING, .is_multiple = true},
    {.name = NULL},
};

static const struct argument flush_ways[] = {
    {.name = "async", .kind = ARGUMENT_PURE_TOKEN, .token = "ASYNC"},
    {.name = "sync", .kind = ARGUMENT_PURE_TOKEN, .token = "SYNC"},
    {.name = NULL},
};

static const struct argument flush_arguments[] = {
    {.name = "async",
     .kind = ARGUMENT_ONE_OF,
     .is_optional = true,
     .since = "6.2.0",
     .children = flush_ways},
    {.name = NULL},
};

static const struct command_history flush_history[] = {
    {"6.2.0", "Added the ASYNC and SYNC options."},
    {NULL, NULL},
};

static const struct argument load_arguments[] = {
    {.name = "script", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const char *const exists_tips[] = {"request_policy:all_shards",
                                          "response_policy:agg_logical_and", NULL};
static const char *const everywhere_tips[] = {"request_policy:all_nodes",
                                              "response_policy:all_succeeded", NULL};
static const char *const kill_tips[] = {"request_policy:all_shards",
                                        "response_policy:one_succeeded", NULL};

static const struct command subcommands[] = {
    {
        .name = "debug",
        .container = "script",
        .arity = 3,
        .group = GROUP_SCRIPTING,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_NO_SCRIPT,
        .categories = CATEGORY_SCRIPTING,
        .handler = script_debug,
        .since = "3.2.0",
        .summary = "The debugger for the next EVAL.",
        .complexity = "O(1)",
        .arguments = debug_arguments,
    },
    {
        .name = "exists",
        .container = "script",
        .arity = -3,
        .group = GROUP_SCRIPTING,
        .flags = COMMAND_NO_SCRIPT,
        .categories = CATEGORY_SCRIPTING,
        .handler = script_exists,
        .since = "2.6.0",
        .summary = "Which scripts are kept.",
        .complexity = "O(N)",
        .arguments = exists_arguments,
        .tips = exists_tips,
    },
    {
        .name = "flush",
        .container = "script",
        .arity = -2,
        .group = GROUP_SCRIPTING,
        .flags = COMMAND_NO_SCRIPT,
        .categories = CATEGORY_SCRIPTING,
        .handler = script_flush,
        .since = "2.6.0",
        .summary = "Forgets all scripts.",
        .complexity = "O(N)",
        .arguments = flush_arguments,
        .history = flush_history,
        .tips = everywhere_tips,
    },
    {
        .name = "help",
        .container = "script",
        .arity = 2,
        .group = GROUP_SCRIPTING,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .categories = CATEGORY_SCRIPTING,
        .handler = script_help,
        .since = "5.0.0",
        .summary = "Usage of SCRIPT.",
        .complexity = "O(1)",
    },
    {
        .name = "kill",
        .container = "script",
        .arity = 2,
        .group = GROUP_SCRIPTING,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ALLOW_BUSY | COMMAND_NO_SCRIPT,
        .categories = CATEGORY_SCRIPTING,
        .handler = script_kill_command,
        .since = "2.6.0",
        .summary = "Stops the script that runs, if it has written nothing.",
        .complexity = "O(1)",
        .tips = kill_tips,
    },
    {
        .name = "load",
        .container = "script",
        .arity = 3,
        .group = GROUP_SCRIPTING,
        .flags = COMMAND_NO_SCRIPT | COMMAND_STALE,
        .categories = CATEGORY_SCRIPTING,
        .handler = script_load_command,
        .since = "2.6.0",
        .summary = "Keeps a script and answers its SHA1.",
        .complexity = "O(N)",
        .arguments = load_arguments,
        .tips = everywhere_tips,
    },
    COMMAND_END,
};

const struct command script_commands[] = {
    {
        .name = "eval",
        .arity = -3,
        .group = GROUP_SCRIPTING,
        .flags = SCRIPT_COMMAND_FLAGS | COMMAND_MAY_REPLICATE,
        .categories = CATEGORY_SCRIPTING,
        .keys = SCRIPT_KEYS(KEY_RW | KEY_ACCESS | KEY_UPDATE, SCRIPT_UNKNOWN_USE "RW and UPDATE"),
        .handler = eval,
        .since = "2.6.0",
        .summary = "Runs a Lua script.",
        .complexity = "Depends on the script.",
        .arguments = eval_arguments,
    },
    {
        .name = "eval_ro",
        .arity = -3,
        .group = GROUP_SCRIPTING,
        .flags = SCRIPT_COMMAND_FLAGS | COMMAND_READONLY,
        .categories = CATEGORY_SCRIPTING,
        .keys = SCRIPT_KEYS(KEY_RO | KEY_ACCESS, SCRIPT_UNKNOWN_USE "RO and ACCESS"),
        .handler = eval,
        .since = "7.0.0",
        .summary = "Runs a Lua script that may only read.",
        .complexity = "Depends on the script.",
        .arguments = eval_arguments,
    },
    {
        .name = "evalsha",
        .arity = -3,
        .group = GROUP_SCRIPTING,
        .flags = SCRIPT_COMMAND_FLAGS | COMMAND_MAY_REPLICATE,
        .categories = CATEGORY_SCRIPTING,
        .keys = SCRIPT_KEYS(KEY_RW | KEY_ACCESS | KEY_UPDATE, NULL),
        .handler = evalsha,
        .since = "2.6.0",
        .summary = "Runs a kept script.",
        .complexity = "Depends on the script.",
        .arguments = evalsha_arguments,
    },
    {
        .name = "evalsha_ro",
        .arity = -3,
        .group = GROUP_SCRIPTING,
        .flags = SCRIPT_COMMAND_FLAGS | COMMAND_READONLY,
        .categories = CATEGORY_SCRIPTING,
        .keys = SCRIPT_KEYS(KEY_RO | KEY_ACCESS, NULL),
        .handler = evalsha,
        .since = "7.0.0",
        .summary = "Runs a kept script that may only read.",
        .complexity = "Depends on the script.",
        .arguments = evalsha_arguments,
    },
    {
        .name = "script",
        .arity = -2,
        .group = GROUP_SCRIPTING,
        .since = "2.6.0",
        .summary = "Parent of the script cache's subcommands.",
        .complexity = "Depends on the subcommand.",
        .subcommands = subcommands,
    },
    COMMAND_END,
};

/* FCALL, FCALL_RO and FUNCTION. */
#include <string.h>

#include "server/base/clock.h"
#include "server/base/glob.h"
#include "server/command/dispatch.h"
#include "server/rdb/rdb_dump.h"
#include "server/rdb/rdb_writer.h"
#include "server/script/script_internal.h"

/* What is restored was loaded once: it gets more time, on a machine that may be slower. */
enum { LOAD_LIMIT_MS = 500, RESTORE_LIMIT_MS = 5000 };

/* -- FCALL -- */

static void fcall(struct command_context *context) {
    const struct libraries *libraries = context->modules->scripts->libraries;
    const struct function *function = libraries_find_function(libraries, context->argv[1]);
    struct script_call call = {.is_function = true};
    if (function == NULL) {
        reply_error(context->reply, "ERR Function not found");
        return;
    }
    if (!script_parse_key_count(context, "ERR Bad number of keys provided", &call.key_count))
        return;
    call.interpreter = &function->library->interpreter;
    call.name = function->name;
    call.flags = function->flags;
    lua_rawgeti(call.interpreter->lua, LUA_REGISTRYINDEX, function->reference);
    script_run_admitted(context, &call);
}

/* -- FUNCTION: what changes libraries. It is propagated as it came. -- */

static void reply_reason(struct command_context *context, const struct buffer *error) {
    reply_error_format(context->reply, "ERR %.*s", (int)error->len, (const char *)error->data);
}

static void libraries_changed(struct command_context *context) {
    scripts_note_libraries(context->modules->scripts);
    context->changes++;
}

static uint64_t limit_of(const struct command_context *context, uint64_t limit_ms) {
    bool is_client = context->session->kind == SESSION_NORMAL && !context->is_from_primary;
    return is_client ? limit_ms : ACCEPTED_LIMIT_MS;
}

static void function_load(struct command_context *context) {
    uint32_t last = context->argc - 1;
    enum library_clash clash = LIBRARY_CLASH_FAILS;
    for (uint32_t i = 2; i < last; i++) {
        if (!context_argument_is(context, i, "REPLACE")) {
            reply_error_format(context->reply, "ERR Unknown option given: %.*s",
                               (int)(context->argv[i].len < 128 ? context->argv[i].len : 128),
                               (const char *)context->argv[i].data);
            return;
        }
        clash = LIBRARY_CLASH_REPLACES;
    }
    struct buffer error = {0};
    char *name = NULL;
    if (libraries_add(context->modules->scripts->libraries, context->argv[last], clash,
                      limit_of(context, LOAD_LIMIT_MS), &name, &error)) {
        libraries_changed(context);
        reply_bulk_text(context->reply, name);
    } else {
        reply_reason(context, &error);
    }
    buffer_deinit(&error);
}

static void function_delete(struct command_context *context) {
    if (!libraries_remove(context->modules->scripts->libraries, context->argv[2])) {
        reply_error(context->reply, "ERR Library not found");
        return;
    }
    libraries_changed(context);
    reply_ok(context->reply);
}

static void destroy_job(void *arg) {
    libraries_destroy(arg);
}

static void replace_libraries(struct command_context *context, struct libraries *taken,
                              bool is_lazy) {
    struct scripts *scripts = context->modules->scripts;
    if (is_lazy) {
        struct libraries *old = scripts->libraries;
        scripts->libraries = libraries_create(scripts);
        databases_defer(context->databases, destroy_job, old);
    }
    scripts_adopt_libraries(scripts, taken);
    libraries_changed(context);
}

/* "unknown subcommand or wrong number of arguments" */
static void reply_misuse(struct command_context *context) {
    char name[16];
    bytes_to_text(context->argv[1], name, sizeof(name));
    reply_error_format(context->reply,
                       "ERR unknown subcommand or wrong number of arguments for '%s'. Try "
                       "FUNCTION HELP.",
                       name);
}

static void function_flush(struct command_context *context) {
    bool is_lazy = context->types->lazy_user_flush;
    if (context->argc > 3) {
        reply_misuse(context);
        return;
    }
    if (context->argc == 3) {
        is_lazy = context_argument_is(context, 2, "ASYNC");
        if (!is_lazy && !context_argument_is(context, 2, "SYNC")) {
            reply_error(context->reply, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
            return;
        }
    }
    replace_libraries(context, libraries_create(context->modules->scripts), is_lazy);
    reply_ok(context->reply);
}

enum restore_policy { RESTORE_APPEND, RESTORE_FLUSH, RESTORE_REPLACE };

static bool parse_policy(struct command_context *context, enum restore_policy *out) {
    *out = RESTORE_APPEND;
    if (context->argc > 4) {
        reply_misuse(context);
        return false;
    }
    if (context->argc == 3 || context_argument_is(context, 3, "APPEND")) return true;
    *out = context_argument_is(context, 3, "FLUSH") ? RESTORE_FLUSH : RESTORE_REPLACE;
    if (*out == RESTORE_FLUSH || context_argument_is(context, 3, "REPLACE")) return true;
    reply_error(context->reply, "ERR Wrong restore policy given, value should be either FLUSH, "
                                "APPEND or REPLACE.");
    return false;
}

/* Everything in `restored`, which is taken, or nothing. */
static bool put_restored(struct command_context *context, struct libraries *restored,
                         enum restore_policy policy, struct buffer *error) {
    struct libraries *libraries = context->modules->scripts->libraries;
    if (policy == RESTORE_FLUSH) {
        replace_libraries(context, restored, false);
        return true;
    }
    enum library_clash clash =
        policy == RESTORE_REPLACE ? LIBRARY_CLASH_REPLACES : LIBRARY_CLASH_FAILS;
    bool is_fine = libraries_join(libraries, restored, clash, error);
    libraries_destroy(restored);
    if (is_fine) libraries_changed(context);
    return is_fine;
}

static void function_restore(struct command_context *context) {
    struct bytes content;
    enum restore_policy policy;
    struct buffer error = {0};
    if (!parse_policy(context, &policy)) return;
    if (rdb_dump_open(context->argv[2], &content) != STATUS_OK) {
        reply_error(context->reply, "ERR DUMP payload version or checksum are wrong");
        return;
    }
    struct libraries *restored = libraries_create(context->modules->scripts);
    bool is_fine =
        libraries_read_dump(restored, content, limit_of(context, RESTORE_LIMIT_MS), &error);
    if (!is_fine) libraries_destroy(restored);
    if (is_fine && put_restored(context, restored, policy, &error)) {
        reply_ok(context->reply);
    } else {
        reply_reason(context, &error);
    }
    buffer_deinit(&error);
}

/* -- FUNCTION: what tells of them -- */

static void function_dump(struct command_context *context) {
    const struct libraries *libraries = context->modules->scripts->libraries;
    struct rdb_writer writer;
    rdb_writer_init(&writer,
                    &(struct rdb_writer_options){.has_checksum = true, .is_compressing = true});
    for (uint32_t i = 0; i < libraries->count; i++)
        rdb_write_function(&writer, libraries->items[i]->source);
    rdb_write_dump_footer(&writer);
    reply_bulk(context->reply, buffer_view(&writer.buffer));
    rdb_writer_deinit(&writer);
}

static void reply_function(struct reply *reply, const struct function *function) {
    reply_map(reply, 3);
    reply_bulk_text(reply, "name");
    reply_bulk_text(reply, function->name);
    reply_bulk_text(reply, "description");
    if (function->description.data == NULL) {
        reply_null(reply);
    } else {
        reply_bulk(reply, function->description);
    }
    reply_bulk_text(reply, "flags");
    uint32_t flag = 0;
    size_t count = 0;
    const char *name = NULL;
    size_t mark = reply_begin(reply);
    for (uint32_t i = 0; (name = script_flag_name(i, &flag)) != NULL; i++) {
        if ((function->flags & flag) == 0) continue;
        reply_simple(reply, name);
        count++;
    }
    reply_end_set(reply, mark, count);
}

static void reply_library(struct reply *reply, const struct library *library, bool has_code) {
    reply_map(reply, has_code ? 4 : 3);
    reply_bulk_text(reply, "library_name");
    reply_bulk_text(reply, library->name);
    reply_bulk_text(reply, "engine");
    reply_bulk_text(reply, "LUA");
    reply_bulk_text(reply, "functions");
    reply_array(reply, library->count);
    for (uint32_t i = 0; i < library->count; i++)
        reply_function(reply, library->functions[i]);
    if (!has_code) return;
    reply_bulk_text(reply, "library_code");
    reply_bulk(reply, library->source);
}

/* pattern: data is NULL when none was given. */
static bool parse_list(struct command_context *context, struct bytes *pattern, bool *has_code) {
    for (uint32_t i = 2; i < context->argc; i++) {
        if (!*has_code && context_argument_is(context, i, "WITHCODE")) {
            *has_code = true;
        } else if (pattern->data == NULL && context_argument_is(context, i, "LIBRARYNAME")) {
            if (++i == context->argc) {
                reply_error(context->reply, "ERR library name argument was not given");
                return false;
            }
            *pattern = context->argv[i];
        } else {
            reply_error_format(context->reply, "ERR Unknown argument %.*s",
                               (int)(context->argv[i].len < 128 ? context->argv[i].len : 128),
                               (const char *)context->argv[i].data);
            return false;
        }
    }
    return true;
}

static void function_list(struct command_context *context) {
    const struct libraries *libraries = context->modules->scripts->libraries;
    struct bytes pattern = {0};
    bool has_code = false;
    size_t count = 0;
    if (!parse_list(context, &pattern, &has_code)) return;
    size_t mark = reply_begin(context->reply);
    for (uint32_t i = 0; i < libraries->count; i++) {
        const struct library *library = libraries->items[i];
        if (pattern.data != NULL && !glob_matches(pattern, bytes_of_text(library->name), true))
            continue;
        reply_library(context->reply, library, has_code);
        count++;
    }
    reply_end_array(context->reply, mark, count);
}

static void reply_running(struct reply *reply, const struct script_run *run) {
    const struct command_context *outer = run->scripted.outer;
    reply_map(reply, 3);
    reply_bulk_text(reply, "name");
    reply_bulk_text(reply, run->call->name);
    reply_bulk_text(reply, "command");
    reply_array(reply, outer->argc);
    for (uint32_t i = 0; i < outer->argc; i++)
        reply_bulk(reply, outer->argv[i]);
    reply_bulk_text(reply, "duration_ms");
    reply_integer(reply, (int64_t)(clock_monotonic_ms() - run->began_ms));
}

static void function_stats(struct command_context *context) {
    const struct scripts *scripts = context->modules->scripts;
    struct reply *reply = context->reply;
    struct script_figures figures;
    if (scripts->run != NULL && !scripts->run->call->is_function) {
        reply_error(reply, script_busy_text(scripts->run));
        return;
    }
    scripts_read_figures(scripts, &figures);
    reply_map(reply, 2);
    reply_bulk_text(reply, "running_script");
    if (scripts->run == NULL) {
        reply_null(reply);
    } else {
        reply_running(reply, scripts->run);
    }
    reply_bulk_text(reply, "engines");
    reply_map(reply, 1);
    reply_bulk_text(reply, "LUA");
    reply_map(reply, 2);
    reply_bulk_text(reply, "libraries_count");
    reply_integer(reply, (int64_t)figures.libraries);
    reply_bulk_text(reply, "functions_count");
    reply_integer(reply, (int64_t)figures.functions);
}

static void function_kill(struct command_context *context) {
    script_kill(context, true);
}

static void function_help(struct command_context *context) {
    static const char *const lines[] = {
        "DELETE <library-name>",
        "    Delete a library.",
        "DUMP",
        "    All libraries as a payload for FUNCTION RESTORE.",
        "FLUSH [ASYNC|SYNC]",
        "    Delete all libraries. Without the option, lazyfree-lazy-user-flush says how.",
        "KILL",
        "    Stop the function that runs, if it has written nothing.",
        "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
        "    The libraries (whose name matches the pattern) with their functions.",
        "LOAD [REPLACE] <code>",
        "    Load a library; its first line is '#!lua name=<library-name>'.",
        "RESTORE <payload> [FLUSH|APPEND|REPLACE]",
        "    Load what FUNCTION DUMP gave: instead of all libraries (FLUSH), beside them (APPEND,",
        "    which is the default), or in place of those of the same names (REPLACE).",
        "STATS",
        "    The function that runs, and how many libraries and functions there are.",
        NULL,
    };
    context_help(context, lines);
}

/* -- rows -- */

static const struct argument fcall_arguments[] = {
    {.name = "function", .kind = ARGUMENT_STRING},
    {.name = "numkeys", .kind = ARGUMENT_INTEGER},
    {.name = "key", .kind = ARGUMENT_KEY, .is_optional = true, .is_multiple = true},
    {.name = "arg", .kind = ARGUMENT_STRING, .is_optional = true, .is_multiple = true},
    {.name = NULL},
};

static const struct argument delete_arguments[] = {
    {.name = "library-name", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument flush_ways[] = {
    {.name = "async", .kind = ARGUMENT_PURE_TOKEN, .token = "ASYNC"},
    {.name = "sync", .kind = ARGUMENT_PURE_TOKEN, .token = "SYNC"},
    {.name = NULL},
};

static const struct argument flush_arguments[] = {
    {.name = "async", .kind = ARGUMENT_ONE_OF, .is_optional = true, .children = flush_ways},
    {.name = NULL},
};

static const struct argument list_arguments[] = {
    {.name = "library-name-pattern",
     .kind = ARGUMENT_STRING,
     .token = "LIBRARYNAME",
     .is_optional = true},
    {.name = "withcode", .kind = ARGUMENT_PURE_TOKEN, .token = "WITHCODE", .is_optional = true},
    {.name = NULL},
};

static const struct argument load_arguments[] = {
    {.name = "replace", .kind = ARGUMENT_PURE_TOKEN, .token = "REPLACE", .is_optional = true},
    {.name = "function-code", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument restore_policies[] = {
    {.name = "flush", .kind = ARGUMENT_PURE_TOKEN, .token = "FLUSH"},
    {.name = "append", .kind = ARGUMENT_PURE_TOKEN, .token = "APPEND"},
    {.name = "replace", .kind = ARGUMENT_PURE_TOKEN, .token = "REPLACE"},
    {.name = NULL},
};

static const struct argument restore_arguments[] = {
    {.name = "serialized-value", .kind = ARGUMENT_STRING},
    {.name = "policy", .kind = ARGUMENT_ONE_OF, .is_optional = true, .children = restore_policies},
    {.name = NULL},
};

static const char *const everywhere_tips[] = {"request_policy:all_shards",
                                              "response_policy:all_succeeded", NULL};
static const char *const kill_tips[] = {"request_policy:all_shards",
                                        "response_policy:one_succeeded", NULL};
static const char *const list_tips[] = {"nondeterministic_output_order", NULL};
static const char *const stats_tips[] = {"nondeterministic_output", "request_policy:all_shards",
                                         "response_policy:special", NULL};

static const struct command subcommands[] = {
    {
        .name = "delete",
        .container = "function",
        .arity = 3,
        .group = GROUP_SCRIPTING,
        .flags = COMMAND_WRITE | COMMAND_NO_SCRIPT,
        .categories = CATEGORY_SCRIPTING,
        .handler = function_delete,
        .since = "7.0.0",
        .summary = "Deletes a library.",
        .complexity = "O(1)",
        .arguments = delete_arguments,
        .tips = everywhere_tips,
    },
    {
        .name = "dump",
        .container = "function",
        .arity = 2,
        .group = GROUP_SCRIPTING,
        .flags = COMMAND_NO_SCRIPT,
        .categories = CATEGORY_SCRIPTING,
        .handler = function_dump,
        .since = "7.0.0",
        .summary = "Answers all libraries as a payload.",
        .complexity = "O(N)",
    },
    {
        .name = "flush",
        .container = "function",
        .arity = -2,
        .group = GROUP_SCRIPTING,
        .flags = COMMAND_WRITE | COMMAND_NO_SCRIPT,
        .categories = CATEGORY_SCRIPTING,
        .handler = function_flush,
        .since = "7.0.0",
        .summary = "Deletes all libraries.",
        .complexity = "O(N)",
        .arguments = flush_arguments,
        .tips = everywhere_tips,
    },
    {
        .name = "help",
        .container = "function",
        .arity = 2,
        .group = GROUP_SCRIPTING,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .categories = CATEGORY_SCRIPTING,
        .handler = function_help,
        .since = "7.0.0",
        .summary = "Usage of FUNCTION.",
        .complexity = "O(1)",
    },
    {
        .name = "kill",
        .container = "function",
        .arity = 2,
        .group = GROUP_SCRIPTING,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ALLOW_BUSY | COMMAND_NO_SCRIPT,
        .categories = CATEGORY_SCRIPTING,
        .handler = function_kill,
        .since = "7.0.0",
        .summary = "Stops the function that runs, if it has written nothing.",
        .complexity = "O(1)",
        .tips = kill_tips,
    },
    {
        .name = "list",
        .container = "function",
        .arity = -2,
        .group = GROUP_SCRIPTING,
        .flags = COMMAND_NO_SCRIPT,
        .categories = CATEGORY_SCRIPTING,
        .handler = function_list,
        .since = "7.0.0",
        .summary = "Tells of the libraries and their functions.",
        .complexity = "O(N)",
        .arguments = list_arguments,
        .tips = list_tips,
    },
    {
        .name = "load",
        .container = "function",
        .arity = -3,
        .group = GROUP_SCRIPTING,
        .flags = COMMAND_WRITE | COMMAND_DENY_OOM | COMMAND_NO_SCRIPT,
        .categories = CATEGORY_SCRIPTING,
        .handler = function_load,
        .since = "7.0.0",
        .summary = "Loads a library from its source.",
        .complexity = "O(1)",
        .arguments = load_arguments,
        .tips = everywhere_tips,
    },
    {
        .name = "restore",
        .container = "function",
        .arity = -3,
        .group = GROUP_SCRIPTING,
        .flags = COMMAND_WRITE | COMMAND_DENY_OOM | COMMAND_NO_SCRIPT,
        .categories = CATEGORY_SCRIPTING,
        .handler = function_restore,
        .since = "7.0.0",
        .summary = "Loads libraries from a payload of FUNCTION DUMP.",
        .complexity = "O(N)",
        .arguments = restore_arguments,
        .tips = everywhere_tips,
    },
    {
        .name = "stats",
        .container = "function",
        .arity = 2,
        .group = GROUP_SCRIPTING,
        .flags = COMMAND_ALLOW_BUSY | COMMAND_NO_SCRIPT,
        .categories = CATEGORY_SCRIPTING,
        .handler = function_stats,
        .since = "7.0.0",
        .summary = "Tells of the function that runs, and counts libraries.",
        .complexity = "O(1)",
        .tips = stats_tips,
    },
    COMMAND_END,
};

const struct command function_commands[] = {
    {
        .name = "fcall",
        .arity = -3,
        .group = GROUP_SCRIPTING,
        .flags = SCRIPT_COMMAND_FLAGS | COMMAND_MAY_REPLICATE,
        .categories = CATEGORY_SCRIPTING,
        .keys = SCRIPT_KEYS(KEY_RW | KEY_ACCESS | KEY_UPDATE, SCRIPT_UNKNOWN_USE "RW and UPDATE"),
        .handler = fcall,
        .since = "7.0.0",
        .summary = "Calls a function.",
        .complexity = "Depends on the function.",
        .arguments = fcall_arguments,
    },
    {
        .name = "fcall_ro",
        .arity = -3,
        .group = GROUP_SCRIPTING,
        .flags = SCRIPT_COMMAND_FLAGS | COMMAND_READONLY,
        .categories = CATEGORY_SCRIPTING,
        .keys = SCRIPT_KEYS(KEY_RO | KEY_ACCESS, SCRIPT_UNKNOWN_USE "RO and ACCESS"),
        .handler = fcall,
        .since = "7.0.0",
        .summary = "Calls a function that only reads.",
        .complexity = "Depends on the function.",
        .arguments = fcall_arguments,
    },
    {
        .name = "function",
        .arity = -2,
        .group = GROUP_SCRIPTING,
        .since = "7.0.0",
        .summary = "Parent of the subcommands for libraries of functions.",
        .complexity = "Depends on the subcommand.",
        .subcommands = subcommands,
    },
    COMMAND_END,
};

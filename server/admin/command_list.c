/* COMMAND: names of commands, and the keys of a command line. */
#include <stdio.h>

#include "server/admin/admin_internal.h"
#include "server/base/glob.h"
#include "server/base/mem.h"
#include "server/command/command_words.h"

const struct command *admin_find_command(const struct command_context *context, struct bytes name) {
    const struct command_table *table = context->modules->commands;
    const uint8_t *bar = name.len ? memchr(name.data, '|', name.len) : NULL;
    if (!bar) return command_table_find(table, name);
    size_t len = (size_t)(bar - name.data);
    const struct command *container = command_table_find(table, bytes_of(name.data, len));
    return container ? command_find_subcommand(container, bytes_from(name, len + 1)) : NULL;
}

void admin_reply_words(struct reply *reply, const struct command_word *words, uint32_t bits,
                       const char *prefix) {
    size_t mark = reply_begin(reply);
    size_t count = 0;
    for (; words->name; words++) {
        if (!(bits & words->bit)) continue;
        char text[64];
        snprintf(text, sizeof(text), "%s%s", prefix, words->name);
        reply_simple(reply, text);
        count++;
    }
    reply_end_set(reply, mark, count);
}

void admin_command_count(struct command_context *context) {
    reply_integer(context->reply, command_table_count(context->modules->commands));
}

/* -- COMMAND LIST -------------------------------------------------------------------------------
 */

struct list_filter {
    bool by_category;
    bool by_pattern;
    bool by_module; /* No command comes from a module. */
    uint32_t category;
    struct bytes pattern;
};

static bool filter_matches(const struct list_filter *filter, const struct command *command,
                           const char *name) {
    if (filter->by_module) return false;
    if (filter->by_category) return command_acl_categories(command) & filter->category;
    if (filter->by_pattern) return glob_matches(filter->pattern, bytes_of_text(name), true);
    return true;
}

static size_t reply_names(struct reply *reply, const struct list_filter *filter,
                          const struct command *command) {
    char name[128];
    size_t count = 0;
    command_full_name(command, name, sizeof(name));
    if (filter_matches(filter, command, name)) {
        reply_bulk_text(reply, name);
        count++;
    }
    const struct command *child = command->subcommands;
    for (; child && child->name; child++)
        count += reply_names(reply, filter, child);
    return count;
}

static bool parse_list_filter(const struct command_context *context, struct list_filter *out) {
    *out = (struct list_filter){0};
    if (context->argc == 2) return true;
    if (context->argc != 5 || !context_argument_is(context, 2, "FILTERBY")) return false;
    out->by_module = context_argument_is(context, 3, "MODULE");
    out->by_category = context_argument_is(context, 3, "ACLCAT");
    out->by_pattern = context_argument_is(context, 3, "PATTERN");
    out->category = command_category_find(context->argv[4]);
    out->pattern = context->argv[4];
    return out->by_module || out->by_category || out->by_pattern;
}

void admin_command_list(struct command_context *context) {
    struct list_filter filter;
    if (!parse_list_filter(context, &filter)) {
        reply_syntax_error(context->reply);
        return;
    }
    const struct command_table *table = context->modules->commands;
    size_t mark = reply_begin(context->reply);
    size_t count = 0;
    for (uint32_t i = 0; i < command_table_count(table); i++)
        count += reply_names(context->reply, &filter, command_table_at(table, i));
    reply_end_array(context->reply, mark, count);
}

/* -- COMMAND GETKEYS ----------------------------------------------------------------------------
 */

/* A command line inside another one, and where its keys are. */
struct key_positions {
    const struct bytes *argv;
    uint32_t *positions; /* Owned, as `flags`. */
    uint32_t *flags;
    uint32_t count;
};

/* Finds the keys of the command line that begins at argument 2; false after an error was answered.
 */
static bool find_keys(struct command_context *context, struct key_positions *out) {
    const struct bytes *argv = context->argv + 2;
    uint32_t argc = context->argc - 2;
    const struct command *command = command_table_find_line(context->modules->commands, argv, argc);
    const char *error = NULL;
    if (!command)
        error = "ERR Invalid command specified";
    else if (!command_has_keys(command))
        error = "ERR The command has no key arguments";
    else if (!command_arity_fits(command, argv, argc))
        error = "ERR Invalid number of arguments specified for command";
    if (error) {
        reply_error(context->reply, error);
        return false;
    }
    uint32_t *positions = mem_alloc(2 * argc * sizeof(*positions));
    int count = command_keys(command, argv, argc, positions, positions + argc, argc);
    bool has_none = count <= 0 || (uint32_t)count > argc;
    if (has_none && !(command->flags & COMMAND_NO_MANDATORY_KEYS)) {
        reply_error(context->reply, "ERR Invalid arguments specified for command");
        mem_free(positions);
        return false;
    }
    *out = (struct key_positions){
        .argv = argv,
        .positions = positions,
        .flags = positions + argc,
        .count = has_none ? 0 : (uint32_t)count,
    };
    return true;
}

void admin_command_getkeys(struct command_context *context) {
    struct key_positions keys;
    if (!find_keys(context, &keys)) return;
    reply_array(context->reply, keys.count);
    for (uint32_t i = 0; i < keys.count; i++)
        reply_bulk(context->reply, keys.argv[keys.positions[i]]);
    mem_free(keys.positions);
}

void admin_command_getkeysandflags(struct command_context *context) {
    struct key_positions keys;
    if (!find_keys(context, &keys)) return;
    /* That flags vary is said of the row; here they have been decided. */
    const uint32_t shown = ~(uint32_t)(KEY_VARIABLE_FLAGS | KEY_INCOMPLETE);
    reply_array(context->reply, keys.count);
    for (uint32_t i = 0; i < keys.count; i++) {
        reply_array(context->reply, 2);
        reply_bulk(context->reply, keys.argv[keys.positions[i]]);
        admin_reply_words(context->reply, command_key_flag_words, keys.flags[i] & shown, "");
    }
    mem_free(keys.positions);
}

void admin_command_help(struct command_context *context) {
    static const char *const lines[] = {
        "(no subcommand)",
        "    What COMMAND INFO says of all commands.",
        "COUNT",
        "    The number of commands.",
        "LIST [FILTERBY MODULE <module-name> | ACLCAT <category> | PATTERN <pattern>]",
        "    The names of all commands, or of those that the filter lets through.",
        "INFO [<command-name> ...]",
        "    Arity, flags, categories and key positions of the named commands, or of all.",
        "DOCS [<command-name> ...]",
        "    Summary, arguments and history of the named commands, or of all.",
        "GETKEYS <full-command>",
        "    The keys of a command line.",
        "GETKEYSANDFLAGS <full-command>",
        "    The keys of a command line, and what the command does with each.",
        NULL,
    };
    context_help(context, lines);
}

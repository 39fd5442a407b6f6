/* COMMAND DOCS: what people read, as maps. A field that a row does not have is left out. */
#include "server/admin/admin_internal.h"
#include "server/command/command_words.h"

/* Replies the pair when there is a text; returns how many pairs that were. */
static size_t reply_text(struct reply *reply, const char *name, const char *text) {
    if (!text) return 0;
    reply_bulk_text(reply, name);
    reply_bulk_text(reply, text);
    return 1;
}

/* -- arguments ----------------------------------------------------------------------------------
 */

static const char *kind_name(enum argument_kind kind) {
    static const char *const names[] = {
        [ARGUMENT_STRING] = "string",         [ARGUMENT_INTEGER] = "integer",
        [ARGUMENT_DOUBLE] = "double",         [ARGUMENT_KEY] = "key",
        [ARGUMENT_PATTERN] = "pattern",       [ARGUMENT_UNIX_TIME] = "unix-time",
        [ARGUMENT_PURE_TOKEN] = "pure-token", [ARGUMENT_ONE_OF] = "oneof",
        [ARGUMENT_BLOCK] = "block",
    };
    return names[kind];
}

static size_t reply_argument_flags(struct reply *reply, const struct argument *argument) {
    if (!argument->is_optional && !argument->is_multiple && !argument->is_multiple_token) return 0;
    reply_bulk_text(reply, "flags");
    size_t mark = reply_begin(reply);
    size_t count = 0;
    if (argument->is_optional) reply_simple(reply, "optional"), count++;
    if (argument->is_multiple) reply_simple(reply, "multiple"), count++;
    if (argument->is_multiple_token) reply_simple(reply, "multiple_token"), count++;
    reply_end_set(reply, mark, count);
    return 1;
}

static size_t reply_arguments(struct reply *reply, const struct argument *arguments);

static void reply_argument(struct reply *reply, const struct argument *argument) {
    size_t mark = reply_begin(reply);
    size_t pairs = reply_text(reply, "name", argument->name);
    pairs += reply_text(reply, "type", kind_name(argument->kind));
    if (argument->kind == ARGUMENT_KEY) {
        reply_bulk_text(reply, "key_spec_index");
        reply_integer(reply, argument->key_spec);
        pairs++;
    }
    pairs += reply_text(reply, "token", argument->token);
    pairs += reply_text(reply, "since", argument->since);
    pairs += reply_text(reply, "deprecated_since", argument->deprecated_since);
    pairs += reply_argument_flags(reply, argument);
    pairs += reply_arguments(reply, argument->children);
    reply_end_map(reply, mark, pairs);
}

static size_t reply_arguments(struct reply *reply, const struct argument *arguments) {
    if (!arguments) return 0;
    reply_bulk_text(reply, "arguments");
    size_t mark = reply_begin(reply);
    size_t count = 0;
    for (; arguments[count].name; count++)
        reply_argument(reply, &arguments[count]);
    reply_end_array(reply, mark, count);
    return 1;
}

/* -- commands -----------------------------------------------------------------------------------
 */

static size_t reply_doc_flags(struct reply *reply, const struct command *command) {
    bool is_system = command->flags & COMMAND_SYSTEM;
    bool is_deprecated = command->deprecated_since != NULL;
    if (!is_system && !is_deprecated) return 0;
    reply_bulk_text(reply, "doc_flags");
    reply_set(reply, (size_t)is_system + is_deprecated);
    if (is_deprecated) reply_simple(reply, "deprecated");
    if (is_system) reply_simple(reply, "syscmd");
    return 1;
}

static size_t reply_history(struct reply *reply, const struct command_history *history) {
    if (!history) return 0;
    reply_bulk_text(reply, "history");
    size_t mark = reply_begin(reply);
    size_t count = 0;
    for (; history[count].version; count++) {
        reply_array(reply, 2);
        reply_bulk_text(reply, history[count].version);
        reply_bulk_text(reply, history[count].change);
    }
    reply_end_set(reply, mark, count);
    return 1;
}

static void reply_docs(struct reply *reply, const struct command *command);

static size_t reply_subcommands(struct reply *reply, const struct command *children) {
    if (!children) return 0;
    reply_bulk_text(reply, "subcommands");
    size_t mark = reply_begin(reply);
    size_t count = 0;
    for (; children[count].name; count++)
        reply_docs(reply, &children[count]);
    reply_end_map(reply, mark, count);
    return 1;
}

/* The pair of the command's name and its documentation. */
static void reply_docs(struct reply *reply, const struct command *command) {
    char name[128];
    command_full_name(command, name, sizeof(name));
    reply_bulk_text(reply, name);
    size_t mark = reply_begin(reply);
    size_t pairs = reply_text(reply, "summary", command->summary);
    pairs += reply_text(reply, "since", command->since);
    pairs += reply_text(reply, "group", command_group_name(command->group));
    pairs += reply_text(reply, "complexity", command->complexity);
    pairs += reply_doc_flags(reply, command);
    pairs += reply_text(reply, "deprecated_since", command->deprecated_since);
    pairs += reply_text(reply, "replaced_by", command->replaced_by);
    pairs += reply_history(reply, command->history);
    pairs += reply_arguments(reply, command->arguments);
    pairs += reply_subcommands(reply, command->subcommands);
    reply_end_map(reply, mark, pairs);
}

void admin_command_docs(struct command_context *context) {
    const struct command_table *table = context->modules->commands;
    size_t mark = reply_begin(context->reply);
    size_t count = 0;
    if (context->argc == 2) {
        for (; count < command_table_count(table); count++)
            reply_docs(context->reply, command_table_at(table, (uint32_t)count));
    }
    for (uint32_t i = 2; i < context->argc; i++) {
        const struct command *command = admin_find_command(context, context->argv[i]);
        if (!command) continue;
        reply_docs(context->reply, command);
        count++;
    }
    reply_end_map(context->reply, mark, count);
}

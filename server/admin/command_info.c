/* COMMAND INFO: a row as a tuple of ten. */
#include "server/admin/admin_internal.h"
#include "server/command/command_words.h"

/* First, last and step: what clients knew before key specifications. */
struct legacy_range {
    int first;
    int last;
    int step;
};

static unsigned key_spec_count(const struct command *command) {
    unsigned count = 0;
    while (count < COMMAND_KEY_SPEC_MAX && command->keys[count].begin != KEY_BEGIN_NONE)
        count++;
    return count;
}

/* The run of specifications that can be said as one range: each begins behind the one before. */
static struct legacy_range legacy_range_of(const struct command *command) {
    struct legacy_range range = {0};
    unsigned count = key_spec_count(command);
    for (unsigned i = 0; i < count; i++) {
        const struct key_spec *spec = &command->keys[i];
        if (spec->begin != KEY_BEGIN_INDEX || spec->find != KEY_FIND_RANGE) continue;
        if (count > 1 && spec->step != 1) continue;
        if (range.first != 0 && range.last != spec->index - 1) continue;
        if (range.first == 0)
            range = (struct legacy_range){.first = spec->index, .step = spec->step};
        range.last = spec->last < 0 ? spec->last : spec->index + spec->last;
    }
    return range;
}

static void reply_tips(struct reply *reply, const char *const *tips) {
    size_t mark = reply_begin(reply);
    size_t count = 0;
    for (; tips && tips[count]; count++)
        reply_bulk_text(reply, tips[count]);
    reply_end_set(reply, mark, count);
}

/* "index", 1 and the like. */
static void reply_number(struct reply *reply, const char *name, int64_t value) {
    reply_bulk_text(reply, name);
    reply_integer(reply, value);
}

static void reply_begin_search(struct reply *reply, const struct key_spec *spec) {
    static const char *const names[] = {
        [KEY_BEGIN_INDEX] = "index",
        [KEY_BEGIN_KEYWORD] = "keyword",
        [KEY_BEGIN_UNKNOWN] = "unknown",
    };
    reply_bulk_text(reply, "begin_search");
    reply_map(reply, 2);
    reply_bulk_text(reply, "type");
    reply_bulk_text(reply, names[spec->begin]);
    reply_bulk_text(reply, "spec");
    if (spec->begin == KEY_BEGIN_INDEX) {
        reply_map(reply, 1);
        reply_number(reply, "index", spec->index);
    } else if (spec->begin == KEY_BEGIN_KEYWORD) {
        reply_map(reply, 2);
        reply_bulk_text(reply, "keyword");
        reply_bulk_text(reply, spec->keyword);
        reply_number(reply, "startfrom", spec->index);
    } else {
        reply_map(reply, 0);
    }
}

static void reply_find_keys(struct reply *reply, const struct key_spec *spec) {
    static const char *const names[] = {
        [KEY_FIND_RANGE] = "range",
        [KEY_FIND_COUNT] = "keynum",
        [KEY_FIND_UNKNOWN] = "unknown",
    };
    reply_bulk_text(reply, "find_keys");
    reply_map(reply, 2);
    reply_bulk_text(reply, "type");
    reply_bulk_text(reply, names[spec->find]);
    reply_bulk_text(reply, "spec");
    if (spec->find == KEY_FIND_RANGE) {
        reply_map(reply, 3);
        reply_number(reply, "lastkey", spec->last);
        reply_number(reply, "keystep", spec->step);
        reply_number(reply, "limit", spec->limit);
    } else if (spec->find == KEY_FIND_COUNT) {
        reply_map(reply, 3);
        reply_number(reply, "keynumidx", spec->count_index);
        reply_number(reply, "firstkey", spec->first_index);
        reply_number(reply, "keystep", spec->step);
    } else {
        reply_map(reply, 0);
    }
}

static void reply_key_specs(struct reply *reply, const struct command *command) {
    unsigned count = key_spec_count(command);
    reply_set(reply, count);
    for (unsigned i = 0; i < count; i++) {
        const struct key_spec *spec = &command->keys[i];
        reply_map(reply, spec->notes ? 4 : 3);
        if (spec->notes) {
            reply_bulk_text(reply, "notes");
            reply_bulk_text(reply, spec->notes);
        }
        reply_bulk_text(reply, "flags");
        admin_reply_words(reply, command_key_flag_words, spec->flags, "");
        reply_begin_search(reply, spec);
        reply_find_keys(reply, spec);
    }
}

static void reply_info(struct reply *reply, const struct command *command);

/* None is an empty set, some are an array: RESP3 clients of redis know it so. */
static void reply_subcommands(struct reply *reply, const struct command *children) {
    size_t count = 0;
    while (children && children[count].name)
        count++;
    if (count == 0)
        reply_set(reply, 0);
    else
        reply_array(reply, count);
    for (size_t i = 0; i < count; i++)
        reply_info(reply, &children[i]);
}

static void reply_info(struct reply *reply, const struct command *command) {
    char name[128];
    command_full_name(command, name, sizeof(name));
    struct legacy_range range = legacy_range_of(command);
    reply_array(reply, 10);
    reply_bulk_text(reply, name);
    reply_integer(reply, command->arity);
    admin_reply_words(reply, command_flag_words, command->flags, "");
    reply_integer(reply, range.first);
    reply_integer(reply, range.last);
    reply_integer(reply, range.step);
    admin_reply_words(reply, command_category_words, command_acl_categories(command), "@");
    reply_tips(reply, command->tips);
    reply_key_specs(reply, command);
    reply_subcommands(reply, command->subcommands);
}

static void reply_all(struct command_context *context) {
    const struct command_table *table = context->modules->commands;
    uint32_t count = command_table_count(table);
    reply_array(context->reply, count);
    for (uint32_t i = 0; i < count; i++)
        reply_info(context->reply, command_table_at(table, i));
}

void admin_command_info(struct command_context *context) {
    if (context->argc == 2) {
        reply_all(context);
        return;
    }
    reply_array(context->reply, context->argc - 2);
    for (uint32_t i = 2; i < context->argc; i++) {
        const struct command *command = admin_find_command(context, context->argv[i]);
        if (command)
            reply_info(context->reply, command);
        else
            reply_null(context->reply);
    }
}

void admin_command(struct command_context *context) {
    reply_all(context);
}

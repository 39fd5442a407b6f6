#include "tools/cli/command_docs.h"

#include <ctype.h>
#include <stdlib.h>

#include "server/base/mem.h"

#define ARGUMENT_DEPTH_MAX 8u
#define COMMAND_ARITY_MAX 64

/* ---- reading ---- */

/* The value of a field in a map, or in an array of names and values. NULL: none. */
static const struct reply *field(const struct reply *map, const char *name) {
    for (size_t i = 0; i + 1 < map->count; i += 2) {
        if (bytes_equal_text(map->items[i].text, name)) return &map->items[i + 1];
    }
    return NULL;
}

static char *copy_field(const struct reply *map, const char *name) {
    const struct reply *value = field(map, name);
    if (value == NULL || value->text.data == NULL) return NULL;
    return bytes_copy_text(value->text);
}

static bool has_flag(const struct reply *map, const char *name) {
    const struct reply *flags = field(map, "flags");
    for (size_t i = 0; flags != NULL && i < flags->count; i++) {
        if (bytes_equal_text(flags->items[i].text, name)) return true;
    }
    return false;
}

static enum doc_kind read_kind(const struct reply *map) {
    const struct reply *type = field(map, "type");
    if (type == NULL) return DOC_VALUE;
    if (bytes_equal_text(type->text, "pure-token")) return DOC_PURE_TOKEN;
    if (bytes_equal_text(type->text, "oneof")) return DOC_ONE_OF;
    return bytes_equal_text(type->text, "block") ? DOC_BLOCK : DOC_VALUE;
}

static size_t read_arguments(const struct reply *map, unsigned depth, struct doc_argument **out) {
    const struct reply *list = field(map, "arguments");
    *out = NULL;
    if (list == NULL || list->count == 0 || depth == ARGUMENT_DEPTH_MAX) return 0;
    struct doc_argument *arguments = mem_alloc_zero(list->count * sizeof(*arguments));
    for (size_t i = 0; i < list->count; i++) {
        const struct reply *item = &list->items[i];
        struct doc_argument *argument = &arguments[i];
        argument->name = copy_field(item, "display_text");
        if (argument->name == NULL) argument->name = copy_field(item, "name");
        if (argument->name == NULL) argument->name = bytes_copy_text(BYTES_LITERAL("arg"));
        argument->token = copy_field(item, "token");
        argument->kind = read_kind(item);
        argument->is_optional = has_flag(item, "optional");
        argument->is_multiple = has_flag(item, "multiple");
        argument->repeats_token = has_flag(item, "multiple_token");
        argument->argument_count = read_arguments(item, depth + 1, &argument->arguments);
    }
    *out = arguments;
    return list->count;
}

static char *upper_name(struct bytes name) {
    char *text = bytes_copy_text(name);
    for (char *c = text; *c != 0; c++)
        *c = *c == '|' ? ' ' : (char)toupper((unsigned char)*c);
    return text;
}

static struct doc_entry *add_entry(struct command_docs *docs, size_t *cap, struct bytes name) {
    if (docs->count == *cap) {
        *cap = *cap == 0 ? 256 : *cap * 2;
        docs->entries = mem_realloc(docs->entries, *cap * sizeof(*docs->entries));
    }
    struct doc_entry *entry = &docs->entries[docs->count++];
    *entry = (struct doc_entry){.name = upper_name(name)};
    return entry;
}

static void read_entries(struct command_docs *docs, size_t *cap, const struct reply *list,
                         unsigned depth) {
    for (size_t i = 0; i + 1 < list->count; i += 2) {
        const struct reply *map = &list->items[i + 1];
        if (list->items[i].text.data == NULL || !reply_is_aggregate(map)) continue;
        struct doc_entry *entry = add_entry(docs, cap, list->items[i].text);
        entry->summary = copy_field(map, "summary");
        entry->since = copy_field(map, "since");
        entry->group = copy_field(map, "group");
        entry->argument_count = read_arguments(map, 0, &entry->arguments);
        const struct reply *subcommands = field(map, "subcommands");
        if (subcommands != NULL && depth == 0) read_entries(docs, cap, subcommands, depth + 1);
    }
}

static int compare_entries(const void *a, const void *b) {
    return strcmp(((const struct doc_entry *)a)->name, ((const struct doc_entry *)b)->name);
}

static void sort_entries(struct command_docs *docs) {
    if (docs->count > 0) {
        qsort(docs->entries, docs->count, sizeof(*docs->entries), compare_entries);
    }
}

void command_docs_read(const struct reply *reply, struct command_docs *out) {
    size_t cap = 0;
    *out = (struct command_docs){0};
    if (reply_is_aggregate(reply)) read_entries(out, &cap, reply, 0);
    sort_entries(out);
}

void command_docs_read_commands(const struct reply *reply, struct command_docs *out) {
    size_t cap = 0;
    *out = (struct command_docs){0};
    for (size_t i = 0; i < reply->count; i++) {
        const struct reply *item = &reply->items[i];
        if (item->count < 2 || item->items[0].text.data == NULL) continue;
        struct doc_entry *entry = add_entry(out, &cap, item->items[0].text);
        int64_t arity = item->items[1].integer;
        bool is_open = arity < 0;
        size_t required = (size_t)(is_open ? -arity : arity);
        if (required == 0 || required > COMMAND_ARITY_MAX) continue;
        entry->argument_count = required - 1 + is_open;
        entry->arguments = mem_alloc_zero((entry->argument_count + 1) * sizeof(*entry->arguments));
        for (size_t k = 0; k < entry->argument_count; k++) {
            entry->arguments[k].name = bytes_copy_text(BYTES_LITERAL("arg"));
            entry->arguments[k].is_optional = k + 1 >= required;
            entry->arguments[k].is_multiple = k + 1 >= required;
        }
    }
    sort_entries(out);
}

static void arguments_destroy(struct doc_argument *arguments, size_t count) {
    for (size_t i = 0; i < count; i++) {
        mem_free(arguments[i].name);
        mem_free(arguments[i].token);
        arguments_destroy(arguments[i].arguments, arguments[i].argument_count);
    }
    mem_free(arguments);
}

void command_docs_deinit(struct command_docs *docs) {
    for (size_t i = 0; i < docs->count; i++) {
        struct doc_entry *entry = &docs->entries[i];
        mem_free(entry->name);
        mem_free(entry->summary);
        mem_free(entry->since);
        mem_free(entry->group);
        arguments_destroy(entry->arguments, entry->argument_count);
    }
    mem_free(docs->entries);
    *docs = (struct command_docs){0};
}

/* ---- finding ---- */

/* Words of the entry's name if the typed words begin with it, else 0. */
static size_t match_name(const char *name, size_t word_count, const struct bytes *words) {
    size_t matched = 0;
    while (*name != 0) {
        size_t len = strcspn(name, " ");
        if (matched == word_count) return 0;
        if (!bytes_equal_nocase(words[matched], bytes_of(name, len))) return 0;
        matched++;
        name += len;
        if (*name == ' ') name++;
    }
    return matched;
}

const struct doc_entry *command_docs_find(const struct command_docs *docs, size_t word_count,
                                          const struct bytes *words, size_t *out_name_words) {
    const struct doc_entry *found = NULL;
    size_t best = 0;
    for (size_t i = 0; i < docs->count; i++) {
        size_t matched = match_name(docs->entries[i].name, word_count, words);
        if (matched <= best) continue;
        best = matched;
        found = &docs->entries[i];
    }
    if (found != NULL) *out_name_words = best;
    return found;
}

/* ---- syntax ---- */

void command_docs_append_body(const struct doc_argument *argument, struct buffer *out) {
    switch (argument->kind) {
    case DOC_PURE_TOKEN:
        break;
    case DOC_VALUE:
        buffer_append_text(out, argument->name);
        break;
    case DOC_BLOCK:
        command_docs_append_syntax(argument->arguments, argument->argument_count, out);
        break;
    case DOC_ONE_OF:
        for (size_t i = 0; i < argument->argument_count; i++) {
            if (i > 0) buffer_append_u8(out, '|');
            command_docs_append_argument(&argument->arguments[i], false, out);
        }
        break;
    }
}

static void append_token(const struct doc_argument *argument, struct buffer *out) {
    if (argument->token == NULL) return;
    buffer_append_text(out, argument->token[0] == 0 ? "\"\"" : argument->token);
    if (argument->kind != DOC_PURE_TOKEN) buffer_append_u8(out, ' ');
}

void command_docs_append_argument(const struct doc_argument *argument, bool is_bare,
                                  struct buffer *out) {
    bool has_brackets = argument->is_optional && !is_bare;
    if (has_brackets) buffer_append_u8(out, '[');
    append_token(argument, out);
    command_docs_append_body(argument, out);
    if (argument->is_multiple) {
        buffer_append_text(out, " [");
        if (argument->repeats_token) append_token(argument, out);
        command_docs_append_body(argument, out);
        buffer_append_text(out, " ...]");
    }
    if (has_brackets) buffer_append_u8(out, ']');
}

void command_docs_append_syntax(const struct doc_argument *arguments, size_t count,
                                struct buffer *out) {
    for (size_t i = 0; i < count; i++) {
        if (i > 0) buffer_append_u8(out, ' ');
        command_docs_append_argument(&arguments[i], false, out);
    }
}

#include "tools/cli/help.h"

#include <ctype.h>

static void append_general(const struct profile *profile, struct buffer *out) {
    buffer_append_format(out,
                         "%s %s\n"
                         "To get help about Redis commands type:\n"
                         "      \"help @<group>\" to get a list of commands in <group>\n"
                         "      \"help <command>\" for help on <command>\n"
                         "      \"help <tab>\" to get a list of possible help topics\n"
                         "      \"quit\" to exit\n"
                         "\n"
                         "To set %s preferences:\n"
                         "      \":set hints\" enable online hints\n"
                         "      \":set nohints\" disable online hints\n"
                         "Set your preferences in ~/.%src\n",
                         profile->tool, DUNLIN_VERSION, profile->tool, profile->dot_name);
}

static void append_entry(const struct doc_entry *entry, bool has_group, struct buffer *out) {
    buffer_append_format(out, "\r\n  \x1b[1m%s\x1b[0m \x1b[90m", entry->name);
    command_docs_append_syntax(entry->arguments, entry->argument_count, out);
    buffer_append_text(out, "\x1b[0m\r\n");
    if (entry->summary != NULL) {
        buffer_append_format(out, "  \x1b[33msummary:\x1b[0m %s\r\n", entry->summary);
    }
    if (entry->since != NULL) {
        buffer_append_format(out, "  \x1b[33msince:\x1b[0m %s\r\n", entry->since);
    }
    if (has_group && entry->group != NULL) {
        buffer_append_format(out, "  \x1b[33mgroup:\x1b[0m %s\r\n", entry->group);
    }
}

/* Group names are compared with '-', '_' and blank as one: "sorted-set" is "sorted_set". */
static bool same_group(const char *group, struct bytes wanted) {
    if (group == NULL || strlen(group) != wanted.len) return false;
    for (size_t i = 0; i < wanted.len; i++) {
        char a = (char)tolower((unsigned char)group[i]);
        char b = (char)tolower(wanted.data[i]);
        if ((a == '_' ? '-' : a) != (b == '_' ? '-' : b)) return false;
    }
    return true;
}

/* True when the entry's name begins with all the words. */
static bool begins_with(const char *name, size_t word_count, const struct bytes *words) {
    for (size_t i = 0; i < word_count; i++) {
        size_t len = strcspn(name, " ");
        if (!bytes_equal_nocase(bytes_of(name, len), words[i])) return false;
        name += len;
        if (*name == ' ') name++;
    }
    return true;
}

void help_append(const struct command_docs *docs, const struct profile *profile, size_t word_count,
                 const struct bytes *words, struct buffer *out) {
    if (word_count == 0) {
        append_general(profile, out);
        return;
    }
    bool is_group = words[0].len > 0 && words[0].data[0] == '@';
    for (size_t i = 0; i < docs->count; i++) {
        const struct doc_entry *entry = &docs->entries[i];
        if (is_group ? same_group(entry->group, bytes_from(words[0], 1))
                     : begins_with(entry->name, word_count, words)) {
            append_entry(entry, !is_group, out);
        }
    }
    buffer_append_text(out, "\r\n");
}

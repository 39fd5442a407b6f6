#include "tools/cli/hints.h"

#include <ctype.h>
#include <stdio.h>

#include "server/base/mem.h"

/* ---- hints ---- */

/* Typed words that an argument tries to take. */
struct typed {
    const struct bytes *words;
    size_t count;
};

/* What an argument made of the words. */
struct taken {
    size_t count;     /* Words taken; 0: it does not fit. */
    bool is_complete; /* False: more words belong to it, and none are left. */
};

static struct taken take_list(const struct doc_argument *arguments, size_t count,
                              struct typed typed, struct buffer *rest);

static struct typed behind(struct typed typed, size_t count) {
    return (struct typed){.words = typed.words + count, .count = typed.count - count};
}

static void append_part(struct buffer *out, const struct buffer *part) {
    if (part->len == 0) return;
    if (out->len > 0) buffer_append_u8(out, ' ');
    buffer_append_bytes(out, buffer_view(part));
}

static struct taken take_one_of(const struct doc_argument *argument, struct typed typed,
                                struct buffer *rest);

/* Takes the value behind a token. `rest` gets what is missing of it. */
static struct taken take_body(const struct doc_argument *argument, struct typed typed,
                              struct buffer *rest) {
    if (argument->kind == DOC_PURE_TOKEN) return (struct taken){.is_complete = true};
    if (typed.count == 0) {
        command_docs_append_body(argument, rest);
        return (struct taken){.is_complete = false};
    }
    if (argument->kind == DOC_VALUE) return (struct taken){.count = 1, .is_complete = true};
    if (argument->kind == DOC_BLOCK) {
        return take_list(argument->arguments, argument->argument_count, typed, rest);
    }
    return take_one_of(argument, typed, rest);
}

static struct taken take_once(const struct doc_argument *argument, bool skips_token,
                              struct typed typed, struct buffer *rest) {
    size_t token_words = argument->token != NULL && !skips_token ? 1 : 0;
    if (typed.count == 0) return (struct taken){0};
    if (token_words == 1 && !bytes_equal_text_nocase(typed.words[0], argument->token)) {
        return (struct taken){0};
    }
    struct typed body = behind(typed, token_words);
    struct taken taken = take_body(argument, body, rest);
    if (taken.count == 0 && body.count > 0 && argument->kind != DOC_PURE_TOKEN) {
        return (struct taken){0};
    }
    taken.count += token_words;
    return taken;
}

/* Takes the argument as often as it may be repeated. */
static struct taken take(const struct doc_argument *argument, struct typed typed,
                         struct buffer *rest) {
    struct taken taken = take_once(argument, false, typed, rest);
    while (argument->is_multiple && taken.count > 0 && taken.is_complete) {
        struct buffer more = {0};
        struct taken again =
            take_once(argument, !argument->repeats_token, behind(typed, taken.count), &more);
        taken.count += again.count;
        if (again.count > 0) taken.is_complete = again.is_complete;
        append_part(rest, &more);
        buffer_deinit(&more);
        if (again.count == 0) break;
    }
    if (argument->is_multiple && taken.count > 0 && taken.is_complete) {
        struct buffer more = {0};
        buffer_append_u8(&more, '[');
        if (argument->repeats_token && argument->token != NULL) {
            buffer_append_format(&more, "%s ", argument->token);
        }
        command_docs_append_body(argument, &more);
        buffer_append_text(&more, " ...]");
        append_part(rest, &more);
        buffer_deinit(&more);
    }
    return taken;
}

/* True when the argument begins with a word of its own, so that a fit is no accident. */
static bool begins_with_token(const struct doc_argument *argument) {
    if (argument->token != NULL) return true;
    if (argument->argument_count == 0) return false;
    if (argument->kind == DOC_BLOCK) return begins_with_token(&argument->arguments[0]);
    for (size_t i = 0; i < argument->argument_count; i++) {
        if (!begins_with_token(&argument->arguments[i])) return false;
    }
    return argument->kind == DOC_ONE_OF;
}

/* Alternatives: those with a word of their own before those that take any word. */
static struct taken take_one_of(const struct doc_argument *argument, struct typed typed,
                                struct buffer *rest) {
    for (int wants_token = 1; wants_token >= 0; wants_token--) {
        for (size_t i = 0; i < argument->argument_count; i++) {
            const struct doc_argument *child = &argument->arguments[i];
            if (begins_with_token(child) != (wants_token == 1)) continue;
            struct taken taken = take(child, typed, rest);
            if (taken.count > 0) return taken;
        }
    }
    return (struct taken){0};
}

/* One step of an optional run: lets one argument that was not given yet take words. Returns its
 * index, or `count` when none fits. The last `reserved` words are for required arguments behind the
 * run: an option that takes any word leaves them alone. */
static size_t take_any(const struct doc_argument *run, size_t count, const bool *is_given,
                       size_t reserved, struct typed typed, struct taken *taken,
                       struct buffer *rest) {
    int last = typed.count > reserved ? 0 : 1;
    for (int wants_token = 1; wants_token >= last; wants_token--) {
        for (size_t i = 0; i < count; i++) {
            if (is_given[i] || begins_with_token(&run[i]) != (wants_token == 1)) continue;
            *taken = take(&run[i], typed, rest);
            if (taken->count > 0) return i;
        }
    }
    return count;
}

/* Optional arguments that follow one another may be given in any order. */
static size_t take_optionals(const struct doc_argument *run, size_t count, size_t reserved,
                             struct typed typed, bool *is_complete, struct buffer *rest) {
    bool *is_given = mem_alloc_zero(count * sizeof(*is_given));
    size_t used = 0;
    *is_complete = true;
    while (used < typed.count && *is_complete) {
        struct taken taken = {0};
        struct buffer part = {0};
        size_t i = take_any(run, count, is_given, reserved, behind(typed, used), &taken, &part);
        bool fits = i < count;
        if (fits) {
            is_given[i] = true;
            used += taken.count;
            *is_complete = taken.is_complete;
            append_part(rest, &part);
        }
        buffer_deinit(&part);
        if (!fits) break;
    }
    for (size_t i = 0; i < count; i++) {
        bool is_passed = used < typed.count && !begins_with_token(&run[i]);
        if (is_given[i] || is_passed) continue;
        struct buffer part = {0};
        command_docs_append_argument(&run[i], false, &part);
        append_part(rest, &part);
        buffer_deinit(&part);
    }
    mem_free(is_given);
    return used;
}

static size_t required_from(const struct doc_argument *arguments, size_t count, size_t from) {
    size_t required = 0;
    for (size_t i = from; i < count; i++)
        required += !arguments[i].is_optional;
    return required;
}

static struct taken take_list(const struct doc_argument *arguments, size_t count,
                              struct typed typed, struct buffer *rest) {
    struct taken all = {.is_complete = true};
    size_t i = 0;
    while (i < count) {
        struct typed left = behind(typed, all.count);
        size_t run = 0;
        while (i + run < count && arguments[i + run].is_optional)
            run++;
        if (run > 0) {
            bool is_complete;
            all.count += take_optionals(&arguments[i], run, required_from(arguments, count, i),
                                        left, &is_complete, rest);
            all.is_complete &= is_complete;
            i += run;
            continue;
        }
        struct buffer part = {0};
        struct taken taken = {0};
        if (left.count > 0) {
            taken = take(&arguments[i], left, &part);
        } else {
            command_docs_append_argument(&arguments[i], false, &part);
        }
        append_part(rest, &part);
        buffer_deinit(&part);
        if (left.count > 0 && taken.count == 0) return (struct taken){0};
        all.count += taken.count;
        all.is_complete &= taken.count > 0 && taken.is_complete;
        i++;
    }
    return all;
}

void hint_append(const struct command_docs *docs, struct bytes line, struct buffer *out) {
    struct word_list words = {0};
    size_t name_words;
    if (!word_list_append_line(&words, line) || words.count == 0) {
        word_list_deinit(&words);
        return;
    }
    const struct doc_entry *entry = command_docs_find(docs, words.count, words.items, &name_words);
    if (entry != NULL) {
        struct typed typed = {.words = words.items + name_words, .count = words.count - name_words};
        struct buffer rest = {0};
        struct taken taken = take_list(entry->arguments, entry->argument_count, typed, &rest);
        if (taken.count == typed.count) buffer_append_bytes(out, buffer_view(&rest));
        buffer_deinit(&rest);
    }
    word_list_deinit(&words);
}

/* ---- completion ---- */

/* Appends `line` and the part of `name` that is missing, in the case of the last typed letter. */
static void add_completion(struct bytes line, size_t prefix_len, const char *name,
                           struct word_list *out) {
    struct buffer text = {0};
    buffer_append_bytes(&text, line);
    bool is_lower = false;
    for (size_t i = line.len - prefix_len; i < line.len; i++) {
        if (isalpha(line.data[i])) is_lower = islower(line.data[i]) != 0;
    }
    for (const char *c = name + prefix_len; *c != 0; c++) {
        buffer_append_u8(&text, (uint8_t)(is_lower ? tolower((unsigned char)*c) : *c));
    }
    word_list_append(out, buffer_view(&text));
    buffer_deinit(&text);
}

static bool has_prefix(const char *name, struct bytes prefix) {
    return strlen(name) >= prefix.len && bytes_equal_nocase(bytes_of(name, prefix.len), prefix);
}

static bool is_listed(const struct word_list *list, const char *line, size_t prefix_len) {
    for (size_t i = 0; i < list->count; i++) {
        struct bytes item = bytes_from(list->items[i], prefix_len);
        if (bytes_equal_text_nocase(item, line)) return true;
    }
    return false;
}

static void complete_groups(const struct command_docs *docs, struct bytes line, struct bytes prefix,
                            struct word_list *out) {
    for (size_t i = 0; i < docs->count; i++) {
        char group[64];
        if (docs->entries[i].group == NULL) continue;
        snprintf(group, sizeof(group), "@%s", docs->entries[i].group);
        if (!has_prefix(group, prefix)) continue;
        if (is_listed(out, group, line.len - prefix.len)) continue;
        add_completion(line, prefix.len, group, out);
    }
}

void hint_complete(const struct command_docs *docs, struct bytes line, struct word_list *out) {
    struct bytes prefix = line;
    while (prefix.len > 0 && prefix.data[0] == ' ')
        prefix = bytes_from(prefix, 1);
    bool is_help = prefix.len >= 5 && bytes_equal_text_nocase(bytes_of(prefix.data, 5), "help ");
    if (is_help) prefix = bytes_from(prefix, 5);
    if (prefix.len == 0 && !is_help) return;
    bool has_blank = prefix.len > 0 && memchr(prefix.data, ' ', prefix.len) != NULL;
    if (is_help) complete_groups(docs, line, prefix, out);
    for (size_t i = 0; i < docs->count; i++) {
        const char *name = docs->entries[i].name;
        /* Sub-commands only when a blank says that they are wanted. */
        if (strchr(name, ' ') != NULL && !has_blank) continue;
        if (has_prefix(name, prefix)) add_completion(line, prefix.len, name, out);
    }
}

#include <stdio.h>

#include "server/acl/rules_internal.h"
#include "server/base/check.h"
#include "server/base/glob.h"
#include "server/base/mem.h"
#include "server/command/command_words.h"

static const char unknown_text[] = "Unknown command or category name in ACL";
static const char syntax_text[] = "Syntax error";

enum { KEYS_ON_STACK = 16, RULE_MAX = 128 };

/* -- life -- */

static size_t set_words(const struct rule_set *rules) {
    return (command_table_id_count(rules->commands) + 63) / 64;
}

void selector_init(struct selector *selector, const struct rule_set *rules) {
    *selector = (struct selector){.has_all_channels = rules->fresh_has_all_channels};
    selector->commands = mem_alloc_zero(set_words(rules) * sizeof(uint64_t));
}

static void forget_first_arguments(struct selector *selector) {
    for (uint32_t i = 0; i < selector->first_argument_count; i++)
        mem_free(selector->first_arguments[i].argument);
    mem_free(selector->first_arguments);
    selector->first_arguments = NULL;
    selector->first_argument_count = 0;
}

static void forget_keys(struct selector *selector) {
    for (uint32_t i = 0; i < selector->key_count; i++)
        mem_free(selector->keys[i].pattern);
    mem_free(selector->keys);
    selector->keys = NULL;
    selector->key_count = 0;
    selector->has_all_keys = false;
}

static void forget_channels(struct selector *selector) {
    text_list_clear(&selector->channels);
    selector->has_all_channels = false;
}

void selector_deinit(struct selector *selector) {
    mem_free(selector->commands);
    selector->commands = NULL;
    text_list_clear(&selector->rules);
    forget_first_arguments(selector);
    forget_keys(selector);
    forget_channels(selector);
}

static void add_first_argument(struct selector *selector, uint32_t id, struct bytes argument) {
    selector->first_arguments =
        mem_realloc(selector->first_arguments,
                    (selector->first_argument_count + 1) * sizeof(*selector->first_arguments));
    selector->first_arguments[selector->first_argument_count++] =
        (struct first_argument){id, bytes_copy_text(argument)};
}

static void add_key_pattern(struct selector *selector, struct bytes pattern, uint32_t rights) {
    for (uint32_t i = 0; i < selector->key_count; i++) {
        struct key_pattern *known = &selector->keys[i];
        if (!bytes_equal_text(pattern, known->pattern)) continue;
        known->rights |= rights;
        return;
    }
    selector->keys =
        mem_realloc(selector->keys, (selector->key_count + 1) * sizeof(*selector->keys));
    selector->keys[selector->key_count++] = (struct key_pattern){bytes_copy_text(pattern), rights};
}

void selector_copy(struct selector *out, const struct selector *selector,
                   const struct rule_set *rules) {
    selector_init(out, rules);
    out->has_all_commands = selector->has_all_commands;
    out->has_all_keys = selector->has_all_keys;
    out->has_all_channels = selector->has_all_channels;
    out->begins_with_all = selector->begins_with_all;
    memcpy(out->commands, selector->commands, set_words(rules) * sizeof(uint64_t));
    text_list_copy(&out->rules, &selector->rules);
    text_list_copy(&out->channels, &selector->channels);
    for (uint32_t i = 0; i < selector->first_argument_count; i++)
        add_first_argument(out, selector->first_arguments[i].command_id,
                           bytes_of_text(selector->first_arguments[i].argument));
    for (uint32_t i = 0; i < selector->key_count; i++)
        add_key_pattern(out, bytes_of_text(selector->keys[i].pattern), selector->keys[i].rights);
}

/* -- rules about commands -- */

static bool has_command(const struct selector *selector, uint32_t id) {
    return (selector->commands[id / 64] >> (id % 64) & 1) != 0;
}

/* What was said about first arguments of the command is over. */
static void set_command(struct selector *selector, uint32_t id, bool is_allowed) {
    uint64_t bit = (uint64_t)1 << (id % 64);
    if (is_allowed) {
        selector->commands[id / 64] |= bit;
    } else {
        selector->commands[id / 64] &= ~bit;
        selector->has_all_commands = false;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < selector->first_argument_count; i++) {
        if (selector->first_arguments[i].command_id == id) {
            mem_free(selector->first_arguments[i].argument);
        } else {
            selector->first_arguments[kept++] = selector->first_arguments[i];
        }
    }
    selector->first_argument_count = kept;
}

/* The row, and with a container all that it contains. */
static void set_with_subcommands(struct selector *selector, const struct rule_set *rules,
                                 const struct command *row, bool is_allowed) {
    set_command(selector, command_table_id(rules->commands, row), is_allowed);
    for (const struct command *sub = row->subcommands; sub != NULL && sub->name != NULL; sub++)
        set_command(selector, command_table_id(rules->commands, sub), is_allowed);
}

static void set_category(struct selector *selector, const struct rule_set *rules, uint32_t category,
                         bool is_allowed) {
    for (uint32_t i = 0; i < command_table_count(rules->commands); i++) {
        const struct command *row = command_table_at(rules->commands, i);
        if ((command_acl_categories(row) & category) != 0)
            set_command(selector, command_table_id(rules->commands, row), is_allowed);
        for (const struct command *sub = row->subcommands; sub != NULL && sub->name != NULL;
             sub++) {
            if ((command_acl_categories(sub) & category) != 0)
                set_command(selector, command_table_id(rules->commands, sub), is_allowed);
        }
    }
}

static void set_all(struct selector *selector, const struct rule_set *rules, bool is_allowed) {
    memset(selector->commands, is_allowed ? 0xff : 0, set_words(rules) * sizeof(uint64_t));
    selector->has_all_commands = selector->begins_with_all = is_allowed;
    text_list_clear(&selector->rules);
    forget_first_arguments(selector);
}

/* Keeps the rule, and drops earlier ones of which nothing is left: about the same category or
 * command, or about a part of the command. */
static void keep_rule(struct selector *selector, const char *rule) {
    const char *name = rule + 1;
    size_t len = strlen(name);
    for (uint32_t i = 0; i < selector->rules.count;) {
        const char *old = selector->rules.items[i] + 1;
        bool is_moot = strncmp(old, name, len) == 0 && (old[len] == '\0' || old[len] == '|');
        if (is_moot) {
            text_list_remove(&selector->rules, i);
        } else {
            i++;
        }
    }
    text_list_add(&selector->rules, bytes_of_text(rule));
}

static const char *apply_category(struct selector *selector, const struct rule_set *rules,
                                  struct bytes name, bool is_allowed) {
    if (bytes_equal_text_nocase(name, "all")) {
        set_all(selector, rules, is_allowed);
        return NULL;
    }
    uint32_t category = command_category_find(name);
    if (category == 0) return unknown_text;
    set_category(selector, rules, category, is_allowed);
    char rule[RULE_MAX];
    char lower[64] = "";
    bytes_lower(name, lower);
    lower[name.len] = '\0';
    snprintf(rule, sizeof(rule), "%c@%s", is_allowed ? '+' : '-', lower);
    keep_rule(selector, rule);
    return NULL;
}

/* "name|part": a subcommand, or for a plain command a first argument that it may have. */
static const char *apply_part(struct selector *selector, const struct rule_set *rules,
                              struct bytes name, struct bytes part, bool is_allowed) {
    const struct command *row = command_table_find(rules->commands, name);
    if (row == NULL) return unknown_text;
    const struct command *sub = command_find_subcommand(row, part);
    if (sub == NULL) {
        if (memchr(part.data, '|', part.len) != NULL)
            return "Allowing first-arg of a subcommand is not supported";
        if (row->subcommands != NULL || !is_allowed) return unknown_text;
    }
    struct buffer rule = {0};
    buffer_append_format(&rule, "%c%s|", is_allowed ? '+' : '-', row->name);
    if (sub != NULL) {
        buffer_append_text(&rule, sub->name);
        set_command(selector, command_table_id(rules->commands, sub), is_allowed);
    } else {
        size_t start = rule.len;
        buffer_append_bytes(&rule, part);
        bytes_lower(bytes_of(rule.data + start, part.len), (char *)rule.data + start);
        // Where it may have any first argument already, nothing is to be added.
        uint32_t id = command_table_id(rules->commands, row);
        if (!has_command(selector, id))
            add_first_argument(selector, id, bytes_of(rule.data + start, part.len));
    }
    buffer_append_u8(&rule, '\0');
    keep_rule(selector, (const char *)rule.data);
    buffer_deinit(&rule);
    return NULL;
}

static const char *apply_command(struct selector *selector, const struct rule_set *rules,
                                 struct bytes name, bool is_allowed) {
    if (name.len > 0 && name.data[0] == '@')
        return apply_category(selector, rules, bytes_from(name, 1), is_allowed);
    const uint8_t *bar = name.len == 0 ? NULL : memchr(name.data, '|', name.len);
    if (bar != NULL) {
        size_t len = (size_t)(bar - name.data);
        struct bytes part = bytes_from(name, len + 1);
        if (part.len == 0)
            return command_table_find(rules->commands, bytes_of(name.data, len)) == NULL
                       ? unknown_text
                       : syntax_text;
        return apply_part(selector, rules, bytes_of(name.data, len), part, is_allowed);
    }
    const struct command *row = command_table_find(rules->commands, name);
    if (row == NULL) return unknown_text;
    set_with_subcommands(selector, rules, row, is_allowed);
    char rule[RULE_MAX];
    snprintf(rule, sizeof(rule), "%c%s", is_allowed ? '+' : '-', row->name);
    keep_rule(selector, rule);
    return NULL;
}

/* -- rules about keys and channels -- */

/* "~*" is a flag, "%RW~*" a pattern like others. */
static const char *apply_key_pattern(struct selector *selector, struct bytes pattern,
                                     uint32_t rights, bool is_all) {
    if (selector->has_all_keys) {
        if (is_all) return NULL;
        return "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does "
               "not have any effect. Try 'resetkeys' to start with an empty list of patterns";
    }
    if (is_all) {
        forget_keys(selector);
        selector->has_all_keys = true;
    } else {
        add_key_pattern(selector, pattern, rights);
    }
    return NULL;
}

/* "%R~pattern" */
static const char *apply_limited_pattern(struct selector *selector, struct bytes rule) {
    uint32_t rights = 0;
    size_t at = 1;
    for (; at < rule.len && rule.data[at] != '~'; at++) {
        char letter = ascii_lower((char)rule.data[at]);
        uint32_t right = letter == 'r' ? KEYS_READABLE : letter == 'w' ? KEYS_WRITABLE : 0;
        if (right == 0 || (rights & right) != 0) return syntax_text;
        rights |= right;
    }
    if (at == rule.len || rights == 0) return syntax_text;
    return apply_key_pattern(selector, bytes_from(rule, at + 1), rights, false);
}

static const char *apply_channel(struct selector *selector, struct bytes pattern) {
    bool is_all = bytes_equal_text(pattern, "*");
    if (selector->has_all_channels) {
        if (is_all) return NULL;
        return "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and "
               "does not have any effect. Try 'resetchannels' to start with an empty list of "
               "channels";
    }
    if (is_all) {
        forget_channels(selector);
        selector->has_all_channels = true;
    } else if (!text_list_has(&selector->channels, pattern)) {
        text_list_add(&selector->channels, pattern);
    }
    return NULL;
}

static bool apply_word(struct selector *selector, const struct rule_set *rules, struct bytes rule) {
    if (bytes_equal_text_nocase(rule, "allcommands")) {
        set_all(selector, rules, true);
    } else if (bytes_equal_text_nocase(rule, "nocommands")) {
        set_all(selector, rules, false);
    } else if (bytes_equal_text_nocase(rule, "allkeys")) {
        forget_keys(selector);
        selector->has_all_keys = true;
    } else if (bytes_equal_text_nocase(rule, "resetkeys")) {
        forget_keys(selector);
    } else if (bytes_equal_text_nocase(rule, "allchannels")) {
        forget_channels(selector);
        selector->has_all_channels = true;
    } else if (bytes_equal_text_nocase(rule, "resetchannels")) {
        forget_channels(selector);
    } else {
        return false;
    }
    return true;
}

/* A rule is written down between blanks, so it has none itself, and nothing that ends a text. */
static bool is_one_word(struct bytes rule) {
    for (size_t i = 0; i < rule.len; i++) {
        uint8_t byte = rule.data[i];
        if (byte == '\0' || byte == ' ' || (byte >= '\t' && byte <= '\r')) return false;
    }
    return true;
}

const char *selector_apply(struct selector *selector, const struct rule_set *rules,
                           struct bytes rule) {
    if (apply_word(selector, rules, rule)) return NULL;
    if (rule.len == 0 || !is_one_word(rule)) return syntax_text;
    struct bytes rest = bytes_from(rule, 1);
    switch (rule.data[0]) {
    case '~':
        return apply_key_pattern(selector, rest, KEYS_READABLE | KEYS_WRITABLE,
                                 bytes_equal_text(rest, "*"));
    case '%':
        return apply_limited_pattern(selector, rule);
    case '&':
        return apply_channel(selector, rest);
    case '+':
        return apply_command(selector, rules, rest, true);
    case '-':
        return apply_command(selector, rules, rest, false);
    default:
        return syntax_text;
    }
}

/* -- checks -- */

static bool allows_command(const struct selector *selector, const struct access_request *request) {
    if (has_command(selector, request->command_id)) return true;
    if ((request->row->flags & COMMAND_NO_AUTH) != 0) return true;
    if (request->argc < 2) return false;
    for (uint32_t i = 0; i < selector->first_argument_count; i++) {
        const struct first_argument *known = &selector->first_arguments[i];
        if (known->command_id == request->command_id &&
            bytes_equal_text_nocase(request->argv[1], known->argument))
            return true;
    }
    return false;
}

/* What a command does with a key, as rights. A name that is only looked at (EXISTS, TYPE) has to
 * match a pattern, whatever that allows. */
static uint32_t needed_rights(uint32_t key_flags) {
    uint32_t rights = 0;
    if ((key_flags & KEY_ACCESS) != 0) rights |= KEYS_READABLE;
    if ((key_flags & (KEY_INSERT | KEY_UPDATE | KEY_DELETE)) != 0) rights |= KEYS_WRITABLE;
    return rights;
}

static bool allows_key(const struct selector *selector, struct bytes key, uint32_t key_flags) {
    uint32_t rights = needed_rights(key_flags);
    for (uint32_t i = 0; i < selector->key_count; i++) {
        const struct key_pattern *pattern = &selector->keys[i];
        if ((pattern->rights & rights) == rights &&
            glob_matches(bytes_of_text(pattern->pattern), key, false))
            return true;
    }
    return false;
}

static bool allows_keys(const struct selector *selector, const struct access_request *request,
                        uint32_t *out_argument) {
    if (selector->has_all_keys || !command_has_keys(request->row)) return true;
    uint32_t on_stack[2 * KEYS_ON_STACK];
    uint32_t *positions = on_stack;
    uint32_t cap = KEYS_ON_STACK;
    int count =
        command_keys(request->row, request->argv, request->argc, positions, positions + cap, cap);
    if (count > (int)cap) {
        cap = (uint32_t)count;
        positions = mem_alloc(2 * (size_t)cap * sizeof(*positions));
        count = command_keys(request->row, request->argv, request->argc, positions, positions + cap,
                             cap);
    }
    bool is_allowed = true;
    for (int i = 0; i < count && is_allowed; i++) {
        uint32_t flags = positions[cap + (uint32_t)i];
        if ((flags & KEY_NOT_KEY) != 0) continue;
        if (allows_key(selector, request->argv[positions[i]], flags)) continue;
        is_allowed = false;
        *out_argument = positions[i];
    }
    if (positions != on_stack) mem_free(positions);
    return is_allowed;
}

bool selector_allows_channel(const struct selector *selector, struct bytes name, bool is_pattern) {
    if (selector->has_all_channels) return true;
    for (uint32_t i = 0; i < selector->channels.count; i++) {
        struct bytes allowed = bytes_of_text(selector->channels.items[i]);
        // Of patterns nobody can say whether one is part of another.
        if (is_pattern ? bytes_equal(allowed, name) : glob_matches(allowed, name, false))
            return true;
    }
    return false;
}

static bool allows_channels(const struct selector *selector, const struct access_request *request,
                            uint32_t *out_argument) {
    uint8_t kind = request->row->channels;
    if (kind == CHANNELS_NONE || selector->has_all_channels) return true;
    uint32_t end = kind == CHANNELS_FIRST ? 2 : request->argc;
    for (uint32_t i = 1; i < end && i < request->argc; i++) {
        if (selector_allows_channel(selector, request->argv[i], kind == CHANNELS_PATTERNS))
            continue;
        *out_argument = i;
        return false;
    }
    return true;
}

enum access_verdict selector_check(const struct selector *selector,
                                   const struct access_request *request, uint32_t *out_argument) {
    if (!allows_command(selector, request)) return ACCESS_DENIED_COMMAND;
    if (!allows_keys(selector, request, out_argument)) return ACCESS_DENIED_KEY;
    if (!allows_channels(selector, request, out_argument)) return ACCESS_DENIED_CHANNEL;
    return ACCESS_GRANTED;
}

bool selector_reads_all_keys(const struct selector *selector) {
    if (selector->has_all_keys) return true;
    for (uint32_t i = 0; i < selector->key_count; i++) {
        if ((selector->keys[i].rights & KEYS_READABLE) != 0 &&
            strcmp(selector->keys[i].pattern, "*") == 0)
            return true;
    }
    return false;
}

/* -- texts -- */

void selector_describe_commands(const struct selector *selector, struct buffer *out) {
    buffer_append_text(out, selector->begins_with_all ? "+@all" : "-@all");
    for (uint32_t i = 0; i < selector->rules.count; i++)
        buffer_append_format(out, " %s", selector->rules.items[i]);
}

/* As redis-server shows it, but for "%RW~*" beside others: "~*" could not be read again there. */
static const char *words_before(const struct selector *selector, uint32_t index) {
    static const char *const before[] = {
        [KEYS_READABLE] = "%R~", [KEYS_WRITABLE] = "%W~", [KEYS_READABLE | KEYS_WRITABLE] = "~"};
    const char *words = before[selector->keys[index].rights];
    bool means_all = words[0] == '~' && strcmp(selector->keys[index].pattern, "*") == 0;
    return means_all && selector->key_count > 1 ? "%RW~" : words;
}

void selector_describe_keys(const struct selector *selector, struct buffer *out) {
    if (selector->has_all_keys) buffer_append_text(out, "~*");
    for (uint32_t i = 0; i < selector->key_count; i++)
        buffer_append_format(out, "%s%s%s", i > 0 ? " " : "", words_before(selector, i),
                             selector->keys[i].pattern);
}

void selector_describe_channels(const struct selector *selector, struct buffer *out) {
    if (selector->has_all_channels) buffer_append_text(out, "&*");
    for (uint32_t i = 0; i < selector->channels.count; i++)
        buffer_append_format(out, "%s&%s", i > 0 ? " " : "", selector->channels.items[i]);
}

void selector_describe(const struct selector *selector, struct buffer *out) {
    size_t start = out->len;
    selector_describe_keys(selector, out);
    if (out->len > start) buffer_append_u8(out, ' ');
    if (!selector->has_all_channels) buffer_append_text(out, "resetchannels ");
    start = out->len;
    selector_describe_channels(selector, out);
    if (out->len > start) buffer_append_u8(out, ' ');
    selector_describe_commands(selector, out);
}

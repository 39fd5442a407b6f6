/* Users and selectors as values: rules go in, verdicts and texts come out. No sessions, no files.
 */
#pragma once

#include "server/base/buffer.h"
#include "server/base/status.h"
#include "server/command/access.h"
#include "server/command/command.h"

/* A list of texts, each its own copy. */
struct text_list {
    char **items; /* Each with a NUL behind it. */
    uint32_t count;
};
void text_list_add(struct text_list *list, struct bytes text);
void text_list_remove(struct text_list *list, uint32_t index);
void text_list_clear(struct text_list *list);
bool text_list_has(const struct text_list *list, struct bytes text);
void text_list_copy(struct text_list *out, const struct text_list *list);

/* What a user may do with the keys that a pattern matches. */
enum { KEYS_READABLE = 1 << 0, KEYS_WRITABLE = 1 << 1 };

struct key_pattern {
    char *pattern;
    uint32_t rights; /* KEYS_* */
};

/* "+select|0": of this command, only with this first argument. */
struct first_argument {
    uint32_t command_id;
    char *argument;
};

struct selector {
    bool has_all_commands; /* "+@all", and nothing was taken away since. */
    bool has_all_keys;
    bool has_all_channels;
    uint64_t *commands;     /* A bit for each command_table_id. */
    struct text_list rules; /* What was said about commands, behind the first word: */
    bool begins_with_all;   /* "+@all", or "-@all". */
    struct first_argument *first_arguments;
    uint32_t first_argument_count;
    struct key_pattern *keys;
    uint32_t key_count;
    struct text_list channels;
};

struct rule_set {
    const struct command_table *commands;
    bool fresh_has_all_channels; /* acl-pubsub-default */
};

void selector_init(struct selector *selector, const struct rule_set *rules);
void selector_deinit(struct selector *selector);
void selector_copy(struct selector *out, const struct selector *selector,
                   const struct rule_set *rules);

/* Applies a rule about commands, keys or channels. NULL, or what is wrong with it: then nothing has
 * changed. */
const char *selector_apply(struct selector *selector, const struct rule_set *rules,
                           struct bytes rule);

/* *out_argument is the word that was denied, when it is a key or a channel. */
enum access_verdict selector_check(const struct selector *selector,
                                   const struct access_request *request, uint32_t *out_argument);
bool selector_allows_channel(const struct selector *selector, struct bytes name, bool is_pattern);
bool selector_reads_all_keys(const struct selector *selector);

void selector_describe_commands(const struct selector *selector, struct buffer *out);
void selector_describe_keys(const struct selector *selector, struct buffer *out);
/* Without "resetchannels" in front. */
void selector_describe_channels(const struct selector *selector, struct buffer *out);
/* All three, as rules. */
void selector_describe(const struct selector *selector, struct buffer *out);

enum { PASSWORD_HEX = 64 }; /* Of a SHA-256. */

struct acl_user {
    char *name;
    size_t name_len; /* A name has no NUL and no blanks; it may be empty. */
    bool is_on;
    bool needs_no_password;
    bool skips_sanitizing; /* skip-sanitize-payload: shown and kept; RESTORE checks all the same. */
    bool may_do_everything;     /* Derived: one of the selectors allows all there is. */
    struct text_list passwords; /* Hex digits. */
    struct selector root;
    struct selector *selectors; /* Those in parentheses. */
    uint32_t selector_count;
};

/* A user that is off, has no password and may do nothing. */
struct acl_user *user_create(struct bytes name, const struct rule_set *rules);
void user_destroy(struct acl_user *user);
/* A copy of another's contents in place of its own; the names stay. */
void user_assign(struct acl_user *user, const struct acl_user *other, const struct rule_set *rules);
/* Takes the other's contents, and destroys the rest of it. */
void user_take(struct acl_user *user, struct acl_user *other);

bool user_name_is_valid(struct bytes name);

/* Applies rules from left to right. On failure `error` gets the whole reason, as ACL SETUSER's
 * error has it behind "ERR ", or with `is_plain` the bare reason; the user is then half changed, so
 * apply to a copy. */
bool user_apply(struct acl_user *user, const struct rule_set *rules, const struct bytes *words,
                uint32_t count, bool is_plain, struct buffer *error);

/* Takes the same time whichever passwords there are and whatever they begin with. */
bool user_has_password(const struct acl_user *user, struct bytes password);

enum access_verdict user_check(const struct acl_user *user, const struct access_request *request,
                               uint32_t *out_argument);
bool user_allows_channel(const struct acl_user *user, struct bytes name, bool is_pattern);

/* "user name on ... +@all", as ACL LIST and files have it. */
void user_describe(const struct acl_user *user, struct buffer *out);

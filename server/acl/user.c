#include <stdio.h>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "server/acl/rules_internal.h"
#include "server/base/mem.h"

/* -- life -- */

struct acl_user *user_create(struct bytes name, const struct rule_set *rules) {
    struct acl_user *user = mem_alloc_zero(sizeof(*user));
    user->name = bytes_copy_text(name);
    user->name_len = name.len;
    selector_init(&user->root, rules);
    return user;
}

static void forget_selectors(struct acl_user *user) {
    for (uint32_t i = 0; i < user->selector_count; i++)
        selector_deinit(&user->selectors[i]);
    mem_free(user->selectors);
    user->selectors = NULL;
    user->selector_count = 0;
}

static void forget_contents(struct acl_user *user) {
    text_list_clear(&user->passwords);
    selector_deinit(&user->root);
    forget_selectors(user);
}

void user_destroy(struct acl_user *user) {
    if (user == NULL) return;
    forget_contents(user);
    mem_free(user->name);
    mem_free(user);
}

static void add_selector_take(struct acl_user *user, const struct selector *selector) {
    user->selectors =
        mem_realloc(user->selectors, (user->selector_count + 1) * sizeof(*user->selectors));
    user->selectors[user->selector_count++] = *selector;
}

void user_assign(struct acl_user *user, const struct acl_user *other,
                 const struct rule_set *rules) {
    struct acl_user *copy = user_create(bytes_of(other->name, other->name_len), rules);
    selector_deinit(&copy->root);
    copy->is_on = other->is_on;
    copy->needs_no_password = other->needs_no_password;
    copy->skips_sanitizing = other->skips_sanitizing;
    copy->may_do_everything = other->may_do_everything;
    text_list_copy(&copy->passwords, &other->passwords);
    selector_copy(&copy->root, &other->root, rules);
    for (uint32_t i = 0; i < other->selector_count; i++) {
        struct selector selector;
        selector_copy(&selector, &other->selectors[i], rules);
        add_selector_take(copy, &selector);
    }
    user_take(user, copy);
}

void user_take(struct acl_user *user, struct acl_user *other) {
    struct acl_user old = *user;
    *user = *other;
    user->name = old.name;
    user->name_len = old.name_len;
    forget_contents(&old);
    mem_free(other->name);
    mem_free(other);
}

bool user_name_is_valid(struct bytes name) {
    for (size_t i = 0; i < name.len; i++) {
        uint8_t byte = name.data[i];
        if (byte == '\0' || byte == ' ' || (byte >= '\t' && byte <= '\r')) return false;
    }
    return true;
}

/* -- passwords -- */

static void hash_password(struct bytes password, char out[PASSWORD_HEX + 1]) {
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256(password.data, password.len, digest);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static bool is_hash(struct bytes text) {
    if (text.len != PASSWORD_HEX) return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
    }
    return true;
}

/* Every password is compared, and each comparison takes the same time. */
bool user_has_password(const struct acl_user *user, struct bytes password) {
    char hash[PASSWORD_HEX + 1];
    hash_password(password, hash);
    bool is_found = false;
    for (uint32_t i = 0; i < user->passwords.count; i++)
        is_found |= CRYPTO_memcmp(user->passwords.items[i], hash, PASSWORD_HEX) == 0;
    return is_found;
}

static const char *apply_password(struct acl_user *user, struct bytes rule) {
    char hash[PASSWORD_HEX + 1];
    char kind = (char)rule.data[0];
    struct bytes text = bytes_from(rule, 1);
    if (kind == '>' || kind == '<') {
        hash_password(text, hash);
        text = bytes_of(hash, PASSWORD_HEX);
    } else if (!is_hash(text)) {
        return "The password hash must be exactly 64 characters and contain only lowercase "
               "hexadecimal characters";
    }
    if (kind == '>' || kind == '#') {
        if (!text_list_has(&user->passwords, text)) text_list_add(&user->passwords, text);
        user->needs_no_password = false;
        return NULL;
    }
    for (uint32_t i = 0; i < user->passwords.count; i++) {
        if (!bytes_equal_text(text, user->passwords.items[i])) continue;
        text_list_remove(&user->passwords, i);
        return NULL;
    }
    return "The password you are trying to remove from the user does not exist";
}

/* -- rules -- */

static void reset(struct acl_user *user, const struct rule_set *rules) {
    forget_contents(user);
    user->is_on = user->needs_no_password = user->skips_sanitizing = false;
    selector_init(&user->root, rules);
}

static bool apply_word(struct acl_user *user, const struct rule_set *rules, struct bytes rule) {
    if (bytes_equal_text_nocase(rule, "on")) {
        user->is_on = true;
    } else if (bytes_equal_text_nocase(rule, "off")) {
        user->is_on = false;
    } else if (bytes_equal_text_nocase(rule, "nopass")) {
        user->needs_no_password = true;
        text_list_clear(&user->passwords);
    } else if (bytes_equal_text_nocase(rule, "resetpass")) {
        user->needs_no_password = false;
        text_list_clear(&user->passwords);
    } else if (bytes_equal_text_nocase(rule, "sanitize-payload")) {
        user->skips_sanitizing = false;
    } else if (bytes_equal_text_nocase(rule, "skip-sanitize-payload")) {
        user->skips_sanitizing = true;
    } else if (bytes_equal_text_nocase(rule, "clearselectors")) {
        forget_selectors(user);
    } else if (bytes_equal_text_nocase(rule, "reset")) {
        reset(user, rules);
    } else {
        return false;
    }
    return true;
}

static bool is_blank(uint8_t byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* "(+get ~key)" */
static const char *apply_selector(struct acl_user *user, const struct rule_set *rules,
                                  struct bytes rule) {
    struct bytes rest = bytes_of(rule.data + 1, rule.len - 2);
    struct selector selector;
    selector_init(&selector, rules);
    const char *problem = NULL;
    while (problem == NULL) {
        while (rest.len > 0 && is_blank(rest.data[0]))
            rest = bytes_from(rest, 1);
        if (rest.len == 0) break;
        size_t len = 0;
        while (len < rest.len && !is_blank(rest.data[len]))
            len++;
        // In a file it would be taken for the selector's end.
        problem = rest.data[len - 1] == ')'
                      ? "Syntax error"
                      : selector_apply(&selector, rules, bytes_of(rest.data, len));
        rest = bytes_from(rest, len);
    }
    if (problem != NULL) {
        selector_deinit(&selector);
    } else {
        add_selector_take(user, &selector);
    }
    return problem;
}

static const char *apply_rule(struct acl_user *user, const struct rule_set *rules,
                              struct bytes rule) {
    if (apply_word(user, rules, rule)) return NULL;
    if (rule.len > 0 && memchr("><#!", rule.data[0], 4) != NULL) return apply_password(user, rule);
    if (rule.len > 1 && rule.data[0] == '(') return apply_selector(user, rules, rule);
    return selector_apply(&user->root, rules, rule);
}

/* A selector may have come as several words; they are one again in `out`. Returns how many it took,
 * 0 when its end is missing. */
static uint32_t join_selector(const struct bytes *words, uint32_t count, struct buffer *out) {
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) buffer_append_u8(out, ' ');
        buffer_append_bytes(out, words[i]);
        if (words[i].len > 0 && words[i].data[words[i].len - 1] == ')') return i + 1;
    }
    return 0;
}

static bool refuse(struct buffer *error, bool is_plain, struct bytes rule, const char *problem) {
    if (is_plain) {
        buffer_append_text(error, problem);
    } else {
        buffer_append_format(error, "Error in ACL SETUSER modifier '%.*s': %s",
                             (int)(rule.len < 256 ? rule.len : 256), (const char *)rule.data,
                             problem);
    }
    return false;
}

static bool does_everything(const struct selector *selector) {
    return selector->has_all_commands && selector->has_all_keys && selector->has_all_channels;
}

static void derive(struct acl_user *user) {
    user->may_do_everything = does_everything(&user->root);
    for (uint32_t i = 0; i < user->selector_count; i++)
        user->may_do_everything |= does_everything(&user->selectors[i]);
}

bool user_apply(struct acl_user *user, const struct rule_set *rules, const struct bytes *words,
                uint32_t count, bool is_plain, struct buffer *error) {
    struct buffer joined = {0};
    bool is_fine = true;
    for (uint32_t i = 0; i < count && is_fine;) {
        struct bytes rule = words[i];
        uint32_t taken = 1;
        if (rule.len > 0 && rule.data[0] == '(') {
            buffer_clear(&joined);
            taken = join_selector(words + i, count - i, &joined);
            rule = buffer_view(&joined);
        }
        if (taken == 0) {
            buffer_append_format(error, "Unmatched parenthesis in acl selector starting at '%.*s'.",
                                 (int)(words[i].len < 256 ? words[i].len : 256),
                                 (const char *)words[i].data);
            is_fine = false;
            break;
        }
        const char *problem = apply_rule(user, rules, rule);
        if (problem != NULL) is_fine = refuse(error, is_plain, rule, problem);
        i += taken;
    }
    buffer_deinit(&joined);
    derive(user);
    return is_fine;
}

/* -- checks -- */

/* Of several reasons that of the selector which got furthest is told. */
enum access_verdict user_check(const struct acl_user *user, const struct access_request *request,
                               uint32_t *out_argument) {
    *out_argument = 0;
    enum access_verdict nearest = selector_check(&user->root, request, out_argument);
    for (uint32_t i = 0; nearest != ACCESS_GRANTED && i < user->selector_count; i++) {
        uint32_t argument = 0;
        enum access_verdict verdict = selector_check(&user->selectors[i], request, &argument);
        bool is_nearer = verdict > nearest || (verdict == nearest && argument > *out_argument);
        if (verdict != ACCESS_GRANTED && !is_nearer) continue;
        nearest = verdict;
        *out_argument = argument;
    }
    return nearest;
}

bool user_allows_channel(const struct acl_user *user, struct bytes name, bool is_pattern) {
    if (selector_allows_channel(&user->root, name, is_pattern)) return true;
    for (uint32_t i = 0; i < user->selector_count; i++) {
        if (selector_allows_channel(&user->selectors[i], name, is_pattern)) return true;
    }
    return false;
}

/* -- text -- */

void user_describe(const struct acl_user *user, struct buffer *out) {
    buffer_append_format(out, "user %s %s ", user->name, user->is_on ? "on" : "off");
    if (user->needs_no_password) buffer_append_text(out, "nopass ");
    buffer_append_text(out,
                       user->skips_sanitizing ? "skip-sanitize-payload " : "sanitize-payload ");
    for (uint32_t i = 0; i < user->passwords.count; i++)
        buffer_append_format(out, "#%s ", user->passwords.items[i]);
    selector_describe(&user->root, out);
    for (uint32_t i = 0; i < user->selector_count; i++) {
        buffer_append_text(out, " (");
        selector_describe(&user->selectors[i], out);
        buffer_append_u8(out, ')');
    }
}

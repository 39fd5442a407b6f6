/* Users in files: lines of the configuration, and the file of ACL LOAD and ACL SAVE. */
#include <errno.h>
#include <stdio.h>

#include "server/acl/acl_internal.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/base/words.h"

static const char duplicate_text[] =
    "Duplicate user found. A user can only be defined once in config files";

static struct bytes name_of(const struct acl_user *user) {
    return bytes_of(user->name, user->name_len);
}

/* -- lines of the configuration -- */

static bool has_declared(const struct acl *acl, struct bytes name) {
    struct words words = {0};
    bool is_there = false;
    for (uint32_t i = 0; i < acl->declared.count && !is_there; i++) {
        struct bytes line = bytes_of_text(acl->declared.items[i]);
        is_there = words_split(&words, line, CONFIG_LINE_WORDS_MAX) == STATUS_OK &&
                   bytes_equal(words.items[0], name);
    }
    words_deinit(&words);
    return is_there;
}

/* A user made of a line, or NULL and why there is none. */
static struct acl_user *user_of_line(struct acl *acl, const struct bytes *words, size_t count,
                                     struct buffer *error) {
    if (!user_name_is_valid(words[0])) {
        buffer_append_text(error, "Usernames can't contain spaces or null characters");
        return NULL;
    }
    struct acl_user *user = user_create(words[0], acl_rules(acl));
    if (user_apply(user, acl_rules(acl), words + 1, (uint32_t)count - 1, true, error)) return user;
    user_destroy(user);
    return NULL;
}

static void wrap_error(struct bytes name, const struct buffer *reason, struct buffer *error) {
    buffer_append_format(error, "Error in user declaration '%.*s': %.*s",
                         (int)(name.len < 128 ? name.len : 128), (const char *)name.data,
                         (int)reason->len, (const char *)reason->data);
}

/* Checked now, so that the error names the line; kept, since a later line may say what new users
 * begin with (acl-pubsub-default). */
bool acl_declare(struct acl *acl, const struct bytes *words, size_t count, struct buffer *error) {
    if (count == 0) {
        buffer_append_text(error, "Bad directive or wrong number of arguments");
        return false;
    }
    struct buffer reason = {0};
    struct acl_user *user = NULL;
    if (has_declared(acl, words[0])) {
        buffer_append_text(&reason, duplicate_text);
    } else {
        user = user_of_line(acl, words, count, &reason);
    }
    if (user == NULL) {
        wrap_error(words[0], &reason, error);
    } else {
        struct buffer line = {0};
        for (size_t i = 0; i < count; i++) {
            if (i > 0) buffer_append_u8(&line, ' ');
            words_append_quoted(&line, words[i]);
        }
        text_list_add(&acl->declared, buffer_view(&line));
        buffer_deinit(&line);
    }
    bool is_fine = user != NULL;
    user_destroy(user);
    buffer_deinit(&reason);
    return is_fine;
}

static bool take_declared(struct acl *acl, bool *out_has_default, struct buffer *error) {
    struct words words = {0};
    struct buffer reason = {0};
    bool is_fine = true;
    for (uint32_t i = 0; i < acl->declared.count && is_fine; i++) {
        struct bytes line = bytes_of_text(acl->declared.items[i]);
        struct acl_user *user = NULL;
        if (words_split(&words, line, CONFIG_LINE_WORDS_MAX) == STATUS_OK)
            user = user_of_line(acl, words.items, words.count, &reason);
        if (user == NULL) {
            is_fine = false;
            wrap_error(words.items[0], &reason, error);
        } else if (bytes_equal_text(name_of(user), "default")) {
            *out_has_default = true;
            user_take(acl->default_user, user);
        } else {
            acl_add_take(acl, user);
        }
    }
    words_deinit(&words);
    buffer_deinit(&reason);
    return is_fine;
}

bool acl_start(struct acl *acl, struct buffer *error) {
    bool has_default = false;
    if (acl_has_file(acl)) {
        if (acl->declared.count > 0) {
            buffer_append_text(error, "Users stand in the configuration and there is an 'aclfile', "
                                      "too: declare them in one of the two places");
            return false;
        }
        if (acl->options->password[0] != '\0')
            log_warning("With 'aclfile' the option 'requirepass' counts for nothing: give the user "
                        "'default' its password in %s",
                        acl->options->file);
        return acl_load(acl, NULL, error);
    }
    if (!take_declared(acl, &has_default, error)) return false;
    text_list_clear(&acl->declared);
    if (!has_default && acl->options->password[0] != '\0') acl_set_default_password(acl);
    return true;
}

bool acl_format_line(const struct acl *acl, size_t index, struct buffer *out) {
    static const char keyword[] = "user ";
    if (acl_has_file(acl) || index >= acl->user_count) return false;
    struct buffer text = {0};
    user_describe(acl->users[index], &text);
    struct bytes rest = bytes_from(buffer_view(&text), sizeof(keyword) - 1);
    for (bool is_first = true; is_first || rest.len > 0; is_first = false) {
        const uint8_t *blank = memchr(rest.data, ' ', rest.len);
        size_t len = blank == NULL ? rest.len : (size_t)(blank - rest.data);
        if (!is_first) buffer_append_u8(out, ' ');
        words_append(out, bytes_of(rest.data, len));
        rest = bytes_from(rest, blank == NULL ? len : len + 1);
    }
    buffer_deinit(&text);
    return true;
}

/* -- the file -- */

/* What a file holds, before it takes the place of the users. */
struct loaded {
    struct acl_user **users;
    uint32_t count;
};

static struct acl_user *find_loaded(const struct loaded *loaded, struct bytes name) {
    for (uint32_t i = 0; i < loaded->count; i++) {
        if (loaded->users[i] != NULL && bytes_equal(name_of(loaded->users[i]), name))
            return loaded->users[i];
    }
    return NULL;
}

static bool is_blank(uint8_t byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Cuts at blanks; nothing is quoted in this file. mem_free the array. */
static struct bytes *cut_line(struct bytes line, uint32_t *out_count) {
    struct bytes *words = mem_alloc((line.len / 2 + 1) * sizeof(*words));
    uint32_t count = 0;
    for (size_t at = 0; at < line.len;) {
        size_t end = at;
        while (end < line.len && !is_blank(line.data[end]))
            end++;
        if (end > at) words[count++] = bytes_of(line.data + at, end - at);
        at = end + 1;
    }
    *out_count = count;
    return words;
}

static void load_line(struct acl *acl, struct loaded *loaded, struct bytes line, unsigned number,
                      struct buffer *error) {
    const char *path = acl->options->file;
    uint32_t count = 0;
    struct bytes *words = cut_line(line, &count);
    struct buffer reason = {0};
    if (count == 0) {
        // An empty line.
    } else if (count < 2 || !bytes_equal_text(words[0], "user")) {
        buffer_append_format(
            error, "%s:%u should start with user keyword followed by the username. ", path, number);
    } else if (find_loaded(loaded, words[1]) != NULL) {
        buffer_append_format(error, "WARNING: Duplicate user '%.*s' found on line %u. ",
                             (int)(words[1].len < 128 ? words[1].len : 128),
                             (const char *)words[1].data, number);
    } else {
        struct acl_user *user = user_of_line(acl, words + 1, count - 1, &reason);
        if (user == NULL) {
            bool ends_already = reason.data[reason.len - 1] == '.';
            buffer_append_format(error, "%s:%u: %.*s%s ", path, number, (int)reason.len,
                                 (const char *)reason.data, ends_already ? "" : ".");
            // A name that came with bad rules came all the same: a second one is a duplicate.
            user = user_create(words[1], acl_rules(acl));
        }
        loaded->users = mem_realloc(loaded->users, (loaded->count + 1) * sizeof(struct acl_user *));
        loaded->users[loaded->count++] = user;
    }
    buffer_deinit(&reason);
    mem_free(words);
}

static void load_lines(struct acl *acl, struct loaded *loaded, struct bytes text,
                       struct buffer *error) {
    for (unsigned number = 1; text.len > 0; number++) {
        const uint8_t *newline = memchr(text.data, '\n', text.len);
        size_t len = newline == NULL ? text.len : (size_t)(newline - text.data);
        load_line(acl, loaded, bytes_of(text.data, len), number, error);
        text = bytes_from(text, newline == NULL ? len : len + 1);
    }
}

/* Whether both are described alike: then nothing changes for anybody. */
static bool is_unchanged(const struct acl_user *a, const struct acl_user *b) {
    struct buffer text_a = {0};
    struct buffer text_b = {0};
    user_describe(a, &text_a);
    user_describe(b, &text_b);
    bool is_equal = bytes_equal(buffer_view(&text_a), buffer_view(&text_b));
    buffer_deinit(&text_a);
    buffer_deinit(&text_b);
    return is_equal;
}

/* Sessions of users that go or change end, but for the default user's. */
static void replace_users(struct acl *acl, struct loaded *loaded, const struct session *me) {
    for (uint32_t i = acl->user_count; i-- > 0;) {
        struct acl_user *user = acl->users[i];
        if (user != acl->default_user && find_loaded(loaded, name_of(user)) == NULL)
            acl_delete(acl, user, me);
    }
    if (find_loaded(loaded, name_of(acl->default_user)) == NULL)
        acl_change_take(acl, acl->default_user, acl_create_default(acl), me);
    for (uint32_t i = 0; i < loaded->count; i++) {
        struct acl_user *fresh = loaded->users[i];
        struct acl_user *user = acl_find(acl, name_of(fresh));
        if (user == NULL) {
            acl_add_take(acl, fresh);
        } else if (is_unchanged(user, fresh)) {
            user_destroy(fresh);
        } else {
            if (user != acl->default_user) acl_close_sessions(acl, user, me);
            acl_change_take(acl, user, fresh, me);
        }
        loaded->users[i] = NULL;
    }
    acl_refresh_sessions(acl);
}

bool acl_load(struct acl *acl, const struct session *me, struct buffer *error) {
    struct buffer text = {0};
    if (config_file_io.read(acl->options->file, &text) != STATUS_OK) {
        buffer_append_format(error, "Error loading ACLs, opening file '%s': %s", acl->options->file,
                             strerror(errno));
        buffer_deinit(&text);
        return false;
    }
    struct loaded loaded = {0};
    size_t error_start = error->len;
    load_lines(acl, &loaded, buffer_view(&text), error);
    bool is_fine = error->len == error_start;
    if (is_fine) {
        replace_users(acl, &loaded, me);
    } else {
        buffer_append_text(error, "WARNING: ACL errors detected, no change to the previously "
                                  "active ACL rules was performed");
    }
    for (uint32_t i = 0; i < loaded.count; i++)
        user_destroy(loaded.users[i]);
    mem_free(loaded.users);
    buffer_deinit(&text);
    return is_fine;
}

bool acl_save(const struct acl *acl) {
    struct buffer text = {0};
    for (uint32_t i = 0; i < acl->user_count; i++) {
        user_describe(acl->users[i], &text);
        buffer_append_u8(&text, '\n');
    }
    enum status status = config_file_io.replace(acl->options->file, buffer_view(&text));
    int reason = errno;
    buffer_deinit(&text);
    errno = reason;
    return status == STATUS_OK;
}

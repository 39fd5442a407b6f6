#include "tools/cli/history.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/buffer.h"
#include "server/base/mem.h"
#include "server/base/number.h"

struct history {
    char *path; /* Owned; NULL: no file. */
    struct word_list lines;
    struct buffer is_hidden; /* A byte for each line: 1 if it never goes into the file. */
};

static void drop_oldest(struct history *history) {
    mem_free((void *)history->lines.items[0].data);
    history->lines.count--;
    memmove(history->lines.items, history->lines.items + 1,
            history->lines.count * sizeof(*history->lines.items));
    buffer_consume(&history->is_hidden, 1);
}

static bool append(struct history *history, struct bytes line, bool is_hidden) {
    size_t count = history->lines.count;
    if (line.len == 0) return false;
    if (count > 0 && bytes_equal(history->lines.items[count - 1], line)) return false;
    if (count == HISTORY_LINES_MAX) drop_oldest(history);
    word_list_append(&history->lines, line);
    buffer_append_u8(&history->is_hidden, is_hidden);
    return true;
}

struct history *history_create(const char *path) {
    struct history *history = mem_alloc_zero(sizeof(*history));
    if (path == NULL || strcmp(path, "/dev/null") == 0) return history;
    history->path = bytes_copy_text(bytes_of_text(path));
    FILE *file = fopen(path, "r");
    if (file == NULL) return history;
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    while ((len = getline(&line, &cap, file)) >= 0) {
        if (len > 0 && line[len - 1] == '\n') len--;
        append(history, bytes_of(line, (size_t)len), false);
    }
    free(line);
    fclose(file);
    return history;
}

void history_destroy(struct history *history) {
    if (history == NULL) return;
    word_list_deinit(&history->lines);
    buffer_deinit(&history->is_hidden);
    mem_free(history->path);
    mem_free(history);
}

/* Writes all that may be seen. A file that cannot be written is no reason to disturb the user. */
static void save(const struct history *history) {
    if (history->path == NULL) return;
    int fd = open(history->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (file == NULL) {
        if (fd >= 0) close(fd);
        return;
    }
    if (fchmod(fd, 0600) == 0) {
        for (size_t i = 0; i < history->lines.count; i++) {
            if (history->is_hidden.data[i]) continue;
            fwrite(history->lines.items[i].data, 1, history->lines.items[i].len, file);
            fputc('\n', file);
        }
    }
    fclose(file);
}

void history_add(struct history *history, struct bytes line) {
    bool is_secret = history_is_secret(line);
    if (append(history, line, is_secret) && !is_secret) save(history);
}

size_t history_count(const struct history *history) {
    return history->lines.count;
}

struct bytes history_line_view(const struct history *history, size_t index) {
    return history->lines.items[index];
}

/* ---- secrets ---- */

static bool is_word(const struct word_list *words, size_t at, const char *text) {
    return at < words->count && bytes_equal_text_nocase(words->items[at], text);
}

static bool is_any(const struct word_list *words, size_t at, const char *const *texts) {
    for (; *texts != NULL; texts++) {
        if (is_word(words, at, *texts)) return true;
    }
    return false;
}

/* Names of parameters that hold passwords, or users that go with them. */
static bool is_secret_parameter(const struct word_list *words, size_t at) {
    static const char *const names[] = {"masterauth",
                                        "masteruser",
                                        "primaryauth",
                                        "primaryuser",
                                        "requirepass",
                                        "tls-key-file-pass",
                                        "tls-client-key-file-pass",
                                        NULL};
    if (at >= words->count) return false;
    struct bytes name = words->items[at];
    bool ends_in_pass =
        name.len >= 4 && bytes_equal_text_nocase(bytes_from(name, name.len - 4), "pass");
    return ends_in_pass || is_any(words, at, names);
}

static bool is_secret_config(const struct word_list *words, size_t at) {
    for (size_t i = at; i < words->count; i += 2) {
        if (is_secret_parameter(words, i)) return true;
    }
    return false;
}

static bool has_auth(const struct word_list *words, size_t from, bool stops_at_keys) {
    for (size_t i = from; i < words->count; i++) {
        if (stops_at_keys && is_word(words, i, "keys")) return false;
        if (is_word(words, i, "auth") || (stops_at_keys && is_word(words, i, "auth2"))) return true;
    }
    return false;
}

static bool is_secret_sentinel(const struct word_list *words, size_t at) {
    static const char *const global[] = {"sentinel-pass", "sentinel-user", NULL};
    static const char *const named[] = {"auth-pass", "auth-user", NULL};
    if (is_word(words, at, "config") && is_word(words, at + 1, "set")) {
        for (size_t i = at + 2; i < words->count; i += 2) {
            if (is_any(words, i, global)) return true;
        }
    }
    if (is_word(words, at, "set")) {
        for (size_t i = at + 2; i < words->count; i += 2) {
            if (is_any(words, i, named)) return true;
        }
    }
    return false;
}

bool history_is_secret(struct bytes line) {
    static const char *const acl[] = {"setuser", "deluser", "getuser", NULL};
    struct word_list words = {0};
    int64_t repeats;
    bool is_secret = false;
    /* A line with wrong quotes never ran, and may be a secret mistyped. */
    if (!word_list_append_line(&words, line)) return true;
    size_t at = words.count > 0 && number_parse_i64(words.items[0], &repeats) ? 1 : 0;
    if (is_word(&words, at, "auth")) {
        is_secret = true;
    } else if (is_word(&words, at, "acl")) {
        is_secret = is_any(&words, at + 1, acl);
    } else if (is_word(&words, at, "config") && is_word(&words, at + 1, "set")) {
        is_secret = is_secret_config(&words, at + 2);
    } else if (is_word(&words, at, "hello")) {
        is_secret = has_auth(&words, at + 2, false);
    } else if (is_word(&words, at, "migrate")) {
        is_secret = has_auth(&words, at + 6, true);
    } else if (is_word(&words, at, "sentinel")) {
        is_secret = is_secret_sentinel(&words, at + 1);
    }
    word_list_deinit(&words);
    return is_secret;
}

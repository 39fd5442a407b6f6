#include "server/command/secrets.h"

#include <string.h>

#include "server/config/config.h"

static bool is_row(const struct command *row, const char *container, const char *name) {
    if (strcmp(row->name, name) != 0) return false;
    return container == NULL ? row->container == NULL
                             : row->container != NULL && strcmp(row->container, container) == 0;
}

/* One of the `count` words behind a keyword that stands at `first` or later. */
static bool is_behind(const struct bytes *argv, uint32_t first, uint32_t index, const char *keyword,
                      uint32_t count) {
    for (uint32_t back = 1; back <= count && index >= first + back; back++) {
        if (bytes_equal_text_nocase(argv[index - back], keyword)) return true;
    }
    return false;
}

bool command_word_is_secret(const struct config *config, const struct command *row,
                            const struct bytes *argv, uint32_t argc, uint32_t index) {
    if (index == 0 || index >= argc) return false;
    if (is_row(row, NULL, "auth")) return true;
    if (is_row(row, "acl", "setuser")) return index >= 2;
    if (is_row(row, NULL, "hello")) return is_behind(argv, 2, index, "AUTH", 2);
    if (is_row(row, NULL, "migrate"))
        return is_behind(argv, 6, index, "AUTH", 1) || is_behind(argv, 6, index, "AUTH2", 2);
    if (is_row(row, "config", "set") && config != NULL && index >= 3 && index % 2 == 1)
        return config_option_is_secret(config, argv[index - 1]);
    return false;
}

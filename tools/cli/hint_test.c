#include "tools/cli/hint_test.h"

#include <stdio.h>
#include <stdlib.h>

#include "tools/cli/builtin.h"
#include "tools/cli/hints.h"

static struct builtin *connect_for_hints(const struct cli_options *options) {
    struct builtin *builtin = builtin_create(options, false, false);
    if (session_connect(builtin_session(builtin))) return builtin;
    builtin_destroy(builtin);
    return NULL;
}

int hint_test_line(const struct cli_options *options) {
    struct builtin *builtin = connect_for_hints(options);
    if (builtin == NULL) return 1;
    struct buffer hint = {0};
    hint_append(builtin_docs(builtin), bytes_of_text(options->hint_test), &hint);
    buffer_append_u8(&hint, '\n');
    session_write(buffer_view(&hint));
    buffer_deinit(&hint);
    builtin_destroy(builtin);
    return 0;
}

/* One line of the file: two quoted words. True when the hint is as expected. */
static bool check_line(struct builtin *builtin, struct bytes line) {
    struct word_list words = {0};
    bool is_valid = word_list_append_line(&words, line);
    bool is_case = is_valid && words.count > 0 && words.items[0].data[0] != '#';
    bool is_right = is_valid && (!is_case || words.count == 2);
    if (is_case && words.count == 2) {
        struct buffer hint = {0};
        hint_append(builtin_docs(builtin), words.items[0], &hint);
        is_right = bytes_equal(buffer_view(&hint), words.items[1]);
        if (!is_right) {
            printf("Test case '%s' FAILED: expected '%s', got '%.*s'\n",
                   (const char *)words.items[0].data, (const char *)words.items[1].data,
                   (int)hint.len, (const char *)hint.data);
        }
        buffer_deinit(&hint);
    }
    word_list_deinit(&words);
    return is_right;
}

int hint_test_file(const struct cli_options *options) {
    FILE *file = fopen(options->hint_test_file, "r");
    if (file == NULL) {
        perror(options->hint_test_file);
        return 1;
    }
    struct builtin *builtin = connect_for_hints(options);
    int failed = builtin == NULL ? 1 : 0;
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    while (builtin != NULL && (len = getline(&line, &cap, file)) >= 0) {
        failed += !check_line(builtin, bytes_of(line, (size_t)len));
    }
    free(line);
    fclose(file);
    builtin_destroy(builtin);
    return failed;
}

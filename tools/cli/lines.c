/* Commands from standard input that is no terminal. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/cli/builtin.h"
#include "tools/cli/run.h"

int run_lines(const struct cli_options *options, bool is_terminal) {
    struct builtin *builtin = builtin_create(options, is_terminal, false);
    struct session *session = builtin_session(builtin);
    session_connect(session); /* On failure each command tries again. */
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    bool goes_on = true;
    bool shows_prompt = getenv("FAKETTY_WITH_PROMPT") != NULL;
    while (goes_on) {
        if (shows_prompt) builtin_write_prompt(builtin);
        len = getline(&line, &cap, stdin);
        if (len < 0) break;
        if (len > 0 && line[len - 1] == '\n') len--;
        goes_on = builtin_run_line(builtin, bytes_of(line, (size_t)len));
    }
    free(line);
    int status = builtin_status(builtin);
    builtin_destroy(builtin);
    return status;
}

/* dunlin-cli: reads the command line and runs what it asks for. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "server/base/mem.h"
#include "tools/cli/hint_test.h"
#include "tools/cli/options.h"
#include "tools/cli/run.h"
#include "tools/cli/usage.h"
#include "tools/cluster/cluster.h"

#define CLUSTER_CONNECT_TIMEOUT_MS 5000u
#define PASSWORD_MAX 512u

static const char *environment(const char *name) {
    return getenv(name);
}

/* Reads a password with one '*' for each character. False at the end of input. */
static bool read_masked(char *out, size_t cap) {
    struct termios before;
    bool is_terminal = tcgetattr(STDIN_FILENO, &before) == 0;
    if (is_terminal) {
        struct termios quiet = before;
        quiet.c_lflag &= ~(tcflag_t)(ECHO | ICANON);
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    size_t len = 0;
    char byte = 0;
    bool has_line = false;
    fprintf(stderr, "Please input password: ");
    while (read(STDIN_FILENO, &byte, 1) == 1) {
        has_line = true;
        if (byte == '\n' || byte == '\r') break;
        if ((byte == 0x7f || byte == '\b') && is_terminal) {
            if (len > 0) {
                len--;
                fprintf(stderr, "\b \b");
            }
        } else if (len + 1 < cap) {
            out[len++] = byte;
            if (is_terminal) fputc('*', stderr);
        }
    }
    fputc('\n', stderr);
    out[len] = 0;
    if (is_terminal) tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    return has_line;
}

static bool ask_password(struct cli_options *options) {
    char password[PASSWORD_MAX];
    if (!read_masked(password, sizeof(password))) return false;
    mem_free(options->password);
    options->password = bytes_copy_text(bytes_of_text(password));
    explicit_bzero(password, sizeof(password));
    return true;
}

static bool wants_color(const struct cli_options *options, bool is_terminal) {
    if (options->color != CLI_AUTO) return options->color == CLI_YES;
    const char *term = getenv("TERM");
    const char *no_color = getenv("NO_COLOR");
    return is_terminal && term != NULL && strcmp(term, "dumb") != 0 &&
           (no_color == NULL || no_color[0] == 0);
}

static int run_cluster(const struct cli_options *options, bool is_terminal) {
    struct cluster_context context = {
        .profile = options->profile,
        .options = options->cluster,
        .user = options->user,
        .password = options->password,
        .family = options->family,
        .connect_timeout_ms = options->connect_timeout_seconds >= 0
                                  ? (uint32_t)(options->connect_timeout_seconds * 1000)
                                  : CLUSTER_CONNECT_TIMEOUT_MS,
        .has_color = wants_color(options, is_terminal),
        .errors_fail = options->errors_fail > 0,
        .in = stdin,
        .out = stdout,
        .err = stderr,
    };
    signal(SIGPIPE, SIG_IGN); /* A closed pipe must not end the tool in the middle of a slot. */
    return cluster_run(&context, options->words.count, options->words.items);
}

static int run(struct cli_options *options) {
    bool is_terminal = isatty(STDOUT_FILENO) || getenv("FAKETTY") != NULL;
    if (options->password_is_on_command_line && !options->hides_auth_warning) {
        fprintf(stderr, "Warning: Using a password with '-a' or '-u' option on the command line "
                        "interface may not be safe.\n");
    }
    if (options->asks_password && !ask_password(options)) return 1;
    if (options->hint_test != NULL) return hint_test_line(options);
    if (options->hint_test_file != NULL) return hint_test_file(options);
    if (options->is_cluster_command) return run_cluster(options, is_terminal);
    if (options->words.count > 0) return run_one_shot(options, is_terminal);
    if (isatty(STDIN_FILENO)) return run_interactive(options);
    return run_lines(options, is_terminal);
}

int main(int argc, char **argv) {
    struct cli_options options;
    struct buffer error = {0};
    struct buffer notes = {0};
    enum cli_parse parsed = cli_options_parse(argc, argv, environment, &options, &error, &notes);
    if (notes.len > 0) fwrite(notes.data, 1, notes.len, stderr);
    int status = 1;
    switch (parsed) {
    case CLI_PARSE_OK:
        status = run(&options);
        break;
    case CLI_PARSE_HELP:
        usage_print(options.profile, stdout);
        status = 0;
        break;
    case CLI_PARSE_USAGE:
        usage_print(options.profile, stderr);
        break;
    case CLI_PARSE_VERSION:
        printf("%s %s\n", options.profile->tool, DUNLIN_VERSION);
        status = 0;
        break;
    case CLI_PARSE_ERROR:
        fprintf(stderr, "%.*s\n", (int)error.len, (char *)error.data);
        break;
    }
    buffer_deinit(&error);
    buffer_deinit(&notes);
    cli_options_deinit(&options);
    return status;
}

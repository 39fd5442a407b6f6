/* The command line: what was asked for, from arguments and environment.
 *
 * Options are rows of a table in options.c; a row says where its value goes. Parsing touches no
 * terminal and no socket: whoever calls it gets a struct and, when something is wrong, a text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "tools/client/client.h"
#include "tools/client/format.h"
#include "tools/client/profile.h"
#include "tools/client/word_list.h"
#include "tools/cluster/cluster.h"

enum cli_choice { CLI_AUTO, CLI_YES, CLI_NO };

struct cli_options {
    const struct profile *profile;

    char *host; /* Owned, like all char * here. */
    int port;
    char *socket_path;
    char *user;
    char *password;
    bool asks_password;
    bool password_is_on_command_line;
    int db;
    enum client_family family;
    double connect_timeout_seconds; /* Negative: not given. */

    bool wants_resp2;
    bool wants_resp3;
    bool resp3_is_explicit;

    bool has_style; /* `style` was asked for; else the terminal decides. */
    enum format_style style;
    char *item_delimiter;
    char *reply_delimiter;
    enum cli_choice show_pushes;
    bool show_attributes;
    enum cli_choice color;

    int64_t repeat_count; /* Negative: for ever. */
    double interval_seconds;
    bool follows_redirects;
    unsigned errors_fail; /* 1: an error reply is a failure; 2: also errors inside EXEC's. */
    bool stdin_is_last_argument;
    char *stdin_tag;
    bool input_is_quoted;
    bool is_verbose;
    bool hides_auth_warning;
    char *hint_test; /* --test_hint: the line to give a hint for. */
    char *hint_test_file;

    bool is_cluster_command;
    struct cluster_options cluster;

    struct word_list words; /* The command, or the cluster sub-command and its arguments. */
};

/* How parsing ended. */
enum cli_parse {
    CLI_PARSE_OK,
    CLI_PARSE_HELP,  /* --help: show it and leave with 0. */
    CLI_PARSE_USAGE, /* --cluster without sub-command: show the help as an error. */
    CLI_PARSE_VERSION,
    CLI_PARSE_ERROR, /* `error` says why. */
};

/* Reads environment variables; getenv in the tool, a table in tests. */
typedef const char *cli_getenv(const char *name);

/* Fills `out` from argv[1..argc-1] and the environment. Passwords in argv are overwritten. Release
 * with cli_options_deinit in every case. `error` gets a text of one or two lines without the last
 * newline; notes that do not stop the tool go to `notes`, a line each. */
MUST_USE enum cli_parse cli_options_parse(int argc, char **argv, cli_getenv *env,
                                          struct cli_options *out, struct buffer *error,
                                          struct buffer *notes);

void cli_options_deinit(struct cli_options *options);

/* PREFIX_NAME of the profile, then of valkey, then of redis. NULL when none is set. */
const char *cli_environment(const struct profile *profile, cli_getenv *env, const char *name);

/* The format that was asked for, or the one that suits where the output goes. */
struct format cli_options_format(const struct cli_options *options, bool is_terminal);

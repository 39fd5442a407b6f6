/* The command line and URIs. */
#include <criterion/criterion.h>

#include "server/base/mem.h"
#include "tools/cli/options.h"
#include "tools/cli/uri.h"

#define WORDS_MAX 16

static const char *no_environment(const char *name UNUSED) {
    return NULL;
}

static const char *full_environment(const char *name) {
    if (strcmp(name, "REDISCLI_AUTH") == 0) return "secret\r\n";
    if (strcmp(name, "VALKEYCLI_USER") == 0) return "bob\n";
    return strcmp(name, "REDISCLI_CLUSTER_YES") == 0 ? "1" : NULL;
}

/* Words of argv, divided by blanks; static copies since passwords are overwritten. */
struct parsed {
    enum cli_parse result;
    struct cli_options options;
    struct buffer error;
    struct buffer notes;
    char line[512];
    char *argv[WORDS_MAX];
};

static void parse(struct parsed *parsed, const char *line, cli_getenv *env) {
    int argc = 0;
    memset(parsed, 0, sizeof(*parsed));
    strcpy(parsed->line, line);
    for (char *word = strtok(parsed->line, " "); word != NULL; word = strtok(NULL, " ")) {
        parsed->argv[argc++] = word;
    }
    parsed->result = cli_options_parse(argc, parsed->argv, env, &parsed->options, &parsed->error,
                                       &parsed->notes);
    buffer_append_u8(&parsed->error, 0);
    buffer_append_u8(&parsed->notes, 0);
}

static void release(struct parsed *parsed) {
    cli_options_deinit(&parsed->options);
    buffer_deinit(&parsed->error);
    buffer_deinit(&parsed->notes);
}

Test(options, ends_at_the_command_and_leaves_its_dashes_alone) {
    struct parsed p;
    parse(&p, "dunlin-cli -h host -p 7000 -n 3 --csv set -x --raw", no_environment);
    cr_assert_eq(p.result, CLI_PARSE_OK);
    cr_assert_str_eq(p.options.host, "host");
    cr_assert_eq(p.options.port, 7000);
    cr_assert_eq(p.options.db, 3);
    cr_assert_eq(p.options.style, FORMAT_CSV);
    cr_assert_eq(p.options.words.count, 3);
    cr_assert(bytes_equal_text(p.options.words.items[1], "-x"));
    release(&p);
}

Test(options, accepts_equals_signs_and_a_double_dash) {
    struct parsed p;
    parse(&p, "dunlin-cli --user=bob --pass=x=y -- --odd", no_environment);
    cr_assert_eq(p.result, CLI_PARSE_OK);
    cr_assert_str_eq(p.options.user, "bob");
    cr_assert_str_eq(p.options.password, "x=y");
    cr_assert(bytes_equal_text(p.options.words.items[0], "--odd"));
    release(&p);
}

Test(options, hides_passwords_in_the_arguments) {
    struct parsed p;
    parse(&p, "dunlin-cli -a secret ping", no_environment);
    cr_assert_str_eq(p.options.password, "secret");
    cr_assert_str_eq(p.argv[2], "******");
    cr_assert(p.options.password_is_on_command_line);
    release(&p);
}

Test(options, take_the_password_from_the_environment_without_its_newline) {
    struct parsed p;
    parse(&p, "dunlin-cli ping", full_environment);
    cr_assert_str_eq(p.options.password, "secret");
    cr_assert_str_eq(p.options.user, "bob");
    cr_assert_not(p.options.password_is_on_command_line);
    cr_assert(p.options.cluster.says_yes);
    release(&p);
    parse(&p, "dunlin-cli -a other ping", full_environment);
    cr_assert_str_eq(p.options.password, "other");
    cr_assert_null(p.options.user);
    release(&p);
}

Test(options, refuse_what_is_wrong_with_the_known_texts) {
    static const struct {
        const char *line;
        const char *error;
    } cases[] = {
        {"dunlin-cli --bogus", "Unrecognized option or bad number of args for: '--bogus'"},
        {"dunlin-cli -p", "Unrecognized option or bad number of args for: '-p'"},
        {"dunlin-cli -p 70000 ping", "Invalid server port."},
        {"dunlin-cli -t -1 ping", "Invalid connection timeout for -t."},
        {"dunlin-cli -2 -3 ping", "Options -2 and -3 are mutually exclusive."},
        {"dunlin-cli -c -s /x ping", "Options -c and -s are mutually exclusive."},
        {"dunlin-cli -x -X t ping", "Options -x and -X are mutually exclusive."},
        {"dunlin-cli -4 -6 ping", "Options -4 and -6 are mutually exclusive."},
        {"dunlin-cli -u foo://x ping", "Invalid URI scheme"},
        {"dunlin-cli --tls ping",
         "dunlin-cli: --tls needs TLS, which this version does not have yet."},
        {"dunlin-cli --scan",
         "dunlin-cli: --scan needs the sampling modes, which this version does not have yet."},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct parsed p;
        parse(&p, cases[i].line, no_environment);
        cr_assert_eq(p.result, CLI_PARSE_ERROR, "%s", cases[i].line);
        cr_assert_str_eq((char *)p.error.data, cases[i].error);
        release(&p);
    }
}

Test(options, show_help_for_a_last_h_and_notes_for_odd_pushes) {
    struct parsed p;
    parse(&p, "dunlin-cli -h", no_environment);
    cr_assert_eq(p.result, CLI_PARSE_HELP);
    release(&p);
    parse(&p, "dunlin-cli --show-pushes zzz ping", no_environment);
    cr_assert_eq(p.result, CLI_PARSE_OK);
    cr_assert_str_eq((char *)p.notes.data,
                     "Unknown --show-pushes value 'zzz' (valid: '[y]es', '[n]o')\n");
    release(&p);
}

Test(options, find_cluster_options_anywhere) {
    static const char *const lines[] = {
        "redis-cli --cluster add-node a:1 b:2 --cluster-slave -a pw",
        "redis-cli -a pw --cluster add-node a:1 b:2 --cluster-slave",
        "redis-cli --cluster --cluster-slave add-node a:1 -a pw b:2",
        "redis-cli --cluster add-node a:1 --cluster-slave b:2 -a pw",
    };
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        struct parsed p;
        parse(&p, lines[i], no_environment);
        cr_assert_eq(p.result, CLI_PARSE_OK, "%s", lines[i]);
        cr_assert(p.options.is_cluster_command && p.options.cluster.adds_replica);
        cr_assert_str_eq(p.options.password, "pw");
        cr_assert_eq(p.options.words.count, 3);
        cr_assert(bytes_equal_text(p.options.words.items[2], "b:2"));
        release(&p);
    }
}

Test(options, pass_the_command_of_call_through) {
    struct parsed p;
    parse(&p,
          "redis-cli --cluster call a:1 --cluster-only-masters cmd -h --raw "
          "--cluster-only-replicas",
          no_environment);
    cr_assert_eq(p.result, CLI_PARSE_OK);
    cr_assert(p.options.cluster.only_primaries && p.options.cluster.only_replicas);
    cr_assert_eq(p.options.words.count, 5);
    cr_assert(bytes_equal_text(p.options.words.items[4], "--raw"));
    release(&p);
}

Test(options, follow_the_name_of_the_program) {
    cr_assert_str_eq(profile_find("/usr/bin/redis-cli", NULL)->server, "Redis");
    cr_assert_str_eq(profile_find("valkey-cli", NULL)->replica, "replica");
    cr_assert_str_eq(profile_find("dunlin-cli", NULL)->server, "Dunlin");
    cr_assert_str_eq(profile_find("whatever", "valkey")->tool, "valkey-cli");
}

Test(uri, reads_all_parts) {
    static const struct {
        const char *text;
        const char *user;
        const char *password;
        const char *host;
        int port;
        int db;
    } cases[] = {
        {"redis://host", NULL, NULL, "host", -1, -1},
        {"redis://secret@host", NULL, "secret", "host", -1, -1},
        {"redis://bob:pw@host:7000/3", "bob", "pw", "host", 7000, 3},
        {"valkey://:pw@[::1]:7000", NULL, "pw", "::1", 7000, -1},
        {"dunlin://b%40b:p%2Fw@host", "b@b", "p/w", "host", -1, -1},
        {"redis://host?db=2&protocol=3", NULL, NULL, "host", -1, 2},
        {"redis://", NULL, NULL, NULL, -1, -1},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct uri uri;
        cr_assert_null(uri_parse(cases[i].text, &uri), "%s", cases[i].text);
        const char *const actual[] = {uri.user, uri.password, uri.host};
        const char *const expected[] = {cases[i].user, cases[i].password, cases[i].host};
        for (size_t k = 0; k < 3; k++) {
            cr_assert_eq(actual[k] == NULL, expected[k] == NULL, "%s", cases[i].text);
            if (actual[k] != NULL) cr_assert_str_eq(actual[k], expected[k]);
        }
        cr_assert_eq(uri.port, cases[i].port);
        cr_assert_eq(uri.db, cases[i].db);
        uri_deinit(&uri);
    }
}

Test(uri, reads_unix_sockets_and_notices_tls) {
    struct uri uri;
    cr_assert_null(uri_parse("unix:///run/dunlin.sock?db=2", &uri));
    cr_assert_str_eq(uri.socket_path, "/run/dunlin.sock");
    cr_assert_eq(uri.db, 2);
    uri_deinit(&uri);
    cr_assert_null(uri_parse("rediss://host", &uri));
    cr_assert(uri.is_tls);
    uri_deinit(&uri);
}

Test(uri, refuses_what_is_wrong) {
    static const struct {
        const char *text;
        const char *error;
    } cases[] = {
        {"foo://x", "Invalid URI scheme"},
        {"host", "Invalid URI scheme"},
        {"redis://%z1@x", "Illegal character in URI encoding"},
        {"redis://x%2", "Incomplete URI encoding"},
        {"redis://x:99999", "Invalid port in URI"},
        {"redis://x/abc", "Invalid database in URI"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct uri uri;
        const char *error = uri_parse(cases[i].text, &uri);
        cr_assert_not_null(error, "%s", cases[i].text);
        cr_assert_str_eq(error, cases[i].error);
    }
}

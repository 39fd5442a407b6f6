#include "tools/cli/options.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/base/mem.h"
#include "server/base/number.h"
#include "tools/cli/uri.h"

#define OPTION_VALUES_MANY 255u /* Values are the following words that contain '='. */

/* What parsing carries along. */
struct parser {
    struct cli_options *options;
    const struct row *row; /* Of the option being read. */
    struct buffer *error;
    struct buffer *notes;
    enum cli_parse result;
};

enum row_kind {
    ROW_FLAG,   /* bool = true */
    ROW_TEXT,   /* char *, owned */
    ROW_LENT,   /* const char *, borrowed from argv */
    ROW_NUMBER, /* int64_t */
    ROW_READ,   /* read() does it */
    ROW_STYLE,  /* enum format_style = number */
    ROW_LATER,  /* Known, but not part of this version: an error that says so. */
};

struct row {
    const char *name;
    enum row_kind kind;
    unsigned values;
    size_t offset;
    int number;
    bool (*read)(struct parser *parser, const char *value);
    const char *later; /* What is missing. */
};

static bool fail(struct parser *parser, const char *format, ...) PRINTF_LIKE(2, 3);

static bool fail(struct parser *parser, const char *format, ...) {
    va_list args;
    va_start(args, format);
    buffer_append_format_list(parser->error, format, args);
    va_end(args);
    parser->result = CLI_PARSE_ERROR;
    return false;
}

static void set_text(char **text, const char *value) {
    mem_free(*text);
    *text = value == NULL ? NULL : bytes_copy_text(bytes_of_text(value));
}

static bool parse_whole_double(const char *text, double *out) {
    return number_parse_double(bytes_of_text(text), out);
}

static bool read_port(struct parser *parser, const char *value) {
    int64_t port;
    if (!number_parse_i64(bytes_of_text(value), &port) || port < 0 || port > 65535) {
        return fail(parser, "Invalid server port.");
    }
    parser->options->port = (int)port;
    return true;
}

static bool read_timeout(struct parser *parser, const char *value) {
    double seconds;
    if (!parse_whole_double(value, &seconds) || seconds < 0 || seconds > 1e6) {
        return fail(parser, "Invalid connection timeout for -t.");
    }
    parser->options->connect_timeout_seconds = seconds;
    return true;
}

static bool read_password(struct parser *parser, const char *value) {
    set_text(&parser->options->password, value);
    parser->options->password_is_on_command_line = true;
    return true;
}

static bool read_uri(struct parser *parser, const char *value) {
    struct cli_options *options = parser->options;
    struct uri uri;
    const char *error = uri_parse(value, &uri);
    if (error != NULL) return fail(parser, "%s", error);
    if (uri.host != NULL) set_text(&options->host, uri.host);
    if (uri.socket_path != NULL) set_text(&options->socket_path, uri.socket_path);
    if (uri.user != NULL) set_text(&options->user, uri.user);
    if (uri.password != NULL) read_password(parser, uri.password);
    if (uri.port >= 0) options->port = uri.port;
    if (uri.db >= 0) options->db = uri.db;
    if (uri.timeout_seconds >= 0) options->connect_timeout_seconds = uri.timeout_seconds;
    if (uri.protocol == 2) options->wants_resp2 = true;
    if (uri.protocol == 3) options->wants_resp3 = options->resp3_is_explicit = true;
    bool needs_tls = uri.is_tls || uri.sni != NULL;
    uri_deinit(&uri);
    if (needs_tls) return fail(parser, "TLS is not part of this version (URI %s).", value);
    return true;
}

static bool read_repeat(struct parser *parser, const char *value) {
    if (!number_parse_i64(bytes_of_text(value), &parser->options->repeat_count)) {
        return fail(parser, "Invalid repeat count for -r: '%s'.", value);
    }
    return true;
}

static bool read_interval(struct parser *parser, const char *value) {
    double seconds;
    if (!parse_whole_double(value, &seconds) || seconds < 0 || seconds > 1e6) {
        return fail(parser, "Invalid interval for -i: '%s'.", value);
    }
    parser->options->interval_seconds = seconds;
    return true;
}

static bool read_db(struct parser *parser, const char *value) {
    int64_t db;
    if (!number_parse_i64(bytes_of_text(value), &db) || db < 0 || db > INT32_MAX) {
        return fail(parser, "Invalid database number for -n: '%s'.", value);
    }
    parser->options->db = (int)db;
    return true;
}

static bool read_resp3(struct parser *parser, const char *value UNUSED) {
    parser->options->wants_resp3 = true;
    parser->options->resp3_is_explicit = true;
    return true;
}

static bool read_errors_fail(struct parser *parser, const char *value UNUSED) {
    parser->options->errors_fail++;
    return true;
}

static bool read_error_status(struct parser *parser, const char *value) {
    if (strcmp(value, "all") != 0) {
        return fail(parser, "Unknown --error-status value '%s' (valid: 'all')", value);
    }
    parser->options->errors_fail = 2;
    return true;
}

static bool read_family(struct parser *parser, const char *value UNUSED) {
    enum client_family family =
        parser->row->number == 4 ? CLIENT_FAMILY_PREFER_IPV4 : CLIENT_FAMILY_PREFER_IPV6;
    if (parser->options->family != CLIENT_FAMILY_ANY && parser->options->family != family) {
        return fail(parser, "Options -4 and -6 are mutually exclusive.");
    }
    parser->options->family = family;
    return true;
}

static bool read_show_pushes(struct parser *parser, const char *value) {
    if (value[0] == 'y' || value[0] == 'n') {
        parser->options->show_pushes = value[0] == 'y' ? CLI_YES : CLI_NO;
    } else {
        buffer_append_format(parser->notes,
                             "Unknown --show-pushes value '%s' (valid: '[y]es', '[n]o')\n", value);
    }
    return true;
}

static bool read_show_attributes(struct parser *parser, const char *value) {
    if (value[0] != 'y' && value[0] != 'n') {
        return fail(parser, "Unknown --show-attributes value '%s' (valid: '[y]es', '[n]o')", value);
    }
    parser->options->show_attributes = value[0] == 'y';
    return true;
}

static bool read_color(struct parser *parser, const char *value) {
    if (strcmp(value, "auto") == 0) {
        parser->options->color = CLI_AUTO;
    } else if (strcmp(value, "always") == 0) {
        parser->options->color = CLI_YES;
    } else if (strcmp(value, "never") == 0) {
        parser->options->color = CLI_NO;
    } else {
        return fail(parser, "Unknown --color value '%s' (valid: auto, always, never)", value);
    }
    return true;
}

static bool read_result(struct parser *parser, const char *value UNUSED) {
    parser->result = (enum cli_parse)parser->row->number;
    return false;
}

#define FIELD(member) offsetof(struct cli_options, member)
#define CLUSTER(member) offsetof(struct cli_options, cluster.member)
#define FLAG(text, where)                                                                          \
    { .name = text, .kind = ROW_FLAG, .offset = where }
#define TEXT(text, where)                                                                          \
    { .name = text, .kind = ROW_TEXT, .values = 1, .offset = where }
#define LENT(text, where)                                                                          \
    { .name = text, .kind = ROW_LENT, .values = 1, .offset = where }
#define NUMBER(text, where)                                                                        \
    { .name = text, .kind = ROW_NUMBER, .values = 1, .offset = where }
#define STYLE(text, style)                                                                         \
    { .name = text, .kind = ROW_STYLE, .number = style }
#define READ(text, count, function)                                                                \
    { .name = text, .kind = ROW_READ, .values = count, .read = function }
#define READ_AS(text, as, function)                                                                \
    { .name = text, .kind = ROW_READ, .number = as, .read = function }
#define LATER(text, count, what)                                                                   \
    { .name = text, .kind = ROW_LATER, .values = count, .later = what }
#define TLS "TLS"
#define SAMPLING "the sampling modes"
#define LATENCY "the latency modes"
#define TRANSFER "the transfer modes"
#define EVAL "--eval and the Lua debugger"
#define REBALANCE "--cluster rebalance"
#define IMPORT "--cluster import"
#define FIX "--cluster fix"
#define ATOMIC "atomic slot migration"

static const struct row rows[] = {
    TEXT("-h", FIELD(host)),
    READ("-p", 1, read_port),
    READ("-t", 1, read_timeout),
    TEXT("-s", FIELD(socket_path)),
    READ("-a", 1, read_password),
    READ("--pass", 1, read_password),
    TEXT("--user", FIELD(user)),
    FLAG("--askpass", FIELD(asks_password)),
    READ("-u", 1, read_uri),
    READ("-r", 1, read_repeat),
    READ("-i", 1, read_interval),
    READ("-n", 1, read_db),
    FLAG("-2", FIELD(wants_resp2)),
    READ("-3", 0, read_resp3),
    FLAG("-x", FIELD(stdin_is_last_argument)),
    TEXT("-X", FIELD(stdin_tag)),
    TEXT("-d", FIELD(item_delimiter)),
    TEXT("-D", FIELD(reply_delimiter)),
    FLAG("-c", FIELD(follows_redirects)),
    READ("-e", 0, read_errors_fail),
    READ("--error-status", 1, read_error_status),
    READ_AS("-4", 4, read_family),
    READ_AS("-6", 6, read_family),
    STYLE("--raw", FORMAT_RAW),
    STYLE("--no-raw", FORMAT_STANDARD),
    STYLE("--csv", FORMAT_CSV),
    STYLE("--json", FORMAT_JSON),
    STYLE("--quoted-json", FORMAT_QUOTED_JSON),
    FLAG("--quoted-input", FIELD(input_is_quoted)),
    READ("--show-pushes", 1, read_show_pushes),
    READ("--show-attributes", 1, read_show_attributes),
    READ("--color", 1, read_color),
    FLAG("--no-auth-warning", FIELD(hides_auth_warning)),
    TEXT("--test_hint", FIELD(hint_test)),
    TEXT("--test_hint_file", FIELD(hint_test_file)),
    READ_AS("--help", CLI_PARSE_HELP, read_result),
    READ_AS("-v", CLI_PARSE_VERSION, read_result),
    READ_AS("--version", CLI_PARSE_VERSION, read_result),

    FLAG("--cluster", FIELD(is_cluster_command)),
    NUMBER("--cluster-replicas", CLUSTER(replicas)),
    LENT("--cluster-from", CLUSTER(from)),
    LENT("--cluster-to", CLUSTER(to)),
    NUMBER("--cluster-slots", CLUSTER(slots)),
    NUMBER("--cluster-pipeline", CLUSTER(pipeline)),
    NUMBER("--cluster-timeout", CLUSTER(timeout_ms)),
    NUMBER("--cluster-wait", CLUSTER(wait_seconds)),
    FLAG("--cluster-yes", CLUSTER(says_yes)),
    FLAG("--cluster-replace", CLUSTER(replaces_keys)),
    FLAG("--cluster-slave", CLUSTER(adds_replica)),
    FLAG("--cluster-replica", CLUSTER(adds_replica)),
    LENT("--cluster-master-id", CLUSTER(primary_id)),
    LENT("--cluster-primary-id", CLUSTER(primary_id)),
    LENT("--cluster-primaries-id", CLUSTER(primary_id)),
    FLAG("--cluster-search-multiple-owners", CLUSTER(searches_owners)),
    FLAG("--cluster-only-masters", CLUSTER(only_primaries)),
    FLAG("--cluster-only-primaries", CLUSTER(only_primaries)),
    FLAG("--cluster-only-replicas", CLUSTER(only_replicas)),
    FLAG("--cluster-allow-few-masters", CLUSTER(allows_few_primaries)),
    FLAG("--cluster-plan-compat", CLUSTER(plans_like_reference)),
    FLAG("--cluster-force-role", CLUSTER(forces_role)),
    FLAG("--cluster-ignore-missing", CLUSTER(ignores_missing)),
    FLAG("--cluster-check-extra", CLUSTER(shows_extra_checks)),

    LATER("--cluster-threshold", 1, REBALANCE),
    LATER("--cluster-weight", OPTION_VALUES_MANY, REBALANCE),
    LATER("--cluster-use-empty-masters", 0, REBALANCE),
    LATER("--cluster-use-empty-primaries", 0, REBALANCE),
    LATER("--cluster-simulate", 0, REBALANCE),
    LATER("--cluster-drain", 0, REBALANCE),
    LATER("--cluster-copy", 0, IMPORT),
    LATER("--cluster-from-user", 1, IMPORT),
    LATER("--cluster-from-pass", 1, IMPORT),
    LATER("--cluster-from-askpass", 0, IMPORT),
    LATER("--cluster-fix-with-unreachable-masters", 0, FIX),
    LATER("--cluster-fix-with-unreachable-primaries", 0, FIX),
    LATER("--cluster-fix-coverage", 0, FIX),
    LATER("--cluster-use-atomic-slot-migration", 0, ATOMIC),
    LATER("--cluster-batch-slots", 1, ATOMIC),
    LATER("--cluster-zone", 1, "placement by zones"),
    LATER("--cluster-resume", 0, "continuing a half-created cluster"),
    LATER("--cluster-address", 1, "choosing among a node's addresses"),
    LATER("--cluster-address-map", 1, "mapping of addresses"),
    LATER("--tls", 0, TLS),
    LATER("--sni", 1, TLS),
    LATER("--cacert", 1, TLS),
    LATER("--cacertdir", 1, TLS),
    LATER("--insecure", 0, TLS),
    LATER("--cert", 1, TLS),
    LATER("--key", 1, TLS),
    LATER("--tls-ciphers", 1, TLS),
    LATER("--tls-ciphersuites", 1, TLS),
    LATER("--rdma", 0, "RDMA"),
    LATER("--mptcp", 0, "multipath TCP"),
    LATER("--stat", 0, SAMPLING),
    LATER("--scan", 0, SAMPLING),
    LATER("--bigkeys", 0, SAMPLING),
    LATER("--memkeys", 0, SAMPLING),
    LATER("--memkeys-samples", 1, SAMPLING),
    LATER("--hotkeys", 0, SAMPLING),
    LATER("--hotkeys-count", 1, SAMPLING),
    LATER("--keystats", 0, SAMPLING),
    LATER("--keystats-samples", 1, SAMPLING),
    LATER("--cursor", 1, SAMPLING),
    LATER("--top", 1, SAMPLING),
    LATER("--pattern", 1, SAMPLING),
    LATER("--quoted-pattern", 1, SAMPLING),
    LATER("--count", 1, SAMPLING),
    LATER("--verbose", 0, REBALANCE ", whose balances it shows,"),
    LATER("--lru-test", 1, SAMPLING),
    LATER("--latency", 0, LATENCY),
    LATER("--latency-history", 0, LATENCY),
    LATER("--latency-dist", 0, LATENCY),
    LATER("--mono", 0, LATENCY),
    LATER("--intrinsic-latency", 1, LATENCY),
    LATER("--rdb", 1, TRANSFER),
    LATER("--functions-rdb", 1, TRANSFER),
    LATER("--replica", 0, TRANSFER),
    LATER("--slave", 0, TRANSFER),
    LATER("--pipe", 0, TRANSFER),
    LATER("--pipe-timeout", 1, TRANSFER),
    LATER("--pipe-progress", 0, TRANSFER),
    LATER("--eval", 1, EVAL),
    LATER("--ldb", 0, EVAL),
    LATER("--ldb-sync-mode", 0, EVAL),
};

static const struct row *find_row(struct bytes name) {
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        if (bytes_equal_text(name, rows[i].name)) return &rows[i];
    }
    return NULL;
}

static bool apply(struct parser *parser, const struct row *row, const char *value) {
    char *field = (char *)parser->options + row->offset;
    parser->row = row;
    switch (row->kind) {
    case ROW_FLAG:
        *(bool *)field = true;
        return true;
    case ROW_TEXT:
        set_text((char **)field, value);
        return true;
    case ROW_LENT:
        *(const char **)field = value;
        return true;
    case ROW_NUMBER:
        if (number_parse_i64(bytes_of_text(value), (int64_t *)field) && *(int64_t *)field >= 0) {
            return true;
        }
        return fail(parser, "Invalid number for %s: '%s'.", row->name, value);
    case ROW_STYLE:
        parser->options->has_style = true;
        parser->options->style = (enum format_style)row->number;
        return true;
    case ROW_LATER:
        return fail(parser, "%s: %s needs %s, which this version does not have yet.",
                    parser->options->profile->tool, row->name, row->later);
    case ROW_READ:
        return row->read(parser, value);
    }
    return false;
}

/* Passwords must not stay where `ps` shows them. */
static void hide_argument(char *argument) {
    memset(argument, '*', strlen(argument));
}

static bool is_secret(const struct row *row) {
    return row->read == read_password || row->read == read_uri;
}

/* Reads the option at argv[at]. Returns how many words it took; 0 when it is none or is wrong. */
static int read_option(struct parser *parser, int argc, char **argv, int at) {
    struct bytes name = bytes_of_text(argv[at]);
    const uint8_t *equals =
        name.len > 2 && memcmp(name.data, "--", 2) == 0 ? memchr(name.data, '=', name.len) : NULL;
    if (equals != NULL) name.len = (size_t)(equals - name.data);
    const struct row *row = find_row(name);
    if (row == NULL || (equals != NULL && row->values == 0) ||
        (equals == NULL && row->values == 1 && at + 1 >= argc)) {
        fail(parser, "Unrecognized option or bad number of args for: '%s'", argv[at]);
        return 0;
    }
    char *value = equals != NULL ? argv[at] + name.len + 1 : row->values > 0 ? argv[at + 1] : NULL;
    if (!apply(parser, row, value)) return 0;
    if (is_secret(row)) hide_argument(value);
    return equals == NULL && row->values > 0 ? 2 : 1;
}

/* In cluster mode options stand anywhere; behind the command of `call` only those of `call` do. */
static bool is_cluster_word(const struct word_list *words, struct bytes word) {
    if (word.len == 0 || word.data[0] != '-') return true;
    if (words->count < 3 || !bytes_equal_text(words->items[0], "call")) return false;
    const struct row *row = find_row(word);
    return row == NULL ||
           (row->offset != CLUSTER(only_primaries) && row->offset != CLUSTER(only_replicas)) ||
           row->kind != ROW_FLAG;
}

static bool read_arguments(struct parser *parser, int argc, char **argv) {
    struct cli_options *options = parser->options;
    int at = 1;
    while (at < argc) {
        struct bytes word = bytes_of_text(argv[at]);
        if (at + 1 == argc && strcmp(argv[at], "-h") == 0 && options->words.count == 0) {
            parser->result = CLI_PARSE_HELP;
            return false;
        }
        if (options->is_cluster_command && is_cluster_word(&options->words, word)) {
            word_list_append(&options->words, word);
            at++;
            continue;
        }
        bool ends_options = strcmp(argv[at], "--") == 0;
        if (ends_options) at++;
        if (ends_options || word.len == 0 || word.data[0] != '-') break;
        int taken = read_option(parser, argc, argv, at);
        if (taken == 0) return false;
        at += taken;
    }
    for (; at < argc; at++)
        word_list_append(&options->words, bytes_of_text(argv[at]));
    return true;
}

const char *cli_environment(const struct profile *profile, cli_getenv *env, const char *name) {
    static const char *const prefixes[] = {"VALKEYCLI", "REDISCLI"};
    char full[64];
    snprintf(full, sizeof(full), "%s_%s", profile->env_prefix, name);
    const char *value = env(full);
    for (size_t i = 0; value == NULL && i < ARRAY_COUNT(prefixes); i++) {
        snprintf(full, sizeof(full), "%s_%s", prefixes[i], name);
        value = env(full);
    }
    return value;
}

/* Mounted secrets often end in a newline that nobody wanted. */
static void set_secret(char **text, const char *value) {
    struct bytes bytes = bytes_of_text(value);
    if (bytes.len > 0 && bytes.data[bytes.len - 1] == '\n') bytes.len--;
    if (bytes.len > 0 && bytes.data[bytes.len - 1] == '\r') bytes.len--;
    mem_free(*text);
    *text = bytes_copy_text(bytes);
}

static bool read_environment(struct parser *parser, cli_getenv *env) {
    struct cli_options *options = parser->options;
    const char *password = cli_environment(options->profile, env, "AUTH");
    const char *user = cli_environment(options->profile, env, "USER");
    const char *yes = cli_environment(options->profile, env, "CLUSTER_YES");
    const char *timeout = cli_environment(options->profile, env, "TIMEOUT");
    if (options->password == NULL && password != NULL) {
        set_secret(&options->password, password);
        if (options->user == NULL && user != NULL) set_secret(&options->user, user);
    }
    if (yes != NULL && strcmp(yes, "1") == 0) options->cluster.says_yes = true;
    if (timeout != NULL && options->connect_timeout_seconds < 0) {
        return read_timeout(parser, timeout);
    }
    return true;
}

static bool check_together(struct parser *parser) {
    struct cli_options *options = parser->options;
    bool is_json = options->has_style &&
                   (options->style == FORMAT_JSON || options->style == FORMAT_QUOTED_JSON);
    if (options->follows_redirects && options->socket_path != NULL) {
        return fail(parser, "Options -c and -s are mutually exclusive.");
    }
    if (options->wants_resp2 && options->wants_resp3) {
        return fail(parser, "Options -2 and -3 are mutually exclusive.");
    }
    if (options->stdin_is_last_argument && options->stdin_tag != NULL) {
        return fail(parser, "Options -x and -X are mutually exclusive.");
    }
    if (is_json && !options->wants_resp2) options->wants_resp3 = true;
    if (options->is_cluster_command && options->words.count == 0) {
        parser->result = CLI_PARSE_USAGE;
        return false;
    }
    return true;
}

enum cli_parse cli_options_parse(int argc, char **argv, cli_getenv *env, struct cli_options *out,
                                 struct buffer *error, struct buffer *notes) {
    struct parser parser = {.options = out, .error = error, .notes = notes};
    *out = (struct cli_options){
        .profile = profile_find(argc > 0 ? argv[0] : "", env("DUNLINCLI_COMPAT")),
        .port = 6379,
        .connect_timeout_seconds = -1,
        .repeat_count = 1,
        .cluster = {.pipeline = 10, .timeout_ms = 60000, .wait_seconds = 120},
    };
    set_text(&out->host, "127.0.0.1");
    set_text(&out->item_delimiter, "\n");
    set_text(&out->reply_delimiter, "\n");
    if (!read_arguments(&parser, argc, argv)) return parser.result;
    if (!read_environment(&parser, env)) return parser.result;
    if (!check_together(&parser)) return parser.result;
    return CLI_PARSE_OK;
}

void cli_options_deinit(struct cli_options *options) {
    char *texts[] = {options->host,      options->socket_path,    options->user,
                     options->password,  options->item_delimiter, options->reply_delimiter,
                     options->stdin_tag, options->hint_test,      options->hint_test_file};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
        mem_free(texts[i]);
    word_list_deinit(&options->words);
}

struct format cli_options_format(const struct cli_options *options, bool is_terminal) {
    return (struct format){
        .style = options->has_style ? options->style
                 : is_terminal      ? FORMAT_STANDARD
                                    : FORMAT_RAW,
        .item_delimiter = bytes_of_text(options->item_delimiter),
        .reply_delimiter = bytes_of_text(options->reply_delimiter),
        .show_attributes = options->show_attributes,
    };
}

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/base/words.h"
#include "server/config/config.h"

/* Texts and forms below are what redis-server 7.0.15 answers. */

/* A special value: pairs of seconds and changes, as `save`. */
struct points {
    uint32_t *numbers;
    size_t count;
};

struct sample {
    bool is_append_only;
    bool is_read_only;
    int hz;
    uint16_t port;
    int64_t slow_us;
    uint32_t max_clients;
    uint64_t max_memory;
    uint64_t max_bulk;
    int64_t max_memory_clients;
    unsigned socket_mode;
    int fsync_policy;
    uint8_t on_term;
    char *password;
    char *file_name;
    char *title;
    char *addresses;
    struct points save;
    struct points users;
    uint64_t node_timeout_ms;
    int hidden_delay;
};

static void points_deinit(void *field) {
    struct points *points = field;
    mem_free(points->numbers);
}

static void points_append(struct points *points, uint32_t number) {
    points->numbers = mem_realloc(points->numbers, (points->count + 1) * sizeof(uint32_t));
    points->numbers[points->count++] = number;
}

static bool save_parse(void *out, const struct option_input *input, struct buffer *error) {
    struct points *fresh = out;
    const struct points *current = input->current;
    if (input->word_count == 1 && input->words[0].len == 0) return true;
    if (input->word_count % 2 != 0) goto bad;
    for (size_t i = 0; input->is_repeated && i < current->count; i++) {
        points_append(fresh, current->numbers[i]);
    }
    for (size_t i = 0; i < input->word_count; i++) {
        int64_t number;
        if (!number_parse_i64(input->words[i], &number) || number < 0) goto bad;
        points_append(fresh, (uint32_t)number);
    }
    return true;

bad:
    points_deinit(fresh);
    buffer_append_text(error, "Invalid save parameters");
    return false;
}

static void save_format(const void *field, struct buffer *out) {
    const struct points *points = field;
    for (size_t i = 0; i < points->count; i++) {
        buffer_append_format(out, "%s%u", i == 0 ? "" : " ", points->numbers[i]);
    }
}

static bool save_format_line(const void *field, size_t index, struct buffer *out) {
    const struct points *points = field;
    if (points->count == 0 && index == 0) {
        buffer_append_text(out, "\"\"");
        return true;
    }
    if (2 * index + 1 >= points->count) return false;
    buffer_append_format(out, "%u %u", points->numbers[2 * index], points->numbers[2 * index + 1]);
    return true;
}

static const struct option_ops save_ops = {save_parse, save_format, save_format_line,
                                           points_deinit};

static bool user_parse(void *out, const struct option_input *input, struct buffer *error) {
    if (input->word_count != 1) {
        buffer_append_text(error, "wrong number of arguments");
        return false;
    }
    points_append(out, (uint32_t)input->words[0].len);
    return true;
}

static bool user_format_line(const void *field, size_t index, struct buffer *out) {
    const struct points *points = field;
    if (index >= points->count) return false;
    for (uint32_t i = 0; i < points->numbers[index]; i++)
        buffer_append_text(out, "u");
    return true;
}

static const struct option_ops user_ops = {user_parse, NULL, user_format_line, points_deinit};

static bool check_file_name(const char *value, struct buffer *error) {
    if (strchr(value, '/') == NULL) return true;
    buffer_append_text(error, "dbfilename can't be a path, just a filename");
    return false;
}

static const struct option_choice fsync_choices[] = {
    {"everysec", 1},
    {"always", 2},
    {"no", 0},
    {NULL, 0},
};

static const struct option_choice term_choices[] = {
    {"default", 0}, {"save", 1}, {"nosave", 2}, {"now", 4}, {"force", 8}, {NULL, 0},
};

static const struct option base_rows[] = {
    {.name = "port",
     .field = OPTION_UINT(struct sample, port),
     .range = {.initial = 6379, .max = 65535},
     .live = true,
     .doc = "Port."},
    {.name = "hz",
     .field = OPTION_INT(struct sample, hz),
     .range = {.initial = 10},
     .live = true,
     .doc = "Ticks a second."},
    {.name = "appendonly",
     .field = OPTION_BOOL(struct sample, is_append_only),
     .live = true,
     .doc = "Log."},
    {.name = "replica-read-only",
     .alias = "slave-read-only",
     .field = OPTION_BOOL(struct sample, is_read_only),
     .range = {.initial = 1},
     .live = true,
     .doc = "Refuse writes."},
    {.name = "slowlog-log-slower-than",
     .field = OPTION_INT(struct sample, slow_us),
     .range = {.initial = 10000, .min = -1},
     .live = true,
     .doc = "Microseconds."},
    {.name = "maxclients",
     .field = OPTION_UINT(struct sample, max_clients),
     .range = {.initial = 10000, .min = 1},
     .live = true,
     .doc = "Clients."},
    {.name = "maxmemory",
     .field = OPTION_MEMORY(struct sample, max_memory),
     .live = true,
     .doc = "."},
    {.name = "proto-max-bulk-len",
     .field = OPTION_MEMORY(struct sample, max_bulk),
     .range = {.initial = 512 << 20, .min = 1 << 20, .max = INT64_MAX},
     .live = true,
     .doc = "Bytes."},
    {.name = "maxmemory-clients",
     .field = OPTION_PERCENT(struct sample, max_memory_clients),
     .live = true,
     .doc = "Bytes or share."},
    {.name = "unixsocketperm",
     .field = OPTION_OCTAL(struct sample, socket_mode),
     .range = {.max = 0777},
     .doc = "Mode."},
    {.name = "appendfsync",
     .field = OPTION_ENUM(struct sample, fsync_policy),
     .range = {.initial = 1},
     .choices = fsync_choices,
     .live = true,
     .doc = "When."},
    {.name = "shutdown-on-sigterm",
     .field = OPTION_ENUM(struct sample, on_term),
     .choices = term_choices,
     .multi_word = true,
     .live = true,
     .doc = "How."},
};

static const struct option more_rows[] = {
    {.name = "requirepass",
     .field = OPTION_STRING(struct sample, password),
     .live = true,
     .secret = true,
     .doc = "Password."},
    {.name = "dbfilename",
     .field = OPTION_STRING(struct sample, file_name),
     .initial_text = "dump.rdb",
     .check = check_file_name,
     .live = true,
     .guarded = true,
     .doc = "File."},
    {.name = "proc-title-template",
     .field = OPTION_STRING(struct sample, title),
     .initial_text = "{title} {listen-addr}",
     .live = true,
     .doc = "Title."},
    {.name = "bind",
     .field = OPTION_STRING(struct sample, addresses),
     .initial_text = "* -::*",
     .multi_word = true,
     .live = true,
     .doc = "Addresses."},
    {.name = "save",
     .field = OPTION_SPECIAL(struct sample, save),
     .initial_text = "3600 1 300 100",
     .ops = &save_ops,
     .multi_word = true,
     .live = true,
     .doc = "When to save."},
    {.name = "user",
     .field = OPTION_SPECIAL(struct sample, users),
     .ops = &user_ops,
     .file_only = true,
     .doc = "A user."},
    {.name = "cluster-node-timeout",
     .field = OPTION_MS(struct sample, node_timeout_ms),
     .range = {.initial = 15000, .min = 100, .max = 3600000},
     .live = true,
     .doc = "Silence."},
    {.name = "rdb-key-save-delay",
     .field = OPTION_INT(struct sample, hidden_delay),
     .hidden = true,
     .live = true,
     .doc = "Microseconds."},
};

/* What the callbacks have seen. */
struct witness {
    struct buffer log;
    const char *refuse_when_changed;
    const char *blame;
};

struct fixture {
    struct sample sample;
    struct witness witness;
    struct config *config;
    struct buffer text;
};

static bool apply(struct witness *witness, struct config_change *change, const char *who) {
    buffer_append_format(&witness->log, "%s%s ", who, config_change_is_rollback(change) ? "-" : "");
    if (witness->refuse_when_changed != NULL &&
        config_change_has(change, witness->refuse_when_changed)) {
        return config_change_refuse(change, witness->blame, "Unable to %s", "listen");
    }
    return true;
}

static bool apply_base(void *context, struct config_change *change) {
    return apply(context, change, "base");
}

/* Only this one refuses. */
static bool apply_more(void *context, struct config_change *change) {
    return apply(context, change, "more");
}

static bool accept_base(void *context, struct config_change *change) {
    struct witness *witness = context;
    const char *refuse = witness->refuse_when_changed;
    witness->refuse_when_changed = NULL;
    bool is_good = apply_base(context, change);
    witness->refuse_when_changed = refuse;
    return is_good;
}

static struct fixture *fixture_create(const struct config_io *io) {
    struct fixture *f = mem_alloc_zero(sizeof(*f));
    f->config = config_create(io);
    config_register(f->config, base_rows, ARRAY_COUNT(base_rows), &f->sample, accept_base,
                    &f->witness);
    config_register(f->config, more_rows, ARRAY_COUNT(more_rows), &f->sample, apply_more,
                    &f->witness);
    return f;
}

static void fixture_destroy(struct fixture *f) {
    config_destroy(f->config);
    buffer_deinit(&f->witness.log);
    buffer_deinit(&f->text);
    mem_free(f);
}

static const char *text_of(struct buffer *buffer) {
    buffer_append_u8(buffer, 0);
    buffer->len--;
    return (const char *)buffer->data;
}

/* The value as CONFIG GET shows it. */
static const char *get(struct fixture *f, const char *name) {
    buffer_clear(&f->text);
    if (!config_get_one(f->config, name, &f->text)) buffer_append_text(&f->text, "(none)");
    return text_of(&f->text);
}

static void append_pair(void *context, const char *name, struct bytes value) {
    struct buffer *out = context;
    buffer_append_format(out, "%s%s=%.*s", out->len == 0 ? "" : " ", name, (int)value.len,
                         (const char *)value.data);
}

/* CONFIG GET with patterns separated by spaces. */
static const char *find(struct fixture *f, const char *patterns) {
    struct words words = {0};
    cr_assert_eq(words_split(&words, bytes_of_text(patterns), 16), STATUS_OK);
    buffer_clear(&f->text);
    config_get(f->config, words.items, words.count, append_pair, &f->text);
    words_deinit(&words);
    return text_of(&f->text);
}

/* CONFIG SET with the arguments in one line; "OK" or the error. */
static const char *set(struct fixture *f, const char *line) {
    struct words words = {0};
    cr_assert_eq(words_split(&words, bytes_of_text(line), 16), STATUS_OK);
    buffer_clear(&f->text);
    enum status status = config_set(f->config, words.items, words.count / 2, false, &f->text);
    words_deinit(&words);
    return status == STATUS_OK ? "OK" : text_of(&f->text);
}

/* Loads a text; "OK" or the message. */
static const char *load(struct fixture *f, const char *text, struct config_error *error) {
    enum status status = config_load_text(f->config, bytes_of_text(text), NULL, error);
    return status == STATUS_OK ? "OK" : error->message;
}

static const char *load_arguments(struct fixture *f, int argc, const char **argv,
                                  struct config_error *error) {
    enum status status = config_load_arguments(f->config, argc, (char *const *)argv, error);
    return status == STATUS_OK ? "OK" : error->message;
}

static const char *rewrite(struct fixture *f, const char *text) {
    buffer_clear(&f->text);
    config_rewrite_text(f->config, bytes_of_text(text), &f->text);
    return text_of(&f->text);
}

Test(config, starts_with_initial_values) {
    struct fixture *f = fixture_create(NULL);
    cr_expect_eq(f->sample.port, 6379);
    cr_expect_str_eq(f->sample.file_name, "dump.rdb");
    cr_expect_str_eq(f->sample.password, "");
    cr_expect_str_eq(get(f, "save"), "3600 1 300 100");
    cr_expect_str_eq(get(f, "appendfsync"), "everysec");
    cr_expect_str_eq(get(f, "slave-read-only"), "yes");
    cr_expect_str_eq(get(f, "user"), "(none)");
    fixture_destroy(f);
}

Test(config, reads_lines_as_users_write_them) {
    struct fixture *f = fixture_create(NULL);
    struct config_error error;
    cr_assert_str_eq(load(f,
                          "# comment\r\n\n  PORT \t 7000  \r\nhz\t\"17\"\nslave-read-only no\n"
                          "requirepass 'a b'\nmaxmemory 1gb\nmaxmemory-clients 5%\n"
                          "save 900 1\nsave \"300 10\"\nunixsocketperm 700\nuser x\nuser yy\n"
                          "shutdown-on-sigterm save now\nappendfsync ALWAYS",
                          &error),
                     "OK");
    cr_expect_eq(f->sample.port, 7000);
    cr_expect_eq(f->sample.hz, 17);
    cr_expect(!f->sample.is_read_only);
    cr_expect_str_eq(f->sample.password, "a b");
    cr_expect_eq(f->sample.max_memory, 1u << 30);
    cr_expect_eq(f->sample.max_memory_clients, -5);
    cr_expect_str_eq(get(f, "save"), "900 1 300 10");
    cr_expect_eq(f->sample.socket_mode, 0700);
    cr_expect_eq(f->sample.users.count, 2);
    cr_expect_eq(f->sample.on_term, 5);
    cr_expect_str_eq(get(f, "shutdown-on-sigterm"), "save now");
    cr_expect_eq(f->sample.fsync_policy, 2);
    fixture_destroy(f);
}

Test(config, several_words_are_one_text) {
    static const char *const lines[] = {"bind 127.0.0.1 ::1", "bind \"127.0.0.1 ::1\""};
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        struct fixture *f = fixture_create(NULL);
        struct config_error error;
        cr_assert_eq(config_load_text(f->config, bytes_of_text(lines[i]), NULL, &error), STATUS_OK);
        cr_expect_str_eq(f->sample.addresses, "127.0.0.1 ::1");
        fixture_destroy(f);
    }
}

Test(config, names_what_is_wrong_in_a_line) {
    static const struct {
        const char *line;
        const char *message;
    } cases[] = {
        {"foo bar", "Bad directive or wrong number of arguments"},
        {"port 70000", "argument must be between 0 and 65535 inclusive"},
        {"port abc",
         "argument couldn't be parsed into an integer ('port' takes an integer from 0 to 65535)"},
        {"port", "wrong number of arguments"},
        {"port 1 2", "wrong number of arguments"},
        {"hz 1000 \\", "wrong number of arguments"},
        {"hz \"a\"b", "Unbalanced quotes in configuration line"},
        {"maxmemory 10xx",
         "argument must be a memory value ('maxmemory' takes bytes, or a size such "
         "as 10mb, from 0 to 18446744073709551615)"},
        {"appendonly maybe", "argument must be 'yes' or 'no'"},
        {"appendfsync maybe", "argument(s) must be one of the following: everysec, always, no"},
        {"unixsocketperm 999", "argument couldn't be parsed as an octal number ('unixsocketperm' "
                               "takes an octal number from 0 to 777)"},
        {"unixsocketperm 7777", "argument must be between 0 and 777 inclusive"},
        {"maxmemory-clients 101%", "percentage argument must be less or equal to 100"},
        {"dbfilename a/b", "dbfilename can't be a path, just a filename"},
        {"save 1", "Invalid save parameters"},
        {"save \"900 1\" 3 4", "Invalid save parameters"},
        {"include x.conf", "files can't be included here"},
        {"list-compress-depth 1", "The option 'list-compress-depth' exists elsewhere, but this "
                                  "build of Dunlin does not support it"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fixture *f = fixture_create(NULL);
        struct config_error error;
        char text[256];
        snprintf(text, sizeof(text), "hz 10\n\n%s\n", cases[i].line);
        const char *message = load(f, text, &error);
        bool starts = strncmp(message, cases[i].message, strlen(cases[i].message)) == 0;
        cr_expect(starts, "<%s> gave <%s>", cases[i].line, message);
        cr_expect_eq(error.line, 3);
        cr_expect_str_eq(error.directive, cases[i].line);
        fixture_destroy(f);
    }
}

Test(config, reports_a_failed_start_in_the_familiar_form) {
    struct fixture *f = fixture_create(NULL);
    struct config_error error;
    load(f, "hz 1\nport 70000\n", &error);
    struct buffer report = {0};
    config_error_format(&error, &report);
    cr_expect_str_eq(text_of(&report),
                     "\n*** FATAL CONFIG FILE ERROR (Dunlin " DUNLIN_VERSION ") ***\n"
                     "Reading the configuration file, at line 2\n"
                     ">>> 'port 70000'\n"
                     "argument must be between 0 and 65535 inclusive\n");
    load(f, "requirepass secret words\n", &error);
    cr_expect_str_eq(error.directive, "requirepass ***");
    buffer_deinit(&report);
    fixture_destroy(f);
}

Test(config, takes_options_from_the_command_line) {
    struct fixture *f = fixture_create(NULL);
    struct config_error error;
    const char *good[] = {"--port",
                          "7001",
                          "--HZ",
                          "33",
                          "--save",
                          "1",
                          "1",
                          "--save",
                          "2",
                          "2",
                          "--proc-title-template",
                          "--x",
                          "--appendonly yes",
                          "--requirepass",
                          ""};
    cr_expect_str_eq(load_arguments(f, ARRAY_COUNT(good), good, &error), "OK");
    cr_expect_eq(f->sample.port, 7001);
    cr_expect_eq(f->sample.hz, 33);
    cr_expect(f->sample.is_append_only);
    cr_expect_str_eq(f->sample.title, "--x");
    cr_expect_str_eq(get(f, "save"), "1 1 2 2");
    const char *empty[] = {"--save", "--port", "7002"};
    cr_expect_str_eq(load_arguments(f, ARRAY_COUNT(empty), empty, &error), "OK");
    cr_expect_str_eq(get(f, "save"), "");
    cr_expect_eq(f->sample.port, 7002);
    fixture_destroy(f);
}

Test(config, names_the_option_of_the_command_line_that_is_wrong) {
    struct fixture *f = fixture_create(NULL);
    struct config_error error;
    const char *many[] = {"--port", "7001", "--hz", "10", "20"};
    cr_expect_str_eq(load_arguments(f, ARRAY_COUNT(many), many, &error),
                     "wrong number of arguments ('hz' takes an integer from 0 to 2147483647)");
    cr_expect_eq(error.place, CONFIG_PLACE_ARGUMENTS);
    cr_expect_eq(error.line, 2);
    cr_expect_str_eq(error.directive, "hz \"10\" \"20\"");
    const char *none[] = {"--hz"};
    cr_expect_str_eq(load_arguments(f, 1, none, &error),
                     "wrong number of arguments ('hz' takes an integer from 0 to 2147483647)");
    const char *unknown[] = {"--foo", "1"};
    cr_expect_str_eq(load_arguments(f, 2, unknown, &error),
                     "Bad directive or wrong number of arguments");
    fixture_destroy(f);
}

Test(config, finds_options_by_name_alias_and_pattern) {
    struct fixture *f = fixture_create(NULL);
    cr_expect_str_eq(find(f, "hz"), "hz=10");
    cr_expect_str_eq(find(f, "HZ hz h*"), "HZ=10");
    cr_expect_str_eq(find(f, "h[z]"), "hz=10");
    cr_expect_str_eq(find(f, "'h\\z'"), "");
    cr_expect_str_eq(find(f, "*-READ-only"), "replica-read-only=yes slave-read-only=yes");
    cr_expect_str_eq(find(f, "slave-read-only"), "slave-read-only=yes");
    cr_expect_str_eq(find(f, "rdb-key*"), "");
    cr_expect_str_eq(find(f, "rdb-key-save-delay"), "rdb-key-save-delay=0");
    cr_expect_str_eq(find(f, "nosuch user \"\""), "");
    fixture_destroy(f);
}

Test(config, sets_or_says_why_not) {
    static const struct {
        const char *line;
        const char *answer;
    } cases[] = {
        {"hz 12 port 7000", "OK"},
        {"nosuch 1", "Unknown option or number of arguments for CONFIG SET - 'nosuch'"},
        {"hz 13 nosuch 1", "Unknown option or number of arguments for CONFIG SET - 'nosuch'"},
        {"user x", "Unknown option or number of arguments for CONFIG SET - 'user' (this build of "
                   "Dunlin does not support it)"},
        {"hz a UNIXSOCKETPERM 4", "CONFIG SET failed (possibly related to argument "
                                  "'UNIXSOCKETPERM') - can't set immutable config"},
        {"dbfilename x",
         "CONFIG SET failed (possibly related to argument 'dbfilename') - can't set "
         "protected config"},
        {"hz 1 HZ 2",
         "CONFIG SET failed (possibly related to argument 'HZ') - duplicate parameter"},
        {"HZ a", "CONFIG SET failed (possibly related to argument 'hz') - argument couldn't be "
                 "parsed into an integer"},
        {"SLAVE-read-only a",
         "CONFIG SET failed (possibly related to argument 'slave-read-only') - "
         "argument must be 'yes' or 'no'"},
        {"slave-read-only yes replica-read-only yes", "OK"},
        {"port 99999", "CONFIG SET failed (possibly related to argument 'port') - argument must be "
                       "between 0 and 65535 inclusive"},
        {"hz 99999999999999999999", "CONFIG SET failed (possibly related to argument 'hz') - "
                                    "argument couldn't be parsed into an integer"},
        {"maxclients 0", "CONFIG SET failed (possibly related to argument 'maxclients') - argument "
                         "must be between 1 and 4294967295 inclusive"},
        {"slowlog-log-slower-than -2",
         "CONFIG SET failed (possibly related to argument 'slowlog-log-slower-than') - argument "
         "must be between -1 and 9223372036854775807 inclusive"},
        {"proto-max-bulk-len 99999999999999999999",
         "CONFIG SET failed (possibly related to argument 'proto-max-bulk-len') - argument must be "
         "between 1048576 and 9223372036854775807 inclusive"},
        {"maxmemory -1", "CONFIG SET failed (possibly related to argument 'maxmemory') - argument "
                         "must be a memory value"},
        {"maxmemory \"1 mb\"", "CONFIG SET failed (possibly related to argument 'maxmemory') - "
                               "argument must be a memory value"},
        {"maxmemory \"\"", "OK"},
        {"maxmemory-clients -1%", "CONFIG SET failed (possibly related to argument "
                                  "'maxmemory-clients') - argument must be a memory or percent "
                                  "value"},
        {"maxmemory-clients %",
         "CONFIG SET failed (possibly related to argument "
         "'maxmemory-clients') - argument must be a memory or percent value"},
        {"save \"900  1\"",
         "CONFIG SET failed (possibly related to argument 'save') - Invalid save "
         "parameters"},
        {"save \"900 1 60 2\"", "OK"},
        {"shutdown-on-sigterm \"save  force\"",
         "CONFIG SET failed (possibly related to argument 'shutdown-on-sigterm') - argument(s) "
         "must "
         "be one of the following: default, save, nosave, now, force"},
        {"shutdown-on-sigterm \"save force\"", "OK"},
        {"list-compress-depth 1", "Unknown option or number of arguments for CONFIG SET - "
                                  "'list-compress-depth' (this build of Dunlin does not support "
                                  "it)"},
    };
    struct fixture *f = fixture_create(NULL);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *answer = set(f, cases[i].line);
        cr_expect_str_eq(answer, cases[i].answer, "<%s> gave <%s>", cases[i].line, answer);
    }
    cr_expect_eq(f->sample.hz, 12);
    cr_expect_str_eq(get(f, "save"), "900 1 60 2");
    cr_expect_str_eq(get(f, "shutdown-on-sigterm"), "save force");
    cr_expect_str_eq(set(f, "save \"\""), "OK");
    cr_expect_str_eq(get(f, "save"), "");
    fixture_destroy(f);
}

Test(config, shows_sizes_in_bytes_and_shares_as_percent) {
    struct fixture *f = fixture_create(NULL);
    cr_expect_str_eq(set(f, "maxmemory 1mB maxmemory-clients 100%"), "OK");
    cr_expect_str_eq(get(f, "maxmemory"), "1048576");
    cr_expect_str_eq(get(f, "maxmemory-clients"), "100%");
    cr_expect_str_eq(set(f, "maxmemory 1M maxmemory-clients 1mb"), "OK");
    cr_expect_str_eq(get(f, "maxmemory"), "1000000");
    cr_expect_str_eq(get(f, "maxmemory-clients"), "1048576");
    cr_expect_str_eq(set(f, "maxmemory 18446744073709551616"), "OK");
    cr_expect_str_eq(get(f, "maxmemory"), "18446744073709551615");
    fixture_destroy(f);
}

Test(config, sets_nothing_when_one_value_is_bad) {
    struct fixture *f = fixture_create(NULL);
    set(f, "hz 50 requirepass new save \"1 1\" appendonly maybe");
    cr_expect_eq(f->sample.hz, 10);
    cr_expect_str_eq(f->sample.password, "");
    cr_expect_str_eq(get(f, "save"), "3600 1 300 100");
    cr_expect_eq(f->witness.log.len, 0);
    fixture_destroy(f);
}

Test(config, tells_each_module_once_and_only_of_real_changes) {
    struct fixture *f = fixture_create(NULL);
    cr_expect_str_eq(set(f, "requirepass a hz 50 port 7000"), "OK");
    cr_expect_str_eq(text_of(&f->witness.log), "base more ");
    cr_expect_str_eq(set(f, "requirepass a hz 50 port 7001"), "OK");
    cr_expect_str_eq(text_of(&f->witness.log), "base more base ");
    fixture_destroy(f);
}

Test(config, takes_everything_back_when_a_module_refuses) {
    struct fixture *f = fixture_create(NULL);
    f->witness.refuse_when_changed = "save";
    f->witness.blame = "port";
    cr_expect_str_eq(set(f, "requirepass a port 7000 save \"1 1\""),
                     "CONFIG SET failed (possibly related to argument 'port') - Unable to listen");
    cr_expect_str_eq(text_of(&f->witness.log), "base more more- base- ");
    cr_expect_eq(f->sample.port, 6379);
    cr_expect_str_eq(f->sample.password, "");
    cr_expect_str_eq(get(f, "save"), "3600 1 300 100");
    f->witness.blame = NULL;
    cr_expect_str_eq(
        set(f, "hz 9 requirepass a save \"1 1\""),
        "CONFIG SET failed (possibly related to argument 'requirepass') - Unable to listen");
    fixture_destroy(f);
}

Test(config, rewrites_in_place_and_appends_what_is_new) {
    static const char before[] = "# top comment\n"
                                 "port 7000\n"
                                 "\n"
                                 "hz 12\n"
                                 "hz 13\n"
                                 "  # indented comment\n"
                                 "save 900 1\n"
                                 "save 300 10\n"
                                 "maxmemory 100mb\n"
                                 "slave-read-only yes\n"
                                 "requirepass \"a b\"\n"
                                 "unknown-word 1\n"
                                 "\n\n\n"
                                 "appendfsync always\n"
                                 "# last\n";
    struct fixture *f = fixture_create(NULL);
    struct config_error error;
    cr_assert_str_eq(load(f, before, &error), "Bad directive or wrong number of arguments");
    cr_assert_str_eq(load(f, "appendfsync always\nmaxmemory-clients 1mb\nuser abc\n", &error),
                     "OK");
    cr_assert_str_eq(set(f, "slowlog-log-slower-than 5"), "OK");
    static const char after[] = "# top comment\n"
                                "port 7000\n"
                                "\n"
                                "hz 13\n"
                                "\n"
                                "# indented comment\n"
                                "save 900 1\n"
                                "save 300 10\n"
                                "maxmemory 100mb\n"
                                "replica-read-only yes\n"
                                "requirepass \"a b\"\n"
                                "unknown-word 1\n"
                                "\n"
                                "appendfsync always\n"
                                "# last\n"
                                "\n"
                                "# Generated by CONFIG REWRITE\n"
                                "slowlog-log-slower-than 5\n"
                                "maxmemory-clients 1mb\n"
                                "user uuu\n";
    cr_expect_str_eq(rewrite(f, before), after);
    cr_expect_str_eq(rewrite(f, after), after, "a second time changes nothing");
    cr_assert_str_eq(set(f, "save \"\" requirepass \"\" hz 10 maxmemory 0"), "OK");
    cr_expect_str_eq(rewrite(f, after), "# top comment\n"
                                        "port 7000\n"
                                        "\n"
                                        "hz 10\n"
                                        "\n"
                                        "# indented comment\n"
                                        "save \"\"\n"
                                        "\n"
                                        "maxmemory 0\n"
                                        "replica-read-only yes\n"
                                        "\n"
                                        "unknown-word 1\n"
                                        "\n"
                                        "appendfsync always\n"
                                        "# last\n"
                                        "\n"
                                        "# Generated by CONFIG REWRITE\n"
                                        "slowlog-log-slower-than 5\n"
                                        "maxmemory-clients 1mb\n"
                                        "user uuu\n");
    fixture_destroy(f);
}

Test(config, rewrite_disarms_a_line_that_cannot_be_read) {
    struct fixture *f = fixture_create(NULL);
    cr_expect_str_eq(rewrite(f, "dbfilename \"x\n"), "# ??? dbfilename \"x\n");
    fixture_destroy(f);
}

/* A folder of its own with a few files. */
static char *make_folder(void) {
    char *folder = mem_alloc(64);
    snprintf(folder, 64, "/tmp/dunlin-config-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    return folder;
}

static void write_file(const char *folder, const char *name, const char *text, char *out_path) {
    snprintf(out_path, 128, "%s/%s", folder, name);
    FILE *file = fopen(out_path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

Test(config, reads_includes_in_their_place) {
    struct fixture *f = fixture_create(&config_file_io);
    struct config_error error;
    char *folder = make_folder();
    char a[128];
    char b[128];
    char main_path[128];
    char text[512];
    write_file(folder, "inc-a.conf", "hz 20\nport 7100\n", a);
    write_file(folder, "inc-b.conf", "hz 21\n", b);
    snprintf(text, sizeof(text), "include %s/inc-*.conf\nport 7200\ninclude %s/none-*.conf\n",
             folder, folder);
    write_file(folder, "main.conf", text, main_path);
    cr_assert_eq(config_load_file(f->config, main_path, &error), STATUS_OK, "%s", error.message);
    cr_expect_eq(f->sample.hz, 21);
    cr_expect_eq(f->sample.port, 7200);
    cr_expect_str_eq(config_path(f->config), main_path);

    write_file(folder, "inc-b.conf", "\nhz x\n", b);
    cr_expect_eq(config_load_file(f->config, main_path, &error), STATUS_BAD_FORMAT);
    cr_expect_eq(error.place, CONFIG_PLACE_INCLUDE);
    cr_expect_str_eq(error.source, b);
    cr_expect_eq(error.line, 2);

    snprintf(text, sizeof(text), "include %s\n", b);
    write_file(folder, "inc-b.conf", text, b);
    cr_expect_eq(config_load_file(f->config, main_path, &error), STATUS_BAD_FORMAT);
    cr_expect_str_eq(error.message, "includes are nested too deeply (at most 16)");

    unlink(a);
    unlink(b);
    snprintf(text, sizeof(text), "include %s\n", b);
    write_file(folder, "main.conf", text, main_path);
    cr_expect_eq(config_load_file(f->config, main_path, &error), STATUS_IO_ERROR);
    buffer_clear(&f->text);
    config_error_format(&error, &f->text);
    snprintf(text, sizeof(text),
             "Fatal error, can't open config file '%s': No such file or directory\n", b);
    cr_expect_str_eq(text_of(&f->text), text);
    unlink(main_path);
    rmdir(folder);
    mem_free(folder);
    fixture_destroy(f);
}

Test(config, rewrites_its_file_at_once_and_keeps_its_mode) {
    struct fixture *f = fixture_create(&config_file_io);
    struct config_error error;
    char *folder = make_folder();
    char path[128];
    write_file(folder, "main.conf", "hz 20\n", path);
    cr_assert_eq(chmod(path, 0600), 0);
    const char *arguments[] = {path, "--port", "7300"};
    cr_assert_str_eq(load_arguments(f, ARRAY_COUNT(arguments), arguments, &error), "OK");
    cr_assert_str_eq(set(f, "hz 30"), "OK");
    buffer_clear(&f->text);
    cr_assert_eq(config_rewrite(f->config, &f->text), STATUS_OK);
    struct buffer content = {0};
    cr_assert_eq(config_file_io.read(path, &content), STATUS_OK);
    cr_expect_str_eq(text_of(&content), "hz 30\n\n# Generated by CONFIG REWRITE\nport 7300\n");
    struct stat status;
    cr_assert_eq(stat(path, &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0600);
    buffer_deinit(&content);
    unlink(path);
    cr_expect_eq(rmdir(folder), 0, "no temporary file stays");
    cr_expect_eq(config_rewrite(f->config, &f->text), STATUS_IO_ERROR);
    cr_expect_str_eq(text_of(&f->text), "Rewriting config file: No such file or directory");
    mem_free(folder);
    fixture_destroy(f);
}

Test(config, has_nothing_to_rewrite_without_a_file) {
    struct fixture *f = fixture_create(&config_file_io);
    cr_expect_eq(config_rewrite(f->config, &f->text), STATUS_NOT_FOUND);
    cr_expect_str_eq(text_of(&f->text), "The server is running without a config file");
    fixture_destroy(f);
}

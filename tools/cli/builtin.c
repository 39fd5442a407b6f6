#include "tools/cli/builtin.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/base/number.h"
#include "tools/cli/command_docs.h"
#include "tools/cli/help.h"
#include "tools/cli/run.h"

#define SLOW_COMMAND_MS 500u /* From here on the time is shown behind the reply. */

struct builtin {
    const struct cli_options *options;
    struct session *session;
    struct command_docs docs;
    bool has_docs;
    bool shows_hints;
    uint64_t shows_time_from_ms;
    int status;
};

struct builtin *builtin_create(const struct cli_options *options, bool is_terminal,
                               bool waits_for_input) {
    struct builtin *builtin = mem_alloc_zero(sizeof(*builtin));
    builtin->options = options;
    builtin->shows_hints = true;
    builtin->shows_time_from_ms = waits_for_input ? SLOW_COMMAND_MS : UINT64_MAX;
    builtin->session = session_create(&(struct session_settings){
        .options = options,
        .format = cli_options_format(options, is_terminal),
        .is_terminal = is_terminal,
        .is_interactive = true,
        .waits_for_input = waits_for_input,
    });
    return builtin;
}

void builtin_destroy(struct builtin *builtin) {
    if (builtin == NULL) return;
    session_destroy(builtin->session);
    command_docs_deinit(&builtin->docs);
    mem_free(builtin);
}

struct session *builtin_session(struct builtin *builtin) {
    return builtin->session;
}

bool builtin_shows_hints(const struct builtin *builtin) {
    return builtin->shows_hints;
}

int builtin_status(const struct builtin *builtin) {
    return builtin->status;
}

void builtin_write_prompt(struct builtin *builtin) {
    struct buffer prompt = {0};
    session_append_prompt(builtin->session, &prompt);
    session_write(buffer_view(&prompt));
    buffer_deinit(&prompt);
}

const struct command_docs *builtin_docs(struct builtin *builtin) {
    if (builtin->has_docs) return &builtin->docs;
    struct bytes argv[2] = {BYTES_LITERAL("COMMAND"), BYTES_LITERAL("DOCS")};
    struct reply *reply = session_ask(builtin->session, 2, argv);
    if (reply != NULL && reply_is_aggregate(reply)) {
        command_docs_read(reply, &builtin->docs);
        builtin->has_docs = true;
    }
    reply_destroy(reply);
    if (builtin->has_docs) return &builtin->docs;
    reply = session_ask(builtin->session, 1, argv);
    if (reply != NULL && reply_is_aggregate(reply)) {
        command_docs_read_commands(reply, &builtin->docs);
        builtin->has_docs = true;
    }
    reply_destroy(reply);
    return &builtin->docs;
}

static void show_help(struct builtin *builtin, size_t count, const struct bytes *words) {
    struct buffer text = {0};
    if (count > 0 && !session_is_connected(builtin->session)) {
        session_connect(builtin->session); /* A failure is told, and the prompt shows it. */
    }
    help_append(builtin_docs(builtin), builtin->options->profile, count, words, &text);
    session_write(buffer_view(&text));
    buffer_deinit(&text);
}

/* `:set output <style>`. False when there is no such style. */
static bool set_output(struct builtin *builtin, struct bytes name) {
    static const struct {
        const char *name;
        enum format_style style;
    } styles[] = {
        {"standard", FORMAT_STANDARD},
        {"raw", FORMAT_RAW},
        {"csv", FORMAT_CSV},
        {"json", FORMAT_JSON},
        {"quoted-json", FORMAT_QUOTED_JSON},
    };
    for (size_t i = 0; i < ARRAY_COUNT(styles); i++) {
        if (!bytes_equal_text_nocase(name, styles[i].name)) continue;
        session_set_style(builtin->session, styles[i].style);
        return true;
    }
    return false;
}

/* `:set timing always|slow|off`. */
static bool set_timing(struct builtin *builtin, struct bytes name) {
    static const char *const names[] = {"always", "slow", "off"};
    static const uint64_t from_ms[] = {0, SLOW_COMMAND_MS, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (!bytes_equal_text_nocase(name, names[i])) continue;
        builtin->shows_time_from_ms = from_ms[i];
        return true;
    }
    return false;
}

/* True when `:set` understood its words. */
static bool set_one(struct builtin *builtin, const struct word_list *words) {
    bool has_value = words->count > 2;
    struct bytes name = words->items[1];
    bool is_hints = bytes_equal_text_nocase(name, "hints");
    if (is_hints || bytes_equal_text_nocase(name, "nohints")) {
        builtin->shows_hints = is_hints;
        return true;
    }
    if (bytes_equal_text_nocase(name, "output")) {
        return has_value && set_output(builtin, words->items[2]);
    }
    return bytes_equal_text_nocase(name, "timing") && has_value &&
           set_timing(builtin, words->items[2]);
}

/* A line that begins with ':'. `where` is put before complaints. */
static void set_preference(struct builtin *builtin, const struct word_list *words,
                           const char *where) {
    const char *tool = builtin->options->profile->tool;
    struct bytes name = words->items[0];
    if (bytes_equal_text_nocase(name, ":get") && words->count == 2 &&
        bytes_equal_text_nocase(words->items[1], "pubsub")) {
        printf("%d\n", session_is_subscribed(builtin->session));
    } else if (!bytes_equal_text_nocase(name, ":set") || words->count < 2) {
        printf("%sunknown %s internal command '%s'\n", where, tool, (const char *)name.data);
    } else if (!set_one(builtin, words)) {
        printf("%sunknown %s preference '%s'\n", where, tool, (const char *)words->items[1].data);
    }
    fflush(stdout);
}

static const char *environment(const char *name) {
    return getenv(name);
}

void builtin_read_preferences(struct builtin *builtin) {
    const struct profile *profile = builtin->options->profile;
    const char *given = cli_environment(profile, environment, "RCFILE");
    const char *home = getenv("HOME");
    char path[512];
    char where[64];
    if (given == NULL && home == NULL) return;
    if (given != NULL) {
        snprintf(path, sizeof(path), "%s", given);
    } else {
        snprintf(path, sizeof(path), "%s/.%src", home, profile->dot_name);
    }
    FILE *file = fopen(path, "r");
    if (file == NULL) return;
    snprintf(where, sizeof(where), ".%src: ", profile->dot_name);
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    while ((len = getline(&line, &cap, file)) >= 0) {
        struct word_list words = {0};
        bool is_valid = word_list_append_line(&words, bytes_of(line, (size_t)len));
        if (is_valid && words.count > 0) set_preference(builtin, &words, where);
        word_list_deinit(&words);
    }
    free(line);
    fclose(file);
}

static void connect_to(struct builtin *builtin, struct bytes host, struct bytes port_text) {
    int64_t port;
    if (!number_parse_i64(port_text, &port) || port < 0 || port > 65535) {
        fprintf(stderr, "Invalid server port.\n");
        return;
    }
    session_set_address(builtin->session, (const char *)host.data, (int)port);
    session_connect(builtin->session); /* A failure is told, and the prompt shows it. */
}

/* The tool's own commands. True when the words were one; `out_ends` says that the tool shall end.
 */
static bool run_own(struct builtin *builtin, const struct word_list *words, bool *out_ends) {
    struct bytes name = words->items[0];
    *out_ends = false;
    if (bytes_equal_text_nocase(name, "quit") || bytes_equal_text_nocase(name, "exit")) {
        *out_ends = true;
    } else if (name.data[0] == ':') {
        set_preference(builtin, words, "");
    } else if (bytes_equal_text_nocase(name, "help") || bytes_equal_text(name, "?")) {
        show_help(builtin, words->count - 1, words->items + 1);
    } else if (bytes_equal_text_nocase(name, "connect") && words->count == 3) {
        connect_to(builtin, words->items[1], words->items[2]);
    } else if (bytes_equal_text_nocase(name, "clear") && words->count == 1) {
        session_write(BYTES_LITERAL("\x1b[H\x1b[2J"));
    } else if (bytes_equal_text_nocase(name, "restart") && words->count == 1) {
        printf("Use 'restart' only in Lua debugging mode.\n");
    } else {
        return false;
    }
    return true;
}

static void run_command(struct builtin *builtin, size_t count, const struct bytes *words,
                        int64_t repeats) {
    for (int64_t i = 0; i < repeats; i++) {
        uint64_t start = clock_monotonic_ms();
        enum session_result result = session_run(builtin->session, count, words);
        uint64_t elapsed = clock_monotonic_ms() - start;
        if (result == SESSION_ERROR_REPLY && builtin->options->errors_fail > 0) builtin->status = 1;
        if (result == SESSION_LOST) return;
        if (elapsed >= builtin->shows_time_from_ms) {
            printf("(%.2fs)\n", (double)elapsed / 1000);
            fflush(stdout);
        }
        if (builtin->options->interval_seconds > 0) {
            run_pause(builtin->options->interval_seconds);
        }
    }
}

bool builtin_run_line(struct builtin *builtin, struct bytes line) {
    struct word_list words = {0};
    bool goes_on = true;
    bool ends = false;
    if (!word_list_append_line(&words, line)) {
        printf("Invalid argument(s)\n");
        fflush(stdout);
    } else if (words.count > 0 && run_own(builtin, &words, &ends)) {
        goes_on = !ends;
    } else if (words.count > 0) {
        int64_t repeats = 1;
        bool has_count = words.count > 1 && number_parse_i64(words.items[0], &repeats);
        if (has_count && repeats <= 0) {
            printf("Invalid %s repeat command option value.\n", builtin->options->profile->tool);
            fflush(stdout);
        } else {
            size_t skipped = has_count ? 1 : 0;
            run_command(builtin, words.count - skipped, words.items + skipped, repeats);
        }
    }
    word_list_deinit(&words);
    return goes_on;
}

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "tools/cli/run.h"
#include "tools/cli/session.h"

#define READ_CHUNK (64u * 1024u)

static void read_stdin(struct buffer *out) {
    for (;;) {
        uint8_t *room = buffer_reserve(out, READ_CHUNK);
        ssize_t n = read(STDIN_FILENO, room, READ_CHUNK);
        if (n > 0) out->len += (size_t)n;
        if (n == 0 || (n < 0 && errno != EINTR)) return;
    }
}

/* Puts all of standard input where -x or -X wants it. */
static bool add_stdin(const struct cli_options *options, struct word_list *words) {
    size_t at = words->count;
    if (options->stdin_tag != NULL) {
        for (at = 0; at < words->count; at++) {
            if (bytes_equal_text(words->items[at], options->stdin_tag)) break;
        }
        if (at == words->count) {
            fprintf(stderr, "Using -X option but stdin tag not match.\n");
            return false;
        }
    }
    struct buffer input = {0};
    read_stdin(&input);
    word_list_append(words, buffer_view(&input));
    buffer_deinit(&input);
    struct bytes last = words->items[words->count - 1];
    if (at + 1 < words->count) {
        words->items[words->count - 1] = words->items[at];
        words->items[at] = last;
        word_list_drop_last(words);
    }
    return true;
}

static bool copy_words(const struct cli_options *options, struct word_list *words) {
    for (size_t i = 0; i < options->words.count; i++) {
        struct bytes word = options->words.items[i];
        size_t before = words->count;
        if (!options->input_is_quoted) {
            word_list_append(words, word);
        } else if (!word_list_append_line(words, word) || words->count != before + 1) {
            fprintf(stderr, "Invalid quoted string\n");
            return false;
        }
    }
    bool uses_stdin = options->stdin_is_last_argument || options->stdin_tag != NULL;
    return !uses_stdin || add_stdin(options, words);
}

void run_pause(double seconds) {
    struct timespec wait = {.tv_sec = (time_t)seconds};
    wait.tv_nsec = (long)((seconds - (double)wait.tv_sec) * 1e9);
    while (nanosleep(&wait, &wait) < 0 && errno == EINTR)
        continue;
}

static int repeat(const struct cli_options *options, struct session *session,
                  const struct word_list *words) {
    bool has_failed = session_auth_failed(session);
    if (has_failed && options->errors_fail > 0) return 1;
    bool is_endless = options->repeat_count < 0;
    for (int64_t i = 0; is_endless || i < options->repeat_count; i++) {
        enum session_result result = session_run(session, words->count, words->items);
        if (result == SESSION_LOST) return 1;
        if (result == SESSION_ERROR_REPLY && options->errors_fail > 0) return 1;
        if (options->interval_seconds > 0) run_pause(options->interval_seconds);
    }
    return has_failed ? 1 : 0;
}

int run_one_shot(const struct cli_options *options, bool is_terminal) {
    struct word_list words = {0};
    struct session *session = NULL;
    int status = 1;
    if (copy_words(options, &words)) {
        session = session_create(&(struct session_settings){
            .options = options,
            .format = cli_options_format(options, is_terminal),
            .is_terminal = is_terminal,
        });
        if (session_connect(session)) status = repeat(options, session, &words);
    }
    session_destroy(session);
    word_list_deinit(&words);
    return status;
}

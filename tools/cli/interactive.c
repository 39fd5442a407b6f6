/* A conversation at the terminal. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/cli/builtin.h"
#include "tools/cli/hints.h"
#include "tools/cli/history.h"
#include "tools/cli/run.h"
#include "tools/cli/terminal.h"

#define WAITING_TEXT "Reading messages... (press Ctrl-C to quit or any key to type command)\r"
#define WAITING_ERASE "\r\x1b[K"

struct conversation {
    const struct cli_options *options;
    struct builtin *builtin;
    struct history *history;
    bool is_editable;
};

static void complete(void *context, struct bytes line, struct word_list *out) {
    struct conversation *conversation = context;
    hint_complete(builtin_docs(conversation->builtin), line, out);
}

static void hint(void *context, struct bytes line, struct buffer *out) {
    struct conversation *conversation = context;
    if (!builtin_shows_hints(conversation->builtin)) return;
    hint_append(builtin_docs(conversation->builtin), line, out);
}

static const char *environment(const char *name) {
    return getenv(name);
}

static struct history *open_history(const struct cli_options *options) {
    const char *given = cli_environment(options->profile, environment, "HISTFILE");
    const char *home = getenv("HOME");
    char path[512];
    if (given != NULL) return history_create(given);
    if (home == NULL) return history_create(NULL);
    snprintf(path, sizeof(path), "%s/.%s_history", home, options->profile->dot_name);
    return history_create(path);
}

/* A terminal that cannot be drawn on: plain lines. */
static enum edit_result read_plain(struct conversation *conversation, struct buffer *out) {
    char *line = NULL;
    size_t cap = 0;
    builtin_write_prompt(conversation->builtin);
    ssize_t len = getline(&line, &cap, stdin);
    if (len > 0 && line[len - 1] == '\n') len--;
    if (len > 0) buffer_append(out, line, (size_t)len);
    free(line);
    return len < 0 ? EDIT_END : EDIT_DONE;
}

static enum edit_result read_line(struct conversation *conversation, struct bytes start,
                                  struct buffer *out) {
    if (!conversation->is_editable) return read_plain(conversation, out);
    struct buffer prompt = {0};
    session_append_prompt(builtin_session(conversation->builtin), &prompt);
    struct terminal_prompt terminal = {
        .text = buffer_view(&prompt),
        .history = conversation->history,
        .complete = complete,
        .hint = hint,
        .context = conversation,
        .start = start,
    };
    enum edit_result result = terminal_read_line(&terminal, out);
    buffer_deinit(&prompt);
    return result;
}

/* Ctrl-C must reach MONITOR and a waiting subscription as an interrupted wait, not end the tool. So
 * the signal is blocked except while the client waits, and has a handler that does nothing. */
static void ignore_signal(int signal_number) {
    (void)signal_number;
}

static void catch_interrupts(void) {
    struct sigaction interrupt = {.sa_handler = ignore_signal};
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaction(SIGINT, &interrupt, NULL);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
}

/* True when Ctrl-C was pressed while nobody waited. */
static bool take_interrupt(void) {
    sigset_t wanted;
    struct timespec now = {0};
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGINT);
    return sigtimedwait(&wanted, NULL, &now) == SIGINT;
}

static void leave_subscription(struct conversation *conversation) {
    struct session *session = builtin_session(conversation->builtin);
    session_interrupt(session);
    session_connect(session); /* A failure is told, and the prompt shows it. */
}

/* Shows messages until a key is pressed, which is the beginning of a line. False: no key, the
 * subscription is over. */
static bool wait_subscribed(struct conversation *conversation, uint8_t *out_key) {
    struct session *session = builtin_session(conversation->builtin);
    bool has_key = false;
    terminal_set_raw();
    while (!has_key && session_is_subscribed(session)) {
        session_write(BYTES_LITERAL(WAITING_TEXT));
        struct pollfd inputs[] = {
            {.fd = STDIN_FILENO, .events = POLLIN},
            {.fd = session_socket(session), .events = POLLIN},
        };
        if (poll(inputs, 2, -1) < 0) continue;
        session_write(BYTES_LITERAL(WAITING_ERASE));
        if (inputs[1].revents != 0 && !session_show_arrived(session)) {
            fprintf(stderr, "Error: Server closed the connection\n");
            break;
        }
        if (inputs[0].revents == 0) continue;
        has_key = read(STDIN_FILENO, out_key, 1) == 1;
        if (!has_key || *out_key == KEY_CTRL_C) {
            terminal_restore();
            leave_subscription(conversation);
            return false;
        }
    }
    terminal_restore();
    return has_key;
}

/* False when the conversation is over. */
static bool take_turn(struct conversation *conversation) {
    struct session *session = builtin_session(conversation->builtin);
    uint8_t key = 0;
    struct bytes start = {0};
    bool has_interrupt = take_interrupt();
    if (session_is_subscribed(session) && has_interrupt) leave_subscription(conversation);
    if (session_is_connected(session) && !session_is_subscribed(session)) {
        session_show_arrived(session); /* A lost connection shows in the prompt. */
    }
    if (session_is_subscribed(session) && conversation->is_editable) {
        if (!wait_subscribed(conversation, &key)) return true;
        if (key != KEY_ENTER) start = bytes_of(&key, 1);
    }
    struct buffer line = {0};
    enum edit_result result = read_line(conversation, start, &line);
    bool goes_on = result == EDIT_DONE;
    if (result == EDIT_INTERRUPTED && session_is_subscribed(session)) {
        leave_subscription(conversation);
        goes_on = true;
    } else if (result == EDIT_INTERRUPTED && line.len > 0) {
        goes_on = true; /* Ctrl-C drops the line; on an empty one it ends the tool. */
    } else if (result == EDIT_DONE) {
        history_add(conversation->history, buffer_view(&line));
        goes_on = builtin_run_line(conversation->builtin, buffer_view(&line));
        if (session_was_interrupted(session)) session_connect(session);
    }
    buffer_deinit(&line);
    return goes_on;
}

int run_interactive(const struct cli_options *options) {
    bool is_terminal = isatty(STDOUT_FILENO) || getenv("FAKETTY") != NULL;
    struct conversation conversation = {
        .options = options,
        .builtin = builtin_create(options, is_terminal, true),
        .history = open_history(options),
        .is_editable = terminal_is_editable() && isatty(STDOUT_FILENO),
    };
    builtin_read_preferences(conversation.builtin);
    catch_interrupts();
    if (session_connect(builtin_session(conversation.builtin))) {
        (void)builtin_docs(conversation.builtin);
    }
    while (take_turn(&conversation))
        continue;
    int status = builtin_status(conversation.builtin);
    history_destroy(conversation.history);
    builtin_destroy(conversation.builtin);
    return status;
}

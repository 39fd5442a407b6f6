#include "tools/cli/session.h"

#include <errno.h>

#include "server/base/mem.h"
#include "server/base/number.h"
#include "tools/cli/session_state.h"

#define REDIRECTS_MAX 16u /* In a row for one command; more means that the nodes disagree. */

struct session {
    struct session_settings settings;
    struct client *client;
    char *host;
    int port;
    bool auth_failed;
    bool was_interrupted;
    bool has_style; /* The style was asked for by name. */
    struct session_state state;
};

struct session *session_create(const struct session_settings *settings) {
    struct session *session = mem_alloc_zero(sizeof(*session));
    const struct cli_options *options = settings->options;
    session->settings = *settings;
    session->client = client_create();
    session->host = bytes_copy_text(bytes_of_text(options->host));
    session->port = options->port;
    session->has_style = options->has_style;
    session->state.db = options->db;
    session->state.is_resp3 = options->wants_resp3;
    if (options->password != NULL) {
        session->state.password = bytes_copy_text(bytes_of_text(options->password));
        if (options->user != NULL) {
            session->state.user = bytes_copy_text(bytes_of_text(options->user));
        }
    }
    return session;
}

void session_destroy(struct session *session) {
    if (session == NULL) return;
    client_destroy(session->client);
    session_state_deinit(&session->state);
    mem_free(session->host);
    mem_free(session);
}

void session_write(struct bytes text) {
    if (text.len > 0) fwrite(text.data, 1, text.len, stdout);
    fflush(stdout);
}

bool session_is_connected(const struct session *session) {
    return client_is_connected(session->client);
}

bool session_auth_failed(const struct session *session) {
    return session->auth_failed;
}

int session_socket(const struct session *session) {
    return client_socket(session->client);
}

bool session_is_subscribed(const struct session *session) {
    return session_state_is_subscribed(&session->state);
}

void session_set_style(struct session *session, enum format_style style) {
    session->settings.format.style = style;
    session->has_style = true;
}

void session_set_address(struct session *session, const char *host, int port) {
    char *copy = bytes_copy_text(bytes_of_text(host));
    mem_free(session->host);
    session->host = copy;
    session->port = port;
}

void session_disconnect(struct session *session) {
    client_disconnect(session->client);
    session->state.in_transaction = false;
    session->state.monitors = false;
    session->state.channel_count = 0;
    session->state.pattern_count = 0;
    session->state.shard_channel_count = 0;
}

void session_interrupt(struct session *session) {
    session_disconnect(session);
    session->was_interrupted = true;
    printf("\nClosing current connection. Ready to reconnect to %s server... \n",
           session->settings.options->profile->server);
    fflush(stdout);
}

bool session_was_interrupted(const struct session *session) {
    return session->was_interrupted;
}

/* ---- connecting ---- */

static void tell_connect_error(const struct session *session) {
    const struct cli_options *options = session->settings.options;
    fprintf(stderr, "Could not connect to %s at ", options->profile->server);
    if (options->socket_path != NULL) {
        fprintf(stderr, "%s", options->socket_path);
    } else {
        fprintf(stderr, "%s:%d", session->host, session->port);
    }
    fprintf(stderr, ": %s\n", client_error(session->client));
}

/* Sends a command of the set-up; tells an error as "<what> failed: <text>". */
static bool set_up(struct session *session, const char *what, size_t argc,
                   const struct bytes *argv) {
    struct reply *reply = NULL;
    if (client_call(session->client, argc, argv, &reply) != STATUS_OK) {
        fprintf(stderr, "%s failed: %s\n", what, client_error(session->client));
        return false;
    }
    bool is_done = reply->kind != REPLY_ERROR;
    if (!is_done) fprintf(stderr, "%s failed: %s\n", what, (const char *)reply->text.data);
    reply_destroy(reply);
    return is_done;
}

static bool set_up_auth(struct session *session) {
    const struct session_state *state = &session->state;
    if (state->password == NULL) return true;
    struct bytes argv[3] = {BYTES_LITERAL("AUTH")};
    size_t argc = 1;
    if (state->user != NULL) argv[argc++] = bytes_of_text(state->user);
    argv[argc++] = bytes_of_text(state->password);
    return set_up(session, "AUTH", argc, argv);
}

static bool set_up_db(struct session *session) {
    if (session->state.db == 0) return true;
    char number[NUMBER_TEXT_MAX];
    struct bytes argv[2] = {BYTES_LITERAL("SELECT"),
                            {(uint8_t *)number, number_format_i64(session->state.db, number)}};
    char what[40];
    snprintf(what, sizeof(what), "SELECT %d", session->state.db);
    bool is_done = set_up(session, what, 2, argv);
    if (!is_done) session->state.db = 0;
    return is_done;
}

/* False when RESP3 was asked for by name and cannot be had. */
static bool set_up_protocol(struct session *session) {
    if (!session->state.is_resp3) return true;
    struct bytes argv[2] = {BYTES_LITERAL("HELLO"), BYTES_LITERAL("3")};
    if (set_up(session, "HELLO 3", 2, argv)) return true;
    session->state.is_resp3 = false;
    return !session->settings.options->resp3_is_explicit;
}

static void set_up_name(struct session *session) {
    if (session->state.name == NULL) return;
    struct bytes argv[3] = {BYTES_LITERAL("CLIENT"), BYTES_LITERAL("SETNAME"),
                            bytes_of_text(session->state.name)};
    (void)set_up(session, "CLIENT SETNAME", 3, argv); /* Told; the session works without a name. */
}

bool session_connect(struct session *session) {
    const struct cli_options *options = session->settings.options;
    session_disconnect(session);
    session->was_interrupted = false;
    struct client_target target = {
        .host = session->host,
        .port = (uint16_t)session->port,
        .socket_path = options->socket_path,
        .family = options->family,
        .connect_timeout_ms = options->connect_timeout_seconds > 0
                                  ? (uint32_t)(options->connect_timeout_seconds * 1000)
                                  : 0,
    };
    if (client_connect(session->client, &target) != STATUS_OK) {
        tell_connect_error(session);
        return false;
    }
    session->auth_failed = !set_up_auth(session);
    (void)set_up_db(session); /* Told; the command is sent all the same. */
    if (!set_up_protocol(session)) {
        session_disconnect(session);
        return false;
    }
    set_up_name(session);
    if (!client_is_connected(session->client)) {
        tell_connect_error(session);
        return false;
    }
    return true;
}

/* ---- sending and reading ---- */

/* Makes a connection that died while nobody was looking anew, if the session is interactive. A
 * command is never sent twice over a connection that lived when it was sent: it may have run. */
static bool send_command(struct session *session, size_t argc, const struct bytes *argv) {
    bool is_interactive = session->settings.is_interactive;
    if (is_interactive && client_is_connected(session->client)) session_show_arrived(session);
    if (!client_is_connected(session->client) && !session_connect(session)) return false;
    if (client_send(session->client, argc, argv) == STATUS_OK) return true;
    if (!is_interactive) {
        fprintf(stderr, "Error: %s\n", client_error(session->client));
        return false;
    }
    return session_connect(session) && client_send(session->client, argc, argv) == STATUS_OK;
}

/* Waits for the next reply or push; NULL when the connection is lost, which has been told. */
static struct reply *read_any(struct session *session) {
    struct reply *reply = NULL;
    enum status status = client_read(session->client, &reply);
    if (status == STATUS_OK) return reply;
    if (status == STATUS_AGAIN) {
        session_interrupt(session);
        return NULL;
    }
    fprintf(stderr, "Error: %s\n", client_error(session->client));
    session_disconnect(session);
    return NULL;
}

struct reply *session_ask(struct session *session, size_t argc, const struct bytes *argv) {
    struct reply *reply = NULL;
    if (!client_is_connected(session->client)) return NULL;
    return client_call(session->client, argc, argv, &reply) == STATUS_OK ? reply : NULL;
}

static void show(struct session *session, const struct reply *reply) {
    struct buffer text = {0};
    format_reply(&session->settings.format, reply, &text);
    session_write(buffer_view(&text));
    buffer_deinit(&text);
}

/* Texts for people are shown as they are, unless JSON or CSV was asked for by name. */
static void show_text(struct session *session, const struct reply *reply) {
    bool is_structured = session->has_style && session->settings.format.style != FORMAT_STANDARD &&
                         session->settings.format.style != FORMAT_RAW;
    if (is_structured) {
        show(session, reply);
        return;
    }
    struct buffer text = {0};
    format_raw(reply, BYTES_LITERAL("\n"), &text);
    bool ends_line = text.len > 0 && text.data[text.len - 1] == '\n';
    if (session->settings.is_terminal && !ends_line) buffer_append_u8(&text, '\n');
    session_write(buffer_view(&text));
    buffer_deinit(&text);
}

static bool shows_pushes(const struct session *session) {
    enum cli_choice choice = session->settings.options->show_pushes;
    return choice == CLI_YES || (choice == CLI_AUTO && session->settings.is_terminal);
}

/* The next reply that is no push; pushes on the way are shown. */
static struct reply *read_reply(struct session *session) {
    for (;;) {
        struct reply *reply = read_any(session);
        if (reply == NULL || reply->kind != REPLY_PUSH) return reply;
        (void)session_state_note_message(&session->state, reply);
        if (shows_pushes(session) || session_is_subscribed(session)) show(session, reply);
        reply_destroy(reply);
    }
}

bool session_show_arrived(struct session *session) {
    for (;;) {
        struct reply *reply = NULL;
        enum status status = client_read_ready(session->client, &reply);
        if (status == STATUS_AGAIN) return true;
        if (status != STATUS_OK) {
            session_disconnect(session);
            return false;
        }
        bool is_shown =
            reply->kind != REPLY_PUSH || shows_pushes(session) || session_is_subscribed(session);
        (void)session_state_note_message(&session->state, reply);
        if (is_shown) show(session, reply);
        reply_destroy(reply);
    }
}

/* ---- running ---- */

static bool has_error_inside(const struct reply *reply) {
    if (reply->kind == REPLY_ERROR) return true;
    for (size_t i = 0; i < reply->count; i++) {
        if (has_error_inside(&reply->items[i])) return true;
    }
    return false;
}

static enum session_result finish(struct session *session, size_t argc, const struct bytes *argv,
                                  const struct reply *reply) {
    const struct cli_options *options = session->settings.options;
    bool was_queued = session->state.in_transaction;
    session_state_note(&session->state, argc, argv, reply);
    if (reply->kind == REPLY_ERROR && options->errors_fail > 0) {
        fprintf(stderr, "%s\n", (const char *)reply->text.data);
        return SESSION_ERROR_REPLY;
    }
    if (format_is_text_command(argc, argv) && !was_queued) {
        show_text(session, reply);
    } else {
        show(session, reply);
    }
    bool is_failure = options->errors_fail > 1 && bytes_equal_text_nocase(argv[0], "exec")
                          ? has_error_inside(reply)
                          : reply->kind == REPLY_ERROR;
    return is_failure ? SESSION_ERROR_REPLY : SESSION_OK;
}

/* Shows what comes until the connection ends. */
static enum session_result show_messages(struct session *session) {
    for (;;) {
        struct reply *reply = read_any(session);
        if (reply == NULL) return SESSION_LOST;
        (void)session_state_note_message(&session->state, reply);
        show(session, reply);
        reply_destroy(reply);
    }
}

/* A command that is answered by confirmations, between which messages may come. */
static enum session_result run_subscription(struct session *session, size_t confirmations) {
    bool waits = session->settings.waits_for_input;
    if (!waits && session->settings.format.style != FORMAT_RAW) {
        session_write(BYTES_LITERAL("Reading messages... (press Ctrl-C to quit)\n"));
    }
    while (confirmations > 0) {
        struct reply *reply = read_any(session);
        if (reply == NULL) return SESSION_LOST;
        bool is_error = reply->kind == REPLY_ERROR;
        if (session_state_note_message(&session->state, reply)) confirmations--;
        show(session, reply);
        reply_destroy(reply);
        if (is_error) return SESSION_ERROR_REPLY;
    }
    return waits || !session_is_subscribed(session) ? SESSION_OK : show_messages(session);
}

static bool is_shutdown(size_t argc, const struct bytes *argv) {
    if (!bytes_equal_text_nocase(argv[0], "shutdown")) return false;
    return argc < 2 || !bytes_equal_text_nocase(argv[1], "abort");
}

/* SHUTDOWN is answered by silence when it succeeds. */
static enum session_result run_shutdown(struct session *session, size_t argc,
                                        const struct bytes *argv) {
    struct reply *reply = NULL;
    if (client_read(session->client, &reply) != STATUS_OK) {
        session_disconnect(session);
        return SESSION_OK;
    }
    enum session_result result = finish(session, argc, argv, reply);
    reply_destroy(reply);
    return result;
}

/* Follows -MOVED and -ASK: connects to the other node and sends the command there again. True when
 * `reply` was a redirect; there may be no connection then. */
static bool follow_redirect(struct session *session, size_t argc, const struct bytes *argv,
                            const struct reply *reply) {
    struct redirect redirect;
    if (!session->settings.options->follows_redirects || reply->kind != REPLY_ERROR) return false;
    if (!redirect_parse(reply->text, &redirect)) return false;
    char host[256];
    bytes_to_text(redirect.host.len > 0 ? redirect.host : bytes_of_text(session->host), host,
                  sizeof(host));
    if (session->settings.is_interactive) {
        printf("-> Redirected to slot [%d] located at %s:%d\n", redirect.slot, host, redirect.port);
        fflush(stdout);
    }
    session_set_address(session, host, redirect.port);
    if (!session_connect(session)) return true;
    struct bytes asking = BYTES_LITERAL("ASKING");
    struct reply *answer = redirect.is_ask ? session_ask(session, 1, &asking) : NULL;
    reply_destroy(answer);
    if (client_is_connected(session->client) &&
        client_send(session->client, argc, argv) != STATUS_OK) {
        fprintf(stderr, "Error: %s\n", client_error(session->client));
    }
    return true;
}

enum session_result session_run(struct session *session, size_t argc, const struct bytes *argv) {
    static const char *const transfers[] = {"sync", "psync"};
    for (size_t i = 0; i < ARRAY_COUNT(transfers); i++) {
        if (!bytes_equal_text_nocase(argv[0], transfers[i])) continue;
        fprintf(stderr, "%s needs the replica mode, which this version does not have yet.\n",
                transfers[i]);
        return SESSION_ERROR_REPLY;
    }
    if (!send_command(session, argc, argv)) return SESSION_LOST;
    if (is_shutdown(argc, argv)) return run_shutdown(session, argc, argv);
    size_t confirmations = session_state_confirmations(&session->state, argc, argv);
    if (confirmations > 0) return run_subscription(session, confirmations);
    struct reply *reply = read_reply(session);
    for (unsigned i = 0; reply != NULL && i < REDIRECTS_MAX; i++) {
        if (!follow_redirect(session, argc, argv, reply)) break;
        reply_destroy(reply);
        reply = client_is_connected(session->client) ? read_reply(session) : NULL;
    }
    if (reply == NULL) return SESSION_LOST;
    enum session_result result = finish(session, argc, argv, reply);
    reply_destroy(reply);
    return result == SESSION_OK && session->state.monitors ? show_messages(session) : result;
}

void session_append_prompt(const struct session *session, struct buffer *out) {
    const struct cli_options *options = session->settings.options;
    const struct session_state *state = &session->state;
    if (!client_is_connected(session->client)) {
        buffer_append_text(out, "not connected> ");
        return;
    }
    if (options->socket_path != NULL) {
        buffer_append_format(out, "%s %s", options->profile->prompt_server, options->socket_path);
    } else if (strchr(session->host, ':') != NULL) {
        buffer_append_format(out, "[%s]:%d", session->host, session->port);
    } else {
        buffer_append_format(out, "%s:%d", session->host, session->port);
    }
    if (state->db != 0) buffer_append_format(out, "[%d]", state->db);
    if (state->in_transaction) buffer_append_text(out, "(TX)");
    if (session_state_is_subscribed(state)) buffer_append_text(out, "(subscribed mode)");
    buffer_append_text(out, "> ");
}

/* A conversation with a server: connection, what it has agreed to (user, database, protocol), what
 * state it is in (transaction, subscription), and how replies are shown.
 *
 * A session keeps its state across reconnects: database, protocol, credentials and client name are
 * set up again; a transaction and subscriptions are gone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "tools/cli/options.h"
#include "tools/client/format.h"

struct session_settings {
    const struct cli_options *options; /* Outlives the session. */
    struct format format;
    bool is_terminal;     /* Standard output is one: pushes are shown, texts end in a newline. */
    bool is_interactive;  /* Commands come one after another: redirects are told, a lost
                             connection is tried again. */
    bool waits_for_input; /* Subscriptions return to the caller, who waits for keys as well. */
};

/* How a command ended. */
enum session_result {
    SESSION_OK,
    SESSION_ERROR_REPLY, /* The reply was an error. */
    SESSION_LOST,        /* The connection is gone; standard error has the reason. */
};

struct session;

struct session *session_create(const struct session_settings *settings);
void session_destroy(struct session *session); /* NULL is fine. */

/* Connects and sets up user, database and protocol. False when there is no connection; standard
 * error has the reason. A refused AUTH or SELECT is told there too, and the session goes on. */
bool session_connect(struct session *session);

/* Shows replies in another style from now on. */
void session_set_style(struct session *session, enum format_style style);

bool session_is_connected(const struct session *session);
bool session_auth_failed(const struct session *session);

/* Another server from the next session_connect on. `host` is copied. */
void session_set_address(struct session *session, const char *host, int port);

/* Closes the connection; transaction, subscription and queued SELECT are forgotten. */
void session_disconnect(struct session *session);

/* Closes the connection because the user wants out (Ctrl-C), and says so. */
void session_interrupt(struct session *session);

/* True from an interrupt, also one in the middle of session_run, until the next session_connect. */
bool session_was_interrupted(const struct session *session);

/* Sends a command and shows what comes back. Follows redirects if the options say so. MONITOR, and
 * subscriptions unless the caller waits itself, only return when the connection ends. */
MUST_USE enum session_result session_run(struct session *session, size_t argc,
                                         const struct bytes *argv);

/* Sends a command and hands its reply over instead of showing it; NULL when the connection fails.
 * For the tool's own questions (COMMAND DOCS). */
MUST_USE struct reply *session_ask(struct session *session, size_t argc, const struct bytes *argv);

/* Shows messages that have arrived already, without waiting. False when the connection is lost. */
bool session_show_arrived(struct session *session);

/* The socket to wait on; -1 when not connected. */
int session_socket(const struct session *session);

bool session_is_subscribed(const struct session *session);

/* Appends the prompt, as in "127.0.0.1:6379[3](TX)> ". */
void session_append_prompt(const struct session *session, struct buffer *out);

/* Shows a text on standard output and flushes it. */
void session_write(struct bytes text);

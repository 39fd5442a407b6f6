/* A blocking connection to a server: what the command line tools talk through.
 *
 * One connection, one command after another. Connecting and reading have time limits; texts about
 * failures are those of the operating system, ready to be shown. A client that met an error is
 * disconnected; client_connect may be called again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "server/base/status.h"
#include "server/resp/reply_reader.h"

enum client_family { CLIENT_FAMILY_ANY, CLIENT_FAMILY_PREFER_IPV4, CLIENT_FAMILY_PREFER_IPV6 };

struct client_target {
    const char *host;
    uint16_t port;
    const char *socket_path; /* A unix socket; host and port do not count then. NULL: TCP. */
    enum client_family family;
    uint32_t connect_timeout_ms; /* 0: as long as the operating system tries. */
    uint32_t io_timeout_ms;      /* Silence while a reply is due; 0: wait for ever. */
};

struct client;

struct client *client_create(void);
void client_destroy(struct client *client); /* Disconnects. NULL is fine. */

/* Connects to a fresh session; an existing connection is closed first. The target is read during
 * the call only.
 *
 * Returns STATUS_OK, or STATUS_IO_ERROR, STATUS_TIMEOUT, STATUS_NOT_FOUND (name resolution); then
 *         client_error says why.
 */
MUST_USE enum status client_connect(struct client *client, const struct client_target *target);

void client_disconnect(struct client *client);
bool client_is_connected(const struct client *client);

/* What the last failed call met, as in "Connection refused". */
const char *client_error(const struct client *client);

/* The socket, for waiting with poll; -1 when disconnected. */
int client_socket(const struct client *client);

/* Changes the time limit for replies from now on; 0: none. */
void client_set_io_timeout(struct client *client, uint32_t timeout_ms);

/* Sends one command. STATUS_IO_ERROR or STATUS_CLOSED on failure. */
MUST_USE enum status client_send(struct client *client, size_t argc, const struct bytes *argv);

/* Sends bytes as they are. */
MUST_USE enum status client_send_raw(struct client *client, struct bytes bytes);

/* Waits for the next reply or push message; the caller destroys it.
 *
 * Returns STATUS_OK, STATUS_CLOSED when the server went away, STATUS_TIMEOUT, STATUS_IO_ERROR,
 *         STATUS_AGAIN when a signal ended the wait, or the reader's status for bytes that are not
 * RESP. After any but OK the client is disconnected.
 */
MUST_USE enum status client_read(struct client *client, struct reply **out_reply);

/* A reply that has already arrived, without waiting: STATUS_AGAIN when there is none. */
MUST_USE enum status client_read_ready(struct client *client, struct reply **out_reply);

/* Sends one command and reads its reply; push messages in between are dropped. */
MUST_USE enum status client_call(struct client *client, size_t argc, const struct bytes *argv,
                                 struct reply **out_reply);

/* Like client_call; the words are those of `text`, separated by single blanks. */
MUST_USE enum status client_call_text(struct client *client, const char *text,
                                      struct reply **out_reply);

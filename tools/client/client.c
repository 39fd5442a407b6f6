#include "tools/client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/base/buffer.h"
#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/mem.h"

#define READ_CHUNK (16u * 1024u)
#define KEEPALIVE_SECONDS 15
#define TEXT_WORDS_MAX 32u

struct client {
    int fd;
    uint32_t io_timeout_ms;
    struct reply_reader *reader;
    char error[256];
};

struct client *client_create(void) {
    struct client *client = mem_alloc_zero(sizeof(*client));
    client->fd = -1;
    return client;
}

void client_disconnect(struct client *client) {
    if (client->fd >= 0) close(client->fd);
    client->fd = -1;
    reply_reader_destroy(client->reader);
    client->reader = NULL;
}

void client_destroy(struct client *client) {
    if (client == NULL) return;
    client_disconnect(client);
    mem_free(client);
}

bool client_is_connected(const struct client *client) {
    return client->fd >= 0;
}

const char *client_error(const struct client *client) {
    return client->error;
}

int client_socket(const struct client *client) {
    return client->fd;
}

void client_set_io_timeout(struct client *client, uint32_t timeout_ms) {
    client->io_timeout_ms = timeout_ms;
}

static enum status fail(struct client *client, enum status status, const char *text) {
    snprintf(client->error, sizeof(client->error), "%s", text);
    client_disconnect(client);
    return status;
}

static enum status fail_errno(struct client *client) {
    return fail(client, STATUS_IO_ERROR, strerror(errno));
}

/* Waits until the socket is ready. A signal that the program handles ends the wait with
 * STATUS_AGAIN, so that Ctrl-C can leave a subscription; whoever blocks signals gets them here. */
static enum status wait_ready(int fd, short events, uint32_t timeout_ms) {
    struct pollfd poll_fd = {.fd = fd, .events = events};
    struct timespec timeout = {.tv_sec = timeout_ms / 1000,
                               .tv_nsec = (long)(timeout_ms % 1000) * 1000000};
    sigset_t no_signals;
    sigemptyset(&no_signals);
    int ready = ppoll(&poll_fd, 1, timeout_ms == 0 ? NULL : &timeout, &no_signals);
    if (ready > 0) return STATUS_OK;
    if (ready == 0) return STATUS_TIMEOUT;
    return errno == EINTR ? STATUS_AGAIN : STATUS_IO_ERROR;
}

/* Connects within the time limit; on failure errno says why. */
static bool connect_socket(int fd, const struct sockaddr *address, socklen_t len,
                           uint32_t timeout_ms) {
    int flags = fcntl(fd, F_GETFL);
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return false;
    if (connect(fd, address, len) < 0) {
        if (errno != EINPROGRESS) return false;
        enum status status;
        do {
            status = wait_ready(fd, POLLOUT, timeout_ms);
        } while (status == STATUS_AGAIN);
        if (status == STATUS_TIMEOUT) errno = ETIMEDOUT;
        if (status != STATUS_OK) return false;
        int failure = 0;
        socklen_t failure_len = sizeof(failure);
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &failure_len) < 0) return false;
        if (failure != 0) {
            errno = failure;
            return false;
        }
    }
    return fcntl(fd, F_SETFL, flags) == 0;
}

static void set_keepalive(int fd) {
    int on = 1;
    int interval = KEEPALIVE_SECONDS;
    int probe = KEEPALIVE_SECONDS / 3;
    int probes = 3;
    /* Best effort: a connection without keep-alive or with Nagle's delay still works. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &interval, sizeof(interval));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &probe, sizeof(probe));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

static enum status connect_unix(struct client *client, const struct client_target *target) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(target->socket_path) >= sizeof(address.sun_path)) {
        return fail(client, STATUS_IO_ERROR, "Path of the socket is too long");
    }
    strcpy(address.sun_path, target->socket_path);
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0) return fail_errno(client);
    if (!connect_socket(client->fd, (struct sockaddr *)&address, sizeof(address),
                        target->connect_timeout_ms)) {
        return fail_errno(client);
    }
    return STATUS_OK;
}

/* Tries the addresses of one family (AF_UNSPEC: all) in the resolver's order. */
static bool connect_family(struct client *client, const struct addrinfo *addresses, int family,
                           uint32_t timeout_ms) {
    for (const struct addrinfo *a = addresses; a != NULL; a = a->ai_next) {
        if (family != AF_UNSPEC && a->ai_family != family) continue;
        client->fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (client->fd < 0) continue;
        if (connect_socket(client->fd, a->ai_addr, a->ai_addrlen, timeout_ms)) {
            set_keepalive(client->fd);
            return true;
        }
        int failure = errno;
        close(client->fd);
        client->fd = -1;
        errno = failure;
    }
    return false;
}

static enum status connect_tcp(struct client *client, const struct client_target *target) {
    char port[8];
    snprintf(port, sizeof(port), "%u", (unsigned)target->port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;
    int failure = getaddrinfo(target->host, port, &hints, &addresses);
    if (failure != 0) return fail(client, STATUS_NOT_FOUND, gai_strerror(failure));
    /* An explicit preference puts its family first and still falls back to the other one. */
    int first = target->family == CLIENT_FAMILY_PREFER_IPV6 ? AF_INET6 : AF_INET;
    int second = first == AF_INET ? AF_INET6 : AF_INET;
    errno = EADDRNOTAVAIL;
    bool is_connected =
        target->family == CLIENT_FAMILY_ANY
            ? connect_family(client, addresses, AF_UNSPEC, target->connect_timeout_ms)
            : connect_family(client, addresses, first, target->connect_timeout_ms) ||
                  connect_family(client, addresses, second, target->connect_timeout_ms);
    int why = errno;
    freeaddrinfo(addresses);
    errno = why;
    return is_connected ? STATUS_OK : fail_errno(client);
}

enum status client_connect(struct client *client, const struct client_target *target) {
    client_disconnect(client);
    client->error[0] = 0;
    client->io_timeout_ms = target->io_timeout_ms;
    enum status status =
        target->socket_path != NULL ? connect_unix(client, target) : connect_tcp(client, target);
    if (status == STATUS_OK) client->reader = reply_reader_create();
    return status;
}

enum status client_send_raw(struct client *client, struct bytes bytes) {
    if (client->fd < 0) return fail(client, STATUS_CLOSED, "Not connected");
    size_t sent = 0;
    while (sent < bytes.len) {
        ssize_t n = send(client->fd, bytes.data + sent, bytes.len - sent, MSG_NOSIGNAL);
        if (n >= 0) {
            sent += (size_t)n;
        } else if (errno != EINTR) {
            return fail_errno(client);
        }
    }
    return STATUS_OK;
}

enum status client_send(struct client *client, size_t argc, const struct bytes *argv) {
    struct buffer command = {0};
    buffer_append_format(&command, "*%zu\r\n", argc);
    for (size_t i = 0; i < argc; i++) {
        buffer_append_format(&command, "$%zu\r\n", argv[i].len);
        buffer_append_bytes(&command, argv[i]);
        buffer_append_text(&command, "\r\n");
    }
    enum status status = client_send_raw(client, buffer_view(&command));
    buffer_deinit(&command);
    return status;
}

static enum status next_reply(struct client *client, struct reply **out_reply) {
    enum status status = reply_reader_next(client->reader, out_reply);
    if (status == STATUS_OK || status == STATUS_AGAIN) return status;
    char text[sizeof(client->error)];
    snprintf(text, sizeof(text), "%s", reply_reader_error(client->reader));
    return fail(client, status, text);
}

/* Takes what the socket has; blocks when it has nothing. */
static enum status receive(struct client *client) {
    uint8_t chunk[READ_CHUNK];
    ssize_t n = recv(client->fd, chunk, sizeof(chunk), 0);
    if (n == 0) return fail(client, STATUS_CLOSED, "Server closed the connection");
    if (n < 0) return errno == EINTR ? STATUS_AGAIN : fail_errno(client);
    reply_reader_feed(client->reader, bytes_of(chunk, (size_t)n));
    return STATUS_OK;
}

enum status client_read(struct client *client, struct reply **out_reply) {
    if (client->fd < 0) return fail(client, STATUS_CLOSED, "Not connected");
    for (;;) {
        enum status status = next_reply(client, out_reply);
        if (status != STATUS_AGAIN) return status;
        status = wait_ready(client->fd, POLLIN, client->io_timeout_ms);
        if (status == STATUS_AGAIN) return fail(client, STATUS_AGAIN, "Interrupted");
        if (status == STATUS_TIMEOUT) return fail(client, status, "No reply within the time limit");
        if (status != STATUS_OK) return fail_errno(client);
        status = receive(client);
        if (status != STATUS_OK && status != STATUS_AGAIN) return status;
    }
}

enum status client_read_ready(struct client *client, struct reply **out_reply) {
    if (client->fd < 0) return fail(client, STATUS_CLOSED, "Not connected");
    for (;;) {
        enum status status = next_reply(client, out_reply);
        if (status != STATUS_AGAIN) return status;
        struct pollfd poll_fd = {.fd = client->fd, .events = POLLIN};
        if (poll(&poll_fd, 1, 0) <= 0) return STATUS_AGAIN;
        status = receive(client);
        if (status != STATUS_OK) return status;
    }
}

enum status client_call(struct client *client, size_t argc, const struct bytes *argv,
                        struct reply **out_reply) {
    enum status status = client_send(client, argc, argv);
    if (status != STATUS_OK) return status;
    for (;;) {
        struct reply *reply = NULL;
        status = client_read(client, &reply);
        if (status != STATUS_OK) return status;
        if (reply->kind != REPLY_PUSH) {
            *out_reply = reply;
            return STATUS_OK;
        }
        reply_destroy(reply);
    }
}

enum status client_call_text(struct client *client, const char *text, struct reply **out_reply) {
    struct bytes argv[TEXT_WORDS_MAX];
    size_t argc = 0;
    for (const char *word = text; *word != 0;) {
        size_t len = strcspn(word, " ");
        ASSERT(argc < TEXT_WORDS_MAX);
        argv[argc++] = bytes_of(word, len);
        word += len;
        if (*word == ' ') word++;
    }
    return client_call(client, argc, argv, out_reply);
}

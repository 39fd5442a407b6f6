#include "server/net/link.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ev.h>

#include "server/base/buffer.h"
#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/net/socket_internal.h"

enum {
    READ_CHUNK = 16384,
    READ_CHUNK_MAX = 1 << 20,
    KEEP_BUFFER = 65536, /* Larger buffers are given back once they are empty. */
    READS_A_TURN = 8,
};

#define RECEIVE_MAX_DEFAULT ((size_t)1 << 30)

struct link {
    struct loop *loop;
    struct link_events events;
    void *arg;
    int fd;
    ev_io reader;
    ev_io writer;
    struct buffer in;
    struct buffer out;
    size_t out_sent; /* Bytes of `out` that are written. */
    size_t receive_max;
    uint64_t created_ms;
    uint64_t received_ms;
    bool is_connecting;
    bool is_paused;
    bool is_closed; /* By a callback, while the link works: freed when it is done. */
    bool is_in_callback;
    char peer_ip[64];
    char local_ip[64];
    uint16_t peer_port;
};

static void link_free(struct link *link) {
    buffer_deinit(&link->in);
    buffer_deinit(&link->out);
    mem_free(link);
}

static void stop(struct link *link) {
    if (link->fd < 0) return;
    ev_io_stop(loop_ev(link->loop), &link->reader);
    ev_io_stop(loop_ev(link->loop), &link->writer);
    close(link->fd);
    link->fd = -1;
}

void link_close(struct link *link) {
    if (link == NULL) return;
    stop(link);
    link->is_closed = true;
    if (!link->is_in_callback) link_free(link);
}

/* The stream has ended by itself. */
static void fail(struct link *link, int reason) {
    stop(link);
    link->is_in_callback = true;
    link->events.closed(link->arg, link, reason);
    link_free(link);
}

static void note_addresses(struct link *link) {
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (getpeername(link->fd, (struct sockaddr *)&address, &len) == 0) {
        socket_format_ip(&address, link->peer_ip, sizeof(link->peer_ip));
        link->peer_port = socket_port(&address);
    }
    len = sizeof(address);
    if (getsockname(link->fd, (struct sockaddr *)&address, &len) == 0)
        socket_format_ip(&address, link->local_ip, sizeof(link->local_ip));
}

/* Hands the bytes out. False: the link is gone. */
static bool deliver(struct link *link) {
    link->is_in_callback = true;
    size_t used = link->events.received(link->arg, link, buffer_view(&link->in));
    link->is_in_callback = false;
    if (link->is_closed) {
        link_free(link);
        return false;
    }
    ASSERT(used <= link->in.len);
    buffer_consume(&link->in, used);
    if (link->in.len > link->receive_max) {
        fail(link, EMSGSIZE);
        return false;
    }
    if (link->in.len == 0 && link->in.cap > KEEP_BUFFER) buffer_deinit(&link->in);
    return true;
}

void link_redeliver(struct link *link) {
    if (link->fd >= 0 && link->in.len > 0) deliver(link);
}

static void on_readable(struct ev_loop *ev, ev_io *watcher, int events) {
    (void)ev;
    (void)events;
    struct link *link = watcher->data;
    for (int i = 0; i < READS_A_TURN && !link->is_paused; i++) {
        // A long message gets long reads.
        size_t chunk = link->in.len > READ_CHUNK ? link->in.len : READ_CHUNK;
        if (chunk > READ_CHUNK_MAX) chunk = READ_CHUNK_MAX;
        uint8_t *at = buffer_reserve(&link->in, chunk);
        ssize_t got = read(link->fd, at, chunk);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (got <= 0) {
            fail(link, got == 0 ? 0 : errno);
            return;
        }
        link->in.len += (size_t)got;
        link->received_ms = clock_monotonic_ms();
        if (!deliver(link)) return;
        if ((size_t)got < chunk) return;
    }
}

/* Writes what is queued. False: the link is gone. */
static bool flush(struct link *link) {
    while (link->out_sent < link->out.len) {
        ssize_t sent =
            write(link->fd, link->out.data + link->out_sent, link->out.len - link->out_sent);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno == EAGAIN) return true;
        if (sent <= 0) {
            fail(link, errno);
            return false;
        }
        link->out_sent += (size_t)sent;
    }
    link->out_sent = 0;
    buffer_clear(&link->out);
    if (link->out.cap > KEEP_BUFFER) buffer_deinit(&link->out);
    ev_io_stop(loop_ev(link->loop), &link->writer);
    if (link->events.drained == NULL) return true;
    link->is_in_callback = true;
    link->events.drained(link->arg, link);
    link->is_in_callback = false;
    if (!link->is_closed) return true;
    link_free(link);
    return false;
}

static void finish_connect(struct link *link) {
    int error = 0;
    socklen_t len = sizeof(error);
    getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) {
        fail(link, error);
        return;
    }
    link->is_connecting = false;
    note_addresses(link);
    if (!link->is_paused) ev_io_start(loop_ev(link->loop), &link->reader);
    link->is_in_callback = true;
    if (link->events.connected != NULL) link->events.connected(link->arg, link);
    link->is_in_callback = false;
    if (link->is_closed) link_free(link);
}

static void on_writable(struct ev_loop *ev, ev_io *watcher, int events) {
    (void)ev;
    (void)events;
    struct link *link = watcher->data;
    if (link->is_connecting) {
        finish_connect(link);
    } else {
        flush(link);
    }
}

static struct link *link_create(struct loop *loop, int fd, const struct link_options *options,
                                const struct link_events *events, void *arg) {
    struct link *link = mem_alloc_zero(sizeof(*link));
    link->loop = loop;
    link->events = *events;
    link->arg = arg;
    link->fd = fd;
    link->receive_max = options->receive_max == 0 ? RECEIVE_MAX_DEFAULT : options->receive_max;
    link->created_ms = clock_wall_ms();
    link->received_ms = clock_monotonic_ms();
    ev_io_init(&link->reader, on_readable, fd, EV_READ);
    ev_io_init(&link->writer, on_writable, fd, EV_WRITE);
    link->reader.data = link;
    link->writer.data = link;
    return link;
}

struct link *link_adopt_take(struct loop *loop, int fd, const struct link_options *options,
                             const struct link_events *events, void *arg) {
    socket_prepare(fd, options->no_delay, options->keepalive_s);
    struct link *link = link_create(loop, fd, options, events, arg);
    note_addresses(link);
    ev_io_start(loop_ev(loop), &link->reader);
    return link;
}

static int start_connect(const struct addrinfo *target, const struct link_options *options) {
    int fd = socket(target->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    if (options->bind_source != NULL && options->bind_source[0] != '\0') {
        struct addrinfo hints = {.ai_family = target->ai_family, .ai_socktype = SOCK_STREAM};
        struct addrinfo *source = NULL;
        if (getaddrinfo(options->bind_source, NULL, &hints, &source) == 0) {
            int is_bound = bind(fd, source->ai_addr, source->ai_addrlen);
            freeaddrinfo(source);
            if (is_bound != 0) goto fail;
        }
    }
    socket_prepare(fd, options->no_delay, options->keepalive_s);
    if (connect(fd, target->ai_addr, target->ai_addrlen) == 0 || errno == EINPROGRESS) return fd;

fail:;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

struct link *link_connect(struct loop *loop, const char *host, uint16_t port,
                          const struct link_options *options, const struct link_events *events,
                          void *arg) {
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, service, &hints, &found) != 0) {
        errno = EHOSTUNREACH;
        return NULL;
    }
    int fd = start_connect(found, options);
    freeaddrinfo(found);
    if (fd < 0) return NULL;
    struct link *link = link_create(loop, fd, options, events, arg);
    link->is_connecting = true;
    ev_io_start(loop_ev(loop), &link->writer);
    return link;
}

void link_send(struct link *link, struct bytes bytes) {
    if (link->fd < 0) return;
    buffer_append_bytes(&link->out, bytes);
    // The loop comes around before it sleeps: everything queued in a turn is one write.
    if (!link->is_connecting) ev_io_start(loop_ev(link->loop), &link->writer);
}

void link_pause_reading(struct link *link, bool is_paused) {
    link->is_paused = is_paused;
    if (link->fd < 0 || link->is_connecting) return;
    if (is_paused) {
        ev_io_stop(loop_ev(link->loop), &link->reader);
    } else {
        ev_io_start(loop_ev(link->loop), &link->reader);
    }
}

size_t link_queued_bytes(const struct link *link) {
    return link->out.len - link->out_sent;
}

size_t link_memory_bytes(const struct link *link) {
    return sizeof(*link) + link->in.cap + link->out.cap;
}

uint64_t link_created_ms(const struct link *link) {
    return link->created_ms;
}

uint64_t link_received_ms(const struct link *link) {
    return link->received_ms;
}

bool link_is_connected(const struct link *link) {
    return link->fd >= 0 && !link->is_connecting;
}

const char *link_peer_ip(struct link *link) {
    return link->peer_ip;
}

const char *link_local_ip(struct link *link) {
    return link->local_ip;
}

uint16_t link_peer_port(struct link *link) {
    return link->peer_port;
}

/* -- listeners -- */

enum { ACCEPTS_A_TURN = 1000 };

struct listener {
    struct loop *loop;
    ev_io watcher;
    int fd;
    void (*accepted)(void *arg, int fd);
    void *arg;
};

static void on_accept(struct ev_loop *ev, ev_io *watcher, int events) {
    (void)ev;
    (void)events;
    struct listener *listener = watcher->data;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) return;
        listener->accepted(listener->arg, fd);
    }
}

struct listener *listener_create(struct loop *loop, const char *address, uint16_t port, int backlog,
                                 void (*accepted)(void *arg, int fd), void *arg) {
    int fd = socket_listen(address, port, backlog);
    if (fd < 0) return NULL;
    struct listener *listener = mem_alloc_zero(sizeof(*listener));
    listener->loop = loop;
    listener->fd = fd;
    listener->accepted = accepted;
    listener->arg = arg;
    ev_io_init(&listener->watcher, on_accept, fd, EV_READ);
    listener->watcher.data = listener;
    ev_io_start(loop_ev(loop), &listener->watcher);
    return listener;
}

void listener_destroy(struct listener *listener) {
    if (listener == NULL) return;
    ev_io_stop(loop_ev(listener->loop), &listener->watcher);
    close(listener->fd);
    mem_free(listener);
}

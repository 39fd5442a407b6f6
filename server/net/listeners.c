/* Where clients knock: the listening sockets, which CONFIG SET port and bind replace, and taking in
 * who comes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/acl/acl.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/base/words.h"
#include "server/net/network_internal.h"
#include "server/net/socket_internal.h"

enum { ACCEPTS_A_TURN = 1000 };

/* -- who comes -- */

struct adoption {
    struct adoption *next;
    struct adoption **link; /* NULL: it has arrived. */
    struct worker *worker;
    int fd;
    uint64_t id;
    bool is_unix;
};

static void arrive(struct adoption *adoption) {
    *adoption->link = adoption->next;
    if (adoption->next != NULL) adoption->next->link = adoption->link;
    adoption->link = NULL;
}

static void adopt(void *arg) {
    struct adoption *adoption = arg;
    struct network *network = adoption->worker->network;
    pthread_mutex_lock(&network->adoptions_lock);
    bool is_on_its_way = adoption->link != NULL;
    if (is_on_its_way) arrive(adoption);
    pthread_mutex_unlock(&network->adoptions_lock);
    if (is_on_its_way)
        client_create_take(adoption->worker, adoption->fd, adoption->id, adoption->is_unix);
    mem_free(adoption);
}

void network_adopt_all(struct network *network) {
    pthread_mutex_lock(&network->adoptions_lock);
    while (network->adoptions != NULL) {
        struct adoption *adoption = network->adoptions;
        arrive(adoption);
        client_create_take(adoption->worker, adoption->fd, adoption->id, adoption->is_unix);
    }
    pthread_mutex_unlock(&network->adoptions_lock);
}

/* Tells a connection why it is not wanted; whether it hears that is its own affair. */
static void turn_away(struct network *network, int fd, const char *text) {
    ssize_t sent = send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent;
    close(fd);
    atomic_fetch_add(&network->rejected_count, 1);
}

static bool is_protected(const struct network *network, int fd) {
    if (!network->options->protected_mode) return false;
    if (!acl_default_has_no_password(network->acl)) return false;
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0) return false;
    return !socket_is_loopback(&peer);
}

/* The worker that the connection is for; NULL: it was turned away. */
static struct worker *admit_connection(struct network *network, int fd, bool is_unix,
                                       uint64_t *out_id) {
    if (atomic_load(&network->client_count) >= network->options->max_clients) {
        turn_away(network, fd, "-ERR max number of clients reached\r\n");
        return NULL;
    }
    if (!is_unix && is_protected(network, fd)) {
        turn_away(network, fd,
                  "-DENIED Dunlin runs in protected mode: no password is set, so only connections "
                  "from the loopback interface are accepted. To connect from elsewhere either set "
                  "a password with 'requirepass', or send CONFIG SET protected-mode no from the "
                  "machine itself when the network keeps strangers out.\r\n");
        return NULL;
    }
    atomic_fetch_add(&network->client_count, 1);
    *out_id = ++network->last_id;
    return &network->workers[network_worker_of(network, *out_id)];
}

static void hand_over(struct worker *worker, int fd, uint64_t id, bool is_unix) {
    if (worker->index == 0) {
        client_create_take(worker, fd, id, is_unix);
        return;
    }
    struct network *network = worker->network;
    struct adoption *adoption = mem_alloc(sizeof(*adoption));
    pthread_mutex_lock(&network->adoptions_lock);
    *adoption = (struct adoption){network->adoptions, &network->adoptions, worker, fd, id, is_unix};
    if (adoption->next != NULL) adoption->next->link = &adoption->next;
    network->adoptions = adoption;
    pthread_mutex_unlock(&network->adoptions_lock);
    loop_post(worker->loop, adopt, adoption);
}

void network_accept(struct accept_socket *listener,
                    void (*created)(void *arg, struct client *client), void *arg) {
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) return;
        uint64_t id = 0;
        struct worker *worker = admit_connection(listener->network, fd, listener->is_unix, &id);
        if (worker == NULL) continue;
        if (created == NULL) {
            hand_over(worker, fd, id, listener->is_unix);
        } else {
            created(arg, client_create_take(worker, fd, id, listener->is_unix));
        }
    }
}

static void on_accept(struct ev_loop *ev, ev_io *watcher, int events) {
    (void)ev;
    (void)events;
    network_accept(watcher->data, NULL, NULL);
}

/* -- sockets -- */

static void add_listener(struct network *network, int fd, bool is_unix,
                         const struct endpoint *endpoint) {
    struct accept_socket *listener = mem_alloc_zero(sizeof(*listener));
    listener->fd = fd;
    listener->is_unix = is_unix;
    listener->network = network;
    if (endpoint != NULL) listener->endpoint = *endpoint;
    ev_io_init(&listener->watcher, on_accept, fd, EV_READ);
    listener->watcher.data = listener;
    ev_io_start(loop_ev(network->workers[0].loop), &listener->watcher);
    listener->next = network->listeners;
    network->listeners = listener;
}

static void remove_listener(struct network *network, struct accept_socket **link) {
    struct accept_socket *listener = *link;
    *link = listener->next;
    ev_io_stop(loop_ev(network->workers[0].loop), &listener->watcher);
    close(listener->fd);
    mem_free(listener);
}

static bool is_same(const struct endpoint *a, const struct endpoint *b) {
    return a->port == b->port && strcmp(a->address, b->address) == 0;
}

static bool is_among(const struct endpoint *endpoint, const struct endpoint *list, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (is_same(endpoint, &list[i])) return true;
    }
    return false;
}

static bool listens_on(const struct network *network, const struct endpoint *endpoint) {
    const struct accept_socket *listener = network->listeners;
    for (; listener != NULL; listener = listener->next) {
        if (!listener->is_unix && is_same(endpoint, &listener->endpoint)) return true;
    }
    return false;
}

static bool listen_on(struct network *network, const struct endpoint *endpoint, char *error,
                      size_t cap) {
    int fd = socket_listen(endpoint->address, endpoint->port, (int)network->options->backlog);
    if (fd >= 0) {
        add_listener(network, fd, false, endpoint);
        return true;
    }
    bool is_missing = errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT || errno == EPROTONOSUPPORT;
    if (endpoint->is_optional && is_missing) return true;
    snprintf(error, cap, "Could not create server TCP listening socket %s:%u: bind: %s",
             endpoint->address, endpoint->port, strerror(errno));
    return false;
}

/* What is not among them is closed first: a new address may cover an old one. A socket that stays
 * loses nobody who waits at it. */
static bool listen_to(struct network *network, const struct endpoint *wanted, uint32_t count,
                      char *error, size_t cap) {
    for (struct accept_socket **link = &network->listeners; *link != NULL;) {
        struct accept_socket *listener = *link;
        if (listener->is_unix || is_among(&listener->endpoint, wanted, count)) {
            link = &listener->next;
        } else {
            remove_listener(network, link);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!listens_on(network, &wanted[i]) && !listen_on(network, &wanted[i], error, cap))
            return false;
    }
    return true;
}

/* What the options say. A leading '-' forgives an address that this machine does not have. */
static uint32_t wanted_endpoints(const struct network *network, struct endpoint *out) {
    const struct network_options *options = network->options;
    struct words words = {0};
    uint32_t count = 0;
    if (options->port != 0 &&
        words_split(&words, bytes_of_text(options->bind), BIND_MAX) == STATUS_OK) {
        for (; count < words.count; count++) {
            struct bytes word = words.items[count];
            bool is_optional = word.len > 0 && word.data[0] == '-';
            out[count] =
                (struct endpoint){.port = (uint16_t)options->port, .is_optional = is_optional};
            bytes_to_text(bytes_from(word, is_optional), out[count].address,
                          sizeof(out[count].address));
        }
    }
    words_deinit(&words);
    return count;
}

static uint32_t present_endpoints(const struct network *network, struct endpoint *out) {
    uint32_t count = 0;
    const struct accept_socket *listener = network->listeners;
    for (; listener != NULL; listener = listener->next) {
        if (!listener->is_unix) out[count++] = listener->endpoint;
    }
    return count;
}

bool network_listen(struct network *network, char *error, size_t cap) {
    const struct network_options *options = network->options;
    struct endpoint wanted[BIND_MAX];
    uint32_t count = wanted_endpoints(network, wanted);
    if (!listen_to(network, wanted, count, error, cap)) return false;
    if (options->unix_socket[0] != '\0') {
        int fd = socket_listen_unix(options->unix_socket, (unsigned)options->unix_socket_perm,
                                    (int)options->backlog);
        if (fd < 0) {
            snprintf(error, cap, "Failed opening Unix socket: bind: %s: %s", options->unix_socket,
                     strerror(errno));
            return false;
        }
        add_listener(network, fd, true, NULL);
    }
    if (network->listeners != NULL) return true;
    snprintf(error, cap, "Configured to not listen anywhere, exiting.");
    return false;
}

/* Worker 0 sleeps, and its loop looks at what has changed when it wakes. */
static void only_wake(void *arg) {
    (void)arg;
}

bool network_listen_anew(struct network *network) {
    char error[512];
    struct endpoint wanted[BIND_MAX];
    struct endpoint before[BIND_MAX];
    uint32_t count = wanted_endpoints(network, wanted);
    uint32_t before_count = present_endpoints(network, before);
    bool is_listening = listen_to(network, wanted, count, error, sizeof(error));
    if (!is_listening) {
        log_warning("%s", error);
        if (!listen_to(network, before, before_count, error, sizeof(error)))
            log_warning("Going back: %s", error);
    }
    loop_post(network->workers[0].loop, only_wake, NULL);
    return is_listening;
}

void listeners_close(struct network *network) {
    while (network->listeners != NULL)
        remove_listener(network, &network->listeners);
    if (network->options->unix_socket[0] != '\0') unlink(network->options->unix_socket);
}

/* Serving clients while a script has everything parked and runs for long: docs/adr/0012.
 *
 * The script's thread holds every worker's turn, so their clients and the watchers of their loops
 * are its own for as long. It finds by an epoll of its own which sockets have news, each client
 * once a change: what it leaves alone (a client in the middle of a command, or one that waits for
 * something) its worker finds when the script is over.
 */
#include <sys/epoll.h>
#include <unistd.h>

#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/net/network_internal.h"

enum { NEWS_AT_ONCE = 256 };
#define CLIENT_NEWS ((uint32_t)(EPOLLIN | EPOLLRDHUP | EPOLLET))

struct busy {
    struct network *network;
    int poll;
    struct request request;
    bool has_unsent; /* Somebody does not take what we write, or it waits at the gate. */
};

/* -- beginning and end -- */

static void add(struct busy *busy, int fd, uint32_t when, void *what) {
    struct epoll_event event = {.events = when, .data.ptr = what};
    // At worst it is answered when the script is over.
    if (epoll_ctl(busy->poll, EPOLL_CTL_ADD, fd, &event) != 0)
        log_verbose("A socket can't be watched while a script runs");
}

static void serve(struct busy *busy, struct client *client) {
    if (!client_serve_busy(client, busy->network->stand_in, &busy->request))
        busy->has_unsent = true;
}

/* Those with something to write, and who had something to read before we looked. */
static void serve_all(struct busy *busy) {
    busy->has_unsent = false;
    for (uint32_t i = 0; i < busy->network->worker_count; i++) {
        struct client *next = NULL;
        for (struct client *client = busy->network->workers[i].clients; client != NULL;
             client = next) {
            next = client->next;
            serve(busy, client);
        }
    }
}

static void on_refused(void *arg, struct session *session) {
    (void)arg;
    client_flush(client_of(session));
}

static struct busy *begin(struct network *network) {
    struct busy *busy = mem_alloc_zero(sizeof(*busy));
    busy->network = network;
    busy->poll = epoll_create1(EPOLL_CLOEXEC);
    network_adopt_all(network);
    if (network->stand_in == NULL)
        network->stand_in = dispatch_stand_in_create(network->dispatcher);
    for (struct accept_socket *listener = network->listeners; listener != NULL;
         listener = listener->next)
        add(busy, listener->fd, EPOLLIN, listener);
    for (uint32_t i = 0; i < network->worker_count; i++) {
        for (struct client *client = network->workers[i].clients; client != NULL;
             client = client->next)
            add(busy, client->fd, CLIENT_NEWS, client);
    }
    return busy;
}

/* What came meanwhile and was not run, and watchers that were changed, are for the workers. */
void network_end_busy(struct network *network) {
    struct busy *busy = network->busy;
    if (busy == NULL) return;
    for (uint32_t i = 0; i < network->worker_count; i++) {
        struct worker *worker = &network->workers[i];
        for (struct client *client = worker->clients; client != NULL; client = client->next) {
            if (client_has_input(client)) network_resume(network, &client->session);
        }
        loop_wake(worker->loop);
    }
    if (busy->poll >= 0) close(busy->poll);
    request_deinit(&busy->request);
    mem_free(busy);
    network->busy = NULL;
}

/* -- news -- */

static void on_created(void *arg, struct client *client) {
    add(arg, client->fd, CLIENT_NEWS, client);
}

static bool is_listener(const struct network *network, const void *what) {
    const struct accept_socket *listener = network->listeners;
    while (listener != NULL && listener != what)
        listener = listener->next;
    return listener != NULL;
}

static void take_news(struct busy *busy, void *what) {
    if (is_listener(busy->network, what)) {
        network_accept(what, on_created, busy);
        return;
    }
    serve(busy, what); // If it has died meanwhile, it is freed when its worker goes on.
}

void network_serve_busy(struct network *network) {
    bool is_first = network->busy == NULL;
    if (is_first) network->busy = begin(network);
    struct busy *busy = network->busy;
    struct epoll_event events[NEWS_AT_ONCE];
    int count = busy->poll < 0 ? 0 : epoll_wait(busy->poll, events, NEWS_AT_ONCE, 0);
    if (count <= 0 && !busy->has_unsent && !is_first) return;
    // What was written before the script began is in the log before anybody is answered.
    if (network->before_replies != NULL) network->before_replies(network->before_replies_state);
    if (is_first) dispatch_refuse_waiting(network->dispatcher, on_refused, NULL);
    if (is_first || busy->has_unsent) serve_all(busy);
    for (int i = 0; i < count; i++)
        take_news(busy, events[i].data.ptr);
}

#include "server/net/network.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/net/network_internal.h"

enum { CRON_MS = 1000 };

/* -- workers -- */

static void before_sleep(void *arg) {
    struct worker *worker = arg;
    struct network *network = worker->network;
    if (network->before_replies != NULL) network->before_replies(network->before_replies_state);
    client_flush_pending(worker);
    client_evict_heaviest(worker);
    client_free_dying(worker);
}

static void worker_cron(void *arg) {
    client_check_limits(arg);
}

static void worker_init(struct network *network, struct worker *worker, uint32_t index) {
    char name[24];
    snprintf(name, sizeof(name), "worker-%u", index);
    worker->network = network;
    worker->index = index;
    exclusive_add_turn(dispatcher_exclusive(network->dispatcher), &worker->turn);
    worker->loop = loop_create(name, &worker->turn);
    worker->dispatch = dispatch_worker_create(network->dispatcher, &worker->turn);
    worker->read_buffer = mem_alloc(READ_BUFFER);
    loop_before_sleep(worker->loop, before_sleep, worker);
    loop_pace(worker->loop);
    worker->cron = loop_timer_create(worker->loop, worker_cron, worker);
    loop_timer_start(worker->cron, CRON_MS, CRON_MS);
}

struct network *network_create(struct network_options *options, struct dispatcher *dispatcher,
                               const struct data_type_options *types) {
    struct network *network = mem_alloc_zero(sizeof(*network));
    pthread_mutex_init(&network->adoptions_lock, NULL);
    network->options = options;
    network->dispatcher = dispatcher;
    network->types = types;
    atomic_init(&network->gate, UINT64_MAX);
    network->worker_count = (uint32_t)options->worker_threads;
    network->workers = mem_alloc_aligned(network->worker_count * sizeof(struct worker), CACHE_LINE);
    memset(network->workers, 0, network->worker_count * sizeof(struct worker));
    for (uint32_t i = 0; i < network->worker_count; i++)
        worker_init(network, &network->workers[i], i);
    return network;
}

void network_destroy(struct network *network) {
    if (network == NULL) return;
    for (uint32_t i = 0; i < network->worker_count; i++) {
        struct worker *worker = &network->workers[i];
        loop_timer_destroy(worker->cron);
        dispatch_worker_destroy(worker->dispatch);
        loop_destroy(worker->loop);
        for (int k = 0; k < LOOK_AHEAD; k++)
            request_deinit(&worker->requests[k]);
        for (uint32_t k = 0; k < worker->spare_count; k++)
            buffer_deinit(&worker->spares[k]);
        mem_free(worker->read_buffer);
    }
    dispatch_worker_destroy(network->stand_in);
    pthread_mutex_destroy(&network->adoptions_lock);
    mem_free(network->workers);
    mem_free(network);
}

uint32_t network_worker_count(const struct network *network) {
    return network->worker_count;
}

struct loop *network_loop(struct network *network, uint32_t worker) {
    return network->workers[worker].loop;
}

struct dispatch_worker *network_dispatch_worker(struct network *network, uint32_t worker) {
    return network->workers[worker].dispatch;
}

static struct worker *worker_of_id(struct network *network, uint64_t id) {
    return &network->workers[id % network->worker_count];
}

uint32_t network_worker_of(const struct network *network, uint64_t session_id) {
    return (uint32_t)(session_id % network->worker_count);
}

void network_start(struct network *network) {
    for (uint32_t i = 0; i < network->worker_count; i++)
        loop_start(network->workers[i].loop);
}

void network_stop(struct network *network, uint64_t grace_ms) {
    for (uint32_t i = 0; i < network->worker_count; i++)
        loop_stop(network->workers[i].loop);
    for (uint32_t i = 0; i < network->worker_count; i++)
        loop_join(network->workers[i].loop);
    listeners_close(network);
    uint64_t end_ms = clock_monotonic_ms() + grace_ms;
    if (network->before_replies != NULL) network->before_replies(network->before_replies_state);
    for (uint32_t i = 0; i < network->worker_count; i++) {
        struct worker *worker = &network->workers[i];
        for (struct client *client = worker->clients; client != NULL; client = client->next)
            client_want_write(client);
        if (clock_monotonic_ms() < end_ms) client_flush_pending(worker);
        worker->pending = worker->gated = NULL;
        while (worker->clients != NULL)
            client_kill(worker->clients);
        client_free_dying(worker);
    }
}

/* -- other threads' clients -- */

struct post {
    struct network *network;
    uint64_t id;
    void (*fn)(struct session *session, void *arg);
    void *arg;
};

static void run_post(void *arg) {
    struct post *post = arg;
    struct client *client = worker_find(worker_of_id(post->network, post->id), post->id);
    post->fn(client == NULL ? NULL : &client->session, post->arg);
    if (client != NULL && client->out.len > 0) client_want_write(client);
    mem_free(post);
}

void network_post(struct network *network, uint64_t session_id,
                  void (*fn)(struct session *session, void *arg), void *arg) {
    struct post *post = mem_alloc(sizeof(*post));
    *post = (struct post){network, session_id, fn, arg};
    loop_post(worker_of_id(network, session_id)->loop, run_post, post);
}

/* Commands may be run only when nothing else of this worker is: a resumed client goes on from the
 * worker's mailbox, not from inside somebody's command. */
static void resume_posted(struct session *session, void *arg) {
    (void)arg;
    if (session != NULL) client_resume(client_of(session));
}

void network_resume(struct network *network, struct session *session) {
    network_post(network, session->id, resume_posted, NULL);
}

void network_unblock(struct network *network, struct session *session) {
    if (session->block == SESSION_NOT_BLOCKED) return;
    struct client *client = client_of(session);
    session->block = SESSION_NOT_BLOCKED;
    atomic_fetch_sub(&client->worker->blocked_count, 1);
    ev_timer_stop(loop_ev(client->worker->loop), &client->block_timer);
    if (client->out.len > 0) client_want_write(client);
    network_resume(network, session);
}

void network_block_timeout(struct network *network, struct session *session, uint64_t after_ms,
                           void (*fn)(struct session *session, void *arg), void *arg) {
    (void)network;
    struct client *client = client_of(session);
    struct ev_loop *ev = loop_ev(client->worker->loop);
    client->on_block_timeout = fn;
    client->block_arg = arg;
    ev_timer_stop(ev, &client->block_timer);
    if (after_ms == UINT64_MAX) return;
    ev_now_update(ev);
    ev_timer_set(&client->block_timer, (double)after_ms / 1000.0, 0);
    ev_timer_start(ev, &client->block_timer);
}

void network_close(struct network *network, struct session *session, bool at_once) {
    (void)network;
    if (at_once) {
        client_kill(client_of(session));
    } else {
        session->close_after_reply = true;
        client_want_write(client_of(session));
    }
}

void network_each(struct network *network, bool (*fn)(void *arg, struct session *session),
                  void *arg) {
    for (uint32_t i = 0; i < sizeof(network->guests) / sizeof(network->guests[0]); i++) {
        if (network->guests[i] != NULL && !fn(arg, network->guests[i])) return;
    }
    for (uint32_t i = 0; i < network->worker_count; i++) {
        struct client *next = NULL;
        for (struct client *client = network->workers[i].clients; client != NULL; client = next) {
            next = client->next;
            if (!fn(arg, &client->session)) return;
        }
    }
}

struct session *network_find(struct network *network, uint64_t session_id) {
    struct client *client = worker_find(worker_of_id(network, session_id), session_id);
    return client == NULL ? NULL : &client->session;
}

static void retry_paused(void *arg) {
    struct worker *worker = arg;
    struct client *next = NULL;
    for (struct client *client = worker->clients; client != NULL; client = next) {
        next = client->next;
        if (client->is_put_aside) client_resume(client);
    }
}

void network_retry_paused(struct network *network) {
    for (uint32_t i = 0; i < network->worker_count; i++)
        loop_post(network->workers[i].loop, retry_paused, &network->workers[i]);
}

/* -- messages -- */

void network_set_acl(struct network *network, struct acl *acl) {
    network->acl = acl;
}

void network_set_pubsub(struct network *network, struct pubsub *pubsub) {
    network->pubsub = pubsub;
}

bool network_is_worker(const struct network *network, uint32_t worker) {
    return loop_is_current(network->workers[worker].loop);
}

void network_post_worker(struct network *network, uint32_t worker, void (*fn)(void *arg),
                         void *arg) {
    loop_post(network->workers[worker].loop, fn, arg);
}

void network_pushed(struct network *network, struct session *session) {
    (void)network;
    client_pushed(client_of(session));
}

/* -- the gate -- */

void network_before_replies(struct network *network, void (*fn)(void *state), void *state) {
    network->before_replies = fn;
    network->before_replies_state = state;
}

static void recheck_gated(void *arg) {
    client_recheck_gated(arg);
}

void network_set_gate(struct network *network, uint64_t position) {
    atomic_store(&network->gate, position);
    for (uint32_t i = 0; i < network->worker_count; i++) {
        struct worker *worker = &network->workers[i];
        if (atomic_exchange(&worker->has_gated, false))
            loop_post(worker->loop, recheck_gated, worker);
    }
}

/* -- feeds -- */

void network_set_feed(struct network *network, struct session *session,
                      const struct client_feed *feed, void *state) {
    (void)network;
    struct client *client = client_of(session);
    client->feed = feed;
    client->feed_state = state;
    client_want_write(client);
}

void *network_feed_state(const struct session *session) {
    return ((const struct client *)session)->feed == NULL
               ? NULL
               : ((const struct client *)session)->feed_state;
}

static void kick_posted(struct session *session, void *arg) {
    (void)arg;
    if (session != NULL) client_want_write(client_of(session));
}

void network_kick(struct network *network, uint64_t session_id) {
    network_post(network, session_id, kick_posted, NULL);
}

/* -- guests -- */

void network_register_session(struct network *network, struct session *session) {
    for (size_t i = 0; i < sizeof(network->guests) / sizeof(network->guests[0]); i++) {
        if (network->guests[i] != NULL) continue;
        network->guests[i] = session;
        session->id = ++network->last_id;
        return;
    }
}

void network_unregister_session(struct network *network, struct session *session) {
    for (size_t i = 0; i < sizeof(network->guests) / sizeof(network->guests[0]); i++) {
        if (network->guests[i] == session) network->guests[i] = NULL;
    }
}

/* -- figures -- */

void network_stats_read(struct network *network, struct network_stats *out) {
    *out = (struct network_stats){
        .connected_clients = atomic_load(&network->client_count),
        .connections_rejected = atomic_load(&network->rejected_count),
    };
    for (uint32_t i = 0; i < network->worker_count; i++) {
        const struct worker *worker = &network->workers[i];
        const struct worker_stats *stats = &worker->stats;
        out->blocked_clients += atomic_load(&worker->blocked_count);
        out->connections_received += stats->connections;
        out->input_bytes += stats->input_bytes;
        out->output_bytes += stats->output_bytes;
        out->reads += stats->reads;
        out->writes += stats->writes;
        out->query_limit_closed += stats->query_limit_closed;
        out->output_limit_closed += stats->output_limit_closed;
        out->evicted_clients += stats->evicted;
        if (stats->largest_input > out->largest_input_buffer)
            out->largest_input_buffer = stats->largest_input;
        if (stats->largest_output > out->largest_output_buffer)
            out->largest_output_buffer = stats->largest_output;
        out->client_memory_bytes += READ_BUFFER;
    }
    out->client_memory_bytes += out->connected_clients * sizeof(struct client);
}

void network_reset_stats(struct network *network) {
    for (uint32_t i = 0; i < network->worker_count; i++)
        network->workers[i].stats = (struct worker_stats){0};
    atomic_store(&network->rejected_count, 0);
}

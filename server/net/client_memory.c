/* How much memory clients take, and maxmemory-clients: the heaviest are closed when all of them
 * together take more.
 *
 * While there is such a limit, each worker keeps the sum of its clients, brought up to date
 * whenever one of them was read from or written to. Who finds the sum of all sums too high parks
 * everybody, counts anew and closes clients from the heaviest on: the heaviest may be another
 * worker's.
 */
#include <stdlib.h>

#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/command/long_reply.h"
#include "server/command/transaction.h"
#include "server/keyspace/memory_options.h"
#include "server/net/network_internal.h"

enum { LIMIT_MIN = 131072 }; /* A lower one would close clients for nothing but being there. */

size_t client_memory(const struct client *client) {
    const struct session *session = &client->session;
    return sizeof(*client) + client->in.cap + client->out.cap + session->subscription_bytes +
           transaction_bytes(session) + long_reply_pending(session);
}

/* -- counting -- */

static void set_counted(struct client *client, uint64_t memory, bool is_evictable) {
    struct client_sums *sums = &client->worker->sums;
    uint64_t before = client->counted_bytes;
    uint64_t evictable_before = client->is_counted_evictable ? before : 0;
    uint64_t evictable = is_evictable ? memory : 0;
    // Unsigned differences: less is added as a wrapped number.
    atomic_fetch_add_explicit(&sums->bytes, memory - before, memory_order_relaxed);
    atomic_fetch_add_explicit(&sums->evictable_bytes, evictable - evictable_before,
                              memory_order_relaxed);
    client->counted_bytes = memory;
    client->is_counted_evictable = is_evictable;
}

/* Replicas have limits of their own. */
static bool is_counted(const struct client *client) {
    return client->session.kind == SESSION_NORMAL && !client->is_dying &&
           !client->session.close_now;
}

static void count(struct client *client) {
    if (is_counted(client)) {
        set_counted(client, client_memory(client), !client->session.is_no_evict);
    } else {
        set_counted(client, 0, false);
    }
}

void client_note_memory(struct client *client) {
    if (UNLIKELY(client->worker->network->client_memory_limit != 0)) count(client);
}

void client_forget_memory(struct client *client) {
    set_counted(client, 0, false);
}

static uint64_t sum_all(struct network *network, uint64_t *out_evictable) {
    uint64_t bytes = 0;
    *out_evictable = 0;
    for (uint32_t i = 0; i < network->worker_count; i++) {
        bytes += atomic_load_explicit(&network->workers[i].sums.bytes, memory_order_relaxed);
        *out_evictable +=
            atomic_load_explicit(&network->workers[i].sums.evictable_bytes, memory_order_relaxed);
    }
    return bytes;
}

static void count_all(struct network *network) {
    for (uint32_t i = 0; i < network->worker_count; i++) {
        for (struct client *client = network->workers[i].clients; client != NULL;
             client = client->next)
            count(client);
    }
}

/* -- the limit -- */

void network_limit_client_memory(struct network *network) {
    int64_t option = network->options->max_memory_clients;
    uint64_t limit = (uint64_t)option;
    if (option < 0) { // Percent of maxmemory; without that, no limit.
        uint64_t max_memory = network->types->memory.max_bytes;
        limit = (uint64_t)((double)max_memory / 100 * (double)-option);
    }
    if (limit != 0 && limit < LIMIT_MIN) limit = LIMIT_MIN;
    network->client_memory_limit = limit;
    if (limit != 0) count_all(network);
}

/* -- eviction -- */

static int compare_heaviest_first(const void *a, const void *b) {
    const struct client *first = *(struct client *const *)a;
    const struct client *second = *(struct client *const *)b;
    return (first->counted_bytes < second->counted_bytes) -
           (first->counted_bytes > second->counted_bytes);
}

/* Those that may be closed, from the heaviest on. mem_free the array. */
static struct client **list_heaviest(struct network *network, uint32_t *out_count) {
    struct client **list =
        mem_alloc((atomic_load(&network->client_count) + 1) * sizeof(struct client *));
    uint32_t count = 0;
    for (uint32_t i = 0; i < network->worker_count; i++) {
        for (struct client *client = network->workers[i].clients; client != NULL;
             client = client->next) {
            if (client->is_counted_evictable) list[count++] = client;
        }
    }
    qsort(list, count, sizeof(struct client *), compare_heaviest_first);
    *out_count = count;
    return list;
}

static void evict(struct worker *worker, struct client *client) {
    struct buffer line = {0};
    network_describe(worker->network, &client->session, &line);
    log_notice("Evicting client: %.*s", (int)line.len, (const char *)line.data);
    buffer_deinit(&line);
    worker->stats.evicted++;
    network_kill(worker->network, &client->session, NULL);
    count(client);
}

static void evict_parked(struct worker *worker) {
    struct network *network = worker->network;
    uint64_t evictable = 0;
    uint32_t count_of_list = 0;
    count_all(network);
    struct client **list = list_heaviest(network, &count_of_list);
    for (uint32_t i = 0; i < count_of_list; i++) {
        if (sum_all(network, &evictable) <= network->client_memory_limit) break;
        evict(worker, list[i]);
    }
    mem_free(list);
}

void client_evict_heaviest(struct worker *worker) {
    struct network *network = worker->network;
    uint64_t evictable = 0;
    if (LIKELY(network->client_memory_limit == 0)) return;
    // What nobody may close may lie over the limit for long: then there is nothing to do.
    if (sum_all(network, &evictable) <= network->client_memory_limit || evictable == 0) return;
    dispatch_exclusive_begin(worker->dispatch);
    evict_parked(worker);
    dispatch_exclusive_end(worker->dispatch);
}

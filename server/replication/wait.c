/* WAIT: a client that holds still until replicas have its writes. */
#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/replication/replication_internal.h"

/* Takes the waiter of this session out of the list. NULL when it is not there any more. */
static struct waiter *take_waiter(struct replication *replication, uint64_t session_id) {
    struct waiter *found = NULL;
    pthread_mutex_lock(&replication->lock);
    for (struct waiter **link = &replication->waiters; *link != NULL; link = &(*link)->next) {
        if ((*link)->session_id != session_id) continue;
        found = *link;
        *link = found->next;
        break;
    }
    pthread_mutex_unlock(&replication->lock);
    return found;
}

static void answer(struct replication *replication, struct session *session, uint64_t offset) {
    reply_integer(&session->reply, replicas_count_acked(replication, offset));
    network_unblock(replication->network, session);
}

static bool is_waiting(struct replication *replication, uint64_t session_id) {
    bool is_found = false;
    pthread_mutex_lock(&replication->lock);
    for (const struct waiter *waiter = replication->waiters; waiter != NULL; waiter = waiter->next)
        is_found = is_found || waiter->session_id == session_id;
    pthread_mutex_unlock(&replication->lock);
    return is_found;
}

/* On the session's worker: enough replicas have it. If the session is in the list all the same,
 * that was an earlier WAIT of it, which somebody else has answered. */
static void enough(struct session *session, void *arg) {
    struct replication *replication = arg;
    if (session == NULL || session->block != SESSION_BLOCKED_WAIT) return;
    if (is_waiting(replication, session->id)) return;
    answer(replication, session, session->write_offset);
}

void waiters_check(struct replication *replication) {
    struct waiter *done = NULL;
    pthread_mutex_lock(&replication->lock);
    struct waiter **link = &replication->waiters;
    while (*link != NULL) {
        struct waiter *waiter = *link;
        uint64_t count = 0;
        for (const struct replica *replica = replication->replicas; replica != NULL;
             replica = replica->next)
            count += replica->state == REPLICA_ONLINE && replica->ack_offset >= waiter->offset;
        if (count < waiter->wanted) {
            link = &waiter->next;
            continue;
        }
        *link = waiter->next;
        waiter->next = done;
        done = waiter;
    }
    pthread_mutex_unlock(&replication->lock);
    while (done != NULL) {
        struct waiter *waiter = done;
        done = waiter->next;
        network_post(replication->network, waiter->session_id, enough, replication);
        mem_free(waiter);
    }
}

struct look {
    struct replication *replication;
    uint64_t session_id;
};

static void forget_when_gone(struct session *session, void *arg) {
    struct look *look = arg;
    if (session == NULL || session->block != SESSION_BLOCKED_WAIT)
        mem_free(take_waiter(look->replication, look->session_id));
    mem_free(look);
}

void waiters_tick(struct replication *replication) {
    pthread_mutex_lock(&replication->lock);
    for (const struct waiter *waiter = replication->waiters; waiter != NULL;
         waiter = waiter->next) {
        struct look *look = mem_alloc(sizeof(*look));
        *look = (struct look){replication, waiter->session_id};
        network_post(replication->network, waiter->session_id, forget_when_gone, look);
    }
    pthread_mutex_unlock(&replication->lock);
}

static void time_is_over(struct session *session, void *arg) {
    struct replication *replication = arg;
    mem_free(take_waiter(replication, session->id));
    answer(replication, session, session->write_offset);
}

void replication_command_wait(struct command_context *context) {
    struct replication *replication = context->modules->replication;
    struct session *session = context->session;
    int64_t wanted = 0;
    int64_t timeout_ms = 0;
    if (atomic_load(&replication->is_replica)) {
        reply_error(context->reply,
                    "ERR WAIT cannot be used with replica instances. Please also note that since "
                    "Redis 4.0 if a replica is configured to be writable (which is not the "
                    "default) writes to replicas are just local and are not propagated.");
        return;
    }
    if (!context_integer(context, 1, &wanted, NULL)) return;
    if (!context_integer(context, 2, &timeout_ms, "ERR timeout is not an integer or out of range"))
        return;
    if (timeout_ms < 0) {
        reply_error(context->reply, "ERR timeout is negative");
        return;
    }
    uint32_t count = replicas_count_acked(replication, session->write_offset);
    if (wanted <= (int64_t)count || context->in_transaction) {
        reply_integer(context->reply, count);
        return;
    }
    mem_free(take_waiter(replication, session->id)); // One that CLIENT UNBLOCK has answered.
    struct waiter *waiter = mem_alloc(sizeof(*waiter));
    *waiter = (struct waiter){
        .session_id = session->id, .offset = session->write_offset, .wanted = (uint64_t)wanted};
    session->block = SESSION_BLOCKED_WAIT;
    pthread_mutex_lock(&replication->lock);
    waiter->next = replication->waiters;
    replication->waiters = waiter;
    pthread_mutex_unlock(&replication->lock);
    network_block_timeout(replication->network, session,
                          timeout_ms == 0 ? UINT64_MAX : (uint64_t)timeout_ms, time_is_over,
                          replication);
    replicas_ask_acknowledgement(replication, session->write_offset);
    waiters_check(replication); // An acknowledgement may have come in between.
}

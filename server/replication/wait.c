/* WAIT and WAITAOF: a client that holds still until replicas have its writes, or disks do. */
#include "server/aof/aof.h"
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

static const struct aof *log_of(const struct replication *replication) {
    return replication->made_of.modules->aof;
}

/* What has been reached by now. */
static void reply_reached(struct replication *replication, struct session *session,
                          bool is_for_logs) {
    if (!is_for_logs) {
        reply_integer(&session->reply, replicas_count_acked(replication, session->write_offset));
        return;
    }
    bool is_local = aof_is_on(log_of(replication)) &&
                    aof_synced_position(log_of(replication)) >= session->write_position;
    reply_array(&session->reply, 2);
    reply_integer(&session->reply, is_local);
    reply_integer(&session->reply, replicas_count_durable(replication, session->write_offset));
}

static void answer(struct replication *replication, struct session *session, bool is_for_logs) {
    reply_reached(replication, session, is_for_logs);
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
static void let_go(struct replication *replication, struct session *session, bool is_for_logs) {
    if (session == NULL || session->block != SESSION_BLOCKED_WAIT) return;
    if (is_waiting(replication, session->id)) return;
    answer(replication, session, is_for_logs);
}

static void enough(struct session *session, void *arg) {
    let_go(arg, session, false);
}

static void enough_in_logs(struct session *session, void *arg) {
    let_go(arg, session, true);
}

/* The list is locked. */
static bool has_enough(const struct replication *replication, const struct waiter *waiter) {
    uint64_t count = 0;
    for (const struct replica *replica = replication->replicas; replica != NULL;
         replica = replica->next) {
        uint64_t reached = waiter->is_for_logs ? replica->durable_offset : replica->ack_offset;
        count += replica->state == REPLICA_ONLINE && reached >= waiter->offset;
    }
    return count >= waiter->wanted &&
           (waiter->log_position == 0 ||
            aof_synced_position(log_of(replication)) >= waiter->log_position);
}

void waiters_check(struct replication *replication) {
    struct waiter *done = NULL;
    pthread_mutex_lock(&replication->lock);
    struct waiter **link = &replication->waiters;
    while (*link != NULL) {
        struct waiter *waiter = *link;
        if (!has_enough(replication, waiter)) {
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
        network_post(replication->network, waiter->session_id,
                     waiter->is_for_logs ? enough_in_logs : enough, replication);
        mem_free(waiter);
    }
}

void replication_log_synced(struct replication *replication) {
    waiters_check(replication);
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
    struct waiter *waiter = take_waiter(replication, session->id);
    bool is_for_logs = waiter != NULL && waiter->is_for_logs;
    mem_free(waiter);
    if (waiter == NULL) return; // It has enough: the answer is on its way.
    answer(replication, session, is_for_logs);
}

/* Puts the session to sleep until the waiter, which is taken, has enough. */
static void sleep_take(struct replication *replication, struct session *session,
                       struct waiter *waiter, int64_t timeout_ms) {
    bool wants_replicas = waiter->wanted > 0;        // In the list it is anybody's who answers it.
    mem_free(take_waiter(replication, session->id)); // One that CLIENT UNBLOCK has answered.
    session->block = SESSION_BLOCKED_WAIT;
    pthread_mutex_lock(&replication->lock);
    waiter->next = replication->waiters;
    replication->waiters = waiter;
    pthread_mutex_unlock(&replication->lock);
    network_block_timeout(replication->network, session,
                          timeout_ms == 0 ? UINT64_MAX : (uint64_t)timeout_ms, time_is_over,
                          replication);
    if (wants_replicas) replicas_ask_acknowledgement(replication, session->write_offset);
    waiters_check(replication); // An acknowledgement may have come in between.
}

static bool parse_timeout(struct command_context *context, uint32_t argument, int64_t *out_ms) {
    if (!context_integer(context, argument, out_ms,
                         "ERR timeout is not an integer or out of range"))
        return false;
    if (*out_ms >= 0) return true;
    reply_error(context->reply, "ERR timeout is negative");
    return false;
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
    if (!parse_timeout(context, 2, &timeout_ms)) return;
    uint32_t count = replicas_count_acked(replication, session->write_offset);
    if (wanted <= (int64_t)count || context->in_transaction) {
        reply_integer(context->reply, count);
        return;
    }
    struct waiter *waiter = mem_alloc_zero(sizeof(*waiter));
    *waiter = (struct waiter){
        .session_id = session->id, .offset = session->write_offset, .wanted = (uint64_t)wanted};
    sleep_take(replication, session, waiter, timeout_ms);
}

void replication_command_waitaof(struct command_context *context) {
    struct replication *replication = context->modules->replication;
    struct session *session = context->session;
    int64_t is_local = 0;
    int64_t wanted = 0;
    int64_t timeout_ms = 0;
    if (!context_integer_in(context, 1, 0, 1, &is_local, NULL) ||
        !context_integer_in(context, 2, 0, INT64_MAX, &wanted,
                            "ERR value is out of range, must be positive") ||
        !parse_timeout(context, 3, &timeout_ms))
        return;
    if (atomic_load(&replication->is_replica)) {
        reply_error(context->reply,
                    "ERR WAITAOF cannot be used with replica instances. Please also note that "
                    "writes to replicas are just local and are not propagated.");
        return;
    }
    if (is_local == 1 && !aof_is_on(log_of(replication))) {
        reply_error(context->reply, "ERR WAITAOF cannot be used when numlocal is set but "
                                    "appendonly is disabled.");
        return;
    }
    bool is_durable = aof_synced_position(log_of(replication)) >= session->write_position;
    bool is_enough = (is_local == 0 || is_durable) &&
                     wanted <= (int64_t)replicas_count_durable(replication, session->write_offset);
    if (is_enough || context->in_transaction) {
        reply_reached(replication, session, true);
        return;
    }
    struct waiter *waiter = mem_alloc_zero(sizeof(*waiter));
    *waiter = (struct waiter){.session_id = session->id,
                              .offset = session->write_offset,
                              .wanted = (uint64_t)wanted,
                              .is_for_logs = true,
                              .log_position = is_local == 1 ? session->write_position : 0};
    sleep_take(replication, session, waiter, timeout_ms);
}

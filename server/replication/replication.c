/* The node's role and its history: who it follows, and by which ids its data set is known. */
#include "server/replication/replication.h"

#include <stdio.h>
#include <string.h>

#include "server/aof/aof.h"
#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/command/blocking.h"
#include "server/replication/replication_internal.h"

enum { BACKLOG_BYTES_MIN = 16 * 1024 };

/* -- history -- */

static void no_second_history(struct replication *replication) {
    memset(replication->second_id, '0', REPLICATION_ID_LEN);
    replication->second_id[REPLICATION_ID_LEN] = '\0';
    replication->second_offset = -1;
}

void replication_new_history(struct replication *replication) {
    rng_hex(&replication->rng, replication->id, REPLICATION_ID_LEN);
    replication->id[REPLICATION_ID_LEN] = '\0';
    no_second_history(replication);
}

void replication_branch_history(struct replication *replication, const char *fresh_id) {
    memcpy(replication->second_id, replication->id, sizeof(replication->second_id));
    replication->second_offset = (int64_t)journal_offset(replication->journal) + 1;
    if (fresh_id == NULL) {
        rng_hex(&replication->rng, replication->id, REPLICATION_ID_LEN);
    } else {
        memcpy(replication->id, fresh_id, REPLICATION_ID_LEN);
    }
    log_notice("Setting secondary replication ID to %s, valid up to offset: %lld. New replication "
               "ID is %s",
               replication->second_id, (long long)replication->second_offset, replication->id);
}

void replication_restore(struct replication *replication, const struct snapshot_replication *from,
                         bool will_follow) {
    if (!from->is_known || strlen(from->id) != REPLICATION_ID_LEN) return;
    journal_set_offset(replication->journal, from->offset);
    if (will_follow) {
        memcpy(replication->id, from->id, sizeof(replication->id));
        replication->stream_database = from->database;
        return;
    }
    memcpy(replication->second_id, from->id, sizeof(replication->second_id));
    replication->second_offset = (int64_t)from->offset + 1;
    journal_open_backlog(replication->journal);
}

void replication_read_history(void *state, struct snapshot_replication *out) {
    struct replication *replication = state;
    *out = (struct snapshot_replication){.database = NO_DATABASE};
    bool is_replica = atomic_load(&replication->is_replica);
    // A node that nobody has ever followed has no history worth carrying.
    if (!journal_has_backlog(replication->journal) && !is_replica) return;
    out->is_known = true;
    memcpy(out->id, replication->id, sizeof(out->id));
    out->offset = journal_offset(replication->journal);
    out->database =
        is_replica ? (int)replication->primary.session.db : journal_database(replication->journal);
    if (out->database < 0) out->database = 0;
}

/* -- roles -- */

void replication_update_admission(struct replication *replication) {
    const struct replication_options *options = replication->options;
    struct dispatcher *dispatcher = replication->made_of.modules->dispatcher;
    bool is_replica = atomic_load(&replication->is_replica);
    bool is_linked = atomic_load(&replication->primary.state) == LINK_CONNECTED;
    bool needs_replicas =
        !is_replica && options->min_replicas > 0 && options->min_replicas_max_lag_s > 0;
    dispatcher_set_admission(dispatcher, ADMISSION_REPLICA, is_replica);
    dispatcher_set_admission(dispatcher, ADMISSION_READ_ONLY, is_replica && options->is_read_only);
    dispatcher_set_admission(dispatcher, ADMISSION_STALE,
                             is_replica && !options->serves_stale_data && !is_linked);
    dispatcher_set_admission(dispatcher, ADMISSION_FEW_REPLICAS,
                             needs_replicas &&
                                 replicas_count_good(replication) < options->min_replicas);
}

static void refuse_waiter(struct session *session, void *arg) {
    if (session == NULL || session->block != SESSION_BLOCKED_WAIT) return;
    reply_error(&session->reply, "UNBLOCKED force unblock from blocking operation, instance state "
                                 "changed (master -> replica?)");
    session->close_after_reply = true;
    network_unblock(arg, session);
}

/* What they wait for will not come from a replica. */
static void refuse_waiters(struct replication *replication) {
    pthread_mutex_lock(&replication->lock);
    struct waiter *waiters = replication->waiters;
    replication->waiters = NULL;
    pthread_mutex_unlock(&replication->lock);
    while (waiters != NULL) {
        struct waiter *waiter = waiters;
        waiters = waiter->next;
        network_post(replication->network, waiter->session_id, refuse_waiter, replication->network);
        mem_free(waiter);
    }
}

/* Nor do clients that wait for keys: who pushes to them now pushes elsewhere. */
static bool refuse_key_waiter(void *arg, struct command_context *context, uint32_t flags,
                              const struct key *keys, uint32_t key_count) {
    (void)arg;
    (void)flags;
    (void)keys;
    (void)key_count;
    reply_error(context->reply, "UNBLOCKED force unblock from blocking operation, instance state "
                                "changed (master -> replica?)");
    context->session->close_after_reply = true;
    return true;
}

void replication_set_role(struct replication *replication, bool is_replica) {
    atomic_store(&replication->is_replica, is_replica);
    log_set_role(is_replica ? LOG_ROLE_REPLICA : LOG_ROLE_PRIMARY);
    replication_update_admission(replication);
    if (is_replica && replication->worker != NULL) {
        refuse_waiters(replication);
        blocking_refuse(replication->worker, refuse_key_waiter, NULL);
    }
}

void replication_follow(struct replication *replication, const char *ip, uint16_t port,
                        bool full_resync) {
    struct replication_target *target = &replication->target;
    bool is_replica = atomic_load(&replication->is_replica);
    bool is_same = is_replica && target->port == port && strcmp(target->host, ip) == 0;
    if (is_same && !full_resync) return;
    if (is_replica) {
        primary_link_finish_batch(replication);
    } else {
        replication->stream_database = journal_database(replication->journal);
        log_notice("Before turning into a replica, using my own master parameters to synthesize a "
                   "cached master: I may be able to synchronize with the new master with just a "
                   "partial transfer.");
    }
    snprintf(target->host, sizeof(target->host), "%s", ip);
    target->port = port;
    if (full_resync) replication->has_history = false;
    replication_set_role(replication, true);
    primary_link_retarget(replication);
    log_notice("Connecting to MASTER %s:%u", target->host, target->port);
}

void replication_promote(struct replication *replication) {
    if (!atomic_load(&replication->is_replica)) return;
    primary_link_finish_batch(replication);
    replication->target = (struct replication_target){.host = ""};
    replication->has_history = true;
    replication_branch_history(replication, NULL);
    journal_forget_database(replication->journal);
    replicas_drop_all(replication, "this node was promoted and has a new replication id");
    replication_set_role(replication, false);
    primary_link_retarget(replication);
    atomic_store(&replication->primary.lost_ms, 0);
    log_notice("MASTER MODE enabled");
}

void replication_facts_read(const struct replication *replication, struct replication_facts *out) {
    *out = (struct replication_facts){
        .offset = journal_offset(replication->journal),
        .replicates = atomic_load(&replication->is_replica),
        .primary_link_up = atomic_load(&replication->primary.state) == LINK_CONNECTED,
        .primary_heard_mono_ms = atomic_load(&replication->primary.heard_ms),
        .primary_lost_mono_ms = atomic_load(&replication->primary.lost_ms),
    };
}

/* -- the clock -- */

void replication_begin_exclusive(struct replication *replication) {
    dispatch_exclusive_begin(replication->worker);
}

void replication_end_exclusive(struct replication *replication) {
    dispatch_exclusive_end(replication->worker);
}

/* A PING now and then tells replicas that we live. It is part of the stream, so a replica of a
 * replica gets its primary's. */
static void ping_replicas(struct replication *replication, uint64_t now_ms) {
    if (atomic_load(&replication->is_replica) || replicas_count(replication) == 0) return;
    if (dispatcher_writes_paused(replication->made_of.modules->dispatcher)) return;
    if (now_ms - replication->pinged_ms < replication->options->ping_period_s * SECOND_MS) return;
    replication->pinged_ms = now_ms;
    journal_append_raw(replication->journal, BYTES_LITERAL("*1\r\n$4\r\nping\r\n"));
}

/* The backlog goes when nobody came back for a long time; with it the history. */
static void free_idle_backlog(struct replication *replication, uint64_t now_ms) {
    uint64_t ttl_s = replication->options->backlog_ttl_s;
    if (replicas_count(replication) > 0) replication->last_replica_ms = now_ms;
    if (atomic_load(&replication->is_replica) || ttl_s == 0 ||
        !journal_has_backlog(replication->journal) ||
        now_ms - replication->last_replica_ms <= ttl_s * SECOND_MS)
        return;
    replication_begin_exclusive(replication);
    if (replicas_count(replication) == 0) {
        journal_close_backlog(replication->journal);
        replication_new_history(replication);
        log_notice("Replication backlog freed after %llu seconds without connected replicas.",
                   (unsigned long long)ttl_s);
    }
    replication_end_exclusive(replication);
}

bool replication_removes_sync_files(const struct replication *replication) {
    const struct command_modules *modules = replication->made_of.modules;
    return replication->options->removes_sync_files && !aof_is_on(modules->aof) &&
           !snapshot_wants_save(modules->snapshotter);
}

static void on_tick(void *arg) {
    struct replication *replication = arg;
    uint64_t now_ms = clock_monotonic_ms();
    primary_link_tick(replication);
    failover_tick(replication);
    if (full_sync_is_due(replication)) {
        replication_begin_exclusive(replication);
        full_sync_begin_if_due(replication);
        replication_end_exclusive(replication);
    }
    if (++replication->ticks % (SECOND_MS / TICK_MS) != 0) return;
    ping_replicas(replication, now_ms);
    if (full_sync_has_file_to_remove(replication)) {
        replication_begin_exclusive(replication);
        full_sync_remove_file(replication);
        replication_end_exclusive(replication);
    }
    replicas_tick(replication);
    waiters_tick(replication);
    free_idle_backlog(replication, now_ms);
    replication_update_admission(replication);
}

/* -- options -- */

bool replication_apply_options(void *context, struct config_change *change) {
    struct replication *replication = *(struct replication **)context;
    (void)change;
    if (replication == NULL) return true;
    uint64_t size = replication->options->backlog_size;
    journal_set_backlog_size(replication->journal,
                             size < BACKLOG_BYTES_MIN ? BACKLOG_BYTES_MIN : size);
    replication_update_admission(replication);
    return true;
}

/* -- life -- */

struct replication *replication_create(const struct replication_create_options *options) {
    struct replication *replication = mem_alloc_zero(sizeof(*replication));
    replication->made_of = *options;
    replication->options = options->options;
    replication->journal = options->modules->journal;
    replication->network = options->modules->network;
    replication->loop = network_loop(replication->network, 0);
    replication->worker = network_dispatch_worker(replication->network, 0);
    replication->stream_database = NO_DATABASE;
    replication->has_history = true;
    replication->last_replica_ms = clock_monotonic_ms();
    pthread_mutex_init(&replication->lock, NULL);
    rng_seed_from_os(&replication->rng);
    replication_new_history(replication);
    primary_link_init(replication);
    journal_set_wake(replication->journal, replicas_wake, replication);
    replication_apply_options(&replication, NULL);
    return replication;
}

void replication_start(struct replication *replication) {
    const struct replication_target *wanted = &replication->options->target;
    if (wanted->host[0] != '\0') replication_follow(replication, wanted->host, wanted->port, false);
    replication->timer = loop_timer_create(replication->loop, on_tick, replication);
    loop_timer_start(replication->timer, TICK_MS, TICK_MS);
}

void replication_destroy(struct replication *replication) {
    if (replication == NULL) return;
    journal_set_wake(replication->journal, NULL, NULL);
    loop_timer_destroy(replication->timer);
    primary_link_deinit(replication);
    full_sync_deinit(replication);
    while (replication->waiters != NULL) {
        struct waiter *waiter = replication->waiters;
        replication->waiters = waiter->next;
        mem_free(waiter);
    }
    ASSERT(replication->replicas == NULL); // The network has closed all clients.
    pthread_mutex_destroy(&replication->lock);
    mem_free(replication);
}

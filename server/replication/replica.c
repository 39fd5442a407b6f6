/* The links of replicas: who they are, what they get, what they have acknowledged.
 *
 * A replica link is a client whose output comes from a feed: lines of the protocol first, then the
 * snapshot if it needs one, then the journal. The client's worker asks for more whenever the socket
 * takes bytes, so a slow replica costs nobody anything but the blocks that its reader pins.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/replication/replication_internal.h"

enum feed_source { FEED_NOTHING, FEED_HEAD, FEED_TRANSFER, FEED_FILE, FEED_JOURNAL };

static const struct client_feed replica_feed;

/* -- finding and making -- */

struct replica *replica_find(const struct session *session) {
    if (session->kind == SESSION_PRIMARY || session->kind == SESSION_LOADER) return NULL;
    return network_feed_state(session);
}

static void peer_ip(const struct session *session, char *out, size_t cap) {
    const char *colon = strrchr(session->peer, ':');
    size_t len = colon == NULL ? strlen(session->peer) : (size_t)(colon - session->peer);
    snprintf(out, cap, "%.*s", (int)len, session->peer);
}

struct replica *replica_of(struct command_context *context) {
    struct replica *replica = replica_find(context->session);
    if (replica != NULL) return replica;
    struct replication *replication = context->modules->replication;
    replica = mem_alloc_zero(sizeof(*replica));
    replica->replication = replication;
    replica->session = context->session;
    replica->session_id = context->session->id;
    replica->file = -1;
    peer_ip(context->session, replica->ip, sizeof(replica->ip));
    pthread_mutex_lock(&replication->lock);
    replica->next = replication->replicas;
    replication->replicas = replica;
    pthread_mutex_unlock(&replication->lock);
    network_set_feed(replication->network, context->session, &replica_feed, replica);
    return replica;
}

const char *replica_name(const struct replica *replica, char *out, size_t cap) {
    const char *ip = replica->announced_ip[0] != '\0' ? replica->announced_ip : replica->ip;
    if (replica->port == 0) {
        snprintf(out, cap, "%.200s:<unknown-replica-port>", ip);
    } else {
        snprintf(out, cap, "%.200s:%u", ip, replica->port);
    }
    return out;
}

const char *replica_state_text(const struct replica *replica) {
    switch (replica->state) {
    case REPLICA_WAITING:
        return "wait_bgsave";
    case REPLICA_RECEIVING:
        return replica->file >= 0 ? "send_bulk" : "wait_bgsave";
    case REPLICA_ONLINE:
        return "online";
    default:
        return "unknown";
    }
}

static void set_state(struct replica *replica, enum replica_state state) {
    struct replication *replication = replica->replication;
    pthread_mutex_lock(&replication->lock);
    bool was_online = replica->state == REPLICA_ONLINE;
    replica->state = state;
    if (was_online != (state == REPLICA_ONLINE))
        atomic_fetch_add(&replication->online_count, was_online ? (uint32_t)-1 : 1);
    pthread_mutex_unlock(&replication->lock);
}

void replica_release(struct replica *replica) {
    transfer_leave(replica);
    if (replica->file >= 0) close(replica->file);
    replica->file = -1;
    buffer_deinit(&replica->file_bytes);
    journal_reader_close(replica->reader);
    replica->reader = NULL;
}

/* -- the feed -- */

static void come_online(struct replica *replica) {
    char name[256];
    bool was_diskless = replica->file < 0;
    if (replica->file >= 0) close(replica->file);
    replica->file = -1;
    buffer_deinit(&replica->file_bytes);
    replica->ack_ms = clock_monotonic_ms();
    if (replica->is_rdb_only) {
        log_notice("The snapshot was sent to %s, which asked for nothing else.",
                   replica_name(replica, name, sizeof(name)));
        set_state(replica, REPLICA_DROPPED);
        replica_close(replica);
        return;
    }
    // The end of a snapshot without length is known to a replica once it has read the mark: until
    // it says so the stream waits, since old replicas look for the mark at the end of what came.
    replica->holds_stream = was_diskless && !replica->is_plain;
    set_state(replica, REPLICA_ONLINE);
    log_notice("Synchronization with replica %s succeeded",
               replica_name(replica, name, sizeof(name)));
}

static struct bytes feed_peek(void *state) {
    struct replica *replica = state;
    struct bytes bytes = bytes_of(NULL, 0);
    if (replica->state == REPLICA_DROPPED) return bytes;
    if (replica->head_sent < replica->head.len) {
        replica->fed_from = FEED_HEAD;
        return bytes_from(buffer_view(&replica->head), replica->head_sent);
    }
    if (replica->state == REPLICA_RECEIVING) {
        bool is_file = replica->file >= 0;
        replica->fed_from = is_file ? FEED_FILE : FEED_TRANSFER;
        bytes = is_file ? file_peek(replica) : transfer_peek(replica);
        if (bytes.len > 0) return bytes;
        if (is_file ? replica->file_left > 0 : replica->transfer != NULL) return bytes;
        if (replica->state == REPLICA_RECEIVING) come_online(replica);
    }
    if (replica->state != REPLICA_ONLINE || replica->holds_stream) return bytes_of(NULL, 0);
    replica->fed_from = FEED_JOURNAL;
    return journal_reader_peek(replica->reader);
}

static void feed_advance(void *state, size_t count) {
    struct replica *replica = state;
    atomic_fetch_add(&replica->replication->stats.output_bytes, count);
    switch (replica->fed_from) {
    case FEED_HEAD:
        replica->head_sent += count;
        if (replica->head_sent == replica->head.len) {
            replica->head_sent = 0;
            buffer_clear(&replica->head);
        }
        break;
    case FEED_TRANSFER:
        replica->progress_ms = clock_monotonic_ms();
        transfer_advance(replica, count);
        break;
    case FEED_FILE:
        replica->progress_ms = clock_monotonic_ms();
        file_advance(replica, count);
        break;
    case FEED_JOURNAL:
        journal_reader_advance(replica->reader, count);
        break;
    default:
        break;
    }
}

static void feed_closed(void *state) {
    struct replica *replica = state;
    struct replication *replication = replica->replication;
    char name[256];
    if (replica->state != REPLICA_GREETING)
        log_notice("Connection with replica %s lost.", replica_name(replica, name, sizeof(name)));
    set_state(replica, REPLICA_DROPPED);
    pthread_mutex_lock(&replication->lock);
    struct replica **link = &replication->replicas;
    while (*link != replica)
        link = &(*link)->next;
    *link = replica->next;
    pthread_mutex_unlock(&replication->lock);
    replica_release(replica);
    buffer_deinit(&replica->head);
    mem_free(replica);
}

static const struct client_feed replica_feed = {feed_peek, feed_advance, feed_closed};

/* Own worker: there is more to feed. */
static void feed_more(struct replica *replica) {
    network_set_feed(replica->replication->network, replica->session, &replica_feed, replica);
}

static void close_posted(struct session *session, void *arg) {
    if (session != NULL) network_close(arg, session, true);
}

void replica_close(struct replica *replica) {
    network_post(replica->replication->network, replica->session_id, close_posted,
                 replica->replication->network);
}

/* -- the journal has more -- */

static void served(struct session *session, void *arg) {
    struct replication *replication = arg;
    journal_readers_served(replication->journal);
    struct replica *replica = session == NULL ? NULL : replica_find(session);
    if (replica != NULL) feed_more(replica);
}

/* On the appending thread, slots locked: posts only. */
void replicas_wake(void *state) {
    struct replication *replication = state;
    bool is_posted = false;
    if (atomic_load_explicit(&replication->online_count, memory_order_relaxed) > 0) {
        pthread_mutex_lock(&replication->lock);
        for (struct replica *replica = replication->replicas; replica != NULL;
             replica = replica->next) {
            if (replica->state != REPLICA_ONLINE) continue;
            network_post(replication->network, replica->session_id, served, replication);
            is_posted = true;
        }
        pthread_mutex_unlock(&replication->lock);
    }
    if (!is_posted) journal_readers_served(replication->journal);
}

/* -- synchronisation -- */

void replica_serve_partial(struct replica *replica, struct journal_reader *reader) {
    struct replication *replication = replica->replication;
    replica_release(replica);
    replica->reader = reader;
    replica->holds_stream = false;
    replica->ack_ms = clock_monotonic_ms();
    replica->ack_offset = journal_reader_offset(reader);
    if (replica->has_psync2) {
        buffer_append_format(&replica->head, "+CONTINUE %s\r\n", replication->id);
    } else {
        buffer_append_text(&replica->head, "+CONTINUE\r\n");
    }
    replica->session->kind = SESSION_REPLICA;
    set_state(replica, REPLICA_ONLINE);
    atomic_fetch_add(&replication->stats.sync_partial_ok, 1);
    replication->last_replica_ms = clock_monotonic_ms();
    feed_more(replica);
}

void replica_ask_full(struct replica *replica) {
    struct replication *replication = replica->replication;
    replica_release(replica);
    replica->session->kind = SESSION_REPLICA;
    replica->waiting_since_ms = replica->ack_ms = clock_monotonic_ms();
    atomic_fetch_add(&replication->stats.sync_full, 1);
    replication->last_replica_ms = replica->waiting_since_ms;
    if (!journal_has_backlog(replication->journal)) {
        // Nothing was kept of what happened so far, so nobody may continue from it.
        if (!atomic_load(&replication->is_replica)) replication_new_history(replication);
        journal_open_backlog(replication->journal);
        log_notice("Replication backlog created, my new replication IDs are '%s' and '%s'",
                   replication->id, replication->second_id);
    }
    set_state(replica, REPLICA_WAITING);
    full_sync_begin_if_due(replication);
}

void replica_acknowledge(struct replica *replica, uint64_t offset, uint64_t durable_offset) {
    struct replication *replication = replica->replication;
    pthread_mutex_lock(&replication->lock);
    replica->ack_ms = clock_monotonic_ms();
    if (offset > replica->ack_offset) replica->ack_offset = offset;
    if (durable_offset > replica->durable_offset) replica->durable_offset = durable_offset;
    pthread_mutex_unlock(&replication->lock);
    if (replica->state == REPLICA_ONLINE && replica->holds_stream) {
        replica->holds_stream = false;
        feed_more(replica);
    }
    waiters_check(replication);
}

void replicas_drop_all(struct replication *replication, const char *why) {
    bool has_any = false;
    for (struct replica *replica = replication->replicas; replica != NULL;
         replica = replica->next) {
        if (replica->state == REPLICA_GREETING || replica->state == REPLICA_DROPPED) continue;
        set_state(replica, REPLICA_DROPPED);
        replica_release(replica);
        replica_close(replica);
        has_any = true;
    }
    if (has_any) log_notice("Closing the links of replicas: %s", why);
}

void replicas_ask_acknowledgement(struct replication *replication, uint64_t offset) {
    pthread_mutex_lock(&replication->lock);
    bool is_asked = replication->asked_offset > offset;
    if (!is_asked) replication->asked_offset = journal_offset(replication->journal) + 1;
    pthread_mutex_unlock(&replication->lock);
    if (!is_asked)
        journal_append_raw(replication->journal,
                           BYTES_LITERAL("*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n"));
}

/* -- counting -- */

uint32_t replicas_count_acked(struct replication *replication, uint64_t offset) {
    uint32_t count = 0;
    pthread_mutex_lock(&replication->lock);
    for (const struct replica *replica = replication->replicas; replica != NULL;
         replica = replica->next)
        count += replica->state == REPLICA_ONLINE && replica->ack_offset >= offset;
    pthread_mutex_unlock(&replication->lock);
    return count;
}

uint32_t replicas_count_durable(struct replication *replication, uint64_t offset) {
    uint32_t count = 0;
    pthread_mutex_lock(&replication->lock);
    for (const struct replica *replica = replication->replicas; replica != NULL;
         replica = replica->next)
        count += replica->state == REPLICA_ONLINE && replica->durable_offset >= offset;
    pthread_mutex_unlock(&replication->lock);
    return count;
}

uint32_t replicas_count_good(struct replication *replication) {
    uint64_t lag_ms = replication->options->min_replicas_max_lag_s * SECOND_MS + SECOND_MS - 1;
    uint64_t now_ms = clock_monotonic_ms();
    uint32_t count = 0;
    pthread_mutex_lock(&replication->lock);
    for (const struct replica *replica = replication->replicas; replica != NULL;
         replica = replica->next)
        count += replica->state == REPLICA_ONLINE && now_ms - replica->ack_ms <= lag_ms;
    pthread_mutex_unlock(&replication->lock);
    return count;
}

uint32_t replicas_count(struct replication *replication) {
    uint32_t count = 0;
    pthread_mutex_lock(&replication->lock);
    for (const struct replica *replica = replication->replicas; replica != NULL;
         replica = replica->next)
        count += replica->state != REPLICA_GREETING && replica->state != REPLICA_DROPPED;
    pthread_mutex_unlock(&replication->lock);
    return count;
}

bool replication_caught_up(void *state) {
    struct replication *replication = state;
    if (atomic_load(&replication->is_replica)) return true;
    uint64_t offset = journal_offset(replication->journal);
    bool is_caught_up = true;
    pthread_mutex_lock(&replication->lock);
    for (const struct replica *replica = replication->replicas; replica != NULL;
         replica = replica->next) {
        if (replica->state == REPLICA_ONLINE && replica->ack_offset < offset &&
            replica->ack_offset + 1 < replication->asked_offset)
            is_caught_up = false;
    }
    pthread_mutex_unlock(&replication->lock);
    if (!is_caught_up) replicas_ask_acknowledgement(replication, offset);
    return is_caught_up;
}

/* -- once a second -- */

static bool is_over_limit(struct replica *replica, uint64_t now_ms) {
    struct replication *replication = replica->replication;
    if (replica->reader == NULL) return false;
    const struct output_limit *limit = &replication->made_of.network->output_limits[1];
    uint64_t lag = journal_reader_lag(replica->reader);
    uint64_t backlog = replication->options->backlog_size;
    uint64_t hard = limit->hard_bytes;
    // What the backlog keeps anyway costs nothing.
    if (hard > 0 && hard < backlog) hard = backlog;
    if (hard > 0 && lag > hard) return true;
    if (limit->soft_bytes == 0 || lag <= limit->soft_bytes) {
        replica->soft_since_ms = 0;
        return false;
    }
    if (replica->soft_since_ms == 0) replica->soft_since_ms = now_ms;
    return now_ms - replica->soft_since_ms > limit->soft_seconds * SECOND_MS;
}

/* On the replica's worker. */
static void tick_posted(struct session *session, void *arg) {
    struct replication *replication = arg;
    struct replica *replica = session == NULL ? NULL : replica_find(session);
    if (replica == NULL || session->kind != SESSION_REPLICA) return;
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t timeout_ms = replication->options->timeout_s * SECOND_MS;
    char name[256];
    // An empty line of a replica that is busy loading is a sign of life.
    pthread_mutex_lock(&replication->lock);
    if (session->active_ms > replica->ack_ms && replica->state != REPLICA_ONLINE)
        replica->ack_ms = session->active_ms;
    if (session->active_ms > replica->ack_ms && replica->holds_stream)
        replica->ack_ms = session->active_ms;
    pthread_mutex_unlock(&replication->lock);
    if (replica->state == REPLICA_WAITING) {
        buffer_append_u8(&replica->head, '\n');
        feed_more(replica);
    }
    bool is_silent = replica->state == REPLICA_ONLINE && !replica->is_plain &&
                     now_ms - replica->ack_ms > timeout_ms;
    bool is_stuck =
        replica->state == REPLICA_RECEIVING && now_ms - replica->progress_ms > timeout_ms;
    if (is_silent || is_stuck) {
        log_warning("Disconnecting timedout replica (%s sync): %s",
                    is_silent ? "streaming" : "full", replica_name(replica, name, sizeof(name)));
        network_close(replication->network, session, true);
    } else if (is_over_limit(replica, now_ms)) {
        log_warning("Client %s scheduled to be closed ASAP for overcoming of output buffer limits.",
                    replica_name(replica, name, sizeof(name)));
        network_close(replication->network, session, true);
    }
}

void replicas_tick(struct replication *replication) {
    pthread_mutex_lock(&replication->lock);
    for (const struct replica *replica = replication->replicas; replica != NULL;
         replica = replica->next) {
        if (replica->state != REPLICA_GREETING && replica->state != REPLICA_DROPPED)
            network_post(replication->network, replica->session_id, tick_posted, replication);
    }
    pthread_mutex_unlock(&replication->lock);
}

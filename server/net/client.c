#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/acl/acl.h"
#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/command/blocking.h"
#include "server/command/long_reply.h"
#include "server/command/monitor.h"
#include "server/command/tracking.h"
#include "server/command/transaction.h"
#include "server/net/network_internal.h"
#include "server/net/socket_internal.h"
#include "server/pubsub/pubsub.h"

enum {
    LONG_REQUEST = 64,        /* Words; what follows is not looked ahead to. */
    READ_AHEAD = 16384,       /* Room beyond what an incomplete command is known to need. */
    FEED_WRITE_MAX = 1 << 18, /* Bytes fed to one replica in a turn. */
};

static void on_readable(struct ev_loop *ev, ev_io *watcher, int events);
static void on_writable(struct ev_loop *ev, ev_io *watcher, int events);
static void on_block_timer(struct ev_loop *ev, ev_timer *watcher, int events);

/* -- life -- */

static struct client **bucket_of(struct worker *worker, uint64_t id) {
    return &worker->by_id[(id / worker->network->worker_count) % ID_BUCKETS];
}

struct client *worker_find(struct worker *worker, uint64_t id) {
    struct client *client = *bucket_of(worker, id);
    while (client != NULL && client->session.id != id)
        client = client->next_same_bucket;
    return client == NULL || client->is_dying ? NULL : client;
}

static void name_peers(struct client *client, bool is_unix) {
    struct session *session = &client->session;
    session->is_unix_socket = is_unix;
    if (is_unix) {
        const char *path = client->worker->network->options->unix_socket;
        snprintf(session->peer, sizeof(session->peer), "%.60s:0", path);
        snprintf(session->local, sizeof(session->local), "%.60s:0", path);
        return;
    }
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (getpeername(client->fd, (struct sockaddr *)&address, &len) == 0)
        socket_format(&address, session->peer, sizeof(session->peer));
    len = sizeof(address);
    if (getsockname(client->fd, (struct sockaddr *)&address, &len) == 0)
        socket_format(&address, session->local, sizeof(session->local));
}

struct client *client_create_take(struct worker *worker, int fd, uint64_t id, bool is_unix) {
    struct network *network = worker->network;
    struct client *client = mem_alloc_zero(sizeof(*client));
    client->worker = worker;
    client->fd = fd;
    session_init(&client->session, id, &client->out);
    acl_session_begin(network->acl, &client->session);
    socket_prepare(fd, !is_unix, is_unix ? 0 : (int)network->options->keepalive_s);
    name_peers(client, is_unix);
    ev_io_init(&client->reader, on_readable, fd, EV_READ);
    ev_io_init(&client->writer, on_writable, fd, EV_WRITE);
    ev_timer_init(&client->block_timer, on_block_timer, 0, 0);
    client->reader.data = client->writer.data = client->block_timer.data = client;
    client->next = worker->clients;
    client->link = &worker->clients;
    if (client->next != NULL) client->next->link = &client->next;
    worker->clients = client;
    struct client **bucket = bucket_of(worker, id);
    client->next_same_bucket = *bucket;
    *bucket = client;
    worker->stats.connections++;
    client_note_memory(client);
    ev_io_start(loop_ev(worker->loop), &client->reader);
    return client;
}

static void leave_gate(struct client *client) {
    if (LIKELY(!client->is_gated)) return;
    struct client **link = &client->worker->gated;
    while (*link != NULL && *link != client)
        link = &(*link)->next_gated;
    if (*link == client) *link = client->next_gated;
    client->is_gated = false;
}

/* Ends the connection; the memory goes at the end of the turn, since callers up the stack may still
 * look at it. */
void client_kill(struct client *client) {
    if (client->is_dying) return;
    struct worker *worker = client->worker;
    struct ev_loop *ev = loop_ev(worker->loop);
    client->is_dying = true;
    ev_io_stop(ev, &client->reader);
    ev_io_stop(ev, &client->writer);
    ev_timer_stop(ev, &client->block_timer);
    if (client->session.block != SESSION_NOT_BLOCKED) atomic_fetch_sub(&worker->blocked_count, 1);
    if (client->feed != NULL) client->feed->closed(client->feed_state);
    pubsub_forget(worker->network->pubsub, &client->session);
    monitor_forget(worker->network->dispatcher, &client->session);
    tracking_stop(worker->network->dispatcher, &client->session);
    client->feed = NULL;
    leave_gate(client);
    client_forget_memory(client);
    *client->link = client->next;
    if (client->next != NULL) client->next->link = client->link;
    client->next = worker->dying;
    worker->dying = client;
    atomic_fetch_sub(&worker->network->client_count, 1);
}

static void client_free(struct client *client) {
    struct worker *worker = client->worker;
    struct client **link = bucket_of(worker, client->session.id);
    while (*link != client)
        link = &(*link)->next_same_bucket;
    *link = client->next_same_bucket;
    blocking_forget(worker->network->dispatcher, &client->session, false);
    transaction_unwatch(dispatcher_databases(worker->network->dispatcher), &client->session, false);
    long_reply_forget(&client->session);
    // Not before: who sees it closed may count on it that nothing is given to it any more.
    close(client->fd);
    session_deinit(&client->session);
    buffer_deinit(&client->in);
    buffer_deinit(&client->out);
    mem_free(client);
}

void client_free_dying(struct worker *worker) {
    while (worker->dying != NULL) {
        struct client *client = worker->dying;
        worker->dying = client->next;
        client_free(client);
    }
}

/* -- output -- */

/* A client has buffers while there is something in them; then they go to the worker's others. */
static void give_buffer(struct worker *worker, struct buffer *buffer) {
    if (buffer->cap == 0 && worker->spare_count > 0)
        *buffer = worker->spares[--worker->spare_count];
}

static void return_buffer(struct worker *worker, struct buffer *buffer) {
    buffer_clear(buffer);
    if (buffer->cap > 0 && worker->spare_count < SPARE_BUFFERS && buffer->cap <= SPARE_BUFFER_MAX) {
        worker->spares[worker->spare_count++] = *buffer;
        *buffer = (struct buffer){0};
    } else {
        buffer_deinit(buffer);
    }
}

static void give_output_buffer(struct client *client) {
    give_buffer(client->worker, &client->out);
}

static void return_output_buffer(struct client *client) {
    client->out_sent = 0;
    return_buffer(client->worker, &client->out);
}

/* Keeps what was read and not run. */
static void keep_input(struct client *client, struct bytes input) {
    give_buffer(client->worker, &client->in);
    buffer_append_bytes(&client->in, input);
}

void client_want_write(struct client *client) {
    if (client->is_pending || client->is_dying) return;
    client->is_pending = true;
    client->next_pending = client->worker->pending;
    client->worker->pending = client;
}

/* Writes some bytes; how many, 0 when the socket is full, -1 when the client is gone. */
static ssize_t write_some(struct client *client, const uint8_t *data, size_t len) {
    for (;;) {
        ssize_t sent = send(client->fd, data, len, MSG_NOSIGNAL);
        if (sent >= 0) {
            client->worker->stats.writes++;
            client->worker->stats.output_bytes += (uint64_t)sent;
            client->output_bytes += (uint64_t)sent;
            return sent;
        }
        if (errno == EINTR) continue;
        if (errno == EAGAIN) return 0;
        client_kill(client);
        return -1;
    }
}

static void wait_at_gate(struct client *client) {
    if (client->is_gated) return;
    client->is_gated = true;
    client->next_gated = client->worker->gated;
    client->worker->gated = client;
}

void client_recheck_gated(struct worker *worker) {
    while (worker->gated != NULL) {
        struct client *client = worker->gated;
        worker->gated = client->next_gated;
        client->is_gated = false;
        client_want_write(client);
    }
}

/* Up to where the output may be sent. What comes in behind something that waits has a need of its
 * own, so that a client that never stops asking is answered all the same. */
static size_t open_output(struct client *client) {
    uint64_t gate = atomic_load_explicit(&client->worker->network->gate, memory_order_acquire);
    if (LIKELY(client->session.write_position <= gate)) {
        client->gate_end = 0;
        return client->out.len;
    }
    size_t open =
        client->gate_end != 0 && client->gate_need <= gate ? client->gate_end : client->out_sent;
    if (client->gate_end == 0 || open == client->gate_end) {
        client->gate_end = client->out.len;
        client->gate_need = client->session.write_position;
    }
    wait_at_gate(client);
    return open;
}

/* What was sent of an output that is never sent whole goes. */
static void drop_sent(struct client *client) {
    if (client->out_sent == 0) return;
    buffer_consume(&client->out, client->out_sent);
    client->gate_end -= client->out_sent;
    client->out_sent = 0;
}

/* True when everything was written. */
static bool flush_replies(struct client *client) {
    size_t end = open_output(client);
    while (client->out_sent < end) {
        ssize_t sent =
            write_some(client, client->out.data + client->out_sent, end - client->out_sent);
        if (sent <= 0) return false;
        client->out_sent += (size_t)sent;
    }
    if (UNLIKELY(end < client->out.len)) {
        drop_sent(client);
        return false;
    }
    client->soft_since_ms = 0;
    return_output_buffer(client);
    return true;
}

static bool flush_feed(struct client *client) {
    size_t budget = FEED_WRITE_MAX;
    while (client->feed != NULL) {
        struct bytes bytes = client->feed->peek(client->feed_state);
        if (bytes.len == 0) return true;
        if (budget == 0) return false;
        size_t len = bytes.len < budget ? bytes.len : budget;
        ssize_t sent = write_some(client, bytes.data, len);
        if (sent <= 0) return false;
        if (client->feed != NULL) client->feed->advance(client->feed_state, (size_t)sent);
        budget -= (size_t)sent;
    }
    return true;
}

/* One piece a turn of the loop, so that others are served in between. */
static void continue_long_reply(struct client *client) {
    give_output_buffer(client);
    if (!long_reply_continue(client->worker->dispatch, &client->session))
        network_resume(client->worker->network, &client->session);
}

void client_flush(struct client *client) {
    if (client->is_dying) return;
    struct ev_loop *ev = loop_ev(client->worker->loop);
    bool is_done = flush_replies(client) && flush_feed(client);
    if (client->is_dying) return;
    if (UNLIKELY(is_done && client->session.long_reply != NULL)) {
        continue_long_reply(client);
        ev_io_start(ev, &client->writer);
        return;
    }
    if (is_done && client->session.close_after_reply) {
        client_kill(client);
        return;
    }
    bool is_waiting = client->is_gated && client->out_sent == 0;
    if (is_done || is_waiting) {
        ev_io_stop(ev, &client->writer);
    } else {
        ev_io_start(ev, &client->writer);
    }
}

static void flush_each(struct worker *worker) {
    while (worker->pending != NULL) {
        struct client *client = worker->pending;
        worker->pending = client->next_pending;
        client->is_pending = false;
        client_flush(client);
        client_note_memory(client);
    }
}

void client_flush_pending(struct worker *worker) {
    uint64_t gate = atomic_load(&worker->network->gate);
    flush_each(worker);
    if (LIKELY(worker->gated == NULL)) return;
    // Who moves the gate looks at the word after that; we look at the gate after setting the word.
    atomic_store(&worker->has_gated, true);
    if (atomic_load(&worker->network->gate) == gate) return;
    client_recheck_gated(worker);
    flush_each(worker);
}

/* Replies of this turn may lie behind what is left: written when the turn ends. */
static void on_writable(struct ev_loop *ev, ev_io *watcher, int events) {
    (void)ev;
    (void)events;
    client_want_write(watcher->data);
}

/* Over the hard limit of its class: nobody reads what we write. */
static bool is_over_output_limit(struct client *client) {
    const struct network_options *options = client->worker->network->options;
    size_t queued = client->out.len - client->out_sent + long_reply_pending(&client->session);
    if (queued > client->worker->stats.largest_output)
        client->worker->stats.largest_output = queued;
    const struct output_limit *limit =
        &options->output_limits[session_is_subscriber(&client->session) ? 2 : 0];
    uint64_t hard = limit->hard_bytes;
    uint64_t soft = limit->soft_bytes;
    if (client->session.kind != SESSION_NORMAL)
        return false; // A replica's bytes are the journal's.
    if (hard > 0 && queued > hard) return true;
    if (soft == 0 || queued <= soft) {
        client->soft_since_ms = 0;
        return false;
    }
    uint64_t now_ms = clock_monotonic_ms();
    if (client->soft_since_ms == 0) client->soft_since_ms = now_ms;
    return now_ms - client->soft_since_ms > limit->soft_seconds * 1000;
}

static void close_over_output_limit(struct client *client) {
    log_warning("Client id=%llu addr=%s closed: its replies passed client-output-buffer-limit",
                (unsigned long long)client->session.id, client->session.peer);
    client->worker->stats.output_limit_closed++;
    client_kill(client);
}

void client_pushed(struct client *client) {
    if (client->is_dying) return;
    client_want_write(client);
    if (is_over_output_limit(client)) close_over_output_limit(client);
}

void client_check_limits(struct worker *worker) {
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t timeout_ms = worker->network->options->timeout_s * 1000;
    struct client *next = NULL;
    for (struct client *client = worker->clients; client != NULL; client = next) {
        next = client->next;
        struct session *session = &client->session;
        if ((client->out.len > 0 || session->long_reply != NULL) && is_over_output_limit(client)) {
            close_over_output_limit(client);
        } else if (timeout_ms > 0 && session->kind == SESSION_NORMAL &&
                   session->block == SESSION_NOT_BLOCKED && !client->is_put_aside &&
                   session->long_reply == NULL && now_ms - session->active_ms > timeout_ms) {
            log_verbose("Closing idle client");
            client_kill(client);
        }
    }
}

/* -- input -- */

static void reject_protocol(struct client *client, const char *error) {
    reply_error_format(&client->session.reply, "ERR Protocol error: %s", error);
    client->session.close_after_reply = true;
    log_verbose("Protocol error (%s) from client: id=%llu addr=%s", error,
                (unsigned long long)client->session.id, client->session.peer);
}

/* Replies on, off, or off for one command. */
static void before_command(struct session *session) {
    session->reply.is_muted =
        session->reply_mode == SESSION_REPLY_OFF || session->reply_mode == SESSION_REPLY_SKIPPING;
}

static void after_command(struct session *session) {
    if (session->reply_mode == SESSION_REPLY_SKIPPING) {
        session->reply_mode = SESSION_REPLY_ON;
    } else if (session->reply_mode == SESSION_REPLY_SKIP_NEXT) {
        session->reply_mode = SESSION_REPLY_SKIPPING;
    }
}

static inline bool may_run(const struct client *client) {
    return !client->is_dying && !client->session.close_after_reply &&
           client->session.block == SESSION_NOT_BLOCKED && !client->is_put_aside &&
           LIKELY(client->session.long_reply == NULL);
}

/* A replica's link carries the stream: a reply in it would be taken for a part of that. */
static void close_talking_replica(struct client *client) {
    char name[96];
    command_full_name(client->session.command, name, sizeof(name));
    log_warning("Replica generated a reply to command '%s', disconnecting it: %.*s", name,
                (int)(client->out.len < 128 ? client->out.len : 128),
                (const char *)client->out.data);
    client_kill(client);
}

/* Parses and looks up what begins at `at`, up to LOOK_AHEAD commands; returns how many, 0 when the
 * first one is not complete or invalid, as *out_result says then. */
static uint32_t look_ahead(struct client *client, struct bytes input, size_t at,
                           const struct request_limits *limits, enum request_result *out_result) {
    struct worker *worker = client->worker;
    struct session *session = &client->session;
    uint32_t count = 0;
    client->in_need = 0;
    while (count < LOOK_AHEAD && at < input.len) {
        struct request *request = &worker->requests[count];
        size_t consumed = 0;
        size_t need = 0;
        *out_result = request_parse(request, bytes_from(input, at), limits, &consumed, &need);
        if (*out_result != REQUEST_COMPLETE) {
            if (count == 0 && *out_result == REQUEST_INCOMPLETE) client->in_need = need;
            break;
        }
        worker->prepared[count].has_key = false;
        if (request->argc > 0)
            dispatch_prepare(worker->dispatch, session, request->argv, request->argc,
                             &worker->prepared[count]);
        at += consumed;
        worker->request_ends[count++] = at;
        // A stranger's next words are read by other rules once its first ones were believed.
        if (UNLIKELY(session->access == SESSION_ACCESS_NONE)) break;
        // The wait for memory is little of what a long one costs, and its words take much.
        if (UNLIKELY(request->argc > LONG_REQUEST)) break;
    }
    if (count > 1) dispatch_prefetch(worker->dispatch, session, worker->prepared, count);
    return count;
}

/* Runs the request that was looked up as the index-th. False: it was put aside, to be run again. */
static bool run_request(struct client *client, uint32_t index) {
    struct worker *worker = client->worker;
    struct session *session = &client->session;
    const struct request *request = &worker->requests[index];
    if (request->argc > 0) {
        before_command(session);
        enum dispatch_result outcome = dispatch_run_prepared(
            worker->dispatch, session, &worker->prepared[index], request->argv, request->argc);
        if (UNLIKELY(outcome == DISPATCH_PAUSED)) {
            client->is_put_aside = true;
            return false;
        }
        after_command(session);
        if (UNLIKELY(session->kind == SESSION_REPLICA) && client->out.len > 0)
            close_talking_replica(client);
        if (UNLIKELY(outcome == DISPATCH_BLOCKED)) atomic_fetch_add(&worker->blocked_count, 1);
    }
    if (UNLIKELY(session->close_now)) client_kill(client);
    return true;
}

/* Somebody wants everything parked. More commands of the client follow. */
static void rest(struct client *client) {
    client->is_resting = true;
    turn_yield(&client->worker->turn);
    client->is_resting = false;
}

static struct request_limits limits_of(const struct client *client) {
    return (struct request_limits){client->worker->network->types->proto_max_bulk_len, 1024 * 1024,
                                   client->session.access != SESSION_ACCESS_NONE};
}

/* Runs the complete commands in `input`; returns how many bytes they took. */
static size_t process(struct client *client, struct bytes input) {
    struct worker *worker = client->worker;
    struct session *session = &client->session;
    const struct network_options *options = worker->network->options;
    const struct request_limits limits = limits_of(client);
    size_t at = 0;
    give_output_buffer(client);
    dispatch_batch_begin(worker->dispatch);
    session->active_ms = dispatch_batch_now_ms(worker->dispatch);
    while (at < input.len && may_run(client)) {
        enum request_result result = REQUEST_COMPLETE;
        uint32_t count = look_ahead(client, input, at, &limits, &result);
        for (uint32_t i = 0; i < count && may_run(client); i++) {
            if (!run_request(client, i)) break;
            at = worker->request_ends[i];
            if (at < input.len && UNLIKELY(turn_should_yield(&worker->turn))) rest(client);
        }
        if (count > 0) continue;
        if (result == REQUEST_INVALID) {
            reject_protocol(client, worker->requests[0].error);
            at = input.len;
        }
        break;
    }
    if (client->is_dying) return input.len;
    if (client->out.len > 0 || session->close_after_reply) {
        client_want_write(client);
        if (UNLIKELY(client->out.len > options->output_limits[0].soft_bytes &&
                     is_over_output_limit(client)))
            close_over_output_limit(client);
    } else if (client->out.cap > 0) {
        return_output_buffer(client);
    }
    return at;
}

/* Whether the bytes so far are worth another look. */
static void process_own_buffer(struct client *client) {
    if (client->in.len == 0 || client->in.len < client->in_need || !may_run(client)) return;
    size_t used = process(client, buffer_view(&client->in));
    if (client->is_dying) return;
    buffer_consume(&client->in, used);
    if (client->in.len == 0) return_buffer(client->worker, &client->in);
}

static void close_over_query_limit(struct client *client) {
    log_warning("Closing client id=%llu addr=%s: its query buffer passed client-query-buffer-limit",
                (unsigned long long)client->session.id, client->session.peer);
    client->worker->stats.query_limit_closed++;
    client_kill(client);
}

/* Reads what there is into the client's own buffer. False: nothing came, or it is dying. */
static bool receive_into_own(struct client *client) {
    size_t missing = client->in_need > client->in.len ? client->in_need - client->in.len : 0;
    // The need is the client's word: room grows with what really arrives.
    if (missing > client->in.len + READ_BUFFER) missing = client->in.len + READ_BUFFER;
    size_t room = missing + READ_AHEAD;
    uint8_t *at = buffer_reserve(&client->in, room);
    ssize_t got = recv(client->fd, at, room, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (got <= 0) {
        client_kill(client);
        return false;
    }
    client->in.len += (size_t)got;
    client->input_bytes += (uint64_t)got;
    loop_note_read(client->worker->loop, &client->window);
    client->worker->stats.reads++;
    client->worker->stats.input_bytes += (uint64_t)got;
    if (client->in.len > client->worker->stats.largest_input)
        client->worker->stats.largest_input = client->in.len;
    if (client->in.len > client->worker->network->options->query_buffer_limit) {
        close_over_query_limit(client);
        return false;
    }
    return true;
}

static void read_into_own(struct client *client) {
    if (!receive_into_own(client)) return;
    loop_run_posted(client->worker->loop);
    if (!client->is_dying) process_own_buffer(client);
}

/* Reads into the worker's buffer, behind what the client has from before when that is little, and
 * runs what is complete. */
static void read_and_run(struct client *client) {
    struct worker *worker = client->worker;
    size_t kept = client->in.len;
    if (client->is_put_aside || client->session.block != SESSION_NOT_BLOCKED ||
        kept > READ_BUFFER / 2 || client->in_need > READ_BUFFER) {
        read_into_own(client);
        return;
    }
    ssize_t got = recv(client->fd, worker->read_buffer + kept, READ_BUFFER - kept, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        client_kill(client);
        return;
    }
    client->input_bytes += (uint64_t)got;
    loop_note_read(worker->loop, &client->window);
    worker->stats.reads++;
    worker->stats.input_bytes += (uint64_t)got;
    // What others posted before these bytes were sent must be seen by the commands in them.
    loop_run_posted(worker->loop);
    if (client->is_dying) return;
    struct bytes input = bytes_of(worker->read_buffer, kept + (size_t)got);
    if (!may_run(client) || client->in.len != kept || input.len < client->in_need) {
        keep_input(client, bytes_from(input, kept));
        process_own_buffer(client);
        return;
    }
    if (kept > 0) {
        memcpy(worker->read_buffer, client->in.data, kept);
        return_buffer(worker, &client->in);
    }
    size_t used = process(client, input);
    if (!client->is_dying && used < input.len) keep_input(client, bytes_from(input, used));
}

static void on_readable(struct ev_loop *ev, ev_io *watcher, int events) {
    (void)ev;
    (void)events;
    struct client *client = watcher->data;
    client->is_in_work = true;
    read_and_run(client);
    client->is_in_work = false;
    client_note_memory(client);
    if (UNLIKELY(turn_should_yield(&client->worker->turn))) turn_yield(&client->worker->turn);
}

void client_resume(struct client *client) {
    // It may be resumed by what is run between reading from it and running that.
    bool was_in_work = client->is_in_work;
    if (client->is_dying) return;
    client->is_put_aside = false;
    client->in_need = 0;
    client->is_in_work = true;
    process_own_buffer(client);
    client->is_in_work = was_in_work;
    if (!client->is_dying && client->out.len > 0) client_want_write(client);
}

static void on_block_timer(struct ev_loop *ev, ev_timer *watcher, int events) {
    (void)ev;
    (void)events;
    struct client *client = watcher->data;
    client->on_block_timeout(&client->session, client->block_arg);
}

/* -- while a script runs for long -- */

/* Runs the complete commands in the client's own buffer. */
static void run_busy(struct client *client, struct dispatch_worker *stand_in,
                     struct request *request) {
    struct session *session = &client->session;
    struct bytes input = buffer_view(&client->in);
    size_t at = 0;
    give_output_buffer(client);
    session->active_ms = clock_monotonic_ms();
    while (at < input.len && may_run(client)) {
        const struct request_limits limits = limits_of(client);
        size_t consumed = 0;
        client->in_need = 0;
        enum request_result result =
            request_parse(request, bytes_from(input, at), &limits, &consumed, &client->in_need);
        if (result == REQUEST_INCOMPLETE) break;
        if (result == REQUEST_INVALID) {
            reject_protocol(client, request->error);
            consumed = input.len - at;
        } else if (request->argc > 0) {
            before_command(session);
            dispatch_run_busy(stand_in, session, request->argv, request->argc);
            after_command(session);
            if (session->close_now) client_kill(client);
        }
        at += consumed;
    }
    buffer_consume(&client->in, at);
    if (client->in.len == 0) return_buffer(client->worker, &client->in);
    if (!client->is_dying && is_over_output_limit(client)) close_over_output_limit(client);
}

/* False: something is left to be written. */
static bool flush_busy(struct client *client) {
    if (!client->is_dying && (client->out.len > 0 || client->session.close_after_reply))
        client_flush(client);
    // What is dying is closed at the end of its worker's turn, which is far away.
    if (client->is_dying) shutdown(client->fd, SHUT_RDWR);
    return client->is_dying || client->out.len == 0;
}

bool client_serve_busy(struct client *client, struct dispatch_worker *stand_in,
                       struct request *request) {
    if (client->is_dying || client->session.kind != SESSION_NORMAL) return true;
    if (client->is_in_work) return !client->is_resting || flush_busy(client);
    bool is_flushed = flush_busy(client);
    while (is_flushed && may_run(client) && receive_into_own(client)) {
        run_busy(client, stand_in, request);
        is_flushed = flush_busy(client);
    }
    return flush_busy(client);
}

bool client_has_input(const struct client *client) {
    return client->in.len > 0 && !client->is_in_work && !client->is_dying;
}

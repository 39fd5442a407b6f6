/* Workers and their clients: sockets, buffers, limits.
 *
 * A client belongs to one worker for its whole life, and only that worker's thread touches it;
 * others reach it by its id through the worker's mailbox, or while everything is parked.
 */
#pragma once

#include <stdint.h>

#include "server/command/dispatch.h"
#include "server/config/option.h"
#include "server/net/loop.h"

struct network;

/* What a client may leave unread: at most hard_bytes, and no more than soft_bytes for soft_seconds.
 */
struct output_limit {
    uint64_t hard_bytes;
    uint64_t soft_bytes;
    uint64_t soft_seconds;
};

/* Options of this module, registered by main. */
struct network_options {
    uint64_t worker_threads;
    uint64_t port;
    char *bind;        /* Addresses, blank separated. */
    char *bind_source; /* bind-source-addr */
    char *unix_socket;
    uint64_t unix_socket_perm;
    uint64_t backlog; /* tcp-backlog */
    uint64_t max_clients;
    uint64_t timeout_s;
    uint64_t keepalive_s;
    bool protected_mode;
    uint64_t query_buffer_limit;
    int64_t max_memory_clients; /* maxmemory-clients: bytes; negative: percent of maxmemory. */
    uint64_t tracking_max_keys; /* tracking-table-max-keys; 0: no limit. */
    struct output_limit output_limits[3]; /* normal, replica, pubsub */
};
extern const struct option network_option_rows[];
extern const uint32_t network_option_count;

struct network *network_create(struct network_options *options, struct dispatcher *dispatcher,
                               const struct data_type_options *types);

/* Opens the listening sockets. False: `error` (cap bytes) says which address and why. */
bool network_listen(struct network *network, char *error, size_t cap);

/* Listens to what the options say now, CONFIG SET having changed them; sockets that stay are left
 * alone. False: it can't be (logged), and those of before are there again. Everything parked. */
bool network_listen_anew(struct network *network);

/* maxmemory-clients, or maxmemory of which it may be a part, has changed: also at the start.
 * Everything parked. */
void network_limit_client_memory(struct network *network);

/* Starts the workers' threads. */
void network_start(struct network *network);
/* Ends them: what is queued for clients gets a last chance of `grace_ms`. Not from a worker. */
void network_stop(struct network *network, uint64_t grace_ms);
void network_destroy(struct network *network);

extern const struct command connection_commands[]; /* CLIENT, HELLO, AUTH, PING, ... */

uint32_t network_worker_count(const struct network *network);
struct loop *network_loop(struct network *network, uint32_t worker);
struct dispatch_worker *network_dispatch_worker(struct network *network, uint32_t worker);
/* The worker that a session belongs to. */
uint32_t network_worker_of(const struct network *network, uint64_t session_id);

/* -- other threads' clients -- */

/* Any thread: runs fn(session, arg) on the client's worker, or fn(NULL, arg) when it is gone. */
void network_post(struct network *network, uint64_t session_id,
                  void (*fn)(struct session *session, void *arg), void *arg);

/* On the session's worker: ends its blocked state (the reply has been written to it before) and
 * goes on with what it sent meanwhile. */
void network_unblock(struct network *network, struct session *session);

/* On the session's worker: calls fn(session, arg) after `after_ms` unless the session was unblocked
 * or closed before. One at a time. UINT64_MAX: never by itself, only for CLIENT UNBLOCK. */
void network_block_timeout(struct network *network, struct session *session, uint64_t after_ms,
                           void (*fn)(struct session *session, void *arg), void *arg);

/* On the session's worker: closes the connection after what is queued was sent, or at once. */
void network_close(struct network *network, struct session *session, bool at_once);

/* Everything parked: closes the connection of any worker's client. That of `me`, whose command
 * runs, is closed when its reply is out. */
void network_kill(struct network *network, struct session *session, const struct session *me);
/* On the session's worker or with everything parked: its line of CLIENT LIST, without its end. */
void network_describe(struct network *network, struct session *session, struct buffer *out);

/* Everything parked: calls fn for each client; false ends the walk. */
void network_each(struct network *network, bool (*fn)(void *arg, struct session *session),
                  void *arg);
struct session *network_find(struct network *network, uint64_t session_id);

/* Any thread: all clients whose commands were put aside by a pause try again. */
void network_retry_paused(struct network *network);

/* -- messages -- */

/* Before the workers start: whose users its clients are. */
void network_set_acl(struct network *network, struct acl *acl);
/* Before the workers start: whose subscriptions end with a connection. */
void network_set_pubsub(struct network *network, struct pubsub *pubsub);
/* True on the thread of this worker. */
bool network_is_worker(const struct network *network, uint32_t worker);
/* Any thread: runs fn(arg) on the worker. */
void network_post_worker(struct network *network, uint32_t worker, void (*fn)(void *arg),
                         void *arg);
/* On the session's worker: bytes were written to its reply outside of a command of its own. */
void network_pushed(struct network *network, struct session *session);

/* -- a script that runs for long: docs/adr/0012 -- */

/* With everything parked by the caller, which may be any thread: looks at all sockets once, accepts
 * connections, and lets clients run what may be run meanwhile (dispatch_run_busy). */
void network_serve_busy(struct network *network);
/* Everybody goes on with what came meanwhile. Everything is still parked. */
void network_end_busy(struct network *network);

/* -- the gate: replies that wait for the disk -- */

/* Before the workers start: called by each worker before it writes to its clients. */
void network_before_replies(struct network *network, void (*fn)(void *state), void *state);

/* Any thread: replies of sessions whose write_position lies beyond `position` are kept back until
 * it has moved on; UINT64_MAX, as at first, keeps none back. What a client is told later waits
 * behind them; other clients' replies don't. */
void network_set_gate(struct network *network, uint64_t position);

/* -- feeds: replicas -- */

/* A client that is fed from elsewhere: whenever its socket takes bytes and no reply is queued, the
 * worker asks the feed for more. Runs on the client's worker. */
struct client_feed {
    struct bytes (*peek)(void *state);          /* Empty: nothing at the moment. */
    void (*advance)(void *state, size_t count); /* So many bytes were written. */
    void (*closed)(void *state);                /* The client is gone. */
};
void network_set_feed(struct network *network, struct session *session,
                      const struct client_feed *feed, void *state);
void *network_feed_state(const struct session *session); /* NULL when it has none. */

/* Any thread: there may be more to feed to this client. */
void network_kick(struct network *network, uint64_t session_id);

/* -- a stream that is not a client's -- */

/* Sessions made by others (the link to a primary) count as clients in CLIENT LIST and get an id.
 * CLIENT KILL sets close_now; whoever made the session looks at that. On worker 0. */
void network_register_session(struct network *network, struct session *session);
void network_unregister_session(struct network *network, struct session *session);

/* -- figures -- */

struct network_stats {
    uint64_t connected_clients;
    uint64_t blocked_clients;
    uint64_t connections_received;
    uint64_t connections_rejected;
    uint64_t input_bytes;
    uint64_t output_bytes;
    uint64_t largest_input_buffer;
    uint64_t largest_output_buffer;
    uint64_t query_limit_closed;
    uint64_t output_limit_closed;
    uint64_t evicted_clients;
    uint64_t reads;
    uint64_t writes;
    uint64_t client_memory_bytes;
};
void network_stats_read(struct network *network, struct network_stats *out);
void network_reset_stats(struct network *network);

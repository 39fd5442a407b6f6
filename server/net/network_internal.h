/* Workers and clients as the files of this folder see them. */
#pragma once

#include <stdatomic.h>

#include <ev.h>

#include "server/base/buffer.h"
#include "server/net/network.h"
#include "server/resp/request.h"

enum {
    READ_BUFFER = 65536, /* What a client may deliver in a turn. */
    LOOK_AHEAD = 16,     /* Commands that are looked up before the first of them runs. */
    SPARE_BUFFERS = 128, /* Buffers of clients kept for the next turn. */
    SPARE_BUFFER_MAX = 65536,
    ID_BUCKETS = 1024,
    WORKER_MAX = 64,
    BIND_MAX = 16, /* Addresses to listen on. */
};

/* An address to listen on. */
struct endpoint {
    char address[256]; /* A word of `bind`. */
    uint16_t port;
    bool is_optional; /* Forgiven where the machine lacks the address. */
};

struct accept_socket {
    ev_io watcher;
    int fd;
    bool is_unix;
    struct network *network;
    struct accept_socket *next;
    struct endpoint endpoint;
};

struct worker;

struct client {
    struct session session; /* First, so that a session of the network is its client. */
    struct worker *worker;
    int fd;
    ev_io reader;
    ev_io writer;
    struct buffer in; /* An incomplete command, or commands behind one that waits. */
    size_t in_need;   /* Bytes without which parsing again makes no sense. */
    struct buffer out;
    size_t out_sent;
    size_t gate_end;    /* Up to there the output waits for gate_need; 0: nothing waits. */
    uint64_t gate_need; /* A log position. */
    bool is_gated;      /* In the worker's list of clients that wait at the gate. */
    struct client *next_gated;
    uint32_t window;        /* When it was read from, see loop_note_read. */
    bool is_pending;        /* In the worker's list of clients with output. */
    bool is_put_aside;      /* By a pause. */
    bool is_dying;          /* To be freed at the end of the turn. */
    bool is_in_work;        /* What it has sent is being run, further up the stack of its worker, */
    bool is_resting;        /* which is parked between two commands of it. */
    uint64_t soft_since_ms; /* When the soft output limit was passed; 0 = it is not. */
    struct client *next_pending;
    struct client *next;
    struct client **link;
    struct client *next_same_bucket;
    const struct client_feed *feed;
    void *feed_state;
    ev_timer block_timer;
    void (*on_block_timeout)(struct session *session, void *arg);
    void *block_arg;
    uint64_t input_bytes;
    uint64_t output_bytes;
    uint64_t counted_bytes; /* In its worker's sums. */
    bool is_counted_evictable;
};

/* Memory of a worker's clients, while there is a limit (client_memory.c). */
struct client_sums {
    _Atomic uint64_t bytes;
    _Atomic uint64_t evictable_bytes; /* Without those of CLIENT NO-EVICT. */
};

struct worker_stats {
    uint64_t input_bytes;
    uint64_t output_bytes;
    uint64_t reads;
    uint64_t writes;
    uint64_t connections;
    uint64_t query_limit_closed;
    uint64_t output_limit_closed;
    uint64_t evicted;
    uint64_t largest_input;
    uint64_t largest_output;
};

struct worker {
    struct network *network;
    uint32_t index;
    struct turn turn;
    struct loop *loop;
    struct dispatch_worker *dispatch;
    struct request requests[LOOK_AHEAD];
    struct prepared_command prepared[LOOK_AHEAD];
    size_t request_ends[LOOK_AHEAD]; /* Where each ends in the input. */
    uint8_t *read_buffer;
    struct client *clients;
    struct client *pending;
    struct client *dying;
    struct client *gated;
    _Atomic bool has_gated; /* Wants to be told when the gate moves. */
    struct client *by_id[ID_BUCKETS];
    struct buffer spares[SPARE_BUFFERS];
    uint32_t spare_count;
    struct loop_timer *cron;
    struct worker_stats stats;
    struct client_sums sums;
    _Atomic uint64_t blocked_count;
} CACHE_ALIGNED;

struct network {
    struct network_options *options;
    struct dispatcher *dispatcher;
    struct acl *acl;
    struct pubsub *pubsub;
    const struct data_type_options *types;
    struct worker *workers;
    uint32_t worker_count;
    uint64_t client_memory_limit; /* 0: none. Changed while everything is parked. */
    _Atomic uint64_t gate;        /* What has a need up to here may be sent. */
    void (*before_replies)(void *state);
    void *before_replies_state;
    struct accept_socket *listeners; /* Everything parked, or before the workers start. */
    uint64_t last_id;                /* Worker 0 alone. */
    _Atomic uint64_t client_count;
    _Atomic uint64_t rejected_count;
    struct session *guests[8]; /* Sessions that are no clients: the link to a primary. */
    _Atomic uint64_t next_guest_id;
    pthread_mutex_t adoptions_lock;   /* A leaf, for: */
    struct adoption *adoptions;       /* Connections that their workers do not know yet. */
    struct busy *busy;                /* While a script runs for long, or NULL (busy.c). */
    struct dispatch_worker *stand_in; /* Its; made when it is first needed. */
};

static inline struct client *client_of(struct session *session) {
    return (struct client *)session;
}

void listeners_close(struct network *network); /* The workers have ended. */

struct client *worker_find(struct worker *worker, uint64_t id);

/* Takes over a connected socket. Worker's thread. */
struct client *client_create_take(struct worker *worker, int fd, uint64_t id, bool is_unix);
/* Closes at the end of the turn, or at once when nothing of it is running. */
void client_kill(struct client *client);
void client_flush_pending(struct worker *worker);
void client_free_dying(struct worker *worker);
/* The gate has moved: what waits at it is looked at again. */
void client_recheck_gated(struct worker *worker);
/* Puts the client into the list of those with output. */
void client_want_write(struct client *client);
/* Posts client_resume to its worker. */
void network_resume(struct network *network, struct session *session);
/* Goes on with what the client has sent. */
void client_resume(struct client *client);
/* Something was queued outside of a command of its own: written at the end of the turn. */
void client_pushed(struct client *client);
/* While a script runs for long: writes what is to be written, then reads what the client has sent,
 * runs it by dispatch_run_busy and answers. False: not all could be written; call it again.
 * Everything is parked, and the log is written. */
bool client_serve_busy(struct client *client, struct dispatch_worker *stand_in,
                       struct request *request);
void client_flush(struct client *client);
/* True when complete commands may lie in its buffer. */
bool client_has_input(const struct client *client);
/* Accepts on a listening socket, at most some connections. With `created` each client is made at
 * once and handed to it: everything is parked. NULL: its worker makes it. */
void network_accept(struct accept_socket *listener,
                    void (*created)(void *arg, struct client *client), void *arg);
/* Everything parked: connections that are on their way to their workers arrive. */
void network_adopt_all(struct network *network);
/* Once a second: idle clients, soft limits. */
void client_check_limits(struct worker *worker);

/* -- client_memory.c -- */

size_t client_memory(const struct client *client);
/* The client was read from or written to. */
void client_note_memory(struct client *client);
/* It is going. */
void client_forget_memory(struct client *client);
/* At the end of a turn: closes clients while all together take more than they may. */
void client_evict_heaviest(struct worker *worker);

/* What the files of this folder share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "server/base/rng.h"
#include "server/journal/journal.h"
#include "server/net/link.h"
#include "server/replication/replication.h"
#include "server/resp/request.h"

enum {
    REPLICATION_ID_LEN = 40,
    TICK_MS = 100,
    SECOND_MS = 1000,
    NO_DATABASE = -1,
};

/* -- replicas, as a primary (or a replica with replicas of its own) sees them -- */

enum replica_state {
    REPLICA_GREETING,  /* Has sent REPLCONF, but not PSYNC. */
    REPLICA_WAITING,   /* For a snapshot to begin. */
    REPLICA_RECEIVING, /* The snapshot. */
    REPLICA_ONLINE,    /* Reads the journal. */
    REPLICA_DROPPED,   /* Its link is being closed: it gets nothing more. */
};

/* One replica link. Its worker owns it; the list, and the words that others read, are under the
 * replication's lock. */
struct replica {
    struct replication *replication;
    struct replica *next;
    struct session *session;
    uint64_t session_id;
    enum replica_state state;
    char ip[256]; /* Announced, or the peer's. */
    char announced_ip[256];
    uint16_t port;
    bool has_eof;
    bool has_psync2;
    bool is_rdb_only;
    bool has_filter;      /* It wants no keys, */
    bool wants_libraries; /* but perhaps these. */
    bool is_plain;        /* SYNC: no offsets, no acknowledgements. */
    bool holds_stream;    /* The stream opens with the acknowledgement of the snapshot. */
    bool is_asking_again; /* An ACK was asked for. */
    uint64_t waiting_since_ms;
    uint64_t ack_ms; /* Monotonic: last sign of life. */
    uint64_t ack_offset;
    uint64_t durable_offset; /* On its disk, as it says. */
    uint64_t begin_offset;   /* Where its snapshot stands. */
    uint64_t soft_since_ms;
    uint64_t progress_ms; /* When bytes of the snapshot were taken last. */
    struct journal_reader *reader;

    /* What it gets now: lines first, then the snapshot, then the journal. */
    struct buffer head;
    size_t head_sent;
    struct transfer *transfer;
    struct transfer_chunk *chunk; /* The one to read next; NULL: none yet. */
    size_t chunk_sent;
    int fed_from; /* What the last peek gave: enum feed_source. */
    int file;     /* Of a snapshot sent from the disk; -1 none. */
    uint64_t file_left;
    struct buffer file_bytes;
    size_t file_sent;
};

/* -- snapshots for replicas -- */

/* A run of snapshot bytes, shared by the replicas of a round. */
struct transfer_chunk {
    struct transfer_chunk *next;
    uint32_t pins; /* Replicas that have not read it whole. */
    size_t len;
    uint8_t bytes[];
};

/* One pass whose bytes go to the links of several replicas; the slowest sets the pace. */
struct transfer {
    struct replication *replication;
    pthread_mutex_t lock; /* A leaf. */
    pthread_cond_t room;
    struct transfer_chunk *first;
    struct transfer_chunk *last;
    size_t queued_bytes;
    uint32_t replica_count;
    uint32_t refs; /* Replicas, and the pass. */
    bool is_done;
    char mark[REPLICATION_ID_LEN + 1];
};

/* -- WAIT -- */

struct waiter {
    struct waiter *next;
    uint64_t session_id;
    uint64_t offset;
    uint64_t wanted;
    bool is_for_logs;      /* WAITAOF: replicas must have it on the disk, */
    uint64_t log_position; /* and we must, up to here; 0: no matter. */
};

/* -- the primary, as a replica sees it -- */

enum link_state {
    LINK_NONE,
    LINK_DUE, /* To be connected at the next tick. */
    LINK_CONNECTING,
    LINK_GREETING,  /* Handshake. */
    LINK_RECEIVING, /* The snapshot. */
    LINK_LOADING,
    LINK_CONNECTED,
};

enum greeting_step { GREET_PONG, GREET_AUTH, GREET_INFORM, GREET_PSYNC };

struct loader;

struct primary_link {
    uint64_t generation;      /* Of the target: rises with each change of role or address. */
    uint64_t link_generation; /* The target that `link` was made for. */
    struct link *link;
    _Atomic int state;       /* enum link_state */
    enum greeting_step step; /* What the next line answers. */
    uint32_t informs_left;   /* Replies to REPLCONF still to come. */
    bool has_credentials;
    bool asked_partial;
    bool is_plain;    /* After SYNC: no offsets. */
    bool is_failover; /* PSYNC … FAILOVER. */

    /* The snapshot that comes in. */
    char id[REPLICATION_ID_LEN + 1];
    uint64_t offset;
    bool has_header;
    bool has_mark;
    char mark[REPLICATION_ID_LEN];
    uint8_t tail[REPLICATION_ID_LEN]; /* The last bytes: the mark, perhaps. */
    size_t tail_len;
    uint64_t total_bytes; /* 0: not known. */
    uint64_t received_bytes;
    uint64_t progress_ms;
    struct loader *loader;

    /* The stream. */
    struct session session;
    struct buffer out;
    struct request request;
    struct bytes batch; /* What is being applied, */
    size_t unit_at;     /* where its unit in work begins (a command, or MULTI to EXEC), */
    size_t apply_at;    /* and where the next command of that does. */
    size_t need_bytes;  /* Less than so many are no command. */
    bool is_applying;

    uint64_t tried_ms;
    uint64_t acked_ms;
    _Atomic uint64_t heard_ms;
    _Atomic uint64_t lost_ms; /* 0: was never up. */
    uint64_t input_bytes;
};

enum failover_state { FAILOVER_NONE, FAILOVER_WAITING, FAILOVER_HANDING_OVER };

struct failover {
    _Atomic int state; /* enum failover_state */
    bool has_target;
    bool is_forced;
    char host[256];
    uint16_t port;
    uint64_t deadline_ms; /* 0: none. */
};

struct replication_stats {
    _Atomic uint64_t sync_full;
    _Atomic uint64_t sync_partial_ok;
    _Atomic uint64_t sync_partial_err;
    _Atomic uint64_t input_bytes;
    _Atomic uint64_t output_bytes;
};

/* The dump file that was last made for replicas; with number 0 there is none. */
struct sync_file {
    int folder;
    char *name;
    uint64_t number;
};

struct replication {
    struct replication_create_options made_of;
    struct replication_options *options;
    struct journal *journal;
    struct network *network;
    struct loop *loop;              /* Worker 0's. */
    struct dispatch_worker *worker; /* Worker 0's. */
    struct loop_timer *timer;
    uint64_t ticks;
    struct rng rng;

    /* The history; changed while everything is parked. */
    char id[REPLICATION_ID_LEN + 1];
    char second_id[REPLICATION_ID_LEN + 1];
    int64_t second_offset;
    bool has_history;    /* There is something to continue from. */
    int stream_database; /* Selected in a stream that was cut; -1 none. */

    _Atomic bool is_replica;
    struct replication_target target; /* Followed at present. Everything parked. */
    struct primary_link primary;
    struct failover failover;

    pthread_mutex_t lock; /* The list of replicas and waiters. A leaf, but behind transfer's. */
    struct replica *replicas;
    struct waiter *waiters;
    _Atomic uint32_t online_count;
    uint64_t asked_offset; /* GETACK was put into the stream behind this offset; + 1. */
    uint64_t pinged_ms;
    uint64_t last_replica_ms; /* When there was a replica. */
    bool is_saving_for_replicas;
    struct sync_file sync_file; /* Everything parked. */
    struct replication_stats stats;
    struct loader *loaders; /* Whose threads have not been seen to end. Worker 0. */
};

/* -- replication.c -- */

/* Whether dump files that replication made may stay: an option, and not where there are save points
 * or an append-only log. Everything parked. */
bool replication_removes_sync_files(const struct replication *replication);

void replication_begin_exclusive(struct replication *replication); /* On worker 0. */
void replication_end_exclusive(struct replication *replication);
/* A new history: fresh id, no second one. Everything parked. */
void replication_new_history(struct replication *replication);
/* The old id becomes the second one, valid up to here. Everything parked. */
void replication_branch_history(struct replication *replication, const char *fresh_id);
void replication_set_role(struct replication *replication, bool is_replica);
/* Sets the bits of admission that follow from role, link and options. */
void replication_update_admission(struct replication *replication);

/* -- replica.c: links of replicas -- */

struct replica *replica_of(struct command_context *context); /* Made when there is none. */
struct replica *replica_find(const struct session *session);
/* PSYNC and SYNC. Everything parked. */
void replica_serve_partial(struct replica *replica, struct journal_reader *reader);
void replica_ask_full(struct replica *replica);
void replica_acknowledge(struct replica *replica, uint64_t offset, uint64_t durable_offset);
/* Closes all replica links: their history is no longer ours. Everything parked. */
void replicas_drop_all(struct replication *replication, const char *why);
/* Online replicas that have acknowledged `offset`. */
uint32_t replicas_count_acked(struct replication *replication, uint64_t offset);
/* Those that have it on their disks. */
uint32_t replicas_count_durable(struct replication *replication, uint64_t offset);
uint32_t replicas_count_good(struct replication *replication);
uint32_t replicas_count(struct replication *replication);
void replicas_tick(struct replication *replication); /* Once a second, worker 0. */
void replicas_wake(void *replication);               /* The journal's wake. */
void replica_close(struct replica *replica);         /* Any thread: soon. */
/* Puts REPLCONF GETACK into the stream unless one that covers `offset` is there. */
void replicas_ask_acknowledgement(struct replication *replication, uint64_t offset);
const char *replica_state_text(const struct replica *replica);
const char *replica_name(const struct replica *replica, char *out, size_t cap);
/* Closes the journal reader of a replica and what it gets the snapshot from. */
void replica_release(struct replica *replica);

/* -- full_sync.c: snapshots for replicas -- */

/* Begins a snapshot for the replicas that wait, when it is time. Everything parked. */
void full_sync_begin_if_due(struct replication *replication);
/* True when replicas wait and the time has come, by an unlocked look. */
bool full_sync_is_due(struct replication *replication);
/* Removes the dump file that was made for replicas, if it is not to stay. Everything parked. */
void full_sync_remove_file(struct replication *replication);
void full_sync_deinit(struct replication *replication);
bool full_sync_has_file_to_remove(const struct replication *replication); /* An unlocked look. */
/* The next bytes of the snapshot for this replica; empty: none at the moment. Its worker. */
struct bytes transfer_peek(struct replica *replica);
void transfer_advance(struct replica *replica, size_t count);
void transfer_leave(struct replica *replica);
struct bytes file_peek(struct replica *replica);
void file_advance(struct replica *replica, size_t count);

/* -- primary_link.c, full_sync_receive.c: the connection to the primary, on worker 0 -- */

void primary_link_init(struct replication *replication);
void primary_link_deinit(struct replication *replication);
void primary_link_tick(struct replication *replication);
/* Drops the link; the history stays, to be continued, unless `forgets_history`. Worker 0. */
void primary_link_drop(struct replication *replication, bool forgets_history);
void primary_link_set_state(struct replication *replication, enum link_state state);
void primary_link_acknowledge(struct replication *replication);
/* The target has changed: worker 0 looks after it soon. Everything parked. */
void primary_link_retarget(struct replication *replication);
/* Applies what has been received whole and is not applied. Everything parked. */
void primary_link_finish_batch(struct replication *replication);
/* The stream begins at `offset` with this database selected. Worker 0, everything parked. */
void primary_link_begin_stream(struct replication *replication, int database);

/* Begins to receive a snapshot; primary.id and primary.offset say what it is of. Worker 0. */
void receive_begin(struct replication *replication);
/* Takes bytes of the snapshot; returns how many were used. */
size_t receive_bytes(struct replication *replication, struct bytes bytes);
/* Gives up what is being received or loaded. Worker 0. */
void receive_abort(struct replication *replication);
/* No worker runs any more: waits for the threads that load. */
void receive_deinit(struct replication *replication);

/* -- wait.c, failover.c, info -- */

/* An acknowledgement came: answers the waiters that have enough of them. */
void waiters_check(struct replication *replication);
/* Once a second: forgets waiters whose clients are gone. */
void waiters_tick(struct replication *replication);
void failover_tick(struct replication *replication);
/* The answer to PSYNC … FAILOVER has come. Worker 0. */
void failover_answered(struct replication *replication, bool is_accepted);
void failover_end(struct replication *replication);

/* -- commands, by file -- */

void replication_command_replicaof(struct command_context *context);
void replication_command_role(struct command_context *context);
void replication_command_psync(struct command_context *context);
void replication_command_replconf(struct command_context *context);
void replication_command_wait(struct command_context *context);
void replication_command_waitaof(struct command_context *context);
void replication_command_failover(struct command_context *context);

/* What commands know and change of the one who sent them.
 *
 * A session is embedded in a client of net/, in the link to a primary, in anything that runs
 * commands. Its worker's thread owns it; others touch it only while everything is parked, but for
 * the atomic words that say so.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "server/command/command.h"
#include "server/resp/reply.h"

struct acl_user;
struct transaction;
struct session_watch;
struct key_hold;
struct key_waiter;
struct subscriptions;
struct session_tracking;
struct long_reply;

enum session_kind {
    SESSION_NORMAL,
    SESSION_REPLICA,  /* A replica's link. */
    SESSION_PRIMARY,  /* Our link to the primary: its commands are applied, never answered. */
    SESSION_LOADER,   /* A file being loaded. */
    SESSION_INTERNAL, /* The server's own doing: never refused, journaled like a client's. */
};

/* What has to be asked before a command of the session runs. */
enum session_access {
    SESSION_ACCESS_NONE,    /* It must authenticate first. */
    SESSION_ACCESS_LIMITED, /* The rules of its user decide (access.h). */
    SESSION_ACCESS_ALL,     /* Nothing: its user may do everything, or it is the server's own. */
};

enum session_block {
    SESSION_NOT_BLOCKED,
    SESSION_BLOCKED_WAIT,     /* WAIT */
    SESSION_BLOCKED_PAUSE,    /* CLIENT PAUSE and everything built like it */
    SESSION_BLOCKED_SHUTDOWN, /* SHUTDOWN that waits for replicas */
    SESSION_BLOCKED_SAVE,     /* SAVE, DEBUG RELOAD, MIGRATE: until a background thread is done */
    SESSION_BLOCKED_KEYS,     /* BLPOP and its like */
};

enum session_reply_mode {
    SESSION_REPLY_ON,
    SESSION_REPLY_OFF,
    SESSION_REPLY_SKIP_NEXT,
    SESSION_REPLY_SKIPPING
};

struct session {
    uint64_t id;
    struct reply reply;
    struct buffer *out; /* What reply writes to. */
    uint32_t db;
    uint8_t kind;       /* enum session_kind */
    uint8_t access;     /* enum session_access */
    uint8_t block;      /* enum session_block */
    uint8_t reply_mode; /* enum session_reply_mode */

    bool is_authenticated; /* Has shown a password, or its user needed none when it came. */
    bool is_readonly;      /* READONLY */
    bool is_asking;        /* ASKING: for the next command */
    bool is_no_evict;
    bool is_no_touch;
    bool is_monitor;
    bool is_unix_socket;
    bool close_after_reply;
    bool close_now;
    _Atomic bool is_dirty; /* A watched key has changed; set by whoever changes it. */

    char *name; /* CLIENT SETNAME; NULL = none. Owned, as the two below. */
    char *lib_name;
    char *lib_version;

    const struct acl_user *user; /* NULL: the server's own session, which may do everything. */

    struct transaction *transaction; /* Between MULTI and EXEC, else NULL. */
    struct session_watch *watches;

    struct subscriptions *subscriptions; /* NULL: never subscribed; see server/pubsub. */
    uint32_t subscribed[3];              /* How many: channels, patterns, shard channels. */
    size_t subscription_bytes;           /* What it holds to know them by. */
    struct session_tracking *tracking;   /* CLIENT TRACKING, see tracking.h; NULL: off. */
    struct key_waiter *waiter;           /* SESSION_BLOCKED_KEYS, see blocking.h. */
    struct long_reply *long_reply;       /* What is left of its last reply, see long_reply.h. */
    const struct key_hold *hold; /* Keys that this session may write though they are held. */

    const struct command *command; /* Running or last. */
    uint64_t created_ms;           /* Monotonic. */
    uint64_t active_ms;            /* Monotonic, last command. */
    /* Log position behind its last write; while replies are gated also behind what it has seen. */
    uint64_t write_position;
    uint64_t write_offset; /* Replication offset behind its last write (WAIT). */
    /* SESSION_PRIMARY: the stream's bytes from the beginning of the unit in work (a command, MULTI
     * to EXEC) to the end of this command. Dispatch journals them when the unit is complete, with
     * its slots locked, and empties them; borrowed from the link for the command. */
    struct bytes stream;
    uint64_t commands_run;
    char peer[64]; /* "127.0.0.1:50000" or "/path:0" */
    char local[64];
};

/* A zeroed session becomes a usable one: database 0, RESP2. `out` outlives it. */
void session_init(struct session *session, uint64_t id, struct buffer *out);

/* The session is the server's own, or that of a peer it has chosen: nothing is asked. */
void session_trust(struct session *session);

/* Whether it listens to anything: in RESP2 it may send little else then. */
static inline bool session_is_subscriber(const struct session *session) {
    return session->subscriptions != NULL &&
           (session->subscribed[0] | session->subscribed[1] | session->subscribed[2]) != 0;
}

/* Frees names, queued commands; watches must be gone (transaction_unwatch needs the slots). */
void session_deinit(struct session *session);

/* Commands that wait for a key: BLPOP, BZMPOP, XREAD and their like.
 *
 * A handler that finds nothing calls context_block; the command is then kept with the keys it waits
 * for, in order of arrival, and run again by whoever changes one of them: after that command (or
 * EXEC) and before its slots are unlocked. If it finds nothing again it keeps its place. What it
 * does is an execution unit of its own in the journal, and its reply goes to the client's worker.
 *
 * Words
 *   waiter  a command that waits. It lies in the queue of each of its keys. Whether it does is
 *           decided with one of its slots locked, so an end by time, by CLIENT UNBLOCK, by death of
 *           the connection and by being served exclude each other.
 *   served  it has answered, and is on its way to its client's worker.
 */
#pragma once

#include "server/command/context.h"

struct key_waiter;
struct dispatch_worker;

struct block_request {
    uint32_t first_key;       /* The keys whose change may let it go on: arguments */
    uint32_t key_count;       /* first_key .. first_key + key_count - 1 of `argv`. */
    int64_t timeout_ms;       /* 0: for as long as it takes. */
    enum record_type type;    /* Values of other types are of no interest, */
    bool wants_loss;          /* unless it also has to know when the key is gone. */
    const struct bytes *argv; /* What to run again; NULL: the command as it was sent. Copied. */
    uint32_t argc;
};

/* Makes the session wait; the handler returns without a reply. False: nothing waits here (in a
 * transaction, in a primary's stream), and the handler answers as if time were over. */
bool context_block(struct command_context *context, const struct block_request *request);

/* A timeout in seconds, fractions allowed, as milliseconds; answers the error when it is none. */
bool context_timeout_seconds(struct command_context *context, uint32_t argument, int64_t *out_ms);
/* The same of an argument that counts milliseconds. */
bool context_timeout_ms(struct command_context *context, uint32_t argument, int64_t *out_ms);

/* -- for dispatch -- */

/* The key has changed, appeared or gone; its slot is locked. */
void blocking_note(struct dispatch_worker *worker, struct slot *slot,
                   const struct keyspace *keyspace, const struct key *key);
/* The same for all keys that somebody waits for. Everything parked. */
void blocking_note_all(struct dispatch_worker *worker);

/* Serves what was noted. With slots locked: waiters all of whose slots are. With none: the rest. */
void blocking_serve_locked(struct dispatch_worker *worker);
void blocking_serve(struct dispatch_worker *worker);

/* -- for whoever ends a wait -- */

/* Takes the waiter of a session out of its queues. False when it was served already and its reply
 * is on the way. On the session's worker with nothing locked, or `is_exclusive`. */
bool blocking_cancel(struct dispatcher *dispatcher, struct session *session, bool is_exclusive);

/* On the session's worker, after blocking_cancel: what clients get when time is over: a null
 * array, whatever the command. */
void blocking_reply_timeout(struct session *session);
void blocking_reply_error(struct session *session, const char *text);

/* Frees what is left of a session's wait (its connection ends): nobody gives it anything any more.
 * On the session's worker with nothing locked, or `is_exclusive`. */
void blocking_forget(struct dispatcher *dispatcher, struct session *session, bool is_exclusive);

/* Everything parked: ends the wait of every waiter that `refuse` (given its context and keys)
 * answers something to. */
void blocking_refuse(struct dispatch_worker *worker,
                     bool (*refuse)(void *arg, struct command_context *context, uint32_t flags,
                                    const struct key *keys, uint32_t key_count),
                     void *arg);

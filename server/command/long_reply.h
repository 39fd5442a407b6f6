/* Replies that read a huge value: written piece by piece, while others are served in between.
 *
 * A handler writes the header of its reply and hands the rest over as a walk. What fits one piece
 * is written at once, and that is all there is to most replies. The rest follows while the client
 * takes what it was sent: its later commands wait, nobody else does, and no more than a piece of
 * the reply is in memory.
 *
 * The reply shows the value as it was when the command ran. A client's write to the key is put
 * aside while the rest is gathered in memory, a piece a turn of the loop; what cannot be put aside
 * (a primary's stream, a script, expiry, eviction, FLUSHALL) gathers the rest on its own time,
 * through the one door that all changes go through (keyspace_before_change). What is gathered
 * counts for the client's output limit.
 */
#pragma once

#include "server/command/context.h"

struct long_reply;

/* A walk over a value. `step` writes the next elements, at least one and about `max_bytes` of them,
 * moves the walk on, and returns true when there are no more. The other fields are its own. */
struct reply_walk {
    bool (*step)(struct reply_walk *walk, const struct record *record, struct reply *reply,
                 size_t max_bytes);
    uint64_t place;
    uint64_t left;
    uint32_t what;
};

/* Writes what the walk yields, now and later. `record` is the value of `key`, in the context's
 * database. At the end of the handler: nothing may be written behind it. Everything is written now
 * in EXEC, in scripts, and for sessions that are no client's. */
void reply_walk_value(struct command_context *context, const struct key *key,
                      const struct record *record, const struct reply_walk *walk);

/* -- for the owner of the session; nothing is locked, the turn is held -- */

/* The session's output was written: appends the next piece. False when that was the last one, and
 * the session has no long reply any more. */
bool long_reply_continue(struct dispatch_worker *worker, struct session *session);

/* Bytes that wait behind what was appended: gathered, or pushed meanwhile. */
size_t long_reply_pending(const struct session *session);

/* The session ends. */
void long_reply_forget(struct session *session);

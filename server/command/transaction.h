/* MULTI, EXEC, DISCARD, WATCH, UNWATCH.
 *
 * WATCH registers the session's dirty word with the key in its slot; a change of the key sets the
 * word (under the slot's lock). EXEC looks at the word, and whether a watched key has expired
 * since, with the slots of all its commands and of the watched keys locked.
 */
#pragma once

#include "server/command/context.h"

extern const struct command transaction_commands[];

/* Dirties the sessions that watch this key. The slot is locked. */
void transaction_touch(struct databases *databases, const struct keyspace *keyspace,
                       const struct key *key);

/* Dirties the sessions that watch a key of this database which exists now or, after an exchange, in
 * `other` (FLUSHDB: NULL; SWAPDB: the other keyspace). Everything parked, before the change. */
void transaction_touch_all(struct databases *databases, unsigned db, const struct keyspace *other);

/* Forgets all watches of a session; locks their slots one at a time. */
void transaction_unwatch(struct databases *databases, struct session *session, bool is_exclusive);

/* Drops queued commands (DISCARD, RESET, end of the connection). */
void transaction_discard(struct session *session);

/* Marks the transaction as failed: EXEC will answer EXECABORT. */
void transaction_fail(struct session *session);

uint32_t transaction_queued(const struct session *session); /* Commands; 0 outside MULTI. */
/* Bytes that its queue holds. */
size_t transaction_bytes(const struct session *session);

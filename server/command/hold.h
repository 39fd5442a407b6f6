/* Keys held still: while a value is on its way to another node, writes to its key wait.
 *
 * A command that would write a held key is put aside like one that meets a pause, and runs once the
 * hold is over. Reads go on. So what arrives at the other node is what is deleted here, and no
 * write is lost in between; whoever holds must let go within a bounded time.
 */
#pragma once

#include "server/command/dispatch.h"

struct key_hold;

/* Holds keys of a database. Their slots are locked. The names are copied. */
struct key_hold *hold_create(struct dispatcher *dispatcher, uint32_t db, const struct key *keys,
                             uint32_t count);

/* Lets go, on any thread. True when it has held somebody up: the caller then sees to it that
 * commands that were put aside are tried again. */
bool hold_release(struct dispatcher *dispatcher, struct key_hold *hold);

/* True when one of these keys is held, other than by `own` (may be NULL). */
bool hold_blocks(struct dispatcher *dispatcher, uint32_t db, const struct key *keys, uint32_t count,
                 const struct key_hold *own);

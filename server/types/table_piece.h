/* A table as a walk of long replies (command/long_reply.h). */
#pragma once

#include "server/command/long_reply.h"
#include "server/structs/table.h"

/* Visits the records from walk->place on until about `max_bytes` were written to `reply`, the
 * `visit`'s argument. True when those were the last ones. A place stays true while the table grows.
 */
bool table_walk_piece(struct reply_walk *walk, const struct table *table,
                      const struct table_hasher *hasher,
                      void (*visit)(void *arg, struct record *record), struct reply *reply,
                      size_t max_bytes);

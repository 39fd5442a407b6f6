/* Streams: entries in the order of their ids, and consumer groups that read them.
 *
 * Entries lie in listpacks of a hundred or so (the RDB format's own), which are the leaves of a
 * counted B+tree by id. A group knows how far it has read and what its consumers have been given
 * and not acknowledged: its pending entries, ordered by id, once in the group and once in their
 * consumer.
 */
#pragma once

#include "server/command/command.h"
#include "server/keyspace/data_type.h"

extern const struct data_type stream_type;
extern const struct command stream_commands[];

/* The types that this build has, and the command rows of everything below types/: what main hands
 * to the keyspace and to the command table. */
#pragma once

#include "server/command/command.h"
#include "server/keyspace/data_type.h"

/* By type code; RECORD_TYPE_COUNT entries, NULL where there is no type. */
extern const struct data_type *const registry_types[RECORD_TYPE_COUNT];

/* Adds the rows of all types and of the generic key commands. */
void registry_add_commands(struct command_table *table);

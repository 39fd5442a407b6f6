/* MIGRATE: keys go to another server.
 *
 * The values are serialised with their slots locked, and their keys held (command/hold.h): reads go
 * on, writes to them wait until the other side has answered. Then what it has taken is deleted here
 * under the same hold, so nobody's write is lost and no key comes back. Only the client that asked
 * waits; its worker serves the others meanwhile, and the connection is an ordinary link of its
 * loop.
 *
 * Source: spec/cluster-bus.md 8.20.
 */
#pragma once

#include "server/command/command.h"
#include "server/command/context.h"
#include "server/net/network.h"

struct migrator;

extern const struct command migrate_commands[]; /* MIGRATE */

struct migrator *migrator_create(struct command_modules *modules,
                                 const struct network_options *network);
/* No worker runs any more. NULL is fine. */
void migrator_destroy(struct migrator *migrator);

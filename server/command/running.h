/* Which command the calling thread runs, for whoever has no argument to find it by: a crash report.
 */
#pragma once

#include "server/command/context.h"

/* NULL between commands. Safe in a signal handler on the thread itself. */
const struct command_context *running_command(void);

/* Notes that the handler of `context` is called now (NULL: it has returned) and returns what was
 * noted before: commands run within EXEC. A store and a load. */
const struct command_context *running_exchange(const struct command_context *context);

/* Commands that work on keys whatever they hold: existence, deadlines, names, databases, walks,
 * serialized values.
 *
 * Values are reached only through `struct data_type`.
 */
#pragma once

#include <stddef.h>

#include "server/command/command.h"
#include "server/config/option.h"

extern const struct command generic_commands[]; /* Ends with COMMAND_END. */

/* What is freed in the background: rows whose members lie in a `struct data_type_options`. */
extern const struct option lazy_free_options[];
extern const size_t lazy_free_option_count;

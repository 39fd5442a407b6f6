/* Which words of a command line nobody shall read in a log: passwords.
 *
 * MONITOR and the slow log show "(redacted)" in their place.
 */
#pragma once

#include "server/command/command.h"

struct config;

/* Whether the word at `index` is one. `config` knows which options hold secrets; NULL: none does.
 * Cost: a few comparisons of words, and only for commands that may carry one. */
bool command_word_is_secret(const struct config *config, const struct command *row,
                            const struct bytes *argv, uint32_t argc, uint32_t index);

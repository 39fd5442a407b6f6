/* The ways to use the tool: one command, commands from standard input, at the terminal. */
#pragma once

#include <stdbool.h>

#include "server/base/compiler.h"
#include "tools/cli/options.h"

/* Runs the command of the command line, repeated as asked. Returns the exit status. */
MUST_USE int run_one_shot(const struct cli_options *options, bool is_terminal);

/* Runs a line of standard input after the other. Returns the exit status. */
MUST_USE int run_lines(const struct cli_options *options, bool is_terminal);

/* A conversation at the terminal. Returns the exit status. */
MUST_USE int run_interactive(const struct cli_options *options);

/* Sleeps, whatever signals come. */
void run_pause(double seconds);

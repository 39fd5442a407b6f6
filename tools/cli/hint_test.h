/* The entry points that tests of the hints use: --test_hint and --test_hint_file. */
#pragma once

#include "server/base/compiler.h"
#include "tools/cli/options.h"

/* Prints the hint for the line. Returns the exit status. */
MUST_USE int hint_test_line(const struct cli_options *options);

/* Checks a file of lines `'<typed line>' '<hint>'`; returns how many are wrong. */
MUST_USE int hint_test_file(const struct cli_options *options);

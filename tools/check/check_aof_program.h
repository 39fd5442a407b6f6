/* dunlin-check-aof connected to the terminal and to the checker of dump files. */
#pragma once

#include <stdbool.h>

/* Runs with a command line as main gets it; returns the exit status. */
int check_aof_program(int argc, char **argv);

/* True when a program that is called by this path is to be the checker: dunlin-, redis- or
 * valkey-check-aof, in any folder. */
bool check_aof_is_called_so(const char *path);

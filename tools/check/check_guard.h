/* Ends a piece of work that faults, instead of the program: what a checker finds in a file must not
 * keep it from saying where. */
#pragma once

#include <stdbool.h>

/* Runs `work`. False: SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGABRT ended it; what it held stays held.
 * One at a time in a process. In sanitized builds a fault ends the program with the sanitizer's
 * report. */
bool check_guard_run(void (*work)(void *arg), void *arg);

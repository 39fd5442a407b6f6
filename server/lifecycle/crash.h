/* The report that the server writes to its log when it is about to die of a fault: which signal and
 * where, registers, stack, the command in work with its client, the last lines of the log, INFO.
 *
 * It stands between CRASH_REPORT_START and CRASH_REPORT_END. Afterwards the signal is raised again
 * with its default action, so a core is dumped and the exit status is right. What is most likely to
 * fail comes last, and what has been written stays: a second fault ends the process at once, and a
 * report that hangs is ended after some seconds. Passwords are left out as in the slow log.
 *
 * The fatal signals are SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT; a failed ASSERT raises the
 * last one. In sanitized builds nothing is installed: the sanitizer has a report of its own.
 */
#pragma once

#include <stdbool.h>

#include "server/base/buffer.h"

struct config;

#define CRASH_REPORT_START "=== DUNLIN CRASH REPORT START: copy from here ==="
#define CRASH_REPORT_END "=== DUNLIN CRASH REPORT END: copy up to here ==="

struct crash_sources {
    const struct config *config; /* Knows which options are secret. */
    void *state;
    /* Appends the `index`-th section of INFO; false: there are no more. */
    bool (*append_info)(void *state, unsigned index, struct buffer *out);
};

/* Says where the report gets what it tells. Once, before threads start; the sources stay until the
 * process ends. */
void crash_set_sources(const struct crash_sources *sources);

/* Takes the fatal signals, or gives them back (crash-log-enabled). */
void crash_take_signals(bool is_taken);

/* Assertions for caller bugs. They stay on in release builds: a broken invariant in a data server
 * is worse than a stopped one.
 */
#pragma once

#include "server/base/compiler.h"

#define ASSERT(condition)                                                                          \
    do {                                                                                           \
        if (UNLIKELY(!(condition))) check_failed(#condition, __FILE__, __LINE__);                  \
    } while (0)

/* Marks a place that no input can reach. */
#define UNREACHABLE() check_failed("unreachable", __FILE__, __LINE__)

/* The condition that failed in this process, with its place; "" when none has. For a crash report.
 */
const char *check_failure_text(void);

/* Writes the failed condition and its place to standard error and aborts. Any thread. */
NORETURN void check_failed(const char *condition, const char *file, int line);

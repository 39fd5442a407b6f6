/* The log: lines for administrators, from any thread.
 *
 * Libraries return a status; the edges that carry out IO write lines here. The logger is process
 * wide, as the standard streams are: it is opened once by main and never handed around.
 */
#pragma once

#include <stdbool.h>

#include "server/base/compiler.h"
#include "server/base/status.h"

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_VERBOSE,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTHING
};

/* The letter that stands before the time in each line: who speaks. */
enum log_role { LOG_ROLE_PRIMARY = 'M', LOG_ROLE_REPLICA = 'S', LOG_ROLE_SENTINEL = 'X' };

#define LOG_RECENT_LINES 32u
#define LOG_RECENT_BYTES 256u

struct log_options {
    const char *path; /* Empty or NULL: standard output. */
    enum log_level level;
    bool syslog_enabled;
    const char *syslog_ident;
    int syslog_facility; /* LOG_LOCAL0 … of <syslog.h>. */
};

/* Applies the options. STATUS_IO_ERROR (errno says why) when the file cannot be opened; the old
 * destination stays. May be called again. */
MUST_USE enum status log_configure(const struct log_options *options);

void log_set_level(enum log_level level);
void log_set_role(enum log_role role);
bool log_is_enabled(enum log_level level);

/* Writes one line: pid, role, local time with milliseconds, level mark, text. */
void log_write(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

/* -- for a crash report, from a signal handler -- */

/* The descriptor that lines go to. */
int log_descriptor(void);

/* Writes the last LOG_RECENT_LINES lines, each cut to LOG_RECENT_BYTES, to the descriptor. Takes no
 * lock: a line that is being replaced may come out mixed. */
void log_write_recent(int fd);

#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_verbose(...) log_write(LOG_LEVEL_VERBOSE, __VA_ARGS__)
#define log_notice(...) log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)

#include "server/base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096 };

/* The one writable global of this module (see the head of log.h). */
static struct {
    pthread_mutex_t lock;
    int fd;
    bool syslog_enabled;
    atomic_int level;
    atomic_int role;
    atomic_uint line_count; /* The next line's place among the recent ones, modulo their number. */
    uint16_t recent_len[LOG_RECENT_LINES];
    char recent[LOG_RECENT_LINES][LOG_RECENT_BYTES];
} logger = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .fd = STDOUT_FILENO,
    .level = LOG_LEVEL_NOTICE,
    .role = LOG_ROLE_PRIMARY,
};

enum status log_configure(const struct log_options *options) {
    int fd = STDOUT_FILENO;
    if (options->path != NULL && options->path[0] != '\0') {
        fd = open(options->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (fd < 0) return STATUS_IO_ERROR;
    }
    pthread_mutex_lock(&logger.lock);
    int old = logger.fd;
    logger.fd = fd;
    if (logger.syslog_enabled) closelog();
    logger.syslog_enabled = options->syslog_enabled;
    if (options->syslog_enabled)
        openlog(options->syslog_ident, LOG_PID | LOG_NDELAY | LOG_NOWAIT, options->syslog_facility);
    pthread_mutex_unlock(&logger.lock);
    if (old != STDOUT_FILENO && old != fd) close(old);
    atomic_store(&logger.level, (int)options->level);
    return STATUS_OK;
}

void log_set_level(enum log_level level) {
    atomic_store(&logger.level, (int)level);
}

void log_set_role(enum log_role role) {
    atomic_store(&logger.role, (int)role);
}

bool log_is_enabled(enum log_level level) {
    return (int)level >= atomic_load_explicit(&logger.level, memory_order_relaxed);
}

int log_descriptor(void) {
    return logger.fd;
}

/* Keeps a line with its end. The lock is held. */
static void keep(const char *line, size_t len) {
    unsigned count = atomic_load(&logger.line_count);
    unsigned place = count % LOG_RECENT_LINES;
    if (len > LOG_RECENT_BYTES) len = LOG_RECENT_BYTES;
    memcpy(logger.recent[place], line, len);
    logger.recent[place][len - 1] = '\n';
    logger.recent_len[place] = (uint16_t)len;
    atomic_store(&logger.line_count, count + 1);
}

void log_write_recent(int fd) {
    unsigned count = atomic_load(&logger.line_count);
    unsigned first = count > LOG_RECENT_LINES ? count - LOG_RECENT_LINES : 0;
    for (unsigned i = first; i < count; i++) {
        unsigned place = i % LOG_RECENT_LINES;
        if (write(fd, logger.recent[place], logger.recent_len[place]) < 0) return;
    }
}

void log_write(enum log_level level, const char *format, ...) {
    if (!log_is_enabled(level)) return;
    static const char marks[] = ".-*#";
    static const int priorities[] = {LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING};
    char line[LINE_MAX_BYTES];
    struct timespec now;
    struct tm local;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    char stamp[32];
    strftime(stamp, sizeof(stamp), "%d %b %Y %H:%M:%S", &local);
    int head =
        snprintf(line, sizeof(line), "%d:%c %s.%03d %c ", (int)getpid(), atomic_load(&logger.role),
                 stamp, (int)(now.tv_nsec / 1000000), marks[level]);
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, args);
    va_end(args);
    size_t total = (size_t)head + (len < 0 ? 0 : (size_t)len);
    if (total > sizeof(line) - 2) total = sizeof(line) - 2; // Long lines are cut, not lost.
    line[total++] = '\n';
    pthread_mutex_lock(&logger.lock);
    keep(line, total);
    // A log that cannot be written has nobody left to tell.
    ssize_t written = write(logger.fd, line, total);
    (void)written;
    if (logger.syslog_enabled)
        syslog(priorities[level], "%.*s", (int)(total - (size_t)head - 1), line + head);
    pthread_mutex_unlock(&logger.lock);
}

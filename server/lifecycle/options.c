#include <syslog.h>

#include "server/base/compiler.h"
#include "server/base/log.h"
#include "server/lifecycle/lifecycle.h"

static const struct option_choice log_levels[] = {
    {"debug", LOG_LEVEL_DEBUG},     {"verbose", LOG_LEVEL_VERBOSE}, {"notice", LOG_LEVEL_NOTICE},
    {"warning", LOG_LEVEL_WARNING}, {"nothing", LOG_LEVEL_NOTHING}, {NULL, 0},
};

static const struct option_choice facilities[] = {
    {"user", LOG_USER},     {"local0", LOG_LOCAL0},
    {"local1", LOG_LOCAL1}, {"local2", LOG_LOCAL2},
    {"local3", LOG_LOCAL3}, {"local4", LOG_LOCAL4},
    {"local5", LOG_LOCAL5}, {"local6", LOG_LOCAL6},
    {"local7", LOG_LOCAL7}, {NULL, 0},
};

const struct option lifecycle_option_rows[] = {
    {
        .name = "daemonize",
        .field = OPTION_BOOL(struct lifecycle_options, daemonize),
        .doc = "Go to the background.",
    },
    {
        .name = "pidfile",
        .field = OPTION_STRING(struct lifecycle_options, pid_file),
        .doc = "File that gets the process id; in the background /var/run/dunlin.pid when empty.",
    },
    {
        .name = "logfile",
        .field = OPTION_STRING(struct lifecycle_options, log_file),
        .doc = "File for the log; empty means standard output.",
    },
    {
        .name = "loglevel",
        .field = OPTION_ENUM(struct lifecycle_options, log_level),
        .range = {.initial = LOG_LEVEL_NOTICE},
        .choices = log_levels,
        .live = true,
        .doc = "The least severity that is logged.",
    },
    {
        .name = "syslog-enabled",
        .field = OPTION_BOOL(struct lifecycle_options, syslog_enabled),
        .doc = "Send the log to syslog as well.",
    },
    {
        .name = "syslog-ident",
        .field = OPTION_STRING(struct lifecycle_options, syslog_ident),
        .initial_text = "dunlin",
        .doc = "Name in the system log.",
    },
    {
        .name = "syslog-facility",
        .field = OPTION_ENUM(struct lifecycle_options, syslog_facility),
        .range = {.initial = LOG_LOCAL0},
        .choices = facilities,
        .doc = "Facility of the system log.",
    },
    {
        .name = "dir",
        .field = OPTION_STRING(struct lifecycle_options, directory),
        .initial_text = ".",
        .doc = "Folder for all data files.",
    },
    {
        .name = "databases",
        .field = OPTION_UINT(struct lifecycle_options, databases),
        .range = {.initial = 16, .min = 1, .max = 16},
        .doc = "Number of databases; a cluster has one.",
    },
    {
        .name = "shutdown-timeout",
        .field = OPTION_SECONDS(struct lifecycle_options, shutdown_timeout_s),
        .range = {.initial = 10, .min = 0, .max = INT32_MAX},
        .live = true,
        .doc = "Seconds that a shutdown waits for replicas to catch up.",
    },
};
const uint32_t lifecycle_option_count = ARRAY_COUNT(lifecycle_option_rows);

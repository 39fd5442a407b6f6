#include <syslog.h>

#include "server/base/compiler.h"
#include "server/base/log.h"
#include "server/base/number.h"
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

/* What is too much or too little is brought into range, as clients know it. */
static bool parse_hz(void *out, const struct option_input *input, struct buffer *error) {
    enum { HZ_MIN = 1, HZ_MAX = 500 };
    int64_t hz = 0;
    if (input->word_count != 1 || !number_parse_i64(input->words[0], &hz)) {
        buffer_append_text(error, "argument couldn't be parsed into an integer");
        return false;
    }
    if (hz < 0 || hz > INT32_MAX) {
        buffer_append_text(error, "argument must be between 0 and 2147483647 inclusive");
        return false;
    }
    *(int64_t *)out = hz < HZ_MIN ? HZ_MIN : hz > HZ_MAX ? HZ_MAX : hz;
    return true;
}

static void format_hz(const void *field, struct buffer *out) {
    buffer_append_i64(out, *(const int64_t *)field);
}

static const struct option_ops hz_ops = {.parse = parse_hz, .format = format_hz};

/* -- oom-score-adj -- */

static const struct option_choice oom_score_choices[] = {
    {"no", OOM_SCORE_ADJ_NO},
    {"yes", OOM_SCORE_ADJ_RELATIVE},
    {"relative", OOM_SCORE_ADJ_RELATIVE},
    {"absolute", OOM_SCORE_ADJ_ABSOLUTE},
    {NULL, 0},
};

static bool parse_oom_scores(void *out, const struct option_input *input, struct buffer *error) {
    enum { SCORE_ABS_MAX = 2000 };
    int *scores = out;
    if (input->word_count != OOM_SCORE_COUNT) {
        buffer_append_text(error, "wrong number of arguments");
        return false;
    }
    for (size_t i = 0; i < OOM_SCORE_COUNT; i++) {
        int64_t score = 0;
        if (!number_parse_i64(input->words[i], &score) || score < -SCORE_ABS_MAX ||
            score > SCORE_ABS_MAX) {
            buffer_append_text(
                error, "Invalid oom-score-adj-values, elements must be between -2000 and 2000.");
            return false;
        }
        scores[i] = (int)score;
    }
    return true;
}

static void format_oom_scores(const void *field, struct buffer *out) {
    const int *scores = field;
    for (size_t i = 0; i < OOM_SCORE_COUNT; i++)
        buffer_append_format(out, "%s%d", i > 0 ? " " : "", scores[i]);
}

static const struct option_ops oom_score_ops = {.parse = parse_oom_scores,
                                                .format = format_oom_scores};

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
        .name = "crash-log-enabled",
        .field = OPTION_BOOL(struct lifecycle_options, has_crash_log),
        .range = {.initial = true},
        .live = true,
        .doc = "Write a report to the log when the server dies of a fault.",
    },
    {
        .name = "dir",
        .field = OPTION_STRING(struct lifecycle_options, directory),
        .initial_text = ".",
        .live = true,
        .still_while_loading = true,
        .guarded = true,
        .doc = "Folder for all data files.",
    },
    {
        .name = "hz",
        .field = OPTION_SPECIAL(struct lifecycle_options, hz),
        .initial_text = "10",
        .ops = &hz_ops,
        .live = true,
        .doc = "How often a second the node looks after what nobody asks for.",
    },
    {
        .name = "oom-score-adj",
        .field = OPTION_ENUM(struct lifecycle_options, oom_score_adj),
        .range = {.initial = OOM_SCORE_ADJ_NO},
        .choices = oom_score_choices,
        .live = true,
        .doc = "Whether to tell the kernel which process to end when memory runs out.",
    },
    {
        .name = "oom-score-adj-values",
        .field = OPTION_SPECIAL(struct lifecycle_options, oom_scores),
        .initial_text = "0 200 800",
        .ops = &oom_score_ops,
        .live = true,
        .multi_word = true,
        .doc = "The scores of a primary, of a replica, and of forked processes, which are none.",
    },
    {
        .name = "active-expire-effort",
        .field = OPTION_UINT(struct lifecycle_options, expire_effort),
        .range = {.initial = 1, .min = 1, .max = 10},
        .live = true,
        .doc = "How many expired keys may be deleted at once, in steps of 2000.",
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

/* The process: how it starts, goes to the background, and ends.
 *
 * SHUTDOWN and the signals only say that and how the process shall end; main carries it out once
 * its loop has come to an end. Where data must be saved, or replicas must catch up first, that
 * happens before, while clients are still served or paused.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/command/context.h"
#include "server/config/option.h"
#include "server/net/loop.h"

struct lifecycle;

/* oom-score-adj: leave it alone, add to what it was at the start, or set it. */
enum oom_score_adj { OOM_SCORE_ADJ_NO, OOM_SCORE_ADJ_RELATIVE, OOM_SCORE_ADJ_ABSOLUTE };
/* Whose score: redis-server has a third for the processes that it forks, and here are none. */
enum { OOM_SCORE_PRIMARY, OOM_SCORE_REPLICA, OOM_SCORE_CHILD, OOM_SCORE_COUNT };

struct lifecycle_options {
    bool daemonize;
    char *pid_file;
    char *log_file;
    int log_level;
    bool syslog_enabled;
    char *syslog_ident;
    int syslog_facility;
    bool has_crash_log; /* crash-log-enabled */
    char *directory;    /* dir */
    uint64_t databases;
    uint64_t shutdown_timeout_s;
    int64_t hz;                      /* How often a second the node's cron runs: 1 .. 500. */
    int oom_score_adj;               /* enum oom_score_adj */
    int oom_scores[OOM_SCORE_COUNT]; /* oom-score-adj-values */
    uint64_t expire_effort;          /* active-expire-effort: 1 .. 10 times the usual. */
};
extern const struct option lifecycle_option_rows[];
extern const uint32_t lifecycle_option_count;
extern const struct command lifecycle_commands[]; /* SHUTDOWN */

/* How the end came about, and what the modules above must do for it. */
struct lifecycle_hooks {
    void *state;
    /* True when the data is to be saved at the end unless somebody says NOSAVE (save points). */
    bool (*wants_save)(void *state);
    /* Saves the data; everything is parked or stopped. False: it failed (logged). */
    bool (*save)(void *state);
    /* Makes what is logged durable; everything is parked. False: the process must go on. */
    bool (*end_log)(void *state, bool is_forced);
    /* True when every replica has what we have. */
    bool (*replicas_caught_up)(void *state);
};

struct lifecycle *lifecycle_create(struct lifecycle_options *options, struct loop *node_loop,
                                   struct command_modules *modules);
void lifecycle_destroy(struct lifecycle *lifecycle);
void lifecycle_set_hooks(struct lifecycle *lifecycle, const struct lifecycle_hooks *hooks);

/* Applies log options. False: `error` says why. */
bool lifecycle_open_log(const struct lifecycle_options *options, char *error, size_t cap);
/* Changes to the data folder and proves that it can be written. */
bool lifecycle_enter_directory(const struct lifecycle_options *options, char *error, size_t cap);
/* Goes to the background; in the parent it does not return. */
void lifecycle_daemonize(void);
void lifecycle_write_pid_file(const struct lifecycle_options *options);
/* Async-signal-safe. */
void lifecycle_remove_pid_file(const struct lifecycle_options *options);

/* CONFIG SET dir: lifecycle_enter_directory, and back to the folder of before when that fails or
 * when the change is taken back (`is_rollback`). Everything parked. */
bool lifecycle_change_directory(struct lifecycle *lifecycle, bool is_rollback, char *error,
                                size_t cap);

/* oom-score-adj has changed. False: the kernel refused the score (logged). Everything parked. */
bool lifecycle_apply_oom_score(struct lifecycle *lifecycle);

/* Once a cron period on the node's loop: the score of a role that has changed, signals, a shutdown
 * that waits for replicas. */
void lifecycle_tick(struct lifecycle *lifecycle);

/* Installs SIGTERM and SIGINT handlers and ignores SIGPIPE and SIGHUP. Until lifecycle_end_start,
 * which comes before clients may write, a signal ends the process at once, with status 0 and
 * without a pid file; later it is a wish for a shutdown, and a second one ends at once. */
void lifecycle_catch_signals(struct lifecycle *lifecycle);
void lifecycle_end_start(void);

#include "server/lifecycle/lifecycle.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/lifecycle/lifecycle_internal.h"
#include "server/net/network.h"

enum save_wish { SAVE_AS_CONFIGURED, SAVE_YES, SAVE_NO };

struct lifecycle {
    struct lifecycle_options *options;
    struct loop *node_loop;
    struct command_modules *modules;
    struct lifecycle_hooks hooks;
    struct oom_score oom_score;
    int folder_before; /* A descriptor of it, for a change that is taken back; -1: none. */
    bool is_pending;   /* Waiting for replicas. The fields below belong to it. */
    bool is_forced;
    enum save_wish save;
    uint64_t deadline_ms;
    uint64_t session_id; /* Who asked; 0 for a signal. */
};

/* What a signal handler may touch: see lifecycle_catch_signals. */
static volatile sig_atomic_t signals_seen;
static const struct lifecycle_options *volatile starting; /* NULL once it has started. */

static void on_signal(int number) {
    (void)number;
    if (starting != NULL) { // Nothing is to be saved, and loading may take its time.
        lifecycle_remove_pid_file(starting);
        _exit(0);
    }
    if (signals_seen++ > 0) _exit(1); // Asked twice: whoever asks is in a hurry.
}

void lifecycle_catch_signals(struct lifecycle *lifecycle) {
    starting = lifecycle->options;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); // A write beyond the limit fails instead, and is reported.
}

void lifecycle_end_start(void) {
    starting = NULL;
}

struct lifecycle *lifecycle_create(struct lifecycle_options *options, struct loop *node_loop,
                                   struct command_modules *modules) {
    struct lifecycle *lifecycle = mem_alloc_zero(sizeof(*lifecycle));
    lifecycle->options = options;
    lifecycle->node_loop = node_loop;
    lifecycle->modules = modules;
    lifecycle->folder_before = -1;
    return lifecycle;
}

void lifecycle_destroy(struct lifecycle *lifecycle) {
    if (lifecycle == NULL) return;
    if (lifecycle->folder_before >= 0) close(lifecycle->folder_before);
    mem_free(lifecycle);
}

/* A relative path means something else by now, so the way back is not by name. */
static void go_back(const struct lifecycle *lifecycle) {
    if (lifecycle->folder_before < 0 || fchdir(lifecycle->folder_before) != 0)
        log_warning("Can't go back to the data folder of before");
}

/* errno says why not. */
static bool is_folder(const char *path) {
    int folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) close(folder);
    return folder >= 0;
}

bool lifecycle_change_directory(struct lifecycle *lifecycle, bool is_rollback, char *error,
                                size_t cap) {
    if (is_rollback) {
        go_back(lifecycle);
        return true;
    }
    if (lifecycle->folder_before >= 0) close(lifecycle->folder_before);
    lifecycle->folder_before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (!is_folder(lifecycle->options->directory)) {
        snprintf(error, cap, "%s", strerror(errno)); // Clients get no more from redis-server.
        return false;
    }
    if (lifecycle_enter_directory(lifecycle->options, error, cap)) return true;
    go_back(lifecycle);
    return false;
}

void lifecycle_set_hooks(struct lifecycle *lifecycle, const struct lifecycle_hooks *hooks) {
    lifecycle->hooks = *hooks;
}

/* -- carrying it out -- */

/* Saves if that is wanted. Everything parked. False: the process must go on. */
static bool save_if_wanted(struct lifecycle *lifecycle) {
    bool wants = lifecycle->save == SAVE_YES ||
                 (lifecycle->save == SAVE_AS_CONFIGURED && lifecycle->hooks.wants_save != NULL &&
                  lifecycle->hooks.wants_save(lifecycle->hooks.state));
    if (!wants) return true;
    // What has been loaded so far would take the place of the file that it comes from.
    if (dispatcher_is_loading(lifecycle->modules->dispatcher)) {
        log_notice("Data is being loaded: nothing is saved before exiting.");
        return true;
    }
    log_notice("Saving the final RDB snapshot before exiting.");
    if (lifecycle->hooks.save(lifecycle->hooks.state)) return true;
    log_warning("Error trying to save the DB, %s.",
                lifecycle->is_forced ? "exiting anyway" : "can't exit");
    return lifecycle->is_forced;
}

/* Everything parked. False: the end was refused. */
static bool finish(struct lifecycle *lifecycle) {
    if (lifecycle->hooks.end_log != NULL &&
        !lifecycle->hooks.end_log(lifecycle->hooks.state, lifecycle->is_forced))
        return false;
    if (!save_if_wanted(lifecycle)) return false;
    log_notice("Dunlin is now ready to exit, bye bye...");
    loop_stop(lifecycle->node_loop);
    return true;
}

static bool caught_up(const struct lifecycle *lifecycle) {
    return lifecycle->hooks.replicas_caught_up == NULL ||
           lifecycle->hooks.replicas_caught_up(lifecycle->hooks.state);
}

static void answer_failure(struct session *session, void *arg) {
    if (session == NULL || session->block != SESSION_BLOCKED_SHUTDOWN) return;
    reply_error(&session->reply, "ERR Errors trying to SHUTDOWN. Check logs.");
    network_unblock(arg, session);
}

static void give_up(struct lifecycle *lifecycle) {
    lifecycle->is_pending = false;
    dispatcher_unpause(lifecycle->modules->dispatcher, PAUSE_BY_SHUTDOWN);
    network_retry_paused(lifecycle->modules->network);
    if (lifecycle->session_id != 0)
        network_post(lifecycle->modules->network, lifecycle->session_id, answer_failure,
                     lifecycle->modules->network);
    lifecycle->session_id = 0;
}

/* Begins the end; everything parked. True when it is done or under way. */
static bool begin(struct lifecycle *lifecycle, bool is_now) {
    if (!is_now && lifecycle->options->shutdown_timeout_s > 0 && !caught_up(lifecycle)) {
        log_notice("Waiting for replicas before shutting down.");
        lifecycle->is_pending = true;
        lifecycle->deadline_ms =
            clock_monotonic_ms() + lifecycle->options->shutdown_timeout_s * 1000;
        dispatcher_pause(lifecycle->modules->dispatcher, PAUSE_BY_SHUTDOWN, false, UINT64_MAX);
        return true;
    }
    return finish(lifecycle);
}

/* On worker 0, where a section may be asked for: the node itself never waits for workers. */
static void finish_on_worker(void *arg) {
    struct lifecycle *lifecycle = arg;
    struct dispatch_worker *worker = network_dispatch_worker(lifecycle->modules->network, 0);
    dispatch_exclusive_begin(worker);
    if (lifecycle->is_pending && !finish(lifecycle)) give_up(lifecycle);
    dispatch_exclusive_end(worker);
}

static void begin_by_signal(void *arg) {
    struct lifecycle *lifecycle = arg;
    struct dispatch_worker *worker = network_dispatch_worker(lifecycle->modules->network, 0);
    dispatch_exclusive_begin(worker);
    lifecycle->save = SAVE_AS_CONFIGURED;
    lifecycle->is_forced = false;
    lifecycle->session_id = 0;
    if (!lifecycle->is_pending) begin(lifecycle, false);
    dispatch_exclusive_end(worker);
}

static bool is_replica(const struct lifecycle *lifecycle) {
    return (dispatcher_admission(lifecycle->modules->dispatcher) & ADMISSION_REPLICA) != 0;
}

bool lifecycle_apply_oom_score(struct lifecycle *lifecycle) {
    return oom_score_apply(&lifecycle->oom_score, lifecycle->options, is_replica(lifecycle));
}

void lifecycle_tick(struct lifecycle *lifecycle) {
    if (lifecycle->oom_score.is_replica != is_replica(lifecycle))
        lifecycle_apply_oom_score(lifecycle);
    struct loop *worker_loop = network_loop(lifecycle->modules->network, 0);
    if (signals_seen == 1) {
        signals_seen = 2; // Taken; the next one ends at once.
        log_notice("Received a signal, scheduling shutdown...");
        loop_post(worker_loop, begin_by_signal, lifecycle);
    }
    if (!lifecycle->is_pending) return;
    bool is_late = clock_monotonic_ms() >= lifecycle->deadline_ms;
    if (is_late) log_warning("Replicas did not catch up within shutdown-timeout.");
    if (is_late || caught_up(lifecycle)) loop_post(worker_loop, finish_on_worker, lifecycle);
}

/* -- SHUTDOWN -- */

struct shutdown_words {
    bool is_now;
    bool is_forced;
    bool is_abort;
    enum save_wish save;
};

static bool parse_shutdown(struct command_context *context, struct shutdown_words *words) {
    for (uint32_t i = 1; i < context->argc; i++) {
        if (context_argument_is(context, i, "NOSAVE") && words->save != SAVE_YES) {
            words->save = SAVE_NO;
        } else if (context_argument_is(context, i, "SAVE") && words->save != SAVE_NO) {
            words->save = SAVE_YES;
        } else if (context_argument_is(context, i, "NOW")) {
            words->is_now = true;
        } else if (context_argument_is(context, i, "FORCE")) {
            words->is_forced = true;
        } else if (context_argument_is(context, i, "ABORT")) {
            words->is_abort = true;
        } else {
            return false;
        }
    }
    bool has_others = words->is_now || words->is_forced || words->save != SAVE_AS_CONFIGURED;
    return !(words->is_abort && has_others);
}

/* From inside a script that would not end: it is cut off, and what it wrote is nowhere but in
 * memory. */
NORETURN static void exit_at_once(struct lifecycle *lifecycle) {
    log_notice("User requested shutdown...");
    if (lifecycle->hooks.end_log != NULL) lifecycle->hooks.end_log(lifecycle->hooks.state, true);
    lifecycle_remove_pid_file(lifecycle->options);
    log_notice("Dunlin is now ready to exit, bye bye...");
    _exit(0);
}

static void shutdown_command(struct command_context *context) {
    struct lifecycle *lifecycle = context->modules->lifecycle;
    struct shutdown_words words = {0};
    if (!parse_shutdown(context, &words)) {
        reply_syntax_error(context->reply);
        return;
    }
    const char *busy = dispatcher_busy_text(context->modules->dispatcher);
    if (busy != NULL) {
        if (words.save == SAVE_NO) exit_at_once(lifecycle);
        reply_error(context->reply, busy);
        return;
    }
    if (words.is_abort) {
        if (!lifecycle->is_pending) {
            reply_error(context->reply, "ERR No shutdown in progress.");
            return;
        }
        give_up(lifecycle);
        reply_ok(context->reply);
        return;
    }
    if (context->in_transaction && !words.is_now) {
        reply_error(context->reply,
                    "ERR SHUTDOWN without NOW or ABORT isn't allowed for DENY BLOCKING client");
        return;
    }
    lifecycle->save = words.save;
    lifecycle->is_forced = words.is_forced;
    lifecycle->session_id = context->session->id;
    log_notice("User requested shutdown...");
    if (!begin(lifecycle, words.is_now)) {
        reply_error(context->reply, "ERR Errors trying to SHUTDOWN. Check logs.");
        return;
    }
    // No reply on success: the connection ends with the process.
    context->session->block = SESSION_BLOCKED_SHUTDOWN;
}

static const struct argument save_choice[] = {
    {.name = "nosave", .kind = ARGUMENT_PURE_TOKEN, .token = "NOSAVE"},
    {.name = "save", .kind = ARGUMENT_PURE_TOKEN, .token = "SAVE"},
    {.name = NULL},
};

static const struct argument shutdown_arguments[] = {
    {.name = "nosave_save", .kind = ARGUMENT_ONE_OF, .is_optional = true, .children = save_choice},
    {.name = "now",
     .kind = ARGUMENT_PURE_TOKEN,
     .token = "NOW",
     .is_optional = true,
     .since = "7.0.0"},
    {.name = "force",
     .kind = ARGUMENT_PURE_TOKEN,
     .token = "FORCE",
     .is_optional = true,
     .since = "7.0.0"},
    {.name = "abort",
     .kind = ARGUMENT_PURE_TOKEN,
     .token = "ABORT",
     .is_optional = true,
     .since = "7.0.0"},
    {.name = NULL},
};

const struct command lifecycle_commands[] = {
    {
        .name = "shutdown",
        .arity = -1,
        .group = GROUP_SERVER,
        .flags = COMMAND_ADMIN | COMMAND_NO_SCRIPT | COMMAND_LOADING | COMMAND_STALE |
                 COMMAND_NO_MULTI | COMMAND_ALLOW_BUSY,
        .handler = shutdown_command,
        .since = "1.0.0",
        .summary = "Saves the data if wanted, and ends the server",
        .complexity = "O(N) when saving, where N is the total number of keys in all databases when "
                      "saving data, otherwise O(1)",
        .arguments = shutdown_arguments,
    },
    COMMAND_END,
};

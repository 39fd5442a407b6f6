#include "server/snapshot/snapshot.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/fault_stack.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/command/command_words.h"
#include "server/snapshot/snapshot_internal.h"

enum { TELL_LOADING_MS = 5000 };

enum { RETRY_AFTER_MS = 5000 };

/* -- life -- */

struct snapshotter *snapshotter_create(const struct snapshotter_create_options *options) {
    struct snapshotter *snapshotter = mem_alloc_zero(sizeof(*snapshotter));
    ASSERT(pthread_mutex_init(&snapshotter->name_lock, NULL) == 0);
    snapshotter->options = *options;
    snapshotter->last_save_s = clock_wall_ms() / 1000;
    snapshotter->last_seconds = -1;
    for (unsigned i = 0; i < PASS_MAX; i++)
        exclusive_add_turn(options->exclusive, &snapshotter->turns[i]);
    return snapshotter;
}

void snapshotter_destroy(struct snapshotter *snapshotter) {
    if (snapshotter == NULL) return;
    // Passes end by themselves soon after they are aborted; nobody else runs any more.
    for (unsigned i = 0; i < PASS_MAX; i++) {
        if (snapshotter->passes[i] != NULL) snapshot_abort(snapshotter->passes[i]);
    }
    for (int tries = 0; atomic_load(&snapshotter->pass_count) > 0 && tries < 5000; tries++)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    pthread_mutex_destroy(&snapshotter->name_lock);
    mem_free(snapshotter);
}

uint64_t snapshot_changes(const struct snapshotter *snapshotter) {
    struct dispatch_stats stats;
    dispatcher_stats(snapshotter->options.modules->dispatcher, &stats);
    return stats.changes;
}

bool snapshot_wants_save(const struct snapshotter *snapshotter) {
    return snapshotter->options.options->save_points.count > 0;
}

void snapshot_note_flushed(struct snapshotter *snapshotter) {
    if (!snapshot_wants_save(snapshotter)) return;
    if (dispatcher_is_loading(snapshotter->options.modules->dispatcher)) return; // Long ago.
    snapshotter->is_save_scheduled = true;
}

void snapshot_forget_changes(struct snapshotter *snapshotter) {
    snapshotter->changes_at_save = snapshot_changes(snapshotter);
}

void snapshot_set_loading(struct snapshotter *snapshotter, bool is_loading) {
    if (is_loading)
        snapshot_expect_bytes(snapshotter, 0);
    else
        atomic_store(&snapshotter->is_loading, false);
}

void snapshot_expect_bytes(struct snapshotter *snapshotter, uint64_t total_bytes) {
    atomic_store(&snapshotter->loading_bytes, 0);
    atomic_store(&snapshotter->loading_used_memory, 0);
    atomic_store(&snapshotter->loading_began_s, clock_wall_ms() / 1000);
    atomic_store(&snapshotter->loading_began_ms, clock_monotonic_ms());
    atomic_store(&snapshotter->loading_told_ms, clock_monotonic_ms());
    atomic_store(&snapshotter->loading_total_bytes, total_bytes);
    atomic_store(&snapshotter->is_loading, true);
}

/* Of what comes from a link that does not say how much it is, the file's word about the memory that
 * the data took is the best guess. */
static double loaded_percent(const struct snapshotter *snapshotter) {
    uint64_t done = atomic_load(&snapshotter->loading_bytes);
    uint64_t total = atomic_load(&snapshotter->loading_total_bytes);
    if (total > 0) return done > total ? 100 : (double)done * 100 / (double)total;
    uint64_t guess = atomic_load(&snapshotter->loading_used_memory);
    double percent = guess == 0 ? 0 : (double)done * 100 / (double)guess;
    return percent > 99.99 ? 99.99 : percent;
}

/* At the pace so far. */
static uint64_t loading_seconds_left(const struct snapshotter *snapshotter) {
    uint64_t passed_ms = clock_monotonic_ms() - atomic_load(&snapshotter->loading_began_ms);
    double percent = loaded_percent(snapshotter);
    if (passed_ms < 1000 || percent <= 0) return 1;
    return (uint64_t)((double)passed_ms / 1000 * (100 - percent) / percent);
}

void snapshot_note_loaded(struct snapshotter *snapshotter, uint64_t bytes) {
    if (!atomic_load(&snapshotter->is_loading)) return;
    atomic_fetch_add(&snapshotter->loading_bytes, bytes);
    uint64_t now_ms = clock_monotonic_ms();
    if (now_ms - atomic_load(&snapshotter->loading_told_ms) < TELL_LOADING_MS) return;
    atomic_store(&snapshotter->loading_told_ms, now_ms);
    log_notice("Loading: %.1f%%, %llu MB so far, about %llu seconds left",
               loaded_percent(snapshotter),
               (unsigned long long)(atomic_load(&snapshotter->loading_bytes) >> 20),
               (unsigned long long)loading_seconds_left(snapshotter));
}

static void loading_info(const struct snapshotter *snapshotter, struct buffer *out) {
    buffer_append_format(
        out,
        "loading_start_time:%llu\r\nloading_total_bytes:%llu\r\nloading_rdb_used_mem:%llu\r\n"
        "loading_loaded_bytes:%llu\r\nloading_loaded_perc:%.2f\r\nloading_eta_seconds:%llu\r\n",
        (unsigned long long)atomic_load(&snapshotter->loading_began_s),
        (unsigned long long)atomic_load(&snapshotter->loading_total_bytes),
        (unsigned long long)atomic_load(&snapshotter->loading_used_memory),
        (unsigned long long)atomic_load(&snapshotter->loading_bytes), loaded_percent(snapshotter),
        (unsigned long long)loading_seconds_left(snapshotter));
}

/* -- save points -- */

static const struct save_point *reached_point(const struct snapshotter *snapshotter) {
    uint64_t changes = snapshot_changes(snapshotter) - snapshotter->changes_at_save;
    uint64_t age_s = clock_wall_ms() / 1000 - snapshotter->last_save_s;
    bool is_early = clock_monotonic_ms() - snapshotter->last_try_ms < RETRY_AFTER_MS;
    if (snapshotter->last_failed && is_early) return NULL;
    const struct save_points *points = &snapshotter->options.options->save_points;
    for (uint32_t i = 0; i < points->count; i++) {
        const struct save_point *point = &points->items[i];
        if (changes >= point->changes && age_s > point->seconds) return point;
    }
    return NULL;
}

static bool is_due(const struct snapshotter *snapshotter) {
    if (snapshotter->is_saving || !snapshot_has_room(snapshotter)) return false;
    // What is served while data is loaded is a part of it, or nothing at all.
    if (dispatcher_is_loading(snapshotter->options.modules->dispatcher)) return false;
    return snapshotter->is_save_scheduled || reached_point(snapshotter) != NULL;
}

/* Looks again: an earlier thread may have saved meanwhile. */
static void *begin_on_thread(void *arg) {
    struct snapshotter *snapshotter = arg;
    mem_count_thread();
    fault_stack_use();
    exclusive_begin(snapshotter->options.exclusive, NULL);
    if (is_due(snapshotter)) {
        const struct save_point *point = reached_point(snapshotter);
        if (point != NULL)
            log_notice("%llu changes in %llu seconds. Saving...",
                       (unsigned long long)point->changes, (unsigned long long)point->seconds);
        snapshot_save_in_background(snapshotter, NULL, NULL);
    }
    exclusive_end(snapshotter->options.exclusive, NULL);
    return NULL;
}

void snapshot_tick(struct snapshotter *snapshotter) {
    if (!is_due(snapshotter)) return;
    // The node waits for nobody: a thread of its own asks for the section.
    pthread_t thread;
    if (pthread_create(&thread, NULL, begin_on_thread, snapshotter) == 0) pthread_detach(thread);
}

/* -- commands -- */

struct save_waiter {
    struct dispatcher *dispatcher;
    uint64_t session_id;
    bool is_saved;
};

static void reply_outcome(struct reply *reply, bool is_saved) {
    if (is_saved) {
        reply_ok(reply);
    } else {
        reply_error(reply, "ERR"); // All that there is; the log says why.
    }
}

static void answer_save(struct session *session, void *arg) {
    struct save_waiter *waiter = arg;
    if (session != NULL) {
        reply_outcome(&session->reply, waiter->is_saved);
        dispatcher_unblock(waiter->dispatcher, session);
    }
    mem_free(waiter);
}

static void saved(void *arg, enum status status, const struct snapshot_dump *dump) {
    (void)dump;
    struct save_waiter *waiter = arg;
    waiter->is_saved = status == STATUS_OK;
    dispatcher_post(waiter->dispatcher, waiter->session_id, answer_save, waiter);
}

/* A pass like any other, for which this client waits, and nobody else. */
static void save(struct command_context *context) {
    struct snapshotter *snapshotter = context->modules->snapshotter;
    if (snapshotter->is_saving) {
        reply_error(context->reply, "ERR Background save already in progress");
        return;
    }
    struct save_waiter *waiter = mem_alloc(sizeof(*waiter));
    *waiter = (struct save_waiter){context->modules->dispatcher, context->session->id, false};
    context->session->block = SESSION_BLOCKED_SAVE;
    if (snapshot_save_for_client(snapshotter, saved, waiter)) return;
    mem_free(waiter); // All passes are in use.
    context->session->block = SESSION_NOT_BLOCKED;
    snapshotter->saves++;
    reply_outcome(context->reply, snapshot_save_now(snapshotter) == STATUS_OK);
}

static void bgsave(struct command_context *context) {
    struct snapshotter *snapshotter = context->modules->snapshotter;
    if (context->argc > 2 || (context->argc == 2 && !context_argument_is(context, 1, "SCHEDULE"))) {
        reply_syntax_error(context->reply);
        return;
    }
    if (snapshotter->is_saving) {
        reply_error(context->reply, "ERR Background save already in progress");
    } else if (snapshot_save_in_background(snapshotter, NULL, NULL)) {
        reply_simple(context->reply, "Background saving started");
    } else if (context->argc == 2) {
        snapshotter->is_save_scheduled = true;
        reply_simple(context->reply, "Background saving scheduled");
    } else {
        reply_error(context->reply,
                    "ERR Too many snapshots are running at once. Use BGSAVE SCHEDULE in order to "
                    "schedule a BGSAVE whenever possible.");
    }
}

static void lastsave(struct command_context *context) {
    reply_integer(context->reply, (int64_t)context->modules->snapshotter->last_save_s);
}

static const struct argument bgsave_arguments[] = {
    {.name = "schedule",
     .kind = ARGUMENT_PURE_TOKEN,
     .token = "SCHEDULE",
     .is_optional = true,
     .since = "3.2.2"},
    {.name = NULL},
};

static const char *const lastsave_tips[] = {"nondeterministic_output", NULL};

const struct command snapshot_commands[] = {
    {
        .name = "save",
        .arity = 1,
        .group = GROUP_SERVER,
        .flags = COMMAND_ADMIN | COMMAND_NO_SCRIPT | COMMAND_NO_ASYNC_LOADING | COMMAND_NO_MULTI,
        .handler = save,
        .since = "1.0.0",
        .summary = "Saves the data to the dump file before it answers",
        .complexity = "O(N) where N is the total number of keys in all databases",
    },
    {
        .name = "bgsave",
        .arity = -1,
        .group = GROUP_SERVER,
        .flags = COMMAND_ADMIN | COMMAND_NO_SCRIPT | COMMAND_NO_ASYNC_LOADING,
        .handler = bgsave,
        .since = "1.0.0",
        .summary = "Saves the data to the dump file in the background",
        .complexity = "O(1)",
        .arguments = bgsave_arguments,
    },
    {
        .name = "lastsave",
        .arity = 1,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST,
        .categories = CATEGORY_ADMIN | CATEGORY_DANGEROUS,
        .handler = lastsave,
        .since = "1.0.0",
        .summary = "When the data was last saved, in Unix seconds",
        .complexity = "O(1)",
        .tips = lastsave_tips,
    },
    COMMAND_END,
};

/* -- options -- */

static bool parse_save(void *out, const struct option_input *input, struct buffer *error) {
    struct save_points *points = out;
    if (input->is_repeated) memcpy(points, input->current, sizeof(*points));
    if (input->word_count == 1 && input->words[0].len == 0) {
        points->count = 0;
        return true;
    }
    if (input->word_count % 2 != 0) {
        buffer_append_text(error, "Invalid save parameters");
        return false;
    }
    for (size_t i = 0; i < input->word_count; i += 2) {
        int64_t seconds = 0;
        int64_t changes = 0;
        if (!number_parse_i64(input->words[i], &seconds) || seconds < 1 ||
            !number_parse_i64(input->words[i + 1], &changes) || changes < 0 ||
            points->count == SAVE_POINT_MAX) {
            buffer_append_text(error, "Invalid save parameters");
            return false;
        }
        points->items[points->count++] = (struct save_point){(uint64_t)seconds, (uint64_t)changes};
    }
    return true;
}

static void format_point(const struct save_point *point, struct buffer *out) {
    buffer_append_format(out, "%llu %llu", (unsigned long long)point->seconds,
                         (unsigned long long)point->changes);
}

static void format_save(const void *field, struct buffer *out) {
    const struct save_points *points = field;
    for (uint32_t i = 0; i < points->count; i++) {
        if (i > 0) buffer_append_u8(out, ' ');
        format_point(&points->items[i], out);
    }
}

static bool format_save_line(const void *field, size_t index, struct buffer *out) {
    const struct save_points *points = field;
    if (points->count == 0 && index == 0) {
        buffer_append_text(out, "\"\"");
        return true;
    }
    if (index >= points->count) return false;
    format_point(&points->items[index], out);
    return true;
}

static const struct option_ops save_ops = {
    .parse = parse_save, .format = format_save, .format_line = format_save_line};

static bool check_file_name(const char *value, struct buffer *error) {
    if (value[0] != '\0' && strchr(value, '/') == NULL) return true;
    buffer_append_text(error, "dbfilename can't be a path, just a filename");
    return false;
}

const struct option snapshot_option_rows[] = {
    {
        .name = "save",
        .field = OPTION_SPECIAL(struct snapshot_options, save_points),
        .initial_text = "3600 1 300 100 60 10000",
        .ops = &save_ops,
        .live = true,
        .multi_word = true,
        .doc = "Pairs of seconds and changes after which the data is saved; empty never.",
    },
    {
        .name = "dbfilename",
        .field = OPTION_STRING(struct snapshot_options, file_name),
        .initial_text = "dump.rdb",
        .check = check_file_name,
        .live = true,
        .guarded = true,
        .doc = "Name of the dump file, inside dir.",
    },
    {
        .name = "rdbcompression",
        .field = OPTION_BOOL(struct snapshot_options, is_compressing),
        .range = {.initial = 1},
        .live = true,
        .doc = "Compress strings in dumps.",
    },
    {
        .name = "rdbchecksum",
        .field = OPTION_BOOL(struct snapshot_options, has_checksum),
        .range = {.initial = 1},
        .doc = "End dumps with a checksum, and check it when loading.",
    },
    {
        .name = "stop-writes-on-bgsave-error",
        .field = OPTION_BOOL(struct snapshot_options, stops_writes_on_error),
        .range = {.initial = 1},
        .live = true,
        .doc = "Refuse writes after a failed save while there are save points.",
    },
    {
        .name = "rdb-save-incremental-fsync",
        .field = OPTION_BOOL(struct snapshot_options, syncs_in_pieces),
        .range = {.initial = 1},
        .live = true,
        .doc = "Fsync a dump every 4 MB while it is written, so that the last one is short.",
    },
    {
        .name = "rdb-key-save-delay",
        .field = OPTION_INT(struct snapshot_options, key_delay_us),
        .range = {.initial = 0, .min = INT32_MIN, .max = INT32_MAX},
        .live = true,
        .doc = "Microseconds that a snapshot sleeps for each key, for tests; below 0: -1/N a key.",
    },
    {
        .name = "snapshot-buffer-limit",
        .field = OPTION_MEMORY(struct snapshot_options, buffer_limit),
        .range = {.initial = 268435456, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "Bytes that a snapshot holds for a slow disk or replica before writes wait; 0: all.",
    },
};
const uint32_t snapshot_option_count = ARRAY_COUNT(snapshot_option_rows);

bool snapshot_apply_options(void *context, struct config_change *change) {
    struct snapshotter *snapshotter = *(struct snapshotter **)context;
    (void)change;
    if (snapshotter != NULL) dump_file_apply_options(snapshotter);
    return true;
}

/* -- figures -- */

void snapshot_info(void *state, struct buffer *out) {
    const struct snapshotter *snapshotter = state;
    uint64_t now_ms = clock_monotonic_ms();
    int64_t current_s =
        snapshotter->is_saving ? (int64_t)((now_ms - snapshotter->save_began_ms) / 1000) : -1;
    uint64_t processed = atomic_load(&snapshotter->keys_processed);
    uint64_t total = atomic_load(&snapshotter->keys_total);
    bool is_async = (dispatcher_admission(snapshotter->options.modules->dispatcher) &
                     ADMISSION_ASYNC_LOADING) != 0;
    // Nothing is copied on write, since nothing forks.
    buffer_append_format(
        out,
        "loading:%d\r\nasync_loading:%d\r\ncurrent_cow_peak:0\r\ncurrent_cow_size:0\r\n"
        "current_cow_size_age:0\r\ncurrent_fork_perc:%.2f\r\ncurrent_save_keys_processed:%llu\r\n"
        "current_save_keys_total:%llu\r\n",
        atomic_load(&snapshotter->is_loading) && !is_async, is_async,
        total == 0 ? 0.0 : (double)processed * 100 / (double)total, (unsigned long long)processed,
        (unsigned long long)total);
    buffer_append_format(
        out,
        "rdb_changes_since_last_save:%llu\r\n"
        "rdb_bgsave_in_progress:%d\r\nrdb_last_save_time:%llu\r\nrdb_last_bgsave_status:%s\r\n"
        "rdb_last_bgsave_time_sec:%lld\r\nrdb_current_bgsave_time_sec:%lld\r\nrdb_saves:%llu\r\n"
        "rdb_last_cow_size:0\r\nrdb_last_load_keys_expired:%llu\r\nrdb_last_load_keys_loaded:%"
        "llu\r\n",
        (unsigned long long)(snapshot_changes(snapshotter) - snapshotter->changes_at_save),
        snapshotter->is_saving, (unsigned long long)snapshotter->last_save_s,
        snapshotter->last_failed ? "err" : "ok", (long long)snapshotter->last_seconds,
        (long long)current_s, (unsigned long long)snapshotter->saves,
        (unsigned long long)atomic_load(&snapshotter->loaded_expired),
        (unsigned long long)atomic_load(&snapshotter->loaded_keys));
}

void snapshot_info_progress(void *state, struct buffer *out) {
    const struct snapshotter *snapshotter = state;
    if (atomic_load(&snapshotter->is_loading)) loading_info(snapshotter, out);
    buffer_append_format(out,
                         "snapshot_passes:%u\r\nsnapshot_preimages:%llu\r\n"
                         "snapshot_preimage_max_us:%llu\r\nsnapshot_step_max_us:%llu\r\n"
                         "snapshot_paused_writes:%llu\r\nsnapshot_held_bytes_max:%llu\r\n",
                         atomic_load(&snapshotter->pass_count),
                         (unsigned long long)atomic_load(&snapshotter->preimages),
                         (unsigned long long)atomic_load(&snapshotter->preimage_us_max),
                         (unsigned long long)atomic_load(&snapshotter->step_us_max),
                         (unsigned long long)atomic_load(&snapshotter->paused_writes),
                         (unsigned long long)atomic_load(&snapshotter->held_bytes_max));
}

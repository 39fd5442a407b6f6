#include "server/aof/aof.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/aof/aof_internal.h"
#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/disk.h"
#include "server/base/log.h"
#include "server/base/mem.h"

static enum aof_state state_of(const struct aof *aof) {
    return (enum aof_state)atomic_load(&aof->state);
}

bool aof_is_on(const struct aof *aof) {
    return state_of(aof) != AOF_OFF;
}

/* -- life -- */

struct aof *aof_create(const struct aof_create_options *options) {
    struct aof *aof = mem_alloc_zero(sizeof(*aof));
    aof->made_of = *options;
    aof->options = options->options;
    aof->journal = options->modules->journal;
    aof->dispatcher = options->modules->dispatcher;
    aof->network = options->modules->network;
    aof->folder = aof->file = -1;
    aof->last_seconds = -1;
    pthread_mutex_init(&aof->manifest_lock, NULL);
    pthread_mutex_init(&aof->file_lock, NULL);
    pthread_mutex_init(&aof->sync_lock, NULL);
    pthread_mutex_init(&aof->gate_lock, NULL);
    pthread_mutex_init(&aof->wake_lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&aof->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    network_before_replies(aof->network, aof_before_replies, aof);
    return aof;
}

void aof_destroy(struct aof *aof) {
    if (aof == NULL) return;
    exclusive_begin(aof->made_of.exclusive, NULL);
    aof_rewrite_cancel(aof);
    exclusive_end(aof->made_of.exclusive, NULL);
    aof_rewrite_wait(aof);
    aof_end_thread(aof);
    if (aof_is_on(aof)) aof_sync_now(aof);
    if (aof->file >= 0) close(aof->file);
    if (aof->folder >= 0) close(aof->folder);
    aof_manifest_deinit(&aof->manifest);
    buffer_deinit(&aof->pending);
    pthread_cond_destroy(&aof->wake);
    pthread_mutex_destroy(&aof->wake_lock);
    pthread_mutex_destroy(&aof->gate_lock);
    pthread_mutex_destroy(&aof->sync_lock);
    pthread_mutex_destroy(&aof->file_lock);
    pthread_mutex_destroy(&aof->manifest_lock);
    mem_free(aof);
}

/* -- start -- */

static enum status write_first_base(void *state, struct bytes bytes) {
    return disk_write(*(int *)state, bytes, NULL) ? STATUS_OK : STATUS_IO_ERROR;
}

static enum status gather_first_base(void *state, struct bytes bytes) {
    buffer_append_bytes(state, bytes);
    return STATUS_OK;
}

/* As commands. At the start there is next to nothing: it may be held in memory. */
static enum status convert_first_base(struct aof *aof, int *file) {
    struct buffer rdb = {0};
    struct aof_conversion *conversion = aof_conversion_create(
        (struct rdb_sink){write_first_base, file}, aof->options->has_timestamps);
    enum status status =
        snapshot_write_base(aof->made_of.modules->snapshotter, gather_first_base, &rdb);
    if (status == STATUS_OK) status = aof_conversion_push(conversion, buffer_view(&rdb));
    aof_conversion_end(conversion, status);
    if (status == STATUS_OK) status = aof_conversion_run(conversion);
    aof_conversion_destroy(conversion);
    buffer_deinit(&rdb);
    return status;
}

/* A log without files begins with a base of what there is. */
static enum status make_first_base(struct aof *aof, struct aof_manifest *manifest) {
    bool is_rdb = aof->options->has_rdb_base;
    const char *name = aof_manifest_begin_base(manifest, aof->options->file_prefix,
                                               is_rdb ? AOF_BASE_RDB : AOF_BASE_COMMANDS);
    int file = -1;
    log_notice("Creating AOF base file %s on server start", name);
    enum status status = aof_file_open(aof, name, true, &file);
    if (status != STATUS_OK) return status;
    status = is_rdb
                 ? snapshot_write_base(aof->made_of.modules->snapshotter, write_first_base, &file)
                 : convert_first_base(aof, &file);
    if (status == STATUS_OK && !disk_sync(file)) status = STATUS_IO_ERROR;
    if (status != STATUS_OK) log_warning("Can't write the AOF base file: %s", strerror(errno));
    close(file);
    uint64_t bytes = 0;
    if (status == STATUS_OK) status = aof_file_bytes(aof, name, &bytes);
    atomic_store(&aof->base_bytes, bytes);
    atomic_store(&aof->current_bytes, bytes);
    return status;
}

static enum status open_increment(struct aof *aof, struct aof_manifest *manifest) {
    const struct aof_file_list *increments = &manifest->increments;
    bool is_new = increments->count == 0;
    const char *name = is_new ? aof_manifest_add_increment(manifest, aof->options->file_prefix)
                              : increments->items[increments->count - 1].name;
    log_notice("%s AOF incr file %s on server start", is_new ? "Creating" : "Opening", name);
    int file = -1;
    uint64_t bytes = 0;
    enum status status = aof_file_open(aof, name, is_new, &file);
    if (status == STATUS_OK) status = aof_file_bytes(aof, name, &bytes);
    if (status == STATUS_OK) aof_switch_file(aof, file, bytes);
    return status;
}

bool aof_start(struct aof *aof) {
    enum status status = aof_folder_open(aof, true);
    if (status != STATUS_OK) return false;
    status = aof_manifest_begin(aof);
    if (status != STATUS_OK) return false;
    struct aof_manifest fresh = aof_manifest_copy(&aof->manifest);
    if (aof_manifest_is_empty(&fresh)) status = make_first_base(aof, &fresh);
    if (status == STATUS_OK) status = open_increment(aof, &fresh);
    if (status == STATUS_OK) status = aof_folder_sync(aof);
    if (status == STATUS_OK) status = aof_manifest_replace(aof, &fresh);
    aof_manifest_deinit(&fresh);
    if (status != STATUS_OK) return false;
    aof_drop_history(aof);
    journal_stamp_log(aof->journal, aof->options->has_timestamps);
    journal_open_log(aof->journal);
    atomic_store(&aof->state, AOF_ON);
    aof_apply_sync(aof);
    aof_start_thread(aof);
    return true;
}

/* -- switching on and off; everything parked -- */

static void forget_errors(struct aof *aof) {
    atomic_store(&aof->has_write_error, false);
    atomic_store(&aof->has_sync_error, false);
    dispatcher_set_admission(aof->dispatcher, ADMISSION_LOG_ERROR, false);
}

static void close_log(struct aof *aof) {
    aof_rewrite_cancel(aof);
    aof_switch_file(aof, -1, 0);
    journal_close_log(aof->journal);
}

static void turn_off(struct aof *aof) {
    if (aof->file >= 0) aof_sync_now(aof);
    close_log(aof);
    atomic_store(&aof->state, AOF_OFF);
    forget_errors(aof);
    aof_apply_sync(aof);
}

static bool turn_on(struct aof *aof) {
    atomic_store(&aof->state, AOF_WAITING);
    if (!aof_rewrite_start_first(aof)) {
        atomic_store(&aof->state, AOF_OFF);
        return false;
    }
    aof_apply_sync(aof);
    aof_start_thread(aof);
    return true;
}

void aof_begin_anew(struct aof *aof) {
    if (state_of(aof) == AOF_OFF) return;
    close_log(aof);
    forget_errors(aof);
    // They spoke of another history.
    atomic_store(&aof->written_offset, 0);
    atomic_store(&aof->synced_offset, 0);
    atomic_store(&aof->state, AOF_WAITING);
    // A failure is tried again by the next ticks.
    if (!aof_rewrite_start_first(aof)) atomic_store(&aof->is_scheduled, true);
}

static bool apply_switch(struct aof *aof, struct config_change *change) {
    bool is_on = aof_is_on(aof);
    if (aof->options->is_on == is_on) return true;
    if (is_on) {
        turn_off(aof);
        return true;
    }
    if (turn_on(aof)) return true;
    return config_change_refuse(change, "appendonly", "Unable to turn on AOF. Check server logs.");
}

bool aof_apply_options(void *context, struct config_change *change) {
    struct aof *aof = *(struct aof **)context;
    if (aof == NULL) return true;
    journal_stamp_log(aof->journal, aof->options->has_timestamps);
    if (!apply_switch(aof, change)) return false;
    aof_apply_sync(aof);
    return true;
}

/* -- the end of the process -- */

bool aof_prepare_end(struct aof *aof, bool is_forced) {
    if (state_of(aof) == AOF_OFF) return true;
    if (state_of(aof) == AOF_WAITING) {
        log_warning("Writing initial AOF, %s.", is_forced ? "exiting anyway" : "can't exit");
        return is_forced;
    }
    log_notice("Calling fsync() on the AOF file.");
    aof_sync_now(aof);
    return true;
}

/* -- rewrites that are due -- */

static bool has_grown(const struct aof *aof) {
    const struct aof_options *options = aof->options;
    uint64_t base = atomic_load(&aof->base_bytes);
    uint64_t current = atomic_load(&aof->current_bytes);
    if (options->rewrite_percentage == 0 || current <= options->rewrite_min_bytes) return false;
    if (base == 0) base = 1;
    if (current < base) return false;
    uint64_t growth = (uint64_t)((double)(current - base) * 100.0 / (double)base);
    if (growth < options->rewrite_percentage) return false;
    log_notice("Starting automatic rewriting of AOF on %llu%% growth", (unsigned long long)growth);
    return true;
}

static void *start_on_thread(void *arg) {
    struct aof *aof = arg;
    mem_count_thread();
    exclusive_begin(aof->made_of.exclusive, NULL);
    aof_rewrite_start(aof);
    exclusive_end(aof->made_of.exclusive, NULL);
    return NULL;
}

void aof_tick(struct aof *aof, uint64_t monotonic_ms) {
    enum { RETRY_MS = 1000 };
    if (atomic_load(&aof->is_rewriting) || monotonic_ms < atomic_load(&aof->not_before_ms)) return;
    bool is_due = atomic_load(&aof->is_scheduled) || (state_of(aof) == AOF_ON && has_grown(aof));
    if (!is_due) return;
    atomic_store(&aof->not_before_ms, monotonic_ms + RETRY_MS);
    // The node waits for nobody: a thread of its own asks for the section.
    pthread_t thread;
    if (pthread_create(&thread, NULL, start_on_thread, aof) == 0) pthread_detach(thread);
}

/* -- figures -- */

void aof_info(void *state, struct buffer *out) {
    struct aof *aof = state;
    enum aof_state mode = state_of(aof);
    bool is_rewriting = atomic_load(&aof->is_rewriting);
    uint64_t now_ms = clock_monotonic_ms();
    int64_t seconds =
        is_rewriting ? (int64_t)((now_ms - atomic_load(&aof->rewrite_began_ms)) / 1000) : -1;
    bool has_error = atomic_load(&aof->has_write_error) || atomic_load(&aof->has_sync_error);
    buffer_append_format(
        out,
        "aof_enabled:%d\r\naof_rewrite_in_progress:%d\r\naof_rewrite_scheduled:%d\r\n"
        "aof_last_rewrite_time_sec:%lld\r\naof_current_rewrite_time_sec:%lld\r\n"
        "aof_last_bgrewrite_status:%s\r\naof_rewrites:%llu\r\n"
        "aof_rewrites_consecutive_failures:%u\r\naof_last_write_status:%s\r\n"
        "aof_last_cow_size:0\r\nmodule_fork_in_progress:0\r\nmodule_fork_last_cow_size:0\r\n",
        mode != AOF_OFF, is_rewriting, atomic_load(&aof->is_scheduled),
        (long long)atomic_load(&aof->last_seconds), (long long)seconds,
        atomic_load(&aof->last_failed) ? "err" : "ok",
        (unsigned long long)atomic_load(&aof->rewrites), atomic_load(&aof->failures),
        has_error ? "err" : "ok");
    if (mode == AOF_OFF && !aof->options->is_on) return; // Switched on, it may be loading.
    buffer_append_format(out,
                         "aof_current_size:%llu\r\naof_base_size:%llu\r\n"
                         "aof_pending_rewrite:%d\r\naof_buffer_length:%llu\r\n"
                         "aof_pending_bio_fsync:%d\r\naof_delayed_fsync:%llu\r\n",
                         (unsigned long long)atomic_load(&aof->current_bytes),
                         (unsigned long long)atomic_load(&aof->base_bytes),
                         atomic_load(&aof->is_scheduled), (unsigned long long)aof_buffer_bytes(aof),
                         atomic_load(&aof->sync_began_ms) != 0,
                         (unsigned long long)atomic_load(&aof->delayed_count));
}

/* Writing the log and making it durable. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/aof/aof_internal.h"
#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/disk.h"
#include "server/base/log.h"
#include "server/base/mem.h"

enum {
    TICK_MS = 1000,           /* The thread looks at least so often. */
    LATE_MS = 2000,           /* An fsync that takes longer is counted. */
    COMPLAIN_MS = 30000,      /* Between two lines about failed writes. */
    UNWRITTEN_MAX = 64 << 20, /* With always: beyond that workers write themselves, and so wait. */
    KEPT_PENDING_BYTES = 1 << 20, /* A larger buffer is not kept for the next write. */
};

static enum aof_sync policy_of(const struct aof *aof) {
    return (enum aof_sync)atomic_load(&aof->sync);
}

/* -- what can't be helped --
 *
 * With always the process ends: the change is in memory and may be at replicas, so that no error
 * reply would be true. */

static void set_refusing(struct aof *aof) {
    bool refuses = atomic_load(&aof->has_write_error) || atomic_load(&aof->has_sync_error);
    dispatcher_set_admission(aof->dispatcher, ADMISSION_LOG_ERROR, refuses);
}

static void note_error(struct aof *aof, _Atomic bool *which, int error) {
    snprintf(aof->error_text, sizeof(aof->error_text), "MISCONF Errors writing to the AOF file: %s",
             strerror(error));
    atomic_store(which, true);
    set_refusing(aof);
}

static void note_success(struct aof *aof, _Atomic bool *which) {
    if (LIKELY(!atomic_load_explicit(which, memory_order_relaxed))) return;
    atomic_store(which, false);
    set_refusing(aof);
    if (which == &aof->has_write_error)
        log_warning("AOF write error looks solved. The server can write again.");
}

const char *aof_error_text(const struct aof *aof) {
    return aof->error_text;
}

/* -- writing; file_lock is held -- */

/* What went to the file counts, what is left is tried again. */
static void drop_written(struct aof *aof, size_t count) {
    aof->file_bytes += count;
    atomic_fetch_add(&aof->current_bytes, count);
    buffer_consume(&aof->pending, count);
    atomic_store(&aof->written, aof->pending_end.log_position - aof->pending.len);
}

static void take_back_short_write(struct aof *aof, size_t done) {
    if (done == 0) return;
    if (disk_truncate(aof->file, aof->file_bytes)) return;
    log_warning("Could not remove short write from the append-only file. The server may refuse to "
                "load the AOF the next time it starts. ftruncate: %s",
                strerror(errno));
    drop_written(aof, done);
}

static void complain(struct aof *aof, size_t done, int error) {
    uint64_t now_ms = clock_monotonic_ms();
    if (aof->complained_ms != 0 && now_ms - aof->complained_ms < COMPLAIN_MS) return;
    aof->complained_ms = now_ms;
    if (done == 0) {
        log_warning("Error writing to the AOF file: %s", strerror(error));
    } else {
        log_warning("Short write while writing to the AOF file: (nwritten=%zu, expected=%zu): %s",
                    done, aof->pending.len, strerror(error));
    }
}

static bool fail_write(struct aof *aof, size_t done, int error) {
    complain(aof, done, error);
    if (policy_of(aof) == AOF_SYNC_ALWAYS) {
        log_warning("Can't recover from AOF write error when the AOF fsync policy is 'always'. "
                    "Exiting...");
        _exit(1);
    }
    take_back_short_write(aof, done);
    note_error(aof, &aof->has_write_error, error);
    return false;
}

/* An fsync that does not come to an end does not hold the writing up, but is counted. */
static void note_late_sync(struct aof *aof) {
    uint64_t began_ms = atomic_load_explicit(&aof->sync_began_ms, memory_order_relaxed);
    if (LIKELY(began_ms == 0) || clock_monotonic_ms() - began_ms < LATE_MS) return;
    if (!atomic_compare_exchange_strong(&aof->sync_began_ms, &began_ms, 0)) return;
    atomic_fetch_add(&aof->delayed_count, 1);
    log_notice("Asynchronous AOF fsync is taking too long (disk is busy?). Writing the AOF buffer "
               "without waiting for fsync to complete, this may slow down the server.");
}

static bool write_pending(struct aof *aof) {
    aof->pending_end = journal_take_log(aof->journal, &aof->pending);
    if (aof->file < 0) { // Closed: what was gathered belongs to nothing.
        buffer_clear(&aof->pending);
        atomic_store(&aof->written, aof->pending_end.log_position);
        return true;
    }
    if (aof->pending.len == 0) {
        atomic_store(&aof->written_offset, aof->pending_end.offset);
        return true;
    }
    note_late_sync(aof);
    size_t done = 0;
    if (!disk_write(aof->file, buffer_view(&aof->pending), &done))
        return fail_write(aof, done, errno);
    drop_written(aof, done);
    atomic_store(&aof->written_offset, aof->pending_end.offset);
    if (aof->pending.cap > KEPT_PENDING_BYTES) buffer_deinit(&aof->pending);
    note_success(aof, &aof->has_write_error);
    return true;
}

bool aof_write_out(struct aof *aof) {
    pthread_mutex_lock(&aof->file_lock);
    bool is_written = write_pending(aof);
    pthread_mutex_unlock(&aof->file_lock);
    return is_written;
}

uint64_t aof_buffer_bytes(const struct aof *aof) {
    return journal_log_position(aof->journal) - atomic_load(&aof->written);
}

/* -- fsync -- */

/* A fsync of what is written now, and of the files that were written before. */
static bool sync_files_locked(struct aof *aof) {
    int retired[RETIRED_MAX];
    pthread_mutex_lock(&aof->file_lock);
    uint32_t count = aof->retired_count;
    memcpy(retired, aof->retired, count * sizeof(*retired));
    aof->retired_count = 0;
    // A file that is retired meanwhile is closed by the next call at the earliest.
    int file = aof->file;
    uint64_t position = atomic_load(&aof->written);
    uint64_t offset = atomic_load(&aof->written_offset);
    pthread_mutex_unlock(&aof->file_lock);

    atomic_store(&aof->sync_began_ms, clock_monotonic_ms());
    int error = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!disk_sync_data(retired[i])) error = errno;
        close(retired[i]);
    }
    if (file >= 0 && !disk_sync_data(file)) error = errno;
    atomic_store(&aof->sync_began_ms, 0);

    if (error != 0 && policy_of(aof) == AOF_SYNC_ALWAYS) {
        log_warning("Can't persist AOF for fsync error when the AOF fsync policy is 'always': %s. "
                    "Exiting...",
                    strerror(error));
        _exit(1);
    }
    if (error != 0) {
        log_warning("Fail to fsync the AOF file: %s.", strerror(error));
        note_error(aof, &aof->has_sync_error, error);
        return false;
    }
    bool has_advanced = position > atomic_load(&aof->synced);
    if (has_advanced) atomic_store(&aof->synced, position);
    atomic_store(&aof->synced_offset, offset);
    note_success(aof, &aof->has_sync_error);
    if (has_advanced && aof->made_of.synced != NULL) aof->made_of.synced(aof->made_of.synced_state);
    return true;
}

static bool sync_files(struct aof *aof) {
    pthread_mutex_lock(&aof->sync_lock);
    bool is_synced = sync_files_locked(aof);
    pthread_mutex_unlock(&aof->sync_lock);
    return is_synced;
}

/* Without its first base a log brings nothing back. */
uint64_t aof_synced_position(const struct aof *aof) {
    return atomic_load(&aof->state) == AOF_ON ? atomic_load(&aof->synced) : 0;
}

uint64_t aof_synced_offset(const struct aof *aof) {
    return atomic_load(&aof->state) == AOF_ON ? atomic_load(&aof->synced_offset) : 0;
}

static bool may_sync(const struct aof *aof) {
    return !aof->options->pauses_sync || !atomic_load(&aof->is_rewriting);
}

/* Group commit: all that has gathered while the last fsync ran. */
static void commit_group(struct aof *aof) {
    aof_write_out(aof);
    uint64_t safe = atomic_load(&aof->written);
    if (may_sync(aof)) {
        sync_files(aof);
        safe = atomic_load(&aof->synced);
    }
    pthread_mutex_lock(&aof->gate_lock);
    if (policy_of(aof) == AOF_SYNC_ALWAYS) network_set_gate(aof->network, safe);
    pthread_mutex_unlock(&aof->gate_lock);
}

static bool has_retired(struct aof *aof) {
    pthread_mutex_lock(&aof->file_lock);
    bool has = aof->retired_count > 0;
    pthread_mutex_unlock(&aof->file_lock);
    return has;
}

static void look_after(struct aof *aof) {
    enum aof_sync policy = policy_of(aof);
    if (policy == AOF_SYNC_ALWAYS) {
        while (journal_log_position(aof->journal) != atomic_load(&aof->synced)) {
            commit_group(aof);
            if (!may_sync(aof) || policy_of(aof) != AOF_SYNC_ALWAYS) break;
        }
    } else {
        aof_write_out(aof); // What came about outside of a worker's turn, or failed before.
    }
    bool is_due = policy == AOF_SYNC_EVERY_SECOND &&
                  atomic_load(&aof->written) != atomic_load(&aof->synced) && may_sync(aof);
    pthread_mutex_lock(&aof->file_lock);
    bool is_all_synced = atomic_load(&aof->written) == atomic_load(&aof->synced);
    if (is_all_synced) atomic_store(&aof->synced_offset, atomic_load(&aof->written_offset));
    pthread_mutex_unlock(&aof->file_lock);
    if (is_due || atomic_load(&aof->has_sync_error) || has_retired(aof)) sync_files(aof);
}

/* -- the thread -- */

static void set_deadline(struct timespec *deadline, uint64_t at_ms) {
    deadline->tv_sec = (time_t)(at_ms / 1000);
    deadline->tv_nsec = (long)(at_ms % 1000) * 1000000;
}

/* False when the thread shall end. */
static bool wait_for_work(struct aof *aof, uint64_t until_ms) {
    struct timespec deadline;
    set_deadline(&deadline, until_ms);
    pthread_mutex_lock(&aof->wake_lock);
    while (!aof->is_woken && !aof->is_ending &&
           pthread_cond_timedwait(&aof->wake, &aof->wake_lock, &deadline) != ETIMEDOUT) {
    }
    aof->is_woken = false;
    bool goes_on = !aof->is_ending;
    pthread_mutex_unlock(&aof->wake_lock);
    return goes_on;
}

static void *run(void *arg) {
    struct aof *aof = arg;
    pthread_setname_np(pthread_self(), "aof");
    mem_count_thread();
    uint64_t next_ms = clock_monotonic_ms() + TICK_MS;
    while (wait_for_work(aof, next_ms)) {
        bool is_tick = clock_monotonic_ms() >= next_ms;
        if (is_tick) next_ms = clock_monotonic_ms() + TICK_MS;
        // A retired file is not put off: no later one may be on the disk without it.
        if (is_tick || policy_of(aof) == AOF_SYNC_ALWAYS || has_retired(aof)) look_after(aof);
    }
    return NULL;
}

static void wake_thread(struct aof *aof, bool ends) {
    pthread_mutex_lock(&aof->wake_lock);
    aof->is_woken = true;
    aof->is_ending = ends;
    pthread_cond_signal(&aof->wake);
    pthread_mutex_unlock(&aof->wake_lock);
}

void aof_start_thread(struct aof *aof) {
    if (aof->has_thread) return;
    ASSERT(pthread_create(&aof->thread, NULL, run, aof) == 0);
    aof->has_thread = true;
}

void aof_end_thread(struct aof *aof) {
    if (!aof->has_thread) return;
    wake_thread(aof, true);
    pthread_join(aof->thread, NULL);
    aof->has_thread = false;
}

/* -- the workers' turns -- */

void aof_before_replies(void *state) {
    struct aof *aof = state;
    uint64_t position = journal_log_position(aof->journal);
    uint64_t written = atomic_load_explicit(&aof->written, memory_order_acquire);
    if (LIKELY(position == written)) return;
    if (policy_of(aof) == AOF_SYNC_ALWAYS && position - written < UNWRITTEN_MAX) {
        uint64_t requested = atomic_load_explicit(&aof->requested, memory_order_relaxed);
        if (requested >= position) return;
        atomic_store_explicit(&aof->requested, position, memory_order_relaxed);
        wake_thread(aof, false);
        return;
    }
    aof_write_out(aof);
}

/* -- files and policies -- */

void aof_sync_now(struct aof *aof) {
    if (!aof_write_out(aof)) return;
    sync_files(aof);
}

void aof_switch_file(struct aof *aof, int file, uint64_t bytes) {
    pthread_mutex_lock(&aof->file_lock);
    write_pending(aof);
    int old = aof->file;
    bool is_full = aof->retired_count == RETIRED_MAX;
    if (old >= 0 && !is_full) aof->retired[aof->retired_count++] = old;
    aof->file = file;
    aof->file_bytes = bytes;
    pthread_mutex_unlock(&aof->file_lock);
    if (old >= 0 && !is_full) wake_thread(aof, false);
    if (old < 0 || !is_full) return;
    // The thread has not come round for long: then this is what it takes.
    if (!disk_sync_data(old)) note_error(aof, &aof->has_sync_error, errno);
    close(old);
}

void aof_apply_sync(struct aof *aof) {
    enum aof_sync wanted = (enum aof_sync)aof->options->sync;
    bool is_open = atomic_load(&aof->state) != AOF_OFF;
    bool is_gated = is_open && wanted == AOF_SYNC_ALWAYS;
    // What was acknowledged under another policy is made durable before the new one holds.
    if (is_gated && policy_of(aof) != AOF_SYNC_ALWAYS) aof_sync_now(aof);
    pthread_mutex_lock(&aof->gate_lock);
    // With the log closed nothing waits for anything, whatever the options say.
    atomic_store(&aof->sync, (int)(is_open ? wanted : AOF_SYNC_NO));
    dispatcher_set_admission(aof->dispatcher, ADMISSION_GATE, is_gated);
    network_set_gate(aof->network, is_gated ? atomic_load(&aof->synced) : UINT64_MAX);
    pthread_mutex_unlock(&aof->gate_lock);
}

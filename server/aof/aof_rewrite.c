/* A new base: what the data is now, in place of how it came about.
 *
 * The pass begins in an exclusive section, in which the log goes on in another increment: base and
 * increment meet without a gap. What is slow (files made, listed, fsynced) is done before and
 * after, by a thread of the rewrite.
 *
 * Three kinds. Of a log that is on, the increment is listed in the manifest before it is written
 * to, so a crash at any time leaves a complete log. The first base of a log that was switched on
 * follows no other files, so its increment is listed with the base. And without a log a rewrite
 * leaves a base and an empty increment.
 *
 * A pass writes RDB. Where bases are commands the thread of the rewrite converts what it writes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/aof/aof_internal.h"
#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/disk.h"
#include "server/base/log.h"
#include "server/base/mem.h"

enum { PIECE_BYTES = 4 << 20, MINUTE_MS = 60000 };

enum kind { REWRITE_OF_LOG, REWRITE_FIRST, REWRITE_OFF };

struct aof_rewrite {
    struct aof *aof;
    enum kind kind;
    enum aof_base_format format;
    struct aof_conversion *conversion; /* NULL: the base is an RDB. */
    bool has_begun;                    /* The pass. */
    int increment; /* Made for the pass's beginning; -1: none, or it is the log's by now. */
    int base;      /* -1: none. */
    char temporary[NAME_MAX_BYTES]; /* The base's name until it is complete. */
    size_t unsynced_bytes;
    uint64_t base_bytes;
    struct snapshot_pass *pass;
    _Atomic bool is_cancelled;

    pthread_mutex_t lock; /* The end of the pass. */
    pthread_cond_t changed;
    bool is_done;
    enum status status;
};

static void first_increment_name(const struct aof *aof, char *out, size_t cap) {
    snprintf(out, cap, "temp-%s.incr", aof->options->file_prefix);
}

/* -- the sink -- */

static enum status write_base(void *state, struct bytes bytes) {
    struct aof_rewrite *rewrite = state;
    if (!disk_write(rewrite->base, bytes, NULL)) {
        log_warning("Write error writing append only file on disk: %s", strerror(errno));
        return STATUS_IO_ERROR;
    }
    rewrite->base_bytes += bytes.len;
    rewrite->unsynced_bytes += bytes.len;
    if (rewrite->unsynced_bytes < PIECE_BYTES || !rewrite->aof->options->syncs_rewrite_in_pieces)
        return STATUS_OK;
    rewrite->unsynced_bytes = 0;
    return disk_sync_data(rewrite->base) ? STATUS_OK : STATUS_IO_ERROR;
}

static enum status convert_base(void *state, struct bytes bytes) {
    const struct aof_rewrite *rewrite = state;
    return aof_conversion_push(rewrite->conversion, bytes);
}

/* Everything parked: only the word, the rest is the thread's. */
static void done_base(void *state, enum status status) {
    struct aof_rewrite *rewrite = state;
    if (rewrite->conversion != NULL) aof_conversion_end(rewrite->conversion, status);
    pthread_mutex_lock(&rewrite->lock);
    rewrite->is_done = true;
    rewrite->status = status;
    rewrite->pass = NULL;
    pthread_cond_signal(&rewrite->changed);
    pthread_mutex_unlock(&rewrite->lock);
}

/* -- beginning -- */

/* The increment that is to be written from the pass's beginning on. */
static enum status make_increment(struct aof_rewrite *rewrite) {
    struct aof *aof = rewrite->aof;
    char name[NAME_MAX_BYTES];
    if (rewrite->kind == REWRITE_OFF) return STATUS_OK;
    if (rewrite->kind == REWRITE_FIRST) {
        first_increment_name(aof, name, sizeof(name));
        return aof_file_open(aof, name, true, &rewrite->increment);
    }
    pthread_mutex_lock(&aof->manifest_lock);
    struct aof_manifest fresh = aof_manifest_copy(&aof->manifest);
    const char *added = aof_manifest_add_increment(&fresh, aof->options->file_prefix);
    log_notice("Creating AOF incr file %s on background rewrite", added);
    enum status status = aof_file_open(aof, added, true, &rewrite->increment);
    if (status == STATUS_OK) status = aof_manifest_replace(aof, &fresh);
    aof_manifest_deinit(&fresh);
    pthread_mutex_unlock(&aof->manifest_lock);
    return status;
}

static enum status make_base(struct aof_rewrite *rewrite) {
    struct aof *aof = rewrite->aof;
    snprintf(rewrite->temporary, sizeof(rewrite->temporary), "temp-rewriteaof-bg-%d.aof",
             (int)getpid());
    rewrite->base = disk_open(aof->folder, rewrite->temporary, O_WRONLY | O_CREAT | O_TRUNC);
    if (rewrite->base >= 0) return STATUS_OK;
    log_warning("Opening the temp file for AOF rewrite in %s: %s", rewrite->temporary,
                strerror(errno));
    return STATUS_IO_ERROR;
}

/* Everything parked: from here on what is done goes to the new increment. */
static enum status begin_pass(struct aof_rewrite *rewrite) {
    struct aof *aof = rewrite->aof;
    bool converts = rewrite->conversion != NULL;
    const struct snapshot_sink sink = {
        .write = converts ? convert_base : write_base,
        .done = done_base,
        .state = rewrite,
        .is_read_at_once = converts,
    };
    bool fits = atomic_load(&rewrite->is_cancelled) == false &&
                (rewrite->kind == REWRITE_OF_LOG) == (atomic_load(&aof->state) == AOF_ON);
    if (!fits) return STATUS_CLOSED;
    // What is in the base may not be in the new increment, too.
    if (rewrite->kind == REWRITE_OF_LOG && !aof_write_out(aof)) return STATUS_IO_ERROR;
    rewrite->pass = snapshot_begin_base(aof->made_of.modules->snapshotter, &sink);
    if (rewrite->pass == NULL) {
        log_warning("As many snapshots as there may be are running: no AOF rewrite now");
        return STATUS_BUSY;
    }
    rewrite->has_begun = true;
    if (rewrite->kind == REWRITE_OFF) return STATUS_OK;
    aof_switch_file(aof, rewrite->increment, 0);
    rewrite->increment = -1;
    if (rewrite->kind == REWRITE_FIRST) {
        atomic_store(&aof->current_bytes, 0);
        journal_open_log(aof->journal);
    } else {
        journal_forget_log_database(aof->journal);
    }
    return STATUS_OK;
}

static enum status prepare(struct aof_rewrite *rewrite) {
    enum status status = aof_folder_open(rewrite->aof, true);
    if (status == STATUS_OK) status = make_base(rewrite);
    if (status == STATUS_OK) status = make_increment(rewrite);
    return status;
}

/* -- the end -- */

/* Lists the new base. Returns with the manifest's lock held, as it was called. */
static enum status list_base(struct aof_rewrite *rewrite) {
    struct aof *aof = rewrite->aof;
    const char *prefix = aof->options->file_prefix;
    enum status status = aof_manifest_begin(aof);
    if (status != STATUS_OK) return status;
    struct aof_manifest fresh = aof_manifest_copy(&aof->manifest);
    char temporary[NAME_MAX_BYTES];
    first_increment_name(aof, temporary, sizeof(temporary));
    const char *increment = NULL;
    if (rewrite->kind != REWRITE_OF_LOG) {
        increment = aof_manifest_add_increment(&fresh, prefix);
        int file = -1;
        if (rewrite->kind == REWRITE_OFF) {
            status = aof_file_open(aof, increment, true, &file);
            if (file >= 0) close(file);
        } else if (!disk_rename(aof->folder, temporary, aof->folder, increment)) {
            status = STATUS_IO_ERROR;
        }
    }
    const char *base = aof_manifest_begin_base(&fresh, prefix, rewrite->format);
    if (status == STATUS_OK && !disk_rename(aof->folder, rewrite->temporary, aof->folder, base))
        status = STATUS_IO_ERROR;
    if (status != STATUS_OK) log_warning("Error trying to rename AOF files: %s", strerror(errno));
    if (status == STATUS_OK)
        log_notice("Successfully renamed the temporary AOF base file %s into %s",
                   rewrite->temporary, base);
    // Names before what names them.
    if (status == STATUS_OK) status = aof_folder_sync(aof);
    if (status == STATUS_OK) status = aof_manifest_replace(aof, &fresh);
    // After a rename of the manifest the files are the log's, whatever was said then.
    bool is_listed = fresh.base.name == NULL;
    if (!is_listed) disk_clean_up(aof->folder, base);
    if (!is_listed && increment != NULL) disk_clean_up(aof->folder, increment);
    aof_manifest_deinit(&fresh);
    return is_listed ? STATUS_OK : status;
}

static enum status complete(struct aof_rewrite *rewrite) {
    struct aof *aof = rewrite->aof;
    if (!disk_sync(rewrite->base)) {
        log_warning("Can't fsync the new AOF base file: %s", strerror(errno));
        return STATUS_IO_ERROR;
    }
    log_notice("Background AOF rewrite terminated with success");
    pthread_mutex_lock(&aof->manifest_lock);
    enum status status = list_base(rewrite);
    if (status == STATUS_OK) {
        pthread_mutex_lock(&aof->file_lock);
        uint64_t bytes = rewrite->base_bytes + (aof->file >= 0 ? aof->file_bytes : 0);
        atomic_store(&aof->current_bytes, bytes);
        atomic_store(&aof->base_bytes, bytes);
        pthread_mutex_unlock(&aof->file_lock);
        aof_drop_history(aof);
    }
    pthread_mutex_unlock(&aof->manifest_lock);
    return status;
}

static void note_failure(struct aof *aof) {
    uint32_t failures = atomic_fetch_add(&aof->failures, 1) + 1;
    atomic_store(&aof->last_failed, true);
    if (failures < REWRITE_FAILURES_FREE) return;
    uint32_t steps = failures - REWRITE_FAILURES_FREE;
    uint64_t minutes = steps >= 6 ? REWRITE_DELAY_MAX_MIN : (uint64_t)1 << steps;
    if (minutes > REWRITE_DELAY_MAX_MIN) minutes = REWRITE_DELAY_MAX_MIN;
    atomic_store(&aof->not_before_ms, clock_monotonic_ms() + minutes * MINUTE_MS);
    log_warning("Background AOF rewrite has repeatedly failed and triggered the limit, will retry "
                "in %llu minutes",
                (unsigned long long)minutes);
}

static void note_outcome(struct aof *aof, const struct aof_rewrite *rewrite, enum status status) {
    if (atomic_load(&rewrite->is_cancelled) && status != STATUS_OK) return;
    uint64_t began_ms = atomic_load(&aof->rewrite_began_ms);
    atomic_store(&aof->last_seconds, (int64_t)((clock_monotonic_ms() - began_ms) / 1000));
    if (status == STATUS_OK) {
        atomic_store(&aof->failures, 0);
        atomic_store(&aof->last_failed, false);
        atomic_store(&aof->not_before_ms, 0);
        log_notice("Background AOF rewrite finished successfully");
    } else if (status == STATUS_BUSY) {
        atomic_store(&aof->is_scheduled, true);
    } else {
        log_warning("Background AOF rewrite terminated with error");
        note_failure(aof);
    }
}

/* Everything parked. */
static void end_rewrite(struct aof_rewrite *rewrite, enum status status) {
    struct aof *aof = rewrite->aof;
    bool is_ours = !atomic_load(&rewrite->is_cancelled);
    note_outcome(aof, rewrite, status);
    if (is_ours && rewrite->kind == REWRITE_FIRST && status == STATUS_OK) {
        atomic_store(&aof->state, AOF_ON);
        if (aof->made_of.synced != NULL) aof->made_of.synced(aof->made_of.synced_state);
    } else if (is_ours && rewrite->kind == REWRITE_FIRST) {
        // Nothing follows from what was logged meanwhile: the next try begins anew.
        journal_close_log(aof->journal);
        aof_switch_file(aof, -1, 0);
        atomic_store(&aof->is_scheduled, true);
    }
    aof->rewrite = NULL;
    atomic_store(&aof->is_rewriting, false);
}

static void clean_up(struct aof_rewrite *rewrite, enum status status) {
    struct aof *aof = rewrite->aof;
    if (rewrite->base >= 0) close(rewrite->base);
    if (rewrite->increment >= 0) close(rewrite->increment);
    aof_conversion_destroy(rewrite->conversion);
    if (status != STATUS_OK && rewrite->temporary[0] != '\0')
        disk_clean_up(aof->folder, rewrite->temporary);
    if (status != STATUS_OK && rewrite->kind == REWRITE_FIRST && aof->folder >= 0) {
        char name[NAME_MAX_BYTES];
        first_increment_name(aof, name, sizeof(name));
        disk_clean_up(aof->folder, name);
    }
    pthread_cond_destroy(&rewrite->changed);
    pthread_mutex_destroy(&rewrite->lock);
    mem_free(rewrite);
}

static enum status wait_for_pass(struct aof_rewrite *rewrite) {
    enum status converted = STATUS_OK;
    if (rewrite->conversion != NULL) converted = aof_conversion_run(rewrite->conversion);
    pthread_mutex_lock(&rewrite->lock);
    while (!rewrite->is_done)
        pthread_cond_wait(&rewrite->changed, &rewrite->lock);
    enum status status = rewrite->status;
    pthread_mutex_unlock(&rewrite->lock);
    return status == STATUS_OK ? converted : status;
}

static void *run(void *arg) {
    struct aof_rewrite *rewrite = arg;
    struct exclusive *exclusive = rewrite->aof->made_of.exclusive;
    enum status status = STATUS_OK;
    pthread_setname_np(pthread_self(), "aof-rewrite");
    mem_count_thread();
    if (!rewrite->has_begun) {
        status = prepare(rewrite);
        exclusive_begin(exclusive, NULL);
        if (status == STATUS_OK) status = begin_pass(rewrite);
        exclusive_end(exclusive, NULL);
    }
    if (status == STATUS_OK) status = wait_for_pass(rewrite);
    if (status == STATUS_OK && atomic_load(&rewrite->is_cancelled)) status = STATUS_CLOSED;
    if (status == STATUS_OK) status = complete(rewrite);
    exclusive_begin(exclusive, NULL);
    end_rewrite(rewrite, status);
    clean_up(rewrite, status);
    exclusive_end(exclusive, NULL);
    return NULL;
}

/* -- starting and stopping; everything parked -- */

static struct aof_rewrite *rewrite_create(struct aof *aof, enum kind kind) {
    struct aof_rewrite *rewrite = mem_alloc_zero(sizeof(*rewrite));
    rewrite->aof = aof;
    rewrite->kind = kind;
    rewrite->increment = rewrite->base = -1;
    rewrite->format = aof->options->has_rdb_base ? AOF_BASE_RDB : AOF_BASE_COMMANDS;
    if (rewrite->format == AOF_BASE_COMMANDS)
        rewrite->conversion = aof_conversion_create((struct rdb_sink){write_base, rewrite},
                                                    aof->options->has_timestamps);
    pthread_mutex_init(&rewrite->lock, NULL);
    pthread_cond_init(&rewrite->changed, NULL);
    return rewrite;
}

static void start_thread(struct aof *aof, struct aof_rewrite *rewrite) {
    aof->rewrite = rewrite;
    atomic_store(&aof->is_scheduled, false);
    atomic_store(&aof->is_rewriting, true);
    atomic_store(&aof->rewrite_began_ms, clock_monotonic_ms());
    atomic_fetch_add(&aof->rewrites, 1);
    log_notice("Background append only file rewriting started");
    pthread_t thread;
    ASSERT(pthread_create(&thread, NULL, run, rewrite) == 0);
    pthread_detach(thread);
}

static enum kind kind_now(const struct aof *aof) {
    static const enum kind kinds[] = {
        [AOF_OFF] = REWRITE_OFF, [AOF_WAITING] = REWRITE_FIRST, [AOF_ON] = REWRITE_OF_LOG};
    return kinds[atomic_load(&aof->state)];
}

/* Where there is a log already, it goes on where it is. */
static bool find_folder(struct aof *aof) {
    if (atomic_load(&aof->state) != AOF_ON) aof_folder_forget(aof);
    if (aof_manifest_load(aof) == STATUS_OK) return true;
    atomic_store(&aof->last_failed, true);
    return false;
}

bool aof_rewrite_start(struct aof *aof) {
    if (aof->rewrite != NULL) return false;
    if (!find_folder(aof)) return false;
    start_thread(aof, rewrite_create(aof, kind_now(aof)));
    return true;
}

bool aof_rewrite_start_first(struct aof *aof) {
    if (aof->rewrite != NULL) { // One that was given up is not over yet.
        atomic_store(&aof->is_scheduled, true);
        return true;
    }
    if (!find_folder(aof)) return false;
    struct aof_rewrite *rewrite = rewrite_create(aof, REWRITE_FIRST);
    enum status status = prepare(rewrite);
    if (status == STATUS_OK) status = begin_pass(rewrite);
    if (status == STATUS_OK) {
        start_thread(aof, rewrite);
        return true;
    }
    clean_up(rewrite, status);
    bool is_put_off = status == STATUS_BUSY;
    atomic_store(is_put_off ? &aof->is_scheduled : &aof->last_failed, true);
    return is_put_off;
}

void aof_rewrite_cancel(struct aof *aof) {
    struct aof_rewrite *rewrite = aof->rewrite;
    atomic_store(&aof->is_scheduled, false);
    if (rewrite == NULL) return;
    atomic_store(&rewrite->is_cancelled, true);
    if (rewrite->pass != NULL) snapshot_abort(rewrite->pass);
}

void aof_rewrite_wait(struct aof *aof) {
    while (atomic_load(&aof->is_rewriting))
        usleep(1000);
}

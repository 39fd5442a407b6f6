/* A snapshot that comes in: from the link to a thread of its own, which loads it beside the data
 * that is served. Through the dump file by default, so that the old data stays until the new one
 * has arrived whole; straight from the link when the options say so.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/aof/aof.h"
#include "server/base/clock.h"
#include "server/base/disk.h"
#include "server/base/fault_stack.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/command/tracking.h"
#include "server/command/transaction.h"
#include "server/replication/replication_internal.h"

enum {
    QUEUE_BYTES_MAX = 8 << 20, /* Beyond it the link is not read until the loader catches up. */
    QUEUE_BYTES_LOW = 2 << 20,
    HEADER_MAX_BYTES = 128,
    SYNC_EVERY_BYTES = 8 << 20, /* So that the last fsync is not the one that waits for all. */
};

struct loader {
    struct loader *next;
    struct replication *replication;
    uint64_t generation;
    bool is_through_file;
    bool is_same_history;
    uint64_t total_bytes; /* 0: the primary does not know. */
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct buffer queue; /* Arrived, not taken by the thread. */
    bool is_complete;    /* Everything has arrived. */
    bool is_aborted;
    bool is_link_paused;
    bool has_set_loading;
    bool removes_file; /* The snapshot is not to stay on the disk. */

    struct buffer taken; /* The thread's own, as everything below. */
    size_t taken_used;
    struct snapshot_data fresh;
    struct snapshot_loaded loaded;
    enum status status;
    int folder; /* Where the dump file goes, and its name there: as they were at the beginning. */
    char *file_name;
    int file;
    bool has_ended;
};

/* -- the thread's side -- */

static void resume_link(void *arg) {
    struct replication *replication = arg;
    if (replication->primary.link != NULL) link_pause_reading(replication->primary.link, false);
}

static enum status take_from_queue(void *state, uint8_t *out, size_t cap, size_t *out_len) {
    struct loader *loader = state;
    if (loader->taken_used == loader->taken.len) {
        pthread_mutex_lock(&loader->lock);
        while (loader->queue.len == 0 && !loader->is_complete && !loader->is_aborted)
            pthread_cond_wait(&loader->changed, &loader->lock);
        struct buffer empty = loader->taken;
        loader->taken = loader->queue;
        loader->queue = empty;
        buffer_clear(&loader->queue);
        loader->taken_used = 0;
        bool is_aborted = loader->is_aborted;
        if (loader->is_link_paused && !is_aborted) {
            loader->is_link_paused = false;
            loop_post(loader->replication->loop, resume_link, loader->replication);
        }
        pthread_mutex_unlock(&loader->lock);
        if (is_aborted) return STATUS_CLOSED;
    }
    size_t len = loader->taken.len - loader->taken_used;
    if (len > cap) len = cap;
    if (len > 0) memcpy(out, loader->taken.data + loader->taken_used, len);
    loader->taken_used += len;
    *out_len = len;
    return STATUS_OK;
}

static enum status take_from_file(void *state, uint8_t *out, size_t cap, size_t *out_len) {
    struct loader *loader = state;
    pthread_mutex_lock(&loader->lock);
    bool is_aborted = loader->is_aborted;
    pthread_mutex_unlock(&loader->lock);
    if (is_aborted) return STATUS_CLOSED;
    ssize_t got = 0;
    do {
        got = read(loader->file, out, cap);
    } while (got < 0 && errno == EINTR);
    if (got < 0) return STATUS_IO_ERROR;
    *out_len = (size_t)got;
    return STATUS_OK;
}

/* What is loaded: straight from the link, or from the file that it was received into. */
static enum status take_to_load(void *state, uint8_t *out, size_t cap, size_t *out_len) {
    struct loader *loader = state;
    enum status status = loader->is_through_file ? take_from_file(loader, out, cap, out_len)
                                                 : take_from_queue(loader, out, cap, out_len);
    if (status == STATUS_OK)
        snapshot_note_loaded(loader->replication->made_of.modules->snapshotter, *out_len);
    return status;
}

/* Writes what comes to the temporary file, until everything is there. */
static enum status fill_file(struct loader *loader, const char *name) {
    enum { CHUNK_BYTES = 256 * 1024 };
    uint8_t *chunk = mem_alloc(CHUNK_BYTES);
    enum status status = STATUS_OK;
    size_t unsynced = 0;
    for (;;) {
        size_t len = 0;
        status = take_from_queue(loader, chunk, CHUNK_BYTES, &len);
        if (status != STATUS_OK || len == 0) break;
        unsynced += len;
        bool is_due = unsynced >= SYNC_EVERY_BYTES;
        if (!disk_write(loader->file, bytes_of(chunk, len), NULL) ||
            (is_due && !disk_sync_data(loader->file))) {
            log_warning("Write error while receiving the snapshot to '%s': %s", name,
                        strerror(errno));
            status = STATUS_IO_ERROR;
            break;
        }
        if (is_due) unsynced = 0;
    }
    mem_free(chunk);
    return status;
}

/* Receives into the dump file and opens it for reading. */
static enum status receive_to_file(struct loader *loader) {
    char temporary[128];
    snprintf(temporary, sizeof(temporary), "temp-%lld.%d.rdb", (long long)time(NULL),
             (int)getpid());
    loader->file = disk_open(loader->folder, temporary, O_RDWR | O_CREAT | O_TRUNC);
    enum status status = STATUS_IO_ERROR;
    if (loader->file < 0) {
        log_warning("Opening the temp file needed for MASTER <-> REPLICA synchronization: %s",
                    strerror(errno));
    } else {
        status = fill_file(loader, temporary);
    }
    if (status == STATUS_OK &&
        (!disk_sync(loader->file) ||
         !disk_rename(loader->folder, temporary, loader->folder, loader->file_name) ||
         !disk_sync_folder(loader->folder) || lseek(loader->file, 0, SEEK_SET) != 0)) {
        log_warning("Failed trying to rename the temp DB into %s in MASTER <-> REPLICA "
                    "synchronization: %s",
                    loader->file_name, strerror(errno));
        status = STATUS_IO_ERROR;
    }
    struct stat received;
    if (status == STATUS_OK && fstat(loader->file, &received) == 0)
        loader->total_bytes = (uint64_t)received.st_size;
    if (status != STATUS_OK && loader->file >= 0) disk_clean_up(loader->folder, temporary);
    return status;
}

/* Everything parked. Watchers of keys hear of it before their keys are gone. */
static void replace_data(struct replication *replication, struct snapshot_data *fresh) {
    struct databases *databases = replication->made_of.databases;
    for (unsigned db = 0; db < databases_count(databases); db++) {
        if (databases_keyspace_if_any(databases, db) != NULL)
            transaction_touch_all(databases, db, NULL);
    }
    tracking_flush(replication->made_of.modules->dispatcher);
    snapshot_data_adopt(replication->made_of.modules->snapshotter, fresh);
}

static void set_loading(struct replication *replication, uint32_t bit, bool is_loading) {
    dispatcher_set_admission(replication->made_of.modules->dispatcher, bit, is_loading);
    snapshot_set_loading(replication->made_of.modules->snapshotter, is_loading);
}

/* Clients hear LOADING from here on; with `drops_old` the old data goes first, so that both need
 * not fit into memory. False: it was given up meanwhile. */
static bool enter_loading(struct loader *loader, uint32_t bit, bool drops_old) {
    struct replication *replication = loader->replication;
    exclusive_begin(replication->made_of.exclusive, NULL);
    pthread_mutex_lock(&loader->lock);
    bool is_wanted = !loader->is_aborted && loader->generation == replication->primary.generation;
    if (is_wanted) {
        set_loading(replication, bit, true);
        snapshot_expect_bytes(replication->made_of.modules->snapshotter, loader->total_bytes);
        loader->has_set_loading = true;
        loader->removes_file =
            loader->is_through_file && replication_removes_sync_files(replication);
    }
    pthread_mutex_unlock(&loader->lock);
    if (is_wanted && drops_old) {
        log_notice("MASTER <-> REPLICA sync: Flushing old data");
        replicas_drop_all(replication, "the data set is replaced by the primary's");
        struct snapshot_data nothing;
        snapshot_data_init(replication->made_of.modules->snapshotter, &nothing);
        replace_data(replication, &nothing);
    }
    exclusive_end(replication->made_of.exclusive, NULL);
    return is_wanted;
}

static void on_loaded(void *arg);

/* By the name that it was given; this thread has it open, so nobody waits for its blocks. */
static void remove_file(struct loader *loader) {
    log_notice("Removing the RDB file obtained from the primary: this replica keeps nothing on "
               "its disk");
    disk_clean_up(loader->folder, loader->file_name);
}

static void *run(void *arg) {
    struct loader *loader = arg;
    struct replication *replication = loader->replication;
    pthread_setname_np(pthread_self(), "loader");
    mem_count_thread();
    fault_stack_use();
    // The data that is served is of the history that comes in: it may be read on meanwhile.
    uint32_t bit = !loader->is_through_file && loader->is_same_history ? ADMISSION_ASYNC_LOADING
                                                                       : ADMISSION_LOADING;
    loader->status = loader->is_through_file ? receive_to_file(loader) : STATUS_OK;
    if (loader->status == STATUS_OK && !enter_loading(loader, bit, loader->is_through_file))
        loader->status = STATUS_CLOSED;
    if (loader->status == STATUS_OK) {
        const struct snapshot_source source = {take_to_load, loader};
        log_notice("MASTER <-> REPLICA sync: Loading DB in memory");
        snapshot_data_init(replication->made_of.modules->snapshotter, &loader->fresh);
        loader->status = snapshot_load(replication->made_of.modules->snapshotter, &source,
                                       &loader->fresh, false, &loader->loaded);
    }
    if (loader->removes_file) remove_file(loader);
    if (loader->file >= 0) close(loader->file);
    __atomic_store_n(&loader->has_ended, true, __ATOMIC_RELEASE);
    loop_post(replication->loop, on_loaded, loader);
    return NULL;
}

/* -- worker 0's side -- */

static void loader_open_folder(struct loader *loader) {
    struct buffer name = {0};
    config_get_one(loader->replication->made_of.modules->config, "dbfilename", &name);
    loader->file_name = bytes_copy_text(buffer_view(&name));
    buffer_deinit(&name);
    loader->folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void loader_close_folder(struct loader *loader) {
    if (loader->folder >= 0) close(loader->folder);
    mem_free(loader->file_name);
}

static void loader_free(struct loader *loader) {
    struct loader **link = &loader->replication->loaders;
    while (*link != loader)
        link = &(*link)->next;
    *link = loader->next;
    pthread_join(loader->thread, NULL);
    loader_close_folder(loader);
    snapshot_data_deinit(&loader->fresh);
    buffer_deinit(&loader->queue);
    buffer_deinit(&loader->taken);
    pthread_cond_destroy(&loader->changed);
    pthread_mutex_destroy(&loader->lock);
    mem_free(loader);
}

static void leave_loading(struct loader *loader) {
    pthread_mutex_lock(&loader->lock);
    if (loader->has_set_loading)
        set_loading(loader->replication, ADMISSION_LOADING | ADMISSION_ASYNC_LOADING, false);
    loader->has_set_loading = false;
    pthread_mutex_unlock(&loader->lock);
}

/* The new data takes its place, and with it the primary's history. */
static void put_in_place(struct loader *loader) {
    struct replication *replication = loader->replication;
    struct primary_link *primary = &replication->primary;
    replace_data(replication, &loader->fresh);
    replicas_drop_all(replication, "the data set was replaced by the primary's");
    memcpy(replication->id, primary->id, sizeof(replication->id));
    memset(replication->second_id, '0', REPLICATION_ID_LEN);
    replication->second_offset = -1;
    journal_set_offset(replication->journal, primary->offset);
    journal_open_backlog(replication->journal);
    int database = loader->loaded.replication.database;
    journal_set_database(replication->journal, database);
    primary_link_begin_stream(replication, database);
    aof_begin_anew(replication->made_of.modules->aof);
}

static void on_loaded(void *arg) {
    struct loader *loader = arg;
    struct replication *replication = loader->replication;
    struct primary_link *primary = &replication->primary;
    if (primary->loader != loader) { // Given up meanwhile.
        loader_free(loader);
        return;
    }
    bool is_stale = false;
    if (loader->status == STATUS_OK) {
        replication_begin_exclusive(replication);
        is_stale = loader->generation != primary->generation;
        if (!is_stale) put_in_place(loader);
        leave_loading(loader);
        replication_end_exclusive(replication);
    }
    primary->loader = NULL;
    leave_loading(loader);
    if (loader->status != STATUS_OK) {
        log_warning("Failed trying to load the MASTER synchronization DB: %s",
                    loader->loaded.error[0] != '\0' ? loader->loaded.error
                                                    : status_text(loader->status));
        primary_link_drop(replication, true);
    } else if (!is_stale) {
        log_notice("MASTER <-> REPLICA sync: Finished with success");
        primary_link_acknowledge(replication);
        link_redeliver(primary->link);
    }
    loader_free(loader);
}

static bool is_empty(const struct replication *replication) {
    struct databases *databases = replication->made_of.databases;
    for (unsigned db = 0; db < databases_count(databases); db++) {
        const struct keyspace *keyspace = databases_keyspace_if_any(databases, db);
        if (keyspace != NULL && keyspace_count(keyspace) > 0) return false;
    }
    return true;
}

static void start_loader(struct replication *replication) {
    struct primary_link *primary = &replication->primary;
    int mode = replication->options->diskless_load;
    struct loader *loader = mem_alloc_zero(sizeof(*loader));
    loader->replication = replication;
    loader->generation = primary->generation;
    loader->is_through_file = mode == DISKLESS_LOAD_DISABLED ||
                              (mode == DISKLESS_LOAD_ON_EMPTY && !is_empty(replication));
    loader->is_same_history = strcmp(primary->id, replication->id) == 0;
    loader->total_bytes = primary->total_bytes;
    loader->file = -1;
    loader_open_folder(loader);
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->changed, NULL);
    loader->next = replication->loaders;
    replication->loaders = loader;
    primary->loader = loader;
    if (primary->has_mark) {
        log_notice("MASTER <-> REPLICA sync: receiving streamed RDB from master with EOF to %s",
                   loader->is_through_file ? "disk" : "parser");
    } else {
        log_notice("MASTER <-> REPLICA sync: receiving %llu bytes from master to %s",
                   (unsigned long long)primary->total_bytes,
                   loader->is_through_file ? "disk" : "parser");
    }
    int error = pthread_create(&loader->thread, NULL, run, loader);
    if (error == 0) return;
    log_warning("Can't start a thread to load the snapshot: %s", strerror(error));
    replication->loaders = loader->next;
    primary->loader = NULL;
    loader_close_folder(loader);
    mem_free(loader);
    primary_link_drop(replication, true);
}

static void push(struct loader *loader, const uint8_t *data, size_t len) {
    if (len == 0) return;
    pthread_mutex_lock(&loader->lock);
    buffer_append(&loader->queue, data, len);
    if (loader->queue.len > QUEUE_BYTES_MAX && !loader->is_link_paused) {
        loader->is_link_paused = true;
        link_pause_reading(loader->replication->primary.link, true);
    }
    pthread_cond_signal(&loader->changed);
    pthread_mutex_unlock(&loader->lock);
}

static void end_of_snapshot(struct replication *replication) {
    struct loader *loader = replication->primary.loader;
    primary_link_set_state(replication, LINK_LOADING);
    pthread_mutex_lock(&loader->lock);
    loader->is_complete = true;
    pthread_cond_signal(&loader->changed);
    pthread_mutex_unlock(&loader->lock);
}

/* Everything but the last 40 bytes goes on: they may be the mark. */
static void take_marked(struct replication *replication, struct bytes bytes) {
    struct primary_link *primary = &replication->primary;
    struct loader *loader = primary->loader;
    if (bytes.len >= REPLICATION_ID_LEN) {
        push(loader, primary->tail, primary->tail_len);
        push(loader, bytes.data, bytes.len - REPLICATION_ID_LEN);
        memcpy(primary->tail, bytes.data + bytes.len - REPLICATION_ID_LEN, REPLICATION_ID_LEN);
        primary->tail_len = REPLICATION_ID_LEN;
    } else {
        size_t sum = primary->tail_len + bytes.len;
        size_t over = sum > REPLICATION_ID_LEN ? sum - REPLICATION_ID_LEN : 0;
        push(loader, primary->tail, over);
        memmove(primary->tail, primary->tail + over, primary->tail_len - over);
        memcpy(primary->tail + primary->tail_len - over, bytes.data, bytes.len);
        primary->tail_len = sum - over;
    }
    if (primary->tail_len == REPLICATION_ID_LEN &&
        memcmp(primary->tail, primary->mark, REPLICATION_ID_LEN) == 0)
        end_of_snapshot(replication);
}

/* The line before the snapshot. False: the link was dropped. */
static bool take_header(struct replication *replication, struct bytes line) {
    struct primary_link *primary = &replication->primary;
    uint64_t total = 0;
    if (line.len == 0) return true; // A sign of life.
    if (line.data[0] == '-') {
        log_warning("MASTER aborted replication with an error: %.*s", (int)line.len,
                    (const char *)line.data);
    } else if (line.len == 5 + REPLICATION_ID_LEN && memcmp(line.data, "$EOF:", 5) == 0) {
        primary->has_header = primary->has_mark = true;
        memcpy(primary->mark, line.data + 5, REPLICATION_ID_LEN);
    } else if (line.data[0] == '$' && number_parse_u64(bytes_from(line, 1), &total) && total > 0) {
        primary->has_header = true;
        primary->total_bytes = total;
    } else {
        log_warning("Bad protocol from MASTER, the first byte is not '$' (we received '%.*s'), are "
                    "you sure the host and port are right?",
                    (int)(line.len < 64 ? line.len : 64), (const char *)line.data);
    }
    if (!primary->has_header) {
        primary_link_drop(replication, false);
        return false;
    }
    start_loader(replication);
    return primary->loader != NULL;
}

static size_t find_header(struct replication *replication, struct bytes bytes) {
    size_t used = 0;
    while (used < bytes.len && !replication->primary.has_header) {
        struct bytes rest = bytes_from(bytes, used);
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        if (end == NULL && rest.len <= HEADER_MAX_BYTES) break;
        size_t len = end == NULL ? HEADER_MAX_BYTES : (size_t)(end - rest.data);
        used += len + 1;
        if (len > 0 && rest.data[len - 1] == '\r') len--;
        if (!take_header(replication, bytes_of(rest.data, len))) return bytes.len;
    }
    return used;
}

void receive_begin(struct replication *replication) {
    struct primary_link *primary = &replication->primary;
    primary->has_header = primary->has_mark = false;
    primary->tail_len = 0;
    primary->total_bytes = primary->received_bytes = 0;
    primary->progress_ms = clock_monotonic_ms();
    primary_link_set_state(replication, LINK_RECEIVING);
}

size_t receive_bytes(struct replication *replication, struct bytes bytes) {
    struct primary_link *primary = &replication->primary;
    primary->progress_ms = clock_monotonic_ms();
    if (!primary->has_header) return find_header(replication, bytes);
    if (primary->has_mark) {
        primary->received_bytes += bytes.len;
        take_marked(replication, bytes);
        return bytes.len;
    }
    uint64_t left = primary->total_bytes - primary->received_bytes;
    size_t len = bytes.len < left ? bytes.len : (size_t)left;
    primary->received_bytes += len;
    push(primary->loader, bytes.data, len);
    if (primary->received_bytes == primary->total_bytes) end_of_snapshot(replication);
    return len;
}

void receive_abort(struct replication *replication) {
    struct loader *loader = replication->primary.loader;
    replication->primary.loader = NULL;
    if (loader == NULL) return;
    pthread_mutex_lock(&loader->lock);
    loader->is_aborted = true;
    pthread_cond_signal(&loader->changed);
    pthread_mutex_unlock(&loader->lock);
    leave_loading(loader);
}

void receive_deinit(struct replication *replication) {
    while (replication->loaders != NULL)
        loader_free(replication->loaders);
}

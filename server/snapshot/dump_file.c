/* The dump file: written under a temporary name, made durable, then put in place. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/disk.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/snapshot/snapshot_internal.h"

enum { SYNC_EVERY_BYTES = 4 << 20 }; /* With rdb-save-incremental-fsync. */

struct dump_file {
    struct snapshotter *snapshotter;
    uint64_t number; /* In the order in which saves began. */
    int folder;      /* Where `dir` was when it began. */
    int fd;
    char temporary[512];
    char name[512]; /* dbfilename, as it was then. */
    size_t unsynced_bytes;
    bool is_awaited; /* By the client of a SAVE, who hears what became of it. */
    snapshot_saved *fn;
    void *arg;
};

static struct dump_file *dump_file_open(struct snapshotter *snapshotter) {
    struct dump_file *file = mem_alloc_zero(sizeof(*file));
    file->snapshotter = snapshotter;
    file->number = ++snapshotter->last_save_number;
    snprintf(file->temporary, sizeof(file->temporary), "temp-%d-%llu.rdb", (int)getpid(),
             (unsigned long long)clock_monotonic_us());
    snprintf(file->name, sizeof(file->name), "%s", snapshotter->options.options->file_name);
    file->folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    file->fd = file->folder < 0
                   ? -1
                   : disk_open(file->folder, file->temporary, O_WRONLY | O_CREAT | O_TRUNC);
    if (file->fd >= 0) return file;
    log_warning("Failed opening the temporary RDB file %s for saving: %s", file->temporary,
                strerror(errno));
    if (file->folder >= 0) close(file->folder);
    mem_free(file);
    return NULL;
}

static enum status write_file(void *state, struct bytes bytes) {
    struct dump_file *file = state;
    bool is_written = disk_write(file->fd, bytes, NULL);
    file->unsynced_bytes += bytes.len;
    if (is_written && file->unsynced_bytes >= SYNC_EVERY_BYTES &&
        file->snapshotter->options.options->syncs_in_pieces) {
        is_written = disk_sync_data(file->fd);
        file->unsynced_bytes = 0;
    }
    if (is_written) return STATUS_OK;
    log_warning("Write error while saving the DB to %s: %s", file->temporary, strerror(errno));
    return STATUS_IO_ERROR;
}

/* Gives the file its name, unless a younger one has it: the file of a pass never takes the place of
 * one that SHUTDOWN has just written. */
static enum status put_in_place(const struct dump_file *file) {
    struct snapshotter *snapshotter = file->snapshotter;
    enum status status = STATUS_OK;
    pthread_mutex_lock(&snapshotter->name_lock);
    if (snapshotter->named_save_number > file->number) {
        disk_clean_up(file->folder, file->temporary);
    } else if (disk_rename(file->folder, file->temporary, file->folder, file->name)) {
        snapshotter->named_save_number = file->number;
    } else {
        status = STATUS_IO_ERROR;
    }
    pthread_mutex_unlock(&snapshotter->name_lock);
    if (status == STATUS_OK && !disk_sync_folder(file->folder)) status = STATUS_IO_ERROR;
    if (status != STATUS_OK)
        log_warning("Error moving temp DB file %s to the final destination %s: %s", file->temporary,
                    file->name, strerror(errno));
    return status;
}

/* Durable first, then visible. May wait for the disk: nothing is parked. */
static enum status finish_file(void *state) {
    const struct dump_file *file = state;
    if (disk_sync(file->fd)) return put_in_place(file);
    log_warning("Error syncing temp DB file %s: %s", file->temporary, strerror(errno));
    return STATUS_IO_ERROR;
}

static void dump_file_close(struct dump_file *file, enum status status) {
    close(file->fd);
    if (status != STATUS_OK) disk_clean_up(file->folder, file->temporary);
    close(file->folder);
    mem_free(file);
}

void dump_file_apply_options(struct snapshotter *snapshotter) {
    bool refuses = snapshotter->last_failed &&
                   snapshotter->options.options->stops_writes_on_error &&
                   snapshotter->options.options->save_points.count > 0;
    dispatcher_set_admission(snapshotter->options.modules->dispatcher, ADMISSION_DISK_ERROR,
                             refuses);
}

/* The dump file has everything up to that many changes; a younger one may have more already. */
static void note_saved(struct snapshotter *snapshotter, uint64_t changes) {
    if (changes > snapshotter->changes_at_save) snapshotter->changes_at_save = changes;
    snapshotter->last_save_s = clock_wall_ms() / 1000;
    snapshotter->last_failed = false;
    log_notice("DB saved on disk");
    dump_file_apply_options(snapshotter);
}

/* Only a failure that nobody hears of otherwise has writes refused. */
static void note_outcome(struct snapshotter *snapshotter, enum status status, bool is_awaited) {
    snapshotter->is_saving = false;
    if (!is_awaited)
        snapshotter->last_seconds =
            (int64_t)((clock_monotonic_ms() - snapshotter->save_began_ms) / 1000);
    if (status == STATUS_OK) {
        note_saved(snapshotter, snapshotter->changes_at_begin);
        return;
    }
    if (is_awaited) return;
    log_warning("Background saving error");
    snapshotter->last_failed = true;
    dump_file_apply_options(snapshotter);
}

/* Everything is parked: what is slow was done before, by finish_file. */
static void done_file(void *state, enum status status) {
    struct dump_file *file = state;
    struct snapshotter *snapshotter = file->snapshotter;
    note_outcome(snapshotter, status, file->is_awaited);
    if (file->fn != NULL)
        file->fn(file->arg, status,
                 &(struct snapshot_dump){file->folder, file->name, file->number});
    dump_file_close(file, status);
}

static void note_beginning(struct snapshotter *snapshotter) {
    snapshotter->is_saving = true;
    snapshotter->is_save_scheduled = false;
    snapshotter->save_began_ms = snapshotter->last_try_ms = clock_monotonic_ms();
    snapshotter->changes_at_begin = snapshot_changes(snapshotter);
    snapshotter->saves++;
}

static bool begin_save(struct snapshotter *snapshotter, bool is_awaited, snapshot_saved *fn,
                       void *arg) {
    if (snapshotter->is_saving || !snapshot_has_room(snapshotter)) return false;
    note_beginning(snapshotter);
    struct dump_file *file = dump_file_open(snapshotter);
    if (file == NULL) {
        note_outcome(snapshotter, STATUS_IO_ERROR, is_awaited);
        if (fn != NULL) fn(arg, STATUS_IO_ERROR, NULL);
        return true;
    }
    file->is_awaited = is_awaited;
    file->fn = fn;
    file->arg = arg;
    const struct snapshot_sink sink = {
        .write = write_file, .finish = finish_file, .done = done_file, .state = file};
    ASSERT(snapshot_begin(snapshotter, &sink) != NULL);
    return true;
}

bool snapshot_save_in_background(struct snapshotter *snapshotter, snapshot_saved *fn, void *arg) {
    return begin_save(snapshotter, false, fn, arg);
}

bool snapshot_save_for_client(struct snapshotter *snapshotter, snapshot_saved *fn, void *arg) {
    return begin_save(snapshotter, true, fn, arg);
}

bool snapshot_dump_is(struct snapshotter *snapshotter, uint64_t number) {
    pthread_mutex_lock(&snapshotter->name_lock);
    bool is = snapshotter->named_save_number == number;
    pthread_mutex_unlock(&snapshotter->name_lock);
    return is;
}

/* -- at once -- */

struct direct_save {
    struct rdb_writer writer;
    const struct snapshotter *snapshotter;
};

static void write_visit(void *arg, struct record *record) {
    struct direct_save *save = arg;
    snapshot_write_record(save->snapshotter, &save->writer, record);
}

static void write_keyspace(struct direct_save *save, struct keyspace *keyspace, unsigned db) {
    rdb_write_select_db(&save->writer, db);
    rdb_write_resize_db(&save->writer, keyspace_count(keyspace), keyspace_deadline_count(keyspace));
    for (unsigned slot = keyspace_next_slot(keyspace, 0); slot < SLOT_COUNT;
         slot = keyspace_next_slot(keyspace, slot + 1)) {
        table_walk(keyspace_table(keyspace, (uint16_t)slot), 0, 0, keyspace_hasher(keyspace),
                   write_visit, save);
    }
}

static enum status write_all(struct snapshotter *snapshotter, bool is_log_base,
                             enum status (*write)(void *state, struct bytes bytes), void *state) {
    struct databases *databases = snapshotter->options.databases;
    struct direct_save save = {.snapshotter = snapshotter};
    rdb_writer_init(&save.writer,
                    &(struct rdb_writer_options){
                        .sink = {write, state},
                        .has_checksum = snapshotter->options.options->has_checksum,
                        .is_compressing = snapshotter->options.options->is_compressing,
                    });
    struct mem_stats memory;
    mem_stats_read(&memory);
    snapshot_write_head(snapshotter, &save.writer, is_log_base, memory.allocated_bytes);
    snapshot_write_libraries(snapshotter, &save.writer);
    for (unsigned db = 0; db < databases_count(databases); db++) {
        struct keyspace *keyspace = databases_keyspace_if_any(databases, db);
        if (keyspace != NULL && keyspace_count(keyspace) > 0) write_keyspace(&save, keyspace, db);
    }
    rdb_write_end(&save.writer);
    enum status status = rdb_writer_status(&save.writer);
    rdb_writer_deinit(&save.writer);
    return status;
}

void snapshot_write_without_keys(const struct snapshotter *snapshotter, bool has_libraries,
                                 struct buffer *out) {
    struct rdb_writer writer;
    rdb_writer_init(&writer, &(struct rdb_writer_options){
                                 .has_checksum = snapshotter->options.options->has_checksum,
                                 .is_compressing = snapshotter->options.options->is_compressing,
                             });
    snapshot_write_head(snapshotter, &writer, false, 0);
    if (has_libraries) snapshot_write_libraries(snapshotter, &writer);
    rdb_write_end(&writer);
    buffer_append_bytes(out, buffer_view(&writer.buffer));
    rdb_writer_deinit(&writer);
}

enum status snapshot_write_base(struct snapshotter *snapshotter,
                                enum status (*write)(void *state, struct bytes bytes),
                                void *state) {
    return write_all(snapshotter, true, write, state);
}

enum status snapshot_save_now(struct snapshotter *snapshotter) {
    struct dump_file *file = dump_file_open(snapshotter);
    enum status status = STATUS_IO_ERROR;
    if (file != NULL) {
        status = write_all(snapshotter, false, write_file, file);
        if (status == STATUS_OK) status = finish_file(file);
        dump_file_close(file, status);
    }
    if (status == STATUS_OK) note_saved(snapshotter, snapshot_changes(snapshotter));
    return status;
}

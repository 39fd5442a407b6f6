/* The dump file: written under a temporary name, made durable, then put in place. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/disk.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/snapshot/snapshot_internal.h"

struct dump_file {
    struct snapshotter *snapshotter;
    int fd;
    char temporary[512];
    void (*fn)(void *arg, enum status status);
    void *arg;
};

static struct dump_file *dump_file_open(struct snapshotter *snapshotter) {
    struct dump_file *file = mem_alloc_zero(sizeof(*file));
    file->snapshotter = snapshotter;
    snprintf(file->temporary, sizeof(file->temporary), "temp-%d-%llu.rdb", (int)getpid(),
             (unsigned long long)clock_monotonic_us());
    file->fd = disk_open(AT_FDCWD, file->temporary, O_WRONLY | O_CREAT | O_TRUNC);
    if (file->fd >= 0) return file;
    log_warning("Failed opening the temporary RDB file %s for saving: %s", file->temporary,
                strerror(errno));
    mem_free(file);
    return NULL;
}

static enum status write_file(void *state, struct bytes bytes) {
    const struct dump_file *file = state;
    if (disk_write(file->fd, bytes, NULL)) return STATUS_OK;
    log_warning("Write error while saving the DB to %s: %s", file->temporary, strerror(errno));
    return STATUS_IO_ERROR;
}

static enum status sync_file(void *state) {
    const struct dump_file *file = state;
    if (disk_sync(file->fd)) return STATUS_OK;
    log_warning("Error syncing temp DB file %s: %s", file->temporary, strerror(errno));
    return STATUS_IO_ERROR;
}

/* Durable first (sync_file), then visible. While everything is parked, so that the file of a pass
 * never takes the place of one that SHUTDOWN has just written. */
static enum status put_in_place(const struct dump_file *file) {
    const char *name = file->snapshotter->options.options->file_name;
    if (!disk_rename(AT_FDCWD, file->temporary, AT_FDCWD, name) || !disk_sync_folder_of(name)) {
        log_warning("Error moving temp DB file %s to the final destination %s: %s", file->temporary,
                    name, strerror(errno));
        return STATUS_IO_ERROR;
    }
    return STATUS_OK;
}

static void dump_file_close(struct dump_file *file, enum status status) {
    close(file->fd);
    if (status != STATUS_OK) disk_clean_up(AT_FDCWD, file->temporary);
    mem_free(file);
}

static void set_disk_error(struct snapshotter *snapshotter) {
    bool refuses = snapshotter->last_failed &&
                   snapshotter->options.options->stops_writes_on_error &&
                   snapshotter->options.options->save_points.count > 0;
    dispatcher_set_admission(snapshotter->options.modules->dispatcher, ADMISSION_DISK_ERROR,
                             refuses);
}

static void note_outcome(struct snapshotter *snapshotter, enum status status) {
    snapshotter->is_saving = false;
    snapshotter->last_failed = status != STATUS_OK;
    snapshotter->last_seconds =
        (int64_t)((clock_monotonic_ms() - snapshotter->save_began_ms) / 1000);
    if (status == STATUS_OK) {
        snapshotter->last_save_s = clock_wall_ms() / 1000;
        snapshotter->changes_at_save = snapshotter->changes_at_begin;
        snapshotter->saves++;
        log_notice("DB saved on disk");
    }
    set_disk_error(snapshotter);
}

/* Everything is parked: what is slow was done before, by sync_file. */
static void done_file(void *state, enum status status) {
    struct dump_file *file = state;
    struct snapshotter *snapshotter = file->snapshotter;
    void (*fn)(void *arg, enum status) = file->fn;
    void *arg = file->arg;
    if (status == STATUS_OK) status = put_in_place(file);
    dump_file_close(file, status);
    note_outcome(snapshotter, status);
    if (fn != NULL) fn(arg, status);
}

static void note_beginning(struct snapshotter *snapshotter) {
    snapshotter->is_saving = true;
    snapshotter->is_save_scheduled = false;
    snapshotter->save_began_ms = snapshotter->last_try_ms = clock_monotonic_ms();
    snapshotter->changes_at_begin = snapshot_changes(snapshotter);
}

bool snapshot_save_in_background(struct snapshotter *snapshotter,
                                 void (*fn)(void *arg, enum status status), void *arg) {
    if (snapshotter->is_saving) return false;
    note_beginning(snapshotter);
    struct dump_file *file = dump_file_open(snapshotter);
    if (file == NULL) {
        note_outcome(snapshotter, STATUS_IO_ERROR);
        if (fn != NULL) fn(arg, STATUS_IO_ERROR);
        return true;
    }
    file->fn = fn;
    file->arg = arg;
    const struct snapshot_sink sink = {
        .write = write_file, .finish = sync_file, .done = done_file, .state = file};
    if (snapshot_begin(snapshotter, &sink) != NULL) return true;
    dump_file_close(file, STATUS_BUSY);
    snapshotter->is_saving = false;
    return false;
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
    snapshot_write_head(snapshotter, &save.writer, is_log_base, 0);
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
    bool was_saving = snapshotter->is_saving;
    note_beginning(snapshotter);
    struct dump_file *file = dump_file_open(snapshotter);
    enum status status = STATUS_IO_ERROR;
    if (file != NULL) {
        status = write_all(snapshotter, false, write_file, file);
        if (status == STATUS_OK) status = sync_file(file);
        if (status == STATUS_OK) status = put_in_place(file);
        dump_file_close(file, status);
    }
    note_outcome(snapshotter, status);
    snapshotter->is_saving = was_saving;
    return status;
}

/* Loading the log: the base, then the increments, as if a client had sent them. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "server/aof/aof_internal.h"
#include "server/aof/aof_reader.h"
#include "server/base/clock.h"
#include "server/base/disk.h"
#include "server/base/log.h"
#include "server/base/mem.h"

enum { PIECE_BYTES = 256 * 1024, MAGIC_BYTES = 5 };

struct load {
    struct aof *aof;
    struct dispatch_worker *worker;
    const char *name; /* Of the file at work. */
    int file;
    bool is_base;
    bool is_last;   /* No bytes of the log lie behind it: its tail may be missing. */
    bool is_parked; /* Everybody else is. */
    uint8_t *piece;
    struct session session;
    struct buffer out;
    uint64_t commands;
};

static enum status read_some(struct load *load, uint8_t *out, size_t cap, size_t *out_len) {
    for (;;) {
        ssize_t got = read(load->file, out, cap);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            log_warning("Unrecoverable error reading the append only file %s: %s", load->name,
                        strerror(errno));
            return STATUS_IO_ERROR;
        }
        *out_len = (size_t)got;
        snapshot_note_loaded(load->aof->made_of.modules->snapshotter, *out_len);
        return STATUS_OK;
    }
}

static enum status fill(void *state, uint8_t *out, size_t cap, size_t *out_len) {
    return read_some(state, out, cap, out_len);
}

/* -- the base as an RDB -- */

static bool starts_with_rdb(const struct load *load) {
    char magic[MAGIC_BYTES];
    return pread(load->file, magic, MAGIC_BYTES, 0) == MAGIC_BYTES &&
           memcmp(magic, "REDIS", MAGIC_BYTES) == 0;
}

/* Sets out_end to where commands may follow. */
static enum status load_rdb(struct load *load, uint64_t *out_end) {
    struct snapshotter *snapshotter = load->aof->made_of.modules->snapshotter;
    struct snapshot_data fresh;
    struct snapshot_loaded loaded;
    const struct snapshot_source source = {fill, load};
    snapshot_data_init(snapshotter, &fresh);
    enum status status = snapshot_load(snapshotter, &source, &fresh, false, &loaded);
    if (status != STATUS_OK) {
        bool is_old_style = strcmp(load->name, load->aof->options->file_prefix) == 0;
        log_warning("%s", loaded.error);
        log_warning("Error reading the RDB %s %s, AOF loading aborted",
                    is_old_style ? "preamble of the AOF file" : "base file", load->name);
        snapshot_data_deinit(&fresh);
        return status;
    }
    struct exclusive *exclusive = load->aof->made_of.exclusive;
    if (!load->is_parked) exclusive_begin(exclusive, NULL);
    snapshot_data_adopt(snapshotter, &fresh);
    if (!load->is_parked) exclusive_end(exclusive, NULL);
    *out_end = loaded.bytes;
    if (lseek(load->file, (off_t)loaded.bytes, SEEK_SET) >= 0) return STATUS_OK;
    log_warning("Can't go on reading the append only file %s: %s", load->name, strerror(errno));
    return STATUS_IO_ERROR;
}

/* -- commands -- */

static bool is_known(const struct load *load, const struct aof_event *event) {
    const struct command *row =
        command_table_find(load->aof->made_of.modules->commands, event->argv[0]);
    if (row == NULL) return false;
    if (row->subcommands == NULL || event->argc < 2) return true;
    return command_find_subcommand(row, event->argv[1]) != NULL;
}

static enum status run_command(struct load *load, const struct aof_event *event) {
    char name[128];
    bytes_to_text(event->argv[0], name, sizeof(name));
    if (!is_known(load, event)) {
        log_warning("Unknown command '%s' reading the append only file %s", name, load->name);
        return STATUS_BAD_FORMAT;
    }
    uint32_t errors = load->session.reply.error_count;
    dispatch_run(load->worker, &load->session, event->argv, (uint32_t)event->argc);
    load->session.block = SESSION_NOT_BLOCKED;
    load->commands++;
    struct turn *turn = dispatch_worker_turn(load->worker);
    if (!load->is_parked && turn_should_yield(turn)) turn_yield(turn);
    if (load->session.reply.error_count != errors)
        log_warning("== CRITICAL == This server is sending an error to its AOF-loading-client: "
                    "'%s' after processing the command '%s'",
                    load->session.reply.last_error, name);
    return STATUS_OK;
}

static enum status run_events(struct load *load, struct aof_reader *reader,
                              enum aof_event_kind *out_kind) {
    struct aof_event event;
    enum status status = STATUS_OK;
    do {
        *out_kind = aof_reader_next(reader, &event);
        if (*out_kind == AOF_EVENT_COMMAND) status = run_command(load, &event);
    } while (*out_kind > AOF_EVENT_BROKEN && status == STATUS_OK);
    return status;
}

/* Feeds the file to the reader up to its end or to what is no command. */
static enum status run_file(struct load *load, struct aof_reader *reader) {
    enum aof_event_kind kind = AOF_EVENT_MORE;
    while (kind != AOF_EVENT_BROKEN) {
        size_t len = 0;
        enum status status = read_some(load, load->piece, PIECE_BYTES, &len);
        if (status != STATUS_OK || len == 0) return status;
        aof_reader_feed(reader, bytes_of(load->piece, len));
        dispatch_batch_begin(load->worker);
        status = run_events(load, reader, &kind);
        if (status != STATUS_OK) return status;
    }
    return STATUS_OK;
}

/* -- a file that ends too early -- */

static enum status cut_tail(struct load *load, const struct aof_verdict *verdict) {
    log_warning("!!! Warning: short read while loading the AOF file %s!!!", load->name);
    log_warning("!!! Truncating the AOF %s at offset %" PRIu64 " !!!", load->name,
                verdict->valid_bytes);
    int file = disk_open(load->aof->folder, load->name, O_WRONLY);
    bool is_cut = file >= 0 && disk_truncate(file, verdict->valid_bytes) && disk_sync(file);
    int error = errno;
    if (file >= 0) close(file);
    if (!is_cut) {
        log_warning("Error truncating the AOF file %s: %s", load->name, strerror(error));
        return STATUS_IO_ERROR;
    }
    log_warning("AOF %s loaded anyway because aof-load-truncated is enabled", load->name);
    return STATUS_OK;
}

static enum status judge(struct load *load, const struct aof_reader *reader) {
    struct aof_verdict verdict;
    aof_reader_end(reader, &verdict);
    if (verdict.outcome == AOF_COMPLETE) return STATUS_OK;
    if (verdict.outcome == AOF_CORRUPT) {
        log_warning("Bad file format reading the append only file %s: make a backup of your AOF "
                    "file, then use ./redis-check-aof --fix <filename.manifest>",
                    load->name);
        log_warning("The damage is at offset %" PRIu64 "; dunlin-check-aof --fix does the same.",
                    verdict.fault_offset);
        return STATUS_BAD_FORMAT;
    }
    if (verdict.is_in_transaction)
        log_warning("Revert incomplete MULTI/EXEC transaction in AOF file %s", load->name);
    if (!load->aof->options->loads_truncated) {
        log_warning("Unexpected end of file reading the append only file %s. You can: 1) Make a "
                    "backup of your AOF file, then use ./redis-check-aof --fix "
                    "<filename.manifest>. 2) Alternatively you can set the 'aof-load-truncated' "
                    "configuration option to yes and restart the server.",
                    load->name);
        return STATUS_BAD_FORMAT;
    }
    if (!load->is_last) {
        log_warning("Fatal error: the truncated file is not the last file");
        return STATUS_BAD_FORMAT;
    }
    return cut_tail(load, &verdict);
}

/* -- a file -- */

/* Each file begins with database 0 and without a transaction. */
static void begin_session(struct load *load) {
    session_deinit(&load->session);
    session_init(&load->session, 0, &load->out);
    load->session.kind = SESSION_LOADER;
    session_trust(&load->session);
    load->session.reply.is_muted = true;
}

static enum status load_content(struct load *load) {
    uint64_t start = 0;
    if (load->is_base && starts_with_rdb(load)) {
        enum status status = load_rdb(load, &start);
        if (status != STATUS_OK) return status;
    }
    struct aof_reader *reader = aof_reader_create(&(struct aof_reader_options){
        .start_offset = start, .argument_max_count = INT32_MAX, .keeps_arguments = true});
    begin_session(load);
    struct turn *turn = dispatch_worker_turn(load->worker);
    if (!load->is_parked) turn_begin(turn);
    enum status status = run_file(load, reader);
    if (!load->is_parked) turn_end(turn);
    if (status == STATUS_OK) status = judge(load, reader);
    aof_reader_destroy(reader);
    return status;
}

/* A file may be begun, and in the manifest, before the last writes to the one before are on the
 * disk: what comes first is cut off where nothing came after it. */
static bool is_followed(struct aof *aof, const struct aof_file *file, bool is_base) {
    const struct aof_file_list *increments = &aof->manifest.increments;
    if (is_base) return increments->count > 0; // It was whole when it got its name.
    for (size_t i = (size_t)(file - increments->items) + 1; i < increments->count; i++) {
        uint64_t bytes = 0;
        if (aof_file_bytes(aof, increments->items[i].name, &bytes) != STATUS_OK || bytes > 0)
            return true;
    }
    return false;
}

static enum status load_file(struct load *load, const struct aof_file *file, bool is_base) {
    uint64_t began_ms = clock_monotonic_ms();
    load->name = file->name;
    load->is_base = is_base;
    load->is_last = !is_followed(load->aof, file, is_base);
    load->file = disk_open(load->aof->folder, file->name, O_RDONLY);
    if (load->file < 0) {
        log_warning("Fatal error: can't open the append log file %s for reading: %s", file->name,
                    strerror(errno));
        return STATUS_IO_ERROR;
    }
    enum status status = load_content(load);
    close(load->file);
    if (status == STATUS_OK)
        log_notice("DB loaded from %s file %s: %.3f seconds", is_base ? "base" : "incr", file->name,
                   (double)(clock_monotonic_ms() - began_ms) / 1000);
    return status;
}

/* -- all files -- */

static enum status sum_bytes(struct aof *aof, uint64_t *out_base, uint64_t *out_total) {
    const struct aof_manifest *manifest = &aof->manifest;
    uint64_t bytes = 0;
    *out_base = *out_total = 0;
    if (manifest->base.name != NULL) {
        enum status status = aof_file_bytes(aof, manifest->base.name, out_base);
        if (status != STATUS_OK) return status;
    }
    *out_total = *out_base;
    for (size_t i = 0; i < manifest->increments.count; i++) {
        enum status status = aof_file_bytes(aof, manifest->increments.items[i].name, &bytes);
        if (status != STATUS_OK) return status;
        *out_total += bytes;
    }
    return STATUS_OK;
}

static enum status load_all(struct load *load) {
    const struct aof_manifest *manifest = &load->aof->manifest;
    enum status status = STATUS_OK;
    if (manifest->base.name != NULL) status = load_file(load, &manifest->base, true);
    for (size_t i = 0; status == STATUS_OK && i < manifest->increments.count; i++)
        status = load_file(load, &manifest->increments.items[i], false);
    return status;
}

/* Nobody else uses the worker, or it owns an exclusive section. */
static enum status load_through(struct aof *aof, struct dispatch_worker *worker, bool is_parked) {
    struct load *load = mem_alloc_zero(sizeof(*load));
    load->aof = aof;
    load->worker = worker;
    load->is_parked = is_parked;
    load->piece = mem_alloc(PIECE_BYTES);
    session_init(&load->session, 0, &load->out);
    uint64_t began_ms = clock_monotonic_ms();
    enum status status = load_all(load);
    if (status == STATUS_OK)
        log_notice("DB loaded from append only file: %.3f seconds, %" PRIu64 " commands",
                   (double)(clock_monotonic_ms() - began_ms) / 1000, load->commands);
    session_deinit(&load->session);
    buffer_deinit(&load->out);
    mem_free(load->piece);
    mem_free(load);
    return status;
}

static bool load_files(struct aof *aof, struct dispatch_worker *worker, bool is_parked) {
    uint64_t base = 0;
    uint64_t total = 0;
    if (aof_manifest_is_empty(&aof->manifest)) return true;
    if (sum_bytes(aof, &base, &total) != STATUS_OK) return false;
    if (!is_parked) snapshot_expect_bytes(aof->made_of.modules->snapshotter, total);
    if (total > 0 && load_through(aof, worker, is_parked) != STATUS_OK) return false;
    // Again: a tail may have been cut off.
    if (sum_bytes(aof, &base, &total) != STATUS_OK) return false;
    atomic_store(&aof->base_bytes, base);
    atomic_store(&aof->current_bytes, total);
    return true;
}

bool aof_load(struct aof *aof, struct dispatch_worker *worker) {
    if (aof_manifest_load(aof) != STATUS_OK || aof_adopt_old_file(aof) != STATUS_OK) return false;
    bool is_loaded = load_files(aof, worker, false);
    snapshot_forget_changes(aof->made_of.modules->snapshotter);
    return is_loaded;
}

bool aof_reload(struct aof *aof, struct dispatch_worker *worker) {
    struct snapshotter *snapshotter = aof->made_of.modules->snapshotter;
    struct snapshot_data nothing;
    if (atomic_load(&aof->state) != AOF_ON) {
        log_warning("There is no complete append-only file to load");
        return false;
    }
    aof_sync_now(aof);
    snapshot_data_init(snapshotter, &nothing);
    snapshot_data_adopt(snapshotter, &nothing);
    pthread_mutex_lock(&aof->manifest_lock);
    bool is_loaded = load_files(aof, worker, true);
    pthread_mutex_unlock(&aof->manifest_lock);
    return is_loaded;
}

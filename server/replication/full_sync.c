/* Snapshots for replicas: one pass, or one dump file, for all that wait. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/disk.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/replication/replication_internal.h"

enum {
    QUEUE_BYTES_MAX = 4 << 20, /* What the slowest replica may be behind the pass. */
    ROOM_WAIT_MS = 200,
    FILE_CHUNK_BYTES = 256 * 1024,
};

/* -- the shared queue -- */

static void free_read_chunks(struct transfer *transfer) {
    while (transfer->first != NULL && transfer->first->pins == 0 &&
           (transfer->first->next != NULL || transfer->is_done)) {
        struct transfer_chunk *chunk = transfer->first;
        transfer->first = chunk->next;
        if (transfer->first == NULL) transfer->last = NULL;
        mem_free(chunk);
    }
    pthread_cond_signal(&transfer->room);
}

/* The lock is held; gives it back. */
static void unref_and_unlock(struct transfer *transfer) {
    bool is_last = --transfer->refs == 0;
    pthread_mutex_unlock(&transfer->lock);
    if (!is_last) return;
    while (transfer->first != NULL) {
        struct transfer_chunk *chunk = transfer->first;
        transfer->first = chunk->next;
        mem_free(chunk);
    }
    pthread_cond_destroy(&transfer->room);
    pthread_mutex_destroy(&transfer->lock);
    mem_free(transfer);
}

static void add_chunk(struct transfer *transfer, struct bytes bytes) {
    struct transfer_chunk *chunk = mem_alloc(sizeof(*chunk) + bytes.len);
    *chunk = (struct transfer_chunk){.pins = transfer->replica_count, .len = bytes.len};
    memcpy(chunk->bytes, bytes.data, bytes.len);
    if (transfer->last == NULL) {
        transfer->first = chunk;
    } else {
        transfer->last->next = chunk;
    }
    transfer->last = chunk;
    transfer->queued_bytes += bytes.len;
}

/* What is not read by everybody yet. */
static size_t unread_bytes(const struct transfer *transfer) {
    size_t sum = 0;
    for (const struct transfer_chunk *chunk = transfer->first; chunk != NULL; chunk = chunk->next)
        sum += chunk->pins > 0 ? chunk->len : 0;
    return sum;
}

static void kick_receivers(struct transfer *transfer) {
    struct replication *replication = transfer->replication;
    pthread_mutex_lock(&replication->lock);
    for (const struct replica *replica = replication->replicas; replica != NULL;
         replica = replica->next) {
        if (replica->transfer == transfer) network_kick(replication->network, replica->session_id);
    }
    pthread_mutex_unlock(&replication->lock);
}

/* On the pass's thread, nothing locked and no turn held: the slowest replica sets the pace. */
static enum status write_transfer(void *state, struct bytes bytes) {
    struct transfer *transfer = state;
    pthread_mutex_lock(&transfer->lock);
    while (transfer->replica_count > 0 && unread_bytes(transfer) >= QUEUE_BYTES_MAX) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += ROOM_WAIT_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&transfer->room, &transfer->lock, &until);
    }
    bool has_readers = transfer->replica_count > 0;
    if (has_readers) add_chunk(transfer, bytes);
    pthread_mutex_unlock(&transfer->lock);
    if (!has_readers) return STATUS_CLOSED;
    kick_receivers(transfer);
    return STATUS_OK;
}

static void done_transfer(void *state, enum status status) {
    struct transfer *transfer = state;
    struct replication *replication = transfer->replication;
    if (status == STATUS_OK) {
        pthread_mutex_lock(&transfer->lock);
        if (transfer->replica_count > 0)
            add_chunk(transfer, bytes_of(transfer->mark, REPLICATION_ID_LEN));
        transfer->is_done = true;
        pthread_mutex_unlock(&transfer->lock);
        kick_receivers(transfer);
    } else {
        log_warning("The snapshot for replicas ended early: %s", status_text(status));
        // Everything is parked: the list stands still.
        for (struct replica *replica = replication->replicas; replica != NULL;
             replica = replica->next) {
            if (replica->transfer == transfer) replica_close(replica);
        }
    }
    pthread_mutex_lock(&transfer->lock);
    unref_and_unlock(transfer);
}

struct bytes transfer_peek(struct replica *replica) {
    struct transfer *transfer = replica->transfer;
    struct bytes bytes = bytes_of(NULL, 0);
    if (transfer == NULL) return bytes;
    pthread_mutex_lock(&transfer->lock);
    if (replica->chunk == NULL) {
        replica->chunk = transfer->first;
        replica->chunk_sent = 0;
    } else if (replica->chunk_sent == replica->chunk->len && replica->chunk->next != NULL) {
        struct transfer_chunk *read = replica->chunk;
        replica->chunk = read->next;
        replica->chunk_sent = 0;
        read->pins--;
        free_read_chunks(transfer);
    }
    if (replica->chunk != NULL)
        bytes = bytes_of(replica->chunk->bytes + replica->chunk_sent,
                         replica->chunk->len - replica->chunk_sent);
    bool is_over = bytes.len == 0 && transfer->is_done;
    pthread_mutex_unlock(&transfer->lock);
    if (is_over) transfer_leave(replica);
    return bytes;
}

void transfer_advance(struct replica *replica, size_t count) {
    replica->chunk_sent += count;
    // The pass waits for room, and a chunk that is read whole is room.
    if (replica->chunk_sent == replica->chunk->len) transfer_peek(replica);
}

void transfer_leave(struct replica *replica) {
    struct transfer *transfer = replica->transfer;
    if (transfer == NULL) return;
    pthread_mutex_lock(&replica->replication->lock);
    replica->transfer = NULL;
    pthread_mutex_unlock(&replica->replication->lock);
    pthread_mutex_lock(&transfer->lock);
    struct transfer_chunk *chunk = replica->chunk != NULL ? replica->chunk : transfer->first;
    for (; chunk != NULL; chunk = chunk->next)
        chunk->pins--;
    replica->chunk = NULL;
    transfer->replica_count--;
    free_read_chunks(transfer);
    unref_and_unlock(transfer);
}

/* -- the file -- */

struct bytes file_peek(struct replica *replica) {
    if (replica->file_sent < replica->file_bytes.len)
        return bytes_from(buffer_view(&replica->file_bytes), replica->file_sent);
    if (replica->file_left == 0) return bytes_of(NULL, 0);
    buffer_clear(&replica->file_bytes);
    replica->file_sent = 0;
    size_t want =
        replica->file_left < FILE_CHUNK_BYTES ? (size_t)replica->file_left : FILE_CHUNK_BYTES;
    ssize_t got = read(replica->file, buffer_reserve(&replica->file_bytes, want), want);
    if (got <= 0) {
        log_warning("Reading the dump file for a replica failed: %s",
                    got == 0 ? "it is shorter than it was" : strerror(errno));
        replica_close(replica);
        return bytes_of(NULL, 0);
    }
    replica->file_bytes.len = (size_t)got;
    return buffer_view(&replica->file_bytes);
}

void file_advance(struct replica *replica, size_t count) {
    replica->file_sent += count;
    replica->file_left -= count;
}

/* -- beginning -- */

/* How a replica gets its snapshot. */
enum sync_way {
    SYNC_BY_LINKS,    /* Straight from a pass, with others. */
    SYNC_BY_FILE,     /* Through the dump file, with others. */
    SYNC_WITHOUT_KEYS /* Libraries alone, or nothing: made at once, for itself. */
};

static enum sync_way way_of(const struct replication *replication, const struct replica *replica) {
    if (replica->has_filter) return SYNC_WITHOUT_KEYS;
    bool is_for_links =
        replication->options->is_diskless_sync && replica->has_eof && !replica->is_plain;
    return is_for_links ? SYNC_BY_LINKS : SYNC_BY_FILE;
}

/* When replicas wait, and whether it has been long enough. The list stands still or is locked. */
static bool is_due(const struct replication *replication, enum sync_way way) {
    const struct replication_options *options = replication->options;
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t longest_ms = 0;
    uint32_t count = 0;
    for (const struct replica *replica = replication->replicas; replica != NULL;
         replica = replica->next) {
        if (replica->state != REPLICA_WAITING || way_of(replication, replica) != way) continue;
        uint64_t waited_ms = now_ms - replica->waiting_since_ms;
        if (waited_ms > longest_ms) longest_ms = waited_ms;
        count++;
    }
    if (count == 0) return false;
    if (way == SYNC_WITHOUT_KEYS) return true;
    if (way == SYNC_BY_FILE) return !replication->is_saving_for_replicas;
    bool is_full = options->diskless_max_replicas > 0 && count >= options->diskless_max_replicas;
    return is_full || longest_ms >= options->diskless_delay_s * SECOND_MS;
}

bool full_sync_is_due(struct replication *replication) {
    pthread_mutex_lock(&replication->lock);
    bool is = is_due(replication, SYNC_BY_LINKS) || is_due(replication, SYNC_BY_FILE) ||
              is_due(replication, SYNC_WITHOUT_KEYS);
    pthread_mutex_unlock(&replication->lock);
    return is;
}

/* The snapshot begins: from here on the replica's part of the stream is kept for it. */
static bool start_at_now(struct replica *replica) {
    struct replication *replication = replica->replication;
    uint64_t offset = journal_offset(replication->journal);
    journal_reader_close(replica->reader);
    replica->reader = journal_reader_open(replication->journal, offset);
    if (replica->reader == NULL) return false;
    replica->begin_offset = offset;
    replica->progress_ms = clock_monotonic_ms();
    if (!replica->is_plain)
        buffer_append_format(&replica->head, "+FULLRESYNC %s %llu\r\n", replication->id,
                             (unsigned long long)offset);
    return true;
}

static void set_receiving(struct replica *replica) {
    struct replication *replication = replica->replication;
    pthread_mutex_lock(&replication->lock);
    replica->state = REPLICA_RECEIVING;
    pthread_mutex_unlock(&replication->lock);
}

static void begin_for_links(struct replication *replication) {
    struct transfer *transfer = mem_alloc_zero(sizeof(*transfer));
    transfer->replication = replication;
    transfer->refs = 1;
    pthread_mutex_init(&transfer->lock, NULL);
    pthread_cond_init(&transfer->room, NULL);
    rng_hex(&replication->rng, transfer->mark, REPLICATION_ID_LEN);
    journal_forget_database(replication->journal);
    const struct snapshot_sink sink = {
        .write = write_transfer, .done = done_transfer, .state = transfer};
    // The writers' first bytes wait for the lock below, so nobody misses one.
    pthread_mutex_lock(&transfer->lock);
    if (snapshot_begin(replication->made_of.modules->snapshotter, &sink) == NULL) {
        unref_and_unlock(transfer); // As many passes as there may be are running: next tick.
        return;
    }
    log_notice("Starting BGSAVE for SYNC with target: replicas sockets");
    for (struct replica *replica = replication->replicas; replica != NULL;
         replica = replica->next) {
        if (replica->state != REPLICA_WAITING || way_of(replication, replica) != SYNC_BY_LINKS)
            continue;
        if (!start_at_now(replica)) continue;
        buffer_append_format(&replica->head, "$EOF:%s\r\n", transfer->mark);
        replica->transfer = transfer;
        replica->chunk = NULL;
        transfer->refs++;
        transfer->replica_count++;
        set_receiving(replica);
        network_kick(replication->network, replica->session_id);
    }
    pthread_mutex_unlock(&transfer->lock);
}

static bool open_file(struct replica *replica, const struct snapshot_dump *dump) {
    replica->file = openat(dump->folder, dump->name, O_RDONLY | O_CLOEXEC);
    struct stat status;
    bool is_open = replica->file >= 0 && fstat(replica->file, &status) == 0;
    if (is_open) {
        replica->file_left = (uint64_t)status.st_size;
        replica->file_sent = 0;
        buffer_append_format(&replica->head, "$%llu\r\n", (unsigned long long)replica->file_left);
    } else {
        log_warning("Can't open '%s' to send it to a replica: %s", dump->name, strerror(errno));
    }
    return is_open;
}

static void forget_file(struct replication *replication) {
    struct sync_file *file = &replication->sync_file;
    if (file->number == 0) return;
    close(file->folder);
    mem_free(file->name);
    *file = (struct sync_file){0};
}

static void note_file(struct replication *replication, const struct snapshot_dump *dump) {
    forget_file(replication);
    int folder = fcntl(dump->folder, F_DUPFD_CLOEXEC, 0);
    if (folder < 0) return; // It stays.
    replication->sync_file =
        (struct sync_file){folder, bytes_copy_text(bytes_of_text(dump->name)), dump->number};
}

bool full_sync_has_file_to_remove(const struct replication *replication) {
    return replication->sync_file.number != 0 && replication_removes_sync_files(replication);
}

/* Replicas that are still being sent the file have it open. */
void full_sync_remove_file(struct replication *replication) {
    if (!full_sync_has_file_to_remove(replication)) return;
    const struct sync_file *file = &replication->sync_file;
    if (snapshot_dump_is(replication->made_of.modules->snapshotter, file->number)) {
        log_notice("Removing the RDB file used to feed replicas in a persistence-less instance");
        disk_clean_up(file->folder, file->name);
    }
    forget_file(replication);
}

void full_sync_deinit(struct replication *replication) {
    forget_file(replication);
}

/* The file is complete; everything is parked. */
static void file_is_saved(void *arg, enum status status, const struct snapshot_dump *dump) {
    struct replication *replication = arg;
    replication->is_saving_for_replicas = false;
    for (struct replica *replica = replication->replicas; replica != NULL;
         replica = replica->next) {
        bool waits_for_file = replica->state == REPLICA_WAITING && replica->reader != NULL;
        if (!waits_for_file) continue;
        if (status != STATUS_OK || !open_file(replica, dump)) {
            replica_close(replica);
            continue;
        }
        replica->progress_ms = clock_monotonic_ms();
        set_receiving(replica);
        network_kick(replication->network, replica->session_id);
    }
    if (status == STATUS_OK) note_file(replication, dump);
    full_sync_remove_file(replication);
}

static void refuse_waiting(struct replication *replication) {
    for (struct replica *replica = replication->replicas; replica != NULL;
         replica = replica->next) {
        if (replica->state != REPLICA_WAITING || way_of(replication, replica) != SYNC_BY_FILE)
            continue;
        buffer_append_text(&replica->head, "-ERR BGSAVE failed, replication can't continue\r\n");
        network_kick(replication->network, replica->session_id);
        replica_close(replica);
    }
}

static void begin_for_file(struct replication *replication) {
    journal_forget_database(replication->journal);
    replication->is_saving_for_replicas = true;
    if (!snapshot_save_in_background(replication->made_of.modules->snapshotter, file_is_saved,
                                     replication)) {
        replication->is_saving_for_replicas = false; // Another save runs: next tick.
        return;
    }
    if (!replication->is_saving_for_replicas) { // It has failed already, and the log says why.
        refuse_waiting(replication);
        return;
    }
    log_notice("Starting BGSAVE for SYNC with target: disk");
    for (struct replica *replica = replication->replicas; replica != NULL;
         replica = replica->next) {
        if (replica->state != REPLICA_WAITING || way_of(replication, replica) != SYNC_BY_FILE)
            continue;
        if (start_at_now(replica)) network_kick(replication->network, replica->session_id);
    }
}

static void begin_without_keys(struct replication *replication) {
    journal_forget_database(replication->journal);
    for (struct replica *replica = replication->replicas; replica != NULL;
         replica = replica->next) {
        if (replica->state != REPLICA_WAITING ||
            way_of(replication, replica) != SYNC_WITHOUT_KEYS || !start_at_now(replica))
            continue;
        struct buffer file = {0};
        snapshot_write_without_keys(replication->made_of.modules->snapshotter,
                                    replica->wants_libraries, &file);
        buffer_append_format(&replica->head, "$%zu\r\n", file.len);
        buffer_append_bytes(&replica->head, buffer_view(&file));
        buffer_deinit(&file);
        set_receiving(replica);
        network_kick(replication->network, replica->session_id);
    }
}

void full_sync_begin_if_due(struct replication *replication) {
    if (is_due(replication, SYNC_BY_LINKS)) begin_for_links(replication);
    if (is_due(replication, SYNC_BY_FILE)) begin_for_file(replication);
    if (is_due(replication, SYNC_WITHOUT_KEYS)) begin_without_keys(replication);
}

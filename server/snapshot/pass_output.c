/* What a pass has written on its way to the sink.
 *
 * Records go to the main lane. A value that is written in steps has it for itself, and what comes
 * meanwhile goes to the side lane, which follows behind the value. A thread of its own feeds the
 * sink, so that who waits for the pass never waits for a disk or a replica.
 */
#include <time.h>

#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/fault_stack.h"
#include "server/base/mem.h"
#include "server/snapshot/snapshot_internal.h"

enum {
    HAND_OVER_BYTES = 1 << 16, /* What is gathered before the sink gets it. */
    AHEAD_BYTES = 1 << 20,     /* How far the walk runs ahead of the sink. */
    SPARE_CHUNKS = 5,
    PIECE_BYTES = 1 << 16, /* Moved from lane to lane at a time. */
    GIVE_WAY_TRIES = 10,
    WINK_NS = 1000,
    WORK_US = 250, /* So long the walk goes on without a rest, */
    REST_US = 50,  /* and so long that is. */
};

/* -- chunks -- */

static void add_chunk(struct snapshot_pass *pass) {
    struct pass_chunk *chunk = pass->spare_chunks;
    if (chunk != NULL) {
        pass->spare_chunks = chunk->next;
        pass->spare_chunk_count--;
    } else {
        chunk = mem_alloc(sizeof(*chunk));
    }
    chunk->next = NULL;
    chunk->len = 0;
    if (pass->last_chunk != NULL) {
        pass->last_chunk->next = chunk;
    } else {
        pass->first_chunk = chunk;
    }
    pass->last_chunk = chunk;
}

static struct pass_chunk *take_chunk(struct snapshot_pass *pass) {
    struct pass_chunk *chunk = pass->first_chunk;
    if (chunk == NULL) return NULL;
    pass->first_chunk = chunk->next;
    if (pass->first_chunk == NULL) pass->last_chunk = NULL;
    pass->outgoing_bytes -= chunk->len;
    return chunk;
}

static void keep_chunk(struct snapshot_pass *pass, struct pass_chunk *chunk) {
    if (pass->spare_chunk_count == SPARE_CHUNKS) {
        mem_free(chunk);
        return;
    }
    chunk->next = pass->spare_chunks;
    pass->spare_chunks = chunk;
    pass->spare_chunk_count++;
}

static void free_chunks(struct pass_chunk *chunk) {
    while (chunk != NULL) {
        struct pass_chunk *next = chunk->next;
        mem_free(chunk);
        chunk = next;
    }
}

static enum status gather(void *context, struct bytes bytes) {
    struct snapshot_pass *pass = context;
    if (atomic_load_explicit(&pass->is_aborted, memory_order_relaxed)) return STATUS_OK;
    while (bytes.len > 0) {
        if (pass->last_chunk == NULL || pass->last_chunk->len == sizeof(pass->last_chunk->data))
            add_chunk(pass);
        struct pass_chunk *chunk = pass->last_chunk;
        size_t room = sizeof(chunk->data) - chunk->len;
        size_t len = bytes.len < room ? bytes.len : room;
        memcpy(chunk->data + chunk->len, bytes.data, len);
        chunk->len += len;
        pass->outgoing_bytes += len;
        bytes = bytes_from(bytes, len);
    }
    if (pass->outgoing_bytes >= HAND_OVER_BYTES) pthread_cond_signal(&pass->has_output);
    return STATUS_OK;
}

/* -- life -- */

void pass_output_init(struct snapshot_pass *pass) {
    const struct snapshot_options *options = pass->snapshotter->options.options;
    bool is_compressing = options->is_compressing && !pass->sink.is_read_at_once;
    pthread_mutex_init(&pass->lock, NULL);
    pthread_cond_init(&pass->has_output, NULL);
    pthread_cond_init(&pass->has_room, NULL);
    rdb_writer_init(&pass->main.writer, &(struct rdb_writer_options){
                                            .sink = {gather, pass},
                                            .has_checksum = options->has_checksum,
                                            .is_compressing = is_compressing,
                                        });
    rdb_writer_init(&pass->side.writer,
                    &(struct rdb_writer_options){.is_compressing = is_compressing});
    pass->main.database = -1;
}

void pass_output_deinit(struct snapshot_pass *pass) {
    rdb_writer_deinit(&pass->main.writer);
    rdb_writer_deinit(&pass->side.writer);
    free_chunks(pass->first_chunk);
    free_chunks(pass->spare_chunks);
    pthread_cond_destroy(&pass->has_output);
    pthread_cond_destroy(&pass->has_room);
    pthread_mutex_destroy(&pass->lock);
}

/* -- lanes -- */

struct rdb_writer *pass_output_lane(struct snapshot_pass *pass, unsigned number) {
    struct pass_lane *lane = pass->is_in_value ? &pass->side : &pass->main;
    if (lane->database != (int)number) rdb_write_select_db(&lane->writer, number);
    lane->database = (int)number;
    return &lane->writer;
}

struct rdb_writer *pass_output_begin_value(struct snapshot_pass *pass, unsigned number) {
    ASSERT(!pass->is_in_value);
    struct rdb_writer *writer = pass_output_lane(pass, number);
    pass->is_in_value = true;
    pass->side.database = (int)number;
    return writer;
}

void pass_output_end_value(struct snapshot_pass *pass) {
    struct buffer *aside = &pass->side.writer.buffer;
    for (size_t at = 0; at < aside->len; at += PIECE_BYTES) {
        struct bytes rest = bytes_from(buffer_view(aside), at);
        rdb_write_raw(&pass->main.writer,
                      bytes_of(rest.data, rest.len < PIECE_BYTES ? rest.len : PIECE_BYTES));
    }
    pass->main.database = pass->side.database;
    buffer_deinit(aside);
    pass->is_in_value = false;
}

/* -- room -- */

static size_t held_bytes(const struct snapshot_pass *pass) {
    return pass->outgoing_bytes + pass->sent_bytes + pass->side.writer.buffer.len +
           pass->values_bytes;
}

void pass_output_measure(struct snapshot_pass *pass) {
    uint64_t limit = pass->snapshotter->options.options->buffer_limit;
    size_t held = held_bytes(pass);
    snapshot_note_longest(&pass->snapshotter->held_bytes_max, held);
    if (limit == 0 || atomic_load(&pass->is_aborted) || held <= limit / 2) {
        bool has_refused = pass->is_full && pass->has_refused;
        pass->is_full = false;
        pass->has_refused = false;
        if (has_refused) dispatcher_retry_paused(pass->snapshotter->options.modules->dispatcher);
    } else if (held > limit) {
        pass->is_full = true;
    }
}

static bool is_ahead(const struct snapshot_pass *pass) {
    return pass->outgoing_bytes + pass->sent_bytes >= AHEAD_BYTES && pass->wanted_count == 0 &&
           !atomic_load(&pass->is_aborted);
}

/* Where no core is to spare, a thread that works on and on has the workers wait until the scheduler
 * takes the core from it, which is after milliseconds. One that sleeps gives it away at once. */
static void rest(struct snapshot_pass *pass) {
    if (clock_monotonic_us() - pass->rested_us < WORK_US) return;
    const struct timespec nap = {.tv_nsec = REST_US * 1000};
    turn_end(pass->turn);
    nanosleep(&nap, NULL);
    turn_begin(pass->turn);
    pass->rested_us = clock_monotonic_us();
}

/* A lock that is let go and taken again at once is never free when who waited for it wakes up, and
 * where both share a core it only wakes up when this thread sleeps. */
static void give_way(const struct snapshot_pass *pass) {
    const struct timespec wink = {.tv_nsec = WINK_NS};
    for (int i = 0; i < GIVE_WAY_TRIES && pass_has_waiting_writers(pass); i++)
        nanosleep(&wink, NULL);
}

void pass_output_wait(struct snapshot_pass *pass) {
    give_way(pass);
    pthread_mutex_lock(&pass->lock);
    pass_output_measure(pass);
    if (is_ahead(pass)) {
        pthread_mutex_unlock(&pass->lock);
        turn_end(pass->turn);
        pthread_mutex_lock(&pass->lock);
        while (is_ahead(pass))
            pthread_cond_wait(&pass->has_room, &pass->lock);
        pthread_mutex_unlock(&pass->lock);
        turn_begin(pass->turn);
        return;
    }
    bool is_wanted = pass->wanted_count > 0;
    pthread_mutex_unlock(&pass->lock);
    if (!is_wanted) rest(pass);
    if (turn_should_yield(pass->turn)) turn_yield(pass->turn);
}

/* -- the sink's thread -- */

static void hand_over(struct snapshot_pass *pass) {
    struct pass_chunk *chunk = take_chunk(pass);
    if (chunk == NULL) return;
    pass->sent_bytes = chunk->len;
    pthread_mutex_unlock(&pass->lock);
    if (!atomic_load(&pass->is_aborted) &&
        pass->sink.write(pass->sink.state, bytes_of(chunk->data, chunk->len)) != STATUS_OK)
        atomic_store(&pass->is_aborted, true);
    pthread_mutex_lock(&pass->lock);
    keep_chunk(pass, chunk);
    pass->sent_bytes = 0;
    pass_output_measure(pass);
    pthread_cond_signal(&pass->has_room);
}

static void *run_pump(void *arg) {
    struct snapshot_pass *pass = arg;
    pthread_setname_np(pthread_self(), "snapshot-sink");
    mem_count_thread();
    fault_stack_use();
    pthread_mutex_lock(&pass->lock);
    while (!pass->is_complete || pass->outgoing_bytes > 0) {
        if (pass->outgoing_bytes < HAND_OVER_BYTES && !pass->is_complete) {
            pthread_cond_wait(&pass->has_output, &pass->lock);
        } else {
            hand_over(pass);
        }
    }
    pthread_mutex_unlock(&pass->lock);
    return NULL;
}

void pass_output_start(struct snapshot_pass *pass) {
    ASSERT(pthread_create(&pass->pump, NULL, run_pump, pass) == 0);
}

void pass_output_finish(struct snapshot_pass *pass) {
    pthread_mutex_lock(&pass->lock);
    rdb_write_end(&pass->main.writer);
    pass->is_complete = true;
    pthread_cond_signal(&pass->has_output);
    pthread_mutex_unlock(&pass->lock);
    pthread_join(pass->pump, NULL);
}

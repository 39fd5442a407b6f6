/* What a pass has written on its way to the sink.
 *
 * The main lane is the pass's own, so that who saves a key before a change never waits for a walk:
 * such keys go to the side lane, and the pass brings them to the main one between two steps or
 * values. A thread of its own feeds the sink, so that who waits for the pass never waits for a disk
 * or a replica.
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
    SPARE_CHUNKS = 16,
    SPARE_ASIDE_BYTES = 1 << 18,
    WINK_NS = 1000,
    WORK_US = 250, /* So long the walk goes on without a rest, */
    REST_US = 50,  /* and so long that is. */
};

/* -- chunks -- */

static struct pass_chunk *new_chunk(struct snapshot_pass *pass) {
    pthread_mutex_lock(&pass->lock);
    struct pass_chunk *chunk = pass->spare_chunks;
    if (chunk != NULL) {
        pass->spare_chunks = chunk->next;
        pass->spare_chunk_count--;
    }
    pthread_mutex_unlock(&pass->lock);
    if (chunk == NULL) chunk = mem_alloc(sizeof(*chunk));
    chunk->next = NULL;
    chunk->len = 0;
    return chunk;
}

/* What was gathered is the sink's from now on. */
static void pass_on(struct snapshot_pass *pass) {
    struct pass_chunk *chunk = pass->filling;
    pass->filling = NULL;
    if (chunk == NULL) return;
    pthread_mutex_lock(&pass->lock);
    if (pass->last_chunk != NULL) {
        pass->last_chunk->next = chunk;
    } else {
        pass->first_chunk = chunk;
    }
    pass->last_chunk = chunk;
    pass->outgoing_bytes += chunk->len;
    pthread_cond_signal(&pass->has_output);
    pthread_mutex_unlock(&pass->lock);
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
        if (pass->filling == NULL) pass->filling = new_chunk(pass);
        struct pass_chunk *chunk = pass->filling;
        size_t room = sizeof(chunk->data) - chunk->len;
        size_t len = bytes.len < room ? bytes.len : room;
        memcpy(chunk->data + chunk->len, bytes.data, len);
        chunk->len += len;
        bytes = bytes_from(bytes, len);
        if (chunk->len >= HAND_OVER_BYTES) pass_on(pass);
    }
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
    pass->main.database = pass->side.database = -1;
}

void pass_output_deinit(struct snapshot_pass *pass) {
    rdb_writer_deinit(&pass->main.writer);
    rdb_writer_deinit(&pass->side.writer);
    buffer_deinit(&pass->spare_aside);
    free_chunks(pass->filling);
    free_chunks(pass->first_chunk);
    free_chunks(pass->spare_chunks);
    pthread_cond_destroy(&pass->has_output);
    pthread_cond_destroy(&pass->has_room);
    pthread_mutex_destroy(&pass->lock);
}

/* -- lanes -- */

static struct rdb_writer *select_database(struct pass_lane *lane, unsigned number) {
    if (lane->database != (int)number) rdb_write_select_db(&lane->writer, number);
    lane->database = (int)number;
    return &lane->writer;
}

struct rdb_writer *pass_output_main(struct snapshot_pass *pass, unsigned number) {
    return select_database(&pass->main, number);
}

struct rdb_writer *pass_output_side(struct snapshot_pass *pass, unsigned number) {
    return select_database(&pass->side, number);
}

/* The lock is held for an exchange of buffers only. */
void pass_output_merge(struct snapshot_pass *pass) {
    pthread_mutex_lock(&pass->lock);
    struct buffer aside = pass->side.writer.buffer;
    int database = pass->side.database;
    if (aside.len > 0) {
        pass->side.writer.buffer = pass->spare_aside;
        pass->side.database = -1;
    }
    pthread_mutex_unlock(&pass->lock);
    if (aside.len == 0) return;
    rdb_write_raw(&pass->main.writer, buffer_view(&aside));
    pass->main.database = database;
    buffer_clear(&aside);
    if (aside.cap > SPARE_ASIDE_BYTES) buffer_deinit(&aside);
    pass->spare_aside = aside;
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
void pass_release_slot(struct slot_lock *lock) {
    bool is_wanted = slot_lock_has_sleeper(lock);
    slot_lock_release(lock);
    if (!is_wanted) return;
    const struct timespec wink = {.tv_nsec = WINK_NS};
    nanosleep(&wink, NULL);
}

void pass_output_wait(struct snapshot_pass *pass) {
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
    while (!pass->is_complete || pass->first_chunk != NULL) {
        if (pass->first_chunk == NULL) {
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
    pass_output_merge(pass);
    rdb_write_end(&pass->main.writer);
    pass_on(pass);
    pthread_mutex_lock(&pass->lock);
    pass->is_complete = true;
    pthread_cond_signal(&pass->has_output);
    pthread_mutex_unlock(&pass->lock);
    pthread_join(pass->pump, NULL);
}

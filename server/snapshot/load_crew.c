/* The threads of a load, and the batches between them and the reader. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "server/base/check.h"
#include "server/base/fault_stack.h"
#include "server/base/mem.h"
#include "server/snapshot/load_internal.h"

enum {
    THREADS_MAX = 15,     /* Beside the reader. */
    WAITING_A_THREAD = 2, /* Batches that may wait for each thread. */
};

struct load_thread {
    struct load_crew *crew;
    pthread_t thread;
    struct rdb_reader reader;
    struct load_tally tally;
};

struct load_crew {
    const struct load_context *context;
    uint32_t wanted_threads;
    uint32_t thread_count;
    struct load_thread threads[THREADS_MAX];
    struct load_thread self; /* The reader's own hands. */
    _Atomic bool has_failed;
    pthread_mutex_t lock; /* For all that follows. */
    pthread_cond_t has_work;
    struct load_batch *first; /* Batches that wait. */
    struct load_batch **last;
    uint32_t waiting;
    struct load_batch *spare;
    bool is_over;
};

/* Cores that this process may use, but for the one that the reader is on. */
static uint32_t spare_cores(void) {
    cpu_set_t cores;
    if (sched_getaffinity(0, sizeof(cores), &cores) != 0) return 0;
    uint32_t count = (uint32_t)CPU_COUNT(&cores) - 1;
    return count < THREADS_MAX ? count : THREADS_MAX;
}

struct load_crew *load_crew_create(const struct load_context *context) {
    struct load_crew *crew = mem_alloc_zero(sizeof(*crew));
    crew->context = context;
    crew->wanted_threads = spare_cores();
    crew->last = &crew->first;
    crew->self.crew = crew;
    rdb_reader_init_memory(&crew->self.reader, (struct bytes){0});
    ASSERT(pthread_mutex_init(&crew->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&crew->has_work, NULL) == 0);
    return crew;
}

bool load_crew_has_failed(const struct load_crew *crew) {
    return atomic_load_explicit(&crew->has_failed, memory_order_relaxed);
}

static void give_back(struct load_crew *crew, struct load_batch *batch) {
    mem_free(batch->chunk);
    batch->chunk = NULL;
    batch->count = 0;
    pthread_mutex_lock(&crew->lock);
    batch->next = crew->spare;
    crew->spare = batch;
    pthread_mutex_unlock(&crew->lock);
}

/* The oldest batch, or NULL. `may_wait`: until there is one, or everything is over. */
static struct load_batch *take_work(struct load_crew *crew, bool may_wait) {
    pthread_mutex_lock(&crew->lock);
    while (may_wait && crew->first == NULL && !crew->is_over)
        pthread_cond_wait(&crew->has_work, &crew->lock);
    struct load_batch *batch = crew->first;
    if (batch != NULL) {
        crew->first = batch->next;
        if (crew->first == NULL) crew->last = &crew->first;
        crew->waiting--;
    }
    pthread_mutex_unlock(&crew->lock);
    return batch;
}

static void do_batch(struct load_thread *thread, struct load_batch *batch) {
    struct load_crew *crew = thread->crew;
    if (!load_crew_has_failed(crew) &&
        !load_keys(crew->context, batch, &thread->reader, &thread->tally))
        atomic_store(&crew->has_failed, true);
    give_back(crew, batch);
}

static void *thread_main(void *arg) {
    struct load_thread *thread = arg;
    mem_count_thread();
    fault_stack_use();
    prctl(PR_SET_NAME, "loader");
    rdb_reader_init_memory(&thread->reader, (struct bytes){0});
    struct load_batch *batch = NULL;
    while ((batch = take_work(thread->crew, true)) != NULL)
        do_batch(thread, batch);
    rdb_reader_deinit(&thread->reader);
    return NULL;
}

static void start_thread(struct load_crew *crew) {
    struct load_thread *thread = &crew->threads[crew->thread_count];
    thread->crew = crew;
    if (pthread_create(&thread->thread, NULL, thread_main, thread) == 0) {
        crew->thread_count++;
    } else {
        crew->wanted_threads = crew->thread_count; // It goes with fewer.
    }
}

struct load_batch *load_crew_batch(struct load_crew *crew) {
    pthread_mutex_lock(&crew->lock);
    bool is_enough = crew->waiting > crew->thread_count * WAITING_A_THREAD;
    struct load_batch *batch = crew->spare;
    if (batch != NULL) crew->spare = batch->next;
    pthread_mutex_unlock(&crew->lock);
    struct load_batch *work = is_enough ? take_work(crew, false) : NULL;
    if (work != NULL) do_batch(&crew->self, work);
    return batch != NULL ? batch : mem_alloc_zero(sizeof(*batch));
}

void load_crew_submit_take(struct load_crew *crew, struct load_batch *batch) {
    if (crew->thread_count < crew->wanted_threads) start_thread(crew);
    batch->next = NULL;
    pthread_mutex_lock(&crew->lock);
    *crew->last = batch;
    crew->last = &batch->next;
    crew->waiting++;
    pthread_cond_signal(&crew->has_work);
    pthread_mutex_unlock(&crew->lock);
}

static void add_tally(struct load_tally *out, const struct load_tally *tally) {
    out->keys += tally->keys;
    out->expired += tally->expired;
    bool is_first = out->error.status == STATUS_OK || tally->error.offset < out->error.offset;
    if (tally->error.status != STATUS_OK && is_first) out->error = tally->error;
}

void load_crew_destroy(struct load_crew *crew, struct load_tally *out) {
    struct load_batch *batch = NULL;
    while ((batch = take_work(crew, false)) != NULL)
        do_batch(&crew->self, batch);
    pthread_mutex_lock(&crew->lock);
    crew->is_over = true;
    pthread_cond_broadcast(&crew->has_work);
    pthread_mutex_unlock(&crew->lock);
    add_tally(out, &crew->self.tally);
    for (uint32_t i = 0; i < crew->thread_count; i++) {
        pthread_join(crew->threads[i].thread, NULL);
        add_tally(out, &crew->threads[i].tally);
    }
    while ((batch = crew->spare) != NULL) {
        crew->spare = batch->next;
        mem_free(batch->keys);
        mem_free(batch);
    }
    rdb_reader_deinit(&crew->self.reader);
    pthread_cond_destroy(&crew->has_work);
    pthread_mutex_destroy(&crew->lock);
    mem_free(crew);
}

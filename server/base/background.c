#include "server/base/background.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "server/base/check.h"
#include "server/base/fault_stack.h"
#include "server/base/mem.h"

struct job {
    struct job *next;
    void (*run)(void *arg);
    void *arg;
};

struct background {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct job *first;
    struct job **last;
    bool is_ending;
    _Atomic uint64_t pending;
    _Atomic uint64_t done;
};

/* The next job, or NULL when the thread shall end. */
static struct job *next_job(struct background *background) {
    pthread_mutex_lock(&background->lock);
    while (background->first == NULL && !background->is_ending)
        pthread_cond_wait(&background->filled, &background->lock);
    struct job *job = background->first;
    if (job != NULL) {
        background->first = job->next;
        if (background->first == NULL) background->last = &background->first;
    }
    pthread_mutex_unlock(&background->lock);
    return job;
}

static void *run(void *arg) {
    struct background *background = arg;
    mem_count_thread();
    fault_stack_use();
    for (struct job *job = next_job(background); job != NULL; job = next_job(background)) {
        job->run(job->arg);
        mem_free(job);
        atomic_fetch_sub(&background->pending, 1);
        atomic_fetch_add(&background->done, 1);
    }
    return NULL;
}

struct background *background_create(const char *thread_name) {
    struct background *background = mem_alloc_zero(sizeof(*background));
    background->last = &background->first;
    pthread_mutex_init(&background->lock, NULL);
    pthread_cond_init(&background->filled, NULL);
    ASSERT(pthread_create(&background->thread, NULL, run, background) == 0);
    pthread_setname_np(background->thread, thread_name);
    return background;
}

void background_destroy(struct background *background) {
    if (background == NULL) return;
    pthread_mutex_lock(&background->lock);
    background->is_ending = true;
    pthread_cond_signal(&background->filled);
    pthread_mutex_unlock(&background->lock);
    pthread_join(background->thread, NULL);
    pthread_mutex_destroy(&background->lock);
    pthread_cond_destroy(&background->filled);
    mem_free(background);
}

void background_defer(struct background *background, void (*job_run)(void *arg), void *arg) {
    struct job *job = mem_alloc(sizeof(*job));
    *job = (struct job){NULL, job_run, arg};
    atomic_fetch_add(&background->pending, 1);
    pthread_mutex_lock(&background->lock);
    *background->last = job;
    background->last = &job->next;
    pthread_cond_signal(&background->filled);
    pthread_mutex_unlock(&background->lock);
}

uint64_t background_pending(const struct background *background) {
    return atomic_load(&background->pending);
}

uint64_t background_done(const struct background *background) {
    return atomic_load(&background->done);
}

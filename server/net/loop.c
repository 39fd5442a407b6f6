#include "server/net/loop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>

#include <ev.h>

#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/fault_stack.h"
#include "server/base/mem.h"

enum {
    SLEEPERS_MAX = 8,
    NAP_MIN_US = 20,  /* Shorter ones cost more than they save. */
    NAP_MAX_US = 50,  /* As late as a reply may be for the sake of others. */
    WINDOW_US = 1000, /* How long the load is looked at before naps are decided on. */
    TIMER_SLACK_NS = 1000,
    NAPS_PER_CYCLE = 10, /* A nap is at most this part of what a client waits anyway. */
    IDLE_PARTS = 20,     /* The thread must have been idle for one of so many parts. */
};

static const double CLIENTS_A_NAP = 1.5; /* At least so many have to come during one. */

struct message {
    struct message *next;
    void (*fn)(void *arg);
    void *arg;
};

struct before_sleep {
    void (*fn)(void *arg);
    void *arg;
};

/* Naps: under many clients at once, most of a request's cost is waking up and asking the kernel. A
 * thread that waits a moment before it asks finds several clients ready instead of one or two, and
 * spends less on each (docs/adr/0007). */
struct pacing {
    bool is_on;      /* For this loop at all. */
    uint32_t nap_ns; /* As the last window has it; 0: none. */
    uint32_t window;
    uint32_t events;  /* Of the window: reads, */
    uint32_t sources; /* and from how many clients. */
    uint32_t turn_events;
    uint64_t began; /* Ticks. */
    uint64_t wait_began;
    uint64_t idle;
};

struct loop {
    struct ev_loop *ev;
    struct pacing pacing;
    struct turn *turn;
    char name[16];
    pthread_t thread;
    bool has_thread;
    pthread_t runner; /* Whoever runs it, once is_running. */
    _Atomic bool is_running;
    ev_async wake;
    ev_prepare prepare;
    _Atomic(struct message *) mailbox; /* Newest first. */
    _Atomic bool is_stopping;
    struct before_sleep sleepers[SLEEPERS_MAX];
    uint32_t sleeper_count;
};

struct loop_timer {
    ev_timer timer;
    struct loop *loop;
    void (*fn)(void *arg);
    void *arg;
};

/* Runs what was posted, in the order in which it came. */
static void run_mailbox(struct loop *loop) {
    struct message *taken = atomic_exchange_explicit(&loop->mailbox, NULL, memory_order_acquire);
    struct message *ordered = NULL;
    while (taken != NULL) {
        struct message *next = taken->next;
        taken->next = ordered;
        ordered = taken;
        taken = next;
    }
    while (ordered != NULL) {
        struct message *next = ordered->next;
        ordered->fn(ordered->arg);
        mem_free(ordered);
        ordered = next;
    }
}

static void on_wake(struct ev_loop *ev, ev_async *watcher, int events) {
    (void)ev;
    (void)events;
    run_mailbox(watcher->data);
    struct loop *loop = watcher->data;
    if (atomic_load(&loop->is_stopping)) ev_break(loop->ev, EVBREAK_ALL);
}

/* A nap has to bring more than one client along, be short beside the time that a client waits for
 * its turn anyway, and cost a thread nothing that has no time to spare. */
static void decide_on_naps(struct pacing *pacing, uint64_t now) {
    double elapsed_us = (double)(now - pacing->began) / clock_ticks_per_us();
    double idle_us = (double)pacing->idle / clock_ticks_per_us();
    double cycle_us = pacing->sources * elapsed_us / (pacing->events + 1);
    double nap_us = cycle_us / NAPS_PER_CYCLE;
    if (nap_us > NAP_MAX_US) nap_us = NAP_MAX_US;
    bool does_nap = nap_us >= NAP_MIN_US && pacing->events * nap_us >= CLIENTS_A_NAP * elapsed_us &&
                    idle_us * IDLE_PARTS >= elapsed_us;
    pacing->nap_ns = does_nap ? (uint32_t)(nap_us * 1000) : 0;
    pacing->began = now;
    pacing->idle = 0;
    pacing->events = pacing->sources = 0;
    pacing->window++;
}

static void pace(struct loop *loop) {
    struct pacing *pacing = &loop->pacing;
    uint64_t now = clock_ticks();
    if ((double)(now - pacing->began) >= WINDOW_US * clock_ticks_per_us())
        decide_on_naps(pacing, now);
    bool has_worked = pacing->turn_events > 0;
    pacing->turn_events = 0;
    if (LIKELY(pacing->nap_ns == 0 || !has_worked)) return;
    const struct timespec nap = {.tv_nsec = pacing->nap_ns};
    if (loop->turn != NULL) turn_end(loop->turn);
    nanosleep(&nap, NULL);
    if (loop->turn != NULL) turn_begin(loop->turn);
    pacing->idle += clock_ticks() - now;
}

void loop_pace(struct loop *loop) {
    loop->pacing.is_on = true;
    loop->pacing.window = 1;
    loop->pacing.began = clock_ticks();
}

void loop_note_read(struct loop *loop, uint32_t *inout_window) {
    struct pacing *pacing = &loop->pacing;
    pacing->events++;
    pacing->turn_events++;
    if (*inout_window == pacing->window) return;
    *inout_window = pacing->window;
    pacing->sources++;
}

static void on_prepare(struct ev_loop *ev, ev_prepare *watcher, int events) {
    (void)ev;
    (void)events;
    struct loop *loop = watcher->data;
    for (uint32_t i = 0; i < loop->sleeper_count; i++)
        loop->sleepers[i].fn(loop->sleepers[i].arg);
    if (loop->pacing.is_on) pace(loop);
}

/* libev calls these around its wait for events: the turn is held except while the loop sleeps. */
static void on_release(struct ev_loop *ev) EV_THROW {
    struct loop *loop = ev_userdata(ev);
    loop->pacing.wait_began = clock_ticks();
    if (loop->turn != NULL) turn_end(loop->turn);
}

static void on_acquire(struct ev_loop *ev) EV_THROW {
    struct loop *loop = ev_userdata(ev);
    if (loop->turn != NULL) turn_begin(loop->turn);
    loop->pacing.idle += clock_ticks() - loop->pacing.wait_began;
}

struct loop *loop_create(const char *thread_name, struct turn *turn) {
    struct loop *loop = mem_alloc_zero(sizeof(*loop));
    loop->ev = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
    ASSERT(loop->ev != NULL);
    loop->turn = turn;
    snprintf(loop->name, sizeof(loop->name), "%s", thread_name);
    ev_set_userdata(loop->ev, loop);
    ev_set_loop_release_cb(loop->ev, on_release, on_acquire);
    ev_async_init(&loop->wake, on_wake);
    loop->wake.data = loop;
    ev_async_start(loop->ev, &loop->wake);
    ev_prepare_init(&loop->prepare, on_prepare);
    loop->prepare.data = loop;
    ev_prepare_start(loop->ev, &loop->prepare);
    return loop;
}

void loop_destroy(struct loop *loop) {
    if (loop == NULL) return;
    struct message *message = atomic_exchange(&loop->mailbox, NULL);
    while (message != NULL) {
        struct message *next = message->next;
        mem_free(message);
        message = next;
    }
    ev_loop_destroy(loop->ev);
    mem_free(loop);
}

void loop_run(struct loop *loop) {
    pthread_setname_np(pthread_self(), loop->name);
    // Naps are shorter than what the kernel rounds to by itself.
    if (loop->pacing.is_on) prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
    loop->runner = pthread_self();
    atomic_store(&loop->is_running, true);
    if (loop->turn != NULL) turn_begin(loop->turn);
    if (!atomic_load(&loop->is_stopping)) ev_run(loop->ev, 0);
    if (loop->turn != NULL) turn_end(loop->turn);
}

static void *thread_main(void *arg) {
    mem_count_thread();
    fault_stack_use();
    loop_run(arg);
    return NULL;
}

void loop_start(struct loop *loop) {
    ASSERT(pthread_create(&loop->thread, NULL, thread_main, loop) == 0);
    loop->has_thread = true;
}

void loop_stop(struct loop *loop) {
    atomic_store(&loop->is_stopping, true);
    ev_async_send(loop->ev, &loop->wake);
}

void loop_join(struct loop *loop) {
    if (loop->has_thread) pthread_join(loop->thread, NULL);
    loop->has_thread = false;
}

struct ev_loop *loop_ev(struct loop *loop) {
    return loop->ev;
}

bool loop_is_current(const struct loop *loop) {
    return atomic_load(&loop->is_running) && pthread_equal(loop->runner, pthread_self());
}

void loop_post(struct loop *loop, void (*fn)(void *arg), void *arg) {
    struct message *message = mem_alloc(sizeof(*message));
    *message =
        (struct message){atomic_load_explicit(&loop->mailbox, memory_order_relaxed), fn, arg};
    while (!atomic_compare_exchange_weak_explicit(&loop->mailbox, &message->next, message,
                                                  memory_order_release, memory_order_relaxed)) {
    }
    ev_async_send(loop->ev, &loop->wake);
}

void loop_wake(struct loop *loop) {
    ev_async_send(loop->ev, &loop->wake);
}

void loop_run_posted(struct loop *loop) {
    if (atomic_load_explicit(&loop->mailbox, memory_order_relaxed) != NULL) run_mailbox(loop);
}

void loop_before_sleep(struct loop *loop, void (*fn)(void *arg), void *arg) {
    ASSERT(loop->sleeper_count < SLEEPERS_MAX);
    loop->sleepers[loop->sleeper_count++] = (struct before_sleep){fn, arg};
}

static void on_timer(struct ev_loop *ev, ev_timer *watcher, int events) {
    (void)ev;
    (void)events;
    struct loop_timer *timer = watcher->data;
    timer->fn(timer->arg);
}

struct loop_timer *loop_timer_create(struct loop *loop, void (*fn)(void *arg), void *arg) {
    struct loop_timer *timer = mem_alloc_zero(sizeof(*timer));
    timer->loop = loop;
    timer->fn = fn;
    timer->arg = arg;
    ev_timer_init(&timer->timer, on_timer, 0, 0);
    timer->timer.data = timer;
    return timer;
}

void loop_timer_start(struct loop_timer *timer, uint64_t after_ms, uint64_t repeat_ms) {
    ev_timer_stop(timer->loop->ev, &timer->timer);
    ev_timer_set(&timer->timer, (double)after_ms / 1000.0, (double)repeat_ms / 1000.0);
    // The loop's idea of now may lie back by the length of the present turn.
    ev_now_update(timer->loop->ev);
    ev_timer_start(timer->loop->ev, &timer->timer);
}

void loop_timer_stop(struct loop_timer *timer) {
    ev_timer_stop(timer->loop->ev, &timer->timer);
}

void loop_timer_destroy(struct loop_timer *timer) {
    if (timer == NULL) return;
    loop_timer_stop(timer);
    mem_free(timer);
}

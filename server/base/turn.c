#include "server/base/turn.h"

#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/mem.h"

struct exclusive {
    pthread_mutex_t lock; /* Held for the whole section. */
    pthread_mutex_t gate_lock;
    pthread_cond_t gate;
    _Atomic uint32_t stop; /* How many want or hold a section. */
    struct turn *turns[TURN_MAX];
    uint32_t turn_count;
    _Atomic uint64_t count;
    _Atomic uint64_t wait_us_max;
    _Atomic uint64_t wait_us_sum;
};

struct exclusive *exclusive_create(void) {
    struct exclusive *exclusive = mem_alloc_zero(sizeof(*exclusive));
    pthread_mutex_init(&exclusive->lock, NULL);
    pthread_mutex_init(&exclusive->gate_lock, NULL);
    pthread_cond_init(&exclusive->gate, NULL);
    return exclusive;
}

void exclusive_destroy(struct exclusive *exclusive) {
    if (exclusive == NULL) return;
    pthread_mutex_destroy(&exclusive->lock);
    pthread_mutex_destroy(&exclusive->gate_lock);
    pthread_cond_destroy(&exclusive->gate);
    mem_free(exclusive);
}

void exclusive_add_turn(struct exclusive *exclusive, struct turn *turn) {
    ASSERT(exclusive->turn_count < TURN_MAX);
    *turn = (struct turn){.exclusive = exclusive};
    pthread_mutex_init(&turn->lock, NULL);
    exclusive->turns[exclusive->turn_count++] = turn;
}

bool turn_should_yield(const struct turn *turn) {
    return atomic_load_explicit(&turn->exclusive->stop, memory_order_relaxed) != 0;
}

static void wait_at_gate(struct exclusive *exclusive) {
    pthread_mutex_lock(&exclusive->gate_lock);
    while (atomic_load(&exclusive->stop) != 0)
        pthread_cond_wait(&exclusive->gate, &exclusive->gate_lock);
    pthread_mutex_unlock(&exclusive->gate_lock);
}

void turn_begin(struct turn *turn) {
    ASSERT(!turn->is_held);
    for (;;) {
        if (UNLIKELY(turn_should_yield(turn))) wait_at_gate(turn->exclusive);
        pthread_mutex_lock(&turn->lock);
        if (LIKELY(!turn_should_yield(turn))) break;
        // A section was asked for in between: its owner waits for this very lock.
        pthread_mutex_unlock(&turn->lock);
    }
    turn->is_held = true;
    atomic_fetch_add_explicit(&turn->begun_count, 1, memory_order_relaxed);
}

void turn_end(struct turn *turn) {
    ASSERT(turn->is_held);
    turn->is_held = false;
    pthread_mutex_unlock(&turn->lock);
}

void turn_yield(struct turn *turn) {
    turn_end(turn);
    turn_begin(turn);
}

void exclusive_begin(struct exclusive *exclusive, struct turn *own) {
    uint64_t began_us = clock_monotonic_us();
    if (own != NULL) turn_end(own);
    atomic_fetch_add(&exclusive->stop, 1);
    pthread_mutex_lock(&exclusive->lock);
    for (uint32_t i = 0; i < exclusive->turn_count; i++)
        pthread_mutex_lock(&exclusive->turns[i]->lock);
    uint64_t waited_us = clock_monotonic_us() - began_us;
    atomic_fetch_add(&exclusive->count, 1);
    atomic_fetch_add(&exclusive->wait_us_sum, waited_us);
    if (waited_us > atomic_load(&exclusive->wait_us_max))
        atomic_store(&exclusive->wait_us_max, waited_us);
}

void exclusive_end(struct exclusive *exclusive, struct turn *own) {
    for (uint32_t i = exclusive->turn_count; i > 0; i--)
        pthread_mutex_unlock(&exclusive->turns[i - 1]->lock);
    pthread_mutex_unlock(&exclusive->lock);
    pthread_mutex_lock(&exclusive->gate_lock);
    if (atomic_fetch_sub(&exclusive->stop, 1) == 1) pthread_cond_broadcast(&exclusive->gate);
    pthread_mutex_unlock(&exclusive->gate_lock);
    if (own != NULL) turn_begin(own);
}

void exclusive_stats_read(const struct exclusive *exclusive, struct exclusive_stats *out) {
    out->count = atomic_load(&exclusive->count);
    out->wait_us_max = atomic_load(&exclusive->wait_us_max);
    out->wait_us_sum = atomic_load(&exclusive->wait_us_sum);
}

/* The lock of a slot: four bytes, fair enough, and never a pure spin.
 *
 * A waiter spins some microseconds, then sleeps on a futex for at most a millisecond at a time,
 * since the holder may be descheduled and a sleeper must be able to look at other words in between.
 * An uncontended lock and unlock cost one atomic exchange each.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/base/compiler.h"

/* 0 free, 1 held, 2 held and somebody sleeps. All-zero is a free lock. */
struct slot_lock {
    _Atomic uint32_t word;
};

bool slot_lock_try(struct slot_lock *lock);

/* Waits about a millisecond at the most. True when it is ours. */
bool slot_lock_wait(struct slot_lock *lock);

void slot_lock_wake(struct slot_lock *lock); /* The slow half of unlocking. */

/* Waits as long as it takes. For threads that hold nothing else. */
static inline void slot_lock_acquire(struct slot_lock *lock) {
    uint32_t expected = 0;
    if (LIKELY(atomic_compare_exchange_strong_explicit(&lock->word, &expected, 1,
                                                       memory_order_acquire, memory_order_relaxed)))
        return;
    while (!slot_lock_wait(lock)) {
    }
}

static inline void slot_lock_release(struct slot_lock *lock) {
    if (UNLIKELY(atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2))
        slot_lock_wake(lock);
}

/* For the holder. True, too, for the one who took it after a sleep. */
static inline bool slot_lock_has_sleeper(struct slot_lock *lock) {
    return atomic_load_explicit(&lock->word, memory_order_relaxed) == 2;
}

static inline bool slot_lock_is_held(struct slot_lock *lock) {
    return atomic_load_explicit(&lock->word, memory_order_relaxed) != 0;
}

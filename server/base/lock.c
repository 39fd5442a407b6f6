#include "server/base/lock.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SPIN_ROUNDS = 200 };

bool slot_lock_try(struct slot_lock *lock) {
    uint32_t expected = 0;
    return atomic_compare_exchange_strong_explicit(&lock->word, &expected, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

bool slot_lock_wait(struct slot_lock *lock) {
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 && slot_lock_try(lock))
            return true;
        __builtin_ia32_pause();
    }
    // From here on whoever holds it must know that somebody sleeps. Taking it this way leaves the
    // word at 2, which costs the next unlock a needless wake-up and nothing else.
    if (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) == 0) return true;
    struct timespec limit = {0, 1000000};
    syscall(SYS_futex, &lock->word, FUTEX_WAIT_PRIVATE, 2, &limit, NULL, 0);
    return atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) == 0;
}

void slot_lock_wake(struct slot_lock *lock) {
    syscall(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#include "tools/check/check_guard.h"

#ifdef DUNLIN_SANITIZED

bool check_guard_run(void (*work)(void *arg), void *arg) {
    work(arg);
    return true;
}

#else

#include <setjmp.h>
#include <signal.h>

enum { SIGNAL_COUNT = 5 };
static const int fatal_signals[SIGNAL_COUNT] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

/* A signal handler has no argument to find its way back by. */
static sigjmp_buf way_back;

static void on_fatal_signal(int number) {
    (void)number;
    siglongjmp(way_back, 1);
}

bool check_guard_run(void (*work)(void *arg), void *arg) {
    // Once each: a fault after the first one has nobody left to help it.
    const struct sigaction action = {.sa_handler = on_fatal_signal, .sa_flags = (int)SA_RESETHAND};
    struct sigaction before[SIGNAL_COUNT];
    for (int i = 0; i < SIGNAL_COUNT; i++)
        sigaction(fatal_signals[i], &action, &before[i]);
    volatile bool is_whole = false;
    if (sigsetjmp(way_back, 1) == 0) {
        work(arg);
        is_whole = true;
    }
    for (int i = 0; i < SIGNAL_COUNT; i++)
        sigaction(fatal_signals[i], &before[i], NULL);
    return is_whole;
}

#endif

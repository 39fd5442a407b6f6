#include "server/base/clock.h"

#include <time.h>

uint64_t clock_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t clock_monotonic_us(void) {
    return clock_monotonic_ns() / 1000;
}

uint64_t clock_monotonic_ms(void) {
    return clock_monotonic_ns() / 1000000;
}

uint64_t clock_wall_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_wall_ms(void) {
    return clock_wall_us() / 1000;
}

/* Where the measuring of ticks began: set once, before main. */
static uint64_t first_ticks;
static uint64_t first_ns;

__attribute__((constructor)) static void begin_measuring(void) {
    first_ticks = clock_ticks();
    first_ns = clock_monotonic_ns();
}

double clock_ticks_per_us(void) {
    uint64_t ns = clock_monotonic_ns() - first_ns;
    uint64_t ticks = clock_ticks() - first_ticks;
    return ns < 1000 ? 1000.0 : (double)ticks * 1000.0 / (double)ns;
}

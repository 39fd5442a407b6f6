/* The two clocks. Intervals use the monotonic one, deadlines of keys the wall clock. Modules with
 * logic get the time as an argument; only the edges ask here.
 */
#pragma once

#include <stdint.h>

/* Nanoseconds or microseconds since some fixed moment; never goes back. About 20 ns. */
uint64_t clock_monotonic_ns(void);
uint64_t clock_monotonic_us(void);
uint64_t clock_monotonic_ms(void);

/* Unix time. May jump when the administrator sets it. */
uint64_t clock_wall_us(void);
uint64_t clock_wall_ms(void);

/* A counter for measuring short stretches: the processor's own where it runs evenly (some 7 ns a
 * reading), else nanoseconds. Its unit is clock_ticks_per_us. */
#if defined(__x86_64__)
static inline uint64_t clock_ticks(void) {
    return __builtin_ia32_rdtsc();
}
#else
static inline uint64_t clock_ticks(void) {
    return clock_monotonic_ns();
}
#endif

/* Ticks in a microsecond, measured since the process started; good to a per mille after some
 * milliseconds. */
double clock_ticks_per_us(void);

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

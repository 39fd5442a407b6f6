/* The access clock of records, in 24 bits: when a key was last used, or how often.
 *
 * Unless an LFU policy is chosen, the clock counts seconds of Unix time and wraps after 194 days; a
 * record that was not used for longer looks younger than it is. Under an LFU policy the upper 16
 * bits are the minute of the last change, and the lower 8 a counter: each use makes it grow with a
 * chance that falls as it is larger, each lfu-decay-time without use takes one away. Which commands
 * move the clock is decided by command/context.h.
 */
#pragma once

#include <stdint.h>

#include "server/base/rng.h"
#include "server/keyspace/memory_options.h"
#include "server/structs/record.h"

#define ACCESS_CLOCK_MAX 0xffffffu
#define ACCESS_COUNTER_NEW 5u /* A new key is not the first to go. */

/* What a record's clock reads when it is used at `now_ms` (Unix time). */
static inline uint32_t access_clock(int64_t now_ms) {
    return (uint32_t)((uint64_t)now_ms / 1000) & ACCESS_CLOCK_MAX;
}

/* Milliseconds since the record was last used, in steps of a second. */
static inline int64_t access_idle_ms(const struct record *record, int64_t now_ms) {
    uint32_t idle = (access_clock(now_ms) - record_access(record)) & ACCESS_CLOCK_MAX;
    return (int64_t)idle * 1000;
}

/* What the clock of a record reads that was used `idle_seconds` ago; as old as the clock can say
 * when it was longer. */
static inline uint32_t access_clock_idle(int64_t now_ms, uint64_t idle_seconds) {
    if (idle_seconds > ACCESS_CLOCK_MAX) idle_seconds = ACCESS_CLOCK_MAX;
    return (access_clock(now_ms) - (uint32_t)idle_seconds) & ACCESS_CLOCK_MAX;
}

/* -- LFU -- */

/* The clock of a record whose counter is `counter` at `now_ms`. */
static inline uint32_t access_counted(int64_t now_ms, uint32_t counter) {
    return ((uint32_t)((uint64_t)now_ms / 60000) & 0xffffu) << 8 | (counter & 0xffu);
}

/* The counter as it is after the time without use. */
static inline uint32_t access_counter(const struct memory_options *options,
                                      const struct record *record, int64_t now_ms) {
    uint32_t clock = record_access(record);
    uint32_t counter = clock & 0xffu;
    if (options->lfu_decay_min == 0) return counter;
    uint32_t minutes = ((uint32_t)((uint64_t)now_ms / 60000) - (clock >> 8)) & 0xffffu;
    uint64_t lost = minutes / options->lfu_decay_min;
    return lost >= counter ? 0 : counter - (uint32_t)lost;
}

/* The clock after one more use. */
static inline uint32_t access_used(const struct memory_options *options,
                                   const struct record *record, int64_t now_ms, struct rng *rng) {
    uint32_t counter = access_counter(options, record, now_ms);
    if (counter < 255) {
        uint32_t above = counter > ACCESS_COUNTER_NEW ? counter - ACCESS_COUNTER_NEW : 0;
        if (rng_below(rng, (uint64_t)above * options->lfu_log_factor + 1) == 0) counter++;
    }
    return access_counted(now_ms, counter);
}

/* The clock of a key that comes into being at `now_ms`. */
static inline uint32_t access_new(const struct memory_options *options, int64_t now_ms) {
    return memory_is_lfu(options) ? access_counted(now_ms, ACCESS_COUNTER_NEW)
                                  : access_clock(now_ms);
}

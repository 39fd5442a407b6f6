/* The access clock of records: when a key was last used, in 24 bits.
 *
 * The clock counts seconds of Unix time and wraps after 194 days; a record that was not used for
 * longer looks younger than it is. Which commands move it is decided by command/context.h.
 */
#pragma once

#include <stdint.h>

#include "server/structs/record.h"

#define ACCESS_CLOCK_MAX 0xffffffu

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

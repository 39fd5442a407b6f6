/* How much memory the data may take, and what goes when it is used up.
 *
 * Names, values and defaults are those of redis 7.0.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/config/option.h"

/* maxmemory-policy, as bits: which keys may go, and by what they are chosen. */
enum {
    EVICT_NOTHING = 0,
    EVICT_VOLATILE = 1 << 0, /* Keys with a deadline only, */
    EVICT_ALL_KEYS = 1 << 1, /* or any. */
    EVICT_LRU = 1 << 2,      /* The one not used for longest, */
    EVICT_LFU = 1 << 3,      /* used least often, */
    EVICT_TTL = 1 << 4,      /* with the earliest deadline, */
    EVICT_RANDOM = 1 << 5,   /* or whichever. */
};

struct memory_options {
    uint64_t max_bytes;      /* maxmemory; 0: no limit. */
    int policy;              /* maxmemory-policy */
    uint64_t samples;        /* maxmemory-samples: keys looked at for each that goes. */
    uint64_t tenacity;       /* maxmemory-eviction-tenacity: how long one command may evict. */
    uint64_t lfu_log_factor; /* How slowly the counter of an often used key grows. */
    uint64_t lfu_decay_min;  /* lfu-decay-time: minutes without use that cost it one; 0: never. */
    bool is_lazy;            /* lazyfree-lazy-eviction */
    bool replica_ignores;    /* replica-ignore-maxmemory */
};

static inline bool memory_is_lfu(const struct memory_options *options) {
    return (options->policy & EVICT_LFU) != 0;
}

/* The policy's name, as CONFIG and INFO show it. */
const char *memory_policy_name(int policy);

extern const struct option memory_option_rows[];
extern const size_t memory_option_count;

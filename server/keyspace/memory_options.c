#include "server/keyspace/memory_options.h"

#include "server/base/compiler.h"

static const struct option_choice policies[] = {
    {"volatile-lru", EVICT_VOLATILE | EVICT_LRU},
    {"volatile-lfu", EVICT_VOLATILE | EVICT_LFU},
    {"volatile-random", EVICT_VOLATILE | EVICT_RANDOM},
    {"volatile-ttl", EVICT_VOLATILE | EVICT_TTL},
    {"allkeys-lru", EVICT_ALL_KEYS | EVICT_LRU},
    {"allkeys-lfu", EVICT_ALL_KEYS | EVICT_LFU},
    {"allkeys-random", EVICT_ALL_KEYS | EVICT_RANDOM},
    {"noeviction", EVICT_NOTHING},
    {NULL, 0},
};

const char *memory_policy_name(int policy) {
    const struct option_choice *choice = policies;
    while (choice->name != NULL && choice->value != policy)
        choice++;
    return choice->name;
}

const struct option memory_option_rows[] = {
    {
        .name = "maxmemory",
        .field = OPTION_MEMORY(struct memory_options, max_bytes),
        .range = {.initial = 0, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "Bytes that the server may use before keys are evicted or writes refused; 0: all.",
    },
    {
        .name = "maxmemory-policy",
        .field = OPTION_ENUM(struct memory_options, policy),
        .choices = policies,
        .range = {.initial = EVICT_NOTHING},
        .live = true,
        .doc = "Which keys go when maxmemory is reached.",
    },
    {
        .name = "maxmemory-samples",
        .field = OPTION_UINT(struct memory_options, samples),
        .range = {.initial = 5, .min = 1, .max = INT32_MAX},
        .live = true,
        .doc = "Keys that are compared for each that is evicted.",
    },
    {
        .name = "maxmemory-eviction-tenacity",
        .field = OPTION_UINT(struct memory_options, tenacity),
        .range = {.initial = 10, .min = 0, .max = 100},
        .live = true,
        .doc = "How long a command may evict before it runs: 10 is half a millisecond, 100 no end.",
    },
    {
        .name = "lfu-log-factor",
        .field = OPTION_UINT(struct memory_options, lfu_log_factor),
        .range = {.initial = 10, .min = 0, .max = INT32_MAX},
        .live = true,
        .doc = "How slowly the use counter grows under LFU policies.",
    },
    {
        .name = "lfu-decay-time",
        .field = OPTION_UINT(struct memory_options, lfu_decay_min),
        .range = {.initial = 1, .min = 0, .max = INT32_MAX},
        .live = true,
        .doc = "Minutes without use after which the use counter loses one; 0: never.",
    },
    {
        .name = "lazyfree-lazy-eviction",
        .field = OPTION_BOOL(struct memory_options, is_lazy),
        .range = {.initial = 1},
        .live = true,
        .doc = "Tell replicas and the log UNLINK instead of DEL of evicted keys.",
    },
    {
        .name = "replica-ignore-maxmemory",
        .alias = "slave-ignore-maxmemory",
        .field = OPTION_BOOL(struct memory_options, replica_ignores),
        .range = {.initial = 1},
        .live = true,
        .doc = "A replica leaves it to its primary which keys go.",
    },
};
const size_t memory_option_count = ARRAY_COUNT(memory_option_rows);

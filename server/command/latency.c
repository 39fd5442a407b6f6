#include "server/command/latency.h"

#include <string.h>

#include "server/base/mem.h"
#include "server/command/command_internal.h"

double latency_bucket_middle(uint32_t bucket) {
    if (bucket < LATENCY_STEPS) return (double)bucket;
    uint32_t octave = bucket / LATENCY_STEPS - 1;
    uint64_t lowest = (uint64_t)(LATENCY_STEPS + bucket % LATENCY_STEPS) << octave;
    return (double)lowest + (double)((UINT64_C(1) << octave) - 1) / 2;
}

double latency_percentile(const uint64_t *counts, uint64_t total, double percent) {
    double wanted = (double)total * percent / 100;
    uint64_t seen = 0;
    uint32_t last = 0;
    for (uint32_t i = 0; i < LATENCY_BUCKETS; i++) {
        if (counts[i] == 0) continue;
        seen += counts[i];
        last = i;
        if ((double)seen >= wanted) break;
    }
    return latency_bucket_middle(last);
}

uint64_t dispatcher_latency_counts(const struct dispatcher *dispatcher, uint32_t command_id,
                                   uint64_t *out) {
    uint64_t total = 0;
    memset(out, 0, LATENCY_BUCKETS * sizeof(*out));
    for (const struct dispatch_worker *worker = dispatcher->workers; worker != NULL;
         worker = worker->next) {
        const uint32_t *counts = __atomic_load_n(&worker->latencies[command_id], __ATOMIC_ACQUIRE);
        for (uint32_t i = 0; counts != NULL && i < LATENCY_BUCKETS; i++) {
            uint32_t count = __atomic_load_n(&counts[i], __ATOMIC_RELAXED);
            out[i] += count;
            total += count;
        }
    }
    return total;
}

COLD uint32_t *latency_counts_create(struct dispatch_worker *worker, uint32_t command_id) {
    uint32_t *counts = mem_alloc_zero(LATENCY_BUCKETS * sizeof(*counts));
    __atomic_store_n(&worker->latencies[command_id], counts, __ATOMIC_RELEASE);
    return counts;
}

void dispatcher_track_latency(struct dispatcher *dispatcher, bool is_on) {
    dispatcher->tracks_latency = is_on;
}

/* How long commands take: a histogram of each command's durations.
 *
 * Buckets grow with what they hold, 32 to an octave, so a percentile is right to 3 %. A worker
 * counts for itself in one increment; whoever asks adds them up.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct dispatcher;

enum {
    LATENCY_STEPS = 32,
    LATENCY_OCTAVES = 36,
    LATENCY_BUCKETS = LATENCY_STEPS * LATENCY_OCTAVES
};

/* The bucket of a duration in any unit; durations beyond the last bucket are counted there. */
static inline uint32_t latency_bucket(uint64_t duration) {
    if (duration < LATENCY_STEPS) return (uint32_t)duration;
    unsigned octave = 58 - (unsigned)__builtin_clzll(duration); // 32 .. 63 is octave 0.
    uint32_t bucket = (octave + 1) * LATENCY_STEPS + (uint32_t)(duration >> octave) % LATENCY_STEPS;
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

/* The middle of what a bucket holds. */
double latency_bucket_middle(uint32_t bucket);

/* The duration below which `percent` of the counted ones lie. `total` is the sum of the counts,
 * over 0. */
double latency_percentile(const uint64_t *counts, uint64_t total, double percent);

/* Counts of a command over all workers, in ticks (clock_ticks). Returns their sum. `out` has
 * LATENCY_BUCKETS elements. */
uint64_t dispatcher_latency_counts(const struct dispatcher *dispatcher, uint32_t command_id,
                                   uint64_t *out);

/* latency-tracking. Everything parked, or before the workers start. */
void dispatcher_track_latency(struct dispatcher *dispatcher, bool is_on);

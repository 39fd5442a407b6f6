/* Making room: keys go when the memory of `maxmemory` is used up.
 *
 * Before a command runs, with no slot locked, its worker looks at how much is used and evicts keys,
 * one slot at a time, until it is less than the limit; what can't be helped makes the command be
 * refused with OOM if it could make things worse. To look costs a few nanoseconds: a worker that
 * has room for some kilobytes looks at nothing but how much it took since.
 *
 * The key that goes is the best of maxmemory-samples keys, neighbours in a slot picked at random or
 * in several where each has few, and of those that were looked at before and were nearly chosen.
 * What replicas pin of the journal beyond the backlog is not counted, so that a slow replica does
 * not empty its primary.
 */
#pragma once

#include "server/command/dispatch.h"

/* The memory options have changed. Everything parked, or before the workers start. */
void dispatcher_apply_memory_options(struct dispatcher *dispatcher);

/* Goes on with what commands left undone, for instance after the limit was lowered; for a timer.
 * The worker's turn is held, no slot locked. Returns microseconds spent evicting, 0 for nothing to
 * do. */
uint64_t eviction_continue(struct dispatch_worker *worker);

struct eviction_stats {
    uint64_t evicted_keys;
    uint64_t exceeded_us;         /* Time with more used than allowed, up to now, */
    uint64_t current_exceeded_us; /* and of the time that has not ended yet. */
};
/* Bytes that are not counted: INFO's mem_not_counted_for_evict. */
uint64_t eviction_uncounted_bytes(const struct dispatcher *dispatcher);
void eviction_stats_read(struct dispatcher *dispatcher, struct eviction_stats *out);

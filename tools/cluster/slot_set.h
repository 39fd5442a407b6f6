/* A set of hash slots, as a plain value. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buffer.h"

#define CLUSTER_SLOTS 16384u

struct slot_set {
    uint64_t words[CLUSTER_SLOTS / 64];
};

static inline bool slot_set_has(const struct slot_set *set, unsigned slot) {
    return (set->words[slot / 64] >> (slot % 64)) & 1;
}

static inline void slot_set_add(struct slot_set *set, unsigned slot) {
    set->words[slot / 64] |= UINT64_C(1) << (slot % 64);
}

static inline void slot_set_remove(struct slot_set *set, unsigned slot) {
    set->words[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
}

size_t slot_set_count(const struct slot_set *set);
void slot_set_add_all(struct slot_set *set, const struct slot_set *other);

/* The next run of slots in the set from `*slot` on: its first and last slot, and `*slot` moves
 * behind it. False when there is none. Begin with *slot = 0. */
bool slot_set_next_run(const struct slot_set *set, unsigned *slot, unsigned *first, unsigned *last);

/* Appends the runs, divided by commas, each as "0-5460" or "7"; in brackets if `has_brackets`. */
void slot_set_append_runs(const struct slot_set *set, bool has_brackets, struct buffer *out);

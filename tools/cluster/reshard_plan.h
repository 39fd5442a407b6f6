/* Which slots move where in a reshard: so many slots, from these sources, to this target. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/compiler.h"
#include "tools/cluster/node_model.h"
#include "tools/cluster/report.h"

struct slot_move {
    uint16_t slot;
    const struct cluster_node *source;
};

struct reshard_plan {
    struct slot_move *moves; /* Owned. */
    size_t count;
};

/* Spreads `slot_count` over the sources by their size, the largest first, each giving its lowest
 * slots. With `like_reference` the first source's share is rounded up and the others' down, which
 * may lose some slots; otherwise the remainders are dealt out so that the sum is exact.
 *
 * sources: none of them twice, at least one; the plan borrows them.
 */
void reshard_plan_compute(const struct cluster_node *const *sources, size_t source_count,
                          size_t slot_count, bool like_reference, struct reshard_plan *out);

void reshard_plan_deinit(struct reshard_plan *plan);

/* Appends what is going to happen, as it is shown before the question. */
void reshard_plan_describe(const struct reshard_plan *plan,
                           const struct cluster_node *const *sources, size_t source_count,
                           const struct cluster_node *target, size_t slot_count,
                           struct report *report);

/* Who becomes what in a new cluster: primaries, their slots, replicas kept away from their primary.
 *
 * Pure: nodes go in as hosts and ports, roles and slot ranges come out.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/compiler.h"
#include "tools/cluster/report.h"

/* Fewer primaries cannot elect anybody. */
#define ALLOCATION_PRIMARIES_MIN 3u

/* One node. The first group goes in, the second comes out. */
struct placement {
    const char *host;
    int port;
    const char *id; /* Seeds the search among equal placements. */

    bool is_primary;
    unsigned first_slot; /* Of a primary. */
    unsigned last_slot;
    size_t primary_index; /* Of a replica: which placement it replicates. */
};

/* Primaries that `node_count` nodes with `replicas` replicas each make. */
size_t allocation_primary_count(size_t node_count, size_t replicas);

/* Places the nodes, at least one primary, and appends the lines about it. */
void allocation_plan(struct placement *nodes, size_t node_count, size_t replicas,
                     struct report *report);

/* How bad the placement is: 10000 for each replica on its primary's host, and the number of
 * replicas of one primary that share another host. 0 is perfect. */
uint64_t allocation_affinity_score(const struct placement *nodes, size_t node_count);

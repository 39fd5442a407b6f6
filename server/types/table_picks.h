/* Different records of a table, picked evenly: what HRANDFIELD, SRANDMEMBER, SPOP and ZRANDMEMBER
 * share. */
#pragma once

#include "server/base/rng.h"
#include "server/structs/table.h"

/* Visits `count` different records, each choice of so many being equally likely, in no particular
 * order. `count` is at most the table's. The table must not change meanwhile. O(count) for a small
 * part of the table, O(records) for more. */
void table_pick_different(const struct table *table, const struct table_hasher *hasher,
                          struct rng *rng, size_t count,
                          void (*visit)(void *arg, struct record *record), void *arg);

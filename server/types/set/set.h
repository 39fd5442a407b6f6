/* Sets: members without order.
 *
 * A small set of integers is a sorted array (structs/intset), another small one a listpack, a
 * larger one a table whose records are the members and hold nothing else. Small and short are what
 * the options set-max-* say; a set that has become a table stays one. The order of a table's
 * members is that of their hash under a seed of the set's own, so nobody can choose members that
 * collide.
 */
#pragma once

#include "server/command/command.h"
#include "server/keyspace/data_type.h"
#include "server/structs/listpack.h"

extern const struct data_type set_type;
extern const struct command set_commands[];

/* -- for other modules (SORT, sorted sets that combine with sets, geo) -- */

struct set_policy {
    const struct data_type_options *options;
    uint64_t seed; /* Of the table that the set may become. */
};

size_t set_count(const struct record *record);
bool set_contains(const struct record *record, struct bytes member);

/* Calls `visit` for each member, as a text or as a number (`text.data` NULL); views that end with
 * the next change. The set must not change meanwhile. */
void set_walk(const struct record *record,
              void (*visit)(void *arg, const struct listpack_value *member), void *arg);

/* An empty set; the caller fills it before others see it. */
MUST_USE struct record *set_record_create(struct bytes key);
/* Returns true when the member is new. It may not lie in the set. */
bool set_add(struct record *record, struct bytes member, const struct set_policy *policy);

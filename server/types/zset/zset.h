/* Sorted sets: members in the order of their scores, and of their bytes where scores are equal.
 *
 * A small one is a listpack of members and scores in order. A larger one is a table whose records
 * are the members with their scores, and a counted B+tree (structs/leaf_tree) over these records:
 * its leaves are arrays of pointers in order, so a rank, a score or a member leads to its place in
 * O(log n). One that has become a table stays one. Small and short are what zset-max-* say.
 */
#pragma once

#include "server/command/context.h"
#include "server/keyspace/data_type.h"
#include "server/resp/reply.h"
#include "server/structs/leaf_tree.h"
#include "server/structs/listpack.h"
#include "server/structs/pointer_leaf.h"

extern const struct data_type zset_type;
extern const struct command zset_commands[];

/* -- for other modules (geo, SORT) -- */

struct zset_policy {
    const struct data_type_options *options;
    uint64_t seed; /* Of the table that the set may become. */
};

struct zset_element {
    struct listpack_value member; /* A text, or a number (`text.data` NULL): views. */
    double score;
};

/* An empty sorted set; the caller fills it before others see it. */
MUST_USE struct record *zset_record_create(struct bytes key);

/* Frees a record that no keyspace holds, with everything that hangs on it. */
void zset_record_free(struct record *record);

size_t zset_count(const struct record *record);

/* False, and `out` untouched, when there is no such member. */
bool zset_score(const struct record *record, struct bytes member, double *out);

/* Gives the member this score, which is a number. It may not lie in the set. O(log n) */
void zset_put(struct record *record, struct bytes member, double score,
              const struct zset_policy *policy);
/* False when there is no such member. It may lie in the set. */
bool zset_remove(struct record *record, struct bytes member);

/* Makes it a table with members in this seed's order; nothing to do when it is one. */
void zset_make_table(struct record *record, uint64_t seed);

/* How many members have a score below `score` (or equal to it, with `or_equal`): the rank of the
 * first other one. */
uint64_t zset_rank_of_score(const struct record *record, double score, bool or_equal);

/* Puts a result under the key (and counts it), or deletes the key when the result is empty; answers
 * its size. Takes the result. */
void zset_store_take(struct command_context *context, const struct key *key, const char *event,
                     struct record *result);

/* ZADD, of the context's arguments. */
void zset_zadd(struct command_context *context);

/* Where a walk stands. What it shows ends with the next change of the set. */
struct zset_cursor {
    const uint8_t *block; /* Of a listpack. */
    size_t at;            /* Of the member; 0: behind an end. */
    struct leaf_place place;
    const struct packed_pointer *members; /* Of a leaf; NULL: behind an end. */
    uint32_t index;
};

/* The element of this rank (below zset_count). O(log n) */
void zset_cursor_begin(struct zset_cursor *cursor, const struct record *record, uint64_t rank);
bool zset_cursor_has(const struct zset_cursor *cursor);
struct zset_element zset_cursor_get(const struct zset_cursor *cursor);
void zset_cursor_next(struct zset_cursor *cursor);
void zset_cursor_previous(struct zset_cursor *cursor);

/* What the files of this module share: the structure, ranges, and the handlers that the rows name.
 */
#pragma once

#include "server/command/blocking.h"
#include "server/command/context.h"
#include "server/structs/table.h"
#include "server/types/element.h"
#include "server/types/zset/zset.h"

enum zset_encoding { ZSET_LISTPACK = 0, ZSET_TABLE = 1 };

/* What hangs on a record of encoding ZSET_TABLE. The table owns the members. */
struct zset_table {
    struct table table;
    uint64_t seed;          /* Of the members' order in the table. */
    struct leaf_tree *tree; /* Leaves: arrays of pointers to the table's records. */
};

void zset_destroy(struct record *record); /* What hangs on the record. */
void zset_prefetch(const struct record *record, struct bytes member, unsigned step);
MUST_USE struct record *zset_copy(const struct record *record, struct bytes key);

/* A table that is small and whose members are short becomes a listpack again (results of commands;
 * what lives in a keyspace stays a table). */
void zset_settle(struct record *record, const struct data_type_options *options);

/* The table of a set that is one, else NULL. */
struct zset_table *zset_table_of(const struct record *record);
struct table_hasher zset_hasher(const struct zset_table *set);
double zset_record_score(const struct record *member); /* Of a table's record. */

/* A fresh set takes the block, whose pairs are in order. */
void zset_adopt_block_take(struct record *record, uint8_t *block);

/* How many members come before this one. False when there is no such member. */
bool zset_rank(const struct record *record, struct bytes member, uint64_t *out_rank,
               double *out_score);

/* Removes `count` members from a rank on; there are so many. */
void zset_remove_range(struct record *record, uint64_t rank, uint64_t count);

/* A member picked evenly; the set is not empty. */
struct zset_element zset_random(const struct record *record, struct rng *rng);

/* -- ranges -- */

enum range_kind { RANGE_RANK, RANGE_SCORE, RANGE_LEX };

struct lex_bound {
    enum { LEX_LOWEST, LEX_TEXT, LEX_HIGHEST } kind;
    bool is_exclusive;
    struct bytes text;
};

struct zset_range {
    enum range_kind kind;
    bool is_reversed;
    bool is_count; /* What it is for: only ranges by member over different scores care. */
    bool is_removal;
    int64_t start; /* RANGE_RANK, as clients give them. */
    int64_t stop;
    double min; /* RANGE_SCORE */
    double max;
    bool min_is_exclusive;
    bool max_is_exclusive;
    struct lex_bound low; /* RANGE_LEX */
    struct lex_bound high;
    int64_t offset; /* LIMIT, of what is in the range; a negative count is no limit. */
    int64_t count;
};

/* Reads two arguments as a range of the kind; false after the error was answered. */
bool zset_parse_bounds(struct command_context *context, uint32_t min_argument,
                       uint32_t max_argument, struct zset_range *range);

/* The part of the set that the range names: `*out_count` members, the first of them (in the
 * direction of the range) with the rank `*out_rank`. */
void zset_locate(const struct record *record, const struct zset_range *range, uint64_t *out_rank,
                 uint64_t *out_count);

/* -- what commands share -- */

/* False after WRONGTYPE was answered. *out is NULL when the key is absent. */
bool zset_find(struct command_context *context, const struct record **out);
void zset_delete_if_empty(struct command_context *context, const struct key *key,
                          struct table_entry *entry);
/* The header of a reply of members, or members with scores: pairs are arrays in RESP3 and flat in
 * RESP2. */
void zset_reply_header(struct reply *reply, uint64_t count, bool has_scores);
void zset_reply_element(struct reply *reply, const struct zset_element *element, bool has_scores);

/* zset_commands.c */
void zset_zincrby(struct command_context *context);
void zset_zrem(struct command_context *context);
void zset_zcard(struct command_context *context);
void zset_zscore(struct command_context *context);
void zset_zmscore(struct command_context *context);
bool zset_rank_fits(const struct bytes *argv, uint32_t argc);
void zset_zrank(struct command_context *context);
void zset_zrevrank(struct command_context *context);
void zset_zscan(struct command_context *context);

/* zset_range.c */
void zset_zrange(struct command_context *context);
void zset_zrevrange(struct command_context *context);
void zset_zrangebyscore(struct command_context *context);
void zset_zrevrangebyscore(struct command_context *context);
void zset_zrangebylex(struct command_context *context);
void zset_zrevrangebylex(struct command_context *context);
void zset_zrangestore(struct command_context *context);
void zset_zcount(struct command_context *context);
void zset_zlexcount(struct command_context *context);
void zset_zremrangebyrank(struct command_context *context);
void zset_zremrangebyscore(struct command_context *context);
void zset_zremrangebylex(struct command_context *context);

/* zset_algebra.c */
void zset_zunion(struct command_context *context);
void zset_zunionstore(struct command_context *context);
void zset_zinter(struct command_context *context);
void zset_zinterstore(struct command_context *context);
void zset_zintercard(struct command_context *context);
void zset_zdiff(struct command_context *context);
void zset_zdiffstore(struct command_context *context);

/* zset_pop.c */
void zset_zpopmin(struct command_context *context);
void zset_zpopmax(struct command_context *context);
void zset_zmpop(struct command_context *context);
void zset_bzpopmin(struct command_context *context);
void zset_bzpopmax(struct command_context *context);
void zset_bzmpop(struct command_context *context);
void zset_zrandmember(struct command_context *context);

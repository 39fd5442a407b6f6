/* What the files of this module share: the structure, and the handlers that the rows name. */
#pragma once

#include "server/command/context.h"
#include "server/structs/intset.h"
#include "server/structs/table.h"
#include "server/types/element.h"
#include "server/types/set/set.h"

enum set_encoding { SET_INTSET = 0, SET_LISTPACK = 1, SET_TABLE = 2 };

/* What hangs on a record of encoding SET_TABLE. */
struct set_table {
    struct table table;
    uint64_t seed; /* Of the members' order. */
};

void set_destroy(struct record *record); /* What hangs on the record. */
void set_prefetch(const struct record *record, struct bytes member, unsigned step);
MUST_USE struct record *set_copy(const struct record *record, struct bytes key);

/* Returns false when there is no such member. */
bool set_remove(struct record *record, struct bytes member);

/* Makes it a table; nothing to do when it is one. */
void set_convert_to_table(struct record *record, uint64_t seed);

/* The table of a set that is one, else NULL. */
struct set_table *set_table_of(const struct record *record);
struct table_hasher set_hasher(const struct set_table *set);

/* A member picked evenly; the set is not empty. */
struct listpack_value set_random(const struct record *record, struct rng *rng);

/* `count` different members, fewer than or as many as there are, in no particular order. */
void set_pick_different(const struct record *record, struct rng *rng, size_t count,
                        void (*visit)(void *arg, const struct listpack_value *member), void *arg);

/* set_commands.c */
void set_sadd(struct command_context *context);
void set_srem(struct command_context *context);
void set_smembers(struct command_context *context);
void set_sismember(struct command_context *context);
void set_smismember(struct command_context *context);
void set_scard(struct command_context *context);
void set_smove(struct command_context *context);
void set_sscan(struct command_context *context);

/* set_random.c */
void set_spop(struct command_context *context);
void set_srandmember(struct command_context *context);

/* set_algebra.c */
void set_sinter(struct command_context *context);
void set_sinterstore(struct command_context *context);
void set_sintercard(struct command_context *context);
void set_sunion(struct command_context *context);
void set_sunionstore(struct command_context *context);
void set_sdiff(struct command_context *context);
void set_sdiffstore(struct command_context *context);

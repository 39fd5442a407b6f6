/* What the files of this module share: the structure, and the handlers that the rows name. */
#pragma once

#include "server/command/blocking.h"
#include "server/command/context.h"
#include "server/types/element.h"
#include "server/types/list/list.h"

enum list_encoding { LIST_LISTPACK = 0, LIST_TREE = 1 };

void list_destroy(struct record *record); /* What hangs on the record. */
MUST_USE struct record *list_copy(const struct record *record, struct bytes key);

/* The tree of a list that is one, else NULL. */
struct leaf_tree *list_tree_of(const struct record *record);

/* Calls `visit` for the block of each leaf, from the head on. */
void list_walk_blocks(const struct record *record, void (*visit)(void *arg, const uint8_t *block),
                      void *arg);

/* Calls `visit` for the block with the element at `index` (below the count); returns the index of
 * the element behind that block. */
uint64_t list_visit_block(const struct record *record, uint64_t index,
                          void (*visit)(void *arg, const uint8_t *block), void *arg);

/* Puts a whole block behind the last element (a loader's); the list owns it. */
void list_append_block_take(struct record *record, uint8_t *block);
/* After appended blocks: one that is small becomes a listpack. */
void list_settle(struct record *record, const struct data_type_options *options);

/* Puts `element` in the place of the one at `index`, or before or behind it. */
void list_replace(struct record *record, uint64_t index, struct bytes element,
                  const struct data_type_options *options);
void list_insert(struct record *record, uint64_t index, bool is_behind, struct bytes element,
                 const struct data_type_options *options);

/* Removes `count` elements from `index` on; there are so many. O(log n + leaves removed) */
void list_delete_range(struct record *record, uint64_t index, uint64_t count,
                       const struct data_type_options *options);

/* Takes `count` elements from an end and answers them one after the other; deletes the key with its
 * last element. `event` is "lpop" or "rpop". */
void list_pop_and_reply(struct command_context *context, const struct key *key,
                        struct table_entry *entry, bool at_head, uint64_t count);

/* list_commands.c */
void list_lpush(struct command_context *context);
void list_rpush(struct command_context *context);
void list_lpushx(struct command_context *context);
void list_rpushx(struct command_context *context);
void list_llen(struct command_context *context);
void list_lindex(struct command_context *context);
void list_lrange(struct command_context *context);
void list_lset(struct command_context *context);
void list_linsert(struct command_context *context);
void list_lrem(struct command_context *context);
void list_ltrim(struct command_context *context);
void list_lpos(struct command_context *context);

/* list_pop.c */
void list_lpop(struct command_context *context);
void list_rpop(struct command_context *context);
void list_lmpop(struct command_context *context);
void list_lmove(struct command_context *context);
void list_rpoplpush(struct command_context *context);
void list_blpop(struct command_context *context);
void list_brpop(struct command_context *context);
void list_blmpop(struct command_context *context);
void list_blmove(struct command_context *context);
void list_brpoplpush(struct command_context *context);

/* What the files of this module share: the structure, and the handlers that the rows name. */
#pragma once

#include "server/command/context.h"
#include "server/structs/table.h"
#include "server/types/element.h"
#include "server/types/hash/hash.h"

enum hash_encoding { HASH_LISTPACK = 0, HASH_TABLE = 1 };

/* What hangs on a record of encoding HASH_TABLE. */
struct hash_table {
    struct table table;
    uint64_t seed; /* Of the fields' order. */
};

/* When a hash becomes a table, and the seed that it would get. */
struct hash_policy {
    const struct data_type_options *options;
    uint64_t seed;
};

/* One field with its value; views that end with the next change of the hash. A `text.data` of NULL
 * means a number. */
struct hash_pair {
    struct listpack_value field;
    struct listpack_value value;
};

/* An empty hash. The caller fills it before others see it. */
MUST_USE struct record *hash_record_create(struct bytes key);
void hash_destroy(struct record *record); /* What hangs on the record. */
void hash_prefetch(const struct record *record, struct bytes field, unsigned step);
MUST_USE struct record *hash_copy(const struct record *record, struct bytes key);

size_t hash_count(const struct record *record);

/* Returns true when the field is new. `field` and `value` may not lie in the hash. */
bool hash_set(struct record *record, struct bytes field, struct bytes value,
              const struct hash_policy *policy);

/* Returns false when there is no such field. */
bool hash_delete(struct record *record, struct bytes field);

/* Makes it a table; nothing to do when it is one. */
void hash_convert(struct record *record, uint64_t seed);

/* The table of a hash that is one, else NULL. */
struct hash_table *hash_table_of(const struct record *record);

/* The order of a table's fields; good as long as the hash. */
struct table_hasher hash_hasher(const struct hash_table *hash);

/* A field record of a table as a pair. */
struct hash_pair hash_pair_of(const struct record *field);

/* The pair whose field lies at a place of a listpack; *inout_place is moved to the next field, 0
 * behind the last one. */
struct hash_pair hash_next_pair(const uint8_t *block, size_t *inout_place);

/* Calls `visit` for each pair; of a table only for those with from <= order < to (`to` 0: to the
 * end). The hash must not change meanwhile. */
void hash_walk(const struct record *record, uint64_t from, uint64_t to,
               void (*visit)(void *arg, const struct hash_pair *pair), void *arg);

void hash_hdel(struct command_context *context);
void hash_hexists(struct command_context *context);
void hash_hget(struct command_context *context);
void hash_hgetall(struct command_context *context);
void hash_hincrby(struct command_context *context);
void hash_hincrbyfloat(struct command_context *context);
void hash_hkeys(struct command_context *context);
void hash_hlen(struct command_context *context);
void hash_hmget(struct command_context *context);
void hash_hmset(struct command_context *context);
void hash_hset(struct command_context *context);
void hash_hsetnx(struct command_context *context);
void hash_hstrlen(struct command_context *context);
void hash_hvals(struct command_context *context);

/* hash_scan.c */
void hash_hrandfield(struct command_context *context);
void hash_hscan(struct command_context *context);

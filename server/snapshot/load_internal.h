/* Loading on all cores: what the files load*.c share.
 *
 * One thread reads the file, finds where each key begins and ends and gathers them in batches as
 * they stand there; a crew of threads decodes the batches and puts the keys in. The reader lends a
 * hand whenever the crew has enough to do, so on one core it does everything by itself. Values too
 * large to be held in one piece it loads on its way.
 */
#pragma once

#include "server/keyspace/keyspace.h"
#include "server/rdb/rdb_reader.h"
#include "server/snapshot/snapshot_internal.h"

/* What holds for the whole load; the same for all threads. */
struct load_context {
    struct databases *into;
    struct data_type_load_context values;
    const struct data_type *types[256]; /* By RDB type; NULL: this build does not load it. */
    uint64_t expected[DATABASE_MAX];    /* Keys, as the file announces them. */
    bool drops_expired;
    int64_t now_ms;
};

/* What stands in a file beside a key's name and value. */
struct load_attributes {
    struct keyspace *keyspace;
    int64_t expires_at_ms;
    uint32_t access;
    uint8_t rdb_type; /* One that can be loaded. */
    bool has_expiry;
    bool leaves_expired; /* Counted, but left to be deleted before everybody's eyes. */
};

/* A key's name and value as they stand in the file, in the chunk of their batch. */
struct raw_key {
    struct bytes raw;
    uint64_t offset; /* Of `raw` in the file. */
    struct load_attributes attributes;
};

struct load_batch {
    struct load_batch *next;
    uint8_t *chunk; /* Owned; NULL: the reader's. */
    struct raw_key *keys;
    uint32_t count;
    uint32_t cap;
};

/* What one thread did, and the first thing that went wrong in its hands. */
struct load_tally {
    uint64_t keys;
    uint64_t expired;
    struct rdb_error error;
};

/* Puts in a key whose value the reader stands at; consumes it. `offset`: of the reader's first byte
 * in the file. False: the error is in the tally. */
bool load_value(const struct load_context *context, const struct load_attributes *attributes,
                const struct key *key, struct rdb_reader *reader, uint64_t offset,
                struct load_tally *tally);

/* Decodes a batch and puts its keys in. `reader` is one over memory, to be used again and again. */
bool load_keys(const struct load_context *context, const struct load_batch *batch,
               struct rdb_reader *reader, struct load_tally *tally);

struct load_crew;

/* The threads start when there is something for them to do: one for each core but ours. */
struct load_crew *load_crew_create(const struct load_context *context);

/* A batch to be filled; empty, but for room that it had. Does a batch first when there are enough
 * of them under way. */
struct load_batch *load_crew_batch(struct load_crew *crew);
void load_crew_submit_take(struct load_crew *crew, struct load_batch *batch);

/* True when something went wrong: there is no need to go on. Any thread. */
bool load_crew_has_failed(const struct load_crew *crew);

/* Does what is left, waits for all, ends the threads; adds up what was done. Where several went
 * wrong the tally has what comes first in the file. */
void load_crew_destroy(struct load_crew *crew, struct load_tally *out);

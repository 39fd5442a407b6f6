/* The hash table of records: cache-line buckets in the order of the hash.
 *
 * A bucket is one cache line: nine 48-bit pointers, a tag byte for each, a flag byte. A record lies
 * in bucket (order * bucket_count) >> 64, where `order` is its 64-bit hash as the owner computed
 * it, so the buckets lie in the order of that number whatever their count. A *place* is such a
 * number: everything before it has been seen, everything from it on has not. It stays true however
 * the table grows or shrinks, and is the cursor of SCAN, of snapshots and of the growth itself.
 *
 * A hit costs the bucket's line and the record's, a miss usually one line. Beside the buckets,
 * where any record has a deadline, lies a 4-byte lower bound of the earliest one in each.
 *
 * An all-zero struct is an empty table, and takes 32 bytes. Not thread safe: the lock of the slot
 * (or whatever owns the table) covers it.
 */
#pragma once

#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "server/base/rng.h"
#include "server/structs/record.h"

struct table_bucket;
struct table_growth;

struct table {
    struct table_bucket *buckets;
    uint32_t *bounds;            /* Coarse deadlines by bucket; NULL while no record has one. */
    struct table_growth *growth; /* A resize under way, or NULL. */
    uint32_t bucket_count;
    uint32_t count; /* Records. */
};

/* How a table's owner hashes a key; needed when the table grows. */
struct table_hasher {
    uint64_t (*order)(const void *state, struct bytes key);
    const void *state;
};

/* Where a record lies: good until the next call that changes the table. */
struct table_entry {
    struct record *record; /* NULL: not found. */
    struct table_bucket *bucket;
    uint32_t bound_index; /* Of the bucket's bound. */
    uint8_t index;
    bool is_in_old;
};

/* Deadlines in steps of 256 ms, from a fixed day on; good for 34 years. */
#define TABLE_NO_DEADLINE UINT32_MAX
uint32_t table_coarse_deadline(int64_t deadline_ms);

/* Frees the buckets. The records are the caller's to free before (table_walk). */
void table_deinit(struct table *table);

/* The record with this key, or NULL. `order` is the key's hash. */
struct record *table_find(const struct table *table, struct bytes key, uint64_t order);
struct table_entry table_find_entry(const struct table *table, struct bytes key, uint64_t order);

/* Asks the processor to fetch the bucket of `order`; reads nothing but the struct itself, and may
 * be called without the lock. */
void table_prefetch(const struct table *table, uint64_t order);

/* Sends for the record that a look-up of `order` would compare first. The table's lock is held. */
void table_prefetch_record(const struct table *table, uint64_t order);
/* The one (step 0), then the other. */
void table_prefetch_step(const struct table *table, uint64_t order, unsigned step);

/* Sends for all records of the bucket where a walk from `place` begins. The table's lock is held.
 */
void table_prefetch_records(const struct table *table, uint64_t place);

/* Puts in a record whose key is not there. The table owns it from now on. May grow the table; large
 * ones grow a few buckets a call. */
void table_insert_take(struct table *table, struct record *record, uint64_t order,
                       const struct table_hasher *hasher);

/* Gives a table that has no buckets yet as many as it would have grown to with so many records. One
 * that has some stays as it is. */
void table_reserve(struct table *table, uint32_t records);

/* Another record in the place of the one that is there (same key). The old one is the caller's. */
struct record *table_swap(struct table *table, struct table_entry *entry, struct record *record);

/* Takes the record out; it is the caller's. May shrink the table. */
struct record *table_detach(struct table *table, struct table_entry *entry,
                            const struct table_hasher *hasher);

/* Notes that the record at `entry` got (another) deadline. */
void table_note_deadline(struct table *table, const struct table_entry *entry, int64_t deadline_ms);

/* Calls `visit` for each record with from <= order < to (`to` 0: to the end), in the order of
 * buckets. The table must not change meanwhile. */
void table_walk(const struct table *table, uint64_t from, uint64_t to,
                const struct table_hasher *hasher, void (*visit)(void *arg, struct record *record),
                void *arg);

/* The place behind about `buckets` buckets from `place` on; 0 when that is the end. */
uint64_t table_place_after(const struct table *table, uint64_t place, uint32_t buckets);

/* A record picked evenly among all, or NULL when there is none. */
struct record *table_random(const struct table *table, struct rng *rng);

/* Up to `cap` different records from neighbouring buckets, beginning at a bucket picked evenly;
 * with `has_deadline` only records that have one, found by their buckets' bounds. Fewer than `cap`
 * only when the table has no more. Returns how many. Cost: the buckets looked at, which without
 * `has_deadline` are about cap / 7. */
uint32_t table_sample(const struct table *table, struct rng *rng, bool has_deadline,
                      struct record **out, uint32_t cap);

/* Collects up to `cap` records that are due at `now_ms`, looking at no more than `max_buckets`
 * buckets whose bound is due; sets the bounds right that it looked at. *inout_cursor is where to go
 * on (0 to begin). Returns how many were found. Out: *out_earliest is the lower bound of the whole
 * table, valid when the pass over the table ended (*inout_cursor is 0 again). */
uint32_t table_collect_due(struct table *table, int64_t now_ms, uint32_t max_buckets,
                           uint32_t *inout_cursor, struct record **out, uint32_t cap,
                           uint32_t *out_earliest);

/* Moves a growth on by `buckets` buckets; true while there is more to do. */
bool table_grow_step(struct table *table, uint32_t buckets, const struct table_hasher *hasher);

/* Bytes that the allocator holds for buckets and bounds. */
size_t table_memory_used(const struct table *table);

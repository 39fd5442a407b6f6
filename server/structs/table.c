#include "server/structs/table.h"

#include "server/base/check.h"
#include "server/base/mem.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    ENTRIES = 9,
    CHAIN_ENTRY = 8,      /* In a chained bucket the last pointer leads to the next one. */
    RESIZE_AT_ONCE = 64,  /* Up to so many buckets a resize is done in one go (some 20 µs). */
    MOVES_PER_CHANGE = 2, /* Buckets moved by each change while a larger resize is under way. */
    STUB_BYTES = 16,
    RANDOM_SPREAD = 16, /* Entries of a chain that table_random weighs evenly. */
};

/* A tag of 0 is an empty entry. A bucket and its chain hold the records of one range of orders.
 *
 * The only bucket of a table with one record may be a stub: its first 16 bytes, which have the tags
 * and the first entry. Nobody who looks for records reads further; who adds one makes it whole. */
struct table_bucket {
    _Alignas(STUB_BYTES) uint8_t tags[ENTRIES];
    uint8_t is_chained;
    uint8_t pointers[ENTRIES][6];
};

_Static_assert(sizeof(struct table_bucket) == CACHE_LINE, "a bucket is a cache line");
_Static_assert(offsetof(struct table_bucket, pointers[1]) == STUB_BYTES, "a stub has one entry");
_Static_assert(sizeof(struct table) == 32, "an empty table takes 32 bytes");

/* A resize under way: records whose order lies before `place` are in the table's buckets, the
 * others still in the old ones. */
struct table_growth {
    struct table_bucket *buckets;
    uint32_t *bounds;
    uint32_t bucket_count;
    uint32_t next; /* The next old bucket to move. */
    uint64_t place;
};

#define DEADLINE_EPOCH_MS 1577836800000 /* 2020-01-01 */

uint32_t table_coarse_deadline(int64_t deadline_ms) {
    if (deadline_ms < DEADLINE_EPOCH_MS) return 0; // As old as it likes: a file may say anything.
    int64_t steps = (deadline_ms - DEADLINE_EPOCH_MS) >> 8;
    return steps >= (int64_t)TABLE_NO_DEADLINE ? TABLE_NO_DEADLINE - 1 : (uint32_t)steps;
}

/* -- buckets -- */

static inline uint8_t tag_of(uint64_t order) {
    uint8_t tag = (uint8_t)(order >> 16);
    return tag == 0 ? 1 : tag;
}

static inline uint32_t bucket_index(uint64_t order, uint32_t bucket_count) {
    return (uint32_t)(((__uint128_t)order * bucket_count) >> 64);
}

/* The first place of a bucket; 0 for the one behind the last. */
static inline uint64_t bucket_place(uint32_t index, uint32_t bucket_count) {
    if (index >= bucket_count) return 0;
    return (uint64_t)((((__uint128_t)index << 64) + bucket_count - 1) / bucket_count);
}

static inline void *bucket_pointer(const struct table_bucket *bucket, unsigned index) {
    uint64_t word = 0;
    memcpy(&word, bucket->pointers[index], 6);
    return (void *)(uintptr_t)word; // NOLINT(performance-no-int-to-ptr): 48 bits are all there is.
}

static inline void bucket_set_pointer(struct table_bucket *bucket, unsigned index, void *pointer) {
    uint64_t word = (uint64_t)(uintptr_t)pointer;
    memcpy(bucket->pointers[index], &word, 6);
}

static inline unsigned bucket_limit(const struct table_bucket *bucket) {
    return bucket->is_chained ? 0xffu : 0x1ffu;
}

/* Bit i: entry i carries this tag. */
static inline unsigned bucket_match(const struct table_bucket *bucket, uint8_t tag) {
#ifdef __SSE2__
    __m128i tags = _mm_load_si128((const __m128i *)bucket);
    unsigned mask = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8((char)tag)));
#else
    unsigned mask = 0;
    for (unsigned i = 0; i < ENTRIES; i++)
        mask |= (unsigned)(bucket->tags[i] == tag) << i;
#endif
    return mask & bucket_limit(bucket);
}

static inline struct table_bucket *bucket_next(const struct table_bucket *bucket) {
    return bucket->is_chained ? bucket_pointer(bucket, CHAIN_ENTRY) : NULL;
}

static struct table_bucket *buckets_create(uint32_t count) {
    struct table_bucket *buckets =
        mem_alloc_aligned(count * sizeof(struct table_bucket), CACHE_LINE);
    memset(buckets, 0, count * sizeof(struct table_bucket));
    return buckets;
}

/* Where keys are few, most tables have one. */
static struct table_bucket *stub_create(void) {
    struct table_bucket *stub = mem_alloc_aligned(STUB_BYTES, STUB_BYTES);
    memset(stub, 0, STUB_BYTES);
    return stub;
}

static inline bool is_stub(const struct table *table) {
    return table->count == 1 && table->bucket_count == 1 &&
           mem_usable_size(table->buckets) < sizeof(struct table_bucket);
}

static void make_whole(struct table *table) {
    struct table_bucket *bucket = buckets_create(1);
    memcpy(bucket, table->buckets, STUB_BYTES);
    mem_free(table->buckets);
    table->buckets = bucket;
}

static void free_chain(struct table_bucket *head) {
    struct table_bucket *next = bucket_next(head);
    while (next != NULL) {
        struct table_bucket *after = bucket_next(next);
        mem_free(next);
        next = after;
    }
}

static void buckets_destroy(struct table_bucket *buckets, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        free_chain(&buckets[i]);
    mem_free(buckets);
}

/* Puts a record into the first free entry of the bucket or its chain. */
static void bucket_insert(struct table_bucket *bucket, struct record *record, uint8_t tag) {
    for (;;) {
        unsigned empty = bucket_match(bucket, 0);
        if (LIKELY(empty != 0)) {
            unsigned index = (unsigned)__builtin_ctz(empty);
            bucket->tags[index] = tag;
            bucket_set_pointer(bucket, index, record);
            return;
        }
        struct table_bucket *next = bucket_next(bucket);
        if (next == NULL) {
            next = buckets_create(1);
            next->tags[0] = bucket->tags[CHAIN_ENTRY];
            bucket_set_pointer(next, 0, bucket_pointer(bucket, CHAIN_ENTRY));
            bucket->tags[CHAIN_ENTRY] = 0;
            bucket->is_chained = 1;
            bucket_set_pointer(bucket, CHAIN_ENTRY, next);
        }
        bucket = next;
    }
}

/* Drops empty buckets from the chain behind `head`. */
static void prune_chain(struct table_bucket *head) {
    struct table_bucket *bucket = head;
    while (bucket->is_chained) {
        struct table_bucket *next = bucket_next(bucket);
        if (bucket_match(next, 0) != bucket_limit(next)) {
            bucket = next;
            continue;
        }
        struct table_bucket *after = bucket_next(next);
        mem_free(next);
        bucket_set_pointer(bucket, CHAIN_ENTRY, after);
        bucket->tags[CHAIN_ENTRY] = 0;
        bucket->is_chained = after != NULL;
    }
}

/* -- look-up -- */

static inline bool lies_in_old(const struct table *table, uint64_t order) {
    return UNLIKELY(table->growth != NULL) && order >= table->growth->place;
}

static inline struct table_bucket *locate(const struct table *table, uint64_t order,
                                          uint32_t *out_index, bool *out_is_old) {
    bool is_old = lies_in_old(table, order);
    uint32_t count = is_old ? table->growth->bucket_count : table->bucket_count;
    struct table_bucket *buckets = is_old ? table->growth->buckets : table->buckets;
    *out_is_old = is_old;
    *out_index = bucket_index(order, count);
    return &buckets[*out_index];
}

static inline bool record_has_key(const struct record *record, struct bytes key) {
    return bytes_equal(record_key(record), key);
}

struct table_entry table_find_entry(const struct table *table, struct bytes key, uint64_t order) {
    struct table_entry entry = {0};
    if (UNLIKELY(table->bucket_count == 0)) return entry;
    struct table_bucket *bucket = locate(table, order, &entry.bound_index, &entry.is_in_old);
    uint8_t tag = tag_of(order);
    for (; bucket != NULL; bucket = bucket_next(bucket)) {
        for (unsigned match = bucket_match(bucket, tag); match != 0; match &= match - 1) {
            unsigned index = (unsigned)__builtin_ctz(match);
            struct record *record = bucket_pointer(bucket, index);
            if (LIKELY(record_has_key(record, key))) {
                entry.record = record;
                entry.bucket = bucket;
                entry.index = (uint8_t)index;
                return entry;
            }
        }
    }
    return entry;
}

struct record *table_find(const struct table *table, struct bytes key, uint64_t order) {
    return table_find_entry(table, key, order).record;
}

void table_prefetch(const struct table *table, uint64_t order) {
    // Whoever asks need not have the table's lock: an address that is out of date costs nothing.
    const struct table_bucket *buckets = __atomic_load_n(&table->buckets, __ATOMIC_RELAXED);
    uint32_t count = __atomic_load_n(&table->bucket_count, __ATOMIC_RELAXED);
    if (count != 0) __builtin_prefetch(buckets + bucket_index(order, count));
}

void table_prefetch_record(const struct table *table, uint64_t order) {
    if (table->bucket_count == 0) return;
    uint32_t index;
    bool is_old;
    const struct table_bucket *bucket = locate(table, order, &index, &is_old);
    unsigned match = bucket_match(bucket, tag_of(order));
    if (match != 0) __builtin_prefetch(bucket_pointer(bucket, (unsigned)__builtin_ctz(match)));
}

void table_prefetch_step(const struct table *table, uint64_t order, unsigned step) {
    if (step == 0) {
        table_prefetch(table, order);
    } else {
        table_prefetch_record(table, order);
    }
}

/* -- deadlines -- */

static uint32_t *bounds_create(uint32_t count) {
    uint32_t *bounds = mem_alloc(count * sizeof(*bounds));
    memset(bounds, 0xff, count * sizeof(*bounds));
    return bounds;
}

static void lower_bound_to(uint32_t **bounds, uint32_t count, uint32_t index, uint32_t bound) {
    if (*bounds == NULL) *bounds = bounds_create(count);
    if (bound < (*bounds)[index]) (*bounds)[index] = bound;
}

void table_note_deadline(struct table *table, const struct table_entry *entry,
                         int64_t deadline_ms) {
    uint32_t bound = table_coarse_deadline(deadline_ms);
    if (entry->is_in_old) {
        struct table_growth *growth = table->growth;
        lower_bound_to(&growth->bounds, growth->bucket_count, entry->bound_index, bound);
    } else {
        lower_bound_to(&table->bounds, table->bucket_count, entry->bound_index, bound);
    }
}

/* -- resizing -- */

/* The bucket counts are the allocator's size classes, so that no byte of one is wasted: four steps
 * between powers of two. */
static uint32_t step_up(uint32_t count) {
    if (count < 8) return count + 1;
    uint32_t power = 1u << (31 - __builtin_clz(count));
    return count + power / 4;
}

static uint32_t count_for(uint32_t records) {
    uint32_t count = 1;
    while ((uint64_t)count * 5 < records)
        count = step_up(count);
    return count;
}

/* Puts a record into the new buckets, whatever the place says. */
static void place_in_new(struct table *table, struct record *record, uint64_t order) {
    uint32_t index = bucket_index(order, table->bucket_count);
    bucket_insert(&table->buckets[index], record, tag_of(order));
    if (record_has_deadline(record)) {
        lower_bound_to(&table->bounds, table->bucket_count, index,
                       table_coarse_deadline(record_deadline_ms(record)));
    }
}

/* Hashing the keys again reads every record, so those of the next bucket are sent for meanwhile. */
static void prefetch_records(const struct table_bucket *bucket) {
    unsigned used = ~bucket_match(bucket, 0) & bucket_limit(bucket);
    for (; used != 0; used &= used - 1) {
        const char *record = bucket_pointer(bucket, (unsigned)__builtin_ctz(used));
        __builtin_prefetch(record);
        __builtin_prefetch(record + CACHE_LINE);
    }
}

static void move_bucket(struct table *table, const struct table_bucket *bucket,
                        const struct table_hasher *hasher) {
    for (; bucket != NULL; bucket = bucket_next(bucket)) {
        unsigned used = ~bucket_match(bucket, 0) & bucket_limit(bucket);
        for (; used != 0; used &= used - 1) {
            struct record *record = bucket_pointer(bucket, (unsigned)__builtin_ctz(used));
            place_in_new(table, record, hasher->order(hasher->state, record_key(record)));
        }
    }
}

bool table_grow_step(struct table *table, uint32_t buckets, const struct table_hasher *hasher) {
    struct table_growth *growth = table->growth;
    if (growth == NULL) return false;
    for (; buckets > 0 && growth->next < growth->bucket_count; buckets--) {
        struct table_bucket *bucket = &growth->buckets[growth->next];
        if (growth->next + 1 < growth->bucket_count) prefetch_records(bucket + 1);
        move_bucket(table, bucket, hasher);
        free_chain(bucket);
        memset(bucket, 0, sizeof(*bucket));
        growth->next++;
        growth->place = bucket_place(growth->next, growth->bucket_count);
    }
    if (growth->next < growth->bucket_count) return true;
    mem_free(growth->buckets);
    mem_free(growth->bounds);
    mem_free(growth);
    table->growth = NULL;
    return false;
}

static void resize(struct table *table, uint32_t bucket_count, const struct table_hasher *hasher) {
    while (table_grow_step(table, RESIZE_AT_ONCE, hasher)) {
        // Two resizes never overlap; the moves of each change see to it that this is rare.
    }
    struct table_growth *growth = mem_alloc(sizeof(*growth));
    *growth = (struct table_growth){table->buckets, table->bounds, table->bucket_count, 0, 0};
    table->growth = growth;
    table->buckets = buckets_create(bucket_count);
    table->bounds = growth->bounds == NULL ? NULL : bounds_create(bucket_count);
    table->bucket_count = bucket_count;
    table_grow_step(table, RESIZE_AT_ONCE, hasher);
}

/* -- changes -- */

void table_deinit(struct table *table) {
    if (table->growth != NULL) {
        buckets_destroy(table->growth->buckets, table->growth->bucket_count);
        mem_free(table->growth->bounds);
        mem_free(table->growth);
    }
    if (table->buckets != NULL) buckets_destroy(table->buckets, table->bucket_count);
    mem_free(table->bounds);
    *table = (struct table){0};
}

/* 6.5 of 9 entries: one bucket in ten has a chain then, and a key costs 10 to 12 bytes of table. */
static inline bool is_over_full(uint32_t records, uint32_t bucket_count) {
    return records > (uint64_t)bucket_count * 13 / 2;
}

void table_reserve(struct table *table, uint32_t records) {
    if (table->bucket_count != 0) return;
    uint32_t count = 1;
    while (is_over_full(records, count))
        count = step_up(count);
    table->buckets = buckets_create(count);
    table->bucket_count = count;
}

void table_insert_take(struct table *table, struct record *record, uint64_t order,
                       const struct table_hasher *hasher) {
    if (UNLIKELY(table->bucket_count == 0)) {
        table->buckets = stub_create();
        table->bucket_count = 1;
    } else if (UNLIKELY(is_stub(table))) {
        make_whole(table);
    } else if (UNLIKELY(table->growth != NULL)) {
        table_grow_step(table, MOVES_PER_CHANGE, hasher);
    }
    table->count++;
    if (UNLIKELY(is_over_full(table->count, table->bucket_count)) && table->growth == NULL)
        resize(table, step_up(table->bucket_count), hasher);
    struct table_entry entry = {0};
    struct table_bucket *bucket = locate(table, order, &entry.bound_index, &entry.is_in_old);
    bucket_insert(bucket, record, tag_of(order));
    if (record_has_deadline(record)) table_note_deadline(table, &entry, record_deadline_ms(record));
}

struct record *table_swap(struct table *table, struct table_entry *entry, struct record *record) {
    struct record *old = entry->record;
    bucket_set_pointer(entry->bucket, entry->index, record);
    entry->record = record;
    if (record_has_deadline(record)) table_note_deadline(table, entry, record_deadline_ms(record));
    return old;
}

struct record *table_detach(struct table *table, struct table_entry *entry,
                            const struct table_hasher *hasher) {
    struct record *record = entry->record;
    entry->bucket->tags[entry->index] = 0;
    bucket_set_pointer(entry->bucket, entry->index, NULL);
    struct table_bucket *head = entry->is_in_old ? &table->growth->buckets[entry->bound_index]
                                                 : &table->buckets[entry->bound_index];
    if (head->is_chained) prune_chain(head);
    table->count--;
    entry->record = NULL;
    if (UNLIKELY(table->growth != NULL)) {
        table_grow_step(table, MOVES_PER_CHANGE, hasher);
    } else if (table->count == 0) {
        table_deinit(table);
    } else if (table->bucket_count > 1 && table->count < (uint64_t)table->bucket_count * 2) {
        uint32_t fitting = count_for(table->count);
        if (fitting < table->bucket_count) resize(table, fitting, hasher);
    }
    return record;
}

/* -- walking -- */

struct segment {
    const struct table_bucket *bucket;
    uint64_t end;  /* The first place behind it; 0: the end of the table. */
    bool is_whole; /* It covers all that its bucket holds. */
};

/* The part of one bucket that begins at `from` and ends at `to` at the latest. */
static struct segment segment_at(const struct table *table, uint64_t from, uint64_t to) {
    struct segment segment;
    uint32_t index = 0;
    bool is_old = false;
    segment.bucket = locate(table, from, &index, &is_old);
    uint32_t count = is_old ? table->growth->bucket_count : table->bucket_count;
    segment.end = bucket_place(index + 1, count);
    segment.is_whole = bucket_place(index, count) == from;
    if (!is_old && table->growth != NULL &&
        (segment.end == 0 || segment.end > table->growth->place))
        segment.end = table->growth->place; // Behind it everything is still in the old buckets.
    if (to != 0 && (segment.end == 0 || segment.end > to)) {
        segment.end = to;
        segment.is_whole = false;
    }
    return segment;
}

void table_walk(const struct table *table, uint64_t from, uint64_t to,
                const struct table_hasher *hasher, void (*visit)(void *arg, struct record *record),
                void *arg) {
    if (table->count == 0) return;
    do {
        struct segment segment = segment_at(table, from, to);
        for (const struct table_bucket *bucket = segment.bucket; bucket != NULL;
             bucket = bucket_next(bucket)) {
            prefetch_records(bucket); // The waits for them overlap.
            unsigned used = ~bucket_match(bucket, 0) & bucket_limit(bucket);
            for (; used != 0; used &= used - 1) {
                struct record *record = bucket_pointer(bucket, (unsigned)__builtin_ctz(used));
                if (!segment.is_whole) {
                    uint64_t order = hasher->order(hasher->state, record_key(record));
                    if (order < from || (segment.end != 0 && order >= segment.end)) continue;
                }
                visit(arg, record);
            }
        }
        from = segment.end;
    } while (from != 0 && from != to);
}

void table_prefetch_records(const struct table *table, uint64_t place) {
    if (table->count == 0) return;
    uint32_t index;
    bool is_old;
    const struct table_bucket *bucket = locate(table, place, &index, &is_old);
    __builtin_prefetch(bucket + 1); // Whose turn is next.
    prefetch_records(bucket);
}

uint64_t table_place_after(const struct table *table, uint64_t place, uint32_t buckets) {
    if (table->bucket_count == 0) return 0;
    uint64_t index = (uint64_t)bucket_index(place, table->bucket_count) + buckets;
    return index >= table->bucket_count ? 0 : bucket_place((uint32_t)index, table->bucket_count);
}

static unsigned chain_count(const struct table_bucket *bucket) {
    unsigned count = 0;
    for (; bucket != NULL; bucket = bucket_next(bucket))
        count += (unsigned)__builtin_popcount(~bucket_match(bucket, 0) & bucket_limit(bucket));
    return count;
}

static struct record *chain_nth(const struct table_bucket *bucket, unsigned nth) {
    for (; bucket != NULL; bucket = bucket_next(bucket)) {
        unsigned used = ~bucket_match(bucket, 0) & bucket_limit(bucket);
        for (; used != 0; used &= used - 1) {
            if (nth-- == 0) return bucket_pointer(bucket, (unsigned)__builtin_ctz(used));
        }
    }
    UNREACHABLE();
}

struct record *table_random(const struct table *table, struct rng *rng) {
    if (table->count == 0) return NULL;
    const struct table_growth *growth = table->growth;
    uint64_t total = table->bucket_count + (growth == NULL ? 0 : growth->bucket_count);
    // Buckets are picked evenly and accepted in proportion to what they hold.
    for (;;) {
        uint64_t pick = rng_below(rng, total);
        const struct table_bucket *bucket = pick < table->bucket_count
                                                ? &table->buckets[pick]
                                                : &growth->buckets[pick - table->bucket_count];
        unsigned count = chain_count(bucket);
        if (count == 0 || rng_below(rng, RANDOM_SPREAD) >= count) continue;
        return chain_nth(bucket, (unsigned)rng_below(rng, count));
    }
}

/* Adds the records of a bucket and its chain. */
static uint32_t sample_bucket(const struct table_bucket *bucket, bool has_deadline,
                              struct record **out, uint32_t found, uint32_t cap) {
    for (; bucket != NULL && found < cap; bucket = bucket_next(bucket)) {
        unsigned used = ~bucket_match(bucket, 0) & bucket_limit(bucket);
        for (; used != 0 && found < cap; used &= used - 1) {
            struct record *record = bucket_pointer(bucket, (unsigned)__builtin_ctz(used));
            if (!has_deadline || record_has_deadline(record)) out[found++] = record;
        }
    }
    return found;
}

/* The buckets of a table, or of the old half of one that grows, from `first` on and around. */
static uint32_t sample_buckets(const struct table_bucket *buckets, const uint32_t *bounds,
                               uint32_t count, uint32_t first, bool has_deadline,
                               struct record **out, uint32_t found, uint32_t cap) {
    if (has_deadline && bounds == NULL) return found;
    for (uint32_t i = 0; i < count && found < cap; i++) {
        uint32_t at = first + i < count ? first + i : first + i - count;
        if (has_deadline && bounds[at] == TABLE_NO_DEADLINE) continue;
        found = sample_bucket(&buckets[at], has_deadline, out, found, cap);
    }
    return found;
}

uint32_t table_sample(const struct table *table, struct rng *rng, bool has_deadline,
                      struct record **out, uint32_t cap) {
    if (table->count == 0) return 0;
    const struct table_growth *growth = table->growth;
    uint64_t total = table->bucket_count + (growth == NULL ? 0 : growth->bucket_count);
    uint64_t pick = rng_below(rng, total);
    bool is_in_old = pick >= table->bucket_count;
    uint32_t first = is_in_old ? 0 : (uint32_t)pick;
    uint32_t found = 0;
    if (is_in_old)
        found = sample_buckets(growth->buckets, growth->bounds, growth->bucket_count,
                               (uint32_t)(pick - table->bucket_count), has_deadline, out, 0, cap);
    found = sample_buckets(table->buckets, table->bounds, table->bucket_count, first, has_deadline,
                           out, found, cap);
    if (!is_in_old && growth != NULL)
        found = sample_buckets(growth->buckets, growth->bounds, growth->bucket_count, 0,
                               has_deadline, out, found, cap);
    return found;
}

/* -- expiry -- */

/* Looks at one bucket whose bound is due. Returns false when `out` is full before its end. */
static bool collect_bucket(const struct table_bucket *bucket, int64_t now_ms, uint32_t *bound,
                           struct record **out, uint32_t cap, uint32_t *inout_found) {
    uint32_t earliest = TABLE_NO_DEADLINE;
    for (; bucket != NULL; bucket = bucket_next(bucket)) {
        unsigned used = ~bucket_match(bucket, 0) & bucket_limit(bucket);
        for (; used != 0; used &= used - 1) {
            struct record *record = bucket_pointer(bucket, (unsigned)__builtin_ctz(used));
            if (!record_has_deadline(record)) continue;
            int64_t deadline = record_deadline_ms(record);
            if (deadline <= now_ms) {
                if (*inout_found == cap) return false;
                out[(*inout_found)++] = record;
            } else if (table_coarse_deadline(deadline) < earliest) {
                earliest = table_coarse_deadline(deadline);
            }
        }
    }
    *bound = earliest;
    return true;
}

static uint32_t least(const uint32_t *bounds, uint32_t count) {
    uint32_t earliest = TABLE_NO_DEADLINE;
    for (uint32_t i = 0; bounds != NULL && i < count; i++)
        earliest = bounds[i] < earliest ? bounds[i] : earliest;
    return earliest;
}

uint32_t table_collect_due(struct table *table, int64_t now_ms, uint32_t max_buckets,
                           uint32_t *inout_cursor, struct record **out, uint32_t cap,
                           uint32_t *out_earliest) {
    uint32_t found = 0;
    uint32_t now = table_coarse_deadline(now_ms);
    uint32_t old_count = table->growth == NULL ? 0 : table->growth->bucket_count;
    uint64_t total = (uint64_t)table->bucket_count + old_count;
    uint32_t cursor = *inout_cursor;
    for (; cursor < total && max_buckets > 0; cursor++) {
        bool is_old = cursor >= table->bucket_count;
        uint32_t index = is_old ? cursor - table->bucket_count : cursor;
        uint32_t *bounds = is_old ? table->growth->bounds : table->bounds;
        if (bounds == NULL || bounds[index] > now) continue;
        const struct table_bucket *bucket =
            is_old ? &table->growth->buckets[index] : &table->buckets[index];
        max_buckets--;
        if (!collect_bucket(bucket, now_ms, &bounds[index], out, cap, &found)) break;
    }
    *inout_cursor = cursor < total ? cursor : 0;
    if (cursor >= total) {
        *out_earliest = least(table->bounds, table->bucket_count);
        uint32_t old = old_count == 0 ? TABLE_NO_DEADLINE : least(table->growth->bounds, old_count);
        if (old < *out_earliest) *out_earliest = old;
    }
    return found;
}

size_t table_memory_used(const struct table *table) {
    size_t bytes = mem_usable_size(table->buckets) + mem_usable_size(table->bounds);
    for (uint32_t i = 0; i < table->bucket_count; i++) {
        for (const struct table_bucket *b = bucket_next(&table->buckets[i]); b != NULL;
             b = bucket_next(b))
            bytes += sizeof(*b);
    }
    if (table->growth != NULL)
        bytes += mem_usable_size(table->growth->buckets) + mem_usable_size(table->growth->bounds);
    return bytes;
}

#include "server/command/eviction.h"

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/command/blocking.h"
#include "server/command/command_internal.h"
#include "server/command/hold.h"
#include "server/keyspace/access.h"

enum {
    ROOM_MAX = 64 * 1024, /* A worker takes no more than this without looking. */
    SAMPLES_MAX = 64,
    TRIES = 64,          /* Slots that are looked into before it is given up. */
    LOOKS_AT_CLOCK = 16, /* Keys evicted between two looks at the clock. */
    TENACITY_DEFAULT_US = 500,
};

/* Candidates that were looked at and not chosen: ascending by score, the best last. */
struct eviction_candidate {
    uint64_t score; /* The higher, the sooner it goes. */
    uint32_t db;
    struct buffer name;
};

enum { CANDIDATES = 16 };

struct eviction_pool {
    uint32_t count;
    struct eviction_candidate items[CANDIDATES];
};

static const struct memory_options *options_of(const struct dispatch_worker *worker) {
    return &worker->dispatcher->types->memory;
}

/* -- how much is used -- */

uint64_t eviction_uncounted_bytes(const struct dispatcher *dispatcher) {
    struct journal_backlog backlog;
    if (dispatcher->modules->journal == NULL) return 0;
    journal_backlog_read(dispatcher->modules->journal, &backlog);
    return backlog.memory_bytes > backlog.size ? backlog.memory_bytes - backlog.size : 0;
}

static uint64_t counted_bytes(const struct dispatcher *dispatcher) {
    uint64_t used = mem_used_bytes();
    uint64_t uncounted = eviction_uncounted_bytes(dispatcher);
    return used > uncounted ? used - uncounted : 0;
}

/* Half of what is left, shared by all: the nearer the limit, the smaller the steps. */
static void grant_room(struct dispatch_worker *worker, uint64_t left) {
    uint64_t share = left / 2 / worker->dispatcher->worker_count;
    worker->room_until = mem_thread_bytes() + (int64_t)(share > ROOM_MAX ? ROOM_MAX : share);
}

/* The worker looks before its next command, whatever it has freed meanwhile. */
static void end_room(struct dispatch_worker *worker) {
    worker->room_until = INT64_MIN;
}

void dispatcher_apply_memory_options(struct dispatcher *dispatcher) {
    dispatcher_set_admission(dispatcher, ADMISSION_MEMORY, dispatcher->types->memory.max_bytes > 0);
    for (struct dispatch_worker *worker = dispatcher->workers; worker != NULL;
         worker = worker->next)
        end_room(worker);
}

static void note_exceeded(struct dispatcher *dispatcher, bool is_exceeded) {
    struct eviction_state *state = &dispatcher->eviction;
    uint64_t since = atomic_load(&state->exceeded_since_us);
    if (is_exceeded == (since != 0)) return;
    uint64_t now = clock_monotonic_us();
    if (!atomic_compare_exchange_strong(&state->exceeded_since_us, &since, is_exceeded ? now : 0))
        return;
    if (!is_exceeded) atomic_fetch_add(&state->exceeded_us, now - since);
}

void eviction_stats_read(struct dispatcher *dispatcher, struct eviction_stats *out) {
    struct eviction_state *state = &dispatcher->eviction;
    uint64_t since = atomic_load(&state->exceeded_since_us);
    out->evicted_keys = atomic_load(&state->evicted_keys);
    out->current_exceeded_us = since == 0 ? 0 : clock_monotonic_us() - since;
    out->exceeded_us = atomic_load(&state->exceeded_us) + out->current_exceeded_us;
}

/* -- candidates -- */

static uint64_t score_of(const struct memory_options *options, const struct record *record,
                         int64_t now_ms) {
    if ((options->policy & EVICT_TTL) != 0)
        return record_has_deadline(record) ? UINT64_MAX - (uint64_t)record_deadline_ms(record) : 0;
    if ((options->policy & EVICT_LFU) != 0) return 255 - access_counter(options, record, now_ms);
    return (uint64_t)access_idle_ms(record, now_ms);
}

static void drop_candidate(struct eviction_pool *pool, uint32_t at) {
    struct buffer name = pool->items[at].name; // Kept for the next one.
    pool->count--;
    memmove(&pool->items[at], &pool->items[at + 1], (pool->count - at) * sizeof(*pool->items));
    pool->items[pool->count] = (struct eviction_candidate){.name = name};
}

static bool is_candidate(const struct eviction_pool *pool, uint32_t db, struct bytes name) {
    for (uint32_t i = 0; i < pool->count; i++) {
        if (pool->items[i].db == db && bytes_equal(buffer_view(&pool->items[i].name), name))
            return true;
    }
    return false;
}

static void offer(struct eviction_pool *pool, uint32_t db, struct bytes name, uint64_t score) {
    if (is_candidate(pool, db, name)) return;
    if (pool->count == CANDIDATES) {
        if (score <= pool->items[0].score) return;
        drop_candidate(pool, 0);
    }
    uint32_t at = pool->count;
    struct buffer text = pool->items[at].name;
    while (at > 0 && pool->items[at - 1].score > score) {
        pool->items[at] = pool->items[at - 1];
        at--;
    }
    buffer_clear(&text);
    buffer_append_bytes(&text, name);
    pool->items[at] = (struct eviction_candidate){score, db, text};
    pool->count++;
}

void eviction_pool_destroy(struct eviction_pool *pool) {
    if (pool == NULL) return;
    for (uint32_t i = 0; i < CANDIDATES; i++)
        buffer_deinit(&pool->items[i].name);
    mem_free(pool);
}

/* -- one key -- */

static uint64_t eligible_count(const struct memory_options *options,
                               const struct keyspace *keyspace) {
    if (keyspace == NULL) return 0;
    return (options->policy & EVICT_ALL_KEYS) != 0 ? keyspace_count(keyspace)
                                                   : keyspace_deadline_count(keyspace);
}

static uint64_t eligible_total(const struct dispatch_worker *worker) {
    struct databases *databases = worker->dispatcher->databases;
    uint64_t total = 0;
    for (unsigned db = 0; db < databases_count(databases); db++)
        total += eligible_count(options_of(worker), databases_keyspace_if_any(databases, db));
    return total;
}

/* A database, picked by how many keys of it may go; NULL: none may. */
static struct keyspace *pick_keyspace(struct dispatch_worker *worker) {
    struct databases *databases = worker->dispatcher->databases;
    uint64_t total = eligible_total(worker);
    if (total == 0) return NULL;
    uint64_t pick = rng_below(&worker->rng, total);
    for (unsigned db = 0; db < databases_count(databases); db++) {
        struct keyspace *keyspace = databases_keyspace_if_any(databases, db);
        uint64_t count = eligible_count(options_of(worker), keyspace);
        if (pick < count) return keyspace;
        pick -= count;
    }
    return NULL; // Another worker deleted keys meanwhile.
}

/* A slot that has keys that may go. False: there is none. */
static bool pick_slot(struct dispatch_worker *worker, struct keyspace **out_keyspace,
                      uint16_t *out_slot) {
    struct keyspace *keyspace = *out_keyspace = pick_keyspace(worker);
    if (keyspace == NULL) return false;
    if ((options_of(worker)->policy & EVICT_ALL_KEYS) != 0) {
        unsigned slot = keyspace_random_slot(keyspace, &worker->rng);
        *out_slot = (uint16_t)slot;
        return slot != SLOT_COUNT;
    }
    unsigned first = (unsigned)rng_below(&worker->rng, SLOT_COUNT);
    for (unsigned i = 0; i < SLOT_COUNT; i++) {
        *out_slot = (uint16_t)((first + i) % SLOT_COUNT);
        if (keyspace_earliest(keyspace, *out_slot) != TABLE_NO_DEADLINE) return true;
    }
    return false;
}

/* Deletes the key with its slot locked. False: it is on its way to another node. */
static bool evict(struct dispatch_worker *worker, struct keyspace *keyspace, const struct key *key,
                  struct table_entry *entry) {
    struct dispatcher *dispatcher = worker->dispatcher;
    unsigned db = keyspace_database(keyspace);
    if ((dispatcher_admission(dispatcher) & ADMISSION_HOLD) != 0 &&
        hold_blocks(dispatcher, db, key, 1, NULL))
        return false;
    struct session session = {.kind = SESSION_NORMAL, .db = db};
    dispatch_drop_key(worker, &session, key, entry, options_of(worker)->is_lazy, EVENT_EVICTED,
                      "evicted");
    atomic_fetch_add_explicit(&dispatcher->eviction.evicted_keys, 1, memory_order_relaxed);
    return true;
}

static void unlock_and_serve(struct dispatch_worker *worker) {
    if (UNLIKELY(worker->noted_count > 0)) blocking_serve_locked(worker);
    dispatch_unlock_slots(worker);
    if (UNLIKELY(worker->noted_count > 0)) blocking_serve(worker);
}

static uint32_t sample(struct dispatch_worker *worker, struct keyspace *keyspace, uint16_t slot,
                       struct record **out, uint32_t cap) {
    bool has_deadline = (options_of(worker)->policy & EVICT_ALL_KEYS) == 0;
    return table_sample(keyspace_table(keyspace, slot), &worker->rng, has_deadline, out, cap);
}

/* Offers up to `wanted` keys of a slot as candidates; returns how many. */
static uint32_t look_at_slot(struct dispatch_worker *worker, struct keyspace *keyspace,
                             uint16_t slot, uint32_t wanted) {
    struct record *records[SAMPLES_MAX];
    int64_t now_ms = (int64_t)clock_wall_ms();
    dispatch_lock_slots(worker, &slot, 1);
    uint32_t found = sample(worker, keyspace, slot, records, wanted);
    for (uint32_t i = 0; i < found; i++)
        offer(worker->candidates, keyspace_database(keyspace), record_key(records[i]),
              score_of(options_of(worker), records[i], now_ms));
    dispatch_unlock_slots(worker);
    return found;
}

static bool evict_any_of_slot(struct dispatch_worker *worker, struct keyspace *keyspace,
                              uint16_t slot) {
    struct record *record;
    bool is_evicted = false;
    dispatch_lock_slots(worker, &slot, 1);
    if (sample(worker, keyspace, slot, &record, 1) == 1) {
        struct key key;
        key_init(&key, worker->dispatcher->databases, record_key(record));
        struct table_entry entry = keyspace_find_entry(keyspace, &key);
        is_evicted = evict(worker, keyspace, &key, &entry);
    }
    unlock_and_serve(worker);
    return is_evicted;
}

/* Evicts the best candidate that is still what it was. False: none is left. */
static bool evict_best(struct dispatch_worker *worker) {
    struct eviction_pool *pool = worker->candidates;
    const struct memory_options *options = options_of(worker);
    struct databases *databases = worker->dispatcher->databases;
    bool is_evicted = false;
    while (!is_evicted && pool->count > 0) {
        struct eviction_candidate *best = &pool->items[pool->count - 1];
        struct keyspace *keyspace = databases_keyspace_if_any(databases, best->db);
        struct key key;
        key_init(&key, databases, buffer_view(&best->name));
        dispatch_lock_slots(worker, &key.slot, 1);
        struct table_entry entry = {.record = NULL};
        if (keyspace != NULL) entry = keyspace_find_entry(keyspace, &key);
        bool is_eligible = entry.record != NULL && ((options->policy & EVICT_ALL_KEYS) != 0 ||
                                                    record_has_deadline(entry.record));
        // Used since it was looked at: others may be better now.
        bool is_worse =
            is_eligible && score_of(options, entry.record, (int64_t)clock_wall_ms()) < best->score;
        if (is_eligible && !is_worse) is_evicted = evict(worker, keyspace, &key, &entry);
        unlock_and_serve(worker);
        drop_candidate(pool, pool->count - 1);
    }
    return is_evicted;
}

/* Without a policy that compares: whichever key comes first. */
static bool evict_any(struct dispatch_worker *worker) {
    struct keyspace *keyspace;
    uint16_t slot;
    for (int i = 0; i < TRIES; i++) {
        if (!pick_slot(worker, &keyspace, &slot)) return false;
        if (evict_any_of_slot(worker, keyspace, slot)) return true;
    }
    return false;
}

/* Looks at so many keys as maxmemory-samples says, in further slots where one has fewer. */
static void look_around(struct dispatch_worker *worker) {
    uint64_t samples = options_of(worker)->samples;
    uint32_t wanted = samples > SAMPLES_MAX ? SAMPLES_MAX : (uint32_t)samples;
    struct keyspace *keyspace;
    uint16_t slot;
    for (int i = 0; i < TRIES && wanted > 0; i++) {
        if (!pick_slot(worker, &keyspace, &slot)) return;
        wanted -= look_at_slot(worker, keyspace, slot, wanted);
    }
}

/* False: no key may go. */
static bool evict_one(struct dispatch_worker *worker) {
    int policy = options_of(worker)->policy;
    if (policy == EVICT_NOTHING) return false;
    if ((policy & EVICT_RANDOM) != 0) return evict_any(worker);
    if (worker->candidates == NULL)
        worker->candidates = mem_alloc_zero(sizeof(*worker->candidates));
    for (int i = 0; i < TRIES; i++) { // All candidates may have been used or deleted meanwhile.
        look_around(worker);
        if (evict_best(worker)) return true;
        if (eligible_total(worker) == 0) return false;
    }
    return false;
}

/* -- until it is enough -- */

/* Microseconds that one command may spend. */
static uint64_t tenacity_us(uint64_t tenacity) {
    if (tenacity >= 100) return UINT64_MAX;
    if (tenacity <= 10) return TENACITY_DEFAULT_US * tenacity / 10;
    double us = TENACITY_DEFAULT_US;
    for (uint64_t i = 10; i < tenacity; i++)
        us *= 1.15;
    return (uint64_t)us;
}

/* Times when keys are somebody else's to delete. */
static bool may_evict(const struct dispatch_worker *worker) {
    uint32_t admission = dispatcher_admission(worker->dispatcher);
    if ((admission & (ADMISSION_LOADING | ADMISSION_PAUSE_WRITES | ADMISSION_PAUSE_ALL)) != 0)
        return false;
    return (admission & ADMISSION_REPLICA) == 0 || !options_of(worker)->replica_ignores;
}

/* Values that are being freed in the background: their memory is as good as free. */
static bool is_freeing(const struct dispatcher *dispatcher) {
    const struct dispatch_hooks *hooks = &dispatcher->hooks;
    return hooks->pending_frees != NULL && hooks->pending_frees(hooks->pending_frees_state) > 0;
}

static bool has_eligible(const struct dispatch_worker *worker) {
    return options_of(worker)->policy != EVICT_NOTHING && eligible_total(worker) > 0;
}

/* True when what is used is within the limit or on its way there. */
static bool evict_until_enough(struct dispatch_worker *worker, uint64_t used) {
    struct dispatcher *dispatcher = worker->dispatcher;
    uint64_t limit = options_of(worker)->max_bytes;
    uint64_t budget_us = tenacity_us(options_of(worker)->tenacity);
    uint64_t began_us = clock_monotonic_us();
    for (uint32_t evicted = 1; used > limit; evicted++) {
        if (is_freeing(dispatcher)) return has_eligible(worker);
        if (!evict_one(worker)) return false;
        used = counted_bytes(dispatcher);
        if (used > limit && evicted % LOOKS_AT_CLOCK == 0 &&
            clock_monotonic_us() - began_us >= budget_us)
            return true;
    }
    note_exceeded(dispatcher, false);
    grant_room(worker, limit - used);
    return true;
}

bool eviction_make_room(struct dispatch_worker *worker) {
    struct dispatcher *dispatcher = worker->dispatcher;
    if (LIKELY(mem_thread_bytes() < worker->room_until)) return true;
    if (worker->is_exclusive || !may_evict(worker)) return true;
    uint64_t used = counted_bytes(dispatcher);
    uint64_t limit = options_of(worker)->max_bytes;
    if (used <= limit) {
        note_exceeded(dispatcher, false);
        grant_room(worker, limit - used);
        return true;
    }
    end_room(worker);
    note_exceeded(dispatcher, true);
    bool is_enough = evict_until_enough(worker, used);
    worker->actor_id = 0;
    dispatch_tell_trackers(worker);
    return is_enough;
}

uint64_t eviction_continue(struct dispatch_worker *worker) {
    if ((dispatcher_admission(worker->dispatcher) & ADMISSION_MEMORY) == 0) return 0;
    if (counted_bytes(worker->dispatcher) <= options_of(worker)->max_bytes) {
        note_exceeded(worker->dispatcher, false);
        return 0;
    }
    uint64_t began_us = clock_monotonic_us();
    end_room(worker);
    eviction_make_room(worker);
    return clock_monotonic_us() - began_us;
}

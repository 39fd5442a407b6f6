#include "server/keyspace/keyspace.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "server/base/check.h"
#include "server/base/crc.h"
#include "server/base/mem.h"

enum {
    GROUPS = SLOT_COUNT / SLOT_GROUP,
    SECRET_SIZE = XXH3_SECRET_DEFAULT_SIZE,
    STANDALONE_SLOT_BITS = 14,
    SHARE_MAX = 400,  /* Keys that a slot is given room for in advance. */
    LAZY_EFFORT = 64, /* Values of more allocations than this are freed in the background. */
};

struct keyspace {
    struct databases *databases;
    struct table *tables; /* SLOT_COUNT of them. */
    unsigned db;
    _Atomic uint32_t refs;
    _Atomic uint64_t group_counts[GROUPS];
    _Atomic uint64_t deadline_count;
    _Atomic uint64_t deadline_sum_ms;
    _Atomic uint32_t *earliest; /* By slot, TABLE_NO_DEADLINE - value, so that zero means none. */
};

struct databases {
    struct slot *slots;
    struct keyspace *keyspaces[DATABASE_MAX];
    struct keyspace_pass *passes[PASS_MAX];
    uint32_t pass_count;
    bool is_cluster;
    unsigned count;
    uint64_t seed;
    struct table_hasher hasher;
    const struct data_type *const *types;
    void (*defer)(void *state, void (*job)(void *arg), void *arg);
    void *defer_state;
    void (*before_change)(void *state, struct keyspace *keyspace, const struct key *key,
                          struct record *record);
    void (*before_parting)(void *state);
    void *reader_state;
    uint8_t secret[SECRET_SIZE];
};

/* -- hashing -- */

static inline uint64_t hash(const struct databases *databases, struct bytes name) {
    return XXH3_64bits_withSecret(name.data, name.len, databases->secret, SECRET_SIZE);
}

/* Outside a cluster the slot is the hash's top bits; they are shifted out of the order, since all
 * keys of a slot share them. */
static uint64_t order_in_cluster(const void *state, struct bytes name) {
    return hash(state, name);
}

static uint64_t order_standalone(const void *state, struct bytes name) {
    return hash(state, name) << STANDALONE_SLOT_BITS;
}

uint16_t key_hash_slot(struct bytes name) {
    const uint8_t *open = name.len == 0 ? NULL : memchr(name.data, '{', name.len);
    if (open != NULL) {
        size_t start = (size_t)(open - name.data) + 1;
        const uint8_t *close = memchr(name.data + start, '}', name.len - start);
        if (close != NULL && close > open + 1)
            return crc16(bytes_of(open + 1, (size_t)(close - open) - 1)) & (SLOT_COUNT - 1);
    }
    return crc16(name) & (SLOT_COUNT - 1);
}

void key_init(struct key *key, const struct databases *databases, struct bytes name) {
    uint64_t value = hash(databases, name);
    key->name = name;
    if (databases->is_cluster) {
        key->slot = key_hash_slot(name);
        key->order = value;
    } else {
        key->slot = (uint16_t)(value >> (64 - STANDALONE_SLOT_BITS));
        key->order = value << STANDALONE_SLOT_BITS;
    }
}

/* -- databases -- */

struct databases *databases_create(const struct databases_options *options) {
    ASSERT(options->count >= 1 && options->count <= DATABASE_MAX);
    struct databases *databases = mem_alloc_zero(sizeof(*databases));
    databases->slots = mem_alloc_aligned(SLOT_COUNT * sizeof(struct slot), CACHE_LINE);
    memset(databases->slots, 0, SLOT_COUNT * sizeof(struct slot));
    databases->count = options->count;
    databases->is_cluster = options->is_cluster;
    databases->seed = options->seed;
    databases->types = options->types;
    databases->hasher =
        (struct table_hasher){options->is_cluster ? order_in_cluster : order_standalone, databases};
    XXH3_generateSecret_fromSeed(databases->secret, options->seed);
    return databases;
}

struct databases *databases_create_sibling(const struct databases *databases) {
    struct databases *sibling = databases_create(&(struct databases_options){
        .count = databases->count,
        .is_cluster = databases->is_cluster,
        .seed = databases->seed,
        .types = databases->types,
    });
    sibling->defer = databases->defer;
    sibling->defer_state = databases->defer_state;
    return sibling;
}

void databases_destroy(struct databases *databases) {
    if (databases == NULL) return;
    for (unsigned db = 0; db < databases->count; db++) {
        if (databases->keyspaces[db] != NULL) keyspace_unref(databases->keyspaces[db]);
    }
    mem_free(databases->slots);
    mem_free(databases);
}

unsigned databases_count(const struct databases *databases) {
    return databases->count;
}

struct slot *databases_slot(struct databases *databases, uint16_t slot) {
    return &databases->slots[slot];
}

bool databases_is_cluster(const struct databases *databases) {
    return databases->is_cluster;
}

const struct data_type *databases_type(const struct databases *databases,
                                       const struct record *record) {
    const struct data_type *type = databases->types[record_type(record)];
    ASSERT(type != NULL);
    return type;
}

const struct data_type *databases_type_of(const struct databases *databases, unsigned code) {
    return code < RECORD_TYPE_COUNT ? databases->types[code] : NULL;
}

uint64_t databases_seed(const struct databases *databases) {
    return databases->seed;
}

static struct keyspace *keyspace_create(struct databases *databases, unsigned db) {
    struct keyspace *keyspace = mem_alloc_zero(sizeof(*keyspace));
    keyspace->databases = databases;
    keyspace->db = db;
    // Half a megabyte, touched here: else the first key of each slot would pay a page fault.
    keyspace->tables = mem_alloc(SLOT_COUNT * sizeof(struct table));
    memset(keyspace->tables, 0, SLOT_COUNT * sizeof(struct table));
    keyspace->earliest = mem_alloc_zero(SLOT_COUNT * sizeof(uint32_t));
    atomic_store(&keyspace->refs, 1);
    return keyspace;
}

/* Two workers may create it at once: one wins, the other's is thrown away. */
static COLD struct keyspace *keyspace_create_shared(struct databases *databases, unsigned db) {
    struct keyspace *fresh = keyspace_create(databases, db);
    struct keyspace *found = NULL;
    if (__atomic_compare_exchange_n(&databases->keyspaces[db], &found, fresh, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return fresh;
    keyspace_unref(fresh);
    return found;
}

struct keyspace *databases_keyspace(struct databases *databases, unsigned db) {
    ASSERT(db < databases->count);
    struct keyspace *keyspace = __atomic_load_n(&databases->keyspaces[db], __ATOMIC_ACQUIRE);
    return LIKELY(keyspace != NULL) ? keyspace : keyspace_create_shared(databases, db);
}

struct keyspace *databases_keyspace_if_any(struct databases *databases, unsigned db) {
    return __atomic_load_n(&databases->keyspaces[db], __ATOMIC_ACQUIRE);
}

/* Everything parked: a keyspace is about to go, or to get another number. */
static void announce_parting(const struct databases *databases) {
    if (databases->before_parting != NULL) databases->before_parting(databases->reader_state);
}

void databases_swap(struct databases *databases, unsigned a, unsigned b) {
    announce_parting(databases);
    struct keyspace *first = databases_keyspace(databases, a);
    struct keyspace *second = databases_keyspace(databases, b);
    databases->keyspaces[a] = second;
    databases->keyspaces[b] = first;
    first->db = b;
    second->db = a;
}

static void unref_job(void *arg) {
    keyspace_unref(arg);
}

static void put_aside(struct databases *databases, struct keyspace *keyspace, bool is_lazy) {
    for (unsigned i = 0; i < PASS_MAX; i++) {
        struct keyspace_pass *pass = databases->passes[i];
        if (pass != NULL) pass->put_aside(pass, keyspace);
    }
    if (is_lazy && databases->defer != NULL) {
        databases->defer(databases->defer_state, unref_job, keyspace);
    } else {
        keyspace_unref(keyspace);
    }
}

/* Told in the slot's own line, which its writer has at hand. */
static void note_slot_keys(struct keyspace *keyspace, uint16_t slot) {
    struct databases *databases = keyspace->databases;
    if (LIKELY(!databases->is_cluster)) return;
    __atomic_store_n(&databases->slots[slot].key_count, keyspace->tables[slot].count,
                     __ATOMIC_RELAXED);
}

/* Everything parked: another keyspace is in place. */
static void note_all_slot_keys(struct databases *databases) {
    struct keyspace *keyspace = databases->keyspaces[0];
    if (!databases->is_cluster) return;
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        uint32_t count = keyspace == NULL ? 0 : keyspace->tables[slot].count;
        if (databases->slots[slot].key_count != count)
            __atomic_store_n(&databases->slots[slot].key_count, count, __ATOMIC_RELAXED);
    }
}

uint32_t databases_slot_keys(const struct databases *databases, uint16_t slot) {
    return __atomic_load_n(&databases->slots[slot].key_count, __ATOMIC_RELAXED);
}

uint64_t databases_flush(struct databases *databases, unsigned db, bool is_lazy) {
    struct keyspace *old = databases->keyspaces[db];
    if (old == NULL) return 0;
    announce_parting(databases);
    uint64_t count = keyspace_count(old);
    databases->keyspaces[db] = keyspace_create(databases, db);
    note_all_slot_keys(databases);
    put_aside(databases, old, is_lazy);
    return count;
}

void databases_adopt(struct databases *databases, struct databases *loaded) {
    ASSERT(databases->seed == loaded->seed && databases->is_cluster == loaded->is_cluster);
    announce_parting(databases);
    for (unsigned db = 0; db < databases->count; db++) {
        struct keyspace *old = databases->keyspaces[db];
        struct keyspace *fresh = loaded->keyspaces[db];
        loaded->keyspaces[db] = NULL;
        if (fresh != NULL) fresh->databases = databases;
        databases->keyspaces[db] = fresh;
        if (old != NULL) put_aside(databases, old, true);
    }
    note_all_slot_keys(databases);
    databases_destroy(loaded);
}

void databases_set_background(struct databases *databases,
                              void (*defer)(void *state, void (*job)(void *arg), void *arg),
                              void *state) {
    databases->defer = defer;
    databases->defer_state = state;
}

void databases_defer(struct databases *databases, void (*job)(void *arg), void *arg) {
    if (databases->defer == NULL) {
        job(arg);
    } else {
        databases->defer(databases->defer_state, job, arg);
    }
}

void databases_set_readers(struct databases *databases,
                           void (*before_change)(void *state, struct keyspace *keyspace,
                                                 const struct key *key, struct record *record),
                           void (*before_parting)(void *state), void *state) {
    databases->before_change = before_change;
    databases->before_parting = before_parting;
    databases->reader_state = state;
}

/* -- one keyspace -- */

void keyspace_ref(struct keyspace *keyspace) {
    atomic_fetch_add(&keyspace->refs, 1);
}

static void destroy_visit(void *arg, struct record *record) {
    keyspace_destroy_record(arg, record, false);
}

void keyspace_unref(struct keyspace *keyspace) {
    if (atomic_fetch_sub(&keyspace->refs, 1) != 1) return;
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        struct table *table = &keyspace->tables[slot];
        if (table->bucket_count == 0) continue;
        table_walk(table, 0, 0, &keyspace->databases->hasher, destroy_visit, keyspace->databases);
        table_deinit(table);
    }
    mem_free(keyspace->tables);
    mem_free((void *)keyspace->earliest);
    mem_free(keyspace);
}

unsigned keyspace_database(const struct keyspace *keyspace) {
    return keyspace->db;
}

uint64_t keyspace_count(const struct keyspace *keyspace) {
    uint64_t count = 0;
    for (unsigned i = 0; i < GROUPS; i++)
        count += atomic_load_explicit(&keyspace->group_counts[i], memory_order_relaxed);
    return count;
}

uint64_t keyspace_deadline_count(const struct keyspace *keyspace) {
    return atomic_load_explicit(&keyspace->deadline_count, memory_order_relaxed);
}

uint64_t keyspace_deadline_sum_ms(const struct keyspace *keyspace) {
    return atomic_load_explicit(&keyspace->deadline_sum_ms, memory_order_relaxed);
}

uint32_t keyspace_slot_count(const struct keyspace *keyspace, uint16_t slot) {
    return __atomic_load_n(&keyspace->tables[slot].count, __ATOMIC_RELAXED);
}

struct table *keyspace_table(struct keyspace *keyspace, uint16_t slot) {
    return &keyspace->tables[slot];
}

const struct table_hasher *keyspace_hasher(const struct keyspace *keyspace) {
    return &keyspace->databases->hasher;
}

struct record *keyspace_find(const struct keyspace *keyspace, const struct key *key) {
    return table_find(&keyspace->tables[key->slot], key->name, key->order);
}

struct table_entry keyspace_find_entry(const struct keyspace *keyspace, const struct key *key) {
    return table_find_entry(&keyspace->tables[key->slot], key->name, key->order);
}

void keyspace_prefetch(const struct keyspace *keyspace, const struct key *key) {
    table_prefetch(&keyspace->tables[key->slot], key->order);
}

void keyspace_prefetch_record(const struct keyspace *keyspace, const struct key *key) {
    table_prefetch_record(&keyspace->tables[key->slot], key->order);
}

void keyspace_prefetch_slot(const struct keyspace *keyspace, uint16_t slot) {
    __builtin_prefetch(&keyspace->tables[slot]);
    __builtin_prefetch(&keyspace->databases->slots[slot], 1);
}

/* -- deadlines and counts -- */

uint32_t keyspace_earliest(const struct keyspace *keyspace, unsigned slot) {
    return TABLE_NO_DEADLINE -
           atomic_load_explicit(&keyspace->earliest[slot], memory_order_relaxed);
}

void keyspace_set_earliest(struct keyspace *keyspace, unsigned slot, uint32_t earliest) {
    atomic_store_explicit(&keyspace->earliest[slot], TABLE_NO_DEADLINE - earliest,
                          memory_order_relaxed);
}

static void count_deadline(struct keyspace *keyspace, uint16_t slot, int64_t deadline_ms) {
    uint32_t coarse = table_coarse_deadline(deadline_ms);
    if (coarse < keyspace_earliest(keyspace, slot)) keyspace_set_earliest(keyspace, slot, coarse);
    atomic_fetch_add_explicit(&keyspace->deadline_count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&keyspace->deadline_sum_ms, (uint64_t)deadline_ms,
                              memory_order_relaxed);
}

static void uncount_deadline(struct keyspace *keyspace, int64_t deadline_ms) {
    atomic_fetch_sub_explicit(&keyspace->deadline_count, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&keyspace->deadline_sum_ms, (uint64_t)deadline_ms,
                              memory_order_relaxed);
}

/* -- passes -- */

bool databases_attach_pass(struct databases *databases, struct keyspace_pass *pass) {
    for (unsigned i = 0; i < PASS_MAX; i++) {
        if (databases->passes[i] != NULL) continue;
        pass->mark = 1u << i;
        databases->passes[i] = pass;
        databases->pass_count++;
        return true;
    }
    return false;
}

void databases_detach_pass(struct databases *databases, struct keyspace_pass *pass) {
    for (unsigned i = 0; i < PASS_MAX; i++) {
        if (databases->passes[i] != pass) continue;
        databases->passes[i] = NULL;
        databases->pass_count--;
    }
}

bool keyspace_is_huge(const struct databases *databases, const struct record *record) {
    enum { SAMPLES = 5 };
    return databases_type(databases, record)->memory_used(record, SAMPLES) > KEYSPACE_HUGE_BYTES;
}

static bool is_unseen(struct keyspace_pass *pass, const struct keyspace *keyspace,
                      const struct key *key, const struct record *record) {
    return pass != NULL && (record_marks(record) & pass->mark) == 0 &&
           !pass->is_behind(pass, keyspace, key->slot, key->order);
}

static void give_to_passes(struct keyspace *keyspace, const struct key *key,
                           struct record *record) {
    for (unsigned i = 0; i < PASS_MAX; i++) {
        struct keyspace_pass *pass = keyspace->databases->passes[i];
        if (!is_unseen(pass, keyspace, key, record)) continue;
        pass->save(pass, keyspace, key, record);
        // A pass that had put the key off has its place behind it, and looks for no mark there.
        if (!pass->is_behind(pass, keyspace, key->slot, key->order))
            record_set_marks(record, record_marks(record) | pass->mark);
    }
}

static void tell_readers(struct keyspace *keyspace, const struct key *key, struct record *record) {
    struct databases *databases = keyspace->databases;
    if (UNLIKELY(databases->slots[key->slot].long_replies != NULL))
        databases->before_change(databases->reader_state, keyspace, key, record);
}

void keyspace_before_change(struct keyspace *keyspace, const struct key *key,
                            struct record *record) {
    if (UNLIKELY(keyspace->databases->pass_count > 0)) give_to_passes(keyspace, key, record);
    tell_readers(keyspace, key, record);
}

void keyspace_before_removal(struct keyspace *keyspace, const struct key *key,
                             struct record *record) {
    // What can be shared costs nothing, and may then be changed in place.
    const struct databases *databases = keyspace->databases;
    if (UNLIKELY(databases->pass_count > 0) &&
        (databases_type(databases, record)->share != NULL || !keyspace_is_huge(databases, record)))
        give_to_passes(keyspace, key, record);
    tell_readers(keyspace, key, record);
}

bool keyspace_must_wait(struct keyspace *keyspace, const struct key *key,
                        const struct record *record, enum keyspace_change change) {
    bool must_wait = false;
    for (unsigned i = 0; i < PASS_MAX; i++) {
        struct keyspace_pass *pass = keyspace->databases->passes[i];
        if (pass != NULL && pass->must_wait(pass, keyspace, key, record, change))
            must_wait = true; // The others learn of it, too.
    }
    return must_wait;
}

/* A record goes: to the passes that have not seen it. NULL: to none. Else one reference is the
 * caller's. */
static struct keyspace_orphan *give_whole(struct keyspace *keyspace, const struct key *key,
                                          struct record *record) {
    struct keyspace_orphan *orphan = NULL;
    if (LIKELY(keyspace->databases->pass_count == 0)) return NULL;
    for (unsigned i = 0; i < PASS_MAX; i++) {
        struct keyspace_pass *pass = keyspace->databases->passes[i];
        if (!is_unseen(pass, keyspace, key, record)) continue;
        if (orphan == NULL) {
            orphan = mem_alloc(sizeof(*orphan));
            *orphan = (struct keyspace_orphan){.databases = keyspace->databases, .record = record};
            atomic_store(&orphan->refs, 1);
        }
        atomic_fetch_add(&orphan->refs, 1);
        pass->take(pass, keyspace, key, orphan);
    }
    return orphan;
}

void keyspace_orphan_unref(struct keyspace_orphan *orphan) {
    if (atomic_fetch_sub(&orphan->refs, 1) != 1) return;
    keyspace_destroy_record(orphan->databases, orphan->record, true);
    mem_free(orphan);
}

/* A record that arrives where a pass has not been yet is none of its business: born marked. */
static void mark_newborn(struct keyspace *keyspace, const struct key *key, struct record *record) {
    unsigned marks = 0;
    if (UNLIKELY(keyspace->databases->pass_count > 0)) {
        for (unsigned i = 0; i < PASS_MAX; i++) {
            struct keyspace_pass *pass = keyspace->databases->passes[i];
            if (pass != NULL && !pass->is_behind(pass, keyspace, key->slot, key->order))
                marks |= pass->mark;
        }
    }
    record_set_marks(record, marks);
}

/* -- changes -- */

static _Atomic uint64_t *group_count(struct keyspace *keyspace, uint16_t slot) {
    return &keyspace->group_counts[slot / SLOT_GROUP];
}

void keyspace_insert_take(struct keyspace *keyspace, const struct key *key, struct record *record) {
    mark_newborn(keyspace, key, record);
    if (record_has_deadline(record))
        count_deadline(keyspace, key->slot, record_deadline_ms(record));
    atomic_fetch_add_explicit(group_count(keyspace, key->slot), 1, memory_order_relaxed);
    table_insert_take(&keyspace->tables[key->slot], record, key->order,
                      &keyspace->databases->hasher);
    note_slot_keys(keyspace, key->slot);
}

void keyspace_expect(struct keyspace *keyspace, uint16_t slot, uint64_t expected) {
    if (keyspace->databases->is_cluster) return;
    uint64_t share = expected / SLOT_COUNT;
    table_reserve(&keyspace->tables[slot], share < SHARE_MAX ? (uint32_t)share : SHARE_MAX);
}

void keyspace_moved(struct keyspace *keyspace, const struct key *key, struct table_entry *entry,
                    struct record *record, bool had_deadline) {
    (void)had_deadline;
    table_swap(&keyspace->tables[key->slot], entry, record);
}

/* A pass that has not seen a record loses it when it changes without before_change. */
static void check_seen(struct keyspace *keyspace, const struct key *key,
                       const struct record *record) {
    for (unsigned i = 0; keyspace->databases->pass_count > 0 && i < PASS_MAX; i++)
        ASSERT(!is_unseen(keyspace->databases->passes[i], keyspace, key, record));
}

static struct record *take_out(struct keyspace *keyspace, const struct key *key,
                               struct table_entry *entry) {
    struct record *record = entry->record;
    if (record_has_deadline(record)) uncount_deadline(keyspace, record_deadline_ms(record));
    atomic_fetch_sub_explicit(group_count(keyspace, key->slot), 1, memory_order_relaxed);
    record = table_detach(&keyspace->tables[key->slot], entry, &keyspace->databases->hasher);
    note_slot_keys(keyspace, key->slot);
    return record;
}

struct record *keyspace_detach(struct keyspace *keyspace, const struct key *key,
                               struct table_entry *entry) {
    check_seen(keyspace, key, entry->record);
    return take_out(keyspace, key, entry);
}

static void part_with(struct keyspace *keyspace, struct record *record,
                      struct keyspace_orphan *orphan, bool is_lazy) {
    if (UNLIKELY(orphan != NULL)) {
        keyspace_orphan_unref(orphan);
    } else {
        keyspace_destroy_record(keyspace->databases, record, is_lazy);
    }
}

void keyspace_replace_take(struct keyspace *keyspace, const struct key *key,
                           struct table_entry *entry, struct record *record) {
    struct record *old = entry->record;
    struct keyspace_orphan *orphan = give_whole(keyspace, key, old);
    if (LIKELY(orphan == NULL)) {
        record_set_marks(record, record_marks(old));
    } else {
        mark_newborn(keyspace, key, record);
    }
    if (record_has_deadline(old)) uncount_deadline(keyspace, record_deadline_ms(old));
    if (record_has_deadline(record))
        count_deadline(keyspace, key->slot, record_deadline_ms(record));
    table_swap(&keyspace->tables[key->slot], entry, record);
    part_with(keyspace, old, orphan, true);
}

void keyspace_delete(struct keyspace *keyspace, const struct key *key, struct table_entry *entry,
                     bool is_lazy) {
    struct keyspace_orphan *orphan = give_whole(keyspace, key, entry->record);
    struct record *record = take_out(keyspace, key, entry);
    part_with(keyspace, record, orphan, is_lazy);
}

struct record *keyspace_set_deadline(struct keyspace *keyspace, const struct key *key,
                                     struct table_entry *entry, int64_t deadline_ms) {
    struct record *record = entry->record;
    check_seen(keyspace, key, record);
    if (record_has_deadline(record)) uncount_deadline(keyspace, record_deadline_ms(record));
    if (deadline_ms != 0) count_deadline(keyspace, key->slot, deadline_ms);
    record = record_with_deadline(record, deadline_ms != 0, deadline_ms);
    table_swap(&keyspace->tables[key->slot], entry, record);
    return record;
}

/* -- destruction -- */

struct doomed {
    const struct data_type *type;
    struct record *record;
};

static void destroy_job(void *arg) {
    struct doomed *doomed = arg;
    doomed->type->destroy(doomed->record);
    record_free(doomed->record);
    mem_free(doomed);
}

void keyspace_destroy_record(struct databases *databases, struct record *record, bool is_lazy) {
    const struct data_type *type = databases_type(databases, record);
    if (is_lazy && databases->defer != NULL && type->free_effort(record) > LAZY_EFFORT) {
        struct doomed *doomed = mem_alloc(sizeof(*doomed));
        *doomed = (struct doomed){type, record};
        databases->defer(databases->defer_state, destroy_job, doomed);
        return;
    }
    type->destroy(record);
    record_free(record);
}

/* -- walking -- */

unsigned keyspace_next_slot(const struct keyspace *keyspace, unsigned from) {
    while (from < SLOT_COUNT) {
        unsigned group = from / SLOT_GROUP;
        if (atomic_load_explicit(&keyspace->group_counts[group], memory_order_relaxed) == 0) {
            from = (group + 1) * SLOT_GROUP;
            continue;
        }
        if (keyspace_slot_count(keyspace, (uint16_t)from) > 0) return from;
        from++;
    }
    return SLOT_COUNT;
}

unsigned keyspace_random_slot(const struct keyspace *keyspace, struct rng *rng) {
    // Counts may move while they are added up: a few tries find a slot, else any will do.
    for (int attempt = 0; attempt < 4; attempt++) {
        uint64_t total = keyspace_count(keyspace);
        if (total == 0) return SLOT_COUNT;
        uint64_t pick = rng_below(rng, total);
        unsigned group = 0;
        for (; group < GROUPS; group++) {
            uint64_t count =
                atomic_load_explicit(&keyspace->group_counts[group], memory_order_relaxed);
            if (pick < count) break;
            pick -= count;
        }
        if (group == GROUPS) continue;
        for (unsigned slot = group * SLOT_GROUP; slot < (group + 1) * SLOT_GROUP; slot++) {
            uint32_t count = keyspace_slot_count(keyspace, (uint16_t)slot);
            if (pick < count) return slot;
            pick -= count;
        }
    }
    return keyspace_next_slot(keyspace, 0);
}

size_t keyspace_table_bytes(const struct keyspace *keyspace) {
    size_t bytes = 0;
    for (unsigned slot = keyspace_next_slot(keyspace, 0); slot < SLOT_COUNT;
         slot = keyspace_next_slot(keyspace, slot + 1)) {
        struct slot_lock *lock = &keyspace->databases->slots[slot].lock;
        if (!slot_lock_try(lock)) continue; // Perhaps the caller's own command has it.
        bytes += table_memory_used(&keyspace->tables[slot]);
        slot_lock_release(lock);
    }
    return bytes;
}

size_t databases_table_bytes(const struct databases *databases) {
    size_t bytes = 0;
    for (unsigned db = 0; db < databases->count; db++) {
        if (databases->keyspaces[db] != NULL)
            bytes += keyspace_table_bytes(databases->keyspaces[db]);
    }
    return bytes;
}

/* Slots, databases and what lies in them.
 *
 * Words:
 *   slot       one of 16384 parts of the keys. In cluster mode CRC16 of the key (or its hash tag)
 * says which, else 14 bits of the key's hash. A slot's lock covers its keys in all databases.
 *   keyspace   the tables of one database: an object of its own, so that FLUSHALL replaces it,
 * SWAPDB exchanges two and a snapshot pass keeps the ones it began with. databases  all of them,
 * with the slots that they share. pass       a walk over all records that must see each as it was
 * when the walk began. Whoever is about to change a record that a pass has not seen gives it to the
 * pass first (keyspace_before_change): the only door to a change, and command/context.h goes
 *              through it for every command.
 *
 * Who may call: functions that take a key want the key's slot locked (or everything parked);
 * functions that say so want everything parked. Counts may be read by anybody.
 */
#pragma once

#include <stdatomic.h>

#include "server/base/bytes.h"
#include "server/base/lock.h"
#include "server/base/rng.h"
#include "server/keyspace/data_type.h"
#include "server/structs/table.h"

#define SLOT_COUNT 16384u
#define DATABASE_MAX 16u
#define PASS_MAX 4u
#define SLOT_GROUP 128u /* Slots are counted by groups of so many. */

struct slot_watcher;
struct long_reply;

/* One cache line. Everything but the lock itself is covered by the lock. */
struct slot {
    struct slot_lock lock;
    uint32_t key_count; /* In a cluster: keys of database 0, to be read by any thread. */
    const void *route; /* Who serves it, as the cluster adapter keeps it; NULL outside a cluster. */
    struct slot_watcher *watchers; /* WATCH, see command/transaction.h. */
    void *waiters;                 /* Clients that wait for a key of this slot. */
    struct table *tracked; /* Keys that clients may have copies of, see command/tracking.h. */
    struct long_reply *long_replies; /* That still read a key, see command/long_reply.h. */
    uint64_t log_position;           /* Behind its last write, while replies are gated. */
} CACHE_ALIGNED;

struct keyspace;
struct databases;

/* A key as commands hand it around: its bytes are borrowed. */
struct key {
    struct bytes name;
    uint64_t order; /* Place in the order of hashes inside its slot's table. */
    uint16_t slot;
};

/* A value that left the keyspace before all passes had it; the last one that has it frees it. */
struct keyspace_orphan {
    _Atomic uint32_t refs;
    struct databases *databases;
    struct record *record;
};
void keyspace_orphan_unref(struct keyspace_orphan *orphan);

/* Values from about this size on, when encoded, are not saved on a client's time. */
#define KEYSPACE_HUGE_BYTES 65536u

/* What is about to happen to a value. */
enum keyspace_change {
    KEYSPACE_CHANGE_SMALL,  /* It is not huge (keyspace_is_huge): whatever. */
    KEYSPACE_CHANGE_INSIDE, /* A part of a huge one changes. */
    KEYSPACE_CHANGE_WHOLE,  /* A huge one goes, or is replaced. */
};

/* What a snapshot pass must supply to be told of changes (see server/snapshot). */
struct keyspace_pass {
    unsigned mark; /* Its bit in record_marks. */
    /* True when the place of the pass is behind (keyspace, slot, order), or the keyspace is none of
     * those it began with. The slot is locked. */
    bool (*is_behind)(struct keyspace_pass *pass, const struct keyspace *keyspace, uint16_t slot,
                      uint64_t order);
    /* Saves the record as it is now. The slot is locked. */
    void (*save)(struct keyspace_pass *pass, struct keyspace *keyspace, const struct key *key,
                 struct record *record);
    /* Takes over the value of a key that goes, to save it later: one more reference to `orphan` is
     * the pass's. The slot is locked. */
    void (*take)(struct keyspace_pass *pass, struct keyspace *keyspace, const struct key *key,
                 struct keyspace_orphan *orphan);
    /* True when a change of this record has to wait: the pass wants it first, or has no room for
     * what it was; the pass sees to it that who waits tries again. The slot is locked. */
    bool (*must_wait)(struct keyspace_pass *pass, struct keyspace *keyspace, const struct key *key,
                      const struct record *record, enum keyspace_change change);
    /* Told that FLUSHALL put a keyspace aside (everything is parked): a pass that needs it calls
     * keyspace_ref. */
    void (*put_aside)(struct keyspace_pass *pass, struct keyspace *keyspace);
};

struct databases_options {
    unsigned count;  /* 1 .. DATABASE_MAX */
    bool is_cluster; /* Slots by CRC16 and hash tags. */
    uint64_t seed;   /* Of the hash; from the operating system in production. */
    const struct data_type *const
        *types; /* By type code, RECORD_TYPE_COUNT entries, NULL = absent. */
};

struct databases *databases_create(const struct databases_options *options);
void databases_destroy(struct databases *databases);

unsigned databases_count(const struct databases *databases);
struct slot *databases_slot(struct databases *databases, uint16_t slot);
bool databases_is_cluster(const struct databases *databases);

/* The keyspace of a database; created when first asked for. */
struct keyspace *databases_keyspace(struct databases *databases, unsigned db);
/* The same, or NULL when nothing was ever put there. */
struct keyspace *databases_keyspace_if_any(struct databases *databases, unsigned db);

/* Exchanges two databases. Everything parked. */
void databases_swap(struct databases *databases, unsigned a, unsigned b);

/* Puts an empty keyspace in place and gives the old one to the passes that need it or to
 * keyspace_destroy (in the background when `is_lazy`). Everything parked. Returns how many keys it
 * had. */
uint64_t databases_flush(struct databases *databases, unsigned db, bool is_lazy);

/* Replaces all keyspaces by those of `loaded` (a databases object with the same options, which is
 * destroyed): how a finished load takes effect. Everything parked. */
void databases_adopt(struct databases *databases, struct databases *loaded);
/* An empty databases object that hashes the same way, for a load beside the living one. */
struct databases *databases_create_sibling(const struct databases *databases);

const struct data_type *databases_type(const struct databases *databases,
                                       const struct record *record);
/* The type with this code (enum record_type), or NULL: not there. */
const struct data_type *databases_type_of(const struct databases *databases, unsigned code);
/* What loaders of values hash by (struct data_type_load_context). */
uint64_t databases_seed(const struct databases *databases);

/* How many keys a slot of a cluster's node holds. Any thread, nothing locked: for those who must
 * not look into tables, like the bus. */
uint32_t databases_slot_keys(const struct databases *databases, uint16_t slot);

/* Fills in slot and order. About 5 ns for short keys. */
void key_init(struct key *key, const struct databases *databases, struct bytes name);
uint16_t key_hash_slot(struct bytes name); /* The cluster's slot, hash tags honoured. */

/* -- one keyspace -- */

unsigned keyspace_database(const struct keyspace *keyspace); /* Its number at the moment. */
uint64_t keyspace_count(const struct keyspace *keyspace); /* Any thread; expired ones included. */
uint64_t keyspace_deadline_count(const struct keyspace *keyspace);
uint64_t keyspace_deadline_sum_ms(const struct keyspace *keyspace); /* For INFO's avg_ttl. */
uint32_t keyspace_slot_count(const struct keyspace *keyspace, uint16_t slot);
struct table *keyspace_table(struct keyspace *keyspace, uint16_t slot);
const struct table_hasher *keyspace_hasher(const struct keyspace *keyspace);

/* Raw look-ups: no expiry, no statistics. */
struct record *keyspace_find(const struct keyspace *keyspace, const struct key *key);
struct table_entry keyspace_find_entry(const struct keyspace *keyspace, const struct key *key);
void keyspace_prefetch(const struct keyspace *keyspace, const struct key *key);
/* Sends for the record itself, once the bucket is there. */
void keyspace_prefetch_record(const struct keyspace *keyspace, const struct key *key);

/* Must come before any change of the value, deadline or existence of `record`: gives it to the
 * passes that have not seen it, and to those who still read it. Costs two loads and branches while
 * there are none. */
void keyspace_before_change(struct keyspace *keyspace, const struct key *key,
                            struct record *record);

/* The same before keyspace_delete or keyspace_replace_take, and nothing else: a huge value is not
 * saved but goes to the passes then. */
void keyspace_before_removal(struct keyspace *keyspace, const struct key *key,
                             struct record *record);

/* True when a pass asks that a change of the record waits (struct keyspace_pass, must_wait). */
bool keyspace_must_wait(struct keyspace *keyspace, const struct key *key,
                        const struct record *record, enum keyspace_change change);

/* True when the value is over KEYSPACE_HUGE_BYTES, by an estimate. O(1) */
bool keyspace_is_huge(const struct databases *databases, const struct record *record);

/* Puts in a record whose key is not there; the keyspace owns it. */
void keyspace_insert_take(struct keyspace *keyspace, const struct key *key, struct record *record);

/* One of `expected` keys is about to come to the slot: while its table is empty it gets room for
 * its share of them. Only where keys spread evenly over the slots, that is outside a cluster; a
 * number that is a lie costs 4 KB a slot at the most. */
void keyspace_expect(struct keyspace *keyspace, uint16_t slot, uint64_t expected);

/* Asks the processor to fetch what keyspace_prefetch itself needs. */
void keyspace_prefetch_slot(const struct keyspace *keyspace, uint16_t slot);

/* Another record for the same key (before_change or before_removal was called). The old value is
 * destroyed, in the background when it is big, or goes to the passes that have not seen it. */
void keyspace_replace_take(struct keyspace *keyspace, const struct key *key,
                           struct table_entry *entry, struct record *record);

/* Puts back the record that the caller moved by record_with_*: same value, other memory. */
void keyspace_moved(struct keyspace *keyspace, const struct key *key, struct table_entry *entry,
                    struct record *record, bool had_deadline);

/* Takes the record out (before_change was called); the caller owns it then. */
struct record *keyspace_detach(struct keyspace *keyspace, const struct key *key,
                               struct table_entry *entry);

/* Takes the record out and destroys it, in the background when it is big and `is_lazy`; or gives
 * it to the passes that have not seen it. before_change or before_removal was called. */
void keyspace_delete(struct keyspace *keyspace, const struct key *key, struct table_entry *entry,
                     bool is_lazy);

/* Sets (0: removes) the deadline; returns the record, which may have moved. before_change was
 * called. */
struct record *keyspace_set_deadline(struct keyspace *keyspace, const struct key *key,
                                     struct table_entry *entry, int64_t deadline_ms);

/* Destroys a record and its value, in the background when it is big and `is_lazy`. */
void keyspace_destroy_record(struct databases *databases, struct record *record, bool is_lazy);

/* -- walking -- */

/* The next slot at or after `from` that holds a key, or SLOT_COUNT. Skips empty groups. Any thread:
 * what it says may be outdated at once. */
unsigned keyspace_next_slot(const struct keyspace *keyspace, unsigned from);

/* A slot picked with a chance in proportion to its keys, or SLOT_COUNT when there is none. */
unsigned keyspace_random_slot(const struct keyspace *keyspace, struct rng *rng);

/* A lower bound of the earliest deadline in the slot, as table_coarse_deadline; any thread. */
uint32_t keyspace_earliest(const struct keyspace *keyspace, unsigned slot);
void keyspace_set_earliest(struct keyspace *keyspace, unsigned slot, uint32_t earliest);

/* -- passes -- */

/* Registers or removes a pass. Everything parked. attach returns false when PASS_MAX are running;
 * else sets pass->mark. */
bool databases_attach_pass(struct databases *databases, struct keyspace_pass *pass);
void databases_detach_pass(struct databases *databases, struct keyspace_pass *pass);

/* -- memory -- */

/* Bytes of buckets and bounds; walks the slots (milliseconds). A slot that is locked at the moment
 * is left out, so it may be called with slots locked. */
size_t keyspace_table_bytes(const struct keyspace *keyspace);
size_t databases_table_bytes(const struct databases *databases);

/* Who does work that nobody waits for (freeing big values): `defer` runs job(arg) some time later
 * on another thread. Without one everything is freed at once. */
void databases_set_background(struct databases *databases,
                              void (*defer)(void *state, void (*job)(void *arg), void *arg),
                              void *state);
/* Hands such work over; does it at once where nobody else would. */
void databases_defer(struct databases *databases, void (*job)(void *arg), void *arg);

/* Who reads values across several turns: told before a record changes that lies in a slot with
 * long_replies (the slot is locked), and before a whole keyspace goes or changes its number
 * (everything is parked). */
void databases_set_readers(struct databases *databases,
                           void (*before_change)(void *state, struct keyspace *keyspace,
                                                 const struct key *key, struct record *record),
                           void (*before_parting)(void *state), void *state);

/* Keeps a keyspace that was put aside alive for a pass; the last unref destroys it. */
void keyspace_ref(struct keyspace *keyspace);
void keyspace_unref(struct keyspace *keyspace);

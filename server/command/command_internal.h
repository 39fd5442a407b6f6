/* What the files of this folder share. */
#pragma once

#include "server/base/rng.h"
#include "server/command/blocking.h"
#include "server/command/dispatch.h"
#include "server/command/latency.h"
#include "server/command/session_ids.h"
#include "server/command/tracking.h"
#include "server/command/transaction.h"

/* A row with what dispatch wants to know at a glance. */
struct command_entry {
    const struct command *row;
    uint32_t id;
    uint32_t single_key; /* The argument that is the one and only key; 0 = look at the row. */
    uint32_t name_len;
    bool has_keys;
    struct command_entry *subcommands;
    uint32_t subcommand_count;
};

/* The entry of a command line's first word (and second, for containers). NULL: unknown. When the
 * container is known and the subcommand is not, *out_container is the container's. */
const struct command_entry *command_table_resolve(const struct command_table *table,
                                                  const struct bytes *argv, uint32_t argc,
                                                  const struct command_entry **out_container);
const struct command_entry *command_table_entry(const struct command_table *table,
                                                const struct command *row);

static inline bool command_is_exec(const struct command *row) {
    return (row->flags & COMMAND_TRANSACTION) != 0 && strcmp(row->name, "exec") == 0;
}

enum { LOCK_MAX = 64, KEYS_ON_STACK = 16 };

struct error_count {
    char code[24];
    uint64_t count;
};

enum { ERROR_CODE_MAX = 64 };

struct dispatch_worker {
    struct turn *turn;
    struct dispatcher *dispatcher;
    struct rng rng;
    struct journal_unit unit;
    struct key *keys; /* Of the command in work. */
    uint32_t key_cap;
    uint32_t *positions;
    uint32_t position_cap;
    uint16_t locked[LOCK_MAX];
    uint32_t locked_count;
    bool is_exclusive;
    bool is_lent;            /* Works in another thread's hands (dispatch_lend). */
    struct noted_key *noted; /* Changed keys that somebody waits for (blocking.c). */
    uint32_t noted_count;
    uint32_t noted_cap;
    uint64_t began_ticks; /* Of the command in work: the end of the one before. */
    uint64_t batch_ticks; /* When the clocks below were read, */
    uint64_t stale_ticks; /* and after how many more ticks they are read again. */
    uint64_t batch_ms;    /* Monotonic. */
    int64_t batch_wall_ms;
    uint32_t expire_db; /* Where dispatch_expire_some goes on. */
    uint32_t expire_slot;
    uint32_t expire_cursor;
    struct dispatch_stats stats;
    struct command_stats *command_stats; /* By id; `usec` in ticks until it is shown. */
    uint32_t **latencies; /* By id: counts of durations in ticks, made with the first one. */
    struct error_count error_counts[ERROR_CODE_MAX];
    uint32_t error_code_count;
    struct session *waiting; /* Its command waits until it can have everything parked. */
    const struct command_entry *waiting_entry;
    bool is_refused;         /* It was answered meanwhile. */
    uint64_t actor_id;       /* The session whose command changes keys; 0: none's. */
    uint64_t access_version; /* Of the rules by which the command in work was admitted. */
    bool is_out_of_memory;   /* For the command in work: no key can make room. */
    int64_t room_until;      /* Up to there, as mem_thread_bytes, it need not look (eviction.c). */
    struct eviction_pool *candidates;
    struct buffer invalidations; /* What tracking sessions are to be told (tracking.c). */
    struct dispatch_worker *next;
} CACHE_ALIGNED;

/* Client-side caching: tracking.h. */
struct tracking {
    _Atomic uint32_t prefix_count;
    _Atomic uint32_t session_count;
    _Atomic uint64_t key_count; /* In the slots' tables. */
    _Atomic uint64_t item_count;
    uint64_t max_keys;     /* Changed while everything is parked. */
    pthread_rwlock_t lock; /* A leaf, for what follows. */
    struct tracked_prefix *prefixes;
    struct session_ids sessions; /* All that track. */
};

/* maxmemory: eviction.h. */
struct eviction_state {
    _Atomic uint64_t evicted_keys;
    _Atomic uint64_t exceeded_us;
    _Atomic uint64_t exceeded_since_us; /* 0: it is not. */
};

struct pause {
    uint64_t end_ms;
    bool all_commands;
};

struct dispatcher {
    struct databases *databases;
    struct exclusive *exclusive;
    const struct data_type_options *types;
    struct command_modules *modules;
    struct dispatch_hooks hooks;
    _Atomic uint32_t admission;
    uint64_t access_version; /* Changed while everything is parked. */
    struct pause pauses[PAUSE_REASON_COUNT];
    _Atomic bool is_expire_off;
    const char *busy_text;      /* NULL: no script runs for too long. Everything is parked then. */
    bool tracks_latency;        /* Changed while everything is parked, */
    uint64_t slow_ticks;        /* as is from when on a command is slow. */
    pthread_mutex_t holds_lock; /* A leaf. */
    struct key_hold *holds;
    uint32_t long_reply_count;     /* Under the same lock. */
    pthread_mutex_t monitors_lock; /* A leaf. */
    struct session_ids monitors;   /* Who watches (monitor.c). */
    _Atomic uint32_t monitor_count;
    struct tracking tracking;
    struct eviction_state eviction;
    _Atomic uint64_t unslotted_log_position; /* Behind the last write that named no slots. */
    _Atomic uint64_t waiter_count;
    _Atomic uint64_t serving_rounds;
    pthread_mutex_t workers_lock;
    struct dispatch_worker *workers;
    uint32_t worker_count;
};

/* Fills in what a context has in common for all commands of a session. */
void context_init(struct command_context *context, struct dispatch_worker *worker,
                  struct session *session, int64_t now_ms);

/* Appends what a unit has changed to the journal while its slots are still locked. */
void dispatch_commit(struct dispatch_worker *worker, struct session *session);

/* Notes what the reply of a command must wait for, where replies are gated. Its slots are locked.
 */
void dispatch_note_need(struct dispatch_worker *worker, struct session *session,
                        const struct command *row);

/* Locks slots that are ascending and different, at most LOCK_MAX; unlocks all that are locked. */
void dispatch_lock_slots(struct dispatch_worker *worker, const uint16_t *slots, uint32_t count);
void dispatch_unlock_slots(struct dispatch_worker *worker);

/* long_reply.c: a key is read across turns. True: a write to one of these keys has to wait. Their
 * slots are locked. */
bool long_reply_blocks(struct dispatcher *dispatcher, uint32_t db, const struct key *keys,
                       uint32_t count);
/* For databases_set_readers. */
void long_reply_before_change(void *state, struct keyspace *keyspace, const struct key *key,
                              struct record *record);
void long_reply_before_parting(void *state);

/* Shows a command that has run to the sessions that watch. */
void monitor_feed(struct dispatch_worker *worker, const struct command_context *context);

/* The same whatever the command's flags say. */
void monitor_show(struct dispatch_worker *worker, const struct command_context *context);

/* Adds the keys of a command line to worker->keys, behind `count` others; returns the new count. */
uint32_t dispatch_add_keys(struct dispatch_worker *worker, const struct command_entry *entry,
                           const struct bytes *argv, uint32_t argc, uint32_t count);

/* What EXEC and scripts need of dispatch: a command inside of `outer`, in a session of its own or
 * the same one, with the locks that are held. Fills in the context; then runs the handler, and
 * counts the command like any other. */
void dispatch_inner_init(struct command_context *context, const struct command_context *outer,
                         struct session *session, const struct command_entry *entry,
                         const struct bytes *argv, uint32_t argc);
void dispatch_inner(struct command_context *context, const struct command_entry *entry);

/* One command of a transaction; everything in one allocation behind `argv`. */
struct queued_command {
    const struct command_entry *entry;
    struct bytes *argv;
    uint32_t argc;
};

struct transaction {
    struct queued_command *commands;
    uint32_t count;
    uint32_t cap;
    uint32_t flags;         /* Union of the rows', */
    uint32_t missing_flags; /* and of what each row lacks. */
    size_t argument_bytes;
    bool is_failed;
    bool is_exclusive; /* One of its commands wants everybody parked. */
};

/* A watched key: listed in its session and in its slot. */
struct slot_watcher {
    struct slot_watcher *next_in_slot;
    struct slot_watcher **link_in_slot;
    struct slot_watcher *next_in_session;
    struct session *session;
    uint32_t db;
    uint16_t slot;
    uint64_t order;
    bool was_expired; /* Already when WATCH was called. */
    size_t name_len;
    uint8_t name[];
};

struct session_watch {
    struct slot_watcher *first;
    uint32_t count;
};

/* Queues a command that has passed admission. */
void transaction_queue(struct session *session, const struct command_entry *entry,
                       enum command_class class, const struct bytes *argv, uint32_t argc);
struct bytes slot_watcher_name(const struct slot_watcher *watcher);

uint32_t *latency_counts_create(struct dispatch_worker *worker, uint32_t command_id);

static inline void latency_note(struct dispatch_worker *worker, uint32_t command_id,
                                uint64_t ticks) {
    uint32_t *counts = worker->latencies[command_id];
    if (UNLIKELY(counts == NULL)) counts = latency_counts_create(worker, command_id);
    counts[latency_bucket(ticks)]++;
}

/* Deletes a key by the server's own decision, as a unit of its own: with what is propagated, who
 * watches, waits and listens. The slot is locked; session->db is the key's; no event: class 0. */
void dispatch_drop_key(struct dispatch_worker *worker, struct session *session,
                       const struct key *key, struct table_entry *entry, bool is_lazy,
                       unsigned event_class, const char *event);

/* Before a command: false when more memory is used than may be and no key can go. Nothing locked.
 */
bool eviction_make_room(struct dispatch_worker *worker);
void eviction_pool_destroy(struct eviction_pool *pool);

void tracking_init(struct tracking *tracking);
void tracking_deinit(struct tracking *tracking);
/* A session that tracks has run a command; the slots of its keys are locked. */
void tracking_note_read(struct dispatch_worker *worker, const struct command_context *context);
/* Its command is over. */
void tracking_after_command(struct session *session);
/* A key changes that somebody may track. Its slot is locked. */
void tracking_touch(struct dispatch_worker *worker, struct slot *slot,
                    const struct keyspace *keyspace, const struct key *key);
/* Tells what was gathered. After the command's reply. */
void tracking_send(struct dispatch_worker *worker);
/* More keys are tracked than may be: forgets some. No slot is locked, or everything parked. */
void tracking_shrink(struct dispatch_worker *worker);
/* Empties the slots' tables. Everything parked. */
void tracking_forget_all(struct dispatcher *dispatcher);

/* A key changes, appears or goes: sessions that watch it and clients that wait for it learn of it.
 * The slot is locked. */
static inline void dispatch_touch(struct dispatch_worker *worker, const struct keyspace *keyspace,
                                  const struct key *key) {
    struct slot *slot = databases_slot(worker->dispatcher->databases, key->slot);
    if (UNLIKELY(slot->watchers != NULL))
        transaction_touch(worker->dispatcher->databases, keyspace, key);
    if (UNLIKELY(slot->waiters != NULL)) blocking_note(worker, slot, keyspace, key);
    if (UNLIKELY(slot->tracked != NULL ||
                 atomic_load_explicit(&worker->dispatcher->tracking.prefix_count,
                                      memory_order_relaxed) > 0))
        tracking_touch(worker, slot, keyspace, key);
}

/* Where a command or another change of keys ends, after its reply. */
static inline void dispatch_tell_trackers(struct dispatch_worker *worker) {
    if (UNLIKELY(worker->invalidations.len > 0)) tracking_send(worker);
}

/* Publishes a keyspace event where somebody asked for its class. The slot is locked. */
static inline void dispatch_notify(const struct dispatch_worker *worker,
                                   const struct keyspace *keyspace, struct bytes key,
                                   unsigned event_class, const char *event) {
    const struct dispatch_hooks *hooks = &worker->dispatcher->hooks;
    if (LIKELY(hooks->notify_events == NULL || (*hooks->notify_events & event_class) == 0)) return;
    hooks->notify(hooks->notify_state, keyspace_database(keyspace), key, event_class, event);
}

/* The codes of errors answered, for INFO errorstats. */
void dispatch_count_error(struct dispatch_worker *worker, const char *code);

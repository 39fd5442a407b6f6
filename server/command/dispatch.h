/* From a parsed command to its reply: look-up, admission, locks, handler, journal.
 *
 * The way of a command: find the row, check arity, authentication and transaction rules, decide its
 * class, lock the slots of its keys in ascending order (or park everybody), decide redirection and
 * the other refusals with the slots locked, run the handler, append the effects to the journal,
 * unlock.
 *
 * One `struct dispatch_worker` for each thread that runs commands: its turn, scratch memory, random
 * source and statistics.
 */
#pragma once

#include <stdatomic.h>

#include "server/base/turn.h"
#include "server/command/access.h"
#include "server/command/context.h"
#include "server/keyspace/keyspace.h"

struct dispatcher;
struct command_entry;
struct dispatch_worker;

/* States of the node that make admission look closer. All clear: nothing to ask. */
enum {
    ADMISSION_CLUSTER = 1 << 1,   /* Redirection. */
    ADMISSION_READ_ONLY = 1 << 2, /* A replica that refuses writes. */
    ADMISSION_STALE = 1 << 3,     /* Link down and replica-serve-stale-data no. */
    ADMISSION_LOADING = 1 << 4,
    ADMISSION_ASYNC_LOADING = 1 << 5,
    ADMISSION_FEW_REPLICAS = 1 << 6, /* min-replicas-to-write is not met. */
    ADMISSION_DISK_ERROR = 1 << 7,   /* Writes are refused with MISCONF. */
    ADMISSION_PAUSE_WRITES = 1 << 8,
    ADMISSION_PAUSE_ALL = 1 << 9,
    ADMISSION_REPLICA = 1 << 10,    /* Expired keys are hidden, not deleted. */
    ADMISSION_HOLD = 1 << 11,       /* Some keys are held (hold.h). */
    ADMISSION_MEMORY = 1 << 12,     /* maxmemory is set (eviction.h). */
    ADMISSION_LONG_REPLY = 1 << 13, /* Some keys are read across turns (long_reply.h). */
    ADMISSION_PASS = 1 << 14,       /* A snapshot pass may ask writes to wait (keyspace.h). */
    ADMISSION_LOG_ERROR = 1 << 20,  /* The append-only file can't be written: MISCONF, too. */
    ADMISSION_GATE = 1 << 21,       /* Replies wait for the disk: what they need is noted. */
};

enum dispatch_result {
    DISPATCH_DONE,    /* Answered. */
    DISPATCH_BLOCKED, /* session->block says why; the reply comes later. */
    DISPATCH_PAUSED,  /* Not run: keep the command and try again when the pause is over. */
};

enum { DISPATCH_NEVER_SLOW = -1 };

/* What upper floors decide for admission. */
struct dispatch_hooks {
    /* With ADMISSION_CLUSTER, slots locked. `keys` are all keys of the command (of all queued
     * commands for EXEC), at least one; they may lie in different slots. `flags` are the row's (for
     * EXEC the union). True: the redirection or refusal was answered. */
    bool (*redirect)(struct cluster *cluster, struct command_context *context, uint32_t flags,
                     const struct key *keys, uint32_t key_count);
    /* With ADMISSION_DISK_ERROR or ADMISSION_LOG_ERROR: the MISCONF text. */
    const char *(*disk_error)(void *state);
    void *disk_error_state;
    /* For sessions with SESSION_ACCESS_LIMITED: what the rules of their users say (access.h). */
    enum access_verdict (*may_run)(struct acl *acl, struct session *session,
                                   const struct access_request *request);
    bool (*may_read_all_keys)(const struct session *session);
    /* Keyspace events of the classes in `*notify_events` (NULL: none). Slots locked. */
    const uint32_t *notify_events;
    void (*notify)(void *state, unsigned db, struct bytes key, unsigned event_class,
                   const char *event);
    void *notify_state;
    /* network_block_timeout, network_post and network_unblock, for commands that wait. */
    void (*block)(struct network *network, struct session *session, uint64_t after_ms,
                  void (*fn)(struct session *session, void *arg), void *arg);
    void (*post)(struct network *network, uint64_t session_id,
                 void (*fn)(struct session *session, void *arg), void *arg);
    void (*unblock)(struct network *network, struct session *session);
    /* network_retry_paused: what was put aside is tried again. */
    void (*retry_paused)(struct network *network);
    /* network_find, network_pushed and its like, for sessions that are told of changes. */
    uint32_t (*worker_of)(const struct network *network, uint64_t session_id);
    bool (*is_worker)(const struct network *network, uint32_t worker);
    void (*post_worker)(struct network *network, uint32_t worker, void (*fn)(void *arg), void *arg);
    struct session *(*find)(struct network *network, uint64_t session_id);
    void (*pushed)(struct network *network, struct session *session);
    /* A script runs for so long that others are told (dispatcher_serve_busy): looks at all sockets
     * once, and runs what has come by dispatch_run_busy. Then: it is over. */
    void (*serve_busy)(struct network *network);
    void (*end_busy)(struct network *network);
    /* How many values are being freed in the background. */
    uint64_t (*pending_frees)(void *state);
    void *pending_frees_state;
    /* All databases have been emptied. Everything parked. */
    void (*flushed)(void *state);
    void *flushed_state;
    /* A command took at least as long as dispatcher_track_slow says. Nothing is locked, or only
     * slots. The words are borrowed. */
    void (*slow)(void *state, const struct session *session, const struct command *row,
                 const struct bytes *argv, uint32_t argc, uint64_t duration_us);
    void *slow_state;
};

struct dispatch_options {
    struct databases *databases;
    struct exclusive *exclusive;
    const struct data_type_options *types;
    struct command_modules *modules; /* Filled by main before the first command runs. */
};

/* From how many microseconds on hooks.slow hears of a command; DISPATCH_NEVER_SLOW: of none.
 * Everything parked, or before the workers start. */
void dispatcher_track_slow(struct dispatcher *dispatcher, int64_t from_us);

struct dispatcher *dispatcher_create(const struct dispatch_options *options);
void dispatcher_destroy(struct dispatcher *dispatcher);
void dispatcher_set_hooks(struct dispatcher *dispatcher, const struct dispatch_hooks *hooks);

/* Sets or clears a bit of the node's state. Everything parked, or before the workers start. */
void dispatcher_set_admission(struct dispatcher *dispatcher, uint32_t bits, bool is_set);
uint32_t dispatcher_admission(const struct dispatcher *dispatcher);

/* For FLUSHALL: tells the hook. Everything parked. */
void dispatcher_note_flushed(const struct dispatcher *dispatcher);

/* What clients hear while data is being loaded. */
#define DISPATCH_LOADING_ERROR "LOADING Redis is loading the dataset in memory"
static inline bool dispatcher_is_loading(const struct dispatcher *dispatcher) {
    const uint32_t bits = ADMISSION_LOADING | ADMISSION_ASYNC_LOADING;
    return (dispatcher_admission(dispatcher) & bits) != 0;
}

/* With ADMISSION_DISK_ERROR or ADMISSION_LOG_ERROR: the MISCONF text that writes get. */
const char *dispatch_disk_error(const struct dispatcher *dispatcher);

/* What was put aside is tried again. Any thread. */
void dispatcher_retry_paused(struct dispatcher *dispatcher);

/* The hooks of these names, for commands that answer when something has ended. */
void dispatcher_post(const struct dispatcher *dispatcher, uint64_t session_id,
                     void (*fn)(struct session *session, void *arg), void *arg);
void dispatcher_unblock(const struct dispatcher *dispatcher, struct session *session);

/* Pauses clients (CLIENT PAUSE, failovers) until `end_ms` on the monotonic clock; a longer or
 * stronger pause that runs already stays. Kinds end on their own. Everything parked. */
enum pause_reason { PAUSE_BY_COMMAND, PAUSE_BY_FAILOVER, PAUSE_BY_SHUTDOWN, PAUSE_REASON_COUNT };
void dispatcher_pause(struct dispatcher *dispatcher, enum pause_reason reason, bool all_commands,
                      uint64_t end_ms);
void dispatcher_unpause(struct dispatcher *dispatcher, enum pause_reason reason);
/* Ends pauses whose time is over; true when that let somebody go. Everything parked or the node. */
bool dispatcher_expire_pauses(struct dispatcher *dispatcher, uint64_t monotonic_ms);
/* True while writes are paused: nothing expires, nothing is evicted, no PING enters the stream. */
bool dispatcher_writes_paused(const struct dispatcher *dispatcher);

/* A worker for the calling context; `turn` was added to the exclusive object. */
struct dispatch_worker *dispatch_worker_create(struct dispatcher *dispatcher, struct turn *turn);
void dispatch_worker_destroy(struct dispatch_worker *worker);
struct turn *dispatch_worker_turn(struct dispatch_worker *worker);

/* Runs one command of a session. The worker's turn is held. `argc` > 0; argv is borrowed. */
enum dispatch_result dispatch_run(struct dispatch_worker *worker, struct session *session,
                                  const struct bytes *argv, uint32_t argc);

/* -- a script that runs for long -- */

/* Serves all clients once, from inside a script that has everything parked: commands that may not
 * run meanwhile are answered with `text`. On the script's thread, between two of its commands. */
void dispatcher_serve_busy(struct dispatcher *dispatcher, const char *text);
void dispatcher_end_busy(struct dispatcher *dispatcher); /* The script is over. */
/* What others are answered at the moment; NULL: no script is being waited for. */
const char *dispatcher_busy_text(const struct dispatcher *dispatcher);

/* Refuses the commands that wait until they can have everything parked, and calls fn for each of
 * their sessions. */
void dispatch_refuse_waiting(struct dispatcher *dispatcher,
                             void (*fn)(void *arg, struct session *session), void *arg);

/* A worker that runs commands inside of another's exclusive section. */
struct dispatch_worker *dispatch_stand_in_create(struct dispatcher *dispatcher);
/* Runs one command with it, if it is one of those that a script may not keep waiting. */
void dispatch_run_busy(struct dispatch_worker *stand_in, struct session *session,
                       const struct bytes *argv, uint32_t argc);

/* A command that was looked up ahead of its turn, for a client that sent several at once. */
struct prepared_command {
    const struct command_entry *entry;     /* NULL: there is none, */
    const struct command_entry *container; /* but perhaps one of which it would be a part. */
    bool has_key;                          /* One key is all that it needs to be locked for: */
    struct key key;
    const struct bytes *argv; /* Borrowed until it has run. */
    uint32_t argc;
};

/* Looks it up and hashes its key, and sends for the cache lines of the key's slot. The words stay
 * where they are until it has run. */
void dispatch_prepare(struct dispatch_worker *worker, const struct session *session,
                      const struct bytes *argv, uint32_t argc, struct prepared_command *out);
/* Sends for what prepared commands will look at: keys, and the members or fields that they name.
 * Holds one slot at a time and waits for none. */
void dispatch_prefetch(const struct dispatch_worker *worker, const struct session *session,
                       const struct prepared_command *commands, uint32_t count);
enum dispatch_result dispatch_run_prepared(struct dispatch_worker *worker, struct session *session,
                                           const struct prepared_command *prepared,
                                           const struct bytes *argv, uint32_t argc);

/* Reads the clock before the first command of a batch: the end of each command is the beginning of
 * the next one. */
void dispatch_batch_begin(struct dispatch_worker *worker);
uint64_t dispatch_batch_now_ms(const struct dispatch_worker *worker); /* Monotonic. */

/* Expired keys: deletes up to `budget` due keys and journals it. Holds one slot at a time, looks at
 * no more than the budget's worth of buckets. Returns how many it deleted. The worker's turn is
 * held. */
uint32_t dispatch_expire_some(struct dispatch_worker *worker, uint32_t budget);
/* Deletes all keys of a slot, with propagation where this node is a primary. Everything parked.
 * Returns how many there were. */
uint32_t dispatch_delete_slot(struct dispatch_worker *worker, uint16_t slot);

/* DEBUG SET-ACTIVE-EXPIRE. Everything parked. */
void dispatcher_set_active_expire(struct dispatcher *dispatcher, bool is_on);

/* -- for modules that work outside a command -- */

/* Parks everybody (the worker's own turn is let go and taken again). */
void dispatch_exclusive_begin(struct dispatch_worker *worker);
void dispatch_exclusive_end(struct dispatch_worker *worker);

/* Everything parked: while it is lent, the owner of the section runs commands in a parked worker's
 * name. That worker stands between two commands. */
void dispatch_lend(struct dispatch_worker *worker, bool is_lent);

/* For the command that the worker runs: maxmemory is passed, and no key can make room. */
bool dispatch_is_out_of_memory(const struct dispatch_worker *worker);

struct databases *dispatcher_databases(const struct dispatcher *dispatcher);
struct exclusive *dispatcher_exclusive(const struct dispatcher *dispatcher);

/* -- statistics -- */

struct command_stats {
    uint64_t calls;
    uint64_t usec;
    uint64_t rejected;
    uint64_t failed;
};

struct dispatch_stats {
    uint64_t commands;
    uint64_t keyspace_hits;
    uint64_t keyspace_misses;
    uint64_t expired_keys;
    uint64_t expired_by_cycle;
    uint64_t changes; /* Since the start; rdb_changes_since_last_save is a difference of these. */
    uint64_t errors;  /* Error replies. */
    uint64_t unexpected_errors;
};

/* Sums over all workers. */
void dispatcher_stats(const struct dispatcher *dispatcher, struct dispatch_stats *out);
void dispatcher_command_stats(const struct dispatcher *dispatcher, uint32_t command_id,
                              struct command_stats *out);
void dispatcher_reset_stats(struct dispatcher *dispatcher); /* Everything parked. */

/* Error replies by first word ("ERR", "WRONGTYPE"): calls `visit` for each. */
void dispatcher_error_stats(struct dispatcher *dispatcher,
                            void (*visit)(void *arg, const char *code, uint64_t count), void *arg);

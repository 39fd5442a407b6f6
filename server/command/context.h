/* What a handler gets, and the doors through which it reaches keys.
 *
 * A handler sees one `struct command_context` and nothing global: arguments, reply writer, the keys
 * that its class lets it touch, the clock (which stands still during an execution unit), a random
 * source. It reads and changes keys only through the functions below, which hide expired keys, give
 * old values to running snapshots, wake watchers and note what must be propagated.
 *
 * The pattern of a write:
 *
 *     struct key key = context_key(context, 1);
 *     struct table_entry entry;
 *     if (!context_find_for_write(context, &key, &entry)) ... create: context_insert_take(...)
 *     else change the value in place, or context_replace_take(...)
 *     context_changed(context, &key, EVENT_STRING, "append");
 *
 * A write that changed nothing calls no context_changed: nothing is propagated, no watcher wakes.
 * A command that changed something is propagated as it was sent unless the handler says otherwise
 * (context_propagate: effects, not requests; see spec/aof.md 9 and 10).
 */
#pragma once

#include "server/command/command.h"
#include "server/command/session.h"
#include "server/journal/journal.h"
#include "server/keyspace/keyspace.h"
#include "server/resp/reply.h"

struct dispatcher;
struct dispatch_worker;
struct key_waiter;
struct config;
struct network;
struct replication;
struct pubsub;
struct acl;
struct cluster;
struct migrator;
struct snapshotter;
struct aof;
struct observer;
struct admin;
struct lifecycle;
struct scripts;

/* The modules above this floor, for their own handlers: wired by main, opaque to everybody else. */
struct command_modules {
    struct dispatcher *dispatcher;
    struct command_table *commands;
    struct config *config;
    struct journal *journal;
    struct snapshotter *snapshotter;
    struct aof *aof;
    struct network *network;
    struct replication *replication;
    struct pubsub *pubsub;
    struct cluster *cluster; /* NULL outside cluster mode. */
    struct migrator *migrator;
    struct observer *observer;
    struct admin *admin;
    struct lifecycle *lifecycle;
    struct scripts *scripts;
    struct acl *acl;
};

struct command_context {
    const struct command *command;
    const struct bytes *argv;
    uint32_t argc;
    struct reply *reply;
    struct session *session;

    struct databases *databases;
    struct keyspace *keyspace; /* Of the session's database. */
    const struct data_type_options *types;
    const struct command_modules *modules;
    struct dispatch_worker *worker; /* The thread's own state: statistics, scratch. */
    struct rng *rng;
    int64_t now_ms; /* Unix time; the same during a whole execution unit. */

    bool is_primary; /* This node decides about expiry (it is no replica, or the key is its own). */
    bool is_from_primary; /* Applies the primary's stream: sees expired keys, is never refused. */
    bool is_journaled;    /* Somebody reads the journal: effects are wanted. */
    bool in_transaction;  /* Runs inside EXEC or a script. */
    bool in_script;
    bool is_exclusive; /* Everything else is parked: any slot may be touched. */

    /* Filled by the functions below. */
    uint64_t changes;          /* INFO's rdb_changes_since_last_save counts these. */
    bool has_effects;          /* context_propagate was called: not as it was sent. */
    struct journal_unit *unit; /* Effects so far, in order. */
    struct key_waiter *waiter; /* Runs again what has waited (blocking.h). */
    uint32_t key_argument;     /* Which argument `first_key` was made from; 0 = none. */
    struct key first_key;
};

/* -- keys -- */

/* The key that stands at argv[argument]. Cheap for a command's first key: dispatch has hashed it.
 */
struct key context_key(const struct command_context *context, uint32_t argument);
struct key context_key_of(const struct command_context *context, struct bytes name);

/* The value for reading, or NULL when the key is absent or expired. Counts a hit or a miss and
 * moves the access clock. An expired key is deleted on the way where this node decides about that.
 */
struct record *context_find(struct command_context *context, const struct key *key);

/* The same without statistics and access clock (TTL, TYPE, OBJECT, EXISTS semantics of NOTOUCH). */
struct record *context_peek(struct command_context *context, const struct key *key);

/* The value for a change: expires, gives the old value to snapshots, and says where the record
 * lies. False when the key is absent (entry->record is NULL). The entry holds until the next
 * change. */
bool context_find_for_write(struct command_context *context, const struct key *key,
                            struct table_entry *entry);

/* The same for a value that is replaced or deleted as a whole, or left alone: a huge one is then
 * not saved on this command's time. Only context_replace_take, context_put_take, context_delete,
 * context_unlink and string_store may follow. */
bool context_find_to_remove(struct command_context *context, const struct key *key,
                            struct table_entry *entry);

/* The record of this type for reading. NULL and out_failed false: absent. NULL and out_failed true:
 * it holds another type and WRONGTYPE was answered. */
struct record *context_find_typed(struct command_context *context, const struct key *key,
                                  enum record_type type, bool *out_failed);

/* For a change: true when the handler may go on (entry->record NULL when absent); false after
 * WRONGTYPE was answered. */
bool context_find_typed_for_write(struct command_context *context, const struct key *key,
                                  enum record_type type, struct table_entry *entry);

/* Another database's keyspace, for MOVE, COPY, SWAPDB: every function above works on
 * context->keyspace, so exchange it around the calls. */
struct keyspace *context_keyspace(struct command_context *context, uint32_t db);

/* -- changes -- */

/* A new key. The keyspace owns the record. */
void context_insert_take(struct command_context *context, const struct key *key,
                         struct record *record);

/* A new value for the key at `entry`; the old one is destroyed. The deadline is the new record's.
 */
void context_replace_take(struct command_context *context, const struct key *key,
                          struct table_entry *entry, struct record *record);

/* Puts the record whether the key is there or not (entry from context_find_for_write). */
void context_put_take(struct command_context *context, const struct key *key,
                      struct table_entry *entry, struct record *record);

/* The record moved in memory (record_with_*), its value being the same object. */
void context_moved(struct command_context *context, const struct key *key,
                   struct table_entry *entry, struct record *record, bool had_deadline);

void context_delete(struct command_context *context, const struct key *key,
                    struct table_entry *entry);

/* Deletes and frees big values in the background (UNLINK). */
void context_unlink(struct command_context *context, const struct key *key,
                    struct table_entry *entry);

/* Takes the record out without destroying it (RENAME, MOVE): the caller owns it. */
struct record *context_detach(struct command_context *context, const struct key *key,
                              struct table_entry *entry);

/* 0 removes the deadline. Returns the record, which may have moved. */
struct record *context_set_deadline(struct command_context *context, const struct key *key,
                                    struct table_entry *entry, int64_t deadline_ms);

/* Classes of keyspace events, as in notify-keyspace-events. */
enum {
    EVENT_GENERIC = 1 << 0,
    EVENT_STRING = 1 << 1,
    EVENT_LIST = 1 << 2,
    EVENT_SET = 1 << 3,
    EVENT_HASH = 1 << 4,
    EVENT_ZSET = 1 << 5,
    EVENT_EXPIRED = 1 << 6,
    EVENT_EVICTED = 1 << 7,
    EVENT_STREAM = 1 << 8,
    EVENT_NEW = 1 << 9,
    EVENT_MISS = 1 << 10,
    EVENT_MODULE = 1 << 11,
};

/* The key has changed: wakes watchers, counts the change, marks the command for propagation.
 * `event` names the keyspace event. Once for every changed
 * key. */
void context_changed(struct command_context *context, const struct key *key, unsigned event_class,
                     const char *event);

/* One more keyspace event of a key whose change was told by context_changed (SET with a time is
 * "set" and "expire"). Counts nothing. */
void context_event(struct command_context *context, const struct key *key, unsigned event_class,
                   const char *event);

/* -- propagation -- */

/* Adds an effect: a command that does the same on a replica or when a file is replayed. The first
 * call replaces the command as it was sent. Costs nothing while nobody reads the journal. */
void context_propagate(struct command_context *context, const struct bytes *argv, uint32_t argc);
void context_propagate_texts(struct command_context *context, uint32_t argc,
                             ...); /* const char * */
/* The same for what is nothing for the append-only file. */
void context_propagate_to_replicas(struct command_context *context, const struct bytes *argv,
                                   uint32_t argc);
/* Nothing is to be propagated for this command. */
void context_propagate_nothing(struct command_context *context);

/* -- arguments -- */

/* Reads an argument as an integer; answers "ERR value is not an integer or out of range" (or
 * `error` when it is not NULL, which begins with its code word) and returns false if it is none. */
bool context_integer(struct command_context *context, uint32_t argument, int64_t *out,
                     const char *error);
bool context_integer_in(struct command_context *context, uint32_t argument, int64_t min,
                        int64_t max, int64_t *out, const char *error);
bool context_double(struct command_context *context, uint32_t argument, double *out);
bool context_long_double(struct command_context *context, uint32_t argument, long double *out);
bool context_argument_is(const struct command_context *context, uint32_t argument,
                         const char *word);

/* "ERR wrong number of arguments for 'x' command" */
void context_arity_error(struct command_context *context);
/* "ERR unknown subcommand ..." for containers that decide themselves. */
void context_help(struct command_context *context, const char *const *lines);

#include "server/command/context.h"

#include <stdarg.h>
#include <stdio.h>

#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/command/command_internal.h"
#include "server/keyspace/access.h"

void context_init(struct command_context *context, struct dispatch_worker *worker,
                  struct session *session, int64_t now_ms) {
    struct dispatcher *dispatcher = worker->dispatcher;
    uint32_t admission = atomic_load_explicit(&dispatcher->admission, memory_order_relaxed);
    bool is_from_primary = session->kind == SESSION_PRIMARY || session->kind == SESSION_LOADER;
    worker->actor_id = session->id;
    *context = (struct command_context){
        .reply = &session->reply,
        .session = session,
        .databases = dispatcher->databases,
        .keyspace = databases_keyspace(dispatcher->databases, session->db),
        .types = dispatcher->types,
        .modules = dispatcher->modules,
        .worker = worker,
        .rng = &worker->rng,
        .now_ms = now_ms,
        .is_primary =
            (admission & (ADMISSION_REPLICA | ADMISSION_PAUSE_WRITES | ADMISSION_PAUSE_ALL)) == 0,
        .is_from_primary = is_from_primary,
        .is_journaled = !is_from_primary && dispatcher->modules->journal != NULL &&
                        journal_is_wanted(dispatcher->modules->journal) &&
                        ((admission & ADMISSION_REPLICA) == 0 ||
                         journal_is_logged(dispatcher->modules->journal)),
        .unit = &worker->unit,
    };
}

/* -- keys -- */

struct key context_key_of(const struct command_context *context, struct bytes name) {
    struct key key;
    key_init(&key, context->databases, name);
    return key;
}

struct key context_key(const struct command_context *context, uint32_t argument) {
    if (LIKELY(argument == context->key_argument)) return context->first_key;
    return context_key_of(context, context->argv[argument]);
}

struct keyspace *context_keyspace(struct command_context *context, uint32_t db) {
    return databases_keyspace(context->databases, db);
}

static inline bool is_expired(const struct command_context *context, const struct record *record) {
    return UNLIKELY(record_has_deadline(record)) && !context->is_from_primary &&
           record_deadline_ms(record) <= context->now_ms;
}

static void delete_expired(struct command_context *context, const struct key *key,
                           struct table_entry *entry) {
    // The name may lie in the record that goes away.
    if (context->is_journaled) {
        uint32_t effects_before = context->unit->count;
        struct bytes effect[2] = {context->types->lazy_expire ? BYTES_LITERAL("UNLINK")
                                                              : BYTES_LITERAL("DEL"),
                                  key->name};
        journal_unit_add(context->unit, keyspace_database(context->keyspace), effect, 2);
        journal_unit_mark_own(context->unit, effects_before);
    }
    dispatch_touch(context->worker, context->keyspace, key);
    keyspace_before_removal(context->keyspace, key, entry->record);
    dispatch_notify(context->worker, context->keyspace, key->name, EVENT_EXPIRED, "expired");
    keyspace_delete(context->keyspace, key, entry, true);
    context->worker->stats.expired_keys++;
}

/* The record of a key that lives, or NULL; an expired one goes on the way. */
static struct table_entry find_living(struct command_context *context, const struct key *key) {
    struct table_entry entry = keyspace_find_entry(context->keyspace, key);
    if (entry.record == NULL || LIKELY(!is_expired(context, entry.record))) return entry;
    if (context->is_primary) delete_expired(context, key, &entry);
    entry.record = NULL;
    return entry;
}

struct record *context_peek(struct command_context *context, const struct key *key) {
    return find_living(context, key).record;
}

/* Moves the access clock. */
static inline void note_use(const struct command_context *context, struct record *record) {
    const struct memory_options *options = &context->types->memory;
    uint32_t access = UNLIKELY(memory_is_lfu(options))
                          ? access_used(options, record, context->now_ms, context->rng)
                          : access_clock(context->now_ms);
    // Written only when it changes: a read should leave the line clean.
    if (record_access(record) != access) record_set_access(record, access);
}

struct record *context_find(struct command_context *context, const struct key *key) {
    struct record *record = find_living(context, key).record;
    if (record == NULL) {
        context->worker->stats.keyspace_misses++;
        dispatch_notify(context->worker, context->keyspace, key->name, EVENT_MISS, "keymiss");
        return NULL;
    }
    context->worker->stats.keyspace_hits++;
    if (!context->session->is_no_touch) note_use(context, record);
    return record;
}

static bool find_for_change(struct command_context *context, const struct key *key,
                            struct table_entry *entry, bool is_removal) {
    *entry = keyspace_find_entry(context->keyspace, key);
    if (entry->record == NULL) return false;
    if (UNLIKELY(is_expired(context, entry->record))) {
        // Also what a replica hides: a writable replica's write replaces it.
        delete_expired(context, key, entry);
        entry->record = NULL;
        return false;
    }
    if (is_removal) {
        keyspace_before_removal(context->keyspace, key, entry->record);
    } else {
        keyspace_before_change(context->keyspace, key, entry->record);
    }
    note_use(context, entry->record);
    return true;
}

bool context_find_for_write(struct command_context *context, const struct key *key,
                            struct table_entry *entry) {
    return find_for_change(context, key, entry, false);
}

bool context_find_to_remove(struct command_context *context, const struct key *key,
                            struct table_entry *entry) {
    return find_for_change(context, key, entry, true);
}

struct record *context_find_typed(struct command_context *context, const struct key *key,
                                  enum record_type type, bool *out_failed) {
    *out_failed = false;
    struct record *record = context_find(context, key);
    if (record == NULL || LIKELY(record_type(record) == type)) return record;
    *out_failed = true;
    reply_wrong_type(context->reply);
    return NULL;
}

bool context_find_typed_for_write(struct command_context *context, const struct key *key,
                                  enum record_type type, struct table_entry *entry) {
    if (!context_find_for_write(context, key, entry)) return true;
    if (LIKELY(record_type(entry->record) == type)) return true;
    reply_wrong_type(context->reply);
    return false;
}

/* -- changes -- */

void context_insert_take(struct command_context *context, const struct key *key,
                         struct record *record) {
    record_set_access(record, access_new(&context->types->memory, context->now_ms));
    keyspace_insert_take(context->keyspace, key, record);
    dispatch_notify(context->worker, context->keyspace, key->name, EVENT_NEW, "new");
}

void context_replace_take(struct command_context *context, const struct key *key,
                          struct table_entry *entry, struct record *record) {
    // A value that is replaced keeps how often its key is used.
    record_set_access(record, memory_is_lfu(&context->types->memory)
                                  ? record_access(entry->record)
                                  : access_clock(context->now_ms));
    keyspace_replace_take(context->keyspace, key, entry, record);
}

void context_put_take(struct command_context *context, const struct key *key,
                      struct table_entry *entry, struct record *record) {
    if (entry->record == NULL) {
        context_insert_take(context, key, record);
    } else {
        context_replace_take(context, key, entry, record);
    }
}

void context_moved(struct command_context *context, const struct key *key,
                   struct table_entry *entry, struct record *record, bool had_deadline) {
    keyspace_moved(context->keyspace, key, entry, record, had_deadline);
}

void context_delete(struct command_context *context, const struct key *key,
                    struct table_entry *entry) {
    keyspace_delete(context->keyspace, key, entry, true);
}

void context_unlink(struct command_context *context, const struct key *key,
                    struct table_entry *entry) {
    keyspace_delete(context->keyspace, key, entry, true);
}

struct record *context_detach(struct command_context *context, const struct key *key,
                              struct table_entry *entry) {
    return keyspace_detach(context->keyspace, key, entry);
}

struct record *context_set_deadline(struct command_context *context, const struct key *key,
                                    struct table_entry *entry, int64_t deadline_ms) {
    return keyspace_set_deadline(context->keyspace, key, entry, deadline_ms);
}

void context_changed(struct command_context *context, const struct key *key, unsigned event_class,
                     const char *event) {
    context->changes++;
    dispatch_touch(context->worker, context->keyspace, key);
    dispatch_notify(context->worker, context->keyspace, key->name, event_class, event);
}

void context_event(struct command_context *context, const struct key *key, unsigned event_class,
                   const char *event) {
    dispatch_notify(context->worker, context->keyspace, key->name, event_class, event);
}

/* -- propagation -- */

void context_propagate(struct command_context *context, const struct bytes *argv, uint32_t argc) {
    context->has_effects = true;
    if (context->is_journaled)
        journal_unit_add(context->unit, keyspace_database(context->keyspace), argv, argc);
}

void context_propagate_to_replicas(struct command_context *context, const struct bytes *argv,
                                   uint32_t argc) {
    uint32_t effects_before = context->unit->count;
    context_propagate(context, argv, argc);
    journal_unit_restrict(context->unit, effects_before, JOURNAL_FOR_REPLICAS);
}

void context_propagate_texts(struct command_context *context, uint32_t argc, ...) {
    enum { TEXTS_MAX = 16 };
    ASSERT(argc <= TEXTS_MAX);
    struct bytes argv[TEXTS_MAX];
    va_list args;
    va_start(args, argc);
    for (uint32_t i = 0; i < argc; i++)
        argv[i] = bytes_of_text(va_arg(args, const char *));
    va_end(args);
    context_propagate(context, argv, argc);
}

void context_propagate_nothing(struct command_context *context) {
    context->has_effects = true;
}

/* -- arguments -- */

bool context_integer(struct command_context *context, uint32_t argument, int64_t *out,
                     const char *error) {
    if (number_parse_i64(context->argv[argument], out)) return true;
    if (error == NULL) {
        reply_not_an_integer(context->reply);
    } else {
        reply_error(context->reply, error);
    }
    return false;
}

bool context_integer_in(struct command_context *context, uint32_t argument, int64_t min,
                        int64_t max, int64_t *out, const char *error) {
    int64_t value = 0;
    if (!context_integer(context, argument, &value, error)) return false;
    if (value < min || value > max) {
        if (error == NULL) {
            reply_error_format(context->reply,
                               "ERR value is out of range, value must between %lld and %lld",
                               (long long)min, (long long)max);
        } else {
            reply_error(context->reply, error);
        }
        return false;
    }
    *out = value;
    return true;
}

bool context_double(struct command_context *context, uint32_t argument, double *out) {
    if (number_parse_double(context->argv[argument], out)) return true;
    reply_error(context->reply, "ERR value is not a valid float");
    return false;
}

bool context_long_double(struct command_context *context, uint32_t argument, long double *out) {
    if (number_parse_long_double(context->argv[argument], out)) return true;
    reply_error(context->reply, "ERR value is not a valid float");
    return false;
}

bool context_argument_is(const struct command_context *context, uint32_t argument,
                         const char *word) {
    return argument < context->argc && bytes_equal_text_nocase(context->argv[argument], word);
}

void context_arity_error(struct command_context *context) {
    char name[96];
    command_full_name(context->command, name, sizeof(name));
    reply_error_format(context->reply, "ERR wrong number of arguments for '%s' command", name);
}

void context_help(struct command_context *context, const char *const *lines) {
    char name[64];
    const struct command *command = context->command;
    snprintf(name, sizeof(name), "%s",
             command->container != NULL ? command->container : command->name);
    for (char *c = name; *c != '\0'; c++)
        *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
    uint32_t count = 0;
    while (lines[count] != NULL)
        count++;
    char head[160];
    snprintf(head, sizeof(head),
             "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", name);
    reply_array(context->reply, count + 3);
    reply_simple(context->reply, head);
    for (uint32_t i = 0; i < count; i++)
        reply_simple(context->reply, lines[i]);
    reply_simple(context->reply, "HELP");
    reply_simple(context->reply, "    Prints this help.");
}

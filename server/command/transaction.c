#include "server/command/transaction.h"

#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/command/command_internal.h"

/* -- the queue -- */

void transaction_discard(struct session *session) {
    struct transaction *transaction = session->transaction;
    if (transaction == NULL) return;
    for (uint32_t i = 0; i < transaction->count; i++)
        mem_free(transaction->commands[i].argv);
    mem_free(transaction->commands);
    mem_free(transaction);
    session->transaction = NULL;
}

void transaction_fail(struct session *session) {
    if (session->transaction != NULL) session->transaction->is_failed = true;
}

uint32_t transaction_queued(const struct session *session) {
    return session->transaction == NULL ? 0 : session->transaction->count;
}

size_t transaction_bytes(const struct session *session) {
    const struct transaction *transaction = session->transaction;
    if (transaction == NULL) return 0;
    return sizeof(*transaction) + transaction->cap * sizeof(*transaction->commands) +
           transaction->argument_bytes;
}

void transaction_queue(struct session *session, const struct command_entry *entry,
                       enum command_class class, const struct bytes *argv, uint32_t argc) {
    struct transaction *transaction = session->transaction;
    size_t total = argc * sizeof(*argv);
    for (uint32_t i = 0; i < argc; i++)
        total += argv[i].len;
    struct bytes *copy = mem_alloc(total);
    transaction->argument_bytes += total;
    uint8_t *at = (uint8_t *)(copy + argc);
    for (uint32_t i = 0; i < argc; i++) {
        copy[i] = bytes_of(at, argv[i].len);
        if (argv[i].len > 0) memcpy(at, argv[i].data, argv[i].len);
        at += argv[i].len;
    }
    if (transaction->count == transaction->cap) {
        transaction->cap = transaction->cap == 0 ? 4 : transaction->cap * 2;
        transaction->commands =
            mem_realloc(transaction->commands, transaction->cap * sizeof(*transaction->commands));
    }
    transaction->commands[transaction->count++] = (struct queued_command){entry, copy, argc};
    transaction->flags |= entry->row->flags;
    transaction->missing_flags |= ~entry->row->flags;
    // What touches no key runs inside EXEC all the same, but whole-keyspace readers want calm.
    if (class == COMMAND_CLASS_EXCLUSIVE ||
        (entry->row->flags & COMMAND_TOUCHES_ARBITRARY_KEYS) != 0)
        transaction->is_exclusive = true;
}

/* -- watches -- */

struct bytes slot_watcher_name(const struct slot_watcher *watcher) {
    return bytes_of(watcher->name, watcher->name_len);
}

void transaction_touch(struct databases *databases, const struct keyspace *keyspace,
                       const struct key *key) {
    struct slot_watcher *watcher = databases_slot(databases, key->slot)->watchers;
    for (; watcher != NULL; watcher = watcher->next_in_slot) {
        if (watcher->order == key->order && watcher->db == keyspace_database(keyspace) &&
            bytes_equal(slot_watcher_name(watcher), key->name))
            atomic_store_explicit(&watcher->session->is_dirty, true, memory_order_relaxed);
    }
}

static bool exists_in(const struct keyspace *keyspace, const struct slot_watcher *watcher) {
    if (keyspace == NULL) return false;
    struct key key = {slot_watcher_name(watcher), watcher->order, watcher->slot};
    return keyspace_find(keyspace, &key) != NULL;
}

void transaction_touch_all(struct databases *databases, unsigned db, const struct keyspace *other) {
    const struct keyspace *present = databases_keyspace_if_any(databases, db);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        struct slot_watcher *watcher = databases_slot(databases, (uint16_t)slot)->watchers;
        for (; watcher != NULL; watcher = watcher->next_in_slot) {
            if (watcher->db != db) continue;
            if (!exists_in(present, watcher) && !exists_in(other, watcher)) continue;
            atomic_store_explicit(&watcher->session->is_dirty, true, memory_order_relaxed);
        }
    }
}

static void unlink_watcher(struct slot_watcher *watcher) {
    *watcher->link_in_slot = watcher->next_in_slot;
    if (watcher->next_in_slot != NULL) watcher->next_in_slot->link_in_slot = watcher->link_in_slot;
}

void transaction_unwatch(struct databases *databases, struct session *session, bool is_exclusive) {
    if (session->watches == NULL) return;
    struct slot_watcher *watcher = session->watches->first;
    while (watcher != NULL) {
        struct slot_watcher *next = watcher->next_in_session;
        struct slot *slot = databases_slot(databases, watcher->slot);
        if (!is_exclusive) slot_lock_acquire(&slot->lock);
        unlink_watcher(watcher);
        if (!is_exclusive) slot_lock_release(&slot->lock);
        mem_free(watcher);
        watcher = next;
    }
    mem_free(session->watches);
    session->watches = NULL;
    atomic_store_explicit(&session->is_dirty, false, memory_order_relaxed);
}

static bool is_watched(const struct session *session, uint32_t db, const struct key *key) {
    if (session->watches == NULL) return false;
    const struct slot_watcher *watcher = session->watches->first;
    for (; watcher != NULL; watcher = watcher->next_in_session) {
        if (watcher->order == key->order && watcher->db == db &&
            bytes_equal(slot_watcher_name(watcher), key->name))
            return true;
    }
    return false;
}

static void watch_key(struct command_context *context, const struct key *key) {
    struct session *session = context->session;
    if (is_watched(session, session->db, key)) return;
    if (session->watches == NULL) session->watches = mem_alloc_zero(sizeof(*session->watches));
    struct slot *slot = databases_slot(context->databases, key->slot);
    struct slot_watcher *watcher = mem_alloc(sizeof(*watcher) + key->name.len);
    struct record *record = keyspace_find(context->keyspace, key);
    *watcher = (struct slot_watcher){
        .next_in_slot = slot->watchers,
        .link_in_slot = &slot->watchers,
        .next_in_session = session->watches->first,
        .session = session,
        .db = session->db,
        .slot = key->slot,
        .order = key->order,
        .was_expired = record != NULL && record_has_deadline(record) &&
                       record_deadline_ms(record) <= context->now_ms,
        .name_len = key->name.len,
    };
    if (key->name.len > 0) memcpy(watcher->name, key->name.data, key->name.len);
    if (slot->watchers != NULL) slot->watchers->link_in_slot = &watcher->next_in_slot;
    slot->watchers = watcher;
    session->watches->first = watcher;
    session->watches->count++;
}

/* Whether a watched key has expired since WATCH; its slots are locked. */
static bool watched_key_expired(struct command_context *context) {
    if (context->session->watches == NULL) return false;
    const struct slot_watcher *watcher = context->session->watches->first;
    for (; watcher != NULL; watcher = watcher->next_in_session) {
        if (watcher->was_expired) continue;
        struct keyspace *keyspace = databases_keyspace_if_any(context->databases, watcher->db);
        if (keyspace == NULL) continue;
        struct key key = {slot_watcher_name(watcher), watcher->order, watcher->slot};
        struct record *record = keyspace_find(keyspace, &key);
        if (record != NULL && record_has_deadline(record) &&
            record_deadline_ms(record) <= context->now_ms)
            return true;
    }
    return false;
}

/* -- commands -- */

static void multi(struct command_context *context) {
    if (context->session->transaction != NULL) {
        reply_error(context->reply, "ERR MULTI calls can not be nested");
        return;
    }
    context->session->transaction = mem_alloc_zero(sizeof(struct transaction));
    reply_ok(context->reply);
}

static void discard(struct command_context *context) {
    if (context->session->transaction == NULL) {
        reply_error(context->reply, "ERR DISCARD without MULTI");
        return;
    }
    transaction_discard(context->session);
    transaction_unwatch(context->databases, context->session, false);
    reply_ok(context->reply);
}

static void watch(struct command_context *context) {
    if (context->session->transaction != NULL) {
        reply_error(context->reply, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    // A dirty session cannot get clean again by watching more.
    for (uint32_t i = 1; i < context->argc; i++) {
        struct key key = context_key(context, i);
        watch_key(context, &key);
    }
    reply_ok(context->reply);
}

static void unwatch(struct command_context *context) {
    transaction_unwatch(context->databases, context->session,
                        context->in_transaction || context->is_exclusive);
    reply_ok(context->reply);
}

/* Runs with the slots of all queued commands and of the watched keys locked, or everybody parked.
 */
static void exec(struct command_context *context) {
    struct session *session = context->session;
    struct transaction *transaction = session->transaction;
    if (transaction == NULL) {
        reply_error(context->reply, "ERR EXEC without MULTI");
        return;
    }
    bool is_dirty = atomic_load_explicit(&session->is_dirty, memory_order_relaxed) ||
                    watched_key_expired(context);
    session->transaction = NULL;
    // The slots of the watched keys are locked already.
    transaction_unwatch(context->databases, session, true);
    if (transaction->is_failed) {
        reply_error(context->reply, "EXECABORT Transaction discarded because of previous errors.");
    } else if (is_dirty) {
        reply_null_array(context->reply);
    } else {
        reply_array(context->reply, transaction->count);
        for (uint32_t i = 0; i < transaction->count; i++) {
            struct queued_command *queued = &transaction->commands[i];
            struct command_context inner;
            dispatch_inner_init(&inner, context, session, queued->entry, queued->argv,
                                queued->argc);
            if (access_admit_queued(context->modules->dispatcher, session, queued->entry,
                                    queued->argv, queued->argc))
                dispatch_inner(&inner, queued->entry);
        }
    }
    context_propagate_nothing(context); // The commands have noted their own effects.
    session->transaction = transaction;
    transaction_discard(session);
}

static const struct argument watch_arguments[] = {
    {.name = "key", .kind = ARGUMENT_KEY, .is_multiple = true},
    {.name = NULL},
};

const struct command transaction_commands[] = {
    {
        .name = "multi",
        .arity = 1,
        .group = GROUP_TRANSACTIONS,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_NO_SCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST |
                 COMMAND_ALLOW_BUSY | COMMAND_TRANSACTION,
        .categories = CATEGORY_TRANSACTION,
        .handler = multi,
        .since = "1.2.0",
        .summary = "Starts a transaction: following commands are queued until EXEC",
        .complexity = "O(1)",
    },
    {
        .name = "exec",
        .arity = 1,
        .group = GROUP_TRANSACTIONS,
        .class = COMMAND_CLASS_KEYS,
        .flags = COMMAND_NO_SCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_SKIP_SLOWLOG |
                 COMMAND_TRANSACTION,
        .categories = CATEGORY_TRANSACTION,
        .handler = exec,
        .since = "1.2.0",
        .summary = "Runs all queued commands of the transaction",
        .complexity = "Depends on commands in the transaction",
    },
    {
        .name = "discard",
        .arity = 1,
        .group = GROUP_TRANSACTIONS,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_NO_SCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST |
                 COMMAND_ALLOW_BUSY | COMMAND_TRANSACTION,
        .categories = CATEGORY_TRANSACTION,
        .handler = discard,
        .since = "2.0.0",
        .summary = "Drops the queued commands and ends the transaction",
        .complexity = "O(N), when N is the number of queued commands",
    },
    {
        .name = "watch",
        .arity = -2,
        .group = GROUP_TRANSACTIONS,
        .class = COMMAND_CLASS_KEYS,
        .flags = COMMAND_NO_SCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST |
                 COMMAND_ALLOW_BUSY | COMMAND_TRANSACTION,
        .categories = CATEGORY_TRANSACTION,
        .keys = KEYS_RANGE(1, -1, 1, KEY_RO),
        .handler = watch,
        .since = "2.2.0",
        .summary = "Makes the next EXEC fail if one of the keys changes before it",
        .complexity = "O(1) for every key.",
        .arguments = watch_arguments,
    },
    {
        .name = "unwatch",
        .arity = 1,
        .group = GROUP_TRANSACTIONS,
        .class = COMMAND_CLASS_CLIENT,
        .flags =
            COMMAND_NO_SCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST | COMMAND_ALLOW_BUSY,
        .categories = CATEGORY_TRANSACTION,
        .handler = unwatch,
        .since = "2.2.0",
        .summary = "Forgets all watched keys of this connection",
        .complexity = "O(1)",
    },
    COMMAND_END,
};

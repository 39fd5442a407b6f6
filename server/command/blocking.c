#include "server/command/blocking.h"

#include <math.h>
#include <stdlib.h>

#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/command/command_internal.h"
#include "server/command/running.h"

/* One key of a waiter, in the queue of that key. */
struct wait_entry {
    struct wait_entry *next;
    struct wait_entry *previous;
    struct wait_queue *queue;
    struct key_waiter *waiter;
};

/* All who wait for one key, in order of arrival. Exists while it is not empty. */
struct wait_queue {
    struct wait_queue *next; /* In the slot. */
    struct wait_entry *first;
    struct wait_entry *last;
    uint64_t order;
    uint32_t db;
    bool is_noted; /* In the list of a worker that has the slot locked. */
    size_t name_len;
    uint8_t name[];
};

struct key_waiter {
    _Atomic bool is_queued; /* Written with all its slots locked, or with the first one. */
    struct dispatch_worker *owner;
    struct session *session; /* The owner's thread alone looks at it. */
    uint64_t session_id;
    uint64_t attempt;     /* The last round of serving in which it was tried. */
    struct session proxy; /* In whose name it runs again: the client's database and protocol. */
    struct buffer out;
    const struct command_entry *entry;
    struct bytes *argv; /* Everything in one allocation. */
    uint32_t argc;
    enum record_type type;
    bool wants_loss;
    bool is_still_blocked; /* Told by context_block while it runs again. */
    struct wait_entry *entries;
    struct key *keys; /* All keys of the command: the first `entry_count` are waited for. */
    uint32_t entry_count;
    uint32_t key_count;
    uint16_t slots[LOCK_MAX + 1]; /* Of all keys, ascending. */
    uint32_t slot_count;          /* LOCK_MAX + 1: too many, only an exclusive section will do. */
};

struct noted_key {
    uint32_t db;
    uint16_t slot;
    uint64_t order;
    size_t name_len;
    uint8_t *name;
};

static struct bytes queue_name(const struct wait_queue *queue) {
    return bytes_of(queue->name, queue->name_len);
}

static struct slot *slot_of(const struct dispatch_worker *worker, uint16_t slot) {
    return databases_slot(worker->dispatcher->databases, slot);
}

/* -- queues -- */

static struct wait_queue *find_queue(const struct slot *slot, uint32_t db, uint64_t order,
                                     struct bytes name) {
    struct wait_queue *queue = slot->waiters;
    while (queue != NULL &&
           (queue->db != db || queue->order != order || !bytes_equal(queue_name(queue), name)))
        queue = queue->next;
    return queue;
}

static void enqueue(struct slot *slot, uint32_t db, const struct key *key,
                    struct wait_entry *entry) {
    struct wait_queue *queue = find_queue(slot, db, key->order, key->name);
    if (queue == NULL) {
        queue = mem_alloc(sizeof(*queue) + key->name.len);
        *queue = (struct wait_queue){
            .next = slot->waiters, .order = key->order, .db = db, .name_len = key->name.len};
        if (key->name.len > 0) memcpy(queue->name, key->name.data, key->name.len);
        slot->waiters = queue;
    }
    entry->queue = queue;
    entry->previous = queue->last;
    entry->next = NULL;
    *(queue->last == NULL ? &queue->first : &queue->last->next) = entry;
    queue->last = entry;
}

static void dequeue(struct slot *slot, struct wait_entry *entry) {
    struct wait_queue *queue = entry->queue;
    *(entry->previous == NULL ? &queue->first : &entry->previous->next) = entry->next;
    *(entry->next == NULL ? &queue->last : &entry->next->previous) = entry->previous;
    entry->queue = NULL;
    if (queue->first != NULL) return;
    struct wait_queue **link = (struct wait_queue **)&slot->waiters;
    while (*link != queue)
        link = &(*link)->next;
    *link = queue->next;
    mem_free(queue);
}

static void waiter_free(struct key_waiter *waiter) {
    if (waiter == NULL) return;
    buffer_deinit(&waiter->out);
    mem_free(waiter->argv);
    mem_free(waiter->entries);
    mem_free(waiter->keys);
    mem_free(waiter);
}

/* -- beginning to wait -- */

static void copy_arguments(struct key_waiter *waiter, const struct bytes *argv, uint32_t argc) {
    size_t total = argc * sizeof(struct bytes);
    for (uint32_t i = 0; i < argc; i++)
        total += argv[i].len;
    waiter->argv = mem_alloc(total);
    waiter->argc = argc;
    uint8_t *at = (uint8_t *)(waiter->argv + argc);
    for (uint32_t i = 0; i < argc; i++) {
        if (argv[i].len > 0) memcpy(at, argv[i].data, argv[i].len);
        waiter->argv[i] = bytes_of(at, argv[i].len);
        at += argv[i].len;
    }
}

static void add_key(struct key_waiter *waiter, struct databases *databases, struct bytes name) {
    key_init(&waiter->keys[waiter->key_count++], databases, name);
}

static int compare_slots(const void *a, const void *b) {
    return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

static void note_slots(struct key_waiter *waiter) {
    for (uint32_t i = 0; i < waiter->key_count; i++) {
        uint16_t slot = waiter->keys[i].slot;
        bool is_known = false;
        for (uint32_t k = 0; !is_known && k < waiter->slot_count; k++)
            is_known = waiter->slots[k] == slot;
        if (is_known) continue;
        waiter->slots[waiter->slot_count++] = slot;
        if (waiter->slot_count > LOCK_MAX) return;
    }
    qsort(waiter->slots, waiter->slot_count, sizeof(*waiter->slots), compare_slots);
}

/* The keys that are waited for (a name that is given twice counts once), then all the command's
 * other keys, since running it again needs their slots, too. */
static void collect_keys(struct key_waiter *waiter, const struct command_context *context,
                         const struct block_request *request) {
    const struct command *row = context->command;
    int total = command_keys(row, waiter->argv, waiter->argc, NULL, NULL, 0);
    uint32_t count = total > 0 ? (uint32_t)total : 0;
    uint32_t *positions = mem_alloc((count + 1) * sizeof(*positions));
    command_keys(row, waiter->argv, waiter->argc, positions, NULL, count);
    waiter->keys = mem_alloc((request->key_count + count) * sizeof(*waiter->keys));
    for (uint32_t i = 0; i < request->key_count; i++) {
        struct bytes name = waiter->argv[request->first_key + i];
        bool is_known = false;
        for (uint32_t k = 0; !is_known && k < waiter->key_count; k++)
            is_known = bytes_equal(waiter->keys[k].name, name);
        if (!is_known) add_key(waiter, context->databases, name);
    }
    waiter->entry_count = waiter->key_count;
    for (uint32_t i = 0; i < count; i++)
        add_key(waiter, context->databases, waiter->argv[positions[i]]);
    mem_free(positions);
    note_slots(waiter);
}

static void time_is_over(struct session *session, void *arg) {
    struct dispatcher *dispatcher = arg;
    if (session->block != SESSION_BLOCKED_KEYS) return;
    if (!blocking_cancel(dispatcher, session, false)) return;
    blocking_reply_timeout(session);
    dispatcher->hooks.unblock(dispatcher->modules->network, session);
}

bool context_block(struct command_context *context, const struct block_request *request) {
    if (context->waiter != NULL) {
        context->waiter->is_still_blocked = true;
        return true;
    }
    struct session *session = context->session;
    struct dispatch_worker *worker = context->worker;
    struct dispatcher *dispatcher = worker->dispatcher;
    if (context->in_transaction || session->kind != SESSION_NORMAL) return false;
    ASSERT(session->waiter == NULL);
    struct key_waiter *waiter = mem_alloc_zero(sizeof(*waiter));
    waiter->owner = worker;
    waiter->session = session;
    waiter->session_id = session->id;
    waiter->entry = command_table_entry(context->modules->commands, context->command);
    waiter->type = request->type;
    waiter->wants_loss = request->wants_loss;
    session_init(&waiter->proxy, session->id, &waiter->out);
    waiter->proxy.db = session->db;
    waiter->proxy.reply.resp = session->reply.resp;
    waiter->proxy.reply.is_muted = session->reply.is_muted;
    session_trust(&waiter->proxy); // It was admitted.
    waiter->proxy.is_readonly = session->is_readonly;
    waiter->proxy.is_no_touch = session->is_no_touch;
    if (request->argv != NULL) {
        copy_arguments(waiter, request->argv, request->argc);
    } else {
        copy_arguments(waiter, context->argv, context->argc);
    }
    collect_keys(waiter, context, request);
    waiter->entries = mem_alloc_zero(waiter->entry_count * sizeof(*waiter->entries));
    for (uint32_t i = 0; i < waiter->entry_count; i++) {
        waiter->entries[i].waiter = waiter;
        enqueue(slot_of(worker, waiter->keys[i].slot), session->db, &waiter->keys[i],
                &waiter->entries[i]);
    }
    atomic_store(&waiter->is_queued, true);
    atomic_fetch_add(&dispatcher->waiter_count, 1);
    session->waiter = waiter;
    session->block = SESSION_BLOCKED_KEYS;
    // What ends behind the end of the calendar does not end.
    bool is_endless = request->timeout_ms == 0 || request->timeout_ms > INT64_MAX - context->now_ms;
    dispatcher->hooks.block(context->modules->network, session,
                            is_endless ? UINT64_MAX : (uint64_t)request->timeout_ms, time_is_over,
                            dispatcher);
    return true;
}

/* -- timeouts -- */

bool context_timeout_seconds(struct command_context *context, uint32_t argument, int64_t *out_ms) {
    long double seconds;
    if (!number_parse_long_double(context->argv[argument], &seconds) || isnan(seconds)) {
        reply_error(context->reply, "ERR timeout is not a float or out of range");
        return false;
    }
    // What milliseconds can't count is negative, too: so redis 7.0 says.
    if (seconds < 0 || seconds * 1000 > (long double)INT64_MAX) {
        reply_error(context->reply, "ERR timeout is negative");
        return false;
    }
    *out_ms = (int64_t)ceill(seconds * 1000);
    return true;
}

bool context_timeout_ms(struct command_context *context, uint32_t argument, int64_t *out_ms) {
    if (!context_integer(context, argument, out_ms,
                         "ERR timeout is not an integer or out of range"))
        return false;
    if (*out_ms < 0) {
        reply_error(context->reply, "ERR timeout is negative");
        return false;
    }
    return true;
}

/* -- noting -- */

static void note_queue(struct dispatch_worker *worker, uint16_t slot, struct wait_queue *queue) {
    if (queue->is_noted) return;
    queue->is_noted = true;
    if (worker->noted_count == worker->noted_cap) {
        worker->noted_cap = worker->noted_cap == 0 ? 8 : worker->noted_cap * 2;
        worker->noted = mem_realloc(worker->noted, worker->noted_cap * sizeof(*worker->noted));
    }
    struct noted_key *noted = &worker->noted[worker->noted_count++];
    *noted = (struct noted_key){queue->db, slot, queue->order, queue->name_len,
                                mem_alloc(queue->name_len + 1)};
    memcpy(noted->name, queue->name, queue->name_len);
}

void blocking_note(struct dispatch_worker *worker, struct slot *slot,
                   const struct keyspace *keyspace, const struct key *key) {
    struct wait_queue *queue = find_queue(slot, keyspace_database(keyspace), key->order, key->name);
    if (queue != NULL) note_queue(worker, key->slot, queue);
}

void blocking_note_all(struct dispatch_worker *worker) {
    if (atomic_load(&worker->dispatcher->waiter_count) == 0) return;
    for (unsigned i = 0; i < SLOT_COUNT; i++) {
        struct wait_queue *queue = slot_of(worker, (uint16_t)i)->waiters;
        for (; queue != NULL; queue = queue->next)
            note_queue(worker, (uint16_t)i, queue);
    }
}

/* -- serving -- */

static bool is_locked(const struct dispatch_worker *worker, uint16_t slot) {
    if (worker->is_exclusive) return true;
    for (uint32_t i = 0; i < worker->locked_count; i++) {
        if (worker->locked[i] == slot) return true;
    }
    return false;
}

static bool has_its_slots(const struct dispatch_worker *worker, const struct key_waiter *waiter) {
    if (worker->is_exclusive) return true;
    if (waiter->slot_count > LOCK_MAX) return false;
    for (uint32_t i = 0; i < waiter->slot_count; i++) {
        if (!is_locked(worker, waiter->slots[i])) return false;
    }
    return true;
}

/* Out of all queues. All its slots are locked. */
static void unqueue(struct dispatcher *dispatcher, struct key_waiter *waiter) {
    for (uint32_t i = 0; i < waiter->entry_count; i++) {
        if (waiter->entries[i].queue == NULL) continue;
        dequeue(databases_slot(dispatcher->databases, waiter->keys[i].slot), &waiter->entries[i]);
    }
    atomic_store(&waiter->is_queued, false);
    atomic_fetch_sub(&dispatcher->waiter_count, 1);
}

/* On the client's worker: hands over the reply of a waiter that was served. */
static void hand_over(struct session *session, void *arg) {
    struct key_waiter *waiter = arg;
    if (session != NULL && session->waiter == waiter) {
        struct dispatcher *dispatcher = waiter->owner->dispatcher;
        session->waiter = NULL;
        if (waiter->proxy.write_offset > session->write_offset)
            session->write_offset = waiter->proxy.write_offset;
        if (waiter->proxy.write_position > session->write_position)
            session->write_position = waiter->proxy.write_position;
        session->close_after_reply |= waiter->proxy.close_after_reply;
        reply_raw(&session->reply, buffer_view(&waiter->out));
        dispatcher->hooks.unblock(dispatcher->modules->network, session);
    }
    waiter_free(waiter);
}

static void deliver(struct dispatch_worker *worker, struct key_waiter *waiter) {
    struct dispatcher *dispatcher = worker->dispatcher;
    if (waiter->owner == worker && !worker->is_lent) {
        hand_over(waiter->session, waiter);
    } else {
        dispatcher->hooks.post(dispatcher->modules->network, waiter->session_id, hand_over, waiter);
    }
}

/* Runs the command of a waiter again; its slots are locked. */
static void attempt(struct dispatch_worker *worker, struct key_waiter *waiter) {
    struct session *proxy = &waiter->proxy;
    struct command_context context;
    context_init(&context, worker, proxy, worker->batch_wall_ms);
    context.command = waiter->entry->row;
    context.argv = waiter->argv;
    context.argc = waiter->argc;
    context.is_exclusive = worker->is_exclusive;
    context.waiter = waiter;
    waiter->is_still_blocked = false;
    proxy->command = context.command;
    uint32_t errors_before = proxy->reply.error_count;
    const struct command_context *outer = running_exchange(&context);
    context.command->handler(&context);
    running_exchange(outer);
    worker->stats.changes += context.changes;
    if (proxy->reply.error_count != errors_before)
        dispatch_count_error(worker, proxy->reply.last_error);
    dispatch_commit(worker, proxy);
    dispatch_note_need(worker, proxy, context.command);
    if (waiter->is_still_blocked) return;
    unqueue(worker->dispatcher, waiter);
    deliver(worker, waiter);
}

/* Whether what lies at the key now is of interest to the waiter. */
static bool may_go_on(const struct key_waiter *waiter, const struct record *record) {
    if (waiter->wants_loss) return true;
    return record != NULL && record_type(record) == (unsigned)waiter->type;
}

/* The first waiter of a noted key that has not been tried in this round and may go on. */
static struct key_waiter *next_waiter(struct dispatch_worker *worker, const struct noted_key *noted,
                                      uint64_t round) {
    struct dispatcher *dispatcher = worker->dispatcher;
    struct bytes name = bytes_of(noted->name, noted->name_len);
    struct wait_queue *queue =
        find_queue(slot_of(worker, noted->slot), noted->db, noted->order, name);
    if (queue == NULL) return NULL;
    struct keyspace *keyspace = databases_keyspace(dispatcher->databases, noted->db);
    struct key key = {name, noted->order, noted->slot};
    const struct record *record = keyspace_find(keyspace, &key);
    for (struct wait_entry *entry = queue->first; entry != NULL; entry = entry->next) {
        struct key_waiter *waiter = entry->waiter;
        if (atomic_load(&waiter->is_queued) && waiter->attempt != round &&
            may_go_on(waiter, record))
            return waiter;
    }
    return NULL;
}

static void forget_note(struct dispatch_worker *worker, const struct noted_key *noted) {
    struct wait_queue *queue = find_queue(slot_of(worker, noted->slot), noted->db, noted->order,
                                          bytes_of(noted->name, noted->name_len));
    if (queue != NULL) queue->is_noted = false;
}

/* Serves the waiters of one key whose slot is locked. False: one of them needs more slots. */
static bool serve_key(struct dispatch_worker *worker, const struct noted_key *noted,
                      uint64_t round) {
    for (;;) {
        struct key_waiter *waiter = next_waiter(worker, noted, round);
        if (waiter == NULL) return true;
        if (!has_its_slots(worker, waiter)) return false;
        waiter->attempt = round;
        attempt(worker, waiter);
    }
}

static uint64_t next_round(struct dispatch_worker *worker) {
    return atomic_fetch_add(&worker->dispatcher->serving_rounds, 1) + 1;
}

void blocking_serve_locked(struct dispatch_worker *worker) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < worker->noted_count; i++) {
        struct noted_key noted = worker->noted[i]; // The list may grow and move.
        bool is_done = false;
        if (is_locked(worker, noted.slot)) {
            forget_note(worker, &noted);
            is_done = serve_key(worker, &noted, next_round(worker));
        }
        if (is_done) {
            mem_free(noted.name);
        } else {
            worker->noted[kept++] = noted;
        }
    }
    worker->noted_count = kept;
}

/* Serves one waiter after the other, each with all its slots locked. */
static void serve_key_unlocked(struct dispatch_worker *worker, const struct noted_key *noted) {
    uint64_t round = next_round(worker);
    uint16_t slots[LOCK_MAX + 1] = {noted->slot};
    uint32_t slot_count = 1;
    for (;;) {
        bool is_exclusive = slot_count > LOCK_MAX;
        if (is_exclusive) {
            dispatch_exclusive_begin(worker);
        } else {
            dispatch_lock_slots(worker, slots, slot_count);
        }
        forget_note(worker, noted);
        struct key_waiter *waiter = next_waiter(worker, noted, round);
        while (waiter != NULL && has_its_slots(worker, waiter)) {
            waiter->attempt = round;
            attempt(worker, waiter);
            waiter = next_waiter(worker, noted, round);
        }
        if (waiter != NULL) {
            memcpy(slots, waiter->slots, sizeof(slots));
            slot_count = waiter->slot_count;
        }
        if (is_exclusive) {
            dispatch_exclusive_end(worker);
        } else {
            dispatch_unlock_slots(worker);
        }
        if (waiter == NULL) return;
    }
}

void blocking_serve(struct dispatch_worker *worker) {
    for (uint32_t i = 0; i < worker->noted_count; i++) {
        struct noted_key noted = worker->noted[i];
        serve_key_unlocked(worker, &noted);
        mem_free(noted.name);
    }
    worker->noted_count = 0;
}

/* -- ending a wait -- */

bool blocking_cancel(struct dispatcher *dispatcher, struct session *session, bool is_exclusive) {
    struct key_waiter *waiter = session->waiter;
    if (waiter == NULL) return false;
    // Whoever serves it has its first slot locked, too: what is read there decides.
    struct slot *first = databases_slot(dispatcher->databases, waiter->slots[0]);
    if (!is_exclusive) slot_lock_acquire(&first->lock);
    bool was_queued = atomic_exchange(&waiter->is_queued, false);
    if (!is_exclusive) slot_lock_release(&first->lock);
    if (!was_queued) return false;
    for (uint32_t i = 0; i < waiter->entry_count; i++) {
        struct slot *slot = databases_slot(dispatcher->databases, waiter->keys[i].slot);
        if (!is_exclusive) slot_lock_acquire(&slot->lock);
        dequeue(slot, &waiter->entries[i]);
        if (!is_exclusive) slot_lock_release(&slot->lock);
    }
    atomic_fetch_sub(&dispatcher->waiter_count, 1);
    return true;
}

void blocking_reply_timeout(struct session *session) {
    struct key_waiter *waiter = session->waiter;
    session->waiter = NULL;
    reply_null_array(&session->reply);
    waiter_free(waiter);
}

void blocking_reply_error(struct session *session, const char *text) {
    struct key_waiter *waiter = session->waiter;
    session->waiter = NULL;
    reply_error(&session->reply, text);
    waiter_free(waiter);
}

void blocking_forget(struct dispatcher *dispatcher, struct session *session, bool is_exclusive) {
    if (session->waiter == NULL) return;
    // One that was served belongs to the message that is on its way.
    if (blocking_cancel(dispatcher, session, is_exclusive)) waiter_free(session->waiter);
    session->waiter = NULL;
}

/* -- refusing -- */

void blocking_refuse(struct dispatch_worker *worker,
                     bool (*refuse)(void *arg, struct command_context *context, uint32_t flags,
                                    const struct key *keys, uint32_t key_count),
                     void *arg) {
    struct dispatcher *dispatcher = worker->dispatcher;
    for (unsigned i = 0; i < SLOT_COUNT && atomic_load(&dispatcher->waiter_count) > 0; i++) {
        struct wait_queue *queue = slot_of(worker, (uint16_t)i)->waiters;
        while (queue != NULL) {
            struct wait_entry *entry = queue->first;
            struct key_waiter *refused = NULL;
            for (; entry != NULL && refused == NULL; entry = entry->next) {
                struct key_waiter *waiter = entry->waiter;
                struct command_context context;
                context_init(&context, worker, &waiter->proxy, worker->batch_wall_ms);
                context.command = waiter->entry->row;
                context.argv = waiter->argv;
                context.argc = waiter->argc;
                context.is_exclusive = true;
                if (atomic_load(&waiter->is_queued) &&
                    refuse(arg, &context, waiter->entry->row->flags, waiter->keys,
                           waiter->key_count))
                    refused = waiter;
            }
            if (refused == NULL) {
                queue = queue->next;
                continue;
            }
            unqueue(dispatcher, refused);
            dispatcher->hooks.post(dispatcher->modules->network, refused->session_id, hand_over,
                                   refused);
            queue = slot_of(worker, (uint16_t)i)->waiters; // This one may be gone.
        }
    }
}

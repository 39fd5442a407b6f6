#include "server/command/long_reply.h"

#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/command/command_internal.h"

enum { PIECE = 64 * 1024 };

/* Covered by the lock of its key's slot, but for what says otherwise. */
struct long_reply {
    struct long_reply *next; /* In its slot, while the walk is not over. */
    struct long_reply **link;
    struct reply_walk walk;
    struct dispatcher *dispatcher;
    struct dispatch_worker *owner; /* The session's. */
    uint64_t session_id;
    struct keyspace *keyspace;
    struct key key;              /* Its name lies behind this struct. */
    bool is_over;                /* The walk has ended. */
    bool is_wanted;              /* A write to the key waits. */
    struct buffer gathered;      /* What is not yet appended to the session's output. */
    _Atomic size_t gathered_len; /* For the owner's look at limits. */
    struct buffer behind;        /* What is pushed to the session meanwhile; its thread's alone. */
    uint8_t resp;
    uint8_t name[];
};

static struct slot *slot_of(const struct long_reply *reply) {
    return databases_slot(reply->dispatcher->databases, reply->key.slot);
}

/* -- the slot's list; the slot is locked -- */

static void count_reply(struct dispatcher *dispatcher, int change) {
    pthread_mutex_lock(&dispatcher->holds_lock);
    dispatcher->long_reply_count += (uint32_t)change;
    dispatcher_set_admission(dispatcher, ADMISSION_LONG_REPLY, dispatcher->long_reply_count > 0);
    pthread_mutex_unlock(&dispatcher->holds_lock);
}

static void link_reply(struct long_reply *reply) {
    struct slot *slot = slot_of(reply);
    reply->next = slot->long_replies;
    reply->link = &slot->long_replies;
    if (reply->next != NULL) reply->next->link = &reply->next;
    slot->long_replies = reply;
    count_reply(reply->dispatcher, 1);
}

/* The walk is over: the key may change. */
static void end_walk(struct long_reply *reply) {
    reply->is_over = true;
    *reply->link = reply->next;
    if (reply->next != NULL) reply->next->link = reply->link;
    count_reply(reply->dispatcher, -1);
    struct dispatcher *dispatcher = reply->dispatcher;
    if (reply->is_wanted) dispatcher->hooks.retry_paused(dispatcher->modules->network);
}

static bool reads(const struct long_reply *reply, const struct keyspace *keyspace,
                  const struct key *key) {
    return reply->keyspace == keyspace && reply->key.order == key->order &&
           bytes_equal(reply->key.name, key->name);
}

/* -- gathering -- */

static void walk_on(struct long_reply *reply, const struct record *record, struct buffer *out,
                    size_t max_bytes) {
    struct reply writer = {.out = out, .resp = reply->resp};
    if (reply->walk.step(&reply->walk, record, &writer, max_bytes)) end_walk(reply);
}

static void gather(struct long_reply *reply, const struct record *record, size_t max_bytes) {
    walk_on(reply, record, &reply->gathered, max_bytes);
    atomic_store_explicit(&reply->gathered_len, reply->gathered.len, memory_order_relaxed);
}

static void gather_all(struct long_reply *reply, const struct record *record) {
    while (!reply->is_over)
        gather(reply, record, SIZE_MAX);
}

void long_reply_before_change(void *state, struct keyspace *keyspace, const struct key *key,
                              struct record *record) {
    struct dispatcher *dispatcher = state;
    struct long_reply *reply = databases_slot(dispatcher->databases, key->slot)->long_replies;
    for (struct long_reply *next = NULL; reply != NULL; reply = next) {
        next = reply->next;
        if (reads(reply, keyspace, key)) gather_all(reply, record);
    }
}

void long_reply_before_parting(void *state) {
    struct dispatcher *dispatcher = state;
    for (unsigned slot = 0; dispatcher->long_reply_count > 0 && slot < SLOT_COUNT; slot++) {
        struct long_reply *reply;
        while ((reply = databases_slot(dispatcher->databases, (uint16_t)slot)->long_replies) !=
               NULL)
            gather_all(reply, keyspace_find(reply->keyspace, &reply->key));
    }
}

/* On the owner's thread, posted by a write that waits: a piece, and again, until the walk is over.
 */
static void gather_posted(struct session *session, void *arg) {
    if (session == NULL || session->long_reply == NULL) return;
    struct long_reply *reply = session->long_reply;
    struct dispatch_worker *worker = reply->owner;
    const struct dispatch_hooks *hooks = &worker->dispatcher->hooks;
    dispatch_lock_slots(worker, &reply->key.slot, 1);
    if (!reply->is_over) gather(reply, keyspace_find(reply->keyspace, &reply->key), PIECE);
    bool is_over = reply->is_over;
    dispatch_unlock_slots(worker);
    hooks->pushed(reply->dispatcher->modules->network, session);
    if (!is_over)
        hooks->post(reply->dispatcher->modules->network, reply->session_id, gather_posted, arg);
}

bool long_reply_blocks(struct dispatcher *dispatcher, uint32_t db, const struct key *keys,
                       uint32_t count) {
    bool is_read = false;
    const struct keyspace *keyspace = databases_keyspace_if_any(dispatcher->databases, db);
    for (uint32_t i = 0; i < count; i++) {
        struct long_reply *reply =
            databases_slot(dispatcher->databases, keys[i].slot)->long_replies;
        for (; reply != NULL; reply = reply->next) {
            if (!reads(reply, keyspace, &keys[i])) continue;
            is_read = true;
            if (reply->is_wanted) continue;
            reply->is_wanted = true;
            dispatcher->hooks.post(dispatcher->modules->network, reply->session_id, gather_posted,
                                   NULL);
        }
    }
    return is_read;
}

/* -- the session's side -- */

static bool may_be_long(const struct command_context *context) {
    const struct session *session = context->session;
    return session->kind == SESSION_NORMAL && session->id != 0 && !context->in_transaction &&
           !context->is_exclusive && context->waiter == NULL && context->reply == &session->reply &&
           session->long_reply == NULL && context->worker->dispatcher->hooks.post != NULL;
}

void reply_walk_value(struct command_context *context, const struct key *key,
                      const struct record *record, const struct reply_walk *walk) {
    struct reply_walk now = *walk;
    if (context->reply->is_muted) return;
    bool is_whole = !may_be_long(context);
    while (!now.step(&now, record, context->reply, is_whole ? SIZE_MAX : PIECE)) {
        if (is_whole) continue;
        struct session *session = context->session;
        struct long_reply *reply = mem_alloc_zero(sizeof(*reply) + key->name.len);
        reply->walk = now;
        reply->dispatcher = context->worker->dispatcher;
        reply->owner = context->worker;
        reply->session_id = session->id;
        reply->keyspace = context->keyspace;
        reply->resp = session->reply.resp;
        if (key->name.len > 0) memcpy(reply->name, key->name.data, key->name.len);
        reply->key = (struct key){bytes_of(reply->name, key->name.len), key->order, key->slot};
        session->long_reply = reply;
        session->reply.out = &reply->behind;
        link_reply(reply);
        return;
    }
}

/* Moves what a buffer holds to the end of another one. */
static void move_buffer(struct buffer *to, struct buffer *from) {
    if (to->len == 0) {
        struct buffer empty = *to;
        *to = *from;
        *from = empty;
        buffer_clear(from);
        return;
    }
    buffer_append_bytes(to, buffer_view(from));
    buffer_clear(from);
}

static void free_reply(struct session *session) {
    struct long_reply *reply = session->long_reply;
    session->reply.out = session->out;
    session->long_reply = NULL;
    buffer_deinit(&reply->gathered);
    buffer_deinit(&reply->behind);
    mem_free(reply);
}

bool long_reply_continue(struct dispatch_worker *worker, struct session *session) {
    struct long_reply *reply = session->long_reply;
    dispatch_lock_slots(worker, &reply->key.slot, 1);
    if (reply->gathered.len > 0) {
        move_buffer(session->out, &reply->gathered);
        atomic_store_explicit(&reply->gathered_len, 0, memory_order_relaxed);
    } else if (!reply->is_over) {
        walk_on(reply, keyspace_find(reply->keyspace, &reply->key), session->out, PIECE);
    }
    bool is_over = reply->is_over;
    dispatch_unlock_slots(worker);
    if (!is_over) return true;
    if (reply->behind.len > 0) buffer_append_bytes(session->out, buffer_view(&reply->behind));
    free_reply(session);
    return false;
}

size_t long_reply_pending(const struct session *session) {
    const struct long_reply *reply = session->long_reply;
    if (LIKELY(reply == NULL)) return 0;
    return atomic_load_explicit(&reply->gathered_len, memory_order_relaxed) + reply->behind.len;
}

void long_reply_forget(struct session *session) {
    struct long_reply *reply = session->long_reply;
    if (LIKELY(reply == NULL)) return;
    struct slot_lock *lock = &slot_of(reply)->lock;
    slot_lock_acquire(lock);
    if (!reply->is_over) end_walk(reply);
    slot_lock_release(lock);
    free_reply(session);
}

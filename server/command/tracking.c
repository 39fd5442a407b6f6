#include "server/command/tracking.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/command/command_internal.h"

enum { FORGET_AT_ONCE = 16 }; /* Keys too many that one command takes care of. */

/* -- prefixes -- */

/* A prefix that broadcasting sessions have named. */
struct tracked_prefix {
    struct bytes text;
    struct session_ids sessions;
};

bool tracking_overlaps(struct bytes a, struct bytes b) {
    size_t len = a.len < b.len ? a.len : b.len;
    return len == 0 || memcmp(a.data, b.data, len) == 0;
}

static struct bytes copy_of(struct bytes text) {
    return bytes_of(bytes_copy_text(text), text.len);
}

static struct tracked_prefix *find_prefix(struct tracking *tracking, struct bytes text) {
    for (uint32_t i = 0; i < tracking->prefix_count; i++) {
        if (bytes_equal(tracking->prefixes[i].text, text)) return &tracking->prefixes[i];
    }
    return NULL;
}

static void add_to_prefix(struct tracking *tracking, struct bytes text, uint64_t session_id) {
    struct tracked_prefix *prefix = find_prefix(tracking, text);
    if (prefix == NULL) {
        uint32_t count = atomic_load(&tracking->prefix_count);
        tracking->prefixes =
            mem_realloc(tracking->prefixes, (count + 1) * sizeof(*tracking->prefixes));
        prefix = &tracking->prefixes[count];
        *prefix = (struct tracked_prefix){.text = copy_of(text)};
        atomic_store(&tracking->prefix_count, count + 1);
    }
    session_ids_add(&prefix->sessions, session_id);
}

static void remove_from_prefix(struct tracking *tracking, struct bytes text, uint64_t session_id) {
    struct tracked_prefix *prefix = find_prefix(tracking, text);
    if (prefix == NULL) return;
    session_ids_remove(&prefix->sessions, session_id);
    if (prefix->sessions.count > 0) return;
    mem_free((void *)prefix->text.data);
    session_ids_deinit(&prefix->sessions);
    uint32_t last = atomic_load(&tracking->prefix_count) - 1;
    *prefix = tracking->prefixes[last];
    atomic_store(&tracking->prefix_count, last);
}

static int compare_prefixes(const void *a, const void *b) {
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

static bool has_prefix(const struct session_tracking *own, struct bytes text) {
    for (uint32_t i = 0; i < own->prefix_count; i++) {
        if (bytes_equal(own->prefixes[i], text)) return true;
    }
    return false;
}

/* -- on and off -- */

void tracking_init(struct tracking *tracking) {
    pthread_rwlock_init(&tracking->lock, NULL);
    tracking->max_keys = UINT64_MAX;
}

void tracking_deinit(struct tracking *tracking) {
    ASSERT(tracking->prefix_count == 0);
    mem_free(tracking->prefixes);
    session_ids_deinit(&tracking->sessions);
    pthread_rwlock_destroy(&tracking->lock);
}

void tracking_start(struct dispatcher *dispatcher, struct session *session,
                    const struct tracking_mode *mode, const struct bytes *prefixes,
                    uint32_t prefix_count) {
    struct tracking *tracking = &dispatcher->tracking;
    static const struct bytes all = {(const uint8_t *)"", 0};
    bool is_new = session->tracking == NULL;
    if (is_new) session->tracking = mem_alloc_zero(sizeof(*session->tracking));
    struct session_tracking *own = session->tracking;
    own->mode = *mode;
    own->is_broken = false;
    if (mode->is_broadcast && prefix_count == 0) {
        prefixes = &all;
        prefix_count = 1;
    }
    pthread_rwlock_wrlock(&tracking->lock);
    if (is_new) {
        session_ids_add(&tracking->sessions, session->id);
        atomic_fetch_add(&tracking->session_count, 1);
    }
    for (uint32_t i = 0; mode->is_broadcast && i < prefix_count; i++) {
        if (has_prefix(own, prefixes[i])) continue;
        own->prefixes =
            mem_realloc(own->prefixes, (own->prefix_count + 1) * sizeof(*own->prefixes));
        own->prefixes[own->prefix_count++] = copy_of(prefixes[i]);
        add_to_prefix(tracking, prefixes[i], session->id);
    }
    pthread_rwlock_unlock(&tracking->lock);
    if (own->prefix_count > 1)
        qsort(own->prefixes, own->prefix_count, sizeof(*own->prefixes), compare_prefixes);
}

void tracking_stop(struct dispatcher *dispatcher, struct session *session) {
    struct tracking *tracking = &dispatcher->tracking;
    struct session_tracking *own = session->tracking;
    if (own == NULL) return;
    pthread_rwlock_wrlock(&tracking->lock);
    session_ids_remove(&tracking->sessions, session->id);
    for (uint32_t i = 0; i < own->prefix_count; i++)
        remove_from_prefix(tracking, own->prefixes[i], session->id);
    pthread_rwlock_unlock(&tracking->lock);
    atomic_fetch_sub(&tracking->session_count, 1);
    for (uint32_t i = 0; i < own->prefix_count; i++)
        mem_free((void *)own->prefixes[i].data);
    mem_free(own->prefixes);
    mem_free(own);
    session->tracking = NULL;
}

void dispatcher_limit_tracking(struct dispatcher *dispatcher, uint64_t max_keys) {
    dispatcher->tracking.max_keys = max_keys == 0 ? UINT64_MAX : max_keys;
}

void tracking_stats_read(struct dispatcher *dispatcher, struct tracking_stats *out) {
    struct tracking *tracking = &dispatcher->tracking;
    *out = (struct tracking_stats){
        .clients = atomic_load(&tracking->session_count),
        .keys = atomic_load(&tracking->key_count),
        .items = atomic_load(&tracking->item_count),
        .prefixes = atomic_load(&tracking->prefix_count),
    };
}

/* -- remembering what is read -- */

static void remember(struct dispatch_worker *worker, const struct keyspace *keyspace,
                     const struct key *key, uint64_t session_id) {
    struct tracking *tracking = &worker->dispatcher->tracking;
    struct slot *slot = databases_slot(worker->dispatcher->databases, key->slot);
    if (slot->tracked == NULL) slot->tracked = mem_alloc_zero(sizeof(*slot->tracked));
    struct record *record = table_find(slot->tracked, key->name, key->order);
    if (record == NULL) {
        record =
            record_create_pointer(&(struct record_spec){.type = RECORD_STRING, .key = key->name},
                                  mem_alloc_zero(sizeof(struct session_ids)));
        table_insert_take(slot->tracked, record, key->order, keyspace_hasher(keyspace));
        atomic_fetch_add_explicit(&tracking->key_count, 1, memory_order_relaxed);
    }
    struct session_ids *ids = record_pointer(record);
    if (session_ids_has(ids, session_id)) return;
    session_ids_add(ids, session_id);
    atomic_fetch_add_explicit(&tracking->item_count, 1, memory_order_relaxed);
}

void tracking_note_read(struct dispatch_worker *worker, const struct command_context *context) {
    const struct command *row = context->command;
    const struct session_tracking *own = context->session->tracking;
    if ((row->flags & COMMAND_READONLY) == 0 || (row->flags & COMMAND_PUBSUB) != 0) return;
    if (own->mode.is_broadcast) return;
    if (own->mode.is_opt_in && own->caching != TRACKING_CACHING_YES) return;
    if (own->mode.is_opt_out && own->caching == TRACKING_CACHING_NO) return;
    uint32_t on_stack[KEYS_ON_STACK];
    uint32_t *positions = on_stack;
    int count = command_keys(row, context->argv, context->argc, positions, NULL, KEYS_ON_STACK);
    if (count > KEYS_ON_STACK) {
        positions = mem_alloc((size_t)count * sizeof(*positions));
        command_keys(row, context->argv, context->argc, positions, NULL, (uint32_t)count);
    }
    for (int i = 0; i < count; i++) {
        struct key key = context_key_of(context, context->argv[positions[i]]);
        remember(worker, context->keyspace, &key, context->session->id);
    }
    if (positions != on_stack) mem_free(positions);
}

void tracking_after_command(struct session *session) {
    struct session_tracking *own = session->tracking;
    if (session->transaction != NULL) return; // What was said before MULTI counts until EXEC.
    if (!own->keeps_caching) own->caching = TRACKING_CACHING_DEFAULT;
    own->keeps_caching = false;
}

/* -- gathering what is to be told -- */

/* In worker->invalidations, with the ids and the key's bytes behind it. */
struct invalidation {
    uint64_t actor_id; /* Whose command changed it; 0: nobody's. */
    uint32_t id_count;
    uint32_t key_len;
    bool is_broadcast;
    bool is_told;
};

static void gather(struct dispatch_worker *worker, const struct session_ids *ids, struct bytes key,
                   bool is_broadcast) {
    struct invalidation head = {
        .actor_id = worker->actor_id,
        .id_count = ids->count,
        .key_len = (uint32_t)key.len,
        .is_broadcast = is_broadcast,
    };
    buffer_append(&worker->invalidations, &head, sizeof(head));
    buffer_append(&worker->invalidations, ids->items, ids->count * sizeof(*ids->items));
    buffer_append_bytes(&worker->invalidations, key);
}

static void free_tracked(struct tracking *tracking, struct record *record) {
    struct session_ids *ids = record_pointer(record);
    atomic_fetch_sub_explicit(&tracking->key_count, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&tracking->item_count, ids->count, memory_order_relaxed);
    session_ids_deinit(ids);
    mem_free(ids);
    record_free(record);
}

/* Takes a key out of its slot's table; the table goes with its last one. */
static void forget_key(struct dispatch_worker *worker, struct slot *slot, struct table_entry *entry,
                       const struct table_hasher *hasher) {
    free_tracked(&worker->dispatcher->tracking, table_detach(slot->tracked, entry, hasher));
    if (slot->tracked->count > 0) return;
    table_deinit(slot->tracked);
    mem_free(slot->tracked);
    slot->tracked = NULL;
}

void tracking_touch(struct dispatch_worker *worker, struct slot *slot,
                    const struct keyspace *keyspace, const struct key *key) {
    struct tracking *tracking = &worker->dispatcher->tracking;
    if (slot->tracked != NULL) {
        struct table_entry entry = table_find_entry(slot->tracked, key->name, key->order);
        if (entry.record != NULL) {
            gather(worker, record_pointer(entry.record), key->name, false);
            forget_key(worker, slot, &entry, keyspace_hasher(keyspace));
        }
    }
    if (atomic_load_explicit(&tracking->prefix_count, memory_order_relaxed) == 0) return;
    pthread_rwlock_rdlock(&tracking->lock);
    for (uint32_t i = 0; i < tracking->prefix_count; i++) {
        const struct tracked_prefix *prefix = &tracking->prefixes[i];
        if (key->name.len >= prefix->text.len && tracking_overlaps(key->name, prefix->text))
            gather(worker, &prefix->sessions, key->name, true);
    }
    pthread_rwlock_unlock(&tracking->lock);
}

/* -- telling -- */

/* Keys on their way to the sessions of one worker: behind the head lie the ids, then each key with
 * its length (uint32_t) before it. Without a key, everything is gone. */
struct notice {
    struct dispatcher *dispatcher;
    uint64_t actor_id;
    bool is_broadcast;
    uint32_t id_count;
    uint32_t key_count;
    size_t keys_len;
    uint64_t ids[];
};

static const uint8_t *notice_keys(const struct notice *notice) {
    return (const uint8_t *)(notice->ids + notice->id_count);
}

static void reply_keys(struct reply *reply, const uint8_t *keys, uint32_t count) {
    if (count == 0) {
        reply_null(reply);
        return;
    }
    reply_array(reply, count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t len;
        memcpy(&len, keys, sizeof(len));
        reply_bulk(reply, bytes_of(keys + sizeof(len), len));
        keys += sizeof(len) + len;
    }
}

/* What is told is no reply: CLIENT REPLY does not silence it. */
static void tell(struct dispatcher *dispatcher, struct session *session, bool is_redirected,
                 const uint8_t *keys, uint32_t count) {
    struct reply *reply = &session->reply;
    bool was_muted = reply->is_muted;
    if (!reply_is_resp3(reply) && (!is_redirected || !session_is_subscriber(session))) return;
    reply->is_muted = false;
    if (reply_is_resp3(reply)) {
        reply_push(reply, 2);
        reply_bulk_text(reply, "invalidate");
    } else {
        reply_array(reply, 3);
        reply_bulk_text(reply, "message");
        reply_bulk_text(reply, "__redis__:invalidate");
    }
    reply_keys(reply, keys, count);
    reply->is_muted = was_muted;
    dispatcher->hooks.pushed(dispatcher->modules->network, session);
}

/* A notice for the session that is told instead of the one that tracks. */
struct redirected {
    struct dispatcher *dispatcher;
    uint64_t origin_id;
    uint64_t target_id;
    uint32_t key_count;
    uint8_t keys[];
};

static void mark_broken(struct session *session, void *arg) {
    struct redirected *redirected = arg;
    struct dispatcher *dispatcher = redirected->dispatcher;
    struct session_tracking *own = session == NULL ? NULL : session->tracking;
    if (own != NULL && own->mode.redirect == redirected->target_id && !own->is_broken) {
        own->is_broken = true;
        if (reply_is_resp3(&session->reply)) {
            reply_push(&session->reply, 2);
            reply_bulk_text(&session->reply, "tracking-redir-broken");
            reply_integer(&session->reply, (int64_t)redirected->target_id);
            dispatcher->hooks.pushed(dispatcher->modules->network, session);
        }
    }
    mem_free(redirected);
}

static void tell_redirected(struct session *session, void *arg) {
    struct redirected *redirected = arg;
    struct dispatcher *dispatcher = redirected->dispatcher;
    if (session == NULL) {
        dispatcher->hooks.post(dispatcher->modules->network, redirected->origin_id, mark_broken,
                               redirected);
        return;
    }
    tell(dispatcher, session, true, redirected->keys, redirected->key_count);
    mem_free(redirected);
}

static void tell_session(const struct notice *notice, struct session *session) {
    struct dispatcher *dispatcher = notice->dispatcher;
    const struct tracking_mode *mode = &session->tracking->mode;
    if (mode->redirect == 0) {
        tell(dispatcher, session, false, notice_keys(notice), notice->key_count);
        return;
    }
    struct redirected *redirected = mem_alloc(sizeof(*redirected) + notice->keys_len);
    *redirected = (struct redirected){
        .dispatcher = dispatcher,
        .origin_id = session->id,
        .target_id = mode->redirect,
        .key_count = notice->key_count,
    };
    memcpy(redirected->keys, notice_keys(notice), notice->keys_len);
    dispatcher->hooks.post(dispatcher->modules->network, mode->redirect, tell_redirected,
                           redirected);
}

/* On the worker of the notice's sessions. */
static void hand_out(void *arg) {
    struct notice *notice = arg;
    const struct dispatch_hooks *hooks = &notice->dispatcher->hooks;
    for (uint32_t i = 0; i < notice->id_count; i++) {
        struct session *session = hooks->find(notice->dispatcher->modules->network, notice->ids[i]);
        if (session == NULL || session->tracking == NULL) continue;
        const struct tracking_mode *mode = &session->tracking->mode;
        bool is_flush = notice->key_count == 0;
        if (!is_flush && mode->is_broadcast != notice->is_broadcast) continue;
        if (!is_flush && mode->is_no_loop && notice->actor_id == session->id) continue;
        tell_session(notice, session);
    }
    mem_free(notice);
}

static void send_notice(struct dispatcher *dispatcher, const struct notice *head,
                        const uint64_t *ids, uint32_t id_count, struct bytes keys) {
    struct network *network = dispatcher->modules->network;
    const struct dispatch_hooks *hooks = &dispatcher->hooks;
    struct session_parts parts;
    session_parts_make(&parts, ids, id_count, network, hooks->worker_of);
    for (uint32_t worker = 0; worker < SESSION_WORKERS_MAX; worker++) {
        uint32_t count = parts.begins[worker + 1] - parts.begins[worker];
        if (count == 0) continue;
        struct notice *notice = mem_alloc(sizeof(*notice) + count * sizeof(*ids) + keys.len);
        *notice = *head;
        notice->dispatcher = dispatcher;
        notice->id_count = count;
        notice->keys_len = keys.len;
        memcpy(notice->ids, parts.ids + parts.begins[worker], count * sizeof(*ids));
        if (keys.len > 0) memcpy(notice->ids + count, keys.data, keys.len);
        if (hooks->is_worker(network, worker)) {
            hand_out(notice);
        } else {
            hooks->post_worker(network, worker, hand_out, notice);
        }
    }
    session_parts_deinit(&parts);
}

/* What was gathered, read one by one: head, ids and key. False at the end. */
struct gathered_reader {
    struct buffer *buffer;
    size_t at;
    size_t head_at;
    struct invalidation head;
    const uint8_t *ids; /* Not aligned. */
    const uint8_t *key;
};

static bool read_next(struct gathered_reader *reader) {
    if (reader->at >= reader->buffer->len) return false;
    const uint8_t *data = reader->buffer->data + reader->at;
    memcpy(&reader->head, data, sizeof(reader->head));
    reader->head_at = reader->at;
    reader->ids = data + sizeof(reader->head);
    reader->key = reader->ids + reader->head.id_count * sizeof(uint64_t);
    reader->at += (size_t)(reader->key + reader->head.key_len - data);
    return true;
}

static void mark_told(struct gathered_reader *reader) {
    reader->head.is_told = true;
    memcpy(reader->buffer->data + reader->head_at, &reader->head, sizeof(reader->head));
}

static void append_key(struct buffer *keys, const struct gathered_reader *reader) {
    buffer_append(keys, &reader->head.key_len, sizeof(reader->head.key_len));
    buffer_append(keys, reader->key, reader->head.key_len);
}

/* Whether both go to the same broadcasting sessions: one message can tell of both keys. */
static bool joins(const struct gathered_reader *a, const struct gathered_reader *b) {
    return !b->head.is_told && b->head.is_broadcast && a->head.actor_id == b->head.actor_id &&
           a->head.id_count == b->head.id_count &&
           memcmp(a->ids, b->ids, a->head.id_count * sizeof(uint64_t)) == 0;
}

/* Adds the keys of all further entries that go where this one goes; returns how many. */
static uint32_t join_others(const struct gathered_reader *first, struct buffer *keys) {
    struct gathered_reader other = *first;
    uint32_t joined = 0;
    while (read_next(&other)) {
        if (!joins(first, &other)) continue;
        append_key(keys, &other);
        mark_told(&other);
        joined++;
    }
    return joined;
}

void tracking_send(struct dispatch_worker *worker) {
    struct buffer gathered = worker->invalidations;
    worker->invalidations = (struct buffer){0};
    struct gathered_reader reader = {.buffer = &gathered};
    struct buffer keys = {0};
    struct buffer ids = {0};
    while (read_next(&reader)) {
        if (reader.head.is_told) continue;
        append_key(&keys, &reader);
        uint32_t joined = reader.head.is_broadcast ? join_others(&reader, &keys) : 0;
        buffer_append(&ids, reader.ids, reader.head.id_count * sizeof(uint64_t));
        send_notice(worker->dispatcher,
                    &(struct notice){
                        .actor_id = reader.head.actor_id,
                        .is_broadcast = reader.head.is_broadcast,
                        .key_count = 1 + joined,
                    },
                    (const uint64_t *)ids.data, reader.head.id_count, buffer_view(&keys));
        buffer_clear(&keys);
        buffer_clear(&ids);
    }
    buffer_deinit(&keys);
    buffer_deinit(&ids);
    buffer_deinit(&gathered);
}

/* -- everything, and too much -- */

void tracking_flush(struct dispatcher *dispatcher) {
    struct tracking *tracking = &dispatcher->tracking;
    if (atomic_load(&tracking->session_count) > 0) {
        pthread_rwlock_rdlock(&tracking->lock);
        send_notice(dispatcher, &(struct notice){.key_count = 0}, tracking->sessions.items,
                    tracking->sessions.count, bytes_of(NULL, 0));
        pthread_rwlock_unlock(&tracking->lock);
    }
    tracking_forget_all(dispatcher);
}

static void free_walked(void *arg, struct record *record) {
    free_tracked(arg, record);
}

void tracking_forget_all(struct dispatcher *dispatcher) {
    struct databases *databases = dispatcher->databases;
    if (atomic_load(&dispatcher->tracking.key_count) == 0) return;
    const struct table_hasher *hasher = keyspace_hasher(databases_keyspace(databases, 0));
    for (unsigned i = 0; i < SLOT_COUNT; i++) {
        struct slot *slot = databases_slot(databases, (uint16_t)i);
        if (slot->tracked == NULL) continue;
        table_walk(slot->tracked, 0, 0, hasher, free_walked, &dispatcher->tracking);
        table_deinit(slot->tracked);
        mem_free(slot->tracked);
        slot->tracked = NULL;
    }
}

/* Forgets a key of the slot, as if it had changed. */
static void forget_some_key(struct dispatch_worker *worker, uint16_t index) {
    struct databases *databases = worker->dispatcher->databases;
    struct slot *slot = databases_slot(databases, index);
    if (!worker->is_exclusive) dispatch_lock_slots(worker, &index, 1);
    if (slot->tracked != NULL) {
        struct record *record = table_random(slot->tracked, &worker->rng);
        struct key key;
        key_init(&key, databases, record_key(record));
        struct table_entry entry = table_find_entry(slot->tracked, key.name, key.order);
        gather(worker, record_pointer(record), key.name, false);
        forget_key(worker, slot, &entry, keyspace_hasher(databases_keyspace(databases, 0)));
    }
    if (!worker->is_exclusive) dispatch_unlock_slots(worker);
}

void tracking_shrink(struct dispatch_worker *worker) {
    struct tracking *tracking = &worker->dispatcher->tracking;
    uint16_t index = (uint16_t)(rng_next(&worker->rng) % SLOT_COUNT);
    uint32_t forgotten = 0;
    for (unsigned i = 0; i < SLOT_COUNT && forgotten < FORGET_AT_ONCE; i++) {
        if (atomic_load(&tracking->key_count) <= tracking->max_keys) break;
        const struct slot *slot = databases_slot(worker->dispatcher->databases, index);
        // Looked at without the lock to pass over what is empty; looked at again with it.
        if (__atomic_load_n(&slot->tracked, __ATOMIC_RELAXED) != NULL) {
            forget_some_key(worker, index);
            forgotten++;
        }
        index = (uint16_t)((index + 1) % SLOT_COUNT);
    }
    worker->actor_id = 0;
}

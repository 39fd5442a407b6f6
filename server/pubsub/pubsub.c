#define XXH_INLINE_ALL
#include "server/pubsub/pubsub.h"

#include <xxhash.h>

#include "server/base/glob.h"
#include "server/base/mem.h"
#include "server/base/rng.h"
#include "server/pubsub/pubsub_internal.h"

/* -- names -- */

static uint64_t name_order(const void *state, struct bytes name) {
    const uint64_t *seed = state;
    return XXH3_64bits_withSeed(name.data, name.len, *seed);
}

static struct table_hasher hasher_of(const struct pubsub *pubsub) {
    return (struct table_hasher){.order = name_order, .state = &pubsub->seed};
}

static struct stripe *stripe_of(struct pubsub *pubsub, enum subscription_kind kind,
                                uint64_t order) {
    // Patterns are all looked at for each message, so they lie together.
    return &pubsub->stripes[kind][kind == SUBSCRIPTION_PATTERN ? 0 : order % STRIPES];
}

struct pubsub *pubsub_create(const struct pubsub_hooks *hooks) {
    struct pubsub *pubsub = mem_alloc_zero(sizeof(*pubsub));
    struct rng rng;
    rng_seed_from_os(&rng);
    pubsub->seed = rng_next(&rng);
    pubsub->hooks = *hooks;
    for (int kind = 0; kind < KINDS; kind++) {
        for (int i = 0; i < STRIPES; i++)
            pthread_mutex_init(&pubsub->stripes[kind][i].lock, NULL);
    }
    return pubsub;
}

static void free_listeners(void *arg, struct record *record) {
    (void)arg;
    struct session_ids *listeners = record_pointer(record);
    session_ids_deinit(listeners);
    mem_free(listeners);
    record_free(record);
}

void pubsub_destroy(struct pubsub *pubsub) {
    if (pubsub == NULL) return;
    struct table_hasher hasher = hasher_of(pubsub);
    for (int kind = 0; kind < KINDS; kind++) {
        for (int i = 0; i < STRIPES; i++) {
            struct stripe *stripe = &pubsub->stripes[kind][i];
            table_walk(&stripe->table, 0, 0, &hasher, free_listeners, NULL);
            table_deinit(&stripe->table);
            pthread_mutex_destroy(&stripe->lock);
        }
    }
    mem_free(pubsub);
}

uint64_t pubsub_name_count(const struct pubsub *pubsub, enum subscription_kind kind) {
    return atomic_load(&pubsub->name_counts[kind]);
}

/* -- the directory -- */

static void add_listener(struct pubsub *pubsub, enum subscription_kind kind, struct bytes name,
                         uint64_t order, uint64_t session_id) {
    struct stripe *stripe = stripe_of(pubsub, kind, order);
    struct table_hasher hasher = hasher_of(pubsub);
    pthread_mutex_lock(&stripe->lock);
    struct record *record = table_find(&stripe->table, name, order);
    if (record == NULL) {
        record = record_create_pointer(&(struct record_spec){.type = RECORD_STRING, .key = name},
                                       mem_alloc_zero(sizeof(struct session_ids)));
        table_insert_take(&stripe->table, record, order, &hasher);
        atomic_fetch_add(&pubsub->name_counts[kind], 1);
    }
    session_ids_add(record_pointer(record), session_id);
    pthread_mutex_unlock(&stripe->lock);
}

static void remove_listener(struct pubsub *pubsub, enum subscription_kind kind, struct bytes name,
                            uint64_t order, uint64_t session_id) {
    struct stripe *stripe = stripe_of(pubsub, kind, order);
    struct table_hasher hasher = hasher_of(pubsub);
    pthread_mutex_lock(&stripe->lock);
    struct table_entry entry = table_find_entry(&stripe->table, name, order);
    if (entry.record != NULL) {
        struct session_ids *listeners = record_pointer(entry.record);
        session_ids_remove(listeners, session_id);
        if (listeners->count == 0) {
            free_listeners(NULL, table_detach(&stripe->table, &entry, &hasher));
            atomic_fetch_sub(&pubsub->name_counts[kind], 1);
        }
    }
    pthread_mutex_unlock(&stripe->lock);
}

uint64_t pubsub_listener_count(struct pubsub *pubsub, enum subscription_kind kind,
                               struct bytes name) {
    uint64_t order = name_order(&pubsub->seed, name);
    struct stripe *stripe = stripe_of(pubsub, kind, order);
    pthread_mutex_lock(&stripe->lock);
    const struct record *record = table_find(&stripe->table, name, order);
    uint64_t count = 0;
    if (record != NULL) count = ((const struct session_ids *)record_pointer(record))->count;
    pthread_mutex_unlock(&stripe->lock);
    return count;
}

void pubsub_walk_names(struct pubsub *pubsub, enum subscription_kind kind,
                       void (*visit)(void *arg, struct record *record), void *arg) {
    struct table_hasher hasher = hasher_of(pubsub);
    for (int i = 0; i < STRIPES; i++) {
        struct stripe *stripe = &pubsub->stripes[kind][i];
        pthread_mutex_lock(&stripe->lock);
        table_walk(&stripe->table, 0, 0, &hasher, visit, arg);
        pthread_mutex_unlock(&stripe->lock);
    }
}

/* -- a session's subscriptions -- */

bool pubsub_subscribe(struct pubsub *pubsub, struct session *session, enum subscription_kind kind,
                      struct bytes name) {
    uint64_t order = name_order(&pubsub->seed, name);
    struct table_hasher hasher = hasher_of(pubsub);
    if (session->subscriptions == NULL)
        session->subscriptions = mem_alloc_zero(sizeof(*session->subscriptions));
    struct table *own = &session->subscriptions->tables[kind];
    if (table_find(own, name, order) != NULL) return false;
    struct record *record = record_create(
        &(struct record_spec){.type = RECORD_STRING, .key = name, .payload = BYTES_LITERAL("")});
    table_insert_take(own, record, order, &hasher);
    session->subscribed[kind]++;
    session->subscription_bytes += mem_usable_size(record);
    add_listener(pubsub, kind, name, order, session->id);
    return true;
}

bool pubsub_unsubscribe(struct pubsub *pubsub, struct session *session, enum subscription_kind kind,
                        struct bytes name) {
    if (session->subscriptions == NULL) return false;
    uint64_t order = name_order(&pubsub->seed, name);
    struct table_hasher hasher = hasher_of(pubsub);
    struct table *own = &session->subscriptions->tables[kind];
    struct table_entry entry = table_find_entry(own, name, order);
    if (entry.record == NULL) return false;
    remove_listener(pubsub, kind, name, order, session->id);
    session->subscription_bytes -= mem_usable_size(entry.record);
    record_free(table_detach(own, &entry, &hasher)); // The name may lie in it.
    session->subscribed[kind]--;
    return true;
}

static bool is_subscribed(const struct pubsub *pubsub, const struct session *session,
                          enum subscription_kind kind, struct bytes name) {
    return session->subscriptions != NULL && table_find(&session->subscriptions->tables[kind], name,
                                                        name_order(&pubsub->seed, name)) != NULL;
}

static void note_record(void *arg, struct record *record) {
    struct name_list *list = arg;
    list->records[list->count++] = record;
}

void pubsub_list_own(struct pubsub *pubsub, const struct session *session,
                     enum subscription_kind kind, struct name_list *out) {
    out->count = 0;
    out->records = mem_alloc((session->subscribed[kind] + 1) * sizeof(*out->records));
    if (session->subscriptions == NULL) return;
    struct table_hasher hasher = hasher_of(pubsub);
    table_walk(&session->subscriptions->tables[kind], 0, 0, &hasher, note_record, out);
}

bool pubsub_each_own(struct pubsub *pubsub, const struct session *session, unsigned kind,
                     bool (*visit)(void *arg, struct bytes name), void *arg) {
    struct name_list list;
    bool goes_on = true;
    pubsub_list_own(pubsub, session, (enum subscription_kind)kind, &list);
    for (size_t i = 0; i < list.count && goes_on; i++)
        goes_on = visit(arg, record_key(list.records[i]));
    mem_free(list.records);
    return goes_on;
}

void pubsub_forget(struct pubsub *pubsub, struct session *session) {
    if (session->subscriptions == NULL) return;
    for (int kind = 0; kind < KINDS; kind++) {
        struct name_list list;
        pubsub_list_own(pubsub, session, (enum subscription_kind)kind, &list);
        for (size_t i = 0; i < list.count; i++)
            pubsub_unsubscribe(pubsub, session, (enum subscription_kind)kind,
                               record_key(list.records[i]));
        mem_free(list.records);
        table_deinit(&session->subscriptions->tables[kind]);
    }
    mem_free(session->subscriptions);
    session->subscriptions = NULL;
}

/* -- delivering -- */

/* A message for the listeners of one worker; names and message lie behind the ids. */
struct delivery {
    struct pubsub *pubsub;
    enum subscription_kind kind;
    struct bytes name; /* Of the channel or pattern that was listened to. */
    struct bytes channel;
    struct bytes message;
    uint32_t count;
    uint64_t ids[];
};

static void hand_out(void *arg) {
    static const char *const words[] = {"message", "pmessage", "smessage"};
    struct delivery *delivery = arg;
    struct pubsub *pubsub = delivery->pubsub;
    for (uint32_t i = 0; i < delivery->count; i++) {
        struct session *session = pubsub->hooks.find(pubsub->hooks.network, delivery->ids[i]);
        if (session == NULL || !is_subscribed(pubsub, session, delivery->kind, delivery->name))
            continue;
        struct reply *reply = &session->reply;
        bool was_muted = reply->is_muted; // CLIENT REPLY is about replies.
        reply->is_muted = false;
        bool is_pattern = delivery->kind == SUBSCRIPTION_PATTERN;
        reply_push(reply, is_pattern ? 4 : 3);
        reply_bulk_text(reply, words[delivery->kind]);
        if (is_pattern) reply_bulk(reply, delivery->name);
        reply_bulk(reply, delivery->channel);
        reply_bulk(reply, delivery->message);
        reply->is_muted = was_muted;
        pubsub->hooks.flush(pubsub->hooks.network, session);
    }
    mem_free(delivery);
}

static struct bytes place_copy(uint8_t **at, struct bytes bytes) {
    struct bytes copy = bytes_of(*at, bytes.len);
    if (bytes.len > 0) memcpy(*at, bytes.data, bytes.len);
    *at += bytes.len;
    return copy;
}

static struct delivery *delivery_create(struct pubsub *pubsub, enum subscription_kind kind,
                                        struct bytes name, struct bytes channel,
                                        struct bytes message, uint32_t count) {
    struct delivery *delivery = mem_alloc(sizeof(*delivery) + count * sizeof(uint64_t) + name.len +
                                          channel.len + message.len);
    uint8_t *at = (uint8_t *)(delivery->ids + count);
    *delivery = (struct delivery){.pubsub = pubsub, .kind = kind};
    delivery->name = place_copy(&at, name);
    delivery->channel = place_copy(&at, channel);
    delivery->message = place_copy(&at, message);
    return delivery;
}

/* Deliveries that wait until the directory's lock is given back. */
struct batch {
    struct delivery **items;
    uint32_t *workers;
    size_t count;
    size_t cap;
};

static void batch_add(struct batch *batch, struct delivery *delivery, uint32_t worker) {
    if (batch->count == batch->cap) {
        batch->cap = batch->cap == 0 ? 8 : batch->cap * 2;
        batch->items = mem_realloc(batch->items, batch->cap * sizeof(*batch->items));
        batch->workers = mem_realloc(batch->workers, batch->cap * sizeof(*batch->workers));
    }
    batch->items[batch->count] = delivery;
    batch->workers[batch->count++] = worker;
}

static void batch_send(struct pubsub *pubsub, struct batch *batch) {
    for (size_t i = 0; i < batch->count; i++) {
        if (pubsub->hooks.is_worker(pubsub->hooks.network, batch->workers[i])) {
            hand_out(batch->items[i]);
        } else {
            pubsub->hooks.post(pubsub->hooks.network, batch->workers[i], hand_out, batch->items[i]);
        }
    }
    mem_free(batch->items);
    mem_free(batch->workers);
}

/* A delivery for each worker that has listeners. */
static void collect(struct pubsub *pubsub, enum subscription_kind kind, struct bytes name,
                    struct bytes channel, struct bytes message, const struct session_ids *listeners,
                    struct batch *batch) {
    struct session_parts parts;
    session_parts_make(&parts, listeners->items, listeners->count, pubsub->hooks.network,
                       pubsub->hooks.worker_of);
    for (uint32_t worker = 0; worker < SESSION_WORKERS_MAX; worker++) {
        uint32_t count = parts.begins[worker + 1] - parts.begins[worker];
        if (count == 0) continue;
        struct delivery *delivery = delivery_create(pubsub, kind, name, channel, message, count);
        delivery->count = count;
        memcpy(delivery->ids, parts.ids + parts.begins[worker], count * sizeof(*delivery->ids));
        batch_add(batch, delivery, worker);
    }
    session_parts_deinit(&parts);
}

struct pattern_walk {
    struct pubsub *pubsub;
    struct bytes channel;
    struct bytes message;
    struct batch *batch;
    uint64_t receivers;
};

static void try_pattern(void *arg, struct record *record) {
    struct pattern_walk *walk = arg;
    struct bytes pattern = record_key(record);
    if (!glob_matches(pattern, walk->channel, false)) return;
    const struct session_ids *listeners = record_pointer(record);
    collect(walk->pubsub, SUBSCRIPTION_PATTERN, pattern, walk->channel, walk->message, listeners,
            walk->batch);
    walk->receivers += listeners->count;
}

uint64_t pubsub_publish(struct pubsub *pubsub, struct bytes channel, struct bytes message,
                        bool is_shard) {
    enum subscription_kind kind = is_shard ? SUBSCRIPTION_SHARD : SUBSCRIPTION_CHANNEL;
    uint64_t receivers = 0;
    struct batch batch = {0};
    if (pubsub_name_count(pubsub, kind) > 0) {
        uint64_t order = name_order(&pubsub->seed, channel);
        struct stripe *stripe = stripe_of(pubsub, kind, order);
        pthread_mutex_lock(&stripe->lock);
        const struct record *record = table_find(&stripe->table, channel, order);
        if (record != NULL) {
            const struct session_ids *listeners = record_pointer(record);
            collect(pubsub, kind, channel, channel, message, listeners, &batch);
            receivers += listeners->count;
        }
        pthread_mutex_unlock(&stripe->lock);
    }
    if (!is_shard && pubsub_name_count(pubsub, SUBSCRIPTION_PATTERN) > 0) {
        struct pattern_walk walk = {pubsub, channel, message, &batch, 0};
        struct stripe *stripe = &pubsub->stripes[SUBSCRIPTION_PATTERN][0];
        struct table_hasher hasher = hasher_of(pubsub);
        pthread_mutex_lock(&stripe->lock);
        table_walk(&stripe->table, 0, 0, &hasher, try_pattern, &walk);
        pthread_mutex_unlock(&stripe->lock);
        receivers += walk.receivers;
    }
    batch_send(pubsub, &batch);
    return receivers;
}

/* -- shard channels that go -- */

/* On the listeners' worker: ends their subscription and tells them so. */
static void end_subscription(void *arg) {
    struct delivery *delivery = arg;
    struct pubsub *pubsub = delivery->pubsub;
    for (uint32_t i = 0; i < delivery->count; i++) {
        struct session *session = pubsub->hooks.find(pubsub->hooks.network, delivery->ids[i]);
        if (session == NULL ||
            !pubsub_unsubscribe(pubsub, session, SUBSCRIPTION_SHARD, delivery->channel))
            continue;
        struct reply *reply = &session->reply;
        reply_push(reply, 3);
        reply_bulk_text(reply, "sunsubscribe");
        reply_bulk(reply, delivery->channel);
        reply_integer(reply, session->subscribed[SUBSCRIPTION_SHARD]);
        pubsub->hooks.flush(pubsub->hooks.network, session);
    }
    mem_free(delivery);
}

struct drop_walk {
    struct pubsub *pubsub;
    const uint8_t *slots;
    struct batch batch;
};

static void collect_dropped(void *arg, struct record *record) {
    struct drop_walk *walk = arg;
    struct bytes channel = record_key(record);
    uint16_t slot = key_hash_slot(channel);
    if ((walk->slots[slot / 8] >> slot % 8 & 1) == 0) return;
    collect(walk->pubsub, SUBSCRIPTION_SHARD, channel, channel, BYTES_LITERAL(""),
            record_pointer(record), &walk->batch);
}

void pubsub_drop_slots(struct pubsub *pubsub, const uint8_t *slots) {
    struct drop_walk walk = {.pubsub = pubsub, .slots = slots};
    if (pubsub_name_count(pubsub, SUBSCRIPTION_SHARD) == 0) return;
    pubsub_walk_names(pubsub, SUBSCRIPTION_SHARD, collect_dropped, &walk);
    for (size_t i = 0; i < walk.batch.count; i++)
        pubsub->hooks.post(pubsub->hooks.network, walk.batch.workers[i], end_subscription,
                           walk.batch.items[i]);
    mem_free(walk.batch.items);
    mem_free(walk.batch.workers);
}

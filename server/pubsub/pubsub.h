/* Channels: who listens to what, and what is said reaching everybody who does.
 *
 * A directory says which sessions listen to a channel, a pattern or a shard channel; each session
 * knows its own subscriptions, too. The directory is striped by name, and its locks are leaves: one
 * may publish with slots locked. A message is copied once for each worker that has listeners, and
 * that worker hands it to its clients; to those of the publishing worker it goes at once.
 *
 * What was unsubscribed from is not delivered any more, whatever is on its way: the session's own
 * subscriptions have the last word.
 */
#pragma once

#include "server/command/context.h"
#include "server/config/option.h"

struct pubsub;

enum subscription_kind { SUBSCRIPTION_CHANNEL, SUBSCRIPTION_PATTERN, SUBSCRIPTION_SHARD };

/* What the network has to supply: main wires it. */
struct pubsub_hooks {
    struct network *network;
    uint32_t (*worker_of)(const struct network *network, uint64_t session_id);
    /* True on the thread of this worker. */
    bool (*is_worker)(const struct network *network, uint32_t worker);
    void (*post)(struct network *network, uint32_t worker, void (*fn)(void *arg), void *arg);
    struct session *(*find)(struct network *network, uint64_t session_id);
    /* Bytes were written to the session's reply outside of a command of its own. */
    void (*flush)(struct network *network, struct session *session);
    /* Tells the other nodes of the cluster. Called only in a cluster. */
    void (*tell_cluster)(struct cluster *cluster, struct bytes channel, struct bytes message,
                         bool is_shard);
};

struct pubsub *pubsub_create(const struct pubsub_hooks *hooks);
void pubsub_destroy(struct pubsub *pubsub);

/* Says it to everybody on this node who listens. Any thread, slots locked or not. Returns how many
 * receive it: a session counts for its channel and for each of its patterns that matches. */
uint64_t pubsub_publish(struct pubsub *pubsub, struct bytes channel, struct bytes message,
                        bool is_shard);

/* Ends all subscriptions of a session without a word. On its worker. */
void pubsub_forget(struct pubsub *pubsub, struct session *session);

/* A session's own subscriptions of one kind, until `visit` returns false; that is returned then. On
 * its worker or with everything parked. */
bool pubsub_each_own(struct pubsub *pubsub, const struct session *session, unsigned kind,
                     bool (*visit)(void *arg, struct bytes name), void *arg);

/* Ends those to shard channels of these slots (bit s % 8 of byte s / 8), and tells their listeners
 * so. Any thread. */
void pubsub_drop_slots(struct pubsub *pubsub, const uint8_t *slots);

/* How many names have a listener. Any thread. */
uint64_t pubsub_name_count(const struct pubsub *pubsub, enum subscription_kind kind);

extern const struct command pubsub_commands[];

/* -- keyspace events -- */

/* notify-keyspace-events: classes (EVENT_*), and which of the two kinds of channels they go to. */
struct pubsub_options {
    uint32_t events;
};
enum { EVENTS_KEYSPACE = 1u << 30, EVENTS_KEYEVENT = 1u << 31 };
extern const struct option pubsub_option_rows[];
extern const uint32_t pubsub_option_count;

/* Publishes an event of a key where `options` ask for its class. */
void pubsub_notify(struct pubsub *pubsub, const struct pubsub_options *options, unsigned db,
                   struct bytes key, unsigned event_class, const char *event);

/* What the files of this folder share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "server/command/session_ids.h"
#include "server/pubsub/pubsub.h"
#include "server/structs/table.h"

enum { STRIPES = 16, KINDS = 3 };

struct stripe {
    pthread_mutex_t lock; /* A leaf. */
    struct table table;   /* Names with their listeners. */
};

struct pubsub {
    uint64_t seed;
    struct pubsub_hooks hooks;
    struct stripe stripes[KINDS][STRIPES];
    _Atomic uint64_t name_counts[KINDS];
};

/* A session's own: names alone. */
struct subscriptions {
    struct table tables[KINDS];
};

/* Records of a session's table; mem_free the array. */
struct name_list {
    struct record **records;
    size_t count;
};

/* On the session's worker. False when it was so already. */
bool pubsub_subscribe(struct pubsub *pubsub, struct session *session, enum subscription_kind kind,
                      struct bytes name);
bool pubsub_unsubscribe(struct pubsub *pubsub, struct session *session, enum subscription_kind kind,
                        struct bytes name);
void pubsub_list_own(struct pubsub *pubsub, const struct session *session,
                     enum subscription_kind kind, struct name_list *out);

uint64_t pubsub_listener_count(struct pubsub *pubsub, enum subscription_kind kind,
                               struct bytes name);
/* Calls `visit` for each name that has listeners, with its stripe locked. */
void pubsub_walk_names(struct pubsub *pubsub, enum subscription_kind kind,
                       void (*visit)(void *arg, struct record *record), void *arg);

void pubsub_command_subscribe(struct command_context *context);
void pubsub_command_psubscribe(struct command_context *context);
void pubsub_command_ssubscribe(struct command_context *context);
void pubsub_command_unsubscribe(struct command_context *context);
void pubsub_command_punsubscribe(struct command_context *context);
void pubsub_command_sunsubscribe(struct command_context *context);
void pubsub_command_publish(struct command_context *context);
void pubsub_command_spublish(struct command_context *context);
void pubsub_command_pubsub_channels(struct command_context *context);
void pubsub_command_pubsub_numsub(struct command_context *context);
void pubsub_command_pubsub_numpat(struct command_context *context);
void pubsub_command_pubsub_shardchannels(struct command_context *context);
void pubsub_command_pubsub_shardnumsub(struct command_context *context);
void pubsub_command_pubsub_help(struct command_context *context);

#include "server/base/glob.h"
#include "server/base/mem.h"
#include "server/pubsub/pubsub_internal.h"

/* -- subscribing -- */

/* What a session counts together: channels with patterns, shard channels alone. */
static int64_t count_of(const struct session *session, enum subscription_kind kind) {
    if (kind == SUBSCRIPTION_SHARD) return session->subscribed[SUBSCRIPTION_SHARD];
    return (int64_t)session->subscribed[SUBSCRIPTION_CHANNEL] +
           session->subscribed[SUBSCRIPTION_PATTERN];
}

static void reply_change(struct command_context *context, enum subscription_kind kind,
                         bool is_subscribed, const struct bytes *name) {
    static const char *const words[3][2] = {{"unsubscribe", "subscribe"},
                                            {"punsubscribe", "psubscribe"},
                                            {"sunsubscribe", "ssubscribe"}};
    reply_push(context->reply, 3);
    reply_bulk_text(context->reply, words[kind][is_subscribed]);
    if (name == NULL) {
        reply_null(context->reply);
    } else {
        reply_bulk(context->reply, *name);
    }
    reply_integer(context->reply, count_of(context->session, kind));
}

static void subscribe(struct command_context *context, enum subscription_kind kind) {
    for (uint32_t i = 1; i < context->argc; i++) {
        pubsub_subscribe(context->modules->pubsub, context->session, kind, context->argv[i]);
        reply_change(context, kind, true, &context->argv[i]);
    }
}

static void unsubscribe_all(struct command_context *context, enum subscription_kind kind) {
    struct pubsub *pubsub = context->modules->pubsub;
    struct name_list list;
    pubsub_list_own(pubsub, context->session, kind, &list);
    for (size_t i = 0; i < list.count; i++) {
        struct buffer name = {0}; // Goes with its record.
        buffer_append_bytes(&name, record_key(list.records[i]));
        struct bytes view = buffer_view(&name);
        pubsub_unsubscribe(pubsub, context->session, kind, view);
        reply_change(context, kind, false, &view);
        buffer_deinit(&name);
    }
    if (list.count == 0) reply_change(context, kind, false, NULL);
    mem_free(list.records);
}

static void unsubscribe(struct command_context *context, enum subscription_kind kind) {
    if (context->argc == 1) {
        unsubscribe_all(context, kind);
        return;
    }
    for (uint32_t i = 1; i < context->argc; i++) {
        pubsub_unsubscribe(context->modules->pubsub, context->session, kind, context->argv[i]);
        reply_change(context, kind, false, &context->argv[i]);
    }
}

void pubsub_command_subscribe(struct command_context *context) {
    subscribe(context, SUBSCRIPTION_CHANNEL);
}

void pubsub_command_psubscribe(struct command_context *context) {
    subscribe(context, SUBSCRIPTION_PATTERN);
}

void pubsub_command_ssubscribe(struct command_context *context) {
    subscribe(context, SUBSCRIPTION_SHARD);
}

void pubsub_command_unsubscribe(struct command_context *context) {
    unsubscribe(context, SUBSCRIPTION_CHANNEL);
}

void pubsub_command_punsubscribe(struct command_context *context) {
    unsubscribe(context, SUBSCRIPTION_PATTERN);
}

void pubsub_command_sunsubscribe(struct command_context *context) {
    unsubscribe(context, SUBSCRIPTION_SHARD);
}

/* -- publishing -- */

/* In a cluster the bus carries it to the other nodes, else the stream carries it to replicas. */
static void publish(struct command_context *context, bool is_shard) {
    struct pubsub *pubsub = context->modules->pubsub;
    struct bytes channel = context->argv[1];
    struct bytes message = context->argv[2];
    uint64_t receivers = pubsub_publish(pubsub, channel, message, is_shard);
    if (context->modules->cluster != NULL) {
        if (!context->is_from_primary)
            pubsub->hooks.tell_cluster(context->modules->cluster, channel, message, is_shard);
    } else {
        context_propagate_to_replicas(context, context->argv, context->argc);
    }
    reply_integer(context->reply, (int64_t)receivers);
}

void pubsub_command_publish(struct command_context *context) {
    publish(context, false);
}

void pubsub_command_spublish(struct command_context *context) {
    publish(context, true);
}

/* -- PUBSUB -- */

struct name_walk {
    struct reply *reply;
    struct bytes pattern; /* Without data: all. */
    size_t count;
};

static void reply_name(void *arg, struct record *record) {
    struct name_walk *walk = arg;
    struct bytes name = record_key(record);
    if (walk->pattern.data != NULL && !glob_matches(walk->pattern, name, false)) return;
    reply_bulk(walk->reply, name);
    walk->count++;
}

static void list_names(struct command_context *context, enum subscription_kind kind) {
    struct name_walk walk = {.reply = context->reply};
    if (context->argc > 3) {
        reply_error_format(context->reply,
                           "ERR unknown subcommand or wrong number of arguments for '%s'. Try "
                           "PUBSUB HELP.",
                           kind == SUBSCRIPTION_SHARD ? "SHARDCHANNELS" : "CHANNELS");
        return;
    }
    if (context->argc == 3) walk.pattern = context->argv[2];
    size_t mark = reply_begin(context->reply);
    pubsub_walk_names(context->modules->pubsub, kind, reply_name, &walk);
    reply_end_array(context->reply, mark, walk.count);
}

static void count_listeners(struct command_context *context, enum subscription_kind kind) {
    reply_array(context->reply, (context->argc - 2) * 2);
    for (uint32_t i = 2; i < context->argc; i++) {
        reply_bulk(context->reply, context->argv[i]);
        reply_integer(context->reply, (int64_t)pubsub_listener_count(context->modules->pubsub, kind,
                                                                     context->argv[i]));
    }
}

void pubsub_command_pubsub_channels(struct command_context *context) {
    list_names(context, SUBSCRIPTION_CHANNEL);
}

void pubsub_command_pubsub_shardchannels(struct command_context *context) {
    list_names(context, SUBSCRIPTION_SHARD);
}

void pubsub_command_pubsub_numsub(struct command_context *context) {
    count_listeners(context, SUBSCRIPTION_CHANNEL);
}

void pubsub_command_pubsub_shardnumsub(struct command_context *context) {
    count_listeners(context, SUBSCRIPTION_SHARD);
}

void pubsub_command_pubsub_numpat(struct command_context *context) {
    reply_integer(context->reply,
                  (int64_t)pubsub_name_count(context->modules->pubsub, SUBSCRIPTION_PATTERN));
}

void pubsub_command_pubsub_help(struct command_context *context) {
    static const char *const lines[] = {
        "CHANNELS [<pattern>]",
        "    Return the currently active channels matching a <pattern> (default: '*').",
        "NUMPAT",
        "    Return number of subscriptions to patterns.",
        "NUMSUB [<channel> ...]",
        "    Return the number of subscribers for the specified channels, excluding",
        "    pattern subscriptions(default: no channels).",
        "SHARDCHANNELS [<pattern>]",
        "    Return the currently active shard level channels matching a <pattern> (default: '*').",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Return the number of subscribers for the specified shard level channel(s)",
        NULL,
    };
    context_help(context, lines);
}

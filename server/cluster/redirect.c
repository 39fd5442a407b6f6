/* Whether this node serves a command, or where its client should go: the decision table of
 * specification 8.3. The slots of the keys are locked, and a slot changes its owner only while
 * everything is parked, so what is decided here holds until the command has run.
 */
#include <string.h>

#include "server/base/check.h"
#include "server/cluster/cluster_internal.h"

static bool is_ipv6(const struct session *session) {
    const char *first = strchr(session->local, ':');
    return first != NULL && strchr(first + 1, ':') != NULL;
}

const char *route_ip(const char *ip, const char *client_ipv4, const char *client_ipv6,
                     const struct session *session) {
    const char *announced = is_ipv6(session) ? client_ipv6 : client_ipv4;
    return announced[0] != '\0' ? announced : ip;
}

const char *route_endpoint(const struct cluster *cluster, const struct route_node *node,
                           const struct session *session) {
    switch (cluster->options->preferred_endpoint) {
    case CLUSTER_ENDPOINT_HOSTNAME:
        return node->hostname[0] != '\0' ? node->hostname : "?";
    case CLUSTER_ENDPOINT_UNKNOWN:
        return "";
    default:
        return route_ip(node->ip, node->client_ipv4, node->client_ipv6, session);
    }
}

static bool refuse(struct command_context *context, const char *text) {
    reply_error(context->reply, text);
    return true;
}

static bool send_to(const struct cluster *cluster, struct command_context *context,
                    const char *word, uint16_t slot, const struct route_node *node) {
    reply_error_format(context->reply, "%s %u %s:%u", word, slot,
                       route_endpoint(cluster, node, context->session), node->tcp_port);
    return true;
}

/* Without side effects: nothing expires, nothing is counted. */
static bool is_there(const struct command_context *context, const struct key *key) {
    const struct record *record = keyspace_find(context->keyspace, key);
    return record != NULL &&
           !(record_has_deadline(record) && record_deadline_ms(record) <= context->now_ms);
}

/* Of the cluster in state fail. True: refused. */
static bool refuse_when_down(const struct cluster *cluster, struct command_context *context,
                             uint32_t flags, bool is_shard_channel) {
    if (is_shard_channel) {
        if (cluster->options->allows_pubsubshard_when_down) return false;
    } else if (cluster->options->allows_reads_when_down) {
        if ((flags & COMMAND_WRITE) == 0) return false;
        return refuse(context, "CLUSTERDOWN The cluster is down and only accepts read commands");
    }
    return refuse(context, "CLUSTERDOWN The cluster is down");
}

bool cluster_redirect(struct cluster *cluster, struct command_context *context, uint32_t flags,
                      const struct key *keys, uint32_t key_count) {
    uint16_t number = keys[0].slot;
    const struct route *route = databases_slot(context->databases, number)->route;
    const struct session *session = context->session;
    if (route == NULL || route->owner == NULL)
        return refuse(context, "CLUSTERDOWN Hash slot not served");
    const struct route_node *owner = route->owner;
    bool is_shard_channel = (flags & COMMAND_PUBSUB) != 0;
    bool may_be_open = route->is_open && (cluster->is_primary || session->is_readonly);
    bool is_migrating =
        may_be_open && route->migrating_to != NULL && (owner->is_me || owner->is_my_primary);
    bool is_importing = may_be_open && !is_migrating && route->importing_from != NULL;
    bool is_multiple = false;
    uint32_t missing = 0;
    for (uint32_t i = 0; i < key_count; i++) {
        if (keys[i].slot != number)
            return refuse(context, "CROSSSLOT Keys in request don't hash to the same slot");
        is_multiple = is_multiple || !bytes_equal(keys[i].name, keys[0].name);
        if ((is_migrating || is_importing) && !is_shard_channel)
            missing += !is_there(context, &keys[i]);
    }
    if (UNLIKELY(!cluster->is_ok) && refuse_when_down(cluster, context, flags, is_shard_channel))
        return true;
    if (UNLIKELY(is_migrating || is_importing)) {
        if (cluster->is_primary && strcmp(context->command->name, "migrate") == 0) return false;
        if (is_migrating && missing > 0) {
            if (missing < key_count)
                return refuse(context, "TRYAGAIN Multiple keys request during rehashing of slot");
            return send_to(cluster, context, "ASK", number, route->migrating_to);
        }
        bool is_asking = session->is_asking || (flags & COMMAND_ASKING) != 0;
        if (is_importing && is_asking) {
            if (!is_multiple || missing == 0) return false;
            return refuse(context, "TRYAGAIN Multiple keys request during rehashing of slot");
        }
    }
    if (LIKELY(owner->is_me)) return false;
    bool is_replica_read = (session->is_readonly || is_shard_channel) &&
                           (flags & COMMAND_WRITE) == 0 && owner->is_my_primary;
    if (is_replica_read) return false;
    return send_to(cluster, context, "MOVED", number, owner);
}

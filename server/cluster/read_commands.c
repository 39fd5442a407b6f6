/* The CLUSTER subcommands that only look: at the bus's views under its lock, or at the keyspace. */
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/cluster/cluster_internal.h"

static struct bytes id_bytes(const struct node_id *id) {
    return bytes_of(id->text, NODE_ID_LENGTH);
}

static bool is_over_ipv6(const struct session *session) {
    const char *first = strchr(session->local, ':');
    return first != NULL && strchr(first + 1, ':') != NULL;
}

static struct nodes_line_options line_options(const struct session *session) {
    bool is_ipv6 = is_over_ipv6(session);
    return (struct nodes_line_options){.client_ipv4 = !is_ipv6, .client_ipv6 = is_ipv6};
}

/* -- myself -- */

void cluster_command_myid(struct command_context *context) {
    struct bus_node_view me;
    if (!cluster_is_enabled(context)) return;
    struct cluster *cluster = context->modules->cluster;
    cluster_lock(cluster);
    bus_node_view_at(cluster->bus, 0, &me);
    cluster_unlock(cluster);
    reply_bulk(context->reply, id_bytes(&me.id));
}

void cluster_command_myshardid(struct command_context *context) {
    struct bus_node_view me;
    if (!cluster_is_enabled(context)) return;
    struct cluster *cluster = context->modules->cluster;
    cluster_lock(cluster);
    bus_node_view_at(cluster->bus, 0, &me);
    cluster_unlock(cluster);
    reply_bulk(context->reply, id_bytes(&me.shard_id));
}

/* -- NODES, REPLICAS -- */

void cluster_command_nodes(struct command_context *context) {
    if (!cluster_is_enabled(context)) return;
    struct cluster *cluster = context->modules->cluster;
    const struct nodes_line_options options = line_options(context->session);
    struct buffer text = {0};
    cluster_lock(cluster);
    size_t count = bus_node_count(cluster->bus);
    for (size_t i = 0; i < count; i++) {
        nodes_line_write(cluster->bus, i, &options, &text);
        buffer_append_u8(&text, '\n');
    }
    cluster_unlock(cluster);
    reply_verbatim(context->reply, buffer_view(&text));
    buffer_deinit(&text);
}

struct ranked_node {
    struct node_id id;
    size_t index;
};

static int compare_ranked(const void *a, const void *b) {
    return node_id_compare(&((const struct ranked_node *)a)->id,
                           &((const struct ranked_node *)b)->id);
}

/* The lock is held. */
static void reply_replicas(struct command_context *context, struct bus *bus,
                           const struct bus_node_view *primary) {
    const struct nodes_line_options options = line_options(context->session);
    size_t count = bus_node_count(bus);
    struct ranked_node *found = mem_alloc((count + 1) * sizeof(*found));
    size_t found_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct bus_node_view view;
        bus_node_view_at(bus, i, &view);
        if (view.has_primary && node_id_equal(&view.primary_id, &primary->id))
            found[found_count++] = (struct ranked_node){view.id, i};
    }
    qsort(found, found_count, sizeof(*found), compare_ranked);
    reply_array(context->reply, found_count);
    for (size_t i = 0; i < found_count; i++) {
        struct buffer line = {0};
        nodes_line_write(bus, found[i].index, &options, &line);
        reply_bulk(context->reply, buffer_view(&line));
        buffer_deinit(&line);
    }
    mem_free(found);
}

static void unknown_node(struct command_context *context) {
    char text[129];
    reply_error_format(context->reply, "ERR Unknown node %s",
                       bytes_to_text(context->argv[2], text, sizeof(text)));
}

void cluster_command_replicas(struct command_context *context) {
    if (!cluster_is_enabled(context)) return;
    struct cluster *cluster = context->modules->cluster;
    struct bus_node_view view;
    cluster_lock(cluster);
    if (!bus_node_find(cluster->bus, context->argv[2], &view)) {
        unknown_node(context);
    } else if ((view.flags & BUS_NODE_PRIMARY) == 0) {
        reply_error(context->reply, "ERR The specified node is not a master");
    } else {
        reply_replicas(context, cluster->bus, &view);
    }
    cluster_unlock(cluster);
}

void cluster_command_count_failure_reports(struct command_context *context) {
    uint32_t count = 0;
    if (!cluster_is_enabled(context)) return;
    struct cluster *cluster = context->modules->cluster;
    cluster_lock(cluster);
    bool is_known = bus_failure_report_count(cluster->bus, context->argv[2], cluster_now(), &count);
    cluster_unlock(cluster);
    if (is_known) {
        reply_integer(context->reply, count);
    } else {
        unknown_node(context);
    }
}

/* -- SLOTS -- */

static const char *view_ip(const struct bus_node_view *view, const struct session *session) {
    return route_ip(view->ip, view->client_ipv4, view->client_ipv6, session);
}

/* endpoint, port, id, metadata */
static void reply_node(struct command_context *context, const struct bus_node_view *view) {
    const struct cluster_options *options = context->modules->cluster->options;
    struct reply *reply = context->reply;
    bool has_hostname = view->hostname[0] != '\0';
    int type = options->preferred_endpoint;
    reply_array(reply, 4);
    if (type == CLUSTER_ENDPOINT_IP) {
        reply_bulk_text(reply, view_ip(view, context->session));
    } else if (type == CLUSTER_ENDPOINT_HOSTNAME) {
        reply_bulk_text(reply, has_hostname ? view->hostname : "?");
    } else {
        reply_null(reply);
    }
    reply_integer(reply, view->tcp_port);
    reply_bulk(reply, id_bytes(&view->id));
    bool shows_ip = type != CLUSTER_ENDPOINT_IP;
    bool shows_hostname = type != CLUSTER_ENDPOINT_HOSTNAME && has_hostname;
    reply_map(reply, (size_t)shows_ip + shows_hostname);
    if (shows_ip) {
        reply_bulk_text(reply, "ip");
        reply_bulk_text(reply, view_ip(view, context->session));
    }
    if (shows_hostname) {
        reply_bulk_text(reply, "hostname");
        reply_bulk_text(reply, view->hostname);
    }
}

/* The replicas that clients may read from. Index lists by primary would save a walk; clusters have
 * few nodes, and this is asked for when something has changed. */
static size_t reply_range_replicas(struct command_context *context, struct bus *bus,
                                   const struct bus_node_view *primary) {
    size_t count = 0;
    for (size_t i = 0; i < bus_node_count(bus); i++) {
        struct bus_node_view view;
        bus_node_view_at(bus, i, &view);
        bool is_its = view.has_primary && node_id_equal(&view.primary_id, &primary->id);
        if (!is_its || (view.flags & BUS_NODE_FAILED) != 0 || view.repl_offset == 0) continue;
        reply_node(context, &view);
        count++;
    }
    return count;
}

static void reply_range(struct command_context *context, struct bus *bus, uint16_t first,
                        uint16_t last, const struct node_id *owner) {
    struct bus_node_view view;
    if (!bus_node_find(bus, id_bytes(owner), &view)) return;
    size_t mark = reply_begin(context->reply);
    reply_integer(context->reply, first);
    reply_integer(context->reply, last);
    reply_node(context, &view);
    size_t count = reply_range_replicas(context, bus, &view);
    reply_end_array(context->reply, mark, 3 + count);
}

void cluster_command_slots(struct command_context *context) {
    if (!cluster_is_enabled(context)) return;
    struct cluster *cluster = context->modules->cluster;
    size_t mark = reply_begin(context->reply);
    size_t count = 0;
    cluster_lock(cluster);
    for (unsigned slot = 0; slot < BUS_SLOT_COUNT;) {
        struct bus_slot_view first;
        bus_slot_view(cluster->bus, (uint16_t)slot, &first);
        unsigned end = slot + 1;
        for (; first.has_owner && end < BUS_SLOT_COUNT; end++) {
            struct bus_slot_view next;
            bus_slot_view(cluster->bus, (uint16_t)end, &next);
            if (!next.has_owner || !node_id_equal(&next.owner, &first.owner)) break;
        }
        if (first.has_owner) {
            reply_range(context, cluster->bus, (uint16_t)slot, (uint16_t)(end - 1), &first.owner);
            count++;
        }
        slot = end;
    }
    cluster_unlock(cluster);
    reply_end_array(context->reply, mark, count);
}

/* -- SHARDS -- */

static void reply_shard_node(struct command_context *context, const struct bus_node_view *view) {
    struct cluster *cluster = context->modules->cluster;
    struct reply *reply = context->reply;
    bool is_replica = view->has_primary;
    bool has_hostname = view->hostname[0] != '\0';
    const char *ip = view_ip(view, context->session);
    const char *endpoint = ip;
    const char *health = "online";
    if (cluster->options->preferred_endpoint == CLUSTER_ENDPOINT_HOSTNAME)
        endpoint = has_hostname ? view->hostname : "?";
    if (cluster->options->preferred_endpoint == CLUSTER_ENDPOINT_UNKNOWN) endpoint = "";
    if ((view->flags & BUS_NODE_FAILED) != 0) {
        health = "fail";
    } else if (is_replica && view->repl_offset == 0) {
        health = "loading";
    }
    size_t pairs = 6 + (view->tcp_port != 0) + (view->tls_port != 0) + has_hostname;
    reply_map(reply, pairs);
    reply_bulk_text(reply, "id");
    reply_bulk(reply, id_bytes(&view->id));
    if (view->tcp_port != 0) {
        reply_bulk_text(reply, "port");
        reply_integer(reply, view->tcp_port);
    }
    if (view->tls_port != 0) {
        reply_bulk_text(reply, "tls-port");
        reply_integer(reply, view->tls_port);
    }
    reply_bulk_text(reply, "ip");
    reply_bulk_text(reply, ip);
    reply_bulk_text(reply, "endpoint");
    reply_bulk_text(reply, endpoint);
    if (has_hostname) {
        reply_bulk_text(reply, "hostname");
        reply_bulk_text(reply, view->hostname);
    }
    reply_bulk_text(reply, "role");
    reply_bulk_text(reply, is_replica ? "replica" : "master");
    reply_bulk_text(reply, "replication-offset");
    reply_integer(reply, (int64_t)view->repl_offset);
    reply_bulk_text(reply, "health");
    reply_bulk_text(reply, health);
}

static size_t reply_bitmap_ranges(struct reply *reply, const uint8_t *slots) {
    size_t count = 0;
    for (unsigned slot = 0; slot < BUS_SLOT_COUNT; slot++) {
        if ((slots[slot / 8] >> slot % 8 & 1) == 0) continue;
        unsigned end = slot;
        while (end + 1 < BUS_SLOT_COUNT && (slots[(end + 1) / 8] >> (end + 1) % 8 & 1) != 0)
            end++;
        reply_integer(reply, slot);
        reply_integer(reply, end);
        count += 2;
        slot = end;
    }
    return count;
}

static bool is_member(const struct bus_node_view *view, const struct node_id *shard) {
    return (view->flags & (BUS_NODE_HANDSHAKE | BUS_NODE_NOADDR)) == 0 &&
           node_id_equal(&view->shard_id, shard);
}

/* The lock is held. */
static void reply_shard(struct command_context *context, struct bus *bus,
                        const struct node_id *shard) {
    struct reply *reply = context->reply;
    struct bus_node_view view;
    size_t node_count = bus_node_count(bus);
    reply_map(reply, 2);
    reply_bulk_text(reply, "slots");
    size_t mark = reply_begin(reply);
    size_t count = 0;
    for (size_t i = 0; i < node_count && count == 0; i++) {
        bus_node_view_at(bus, i, &view);
        if (is_member(&view, shard) && view.slot_count > 0)
            count = reply_bitmap_ranges(reply, view.slots);
    }
    reply_end_array(reply, mark, count);
    reply_bulk_text(reply, "nodes");
    mark = reply_begin(reply);
    count = 0;
    // Its primary first, as clients are used to.
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < node_count; i++) {
            bus_node_view_at(bus, i, &view);
            if (!is_member(&view, shard) || view.has_primary != (pass == 1)) continue;
            reply_shard_node(context, &view);
            count++;
        }
    }
    reply_end_array(reply, mark, count);
}

void cluster_command_shards(struct command_context *context) {
    if (!cluster_is_enabled(context)) return;
    struct cluster *cluster = context->modules->cluster;
    struct bus *bus = cluster->bus;
    size_t mark = reply_begin(context->reply);
    size_t shard_count = 0;
    cluster_lock(cluster);
    size_t node_count = bus_node_count(bus);
    for (size_t i = 0; i < node_count; i++) {
        struct bus_node_view view;
        bus_node_view_at(bus, i, &view);
        bool is_first = is_member(&view, &view.shard_id);
        for (size_t k = 0; is_first && k < i; k++) {
            struct bus_node_view before;
            bus_node_view_at(bus, k, &before);
            is_first = !is_member(&before, &view.shard_id);
        }
        if (!is_first) continue;
        reply_shard(context, bus, &view.shard_id);
        shard_count++;
    }
    cluster_unlock(cluster);
    reply_end_array(context->reply, mark, shard_count);
}

/* -- INFO, LINKS -- */

static void append_messages(struct buffer *out, const char *direction, const uint64_t *counts) {
    uint64_t sum = 0;
    for (unsigned type = 0; type < BUS_MESSAGE_TYPE_COUNT; type++) {
        if (counts[type] == 0) continue;
        buffer_append_format(out, "cluster_stats_messages_%s_%s:%llu\r\n",
                             bus_message_type_text(type), direction,
                             (unsigned long long)counts[type]);
        sum += counts[type];
    }
    buffer_append_format(out, "cluster_stats_messages_%s:%llu\r\n", direction,
                         (unsigned long long)sum);
}

void cluster_command_info(struct command_context *context) {
    if (!cluster_is_enabled(context)) return;
    struct cluster *cluster = context->modules->cluster;
    struct bus_status status;
    cluster_lock(cluster);
    bus_status_view(cluster->bus, &status);
    cluster_unlock(cluster);
    struct buffer text = {0};
    buffer_append_format(
        &text,
        "cluster_state:%s\r\ncluster_slots_assigned:%u\r\ncluster_slots_ok:%u\r\n"
        "cluster_slots_pfail:%u\r\ncluster_slots_fail:%u\r\ncluster_known_nodes:%u\r\n"
        "cluster_size:%u\r\ncluster_current_epoch:%llu\r\ncluster_my_epoch:%llu\r\n",
        status.is_ok ? "ok" : "fail", status.slots_assigned, status.slots_ok,
        status.slots_suspected, status.slots_failed, status.known_nodes, status.size,
        (unsigned long long)status.current_epoch, (unsigned long long)status.my_epoch);
    append_messages(&text, "sent", status.sent);
    append_messages(&text, "received", status.received);
    buffer_append_format(&text, "total_cluster_links_buffer_limit_exceeded:%llu\r\n",
                         (unsigned long long)atomic_load(&cluster->limit_exceeded_count));
    reply_verbatim(context->reply, buffer_view(&text));
    buffer_deinit(&text);
}

static size_t reply_link(struct command_context *context, uint64_t link, const char *direction,
                         const struct node_id *node) {
    struct link_figures figures;
    struct reply *reply = context->reply;
    if (link == BUS_LINK_NONE || !links_figures(context->modules->cluster, link, &figures))
        return 0;
    reply_map(reply, 6);
    reply_bulk_text(reply, "direction");
    reply_bulk_text(reply, direction);
    reply_bulk_text(reply, "node");
    reply_bulk(reply, id_bytes(node));
    reply_bulk_text(reply, "create-time");
    reply_integer(reply, (int64_t)figures.created_wall_ms);
    reply_bulk_text(reply, "events");
    reply_bulk_text(reply, figures.queued_bytes > 0 ? "rw" : "r");
    reply_bulk_text(reply, "send-buffer-allocated");
    reply_integer(reply, (int64_t)figures.allocated_bytes);
    reply_bulk_text(reply, "send-buffer-used");
    reply_integer(reply, (int64_t)figures.queued_bytes);
    return 1;
}

void cluster_command_links(struct command_context *context) {
    if (!cluster_is_enabled(context)) return;
    struct cluster *cluster = context->modules->cluster;
    size_t mark = reply_begin(context->reply);
    size_t count = 0;
    cluster_lock(cluster);
    for (size_t i = 0; i < bus_node_count(cluster->bus); i++) {
        struct bus_node_view view;
        bus_node_view_at(cluster->bus, i, &view);
        count += reply_link(context, view.out_link, "to", &view.id);
        count += reply_link(context, view.in_link, "from", &view.id);
    }
    cluster_unlock(cluster);
    reply_end_array(context->reply, mark, count);
}

/* -- keys of slots -- */

void cluster_command_keyslot(struct command_context *context) {
    if (!cluster_is_enabled(context)) return;
    reply_integer(context->reply, key_hash_slot(context->argv[2]));
}

void cluster_command_countkeysinslot(struct command_context *context) {
    int64_t slot = 0;
    if (!cluster_is_enabled(context)) return;
    if (!context_integer(context, 2, &slot, NULL)) return;
    if (slot < 0 || slot >= BUS_SLOT_COUNT) {
        reply_error(context->reply, "ERR Invalid slot");
        return;
    }
    reply_integer(context->reply, databases_slot_keys(context->databases, (uint16_t)slot));
}

struct some_keys {
    struct reply *reply;
    uint64_t count;
    uint64_t wanted;
};

static void reply_key(void *arg, struct record *record) {
    struct some_keys *keys = arg;
    if (keys->count == keys->wanted) return;
    reply_bulk(keys->reply, record_key(record));
    keys->count++;
}

void cluster_command_getkeysinslot(struct command_context *context) {
    int64_t number = 0;
    int64_t wanted = 0;
    if (!cluster_is_enabled(context)) return;
    if (!context_integer(context, 2, &number, NULL) || !context_integer(context, 3, &wanted, NULL))
        return;
    if (number < 0 || number >= BUS_SLOT_COUNT || wanted < 0) {
        reply_error(context->reply, "ERR Invalid slot or number of keys");
        return;
    }
    uint16_t slot = (uint16_t)number;
    struct some_keys keys = {.reply = context->reply, .wanted = (uint64_t)wanted};
    size_t mark = reply_begin(context->reply);
    struct table *table = keyspace_table(context->keyspace, slot);
    uint64_t place = 0;
    do {
        enum { BUCKETS_A_STEP = 16 };
        uint64_t next = table->count == 0 ? 0 : table_place_after(table, place, BUCKETS_A_STEP);
        if (table->count > 0)
            table_walk(table, place, next, keyspace_hasher(context->keyspace), reply_key, &keys);
        place = next;
    } while (place != 0 && keys.count < keys.wanted);
    reply_end_array(context->reply, mark, keys.count);
}

/* -- SLOT-STATS -- */

struct slot_count {
    uint16_t slot;
    uint32_t keys;
};

static void reply_slot_counts(struct reply *reply, const struct slot_count *slots, size_t count) {
    reply_array(reply, count);
    for (size_t i = 0; i < count; i++) {
        reply_array(reply, 2);
        reply_integer(reply, slots[i].slot);
        reply_map(reply, 1);
        reply_bulk_text(reply, "key-count");
        reply_integer(reply, slots[i].keys);
    }
}

static int compare_rising(const void *a, const void *b) {
    const struct slot_count *left = a;
    const struct slot_count *right = b;
    if (left->keys != right->keys) return left->keys < right->keys ? -1 : 1;
    return (int)left->slot - (int)right->slot;
}

static int compare_falling(const void *a, const void *b) {
    const struct slot_count *left = a;
    const struct slot_count *right = b;
    if (left->keys != right->keys) return left->keys > right->keys ? -1 : 1;
    return (int)left->slot - (int)right->slot;
}

/* The slots of my shard in this range. */
static size_t count_own_slots(struct command_context *context, unsigned first, unsigned last,
                              struct slot_count *out) {
    size_t count = 0;
    for (unsigned slot = first; slot <= last; slot++) {
        const struct route *route = databases_slot(context->databases, (uint16_t)slot)->route;
        if (route == NULL || route->owner == NULL) continue;
        if (!route->owner->is_me && !route->owner->is_my_primary) continue;
        out[count++] = (struct slot_count){(uint16_t)slot,
                                           databases_slot_keys(context->databases, (uint16_t)slot)};
    }
    return count;
}

static void slot_stats_range(struct command_context *context, struct slot_count *slots) {
    uint16_t first = 0;
    uint16_t last = 0;
    if (!cluster_parse_slot(context, 3, &first) || !cluster_parse_slot(context, 4, &last)) return;
    if (first > last) {
        reply_error_format(context->reply,
                           "ERR Start slot number %u is greater than end slot number %u", first,
                           last);
        return;
    }
    reply_slot_counts(context->reply, slots, count_own_slots(context, first, last, slots));
}

static void slot_stats_ordered(struct command_context *context, struct slot_count *slots) {
    int64_t limit = BUS_SLOT_COUNT;
    bool is_rising = false;
    bool has_limit = false;
    bool has_order = false;
    if (!context_argument_is(context, 3, "KEY-COUNT")) {
        reply_error(context->reply, "ERR Unrecognized sort metric for ORDERBY.");
        return;
    }
    for (uint32_t i = 4; i < context->argc; i++) {
        bool is_order =
            context_argument_is(context, i, "ASC") || context_argument_is(context, i, "DESC");
        bool is_limit = context_argument_is(context, i, "LIMIT") && i + 1 < context->argc;
        if ((is_order && has_order) || (is_limit && has_limit)) {
            reply_error(context->reply, "ERR Multiple filters of the same type are disallowed.");
            return;
        }
        if (is_order) {
            has_order = true;
            is_rising = context_argument_is(context, i, "ASC");
        } else if (is_limit) {
            has_limit = true;
            if (!context_integer_in(context, ++i, 1, BUS_SLOT_COUNT, &limit,
                                    "ERR Limit has to lie in between 1 and 16384 (maximum number "
                                    "of slots)."))
                return;
        } else {
            reply_syntax_error(context->reply);
            return;
        }
    }
    size_t count = count_own_slots(context, 0, BUS_SLOT_COUNT - 1, slots);
    qsort(slots, count, sizeof(*slots), is_rising ? compare_rising : compare_falling);
    reply_slot_counts(context->reply, slots, count < (size_t)limit ? count : (size_t)limit);
}

void cluster_command_slot_stats(struct command_context *context) {
    if (!cluster_is_enabled(context)) return;
    struct slot_count *slots = mem_alloc(BUS_SLOT_COUNT * sizeof(*slots));
    if (context->argc == 5 && context_argument_is(context, 2, "SLOTSRANGE")) {
        slot_stats_range(context, slots);
    } else if (context_argument_is(context, 2, "ORDERBY")) {
        slot_stats_ordered(context, slots);
    } else {
        char word[129];
        reply_error_format(context->reply,
                           "ERR unknown subcommand or wrong number of arguments for '%s'. Try "
                           "CLUSTER HELP.",
                           bytes_to_text(context->argv[1], word, sizeof(word)));
    }
    mem_free(slots);
}

/* -- HELP -- */

void cluster_command_help(struct command_context *context) {
    static const char *const lines[] = {
        "ADDSLOTS <slot> [<slot> ...]",
        "    Take slots that have no owner.",
        "ADDSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
        "    Take ranges of slots that have no owner.",
        "BUMPEPOCH",
        "    Raise the configuration epoch of this node above all others.",
        "COUNT-FAILURE-REPORTS <node-id>",
        "    How many nodes say that this one has failed.",
        "COUNTKEYSINSLOT <slot>",
        "    How many keys of the slot are here.",
        "DELSLOTS <slot> [<slot> ...]",
        "    Forget who owns these slots.",
        "DELSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
        "    Forget who owns these ranges of slots.",
        "FAILOVER [FORCE|TAKEOVER]",
        "    Sent to a replica: take over from the primary.",
        "FORGET <node-id>",
        "    Remove a node from the table, and do not take it in again for a while.",
        "GETKEYSINSLOT <slot> <count>",
        "    Names of some keys of the slot that are here.",
        "FLUSHSLOTS",
        "    Give up all slots of this node.",
        "INFO",
        "    The state of the cluster, as lines of text.",
        "KEYSLOT <key>",
        "    The slot that a key belongs to.",
        "LINKS",
        "    The connections to and from other nodes.",
        "MEET <ip> <port> [<bus-port>]",
        "    Get acquainted with another node, and with all that it knows.",
        "MYID",
        "    The id of this node.",
        "MYSHARDID",
        "    The id of the shard that this node belongs to.",
        "NODES",
        "    The table of nodes, in the form of nodes.conf.",
        "REPLICATE <node-id>",
        "    Become a replica of this node.",
        "REPLICAS <node-id>",
        "    The replicas of a node, as lines of NODES.",
        "RESET [HARD|SOFT]",
        "    Forget the cluster; HARD also forgets id and epochs.",
        "SAVECONFIG",
        "    Write nodes.conf now.",
        "SET-CONFIG-EPOCH <epoch>",
        "    Give a new node its first configuration epoch.",
        "SETSLOT <slot> (IMPORTING <node-id>|MIGRATING <node-id>|STABLE|NODE <node-id>)",
        "    Open a slot for a move, end a move, or say who owns the slot.",
        "SHARDS",
        "    Slots and nodes, by shard.",
        "SLOT-STATS SLOTSRANGE <start slot> <end slot>",
        "SLOT-STATS ORDERBY KEY-COUNT [LIMIT <limit>] [ASC|DESC]",
        "    Figures of the slots of this shard.",
        "SLOTS",
        "    Ranges of slots with the nodes that serve them.",
        NULL,
    };
    if (cluster_is_enabled(context)) context_help(context, lines);
}

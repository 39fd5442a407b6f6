/* What the bus decided takes effect in the server: roles, routes, data, pauses. All of it while
 * everything is parked, so a client sees all of a change or nothing.
 */
#include <string.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/cluster/cluster_internal.h"
#include "server/command/blocking.h"
#include "server/command/tracking.h"
#include "server/command/transaction.h"
#include "server/replication/replication.h"

/* -- routes -- */

static struct route_node *find_node(struct cluster *cluster, const struct node_id *id) {
    struct route_node **link = &cluster->nodes;
    while (*link != NULL && !node_id_equal(&(*link)->id, id))
        link = &(*link)->next;
    struct route_node *node = *link;
    if (node == NULL || link == &cluster->nodes) return node;
    // To the front: slots that lie beside each other have one owner as a rule.
    *link = node->next;
    node->next = cluster->nodes;
    cluster->nodes = node;
    return node;
}

static struct route_node *find_or_add_node(struct cluster *cluster, const struct node_id *id) {
    struct route_node *node = find_node(cluster, id);
    if (node != NULL) return node;
    node = mem_alloc_zero(sizeof(*node));
    node->id = *id;
    node->route.owner = node;
    node->next = cluster->nodes;
    cluster->nodes = node;
    return node;
}

static void copy_text(char *out, size_t cap, const char *text) {
    size_t len = strlen(text);
    if (len >= cap) len = cap - 1;
    memcpy(out, text, len);
    out[len] = '\0';
}

/* The lock is held. */
static void refresh_nodes(struct cluster *cluster) {
    struct bus_node_view me;
    bus_node_view_at(cluster->bus, 0, &me);
    for (struct route_node *node = cluster->nodes; node != NULL; node = node->next)
        node->is_known = false;
    size_t count = bus_node_count(cluster->bus);
    for (size_t i = 0; i < count; i++) {
        struct bus_node_view view;
        bus_node_view_at(cluster->bus, i, &view);
        struct route_node *node = find_or_add_node(cluster, &view.id);
        node->is_known = true;
        node->is_me = i == 0;
        node->is_my_primary = me.has_primary && node_id_equal(&me.primary_id, &view.id);
        node->tcp_port = view.tcp_port;
        node->tls_port = view.tls_port;
        copy_text(node->ip, sizeof(node->ip), view.ip);
        copy_text(node->client_ipv4, sizeof(node->client_ipv4), view.client_ipv4);
        copy_text(node->client_ipv6, sizeof(node->client_ipv6), view.client_ipv6);
        copy_text(node->hostname, sizeof(node->hostname), view.hostname);
    }
}

static void count_refs(const struct route *route, int change) {
    if (route == NULL) return;
    const struct route_node *nodes[] = {route->owner, route->migrating_to, route->importing_from};
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
        if (nodes[i] != NULL) ((struct route_node *)nodes[i])->refs += (uint32_t)change;
    }
}

/* The lock is held. */
static const struct route *make_route(struct cluster *cluster, uint16_t slot) {
    struct bus_slot_view view;
    bus_slot_view(cluster->bus, slot, &view);
    struct route_node *owner = view.has_owner ? find_or_add_node(cluster, &view.owner) : NULL;
    if (!view.is_migrating && !view.is_importing) return owner == NULL ? NULL : &owner->route;
    struct route *route = mem_alloc_zero(sizeof(*route));
    route->is_open = true;
    route->owner = owner;
    if (view.is_migrating) route->migrating_to = find_or_add_node(cluster, &view.migrating_to);
    if (view.is_importing) route->importing_from = find_or_add_node(cluster, &view.importing_from);
    return route;
}

static void set_route(struct cluster *cluster, uint16_t slot, const struct route *route) {
    struct slot *place = databases_slot(cluster->made_of.databases, slot);
    const struct route *old = place->route;
    if (old == route) return;
    count_refs(route, 1);
    place->route = route;
    count_refs(old, -1);
    if (old != NULL && old->is_open) mem_free((void *)(uintptr_t)old);
}

static void drop_unknown_nodes(struct cluster *cluster) {
    struct route_node **link = &cluster->nodes;
    while (*link != NULL) {
        struct route_node *node = *link;
        if (node->is_known || node->refs > 0) {
            link = &node->next;
            continue;
        }
        *link = node->next;
        mem_free(node);
    }
}

void routes_update(struct cluster *cluster, const uint8_t *slots) {
    cluster_lock(cluster);
    refresh_nodes(cluster);
    for (unsigned byte = 0; byte < BUS_SLOT_BYTES; byte++) {
        for (unsigned bits = slots[byte]; bits != 0; bits &= bits - 1) {
            uint16_t slot = (uint16_t)(byte * 8 + (unsigned)__builtin_ctz(bits));
            set_route(cluster, slot, make_route(cluster, slot));
        }
    }
    cluster_unlock(cluster);
    drop_unknown_nodes(cluster);
}

void routes_deinit(struct cluster *cluster) {
    for (unsigned slot = 0; slot < BUS_SLOT_COUNT; slot++)
        set_route(cluster, (uint16_t)slot, NULL);
    while (cluster->nodes != NULL) {
        struct route_node *node = cluster->nodes;
        cluster->nodes = node->next;
        mem_free(node);
    }
}

/* -- effects -- */

static void delete_keys(struct dispatch_worker *worker, const uint8_t *slots) {
    uint64_t count = 0;
    for (unsigned slot = 0; slot < BUS_SLOT_COUNT; slot++) {
        if ((slots[slot / 8] >> slot % 8 & 1) != 0)
            count += dispatch_delete_slot(worker, (uint16_t)slot);
    }
    if (count > 0)
        log_notice("Deleted %llu keys of slots that another node owns", (unsigned long long)count);
}

/* Who waits for a key that is served elsewhere now, or not at all, is told where to go. */
static bool redirect_waiter(void *arg, struct command_context *context, uint32_t flags,
                            const struct key *keys, uint32_t key_count) {
    return cluster_redirect(arg, context, flags, keys, key_count);
}

static void flush_dataset(struct cluster *cluster, struct dispatch_worker *worker) {
    struct databases *databases = cluster->made_of.databases;
    if (databases_keyspace_if_any(databases, 0) == NULL) return;
    transaction_touch_all(databases, 0, NULL);
    tracking_flush(cluster->made_of.modules->dispatcher);
    databases_flush(databases, 0, true);
    blocking_note_all(worker);
}

static void apply_one(struct cluster *cluster, struct dispatch_worker *worker,
                      const struct pending_effect *effect) {
    struct command_modules *modules = cluster->made_of.modules;
    switch (effect->type) {
    case BUS_EFFECT_BECOME_REPLICA:
        replication_follow(modules->replication, effect->ip, effect->port, effect->full_resync);
        break;
    case BUS_EFFECT_BECOME_PRIMARY:
        replication_promote(modules->replication);
        break;
    case BUS_EFFECT_FLUSH_DATASET:
        flush_dataset(cluster, worker);
        break;
    case BUS_EFFECT_DELETE_KEYS:
        delete_keys(worker, effect->slots);
        break;
    case BUS_EFFECT_PAUSE_WRITES:
        dispatcher_pause(modules->dispatcher, PAUSE_BY_FAILOVER, false, effect->until_mono_ms);
        break;
    case BUS_EFFECT_UNPAUSE_WRITES:
        dispatcher_unpause(modules->dispatcher, PAUSE_BY_FAILOVER);
        network_retry_paused(modules->network);
        break;
    case BUS_EFFECT_STATE:
        cluster->is_ok = effect->is_ok;
        break;
    default:
        break;
    }
}

void cluster_apply(struct cluster *cluster, struct dispatch_worker *worker) {
    uint8_t slots[BUS_SLOT_BYTES];
    cluster_lock(cluster);
    struct pending_effect *effect = cluster->pending_first;
    cluster->pending_first = cluster->pending_last = NULL;
    bool has_routes = cluster->has_changed_slots || cluster->has_changed_nodes;
    memcpy(slots, cluster->changed_slots, sizeof(slots));
    memset(cluster->changed_slots, 0, sizeof(cluster->changed_slots));
    cluster->has_changed_slots = cluster->has_changed_nodes = false;
    cluster->is_apply_posted = false;
    cluster->is_primary = bus_epochs_view(cluster->bus).is_primary;
    cluster_unlock(cluster);
    while (effect != NULL) {
        struct pending_effect *next = effect->next;
        apply_one(cluster, worker, effect);
        mem_free(effect->slots);
        mem_free(effect);
        effect = next;
    }
    if (has_routes) routes_update(cluster, slots);
    blocking_refuse(worker, redirect_waiter, cluster);
    blocking_serve_locked(worker);
}

void cluster_apply_posted(void *arg) {
    struct cluster *cluster = arg;
    dispatch_exclusive_begin(cluster->made_of.node_worker);
    cluster_apply(cluster, cluster->made_of.node_worker);
    dispatch_exclusive_end(cluster->made_of.node_worker);
}

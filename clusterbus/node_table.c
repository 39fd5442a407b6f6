#include <string.h>

#include "clusterbus/bus_internal.h"
#include "server/base/check.h"
#include "server/base/mem.h"

/* ---- Pointers by hash -------------------------------------------------------------------------
 */

void *index_find(const struct pointer_table *table, uint64_t hash, const void *key,
                 bool (*matches)(const void *item, const void *key)) {
    if (table->cap == 0) return NULL;
    uint32_t mask = table->cap - 1;
    for (uint32_t i = (uint32_t)hash & mask; table->items[i] != NULL; i = (i + 1) & mask)
        if (table->hashes[i] == hash && matches(table->items[i], key)) return table->items[i];
    return NULL;
}

static void table_put(struct pointer_table *table, uint64_t hash, void *item) {
    uint32_t mask = table->cap - 1;
    uint32_t i = (uint32_t)hash & mask;
    while (table->items[i] != NULL)
        i = (i + 1) & mask;
    table->hashes[i] = hash;
    table->items[i] = item;
}

void index_add(struct pointer_table *table, uint64_t hash, void *item) {
    if ((table->count + 1) * 2 > table->cap) {
        struct pointer_table bigger = {.cap = table->cap == 0 ? 16 : table->cap * 2};
        bigger.hashes = mem_alloc(bigger.cap * sizeof(*bigger.hashes));
        bigger.items = mem_alloc_zero(bigger.cap * sizeof(*bigger.items));
        for (uint32_t i = 0; i < table->cap; i++)
            if (table->items[i] != NULL) table_put(&bigger, table->hashes[i], table->items[i]);
        bigger.count = table->count;
        index_deinit(table);
        *table = bigger;
    }
    table_put(table, hash, item);
    table->count++;
}

/* Entries behind the hole move up, so that no search stops too early. */
void index_remove(struct pointer_table *table, uint64_t hash, const void *item) {
    uint32_t mask = table->cap - 1;
    uint32_t hole = (uint32_t)hash & mask;
    while (table->items[hole] != item) {
        ASSERT(table->items[hole] != NULL);
        hole = (hole + 1) & mask;
    }
    for (uint32_t i = (hole + 1) & mask; table->items[i] != NULL; i = (i + 1) & mask) {
        uint32_t home = (uint32_t)table->hashes[i] & mask;
        if (((i - home) & mask) < ((i - hole) & mask)) continue;
        table->hashes[hole] = table->hashes[i];
        table->items[hole] = table->items[i];
        hole = i;
    }
    table->items[hole] = NULL;
    table->count--;
}

void index_deinit(struct pointer_table *table) {
    mem_free(table->hashes);
    mem_free(table->items);
    *table = (struct pointer_table){0};
}

/* ---- Nodes ------------------------------------------------------------------------------------
 */

static uint64_t id_hash(const struct node_id *id) {
    uint64_t hash = 0x9e3779b97f4a7c15u;
    for (int i = 0; i < NODE_ID_LENGTH; i += 8) {
        uint64_t word;
        memcpy(&word, id->text + i, 8);
        hash = (hash ^ word) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    return hash;
}

static bool node_has_id(const void *item, const void *key) {
    const struct node *node = item;
    return node_id_equal(&node->id, key);
}

struct node *node_find(const struct bus *bus, const struct node_id *id) {
    return index_find(&bus->nodes_by_id, id_hash(id), id, node_has_id);
}

struct node *node_of_member(const struct bus *bus, uint16_t member) {
    return member < bus->member_cap ? bus->nodes_by_member[member] : NULL;
}

static uint16_t take_member_number(struct bus *bus, struct node *node) {
    uint32_t number = 1;
    while (number < bus->member_cap && bus->nodes_by_member[number] != NULL)
        number++;
    if (number >= bus->member_cap) {
        uint32_t cap = bus->member_cap == 0 ? 16 : bus->member_cap * 2;
        bus->nodes_by_member = mem_realloc(bus->nodes_by_member, cap * sizeof(struct node *));
        memset(bus->nodes_by_member + bus->member_cap, 0,
               (cap - bus->member_cap) * sizeof(struct node *));
        bus->member_cap = cap;
    }
    bus->nodes_by_member[number] = node;
    return (uint16_t)number;
}

struct node *node_create(struct bus *bus, const struct node_id *id, uint16_t flags) {
    if (bus->node_count == BUS_NODES_MAX) return NULL;
    if (bus->node_count == bus->node_cap) {
        bus->node_cap = bus->node_cap == 0 ? 16 : bus->node_cap * 2;
        bus->nodes = mem_realloc(bus->nodes, bus->node_cap * sizeof(struct node *));
    }
    struct node *node = mem_alloc_zero(sizeof(*node));
    if (id != NULL)
        node->id = *id;
    else
        rng_hex(bus->rng, node->id.text, NODE_ID_LENGTH);
    rng_hex(bus->rng, node->shard_id.text, NODE_ID_LENGTH);
    node->flags = flags;
    node->created_ms = node->in_link_end_ms = bus->now_ms;
    node->member = take_member_number(bus, node);
    node->index = bus->node_count;
    bus->nodes[bus->node_count++] = node;
    index_add(&bus->nodes_by_id, id_hash(&node->id), node);
    node_changed(bus, node);
    return node;
}

static void node_free(struct node *node) {
    for (int i = 0; i < NAME_COUNT; i++)
        mem_free(node->names[i]);
    mem_free(node->replicas);
    mem_free(node->reports);
    mem_free(node);
}

void node_destroy_all(struct bus *bus) {
    for (uint32_t i = 0; i < bus->node_count; i++)
        node_free(bus->nodes[i]);
    mem_free(bus->nodes);
    mem_free(bus->nodes_by_member);
    index_deinit(&bus->nodes_by_id);
}

static void leave_open_slots(struct bus *bus, const struct node *node) {
    if (slot_map_migrating_count(bus->slots) + slot_map_importing_count(bus->slots) == 0) return;
    for (uint16_t slot = 0; slot < BUS_SLOT_COUNT; slot++) {
        if (slot_map_migrating(bus->slots, slot) == node->member)
            slot_set_migrating(bus, slot, NULL);
        if (slot_map_importing(bus->slots, slot) == node->member)
            slot_set_importing(bus, slot, NULL);
    }
}

void node_delete(struct bus *bus, struct node *node) {
    ASSERT(node != bus->myself);
    node_changed(bus, node);
    if (bus->manual.replica == node || (bus->manual.end_ms != 0 && bus->myself->primary == node))
        manual_failover_reset(bus);
    slot_assign_all(bus, node, NULL);
    leave_open_slots(bus, node);
    for (uint32_t i = 0; i < bus->node_count; i++)
        node_remove_report(bus, bus->nodes[i], node);
    while (node->replica_count > 0)
        node_set_primary(node->replicas[0], NULL);
    node_set_primary(node, NULL);
    if (node->out_link != NULL) link_end(bus, node->out_link, false);
    if (node->in_link != NULL) link_end(bus, node->in_link, false);

    slot_map_release(bus->slots, node->member);
    bus->nodes_by_member[node->member] = NULL;
    index_remove(&bus->nodes_by_id, id_hash(&node->id), node);
    struct node *last = bus->nodes[--bus->node_count];
    bus->nodes[node->index] = last;
    last->index = node->index;
    node_free(node);
    bus->wants_state = true;
}

void node_rename(struct bus *bus, struct node *node, const struct node_id *id) {
    node_changed(bus, node);
    index_remove(&bus->nodes_by_id, id_hash(&node->id), node);
    node->id = *id;
    index_add(&bus->nodes_by_id, id_hash(&node->id), node);
    node_changed(bus, node);
}

void node_set_epoch(struct bus *bus, struct node *node, uint64_t epoch) {
    if (node->config_epoch == epoch) return;
    node->config_epoch = epoch;
    slot_map_set_epoch(bus->slots, node->member, epoch);
    bus->version++;
}

static void remove_replica(struct node *primary, const struct node *replica) {
    uint32_t i = 0;
    while (primary->replicas[i] != replica)
        i++;
    primary->replica_count--;
    memmove(primary->replicas + i, primary->replicas + i + 1,
            (primary->replica_count - i) * sizeof(struct node *));
}

static void add_replica(struct node *primary, struct node *replica) {
    if (primary->replica_count == primary->replica_cap) {
        primary->replica_cap = primary->replica_cap == 0 ? 4 : primary->replica_cap * 2;
        primary->replicas =
            mem_realloc(primary->replicas, primary->replica_cap * sizeof(struct node *));
    }
    uint32_t i = primary->replica_count++;
    for (; i > 0 && node_id_compare(&primary->replicas[i - 1]->id, &replica->id) > 0; i--)
        primary->replicas[i] = primary->replicas[i - 1];
    primary->replicas[i] = replica;
}

void node_set_primary(struct node *node, struct node *primary) {
    if (node->primary == primary) return;
    if (node->primary != NULL) {
        remove_replica(node->primary, node);
        if (node->primary->replica_count == 0) node_drop_flags(node->primary, BUS_NODE_MIGRATE_TO);
    }
    node->primary = primary;
    if (primary == NULL) return;
    add_replica(primary, node);
    node_add_flags(primary, BUS_NODE_MIGRATE_TO);
}

bool node_set_name(struct node *node, enum node_name which, struct bytes text) {
    const char *before = node->names[which] != NULL ? node->names[which] : "";
    if (bytes_equal_text(text, before)) return false;
    mem_free(node->names[which]);
    node->names[which] = text.len > 0 ? bytes_copy_text(text) : NULL;
    return true;
}

void node_changed(struct bus *bus, const struct node *node) {
    bus->version++;
    if (bus->out != NULL) effects_add(bus->out, BUS_EFFECT_NODE_CHANGED)->node = node->id;
}

uint32_t node_working_replicas(const struct node *node) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < node->replica_count; i++)
        count += !node_is(node->replicas[i], BUS_NODE_FAILED);
    return count;
}

struct node *node_top_primary(struct node *node) {
    /* A hostile or confused view may go in circles. */
    for (int depth = 0; node->primary != NULL && depth < 8; depth++)
        node = node->primary;
    return node;
}

/* ---- Failure reports --------------------------------------------------------------------------
 */

bool node_add_report(struct bus *bus, struct node *node, struct node *reporter) {
    for (uint32_t i = 0; i < node->report_count; i++) {
        if (node->reports[i].reporter != reporter) continue;
        node->reports[i].time_ms = bus->now_ms;
        return false;
    }
    if (node->report_count == node->report_cap) {
        node->report_cap = node->report_cap == 0 ? 4 : node->report_cap * 2;
        node->reports = mem_realloc(node->reports, node->report_cap * sizeof(*node->reports));
    }
    node->reports[node->report_count++] =
        (struct failure_report){.reporter = reporter, .time_ms = bus->now_ms};
    return true;
}

bool node_remove_report(struct bus *bus, struct node *node, struct node *reporter) {
    if (node->report_count == 0) return false;
    bool found = false;
    for (uint32_t i = 0; i < node->report_count; i++) {
        if (node->reports[i].reporter != reporter) continue;
        node->reports[i] = node->reports[--node->report_count];
        found = true;
        break;
    }
    node_count_reports(node, bus->now_ms - bus->config.node_timeout_ms * 2);
    return found;
}

uint32_t node_count_reports(struct node *node, uint64_t not_before_ms) {
    for (uint32_t i = 0; i < node->report_count;) {
        if (node->reports[i].time_ms < not_before_ms)
            node->reports[i] = node->reports[--node->report_count];
        else
            i++;
    }
    return node->report_count;
}

/* ---- Black list -------------------------------------------------------------------------------
 */

void blacklist_purge(struct bus *bus) {
    for (uint32_t i = 0; i < bus->blacklist_count;) {
        if (bus->blacklist[i].until_ms <= bus->now_ms)
            bus->blacklist[i] = bus->blacklist[--bus->blacklist_count];
        else
            i++;
    }
}

bool blacklist_has(struct bus *bus, const struct node_id *id) {
    blacklist_purge(bus);
    for (uint32_t i = 0; i < bus->blacklist_count; i++)
        if (node_id_equal(&bus->blacklist[i].id, id)) return true;
    return false;
}

void blacklist_add(struct bus *bus, const struct node_id *id, uint64_t ttl_ms) {
    blacklist_purge(bus);
    uint64_t until_ms = bus->now_ms + ttl_ms;
    uint32_t i = 0;
    while (i < bus->blacklist_count && !node_id_equal(&bus->blacklist[i].id, id))
        i++;
    if (i == bus->blacklist_count) {
        if (bus->blacklist_count == BUS_BLACKLIST_MAX) {
            /* Full: the entry that ends first makes room. */
            i = 0;
            for (uint32_t j = 1; j < bus->blacklist_count; j++)
                if (bus->blacklist[j].until_ms < bus->blacklist[i].until_ms) i = j;
        } else {
            bus->blacklist_count++;
            bus->blacklist =
                mem_realloc(bus->blacklist, bus->blacklist_count * sizeof(*bus->blacklist));
        }
    }
    bus->blacklist[i] = (struct blacklist_entry){.id = *id, .until_ms = until_ms};
}

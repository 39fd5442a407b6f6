#include "tools/cluster/node_model.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/base/mem.h"
#include "server/base/number.h"

#define LINE_FIELDS_MIN 8u /* id address flags primary ping pong epoch link [slot...] */

void cluster_node_destroy(struct cluster_node *node) {
    if (node == NULL) return;
    mem_free(node->migrating.items);
    mem_free(node->importing.items);
    mem_free(node->signature);
    mem_free(node);
}

void node_list_take(struct node_list *list, struct cluster_node *node) {
    if (list->count == list->cap) {
        list->cap = list->cap == 0 ? 8 : list->cap * 2;
        list->items = mem_realloc(list->items, list->cap * sizeof(struct cluster_node *));
    }
    list->items[list->count++] = node;
}

void node_list_deinit(struct node_list *list) {
    for (size_t i = 0; i < list->count; i++)
        cluster_node_destroy(list->items[i]);
    mem_free(list->items);
    *list = (struct node_list){0};
}

/* Cuts the next field off; empty at the end. */
static struct bytes next_field(struct bytes *rest, uint8_t mark) {
    const uint8_t *at = rest->len == 0 ? NULL : memchr(rest->data, mark, rest->len);
    struct bytes field = bytes_of(rest->data, at == NULL ? rest->len : (size_t)(at - rest->data));
    *rest = bytes_from(*rest, field.len + (at == NULL ? 0 : 1));
    return field;
}

static bool parse_port(struct bytes text, int *out) {
    uint64_t port;
    if (!number_parse_u64(text, &port) || port > 65535) return false;
    *out = (int)port;
    return true;
}

/* host:port[@bus][,hostname[,aux...]] */
static bool parse_address(struct bytes text, struct cluster_node *node) {
    struct bytes address = next_field(&text, ',');
    struct bytes bus = address;
    struct bytes client = next_field(&bus, '@');
    size_t colon = client.len;
    while (colon > 0 && client.data[colon - 1] != ':')
        colon--;
    if (colon == 0 || colon > NODE_HOST_MAX) return false;
    bytes_to_text(bytes_of(client.data, colon - 1), node->host, sizeof(node->host));
    if (!parse_port(bytes_from(client, colon), &node->port)) return false;
    node->bus_port = node->port + CLUSTER_BUS_OFFSET;
    return bus.len == 0 || parse_port(bus, &node->bus_port);
}

static void parse_flags(struct bytes text, struct cluster_node *node) {
    struct buffer kept = {0};
    while (text.len > 0) {
        struct bytes word = next_field(&text, ',');
        node->is_replica |= bytes_equal_text(word, "slave") || bytes_equal_text(word, "replica");
        node->is_failed |= bytes_equal_text(word, "fail");
        node->is_suspected |= bytes_equal_text(word, "fail?");
        node->has_no_address |= bytes_equal_text(word, "noaddr");
        node->is_in_handshake |= bytes_equal_text(word, "handshake");
        if (bytes_equal_text(word, "myself")) {
            node->is_myself = true;
            continue;
        }
        if (kept.len > 0) buffer_append_u8(&kept, ',');
        buffer_append_bytes(&kept, word);
    }
    bytes_to_text(buffer_view(&kept), node->flags, sizeof(node->flags));
    buffer_deinit(&kept);
}

static void add_open_slot(struct open_slots *open, unsigned slot, struct bytes id) {
    open->items = mem_realloc(open->items, (open->count + 1) * sizeof(*open->items));
    struct open_slot *item = &open->items[open->count++];
    item->slot = (uint16_t)slot;
    bytes_to_text(id, item->node_id, sizeof(item->node_id));
}

/* "[42->-id]" or "[42-<-id]" */
static bool parse_open_slot(struct bytes text, struct cluster_node *node) {
    if (text.len < 6 || text.data[text.len - 1] != ']') return false;
    text = bytes_of(text.data + 1, text.len - 2);
    struct bytes number = next_field(&text, '-');
    uint64_t slot;
    if (!number_parse_u64(number, &slot) || slot >= CLUSTER_SLOTS) return false;
    if (text.len < 2 || text.data[1] != '-') return false;
    if (text.data[0] != '>' && text.data[0] != '<') return false;
    struct bytes id = bytes_from(text, 2);
    if (id.len > NODE_ID_LEN) return false;
    add_open_slot(text.data[0] == '>' ? &node->migrating : &node->importing, (unsigned)slot, id);
    return true;
}

static bool parse_slots(struct bytes text, struct cluster_node *node) {
    if (text.len > 0 && text.data[0] == '[') return parse_open_slot(text, node);
    struct bytes end = text;
    struct bytes start = next_field(&end, '-');
    uint64_t first;
    uint64_t last;
    if (!number_parse_u64(start, &first)) return false;
    last = first;
    if (end.len > 0 && !number_parse_u64(end, &last)) return false;
    if (first > last || last >= CLUSTER_SLOTS) return false;
    for (uint64_t slot = first; slot <= last; slot++)
        slot_set_add(&node->slots, (unsigned)slot);
    return true;
}

static bool parse_line(struct bytes line, struct cluster_node *node) {
    struct bytes fields[LINE_FIELDS_MIN];
    for (size_t i = 0; i < LINE_FIELDS_MIN; i++) {
        fields[i] = next_field(&line, ' ');
        if (fields[i].len == 0) return false;
    }
    if (fields[0].len > NODE_ID_LEN) return false;
    bytes_to_text(fields[0], node->id, sizeof(node->id));
    if (!parse_address(fields[1], node)) return false;
    parse_flags(fields[2], node);
    if (!bytes_equal_text(fields[3], "-")) {
        bytes_to_text(fields[3], node->primary_id, sizeof(node->primary_id));
    }
    if (!number_parse_u64(fields[6], &node->config_epoch)) return false;
    node->is_connected = bytes_equal_text(fields[7], "connected");
    while (line.len > 0) {
        struct bytes slots = next_field(&line, ' ');
        if (slots.len > 0 && !parse_slots(slots, node)) return false;
    }
    return true;
}

enum status node_list_parse(struct bytes text, struct node_list *out) {
    struct node_list list = {0};
    bool is_valid = true;
    while (text.len > 0 && is_valid) {
        struct bytes line = next_field(&text, '\n');
        if (line.len > 0 && line.data[line.len - 1] == '\r') line.len--;
        if (line.len == 0) continue;
        struct cluster_node *node = mem_alloc_zero(sizeof(*node));
        node_list_take(&list, node);
        is_valid = parse_line(line, node) && list.count <= NODE_LIST_MAX;
    }
    if (!is_valid || list.count == 0) {
        node_list_deinit(&list);
        return STATUS_BAD_FORMAT;
    }
    *out = list;
    return STATUS_OK;
}

static int compare_ids(const void *a, const void *b) {
    return strcmp((*(struct cluster_node *const *)a)->id, (*(struct cluster_node *const *)b)->id);
}

void node_list_append_signature(const struct node_list *list, struct buffer *out) {
    struct cluster_node **sorted = mem_alloc((list->count + 1) * sizeof(struct cluster_node *));
    size_t count = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (slot_set_count(&list->items[i]->slots) > 0) sorted[count++] = list->items[i];
    }
    qsort(sorted, count, sizeof(struct cluster_node *), compare_ids);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) buffer_append_u8(out, '|');
        buffer_append_format(out, "%s:", sorted[i]->id);
        slot_set_append_runs(&sorted[i]->slots, false, out);
    }
    mem_free(sorted);
}

struct cluster_node *node_list_find(const struct node_list *list, const char *id) {
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i]->id, id) == 0) return list->items[i];
    }
    return NULL;
}

struct cluster_node *node_list_find_myself(const struct node_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i]->is_myself) return list->items[i];
    }
    return NULL;
}

struct cluster_node *node_list_resolve(const struct node_list *list, struct bytes name) {
    struct cluster_node *found = NULL;
    for (size_t i = 0; i < list->count && name.len > 0; i++) {
        struct cluster_node *node = list->items[i];
        char address[NODE_HOST_MAX + 8];
        snprintf(address, sizeof(address), "%s:%d", node->host, node->port);
        if (bytes_equal_text(name, node->id) || bytes_equal_text(name, address)) return node;
        if (name.len > NODE_ID_LEN || memcmp(node->id, name.data, name.len) != 0) continue;
        if (found != NULL) return NULL;
        found = node;
    }
    return found;
}

void node_list_count_replicas(struct node_list *list) {
    for (size_t i = 0; i < list->count; i++)
        list->items[i]->replica_count = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (!list->items[i]->is_replica) continue;
        struct cluster_node *primary = node_list_find(list, list->items[i]->primary_id);
        if (primary != NULL) primary->replica_count++;
    }
}

/* The name of a node or of a shard: 40 bytes of 0-9a-z. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "server/base/bytes.h"

#define NODE_ID_LENGTH 40

/* Not terminated. All zero = no node. */
struct node_id {
    char text[NODE_ID_LENGTH];
};

static inline int node_id_compare(const struct node_id *a, const struct node_id *b) {
    return memcmp(a->text, b->text, NODE_ID_LENGTH);
}

static inline bool node_id_equal(const struct node_id *a, const struct node_id *b) {
    return node_id_compare(a, b) == 0;
}

static inline bool node_id_is_zero(const struct node_id *id) {
    for (int i = 0; i < NODE_ID_LENGTH; i++)
        if (id->text[i] != 0) return false;
    return true;
}

/* True when every byte is one that an id may have. */
static inline bool node_id_is_valid(const struct node_id *id) {
    for (int i = 0; i < NODE_ID_LENGTH; i++) {
        char c = id->text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z'))) return false;
    }
    return true;
}

/* Reads an id that fills the whole text; false, and `out` untouched, otherwise. */
static inline bool node_id_parse(struct bytes text, struct node_id *out) {
    struct node_id id;
    if (text.len != NODE_ID_LENGTH) return false;
    memcpy(id.text, text.data, NODE_ID_LENGTH);
    if (!node_id_is_valid(&id)) return false;
    *out = id;
    return true;
}

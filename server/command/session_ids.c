#include "server/command/session_ids.h"

#include <string.h>

#include "server/base/mem.h"

void session_ids_add(struct session_ids *ids, uint64_t id) {
    if (ids->count == ids->cap) {
        ids->cap = ids->cap == 0 ? 2 : ids->cap * 2;
        ids->items = mem_realloc(ids->items, ids->cap * sizeof(*ids->items));
    }
    ids->items[ids->count++] = id;
}

static uint32_t find(const struct session_ids *ids, uint64_t id) {
    uint32_t at = 0;
    while (at < ids->count && ids->items[at] != id)
        at++;
    return at;
}

bool session_ids_has(const struct session_ids *ids, uint64_t id) {
    return find(ids, id) < ids->count;
}

bool session_ids_remove(struct session_ids *ids, uint64_t id) {
    uint32_t at = find(ids, id);
    if (at == ids->count) return false;
    ids->count--;
    memmove(&ids->items[at], &ids->items[at + 1], (ids->count - at) * sizeof(*ids->items));
    return true;
}

void session_ids_deinit(struct session_ids *ids) {
    mem_free(ids->items);
    *ids = (struct session_ids){0};
}

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

void session_parts_make(struct session_parts *out, const uint64_t *ids, uint32_t count,
                        const struct network *network,
                        uint32_t (*worker_of)(const struct network *network, uint64_t id)) {
    uint32_t next[SESSION_WORKERS_MAX] = {0};
    out->ids = count == 0 ? NULL : mem_alloc(count * sizeof(*ids));
    for (uint32_t i = 0; i < count; i++)
        next[worker_of(network, ids[i])]++;
    uint32_t begin = 0;
    for (uint32_t worker = 0; worker < SESSION_WORKERS_MAX; worker++) {
        out->begins[worker] = begin;
        begin += next[worker];
        next[worker] = out->begins[worker];
    }
    out->begins[SESSION_WORKERS_MAX] = begin;
    for (uint32_t i = 0; i < count; i++)
        out->ids[next[worker_of(network, ids[i])]++] = ids[i];
}

void session_parts_deinit(struct session_parts *parts) {
    mem_free(parts->ids);
}

/* A list of sessions, by id: who listens, who is to be told. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct session_ids {
    uint64_t *items;
    uint32_t count;
    uint32_t cap;
};

void session_ids_add(struct session_ids *ids, uint64_t id);
bool session_ids_has(const struct session_ids *ids, uint64_t id);
/* Keeps the order of the others. False: it was not there. */
bool session_ids_remove(struct session_ids *ids, uint64_t id);
void session_ids_deinit(struct session_ids *ids);

struct network;

enum { SESSION_WORKERS_MAX = 64 };

/* Sessions sorted by their workers: those of worker w are ids[begins[w]] .. ids[begins[w + 1] - 1].
 */
struct session_parts {
    uint64_t *ids;
    uint32_t begins[SESSION_WORKERS_MAX + 1];
};

/* `worker_of` is network_worker_of. Each worker's sessions keep their order. O(count) */
void session_parts_make(struct session_parts *out, const uint64_t *ids, uint32_t count,
                        const struct network *network,
                        uint32_t (*worker_of)(const struct network *network, uint64_t id));
void session_parts_deinit(struct session_parts *parts);

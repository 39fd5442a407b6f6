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

/* Where the memory goes: the figures behind INFO memory, MEMORY STATS and MEMORY DOCTOR. */
#pragma once

#include "server/observe/observe.h"

/* In bytes, but for `keys`. */
struct memory_figures {
    uint64_t used; /* Handed out by the allocator and not given back. */
    uint64_t peak; /* The highest of it so far. */
    uint64_t startup;
    uint64_t backlog; /* The journal, which replicas read. */
    uint64_t replica_links;
    uint64_t clients;
    uint64_t cluster_links;
    uint64_t tables;   /* Buckets of all databases. */
    uint64_t overhead; /* All of the above but `used` and `peak`. */
    uint64_t data;     /* The rest. */
    uint64_t keys;
    uint64_t allocated; /* As the allocator counts it: with what its caches hold. */
    uint64_t active;
    uint64_t resident;
    uint64_t process; /* Resident, as the kernel counts it. */
};

/* Walks the slots' tables: milliseconds. */
void memory_figures_read(struct observer *observer, struct memory_figures *out);

static inline double memory_ratio(uint64_t over, uint64_t under) {
    return under == 0 ? 0 : (double)over / (double)under;
}

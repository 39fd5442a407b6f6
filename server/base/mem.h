/* The allocator: jemalloc in ordinary builds, the sanitizer's own in sanitized ones.
 *
 * mem_alloc never fails: it ends the process with a report, since nothing sensible can be done
 * without memory. A size that a client or a peer controls goes through mem_try_alloc instead and
 * becomes a status. Any thread may free what another one allocated.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "server/base/compiler.h"

MUST_USE void *mem_alloc(size_t size);
MUST_USE void *mem_alloc_zero(size_t size);

/* Memory that starts at a multiple of `alignment` (a power of two). Free with mem_free. */
MUST_USE void *mem_alloc_aligned(size_t size, size_t alignment);

/* NULL when there is no such memory. */
MUST_USE void *mem_try_alloc(size_t size);
MUST_USE void *mem_try_realloc(void *block, size_t size); /* On NULL the old block stays. */

/* Like realloc: the old block is gone, NULL starts a new one. */
MUST_USE void *mem_realloc(void *block, size_t size);

void mem_free(void *block); /* NULL is fine. */

/* Bytes that the allocator really holds for `block` (its size class). */
size_t mem_usable_size(const void *block);

/* Bytes that an allocation of `size` will hold. */
size_t mem_good_size(size_t size);

/* What the allocator says of the whole process, in bytes. Costs some microseconds. */
struct mem_stats {
    size_t allocated_bytes; /* Handed out. */
    size_t active_bytes;    /* In pages that hold something handed out. */
    size_t resident_bytes;  /* Mapped and touched, the allocator's own data included. */
    size_t mapped_bytes;
};
void mem_stats_read(struct mem_stats *out);

/* The calling thread's allocations are counted from now on, until it ends: what mem_used_bytes and
 * mem_thread_bytes say. Every thread that allocates for longer than it lives calls it once. */
void mem_count_thread(void);

/* Bytes handed out and not given back, over all counted threads. A mutex and two loads a thread. */
size_t mem_used_bytes(void);

/* What the calling thread has allocated more than it has freed: a difference of two calls says how
 * much it took meanwhile. Some nanoseconds. */
int64_t mem_thread_bytes(void);

/* Resident set size of the process, from the kernel. */
size_t mem_resident_bytes(void);

/* Name and version of the allocator, as in "jemalloc-5.3.0". */
const char *mem_allocator_name(void);

/* The allocator's own report, as text, appended by `append` piece by piece. */
void mem_report(void (*append)(void *arg, const char *text), void *arg);

/* Gives unused pages back to the kernel. */
void mem_purge(void);

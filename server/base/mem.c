#include "server/base/mem.h"

#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef DUNLIN_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

static NORETURN void out_of_memory(size_t size) {
    fprintf(stderr, "dunlin: out of memory: an allocation of %zu bytes failed\n", size);
    abort();
}

void *mem_alloc(size_t size) {
    void *block = malloc(size);
    if (UNLIKELY(block == NULL)) out_of_memory(size);
    return block;
}

void *mem_alloc_zero(size_t size) {
    void *block = calloc(1, size);
    if (UNLIKELY(block == NULL)) out_of_memory(size);
    return block;
}

void *mem_alloc_aligned(size_t size, size_t alignment) {
    void *block = NULL;
    if (posix_memalign(&block, alignment, size) != 0) out_of_memory(size);
    return block;
}

void *mem_try_alloc(size_t size) {
    return malloc(size);
}

void *mem_try_realloc(void *block, size_t size) {
    return realloc(block, size);
}

void *mem_realloc(void *block, size_t size) {
    void *grown = realloc(block, size);
    if (UNLIKELY(grown == NULL && size > 0)) out_of_memory(size);
    return grown;
}

void mem_free(void *block) {
    free(block);
}

size_t mem_usable_size(const void *block) {
    return block == NULL ? 0 : malloc_usable_size((void *)(uintptr_t)block);
}

size_t mem_resident_bytes(void) {
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) return 0;
    unsigned long total = 0;
    unsigned long resident = 0;
    int fields = fscanf(file, "%lu %lu", &total, &resident); // NOLINT(cert-err34-c)
    fclose(file);
    return fields == 2 ? resident * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

#ifdef DUNLIN_JEMALLOC

size_t mem_good_size(size_t size) {
    return size == 0 ? 0 : nallocx(size, 0);
}

static size_t read_stat(const char *name) {
    size_t value = 0;
    size_t len = sizeof(value);
    return mallctl(name, &value, &len, NULL, 0) == 0 ? value : 0;
}

void mem_stats_read(struct mem_stats *out) {
    uint64_t epoch = 1;
    size_t len = sizeof(epoch);
    // The figures stand still until the epoch is renewed.
    if (mallctl("epoch", &epoch, &len, &epoch, len) != 0) memset(out, 0, sizeof(*out));
    out->allocated_bytes = read_stat("stats.allocated");
    out->active_bytes = read_stat("stats.active");
    out->resident_bytes = read_stat("stats.resident");
    out->mapped_bytes = read_stat("stats.mapped");
}

const char *mem_allocator_name(void) {
    return "jemalloc-5.3.0";
}

void mem_purge(void) {
    char name[64];
    snprintf(name, sizeof(name), "arena.%u.purge", (unsigned)MALLCTL_ARENAS_ALL);
    (void)mallctl(name, NULL, NULL, NULL, 0); // Best effort: pages that stay are no error.
}

#else

size_t mem_good_size(size_t size) {
    return (size + 15) & ~(size_t)15;
}

void mem_stats_read(struct mem_stats *out) {
    size_t resident = mem_resident_bytes();
    *out = (struct mem_stats){resident, resident, resident, resident};
}

const char *mem_allocator_name(void) {
    return "libc";
}

void mem_purge(void) {
}

#endif

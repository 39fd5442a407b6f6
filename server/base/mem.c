#include "server/base/mem.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef DUNLIN_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#ifdef DUNLIN_JEMALLOC
/* Read by the allocator when it starts: a block of a megabyte and more goes back to the kernel when
 * it is freed. Tables that grow leave such blocks behind, and nothing of that size follows. */
const char *malloc_conf = "oversize_threshold:1048576";
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

/* Counters of one thread; they lie in its own memory. */
struct thread_counters {
    const volatile uint64_t *allocated;
    const volatile uint64_t *freed;
};

enum { COUNTED_THREADS_MAX = 256 };

static struct {
    pthread_mutex_t lock;
    pthread_key_t ending;
    bool has_key;
    uint32_t count;
    int64_t ended_bytes; /* Of threads that are gone. */
    struct thread_counters threads[COUNTED_THREADS_MAX];
} counted = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct thread_counters own_counters(void) {
    struct thread_counters own = {NULL, NULL};
    uint64_t *pointer = NULL;
    size_t len = sizeof(pointer);
    if (mallctl("thread.allocatedp", &pointer, &len, NULL, 0) == 0) own.allocated = pointer;
    if (mallctl("thread.deallocatedp", &pointer, &len, NULL, 0) == 0) own.freed = pointer;
    return own;
}

static int64_t net_bytes(const struct thread_counters *counters) {
    return (int64_t)(*counters->allocated - *counters->freed);
}

static _Thread_local struct thread_counters this_thread;

static void forget_thread(void *arg) {
    (void)arg;
    pthread_mutex_lock(&counted.lock);
    for (uint32_t i = 0; i < counted.count; i++) {
        if (counted.threads[i].allocated != this_thread.allocated) continue;
        counted.ended_bytes += net_bytes(&counted.threads[i]);
        counted.threads[i] = counted.threads[--counted.count];
        break;
    }
    pthread_mutex_unlock(&counted.lock);
}

void mem_count_thread(void) {
    if (this_thread.allocated != NULL) return;
    struct thread_counters own = own_counters();
    if (own.allocated == NULL || own.freed == NULL) return;
    pthread_mutex_lock(&counted.lock);
    if (!counted.has_key) counted.has_key = pthread_key_create(&counted.ending, forget_thread) == 0;
    bool has_room = counted.has_key && counted.count < COUNTED_THREADS_MAX;
    if (has_room) counted.threads[counted.count++] = own;
    pthread_mutex_unlock(&counted.lock);
    if (!has_room) return;
    this_thread = own;
    (void)pthread_setspecific(counted.ending, &counted); // Without it the count stays a bit wrong.
}

int64_t mem_thread_bytes(void) {
    return this_thread.allocated == NULL ? 0 : net_bytes(&this_thread);
}

size_t mem_used_bytes(void) {
    pthread_mutex_lock(&counted.lock);
    int64_t sum = counted.ended_bytes;
    for (uint32_t i = 0; i < counted.count; i++)
        sum += net_bytes(&counted.threads[i]);
    pthread_mutex_unlock(&counted.lock);
    return sum < 0 ? 0 : (size_t)sum;
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

void mem_report(void (*append)(void *arg, const char *text), void *arg) {
    malloc_stats_print(append, arg, NULL);
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

/* The sanitizers' allocator knows what is handed out; the C library's is asked. */
__attribute__((weak)) size_t __sanitizer_get_current_allocated_bytes(void);

void mem_count_thread(void) {
}

size_t mem_used_bytes(void) {
    if (__sanitizer_get_current_allocated_bytes != NULL)
        return __sanitizer_get_current_allocated_bytes();
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

int64_t mem_thread_bytes(void) {
    return (int64_t)mem_used_bytes();
}

void mem_stats_read(struct mem_stats *out) {
    size_t resident = mem_resident_bytes();
    *out = (struct mem_stats){resident, resident, resident, resident};
}

const char *mem_allocator_name(void) {
    return "libc";
}

void mem_report(void (*append)(void *arg, const char *text), void *arg) {
    append(arg, "The allocator of this build tells nothing.\n");
}

void mem_purge(void) {
}

#endif

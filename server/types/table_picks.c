#include "server/types/table_picks.h"

#include "server/base/mem.h"

struct record_list {
    struct record **records;
    size_t count;
};

static void collect(void *arg, struct record *record) {
    struct record_list *list = arg;
    list->records[list->count++] = record;
}

/* Most of a table: the records are listed and the front of the list is shuffled. */
static void pick_many(const struct table *table, const struct table_hasher *hasher, struct rng *rng,
                      size_t count, void (*visit)(void *arg, struct record *record), void *arg) {
    struct record_list list = {mem_alloc(table->count * sizeof(*list.records)), 0};
    table_walk(table, 0, 0, hasher, collect, &list);
    for (size_t i = 0; i < count; i++) {
        size_t pick = i + rng_below(rng, list.count - i);
        struct record *record = list.records[pick];
        list.records[pick] = list.records[i];
        visit(arg, record);
    }
    mem_free(list.records);
}

/* Puts a pointer into a set of `cap` (a power of two) slots; false when it is there already. */
static bool add_pointer(const struct record **slots, size_t cap, const struct record *record) {
    size_t at = ((uintptr_t)record >> 4) * (size_t)0x9e3779b97f4a7c15u;
    for (at &= cap - 1; slots[at] != NULL; at = (at + 1) & (cap - 1))
        if (slots[at] == record) return false;
    slots[at] = record;
    return true;
}

/* A small part of a table: picks are repeated until they are different. */
static void pick_few(const struct table *table, struct rng *rng, size_t count,
                     void (*visit)(void *arg, struct record *record), void *arg) {
    size_t cap = 16;
    while (cap < count * 2)
        cap *= 2;
    const struct record **slots = mem_alloc_zero(cap * sizeof(*slots));
    while (count > 0) {
        struct record *record = table_random(table, rng);
        if (!add_pointer(slots, cap, record)) continue;
        visit(arg, record);
        count--;
    }
    mem_free(slots);
}

void table_pick_different(const struct table *table, const struct table_hasher *hasher,
                          struct rng *rng, size_t count,
                          void (*visit)(void *arg, struct record *record), void *arg) {
    if (count * 3 > table->count) {
        pick_many(table, hasher, rng, count, visit, arg);
    } else {
        pick_few(table, rng, count, visit, arg);
    }
}

#include "tools/cluster/reshard_plan.h"

#include <math.h>
#include <stdlib.h>

#include "server/base/check.h"
#include "server/base/mem.h"
#include "tools/cluster/describe.h"

struct share {
    const struct cluster_node *source;
    size_t size;      /* Slots it has. */
    size_t order;     /* Where it stood among the sources: sorting is stable. */
    size_t count;     /* Slots it gives. */
    size_t remainder; /* Of the exact share, in units of 1 / total. */
};

static int largest_first(const void *a, const void *b) {
    const struct share *x = a;
    const struct share *y = b;
    if (x->size != y->size) return x->size > y->size ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static int largest_remainder_first(const void *a, const void *b) {
    const struct share *x = *(struct share *const *)a;
    const struct share *y = *(struct share *const *)b;
    if (x->remainder != y->remainder) return x->remainder > y->remainder ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

/* Up for the first, down for the others. */
static void round_like_reference(struct share *shares, size_t count, size_t total, size_t wanted) {
    size_t given = 0;
    for (size_t i = 0; i < count; i++) {
        float exact = (float)wanted / (float)total * (float)shares[i].size;
        size_t n = (size_t)(i == 0 ? ceilf(exact) : floorf(exact));
        if (n > shares[i].size) n = shares[i].size;
        if (given + n > wanted) n = wanted - given;
        shares[i].count = n;
        given += n;
    }
}

/* What rounding down leaves goes to the largest remainders. */
static void round_exactly(struct share *shares, size_t count, size_t total, size_t wanted) {
    struct share **sorted = mem_alloc(count * sizeof(struct share *));
    size_t given = 0;
    for (size_t i = 0; i < count; i++) {
        shares[i].count = wanted * shares[i].size / total;
        shares[i].remainder = wanted * shares[i].size % total;
        given += shares[i].count;
        sorted[i] = &shares[i];
    }
    qsort(sorted, count, sizeof(struct share *), largest_remainder_first);
    for (size_t i = 0; given < wanted && i < count; i++) {
        if (sorted[i]->count == sorted[i]->size) continue;
        sorted[i]->count++;
        given++;
    }
    mem_free(sorted);
}

static void take_lowest_slots(const struct share *share, struct reshard_plan *plan) {
    size_t left = share->count;
    for (unsigned slot = 0; slot < CLUSTER_SLOTS && left > 0; slot++) {
        if (!slot_set_has(&share->source->slots, slot)) continue;
        plan->moves[plan->count++] =
            (struct slot_move){.slot = (uint16_t)slot, .source = share->source};
        left--;
    }
}

void reshard_plan_compute(const struct cluster_node *const *sources, size_t source_count,
                          size_t slot_count, bool like_reference, struct reshard_plan *out) {
    ASSERT(source_count > 0);
    struct share *shares = mem_alloc_zero(source_count * sizeof(*shares));
    size_t total = 0;
    for (size_t i = 0; i < source_count; i++) {
        shares[i] = (struct share){
            .source = sources[i], .size = slot_set_count(&sources[i]->slots), .order = i};
        total += shares[i].size;
    }
    *out = (struct reshard_plan){0};
    if (slot_count > total) slot_count = total;
    if (slot_count > 0) {
        qsort(shares, source_count, sizeof(*shares), largest_first);
        for (size_t i = 0; i < source_count; i++)
            shares[i].order = i;
        if (like_reference) {
            round_like_reference(shares, source_count, total, slot_count);
        } else {
            round_exactly(shares, source_count, total, slot_count);
        }
        out->moves = mem_alloc(slot_count * sizeof(*out->moves));
        for (size_t i = 0; i < source_count; i++)
            take_lowest_slots(&shares[i], out);
    }
    mem_free(shares);
}

void reshard_plan_deinit(struct reshard_plan *plan) {
    mem_free(plan->moves);
    *plan = (struct reshard_plan){0};
}

void reshard_plan_describe(const struct reshard_plan *plan,
                           const struct cluster_node *const *sources, size_t source_count,
                           const struct cluster_node *target, size_t slot_count,
                           struct report *report) {
    report_plain(report, "\nReady to move %zu slots.\n  Source nodes:\n", slot_count);
    for (size_t i = 0; i < source_count; i++)
        describe_node(sources[i], 4, report);
    report_plain(report, "  Destination node:\n");
    describe_node(target, 4, report);
    report_plain(report, "  Resharding plan:\n");
    for (size_t i = 0; i < plan->count; i++) {
        report_plain(report, "    Moving slot %u from %s\n", plan->moves[i].slot,
                     plan->moves[i].source->id);
    }
}

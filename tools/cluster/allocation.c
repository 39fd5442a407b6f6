#include "tools/cluster/allocation.h"

#include <math.h>
#include <string.h>

#include "server/base/check.h"
#include "server/base/crc.h"
#include "server/base/mem.h"
#include "server/base/rng.h"
#include "tools/cluster/slot_set.h"

#define SAME_HOST_AS_PRIMARY 10000u
#define EXACT_REPLICAS_MAX 7u /* So many replicas are placed by trying all permutations. */
#define SEARCH_STEPS_PER_NODE 500u

size_t allocation_primary_count(size_t node_count, size_t replicas) {
    return node_count / (replicas + 1);
}

static bool same_host(const struct placement *a, const struct placement *b) {
    return strcmp(a->host, b->host) == 0;
}

/* Takes one node of each host in turn, so that neighbours in the order live on different hosts. */
static void interleave(const struct placement *nodes, size_t count, size_t *order) {
    size_t *host_of = mem_alloc(count * sizeof(*host_of)); /* Index of the host's first node. */
    bool *is_taken = mem_alloc_zero(count * sizeof(*is_taken));
    for (size_t i = 0; i < count; i++) {
        size_t first = 0;
        while (!same_host(&nodes[first], &nodes[i]))
            first++;
        host_of[i] = first;
    }
    size_t done = 0;
    while (done < count) {
        for (size_t host = 0; host < count; host++) {
            if (host_of[host] != host) continue;
            size_t next = host;
            while (next < count && (host_of[next] != host || is_taken[next]))
                next++;
            if (next == count) continue;
            is_taken[next] = true;
            order[done++] = next;
        }
    }
    mem_free(host_of);
    mem_free(is_taken);
}

static void assign_slots(struct placement *nodes, const size_t *order, size_t primary_count,
                         struct report *report) {
    float per_primary = (float)CLUSTER_SLOTS / (float)primary_count;
    float cursor = 0;
    long first = 0;
    for (size_t i = 0; i < primary_count; i++) {
        long last = lround((double)(cursor + per_primary - 1));
        if (last > (long)CLUSTER_SLOTS - 1 || i == primary_count - 1) last = CLUSTER_SLOTS - 1;
        if (last < first) last = first;
        report_plain(report, "%s[%zu] -> Slots %ld - %ld\n", report->profile->primary_title, i,
                     first, last);
        nodes[order[i]].is_primary = true;
        nodes[order[i]].first_slot = (unsigned)first;
        nodes[order[i]].last_slot = (unsigned)last;
        first = last + 1;
        cursor += per_primary;
    }
}

static void add_replica(struct placement *nodes, size_t replica, size_t primary,
                        struct report *report) {
    nodes[replica].is_primary = false;
    nodes[replica].primary_index = primary;
    report_plain(report, "Adding replica %s:%d to %s:%d\n", nodes[replica].host,
                 nodes[replica].port, nodes[primary].host, nodes[primary].port);
}

/* Removes from `rest` and returns the first node on another host than the primary's, or simply the
 * first one. */
static size_t take_replica(const struct placement *nodes, size_t primary, size_t *rest,
                           size_t *rest_count) {
    size_t at = 0;
    while (at < *rest_count && same_host(&nodes[rest[at]], &nodes[primary]))
        at++;
    if (at == *rest_count) at = 0;
    size_t taken = rest[at];
    memmove(&rest[at], &rest[at + 1], (*rest_count - at - 1) * sizeof(*rest));
    (*rest_count)--;
    return taken;
}

static void assign_replicas(struct placement *nodes, const size_t *order, size_t count,
                            size_t primary_count, size_t replicas, struct report *report) {
    size_t rest_count = count - primary_count;
    if (rest_count == 0) return;
    size_t *rest = mem_alloc(rest_count * sizeof(*rest));
    for (size_t i = 0; i < rest_count; i++) {
        rest[i] = order[primary_count + (i + 1) % rest_count];
    }
    for (size_t i = 0; i < primary_count; i++) {
        for (size_t k = 0; k < replicas && rest_count > 0; k++) {
            add_replica(nodes, take_replica(nodes, order[i], rest, &rest_count), order[i], report);
        }
    }
    if (rest_count > 0) report_plain(report, "Adding extra replicas...\n");
    for (size_t i = 0; rest_count > 0; i = (i + 1) % primary_count) {
        add_replica(nodes, take_replica(nodes, order[i], rest, &rest_count), order[i], report);
    }
    mem_free(rest);
}

/* ---- anti-affinity ---- */

static size_t shard_of(const struct placement *nodes, size_t i) {
    return nodes[i].is_primary ? i : nodes[i].primary_index;
}

/* True for the first node of its shard on its host: each group of them is scored once. */
static bool is_first_of_group(const struct placement *nodes, size_t i) {
    for (size_t k = 0; k < i; k++) {
        if (shard_of(nodes, k) == shard_of(nodes, i) && same_host(&nodes[k], &nodes[i])) {
            return false;
        }
    }
    return true;
}

uint64_t allocation_affinity_score(const struct placement *nodes, size_t node_count) {
    uint64_t score = 0;
    for (size_t i = 0; i < node_count; i++) {
        if (!is_first_of_group(nodes, i)) continue;
        uint64_t size = 0;
        bool has_primary = false;
        for (size_t k = i; k < node_count; k++) {
            if (shard_of(nodes, k) != shard_of(nodes, i) || !same_host(&nodes[k], &nodes[i])) {
                continue;
            }
            size++;
            has_primary |= nodes[k].is_primary;
        }
        if (has_primary) {
            score += (size - 1) * SAME_HOST_AS_PRIMARY;
        } else if (size > 1) {
            score += size;
        }
    }
    return score;
}

/* The replicas of a placement, to be dealt out to primaries anew. */
struct search {
    struct placement *nodes;
    size_t node_count;
    size_t *replicas; /* Indexes into nodes. */
    size_t replica_count;
    size_t *best; /* For each replica the primary of the best placement so far. */
    uint64_t best_score;
};

static void note_if_better(struct search *search) {
    uint64_t score = allocation_affinity_score(search->nodes, search->node_count);
    if (score >= search->best_score) return;
    search->best_score = score;
    for (size_t i = 0; i < search->replica_count; i++) {
        search->best[i] = search->nodes[search->replicas[i]].primary_index;
    }
}

static void swap_primaries(struct search *search, size_t a, size_t b) {
    struct placement *first = &search->nodes[search->replicas[a]];
    struct placement *second = &search->nodes[search->replicas[b]];
    size_t primary = first->primary_index;
    first->primary_index = second->primary_index;
    second->primary_index = primary;
}

/* All permutations from position `at` on; few replicas only. */
static void try_permutations(struct search *search, size_t at) {
    if (search->best_score == 0) return;
    if (at + 1 >= search->replica_count) {
        note_if_better(search);
        return;
    }
    for (size_t i = at; i < search->replica_count; i++) {
        swap_primaries(search, at, i);
        try_permutations(search, at + 1);
        swap_primaries(search, at, i);
    }
}

/* Swaps two replicas' primaries at random and keeps what does not make it worse. The seed comes
 * from the nodes, so the same nodes always get the same placement. */
static void try_swaps(struct search *search) {
    struct rng rng;
    uint64_t seed = 0;
    for (size_t i = 0; i < search->node_count; i++) {
        seed = crc64(seed, bytes_of_text(search->nodes[i].id));
    }
    rng_seed(&rng, seed);
    uint64_t score = search->best_score;
    size_t steps = SEARCH_STEPS_PER_NODE * search->node_count;
    for (size_t i = 0; i < steps && search->best_score > 0; i++) {
        size_t a = rng_below(&rng, search->replica_count);
        size_t b = rng_below(&rng, search->replica_count);
        swap_primaries(search, a, b);
        uint64_t swapped = allocation_affinity_score(search->nodes, search->node_count);
        if (swapped > score) {
            swap_primaries(search, a, b);
        } else {
            score = swapped;
            note_if_better(search);
        }
    }
}

static uint64_t search_best(struct placement *nodes, size_t node_count, uint64_t score) {
    struct search search = {.nodes = nodes, .node_count = node_count, .best_score = score};
    search.replicas = mem_alloc(node_count * sizeof(size_t));
    search.best = mem_alloc(node_count * sizeof(size_t));
    for (size_t i = 0; i < node_count; i++) {
        if (nodes[i].is_primary) continue;
        search.best[search.replica_count] = nodes[i].primary_index;
        search.replicas[search.replica_count++] = i;
    }
    if (search.replica_count <= EXACT_REPLICAS_MAX) {
        try_permutations(&search, 0);
    } else {
        try_swaps(&search);
    }
    for (size_t i = 0; i < search.replica_count; i++) {
        nodes[search.replicas[i]].primary_index = search.best[i];
    }
    mem_free(search.replicas);
    mem_free(search.best);
    return search.best_score;
}

static void separate_replicas(struct placement *nodes, size_t node_count, struct report *report) {
    const struct profile *words = report->profile;
    uint64_t score = allocation_affinity_score(nodes, node_count);
    if (score == 0) return;
    report_info(report, ">>> Trying to optimize %s allocation for anti-affinity\n",
                words->replicas);
    score = search_best(nodes, node_count, score);
    if (score == 0) {
        report_ok(report, "[OK] Perfect anti-affinity obtained!\n");
    } else if (score >= SAME_HOST_AS_PRIMARY) {
        report_error(report, "[WARNING] Some %s are in the same host as their %s\n",
                     words->replicas, words->primary);
    } else {
        report_error(report, "[WARNING] Some %s of the same %s are in the same host\n",
                     words->replicas, words->primary);
    }
}

void allocation_plan(struct placement *nodes, size_t node_count, size_t replicas,
                     struct report *report) {
    size_t primary_count = allocation_primary_count(node_count, replicas);
    ASSERT(primary_count > 0);
    size_t *order = mem_alloc(node_count * sizeof(*order));
    report_info(report,
                report->profile->is_valkey
                    ? ">>> Performing hash slots allocation on %zu node(s)...\n"
                    : ">>> Performing hash slots allocation on %zu nodes...\n",
                node_count);
    interleave(nodes, node_count, order);
    assign_slots(nodes, order, primary_count, report);
    assign_replicas(nodes, order, node_count, primary_count, replicas, report);
    separate_replicas(nodes, node_count, report);
    mem_free(order);
}

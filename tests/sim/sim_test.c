/* Runs seeds of the simulation in two processes.
 *
 *   sim_test                     the seeds of every commit, and the large cluster
 *   DUNLIN_SIM_FIRST, DUNLIN_SIM_COUNT   another range of seeds
 *   DUNLIN_SIM_TRACE=1           prints everything that happens (take one seed)
 *   DUNLIN_SIM_LARGE=0           leaves the large cluster out
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "tests/sim/sim.h"

#define MINUTES(n) ((uint64_t)(n)*60000)
#define SECONDS(n) ((uint64_t)(n)*1000)
#define SEED_FIRST 1
#define SEED_COUNT 1000
#define WORKERS 2

static uint64_t number_from_environment(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? strtoull(text, NULL, 10) : otherwise;
}

static bool report(struct sim *sim, const struct sim_options *options, bool is_fine) {
    if (is_fine) return true;
    if (!options->prints_trace) sim_print_trace(sim);
    fprintf(stderr, "seed %" PRIu64 ", %u nodes: %s\n", options->seed, options->node_count,
            sim_failure_view(sim));
    return false;
}

/* Ten minutes: seven and a half with faults, then peace until all views agree. */
static bool run_seed(uint64_t seed, bool prints_trace, struct sim_counts *total) {
    struct sim_options options = {.seed = seed,
                                  .node_count = 7,
                                  .primary_count = 3,
                                  .node_timeout_ms = 1000 + seed % 5 * 1000,
                                  .prints_trace = prints_trace};
    struct sim *sim = sim_create(&options);
    bool is_fine = sim_run(sim, SECONDS(20));
    sim_move_slots(sim, 5);
    is_fine = is_fine && sim_run(sim, SECONDS(10));
    sim_set_faults(sim, true);
    is_fine = is_fine && sim_run(sim, MINUTES(7) + SECONDS(30));
    sim_set_faults(sim, false);
    is_fine = is_fine && sim_run(sim, SECONDS(90)) && sim_views_agree(sim);
    if (is_fine) sim_move_slots(sim, 5);
    is_fine = is_fine && sim_run(sim, SECONDS(30)) && sim_views_agree(sim);
    struct sim_counts counts = sim_counts_view(sim);
    total->steps += counts.steps;
    total->packets += counts.packets;
    total->failovers += counts.failovers;
    total->crashes += counts.crashes;
    total->torn_writes += counts.torn_writes;
    total->votes += counts.votes;
    is_fine = report(sim, &options, is_fine);
    sim_destroy(sim);
    return is_fine;
}

/* A hundred shards; ten primaries die at once, their replicas take over, the dead come back. */
static bool run_large(bool prints_trace) {
    struct sim_options options = {.seed = 200,
                                  .node_count = 200,
                                  .primary_count = 100,
                                  .node_timeout_ms = 15000,
                                  .prints_trace = prints_trace};
    struct sim *sim = sim_create(&options);
    bool is_fine = sim_run_until_views_agree(sim, MINUTES(5));
    for (uint32_t i = 0; i < 10; i++)
        sim_crash(sim, i * 10);
    is_fine = is_fine && sim_run(sim, SECONDS(90));
    for (uint32_t i = 0; i < 10; i++)
        sim_restart(sim, i * 10);
    is_fine = is_fine && sim_run_until_views_agree(sim, MINUTES(5));
    is_fine = report(sim, &options, is_fine);
    struct sim_counts counts = sim_counts_view(sim);
    printf("200 nodes: %" PRIu64 " steps, %" PRIu64 " packets, %" PRIu64 " failovers\n",
           counts.steps, counts.packets, counts.failovers);
    sim_destroy(sim);
    return is_fine;
}

/* Every WORKERS-th seed. Returns how many broke. */
static int run_seeds(uint64_t first, uint64_t count, unsigned worker, bool prints_trace) {
    struct sim_counts total = {0};
    int broken = 0;
    for (uint64_t i = worker; i < count && broken < 3; i += WORKERS)
        broken += !run_seed(first + i, prints_trace, &total);
    printf("worker %u: %" PRIu64 " steps, %" PRIu64 " packets, %" PRIu64 " failovers, %" PRIu64
           " crashes, %" PRIu64 " torn writes, %" PRIu64 " votes\n",
           worker, total.steps, total.packets, total.failovers, total.crashes, total.torn_writes,
           total.votes);
    return broken;
}

int main(void) {
    uint64_t first = number_from_environment("DUNLIN_SIM_FIRST", SEED_FIRST);
    uint64_t count = number_from_environment("DUNLIN_SIM_COUNT", SEED_COUNT);
    bool prints_trace = number_from_environment("DUNLIN_SIM_TRACE", 0) != 0;
    bool runs_large = number_from_environment("DUNLIN_SIM_LARGE", 1) != 0;
    uint64_t start_ms = clock_monotonic_ms();

    pid_t children[WORKERS];
    for (unsigned worker = 0; worker < WORKERS; worker++) {
        children[worker] = fork();
        if (children[worker] < 0) {
            perror("fork");
            return 1;
        }
        if (children[worker] != 0) continue;
        int broken = run_seeds(first, count, worker, prints_trace);
        if (worker == WORKERS - 1 && runs_large) broken += !run_large(prints_trace);
        fflush(NULL);
        _exit(broken == 0 ? 0 : 1);
    }
    int broken = 0;
    for (unsigned worker = 0; worker < WORKERS; worker++) {
        int how = 0;
        if (waitpid(children[worker], &how, 0) < 0 || how != 0) broken = 1;
    }
    printf("seeds %" PRIu64 " to %" PRIu64 ": %s, %.1f s\n", first, first + count - 1,
           broken ? "BROKEN" : "fine", (double)(clock_monotonic_ms() - start_ms) / 1000);
    return broken;
}

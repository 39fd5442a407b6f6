/* Turns and exclusive sections: how one thread makes all others stand still between two commands.
 *
 * Every thread that touches slots or the node's state owns a `struct turn` and holds it while it
 * works: a loop takes its turn when it wakes up and ends it before it sleeps. An exclusive section
 * lets go of its own turn, raises *stop* and then takes everybody's turn in a fixed order. Who
 * holds a turn looks at *stop* between two commands (turn_yield) and stands aside while it is up,
 * so the asker is not starved. Nobody asks with a slot locked, nor from inside a callback of
 * another section.
 *
 * Order of locks: exclusive, turns, slots ascending, one leaf, mailbox.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/base/compiler.h"

#define TURN_MAX 80u /* Workers, the node, passes. */

struct exclusive;

struct turn {
    pthread_mutex_t lock;
    struct exclusive *exclusive;
    _Atomic uint64_t begun_count; /* How often it was taken: whether a thread still turns. */
    bool is_held;                 /* By its own thread; only that thread looks. */
};

struct exclusive *exclusive_create(void);
void exclusive_destroy(struct exclusive *exclusive);

/* Makes a turn known. Before its thread starts. The turn outlives the exclusive object. */
void exclusive_add_turn(struct exclusive *exclusive, struct turn *turn);

void turn_begin(struct turn *turn);
void turn_end(struct turn *turn);

/* True while somebody wants everybody parked. One relaxed load. */
bool turn_should_yield(const struct turn *turn);

/* Ends the turn, waits until no section is wanted or running, and takes it again. No slot is
 * locked. */
void turn_yield(struct turn *turn);

/* Parks every other thread. `own` is the caller's turn (held, or NULL for a thread without one). */
void exclusive_begin(struct exclusive *exclusive, struct turn *own);
void exclusive_end(struct exclusive *exclusive, struct turn *own);

/* Sections so far, the longest wait for one and the sum of waits, in microseconds. Any thread. */
struct exclusive_stats {
    uint64_t count;
    uint64_t wait_us_max;
    uint64_t wait_us_sum;
};
void exclusive_stats_read(const struct exclusive *exclusive, struct exclusive_stats *out);

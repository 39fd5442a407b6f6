/* An event loop of one thread: timers, messages from other threads, and a turn that it holds while
 * it works.
 *
 * Workers and the node each have one. Around each wake-up the loop takes its turn, runs what is
 * ready, ends the turn and sleeps. Everything here belongs to the loop's thread unless it says "any
 * thread".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/turn.h"

struct ev_loop;
struct loop;
struct loop_timer;

/* `turn` may be NULL for a loop that touches nothing shared (tests). */
struct loop *loop_create(const char *thread_name, struct turn *turn);
void loop_destroy(struct loop *loop); /* The thread has ended. NULL is fine. */

/* Starts a thread that runs the loop until loop_stop. */
void loop_start(struct loop *loop);
/* Runs the loop on the calling thread. */
void loop_run(struct loop *loop);
/* Any thread: ends the loop after its present turn. */
void loop_stop(struct loop *loop);
/* Waits for the thread of loop_start. */
void loop_join(struct loop *loop);

struct ev_loop *loop_ev(struct loop *loop);

/* Before the loop runs: let it nap for 20 to 50 us between two turns where that saves more than it
 * costs, as the reads tell that are noted: many clients, none of which waits noticeably longer. */
void loop_pace(struct loop *loop);
/* A client was read from. `inout_window` is a word of the client's own, 0 at first. About 1 ns. */
void loop_note_read(struct loop *loop, uint32_t *inout_window);

/* True on the thread that runs the loop. */
bool loop_is_current(const struct loop *loop);

/* Any thread: runs fn(arg) on the loop, in order. Never waits, never loses. Messages still queued
 * at loop_destroy are dropped. */
void loop_post(struct loop *loop, void (*fn)(void *arg), void *arg);

/* Any thread: makes it look at its watchers again, which somebody has changed for it. */
void loop_wake(struct loop *loop);

/* Runs what others have posted so far, without waiting for the next wake-up. */
void loop_run_posted(struct loop *loop);

/* Runs fn(arg) at each end of a turn, before the loop sleeps: where output is written. */
void loop_before_sleep(struct loop *loop, void (*fn)(void *arg), void *arg);

/* A timer; `repeat_ms` 0: once. */
struct loop_timer *loop_timer_create(struct loop *loop, void (*fn)(void *arg), void *arg);
void loop_timer_start(struct loop_timer *timer, uint64_t after_ms, uint64_t repeat_ms);
void loop_timer_stop(struct loop_timer *timer);
void loop_timer_destroy(struct loop_timer *timer); /* NULL is fine. */

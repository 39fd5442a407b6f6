/* A thread that does work nobody waits for, in the order in which it came: freeing big values,
 * closing files.
 */
#pragma once

#include <stdint.h>

struct background;

/* Starts the thread. Never NULL. */
struct background *background_create(const char *thread_name);

/* Does what is queued, then ends the thread. NULL is fine. */
void background_destroy(struct background *background);

/* Queues job(arg). Any thread; never waits for the job. */
void background_defer(struct background *background, void (*job)(void *arg), void *arg);

/* Jobs queued or running, and jobs done since the start. Any thread. */
uint64_t background_pending(const struct background *background);
uint64_t background_done(const struct background *background);

/* Latency events: what took longer than latency-monitor-threshold, by class of event, with the time
 * and the duration of the last 160 of each.
 *
 * | event          | what took long                                                        |
 * |----------------|-----------------------------------------------------------------------|
 * | command        | a command that may take time by its nature                            |
 * | fast-command   | one of constant or logarithmic time                                   |
 * | expire-cycle   | a round of deleting expired keys                                      |
 * | eviction-cycle | a round of making room between commands (within one: the command's)   |
 *
 * The classes are few; events are added from any thread under a mutex that is a leaf.
 */
#pragma once

#include <stdint.h>

#include "server/command/command.h"

struct latency_events;

struct latency_events *latency_events_create(void);
void latency_events_destroy(struct latency_events *events);

/* Any thread. `event` is a literal; samples of one second are one sample, the longest. */
void latency_events_add(struct latency_events *events, const char *event, uint64_t duration_ms);

/* LATENCY DOCTOR, GRAPH, HISTOGRAM, HISTORY, LATEST, RESET, HELP. */
extern const struct command latency_commands[];

/* What the server tells about itself: the INFO command and the figures behind it.
 *
 * Sections are rows: this module brings those about the process, clients, memory, commands and
 * keys; others (replication, persistence, cluster) hand in theirs through main.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/background.h"
#include "server/base/buffer.h"
#include "server/command/context.h"
#include "server/config/config.h"
#include "server/net/network.h"

struct observer;
struct slow_log;
struct latency_events;

enum { PERCENTILE_MAX = 16 };

struct percentiles {
    uint32_t count;
    double items[PERCENTILE_MAX];
};

struct observe_options {
    bool tracks_latency;            /* latency-tracking */
    struct percentiles percentiles; /* latency-tracking-info-percentiles */
    int64_t slow_log_from_us;       /* slowlog-log-slower-than; negative: nothing is logged. */
    uint64_t slow_log_max_entries;  /* slowlog-max-len */
    uint64_t latency_event_from_ms; /* latency-monitor-threshold; 0: nothing is watched. */
};
extern const struct option observe_option_rows[];
extern const uint32_t observe_option_count;

/* From how many microseconds on a command is of interest here; below 0: none ever is. */
int64_t observe_slow_from_us(const struct observe_options *options);

struct observer_options {
    struct command_modules *modules;
    const struct observe_options *options;
    const struct network_options *network;
    struct databases *databases;
    struct background *background;
    const struct data_type_options *types;
    const int64_t *hz;
    const char *executable;
    const char *config_file; /* "" when there is none. */
    uint64_t memory_at_start;
    const char *run_id; /* 40 hex digits */
};

struct observer *observer_create(const struct observer_options *options);
void observer_destroy(struct observer *observer);

/* A section from elsewhere: `append` writes "name:value\r\n" lines, without the heading. It takes
 * its place in the order of INFO by its name. */
void observer_add_section(struct observer *observer, const char *name,
                          void (*append)(void *state, struct buffer *out), void *state);

/* Lines that other modules add to a section of this one ("Stats", "Clients", "Memory"). */
void observer_extend_section(struct observer *observer, const char *name,
                             void (*append)(void *state, struct buffer *out), void *state);

/* Appends the `index`-th section that INFO shows by default; false: there are no more. */
bool observer_append_section(struct observer *observer, unsigned index, struct buffer *out);

/* Once a cron period on the node's loop: samples rates and the memory's peak. */
void observer_tick(struct observer *observer, uint64_t monotonic_ms);

/* Something other than a command took so long; see latency_events.h for the names. Any thread. */
void observer_note_event(struct observer *observer, const char *event, uint64_t duration_us);

/* As dispatch_hooks.slow: into the slow log, the latency events, or both. */
void observer_note_slow(void *observer, const struct session *session, const struct command *row,
                        const struct bytes *argv, uint32_t argc, uint64_t duration_us);

/* The options have changed. Everything parked. */
void observer_apply_options(struct observer *observer);

struct slow_log *observer_slow_log(const struct observer *observer);
struct latency_events *observer_latency_events(const struct observer *observer);
bool observer_monitors_latency(const struct observer *observer);

/* CONFIG RESETSTAT. Everything parked. */
void observer_reset(struct observer *observer);

extern const struct command observe_commands[]; /* INFO */

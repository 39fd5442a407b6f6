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

enum { PERCENTILE_MAX = 16 };

struct percentiles {
    uint32_t count;
    double items[PERCENTILE_MAX];
};

struct observe_options {
    bool tracks_latency;            /* latency-tracking */
    struct percentiles percentiles; /* latency-tracking-info-percentiles */
};
extern const struct option observe_option_rows[];
extern const uint32_t observe_option_count;

struct observer_options {
    struct command_modules *modules;
    const struct observe_options *options;
    const struct network_options *network;
    struct databases *databases;
    struct background *background;
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

/* Once a cron period on the node's loop: samples rates and the memory's peak. */
void observer_tick(struct observer *observer, uint64_t monotonic_ms);

/* CONFIG RESETSTAT. Everything parked. */
void observer_reset(struct observer *observer);

extern const struct command observe_commands[]; /* INFO */

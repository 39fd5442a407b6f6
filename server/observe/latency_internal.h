/* Latency events, as the files of this folder see them. */
#pragma once

#include <pthread.h>

#include "server/observe/latency_events.h"

enum { LATENCY_SAMPLES = 160, LATENCY_CLASSES = 32 };

struct latency_sample {
    uint64_t time_s; /* Unix time */
    uint32_t duration_ms;
};

/* A ring of samples. */
struct latency_class {
    const char *name;
    uint32_t max_ms; /* Also of samples that are gone. */
    uint32_t count;
    uint32_t next; /* Where the next one goes. */
    struct latency_sample samples[LATENCY_SAMPLES];
};

struct latency_events {
    pthread_mutex_t lock;
    uint32_t count;
    struct latency_class classes[LATENCY_CLASSES];
};

/* From the oldest (0) to the newest (count - 1). */
const struct latency_sample *latency_class_at(const struct latency_class *class, uint32_t index);

void latency_command_doctor(struct command_context *context);
void latency_command_graph(struct command_context *context);
void latency_command_help(struct command_context *context);
void latency_command_histogram(struct command_context *context);
void latency_command_history(struct command_context *context);
void latency_command_latest(struct command_context *context);
void latency_command_reset(struct command_context *context);

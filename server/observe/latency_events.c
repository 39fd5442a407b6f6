#include "server/observe/latency_events.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/command/context.h"
#include "server/command/latency.h"
#include "server/observe/latency_internal.h"
#include "server/observe/observe.h"

enum { GRAPH_ROWS = 4 };

struct latency_events *latency_events_create(void) {
    struct latency_events *events = mem_alloc_zero(sizeof(*events));
    pthread_mutex_init(&events->lock, NULL);
    return events;
}

void latency_events_destroy(struct latency_events *events) {
    if (events == NULL) return;
    pthread_mutex_destroy(&events->lock);
    mem_free(events);
}

static struct latency_class *find(struct latency_events *events, struct bytes name) {
    for (uint32_t i = 0; i < events->count; i++) {
        if (bytes_equal_text_nocase(name, events->classes[i].name)) return &events->classes[i];
    }
    return NULL;
}

const struct latency_sample *latency_class_at(const struct latency_class *class, uint32_t index) {
    uint32_t first = class->next + LATENCY_SAMPLES - class->count;
    return &class->samples[(first + index) % LATENCY_SAMPLES];
}

static void add_sample(struct latency_class *class, uint64_t now_s, uint32_t duration_ms) {
    if (duration_ms > class->max_ms) class->max_ms = duration_ms;
    if (class->count > 0) {
        struct latency_sample *last =
            &class->samples[(class->next + LATENCY_SAMPLES - 1) % LATENCY_SAMPLES];
        if (last->time_s == now_s) {
            if (duration_ms > last->duration_ms) last->duration_ms = duration_ms;
            return;
        }
    }
    class->samples[class->next] = (struct latency_sample){now_s, duration_ms};
    class->next = (class->next + 1) % LATENCY_SAMPLES;
    if (class->count < LATENCY_SAMPLES) class->count++;
}

void latency_events_add(struct latency_events *events, const char *event, uint64_t duration_ms) {
    uint64_t now_s = clock_wall_ms() / 1000;
    pthread_mutex_lock(&events->lock);
    struct latency_class *class = find(events, bytes_of_text(event));
    if (class == NULL && events->count < LATENCY_CLASSES) {
        class = &events->classes[events->count++];
        *class = (struct latency_class){.name = event};
    }
    if (class != NULL)
        add_sample(class, now_s, duration_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)duration_ms);
    pthread_mutex_unlock(&events->lock);
}

/* -- commands -- */

void latency_command_latest(struct command_context *context) {
    struct latency_events *events = observer_latency_events(context->modules->observer);
    pthread_mutex_lock(&events->lock);
    reply_array(context->reply, events->count);
    for (uint32_t i = 0; i < events->count; i++) {
        const struct latency_class *class = &events->classes[i];
        const struct latency_sample *last = latency_class_at(class, class->count - 1);
        reply_array(context->reply, 4);
        reply_bulk(context->reply, bytes_of_text(class->name));
        reply_integer(context->reply, (int64_t)last->time_s);
        reply_integer(context->reply, last->duration_ms);
        reply_integer(context->reply, class->max_ms);
    }
    pthread_mutex_unlock(&events->lock);
}

void latency_command_history(struct command_context *context) {
    struct latency_events *events = observer_latency_events(context->modules->observer);
    pthread_mutex_lock(&events->lock);
    const struct latency_class *class = find(events, context->argv[2]);
    uint32_t count = class == NULL ? 0 : class->count;
    reply_array(context->reply, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct latency_sample *sample = latency_class_at(class, i);
        reply_array(context->reply, 2);
        reply_integer(context->reply, (int64_t)sample->time_s);
        reply_integer(context->reply, sample->duration_ms);
    }
    pthread_mutex_unlock(&events->lock);
}

/* Forgets one class; the last one takes its place. */
static void forget(struct latency_events *events, struct latency_class *class) {
    *class = events->classes[--events->count];
}

void latency_command_reset(struct command_context *context) {
    struct latency_events *events = observer_latency_events(context->modules->observer);
    pthread_mutex_lock(&events->lock);
    uint32_t before = events->count;
    if (context->argc == 2) events->count = 0;
    for (uint32_t i = 2; i < context->argc; i++) {
        struct latency_class *class = find(events, context->argv[i]);
        if (class != NULL) forget(events, class);
    }
    reply_integer(context->reply, before - events->count);
    pthread_mutex_unlock(&events->lock);
}

/* -- graph -- */

/* How long ago in as many characters as fit under each other: "12s", "3m", "5h", "2d". */
static void ago(uint64_t seconds, char out[8]) {
    static const struct {
        uint64_t seconds;
        char unit;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (seconds < units[i].seconds && units[i].seconds > 1) continue;
        uint64_t value = seconds / units[i].seconds;
        snprintf(out, 8, "%u%c", (unsigned)(value > 9999 ? 9999 : value), units[i].unit);
        return;
    }
}

/* A bar for each sample, the time that has passed since written downward beneath. */
static void append_graph(struct buffer *out, const struct latency_class *class, uint64_t now_s) {
    static const char steps[] = " _-|";
    uint32_t low = UINT32_MAX;
    uint32_t high = 0;
    for (uint32_t i = 0; i < class->count; i++) {
        uint32_t ms = latency_class_at(class, i)->duration_ms;
        low = ms < low ? ms : low;
        high = ms > high ? ms : high;
    }
    buffer_append_format(out, "%s - high %u ms, low %u ms (all time high %u ms)\n", class->name,
                         high, low, class->max_ms);
    for (int i = 0; i < 80; i++)
        buffer_append_u8(out, '-');
    buffer_append_u8(out, '\n');
    uint32_t first = class->count > 80 ? class->count - 80 : 0;
    uint32_t span = high - low;
    for (int row = GRAPH_ROWS - 1; row >= 0; row--) {
        for (uint32_t i = first; i < class->count; i++) {
            uint64_t above = latency_class_at(class, i)->duration_ms - low;
            // Height in thirds of a row; the lowest sample is a line on the ground.
            uint64_t height = span == 0 ? 1 : 1 + above * (GRAPH_ROWS * 3 - 1) / span;
            uint64_t ground = (uint64_t)row * 3;
            uint64_t in_row = height <= ground ? 0 : height - ground;
            buffer_append_u8(out, (uint8_t)steps[in_row < 3 ? in_row : 3]);
        }
        buffer_append_u8(out, '\n');
    }
    buffer_append_u8(out, '\n');
    for (size_t row = 0; row < 5; row++) {
        struct buffer line = {0};
        bool is_empty = true;
        for (uint32_t i = first; i < class->count; i++) {
            char text[8];
            ago(now_s - latency_class_at(class, i)->time_s, text);
            char letter = row < strlen(text) ? text[row] : ' ';
            is_empty = is_empty && letter == ' ';
            buffer_append_u8(&line, (uint8_t)letter);
        }
        if (!is_empty) {
            buffer_append_bytes(out, buffer_view(&line));
            buffer_append_u8(out, '\n');
        }
        buffer_deinit(&line);
    }
}

void latency_command_graph(struct command_context *context) {
    struct latency_events *events = observer_latency_events(context->modules->observer);
    struct buffer text = {0};
    pthread_mutex_lock(&events->lock);
    const struct latency_class *class = find(events, context->argv[2]);
    if (class != NULL) append_graph(&text, class, clock_wall_ms() / 1000);
    pthread_mutex_unlock(&events->lock);
    if (class == NULL) {
        char name[128];
        reply_error_format(context->reply, "ERR No samples available for event '%s'",
                           bytes_to_text(context->argv[2], name, sizeof(name)));
    } else {
        reply_verbatim(context->reply, buffer_view(&text));
    }
    buffer_deinit(&text);
}

/* -- histogram -- */

enum { HISTOGRAM_BOUNDS = 40 };

/* Upper bounds double from about a microsecond on; each is the largest duration that a histogram
 * with two significant digits can't tell from that power of two, as clients know them from redis.
 */
static double bound_us(uint32_t index) {
    double power_ns = (double)(UINT64_C(1024) << index);
    return (power_ns + power_ns / 128 - 1) / 1000;
}

/* Pairs of bound and how many took no longer; where nothing is added there is no pair. */
static uint32_t cumulate(const uint64_t *counts, uint64_t total, uint64_t bounds[][2]) {
    uint32_t used = 0;
    uint64_t seen = 0;
    uint32_t bucket = 0;
    double ticks_per_us = clock_ticks_per_us();
    for (uint32_t i = 0; i < HISTOGRAM_BOUNDS && seen < total; i++) {
        uint64_t before = seen;
        for (; bucket < LATENCY_BUCKETS &&
               latency_bucket_middle(bucket) / ticks_per_us <= bound_us(i);
             bucket++)
            seen += counts[bucket];
        if (seen == before) continue;
        bounds[used][0] = (uint64_t)bound_us(i);
        bounds[used++][1] = seen;
    }
    return used;
}

/* Writes the histograms of a command and of its subcommands; returns how many. `counts` is scratch
 * memory of LATENCY_BUCKETS elements. */
static uint32_t reply_histograms(struct command_context *context, const struct command *command,
                                 uint64_t *counts) {
    const struct command_modules *modules = context->modules;
    struct reply *reply = context->reply;
    uint32_t written = 0;
    for (const struct command *sub = command->subcommands; sub != NULL && sub->name != NULL; sub++)
        written += reply_histograms(context, sub, counts);
    uint64_t total = dispatcher_latency_counts(
        modules->dispatcher, command_table_id(modules->commands, command), counts);
    if (total == 0) return written;
    uint64_t bounds[HISTOGRAM_BOUNDS][2];
    uint32_t used = cumulate(counts, total, bounds);
    char name[96];
    command_full_name(command, name, sizeof(name));
    reply_bulk_text(reply, name);
    reply_map(reply, 2);
    reply_bulk_text(reply, "calls");
    reply_integer(reply, (int64_t)total);
    reply_bulk_text(reply, "histogram_usec");
    reply_map(reply, used);
    for (uint32_t i = 0; i < used; i++) {
        reply_integer(reply, (int64_t)bounds[i][0]);
        reply_integer(reply, (int64_t)bounds[i][1]);
    }
    return written + 1;
}

/* The row that "get" or "config|get" names. */
static const struct command *find_command(const struct command_table *table, struct bytes name) {
    const uint8_t *bar = name.len == 0 ? NULL : memchr(name.data, '|', name.len);
    if (bar == NULL) return command_table_find(table, name);
    size_t len = (size_t)(bar - name.data);
    const struct command *container = command_table_find(table, bytes_of(name.data, len));
    if (container == NULL) return NULL;
    return command_find_subcommand(container, bytes_of(bar + 1, name.len - len - 1));
}

void latency_command_histogram(struct command_context *context) {
    const struct command_table *table = context->modules->commands;
    uint64_t *counts = mem_alloc(LATENCY_BUCKETS * sizeof(*counts));
    size_t mark = reply_begin(context->reply);
    uint32_t written = 0;
    for (uint32_t i = 0; context->argc == 2 && i < command_table_count(table); i++)
        written += reply_histograms(context, command_table_at(table, i), counts);
    for (uint32_t i = 2; i < context->argc; i++) {
        const struct command *command = find_command(table, context->argv[i]);
        if (command != NULL) written += reply_histograms(context, command, counts);
    }
    reply_end_map(context->reply, mark, written);
    mem_free(counts);
}

/* -- advice -- */

struct advice {
    const char *event;
    const char *text;
};

static const struct advice advices[] = {
    {"command", "Commands took long. SLOWLOG GET names them (slowlog-log-slower-than below the "
                "monitor's threshold shows all). Ask for less at once: SCAN for KEYS, ranges for "
                "whole collections."},
    {"fast-command", "Commands that should take microseconds took long, so the process itself was "
                     "held up: look for a CPU that is shared or overcommitted, for swapping, and "
                     "in INFO server for exclusive_wait_us_max."},
    {"expire-cycle", "Many keys expired at one time. Spread deadlines, for instance by some random "
                     "seconds."},
    {"eviction-cycle", "Making room took long: far more than maxmemory was used, as after it was "
                       "lowered. A lower maxmemory-eviction-tenacity makes smaller steps."},
};

static void append_advice(struct buffer *out, const struct latency_class *class) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < class->count; i++)
        sum += latency_class_at(class, i)->duration_ms;
    uint64_t span_s = class->count < 2 ? 0
                                       : latency_class_at(class, class->count - 1)->time_s -
                                             latency_class_at(class, 0)->time_s;
    buffer_append_format(out,
                         "%s: %u samples in %llu seconds, %llu ms on average, %u ms at worst.\n",
                         class->name, class->count, (unsigned long long)span_s,
                         (unsigned long long)(sum / class->count), class->max_ms);
    for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
        if (strcmp(advices[i].event, class->name) == 0)
            buffer_append_format(out, "  %s\n", advices[i].text);
    }
}

void latency_command_doctor(struct command_context *context) {
    const struct observer *observer = context->modules->observer;
    struct latency_events *events = observer_latency_events(observer);
    struct buffer text = {0};
    pthread_mutex_lock(&events->lock);
    if (!observer_monitors_latency(observer)) {
        buffer_append_text(&text, "Nothing is watched: CONFIG SET latency-monitor-threshold "
                                  "<milliseconds> records what takes longer than that.\n");
    } else if (events->count == 0) {
        buffer_append_text(&text, "Nothing took longer than latency-monitor-threshold so far.\n");
    }
    for (uint32_t i = 0; i < events->count; i++)
        append_advice(&text, &events->classes[i]);
    pthread_mutex_unlock(&events->lock);
    reply_verbatim(context->reply, buffer_view(&text));
    buffer_deinit(&text);
}

void latency_command_help(struct command_context *context) {
    static const char *const lines[] = {
        "DOCTOR",
        "    What was slow, and what to do about it.",
        "GRAPH <event>",
        "    A chart of the samples of a class of events.",
        "HISTOGRAM [<command> ...]",
        "    How many calls took no longer than 1, 2, 4, 8 ... microseconds.",
        "HISTORY <event>",
        "    Time and milliseconds of the last samples of a class.",
        "LATEST",
        "    The last sample of each class, and the longest ever.",
        "RESET [<event> ...]",
        "    Forget the samples of these classes, or all.",
        NULL,
    };
    context_help(context, lines);
}

#include <stdio.h>
#include <string.h>

#include "server/base/compiler.h"
#include "server/base/number.h"
#include "server/command/latency.h"
#include "server/observe/observe.h"

static bool parse_percentiles(void *out, const struct option_input *input, struct buffer *error) {
    struct percentiles *percentiles = out;
    if (input->word_count == 1 && input->words[0].len == 0) return true;
    for (size_t i = 0; i < input->word_count; i++) {
        double value = 0;
        if (!number_parse_double(input->words[i], &value) || percentiles->count == PERCENTILE_MAX) {
            buffer_append_text(error, "Invalid latency-tracking-info-percentiles parameters");
            return false;
        }
        if (value < 0 || value > 100) {
            buffer_append_text(error, "latency-tracking-info-percentiles parameters should sit "
                                      "between [0.0,100.0]");
            return false;
        }
        percentiles->items[percentiles->count++] = value;
    }
    return true;
}

static void format_percentiles(const void *field, struct buffer *out) {
    const struct percentiles *percentiles = field;
    for (uint32_t i = 0; i < percentiles->count; i++)
        buffer_append_format(out, "%s%.17g", i == 0 ? "" : " ", percentiles->items[i]);
}

static bool format_percentile_line(const void *field, size_t index, struct buffer *out) {
    const struct percentiles *percentiles = field;
    if (index > 0) return false;
    if (percentiles->count == 0) buffer_append_text(out, "\"\"");
    format_percentiles(field, out);
    return true;
}

static const struct option_ops percentile_ops = {
    .parse = parse_percentiles,
    .format = format_percentiles,
    .format_line = format_percentile_line,
};

int64_t observe_slow_from_us(const struct observe_options *options) {
    uint64_t event_us = options->latency_event_from_ms * 1000;
    if (options->latency_event_from_ms == 0 || event_us > INT64_MAX)
        return options->slow_log_from_us;
    if (options->slow_log_from_us < 0) return (int64_t)event_us;
    return options->slow_log_from_us < (int64_t)event_us ? options->slow_log_from_us
                                                         : (int64_t)event_us;
}

const struct option observe_option_rows[] = {
    {
        .name = "latency-tracking",
        .field = OPTION_BOOL(struct observe_options, tracks_latency),
        .range = {.initial = 1},
        .live = true,
        .doc = "Keep a histogram of the durations of each command.",
    },
    {
        .name = "latency-tracking-info-percentiles",
        .field = OPTION_SPECIAL(struct observe_options, percentiles),
        .initial_text = "50 99 99.9",
        .ops = &percentile_ops,
        .live = true,
        .multi_word = true,
        .doc = "The percentiles that INFO latencystats shows.",
    },
    {
        .name = "slowlog-log-slower-than",
        .field = OPTION_INT(struct observe_options, slow_log_from_us),
        .range = {.initial = 10000, .min = -1, .max = INT64_MAX},
        .live = true,
        .doc = "Commands that take at least so many microseconds go into the slow log; -1: none.",
    },
    {
        .name = "slowlog-max-len",
        .field = OPTION_UINT(struct observe_options, slow_log_max_entries),
        .range = {.initial = 128, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "How many entries the slow log keeps.",
    },
    {
        .name = "latency-monitor-threshold",
        .field = OPTION_UINT(struct observe_options, latency_event_from_ms),
        .range = {.initial = 0, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "What takes at least so many milliseconds is shown by LATENCY; 0: nothing.",
    },
};
const uint32_t observe_option_count = ARRAY_COUNT(observe_option_rows);

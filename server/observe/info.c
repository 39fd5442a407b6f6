#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/command/eviction.h"
#include "server/command/latency.h"
#include "server/command/tracking.h"
#include "server/net/network.h"
#include "server/observe/latency_events.h"
#include "server/observe/memory_figures.h"
#include "server/observe/observe.h"
#include "server/observe/observe_internal.h"
#include "server/observe/slow_log.h"
#include "server/pubsub/pubsub.h"
#include "server/script/script.h"

#define SERVER_VERSION "7.2.4"

enum { EXTENSIONS_MAX = 16, SAMPLES = 16, SAMPLE_MS = 100 };

struct section {
    const char *name;
    void (*append)(void *state, struct buffer *out);
    void *state;
};

/* Rates over the last 1.6 seconds. */
struct rate {
    uint64_t last;
    uint64_t per_second[SAMPLES];
};

struct observer {
    struct observer_options options;
    struct section sections[EXTENSIONS_MAX];
    uint32_t section_count;
    struct section extensions[EXTENSIONS_MAX];
    uint32_t extension_count;
    uint64_t started_ms;
    uint64_t sampled_ms;
    uint32_t sample_at;
    struct rate commands;
    struct rate input;
    struct rate output;
    _Atomic uint64_t peak_bytes;
    struct slow_log *slow_log;
    struct latency_events *latency_events;
};

struct observer *observer_create(const struct observer_options *options) {
    struct observer *observer = mem_alloc_zero(sizeof(*observer));
    observer->options = *options;
    observer->started_ms = clock_monotonic_ms();
    observer->slow_log = slow_log_create(options->options->slow_log_max_entries);
    observer->latency_events = latency_events_create();
    return observer;
}

void observer_destroy(struct observer *observer) {
    if (observer == NULL) return;
    slow_log_destroy(observer->slow_log);
    latency_events_destroy(observer->latency_events);
    mem_free(observer);
}

void observer_apply_options(struct observer *observer) {
    slow_log_limit(observer->slow_log, observer->options.options->slow_log_max_entries);
}

struct slow_log *observer_slow_log(const struct observer *observer) {
    return observer->slow_log;
}

struct latency_events *observer_latency_events(const struct observer *observer) {
    return observer->latency_events;
}

bool observer_monitors_latency(const struct observer *observer) {
    return observer->options.options->latency_event_from_ms > 0;
}

void observer_note_event(struct observer *observer, const char *event, uint64_t duration_us) {
    uint64_t from_ms = observer->options.options->latency_event_from_ms;
    if (from_ms == 0 || duration_us / 1000 < from_ms) return;
    latency_events_add(observer->latency_events, event, duration_us / 1000);
}

void observer_note_slow(void *state, const struct session *session, const struct command *row,
                        const struct bytes *argv, uint32_t argc, uint64_t duration_us) {
    struct observer *observer = state;
    const struct observe_options *options = observer->options.options;
    bool is_fast = (row->flags & COMMAND_FAST) != 0;
    observer_note_event(observer, is_fast ? "fast-command" : "command", duration_us);
    if (options->slow_log_from_us < 0 || duration_us < (uint64_t)options->slow_log_from_us) return;
    slow_log_add(observer->slow_log, observer->options.modules->config, session, row, argv, argc,
                 duration_us);
}

void observer_add_section(struct observer *observer, const char *name,
                          void (*append)(void *state, struct buffer *out), void *state) {
    observer->sections[observer->section_count++] = (struct section){name, append, state};
}

void observer_extend_section(struct observer *observer, const char *name,
                             void (*append)(void *state, struct buffer *out), void *state) {
    observer->extensions[observer->extension_count++] = (struct section){name, append, state};
}

/* -- sampling -- */

static void sample(struct observer *observer, struct rate *rate, uint64_t now,
                   uint64_t elapsed_ms) {
    rate->per_second[observer->sample_at] =
        now >= rate->last ? (now - rate->last) * 1000 / elapsed_ms : 0;
    rate->last = now;
}

static uint64_t rate_mean(const struct rate *rate) {
    uint64_t sum = 0;
    for (int i = 0; i < SAMPLES; i++)
        sum += rate->per_second[i];
    return sum / SAMPLES;
}

const struct observer_options *observer_options(const struct observer *observer) {
    return &observer->options;
}

uint64_t observer_note_peak(struct observer *observer, uint64_t used) {
    uint64_t peak = atomic_load(&observer->peak_bytes);
    while (used > peak && !atomic_compare_exchange_weak(&observer->peak_bytes, &peak, used)) {
    }
    return used > peak ? used : peak;
}

void observer_tick(struct observer *observer, uint64_t monotonic_ms) {
    uint64_t elapsed_ms = monotonic_ms - observer->sampled_ms;
    if (elapsed_ms < SAMPLE_MS) return;
    struct dispatch_stats commands;
    struct network_stats network;
    dispatcher_stats(observer->options.modules->dispatcher, &commands);
    network_stats_read(observer->options.modules->network, &network);
    sample(observer, &observer->commands, commands.commands, elapsed_ms);
    sample(observer, &observer->input, network.input_bytes, elapsed_ms);
    sample(observer, &observer->output, network.output_bytes, elapsed_ms);
    observer->sample_at = (observer->sample_at + 1) % SAMPLES;
    observer->sampled_ms = monotonic_ms;
    if (observer->sample_at == 0) observer_note_peak(observer, mem_used_bytes());
}

void observer_reset(struct observer *observer) {
    dispatcher_reset_stats(observer->options.modules->dispatcher);
    network_reset_stats(observer->options.modules->network);
    observer->commands = observer->input = observer->output = (struct rate){0};
    atomic_store(&observer->peak_bytes, 0);
}

/* -- sections -- */

static void field_u64(struct buffer *out, const char *name, uint64_t value) {
    buffer_append_format(out, "%s:%llu\r\n", name, (unsigned long long)value);
}

static void field_text(struct buffer *out, const char *name, const char *value) {
    buffer_append_format(out, "%s:%s\r\n", name, value);
}

static void human(uint64_t bytes, char *out, size_t cap) {
    static const char units[] = "BKMGTP";
    double value = (double)bytes;
    unsigned unit = 0;
    for (; value >= 1024 && unit < 5; unit++)
        value /= 1024;
    if (unit == 0) {
        snprintf(out, cap, "%lluB", (unsigned long long)bytes);
    } else {
        snprintf(out, cap, "%.2f%c", value, units[unit]);
    }
}

static void field_memory(struct buffer *out, const char *name, uint64_t bytes) {
    char text[32];
    human(bytes, text, sizeof(text));
    buffer_append_format(out, "%s:%llu\r\n%s_human:%s\r\n", name, (unsigned long long)bytes, name,
                         text);
}

static void append_server(void *state, struct buffer *out) {
    const struct observer *observer = state;
    const struct observer_options *options = &observer->options;
    struct utsname system;
    uname(&system);
    uint64_t uptime_s = (clock_monotonic_ms() - observer->started_ms) / 1000;
    struct exclusive_stats exclusive;
    exclusive_stats_read(dispatcher_exclusive(options->modules->dispatcher), &exclusive);
    field_text(out, "redis_version", SERVER_VERSION);
    field_text(out, "dunlin_version", DUNLIN_VERSION);
    field_text(out, "redis_git_sha1", "00000000");
    field_u64(out, "redis_git_dirty", 0);
    field_text(out, "redis_mode",
               databases_is_cluster(options->databases) ? "cluster" : "standalone");
    buffer_append_format(out, "os:%s %s %s\r\n", system.sysname, system.release, system.machine);
    field_u64(out, "arch_bits", sizeof(void *) * 8);
    field_text(out, "monotonic_clock", "POSIX clock_gettime");
    field_text(out, "multiplexing_api", "epoll");
    field_text(out, "gcc_version", __VERSION__);
    field_u64(out, "process_id", (uint64_t)getpid());
    field_text(out, "process_supervised", "no");
    field_text(out, "run_id", options->run_id);
    field_u64(out, "tcp_port", options->network->port);
    field_u64(out, "server_time_usec", clock_wall_us());
    field_u64(out, "uptime_in_seconds", uptime_s);
    field_u64(out, "uptime_in_days", uptime_s / 86400);
    field_u64(out, "hz", (uint64_t)*options->hz);
    field_u64(out, "configured_hz", (uint64_t)*options->hz);
    field_u64(out, "lru_clock", (clock_wall_ms() / 1000) & 0xffffff);
    field_text(out, "executable", options->executable);
    field_text(out, "config_file", options->config_file);
    field_u64(out, "worker_threads", options->network->worker_threads);
    field_u64(out, "exclusive_sections", exclusive.count);
    field_u64(out, "exclusive_wait_us_max", exclusive.wait_us_max);
    field_u64(out, "exclusive_wait_us", exclusive.wait_us_sum);
}

static void append_clients(void *state, struct buffer *out) {
    const struct observer *observer = state;
    struct network_stats stats;
    network_stats_read(observer->options.modules->network, &stats);
    field_u64(out, "connected_clients", stats.connected_clients);
    field_u64(out, "maxclients", observer->options.network->max_clients);
    field_u64(out, "client_recent_max_input_buffer", stats.largest_input_buffer);
    field_u64(out, "client_recent_max_output_buffer", stats.largest_output_buffer);
    field_u64(out, "blocked_clients", stats.blocked_clients);
    struct tracking_stats tracking;
    tracking_stats_read(observer->options.modules->dispatcher, &tracking);
    field_u64(out, "tracking_clients", tracking.clients);
}

static void append_ratio(struct buffer *out, const char *name, uint64_t over, uint64_t under) {
    buffer_append_format(out, "%s_ratio:%.2f\r\n%s_bytes:%lld\r\n", name, memory_ratio(over, under),
                         name, (long long)over - (long long)under);
}

static void append_script_memory(const struct scripts *scripts, struct buffer *out) {
    struct script_figures figures;
    scripts_read_figures(scripts, &figures);
    field_memory(out, "used_memory_lua", figures.script_memory);
    field_u64(out, "used_memory_vm_eval", figures.script_memory);
    field_u64(out, "used_memory_scripts_eval", 0); // What is kept lies in the interpreter.
    field_u64(out, "number_of_cached_scripts", figures.scripts);
    field_u64(out, "number_of_functions", figures.functions);
    field_u64(out, "number_of_libraries", figures.libraries);
    field_u64(out, "used_memory_vm_functions", figures.library_memory);
    field_memory(out, "used_memory_vm_total", figures.script_memory + figures.library_memory);
    field_u64(out, "used_memory_functions", figures.library_bytes);
    field_memory(out, "used_memory_scripts", figures.library_bytes);
}

static void append_memory(void *state, struct buffer *out) {
    struct observer *observer = state;
    const struct memory_options *limits = &observer->options.types->memory;
    struct memory_figures memory;
    memory_figures_read(observer, &memory);
    uint64_t total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    field_memory(out, "used_memory", memory.used);
    field_memory(out, "used_memory_rss", memory.process);
    field_memory(out, "used_memory_peak", memory.peak);
    buffer_append_format(out, "used_memory_peak_perc:%.2f%%\r\n",
                         memory_ratio(memory.used, memory.peak) * 100);
    field_u64(out, "used_memory_overhead", memory.overhead);
    field_u64(out, "used_memory_startup", memory.startup);
    field_u64(out, "used_memory_dataset", memory.data);
    buffer_append_format(out, "used_memory_dataset_perc:%.2f%%\r\n",
                         memory_ratio(memory.data, memory.used) * 100);
    field_u64(out, "used_memory_tables", memory.tables);
    field_u64(out, "allocator_allocated", memory.allocated);
    field_u64(out, "allocator_active", memory.active);
    field_u64(out, "allocator_resident", memory.resident);
    field_memory(out, "total_system_memory", total);
    append_script_memory(observer->options.modules->scripts, out);
    field_memory(out, "maxmemory", limits->max_bytes);
    field_text(out, "maxmemory_policy", memory_policy_name(limits->policy));
    append_ratio(out, "allocator_frag", memory.active, memory.allocated);
    append_ratio(out, "allocator_rss", memory.resident, memory.active);
    append_ratio(out, "rss_overhead", memory.process, memory.resident);
    append_ratio(out, "mem_fragmentation", memory.process, memory.used);
    field_u64(out, "mem_not_counted_for_evict",
              eviction_uncounted_bytes(observer->options.modules->dispatcher));
    field_u64(out, "mem_clients_normal", memory.clients);
    field_text(out, "mem_allocator", mem_allocator_name());
    field_u64(out, "lazyfree_pending_objects", background_pending(observer->options.background));
    field_u64(out, "lazyfreed_objects", background_done(observer->options.background));
}

static void append_stats(void *state, struct buffer *out) {
    const struct observer *observer = state;
    struct dispatch_stats commands;
    struct network_stats network;
    dispatcher_stats(observer->options.modules->dispatcher, &commands);
    network_stats_read(observer->options.modules->network, &network);
    field_u64(out, "total_connections_received", network.connections_received);
    field_u64(out, "total_commands_processed", commands.commands);
    field_u64(out, "instantaneous_ops_per_sec", rate_mean(&observer->commands));
    field_u64(out, "total_net_input_bytes", network.input_bytes);
    field_u64(out, "total_net_output_bytes", network.output_bytes);
    buffer_append_format(out, "instantaneous_input_kbps:%.2f\r\n",
                         (double)rate_mean(&observer->input) / 1024);
    buffer_append_format(out, "instantaneous_output_kbps:%.2f\r\n",
                         (double)rate_mean(&observer->output) / 1024);
    field_u64(out, "rejected_connections", network.connections_rejected);
    field_u64(out, "expired_keys", commands.expired_keys);
    field_u64(out, "expired_keys_active", commands.expired_by_cycle);
    struct eviction_stats eviction;
    eviction_stats_read(observer->options.modules->dispatcher, &eviction);
    field_u64(out, "evicted_keys", eviction.evicted_keys);
    field_u64(out, "evicted_clients", network.evicted_clients);
    field_u64(out, "total_eviction_exceeded_time", eviction.exceeded_us / 1000);
    field_u64(out, "current_eviction_exceeded_time", eviction.current_exceeded_us / 1000);
    field_u64(out, "keyspace_hits", commands.keyspace_hits);
    field_u64(out, "keyspace_misses", commands.keyspace_misses);
    const struct pubsub *pubsub = observer->options.modules->pubsub;
    field_u64(out, "pubsub_channels", pubsub_name_count(pubsub, SUBSCRIPTION_CHANNEL));
    field_u64(out, "pubsub_patterns", pubsub_name_count(pubsub, SUBSCRIPTION_PATTERN));
    field_u64(out, "pubsubshard_channels", pubsub_name_count(pubsub, SUBSCRIPTION_SHARD));
    struct tracking_stats tracking;
    tracking_stats_read(observer->options.modules->dispatcher, &tracking);
    field_u64(out, "tracking_total_keys", tracking.keys);
    field_u64(out, "tracking_total_items", tracking.items);
    field_u64(out, "tracking_total_prefixes", tracking.prefixes);
    field_u64(out, "total_forks", 0); // There is no fork: the field says so to who watches it.
    field_u64(out, "unexpected_error_replies", commands.unexpected_errors);
    field_u64(out, "total_error_replies", commands.errors);
    field_u64(out, "total_reads_processed", network.reads);
    field_u64(out, "total_writes_processed", network.writes);
    field_u64(out, "client_query_buffer_limit_disconnections", network.query_limit_closed);
    field_u64(out, "client_output_buffer_limit_disconnections", network.output_limit_closed);
}

static void append_cpu(void *state, struct buffer *out) {
    (void)state;
    struct rusage self;
    getrusage(RUSAGE_SELF, &self);
    buffer_append_format(out, "used_cpu_sys:%ld.%06ld\r\n", (long)self.ru_stime.tv_sec,
                         (long)self.ru_stime.tv_usec);
    buffer_append_format(out, "used_cpu_user:%ld.%06ld\r\n", (long)self.ru_utime.tv_sec,
                         (long)self.ru_utime.tv_usec);
    buffer_append_text(out,
                       "used_cpu_sys_children:0.000000\r\nused_cpu_user_children:0.000000\r\n");
}

static void append_command_stat(const struct observer *observer, const struct command *command,
                                struct buffer *out) {
    struct command_stats stats;
    const struct command_modules *modules = observer->options.modules;
    dispatcher_command_stats(modules->dispatcher, command_table_id(modules->commands, command),
                             &stats);
    for (const struct command *sub = command->subcommands; sub != NULL && sub->name != NULL; sub++)
        append_command_stat(observer, sub, out);
    if (stats.calls == 0 && stats.rejected == 0 && stats.failed == 0) return;
    char name[96];
    command_full_name(command, name, sizeof(name));
    buffer_append_format(out,
                         "cmdstat_%s:calls=%llu,usec=%llu,usec_per_call=%.2f,rejected_calls=%llu,"
                         "failed_calls=%llu\r\n",
                         name, (unsigned long long)stats.calls, (unsigned long long)stats.usec,
                         stats.calls == 0 ? 0 : (double)stats.usec / (double)stats.calls,
                         (unsigned long long)stats.rejected, (unsigned long long)stats.failed);
}

static void append_command_stats(void *state, struct buffer *out) {
    const struct observer *observer = state;
    const struct command_table *table = observer->options.modules->commands;
    for (uint32_t i = 0; i < command_table_count(table); i++)
        append_command_stat(observer, command_table_at(table, i), out);
}

/* Durations of one command and of its subcommands. `counts` is scratch memory. */
static void append_latency(const struct observer *observer, const struct command *command,
                           uint64_t *counts, struct buffer *out) {
    const struct command_modules *modules = observer->options.modules;
    const struct percentiles *percentiles = &observer->options.options->percentiles;
    for (const struct command *sub = command->subcommands; sub != NULL && sub->name != NULL; sub++)
        append_latency(observer, sub, counts, out);
    uint64_t total = dispatcher_latency_counts(
        modules->dispatcher, command_table_id(modules->commands, command), counts);
    if (total == 0) return;
    char name[96];
    command_full_name(command, name, sizeof(name));
    buffer_append_format(out, "latency_percentiles_usec_%s:", name);
    for (uint32_t i = 0; i < percentiles->count; i++) {
        double ticks = latency_percentile(counts, total, percentiles->items[i]);
        buffer_append_format(out, "%sp%.17g=%.3f", i == 0 ? "" : ",", percentiles->items[i],
                             ticks / clock_ticks_per_us());
    }
    buffer_append_text(out, "\r\n");
}

static void append_latency_stats(void *state, struct buffer *out) {
    const struct observer *observer = state;
    const struct command_table *table = observer->options.modules->commands;
    if (!observer->options.options->tracks_latency) return;
    uint64_t *counts = mem_alloc(LATENCY_BUCKETS * sizeof(*counts));
    for (uint32_t i = 0; i < command_table_count(table); i++)
        append_latency(observer, command_table_at(table, i), counts, out);
    mem_free(counts);
}

/* There are no modules: the heading says so to who asks for it. */
static void append_modules(void *state, struct buffer *out) {
    (void)state;
    (void)out;
}

static void append_error_stat(void *arg, const char *code, uint64_t count) {
    buffer_append_format(arg, "errorstat_%s:count=%llu\r\n", code, (unsigned long long)count);
}

static void append_error_stats(void *state, struct buffer *out) {
    const struct observer *observer = state;
    dispatcher_error_stats(observer->options.modules->dispatcher, append_error_stat, out);
}

static void append_cluster(void *state, struct buffer *out) {
    const struct observer *observer = state;
    field_u64(out, "cluster_enabled", databases_is_cluster(observer->options.databases));
}

static void append_keyspace(void *state, struct buffer *out) {
    const struct observer *observer = state;
    struct databases *databases = observer->options.databases;
    int64_t now_ms = (int64_t)clock_wall_ms();
    for (unsigned db = 0; db < databases_count(databases); db++) {
        const struct keyspace *keyspace = databases_keyspace_if_any(databases, db);
        if (keyspace == NULL || keyspace_count(keyspace) == 0) continue;
        uint64_t expires = keyspace_deadline_count(keyspace);
        int64_t mean_ms =
            expires == 0 ? 0 : (int64_t)(keyspace_deadline_sum_ms(keyspace) / expires) - now_ms;
        buffer_append_format(out, "db%u:keys=%llu,expires=%llu,avg_ttl=%lld\r\n", db,
                             (unsigned long long)keyspace_count(keyspace),
                             (unsigned long long)expires, (long long)(mean_ms < 0 ? 0 : mean_ms));
    }
}

/* -- INFO -- */

/* The order of Redis. Rows without a function are handed in by other modules. */
static const struct info_row {
    const char *name;
    void (*append)(void *state, struct buffer *out);
    bool is_default;
} rows[] = {
    {"Server", append_server, true},
    {"Clients", append_clients, true},
    {"Memory", append_memory, true},
    {"Persistence", NULL, true},
    {"Stats", append_stats, true},
    {"Replication", NULL, true},
    {"CPU", append_cpu, true},
    {"Modules", append_modules, true},
    {"Commandstats", append_command_stats, false},
    {"Errorstats", append_error_stats, true},
    {"Latencystats", append_latency_stats, false},
    {"Cluster", append_cluster, true},
    {"Keyspace", append_keyspace, true},
};

static void append_section(struct observer *observer, const struct info_row *row,
                           struct buffer *out) {
    const struct section *foreign = NULL;
    for (uint32_t i = 0; i < observer->section_count; i++) {
        if (strcmp(observer->sections[i].name, row->name) == 0) foreign = &observer->sections[i];
    }
    if (row->append == NULL && foreign == NULL) return;
    if (out->len > 0) buffer_append_text(out, "\r\n");
    buffer_append_format(out, "# %s\r\n", row->name);
    if (row->append != NULL) row->append(observer, out);
    if (foreign != NULL) foreign->append(foreign->state, out);
    for (uint32_t i = 0; i < observer->extension_count; i++) {
        const struct section *extension = &observer->extensions[i];
        if (strcmp(extension->name, row->name) == 0) extension->append(extension->state, out);
    }
}

bool observer_append_section(struct observer *observer, unsigned index, struct buffer *out) {
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        if (!rows[i].is_default || index-- > 0) continue;
        append_section(observer, &rows[i], out);
        return true;
    }
    return false;
}

static bool is_wanted(const struct command_context *context, const struct info_row *row) {
    if (context->argc == 1) return row->is_default;
    for (uint32_t i = 1; i < context->argc; i++) {
        if (bytes_equal_text_nocase(context->argv[i], row->name)) return true;
        if (context_argument_is(context, i, "all") || context_argument_is(context, i, "everything"))
            return true;
        if (context_argument_is(context, i, "default") && row->is_default) return true;
    }
    return false;
}

static void info(struct command_context *context) {
    struct buffer text = {0};
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        if (is_wanted(context, &rows[i]))
            append_section(context->modules->observer, &rows[i], &text);
    }
    reply_verbatim(context->reply, buffer_view(&text));
    buffer_deinit(&text);
}

static const struct argument info_arguments[] = {
    {.name = "section", .kind = ARGUMENT_STRING, .is_optional = true, .is_multiple = true},
    {.name = NULL},
};

static const char *const info_tips[] = {"nondeterministic_output", "request_policy:all_shards",
                                        "response_policy:special", NULL};

const struct command observe_commands[] = {
    {
        .name = "info",
        .arity = -1,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .categories = CATEGORY_DANGEROUS,
        .handler = info,
        .since = "1.0.0",
        .summary = "Server state and statistics, in sections",
        .complexity = "O(1)",
        .arguments = info_arguments,
        .tips = info_tips,
    },
    COMMAND_END,
};

/* The composition root: the one file that sees all modules, makes them, hands each what it needs,
 * and takes them apart in reverse.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/acl/acl.h"
#include "server/admin/admin.h"
#include "server/aof/aof.h"
#include "server/base/background.h"
#include "server/base/clock.h"
#include "server/base/disk_fault.h"
#include "server/base/fault_stack.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/base/rng.h"
#include "server/cluster/cluster.h"
#include "server/cluster/migrate.h"
#include "server/command/dispatch.h"
#include "server/command/eviction.h"
#include "server/command/latency.h"
#include "server/command/tracking.h"
#include "server/command/transaction.h"
#include "server/config/config.h"
#include "server/journal/journal.h"
#include "server/keyspace/keyspace.h"
#include "server/keyspace/memory_options.h"
#include "server/keyspace/type_options.h"
#include "server/lifecycle/crash.h"
#include "server/lifecycle/lifecycle.h"
#include "server/net/network.h"
#include "server/observe/latency_events.h"
#include "server/observe/observe.h"
#include "server/observe/slow_log.h"
#include "server/pubsub/pubsub.h"
#include "server/replication/replication.h"
#include "server/script/script.h"
#include "server/snapshot/snapshot.h"
#include "server/types/generic/generic.h"
#include "server/types/registry.h"
#include "tools/check/check_aof_program.h"
#include "tools/check/check_rdb.h"

enum {
    EXPIRE_MS = 20,          /* Expired keys go within about this time, */
    EXPIRE_BUDGET = 2000,    /* at most so many of them at once. */
    SPARE_DESCRIPTORS = 128, /* Files and links beside clients. */
    STOP_GRACE_MS = 1000,
};

struct server {
    struct config *config;
    struct network_options network_options;
    struct lifecycle_options lifecycle_options;
    struct acl_options acl_options;
    struct data_type_options type_options;
    struct pubsub_options pubsub_options;
    struct script_options script_options;
    struct snapshot_options snapshot_options;
    struct aof_options aof_options;
    struct replication_options replication_options;
    struct cluster_options cluster_options;
    struct observe_options observe_options;
    bool is_cluster;

    struct background *background;
    struct exclusive *exclusive;
    struct databases *databases;
    struct dispatcher *dispatcher;
    struct command_modules modules;
    struct lifecycle *lifecycle;
    struct turn node_turn;
    struct loop *node_loop;
    struct dispatch_worker *node_worker;
    struct loop_timer *cron;
    struct loop_timer *expiry;
    struct session node_session;
    char run_id[41];
    char executable[512];
};

/* -- options -- */

static bool apply_memory(void *context, struct config_change *change) {
    struct server *server = context;
    (void)change;
    dispatcher_apply_memory_options(server->dispatcher);
    network_limit_client_memory(server->modules.network); // It may be a part of maxmemory.
    return true;
}

/* Nodes of a cluster know each other by their ports. */
static bool apply_listening(struct server *server, struct config_change *change) {
    bool has_port = config_change_has(change, "port");
    if (!has_port && !config_change_has(change, "bind")) return true;
    bool is_rollback = config_change_is_rollback(change);
    if (has_port && server->is_cluster && !is_rollback)
        return config_change_refuse(change, "port",
                                    "A node of a cluster keeps its port. Restart it with the new "
                                    "one.");
    if (network_listen_anew(server->modules.network) || is_rollback) return true;
    return has_port
               ? config_change_refuse(change, "port",
                                      "Unable to listen on this port. Check server logs.")
               : config_change_refuse(change, "bind", "Failed to bind to specified addresses.");
}

static bool apply_network(void *context, struct config_change *change) {
    struct server *server = context;
    if (!apply_listening(server, change)) return false;
    network_limit_client_memory(server->modules.network);
    dispatcher_limit_tracking(server->dispatcher, server->network_options.tracking_max_keys);
    return true;
}

static bool apply_acl(void *context, struct config_change *change) {
    struct server *server = context;
    return acl_apply_options(server->modules.acl, change);
}

static uint64_t cron_ms(const struct server *server) {
    return 1000 / (uint64_t)server->lifecycle_options.hz;
}

static bool apply_lifecycle(void *context, struct config_change *change) {
    struct server *server = context;
    const struct lifecycle_options *options = &server->lifecycle_options;
    char error[512];
    bool has_score = config_change_has(change, "oom-score-adj") ||
                     config_change_has(change, "oom-score-adj-values");
    log_set_level((enum log_level)options->log_level);
    crash_take_signals(options->has_crash_log);
    loop_timer_start(server->cron, cron_ms(server), cron_ms(server));
    if (has_score && !lifecycle_apply_oom_score(server->lifecycle) &&
        !config_change_is_rollback(change))
        return config_change_refuse(
            change, "oom-score-adj",
            "Failed to apply new oom_score_adj configuration, check server logs.");
    if (!config_change_has(change, "dir")) return true;
    if (!lifecycle_change_directory(server->lifecycle, config_change_is_rollback(change), error,
                                    sizeof(error)))
        return config_change_refuse(change, "dir", "%s", error);
    if (aof_is_on(server->modules.aof))
        log_warning("The append-only file goes on in the folder in which it was switched on. To "
                    "move it to the new `dir`, switch appendonly off and on again.");
    return true;
}

static void track_durations(struct server *server) {
    dispatcher_track_latency(server->dispatcher, server->observe_options.tracks_latency);
    dispatcher_track_slow(server->dispatcher, observe_slow_from_us(&server->observe_options));
}

static bool apply_observe(void *context, struct config_change *change) {
    struct server *server = context;
    (void)change;
    track_durations(server);
    observer_apply_options(server->modules.observer);
    return true;
}

static void register_options(struct server *server) {
    struct config *config = server->config;
    config_register(config, network_option_rows, network_option_count, &server->network_options,
                    apply_network, server);
    config_register(config, lifecycle_option_rows, lifecycle_option_count,
                    &server->lifecycle_options, apply_lifecycle, server);
    config_register(config, acl_option_rows, acl_option_count, &server->acl_options, apply_acl,
                    server);
    config_register(config, pubsub_option_rows, pubsub_option_count, &server->pubsub_options, NULL,
                    NULL);
    config_register(config, data_type_option_rows, data_type_option_count, &server->type_options,
                    NULL, NULL);
    config_register(config, memory_option_rows, memory_option_count, &server->type_options.memory,
                    apply_memory, server);
    config_register(config, lazy_free_options, lazy_free_option_count, &server->type_options, NULL,
                    NULL);
    config_register(config, script_option_rows, script_option_count, &server->script_options, NULL,
                    NULL);
    config_register(config, snapshot_option_rows, snapshot_option_count, &server->snapshot_options,
                    snapshot_apply_options, &server->modules.snapshotter);
    config_register(config, aof_option_rows, aof_option_count, &server->aof_options,
                    aof_apply_options, &server->modules.aof);
    config_register(config, replication_option_rows, replication_option_count,
                    &server->replication_options, replication_apply_options,
                    &server->modules.replication);
    config_register(config, cluster_option_rows, cluster_option_count, &server->cluster_options,
                    cluster_apply_options, &server->modules.cluster);
    config_register(config, observe_option_rows, observe_option_count, &server->observe_options,
                    apply_observe, server);
    config_register(config, admin_options, admin_option_count,
                    admin_settings(server->modules.admin), NULL, NULL);
}

static int print_usage(void) {
    puts("Usage: dunlin-server [FILE | -] [--option value ...]\n"
         "       dunlin-server --version | --help\n\n"
         "FILE is a configuration file in the form of redis.conf; '-' reads it from standard "
         "input.\n"
         "Options on the command line win over the file: dunlin-server --port 7000 --dir /data");
    return 0;
}

/* Handles the arguments that are no options. Returns an exit status, or -1 to go on. */
static int handle_special_arguments(int argc, char **argv) {
    if (argc != 2) return -1;
    if (strcmp(argv[1], "-v") == 0 || strcmp(argv[1], "--version") == 0) {
        printf("Dunlin server v=%s malloc=%s bits=%zu\n", DUNLIN_VERSION, mem_allocator_name(),
               sizeof(void *) * 8);
        return 0;
    }
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) return print_usage();
    return -1;
}

static bool load_options(struct server *server, int argc, char **argv) {
    struct config_error error;
    if (config_load_arguments(server->config, argc - 1, argv + 1, &error) == STATUS_OK) return true;
    struct buffer text = {0};
    config_error_format(&error, &text);
    fwrite(text.data, 1, text.len, stderr);
    buffer_deinit(&text);
    return false;
}

/* -- the node's loop -- */

static void on_cron(void *arg) {
    struct server *server = arg;
    uint64_t now_ms = clock_monotonic_ms();
    if (dispatcher_expire_pauses(server->dispatcher, now_ms))
        network_retry_paused(server->modules.network);
    observer_tick(server->modules.observer, now_ms);
    snapshot_tick(server->modules.snapshotter);
    aof_tick(server->modules.aof, now_ms);
    lifecycle_tick(server->lifecycle);
}

static void on_expiry(void *arg) {
    struct server *server = arg;
    uint64_t began_us = clock_monotonic_us();
    dispatch_expire_some(server->node_worker,
                         EXPIRE_BUDGET * (uint32_t)server->lifecycle_options.expire_effort);
    observer_note_event(server->modules.observer, "expire-cycle", clock_monotonic_us() - began_us);
    observer_note_event(server->modules.observer, "eviction-cycle",
                        eviction_continue(server->node_worker));
}

static void defer(void *state, void (*job)(void *arg), void *arg) {
    background_defer(state, job, arg);
}

/* -- making and unmaking -- */

/* Room for as many descriptors as clients are allowed, or fewer clients. */
static void adjust_descriptor_limit(struct network_options *options) {
    struct rlimit limit;
    rlim_t wanted = options->max_clients + SPARE_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= wanted) return;
    if (limit.rlim_cur <= SPARE_DESCRIPTORS) return;
    options->max_clients = limit.rlim_cur - SPARE_DESCRIPTORS;
    log_warning(
        "The system allows %llu open files, so maxclients is %llu. Raise 'ulimit -n' for more.",
        (unsigned long long)limit.rlim_cur, (unsigned long long)options->max_clients);
}

static void reset_statistics(void *state) {
    struct server *server = state;
    observer_reset(server->modules.observer);
    acl_reset_stats(server->modules.acl);
    replication_reset_stats(server->modules.replication);
}

static bool replicas_caught_up(void *state) {
    struct server *server = state;
    return replication_caught_up(server->modules.replication);
}

/* Passes and saves carry the history with them. */
static void read_history(void *state, struct snapshot_replication *out) {
    struct server *server = state;
    replication_read_history(server->modules.replication, out);
}

static bool wants_save(void *state) {
    struct server *server = state;
    return snapshot_wants_save(server->modules.snapshotter);
}

static bool save_at_end(void *state) {
    struct server *server = state;
    return snapshot_save_now(server->modules.snapshotter) == STATUS_OK;
}

static bool end_log(void *state, bool is_forced) {
    struct server *server = state;
    return aof_prepare_end(server->modules.aof, is_forced);
}

/* Clients may wait for that (WAITAOF). */
static void log_synced(void *state) {
    struct server *server = state;
    if (server->modules.replication != NULL) replication_log_synced(server->modules.replication);
}

static void notify(void *state, unsigned db, struct bytes key, unsigned event_class,
                   const char *event) {
    struct server *server = state;
    pubsub_notify(server->modules.pubsub, &server->pubsub_options, db, key, event_class, event);
}

/* A failed save comes first, as clients know it. */
static const char *disk_error(void *state) {
    struct server *server = state;
    if ((dispatcher_admission(server->dispatcher) & ADMISSION_DISK_ERROR) == 0)
        return aof_error_text(server->modules.aof);
    return "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to "
           "persist "
           "to disk. Commands that may modify the data set are disabled, because this instance is "
           "configured to report errors during writes if RDB snapshotting fails "
           "(stop-writes-on-bgsave-error option). Please check the Redis logs for details about "
           "the RDB error.";
}

static void flushed(void *state) {
    struct server *server = state;
    snapshot_note_flushed(server->modules.snapshotter);
}

static uint64_t pending_frees(void *state) {
    struct server *server = state;
    return background_pending(server->background);
}

static bool append_info(void *state, unsigned index, struct buffer *out) {
    struct server *server = state;
    return observer_append_section(server->modules.observer, index, out);
}

static void prepare_crash_report(struct server *server) {
    crash_set_sources(&(struct crash_sources){
        .config = server->config, .state = server, .append_info = append_info});
    crash_take_signals(server->lifecycle_options.has_crash_log);
}

/* Brings back what the last save kept. False: there is a file, and it is no good. */
static bool load_dump(struct server *server) {
    struct snapshot_loaded loaded;
    struct snapshot_data fresh;
    snapshot_data_init(server->modules.snapshotter, &fresh);
    bool will_follow = server->is_cluster ? cluster_is_replica(server->modules.cluster)
                                          : server->replication_options.target.host[0] != '\0';
    enum status status =
        snapshot_load_file(server->modules.snapshotter, &fresh, !will_follow, &loaded);
    if (status == STATUS_OK) {
        exclusive_begin(server->exclusive, NULL);
        snapshot_data_adopt(server->modules.snapshotter, &fresh);
        replication_restore(server->modules.replication, &loaded.replication, will_follow);
        exclusive_end(server->exclusive, NULL);
        return true;
    }
    snapshot_data_deinit(&fresh);
    if (status == STATUS_NOT_FOUND) return true;
    log_warning("Fatal error loading the DB, check the file '%s' in '%s': %s. The server does not "
                "start, so that nothing is overwritten.",
                server->snapshot_options.file_name, server->lifecycle_options.directory,
                loaded.error);
    return false;
}

static bool load_log(struct server *server) {
    bool is_loaded = aof_load(server->modules.aof, server->node_worker);
    exclusive_begin(server->exclusive, NULL);
    dispatcher_reset_stats(server->dispatcher); // Nobody sent what was loaded.
    is_loaded = is_loaded && aof_start(server->modules.aof);
    exclusive_end(server->exclusive, NULL);
    return is_loaded;
}

/* While the workers answer LOADING. With an append-only file the dump file counts for nothing. */
static bool load_data(struct server *server) {
    return server->aof_options.is_on ? load_log(server) : load_dump(server);
}

static void set_loading(struct server *server, bool is_loading) {
    dispatcher_set_admission(server->dispatcher, ADMISSION_LOADING, is_loading);
    snapshot_set_loading(server->modules.snapshotter, is_loading);
}

static void create_keyspace(struct server *server) {
    uint64_t seed = 0;
    rng_fill_from_os(&seed, sizeof(seed));
    server->background = background_create("reclaimer");
    server->exclusive = exclusive_create();
    server->databases = databases_create(&(struct databases_options){
        .count = server->is_cluster ? 1 : (unsigned)server->lifecycle_options.databases,
        .is_cluster = server->is_cluster,
        .seed = seed,
        .types = registry_types,
    });
    databases_keyspace(server->databases, 0); // Made now, for everybody uses it.
    databases_set_background(server->databases, defer, server->background);
    server->dispatcher = dispatcher_create(&(struct dispatch_options){
        .databases = server->databases,
        .exclusive = server->exclusive,
        .types = &server->type_options,
        .modules = &server->modules,
    });
    server->modules.dispatcher = server->dispatcher;
}

static void create_commands(struct server *server) {
    struct command_table *table = command_table_create();
    registry_add_commands(table);
    command_table_add(table, transaction_commands);
    command_table_add(table, pubsub_commands);
    command_table_add(table, script_commands);
    command_table_add(table, function_commands);
    command_table_add(table, connection_commands);
    command_table_add(table, admin_commands);
    command_table_add(table, lifecycle_commands);
    command_table_add(table, observe_commands);
    command_table_add(table, slow_log_commands);
    command_table_add(table, latency_commands);
    command_table_add(table, snapshot_commands);
    command_table_add(table, aof_commands);
    command_table_add(table, replication_commands);
    command_table_add(table, cluster_commands);
    command_table_add(table, migrate_commands);
    command_table_add(table, acl_commands);
    server->modules.commands = table;
}

static void create_threads(struct server *server) {
    server->modules.network =
        network_create(&server->network_options, server->dispatcher, &server->type_options);
    server->modules.scripts = scripts_create(&server->script_options);
    server->modules.pubsub = pubsub_create(&(struct pubsub_hooks){
        .network = server->modules.network,
        .worker_of = network_worker_of,
        .is_worker = network_is_worker,
        .post = network_post_worker,
        .find = network_find,
        .flush = network_pushed,
        .tell_cluster = cluster_publish,
    });
    network_set_pubsub(server->modules.network, server->modules.pubsub);
    network_set_acl(server->modules.network, server->modules.acl);
    acl_set_hooks(server->modules.acl, &(struct acl_hooks){
                                           .network = server->modules.network,
                                           .pubsub = server->modules.pubsub,
                                           .dispatcher = server->dispatcher,
                                           .each = network_each,
                                           .kill = network_kill,
                                           .describe = network_describe,
                                           .each_subscription = pubsub_each_own,
                                       });
    exclusive_add_turn(server->exclusive, &server->node_turn);
    server->node_loop = loop_create("node", &server->node_turn);
    server->node_worker = dispatch_worker_create(server->dispatcher, &server->node_turn);
    server->cron = loop_timer_create(server->node_loop, on_cron, server);
    server->expiry = loop_timer_create(server->node_loop, on_expiry, server);
    loop_timer_start(server->cron, cron_ms(server), cron_ms(server));
    loop_timer_start(server->expiry, EXPIRE_MS, EXPIRE_MS);
}

static void create_modules(struct server *server) {
    struct rng rng;
    rng_seed_from_os(&rng);
    rng_hex(&rng, server->run_id, sizeof(server->run_id) - 1);
    server->modules.journal = journal_create();
    create_keyspace(server);
    create_threads(server);
    server->lifecycle =
        lifecycle_create(&server->lifecycle_options, server->node_loop, &server->modules);
    server->modules.lifecycle = server->lifecycle;
    lifecycle_set_hooks(server->lifecycle, &(struct lifecycle_hooks){
                                               .state = server,
                                               .wants_save = wants_save,
                                               .save = save_at_end,
                                               .end_log = end_log,
                                               .replicas_caught_up = replicas_caught_up,
                                           });
    server->modules.config = server->config;
    server->modules.snapshotter = snapshotter_create(&(struct snapshotter_create_options){
        .options = &server->snapshot_options,
        .databases = server->databases,
        .modules = &server->modules,
        .exclusive = server->exclusive,
        .types = &server->type_options,
        .read_replication = read_history,
        .replication_state = server,
    });
    server->modules.aof = aof_create(&(struct aof_create_options){
        .options = &server->aof_options,
        .modules = &server->modules,
        .databases = server->databases,
        .exclusive = server->exclusive,
        .synced = log_synced,
        .synced_state = server,
    });
    server->modules.replication = replication_create(&(struct replication_create_options){
        .options = &server->replication_options,
        .network = &server->network_options,
        .modules = &server->modules,
        .databases = server->databases,
        .exclusive = server->exclusive,
    });
    server->modules.migrator = migrator_create(&server->modules, &server->network_options);
    const char *config_file = config_path(server->config);
    server->modules.observer = observer_create(&(struct observer_options){
        .modules = &server->modules,
        .options = &server->observe_options,
        .network = &server->network_options,
        .databases = server->databases,
        .background = server->background,
        .types = &server->type_options,
        .hz = &server->lifecycle_options.hz,
        .executable = server->executable,
        .config_file = config_file == NULL ? "" : config_file,
        .memory_at_start = mem_used_bytes(),
        .run_id = server->run_id,
    });
    observer_add_section(server->modules.observer, "Persistence", snapshot_info,
                         server->modules.snapshotter);
    observer_extend_section(server->modules.observer, "Persistence", aof_info, server->modules.aof);
    observer_extend_section(server->modules.observer, "Persistence", snapshot_info_progress,
                            server->modules.snapshotter);
    struct replication *replication = server->modules.replication;
    observer_add_section(server->modules.observer, "Replication", replication_info, replication);
    observer_extend_section(server->modules.observer, "Stats", replication_info_stats, replication);
    observer_extend_section(server->modules.observer, "Memory", replication_info_memory,
                            replication);
    observer_extend_section(server->modules.observer, "Stats", acl_info_stats, server->modules.acl);
    dispatcher_set_hooks(server->dispatcher, &(struct dispatch_hooks){
                                                 .redirect = cluster_redirect,
                                                 .may_run = acl_may_run,
                                                 .may_read_all_keys = acl_may_read_all_keys,
                                                 .disk_error = disk_error,
                                                 .disk_error_state = server,
                                                 .notify_events = &server->pubsub_options.events,
                                                 .notify = notify,
                                                 .notify_state = server,
                                                 .block = network_block_timeout,
                                                 .post = network_post,
                                                 .unblock = network_unblock,
                                                 .retry_paused = network_retry_paused,
                                                 .worker_of = network_worker_of,
                                                 .is_worker = network_is_worker,
                                                 .post_worker = network_post_worker,
                                                 .find = network_find,
                                                 .pushed = network_pushed,
                                                 .serve_busy = network_serve_busy,
                                                 .end_busy = network_end_busy,
                                                 .pending_frees = pending_frees,
                                                 .pending_frees_state = server,
                                                 .flushed = flushed,
                                                 .flushed_state = server,
                                                 .slow = observer_note_slow,
                                                 .slow_state = server->modules.observer,
                                             });
    dispatcher_limit_tracking(server->dispatcher, server->network_options.tracking_max_keys);
    dispatcher_apply_memory_options(server->dispatcher);
    network_limit_client_memory(server->modules.network);
    track_durations(server);
}

static void destroy_modules(struct server *server) {
    loop_timer_destroy(server->cron);
    loop_timer_destroy(server->expiry);
    dispatch_worker_destroy(server->node_worker);
    migrator_destroy(server->modules.migrator);
    cluster_destroy(server->modules.cluster);
    aof_destroy(server->modules.aof); // Its thread tells replication of what is durable.
    replication_destroy(server->modules.replication);
    network_destroy(server->modules.network);
    pubsub_destroy(server->modules.pubsub);
    loop_destroy(server->node_loop);
    lifecycle_destroy(server->lifecycle);
    snapshotter_destroy(server->modules.snapshotter);
    observer_destroy(server->modules.observer);
    background_destroy(server->background);
    scripts_destroy(server->modules.scripts); // Libraries may have been on their way out.
    databases_set_background(server->databases, NULL, NULL);
    dispatcher_destroy(server->dispatcher);
    databases_destroy(server->databases);
    exclusive_destroy(server->exclusive);
    journal_destroy(server->modules.journal);
}

/* The users of the configuration, or of the ACL file, which lies in `dir`. */
static bool start_acl(struct server *server, char *error, size_t cap) {
    struct buffer text = {0};
    bool is_started = acl_start(server->modules.acl, &text);
    if (!is_started) bytes_to_text(buffer_view(&text), error, cap);
    buffer_deinit(&text);
    return is_started;
}

static int refuse_start(const char *error) {
    log_warning("%s", error);
    if (!isatty(STDOUT_FILENO)) fprintf(stderr, "dunlin-server: %s\n", error);
    return 1;
}

/* What a node of a cluster must not have been told. False: `error` says it. */
static bool check_cluster_options(struct server *server, char *error, size_t cap) {
    server->is_cluster = server->cluster_options.is_enabled;
    if (!server->is_cluster) return true;
    if (server->replication_options.target.host[0] != '\0') {
        snprintf(error, cap, "replicaof directive not allowed in cluster mode");
        return false;
    }
    if (server->lifecycle_options.databases != 1)
        log_verbose("A cluster has one database: 'databases %llu' is not used",
                    (unsigned long long)server->lifecycle_options.databases);
    return true;
}

/* The node's place in its cluster; nothing to do outside one. */
static bool create_cluster(struct server *server, char *error, size_t cap) {
    if (!server->is_cluster) return true;
    server->modules.cluster = cluster_create(
        &(struct cluster_create_options){
            .options = &server->cluster_options,
            .network = &server->network_options,
            .modules = &server->modules,
            .databases = server->databases,
            .node_loop = server->node_loop,
            .node_worker = server->node_worker,
            .ping_replica_period_ms = server->replication_options.ping_period_s * 1000,
        },
        error, cap);
    if (server->modules.cluster == NULL) return false;
    observer_extend_section(server->modules.observer, "Stats", cluster_info_stats,
                            server->modules.cluster);
    observer_extend_section(server->modules.observer, "Memory", cluster_info_memory,
                            server->modules.cluster);
    return true;
}

/* A server that begins with nothing, and belongs to nobody, has nothing to make its clients wait
 * for. */
static bool has_to_load(const struct server *server) {
    return server->is_cluster || server->aof_options.is_on ||
           server->replication_options.target.host[0] != '\0' ||
           access(server->snapshot_options.file_name, F_OK) == 0;
}

/* Clients are answered from here on. Their first answer may be LOADING. */
static bool start_serving(struct server *server, char *error, size_t cap) {
    if (!network_listen(server->modules.network, error, cap)) return false;
    lifecycle_write_pid_file(&server->lifecycle_options); // Who is answered finds it there.
    lifecycle_catch_signals(server->lifecycle);
    if (has_to_load(server)) {
        set_loading(server, true);
    } else {
        lifecycle_end_start(); // The first client may write.
    }
    network_start(server->modules.network);
    return true;
}

/* The data, then what speaks to other nodes about it. */
static bool start_all(struct server *server, char *error, size_t cap) {
    if (!load_data(server)) {
        snprintf(error, cap, "The data could not be loaded");
        return false;
    }
    exclusive_begin(server->exclusive, NULL);
    bool is_started = !server->is_cluster || cluster_start(server->modules.cluster, error, cap);
    if (is_started) replication_start(server->modules.replication);
    lifecycle_end_start(); // From here on there is something to save.
    set_loading(server, false);
    exclusive_end(server->exclusive, NULL);
    if (!is_started) return false;
    lifecycle_apply_oom_score(server->lifecycle); // A refusal is in the log.
    log_notice("Ready to accept connections on port %llu, %llu worker thread(s)",
               (unsigned long long)server->network_options.port,
               (unsigned long long)server->network_options.worker_threads);
    return true;
}

static int run(struct server *server) {
    char error[1024];
    if (server->lifecycle_options.daemonize) lifecycle_daemonize();
    if (!lifecycle_open_log(&server->lifecycle_options, error, sizeof(error)))
        return refuse_start(error);
    log_notice("Dunlin %s starts, pid=%d", DUNLIN_VERSION, (int)getpid());
    if (!lifecycle_enter_directory(&server->lifecycle_options, error, sizeof(error)))
        return refuse_start(error);
    if (!check_cluster_options(server, error, sizeof(error))) return refuse_start(error);
    adjust_descriptor_limit(&server->network_options);
    create_modules(server);
    prepare_crash_report(server);
    int status = 1;
    if (!start_acl(server, error, sizeof(error)) || !create_cluster(server, error, sizeof(error)) ||
        !start_serving(server, error, sizeof(error))) {
        refuse_start(error);
    } else if (!start_all(server, error, sizeof(error))) {
        network_stop(server->modules.network, 0);
        lifecycle_remove_pid_file(&server->lifecycle_options);
        refuse_start(error);
    } else {
        loop_run(server->node_loop);
        if (server->is_cluster) cluster_stop(server->modules.cluster);
        network_stop(server->modules.network, STOP_GRACE_MS);
        lifecycle_remove_pid_file(&server->lifecycle_options);
        status = 0;
    }
    destroy_modules(server);
    return status;
}

/* A test may order a fault of the disk from the first operation on (base/disk_fault.h). */
static bool order_disk_fault(void) {
    const char *order = getenv("DUNLIN_DISK_FAULT");
    if (order == NULL || disk_fault_order(bytes_of_text(order)) == STATUS_OK) return true;
    fprintf(stderr,
            "dunlin-server: DUNLIN_DISK_FAULT is '%s': not <what> <operation> <nth> <pattern>. "
            "Unset it.\n",
            order);
    return false;
}

int main(int argc, char **argv) {
    if (argc > 0 && check_rdb_is_called_so(argv[0])) return check_rdb_main(argc, argv);
    if (argc > 0 && check_aof_is_called_so(argv[0])) return check_aof_program(argc, argv);
    int status = handle_special_arguments(argc, argv);
    if (status >= 0) return status;
    if (!order_disk_fault()) return 1;
    struct server server = {0};
    mem_count_thread();
    fault_stack_use();
    ssize_t len = readlink("/proc/self/exe", server.executable, sizeof(server.executable) - 1);
    if (len < 0) server.executable[0] = '\0';
    server.config = config_create(&config_file_io);
    server.modules.admin =
        admin_create(&(struct admin_hooks){.reset_statistics = reset_statistics, .state = &server});
    create_commands(&server);
    register_options(&server);
    server.modules.acl = acl_create(&server.acl_options, server.modules.commands);
    status = load_options(&server, argc, argv) ? run(&server) : 1;
    config_destroy(server.config); // Before what holds the options' values.
    acl_destroy(server.modules.acl);
    command_table_destroy(server.modules.commands);
    admin_destroy(server.modules.admin);
    return status;
}

#include "server/cluster/cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/cluster/cluster_internal.h"
#include "server/pubsub/pubsub.h"
#include "server/replication/replication.h"

enum { BUS_PORT_OFFSET = 10000, PORT_MAX = 65535 };

void cluster_lock(struct cluster *cluster) {
    pthread_mutex_lock(&cluster->lock);
}

void cluster_unlock(struct cluster *cluster) {
    pthread_mutex_unlock(&cluster->lock);
}

struct bus_now cluster_now(void) {
    return (struct bus_now){clock_monotonic_ms(), clock_wall_ms()};
}

/* -- effects of a step; the lock is held -- */

/* A node that cannot remember what it has promised must not promise it. */
static void persist(struct cluster *cluster, bool must_fsync) {
    struct buffer text = {0};
    const char *path = cluster->options->config_file;
    nodes_conf_write(cluster->bus, &text);
    cluster->persist_error =
        nodes_file_replace(path, &cluster->nodes_file, buffer_view(&text), must_fsync);
    buffer_deinit(&text);
    if (cluster->persist_error == 0 || cluster->reports_persist_error) return;
    log_warning("Fatal: can't update the cluster configuration file %s: %s. The node ends, since "
                "it could break a promise that it can't remember.",
                path, strerror(cluster->persist_error));
    _exit(1);
}

static void queue_outgoing(struct cluster *cluster, const struct bus_effect *effect) {
    struct outgoing *outgoing = mem_alloc_zero(sizeof(*outgoing));
    outgoing->type = effect->type;
    outgoing->link = effect->link;
    if (effect->type == BUS_EFFECT_SEND) outgoing->packet = bus_packet_ref(effect->packet);
    if (effect->type == BUS_EFFECT_CONNECT) {
        snprintf(outgoing->ip, sizeof(outgoing->ip), "%s", effect->ip);
        outgoing->port = effect->port;
    }
    if (cluster->outgoing_last == NULL) {
        cluster->outgoing_first = outgoing;
    } else {
        cluster->outgoing_last->next = outgoing;
    }
    cluster->outgoing_last = outgoing;
}

static void queue_pending(struct cluster *cluster, const struct bus_effect *effect) {
    struct pending_effect *pending = mem_alloc_zero(sizeof(*pending));
    pending->type = effect->type;
    switch (effect->type) {
    case BUS_EFFECT_BECOME_REPLICA:
        snprintf(pending->ip, sizeof(pending->ip), "%s", effect->primary_ip);
        pending->port = effect->primary_port;
        pending->full_resync = effect->full_resync;
        break;
    case BUS_EFFECT_DELETE_KEYS:
        pending->slots = mem_alloc(BUS_SLOT_BYTES);
        memcpy(pending->slots, cluster->effects.deleted_keys, BUS_SLOT_BYTES);
        break;
    case BUS_EFFECT_PAUSE_WRITES:
        pending->until_mono_ms = effect->until_mono_ms;
        break;
    case BUS_EFFECT_STATE:
        pending->is_ok = effect->is_ok;
        break;
    default:
        break;
    }
    if (cluster->pending_last == NULL) {
        cluster->pending_first = pending;
    } else {
        cluster->pending_last->next = pending;
    }
    cluster->pending_last = pending;
}

static void note_changed_slots(struct cluster *cluster) {
    for (unsigned i = 0; i < BUS_SLOT_BYTES; i++)
        cluster->changed_slots[i] |= cluster->effects.routes[i];
    cluster->has_changed_slots = true;
}

static void take_effect(struct cluster *cluster, const struct bus_effect *effect) {
    switch (effect->type) {
    case BUS_EFFECT_PERSIST:
        persist(cluster, effect->must_fsync);
        break;
    case BUS_EFFECT_SEND:
    case BUS_EFFECT_CONNECT:
    case BUS_EFFECT_CLOSE:
        queue_outgoing(cluster, effect);
        break;
    case BUS_EFFECT_ROUTES:
        note_changed_slots(cluster);
        break;
    case BUS_EFFECT_NODE_CHANGED:
        cluster->has_changed_nodes = true;
        break;
    case BUS_EFFECT_LOG:
        log_write(effect->level, "%s", effect->text);
        break;
    case BUS_EFFECT_DROP_CHANNELS:
        pubsub_drop_slots(cluster->made_of.modules->pubsub, cluster->effects.dropped_channels);
        break;
    case BUS_EFFECT_DELIVER:
        pubsub_publish(cluster->made_of.modules->pubsub, effect->channel, effect->message,
                       effect->is_shard);
        break;
    default:
        queue_pending(cluster, effect);
        break;
    }
}

static void take_effects(struct cluster *cluster) {
    for (size_t i = 0; i < cluster->effects.count; i++)
        take_effect(cluster, &cluster->effects.list[i]);
}

static void tell_facts(struct cluster *cluster) {
    struct replication_facts from;
    replication_facts_read(cluster->made_of.modules->replication, &from);
    const struct bus_facts facts = {
        .repl_offset = from.offset,
        .primary_link_up = from.primary_link_up,
        .primary_heard_mono_ms = from.primary_heard_mono_ms,
        .primary_lost_mono_ms = from.primary_lost_mono_ms,
        .replicates = from.replicates,
    };
    bus_set_facts(cluster->bus, &facts);
}

enum bus_result cluster_step(struct cluster *cluster, const struct bus_input *input) {
    tell_facts(cluster);
    cluster->effects.wants_debug = log_is_enabled(LOG_LEVEL_VERBOSE);
    enum bus_result result =
        bus_step(cluster->bus, input, cluster_now(), &cluster->rng, &cluster->effects);
    take_effects(cluster);
    return result;
}

static void flush_posted(void *arg) {
    links_flush(arg);
}

void cluster_after_steps(struct cluster *cluster, bool is_bus_thread) {
    cluster_lock(cluster);
    bool has_more =
        cluster->pending_first != NULL || cluster->has_changed_slots || cluster->has_changed_nodes;
    bool must_apply = has_more && !cluster->is_apply_posted;
    bool must_flush =
        !is_bus_thread && cluster->outgoing_first != NULL && !cluster->is_flush_posted;
    if (must_apply) cluster->is_apply_posted = true;
    if (must_flush) cluster->is_flush_posted = true;
    cluster_unlock(cluster);
    if (must_apply) loop_post(cluster->made_of.node_loop, cluster_apply_posted, cluster);
    if (must_flush) loop_post(cluster->loop, flush_posted, cluster);
    if (is_bus_thread) links_flush(cluster);
}

void cluster_publish(struct cluster *cluster, struct bytes channel, struct bytes message,
                     bool is_shard) {
    const struct bus_input input = {
        .type = BUS_INPUT_PUBLISH, .channel = channel, .message = message, .is_shard = is_shard};
    cluster_lock(cluster);
    cluster_step(cluster, &input);
    cluster_unlock(cluster);
    cluster_after_steps(cluster, false);
}

static void on_tick(void *arg) {
    struct cluster *cluster = arg;
    cluster_lock(cluster);
    cluster_step(cluster, &(struct bus_input){.type = BUS_INPUT_TICK});
    cluster_unlock(cluster);
    cluster_after_steps(cluster, true);
    links_check_limits(cluster);
}

/* -- commands -- */

void cluster_run_command(struct command_context *context, const struct bus_command *command) {
    struct cluster *cluster = context->modules->cluster;
    const struct bus_input input = {.type = BUS_INPUT_COMMAND, .command = *command};
    cluster_apply(cluster, context->worker); // What was decided before comes before.
    cluster_lock(cluster);
    cluster->reports_persist_error = command->type == BUS_COMMAND_SAVECONFIG;
    cluster->persist_error = 0;
    enum bus_result result = cluster_step(cluster, &input);
    cluster->reports_persist_error = false;
    int persist_error = cluster->persist_error;
    struct buffer text = {0};
    bus_result_write(result, &cluster->effects.result_args, &text);
    cluster_unlock(cluster);
    cluster_apply(cluster, context->worker);
    cluster_after_steps(cluster, false);
    buffer_append_u8(&text, '\0');
    const char *words = (const char *)text.data;
    if (persist_error != 0) {
        reply_error_format(context->reply, "ERR error saving the cluster node config: %s",
                           strerror(persist_error));
    } else if (result == BUS_OK || result == BUS_OK_BUMPED || result == BUS_OK_STILL) {
        reply_simple(context->reply, words);
    } else {
        reply_error(context->reply, words);
    }
    buffer_deinit(&text);
}

/* -- configuration -- */

static void copy_name(char *out, size_t cap, const char *text) {
    snprintf(out, cap, "%s", text == NULL ? "" : text);
}

static void fill_config(const struct cluster *cluster, struct bus_config *out) {
    const struct cluster_options *options = cluster->options;
    uint64_t port = cluster->made_of.network->port;
    bus_config_init(out);
    out->node_timeout_ms = options->node_timeout_ms;
    out->ping_interval_ms = options->ping_interval_ms;
    out->manual_failover_timeout_ms = options->manual_failover_timeout_ms;
    out->blacklist_ttl_ms = options->blacklist_ttl_s * 1000;
    out->repl_ping_period_ms = cluster->made_of.ping_replica_period_ms;
    out->replica_validity_factor = (uint32_t)options->replica_validity_factor;
    out->migration_barrier = (uint32_t)options->migration_barrier;
    out->tcp_port = (uint16_t)port;
    out->bus_port = (uint16_t)(options->port != 0 ? options->port : port + BUS_PORT_OFFSET);
    out->announce_tcp_port = (uint16_t)options->announce_port;
    out->announce_bus_port = (uint16_t)options->announce_bus_port;
    out->require_full_coverage = options->requires_full_coverage;
    out->allow_replica_migration = options->allows_replica_migration;
    out->replica_no_failover = options->replica_no_failover;
    copy_name(out->announce_ip, sizeof(out->announce_ip), options->announce_ip);
    copy_name(out->announce_hostname, sizeof(out->announce_hostname), options->announce_hostname);
    copy_name(out->announce_human_nodename, sizeof(out->announce_human_nodename),
              options->announce_human_nodename);
    copy_name(out->announce_client_ipv4, sizeof(out->announce_client_ipv4),
              options->announce_client_ipv4);
    copy_name(out->announce_client_ipv6, sizeof(out->announce_client_ipv6),
              options->announce_client_ipv6);
}

bool cluster_apply_options(void *context, struct config_change *change) {
    struct cluster *cluster = *(struct cluster **)context;
    (void)change;
    if (cluster == NULL) return true;
    struct bus_config config;
    fill_config(cluster, &config);
    cluster_lock(cluster);
    cluster_step(cluster, &(struct bus_input){.type = BUS_INPUT_CONFIG, .config = &config});
    cluster_unlock(cluster);
    cluster_after_steps(cluster, false);
    return true;
}

/* -- life -- */

static uint64_t host_slot_keys(void *context, uint16_t slot) {
    const struct cluster *cluster = context;
    return databases_slot_keys(cluster->made_of.databases, slot);
}

static uint64_t host_keys(void *context) {
    uint64_t sum = 0;
    for (unsigned slot = 0; slot < BUS_SLOT_COUNT; slot++)
        sum += host_slot_keys(context, (uint16_t)slot);
    return sum;
}

static bool check_ports(const struct cluster_create_options *options, char *error, size_t cap) {
    if (options->network->port == 0 && options->options->port == 0) {
        snprintf(error, cap, "A node of a cluster needs a port for clients: 'port' is 0.");
        return false;
    }
    if (options->options->port == 0 && options->network->port > PORT_MAX - BUS_PORT_OFFSET) {
        snprintf(error, cap,
                 "Redis port number too high for cluster mode: the bus would listen on %llu. "
                 "Choose a 'port' of at most %d, or set 'cluster-port'.",
                 (unsigned long long)options->network->port + BUS_PORT_OFFSET,
                 PORT_MAX - BUS_PORT_OFFSET);
        return false;
    }
    return true;
}

static bool make_bus(struct cluster *cluster, struct bytes text, char *error, size_t cap) {
    struct bus_options options = {
        .host = {cluster, host_slot_keys, host_keys},
        .nodes_conf = text,
    };
    fill_config(cluster, &options.config);
    enum status status =
        bus_create(&options, cluster_now(), &cluster->rng, &cluster->effects, &cluster->bus);
    if (status == STATUS_OK) {
        take_effects(cluster);
        return true;
    }
    // The effects hold the line that says what is wrong where.
    const char *reason = status_text(status);
    for (size_t i = 0; i < cluster->effects.count; i++) {
        if (cluster->effects.list[i].type != BUS_EFFECT_LOG) continue;
        reason = cluster->effects.list[i].text;
    }
    snprintf(error, cap, "%s (file %s)", reason, cluster->options->config_file);
    cluster->bus = NULL;
    return false;
}

struct cluster *cluster_create(const struct cluster_create_options *options, char *error,
                               size_t cap) {
    if (!check_ports(options, error, cap)) return NULL;
    struct cluster *cluster = mem_alloc_zero(sizeof(*cluster));
    struct buffer text = {0};
    cluster->made_of = *options;
    cluster->options = options->options;
    cluster->nodes_file = -1;
    pthread_mutex_init(&cluster->lock, NULL);
    rng_seed_from_os(&cluster->rng);
    bus_effects_init(&cluster->effects);
    bool is_fine =
        nodes_file_open(options->options->config_file, &cluster->nodes_file, &text, error, cap) &&
        make_bus(cluster, buffer_view(&text), error, cap);
    buffer_deinit(&text);
    if (!is_fine) {
        cluster_destroy(cluster);
        return NULL;
    }
    struct bus_node_view me;
    bus_node_view_at(cluster->bus, 0, &me);
    log_notice("Node configuration loaded, I'm %.40s", me.id.text);
    cluster->loop = loop_create("bus", NULL);
    return cluster;
}

bool cluster_is_replica(const struct cluster *cluster) {
    return !bus_epochs_view(cluster->bus).is_primary;
}

bool cluster_start(struct cluster *cluster, char *error, size_t cap) {
    if (!links_listen(cluster, error, cap)) return false;
    cluster_lock(cluster);
    cluster_step(cluster, &(struct bus_input){.type = BUS_INPUT_DATASET_LOADED});
    cluster->is_primary = bus_epochs_view(cluster->bus).is_primary;
    cluster_unlock(cluster);
    uint8_t all[BUS_SLOT_BYTES];
    memset(all, 0xff, sizeof(all));
    routes_update(cluster, all);
    cluster_after_steps(cluster, false);
    dispatcher_set_admission(cluster->made_of.modules->dispatcher, ADMISSION_CLUSTER, true);
    cluster->timer = loop_timer_create(cluster->loop, on_tick, cluster);
    loop_timer_start(cluster->timer, BUS_TICK_MS, BUS_TICK_MS);
    loop_start(cluster->loop);
    cluster->is_started = true;
    return true;
}

void cluster_stop(struct cluster *cluster) {
    if (!cluster->is_started) return;
    loop_stop(cluster->loop);
    loop_join(cluster->loop);
    cluster->is_started = false;
    cluster_lock(cluster);
    cluster->reports_persist_error = true;
    persist(cluster, true);
    if (cluster->persist_error != 0)
        log_warning("Can't save the cluster configuration file at the end: %s",
                    strerror(cluster->persist_error));
    cluster_unlock(cluster);
}

static void free_queues(struct cluster *cluster) {
    while (cluster->outgoing_first != NULL) {
        struct outgoing *outgoing = cluster->outgoing_first;
        cluster->outgoing_first = outgoing->next;
        bus_packet_unref(outgoing->packet);
        mem_free(outgoing);
    }
    while (cluster->pending_first != NULL) {
        struct pending_effect *pending = cluster->pending_first;
        cluster->pending_first = pending->next;
        mem_free(pending->slots);
        mem_free(pending);
    }
}

void cluster_destroy(struct cluster *cluster) {
    if (cluster == NULL) return;
    if (cluster->loop != NULL) {
        loop_timer_destroy(cluster->timer);
        links_deinit(cluster);
        loop_destroy(cluster->loop);
    }
    routes_deinit(cluster);
    free_queues(cluster);
    bus_effects_deinit(&cluster->effects);
    bus_destroy(cluster->bus);
    if (cluster->nodes_file >= 0) close(cluster->nodes_file);
    pthread_mutex_destroy(&cluster->lock);
    mem_free(cluster);
}

/* -- INFO -- */

void cluster_info_stats(void *state, struct buffer *out) {
    struct cluster *cluster = state;
    cluster_lock(cluster);
    uint32_t count = cluster->link_count;
    cluster_unlock(cluster);
    buffer_append_format(out, "cluster_connections:%u\r\n", count);
}

void cluster_info_memory(void *state, struct buffer *out) {
    buffer_append_format(out, "mem_cluster_links:%llu\r\n",
                         (unsigned long long)cluster_link_bytes(state));
}

uint64_t cluster_link_bytes(struct cluster *cluster) {
    return atomic_load(&cluster->link_bytes);
}

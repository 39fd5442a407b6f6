#include "clusterbus/bus.h"

#include <string.h>

#include "clusterbus/bus_internal.h"
#include "server/base/check.h"
#include "server/base/mem.h"

void bus_config_init(struct bus_config *config) {
    *config = (struct bus_config){
        .node_timeout_ms = 15000,
        .manual_failover_timeout_ms = 5000,
        .blacklist_ttl_ms = 60000,
        .repl_ping_period_ms = 10000,
        .replica_validity_factor = 10,
        .migration_barrier = 1,
        .require_full_coverage = true,
        .allow_replica_migration = true,
    };
}

/* ---- Ports and names of my own ----------------------------------------------------------------
 */

uint16_t node_tcp_port(const struct bus *bus, const struct node *node) {
    return bus->config.tls_cluster ? node->other_port : node->port;
}

uint16_t node_tls_port(const struct bus *bus, const struct node *node) {
    return bus->config.tls_cluster ? node->port : node->other_port;
}

uint16_t node_replication_port(const struct bus *bus, const struct node *node) {
    return bus->config.tls_replication ? node_tls_port(bus, node) : node_tcp_port(bus, node);
}

void myself_set_ip(struct bus *bus, const char *ip) {
    struct node *me = bus->myself;
    if (strcmp(me->ip, ip) == 0) return;
    memset(me->ip, 0, BUS_IP_CAP);
    memcpy(me->ip, ip, strnlen(ip, BUS_IP_CAP - 1));
    node_changed(bus, me);
    bus_save(bus);
    if (ip[0] != '\0') bus_log(bus, LOG_LEVEL_NOTICE, "IP address for this node updated to %s", ip);
}

void myself_configure(struct bus *bus) {
    const struct bus_config *config = &bus->config;
    struct node *me = bus->myself;
    uint16_t tcp = config->announce_tcp_port != 0 ? config->announce_tcp_port : config->tcp_port;
    uint16_t tls = config->announce_tls_port != 0 ? config->announce_tls_port : config->tls_port;
    me->port = config->tls_cluster ? tls : tcp;
    me->other_port = config->tls_cluster ? tcp : tls;
    me->bus_port = config->announce_bus_port != 0 ? config->announce_bus_port : config->bus_port;
    if (config->announce_ip[0] != '\0') myself_set_ip(bus, config->announce_ip);
    node_add_flags(me, BUS_NODE_MYSELF | BUS_NODE_LIGHT_PUBLISH | BUS_NODE_LIGHT_MODULE);
    node_drop_flags(me, BUS_NODE_NOFAILOVER);
    if (config->replica_no_failover) node_add_flags(me, BUS_NODE_NOFAILOVER);
    const char *names[NAME_COUNT] = {
        [NAME_HOST] = config->announce_hostname,
        [NAME_HUMAN] = config->announce_human_nodename,
        [NAME_CLIENT_IPV4] = config->announce_client_ipv4,
        [NAME_CLIENT_IPV6] = config->announce_client_ipv6,
    };
    for (int i = 0; i < NAME_COUNT; i++)
        node_set_name(me, (enum node_name)i, bytes_of_text(names[i]));
    bus->wants_state = true;
}

static void on_config(struct bus *bus, const struct bus_config *config) {
    /* Without an announced address the old announcement is no news any more. */
    bool forgets_ip = bus->config.announce_ip[0] != '\0' && config->announce_ip[0] == '\0';
    bus->config = *config;
    if (forgets_ip) myself_set_ip(bus, "");
    myself_configure(bus);
    node_changed(bus, bus->myself);
    bus_save(bus);
}

/* ---- Life -------------------------------------------------------------------------------------
 */

static void begin_step(struct bus *bus, struct bus_now now, struct rng *rng,
                       struct bus_effects *effects) {
    bus_effects_clear(effects);
    uint64_t now_ms = now.mono_ms + BUS_TIME_BASE;
    bus->now = now;
    if (now_ms > bus->now_ms) bus->now_ms = now_ms;
    bus->rng = rng;
    bus->out = effects;
}

/* What became due along the way, in the order in which one may lead to the other. */
static void end_step(struct bus *bus) {
    if (bus->wants_manual_failover) manual_failover_run(bus);
    if (bus->wants_failover) failover_run(bus);
    if (bus->wants_state) state_update(bus);
    links_reap(bus);
    effects_finish(bus->out);
    bus->out = NULL;
    bus->rng = NULL;
}

enum status bus_create(const struct bus_options *options, struct bus_now now, struct rng *rng,
                       struct bus_effects *effects, struct bus **out_bus) {
    struct bus *bus = mem_alloc_zero(sizeof(*bus));
    bus->config = options->config;
    bus->host = options->host;
    bus->slots = slot_map_create();
    bus->next_link_id = BUS_LINK_OUTBOUND;
    bus->manual.offset = OFFSET_UNKNOWN;
    bus->packet_filter = -1;
    begin_step(bus, now, rng, effects);
    if (options->nodes_conf.len > 0) {
        enum status status = nodes_conf_load(bus, options->nodes_conf);
        if (status != STATUS_OK) {
            effects_finish(effects);
            bus_destroy(bus);
            return status;
        }
    } else {
        bus->myself = node_create(bus, NULL, BUS_NODE_PRIMARY);
        bus_log(bus, LOG_LEVEL_NOTICE, "No cluster configuration found, I'm " ID_FORMAT,
                bus->myself->id.text);
        bus_save_durably(bus);
    }
    myself_configure(bus);
    bus->wants_state = false; /* The first evaluation waits for the data. */
    end_step(bus);
    *out_bus = bus;
    return STATUS_OK;
}

void bus_destroy(struct bus *bus) {
    if (bus == NULL) return;
    links_destroy_all(bus);
    node_destroy_all(bus);
    slot_map_destroy(bus->slots);
    mem_free(bus->blacklist);
    mem_free(bus);
}

/* Keys that came with the data set although their slots did not (specification 5.8). */
static void on_dataset_loaded(struct bus *bus) {
    bus->wants_state = true;
    if (!i_am_primary(bus) || bus->host.key_count(bus->host.context) == 0) return;
    for (uint16_t slot = 0; slot < BUS_SLOT_COUNT; slot++) {
        uint16_t owner = slot_map_owner(bus->slots, slot);
        if (owner == bus->myself->member) continue;
        if (slot_map_importing(bus->slots, slot) != MEMBER_NONE) continue;
        if (bus->host.slot_key_count(bus->host.context, slot) == 0) continue;
        if (owner == MEMBER_NONE) {
            slot_assign(bus, slot, bus->myself);
        } else {
            slot_bits_add(effects_slots(bus->out, BUS_EFFECT_DELETE_KEYS), slot);
            bus_log(bus, LOG_LEVEL_NOTICE, "Deleting keys of slot %u, which is another node's.",
                    slot);
        }
        bus_save_durably(bus);
    }
}

enum bus_result bus_step(struct bus *bus, const struct bus_input *input, struct bus_now now,
                         struct rng *rng, struct bus_effects *effects) {
    begin_step(bus, now, rng, effects);
    enum bus_result result = BUS_OK;
    struct link *link = NULL;
    switch (input->type) {
    case BUS_INPUT_TICK:
        cron_run(bus);
        break;
    case BUS_INPUT_LINK_ACCEPTED:
        link_accept(bus, input->link, input->peer_ip, input->local_ip);
        break;
    case BUS_INPUT_LINK_CONNECTED:
        link = link_find(bus, input->link);
        if (link != NULL) link_connected(bus, link, input->local_ip);
        break;
    case BUS_INPUT_LINK_CLOSED:
        link = link_find(bus, input->link);
        if (link != NULL) link_end(bus, link, true);
        break;
    case BUS_INPUT_PACKET:
        link = link_find(bus, input->link);
        if (link != NULL && link->is_connected) receive_packet(bus, link, input->packet);
        break;
    case BUS_INPUT_CONFIG:
        on_config(bus, input->config);
        break;
    case BUS_INPUT_PUBLISH:
        message_publish(bus, input->channel, input->message, input->is_shard);
        break;
    case BUS_INPUT_DATASET_LOADED:
        on_dataset_loaded(bus);
        break;
    case BUS_INPUT_COMMAND:
        result = command_run(bus, &input->command);
        break;
    }
    end_step(bus);
    return result;
}

void bus_set_facts(struct bus *bus, const struct bus_facts *facts) {
    bus->facts = *facts;
}

const struct bus_facts *bus_facts_view(const struct bus *bus) {
    return &bus->facts;
}

const struct bus_config *bus_config_view(const struct bus *bus) {
    return &bus->config;
}

void bus_set_packet_filter(struct bus *bus, int type, bool closes_link) {
    bus->packet_filter = type;
    bus->filter_closes_link = closes_link;
}

/* Manual failover: an operator makes a replica the primary, without losing a write (specification
 * 6.7). */
#include "clusterbus/bus_internal.h"

static uint64_t mono_of(uint64_t moment_ms) {
    return moment_ms - BUS_TIME_BASE;
}

void manual_failover_reset(struct bus *bus) {
    if (bus->manual.replica != NULL) effects_add(bus->out, BUS_EFFECT_UNPAUSE_WRITES);
    bus->manual = (struct manual_failover){.offset = OFFSET_UNKNOWN};
}

enum bus_result manual_failover_start(struct bus *bus, enum bus_command_type type) {
    struct node *primary = bus->myself->primary;
    if (i_am_primary(bus)) return BUS_FAILOVER_PRIMARY;
    if (primary == NULL) return BUS_FAILOVER_NO_PRIMARY;
    if (type == BUS_COMMAND_FAILOVER &&
        (node_is(primary, BUS_NODE_FAILED) || !node_is_reachable(primary)))
        return BUS_FAILOVER_PRIMARY_DOWN;

    manual_failover_reset(bus);
    bus->manual.end_ms = bus->now_ms + bus->config.manual_failover_timeout_ms;
    /* An election that ran for itself must not hold this one up. */
    if (!bus->election.is_sent) bus->election = (struct election){0};
    if (type == BUS_COMMAND_FAILOVER_TAKEOVER) {
        bus_log(bus, LOG_LEVEL_NOTICE, "Taking over the primary (user request).");
        epoch_bump(bus);
        failover_replace_primary(bus);
    } else if (type == BUS_COMMAND_FAILOVER_FORCE) {
        bus_log(bus, LOG_LEVEL_NOTICE, "Forced failover user request accepted.");
        bus->manual.can_start = true;
        bus->election = (struct election){0};
        bus->wants_failover = true;
    } else {
        bus_log(bus, LOG_LEVEL_NOTICE, "Manual failover user request accepted.");
        message_send_mfstart(bus, primary);
    }
    return BUS_OK;
}

/* A replica of mine asks: clients' writes stop, so that it can reach my offset. */
void manual_failover_on_request(struct bus *bus, struct link *link, struct node *sender) {
    if (!i_am_primary(bus) || sender->primary != bus->myself) return;
    manual_failover_reset(bus);
    bus->manual.end_ms = bus->now_ms + bus->config.manual_failover_timeout_ms;
    bus->manual.replica = sender;
    effects_add(bus->out, BUS_EFFECT_PAUSE_WRITES)->until_mono_ms =
        mono_of(bus->now_ms + bus->config.manual_failover_timeout_ms * 2);
    bus_log(bus, LOG_LEVEL_NOTICE, "Manual failover requested by replica " ID_FORMAT ".",
            sender->id.text);
    message_send_gossip(bus, link, WIRE_PING);
}

void manual_failover_run(struct bus *bus) {
    bus->wants_manual_failover = false;
    struct manual_failover *manual = &bus->manual;
    if (manual->end_ms == 0 || manual->can_start || i_am_primary(bus)) return;
    if (manual->offset == OFFSET_UNKNOWN || manual->offset != bus->facts.repl_offset) return;
    manual->can_start = true;
    bus->election = (struct election){0};
    bus->wants_failover = true;
    bus_log(bus, LOG_LEVEL_NOTICE,
            "All primary replication stream processed, manual failover can start.");
}

void manual_failover_expire(struct bus *bus) {
    if (bus->manual.end_ms == 0 || bus->now_ms <= bus->manual.end_ms) return;
    bus_log(bus, LOG_LEVEL_WARNING, "Manual failover timed out.");
    manual_failover_reset(bus);
}

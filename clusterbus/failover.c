/* Elections: asking for votes, giving them, winning (specification 6.1 to 6.6). */
#include "clusterbus/bus_internal.h"

#define ELECTION_DELAY_MS 500u
#define ELECTION_RANDOM_MS 500u
#define ELECTION_RANK_MS 1000u

static bool is_manual(const struct bus *bus) {
    return bus->manual.end_ms != 0 && bus->manual.can_start;
}

/* Data that are too old lose more than an outage does. */
static bool data_are_too_old(const struct bus *bus) {
    uint32_t factor = bus->config.replica_validity_factor;
    if (factor == 0) return false;
    const struct bus_facts *facts = &bus->facts;
    uint64_t since_ms =
        facts->primary_link_up ? facts->primary_heard_mono_ms : facts->primary_lost_mono_ms;
    uint64_t age_ms = bus->now.mono_ms > since_ms ? bus->now.mono_ms - since_ms : 0;
    uint64_t timeout_ms = bus->config.node_timeout_ms;
    if (age_ms > timeout_ms) age_ms -= timeout_ms;
    return age_ms > bus->config.repl_ping_period_ms + timeout_ms * factor;
}

/* How many siblings should ask before me: better data first, then the smaller id. */
static uint32_t my_rank(const struct bus *bus) {
    const struct node *primary = bus->myself->primary;
    uint64_t mine = bus->facts.repl_offset;
    uint32_t rank = 0;
    for (uint32_t i = 0; i < primary->replica_count; i++) {
        const struct node *other = primary->replicas[i];
        if (other == bus->myself || node_is(other, BUS_NODE_NOFAILOVER)) continue;
        rank += other->repl_offset > mine ||
                (other->repl_offset == mine && node_id_compare(&other->id, &bus->myself->id) < 0);
    }
    return rank;
}

static void schedule(struct bus *bus) {
    struct election *election = &bus->election;
    *election = (struct election){.is_scheduled = true, .at_ms = bus->now_ms};
    if (!is_manual(bus)) {
        election->rank = my_rank(bus);
        election->at_ms += ELECTION_DELAY_MS + rng_below(bus->rng, ELECTION_RANDOM_MS) +
                           (uint64_t)election->rank * ELECTION_RANK_MS;
    }
    bus_log(bus, LOG_LEVEL_NOTICE, "Start of election delayed for %llu milliseconds (rank #%u)",
            (unsigned long long)(election->at_ms - bus->now_ms), election->rank);
    message_broadcast_pong(bus, true);
}

/* Siblings' offsets come in while we wait. */
static void adjust_rank(struct bus *bus) {
    uint32_t rank = my_rank(bus);
    struct election *election = &bus->election;
    if (rank == election->rank) return;
    election->at_ms += ((uint64_t)rank - (uint64_t)election->rank) * ELECTION_RANK_MS;
    election->rank = rank;
}

static void ask_for_votes(struct bus *bus) {
    bus->current_epoch++;
    bus->election.epoch = bus->current_epoch;
    bus->election.is_sent = true;
    bus_log(bus, LOG_LEVEL_NOTICE, "Starting a failover election for epoch %llu.",
            (unsigned long long)bus->election.epoch);
    bus_save_durably(bus);
    message_broadcast_vote_request(bus);
}

void failover_run(struct bus *bus) {
    bus->wants_failover = false;
    struct node *primary = bus->myself->primary;
    if (i_am_primary(bus) || primary == NULL) return;
    if (!node_is(primary, BUS_NODE_FAILED) && !is_manual(bus)) return;
    if (!is_manual(bus) && (bus->config.replica_no_failover || data_are_too_old(bus))) return;

    struct election *election = &bus->election;
    uint64_t timeout_ms =
        bus->config.node_timeout_ms * 2 > 2000 ? bus->config.node_timeout_ms * 2 : 2000;
    int64_t age_ms = (int64_t)(bus->now_ms - election->at_ms);
    if (!election->is_scheduled || age_ms > (int64_t)timeout_ms * 2) {
        schedule(bus);
        return;
    }
    if (!election->is_sent && !is_manual(bus)) {
        adjust_rank(bus);
        age_ms = (int64_t)(bus->now_ms - election->at_ms);
    }
    if (age_ms < 0 || age_ms > (int64_t)timeout_ms) return;
    if (!election->is_sent) {
        ask_for_votes(bus);
    } else if (election->votes >= bus_quorum(bus)) {
        bus_log(bus, LOG_LEVEL_NOTICE, "Failover election won: I'm the new primary.");
        if (bus->myself->config_epoch < election->epoch)
            node_set_epoch(bus, bus->myself, election->epoch);
        failover_replace_primary(bus);
    }
}

void failover_replace_primary(struct bus *bus) {
    struct node *old_primary = bus->myself->primary;
    if (i_am_primary(bus) || old_primary == NULL) return;
    role_become_primary(bus);
    slot_assign_all(bus, old_primary, bus->myself);
    state_update(bus);
    bus_save_durably(bus);
    message_broadcast_pong(bus, false);
    manual_failover_reset(bus);
}

/* Somebody won an epoch that is not below ours: our votes will not come. */
void failover_observe_epoch(struct bus *bus, uint64_t config_epoch) {
    struct election *election = &bus->election;
    if (i_am_primary(bus) || !election->is_sent || config_epoch < election->epoch) return;
    *election = (struct election){0};
    bus->wants_failover = true;
}

void failover_on_vote(struct bus *bus, struct node *sender, const struct wire_message *message) {
    struct election *election = &bus->election;
    if (!election->is_sent || !node_is_voting(bus, sender)) return;
    if (message->header.current_epoch < election->epoch) return;
    if (sender->vote_epoch == election->epoch) return; /* A voter counts once. */
    sender->vote_epoch = election->epoch;
    election->votes++;
    bus->wants_failover = true;
}

/* Why a candidate gets no vote; NULL: it gets it. */
static const char *refusal(const struct bus *bus, const struct node *sender,
                           const struct wire_header *header) {
    if (!node_is_voting(bus, bus->myself)) return "I have no vote";
    if (header->current_epoch < bus->current_epoch) return "its epoch is over";
    if (bus->last_vote_epoch >= bus->current_epoch) return "I have voted in this epoch";
    const struct node *primary = sender->primary;
    if (node_is(sender, BUS_NODE_PRIMARY)) return "it is a primary";
    if (primary == NULL) return "I don't know its primary";
    if (!node_is(primary, BUS_NODE_FAILED) && !(header->message_flags[0] & WIRE_FORCE_VOTE))
        return "its primary is up";
    if (primary->voted_ms != 0 && bus->now_ms - primary->voted_ms < bus->config.node_timeout_ms * 2)
        return "I have voted about its primary lately";

    const uint8_t *owned = slot_map_bitmap_view(bus->slots, primary->member);
    for (uint32_t i = 0; i < SLOT_WORDS; i++) {
        uint64_t word = slot_bits_word(header->slots, i);
        /* The slots of its primary all have one epoch. */
        if (primary->config_epoch <= header->config_epoch) word &= ~slot_bits_word(owned, i);
        for (; word != 0; word &= word - 1) {
            uint16_t slot = (uint16_t)(i * 64 + (uint32_t)__builtin_ctzll(word));
            if (slot_map_is_unclaimed(bus->slots, slot)) continue;
            const struct node *owner = node_of_member(bus, slot_map_owner(bus->slots, slot));
            if (owner->config_epoch > header->config_epoch) return "a slot it claims is another's";
        }
    }
    return NULL;
}

void failover_on_vote_request(struct bus *bus, struct node *sender,
                              const struct wire_message *message) {
    const char *why = refusal(bus, sender, &message->header);
    if (why != NULL) {
        bus_log(bus, LOG_LEVEL_NOTICE, "Failover auth denied to " ID_FORMAT " for epoch %llu: %s",
                sender->id.text, (unsigned long long)message->header.current_epoch, why);
        return;
    }
    bus->last_vote_epoch = bus->current_epoch;
    sender->primary->voted_ms = bus->now_ms;
    bus_save_durably(bus); /* PERSIST comes first: the vote is on disk before a peer hears it. */
    message_send_vote(bus, sender);
    bus_log(bus, LOG_LEVEL_NOTICE, "Failover auth granted to " ID_FORMAT " for epoch %llu",
            sender->id.text, (unsigned long long)bus->current_epoch);
}

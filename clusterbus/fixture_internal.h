/* For the unit tests of this folder: one bus among scripted peers.
 *
 * The cluster comes from a nodes.conf text: `fixture_start` loads it, dials everybody and lets the
 * first pings go by. Peers then say what a test wants, as packets.
 */
#pragma once

#include "clusterbus/bus.h"
#include "clusterbus/wire.h"

#define FIXTURE_NT 3000u

/* Ids that tests write as letters: 40 times the same one. */
struct node_id fixture_id(char letter);

struct fixture {
    struct bus *bus;
    struct bus_effects effects;
    struct bus_config config;
    struct bus_now now;
    struct rng rng;
    struct bus_facts facts;
    uint64_t next_inbound;
    uint64_t key_count;
};

/* A line of nodes.conf for node `letter`; `rest` is "flags primary 0 0 epoch connected slots". */
#define FIXTURE_LINE(letter40, port, rest)                                                         \
    letter40 " 127.0.0.1:" port "@1" port ",,tls-port=0,shard-id=" letter40 " " rest "\n"

/* Three primaries A (myself), B, C under epochs 1 to 3, replicas d of A, e of B. */
extern const char *const fixture_three_primaries;

void fixture_start(struct fixture *fixture, const char *nodes_conf);
/* The same at the moment when everybody has answered once: the state is not ok yet. */
void fixture_start_fresh(struct fixture *fixture, const char *nodes_conf);
void fixture_end(struct fixture *fixture);

/* Each gives one input; the effects are in fixture->effects. */
enum bus_result fixture_command(struct fixture *fixture, struct bus_command command);
void fixture_tick(struct fixture *fixture);
void fixture_advance(struct fixture *fixture, uint64_t ms); /* Ticks on the way, effects dropped. */
uint64_t fixture_accept(struct fixture *fixture);           /* A new inbound link. */
void fixture_packet(struct fixture *fixture, uint64_t link, const uint8_t *packet, size_t len);

/* What a peer's header says by itself: its role, epoch and slots as this bus knows them. */
void fixture_header(struct fixture *fixture, char sender, uint16_t type, struct wire_header *out);
/* Sends a packet of this header, with `payload` behind it, over the node's outbound link (`link` 0)
 * or another one. */
void fixture_say(struct fixture *fixture, uint64_t link, const struct wire_header *header,
                 struct bytes payload);
/* A PONG of a peer that says nothing new. */
void fixture_pong(struct fixture *fixture, char sender);
/* All peers but those in `silent` answer; then a tick. `ms` goes by in steps. */
void fixture_live(struct fixture *fixture, uint64_t ms, const char *silent);

/* The effects of the last input. */
const struct bus_effect *fixture_effect(const struct fixture *fixture, enum bus_effect_type type);
unsigned fixture_count(const struct fixture *fixture, enum bus_effect_type type);
/* The packet of this type that was sent to a node over its outbound link ('*': to any, on any
 * link); false when there is none. */
bool fixture_sent(const struct fixture *fixture, char to, uint16_t type, struct wire_message *out);
bool fixture_view(const struct fixture *fixture, char letter, struct bus_node_view *out);
char fixture_owner(const struct fixture *fixture, uint16_t slot); /* Its letter, '-' for none. */

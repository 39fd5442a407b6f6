#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clusterbus/bus.h"
#include "clusterbus/nodes_conf.h"
#include "clusterbus/slot_map.h"
#include "clusterbus/wire.h"
#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/base/rng.h"

#define START_MONO_MS 1000u
#define START_WALL_MS UINT64_C(1700000000000)
#define FIRST_PORT 7000u
#define BUS_PORT_OFFSET 10000u
#define TRACE_LINES 400u
#define TRACE_CAP 200u
#define CLAIMS_MAX 4096u

enum event_type {
    EVENT_TICK,
    EVENT_DELIVER,
    EVENT_DIALLED,
    EVENT_CLOSED,
    EVENT_RESTART,
    EVENT_FAULT
};

struct event {
    uint64_t at_ms;
    uint64_t order; /* Events of one moment happen as they were made. */
    enum event_type type;
    uint32_t node;
    uint32_t conn;
    uint32_t life; /* Of the node: an event for an earlier life is void. */
    struct bus_packet *packet;
};

struct conn {
    uint32_t ends[2]; /* The one that dialled, the one that accepted. */
    uint32_t lives[2];
    uint64_t links[2];
    bool is_open[2];
    uint64_t busy_until_ms[2]; /* What travels from this end arrives in order. */
};

struct machine {
    struct bus *bus; /* NULL while it is down. */
    struct bus_effects effects;
    struct rng rng;
    struct buffer durable; /* What a crash leaves for sure. */
    struct buffer pending; /* What it may leave. */
    uint64_t durable_vote;
    uint32_t life;
    uint64_t paused_until_ms;
    uint32_t island;     /* Machines of one island reach each other. */
    uint32_t *out_conns; /* By number of the outbound link. */
    uint32_t out_count, out_cap;
    /* The server around the bus. */
    struct bus_facts facts;
    bool writes_are_paused;
    uint32_t primary; /* Whom it replicates. */
    /* What it has shown to others. */
    struct node_id id;
    struct bus_epochs shown;
    uint64_t top_claim_epoch;
    uint64_t last_vote_sent;
};

/* Slots that a node has owned under an epoch. */
struct claim {
    uint64_t epoch;
    uint32_t node;
    uint8_t slots[BUS_SLOT_BYTES];
};

struct sim {
    struct sim_options options;
    struct rng rng;
    uint64_t now_ms;
    uint64_t next_order;
    struct event *heap;
    uint32_t heap_len, heap_cap;
    struct conn *conns;
    uint32_t conn_count, conn_cap;
    struct machine machines[SIM_NODES_MAX];
    struct bus_config config;
    bool has_faults;
    uint32_t loss_permille, duplicate_permille, reorder_permille, torn_permille;
    uint32_t delay_max_ms;
    uint64_t island_until_ms;
    struct claim *claims;
    uint32_t claim_count;
    struct sim_counts counts;
    bool is_broken;
    char failure[512];
    char (*trace)[TRACE_CAP];
    uint64_t trace_count;
};

/* ---- Trace and failures -----------------------------------------------------------------------
 */

static void trace(struct sim *sim, uint32_t node, const char *format, ...) PRINTF_LIKE(3, 4);
static void trace(struct sim *sim, uint32_t node, const char *format, ...) {
    char *line = sim->trace[sim->trace_count++ % TRACE_LINES];
    int len = snprintf(line, TRACE_CAP, "%8.3f n%-3u ", (double)sim->now_ms / 1000, node);
    va_list args;
    va_start(args, format);
    vsnprintf(line + len, TRACE_CAP - (size_t)len, format, args);
    va_end(args);
    if (sim->options.prints_trace) fprintf(stderr, "%s\n", line);
}

static void fail(struct sim *sim, const char *format, ...) PRINTF_LIKE(2, 3);
static void fail(struct sim *sim, const char *format, ...) {
    if (sim->is_broken) return;
    sim->is_broken = true;
    va_list args;
    va_start(args, format);
    vsnprintf(sim->failure, sizeof(sim->failure), format, args);
    va_end(args);
    trace(sim, 0, "FAILURE %s", sim->failure);
}

const char *sim_failure_view(const struct sim *sim) {
    return sim->failure;
}

void sim_print_trace(const struct sim *sim) {
    uint64_t first = sim->trace_count > TRACE_LINES ? sim->trace_count - TRACE_LINES : 0;
    for (uint64_t i = first; i < sim->trace_count; i++)
        fprintf(stderr, "%s\n", sim->trace[i % TRACE_LINES]);
}

struct sim_counts sim_counts_view(const struct sim *sim) {
    return sim->counts;
}

/* ---- Events -----------------------------------------------------------------------------------
 */

static bool is_before(const struct event *a, const struct event *b) {
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void add_event(struct sim *sim, struct event event) {
    if (sim->heap_len == sim->heap_cap) {
        sim->heap_cap = sim->heap_cap == 0 ? 256 : sim->heap_cap * 2;
        sim->heap = mem_realloc(sim->heap, sim->heap_cap * sizeof(struct event));
    }
    event.order = sim->next_order++;
    uint32_t i = sim->heap_len++;
    for (; i > 0 && is_before(&event, &sim->heap[(i - 1) / 2]); i = (i - 1) / 2)
        sim->heap[i] = sim->heap[(i - 1) / 2];
    sim->heap[i] = event;
}

static struct event take_event(struct sim *sim) {
    struct event first = sim->heap[0];
    struct event last = sim->heap[--sim->heap_len];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = i * 2 + 1;
        if (child >= sim->heap_len) break;
        if (child + 1 < sim->heap_len && is_before(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!is_before(&sim->heap[child], &last)) break;
        sim->heap[i] = sim->heap[child];
        i = child;
    }
    if (sim->heap_len > 0) sim->heap[i] = last;
    return first;
}

static uint64_t delay_ms(struct sim *sim) {
    return 1 + rng_below(&sim->rng, sim->delay_max_ms);
}

static bool happens(struct sim *sim, uint32_t permille) {
    return permille > 0 && rng_below(&sim->rng, 1000) < permille;
}

static bool reaches(const struct sim *sim, uint32_t a, uint32_t b) {
    return sim->machines[a].island == sim->machines[b].island;
}

/* ---- Machines ---------------------------------------------------------------------------------
 */

static uint64_t slot_key_count(void *context, uint16_t slot) {
    (void)context;
    return slot % 3 == 0;
}

static uint64_t key_count(void *context) {
    (void)context;
    return 0;
}

static struct bus_now now_of(const struct sim *sim) {
    return (struct bus_now){.mono_ms = START_MONO_MS + sim->now_ms,
                            .wall_ms = START_WALL_MS + sim->now_ms};
}

static void run_effects(struct sim *sim, uint32_t node);
static void check_step(struct sim *sim, uint32_t node);

static enum bus_result step(struct sim *sim, uint32_t node, const struct bus_input *input) {
    struct machine *machine = &sim->machines[node];
    sim->counts.steps++;
    bus_set_facts(machine->bus, &machine->facts);
    enum bus_result result =
        bus_step(machine->bus, input, now_of(sim), &machine->rng, &machine->effects);
    run_effects(sim, node);
    return result;
}

static enum bus_result command(struct sim *sim, uint32_t node, struct bus_command what) {
    return step(sim, node, &(struct bus_input){.type = BUS_INPUT_COMMAND, .command = what});
}

static void start(struct sim *sim, uint32_t node) {
    struct machine *machine = &sim->machines[node];
    struct bus_options options = {.config = sim->config,
                                  .host = {NULL, slot_key_count, key_count},
                                  .nodes_conf = buffer_view(&machine->durable)};
    options.config.tcp_port = (uint16_t)(FIRST_PORT + node);
    options.config.bus_port = (uint16_t)(FIRST_PORT + BUS_PORT_OFFSET + node);
    machine->life++;
    machine->out_count = 0;
    machine->writes_are_paused = false;
    machine->facts = (struct bus_facts){.repl_offset = machine->facts.repl_offset};
    enum status status =
        bus_create(&options, now_of(sim), &machine->rng, &machine->effects, &machine->bus);
    if (status != STATUS_OK) {
        fail(sim, "node %u cannot read its own nodes.conf", node);
        return;
    }
    struct bus_epochs epochs = bus_epochs_view(machine->bus);
    if (epochs.current < machine->shown.current)
        fail(sim, "node %u came back with current epoch %llu, it had shown %llu", node,
             (unsigned long long)epochs.current, (unsigned long long)machine->shown.current);
    if (epochs.last_vote < machine->shown.last_vote)
        fail(sim, "node %u has forgotten its vote in epoch %llu", node,
             (unsigned long long)machine->shown.last_vote);
    run_effects(sim, node);
    if (machine->bus == NULL) return;
    struct bus_node_view me;
    bus_node_view_at(machine->bus, 0, &me);
    machine->id = me.id;
    step(sim, node, &(struct bus_input){.type = BUS_INPUT_DATASET_LOADED});
    add_event(sim, (struct event){.at_ms = sim->now_ms + 1 + rng_below(&sim->rng, BUS_TICK_MS),
                                  .type = EVENT_TICK,
                                  .node = node,
                                  .life = machine->life});
}

static void close_end(struct sim *sim, uint32_t index, int end) {
    struct conn *conn = &sim->conns[index];
    if (!conn->is_open[end]) return;
    conn->is_open[end] = false;
    int other = 1 - end;
    if (conn->is_open[other])
        add_event(sim, (struct event){.at_ms = sim->now_ms + delay_ms(sim),
                                      .type = EVENT_CLOSED,
                                      .node = conn->ends[other],
                                      .life = conn->lives[other],
                                      .conn = index * 2 + (uint32_t)other});
}

void sim_crash(struct sim *sim, uint32_t node) {
    struct machine *machine = &sim->machines[node];
    if (machine->bus == NULL) return;
    trace(sim, node, "crash");
    sim->counts.crashes++;
    bus_destroy(machine->bus);
    machine->bus = NULL;
    bus_effects_clear(&machine->effects);
    if (happens(sim, 500)) {
        /* What was not synced made it to the disk all the same. */
        buffer_clear(&machine->durable);
        buffer_append_bytes(&machine->durable, buffer_view(&machine->pending));
    }
    for (uint32_t i = 0; i < sim->conn_count; i++)
        for (int end = 0; end < 2; end++)
            if (sim->conns[i].ends[end] == node && sim->conns[i].lives[end] == machine->life)
                close_end(sim, i, end);
}

void sim_restart(struct sim *sim, uint32_t node) {
    if (sim->machines[node].bus != NULL) return;
    trace(sim, node, "restart");
    start(sim, node);
}

/* ---- Effects ----------------------------------------------------------------------------------
 */

static uint32_t conn_of_link(const struct machine *machine, uint64_t link) {
    return link >= BUS_LINK_OUTBOUND ? machine->out_conns[link - BUS_LINK_OUTBOUND]
                                     : (uint32_t)(link - 1);
}

/* The file is written aside and renamed: a crash leaves the old one or the new one. */
static bool persist(struct sim *sim, uint32_t node, bool must_fsync) {
    struct machine *machine = &sim->machines[node];
    if (happens(sim, sim->torn_permille)) {
        trace(sim, node, "the write is torn");
        sim->counts.torn_writes++;
        sim_crash(sim, node);
        add_event(sim, (struct event){.at_ms = sim->now_ms + 500 + rng_below(&sim->rng, 10000),
                                      .type = EVENT_RESTART,
                                      .node = node});
        return false;
    }
    buffer_clear(&machine->pending);
    nodes_conf_write(machine->bus, &machine->pending);
    if (!must_fsync) return true;
    buffer_clear(&machine->durable);
    buffer_append_bytes(&machine->durable, buffer_view(&machine->pending));
    machine->durable_vote = bus_epochs_view(machine->bus).last_vote;
    return true;
}

static void check_vote(struct sim *sim, uint32_t node, const struct bus_packet *packet) {
    struct machine *machine = &sim->machines[node];
    if (packet->data[13] != WIRE_VOTE || packet->data[12] != 0) return;
    uint64_t epoch = wire_get_u64(packet->data + 16);
    sim->counts.votes++;
    if (epoch <= machine->last_vote_sent)
        fail(sim, "node %u voted a second time in epoch %llu", node, (unsigned long long)epoch);
    if (machine->durable_vote < epoch)
        fail(sim, "node %u told of its vote in epoch %llu before it was durable", node,
             (unsigned long long)epoch);
    machine->last_vote_sent = epoch;
}

static void send_packet(struct sim *sim, uint32_t node, const struct bus_effect *effect) {
    struct machine *machine = &sim->machines[node];
    check_vote(sim, node, effect->packet);
    uint32_t index = conn_of_link(machine, effect->link);
    struct conn *conn = &sim->conns[index];
    int end = effect->link >= BUS_LINK_OUTBOUND ? 0 : 1;
    if (!conn->is_open[end] || !conn->is_open[1 - end]) return;
    sim->counts.packets++;
    if (happens(sim, sim->loss_permille)) return;
    uint32_t copies = happens(sim, sim->duplicate_permille) ? 2 : 1;
    for (uint32_t i = 0; i < copies; i++) {
        uint64_t at_ms = sim->now_ms + delay_ms(sim);
        if (!happens(sim, sim->reorder_permille)) {
            if (at_ms < conn->busy_until_ms[end]) at_ms = conn->busy_until_ms[end];
            conn->busy_until_ms[end] = at_ms;
        }
        add_event(sim, (struct event){.at_ms = at_ms,
                                      .type = EVENT_DELIVER,
                                      .node = conn->ends[1 - end],
                                      .life = conn->lives[1 - end],
                                      .conn = index * 2 + (uint32_t)(1 - end),
                                      .packet = bus_packet_ref(effect->packet)});
    }
}

static void dial(struct sim *sim, uint32_t node, const struct bus_effect *effect) {
    struct machine *machine = &sim->machines[node];
    uint32_t peer = effect->port - (FIRST_PORT + BUS_PORT_OFFSET);
    ASSERT(peer < sim->options.node_count);
    if (sim->conn_count == sim->conn_cap) {
        sim->conn_cap = sim->conn_cap == 0 ? 64 : sim->conn_cap * 2;
        sim->conns = mem_realloc(sim->conns, sim->conn_cap * sizeof(struct conn));
    }
    if (machine->out_count == machine->out_cap) {
        machine->out_cap = machine->out_cap == 0 ? 64 : machine->out_cap * 2;
        machine->out_conns =
            mem_realloc(machine->out_conns, machine->out_cap * sizeof(*machine->out_conns));
    }
    ASSERT(effect->link == BUS_LINK_OUTBOUND + machine->out_count);
    machine->out_conns[machine->out_count++] = sim->conn_count;
    sim->conns[sim->conn_count] = (struct conn){.ends = {node, peer},
                                                .lives = {machine->life, 0},
                                                .links = {effect->link, sim->conn_count + 1},
                                                .is_open = {true, false}};
    bool is_refused = sim->machines[peer].bus == NULL;
    uint64_t wait_ms = reaches(sim, node, peer) || is_refused ? delay_ms(sim) * 2 : 1000;
    add_event(sim, (struct event){.at_ms = sim->now_ms + wait_ms,
                                  .type = EVENT_DIALLED,
                                  .node = node,
                                  .life = machine->life,
                                  .conn = sim->conn_count++});
}

static void follow(struct sim *sim, uint32_t node, const struct bus_effect *effect) {
    struct machine *machine = &sim->machines[node];
    machine->primary = effect->primary_port - FIRST_PORT;
    ASSERT(machine->primary < sim->options.node_count);
    machine->facts.replicates = true;
    machine->facts.primary_link_up = false;
    machine->facts.primary_lost_mono_ms = now_of(sim).mono_ms;
    machine->writes_are_paused = false;
}

static void run_effects(struct sim *sim, uint32_t node) {
    struct machine *machine = &sim->machines[node];
    bool is_new_picture = false;
    for (size_t i = 0; i < machine->effects.count; i++) {
        const struct bus_effect *effect = &machine->effects.list[i];
        switch (effect->type) {
        case BUS_EFFECT_PERSIST:
            if (i != 0) fail(sim, "PERSIST is not the first effect");
            if (!persist(sim, node, effect->must_fsync)) return;
            is_new_picture = true;
            break;
        case BUS_EFFECT_SEND:
            send_packet(sim, node, effect);
            break;
        case BUS_EFFECT_CONNECT:
            dial(sim, node, effect);
            break;
        case BUS_EFFECT_CLOSE: {
            uint32_t index = conn_of_link(machine, effect->link);
            close_end(sim, index, effect->link >= BUS_LINK_OUTBOUND ? 0 : 1);
            break;
        }
        case BUS_EFFECT_BECOME_REPLICA:
            follow(sim, node, effect);
            break;
        case BUS_EFFECT_BECOME_PRIMARY:
            machine->facts.replicates = false;
            sim->counts.failovers++;
            break;
        case BUS_EFFECT_PAUSE_WRITES:
            machine->writes_are_paused = true;
            break;
        case BUS_EFFECT_UNPAUSE_WRITES:
            machine->writes_are_paused = false;
            break;
        case BUS_EFFECT_ROUTES:
            is_new_picture = true;
            break;
        case BUS_EFFECT_LOG:
            trace(sim, node, "%s", effect->text);
            break;
        default:
            break;
        }
    }
    if (is_new_picture) check_step(sim, node);
}

/* ---- Invariants -------------------------------------------------------------------------------
 */

static bool bitmaps_meet(const uint8_t *a, const uint8_t *b) {
    for (uint32_t i = 0; i < SLOT_WORDS; i++)
        if (slot_bits_word(a, i) & slot_bits_word(b, i)) return true;
    return false;
}

/* All changes of epochs and owners come with a PERSIST or a ROUTES effect. */
static void check_claim(struct sim *sim, uint32_t node, const struct bus_epochs *epochs) {
    struct machine *machine = &sim->machines[node];
    struct bus_node_view me;
    bus_node_view_at(machine->bus, 0, &me);
    if (!epochs->is_primary || me.slots == NULL || epochs->mine == 0) return;
    if (epochs->mine < machine->top_claim_epoch)
        fail(sim, "node %u went back to config epoch %llu from %llu", node,
             (unsigned long long)epochs->mine, (unsigned long long)machine->top_claim_epoch);
    machine->top_claim_epoch = epochs->mine;
    struct claim *own = NULL;
    for (uint32_t i = sim->claim_count; i-- > 0;) {
        struct claim *claim = &sim->claims[i];
        if (claim->epoch != epochs->mine) continue;
        if (claim->node == node)
            own = claim;
        else if (bitmaps_meet(claim->slots, me.slots))
            fail(sim, "nodes %u and %u own a slot under config epoch %llu", node, claim->node,
                 (unsigned long long)epochs->mine);
    }
    if (own == NULL) {
        if (sim->claim_count == CLAIMS_MAX) {
            fail(sim, "more than %u claims", CLAIMS_MAX);
            return;
        }
        own = &sim->claims[sim->claim_count++];
        *own = (struct claim){.epoch = epochs->mine, .node = node};
    }
    for (uint32_t i = 0; i < BUS_SLOT_BYTES; i++)
        own->slots[i] |= me.slots[i];
}

static void check_step(struct sim *sim, uint32_t node) {
    struct machine *machine = &sim->machines[node];
    struct bus_epochs epochs = bus_epochs_view(machine->bus);
    if (epochs.current < machine->shown.current)
        fail(sim, "current epoch of node %u went back", node);
    if (epochs.last_vote < machine->shown.last_vote)
        fail(sim, "last vote epoch of node %u went back", node);
    check_claim(sim, node, &epochs);
    machine->shown = epochs;
}

/* ---- The world --------------------------------------------------------------------------------
 */

/* The replication of the server around the bus, as coarse as the bus sees it. */
static void replicate(struct sim *sim, uint32_t node) {
    struct machine *machine = &sim->machines[node];
    struct bus_facts *facts = &machine->facts;
    if (!facts->replicates) {
        if (bus_is_ok(machine->bus) && !machine->writes_are_paused)
            facts->repl_offset += rng_below(&sim->rng, 3);
        return;
    }
    const struct machine *primary = &sim->machines[machine->primary];
    bool is_up = primary->bus != NULL && reaches(sim, node, machine->primary) &&
                 primary->paused_until_ms <= sim->now_ms && machine->primary != node;
    uint64_t mono_ms = now_of(sim).mono_ms;
    if (is_up) {
        facts->primary_heard_mono_ms = mono_ms;
        facts->repl_offset = primary->facts.repl_offset;
    } else if (facts->primary_link_up) {
        facts->primary_lost_mono_ms = mono_ms;
    }
    facts->primary_link_up = is_up;
}

static void on_tick(struct sim *sim, const struct event *event) {
    struct machine *machine = &sim->machines[event->node];
    replicate(sim, event->node);
    step(sim, event->node, &(struct bus_input){.type = BUS_INPUT_TICK});
    if (machine->bus == NULL || machine->life != event->life) return;
    struct event next = *event;
    next.at_ms = sim->now_ms + BUS_TICK_MS;
    add_event(sim, next);
}

static void on_dialled(struct sim *sim, const struct event *event) {
    struct conn *conn = &sim->conns[event->conn];
    struct machine *peer = &sim->machines[conn->ends[1]];
    if (!conn->is_open[0]) return;
    if (peer->bus == NULL || !reaches(sim, conn->ends[0], conn->ends[1])) {
        conn->is_open[0] = false;
        step(sim, event->node,
             &(struct bus_input){.type = BUS_INPUT_LINK_CLOSED, .link = conn->links[0]});
        return;
    }
    conn->lives[1] = peer->life;
    conn->is_open[1] = true;
    struct bus_input accepted = {.type = BUS_INPUT_LINK_ACCEPTED,
                                 .link = conn->links[1],
                                 .peer_ip = "127.0.0.1",
                                 .local_ip = "127.0.0.1"};
    step(sim, conn->ends[1], &accepted);
    conn = &sim->conns[event->conn];
    struct bus_input connected = {
        .type = BUS_INPUT_LINK_CONNECTED, .link = conn->links[0], .local_ip = "127.0.0.1"};
    step(sim, event->node, &connected);
}

static void on_deliver(struct sim *sim, const struct event *event) {
    const struct conn *conn = &sim->conns[event->conn / 2];
    int end = (int)(event->conn % 2);
    if (!conn->is_open[end] || !reaches(sim, conn->ends[0], conn->ends[1])) return;
    struct bus_input input = {.type = BUS_INPUT_PACKET,
                              .link = conn->links[end],
                              .packet = bytes_of(event->packet->data, event->packet->len)};
    step(sim, event->node, &input);
}

static void on_closed(struct sim *sim, const struct event *event) {
    struct conn *conn = &sim->conns[event->conn / 2];
    int end = (int)(event->conn % 2);
    if (!conn->is_open[end]) return;
    conn->is_open[end] = false;
    step(sim, event->node,
         &(struct bus_input){.type = BUS_INPUT_LINK_CLOSED, .link = conn->links[end]});
}

/* ---- Faults -----------------------------------------------------------------------------------
 */

static void make_islands(struct sim *sim) {
    uint32_t count = 2 + (uint32_t)rng_below(&sim->rng, 2);
    trace(sim, 0, "partition into %u", count);
    for (uint32_t i = 0; i < sim->options.node_count; i++) {
        sim->machines[i].island = (uint32_t)rng_below(&sim->rng, count);
        trace(sim, i, "is on island %u", sim->machines[i].island);
    }
    sim->island_until_ms = sim->now_ms + 500 + rng_below(&sim->rng, 25000);
}

static void join_islands(struct sim *sim) {
    for (uint32_t i = 0; i < sim->options.node_count; i++)
        sim->machines[i].island = 0;
    sim->island_until_ms = 0;
}

static void change_weather(struct sim *sim) {
    sim->delay_max_ms = 1u << rng_below(&sim->rng, 10);
    sim->loss_permille = happens(sim, 500) ? 0 : (uint32_t)rng_below(&sim->rng, 200);
    sim->duplicate_permille = happens(sim, 500) ? 0 : (uint32_t)rng_below(&sim->rng, 100);
    sim->reorder_permille = happens(sim, 500) ? 0 : (uint32_t)rng_below(&sim->rng, 200);
    sim->torn_permille = happens(sim, 500) ? 0 : (uint32_t)rng_below(&sim->rng, 100);
    trace(sim, 0, "weather: delay %u ms, loss %u, duplicates %u, reordering %u, torn %u permille",
          sim->delay_max_ms, sim->loss_permille, sim->duplicate_permille, sim->reorder_permille,
          sim->torn_permille);
}

static void on_fault(struct sim *sim) {
    if (!sim->has_faults) return;
    if (sim->island_until_ms != 0 && sim->island_until_ms <= sim->now_ms) join_islands(sim);
    uint32_t node = (uint32_t)rng_below(&sim->rng, sim->options.node_count);
    struct machine *machine = &sim->machines[node];
    switch (rng_below(&sim->rng, 8)) {
    case 0:
        make_islands(sim);
        break;
    case 1:
        change_weather(sim);
        break;
    case 2:
    case 3:
        sim_crash(sim, node);
        add_event(sim, (struct event){.at_ms = sim->now_ms + 100 + rng_below(&sim->rng, 20000),
                                      .type = EVENT_RESTART,
                                      .node = node});
        break;
    case 4:
        machine->paused_until_ms = sim->now_ms + rng_below(&sim->rng, 15000);
        trace(sim, node, "paused until %.3f", (double)machine->paused_until_ms / 1000);
        break;
    case 5:
    case 6:
        if (machine->bus == NULL || machine->paused_until_ms > sim->now_ms) break;
        enum bus_command_type how =
            happens(sim, 700) ? BUS_COMMAND_FAILOVER : BUS_COMMAND_FAILOVER_FORCE;
        trace(sim, node, "operator: FAILOVER%s", how == BUS_COMMAND_FAILOVER ? "" : " FORCE");
        command(sim, node, (struct bus_command){.type = how});
        break;
    default:
        for (uint32_t i = 0; i < 4 && sim->conn_count > 0; i++) {
            uint32_t index = (uint32_t)rng_below(&sim->rng, sim->conn_count);
            for (int end = 0; end < 2; end++)
                if (sim->conns[index].is_open[end])
                    add_event(sim, (struct event){.at_ms = sim->now_ms,
                                                  .type = EVENT_CLOSED,
                                                  .node = sim->conns[index].ends[end],
                                                  .life = sim->conns[index].lives[end],
                                                  .conn = index * 2 + (uint32_t)end});
        }
        break;
    }
    add_event(sim, (struct event){.at_ms = sim->now_ms + rng_below(&sim->rng, 8000),
                                  .type = EVENT_FAULT});
}

void sim_set_faults(struct sim *sim, bool are_on) {
    if (sim->has_faults == are_on) return;
    sim->has_faults = are_on;
    if (are_on) {
        change_weather(sim);
        add_event(sim, (struct event){.at_ms = sim->now_ms + 1, .type = EVENT_FAULT});
        return;
    }
    trace(sim, 0, "healed");
    join_islands(sim);
    sim->loss_permille = sim->duplicate_permille = sim->reorder_permille = 0;
    sim->torn_permille = 0;
    sim->delay_max_ms = 5;
    for (uint32_t i = 0; i < sim->options.node_count; i++) {
        sim->machines[i].paused_until_ms = 0;
        sim_restart(sim, i);
    }
}

static bool has_slots(const struct sim *sim, uint32_t node, struct bus_node_view *out) {
    if (sim->machines[node].bus == NULL) return false;
    bus_node_view_at(sim->machines[node].bus, 0, out);
    return (out->flags & BUS_NODE_PRIMARY) && out->slot_count > 1;
}

static void move_slot(struct sim *sim, uint32_t source, uint32_t target, uint16_t slot) {
    struct bytes source_id = bytes_of(sim->machines[source].id.text, NODE_ID_LENGTH);
    struct bytes target_id = bytes_of(sim->machines[target].id.text, NODE_ID_LENGTH);
    const struct {
        uint32_t node;
        enum bus_command_type type;
        struct bytes peer;
    } steps[] = {{target, BUS_COMMAND_SETSLOT_IMPORTING, source_id},
                 {source, BUS_COMMAND_SETSLOT_MIGRATING, target_id},
                 {target, BUS_COMMAND_SETSLOT_NODE, target_id},
                 {source, BUS_COMMAND_SETSLOT_NODE, target_id}};
    trace(sim, source, "operator: slot %u moves to n%u", slot, target);
    for (unsigned i = 0; i < 4; i++) {
        struct bus_command what = {.type = steps[i].type, .slot = slot, .node = steps[i].peer};
        enum bus_result result = command(sim, steps[i].node, what);
        if (result != BUS_OK) fail(sim, "SETSLOT refused with %d", (int)result);
        sim_run(sim, 50);
    }
}

void sim_move_slots(struct sim *sim, uint32_t count) {
    for (uint32_t moved = 0, tries = 0; moved < count && tries < 1000 && !sim->is_broken; tries++) {
        uint32_t source = (uint32_t)rng_below(&sim->rng, sim->options.node_count);
        uint32_t target = (uint32_t)rng_below(&sim->rng, sim->options.node_count);
        uint16_t slot = (uint16_t)rng_below(&sim->rng, BUS_SLOT_COUNT);
        struct bus_node_view view;
        if (source == target || slot_key_count(NULL, slot) > 0) continue;
        if (!has_slots(sim, target, &view) || !has_slots(sim, source, &view)) continue;
        if (!slot_bits_has(view.slots, slot)) continue;
        move_slot(sim, source, target, slot);
        moved++;
    }
}

/* ---- Running ----------------------------------------------------------------------------------
 */

static void run_event(struct sim *sim, const struct event *event) {
    struct machine *machine = &sim->machines[event->node];
    if (event->type == EVENT_FAULT) {
        on_fault(sim);
        return;
    }
    if (event->type == EVENT_RESTART) {
        sim_restart(sim, event->node);
        return;
    }
    if (machine->bus == NULL || machine->life != event->life) return;
    if (machine->paused_until_ms > sim->now_ms) {
        /* A stopped process finds everything that has come when it goes on. */
        struct event later = *event;
        later.at_ms = machine->paused_until_ms;
        if (later.packet != NULL) bus_packet_ref(later.packet);
        add_event(sim, later);
        return;
    }
    switch (event->type) {
    case EVENT_TICK:
        on_tick(sim, event);
        break;
    case EVENT_DELIVER:
        on_deliver(sim, event);
        break;
    case EVENT_DIALLED:
        on_dialled(sim, event);
        break;
    case EVENT_CLOSED:
        on_closed(sim, event);
        break;
    default:
        break;
    }
}

bool sim_run(struct sim *sim, uint64_t duration_ms) {
    uint64_t end_ms = sim->now_ms + duration_ms;
    while (!sim->is_broken && sim->heap_len > 0 && sim->heap[0].at_ms <= end_ms) {
        struct event event = take_event(sim);
        sim->now_ms = event.at_ms;
        run_event(sim, &event);
        bus_packet_unref(event.packet);
    }
    sim->now_ms = end_ms;
    return !sim->is_broken;
}

static void differ(struct sim *sim, const char *format, ...) PRINTF_LIKE(2, 3);
static void differ(struct sim *sim, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(sim->failure, sizeof(sim->failure), format, args);
    va_end(args);
}

static bool same_node(struct sim *sim, uint32_t viewer, const struct bus_node_view *seen,
                      const struct bus_node_view *self) {
    const uint16_t bad =
        BUS_NODE_SUSPECTED | BUS_NODE_FAILED | BUS_NODE_HANDSHAKE | BUS_NODE_NOADDR;
    const uint16_t roles = BUS_NODE_PRIMARY | BUS_NODE_REPLICA;
    const char *what = NULL;
    if (seen->flags & bad)
        what = "flags";
    else if ((seen->flags & roles) != (self->flags & roles))
        what = "role";
    else if (seen->config_epoch != self->config_epoch)
        what = "config epoch";
    else if (seen->has_primary != self->has_primary ||
             (seen->has_primary && !node_id_equal(&seen->primary_id, &self->primary_id)))
        what = "primary";
    else if (seen->slot_count != self->slot_count)
        what = "slot count";
    else if (seen->slots != NULL && memcmp(seen->slots, self->slots, BUS_SLOT_BYTES) != 0)
        what = "slots";
    if (what == NULL) return true;
    differ(sim, "node %u sees node %.40s with another %s", viewer, self->id.text, what);
    return false;
}

bool sim_run_until_views_agree(struct sim *sim, uint64_t limit_ms) {
    uint64_t end_ms = sim->now_ms + limit_ms;
    while (sim_run(sim, 1000)) {
        if (sim_views_agree(sim)) return true;
        if (sim->now_ms >= end_ms) break;
    }
    return false;
}

bool sim_views_agree(struct sim *sim) {
    if (sim->is_broken) return false;
    uint32_t up = 0;
    for (uint32_t i = 0; i < sim->options.node_count; i++)
        up += sim->machines[i].bus != NULL;
    for (uint32_t i = 0; i < sim->options.node_count; i++) {
        const struct bus *bus = sim->machines[i].bus;
        if (bus == NULL) continue;
        if (!bus_is_ok(bus)) {
            differ(sim, "node %u is in state fail", i);
            return false;
        }
        if (up == sim->options.node_count && bus_node_count(bus) != up) {
            differ(sim, "node %u knows %zu nodes", i, bus_node_count(bus));
            return false;
        }
        for (uint32_t j = 0; j < sim->options.node_count; j++) {
            if (sim->machines[j].bus == NULL) continue;
            struct bus_node_view self;
            struct bus_node_view seen;
            bus_node_view_at(sim->machines[j].bus, 0, &self);
            if (!bus_node_find(bus, bytes_of(self.id.text, NODE_ID_LENGTH), &seen)) {
                differ(sim, "node %u does not know node %u", i, j);
                return false;
            }
            if (!same_node(sim, i, &seen, &self)) return false;
        }
    }
    return true;
}

/* ---- Life -------------------------------------------------------------------------------------
 */

struct sim *sim_create(const struct sim_options *options) {
    ASSERT(options->node_count <= SIM_NODES_MAX);
    struct sim *sim = mem_alloc_zero(sizeof(*sim));
    sim->options = *options;
    rng_seed(&sim->rng, options->seed);
    sim->trace = mem_alloc_zero((size_t)TRACE_LINES * TRACE_CAP);
    sim->claims = mem_alloc(CLAIMS_MAX * sizeof(struct claim));
    sim->delay_max_ms = 5;
    bus_config_init(&sim->config);
    sim->config.node_timeout_ms = options->node_timeout_ms;
    memcpy(sim->config.announce_ip, "127.0.0.1", sizeof("127.0.0.1"));

    uint32_t primaries = options->primary_count;
    for (uint32_t i = 0; i < options->node_count; i++) {
        rng_seed(&sim->machines[i].rng, rng_next(&sim->rng));
        bus_effects_init(&sim->machines[i].effects);
        start(sim, i);
    }
    for (uint32_t i = 0; i < primaries; i++) {
        struct slot_range range = {(uint16_t)(i * BUS_SLOT_COUNT / primaries),
                                   (uint16_t)((i + 1) * BUS_SLOT_COUNT / primaries - 1)};
        command(sim, i, (struct bus_command){.type = BUS_COMMAND_SET_CONFIG_EPOCH, .epoch = i + 1});
        command(
            sim, i,
            (struct bus_command){.type = BUS_COMMAND_ADDSLOTS, .ranges = &range, .range_count = 1});
    }
    for (uint32_t i = 1; i < options->node_count; i++)
        command(sim, 0,
                (struct bus_command){.type = BUS_COMMAND_MEET,
                                     .ip = BYTES_LITERAL("127.0.0.1"),
                                     .port = FIRST_PORT + i});
    /* A replica can be made when the node knows its primary. */
    uint32_t left = options->node_count - primaries;
    bool is_done[SIM_NODES_MAX] = {false};
    for (uint32_t round = 0; left > 0 && round < 600 && sim_run(sim, 100); round++) {
        for (uint32_t i = primaries; i < options->node_count; i++) {
            const struct machine *primary = &sim->machines[(i - primaries) % primaries];
            if (is_done[i]) continue;
            struct bus_command what = {.type = BUS_COMMAND_REPLICATE,
                                       .node = bytes_of(primary->id.text, NODE_ID_LENGTH)};
            is_done[i] = command(sim, i, what) == BUS_OK;
            left -= is_done[i];
        }
    }
    if (left > 0) fail(sim, "%u nodes did not meet their primaries", left);
    return sim;
}

void sim_destroy(struct sim *sim) {
    if (sim == NULL) return;
    while (sim->heap_len > 0)
        bus_packet_unref(take_event(sim).packet);
    for (uint32_t i = 0; i < sim->options.node_count; i++) {
        struct machine *machine = &sim->machines[i];
        bus_destroy(machine->bus);
        bus_effects_deinit(&machine->effects);
        buffer_deinit(&machine->durable);
        buffer_deinit(&machine->pending);
        mem_free(machine->out_conns);
    }
    mem_free(sim->heap);
    mem_free(sim->conns);
    mem_free(sim->claims);
    mem_free(sim->trace);
    mem_free(sim);
}

#include <string.h>

#include "clusterbus/fixture_internal.h"
#include "server/base/check.h"
#include "server/base/mem.h"

#define A40 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B40 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C40 "cccccccccccccccccccccccccccccccccccccccc"
#define D40 "dddddddddddddddddddddddddddddddddddddddd"
#define E40 "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"

const char *const fixture_three_primaries =
    FIXTURE_LINE(A40, "7000", "myself,master - 0 0 1 connected 0-5460")
        FIXTURE_LINE(B40, "7001", "master - 0 0 2 connected 5461-10922")
            FIXTURE_LINE(C40, "7002", "master - 0 0 3 connected 10923-16383")
                FIXTURE_LINE(D40, "7003", "slave " A40 " 0 0 1 connected")
                    FIXTURE_LINE(E40, "7004",
                                 "slave " B40
                                 " 0 0 2 connected") "vars currentEpoch 3 lastVoteEpoch 0\n";

static const char letters[] = "abcdefgh";

struct node_id fixture_id(char letter) {
    struct node_id id;
    memset(id.text, letter, NODE_ID_LENGTH);
    return id;
}

static uint64_t slot_key_count(void *context, uint16_t slot) {
    (void)slot;
    return *(const uint64_t *)context;
}

static uint64_t key_count(void *context) {
    return *(const uint64_t *)context;
}

static enum bus_result step(struct fixture *fixture, const struct bus_input *input) {
    bus_set_facts(fixture->bus, &fixture->facts);
    return bus_step(fixture->bus, input, fixture->now, &fixture->rng, &fixture->effects);
}

static void answer_dials(struct fixture *fixture) {
    uint64_t links[64];
    unsigned count = 0;
    for (size_t i = 0; i < fixture->effects.count; i++)
        if (fixture->effects.list[i].type == BUS_EFFECT_CONNECT)
            links[count++] = fixture->effects.list[i].link;
    for (unsigned i = 0; i < count; i++)
        step(fixture, &(struct bus_input){.type = BUS_INPUT_LINK_CONNECTED,
                                          .link = links[i],
                                          .local_ip = "127.0.0.1"});
}

void fixture_start_fresh(struct fixture *fixture, const char *nodes_conf) {
    memset(fixture, 0, sizeof(*fixture));
    rng_seed(&fixture->rng, 7);
    bus_effects_init(&fixture->effects);
    bus_config_init(&fixture->config);
    fixture->config.node_timeout_ms = FIXTURE_NT;
    fixture->config.tcp_port = 7000;
    fixture->config.bus_port = 17000;
    fixture->now = (struct bus_now){.mono_ms = 5000, .wall_ms = 1700000000000};
    fixture->next_inbound = 1;
    struct bus_options options = {
        .config = fixture->config,
        .host = {&fixture->key_count, slot_key_count, key_count},
        .nodes_conf = bytes_of_text(nodes_conf),
    };
    enum status status =
        bus_create(&options, fixture->now, &fixture->rng, &fixture->effects, &fixture->bus);
    ASSERT(status == STATUS_OK);
    step(fixture, &(struct bus_input){.type = BUS_INPUT_DATASET_LOADED});
    fixture_live(fixture, 2 * BUS_TICK_MS, "");
}

void fixture_start(struct fixture *fixture, const char *nodes_conf) {
    fixture_start_fresh(fixture, nodes_conf);
    fixture_live(fixture, 4000, "");
}

void fixture_end(struct fixture *fixture) {
    bus_destroy(fixture->bus);
    bus_effects_deinit(&fixture->effects);
}

enum bus_result fixture_command(struct fixture *fixture, struct bus_command command) {
    return step(fixture, &(struct bus_input){.type = BUS_INPUT_COMMAND, .command = command});
}

void fixture_tick(struct fixture *fixture) {
    fixture->now.mono_ms += BUS_TICK_MS;
    fixture->now.wall_ms += BUS_TICK_MS;
    step(fixture, &(struct bus_input){.type = BUS_INPUT_TICK});
}

void fixture_advance(struct fixture *fixture, uint64_t ms) {
    for (; ms >= BUS_TICK_MS; ms -= BUS_TICK_MS) {
        fixture_tick(fixture);
        answer_dials(fixture);
    }
}

uint64_t fixture_accept(struct fixture *fixture) {
    uint64_t link = fixture->next_inbound++;
    step(fixture, &(struct bus_input){.type = BUS_INPUT_LINK_ACCEPTED,
                                      .link = link,
                                      .peer_ip = "127.0.0.1",
                                      .local_ip = "127.0.0.9"});
    return link;
}

void fixture_packet(struct fixture *fixture, uint64_t link, const uint8_t *packet, size_t len) {
    /* Of its exact size, so that a sanitizer sees a read beyond it. */
    uint8_t *copy = mem_alloc(len);
    memcpy(copy, packet, len);
    step(fixture, &(struct bus_input){
                      .type = BUS_INPUT_PACKET, .link = link, .packet = bytes_of(copy, len)});
    mem_free(copy);
}

void fixture_header(struct fixture *fixture, char sender, uint16_t type, struct wire_header *out) {
    static const uint8_t no_slots[BUS_SLOT_BYTES];
    struct bus_node_view view;
    struct bus_node_view primary;
    *out = (struct wire_header){.type = type, .sender = fixture_id(sender), .slots = no_slots};
    out->message_flags[0] = WIRE_HAS_EXTENSIONS;
    out->flags = BUS_NODE_PRIMARY | BUS_NODE_MYSELF | BUS_NODE_LIGHT_PUBLISH;
    out->port = (uint16_t)(7000 + sender - 'a');
    out->bus_port = (uint16_t)(17000 + sender - 'a');
    out->current_epoch = bus_epochs_view(fixture->bus).current;
    if (!fixture_view(fixture, sender, &view)) return;
    out->config_epoch = view.config_epoch;
    out->repl_offset = view.repl_offset;
    if (view.slots != NULL) out->slots = view.slots;
    if (!view.has_primary) return;
    out->flags = BUS_NODE_REPLICA | BUS_NODE_MYSELF | BUS_NODE_LIGHT_PUBLISH;
    out->replica_of = view.primary_id;
    if (bus_node_find(fixture->bus, bytes_of(view.primary_id.text, NODE_ID_LENGTH), &primary) &&
        primary.slots != NULL)
        out->slots = primary.slots;
}

void fixture_say(struct fixture *fixture, uint64_t link, const struct wire_header *header,
                 struct bytes payload) {
    size_t len = WIRE_HEADER_SIZE + payload.len;
    uint8_t *packet = mem_alloc(len);
    uint8_t *end = wire_put_header(packet, header);
    if (payload.len > 0) memcpy(end, payload.data, payload.len);
    wire_finish(packet, packet + len);
    if (link == BUS_LINK_NONE) {
        struct bus_node_view view;
        ASSERT(fixture_view(fixture, header->sender.text[0], &view));
        link = view.out_link;
    }
    fixture_packet(fixture, link, packet, len);
    mem_free(packet);
}

void fixture_pong(struct fixture *fixture, char sender) {
    struct wire_header header;
    struct bytes none = {NULL, 0};
    fixture_header(fixture, sender, WIRE_PONG, &header);
    fixture_say(fixture, BUS_LINK_NONE, &header, none);
}

void fixture_live(struct fixture *fixture, uint64_t ms, const char *silent) {
    for (; ms >= BUS_TICK_MS; ms -= BUS_TICK_MS) {
        for (const char *letter = letters + 1; *letter != '\0'; letter++) {
            struct bus_node_view view;
            if (strchr(silent, *letter) != NULL || !fixture_view(fixture, *letter, &view)) continue;
            if (view.out_link != BUS_LINK_NONE) fixture_pong(fixture, *letter);
        }
        fixture_tick(fixture);
        if (fixture_effect(fixture, BUS_EFFECT_CONNECT) != NULL) answer_dials(fixture);
    }
}

const struct bus_effect *fixture_effect(const struct fixture *fixture, enum bus_effect_type type) {
    for (size_t i = 0; i < fixture->effects.count; i++)
        if (fixture->effects.list[i].type == type) return &fixture->effects.list[i];
    return NULL;
}

unsigned fixture_count(const struct fixture *fixture, enum bus_effect_type type) {
    unsigned count = 0;
    for (size_t i = 0; i < fixture->effects.count; i++)
        count += fixture->effects.list[i].type == type;
    return count;
}

bool fixture_sent(const struct fixture *fixture, char to, uint16_t type, struct wire_message *out) {
    struct bus_node_view view = {0};
    if (to != '*' && !fixture_view(fixture, to, &view)) return false;
    for (size_t i = 0; i < fixture->effects.count; i++) {
        const struct bus_effect *effect = &fixture->effects.list[i];
        if (effect->type != BUS_EFFECT_SEND) continue;
        if (to != '*' && effect->link != view.out_link) continue;
        struct wire_message message;
        ASSERT(wire_decode(bytes_of(effect->packet->data, effect->packet->len), &message) ==
               STATUS_OK);
        if (message.header.type != type) continue;
        if (out != NULL) *out = message;
        return true;
    }
    return false;
}

bool fixture_view(const struct fixture *fixture, char letter, struct bus_node_view *out) {
    struct node_id id = fixture_id(letter);
    return bus_node_find(fixture->bus, bytes_of(id.text, NODE_ID_LENGTH), out);
}

char fixture_owner(const struct fixture *fixture, uint16_t slot) {
    struct bus_slot_view view;
    bus_slot_view(fixture->bus, slot, &view);
    return view.has_owner ? view.owner.text[0] : '-';
}

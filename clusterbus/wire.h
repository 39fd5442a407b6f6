/* The packets of the bus, bytes <-> values (specification 2).
 *
 * Decoding is total: every byte string is a message or a status, and no byte outside the string is
 * read. What a message points to lies in the packet's bytes and lives as long as they do. Encoding
 * writes to memory that the caller has measured with the size macros. All integers on the wire are
 * big-endian, but a module's id, which is opaque.
 *
 *   full:  header 2256 | gossip entries 104 each | extensions      (PING, PONG, MEET)
 *          header 2256 | payload by type                          (the others)
 *   light: header 16   | payload                                  (PUBLISH, PUBLISHSHARD, MODULE)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "clusterbus/bus.h"
#include "clusterbus/node_id.h"
#include "server/base/bytes.h"
#include "server/base/status.h"

#define WIRE_HEADER_SIZE 2256u
#define WIRE_LIGHT_HEADER_SIZE 16u
#define WIRE_GOSSIP_SIZE 104u
#define WIRE_FAIL_SIZE (WIRE_HEADER_SIZE + NODE_ID_LENGTH)
#define WIRE_UPDATE_SIZE (WIRE_HEADER_SIZE + 8 + NODE_ID_LENGTH + BUS_SLOT_BYTES)
#define WIRE_PUBLISH_OVERHEAD 8u
#define WIRE_MODULE_OVERHEAD 13u
#define WIRE_EXTENSION_HEAD 8u
#define WIRE_EXTENSION_SIZE(data_len) (WIRE_EXTENSION_HEAD + (((data_len) + 7u) & ~7u))
#define WIRE_FORGOTTEN_LEN (NODE_ID_LENGTH + 8u)
#define WIRE_LIGHT_BIT 0x8000u
#define WIRE_VERSION 1

enum wire_type {
    WIRE_PING,
    WIRE_PONG,
    WIRE_MEET,
    WIRE_FAIL,
    WIRE_PUBLISH,
    WIRE_VOTE_REQUEST, /* FAILOVER_AUTH_REQUEST */
    WIRE_VOTE,         /* FAILOVER_AUTH_ACK */
    WIRE_UPDATE,
    WIRE_MFSTART,
    WIRE_MODULE,
    WIRE_PUBLISH_SHARD,
};

enum wire_message_flag { /* mflags[0] */
                         WIRE_PAUSED = 0x01,
                         WIRE_FORCE_VOTE = 0x02,
                         WIRE_HAS_EXTENSIONS = 0x04,
};

enum wire_extension_type {
    WIRE_EXTENSION_HOSTNAME,
    WIRE_EXTENSION_HUMAN_NODENAME,
    WIRE_EXTENSION_FORGOTTEN,
    WIRE_EXTENSION_SHARD_ID,
    WIRE_EXTENSION_CLIENT_IPV4,
    WIRE_EXTENSION_CLIENT_IPV6,
};

struct wire_header {
    bool is_light; /* Then only `type` means something. */
    uint16_t type;
    uint16_t port;
    uint16_t gossip_count;
    uint64_t current_epoch;
    uint64_t config_epoch;
    uint64_t repl_offset;
    struct node_id sender;
    const uint8_t *slots;      /* BUS_SLOT_BYTES. */
    struct node_id replica_of; /* All zero: a primary. */
    char ip[BUS_IP_CAP];       /* Terminated; empty: use the socket's. */
    uint16_t extension_count;
    uint16_t other_port; /* TLS port on a TCP bus, TCP port on a TLS bus. */
    uint16_t bus_port;
    uint16_t flags;
    uint8_t state;
    uint8_t message_flags[3];
};

struct wire_gossip {
    struct node_id id;
    uint32_t ping_sent_s; /* Unix seconds. */
    uint32_t pong_received_s;
    char ip[BUS_IP_CAP];
    uint16_t port;
    uint16_t bus_port;
    uint16_t flags;
    uint16_t other_port;
};

struct wire_extension {
    uint16_t type;
    struct bytes data; /* Padding included. */
};

struct wire_message {
    struct wire_header header;
    struct bytes gossip;     /* gossip_count entries. */
    struct bytes extensions; /* extension_count of them. */
    union {
        struct node_id failed; /* FAIL */
        struct {
            struct bytes channel;
            struct bytes message;
        } publish;
        struct {
            uint64_t config_epoch;
            struct node_id node;
            const uint8_t *slots;
        } update;
        struct {
            uint8_t id[8];
            uint8_t type;
            struct bytes payload;
        } module;
    };
};

/* The message type of a framed packet without its light bit; `out_is_light` says whether it had it.
 * `packet` has at least WIRE_LIGHT_HEADER_SIZE bytes. */
uint16_t wire_peek_type(struct bytes packet, bool *out_is_light);

/* Whether the type may have a light header. */
bool wire_type_has_light_form(uint16_t type);

/* STATUS_OK; STATUS_UNSUPPORTED: another version, an unknown type, a light header where there is
 * none; STATUS_BAD_FORMAT: a length that is not the type's (specification 1.4). */
MUST_USE enum status wire_decode(struct bytes packet, struct wire_message *out);

/* Entry `index` of a decoded message's gossip section. */
void wire_gossip_at(const struct wire_message *message, uint16_t index, struct wire_gossip *out);

/* Walks the extensions: takes the next from `cursor`, which starts as message->extensions. False at
 * the end. */
bool wire_extension_next(struct bytes *cursor, struct wire_extension *out);

/* The text in an extension or a padded field: up to the first NUL, false when there is none. */
bool wire_text(struct bytes field, struct bytes *out);

uint64_t wire_get_u64(const uint8_t *in);
void wire_put_u64(uint8_t *out, uint64_t value);

/* Encoding. Each writes at `out` and returns its new end. wire_finish sets the total length. */
uint8_t *wire_put_header(uint8_t *out, const struct wire_header *header);
uint8_t *wire_put_gossip(uint8_t *out, const struct wire_gossip *entry);
uint8_t *wire_put_extension(uint8_t *out, uint16_t type, struct bytes data);
uint8_t *wire_put_fail(uint8_t *out, const struct node_id *failed);
uint8_t *wire_put_publish(uint8_t *out, struct bytes channel, struct bytes message);
uint8_t *wire_put_update(uint8_t *out, uint64_t config_epoch, const struct node_id *node,
                         const uint8_t *slots);
uint8_t *wire_put_module(uint8_t *out, const uint8_t *id, uint8_t type, struct bytes payload);
void wire_finish(uint8_t *packet, uint8_t *end);

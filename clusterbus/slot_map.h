/* Which node serves which hash slot, as far as this node knows.
 *
 * Every slot has at most one owner. Owners are *members*: small numbers that the node table gives
 * to nodes, so that forgetting a node cannot leave a dangling pointer; 0 is nobody. Each member has
 * the config epoch under which it claims its slots, and only a claim with a higher epoch takes a
 * slot from another member, unless its owner has stopped claiming it. A slot may besides be open:
 * migrating to a member, importing from one, or both.
 *
 * Bitmaps have BUS_SLOT_BYTES bytes; slot s is bit s % 8 of byte s / 8, as on the wire.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "clusterbus/bus.h"
#include "server/base/status.h"

#define SLOT_WORDS (BUS_SLOT_COUNT / 64)
#define MEMBER_NONE 0u

struct slot_map;

/* Creates an empty map. Never NULL. Release with slot_map_destroy. */
struct slot_map *slot_map_create(void);
void slot_map_destroy(struct slot_map *map); /* NULL is fine. */

/* Records that `owner` claims `slot` under `epoch`.
 *
 * slot:    below BUS_SLOT_COUNT; anything else is a caller bug and asserts.
 * Returns  STATUS_OK, also when the owner repeats its claim;
 *          STATUS_STALE_EPOCH when another member that still claims the slot has this or a higher
 *          epoch; the map is then unchanged.
 * Source   specification 5.4, steps 1 and 2. */
MUST_USE enum status slot_map_claim(struct slot_map *map, uint16_t slot, uint16_t owner,
                                    uint64_t epoch);

/* Whether slot_map_claim would be refused. */
bool slot_map_claim_is_stale(const struct slot_map *map, uint16_t slot, uint16_t owner,
                             uint64_t epoch);

/* Gives a slot to a member whatever the epochs, taking it from who has it. MEMBER_NONE leaves it
 * unassigned. Clears the mark "stopped claiming". Open states stay. */
void slot_map_assign(struct slot_map *map, uint16_t slot, uint16_t owner);

uint16_t slot_map_owner(const struct slot_map *map, uint16_t slot);
uint32_t slot_map_count(const struct slot_map *map, uint16_t member);
uint32_t slot_map_assigned_count(const struct slot_map *map);

/* The slots of a member; all zero when it has none. Valid until the next change. */
const uint8_t *slot_map_bitmap_view(const struct slot_map *map, uint16_t member);

/* The config epoch of a member: 0 at first. */
void slot_map_set_epoch(struct slot_map *map, uint16_t member, uint64_t epoch);
uint64_t slot_map_epoch(const struct slot_map *map, uint16_t member);

/* The owner has stopped (or resumed) claiming the slot; it keeps it until somebody claims it. */
void slot_map_mark_unclaimed(struct slot_map *map, uint16_t slot, bool is_unclaimed);
/* True when nobody has the slot, or its owner has stopped claiming it. */
bool slot_map_is_unclaimed(const struct slot_map *map, uint16_t slot);
/* Copies the slots that the member has and still claims. */
void slot_map_copy_claimed(const struct slot_map *map, uint16_t member, uint8_t *out_bitmap);

/* Open slots. MEMBER_NONE closes. */
void slot_map_set_migrating(struct slot_map *map, uint16_t slot, uint16_t target);
void slot_map_set_importing(struct slot_map *map, uint16_t slot, uint16_t source);
uint16_t slot_map_migrating(const struct slot_map *map, uint16_t slot);
uint16_t slot_map_importing(const struct slot_map *map, uint16_t slot);
uint32_t slot_map_migrating_count(const struct slot_map *map);
uint32_t slot_map_importing_count(const struct slot_map *map);

/* The member is gone: its number means nobody again. The caller has unassigned its slots and closed
 * its open ones. */
void slot_map_release(struct slot_map *map, uint16_t member);

/* ---- Bitmaps ----------------------------------------------------------------------------------
 */

/* 64 slots from slot 64 * index on, slot 64 * index in the lowest bit. */
static inline uint64_t slot_bits_word(const uint8_t *bitmap, uint32_t index) {
    uint64_t word;
    memcpy(&word, bitmap + index * 8, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline bool slot_bits_has(const uint8_t *bitmap, uint16_t slot) {
    return (bitmap[slot / 8] >> (slot % 8)) & 1;
}

static inline void slot_bits_add(uint8_t *bitmap, uint16_t slot) {
    bitmap[slot / 8] = (uint8_t)(bitmap[slot / 8] | (1u << (slot % 8)));
}

static inline void slot_bits_remove(uint8_t *bitmap, uint16_t slot) {
    bitmap[slot / 8] = (uint8_t)(bitmap[slot / 8] & ~(1u << (slot % 8)));
}

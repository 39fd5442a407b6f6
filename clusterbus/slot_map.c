#include "clusterbus/slot_map.h"

#include <string.h>

#include "server/base/check.h"
#include "server/base/mem.h"

struct member {
    uint64_t epoch;
    uint32_t slot_count;
    uint8_t *bitmap; /* NULL while it never had a slot: most members are replicas. */
};

/* An all-zero map is a valid empty one, so untouched pages cost nothing. */
struct slot_map {
    uint16_t owner[BUS_SLOT_COUNT];
    uint16_t migrating[BUS_SLOT_COUNT];
    uint16_t importing[BUS_SLOT_COUNT];
    uint8_t unclaimed[BUS_SLOT_BYTES]; /* Only slots with an owner. */
    uint32_t assigned_count;
    uint32_t migrating_count;
    uint32_t importing_count;
    struct member *members;
    uint32_t member_cap;
};

static const uint8_t empty_bitmap[BUS_SLOT_BYTES];

struct slot_map *slot_map_create(void) {
    return mem_alloc_zero(sizeof(struct slot_map));
}

void slot_map_destroy(struct slot_map *map) {
    if (map == NULL) return;
    for (uint32_t i = 0; i < map->member_cap; i++)
        mem_free(map->members[i].bitmap);
    mem_free(map->members);
    mem_free(map);
}

static struct member *member_at(struct slot_map *map, uint16_t number) {
    ASSERT(number != MEMBER_NONE);
    if (number >= map->member_cap) {
        uint32_t cap = map->member_cap == 0 ? 16 : map->member_cap * 2;
        while (cap <= number)
            cap *= 2;
        map->members = mem_realloc(map->members, cap * sizeof(struct member));
        memset(map->members + map->member_cap, 0, (cap - map->member_cap) * sizeof(struct member));
        map->member_cap = cap;
    }
    return &map->members[number];
}

static const struct member *member_view(const struct slot_map *map, uint16_t number) {
    static const struct member nobody;
    return number < map->member_cap ? &map->members[number] : &nobody;
}

bool slot_map_claim_is_stale(const struct slot_map *map, uint16_t slot, uint16_t owner,
                             uint64_t epoch) {
    ASSERT(slot < BUS_SLOT_COUNT);
    uint16_t holder = map->owner[slot];
    if (holder == owner || slot_map_is_unclaimed(map, slot)) return false;
    return member_view(map, holder)->epoch >= epoch;
}

enum status slot_map_claim(struct slot_map *map, uint16_t slot, uint16_t owner, uint64_t epoch) {
    if (slot_map_claim_is_stale(map, slot, owner, epoch)) return STATUS_STALE_EPOCH;
    if (map->owner[slot] == owner)
        slot_bits_remove(map->unclaimed, slot);
    else
        slot_map_assign(map, slot, owner);
    return STATUS_OK;
}

void slot_map_assign(struct slot_map *map, uint16_t slot, uint16_t owner) {
    ASSERT(slot < BUS_SLOT_COUNT);
    slot_bits_remove(map->unclaimed, slot);
    uint16_t before = map->owner[slot];
    if (before == owner) return;
    if (before != MEMBER_NONE) {
        struct member *loser = member_at(map, before);
        slot_bits_remove(loser->bitmap, slot);
        loser->slot_count--;
        map->assigned_count--;
    }
    map->owner[slot] = owner;
    if (owner == MEMBER_NONE) return;
    struct member *winner = member_at(map, owner);
    if (winner->bitmap == NULL) winner->bitmap = mem_alloc_zero(BUS_SLOT_BYTES);
    slot_bits_add(winner->bitmap, slot);
    winner->slot_count++;
    map->assigned_count++;
}

uint16_t slot_map_owner(const struct slot_map *map, uint16_t slot) {
    ASSERT(slot < BUS_SLOT_COUNT);
    return map->owner[slot];
}

uint32_t slot_map_count(const struct slot_map *map, uint16_t member) {
    return member_view(map, member)->slot_count;
}

uint32_t slot_map_assigned_count(const struct slot_map *map) {
    return map->assigned_count;
}

const uint8_t *slot_map_bitmap_view(const struct slot_map *map, uint16_t member) {
    const struct member *found = member_view(map, member);
    return found->bitmap != NULL ? found->bitmap : empty_bitmap;
}

void slot_map_set_epoch(struct slot_map *map, uint16_t member, uint64_t epoch) {
    member_at(map, member)->epoch = epoch;
}

uint64_t slot_map_epoch(const struct slot_map *map, uint16_t member) {
    return member_view(map, member)->epoch;
}

void slot_map_mark_unclaimed(struct slot_map *map, uint16_t slot, bool is_unclaimed) {
    ASSERT(slot < BUS_SLOT_COUNT && map->owner[slot] != MEMBER_NONE);
    if (is_unclaimed)
        slot_bits_add(map->unclaimed, slot);
    else
        slot_bits_remove(map->unclaimed, slot);
}

bool slot_map_is_unclaimed(const struct slot_map *map, uint16_t slot) {
    ASSERT(slot < BUS_SLOT_COUNT);
    return map->owner[slot] == MEMBER_NONE || slot_bits_has(map->unclaimed, slot);
}

void slot_map_copy_claimed(const struct slot_map *map, uint16_t member, uint8_t *out_bitmap) {
    const uint8_t *bitmap = slot_map_bitmap_view(map, member);
    for (uint32_t i = 0; i < BUS_SLOT_BYTES; i++)
        out_bitmap[i] = (uint8_t)(bitmap[i] & ~map->unclaimed[i]);
}

static void set_open(uint16_t *peers, uint32_t *count, uint16_t slot, uint16_t peer) {
    ASSERT(slot < BUS_SLOT_COUNT);
    *count -= peers[slot] != MEMBER_NONE;
    *count += peer != MEMBER_NONE;
    peers[slot] = peer;
}

void slot_map_set_migrating(struct slot_map *map, uint16_t slot, uint16_t target) {
    set_open(map->migrating, &map->migrating_count, slot, target);
}

void slot_map_set_importing(struct slot_map *map, uint16_t slot, uint16_t source) {
    set_open(map->importing, &map->importing_count, slot, source);
}

uint16_t slot_map_migrating(const struct slot_map *map, uint16_t slot) {
    ASSERT(slot < BUS_SLOT_COUNT);
    return map->migrating[slot];
}

uint16_t slot_map_importing(const struct slot_map *map, uint16_t slot) {
    ASSERT(slot < BUS_SLOT_COUNT);
    return map->importing[slot];
}

uint32_t slot_map_migrating_count(const struct slot_map *map) {
    return map->migrating_count;
}

uint32_t slot_map_importing_count(const struct slot_map *map) {
    return map->importing_count;
}

void slot_map_release(struct slot_map *map, uint16_t member) {
    struct member *gone = member_at(map, member);
    ASSERT(gone->slot_count == 0);
    mem_free(gone->bitmap);
    *gone = (struct member){0};
}

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clusterbus/bus_internal.h"
#include "server/base/check.h"
#include "server/base/mem.h"

struct bus_arena_block {
    struct bus_arena_block *next;
    char text[];
};

#define LOG_LINE_CAP 512

void bus_effects_init(struct bus_effects *effects) {
    memset(effects, 0, sizeof(*effects));
    effects->cap = 16;
    effects->storage = mem_alloc(effects->cap * sizeof(struct bus_effect));
    effects->list = effects->storage + 1;
}

static void arena_free(struct bus_effects *effects) {
    while (effects->arena != NULL) {
        struct bus_arena_block *next = effects->arena->next;
        mem_free(effects->arena);
        effects->arena = next;
    }
}

/* The first place of the storage is PERSIST's: whenever it is asked for, it comes first. */
void bus_effects_clear(struct bus_effects *effects) {
    for (size_t i = 0; i < effects->count; i++)
        if (effects->list[i].type == BUS_EFFECT_SEND) bus_packet_unref(effects->list[i].packet);
    arena_free(effects);
    effects->list = effects->storage + 1;
    effects->count = 0;
    effects->has_persist = effects->must_fsync = false;
    effects->has_routes = effects->has_dropped_channels = effects->has_deleted_keys = false;
}

void bus_effects_deinit(struct bus_effects *effects) {
    bus_effects_clear(effects);
    mem_free(effects->storage);
    memset(effects, 0, sizeof(*effects));
}

struct bus_effect *effects_add(struct bus_effects *out, enum bus_effect_type type) {
    ASSERT(out->list == out->storage + 1);
    if (out->count + 1 == out->cap) {
        out->cap *= 2;
        out->storage = mem_realloc(out->storage, out->cap * sizeof(struct bus_effect));
        out->list = out->storage + 1;
    }
    struct bus_effect *effect = &out->list[out->count++];
    memset(effect, 0, sizeof(*effect));
    effect->type = type;
    return effect;
}

void effects_persist(struct bus_effects *out, bool must_fsync) {
    out->has_persist = true;
    out->must_fsync |= must_fsync;
}

void effects_finish(struct bus_effects *out) {
    if (!out->has_persist) return;
    out->list = out->storage;
    out->count++;
    out->list[0] = (struct bus_effect){.type = BUS_EFFECT_PERSIST, .must_fsync = out->must_fsync};
}

void effects_send(struct bus_effects *out, uint64_t link, struct bus_packet *packet) {
    struct bus_effect *effect = effects_add(out, BUS_EFFECT_SEND);
    effect->link = link;
    effect->packet = bus_packet_ref(packet);
}

void effects_link(struct bus_effects *out, enum bus_effect_type type, uint64_t link) {
    effects_add(out, type)->link = link;
}

static char *arena_reserve(struct bus_effects *out, size_t size) {
    struct bus_arena_block *block = mem_alloc(sizeof(*block) + size);
    block->next = out->arena;
    out->arena = block;
    return block->text;
}

const char *effects_copy_text(struct bus_effects *out, const char *text) {
    size_t size = strlen(text) + 1;
    return memcpy(arena_reserve(out, size), text, size);
}

uint8_t *effects_slots(struct bus_effects *out, enum bus_effect_type type) {
    bool *has = &out->has_routes;
    uint8_t *bitmap = out->routes;
    if (type == BUS_EFFECT_DROP_CHANNELS) {
        has = &out->has_dropped_channels;
        bitmap = out->dropped_channels;
    } else if (type == BUS_EFFECT_DELETE_KEYS) {
        has = &out->has_deleted_keys;
        bitmap = out->deleted_keys;
    } else {
        ASSERT(type == BUS_EFFECT_ROUTES);
    }
    if (!*has) {
        memset(bitmap, 0, BUS_SLOT_BYTES);
        effects_add(out, type);
        *has = true;
    }
    return bitmap;
}

const char *effects_format(struct bus_effects *out, const char *format, ...) {
    char line[LOG_LINE_CAP];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    return effects_copy_text(out, line);
}

void effects_log(struct bus_effects *out, enum log_level level, const char *format, ...) {
    if (level < LOG_LEVEL_NOTICE && !out->wants_debug) return;
    char line[LOG_LINE_CAP];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    const char *text = effects_copy_text(out, line);
    struct bus_effect *effect = effects_add(out, BUS_EFFECT_LOG);
    effect->level = level;
    effect->text = text;
}

struct bus_packet *packet_create(uint32_t len) {
    struct bus_packet *packet = mem_alloc(sizeof(*packet) + len);
    packet->ref_count = 1;
    packet->len = len;
    return packet;
}

struct bus_packet *bus_packet_ref(struct bus_packet *packet) {
    packet->ref_count++;
    return packet;
}

void bus_packet_unref(struct bus_packet *packet) {
    if (packet != NULL && --packet->ref_count == 0) mem_free(packet);
}

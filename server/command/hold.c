#include "server/command/hold.h"

#include "server/base/mem.h"
#include "server/command/command_internal.h"

struct held_key {
    uint64_t order;
    size_t name_at;
    size_t name_len;
    uint16_t slot;
};

struct key_hold {
    struct key_hold *next;
    uint32_t db;
    uint32_t count;
    bool has_blocked;
    struct held_key *keys;
    struct buffer names;
};

struct key_hold *hold_create(struct dispatcher *dispatcher, uint32_t db, const struct key *keys,
                             uint32_t count) {
    struct key_hold *hold = mem_alloc_zero(sizeof(*hold));
    hold->db = db;
    hold->count = count;
    hold->keys = mem_alloc((count + 1) * sizeof(*hold->keys));
    for (uint32_t i = 0; i < count; i++) {
        hold->keys[i] = (struct held_key){
            .order = keys[i].order,
            .name_at = hold->names.len,
            .name_len = keys[i].name.len,
            .slot = keys[i].slot,
        };
        buffer_append_bytes(&hold->names, keys[i].name);
    }
    pthread_mutex_lock(&dispatcher->holds_lock);
    hold->next = dispatcher->holds;
    dispatcher->holds = hold;
    dispatcher_set_admission(dispatcher, ADMISSION_HOLD, true);
    pthread_mutex_unlock(&dispatcher->holds_lock);
    return hold;
}

bool hold_release(struct dispatcher *dispatcher, struct key_hold *hold) {
    if (hold == NULL) return false;
    pthread_mutex_lock(&dispatcher->holds_lock);
    struct key_hold **link = &dispatcher->holds;
    while (*link != hold)
        link = &(*link)->next;
    *link = hold->next;
    if (dispatcher->holds == NULL) dispatcher_set_admission(dispatcher, ADMISSION_HOLD, false);
    bool has_blocked = hold->has_blocked;
    pthread_mutex_unlock(&dispatcher->holds_lock);
    buffer_deinit(&hold->names);
    mem_free(hold->keys);
    mem_free(hold);
    return has_blocked;
}

static bool holds_key(const struct key_hold *hold, const struct key *key) {
    for (uint32_t i = 0; i < hold->count; i++) {
        const struct held_key *held = &hold->keys[i];
        if (held->slot != key->slot || held->order != key->order) continue;
        if (bytes_equal(key->name, bytes_of(hold->names.data + held->name_at, held->name_len)))
            return true;
    }
    return false;
}

bool hold_blocks(struct dispatcher *dispatcher, uint32_t db, const struct key *keys, uint32_t count,
                 const struct key_hold *own) {
    bool is_held = false;
    pthread_mutex_lock(&dispatcher->holds_lock);
    for (struct key_hold *hold = dispatcher->holds; hold != NULL && !is_held; hold = hold->next) {
        for (uint32_t i = 0; hold != own && hold->db == db && i < count && !is_held; i++)
            is_held = holds_key(hold, &keys[i]);
        hold->has_blocked = hold->has_blocked || is_held;
    }
    pthread_mutex_unlock(&dispatcher->holds_lock);
    return is_held;
}

#include <inttypes.h>
#include <stdio.h>

#include "server/acl/acl_internal.h"
#include "server/base/clock.h"
#include "server/base/mem.h"

enum { SAME_MS = 60000, SHOWN_MAX = 4096 /* Bytes of a key or name. */ };

void denial_log_init(struct denial_log *log) {
    pthread_mutex_init(&log->lock, NULL);
}

static void denial_free(struct denial *denial) {
    mem_free(denial->object);
    mem_free(denial->user_name);
    mem_free(denial->client);
    mem_free(denial);
}

/* Forgets all behind the first `max`. */
static void trim(struct denial_log *log, uint64_t max) {
    struct denial **link = &log->first;
    for (uint64_t i = 0; i < max && *link != NULL; i++)
        link = &(*link)->next;
    struct denial *rest = *link;
    *link = NULL;
    while (rest != NULL) {
        struct denial *next = rest->next;
        denial_free(rest);
        log->count--;
        rest = next;
    }
}

void denial_log_trim(struct denial_log *log, uint64_t max) {
    pthread_mutex_lock(&log->lock);
    trim(log, max);
    pthread_mutex_unlock(&log->lock);
}

void denial_log_deinit(struct denial_log *log) {
    trim(log, 0);
    pthread_mutex_destroy(&log->lock);
}

static bool is_same(const struct denial *a, const struct denial *b) {
    return a->reason == b->reason && a->place == b->place &&
           b->updated_ms <= a->updated_ms + SAME_MS &&
           bytes_equal(bytes_of(a->object, a->object_len), bytes_of(b->object, b->object_len)) &&
           strcmp(a->user_name, b->user_name) == 0;
}

/* Takes an earlier one of the same kind out of the list. */
static struct denial *detach_same(struct denial_log *log, const struct denial *fresh) {
    for (struct denial **link = &log->first; *link != NULL; link = &(*link)->next) {
        struct denial *found = *link;
        if (!is_same(found, fresh)) continue;
        *link = found->next;
        log->count--;
        return found;
    }
    return NULL;
}

void denial_log_add(struct acl *acl, struct session *session, enum denial_reason reason,
                    enum access_place place, struct bytes object, struct bytes user_name) {
    struct denial_log *log = &acl->log;
    atomic_fetch_add(&log->totals[reason], 1);
    if (acl->options->log_max == 0) return;
    if (object.len > SHOWN_MAX) object.len = SHOWN_MAX;
    if (user_name.len > SHOWN_MAX) user_name.len = SHOWN_MAX;
    struct buffer client = {0};
    if (acl->hooks.describe != NULL) acl->hooks.describe(acl->hooks.network, session, &client);
    struct denial *fresh = mem_alloc(sizeof(*fresh));
    uint64_t now_ms = clock_wall_ms();
    *fresh = (struct denial){
        .count = 1,
        .reason = (uint8_t)reason,
        .place = (uint8_t)place,
        .object = bytes_copy_text(object),
        .object_len = object.len,
        .user_name = bytes_copy_text(user_name),
        .client = bytes_copy_text(buffer_view(&client)),
        .created_ms = now_ms,
        .updated_ms = now_ms,
    };
    buffer_deinit(&client);
    pthread_mutex_lock(&log->lock);
    struct denial *known = detach_same(log, fresh);
    fresh->id = known != NULL ? known->id : log->next_id++;
    if (known != NULL) {
        fresh->count += known->count;
        fresh->created_ms = known->created_ms;
        denial_free(known);
    }
    fresh->next = log->first;
    log->first = fresh;
    log->count++;
    if (log->count > acl->options->log_max) trim(log, acl->options->log_max);
    pthread_mutex_unlock(&log->lock);
}

static void reply_field(struct reply *reply, const char *name, const char *value) {
    reply_bulk_text(reply, name);
    reply_bulk_text(reply, value);
}

static void reply_number(struct reply *reply, const char *name, uint64_t value) {
    reply_bulk_text(reply, name);
    reply_integer(reply, (int64_t)value);
}

static void reply_one(struct reply *reply, const struct denial *denial, uint64_t now_ms) {
    static const char *const reasons[] = {"auth", "command", "key", "channel"};
    static const char *const places[] = {"toplevel", "multi", "lua"};
    uint64_t age_ms = now_ms > denial->updated_ms ? now_ms - denial->updated_ms : 0;
    reply_map(reply, 10);
    reply_number(reply, "count", denial->count);
    reply_field(reply, "reason", reasons[denial->reason]);
    reply_field(reply, "context", places[denial->place]);
    reply_bulk_text(reply, "object");
    reply_bulk(reply, bytes_of(denial->object, denial->object_len));
    reply_field(reply, "username", denial->user_name);
    reply_bulk_text(reply, "age-seconds");
    reply_double(reply, (double)age_ms / 1000);
    reply_field(reply, "client-info", denial->client);
    reply_number(reply, "entry-id", denial->id);
    reply_number(reply, "timestamp-created", denial->created_ms);
    reply_number(reply, "timestamp-last-updated", denial->updated_ms);
}

void denial_log_reply(struct denial_log *log, struct reply *reply, uint64_t max) {
    uint64_t now_ms = clock_wall_ms();
    pthread_mutex_lock(&log->lock);
    uint64_t left = log->count < max ? log->count : max;
    reply_array(reply, left);
    for (const struct denial *denial = log->first; left > 0; denial = denial->next, left--)
        reply_one(reply, denial, now_ms);
    pthread_mutex_unlock(&log->lock);
}

/* Client-side caching: who may hold a copy of which key, and telling them when it changes.
 *
 * By default the keys that a tracking session reads are remembered, in the slot of each key, with
 * the sessions that read them; a change of the key tells them once and forgets. In broadcasting
 * mode a session names prefixes instead and hears of every change of a key that begins with one.
 *
 * What a command invalidates is gathered by its worker while the slots are locked and sent after
 * the command's reply: one message for each worker that has sessions to tell. A key's name counts,
 * whatever the database. A session that is gone stays in the slots' tables until its keys change:
 * ids are not used twice, so nobody else hears of it.
 *
 * Behaviour: that of CLIENT TRACKING in redis 7.0, as recorded in the family "connection".
 */
#pragma once

#include "server/command/dispatch.h"

/* What CLIENT TRACKING ON asks for. */
struct tracking_mode {
    bool is_broadcast; /* BCAST */
    bool is_opt_in;    /* OPTIN: keys read after CLIENT CACHING YES. */
    bool is_opt_out;   /* OPTOUT: keys but those read after CLIENT CACHING NO. */
    bool is_no_loop;   /* NOLOOP: not about its own changes. */
    uint64_t redirect; /* REDIRECT: the session that is told instead; 0: none. */
};

enum tracking_caching {
    TRACKING_CACHING_DEFAULT,
    TRACKING_CACHING_YES, /* The next command's keys, with OPTIN. */
    TRACKING_CACHING_NO,  /* Not the next command's keys, with OPTOUT. */
};

/* A session's own part; session->tracking, NULL while it is off. On its worker. */
struct session_tracking {
    struct tracking_mode mode;
    uint8_t caching;        /* enum tracking_caching */
    bool keeps_caching;     /* CLIENT CACHING is the command in work. */
    bool is_broken;         /* Who was to be told instead is gone. */
    struct bytes *prefixes; /* Broadcasting: in ascending order, each owned. */
    uint32_t prefix_count;
};

/* Starts, or changes a mode that is on already. Prefixes are added to those that it has; with none
 * of either, all keys are meant. They do not overlap (tracking_overlaps). */
void tracking_start(struct dispatcher *dispatcher, struct session *session,
                    const struct tracking_mode *mode, const struct bytes *prefixes,
                    uint32_t prefix_count);

/* Ends it; does nothing when it is off. On the session's worker. */
void tracking_stop(struct dispatcher *dispatcher, struct session *session);

/* Whether a key may begin with both. */
bool tracking_overlaps(struct bytes a, struct bytes b);

/* Everything is about to go (FLUSHALL, a full synchronisation). Everything parked. */
void tracking_flush(struct dispatcher *dispatcher);

/* tracking-table-max-keys; 0: no limit. Everything parked, or before the workers start. */
void dispatcher_limit_tracking(struct dispatcher *dispatcher, uint64_t max_keys);

struct tracking_stats {
    uint64_t clients;
    uint64_t keys;     /* Remembered, */
    uint64_t items;    /* and sessions, summed over the keys. */
    uint64_t prefixes; /* Of broadcasting sessions, each counted once. */
};
void tracking_stats_read(struct dispatcher *dispatcher, struct tracking_stats *out);

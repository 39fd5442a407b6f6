/* What the files of this module share: ids, the structure, and the handlers that the rows name. */
#pragma once

#include "server/command/blocking.h"
#include "server/command/context.h"
#include "server/structs/leaf_tree.h"
#include "server/structs/listpack.h"
#include "server/types/element.h"
#include "server/types/stream/stream.h"

/* -- ids -- */

struct stream_id {
    uint64_t ms;
    uint64_t seq;
};

#define STREAM_ID_MIN ((struct stream_id){0, 0})
#define STREAM_ID_MAX ((struct stream_id){UINT64_MAX, UINT64_MAX})
enum { STREAM_ID_TEXT_MAX = 42 };

static inline int stream_id_compare(struct stream_id a, struct stream_id b) {
    if (a.ms != b.ms) return a.ms < b.ms ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq;
}
static inline bool stream_id_is_zero(struct stream_id id) {
    return id.ms == 0 && id.seq == 0;
}
/* The id behind or before; false, and unchanged, at the end. */
bool stream_id_next(struct stream_id *id);
bool stream_id_previous(struct stream_id *id);

/* "ms-seq", or "ms" with `missing_seq`. With `is_strict` not "-" and "+". With `out_auto` (may be
 * NULL) "ms-*" is an id, too, whose sequence is to be chosen. */
bool stream_id_parse(struct bytes text, uint64_t missing_seq, bool is_strict, struct stream_id *out,
                     bool *out_auto);
/* Writes "ms-seq"; returns its length. */
unsigned stream_id_text(struct stream_id id, char out[STREAM_ID_TEXT_MAX]);
void stream_reply_id(struct reply *reply, struct stream_id id);

/* Reads an argument as a strict id; false after the error was answered. */
bool stream_argument_id(struct command_context *context, uint32_t argument, struct stream_id *out);
/* The same for an end of an interval: "(" in front leaves the id itself out. */
bool stream_argument_bound(struct command_context *context, uint32_t argument, bool is_start,
                           struct stream_id *out);

/* -- pending entries -- */

struct stream_consumer;

struct stream_pending {
    struct stream_id id;
    int64_t delivered_ms;
    uint64_t count; /* Deliveries. */
    struct stream_consumer *consumer;
};

/* Pending entries by id. All-zero is empty. The entries are somebody else's. */
struct stream_pel {
    struct leaf_tree *tree; /* NULL: empty. */
};

struct stream_pel_cursor {
    struct leaf_place place;
    uint32_t index;
    bool has;
};

void stream_pel_deinit(struct stream_pel *pel);
size_t stream_pel_count(const struct stream_pel *pel);
struct stream_pending *stream_pel_find(const struct stream_pel *pel, struct stream_id id);
void stream_pel_insert(struct stream_pel *pel, struct stream_pending *pending); /* Is not there. */
void stream_pel_remove(struct stream_pel *pel, struct stream_id id);            /* Is there. */
/* The first at or behind `from`. A cursor ends with the next change. */
void stream_pel_seek(const struct stream_pel *pel, struct stream_id from,
                     struct stream_pel_cursor *out);
struct stream_pending *stream_pel_at(const struct stream_pel_cursor *cursor);
void stream_pel_next(struct stream_pel_cursor *cursor);
struct stream_pending *stream_pel_last(const struct stream_pel *pel); /* NULL: empty. */

/* -- the structure -- */

struct stream_consumer {
    struct bytes name; /* Lies behind the struct. */
    int64_t seen_ms;
    int64_t active_ms; /* -1: never. */
    struct stream_pel pel;
};

#define STREAM_READ_UNKNOWN (-1)

struct stream_group {
    struct bytes name; /* Lies behind the struct. */
    struct stream_id last;
    int64_t entries_read;               /* STREAM_READ_UNKNOWN where nobody can tell. */
    struct stream_pel pel;              /* Owns the pending entries. */
    struct stream_consumer **consumers; /* By name. */
    uint32_t consumer_count;
    uint32_t consumer_cap;
};

struct stream {
    struct leaf_tree *nodes; /* Leaves: listpacks; key: id of the node's master entry. */
    struct stream_id last;
    struct stream_id max_deleted;
    uint64_t added;               /* Entries ever added. */
    struct stream_group **groups; /* By name. */
    uint32_t group_count;
    uint32_t group_cap;
};

MUST_USE struct stream *stream_create(void);
void stream_free(struct stream *stream);
MUST_USE struct stream *stream_clone(const struct stream *stream);
static inline struct stream *stream_of(const struct record *record) {
    return record_pointer(record);
}
static inline uint64_t stream_len(const struct stream *stream) {
    return leaf_tree_count(stream->nodes);
}
/* A stream without entries as a record. */
MUST_USE struct record *stream_record_create(struct bytes key, struct stream *stream);

/* -- entries -- */

/* One entry of a walk: views that end with the next change. */
struct stream_entry {
    struct stream_id id;
    uint64_t field_count;
    const uint8_t *block;
    size_t name_at; /* Of the master's first name; 0: names stand before their values. */
    size_t value_at;
};

/* The next name and value; call it field_count times. */
void stream_entry_pair(struct stream_entry *entry, struct listpack_value *name,
                       struct listpack_value *value);

struct stream_cursor {
    struct leaf_place place;
    const uint8_t *block;
    struct stream_id master;
    size_t at; /* Of the entry's flags; 0: the end. */
    struct stream_id end;
    bool is_reversed;
};

/* The living entries from `start` to `end`, or, reversed, from `end` back to `start`. */
void stream_cursor_begin(struct stream_cursor *cursor, const struct stream *stream,
                         struct stream_id start, struct stream_id end, bool is_reversed);
bool stream_cursor_next(struct stream_cursor *cursor, struct stream_entry *out);

bool stream_has_entry(const struct stream *stream, struct stream_id id);
/* The first or last living entry's id; false when there is none. */
bool stream_edge_id(const struct stream *stream, bool is_last, struct stream_id *out);

/* Adds an entry behind all others; its id is behind `last`. */
void stream_append(struct stream *stream, struct stream_id id, const struct bytes *pairs,
                   uint32_t pair_count, const struct data_type_options *options);

bool stream_delete(struct stream *stream, struct stream_id id);

struct stream_trim {
    enum { TRIM_NONE, TRIM_LEN, TRIM_ID } strategy;
    bool is_approximate; /* Whole nodes only. */
    uint64_t max_len;
    struct stream_id min_id;
    uint64_t limit; /* Entries to remove at the most; 0: no limit. */
};

/* Removes from the front; returns how many. */
uint64_t stream_trim(struct stream *stream, const struct stream_trim *trim);

/* Takes a node that rdb_stream_node_read has found good, with `count` living entries, as the last
 * one. */
void stream_adopt_node_take(struct stream *stream, struct stream_id master, uint8_t *block,
                            uint64_t count);

/* -- groups -- */

struct stream_group *stream_find_group(const struct stream *stream, struct bytes name);
/* NULL when there is one already. */
struct stream_group *stream_add_group(struct stream *stream, struct bytes name,
                                      struct stream_id last, int64_t entries_read);
bool stream_remove_group(struct stream *stream, struct bytes name);

struct stream_consumer *stream_find_consumer(const struct stream_group *group, struct bytes name);
struct stream_consumer *stream_add_consumer(struct stream_group *group, struct bytes name,
                                            int64_t now_ms);
/* Its pending entries go, too; returns how many. */
uint64_t stream_remove_consumer(struct stream_group *group, struct stream_consumer *consumer);

/* A pending entry of the consumer (NULL: of nobody yet). */
struct stream_pending *stream_add_pending(struct stream_group *group, struct stream_id id,
                                          struct stream_consumer *consumer, int64_t now_ms);
void stream_remove_pending(struct stream_group *group, struct stream_pending *pending);
void stream_give_pending(struct stream_pending *pending, struct stream_consumer *consumer);

/* How many entries lie before and at this id, ever deleted ones included; STREAM_READ_UNKNOWN. */
int64_t stream_estimate_read(const struct stream *stream, struct stream_id id);
/* Entries may have been deleted at or behind `start`. */
bool stream_has_tombstones(const struct stream *stream, struct stream_id start);

/* -- what commands share -- */

bool stream_find(struct command_context *context, uint32_t argument, struct stream **out);
/* For a change; *out NULL when it is absent. */
bool stream_find_for_write(struct command_context *context, uint32_t argument, struct key *out_key,
                           struct stream **out);
void stream_reply_entry(struct reply *reply, struct stream_entry *entry);
/* Up to `count` (0: all) entries as an array; returns how many. */
uint64_t stream_reply_range(struct command_context *context, const struct stream *stream,
                            struct stream_id start, struct stream_id end, bool is_reversed,
                            uint64_t count);
void stream_reply_no_group(struct command_context *context, struct bytes key, struct bytes group);
/* The consumer, made (and propagated) where it is missing; notes that it was seen. */
struct stream_consumer *stream_use_consumer(struct command_context *context, const struct key *key,
                                            struct stream_group *group, struct bytes name);
/* What a pending entry is now, as XCLAIM. */
void stream_propagate_claim(struct command_context *context, const struct key *key,
                            const struct stream_group *group, const struct stream_pending *pending);
/* How far the group has read, as XGROUP SETID. */
void stream_propagate_group(struct command_context *context, const struct key *key,
                            const struct stream_group *group);

void stream_xadd(struct command_context *context);
void stream_xtrim(struct command_context *context);
void stream_xlen(struct command_context *context);
void stream_xrange(struct command_context *context);
void stream_xrevrange(struct command_context *context);
void stream_xdel(struct command_context *context);
void stream_xsetid(struct command_context *context);

void stream_xread(struct command_context *context);
void stream_xreadgroup(struct command_context *context);

void stream_xgroup_create(struct command_context *context);
void stream_xgroup_setid(struct command_context *context);
void stream_xgroup_destroy(struct command_context *context);
void stream_xgroup_createconsumer(struct command_context *context);
void stream_xgroup_delconsumer(struct command_context *context);
void stream_xgroup_help(struct command_context *context);
void stream_xack(struct command_context *context);
void stream_xpending(struct command_context *context);
void stream_xclaim(struct command_context *context);
void stream_xautoclaim(struct command_context *context);

void stream_xinfo_stream(struct command_context *context);
void stream_xinfo_groups(struct command_context *context);
void stream_xinfo_consumers(struct command_context *context);
void stream_xinfo_help(struct command_context *context);

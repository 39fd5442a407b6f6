/* XINFO: a stream, its groups and their consumers told field by field. */
#include "server/types/stream/stream_internal.h"

static void reply_field_text(struct reply *reply, const char *name, struct bytes value) {
    reply_bulk_text(reply, name);
    reply_bulk(reply, value);
}

static void reply_field_number(struct reply *reply, const char *name, int64_t value) {
    reply_bulk_text(reply, name);
    reply_integer(reply, value);
}

static void reply_field_id(struct reply *reply, const char *name, struct stream_id id) {
    reply_bulk_text(reply, name);
    stream_reply_id(reply, id);
}

/* How many entries the group has not read: null where deletions keep that from being known. */
static void reply_lag(struct reply *reply, const struct stream *stream,
                      const struct stream_group *group) {
    int64_t read = STREAM_READ_UNKNOWN;
    reply_bulk_text(reply, "lag");
    if (stream->added == 0) {
        reply_integer(reply, 0);
        return;
    }
    if (group->entries_read != STREAM_READ_UNKNOWN && !stream_has_tombstones(stream, group->last)) {
        read = group->entries_read;
    } else {
        read = stream_estimate_read(stream, group->last);
    }
    if (read == STREAM_READ_UNKNOWN) {
        reply_null(reply);
    } else {
        reply_integer(reply, (int64_t)stream->added - read);
    }
}

static void reply_entries_read(struct reply *reply, const struct stream_group *group) {
    reply_bulk_text(reply, "entries-read");
    if (group->entries_read == STREAM_READ_UNKNOWN) {
        reply_null(reply);
    } else {
        reply_integer(reply, group->entries_read);
    }
}

/* The fields that both forms of XINFO STREAM begin with. */
static void reply_stream_head(struct reply *reply, const struct stream *stream) {
    struct stream_id first = STREAM_ID_MIN;
    stream_edge_id(stream, false, &first);
    size_t nodes = leaf_tree_leaf_count(stream->nodes);
    reply_field_number(reply, "length", (int64_t)stream_len(stream));
    reply_field_number(reply, "radix-tree-keys", (int64_t)nodes);
    reply_field_number(reply, "radix-tree-nodes", (int64_t)nodes + 1);
    reply_field_id(reply, "last-generated-id", stream->last);
    reply_field_id(reply, "max-deleted-entry-id", stream->max_deleted);
    reply_field_number(reply, "entries-added", (int64_t)stream->added);
    reply_field_id(reply, "recorded-first-entry-id", first);
}

static void reply_edge(struct reply *reply, const char *name, const struct stream *stream,
                       bool is_last) {
    struct stream_cursor cursor;
    struct stream_entry entry;
    reply_bulk_text(reply, name);
    stream_cursor_begin(&cursor, stream, STREAM_ID_MIN, STREAM_ID_MAX, is_last);
    if (stream_cursor_next(&cursor, &entry)) {
        stream_reply_entry(reply, &entry);
    } else {
        reply_null(reply);
    }
}

/* Up to `count` (0: all) pending entries, with their consumer's name where that is not known. */
static void reply_pel(struct reply *reply, const struct stream_pel *pel, uint64_t count,
                      bool has_consumer) {
    struct stream_pel_cursor cursor;
    uint64_t replied = 0;
    size_t mark = reply_begin(reply);
    for (stream_pel_seek(pel, STREAM_ID_MIN, &cursor);
         cursor.has && (count == 0 || replied < count); stream_pel_next(&cursor)) {
        const struct stream_pending *pending = stream_pel_at(&cursor);
        reply_array(reply, has_consumer ? 4 : 3);
        stream_reply_id(reply, pending->id);
        if (has_consumer) reply_bulk(reply, pending->consumer->name);
        reply_integer(reply, pending->delivered_ms);
        reply_integer(reply, (int64_t)pending->count);
        replied++;
    }
    reply_end_array(reply, mark, replied);
}

static void reply_group_in_full(struct reply *reply, const struct stream *stream,
                                const struct stream_group *group, uint64_t count) {
    reply_map(reply, 7);
    reply_field_text(reply, "name", group->name);
    reply_field_id(reply, "last-delivered-id", group->last);
    reply_entries_read(reply, group);
    reply_lag(reply, stream, group);
    reply_field_number(reply, "pel-count", (int64_t)stream_pel_count(&group->pel));
    reply_bulk_text(reply, "pending");
    reply_pel(reply, &group->pel, count, true);
    reply_bulk_text(reply, "consumers");
    reply_array(reply, group->consumer_count);
    for (uint32_t i = 0; i < group->consumer_count; i++) {
        const struct stream_consumer *consumer = group->consumers[i];
        reply_map(reply, 4);
        reply_field_text(reply, "name", consumer->name);
        reply_field_number(reply, "seen-time", consumer->seen_ms);
        reply_field_number(reply, "pel-count", (int64_t)stream_pel_count(&consumer->pel));
        reply_bulk_text(reply, "pending");
        reply_pel(reply, &consumer->pel, count, false);
    }
}

static void reply_in_full(struct command_context *context, const struct stream *stream,
                          uint64_t count) {
    struct reply *reply = context->reply;
    reply_map(reply, 9);
    reply_stream_head(reply, stream);
    reply_bulk_text(reply, "entries");
    stream_reply_range(context, stream, STREAM_ID_MIN, STREAM_ID_MAX, false, count);
    reply_bulk_text(reply, "groups");
    reply_array(reply, stream->group_count);
    for (uint32_t i = 0; i < stream->group_count; i++)
        reply_group_in_full(reply, stream, stream->groups[i], count);
}

/* The stream of argument 2; false after an error was answered. */
static bool find_existing(struct command_context *context, struct stream **out) {
    if (!stream_find(context, 2, out)) return false;
    if (*out != NULL) return true;
    reply_error(context->reply, "ERR no such key");
    return false;
}

void stream_xinfo_stream(struct command_context *context) {
    struct stream *stream;
    int64_t count = 10;
    bool is_full = context_argument_is(context, 3, "FULL");
    bool is_fine = context->argc == 3 || (is_full && context->argc == 4) ||
                   (is_full && context->argc == 6 && context_argument_is(context, 4, "COUNT"));
    if (!find_existing(context, &stream)) return;
    if (!is_fine) {
        reply_error(context->reply, "ERR unknown subcommand or wrong number of arguments for "
                                    "'STREAM'. Try XINFO HELP.");
        return;
    }
    if (context->argc == 6) {
        if (!context_integer(context, 5, &count, NULL)) return;
        if (count < 0) count = 10;
    }
    if (is_full) {
        reply_in_full(context, stream, (uint64_t)count);
        return;
    }
    reply_map(context->reply, 10);
    reply_stream_head(context->reply, stream);
    reply_field_number(context->reply, "groups", stream->group_count);
    reply_edge(context->reply, "first-entry", stream, false);
    reply_edge(context->reply, "last-entry", stream, true);
}

void stream_xinfo_groups(struct command_context *context) {
    struct stream *stream;
    struct reply *reply = context->reply;
    if (!find_existing(context, &stream)) return;
    reply_array(reply, stream->group_count);
    for (uint32_t i = 0; i < stream->group_count; i++) {
        const struct stream_group *group = stream->groups[i];
        reply_map(reply, 6);
        reply_field_text(reply, "name", group->name);
        reply_field_number(reply, "consumers", group->consumer_count);
        reply_field_number(reply, "pending", (int64_t)stream_pel_count(&group->pel));
        reply_field_id(reply, "last-delivered-id", group->last);
        reply_entries_read(reply, group);
        reply_lag(reply, stream, group);
    }
}

void stream_xinfo_consumers(struct command_context *context) {
    struct stream *stream;
    struct reply *reply = context->reply;
    if (!find_existing(context, &stream)) return;
    const struct stream_group *group = stream_find_group(stream, context->argv[3]);
    if (group == NULL) {
        char name[128];
        char group_name[128];
        reply_error_format(reply, "NOGROUP No such consumer group '%s' for key name '%s'",
                           bytes_to_text(context->argv[3], group_name, sizeof(group_name)),
                           bytes_to_text(context->argv[2], name, sizeof(name)));
        return;
    }
    reply_array(reply, group->consumer_count);
    for (uint32_t i = 0; i < group->consumer_count; i++) {
        const struct stream_consumer *consumer = group->consumers[i];
        int64_t idle = context->now_ms - consumer->seen_ms;
        reply_map(reply, 3);
        reply_field_text(reply, "name", consumer->name);
        reply_field_number(reply, "pending", (int64_t)stream_pel_count(&consumer->pel));
        reply_field_number(reply, "idle", idle < 0 ? 0 : idle);
    }
}

void stream_xinfo_help(struct command_context *context) {
    static const char *const lines[] = {
        "CONSUMERS <key> <groupname>",
        "    Show consumers of <groupname>.",
        "GROUPS <key>",
        "    Show the stream consumer groups.",
        "STREAM <key> [FULL [COUNT <count>]",
        "    Show information about the stream.",
        NULL,
    };
    context_help(context, lines);
}

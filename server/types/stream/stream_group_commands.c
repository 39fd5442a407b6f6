/* Consumer groups: made and set, entries acknowledged, listed, claimed. */
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/types/stream/stream_internal.h"

/* -- shared -- */

void stream_reply_no_group(struct command_context *context, struct bytes key, struct bytes group) {
    char name[128];
    char group_name[128];
    reply_error_format(context->reply, "NOGROUP No such key '%s' or consumer group '%s'",
                       bytes_to_text(key, name, sizeof(name)),
                       bytes_to_text(group, group_name, sizeof(group_name)));
}

static void propagate_new_consumer(struct command_context *context, const struct key *key,
                                   struct bytes group, struct bytes consumer) {
    const struct bytes argv[] = {BYTES_LITERAL("XGROUP"), BYTES_LITERAL("CREATECONSUMER"),
                                 key->name, group, consumer};
    context_propagate(context, argv, 5);
}

struct stream_consumer *stream_use_consumer(struct command_context *context, const struct key *key,
                                            struct stream_group *group, struct bytes name) {
    struct stream_consumer *consumer = stream_find_consumer(group, name);
    if (consumer == NULL) {
        consumer = stream_add_consumer(group, name, context->now_ms);
        context->changes++;
        context_event(context, key, EVENT_STREAM, "xgroup-createconsumer");
        propagate_new_consumer(context, key, group->name, name);
    }
    consumer->seen_ms = context->now_ms;
    return consumer;
}

void stream_propagate_claim(struct command_context *context, const struct key *key,
                            const struct stream_group *group,
                            const struct stream_pending *pending) {
    char id[STREAM_ID_TEXT_MAX];
    char last[STREAM_ID_TEXT_MAX];
    char time[NUMBER_TEXT_MAX];
    char count[NUMBER_TEXT_MAX];
    const struct bytes argv[] = {
        BYTES_LITERAL("XCLAIM"),
        key->name,
        group->name,
        pending->consumer->name,
        BYTES_LITERAL("0"),
        bytes_of(id, stream_id_text(pending->id, id)),
        BYTES_LITERAL("TIME"),
        bytes_of(time, number_format_i64(pending->delivered_ms, time)),
        BYTES_LITERAL("RETRYCOUNT"),
        bytes_of(count, number_format_u64(pending->count, count)),
        BYTES_LITERAL("FORCE"),
        BYTES_LITERAL("JUSTID"),
        BYTES_LITERAL("LASTID"),
        bytes_of(last, stream_id_text(group->last, last)),
    };
    context_propagate(context, argv, sizeof(argv) / sizeof(argv[0]));
}

void stream_propagate_group(struct command_context *context, const struct key *key,
                            const struct stream_group *group) {
    char last[STREAM_ID_TEXT_MAX];
    char read[NUMBER_TEXT_MAX];
    const struct bytes argv[] = {
        BYTES_LITERAL("XGROUP"),
        BYTES_LITERAL("SETID"),
        key->name,
        group->name,
        bytes_of(last, stream_id_text(group->last, last)),
        BYTES_LITERAL("ENTRIESREAD"),
        bytes_of(read, number_format_i64(group->entries_read, read)),
    };
    context_propagate(context, argv, sizeof(argv) / sizeof(argv[0]));
}

/* The group of arguments 1 and 2 for a change; false after an error was answered. */
static bool find_group(struct command_context *context, struct key *out_key,
                       struct stream **out_stream, struct stream_group **out_group) {
    if (!stream_find_for_write(context, 1, out_key, out_stream)) return false;
    *out_group = *out_stream == NULL ? NULL : stream_find_group(*out_stream, context->argv[2]);
    if (*out_group != NULL) return true;
    stream_reply_no_group(context, out_key->name, context->argv[2]);
    return false;
}

/* -- XGROUP -- */

/* A group is not what the watchers of a stream watch for, as clients know it. */
static void group_changed(struct command_context *context, const struct key *key,
                          const char *event) {
    context->changes++;
    context_event(context, key, EVENT_STREAM, event);
}

/* The stream and (`out_group` not NULL) the group of XGROUP's arguments. */
static bool find_for_xgroup(struct command_context *context, struct key *out_key,
                            struct stream **out_stream, struct stream_group **out_group) {
    if (!stream_find_for_write(context, 2, out_key, out_stream)) return false;
    if (*out_stream == NULL) {
        reply_error(context->reply,
                    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you "
                    "may want to use the MKSTREAM option to create an empty stream automatically.");
        return false;
    }
    if (out_group == NULL) return true;
    *out_group = stream_find_group(*out_stream, context->argv[3]);
    if (*out_group != NULL) return true;
    char name[128];
    char group[128];
    reply_error_format(context->reply, "NOGROUP No such consumer group '%s' for key name '%s'",
                       bytes_to_text(context->argv[3], group, sizeof(group)),
                       bytes_to_text(out_key->name, name, sizeof(name)));
    return false;
}

struct group_options {
    bool makes_stream;
    int64_t entries_read;
};

static bool parse_group_options(struct command_context *context, bool is_create,
                                struct group_options *out) {
    *out = (struct group_options){.entries_read = STREAM_READ_UNKNOWN};
    for (uint32_t i = 5; i < context->argc; i++) {
        if (is_create && context_argument_is(context, i, "MKSTREAM")) {
            out->makes_stream = true;
        } else if (context_argument_is(context, i, "ENTRIESREAD") && i + 1 < context->argc) {
            if (!context_integer(context, ++i, &out->entries_read, NULL)) return false;
            if (out->entries_read < 0 && out->entries_read != STREAM_READ_UNKNOWN) {
                reply_error(context->reply, "ERR value for ENTRIESREAD must be positive or -1");
                return false;
            }
        } else {
            reply_error_format(context->reply,
                               "ERR unknown subcommand or wrong number of arguments for '%s'. Try "
                               "XGROUP HELP.",
                               is_create ? "CREATE" : "SETID");
            return false;
        }
    }
    return true;
}

/* "$" is the last entry. */
static bool parse_group_id(struct command_context *context, const struct stream *stream,
                           struct stream_id *out) {
    if (!context_argument_is(context, 4, "$")) return stream_argument_id(context, 4, out);
    *out = stream == NULL ? STREAM_ID_MIN : stream->last;
    return true;
}

void stream_xgroup_create(struct command_context *context) {
    struct group_options options;
    struct key key;
    struct stream *stream;
    struct stream_id id;
    if (!parse_group_options(context, true, &options)) return;
    if (options.makes_stream) {
        if (!stream_find_for_write(context, 2, &key, &stream)) return;
    } else if (!find_for_xgroup(context, &key, &stream, NULL)) {
        return;
    }
    if (!parse_group_id(context, stream, &id)) return;
    bool is_new = stream == NULL;
    if (is_new) {
        stream = stream_create();
        context_insert_take(context, &key, stream_record_create(key.name, stream));
    }
    if (stream_add_group(stream, context->argv[3], id, options.entries_read) == NULL) {
        reply_error(context->reply, "BUSYGROUP Consumer Group name already exists");
        return;
    }
    if (is_new) {
        context_changed(context, &key, EVENT_STREAM, "xgroup-create");
    } else {
        group_changed(context, &key, "xgroup-create");
    }
    reply_ok(context->reply);
}

void stream_xgroup_setid(struct command_context *context) {
    struct group_options options;
    struct key key;
    struct stream *stream;
    struct stream_group *group;
    struct stream_id id;
    if (!parse_group_options(context, false, &options) ||
        !find_for_xgroup(context, &key, &stream, &group) || !parse_group_id(context, stream, &id))
        return;
    group->last = id;
    group->entries_read = options.entries_read;
    group_changed(context, &key, "xgroup-setid");
    reply_ok(context->reply);
}

void stream_xgroup_destroy(struct command_context *context) {
    struct key key;
    struct stream *stream;
    if (!find_for_xgroup(context, &key, &stream, NULL)) return;
    bool was_there = stream_remove_group(stream, context->argv[3]);
    if (was_there) context_changed(context, &key, EVENT_STREAM, "xgroup-destroy");
    reply_integer(context->reply, was_there);
}

void stream_xgroup_createconsumer(struct command_context *context) {
    struct key key;
    struct stream *stream;
    struct stream_group *group;
    if (!find_for_xgroup(context, &key, &stream, &group)) return;
    bool is_new = stream_add_consumer(group, context->argv[4], context->now_ms) != NULL;
    if (is_new) group_changed(context, &key, "xgroup-createconsumer");
    reply_integer(context->reply, is_new);
}

void stream_xgroup_delconsumer(struct command_context *context) {
    struct key key;
    struct stream *stream;
    struct stream_group *group;
    if (!find_for_xgroup(context, &key, &stream, &group)) return;
    struct stream_consumer *consumer = stream_find_consumer(group, context->argv[4]);
    uint64_t pending = 0;
    if (consumer != NULL) {
        pending = stream_remove_consumer(group, consumer);
        group_changed(context, &key, "xgroup-delconsumer");
    }
    reply_integer(context->reply, (int64_t)pending);
}

void stream_xgroup_help(struct command_context *context) {
    static const char *const lines[] = {
        "CREATE <key> <groupname> <id|$> [option]",
        "    Create a new consumer group. Options are:",
        "    * MKSTREAM",
        "      Create the empty stream if it does not exist.",
        "    * ENTRIESREAD entries_read",
        "      Set the group's entries_read counter (internal use).",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Create a new consumer in the specified group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Remove the specified consumer.",
        "DESTROY <key> <groupname>",
        "    Remove the specified group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Set the current group ID and entries_read counter.",
        NULL,
    };
    context_help(context, lines);
}

/* -- XACK -- */

void stream_xack(struct command_context *context) {
    struct key key;
    struct stream *stream;
    struct stream_id id;
    if (!stream_find_for_write(context, 1, &key, &stream)) return;
    struct stream_group *group =
        stream == NULL ? NULL : stream_find_group(stream, context->argv[2]);
    if (group == NULL) {
        reply_integer(context->reply, 0);
        return;
    }
    for (uint32_t i = 3; i < context->argc; i++) {
        if (!stream_argument_id(context, i, &id)) return;
    }
    int64_t acknowledged = 0;
    for (uint32_t i = 3; i < context->argc; i++) {
        (void)stream_id_parse(context->argv[i], 0, true, &id, NULL);
        struct stream_pending *pending = stream_pel_find(&group->pel, id);
        if (pending == NULL) continue;
        stream_remove_pending(group, pending);
        acknowledged++;
    }
    context->changes += (uint64_t)acknowledged;
    reply_integer(context->reply, acknowledged);
}

/* -- XPENDING -- */

static void reply_pending_summary(struct command_context *context,
                                  const struct stream_group *group) {
    size_t count = stream_pel_count(&group->pel);
    reply_array(context->reply, 4);
    reply_integer(context->reply, (int64_t)count);
    if (count == 0) {
        reply_null(context->reply);
        reply_null(context->reply);
        reply_null_array(context->reply);
        return;
    }
    struct stream_pel_cursor first;
    stream_pel_seek(&group->pel, STREAM_ID_MIN, &first);
    stream_reply_id(context->reply, stream_pel_at(&first)->id);
    stream_reply_id(context->reply, stream_pel_last(&group->pel)->id);
    size_t mark = reply_begin(context->reply);
    size_t consumers = 0;
    for (uint32_t i = 0; i < group->consumer_count; i++) {
        const struct stream_consumer *consumer = group->consumers[i];
        size_t pending = stream_pel_count(&consumer->pel);
        if (pending == 0) continue;
        consumers++;
        reply_array(context->reply, 2);
        reply_bulk(context->reply, consumer->name);
        reply_bulk_integer(context->reply, (int64_t)pending);
    }
    reply_end_array(context->reply, mark, consumers);
}

struct pending_query {
    int64_t min_idle_ms;
    int64_t count;
    struct stream_id start;
    struct stream_id end;
    uint32_t consumer_argument; /* 0: all consumers. */
};

static bool parse_pending_query(struct command_context *context, struct pending_query *query) {
    uint32_t at = 3;
    *query = (struct pending_query){0};
    if (context_argument_is(context, 3, "IDLE")) {
        if (!context_integer(context, 4, &query->min_idle_ms, NULL)) return false;
        if (context->argc < 8) {
            reply_syntax_error(context->reply);
            return false;
        }
        at = 5;
    }
    if (!context_integer(context, at + 2, &query->count, NULL)) return false;
    if (query->count < 0) query->count = 0;
    if (!stream_argument_bound(context, at, true, &query->start) ||
        !stream_argument_bound(context, at + 1, false, &query->end))
        return false;
    if (at + 3 < context->argc) query->consumer_argument = at + 3;
    return true;
}

static int64_t idle_ms(const struct command_context *context, int64_t since_ms) {
    return context->now_ms > since_ms ? context->now_ms - since_ms : 0;
}

static void reply_pending(struct command_context *context, const struct stream_pel *pel,
                          const struct pending_query *query) {
    struct stream_pel_cursor cursor;
    size_t mark = reply_begin(context->reply);
    int64_t replied = 0;
    for (stream_pel_seek(pel, query->start, &cursor); cursor.has && replied < query->count;
         stream_pel_next(&cursor)) {
        const struct stream_pending *pending = stream_pel_at(&cursor);
        int64_t idle = idle_ms(context, pending->delivered_ms);
        if (stream_id_compare(pending->id, query->end) > 0) break;
        if (query->min_idle_ms > 0 && idle < query->min_idle_ms) continue;
        reply_array(context->reply, 4);
        stream_reply_id(context->reply, pending->id);
        reply_bulk(context->reply, pending->consumer->name);
        reply_integer(context->reply, idle);
        reply_integer(context->reply, (int64_t)pending->count);
        replied++;
    }
    reply_end_array(context->reply, mark, (size_t)replied);
}

void stream_xpending(struct command_context *context) {
    bool is_summary = context->argc == 3;
    struct pending_query query;
    struct stream *stream;
    if (!is_summary && (context->argc < 6 || context->argc > 9)) {
        reply_syntax_error(context->reply);
        return;
    }
    if (!is_summary && !parse_pending_query(context, &query)) return;
    if (!stream_find(context, 1, &stream)) return;
    const struct stream_group *group =
        stream == NULL ? NULL : stream_find_group(stream, context->argv[2]);
    if (group == NULL) {
        stream_reply_no_group(context, context->argv[1], context->argv[2]);
    } else if (is_summary) {
        reply_pending_summary(context, group);
    } else if (query.consumer_argument == 0) {
        reply_pending(context, &group->pel, &query);
    } else {
        const struct stream_consumer *consumer =
            stream_find_consumer(group, context->argv[query.consumer_argument]);
        if (consumer == NULL) {
            reply_empty_array(context->reply);
        } else {
            reply_pending(context, &consumer->pel, &query);
        }
    }
}

/* -- XCLAIM, XAUTOCLAIM -- */

struct claim {
    struct key key;
    struct stream *stream;
    struct stream_group *group;
    struct stream_consumer *consumer; /* NULL until it gets something. */
    int64_t min_idle_ms;
    int64_t delivered_ms; /* -1: not given. */
    int64_t retry_count;  /* -1: not given. */
    bool is_forced;
    bool only_ids;
    bool was_propagated; /* An XCLAIM has gone out, and with it the group's last id. */
};

static void reply_claimed(struct command_context *context, const struct claim *claim,
                          struct stream_id id) {
    struct stream_cursor cursor;
    struct stream_entry entry;
    if (claim->only_ids) {
        stream_reply_id(context->reply, id);
        return;
    }
    stream_cursor_begin(&cursor, claim->stream, id, id, false);
    if (stream_cursor_next(&cursor, &entry)) stream_reply_entry(context->reply, &entry);
}

static void propagate_claim(struct command_context *context, struct claim *claim,
                            const struct stream_pending *pending) {
    stream_propagate_claim(context, &claim->key, claim->group, pending);
    claim->was_propagated = true;
    context->changes++;
}

/* An entry that is pending but was deleted from the stream: nobody is to be given it. */
static void drop_deleted(struct command_context *context, struct claim *claim,
                         struct stream_pending *pending) {
    propagate_claim(context, claim, pending);
    stream_remove_pending(claim->group, pending);
}

/* Gives the entry to the consumer; false when it is with somebody who has not had it for long. */
static bool claim_pending(struct command_context *context, struct claim *claim,
                          struct stream_pending *pending) {
    if (pending->consumer != NULL && claim->min_idle_ms > 0 &&
        context->now_ms - pending->delivered_ms < claim->min_idle_ms)
        return false;
    // The consumer comes into being with the first entry that it gets.
    if (claim->consumer == NULL)
        claim->consumer = stream_use_consumer(context, &claim->key, claim->group, context->argv[3]);
    stream_give_pending(pending, claim->consumer);
    pending->delivered_ms = claim->delivered_ms;
    if (claim->retry_count >= 0) {
        pending->count = (uint64_t)claim->retry_count;
    } else if (!claim->only_ids) {
        pending->count++;
    }
    claim->consumer->active_ms = context->now_ms;
    propagate_claim(context, claim, pending);
    return true;
}

/* Options behind the ids, from argument `at` on. */
static bool parse_claim_options(struct command_context *context, uint32_t at, struct claim *claim,
                                struct stream_id *out_last) {
    for (; at < context->argc; at++) {
        bool has_more = at + 1 < context->argc;
        if (context_argument_is(context, at, "FORCE")) {
            claim->is_forced = true;
        } else if (context_argument_is(context, at, "JUSTID")) {
            claim->only_ids = true;
        } else if (context_argument_is(context, at, "IDLE") && has_more) {
            if (!context_integer(context, ++at, &claim->delivered_ms,
                                 "ERR Invalid IDLE option argument for XCLAIM"))
                return false;
            if (__builtin_sub_overflow(context->now_ms, claim->delivered_ms, &claim->delivered_ms))
                claim->delivered_ms = context->now_ms;
        } else if (context_argument_is(context, at, "TIME") && has_more) {
            if (!context_integer(context, ++at, &claim->delivered_ms,
                                 "ERR Invalid TIME option argument for XCLAIM"))
                return false;
        } else if (context_argument_is(context, at, "RETRYCOUNT") && has_more) {
            if (!context_integer(context, ++at, &claim->retry_count,
                                 "ERR Invalid RETRYCOUNT option argument for XCLAIM"))
                return false;
        } else if (context_argument_is(context, at, "LASTID") && has_more) {
            if (!stream_argument_id(context, ++at, out_last)) return false;
        } else {
            char word[128];
            reply_error_format(context->reply, "ERR Unrecognized XCLAIM option '%s'",
                               bytes_to_text(context->argv[at], word, sizeof(word)));
            return false;
        }
    }
    return true;
}

/* Claims one entry by its id; true when it was answered. */
static bool claim_id(struct command_context *context, struct claim *claim, struct stream_id id) {
    struct stream_pending *pending = stream_pel_find(&claim->group->pel, id);
    if (!stream_has_entry(claim->stream, id)) {
        if (pending != NULL) drop_deleted(context, claim, pending);
        return false;
    }
    if (pending == NULL && claim->is_forced) {
        pending = stream_add_pending(claim->group, id, NULL, context->now_ms);
    }
    if (pending == NULL || !claim_pending(context, claim, pending)) return false;
    reply_claimed(context, claim, id);
    return true;
}

void stream_xclaim(struct command_context *context) {
    struct claim claim = {.delivered_ms = -1, .retry_count = -1};
    struct stream_id last = STREAM_ID_MIN;
    struct stream_id id;
    if (!find_group(context, &claim.key, &claim.stream, &claim.group)) return;
    if (!context_integer(context, 4, &claim.min_idle_ms,
                         "ERR Invalid min-idle-time argument for XCLAIM"))
        return;
    uint32_t ids_end = 5;
    while (ids_end < context->argc && stream_id_parse(context->argv[ids_end], 0, true, &id, NULL))
        ids_end++;
    if (!parse_claim_options(context, ids_end, &claim, &last)) return;
    bool has_new_last = stream_id_compare(last, claim.group->last) > 0;
    if (has_new_last) claim.group->last = last;
    if (claim.delivered_ms < 0 || claim.delivered_ms > context->now_ms)
        claim.delivered_ms = context->now_ms;
    context_propagate_nothing(context);
    size_t mark = reply_begin(context->reply);
    size_t claimed = 0;
    for (uint32_t i = 5; i < ids_end; i++) {
        (void)stream_id_parse(context->argv[i], 0, true, &id, NULL);
        claimed += claim_id(context, &claim, id);
    }
    reply_end_array(context->reply, mark, claimed);
    if (has_new_last && !claim.was_propagated) {
        stream_propagate_group(context, &claim.key, claim.group);
        context->changes++;
    }
}

/* Goes through what is pending from `*cursor` on; leaves there where to go on (0-0: nowhere). */
static void claim_idle(struct command_context *context, struct claim *claim,
                       struct stream_id *cursor, int64_t count, struct buffer *deleted) {
    enum { ATTEMPTS_PER_ENTRY = 10 };
    int64_t attempts = count * ATTEMPTS_PER_ENTRY;
    struct stream_pel_cursor at;
    size_t mark = reply_begin(context->reply);
    size_t claimed = 0;
    stream_pel_seek(&claim->group->pel, *cursor, &at);
    while (at.has && attempts-- > 0 && count > 0) {
        struct stream_pending *pending = stream_pel_at(&at);
        struct stream_id id = pending->id;
        if (!stream_has_entry(claim->stream, id)) {
            buffer_append(deleted, &id, sizeof(id));
            drop_deleted(context, claim, pending);
            count--;
            stream_pel_seek(&claim->group->pel, id, &at);
            continue;
        }
        if (claim_pending(context, claim, pending)) {
            reply_claimed(context, claim, id);
            claimed++;
            count--;
        }
        stream_pel_next(&at);
    }
    reply_end_array(context->reply, mark, claimed);
    *cursor = at.has ? stream_pel_at(&at)->id : STREAM_ID_MIN;
}

void stream_xautoclaim(struct command_context *context) {
    struct claim claim = {.retry_count = -1, .delivered_ms = context->now_ms};
    struct stream_id cursor;
    int64_t count = 100;
    if (!context_integer(context, 4, &claim.min_idle_ms,
                         "ERR Invalid min-idle-time argument for XAUTOCLAIM") ||
        !stream_argument_bound(context, 5, true, &cursor))
        return;
    for (uint32_t i = 6; i < context->argc; i++) {
        if (context_argument_is(context, i, "COUNT") && i + 1 < context->argc) {
            if (!context_integer_in(context, ++i, 1, INT64_MAX / 16, &count,
                                    "ERR COUNT must be > 0"))
                return;
        } else if (context_argument_is(context, i, "JUSTID")) {
            claim.only_ids = true;
        } else {
            reply_syntax_error(context->reply);
            return;
        }
    }
    if (!find_group(context, &claim.key, &claim.stream, &claim.group)) return;
    context_propagate_nothing(context);
    // The cursor stands before the entries and is known after them.
    struct buffer entries = {0};
    struct buffer deleted = {0};
    struct reply *reply = context->reply;
    struct buffer *out = reply->out;
    reply->out = &entries;
    claim_idle(context, &claim, &cursor, count, &deleted);
    reply->out = out;
    reply_array(reply, 3);
    stream_reply_id(reply, cursor);
    reply_raw(reply, buffer_view(&entries));
    size_t deleted_count = deleted.len / sizeof(struct stream_id);
    reply_array(reply, deleted_count);
    for (size_t i = 0; i < deleted_count; i++) {
        struct stream_id id;
        memcpy(&id, deleted.data + i * sizeof(id), sizeof(id));
        stream_reply_id(reply, id);
    }
    buffer_deinit(&entries);
    buffer_deinit(&deleted);
}

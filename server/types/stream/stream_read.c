/* XREAD and XREADGROUP: what is behind an id, at once or as soon as it comes. */
#include "server/base/mem.h"
#include "server/types/stream/stream_internal.h"

enum read_from { READ_BEHIND, READ_NEW, READ_LAST };

struct read_stream {
    enum read_from from; /* An id; ">"; "$". */
    struct stream_id id;
};

struct read_request {
    bool is_group;
    bool is_blocking;
    bool has_no_ack;
    int64_t timeout_ms;
    uint64_t count; /* 0: all. */
    struct bytes group;
    struct bytes consumer;
    uint32_t first_key;
    uint32_t stream_count;
    struct read_stream *streams;
};

/* -- arguments -- */

static bool parse_streams(struct command_context *context, uint32_t first,
                          struct read_request *request) {
    uint32_t words = context->argc - first;
    if (words % 2 != 0) {
        reply_error(context->reply, "ERR Unbalanced XREAD list of streams: for each stream key an "
                                    "ID or '$' must be specified.");
        return false;
    }
    request->first_key = first;
    request->stream_count = words / 2;
    return true;
}

static bool parse_options(struct command_context *context, struct read_request *request) {
    for (uint32_t i = 1; i < context->argc && request->first_key == 0; i++) {
        uint32_t left = context->argc - i - 1;
        int64_t count = 0;
        if (context_argument_is(context, i, "BLOCK") && left >= 1) {
            if (context->in_script) {
                reply_error_format(context->reply,
                                   "ERR %s command is not allowed with BLOCK option from scripts",
                                   request->is_group ? "XREADGROUP" : "XREAD");
                return false;
            }
            if (!context_timeout_ms(context, ++i, &request->timeout_ms)) return false;
            request->is_blocking = true;
        } else if (context_argument_is(context, i, "COUNT") && left >= 1) {
            if (!context_integer(context, ++i, &count, NULL)) return false;
            request->count = count < 0 ? 0 : (uint64_t)count;
        } else if (context_argument_is(context, i, "STREAMS") && left >= 1) {
            if (!parse_streams(context, i + 1, request)) return false;
        } else if (context_argument_is(context, i, "GROUP") && left >= 2) {
            if (!request->is_group) {
                reply_error(context->reply, "ERR The GROUP option is only supported by XREADGROUP. "
                                            "You called XREAD instead.");
                return false;
            }
            request->group = context->argv[i + 1];
            request->consumer = context->argv[i + 2];
            i += 2;
        } else if (context_argument_is(context, i, "NOACK")) {
            if (!request->is_group) {
                reply_error(context->reply, "ERR The NOACK option is only supported by XREADGROUP. "
                                            "You called XREAD instead.");
                return false;
            }
            request->has_no_ack = true;
        } else {
            reply_syntax_error(context->reply);
            return false;
        }
    }
    if (request->first_key == 0) {
        reply_syntax_error(context->reply);
        return false;
    }
    if (request->is_group && request->group.data == NULL) {
        reply_error(context->reply, "ERR Missing GROUP option for XREADGROUP");
        return false;
    }
    return true;
}

/* The group is not there: an error of the command, or, if it was there when the client began to
 * wait in it, what has become of it. */
static void reply_no_group(struct command_context *context, const struct read_request *request,
                           struct bytes key, bool has_stream) {
    if (context->waiter != NULL) {
        reply_error(context->reply, has_stream ? "NOGROUP the consumer group this client was "
                                                 "blocked on no longer exists"
                                               : "UNBLOCKED the stream key no longer exists");
        return;
    }
    char name[128];
    char group[128];
    reply_error_format(context->reply,
                       "NOGROUP No such key '%s' or consumer group '%s' in XREADGROUP with GROUP "
                       "option",
                       bytes_to_text(key, name, sizeof(name)),
                       bytes_to_text(request->group, group, sizeof(group)));
}

/* The stream (and its group) that an id belongs to has to be there for the id to mean something. */
static bool check_stream(struct command_context *context, const struct read_request *request,
                         uint32_t index, struct stream **out) {
    struct key key = context_key(context, request->first_key + index);
    const struct record *record = context_find(context, &key);
    bool is_other = record != NULL && record_type(record) != RECORD_STREAM;
    if (is_other && (context->waiter == NULL || !request->is_group)) {
        reply_wrong_type(context->reply);
        return false;
    }
    *out = record == NULL || is_other ? NULL : stream_of(record);
    if (!request->is_group) return true;
    if (*out != NULL && stream_find_group(*out, request->group) != NULL) return true;
    reply_no_group(context, request, key.name, *out != NULL);
    return false;
}

static bool parse_id(struct command_context *context, const struct read_request *request,
                     uint32_t index, const struct stream *stream, struct read_stream *out) {
    uint32_t argument = request->first_key + request->stream_count + index;
    if (context_argument_is(context, argument, "$")) {
        if (request->is_group) {
            reply_error(context->reply,
                        "ERR The $ ID is meaningless in the context of XREADGROUP: you want to "
                        "read the history of this consumer by specifying a proper ID, or use the > "
                        "ID to get new messages. The $ ID would just return an empty result set.");
            return false;
        }
        *out = (struct read_stream){READ_LAST, stream == NULL ? STREAM_ID_MIN : stream->last};
        return true;
    }
    if (context_argument_is(context, argument, ">")) {
        if (!request->is_group) {
            reply_error(context->reply, "ERR The > ID can be specified only when calling "
                                        "XREADGROUP using the GROUP <group> <consumer> option.");
            return false;
        }
        *out = (struct read_stream){.from = READ_NEW};
        return true;
    }
    out->from = READ_BEHIND;
    return stream_argument_id(context, argument, &out->id);
}

/* -- reading -- */

static void reply_stream_header(struct command_context *context, const struct read_request *request,
                                uint32_t index) {
    if (!reply_is_resp3(context->reply)) reply_array(context->reply, 2);
    reply_bulk(context->reply, context->argv[request->first_key + index]);
}

/* Makes an entry that is being delivered the consumer's. */
static struct stream_pending *deliver(struct command_context *context, struct stream_group *group,
                                      struct stream_consumer *consumer, struct stream_id id) {
    // It may be pending already, where the group was set back.
    struct stream_pending *pending = stream_pel_find(&group->pel, id);
    if (pending == NULL) return stream_add_pending(group, id, consumer, context->now_ms);
    stream_give_pending(pending, consumer);
    pending->delivered_ms = context->now_ms;
    pending->count = 1;
    return pending;
}

static void advance_group(const struct stream *stream, struct stream_group *group,
                          struct stream_id id) {
    if (group->entries_read != STREAM_READ_UNKNOWN && !stream_has_tombstones(stream, id)) {
        group->entries_read++;
    } else if (stream->added > 0) {
        group->entries_read = stream_estimate_read(stream, id);
    }
    group->last = id;
}

/* The entries that the group has not read, for a consumer. */
static void reply_new(struct command_context *context, const struct read_request *request,
                      const struct key *key, struct stream *stream, struct stream_group *group,
                      struct stream_consumer *consumer) {
    struct stream_cursor cursor;
    struct stream_entry entry;
    uint64_t replied = 0;
    struct stream_id start = group->last;
    size_t mark = reply_begin(context->reply);
    if (stream_id_next(&start))
        stream_cursor_begin(&cursor, stream, start, STREAM_ID_MAX, false);
    else
        cursor.at = 0;
    while ((request->count == 0 || replied < request->count) &&
           stream_cursor_next(&cursor, &entry)) {
        struct stream_id id = entry.id;
        advance_group(stream, group, id);
        stream_reply_entry(context->reply, &entry);
        replied++;
        if (request->has_no_ack) continue;
        const struct stream_pending *pending = deliver(context, group, consumer, id);
        stream_propagate_claim(context, key, group, pending);
    }
    reply_end_array(context->reply, mark, replied);
    consumer->active_ms = context->now_ms;
    stream_propagate_group(context, key, group);
}

/* What the consumer was given behind an id and has not acknowledged. */
static void reply_history(struct command_context *context, const struct read_request *request,
                          const struct stream *stream, struct stream_consumer *consumer,
                          struct stream_id behind) {
    struct stream_pel_cursor cursor;
    uint64_t replied = 0;
    size_t mark = reply_begin(context->reply);
    cursor.has = stream_id_next(&behind);
    if (cursor.has) stream_pel_seek(&consumer->pel, behind, &cursor);
    for (; cursor.has && (request->count == 0 || replied < request->count);
         stream_pel_next(&cursor)) {
        struct stream_pending *pending = stream_pel_at(&cursor);
        struct stream_cursor at;
        struct stream_entry entry;
        stream_cursor_begin(&at, stream, pending->id, pending->id, false);
        if (stream_cursor_next(&at, &entry)) {
            stream_reply_entry(context->reply, &entry);
            pending->delivered_ms = context->now_ms;
            pending->count++;
        } else {
            reply_array(context->reply, 2); // Deleted since.
            stream_reply_id(context->reply, pending->id);
            reply_null_array(context->reply);
        }
        replied++;
    }
    reply_end_array(context->reply, mark, replied);
}

static bool read_for_group(struct command_context *context, const struct read_request *request,
                           uint32_t index) {
    const struct read_stream *wanted = &request->streams[index];
    struct key key;
    struct stream *stream = NULL;
    if (!stream_find_for_write(context, request->first_key + index, &key, &stream) ||
        stream == NULL)
        return false;
    struct stream_group *group = stream_find_group(stream, request->group);
    struct stream_id top;
    bool is_history = wanted->from == READ_BEHIND;
    if (!is_history &&
        (!stream_edge_id(stream, true, &top) || stream_id_compare(top, group->last) <= 0))
        return false;
    reply_stream_header(context, request, index);
    struct stream_consumer *consumer = stream_use_consumer(context, &key, group, request->consumer);
    if (is_history) {
        reply_history(context, request, stream, consumer, wanted->id);
    } else {
        reply_new(context, request, &key, stream, group, consumer);
    }
    // Counted as a change, though none that watchers or waiters of the key would care for.
    context->changes++;
    return true;
}

static bool read_plain(struct command_context *context, const struct read_request *request,
                       uint32_t index) {
    struct stream *stream;
    struct stream_id top;
    struct stream_id start = request->streams[index].id;
    if (!stream_find(context, request->first_key + index, &stream) || stream == NULL) return false;
    if (!stream_edge_id(stream, true, &top) || stream_id_compare(top, start) <= 0) return false;
    stream_id_next(&start); // Something is behind it.
    reply_stream_header(context, request, index);
    stream_reply_range(context, stream, start, STREAM_ID_MAX, false, request->count);
    return true;
}

/* Waits with "$" replaced by the id that it means now. False: nothing waits here. */
static bool wait_for_more(struct command_context *context, const struct read_request *request) {
    struct bytes *argv = mem_alloc(context->argc * sizeof(*argv));
    char(*ids)[STREAM_ID_TEXT_MAX] = mem_alloc(request->stream_count * sizeof(*ids));
    memcpy(argv, context->argv, context->argc * sizeof(*argv));
    for (uint32_t i = 0; i < request->stream_count; i++) {
        if (request->streams[i].from != READ_LAST) continue;
        unsigned len = stream_id_text(request->streams[i].id, ids[i]);
        argv[request->first_key + request->stream_count + i] = bytes_of(ids[i], len);
    }
    const struct block_request block = {.first_key = request->first_key,
                                        .key_count = request->stream_count,
                                        .timeout_ms = request->timeout_ms,
                                        .type = RECORD_STREAM,
                                        .wants_loss = request->is_group,
                                        .argv = argv,
                                        .argc = context->argc};
    bool is_waiting = context_block(context, &block);
    mem_free(ids);
    mem_free(argv);
    return is_waiting;
}

static void read_all(struct command_context *context, const struct read_request *request) {
    size_t mark = reply_begin(context->reply);
    uint64_t served = 0;
    if (request->is_group) context_propagate_nothing(context);
    for (uint32_t i = 0; i < request->stream_count; i++) {
        served += request->is_group ? read_for_group(context, request, i)
                                    : read_plain(context, request, i);
    }
    if (served > 0) {
        if (reply_is_resp3(context->reply)) {
            reply_end_map(context->reply, mark, served);
        } else {
            reply_end_array(context->reply, mark, served);
        }
        return;
    }
    if (!request->is_blocking || !wait_for_more(context, request)) reply_null_array(context->reply);
}

static void read_streams(struct command_context *context, bool is_group) {
    struct read_request request = {.is_group = is_group};
    if (!parse_options(context, &request)) return;
    request.streams = mem_alloc((request.stream_count + 1) * sizeof(*request.streams));
    bool is_fine = true;
    for (uint32_t i = 0; is_fine && i < request.stream_count; i++) {
        struct stream *stream = NULL;
        is_fine = check_stream(context, &request, i, &stream) &&
                  parse_id(context, &request, i, stream, &request.streams[i]);
    }
    if (is_fine) read_all(context, &request);
    mem_free(request.streams);
}

void stream_xread(struct command_context *context) {
    read_streams(context, false);
}

void stream_xreadgroup(struct command_context *context) {
    read_streams(context, true);
}

/* Entries added, read by range, removed; what the other command files share. */
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/types/stream/stream_internal.h"

/* -- shared -- */

bool stream_find(struct command_context *context, uint32_t argument, struct stream **out) {
    struct key key = context_key(context, argument);
    bool failed;
    const struct record *record = context_find_typed(context, &key, RECORD_STREAM, &failed);
    *out = record == NULL ? NULL : stream_of(record);
    return !failed;
}

bool stream_find_for_write(struct command_context *context, uint32_t argument, struct key *out_key,
                           struct stream **out) {
    struct table_entry entry;
    *out_key = context_key(context, argument);
    if (!context_find_typed_for_write(context, out_key, RECORD_STREAM, &entry)) return false;
    *out = entry.record == NULL ? NULL : stream_of(entry.record);
    return true;
}

void stream_reply_entry(struct reply *reply, struct stream_entry *entry) {
    reply_array(reply, 2);
    stream_reply_id(reply, entry->id);
    reply_array(reply, entry->field_count * 2);
    for (uint64_t i = 0; i < entry->field_count; i++) {
        struct listpack_value name;
        struct listpack_value value;
        stream_entry_pair(entry, &name, &value);
        element_reply(reply, &name);
        element_reply(reply, &value);
    }
}

uint64_t stream_reply_range(struct command_context *context, const struct stream *stream,
                            struct stream_id start, struct stream_id end, bool is_reversed,
                            uint64_t count) {
    struct stream_cursor cursor;
    struct stream_entry entry;
    uint64_t replied = 0;
    size_t mark = reply_begin(context->reply);
    stream_cursor_begin(&cursor, stream, start, end, is_reversed);
    while ((count == 0 || replied < count) && stream_cursor_next(&cursor, &entry)) {
        stream_reply_entry(context->reply, &entry);
        replied++;
    }
    reply_end_array(context->reply, mark, replied);
    return replied;
}

/* -- XADD, XTRIM -- */

struct add_options {
    struct stream_trim trim;
    uint32_t threshold_argument; /* Of MAXLEN or MINID; 0: none. */
    bool is_limit_given;
    bool no_create;
    uint32_t id_argument; /* Of XADD. */
    struct stream_id id;
    bool is_auto_id;  /* "*" */
    bool is_auto_seq; /* "ms-*" */
};

static bool refuse(struct command_context *context, const char *error) {
    reply_error(context->reply, error);
    return false;
}

static bool parse_threshold(struct command_context *context, uint32_t *at, bool is_len,
                            struct add_options *out) {
    if (out->trim.strategy != TRIM_NONE)
        return refuse(context,
                      "ERR syntax error, MAXLEN and MINID options at the same time are not "
                      "compatible");
    uint32_t argument = *at + 1;
    out->trim.is_approximate = false;
    if (argument + 1 < context->argc && context_argument_is(context, argument, "~")) {
        out->trim.is_approximate = true;
        argument++;
    } else if (argument + 1 < context->argc && context_argument_is(context, argument, "=")) {
        argument++;
    }
    if (is_len) {
        int64_t len = 0;
        if (!context_integer(context, argument, &len, NULL)) return false;
        if (len < 0) return refuse(context, "ERR The MAXLEN argument must be >= 0.");
        out->trim.max_len = (uint64_t)len;
    } else if (!stream_argument_id(context, argument, &out->trim.min_id)) {
        return false;
    }
    out->trim.strategy = is_len ? TRIM_LEN : TRIM_ID;
    out->threshold_argument = argument;
    *at = argument;
    return true;
}

static bool parse_limit(struct command_context *context, uint32_t argument,
                        struct add_options *out) {
    int64_t limit = 0;
    if (!context_integer(context, argument, &limit, NULL)) return false;
    if (limit < 0) return refuse(context, "ERR The LIMIT argument must be >= 0.");
    out->trim.limit = (uint64_t)limit;
    out->is_limit_given = true;
    return true;
}

/* Without a LIMIT an approximate trim takes a bounded piece. What a primary has decided is carried
 * out whole. */
static bool settle_limit(struct command_context *context, bool is_add, struct add_options *out) {
    if (out->trim.limit > 0 && out->trim.strategy == TRIM_NONE)
        return refuse(context, "ERR syntax error, LIMIT cannot be used without specifying a "
                               "trimming strategy");
    if (!is_add && out->trim.strategy == TRIM_NONE)
        return refuse(context, "ERR syntax error, XTRIM must be called with a trimming strategy");
    if (context->is_from_primary) {
        out->trim.limit = 0;
        return true;
    }
    if (out->is_limit_given) {
        if (!out->trim.is_approximate)
            return refuse(context,
                          "ERR syntax error, LIMIT cannot be used without the special ~ option");
        return true;
    }
    out->trim.limit = 0;
    if (!out->trim.is_approximate) return true;
    uint64_t entries = context->types->stream_node_max_entries;
    out->trim.limit = entries == 0 ? 10000 : entries > 10000 ? 1000000 : entries * 100;
    return true;
}

static bool parse_add_options(struct command_context *context, bool is_add,
                              struct add_options *out) {
    *out = (struct add_options){.trim = {.strategy = TRIM_NONE}};
    for (uint32_t i = 2; i < context->argc && out->id_argument == 0; i++) {
        bool has_more = i + 1 < context->argc;
        if (is_add && context_argument_is(context, i, "*")) {
            out->id_argument = i;
            out->is_auto_id = true;
        } else if (context_argument_is(context, i, "MAXLEN") && has_more) {
            if (!parse_threshold(context, &i, true, out)) return false;
        } else if (context_argument_is(context, i, "MINID") && has_more) {
            if (!parse_threshold(context, &i, false, out)) return false;
        } else if (context_argument_is(context, i, "LIMIT") && has_more) {
            if (!parse_limit(context, ++i, out)) return false;
        } else if (is_add && context_argument_is(context, i, "NOMKSTREAM")) {
            out->no_create = true;
        } else if (is_add) {
            if (!stream_id_parse(context->argv[i], 0, true, &out->id, &out->is_auto_seq))
                return refuse(context,
                              "ERR Invalid stream ID specified as stream command argument");
            out->id_argument = i;
        } else {
            reply_syntax_error(context->reply);
            return false;
        }
    }
    return settle_limit(context, is_add, out);
}

/* The id of a new entry; false when there is none that is behind the last. */
static bool choose_id(const struct command_context *context, const struct stream *stream,
                      const struct add_options *options, struct stream_id *out) {
    *out = options->id;
    if (options->is_auto_id) {
        *out = (struct stream_id){(uint64_t)context->now_ms, 0};
        // The clock may have gone back, ids never do.
        if (out->ms <= stream->last.ms) {
            *out = stream->last;
            return stream_id_next(out);
        }
        return true;
    }
    if (options->is_auto_seq) {
        out->seq = 0;
        if (out->ms == stream->last.ms) {
            if (stream->last.seq == UINT64_MAX) return false;
            out->seq = stream->last.seq + 1;
        }
    }
    return stream_id_compare(*out, stream->last) > 0;
}

/* The arguments with what depends on time and on the layout of nodes replaced by what came of it.
 * mem_free it. */
static void propagate_exactly(struct command_context *context, const struct add_options *options,
                              const struct stream *stream, struct stream_id id) {
    bool is_trimmed = options->trim.strategy != TRIM_NONE && options->trim.is_approximate;
    bool has_own_id = options->id_argument == 0 || (!options->is_auto_id && !options->is_auto_seq);
    if (!context->is_journaled || (!is_trimmed && has_own_id)) return;
    struct bytes *argv = mem_alloc(context->argc * sizeof(*argv));
    char id_text[STREAM_ID_TEXT_MAX];
    char threshold[STREAM_ID_TEXT_MAX];
    memcpy(argv, context->argv, context->argc * sizeof(*argv));
    if (options->id_argument != 0)
        argv[options->id_argument] = bytes_of(id_text, stream_id_text(id, id_text));
    if (is_trimmed) {
        struct stream_id first = STREAM_ID_MIN;
        unsigned len;
        stream_edge_id(stream, false, &first);
        if (options->trim.strategy == TRIM_LEN) {
            len = number_format_u64(stream_len(stream), threshold);
        } else {
            len = stream_id_text(first, threshold);
        }
        argv[options->threshold_argument - 1] = BYTES_LITERAL("=");
        argv[options->threshold_argument] = bytes_of(threshold, len);
    }
    context_propagate(context, argv, context->argc);
    mem_free(argv);
}

/* Names and values have to fit into a node. */
static bool check_size(struct command_context *context, uint32_t first) {
    size_t bytes = 0;
    for (uint32_t i = first; i < context->argc; i++)
        bytes += listpack_entry_bytes(context->argv[i]);
    if (bytes <= LISTPACK_MAX_BYTES / 2) return true;
    return refuse(context, "ERR Elements are too large to be stored");
}

void stream_xadd(struct command_context *context) {
    struct add_options options;
    struct key key;
    struct stream *stream;
    struct stream_id id;
    if (!parse_add_options(context, true, &options)) return;
    uint32_t first_field = options.id_argument + 1;
    uint32_t words = options.id_argument == 0 ? 0 : context->argc - first_field;
    if (words < 2 || words % 2 != 0) {
        context_arity_error(context);
        return;
    }
    if (!options.is_auto_id && !options.is_auto_seq && stream_id_is_zero(options.id)) {
        reply_error(context->reply, "ERR The ID specified in XADD must be greater than 0-0");
        return;
    }
    if (!stream_find_for_write(context, 1, &key, &stream)) return;
    bool is_new = stream == NULL;
    if (is_new && options.no_create) {
        reply_null(context->reply);
        return;
    }
    struct stream *target = is_new ? stream_create() : stream;
    const char *error = NULL;
    if (stream_id_compare(target->last, STREAM_ID_MAX) == 0) {
        error = "ERR The stream has exhausted the last possible ID, unable to add more items";
    } else if (!choose_id(context, target, &options, &id)) {
        error = "ERR The ID specified in XADD is equal or smaller than the target stream top item";
    }
    if (error != NULL) reply_error(context->reply, error);
    if (error != NULL || !check_size(context, first_field)) {
        if (is_new) stream_free(target);
        return;
    }
    stream_append(target, id, context->argv + first_field, words / 2, context->types);
    if (is_new) context_insert_take(context, &key, stream_record_create(key.name, target));
    stream_reply_id(context->reply, id);
    context_changed(context, &key, EVENT_STREAM, "xadd");
    if (options.trim.strategy != TRIM_NONE && stream_trim(target, &options.trim) > 0)
        context_event(context, &key, EVENT_STREAM, "xtrim");
    propagate_exactly(context, &options, target, id);
}

void stream_xtrim(struct command_context *context) {
    struct add_options options;
    struct key key;
    struct stream *stream;
    if (!parse_add_options(context, false, &options) ||
        !stream_find_for_write(context, 1, &key, &stream))
        return;
    uint64_t removed = stream == NULL ? 0 : stream_trim(stream, &options.trim);
    if (removed > 0) {
        context_changed(context, &key, EVENT_STREAM, "xtrim");
        context->changes += removed - 1;
        propagate_exactly(context, &options, stream, STREAM_ID_MIN);
    }
    reply_integer(context->reply, (int64_t)removed);
}

/* -- reading -- */

void stream_xlen(struct command_context *context) {
    struct stream *stream;
    if (stream_find(context, 1, &stream))
        reply_integer(context->reply, stream == NULL ? 0 : (int64_t)stream_len(stream));
}

static void range(struct command_context *context, bool is_reversed) {
    struct stream_id start;
    struct stream_id end;
    struct stream *stream;
    int64_t count = -1;
    if (!stream_argument_bound(context, is_reversed ? 3 : 2, true, &start) ||
        !stream_argument_bound(context, is_reversed ? 2 : 3, false, &end))
        return;
    for (uint32_t i = 4; i < context->argc; i += 2) {
        if (!context_argument_is(context, i, "COUNT") || i + 1 >= context->argc) {
            reply_syntax_error(context->reply);
            return;
        }
        if (!context_integer(context, i + 1, &count, NULL)) return;
        if (count < 0) count = 0;
    }
    if (!stream_find(context, 1, &stream)) return;
    if (stream == NULL) {
        reply_empty_array(context->reply);
    } else if (count == 0) {
        reply_null_array(context->reply);
    } else {
        stream_reply_range(context, stream, start, end, is_reversed,
                           count < 0 ? 0 : (uint64_t)count);
    }
}

void stream_xrange(struct command_context *context) {
    range(context, false);
}

void stream_xrevrange(struct command_context *context) {
    range(context, true);
}

/* -- XDEL, XSETID -- */

void stream_xdel(struct command_context *context) {
    struct key key;
    struct stream *stream;
    struct stream_id id;
    if (!stream_find_for_write(context, 1, &key, &stream)) return;
    if (stream == NULL) {
        reply_integer(context->reply, 0);
        return;
    }
    // Nothing is deleted where one of the ids is none.
    for (uint32_t i = 2; i < context->argc; i++) {
        if (!stream_argument_id(context, i, &id)) return;
    }
    uint64_t deleted = 0;
    for (uint32_t i = 2; i < context->argc; i++) {
        (void)stream_id_parse(context->argv[i], 0, true, &id, NULL);
        deleted += stream_delete(stream, id);
    }
    if (deleted > 0) {
        context_changed(context, &key, EVENT_STREAM, "xdel");
        context->changes += deleted - 1;
    }
    reply_integer(context->reply, (int64_t)deleted);
}

void stream_xsetid(struct command_context *context) {
    struct stream_id id;
    struct stream_id max_deleted = STREAM_ID_MIN;
    int64_t added = -1;
    struct key key;
    struct stream *stream;
    struct stream_id top;
    if (!stream_argument_id(context, 2, &id)) return;
    for (uint32_t i = 3; i < context->argc; i += 2) {
        bool has_more = i + 1 < context->argc;
        if (context_argument_is(context, i, "ENTRIESADDED") && has_more) {
            if (!context_integer(context, i + 1, &added, NULL)) return;
            if (added < 0) {
                reply_error(context->reply, "ERR entries_added must be positive");
                return;
            }
        } else if (context_argument_is(context, i, "MAXDELETEDID") && has_more) {
            if (!stream_argument_id(context, i + 1, &max_deleted)) return;
            if (stream_id_compare(id, max_deleted) < 0) {
                reply_error(context->reply, "ERR The ID specified in XSETID is smaller than the "
                                            "provided max_deleted_entry_id");
                return;
            }
        } else {
            reply_syntax_error(context->reply);
            return;
        }
    }
    if (!stream_find_for_write(context, 1, &key, &stream)) return;
    const char *error = NULL;
    if (stream == NULL) {
        error = "ERR no such key";
    } else if (stream_edge_id(stream, true, &top) && stream_id_compare(id, top) < 0) {
        error = "ERR The ID specified in XSETID is smaller than the target stream top item";
    } else if (added >= 0 && stream_len(stream) > (uint64_t)added) {
        error =
            "ERR The entries_added specified in XSETID is smaller than the target stream length";
    }
    if (error != NULL) {
        reply_error(context->reply, error);
        return;
    }
    stream->last = id;
    if (added >= 0) stream->added = (uint64_t)added;
    if (!stream_id_is_zero(max_deleted)) stream->max_deleted = max_deleted;
    context_changed(context, &key, EVENT_STREAM, "xsetid");
    reply_ok(context->reply);
}

/* Streams as a data type: memory, RDB, digest. */
#include "server/base/mem.h"
#include "server/keyspace/digest.h"
#include "server/rdb/rdb_blob.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_stream_node.h"
#include "server/rdb/rdb_writer.h"
#include "server/types/stream/stream_internal.h"

struct record *stream_record_create(struct bytes key, struct stream *stream) {
    return record_create_pointer(&(struct record_spec){.type = RECORD_STREAM, .key = key}, stream);
}

static const char *encoding_name(const struct record *record) {
    (void)record;
    return "stream";
}

static void destroy(struct record *record) {
    stream_free(stream_of(record));
}

static size_t free_effort(const struct record *record) {
    const struct stream *stream = stream_of(record);
    size_t effort = leaf_tree_leaf_count(stream->nodes);
    for (uint32_t i = 0; i < stream->group_count; i++)
        effort += 1 + stream_pel_count(&stream->groups[i]->pel);
    return effort;
}

static struct record *copy(const struct record *record, struct bytes key) {
    return stream_record_create(key, stream_clone(stream_of(record)));
}

static uint64_t element_count(const struct record *record) {
    return stream_len(stream_of(record));
}

/* -- memory -- */

static size_t nodes_bytes(const struct stream *stream, size_t samples) {
    size_t seen = 0;
    size_t bytes = 0;
    size_t count = leaf_tree_leaf_count(stream->nodes);
    struct leaf_place place;
    bool has_more = leaf_tree_first(stream->nodes, &place);
    for (; has_more && (samples == 0 || seen < samples); has_more = leaf_place_next(&place)) {
        seen++;
        bytes += mem_usable_size(leaf_place_leaf(&place));
    }
    if (seen > 0) bytes = (size_t)((double)bytes / (double)seen * (double)count);
    return bytes + leaf_tree_memory_used(stream->nodes);
}

static size_t pel_bytes(const struct stream_pel *pel) {
    if (pel->tree == NULL) return 0;
    return leaf_tree_memory_used(pel->tree) + stream_pel_count(pel) * sizeof(void *);
}

static size_t group_bytes(const struct stream_group *group) {
    size_t bytes = mem_usable_size(group) + pel_bytes(&group->pel) +
                   stream_pel_count(&group->pel) * sizeof(struct stream_pending) +
                   group->consumer_cap * sizeof(void *);
    for (uint32_t i = 0; i < group->consumer_count; i++)
        bytes += mem_usable_size(group->consumers[i]) + pel_bytes(&group->consumers[i]->pel);
    return bytes;
}

static size_t memory_used(const struct record *record, size_t samples) {
    const struct stream *stream = stream_of(record);
    size_t bytes = mem_usable_size(stream) + nodes_bytes(stream, samples);
    for (uint32_t i = 0; i < stream->group_count; i++)
        bytes += group_bytes(stream->groups[i]);
    return bytes;
}

/* -- saving -- */

static uint8_t rdb_type(const struct record *record) {
    (void)record;
    return RDB_TYPE_STREAM_2;
}

static void save_id_as_lengths(struct rdb_writer *writer, struct stream_id id) {
    rdb_write_length(writer, id.ms);
    rdb_write_length(writer, id.seq);
}

static void save_nodes(const struct stream *stream, struct rdb_writer *writer) {
    rdb_write_length(writer, leaf_tree_leaf_count(stream->nodes));
    struct leaf_place place;
    bool has_more = leaf_tree_first(stream->nodes, &place);
    for (; has_more; has_more = leaf_place_next(&place)) {
        struct leaf_key key = leaf_place_key(&place);
        const uint8_t *block = leaf_place_leaf(&place);
        rdb_write_length(writer, 16);
        rdb_write_stream_id(writer, key.high, key.low);
        rdb_write_string(writer, bytes_of(block, listpack_bytes(block)));
    }
}

static void save_pel(const struct stream_pel *pel, struct rdb_writer *writer, bool has_details) {
    rdb_write_length(writer, stream_pel_count(pel));
    struct stream_pel_cursor cursor;
    for (stream_pel_seek(pel, STREAM_ID_MIN, &cursor); cursor.has; stream_pel_next(&cursor)) {
        const struct stream_pending *pending = stream_pel_at(&cursor);
        rdb_write_stream_id(writer, pending->id.ms, pending->id.seq);
        if (!has_details) continue;
        rdb_write_ms(writer, pending->delivered_ms);
        rdb_write_length(writer, pending->count);
    }
}

static void save_group(const struct stream_group *group, struct rdb_writer *writer) {
    rdb_write_string(writer, group->name);
    save_id_as_lengths(writer, group->last);
    rdb_write_length(writer, (uint64_t)group->entries_read);
    save_pel(&group->pel, writer, true);
    rdb_write_length(writer, group->consumer_count);
    for (uint32_t i = 0; i < group->consumer_count; i++) {
        const struct stream_consumer *consumer = group->consumers[i];
        rdb_write_string(writer, consumer->name);
        rdb_write_ms(writer, consumer->seen_ms);
        save_pel(&consumer->pel, writer, false);
    }
}

static void save(const struct record *record, struct rdb_writer *writer) {
    const struct stream *stream = stream_of(record);
    struct stream_id first = STREAM_ID_MIN;
    stream_edge_id(stream, false, &first);
    save_nodes(stream, writer);
    rdb_write_length(writer, stream_len(stream));
    save_id_as_lengths(writer, stream->last);
    save_id_as_lengths(writer, first);
    save_id_as_lengths(writer, stream->max_deleted);
    rdb_write_length(writer, stream->added);
    rdb_write_length(writer, stream->group_count);
    for (uint32_t i = 0; i < stream->group_count; i++)
        save_group(stream->groups[i], writer);
}

/* -- loading -- */

static bool loads(uint8_t type) {
    return type == RDB_TYPE_STREAM_1 || type == RDB_TYPE_STREAM_2 || type == RDB_TYPE_STREAM_3;
}

static enum status corrupt(struct rdb_reader *reader, const char *reason) {
    return rdb_reader_fail(reader, STATUS_BAD_FORMAT, "%s", reason);
}

static enum status load_id_of_lengths(struct rdb_reader *reader, struct stream_id *out) {
    enum status status = rdb_read_length(reader, &out->ms);
    return status == STATUS_OK ? rdb_read_length(reader, &out->seq) : status;
}

static enum status load_raw_id(struct rdb_reader *reader, struct stream_id *out) {
    return rdb_read_stream_id(reader, &out->ms, &out->seq);
}

static enum status load_node(struct stream *stream, struct rdb_reader *reader, uint8_t type) {
    uint64_t key_len = 0;
    struct stream_id master = STREAM_ID_MIN;
    struct rdb_blob blob;
    enum status status = rdb_read_length(reader, &key_len);
    if (status == STATUS_OK && key_len != 16)
        return corrupt(reader, "Stream node key entry is not the size of a stream ID");
    if (status == STATUS_OK) status = load_raw_id(reader, &master);
    if (status == STATUS_OK) status = rdb_read_blob(reader, type, &blob);
    if (status != STATUS_OK) return status;
    struct leaf_place place;
    struct rdb_stream_node node = {0};
    bool has_nodes = leaf_tree_last(stream->nodes, &place);
    struct leaf_key last = has_nodes ? leaf_place_key(&place) : (struct leaf_key){0};
    uint8_t *block = NULL;
    status = blob.count == 0 ? corrupt(reader, "Empty listpack inside stream")
                             : rdb_blob_detach_listpack(&blob, &block);
    rdb_blob_deinit(&blob);
    if (status != STATUS_OK) return rdb_reader_fail(reader, status, "Stream node too large");
    if (has_nodes && stream_id_compare((struct stream_id){last.high, last.low}, master) >= 0) {
        status = corrupt(reader, "Listpack re-added with existing key");
    } else if (!rdb_stream_node_read(block, &node)) {
        status = corrupt(reader, "Stream listpack integrity check failed.");
    }
    if (status != STATUS_OK) {
        mem_free(block);
        return status;
    }
    stream_adopt_node_take(stream, master, block, node.living_count);
    return STATUS_OK;
}

static enum status load_group_pel(struct stream_group *group, struct rdb_reader *reader) {
    uint64_t count = 0;
    enum status status = rdb_read_count(reader, &count);
    for (uint64_t i = 0; status == STATUS_OK && i < count; i++) {
        struct stream_id id;
        int64_t delivered_ms = 0;
        uint64_t deliveries = 0;
        status = load_raw_id(reader, &id);
        if (status == STATUS_OK) status = rdb_read_ms(reader, &delivered_ms);
        if (status == STATUS_OK) status = rdb_read_length(reader, &deliveries);
        if (status != STATUS_OK) break;
        if (stream_pel_find(&group->pel, id) != NULL)
            return corrupt(reader, "Duplicated global PEL entry loading stream consumer group");
        stream_add_pending(group, id, NULL, delivered_ms)->count = deliveries;
    }
    return status;
}

static enum status load_consumer_pel(struct stream_group *group, struct stream_consumer *consumer,
                                     struct rdb_reader *reader) {
    uint64_t count = 0;
    enum status status = rdb_read_count(reader, &count);
    for (uint64_t i = 0; status == STATUS_OK && i < count; i++) {
        struct stream_id id;
        status = load_raw_id(reader, &id);
        if (status != STATUS_OK) break;
        struct stream_pending *pending = stream_pel_find(&group->pel, id);
        if (pending == NULL) return corrupt(reader, "Consumer entry not found in group global PEL");
        if (pending->consumer != NULL)
            return corrupt(reader, "Duplicated consumer PEL entry loading a stream consumer group");
        stream_give_pending(pending, consumer);
    }
    return status;
}

static enum status load_consumer(struct stream_group *group, struct rdb_reader *reader,
                                 uint8_t type) {
    struct buffer name = {0};
    int64_t seen_ms = 0;
    int64_t active_ms = 0;
    enum status status = rdb_read_string(reader, &name);
    if (status == STATUS_OK) status = rdb_read_ms(reader, &seen_ms);
    active_ms = seen_ms;
    if (status == STATUS_OK && type == RDB_TYPE_STREAM_3) status = rdb_read_ms(reader, &active_ms);
    if (status == STATUS_OK) {
        struct stream_consumer *consumer = stream_add_consumer(group, buffer_view(&name), seen_ms);
        if (consumer == NULL) {
            status = corrupt(reader, "Duplicate stream consumer detected");
        } else {
            consumer->active_ms = active_ms;
            status = load_consumer_pel(group, consumer, reader);
        }
    }
    buffer_deinit(&name);
    return status;
}

/* Whoever works with a pending entry wants to know whose it is. */
static bool has_orphans(const struct stream_group *group) {
    struct stream_pel_cursor cursor;
    for (stream_pel_seek(&group->pel, STREAM_ID_MIN, &cursor); cursor.has; stream_pel_next(&cursor))
        if (stream_pel_at(&cursor)->consumer == NULL) return true;
    return false;
}

static enum status load_group(struct stream *stream, struct rdb_reader *reader, uint8_t type) {
    struct buffer name = {0};
    struct stream_id last = STREAM_ID_MIN;
    uint64_t entries_read = 0;
    uint64_t consumers = 0;
    enum status status = rdb_read_string(reader, &name);
    if (status == STATUS_OK) status = load_id_of_lengths(reader, &last);
    if (status == STATUS_OK) {
        if (type == RDB_TYPE_STREAM_1) {
            entries_read = (uint64_t)stream_estimate_read(stream, last);
        } else {
            status = rdb_read_length(reader, &entries_read);
        }
    }
    struct stream_group *group = NULL;
    if (status == STATUS_OK) {
        group = stream_add_group(stream, buffer_view(&name), last, (int64_t)entries_read);
        if (group == NULL) status = corrupt(reader, "Duplicated consumer group name");
    }
    buffer_deinit(&name);
    if (status == STATUS_OK) status = load_group_pel(group, reader);
    if (status == STATUS_OK) status = rdb_read_count(reader, &consumers);
    for (uint64_t i = 0; status == STATUS_OK && i < consumers; i++)
        status = load_consumer(group, reader, type);
    if (status == STATUS_OK && has_orphans(group))
        status = corrupt(reader, "NACK entry without consumer");
    return status;
}

static enum status load_parts(struct stream *stream, struct rdb_reader *reader, uint8_t type) {
    uint64_t nodes = 0;
    uint64_t len = 0;
    uint64_t groups = 0;
    enum status status = rdb_read_count(reader, &nodes);
    for (uint64_t i = 0; status == STATUS_OK && i < nodes; i++)
        status = load_node(stream, reader, type);
    if (status == STATUS_OK) status = rdb_read_length(reader, &len);
    if (status == STATUS_OK && len != stream_len(stream))
        return corrupt(reader, "Stream length inconsistent with its entries");
    if (status == STATUS_OK) status = load_id_of_lengths(reader, &stream->last);
    stream->added = len;
    if (status == STATUS_OK && type != RDB_TYPE_STREAM_1) {
        struct stream_id first; // Known from the entries.
        status = load_id_of_lengths(reader, &first);
        if (status == STATUS_OK) status = load_id_of_lengths(reader, &stream->max_deleted);
        if (status == STATUS_OK) status = rdb_read_length(reader, &stream->added);
    }
    struct stream_id top;
    if (status == STATUS_OK && stream_edge_id(stream, true, &top) &&
        stream_id_compare(top, stream->last) > 0)
        return corrupt(reader, "Stream entry behind the last generated ID");
    if (status == STATUS_OK) status = rdb_read_count(reader, &groups);
    for (uint64_t i = 0; status == STATUS_OK && i < groups; i++)
        status = load_group(stream, reader, type);
    return status;
}

static enum status load(uint8_t type, struct rdb_reader *reader, struct bytes key,
                        const struct data_type_load_context *context, struct record **out_record) {
    (void)context;
    struct stream *stream = stream_create();
    enum status status = load_parts(stream, reader, type);
    if (status != STATUS_OK) {
        stream_free(stream);
        return status;
    }
    *out_record = stream_record_create(key, stream);
    return STATUS_OK;
}

/* -- digest -- */

static void digest(const struct record *record, struct digest *digest) {
    struct stream_cursor cursor;
    struct stream_entry entry;
    stream_cursor_begin(&cursor, stream_of(record), STREAM_ID_MIN, STREAM_ID_MAX, false);
    while (stream_cursor_next(&cursor, &entry)) {
        char text[STREAM_ID_TEXT_MAX];
        unsigned len = stream_id_text(entry.id, text);
        *(char *)memchr(text, '-', len) = '.';
        digest_mix(digest, bytes_of(text, len));
        for (uint64_t i = 0; i < entry.field_count; i++) {
            struct listpack_value name;
            struct listpack_value value;
            char scratch[NUMBER_TEXT_MAX];
            stream_entry_pair(&entry, &name, &value);
            digest_mix(digest, element_text(&name, scratch));
            digest_mix(digest, element_text(&value, scratch));
        }
    }
}

const struct data_type stream_type = {
    .name = "stream",
    .code = RECORD_STREAM,
    .encoding_name = encoding_name,
    .destroy = destroy,
    .free_effort = free_effort,
    .copy = copy,
    .memory_used = memory_used,
    .element_count = element_count,
    .rdb_type = rdb_type,
    .save = save,
    .loads = loads,
    .load = load,
    .digest = digest,
};

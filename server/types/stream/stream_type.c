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

/* Has this step written its share? */
struct save_budget {
    struct rdb_writer *writer;
    uint64_t begin;
    size_t max_bytes;
};

static bool is_spent(const struct save_budget *budget) {
    return rdb_writer_offset(budget->writer) - budget->begin >= budget->max_bytes;
}

/* place: the rank of the first entry of the next node. True: these were the last. */
static bool save_nodes(const struct stream *stream, struct save_walk *walk,
                       const struct save_budget *budget) {
    struct rdb_writer *writer = budget->writer;
    if (walk->place[0] == 0) rdb_write_length(writer, leaf_tree_leaf_count(stream->nodes));
    struct leaf_place place;
    uint64_t offset = 0;
    bool has_more = leaf_tree_at(stream->nodes, walk->place[0], &place, &offset);
    while (has_more) {
        struct leaf_key key = leaf_place_key(&place);
        const uint8_t *block = leaf_place_leaf(&place);
        rdb_write_length(writer, 16);
        rdb_write_stream_id(writer, key.high, key.low);
        rdb_write_string(writer, bytes_of(block, listpack_bytes(block)));
        walk->place[0] += leaf_place_count(&place);
        has_more = leaf_place_next(&place);
        if (has_more && is_spent(budget)) return false;
    }
    walk->place[0] = 0;
    return true;
}

/* place: the id of the next pending entry. True: these were the last. */
static bool save_pel(const struct stream_pel *pel, struct save_walk *walk,
                     const struct save_budget *budget, bool has_details) {
    struct rdb_writer *writer = budget->writer;
    struct stream_id from = {walk->place[0], walk->place[1]};
    if (stream_id_is_zero(from)) rdb_write_length(writer, stream_pel_count(pel));
    struct stream_pel_cursor cursor;
    for (stream_pel_seek(pel, from, &cursor); cursor.has; stream_pel_next(&cursor)) {
        const struct stream_pending *pending = stream_pel_at(&cursor);
        if (is_spent(budget) && stream_id_compare(pending->id, from) != 0) {
            walk->place[0] = pending->id.ms;
            walk->place[1] = pending->id.seq;
            return false;
        }
        rdb_write_stream_id(writer, pending->id.ms, pending->id.seq);
        if (!has_details) continue;
        rdb_write_ms(writer, pending->delivered_ms);
        rdb_write_length(writer, pending->count);
    }
    walk->place[0] = walk->place[1] = 0;
    return true;
}

static void save_group_head(const struct stream_group *group, struct rdb_writer *writer) {
    rdb_write_string(writer, group->name);
    save_id_as_lengths(writer, group->last);
    rdb_write_length(writer, (uint64_t)group->entries_read);
}

/* A group's pending entries are its item 0, its consumers the items from 1 on. */
static bool save_group(const struct stream_group *group, struct save_walk *walk,
                       const struct save_budget *budget) {
    bool is_fresh = walk->place[0] == 0 && walk->place[1] == 0;
    if (walk->item == 0) {
        if (is_fresh) save_group_head(group, budget->writer);
        if (!save_pel(&group->pel, walk, budget, true)) return false;
        rdb_write_length(budget->writer, group->consumer_count);
        walk->item = 1;
        is_fresh = true;
    }
    for (; walk->item <= group->consumer_count; walk->item++, is_fresh = true) {
        const struct stream_consumer *consumer = group->consumers[walk->item - 1];
        if (is_fresh) {
            rdb_write_string(budget->writer, consumer->name);
            rdb_write_ms(budget->writer, consumer->seen_ms);
        }
        if (!save_pel(&consumer->pel, walk, budget, false)) return false;
    }
    walk->item = 0;
    return true;
}

static void save_frame(const struct stream *stream, struct rdb_writer *writer) {
    struct stream_id first = STREAM_ID_MIN;
    stream_edge_id(stream, false, &first);
    rdb_write_length(writer, stream_len(stream));
    save_id_as_lengths(writer, stream->last);
    save_id_as_lengths(writer, first);
    save_id_as_lengths(writer, stream->max_deleted);
    rdb_write_length(writer, stream->added);
    rdb_write_length(writer, stream->group_count);
}

enum save_stage { SAVE_NODES, SAVE_GROUPS };

static bool save_step(const struct record *record, struct save_walk *walk,
                      struct rdb_writer *writer, size_t max_bytes) {
    const struct stream *stream = stream_of(record);
    const struct save_budget budget = {writer, rdb_writer_offset(writer), max_bytes};
    if (walk->stage == SAVE_NODES) {
        if (!save_nodes(stream, walk, &budget)) return false;
        save_frame(stream, writer);
        walk->stage = SAVE_GROUPS;
    }
    for (; walk->group < stream->group_count; walk->group++) {
        if (!save_group(stream->groups[walk->group], walk, &budget)) return false;
    }
    return true;
}

static void save(const struct record *record, struct rdb_writer *writer) {
    struct save_walk walk = {0};
    (void)save_step(record, &walk, writer, SIZE_MAX);
}

/* -- loading -- */

static bool loads(uint8_t type) {
    return type == RDB_TYPE_STREAM_1 || type == RDB_TYPE_STREAM_2 || type == RDB_TYPE_STREAM_3;
}

static enum status corrupt(struct rdb_reader *reader, const char *reason) {
    return rdb_reader_fail(reader, STATUS_BAD_FORMAT, "%s", reason);
}

/* The same id in the words of this folder. */
static enum status take_id(enum status status, struct rdb_stream_id id, struct stream_id *out) {
    if (status == STATUS_OK) *out = (struct stream_id){id.ms, id.seq};
    return status;
}

static enum status load_id_of_lengths(struct rdb_reader *reader, struct stream_id *out) {
    struct rdb_stream_id id = {0};
    enum status status = rdb_read_stream_id_lengths(reader, &id);
    return take_id(status, id, out);
}

static enum status load_raw_id(struct rdb_reader *reader, struct stream_id *out) {
    struct rdb_stream_id id = {0};
    enum status status = rdb_read_stream_id(reader, &id);
    return take_id(status, id, out);
}

static enum status load_node(struct stream *stream, struct rdb_reader *reader, uint8_t type) {
    struct rdb_stream_id id = {0};
    struct rdb_blob blob;
    enum status status = rdb_read_stream_node(reader, type, &id, &blob);
    if (status != STATUS_OK) return status;
    struct stream_id master = {id.ms, id.seq};
    struct leaf_place place;
    struct rdb_stream_node node = {0};
    bool has_nodes = leaf_tree_last(stream->nodes, &place);
    struct leaf_key last = has_nodes ? leaf_place_key(&place) : (struct leaf_key){0};
    uint8_t *block = NULL;
    status = rdb_blob_detach_listpack(&blob, &block);
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
    .save_step = save_step,
    .loads = loads,
    .load = load,
    .digest = digest,
};

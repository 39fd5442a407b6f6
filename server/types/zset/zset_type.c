/* Sorted sets as a data type: encodings, memory, RDB, digest. */
#include <math.h>

#include "server/base/mem.h"
#include "server/keyspace/digest.h"
#include "server/rdb/rdb_blob.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_writer.h"
#include "server/types/zset/zset_internal.h"

static const char *encoding_name(const struct record *record) {
    return zset_table_of(record) != NULL ? "skiplist" : "listpack";
}

static size_t free_effort(const struct record *record) {
    const struct zset_table *set = zset_table_of(record);
    return set == NULL ? 1 : set->table.count;
}

static uint64_t element_count(const struct record *record) {
    return zset_count(record);
}

/* -- memory -- */

struct memory_sample {
    size_t members;
    size_t bytes;
};

static void add_member(void *arg, struct record *member) {
    struct memory_sample *sample = arg;
    sample->members++;
    sample->bytes += record_memory_used(member);
}

static size_t memory_used(const struct record *record, size_t samples) {
    const struct zset_table *set = zset_table_of(record);
    if (set == NULL) return mem_usable_size(record_pointer(record));
    struct memory_sample sample = {0};
    struct table_hasher hasher = zset_hasher(set);
    uint64_t place = 0;
    do {
        uint64_t next = samples == 0 ? 0 : table_place_after(&set->table, place, 1);
        table_walk(&set->table, place, next, &hasher, add_member, &sample);
        place = next;
    } while (place != 0 && sample.members < samples);
    // A leaf's pointers come in steps, so there is a little more of them than of members.
    size_t bytes =
        mem_usable_size(set) + table_memory_used(&set->table) + leaf_tree_memory_used(set->tree) +
        (set->table.count + leaf_tree_leaf_count(set->tree) * 4) * sizeof(struct packed_pointer);
    if (sample.members == 0) return bytes;
    return bytes + (size_t)((double)sample.bytes / (double)sample.members * set->table.count);
}

/* -- RDB -- */

static uint8_t rdb_type(const struct record *record) {
    return zset_table_of(record) != NULL ? RDB_TYPE_ZSET : RDB_TYPE_ZSET_LISTPACK;
}

/* A table goes from its highest member to its lowest: a skip list is built fastest so. place[0]:
 * how many members are written. */
static bool save_step(const struct record *record, struct save_walk *walk,
                      struct rdb_writer *writer, size_t max_bytes) {
    if (zset_table_of(record) == NULL) {
        const uint8_t *block = record_pointer(record);
        rdb_write_string(writer, bytes_of(block, listpack_bytes(block)));
        return true;
    }
    size_t count = zset_count(record);
    uint64_t begin = rdb_writer_offset(writer);
    if (walk->place[0] == 0) rdb_write_length(writer, count);
    struct zset_cursor cursor;
    zset_cursor_begin(&cursor, record, count - 1 - walk->place[0]);
    while (zset_cursor_has(&cursor)) {
        struct zset_element element = zset_cursor_get(&cursor);
        rdb_write_string(writer, element.member.text);
        rdb_write_double(writer, element.score);
        walk->place[0]++;
        if (rdb_writer_offset(writer) - begin >= max_bytes) break;
        zset_cursor_previous(&cursor);
    }
    return walk->place[0] == count;
}

static void save(const struct record *record, struct rdb_writer *writer) {
    struct save_walk walk = {0};
    (void)save_step(record, &walk, writer, SIZE_MAX);
}

static bool loads(uint8_t type) {
    return type == RDB_TYPE_ZSET || type == RDB_TYPE_ZSET_TEXT || type == RDB_TYPE_ZSET_ZIPLIST ||
           type == RDB_TYPE_ZSET_LISTPACK;
}

static enum status load_blob(struct record *record, struct rdb_reader *reader, uint8_t type,
                             const struct zset_policy *policy) {
    struct rdb_blob blob;
    enum status status = rdb_read_blob(reader, type, &blob);
    if (status != STATUS_OK) return status;
    size_t count = blob.count / 2;
    uint8_t *block = NULL;
    if (count > 0) status = rdb_blob_detach_listpack(&blob, &block);
    rdb_blob_deinit(&blob);
    if (status != STATUS_OK) return rdb_reader_fail(reader, status, "Sorted set too large");
    if (block != NULL) zset_adopt_block_take(record, block);
    if (count > policy->options->zset_max_listpack_entries) zset_make_table(record, policy->seed);
    return STATUS_OK;
}

static enum status load_members(struct record *record, struct rdb_reader *reader, uint8_t type,
                                const struct zset_policy *policy) {
    uint64_t count = 0;
    enum status status = rdb_read_count(reader, &count);
    // Known to be long: it is not searched as a list while it grows.
    if (status == STATUS_OK && count > policy->options->zset_max_listpack_entries)
        zset_make_table(record, policy->seed);
    struct buffer member = {0}; // Reading the score ends a view.
    for (uint64_t i = 0; status == STATUS_OK && i < count; i++) {
        double score = 0;
        status = rdb_read_string(reader, &member);
        if (status != STATUS_OK) break;
        status = type == RDB_TYPE_ZSET ? rdb_read_double(reader, &score)
                                       : rdb_read_text_double(reader, &score);
        if (status != STATUS_OK) break;
        if (isnan(score)) {
            status = rdb_reader_fail(reader, STATUS_BAD_FORMAT, "Zset with NAN score detected");
            break;
        }
        // A listpack would make it a zero, and what comes of it then hang on the order of members.
        if (score == 0 && signbit(score) && zset_table_of(record) == NULL)
            zset_make_table(record, policy->seed);
        zset_put(record, buffer_view(&member), score, policy);
        if (zset_count(record) != i + 1)
            status = rdb_reader_fail(reader, STATUS_BAD_FORMAT, "Duplicate zset fields detected");
    }
    buffer_deinit(&member);
    return status;
}

static enum status load(uint8_t type, struct rdb_reader *reader, struct bytes key,
                        const struct data_type_load_context *context, struct record **out_record) {
    struct zset_policy policy = {context->options, context->hash_seed};
    struct record *record = zset_record_create(key);
    bool is_blob = type == RDB_TYPE_ZSET_ZIPLIST || type == RDB_TYPE_ZSET_LISTPACK;
    enum status status = is_blob ? load_blob(record, reader, type, &policy)
                                 : load_members(record, reader, type, &policy);
    if (status != STATUS_OK || zset_count(record) == 0) {
        zset_record_free(record);
        record = NULL;
    }
    if (status == STATUS_OK) *out_record = record;
    return status;
}

/* -- digest -- */

static void digest(const struct record *record, struct digest *digest) {
    struct zset_cursor cursor;
    for (zset_cursor_begin(&cursor, record, 0); zset_cursor_has(&cursor);
         zset_cursor_next(&cursor)) {
        struct zset_element element = zset_cursor_get(&cursor);
        char scratch[NUMBER_TEXT_MAX];
        char score[64];
        struct digest pair = {{0}};
        digest_mix(&pair, element_text(&element.member, scratch));
        digest_mix(&pair,
                   bytes_of(score, number_format_17_digits(element.score, score, sizeof(score))));
        digest_xor_digest(digest, &pair);
    }
}

const struct data_type zset_type = {
    .name = "zset",
    .code = RECORD_ZSET,
    .encoding_name = encoding_name,
    .destroy = zset_destroy,
    .free_effort = free_effort,
    .copy = zset_copy,
    .memory_used = memory_used,
    .element_count = element_count,
    .rdb_type = rdb_type,
    .save = save,
    .save_step = save_step,
    .loads = loads,
    .load = load,
    .prefetch = zset_prefetch,
    .digest = digest,
};

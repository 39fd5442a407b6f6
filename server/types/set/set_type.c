/* Sets as a data type: encodings, memory, RDB, digest. */
#include "server/base/mem.h"
#include "server/keyspace/digest.h"
#include "server/rdb/rdb_blob.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_writer.h"
#include "server/types/set/set_internal.h"

static const char *encoding_name(const struct record *record) {
    static const char *const names[] = {"intset", "listpack", "hashtable"};
    return names[record_encoding(record)];
}

static size_t free_effort(const struct record *record) {
    const struct set_table *set = set_table_of(record);
    return set == NULL ? 1 : set->table.count;
}

static uint64_t element_count(const struct record *record) {
    return set_count(record);
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
    const struct set_table *set = set_table_of(record);
    if (set == NULL) return mem_usable_size(record_pointer(record));
    size_t bytes = mem_usable_size(set) + table_memory_used(&set->table);
    struct memory_sample sample = {0};
    struct table_hasher hasher = set_hasher(set);
    uint64_t place = 0;
    do {
        uint64_t next = samples == 0 ? 0 : table_place_after(&set->table, place, 1);
        table_walk(&set->table, place, next, &hasher, add_member, &sample);
        place = next;
    } while (place != 0 && sample.members < samples);
    if (sample.members == 0) return bytes;
    return bytes + (size_t)((double)sample.bytes / (double)sample.members * set->table.count);
}

/* -- RDB -- */

enum { SAVE_BUCKETS = 16 }; /* Between two looks at how much was written. */

static uint8_t rdb_type(const struct record *record) {
    return record_encoding(record) == SET_INTSET ? RDB_TYPE_SET_INTSET : RDB_TYPE_SET;
}

static void save_member(void *arg, const struct listpack_value *member) {
    if (member->text.data == NULL) {
        rdb_write_integer(arg, member->number);
    } else {
        rdb_write_string(arg, member->text);
    }
}

/* Listpacks of sets came with version 11 of the format, so they are written member by member. */
static void save(const struct record *record, struct rdb_writer *writer) {
    const uint8_t *block = record_pointer(record);
    if (record_encoding(record) == SET_INTSET) {
        rdb_write_string(writer, bytes_of(block, intset_bytes(block)));
        return;
    }
    rdb_write_length(writer, set_count(record));
    set_walk(record, save_member, writer);
}

static void save_record(void *arg, struct record *member) {
    rdb_write_string(arg, record_key(member));
}

/* place[0]: in the table's order. */
static bool save_step(const struct record *record, struct save_walk *walk,
                      struct rdb_writer *writer, size_t max_bytes) {
    const struct set_table *set = set_table_of(record);
    if (set == NULL) {
        save(record, writer);
        return true;
    }
    struct table_hasher hasher = set_hasher(set);
    uint64_t begin = rdb_writer_offset(writer);
    if (walk->place[0] == 0) rdb_write_length(writer, set_count(record));
    do {
        uint64_t next = table_place_after(&set->table, walk->place[0], SAVE_BUCKETS);
        table_walk(&set->table, walk->place[0], next, &hasher, save_record, writer);
        walk->place[0] = next;
    } while (walk->place[0] != 0 && rdb_writer_offset(writer) - begin < max_bytes);
    return walk->place[0] == 0;
}

static bool loads(uint8_t type) {
    return type == RDB_TYPE_SET || type == RDB_TYPE_SET_INTSET || type == RDB_TYPE_SET_LISTPACK;
}

static enum status add_blob(struct record *record, struct rdb_reader *reader, uint8_t type,
                            const struct set_policy *policy) {
    struct rdb_blob blob;
    enum status status = rdb_read_blob(reader, type, &blob);
    if (status != STATUS_OK) return status;
    struct rdb_blob_cursor cursor = {0};
    struct listpack_value value;
    char scratch[NUMBER_TEXT_MAX];
    if (blob.count > policy->options->set_max_intset_entries)
        set_convert_to_table(record, policy->seed);
    while (rdb_blob_next(&blob, &cursor, &value))
        set_add(record, element_text(&value, scratch), policy);
    rdb_blob_deinit(&blob);
    return STATUS_OK;
}

static enum status add_members(struct record *record, struct rdb_reader *reader,
                               const struct set_policy *policy) {
    uint64_t count = 0;
    enum status status = rdb_read_count(reader, &count);
    // Known to be long: it is not searched as a list while it grows.
    if (status == STATUS_OK && count > policy->options->set_max_intset_entries &&
        count > policy->options->set_max_listpack_entries)
        set_convert_to_table(record, policy->seed);
    for (uint64_t i = 0; status == STATUS_OK && i < count; i++) {
        struct bytes member;
        status = rdb_read_view(reader, &member);
        if (status == STATUS_OK && !set_add(record, member, policy))
            status = rdb_reader_fail(reader, STATUS_BAD_FORMAT, "Duplicate set members detected");
    }
    return status;
}

static enum status load(uint8_t type, struct rdb_reader *reader, struct bytes key,
                        const struct data_type_load_context *context, struct record **out_record) {
    struct set_policy policy = {context->options, context->hash_seed};
    struct record *record = set_record_create(key);
    enum status status = type == RDB_TYPE_SET ? add_members(record, reader, &policy)
                                              : add_blob(record, reader, type, &policy);
    if (status != STATUS_OK || set_count(record) == 0) {
        set_destroy(record);
        record_free(record);
        record = NULL;
    }
    if (status == STATUS_OK) *out_record = record;
    return status;
}

/* -- digest and commands -- */

static void digest_member(void *arg, const struct listpack_value *member) {
    char scratch[NUMBER_TEXT_MAX];
    digest_xor(arg, element_text(member, scratch));
}

static void digest(const struct record *record, struct digest *digest) {
    set_walk(record, digest_member, digest);
}

const struct data_type set_type = {
    .name = "set",
    .code = RECORD_SET,
    .encoding_name = encoding_name,
    .destroy = set_destroy,
    .free_effort = free_effort,
    .copy = set_copy,
    .memory_used = memory_used,
    .element_count = element_count,
    .rdb_type = rdb_type,
    .save = save,
    .save_step = save_step,
    .loads = loads,
    .load = load,
    .prefetch = set_prefetch,
    .digest = digest,
};

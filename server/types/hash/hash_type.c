/* Hashes as a data type: encodings, memory, RDB, digest. */
#include "server/base/mem.h"
#include "server/keyspace/digest.h"
#include "server/rdb/rdb_blob.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_writer.h"
#include "server/types/hash/hash_internal.h"
#include "server/types/string/string.h"

static const char *encoding_name(const struct record *record) {
    return record_encoding(record) == HASH_LISTPACK ? "listpack" : "hashtable";
}

static size_t free_effort(const struct record *record) {
    const struct hash_table *hash = hash_table_of(record);
    return hash == NULL ? 1 : hash->table.count;
}

static uint64_t element_count(const struct record *record) {
    return hash_count(record);
}

/* -- memory ------------------------------------------------------------------------------------ */

struct memory_sample {
    size_t fields;
    size_t bytes;
};

static void add_field(void *arg, struct record *field) {
    struct memory_sample *sample = arg;
    sample->fields++;
    sample->bytes += record_memory_used(field) + string_memory_used(field);
}

static size_t memory_used(const struct record *record, size_t samples) {
    const struct hash_table *hash = hash_table_of(record);
    if (hash == NULL) return mem_usable_size(record_pointer(record));
    size_t bytes = mem_usable_size(hash) + table_memory_used(&hash->table);
    // Fields lie in the order of a seeded hash: those of the first buckets are a fair sample.
    struct memory_sample sample = {0};
    struct table_hasher hasher = hash_hasher(hash);
    uint64_t place = 0;
    do {
        uint64_t next = samples == 0 ? 0 : table_place_after(&hash->table, place, 1);
        table_walk(&hash->table, place, next, &hasher, add_field, &sample);
        place = next;
    } while (place != 0 && sample.fields < samples);
    if (sample.fields == 0) return bytes;
    return bytes + (size_t)((double)sample.bytes / (double)sample.fields * hash->table.count);
}

/* -- RDB --------------------------------------------------------------------------------------- */

static uint8_t rdb_type(const struct record *record) {
    return record_encoding(record) == HASH_LISTPACK ? RDB_TYPE_HASH_LISTPACK : RDB_TYPE_HASH;
}

static void save_pair(void *arg, const struct hash_pair *pair) {
    struct rdb_writer *writer = arg;
    rdb_write_string(writer, pair->field.text);
    if (pair->value.text.data == NULL) {
        rdb_write_integer(writer, pair->value.number);
    } else {
        rdb_write_string(writer, pair->value.text);
    }
}

enum { SAVE_BUCKETS = 16 }; /* Between two looks at how much was written. */

/* place[0]: in the table's order. */
static bool save_step(const struct record *record, struct save_walk *walk,
                      struct rdb_writer *writer, size_t max_bytes) {
    const struct hash_table *hash = hash_table_of(record);
    if (hash == NULL) {
        const uint8_t *block = record_pointer(record);
        rdb_write_string(writer, bytes_of(block, listpack_bytes(block)));
        return true;
    }
    uint64_t begin = rdb_writer_offset(writer);
    if (walk->place[0] == 0) rdb_write_length(writer, hash_count(record));
    do {
        uint64_t next = table_place_after(&hash->table, walk->place[0], SAVE_BUCKETS);
        hash_walk(record, walk->place[0], next, save_pair, writer);
        walk->place[0] = next;
    } while (walk->place[0] != 0 && rdb_writer_offset(writer) - begin < max_bytes);
    return walk->place[0] == 0;
}

static void save(const struct record *record, struct rdb_writer *writer) {
    struct save_walk walk = {0};
    (void)save_step(record, &walk, writer, SIZE_MAX);
}

static bool loads(uint8_t type) {
    return type == RDB_TYPE_HASH || type == RDB_TYPE_HASH_ZIPMAP || type == RDB_TYPE_HASH_ZIPLIST ||
           type == RDB_TYPE_HASH_LISTPACK;
}

/* A listpack blob becomes the value as it is; the reader has checked it. */
static enum status load_listpack(struct rdb_reader *reader, struct bytes key,
                                 const struct hash_policy *policy, struct record **out_record) {
    struct rdb_blob blob;
    enum status status = rdb_read_blob(reader, RDB_TYPE_HASH_LISTPACK, &blob);
    if (status != STATUS_OK) return status;
    *out_record = NULL;
    size_t count = blob.count / 2;
    if (count == 0) {
        rdb_blob_deinit(&blob);
        return STATUS_OK;
    }
    uint8_t *block = NULL;
    status = rdb_blob_detach_listpack(&blob, &block);
    if (status != STATUS_OK) {
        rdb_blob_deinit(&blob);
        return status;
    }
    struct record *record = hash_record_create(key);
    listpack_destroy(record_pointer(record));
    record_set_pointer(record, block);
    if (count > policy->options->hash_max_listpack_entries) hash_convert(record, policy->seed);
    *out_record = record;
    return STATUS_OK;
}

static enum status add_pairs(struct record *record, struct rdb_pairs *pairs,
                             const struct hash_policy *policy) {
    // Known to be long: it is not searched as a list while it grows.
    if (pairs->count > policy->options->hash_max_listpack_entries)
        hash_convert(record, policy->seed);
    for (;;) {
        struct bytes field;
        struct bytes value;
        enum status status = rdb_pairs_next(pairs, &field, &value);
        if (status == STATUS_NOT_FOUND) return STATUS_OK;
        if (status != STATUS_OK) return status;
        if (!hash_set(record, field, value, policy))
            return rdb_reader_fail(pairs->reader, STATUS_BAD_FORMAT,
                                   "Duplicate hash fields detected");
    }
}

static enum status load(uint8_t type, struct rdb_reader *reader, struct bytes key,
                        const struct data_type_load_context *context, struct record **out_record) {
    struct hash_policy policy = {context->options, context->hash_seed};
    if (type == RDB_TYPE_HASH_LISTPACK) return load_listpack(reader, key, &policy, out_record);
    struct rdb_pairs pairs;
    enum status status = rdb_pairs_init(&pairs, reader, type);
    if (status != STATUS_OK) return status;
    struct record *record = hash_record_create(key);
    status = add_pairs(record, &pairs, &policy);
    rdb_pairs_deinit(&pairs);
    if (status != STATUS_OK || hash_count(record) == 0) {
        hash_destroy(record);
        record_free(record);
        record = NULL;
    }
    if (status == STATUS_OK) *out_record = record;
    return status;
}

/* -- digest and commands ----------------------------------------------------------------------- */

static void digest_pair(void *arg, const struct hash_pair *pair) {
    char scratch[NUMBER_TEXT_MAX];
    struct digest element = {{0}};
    digest_mix(&element, element_text(&pair->field, scratch));
    digest_mix(&element, element_text(&pair->value, scratch));
    digest_xor_digest(arg, &element);
}

static void digest(const struct record *record, struct digest *digest) {
    hash_walk(record, 0, 0, digest_pair, digest);
}

const struct data_type hash_type = {
    .name = "hash",
    .code = RECORD_HASH,
    .encoding_name = encoding_name,
    .destroy = hash_destroy,
    .free_effort = free_effort,
    .copy = hash_copy,
    .memory_used = memory_used,
    .element_count = element_count,
    .rdb_type = rdb_type,
    .save = save,
    .save_step = save_step,
    .loads = loads,
    .load = load,
    .prefetch = hash_prefetch,
    .digest = digest,
};

/* Strings as a data type: encodings, memory, RDB, digest. */
#include "server/base/number.h"
#include "server/keyspace/digest.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_writer.h"
#include "server/types/string/string_internal.h"

#define EMBSTR_LEN_MAX 44u /* What clients know as "embstr" is never longer. */

static const char *encoding_name(const struct record *record) {
    switch (record_encoding(record)) {
    case STRING_INT:
        return "int";
    case STRING_EMBEDDED:
        return record_payload_len(record) <= EMBSTR_LEN_MAX ? "embstr" : "raw";
    default:
        return "raw";
    }
}

static size_t free_effort(const struct record *record) {
    (void)record;
    return 1;
}

static struct record *copy(const struct record *record, struct bytes key) {
    if (record_encoding(record) == STRING_INT)
        return string_record_create_i64(key, record_integer(record), false, 0);
    return string_record_create_text(key, string_view(record, NULL),
                                     record_encoding(record) == STRING_EMBEDDED_RAW, false, 0);
}

static size_t memory_used(const struct record *record, size_t samples) {
    (void)samples;
    return string_memory_used(record);
}

static uint64_t element_count(const struct record *record) {
    (void)record;
    return 1;
}

static uint8_t rdb_type(const struct record *record) {
    (void)record;
    return RDB_TYPE_STRING;
}

static void save(const struct record *record, struct rdb_writer *writer) {
    if (record_encoding(record) == STRING_INT) {
        rdb_write_integer(writer, record_integer(record));
    } else {
        rdb_write_string(writer, string_view(record, NULL));
    }
}

static struct record *share(const struct record *record) {
    if (record_encoding(record) != STRING_BLOB) return NULL;
    return string_record_create_blob(record_key(record), blob_retain(record_pointer(record)),
                                     record_has_deadline(record), record_deadline_ms(record));
}

static bool loads(uint8_t type) {
    return type == RDB_TYPE_STRING;
}

static enum status load(uint8_t type, struct rdb_reader *reader, struct bytes key,
                        const struct data_type_load_context *context, struct record **out_record) {
    (void)type;
    (void)context;
    struct bytes value;
    enum status status = rdb_read_view(reader, &value);
    if (status == STATUS_OK) *out_record = string_record_create(key, value, false, 0);
    return status;
}

static void digest(const struct record *record, struct digest *digest) {
    char scratch[NUMBER_TEXT_MAX];
    digest_mix(digest, string_view(record, scratch));
}

const struct data_type string_type = {
    .name = "string",
    .code = RECORD_STRING,
    .encoding_name = encoding_name,
    .destroy = string_destroy,
    .free_effort = free_effort,
    .copy = copy,
    .memory_used = memory_used,
    .element_count = element_count,
    .rdb_type = rdb_type,
    .save = save,
    .share = share,
    .loads = loads,
    .load = load,
    .digest = digest,
};

#include "server/rdb/rdb_file.h"

#include <string.h>

enum { FIRST_VERSION_WITH_CHECKSUM = 5 };

void rdb_file_init(struct rdb_file *file, struct rdb_reader *reader,
                   const struct rdb_file_options *options) {
    *file = (struct rdb_file){.reader = reader, .options = *options};
}

void rdb_file_deinit(struct rdb_file *file) {
    buffer_deinit(&file->name);
    buffer_deinit(&file->value);
}

const char *rdb_stage_name(enum rdb_stage stage) {
    static const char *const names[] = {
#define RDB_STAGE_TEXT(name, text) [name] = text,
        RDB_STAGE_LIST(RDB_STAGE_TEXT)
#undef RDB_STAGE_TEXT
    };
    return names[stage];
}

/* The number that digits of the header begin with. False: there is something else among them. */
static bool parse_version(const uint8_t *digits, unsigned count, unsigned *out) {
    *out = 0;
    for (unsigned i = 0; i < count; i++) {
        if (digits[i] < '0' || digits[i] > '9') return false;
        *out = *out * 10 + (digits[i] - '0');
    }
    return true;
}

static enum status read_header(struct rdb_file *file) {
    uint8_t header[RDB_HEADER_BYTES];
    enum status status = rdb_read_raw(file->reader, header, sizeof(header));
    if (status != STATUS_OK) return status;
    bool is_redis = memcmp(header, "REDIS", 5) == 0;
    bool is_valkey = memcmp(header, "VALKEY", 6) == 0;
    if (!is_redis && !is_valkey)
        return rdb_reader_fail(file->reader, STATUS_BAD_FORMAT,
                               "Wrong signature trying to load DB from file");
    bool is_number = is_redis ? parse_version(header + 5, 4, &file->version)
                              : parse_version(header + 6, 3, &file->version);
    bool is_known = is_redis ? file->version >= 1 && file->version <= RDB_VERSION_READABLE
                             : file->version == RDB_VERSION_READABLE_VALKEY;
    if (!is_number || !is_known)
        return rdb_reader_fail(file->reader, STATUS_UNSUPPORTED,
                               "Can't handle RDB format version %u", file->version);
    file->is_open = true;
    return STATUS_OK;
}

static enum status read_end(struct rdb_file *file, struct rdb_item *out) {
    file->stage = RDB_STAGE_CHECKSUM;
    out->kind = RDB_ITEM_END;
    out->checksum = RDB_CHECKSUM_ABSENT;
    if (file->version < FIRST_VERSION_WITH_CHECKSUM) return STATUS_OK;
    file->computed_checksum = rdb_reader_checksum(file->reader);
    uint8_t bytes[8];
    enum status status = rdb_read_raw(file->reader, bytes, sizeof(bytes));
    if (status != STATUS_OK) return status;
    file->stored_checksum = 0;
    for (unsigned i = 0; i < 8; i++)
        file->stored_checksum |= (uint64_t)bytes[i] << (8 * i);
    if (file->options.is_checksum_ignored)
        out->checksum = RDB_CHECKSUM_IGNORED;
    else if (file->stored_checksum == 0)
        out->checksum = RDB_CHECKSUM_DISABLED;
    else if (file->stored_checksum == file->computed_checksum)
        out->checksum = RDB_CHECKSUM_VERIFIED;
    else
        return rdb_reader_fail(file->reader, STATUS_BAD_CHECKSUM, "RDB CRC error");
    return STATUS_OK;
}

static enum status read_select_db(struct rdb_file *file, struct rdb_item *out) {
    file->stage = RDB_STAGE_LENGTH;
    out->kind = RDB_ITEM_SELECT_DB;
    enum status status = rdb_read_length(file->reader, &out->db);
    if (status != STATUS_OK) return status;
    uint64_t count = file->options.database_count;
    if (count != 0 && out->db >= count)
        return rdb_reader_fail(file->reader, STATUS_OUT_OF_RANGE,
                               "Data file was created with a Redis server configured to handle "
                               "more than %llu databases",
                               (unsigned long long)count);
    return STATUS_OK;
}

static enum status read_aux(struct rdb_file *file, struct rdb_item *out) {
    file->stage = RDB_STAGE_AUX;
    out->kind = RDB_ITEM_AUX;
    enum status status = rdb_read_string(file->reader, &file->name);
    if (status == STATUS_OK) status = rdb_read_string(file->reader, &file->value);
    if (status != STATUS_OK) return status;
    out->name = buffer_view(&file->name);
    out->value = buffer_view(&file->value);
    return STATUS_OK;
}

static enum status read_module_aux(struct rdb_file *file, struct rdb_item *out) {
    enum { MODULE_UINT = 2 };
    uint64_t id = 0;
    file->stage = RDB_STAGE_MODULE_AUX;
    enum status status = rdb_read_length(file->reader, &id);
    if (status != STATUS_OK) return status;
    char name[10];
    rdb_module_name(id, name);
    if (!file->options.is_skipping_modules)
        return rdb_reader_fail(file->reader, STATUS_UNSUPPORTED,
                               "The RDB file contains AUX module data I can't load: no matching "
                               "module '%s'",
                               name);
    uint64_t when_opcode = 0;
    uint64_t when = 0;
    status = rdb_read_length(file->reader, &when_opcode);
    if (status == STATUS_OK && when_opcode != MODULE_UINT)
        status = rdb_reader_fail(file->reader, STATUS_BAD_FORMAT, "bad when_opcode");
    if (status == STATUS_OK) status = rdb_read_length(file->reader, &when);
    if (status != STATUS_OK) return status;
    file->has_module_data = true;
    out->kind = RDB_ITEM_MODULE_AUX;
    buffer_clear(&file->name);
    buffer_append_text(&file->name, name);
    out->name = buffer_view(&file->name);
    return STATUS_OK;
}

static enum status refuse_module(struct rdb_file *file) {
    uint64_t id = 0;
    enum status status = rdb_read_length(file->reader, &id);
    if (status != STATUS_OK) return status;
    char name[10];
    rdb_module_name(id, name);
    return rdb_reader_fail(file->reader, STATUS_UNSUPPORTED,
                           "The RDB file contains module data I can't load: no matching module "
                           "type '%s'",
                           name);
}

static bool is_value_type(unsigned type) {
    return type <= RDB_TYPE_STREAM_3 && type != 8;
}

/* The name is read even when the type is unknown, so that the error comes after it, unless the
 * options want it otherwise. */
static enum status read_key(struct rdb_file *file, unsigned type, struct rdb_item *out) {
    if (file->options.checks_type_first && !is_value_type(type))
        return rdb_reader_fail(file->reader, STATUS_UNSUPPORTED, "Invalid object type: %u", type);
    file->stage = RDB_STAGE_KEY;
    file->key_type = type;
    out->kind = RDB_ITEM_KEY;
    out->type = type;
    if (file->options.leaves_names && is_value_type(type) && type != RDB_TYPE_MODULE &&
        type != RDB_TYPE_MODULE_PRE_GA) {
        out->is_name_left = true;
        return STATUS_OK;
    }
    enum status status = rdb_read_string(file->reader, &file->name);
    if (status != STATUS_OK) return status;
    file->stage = RDB_STAGE_VALUE;
    out->name = buffer_view(&file->name);
    if (type == RDB_TYPE_MODULE)
        return file->options.is_skipping_modules ? STATUS_OK : refuse_module(file);
    if (type == RDB_TYPE_MODULE_PRE_GA)
        return rdb_reader_fail(file->reader, STATUS_UNSUPPORTED,
                               "Pre-release module format not supported");
    if (!is_value_type(type))
        return rdb_reader_fail(file->reader, STATUS_UNSUPPORTED, "Unknown RDB encoding type %u",
                               type);
    return STATUS_OK;
}

static enum status read_expiry(struct rdb_file *file, unsigned opcode, struct rdb_item *out) {
    file->stage = RDB_STAGE_EXPIRY;
    out->has_expiry = true;
    if (opcode == RDB_OPCODE_EXPIRE_MS) return rdb_read_ms(file->reader, &out->expires_at_ms);
    uint8_t bytes[4];
    enum status status = rdb_read_raw(file->reader, bytes, sizeof(bytes));
    if (status != STATUS_OK) return status;
    uint32_t bits = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                    (uint32_t)bytes[3] << 24;
    out->expires_at_ms = (int64_t)(int32_t)bits * 1000;
    return STATUS_OK;
}

/* An opcode that only prepares the next key, or says nothing to us; the loop goes on after it. */
static enum status read_attribute(struct rdb_file *file, unsigned opcode, struct rdb_item *out) {
    struct rdb_reader *reader = file->reader;
    switch (opcode) {
    case RDB_OPCODE_IDLE:
        out->has_idle = true;
        return rdb_read_length(reader, &out->idle_seconds);
    case RDB_OPCODE_FREQ:
        out->has_freq = true;
        return rdb_read_u8(reader, &out->freq);
    case RDB_OPCODE_SLOT_INFO: {
        uint64_t hint = 0;
        enum status status = STATUS_OK;
        for (unsigned i = 0; i < 3 && status == STATUS_OK; i++)
            status = rdb_read_length(reader, &hint);
        return status;
    }
    default:
        return read_expiry(file, opcode, out);
    }
}

static enum status read_item(struct rdb_file *file, unsigned opcode, struct rdb_item *out) {
    struct rdb_reader *reader = file->reader;
    switch (opcode) {
    case RDB_OPCODE_END:
        return read_end(file, out);
    case RDB_OPCODE_SELECT_DB:
        return read_select_db(file, out);
    case RDB_OPCODE_RESIZE_DB: {
        file->stage = RDB_STAGE_LENGTH;
        out->kind = RDB_ITEM_RESIZE_DB;
        enum status status = rdb_read_length(reader, &out->key_count);
        return status == STATUS_OK ? rdb_read_length(reader, &out->expiry_count) : status;
    }
    case RDB_OPCODE_AUX:
        return read_aux(file, out);
    case RDB_OPCODE_FUNCTION: {
        file->stage = RDB_STAGE_FUNCTIONS;
        out->kind = RDB_ITEM_FUNCTION;
        enum status status = rdb_read_string(reader, &file->value);
        if (status == STATUS_OK) out->value = buffer_view(&file->value);
        return status;
    }
    case RDB_OPCODE_FUNCTION_PRE_GA:
        file->stage = RDB_STAGE_FUNCTIONS;
        return rdb_reader_fail(reader, STATUS_UNSUPPORTED,
                               "Pre-release function format not supported");
    case RDB_OPCODE_MODULE_AUX:
        return read_module_aux(file, out);
    default:
        return read_key(file, opcode, out);
    }
}

enum status rdb_file_next(struct rdb_file *file, struct rdb_item *out) {
    if (!file->is_open) {
        enum status status = read_header(file);
        if (status != STATUS_OK) return status;
    }
    if (file->has_module_data) {
        enum status status = rdb_skip_module_data(file->reader);
        if (status != STATUS_OK) return status;
        file->has_module_data = false;
    }
    for (;;) {
        uint8_t opcode = 0;
        file->stage = RDB_STAGE_TYPE;
        enum status status = rdb_read_u8(file->reader, &opcode);
        if (status != STATUS_OK) return status;
        struct rdb_item item = file->attributes;
        bool is_attribute = opcode == RDB_OPCODE_EXPIRE_MS || opcode == RDB_OPCODE_EXPIRE_SECONDS ||
                            opcode == RDB_OPCODE_IDLE || opcode == RDB_OPCODE_FREQ ||
                            opcode == RDB_OPCODE_SLOT_INFO;
        status = is_attribute ? read_attribute(file, opcode, &file->attributes)
                              : read_item(file, opcode, &item);
        if (status != STATUS_OK) return status;
        if (is_attribute) continue;
        if (item.kind == RDB_ITEM_KEY) file->attributes = (struct rdb_item){0};
        *out = item;
        return STATUS_OK;
    }
}

#include "server/rdb/rdb_commands.h"

#include <math.h>
#include <string.h>

#include "server/rdb/rdb_blob.h"
#include "server/rdb/rdb_commands_internal.h"
#include "server/rdb/rdb_file.h"
#include "server/resp/request.h"

/* -- out -- */

static void give(struct rdb_commands *commands, struct bytes bytes) {
    if (commands->status == STATUS_OK && bytes.len > 0)
        commands->status = commands->sink.write(commands->sink.context, bytes);
}

static void flush(struct rdb_commands *commands) {
    give(commands, buffer_view(&commands->out));
    buffer_clear(&commands->out);
}

void rdb_commands_begin(struct rdb_commands *commands, uint64_t count) {
    if (commands->out.len >= COMMAND_BYTES_MAX) flush(commands);
    buffer_append_u8(&commands->out, '*');
    buffer_append_i64(&commands->out, (int64_t)count);
    buffer_append(&commands->out, "\r\n", 2);
}

/* A long one is not copied. */
void rdb_commands_word(struct rdb_commands *commands, struct bytes word) {
    if (word.len < COMMAND_BYTES_MAX) {
        request_append_word(&commands->out, word);
        return;
    }
    buffer_append_format(&commands->out, "$%zu\r\n", word.len);
    flush(commands);
    give(commands, word);
    buffer_append(&commands->out, "\r\n", 2);
}

void rdb_commands_text(struct rdb_commands *commands, const char *word) {
    rdb_commands_word(commands, bytes_of_text(word));
}

void rdb_commands_number(struct rdb_commands *commands, int64_t number) {
    char digits[NUMBER_TEXT_MAX];
    rdb_commands_word(commands, bytes_of(digits, number_format_i64(number, digits)));
}

void rdb_commands_key(struct rdb_commands *commands) {
    rdb_commands_word(commands, buffer_view(&commands->key));
}

/* -- items of collections -- */

static void end_command(struct rdb_commands *commands) {
    if (commands->item_count == 0) return;
    rdb_commands_begin(commands, commands->word_count + 2);
    rdb_commands_text(commands, commands->verb);
    rdb_commands_key(commands);
    if (commands->out.len + commands->words.len > COMMAND_BYTES_MAX) flush(commands);
    if (commands->words.len > COMMAND_BYTES_MAX) {
        give(commands, buffer_view(&commands->words));
    } else {
        buffer_append_bytes(&commands->out, buffer_view(&commands->words));
    }
    buffer_clear(&commands->words);
    commands->word_count = commands->item_count = 0;
}

static void add_word(struct rdb_commands *commands, struct bytes word) {
    request_append_word(&commands->words, word);
    commands->word_count++;
}

static void add_score(struct rdb_commands *commands, double score) {
    char text[NUMBER_DOUBLE_TEXT_MAX];
    add_word(commands, bytes_of(text, number_format_double(score, text, sizeof(text))));
}

static struct bytes text_of(const struct listpack_value *value, char scratch[NUMBER_TEXT_MAX]) {
    if (value->text.data != NULL) return value->text;
    return bytes_of(scratch, number_format_i64(value->number, scratch));
}

static void end_item(struct rdb_commands *commands) {
    commands->item_count++;
    if (commands->item_count == COMMAND_ITEMS_MAX || commands->words.len >= COMMAND_BYTES_MAX)
        end_command(commands);
}

/* -- values -- */

static enum status write_string(struct rdb_commands *commands) {
    struct bytes value;
    enum status status = rdb_read_view(commands->reader, &value);
    if (status != STATUS_OK) return status;
    rdb_commands_begin(commands, 3);
    rdb_commands_text(commands, "SET");
    rdb_commands_key(commands);
    rdb_commands_word(commands, value);
    return STATUS_OK;
}

/* Strings that follow each other, an item each. */
static enum status add_strings(struct rdb_commands *commands, uint64_t count) {
    enum status status = STATUS_OK;
    for (uint64_t i = 0; status == STATUS_OK && i < count; i++) {
        struct bytes item;
        status = rdb_read_view(commands->reader, &item);
        if (status != STATUS_OK) break;
        add_word(commands, item);
        end_item(commands);
    }
    return status;
}

static enum status add_blob(struct rdb_commands *commands, unsigned type) {
    struct rdb_blob blob;
    struct rdb_blob_cursor cursor = {0};
    struct listpack_value value;
    char scratch[NUMBER_TEXT_MAX];
    enum status status = rdb_read_blob(commands->reader, type, &blob);
    if (status != STATUS_OK) return status;
    while (rdb_blob_next(&blob, &cursor, &value)) {
        add_word(commands, text_of(&value, scratch));
        end_item(commands);
    }
    rdb_blob_deinit(&blob);
    return STATUS_OK;
}

static enum status add_list_node(struct rdb_commands *commands, unsigned type) {
    uint64_t container = RDB_LIST_NODE_PACKED;
    enum status status = STATUS_OK;
    if (type == RDB_TYPE_LIST_NODES) status = rdb_read_length(commands->reader, &container);
    if (status != STATUS_OK) return status;
    if (container == RDB_LIST_NODE_PACKED) return add_blob(commands, type);
    if (container == RDB_LIST_NODE_PLAIN) return add_strings(commands, 1);
    return rdb_reader_fail(commands->reader, STATUS_BAD_FORMAT,
                           "Quicklist integrity check failed.");
}

static enum status add_list_nodes(struct rdb_commands *commands, unsigned type) {
    uint64_t count = 0;
    enum status status = rdb_read_count(commands->reader, &count);
    while (status == STATUS_OK && count-- > 0)
        status = add_list_node(commands, type);
    return status;
}

static enum status add_counted_strings(struct rdb_commands *commands) {
    uint64_t count = 0;
    enum status status = rdb_read_count(commands->reader, &count);
    return status == STATUS_OK ? add_strings(commands, count) : status;
}

static enum status add_pairs(struct rdb_commands *commands, unsigned type) {
    struct rdb_pairs pairs;
    enum status status = rdb_pairs_init(&pairs, commands->reader, type);
    if (status != STATUS_OK) return status;
    struct bytes field;
    struct bytes value;
    while ((status = rdb_pairs_next(&pairs, &field, &value)) == STATUS_OK) {
        add_word(commands, field);
        add_word(commands, value);
        end_item(commands);
    }
    rdb_pairs_deinit(&pairs);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* The command has the score first, the file the member. */
static enum status add_scored(struct rdb_commands *commands, unsigned type) {
    struct rdb_reader *reader = commands->reader;
    struct buffer member = {0};
    uint64_t count = 0;
    enum status status = rdb_read_count(reader, &count);
    while (status == STATUS_OK && count-- > 0) {
        double score = 0;
        status = rdb_read_string(reader, &member);
        if (status == STATUS_OK)
            status = type == RDB_TYPE_ZSET ? rdb_read_double(reader, &score)
                                           : rdb_read_text_double(reader, &score);
        if (status == STATUS_OK && isnan(score))
            status = rdb_reader_fail(reader, STATUS_BAD_FORMAT, "Zset with NAN score detected");
        if (status != STATUS_OK) break;
        add_score(commands, score);
        add_word(commands, buffer_view(&member));
        end_item(commands);
    }
    buffer_deinit(&member);
    return status;
}

static enum status add_scored_blob(struct rdb_commands *commands, unsigned type) {
    struct rdb_blob blob;
    struct rdb_blob_cursor cursor = {0};
    struct listpack_value member;
    struct listpack_value score;
    char scratch[2][NUMBER_TEXT_MAX];
    enum status status = rdb_read_blob(commands->reader, type, &blob);
    if (status != STATUS_OK) return status;
    while (rdb_blob_next(&blob, &cursor, &member) && rdb_blob_next(&blob, &cursor, &score)) {
        add_word(commands, text_of(&score, scratch[0]));
        add_word(commands, text_of(&member, scratch[1]));
        end_item(commands);
    }
    rdb_blob_deinit(&blob);
    return STATUS_OK;
}

static enum status write_value(struct rdb_commands *commands, unsigned type) {
    switch (type) {
    case RDB_TYPE_STRING:
        return write_string(commands);
    case RDB_TYPE_LIST:
        commands->verb = "RPUSH";
        return add_counted_strings(commands);
    case RDB_TYPE_LIST_ZIPLIST:
        commands->verb = "RPUSH";
        return add_blob(commands, type);
    case RDB_TYPE_LIST_ZIPLISTS:
    case RDB_TYPE_LIST_NODES:
        commands->verb = "RPUSH";
        return add_list_nodes(commands, type);
    case RDB_TYPE_SET:
        commands->verb = "SADD";
        return add_counted_strings(commands);
    case RDB_TYPE_SET_INTSET:
    case RDB_TYPE_SET_LISTPACK:
        commands->verb = "SADD";
        return add_blob(commands, type);
    case RDB_TYPE_ZSET:
    case RDB_TYPE_ZSET_TEXT:
        commands->verb = "ZADD";
        return add_scored(commands, type);
    case RDB_TYPE_ZSET_ZIPLIST:
    case RDB_TYPE_ZSET_LISTPACK:
        commands->verb = "ZADD";
        return add_scored_blob(commands, type);
    case RDB_TYPE_HASH:
    case RDB_TYPE_HASH_ZIPMAP:
    case RDB_TYPE_HASH_ZIPLIST:
    case RDB_TYPE_HASH_LISTPACK:
        commands->verb = "HMSET";
        return add_pairs(commands, type);
    case RDB_TYPE_STREAM_1:
    case RDB_TYPE_STREAM_2:
    case RDB_TYPE_STREAM_3:
        return rdb_commands_stream(commands, type);
    default:
        return rdb_reader_fail(commands->reader, STATUS_UNSUPPORTED,
                               "No commands build a value of RDB type %u", type);
    }
}

/* -- items of the file -- */

static void write_select(struct rdb_commands *commands, uint64_t db) {
    rdb_commands_begin(commands, 2);
    rdb_commands_text(commands, "SELECT");
    rdb_commands_number(commands, (int64_t)db);
}

static void write_function(struct rdb_commands *commands, struct bytes source) {
    rdb_commands_begin(commands, 3);
    rdb_commands_text(commands, "FUNCTION");
    rdb_commands_text(commands, "LOAD");
    rdb_commands_word(commands, source);
}

static enum status write_key(struct rdb_commands *commands, const struct rdb_item *item) {
    buffer_clear(&commands->key);
    buffer_append_bytes(&commands->key, item->name);
    enum status status = write_value(commands, item->type);
    if (status != STATUS_OK) return status;
    end_command(commands);
    if (!item->has_expiry) return STATUS_OK;
    rdb_commands_begin(commands, 3);
    rdb_commands_text(commands, "PEXPIREAT");
    rdb_commands_key(commands);
    rdb_commands_number(commands, item->expires_at_ms);
    return STATUS_OK;
}

static enum status write_items(struct rdb_commands *commands, struct rdb_file *file) {
    uint64_t db = 0;
    uint64_t selected = UINT64_MAX;
    while (commands->status == STATUS_OK) {
        struct rdb_item item;
        enum status status = rdb_file_next(file, &item);
        if (status == STATUS_OK && item.kind == RDB_ITEM_END) return STATUS_OK;
        if (status == STATUS_OK && item.kind == RDB_ITEM_SELECT_DB) db = item.db;
        if (status == STATUS_OK && item.kind == RDB_ITEM_FUNCTION)
            write_function(commands, item.value);
        if (status == STATUS_OK && item.kind == RDB_ITEM_KEY) {
            if (db != selected) write_select(commands, db);
            selected = db;
            status = write_key(commands, &item);
        }
        if (status != STATUS_OK) return status;
    }
    return commands->status;
}

enum status rdb_write_as_commands(struct rdb_reader *reader, struct rdb_sink sink) {
    struct rdb_commands commands = {.reader = reader, .sink = sink};
    struct rdb_file file;
    rdb_file_init(&file, reader, &(struct rdb_file_options){0});
    enum status status = write_items(&commands, &file);
    if (status == STATUS_OK) flush(&commands);
    if (status == STATUS_OK) status = commands.status;
    rdb_file_deinit(&file);
    buffer_deinit(&commands.out);
    buffer_deinit(&commands.key);
    buffer_deinit(&commands.words);
    return status;
}

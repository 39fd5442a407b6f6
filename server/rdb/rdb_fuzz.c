/* Every decoder of this folder over one input. What it promises: no read outside, no memory beyond
 * what the input pays for, an end. What it accepts must survive being walked and converted. */
#include "server/rdb/rdb_fuzz.h"

#include <string.h>

#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/rdb/rdb_blob.h"
#include "server/rdb/rdb_check.h"
#include "server/rdb/rdb_commands.h"
#include "server/rdb/rdb_dump.h"
#include "server/rdb/rdb_file.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_writer.h"
#include "server/resp/request.h"

/* Hands the input out in pieces of changing size, so that every border falls everywhere. */
struct dribble {
    struct bytes left;
    size_t step;
};

static enum status dribble_fill(void *context, uint8_t *out, size_t cap, size_t *out_len) {
    struct dribble *dribble = context;
    dribble->step = dribble->step * 5 % 251 + 1;
    size_t len = dribble->step;
    if (len > cap) len = cap;
    if (len > dribble->left.len) len = dribble->left.len;
    if (len > 0) memcpy(out, dribble->left.data, len);
    dribble->left = bytes_from(dribble->left, len);
    *out_len = len;
    return STATUS_OK;
}

static void walk_blob(struct rdb_blob *blob) {
    struct rdb_blob_cursor cursor = {0};
    struct listpack_value value;
    size_t count = 0;
    volatile uint8_t last = 0; // Each byte is really read.
    for (; rdb_blob_next(blob, &cursor, &value); count++) {
        for (size_t i = 0; i < value.text.len; i++)
            last = value.text.data[i];
    }
    (void)last;
    ASSERT(count == blob->count);
    uint8_t *block = NULL;
    if (rdb_blob_detach_listpack(blob, &block) != STATUS_OK) return;
    ASSERT(listpack_is_valid(bytes_of(block, listpack_bytes(block)), &count));
    for (size_t place = listpack_last(block); place != 0; place = listpack_prev(block, place))
        count--;
    ASSERT(count == 0);
    listpack_destroy(block);
}

static enum status read_pairs(struct rdb_reader *reader, unsigned type) {
    struct rdb_pairs pairs;
    enum status status = rdb_pairs_init(&pairs, reader, type);
    if (status != STATUS_OK) return status;
    struct bytes field;
    struct bytes value;
    do {
        status = rdb_pairs_next(&pairs, &field, &value);
    } while (status == STATUS_OK);
    rdb_pairs_deinit(&pairs);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status read_blob_value(struct rdb_reader *reader, unsigned type) {
    struct rdb_blob blob;
    enum status status = rdb_read_blob(reader, type, &blob);
    if (status != STATUS_OK) return status;
    walk_blob(&blob);
    rdb_blob_deinit(&blob);
    return STATUS_OK;
}

static enum status read_list_nodes(struct rdb_reader *reader) {
    uint64_t count = 0;
    enum status status = rdb_read_count(reader, &count);
    while (status == STATUS_OK && count-- > 0) {
        uint64_t container = 0;
        status = rdb_read_length(reader, &container);
        if (status != STATUS_OK) break;
        status = container == RDB_LIST_NODE_PACKED ? read_blob_value(reader, RDB_TYPE_LIST_NODES)
                                                   : rdb_skip_string(reader);
    }
    return status;
}

static enum status read_value(struct rdb_reader *reader, unsigned type) {
    switch (type) {
    case RDB_TYPE_HASH:
    case RDB_TYPE_HASH_ZIPMAP:
    case RDB_TYPE_HASH_ZIPLIST:
        return read_pairs(reader, type);
    case RDB_TYPE_LIST_ZIPLIST:
    case RDB_TYPE_SET_INTSET:
    case RDB_TYPE_ZSET_ZIPLIST:
    case RDB_TYPE_HASH_LISTPACK:
    case RDB_TYPE_ZSET_LISTPACK:
    case RDB_TYPE_SET_LISTPACK:
        return read_blob_value(reader, type);
    case RDB_TYPE_LIST_NODES:
        return read_list_nodes(reader);
    case RDB_TYPE_STRING: {
        struct buffer text = {0};
        enum status status = rdb_read_string(reader, &text);
        buffer_deinit(&text);
        return status;
    }
    default:
        return rdb_skip_value(reader, type);
    }
}

static void read_file(struct rdb_reader *reader, bool is_skipping_modules) {
    struct rdb_file file;
    rdb_file_init(&file, reader,
                  &(struct rdb_file_options){
                      .database_count = 16,
                      .is_checksum_ignored = true, // Else damage would end at the checksum.
                      .is_skipping_modules = is_skipping_modules,
                  });
    struct rdb_item item;
    enum status status = rdb_file_next(&file, &item);
    while (status == STATUS_OK && item.kind != RDB_ITEM_END) {
        if (item.kind == RDB_ITEM_KEY) status = read_value(reader, item.type);
        if (status == STATUS_OK) status = rdb_file_next(&file, &item);
    }
    ASSERT(status == reader->error.status);
    rdb_file_deinit(&file);
}

/* As a load on all cores does: each key is skipped, and what was held of it is what stands in the
 * input. Skipping accepts whatever reading does. */
static void gather_keys(struct bytes input, bool is_readable) {
    struct dribble dribble = {.left = input, .step = input.len % 89};
    struct rdb_reader reader;
    struct rdb_file file;
    struct rdb_item item;
    rdb_reader_init(&reader, (struct rdb_source){dribble_fill, &dribble});
    rdb_reader_retire_chunks(&reader, RDB_CHUNK_BYTES);
    rdb_file_init(&file, &reader,
                  &(struct rdb_file_options){.database_count = 16,
                                             .is_checksum_ignored = true,
                                             .is_skipping_modules = true,
                                             .leaves_names = true});
    enum status status = rdb_file_next(&file, &item);
    while (status == STATUS_OK && item.kind != RDB_ITEM_END) {
        uint64_t offset = rdb_reader_offset(&reader);
        if (item.kind == RDB_ITEM_KEY) {
            rdb_reader_hold(&reader);
            if (item.is_name_left) status = rdb_skip_string(&reader);
            if (status == STATUS_OK) status = rdb_skip_value(&reader, item.type);
            struct bytes held = rdb_reader_release(&reader);
            ASSERT(bytes_equal(held, bytes_of(input.data + offset, held.len)));
        }
        mem_free(rdb_reader_take_retired(&reader));
        if (status == STATUS_OK) status = rdb_file_next(&file, &item);
    }
    ASSERT(status == reader.error.status);
    ASSERT(!is_readable || status == STATUS_OK);
    rdb_file_deinit(&file);
    rdb_reader_deinit(&reader);
}

static void read_as_file(struct bytes input) {
    struct rdb_reader reader;
    rdb_reader_init_memory(&reader, input);
    read_file(&reader, true);
    enum status from_memory = reader.error.status;
    uint64_t checksum = rdb_reader_checksum(&reader);
    rdb_reader_deinit(&reader);

    struct dribble dribble = {.left = input, .step = input.len % 97};
    rdb_reader_init(&reader, (struct rdb_source){dribble_fill, &dribble});
    read_file(&reader, true);
    // Both ways of reading agree on whether the file is good, and on what they summed.
    ASSERT((from_memory == STATUS_OK) == (reader.error.status == STATUS_OK));
    ASSERT(from_memory != STATUS_OK || checksum == rdb_reader_checksum(&reader));
    rdb_reader_deinit(&reader);
    gather_keys(input, from_memory == STATUS_OK);
}

static void read_as_value(struct bytes input) {
    struct bytes content = input;
    if (rdb_dump_open(input, &content) != STATUS_OK) content = input;
    if (content.len == 0) return;
    struct rdb_reader reader;
    rdb_reader_init_memory(&reader, bytes_from(content, 1));
    enum status status = read_value(&reader, content.data[0]);
    ASSERT(status == reader.error.status);
    rdb_reader_deinit(&reader);
    rdb_reader_init_memory(&reader, bytes_from(content, 1));
    struct rdb_value_facts facts;
    enum status checked = rdb_check_value(&reader, content.data[0], &facts);
    ASSERT(checked == reader.error.status);
    ASSERT(checked != STATUS_OK || status == STATUS_OK); // What the check passes can be read.
    rdb_reader_deinit(&reader);
}

static enum status keep(void *context, struct bytes bytes) {
    buffer_append_bytes(context, bytes);
    return STATUS_OK;
}

/* Whatever is accepted becomes whole commands. */
static void read_as_commands(struct bytes input) {
    const struct request_limits limits = {
        .bulk_max = UINT32_MAX, .multibulk_max = INT32_MAX, .is_authenticated = true};
    struct dribble dribble = {.left = input, .step = input.len % 97};
    struct rdb_reader reader;
    struct buffer commands = {0};
    rdb_reader_init(&reader, (struct rdb_source){dribble_fill, &dribble});
    enum status status = rdb_write_as_commands(&reader, (struct rdb_sink){keep, &commands});
    ASSERT(status == reader.error.status);
    rdb_reader_deinit(&reader);
    struct bytes left = buffer_view(&commands);
    struct request request = {0};
    while (status == STATUS_OK && left.len > 0) {
        size_t used = 0;
        size_t need = 0;
        ASSERT(request_parse(&request, left, &limits, &used, &need) == REQUEST_COMPLETE);
        left = bytes_from(left, used);
    }
    request_deinit(&request);
    buffer_deinit(&commands);
}

static void read_as_blob(struct bytes input, enum rdb_blob_kind kind) {
    struct rdb_blob blob = {.kind = kind, .len = input.len};
    if (!rdb_blob_is_valid(kind, input, &blob.count)) return;
    blob.data = mem_alloc(input.len); // Exact: an over-read by the walk is seen, too.
    memcpy(blob.data, input.data, input.len);
    walk_blob(&blob);
    rdb_blob_deinit(&blob);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct bytes input = bytes_of(data, len);
    read_as_file(input);
    read_as_value(input);
    read_as_commands(input);
    for (int kind = RDB_BLOB_LISTPACK; kind <= RDB_BLOB_INTSET; kind++)
        read_as_blob(input, (enum rdb_blob_kind)kind);
    return 0;
}

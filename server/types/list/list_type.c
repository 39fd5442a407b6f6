/* Lists as a data type: encodings, memory, RDB, digest. */
#include "server/base/mem.h"
#include "server/keyspace/digest.h"
#include "server/rdb/rdb_blob.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_writer.h"
#include "server/types/list/list_internal.h"

/* Clients know one encoding of lists by name, whatever their size (docs/compatibility.md). */
static const char *encoding_name(const struct record *record) {
    (void)record;
    return "quicklist";
}

static size_t free_effort(const struct record *record) {
    const struct leaf_tree *tree = list_tree_of(record);
    return tree == NULL ? 1 : leaf_tree_leaf_count(tree);
}

static uint64_t element_count(const struct record *record) {
    return list_count(record);
}

/* -- memory -- */

struct memory_sample {
    size_t blocks;
    size_t bytes;
    size_t limit; /* 0: none. */
};

static void add_block(void *arg, const uint8_t *block) {
    struct memory_sample *sample = arg;
    if (sample->limit > 0 && sample->blocks >= sample->limit) return;
    sample->blocks++;
    sample->bytes += mem_usable_size(block);
}

static size_t memory_used(const struct record *record, size_t samples) {
    const struct leaf_tree *tree = list_tree_of(record);
    if (tree == NULL) return mem_usable_size(record_pointer(record));
    struct memory_sample sample = {.limit = samples};
    list_walk_blocks(record, add_block, &sample);
    return leaf_tree_memory_used(tree) + (size_t)((double)sample.bytes / (double)sample.blocks *
                                                  (double)leaf_tree_leaf_count(tree));
}

/* -- RDB -- */

static uint8_t rdb_type(const struct record *record) {
    (void)record;
    return RDB_TYPE_LIST_NODES;
}

static void save_block(void *arg, const uint8_t *block) {
    rdb_write_length(arg, RDB_LIST_NODE_PACKED);
    rdb_write_string(arg, bytes_of(block, listpack_bytes(block)));
}

/* place[0]: index of the next element. */
static bool save_step(const struct record *record, struct save_walk *walk,
                      struct rdb_writer *writer, size_t max_bytes) {
    const struct leaf_tree *tree = list_tree_of(record);
    uint64_t begin = rdb_writer_offset(writer);
    if (walk->place[0] == 0)
        rdb_write_length(writer, tree == NULL ? 1 : leaf_tree_leaf_count(tree));
    while (walk->place[0] < list_count(record)) {
        walk->place[0] = list_visit_block(record, walk->place[0], save_block, writer);
        if (rdb_writer_offset(writer) - begin >= max_bytes) break;
    }
    return walk->place[0] >= list_count(record);
}

static void save(const struct record *record, struct rdb_writer *writer) {
    struct save_walk walk = {0};
    (void)save_step(record, &walk, writer, SIZE_MAX);
}

static bool loads(uint8_t type) {
    return type == RDB_TYPE_LIST || type == RDB_TYPE_LIST_ZIPLIST ||
           type == RDB_TYPE_LIST_ZIPLISTS || type == RDB_TYPE_LIST_NODES;
}

/* A node becomes a leaf; a foreign one that is larger than ours is taken as it is. */
static enum status add_blob(struct record *record, struct rdb_reader *reader, uint8_t type) {
    struct rdb_blob blob;
    enum status status = rdb_read_blob(reader, type, &blob);
    if (status != STATUS_OK) return status;
    uint8_t *block = NULL;
    if (blob.count > 0) status = rdb_blob_detach_listpack(&blob, &block);
    rdb_blob_deinit(&blob);
    if (status != STATUS_OK)
        return rdb_reader_fail(reader, status, "List node too large to be kept");
    if (block != NULL) list_append_block_take(record, block);
    return STATUS_OK;
}

static enum status add_element(struct record *record, struct rdb_reader *reader,
                               const struct data_type_options *options) {
    struct bytes element;
    enum status status = rdb_read_view(reader, &element);
    if (status != STATUS_OK) return status;
    if (listpack_entry_bytes(element) > LISTPACK_MAX_BYTES - LISTPACK_EMPTY_BYTES)
        return rdb_reader_fail(reader, STATUS_TOO_BIG, "List element too large to be kept");
    list_push(record, element, false, options);
    return STATUS_OK;
}

static enum status add_node(struct record *record, struct rdb_reader *reader,
                            const struct data_type_options *options) {
    uint64_t container = 0;
    enum status status = rdb_read_length(reader, &container);
    if (status != STATUS_OK) return status;
    if (container == RDB_LIST_NODE_PACKED) return add_blob(record, reader, RDB_TYPE_LIST_NODES);
    if (container == RDB_LIST_NODE_PLAIN) return add_element(record, reader, options);
    return rdb_reader_fail(reader, STATUS_BAD_FORMAT, "Quicklist integrity check failed.");
}

static enum status load_parts(struct record *record, struct rdb_reader *reader, uint8_t type,
                              const struct data_type_options *options) {
    if (type == RDB_TYPE_LIST_ZIPLIST) return add_blob(record, reader, type);
    uint64_t count = 0;
    enum status status = rdb_read_count(reader, &count);
    for (uint64_t i = 0; status == STATUS_OK && i < count; i++) {
        if (type == RDB_TYPE_LIST) {
            status = add_element(record, reader, options);
        } else if (type == RDB_TYPE_LIST_ZIPLISTS) {
            status = add_blob(record, reader, type);
        } else {
            status = add_node(record, reader, options);
        }
    }
    return status;
}

static enum status load(uint8_t type, struct rdb_reader *reader, struct bytes key,
                        const struct data_type_load_context *context, struct record **out_record) {
    struct record *record = list_record_create(key);
    enum status status = load_parts(record, reader, type, context->options);
    if (status == STATUS_OK) list_settle(record, context->options);
    if (status != STATUS_OK || list_count(record) == 0) {
        list_destroy(record);
        record_free(record);
        record = NULL;
    }
    if (status == STATUS_OK) *out_record = record;
    return status;
}

/* -- digest -- */

static void digest_block(void *arg, const uint8_t *block) {
    char scratch[NUMBER_TEXT_MAX];
    for (size_t at = listpack_first(block); at != 0; at = listpack_next(block, at))
        digest_mix(arg, listpack_text(block, at, scratch));
}

static void digest(const struct record *record, struct digest *digest) {
    list_walk_blocks(record, digest_block, digest);
}

const struct data_type list_type = {
    .name = "list",
    .code = RECORD_LIST,
    .encoding_name = encoding_name,
    .destroy = list_destroy,
    .free_effort = free_effort,
    .copy = list_copy,
    .memory_used = memory_used,
    .element_count = element_count,
    .rdb_type = rdb_type,
    .save = save,
    .save_step = save_step,
    .loads = loads,
    .load = load,
    .digest = digest,
};

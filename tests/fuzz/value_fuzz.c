/* Values from any bytes, as RESTORE and a loader read them: each type's decoder either refuses
 * them, or makes a value that can be walked, copied and saved, and that comes back the same.
 *
 * Input: type byte of the RDB format | limits | the value. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "server/base/check.h"
#include "server/keyspace/digest.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_writer.h"
#include "server/types/registry.h"

/* In steps it comes out as in one piece. */
static void expect_same_in_steps(const struct data_type *type, const struct record *record,
                                 const struct rdb_writer *whole) {
    if (type->save_step == NULL) return;
    struct rdb_writer writer;
    struct save_walk walk = {0};
    rdb_writer_init(&writer, &whole->options);
    while (!type->save_step(record, &walk, &writer, 1)) {
    }
    ASSERT(bytes_equal(buffer_view(&writer.buffer), buffer_view(&whole->buffer)));
    rdb_writer_deinit(&writer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct data_type_options limits(uint8_t choice) {
    bool is_small = (choice & 1) != 0;
    return (struct data_type_options){
        .hash_max_listpack_entries = is_small ? 2 : 512,
        .hash_max_listpack_value = is_small ? 4 : 64,
        .set_max_intset_entries = is_small ? 2 : 512,
        .set_max_listpack_entries = is_small ? 3 : 128,
        .set_max_listpack_value = is_small ? 4 : 64,
        .zset_max_listpack_entries = is_small ? 2 : 128,
        .zset_max_listpack_value = is_small ? 4 : 64,
        .list_max_listpack_size = is_small ? 2 : -2,
        .list_compress_depth = (choice & 2) != 0 ? 1 : 0,
        .stream_node_max_entries = 100,
        .stream_node_max_bytes = 4096,
    };
}

static const struct data_type *type_for(uint8_t rdb_type) {
    for (size_t i = 0; i < RECORD_TYPE_COUNT; i++) {
        if (registry_types[i] != NULL && registry_types[i]->loads(rdb_type))
            return registry_types[i];
    }
    return NULL;
}

static struct record *load(const struct data_type *type, uint8_t rdb_type, struct bytes bytes,
                           const struct data_type_options *options, bool is_ours) {
    const struct data_type_load_context context = {options, 7, true};
    struct rdb_reader reader;
    struct record *record = NULL;
    rdb_reader_init_memory(&reader, bytes);
    enum status status = type->load(rdb_type, &reader, BYTES_LITERAL("key"), &context, &record);
    ASSERT(status == STATUS_OK || (record == NULL && !is_ours));
    rdb_reader_deinit(&reader);
    return record;
}

static void release(const struct data_type *type, struct record *record) {
    type->destroy(record);
    record_free(record);
}

static void expect_same(const struct data_type *type, const struct record *a,
                        const struct record *b) {
    struct digest left = {{0}};
    struct digest right = {{0}};
    type->digest(a, &left);
    type->digest(b, &right);
    ASSERT(memcmp(left.bytes, right.bytes, sizeof(left.bytes)) == 0);
    ASSERT(type->element_count(a) == type->element_count(b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    const struct data_type *type = type_for(data[0]);
    if (type == NULL) return 0;
    struct data_type_options options = limits(data[1]);
    struct record *record = load(type, data[0], bytes_of(data + 2, size - 2), &options, false);
    if (record == NULL) return 0;
    (void)type->encoding_name(record);
    (void)type->memory_used(record, 0);
    (void)type->free_effort(record);
    struct record *copy = type->copy(record, BYTES_LITERAL("copy"));
    expect_same(type, record, copy);
    release(type, copy);
    struct rdb_writer writer;
    rdb_writer_init(&writer, &(struct rdb_writer_options){.is_compressing = (data[1] & 4) != 0});
    type->save(record, &writer);
    expect_same_in_steps(type, record, &writer);
    struct record *again =
        load(type, type->rdb_type(record), buffer_view(&writer.buffer), &options, true);
    ASSERT(again != NULL);
    expect_same(type, record, again);
    release(type, again);
    rdb_writer_deinit(&writer);
    release(type, record);
    return 0;
}

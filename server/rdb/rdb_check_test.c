#include <stdio.h>

#include <criterion/criterion.h>

#include "server/base/compiler.h"
#include "server/base/mem.h"
#include "server/rdb/rdb_check.h"
#include "server/rdb/rdb_file.h"
#include "server/rdb/rdb_stream_node.h"
#include "server/rdb/rdb_writer.h"
#include "server/structs/listpack.h"

/* Text literals hold NULs: the length is the array's. */
#define RAW(text) BYTES_LITERAL(text)

struct value_case {
    unsigned type;
    struct bytes value;
    const char *reason; /* NULL: good. */
    uint64_t elements;
    bool is_empty;
};

static void assert_checked(const struct value_case *expected, size_t index) {
    struct rdb_reader reader;
    struct rdb_value_facts facts = {0};
    rdb_reader_init_memory(&reader, expected->value);
    enum status status = rdb_check_value(&reader, expected->type, &facts);
    cr_assert_eq(status == STATUS_OK, expected->reason == NULL, "case %zu: %s", index,
                 reader.error.reason);
    if (expected->reason != NULL) {
        cr_assert_str_eq(reader.error.reason, expected->reason, "case %zu", index);
    } else {
        cr_assert_eq(facts.element_count, expected->elements, "case %zu", index);
        cr_assert_eq(facts.is_empty, expected->is_empty, "case %zu", index);
        cr_assert_eq(rdb_reader_offset(&reader), expected->value.len, "case %zu", index);
    }
    rdb_reader_deinit(&reader);
}

static void assert_all_checked(const struct value_case *cases, size_t count) {
    for (size_t i = 0; i < count; i++)
        assert_checked(&cases[i], i);
}

Test(rdb_check, counts_elements_and_refuses_what_a_loader_refuses) {
    const struct value_case cases[] = {
        {RDB_TYPE_STRING, RAW("\1a"), NULL, 1, false},
        {RDB_TYPE_STRING, RAW("\2a"), "Unexpected EOF reading RDB file", 0, false},
        {RDB_TYPE_STRING, RAW("\xc3\1\4\0"), "Invalid LZF compressed string", 0, false},
        {RDB_TYPE_LIST, RAW("\2\1a\1a"), NULL, 2, false},
        {RDB_TYPE_LIST, RAW("\0"), NULL, 0, true},
        {RDB_TYPE_SET, RAW("\2\1a\1b"), NULL, 2, false},
        {RDB_TYPE_SET, RAW("\2\1a\1a"), "Duplicate set members detected", 0, false},
        {RDB_TYPE_HASH, RAW("\2\1a\1v\1b\1v"), NULL, 2, false},
        {RDB_TYPE_HASH, RAW("\2\1a\1v\1a\1w"), "Duplicate hash fields detected", 0, false},
        {RDB_TYPE_ZSET_TEXT, RAW("\2\1a\0011\1b\0012"), NULL, 2, false},
        {RDB_TYPE_ZSET_TEXT, RAW("\2\1a\0011\1a\0012"), "Duplicate zset fields detected", 0, false},
        {RDB_TYPE_ZSET_TEXT, RAW("\1\1a\xfd"), "Zset with NAN score detected", 0, false},
        {RDB_TYPE_SET_INTSET, RAW("\x0c\2\0\0\0\2\0\0\0\1\0\2\0"), NULL, 2, false},
        {RDB_TYPE_SET_INTSET, RAW("\x0c\2\0\0\0\2\0\0\0\2\0\1\0"), "Intset integrity check failed.",
         0, false},
        {RDB_TYPE_HASH_LISTPACK, RAW("\x0b\x0b\0\0\0\2\0\1\1\2\1\xff"), NULL, 1, false},
        {RDB_TYPE_LIST_NODES, RAW("\1\1\1a"), NULL, 1, false},
        {RDB_TYPE_LIST_NODES, RAW("\1\3\1a"), "Quicklist integrity check failed.", 0, false},
        {RDB_TYPE_MODULE, RAW("\1\2\7\0"), NULL, 1, false},
    };
    assert_all_checked(cases, ARRAY_COUNT(cases));
}

Test(rdb_check, finds_the_last_of_many_members_twice) {
    enum { MEMBERS = 5000 };
    struct rdb_writer writer;
    rdb_writer_init(&writer, &(struct rdb_writer_options){0});
    rdb_write_length(&writer, MEMBERS + 1);
    for (int i = 0; i <= MEMBERS; i++) {
        char text[16];
        snprintf(text, sizeof(text), "member%d", i == MEMBERS ? MEMBERS - 1 : i);
        rdb_write_string(&writer, bytes_of_text(text));
    }
    assert_checked(&(struct value_case){RDB_TYPE_SET, buffer_view(&writer.buffer),
                                        "Duplicate set members detected", 0, false},
                   0);
    rdb_writer_deinit(&writer);
}

/* -- streams -- */

/* A node with one field and the entries 0-0 and 0-1 behind its id, the second deleted. */
static uint8_t *node_create(void) {
    static const int64_t numbers[] = {1, 1, 1, 7, 0, 2, 0, 0, 5, 4, 3, 0, 1, 6, 4};
    uint8_t *block = listpack_create(0);
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++)
        listpack_append_i64(&block, numbers[i]);
    return block;
}

Test(rdb_stream_node, tells_the_living_and_the_last_of_them) {
    uint8_t *block = node_create();
    struct rdb_stream_node node;
    cr_assert(rdb_stream_node_read(block, &node));
    cr_assert_eq(node.living_count, 1);
    cr_assert_eq(node.last_seq_diff, 0);
    listpack_destroy(block);
}

Test(rdb_stream_node, refuses_each_number_that_is_changed) {
    static const size_t decisive[] = {0, 1, 2, 4, 5, 9, 10, 14};
    for (size_t i = 0; i < ARRAY_COUNT(decisive); i++) {
        uint8_t *block = node_create();
        struct rdb_stream_node node;
        listpack_replace_i64(&block, listpack_seek(block, (int64_t)decisive[i]), 9);
        cr_assert_not(rdb_stream_node_read(block, &node), "element %zu", decisive[i]);
        listpack_destroy(block);
    }
}

struct stream_parts {
    uint64_t len;
    uint64_t last_ms;
    struct bytes groups; /* Count and groups. */
};

static void assert_stream(const struct stream_parts *parts, const char *reason) {
    struct rdb_writer writer;
    uint8_t *block = node_create();
    rdb_writer_init(&writer, &(struct rdb_writer_options){0});
    rdb_write_length(&writer, 1);
    rdb_write_length(&writer, 16);
    rdb_write_stream_id(&writer, 5, 1);
    rdb_write_string(&writer, bytes_of(block, listpack_bytes(block)));
    rdb_write_length(&writer, parts->len);
    rdb_write_length(&writer, parts->last_ms);
    rdb_write_length(&writer, 1);
    buffer_append_bytes(&writer.buffer, parts->groups);
    assert_checked(
        &(struct value_case){RDB_TYPE_STREAM_1, buffer_view(&writer.buffer), reason, 1, false}, 0);
    listpack_destroy(block);
    rdb_writer_deinit(&writer);
}

#define ID_5_1 "\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\1"
#define TIME "\1\0\0\0\0\0\0\0"

Test(rdb_check, holds_the_counters_of_a_stream_against_its_entries) {
    assert_stream(&(struct stream_parts){1, 5, RAW("\0")}, NULL);
    assert_stream(&(struct stream_parts){2, 5, RAW("\0")},
                  "Stream length inconsistent with its entries");
    assert_stream(&(struct stream_parts){1, 4, RAW("\0")},
                  "Stream entry behind the last generated ID");
}

Test(rdb_check, holds_pending_entries_of_consumers_against_their_group) {
    assert_stream(&(struct stream_parts){1, 5,
                                         RAW("\1\1g\0\0\1" ID_5_1 TIME "\1"
                                             "\1\1c" TIME "\1" ID_5_1)},
                  NULL);
    assert_stream(&(struct stream_parts){1, 5,
                                         RAW("\1\1g\0\0\1" ID_5_1 TIME "\1"
                                             "\1\1c" TIME "\0")},
                  "NACK entry without consumer");
    assert_stream(&(struct stream_parts){1, 5, RAW("\1\1g\0\0\0\1\1c" TIME "\1" ID_5_1)},
                  "Consumer entry not found in group global PEL");
    assert_stream(&(struct stream_parts){1, 5,
                                         RAW("\1\1g\0\0\2" ID_5_1 TIME "\1" ID_5_1 TIME "\1"
                                             "\0")},
                  "Duplicated global PEL entry loading stream consumer group");
    assert_stream(&(struct stream_parts){1, 5, RAW("\1\1g\0\0\0\2\1c" TIME "\0\1c" TIME "\0")},
                  "Duplicate stream consumer detected");
    assert_stream(&(struct stream_parts){1, 5, RAW("\2\1g\0\0\0\0\1g\0\0\0\0")},
                  "Duplicated consumer group name");
}

/* -- what a file's reading was at -- */

Test(rdb_file, says_at_which_step_it_failed) {
    static const struct {
        struct bytes input;
        const char *stage;
        const char *reason; /* NULL: the input ends too early. */
    } cases[] = {
        {RAW("REDIS00"), "start", NULL},
        {RAW("REDIS0010"), "read-type", NULL},
        {RAW("REDIS0010\xf8"), "read-type", NULL},
        {RAW("REDIS0010\x08\1k"), "read-type", "Invalid object type: 8"},
        {RAW("REDIS0010\xfa\1a"), "read-aux", NULL},
        {RAW("REDIS0010\xfe"), "read-len", NULL},
        {RAW("REDIS0010\xfb\1"), "read-len", NULL},
        {RAW("REDIS0010\xfc\1"), "read-expire", NULL},
        {RAW("REDIS0010\xf5\4ab"), "read-functions", NULL},
        {RAW("REDIS0010\xf7\1\2\2"), "read-module-aux", NULL},
        {RAW("REDIS0010\xf7\1\2\2\2"), "read-module-aux", NULL},
        {RAW("REDIS0010\0\2k"), "read-key", NULL},
        {RAW("REDIS0010\0\1k\4a"), "read-object-value", NULL},
        {RAW("REDIS0010\xff\1\1\1\1\1\1\1\1"), "check-sum", "RDB CRC error"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct rdb_reader reader;
        struct rdb_file file;
        struct rdb_item item = {0};
        rdb_reader_init_memory(&reader, cases[i].input);
        rdb_file_init(
            &file, &reader,
            &(struct rdb_file_options){.is_skipping_modules = true, .checks_type_first = true});
        enum status status = STATUS_OK;
        while (status == STATUS_OK) {
            status = rdb_file_next(&file, &item);
            if (status == STATUS_OK && item.kind == RDB_ITEM_KEY)
                status = rdb_skip_value(&reader, item.type);
        }
        cr_assert_str_eq(rdb_stage_name(file.stage), cases[i].stage, "case %zu", i);
        cr_assert_str_eq(reader.error.reason, cases[i].reason == NULL
                                                  ? "Unexpected EOF reading RDB file"
                                                  : cases[i].reason);
        rdb_file_deinit(&file);
        rdb_reader_deinit(&reader);
    }
}

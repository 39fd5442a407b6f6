#include <math.h>
#include <string.h>

#include <criterion/criterion.h>

#include "server/base/mem.h"
#include "server/rdb/rdb_commands.h"
#include "server/resp/request.h"
#include "server/structs/listpack.h"

static enum status keep(void *context, struct bytes bytes) {
    buffer_append_bytes(context, bytes);
    return STATUS_OK;
}

static void append_words(struct buffer *out, const struct request *request) {
    for (uint32_t i = 0; i < request->argc; i++) {
        if (i > 0) buffer_append_u8(out, ' ');
        buffer_append_bytes(out, request->argv[i]);
    }
    buffer_append_u8(out, '\n');
}

/* A line for each command, its words between blanks. */
static void append_lines(struct buffer *out, struct bytes commands) {
    const struct request_limits limits = {
        .bulk_max = 1 << 30, .multibulk_max = 1 << 20, .is_authenticated = true};
    struct request request = {0};
    while (commands.len > 0) {
        size_t used = 0;
        size_t need = 0;
        cr_assert(request_parse(&request, commands, &limits, &used, &need) == REQUEST_COMPLETE);
        append_words(out, &request);
        commands = bytes_from(commands, used);
    }
    request_deinit(&request);
}

/* Converts what the writer holds, behind a header and before an end. */
static enum status convert(const struct rdb_writer *body, struct buffer *out_lines) {
    struct rdb_writer file;
    struct rdb_reader reader;
    struct buffer commands = {0};
    rdb_writer_init(&file, &(struct rdb_writer_options){.has_checksum = true});
    rdb_write_header(&file);
    rdb_write_aux(&file, "redis-ver", BYTES_LITERAL("7.0.15"));
    rdb_write_raw(&file, buffer_view(&body->buffer));
    rdb_write_end(&file);
    rdb_reader_init_memory(&reader, buffer_view(&file.buffer));
    enum status status = rdb_write_as_commands(&reader, (struct rdb_sink){keep, &commands});
    append_lines(out_lines, buffer_view(&commands));
    buffer_append_u8(out_lines, 0);
    buffer_deinit(&commands);
    rdb_reader_deinit(&reader);
    rdb_writer_deinit(&file);
    return status;
}

static void expect_lines(struct rdb_writer *body, const char *expected) {
    struct buffer lines = {0};
    cr_expect(convert(body, &lines) == STATUS_OK);
    cr_expect_str_eq((const char *)lines.data, expected);
    buffer_deinit(&lines);
    rdb_writer_deinit(body);
}

static struct rdb_writer begin(void) {
    struct rdb_writer writer;
    rdb_writer_init(&writer, &(struct rdb_writer_options){0});
    return writer;
}

static void text(struct rdb_writer *writer, const char *word) {
    rdb_write_string(writer, bytes_of_text(word));
}

Test(rdb_commands, select_a_database_before_its_first_key_only) {
    struct rdb_writer writer = begin();
    rdb_write_select_db(&writer, 0);
    rdb_write_select_db(&writer, 3);
    rdb_write_key(&writer, RDB_TYPE_STRING, BYTES_LITERAL("a"));
    text(&writer, "1");
    rdb_write_select_db(&writer, 3);
    rdb_write_expiry(&writer, 1234567890123);
    rdb_write_key(&writer, RDB_TYPE_STRING, BYTES_LITERAL("b"));
    rdb_write_integer(&writer, -7);
    rdb_write_select_db(&writer, 0);
    rdb_write_key(&writer, RDB_TYPE_STRING, BYTES_LITERAL("c"));
    text(&writer, "");
    expect_lines(&writer, "SELECT 3\nSET a 1\nSET b -7\nPEXPIREAT b 1234567890123\n"
                          "SELECT 0\nSET c \n");
}

Test(rdb_commands, cut_collections_into_pieces_of_64) {
    struct rdb_writer writer = begin();
    rdb_write_key(&writer, RDB_TYPE_SET, BYTES_LITERAL("s"));
    rdb_write_length(&writer, 65);
    for (int64_t i = 0; i < 65; i++)
        rdb_write_integer(&writer, i);
    struct buffer lines = {0};
    cr_assert(convert(&writer, &lines) == STATUS_OK);
    const char *second = strstr((const char *)lines.data, " 63\n");
    cr_assert(second != NULL);
    cr_expect_str_eq(second, " 63\nSADD s 64\n");
    buffer_deinit(&lines);
    rdb_writer_deinit(&writer);
}

Test(rdb_commands, join_the_nodes_of_a_list) {
    struct rdb_writer writer = begin();
    uint8_t *node = listpack_create(0);
    listpack_append(&node, BYTES_LITERAL("a"));
    listpack_append_i64(&node, 12);
    rdb_write_key(&writer, RDB_TYPE_LIST_NODES, BYTES_LITERAL("l"));
    rdb_write_length(&writer, 2);
    rdb_write_length(&writer, RDB_LIST_NODE_PACKED);
    rdb_write_string(&writer, bytes_of(node, listpack_bytes(node)));
    rdb_write_length(&writer, RDB_LIST_NODE_PLAIN);
    text(&writer, "whole");
    listpack_destroy(node);
    expect_lines(&writer, "SELECT 0\nRPUSH l a 12 whole\n");
}

Test(rdb_commands, have_scores_that_read_back) {
    struct rdb_writer writer = begin();
    rdb_write_key(&writer, RDB_TYPE_ZSET, BYTES_LITERAL("z"));
    rdb_write_length(&writer, 3);
    text(&writer, "a");
    rdb_write_double(&writer, -INFINITY);
    text(&writer, "b");
    rdb_write_double(&writer, 0.1);
    text(&writer, "c");
    rdb_write_double(&writer, 3);
    rdb_write_key(&writer, RDB_TYPE_HASH, BYTES_LITERAL("h"));
    rdb_write_length(&writer, 1);
    text(&writer, "f");
    text(&writer, "v");
    expect_lines(&writer, "SELECT 0\nZADD z -inf a 0.1 b 3 c\nHMSET h f v\n");
}

/* A node of two living entries and a deleted one. */
static void write_node(struct rdb_writer *writer) {
    static const int64_t deleted[] = {3, 0, 1};
    uint8_t *node = listpack_create(0);
    listpack_append_i64(&node, 2);
    listpack_append_i64(&node, 1);
    listpack_append_i64(&node, 1);
    listpack_append(&node, BYTES_LITERAL("f"));
    listpack_append_i64(&node, 0);
    listpack_append_i64(&node, 2); // As the node's: one field.
    listpack_append_i64(&node, 0);
    listpack_append_i64(&node, 0);
    listpack_append(&node, BYTES_LITERAL("v"));
    listpack_append_i64(&node, 4);
    for (unsigned i = 0; i < 3; i++)
        listpack_append_i64(&node, deleted[i]);
    listpack_append(&node, BYTES_LITERAL("gone"));
    listpack_append_i64(&node, 4);
    listpack_append_i64(&node, 0); // Fields of its own.
    listpack_append_i64(&node, 5);
    listpack_append_i64(&node, 0);
    listpack_append_i64(&node, 1);
    listpack_append(&node, BYTES_LITERAL("g"));
    listpack_append(&node, BYTES_LITERAL("w"));
    listpack_append_i64(&node, 6);
    rdb_write_length(writer, 16);
    rdb_write_stream_id(writer, 10, 0);
    rdb_write_string(writer, bytes_of(node, listpack_bytes(node)));
    listpack_destroy(node);
}

static void write_lengths(struct rdb_writer *writer, const uint64_t *lengths, size_t count) {
    for (size_t i = 0; i < count; i++)
        rdb_write_length(writer, lengths[i]);
}

/* A group with an entry that is pending for one consumer, and another consumer. */
static void write_group(struct rdb_writer *writer, uint64_t pending_ms) {
    rdb_write_length(writer, 1);
    text(writer, "grp");
    write_lengths(writer, (const uint64_t[]){10, 0, 1}, 3);
    rdb_write_length(writer, 1);
    rdb_write_stream_id(writer, 10, 0);
    rdb_write_ms(writer, 777);
    rdb_write_length(writer, 4);
    rdb_write_length(writer, 2);
    text(writer, "alice");
    rdb_write_ms(writer, 800);
    rdb_write_length(writer, 1);
    rdb_write_stream_id(writer, pending_ms, 0);
    text(writer, "bob");
    rdb_write_ms(writer, 800);
    rdb_write_length(writer, 0);
}

Test(rdb_commands, build_a_stream_with_its_groups) {
    struct rdb_writer writer = begin();
    rdb_write_key(&writer, RDB_TYPE_STREAM_2, BYTES_LITERAL("x"));
    rdb_write_length(&writer, 1);
    write_node(&writer);
    write_lengths(&writer, (const uint64_t[]){2, 15, 0, 10, 0, 10, 1, 3}, 8);
    write_group(&writer, 10);
    expect_lines(&writer, "SELECT 0\nXADD x 10-0 f v\nXADD x 15-0 g w\n"
                          "XSETID x 15-0 ENTRIESADDED 3 MAXDELETEDID 10-1\n"
                          "XGROUP CREATE x grp 10-0 ENTRIESREAD 1\n"
                          "XCLAIM x grp alice 0 10-0 TIME 777 RETRYCOUNT 4 JUSTID FORCE\n"
                          "XGROUP CREATECONSUMER x grp bob\n");
}

Test(rdb_commands, build_a_stream_without_entries) {
    struct rdb_writer writer = begin();
    rdb_write_key(&writer, RDB_TYPE_STREAM_2, BYTES_LITERAL("x"));
    write_lengths(&writer, (const uint64_t[]){0, 0, 5, 1, 0, 0, 5, 1, 1, 0}, 10);
    expect_lines(&writer, "SELECT 0\nXADD x MAXLEN 0 0-1 x y\n"
                          "XSETID x 5-1 ENTRIESADDED 1 MAXDELETEDID 5-1\n");
}

Test(rdb_commands, end_at_damage) {
    struct rdb_writer writer = begin();
    struct buffer lines = {0};
    rdb_write_key(&writer, RDB_TYPE_STREAM_2, BYTES_LITERAL("x"));
    rdb_write_length(&writer, 0);
    write_lengths(&writer, (const uint64_t[]){0, 15, 0, 10, 0, 10, 1, 3}, 8);
    write_group(&writer, 11); // Pending for a consumer, not for the group.
    cr_expect(convert(&writer, &lines) == STATUS_BAD_FORMAT);
    buffer_deinit(&lines);
    rdb_writer_deinit(&writer);
}

static enum status fail(void *context, struct bytes bytes) {
    (void)context;
    (void)bytes;
    return STATUS_IO_ERROR;
}

Test(rdb_commands, say_what_the_sink_said) {
    struct rdb_writer writer = begin();
    struct rdb_reader reader;
    rdb_write_header(&writer);
    rdb_write_key(&writer, RDB_TYPE_STRING, BYTES_LITERAL("a"));
    text(&writer, "1");
    rdb_write_end(&writer);
    rdb_reader_init_memory(&reader, buffer_view(&writer.buffer));
    cr_expect(rdb_write_as_commands(&reader, (struct rdb_sink){fail, NULL}) == STATUS_IO_ERROR);
    rdb_reader_deinit(&reader);
    rdb_writer_deinit(&writer);
}

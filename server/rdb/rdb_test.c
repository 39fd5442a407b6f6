#include <math.h>

#include <criterion/criterion.h>

#include "server/base/crc.h"
#include "server/base/mem.h"
#include "server/base/rng.h"
#include "server/rdb/rdb_blob.h"
#include "server/rdb/rdb_dump.h"
#include "server/rdb/rdb_file.h"
#include "server/rdb/rdb_fuzz.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_writer.h"

static const struct rdb_writer_options to_memory = {.has_checksum = true, .is_compressing = true};

static struct bytes written(const struct rdb_writer *writer) {
    return buffer_view(&writer->buffer);
}

#define BYTES(...) bytes_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

Test(rdb_writer, writes_lengths_in_their_shortest_form) {
    static const struct {
        uint64_t length;
        size_t bytes;
        uint8_t first;
    } cases[] = {
        {0, 1, 0},        {63, 1, 63},           {64, 2, 0x40},         {16383, 2, 0x7f},
        {16384, 5, 0x80}, {UINT32_MAX, 5, 0x80}, {1ull << 32, 9, 0x81}, {UINT64_MAX, 9, 0x81},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct rdb_writer writer;
        rdb_writer_init(&writer, &to_memory);
        rdb_write_length(&writer, cases[i].length);
        cr_assert_eq(writer.buffer.len, cases[i].bytes);
        cr_assert_eq(writer.buffer.data[0], cases[i].first);
        struct rdb_reader reader;
        rdb_reader_init_memory(&reader, written(&writer));
        uint64_t length = 0;
        cr_assert_eq(rdb_read_length(&reader, &length), STATUS_OK);
        cr_assert_eq(length, cases[i].length);
        rdb_reader_deinit(&reader);
        rdb_writer_deinit(&writer);
    }
}

static void assert_string_bytes(struct bytes text, struct bytes expected) {
    struct rdb_writer writer;
    rdb_writer_init(&writer, &to_memory);
    rdb_write_string(&writer, text);
    cr_assert(bytes_equal(written(&writer), expected), "%.*s", (int)text.len, text.data);
    struct rdb_reader reader;
    rdb_reader_init_memory(&reader, written(&writer));
    struct bytes back;
    cr_assert_eq(rdb_read_view(&reader, &back), STATUS_OK);
    cr_assert(bytes_equal(back, text));
    cr_assert_eq(rdb_reader_offset(&reader), writer.buffer.len);
    rdb_reader_deinit(&reader);
    rdb_writer_deinit(&writer);
}

Test(rdb_writer, follows_the_string_rule) {
    assert_string_bytes(BYTES_LITERAL("12345"), BYTES(0xc1, 0x39, 0x30));
    assert_string_bytes(BYTES_LITERAL("-1"), BYTES(0xc0, 0xff));
    assert_string_bytes(BYTES_LITERAL("-2147483648"), BYTES(0xc2, 0, 0, 0, 0x80));
    assert_string_bytes(BYTES_LITERAL("2147483648"), BYTES_LITERAL("\x0a"
                                                                   "2147483648"));
    assert_string_bytes(BYTES_LITERAL("007"), BYTES_LITERAL("\x03"
                                                            "007"));
    assert_string_bytes((struct bytes){0}, BYTES(0));
    assert_string_bytes(BYTES_LITERAL("aaaaaaaaaaaaaaaaaaaaa"),
                        BYTES(0xc3, 0x06, 0x15, 0x01, 0x61, 0x61, 0xe0, 0x0a, 0x00));
    assert_string_bytes(BYTES_LITERAL("aaaaaaaaaaaaaaaaaaaa"),
                        BYTES_LITERAL("\x14"
                                      "aaaaaaaaaaaaaaaaaaaa"));
}

static size_t bytes_to_write(struct rdb_writer *writer, struct bytes text) {
    uint64_t before = rdb_writer_offset(writer);
    rdb_write_string(writer, text);
    return rdb_writer_offset(writer) - before;
}

static void fill_pattern(uint8_t *out, size_t len);

Test(rdb_writer, gives_up_compression_of_a_length_that_never_got_smaller_and_finds_back) {
    uint8_t noise[200];
    uint8_t zeros[150] = {0};
    fill_pattern(noise, sizeof(noise));
    struct rdb_writer writer;
    rdb_writer_init(&writer, &to_memory);
    for (int i = 0; i < 1000; i++)
        cr_assert_gt(bytes_to_write(&writer, bytes_of(noise, sizeof(noise))), sizeof(noise));
    cr_assert_lt(bytes_to_write(&writer, bytes_of(zeros, 100)), 20); // Another length.
    int plain = 0;
    while (bytes_to_write(&writer, bytes_of(zeros, sizeof(zeros))) > sizeof(zeros))
        cr_assert_lt(++plain, 32);
    cr_assert_gt(bytes_to_write(&writer, bytes_of(noise, sizeof(noise))), sizeof(noise));
    for (int i = 0; i < 100; i++)
        cr_assert_lt(bytes_to_write(&writer, bytes_of(zeros, sizeof(zeros))), 20);
    rdb_writer_deinit(&writer);
}

/* A sink that remembers, and a source that gives back. */
static enum status remember(void *context, struct bytes bytes) {
    buffer_append_bytes(context, bytes);
    return STATUS_OK;
}

static enum status refuse(void *context, struct bytes bytes) {
    (void)bytes;
    ++*(int *)context;
    return STATUS_IO_ERROR;
}

static enum status give_back(void *context, uint8_t *out, size_t cap, size_t *out_len) {
    struct bytes *left = context;
    *out_len = left->len < cap ? left->len : cap;
    if (*out_len > 7000) *out_len = 7000; // Short reads are the rule.
    memcpy(out, left->data, *out_len);
    *left = bytes_from(*left, *out_len);
    return STATUS_OK;
}

static void fill_pattern(uint8_t *out, size_t len) {
    uint32_t state = 1;
    for (size_t i = 0; i < len; i++) {
        state = state * 1664525u + 1013904223u;
        out[i] = (uint8_t)(state >> 24);
    }
}

static void write_big_file(struct rdb_writer *writer, struct bytes noise, struct bytes zeros) {
    rdb_write_header(writer);
    rdb_write_aux(writer, "redis-ver", BYTES_LITERAL("7.0.15"));
    rdb_write_aux_number(writer, "redis-bits", 64);
    rdb_write_function(writer, BYTES_LITERAL("#!lua name=f\n"));
    rdb_write_select_db(writer, 3);
    rdb_write_resize_db(writer, 2, 1);
    rdb_write_expiry(writer, -5);
    rdb_write_idle(writer, 100000);
    rdb_write_key(writer, RDB_TYPE_STRING, BYTES_LITERAL("noise"));
    rdb_write_string(writer, noise);
    rdb_write_freq(writer, 255);
    rdb_write_key(writer, RDB_TYPE_STRING, BYTES_LITERAL("12"));
    rdb_write_string(writer, zeros);
    rdb_write_end(writer);
}

Test(rdb_file, reads_through_a_source_what_a_sink_took) {
    enum { NOISE = 300000, ZEROS = 5000000 };
    uint8_t *noise = mem_alloc(NOISE);
    fill_pattern(noise, NOISE);
    uint8_t *zeros = mem_alloc_zero(ZEROS);
    struct buffer whole = {0};
    struct rdb_writer writer;
    rdb_writer_init(&writer, &(struct rdb_writer_options){.sink = {remember, &whole},
                                                          .has_checksum = true,
                                                          .is_compressing = true});
    write_big_file(&writer, bytes_of(noise, NOISE), bytes_of(zeros, ZEROS));
    cr_assert_eq(rdb_writer_status(&writer), STATUS_OK);
    cr_assert_eq(rdb_writer_offset(&writer), whole.len);
    rdb_writer_deinit(&writer);
    buffer_append_text(&whole, "what follows");

    struct bytes left = buffer_view(&whole);
    struct rdb_reader reader;
    rdb_reader_init(&reader, (struct rdb_source){give_back, &left});
    struct rdb_file file;
    rdb_file_init(&file, &reader, &(struct rdb_file_options){.database_count = 16});
    struct rdb_item item;
    static const enum rdb_item_kind kinds[] = {RDB_ITEM_AUX, RDB_ITEM_AUX, RDB_ITEM_FUNCTION,
                                               RDB_ITEM_SELECT_DB, RDB_ITEM_RESIZE_DB};
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        cr_assert_eq(rdb_file_next(&file, &item), STATUS_OK);
        cr_assert_eq(item.kind, kinds[i]);
    }
    cr_assert_eq(item.key_count, 2);
    cr_assert_eq(rdb_file_next(&file, &item), STATUS_OK);
    cr_assert(bytes_equal_text(item.name, "noise"));
    cr_assert(item.has_expiry && item.has_idle && !item.has_freq);
    cr_assert_eq(item.expires_at_ms, -5);
    cr_assert_eq(item.idle_seconds, 100000);
    uint8_t *block = NULL;
    size_t len = 0;
    cr_assert_eq(rdb_read_block(&reader, &block, &len), STATUS_OK);
    cr_assert(bytes_equal(bytes_of(block, len), bytes_of(noise, NOISE)));
    mem_free(block);
    cr_assert_eq(rdb_file_next(&file, &item), STATUS_OK);
    cr_assert(bytes_equal_text(item.name, "12"));
    cr_assert(!item.has_expiry && !item.has_idle && item.has_freq);
    struct buffer text = {0};
    cr_assert_eq(rdb_read_string(&reader, &text), STATUS_OK);
    cr_assert(bytes_equal(buffer_view(&text), bytes_of(zeros, ZEROS)));
    buffer_deinit(&text);
    cr_assert_eq(rdb_file_next(&file, &item), STATUS_OK);
    cr_assert_eq(item.kind, RDB_ITEM_END);
    cr_assert_eq(item.checksum, RDB_CHECKSUM_VERIFIED);
    cr_assert(bytes_equal_text(rdb_reader_rest_view(&reader), "what follows"));
    rdb_file_deinit(&file);
    rdb_reader_deinit(&reader);
    buffer_deinit(&whole);
    mem_free(noise);
    mem_free(zeros);
}

/* Sizes that end in every part of a chunk, and now and then one beyond it. */
static size_t held_size(unsigned i) {
    return i % 50 == 49 ? 400000 + i * 1000 : i * 7919 % 20011;
}

static void write_many(struct buffer *whole, const uint8_t *noise, unsigned count, size_t huge) {
    struct rdb_writer writer;
    rdb_writer_init(&writer,
                    &(struct rdb_writer_options){.sink = {remember, whole}, .has_checksum = true});
    rdb_write_header(&writer);
    for (unsigned i = 0; i < count; i++) {
        rdb_write_key(&writer, RDB_TYPE_STRING, BYTES_LITERAL("name"));
        rdb_write_string(&writer, bytes_of(noise + i, held_size(i)));
        if (i != count / 2) continue;
        rdb_write_key(&writer, RDB_TYPE_STRING, BYTES_LITERAL("huge"));
        rdb_write_string(&writer, bytes_of(noise, huge));
    }
    rdb_write_end(&writer);
    cr_assert_eq(rdb_writer_status(&writer), STATUS_OK);
    rdb_writer_deinit(&writer);
}

static void assert_raw_key(struct bytes raw, struct bytes value) {
    struct rdb_reader reader;
    struct bytes got;
    rdb_reader_init_memory(&reader, (struct bytes){0});
    rdb_reader_reset_memory(&reader, raw);
    cr_assert_eq(rdb_read_view(&reader, &got), STATUS_OK);
    cr_assert(bytes_equal_text(got, "name"));
    cr_assert_eq(rdb_read_view(&reader, &got), STATUS_OK);
    cr_assert(bytes_equal(got, value));
    cr_assert_eq(rdb_reader_rest_view(&reader).len, 0);
    rdb_reader_deinit(&reader);
}

Test(rdb_reader, keeps_what_is_held_in_one_piece) {
    enum { KEYS = 400, HUGE = RDB_HELD_MAX + 5000 };
    static struct bytes held[KEYS];
    static uint8_t *chunks[KEYS * 4];
    uint8_t *noise = mem_alloc(HUGE);
    fill_pattern(noise, HUGE);
    struct buffer whole = {0};
    write_many(&whole, noise, KEYS, HUGE);
    struct bytes left = buffer_view(&whole);
    struct rdb_reader reader;
    rdb_reader_init(&reader, (struct rdb_source){give_back, &left});
    rdb_reader_retire_chunks(&reader, RDB_CHUNK_BYTES);
    struct rdb_file file;
    rdb_file_init(&file, &reader, &(struct rdb_file_options){.leaves_names = true});
    struct rdb_item item;
    unsigned count = 0;
    unsigned chunk_count = 0;
    unsigned huge_count = 0;
    for (;;) {
        cr_assert_eq(rdb_file_next(&file, &item), STATUS_OK);
        chunks[chunk_count++] = rdb_reader_take_retired(&reader);
        if (item.kind == RDB_ITEM_END) break;
        cr_assert_eq(item.kind, RDB_ITEM_KEY);
        rdb_reader_hold(&reader);
        enum status status = rdb_skip_string(&reader);
        if (status == STATUS_OK) status = rdb_skip_value(&reader, item.type);
        chunks[chunk_count++] = rdb_reader_take_retired(&reader);
        if (status == STATUS_OK) {
            held[count++] = rdb_reader_release(&reader);
            continue;
        }
        cr_assert_eq(status, STATUS_TOO_BIG);
        cr_assert_eq(reader.error.status, STATUS_OK);
        rdb_reader_go_back(&reader);
        struct buffer text = {0};
        cr_assert_eq(rdb_read_string(&reader, &text), STATUS_OK);
        cr_assert(bytes_equal_text(buffer_view(&text), "huge"));
        cr_assert_eq(rdb_read_string(&reader, &text), STATUS_OK);
        cr_assert(bytes_equal(buffer_view(&text), bytes_of(noise, HUGE)));
        buffer_deinit(&text);
        huge_count++;
    }
    cr_assert_eq(item.checksum, RDB_CHECKSUM_VERIFIED);
    cr_assert_eq(count, KEYS);
    cr_assert_eq(huge_count, 1);
    for (unsigned i = 0; i < KEYS; i++)
        assert_raw_key(held[i], bytes_of(noise + i, held_size(i)));
    for (unsigned i = 0; i < chunk_count; i++)
        mem_free(chunks[i]);
    rdb_file_deinit(&file);
    rdb_reader_deinit(&reader);
    buffer_deinit(&whole);
    mem_free(noise);
}

Test(rdb_writer, keeps_the_first_failure_and_stops) {
    int calls = 0;
    struct rdb_writer writer;
    rdb_writer_init(&writer, &(struct rdb_writer_options){.sink = {refuse, &calls}});
    for (int i = 0; i < 100000; i++)
        rdb_write_double(&writer, i);
    cr_assert_eq(rdb_writer_status(&writer), STATUS_IO_ERROR);
    cr_assert_eq(calls, 1);
    cr_assert_lt(writer.buffer.cap, 1 << 18);
    rdb_writer_deinit(&writer);
}

Test(rdb_reader, keeps_the_first_failure) {
    struct rdb_reader reader;
    rdb_reader_init_memory(&reader, BYTES(1, 0x82, 3));
    uint64_t length = 0;
    cr_assert_eq(rdb_read_length(&reader, &length), STATUS_OK);
    cr_assert_eq(rdb_read_length(&reader, &length), STATUS_BAD_FORMAT);
    cr_assert_eq(reader.error.offset, 2);
    cr_assert_str_eq(reader.error.reason, "Unknown length encoding 130");
    cr_assert_eq(rdb_read_length(&reader, &length), STATUS_BAD_FORMAT);
    cr_assert_eq(rdb_reader_fail(&reader, STATUS_TOO_BIG, "later"), STATUS_BAD_FORMAT);
    rdb_reader_deinit(&reader);
}

Test(rdb_reader, does_not_pay_for_claims) {
    static const struct {
        const char *what;
        enum status status;
        uint8_t bytes[12];
    } cases[] = {
        {"4 GB string", STATUS_CLOSED, {0x80, 0xff, 0xff, 0xff, 0xff, 'a'}},
        {"8 EB string", STATUS_TOO_BIG, {0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
        {"LZF bomb", STATUS_BAD_FORMAT, {0xc3, 2, 0x80, 0xff, 0xff, 0xff, 0xf0, 0, 'a'}},
        {"LZF of nothing", STATUS_BAD_FORMAT, {0xc3, 0, 0}},
        {"LZF too short", STATUS_BAD_FORMAT, {0xc3, 4, 8, 1, 'a', 'a', 0}},
        {"encoding 4", STATUS_BAD_FORMAT, {0xc4, 0}},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct bytes left = bytes_of(cases[i].bytes, sizeof(cases[i].bytes));
        struct rdb_reader reader;
        struct bytes view;
        rdb_reader_init(&reader, (struct rdb_source){give_back, &left});
        cr_assert_eq(rdb_read_view(&reader, &view), cases[i].status, "%s: %s", cases[i].what,
                     reader.error.reason);
        cr_assert_leq(reader.spill.cap, 4 * RDB_CHUNK_BYTES, "%s", cases[i].what);
        rdb_reader_deinit(&reader);
    }
}

Test(rdb_reader, reads_text_doubles) {
    struct rdb_reader reader;
    rdb_reader_init_memory(&reader, BYTES(3, '1', '.', '5', 253, 254, 255, 2, '1', 'x'));
    double value = 0;
    cr_assert_eq(rdb_read_text_double(&reader, &value), STATUS_OK);
    cr_assert_eq(value, 1.5);
    cr_assert_eq(rdb_read_text_double(&reader, &value), STATUS_OK);
    cr_assert(isnan(value));
    cr_assert_eq(rdb_read_text_double(&reader, &value), STATUS_OK);
    cr_assert(isinf(value) && value > 0);
    cr_assert_eq(rdb_read_text_double(&reader, &value), STATUS_OK);
    cr_assert(isinf(value) && value < 0);
    cr_assert_eq(rdb_read_text_double(&reader, &value), STATUS_BAD_FORMAT);
    rdb_reader_deinit(&reader);
}

Test(rdb_file, keeps_attributes_until_the_next_key) {
    struct rdb_reader reader;
    rdb_reader_init_memory(&reader, BYTES('R', 'E', 'D', 'I', 'S', '0', '0', '0', '4', 0xfd, 2, 0,
                                          0, 0, 0xf8, 7, 0xfe, 1, 0xfc, 1, 0, 0, 0, 0, 0, 0, 0, 0,
                                          1, 'k', 1, 'v', 0, 1, 'l', 1, 'v', 0xff));
    struct rdb_file file;
    rdb_file_init(&file, &reader, &(struct rdb_file_options){0});
    struct rdb_item item;
    cr_assert_eq(rdb_file_next(&file, &item), STATUS_OK);
    cr_assert_eq(item.kind, RDB_ITEM_SELECT_DB);
    cr_assert_eq(rdb_file_next(&file, &item), STATUS_OK);
    cr_assert_eq(item.expires_at_ms, 1); // The last one counts.
    cr_assert_eq(item.idle_seconds, 7);
    cr_assert_eq(rdb_skip_value(&reader, item.type), STATUS_OK);
    cr_assert_eq(rdb_file_next(&file, &item), STATUS_OK);
    cr_assert_not(item.has_expiry || item.has_idle);
    cr_assert_eq(rdb_skip_value(&reader, item.type), STATUS_OK);
    cr_assert_eq(rdb_file_next(&file, &item), STATUS_OK);
    cr_assert_eq(item.kind, RDB_ITEM_END);
    cr_assert_eq(item.checksum, RDB_CHECKSUM_ABSENT);
    rdb_file_deinit(&file);
    rdb_reader_deinit(&reader);
}

Test(rdb_dump, frames_a_value_and_takes_the_frame_off) {
    struct rdb_writer writer;
    rdb_writer_init(&writer, &(struct rdb_writer_options){0});
    rdb_write_u8(&writer, RDB_TYPE_STRING);
    rdb_write_string(&writer, BYTES_LITERAL("hello"));
    rdb_write_dump_footer(&writer);
    struct bytes payload = written(&writer);
    cr_assert(bytes_equal(payload, BYTES(0x00, 0x05, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x0a, 0x00, 0x63,
                                         0x72, 0xdf, 0x76, 0x65, 0x34, 0x20, 0x0a)));
    struct bytes content;
    cr_assert_eq(rdb_dump_open(payload, &content), STATUS_OK);
    cr_assert_eq(content.len, 7);
    cr_assert_eq(rdb_dump_open(bytes_of(payload.data, 9), &content), STATUS_BAD_FORMAT);
    writer.buffer.data[1]++;
    cr_assert_eq(rdb_dump_open(payload, &content), STATUS_BAD_CHECKSUM);
    writer.buffer.data[7] = 12;
    cr_assert_eq(rdb_dump_open(payload, &content), STATUS_UNSUPPORTED);
    rdb_writer_deinit(&writer);
}

/* The blob as the content of an RDB string, read as `type`. */
static enum status read_blob(unsigned type, struct bytes bytes, struct rdb_blob *out) {
    struct rdb_writer writer;
    rdb_writer_init(&writer, &to_memory);
    rdb_write_string(&writer, bytes);
    struct rdb_reader reader;
    rdb_reader_init_memory(&reader, written(&writer));
    enum status status = rdb_read_blob(&reader, type, out);
    rdb_reader_deinit(&reader);
    rdb_writer_deinit(&writer);
    return status;
}

static void assert_blob_is(unsigned type, struct bytes bytes, const char *const *texts,
                           size_t count) {
    struct rdb_blob blob;
    cr_assert_eq(read_blob(type, bytes, &blob), STATUS_OK);
    cr_assert_eq(blob.count, count);
    uint8_t *block = NULL;
    cr_assert_eq(rdb_blob_detach_listpack(&blob, &block), STATUS_OK);
    cr_assert_eq(listpack_count(block), count);
    for (size_t i = 0; i < count; i++) {
        char scratch[NUMBER_TEXT_MAX];
        struct bytes text = listpack_text(block, listpack_seek(block, (int64_t)i), scratch);
        cr_assert(bytes_equal_text(text, texts[i]), "entry %zu of type %u", i, type);
    }
    listpack_destroy(block);
    rdb_blob_deinit(&blob);
}

Test(rdb_blob, turns_every_kind_into_a_listpack) {
    assert_blob_is(RDB_TYPE_HASH_ZIPMAP, BYTES(1, 2, 'f', '1', 2, 2, 'v', '1', 0, 0, 0xff),
                   (const char *const[]){"f1", "v1"}, 2);
    assert_blob_is(RDB_TYPE_LIST_ZIPLIST,
                   BYTES(15, 0, 0, 0, 12, 0, 0, 0, 2, 0, 0, 0xf3, 2, 0xf6, 0xff),
                   (const char *const[]){"2", "5"}, 2);
    assert_blob_is(RDB_TYPE_SET_INTSET, BYTES(2, 0, 0, 0, 3, 0, 0, 0, 0xfb, 0xff, 1, 0, 2, 0),
                   (const char *const[]){"-5", "1", "2"}, 3);
    assert_blob_is(RDB_TYPE_HASH_LISTPACK, BYTES(11, 0, 0, 0, 2, 0, 1, 1, 2, 1, 0xff),
                   (const char *const[]){"1", "2"}, 2);
}

Test(rdb_blob, refuses_what_the_types_forbid) {
    static const struct {
        const char *what;
        unsigned type;
        size_t len;
        uint8_t bytes[24];
    } cases[] = {
        {"odd hash", 16, 9, {9, 0, 0, 0, 1, 0, 1, 1, 0xff}},
        {"repeated field", 16, 15, {15, 0, 0, 0, 4, 0, 1, 1, 1, 1, 1, 1, 3, 1, 0xff}},
        {"field repeated as text",
         16,
         16,
         {16, 0, 0, 0, 4, 0, 1, 1, 1, 1, 0x81, '1', 2, 3, 1, 0xff}},
        {"repeated member", 20, 11, {11, 0, 0, 0, 2, 0, 1, 1, 1, 1, 0xff}},
        {"score not a number", 17, 12, {12, 0, 0, 0, 2, 0, 1, 1, 0x81, 'x', 2, 0xff}},
        {"scores fall", 17, 15, {15, 0, 0, 0, 4, 0, 1, 1, 2, 1, 2, 1, 1, 1, 0xff}},
        {"members fall", 17, 15, {15, 0, 0, 0, 4, 0, 2, 1, 1, 1, 1, 1, 1, 1, 0xff}},
        {"repeated zset member", 17, 15, {15, 0, 0, 0, 4, 0, 1, 1, 1, 1, 1, 1, 2, 1, 0xff}},
        {"empty zipmap", 9, 2, {0, 0xff}},
        {"zipmap count", 9, 8, {2, 1, 'f', 1, 0, 'v', 0xff, 0xff}},
        {"zipmap without value", 9, 4, {1, 1, 'f', 0xff}},
        {"zipmap repeats a field", 9, 12, {2, 1, 'f', 1, 0, 'v', 1, 'f', 1, 0, 'v', 0xff}},
        {"ziplist tail", 10, 15, {15, 0, 0, 0, 10, 0, 0, 0, 2, 0, 0, 0xf3, 2, 0xf6, 0xff}},
        {"ziplist prevlen", 10, 15, {15, 0, 0, 0, 12, 0, 0, 0, 2, 0, 0, 0xf3, 3, 0xf6, 0xff}},
        {"ziplist count", 10, 15, {15, 0, 0, 0, 12, 0, 0, 0, 3, 0, 0, 0xf3, 2, 0xf6, 0xff}},
        {"ziplist encoding", 10, 13, {13, 0, 0, 0, 10, 0, 0, 0, 1, 0, 0, 0x81, 0xff}},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct rdb_blob blob;
        cr_assert_eq(read_blob(cases[i].type, bytes_of(cases[i].bytes, cases[i].len), &blob),
                     STATUS_BAD_FORMAT, "%s", cases[i].what);
    }
}

/* Seeds for damage: small blobs of each kind, a payload, a file. */
Test(rdb_fuzz, damage_does_no_harm) {
    static const char *const seeds[] = {
        "\x1a\0\0\0\5\0\x85hello\6\1\1\xdf\xff\2\xcf\xff\2\xf1\0\x10\3\xff",
        "\x0f\0\0\0\x0c\0\0\0\2\0\0\xf3\2\xf6\xff...........",
        "\1\2f1\2\2v1\0\0\xff...............",
        "\2\0\0\0\3\0\0\0\xfb\xff\1\0\2\0............",
        "\x0d\x0f\x0f\0\0\0\x0c\0\0\0\2\0\0\xf3\2\xf6\xff.........",
        "REDIS0004\xfd\1\0\0\0\4\1k\1\1f\1v\xff......",
    };
    enum { SEED_BYTES = 26, ROUNDS = 100000 };
    struct rng rng;
    rng_seed(&rng, 5);
    for (int round = 0; round < ROUNDS; round++) {
        size_t len = SEED_BYTES - rng_below(&rng, rng_below(&rng, 2) == 0 ? 1 : SEED_BYTES);
        uint8_t *damaged = mem_alloc(len); // Exact, so that ASan sees an over-read.
        memcpy(damaged, seeds[rng_below(&rng, ARRAY_COUNT(seeds))], len);
        for (uint64_t i = rng_below(&rng, 4); i > 0; i--)
            damaged[rng_below(&rng, len)] = (uint8_t)rng_next(&rng);
        cr_assert_eq(LLVMFuzzerTestOneInput(damaged, len), 0);
        mem_free(damaged);
    }
}

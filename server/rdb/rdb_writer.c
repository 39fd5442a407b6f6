#include "server/rdb/rdb_writer.h"

#include <liblzf/lzf.h>
#include <limits.h>
#include <string.h>

#include "server/base/check.h"
#include "server/base/crc.h"
#include "server/base/number.h"

enum { FLUSH_BYTES = 64 * 1024 };

/* From the string rule: what is worth trying as an integer, and what as compressed. */
enum { INTEGER_TEXT_MAX = 11, COMPRESS_ABOVE = 20, COMPRESS_GAIN = 4 };

/* To try in vain costs several times what all the rest of a short string does, and throws half a
 * megabyte of others' data out of the cache. Strings of about one length mostly are of one kind:
 * after TRIES_IN_VAIN of them that did not get smaller only one of TRY_ONE_OF is tried, until one
 * does. If fewer than one in fifty can be compressed, that is what a file may be larger by. */
enum { TRIES_IN_VAIN = 128, TRY_ONE_OF = 32 };

void rdb_writer_init(struct rdb_writer *writer, const struct rdb_writer_options *options) {
    *writer = (struct rdb_writer){.options = *options};
}

void rdb_writer_deinit(struct rdb_writer *writer) {
    buffer_deinit(&writer->buffer);
    buffer_deinit(&writer->packed);
}

enum status rdb_writer_status(const struct rdb_writer *writer) {
    return writer->status;
}

uint64_t rdb_writer_offset(const struct rdb_writer *writer) {
    return writer->handed_on_bytes + writer->buffer.len;
}

static void sum(struct rdb_writer *writer) {
    struct bytes fresh = bytes_from(buffer_view(&writer->buffer), writer->summed);
    if (fresh.len > 0) writer->checksum = crc64(writer->checksum, fresh);
    writer->summed = writer->buffer.len;
}

static void hand_on(struct rdb_writer *writer, struct bytes bytes) {
    if (writer->status == STATUS_OK && bytes.len > 0)
        writer->status = writer->options.sink.write(writer->options.sink.context, bytes);
    writer->handed_on_bytes += bytes.len;
}

void rdb_writer_flush(struct rdb_writer *writer) {
    if (writer->options.sink.write == NULL) return;
    if (writer->options.has_checksum) sum(writer);
    hand_on(writer, buffer_view(&writer->buffer));
    buffer_clear(&writer->buffer);
    writer->summed = 0;
}

static void flush_if_full(struct rdb_writer *writer) {
    if (writer->buffer.len >= FLUSH_BYTES) rdb_writer_flush(writer);
}

void rdb_write_raw(struct rdb_writer *writer, struct bytes bytes) {
    if (writer->options.sink.write == NULL || bytes.len < FLUSH_BYTES) {
        buffer_append_bytes(&writer->buffer, bytes);
        flush_if_full(writer);
        return;
    }
    rdb_writer_flush(writer);
    if (writer->options.has_checksum) writer->checksum = crc64(writer->checksum, bytes);
    hand_on(writer, bytes);
}

void rdb_write_u8(struct rdb_writer *writer, uint8_t byte) {
    buffer_append_u8(&writer->buffer, byte);
    flush_if_full(writer);
}

static void write_little_endian(struct rdb_writer *writer, uint64_t value, unsigned width) {
    uint8_t *at = buffer_reserve(&writer->buffer, width);
    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> (8 * i));
    writer->buffer.len += width;
    flush_if_full(writer);
}

static void write_big_endian(struct rdb_writer *writer, uint64_t value, unsigned width) {
    uint8_t *at = buffer_reserve(&writer->buffer, width);
    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
    writer->buffer.len += width;
    flush_if_full(writer);
}

void rdb_write_length(struct rdb_writer *writer, uint64_t length) {
    if (length < 1 << 6) {
        rdb_write_u8(writer, (uint8_t)length);
    } else if (length < 1 << 14) {
        write_big_endian(writer, 0x4000 | length, 2);
    } else if (length <= UINT32_MAX) {
        rdb_write_u8(writer, 0x80);
        write_big_endian(writer, length, 4);
    } else {
        rdb_write_u8(writer, 0x81);
        write_big_endian(writer, length, 8);
    }
}

/* The integer form of a string; false when the number is too wide for one. */
static bool write_integer_form(struct rdb_writer *writer, int64_t number) {
    unsigned width = 0;
    if (number >= INT8_MIN && number <= INT8_MAX)
        width = 1;
    else if (number >= INT16_MIN && number <= INT16_MAX)
        width = 2;
    else if (number >= INT32_MIN && number <= INT32_MAX)
        width = 4;
    else
        return false;
    rdb_write_u8(writer, (uint8_t)(0xc0 + width / 2)); // C0, C1, C2.
    write_little_endian(writer, (uint64_t)number, width);
    return true;
}

/* The count of tries in vain for strings of about this length; NULL for giants, which are always
 * tried. */
static uint8_t *tries_in_vain(struct rdb_writer *writer, size_t len) {
    unsigned bits = 64 - (unsigned)__builtin_clzll(len);
    return bits <= RDB_WRITER_LENGTH_BITS ? &writer->tries_in_vain[bits - 1] : NULL;
}

static bool is_worth_a_try(uint8_t *in_vain) {
    if (in_vain == NULL || *in_vain < TRIES_IN_VAIN) return true;
    if (++*in_vain < TRIES_IN_VAIN + TRY_ONE_OF) return false;
    *in_vain = TRIES_IN_VAIN;
    return true;
}

static unsigned compress(struct rdb_writer *writer, struct bytes text, uint8_t *out) {
    uint8_t *in_vain = tries_in_vain(writer, text.len);
    if (!is_worth_a_try(in_vain)) return 0;
    unsigned len = (unsigned)text.len;
    unsigned packed_len = lzf_compress(text.data, len, out, len - COMPRESS_GAIN);
    if (in_vain != NULL && packed_len > 0) *in_vain = 0;
    if (in_vain != NULL && packed_len == 0 && *in_vain < TRIES_IN_VAIN) ++*in_vain;
    return packed_len;
}

static bool write_compressed(struct rdb_writer *writer, struct bytes text) {
    if (text.len > UINT_MAX) return false;
    unsigned len = (unsigned)text.len;
    buffer_clear(&writer->packed);
    uint8_t *out = buffer_reserve(&writer->packed, len);
    unsigned packed_len = compress(writer, text, out);
    if (packed_len == 0) return false;
    rdb_write_u8(writer, 0xc3);
    rdb_write_length(writer, packed_len);
    rdb_write_length(writer, len);
    rdb_write_raw(writer, bytes_of(out, packed_len));
    if (writer->packed.cap > (1 << 20)) buffer_deinit(&writer->packed); // A rare giant.
    return true;
}

void rdb_write_string(struct rdb_writer *writer, struct bytes text) {
    int64_t number = 0;
    if (text.len <= INTEGER_TEXT_MAX && number_parse_i64(text, &number) &&
        write_integer_form(writer, number))
        return;
    if (writer->options.is_compressing && text.len > COMPRESS_ABOVE &&
        write_compressed(writer, text))
        return;
    rdb_write_length(writer, text.len);
    rdb_write_raw(writer, text);
}

void rdb_write_integer(struct rdb_writer *writer, int64_t number) {
    if (write_integer_form(writer, number)) return;
    char text[NUMBER_TEXT_MAX];
    unsigned len = number_format_i64(number, text);
    rdb_write_length(writer, len);
    rdb_write_raw(writer, bytes_of(text, len));
}

void rdb_write_double(struct rdb_writer *writer, double value) {
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(bits));
    write_little_endian(writer, bits, 8);
}

void rdb_write_ms(struct rdb_writer *writer, int64_t ms) {
    write_little_endian(writer, (uint64_t)ms, 8);
}

void rdb_write_stream_id(struct rdb_writer *writer, uint64_t ms, uint64_t seq) {
    write_big_endian(writer, ms, 8);
    write_big_endian(writer, seq, 8);
}

void rdb_write_header(struct rdb_writer *writer) {
    _Static_assert(RDB_VERSION_WRITTEN == 10, "the header below says so");
    rdb_write_raw(writer, BYTES_LITERAL("REDIS0010"));
}

void rdb_write_aux(struct rdb_writer *writer, const char *name, struct bytes value) {
    rdb_write_u8(writer, RDB_OPCODE_AUX);
    rdb_write_string(writer, bytes_of_text(name));
    rdb_write_string(writer, value);
}

void rdb_write_aux_number(struct rdb_writer *writer, const char *name, int64_t value) {
    rdb_write_u8(writer, RDB_OPCODE_AUX);
    rdb_write_string(writer, bytes_of_text(name));
    rdb_write_integer(writer, value);
}

void rdb_write_function(struct rdb_writer *writer, struct bytes source) {
    rdb_write_u8(writer, RDB_OPCODE_FUNCTION);
    rdb_write_string(writer, source);
}

void rdb_write_select_db(struct rdb_writer *writer, uint64_t db) {
    rdb_write_u8(writer, RDB_OPCODE_SELECT_DB);
    rdb_write_length(writer, db);
}

void rdb_write_resize_db(struct rdb_writer *writer, uint64_t keys, uint64_t keys_with_expiry) {
    rdb_write_u8(writer, RDB_OPCODE_RESIZE_DB);
    rdb_write_length(writer, keys);
    rdb_write_length(writer, keys_with_expiry);
}

void rdb_write_end(struct rdb_writer *writer) {
    rdb_write_u8(writer, RDB_OPCODE_END);
    if (writer->options.has_checksum) sum(writer);
    write_little_endian(writer, writer->options.has_checksum ? writer->checksum : 0, 8);
    rdb_writer_flush(writer);
}

void rdb_write_expiry(struct rdb_writer *writer, int64_t expires_at_ms) {
    rdb_write_u8(writer, RDB_OPCODE_EXPIRE_MS);
    rdb_write_ms(writer, expires_at_ms);
}

void rdb_write_idle(struct rdb_writer *writer, uint64_t idle_seconds) {
    rdb_write_u8(writer, RDB_OPCODE_IDLE);
    rdb_write_length(writer, idle_seconds);
}

void rdb_write_freq(struct rdb_writer *writer, uint8_t counter) {
    rdb_write_u8(writer, RDB_OPCODE_FREQ);
    rdb_write_u8(writer, counter);
}

void rdb_write_key(struct rdb_writer *writer, enum rdb_type type, struct bytes name) {
    rdb_write_u8(writer, (uint8_t)type);
    rdb_write_string(writer, name);
}

void rdb_write_dump_footer(struct rdb_writer *writer) {
    ASSERT(writer->options.sink.write == NULL);
    write_little_endian(writer, RDB_VERSION_WRITTEN, 2);
    sum(writer);
    write_little_endian(writer, writer->checksum, 8);
}

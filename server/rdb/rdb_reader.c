#include "server/rdb/rdb_reader.h"

#include <errno.h>
#include <liblzf/lzf.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "server/base/check.h"
#include "server/base/crc.h"
#include "server/base/mem.h"
#include "server/rdb/rdb_format.h"

/* The most bytes that one compressed byte can stand for, and what the shortest input may add. */
enum { LZF_RATIO_MAX = 264, LZF_SLACK = 32 };

enum { LENGTH_32 = 0x80, LENGTH_64 = 0x81 };

enum string_encoding { ENCODING_INT_8, ENCODING_INT_16, ENCODING_INT_32, ENCODING_LZF };

static const uint8_t no_bytes[1]; // Something to point at, so that no pointer is ever NULL.

static void init(struct rdb_reader *reader, struct bytes bytes) {
    *reader = (struct rdb_reader){.string_max_bytes = RDB_STRING_MAX_BYTES};
    reader->at = bytes.len > 0 ? bytes.data : no_bytes;
    reader->end = reader->at + bytes.len;
    reader->unsummed = reader->at;
    reader->end_offset = bytes.len;
}

/* Nothing was read yet. */
static void set_chunk_bytes(struct rdb_reader *reader, size_t chunk_bytes) {
    reader->chunk = mem_realloc(reader->chunk, chunk_bytes);
    reader->chunk_bytes = reader->chunk_cap = chunk_bytes;
    reader->at = reader->end = reader->unsummed = reader->chunk;
}

void rdb_reader_init(struct rdb_reader *reader, struct rdb_source source) {
    init(reader, (struct bytes){0});
    reader->source = source;
    set_chunk_bytes(reader, RDB_CHUNK_BYTES);
}

void rdb_reader_init_memory(struct rdb_reader *reader, struct bytes bytes) {
    init(reader, bytes);
}

void rdb_reader_reset_memory(struct rdb_reader *reader, struct bytes bytes) {
    reader->at = bytes.len > 0 ? bytes.data : no_bytes;
    reader->end = reader->at + bytes.len;
    reader->unsummed = reader->at;
    reader->end_offset = bytes.len;
    reader->checksum = 0;
    reader->error.status = STATUS_OK;
    reader->error.reason[0] = '\0';
}

void rdb_reader_retire_chunks(struct rdb_reader *reader, size_t chunk_bytes) {
    ASSERT(chunk_bytes >= RDB_CHUNK_BYTES && reader->end_offset == 0);
    set_chunk_bytes(reader, chunk_bytes);
    reader->is_retiring = true;
}

uint8_t *rdb_reader_take_retired(struct rdb_reader *reader) {
    uint8_t *retired = reader->retired;
    reader->retired = NULL;
    return retired;
}

void rdb_reader_hold(struct rdb_reader *reader) {
    reader->held = reader->at;
}

struct bytes rdb_reader_release(struct rdb_reader *reader) {
    struct bytes held = bytes_of(reader->held, (size_t)(reader->at - reader->held));
    reader->held = NULL;
    return held;
}

void rdb_reader_go_back(struct rdb_reader *reader) {
    reader->at = reader->held;
    reader->held = NULL;
}

void rdb_reader_deinit(struct rdb_reader *reader) {
    mem_free(reader->chunk);
    mem_free(reader->retired);
    buffer_deinit(&reader->spill);
    buffer_deinit(&reader->packed);
}

static bool is_memory(const struct rdb_reader *reader) {
    return reader->source.fill == NULL;
}

static size_t at_hand(const struct rdb_reader *reader) {
    return (size_t)(reader->end - reader->at);
}

uint64_t rdb_reader_offset(const struct rdb_reader *reader) {
    return reader->end_offset - at_hand(reader);
}

enum status rdb_reader_fail(struct rdb_reader *reader, enum status status, const char *format,
                            ...) {
    ASSERT(status != STATUS_OK);
    struct rdb_error *error = &reader->error;
    if (error->status != STATUS_OK) return error->status;
    error->status = status;
    error->offset = rdb_reader_offset(reader);
    va_list args;
    va_start(args, format);
    vsnprintf(error->reason, sizeof(error->reason), format, args);
    va_end(args);
    return status;
}

static enum status fail_corrupt(struct rdb_reader *reader, const char *reason) {
    return rdb_reader_fail(reader, STATUS_BAD_FORMAT, "%s", reason);
}

static enum status fail_short(struct rdb_reader *reader) {
    return rdb_reader_fail(reader, STATUS_CLOSED, "Unexpected EOF reading RDB file");
}

uint64_t rdb_reader_checksum(struct rdb_reader *reader) {
    // After going back some of what lies ahead is in it already.
    if (reader->unsummed >= reader->at) return reader->checksum;
    size_t len = (size_t)(reader->at - reader->unsummed);
    reader->checksum = crc64(reader->checksum, bytes_of(reader->unsummed, len));
    reader->unsummed = reader->at;
    return reader->checksum;
}

struct bytes rdb_reader_rest_view(const struct rdb_reader *reader) {
    return bytes_of(reader->at, at_hand(reader));
}

/* Pulls 1 .. cap bytes. */
static enum status pull(struct rdb_reader *reader, uint8_t *out, size_t cap, size_t *out_len) {
    if (is_memory(reader)) return fail_short(reader);
    size_t len = 0;
    enum status status = reader->source.fill(reader->source.context, out, cap, &len);
    if (status != STATUS_OK)
        return rdb_reader_fail(reader, status, "Reading failed: %s",
                               status == STATUS_IO_ERROR ? strerror(errno) : status_text(status));
    if (len == 0) return fail_short(reader);
    ASSERT(len <= cap);
    *out_len = len;
    return STATUS_OK;
}

/* Lets `from` .. end begin a chunk of at least `cap` bytes: this one, or another where what lies
 * before must stay. */
static void begin_chunk(struct rdb_reader *reader, const uint8_t *from, size_t cap) {
    size_t consumed = (size_t)(reader->at - from);
    size_t summed = (size_t)(reader->unsummed - from);
    size_t kept = (size_t)(reader->end - from);
    bool is_retired = reader->is_retiring && reader->retired == NULL && from != reader->chunk;
    if (is_retired || cap > reader->chunk_cap) {
        if (cap < reader->chunk_bytes) cap = reader->chunk_bytes;
        uint8_t *chunk = mem_alloc(cap);
        memcpy(chunk, from, kept);
        if (is_retired) {
            reader->retired = reader->chunk;
        } else {
            mem_free(reader->chunk);
        }
        reader->chunk = chunk;
        reader->chunk_cap = cap;
    } else if (from != reader->chunk) {
        memmove(reader->chunk, from, kept);
    }
    reader->at = reader->chunk + consumed;
    reader->unsummed = reader->chunk + summed;
    reader->end = reader->chunk + kept;
    if (reader->held != NULL) reader->held = reader->chunk;
}

/* Makes room in the chunk for `len` bytes from `at` on. Consumed bytes go, but for those held. */
static enum status make_room(struct rdb_reader *reader, size_t len) {
    rdb_reader_checksum(reader);
    const uint8_t *from = reader->held != NULL ? reader->held : reader->at;
    size_t needed = (size_t)(reader->at - from) + len;
    if (needed > RDB_HELD_MAX) return STATUS_TOO_BIG;
    // Held bytes come to more: double the room each time, up to what may be held.
    begin_chunk(reader, from, needed <= reader->chunk_cap ? needed : needed * 2);
    return STATUS_OK;
}

/* Brings the next `len` bytes, at most a chunk, to hand in one piece. */
static enum status ensure(struct rdb_reader *reader, size_t len) {
    if (reader->error.status != STATUS_OK) return reader->error.status;
    if (LIKELY(at_hand(reader) >= len)) return STATUS_OK;
    if (is_memory(reader)) return fail_short(reader);
    ASSERT(len <= RDB_CHUNK_BYTES);
    enum status status = make_room(reader, len);
    if (status != STATUS_OK) return status;
    while (at_hand(reader) < len) {
        size_t have = (size_t)(reader->end - reader->chunk);
        size_t got = 0;
        status = pull(reader, reader->chunk + have, reader->chunk_cap - have, &got);
        if (status != STATUS_OK) return status;
        reader->end += got;
        reader->end_offset += got;
    }
    return STATUS_OK;
}

enum status rdb_read_u8(struct rdb_reader *reader, uint8_t *out) {
    enum status status = ensure(reader, 1);
    if (status == STATUS_OK) *out = *reader->at++;
    return status;
}

/* Pulls straight to `out`; nothing is at hand. */
static enum status pull_past_chunk(struct rdb_reader *reader, uint8_t *out, size_t len) {
    ASSERT(reader->held == NULL);
    rdb_reader_checksum(reader);
    while (len > 0) {
        size_t got = 0;
        enum status status = pull(reader, out, len, &got);
        if (status != STATUS_OK) return status;
        reader->checksum = crc64(reader->checksum, bytes_of(out, got));
        reader->end_offset += got;
        out += got;
        len -= got;
    }
    return STATUS_OK;
}

enum status rdb_read_raw(struct rdb_reader *reader, void *out, size_t len) {
    if (reader->error.status != STATUS_OK) return reader->error.status;
    if (is_memory(reader) || len <= RDB_CHUNK_BYTES || len <= at_hand(reader)) {
        // All or nothing is consumed.
        enum status status = ensure(reader, len);
        if (status != STATUS_OK) return status;
        if (len > 0) memcpy(out, reader->at, len);
        reader->at += len;
        return STATUS_OK;
    }
    size_t ready = at_hand(reader);
    if (ready > 0) memcpy(out, reader->at, ready);
    reader->at += ready;
    return pull_past_chunk(reader, (uint8_t *)out + ready, len - ready);
}

static enum status skip_raw(struct rdb_reader *reader, uint64_t len) {
    while (len > 0) {
        size_t step = len < RDB_CHUNK_BYTES ? (size_t)len : RDB_CHUNK_BYTES;
        enum status status = ensure(reader, step);
        if (status != STATUS_OK) return status;
        reader->at += step;
        len -= step;
    }
    return reader->error.status;
}

static enum status read_little_endian(struct rdb_reader *reader, unsigned width, uint64_t *out) {
    enum status status = ensure(reader, width);
    if (status != STATUS_OK) return status;
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++)
        value |= (uint64_t)reader->at[i] << (8 * i);
    reader->at += width;
    *out = value;
    return STATUS_OK;
}

static enum status read_big_endian(struct rdb_reader *reader, unsigned width, uint64_t *out) {
    enum status status = ensure(reader, width);
    if (status != STATUS_OK) return status;
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++)
        value = value << 8 | reader->at[i];
    reader->at += width;
    *out = value;
    return STATUS_OK;
}

enum status rdb_read_double(struct rdb_reader *reader, double *out) {
    uint64_t bits = 0;
    enum status status = read_little_endian(reader, 8, &bits);
    if (status == STATUS_OK) memcpy(out, &bits, sizeof(bits));
    return status;
}

enum status rdb_read_text_double(struct rdb_reader *reader, double *out) {
    enum { NOT_A_NUMBER = 253, INFINITE = 254, MINUS_INFINITE = 255 };
    uint8_t len = 0;
    enum status status = rdb_read_u8(reader, &len);
    if (status != STATUS_OK) return status;
    switch (len) {
    case NOT_A_NUMBER:
        *out = __builtin_nan("");
        return STATUS_OK;
    case INFINITE:
        *out = __builtin_inf();
        return STATUS_OK;
    case MINUS_INFINITE:
        *out = -__builtin_inf();
        return STATUS_OK;
    default:
        break;
    }
    char text[NOT_A_NUMBER];
    status = rdb_read_raw(reader, text, len);
    if (status != STATUS_OK) return status;
    if (!number_parse_double(bytes_of(text, len), out))
        return fail_corrupt(reader, "Invalid text form of a double");
    return STATUS_OK;
}

enum status rdb_read_ms(struct rdb_reader *reader, int64_t *out) {
    uint64_t bits = 0;
    enum status status = read_little_endian(reader, 8, &bits);
    if (status == STATUS_OK) *out = (int64_t)bits;
    return status;
}

enum status rdb_read_stream_id(struct rdb_reader *reader, struct rdb_stream_id *out) {
    enum status status = ensure(reader, sizeof(*out));
    if (status != STATUS_OK) return status;
    status = read_big_endian(reader, 8, &out->ms);
    return status == STATUS_OK ? read_big_endian(reader, 8, &out->seq) : status;
}

enum status rdb_read_stream_id_lengths(struct rdb_reader *reader, struct rdb_stream_id *out) {
    enum status status = rdb_read_length(reader, &out->ms);
    return status == STATUS_OK ? rdb_read_length(reader, &out->seq) : status;
}

/* A length, or with `out_is_special` the number of a string encoding. */
static enum status read_length_or_encoding(struct rdb_reader *reader, uint64_t *out,
                                           bool *out_is_special) {
    uint8_t first = 0;
    enum status status = rdb_read_u8(reader, &first);
    if (status != STATUS_OK) return status;
    *out_is_special = false;
    switch (first >> 6) {
    case 0:
        *out = first;
        return STATUS_OK;
    case 1: {
        uint8_t low = 0;
        status = rdb_read_u8(reader, &low);
        *out = (uint64_t)(first & 0x3f) << 8 | low;
        return status;
    }
    case 2:
        if (first == LENGTH_32) return read_big_endian(reader, 4, out);
        if (first == LENGTH_64) return read_big_endian(reader, 8, out);
        return rdb_reader_fail(reader, STATUS_BAD_FORMAT, "Unknown length encoding %d", first);
    default:
        *out_is_special = true;
        *out = first & 0x3f;
        return STATUS_OK;
    }
}

enum status rdb_read_length(struct rdb_reader *reader, uint64_t *out) {
    bool is_special = false;
    uint64_t length = 0;
    enum status status = read_length_or_encoding(reader, &length, &is_special);
    if (status != STATUS_OK) return status;
    if (is_special) return fail_corrupt(reader, "A string encoding in place of a number");
    *out = length;
    return STATUS_OK;
}

enum status rdb_read_count(struct rdb_reader *reader, uint64_t *out) {
    uint64_t count = 0;
    enum status status = rdb_read_length(reader, &count);
    if (status != STATUS_OK) return status;
    if (count == UINT64_MAX) return fail_corrupt(reader, "An impossible count");
    if (is_memory(reader) && count > at_hand(reader)) return fail_short(reader);
    *out = count;
    return STATUS_OK;
}

static enum status check_string_size(struct rdb_reader *reader, uint64_t len) {
    if (len <= reader->string_max_bytes) return STATUS_OK;
    return rdb_reader_fail(reader, STATUS_TOO_BIG, "A string of %llu bytes is above the limit",
                           (unsigned long long)len);
}

static enum status set_cap(struct rdb_reader *reader, struct buffer *buffer, size_t cap) {
    if (cap <= buffer->cap) return STATUS_OK;
    uint8_t *grown = mem_try_realloc(buffer->data, cap);
    if (grown == NULL)
        return rdb_reader_fail(reader, STATUS_NO_MEMORY, "No memory for a string of %zu bytes",
                               cap);
    buffer->data = grown;
    buffer->cap = cap;
    return STATUS_OK;
}

/* The next `len` bytes: in place when a chunk can hold them, else gathered in `spill`. */
static enum status take(struct rdb_reader *reader, uint64_t len, struct buffer *spill,
                        struct bytes *out) {
    enum status status = check_string_size(reader, len);
    if (status != STATUS_OK) return status;
    if (is_memory(reader) || len <= RDB_CHUNK_BYTES) {
        status = ensure(reader, len);
        if (status != STATUS_OK) return status;
        *out = bytes_of(reader->at, len);
        reader->at += len;
        return STATUS_OK;
    }
    spill->len = 0;
    while (spill->len < len) {
        size_t step = spill->len < RDB_CHUNK_BYTES ? RDB_CHUNK_BYTES : spill->len;
        if (step > len - spill->len) step = len - spill->len;
        status = set_cap(reader, spill, spill->len + step);
        if (status == STATUS_OK) status = rdb_read_raw(reader, spill->data + spill->len, step);
        if (status != STATUS_OK) return status;
        spill->len += step;
    }
    *out = buffer_view(spill);
    return STATUS_OK;
}

static enum status read_lzf(struct rdb_reader *reader, struct buffer *spill, struct bytes *out) {
    uint64_t packed_len = 0;
    uint64_t len = 0;
    enum status status = rdb_read_length(reader, &packed_len);
    if (status == STATUS_OK) status = rdb_read_length(reader, &len);
    if (status == STATUS_OK) status = check_string_size(reader, packed_len);
    if (status == STATUS_OK) status = check_string_size(reader, len);
    if (status != STATUS_OK) return status;
    bool is_possible = packed_len > 0 && packed_len <= UINT_MAX && len > 0 && len <= UINT_MAX &&
                       len <= packed_len * LZF_RATIO_MAX + LZF_SLACK;
    if (!is_possible) return fail_corrupt(reader, "Invalid LZF compressed string");
    struct bytes packed = {0};
    status = take(reader, packed_len, &reader->packed, &packed);
    if (status != STATUS_OK) return status;
    spill->len = 0;
    status = set_cap(reader, spill, len);
    if (status != STATUS_OK) return status;
    unsigned unpacked =
        lzf_decompress(packed.data, (unsigned)packed_len, spill->data, (unsigned)len);
    if (unpacked != len) return fail_corrupt(reader, "Invalid LZF compressed string");
    spill->len = len;
    *out = buffer_view(spill);
    return STATUS_OK;
}

static enum status read_integer(struct rdb_reader *reader, unsigned width, struct bytes *out) {
    uint64_t bits = 0;
    enum status status = read_little_endian(reader, width, &bits);
    if (status != STATUS_OK) return status;
    unsigned unused = 64 - 8 * width;
    int64_t number = (int64_t)(bits << unused) >> unused;
    *out = bytes_of(reader->number_text, number_format_i64(number, reader->number_text));
    return STATUS_OK;
}

/* A string as a view, be it into the chunk, the number's text or `spill`. */
static enum status read_string(struct rdb_reader *reader, struct buffer *spill, struct bytes *out) {
    bool is_special = false;
    uint64_t length = 0;
    enum status status = read_length_or_encoding(reader, &length, &is_special);
    if (status != STATUS_OK) return status;
    if (!is_special) return take(reader, length, spill, out);
    switch (length) {
    case ENCODING_INT_8:
        return read_integer(reader, 1, out);
    case ENCODING_INT_16:
        return read_integer(reader, 2, out);
    case ENCODING_INT_32:
        return read_integer(reader, 4, out);
    case ENCODING_LZF:
        return read_lzf(reader, spill, out);
    default:
        return rdb_reader_fail(reader, STATUS_BAD_FORMAT, "Unknown RDB string encoding type %d",
                               (int)length);
    }
}

enum status rdb_read_view(struct rdb_reader *reader, struct bytes *out) {
    return read_string(reader, &reader->spill, out);
}

enum status rdb_read_string(struct rdb_reader *reader, struct buffer *out) {
    struct bytes view = {0};
    enum status status = read_string(reader, out, &view);
    if (status != STATUS_OK || view.data == out->data) return status;
    out->len = 0;
    status = set_cap(reader, out, view.len); // A claim that memory has proved: fill it in one go.
    if (status == STATUS_OK) buffer_append_bytes(out, view);
    return status;
}

enum status rdb_read_block(struct rdb_reader *reader, uint8_t **out, size_t *out_len) {
    struct buffer block = {0};
    struct bytes view = {0};
    enum status status = read_string(reader, &block, &view);
    if (status != STATUS_OK) goto fail;
    if (view.data != block.data || block.data == NULL) {
        status = set_cap(reader, &block, view.len > 0 ? view.len : 1);
        if (status != STATUS_OK) goto fail;
        buffer_append_bytes(&block, view);
    }
    *out = block.data;
    *out_len = view.len;
    return STATUS_OK;

fail:
    buffer_deinit(&block);
    return status;
}

enum status rdb_skip_string(struct rdb_reader *reader) {
    bool is_special = false;
    uint64_t length = 0;
    enum status status = read_length_or_encoding(reader, &length, &is_special);
    if (status != STATUS_OK) return status;
    if (!is_special) return skip_raw(reader, length);
    switch (length) {
    case ENCODING_INT_8:
        return skip_raw(reader, 1);
    case ENCODING_INT_16:
        return skip_raw(reader, 2);
    case ENCODING_INT_32:
        return skip_raw(reader, 4);
    case ENCODING_LZF: {
        uint64_t packed_len = 0;
        uint64_t len = 0;
        status = rdb_read_length(reader, &packed_len);
        if (status == STATUS_OK) status = rdb_read_length(reader, &len);
        return status == STATUS_OK ? skip_raw(reader, packed_len) : status;
    }
    default:
        return rdb_reader_fail(reader, STATUS_BAD_FORMAT, "Unknown RDB string encoding type %d",
                               (int)length);
    }
}

/* `numbers` plain numbers, whatever they say. */
static enum status skip_lengths(struct rdb_reader *reader, unsigned numbers) {
    uint64_t value = 0;
    enum status status = reader->error.status;
    while (status == STATUS_OK && numbers-- > 0)
        status = rdb_read_length(reader, &value);
    return status;
}

/* A count, and for each one `strings` strings and then `raw` bytes. */
static enum status skip_items(struct rdb_reader *reader, unsigned strings, unsigned raw) {
    uint64_t count = 0;
    enum status status = rdb_read_count(reader, &count);
    while (status == STATUS_OK && count-- > 0) {
        for (unsigned i = 0; status == STATUS_OK && i < strings; i++)
            status = rdb_skip_string(reader);
        if (status == STATUS_OK) status = skip_raw(reader, raw);
    }
    return status;
}

static enum status skip_text_zset(struct rdb_reader *reader) {
    uint64_t count = 0;
    double score = 0;
    enum status status = rdb_read_count(reader, &count);
    while (status == STATUS_OK && count-- > 0) {
        status = rdb_skip_string(reader);
        if (status == STATUS_OK) status = rdb_read_text_double(reader, &score);
    }
    return status;
}

static enum status skip_list_nodes(struct rdb_reader *reader) {
    uint64_t count = 0;
    enum status status = rdb_read_count(reader, &count);
    while (status == STATUS_OK && count-- > 0) {
        status = skip_lengths(reader, 1);
        if (status == STATUS_OK) status = rdb_skip_string(reader);
    }
    return status;
}

static enum status skip_consumer_group(struct rdb_reader *reader, unsigned type) {
    enum { ID_BYTES = 16, TIME_BYTES = 8 };
    enum status status = rdb_skip_string(reader);
    if (status == STATUS_OK) status = skip_lengths(reader, type == RDB_TYPE_STREAM_1 ? 2 : 3);
    uint64_t count = 0;
    if (status == STATUS_OK) status = rdb_read_count(reader, &count);
    while (status == STATUS_OK && count-- > 0) {
        status = skip_raw(reader, ID_BYTES + TIME_BYTES);
        if (status == STATUS_OK) status = skip_lengths(reader, 1);
    }
    if (status == STATUS_OK) status = rdb_read_count(reader, &count);
    while (status == STATUS_OK && count-- > 0) {
        status = rdb_skip_string(reader);
        unsigned times = type == RDB_TYPE_STREAM_3 ? 2 : 1;
        if (status == STATUS_OK) status = skip_raw(reader, (uint64_t)times * TIME_BYTES);
        if (status == STATUS_OK) status = skip_items(reader, 0, ID_BYTES);
    }
    return status;
}

static enum status skip_stream(struct rdb_reader *reader, unsigned type) {
    enum status status = skip_items(reader, 2, 0);
    if (status == STATUS_OK) status = skip_lengths(reader, type == RDB_TYPE_STREAM_1 ? 3 : 8);
    uint64_t groups = 0;
    if (status == STATUS_OK) status = rdb_read_count(reader, &groups);
    while (status == STATUS_OK && groups-- > 0)
        status = skip_consumer_group(reader, type);
    return status;
}

enum status rdb_skip_module_data(struct rdb_reader *reader) {
    enum { MODULE_END, MODULE_SINT, MODULE_UINT, MODULE_FLOAT, MODULE_DOUBLE, MODULE_STRING };
    for (;;) {
        uint64_t opcode = 0;
        enum status status = rdb_read_length(reader, &opcode);
        if (status != STATUS_OK) return status;
        switch (opcode) {
        case MODULE_END:
            return STATUS_OK;
        case MODULE_SINT:
        case MODULE_UINT:
            status = skip_lengths(reader, 1);
            break;
        case MODULE_FLOAT:
            status = skip_raw(reader, 4);
            break;
        case MODULE_DOUBLE:
            status = skip_raw(reader, 8);
            break;
        case MODULE_STRING:
            status = rdb_skip_string(reader);
            break;
        default:
            return fail_corrupt(reader, "Unknown opcode in module data");
        }
        if (status != STATUS_OK) return status;
    }
}

enum status rdb_skip_value(struct rdb_reader *reader, unsigned type) {
    switch (type) {
    case RDB_TYPE_STRING:
    case RDB_TYPE_HASH_ZIPMAP:
    case RDB_TYPE_LIST_ZIPLIST:
    case RDB_TYPE_SET_INTSET:
    case RDB_TYPE_ZSET_ZIPLIST:
    case RDB_TYPE_HASH_ZIPLIST:
    case RDB_TYPE_HASH_LISTPACK:
    case RDB_TYPE_ZSET_LISTPACK:
    case RDB_TYPE_SET_LISTPACK:
        return rdb_skip_string(reader);
    case RDB_TYPE_LIST:
    case RDB_TYPE_SET:
    case RDB_TYPE_LIST_ZIPLISTS:
        return skip_items(reader, 1, 0);
    case RDB_TYPE_HASH:
        return skip_items(reader, 2, 0);
    case RDB_TYPE_ZSET:
        return skip_items(reader, 1, sizeof(double));
    case RDB_TYPE_ZSET_TEXT:
        return skip_text_zset(reader);
    case RDB_TYPE_LIST_NODES:
        return skip_list_nodes(reader);
    case RDB_TYPE_STREAM_1:
    case RDB_TYPE_STREAM_2:
    case RDB_TYPE_STREAM_3:
        return skip_stream(reader, type);
    case RDB_TYPE_MODULE: {
        enum status status = skip_lengths(reader, 1);
        return status == STATUS_OK ? rdb_skip_module_data(reader) : status;
    }
    default:
        return rdb_reader_fail(reader, STATUS_UNSUPPORTED, "Unknown RDB encoding type %u", type);
    }
}

void rdb_module_name(uint64_t id, char out[10]) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (unsigned i = 0; i < 9; i++)
        out[i] = letters[id >> (58 - 6 * i) & 0x3f];
    out[9] = '\0';
}

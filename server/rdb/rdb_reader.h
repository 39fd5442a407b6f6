/* Reads the primitives of the RDB format from hostile input, in bounded memory.
 *
 * Bytes come from memory or are pulled from a source, 64 KB at a time. What the input claims is
 * never trusted: a string of a source is given memory as its bytes arrive (at most double what has
 * arrived), one from memory only if its bytes are there, and a compressed one at most the 264-fold
 * of its compressed bytes, which is the most that the encoding can reach.
 *
 * The first failure stays: it is kept in `error`, with the offset where the reading stood, and
 * every later call returns its status at once. So a loader may read several things and look once.
 *
 *     STATUS_CLOSED        the input ended too early ("short read"; a link may be tried again)
 *     STATUS_BAD_FORMAT    corrupt
 *     STATUS_UNSUPPORTED   a version, type or opcode that this build does not read
 *     STATUS_BAD_CHECKSUM  the checksum does not match
 *     STATUS_OUT_OF_RANGE  a database number beyond the configured ones
 *     STATUS_TOO_BIG       a string beyond `string_max_bytes`
 *     STATUS_NO_MEMORY     no memory for the bytes that arrived
 *     anything else        what the source returned
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "server/base/number.h"
#include "server/base/status.h"

#define RDB_CHUNK_BYTES ((size_t)64 * 1024)
#define RDB_STRING_MAX_BYTES (((uint64_t)1 << 32) - 1)

/* The most that rdb_reader_hold keeps. */
#define RDB_HELD_MAX ((size_t)16 * 1024 * 1024)

struct rdb_source {
    /* Puts 1 .. cap bytes to `out` and their number to `out_len`; 0 is the end of the input.
     * Anything but STATUS_OK ends the reading with that status. May wait. */
    enum status (*fill)(void *context, uint8_t *out, size_t cap, size_t *out_len);
    void *context;
};

struct rdb_error {
    enum status status;
    uint64_t offset; /* Bytes of the input that had been consumed. */
    char reason[192];
};

/* Create with rdb_reader_init…; only `error` is for others to look at. */
struct rdb_reader {
    const uint8_t *at; /* What is at hand and not consumed: at .. end. */
    const uint8_t *end;
    const uint8_t *unsummed; /* Consumed bytes from here to `at` are not in `checksum` yet. */
    uint64_t end_offset;     /* Offset of `end` in the input. */
    uint64_t checksum;
    uint64_t string_max_bytes;
    struct rdb_source source; /* `fill` is NULL: all the input is at hand. */
    uint8_t *chunk;
    size_t chunk_cap;
    size_t chunk_bytes;   /* What a fresh one has. */
    bool is_retiring;     /* Chunks are given away, not overwritten: rdb_reader_retire_chunks. */
    uint8_t *retired;     /* One that nobody has taken yet, or NULL. */
    const uint8_t *held;  /* What was consumed from here on stays at hand; NULL: nothing does. */
    struct buffer spill;  /* The last string, if it does not lie in the chunk. */
    struct buffer packed; /* Its compressed form, if that does not. */
    char number_text[NUMBER_TEXT_MAX];
    struct rdb_error error;
};

/* The source is used until rdb_reader_deinit. */
void rdb_reader_init(struct rdb_reader *reader, struct rdb_source source);

/* The bytes stay the caller's, unchanged until rdb_reader_deinit. */
void rdb_reader_init_memory(struct rdb_reader *reader, struct bytes bytes);
void rdb_reader_deinit(struct rdb_reader *reader);

/* Begins with other bytes, and keeps the room for strings. Only after rdb_reader_init_memory. */
void rdb_reader_reset_memory(struct rdb_reader *reader, struct bytes bytes);

/* -- what was consumed as it stood in the input, for others to read -- */

/* From now on a chunk whose bytes have been consumed is not overwritten: the caller takes it with
 * rdb_reader_take_retired before it goes on to the next value. (A chunk that is not taken in time
 * is overwritten after all.) Chunks have `chunk_bytes` then, at least RDB_CHUNK_BYTES. With a
 * source only. */
void rdb_reader_retire_chunks(struct rdb_reader *reader, size_t chunk_bytes);

/* The chunk that ended before the place of the last rdb_reader_hold (or that reading has left
 * since) or NULL; views into it stay valid until the caller frees it with mem_free. */
MUST_USE uint8_t *rdb_reader_take_retired(struct rdb_reader *reader);

/* What is skipped (rdb_skip_…) from here on stays in one piece at hand until rdb_reader_release,
 * which gives it. When that becomes more than RDB_HELD_MAX, STATUS_TOO_BIG is returned, which does
 * not stay: the caller goes back and reads instead. */
void rdb_reader_hold(struct rdb_reader *reader);
struct bytes rdb_reader_release(struct rdb_reader *reader);
void rdb_reader_go_back(struct rdb_reader *reader); /* To where it was held, and releases. */

/* Fails the reading with a reason of the caller's, unless it has failed before. Returns the status
 * that stays. */
enum status rdb_reader_fail(struct rdb_reader *reader, enum status status, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* Bytes consumed so far. */
uint64_t rdb_reader_offset(const struct rdb_reader *reader);

/* CRC64 of the bytes consumed so far. */
uint64_t rdb_reader_checksum(struct rdb_reader *reader);

/* What has been pulled from the source and not consumed (what follows the file in the same stream,
 * when reading is over). Valid until the next read. */
struct bytes rdb_reader_rest_view(const struct rdb_reader *reader);

MUST_USE enum status rdb_read_u8(struct rdb_reader *reader, uint8_t *out);
MUST_USE enum status rdb_read_raw(struct rdb_reader *reader, void *out, size_t len);
MUST_USE enum status rdb_read_double(struct rdb_reader *reader, double *out);      /* Any bits. */
MUST_USE enum status rdb_read_text_double(struct rdb_reader *reader, double *out); /* Type 3. */
MUST_USE enum status rdb_read_ms(struct rdb_reader *reader, int64_t *out);

/* The id of an entry of a stream: 16 bytes, or two plain numbers. */
struct rdb_stream_id {
    uint64_t ms;
    uint64_t seq;
};
MUST_USE enum status rdb_read_stream_id(struct rdb_reader *reader, struct rdb_stream_id *out);
MUST_USE enum status rdb_read_stream_id_lengths(struct rdb_reader *reader,
                                                struct rdb_stream_id *out);

/* As strcmp does. */
static inline int rdb_stream_id_compare(struct rdb_stream_id a, struct rdb_stream_id b) {
    if (a.ms != b.ms) return a.ms < b.ms ? -1 : 1;
    return (a.seq > b.seq) - (a.seq < b.seq);
}

/* A plain 64-bit number; a special encoding in its place is corrupt. */
MUST_USE enum status rdb_read_length(struct rdb_reader *reader, uint64_t *out);

/* A number of things that follow, each at least a byte: refuses more than the input can hold as far
 * as that is known. Don't allocate by it: the things may never arrive. */
MUST_USE enum status rdb_read_count(struct rdb_reader *reader, uint64_t *out);

/* A string in any of its encodings, as a view that the next call on this reader ends. */
MUST_USE enum status rdb_read_view(struct rdb_reader *reader, struct bytes *out);

/* The same, replacing what `out` holds. */
MUST_USE enum status rdb_read_string(struct rdb_reader *reader, struct buffer *out);

/* The same, into memory of its exact size that the caller frees with mem_free (not NULL even when
 * the string is empty). */
MUST_USE enum status rdb_read_block(struct rdb_reader *reader, uint8_t **out, size_t *out_len);

MUST_USE enum status rdb_skip_string(struct rdb_reader *reader);

/* Skips the value of a key, modules' included, without looking into blobs. */
MUST_USE enum status rdb_skip_value(struct rdb_reader *reader, unsigned type);

/* Skips what follows a module's id, up to its end mark. */
MUST_USE enum status rdb_skip_module_data(struct rdb_reader *reader);

/* The nine characters of a module id, and NUL. */
void rdb_module_name(uint64_t id, char out[10]);

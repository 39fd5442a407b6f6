/* Writes the primitives of the RDB format, version 10.
 *
 * Everything goes to the writer's buffer. With a sink the buffer is handed on whenever it passes
 * 64 KB and at the end, and long strings pass it by; without one it holds the whole output. A
 * sink's failure stays: later calls do nothing, and rdb_writer_status says it. So a saver writes
 * and looks once.
 *
 * The checksum of everything written runs along (`has_checksum` off writes 0 in its place).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "server/base/status.h"
#include "server/rdb/rdb_format.h"

struct rdb_sink {
    /* Takes all the bytes or fails; they are the writer's. */
    enum status (*write)(void *context, struct bytes bytes);
    void *context;
};

struct rdb_writer_options {
    struct rdb_sink sink; /* `write` NULL: keep everything in the buffer. */
    bool has_checksum;    /* rdbchecksum */
    bool is_compressing;  /* rdbcompression; strings of kinds that stay as long are seldom tried. */
};

enum { RDB_WRITER_LENGTH_BITS = 16 };

/* Create with rdb_writer_init. `buffer` is for others to read when there is no sink. */
struct rdb_writer {
    struct buffer buffer;
    struct buffer packed; /* Where compression tries. */
    struct rdb_writer_options options;
    uint64_t checksum;
    uint64_t handed_on_bytes;
    size_t summed; /* Bytes of the buffer that are in `checksum`. */
    /* By the bits of a string's length: how many in a row compression did not make smaller. */
    uint8_t tries_in_vain[RDB_WRITER_LENGTH_BITS];
    enum status status;
};

void rdb_writer_init(struct rdb_writer *writer, const struct rdb_writer_options *options);
void rdb_writer_deinit(struct rdb_writer *writer);

/* STATUS_OK, or what the sink returned first. */
enum status rdb_writer_status(const struct rdb_writer *writer);

/* Bytes written so far, handed on or not. */
uint64_t rdb_writer_offset(const struct rdb_writer *writer);

/* Hands what the buffer holds to the sink, if there is one. */
void rdb_writer_flush(struct rdb_writer *writer);

/* The items of a file, in the order in which servers write them. */
void rdb_write_header(struct rdb_writer *writer);
void rdb_write_aux(struct rdb_writer *writer, const char *name, struct bytes value);
void rdb_write_aux_number(struct rdb_writer *writer, const char *name, int64_t value);
void rdb_write_function(struct rdb_writer *writer, struct bytes source);
void rdb_write_select_db(struct rdb_writer *writer, uint64_t db);
void rdb_write_resize_db(struct rdb_writer *writer, uint64_t keys, uint64_t keys_with_expiry);
void rdb_write_end(struct rdb_writer *writer); /* EOF, checksum, flush. */

/* What stands before a key's value: attributes as they apply, then rdb_write_key. */
void rdb_write_expiry(struct rdb_writer *writer, int64_t expires_at_ms);
void rdb_write_idle(struct rdb_writer *writer, uint64_t idle_seconds);
void rdb_write_freq(struct rdb_writer *writer, uint8_t counter);
void rdb_write_key(struct rdb_writer *writer, enum rdb_type type, struct bytes name);

/* Primitives. */
void rdb_write_u8(struct rdb_writer *writer, uint8_t byte);
void rdb_write_raw(struct rdb_writer *writer, struct bytes bytes);
void rdb_write_length(struct rdb_writer *writer, uint64_t length);
void rdb_write_string(struct rdb_writer *writer, struct bytes text);
void rdb_write_integer(struct rdb_writer *writer, int64_t number); /* A string: its decimal. */
void rdb_write_double(struct rdb_writer *writer, double value);
void rdb_write_ms(struct rdb_writer *writer, int64_t ms);
void rdb_write_stream_id(struct rdb_writer *writer, uint64_t ms, uint64_t seq);

/* The frame of a DUMP payload around what has been written (a type byte and a value, or function
 * items): version and checksum, which is never left out. Only without a sink. */
void rdb_write_dump_footer(struct rdb_writer *writer);

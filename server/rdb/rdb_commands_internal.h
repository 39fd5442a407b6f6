/* What the files of the conversion to commands share. */
#pragma once

#include <stdint.h>

#include "server/base/buffer.h"
#include "server/rdb/rdb_commands.h"

enum { COMMAND_ITEMS_MAX = 64, COMMAND_BYTES_MAX = 1 << 16 };

struct rdb_commands {
    struct rdb_reader *reader;
    struct rdb_sink sink;
    enum status status; /* The sink's first failure. */
    struct buffer out;  /* On its way to the sink. */
    struct buffer key;  /* At work. */

    /* The items of the next command of a collection. */
    const char *verb;
    struct buffer words;
    uint64_t word_count;
    uint64_t item_count;
};

/* A command of `count` words: its head, then each of them. */
void rdb_commands_begin(struct rdb_commands *commands, uint64_t count);
void rdb_commands_word(struct rdb_commands *commands, struct bytes word);
void rdb_commands_text(struct rdb_commands *commands, const char *word);
void rdb_commands_number(struct rdb_commands *commands, int64_t number);
void rdb_commands_key(struct rdb_commands *commands);

/* Reads the value of a stream of this type and writes its commands. */
MUST_USE enum status rdb_commands_stream(struct rdb_commands *commands, unsigned type);

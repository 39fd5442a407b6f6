/* Reads the commands of an append-only log out of a file's bytes, without IO of its own.
 *
 * A log is commands in the form of requests, and between them annotations:
 *
 *     #TS:1628217470\r\n
 *     *3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n
 *
 * The caller feeds the file in pieces of any size and takes out what is complete; at the end the
 * reader says whether the file was complete, was cut off, or is damaged, and up to where it may be
 * trusted:
 *
 *     do {
 *         aof_reader_feed(reader, piece);
 *         while ((kind = aof_reader_next(reader, &event)) > AOF_EVENT_BROKEN)
 *             …
 *     } while (kind != AOF_EVENT_BROKEN && …);
 *     aof_reader_end(reader, &verdict);
 *
 * A unit is what can be kept or cut off as a whole: a command, an annotation, or everything from a
 * MULTI to its EXEC. The commands of a transaction are given one by one all the same, so a loader
 * puts them aside until the EXEC. DISCARD is a command like others: nobody logs one.
 *
 * Lengths are not trusted. A reader that keeps arguments holds the bytes of one command as they
 * arrive, at most doubled, and 24 bytes for each argument that has arrived; one that does not holds
 * no more than a piece and a line, however long the arguments are.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"

/* Longest line with an annotation and longest line with a number, their ends included. */
#define AOF_ANNOTATION_MAX_BYTES 1024u
#define AOF_NUMBER_LINE_MAX_BYTES 127u

/* No argument can be longer: offsets behind it would not fit a file's. */
#define AOF_ARGUMENT_MAX_BYTES ((uint64_t)INT64_MAX - 2)

struct aof_reader_options {
    uint64_t start_offset;       /* Of the first byte: a snapshot may precede the commands. */
    uint64_t argument_max_bytes; /* More is damage; 0: AOF_ARGUMENT_MAX_BYTES. */
    uint64_t argument_max_count; /* More is damage; 0: any number. */
    bool keeps_arguments;        /* Gives argv; without, only the form is looked at. */
    bool checks_nesting;         /* A MULTI in a transaction or an EXEC outside is damage. */
};

enum aof_event_kind {
    AOF_EVENT_MORE,       /* Feed more, or end. */
    AOF_EVENT_BROKEN,     /* Nothing will follow. */
    AOF_EVENT_COMMAND,    /* argc, argv */
    AOF_EVENT_TIMESTAMP,  /* timestamp, text */
    AOF_EVENT_ANNOTATION, /* text: any other one, also a timestamp that is none */
};

/* Views end with the next call on the reader. */
struct aof_event {
    uint64_t offset; /* Of its first byte in the file. */
    const struct bytes *argv;
    uint64_t argc;          /* At least 1. */
    struct bytes text;      /* The line without its end. */
    int64_t timestamp;      /* Unix time in seconds. */
    bool is_in_transaction; /* Between MULTI and EXEC; not of the MULTI, true of the EXEC. */
    bool ends_transaction;
};

enum aof_outcome {
    AOF_COMPLETE,
    AOF_TRUNCATED, /* The file ends within a unit; without the unit it is complete. */
    AOF_CORRUPT,
};

/* What was met where something else should have been. */
enum aof_fault {
    AOF_FAULT_NONE,
    AOF_FAULT_RECORD,     /* Neither a command nor an annotation begins here. */
    AOF_FAULT_PREFIX,     /* got[0] instead of '$'. */
    AOF_FAULT_LINE_END,   /* got instead of CR LF; zeros stand for bytes that are not there. */
    AOF_FAULT_NUMBER,     /* A line ends without a number. */
    AOF_FAULT_COUNT,      /* A command with `expected` arguments: none, or more than allowed. */
    AOF_FAULT_LENGTH,     /* An argument of `expected` bytes. */
    AOF_FAULT_SHORT,      /* `expected` bytes of an argument and its line end, but only `found`. */
    AOF_FAULT_END,        /* The file ends where a command or an annotation goes on. */
    AOF_FAULT_MULTI,      /* MULTI within a transaction. */
    AOF_FAULT_EXEC,       /* EXEC without MULTI. */
    AOF_FAULT_OPEN_MULTI, /* The file ends between two commands of a transaction. */
};

struct aof_verdict {
    enum aof_outcome outcome;
    enum aof_fault fault;
    uint64_t valid_bytes;  /* Offset of the end of the last complete unit: cut the file here. */
    uint64_t fault_offset; /* Of the line or the argument at which the reading ended. */
    uint64_t line_count;   /* Numbers and arguments that were read, in all: a line each. */
    int64_t expected;
    int64_t found;
    uint8_t got[2];
    bool is_in_transaction; /* A MULTI is open; its beginning is at valid_bytes. */
};

struct aof_reader;

struct aof_reader *aof_reader_create(const struct aof_reader_options *options);
void aof_reader_destroy(struct aof_reader *reader); /* NULL is fine. */

/* Adds the next bytes of the file, which are copied. */
void aof_reader_feed(struct aof_reader *reader, struct bytes piece);

/* Takes out what comes next. `out` is set for the kinds behind AOF_EVENT_BROKEN. */
MUST_USE enum aof_event_kind aof_reader_next(struct aof_reader *reader, struct aof_event *out);

/* Judges the file, as if it ended with what was fed. Everything is to be taken out first: the last
 * call of aof_reader_next gave AOF_EVENT_MORE or AOF_EVENT_BROKEN. */
void aof_reader_end(const struct aof_reader *reader, struct aof_verdict *out);

/* Offset of the end of the last complete unit so far. */
uint64_t aof_reader_valid_bytes(const struct aof_reader *reader);

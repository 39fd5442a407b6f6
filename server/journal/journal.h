/* The journal: the single ordered log of effects.
 *
 * An execution unit (a command, an EXEC, the expiry that came with them) is appended whole, under
 * the journal's lock, while the slots that it changed are still locked: so the journal's order is
 * each slot's order. Effects are commands rewritten to be deterministic. Replicas read at positions
 * of their own; what PSYNC calls the backlog is the journal's tail. The append-only file takes a
 * form of its own, the *log*: without what is for replicas alone, with SELECTs of its own, and with
 * what a writable replica writes for itself. Without a reader nothing is written.
 *
 * Two coordinates. A *log position* counts the bytes of the log since the process began: gates and
 * the append-only file use it. The *replication offset* is what PSYNC speaks of: it starts from
 * what a file or a primary said and counts only what replicas get. Neither is ever derived from the
 * other.
 *
 * Bytes lie in blocks. A reader pins the blocks from its place on; a block goes when no reader pins
 * it and the backlog no longer needs it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "server/base/compiler.h"

struct journal;
struct journal_reader;

enum {
    JOURNAL_FOR_REPLICAS = 1 << 0,
    JOURNAL_FOR_LOG = 1 << 1,
    JOURNAL_FOR_ALL = JOURNAL_FOR_REPLICAS | JOURNAL_FOR_LOG,
};

/* The effects of one execution unit, in order. An all-zero struct is empty. */
struct journal_effect {
    uint32_t db;
    size_t end; /* Where it ends in `bytes`; it begins where the one before ended. */
    uint8_t targets;
    bool is_servers_own; /* No command's: goes to all targets. */
};

struct journal_unit {
    struct buffer bytes; /* RESP arrays of bulk strings. */
    struct journal_effect *effects;
    uint32_t count;
    uint32_t cap;
};

void journal_unit_add(struct journal_unit *unit, uint32_t db, const struct bytes *argv,
                      uint32_t argc);
/* What was added after the first `count` effects is for these targets alone, which may be none. */
void journal_unit_restrict(struct journal_unit *unit, uint32_t count, unsigned targets);
/* It is the server's own decision (a key expired): nobody restricts it. */
void journal_unit_mark_own(struct journal_unit *unit, uint32_t count);
void journal_unit_clear(struct journal_unit *unit); /* Keeps the memory. */
void journal_unit_deinit(struct journal_unit *unit);

struct journal *journal_create(void);
void journal_destroy(struct journal *journal);

/* True while effects are wanted: there is a backlog, or the log is open. One relaxed load. */
bool journal_is_wanted(const struct journal *journal);

/* What lies behind a unit. */
struct journal_mark {
    uint64_t offset;
    uint64_t log_position;
};

/* Appends a unit: SELECT where the database differs from the stream's, MULTI and EXEC around
 * several effects. The slots it changed are locked. */
void journal_append(struct journal *journal, const struct journal_unit *unit, unsigned targets,
                    struct journal_mark *out_mark);

/* Appends bytes of the stream as they are: for replicas only (PING, GETACK). */
void journal_append_raw(struct journal *journal, struct bytes stream);

/* A whole unit of a primary's stream on its replica: the bytes as they are for replicas, and its
 * effects for the log. */
void journal_append_stream(struct journal *journal, struct bytes stream,
                           const struct journal_unit *unit);

/* Called, on the appending thread and without locks, when bytes were appended after everybody was
 * up to date; at most once until journal_readers_served. Main sets it: it wakes the readers'
 * workers. */
void journal_set_wake(struct journal *journal, void (*wake)(void *state), void *state);

/* The readers have been told to look: the next append wakes again. Called before they look. */
void journal_readers_served(struct journal *journal);

/* -- replication -- */

uint64_t journal_offset(const struct journal *journal); /* master_repl_offset */

/* Creates the backlog (empty, its first byte is offset + 1), or keeps the one there is. */
void journal_open_backlog(struct journal *journal);
void journal_close_backlog(struct journal *journal);
bool journal_has_backlog(const struct journal *journal);
void journal_set_backlog_size(struct journal *journal, uint64_t bytes);

/* Sets the replication offset (a full synchronisation, a file with replication fields). Drops the
 * backlog's bytes. Everything parked. */
void journal_set_offset(struct journal *journal, uint64_t offset);

/* Makes the next effect begin with SELECT, whatever its database. */
void journal_forget_database(struct journal *journal);
void journal_set_database(struct journal *journal, int db);
int journal_database(const struct journal *journal); /* -1: none selected. */

/* -- the log -- */

/* From here on the log gathers bytes; its database is none. Everything parked. */
void journal_open_log(struct journal *journal);
/* What has gathered and was not taken is dropped. Everything parked. */
void journal_close_log(struct journal *journal);
bool journal_is_logged(const struct journal *journal); /* One relaxed load. */

/* Annotates the log with the time whenever a second has passed. */
void journal_stamp_log(struct journal *journal, bool is_stamped);

/* The next effect in the log begins with SELECT: another file begins. Everything parked. */
void journal_forget_log_database(struct journal *journal);

/* Behind everything that was appended. */
uint64_t journal_log_position(const struct journal *journal);

/* Moves what has gathered to the end of `out`. Returns the places behind it. */
struct journal_mark journal_take_log(struct journal *journal, struct buffer *out);

struct journal_backlog {
    bool is_open;
    uint64_t size;              /* Configured. */
    uint64_t first_byte_offset; /* 0 without a backlog. */
    uint64_t length;
    uint64_t memory_bytes;
};
void journal_backlog_read(const struct journal *journal, struct journal_backlog *out);

/* A reader whose next byte is the one after replication offset `offset`. NULL when the backlog does
 * not reach back so far, or `offset` lies ahead. Any thread; the reader then belongs to one thread.
 */
struct journal_reader *journal_reader_open(struct journal *journal, uint64_t offset);
void journal_reader_close(struct journal_reader *reader); /* NULL is fine. */

/* The next run of bytes, empty when the reader is up to date. Valid until advance or close. */
struct bytes journal_reader_peek(struct journal_reader *reader);
void journal_reader_advance(struct journal_reader *reader, size_t count);
uint64_t journal_reader_lag(const struct journal_reader *reader);    /* Bytes not yet read. */
uint64_t journal_reader_offset(const struct journal_reader *reader); /* Of the last byte read. */

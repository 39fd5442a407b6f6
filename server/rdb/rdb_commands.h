/* Turns an RDB file into commands that build the same data set: the base of an append-only log with
 * `aof-use-rdb-preamble no`.
 *
 *     SELECT 0                           before the first key of a database
 *     SET, RPUSH, SADD, ZADD, HMSET      64 items or 64 KB a command
 *     XADD, XSETID, XGROUP, XCLAIM       a stream, its counters, its groups and what is pending
 *     PEXPIREAT                          behind the value of a key that expires
 *     FUNCTION LOAD
 *
 * What commands can't tell is left out: idle times, counters of use, when a consumer was last seen,
 * and pending entries of a stream whose entry was deleted (XCLAIM needs it).
 *
 * Held at a time are a string or a node of a value, what a command needs, and 32 bytes for each
 * pending entry of a group. Source: spec/aof.md 3.
 */
#pragma once

#include "server/base/compiler.h"
#include "server/base/status.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_writer.h"

/* Reads the file to its end and gives the commands to the sink. A failure of the input is in the
 * reader's `error`; anything else is what the sink returned. */
MUST_USE enum status rdb_write_as_commands(struct rdb_reader *reader, struct rdb_sink sink);

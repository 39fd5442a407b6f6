/* The frame of a DUMP payload: what it holds, then version (u16 LE) and CRC64 (u64 LE).
 *
 * rdb_write_dump_footer (rdb_writer.h) puts it around what a writer holds; here it is taken off.
 * The reading of what is inside is bounded to it, so a value that claims to reach into the footer
 * fails.
 */
#pragma once

#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "server/base/status.h"

#define RDB_DUMP_FOOTER_BYTES 10u

/* Gives what lies before the footer: a type byte and a value, or function items.
 *
 * Returns  STATUS_OK; `out_content` is a view into `payload` and may be empty;
 *          STATUS_BAD_FORMAT when it is too short for a footer,
 *          STATUS_UNSUPPORTED when its version is above RDB_VERSION_READABLE_DUMP,
 *          STATUS_BAD_CHECKSUM.
 */
MUST_USE enum status rdb_dump_open(struct bytes payload, struct bytes *out_content);

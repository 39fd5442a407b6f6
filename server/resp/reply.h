/* Replies: the one place that knows how RESP2 and RESP3 differ.
 *
 * A `struct reply` appends encoded values to a buffer that somebody else owns and sends. Callers
 * say what a value is (a map, a double, a null) and the protocol version decides about its form: a
 * map is a flat array for RESP2, a double a bulk string, and so on. Nothing here allocates beyond
 * the buffer's growth.
 */
#pragma once

#include <stdarg.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"

struct reply {
    struct buffer *out;
    uint8_t resp;         /* 2 or 3 */
    bool is_muted;        /* CLIENT REPLY OFF/SKIP, commands of a primary: values go nowhere. */
    uint32_t error_count; /* Errors written so far: whether a command failed. */
    char last_error[24];  /* First word of the last error, for INFO errorstats. */
};

void reply_ok(struct reply *reply);
void reply_simple(struct reply *reply, const char *text); /* "+text" */

/* "-text": the text begins with its code word ("ERR ...", "WRONGTYPE ..."). CR and LF in it become
 * spaces, since an argument of the client may be part of it. */
void reply_error(struct reply *reply, const char *text);
void reply_error_format(struct reply *reply, const char *format, ...) PRINTF_LIKE(2, 3);

void reply_integer(struct reply *reply, int64_t value);
void reply_bulk(struct reply *reply, struct bytes value);
void reply_bulk_text(struct reply *reply, const char *text);
void reply_bulk_integer(struct reply *reply, int64_t value); /* A number as a bulk string. */
void reply_bulk_format(struct reply *reply, const char *format, ...) PRINTF_LIKE(2, 3);

void reply_null(struct reply *reply);             /* "$-1" / "_" */
void reply_null_array(struct reply *reply);       /* "*-1" / "_" */
void reply_bool(struct reply *reply, bool value); /* ":1" / "#t" */
void reply_double(struct reply *reply, double value);
void reply_human_double(struct reply *reply, long double value); /* INCRBYFLOAT's digits. */
void reply_fixed_double(struct reply *reply, long double value); /* The same digits, as a double. */
void reply_verbatim(struct reply *reply, struct bytes text);     /* Bulk / "=txt:..." */

void reply_array(struct reply *reply, size_t count);
void reply_set(struct reply *reply, size_t count);
void reply_map(struct reply *reply, size_t pair_count);
void reply_push(struct reply *reply, size_t count);
void reply_empty_array(struct reply *reply);

/* An aggregate whose size is known only afterwards: begin, write the elements, end with the count.
 * They nest. The mark is only good for the same reply. Ending moves what was written behind the
 * mark by a few bytes. */
size_t reply_begin(struct reply *reply);
void reply_end_array(struct reply *reply, size_t mark, size_t count);
void reply_end_map(struct reply *reply, size_t mark, size_t pair_count);
void reply_end_set(struct reply *reply, size_t mark, size_t count);

/* Bytes that are RESP already, as they are. */
void reply_raw(struct reply *reply, struct bytes encoded);

/* True when the version in use is RESP3. */
static inline bool reply_is_resp3(const struct reply *reply) {
    return reply->resp >= 3;
}

/* The errors that many commands share. */
void reply_wrong_type(struct reply *reply);
void reply_syntax_error(struct reply *reply);
void reply_not_an_integer(struct reply *reply);

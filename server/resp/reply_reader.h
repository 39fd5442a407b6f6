/* Reads replies: the client's side of RESP2 and RESP3, without doing IO.
 *
 * Bytes go in as they arrive (reply_reader_feed), whole replies come out as trees
 * (reply_reader_next). A reply that arrives in many pieces is read on from where it stopped, never
 * from its beginning. The peer's claims are not believed: memory is taken for elements that have
 * arrived, not for a count that was announced, and depth and sizes are bounded.
 *
 * Words: a *reply* is one value; an *aggregate* is a reply with items; a *pair* is a key and a
 * value of a map (two items); *attributes* are the pairs that a server may send before a reply
 * about it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "server/base/status.h"

#define REPLY_DEPTH_MAX 64u                     /* Aggregates inside one another. */
#define REPLY_BULK_MAX (1024u * 1024u * 1024u)  /* Bytes of one string. */
#define REPLY_COUNT_MAX (1024u * 1024u * 1024u) /* Items of one aggregate. */
#define REPLY_LINE_MAX (64u * 1024u)            /* Bytes of one line, CRLF not counted. */

enum reply_kind {
    REPLY_SIMPLE,     /* text */
    REPLY_ERROR,      /* text, without '-'; also RESP3's bulk error */
    REPLY_INTEGER,    /* integer, and text as received */
    REPLY_BULK,       /* text */
    REPLY_NULL,       /* RESP2's two nulls and RESP3's */
    REPLY_DOUBLE,     /* text as received */
    REPLY_BOOLEAN,    /* integer is 0 or 1 */
    REPLY_BIG_NUMBER, /* text as received */
    REPLY_VERBATIM,   /* text without its format; format */
    REPLY_ARRAY,      /* items */
    REPLY_SET,        /* items */
    REPLY_PUSH,       /* items */
    REPLY_MAP,        /* items: key, value, key, value ... */
};

struct reply {
    enum reply_kind kind;
    char format[4]; /* REPLY_VERBATIM: "txt" or "mkd". */
    int64_t integer;
    struct bytes text;   /* Owned; NUL follows the last byte. */
    struct reply *items; /* Owned array of `count`. */
    size_t count;
    struct reply *attributes; /* Owned REPLY_MAP, or NULL. */
};

/* Frees a reply that reply_reader_next gave out. NULL is fine. */
void reply_destroy(struct reply *reply);

/* True for the kinds that have items. */
bool reply_is_aggregate(const struct reply *reply);

struct reply_reader;

struct reply_reader *reply_reader_create(void);
void reply_reader_destroy(struct reply_reader *reader); /* NULL is fine. */

/* Copies `bytes` behind those not yet consumed. */
void reply_reader_feed(struct reply_reader *reader, struct bytes bytes);

/* Reads the next reply.
 *
 * Returns STATUS_OK and hands the reply over: release it with reply_destroy;
 *         STATUS_AGAIN when more bytes are needed;
 *         STATUS_BAD_FORMAT or STATUS_TOO_BIG when the bytes are not RESP or break a bound. The
 *         reader then stays in that state: the connection is of no more use.
 */
MUST_USE enum status reply_reader_next(struct reply_reader *reader, struct reply **out_reply);

/* Bytes fed and not yet consumed: what a raw transfer that follows a reply begins with. The view
 * ends at the next call with this reader. */
struct bytes reply_reader_rest_view(const struct reply_reader *reader);

/* What was wrong, for people, as in `Protocol error, got "x" as reply type byte`. Empty before an
 * error. Lives as long as the reader. */
const char *reply_reader_error(const struct reply_reader *reader);

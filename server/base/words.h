/* A line of text cut into words the way configuration files, inline commands and the CLI's prompt
 * agree on.
 *
 * Words are separated by blanks (space, tab, newline, return, vertical tab, form feed, NUL ends the
 * line). A word may hold quoted parts: in "double quotes" \n \r \t \b \a are control characters,
 * \xHH is a byte and any other escaped character stands for itself; in 'single quotes' only \' is
 * an escape. A closing quote must be followed by a blank or the end.
 */
#pragma once

#include <stddef.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "server/base/status.h"

/* An all-zero struct has no words. The words are slices of `storage`. */
struct words {
    struct bytes *items;
    size_t count;
    size_t cap;
    struct buffer storage;
};

/* Cuts `line` into at most `max_count` words and puts them in place of what `words` held, reusing
 * its memory. The words do not point into `line`.
 *
 * Returns  STATUS_OK, also for a line without words;
 *          STATUS_BAD_FORMAT for unbalanced quotes, STATUS_TOO_BIG for more than `max_count` words,
 *          STATUS_NO_MEMORY; `words` is then empty.
 * Cost     linear in the line; at most len bytes and 16 bytes a word are held.
 */
MUST_USE enum status words_split(struct words *words, struct bytes line, size_t max_count);

void words_deinit(struct words *words); /* Frees the memory; `words` is empty again. */

/* Appends `word` between double quotes and escaped so that words_split reads it back unchanged. */
void words_append_quoted(struct buffer *out, struct bytes word);

/* Appends `word` as it is where words_split would read it back unchanged, quoted otherwise. */
void words_append(struct buffer *out, struct bytes word);

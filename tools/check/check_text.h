/* Names and values of a damaged or foreign file, for a terminal and for JSON. */
#pragma once

#include <stddef.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"

/* Appends the first `max_bytes` of a text; control characters, and bytes that are no UTF-8, become
 * \xNN. A text that is cut ends with "...". */
void check_append_readable(struct buffer *out, struct bytes text, size_t max_bytes);

/* Glob patterns as KEYS, SCAN, CONFIG GET and PSUBSCRIBE know them. */
#pragma once

#include <stdbool.h>

#include "server/base/bytes.h"

/* True when `pattern` matches the whole of `text`. Understands '*', '?', '[a-z]', '[^abc]' and
 * '\x'. An empty text is matched by an empty pattern only, as clients know it. A pattern that would
 * need exponential time is cut short: the work is bounded by the product of both lengths. */
bool glob_matches(struct bytes pattern, struct bytes text, bool ignore_case);

/* True when no byte of the pattern is special, so that a plain look-up does the same. */
bool glob_is_literal(struct bytes pattern);

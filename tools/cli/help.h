/* The answers to `help` at the prompt. */
#pragma once

#include <stddef.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "tools/cli/command_docs.h"
#include "tools/client/profile.h"

/* Appends the answer to `help` and the words behind it. */
void help_append(const struct command_docs *docs, const struct profile *profile, size_t word_count,
                 const struct bytes *words, struct buffer *out);

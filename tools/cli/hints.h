/* Hints and completion for a line that is being typed. No IO. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "tools/cli/command_docs.h"
#include "tools/client/word_list.h"

/* Appends what is missing behind the line, as in "value [NX|XX]": given options disappear,
 * alternatives collapse once one was typed, repeated arguments keep their "[x ...]" form. Nothing
 * when the command is unknown or the words do not fit it. */
void hint_append(const struct command_docs *docs, struct bytes line, struct buffer *out);

/* Appends the lines that Tab may turn `line` into, in the order of the docs: command and
 * sub-command names, and groups behind "help @". The case of what was typed is kept. */
void hint_complete(const struct command_docs *docs, struct bytes line, struct word_list *out);

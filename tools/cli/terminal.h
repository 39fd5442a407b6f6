/* Reads a line from the terminal: keys, drawing, hints in grey right of the cursor. */
#pragma once

#include <stdbool.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "tools/cli/edit.h"
#include "tools/cli/history.h"

struct terminal_prompt {
    struct bytes text;
    const struct history *history;
    edit_complete *complete;
    void (*hint)(void *context, struct bytes line, struct buffer *out); /* NULL: no hints. */
    void *context;
    struct bytes start; /* Bytes that were read already: they are keys, and come first. */
};

/* True when the terminal can be drawn on (not "dumb" and the like). */
bool terminal_is_editable(void);

/* Keys come as they are typed, without echo; Ctrl-C is a key. Undo with terminal_restore. */
void terminal_set_raw(void);
void terminal_restore(void);

/* Reads a line into `out`; EDIT_DONE, EDIT_END (also at the end of input) or EDIT_INTERRUPTED. The
 * terminal is raw during the call only. */
MUST_USE enum edit_result terminal_read_line(const struct terminal_prompt *prompt,
                                             struct buffer *out);

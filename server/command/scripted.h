/* Commands that a script calls: looked up, admitted and run inside the script's own command, with
 * everything parked. What they change is one unit of the journal.
 *
 * The order of the tests and their texts are Redis's; what a script has written once it may write
 * on, so that it is never stopped half way by a state of the node.
 */
#pragma once

#include "server/command/context.h"

/* What the script promised to leave alone. */
struct script_rights {
    bool is_read_only;      /* Flag no-writes, or EVAL_RO. */
    bool ignores_memory;    /* Flag allow-oom. */
    bool keeps_to_one_slot; /* In a cluster: has a shebang line without allow-cross-slot-keys. */
};

struct scripted {
    struct command_context *outer; /* Of EVAL. */
    struct session session;        /* The script's: its database, its protocol; replies to `out`. */
    struct buffer out;
    struct script_rights rights;
    unsigned targets; /* Who is told of what it writes (JOURNAL_FOR_*): all, at first. */
    bool has_written;
    bool has_slot; /* Of the first key that was declared or touched. */
    uint16_t slot;
};

/* `outer` is a command that runs with everything parked and has its keys as `outer`'s row says. */
void scripted_begin(struct scripted *scripted, struct command_context *outer,
                    const struct script_rights *rights);
void scripted_end(struct scripted *scripted);

/* Runs a command; its reply is then in `out`, which was emptied before. Else: why it may not run,
 * an error text that is good until the next call. */
const char *scripted_call(struct scripted *scripted, const struct bytes *argv, uint32_t argc);

/* Whether the user who runs the script may call this command. False: there is no such command. */
bool scripted_may_call(const struct scripted *scripted, const struct bytes *argv, uint32_t argc,
                       bool *out_may);

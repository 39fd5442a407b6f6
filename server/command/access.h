/* What a session's user may do, as dispatch asks for it.
 *
 * Users and their rules live a floor higher (server/acl), so dispatch asks through a hook. Most
 * sessions belong to a user that may do everything: they carry SESSION_ACCESS_ALL, and nothing is
 * asked. Users change only while everything is parked, and each session's word is brought up to
 * date with them.
 */
#pragma once

#include "server/command/command.h"

struct acl;
struct command_context;
struct command_entry;
struct dispatch_worker;
struct dispatcher;
struct session;

enum access_verdict {
    ACCESS_GRANTED,
    ACCESS_DENIED_COMMAND,
    ACCESS_DENIED_KEY,
    ACCESS_DENIED_CHANNEL,
};

/* Where a command stands that somebody wants to run: the log of what was denied tells it. */
enum access_place { ACCESS_AT_TOP, ACCESS_IN_MULTI, ACCESS_IN_SCRIPT };

struct access_request {
    const struct command *row;
    const struct bytes *argv;
    uint32_t argc;
    uint32_t command_id; /* command_table_id of the row. */
    enum access_place place;
    bool is_question; /* Nothing is going to run: a denial is not logged. */
};

/* Asks for a command of this session. Cost: a test when the user may do everything. */
enum access_verdict access_check(const struct dispatcher *dispatcher, struct session *session,
                                 const struct command_entry *entry, const struct bytes *argv,
                                 uint32_t argc, enum access_place place, bool is_question);

/* Before anything is locked: whether the command may go on. Answers NOAUTH or NOPERM if not. */
bool access_admit(struct dispatch_worker *worker, struct session *session,
                  const struct command_entry *entry, const struct bytes *argv, uint32_t argc);

/* For an EXEC: whether this command of its queue may still run. Answers the error if not. */
bool access_admit_queued(const struct dispatcher *dispatcher, struct session *session,
                         const struct command_entry *entry, const struct bytes *argv,
                         uint32_t argc);

/* Whether the session's user may read every key there is: what names keys that are not among the
 * arguments (SORT BY, GET) asks that. */
bool context_may_read_all_keys(const struct command_context *context);

/* Rules have changed: what was asked before a wait for locks is asked again. Everything parked. */
void dispatcher_access_changed(struct dispatcher *dispatcher);

#include "server/command/access.h"

#include <stdio.h>

#include "server/command/command_internal.h"

enum access_verdict access_check(const struct dispatcher *dispatcher, struct session *session,
                                 const struct command_entry *entry, const struct bytes *argv,
                                 uint32_t argc, enum access_place place, bool is_question) {
    if (LIKELY(session->access == SESSION_ACCESS_ALL)) return ACCESS_GRANTED;
    return dispatcher->hooks.may_run(dispatcher->modules->acl, session,
                                     &(struct access_request){
                                         .row = entry->row,
                                         .argv = argv,
                                         .argc = argc,
                                         .command_id = entry->id,
                                         .place = place,
                                         .is_question = is_question,
                                     });
}

/* An EXEC that is refused ends its transaction, and says so. */
static void reply_denied(struct session *session, const struct command *row,
                         enum access_verdict verdict) {
    const char *before =
        command_is_exec(row) ? "EXECABORT Transaction discarded because of: NOPERM" : "NOPERM";
    if (verdict == ACCESS_DENIED_COMMAND) {
        char name[96];
        command_full_name(row, name, sizeof(name));
        reply_error_format(&session->reply,
                           "%s this user has no permissions to run the '%s' command", before, name);
        return;
    }
    reply_error_format(&session->reply,
                       "%s this user has no permissions to access one of the %s used as arguments",
                       before, verdict == ACCESS_DENIED_KEY ? "keys" : "channels");
}

bool access_admit(struct dispatch_worker *worker, struct session *session,
                  const struct command_entry *entry, const struct bytes *argv, uint32_t argc) {
    const struct command *row = entry->row;
    worker->access_version = worker->dispatcher->access_version;
    session->command = row; // For the log of what was denied.
    if (session->access == SESSION_ACCESS_NONE) {
        if ((row->flags & COMMAND_NO_AUTH) != 0) return true;
        reply_error(&session->reply, "NOAUTH Authentication required.");
        return false;
    }
    enum access_place place = session->transaction == NULL ? ACCESS_AT_TOP : ACCESS_IN_MULTI;
    enum access_verdict verdict =
        access_check(worker->dispatcher, session, entry, argv, argc, place, false);
    if (verdict == ACCESS_GRANTED) return true;
    reply_denied(session, row, verdict);
    return false;
}

bool access_admit_queued(const struct dispatcher *dispatcher, struct session *session,
                         const struct command_entry *entry, const struct bytes *argv,
                         uint32_t argc) {
    static const char *const reasons[] = {
        [ACCESS_DENIED_COMMAND] = "no permission to execute the command or subcommand",
        [ACCESS_DENIED_KEY] = "no permission to touch the specified keys",
        [ACCESS_DENIED_CHANNEL] = "no permission to access one of the channels used as arguments",
    };
    enum access_verdict verdict =
        access_check(dispatcher, session, entry, argv, argc, ACCESS_IN_MULTI, false);
    if (LIKELY(verdict == ACCESS_GRANTED)) return true;
    reply_error_format(&session->reply,
                       "NOPERM ACLs rules changed between the moment the transaction was "
                       "accumulated and the EXEC call. This command is no longer allowed for the "
                       "following reason: %s",
                       reasons[verdict]);
    return false;
}

bool context_may_read_all_keys(const struct command_context *context) {
    const struct session *session = context->session;
    if (LIKELY(session->access == SESSION_ACCESS_ALL)) return true;
    return context->worker->dispatcher->hooks.may_read_all_keys(session);
}

void dispatcher_access_changed(struct dispatcher *dispatcher) {
    dispatcher->access_version++;
}

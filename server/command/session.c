#include "server/command/session.h"

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/command/transaction.h"

void session_init(struct session *session, uint64_t id, struct buffer *out) {
    *session = (struct session){
        .id = id,
        .out = out,
        .reply = {.out = out, .resp = 2},
        .created_ms = clock_monotonic_ms(),
    };
    session->active_ms = session->created_ms;
}

void session_trust(struct session *session) {
    session->is_authenticated = true;
    session->access = SESSION_ACCESS_ALL;
    session->user = NULL;
}

void session_deinit(struct session *session) {
    transaction_discard(session);
    mem_free(session->name);
    mem_free(session->lib_name);
    mem_free(session->lib_version);
    session->name = session->lib_name = session->lib_version = NULL;
}

#include <stdio.h>
#include <string.h>

#include "server/acl/acl.h"
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/command/dispatch.h"
#include "server/command/monitor.h"
#include "server/command/tracking.h"
#include "server/command/transaction.h"
#include "server/net/connection_internal.h"
#include "server/pubsub/pubsub.h"

void connection_ping(struct command_context *context) {
    if (context->argc > 2) {
        context_arity_error(context);
    } else if (session_is_subscriber(context->session) && !reply_is_resp3(context->reply)) {
        // Looks like a message, as everything that a listener is sent.
        reply_array(context->reply, 2);
        reply_bulk_text(context->reply, "pong");
        reply_bulk(context->reply, context->argc == 2 ? context->argv[1] : BYTES_LITERAL(""));
    } else if (context->argc == 2) {
        reply_bulk(context->reply, context->argv[1]);
    } else {
        reply_raw(context->reply, BYTES_LITERAL("+PONG\r\n"));
    }
}

void connection_echo(struct command_context *context) {
    reply_bulk(context->reply, context->argv[1]);
}

void connection_select(struct command_context *context) {
    int64_t db = 0;
    if (!context_integer(context, 1, &db, "ERR value is not an integer or out of range")) return;
    if (databases_is_cluster(context->databases) && db != 0) {
        reply_error(context->reply, "ERR SELECT is not allowed in cluster mode");
        return;
    }
    if (db < 0 || db >= (int64_t)databases_count(context->databases)) {
        reply_error(context->reply, "ERR DB index is out of range");
        return;
    }
    context->session->db = (uint32_t)db;
    reply_ok(context->reply);
}

void connection_quit(struct command_context *context) {
    context->session->close_after_reply = true;
    reply_ok(context->reply);
}

void connection_monitor(struct command_context *context) {
    if (context->in_transaction) {
        reply_error(context->reply, "ERR MONITOR isn't allowed for DENY BLOCKING client");
        return;
    }
    // A replica's link carries the stream alone.
    if (context->session->kind != SESSION_NORMAL) return;
    monitor_add(context->modules->dispatcher, context->session);
    reply_ok(context->reply);
}

void connection_reset(struct command_context *context) {
    struct session *session = context->session;
    transaction_discard(session);
    transaction_unwatch(context->databases, session, false);
    pubsub_forget(context->modules->pubsub, session);
    monitor_forget(context->modules->dispatcher, session);
    tracking_stop(context->modules->dispatcher, session);
    mem_free(session->name);
    session->name = NULL;
    session->db = 0;
    session->is_readonly = false;
    session->is_asking = false;
    session->is_no_evict = false;
    session->is_no_touch = false;
    session->reply_mode = SESSION_REPLY_ON;
    session->reply.resp = 2;
    session->reply.is_muted = false;
    acl_session_begin(context->modules->acl, session);
    reply_simple(context->reply, "RESET");
}

/* Checks a user's password; answers the error. */
static bool authenticate(struct command_context *context, struct bytes user,
                         struct bytes password) {
    if (acl_authenticate(context->modules->acl, context, user, password)) return true;
    reply_error(context->reply, "WRONGPASS invalid username-password pair or user is disabled.");
    return false;
}

void connection_auth(struct command_context *context) {
    if (context->argc > 3) {
        reply_syntax_error(context->reply);
        return;
    }
    if (context->argc == 2 && acl_default_has_no_password(context->modules->acl)) {
        reply_error(context->reply,
                    "ERR AUTH <password> called without any password configured for the default "
                    "user. Are you sure your configuration is correct?");
        return;
    }
    struct bytes user = context->argc == 3 ? context->argv[1] : BYTES_LITERAL("default");
    if (authenticate(context, user, context->argv[context->argc - 1])) reply_ok(context->reply);
}

struct hello_options {
    uint32_t auth; /* Argument of the user's name; 0 = none. */
    uint32_t name;
};

static bool parse_hello(struct command_context *context, struct hello_options *options) {
    for (uint32_t i = 2; i < context->argc; i++) {
        if (context_argument_is(context, i, "AUTH") && i + 2 < context->argc) {
            options->auth = i + 1;
            i += 2;
        } else if (context_argument_is(context, i, "SETNAME") && i + 1 < context->argc) {
            options->name = ++i;
        } else {
            char option[129];
            reply_error_format(context->reply, "ERR Syntax error in HELLO option '%s'",
                               bytes_to_text(context->argv[i], option, sizeof(option)));
            return false;
        }
    }
    return true;
}

static void reply_hello(struct command_context *context) {
    struct session *session = context->session;
    uint32_t admission = dispatcher_admission(context->modules->dispatcher);
    bool is_cluster = databases_is_cluster(context->databases);
    reply_map(context->reply, 7);
    reply_bulk_text(context->reply, "server");
    reply_bulk_text(context->reply, "redis");
    reply_bulk_text(context->reply, "version");
    reply_bulk_text(context->reply, SERVER_VERSION);
    reply_bulk_text(context->reply, "proto");
    reply_integer(context->reply, session->reply.resp);
    reply_bulk_text(context->reply, "id");
    reply_integer(context->reply, (int64_t)session->id);
    reply_bulk_text(context->reply, "mode");
    reply_bulk_text(context->reply, is_cluster ? "cluster" : "standalone");
    reply_bulk_text(context->reply, "role");
    reply_bulk_text(context->reply, (admission & ADMISSION_REPLICA) != 0 ? "replica" : "master");
    reply_bulk_text(context->reply, "modules");
    reply_empty_array(context->reply);
}

void connection_hello(struct command_context *context) {
    struct session *session = context->session;
    int64_t version = session->reply.resp;
    if (context->argc > 1) {
        if (!context_integer(context, 1, &version,
                             "ERR Protocol version is not an integer or out of range"))
            return;
        if (version < 2 || version > 3) {
            reply_error(context->reply, "NOPROTO unsupported protocol version");
            return;
        }
    }
    struct hello_options options = {0, 0};
    if (!parse_hello(context, &options)) return;
    if (options.auth != 0 &&
        !authenticate(context, context->argv[options.auth], context->argv[options.auth + 1]))
        return;
    if (session->access == SESSION_ACCESS_NONE) {
        reply_error(context->reply,
                    "NOAUTH HELLO must be called with the client already authenticated, otherwise "
                    "the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the "
                    "client and select the RESP protocol version at the same time");
        return;
    }
    if (options.name != 0 && !session_set_name(context, context->argv[options.name])) return;
    session->reply.resp = (uint8_t)version;
    reply_hello(context);
}

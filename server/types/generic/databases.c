/* Whole databases: counting, emptying, exchanging. */
#include <limits.h>

#include "server/command/blocking.h"
#include "server/command/tracking.h"
#include "server/command/transaction.h"
#include "server/types/generic/generic_internal.h"

void generic_dbsize(struct command_context *context) {
    reply_integer(context->reply, (int64_t)keyspace_count(context->keyspace));
}

/* [ASYNC | SYNC]; false after a syntax error was answered. */
static bool parse_flush_mode(struct command_context *context, bool *out_lazy) {
    if (context->argc == 1) {
        *out_lazy = context->types->lazy_user_flush;
        return true;
    }
    bool is_async = context_argument_is(context, 1, "ASYNC");
    if (context->argc > 2 || (!is_async && !context_argument_is(context, 1, "SYNC"))) {
        reply_syntax_error(context->reply);
        return false;
    }
    *out_lazy = is_async;
    return true;
}

/* Watchers of a database hear of it before its keys are gone. */
static void flush_database(struct command_context *context, unsigned db, bool is_lazy) {
    if (!databases_keyspace_if_any(context->databases, db)) return;
    transaction_touch_all(context->databases, db, NULL);
    context->changes += databases_flush(context->databases, db, is_lazy);
    blocking_note_all(context->worker);
}

/* Propagated even when nothing was there: a replica may hold what the primary does not. */
static void finish_flush(struct command_context *context) {
    tracking_flush(context->modules->dispatcher);
    context->changes++;
    context->keyspace = databases_keyspace(context->databases, context->session->db);
    reply_ok(context->reply);
}

void generic_flushdb(struct command_context *context) {
    bool is_lazy;
    if (!parse_flush_mode(context, &is_lazy)) return;
    flush_database(context, context->session->db, is_lazy);
    finish_flush(context);
}

void generic_flushall(struct command_context *context) {
    bool is_lazy;
    if (!parse_flush_mode(context, &is_lazy)) return;
    for (unsigned db = 0; db < databases_count(context->databases); db++)
        flush_database(context, db, is_lazy);
    dispatcher_note_flushed(context->modules->dispatcher);
    finish_flush(context);
}

/* An index of SWAPDB, whose texts say which one is wrong. */
static bool parse_swap_index(struct command_context *context, uint32_t argument, const char *error,
                             int64_t *out) {
    return context_integer_in(context, argument, INT_MIN, INT_MAX, out, error);
}

void generic_swapdb(struct command_context *context) {
    if (databases_is_cluster(context->databases)) {
        reply_error(context->reply, "ERR SWAPDB is not allowed in cluster mode");
        return;
    }
    int64_t a, b;
    if (!parse_swap_index(context, 1, "ERR invalid first DB index", &a)) return;
    if (!parse_swap_index(context, 2, "ERR invalid second DB index", &b)) return;
    int64_t count = databases_count(context->databases);
    if (a < 0 || a >= count || b < 0 || b >= count) {
        reply_error(context->reply, "ERR DB index is out of range");
        return;
    }
    if (a != b) {
        /* A watched key may have come or gone on either side. */
        struct keyspace *at_a = databases_keyspace(context->databases, (unsigned)a);
        struct keyspace *at_b = databases_keyspace(context->databases, (unsigned)b);
        transaction_touch_all(context->databases, (unsigned)a, at_b);
        transaction_touch_all(context->databases, (unsigned)b, at_a);
        databases_swap(context->databases, (unsigned)a, (unsigned)b);
        blocking_note_all(context->worker);
        context->keyspace = databases_keyspace(context->databases, context->session->db);
    }
    context->changes++;
    reply_ok(context->reply);
}

#include <stdio.h>
#include <string.h>

#include "server/acl/acl.h"
#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/command/blocking.h"
#include "server/command/tracking.h"
#include "server/command/transaction.h"
#include "server/net/connection_internal.h"
#include "server/net/network_internal.h"

/* -- names -- */

static bool is_printable_word(struct bytes word) {
    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] < '!' || word.data[i] > '~') return false;
    }
    return true;
}

static void set_text(char **text, struct bytes value) {
    mem_free(*text);
    *text = value.len == 0 ? NULL : bytes_copy_text(value);
}

bool session_set_name(struct command_context *context, struct bytes name) {
    if (!is_printable_word(name)) {
        reply_error(context->reply,
                    "ERR Client names cannot contain spaces, newlines or special characters.");
        return false;
    }
    set_text(&context->session->name, name);
    return true;
}

void client_getname(struct command_context *context) {
    if (context->session->name == NULL) {
        reply_null(context->reply);
    } else {
        reply_bulk_text(context->reply, context->session->name);
    }
}

void client_setname(struct command_context *context) {
    if (session_set_name(context, context->argv[2])) reply_ok(context->reply);
}

void client_setinfo(struct command_context *context) {
    char **text = NULL;
    const char *what = NULL;
    if (context_argument_is(context, 2, "LIB-NAME")) {
        text = &context->session->lib_name;
        what = "lib-name";
    } else if (context_argument_is(context, 2, "LIB-VER")) {
        text = &context->session->lib_version;
        what = "lib-ver";
    } else {
        char option[129];
        reply_error_format(context->reply, "ERR Unrecognized option '%s'",
                           bytes_to_text(context->argv[2], option, sizeof(option)));
        return;
    }
    if (!is_printable_word(context->argv[3])) {
        reply_error_format(context->reply,
                           "ERR %s cannot contain spaces, newlines or special characters.", what);
        return;
    }
    set_text(text, context->argv[3]);
    reply_ok(context->reply);
}

void client_id(struct command_context *context) {
    reply_integer(context->reply, (int64_t)context->session->id);
}

/* -- CLIENT LIST -- */

static void append_flags(const struct session *session, struct buffer *out) {
    size_t before = out->len;
    if (session->kind == SESSION_REPLICA) buffer_append_u8(out, 'S');
    if (session->kind == SESSION_PRIMARY) buffer_append_u8(out, 'M');
    if (session->is_monitor) buffer_append_u8(out, 'O');
    if (session_is_subscriber(session)) buffer_append_u8(out, 'P');
    if (session->transaction != NULL) buffer_append_u8(out, 'x');
    if (session->block != SESSION_NOT_BLOCKED) buffer_append_u8(out, 'b');
    if (atomic_load(&((struct session *)session)->is_dirty)) buffer_append_u8(out, 'd');
    if (session->close_after_reply) buffer_append_u8(out, 'c');
    if (session->close_now) buffer_append_u8(out, 'A');
    if (session->is_unix_socket) buffer_append_u8(out, 'U');
    if (session->is_readonly) buffer_append_u8(out, 'r');
    if (session->is_no_evict) buffer_append_u8(out, 'e');
    if (session->is_no_touch) buffer_append_u8(out, 'T');
    if (session->tracking != NULL) {
        buffer_append_u8(out, 't');
        if (session->tracking->is_broken) buffer_append_u8(out, 'R');
        if (session->tracking->mode.is_broadcast) buffer_append_u8(out, 'B');
    }
    if (out->len == before) buffer_append_u8(out, 'N');
}

static bool is_guest(const struct network *network, const struct session *session) {
    for (size_t i = 0; i < ARRAY_COUNT(network->guests); i++) {
        if (network->guests[i] == session) return true;
    }
    return false;
}

static void append_client(const struct network *network, struct session *session,
                          struct buffer *out) {
    const struct client *client = is_guest(network, session) ? NULL : client_of(session);
    uint64_t now_ms = clock_monotonic_ms();
    struct bytes user = acl_session_user_name(session);
    char name[96] = "NULL";
    if (session->command != NULL) command_full_name(session->command, name, sizeof(name));
    size_t in_used = client == NULL ? 0 : client->in.len;
    size_t in_free = client == NULL ? 0 : client->in.cap - client->in.len;
    size_t out_used = client == NULL ? 0 : client->out.len - client->out_sent;
    size_t memory = client == NULL ? sizeof(*session) : client_memory(client);
    buffer_append_format(out, "id=%llu addr=%s laddr=%s fd=%d name=%s age=%llu idle=%llu flags=",
                         (unsigned long long)session->id, session->peer, session->local,
                         client == NULL ? -1 : client->fd,
                         session->name == NULL ? "" : session->name,
                         (unsigned long long)((now_ms - session->created_ms) / 1000),
                         (unsigned long long)((now_ms - session->active_ms) / 1000));
    append_flags(session, out);
    buffer_append_format(
        out,
        " db=%u sub=%u psub=%u ssub=%u multi=%d qbuf=%zu qbuf-free=%zu argv-mem=0 multi-mem=%zu "
        "rbs=%zu "
        "rbp=%zu obl=%zu oll=0 omem=%zu tot-mem=%zu events=%s cmd=%s user=%.*s redir=%lld resp=%u "
        "lib-name=%s lib-ver=%s",
        session->db, session->subscribed[0], session->subscribed[1], session->subscribed[2],
        session->transaction == NULL ? -1 : (int)transaction_queued(session), in_used, in_free,
        transaction_bytes(session), client == NULL ? 0 : client->out.cap,
        client == NULL ? 0 : client->out.cap, out_used, client == NULL ? 0 : client->out.cap,
        memory, out_used > 0 ? "rw" : "r", name, (int)user.len, (const char *)user.data,
        session->tracking == NULL ? -1LL : (long long)session->tracking->mode.redirect,
        session->reply.resp, session->lib_name == NULL ? "" : session->lib_name,
        session->lib_version == NULL ? "" : session->lib_version);
}

void network_describe(struct network *network, struct session *session, struct buffer *out) {
    append_client(network, session, out);
}

void client_info(struct command_context *context) {
    struct buffer text = {0};
    append_client(context->modules->network, context->session, &text);
    buffer_append_u8(&text, '\n');
    reply_verbatim(context->reply, buffer_view(&text));
    buffer_deinit(&text);
}

enum client_type { TYPE_ANY, TYPE_NORMAL, TYPE_MASTER, TYPE_REPLICA, TYPE_PUBSUB };

static bool parse_type(struct command_context *context, struct bytes word, enum client_type *out) {
    static const struct {
        const char *name;
        enum client_type type;
    } types[] = {
        {"normal", TYPE_NORMAL}, {"master", TYPE_MASTER}, {"replica", TYPE_REPLICA},
        {"slave", TYPE_REPLICA}, {"pubsub", TYPE_PUBSUB},
    };
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        if (!bytes_equal_text_nocase(word, types[i].name)) continue;
        *out = types[i].type;
        return true;
    }
    char text[129];
    reply_error_format(context->reply, "ERR Unknown client type '%s'",
                       bytes_to_text(word, text, sizeof(text)));
    return false;
}

static bool has_type(const struct session *session, enum client_type type) {
    switch (type) {
    case TYPE_ANY:
        return true;
    case TYPE_NORMAL:
        return session->kind == SESSION_NORMAL && !session_is_subscriber(session);
    case TYPE_MASTER:
        return session->kind == SESSION_PRIMARY;
    case TYPE_REPLICA:
        return session->kind == SESSION_REPLICA;
    case TYPE_PUBSUB:
        return session->kind == SESSION_NORMAL && session_is_subscriber(session);
    }
    return false;
}

struct list_walk {
    const struct network *network;
    struct buffer text;
    enum client_type type;
};

static bool list_one(void *arg, struct session *session) {
    struct list_walk *walk = arg;
    if (!has_type(session, walk->type)) return true;
    append_client(walk->network, session, &walk->text);
    buffer_append_u8(&walk->text, '\n');
    return true;
}

static bool list_ids(struct command_context *context, struct list_walk *walk) {
    for (uint32_t i = 3; i < context->argc; i++) {
        int64_t id = 0;
        if (!number_parse_i64(context->argv[i], &id)) {
            reply_error(context->reply, "ERR Invalid client ID");
            return false;
        }
        struct session *session =
            id > 0 ? network_find(context->modules->network, (uint64_t)id) : NULL;
        if (session != NULL) list_one(walk, session);
    }
    return true;
}

void client_list(struct command_context *context) {
    struct list_walk walk = {.network = context->modules->network};
    bool is_fine = true;
    if (context->argc == 2) {
        network_each(context->modules->network, list_one, &walk);
    } else if (context->argc == 4 && context_argument_is(context, 2, "TYPE")) {
        is_fine = parse_type(context, context->argv[3], &walk.type);
        if (is_fine) network_each(context->modules->network, list_one, &walk);
    } else if (context->argc > 3 && context_argument_is(context, 2, "ID")) {
        is_fine = list_ids(context, &walk);
    } else {
        reply_syntax_error(context->reply);
        is_fine = false;
    }
    if (is_fine) reply_verbatim(context->reply, buffer_view(&walk.text));
    buffer_deinit(&walk.text);
}

/* -- CLIENT KILL -- */

struct kill_filter {
    uint64_t id;
    enum client_type type;
    struct bytes address;
    struct bytes local;
    bool has_user;
    struct bytes user;
    bool is_sparing_me;
    const struct session *me;
    struct network *network;
    uint64_t killed;
};

static void close_posted(struct session *session, void *arg) {
    (void)arg;
    if (session != NULL) client_kill(client_of(session));
}

void network_kill(struct network *network, struct session *session, const struct session *me) {
    blocking_forget(network->dispatcher, session, true);
    if (session == me) {
        session->close_after_reply = true;
        return;
    }
    session->close_now = true;
    if (!is_guest(network, session)) network_post(network, session->id, close_posted, NULL);
}

static bool kill_one(void *arg, struct session *session) {
    struct kill_filter *filter = arg;
    if (filter->id != 0 && session->id != filter->id) return true;
    if (!has_type(session, filter->type)) return true;
    if (filter->address.data != NULL && !bytes_equal_text(filter->address, session->peer))
        return true;
    if (filter->local.data != NULL && !bytes_equal_text(filter->local, session->local)) return true;
    if (filter->has_user && !bytes_equal(filter->user, acl_session_user_name(session))) return true;
    if (filter->is_sparing_me && session == filter->me) return true;
    filter->killed++;
    network_kill(filter->network, session, filter->me);
    return true;
}

static bool parse_filter(struct command_context *context, struct kill_filter *filter) {
    for (uint32_t i = 2; i < context->argc; i += 2) {
        if (i + 1 >= context->argc) {
            reply_syntax_error(context->reply);
            return false;
        }
        struct bytes value = context->argv[i + 1];
        if (context_argument_is(context, i, "ID")) {
            int64_t id = 0;
            if (!context_integer_in(context, i + 1, 1, INT64_MAX, &id,
                                    "ERR client-id should be greater than 0"))
                return false;
            filter->id = (uint64_t)id;
        } else if (context_argument_is(context, i, "TYPE")) {
            if (!parse_type(context, value, &filter->type)) return false;
        } else if (context_argument_is(context, i, "ADDR")) {
            filter->address = value;
        } else if (context_argument_is(context, i, "LADDR")) {
            filter->local = value;
        } else if (context_argument_is(context, i, "USER")) {
            filter->has_user = true;
            filter->user = value;
            if (!acl_user_exists(context->modules->acl, value)) {
                char name[129];
                reply_error_format(context->reply, "ERR No such user '%s'",
                                   bytes_to_text(value, name, sizeof(name)));
                return false;
            }
        } else if (context_argument_is(context, i, "SKIPME")) {
            if (bytes_equal_text_nocase(value, "yes")) {
                filter->is_sparing_me = true;
            } else if (bytes_equal_text_nocase(value, "no")) {
                filter->is_sparing_me = false;
            } else {
                reply_syntax_error(context->reply);
                return false;
            }
        } else {
            reply_syntax_error(context->reply);
            return false;
        }
    }
    return true;
}

void client_kill_command(struct command_context *context) {
    struct kill_filter filter = {
        .is_sparing_me = true, .me = context->session, .network = context->modules->network};
    if (context->argc == 3) { // The old form: an address, and an error when nobody has it.
        filter.address = context->argv[2];
        filter.is_sparing_me = false;
        network_each(context->modules->network, kill_one, &filter);
        if (filter.killed == 0) {
            reply_error(context->reply, "ERR No such client");
        } else {
            reply_ok(context->reply);
        }
        return;
    }
    if (!parse_filter(context, &filter)) return;
    network_each(context->modules->network, kill_one, &filter);
    reply_integer(context->reply, (int64_t)filter.killed);
}

/* -- switches -- */

static void set_switch(struct command_context *context, bool *is_on) {
    if (context_argument_is(context, 2, "ON")) {
        *is_on = true;
    } else if (context_argument_is(context, 2, "OFF")) {
        *is_on = false;
    } else {
        reply_syntax_error(context->reply);
        return;
    }
    reply_ok(context->reply);
}

void client_no_evict(struct command_context *context) {
    set_switch(context, &context->session->is_no_evict);
}

void client_no_touch(struct command_context *context) {
    set_switch(context, &context->session->is_no_touch);
}

void client_reply(struct command_context *context) {
    struct session *session = context->session;
    if (context_argument_is(context, 2, "ON")) {
        session->reply_mode = SESSION_REPLY_ON;
        session->reply.is_muted = false;
        reply_ok(context->reply);
    } else if (context_argument_is(context, 2, "OFF")) {
        session->reply_mode = SESSION_REPLY_OFF;
        session->reply.is_muted = true;
    } else if (context_argument_is(context, 2, "SKIP")) {
        if (session->reply_mode == SESSION_REPLY_ON) session->reply_mode = SESSION_REPLY_SKIP_NEXT;
    } else {
        reply_syntax_error(context->reply);
    }
}

void client_pause(struct command_context *context) {
    bool all_commands = true;
    if (context->argc == 4) {
        if (context_argument_is(context, 3, "WRITE")) {
            all_commands = false;
        } else if (!context_argument_is(context, 3, "ALL")) {
            reply_error(context->reply, "ERR CLIENT PAUSE mode must be WRITE or ALL");
            return;
        }
    } else if (context->argc > 4) {
        reply_error(context->reply, "ERR unknown subcommand or wrong number of arguments for "
                                    "'PAUSE'. Try CLIENT HELP.");
        return;
    }
    int64_t timeout_ms = 0;
    if (!context_integer(context, 2, &timeout_ms, "ERR timeout is not an integer or out of range"))
        return;
    if (timeout_ms < 0) {
        reply_error(context->reply, "ERR timeout is negative");
        return;
    }
    if (timeout_ms > (int64_t)1 << 60) {
        reply_error(context->reply, "ERR timeout is out of range");
        return;
    }
    dispatcher_pause(context->modules->dispatcher, PAUSE_BY_COMMAND, all_commands,
                     clock_monotonic_ms() + (uint64_t)timeout_ms);
    reply_ok(context->reply);
}

void client_unpause(struct command_context *context) {
    dispatcher_unpause(context->modules->dispatcher, PAUSE_BY_COMMAND);
    network_retry_paused(context->modules->network);
    reply_ok(context->reply);
}

/* -- CLIENT UNBLOCK -- */

static bool waits(const struct session *session) {
    return session != NULL &&
           (session->block == SESSION_BLOCKED_WAIT || session->block == SESSION_BLOCKED_KEYS);
}

static void unblock_with_timeout(struct session *session, void *arg) {
    (void)arg;
    if (!waits(session)) return;
    struct client *client = client_of(session);
    if (client->on_block_timeout != NULL) client->on_block_timeout(session, client->block_arg);
}

static void unblock_with_error(struct session *session, void *arg) {
    if (!waits(session)) return;
    struct network *network = arg;
    const char *error = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
    if (session->block == SESSION_BLOCKED_WAIT) {
        reply_error(&session->reply, error);
    } else if (blocking_cancel(network->dispatcher, session, false)) {
        blocking_reply_error(session, error);
    } else {
        return;
    }
    network_unblock(arg, session);
}

void client_unblock(struct command_context *context) {
    bool wants_error = false;
    if (context->argc == 4) {
        if (context_argument_is(context, 3, "ERROR")) {
            wants_error = true;
        } else if (!context_argument_is(context, 3, "TIMEOUT")) {
            reply_error(context->reply, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
            return;
        }
    } else if (context->argc > 4) {
        reply_syntax_error(context->reply);
        return;
    }
    int64_t id = 0;
    if (!context_integer(context, 2, &id, NULL)) return;
    struct network *network = context->modules->network;
    struct session *session = id > 0 ? network_find(network, (uint64_t)id) : NULL;
    bool is_waiting = waits(session);
    if (is_waiting) {
        network_post(network, (uint64_t)id, wants_error ? unblock_with_error : unblock_with_timeout,
                     network);
    }
    reply_integer(context->reply, is_waiting);
}

void client_help(struct command_context *context) {
    static const char *const lines[] = {
        "CACHING (YES|NO)",
        "    Whether the keys of the next command are tracked, with OPTIN or OPTOUT.",
        "GETNAME",
        "    Return the name of the current connection.",
        "GETREDIR",
        "    The client that is told of changes in place of this one; 0: none, -1: not tracking.",
        "ID",
        "    Return the ID of the current connection.",
        "INFO",
        "    Return information about the current client connection.",
        "KILL <ip:port>",
        "    Kill connection made from <ip:port>.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Kill connections. Options are:",
        "    * ADDR (<ip:port>|<unixsocket>:0)",
        "      Kill connections made from the specified address",
        "    * LADDR (<ip:port>|<unixsocket>:0)",
        "      Kill connections made to specified local address",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      Kill connections by type.",
        "    * USER <username>",
        "      Kill connections authenticated by <username>.",
        "    * SKIPME (YES|NO)",
        "      Skip killing current connection (default: yes).",
        "    * ID <client-id>",
        "      Kill connections by client id.",
        "LIST [options ...]",
        "    Return information about client connections. Options:",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      Return clients of specified type.",
        "    * ID <client-id> [<client-id> [...]]",
        "      Return clients of specified IDs only.",
        "UNPAUSE",
        "    Stop the current client pause, resuming traffic.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Suspend all, or just write, clients for <timeout> milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Control the replies sent to the current connection.",
        "SETNAME <name>",
        "    Assign the name <name> to the current connection.",
        "SETINFO <option> <value>",
        "    Set LIB-NAME or LIB-VER, which CLIENT LIST shows.",
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> ...] [OPTIN] [OPTOUT] [NOLOOP]",
        "    Be told when keys change that this connection has read, or that have a prefix.",
        "TRACKINGINFO",
        "    How this connection is told of changes.",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "    Unblock the specified blocked client.",
        "NO-EVICT (ON|OFF)",
        "    Protect current client connection from eviction.",
        "NO-TOUCH (ON|OFF)",
        "    Leave access clocks alone when this connection reads.",
        NULL,
    };
    context_help(context, lines);
}

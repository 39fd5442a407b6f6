/* The connection to the primary: handshake, and the stream that is applied.
 *
 * Everything here runs on worker 0's loop. A change of role, which any worker may bring about while
 * all are parked, only sets the target and its generation: worker 0 looks after the link as soon as
 * it runs again, and what comes in from a link of an older generation is dropped.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/aof/aof.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/command/transaction.h"
#include "server/replication/replication_internal.h"

enum { LINE_MAX_BYTES = 1024, RETRY_MS = 1000 };

static void on_connected(void *arg, struct link *link);
static size_t on_received(void *arg, struct link *link, struct bytes bytes);
static void on_closed(void *arg, struct link *link, int reason);

static const struct link_events link_events = {
    .connected = on_connected, .received = on_received, .closed = on_closed};

void primary_link_set_state(struct replication *replication, enum link_state state) {
    atomic_store(&replication->primary.state, state);
    replication_update_admission(replication);
}

static enum link_state state_of(const struct replication *replication) {
    return (enum link_state)atomic_load(&replication->primary.state);
}

static bool is_stale(const struct primary_link *primary) {
    return primary->link_generation != primary->generation;
}

/* -- life -- */

void primary_link_init(struct replication *replication) {
    session_init(&replication->primary.session, 0, &replication->primary.out);
}

void primary_link_deinit(struct replication *replication) {
    struct primary_link *primary = &replication->primary;
    receive_abort(replication);
    receive_deinit(replication);
    link_close(primary->link);
    network_unregister_session(replication->network, &primary->session);
    session_deinit(&primary->session);
    buffer_deinit(&primary->out);
    request_deinit(&primary->request);
}

/* The link is gone, or goes; what it left behind is put in order. */
static void clean_up(struct replication *replication, bool forgets_history) {
    struct primary_link *primary = &replication->primary;
    enum link_state state = state_of(replication);
    receive_abort(replication);
    if (primary->session.kind == SESSION_PRIMARY) {
        // An open MULTI goes; its commands come again with the next continuation.
        transaction_discard(&primary->session);
        network_unregister_session(replication->network, &primary->session);
        replication->stream_database = (int)primary->session.db;
        primary->session.kind = SESSION_NORMAL;
        if (primary->is_plain) forgets_history = true;
        if (!forgets_history) log_notice("Caching the disconnected master state.");
    }
    if (forgets_history) replication->has_history = false;
    if (state == LINK_CONNECTED) atomic_store(&primary->lost_ms, clock_monotonic_ms());
    primary_link_set_state(replication,
                           atomic_load(&replication->is_replica) ? LINK_DUE : LINK_NONE);
}

void primary_link_drop(struct replication *replication, bool forgets_history) {
    struct primary_link *primary = &replication->primary;
    struct link *link = primary->link;
    primary->link = NULL;
    link_close(link);
    clean_up(replication, forgets_history);
}

static void on_closed(void *arg, struct link *link, int reason) {
    struct replication *replication = arg;
    (void)link;
    bool was_greeting = state_of(replication) <= LINK_GREETING;
    replication->primary.link = NULL;
    if (was_greeting) {
        log_warning("Error condition on socket for SYNC: %s",
                    reason == 0 ? "the primary closed the connection" : strerror(reason));
    } else {
        log_notice("Connection with master lost.");
    }
    clean_up(replication, false);
}

static void look_after(void *arg) {
    struct replication *replication = arg;
    struct primary_link *primary = &replication->primary;
    if (!is_stale(primary)) return;
    if (primary->link != NULL || primary->loader != NULL) primary_link_drop(replication, false);
    primary->tried_ms = 0; // A new address is tried at once.
    primary_link_tick(replication);
}

void primary_link_retarget(struct replication *replication) {
    struct primary_link *primary = &replication->primary;
    primary->generation++;
    // Before worker 0 comes to it: the old link counts as down from here on.
    if (state_of(replication) == LINK_CONNECTED)
        atomic_store(&primary->lost_ms, clock_monotonic_ms());
    atomic_store(&primary->state, atomic_load(&replication->is_replica) ? LINK_DUE : LINK_NONE);
    if (primary->session.kind == SESSION_PRIMARY)
        replication->stream_database = (int)primary->session.db;
    replication_update_admission(replication);
    loop_post(replication->loop, look_after, replication);
}

/* -- connecting -- */

static void connect_now(struct replication *replication) {
    struct primary_link *primary = &replication->primary;
    const struct link_options options = {
        .bind_source = replication->made_of.network->bind_source,
        .receive_max = SIZE_MAX / 2,
        .keepalive_s = (int)replication->made_of.network->keepalive_s,
        .no_delay = true,
    };
    primary->tried_ms = clock_monotonic_ms();
    primary->link_generation = primary->generation;
    log_notice("Connecting to MASTER %s:%u", replication->target.host, replication->target.port);
    primary->link = link_connect(replication->loop, replication->target.host,
                                 replication->target.port, &options, &link_events, replication);
    if (primary->link == NULL) {
        log_warning("Unable to connect to MASTER: %s", strerror(errno));
        return;
    }
    log_notice("MASTER <-> REPLICA sync started");
    primary_link_set_state(replication, LINK_CONNECTING);
}

static void send_command(struct replication *replication, const char *const *words,
                         uint32_t count) {
    struct buffer text = {0};
    buffer_append_format(&text, "*%u\r\n", count);
    for (uint32_t i = 0; i < count; i++)
        buffer_append_format(&text, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
    link_send(replication->primary.link, buffer_view(&text));
    buffer_deinit(&text);
}

static void on_connected(void *arg, struct link *link) {
    struct replication *replication = arg;
    (void)link;
    if (is_stale(&replication->primary)) return;
    log_notice("Non blocking connect for SYNC fired the event.");
    primary_link_set_state(replication, LINK_GREETING);
    replication->primary.step = GREET_PONG;
    send_command(replication, (const char *const[]){"PING"}, 1);
}

/* Steps 2 to 5 go out together; the answers come in the same order. */
static void introduce(struct replication *replication) {
    struct primary_link *primary = &replication->primary;
    const struct replication_options *options = replication->options;
    const char *user = options->primary_user;
    char port[NUMBER_TEXT_MAX];
    primary->has_credentials = options->primary_auth[0] != '\0';
    if (primary->has_credentials) {
        bool has_user = user[0] != '\0';
        const char *const words[] = {"AUTH", has_user ? user : options->primary_auth,
                                     options->primary_auth};
        send_command(replication, words, has_user ? 3 : 2);
    }
    uint64_t announced =
        options->announce_port != 0 ? options->announce_port : replication->made_of.network->port;
    snprintf(port, sizeof(port), "%llu", (unsigned long long)announced);
    send_command(replication, (const char *const[]){"REPLCONF", "listening-port", port}, 3);
    primary->informs_left = 2;
    if (options->announce_ip[0] != '\0') {
        send_command(replication,
                     (const char *const[]){"REPLCONF", "ip-address", options->announce_ip}, 3);
        primary->informs_left++;
    }
    send_command(replication, (const char *const[]){"REPLCONF", "capa", "eof", "capa", "psync2"},
                 5);
    primary->step = primary->has_credentials ? GREET_AUTH : GREET_INFORM;
}

static void ask_for_stream(struct replication *replication) {
    struct primary_link *primary = &replication->primary;
    char offset[NUMBER_TEXT_MAX] = "-1";
    const char *words[] = {"PSYNC", "?", offset, "FAILOVER"};
    primary->is_plain = false;
    primary->is_failover = atomic_load(&replication->failover.state) == FAILOVER_HANDING_OVER;
    primary->asked_partial = replication->has_history;
    if (replication->has_history) {
        words[1] = replication->id;
        snprintf(offset, sizeof(offset), "%llu",
                 (unsigned long long)journal_offset(replication->journal) + 1);
        log_notice("Trying a partial resynchronization (request %s:%s).", words[1], offset);
    } else {
        log_notice("Partial resynchronization not possible (no cached master)");
    }
    send_command(replication, words, primary->is_failover ? 4 : 3);
    primary->step = GREET_PSYNC;
}

/* -- the answer to PSYNC -- */

static void begin_full(struct replication *replication, struct bytes words) {
    struct primary_link *primary = &replication->primary;
    const uint8_t *blank = words.len == 0 ? NULL : memchr(words.data, ' ', words.len);
    size_t id_len = blank == NULL ? 0 : (size_t)(blank - words.data);
    uint64_t offset = 0;
    if (id_len != REPLICATION_ID_LEN || !number_parse_u64(bytes_from(words, id_len + 1), &offset)) {
        log_warning("Master replied with wrong +FULLRESYNC syntax.");
        memset(primary->id, '0', REPLICATION_ID_LEN);
    } else {
        memcpy(primary->id, words.data, REPLICATION_ID_LEN);
        log_notice("Full resync from master: %.*s:%llu", REPLICATION_ID_LEN, primary->id,
                   (unsigned long long)offset);
    }
    primary->id[REPLICATION_ID_LEN] = '\0';
    primary->offset = offset;
    receive_begin(replication);
    failover_answered(replication, true);
}

static void begin_partial(struct replication *replication, struct bytes words) {
    log_notice("Successful partial resynchronization with master.");
    while (words.len > 0 && words.data[0] == ' ')
        words = bytes_from(words, 1);
    replication_begin_exclusive(replication);
    if (!is_stale(&replication->primary)) {
        if (words.len == REPLICATION_ID_LEN &&
            memcmp(words.data, replication->id, REPLICATION_ID_LEN) != 0) {
            char fresh[REPLICATION_ID_LEN + 1];
            bytes_to_text(words, fresh, sizeof(fresh));
            log_notice("Master replication ID changed to %s", fresh);
            replication_branch_history(replication, fresh);
            replicas_drop_all(replication, "the primary has a new replication id");
        }
        journal_open_backlog(replication->journal);
        primary_link_begin_stream(replication, replication->stream_database);
        log_notice("MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization.");
    }
    replication_end_exclusive(replication);
    failover_answered(replication, true);
}

static bool starts_with(struct bytes line, const char *text) {
    size_t len = strlen(text);
    return line.len >= len && memcmp(line.data, text, len) == 0;
}

static void take_psync_answer(struct replication *replication, struct bytes line) {
    struct primary_link *primary = &replication->primary;
    if (line.len == 0) return; // A sign of life: the snapshot is being prepared.
    if (starts_with(line, "+FULLRESYNC ")) {
        begin_full(replication, bytes_from(line, strlen("+FULLRESYNC ")));
    } else if (starts_with(line, "+CONTINUE")) {
        begin_partial(replication, bytes_from(line, strlen("+CONTINUE")));
    } else if (starts_with(line, "-NOMASTERLINK") || starts_with(line, "-LOADING")) {
        log_notice("Master is currently unable to PSYNC but should be in the future: %.*s",
                   (int)line.len, (const char *)line.data);
        primary_link_drop(replication, false);
    } else if (primary->is_failover) {
        failover_answered(replication, false);
    } else {
        log_warning("Master does not understand PSYNC (%.*s): asking with SYNC", (int)line.len,
                    (const char *)line.data);
        primary->is_plain = true;
        rng_hex(&replication->rng, primary->id, REPLICATION_ID_LEN);
        primary->id[REPLICATION_ID_LEN] = '\0';
        primary->offset = 0;
        link_send(primary->link, BYTES_LITERAL("SYNC\r\n"));
        receive_begin(replication);
    }
}

static bool is_welcome(struct bytes line) {
    return starts_with(line, "+") || starts_with(line, "-NOAUTH") || starts_with(line, "-NOPERM") ||
           starts_with(line, "-ERR operation not permitted");
}

static void take_line(struct replication *replication, struct bytes line) {
    struct primary_link *primary = &replication->primary;
    switch (primary->step) {
    case GREET_PONG:
        if (!is_welcome(line)) {
            log_warning("Error reply to PING from master: '%.*s'", (int)line.len,
                        (const char *)line.data);
            primary_link_drop(replication, false);
            return;
        }
        log_notice("Master replied to PING, replication can continue...");
        introduce(replication);
        return;
    case GREET_AUTH:
        if (starts_with(line, "-")) {
            log_warning("Unable to AUTH to MASTER: %.*s", (int)line.len, (const char *)line.data);
            primary_link_drop(replication, false);
            return;
        }
        primary->step = GREET_INFORM;
        return;
    case GREET_INFORM:
        if (starts_with(line, "-"))
            log_verbose("(Non critical) Master does not understand a REPLCONF: %.*s", (int)line.len,
                        (const char *)line.data);
        if (--primary->informs_left == 0) ask_for_stream(replication);
        return;
    case GREET_PSYNC:
        take_psync_answer(replication, line);
        return;
    }
}

/* -- the stream -- */

void primary_link_acknowledge(struct replication *replication) {
    struct primary_link *primary = &replication->primary;
    if (primary->link == NULL || primary->is_plain) return;
    char offset[NUMBER_TEXT_MAX];
    snprintf(offset, sizeof(offset), "%llu",
             (unsigned long long)journal_offset(replication->journal));
    const struct aof *aof = replication->made_of.modules->aof;
    char durable[NUMBER_TEXT_MAX];
    snprintf(durable, sizeof(durable), "%llu", (unsigned long long)aof_synced_offset(aof));
    const char *const words[] = {"REPLCONF", "ACK", offset, "FACK", durable};
    send_command(replication, words, aof_is_on(aof) ? 5 : 3);
    primary->acked_ms = clock_monotonic_ms();
}

void primary_link_begin_stream(struct replication *replication, int database) {
    struct primary_link *primary = &replication->primary;
    struct session *session = &primary->session;
    session_deinit(session);
    session_init(session, 0, &primary->out);
    session->kind = SESSION_PRIMARY;
    session_trust(session);
    session->reply.is_muted = true;
    session->db = database < 0 ? 0 : (uint32_t)database;
    snprintf(session->peer, sizeof(session->peer), "%.50s:%u", link_peer_ip(primary->link),
             link_peer_port(primary->link));
    snprintf(session->local, sizeof(session->local), "%.50s:0", link_local_ip(primary->link));
    network_register_session(replication->network, session);
    primary->unit_at = primary->apply_at = primary->need_bytes = 0;
    atomic_store(&primary->heard_ms, clock_monotonic_ms());
    replication->has_history = true;
    primary_link_set_state(replication, LINK_CONNECTED);
}

/* What may come in a stream: effects, and what belongs to the protocol. Anything else would work on
 * a connection that is no client's. */
static bool is_expected(const struct replication *replication, const struct request *request) {
    static const char *const words[] = {"select", "ping", "replconf", "cluster"};
    const struct command *row =
        command_table_find(replication->made_of.modules->commands, request->argv[0]);
    if (row == NULL) return true; // Refused by dispatch, which says so.
    if (row->subcommands != NULL && request->argc > 1) {
        const struct command *inner = command_find_subcommand(row, request->argv[1]);
        if (inner != NULL && (inner->flags & COMMAND_WRITE) != 0) return true;
    }
    if ((row->flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE | COMMAND_TRANSACTION)) != 0)
        return true;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(row->name, words[i]) == 0) return true;
    }
    return false;
}

static void run_command(struct replication *replication) {
    struct primary_link *primary = &replication->primary;
    struct session *session = &primary->session;
    const struct request *request = &primary->request;
    struct bytes name = request->argv[0];
    uint32_t errors = session->reply.error_count;
    session->active_ms = dispatch_batch_now_ms(replication->worker);
    if (is_expected(replication, request)) {
        dispatch_run(replication->worker, session, request->argv, request->argc);
        session->block = SESSION_NOT_BLOCKED; // Nobody would ever wake it.
    } else {
        log_warning("A command that is no part of a stream came from the primary and was left out: "
                    "'%.*s'",
                    (int)(name.len < 64 ? name.len : 64), (const char *)name.data);
    }
    if (session->reply.error_count != errors)
        log_warning("== CRITICAL == This replica is sending an error to its master: '%s' after "
                    "processing the command '%.*s'",
                    session->reply.last_error, (int)(name.len < 64 ? name.len : 64),
                    (const char *)name.data);
}

/* Runs the next command of the batch. False: there is no whole one, or the stream is broken. */
static bool apply_one(struct replication *replication, bool *out_is_broken) {
    struct primary_link *primary = &replication->primary;
    static const struct request_limits limits = {UINT64_MAX / 4, INT32_MAX, true};
    struct bytes rest = bytes_from(primary->batch, primary->apply_at);
    if (rest.len == 0) return false;
    size_t consumed = 0;
    size_t need = 0;
    bool is_array = rest.data[0] == '*' || rest.data[0] == '\r' || rest.data[0] == '\n';
    enum request_result result =
        is_array ? request_parse(&primary->request, rest, &limits, &consumed, &need)
                 : REQUEST_INVALID;
    if (result == REQUEST_INVALID) {
        log_warning("Protocol error from the primary: %s",
                    is_array ? primary->request.error : "an inline command in the stream");
        *out_is_broken = true;
        return false;
    }
    if (result == REQUEST_INCOMPLETE) {
        primary->need_bytes = primary->apply_at - primary->unit_at + need;
        return false;
    }
    primary->apply_at += consumed;
    struct session *session = &primary->session;
    session->stream =
        bytes_of(primary->batch.data + primary->unit_at, primary->apply_at - primary->unit_at);
    if (primary->request.argc > 0) run_command(replication);
    if (session->transaction == NULL) {
        // What dispatch has not journaled with the slots locked: it ran nothing.
        if (session->stream.len > 0) journal_append_raw(replication->journal, session->stream);
        primary->unit_at = primary->apply_at;
    }
    session->stream = bytes_of(NULL, 0);
    return true;
}

void primary_link_finish_batch(struct replication *replication) {
    struct primary_link *primary = &replication->primary;
    if (!primary->is_applying) return;
    bool is_broken = false;
    dispatch_lend(replication->worker, true);
    while (apply_one(replication, &is_broken)) {
    }
    dispatch_lend(replication->worker, false);
}

static size_t apply(struct replication *replication, struct bytes bytes) {
    struct primary_link *primary = &replication->primary;
    struct turn *turn = dispatch_worker_turn(replication->worker);
    bool is_broken = false;
    if (bytes.len < primary->need_bytes) return 0;
    // Of a unit that was begun before, the part up to apply_at has been queued already.
    primary->batch = bytes;
    primary->apply_at -= primary->unit_at;
    primary->unit_at = 0;
    primary->need_bytes = 0;
    primary->is_applying = true;
    dispatch_batch_begin(replication->worker);
    while (!is_stale(primary) && apply_one(replication, &is_broken)) {
        if (turn_should_yield(turn)) turn_yield(turn);
        if (primary->session.close_now) break;
    }
    primary->is_applying = false;
    primary->batch = bytes_of(NULL, 0);
    if (is_stale(primary)) return bytes.len;
    if (is_broken) {
        primary_link_drop(replication, true);
        return bytes.len;
    }
    return primary->unit_at;
}

/* -- bytes from the primary -- */

/* Takes lines while the handshake goes on. */
static size_t take_lines(struct replication *replication, struct bytes bytes) {
    struct primary_link *primary = &replication->primary;
    size_t used = 0;
    while (used < bytes.len && primary->link != NULL && state_of(replication) == LINK_GREETING &&
           !is_stale(primary)) {
        struct bytes rest = bytes_from(bytes, used);
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        if (end == NULL) {
            if (rest.len > LINE_MAX_BYTES) {
                log_warning("Protocol error from the primary: an endless line in the handshake");
                primary_link_drop(replication, false);
                return bytes.len;
            }
            break;
        }
        size_t len = (size_t)(end - rest.data);
        used += len + 1;
        if (len > 0 && rest.data[len - 1] == '\r') len--;
        take_line(replication, bytes_of(rest.data, len < LINE_MAX_BYTES ? len : LINE_MAX_BYTES));
    }
    return used;
}

static size_t on_received(void *arg, struct link *link, struct bytes bytes) {
    struct replication *replication = arg;
    struct primary_link *primary = &replication->primary;
    size_t used = 0;
    if (is_stale(primary)) return bytes.len;
    atomic_store(&primary->heard_ms, link_received_ms(link));
    while (used < bytes.len && primary->link == link && !is_stale(primary)) {
        struct bytes rest = bytes_from(bytes, used);
        enum link_state state = state_of(replication);
        size_t step = 0;
        if (state == LINK_GREETING) {
            step = take_lines(replication, rest);
        } else if (state == LINK_RECEIVING) {
            step = receive_bytes(replication, rest);
        } else if (state == LINK_CONNECTED) {
            step = apply(replication, rest);
        }
        if (step == 0) break;
        used += step;
        if (state == LINK_CONNECTED) {
            atomic_fetch_add(&replication->stats.input_bytes, step);
            break;
        }
    }
    return primary->link == link ? used : bytes.len;
}

/* -- the clock -- */

static bool is_silent(const struct replication *replication, uint64_t since_ms) {
    return clock_monotonic_ms() - since_ms > replication->options->timeout_s * SECOND_MS;
}

void primary_link_tick(struct replication *replication) {
    struct primary_link *primary = &replication->primary;
    uint64_t now_ms = clock_monotonic_ms();
    if (primary->link != NULL && is_stale(primary)) return; // look_after is on its way.
    switch (state_of(replication)) {
    case LINK_NONE:
        break;
    case LINK_DUE:
        if (now_ms - primary->tried_ms >= RETRY_MS) connect_now(replication);
        break;
    case LINK_CONNECTING:
    case LINK_GREETING:
        if (!is_silent(replication, link_received_ms(primary->link))) break;
        log_warning("Timeout connecting to the MASTER...");
        primary_link_drop(replication, false);
        break;
    case LINK_RECEIVING:
        if (!is_silent(replication, primary->progress_ms)) break;
        log_warning("Timeout receiving bulk data from MASTER... If the problem persists try to set "
                    "the 'repl-timeout' parameter in redis.conf to a larger value.");
        primary_link_drop(replication, true);
        break;
    case LINK_LOADING:
        // So that the primary knows that we live while we are busy.
        if (now_ms - primary->acked_ms < SECOND_MS) break;
        primary->acked_ms = now_ms;
        link_send(primary->link, BYTES_LITERAL("\n"));
        break;
    case LINK_CONNECTED:
        if (primary->session.close_now) {
            primary->tried_ms = 0;
            primary_link_drop(replication, false);
        } else if (is_silent(replication, link_received_ms(primary->link))) {
            log_warning("MASTER timeout: no data nor PING received...");
            primary_link_drop(replication, false);
        } else if (now_ms - primary->acked_ms >= SECOND_MS) {
            primary_link_acknowledge(replication);
        }
        break;
    }
}

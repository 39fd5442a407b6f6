#include "server/command/dispatch.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/command/blocking.h"
#include "server/command/command_internal.h"
#include "server/command/hold.h"
#include "server/command/running.h"

enum { PAUSE_BITS = ADMISSION_PAUSE_WRITES | ADMISSION_PAUSE_ALL, STALE_US = 250 };

static void read_clocks(struct dispatch_worker *worker);

/* -- life -- */

struct dispatcher *dispatcher_create(const struct dispatch_options *options) {
    struct dispatcher *dispatcher = mem_alloc_zero(sizeof(*dispatcher));
    dispatcher->databases = options->databases;
    dispatcher->exclusive = options->exclusive;
    dispatcher->types = options->types;
    dispatcher->modules = options->modules;
    dispatcher->tracks_latency = true;
    dispatcher->slow_ticks = UINT64_MAX;
    pthread_mutex_init(&dispatcher->workers_lock, NULL);
    pthread_mutex_init(&dispatcher->holds_lock, NULL);
    pthread_mutex_init(&dispatcher->monitors_lock, NULL);
    tracking_init(&dispatcher->tracking);
    databases_set_readers(dispatcher->databases, long_reply_before_change,
                          long_reply_before_parting, dispatcher);
    return dispatcher;
}

void dispatcher_destroy(struct dispatcher *dispatcher) {
    if (dispatcher == NULL) return;
    tracking_forget_all(dispatcher);
    tracking_deinit(&dispatcher->tracking);
    pthread_mutex_destroy(&dispatcher->workers_lock);
    pthread_mutex_destroy(&dispatcher->holds_lock);
    pthread_mutex_destroy(&dispatcher->monitors_lock);
    session_ids_deinit(&dispatcher->monitors);
    mem_free(dispatcher);
}

void dispatcher_set_hooks(struct dispatcher *dispatcher, const struct dispatch_hooks *hooks) {
    dispatcher->hooks = *hooks;
}

void dispatcher_track_slow(struct dispatcher *dispatcher, int64_t from_us) {
    double ticks = (double)from_us * clock_ticks_per_us();
    dispatcher->slow_ticks = from_us < 0 || ticks > 1e18 ? UINT64_MAX : (uint64_t)ticks;
}

struct databases *dispatcher_databases(const struct dispatcher *dispatcher) {
    return dispatcher->databases;
}

struct exclusive *dispatcher_exclusive(const struct dispatcher *dispatcher) {
    return dispatcher->exclusive;
}

void dispatcher_set_admission(struct dispatcher *dispatcher, uint32_t bits, bool is_set) {
    if (is_set) {
        atomic_fetch_or(&dispatcher->admission, bits);
    } else {
        atomic_fetch_and(&dispatcher->admission, ~bits);
    }
}

uint32_t dispatcher_admission(const struct dispatcher *dispatcher) {
    return atomic_load_explicit(&dispatcher->admission, memory_order_relaxed);
}

void dispatcher_note_flushed(const struct dispatcher *dispatcher) {
    if (dispatcher->hooks.flushed != NULL)
        dispatcher->hooks.flushed(dispatcher->hooks.flushed_state);
}

const char *dispatch_disk_error(const struct dispatcher *dispatcher) {
    return dispatcher->hooks.disk_error(dispatcher->hooks.disk_error_state);
}

void dispatcher_retry_paused(struct dispatcher *dispatcher) {
    if (dispatcher->hooks.retry_paused != NULL)
        dispatcher->hooks.retry_paused(dispatcher->modules->network);
}

void dispatcher_post(const struct dispatcher *dispatcher, uint64_t session_id,
                     void (*fn)(struct session *session, void *arg), void *arg) {
    dispatcher->hooks.post(dispatcher->modules->network, session_id, fn, arg);
}

void dispatcher_unblock(const struct dispatcher *dispatcher, struct session *session) {
    dispatcher->hooks.unblock(dispatcher->modules->network, session);
}

void dispatcher_set_active_expire(struct dispatcher *dispatcher, bool is_on) {
    atomic_store(&dispatcher->is_expire_off, !is_on);
}

struct dispatch_worker *dispatch_worker_create(struct dispatcher *dispatcher, struct turn *turn) {
    struct dispatch_worker *worker = mem_alloc_aligned(sizeof(*worker), CACHE_LINE);
    memset(worker, 0, sizeof(*worker));
    worker->turn = turn;
    worker->dispatcher = dispatcher;
    rng_seed_from_os(&worker->rng);
    worker->stale_ticks = (uint64_t)(clock_ticks_per_us() * STALE_US);
    read_clocks(worker);
    worker->command_stats = mem_alloc_zero(command_table_id_count(dispatcher->modules->commands) *
                                           sizeof(*worker->command_stats));
    worker->latencies = mem_alloc_zero(command_table_id_count(dispatcher->modules->commands) *
                                       sizeof(*worker->latencies));
    pthread_mutex_lock(&dispatcher->workers_lock);
    worker->next = dispatcher->workers;
    dispatcher->workers = worker;
    dispatcher->worker_count++;
    pthread_mutex_unlock(&dispatcher->workers_lock);
    return worker;
}

void dispatch_worker_destroy(struct dispatch_worker *worker) {
    if (worker == NULL) return;
    struct dispatcher *dispatcher = worker->dispatcher;
    pthread_mutex_lock(&dispatcher->workers_lock);
    struct dispatch_worker **link = &dispatcher->workers;
    while (*link != worker)
        link = &(*link)->next;
    *link = worker->next;
    dispatcher->worker_count--;
    pthread_mutex_unlock(&dispatcher->workers_lock);
    journal_unit_deinit(&worker->unit);
    mem_free(worker->keys);
    mem_free(worker->positions);
    mem_free(worker->command_stats);
    uint32_t count = command_table_id_count(dispatcher->modules->commands);
    for (uint32_t i = 0; i < count; i++)
        mem_free(worker->latencies[i]);
    mem_free(worker->latencies);
    mem_free(worker->noted);
    buffer_deinit(&worker->invalidations);
    eviction_pool_destroy(worker->candidates);
    mem_free(worker);
}

struct turn *dispatch_worker_turn(struct dispatch_worker *worker) {
    return worker->turn;
}

/* -- pauses -- */

static void apply_pauses(struct dispatcher *dispatcher) {
    uint32_t bits = 0;
    for (int i = 0; i < PAUSE_REASON_COUNT; i++) {
        if (dispatcher->pauses[i].end_ms == 0) continue;
        bits |= dispatcher->pauses[i].all_commands ? PAUSE_BITS : ADMISSION_PAUSE_WRITES;
    }
    dispatcher_set_admission(dispatcher, PAUSE_BITS & ~bits, false);
    dispatcher_set_admission(dispatcher, bits, true);
}

void dispatcher_pause(struct dispatcher *dispatcher, enum pause_reason reason, bool all_commands,
                      uint64_t end_ms) {
    struct pause *pause = &dispatcher->pauses[reason];
    if (end_ms > pause->end_ms) pause->end_ms = end_ms;
    pause->all_commands = pause->all_commands || all_commands;
    apply_pauses(dispatcher);
}

void dispatcher_unpause(struct dispatcher *dispatcher, enum pause_reason reason) {
    dispatcher->pauses[reason] = (struct pause){0};
    apply_pauses(dispatcher);
}

bool dispatcher_expire_pauses(struct dispatcher *dispatcher, uint64_t monotonic_ms) {
    uint32_t before = dispatcher_admission(dispatcher) & PAUSE_BITS;
    if (before == 0) return false;
    for (int i = 0; i < PAUSE_REASON_COUNT; i++) {
        struct pause *pause = &dispatcher->pauses[i];
        if (pause->end_ms != 0 && pause->end_ms <= monotonic_ms) *pause = (struct pause){0};
    }
    apply_pauses(dispatcher);
    return (dispatcher_admission(dispatcher) & PAUSE_BITS) != before;
}

bool dispatcher_writes_paused(const struct dispatcher *dispatcher) {
    return (dispatcher_admission(dispatcher) & PAUSE_BITS) != 0;
}

/* -- locks -- */

static struct slot_lock *lock_of(struct dispatch_worker *worker, uint16_t slot) {
    return &databases_slot(worker->dispatcher->databases, slot)->lock;
}

void dispatch_unlock_slots(struct dispatch_worker *worker) {
    while (worker->locked_count > 0)
        slot_lock_release(lock_of(worker, worker->locked[--worker->locked_count]));
}

/* Locks one slot. False after a section was waited for: everything held was given back. */
static bool lock_slot(struct dispatch_worker *worker, uint16_t slot) {
    struct slot_lock *lock = lock_of(worker, slot);
    if (UNLIKELY(!slot_lock_try(lock))) {
        while (!slot_lock_wait(lock)) {
            if (!turn_should_yield(worker->turn)) continue;
            dispatch_unlock_slots(worker);
            turn_yield(worker->turn);
            return false;
        }
    }
    worker->locked[worker->locked_count++] = slot;
    return true;
}

static int compare_slots(const void *a, const void *b) {
    return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

/* The different slots of `count` keys, ascending. Returns how many, or LOCK_MAX + 1 for too many.
 */
static uint32_t slots_of_keys(const struct key *keys, uint32_t count, uint16_t *slots) {
    uint32_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool is_known = used > 0 && slots[used - 1] == keys[i].slot;
        for (uint32_t k = 0; !is_known && k < used; k++)
            is_known = slots[k] == keys[i].slot;
        if (is_known) continue;
        if (used == LOCK_MAX) return LOCK_MAX + 1;
        slots[used++] = keys[i].slot;
    }
    if (used > 1) qsort(slots, used, sizeof(*slots), compare_slots);
    return used;
}

void dispatch_lock_slots(struct dispatch_worker *worker, const uint16_t *slots, uint32_t count) {
    for (uint32_t i = 0; i < count;) {
        i = lock_slot(worker, slots[i]) ? i + 1 : 0;
    }
}

void dispatch_exclusive_begin(struct dispatch_worker *worker) {
    ASSERT(worker->locked_count == 0);
    exclusive_begin(worker->dispatcher->exclusive, worker->turn);
    worker->is_exclusive = true;
}

void dispatch_exclusive_end(struct dispatch_worker *worker) {
    worker->is_exclusive = false;
    exclusive_end(worker->dispatcher->exclusive, worker->turn);
}

bool dispatch_is_out_of_memory(const struct dispatch_worker *worker) {
    return (dispatcher_admission(worker->dispatcher) & ADMISSION_MEMORY) != 0 &&
           worker->is_out_of_memory;
}

void dispatch_lend(struct dispatch_worker *worker, bool is_lent) {
    worker->is_exclusive = is_lent;
    worker->is_lent = is_lent;
}

/* -- errors before anything runs -- */

void dispatch_count_error(struct dispatch_worker *worker, const char *code) {
    worker->stats.errors++;
    for (uint32_t i = 0; i < worker->error_code_count; i++) {
        if (strcmp(worker->error_counts[i].code, code) != 0) continue;
        worker->error_counts[i].count++;
        return;
    }
    if (worker->error_code_count == ERROR_CODE_MAX) return;
    struct error_count *fresh = &worker->error_counts[worker->error_code_count++];
    snprintf(fresh->code, sizeof(fresh->code), "%s", code);
    fresh->count = 1;
}

static void count_errors(struct dispatch_worker *worker, struct session *session,
                         uint32_t errors_before) {
    if (UNLIKELY(session->reply.error_count != errors_before))
        dispatch_count_error(worker, session->reply.last_error);
}

/* Printable form of a client's word for an error text, cut short. */
static void printable(struct bytes word, size_t max, char *out) {
    size_t len = word.len < max ? word.len : max;
    memcpy(out, word.data, len);
    out[len] = '\0'; // A NUL inside ends the text earlier, as it does for Redis.
}

/* A web browser that was talked into sending to this port: its next lines may be commands that
 * somebody else wrote, so nothing more of it is read. */
static bool is_http(struct bytes name) {
    return bytes_equal_text_nocase(name, "post") || bytes_equal_text_nocase(name, "host:");
}

static void reject_unknown(struct session *session, const struct bytes *argv, uint32_t argc,
                           const struct command_entry *container) {
    if (is_http(argv[0])) {
        log_warning("Possible security attack: a client at %s speaks HTTP (POST or Host:). "
                    "Connection aborted.",
                    session->peer);
        session->close_now = true;
        return;
    }
    char name[136];
    printable(argv[container == NULL ? 0 : 1], 128, name);
    if (container != NULL) {
        char upper[64];
        snprintf(upper, sizeof(upper), "%s", container->row->name);
        for (char *c = upper; *c != '\0'; c++)
            *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
        reply_error_format(&session->reply, "ERR unknown subcommand '%s'. Try %s HELP.", name,
                           upper);
        return;
    }
    struct buffer text = {0};
    for (uint32_t i = 1; i < argc && text.len < 128; i++) {
        char word[136];
        printable(argv[i], 128 - text.len, word);
        buffer_append_format(&text, "'%s' ", word);
    }
    buffer_append_u8(&text, '\0');
    reply_error_format(&session->reply, "ERR unknown command '%s', with args beginning with: %s",
                       name, (const char *)text.data);
    buffer_deinit(&text);
}

static bool is_exec_in_transaction(const struct session *session, const struct command *row) {
    return session->transaction != NULL && command_is_exec(row);
}

static void reject(struct session *session, const struct command *row, const char *reason,
                   const char *behind) {
    char name[96];
    command_full_name(row, name, sizeof(name));
    reply_error_format(&session->reply, "%s %s '%s'%s",
                       command_is_exec(row) ? "EXECABORT Transaction discarded because of:" : "ERR",
                       reason, name, behind);
}

static void reply_refusal(struct reply *reply, const struct command *row, const char *text) {
    if (command_is_exec(row)) {
        reply_error_format(reply, "EXECABORT Transaction discarded because of: %s", text);
    } else {
        reply_error(reply, text);
    }
}

/* An EXEC that can't be run ends the transaction that it was to run. Not with slots locked that
 * watched keys lie in, unless `is_locked` says that those are. */
static void drop_transaction(struct dispatch_worker *worker, struct session *session,
                             const struct command *row, bool is_locked) {
    if (!command_is_exec(row)) {
        transaction_fail(session);
        return;
    }
    transaction_discard(session);
    transaction_unwatch(worker->dispatcher->databases, session, is_locked);
}

/* A RESP2 connection that listens can't tell replies from messages, so it may only say what has a
 * reply that looks like a message. */
static bool may_say_as_listener(const struct command *row) {
    static const char *const others[] = {"ping", "quit", "reset"};
    if ((row->flags & COMMAND_PUBSUB) != 0 && strcmp(row->name, "publish") != 0 &&
        strcmp(row->name, "spublish") != 0 && row->container == NULL)
        return true;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (strcmp(row->name, others[i]) == 0 && row->container == NULL) return true;
    }
    return false;
}

/* The first tests of admission: they need no lock and no state of the node. True: go on. */
static bool is_well_formed(struct dispatch_worker *worker, struct session *session,
                           const struct command_entry *entry, const struct bytes *argv,
                           uint32_t argc) {
    const struct command *row = entry->row;
    if (UNLIKELY(!command_arity_fits(row, argv, argc))) {
        reject(session, row, "wrong number of arguments for", " command");
        return false;
    }
    if (UNLIKELY(session->access != SESSION_ACCESS_ALL) &&
        !access_admit(worker, session, entry, argv, argc))
        return false;
    if (UNLIKELY(session_is_subscriber(session)) && !reply_is_resp3(&session->reply) &&
        !may_say_as_listener(row)) {
        reject(session, row, "Can't execute",
               ": only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this "
               "context");
        return false;
    }
    if (UNLIKELY(session->transaction != NULL) && (row->flags & COMMAND_NO_MULTI) != 0) {
        reply_error(&session->reply, "ERR Command not allowed inside a transaction");
        return false;
    }
    return true;
}

/* -- admission with the slots locked -- */

enum admission_verdict { ADMITTED, REFUSED, PUT_ASIDE };

static enum admission_verdict refuse(struct command_context *context, const char *text) {
    reply_refusal(context->reply, context->command, text);
    return REFUSED;
}

/* What is put into a transaction takes memory whatever it does. */
static bool would_queue(const struct session *session, const struct command *row) {
    return session->transaction != NULL && (row->flags & COMMAND_TRANSACTION) == 0 &&
           (row->flags & COMMAND_NO_AUTH) == 0; // QUIT and RESET run at once.
}

/* Whether a command only ever replaces or deletes its index-th key as a whole. */
static bool removes_key(const struct command_context *context, uint32_t index) {
    uint32_t positions[KEYS_ON_STACK];
    uint32_t flags[KEYS_ON_STACK];
    int count = command_keys(context->command, context->argv, context->argc, positions, flags,
                             KEYS_ON_STACK);
    if (index >= KEYS_ON_STACK || (int)index >= count) return false;
    return (flags[index] & (KEY_OW | KEY_RM)) != 0;
}

/* A snapshot pass wants one of these values before it changes. */
static bool pass_blocks(const struct command_context *context, bool is_exec, const struct key *keys,
                        uint32_t key_count) {
    struct keyspace *keyspace = context->keyspace;
    bool is_wanted = false;
    for (uint32_t i = 0; i < key_count; i++) {
        const struct record *record = keyspace_find(keyspace, &keys[i]);
        if (record == NULL) continue;
        enum keyspace_change change = KEYSPACE_CHANGE_SMALL;
        if (UNLIKELY(keyspace_is_huge(context->databases, record)))
            change = !is_exec && removes_key(context, i) ? KEYSPACE_CHANGE_WHOLE
                                                         : KEYSPACE_CHANGE_INSIDE;
        if (keyspace_must_wait(keyspace, &keys[i], record, change)) is_wanted = true;
    }
    return is_wanted;
}

/* Somebody needs one of these keys as it is for a while: a write to it waits. Each is asked, since
 * each has to learn that it is waited for. */
static bool keys_are_in_use(const struct command_context *context, bool is_exec,
                            const struct key *keys, uint32_t key_count) {
    struct dispatcher *dispatcher = context->worker->dispatcher;
    const struct session *session = context->session;
    uint32_t admission = dispatcher_admission(dispatcher);
    bool are_in_use = false;
    if (UNLIKELY((admission & ADMISSION_HOLD) != 0))
        are_in_use |= hold_blocks(dispatcher, session->db, keys, key_count, session->hold);
    if (UNLIKELY((admission & ADMISSION_LONG_REPLY) != 0))
        are_in_use |= long_reply_blocks(dispatcher, session->db, keys, key_count);
    if (UNLIKELY((admission & ADMISSION_PASS) != 0))
        are_in_use |= pass_blocks(context, is_exec, keys, key_count);
    return are_in_use;
}

/* `flags` are the row's, or for EXEC the union of its queue's. Order: spec/replication.md 13. */
static enum admission_verdict admit(struct dispatch_worker *worker, struct command_context *context,
                                    const struct command_entry *entry, uint32_t flags,
                                    const struct key *keys, uint32_t key_count) {
    struct dispatcher *dispatcher = worker->dispatcher;
    struct session *session = context->session;
    uint32_t admission = dispatcher_admission(dispatcher);
    bool is_write = (flags & COMMAND_WRITE) != 0;
    bool is_exec = is_exec_in_transaction(session, context->command);
    if (session->kind == SESSION_PRIMARY || session->kind == SESSION_LOADER ||
        session->kind == SESSION_INTERNAL)
        return ADMITTED;
    // While it waited for its locks, its user's rules may have changed.
    if (UNLIKELY(session->access != SESSION_ACCESS_ALL) &&
        worker->access_version != dispatcher->access_version &&
        !access_admit(worker, session, entry, context->argv, context->argc))
        return REFUSED;
    if ((admission & ADMISSION_CLUSTER) != 0 && key_count > 0 &&
        dispatcher->hooks.redirect(context->modules->cluster, context, flags, keys, key_count))
        return REFUSED;
    if (UNLIKELY((admission & ADMISSION_MEMORY) != 0) && worker->is_out_of_memory &&
        ((flags & COMMAND_DENY_OOM) != 0 || would_queue(session, context->command)))
        return refuse(context, "OOM command not allowed when used memory > 'maxmemory'.");
    if ((admission & (ADMISSION_DISK_ERROR | ADMISSION_LOG_ERROR)) != 0 &&
        (is_write || strcmp(context->command->name, "ping") == 0))
        return refuse(context, dispatch_disk_error(dispatcher));
    if ((admission & ADMISSION_FEW_REPLICAS) != 0 && is_write)
        return refuse(context, "NOREPLICAS Not enough good replicas to write.");
    if ((admission & ADMISSION_READ_ONLY) != 0 && is_write)
        return refuse(context, "READONLY You can't write against a read only replica.");
    uint32_t row_flags = is_exec ? ~session->transaction->missing_flags : context->command->flags;
    if ((admission & ADMISSION_STALE) != 0 && (row_flags & COMMAND_STALE) == 0)
        return refuse(context, "MASTERDOWN Link with MASTER is down and replica-serve-stale-data "
                               "is set to 'no'.");
    if ((admission & ADMISSION_LOADING) != 0 && (row_flags & COMMAND_LOADING) == 0)
        return refuse(context, DISPATCH_LOADING_ERROR);
    if ((admission & ADMISSION_ASYNC_LOADING) != 0 && (flags & COMMAND_NO_ASYNC_LOADING) != 0)
        return refuse(context, DISPATCH_LOADING_ERROR);
    if (session->kind == SESSION_REPLICA && (flags & (COMMAND_WRITE | COMMAND_READONLY)) != 0 &&
        key_count > 0)
        return refuse(context, "ERR Replica can't interact with the keyspace");
    if (is_write && (session->transaction == NULL || is_exec) &&
        keys_are_in_use(context, is_exec, keys, key_count))
        return PUT_ASIDE;
    if ((admission & PAUSE_BITS) != 0 && session->kind == SESSION_NORMAL) {
        bool may_write = is_write || (flags & COMMAND_MAY_REPLICATE) != 0;
        bool is_control = (context->command->flags & COMMAND_TRANSACTION) != 0 && !is_exec;
        if (((admission & ADMISSION_PAUSE_ALL) != 0 && !is_control) || may_write) {
            if (session->transaction == NULL || is_exec) return PUT_ASIDE;
        }
    }
    return ADMITTED;
}

/* -- running -- */

/* Of a primary's stream the log wants what changes data, as it came. */
static bool is_logged_as_it_came(const struct command_context *context) {
    return ((context->command->flags & COMMAND_WRITE) != 0 || context->changes > 0) &&
           journal_is_logged(context->modules->journal);
}

/* Notes a command as its own effect when the handler said nothing else. */
static void add_own_effect(struct command_context *context) {
    bool is_own_effect = context->is_journaled && context->changes > 0 && !context->has_effects;
    if (LIKELY(!is_own_effect) &&
        (LIKELY(context->session->kind != SESSION_PRIMARY) || !is_logged_as_it_came(context)))
        return;
    journal_unit_add(context->unit, keyspace_database(context->keyspace), context->argv,
                     context->argc);
}

/* Whoever sees what was written now needs it to be safe. The slots are locked. */
static void mark_slots(struct dispatch_worker *worker, uint64_t position) {
    for (uint32_t i = 0; i < worker->locked_count; i++)
        databases_slot(worker->dispatcher->databases, worker->locked[i])->log_position = position;
    if (worker->locked_count == 0)
        atomic_store(&worker->dispatcher->unslotted_log_position, position);
}

void dispatch_commit(struct dispatch_worker *worker, struct session *session) {
    if (LIKELY(worker->unit.count == 0)) return;
    struct dispatcher *dispatcher = worker->dispatcher;
    uint32_t admission = dispatcher_admission(dispatcher);
    // What a replica writes on its own is no part of its primary's history.
    unsigned targets = (admission & ADMISSION_REPLICA) != 0 ? JOURNAL_FOR_LOG : JOURNAL_FOR_ALL;
    struct journal_mark mark;
    journal_append(dispatcher->modules->journal, &worker->unit, targets, &mark);
    session->write_offset = mark.offset;
    session->write_position = mark.log_position;
    if (UNLIKELY((admission & ADMISSION_GATE) != 0)) mark_slots(worker, mark.log_position);
    journal_unit_clear(&worker->unit);
}

void dispatch_note_need(struct dispatch_worker *worker, struct session *session,
                        const struct command *row) {
    struct dispatcher *dispatcher = worker->dispatcher;
    if (LIKELY((dispatcher_admission(dispatcher) & ADMISSION_GATE) == 0)) return;
    bool touches_keys = (row->flags & (COMMAND_READONLY | COMMAND_WRITE)) != 0;
    uint64_t need = 0;
    if (worker->locked_count > 0) {
        need = atomic_load(&dispatcher->unslotted_log_position);
        for (uint32_t i = 0; i < worker->locked_count; i++) {
            uint64_t position =
                databases_slot(dispatcher->databases, worker->locked[i])->log_position;
            if (position > need) need = position;
        }
    } else if (worker->is_exclusive || touches_keys) {
        need = journal_log_position(dispatcher->modules->journal);
    }
    if (need > session->write_position) session->write_position = need;
}

/* A primary's stream becomes ours as it is, whole units at a time. */
static void commit_stream(struct dispatch_worker *worker, struct session *session) {
    if (session->transaction != NULL || session->stream.len == 0) return;
    struct journal *journal = worker->dispatcher->modules->journal;
    journal_append_stream(journal, session->stream, &worker->unit);
    if (worker->unit.count > 0 && (dispatcher_admission(worker->dispatcher) & ADMISSION_GATE) != 0)
        mark_slots(worker, journal_log_position(journal));
    journal_unit_clear(&worker->unit);
    session->stream = bytes_of(NULL, 0);
}

/* Runs the handler of an admitted command: with what is counted, shown and noted as its effect. */
static void call(struct dispatch_worker *worker, struct command_context *context,
                 const struct command_entry *entry) {
    struct session *session = context->session;
    uint32_t errors_before = session->reply.error_count;
    const struct command_context *outer = running_exchange(context);
    context->command->handler(context);
    running_exchange(outer);
    if (UNLIKELY(atomic_load_explicit(&worker->dispatcher->monitor_count, memory_order_relaxed) >
                 0))
        monitor_feed(worker, context);
    if (UNLIKELY(session->tracking != NULL)) tracking_note_read(worker, context);
    add_own_effect(context);
    worker->stats.changes += context->changes;
    struct command_stats *stats = &worker->command_stats[entry->id];
    stats->calls++;
    if (UNLIKELY(session->reply.error_count != errors_before)) {
        stats->failed++;
        dispatch_count_error(worker, session->reply.last_error);
        if (session->kind == SESSION_PRIMARY) worker->stats.unexpected_errors++;
    }
}

/* Tells who keeps a log of slow commands. */
static void note_slow(const struct dispatch_worker *worker, const struct session *session,
                      const struct command *row, const struct bytes *argv, uint32_t argc,
                      uint64_t ticks) {
    if (LIKELY(ticks < worker->dispatcher->slow_ticks)) return;
    const struct dispatch_hooks *hooks = &worker->dispatcher->hooks;
    if (hooks->slow == NULL || (row->flags & COMMAND_SKIP_SLOWLOG) != 0 ||
        session->kind == SESSION_LOADER)
        return;
    hooks->slow(hooks->slow_state, session, row, argv, argc,
                (uint64_t)((double)ticks / clock_ticks_per_us()));
}

void dispatch_inner_init(struct command_context *context, const struct command_context *outer,
                         struct session *session, const struct command_entry *entry,
                         const struct bytes *argv, uint32_t argc) {
    context_init(context, outer->worker, session, outer->now_ms);
    context->command = entry->row;
    context->argv = argv;
    context->argc = argc;
    context->in_transaction = true;
    context->is_exclusive = outer->is_exclusive;
}

void dispatch_inner(struct command_context *context, const struct command_entry *entry) {
    struct dispatch_worker *worker = context->worker;
    context->session->command = entry->row;
    uint64_t began = clock_ticks();
    call(worker, context, entry);
    uint64_t ticks = clock_ticks() - began;
    worker->command_stats[entry->id].usec += ticks;
    worker->stats.commands++;
    note_slow(worker, context->session, entry->row, context->argv, context->argc, ticks);
}

static struct key *reserve_keys(struct dispatch_worker *worker, uint32_t count) {
    if (count > worker->key_cap) {
        worker->key_cap = count < KEYS_ON_STACK ? KEYS_ON_STACK : count * 2;
        worker->keys = mem_realloc(worker->keys, worker->key_cap * sizeof(*worker->keys));
        worker->positions =
            mem_realloc(worker->positions, worker->key_cap * sizeof(*worker->positions));
    }
    return worker->keys;
}

uint32_t dispatch_add_keys(struct dispatch_worker *worker, const struct command_entry *entry,
                           const struct bytes *argv, uint32_t argc, uint32_t count) {
    if (!entry->has_keys) return count;
    reserve_keys(worker, count + KEYS_ON_STACK);
    int found =
        command_keys(entry->row, argv, argc, worker->positions, NULL, worker->key_cap - count);
    if (found <= 0)
        return count; // A malformed command has no keys; its handler says what is wrong.
    if ((uint32_t)found > worker->key_cap - count) {
        reserve_keys(worker, count + (uint32_t)found);
        found =
            command_keys(entry->row, argv, argc, worker->positions, NULL, worker->key_cap - count);
    }
    for (int i = 0; i < found; i++) {
        key_init(&worker->keys[count++], worker->dispatcher->databases, argv[worker->positions[i]]);
    }
    return count;
}

/* The keys of everything that EXEC will run; those of watched keys go behind (`*out_all`). */
static uint32_t add_transaction_keys(struct dispatch_worker *worker, const struct session *session,
                                     uint32_t *out_all) {
    uint32_t count = 0;
    const struct transaction *transaction = session->transaction;
    for (uint32_t i = 0; !transaction->is_failed && i < transaction->count; i++) {
        const struct queued_command *queued = &transaction->commands[i];
        count = dispatch_add_keys(worker, queued->entry, queued->argv, queued->argc, count);
    }
    *out_all = count;
    if (session->watches == NULL) return count;
    const struct slot_watcher *watcher = session->watches->first;
    for (; watcher != NULL; watcher = watcher->next_in_session) {
        reserve_keys(worker, *out_all + 1);
        worker->keys[(*out_all)++] =
            (struct key){slot_watcher_name(watcher), watcher->order, watcher->slot};
    }
    return count;
}

struct plan {
    enum command_class class;
    uint32_t flags;     /* For admission. */
    uint32_t key_count; /* Of worker->keys: those that redirection looks at. */
    uint32_t all_count; /* Those whose slots are locked. */
};

static struct plan plan_command(struct dispatch_worker *worker, struct session *session,
                                const struct command_entry *entry, const struct bytes *argv,
                                uint32_t argc) {
    const struct command *row = entry->row;
    struct plan plan = {.class = row->class, .flags = row->flags};
    if (row->classify != NULL) plan.class = row->classify(argv, argc);
    if (UNLIKELY(is_exec_in_transaction(session, row))) {
        plan.key_count = add_transaction_keys(worker, session, &plan.all_count);
        plan.flags |= session->transaction->flags;
        if (session->transaction->is_exclusive) plan.class = COMMAND_CLASS_EXCLUSIVE;
        return plan;
    }
    plan.key_count = plan.all_count = dispatch_add_keys(worker, entry, argv, argc, 0);
    return plan;
}

/* The clocks are read again when commands took their time: asking for each command, or for each of
 * many clients, would cost more than many of them. Deadlines are exact to a quarter of a
 * millisecond. */
static void read_clocks(struct dispatch_worker *worker) {
    worker->batch_ticks = clock_ticks();
    worker->batch_ms = clock_monotonic_ms();
    worker->batch_wall_ms = (int64_t)clock_wall_ms();
}

/* What is left once locks are held: admission, queueing or running, journal. */
static enum dispatch_result run_locked(struct dispatch_worker *worker, struct session *session,
                                       const struct command_entry *entry, const struct bytes *argv,
                                       uint32_t argc, const struct plan *plan) {
    const struct command *row = entry->row;
    struct command_context context;
    context_init(&context, worker, session, worker->batch_wall_ms);
    context.command = row;
    context.argv = argv;
    context.argc = argc;
    context.is_exclusive = worker->is_exclusive;
    if (LIKELY(entry->single_key != 0)) {
        context.key_argument = entry->single_key;
        context.first_key = worker->keys[0];
    }
    bool is_plain = dispatcher_admission(worker->dispatcher) == 0 &&
                    session->kind == SESSION_NORMAL && session->access == SESSION_ACCESS_ALL;
    if (UNLIKELY(!is_plain)) {
        uint32_t errors_before = session->reply.error_count;
        enum admission_verdict verdict =
            admit(worker, &context, entry, plan->flags, worker->keys, plan->key_count);
        if (verdict == PUT_ASIDE) return DISPATCH_PAUSED;
        if (verdict == REFUSED) {
            count_errors(worker, session, errors_before);
            worker->command_stats[entry->id].rejected++;
            drop_transaction(worker, session, row, true);
            return DISPATCH_DONE;
        }
    }
    if (UNLIKELY(session->transaction != NULL) && (row->flags & COMMAND_TRANSACTION) == 0) {
        enum command_class class =
            plan->all_count > LOCK_MAX ? COMMAND_CLASS_EXCLUSIVE : plan->class;
        transaction_queue(session, entry, class, argv, argc);
        reply_simple(&session->reply, "QUEUED");
        return DISPATCH_DONE;
    }
    session->command = row;
    call(worker, &context, entry);
    if (UNLIKELY(session->kind == SESSION_PRIMARY)) {
        commit_stream(worker, session);
    } else {
        dispatch_commit(worker, session);
    }
    if (UNLIKELY(!is_plain)) dispatch_note_need(worker, session, row);
    if (UNLIKELY(worker->noted_count > 0)) blocking_serve_locked(worker);
    return session->block == SESSION_NOT_BLOCKED ? DISPATCH_DONE : DISPATCH_BLOCKED;
}

/* False: the command was refused meanwhile, since a script runs for too long. */
static bool wait_for_all(struct dispatch_worker *worker, struct session *session,
                         const struct command_entry *entry) {
    worker->waiting = session;
    worker->waiting_entry = entry;
    dispatch_exclusive_begin(worker);
    worker->waiting = NULL;
    bool is_refused = worker->is_refused;
    worker->is_refused = false;
    if (is_refused) dispatch_exclusive_end(worker);
    return !is_refused;
}

/* Several keys, EXEC, exclusive commands: the long way to the locks. */
static enum dispatch_result run_general(struct dispatch_worker *worker, struct session *session,
                                        const struct command_entry *entry, const struct bytes *argv,
                                        uint32_t argc) {
    struct plan plan = plan_command(worker, session, entry, argv, argc);
    uint16_t slots[LOCK_MAX];
    uint32_t slot_count = slots_of_keys(worker->keys, plan.all_count, slots);
    bool is_queueing =
        session->transaction != NULL && (entry->row->flags & COMMAND_TRANSACTION) == 0;
    bool is_exclusive =
        !is_queueing && (plan.class == COMMAND_CLASS_EXCLUSIVE || slot_count > LOCK_MAX);
    enum dispatch_result result;
    if (is_exclusive) {
        bool is_nested = worker->is_exclusive;
        if (!is_nested && !wait_for_all(worker, session, entry)) return DISPATCH_DONE;
        result = run_locked(worker, session, entry, argv, argc, &plan);
        if (!is_nested) dispatch_exclusive_end(worker);
        return result;
    }
    if (slot_count <= LOCK_MAX && !worker->is_exclusive)
        dispatch_lock_slots(worker, slots, slot_count);
    result = run_locked(worker, session, entry, argv, argc, &plan);
    dispatch_unlock_slots(worker);
    return result;
}

/* One key, known class: what nearly every command is. */
static enum dispatch_result run_single_key(struct dispatch_worker *worker, struct session *session,
                                           const struct command_entry *entry,
                                           const struct key *prepared, const struct bytes *argv,
                                           uint32_t argc) {
    struct key *key = reserve_keys(worker, 1);
    *key = *prepared;
    if (LIKELY(!worker->is_exclusive)) {
        while (!lock_slot(worker, key->slot)) {
        }
    }
    const struct plan plan = {COMMAND_CLASS_KEYS, entry->row->flags, 1, 1};
    enum dispatch_result result = run_locked(worker, session, entry, argv, argc, &plan);
    dispatch_unlock_slots(worker);
    return result;
}

static inline bool has_single_key(const struct command_entry *entry, uint32_t argc) {
    const struct command *row = entry->row;
    return row->class == COMMAND_CLASS_KEYS && entry->single_key != 0 && entry->single_key < argc &&
           row->classify == NULL;
}

static inline void prepare(struct dispatch_worker *worker, const struct bytes *argv, uint32_t argc,
                           struct prepared_command *out) {
    out->container = NULL;
    out->entry =
        command_table_resolve(worker->dispatcher->modules->commands, argv, argc, &out->container);
    out->has_key = out->entry != NULL && has_single_key(out->entry, argc);
    if (LIKELY(out->has_key))
        key_init(&out->key, worker->dispatcher->databases, argv[out->entry->single_key]);
}

void dispatch_prepare(struct dispatch_worker *worker, const struct session *session,
                      const struct bytes *argv, uint32_t argc, struct prepared_command *out) {
    struct databases *databases = worker->dispatcher->databases;
    prepare(worker, argv, argc, out);
    out->argv = argv;
    out->argc = argc;
    if (!out->has_key) return;
    __builtin_prefetch(databases_slot(databases, out->key.slot), 1);
    struct keyspace *keyspace = databases_keyspace_if_any(databases, session->db);
    if (LIKELY(keyspace != NULL)) __builtin_prefetch(keyspace_table(keyspace, out->key.slot));
}

/* How many commands from the first one on are about the same key. */
static uint32_t same_key(const struct prepared_command *commands, uint32_t count) {
    uint32_t same = 1;
    while (same < count && commands[same].has_key &&
           commands[same].key.slot == commands->key.slot &&
           commands[same].key.order == commands->key.order)
        same++;
    return same;
}

static struct bytes element_of(const struct prepared_command *command) {
    uint32_t at = command->entry->row->element;
    return at != 0 && at < command->argc ? command->argv[at] : bytes_of(NULL, 0);
}

/* Sends for what commands about the same key need next. */
static void prefetch_elements(struct databases *databases, const struct keyspace *keyspace,
                              const struct prepared_command *commands, uint32_t count,
                              unsigned step) {
    const struct record *record = keyspace_find(keyspace, &commands->key);
    if (record == NULL) return;
    const struct data_type *type = databases_type(databases, record);
    if (type->prefetch == NULL) return;
    for (uint32_t i = 0; i < count; i++)
        type->prefetch(record, element_of(&commands[i]), step);
}

/* On the way to an element each step needs what the step before it has sent for. Taken for all
 * commands at once, the waits for memory overlap. */
enum {
    PREFETCH_RECORD,
    PREFETCH_VALUE,
    PREFETCH_STEPS = PREFETCH_VALUE + DATA_TYPE_PREFETCH_STEPS
};

static void prefetch_step(struct databases *databases, const struct keyspace *keyspace,
                          const struct prepared_command *commands, uint32_t count, unsigned step) {
    for (uint32_t i = 0, same = 1; i < count; i += same) {
        const struct prepared_command *command = &commands[i];
        same = 1;
        if (!command->has_key || (step >= PREFETCH_VALUE && command->entry->row->element == 0))
            continue;
        same = same_key(command, count - i);
        struct slot_lock *lock = &databases_slot(databases, command->key.slot)->lock;
        if (UNLIKELY(!slot_lock_try(lock))) continue;
        if (step == PREFETCH_RECORD) {
            keyspace_prefetch_record(keyspace, &command->key);
        } else {
            prefetch_elements(databases, keyspace, command, same, step - PREFETCH_VALUE);
        }
        slot_lock_release(lock);
    }
}

void dispatch_prefetch(const struct dispatch_worker *worker, const struct session *session,
                       const struct prepared_command *commands, uint32_t count) {
    struct databases *databases = worker->dispatcher->databases;
    const struct keyspace *keyspace = databases_keyspace_if_any(databases, session->db);
    if (keyspace == NULL) return;
    bool has_elements = false;
    for (uint32_t i = 0; i < count; i++) {
        if (!commands[i].has_key) continue;
        keyspace_prefetch(keyspace, &commands[i].key);
        has_elements |= commands[i].entry->row->element != 0;
    }
    if (UNLIKELY(worker->is_exclusive)) return;
    unsigned steps = has_elements ? PREFETCH_STEPS : PREFETCH_VALUE;
    for (unsigned step = PREFETCH_RECORD; step < steps; step++)
        prefetch_step(databases, keyspace, commands, count, step);
}

enum dispatch_result dispatch_run(struct dispatch_worker *worker, struct session *session,
                                  const struct bytes *argv, uint32_t argc) {
    struct prepared_command prepared;
    prepare(worker, argv, argc, &prepared);
    return dispatch_run_prepared(worker, session, &prepared, argv, argc);
}

/* The first tests of admission; false after a refusal was answered. */
static inline bool is_understood(struct dispatch_worker *worker, struct session *session,
                                 const struct prepared_command *prepared, const struct bytes *argv,
                                 uint32_t argc) {
    const struct command_entry *entry = prepared->entry;
    uint32_t errors_before = session->reply.error_count;
    if (LIKELY(entry != NULL && is_well_formed(worker, session, entry, argv, argc))) return true;
    if (entry == NULL) {
        reject_unknown(session, argv, argc, prepared->container);
        transaction_fail(session);
    } else {
        worker->command_stats[entry->id].rejected++;
        drop_transaction(worker, session, entry->row, worker->is_exclusive);
    }
    count_errors(worker, session, errors_before);
    worker->stats.commands++;
    return false;
}

enum dispatch_result dispatch_run_prepared(struct dispatch_worker *worker, struct session *session,
                                           const struct prepared_command *prepared,
                                           const struct bytes *argv, uint32_t argc) {
    const struct command_entry *entry = prepared->entry;
    if (UNLIKELY(!is_understood(worker, session, prepared, argv, argc))) return DISPATCH_DONE;
    bool was_asking = session->is_asking;
    if (UNLIKELY((dispatcher_admission(worker->dispatcher) & ADMISSION_MEMORY) != 0))
        worker->is_out_of_memory = !eviction_make_room(worker);
    enum dispatch_result result =
        LIKELY(prepared->has_key)
            ? run_single_key(worker, session, entry, &prepared->key, argv, argc)
            : run_general(worker, session, entry, argv, argc);
    if (UNLIKELY(worker->noted_count > 0) && !worker->is_exclusive) blocking_serve(worker);
    if (UNLIKELY(result == DISPATCH_PAUSED)) return result;
    if (UNLIKELY(was_asking) && session->transaction == NULL) session->is_asking = false;
    if (UNLIKELY(session->tracking != NULL)) {
        tracking_after_command(session);
        if (UNLIKELY(atomic_load_explicit(&worker->dispatcher->tracking.key_count,
                                          memory_order_relaxed) >
                     worker->dispatcher->tracking.max_keys))
            tracking_shrink(worker);
    }
    dispatch_tell_trackers(worker);
    worker->stats.commands++;
    session->commands_run++;
    uint64_t now = clock_ticks();
    uint64_t ticks = now - worker->began_ticks;
    worker->command_stats[entry->id].usec += ticks;
    if (LIKELY(worker->dispatcher->tracks_latency)) latency_note(worker, entry->id, ticks);
    note_slow(worker, session, entry->row, argv, argc, ticks);
    worker->began_ticks = now;
    if (UNLIKELY(now - worker->batch_ticks > worker->stale_ticks)) read_clocks(worker);
    return result;
}

/* -- while a script runs for long -- */

void dispatcher_serve_busy(struct dispatcher *dispatcher, const char *text) {
    if (dispatcher->hooks.serve_busy == NULL) return;
    dispatcher->busy_text = text;
    dispatcher->hooks.serve_busy(dispatcher->modules->network);
}

void dispatcher_end_busy(struct dispatcher *dispatcher) {
    if (dispatcher->busy_text == NULL) return;
    dispatcher->busy_text = NULL;
    dispatcher->hooks.end_busy(dispatcher->modules->network);
}

const char *dispatcher_busy_text(const struct dispatcher *dispatcher) {
    return dispatcher->busy_text;
}

struct dispatch_worker *dispatch_stand_in_create(struct dispatcher *dispatcher) {
    struct dispatch_worker *worker = dispatch_worker_create(dispatcher, NULL);
    worker->is_exclusive = true;
    return worker;
}

static void refuse_busy(struct dispatch_worker *worker, struct session *session,
                        const struct command_entry *entry) {
    const char *text = worker->dispatcher->busy_text;
    uint32_t errors_before = session->reply.error_count;
    reply_refusal(&session->reply, entry->row, text);
    drop_transaction(worker, session, entry->row, true);
    worker->command_stats[entry->id].rejected++;
    count_errors(worker, session, errors_before);
}

void dispatch_refuse_waiting(struct dispatcher *dispatcher,
                             void (*fn)(void *arg, struct session *session), void *arg) {
    for (struct dispatch_worker *worker = dispatcher->workers; worker != NULL;
         worker = worker->next) {
        struct session *session = worker->waiting;
        if (session == NULL || session->kind != SESSION_NORMAL || worker->is_refused ||
            (worker->waiting_entry->row->flags & COMMAND_ALLOW_BUSY) != 0)
            continue;
        refuse_busy(worker, session, worker->waiting_entry);
        worker->is_refused = true;
        fn(arg, session);
    }
}

void dispatch_run_busy(struct dispatch_worker *stand_in, struct session *session,
                       const struct bytes *argv, uint32_t argc) {
    struct prepared_command prepared;
    prepare(stand_in, argv, argc, &prepared);
    if (!is_understood(stand_in, session, &prepared, argv, argc)) return;
    dispatch_batch_begin(stand_in);
    if ((prepared.entry->row->flags & COMMAND_ALLOW_BUSY) != 0) {
        run_general(stand_in, session, prepared.entry, argv, argc);
    } else {
        refuse_busy(stand_in, session, prepared.entry);
    }
    stand_in->stats.commands++;
    session->commands_run++;
}

void dispatch_batch_begin(struct dispatch_worker *worker) {
    worker->began_ticks = clock_ticks();
    if (worker->began_ticks - worker->batch_ticks > worker->stale_ticks) read_clocks(worker);
}

uint64_t dispatch_batch_now_ms(const struct dispatch_worker *worker) {
    return worker->batch_ms;
}

/* -- keys that go by the server's own decision -- */

void dispatch_drop_key(struct dispatch_worker *worker, struct session *session,
                       const struct key *key, struct table_entry *entry, bool is_lazy,
                       unsigned event_class, const char *event) {
    struct command_context context;
    context_init(&context, worker, session, worker->batch_wall_ms);
    if (context.is_journaled) {
        struct bytes effect[2] = {is_lazy ? BYTES_LITERAL("UNLINK") : BYTES_LITERAL("DEL"),
                                  key->name};
        journal_unit_add(&worker->unit, session->db, effect, 2);
    }
    dispatch_touch(worker, context.keyspace, key);
    dispatch_notify(worker, context.keyspace, key->name, event_class, event);
    keyspace_before_removal(context.keyspace, key, entry->record);
    keyspace_delete(context.keyspace, key, entry, true);
    dispatch_commit(worker, session);
}

/* -- a whole slot -- */

struct slot_names {
    struct bytes *items;
    uint32_t count;
};

static void collect_name(void *arg, struct record *record) {
    struct slot_names *names = arg;
    names->items[names->count++] = record_key(record);
}

uint32_t dispatch_delete_slot(struct dispatch_worker *worker, uint16_t slot) {
    struct databases *databases = worker->dispatcher->databases;
    struct keyspace *keyspace = databases_keyspace_if_any(databases, 0);
    if (keyspace == NULL || keyspace_slot_count(keyspace, slot) == 0) return 0;
    struct session session = {.kind = SESSION_NORMAL};
    struct table *table = keyspace_table(keyspace, slot);
    struct slot_names names = {.items = mem_alloc(table->count * sizeof(*names.items))};
    table_walk(table, 0, 0, keyspace_hasher(keyspace), collect_name, &names);
    for (uint32_t i = 0; i < names.count; i++) {
        struct key key;
        key_init(&key, databases, names.items[i]);
        struct table_entry entry = keyspace_find_entry(keyspace, &key);
        dispatch_drop_key(worker, &session, &key, &entry, false, 0, NULL);
    }
    dispatch_tell_trackers(worker);
    worker->stats.changes += names.count;
    mem_free(names.items);
    return names.count;
}

/* -- expiry -- */

enum { DUE_AT_ONCE = 16, BUCKETS_AT_ONCE = 64 };

/* Deletes what is due in one slot. Returns how many; *out_more when it had to stop early. */
static uint32_t expire_slot(struct dispatch_worker *worker, struct session *session,
                            struct keyspace *keyspace, uint16_t slot, bool *out_more) {
    struct dispatcher *dispatcher = worker->dispatcher;
    while (!lock_slot(worker, slot)) {
    }
    struct record *due[DUE_AT_ONCE];
    uint32_t earliest = 0;
    uint32_t found =
        table_collect_due(keyspace_table(keyspace, slot), (int64_t)clock_wall_ms(), BUCKETS_AT_ONCE,
                          &worker->expire_cursor, due, DUE_AT_ONCE, &earliest);
    for (uint32_t i = 0; i < found; i++) {
        struct bytes name = record_key(due[i]);
        struct key key;
        key_init(&key, dispatcher->databases, name);
        struct table_entry entry = keyspace_find_entry(keyspace, &key);
        dispatch_drop_key(worker, session, &key, &entry, dispatcher->types->lazy_expire,
                          EVENT_EXPIRED, "expired");
    }
    // A table that shrank under the cursor is looked at again from its beginning.
    *out_more = worker->expire_cursor != 0 || found == DUE_AT_ONCE;
    if (worker->expire_cursor == 0 && found < DUE_AT_ONCE)
        keyspace_set_earliest(keyspace, slot, earliest);
    if (found > 0) worker->expire_cursor = 0;
    if (UNLIKELY(worker->noted_count > 0)) blocking_serve_locked(worker);
    dispatch_unlock_slots(worker);
    if (UNLIKELY(worker->noted_count > 0)) blocking_serve(worker);
    dispatch_tell_trackers(worker);
    worker->stats.expired_keys += found;
    worker->stats.expired_by_cycle += found;
    return found;
}

uint32_t dispatch_expire_some(struct dispatch_worker *worker, uint32_t budget) {
    struct dispatcher *dispatcher = worker->dispatcher;
    uint32_t blocking = ADMISSION_REPLICA | PAUSE_BITS | ADMISSION_LOADING;
    if (atomic_load(&dispatcher->is_expire_off)) return 0;
    struct session session = {.kind = SESSION_NORMAL};
    uint32_t now = table_coarse_deadline((int64_t)clock_wall_ms());
    uint32_t deleted = 0;
    uint32_t looked_at = 0;
    unsigned count = databases_count(dispatcher->databases);
    for (unsigned i = 0; i < count; i++) {
        unsigned db = (worker->expire_db + i) % count;
        struct keyspace *keyspace = databases_keyspace_if_any(dispatcher->databases, db);
        if (keyspace == NULL || keyspace_deadline_count(keyspace) == 0) continue;
        session.db = db;
        for (unsigned slot = i == 0 ? worker->expire_slot : 0; slot < SLOT_COUNT; slot++) {
            if (keyspace_earliest(keyspace, slot) > now) continue;
            bool has_more = true;
            while (has_more) {
                if (turn_should_yield(worker->turn) || deleted >= budget || looked_at++ >= budget ||
                    (dispatcher_admission(dispatcher) & blocking) != 0) {
                    worker->expire_db = db;
                    worker->expire_slot = slot;
                    return deleted;
                }
                deleted += expire_slot(worker, &session, keyspace, (uint16_t)slot, &has_more);
            }
        }
    }
    worker->expire_db = 0;
    worker->expire_slot = 0;
    return deleted;
}

/* -- statistics -- */

/* The figures are read while their owners go on counting: a sum is at most a moment old. */
void dispatcher_stats(const struct dispatcher *dispatcher, struct dispatch_stats *out) {
    *out = (struct dispatch_stats){0};
    uint64_t *sum = (uint64_t *)out;
    for (const struct dispatch_worker *worker = dispatcher->workers; worker != NULL;
         worker = worker->next) {
        const uint64_t *part = (const uint64_t *)&worker->stats;
        for (size_t i = 0; i < sizeof(*out) / sizeof(uint64_t); i++)
            sum[i] += __atomic_load_n(&part[i], __ATOMIC_RELAXED);
    }
}

void dispatcher_command_stats(const struct dispatcher *dispatcher, uint32_t command_id,
                              struct command_stats *out) {
    *out = (struct command_stats){0};
    for (const struct dispatch_worker *worker = dispatcher->workers; worker != NULL;
         worker = worker->next) {
        out->calls += worker->command_stats[command_id].calls;
        out->usec += worker->command_stats[command_id].usec;
        out->rejected += worker->command_stats[command_id].rejected;
        out->failed += worker->command_stats[command_id].failed;
    }
    out->usec = (uint64_t)((double)out->usec / clock_ticks_per_us());
}

void dispatcher_reset_stats(struct dispatcher *dispatcher) {
    uint32_t count = command_table_id_count(dispatcher->modules->commands);
    for (struct dispatch_worker *worker = dispatcher->workers; worker != NULL;
         worker = worker->next) {
        uint64_t changes = worker->stats.changes;
        worker->stats = (struct dispatch_stats){.changes = changes};
        memset(worker->command_stats, 0, count * sizeof(*worker->command_stats));
        for (uint32_t i = 0; i < count; i++) {
            if (worker->latencies[i] != NULL)
                memset(worker->latencies[i], 0, LATENCY_BUCKETS * sizeof(uint32_t));
        }
        worker->error_code_count = 0;
    }
}

void dispatcher_error_stats(struct dispatcher *dispatcher,
                            void (*visit)(void *arg, const char *code, uint64_t count), void *arg) {
    struct error_count sums[ERROR_CODE_MAX];
    uint32_t used = 0;
    for (struct dispatch_worker *worker = dispatcher->workers; worker != NULL;
         worker = worker->next) {
        for (uint32_t i = 0; i < worker->error_code_count; i++) {
            uint32_t k = 0;
            while (k < used && strcmp(sums[k].code, worker->error_counts[i].code) != 0)
                k++;
            if (k == ERROR_CODE_MAX) continue;
            if (k == used) sums[used++] = (struct error_count){.count = 0};
            memcpy(sums[k].code, worker->error_counts[i].code, sizeof(sums[k].code));
            sums[k].count += worker->error_counts[i].count;
        }
    }
    for (uint32_t i = 0; i < used; i++)
        visit(arg, sums[i].code, sums[i].count);
}

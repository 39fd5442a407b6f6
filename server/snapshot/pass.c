#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/fault_stack.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/keyspace/access.h"
#include "server/snapshot/snapshot_internal.h"

enum {
    TIMER_SLACK_NS = 1000,
    NICER = 5,              /* A weight of 335 against 1024. */
    BUCKETS_A_STEP = 16,    /* About a hundred records, some ten microseconds, */
    BYTES_A_STEP = 1 << 14, /* but no more than this; then what is larger than */
    SMALL_BYTES = 1 << 10,  /* this is put off, as is what is huge. */
};

/* -- what is written -- */

void snapshot_write_head(const struct snapshotter *snapshotter, struct rdb_writer *writer,
                         bool is_log_base, uint64_t used_bytes) {
    const struct snapshotter_create_options *options = &snapshotter->options;
    struct snapshot_replication history = {0};
    const struct snapshot_replication *replication = &history;
    if (!is_log_base && options->read_replication != NULL)
        options->read_replication(options->replication_state, &history);
    rdb_write_header(writer);
    rdb_write_aux(writer, "redis-ver", BYTES_LITERAL("7.2.4"));
    rdb_write_aux_number(writer, "redis-bits", sizeof(void *) * 8);
    rdb_write_aux_number(writer, "ctime", (int64_t)(clock_wall_ms() / 1000));
    rdb_write_aux_number(writer, "used-mem", (int64_t)used_bytes);
    if (replication->is_known) {
        rdb_write_aux_number(writer, "repl-stream-db",
                             replication->database < 0 ? 0 : replication->database);
        rdb_write_aux(writer, "repl-id", bytes_of_text(replication->id));
        rdb_write_aux_number(writer, "repl-offset", (int64_t)replication->offset);
    }
    rdb_write_aux_number(writer, "aof-base", is_log_base);
}

void snapshot_write_libraries(const struct snapshotter *snapshotter, struct rdb_writer *writer) {
    const struct libraries *libraries = scripts_libraries(snapshotter->options.modules->scripts);
    for (uint32_t i = 0; i < libraries_count(libraries); i++)
        rdb_write_function(writer, libraries_source_view(libraries, i));
}

void snapshot_write_key(const struct snapshotter *snapshotter, struct rdb_writer *writer,
                        const struct record *record) {
    const struct data_type *type = databases_type(snapshotter->options.databases, record);
    const struct memory_options *options = &snapshotter->options.types->memory;
    if (record_has_deadline(record)) rdb_write_expiry(writer, record_deadline_ms(record));
    if ((options->policy & EVICT_LRU) != 0)
        rdb_write_idle(writer, (uint64_t)access_idle_ms(record, (int64_t)clock_wall_ms()) / 1000);
    if (memory_is_lfu(options))
        rdb_write_freq(writer, (uint8_t)access_counter(options, record, (int64_t)clock_wall_ms()));
    rdb_write_key(writer, (enum rdb_type)type->rdb_type(record), record_key(record));
}

void snapshot_write_record(const struct snapshotter *snapshotter, struct rdb_writer *writer,
                           const struct record *record) {
    snapshot_write_key(snapshotter, writer, record);
    databases_type(snapshotter->options.databases, record)->save(record, writer);
}

/* -- what the keyspace asks -- */

int pass_index_of(const struct snapshot_pass *pass, const struct keyspace *keyspace) {
    for (unsigned i = 0; i < pass->keyspace_count; i++) {
        if (pass->keyspaces[i] == keyspace) return (int)i;
    }
    return -1;
}

/* The slot is locked, so if it is the one at work its place stands still; if it is not, all that
 * counts is whether the pass is before or behind it, and that cannot change while we hold the lock.
 */
static bool is_behind(struct keyspace_pass *base, const struct keyspace *keyspace, uint16_t slot,
                      uint64_t order) {
    struct snapshot_pass *pass = (struct snapshot_pass *)base;
    int index = pass_index_of(pass, keyspace);
    if (index < 0) return true;
    uint32_t mine = (uint32_t)index << 16 | slot;
    uint32_t place = atomic_load(&pass->slot_place);
    bool is_passed = mine != place ? mine < place : order < atomic_load(&pass->order_place);
    return is_passed && !pass_values_has(pass, keyspace, slot, order);
}

void snapshot_note_longest(_Atomic uint64_t *longest, uint64_t us) {
    if (us > atomic_load_explicit(longest, memory_order_relaxed)) atomic_store(longest, us);
}

static void save_preimage(struct keyspace_pass *base, struct keyspace *keyspace,
                          const struct key *key, struct record *record) {
    struct snapshot_pass *pass = (struct snapshot_pass *)base;
    uint64_t began_us = clock_monotonic_us();
    pass_values_save(pass, keyspace, pass->numbers[pass_index_of(pass, keyspace)], key, record);
    atomic_fetch_add_explicit(&pass->snapshotter->preimages, 1, memory_order_relaxed);
    snapshot_note_longest(&pass->snapshotter->preimage_us_max, clock_monotonic_us() - began_us);
}

/* The pass holds its keyspaces by reference from the beginning. A dump would bring back what was
 * flushed: another one follows it at once, where there are save points. */
static void put_aside(struct keyspace_pass *base, struct keyspace *keyspace) {
    struct snapshotter *snapshotter = ((struct snapshot_pass *)base)->snapshotter;
    if (snapshotter->is_saving && snapshotter->options.options->save_points.count > 0 &&
        keyspace_count(keyspace) > 0)
        snapshotter->is_save_scheduled = true;
}

/* -- the walk -- */

/* What would make the step too long is put off: written right after it, in steps of its own. */
static bool is_put_off(struct snapshot_pass *pass, struct keyspace *keyspace, unsigned number,
                       const struct record *record) {
    struct databases *databases = pass->snapshotter->options.databases;
    size_t bytes = databases_type(databases, record)->memory_used(record, 5);
    bool has_written = rdb_writer_offset(&pass->main.writer) - pass->step_begin > BYTES_A_STEP;
    if (bytes <= KEYSPACE_HUGE_BYTES && (bytes <= SMALL_BYTES || !has_written)) return false;
    struct key key;
    key_init(&key, databases, record_key(record));
    pass_values_put_off(pass, keyspace, number, &key);
    return true;
}

static void visit(void *arg, struct record *record) {
    struct snapshot_pass *pass = arg;
    unsigned marks = record_marks(record);
    if ((marks & pass->base.mark) != 0) { // Written before a change, or born after the beginning.
        record_set_marks(record, marks & ~pass->base.mark);
        return;
    }
    if (atomic_load_explicit(&pass->is_aborted, memory_order_relaxed)) return;
    unsigned index = atomic_load_explicit(&pass->slot_place, memory_order_relaxed) >> 16;
    unsigned number = pass->numbers[index];
    if (is_put_off(pass, pass->keyspaces[index], number, record)) return;
    snapshot_write_record(pass->snapshotter, pass_output_main(pass, number), record);
    pass->keys_written++;
}

/* One bounded step inside the slot at work. False: the slot is done and the place stands behind it.
 */
static bool step(struct snapshot_pass *pass, struct keyspace *keyspace, struct slot_lock *lock,
                 uint16_t slot) {
    struct table *table = keyspace_table(keyspace, slot);
    uint64_t place = atomic_load(&pass->order_place);
    pass->step_begin = rdb_writer_offset(&pass->main.writer);
    for (int i = 0; i < BUCKETS_A_STEP && table->count > 0; i++) {
        uint64_t to = table_place_after(table, place, 1);
        if (to != 0) table_prefetch_records(table, to); // Fetched while this bucket is written.
        table_walk(table, place, to, keyspace_hasher(keyspace), visit, pass);
        bool is_long = rdb_writer_offset(&pass->main.writer) - pass->step_begin > BYTES_A_STEP;
        place = to;
        if (place == 0 || is_long || slot_lock_has_sleeper(lock)) break;
    }
    atomic_store(&pass->order_place, place);
    if (place != 0 && table->count > 0) return true;
    atomic_store(&pass->order_place, 0);
    atomic_fetch_add(&pass->slot_place, 1);
    return false;
}

/* rdb-key-save-delay: makes a pass last, for tests. Nobody who waits for the pass waits for this.
 */
static void dawdle(struct snapshot_pass *pass, uint64_t keys) {
    int64_t delay_us = pass->snapshotter->options.options->key_delay_us;
    uint64_t us = delay_us < 0 ? keys / (uint64_t)-delay_us : keys * (uint64_t)delay_us;
    if (LIKELY(us == 0)) return;
    turn_end(pass->turn);
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += (time_t)(us / 1000000);
    end.tv_nsec += (long)(us % 1000000) * 1000;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    pthread_mutex_lock(&pass->lock);
    while (pass->wanted_count == 0 && !atomic_load(&pass->is_aborted)) {
        if (pthread_cond_timedwait(&pass->has_room, &pass->lock, &end) != 0) break;
    }
    pthread_mutex_unlock(&pass->lock);
    turn_begin(pass->turn);
}

static void walk_slot(struct snapshot_pass *pass, struct keyspace *keyspace, uint16_t slot) {
    struct slot_lock *lock = &databases_slot(pass->snapshotter->options.databases, slot)->lock;
    if (slot < SLOT_COUNT - 1) table_prefetch(keyspace_table(keyspace, slot + 1), 0);
    bool has_more = true;
    while (has_more) {
        uint64_t keys = pass->keys_written;
        pass_values_write(pass);
        slot_lock_acquire(lock);
        uint64_t began_us = clock_monotonic_us();
        has_more = step(pass, keyspace, lock, slot);
        snapshot_note_longest(&pass->snapshotter->step_us_max, clock_monotonic_us() - began_us);
        pass_release_slot(lock);
        pass_output_merge(pass);
        if (pass->snapshotter->shown_pass == pass)
            atomic_store_explicit(&pass->snapshotter->keys_processed, pass->keys_written,
                                  memory_order_relaxed);
        pass_output_wait(pass);
        dawdle(pass, pass->keys_written - keys);
    }
}

static void walk(struct snapshot_pass *pass) {
    turn_begin(pass->turn);
    for (unsigned i = 0; i < pass->keyspace_count; i++) {
        atomic_store(&pass->order_place, 0);
        atomic_store(&pass->slot_place, i << 16);
        for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
            walk_slot(pass, pass->keyspaces[i], (uint16_t)slot);
    }
    pass_values_write(pass);
    turn_end(pass->turn);
}

/* Everything parked: INFO tells of this pass from now on. */
static void show_pass(struct snapshotter *snapshotter, const struct snapshot_pass *pass,
                      uint64_t keys) {
    snapshotter->shown_pass = pass;
    atomic_store(&snapshotter->keys_processed, 0);
    atomic_store(&snapshotter->keys_total, keys);
}

/* Everything parked. */
static void retire(struct snapshot_pass *pass) {
    struct snapshotter *snapshotter = pass->snapshotter;
    databases_detach_pass(snapshotter->options.databases, &pass->base);
    snapshotter->passes[pass->turn_index] = NULL;
    if (snapshotter->shown_pass == pass) show_pass(snapshotter, NULL, 0);
    snapshotter->turn_is_used[pass->turn_index] = false;
    for (unsigned i = 0; i < pass->keyspace_count; i++)
        keyspace_unref(pass->keyspaces[i]);
    pass_output_deinit(pass);
    mem_free(pass);
    if (atomic_fetch_sub(&snapshotter->pass_count, 1) == 1)
        dispatcher_set_admission(snapshotter->options.modules->dispatcher, ADMISSION_PASS, false);
}

/* Where workers leave no core free, they come first: a quarter of it is the pass's. Much less,
 * and who needs a lock of the pass would wait for it to be scheduled. */
static void yield_to_workers(void) {
    setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0) + NICER);
}

static void *run(void *arg) {
    struct snapshot_pass *pass = arg;
    struct exclusive *exclusive = pass->snapshotter->options.exclusive;
    pthread_setname_np(pthread_self(), "snapshot");
    prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS); // It rests for microseconds.
    yield_to_workers();
    mem_count_thread();
    fault_stack_use();
    pass_output_start(pass);
    walk(pass);
    pass_output_finish(pass);
    log_notice("Snapshot pass: %llu keys, %llu of them handed over by writers",
               (unsigned long long)(pass->keys_written + pass->preimages_written),
               (unsigned long long)pass->preimages_written);
    enum status status = atomic_load(&pass->is_aborted) ? STATUS_CLOSED : STATUS_OK;
    if (status == STATUS_OK && pass->sink.finish != NULL)
        status = pass->sink.finish(pass->sink.state);
    exclusive_begin(exclusive, NULL);
    pass->sink.done(pass->sink.state, status);
    retire(pass);
    exclusive_end(exclusive, NULL);
    return NULL;
}

/* -- beginning -- */

bool snapshot_has_room(const struct snapshotter *snapshotter) {
    return atomic_load(&snapshotter->pass_count) < PASS_MAX;
}

static int free_turn(const struct snapshotter *snapshotter) {
    for (unsigned i = 0; i < PASS_MAX; i++) {
        if (!snapshotter->turn_is_used[i]) return (int)i;
    }
    return -1;
}

static struct snapshot_pass *begin(struct snapshotter *snapshotter,
                                   const struct snapshot_sink *sink, bool is_log_base) {
    int turn = free_turn(snapshotter);
    if (turn < 0) return NULL;
    struct databases *databases = snapshotter->options.databases;
    struct snapshot_pass *pass = mem_alloc_zero(sizeof(*pass));
    pass->base = (struct keyspace_pass){
        .is_behind = is_behind,
        .save = save_preimage,
        .take = pass_values_take,
        .must_wait = pass_values_must_wait,
        .put_aside = put_aside,
    };
    pass->snapshotter = snapshotter;
    pass->sink = *sink;
    pass->turn = &snapshotter->turns[turn];
    pass->turn_index = (unsigned)turn;
    pass_output_init(pass);
    struct mem_stats memory;
    mem_stats_read(&memory);
    snapshot_write_head(snapshotter, &pass->main.writer, is_log_base, memory.allocated_bytes);
    snapshot_write_libraries(snapshotter, &pass->main.writer);
    uint64_t keys = 0;
    for (unsigned db = 0; db < databases_count(databases); db++) {
        struct keyspace *keyspace = databases_keyspace_if_any(databases, db);
        if (keyspace == NULL || keyspace_count(keyspace) == 0) continue;
        keys += keyspace_count(keyspace);
        rdb_write_select_db(&pass->main.writer, db);
        rdb_write_resize_db(&pass->main.writer, keyspace_count(keyspace),
                            keyspace_deadline_count(keyspace));
        pass->main.database = (int)db;
        keyspace_ref(keyspace);
        pass->keyspaces[pass->keyspace_count] = keyspace;
        pass->numbers[pass->keyspace_count++] = db;
    }
    ASSERT(databases_attach_pass(databases, &pass->base));
    snapshotter->turn_is_used[turn] = true;
    snapshotter->passes[turn] = pass;
    show_pass(snapshotter, pass, keys);
    atomic_fetch_add(&snapshotter->pass_count, 1);
    dispatcher_set_admission(snapshotter->options.modules->dispatcher, ADMISSION_PASS, true);
    ASSERT(pthread_create(&pass->thread, NULL, run, pass) == 0);
    pthread_detach(pass->thread);
    return pass;
}

struct snapshot_pass *snapshot_begin(struct snapshotter *snapshotter,
                                     const struct snapshot_sink *sink) {
    return begin(snapshotter, sink, false);
}

struct snapshot_pass *snapshot_begin_base(struct snapshotter *snapshotter,
                                          const struct snapshot_sink *sink) {
    return begin(snapshotter, sink, true);
}

void snapshot_abort(struct snapshot_pass *pass) {
    atomic_store(&pass->is_aborted, true);
    pthread_mutex_lock(&pass->lock);
    pthread_cond_signal(&pass->has_room);
    pthread_mutex_unlock(&pass->lock);
}

/* Values that a pass writes in steps: huge ones, and those that left the keyspace before.
 *
 * A value is in one of three states. It lies in the keyspace: each step locks its slot, and whoever
 * must change it before the last step writes the rest. It is an orphan: deleted or replaced as a
 * whole, the pass's own. It is shared: the pass has a record that refers to the same bytes.
 */
#include <string.h>

#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/snapshot/snapshot_internal.h"

enum { STEP_BYTES = 1 << 14 }; /* Some fifty microseconds of encoding. */

static const struct data_type *type_of(const struct snapshot_pass *pass,
                                       const struct record *record) {
    return databases_type(pass->snapshotter->options.databases, record);
}

static bool is_detached(const struct pass_value *value) {
    return value->orphan != NULL || value->shared != NULL;
}

/* -- the list; the pass's lock is held -- */

static struct pass_value *find_value(struct snapshot_pass *pass, const struct keyspace *keyspace,
                                     const struct key *key) {
    if (LIKELY(pass->values == NULL)) return NULL;
    for (struct pass_value *value = pass->values; value != NULL; value = value->next) {
        if (value->keyspace == keyspace && value->key.slot == key->slot && !value->is_done &&
            value->orphan == NULL && bytes_equal(value->key.name, key->name))
            return value;
    }
    return NULL;
}

static struct pass_value *add_value(struct snapshot_pass *pass, struct keyspace *keyspace,
                                    unsigned number, const struct key *key) {
    struct pass_value *value = mem_alloc_zero(sizeof(*value) + key->name.len);
    value->keyspace = keyspace;
    value->number = number;
    if (key->name.len > 0) memcpy(value->name, key->name.data, key->name.len);
    value->key = (struct key){bytes_of(value->name, key->name.len), key->order, key->slot};
    struct pass_value **link = &pass->values;
    while (*link != NULL)
        link = &(*link)->next;
    *link = value;
    atomic_fetch_add(&pass->value_count, 1);
    return value;
}

/* The one that is begun; else one that is waited for; else the first. */
static struct pass_value *next_value(const struct snapshot_pass *pass) {
    struct pass_value *chosen = pass->values;
    for (struct pass_value *value = pass->values; value != NULL; value = value->next) {
        if (value->is_begun && !value->is_done) return value;
        if (value->is_wanted && !chosen->is_wanted) chosen = value;
    }
    return chosen;
}

static void want(struct snapshot_pass *pass, struct pass_value *value) {
    if (value->is_wanted) return;
    value->is_wanted = true;
    pass->wanted_count++;
    pthread_cond_signal(&pass->has_room);
}

static void hold(struct snapshot_pass *pass, struct pass_value *value,
                 const struct record *record) {
    value->held_bytes = type_of(pass, record)->memory_used(record, 5);
    pass->values_bytes += value->held_bytes;
    pass_output_measure(pass);
}

static void drop_value(struct snapshot_pass *pass, struct pass_value *value) {
    struct pass_value **link = &pass->values;
    while (*link != value)
        link = &(*link)->next;
    *link = value->next;
    pass->values_bytes -= value->held_bytes;
    if (value->is_wanted) pass->wanted_count--;
    atomic_fetch_sub(&pass->value_count, 1);
}

static void free_value(struct snapshot_pass *pass, struct pass_value *value) {
    if (value->orphan != NULL) keyspace_orphan_unref(value->orphan);
    if (value->shared != NULL)
        keyspace_destroy_record(pass->snapshotter->options.databases, value->shared, false);
    if (value->is_wanted) dispatcher_retry_paused(pass->snapshotter->options.modules->dispatcher);
    mem_free(value);
}

/* -- writing -- */

/* A step of a value in its keyspace, whose slot is locked. True when that was the last one. */
static bool step(struct snapshot_pass *pass, struct pass_value *value, const struct record *record,
                 size_t max_bytes) {
    const struct data_type *type = type_of(pass, record);
    struct rdb_writer *writer = pass_output_main(pass, value->number);
    if (!value->is_begun) snapshot_write_key(pass->snapshotter, writer, record);
    bool is_done = true;
    if (type->save_step != NULL) {
        is_done = type->save_step(record, &value->walk, writer, max_bytes);
    } else {
        type->save(record, writer);
    }
    pthread_mutex_lock(&pass->lock); // Others' slots look at these.
    value->is_begun = true;
    value->is_done = is_done;
    pthread_mutex_unlock(&pass->lock);
    return is_done;
}

/* The pass's lock is held. */
static bool share(struct snapshot_pass *pass, struct pass_value *value,
                  const struct record *record) {
    const struct data_type *type = type_of(pass, record);
    value->shared = type->share == NULL ? NULL : type->share(record);
    if (value->shared == NULL) return false;
    record_set_access(value->shared, record_access(record));
    return true;
}

/* The slot is locked: whether the walk has the value's place behind it does not change. */
static void set_mark(struct snapshot_pass *pass, const struct pass_value *value,
                     struct record *record) {
    if (!pass->base.is_behind(&pass->base, value->keyspace, value->key.slot, value->key.order))
        record_set_marks(record, record_marks(record) | pass->base.mark);
}

/* What the next step in the keyspace is about; NULL: there is none. The slot is locked. */
static struct record *record_for_step(const struct pass_value *value) {
    if (value->is_done || is_detached(value)) return NULL;
    struct record *record = keyspace_find(value->keyspace, &value->key);
    ASSERT(record != NULL);
    return record;
}

/* True while there is more to do in the keyspace. */
static bool step_in_keyspace(struct snapshot_pass *pass, struct pass_value *value) {
    struct databases *databases = pass->snapshotter->options.databases;
    struct slot_lock *lock = &databases_slot(databases, value->key.slot)->lock;
    slot_lock_acquire(lock);
    uint64_t began_us = clock_monotonic_us();
    struct record *record = record_for_step(value);
    if (record != NULL) {
        pthread_mutex_lock(&pass->lock);
        bool is_aborted = atomic_load(&pass->is_aborted);
        if (is_aborted) value->is_done = true;
        bool is_over = is_aborted || (!value->is_begun && share(pass, value, record));
        pthread_mutex_unlock(&pass->lock);
        if (!is_over) step(pass, value, record, STEP_BYTES);
    }
    bool has_more = !value->is_done && !is_detached(value);
    if (record != NULL && !has_more) set_mark(pass, value, record);
    snapshot_note_longest(&pass->snapshotter->step_us_max, clock_monotonic_us() - began_us);
    pass_release_slot(lock);
    return has_more;
}

static void append_pieces(struct snapshot_pass *pass, struct bytes bytes) {
    while (bytes.len > 0 && !atomic_load(&pass->is_aborted)) {
        struct bytes piece = bytes_of(bytes.data, bytes.len < STEP_BYTES ? bytes.len : STEP_BYTES);
        rdb_write_raw(&pass->main.writer, piece);
        pass_output_wait(pass);
        bytes = bytes_from(bytes, piece.len);
    }
}

/* Nobody else has the value: it is encoded with nothing locked. */
static void write_detached(struct snapshot_pass *pass, struct pass_value *value) {
    const struct record *record = value->shared != NULL ? value->shared : value->orphan->record;
    const struct data_type *type = type_of(pass, record);
    struct rdb_writer body;
    rdb_writer_init(&body, &pass->side.writer.options);
    if (!value->is_begun)
        snapshot_write_key(pass->snapshotter, pass_output_main(pass, value->number), record);
    pthread_mutex_lock(&pass->lock);
    value->is_begun = true;
    pthread_mutex_unlock(&pass->lock);
    bool has_more = true;
    while (has_more && !atomic_load(&pass->is_aborted)) {
        turn_end(pass->turn);
        has_more = type->save_step != NULL &&
                   !type->save_step(record, &value->walk, &body, STEP_BYTES * 4);
        if (type->save_step == NULL) type->save(record, &body);
        turn_begin(pass->turn);
        append_pieces(pass, buffer_view(&body.buffer));
        buffer_clear(&body.buffer);
    }
    rdb_writer_deinit(&body);
    pthread_mutex_lock(&pass->lock);
    value->is_done = true;
    pthread_mutex_unlock(&pass->lock);
}

static void write_value(struct snapshot_pass *pass, struct pass_value *value) {
    while (step_in_keyspace(pass, value))
        pass_output_wait(pass);
    if (is_detached(value) && !value->is_done && !atomic_load(&pass->is_aborted))
        write_detached(pass, value);
    pthread_mutex_lock(&pass->lock);
    pass->keys_written++;
    drop_value(pass, value);
    pass_output_measure(pass);
    pthread_mutex_unlock(&pass->lock);
    free_value(pass, value);
    pass_output_merge(pass);
}

void pass_values_write(struct snapshot_pass *pass) {
    while (atomic_load_explicit(&pass->value_count, memory_order_relaxed) > 0) {
        pthread_mutex_lock(&pass->lock);
        struct pass_value *value = next_value(pass);
        pthread_mutex_unlock(&pass->lock);
        write_value(pass, value);
        pass_output_wait(pass);
    }
}

/* -- what the walk and the keyspace ask; the slot is locked -- */

void pass_values_put_off(struct snapshot_pass *pass, struct keyspace *keyspace, unsigned number,
                         const struct key *key) {
    pthread_mutex_lock(&pass->lock);
    if (find_value(pass, keyspace, key) == NULL) add_value(pass, keyspace, number, key);
    pthread_mutex_unlock(&pass->lock);
}

bool pass_values_has(struct snapshot_pass *pass, const struct keyspace *keyspace, uint16_t slot,
                     uint64_t order) {
    if (LIKELY(atomic_load_explicit(&pass->value_count, memory_order_relaxed) == 0)) return false;
    bool has = false;
    pthread_mutex_lock(&pass->lock);
    for (const struct pass_value *value = pass->values; value != NULL && !has;
         value = value->next) {
        has = value->keyspace == keyspace && value->key.slot == slot && value->key.order == order &&
              !value->is_done && !is_detached(value);
    }
    pthread_mutex_unlock(&pass->lock);
    return has;
}

/* Of a key that is not begun. The pass's lock is held. */
static void save_whole(struct snapshot_pass *pass, struct pass_value *value,
                       struct keyspace *keyspace, unsigned number, const struct key *key,
                       const struct record *record) {
    if (value == NULL && type_of(pass, record)->share != NULL &&
        keyspace_is_huge(pass->snapshotter->options.databases, record))
        value = add_value(pass, keyspace, number, key);
    if (value != NULL && share(pass, value, record)) {
        hold(pass, value, record);
        return;
    }
    if (value != NULL) value->is_done = true;
    snapshot_write_record(pass->snapshotter, pass_output_side(pass, number), record);
    pass->preimages_written++;
    pass_output_measure(pass);
}

void pass_values_save(struct snapshot_pass *pass, struct keyspace *keyspace, unsigned number,
                      const struct key *key, const struct record *record) {
    pthread_mutex_lock(&pass->lock);
    struct pass_value *value = find_value(pass, keyspace, key);
    bool is_aborted = atomic_load(&pass->is_aborted);
    bool is_begun = value != NULL && value->is_begun;
    if (is_aborted) {
        if (value != NULL) value->is_done = true;
    } else if (!is_begun) {
        save_whole(pass, value, keyspace, number, key, record);
    }
    pthread_mutex_unlock(&pass->lock);
    if (is_aborted || !is_begun) return;
    while (!step(pass, value, record, SIZE_MAX)) { // Its slot is ours, so it does not go away.
    }
}

void pass_values_take(struct keyspace_pass *base, struct keyspace *keyspace, const struct key *key,
                      struct keyspace_orphan *orphan) {
    struct snapshot_pass *pass = (struct snapshot_pass *)base;
    unsigned number = pass->numbers[pass_index_of(pass, keyspace)];
    pthread_mutex_lock(&pass->lock);
    struct pass_value *value = find_value(pass, keyspace, key);
    if (value == NULL) value = add_value(pass, keyspace, number, key);
    value->orphan = orphan;
    hold(pass, value, orphan->record);
    pthread_mutex_unlock(&pass->lock);
    atomic_fetch_add_explicit(&pass->snapshotter->preimages, 1, memory_order_relaxed);
}

bool pass_values_must_wait(struct keyspace_pass *base, struct keyspace *keyspace,
                           const struct key *key, const struct record *record,
                           enum keyspace_change change) {
    struct snapshot_pass *pass = (struct snapshot_pass *)base;
    if (atomic_load_explicit(&pass->is_aborted, memory_order_relaxed)) return false;
    bool is_seen = (record_marks(record) & base->mark) != 0 ||
                   base->is_behind(base, keyspace, key->slot, key->order);
    // Without values that are put off only those that are huge and not seen yet have to wait.
    if (atomic_load_explicit(&pass->value_count, memory_order_relaxed) == 0 &&
        (is_seen || (change != KEYSPACE_CHANGE_INSIDE && !atomic_load(&pass->is_full))))
        return false;
    bool must_wait = false;
    pthread_mutex_lock(&pass->lock);
    struct pass_value *value = find_value(pass, keyspace, key);
    if (value != NULL && (value->is_begun || value->shared != NULL)) {
        must_wait = change != KEYSPACE_CHANGE_WHOLE;
    } else if (!is_seen && pass->is_full) {
        must_wait = pass->has_refused = true;
    } else if (!is_seen && change == KEYSPACE_CHANGE_INSIDE) {
        int index = pass_index_of(pass, keyspace);
        if (value == NULL) value = add_value(pass, keyspace, pass->numbers[index], key);
        must_wait = true;
    }
    if (must_wait && value != NULL) want(pass, value);
    pthread_mutex_unlock(&pass->lock);
    if (must_wait)
        atomic_fetch_add_explicit(&pass->snapshotter->paused_writes, 1, memory_order_relaxed);
    return must_wait;
}

#include "server/journal/journal.h"

#include <pthread.h>
#include <stdatomic.h>

#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/resp/request.h"

enum { BLOCK_BYTES = 64 * 1024, NO_DATABASE = -1 };

/* A run of the stream. Bytes below `used` never change; `used` is published after they are written.
 */
struct journal_block {
    struct journal_block *next;
    uint64_t first_offset; /* Replication offset of the byte before the first one. */
    uint32_t pins; /* Readers in it, and one for each place that refers to it; under the lock. */
    _Atomic size_t used;
    size_t cap;
    uint8_t bytes[];
};

struct journal {
    pthread_mutex_t lock;
    struct journal_block *first; /* The oldest that is kept. */
    struct journal_block *last;
    _Atomic uint64_t offset;
    uint64_t first_byte_offset; /* Of the backlog. */
    uint64_t backlog_size;
    uint64_t memory_bytes;
    int database;            /* Selected in the stream. */
    _Atomic unsigned wanted; /* JOURNAL_FOR_*: who reads. */
    struct buffer log;       /* Not taken yet. */
    _Atomic uint64_t log_position;
    int log_database;
    bool is_log_stamped;
    uint64_t log_stamp_s;     /* Of the last annotation. */
    _Atomic bool is_wake_due; /* Readers have been told and have not answered yet. */
    void (*wake)(void *state);
    void *wake_state;
};

struct journal_reader {
    struct journal *journal;
    struct journal_block *block; /* Pinned. */
    size_t at;                   /* In the block. */
    uint64_t offset;             /* Of the last byte that was read. */
};

/* -- units -- */

void journal_unit_add(struct journal_unit *unit, uint32_t db, const struct bytes *argv,
                      uint32_t argc) {
    if (unit->count == unit->cap) {
        unit->cap = unit->cap == 0 ? 8 : unit->cap * 2;
        unit->effects = mem_realloc(unit->effects, unit->cap * sizeof(*unit->effects));
    }
    request_append(&unit->bytes, argv, argc);
    unit->effects[unit->count++] =
        (struct journal_effect){.db = db, .end = unit->bytes.len, .targets = JOURNAL_FOR_ALL};
}

void journal_unit_restrict(struct journal_unit *unit, uint32_t count, unsigned targets) {
    for (uint32_t i = count; i < unit->count; i++) {
        if (!unit->effects[i].is_servers_own) unit->effects[i].targets &= (uint8_t)targets;
    }
}

void journal_unit_mark_own(struct journal_unit *unit, uint32_t count) {
    for (uint32_t i = count; i < unit->count; i++)
        unit->effects[i].is_servers_own = true;
}

void journal_unit_clear(struct journal_unit *unit) {
    enum { KEPT_BYTES = 1 << 20 };
    unit->count = 0;
    buffer_clear(&unit->bytes);
    if (unit->bytes.cap > KEPT_BYTES) buffer_deinit(&unit->bytes);
}

void journal_unit_deinit(struct journal_unit *unit) {
    buffer_deinit(&unit->bytes);
    mem_free(unit->effects);
    *unit = (struct journal_unit){0};
}

/* -- blocks -- */

static struct journal_block *block_create(uint64_t first_offset, size_t cap) {
    struct journal_block *block = mem_alloc(sizeof(*block) + cap);
    block->next = NULL;
    block->first_offset = first_offset;
    block->pins = 0;
    atomic_init(&block->used, 0);
    block->cap = cap;
    return block;
}

static uint64_t block_end(const struct journal_block *block) {
    return block->first_offset + atomic_load_explicit(&block->used, memory_order_acquire);
}

/* Frees blocks from the front that nobody needs. The lock is held. */
static void drop_old_blocks(struct journal *journal) {
    uint64_t end = atomic_load(&journal->offset);
    while (journal->first != journal->last) {
        struct journal_block *block = journal->first;
        bool is_backlog = end - block_end(block) < journal->backlog_size;
        if (block->pins > 0 || is_backlog) break;
        journal->first = block->next;
        journal->memory_bytes -= sizeof(*block) + block->cap;
        mem_free(block);
    }
    // Readers that lag keep more than the backlog promises; it begins with what is kept.
    if (journal->first != NULL && journal->first_byte_offset <= journal->first->first_offset)
        journal->first_byte_offset = journal->first->first_offset + 1;
}

static void append_bytes(struct journal *journal, struct bytes bytes) {
    uint64_t offset = atomic_load(&journal->offset);
    while (bytes.len > 0) {
        struct journal_block *block = journal->last;
        size_t used = atomic_load_explicit(&block->used, memory_order_relaxed);
        if (used == block->cap) {
            // A reader finds the next block through the full one, so it is linked before it fills.
            struct journal_block *fresh = block_create(offset, BLOCK_BYTES);
            journal->memory_bytes += sizeof(*fresh) + fresh->cap;
            __atomic_store_n(&block->next, fresh, __ATOMIC_RELEASE);
            journal->last = fresh;
            continue;
        }
        size_t room = block->cap - used;
        size_t len = bytes.len < room ? bytes.len : room;
        memcpy(block->bytes + used, bytes.data, len);
        atomic_store_explicit(&block->used, used + len, memory_order_release);
        bytes = bytes_from(bytes, len);
        offset += len;
    }
    atomic_store(&journal->offset, offset);
}

/* -- life -- */

struct journal *journal_create(void) {
    struct journal *journal = mem_alloc_zero(sizeof(*journal));
    pthread_mutex_init(&journal->lock, NULL);
    journal->backlog_size = 1024 * 1024;
    journal->database = journal->log_database = NO_DATABASE;
    return journal;
}

static void drop_all_blocks(struct journal *journal) {
    while (journal->first != NULL) {
        struct journal_block *block = journal->first;
        journal->first = block->next;
        // Whoever still reads it frees it when done (journal_reader_close).
        if (block->pins == 0) mem_free(block);
    }
    journal->last = NULL;
    journal->memory_bytes = 0;
}

void journal_destroy(struct journal *journal) {
    if (journal == NULL) return;
    drop_all_blocks(journal);
    buffer_deinit(&journal->log);
    pthread_mutex_destroy(&journal->lock);
    mem_free(journal);
}

bool journal_is_wanted(const struct journal *journal) {
    return atomic_load_explicit(&journal->wanted, memory_order_relaxed) != 0;
}

static void set_wanted(struct journal *journal, unsigned target, bool is_wanted) {
    if (is_wanted) {
        atomic_fetch_or(&journal->wanted, target);
    } else {
        atomic_fetch_and(&journal->wanted, ~target);
    }
}

void journal_set_wake(struct journal *journal, void (*wake)(void *state), void *state) {
    journal->wake = wake;
    journal->wake_state = state;
}

static void wake_readers(struct journal *journal) {
    if (journal->wake != NULL && !atomic_exchange(&journal->is_wake_due, true))
        journal->wake(journal->wake_state);
}

void journal_readers_served(struct journal *journal) {
    atomic_store(&journal->is_wake_due, false);
}

/* -- appending -- */

static void select_database(struct journal *journal, uint32_t db) {
    if (journal->database == (int)db) return;
    char number[NUMBER_TEXT_MAX];
    struct bytes argv[2] = {BYTES_LITERAL("SELECT"),
                            bytes_of(number, number_format_u64(db, number))};
    struct buffer text = {0};
    request_append(&text, argv, 2);
    append_bytes(journal, buffer_view(&text));
    buffer_deinit(&text);
    journal->database = (int)db;
}

/* How many effects are for this target, and which is the first of them. */
static uint32_t count_for(const struct journal_unit *unit, unsigned target, uint32_t *out_first) {
    uint32_t count = 0;
    for (uint32_t i = unit->count; i-- > 0;) {
        if ((unit->effects[i].targets & target) == 0) continue;
        *out_first = i;
        count++;
    }
    return count;
}

static void append_unit(struct journal *journal, const struct journal_unit *unit) {
    uint32_t first = 0;
    uint32_t count = count_for(unit, JOURNAL_FOR_REPLICAS, &first);
    if (count == 0) return;
    select_database(journal, unit->effects[first].db);
    if (count > 1) append_bytes(journal, BYTES_LITERAL("*1\r\n$5\r\nMULTI\r\n"));
    size_t at = 0;
    for (uint32_t i = 0; i < unit->count; i++) {
        const struct journal_effect *effect = &unit->effects[i];
        if ((effect->targets & JOURNAL_FOR_REPLICAS) != 0) {
            select_database(journal, effect->db);
            append_bytes(journal, bytes_of(unit->bytes.data + at, effect->end - at));
        }
        at = effect->end;
    }
    if (count > 1) append_bytes(journal, BYTES_LITERAL("*1\r\n$4\r\nEXEC\r\n"));
}

/* -- the log -- */

static void stamp_log(struct journal *journal) {
    uint64_t now_s = clock_wall_ms() / 1000;
    if (now_s <= journal->log_stamp_s) return;
    journal->log_stamp_s = now_s;
    buffer_append_format(&journal->log, "#TS:%llu\r\n", (unsigned long long)now_s);
}

static void select_log_database(struct journal *journal, uint32_t db) {
    if (journal->log_database == (int)db) return;
    journal->log_database = (int)db;
    buffer_append_format(&journal->log, "*2\r\n$6\r\nSELECT\r\n$%d\r\n%u\r\n", db < 10 ? 1 : 2, db);
}

static void append_to_log(struct journal *journal, const struct journal_unit *unit) {
    uint32_t first = 0;
    uint32_t count = count_for(unit, JOURNAL_FOR_LOG, &first);
    if (count == 0) return;
    size_t before = journal->log.len;
    if (UNLIKELY(journal->is_log_stamped)) stamp_log(journal);
    select_log_database(journal, unit->effects[first].db);
    if (count > 1) buffer_append_text(&journal->log, "*1\r\n$5\r\nMULTI\r\n");
    size_t at = 0;
    for (uint32_t i = 0; i < unit->count; i++) {
        const struct journal_effect *effect = &unit->effects[i];
        if ((effect->targets & JOURNAL_FOR_LOG) != 0) {
            select_log_database(journal, effect->db);
            buffer_append(&journal->log, unit->bytes.data + at, effect->end - at);
        }
        at = effect->end;
    }
    if (count > 1) buffer_append_text(&journal->log, "*1\r\n$4\r\nEXEC\r\n");
    atomic_fetch_add(&journal->log_position, journal->log.len - before);
}

void journal_open_log(struct journal *journal) {
    pthread_mutex_lock(&journal->lock);
    journal->log_database = NO_DATABASE;
    journal->log_stamp_s = 0;
    set_wanted(journal, JOURNAL_FOR_LOG, true);
    pthread_mutex_unlock(&journal->lock);
}

void journal_close_log(struct journal *journal) {
    pthread_mutex_lock(&journal->lock);
    set_wanted(journal, JOURNAL_FOR_LOG, false);
    buffer_deinit(&journal->log);
    pthread_mutex_unlock(&journal->lock);
}

bool journal_is_logged(const struct journal *journal) {
    return (atomic_load_explicit(&journal->wanted, memory_order_relaxed) & JOURNAL_FOR_LOG) != 0;
}

void journal_stamp_log(struct journal *journal, bool is_stamped) {
    pthread_mutex_lock(&journal->lock);
    journal->is_log_stamped = is_stamped;
    pthread_mutex_unlock(&journal->lock);
}

void journal_forget_log_database(struct journal *journal) {
    pthread_mutex_lock(&journal->lock);
    journal->log_database = NO_DATABASE;
    journal->log_stamp_s = 0;
    pthread_mutex_unlock(&journal->lock);
}

uint64_t journal_log_position(const struct journal *journal) {
    return atomic_load(&journal->log_position);
}

struct journal_mark journal_take_log(struct journal *journal, struct buffer *out) {
    pthread_mutex_lock(&journal->lock);
    if (out->len == 0) {
        // Two buffers change places: nothing is copied, and both keep their memory.
        struct buffer empty = *out;
        *out = journal->log;
        journal->log = empty;
    } else {
        buffer_append_bytes(out, buffer_view(&journal->log));
        buffer_clear(&journal->log);
    }
    struct journal_mark mark = {atomic_load(&journal->offset), atomic_load(&journal->log_position)};
    pthread_mutex_unlock(&journal->lock);
    return mark;
}

/* -- appending, for all -- */

void journal_append(struct journal *journal, const struct journal_unit *unit, unsigned targets,
                    struct journal_mark *out_mark) {
    pthread_mutex_lock(&journal->lock);
    bool has_readers = journal->last != NULL && (targets & JOURNAL_FOR_REPLICAS) != 0;
    if (has_readers && unit->count > 0) {
        append_unit(journal, unit);
        drop_old_blocks(journal);
    }
    if ((targets & JOURNAL_FOR_LOG) != 0 && journal_is_logged(journal))
        append_to_log(journal, unit);
    *out_mark =
        (struct journal_mark){atomic_load(&journal->offset), atomic_load(&journal->log_position)};
    pthread_mutex_unlock(&journal->lock);
    if (has_readers) wake_readers(journal);
}

static void append_stream(struct journal *journal, struct bytes stream) {
    if (journal->last != NULL) {
        append_bytes(journal, stream);
        drop_old_blocks(journal);
    } else {
        // Without a backlog nothing is kept, but a replica's offset is its primary's all the same.
        atomic_fetch_add(&journal->offset, stream.len);
    }
}

void journal_append_raw(struct journal *journal, struct bytes stream) {
    pthread_mutex_lock(&journal->lock);
    append_stream(journal, stream);
    pthread_mutex_unlock(&journal->lock);
    wake_readers(journal);
}

void journal_append_stream(struct journal *journal, struct bytes stream,
                           const struct journal_unit *unit) {
    pthread_mutex_lock(&journal->lock);
    append_stream(journal, stream);
    if (journal_is_logged(journal)) append_to_log(journal, unit);
    pthread_mutex_unlock(&journal->lock);
    wake_readers(journal);
}

/* -- replication -- */

uint64_t journal_offset(const struct journal *journal) {
    return atomic_load(&journal->offset);
}

static void open_empty(struct journal *journal) {
    uint64_t offset = atomic_load(&journal->offset);
    journal->first = journal->last = block_create(offset, BLOCK_BYTES);
    journal->memory_bytes = sizeof(*journal->first) + journal->first->cap;
    journal->first_byte_offset = offset + 1;
}

void journal_open_backlog(struct journal *journal) {
    pthread_mutex_lock(&journal->lock);
    if (journal->last == NULL) open_empty(journal);
    set_wanted(journal, JOURNAL_FOR_REPLICAS, true);
    pthread_mutex_unlock(&journal->lock);
}

void journal_close_backlog(struct journal *journal) {
    pthread_mutex_lock(&journal->lock);
    drop_all_blocks(journal);
    journal->first_byte_offset = 0;
    journal->database = NO_DATABASE;
    set_wanted(journal, JOURNAL_FOR_REPLICAS, false);
    pthread_mutex_unlock(&journal->lock);
}

bool journal_has_backlog(const struct journal *journal) {
    return (atomic_load_explicit(&journal->wanted, memory_order_relaxed) & JOURNAL_FOR_REPLICAS) !=
           0;
}

void journal_set_backlog_size(struct journal *journal, uint64_t bytes) {
    pthread_mutex_lock(&journal->lock);
    journal->backlog_size = bytes;
    if (journal->last != NULL) drop_old_blocks(journal);
    pthread_mutex_unlock(&journal->lock);
}

void journal_set_offset(struct journal *journal, uint64_t offset) {
    pthread_mutex_lock(&journal->lock);
    bool had_backlog = journal->last != NULL;
    drop_all_blocks(journal);
    atomic_store(&journal->offset, offset);
    if (had_backlog) open_empty(journal);
    pthread_mutex_unlock(&journal->lock);
}

void journal_forget_database(struct journal *journal) {
    journal_set_database(journal, NO_DATABASE);
}

void journal_set_database(struct journal *journal, int db) {
    pthread_mutex_lock(&journal->lock);
    journal->database = db;
    pthread_mutex_unlock(&journal->lock);
}

int journal_database(const struct journal *journal) {
    return journal->database;
}

void journal_backlog_read(const struct journal *journal, struct journal_backlog *out) {
    pthread_mutex_t *lock = (pthread_mutex_t *)&journal->lock;
    pthread_mutex_lock(lock);
    uint64_t offset = atomic_load(&journal->offset);
    bool is_open = journal->last != NULL;
    *out = (struct journal_backlog){
        .is_open = is_open,
        .size = journal->backlog_size,
        .first_byte_offset = is_open ? journal->first_byte_offset : 0,
        .length = is_open ? offset + 1 - journal->first_byte_offset : 0,
        .memory_bytes = journal->memory_bytes,
    };
    pthread_mutex_unlock(lock);
}

/* -- readers -- */

static void unpin(struct journal *journal, struct journal_block *block) {
    block->pins--;
    if (block->pins > 0) return;
    // A block that the journal has let go of meanwhile has no one else to free it.
    const struct journal_block *kept = journal->first;
    while (kept != NULL && kept != block)
        kept = kept->next;
    if (kept == NULL) mem_free(block);
}

struct journal_reader *journal_reader_open(struct journal *journal, uint64_t offset) {
    struct journal_reader *reader = NULL;
    pthread_mutex_lock(&journal->lock);
    uint64_t end = atomic_load(&journal->offset);
    if (journal->last != NULL && offset <= end && offset + 1 >= journal->first_byte_offset) {
        struct journal_block *block = journal->first;
        while (block->next != NULL && block_end(block) <= offset)
            block = block->next;
        ASSERT(offset >= block->first_offset);
        block->pins++;
        reader = mem_alloc(sizeof(*reader));
        *reader =
            (struct journal_reader){journal, block, (size_t)(offset - block->first_offset), offset};
    }
    pthread_mutex_unlock(&journal->lock);
    return reader;
}

void journal_reader_close(struct journal_reader *reader) {
    if (reader == NULL) return;
    pthread_mutex_lock(&reader->journal->lock);
    unpin(reader->journal, reader->block);
    if (reader->journal->last != NULL) drop_old_blocks(reader->journal);
    pthread_mutex_unlock(&reader->journal->lock);
    mem_free(reader);
}

/* Goes on to the next block when this one is read to its end and there is another. */
static bool step_block(struct journal_reader *reader) {
    if (reader->at < reader->block->cap) return false;
    struct journal_block *next = __atomic_load_n(&reader->block->next, __ATOMIC_ACQUIRE);
    if (next == NULL) return false;
    pthread_mutex_lock(&reader->journal->lock);
    next->pins++;
    unpin(reader->journal, reader->block);
    drop_old_blocks(reader->journal);
    pthread_mutex_unlock(&reader->journal->lock);
    reader->block = next;
    reader->at = 0;
    return true;
}

struct bytes journal_reader_peek(struct journal_reader *reader) {
    step_block(reader);
    size_t used = atomic_load_explicit(&reader->block->used, memory_order_acquire);
    return bytes_of(reader->block->bytes + reader->at, used - reader->at);
}

void journal_reader_advance(struct journal_reader *reader, size_t count) {
    reader->at += count;
    reader->offset += count;
}

uint64_t journal_reader_lag(const struct journal_reader *reader) {
    return atomic_load(&reader->journal->offset) - reader->offset;
}

uint64_t journal_reader_offset(const struct journal_reader *reader) {
    return reader->offset;
}

/* Loading an RDB file into databases that nobody else uses yet: the thread that reads it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/keyspace/access.h"
#include "server/rdb/rdb_file.h"
#include "server/snapshot/load_internal.h"

enum {
    BATCH_BYTES = 256 * 1024, /* Of the file, about. */
    KEYS_AT_FIRST = 256,      /* Room for so many in a batch, and more as it needs. */
};

struct load {
    struct snapshotter *snapshotter;
    struct load_context context;
    struct libraries *libraries;
    struct load_crew *crew;
    struct load_batch *batch; /* Being gathered; all its keys lie in the reader's chunk. */
    struct load_tally tally;  /* Of what this thread loads on its way. */
    struct keyspace *keyspace;
    struct rdb_reader reader;
    struct rdb_file file;
    struct snapshot_loaded *loaded;
    bool has_id;
    bool has_offset;
    bool has_database;
};

/* -- what is loaded -- */

void snapshot_data_init(const struct snapshotter *snapshotter, struct snapshot_data *data) {
    data->databases = databases_create_sibling(snapshotter->options.databases);
    data->libraries = libraries_create(snapshotter->options.modules->scripts);
}

void snapshot_data_deinit(struct snapshot_data *data) {
    if (data->databases != NULL) databases_destroy(data->databases);
    libraries_destroy(data->libraries);
    *data = (struct snapshot_data){0};
}

void snapshot_data_adopt(const struct snapshotter *snapshotter, struct snapshot_data *data) {
    databases_adopt(snapshotter->options.databases, data->databases);
    scripts_adopt_libraries(snapshotter->options.modules->scripts, data->libraries);
    *data = (struct snapshot_data){0};
}

/* -- items -- */

static void take_aux(struct load *load, const struct rdb_item *item) {
    struct snapshot_replication *replication = &load->loaded->replication;
    int64_t number = 0;
    if (bytes_equal_text_nocase(item->name, "repl-id") && item->value.len == 40) {
        bytes_to_text(item->value, replication->id, sizeof(replication->id));
        load->has_id = true;
    } else if (bytes_equal_text_nocase(item->name, "repl-offset") &&
               number_parse_i64(item->value, &number) && number >= 0) {
        replication->offset = (uint64_t)number;
        load->has_offset = true;
    } else if (bytes_equal_text_nocase(item->name, "repl-stream-db") &&
               number_parse_i64(item->value, &number)) {
        replication->database = (int)number;
        load->has_database = number >= 0;
    } else if (bytes_equal_text_nocase(item->name, "used-mem") &&
               number_parse_i64(item->value, &number) && number >= 0) {
        atomic_store(&load->snapshotter->loading_used_memory, (uint64_t)number);
    }
}

/* -- keys -- */

/* The file's word counts where it is of the kind that the policy asks for. */
static uint32_t access_of(const struct load *load, const struct rdb_item *item) {
    const struct memory_options *options = &load->context.values.options->memory;
    int64_t now_ms = load->context.now_ms;
    if (!memory_is_lfu(options))
        return access_clock_idle(now_ms, item->has_idle ? item->idle_seconds : 0);
    return item->has_freq ? access_counted(now_ms, item->freq) : access_new(options, now_ms);
}

static void note_key(struct load *load, const struct load_attributes *attributes, struct bytes raw,
                     uint64_t offset) {
    struct load_batch *batch = load->batch;
    if (batch->count == batch->cap) {
        batch->cap = batch->cap == 0 ? KEYS_AT_FIRST : batch->cap * 2;
        batch->keys = mem_realloc(batch->keys, batch->cap * sizeof(*batch->keys));
    }
    batch->keys[batch->count++] =
        (struct raw_key){.raw = raw, .offset = offset, .attributes = *attributes};
}

/* The reader has left the chunk in which the batch's keys lie: off with them. */
static void hand_over_left(struct load *load) {
    uint8_t *chunk = rdb_reader_take_retired(&load->reader);
    if (LIKELY(chunk == NULL)) return;
    if (load->batch->count == 0) {
        mem_free(chunk);
        return;
    }
    load->batch->chunk = chunk;
    load_crew_submit_take(load->crew, load->batch);
    load->batch = load_crew_batch(load->crew);
}

/* With its history the data goes on where it was, and so do its replicas: what has expired
 * meanwhile they delete on the primary's word, so it is not dropped without a word. */
static bool has_history(const struct load *load) {
    return load->has_id && load->has_offset && load->has_database;
}

/* A value too large to be handed over in one piece. */
static enum status load_here(struct load *load, const struct load_attributes *attributes) {
    struct buffer name = {0};
    struct key key;
    enum status status = rdb_read_string(&load->reader, &name);
    if (status == STATUS_OK) {
        key_init(&key, load->context.into, buffer_view(&name));
        if (!load_value(&load->context, attributes, &key, &load->reader, 0, &load->tally))
            status = load->reader.error.status;
    }
    buffer_deinit(&name);
    return status;
}

static enum status gather_key(struct load *load, const struct rdb_item *item) {
    if (load->context.types[item->type] == NULL)
        return rdb_reader_fail(&load->reader, STATUS_UNSUPPORTED,
                               "a key has a data type (RDB type %u) that this build of Dunlin does "
                               "not have",
                               item->type);
    const struct load_attributes attributes = {
        .keyspace = load->keyspace,
        .expires_at_ms = item->expires_at_ms,
        .access = access_of(load, item),
        .rdb_type = (uint8_t)item->type,
        .has_expiry = item->has_expiry,
        .leaves_expired = has_history(load),
    };
    uint64_t offset = rdb_reader_offset(&load->reader);
    rdb_reader_hold(&load->reader);
    enum status status = rdb_skip_string(&load->reader);
    if (status == STATUS_OK) status = rdb_skip_value(&load->reader, item->type);
    bool is_too_big = status == STATUS_TOO_BIG && load->reader.error.status == STATUS_OK;
    hand_over_left(load);
    if (UNLIKELY(is_too_big)) {
        rdb_reader_go_back(&load->reader);
        return load_here(load, &attributes);
    }
    struct bytes raw = rdb_reader_release(&load->reader);
    if (status == STATUS_OK) note_key(load, &attributes, raw, offset);
    return status;
}

/* -- the file -- */

static enum status load_library(struct load *load, const struct rdb_item *item) {
    struct buffer error = {0};
    enum status status = STATUS_OK;
    if (!libraries_load(load->libraries, item->value, &error))
        status = rdb_reader_fail(&load->reader, STATUS_BAD_FORMAT, "Failed loading library, %.*s",
                                 (int)error.len, (const char *)error.data);
    buffer_deinit(&error);
    return status;
}

static enum status take_item(struct load *load, const struct rdb_item *item) {
    switch (item->kind) {
    case RDB_ITEM_AUX:
        take_aux(load, item);
        return STATUS_OK;
    case RDB_ITEM_SELECT_DB:
        load->keyspace = databases_keyspace(load->context.into, (unsigned)item->db);
        return STATUS_OK;
    case RDB_ITEM_RESIZE_DB:
        load->context.expected[keyspace_database(load->keyspace)] = item->key_count;
        return STATUS_OK;
    case RDB_ITEM_FUNCTION:
        return load_library(load, item);
    case RDB_ITEM_KEY:
        return gather_key(load, item);
    case RDB_ITEM_MODULE_AUX:
    case RDB_ITEM_END:
        break;
    }
    return STATUS_OK;
}

static enum status load_items(struct load *load) {
    struct rdb_item item = {0};
    enum status status = STATUS_OK;
    while (status == STATUS_OK && item.kind != RDB_ITEM_END && !load_crew_has_failed(load->crew)) {
        status = rdb_file_next(&load->file, &item);
        hand_over_left(load);
        if (status == STATUS_OK) status = take_item(load, &item);
    }
    return status;
}

static void find_types(struct load_context *context) {
    for (unsigned code = 0; code < RECORD_TYPE_COUNT; code++) {
        const struct data_type *type = databases_type_of(context->into, code);
        for (unsigned rdb_type = 0; type != NULL && rdb_type < 256; rdb_type++) {
            if (type->loads((uint8_t)rdb_type)) context->types[rdb_type] = type;
        }
    }
}

/* What failed: the reading, or the decoding of something that had been read; the earlier place in
 * the file counts. */
static enum status finish(struct load *load) {
    struct snapshot_loaded *loaded = load->loaded;
    struct load_tally *tally = &load->tally;
    load_crew_submit_take(load->crew, load->batch);
    load_crew_destroy(load->crew, tally);
    const struct rdb_error *error = &load->reader.error;
    if (tally->error.status != STATUS_OK &&
        (error->status == STATUS_OK || tally->error.offset < error->offset))
        error = &tally->error;
    if (error->status != STATUS_OK)
        snprintf(loaded->error, sizeof(loaded->error), "%s (at byte %llu)", error->reason,
                 (unsigned long long)error->offset);
    loaded->keys = tally->keys;
    loaded->expired = tally->expired;
    loaded->bytes = rdb_reader_offset(&load->reader);
    loaded->replication.is_known = has_history(load);
    return error->status;
}

enum status snapshot_load(struct snapshotter *snapshotter, const struct snapshot_source *source,
                          const struct snapshot_data *into, bool drops_expired,
                          struct snapshot_loaded *out) {
    struct databases *databases = into->databases;
    *out = (struct snapshot_loaded){.replication.database = -1};
    struct load *load = mem_alloc_zero(sizeof(*load));
    load->snapshotter = snapshotter;
    load->keyspace = databases_keyspace(databases, 0);
    load->libraries = into->libraries;
    load->loaded = out;
    load->context = (struct load_context){
        .into = databases,
        .values = {.options = snapshotter->options.types, .hash_seed = databases_seed(databases)},
        .drops_expired = drops_expired,
        .now_ms = (int64_t)clock_wall_ms(),
    };
    find_types(&load->context);
    load->crew = load_crew_create(&load->context);
    load->batch = load_crew_batch(load->crew);
    rdb_reader_init(&load->reader, (struct rdb_source){source->fill, source->state});
    rdb_reader_retire_chunks(&load->reader, BATCH_BYTES);
    rdb_file_init(&load->file, &load->reader,
                  &(struct rdb_file_options){
                      .database_count = databases_count(databases),
                      .is_checksum_ignored = !snapshotter->options.options->has_checksum,
                      .leaves_names = true,
                  });
    (void)load_items(load); // What went wrong stays with the reader or with the crew.
    enum status status = finish(load);
    if (status == STATUS_OK) {
        atomic_store(&snapshotter->loaded_keys, out->keys);
        atomic_store(&snapshotter->loaded_expired, out->expired);
    }
    rdb_file_deinit(&load->file);
    rdb_reader_deinit(&load->reader);
    mem_free(load);
    return status;
}

struct file_input {
    struct snapshotter *snapshotter;
    int fd;
};

static enum status fill_from_file(void *state, uint8_t *out, size_t cap, size_t *out_len) {
    const struct file_input *input = state;
    for (;;) {
        ssize_t got = read(input->fd, out, cap);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return STATUS_IO_ERROR;
        *out_len = (size_t)got;
        snapshot_note_loaded(input->snapshotter, *out_len);
        return STATUS_OK;
    }
}

enum status snapshot_load_file(struct snapshotter *snapshotter, const struct snapshot_data *into,
                               bool drops_expired, struct snapshot_loaded *out) {
    const char *name = snapshotter->options.options->file_name;
    *out = (struct snapshot_loaded){.replication.database = -1};
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return STATUS_NOT_FOUND;
    if (fd < 0) {
        snprintf(out->error, sizeof(out->error), "can't open '%s': %s", name, strerror(errno));
        return STATUS_IO_ERROR;
    }
    struct stat attributes;
    if (atomic_load(&snapshotter->is_loading) && fstat(fd, &attributes) == 0)
        snapshot_expect_bytes(snapshotter, (uint64_t)attributes.st_size);
    uint64_t began_ms = clock_monotonic_ms();
    struct file_input input = {snapshotter, fd};
    const struct snapshot_source source = {fill_from_file, &input};
    enum status status = snapshot_load(snapshotter, &source, into, drops_expired, out);
    close(fd);
    if (status == STATUS_OK) {
        log_notice("DB loaded from disk: %.3f seconds, %llu keys, %llu had expired",
                   (double)(clock_monotonic_ms() - began_ms) / 1000, (unsigned long long)out->keys,
                   (unsigned long long)out->expired);
    }
    return status;
}

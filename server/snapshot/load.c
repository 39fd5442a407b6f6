/* Loading an RDB file into databases that nobody else uses yet. */
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
#include "server/snapshot/snapshot_internal.h"

struct load {
    struct snapshotter *snapshotter;
    struct databases *into;
    struct libraries *libraries;
    struct keyspace *keyspace;
    struct rdb_reader reader;
    struct rdb_file file;
    struct snapshot_loaded *loaded;
    bool drops_expired;
    int64_t now_ms;
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

static const struct data_type *type_that_loads(const struct load *load, unsigned rdb_type) {
    for (unsigned code = 0; code < RECORD_TYPE_COUNT; code++) {
        const struct data_type *type = databases_type_of(load->into, code);
        if (type != NULL && type->loads((uint8_t)rdb_type)) return type;
    }
    return NULL;
}

/* The file's word counts where it is of the kind that the policy asks for. */
static uint32_t access_of(const struct load *load, const struct rdb_item *item) {
    const struct memory_options *options = &load->snapshotter->options.types->memory;
    if (!memory_is_lfu(options))
        return access_clock_idle(load->now_ms, item->has_idle ? item->idle_seconds : 0);
    return item->has_freq ? access_counted(load->now_ms, item->freq)
                          : access_new(options, load->now_ms);
}

static bool insert(struct load *load, struct bytes name, struct record *record,
                   const struct rdb_item *item) {
    struct key key;
    key_init(&key, load->into, name);
    if (keyspace_find(load->keyspace, &key) != NULL) {
        rdb_reader_fail(&load->reader, STATUS_BAD_FORMAT, "the key '%.*s' comes twice",
                        (int)(name.len < 64 ? name.len : 64), (const char *)name.data);
        keyspace_destroy_record(load->into, record, false);
        return false;
    }
    if (item->has_expiry) record = record_with_deadline(record, true, item->expires_at_ms);
    record_set_access(record, access_of(load, item));
    keyspace_insert_take(load->keyspace, &key, record);
    load->loaded->keys++;
    return true;
}

static enum status load_key(struct load *load, const struct rdb_item *item) {
    const struct data_type *type = type_that_loads(load, item->type);
    if (type == NULL) {
        return rdb_reader_fail(&load->reader, STATUS_UNSUPPORTED,
                               "the key '%.*s' has a data type (RDB type %u) that this build of "
                               "Dunlin does not have",
                               (int)(item->name.len < 64 ? item->name.len : 64),
                               (const char *)item->name.data, item->type);
    }
    const struct data_type_load_context context = {
        .options = load->snapshotter->options.types,
        .hash_seed = databases_seed(load->into),
        .is_deep_check = false,
    };
    // The loader's reads end the view of the name.
    struct bytes name = bytes_of(bytes_copy_text(item->name), item->name.len);
    struct record *record = NULL;
    enum status status = type->load((uint8_t)item->type, &load->reader, name, &context, &record);
    if (status == STATUS_OK && record != NULL) {
        if (load->drops_expired && item->has_expiry && item->expires_at_ms <= load->now_ms) {
            keyspace_destroy_record(load->into, record, false);
            load->loaded->expired++;
        } else if (!insert(load, name, record, item)) {
            status = STATUS_BAD_FORMAT;
        }
    }
    mem_free((void *)(uintptr_t)name.data);
    return status;
}

static enum status load_library(struct load *load, const struct rdb_item *item) {
    struct buffer error = {0};
    enum status status = STATUS_OK;
    if (!libraries_load(load->libraries, item->value, &error))
        status = rdb_reader_fail(&load->reader, STATUS_BAD_FORMAT, "Failed loading library, %.*s",
                                 (int)error.len, (const char *)error.data);
    buffer_deinit(&error);
    return status;
}

static enum status load_items(struct load *load) {
    for (;;) {
        struct rdb_item item;
        enum status status = rdb_file_next(&load->file, &item);
        if (status != STATUS_OK) return status;
        switch (item.kind) {
        case RDB_ITEM_END:
            return STATUS_OK;
        case RDB_ITEM_AUX:
            take_aux(load, &item);
            break;
        case RDB_ITEM_SELECT_DB:
            load->keyspace = databases_keyspace(load->into, (unsigned)item.db);
            break;
        case RDB_ITEM_FUNCTION:
            status = load_library(load, &item);
            if (status != STATUS_OK) return status;
            break;
        case RDB_ITEM_KEY:
            status = load_key(load, &item);
            if (status != STATUS_OK) return status;
            break;
        case RDB_ITEM_RESIZE_DB:
        case RDB_ITEM_MODULE_AUX:
            break;
        }
    }
}

enum status snapshot_load(struct snapshotter *snapshotter, const struct snapshot_source *source,
                          const struct snapshot_data *into, bool drops_expired,
                          struct snapshot_loaded *out) {
    *out = (struct snapshot_loaded){.replication.database = -1};
    struct load *load = mem_alloc_zero(sizeof(*load));
    load->snapshotter = snapshotter;
    load->into = into->databases;
    load->libraries = into->libraries;
    load->keyspace = databases_keyspace(load->into, 0);
    load->loaded = out;
    load->drops_expired = drops_expired;
    load->now_ms = (int64_t)clock_wall_ms();
    rdb_reader_init(&load->reader, (struct rdb_source){source->fill, source->state});
    rdb_file_init(&load->file, &load->reader,
                  &(struct rdb_file_options){
                      .database_count = databases_count(load->into),
                      .is_checksum_ignored = !snapshotter->options.options->has_checksum,
                  });
    enum status status = load_items(load);
    if (status != STATUS_OK) {
        snprintf(out->error, sizeof(out->error), "%s (at byte %llu)",
                 load->reader.error.reason[0] != '\0' ? load->reader.error.reason
                                                      : status_text(status),
                 (unsigned long long)load->reader.error.offset);
    }
    out->bytes = rdb_reader_offset(&load->reader);
    out->replication.is_known = load->has_id && load->has_offset && load->has_database;
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
        snapshotter->loaded_keys = out->keys;
        snapshotter->loaded_expired = out->expired;
        log_notice("DB loaded from disk: %.3f seconds, %llu keys, %llu had expired",
                   (double)(clock_monotonic_ms() - began_ms) / 1000, (unsigned long long)out->keys,
                   (unsigned long long)out->expired);
    }
    return status;
}

bool snapshot_reload(struct snapshotter *snapshotter, bool is_saving, char *error, size_t cap) {
    if (is_saving && snapshot_save_now(snapshotter) != STATUS_OK) {
        snprintf(error, cap, "ERR Error trying to save the DB, check server logs.");
        return false;
    }
    struct snapshot_data loaded;
    struct snapshot_loaded result;
    snapshot_data_init(snapshotter, &loaded);
    if (snapshot_load_file(snapshotter, &loaded, false, &result) != STATUS_OK) {
        log_warning("Error trying to load the RDB dump: %s", result.error);
        snprintf(error, cap, "ERR Error trying to load the RDB dump, check server logs.");
        snapshot_data_deinit(&loaded);
        return false;
    }
    snapshot_data_adopt(snapshotter, &loaded);
    return true;
}

/* DEBUG RELOAD: what is served, by way of the dump file. Everything is parked. */
#include <stdio.h>

#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/snapshot/snapshot_internal.h"

/* The records of one slot, listed before they are moved. */
struct record_list {
    struct record **items;
    uint32_t count;
};

static void list_record(void *arg, struct record *record) {
    struct record_list *list = arg;
    list->items[list->count++] = record;
}

static struct record_list list_slot(struct keyspace *keyspace, uint16_t slot) {
    struct table *table = keyspace_table(keyspace, slot);
    struct record_list list = {.items = mem_alloc(table->count * sizeof(struct record *))};
    table_walk(table, 0, 0, keyspace_hasher(keyspace), list_record, &list);
    return list;
}

/* Moves a record that was loaded to where clients find it, in the place of one of that name. */
static void move_record(struct databases *databases, struct keyspace *from, struct keyspace *to,
                        const struct record *listed) {
    struct key key;
    key_init(&key, databases, record_key(listed));
    struct table_entry loaded = keyspace_find_entry(from, &key);
    struct record *record = keyspace_detach(from, &key, &loaded);
    key.name = record_key(record);
    struct table_entry entry = keyspace_find_entry(to, &key);
    if (entry.record == NULL) {
        keyspace_insert_take(to, &key, record);
        return;
    }
    keyspace_before_removal(to, &key, entry.record);
    keyspace_replace_take(to, &key, &entry, record);
}

static void move_records(struct databases *databases, struct keyspace *from, struct keyspace *to) {
    for (unsigned slot = keyspace_next_slot(from, 0); slot < SLOT_COUNT;
         slot = keyspace_next_slot(from, slot + 1)) {
        struct record_list list = list_slot(from, (uint16_t)slot);
        for (uint32_t i = 0; i < list.count; i++)
            move_record(databases, from, to, list.items[i]);
        mem_free(list.items);
    }
}

/* -- what would be there twice -- */

struct search {
    struct databases *databases;
    const struct keyspace *keyspace;
    bool has_found;
};

static void look_up(void *arg, struct record *record) {
    struct search *search = arg;
    struct key key;
    key_init(&key, search->databases, record_key(record));
    if (keyspace_find(search->keyspace, &key) != NULL) search->has_found = true;
}

static bool have_common_key(struct databases *databases, struct keyspace *loaded,
                            const struct keyspace *served) {
    struct search search = {databases, served, false};
    for (unsigned slot = keyspace_next_slot(loaded, 0); slot < SLOT_COUNT && !search.has_found;
         slot = keyspace_next_slot(loaded, slot + 1))
        table_walk(keyspace_table(loaded, (uint16_t)slot), 0, 0, keyspace_hasher(loaded), look_up,
                   &search);
    return search.has_found;
}

static bool has_common_keys(struct databases *databases, struct databases *loaded) {
    for (unsigned db = 0; db < databases_count(databases); db++) {
        struct keyspace *from = databases_keyspace_if_any(loaded, db);
        const struct keyspace *to = databases_keyspace_if_any(databases, db);
        if (from != NULL && to != NULL && have_common_key(databases, from, to)) return true;
    }
    return false;
}

/* -- the whole -- */

/* The libraries that are served join those that were loaded. False: one is in both, and that is not
 * wanted. */
static bool join_libraries(const struct snapshotter *snapshotter, struct libraries *loaded,
                           bool is_merging) {
    const struct libraries *served = scripts_libraries(snapshotter->options.modules->scripts);
    for (uint32_t i = 0; i < libraries_count(served); i++) {
        struct buffer error = {0};
        bool is_in = libraries_load(loaded, libraries_source_view(served, i), &error);
        buffer_deinit(&error);
        if (!is_in && !is_merging) return false;
    }
    return true;
}

/* Adds what was loaded to what is served. False: something is in both, and nothing was done. */
static bool add_loaded(const struct snapshotter *snapshotter, struct snapshot_data *loaded,
                       bool is_merging) {
    struct databases *databases = snapshotter->options.databases;
    if (!is_merging && has_common_keys(databases, loaded->databases)) return false;
    if (!join_libraries(snapshotter, loaded->libraries, is_merging)) return false;
    for (unsigned db = 0; db < databases_count(databases); db++) {
        struct keyspace *from = databases_keyspace_if_any(loaded->databases, db);
        if (from != NULL && keyspace_count(from) > 0)
            move_records(databases, from, databases_keyspace(databases, db));
    }
    scripts_adopt_libraries(snapshotter->options.modules->scripts, loaded->libraries);
    loaded->libraries = NULL;
    return true;
}

static bool fail(const char *what, char *error, size_t cap) {
    snprintf(error, cap, "ERR Error trying to %s the RDB dump, check server logs.", what);
    return false;
}

bool snapshot_reload(struct snapshotter *snapshotter, const struct snapshot_reload *how,
                     char *error, size_t cap) {
    if (how->is_saving && snapshot_save_now(snapshotter) != STATUS_OK) {
        snprintf(error, cap, "ERR Error trying to save the DB, check server logs.");
        return false;
    }
    bool is_replica =
        (dispatcher_admission(snapshotter->options.modules->dispatcher) & ADMISSION_REPLICA) != 0;
    struct snapshot_data loaded;
    struct snapshot_loaded result;
    snapshot_data_init(snapshotter, &loaded);
    bool is_fine = snapshot_load_file(snapshotter, &loaded, !is_replica, &result) == STATUS_OK;
    if (!is_fine) {
        log_warning("Error trying to load the RDB dump: %s", result.error);
    } else if (!how->keeps_data) {
        snapshot_data_adopt(snapshotter, &loaded);
    } else if (!add_loaded(snapshotter, &loaded, how->is_merging)) {
        log_warning("Error trying to load the RDB dump: a key or a library is there already, and "
                    "MERGE was not given");
        is_fine = false;
    }
    snapshot_data_deinit(&loaded);
    return is_fine || fail("load", error, cap);
}

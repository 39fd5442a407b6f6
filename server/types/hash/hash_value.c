/* The structure of a hash: listpack or table. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "server/base/mem.h"
#include "server/types/hash/hash_internal.h"
#include "server/types/string/string.h"

static uint64_t field_order(const void *state, struct bytes field) {
    const uint64_t *seed = state;
    return XXH3_64bits_withSeed(field.data, field.len, *seed);
}

struct table_hasher hash_hasher(const struct hash_table *hash) {
    return (struct table_hasher){.order = field_order, .state = &hash->seed};
}

static uint8_t *block_of(const struct record *record) {
    return record_pointer(record);
}

struct hash_table *hash_table_of(const struct record *record) {
    return record_encoding(record) == HASH_TABLE ? record_pointer(record) : NULL;
}

/* -- pairs ------------------------------------------------------------------------------------- */

static struct listpack_value value_of(const struct record *field) {
    if (record_encoding(field) == STRING_INT)
        return (struct listpack_value){.number = record_integer(field)};
    return (struct listpack_value){.text = string_view(field, NULL)};
}

struct hash_pair hash_pair_of(const struct record *field) {
    return (struct hash_pair){.field = {.text = record_key(field)}, .value = value_of(field)};
}

struct hash_pair hash_next_pair(const uint8_t *block, size_t *inout_place) {
    size_t value_place = listpack_next(block, *inout_place);
    struct hash_pair pair = {
        .field = listpack_get(block, *inout_place),
        .value = listpack_get(block, value_place),
    };
    *inout_place = listpack_next(block, value_place);
    return pair;
}

/* -- life -------------------------------------------------------------------------------------- */

static struct record *create_around(struct bytes key, enum hash_encoding encoding, void *value) {
    return record_create_pointer(
        &(struct record_spec){.type = RECORD_HASH, .encoding = encoding, .key = key}, value);
}

struct record *hash_record_create(struct bytes key) {
    return create_around(key, HASH_LISTPACK, listpack_create(0));
}

static void destroy_field(void *arg, struct record *field) {
    (void)arg;
    string_destroy(field);
    record_free(field);
}

void hash_destroy(struct record *record) {
    struct hash_table *hash = hash_table_of(record);
    if (hash == NULL) {
        listpack_destroy(block_of(record));
        return;
    }
    struct table_hasher hasher = hash_hasher(hash);
    table_walk(&hash->table, 0, 0, &hasher, destroy_field, NULL);
    table_deinit(&hash->table);
    mem_free(hash);
}

static struct hash_table *create_table(uint64_t seed) {
    struct hash_table *hash = mem_alloc_zero(sizeof(*hash));
    hash->seed = seed;
    return hash;
}

static void copy_field(void *arg, struct record *field) {
    struct hash_table *hash = arg;
    struct table_hasher hasher = hash_hasher(hash);
    struct bytes name = record_key(field);
    table_insert_take(&hash->table, string_type.copy(field, name), field_order(&hash->seed, name),
                      &hasher);
}

struct record *hash_copy(const struct record *record, struct bytes key) {
    const struct hash_table *hash = hash_table_of(record);
    if (hash == NULL) return create_around(key, HASH_LISTPACK, listpack_copy(block_of(record)));
    struct hash_table *copy = create_table(hash->seed);
    struct table_hasher hasher = hash_hasher(hash);
    table_walk(&hash->table, 0, 0, &hasher, copy_field, copy);
    return create_around(key, HASH_TABLE, copy);
}

void hash_convert(struct record *record, uint64_t seed) {
    if (record_encoding(record) == HASH_TABLE) return;
    uint8_t *block = block_of(record);
    struct hash_table *hash = create_table(seed);
    struct table_hasher hasher = hash_hasher(hash);
    for (size_t place = listpack_first(block); place != 0;) {
        struct hash_pair pair = hash_next_pair(block, &place);
        char field_scratch[NUMBER_TEXT_MAX];
        char value_scratch[NUMBER_TEXT_MAX];
        struct bytes field = element_text(&pair.field, field_scratch);
        struct bytes value = element_text(&pair.value, value_scratch);
        table_insert_take(&hash->table, string_record_create(field, value, false, 0),
                          field_order(&hash->seed, field), &hasher);
    }
    listpack_destroy(block);
    record_set_encoding(record, HASH_TABLE);
    record_set_pointer(record, hash);
}

/* -- access ------------------------------------------------------------------------------------ */

void hash_prefetch(const struct record *record, struct bytes field, unsigned step) {
    const struct hash_table *hash = hash_table_of(record);
    if (step == 0) {
        __builtin_prefetch(record_pointer(record));
    } else if (hash != NULL) {
        table_prefetch_step(&hash->table, field_order(&hash->seed, field), step - 1);
    }
}

size_t hash_count(const struct record *record) {
    const struct hash_table *hash = hash_table_of(record);
    return hash == NULL ? listpack_count(block_of(record)) / 2 : hash->table.count;
}

/* The place of a field's name in the block, 0 when it is not there. */
static size_t find_place(const uint8_t *block, struct bytes field) {
    return listpack_find(block, listpack_first(block), field, 1);
}

bool hash_get(const struct record *record, struct bytes field, struct listpack_value *out) {
    const struct hash_table *hash = hash_table_of(record);
    if (hash != NULL) {
        const struct record *found =
            table_find(&hash->table, field, field_order(&hash->seed, field));
        if (found == NULL) return false;
        *out = value_of(found);
        return true;
    }
    const uint8_t *block = block_of(record);
    size_t place = find_place(block, field);
    if (place == 0) return false;
    *out = listpack_get(block, listpack_next(block, place));
    return true;
}

static bool set_in_table(struct hash_table *hash, struct bytes field, struct bytes value) {
    uint64_t order = field_order(&hash->seed, field);
    struct table_entry entry = table_find_entry(&hash->table, field, order);
    if (entry.record == NULL) {
        struct table_hasher hasher = hash_hasher(hash);
        table_insert_take(&hash->table, string_record_create(field, value, false, 0), order,
                          &hasher);
        return true;
    }
    struct record *changed = string_record_set(entry.record, value);
    if (changed != entry.record) (void)table_swap(&hash->table, &entry, changed);
    return false;
}

static bool suits_listpack(const uint8_t *block, struct bytes field, struct bytes value,
                           const struct data_type_options *options) {
    return field.len <= options->hash_max_listpack_value &&
           value.len <= options->hash_max_listpack_value &&
           listpack_fits(block, listpack_entry_bytes(field) + listpack_entry_bytes(value));
}

static bool set_in_listpack(struct record *record, struct bytes field, struct bytes value,
                            const struct hash_policy *policy) {
    uint8_t *block = block_of(record);
    size_t place = find_place(block, field);
    if (place != 0) {
        listpack_replace(&block, listpack_next(block, place), value);
        record_set_pointer(record, block);
        return false;
    }
    listpack_append(&block, field);
    listpack_append(&block, value);
    record_set_pointer(record, block);
    if (hash_count(record) > policy->options->hash_max_listpack_entries)
        hash_convert(record, policy->seed);
    return true;
}

bool hash_set(struct record *record, struct bytes field, struct bytes value,
              const struct hash_policy *policy) {
    if (record_encoding(record) == HASH_LISTPACK) {
        if (suits_listpack(block_of(record), field, value, policy->options))
            return set_in_listpack(record, field, value, policy);
        hash_convert(record, policy->seed);
    }
    return set_in_table(hash_table_of(record), field, value);
}

bool hash_delete(struct record *record, struct bytes field) {
    struct hash_table *hash = hash_table_of(record);
    if (hash != NULL) {
        struct table_hasher hasher = hash_hasher(hash);
        struct table_entry entry =
            table_find_entry(&hash->table, field, field_order(&hash->seed, field));
        if (entry.record == NULL) return false;
        destroy_field(NULL, table_detach(&hash->table, &entry, &hasher));
        return true;
    }
    uint8_t *block = block_of(record);
    size_t place = find_place(block, field);
    if (place == 0) return false;
    listpack_delete_range(&block, place, 2);
    record_set_pointer(record, block);
    return true;
}

/* -- walking ----------------------------------------------------------------------------------- */

struct pair_visitor {
    void (*visit)(void *arg, const struct hash_pair *pair);
    void *arg;
};

static void visit_field(void *arg, struct record *field) {
    const struct pair_visitor *visitor = arg;
    struct hash_pair pair = hash_pair_of(field);
    visitor->visit(visitor->arg, &pair);
}

void hash_walk(const struct record *record, uint64_t from, uint64_t to,
               void (*visit)(void *arg, const struct hash_pair *pair), void *arg) {
    const struct hash_table *hash = hash_table_of(record);
    if (hash != NULL) {
        struct pair_visitor visitor = {visit, arg};
        struct table_hasher hasher = hash_hasher(hash);
        table_walk(&hash->table, from, to, &hasher, visit_field, &visitor);
        return;
    }
    const uint8_t *block = block_of(record);
    for (size_t place = listpack_first(block); place != 0;) {
        struct hash_pair pair = hash_next_pair(block, &place);
        visit(arg, &pair);
    }
}

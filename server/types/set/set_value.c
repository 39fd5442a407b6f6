/* The structure of a set: intset, listpack or table. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "server/base/mem.h"
#include "server/types/set/set_internal.h"
#include "server/types/table_picks.h"

static uint64_t member_order(const void *state, struct bytes member) {
    const uint64_t *seed = state;
    return XXH3_64bits_withSeed(member.data, member.len, *seed);
}

struct table_hasher set_hasher(const struct set_table *set) {
    return (struct table_hasher){.order = member_order, .state = &set->seed};
}

static uint8_t *block_of(const struct record *record) {
    return record_pointer(record);
}

struct set_table *set_table_of(const struct record *record) {
    return record_encoding(record) == SET_TABLE ? record_pointer(record) : NULL;
}

/* -- life -- */

static struct record *create_around(struct bytes key, enum set_encoding encoding, void *value) {
    return record_create_pointer(
        &(struct record_spec){.type = RECORD_SET, .encoding = encoding, .key = key}, value);
}

struct record *set_record_create(struct bytes key) {
    return create_around(key, SET_INTSET, intset_create());
}

static struct set_table *create_table(uint64_t seed) {
    struct set_table *set = mem_alloc_zero(sizeof(*set));
    set->seed = seed;
    return set;
}

static void insert_member(struct set_table *set, struct bytes member, uint64_t order) {
    struct table_hasher hasher = set_hasher(set);
    struct record *record = record_create_bare(member);
    table_insert_take(&set->table, record, order, &hasher);
}

static void free_member(void *arg, struct record *member) {
    (void)arg;
    record_free(member);
}

void set_destroy(struct record *record) {
    struct set_table *set = set_table_of(record);
    if (set == NULL) {
        mem_free(block_of(record));
        return;
    }
    struct table_hasher hasher = set_hasher(set);
    table_walk(&set->table, 0, 0, &hasher, free_member, NULL);
    table_deinit(&set->table);
    mem_free(set);
}

static void copy_member(void *arg, struct record *member) {
    struct set_table *set = arg;
    struct bytes name = record_key(member);
    insert_member(set, name, member_order(&set->seed, name));
}

struct record *set_copy(const struct record *record, struct bytes key) {
    const struct set_table *set = set_table_of(record);
    const uint8_t *block = record_pointer(record);
    if (record_encoding(record) == SET_LISTPACK)
        return create_around(key, SET_LISTPACK, listpack_copy(block));
    if (set == NULL) {
        size_t len = intset_bytes(block);
        uint8_t *copy = mem_alloc(len);
        memcpy(copy, block, len);
        return create_around(key, SET_INTSET, copy);
    }
    struct set_table *copy = create_table(set->seed);
    struct table_hasher hasher = set_hasher(set);
    table_walk(&set->table, 0, 0, &hasher, copy_member, copy);
    return create_around(key, SET_TABLE, copy);
}

void set_prefetch(const struct record *record, struct bytes member, unsigned step) {
    const struct set_table *set = set_table_of(record);
    if (step == 0) {
        __builtin_prefetch(record_pointer(record));
    } else if (set != NULL) {
        table_prefetch_step(&set->table, member_order(&set->seed, member), step - 1);
    }
}

/* -- walking -- */

struct member_visitor {
    void (*visit)(void *arg, const struct listpack_value *member);
    void *arg;
};

static void visit_record(void *arg, struct record *member) {
    const struct member_visitor *visitor = arg;
    struct listpack_value value = {.text = record_key(member)};
    visitor->visit(visitor->arg, &value);
}

void set_walk(const struct record *record,
              void (*visit)(void *arg, const struct listpack_value *member), void *arg) {
    const struct set_table *set = set_table_of(record);
    const uint8_t *block = record_pointer(record);
    if (set != NULL) {
        struct member_visitor visitor = {visit, arg};
        struct table_hasher hasher = set_hasher(set);
        table_walk(&set->table, 0, 0, &hasher, visit_record, &visitor);
    } else if (record_encoding(record) == SET_INTSET) {
        size_t count = intset_count(block);
        for (size_t i = 0; i < count; i++) {
            struct listpack_value value = {.number = intset_get(block, i)};
            visit(arg, &value);
        }
    } else {
        for (size_t place = listpack_first(block); place != 0;
             place = listpack_next(block, place)) {
            struct listpack_value value = listpack_get(block, place);
            visit(arg, &value);
        }
    }
}

/* -- conversions -- */

static void add_to_table(void *arg, const struct listpack_value *member) {
    struct set_table *set = arg;
    char scratch[NUMBER_TEXT_MAX];
    struct bytes text = element_text(member, scratch);
    insert_member(set, text, member_order(&set->seed, text));
}

void set_convert_to_table(struct record *record, uint64_t seed) {
    if (record_encoding(record) == SET_TABLE) return;
    struct set_table *set = create_table(seed);
    set_walk(record, add_to_table, set);
    mem_free(block_of(record));
    record_set_encoding(record, SET_TABLE);
    record_set_pointer(record, set);
}

static void add_to_listpack(void *arg, const struct listpack_value *member) {
    listpack_append_i64(arg, member->number);
}

static void convert_to_listpack(struct record *record) {
    uint8_t *block = listpack_create(0);
    set_walk(record, add_to_listpack, &block);
    mem_free(block_of(record));
    record_set_encoding(record, SET_LISTPACK);
    record_set_pointer(record, block);
}

/* -- access -- */

size_t set_count(const struct record *record) {
    const struct set_table *set = set_table_of(record);
    if (set != NULL) return set->table.count;
    const uint8_t *block = record_pointer(record);
    return record_encoding(record) == SET_INTSET ? intset_count(block) : listpack_count(block);
}

static size_t find_place(const uint8_t *block, struct bytes member) {
    return listpack_find(block, listpack_first(block), member, 0);
}

bool set_contains(const struct record *record, struct bytes member) {
    const struct set_table *set = set_table_of(record);
    const uint8_t *block = record_pointer(record);
    int64_t number;
    if (set != NULL)
        return table_find(&set->table, member, member_order(&set->seed, member)) != NULL;
    if (record_encoding(record) == SET_LISTPACK) return find_place(block, member) != 0;
    return number_parse_i64(member, &number) && intset_contains(block, number);
}

static bool add_in_table(struct set_table *set, struct bytes member) {
    uint64_t order = member_order(&set->seed, member);
    if (table_find(&set->table, member, order) != NULL) return false;
    insert_member(set, member, order);
    return true;
}

static bool add_in_listpack(struct record *record, struct bytes member,
                            const struct set_policy *policy) {
    uint8_t *block = block_of(record);
    if (find_place(block, member) != 0) return false;
    if (listpack_count(block) >= policy->options->set_max_listpack_entries ||
        member.len > policy->options->set_max_listpack_value ||
        !listpack_fits(block, listpack_entry_bytes(member))) {
        set_convert_to_table(record, policy->seed);
        return add_in_table(set_table_of(record), member);
    }
    listpack_append(&block, member);
    record_set_pointer(record, block);
    return true;
}

static bool add_in_intset(struct record *record, struct bytes member,
                          const struct set_policy *policy) {
    uint8_t *block = block_of(record);
    int64_t number;
    if (number_parse_i64(member, &number)) {
        if (!intset_add(&block, number)) return false;
        record_set_pointer(record, block);
        if (intset_count(block) > policy->options->set_max_intset_entries)
            set_convert_to_table(record, policy->seed);
        return true;
    }
    bool suits_listpack = intset_count(block) < policy->options->set_max_listpack_entries &&
                          member.len <= policy->options->set_max_listpack_value;
    if (suits_listpack) {
        convert_to_listpack(record);
        return add_in_listpack(record, member, policy);
    }
    set_convert_to_table(record, policy->seed);
    return add_in_table(set_table_of(record), member);
}

bool set_add(struct record *record, struct bytes member, const struct set_policy *policy) {
    switch (record_encoding(record)) {
    case SET_INTSET:
        return add_in_intset(record, member, policy);
    case SET_LISTPACK:
        return add_in_listpack(record, member, policy);
    default:
        return add_in_table(set_table_of(record), member);
    }
}

bool set_remove(struct record *record, struct bytes member) {
    struct set_table *set = set_table_of(record);
    uint8_t *block = record_pointer(record);
    if (set != NULL) {
        struct table_hasher hasher = set_hasher(set);
        struct table_entry entry =
            table_find_entry(&set->table, member, member_order(&set->seed, member));
        if (entry.record == NULL) return false;
        record_free(table_detach(&set->table, &entry, &hasher));
        return true;
    }
    if (record_encoding(record) == SET_INTSET) {
        int64_t number;
        if (!number_parse_i64(member, &number) || !intset_remove(&block, number)) return false;
    } else {
        size_t place = find_place(block, member);
        if (place == 0) return false;
        listpack_delete(&block, place);
    }
    record_set_pointer(record, block);
    return true;
}

/* -- picks -- */

struct listpack_value set_random(const struct record *record, struct rng *rng) {
    const struct set_table *set = set_table_of(record);
    const uint8_t *block = record_pointer(record);
    if (set != NULL)
        return (struct listpack_value){.text = record_key(table_random(&set->table, rng))};
    size_t index = rng_below(rng, set_count(record));
    if (record_encoding(record) == SET_INTSET)
        return (struct listpack_value){.number = intset_get(block, index)};
    return listpack_get(block, listpack_seek(block, (int64_t)index));
}

/* Takes each with the chance that what is still wanted has among what is still to come. */
struct picker {
    struct rng *rng;
    size_t left;
    size_t wanted;
    struct member_visitor visitor;
};

static void pick_member(void *arg, const struct listpack_value *member) {
    struct picker *picker = arg;
    if (picker->wanted > 0 && rng_below(picker->rng, picker->left) < picker->wanted) {
        picker->wanted--;
        picker->visitor.visit(picker->visitor.arg, member);
    }
    picker->left--;
}

void set_pick_different(const struct record *record, struct rng *rng, size_t count,
                        void (*visit)(void *arg, const struct listpack_value *member), void *arg) {
    const struct set_table *set = set_table_of(record);
    if (count >= set_count(record)) {
        set_walk(record, visit, arg);
    } else if (set != NULL) {
        struct member_visitor visitor = {visit, arg};
        struct table_hasher hasher = set_hasher(set);
        table_pick_different(&set->table, &hasher, rng, count, visit_record, &visitor);
    } else {
        struct picker picker = {rng, set_count(record), count, {visit, arg}};
        set_walk(record, pick_member, &picker);
    }
}

#include <stdio.h>

#include <criterion/criterion.h>

#include "server/base/mem.h"
#include "server/structs/table.h"

static uint64_t order_of(const void *state, struct bytes key) {
    (void)state;
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < key.len; i++)
        hash = (hash ^ key.data[i]) * 1099511628211u;
    hash ^= hash >> 29;
    hash *= 0xbf58476d1ce4e5b9u;
    hash ^= hash >> 32;
    return hash * 0x94d049bb133111ebu;
}

static const struct table_hasher hasher = {order_of, NULL};

static struct bytes name_of(int i, char *text) {
    return bytes_of(text, (size_t)sprintf(text, "key:%d", i));
}

static void put(struct table *table, int i, int64_t deadline_ms) {
    char text[32];
    struct bytes key = name_of(i, text);
    struct record *record = record_create(&(struct record_spec){
        .key = key,
        .payload = bytes_of(&i, sizeof(i)),
        .has_deadline = deadline_ms != 0,
        .deadline_ms = deadline_ms,
    });
    table_insert_take(table, record, order_of(NULL, key), &hasher);
}

static bool has(const struct table *table, int i) {
    char text[32];
    struct bytes key = name_of(i, text);
    struct record *record = table_find(table, key, order_of(NULL, key));
    return record != NULL && memcmp(record_payload(record), &i, sizeof(i)) == 0;
}

static void drop(struct table *table, int i) {
    char text[32];
    struct bytes key = name_of(i, text);
    struct table_entry entry = table_find_entry(table, key, order_of(NULL, key));
    cr_assert_not_null(entry.record);
    record_free(table_detach(table, &entry, &hasher));
}

static void count_visit(void *arg, struct record *record) {
    (void)record;
    (*(int *)arg)++;
}

static void free_visit(void *arg, struct record *record) {
    (void)arg;
    record_free(record);
}

static void finish(struct table *table) {
    table_walk(table, 0, 0, &hasher, free_visit, NULL);
    table_deinit(table);
}

Test(table, behaves_as_a_plain_model_under_random_changes) {
    enum { KEYS = 20000, STEPS = 400000 };
    struct table table = {0};
    static bool model[KEYS];
    uint32_t count = 0;
    struct rng rng;
    rng_seed(&rng, 7);
    for (int step = 0; step < STEPS; step++) {
        int i = (int)rng_below(&rng, KEYS);
        bool prefers_insert = (step / 80000) % 2 == 0;
        cr_assert_eq(has(&table, i), model[i]);
        if (!model[i] && (prefers_insert || rng_below(&rng, 4) == 0)) {
            put(&table, i, 0);
            model[i] = true;
            count++;
        } else if (model[i] && (!prefers_insert || rng_below(&rng, 4) == 0)) {
            drop(&table, i);
            model[i] = false;
            count--;
        }
        cr_assert_eq(table.count, count);
        if (step % 20000 == 0) {
            int walked = 0;
            table_walk(&table, 0, 0, &hasher, count_visit, &walked);
            cr_assert_eq((uint32_t)walked, count);
        }
    }
    for (int i = 0; i < KEYS; i++)
        cr_assert_eq(has(&table, i), model[i]);
    finish(&table);
}

/* Tables of few records, which come and go: one, none, one again, and some more. */
Test(table, may_be_tiny) {
    enum { KEYS = 4, STEPS = 20000 };
    struct table table = {0};
    bool model[KEYS] = {false};
    uint32_t count = 0;
    struct rng rng;
    rng_seed(&rng, 11);
    for (int step = 0; step < STEPS; step++) {
        int i = (int)rng_below(&rng, KEYS);
        if (!model[i]) {
            put(&table, i, i % 2 == 0 ? 1900000000000 : 0);
            count++;
        } else {
            drop(&table, i);
            count--;
        }
        model[i] = !model[i];
        cr_assert_eq(table.count, count);
        for (int k = 0; k < KEYS; k++)
            cr_assert_eq(has(&table, k), model[k]);
        int walked = 0;
        table_walk(&table, 0, 0, &hasher, count_visit, &walked);
        cr_assert_eq((uint32_t)walked, count);
        struct record *out[KEYS];
        cr_assert_eq(table_sample(&table, &rng, false, out, KEYS), count);
        cr_assert_eq(table_random(&table, &rng) == NULL, count == 0);
        cr_assert_eq(table_memory_used(&table) == 0, count == 0);
    }
    finish(&table);
}

struct seen {
    int counts[5000];
};

static void mark_visit(void *arg, struct record *record) {
    int i;
    memcpy(&i, record_payload(record), sizeof(i));
    if (i < 5000) ((struct seen *)arg)->counts[i]++;
}

Test(table, has_room_in_advance_for_what_is_expected) {
    for (uint32_t expected = 0; expected < 500; expected = expected * 3 / 2 + 1) {
        struct table grown = {0};
        struct table reserved = {0};
        table_reserve(&reserved, expected);
        uint32_t bucket_count = reserved.bucket_count;
        for (uint32_t i = 0; i < expected; i++) {
            put(&grown, (int)i, 0);
            put(&reserved, (int)i, 0);
            table_reserve(&reserved, 1000); // It has buckets.
        }
        cr_assert_eq(reserved.bucket_count, bucket_count);
        if (expected > 0) cr_assert_eq(grown.bucket_count, bucket_count, "%u", expected);
        for (uint32_t i = 0; i < expected; i++)
            cr_assert(has(&reserved, (int)i));
        finish(&grown);
        finish(&reserved);
    }
}

Test(table, a_walk_by_places_sees_every_lasting_record_while_the_table_grows) {
    struct table table = {0};
    for (int i = 0; i < 5000; i++)
        put(&table, i, 0);
    struct seen seen = {{0}};
    uint64_t place = 0;
    int next = 5000;
    do {
        uint64_t to = table_place_after(&table, place, 3);
        table_walk(&table, place, to, &hasher, mark_visit, &seen);
        place = to;
        for (int i = 0; i < 100; i++)
            put(&table, next++, 0);
    } while (place != 0 && next < 2000000);
    for (int i = 0; i < 5000; i++)
        cr_assert_eq(seen.counts[i], 1, "record %d was seen %d times", i, seen.counts[i]);
    finish(&table);
}

Test(table, finds_what_is_due_and_nothing_else) {
    struct table table = {0};
    const int64_t now = 1700000000000;
    for (int i = 0; i < 3000; i++)
        put(&table, i, i % 3 == 0 ? 0 : now + (i % 3 == 1 ? -1000 : 100000));
    uint32_t cursor = 0;
    uint32_t earliest = 0;
    uint32_t total = 0;
    struct record *due[64];
    do {
        uint32_t found = table_collect_due(&table, now, 8, &cursor, due, 64, &earliest);
        for (uint32_t i = 0; i < found; i++) {
            cr_assert_leq(record_deadline_ms(due[i]), now);
            struct bytes key = record_key(due[i]);
            struct table_entry entry = table_find_entry(&table, key, order_of(NULL, key));
            record_free(table_detach(&table, &entry, &hasher));
            total++;
        }
    } while (cursor != 0);
    cr_assert_eq(total, 1000);
    cr_assert_eq(earliest, table_coarse_deadline(now + 100000));
    finish(&table);
}

Test(table, takes_deadlines_of_any_age) {
    const int64_t deadlines_ms[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1};
    for (size_t i = 0; i < sizeof(deadlines_ms) / sizeof(deadlines_ms[0]); i++)
        cr_assert_eq(table_coarse_deadline(deadlines_ms[i]), 0);
    cr_assert_lt(table_coarse_deadline(INT64_MAX), TABLE_NO_DEADLINE);
}

Test(table, picks_at_random_about_evenly) {
    struct table table = {0};
    for (int i = 0; i < 50; i++)
        put(&table, i, 0);
    int counts[50] = {0};
    struct rng rng;
    rng_seed(&rng, 3);
    for (int n = 0; n < 50000; n++) {
        int i;
        memcpy(&i, record_payload(table_random(&table, &rng)), sizeof(i));
        counts[i]++;
    }
    for (int i = 0; i < 50; i++)
        cr_assert(counts[i] > 700 && counts[i] < 1300, "%d: %d", i, counts[i]);
    finish(&table);
}

Test(table, holds_bare_records_of_any_length) {
    enum { KEYS = 300 };
    struct table table = {0};
    char text[KEYS];
    memset(text, 'k', sizeof(text));
    for (size_t len = 0; len < KEYS; len++) {
        struct bytes key = bytes_of(text, len);
        struct record *record = record_create_bare(key);
        cr_assert(bytes_equal(record_key(record), key));
        cr_assert_not(record_has_deadline(record));
        cr_assert_eq(record_is_bare(record), len <= RECORD_BARE_KEY_MAX);
        table_insert_take(&table, record, order_of(NULL, key), &hasher);
    }
    for (size_t len = 0; len < KEYS; len++) {
        struct bytes key = bytes_of(text, len);
        struct record *found = table_find(&table, key, order_of(NULL, key));
        cr_assert(found != NULL && record_key(found).len == len);
    }
    table_walk(&table, 0, 0, &hasher, free_visit, NULL);
    table_deinit(&table);
}

static void count_samples(const struct table *table, struct rng *rng, bool has_deadline,
                          uint32_t eligible) {
    enum { WANTED = 20 };
    struct record *found[WANTED];
    uint32_t count = table_sample(table, rng, has_deadline, found, WANTED);
    cr_assert_eq(count, eligible < WANTED ? eligible : WANTED);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert(!has_deadline || record_has_deadline(found[i]));
        for (uint32_t k = 0; k < i; k++)
            cr_assert_neq(found[i], found[k]);
    }
}

Test(table, samples_what_there_is) {
    struct table table = {0};
    struct rng rng;
    rng_seed(&rng, 5);
    uint32_t with_deadline = 0;
    for (int i = 0; i < 5000; i++) {
        bool has_deadline = i % 97 == 0;
        put(&table, i, has_deadline ? 1700000000000 : 0);
        with_deadline += has_deadline;
        count_samples(&table, &rng, false, table.count);
        if (i % 10 == 0) count_samples(&table, &rng, true, with_deadline);
    }
    table_walk(&table, 0, 0, &hasher, free_visit, NULL);
    table_deinit(&table);
}

Test(record, keeps_long_keys_deadlines_and_marks) {
    uint8_t *long_key = mem_alloc_zero(100000);
    struct record *record = record_create(&(struct record_spec){
        .type = 4,
        .encoding = 3,
        .key = bytes_of(long_key, 100000),
        .payload = BYTES_LITERAL("payload"),
        .access = 0xabcdef,
    });
    record_set_marks(record, 5);
    record = record_with_deadline(record, true, 123456789);
    cr_assert_eq(record_deadline_ms(record), 123456789);
    cr_assert_eq(record_marks(record), 5);
    cr_assert_eq(record_access(record), 0xabcdef);
    cr_assert_eq(record_key_len(record), 100000);
    cr_assert_eq(record_type(record), 4);
    cr_assert_eq(record_encoding(record), 3);
    cr_assert_eq(memcmp(record_payload(record), "payload", 7), 0);
    record = record_with_deadline(record, false, 0);
    cr_assert_not(record_has_deadline(record));
    cr_assert_eq(memcmp(record_payload(record), "payload", 7), 0);
    record_free(record);
    mem_free(long_key);
}

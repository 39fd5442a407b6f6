/* Streams against a plain array: entries added, deleted and trimmed at random, read both ways, and
 * all of it through RDB with groups and what is pending in them. */
#include <stdio.h>

#include <criterion/criterion.h>

#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/base/rng.h"
#include "server/keyspace/digest.h"
#include "server/rdb/rdb_format.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_writer.h"
#include "server/types/stream/stream_internal.h"

enum { MODEL_MAX = 3000 };

struct model {
    struct stream_id ids[MODEL_MAX];
    uint32_t fields[MODEL_MAX];
    size_t count;
};

static const struct data_type_options options = {.stream_node_max_entries = 7,
                                                 .stream_node_max_bytes = 300};

static void add(struct stream *stream, struct model *model, struct stream_id id, uint32_t fields) {
    struct bytes pairs[20];
    char texts[20][32];
    for (uint32_t i = 0; i < fields * 2; i++) {
        bool is_name = i % 2 == 0;
        int len = is_name ? sprintf(texts[i], "field-%u", i / 2)
                          : sprintf(texts[i], i % 3 == 0 ? "%llu" : "value %llu",
                                    (unsigned long long)id.seq + i);
        pairs[i] = bytes_of(texts[i], (size_t)len);
    }
    stream_append(stream, id, pairs, fields, &options);
    model->ids[model->count] = id;
    model->fields[model->count++] = fields;
}

static void drop(struct model *model, size_t at, size_t count) {
    memmove(&model->ids[at], &model->ids[at + count],
            (model->count - at - count) * sizeof(model->ids[0]));
    memmove(&model->fields[at], &model->fields[at + count],
            (model->count - at - count) * sizeof(model->fields[0]));
    model->count -= count;
}

static void expect_entry(struct stream_entry *entry, const struct model *model, size_t at) {
    cr_assert_eq(stream_id_compare(entry->id, model->ids[at]), 0);
    cr_assert_eq(entry->field_count, model->fields[at]);
    for (uint64_t i = 0; i < entry->field_count; i++) {
        struct listpack_value name;
        struct listpack_value value;
        char expected[32];
        stream_entry_pair(entry, &name, &value);
        int len = sprintf(expected, "field-%u", (unsigned)i);
        cr_assert(bytes_equal(name.text, bytes_of(expected, (size_t)len)));
    }
}

static void expect_same(const struct stream *stream, const struct model *model) {
    struct stream_cursor cursor;
    struct stream_entry entry;
    cr_assert_eq(stream_len(stream), model->count);
    stream_cursor_begin(&cursor, stream, STREAM_ID_MIN, STREAM_ID_MAX, false);
    for (size_t i = 0; i < model->count; i++) {
        cr_assert(stream_cursor_next(&cursor, &entry));
        expect_entry(&entry, model, i);
    }
    cr_assert(!stream_cursor_next(&cursor, &entry));
    stream_cursor_begin(&cursor, stream, STREAM_ID_MIN, STREAM_ID_MAX, true);
    for (size_t i = model->count; i-- > 0;) {
        cr_assert(stream_cursor_next(&cursor, &entry));
        expect_entry(&entry, model, i);
    }
    cr_assert(!stream_cursor_next(&cursor, &entry));
}

static void expect_ranges(const struct stream *stream, const struct model *model, struct rng *rng) {
    struct stream_id start = {rng_below(rng, 60), rng_below(rng, 4)};
    struct stream_id end = {start.ms + rng_below(rng, 30), rng_below(rng, 4)};
    for (unsigned reversed = 0; reversed < 2; reversed++) {
        struct stream_cursor cursor;
        struct stream_entry entry;
        stream_cursor_begin(&cursor, stream, start, end, reversed != 0);
        for (size_t i = 0; i < model->count; i++) {
            size_t at = reversed != 0 ? model->count - 1 - i : i;
            if (stream_id_compare(model->ids[at], start) < 0 ||
                stream_id_compare(model->ids[at], end) > 0)
                continue;
            cr_assert(stream_cursor_next(&cursor, &entry));
            expect_entry(&entry, model, at);
        }
        cr_assert(!stream_cursor_next(&cursor, &entry));
    }
}

static void expect_survives(struct record *record, const struct model *model) {
    struct rdb_writer writer;
    struct rdb_reader reader;
    struct record *loaded = NULL;
    struct digest before = {{0}};
    struct digest after = {{0}};
    const struct data_type_load_context context = {&options, 7, true};
    rdb_writer_init(&writer, &(struct rdb_writer_options){0});
    stream_type.save(record, &writer);
    rdb_reader_init_memory(&reader, buffer_view(&writer.buffer));
    cr_assert_eq(
        stream_type.load(RDB_TYPE_STREAM_2, &reader, BYTES_LITERAL("k"), &context, &loaded),
        STATUS_OK, "%s", reader.error.reason);
    expect_same(stream_of(loaded), model);
    stream_type.digest(record, &before);
    stream_type.digest(loaded, &after);
    cr_assert_arr_eq(before.bytes, after.bytes, sizeof(before.bytes));
    const struct stream *old = stream_of(record);
    const struct stream *fresh = stream_of(loaded);
    cr_assert_eq(fresh->group_count, old->group_count);
    for (uint32_t i = 0; i < old->group_count; i++) {
        cr_assert_eq(stream_pel_count(&fresh->groups[i]->pel),
                     stream_pel_count(&old->groups[i]->pel));
        cr_assert_eq(fresh->groups[i]->consumer_count, old->groups[i]->consumer_count);
    }
    stream_type.destroy(loaded);
    record_free(loaded);
    rdb_reader_deinit(&reader);
    rdb_writer_deinit(&writer);
}

/* Entries become somebody's, are given away, and are acknowledged. */
static void change_group(struct stream_group *group, const struct model *model, struct rng *rng) {
    if (model->count == 0) return;
    struct stream_id id = model->ids[rng_below(rng, model->count)];
    struct stream_consumer *consumer = group->consumers[rng_below(rng, group->consumer_count)];
    struct stream_pending *pending = stream_pel_find(&group->pel, id);
    if (pending == NULL) {
        stream_add_pending(group, id, consumer, 5);
    } else if (rng_below(rng, 2) == 0) {
        stream_give_pending(pending, consumer);
    } else {
        stream_remove_pending(group, pending);
    }
}

static void expect_consistent(const struct stream_group *group) {
    size_t held = 0;
    for (uint32_t i = 0; i < group->consumer_count; i++)
        held += stream_pel_count(&group->consumers[i]->pel);
    cr_assert_eq(held, stream_pel_count(&group->pel));
    struct stream_pel_cursor cursor;
    struct stream_id last = STREAM_ID_MIN;
    for (stream_pel_seek(&group->pel, STREAM_ID_MIN, &cursor); cursor.has;
         stream_pel_next(&cursor)) {
        struct stream_pending *pending = stream_pel_at(&cursor);
        cr_assert_gt(stream_id_compare(pending->id, last), 0);
        cr_assert_eq(stream_pel_find(&pending->consumer->pel, pending->id), pending);
        last = pending->id;
    }
}

Test(stream, follows_a_plain_array) {
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct rng rng;
        struct model *model = mem_alloc_zero(sizeof(*model));
        rng_seed(&rng, seed);
        struct stream *stream = stream_create();
        struct record *record = stream_record_create(BYTES_LITERAL("key"), stream);
        struct stream_group *group =
            stream_add_group(stream, BYTES_LITERAL("group"), STREAM_ID_MIN, 0);
        stream_add_consumer(group, BYTES_LITERAL("b"), 1);
        stream_add_consumer(group, BYTES_LITERAL("a"), 1);
        struct stream_id id = {1, 1};
        for (unsigned step = 0; step < 2500; step++) {
            uint64_t what = rng_below(&rng, 20);
            if (what < 12) {
                if (rng_below(&rng, 3) == 0) {
                    id = (struct stream_id){id.ms + 1 + rng_below(&rng, 2), rng_below(&rng, 3)};
                } else {
                    id.seq++;
                }
                add(stream, model, id, 1 + (uint32_t)rng_below(&rng, 3));
            } else if (what < 18 && model->count > 0) {
                size_t at = rng_below(&rng, model->count);
                cr_assert(stream_delete(stream, model->ids[at]));
                cr_assert(!stream_delete(stream, model->ids[at]));
                drop(model, at, 1);
            } else if (what == 18 && model->count > 0) {
                size_t keep = model->count - rng_below(&rng, model->count / 8 + 1);
                struct stream_trim trim = {.strategy = TRIM_LEN, .max_len = keep};
                cr_assert_eq(stream_trim(stream, &trim), model->count - keep);
                drop(model, 0, model->count - keep);
            } else if (model->count > 0) {
                size_t first = rng_below(&rng, model->count / 8 + 1);
                struct stream_trim trim = {.strategy = TRIM_ID, .min_id = model->ids[first]};
                cr_assert_eq(stream_trim(stream, &trim), first);
                drop(model, 0, first);
            }
            change_group(group, model, &rng);
            expect_ranges(stream, model, &rng);
            if (step % 100 == 0) {
                expect_same(stream, model);
                expect_consistent(group);
                expect_survives(record, model);
            }
        }
        struct stream *copy = stream_clone(stream);
        expect_same(copy, model);
        stream_free(copy);
        stream_type.destroy(record);
        record_free(record);
        mem_free(model);
    }
}

Test(stream, ids_are_read_strictly) {
    struct stream_id id;
    bool is_auto;
    cr_assert(stream_id_parse(BYTES_LITERAL("5-7"), 0, true, &id, NULL) && id.ms == 5 &&
              id.seq == 7);
    cr_assert(stream_id_parse(BYTES_LITERAL("5"), UINT64_MAX, true, &id, NULL) &&
              id.seq == UINT64_MAX);
    cr_assert(stream_id_parse(BYTES_LITERAL("5-*"), 0, true, &id, &is_auto) && is_auto);
    cr_assert(stream_id_parse(BYTES_LITERAL("-"), 0, false, &id, NULL));
    static const char *const bad[] = {
        "", "-", "+", "a", "1-", "-1", "1-a", "1-2-3", "5-*", "18446744073709551616", " 1", "1 "};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert(!stream_id_parse(bytes_of_text(bad[i]), 0, true, &id, NULL), "%s", bad[i]);
}

#include <criterion/criterion.h>

#include "server/base/number.h"
#include "server/types/generic/scan_cursor.h"

Test(scan_cursor, the_beginning_is_zero) {
    cr_assert_eq(scan_cursor_of((struct scan_position){0, 0}), 0);
    cr_assert_eq(scan_position_of(0).slot, 0);
    cr_assert_eq(scan_position_of(0).place, 0);
}

Test(scan_cursor, every_position_comes_back_at_or_before_itself) {
    const uint64_t places[] = {0, 1, 0x7fff, 0x8000, 0x123456789abcdef0, UINT64_MAX};
    const uint32_t slots[] = {0, 1, 127, 128, 8191, 16383};
    for (size_t s = 0; s < sizeof(slots) / sizeof(slots[0]); s++) {
        for (size_t p = 0; p < sizeof(places) / sizeof(places[0]); p++) {
            struct scan_position position = {slots[s], places[p]};
            uint64_t cursor = scan_cursor_of(position);
            struct scan_position back = scan_position_of(cursor);
            cr_assert_eq(back.slot, slots[s]);
            cr_assert_leq(back.place, places[p]);
            cr_assert_eq(back.place, scan_place_cut(places[p]));
            cr_assert_lt(places[p] - back.place, (uint64_t)1 << SCAN_PLACE_CUT);
            cr_assert_leq(cursor, (uint64_t)INT64_MAX, "clients read signed integers");
        }
    }
}

Test(scan_cursor, cursors_grow_with_the_position) {
    uint64_t a = scan_cursor_of((struct scan_position){5, UINT64_MAX});
    uint64_t b = scan_cursor_of((struct scan_position){6, 0});
    cr_assert_lt(a, b);
}

/* Any mixing will do. */
static uint64_t order_of(const void *state, struct bytes key) {
    (void)state;
    uint64_t order = 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < key.len; i++) {
        order = (order ^ key.data[i]) * 0xff51afd7ed558ccd;
        order ^= order >> 32;
    }
    return order;
}

static const struct table_hasher hasher = {.order = order_of};

static void count(void *arg, struct record *record) {
    (void)record;
    ++*(uint32_t *)arg;
}

/* Records that a scan with steps of `buckets` meets, coming back by cursor each time. */
static uint32_t scan_count(const struct table *table, uint32_t buckets) {
    uint32_t seen = 0;
    uint64_t place = 0;
    do {
        uint64_t next = scan_place_after(table, place, buckets);
        table_walk(table, place, next, &hasher, count, &seen);
        place = scan_position_of(scan_cursor_of((struct scan_position){3, next})).place;
    } while (place != 0);
    return seen;
}

static void free_record(void *arg, struct record *record) {
    (void)arg;
    record_free(record);
}

Test(scan_cursor, a_scan_of_a_table_of_any_size_ends_and_sees_every_record, .timeout = 20) {
    struct table table = {0};
    for (uint32_t i = 0; i < 2000; i++) {
        char name[NUMBER_TEXT_MAX];
        struct bytes key = bytes_of(name, number_format_u64(i, name));
        struct record *record = record_create(&(struct record_spec){.key = key});
        table_insert_take(&table, record, order_of(NULL, key), &hasher);
        if (i > 200 && i % 17 != 0) continue;
        cr_assert_eq(scan_count(&table, 1), table.count);
        cr_assert_eq(scan_count(&table, 7), table.count);
    }
    table_walk(&table, 0, 0, &hasher, free_record, NULL);
    table_deinit(&table);
}

static bool parses(const char *text, uint64_t expected) {
    uint64_t cursor = 0;
    return scan_cursor_parse(bytes_of_text(text), &cursor) && cursor == expected;
}

static bool is_refused(const char *text) {
    uint64_t cursor = 77;
    return !scan_cursor_parse(bytes_of_text(text), &cursor) && cursor == 77;
}

Test(scan_cursor, digits_are_a_cursor_and_nothing_else_is) {
    cr_assert(parses("0", 0));
    cr_assert(parses("007", 7));
    cr_assert(parses("18446744073709551615", UINT64_MAX));
    cr_assert(is_refused(""));
    cr_assert(is_refused("-1"));
    cr_assert(is_refused(" 0"));
    cr_assert(is_refused("1x"));
    cr_assert(is_refused("18446744073709551616"));
    cr_assert(is_refused("99999999999999999999999"));
}

static bool tag_is(const char *pattern, const char *tag) {
    struct bytes found;
    bool has_one = scan_pattern_tag(bytes_of_text(pattern), &found);
    return tag ? has_one && bytes_equal_text(found, tag) : !has_one;
}

Test(scan_pattern, a_complete_tag_before_anything_special_pins_the_slot) {
    cr_assert(tag_is("{user}:*", "user"));
    cr_assert(tag_is("a{x}b{y}*", "x"));
    cr_assert(tag_is("{a{b}*", "a{b"));
    cr_assert(tag_is("plain", "plain"));
    cr_assert(tag_is("", ""));
    cr_assert(tag_is("{}x", "{}x"));
    cr_assert(tag_is("{open", "{open"));
}

Test(scan_pattern, anything_special_before_it_leaves_the_slot_open) {
    cr_assert(tag_is("*{user}", NULL));
    cr_assert(tag_is("{us*r}x", NULL));
    cr_assert(tag_is("{us?r}", NULL));
    cr_assert(tag_is("[ab]{x}", NULL));
    cr_assert(tag_is("\\{x}", NULL));
    cr_assert(tag_is("{}{x}*", NULL));
}

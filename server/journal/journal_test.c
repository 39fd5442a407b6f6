#include <pthread.h>
#include <stdio.h>

#include <criterion/criterion.h>

#include "server/base/buffer.h"
#include "server/base/mem.h"
#include "server/journal/journal.h"

static uint64_t append_set(struct journal *journal, uint32_t db, const char *value) {
    struct journal_unit unit = {0};
    struct bytes argv[3] = {BYTES_LITERAL("SET"), BYTES_LITERAL("k"), bytes_of_text(value)};
    struct journal_mark mark = {0};
    journal_unit_add(&unit, db, argv, 3);
    journal_append(journal, &unit, JOURNAL_FOR_ALL, &mark);
    journal_unit_deinit(&unit);
    return mark.offset;
}

static void read_all(struct journal_reader *reader, struct buffer *out) {
    for (struct bytes part = journal_reader_peek(reader); part.len > 0;
         part = journal_reader_peek(reader)) {
        buffer_append_bytes(out, part);
        journal_reader_advance(reader, part.len);
    }
}

Test(journal, selects_the_database_where_it_differs_and_wraps_several_effects) {
    struct journal *journal = journal_create();
    journal_open_backlog(journal);
    struct journal_reader *reader = journal_reader_open(journal, 0);
    struct journal_unit unit = {0};
    struct bytes del[2] = {BYTES_LITERAL("DEL"), BYTES_LITERAL("a")};
    struct journal_mark mark = {0};
    journal_unit_add(&unit, 0, del, 2);
    journal_unit_add(&unit, 3, del, 2);
    journal_append(journal, &unit, JOURNAL_FOR_ALL, &mark);
    struct buffer text = {0};
    read_all(reader, &text);
    cr_assert(bytes_equal_text(buffer_view(&text),
                               "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*1\r\n$5\r\nMULTI\r\n"
                               "*2\r\n$3\r\nDEL\r\n$1\r\na\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"
                               "*2\r\n$3\r\nDEL\r\n$1\r\na\r\n*1\r\n$4\r\nEXEC\r\n"));
    cr_assert_eq(mark.offset, text.len);
    cr_assert_eq(journal_offset(journal), text.len);
    buffer_deinit(&text);
    journal_unit_deinit(&unit);
    journal_reader_close(reader);
    journal_destroy(journal);
}

Test(journal, takes_nothing_while_nobody_reads) {
    struct journal *journal = journal_create();
    cr_assert_not(journal_is_wanted(journal));
    cr_assert_eq(append_set(journal, 0, "v"), 0);
    cr_assert_null(journal_reader_open(journal, 0));
    journal_destroy(journal);
}

Test(journal, keeps_the_backlog_and_what_readers_pin) {
    struct journal *journal = journal_create();
    journal_set_backlog_size(journal, 200000);
    journal_open_backlog(journal);
    struct journal_reader *slow = journal_reader_open(journal, 0);
    char value[1001];
    memset(value, 'x', 1000);
    value[1000] = '\0';
    for (int i = 0; i < 2000; i++)
        append_set(journal, 0, value);
    struct journal_backlog backlog;
    journal_backlog_read(journal, &backlog);
    cr_assert_eq(backlog.first_byte_offset, 1, "a pinned block stays");
    cr_assert_eq(journal_reader_lag(slow), journal_offset(journal));
    struct buffer text = {0};
    read_all(slow, &text);
    cr_assert_eq(text.len, journal_offset(journal));
    buffer_deinit(&text);
    journal_reader_close(slow);
    journal_backlog_read(journal, &backlog);
    cr_assert(backlog.length >= 200000 && backlog.length < 400000);
    cr_assert_null(journal_reader_open(journal, backlog.first_byte_offset - 2));
    cr_assert_null(journal_reader_open(journal, journal_offset(journal) + 1));
    struct journal_reader *again = journal_reader_open(journal, backlog.first_byte_offset - 1);
    cr_assert_not_null(again);
    journal_reader_close(again);
    journal_destroy(journal);
}

enum { APPENDS = 20000 };

static void *append_many(void *arg) {
    for (int i = 0; i < APPENDS; i++)
        append_set(arg, 0, "0123456789");
    return NULL;
}

Test(journal, readers_beside_writers_see_every_byte_in_order) {
    struct journal *journal = journal_create();
    journal_open_backlog(journal);
    append_set(journal, 0, "first");
    struct journal_reader *reader = journal_reader_open(journal, journal_offset(journal));
    pthread_t writers[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&writers[i], NULL, append_many, journal);
    const char *entry = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10\r\n0123456789\r\n";
    size_t entry_len = strlen(entry);
    uint64_t total = 2ull * APPENDS * entry_len;
    for (uint64_t at = 0; at < total;) {
        struct bytes part = journal_reader_peek(reader);
        for (size_t i = 0; i < part.len; i++)
            cr_assert_eq(part.data[i], (uint8_t)entry[(at + i) % entry_len]);
        journal_reader_advance(reader, part.len);
        at += part.len;
    }
    for (int i = 0; i < 2; i++)
        pthread_join(writers[i], NULL);
    journal_reader_close(reader);
    journal_destroy(journal);
}

Test(journal, logs_what_is_not_for_replicas_alone_with_its_own_selects) {
    struct journal *journal = journal_create();
    journal_open_log(journal);
    cr_assert(journal_is_wanted(journal));
    cr_assert_not(journal_has_backlog(journal));
    struct journal_unit unit = {0};
    struct bytes del[2] = {BYTES_LITERAL("DEL"), BYTES_LITERAL("a")};
    struct journal_mark mark = {0};
    journal_unit_add(&unit, 0, del, 2);
    journal_unit_restrict(&unit, unit.count - 1, JOURNAL_FOR_REPLICAS);
    journal_append(journal, &unit, JOURNAL_FOR_ALL, &mark);
    cr_assert_eq(mark.log_position, 0);
    journal_unit_add(&unit, 3, del, 2);
    journal_append(journal, &unit, JOURNAL_FOR_LOG, &mark);
    journal_append(journal, &unit, JOURNAL_FOR_REPLICAS, &mark);
    struct buffer text = {0};
    cr_assert_eq(journal_take_log(journal, &text).log_position, mark.log_position);
    cr_assert(bytes_equal_text(buffer_view(&text), "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"
                                                   "*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"));
    cr_assert_eq(mark.log_position, text.len);
    buffer_clear(&text);
    journal_unit_add(&unit, 12, del, 2);
    journal_append_stream(journal, BYTES_LITERAL("any bytes"), &unit);
    cr_assert_eq(journal_offset(journal), 9);
    journal_take_log(journal, &text);
    cr_assert(bytes_equal_text(buffer_view(&text),
                               "*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"
                               "*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n"
                               "*2\r\n$3\r\nDEL\r\n$1\r\na\r\n*1\r\n$4\r\nEXEC\r\n"));
    buffer_deinit(&text);
    journal_unit_deinit(&unit);
    journal_destroy(journal);
}

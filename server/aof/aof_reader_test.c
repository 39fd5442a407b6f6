#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "server/aof/aof_reader.h"
#include "server/base/buffer.h"
#include "server/base/compiler.h"

#define PING "*1\r\n$4\r\nPING\r\n"
#define MULTI "*1\r\n$5\r\nmulti\r\n"
#define EXEC "*1\r\n$4\r\nExEc\r\n"

static const struct aof_reader_options loading = {.keeps_arguments = true};
static const struct aof_reader_options checking = {.checks_nesting = true};

static void describe(const struct aof_event *event, enum aof_event_kind kind, struct buffer *out) {
    if (event->is_in_transaction) buffer_append_text(out, "+");
    if (kind == AOF_EVENT_TIMESTAMP)
        buffer_append_format(out, "@%lld", (long long)event->timestamp);
    if (kind == AOF_EVENT_ANNOTATION) buffer_append_bytes(out, event->text);
    if (kind == AOF_EVENT_COMMAND && event->argv == NULL)
        buffer_append_format(out, "%llu", (unsigned long long)event->argc);
    for (size_t i = 0; event->argv != NULL && i < event->argc; i++) {
        if (i > 0) buffer_append_text(out, " ");
        buffer_append_bytes(out, event->argv[i]);
    }
    if (event->ends_transaction) buffer_append_text(out, "!");
    buffer_append_text(out, ";");
}

/* Reads `text` in pieces of `step` bytes and writes what comes out: "SET a 1;@12;". */
static void read_text(struct bytes text, size_t step, const struct aof_reader_options *options,
                      struct buffer *out, struct aof_verdict *verdict) {
    struct aof_reader *reader = aof_reader_create(options);
    for (size_t at = 0; at < text.len; at += step) {
        aof_reader_feed(reader,
                        bytes_of(text.data + at, text.len - at < step ? text.len - at : step));
        struct aof_event event;
        enum aof_event_kind kind = AOF_EVENT_MORE;
        while ((kind = aof_reader_next(reader, &event)) > AOF_EVENT_BROKEN)
            describe(&event, kind, out);
        if (kind == AOF_EVENT_BROKEN) break;
    }
    aof_reader_end(reader, verdict);
    cr_expect_eq(verdict->valid_bytes, aof_reader_valid_bytes(reader));
    aof_reader_destroy(reader);
}

static void expect_events(const char *text, const struct aof_reader_options *options,
                          const char *wanted) {
    for (size_t step = 1; step <= strlen(text); step++) {
        struct buffer events = {0};
        struct aof_verdict verdict;
        read_text(bytes_of_text(text), step, options, &events, &verdict);
        cr_expect(bytes_equal_text(buffer_view(&events), wanted), "step %zu: '%.*s' is not '%s'",
                  step, (int)events.len, (char *)events.data, wanted);
        cr_expect_eq(verdict.outcome, AOF_COMPLETE);
        cr_expect_eq(verdict.valid_bytes, strlen(text));
        buffer_deinit(&events);
    }
}

Test(aof_reader, gives_commands_in_pieces_of_any_size) {
    expect_events("*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\na\r\nb\r\n",
                  &loading, "SELECT 0;SET  a\r\nb;");
    expect_events("*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n" PING, &checking, "2;1;");
    expect_events("*01\r\n$004\r\nPING\r\n", &loading, "PING;");
}

Test(aof_reader, tells_times_from_other_annotations) {
    expect_events("#TS:12\r\n" PING "#\r\n#TS:x\r\n#TS:13\n#TS:-4\r\n#note\r\n", &loading,
                  "@12;PING;#;#TS:x;#TS:13;@-4;#note;");
}

Test(aof_reader, follows_transactions) {
    expect_events(PING MULTI "#TS:5\r\n" PING EXEC PING, &loading,
                  "PING;multi;+@5;+PING;+ExEc!;PING;");
    expect_events(MULTI EXEC MULTI EXEC, &checking, "1;+1!;1;+1!;");
    // A loader goes on where a client would only have been told of its mistake.
    expect_events(EXEC MULTI MULTI EXEC, &loading, "ExEc;multi;+multi;+ExEc!;");
}

struct damage {
    const char *text;
    enum aof_outcome outcome;
    enum aof_fault fault;
    uint64_t valid_bytes;
    uint64_t fault_offset;
    uint64_t line_count;
};

static void expect_damage(const struct damage *damage, const struct aof_reader_options *options) {
    size_t len = strlen(damage->text);
    for (size_t step = 1; step <= len; step++) {
        struct buffer events = {0};
        struct aof_verdict verdict;
        read_text(bytes_of(damage->text, len), step, options, &events, &verdict);
        cr_expect_eq(verdict.outcome, damage->outcome, "%s: %d", damage->text, verdict.outcome);
        cr_expect_eq(verdict.fault, damage->fault, "%s: %d", damage->text, verdict.fault);
        cr_expect_eq(verdict.valid_bytes, damage->valid_bytes, "%s", damage->text);
        cr_expect_eq(verdict.fault_offset, damage->fault_offset, "%s: %llu", damage->text,
                     (unsigned long long)verdict.fault_offset);
        cr_expect_eq(verdict.line_count, damage->line_count, "%s: %llu", damage->text,
                     (unsigned long long)verdict.line_count);
        buffer_deinit(&events);
    }
}

/* Offsets and lines as redis-check-aof 7.0.15 gives them, but for the cases at the end. */
Test(aof_reader, says_where_a_file_was_cut_off) {
    static const struct damage cases[] = {
        {PING "*", AOF_TRUNCATED, AOF_FAULT_LINE_END, 14, 14, 3},
        {PING "*1\r", AOF_TRUNCATED, AOF_FAULT_LINE_END, 14, 14, 3},
        {PING "*1\r\n", AOF_TRUNCATED, AOF_FAULT_END, 14, 18, 4},
        {PING "*1\r\n$4", AOF_TRUNCATED, AOF_FAULT_LINE_END, 14, 18, 4},
        {PING "*1\r\n$4\r\n", AOF_TRUNCATED, AOF_FAULT_SHORT, 14, 22, 5},
        {PING "*1\r\n$4\r\nPING\r", AOF_TRUNCATED, AOF_FAULT_SHORT, 14, 22, 5},
        {PING "*2\r\n$1\r\na\r\n", AOF_TRUNCATED, AOF_FAULT_END, 14, 25, 6},
        {PING "*1\r\n$99999999999\r\nabc", AOF_TRUNCATED, AOF_FAULT_SHORT, 14, 32, 5},
        {PING "*99999999999\r\n$1\r\na\r\n", AOF_TRUNCATED, AOF_FAULT_END, 14, 35, 6},
        {MULTI, AOF_TRUNCATED, AOF_FAULT_OPEN_MULTI, 0, 8, 3},
        {PING MULTI PING, AOF_TRUNCATED, AOF_FAULT_OPEN_MULTI, 14, 37, 9},
        {MULTI "*1\r\n", AOF_TRUNCATED, AOF_FAULT_OPEN_MULTI, 0, 19, 4},
        {MULTI "#abc\r\n", AOF_TRUNCATED, AOF_FAULT_OPEN_MULTI, 0, 15, 3},
        {PING MULTI PING "*1\r\n$4\r\nPI", AOF_TRUNCATED, AOF_FAULT_SHORT, 14, 51, 11},
        {PING "#a\r\n" MULTI "#b\r\n*1\r\n$4", AOF_TRUNCATED, AOF_FAULT_LINE_END, 18, 41, 7},
        // What is appended behind a torn annotation would become part of it.
        {PING "#TS:12", AOF_TRUNCATED, AOF_FAULT_END, 14, 14, 3},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        expect_damage(&cases[i], &checking);
        expect_damage(&cases[i], &loading);
    }
}

Test(aof_reader, says_where_a_file_is_damaged) {
    static const struct damage cases[] = {
        {"PING\r\n", AOF_CORRUPT, AOF_FAULT_RECORD, 0, 0, 0},
        {PING "\n", AOF_CORRUPT, AOF_FAULT_RECORD, 14, 14, 3},
        {PING MULTI "x\r\n", AOF_CORRUPT, AOF_FAULT_RECORD, 14, 29, 6},
        {PING "*1\n", AOF_CORRUPT, AOF_FAULT_LINE_END, 14, 14, 3},
        {PING "*1x\r\n", AOF_CORRUPT, AOF_FAULT_LINE_END, 14, 14, 3},
        {PING "*1x", AOF_CORRUPT, AOF_FAULT_LINE_END, 14, 14, 3},
        {PING "*1\r\r\n$4\r\nPING\r\n", AOF_CORRUPT, AOF_FAULT_LINE_END, 14, 14, 3},
        {PING "*1\r\n$4\r\nPINGxx", AOF_CORRUPT, AOF_FAULT_LINE_END, 14, 22, 5},
        {PING "*1\r\n$6\r\nPING\r\nxx", AOF_CORRUPT, AOF_FAULT_LINE_END, 14, 22, 5},
        {PING "*1\r\nx4\r\nPING\r\n", AOF_CORRUPT, AOF_FAULT_PREFIX, 14, 18, 4},
        {PING "*1\r\n$-1\r\n", AOF_CORRUPT, AOF_FAULT_LENGTH, 14, 18, 5},
        {PING "*1\r\n$9223372036854775806\r\na", AOF_CORRUPT, AOF_FAULT_LENGTH, 14, 18, 5},
        {PING "*1\r\n$99999999999999999999\r\na", AOF_CORRUPT, AOF_FAULT_LENGTH, 14, 18, 5},
        {PING "*0\r\n", AOF_CORRUPT, AOF_FAULT_COUNT, 14, 14, 4},
        {PING "*-1\r\n", AOF_CORRUPT, AOF_FAULT_COUNT, 14, 14, 4},
        {PING "*\r\n", AOF_CORRUPT, AOF_FAULT_NUMBER, 14, 14, 3},
        {PING "*1\r\n$\r\n\r\n", AOF_CORRUPT, AOF_FAULT_NUMBER, 14, 18, 4},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        expect_damage(&cases[i], &checking);
        expect_damage(&cases[i], &loading);
    }
}

Test(aof_reader, looks_at_nesting_if_asked_to) {
    static const struct damage cases[] = {
        {MULTI MULTI, AOF_CORRUPT, AOF_FAULT_MULTI, 0, 23, 6},
        {PING EXEC, AOF_CORRUPT, AOF_FAULT_EXEC, 14, 22, 6},
        {PING "*2\r\n$4\r\nEXEC\r\n$9\r\n", AOF_CORRUPT, AOF_FAULT_EXEC, 14, 22, 6},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        expect_damage(&cases[i], &checking);
}

Test(aof_reader, has_limits_for_lengths_and_counts) {
    static const struct aof_reader_options limited = {
        .argument_max_bytes = 4, .argument_max_count = 1, .keeps_arguments = true};
    expect_events(PING, &limited, "PING;");
    static const struct damage cases[] = {
        {PING "*1\r\n$5\r\n", AOF_CORRUPT, AOF_FAULT_LENGTH, 14, 18, 5},
        {PING "*2\r\n", AOF_CORRUPT, AOF_FAULT_COUNT, 14, 14, 4},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        expect_damage(&cases[i], &limited);
}

/* A line of `len` bytes: `first`, zeros, `last` and CR LF. */
static void expect_line(const char *first, size_t len, const char *last, const char *rest,
                        enum aof_fault wanted) {
    char text[2048];
    int at = snprintf(text, sizeof(text), "%s", first);
    size_t zeros = len - strlen(first) - strlen(last) - 2;
    memset(text + at, '0', zeros);
    snprintf(text + at + zeros, sizeof(text) - (size_t)at - zeros, "%s\r\n%s", last, rest);
    struct buffer events = {0};
    struct aof_verdict verdict;
    read_text(bytes_of_text(text), 7, &checking, &events, &verdict);
    cr_expect_eq(verdict.fault, wanted, "%s %zu: %d", first, len, verdict.fault);
    buffer_deinit(&events);
}

Test(aof_reader, bounds_lines) {
    expect_line("*", AOF_NUMBER_LINE_MAX_BYTES, "1", "$4\r\nPING\r\n", AOF_FAULT_NONE);
    expect_line("*", AOF_NUMBER_LINE_MAX_BYTES + 1, "1", "$4\r\nPING\r\n", AOF_FAULT_LINE_END);
    expect_line("#TS:", AOF_ANNOTATION_MAX_BYTES, "1", PING, AOF_FAULT_NONE);
    expect_line("#TS:", AOF_ANNOTATION_MAX_BYTES + 1, "1", PING, AOF_FAULT_RECORD);
}

Test(aof_reader, counts_from_where_the_commands_begin) {
    struct aof_reader *reader =
        aof_reader_create(&(struct aof_reader_options){.start_offset = 1000});
    struct aof_event event;
    struct aof_verdict verdict;
    aof_reader_feed(reader, BYTES_LITERAL(PING PING "x"));
    cr_expect_eq(aof_reader_next(reader, &event), AOF_EVENT_COMMAND);
    cr_expect_eq(aof_reader_next(reader, &event), AOF_EVENT_COMMAND);
    cr_expect_eq(event.offset, 1014);
    cr_expect_eq(aof_reader_next(reader, &event), AOF_EVENT_BROKEN);
    cr_expect_eq(aof_reader_next(reader, &event), AOF_EVENT_BROKEN);
    aof_reader_end(reader, &verdict);
    cr_expect_eq(verdict.valid_bytes, 1028);
    aof_reader_destroy(reader);
}

Test(aof_reader, gives_what_a_message_needs) {
    struct buffer events = {0};
    struct aof_verdict verdict;
    read_text(BYTES_LITERAL("*1\r\n$10\r\nPIN"), 2, &checking, &events, &verdict);
    cr_expect_eq(verdict.expected, 12);
    cr_expect_eq(verdict.found, 3);
    read_text(BYTES_LITERAL("*1\n"), 2, &checking, &events, &verdict);
    cr_expect_eq(verdict.got[0], '\n');
    cr_expect_eq(verdict.got[1], 0);
    buffer_deinit(&events);
}

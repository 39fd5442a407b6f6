#include "server/aof/aof_reader.h"

#include <string.h>

#include "server/base/buffer.h"
#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/base/number.h"

enum {
    LINE_END = 2, /* CR LF */
    SHORT_DIGITS = 3,
    FIRST_ARGUMENTS = 16,
    BIG_COMMAND = 1024,         /* Room for more arguments is not kept between commands. */
    BIG_HELD = 4 * 1024 * 1024, /* Nor are more bytes, once nothing is held. */
    TRANSACTION_WORD_MAX = 5,   /* "MULTI" */
};

enum stage {
    STAGE_RECORD, /* At the first byte of a command or an annotation. */
    STAGE_ANNOTATION,
    STAGE_COUNT,
    STAGE_LENGTH,
    STAGE_PAYLOAD,
    STAGE_BROKEN,
};

enum word { WORD_OTHER, WORD_MULTI, WORD_EXEC };

struct aof_reader {
    struct aof_reader_options options;
    enum stage stage;

    struct buffer held;   /* Fed and not dropped. */
    size_t at;            /* The first byte of it that is not consumed. */
    uint64_t held_offset; /* Of its first byte in the file. */

    uint64_t record_offset; /* Of the command or the annotation being read. */
    uint64_t item_offset;   /* Of the line or the payload being read. */
    uint64_t payload_len;
    uint64_t payload_left; /* Of the payload; its line end comes on top. */
    uint64_t argc;         /* Complete ones. */
    uint64_t arguments_left;
    enum word word; /* What the command's name means for transactions. */

    uint64_t *starts; /* Of the arguments, behind record_offset. */
    struct bytes *argv;
    size_t cap;

    uint64_t valid_bytes;
    uint64_t line_count;
    bool is_in_transaction;
    struct aof_verdict broken; /* STAGE_BROKEN: what was wrong. */
};

struct aof_reader *aof_reader_create(const struct aof_reader_options *options) {
    struct aof_reader *reader = mem_alloc_zero(sizeof(*reader));
    reader->options = *options;
    if (options->argument_max_bytes == 0)
        reader->options.argument_max_bytes = AOF_ARGUMENT_MAX_BYTES;
    if (options->argument_max_count == 0) reader->options.argument_max_count = INT64_MAX;
    ASSERT(reader->options.argument_max_bytes <= AOF_ARGUMENT_MAX_BYTES);
    reader->held_offset = options->start_offset;
    reader->valid_bytes = options->start_offset;
    return reader;
}

void aof_reader_destroy(struct aof_reader *reader) {
    if (reader == NULL) return;
    buffer_deinit(&reader->held);
    mem_free(reader->starts);
    mem_free(reader->argv);
    mem_free(reader);
}

static uint64_t offset_now(const struct aof_reader *reader) {
    return reader->held_offset + reader->at;
}

static size_t available(const struct aof_reader *reader) {
    return reader->held.len - reader->at;
}

static const uint8_t *here(const struct aof_reader *reader) {
    return reader->held.data + reader->at;
}

/* -- feeding -- */

/* Drops what nobody will look at again. */
static void drop_consumed(struct aof_reader *reader) {
    size_t count = reader->at;
    if (reader->options.keeps_arguments && reader->stage > STAGE_RECORD)
        count = (size_t)(reader->record_offset - reader->held_offset);
    buffer_consume(&reader->held, count);
    reader->at -= count;
    reader->held_offset += count;
    if (reader->held.len == 0 && reader->held.cap > BIG_HELD) buffer_deinit(&reader->held);
}

void aof_reader_feed(struct aof_reader *reader, struct bytes piece) {
    if (reader->stage == STAGE_BROKEN) return;
    drop_consumed(reader);
    buffer_append_bytes(&reader->held, piece);
}

/* -- faults -- */

static enum aof_event_kind set_broken(struct aof_reader *reader, struct aof_verdict verdict) {
    verdict.outcome = AOF_CORRUPT;
    reader->broken = verdict;
    reader->stage = STAGE_BROKEN;
    return AOF_EVENT_BROKEN;
}

static enum aof_event_kind set_broken_number(struct aof_reader *reader, enum aof_fault fault,
                                             int64_t number) {
    return set_broken(reader, (struct aof_verdict){.fault = fault, .expected = number});
}

/* -- lines with a number -- */

/* A line "*3\r\n", as much of it as is there. */
struct number_line {
    size_t len;      /* Up to its newline, if that is there. */
    size_t stop;     /* Index of the first byte behind the number. */
    bool has_number; /* At least one digit. */
    bool has_newline;
    int64_t number; /* The nearest that there is, if it is too big. */
};

static int64_t add_digit(int64_t number, int digit) {
    if (__builtin_mul_overflow(number, 10, &number)) return digit < 0 ? INT64_MIN : INT64_MAX;
    if (__builtin_add_overflow(number, digit, &number)) return digit < 0 ? INT64_MIN : INT64_MAX;
    return number;
}

static bool is_digit(uint8_t c) {
    return c >= '0' && c <= '9';
}

static void read_number(const uint8_t *text, struct number_line *line) {
    line->stop = 1;
    bool is_negative = line->len > 2 && text[1] == '-' && is_digit(text[2]);
    if (is_negative) line->stop++;
    for (; line->stop < line->len && is_digit(text[line->stop]); line->stop++) {
        int digit = text[line->stop] - '0';
        line->number = add_digit(line->number, is_negative ? -digit : digit);
        line->has_number = true;
    }
}

static struct number_line find_number_line(const struct aof_reader *reader) {
    size_t len = available(reader);
    if (len > AOF_NUMBER_LINE_MAX_BYTES) len = AOF_NUMBER_LINE_MAX_BYTES;
    const uint8_t *text = here(reader);
    const uint8_t *newline = memchr(text, '\n', len);
    struct number_line line = {.len = len};
    if (newline != NULL) {
        line.len = (size_t)(newline - text) + 1;
        line.has_newline = true;
    }
    read_number(text, &line);
    return line;
}

static uint8_t byte_of_line(const uint8_t *text, const struct number_line *line, size_t index) {
    return index < line->len ? text[index] : 0;
}

static struct aof_verdict line_end_verdict(const uint8_t *text, const struct number_line *line) {
    struct aof_verdict verdict = {.fault = AOF_FAULT_LINE_END};
    verdict.got[0] = byte_of_line(text, line, line->stop);
    verdict.got[1] = byte_of_line(text, line, line->stop + 1);
    return verdict;
}

/* Reads a line with one to three digits, which nearly all are, and returns its length; 0 sends the
 * caller the long way. */
static inline size_t read_short_line(const uint8_t *text, size_t len, int64_t *out) {
    if (len < SHORT_DIGITS + 1 + LINE_END) return 0;
    int64_t number = 0;
    size_t at = 1;
    for (; at <= SHORT_DIGITS && is_digit(text[at]); at++)
        number = number * 10 + (text[at] - '0');
    if (at == 1 || text[at] != '\r' || text[at + 1] != '\n') return 0;
    *out = number;
    return at + LINE_END;
}

/* The same for any line. AOF_EVENT_COMMAND stands for success. */
static COLD enum aof_event_kind take_long_number(struct aof_reader *reader, int64_t *out) {
    struct number_line line = find_number_line(reader);
    if (!line.has_newline && line.len < AOF_NUMBER_LINE_MAX_BYTES) return AOF_EVENT_MORE;
    struct aof_verdict verdict = line_end_verdict(here(reader), &line);
    if (verdict.got[0] != '\r' || verdict.got[1] != '\n') return set_broken(reader, verdict);
    if (!line.has_number) return set_broken_number(reader, AOF_FAULT_NUMBER, 0);
    reader->at += line.len;
    reader->line_count++;
    *out = line.number;
    return AOF_EVENT_COMMAND;
}

/* Consumes a line with a number. */
static inline enum aof_event_kind take_number(struct aof_reader *reader, int64_t *out) {
    size_t len = read_short_line(here(reader), available(reader), out);
    if (UNLIKELY(len == 0)) return take_long_number(reader, out);
    reader->at += len;
    reader->line_count++;
    return AOF_EVENT_COMMAND;
}

/* -- annotations -- */

static bool parse_timestamp(struct bytes text, int64_t *out) {
    static const struct bytes mark = BYTES_LITERAL("#TS:");
    if (text.len <= mark.len || !bytes_equal(bytes_of(text.data, mark.len), mark)) return false;
    return number_parse_i64(bytes_from(text, mark.len), out);
}

static enum aof_event_kind read_annotation(struct aof_reader *reader, struct aof_event *out) {
    size_t len = available(reader);
    if (len > AOF_ANNOTATION_MAX_BYTES) len = AOF_ANNOTATION_MAX_BYTES;
    const uint8_t *newline = memchr(here(reader), '\n', len);
    if (newline == NULL) {
        if (len < AOF_ANNOTATION_MAX_BYTES) return AOF_EVENT_MORE;
        return set_broken_number(reader, AOF_FAULT_RECORD, 0);
    }
    struct bytes text = bytes_of(here(reader), (size_t)(newline - here(reader)));
    bool has_return = text.data[text.len - 1] == '\r';
    *out = (struct aof_event){
        .offset = reader->record_offset,
        .text = bytes_of(text.data, text.len - has_return),
        .is_in_transaction = reader->is_in_transaction,
    };
    reader->at += text.len + 1;
    reader->stage = STAGE_RECORD;
    if (!reader->is_in_transaction) reader->valid_bytes = offset_now(reader);
    return has_return && parse_timestamp(out->text, &out->timestamp) ? AOF_EVENT_TIMESTAMP
                                                                     : AOF_EVENT_ANNOTATION;
}

/* -- commands -- */

static void shrink_arguments(struct aof_reader *reader) {
    mem_free(reader->starts);
    mem_free(reader->argv);
    reader->starts = NULL;
    reader->argv = NULL;
    reader->cap = 0;
}

/* Room is made as arguments arrive: their number is the file's word. */
static void reserve_argument(struct aof_reader *reader) {
    if (reader->argc < reader->cap) return;
    reader->cap = reader->cap == 0 ? FIRST_ARGUMENTS : reader->cap * 2;
    reader->starts = mem_realloc(reader->starts, reader->cap * sizeof(*reader->starts));
    reader->argv = mem_realloc(reader->argv, reader->cap * sizeof(*reader->argv));
}

static enum aof_event_kind read_record(struct aof_reader *reader) {
    if (available(reader) == 0) return AOF_EVENT_MORE;
    uint8_t first = *here(reader);
    reader->record_offset = offset_now(reader);
    if (first != '*' && first != '#') return set_broken_number(reader, AOF_FAULT_RECORD, 0);
    reader->item_offset = reader->record_offset;
    reader->stage = first == '*' ? STAGE_COUNT : STAGE_ANNOTATION;
    return AOF_EVENT_COMMAND;
}

static enum aof_event_kind read_count(struct aof_reader *reader) {
    int64_t count = 0;
    enum aof_event_kind kind = take_number(reader, &count);
    if (kind != AOF_EVENT_COMMAND) return kind;
    if (count < 1 || (uint64_t)count > reader->options.argument_max_count)
        return set_broken_number(reader, AOF_FAULT_COUNT, count);
    if (reader->cap > BIG_COMMAND && count <= BIG_COMMAND) shrink_arguments(reader);
    reader->argc = 0;
    reader->arguments_left = (uint64_t)count;
    reader->word = WORD_OTHER;
    reader->item_offset = offset_now(reader);
    reader->stage = STAGE_LENGTH;
    return kind;
}

static enum aof_event_kind read_length(struct aof_reader *reader) {
    if (available(reader) == 0) return AOF_EVENT_MORE;
    uint8_t first = *here(reader);
    if (first != '$')
        return set_broken(reader, (struct aof_verdict){.fault = AOF_FAULT_PREFIX, .got = {first}});
    int64_t len = 0;
    enum aof_event_kind kind = take_number(reader, &len);
    if (kind != AOF_EVENT_COMMAND) return kind;
    if (len < 0 || (uint64_t)len > reader->options.argument_max_bytes)
        return set_broken_number(reader, AOF_FAULT_LENGTH, len);
    reader->payload_len = reader->payload_left = (uint64_t)len;
    reader->item_offset = offset_now(reader);
    reader->stage = STAGE_PAYLOAD;
    return kind;
}

static enum word transaction_word(struct bytes name) {
    if (bytes_equal_text_nocase(name, "multi")) return WORD_MULTI;
    if (bytes_equal_text_nocase(name, "exec")) return WORD_EXEC;
    return WORD_OTHER;
}

/* Looks at the name of a command; false if it may not stand here. */
static bool note_name(struct aof_reader *reader, struct bytes name) {
    reader->word = transaction_word(name);
    if (!reader->options.checks_nesting) return true;
    if (reader->word == WORD_MULTI && reader->is_in_transaction) {
        set_broken_number(reader, AOF_FAULT_MULTI, 0);
    } else if (reader->word == WORD_EXEC && !reader->is_in_transaction) {
        set_broken_number(reader, AOF_FAULT_EXEC, 0);
    }
    return reader->stage != STAGE_BROKEN;
}

/* The whole argument is behind `at`. */
static bool note_argument(struct aof_reader *reader) {
    bool is_name = reader->argc == 0;
    if (reader->options.keeps_arguments) {
        reserve_argument(reader);
        reader->starts[reader->argc] = reader->item_offset - reader->record_offset;
        reader->argv[reader->argc].len = reader->payload_len;
    }
    reader->argc++;
    reader->arguments_left--;
    if (!is_name || reader->payload_len > TRANSACTION_WORD_MAX) return true;
    size_t len = (size_t)reader->payload_len;
    return note_name(reader, bytes_of(here(reader) - LINE_END - len, len));
}

/* Consumes what is there of a long payload, which is not needed as a whole. */
static void pass_over_payload(struct aof_reader *reader) {
    if (reader->payload_len <= TRANSACTION_WORD_MAX) return;
    size_t count = available(reader);
    if (count > reader->payload_left) count = (size_t)reader->payload_left;
    reader->at += count;
    reader->payload_left -= count;
}

static enum aof_event_kind read_payload(struct aof_reader *reader) {
    pass_over_payload(reader);
    if (available(reader) < reader->payload_left + LINE_END) return AOF_EVENT_MORE;
    const uint8_t *end = here(reader) + reader->payload_left;
    if (end[0] != '\r' || end[1] != '\n')
        return set_broken(
            reader, (struct aof_verdict){.fault = AOF_FAULT_LINE_END, .got = {end[0], end[1]}});
    reader->at += (size_t)reader->payload_left + LINE_END;
    reader->line_count++;
    if (!note_argument(reader)) return AOF_EVENT_BROKEN;
    if (reader->arguments_left == 0) return AOF_EVENT_COMMAND;
    reader->item_offset = offset_now(reader);
    reader->stage = STAGE_LENGTH;
    return AOF_EVENT_COMMAND;
}

static void give_arguments(struct aof_reader *reader, struct aof_event *out) {
    if (!reader->options.keeps_arguments) return;
    const uint8_t *record = reader->held.data + (reader->record_offset - reader->held_offset);
    for (uint64_t i = 0; i < reader->argc; i++)
        reader->argv[i].data = record + reader->starts[i];
    out->argv = reader->argv;
}

static void end_command(struct aof_reader *reader, struct aof_event *out) {
    *out = (struct aof_event){
        .offset = reader->record_offset,
        .argc = reader->argc,
        .is_in_transaction = reader->is_in_transaction,
        .ends_transaction = reader->is_in_transaction && reader->word == WORD_EXEC,
    };
    give_arguments(reader, out);
    if (reader->word == WORD_MULTI) reader->is_in_transaction = true;
    if (reader->word == WORD_EXEC) reader->is_in_transaction = false;
    if (!reader->is_in_transaction) reader->valid_bytes = offset_now(reader);
    reader->stage = STAGE_RECORD;
}

enum aof_event_kind aof_reader_next(struct aof_reader *reader, struct aof_event *out) {
    for (;;) {
        enum aof_event_kind kind = AOF_EVENT_BROKEN;
        switch (reader->stage) {
        case STAGE_RECORD:
            kind = read_record(reader);
            break;
        case STAGE_ANNOTATION:
            return read_annotation(reader, out);
        case STAGE_COUNT:
            kind = read_count(reader);
            break;
        case STAGE_LENGTH:
            kind = read_length(reader);
            break;
        case STAGE_PAYLOAD:
            kind = read_payload(reader);
            if (kind == AOF_EVENT_COMMAND && reader->arguments_left == 0) {
                end_command(reader, out);
                return kind;
            }
            break;
        case STAGE_BROKEN:
            break;
        }
        if (kind != AOF_EVENT_COMMAND) return kind;
    }
}

/* -- the end -- */

/* A line without its end: one that could have gone on to be good was cut off. */
static struct aof_verdict judge_partial_line(const struct aof_reader *reader) {
    struct number_line line = find_number_line(reader);
    struct aof_verdict verdict = line_end_verdict(here(reader), &line);
    bool is_cut = line.stop >= line.len || (verdict.got[0] == '\r' && line.stop + 1 == line.len);
    verdict.outcome = is_cut ? AOF_TRUNCATED : AOF_CORRUPT;
    return verdict;
}

static struct aof_verdict judge_short_payload(const struct aof_reader *reader) {
    uint64_t passed = reader->payload_len - reader->payload_left;
    return (struct aof_verdict){
        .outcome = AOF_TRUNCATED,
        .fault = AOF_FAULT_SHORT,
        .expected = (int64_t)reader->payload_len + LINE_END,
        .found = (int64_t)(passed + available(reader)),
    };
}

static struct aof_verdict judge(const struct aof_reader *reader) {
    struct aof_verdict cut = {.outcome = AOF_TRUNCATED, .fault = AOF_FAULT_END};
    if (reader->is_in_transaction) cut.fault = AOF_FAULT_OPEN_MULTI;
    switch (reader->stage) {
    case STAGE_RECORD:
        return reader->is_in_transaction ? cut : (struct aof_verdict){.outcome = AOF_COMPLETE};
    case STAGE_COUNT:
    case STAGE_LENGTH:
        return available(reader) == 0 ? cut : judge_partial_line(reader);
    case STAGE_PAYLOAD:
        return judge_short_payload(reader);
    case STAGE_BROKEN:
        return reader->broken;
    case STAGE_ANNOTATION:
        break;
    }
    return cut;
}

void aof_reader_end(const struct aof_reader *reader, struct aof_verdict *out) {
    *out = judge(reader);
    out->valid_bytes = reader->valid_bytes;
    out->fault_offset =
        out->fault == AOF_FAULT_RECORD ? reader->record_offset : reader->item_offset;
    out->line_count = reader->line_count;
    out->is_in_transaction = reader->is_in_transaction;
}

uint64_t aof_reader_valid_bytes(const struct aof_reader *reader) {
    return reader->valid_bytes;
}

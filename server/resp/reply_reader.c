#include "server/resp/reply_reader.h"

#include <stdio.h>

#include "server/base/buffer.h"
#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/base/number.h"

#define CONSUME_THRESHOLD (64u * 1024u) /* Read bytes are dropped in portions of at least this. */

/* An aggregate that is still missing items. */
struct frame {
    struct reply reply;
    size_t wanted;      /* Items in total: two for each pair. */
    size_t cap;         /* Items that fit into reply.items now. */
    bool is_attributes; /* Attributes belong to the value after them and are no item themselves. */
};

struct reply_reader {
    struct buffer input;
    size_t position; /* Everything in `input` before this is consumed. */
    struct frame frames[REPLY_DEPTH_MAX];
    unsigned depth;
    struct reply *attributes; /* Complete, waiting for the value that they belong to. */
    enum status broken;       /* STATUS_OK, or why nothing more can be read. */
    char error[128];
};

/* What reading the head of a value came to. */
enum head { HEAD_VALUE, HEAD_AGGREGATE, HEAD_INCOMPLETE, HEAD_BROKEN };

static void reply_deinit(struct reply *reply) {
    for (size_t i = 0; i < reply->count; i++)
        reply_deinit(&reply->items[i]);
    mem_free(reply->items);
    mem_free((void *)reply->text.data);
    reply_destroy(reply->attributes);
}

void reply_destroy(struct reply *reply) {
    if (reply == NULL) return;
    reply_deinit(reply);
    mem_free(reply);
}

bool reply_is_aggregate(const struct reply *reply) {
    return reply->kind == REPLY_ARRAY || reply->kind == REPLY_SET || reply->kind == REPLY_PUSH ||
           reply->kind == REPLY_MAP;
}

struct reply_reader *reply_reader_create(void) {
    return mem_alloc_zero(sizeof(struct reply_reader));
}

void reply_reader_destroy(struct reply_reader *reader) {
    if (reader == NULL) return;
    for (unsigned i = 0; i < reader->depth; i++)
        reply_deinit(&reader->frames[i].reply);
    reply_destroy(reader->attributes);
    buffer_deinit(&reader->input);
    mem_free(reader);
}

void reply_reader_feed(struct reply_reader *reader, struct bytes bytes) {
    if (reader->position == reader->input.len) {
        buffer_clear(&reader->input);
        reader->position = 0;
    } else if (reader->position >= CONSUME_THRESHOLD && reader->position > reader->input.len / 2) {
        buffer_consume(&reader->input, reader->position);
        reader->position = 0;
    }
    buffer_append_bytes(&reader->input, bytes);
}

struct bytes reply_reader_rest_view(const struct reply_reader *reader) {
    return bytes_from(buffer_view(&reader->input), reader->position);
}

const char *reply_reader_error(const struct reply_reader *reader) {
    return reader->error;
}

static enum head fail(struct reply_reader *reader, enum status status, const char *text) {
    reader->broken = status;
    snprintf(reader->error, sizeof(reader->error), "%s", text);
    return HEAD_BROKEN;
}

static enum head fail_type(struct reply_reader *reader, uint8_t type) {
    char text[64];
    if (type >= 0x20 && type < 0x7f && type != '"' && type != '\\') {
        snprintf(text, sizeof(text), "Protocol error, got \"%c\" as reply type byte", type);
    } else if (type == '"' || type == '\\') {
        snprintf(text, sizeof(text), "Protocol error, got \"\\%c\" as reply type byte", type);
    } else {
        snprintf(text, sizeof(text), "Protocol error, got \"\\x%02x\" as reply type byte", type);
    }
    return fail(reader, STATUS_BAD_FORMAT, text);
}

static struct bytes text_copy(struct bytes text) {
    uint8_t *copy = mem_try_alloc(text.len + 1);
    if (copy == NULL) return (struct bytes){0};
    if (text.len > 0) memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    return bytes_of(copy, text.len);
}

/* The line that starts behind the type byte. `line` borrows from the input. */
static enum head find_line(struct reply_reader *reader, struct bytes *line) {
    struct bytes rest = bytes_from(reply_reader_rest_view(reader), 1);
    size_t searched = rest.len < REPLY_LINE_MAX + 2 ? rest.len : REPLY_LINE_MAX + 2;
    const uint8_t *cr = searched == 0 ? NULL : memchr(rest.data, '\r', searched);
    if (cr == NULL) {
        if (searched == REPLY_LINE_MAX + 2) {
            return fail(reader, STATUS_TOO_BIG, "Protocol error, line too long");
        }
        return HEAD_INCOMPLETE;
    }
    *line = bytes_of(rest.data, (size_t)(cr - rest.data));
    if (line->len + 1 == rest.len) return HEAD_INCOMPLETE;
    if (cr[1] != '\n') return fail(reader, STATUS_BAD_FORMAT, "Protocol error, CR without LF");
    return HEAD_VALUE;
}

static void consume_line(struct reply_reader *reader, struct bytes line) {
    reader->position += 1 + line.len + 2;
}

static enum head take_text(struct reply_reader *reader, struct bytes text, struct reply *reply) {
    reply->text = text_copy(text);
    if (reply->text.data == NULL) return fail(reader, STATUS_NO_MEMORY, "Out of memory");
    return HEAD_VALUE;
}

/* $, = and !: a length, then that many bytes. */
static enum head read_bulk(struct reply_reader *reader, struct bytes line, struct reply *reply) {
    int64_t len;
    if (!number_parse_i64(line, &len) || len < -1) {
        return fail(reader, STATUS_BAD_FORMAT, "Bad bulk string length");
    }
    if (len == -1) {
        reply->kind = REPLY_NULL;
        consume_line(reader, line);
        return HEAD_VALUE;
    }
    if (len > (int64_t)REPLY_BULK_MAX) {
        return fail(reader, STATUS_TOO_BIG, "Bulk string length out of range");
    }
    struct bytes rest = reply_reader_rest_view(reader);
    size_t start = 1 + line.len + 2;
    size_t end = start + (size_t)len;
    if (rest.len < end + 2) return HEAD_INCOMPLETE;
    if (rest.data[end] != '\r' || rest.data[end + 1] != '\n') {
        return fail(reader, STATUS_BAD_FORMAT, "Bulk string is not followed by CRLF");
    }
    struct bytes text = bytes_of(rest.data + start, (size_t)len);
    if (reply->kind == REPLY_VERBATIM) {
        if (text.len < 4 || text.data[3] != ':') {
            return fail(reader, STATUS_BAD_FORMAT,
                        "Verbatim string 4 bytes of content type are "
                        "missing or incorrectly encoded.");
        }
        memcpy(reply->format, text.data, 3);
        text = bytes_from(text, 4);
    }
    enum head head = take_text(reader, text, reply);
    if (head == HEAD_VALUE) reader->position += end + 2;
    return head;
}

static bool is_big_number(struct bytes text) {
    size_t start = text.len > 0 && text.data[0] == '-' ? 1 : 0;
    for (size_t i = start; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return false;
    }
    return text.len > start;
}

static bool is_double(struct bytes text) {
    double value;
    return bytes_equal_text_nocase(text, "nan") || bytes_equal_text_nocase(text, "-nan") ||
           number_parse_double(text, &value);
}

static enum head read_line_value(struct reply_reader *reader, struct bytes line,
                                 struct reply *reply) {
    switch (reply->kind) {
    case REPLY_INTEGER:
        if (!number_parse_i64(line, &reply->integer)) {
            return fail(reader, STATUS_BAD_FORMAT, "Bad integer value");
        }
        break;
    case REPLY_DOUBLE:
        if (!is_double(line)) return fail(reader, STATUS_BAD_FORMAT, "Bad double value");
        break;
    case REPLY_BIG_NUMBER:
        if (!is_big_number(line)) return fail(reader, STATUS_BAD_FORMAT, "Bad bignum value");
        break;
    case REPLY_BOOLEAN:
        if (line.len != 1 || memchr("tTfF", line.data[0], 4) == NULL) {
            return fail(reader, STATUS_BAD_FORMAT, "Bad bool value");
        }
        reply->integer = line.data[0] == 't' || line.data[0] == 'T';
        break;
    case REPLY_NULL:
        if (line.len != 0) return fail(reader, STATUS_BAD_FORMAT, "Bad nil value");
        break;
    default:
        break;
    }
    enum head head = take_text(reader, line, reply);
    if (head == HEAD_VALUE) consume_line(reader, line);
    return head;
}

/* Begins an aggregate; an empty or null one is complete at once. */
static enum head read_aggregate(struct reply_reader *reader, struct bytes line, bool is_attributes,
                                struct reply *reply) {
    int64_t count;
    if (!number_parse_i64(line, &count) || count < -1) {
        return fail(reader, STATUS_BAD_FORMAT, "Bad multi-bulk length");
    }
    if (count > (int64_t)REPLY_COUNT_MAX) {
        return fail(reader, STATUS_TOO_BIG, "Multi-bulk length out of range");
    }
    consume_line(reader, line);
    if (count == -1) reply->kind = REPLY_NULL;
    if (count <= 0 && !is_attributes) return HEAD_VALUE;
    if (reader->depth == REPLY_DEPTH_MAX) {
        return fail(reader, STATUS_TOO_BIG, "Too deep nesting of replies");
    }
    struct frame *frame = &reader->frames[reader->depth++];
    *frame = (struct frame){.reply = *reply, .is_attributes = is_attributes};
    frame->wanted = count < 0 ? 0 : (size_t)count * (reply->kind == REPLY_MAP ? 2 : 1);
    return HEAD_AGGREGATE;
}

static enum head read_value(struct reply_reader *reader, struct reply *reply) {
    struct bytes rest = reply_reader_rest_view(reader);
    if (rest.len == 0) return HEAD_INCOMPLETE;
    static const struct {
        char type;
        enum reply_kind kind;
    } types[] = {
        {'+', REPLY_SIMPLE}, {'-', REPLY_ERROR},    {':', REPLY_INTEGER},    {'$', REPLY_BULK},
        {'*', REPLY_ARRAY},  {'_', REPLY_NULL},     {',', REPLY_DOUBLE},     {'#', REPLY_BOOLEAN},
        {'!', REPLY_ERROR},  {'=', REPLY_VERBATIM}, {'(', REPLY_BIG_NUMBER}, {'%', REPLY_MAP},
        {'~', REPLY_SET},    {'>', REPLY_PUSH},     {'|', REPLY_MAP},
    };
    uint8_t type = rest.data[0];
    size_t known = 0;
    while (known < ARRAY_COUNT(types) && (uint8_t)types[known].type != type)
        known++;
    if (known == ARRAY_COUNT(types)) return fail_type(reader, type);
    struct bytes line;
    enum head head = find_line(reader, &line);
    if (head != HEAD_VALUE) return head;
    *reply = (struct reply){.kind = types[known].kind};
    if (type == '$' || type == '!' || type == '=') return read_bulk(reader, line, reply);
    if (reply_is_aggregate(reply)) return read_aggregate(reader, line, type == '|', reply);
    return read_line_value(reader, line, reply);
}

static struct reply *reply_move(const struct reply *value) {
    struct reply *reply = mem_alloc(sizeof(*reply));
    *reply = *value;
    return reply;
}

static bool frame_take(struct frame *frame, const struct reply *value) {
    if (frame->reply.count == frame->cap) {
        size_t cap = frame->cap == 0 ? 4 : frame->cap * 2;
        if (cap > frame->wanted) cap = frame->wanted;
        struct reply *items = mem_try_realloc(frame->reply.items, cap * sizeof(*items));
        if (items == NULL) return false;
        frame->reply.items = items;
        frame->cap = cap;
    }
    frame->reply.items[frame->reply.count++] = *value;
    return true;
}

/* Puts a complete value into the aggregate around it, and closes all that are full then. True when
 * the value is the whole reply, which `value` then holds. */
static bool place(struct reply_reader *reader, struct reply *value) {
    while (reader->depth > 0) {
        struct frame *frame = &reader->frames[reader->depth - 1];
        if (!frame_take(frame, value)) {
            reply_deinit(value);
            fail(reader, STATUS_NO_MEMORY, "Out of memory");
            return false;
        }
        if (frame->reply.count < frame->wanted) return false;
        *value = frame->reply;
        reader->depth--;
        if (frame->is_attributes) {
            reader->attributes = reply_move(value);
            return false;
        }
    }
    return true;
}

/* Attributes wait only until the next value begins, so there is never more than one of them. */
static void attach_attributes(struct reply_reader *reader, struct reply *value) {
    value->attributes = reader->attributes;
    reader->attributes = NULL;
}

enum status reply_reader_next(struct reply_reader *reader, struct reply **out_reply) {
    while (reader->broken == STATUS_OK) {
        struct reply value;
        enum head head = read_value(reader, &value);
        if (head == HEAD_INCOMPLETE) return STATUS_AGAIN;
        if (head == HEAD_BROKEN) break;
        if (head == HEAD_AGGREGATE) {
            struct frame *frame = &reader->frames[reader->depth - 1];
            if (!frame->is_attributes) {
                attach_attributes(reader, &frame->reply);
            } else if (reader->attributes != NULL) {
                fail(reader, STATUS_BAD_FORMAT, "Protocol error, attributes of attributes");
            } else if (frame->wanted == 0) {
                reader->depth--;
            }
            continue;
        }
        attach_attributes(reader, &value);
        if (!place(reader, &value)) continue;
        *out_reply = reply_move(&value);
        return STATUS_OK;
    }
    return reader->broken;
}

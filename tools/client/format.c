#include "tools/client/format.h"

#include <stdio.h>

#include "server/base/words.h"

/* ---- for people ---- */

static void standard_value(const struct format *format, const struct reply *reply,
                           const struct buffer *prefix, struct buffer *out);

static const char *empty_text(enum reply_kind kind) {
    switch (kind) {
    case REPLY_MAP:
        return "(empty hash)\n";
    case REPLY_SET:
        return "(empty set)\n";
    case REPLY_PUSH:
        return "(empty push)\n";
    default:
        return "(empty array)\n";
    }
}

static bool takes_many_lines(const struct reply *reply) {
    if (!reply_is_aggregate(reply) || reply->count == 0) return false;
    size_t step = reply->kind == REPLY_MAP ? 2 : 1;
    return reply->count > step || takes_many_lines(&reply->items[step - 1]);
}

static char index_mark(enum reply_kind kind) {
    return kind == REPLY_MAP ? '#' : kind == REPLY_SET ? '~' : ')';
}

/* Drops the newline that ends a value, when something follows on the same line. */
static void drop_newline(struct buffer *out) {
    if (out->len > 0 && out->data[out->len - 1] == '\n') out->len--;
}

static void standard_aggregate(const struct format *format, const struct reply *reply,
                               const struct buffer *prefix, const char *before_index,
                               struct buffer *out) {
    size_t step = reply->kind == REPLY_MAP ? 2 : 1;
    size_t count = reply->count / step;
    int width = snprintf(NULL, 0, "%zu", count);
    struct buffer inner = {0};
    buffer_append_bytes(&inner, buffer_view(prefix));
    buffer_append_format(&inner, "%*s", width + 2 + (int)strlen(before_index), "");
    for (size_t i = 0; i < count; i++) {
        const struct reply *item = &reply->items[i * step];
        if (i > 0) buffer_append_bytes(out, buffer_view(prefix));
        buffer_append_format(out, "%s%*zu%c ", before_index, width, i + 1, index_mark(reply->kind));
        standard_value(format, item, &inner, out);
        if (step == 1) continue;
        drop_newline(out);
        buffer_append_text(out, " => ");
        if (takes_many_lines(&item[1])) {
            buffer_append_u8(out, '\n');
            buffer_append_bytes(out, buffer_view(&inner));
        }
        standard_value(format, &item[1], &inner, out);
    }
    buffer_deinit(&inner);
}

static void standard_invalidate(const struct reply *reply, struct buffer *out) {
    buffer_append_text(out, "-> invalidate: ");
    const struct reply *keys = &reply->items[1];
    if (!reply_is_aggregate(keys)) buffer_append_text(out, "all keys");
    for (size_t i = 0; i < keys->count; i++) {
        if (i > 0) buffer_append_text(out, ", ");
        buffer_append_u8(out, '\'');
        buffer_append_bytes(out, keys->items[i].text);
        buffer_append_u8(out, '\'');
    }
    buffer_append_u8(out, '\n');
}

static bool is_invalidate(const struct reply *reply) {
    return reply->kind == REPLY_PUSH && reply->count == 2 &&
           bytes_equal_text(reply->items[0].text, "invalidate");
}

static void standard_line(const char *before, struct bytes text, const char *after,
                          struct buffer *out) {
    buffer_append_text(out, before);
    buffer_append_bytes(out, text);
    buffer_append_text(out, after);
    buffer_append_u8(out, '\n');
}

static void standard_value(const struct format *format, const struct reply *reply,
                           const struct buffer *prefix, struct buffer *out) {
    if (format->show_attributes && reply->attributes != NULL) {
        standard_aggregate(format, reply->attributes, prefix, "|", out);
        buffer_append_bytes(out, buffer_view(prefix));
    }
    switch (reply->kind) {
    case REPLY_SIMPLE:
    case REPLY_VERBATIM:
        standard_line("", reply->text, "", out);
        break;
    case REPLY_ERROR:
        standard_line("(error) ", reply->text, "", out);
        break;
    case REPLY_INTEGER:
        standard_line("(integer) ", reply->text, "", out);
        break;
    case REPLY_DOUBLE:
        standard_line("(double) ", reply->text, "", out);
        break;
    case REPLY_BIG_NUMBER:
        standard_line("(big number) ", reply->text, "", out);
        break;
    case REPLY_NULL:
        buffer_append_text(out, "(nil)\n");
        break;
    case REPLY_BOOLEAN:
        buffer_append_text(out, reply->integer ? "(true)\n" : "(false)\n");
        break;
    case REPLY_BULK:
        words_append_quoted(out, reply->text);
        buffer_append_u8(out, '\n');
        break;
    case REPLY_ARRAY:
    case REPLY_SET:
    case REPLY_PUSH:
    case REPLY_MAP:
        if (reply->count == 0) {
            buffer_append_text(out, empty_text(reply->kind));
        } else if (is_invalidate(reply)) {
            standard_invalidate(reply, out);
        } else {
            standard_aggregate(format, reply, prefix, "", out);
        }
        break;
    }
}

/* ---- raw ---- */

void format_raw(const struct reply *reply, struct bytes delimiter, struct buffer *out) {
    switch (reply->kind) {
    case REPLY_NULL:
        break;
    case REPLY_BOOLEAN:
        buffer_append_text(out, reply->integer ? "(true)" : "(false)");
        break;
    case REPLY_ERROR:
        buffer_append_bytes(out, reply->text);
        buffer_append_u8(out, '\n');
        break;
    case REPLY_ARRAY:
    case REPLY_SET:
    case REPLY_PUSH:
        for (size_t i = 0; i < reply->count; i++) {
            if (i > 0) buffer_append_bytes(out, delimiter);
            format_raw(&reply->items[i], delimiter, out);
        }
        break;
    case REPLY_MAP:
        for (size_t i = 0; i + 1 < reply->count; i += 2) {
            if (i > 0) buffer_append_bytes(out, delimiter);
            format_raw(&reply->items[i], delimiter, out);
            buffer_append_u8(out, ' ');
            format_raw(&reply->items[i + 1], delimiter, out);
        }
        break;
    default:
        buffer_append_bytes(out, reply->text);
    }
}

/* ---- CSV ---- */

static void csv_value(const struct reply *reply, struct buffer *out) {
    switch (reply->kind) {
    case REPLY_NULL:
        buffer_append_text(out, "NULL");
        break;
    case REPLY_BOOLEAN:
        buffer_append_text(out, reply->integer ? "true" : "false");
        break;
    case REPLY_INTEGER:
    case REPLY_DOUBLE:
    case REPLY_BIG_NUMBER:
        buffer_append_bytes(out, reply->text);
        break;
    case REPLY_ERROR:
        buffer_append_text(out, "ERROR,");
        words_append_quoted(out, reply->text);
        break;
    case REPLY_SIMPLE:
    case REPLY_BULK:
    case REPLY_VERBATIM:
        words_append_quoted(out, reply->text);
        break;
    case REPLY_ARRAY:
    case REPLY_SET:
    case REPLY_PUSH:
    case REPLY_MAP:
        for (size_t i = 0; i < reply->count; i++) {
            if (i > 0) buffer_append_u8(out, ',');
            csv_value(&reply->items[i], out);
        }
        break;
    }
}

/* ---- JSON ---- */

void format_json_string(struct bytes text, struct buffer *out) {
    static const char letters[] = "\bb\tt\nn\ff\rr";
    buffer_append_u8(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];
        const char *letter = NULL;
        for (size_t k = 0; k + 1 < sizeof(letters); k += 2) {
            if ((uint8_t)letters[k] == byte) letter = &letters[k + 1];
        }
        if (byte == '"' || byte == '\\') {
            buffer_append_format(out, "\\%c", byte);
        } else if (letter != NULL) {
            buffer_append_format(out, "\\%c", *letter);
        } else if (byte < 0x20) {
            buffer_append_format(out, "\\u%04x", byte);
        } else {
            buffer_append_u8(out, byte);
        }
    }
    buffer_append_u8(out, '"');
}

/* The form of words.h inside a JSON string. Every backslash of it is doubled, and its quotes inside
 * get a backslash of JSON's own, so that the text stays JSON. */
static void json_quoted_string(struct bytes text, struct buffer *out) {
    struct buffer quoted = {0};
    words_append_quoted(&quoted, text);
    format_json_string(bytes_of(quoted.data + 1, quoted.len - 2), out);
    buffer_deinit(&quoted);
}

static void json_string(bool is_quoted, struct bytes text, struct buffer *out) {
    if (is_quoted) {
        json_quoted_string(text, out);
    } else {
        format_json_string(text, out);
    }
}

static void json_value(bool is_quoted, const struct reply *reply, struct buffer *out);

static void json_error(bool is_quoted, struct bytes text, struct buffer *out) {
    const uint8_t *blank = text.len == 0 ? NULL : memchr(text.data, ' ', text.len);
    struct bytes code = bytes_of(text.data, blank == NULL ? text.len : (size_t)(blank - text.data));
    buffer_append_text(out, "{\"error\":");
    json_string(is_quoted, text, out);
    buffer_append_text(out, ",\"code\":");
    json_string(is_quoted, code, out);
    buffer_append_u8(out, '}');
}

/* JSON knows no infinity and no NaN as numbers. */
static void json_double(struct bytes text, struct buffer *out) {
    bool is_number =
        text.len > 0 && (text.data[text.len - 1] >= '0') && (text.data[text.len - 1] <= '9');
    if (is_number) {
        buffer_append_bytes(out, text);
    } else {
        format_json_string(text, out);
    }
}

static void json_key(bool is_quoted, const struct reply *key, struct buffer *out) {
    if (key->kind == REPLY_SIMPLE || key->kind == REPLY_BULK || key->kind == REPLY_VERBATIM) {
        json_string(is_quoted, key->text, out);
        return;
    }
    struct buffer text = {0};
    json_value(is_quoted, key, &text);
    format_json_string(buffer_view(&text), out);
    buffer_deinit(&text);
}

static void json_items(bool is_quoted, const struct reply *reply, struct buffer *out) {
    bool is_map = reply->kind == REPLY_MAP;
    buffer_append_u8(out, is_map ? '{' : '[');
    for (size_t i = 0; i < reply->count; i++) {
        if (i > 0) buffer_append_u8(out, is_map && i % 2 == 1 ? ':' : ',');
        if (is_map && i % 2 == 0) {
            json_key(is_quoted, &reply->items[i], out);
        } else {
            json_value(is_quoted, &reply->items[i], out);
        }
    }
    buffer_append_u8(out, is_map ? '}' : ']');
}

static void json_value(bool is_quoted, const struct reply *reply, struct buffer *out) {
    switch (reply->kind) {
    case REPLY_NULL:
        buffer_append_text(out, "null");
        break;
    case REPLY_BOOLEAN:
        buffer_append_text(out, reply->integer ? "true" : "false");
        break;
    case REPLY_DOUBLE:
        json_double(reply->text, out);
        break;
    case REPLY_INTEGER:
    case REPLY_BIG_NUMBER:
        buffer_append_bytes(out, reply->text);
        break;
    case REPLY_ERROR:
        json_error(is_quoted, reply->text, out);
        break;
    case REPLY_SIMPLE:
    case REPLY_BULK:
    case REPLY_VERBATIM:
        json_string(is_quoted, reply->text, out);
        break;
    case REPLY_ARRAY:
    case REPLY_SET:
    case REPLY_PUSH:
    case REPLY_MAP:
        json_items(is_quoted, reply, out);
        break;
    }
}

void format_reply(const struct format *format, const struct reply *reply, struct buffer *out) {
    switch (format->style) {
    case FORMAT_STANDARD: {
        struct buffer prefix = {0};
        standard_value(format, reply, &prefix, out);
        break;
    }
    case FORMAT_RAW:
        format_raw(reply, format->item_delimiter, out);
        buffer_append_bytes(out, format->reply_delimiter);
        break;
    case FORMAT_CSV:
        csv_value(reply, out);
        buffer_append_u8(out, '\n');
        break;
    case FORMAT_JSON:
    case FORMAT_QUOTED_JSON:
        json_value(format->style == FORMAT_QUOTED_JSON, reply, out);
        buffer_append_u8(out, '\n');
        break;
    }
}

bool format_is_text_command(size_t argc, const struct bytes *argv) {
    static const struct {
        const char *name;
        const char *subcommand; /* NULL: any. */
    } commands[] = {
        {"info", NULL},
        {"lolwut", NULL},
        {"cluster", "nodes"},
        {"cluster", "info"},
        {"client", "list"},
        {"client", "info"},
        {"latency", "graph"},
        {"latency", "doctor"},
        {"memory", "doctor"},
        {"memory", "malloc-stats"},
        {"debug", "htstats"},
        {"debug", "htstats-key"},
        {"debug", "client-eviction"},
        {"proxy", "info"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
        if (argc == 0 || !bytes_equal_text_nocase(argv[0], commands[i].name)) continue;
        if (commands[i].subcommand == NULL) return true;
        if (argc > 1 && bytes_equal_text_nocase(argv[1], commands[i].subcommand)) return true;
    }
    return false;
}

/* How a reply looks: for people, as raw bytes, as CSV, as JSON. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "server/resp/reply_reader.h"

enum format_style {
    FORMAT_STANDARD,
    FORMAT_RAW,
    FORMAT_CSV,
    FORMAT_JSON,
    FORMAT_QUOTED_JSON, /* JSON whose strings are in the quoting of words.h: ASCII, any bytes. */
};

struct format {
    enum format_style style;
    struct bytes item_delimiter;  /* Raw: between items. */
    struct bytes reply_delimiter; /* Raw: after a reply. */
    bool show_attributes;         /* Standard: `|1# key => value` lines before the reply. */
};

/* Appends the whole reply with what ends it. */
void format_reply(const struct format *format, const struct reply *reply, struct buffer *out);

/* Appends the reply in raw form, its items divided by `delimiter`, with nothing behind it. */
void format_raw(const struct reply *reply, struct bytes delimiter, struct buffer *out);

/* Appends `text` as a JSON string; bytes from 0x80 on stay as they are. */
void format_json_string(struct bytes text, struct buffer *out);

/* True for commands whose reply is a text for people, shown as it is (INFO, CLUSTER NODES, ...). */
bool format_is_text_command(size_t argc, const struct bytes *argv);

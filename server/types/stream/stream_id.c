/* Ids of entries, as text and back. */
#include "server/base/number.h"
#include "server/types/stream/stream_internal.h"

bool stream_id_next(struct stream_id *id) {
    if (id->seq < UINT64_MAX) {
        id->seq++;
    } else if (id->ms < UINT64_MAX) {
        *id = (struct stream_id){id->ms + 1, 0};
    } else {
        return false;
    }
    return true;
}

bool stream_id_previous(struct stream_id *id) {
    if (id->seq > 0) {
        id->seq--;
    } else if (id->ms > 0) {
        *id = (struct stream_id){id->ms - 1, UINT64_MAX};
    } else {
        return false;
    }
    return true;
}

/* Digits; zeros and a sign in front are tolerated. */
static bool parse_part(struct bytes text, uint64_t *out) {
    uint64_t value = 0;
    if (text.len > 1 && text.data[0] == '+') text = bytes_from(text, 1);
    if (text.len == 0) return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)text.data[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *out = value;
    return true;
}

bool stream_id_parse(struct bytes text, uint64_t missing_seq, bool is_strict, struct stream_id *out,
                     bool *out_auto) {
    if (out_auto != NULL) *out_auto = false;
    if (!is_strict && text.len == 1 && (text.data[0] == '-' || text.data[0] == '+')) {
        *out = text.data[0] == '-' ? STREAM_ID_MIN : STREAM_ID_MAX;
        return true;
    }
    const uint8_t *dash = text.len == 0 ? NULL : memchr(text.data, '-', text.len);
    struct bytes ms = dash == NULL ? text : bytes_of(text.data, (size_t)(dash - text.data));
    struct stream_id id = {0, missing_seq};
    if (!parse_part(ms, &id.ms)) return false;
    if (dash != NULL) {
        struct bytes seq = bytes_from(text, ms.len + 1);
        if (out_auto != NULL && bytes_equal_text(seq, "*")) {
            *out_auto = true;
            id.seq = 0;
        } else if (!parse_part(seq, &id.seq)) {
            return false;
        }
    }
    *out = id;
    return true;
}

unsigned stream_id_text(struct stream_id id, char out[STREAM_ID_TEXT_MAX]) {
    unsigned len = number_format_u64(id.ms, out);
    out[len++] = '-';
    return len + number_format_u64(id.seq, out + len);
}

void stream_reply_id(struct reply *reply, struct stream_id id) {
    char text[STREAM_ID_TEXT_MAX];
    reply_bulk(reply, bytes_of(text, stream_id_text(id, text)));
}

static bool reply_invalid(struct command_context *context) {
    reply_error(context->reply, "ERR Invalid stream ID specified as stream command argument");
    return false;
}

bool stream_argument_id(struct command_context *context, uint32_t argument, struct stream_id *out) {
    return stream_id_parse(context->argv[argument], 0, true, out, NULL) || reply_invalid(context);
}

bool stream_argument_bound(struct command_context *context, uint32_t argument, bool is_start,
                           struct stream_id *out) {
    struct bytes text = context->argv[argument];
    bool is_exclusive = text.len > 1 && text.data[0] == '(';
    if (is_exclusive) text = bytes_from(text, 1);
    if (!stream_id_parse(text, is_start ? 0 : UINT64_MAX, is_exclusive, out, NULL))
        return reply_invalid(context);
    if (!is_exclusive || (is_start ? stream_id_next(out) : stream_id_previous(out))) return true;
    reply_error(context->reply, is_start ? "ERR invalid start ID for the interval"
                                         : "ERR invalid end ID for the interval");
    return false;
}

#include "server/types/multi_pop.h"

bool multi_pop_parse(struct command_context *context, uint32_t argument, const char *near_end,
                     const char *far_end, struct multi_pop *out) {
    int64_t key_count = 0;
    if (!context_integer_in(context, argument, 1, INT64_MAX, &key_count,
                            "ERR numkeys should be greater than 0"))
        return false;
    if (key_count > (int64_t)context->argc - argument - 2) {
        reply_syntax_error(context->reply);
        return false;
    }
    *out = (struct multi_pop){argument + 1, (uint32_t)key_count, false, -1};
    uint32_t at = out->first_key + out->key_count;
    out->is_far_end = context_argument_is(context, at, far_end);
    if (!out->is_far_end && !context_argument_is(context, at, near_end)) {
        reply_syntax_error(context->reply);
        return false;
    }
    for (at++; at < context->argc; at += 2) {
        if (out->count != -1 || !context_argument_is(context, at, "COUNT") ||
            at + 1 >= context->argc) {
            reply_syntax_error(context->reply);
            return false;
        }
        if (!context_integer_in(context, at + 1, 1, INT64_MAX, &out->count,
                                "ERR count should be greater than 0"))
            return false;
    }
    if (out->count == -1) out->count = 1;
    return true;
}

bool multi_pop_find(struct command_context *context, uint32_t first_key, uint32_t key_count,
                    enum record_type type, struct key *out_key, struct table_entry *out_entry,
                    bool *out_failed) {
    *out_failed = false;
    for (uint32_t i = 0; i < key_count; i++) {
        *out_key = context_key(context, first_key + i);
        if (!context_find_typed_for_write(context, out_key, type, out_entry)) {
            *out_failed = true;
            return false;
        }
        if (out_entry->record != NULL) return true;
    }
    return false;
}

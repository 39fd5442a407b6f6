/* Elements taken from an end, moved to another list, waited for. */
#include "server/types/list/list_internal.h"
#include "server/types/multi_pop.h"

static bool parse_end(struct command_context *context, uint32_t argument, bool *out_head) {
    *out_head = context_argument_is(context, argument, "LEFT");
    if (*out_head || context_argument_is(context, argument, "RIGHT")) return true;
    reply_syntax_error(context->reply);
    return false;
}

void list_pop_and_reply(struct command_context *context, const struct key *key,
                        struct table_entry *entry, bool at_head, uint64_t count) {
    struct record *record = entry->record;
    uint64_t size = list_count(record);
    struct list_cursor cursor;
    list_cursor_begin(&cursor, record, at_head ? 0 : size - 1);
    for (uint64_t i = 0; i < count; i++) {
        struct listpack_value value = list_cursor_value(&cursor);
        element_reply(context->reply, &value);
        if (i + 1 == count) break;
        if (at_head) {
            list_cursor_next(&cursor);
        } else {
            list_cursor_previous(&cursor);
        }
    }
    list_cursor_end(&cursor);
    context_changed(context, key, EVENT_LIST, at_head ? "lpop" : "rpop");
    context->changes += count - 1;
    if (count < size) {
        list_delete_range(record, at_head ? 0 : size - count, count, context->types);
        return;
    }
    context_delete(context, key, entry);
    context_event(context, key, EVENT_GENERIC, "del");
}

/* -- LPOP, RPOP -- */

static void pop(struct command_context *context, bool at_head) {
    bool has_count = context->argc > 2;
    int64_t count = 1;
    if (context->argc > 3) {
        context_arity_error(context);
        return;
    }
    if (has_count && !context_integer_in(context, 2, 0, INT64_MAX, &count,
                                         "ERR value is out of range, must be positive"))
        return;
    struct key key = context_key(context, 1);
    struct table_entry entry;
    if (!context_find_typed_for_write(context, &key, RECORD_LIST, &entry)) return;
    if (entry.record == NULL) {
        if (has_count) {
            reply_null_array(context->reply);
        } else {
            reply_null(context->reply);
        }
        return;
    }
    uint64_t size = list_count(entry.record);
    if (has_count && (uint64_t)count > size) count = (int64_t)size;
    if (has_count) reply_array(context->reply, (size_t)count);
    if (count > 0) list_pop_and_reply(context, &key, &entry, at_head, (uint64_t)count);
}

void list_lpop(struct command_context *context) {
    pop(context, true);
}

void list_rpop(struct command_context *context) {
    pop(context, false);
}

/* -- LMPOP -- */

/* Answers key and elements. The effect is a plain LPOP or RPOP with the number that were taken. */
static void pop_several(struct command_context *context, const struct key *key,
                        struct table_entry *entry, bool at_head, int64_t count) {
    uint64_t size = list_count(entry->record);
    uint64_t taken = (uint64_t)count < size ? (uint64_t)count : size;
    struct bytes name = key->name;
    char number[NUMBER_TEXT_MAX];
    const struct bytes effect[] = {at_head ? BYTES_LITERAL("LPOP") : BYTES_LITERAL("RPOP"), name,
                                   bytes_of(number, number_format_u64(taken, number))};
    reply_array(context->reply, 2);
    reply_bulk(context->reply, name);
    reply_array(context->reply, taken);
    list_pop_and_reply(context, key, entry, at_head, taken);
    context_propagate(context, effect, 3);
}

void list_lmpop(struct command_context *context) {
    struct multi_pop options;
    struct key key;
    struct table_entry entry;
    bool failed;
    if (!multi_pop_parse(context, 1, "LEFT", "RIGHT", &options)) return;
    if (multi_pop_find(context, options.first_key, options.key_count, RECORD_LIST, &key, &entry,
                       &failed)) {
        pop_several(context, &key, &entry, !options.is_far_end, options.count);
    } else if (!failed) {
        reply_null_array(context->reply);
    }
}

void list_blmpop(struct command_context *context) {
    struct multi_pop options;
    struct key key;
    struct table_entry entry;
    int64_t timeout_ms;
    bool failed;
    if (!context_timeout_seconds(context, 1, &timeout_ms) ||
        !multi_pop_parse(context, 2, "LEFT", "RIGHT", &options))
        return;
    if (multi_pop_find(context, options.first_key, options.key_count, RECORD_LIST, &key, &entry,
                       &failed)) {
        pop_several(context, &key, &entry, !options.is_far_end, options.count);
        return;
    }
    const struct block_request request = {.first_key = options.first_key,
                                          .key_count = options.key_count,
                                          .timeout_ms = timeout_ms,
                                          .type = RECORD_LIST};
    if (!failed && !context_block(context, &request)) reply_null_array(context->reply);
}

/* -- BLPOP, BRPOP -- */

static void blocking_pop(struct command_context *context, bool at_head) {
    struct key key;
    struct table_entry entry;
    int64_t timeout_ms;
    bool failed;
    uint32_t key_count = context->argc - 2;
    if (!context_timeout_seconds(context, context->argc - 1, &timeout_ms)) return;
    if (multi_pop_find(context, 1, key_count, RECORD_LIST, &key, &entry, &failed)) {
        const struct bytes effect[] = {at_head ? BYTES_LITERAL("LPOP") : BYTES_LITERAL("RPOP"),
                                       key.name};
        reply_array(context->reply, 2);
        reply_bulk(context->reply, key.name);
        list_pop_and_reply(context, &key, &entry, at_head, 1);
        context_propagate(context, effect, 2);
        return;
    }
    const struct block_request request = {
        .first_key = 1, .key_count = key_count, .timeout_ms = timeout_ms, .type = RECORD_LIST};
    if (!failed && !context_block(context, &request)) reply_null_array(context->reply);
}

void list_blpop(struct command_context *context) {
    blocking_pop(context, true);
}

void list_brpop(struct command_context *context) {
    blocking_pop(context, false);
}

/* -- LMOVE and its like -- */

struct move {
    bool from_head;
    bool to_head;
    bool is_blocking;
    bool is_pop_push; /* RPOPLPUSH and BRPOPLPUSH go on as RPOPLPUSH. */
    int64_t timeout_ms;
};

static void propagate_move(struct command_context *context, const struct move *move,
                           struct bytes source, struct bytes target) {
    if (!move->is_blocking) return; // It is its own effect.
    if (move->is_pop_push) {
        const struct bytes effect[] = {BYTES_LITERAL("RPOPLPUSH"), source, target};
        context_propagate(context, effect, 3);
        return;
    }
    const struct bytes effect[] = {BYTES_LITERAL("LMOVE"), source, target,
                                   move->from_head ? BYTES_LITERAL("LEFT") : BYTES_LITERAL("RIGHT"),
                                   move->to_head ? BYTES_LITERAL("LEFT") : BYTES_LITERAL("RIGHT")};
    context_propagate(context, effect, 5);
}

/* Takes an element of the source (which is there) and puts it into the target. */
static void move_element(struct command_context *context, const struct move *move,
                         const struct key *source, const struct key *target) {
    struct table_entry entry;
    if (!context_find_for_write(context, source, &entry)) return;
    uint64_t size = list_count(entry.record);
    struct list_cursor cursor;
    char scratch[NUMBER_TEXT_MAX];
    list_cursor_begin(&cursor, entry.record, move->from_head ? 0 : size - 1);
    struct buffer element = {0}; // The list changes under it.
    buffer_append_bytes(&element, list_cursor_text(&cursor, scratch));
    list_cursor_end(&cursor);

    struct table_entry target_entry;
    bool is_there = context_find_for_write(context, target, &target_entry);
    struct record *record = is_there ? target_entry.record : list_record_create(target->name);
    list_push(record, buffer_view(&element), move->to_head, context->types);
    if (!is_there) context_insert_take(context, target, record);
    context_changed(context, target, EVENT_LIST, move->to_head ? "lpush" : "rpush");

    // Putting the target in place may have moved the source.
    if (context_find_for_write(context, source, &entry)) {
        size = list_count(entry.record);
        uint64_t index = move->from_head ? 0 : size - 1;
        bool is_same = bytes_equal(source->name, target->name);
        // In one list the new element stands in front of, or behind, the one that goes.
        if (is_same && move->from_head && move->to_head) index = 1;
        if (is_same && !move->from_head && !move->to_head) index = size - 2;
        list_delete_range(entry.record, index, 1, context->types);
        context_changed(context, source, EVENT_LIST, move->from_head ? "lpop" : "rpop");
        if (list_count(entry.record) == 0) {
            context_delete(context, source, &entry);
            context_event(context, source, EVENT_GENERIC, "del");
        }
    }
    context->changes--; // A move counts once.
    reply_bulk(context->reply, buffer_view(&element));
    buffer_deinit(&element);
    propagate_move(context, move, source->name, target->name);
}

static void move(struct command_context *context, const struct move *move) {
    struct key source = context_key(context, 1);
    struct key target = context_key(context, 2);
    bool failed;
    const struct record *from = context_find_typed(context, &source, RECORD_LIST, &failed);
    if (failed) return;
    if (from != NULL) {
        const struct record *to = context_find_typed(context, &target, RECORD_LIST, &failed);
        (void)to;
        if (!failed) move_element(context, move, &source, &target);
        return;
    }
    const struct block_request request = {
        .first_key = 1, .key_count = 1, .timeout_ms = move->timeout_ms, .type = RECORD_LIST};
    if (!move->is_blocking || !context_block(context, &request)) reply_null(context->reply);
}

void list_lmove(struct command_context *context) {
    struct move options = {0};
    if (!parse_end(context, 3, &options.from_head) || !parse_end(context, 4, &options.to_head))
        return;
    move(context, &options);
}

void list_rpoplpush(struct command_context *context) {
    move(context, &(struct move){.to_head = true, .is_pop_push = true});
}

void list_blmove(struct command_context *context) {
    struct move options = {.is_blocking = true};
    if (!parse_end(context, 3, &options.from_head) || !parse_end(context, 4, &options.to_head) ||
        !context_timeout_seconds(context, 5, &options.timeout_ms))
        return;
    move(context, &options);
}

void list_brpoplpush(struct command_context *context) {
    struct move options = {.to_head = true, .is_blocking = true, .is_pop_push = true};
    if (!context_timeout_seconds(context, 3, &options.timeout_ms)) return;
    move(context, &options);
}

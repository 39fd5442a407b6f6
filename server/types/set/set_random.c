/* Members by chance: SPOP, SRANDMEMBER. */
#include "server/base/mem.h"
#include "server/types/set/set_internal.h"

/* Copies of members, since the set changes under them. */
struct member_list {
    struct buffer bytes;
    size_t *ends;
    size_t count;
};

static void note_member(void *arg, const struct listpack_value *member) {
    struct member_list *list = arg;
    char scratch[NUMBER_TEXT_MAX];
    buffer_append_bytes(&list->bytes, element_text(member, scratch));
    list->ends[list->count++] = list->bytes.len;
}

static struct bytes member_at(const struct member_list *list, size_t index) {
    size_t begin = index == 0 ? 0 : list->ends[index - 1];
    return bytes_of(list->bytes.data + begin, list->ends[index] - begin);
}

static void member_list_deinit(struct member_list *list) {
    buffer_deinit(&list->bytes);
    mem_free(list->ends);
}

/* -- SPOP -- */

/* What chance has chosen goes on as what it is: SREM of these members. */
static void propagate_removal(struct command_context *context, const struct key *key,
                              const struct member_list *list) {
    enum { MEMBERS_MAX = 1024 };
    if (!context->is_journaled) {
        context_propagate_nothing(context);
        return;
    }
    for (size_t at = 0; at < list->count;) {
        size_t count = list->count - at < MEMBERS_MAX ? list->count - at : MEMBERS_MAX;
        struct bytes *words = mem_alloc((count + 2) * sizeof(*words));
        words[0] = BYTES_LITERAL("SREM");
        words[1] = key->name;
        for (size_t i = 0; i < count; i++)
            words[i + 2] = member_at(list, at + i);
        context_propagate(context, words, (uint32_t)count + 2);
        mem_free(words);
        at += count;
    }
}

static void pop_all(struct command_context *context, const struct key *key,
                    struct table_entry *entry) {
    size_t count = set_count(entry->record);
    const struct bytes effect[] = {context->types->lazy_server_del ? BYTES_LITERAL("UNLINK")
                                                                   : BYTES_LITERAL("DEL"),
                                   key->name};
    context_changed(context, key, EVENT_SET, "spop");
    context->changes += count - 1;
    context_propagate(context, effect, 2);
    context_unlink(context, key, entry);
    context_event(context, key, EVENT_GENERIC, "del");
}

static void reply_member(void *arg, const struct listpack_value *member) {
    element_reply(arg, member);
}

/* Takes `count` members out, fewer than there are. */
static void pop_some(struct command_context *context, const struct key *key,
                     struct table_entry *entry, size_t count) {
    struct member_list list = {.ends = mem_alloc((count + 1) * sizeof(size_t))};
    set_pick_different(entry->record, context->rng, count, note_member, &list);
    for (size_t i = 0; i < list.count; i++) {
        struct bytes member = member_at(&list, i);
        set_remove(entry->record, member);
        reply_bulk(context->reply, member);
    }
    context_changed(context, key, EVENT_SET, "spop");
    context->changes += list.count - 1;
    propagate_removal(context, key, &list);
    member_list_deinit(&list);
}

static void pop_one(struct command_context *context, const struct key *key,
                    struct table_entry *entry) {
    struct listpack_value member = set_random(entry->record, context->rng);
    struct member_list list = {.ends = mem_alloc(sizeof(size_t))};
    note_member(&list, &member);
    set_remove(entry->record, member_at(&list, 0));
    reply_bulk(context->reply, member_at(&list, 0));
    context_changed(context, key, EVENT_SET, "spop");
    propagate_removal(context, key, &list);
    member_list_deinit(&list);
    if (set_count(entry->record) > 0) return;
    context_delete(context, key, entry);
    context_event(context, key, EVENT_GENERIC, "del");
}

void set_spop(struct command_context *context) {
    int64_t count = 1;
    bool has_count = context->argc > 2;
    if (context->argc > 3) {
        reply_syntax_error(context->reply);
        return;
    }
    if (has_count && !context_integer_in(context, 2, 0, INT64_MAX, &count,
                                         "ERR value is out of range, must be positive"))
        return;
    struct key key = context_key(context, 1);
    struct table_entry entry;
    if (!context_find_typed_for_write(context, &key, RECORD_SET, &entry)) return;
    if (!has_count) {
        if (entry.record == NULL) {
            reply_null(context->reply);
        } else {
            pop_one(context, &key, &entry);
        }
        return;
    }
    size_t size = entry.record == NULL ? 0 : set_count(entry.record);
    if (size == 0 || count == 0) {
        reply_set(context->reply, 0);
    } else if ((uint64_t)count >= size) {
        reply_set(context->reply, size);
        set_walk(entry.record, reply_member, context->reply);
        pop_all(context, &key, &entry);
    } else {
        reply_set(context->reply, (size_t)count);
        pop_some(context, &key, &entry, (size_t)count);
    }
}

/* -- SRANDMEMBER -- */

/* Each pick among all members. A client may ask for more than it can be sent: who closes it ends
 * the work. */
static void reply_repeated(struct command_context *context, const struct record *record,
                           uint64_t count) {
    reply_array(context->reply, count);
    for (; count > 0 && !context->session->close_now; count--) {
        struct listpack_value member = set_random(record, context->rng);
        element_reply(context->reply, &member);
    }
}

void set_srandmember(struct command_context *context) {
    int64_t count = 1;
    bool has_count = context->argc > 2;
    if (context->argc > 3) {
        reply_syntax_error(context->reply);
        return;
    }
    if (has_count && !context_integer_in(context, 2, -INT64_MAX, INT64_MAX, &count, NULL)) return;
    struct key key = context_key(context, 1);
    bool failed;
    const struct record *record = context_find_typed(context, &key, RECORD_SET, &failed);
    if (failed) return;
    if (!has_count) {
        if (record == NULL) {
            reply_null(context->reply);
        } else {
            struct listpack_value member = set_random(record, context->rng);
            element_reply(context->reply, &member);
        }
    } else if (record == NULL || count == 0) {
        reply_empty_array(context->reply);
    } else if (count < 0) {
        reply_repeated(context, record, (uint64_t)-count);
    } else {
        size_t size = set_count(record);
        size_t picked = (uint64_t)count < size ? (size_t)count : size;
        reply_array(context->reply, picked);
        set_pick_different(record, context->rng, picked, reply_member, context->reply);
    }
}

/* Members added, removed, asked for. */
#include "server/types/scan_options.h"
#include "server/types/set/set_internal.h"
#include "server/types/table_piece.h"

static bool find_set(struct command_context *context, const struct record **out) {
    struct key key = context_key(context, 1);
    bool failed;
    *out = context_find_typed(context, &key, RECORD_SET, &failed);
    return !failed;
}

/* -- reading -- */

void set_scard(struct command_context *context) {
    const struct record *record;
    if (find_set(context, &record))
        reply_integer(context->reply, record == NULL ? 0 : (int64_t)set_count(record));
}

void set_sismember(struct command_context *context) {
    const struct record *record;
    if (find_set(context, &record))
        reply_integer(context->reply, record != NULL && set_contains(record, context->argv[2]));
}

void set_smismember(struct command_context *context) {
    const struct record *record;
    if (!find_set(context, &record)) return;
    reply_array(context->reply, context->argc - 2);
    for (uint32_t i = 2; i < context->argc; i++)
        reply_integer(context->reply, record != NULL && set_contains(record, context->argv[i]));
}

static void reply_member(void *arg, const struct listpack_value *member) {
    element_reply(arg, member);
}

static void reply_record(void *arg, struct record *member) {
    reply_bulk(arg, record_key(member));
}

static bool walk_members(struct reply_walk *walk, const struct record *record, struct reply *reply,
                         size_t max_bytes) {
    const struct set_table *set = set_table_of(record);
    if (set != NULL) {
        struct table_hasher hasher = set_hasher(set);
        return table_walk_piece(walk, &set->table, &hasher, reply_record, reply, max_bytes);
    }
    set_walk(record, reply_member, reply);
    return true;
}

void set_smembers(struct command_context *context) {
    const struct record *record;
    if (!find_set(context, &record)) return;
    reply_set(context->reply, record == NULL ? 0 : set_count(record));
    if (record == NULL) return;
    struct key key = context_key(context, 1);
    reply_walk_value(context, &key, record, &(struct reply_walk){.step = walk_members});
}

/* -- writing -- */

void set_sadd(struct command_context *context) {
    struct key key = context_key(context, 1);
    struct table_entry entry;
    if (!context_find_typed_for_write(context, &key, RECORD_SET, &entry)) return;
    struct record *record = entry.record != NULL ? entry.record : set_record_create(key.name);
    const struct set_policy policy = {context->types, rng_next(context->rng)};
    int64_t added = 0;
    for (uint32_t i = 2; i < context->argc; i++)
        added += set_add(record, context->argv[i], &policy);
    if (entry.record == NULL) context_insert_take(context, &key, record);
    if (added > 0) {
        context_changed(context, &key, EVENT_SET, "sadd");
        context->changes += (uint64_t)added - 1; // One was counted by context_changed.
    }
    reply_integer(context->reply, added);
}

/* A set without members is no key. */
static void delete_if_empty(struct command_context *context, const struct key *key,
                            struct table_entry *entry) {
    if (set_count(entry->record) > 0) return;
    context_delete(context, key, entry);
    context_event(context, key, EVENT_GENERIC, "del");
}

void set_srem(struct command_context *context) {
    struct key key = context_key(context, 1);
    struct table_entry entry;
    if (!context_find_typed_for_write(context, &key, RECORD_SET, &entry)) return;
    int64_t removed = 0;
    for (uint32_t i = 2; entry.record != NULL && i < context->argc; i++)
        removed += set_remove(entry.record, context->argv[i]);
    if (removed > 0) {
        context_changed(context, &key, EVENT_SET, "srem");
        context->changes += (uint64_t)removed - 1;
        delete_if_empty(context, &key, &entry);
    }
    reply_integer(context->reply, removed);
}

void set_smove(struct command_context *context) {
    struct key source = context_key(context, 1);
    struct key target = context_key(context, 2);
    struct bytes member = context->argv[3];
    bool failed;
    const struct record *from = context_find_typed(context, &source, RECORD_SET, &failed);
    if (failed) return;
    if (from == NULL) {
        reply_integer(context->reply, 0);
        return;
    }
    const struct record *to = context_find_typed(context, &target, RECORD_SET, &failed);
    if (failed) return;
    bool is_there = set_contains(from, member);
    if (!is_there || bytes_equal(source.name, target.name)) {
        reply_integer(context->reply, is_there);
        return;
    }
    (void)to;
    struct table_entry entry;
    bool was_found = context_find_for_write(context, &source, &entry);
    if (!was_found) return;
    set_remove(entry.record, member);
    context_changed(context, &source, EVENT_SET, "srem");
    delete_if_empty(context, &source, &entry);

    bool is_there_too = context_find_for_write(context, &target, &entry);
    struct record *record = is_there_too ? entry.record : set_record_create(target.name);
    const struct set_policy policy = {context->types, rng_next(context->rng)};
    bool is_new = set_add(record, member, &policy);
    if (!is_there_too) context_insert_take(context, &target, record);
    if (is_new) context_changed(context, &target, EVENT_SET, "sadd");
    reply_integer(context->reply, 1);
}

/* -- SSCAN -- */

struct scan {
    const struct scan_options *options;
    struct reply *reply;
    size_t elements;
};

static void scan_member(void *arg, const struct listpack_value *member) {
    struct scan *scan = arg;
    char scratch[NUMBER_TEXT_MAX];
    if (!scan_matches(scan->options, element_text(member, scratch))) return;
    element_reply(scan->reply, member);
    scan->elements++;
}

static void scan_record(void *arg, struct record *member) {
    struct listpack_value value = {.text = record_key(member)};
    scan_member(arg, &value);
}

void set_sscan(struct command_context *context) {
    struct scan_options options;
    const struct record *record = scan_begin(context, RECORD_SET, &options);
    if (record == NULL) return;
    const struct set_table *set = set_table_of(record);
    struct scan scan = {&options, context->reply, 0};
    if (set == NULL) {
        // Small: everything at once, as a member's place would not survive changes.
        scan_reply_cursor(context, 0);
        size_t mark = reply_begin(context->reply);
        set_walk(record, scan_member, &scan);
        reply_end_array(context->reply, mark, scan.elements);
        return;
    }
    // The cursor stands before the members and is known after them.
    struct buffer elements = {0};
    struct reply aside = *context->reply;
    aside.out = &elements;
    scan.reply = &aside;
    struct table_hasher hasher = set_hasher(set);
    uint64_t place = scan_table(&options, &set->table, &hasher, scan_record, &scan);
    scan_reply_cursor(context, place);
    reply_array(context->reply, scan.elements);
    reply_raw(context->reply, buffer_view(&elements));
    buffer_deinit(&elements);
}

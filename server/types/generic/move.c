/* RENAME, COPY, MOVE: a value goes under another name or into another database. */
#include <limits.h>

#include "server/base/check.h"
#include "server/base/number.h"
#include "server/types/generic/generic_internal.h"

#define SAME_OBJECT_ERROR "ERR source and destination objects are the same"

bool generic_database(struct command_context *context, uint32_t argument, unsigned *out) {
    int64_t db;
    if (!context_integer_in(context, argument, INT_MIN, INT_MAX, &db, NULL)) return false;
    if (db < 0 || db >= databases_count(context->databases)) {
        reply_error(context->reply, "ERR DB index is out of range");
        return false;
    }
    *out = (unsigned)db;
    return true;
}

/* Takes the source out, gives it the other name, and puts it in the place of what is there. Entries
 * are looked up anew after each change, since one change may move another entry. */
static void rename_record(struct command_context *context, const struct key *source,
                          const struct key *target) {
    struct table_entry entry;
    if (context_find_to_remove(context, target, &entry))
        generic_delete(context, target, &entry, context->types->lazy_server_del);
    bool is_there = context_find_for_write(context, source, &entry);
    ASSERT(is_there);
    struct record *record = context_detach(context, source, &entry);
    context_insert_take(context, target, record_with_key(record, target->name));
    context_changed(context, source, EVENT_GENERIC, "rename_from");
    context_changed(context, target, EVENT_GENERIC, "rename_to");
}

static void rename_key(struct command_context *context, bool only_if_absent) {
    struct key source = context_key(context, 1);
    struct key target = context_key(context, 2);
    if (!context_peek(context, &source)) {
        reply_error(context->reply, "ERR no such key");
        return;
    }
    bool is_same = bytes_equal(source.name, target.name);
    if (only_if_absent && (is_same || context_peek(context, &target))) {
        reply_integer(context->reply, 0);
        return;
    }
    if (!is_same) rename_record(context, &source, &target);
    if (only_if_absent)
        reply_integer(context->reply, 1);
    else
        reply_ok(context->reply);
}

void generic_rename(struct command_context *context) {
    rename_key(context, false);
}

void generic_renamenx(struct command_context *context) {
    rename_key(context, true);
}

struct copy_options {
    unsigned db;
    bool replace;
};

/* A cluster has database 0 alone, and says so rather than that the number is out of range. */
static bool refuse_other_database(struct command_context *context, uint32_t argument) {
    int64_t db = 0;
    if (!databases_is_cluster(context->databases) ||
        !number_parse_i64(context->argv[argument], &db) || db == 0)
        return false;
    reply_error(context->reply, "ERR Copying to another database is not allowed in cluster mode");
    return true;
}

static bool parse_copy_options(struct command_context *context, struct copy_options *out) {
    *out = (struct copy_options){.db = context->session->db};
    for (uint32_t i = 3; i < context->argc; i++) {
        if (context_argument_is(context, i, "REPLACE")) {
            out->replace = true;
        } else if (context_argument_is(context, i, "DB") && i + 1 < context->argc) {
            i++;
            if (refuse_other_database(context, i)) return false;
            if (!generic_database(context, i, &out->db)) return false;
        } else {
            reply_syntax_error(context->reply);
            return false;
        }
    }
    return true;
}

/* The copy under the target's name, deadline included. */
static struct record *copy_record(struct command_context *context, const struct record *record,
                                  struct bytes name) {
    const struct data_type *type = databases_type(context->databases, record);
    int64_t deadline_ms = record_deadline_ms(record);
    struct record *copy = type->copy(record, name);
    return deadline_ms ? record_with_deadline(copy, true, deadline_ms) : copy;
}

void generic_copy(struct command_context *context) {
    struct key source = context_key(context, 1);
    struct key target = context_key(context, 2);
    struct copy_options options;
    if (!parse_copy_options(context, &options)) return;
    if (options.db == context->session->db && bytes_equal(source.name, target.name)) {
        reply_error(context->reply, SAME_OBJECT_ERROR);
        return;
    }
    struct keyspace *own = context->keyspace;
    struct keyspace *other = context_keyspace(context, options.db);

    /* What has expired under the target's name goes first: it could move the source's record. */
    context->keyspace = other;
    bool is_taken = context_peek(context, &target) != NULL;
    context->keyspace = own;
    const struct record *record = context_find(context, &source);
    if (!record || (is_taken && !options.replace)) {
        reply_integer(context->reply, 0);
        return;
    }
    struct record *copy = copy_record(context, record, target.name);
    context->keyspace = other;
    struct table_entry entry;
    if (context_find_to_remove(context, &target, &entry))
        generic_delete(context, &target, &entry, context->types->lazy_server_del);
    context_insert_take(context, &target, copy);
    context_changed(context, &target, EVENT_GENERIC, "copy_to");
    context->keyspace = own;
    reply_integer(context->reply, 1);
}

void generic_move(struct command_context *context) {
    if (databases_is_cluster(context->databases)) {
        reply_error(context->reply, "ERR MOVE is not allowed in cluster mode");
        return;
    }
    unsigned db;
    if (!generic_database(context, 2, &db)) return;
    if (db == context->session->db) {
        reply_error(context->reply, SAME_OBJECT_ERROR);
        return;
    }
    struct key key = context_key(context, 1);
    struct keyspace *own = context->keyspace;
    struct keyspace *other = context_keyspace(context, db);
    context->keyspace = other;
    bool is_taken = context_peek(context, &key) != NULL;
    context->keyspace = own;

    struct table_entry entry;
    if (is_taken || !context_find_for_write(context, &key, &entry)) {
        reply_integer(context->reply, 0);
        return;
    }
    struct record *record = context_detach(context, &key, &entry);
    context_changed(context, &key, EVENT_GENERIC, "move_from");
    context->keyspace = other;
    context_insert_take(context, &key, record);
    context_changed(context, &key, EVENT_GENERIC, "move_to");
    context->keyspace = own;
    reply_integer(context->reply, 1);
}

#include "server/types/generic/generic_internal.h"

static void delete_keys(struct command_context *context, bool is_lazy) {
    int64_t deleted = 0;
    for (uint32_t i = 1; i < context->argc; i++) {
        struct key key = context_key(context, i);
        struct table_entry entry;
        if (!context_find_to_remove(context, &key, &entry)) continue;
        generic_delete(context, &key, &entry, is_lazy);
        context_changed(context, &key, EVENT_GENERIC, "del");
        deleted++;
    }
    reply_integer(context->reply, deleted);
}

void generic_del(struct command_context *context) {
    delete_keys(context, context->types->lazy_user_del);
}

void generic_unlink(struct command_context *context) {
    delete_keys(context, true);
}

/* A key that is named twice counts twice. */
void generic_exists(struct command_context *context) {
    int64_t found = 0;
    for (uint32_t i = 1; i < context->argc; i++) {
        struct key key = context_key(context, i);
        if (context_peek(context, &key)) found++;
    }
    reply_integer(context->reply, found);
}

void generic_touch(struct command_context *context) {
    int64_t found = 0;
    for (uint32_t i = 1; i < context->argc; i++) {
        struct key key = context_key(context, i);
        if (context_find(context, &key)) found++;
    }
    reply_integer(context->reply, found);
}

void generic_type(struct command_context *context) {
    struct key key = context_key(context, 1);
    const struct record *record = context_peek(context, &key);
    reply_simple(context->reply,
                 record ? databases_type(context->databases, record)->name : "none");
}

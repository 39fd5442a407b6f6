/* CONFIG: the registry of options, as clients see it. */
#include "server/admin/admin_internal.h"
#include "server/command/dispatch.h"
#include "server/config/config.h"

struct get_reply {
    struct reply *reply;
    size_t count;
};

static void reply_option(void *arg, const char *name, struct bytes value) {
    struct get_reply *get = arg;
    reply_bulk_text(get->reply, name);
    reply_bulk(get->reply, value);
    get->count++;
}

void admin_config_get(struct command_context *context) {
    struct get_reply get = {.reply = context->reply};
    size_t mark = reply_begin(context->reply);
    config_get(context->modules->config, context->argv + 2, context->argc - 2, reply_option, &get);
    reply_end_map(context->reply, mark, get.count);
}

/* The error in `text`, behind its code word. */
static void reply_config_error(struct command_context *context, struct buffer *text) {
    buffer_append_u8(text, '\0');
    reply_error_format(context->reply, "ERR %s", (const char *)text->data);
}

void admin_config_set(struct command_context *context) {
    uint32_t words = context->argc - 2;
    if (words % 2 != 0) {
        reply_syntax_error(context->reply);
        return;
    }
    if (dispatcher_is_loading(context->modules->dispatcher) &&
        config_has_still_while_loading(context->modules->config, context->argv + 2, words / 2)) {
        reply_error(context->reply, DISPATCH_LOADING_ERROR);
        return;
    }
    bool guarded_allowed = admin_allows_guarded_options(context->modules->admin, context->session);
    struct buffer error = {0};
    enum status status =
        config_set(context->modules->config, context->argv + 2, words / 2, guarded_allowed, &error);
    if (status == STATUS_OK)
        reply_ok(context->reply);
    else
        reply_config_error(context, &error);
    buffer_deinit(&error);
}

void admin_config_rewrite(struct command_context *context) {
    struct buffer error = {0};
    if (config_rewrite(context->modules->config, &error) == STATUS_OK)
        reply_ok(context->reply);
    else
        reply_config_error(context, &error);
    buffer_deinit(&error);
}

void admin_config_resetstat(struct command_context *context) {
    const struct admin_hooks *hooks = &context->modules->admin->hooks;
    dispatcher_reset_stats(context->modules->dispatcher);
    if (hooks->reset_statistics) hooks->reset_statistics(hooks->state);
    reply_ok(context->reply);
}

void admin_config_help(struct command_context *context) {
    static const char *const lines[] = {
        "GET <pattern> [<pattern> ...]",
        "    The options that match one of the glob patterns, with their values.",
        "SET <option> <value> [<option> <value> ...]",
        "    Give options new values: all of them, or none when one is refused.",
        "RESETSTAT",
        "    Set the statistics that INFO shows back to zero.",
        "REWRITE",
        "    Bring the configuration file up to date.",
        NULL,
    };
    context_help(context, lines);
}

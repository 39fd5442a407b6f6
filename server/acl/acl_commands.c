/* ACL and its subcommands. */
#include <errno.h>
#include <stdio.h>

#include "server/acl/acl_internal.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/base/rng.h"
#include "server/command/command_words.h"

enum { PASSWORD_BITS = 256, PASSWORD_BITS_MAX = 4096, LOG_SHOWN = 10 };

static void reply_failure(struct command_context *context, const struct buffer *error) {
    reply_error_format(context->reply, "ERR %.*s", (int)error->len, (const char *)error->data);
}

/* For a subcommand that takes one argument at the most. */
static void reply_too_many(struct command_context *context) {
    char name[129];
    reply_error_format(
        context->reply,
        "ERR unknown subcommand or wrong number of arguments for '%s'. Try ACL HELP.",
        bytes_to_text(context->argv[1], name, sizeof(name)));
}

/* -- changing users -- */

void acl_command_setuser(struct command_context *context) {
    struct acl *acl = context->modules->acl;
    struct bytes name = context->argv[2];
    if (!user_name_is_valid(name)) {
        reply_error(context->reply, "ERR Usernames can't contain spaces or null characters");
        return;
    }
    struct acl_user *user = acl_find(acl, name);
    struct acl_user *fresh = user_create(name, acl_rules(acl));
    if (user != NULL) user_assign(fresh, user, acl_rules(acl));
    struct buffer error = {0};
    if (!user_apply(fresh, acl_rules(acl), context->argv + 3, context->argc - 3, false, &error)) {
        user_destroy(fresh);
        reply_failure(context, &error);
    } else {
        if (user == NULL) {
            acl_add_take(acl, fresh);
        } else {
            acl_change_take(acl, user, fresh, context->session);
        }
        acl_refresh_sessions(acl);
        reply_ok(context->reply);
    }
    buffer_deinit(&error);
}

void acl_command_deluser(struct command_context *context) {
    struct acl *acl = context->modules->acl;
    for (uint32_t i = 2; i < context->argc; i++) {
        if (!bytes_equal_text(context->argv[i], "default")) continue;
        reply_error(context->reply, "ERR The 'default' user cannot be removed");
        return;
    }
    int64_t deleted = 0;
    for (uint32_t i = 2; i < context->argc; i++) {
        struct acl_user *user = acl_find(acl, context->argv[i]);
        if (user == NULL) continue;
        acl_delete(acl, user, context->session);
        deleted++;
    }
    acl_refresh_sessions(acl);
    reply_integer(context->reply, deleted);
}

static bool require_file(struct command_context *context) {
    if (acl_has_file(context->modules->acl)) return true;
    reply_error(context->reply,
                "ERR This Redis instance is not configured to use an ACL file. You may want to "
                "specify users via the ACL SETUSER command and then issue a CONFIG REWRITE "
                "(assuming you have a Redis configuration file set) in order to store users in the "
                "Redis configuration.");
    return false;
}

void acl_command_load(struct command_context *context) {
    if (!require_file(context)) return;
    struct buffer error = {0};
    if (acl_load(context->modules->acl, context->session, &error)) {
        reply_ok(context->reply);
    } else {
        reply_failure(context, &error);
    }
    buffer_deinit(&error);
}

void acl_command_save(struct command_context *context) {
    if (!require_file(context)) return;
    if (acl_save(context->modules->acl)) {
        reply_ok(context->reply);
        return;
    }
    log_warning("ACL SAVE could not write '%s': %s", context->modules->acl->options->file,
                strerror(errno));
    reply_error(context->reply, "ERR There was an error trying to save the ACLs. Please check the "
                                "server logs for more information");
}

/* -- showing users -- */

static void reply_described(struct reply *reply, const struct selector *selector) {
    static void (*const parts[])(const struct selector *selector, struct buffer *out) = {
        selector_describe_commands, selector_describe_keys, selector_describe_channels};
    static const char *const names[] = {"commands", "keys", "channels"};
    struct buffer text = {0};
    for (int i = 0; i < 3; i++) {
        buffer_clear(&text);
        parts[i](selector, &text);
        reply_bulk_text(reply, names[i]);
        reply_bulk(reply, buffer_view(&text));
    }
    buffer_deinit(&text);
}

static void reply_flags(struct reply *reply, const struct acl_user *user) {
    reply_set(reply, user->needs_no_password ? 3 : 2);
    reply_bulk_text(reply, user->is_on ? "on" : "off");
    if (user->needs_no_password) reply_bulk_text(reply, "nopass");
    reply_bulk_text(reply, user->skips_sanitizing ? "skip-sanitize-payload" : "sanitize-payload");
}

void acl_command_getuser(struct command_context *context) {
    struct reply *reply = context->reply;
    const struct acl_user *user = acl_find(context->modules->acl, context->argv[2]);
    if (user == NULL) {
        reply_null(reply);
        return;
    }
    reply_map(reply, 6);
    reply_bulk_text(reply, "flags");
    reply_flags(reply, user);
    reply_bulk_text(reply, "passwords");
    reply_array(reply, user->passwords.count);
    for (uint32_t i = 0; i < user->passwords.count; i++)
        reply_bulk_text(reply, user->passwords.items[i]);
    reply_described(reply, &user->root);
    reply_bulk_text(reply, "selectors");
    reply_array(reply, user->selector_count);
    for (uint32_t i = 0; i < user->selector_count; i++) {
        reply_map(reply, 3);
        reply_described(reply, &user->selectors[i]);
    }
}

void acl_command_list(struct command_context *context) {
    const struct acl *acl = context->modules->acl;
    struct buffer text = {0};
    reply_array(context->reply, acl->user_count);
    for (uint32_t i = 0; i < acl->user_count; i++) {
        buffer_clear(&text);
        user_describe(acl->users[i], &text);
        reply_bulk(context->reply, buffer_view(&text));
    }
    buffer_deinit(&text);
}

void acl_command_users(struct command_context *context) {
    const struct acl *acl = context->modules->acl;
    reply_array(context->reply, acl->user_count);
    for (uint32_t i = 0; i < acl->user_count; i++)
        reply_bulk(context->reply, bytes_of(acl->users[i]->name, acl->users[i]->name_len));
}

void acl_command_whoami(struct command_context *context) {
    reply_bulk(context->reply, acl_session_user_name(context->session));
}

/* -- the rest -- */

static size_t reply_if_in(struct reply *reply, const struct command *row, uint32_t category) {
    if ((command_acl_categories(row) & category) == 0) return 0;
    char name[96];
    reply_bulk(reply, bytes_of(name, command_full_name(row, name, sizeof(name))));
    return 1;
}

static void reply_category(struct command_context *context, uint32_t category) {
    const struct command_table *commands = context->modules->commands;
    size_t mark = reply_begin(context->reply);
    size_t count = 0;
    for (uint32_t i = 0; i < command_table_count(commands); i++) {
        const struct command *row = command_table_at(commands, i);
        count += reply_if_in(context->reply, row, category);
        for (const struct command *sub = row->subcommands; sub != NULL && sub->name != NULL; sub++)
            count += reply_if_in(context->reply, sub, category);
    }
    reply_end_array(context->reply, mark, count);
}

void acl_command_cat(struct command_context *context) {
    if (context->argc > 3) {
        reply_too_many(context);
        return;
    }
    if (context->argc == 3) {
        uint32_t category = command_category_find(context->argv[2]);
        char name[129];
        if (category != 0) {
            reply_category(context, category);
        } else {
            reply_error_format(context->reply, "ERR Unknown category '%s'",
                               bytes_to_text(context->argv[2], name, sizeof(name)));
        }
        return;
    }
    size_t mark = reply_begin(context->reply);
    size_t count = 0;
    for (; command_category_words[count].name != NULL; count++)
        reply_bulk_text(context->reply, command_category_words[count].name);
    reply_end_array(context->reply, mark, count);
}

void acl_command_genpass(struct command_context *context) {
    int64_t bits = PASSWORD_BITS;
    if (context->argc > 3) {
        reply_too_many(context);
        return;
    }
    if (context->argc == 3 && !context_integer(context, 2, &bits, NULL)) return;
    if (bits < 1 || bits > PASSWORD_BITS_MAX) {
        reply_error(context->reply,
                    "ERR ACL GENPASS argument must be the number of bits for the output password, "
                    "a positive number up to 4096");
        return;
    }
    static const char digits[] = "0123456789abcdef";
    uint8_t random[PASSWORD_BITS_MAX / 4];
    size_t len = (size_t)(bits + 3) / 4;
    rng_fill_from_os(random, len);
    for (size_t i = 0; i < len; i++)
        random[i] = (uint8_t)digits[random[i] % 16];
    reply_bulk(context->reply, bytes_of(random, len));
}

static void reply_dry_denial(struct command_context *context, const struct access_request *request,
                             enum access_verdict verdict, struct bytes object) {
    char name[96];
    if (verdict == ACCESS_DENIED_COMMAND) {
        command_full_name(request->row, name, sizeof(name));
        reply_bulk_format(context->reply, "This user has no permissions to run the '%s' command",
                          name);
        return;
    }
    reply_bulk_format(context->reply, "This user has no permissions to access the '%.*s' %s",
                      (int)object.len, (const char *)object.data,
                      verdict == ACCESS_DENIED_KEY ? "key" : "channel");
}

void acl_command_dryrun(struct command_context *context) {
    const struct command_table *commands = context->modules->commands;
    const struct bytes *argv = context->argv + 3;
    uint32_t argc = context->argc - 3;
    char text[129];
    const struct acl_user *user = acl_find(context->modules->acl, context->argv[2]);
    if (user == NULL) {
        reply_error_format(context->reply, "ERR User '%s' not found",
                           bytes_to_text(context->argv[2], text, sizeof(text)));
        return;
    }
    const struct command *row = command_table_find_line(commands, argv, argc);
    if (row == NULL) {
        reply_error_format(context->reply, "ERR Command '%s' not found",
                           bytes_to_text(argv[0], text, sizeof(text)));
        return;
    }
    if (!command_arity_fits(row, argv, argc)) {
        command_full_name(row, text, sizeof(text));
        reply_error_format(context->reply, "ERR wrong number of arguments for '%s' command", text);
        return;
    }
    const struct access_request request = {
        .row = row,
        .argv = argv,
        .argc = argc,
        .command_id = command_table_id(commands, row),
        .is_question = true,
    };
    uint32_t argument = 0;
    enum access_verdict verdict = user_check(user, &request, &argument);
    if (verdict == ACCESS_GRANTED) {
        reply_ok(context->reply);
    } else {
        reply_dry_denial(context, &request, verdict, argv[argument]);
    }
}

void acl_command_log(struct command_context *context) {
    struct denial_log *log = &context->modules->acl->log;
    if (context->argc > 3) {
        reply_too_many(context);
        return;
    }
    if (context_argument_is(context, 2, "RESET")) {
        denial_log_trim(log, 0);
        reply_ok(context->reply);
        return;
    }
    int64_t max = LOG_SHOWN;
    if (context->argc == 3 && !context_integer(context, 2, &max, NULL)) return;
    denial_log_reply(log, context->reply, max < 0 ? 0 : (uint64_t)max);
}

void acl_command_help(struct command_context *context) {
    static const char *const lines[] = {
        "CAT [<category>]",
        "    The categories of commands, or the commands of one.",
        "DELUSER <username> [<username> ...]",
        "    Delete users and close their connections.",
        "DRYRUN <username> <command> [<arg> ...]",
        "    Whether the user may run this, without running it.",
        "GETUSER <username>",
        "    What is known of a user.",
        "GENPASS [<bits>]",
        "    A random password in hexadecimal digits, of 256 bits or as many as are asked for.",
        "LIST",
        "    All users with their rules, as files have them.",
        "LOAD",
        "    Read the ACL file again.",
        "LOG [<count> | RESET]",
        "    What was denied, newest first; or forget it.",
        "SAVE",
        "    Write all users to the ACL file.",
        "SETUSER <username> <rule> [<rule> ...]",
        "    Create a user, or change one.",
        "USERS",
        "    The names of all users.",
        "WHOAMI",
        "    The name of this connection's user.",
        NULL,
    };
    context_help(context, lines);
}

#include "server/acl/acl_internal.h"
#include "server/base/compiler.h"
#include "server/base/mem.h"

/* -- requirepass -- */

bool acl_has_file(const struct acl *acl) {
    return acl->options->file[0] != '\0';
}

void acl_set_default_password(struct acl *acl) {
    struct buffer rule = {0};
    struct buffer error = {0};
    buffer_append_format(&rule, ">%s", acl->options->password);
    bool is_set = rule.len > 1;
    const struct bytes rules[] = {BYTES_LITERAL("resetpass"),
                                  is_set ? buffer_view(&rule) : BYTES_LITERAL("nopass")};
    // These two rules are never refused.
    user_apply(acl->default_user, acl_rules(acl), rules, ARRAY_COUNT(rules), true, &error);
    buffer_deinit(&rule);
    buffer_deinit(&error);
}

static void forget_default_before(struct acl *acl) {
    user_destroy(acl->default_before);
    acl->default_before = NULL;
}

/* Going back is no matter of the old requirepass: ACL SETUSER may have said other passwords since.
 */
static void apply_password(struct acl *acl, bool is_rollback) {
    if (is_rollback) {
        if (acl->default_before == NULL) return;
        user_take(acl->default_user, acl->default_before);
        acl->default_before = NULL;
    } else {
        forget_default_before(acl);
        acl->default_before = user_create(BYTES_LITERAL("default"), acl_rules(acl));
        user_assign(acl->default_before, acl->default_user, acl_rules(acl));
        acl_set_default_password(acl);
    }
    acl_refresh_sessions(acl);
}

bool acl_apply_options(void *context, struct config_change *change) {
    struct acl *acl = context;
    if (config_change_has(change, "requirepass"))
        apply_password(acl, config_change_is_rollback(change));
    denial_log_trim(&acl->log, acl->options->log_max);
    return true;
}

/* -- rows -- */

static bool parse_user(void *out, const struct option_input *input, struct buffer *error) {
    struct acl *acl = *(struct acl **)out;
    return acl_declare(acl, input->words, input->word_count, error);
}

static bool format_user(const void *field, size_t index, struct buffer *out) {
    const struct acl *acl = *(struct acl *const *)field;
    return acl != NULL && acl_format_line(acl, index, out);
}

static const struct option_ops user_ops = {.parse = parse_user, .format_line = format_user};

static const struct option_choice fresh_choices[] = {
    {"allchannels", ACL_FRESH_ALL_CHANNELS},
    {"resetchannels", ACL_FRESH_NO_CHANNELS},
    {NULL, 0},
};

const struct option acl_option_rows[] = {
    {
        .name = "requirepass",
        .field = OPTION_STRING(struct acl_options, password),
        .live = true,
        .secret = true,
        .doc = "Password of the default user; empty lets everybody in.",
    },
    {
        .name = "user",
        .field = OPTION_SPECIAL(struct acl_options, acl),
        .ops = &user_ops,
        .multi_word = true,
        .file_only = true,
        .secret = true,
        .doc = "A user's name and rules, as ACL SETUSER takes them.",
    },
    {
        .name = "aclfile",
        .field = OPTION_STRING(struct acl_options, file),
        .doc = "File of users, read at start and by ACL LOAD; excludes `user` lines.",
    },
    {
        .name = "acl-pubsub-default",
        .field = OPTION_ENUM(struct acl_options, fresh_channels),
        .range = {.initial = ACL_FRESH_NO_CHANNELS},
        .choices = fresh_choices,
        .live = true,
        .doc = "Channels that a new user may use before rules say more.",
    },
    {
        .name = "acllog-max-len",
        .field = OPTION_UINT(struct acl_options, log_max),
        .range = {.initial = 128, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "Entries that ACL LOG keeps.",
    },
};
const uint32_t acl_option_count = ARRAY_COUNT(acl_option_rows);

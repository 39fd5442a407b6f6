#include "server/admin/admin.h"

#include "server/admin/admin_internal.h"
#include "server/base/mem.h"

struct admin *admin_create(const struct admin_hooks *hooks) {
    struct admin *admin = mem_alloc_zero(sizeof(*admin));
    admin->hooks = *hooks;
    return admin;
}

void admin_destroy(struct admin *admin) {
    mem_free(admin);
}

void *admin_settings(struct admin *admin) {
    return &admin->settings;
}

static bool is_local(const struct session *session) {
    return session->is_unix_socket || strncmp(session->peer, "127.", 4) == 0 ||
           strncmp(session->peer, "::1:", 4) == 0 || strncmp(session->peer, "[::1]", 5) == 0;
}

static bool is_permitted(int permission, const struct session *session) {
    return permission == ADMIN_ANYBODY || (permission == ADMIN_LOCAL && is_local(session));
}

bool admin_allows_debug(const struct admin *admin, const struct session *session) {
    return is_permitted(admin->settings.enable_debug_command, session);
}

bool admin_allows_module(const struct admin *admin, const struct session *session) {
    return is_permitted(admin->settings.enable_module_command, session);
}

bool admin_allows_guarded_options(const struct admin *admin, const struct session *session) {
    return is_permitted(admin->settings.enable_protected_configs, session);
}

static const struct option_choice permissions[] = {
    {"no", ADMIN_NOBODY},
    {"yes", ADMIN_ANYBODY},
    {"local", ADMIN_LOCAL},
    {NULL, 0},
};

const struct option admin_options[] = {
    {
        .name = "enable-debug-command",
        .field = OPTION_ENUM(struct admin_settings, enable_debug_command),
        .choices = permissions,
        .doc = "Who may run DEBUG: nobody, everybody, or clients of the same host.",
    },
    {
        .name = "enable-module-command",
        .field = OPTION_ENUM(struct admin_settings, enable_module_command),
        .choices = permissions,
        .doc = "Who may run MODULE: nobody, everybody, or clients of the same host.",
    },
    {
        .name = "enable-protected-configs",
        .field = OPTION_ENUM(struct admin_settings, enable_protected_configs),
        .choices = permissions,
        .doc = "Who may change guarded options with CONFIG SET: nobody, everybody, or clients of "
               "the same host.",
    },
};
const size_t admin_option_count = sizeof(admin_options) / sizeof(admin_options[0]);

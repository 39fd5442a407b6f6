#include "server/acl/acl.h"

#include "server/acl/acl_internal.h"
#include "server/base/check.h"
#include "server/base/compiler.h"
#include "server/base/mem.h"
#include "server/command/dispatch.h"

/* -- users -- */

/* Where the name is, or would be. */
static uint32_t place_of(const struct acl *acl, struct bytes name, bool *out_is_there) {
    uint32_t low = 0;
    uint32_t high = acl->user_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const struct acl_user *user = acl->users[middle];
        int order = bytes_compare(bytes_of(user->name, user->name_len), name);
        if (order == 0) {
            *out_is_there = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *out_is_there = false;
    return low;
}

struct acl_user *acl_find(const struct acl *acl, struct bytes name) {
    bool is_there = false;
    uint32_t place = place_of(acl, name, &is_there);
    return is_there ? acl->users[place] : NULL;
}

bool acl_user_exists(const struct acl *acl, struct bytes name) {
    return acl_find(acl, name) != NULL;
}

const struct rule_set *acl_rules(struct acl *acl) {
    acl->rules.fresh_has_all_channels = acl->options->fresh_channels == ACL_FRESH_ALL_CHANNELS;
    return &acl->rules;
}

void acl_add_take(struct acl *acl, struct acl_user *user) {
    bool is_there = false;
    uint32_t place = place_of(acl, bytes_of(user->name, user->name_len), &is_there);
    acl->users = mem_realloc(acl->users, (acl->user_count + 1) * sizeof(struct acl_user *));
    memmove(acl->users + place + 1, acl->users + place,
            (acl->user_count - place) * sizeof(struct acl_user *));
    acl->users[place] = user;
    acl->user_count++;
}

/* -- life -- */

struct acl_user *acl_create_default(struct acl *acl) {
    const struct bytes rules[] = {BYTES_LITERAL("on"), BYTES_LITERAL("nopass"), BYTES_LITERAL("~*"),
                                  BYTES_LITERAL("&*"), BYTES_LITERAL("+@all")};
    struct acl_user *user = user_create(BYTES_LITERAL("default"), acl_rules(acl));
    struct buffer error = {0};
    bool is_fine = user_apply(user, acl_rules(acl), rules, ARRAY_COUNT(rules), true, &error);
    ASSERT(is_fine);
    buffer_deinit(&error);
    return user;
}

struct acl *acl_create(struct acl_options *options, const struct command_table *commands) {
    struct acl *acl = mem_alloc_zero(sizeof(*acl));
    acl->options = options;
    acl->rules.commands = commands;
    options->acl = acl;
    denial_log_init(&acl->log);
    acl->default_user = acl_create_default(acl);
    acl_add_take(acl, acl->default_user);
    return acl;
}

void acl_destroy(struct acl *acl) {
    if (acl == NULL) return;
    for (uint32_t i = 0; i < acl->user_count; i++)
        user_destroy(acl->users[i]);
    mem_free(acl->users);
    user_destroy(acl->default_before);
    text_list_clear(&acl->declared);
    denial_log_deinit(&acl->log);
    acl->options->acl = NULL;
    mem_free(acl);
}

void acl_set_hooks(struct acl *acl, const struct acl_hooks *hooks) {
    acl->hooks = *hooks;
}

/* -- sessions -- */

static bool must_authenticate(const struct acl *acl) {
    return !acl->default_user->needs_no_password || !acl->default_user->is_on;
}

static uint8_t access_of(const struct acl *acl, const struct session *session) {
    if (session->user == NULL) return SESSION_ACCESS_ALL;
    if (!session->is_authenticated && must_authenticate(acl)) return SESSION_ACCESS_NONE;
    return session->user->may_do_everything ? SESSION_ACCESS_ALL : SESSION_ACCESS_LIMITED;
}

void acl_session_begin(const struct acl *acl, struct session *session) {
    session->user = acl->default_user;
    session->is_authenticated = !must_authenticate(acl);
    session->access = access_of(acl, session);
}

struct bytes acl_session_user_name(const struct session *session) {
    if (session->user == NULL) return BYTES_LITERAL("(superuser)");
    return bytes_of(session->user->name, session->user->name_len);
}

bool acl_default_has_no_password(const struct acl *acl) {
    return acl->default_user->needs_no_password;
}

bool acl_authenticate(struct acl *acl, struct command_context *context, struct bytes user,
                      struct bytes password) {
    const struct acl_user *found = acl_find(acl, user);
    // A name that nobody has costs a comparison, too.
    bool is_right = user_has_password(found != NULL ? found : acl->default_user, password);
    struct session *session = context->session;
    if (found == NULL || !found->is_on || !(is_right || found->needs_no_password)) {
        denial_log_add(acl, session, DENIAL_AUTH,
                       context->in_transaction ? ACCESS_IN_MULTI : ACCESS_AT_TOP, context->argv[0],
                       user);
        return false;
    }
    session->user = found;
    session->is_authenticated = true;
    session->access = access_of(acl, session);
    return true;
}

/* -- what dispatch asks -- */

enum access_verdict acl_may_run(struct acl *acl, struct session *session,
                                const struct access_request *request) {
    if (session->user == NULL) return ACCESS_GRANTED;
    if (session->access == SESSION_ACCESS_NONE) return ACCESS_DENIED_COMMAND;
    uint32_t argument = 0;
    enum access_verdict verdict = user_check(session->user, request, &argument);
    if (verdict == ACCESS_GRANTED || request->is_question) return verdict;
    char name[96];
    struct bytes object = request->argv[argument];
    enum denial_reason reason = verdict == ACCESS_DENIED_KEY ? DENIAL_KEY : DENIAL_CHANNEL;
    if (verdict == ACCESS_DENIED_COMMAND) {
        reason = DENIAL_COMMAND;
        object = bytes_of(name, command_full_name(request->row, name, sizeof(name)));
    }
    denial_log_add(acl, session, reason, request->place, object, acl_session_user_name(session));
    return verdict;
}

bool acl_may_read_all_keys(const struct session *session) {
    const struct acl_user *user = session->user;
    if (user == NULL || selector_reads_all_keys(&user->root)) return true;
    for (uint32_t i = 0; i < user->selector_count; i++) {
        if (selector_reads_all_keys(&user->selectors[i])) return true;
    }
    return false;
}

/* -- changes -- */

struct session_walk {
    struct acl *acl;
    const struct acl_user *user;
    const struct session *me;
};

static void each_session(struct acl *acl, bool (*fn)(void *arg, struct session *session),
                         void *arg) {
    if (acl->hooks.each != NULL) acl->hooks.each(acl->hooks.network, fn, arg);
}

/* One that is to be closed runs nothing any more. */
static bool refresh_one(void *arg, struct session *session) {
    bool is_ending = session->close_now || session->close_after_reply;
    session->access = is_ending ? SESSION_ACCESS_NONE : access_of(arg, session);
    return true;
}

void acl_refresh_sessions(struct acl *acl) {
    each_session(acl, refresh_one, acl);
    if (acl->hooks.dispatcher != NULL) dispatcher_access_changed(acl->hooks.dispatcher);
}

/* The user may go before the session does. */
static bool close_one(void *arg, struct session *session) {
    const struct session_walk *walk = arg;
    if (session->user != walk->user) return true;
    session->user = walk->acl->default_user;
    session->is_authenticated = false;
    walk->acl->hooks.kill(walk->acl->hooks.network, session, walk->me);
    return true;
}

void acl_close_sessions(struct acl *acl, const struct acl_user *user, const struct session *me) {
    struct session_walk walk = {acl, user, me};
    each_session(acl, close_one, &walk);
}

void acl_delete(struct acl *acl, struct acl_user *user, const struct session *me) {
    acl_close_sessions(acl, user, me);
    bool is_there = false;
    uint32_t place = place_of(acl, bytes_of(user->name, user->name_len), &is_there);
    acl->user_count--;
    memmove(acl->users + place, acl->users + place + 1,
            (acl->user_count - place) * sizeof(struct acl_user *));
    user_destroy(user);
}

struct listening {
    const struct acl_user *user;
    bool is_pattern;
};

static bool may_hear(void *arg, struct bytes name) {
    const struct listening *listening = arg;
    return user_allows_channel(listening->user, name, listening->is_pattern);
}

static bool close_if_deaf(void *arg, struct session *session) {
    const struct session_walk *walk = arg;
    const struct acl_hooks *hooks = &walk->acl->hooks;
    if (session->user != walk->user || session->subscriptions == NULL) return true;
    for (unsigned kind = 0; kind < 3; kind++) {
        struct listening listening = {session->user, kind == 1};
        if (hooks->each_subscription(hooks->pubsub, session, kind, may_hear, &listening)) continue;
        hooks->kill(hooks->network, session, walk->me);
        return true;
    }
    return true;
}

void acl_change_take(struct acl *acl, struct acl_user *user, struct acl_user *fresh,
                     const struct session *me) {
    user_take(user, fresh);
    struct session_walk walk = {acl, user, me};
    each_session(acl, close_if_deaf, &walk);
}

/* -- figures -- */

void acl_info_stats(void *state, struct buffer *out) {
    static const char *const names[] = {"auth", "cmd", "key", "channel"};
    const struct acl *acl = state;
    for (int i = 0; i < DENIAL_REASONS; i++)
        buffer_append_format(out, "acl_access_denied_%s:%llu\r\n", names[i],
                             (unsigned long long)atomic_load(&acl->log.totals[i]));
}

void acl_reset_stats(struct acl *acl) {
    for (int i = 0; i < DENIAL_REASONS; i++)
        atomic_store(&acl->log.totals[i], 0);
}

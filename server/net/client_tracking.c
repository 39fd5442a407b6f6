/* CLIENT TRACKING and what goes with it; the work is done in command/tracking.h. */
#include "server/base/mem.h"
#include "server/command/tracking.h"
#include "server/net/connection_internal.h"
#include "server/net/network.h"

/* The words of CLIENT TRACKING ON|OFF, read. */
struct tracking_request {
    bool is_on;
    struct tracking_mode mode;
    struct bytes *prefixes; /* Borrowed texts, owned array. */
    uint32_t prefix_count;
};

/* Who is redirected to has to be there: that needs everybody parked. */
enum command_class client_tracking_classify(const struct bytes *argv, uint32_t argc) {
    for (uint32_t i = 3; i < argc; i++) {
        if (bytes_equal_text_nocase(argv[i], "REDIRECT")) return COMMAND_CLASS_EXCLUSIVE;
    }
    return COMMAND_CLASS_CLIENT;
}

static bool read_redirect(struct command_context *context, uint32_t argument, uint64_t *out) {
    int64_t id = 0;
    if (*out != 0) {
        reply_error(context->reply, "ERR A client can only redirect to a single other client");
        return false;
    }
    if (!context_integer(context, argument, &id, NULL)) return false;
    if (id <= 0 || network_find(context->modules->network, (uint64_t)id) == NULL) {
        reply_error(context->reply, "ERR The client ID you want redirect to does not exist");
        return false;
    }
    *out = (uint64_t)id;
    return true;
}

static bool read_options(struct command_context *context, struct tracking_request *request) {
    struct tracking_mode *mode = &request->mode;
    for (uint32_t i = 3; i < context->argc; i++) {
        bool has_more = i + 1 < context->argc;
        if (context_argument_is(context, i, "REDIRECT") && has_more) {
            if (!read_redirect(context, ++i, &mode->redirect)) return false;
        } else if (context_argument_is(context, i, "BCAST")) {
            mode->is_broadcast = true;
        } else if (context_argument_is(context, i, "OPTIN")) {
            mode->is_opt_in = true;
        } else if (context_argument_is(context, i, "OPTOUT")) {
            mode->is_opt_out = true;
        } else if (context_argument_is(context, i, "NOLOOP")) {
            mode->is_no_loop = true;
        } else if (context_argument_is(context, i, "PREFIX") && has_more) {
            request->prefixes[request->prefix_count++] = context->argv[++i];
        } else {
            reply_syntax_error(context->reply);
            return false;
        }
    }
    if (context_argument_is(context, 2, "ON")) {
        request->is_on = true;
    } else if (!context_argument_is(context, 2, "OFF")) {
        reply_syntax_error(context->reply);
        return false;
    }
    return true;
}

/* What goes together, and with what is on already. */
static const char *find_conflict(const struct session_tracking *own,
                                 const struct tracking_request *request) {
    const struct tracking_mode *mode = &request->mode;
    if (!mode->is_broadcast && request->prefix_count > 0)
        return "ERR PREFIX option requires BCAST mode to be enabled";
    if (own != NULL && own->mode.is_broadcast != mode->is_broadcast)
        return "ERR You can't switch BCAST mode on/off before disabling tracking for this client, "
               "and then re-enabling it with a different mode.";
    if (mode->is_broadcast && (mode->is_opt_in || mode->is_opt_out))
        return "ERR OPTIN and OPTOUT are not compatible with BCAST";
    if (mode->is_opt_in && mode->is_opt_out)
        return "ERR You can't specify both OPTIN mode and OPTOUT mode";
    if (own != NULL &&
        ((mode->is_opt_in && own->mode.is_opt_out) || (mode->is_opt_out && own->mode.is_opt_in)))
        return "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, "
               "and then re-enabling it with a different mode.";
    return NULL;
}

static void reply_overlap(struct reply *reply, struct bytes prefix, const char *which,
                          struct bytes other) {
    char a[256];
    char b[256];
    reply_error_format(reply,
                       "ERR Prefix '%s' overlaps with %s prefix '%s'. Prefixes for a single client "
                       "must not overlap.",
                       bytes_to_text(prefix, a, sizeof(a)), which,
                       bytes_to_text(other, b, sizeof(b)));
}

static bool prefixes_fit(struct command_context *context, const struct tracking_request *request) {
    const struct session_tracking *own = context->session->tracking;
    for (uint32_t i = 0; i < request->prefix_count; i++) {
        for (uint32_t k = 0; own != NULL && k < own->prefix_count; k++) {
            if (!tracking_overlaps(request->prefixes[i], own->prefixes[k])) continue;
            reply_overlap(context->reply, request->prefixes[i], "an existing", own->prefixes[k]);
            return false;
        }
        for (uint32_t k = i + 1; k < request->prefix_count; k++) {
            if (!tracking_overlaps(request->prefixes[i], request->prefixes[k])) continue;
            reply_overlap(context->reply, request->prefixes[i], "another provided",
                          request->prefixes[k]);
            return false;
        }
    }
    return true;
}

void client_tracking(struct command_context *context) {
    struct tracking_request request = {.prefixes =
                                           mem_alloc(context->argc * sizeof(*request.prefixes))};
    struct dispatcher *dispatcher = context->modules->dispatcher;
    if (read_options(context, &request)) {
        const char *conflict =
            request.is_on ? find_conflict(context->session->tracking, &request) : NULL;
        if (conflict != NULL) {
            reply_error(context->reply, conflict);
        } else if (!request.is_on) {
            tracking_stop(dispatcher, context->session);
            reply_ok(context->reply);
        } else if (prefixes_fit(context, &request)) {
            tracking_start(dispatcher, context->session, &request.mode, request.prefixes,
                           request.prefix_count);
            reply_ok(context->reply);
        }
    }
    mem_free(request.prefixes);
}

void client_caching(struct command_context *context) {
    struct session_tracking *own = context->session->tracking;
    bool is_yes = context_argument_is(context, 2, "YES");
    if (own == NULL || (!own->mode.is_opt_in && !own->mode.is_opt_out)) {
        reply_error(context->reply, "ERR CLIENT CACHING can be called only when the client is in "
                                    "tracking mode with OPTIN or OPTOUT mode enabled");
    } else if (!is_yes && !context_argument_is(context, 2, "NO")) {
        reply_syntax_error(context->reply);
    } else if (is_yes && !own->mode.is_opt_in) {
        reply_error(context->reply, "ERR CLIENT CACHING YES is only valid when tracking is enabled "
                                    "in OPTIN mode.");
    } else if (!is_yes && !own->mode.is_opt_out) {
        reply_error(context->reply, "ERR CLIENT CACHING NO is only valid when tracking is enabled "
                                    "in OPTOUT mode.");
    } else {
        own->caching = is_yes ? TRACKING_CACHING_YES : TRACKING_CACHING_NO;
        own->keeps_caching = true;
        reply_ok(context->reply);
    }
}

void client_getredir(struct command_context *context) {
    const struct session_tracking *own = context->session->tracking;
    reply_integer(context->reply, own == NULL ? -1 : (int64_t)own->mode.redirect);
}

void client_trackinginfo(struct command_context *context) {
    const struct session_tracking *own = context->session->tracking;
    const struct {
        const char *name;
        bool is_set;
    } flags[] = {
        {"off", own == NULL},
        {"on", own != NULL},
        {"bcast", own != NULL && own->mode.is_broadcast},
        {"optin", own != NULL && own->mode.is_opt_in},
        {"caching-yes", own != NULL && own->caching == TRACKING_CACHING_YES},
        {"optout", own != NULL && own->mode.is_opt_out},
        {"caching-no", own != NULL && own->caching == TRACKING_CACHING_NO},
        {"noloop", own != NULL && own->mode.is_no_loop},
        {"broken_redirect", own != NULL && own->is_broken},
    };
    struct reply *reply = context->reply;
    uint32_t count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++)
        count += flags[i].is_set;
    reply_map(reply, 3);
    reply_bulk_text(reply, "flags");
    reply_set(reply, count);
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++) {
        if (flags[i].is_set) reply_bulk_text(reply, flags[i].name);
    }
    reply_bulk_text(reply, "redirect");
    client_getredir(context);
    reply_bulk_text(reply, "prefixes");
    uint32_t prefix_count = own == NULL ? 0 : own->prefix_count;
    reply_array(reply, prefix_count);
    for (uint32_t i = 0; i < prefix_count; i++)
        reply_bulk(reply, own->prefixes[i]);
}

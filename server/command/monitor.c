#include "server/command/monitor.h"

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/command/command_internal.h"
#include "server/command/secrets.h"

void monitor_add(struct dispatcher *dispatcher, struct session *session) {
    if (session->is_monitor) return;
    session->is_monitor = true;
    pthread_mutex_lock(&dispatcher->monitors_lock);
    session_ids_add(&dispatcher->monitors, session->id);
    atomic_fetch_add(&dispatcher->monitor_count, 1);
    pthread_mutex_unlock(&dispatcher->monitors_lock);
}

void monitor_forget(struct dispatcher *dispatcher, struct session *session) {
    if (!session->is_monitor) return;
    session->is_monitor = false;
    pthread_mutex_lock(&dispatcher->monitors_lock);
    session_ids_remove(&dispatcher->monitors, session->id);
    atomic_fetch_sub(&dispatcher->monitor_count, 1);
    pthread_mutex_unlock(&dispatcher->monitors_lock);
}

/* A word in quotes, what can't be printed escaped. */
static void append_quoted(struct buffer *out, struct bytes word) {
    static const char named[] = "\n\r\t\a\b\"\\";
    static const char letters[] = "nrtab\"\\";
    buffer_append_text(out, " \"");
    for (size_t i = 0; i < word.len; i++) {
        uint8_t byte = word.data[i];
        const char *found = byte == '\0' ? NULL : strchr(named, byte);
        if (found != NULL) {
            buffer_append_u8(out, '\\');
            buffer_append_u8(out, (uint8_t)letters[found - named]);
        } else if (byte < 32 || byte > 126) {
            buffer_append_format(out, "\\x%02x", byte);
        } else {
            buffer_append_u8(out, byte);
        }
    }
    buffer_append_u8(out, '"');
}

/* A line on its way to one session. */
struct shown {
    struct buffer line;
};

static void show(struct session *session, void *arg) {
    struct shown *shown = arg;
    if (session != NULL && session->is_monitor) {
        struct reply *reply = &session->reply;
        bool was_muted = reply->is_muted;
        reply->is_muted = false;
        reply_raw(reply, buffer_view(&shown->line));
        reply->is_muted = was_muted;
    }
    buffer_deinit(&shown->line);
    mem_free(shown);
}

void monitor_feed(struct dispatch_worker *worker, const struct command_context *context) {
    if ((context->command->flags & (COMMAND_SKIP_MONITOR | COMMAND_ADMIN)) == 0)
        monitor_show(worker, context);
}

void monitor_show(struct dispatch_worker *worker, const struct command_context *context) {
    struct dispatcher *dispatcher = worker->dispatcher;
    const struct session *session = context->session;
    struct buffer line = {0};
    int64_t now_us = (int64_t)clock_wall_us();
    buffer_append_format(&line, "+%lld.%06lld [%u %s%s]", (long long)(now_us / 1000000),
                         (long long)(now_us % 1000000), session->db,
                         session->is_unix_socket ? "unix:" : "",
                         context->in_script ? "lua" : session->peer);
    for (uint32_t i = 0; i < context->argc; i++) {
        bool is_secret = command_word_is_secret(dispatcher->modules->config, context->command,
                                                context->argv, context->argc, i);
        append_quoted(&line, is_secret ? BYTES_LITERAL("(redacted)") : context->argv[i]);
    }
    buffer_append_text(&line, "\r\n");
    pthread_mutex_lock(&dispatcher->monitors_lock);
    for (uint32_t i = 0; i < dispatcher->monitors.count; i++) {
        struct shown *shown = mem_alloc_zero(sizeof(*shown));
        buffer_append_bytes(&shown->line, buffer_view(&line));
        dispatcher->hooks.post(dispatcher->modules->network, dispatcher->monitors.items[i], show,
                               shown);
    }
    pthread_mutex_unlock(&dispatcher->monitors_lock);
    buffer_deinit(&line);
}

#include "server/command/scripted.h"

#include "server/command/command_internal.h"

void scripted_begin(struct scripted *scripted, struct command_context *outer,
                    const struct script_rights *rights) {
    *scripted = (struct scripted){.outer = outer, .rights = *rights, .targets = JOURNAL_FOR_ALL};
    session_init(&scripted->session, 0, &scripted->out);
    scripted->session.db = outer->session->db;
    scripted->session.is_authenticated = true;
    scripted->session.user = outer->session->user;
    scripted->session.access = outer->session->access;
    scripted->session.is_readonly = outer->session->is_readonly;
    scripted->session.is_no_touch = outer->session->is_no_touch;
    strcpy(scripted->session.peer, "?:0"); // So the slow log shows it.
    struct dispatch_worker *worker = outer->worker;
    const struct command_entry *entry =
        command_table_entry(outer->modules->commands, outer->command);
    if (dispatch_add_keys(worker, entry, outer->argv, outer->argc, 0) > 0) {
        scripted->has_slot = true;
        scripted->slot = worker->keys[0].slot;
    }
    if (atomic_load_explicit(&worker->dispatcher->monitor_count, memory_order_relaxed) > 0)
        monitor_show(worker, outer);
}

void scripted_end(struct scripted *scripted) {
    session_deinit(&scripted->session);
    buffer_deinit(&scripted->out);
}

static bool has_word(const struct buffer *reply, const char *word) {
    return memmem(reply->data, reply->len, word, strlen(word)) != NULL;
}

/* A cluster's say: the keys must be this node's, and those of one slot. */
static const char *refuse_keys(struct scripted *scripted, struct command_context *context,
                               uint32_t count) {
    struct dispatch_worker *worker = context->worker;
    struct dispatcher *dispatcher = worker->dispatcher;
    const struct key *keys = worker->keys;
    if (dispatcher->hooks.redirect(context->modules->cluster, context, context->command->flags,
                                   keys, count)) {
        bool is_down = has_word(&scripted->out, "-CLUSTERDOWN The cluster is down");
        bool may_read = is_down && has_word(&scripted->out, "only accepts read");
        buffer_clear(&scripted->out);
        if (may_read)
            return "ERR Script attempted to execute a write command while the cluster is down and "
                   "readonly";
        return is_down ? "ERR Script attempted to execute a command while the cluster is down"
                       : "ERR Script attempted to access a non local key in a cluster node";
    }
    if (!scripted->has_slot) {
        scripted->has_slot = true;
        scripted->slot = keys[0].slot;
    }
    if (scripted->rights.keeps_to_one_slot && scripted->slot != keys[0].slot)
        return "ERR Script attempted to access keys that do not hash to the same slot";
    return NULL;
}

static const char *refuse_access(enum access_verdict verdict) {
    static const char *const texts[] = {
        [ACCESS_GRANTED] = NULL,
        [ACCESS_DENIED_COMMAND] =
            "ERR The user executing the script can't run this command or subcommand",
        [ACCESS_DENIED_KEY] = "ERR The user executing the script can't access at least one of the "
                              "keys mentioned in the command arguments",
        [ACCESS_DENIED_CHANNEL] = "ERR The user executing the script can't publish to the channel "
                                  "mentioned in the command",
    };
    return texts[verdict];
}

/* What the rules say. The client that sent the script is whom the log of denials shows. */
static enum access_verdict ask_access(const struct scripted *scripted,
                                      const struct command_entry *entry, const struct bytes *argv,
                                      uint32_t argc, bool is_question) {
    const struct command_context *outer = scripted->outer;
    return access_check(outer->worker->dispatcher, outer->session, entry, argv, argc,
                        ACCESS_IN_SCRIPT, is_question);
}

bool scripted_may_call(const struct scripted *scripted, const struct bytes *argv, uint32_t argc,
                       bool *out_may) {
    const struct command_entry *container = NULL;
    const struct command_entry *entry =
        command_table_resolve(scripted->outer->modules->commands, argv, argc, &container);
    if (entry == NULL) return false;
    *out_may = ask_access(scripted, entry, argv, argc, true) == ACCESS_GRANTED;
    return true;
}

/* NULL: the command may run. */
static const char *refusal(struct scripted *scripted, struct command_context *context,
                           const struct command_entry *entry) {
    struct dispatch_worker *worker = context->worker;
    struct dispatcher *dispatcher = worker->dispatcher;
    const struct command *row = entry->row;
    uint32_t admission = dispatcher_admission(dispatcher);
    bool is_write = (row->flags & COMMAND_WRITE) != 0;
    if ((row->flags & COMMAND_NO_SCRIPT) != 0)
        return "ERR This Redis command is not allowed from script";
    const char *denied =
        refuse_access(ask_access(scripted, entry, context->argv, context->argc, false));
    if (UNLIKELY(denied != NULL)) return denied;
    if ((admission & ADMISSION_STALE) != 0 && (row->flags & COMMAND_STALE) == 0)
        return "ERR Can not execute the command on a stale replica";
    if (is_write && scripted->rights.is_read_only)
        return "ERR Write commands are not allowed from read-only scripts.";
    if (is_write && !scripted->has_written) {
        if ((admission & ADMISSION_READ_ONLY) != 0)
            return "READONLY You can't write against a read only replica.";
        if ((admission & (ADMISSION_DISK_ERROR | ADMISSION_LOG_ERROR)) != 0)
            return dispatch_disk_error(dispatcher);
        if ((admission & ADMISSION_FEW_REPLICAS) != 0)
            return "NOREPLICAS Not enough good replicas to write.";
    }
    if ((row->flags & COMMAND_DENY_OOM) != 0 && (admission & ADMISSION_MEMORY) != 0 &&
        worker->is_out_of_memory && !scripted->rights.ignores_memory && !scripted->has_written)
        return "OOM command not allowed when used memory > 'maxmemory'.";
    if ((admission & ADMISSION_CLUSTER) == 0) return NULL;
    uint32_t count = dispatch_add_keys(worker, entry, context->argv, context->argc, 0);
    return count == 0 ? NULL : refuse_keys(scripted, context, count);
}

const char *scripted_call(struct scripted *scripted, const struct bytes *argv, uint32_t argc) {
    struct command_context *outer = scripted->outer;
    struct dispatch_worker *worker = outer->worker;
    buffer_clear(&scripted->out);
    const struct command_entry *container = NULL;
    const struct command_entry *entry =
        command_table_resolve(worker->dispatcher->modules->commands, argv, argc, &container);
    if (entry == NULL) return "ERR Unknown Redis command called from script";
    if (!command_arity_fits(entry->row, argv, argc))
        return "ERR Wrong number of args calling Redis command from script";
    struct command_context context;
    dispatch_inner_init(&context, outer, &scripted->session, entry, argv, argc);
    context.in_script = true;
    const char *refused = refusal(scripted, &context, entry);
    if (refused != NULL) {
        worker->command_stats[entry->id].rejected++;
        return refused;
    }
    if ((entry->row->flags & COMMAND_WRITE) != 0) scripted->has_written = true;
    uint32_t effects_before = context.unit->count;
    dispatch_inner(&context, entry);
    if (UNLIKELY(scripted->targets != JOURNAL_FOR_ALL))
        journal_unit_restrict(context.unit, effects_before, scripted->targets);
    return NULL;
}

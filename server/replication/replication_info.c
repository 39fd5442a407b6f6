/* What INFO and ROLE tell about replication. */
#include "server/base/clock.h"
#include "server/replication/replication_internal.h"

static void field_i64(struct buffer *out, const char *name, int64_t value) {
    buffer_append_format(out, "%s:%lld\r\n", name, (long long)value);
}

static void append_primary(struct replication *replication, struct buffer *out) {
    const struct primary_link *primary = &replication->primary;
    const struct replication_options *options = replication->options;
    int state = atomic_load(&primary->state);
    bool is_linked = state == LINK_CONNECTED;
    bool is_receiving = state == LINK_RECEIVING || state == LINK_LOADING;
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t heard_ms = atomic_load(&primary->heard_ms);
    uint64_t lost_ms = atomic_load(&primary->lost_ms);
    int64_t offset = (int64_t)journal_offset(replication->journal);
    buffer_append_format(out, "master_host:%s\r\nmaster_port:%u\r\nmaster_link_status:%s\r\n",
                         replication->target.host, replication->target.port,
                         is_linked ? "up" : "down");
    field_i64(out, "master_last_io_seconds_ago",
              is_linked ? (int64_t)((now_ms - heard_ms) / SECOND_MS) : -1);
    field_i64(out, "master_sync_in_progress", is_receiving);
    field_i64(out, "slave_read_repl_offset", offset);
    field_i64(out, "slave_repl_offset", offset);
    if (is_receiving) {
        int64_t total = primary->total_bytes == 0 ? -1 : (int64_t)primary->total_bytes;
        int64_t got = (int64_t)primary->received_bytes;
        field_i64(out, "master_sync_total_bytes", total);
        field_i64(out, "master_sync_read_bytes", got);
        field_i64(out, "master_sync_left_bytes", total < 0 ? -1 : total - got);
        buffer_append_format(out, "master_sync_perc:%.2f\r\n",
                             total <= 0 ? 0.0 : (double)got * 100 / (double)total);
        field_i64(out, "master_sync_last_io_seconds_ago",
                  (int64_t)((now_ms - primary->progress_ms) / SECOND_MS));
    }
    if (!is_linked)
        field_i64(out, "master_link_down_since_seconds",
                  lost_ms == 0 ? -1 : (int64_t)((now_ms - lost_ms) / SECOND_MS));
    field_i64(out, "slave_priority", (int64_t)options->priority);
    field_i64(out, "slave_read_only", options->is_read_only);
    field_i64(out, "replica_announced", options->is_announced);
}

static void append_replicas(struct replication *replication, struct buffer *out) {
    uint64_t now_ms = clock_monotonic_ms();
    const struct replication_options *options = replication->options;
    field_i64(out, "connected_slaves", replicas_count(replication));
    if (options->min_replicas > 0 && options->min_replicas_max_lag_s > 0)
        field_i64(out, "min_slaves_good_slaves", replicas_count_good(replication));
    unsigned index = 0;
    pthread_mutex_lock(&replication->lock);
    for (const struct replica *replica = replication->replicas; replica != NULL;
         replica = replica->next) {
        if (replica->state == REPLICA_GREETING || replica->state == REPLICA_DROPPED) continue;
        bool is_online = replica->state == REPLICA_ONLINE;
        buffer_append_format(
            out, "slave%u:ip=%s,port=%u,state=%s,offset=%llu,lag=%llu\r\n", index++,
            replica->announced_ip[0] != '\0' ? replica->announced_ip : replica->ip, replica->port,
            replica_state_text(replica), (unsigned long long)replica->ack_offset,
            is_online ? (unsigned long long)((now_ms - replica->ack_ms) / SECOND_MS) : 0ULL);
    }
    pthread_mutex_unlock(&replication->lock);
}

void replication_info(void *state, struct buffer *out) {
    struct replication *replication = state;
    static const char *const failover_texts[] = {"no-failover", "waiting-for-sync",
                                                 "failover-in-progress"};
    bool is_replica = atomic_load(&replication->is_replica);
    struct journal_backlog backlog;
    journal_backlog_read(replication->journal, &backlog);
    buffer_append_format(out, "role:%s\r\n", is_replica ? "slave" : "master");
    if (is_replica) append_primary(replication, out);
    append_replicas(replication, out);
    buffer_append_format(out,
                         "master_failover_state:%s\r\nmaster_replid:%s\r\nmaster_replid2:%s\r\n",
                         failover_texts[atomic_load(&replication->failover.state)], replication->id,
                         replication->second_id);
    field_i64(out, "master_repl_offset", (int64_t)journal_offset(replication->journal));
    field_i64(out, "second_repl_offset", replication->second_offset);
    field_i64(out, "repl_backlog_active", backlog.is_open);
    field_i64(out, "repl_backlog_size", (int64_t)replication->options->backlog_size);
    field_i64(out, "repl_backlog_first_byte_offset", (int64_t)backlog.first_byte_offset);
    field_i64(out, "repl_backlog_histlen", (int64_t)backlog.length);
}

void replication_info_stats(void *state, struct buffer *out) {
    struct replication *replication = state;
    struct replication_stats *stats = &replication->stats;
    field_i64(out, "total_net_repl_input_bytes", (int64_t)atomic_load(&stats->input_bytes));
    field_i64(out, "total_net_repl_output_bytes", (int64_t)atomic_load(&stats->output_bytes));
    field_i64(out, "sync_full", (int64_t)atomic_load(&stats->sync_full));
    field_i64(out, "sync_partial_ok", (int64_t)atomic_load(&stats->sync_partial_ok));
    field_i64(out, "sync_partial_err", (int64_t)atomic_load(&stats->sync_partial_err));
}

void replication_reset_stats(struct replication *replication) {
    struct replication_stats *stats = &replication->stats;
    atomic_store(&stats->input_bytes, 0);
    atomic_store(&stats->output_bytes, 0);
    atomic_store(&stats->sync_full, 0);
    atomic_store(&stats->sync_partial_ok, 0);
    atomic_store(&stats->sync_partial_err, 0);
}

void replication_info_memory(void *state, struct buffer *out) {
    struct replication *replication = state;
    struct journal_backlog backlog;
    journal_backlog_read(replication->journal, &backlog);
    field_i64(out, "mem_replication_backlog", (int64_t)backlog.memory_bytes);
    field_i64(out, "mem_total_replication_buffers", (int64_t)backlog.memory_bytes);
    field_i64(out, "mem_clients_slaves", (int64_t)replication_link_bytes(replication));
}

uint64_t replication_link_bytes(struct replication *replication) {
    return replicas_count(replication) * sizeof(struct replica);
}

/* -- ROLE -- */

static const char *link_text(int state) {
    switch (state) {
    case LINK_NONE:
        return "none";
    case LINK_DUE:
        return "connect";
    case LINK_CONNECTING:
        return "connecting";
    case LINK_GREETING:
        return "handshake";
    case LINK_RECEIVING:
    case LINK_LOADING:
        return "sync";
    case LINK_CONNECTED:
        return "connected";
    default:
        return "unknown";
    }
}

void replication_command_role(struct command_context *context) {
    struct replication *replication = context->modules->replication;
    struct reply *reply = context->reply;
    int64_t offset = (int64_t)journal_offset(replication->journal);
    if (atomic_load(&replication->is_replica)) {
        int state = atomic_load(&replication->primary.state);
        reply_array(reply, 5);
        reply_bulk_text(reply, "slave");
        reply_bulk_text(reply, replication->target.host);
        reply_integer(reply, replication->target.port);
        reply_bulk_text(reply, link_text(state));
        reply_integer(reply, state == LINK_CONNECTED ? offset : -1);
        return;
    }
    reply_array(reply, 3);
    reply_bulk_text(reply, "master");
    reply_integer(reply, offset);
    size_t mark = reply_begin(reply);
    size_t count = 0;
    pthread_mutex_lock(&replication->lock);
    for (const struct replica *replica = replication->replicas; replica != NULL;
         replica = replica->next) {
        if (replica->state != REPLICA_ONLINE) continue;
        reply_array(reply, 3);
        reply_bulk_text(reply,
                        replica->announced_ip[0] != '\0' ? replica->announced_ip : replica->ip);
        reply_bulk_integer(reply, replica->port);
        reply_bulk_integer(reply, (int64_t)replica->ack_offset);
        count++;
    }
    pthread_mutex_unlock(&replication->lock);
    reply_end_array(reply, mark, count);
}

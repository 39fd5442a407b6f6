/* REPLICAOF, PSYNC, SYNC, REPLCONF, and the rows of all commands of this folder. */
#include <stdio.h>
#include <string.h>

#include "server/base/log.h"
#include "server/base/number.h"
#include "server/base/words.h"
#include "server/command/command_words.h"
#include "server/replication/replication_internal.h"

/* -- REPLICAOF -- */

void replication_command_replicaof(struct command_context *context) {
    struct replication *replication = context->modules->replication;
    if (context->modules->cluster != NULL) {
        reply_error(context->reply, "ERR REPLICAOF not allowed in cluster mode.");
        return;
    }
    if (atomic_load(&replication->failover.state) != FAILOVER_NONE) {
        reply_error(context->reply, "ERR REPLICAOF not allowed while failing over.");
        return;
    }
    if (context_argument_is(context, 1, "NO") && context_argument_is(context, 2, "ONE")) {
        replication_promote(replication);
        replication->options->target = replication->target;
        reply_ok(context->reply);
        return;
    }
    if (context->session->kind == SESSION_REPLICA) {
        reply_error(context->reply, "ERR Command is not valid when client is a replica.");
        return;
    }
    int64_t port = 0;
    if (!context_integer(context, 2, &port, NULL)) return;
    if (port < 0 || port > UINT16_MAX) {
        reply_error(context->reply, "ERR Invalid master port");
        return;
    }
    char host[sizeof(replication->target.host)];
    if (context->argv[1].len >= sizeof(host)) {
        reply_error(context->reply, "ERR Invalid master host");
        return;
    }
    bytes_to_text(context->argv[1], host, sizeof(host));
    if (atomic_load(&replication->is_replica) && replication->target.port == port &&
        strcmp(replication->target.host, host) == 0) {
        reply_simple(context->reply, "OK Already connected to specified master");
        return;
    }
    replication_follow(replication, host, (uint16_t)port, false);
    replication->options->target = replication->target;
    reply_ok(context->reply);
}

/* -- PSYNC -- */

/* PSYNC id offset FAILOVER: the primary asks us to take over. False: refused and answered. */
static bool take_over(struct command_context *context) {
    struct replication *replication = context->modules->replication;
    if (!context_argument_is(context, 3, "FAILOVER")) {
        reply_syntax_error(context->reply);
        return false;
    }
    log_warning("Failover request received for replid %.*s.", (int)context->argv[1].len,
                (const char *)context->argv[1].data);
    if (!atomic_load(&replication->is_replica)) {
        reply_error(context->reply, "ERR PSYNC FAILOVER can't be sent to a master.");
        return false;
    }
    if (!bytes_equal_text_nocase(context->argv[1], replication->id)) {
        reply_error(context->reply, "ERR PSYNC FAILOVER replid must match my replid.");
        return false;
    }
    replication_promote(replication);
    replication->options->target = replication->target;
    return true;
}

static const char *refusal(const struct command_context *context) {
    struct replication *replication = context->modules->replication;
    if (atomic_load(&replication->failover.state) != FAILOVER_NONE)
        return "NOMASTERLINK Can't SYNC while failing over";
    if (atomic_load(&replication->is_replica) &&
        atomic_load(&replication->primary.state) != LINK_CONNECTED)
        return "NOMASTERLINK Can't SYNC while not connected with my master";
    if (context->session->out->len > 0) return "ERR SYNC and PSYNC are invalid with pending output";
    return NULL;
}

/* The reader that continues this history from this offset, or NULL when it can't be. */
static struct journal_reader *open_history(struct replica *replica, struct bytes id,
                                           int64_t offset) {
    struct replication *replication = replica->replication;
    char name[256];
    bool is_mine = bytes_equal_text_nocase(id, replication->id);
    bool is_second = bytes_equal_text_nocase(id, replication->second_id);
    if (!is_mine && (!is_second || offset > replication->second_offset)) {
        if (id.len > 0 && id.data[0] == '?') {
            log_notice("Full resync requested by replica %s",
                       replica_name(replica, name, sizeof(name)));
        } else if (!is_second) {
            log_notice("Partial resynchronization not accepted: Replication ID mismatch (Replica "
                       "asked for '%.*s', my replication IDs are '%s' and '%s')",
                       (int)(id.len < 64 ? id.len : 64), (const char *)id.data, replication->id,
                       replication->second_id);
        } else {
            log_notice("Partial resynchronization not accepted: Requested offset for second ID was "
                       "%lld, but I can reply up to %lld",
                       (long long)offset, (long long)replication->second_offset);
        }
        return NULL;
    }
    struct journal_reader *reader =
        offset < 1 ? NULL : journal_reader_open(replication->journal, (uint64_t)offset - 1);
    if (reader == NULL) {
        log_notice("Unable to partial resync with replica %s for lack of backlog (Replica request "
                   "was: %lld).",
                   replica_name(replica, name, sizeof(name)), (long long)offset);
    }
    return reader;
}

void replication_command_psync(struct command_context *context) {
    struct replication *replication = context->modules->replication;
    struct session *session = context->session;
    bool is_sync = strcmp(context->command->name, "sync") == 0;
    if (session->kind != SESSION_NORMAL || session->is_monitor) return;
    if (!is_sync && context->argc > 4) {
        reply_syntax_error(context->reply);
        return;
    }
    if (!is_sync && context->argc == 4 && !take_over(context)) return;
    const char *text = refusal(context);
    if (text != NULL) {
        reply_error(context->reply, text);
        return;
    }
    struct replica *replica = replica_of(context);
    char name[256];
    log_notice("Replica %s asks for synchronization", replica_name(replica, name, sizeof(name)));
    replica->is_plain = is_sync;
    if (!is_sync) {
        int64_t offset = 0;
        if (!context_integer(context, 2, &offset, NULL)) return;
        struct journal_reader *reader = open_history(replica, context->argv[1], offset);
        if (reader != NULL) {
            log_notice("Partial resynchronization request from %s accepted. Sending %llu bytes of "
                       "backlog starting from offset %lld.",
                       name, (unsigned long long)journal_reader_lag(reader), (long long)offset);
            replica_serve_partial(replica, reader);
            return;
        }
        bool asked_for_more = context->argv[1].len == 0 || context->argv[1].data[0] != '?';
        if (asked_for_more) atomic_fetch_add(&replication->stats.sync_partial_err, 1);
    }
    replica_ask_full(replica);
}

/* -- REPLCONF -- */

static bool set_port(struct command_context *context, uint32_t i) {
    int64_t port = 0;
    if (!context_integer(context, i, &port, NULL)) return false;
    replica_of(context)->port = (uint16_t)port;
    return true;
}

static bool set_ip(struct command_context *context, uint32_t i) {
    struct replica *replica = replica_of(context);
    struct bytes ip = context->argv[i];
    if (ip.len >= sizeof(replica->announced_ip)) {
        reply_error_format(
            context->reply,
            "ERR REPLCONF ip-address provided by replica instance is too long: %zu bytes", ip.len);
        return false;
    }
    pthread_mutex_lock(&replica->replication->lock);
    bytes_to_text(ip, replica->announced_ip, sizeof(replica->announced_ip));
    for (char *c = replica->announced_ip; *c != '\0'; c++) {
        if (*c <= ' ' || *c == ',') *c = '_'; // It stands in INFO's lines.
    }
    pthread_mutex_unlock(&replica->replication->lock);
    return true;
}

static bool set_rdb_only(struct command_context *context, uint32_t i) {
    int64_t flag = 0;
    if (!context_integer_in(context, i, 0, 1, &flag, NULL)) return false;
    replica_of(context)->is_rdb_only = flag == 1;
    return true;
}

static bool set_filter(struct command_context *context, uint32_t i) {
    enum { FILTER_WORDS_MAX = 64 };
    struct words words = {0};
    struct replica *replica = replica_of(context);
    bool is_fine = words_split(&words, context->argv[i], FILTER_WORDS_MAX) == STATUS_OK;
    if (!is_fine) reply_error(context->reply, "ERR Missing rdb-filter-only values");
    bool wants_libraries = false;
    for (size_t k = 0; is_fine && k < words.count; k++) {
        char word[129];
        wants_libraries = bytes_equal_text_nocase(words.items[k], "functions");
        is_fine = wants_libraries;
        if (!is_fine)
            reply_error_format(context->reply, "ERR Unsupported rdb-filter-only option: %s",
                               bytes_to_text(words.items[k], word, sizeof(word)));
    }
    words_deinit(&words);
    if (!is_fine) return false;
    replica->has_filter = true;
    replica->wants_libraries = wants_libraries;
    return true;
}

static void take_acknowledgement(struct command_context *context, uint32_t i) {
    int64_t offset = 0;
    int64_t durable = 0;
    if (context->session->kind != SESSION_REPLICA || !number_parse_i64(context->argv[i], &offset))
        return;
    bool has_durable = i + 2 < context->argc && context_argument_is(context, i + 1, "fack") &&
                       number_parse_i64(context->argv[i + 2], &durable);
    replica_acknowledge(replica_find(context->session), offset < 0 ? 0 : (uint64_t)offset,
                        has_durable && durable > 0 ? (uint64_t)durable : 0);
}

void replication_command_replconf(struct command_context *context) {
    if (context->argc % 2 == 0) {
        reply_syntax_error(context->reply);
        return;
    }
    for (uint32_t i = 1; i + 1 < context->argc; i += 2) {
        if (context_argument_is(context, i, "ack")) {
            take_acknowledgement(context, i + 1);
            return;
        }
        if (context_argument_is(context, i, "getack")) {
            if (context->session->kind == SESSION_PRIMARY)
                primary_link_acknowledge(context->modules->replication);
            return;
        }
        if (context->session->kind == SESSION_PRIMARY) continue; // Words that we need not know.
        if (context_argument_is(context, i, "listening-port")) {
            if (!set_port(context, i + 1)) return;
        } else if (context_argument_is(context, i, "ip-address")) {
            if (!set_ip(context, i + 1)) return;
        } else if (context_argument_is(context, i, "capa")) {
            struct replica *replica = replica_of(context);
            if (context_argument_is(context, i + 1, "eof")) replica->has_eof = true;
            if (context_argument_is(context, i + 1, "psync2")) replica->has_psync2 = true;
        } else if (context_argument_is(context, i, "rdb-only")) {
            if (!set_rdb_only(context, i + 1)) return;
        } else if (context_argument_is(context, i, "version")) {
            continue; // Nothing depends on it: streams and snapshots are what 7.0 reads.
        } else if (context_argument_is(context, i, "rdb-filter-only")) {
            if (!set_filter(context, i + 1)) return;
        } else {
            char word[129];
            reply_error_format(context->reply, "ERR Unrecognized REPLCONF option: %s",
                               bytes_to_text(context->argv[i], word, sizeof(word)));
            return;
        }
    }
    reply_ok(context->reply);
}

/* -- rows -- */

static const struct argument host_port_arguments[] = {
    {.name = "host", .kind = ARGUMENT_STRING},
    {.name = "port", .kind = ARGUMENT_INTEGER},
    {.name = NULL},
};

static const struct argument no_one_arguments[] = {
    {.name = "no", .kind = ARGUMENT_PURE_TOKEN, .token = "NO"},
    {.name = "one", .kind = ARGUMENT_PURE_TOKEN, .token = "ONE"},
    {.name = NULL},
};

static const struct argument replicaof_choices[] = {
    {.name = "host-port", .kind = ARGUMENT_BLOCK, .children = host_port_arguments},
    {.name = "no-one", .kind = ARGUMENT_BLOCK, .children = no_one_arguments},
    {.name = NULL},
};

static const struct argument replicaof_arguments[] = {
    {.name = "args", .kind = ARGUMENT_ONE_OF, .children = replicaof_choices},
    {.name = NULL},
};

static const struct argument psync_arguments[] = {
    {.name = "replicationid", .kind = ARGUMENT_STRING},
    {.name = "offset", .kind = ARGUMENT_INTEGER},
    {.name = NULL},
};

static const struct argument wait_arguments[] = {
    {.name = "numreplicas", .kind = ARGUMENT_INTEGER},
    {.name = "timeout", .kind = ARGUMENT_INTEGER},
    {.name = NULL},
};

static const struct argument waitaof_arguments[] = {
    {.name = "numlocal", .kind = ARGUMENT_INTEGER},
    {.name = "numreplicas", .kind = ARGUMENT_INTEGER},
    {.name = "timeout", .kind = ARGUMENT_INTEGER},
    {.name = NULL},
};

static const struct argument failover_target[] = {
    {.name = "host", .kind = ARGUMENT_STRING},
    {.name = "port", .kind = ARGUMENT_INTEGER},
    {.name = "force", .kind = ARGUMENT_PURE_TOKEN, .token = "FORCE", .is_optional = true},
    {.name = NULL},
};

static const struct argument failover_arguments[] = {
    {.name = "target",
     .kind = ARGUMENT_BLOCK,
     .token = "TO",
     .is_optional = true,
     .children = failover_target},
    {.name = "abort", .kind = ARGUMENT_PURE_TOKEN, .token = "ABORT", .is_optional = true},
    {.name = "milliseconds", .kind = ARGUMENT_INTEGER, .token = "TIMEOUT", .is_optional = true},
    {.name = NULL},
};

static const char *const wait_tips[] = {"request_policy:all_shards", "response_policy:agg_min",
                                        NULL};

const struct command replication_commands[] = {
    {
        .name = "replicaof",
        .arity = 3,
        .group = GROUP_SERVER,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .handler = replication_command_replicaof,
        .since = "5.0.0",
        .summary = "Follows a primary, or stops following.",
        .complexity = "O(1)",
        .arguments = replicaof_arguments,
    },
    {
        .name = "slaveof",
        .arity = 3,
        .group = GROUP_SERVER,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .handler = replication_command_replicaof,
        .since = "1.0.0",
        .summary = "Follows a primary, or stops following.",
        .complexity = "O(1)",
        .deprecated_since = "5.0.0",
        .replaced_by = "`REPLICAOF`",
        .arguments = replicaof_arguments,
    },
    {
        .name = "role",
        .arity = 1,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_NO_SCRIPT | COMMAND_LOADING | COMMAND_STALE | COMMAND_FAST,
        .categories = CATEGORY_DANGEROUS | CATEGORY_ADMIN,
        .handler = replication_command_role,
        .since = "2.8.12",
        .summary = "Tells the role in replication, with details.",
        .complexity = "O(1)",
    },
    {
        .name = "psync",
        .arity = -3,
        .group = GROUP_SERVER,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_NO_MULTI | COMMAND_NO_SCRIPT,
        .handler = replication_command_psync,
        .since = "2.8.0",
        .summary = "Begins replication, from an offset where that is possible.",
        .arguments = psync_arguments,
    },
    {
        .name = "sync",
        .arity = 1,
        .group = GROUP_SERVER,
        .flags = COMMAND_ADMIN | COMMAND_NO_ASYNC_LOADING | COMMAND_NO_MULTI | COMMAND_NO_SCRIPT,
        .handler = replication_command_psync,
        .since = "1.0.0",
        .summary = "Begins replication with everything, the old way.",
    },
    {
        .name = "replconf",
        .arity = -1,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_NO_SCRIPT | COMMAND_LOADING | COMMAND_STALE |
                 COMMAND_ALLOW_BUSY | COMMAND_SYSTEM,
        .handler = replication_command_replconf,
        .since = "3.0.0",
        .summary = "Parameters and acknowledgements of replication.",
        .complexity = "O(1)",
    },
    {
        .name = "wait",
        .arity = 3,
        .group = GROUP_GENERIC,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_NO_SCRIPT,
        .categories = CATEGORY_CONNECTION,
        .handler = replication_command_wait,
        .since = "3.0.0",
        .summary = "Blocks until replicas have acknowledged this client's writes.",
        .complexity = "O(1)",
        .arguments = wait_arguments,
        .tips = wait_tips,
    },
    {
        .name = "waitaof",
        .arity = 4,
        .group = GROUP_GENERIC,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_BLOCKING,
        .categories = CATEGORY_CONNECTION,
        .handler = replication_command_waitaof,
        .since = "7.2.0",
        .summary = "Blocks until this client's writes are on the disk, here and at replicas.",
        .complexity = "O(1)",
        .arguments = waitaof_arguments,
        .tips = wait_tips,
    },
    {
        .name = "failover",
        .arity = -1,
        .group = GROUP_SERVER,
        .flags = COMMAND_ADMIN | COMMAND_NO_SCRIPT | COMMAND_STALE,
        .handler = replication_command_failover,
        .since = "6.2.0",
        .summary = "Hands the role of the primary over to a replica that has everything.",
        .complexity = "O(1)",
        .arguments = failover_arguments,
    },
    COMMAND_END,
};

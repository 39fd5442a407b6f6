#include <stdio.h>
#include <string.h>

#include "server/base/compiler.h"
#include "server/base/number.h"
#include "server/replication/replication.h"

/* -- replicaof -- */

static bool parse_target(void *out, const struct option_input *input, struct buffer *error) {
    struct replication_target *target = out;
    if (input->word_count == 1 && input->words[0].len == 0) return true;
    if (input->word_count != 2) {
        buffer_append_text(error, "wrong number of arguments");
        return false;
    }
    if (bytes_equal_text_nocase(input->words[0], "no") &&
        bytes_equal_text_nocase(input->words[1], "one"))
        return true;
    uint64_t port = 0;
    if (!number_parse_u64(input->words[1], &port) || port == 0 || port > UINT16_MAX) {
        buffer_append_text(error, "Invalid master port");
        return false;
    }
    if (input->words[0].len == 0 || input->words[0].len >= sizeof(target->host)) {
        buffer_append_text(error, "Invalid master host");
        return false;
    }
    bytes_to_text(input->words[0], target->host, sizeof(target->host));
    target->port = (uint16_t)port;
    return true;
}

static void format_target(const void *field, struct buffer *out) {
    const struct replication_target *target = field;
    if (target->host[0] != '\0') buffer_append_format(out, "%s %u", target->host, target->port);
}

static bool format_target_line(const void *field, size_t index, struct buffer *out) {
    const struct replication_target *target = field;
    if (index > 0 || target->host[0] == '\0') return false;
    format_target(field, out);
    return true;
}

static const struct option_ops target_ops = {
    .parse = parse_target,
    .format = format_target,
    .format_line = format_target_line,
};

static const struct option_choice diskless_load_choices[] = {
    {"disabled", DISKLESS_LOAD_DISABLED},
    {"on-empty-db", DISKLESS_LOAD_ON_EMPTY},
    {"swapdb", DISKLESS_LOAD_SWAP},
    {NULL, 0},
};

/* -- rows -- */

const struct option replication_option_rows[] = {
    {
        .name = "replicaof",
        .alias = "slaveof",
        .field = OPTION_SPECIAL(struct replication_options, target),
        .ops = &target_ops,
        .multi_word = true,
        .doc = "Host and port of the primary that this node follows.",
    },
    {
        .name = "masteruser",
        .alias = "primaryuser",
        .field = OPTION_STRING(struct replication_options, primary_user),
        .live = true,
        .doc = "User for logging in to the primary.",
    },
    {
        .name = "masterauth",
        .alias = "primaryauth",
        .field = OPTION_STRING(struct replication_options, primary_auth),
        .live = true,
        .secret = true,
        .doc = "Password for logging in to the primary.",
    },
    {
        .name = "replica-serve-stale-data",
        .alias = "slave-serve-stale-data",
        .field = OPTION_BOOL(struct replication_options, serves_stale_data),
        .range = {.initial = 1},
        .live = true,
        .doc = "A replica answers while its link is down.",
    },
    {
        .name = "replica-read-only",
        .alias = "slave-read-only",
        .field = OPTION_BOOL(struct replication_options, is_read_only),
        .range = {.initial = 1},
        .live = true,
        .doc = "A replica refuses writes.",
    },
    {
        .name = "repl-diskless-sync",
        .field = OPTION_BOOL(struct replication_options, is_diskless_sync),
        .range = {.initial = 1},
        .live = true,
        .doc = "Send snapshots straight to the links of replicas instead of through a file.",
    },
    {
        .name = "repl-diskless-sync-delay",
        .field = OPTION_SECONDS(struct replication_options, diskless_delay_s),
        .range = {.initial = 5, .min = 0, .max = INT32_MAX},
        .live = true,
        .doc = "Seconds to wait for more replicas before a snapshot is sent to links.",
    },
    {
        .name = "repl-diskless-sync-max-replicas",
        .field = OPTION_UINT(struct replication_options, diskless_max_replicas),
        .range = {.initial = 0, .min = 0, .max = INT32_MAX},
        .live = true,
        .doc = "So many waiting replicas end the delay at once; 0 none.",
    },
    {
        .name = "repl-diskless-load",
        .field = OPTION_ENUM(struct replication_options, diskless_load),
        .choices = diskless_load_choices,
        .live = true,
        .doc = "How a replica loads a snapshot: through the dump file, or from the link beside the "
               "old data.",
    },
    {
        .name = "rdb-del-sync-files",
        .field = OPTION_BOOL(struct replication_options, removes_sync_files),
        .live = true,
        .doc = "Remove dump files that replication made, where nothing else is to be on the disk.",
    },
    {
        .name = "repl-ping-replica-period",
        .alias = "repl-ping-slave-period",
        .field = OPTION_SECONDS(struct replication_options, ping_period_s),
        .range = {.initial = 10, .min = 1, .max = INT32_MAX},
        .live = true,
        .doc = "Seconds between the PINGs in the stream to replicas.",
    },
    {
        .name = "repl-timeout",
        .field = OPTION_SECONDS(struct replication_options, timeout_s),
        .range = {.initial = 60, .min = 1, .max = INT32_MAX},
        .live = true,
        .doc = "Seconds of silence that end a replication link.",
    },
    {
        .name = "repl-backlog-size",
        .field = OPTION_MEMORY(struct replication_options, backlog_size),
        .range = {.initial = 1048576, .min = 1, .max = INT64_MAX},
        .live = true,
        .doc = "Bytes of the stream that are kept for partial synchronisations, at least 16 KiB.",
    },
    {
        .name = "repl-backlog-ttl",
        .field = OPTION_SECONDS(struct replication_options, backlog_ttl_s),
        .range = {.initial = 3600, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "Seconds without replicas after which the backlog is freed; 0 never.",
    },
    {
        .name = "replica-priority",
        .alias = "slave-priority",
        .field = OPTION_UINT(struct replication_options, priority),
        .range = {.initial = 100, .min = 0, .max = INT32_MAX},
        .live = true,
        .doc = "Preference at a failover by Sentinel, lower first; 0 never.",
    },
    {
        .name = "replica-announced",
        .field = OPTION_BOOL(struct replication_options, is_announced),
        .range = {.initial = 1},
        .live = true,
        .doc = "Sentinel lists this replica.",
    },
    {
        .name = "replica-announce-ip",
        .alias = "slave-announce-ip",
        .field = OPTION_STRING(struct replication_options, announce_ip),
        .live = true,
        .doc = "Address that a replica tells its primary, instead of the one that is seen.",
    },
    {
        .name = "replica-announce-port",
        .alias = "slave-announce-port",
        .field = OPTION_UINT(struct replication_options, announce_port),
        .range = {.initial = 0, .min = 0, .max = 65535},
        .live = true,
        .doc = "Port that a replica tells its primary; 0: the one it listens on.",
    },
    {
        .name = "min-replicas-to-write",
        .alias = "min-slaves-to-write",
        .field = OPTION_UINT(struct replication_options, min_replicas),
        .range = {.initial = 0, .min = 0, .max = INT32_MAX},
        .live = true,
        .doc = "Refuse writes with fewer good replicas; 0 never.",
    },
    {
        .name = "min-replicas-max-lag",
        .alias = "min-slaves-max-lag",
        .field = OPTION_SECONDS(struct replication_options, min_replicas_max_lag_s),
        .range = {.initial = 10, .min = 0, .max = INT32_MAX},
        .live = true,
        .doc = "Seconds since its last acknowledgement within which a replica is good.",
    },
};
const uint32_t replication_option_count = ARRAY_COUNT(replication_option_rows);

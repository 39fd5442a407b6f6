#include <arpa/inet.h>
#include <string.h>

#include "clusterbus/bus.h"
#include "server/base/compiler.h"
#include "server/cluster/cluster.h"

static bool check_config_file(const char *value, struct buffer *error) {
    if (value[0] != '\0') return true;
    buffer_append_text(error, "cluster-config-file can't be empty");
    return false;
}

static bool is_word_of(const char *value, const char *extra) {
    for (const char *c = value; *c != '\0'; c++) {
        bool is_alphanumeric =
            (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        if (!is_alphanumeric && strchr(extra, *c) == NULL) return false;
    }
    return true;
}

static bool check_hostname(const char *value, struct buffer *error) {
    if (strlen(value) >= BUS_NAME_CAP) {
        buffer_append_text(error, "Hostnames must be less than 256 characters");
        return false;
    }
    if (is_word_of(value, "-.")) return true;
    buffer_append_text(error,
                       "Hostnames may only contain alphanumeric characters, hyphens or dots");
    return false;
}

static bool check_node_name(const char *value, struct buffer *error) {
    if (strlen(value) < BUS_NAME_CAP && strpbrk(value, "!#$%&()*+;<>?@[]^{|}~ ,=\"'") == NULL)
        return true;
    buffer_append_text(error, "Announced human node name contained invalid character");
    return false;
}

static bool check_address(const char *value, int family, const char *text, struct buffer *error) {
    uint8_t address[sizeof(struct in6_addr)];
    if (value[0] == '\0' || inet_pton(family, value, address) == 1) return true;
    buffer_append_text(error, text);
    return false;
}

static bool check_ipv4(const char *value, struct buffer *error) {
    return check_address(value, AF_INET, "Invalid IPv4 address", error);
}

static bool check_ipv6(const char *value, struct buffer *error) {
    return check_address(value, AF_INET6, "Invalid IPv6 address", error);
}

/* Peers copy it into a field of this size. */
static bool check_announced_ip(const char *value, struct buffer *error) {
    if (strlen(value) < BUS_IP_CAP) return true;
    buffer_append_text(error, "the address must be shorter than 46 characters");
    return false;
}

static const struct option_choice endpoint_choices[] = {
    {"ip", CLUSTER_ENDPOINT_IP},
    {"hostname", CLUSTER_ENDPOINT_HOSTNAME},
    {"unknown-endpoint", CLUSTER_ENDPOINT_UNKNOWN},
    {NULL, 0},
};

const struct option cluster_option_rows[] = {
    {
        .name = "cluster-enabled",
        .field = OPTION_BOOL(struct cluster_options, is_enabled),
        .doc = "Run as a node of a cluster.",
    },
    {
        .name = "cluster-config-file",
        .field = OPTION_STRING(struct cluster_options, config_file),
        .initial_text = "nodes.conf",
        .check = check_config_file,
        .doc = "Where the node keeps what it knows of the cluster; written by the server.",
    },
    {
        .name = "cluster-port",
        .field = OPTION_UINT(struct cluster_options, port),
        .range = {.initial = 0, .min = 0, .max = 65535},
        .doc = "Port of the bus; 0: the clients' port plus 10000.",
    },
    {
        .name = "cluster-node-timeout",
        .field = OPTION_MS(struct cluster_options, node_timeout_ms),
        .range = {.initial = 15000, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "Milliseconds of silence after which a node is suspected to have failed.",
    },
    {
        .name = "cluster-ping-interval",
        .field = OPTION_MS(struct cluster_options, ping_interval_ms),
        .range = {.initial = 0, .min = 0, .max = INT64_MAX},
        .live = true,
        .hidden = true,
        .doc = "Milliseconds after which a silent node is pinged; 0: half the node timeout.",
    },
    {
        .name = "cluster-manual-failover-timeout",
        .field = OPTION_MS(struct cluster_options, manual_failover_timeout_ms),
        .range = {.initial = 5000, .min = 1, .max = INT32_MAX},
        .live = true,
        .doc = "Milliseconds within which a manual failover must come about.",
    },
    {
        .name = "cluster-blacklist-ttl",
        .field = OPTION_SECONDS(struct cluster_options, blacklist_ttl_s),
        .range = {.initial = 60, .min = 0, .max = INT32_MAX},
        .live = true,
        .doc = "Seconds for which a forgotten node is not taken in again.",
    },
    {
        .name = "cluster-migration-barrier",
        .field = OPTION_UINT(struct cluster_options, migration_barrier),
        .range = {.initial = 1, .min = 0, .max = INT32_MAX},
        .live = true,
        .doc = "Replicas that a primary keeps before one may move to another primary.",
    },
    {
        .name = "cluster-replica-validity-factor",
        .alias = "cluster-slave-validity-factor",
        .field = OPTION_UINT(struct cluster_options, replica_validity_factor),
        .range = {.initial = 10, .min = 0, .max = INT32_MAX},
        .live = true,
        .doc = "How old a replica's data may be for a failover, in node timeouts; 0: any age.",
    },
    {
        .name = "cluster-link-sendbuf-limit",
        .field = OPTION_MEMORY(struct cluster_options, link_sendbuf_limit),
        .range = {.initial = 0, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "Bytes queued for a node after which its link is closed; 0 no limit.",
    },
    {
        .name = "cluster-require-full-coverage",
        .field = OPTION_BOOL(struct cluster_options, requires_full_coverage),
        .range = {.initial = 1},
        .live = true,
        .doc = "Serve nothing while a slot has no owner.",
    },
    {
        .name = "cluster-allow-reads-when-down",
        .field = OPTION_BOOL(struct cluster_options, allows_reads_when_down),
        .live = true,
        .doc = "Serve reads while the cluster is down.",
    },
    {
        .name = "cluster-allow-pubsubshard-when-down",
        .field = OPTION_BOOL(struct cluster_options, allows_pubsubshard_when_down),
        .range = {.initial = 1},
        .live = true,
        .doc = "Serve shard channels while the cluster is down.",
    },
    {
        .name = "cluster-allow-replica-migration",
        .field = OPTION_BOOL(struct cluster_options, allows_replica_migration),
        .range = {.initial = 1},
        .live = true,
        .doc =
            "Let replicas move to primaries that have none, and empty primaries become replicas.",
    },
    {
        .name = "cluster-replica-no-failover",
        .alias = "cluster-slave-no-failover",
        .field = OPTION_BOOL(struct cluster_options, replica_no_failover),
        .live = true,
        .doc = "This node never replaces its primary by itself.",
    },
    {
        .name = "cluster-preferred-endpoint-type",
        .field = OPTION_ENUM(struct cluster_options, preferred_endpoint),
        .choices = endpoint_choices,
        .live = true,
        .doc = "How redirections and CLUSTER SLOTS name nodes.",
    },
    {
        .name = "cluster-announce-ip",
        .field = OPTION_STRING(struct cluster_options, announce_ip),
        .check = check_announced_ip,
        .live = true,
        .doc = "Address that other nodes are told; empty: found out from connections.",
    },
    {
        .name = "cluster-announce-port",
        .field = OPTION_UINT(struct cluster_options, announce_port),
        .range = {.initial = 0, .min = 0, .max = 65535},
        .live = true,
        .doc = "Clients' port that other nodes are told; 0: the one listened on.",
    },
    {
        .name = "cluster-announce-bus-port",
        .field = OPTION_UINT(struct cluster_options, announce_bus_port),
        .range = {.initial = 0, .min = 0, .max = 65535},
        .live = true,
        .doc = "Bus port that other nodes are told; 0: the one listened on.",
    },
    {
        .name = "cluster-announce-hostname",
        .field = OPTION_STRING(struct cluster_options, announce_hostname),
        .check = check_hostname,
        .live = true,
        .doc = "Host name of this node, for clients and other nodes.",
    },
    {
        .name = "cluster-announce-human-nodename",
        .field = OPTION_STRING(struct cluster_options, announce_human_nodename),
        .check = check_node_name,
        .live = true,
        .doc = "A name for people, shown in logs.",
    },
    {
        .name = "cluster-announce-client-ipv4",
        .field = OPTION_STRING(struct cluster_options, announce_client_ipv4),
        .check = check_ipv4,
        .live = true,
        .doc = "IPv4 address that clients are told instead of the node's.",
    },
    {
        .name = "cluster-announce-client-ipv6",
        .field = OPTION_STRING(struct cluster_options, announce_client_ipv6),
        .check = check_ipv6,
        .live = true,
        .doc = "IPv6 address that clients are told instead of the node's.",
    },
};
const uint32_t cluster_option_count = ARRAY_COUNT(cluster_option_rows);

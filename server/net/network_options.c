#include <stdio.h>

#include "server/base/number.h"
#include "server/base/words.h"
#include "server/net/network_internal.h"

/* -- client-output-buffer-limit -- */

static const char *const limit_classes[] = {"normal", "slave", "pubsub"};

static int class_of(struct bytes word) {
    if (bytes_equal_text_nocase(word, "replica")) return 1;
    for (int i = 0; i < 3; i++) {
        if (bytes_equal_text_nocase(word, limit_classes[i])) return i;
    }
    return -1;
}

static bool parse_limits(void *out, const struct option_input *input, struct buffer *error) {
    struct output_limit *limits = out;
    memcpy(limits, input->current, 3 * sizeof(*limits));
    if (input->word_count % 4 != 0) {
        buffer_append_text(error, "Wrong number of arguments in buffer limit configuration.");
        return false;
    }
    for (size_t i = 0; i < input->word_count; i += 4) {
        int class = class_of(input->words[i]);
        uint64_t hard = 0;
        uint64_t soft = 0;
        uint64_t seconds = 0;
        if (class < 0) {
            buffer_append_text(error,
                               "Invalid client class specified in buffer limit configuration.");
            return false;
        }
        if (!number_parse_memory(input->words[i + 1], &hard) ||
            !number_parse_memory(input->words[i + 2], &soft) ||
            !number_parse_u64(input->words[i + 3], &seconds)) {
            buffer_append_text(
                error,
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
            return false;
        }
        limits[class] = (struct output_limit){hard, soft, seconds};
    }
    return true;
}

static void format_limit(const struct output_limit *limits, int class, struct buffer *out) {
    buffer_append_format(out, "%s %llu %llu %llu", limit_classes[class],
                         (unsigned long long)limits[class].hard_bytes,
                         (unsigned long long)limits[class].soft_bytes,
                         (unsigned long long)limits[class].soft_seconds);
}

static void format_limits(const void *field, struct buffer *out) {
    for (int i = 0; i < 3; i++) {
        if (i > 0) buffer_append_u8(out, ' ');
        format_limit(field, i, out);
    }
}

static bool format_limit_line(const void *field, size_t index, struct buffer *out) {
    if (index >= 3) return false;
    format_limit(field, (int)index, out);
    return true;
}

static const struct option_ops limit_ops = {
    .parse = parse_limits,
    .format = format_limits,
    .format_line = format_limit_line,
};

/* -- bind -- */

static bool check_bind(const char *value, struct buffer *error) {
    struct words words = {0};
    enum status status = words_split(&words, bytes_of_text(value), BIND_MAX);
    words_deinit(&words);
    if (status == STATUS_OK) return true;
    buffer_append_text(error, "Too many bind addresses specified.");
    return false;
}

/* -- rows -- */

const struct option network_option_rows[] = {
    {
        .name = "worker-threads",
        .field = OPTION_UINT(struct network_options, worker_threads),
        .range = {.initial = 1, .min = 1, .max = 64},
        .doc = "Threads that serve clients, each with an event loop of its own.",
    },
    {
        .name = "port",
        .field = OPTION_UINT(struct network_options, port),
        .range = {.initial = 6379, .min = 0, .max = 65535},
        .live = true,
        .doc = "TCP port for clients; 0 listens on no TCP port.",
    },
    {
        .name = "bind",
        .field = OPTION_STRING(struct network_options, bind),
        .initial_text = "* -::*",
        .check = check_bind,
        .live = true,
        .multi_word = true,
        .doc = "Addresses to listen on; a leading '-' forgives one that the machine lacks.",
    },
    {
        .name = "bind-source-addr",
        .field = OPTION_STRING(struct network_options, bind_source),
        .doc = "Local address for outgoing connections.",
    },
    {
        .name = "unixsocket",
        .field = OPTION_STRING(struct network_options, unix_socket),
        .doc = "Path of a unix socket for clients.",
    },
    {
        .name = "unixsocketperm",
        .field = OPTION_OCTAL(struct network_options, unix_socket_perm),
        .range = {.initial = 0, .min = 0, .max = 0777},
        .doc = "Permissions of the unix socket, in octal; 0 leaves them to the umask.",
    },
    {
        .name = "tcp-backlog",
        .field = OPTION_UINT(struct network_options, backlog),
        .range = {.initial = 511, .min = 0, .max = INT32_MAX},
        .doc = "Connections that the kernel may hold before they are accepted.",
    },
    {
        .name = "maxclients",
        .field = OPTION_UINT(struct network_options, max_clients),
        .range = {.initial = 10000, .min = 1, .max = UINT32_MAX},
        .live = true,
        .doc = "Most clients at a time.",
    },
    {
        .name = "timeout",
        .field = OPTION_SECONDS(struct network_options, timeout_s),
        .range = {.initial = 0, .min = 0, .max = INT32_MAX},
        .live = true,
        .doc = "Seconds after which an idle client is closed; 0 never.",
    },
    {
        .name = "tcp-keepalive",
        .field = OPTION_SECONDS(struct network_options, keepalive_s),
        .range = {.initial = 300, .min = 0, .max = INT32_MAX},
        .live = true,
        .doc = "Seconds between keep-alive probes to clients; 0 sends none.",
    },
    {
        .name = "protected-mode",
        .field = OPTION_BOOL(struct network_options, protected_mode),
        .range = {.initial = 1},
        .live = true,
        .doc = "Without a password, serve the loopback interface only.",
    },
    {
        .name = "tracking-table-max-keys",
        .field = OPTION_UINT(struct network_options, tracking_max_keys),
        .range = {.initial = 1000000, .min = 0, .max = INT64_MAX},
        .live = true,
        .doc = "Keys remembered for CLIENT TRACKING; beyond that some are called changed; 0: all.",
    },
    {
        .name = "maxmemory-clients",
        .field = OPTION_PERCENT(struct network_options, max_memory_clients),
        .live = true,
        .doc = "Memory of all clients, beyond which the heaviest are closed; a part of maxmemory "
               "in percent; 0: no limit.",
    },
    {
        .name = "client-query-buffer-limit",
        .field = OPTION_MEMORY(struct network_options, query_buffer_limit),
        .range = {.initial = 1073741824, .min = 1048576, .max = INT64_MAX},
        .live = true,
        .doc = "Bytes of unprocessed input after which a client is closed.",
    },
    {
        .name = "client-output-buffer-limit",
        .field = OPTION_SPECIAL(struct network_options, output_limits),
        .initial_text = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        .ops = &limit_ops,
        .live = true,
        .multi_word = true,
        .doc = "Hard limit, soft limit and its seconds of unsent replies, by class of client.",
    },
};
const uint32_t network_option_count = ARRAY_COUNT(network_option_rows);

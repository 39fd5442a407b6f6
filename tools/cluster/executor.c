/* Connections, loading, questions: what all sub-commands stand on. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "server/base/mem.h"
#include "tools/cluster/check.h"
#include "tools/cluster/executor_internal.h"

#define CONTROL_TIMEOUT_MS 30000u
#define COMMAND_TEXT_MAX 1024u

void executor_init(struct executor *executor, const struct cluster_context *context) {
    *executor = (struct executor){.context = context};
    executor->report.profile = context->profile;
    executor->report.has_color = context->has_color;
}

void executor_unload(struct executor *executor) {
    for (size_t i = 0; i < executor->nodes.count; i++) {
        client_destroy(executor->members[i].client);
        node_list_deinit(&executor->members[i].view);
    }
    mem_free(executor->members);
    executor->members = NULL;
    node_list_deinit(&executor->nodes);
    executor->unreachable_primary_count = 0;
}

void executor_deinit(struct executor *executor) {
    executor_flush(executor);
    executor_unload(executor);
    buffer_deinit(&executor->report.text);
}

void executor_flush(struct executor *executor) {
    const struct buffer *text = &executor->report.text;
    if (text->len > 0) fwrite(text->data, 1, text->len, executor->context->out);
    fflush(executor->context->out);
    buffer_clear(&executor->report.text);
}

/* ---- connections ---- */

static bool authenticate(const struct executor *executor, struct client *client) {
    const struct cluster_context *context = executor->context;
    if (context->password == NULL) return true;
    struct bytes argv[3] = {BYTES_LITERAL("AUTH")};
    size_t argc = 1;
    if (context->user != NULL) argv[argc++] = bytes_of_text(context->user);
    argv[argc++] = bytes_of_text(context->password);
    struct reply *reply = NULL;
    if (client_call(client, argc, argv, &reply) != STATUS_OK) {
        fprintf(context->err, "AUTH failed: %s\n", client_error(client));
        return false;
    }
    bool is_done = reply->kind != REPLY_ERROR;
    if (!is_done) fprintf(context->err, "AUTH failed: %s\n", (const char *)reply->text.data);
    reply_destroy(reply);
    return is_done;
}

struct client *executor_connect(const struct executor *executor, const char *host, int port) {
    const struct cluster_context *context = executor->context;
    struct client *client = client_create();
    struct client_target target = {
        .host = host,
        .port = (uint16_t)port,
        .family = context->family,
        .connect_timeout_ms = context->connect_timeout_ms,
        .io_timeout_ms = CONTROL_TIMEOUT_MS,
    };
    if (client_connect(client, &target) != STATUS_OK) {
        fprintf(context->err, "Could not connect to %s at %s:%d: %s\n", context->profile->server,
                host, port, client_error(client));
    } else if (authenticate(executor, client)) {
        return client;
    }
    client_destroy(client);
    return NULL;
}

struct reply *executor_ask(struct client *client, const char *format, ...) {
    char text[COMMAND_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    struct reply *reply = NULL;
    return client_call_text(client, text, &reply) == STATUS_OK ? reply : NULL;
}

bool executor_expect_ok(struct executor *executor, const struct cluster_node *node,
                        const struct client *client, struct reply *reply) {
    if (reply != NULL && reply->kind != REPLY_ERROR) {
        reply_destroy(reply);
        return true;
    }
    report_plain(&executor->report, "Node %s:%d replied with error:\n%s\n", node->host, node->port,
                 reply == NULL ? client_error(client) : (const char *)reply->text.data);
    reply_destroy(reply);
    return false;
}

/* ---- loading ---- */

static bool has_text(const struct reply *reply, const char *part) {
    if (reply == NULL || reply->text.data == NULL) return false;
    return memmem(reply->text.data, reply->text.len, part, strlen(part)) != NULL;
}

bool executor_is_cluster_node(struct client *client) {
    struct reply *reply = executor_ask(client, "INFO");
    bool is_enabled = has_text(reply, "cluster_enabled:1");
    reply_destroy(reply);
    return is_enabled;
}

bool executor_is_empty_node(struct client *client) {
    struct reply *info = executor_ask(client, "INFO");
    struct reply *cluster = executor_ask(client, "CLUSTER INFO");
    bool is_empty =
        info != NULL && !has_text(info, "db0:") && has_text(cluster, "\ncluster_known_nodes:1\r");
    reply_destroy(info);
    reply_destroy(cluster);
    return is_empty;
}

bool executor_read_view(struct client *client, struct node_list *out) {
    struct reply *reply = executor_ask(client, "CLUSTER NODES");
    bool is_read = reply != NULL && reply->kind != REPLY_ERROR &&
                   node_list_parse(reply->text, out) == STATUS_OK;
    reply_destroy(reply);
    return is_read;
}

/* A deep copy of one node, so that it survives its view. */
static struct cluster_node *copy_node(const struct cluster_node *from) {
    struct cluster_node *copy = mem_alloc(sizeof(*copy));
    *copy = *from;
    copy->signature = NULL;
    struct open_slots *open[] = {&copy->migrating, &copy->importing};
    for (size_t i = 0; i < ARRAY_COUNT(open); i++) {
        size_t size = open[i]->count * sizeof(*open[i]->items);
        const struct open_slot *items = open[i]->items;
        open[i]->items = size > 0 ? mem_alloc(size) : NULL;
        if (size > 0) memcpy(open[i]->items, items, size);
    }
    return copy;
}

static void set_signature(struct cluster_node *node, const struct node_list *view) {
    struct buffer text = {0};
    node_list_append_signature(view, &text);
    mem_free(node->signature);
    node->signature = bytes_copy_text(buffer_view(&text));
    buffer_deinit(&text);
}

struct cluster_node *executor_read_node(struct client *client, const char *host,
                                        struct node_list *out_view) {
    struct node_list view = {0};
    if (!executor_read_view(client, &view)) return NULL;
    const struct cluster_node *myself = node_list_find_myself(&view);
    if (myself == NULL) {
        node_list_deinit(&view);
        return NULL;
    }
    struct cluster_node *node = copy_node(myself);
    if (node->host[0] == 0) snprintf(node->host, sizeof(node->host), "%s", host);
    node->is_reachable = true;
    set_signature(node, &view);
    *out_view = view;
    return node;
}

void executor_add_member(struct executor *executor, struct cluster_node *node,
                         struct client *client, struct node_list view) {
    size_t at = executor->nodes.count;
    node_list_take(&executor->nodes, node);
    executor->members = mem_realloc(executor->members, (at + 1) * sizeof(*executor->members));
    executor->members[at] = (struct member){.node = node, .client = client, .view = view};
}

/* Loads a node that the entry node knows. What cannot be asked stays in the model as unreachable.
 */
static void load_friend(struct executor *executor, const struct cluster_node *known) {
    bool is_usable = known->host[0] != 0 && known->port != 0 && !known->is_in_handshake;
    struct client *client = is_usable ? executor_connect(executor, known->host, known->port) : NULL;
    struct node_list view = {0};
    struct cluster_node *node = NULL;
    if (client != NULL && !known->has_no_address && !known->is_failed) {
        node = executor_read_node(client, known->host, &view);
        if (node == NULL) {
            report_error(&executor->report, "[ERR] Unable to load info for node %s:%d\n",
                         known->host, known->port);
        }
    }
    if (node == NULL) {
        client_destroy(client);
        client = NULL;
        node = copy_node(known);
        if (!known->is_replica) executor->unreachable_primary_count++;
    }
    /* The cluster reaches the node where the entry node says, whatever the node calls itself. */
    snprintf(node->host, sizeof(node->host), "%s", known->host);
    node->port = known->port;
    executor_add_member(executor, node, client, view);
}

static void warn_about_orphans(struct executor *executor) {
    const struct node_list *nodes = &executor->nodes;
    for (size_t i = 0; i < nodes->count; i++) {
        const struct cluster_node *node = nodes->items[i];
        if (!node->is_replica || !node->is_reachable) continue;
        const struct cluster_node *primary = node_list_find(nodes, node->primary_id);
        if (primary != NULL && primary->is_reachable) continue;
        report_warning(&executor->report,
                       "*** WARNING: %s:%d claims to be %s of unknown node ID %s.\n", node->host,
                       node->port, executor->report.profile->replica, node->primary_id);
    }
}

bool executor_load(struct executor *executor, const struct address *address) {
    struct client *client = executor_connect(executor, address->host, address->port);
    if (client == NULL) return false;
    struct node_list view = {0};
    struct cluster_node *entry = NULL;
    if (!executor_is_cluster_node(client)) {
        report_error(&executor->report, "[ERR] Node %s:%d is not configured as a cluster node.\n",
                     address->host, address->port);
    } else {
        entry = executor_read_node(client, address->host, &view);
        if (entry == NULL) {
            report_error(&executor->report, "[ERR] Unable to load info for node %s:%d\n",
                         address->host, address->port);
        }
    }
    if (entry == NULL) {
        client_destroy(client);
        return false;
    }
    snprintf(entry->host, sizeof(entry->host), "%s", address->host);
    entry->port = address->port;
    executor_add_member(executor, entry, client, view);
    const struct node_list *known = &executor->members[0].view;
    for (size_t i = 0; i < known->count; i++) {
        if (!known->items[i]->is_myself) load_friend(executor, known->items[i]);
        known = &executor->members[0].view;
    }
    node_list_count_replicas(&executor->nodes);
    warn_about_orphans(executor);
    return true;
}

struct member *executor_member(struct executor *executor, const struct cluster_node *node) {
    for (size_t i = 0; i < executor->nodes.count; i++) {
        if (executor->members[i].node == node) return &executor->members[i];
    }
    return NULL;
}

bool executor_resolve(const char *host, char *out, size_t cap) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;
    if (getaddrinfo(host, NULL, &hints, &addresses) != 0) return false;
    bool is_resolved = getnameinfo(addresses->ai_addr, addresses->ai_addrlen, out, (socklen_t)cap,
                                   NULL, 0, NI_NUMERICHOST) == 0;
    freeaddrinfo(addresses);
    return is_resolved;
}

size_t executor_entry_address(struct executor *executor, size_t count, const struct bytes *words,
                              struct address *out) {
    size_t taken = address_parse_words(count, words, out);
    if (taken == 0) {
        fprintf(executor->context->err,
                "[ERR] Invalid arguments: you need to pass either a valid address (ie. "
                "120.0.0.1:7000) or space separated IP and port (ie. 120.0.0.1 7000)\n");
    }
    return taken;
}

/* ---- questions ---- */

bool executor_read_answer(struct executor *executor, const char *question, char *out, size_t cap) {
    report_plain(&executor->report, "%s", question);
    executor_flush(executor);
    char *line = NULL;
    size_t line_cap = 0;
    ssize_t len = getline(&line, &line_cap, executor->context->in);
    if (len < 0) {
        free(line);
        return false;
    }
    size_t start = strspn(line, " \t\r\n");
    while ((size_t)len > start && strchr(" \t\r\n", line[len - 1]) != NULL)
        len--;
    size_t answer_len = (size_t)len > start ? (size_t)len - start : 0;
    bytes_to_text(bytes_of(line + start, answer_len), out, cap);
    free(line);
    return true;
}

bool executor_confirm(struct executor *executor, const char *question) {
    if (executor->context->options.says_yes) return true;
    char text[512];
    char answer[64];
    snprintf(text, sizeof(text), "%s (type 'yes' to accept): ", question);
    return executor_read_answer(executor, text, answer, sizeof(answer)) &&
           bytes_equal_text_nocase(bytes_of_text(answer), "yes");
}

bool executor_check(struct executor *executor) {
    struct check_options options = {
        .searches_owners = executor->context->options.searches_owners,
        .shows_extra = executor->context->options.shows_extra_checks,
    };
    bool is_clean = check_cluster(&executor->nodes, &options, &executor->report);
    executor_flush(executor);
    return is_clean;
}

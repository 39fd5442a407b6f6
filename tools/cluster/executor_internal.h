/* What the files of the executor share: the loaded cluster, a connection to each node, the way to
 * ask, tell and question.
 *
 * Functions that return bool have told the reason when they return false.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "tools/cluster/address.h"
#include "tools/cluster/cluster.h"
#include "tools/cluster/node_model.h"
#include "tools/cluster/report.h"

struct member {
    struct cluster_node *node; /* Owned by executor.nodes. */
    struct client *client;     /* NULL: never connected. */
    struct node_list view;     /* What the node says of everybody, as last loaded. */
};

struct executor {
    const struct cluster_context *context;
    struct report report;   /* Collects text; executor_flush prints it. */
    struct node_list nodes; /* The entry node first, in the order of its view. */
    struct member *members; /* One for each of `nodes`, in the same order. */
    size_t unreachable_primary_count;
};

void executor_init(struct executor *executor, const struct cluster_context *context);
void executor_deinit(struct executor *executor);

/* Prints what the report holds. */
void executor_flush(struct executor *executor);

/* Connects to host:port with the command line's credentials. NULL on failure, which has been told
 * on standard error. The caller destroys the client. */
MUST_USE struct client *executor_connect(const struct executor *executor, const char *host,
                                         int port);

/* Loads the cluster that the node at `address` belongs to. */
MUST_USE bool executor_load(struct executor *executor, const struct address *address);

/* Forgets what was loaded. */
void executor_unload(struct executor *executor);

/* Adds a node to what is loaded; takes all three. */
void executor_add_member(struct executor *executor, struct cluster_node *node,
                         struct client *client, struct node_list view);

/* Connects to a node that is to become a member and adds it: it must be in cluster mode and empty.
 * `out_is_not_empty` distinguishes that failure, which the caller has to tell. */
MUST_USE bool executor_add_empty_member(struct executor *executor, const struct address *address,
                                        bool *out_is_not_empty);

struct member *executor_member(struct executor *executor, const struct cluster_node *node);

/* Asks a connected client; NULL when the connection fails. The words of a format are divided by
 * blanks. */
MUST_USE struct reply *executor_ask(struct client *client, const char *format, ...)
    PRINTF_LIKE(2, 3);

/* True when the reply is no error. Otherwise tells "Node h:p replied with error:" and the text, or
 * what the connection met. Frees the reply. */
MUST_USE bool executor_expect_ok(struct executor *executor, const struct cluster_node *node,
                                 const struct client *client, struct reply *reply);

/* Reads a node's CLUSTER NODES. False when the connection fails or the text is none. */
MUST_USE bool executor_read_view(struct client *client, struct node_list *out);

/* Reads one node into `node`: its own line of its own view, and the view. `host` stands in when the
 * node does not know its own address. NULL on failure. */
MUST_USE struct cluster_node *executor_read_node(struct client *client, const char *host,
                                                 struct node_list *out_view);

/* True when INFO says that cluster mode is on. */
MUST_USE bool executor_is_cluster_node(struct client *client);

/* True when the node knows nobody else and holds nothing in database 0. */
MUST_USE bool executor_is_empty_node(struct client *client);

/* Asks a question; true for "yes", or with --cluster-yes. */
MUST_USE bool executor_confirm(struct executor *executor, const char *question);

/* Prints a question and reads a line of the answer, blanks trimmed. False at the end of input. */
MUST_USE bool executor_read_answer(struct executor *executor, const char *question, char *out,
                                   size_t cap);

/* Runs the check over what is loaded and prints it. */
MUST_USE bool executor_check(struct executor *executor);

/* Loads all views again and again until all nodes agree and know each other. A handshake ends after
 * the cluster-node-timeout whether the other side answered or not, so that nodes that still miss
 * somebody are told again to meet `known`. */
MUST_USE bool executor_wait_for_join(struct executor *executor, const struct address *known);

/* Waits some seconds, silently, until all reachable nodes have the same slot map and say that the
 * cluster is up, so that a next command finds it so. Not an error if it takes longer. */
void executor_settle(struct executor *executor);

/* Makes the member meet the node at `known`, or replicate a primary. A member that does not know
 * the primary yet is asked again for some seconds. */
MUST_USE bool executor_meet(struct executor *executor, struct member *member,
                            const struct address *known);
MUST_USE bool executor_replicate(struct executor *executor, struct member *member,
                                 const char *primary_id);

/* The address that CLUSTER MEET can be given for the host: a number. */
MUST_USE bool executor_resolve(const char *host, char *out, size_t cap);

/* Moves one slot with its keys. `target` and `source` are members. */
struct slot_transfer {
    struct member *source;
    struct member *target;
    unsigned slot;
};
MUST_USE bool executor_move_slot(struct executor *executor, const struct slot_transfer *transfer);

/* The sub-commands: exit status. `words` are their arguments. */
int executor_create(struct executor *executor, size_t count, const struct bytes *words);
int executor_run_check(struct executor *executor, size_t count, const struct bytes *words);
int executor_info(struct executor *executor, size_t count, const struct bytes *words);
int executor_reshard(struct executor *executor, size_t count, const struct bytes *words);
int executor_add_node(struct executor *executor, size_t count, const struct bytes *words);
int executor_del_node(struct executor *executor, size_t count, const struct bytes *words);
int executor_call(struct executor *executor, size_t count, const struct bytes *words);
int executor_help(struct executor *executor, size_t count, const struct bytes *words);

/* The address in the first word or two; tells when there is none. Returns how many words, 0: none.
 */
MUST_USE size_t executor_entry_address(struct executor *executor, size_t count,
                                       const struct bytes *words, struct address *out);

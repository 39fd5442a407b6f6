/* `--cluster`: create, inspect and change a cluster from outside.
 *
 * A planner (node_model.h, allocation.h, check.h, reshard_plan.h, membership.h) computes what to do
 * and what to say, without IO; the executor behind cluster_run carries it out over blocking
 * connections and prints.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "tools/client/client.h"
#include "tools/client/profile.h"

/* What the command line said. Texts are borrowed. */
struct cluster_options {
    int64_t replicas;          /* create: for each primary. */
    const char *from;          /* reshard: ids, divided by commas, or "all". */
    const char *to;            /* reshard: the receiving node's id. */
    int64_t slots;             /* reshard: how many; 0: ask. */
    int64_t pipeline;          /* reshard: keys in one MIGRATE. */
    int64_t timeout_ms;        /* reshard: of one MIGRATE. */
    const char *primary_id;    /* add-node: whom to replicate. */
    int64_t wait_seconds;      /* create, add-node: patience for the join; 0: for ever. */
    bool says_yes;             /* Answers questions. */
    bool replaces_keys;        /* reshard: a key that the target has is overwritten. */
    bool adds_replica;         /* add-node. */
    bool searches_owners;      /* check: slots with more than one owner. */
    bool only_primaries;       /* call. */
    bool only_replicas;        /* call. */
    bool allows_few_primaries; /* create with less than three. */
    bool plans_like_reference; /* reshard: its rounding, which may lose some slots. */
    bool forces_role;          /* add-node: a member changes its role. */
    bool ignores_missing;      /* del-node: already gone is fine. */
    bool shows_extra_checks;   /* check: more findings than the reference has. */
};

/* How nodes are reached and how the tool talks. */
struct cluster_context {
    const struct profile *profile;
    struct cluster_options options;
    const char *user; /* NULL: none. */
    const char *password;
    enum client_family family;
    uint32_t connect_timeout_ms;
    bool has_color;
    bool errors_fail; /* -e: an error reply of `call` is a failure. */
    FILE *in;
    FILE *out;
    FILE *err;
};

/* Runs a sub-command; words[0] is its name. Returns the tool's exit status. */
MUST_USE int cluster_run(const struct cluster_context *context, size_t count,
                         const struct bytes *words);

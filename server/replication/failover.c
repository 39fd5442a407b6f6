/* FAILOVER: hands the role over to a replica that has everything (spec 16).
 *
 * Writes are paused, the replica catches up, then this node follows it with a PSYNC that asks it to
 * become the primary. Whatever goes wrong on the way makes this node the primary again.
 */
#include <stdio.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/number.h"
#include "server/replication/replication_internal.h"

static void set_state(struct replication *replication, enum failover_state state) {
    atomic_store(&replication->failover.state, state);
}

/* Everything parked. */
void failover_end(struct replication *replication) {
    set_state(replication, FAILOVER_NONE);
    dispatcher_unpause(replication->made_of.modules->dispatcher, PAUSE_BY_FAILOVER);
    network_retry_paused(replication->network);
}

/* Everything parked. */
static void abort_failover(struct replication *replication, const char *why) {
    struct failover *failover = &replication->failover;
    log_notice("FAILOVER to %s:%u aborted: %s", failover->host, failover->port, why);
    if (atomic_load(&failover->state) == FAILOVER_HANDING_OVER) {
        // Nobody else has become the primary, so the history goes on as it was.
        replication->target = (struct replication_target){.host = ""};
        replication_set_role(replication, false);
        primary_link_retarget(replication);
    }
    failover_end(replication);
}

void failover_answered(struct replication *replication, bool is_accepted) {
    if (atomic_load(&replication->failover.state) != FAILOVER_HANDING_OVER) return;
    replication_begin_exclusive(replication);
    if (is_accepted) {
        failover_end(replication);
    } else {
        abort_failover(replication, "Failover target rejected psync request");
    }
    replication_end_exclusive(replication);
}

static bool is_target(const struct failover *failover, const struct replica *replica) {
    const char *ip = replica->announced_ip[0] != '\0' ? replica->announced_ip : replica->ip;
    return replica->port == failover->port && strcmp(ip, failover->host) == 0;
}

/* The replica that has everything (or the target whatever it has). Fills in its address. */
static bool find_heir(struct replication *replication, bool is_forced) {
    struct failover *failover = &replication->failover;
    uint64_t offset = journal_offset(replication->journal);
    bool is_found = false;
    pthread_mutex_lock(&replication->lock);
    for (const struct replica *replica = replication->replicas; replica != NULL && !is_found;
         replica = replica->next) {
        if (failover->has_target && !is_target(failover, replica)) continue;
        bool has_everything = replica->state == REPLICA_ONLINE && replica->ack_offset >= offset;
        if (!is_forced && !has_everything) continue;
        is_found = true;
        if (failover->has_target) continue;
        snprintf(failover->host, sizeof(failover->host), "%s",
                 replica->announced_ip[0] != '\0' ? replica->announced_ip : replica->ip);
        failover->port = replica->port;
    }
    pthread_mutex_unlock(&replication->lock);
    return is_found || (is_forced && failover->has_target);
}

/* Everything parked. */
static void hand_over(struct replication *replication) {
    struct failover *failover = &replication->failover;
    log_notice("Failover target %s:%u is synced, failing over.", failover->host, failover->port);
    set_state(replication, FAILOVER_HANDING_OVER);
    replication_follow(replication, failover->host, failover->port, false);
}

void failover_tick(struct replication *replication) {
    struct failover *failover = &replication->failover;
    if (atomic_load(&failover->state) != FAILOVER_WAITING) return;
    bool is_late = failover->deadline_ms != 0 && clock_monotonic_ms() >= failover->deadline_ms;
    if (!find_heir(replication, false) && !is_late) {
        replicas_ask_acknowledgement(replication, journal_offset(replication->journal));
        return;
    }
    replication_begin_exclusive(replication);
    if (atomic_load(&failover->state) == FAILOVER_WAITING) {
        if (find_heir(replication, is_late && failover->is_forced)) {
            hand_over(replication);
        } else if (is_late) {
            abort_failover(replication, "Replica never caught up before timeout");
        }
    }
    replication_end_exclusive(replication);
}

/* -- the command -- */

struct failover_words {
    bool has_target;
    bool is_forced;
    bool is_abort;
    int64_t timeout_ms;
    bool has_timeout;
    struct bytes host;
    int64_t port;
};

static bool parse(struct command_context *context, struct failover_words *words) {
    for (uint32_t i = 1; i < context->argc; i++) {
        if (context_argument_is(context, i, "TIMEOUT") && i + 1 < context->argc &&
            !words->has_timeout) {
            if (!context_integer(context, ++i, &words->timeout_ms, NULL)) return false;
            if (words->timeout_ms <= 0) {
                reply_error(context->reply, "ERR FAILOVER timeout must be greater than 0");
                return false;
            }
            words->has_timeout = true;
        } else if (context_argument_is(context, i, "ABORT") && !words->is_abort) {
            words->is_abort = true;
        } else if (context_argument_is(context, i, "TO") && i + 2 < context->argc &&
                   !words->has_target) {
            words->host = context->argv[i + 1];
            if (!context_integer(context, i + 2, &words->port, NULL)) return false;
            words->has_target = true;
            i += 2;
        } else if (context_argument_is(context, i, "FORCE") && !words->is_forced) {
            words->is_forced = true;
        } else {
            reply_syntax_error(context->reply);
            return false;
        }
    }
    return true;
}

static void abort_command(struct command_context *context, const struct failover_words *words) {
    struct replication *replication = context->modules->replication;
    if (words->has_target || words->is_forced || words->has_timeout) {
        reply_syntax_error(context->reply);
    } else if (atomic_load(&replication->failover.state) == FAILOVER_NONE) {
        reply_error(context->reply, "ERR No failover in progress.");
    } else {
        abort_failover(replication, "Failover manually aborted");
        reply_ok(context->reply);
    }
}

/* The text of what stands against it, or NULL. */
static const char *refusal(struct replication *replication, const struct failover_words *words) {
    if (atomic_load(&replication->failover.state) != FAILOVER_NONE)
        return "ERR FAILOVER already in progress.";
    if (atomic_load(&replication->is_replica))
        return "ERR FAILOVER is not valid when server is a replica.";
    if (replicas_count(replication) == 0) return "ERR FAILOVER requires connected replicas.";
    if (words->is_forced && (!words->has_timeout || !words->has_target))
        return "ERR FAILOVER with force option requires both a timeout and target HOST and IP.";
    if (!words->has_target) return NULL;
    const struct replica *replica = replication->replicas;
    while (replica != NULL && !is_target(&replication->failover, replica))
        replica = replica->next;
    if (replica == NULL) return "ERR FAILOVER target HOST and PORT is not a replica.";
    if (replica->state != REPLICA_ONLINE) return "ERR FAILOVER target replica is not online.";
    return NULL;
}

void replication_command_failover(struct command_context *context) {
    struct replication *replication = context->modules->replication;
    struct failover *failover = &replication->failover;
    struct failover_words words = {0};
    if (context->modules->cluster != NULL) {
        reply_error(context->reply, "ERR FAILOVER not allowed in cluster mode. Use CLUSTER "
                                    "FAILOVER command instead.");
        return;
    }
    if (!parse(context, &words)) return;
    if (words.is_abort) {
        abort_command(context, &words);
        return;
    }
    if (atomic_load(&failover->state) == FAILOVER_NONE) {
        *failover = (struct failover){.has_target = words.has_target, .is_forced = words.is_forced};
        bytes_to_text(words.host, failover->host, sizeof(failover->host));
        failover->port = (uint16_t)words.port;
    }
    const char *text = refusal(replication, &words);
    if (text != NULL) {
        reply_error(context->reply, text);
        return;
    }
    if (words.has_timeout)
        failover->deadline_ms = clock_monotonic_ms() + (uint64_t)words.timeout_ms;
    log_notice("FAILOVER requested.");
    set_state(replication, FAILOVER_WAITING);
    dispatcher_pause(context->modules->dispatcher, PAUSE_BY_FAILOVER, false, UINT64_MAX);
    reply_ok(context->reply);
}

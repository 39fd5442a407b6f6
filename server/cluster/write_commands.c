/* The CLUSTER subcommands that change something: each is a command to the bus. */
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/cluster/cluster_internal.h"

static void answer(struct command_context *context, enum bus_result result,
                   const struct bus_result_args *args) {
    struct buffer text = {0};
    bus_result_write(result, args, &text);
    buffer_append_u8(&text, '\0');
    reply_error(context->reply, (const char *)text.data);
    buffer_deinit(&text);
}

bool cluster_is_enabled(struct command_context *context) {
    if (context->modules->cluster != NULL) return true;
    answer(context, BUS_DISABLED, &(struct bus_result_args){0});
    return false;
}

bool cluster_parse_slot(struct command_context *context, uint32_t argument, uint16_t *out) {
    int64_t slot = 0;
    if (number_parse_i64(context->argv[argument], &slot) && slot >= 0 && slot < BUS_SLOT_COUNT) {
        *out = (uint16_t)slot;
        return true;
    }
    answer(context, BUS_BAD_SLOT, &(struct bus_result_args){0});
    return false;
}

static void run_plain(struct command_context *context, enum bus_command_type type) {
    if (!cluster_is_enabled(context)) return;
    cluster_run_command(context, &(struct bus_command){.type = type});
}

static void run_with_node(struct command_context *context, enum bus_command_type type) {
    if (!cluster_is_enabled(context)) return;
    cluster_run_command(context, &(struct bus_command){.type = type, .node = context->argv[2]});
}

/* -- membership -- */

void cluster_command_meet(struct command_context *context) {
    struct bus_command command = {.type = BUS_COMMAND_MEET, .ip = context->argv[2]};
    if (!cluster_is_enabled(context)) return;
    if (context->argc > 5) {
        context_arity_error(context);
        return;
    }
    if (!number_parse_i64(context->argv[3], &command.port)) {
        answer(context, BUS_BAD_PORT, &(struct bus_result_args){.argument = context->argv[3]});
        return;
    }
    if (context->argc == 5 && !number_parse_i64(context->argv[4], &command.bus_port)) {
        answer(context, BUS_BAD_BUS_PORT, &(struct bus_result_args){.argument = context->argv[4]});
        return;
    }
    cluster_run_command(context, &command);
}

void cluster_command_forget(struct command_context *context) {
    run_with_node(context, BUS_COMMAND_FORGET);
}

void cluster_command_replicate(struct command_context *context) {
    run_with_node(context, BUS_COMMAND_REPLICATE);
}

void cluster_command_set_config_epoch(struct command_context *context) {
    int64_t epoch = 0;
    if (!cluster_is_enabled(context)) return;
    if (!context_integer(context, 2, &epoch, NULL)) return;
    if (epoch < 0) {
        answer(context, BUS_BAD_EPOCH, &(struct bus_result_args){.argument = context->argv[2]});
        return;
    }
    cluster_run_command(context, &(struct bus_command){.type = BUS_COMMAND_SET_CONFIG_EPOCH,
                                                       .epoch = (uint64_t)epoch});
}

void cluster_command_bumpepoch(struct command_context *context) {
    run_plain(context, BUS_COMMAND_BUMPEPOCH);
}

void cluster_command_saveconfig(struct command_context *context) {
    run_plain(context, BUS_COMMAND_SAVECONFIG);
}

void cluster_command_failover(struct command_context *context) {
    enum bus_command_type type = BUS_COMMAND_FAILOVER;
    if (!cluster_is_enabled(context)) return;
    if (context->argc > 3) {
        reply_syntax_error(context->reply);
        return;
    }
    if (context->argc == 3) {
        if (context_argument_is(context, 2, "FORCE")) {
            type = BUS_COMMAND_FAILOVER_FORCE;
        } else if (context_argument_is(context, 2, "TAKEOVER")) {
            type = BUS_COMMAND_FAILOVER_TAKEOVER;
        } else {
            reply_syntax_error(context->reply);
            return;
        }
    }
    run_plain(context, type);
}

void cluster_command_reset(struct command_context *context) {
    enum bus_command_type type = BUS_COMMAND_RESET_SOFT;
    if (!cluster_is_enabled(context)) return;
    if (context->argc > 3) {
        reply_syntax_error(context->reply);
        return;
    }
    if (context->argc == 3) {
        if (context_argument_is(context, 2, "HARD")) {
            type = BUS_COMMAND_RESET_HARD;
        } else if (!context_argument_is(context, 2, "SOFT")) {
            reply_syntax_error(context->reply);
            return;
        }
    }
    run_plain(context, type);
}

/* -- slots -- */

static void run_with_ranges(struct command_context *context, enum bus_command_type type,
                            const struct slot_range *ranges, size_t count) {
    cluster_run_command(
        context, &(struct bus_command){.type = type, .ranges = ranges, .range_count = count});
}

static void run_with_slots(struct command_context *context, enum bus_command_type type) {
    if (!cluster_is_enabled(context)) return;
    size_t count = context->argc - 2;
    struct slot_range *ranges = mem_alloc(count * sizeof(*ranges));
    bool is_fine = true;
    for (size_t i = 0; is_fine && i < count; i++) {
        is_fine = cluster_parse_slot(context, (uint32_t)i + 2, &ranges[i].first);
        ranges[i].last = ranges[i].first;
    }
    if (is_fine) run_with_ranges(context, type, ranges, count);
    mem_free(ranges);
}

static void run_with_pairs(struct command_context *context, enum bus_command_type type) {
    if (!cluster_is_enabled(context)) return;
    if (context->argc % 2 == 1) {
        context_arity_error(context);
        return;
    }
    size_t count = (context->argc - 2) / 2;
    struct slot_range *ranges = mem_alloc(count * sizeof(*ranges));
    bool is_fine = true;
    for (size_t i = 0; is_fine && i < count; i++) {
        is_fine = cluster_parse_slot(context, (uint32_t)i * 2 + 2, &ranges[i].first) &&
                  cluster_parse_slot(context, (uint32_t)i * 2 + 3, &ranges[i].last);
        if (is_fine && ranges[i].first > ranges[i].last) {
            answer(context, BUS_BAD_RANGE, &(struct bus_result_args){.slots = ranges[i]});
            is_fine = false;
        }
    }
    if (is_fine) run_with_ranges(context, type, ranges, count);
    mem_free(ranges);
}

void cluster_command_addslots(struct command_context *context) {
    run_with_slots(context, BUS_COMMAND_ADDSLOTS);
}

void cluster_command_delslots(struct command_context *context) {
    run_with_slots(context, BUS_COMMAND_DELSLOTS);
}

void cluster_command_addslotsrange(struct command_context *context) {
    run_with_pairs(context, BUS_COMMAND_ADDSLOTS);
}

void cluster_command_delslotsrange(struct command_context *context) {
    run_with_pairs(context, BUS_COMMAND_DELSLOTS);
}

void cluster_command_flushslots(struct command_context *context) {
    run_plain(context, BUS_COMMAND_FLUSHSLOTS);
}

/* [TIMEOUT ms] behind the action. It concerns the acknowledgement of replicas that are told in the
 * stream, which redis 7 does not do either; a bad one is refused all the same. */
static bool check_timeout(struct command_context *context, uint32_t from) {
    for (uint32_t i = from; i < context->argc; i++) {
        if (!context_argument_is(context, i, "TIMEOUT")) continue;
        int64_t timeout_ms = 0;
        enum bus_result result = BUS_OK;
        if (i + 1 == context->argc) {
            result = BUS_TIMEOUT_MISSING;
        } else if (!number_parse_i64(context->argv[i + 1], &timeout_ms)) {
            result = BUS_TIMEOUT_NOT_INTEGER;
        } else if (timeout_ms < 0) {
            result = BUS_TIMEOUT_NEGATIVE;
        }
        if (result != BUS_OK) {
            answer(context, result, &(struct bus_result_args){0});
            return false;
        }
        i++;
    }
    return true;
}

void cluster_command_setslot(struct command_context *context) {
    static const struct {
        const char *word;
        enum bus_command_type type;
        bool has_node;
    } actions[] = {
        {"MIGRATING", BUS_COMMAND_SETSLOT_MIGRATING, true},
        {"IMPORTING", BUS_COMMAND_SETSLOT_IMPORTING, true},
        {"STABLE", BUS_COMMAND_SETSLOT_STABLE, false},
        {"NODE", BUS_COMMAND_SETSLOT_NODE, true},
    };
    struct bus_command command = {
        .from_primary_link = context->session->kind == SESSION_PRIMARY,
    };
    if (!cluster_is_enabled(context)) return;
    struct cluster *cluster = context->modules->cluster;
    if (!cluster->is_primary && !command.from_primary_link) {
        answer(context, BUS_SETSLOT_REPLICA, &(struct bus_result_args){0});
        return;
    }
    if (!cluster_parse_slot(context, 2, &command.slot)) return;
    for (size_t i = 0; i < ARRAY_COUNT(actions); i++) {
        if (!context_argument_is(context, 3, actions[i].word)) continue;
        uint32_t words = actions[i].has_node ? 5 : 4;
        if (context->argc < words) break;
        command.type = actions[i].type;
        if (actions[i].has_node) command.node = context->argv[4];
        if (!check_timeout(context, words)) return;
        cluster_run_command(context, &command);
        return;
    }
    answer(context, BUS_SETSLOT_SYNTAX, &(struct bus_result_args){0});
}

/* -- the connection's own -- */

void cluster_command_asking(struct command_context *context) {
    if (!cluster_is_enabled(context)) return;
    context->session->is_asking = true;
    reply_ok(context->reply);
}

void cluster_command_readonly(struct command_context *context) {
    if (!cluster_is_enabled(context)) return;
    context->session->is_readonly = true;
    reply_ok(context->reply);
}

void cluster_command_readwrite(struct command_context *context) {
    if (!cluster_is_enabled(context)) return;
    context->session->is_readonly = false;
    reply_ok(context->reply);
}

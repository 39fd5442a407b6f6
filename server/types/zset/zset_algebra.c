/* Unions, intersections and differences of sorted sets, and of sets as if all their scores were 1.
 */
#include <math.h>
#include <stdlib.h>

#include "server/base/mem.h"
#include "server/types/set/set.h"
#include "server/types/zset/zset_internal.h"

enum operation { UNION, INTERSECTION, DIFFERENCE };
enum aggregate { SUM, MIN, MAX };

struct source {
    const struct record *record; /* NULL: no such key. */
    double weight;
};

struct request {
    enum operation operation;
    enum aggregate aggregate;
    bool is_store;
    bool only_counts; /* ZINTERCARD */
    bool has_scores;
    uint64_t limit; /* 0: none. */
    struct source *sources;
    uint32_t count;
};

static size_t source_count(const struct source *source) {
    if (source->record == NULL) return 0;
    return record_type(source->record) == RECORD_SET ? set_count(source->record)
                                                     : zset_count(source->record);
}

static double weighted(const struct source *source, double score) {
    double value = source->weight * score;
    return isnan(value) ? 0 : value; // 0 times infinity.
}

static bool source_score(const struct source *source, struct bytes member, double *out) {
    if (source->record == NULL) return false;
    if (record_type(source->record) == RECORD_ZSET) return zset_score(source->record, member, out);
    *out = 1;
    return set_contains(source->record, member);
}

struct source_visitor {
    void (*visit)(void *arg, struct bytes member, double score);
    void *arg;
};

static void visit_set_member(void *arg, const struct listpack_value *member) {
    const struct source_visitor *visitor = arg;
    char scratch[NUMBER_TEXT_MAX];
    visitor->visit(visitor->arg, element_text(member, scratch), 1);
}

static void source_walk(const struct source *source,
                        void (*visit)(void *arg, struct bytes member, double score), void *arg) {
    if (source->record == NULL) return;
    if (record_type(source->record) == RECORD_SET) {
        struct source_visitor visitor = {visit, arg};
        set_walk(source->record, visit_set_member, &visitor);
        return;
    }
    struct zset_cursor cursor;
    for (zset_cursor_begin(&cursor, source->record, 0); zset_cursor_has(&cursor);
         zset_cursor_next(&cursor)) {
        char scratch[NUMBER_TEXT_MAX];
        struct zset_element element = zset_cursor_get(&cursor);
        visit(arg, element_text(&element.member, scratch), element.score);
    }
}

static double aggregate(enum aggregate how, double a, double b) {
    if (how == MIN) return b < a ? b : a;
    if (how == MAX) return b > a ? b : a;
    double sum = a + b;
    return isnan(sum) ? 0 : sum; // Infinities of both signs.
}

/* -- the operations -- */

struct work {
    const struct request *request;
    const struct source *source; /* That is walked. */
    struct record *result;       /* NULL where it is only counted. */
    struct zset_policy policy;
    uint64_t count;
};

static void add_to_union(void *arg, struct bytes member, double score) {
    struct work *work = arg;
    double value = weighted(work->source, score);
    double known;
    if (zset_score(work->result, member, &known))
        value = aggregate(work->request->aggregate, known, value);
    zset_put(work->result, member, value, &work->policy);
}

static void add_if_everywhere(void *arg, struct bytes member, double score) {
    struct work *work = arg;
    const struct request *request = work->request;
    if (request->limit > 0 && work->count == request->limit) return;
    double value = weighted(work->source, score);
    for (uint32_t i = 1; i < request->count; i++) {
        const struct source *other = &request->sources[i];
        double other_score;
        if (other->record == request->sources[0].record) {
            other_score = score;
        } else if (!source_score(other, member, &other_score)) {
            return;
        }
        value = aggregate(request->aggregate, value, weighted(other, other_score));
    }
    work->count++;
    if (work->result != NULL) zset_put(work->result, member, value, &work->policy);
}

static void add_if_nowhere_else(void *arg, struct bytes member, double score) {
    struct work *work = arg;
    const struct request *request = work->request;
    for (uint32_t i = 1; i < request->count; i++) {
        double ignored;
        if (request->sources[i].record == request->sources[0].record ||
            source_score(&request->sources[i], member, &ignored))
            return;
    }
    zset_put(work->result, member, score, &work->policy);
}

/* By size, and in the order in which they were named where sizes are equal. */
static void sort_by_size(struct source *sources, uint32_t count) {
    for (uint32_t i = 1; i < count; i++) {
        struct source source = sources[i];
        size_t size = source_count(&source);
        uint32_t at = i;
        for (; at > 0 && source_count(&sources[at - 1]) > size; at--)
            sources[at] = sources[at - 1];
        sources[at] = source;
    }
}

static void operate(const struct request *request, struct work *work) {
    work->source = &request->sources[0];
    if (request->operation == DIFFERENCE) {
        source_walk(work->source, add_if_nowhere_else, work);
        return;
    }
    // Sums of floating point numbers depend on the order: the smallest set comes first.
    sort_by_size(request->sources, request->count);
    if (request->operation == INTERSECTION) {
        if (source_count(work->source) > 0) source_walk(work->source, add_if_everywhere, work);
        return;
    }
    for (uint32_t i = 0; i < request->count; i++) {
        work->source = &request->sources[i];
        source_walk(work->source, add_to_union, work);
    }
}

/* -- arguments -- */

static bool find_sources(struct command_context *context, uint32_t first, struct request *request) {
    for (uint32_t i = 0; i < request->count; i++) {
        struct key key = context_key(context, first + i);
        const struct record *record = context_find(context, &key);
        if (record != NULL && record_type(record) != RECORD_SET &&
            record_type(record) != RECORD_ZSET) {
            reply_wrong_type(context->reply);
            return false;
        }
        request->sources[i] = (struct source){record, 1};
    }
    return true;
}

static bool parse_weights(struct command_context *context, uint32_t first,
                          struct request *request) {
    for (uint32_t i = 0; i < request->count; i++) {
        if (number_parse_double(context->argv[first + i], &request->sources[i].weight)) continue;
        reply_error(context->reply, "ERR weight value is not a float");
        return false;
    }
    return true;
}

static bool parse_aggregate(struct command_context *context, uint32_t argument,
                            enum aggregate *out) {
    if (context_argument_is(context, argument, "SUM")) {
        *out = SUM;
    } else if (context_argument_is(context, argument, "MIN")) {
        *out = MIN;
    } else if (context_argument_is(context, argument, "MAX")) {
        *out = MAX;
    } else {
        reply_syntax_error(context->reply);
        return false;
    }
    return true;
}

static bool parse_options(struct command_context *context, uint32_t at, struct request *request) {
    bool may_weigh = request->operation != DIFFERENCE && !request->only_counts;
    for (; at < context->argc; at++) {
        uint32_t left = context->argc - at;
        int64_t limit = 0;
        if (may_weigh && left >= request->count + 1 &&
            context_argument_is(context, at, "WEIGHTS")) {
            if (!parse_weights(context, at + 1, request)) return false;
            at += request->count;
        } else if (may_weigh && left >= 2 && context_argument_is(context, at, "AGGREGATE")) {
            if (!parse_aggregate(context, at + 1, &request->aggregate)) return false;
            at++;
        } else if (!request->is_store && !request->only_counts &&
                   context_argument_is(context, at, "WITHSCORES")) {
            request->has_scores = true;
        } else if (request->only_counts && left >= 2 && context_argument_is(context, at, "LIMIT")) {
            if (!context_integer_in(context, at + 1, 0, INT64_MAX, &limit,
                                    "ERR LIMIT can't be negative"))
                return false;
            request->limit = (uint64_t)limit;
            at++;
        } else {
            reply_syntax_error(context->reply);
            return false;
        }
    }
    return true;
}

/* -- commands -- */

static void reply_result(struct reply *reply, const struct record *record, bool has_scores) {
    uint64_t count = zset_count(record);
    zset_reply_header(reply, count, has_scores);
    if (count == 0) return;
    struct zset_cursor cursor;
    zset_cursor_begin(&cursor, record, 0);
    for (; count > 0; count--) {
        struct zset_element element = zset_cursor_get(&cursor);
        zset_reply_element(reply, &element, has_scores);
        zset_cursor_next(&cursor);
    }
}

static void answer(struct command_context *context, const struct request *request) {
    struct work work = {
        .request = request,
        .policy = {context->types, rng_next(context->rng)},
    };
    struct key target = {0};
    if (request->is_store) target = context_key(context, 1);
    if (!request->only_counts) work.result = zset_record_create(target.name);
    // Scores on the way are exact, which those of a listpack are not: it knows one zero.
    if (work.result != NULL) zset_make_table(work.result, work.policy.seed);
    operate(request, &work);
    if (request->is_store) zset_settle(work.result, context->types);
    if (request->only_counts) {
        reply_integer(context->reply, (int64_t)work.count);
    } else if (request->is_store) {
        static const char *const events[] = {"zunionstore", "zinterstore", "zdiffstore"};
        zset_store_take(context, &target, events[request->operation], work.result);
    } else {
        reply_result(context->reply, work.result, request->has_scores);
        zset_record_free(work.result);
    }
}

/* `numkeys` is the argument that counts the keys behind it. */
static void run(struct command_context *context, uint32_t numkeys, struct request request) {
    int64_t count = 0;
    if (!context_integer(context, numkeys, &count, NULL)) return;
    if (count < 1) {
        reply_error_format(context->reply, "ERR at least 1 input key is needed for '%s' command",
                           context->command->name);
        return;
    }
    if (count > (int64_t)context->argc - numkeys - 1) {
        reply_syntax_error(context->reply);
        return;
    }
    request.count = (uint32_t)count;
    request.sources = mem_alloc(request.count * sizeof(*request.sources));
    if (find_sources(context, numkeys + 1, &request) &&
        parse_options(context, numkeys + 1 + request.count, &request))
        answer(context, &request);
    mem_free(request.sources);
}

void zset_zunion(struct command_context *context) {
    run(context, 1, (struct request){.operation = UNION});
}

void zset_zunionstore(struct command_context *context) {
    run(context, 2, (struct request){.operation = UNION, .is_store = true});
}

void zset_zinter(struct command_context *context) {
    run(context, 1, (struct request){.operation = INTERSECTION});
}

void zset_zinterstore(struct command_context *context) {
    run(context, 2, (struct request){.operation = INTERSECTION, .is_store = true});
}

void zset_zintercard(struct command_context *context) {
    run(context, 1, (struct request){.operation = INTERSECTION, .only_counts = true});
}

void zset_zdiff(struct command_context *context) {
    run(context, 1, (struct request){.operation = DIFFERENCE});
}

void zset_zdiffstore(struct command_context *context) {
    run(context, 2, (struct request){.operation = DIFFERENCE, .is_store = true});
}

/* Intersections, unions and differences. */
#include <stdlib.h>

#include "server/base/mem.h"
#include "server/types/set/set_internal.h"

enum { SOURCES_ON_STACK = 16 };

/* The sets that a command names; NULL for a key that is absent. */
struct sources {
    const struct record *on_stack[SOURCES_ON_STACK];
    const struct record **items;
    uint32_t count;
};

/* False after WRONGTYPE was answered; there is nothing to release then. */
static bool find_sources(struct command_context *context, uint32_t first, uint32_t count,
                         struct sources *out) {
    out->count = count;
    out->items = count <= SOURCES_ON_STACK ? out->on_stack : mem_alloc(count * sizeof(*out->items));
    for (uint32_t i = 0; i < count; i++) {
        struct key key = context_key(context, first + i);
        bool failed;
        out->items[i] = context_find_typed(context, &key, RECORD_SET, &failed);
        if (!failed) continue;
        if (out->items != out->on_stack) mem_free(out->items);
        return false;
    }
    return true;
}

static void sources_deinit(struct sources *sources) {
    if (sources->items != sources->on_stack) mem_free(sources->items);
}

/* Where results go: straight to the reply, into a set, or only counted. */
struct output {
    struct reply *reply;
    struct record *set;
    struct set_policy policy;
    size_t count;
    size_t limit; /* 0: none. */
};

static void put(struct output *output, const struct listpack_value *member) {
    char scratch[NUMBER_TEXT_MAX];
    if (output->set != NULL) {
        set_add(output->set, element_text(member, scratch), &output->policy);
    } else if (output->reply != NULL) {
        element_reply(output->reply, member);
    }
    output->count++;
}

/* -- intersection -- */

static int compare_sizes(const void *a, const void *b) {
    size_t left = set_count(*(const struct record *const *)a);
    size_t right = set_count(*(const struct record *const *)b);
    return left < right ? -1 : left > right;
}

struct intersection {
    const struct sources *sources;
    struct output *output;
};

static void keep_if_everywhere(void *arg, const struct listpack_value *member) {
    const struct intersection *intersection = arg;
    struct output *output = intersection->output;
    const struct sources *sources = intersection->sources;
    char scratch[NUMBER_TEXT_MAX];
    if (output->limit > 0 && output->count == output->limit) return;
    struct bytes text = element_text(member, scratch);
    for (uint32_t i = 1; i < sources->count; i++) {
        if (sources->items[i] != sources->items[0] && !set_contains(sources->items[i], text))
            return;
    }
    put(output, member);
}

/* The smallest set is walked, the others are asked. */
static void intersect(struct sources *sources, struct output *output) {
    for (uint32_t i = 0; i < sources->count; i++) {
        if (sources->items[i] == NULL) return;
    }
    qsort(sources->items, sources->count, sizeof(*sources->items), compare_sizes);
    struct intersection intersection = {sources, output};
    set_walk(sources->items[0], keep_if_everywhere, &intersection);
}

/* -- union and difference -- */

static void add_member(void *arg, const struct listpack_value *member) {
    struct output *output = arg;
    char scratch[NUMBER_TEXT_MAX];
    output->count += set_add(output->set, element_text(member, scratch), &output->policy);
}

static void unite(struct sources *sources, struct output *output) {
    for (uint32_t i = 0; i < sources->count; i++) {
        if (sources->items[i] != NULL) set_walk(sources->items[i], add_member, output);
    }
}

static void keep_if_nowhere_else(void *arg, const struct listpack_value *member) {
    const struct intersection *difference = arg;
    const struct sources *sources = difference->sources;
    char scratch[NUMBER_TEXT_MAX];
    struct bytes text = element_text(member, scratch);
    for (uint32_t i = 1; i < sources->count; i++) {
        if (sources->items[i] != NULL && set_contains(sources->items[i], text)) return;
    }
    put(difference->output, member);
}

static void subtract(struct sources *sources, struct output *output) {
    if (sources->items[0] == NULL) return;
    for (uint32_t i = 1; i < sources->count; i++) {
        if (sources->items[i] == sources->items[0]) return;
    }
    struct intersection difference = {sources, output};
    set_walk(sources->items[0], keep_if_nowhere_else, &difference);
}

/* -- commands -- */

/* Answers with the result. A union has to be put together first, since members repeat. */
static void answer(struct command_context *context,
                   void (*operation)(struct sources *sources, struct output *output)) {
    struct sources sources;
    if (!find_sources(context, 1, context->argc - 1, &sources)) return;
    struct output output = {.reply = context->reply};
    if (operation == unite) {
        output.policy = (struct set_policy){context->types, rng_next(context->rng)};
        output.set = set_record_create(BYTES_LITERAL(""));
        unite(&sources, &output);
        reply_set(context->reply, output.count);
        struct output copy = {.reply = context->reply};
        struct sources all = {.count = 1};
        all.items = all.on_stack;
        all.items[0] = output.set;
        subtract(&all, &copy);
        set_destroy(output.set);
        record_free(output.set);
    } else {
        size_t mark = reply_begin(context->reply);
        operation(&sources, &output);
        reply_end_set(context->reply, mark, output.count);
    }
    sources_deinit(&sources);
}

/* Puts the result under the first key; an empty one deletes what is there. */
static void store(struct command_context *context, const char *event,
                  void (*operation)(struct sources *sources, struct output *output)) {
    struct key target = context_key(context, 1);
    struct sources sources;
    if (!find_sources(context, 2, context->argc - 2, &sources)) return;
    struct output output = {
        .set = set_record_create(target.name),
        .policy = {context->types, rng_next(context->rng)},
    };
    operation(&sources, &output);
    sources_deinit(&sources);
    struct table_entry entry;
    bool was_there = context_find_to_remove(context, &target, &entry);
    if (output.count > 0) {
        context_put_take(context, &target, &entry, output.set);
        context_changed(context, &target, EVENT_SET, event);
    } else {
        set_destroy(output.set);
        record_free(output.set);
        if (was_there) {
            context_changed(context, &target, EVENT_GENERIC, "del");
            context_unlink(context, &target, &entry);
        }
    }
    reply_integer(context->reply, (int64_t)output.count);
}

void set_sinter(struct command_context *context) {
    answer(context, intersect);
}

void set_sunion(struct command_context *context) {
    answer(context, unite);
}

void set_sdiff(struct command_context *context) {
    answer(context, subtract);
}

void set_sinterstore(struct command_context *context) {
    store(context, "sinterstore", intersect);
}

void set_sunionstore(struct command_context *context) {
    store(context, "sunionstore", unite);
}

void set_sdiffstore(struct command_context *context) {
    store(context, "sdiffstore", subtract);
}

void set_sintercard(struct command_context *context) {
    int64_t count = 0;
    int64_t limit = 0;
    if (!context_integer_in(context, 1, 1, INT64_MAX, &count,
                            "ERR numkeys should be greater than 0"))
        return;
    if (count > (int64_t)context->argc - 2) {
        reply_error(context->reply, "ERR Number of keys can't be greater than number of args");
        return;
    }
    for (uint32_t i = 2 + (uint32_t)count; i < context->argc; i++) {
        if (!context_argument_is(context, i, "LIMIT") || i + 1 == context->argc) {
            reply_syntax_error(context->reply);
            return;
        }
        if (!context_integer_in(context, ++i, 0, INT64_MAX, &limit, "ERR LIMIT can't be negative"))
            return;
    }
    struct sources sources;
    if (!find_sources(context, 2, (uint32_t)count, &sources)) return;
    struct output output = {.limit = (size_t)limit};
    intersect(&sources, &output);
    sources_deinit(&sources);
    reply_integer(context->reply, (int64_t)output.count);
}

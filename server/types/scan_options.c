#include "server/types/scan_options.h"

#include "server/base/glob.h"
#include "server/base/number.h"
#include "server/types/generic/scan_cursor.h"

#define RECORDS_PER_BUCKET 6u

static bool parse_options(struct command_context *context, struct scan_options *out) {
    for (uint32_t i = 3; i < context->argc; i += 2) {
        bool has_value = i + 1 < context->argc;
        if (has_value && context_argument_is(context, i, "count")) {
            int64_t count;
            if (!context_integer(context, i + 1, &count, NULL)) return false;
            out->count = (uint64_t)count;
            if (count >= 1) continue;
        } else if (has_value && context_argument_is(context, i, "match")) {
            out->pattern = context->argv[i + 1];
            if (bytes_equal_text(out->pattern, "*")) out->pattern = bytes_of(NULL, 0);
            continue;
        }
        reply_syntax_error(context->reply);
        return false;
    }
    return true;
}

const struct record *scan_begin(struct command_context *context, enum record_type type,
                                struct scan_options *out) {
    uint64_t cursor;
    *out = (struct scan_options){.count = 10};
    if (!scan_cursor_parse(context->argv[2], &cursor)) {
        reply_error(context->reply, "ERR invalid cursor");
        return NULL;
    }
    out->place = scan_position_of(cursor).place;
    struct key key = context_key(context, 1);
    bool failed;
    const struct record *record = context_find_typed(context, &key, type, &failed);
    if (failed) return NULL;
    if (record == NULL) {
        scan_reply_cursor(context, 0);
        reply_empty_array(context->reply);
        return NULL;
    }
    return parse_options(context, out) ? record : NULL;
}

bool scan_matches(const struct scan_options *options, struct bytes element) {
    return options->pattern.data == NULL || glob_matches(options->pattern, element, false);
}

struct counting_visitor {
    void (*visit)(void *arg, struct record *record);
    void *arg;
    uint64_t seen;
};

static void count_and_visit(void *arg, struct record *record) {
    struct counting_visitor *visitor = arg;
    visitor->seen++;
    visitor->visit(visitor->arg, record);
}

uint64_t scan_table(const struct scan_options *options, const struct table *table,
                    const struct table_hasher *hasher,
                    void (*visit)(void *arg, struct record *record), void *arg) {
    struct counting_visitor visitor = {visit, arg, 0};
    uint64_t place = options->place;
    uint64_t buckets_left =
        options->count < UINT32_MAX / 10 ? options->count * 10 : (uint64_t)UINT32_MAX;
    do {
        uint64_t buckets = (options->count - visitor.seen) / RECORDS_PER_BUCKET + 1;
        if (buckets > buckets_left) buckets = buckets_left;
        uint64_t next = scan_place_cut(table_place_after(table, place, (uint32_t)buckets));
        table_walk(table, place, next, hasher, count_and_visit, &visitor);
        place = next;
        buckets_left -= buckets;
    } while (place != 0 && visitor.seen < options->count && buckets_left > 0);
    return place;
}

void scan_reply_cursor(struct command_context *context, uint64_t place) {
    reply_array(context->reply, 2);
    uint64_t cursor = scan_cursor_of((struct scan_position){.place = place});
    char digits[NUMBER_TEXT_MAX];
    reply_bulk(context->reply, bytes_of(digits, number_format_u64(cursor, digits)));
}

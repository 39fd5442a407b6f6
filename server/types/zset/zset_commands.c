/* Members added, removed, asked for; what the other command files share. */
#include <math.h>

#include "server/types/scan_options.h"
#include "server/types/zset/zset_internal.h"

/* -- shared -- */

bool zset_find(struct command_context *context, const struct record **out) {
    struct key key = context_key(context, 1);
    bool failed;
    *out = context_find_typed(context, &key, RECORD_ZSET, &failed);
    return !failed;
}

void zset_delete_if_empty(struct command_context *context, const struct key *key,
                          struct table_entry *entry) {
    if (zset_count(entry->record) > 0) return;
    context_delete(context, key, entry);
    context_event(context, key, EVENT_GENERIC, "del");
}

void zset_store_take(struct command_context *context, const struct key *key, const char *event,
                     struct record *result) {
    struct table_entry entry;
    bool was_there = context_find_to_remove(context, key, &entry);
    size_t count = zset_count(result);
    if (count > 0) {
        context_put_take(context, key, &entry, result);
        context_changed(context, key, EVENT_ZSET, event);
    } else {
        zset_record_free(result);
        if (was_there) {
            context_unlink(context, key, &entry);
            context_changed(context, key, EVENT_GENERIC, "del");
        }
    }
    reply_integer(context->reply, (int64_t)count);
}

void zset_reply_header(struct reply *reply, uint64_t count, bool has_scores) {
    reply_array(reply, has_scores && !reply_is_resp3(reply) ? count * 2 : count);
}

void zset_reply_element(struct reply *reply, const struct zset_element *element, bool has_scores) {
    if (has_scores && reply_is_resp3(reply)) reply_array(reply, 2);
    element_reply(reply, &element->member);
    if (has_scores) reply_double(reply, element->score);
}

/* -- ZADD, ZINCRBY -- */

struct add_options {
    bool only_new;
    bool only_old;
    bool only_greater;
    bool only_less;
    bool counts_changes;
    bool is_increment;
};

/* Reads the options; returns the argument of the first score, 0 after an error was answered. */
static uint32_t parse_add_options(struct command_context *context, struct add_options *out) {
    uint32_t at = 2;
    *out = (struct add_options){false};
    for (; at < context->argc; at++) {
        if (context_argument_is(context, at, "NX")) {
            out->only_new = true;
        } else if (context_argument_is(context, at, "XX")) {
            out->only_old = true;
        } else if (context_argument_is(context, at, "CH")) {
            out->counts_changes = true;
        } else if (context_argument_is(context, at, "INCR")) {
            out->is_increment = true;
        } else if (context_argument_is(context, at, "GT")) {
            out->only_greater = true;
        } else if (context_argument_is(context, at, "LT")) {
            out->only_less = true;
        } else {
            break;
        }
    }
    uint32_t words = context->argc - at;
    const char *error = NULL;
    if (words == 0 || words % 2 != 0) {
        error = "ERR syntax error";
    } else if (out->only_new && out->only_old) {
        error = "ERR XX and NX options at the same time are not compatible";
    } else if ((out->only_greater && (out->only_new || out->only_less)) ||
               (out->only_less && out->only_new)) {
        error = "ERR GT, LT, and/or NX options at the same time are not compatible";
    } else if (out->is_increment && words > 2) {
        error = "ERR INCR option supports a single increment-element pair";
    }
    if (error != NULL) {
        reply_error(context->reply, error);
        return 0;
    }
    return at;
}

struct additions {
    uint64_t added;
    uint64_t updated;
    uint64_t processed; /* Not held back by a condition. */
    double score;       /* The last one. */
};

/* False when an increment has no number as its result. */
static bool add_one(struct record *record, const struct add_options *options, struct bytes member,
                    double score, const struct zset_policy *policy, struct additions *counts) {
    double old = 0;
    bool is_there = zset_score(record, member, &old);
    if (is_there ? options->only_new : options->only_old) return true;
    if (is_there) {
        if (options->is_increment) score += old;
        if (isnan(score)) return false;
        if ((options->only_greater && score <= old) || (options->only_less && score >= old))
            return true;
    }
    counts->processed++;
    counts->score = score;
    if (is_there && score == old) return true;
    zset_put(record, member, score, policy);
    counts->added += !is_there;
    counts->updated += is_there;
    return true;
}

static void add(struct command_context *context, const struct add_options *options,
                uint32_t first_score) {
    double score = 0;
    for (uint32_t i = first_score; i < context->argc; i += 2) {
        if (!context_double(context, i, &score)) return;
    }
    struct key key = context_key(context, 1);
    struct table_entry entry;
    if (!context_find_typed_for_write(context, &key, RECORD_ZSET, &entry)) return;
    struct additions counts = {0};
    bool is_number = true;
    if (entry.record != NULL || !options->only_old) {
        struct record *record = entry.record != NULL ? entry.record : zset_record_create(key.name);
        const struct zset_policy policy = {context->types, rng_next(context->rng)};
        for (uint32_t i = first_score; is_number && i < context->argc; i += 2) {
            if (first_score + 2 < context->argc) // A single score has been read already.
                number_parse_double(context->argv[i], &score);
            is_number = add_one(record, options, context->argv[i + 1], score, &policy, &counts);
        }
        if (entry.record == NULL) context_insert_take(context, &key, record);
    }
    if (counts.added + counts.updated > 0) {
        context_changed(context, &key, EVENT_ZSET, options->is_increment ? "zincr" : "zadd");
        context->changes += counts.added + counts.updated - 1;
    }
    if (!is_number) {
        reply_error(context->reply, "ERR resulting score is not a number (NaN)");
    } else if (!options->is_increment) {
        reply_integer(context->reply,
                      (int64_t)(counts.added + (options->counts_changes ? counts.updated : 0)));
    } else if (counts.processed > 0) {
        reply_double(context->reply, counts.score);
    } else {
        reply_null(context->reply);
    }
}

void zset_zadd(struct command_context *context) {
    struct add_options options;
    uint32_t first_score = parse_add_options(context, &options);
    if (first_score > 0) add(context, &options, first_score);
}

void zset_zincrby(struct command_context *context) {
    add(context, &(struct add_options){.is_increment = true}, 2);
}

/* -- ZREM -- */

void zset_zrem(struct command_context *context) {
    struct key key = context_key(context, 1);
    struct table_entry entry;
    if (!context_find_typed_for_write(context, &key, RECORD_ZSET, &entry)) return;
    int64_t removed = 0;
    for (uint32_t i = 2; entry.record != NULL && i < context->argc; i++)
        removed += zset_remove(entry.record, context->argv[i]);
    if (removed > 0) {
        context_changed(context, &key, EVENT_ZSET, "zrem");
        context->changes += (uint64_t)removed - 1;
        zset_delete_if_empty(context, &key, &entry);
    }
    reply_integer(context->reply, removed);
}

/* -- reading -- */

void zset_zcard(struct command_context *context) {
    const struct record *record;
    if (zset_find(context, &record))
        reply_integer(context->reply, record == NULL ? 0 : (int64_t)zset_count(record));
}

static void reply_score(struct command_context *context, const struct record *record,
                        struct bytes member) {
    double score;
    if (record != NULL && zset_score(record, member, &score)) {
        reply_double(context->reply, score);
    } else {
        reply_null(context->reply);
    }
}

void zset_zscore(struct command_context *context) {
    const struct record *record;
    if (zset_find(context, &record)) reply_score(context, record, context->argv[2]);
}

void zset_zmscore(struct command_context *context) {
    const struct record *record;
    if (!zset_find(context, &record)) return;
    reply_array(context->reply, context->argc - 2);
    for (uint32_t i = 2; i < context->argc; i++)
        reply_score(context, record, context->argv[i]);
}

bool zset_rank_fits(const struct bytes *argv, uint32_t argc) {
    return argc == 3 || (argc == 4 && bytes_equal_text_nocase(argv[3], "WITHSCORE"));
}

static void rank(struct command_context *context, bool is_reversed) {
    bool has_score = context->argc > 3;
    const struct record *record;
    uint64_t found = 0;
    double score = 0;
    if (!zset_find(context, &record)) return;
    if (record == NULL || !zset_rank(record, context->argv[2], &found, &score)) {
        if (has_score) {
            reply_null_array(context->reply);
        } else {
            reply_null(context->reply);
        }
        return;
    }
    if (is_reversed) found = zset_count(record) - 1 - found;
    if (has_score) reply_array(context->reply, 2);
    reply_integer(context->reply, (int64_t)found);
    if (has_score) reply_double(context->reply, score);
}

void zset_zrank(struct command_context *context) {
    rank(context, false);
}

void zset_zrevrank(struct command_context *context) {
    rank(context, true);
}

/* -- ZSCAN -- */

struct scan {
    const struct scan_options *options;
    struct reply *reply;
    bool is_listpack;
    size_t elements;
};

static void scan_element(struct scan *scan, const struct zset_element *element) {
    char scratch[NUMBER_TEXT_MAX];
    char score[64];
    if (!scan_matches(scan->options, element_text(&element->member, scratch))) return;
    element_reply(scan->reply, &element->member);
    // A listpack's integers are told as they lie there, however many digits they have.
    bool is_whole = scan->is_listpack && fabs(element->score) <= 4611686018427387904.0 &&
                    element->score == floor(element->score);
    unsigned len = is_whole ? number_format_i64((int64_t)element->score, score)
                            : number_format_17_digits(element->score, score, sizeof(score));
    reply_bulk(scan->reply, bytes_of(score, len));
    scan->elements += 2;
}

static void scan_record(void *arg, struct record *member) {
    struct zset_element element = {{.text = record_key(member)}, zset_record_score(member)};
    scan_element(arg, &element);
}

void zset_zscan(struct command_context *context) {
    struct scan_options options;
    const struct record *record = scan_begin(context, RECORD_ZSET, &options);
    if (record == NULL) return;
    const struct zset_table *set = zset_table_of(record);
    struct scan scan = {&options, context->reply, set == NULL, 0};
    if (set == NULL) {
        // Small: everything at once, as a member's place would not survive changes.
        scan_reply_cursor(context, 0);
        size_t mark = reply_begin(context->reply);
        struct zset_cursor cursor;
        for (zset_cursor_begin(&cursor, record, 0); zset_cursor_has(&cursor);
             zset_cursor_next(&cursor)) {
            struct zset_element element = zset_cursor_get(&cursor);
            scan_element(&scan, &element);
        }
        reply_end_array(context->reply, mark, scan.elements);
        return;
    }
    // The cursor stands before the members and is known after them.
    struct buffer elements = {0};
    struct reply aside = *context->reply;
    aside.out = &elements;
    scan.reply = &aside;
    struct table_hasher hasher = zset_hasher(set);
    uint64_t place = scan_table(&options, &set->table, &hasher, scan_record, &scan);
    scan_reply_cursor(context, place);
    reply_array(context->reply, scan.elements);
    reply_raw(context->reply, buffer_view(&elements));
    buffer_deinit(&elements);
}

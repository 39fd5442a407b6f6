/* Walks and random picks: HSCAN, HRANDFIELD. */
#include "server/base/mem.h"
#include "server/types/hash/hash_internal.h"
#include "server/types/scan_options.h"
#include "server/types/table_picks.h"

/* -- HSCAN ------------------------------------------------------------------------------------- */

struct scan {
    const struct scan_options *options;
    struct reply *reply;
    size_t elements;
};

static void scan_pair(void *arg, const struct hash_pair *pair) {
    struct scan *scan = arg;
    char scratch[NUMBER_TEXT_MAX];
    if (!scan_matches(scan->options, element_text(&pair->field, scratch))) return;
    element_reply(scan->reply, &pair->field);
    element_reply(scan->reply, &pair->value);
    scan->elements += 2;
}

static void scan_field(void *arg, struct record *field) {
    struct hash_pair pair = hash_pair_of(field);
    scan_pair(arg, &pair);
}

void hash_hscan(struct command_context *context) {
    struct scan_options options;
    const struct record *record = scan_begin(context, RECORD_HASH, &options);
    if (record == NULL) return;
    const struct hash_table *hash = hash_table_of(record);
    struct scan scan = {&options, context->reply, 0};
    if (hash == NULL) {
        // Small: everything at once, as an element's place would not survive changes.
        scan_reply_cursor(context, 0);
        size_t mark = reply_begin(context->reply);
        hash_walk(record, 0, 0, scan_pair, &scan);
        reply_end_array(context->reply, mark, scan.elements);
        return;
    }
    // The cursor stands before the elements and is known after them.
    struct buffer elements = {0};
    struct reply aside = *context->reply;
    aside.out = &elements;
    scan.reply = &aside;
    struct table_hasher hasher = hash_hasher(hash);
    uint64_t place = scan_table(&options, &hash->table, &hasher, scan_field, &scan);
    scan_reply_cursor(context, place);
    reply_array(context->reply, scan.elements);
    reply_raw(context->reply, buffer_view(&elements));
    buffer_deinit(&elements);
}

/* -- HRANDFIELD -------------------------------------------------------------------------------- */

struct picks {
    struct command_context *context;
    const struct record *record;
    bool with_values;
};

static void reply_pick(const struct picks *picks, const struct hash_pair *pair) {
    struct reply *reply = picks->context->reply;
    if (picks->with_values && reply_is_resp3(reply)) reply_array(reply, 2);
    element_reply(reply, &pair->field);
    if (picks->with_values) element_reply(reply, &pair->value);
}

static void reply_picked_record(const struct picks *picks, const struct record *field) {
    struct hash_pair pair = hash_pair_of(field);
    reply_pick(picks, &pair);
}

static void reply_picks_header(const struct picks *picks, size_t count) {
    struct reply *reply = picks->context->reply;
    reply_array(reply, picks->with_values && !reply_is_resp3(reply) ? count * 2 : count);
}

/* The places of all fields of a listpack, so that picks cost no walk each. mem_free it. */
static size_t *field_places(const uint8_t *block, size_t count) {
    size_t *places = mem_alloc(count * sizeof(*places));
    size_t at = 0;
    for (size_t place = listpack_first(block); place != 0;) {
        places[at++] = place;
        (void)hash_next_pair(block, &place);
    }
    return places;
}

static void reply_place(const struct picks *picks, size_t place) {
    struct hash_pair pair = hash_next_pair(record_pointer(picks->record), &place);
    reply_pick(picks, &pair);
}

/* `count` picks, each among all fields. A client may ask for more than it can be sent: who closes
 * it ends the work. */
static void reply_repeated(const struct picks *picks, uint64_t count) {
    struct command_context *context = picks->context;
    const struct hash_table *hash = hash_table_of(picks->record);
    size_t size = hash_count(picks->record);
    size_t *places = hash == NULL ? field_places(record_pointer(picks->record), size) : NULL;
    reply_picks_header(picks, count);
    for (; count > 0 && !context->session->close_now; count--) {
        if (hash == NULL) {
            reply_place(picks, places[rng_below(context->rng, size)]);
        } else {
            reply_picked_record(picks, table_random(&hash->table, context->rng));
        }
    }
    mem_free(places);
}

static void reply_visited(void *arg, const struct hash_pair *pair) {
    reply_pick(arg, pair);
}

/* `count` different fields of a listpack, fewer than it has: each is taken with the chance that
 * what is still wanted has among what is still to come. */
static void reply_different_of_listpack(const struct picks *picks, size_t count) {
    size_t left = hash_count(picks->record);
    const uint8_t *block = record_pointer(picks->record);
    for (size_t place = listpack_first(block); count > 0; left--) {
        struct hash_pair pair = hash_next_pair(block, &place);
        if (rng_below(picks->context->rng, left) >= count) continue;
        reply_pick(picks, &pair);
        count--;
    }
}

static void reply_visited_record(void *arg, struct record *field) {
    reply_picked_record(arg, field);
}

static void reply_different(struct picks *picks, uint64_t count) {
    const struct hash_table *hash = hash_table_of(picks->record);
    size_t size = hash_count(picks->record);
    if (count >= size) {
        reply_picks_header(picks, size);
        hash_walk(picks->record, 0, 0, reply_visited, picks);
        return;
    }
    reply_picks_header(picks, count);
    if (hash == NULL) {
        reply_different_of_listpack(picks, count);
        return;
    }
    struct table_hasher hasher = hash_hasher(hash);
    table_pick_different(&hash->table, &hasher, picks->context->rng, count, reply_visited_record,
                         picks);
}

static void reply_one(const struct picks *picks) {
    const struct hash_table *hash = hash_table_of(picks->record);
    struct rng *rng = picks->context->rng;
    if (hash != NULL) {
        reply_picked_record(picks, table_random(&hash->table, rng));
        return;
    }
    const uint8_t *block = record_pointer(picks->record);
    size_t index = rng_below(rng, hash_count(picks->record));
    reply_place(picks, listpack_seek(block, (int64_t)(index * 2)));
}

/* Reads [count [WITHVALUES]]; false after an error was answered. */
static bool parse_picks(struct command_context *context, int64_t *out_count, bool *out_values) {
    if (!context_integer_in(context, 2, -INT64_MAX, INT64_MAX, out_count, NULL)) return false;
    *out_values = context->argc > 3;
    if (context->argc == 3) return true;
    if (context->argc > 4 || !context_argument_is(context, 3, "withvalues")) {
        reply_syntax_error(context->reply);
        return false;
    }
    if (*out_count < -INT64_MAX / 2 || *out_count > INT64_MAX / 2) {
        reply_error(context->reply, "ERR value is out of range");
        return false;
    }
    return true;
}

void hash_hrandfield(struct command_context *context) {
    struct picks picks = {.context = context};
    int64_t count = 1;
    bool has_count = context->argc > 2;
    if (has_count && !parse_picks(context, &count, &picks.with_values)) return;
    struct key key = context_key(context, 1);
    bool failed;
    picks.record = context_find_typed(context, &key, RECORD_HASH, &failed);
    if (failed) return;
    if (!has_count) {
        if (picks.record == NULL) {
            reply_null(context->reply);
        } else {
            reply_one(&picks);
        }
    } else if (picks.record == NULL || count == 0) {
        reply_empty_array(context->reply);
    } else if (count > 0) {
        reply_different(&picks, (uint64_t)count);
    } else {
        reply_repeated(&picks, (uint64_t)-count);
    }
}

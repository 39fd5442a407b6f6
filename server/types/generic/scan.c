/* Walks over all keys: KEYS, SCAN, RANDOMKEY.
 *
 * They lock one slot at a time and only for a bounded number of buckets, so that no writer waits
 * for a walk. Inside an exclusive section nothing is locked. Expired keys are passed over and left
 * to the expiry, since these commands own no slot in which they could delete.
 */
#include "server/base/buffer.h"
#include "server/base/glob.h"
#include "server/base/number.h"
#include "server/types/generic/generic_internal.h"
#include "server/types/generic/scan_cursor.h"

#define STEP_BUCKETS_MAX 64u /* Looked at under one lock: some 25 us. */
#define RECORDS_PER_BUCKET 6u
#define RANDOM_TRIES 100u

/* What a walk has to find, and where it puts it. */
struct walk {
    struct command_context *context;
    struct bytes pattern; /* Without data: every name. */
    struct bytes type;    /* Without data: every type. */
    unsigned last_slot;
    struct reply *reply;
    uint64_t seen;  /* Records looked at. */
    uint64_t found; /* Those that were replied. */
    uint64_t limit; /* Reply no more than so many; 0: no limit. */
};

static void lock_slot(struct command_context *context, unsigned slot) {
    if (!context->is_exclusive)
        slot_lock_acquire(&databases_slot(context->databases, (uint16_t)slot)->lock);
}

static void unlock_slot(struct command_context *context, unsigned slot) {
    if (!context->is_exclusive)
        slot_lock_release(&databases_slot(context->databases, (uint16_t)slot)->lock);
}

static bool type_matches(const struct walk *walk, const struct record *record) {
    return bytes_equal_text_nocase(walk->type,
                                   databases_type(walk->context->databases, record)->name);
}

static void visit(void *arg, struct record *record) {
    struct walk *walk = arg;
    walk->seen++;
    if (walk->limit && walk->found == walk->limit) return;
    struct bytes name = record_key(record);
    if (walk->pattern.data && !glob_matches(walk->pattern, name, false)) return;
    if (generic_is_hidden(walk->context, record)) return;
    if (walk->type.data && !type_matches(walk, record)) return;
    reply_bulk(walk->reply, name);
    walk->found++;
}

/* Looks at about `buckets` buckets from `position` on. Returns where to go on; behind the walk's
 * last slot when it is over. */
static struct scan_position walk_step(struct walk *walk, struct scan_position position,
                                      uint32_t buckets) {
    struct keyspace *keyspace = walk->context->keyspace;
    lock_slot(walk->context, position.slot);
    struct table *table = keyspace_table(keyspace, (uint16_t)position.slot);
    uint64_t next = scan_place_after(table, position.place, buckets);
    table_walk(table, position.place, next, keyspace_hasher(keyspace), visit, walk);
    unlock_slot(walk->context, position.slot);
    if (next != 0) return (struct scan_position){position.slot, next};
    return (struct scan_position){keyspace_next_slot(keyspace, position.slot + 1), 0};
}

/* Where a walk from `position` finds its first keys. A pattern with a hash tag pins it to one slot
 * of a cluster. */
static struct scan_position walk_begin(struct walk *walk, struct scan_position position) {
    unsigned first = 0;
    walk->last_slot = SLOT_COUNT - 1;
    struct bytes tag;
    if (databases_is_cluster(walk->context->databases) && walk->pattern.data &&
        scan_pattern_tag(walk->pattern, &tag))
        first = walk->last_slot = key_hash_slot(tag);
    if (position.slot < first) position = (struct scan_position){first, 0};
    if (position.slot >= SLOT_COUNT) return position;
    unsigned slot = keyspace_next_slot(walk->context->keyspace, position.slot);
    return slot == position.slot ? position : (struct scan_position){slot, 0};
}

static bool walk_is_over(const struct walk *walk, struct scan_position position) {
    return position.slot > walk->last_slot;
}

void generic_keys(struct command_context *context) {
    struct walk walk = {.context = context, .reply = context->reply};
    if (!bytes_equal_text(context->argv[1], "*")) walk.pattern = context->argv[1];
    size_t mark = reply_begin(context->reply);
    struct scan_position position = walk_begin(&walk, (struct scan_position){0, 0});
    while (!walk_is_over(&walk, position))
        position = walk_step(&walk, position, STEP_BUCKETS_MAX);
    reply_end_array(context->reply, mark, walk.found);
}

struct scan_options {
    struct bytes pattern;
    struct bytes type;
    int64_t count;
};

static bool parse_scan_options(struct command_context *context, struct scan_options *out) {
    *out = (struct scan_options){.count = 10};
    for (uint32_t i = 2; i < context->argc; i += 2) {
        bool has_value = i + 1 < context->argc;
        if (has_value && context_argument_is(context, i, "COUNT")) {
            if (!context_integer(context, i + 1, &out->count, NULL)) return false;
            if (out->count >= 1) continue;
        } else if (has_value && context_argument_is(context, i, "MATCH")) {
            out->pattern = context->argv[i + 1];
            if (bytes_equal_text(out->pattern, "*")) out->pattern = bytes_of(NULL, 0);
            continue;
        } else if (has_value && context_argument_is(context, i, "TYPE")) {
            out->type = context->argv[i + 1];
            continue;
        }
        reply_syntax_error(context->reply);
        return false;
    }
    return true;
}

/* Goes on over slots until `count` keys were looked at, those that do not match included. */
static struct scan_position scan(struct walk *walk, struct scan_position position, uint64_t count) {
    position = walk_begin(walk, position);
    while (!walk_is_over(walk, position) && walk->seen < count) {
        uint64_t buckets = (count - walk->seen) / RECORDS_PER_BUCKET + 1;
        if (buckets > STEP_BUCKETS_MAX) buckets = STEP_BUCKETS_MAX;
        position = walk_step(walk, position, (uint32_t)buckets);
    }
    return position;
}

void generic_scan(struct command_context *context) {
    uint64_t cursor;
    struct scan_options options;
    if (!scan_cursor_parse(context->argv[1], &cursor)) {
        reply_error(context->reply, "ERR invalid cursor");
        return;
    }
    if (!parse_scan_options(context, &options)) return;

    /* The cursor stands before the names in the reply, and is known only after them. */
    struct buffer names = {0};
    struct reply names_reply = {.out = &names, .resp = context->reply->resp};
    struct walk walk = {
        .context = context,
        .pattern = options.pattern,
        .type = options.type,
        .reply = &names_reply,
    };
    struct scan_position position = scan(&walk, scan_position_of(cursor), (uint64_t)options.count);
    char digits[NUMBER_TEXT_MAX];
    uint64_t next = walk_is_over(&walk, position) ? 0 : scan_cursor_of(position);
    reply_array(context->reply, 2);
    reply_bulk(context->reply, bytes_of(digits, number_format_u64(next, digits)));
    reply_array(context->reply, walk.found);
    reply_raw(context->reply, buffer_view(&names));
    buffer_deinit(&names);
}

/* Replies the name of a random key of one slot. False when the one that was picked is hidden or
 * none was there any more. */
static bool try_random_key(struct command_context *context, unsigned slot) {
    lock_slot(context, slot);
    struct table *table = keyspace_table(context->keyspace, (uint16_t)slot);
    const struct record *record = table_random(table, context->rng);
    bool is_good = record && !generic_is_hidden(context, record);
    if (is_good) reply_bulk(context->reply, record_key(record));
    unlock_slot(context, slot);
    return is_good;
}

/* Where nearly all keys have expired, tries would not end: the first living one must do. */
static bool reply_first_key(struct command_context *context) {
    struct walk walk = {.context = context, .reply = context->reply, .limit = 1};
    struct scan_position position = walk_begin(&walk, (struct scan_position){0, 0});
    while (!walk_is_over(&walk, position) && walk.found == 0)
        position = walk_step(&walk, position, STEP_BUCKETS_MAX);
    return walk.found > 0;
}

void generic_randomkey(struct command_context *context) {
    for (unsigned i = 0; i < RANDOM_TRIES; i++) {
        unsigned slot = keyspace_random_slot(context->keyspace, context->rng);
        if (slot == SLOT_COUNT) break;
        if (try_random_key(context, slot)) return;
    }
    if (!reply_first_key(context)) reply_null(context->reply);
}

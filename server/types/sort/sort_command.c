#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/command/access.h"
#include "server/types/hash/hash.h"
#include "server/types/list/list.h"
#include "server/types/set/set.h"
#include "server/types/sort/sort_internal.h"
#include "server/types/string/string.h"
#include "server/types/zset/zset.h"

/* -- arguments -- */

struct sort_options {
    bool is_descending;
    bool is_alphabetical;
    bool keeps_order; /* BY a pattern without '*'. */
    bool has_limit;
    int64_t offset;
    int64_t count;
    struct bytes by; /* Without data: by the elements themselves. */
    uint32_t get_count;
    uint32_t store_argument; /* 0: answer. */
};

static bool has_star(struct bytes pattern) {
    return pattern.len > 0 && memchr(pattern.data, '*', pattern.len) != NULL;
}

static bool is_word(struct bytes argument, const char *word) {
    return bytes_equal_text_nocase(argument, word);
}

enum command_class sort_classify(const struct bytes *argv, uint32_t argc) {
    for (uint32_t i = 2; i + 1 < argc; i++) {
        if ((is_word(argv[i], "BY") || is_word(argv[i], "GET")) && has_star(argv[i + 1]))
            return COMMAND_CLASS_EXCLUSIVE;
    }
    return COMMAND_CLASS_KEYS;
}

uint32_t sort_key_flags(const struct bytes *argv, uint32_t argc, uint32_t index) {
    (void)argv;
    (void)argc;
    return index == 0 ? KEY_RO | KEY_ACCESS : KEY_OW | KEY_UPDATE;
}

int sort_find_keys(const struct bytes *argv, uint32_t argc, uint32_t *out, uint32_t cap) {
    int count = 1;
    if (cap > 0) out[0] = 1;
    for (uint32_t i = 2; i < argc; i++) {
        if (is_word(argv[i], "LIMIT")) {
            i += 2;
        } else if (is_word(argv[i], "BY") || is_word(argv[i], "GET")) {
            i++;
        } else if (is_word(argv[i], "STORE") && i + 1 < argc) {
            // The last one counts.
            count = 2;
            if (cap > 1) out[1] = i + 1;
            i++;
        }
    }
    return count;
}

/* The keys that a pattern stands for lie anywhere: not in a cluster, and not for a user who may
 * not read every key. (GET is refused whatever it asks
 * for, as clients know it.) */
static bool may_use_pattern(struct command_context *context, struct bytes pattern,
                            const char *option) {
    bool is_get = strcmp(option, "GET") == 0;
    if (!is_get && !has_star(pattern)) return true;
    const char *reason = NULL;
    if (databases_is_cluster(context->databases)) {
        reason = "in Cluster mode";
    } else if (!context_may_read_all_keys(context)) {
        reason = "due to insufficient ACL permissions";
    }
    if (reason == NULL) return true;
    reply_error_format(context->reply, "ERR %s option of SORT denied %s.", option, reason);
    return false;
}

static bool parse(struct command_context *context, bool may_store, struct sort_options *out) {
    *out = (struct sort_options){.count = -1};
    for (uint32_t i = 2; i < context->argc; i++) {
        uint32_t left = context->argc - i - 1;
        if (context_argument_is(context, i, "ASC")) {
            out->is_descending = false;
        } else if (context_argument_is(context, i, "DESC")) {
            out->is_descending = true;
        } else if (context_argument_is(context, i, "ALPHA")) {
            out->is_alphabetical = true;
        } else if (context_argument_is(context, i, "LIMIT") && left >= 2) {
            if (!context_integer(context, i + 1, &out->offset, NULL) ||
                !context_integer(context, i + 2, &out->count, NULL))
                return false;
            i += 2;
        } else if (may_store && context_argument_is(context, i, "STORE") && left >= 1) {
            out->store_argument = ++i;
        } else if (context_argument_is(context, i, "BY") && left >= 1) {
            out->by = context->argv[++i];
            out->keeps_order = !has_star(out->by);
            if (!may_use_pattern(context, out->by, "BY")) return false;
        } else if (context_argument_is(context, i, "GET") && left >= 1) {
            if (!may_use_pattern(context, context->argv[++i], "GET")) return false;
            out->get_count++;
        } else {
            reply_syntax_error(context->reply);
            return false;
        }
    }
    return true;
}

/* -- elements -- */

struct element {
    size_t text_at; /* In `texts`. */
    size_t text_len;
    double score;
    size_t by_at; /* ALPHA: what it is sorted by. */
    size_t by_len;
    bool has_by;
};

struct elements {
    struct element *items;
    size_t count;
    size_t cap;
    struct buffer texts;
};

static void add_element(struct elements *elements, struct bytes text) {
    if (elements->count == elements->cap) {
        elements->cap = elements->cap == 0 ? 16 : elements->cap * 2;
        elements->items = mem_realloc(elements->items, elements->cap * sizeof(struct element));
    }
    elements->items[elements->count++] =
        (struct element){.text_at = elements->texts.len, .text_len = text.len};
    buffer_append_bytes(&elements->texts, text);
}

static struct bytes text_of(const struct elements *elements, const struct element *element) {
    return bytes_of(elements->texts.data + element->text_at, element->text_len);
}

static void elements_deinit(struct elements *elements) {
    mem_free(elements->items);
    buffer_deinit(&elements->texts);
}

static void add_member(void *arg, const struct listpack_value *member) {
    char scratch[NUMBER_TEXT_MAX];
    add_element(arg, element_text(member, scratch));
}

static void collect_list(const struct record *record, bool is_reversed, struct elements *elements) {
    struct list_cursor cursor;
    char scratch[NUMBER_TEXT_MAX];
    list_cursor_begin(&cursor, record, is_reversed ? list_count(record) - 1 : 0);
    while (list_cursor_has(&cursor)) {
        add_element(elements, list_cursor_text(&cursor, scratch));
        if (is_reversed) {
            list_cursor_previous(&cursor);
        } else {
            list_cursor_next(&cursor);
        }
    }
    list_cursor_end(&cursor);
}

/* A sorted set that was sorted is a table from then on, as clients know it. */
static void make_table(struct command_context *context, const struct key *key) {
    struct table_entry entry;
    if (context_find_for_write(context, key, &entry))
        zset_make_table(entry.record, rng_next(context->rng));
}

static void collect_zset(const struct record *record, bool is_reversed, struct elements *elements) {
    struct zset_cursor cursor;
    zset_cursor_begin(&cursor, record, is_reversed ? zset_count(record) - 1 : 0);
    while (zset_cursor_has(&cursor)) {
        struct zset_element element = zset_cursor_get(&cursor);
        add_member(elements, &element.member);
        if (is_reversed) {
            zset_cursor_previous(&cursor);
        } else {
            zset_cursor_next(&cursor);
        }
    }
}

/* False after WRONGTYPE was answered. */
static bool collect(struct command_context *context, struct sort_options *options,
                    struct elements *elements) {
    struct key key = context_key(context, 1);
    const struct record *record = context_find(context, &key);
    if (record == NULL) return true;
    bool is_reversed = options->keeps_order && options->is_descending;
    switch (record_type(record)) {
    case RECORD_LIST:
        collect_list(record, is_reversed, elements);
        return true;
    case RECORD_SET:
        set_walk(record, add_member, elements);
        // A set has no order to keep: what is stored must be the same everywhere.
        if (options->keeps_order && options->store_argument != 0) {
            options->keeps_order = false;
            options->is_alphabetical = true;
            options->by = bytes_of(NULL, 0);
        }
        return true;
    case RECORD_ZSET:
        collect_zset(record, is_reversed, elements);
        make_table(context, &key);
        return true;
    default:
        reply_wrong_type(context->reply);
        return false;
    }
}

/* -- patterns -- */

/* The value at the key that the pattern makes from an element: a string, or with "->field" a
 * hash's field. False where there is none. The value is appended to `out`. */
static bool look_up(struct command_context *context, struct bytes pattern, struct bytes element,
                    struct buffer *out) {
    const uint8_t *star = pattern.len == 0 ? NULL : memchr(pattern.data, '*', pattern.len);
    if (star == NULL) return false;
    size_t before = (size_t)(star - pattern.data);
    struct bytes behind = bytes_from(pattern, before + 1);
    struct bytes field = {NULL, 0};
    for (size_t i = 0; i + 2 < behind.len && field.data == NULL; i++) {
        if (behind.data[i] != '-' || behind.data[i + 1] != '>') continue;
        field = bytes_from(behind, i + 2);
        behind.len = i;
    }
    struct buffer name = {0};
    buffer_append(&name, pattern.data, before);
    buffer_append_bytes(&name, element);
    buffer_append_bytes(&name, behind);
    struct key key = context_key_of(context, buffer_view(&name));
    const struct record *record = context_find(context, &key);
    bool is_found = false;
    char scratch[NUMBER_TEXT_MAX];
    if (record != NULL && field.data != NULL && record_type(record) == RECORD_HASH) {
        struct listpack_value value;
        is_found = hash_get(record, field, &value);
        if (is_found) buffer_append_bytes(out, element_text(&value, scratch));
    } else if (record != NULL && field.data == NULL && record_type(record) == RECORD_STRING) {
        is_found = true;
        buffer_append_bytes(out, string_view(record, scratch));
    }
    buffer_deinit(&name);
    return is_found;
}

/* -- sorting -- */

static bool parse_score(struct bytes text, double *out) {
    char *copy = bytes_copy_text(text);
    char *end;
    errno = 0;
    *out = strtod(copy, &end);
    bool is_fine = *end == '\0' && errno != ERANGE && !isnan(*out);
    mem_free(copy);
    return is_fine;
}

/* Notes what each element is sorted by. False when that is not a number but should be. */
static bool weigh(struct command_context *context, const struct sort_options *options,
                  struct elements *elements) {
    struct buffer value = {0};
    bool is_fine = true;
    for (size_t i = 0; i < elements->count; i++) {
        struct element *element = &elements->items[i];
        buffer_clear(&value);
        if (options->by.data == NULL) {
            buffer_append_bytes(&value, text_of(elements, element));
        } else if (!look_up(context, options->by, text_of(elements, element), &value)) {
            continue;
        }
        if (options->is_alphabetical) {
            element->has_by = true;
            element->by_at = elements->texts.len;
            element->by_len = value.len;
            buffer_append_bytes(&elements->texts, buffer_view(&value));
        } else if (!parse_score(buffer_view(&value), &element->score)) {
            is_fine = false;
        }
    }
    buffer_deinit(&value);
    return is_fine;
}

struct order {
    const struct elements *elements;
    const struct sort_options *options;
};

static int compare(const void *a, const void *b, void *arg) {
    const struct element *left = a;
    const struct element *right = b;
    const struct order *order = arg;
    int result;
    if (order->options->is_alphabetical) {
        const uint8_t *texts = order->elements->texts.data;
        if (!left->has_by || !right->has_by) {
            result = (int)left->has_by - (int)right->has_by;
        } else {
            result = bytes_compare(bytes_of(texts + left->by_at, left->by_len),
                                   bytes_of(texts + right->by_at, right->by_len));
        }
    } else if (left->score != right->score) {
        result = left->score < right->score ? -1 : 1;
    } else {
        // Of one weight: by their texts, so that the order is always the same.
        result = bytes_compare(text_of(order->elements, left), text_of(order->elements, right));
    }
    return order->options->is_descending ? -result : result;
}

/* The part that LIMIT names. */
static void clamp(const struct sort_options *options, size_t count, size_t *out_first,
                  size_t *out_count) {
    size_t first = options->offset < 0 ? 0 : (size_t)options->offset;
    *out_first = first;
    *out_count = first < count ? count - first : 0;
    if (options->count >= 0 && (uint64_t)options->count < *out_count)
        *out_count = (size_t)options->count;
}

/* -- results -- */

/* Calls `put` for each value of the result: an element, or what its patterns lead to. */
static void put_results(struct command_context *context, const struct sort_options *options,
                        const struct elements *elements, size_t first, size_t count,
                        void (*put)(void *arg, bool is_there, struct bytes value), void *arg) {
    struct buffer value = {0};
    for (size_t i = first; i < first + count; i++) {
        struct bytes text = text_of(elements, &elements->items[i]);
        if (options->get_count == 0) put(arg, true, text);
        for (uint32_t k = 2; options->get_count > 0 && k < context->argc; k++) {
            if (context_argument_is(context, k, "LIMIT")) {
                k += 2;
                continue;
            }
            bool is_get = context_argument_is(context, k, "GET");
            if (!is_get && !context_argument_is(context, k, "BY") &&
                !context_argument_is(context, k, "STORE"))
                continue;
            k++;
            if (!is_get) continue;
            buffer_clear(&value);
            if (bytes_equal_text(context->argv[k], "#")) {
                put(arg, true, text);
            } else {
                bool is_there = look_up(context, context->argv[k], text, &value);
                put(arg, is_there, buffer_view(&value));
            }
        }
    }
    buffer_deinit(&value);
}

static void put_reply(void *arg, bool is_there, struct bytes value) {
    if (is_there) {
        reply_bulk(arg, value);
    } else {
        reply_null(arg);
    }
}

struct list_output {
    struct record *record;
    const struct data_type_options *options;
};

static void put_in_list(void *arg, bool is_there, struct bytes value) {
    const struct list_output *output = arg;
    list_push(output->record, is_there ? value : BYTES_LITERAL(""), false, output->options);
}

static void store(struct command_context *context, const struct sort_options *options,
                  const struct elements *elements, size_t first, size_t count) {
    struct key target = context_key(context, options->store_argument);
    struct list_output output = {list_record_create(target.name), context->types};
    put_results(context, options, elements, first, count, put_in_list, &output);
    struct table_entry entry;
    bool was_there = context_find_to_remove(context, &target, &entry);
    uint64_t stored = list_count(output.record);
    if (stored > 0) {
        context_put_take(context, &target, &entry, output.record);
        context_changed(context, &target, EVENT_LIST, "sortstore");
        context->changes += stored - 1;
    } else {
        list_type.destroy(output.record);
        record_free(output.record);
        if (was_there) {
            context_delete(context, &target, &entry);
            context_changed(context, &target, EVENT_GENERIC, "del");
        }
    }
    reply_integer(context->reply, (int64_t)stored);
}

static void run(struct command_context *context, struct sort_options *options,
                struct elements *elements) {
    size_t first;
    size_t count;
    if (!collect(context, options, elements)) return;
    clamp(options, elements->count, &first, &count);
    if (!options->keeps_order && elements->count > 0) {
        if (!weigh(context, options, elements)) {
            reply_error(context->reply, "ERR One or more scores can't be converted into double");
            return;
        }
        struct order order = {elements, options};
        qsort_r(elements->items, elements->count, sizeof(*elements->items), compare, &order);
    }
    if (options->store_argument != 0) {
        store(context, options, elements, first, count);
        return;
    }
    reply_array(context->reply, options->get_count == 0 ? count : count * options->get_count);
    put_results(context, options, elements, first, count, put_reply, context->reply);
}

static void sort(struct command_context *context, bool may_store) {
    struct sort_options options;
    struct elements elements = {0};
    if (parse(context, may_store, &options)) run(context, &options, &elements);
    elements_deinit(&elements);
}

void sort_sort(struct command_context *context) {
    sort(context, true);
}

void sort_sort_ro(struct command_context *context) {
    sort(context, false);
}

/* Reading and writing whole strings, and parts of them. */
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/types/string/string_internal.h"

/* -- reading ----------------------------------------------------------------------------------- */

/* Replies the value of the key, null when it is absent. Returns the record, or NULL when there is
 * none or it is no string (answered). */
static const struct record *reply_value(struct command_context *context, const struct key *key,
                                        bool *out_failed) {
    const struct record *record = context_find_typed(context, key, RECORD_STRING, out_failed);
    if (LIKELY(record != NULL)) {
        string_reply(context->reply, record);
    } else if (!*out_failed) {
        reply_null(context->reply);
    }
    return record;
}

void string_get(struct command_context *context) {
    struct key key = context_key(context, 1);
    bool failed;
    (void)reply_value(context, &key, &failed);
}

void string_mget(struct command_context *context) {
    enum { BATCH = 16 };
    struct key keys[BATCH];
    reply_array(context->reply, context->argc - 1);
    for (uint32_t first = 1; first < context->argc; first += BATCH) {
        uint32_t count = context->argc - first < BATCH ? context->argc - first : BATCH;
        // The cache misses of a batch overlap.
        for (uint32_t i = 0; i < count; i++) {
            keys[i] = context_key(context, first + i);
            keyspace_prefetch(context->keyspace, &keys[i]);
        }
        for (uint32_t i = 0; i < count; i++) {
            const struct record *record = context_find(context, &keys[i]);
            if (record == NULL || record_type(record) != RECORD_STRING) {
                reply_null(context->reply);
            } else {
                string_reply(context->reply, record);
            }
        }
    }
}

void string_strlen(struct command_context *context) {
    struct key key = context_key(context, 1);
    bool failed;
    const struct record *record = context_find_typed(context, &key, RECORD_STRING, &failed);
    if (!failed) reply_integer(context->reply, record == NULL ? 0 : (int64_t)string_len(record));
}

/* The part from `start` to `end`, both inclusive; negative ones count from the behind. */
static struct bytes slice(struct bytes value, int64_t start, int64_t end) {
    int64_t len = (int64_t)value.len;
    if (start < 0 && end < 0 && start > end) return bytes_of(NULL, 0);
    if (start < 0) start += len;
    if (end < 0) end += len;
    if (start < 0) start = 0;
    if (end < 0) end = 0;
    if (end >= len) end = len - 1;
    if (start > end) return bytes_of(NULL, 0);
    return bytes_of(value.data + start, (size_t)(end - start + 1));
}

void string_getrange(struct command_context *context) {
    int64_t start;
    int64_t end;
    if (!context_integer(context, 2, &start, NULL)) return;
    if (!context_integer(context, 3, &end, NULL)) return;
    struct key key = context_key(context, 1);
    bool failed;
    const struct record *record = context_find_typed(context, &key, RECORD_STRING, &failed);
    if (failed) return;
    char scratch[NUMBER_TEXT_MAX];
    struct bytes value = record == NULL ? bytes_of(NULL, 0) : string_view(record, scratch);
    reply_bulk(context->reply, slice(value, start, end));
}

/* -- writing ----------------------------------------------------------------------------------- */

/* "SET key value [word [number]]" as the effect. */
static void propagate_set(struct command_context *context, struct bytes name, struct bytes value,
                          const char *word, int64_t number) {
    char digits[NUMBER_TEXT_MAX];
    struct bytes argv[5] = {BYTES_LITERAL("SET"), name, value};
    uint32_t argc = 3;
    if (word != NULL) argv[argc++] = bytes_of_text(word);
    if (number != 0) argv[argc++] = bytes_of(digits, number_format_i64(number, digits));
    context_propagate(context, argv, argc);
}

/* "word key [number]" as the effect. */
static void propagate_key(struct command_context *context, const char *word, struct bytes name,
                          int64_t number) {
    char digits[NUMBER_TEXT_MAX];
    struct bytes argv[3] = {bytes_of_text(word), name};
    uint32_t argc = 2;
    if (number != 0) argv[argc++] = bytes_of(digits, number_format_i64(number, digits));
    context_propagate(context, argv, argc);
}

/* Options of SET and GETEX. */
enum {
    OPTION_NX = 1 << 0,
    OPTION_XX = 1 << 1,
    OPTION_GET = 1 << 2,
    OPTION_KEEPTTL = 1 << 3,
    OPTION_PERSIST = 1 << 4,
    OPTION_EX = 1 << 5,
    OPTION_PX = 1 << 6,
    OPTION_EXAT = 1 << 7,
    OPTION_PXAT = 1 << 8,
    OPTION_IFEQ = 1 << 9,
    OPTIONS_TIME = OPTION_EX | OPTION_PX | OPTION_EXAT | OPTION_PXAT,
    OPTIONS_EXPIRY = OPTIONS_TIME | OPTION_KEEPTTL | OPTION_PERSIST,
    OPTIONS_CONDITION = OPTION_NX | OPTION_XX | OPTION_IFEQ,
    OPTIONS_OF_SET = OPTIONS_CONDITION | OPTION_GET | OPTION_KEEPTTL | OPTIONS_TIME,
    OPTIONS_OF_GETEX = OPTION_PERSIST | OPTIONS_TIME,
};

static const struct option_word {
    const char *word;
    unsigned option;
    unsigned excludes; /* Options that must not have come before; the same one again may. */
} option_words[] = {
    {"nx", OPTION_NX, OPTIONS_CONDITION & ~OPTION_NX},
    {"xx", OPTION_XX, OPTIONS_CONDITION & ~OPTION_XX},
    {"ifeq", OPTION_IFEQ, OPTIONS_CONDITION & ~OPTION_IFEQ},
    {"get", OPTION_GET, 0},
    {"keepttl", OPTION_KEEPTTL, OPTIONS_EXPIRY & ~OPTION_KEEPTTL},
    {"persist", OPTION_PERSIST, OPTIONS_EXPIRY & ~OPTION_PERSIST},
    {"ex", OPTION_EX, OPTIONS_EXPIRY & ~OPTION_EX},
    {"px", OPTION_PX, OPTIONS_EXPIRY & ~OPTION_PX},
    {"exat", OPTION_EXAT, OPTIONS_EXPIRY & ~OPTION_EXAT},
    {"pxat", OPTION_PXAT, OPTIONS_EXPIRY & ~OPTION_PXAT},
};

struct set_options {
    unsigned options;
    uint32_t time_argument;
    uint32_t value_argument; /* Of IFEQ: what the value has to be. */
};

static const struct option_word *find_option(const struct command_context *context,
                                             uint32_t argument) {
    for (size_t i = 0; i < ARRAY_COUNT(option_words); i++)
        if (context_argument_is(context, argument, option_words[i].word)) return &option_words[i];
    return NULL;
}

/* Reads the options from argv[argument] on; false after a syntax error was answered. */
static bool parse_options(struct command_context *context, uint32_t argument, unsigned allowed,
                          struct set_options *out) {
    *out = (struct set_options){0};
    for (; argument < context->argc; argument++) {
        const struct option_word *word = find_option(context, argument);
        bool is_time = word != NULL && (word->option & OPTIONS_TIME) != 0;
        bool is_value = word != NULL && word->option == OPTION_IFEQ;
        if (word == NULL || (word->option & allowed) == 0 || (out->options & word->excludes) != 0 ||
            ((is_time || is_value) && argument + 1 == context->argc)) {
            reply_syntax_error(context->reply);
            return false;
        }
        out->options |= word->option;
        if (is_time) out->time_argument = ++argument;
        if (is_value) out->value_argument = ++argument;
    }
    return true;
}

/* Reads an expiry time as the option of that kind means it. False after an error was answered. */
static bool read_deadline(struct command_context *context, uint32_t argument, unsigned option,
                          int64_t *out_deadline_ms) {
    int64_t time;
    if (!context_integer(context, argument, &time, NULL)) return false;
    bool is_in_seconds = (option & (OPTION_EX | OPTION_EXAT)) != 0;
    bool is_relative = (option & (OPTION_EX | OPTION_PX)) != 0;
    if (time <= 0 || (is_in_seconds && __builtin_mul_overflow(time, 1000, &time)) ||
        (is_relative && __builtin_add_overflow(time, context->now_ms, &time))) {
        reply_error_format(context->reply, "ERR invalid expire time in '%s' command",
                           context->command->name);
        return false;
    }
    *out_deadline_ms = time;
    return true;
}

/* The command as it was sent, without the GETs. */
static void propagate_without_get(struct command_context *context) {
    if (!context->is_journaled) return;
    struct bytes *argv = mem_alloc(context->argc * sizeof(*argv));
    uint32_t argc = 0;
    for (uint32_t i = 0; i < context->argc; i++)
        if (i < 3 || !context_argument_is(context, i, "get")) argv[argc++] = context->argv[i];
    context_propagate(context, argv, argc);
    mem_free(argv);
}

/* Whether the string is equal to an argument. */
static bool has_value(const struct record *record, struct bytes expected) {
    char scratch[NUMBER_TEXT_MAX];
    return bytes_equal(string_view(record, scratch), expected);
}

/* Whether SET's condition lets it go on; false after WRONGTYPE was answered, too (*out_failed). */
static bool meets_condition(struct command_context *context, const struct set_options *set,
                            const struct record *record, bool *out_failed) {
    *out_failed = false;
    if ((set->options & (record != NULL ? OPTION_NX : OPTION_XX)) != 0) return false;
    if ((set->options & OPTION_IFEQ) == 0) return true;
    if (record == NULL) return false;
    if (record_type(record) == RECORD_STRING)
        return has_value(record, context->argv[set->value_argument]);
    *out_failed = true;
    reply_wrong_type(context->reply);
    return false;
}

static void set_with_options(struct command_context *context) {
    struct set_options set;
    if (!parse_options(context, 3, OPTIONS_OF_SET, &set)) return;
    int64_t deadline_ms = 0;
    if (set.time_argument != 0 &&
        !read_deadline(context, set.time_argument, set.options, &deadline_ms))
        return;
    struct key key = context_key(context, 1);
    bool failed = false;
    if (set.options & OPTION_GET) (void)reply_value(context, &key, &failed);
    if (failed) return;

    struct table_entry entry;
    bool exists = context_find_to_remove(context, &key, &entry);
    if (!meets_condition(context, &set, exists ? entry.record : NULL, &failed)) {
        if (!failed && (set.options & OPTION_GET) == 0) reply_null(context->reply);
        return;
    }
    if ((set.options & OPTION_KEEPTTL) && exists) deadline_ms = record_deadline_ms(entry.record);
    string_store(context, &key, &entry, context->argv[2], deadline_ms);
    context_changed(context, &key, EVENT_STRING, "set");
    if (set.options & OPTIONS_TIME) {
        context_event(context, &key, EVENT_GENERIC, "expire");
        propagate_set(context, context->argv[1], context->argv[2], "PXAT", deadline_ms);
    } else if (set.options & OPTION_IFEQ) {
        // The condition was met; who replays it may not know the word.
        propagate_set(context, context->argv[1], context->argv[2],
                      (set.options & OPTION_KEEPTTL) != 0 ? "KEEPTTL" : NULL, 0);
    } else if (set.options & OPTION_GET) {
        propagate_without_get(context);
    }
    if ((set.options & OPTION_GET) == 0) reply_ok(context->reply);
}

uint32_t string_set_key_flags(const struct bytes *argv, uint32_t argc, uint32_t index) {
    (void)index;
    for (uint32_t i = 3; i < argc; i++) {
        if (bytes_equal_text_nocase(argv[i], "GET")) return KEY_RW | KEY_ACCESS | KEY_UPDATE;
    }
    return KEY_OW | KEY_UPDATE;
}

void string_set(struct command_context *context) {
    if (context->argc > 3) {
        set_with_options(context);
        return;
    }
    struct key key = context_key(context, 1);
    struct table_entry entry;
    (void)context_find_to_remove(context, &key, &entry);
    string_store(context, &key, &entry, context->argv[2], 0);
    context_changed(context, &key, EVENT_STRING, "set");
    reply_ok(context->reply);
}

/* SETEX and PSETEX: key, time, value. */
static void set_with_time(struct command_context *context, unsigned option) {
    int64_t deadline_ms;
    if (!read_deadline(context, 2, option, &deadline_ms)) return;
    struct key key = context_key(context, 1);
    struct table_entry entry;
    (void)context_find_to_remove(context, &key, &entry);
    string_store(context, &key, &entry, context->argv[3], deadline_ms);
    context_changed(context, &key, EVENT_STRING, "set");
    context_event(context, &key, EVENT_GENERIC, "expire");
    propagate_set(context, context->argv[1], context->argv[3], "PXAT", deadline_ms);
    reply_ok(context->reply);
}

void string_setex(struct command_context *context) {
    set_with_time(context, OPTION_EX);
}

void string_psetex(struct command_context *context) {
    set_with_time(context, OPTION_PX);
}

void string_setnx(struct command_context *context) {
    struct key key = context_key(context, 1);
    struct table_entry entry;
    bool exists = context_find_to_remove(context, &key, &entry);
    if (!exists) {
        string_store(context, &key, &entry, context->argv[2], 0);
        context_changed(context, &key, EVENT_STRING, "set");
    }
    reply_integer(context->reply, !exists);
}

void string_getset(struct command_context *context) {
    struct key key = context_key(context, 1);
    bool failed;
    (void)reply_value(context, &key, &failed);
    if (failed) return;
    struct table_entry entry;
    (void)context_find_to_remove(context, &key, &entry);
    string_store(context, &key, &entry, context->argv[2], 0);
    context_changed(context, &key, EVENT_STRING, "set");
    propagate_set(context, context->argv[1], context->argv[2], NULL, 0);
}

void string_getdel(struct command_context *context) {
    struct key key = context_key(context, 1);
    bool failed;
    if (reply_value(context, &key, &failed) == NULL) return;
    struct table_entry entry;
    if (!context_find_to_remove(context, &key, &entry)) return;
    context_delete(context, &key, &entry);
    context_changed(context, &key, EVENT_GENERIC, "del");
    propagate_key(context, "DEL", key.name, 0);
}

void string_delifeq(struct command_context *context) {
    struct key key = context_key(context, 1);
    struct table_entry entry;
    if (!context_find_typed_for_write(context, &key, RECORD_STRING, &entry)) return;
    bool is_equal = entry.record != NULL && has_value(entry.record, context->argv[2]);
    if (is_equal) {
        context_delete(context, &key, &entry);
        context_changed(context, &key, EVENT_GENERIC, "del");
        propagate_key(context, "DEL", key.name, 0);
    }
    reply_integer(context->reply, is_equal);
}

void string_getex(struct command_context *context) {
    struct set_options set;
    if (!parse_options(context, 2, OPTIONS_OF_GETEX, &set)) return;
    struct key key = context_key(context, 1);
    bool failed;
    const struct record *record = context_find_typed(context, &key, RECORD_STRING, &failed);
    if (failed) return;
    if (record == NULL) {
        reply_null(context->reply);
        return;
    }
    int64_t deadline_ms = 0;
    if (set.time_argument != 0 &&
        !read_deadline(context, set.time_argument, set.options, &deadline_ms))
        return;
    string_reply(context->reply, record);
    if (set.options == 0 || (set.options == OPTION_PERSIST && !record_has_deadline(record))) return;

    struct table_entry entry;
    if (!context_find_for_write(context, &key, &entry)) return;
    if (deadline_ms != 0 && deadline_ms <= context->now_ms && context->is_primary) {
        context_delete(context, &key, &entry);
        context_changed(context, &key, EVENT_GENERIC, "del");
        propagate_key(context, "DEL", key.name, 0);
        return;
    }
    context_set_deadline(context, &key, &entry, deadline_ms);
    context_changed(context, &key, EVENT_GENERIC, deadline_ms == 0 ? "persist" : "expire");
    propagate_key(context, deadline_ms == 0 ? "PERSIST" : "PEXPIREAT", key.name, deadline_ms);
}

/* True when what follows the command's name are pairs; else the error was answered. */
static bool check_pairs(struct command_context *context) {
    if (context->argc % 2 == 1) return true;
    context_arity_error(context);
    return false;
}

static void store_pairs(struct command_context *context) {
    for (uint32_t i = 1; i < context->argc; i += 2) {
        struct key key = context_key(context, i);
        struct table_entry entry;
        (void)context_find_to_remove(context, &key, &entry);
        string_store(context, &key, &entry, context->argv[i + 1], 0);
        context_changed(context, &key, EVENT_STRING, "set");
    }
}

void string_mset(struct command_context *context) {
    if (!check_pairs(context)) return;
    store_pairs(context);
    reply_ok(context->reply);
}

void string_msetnx(struct command_context *context) {
    if (!check_pairs(context)) return;
    for (uint32_t i = 1; i < context->argc; i += 2) {
        struct key key = context_key(context, i);
        struct table_entry entry;
        // As a write: an expired key goes, even where reads only hide it.
        if (!context_find_to_remove(context, &key, &entry)) continue;
        reply_integer(context->reply, 0);
        return;
    }
    store_pairs(context);
    reply_integer(context->reply, 1);
}

void string_append(struct command_context *context) {
    struct key key = context_key(context, 1);
    struct bytes tail = context->argv[2];
    struct table_entry entry;
    if (!context_find_typed_for_write(context, &key, RECORD_STRING, &entry)) return;
    size_t len = 0;
    if (entry.record == NULL) {
        string_store(context, &key, &entry, tail, 0);
    } else {
        len = string_len(entry.record);
        if (!string_check_len(context, len, tail.len)) return;
        uint8_t *bytes = string_make_writable(context, &key, &entry, len + tail.len);
        if (bytes == NULL) return;
        if (tail.len > 0) memcpy(bytes + len, tail.data, tail.len);
    }
    context_changed(context, &key, EVENT_STRING, "append");
    reply_integer(context->reply, (int64_t)(len + tail.len));
}

void string_setrange(struct command_context *context) {
    int64_t offset;
    if (!context_integer(context, 2, &offset, NULL)) return;
    if (offset < 0) {
        reply_error(context->reply, "ERR offset is out of range");
        return;
    }
    struct key key = context_key(context, 1);
    struct bytes part = context->argv[3];
    struct table_entry entry;
    if (!context_find_typed_for_write(context, &key, RECORD_STRING, &entry)) return;
    size_t len = entry.record == NULL ? 0 : string_len(entry.record);
    if (part.len == 0) {
        reply_integer(context->reply, (int64_t)len);
        return;
    }
    if (!string_check_len(context, (size_t)offset, part.len)) return;
    size_t end = (size_t)offset + part.len;
    uint8_t *bytes = string_make_writable(context, &key, &entry, end);
    if (bytes == NULL) return;
    memcpy(bytes + offset, part.data, part.len);
    context_changed(context, &key, EVENT_STRING, "setrange");
    reply_integer(context->reply, (int64_t)(end > len ? end : len));
}

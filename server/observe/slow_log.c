#include "server/observe/slow_log.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/command/secrets.h"
#include "server/observe/observe.h"

enum { WORDS_MAX = 32, WORD_BYTES_MAX = 128, DEFAULT_COUNT = 10 };

/* One allocation; the words' bytes lie behind it. */
struct slow_entry {
    struct slow_entry *older;
    struct slow_entry *newer;
    uint64_t id;
    uint64_t time_s; /* Unix time */
    uint64_t duration_us;
    char peer[64];
    struct bytes client_name;
    uint32_t word_count;
    struct bytes words[];
};

struct slow_log {
    pthread_mutex_t lock;
    struct slow_entry *newest;
    struct slow_entry *oldest;
    uint64_t count;
    uint64_t max_entries;
    uint64_t next_id;
};

struct slow_log *slow_log_create(uint64_t max_entries) {
    struct slow_log *log = mem_alloc_zero(sizeof(*log));
    pthread_mutex_init(&log->lock, NULL);
    log->max_entries = max_entries;
    return log;
}

static void trim(struct slow_log *log, uint64_t max_entries) {
    while (log->count > max_entries) {
        struct slow_entry *entry = log->oldest;
        log->oldest = entry->newer;
        if (log->oldest == NULL) {
            log->newest = NULL;
        } else {
            log->oldest->older = NULL;
        }
        log->count--;
        mem_free(entry);
    }
}

void slow_log_destroy(struct slow_log *log) {
    if (log == NULL) return;
    trim(log, 0);
    pthread_mutex_destroy(&log->lock);
    mem_free(log);
}

void slow_log_limit(struct slow_log *log, uint64_t max_entries) {
    pthread_mutex_lock(&log->lock);
    log->max_entries = max_entries;
    trim(log, max_entries);
    pthread_mutex_unlock(&log->lock);
}

/* -- keeping -- */

/* What is shown in place of a long word: its beginning and how much is missing. */
static void append_word(struct buffer *out, struct bytes word) {
    size_t len = word.len < WORD_BYTES_MAX ? word.len : WORD_BYTES_MAX;
    buffer_append(out, word.data, len);
    if (word.len > len) buffer_append_format(out, "... (%zu more bytes)", word.len - len);
}

struct word_places {
    struct buffer text;
    size_t ends[WORDS_MAX];
    uint32_t count;
};

static void collect_words(struct word_places *places, const struct config *config,
                          const struct command *row, const struct bytes *argv, uint32_t argc) {
    places->count = argc < WORDS_MAX ? argc : WORDS_MAX;
    for (uint32_t i = 0; i < places->count; i++) {
        if (argc > WORDS_MAX && i == WORDS_MAX - 1) {
            buffer_append_format(&places->text, "... (%u more arguments)", argc - WORDS_MAX + 1);
        } else if (command_word_is_secret(config, row, argv, argc, i)) {
            buffer_append_text(&places->text, "(redacted)");
        } else {
            append_word(&places->text, argv[i]);
        }
        places->ends[i] = places->text.len;
    }
}

static struct slow_entry *entry_create(const struct word_places *places, struct bytes client_name) {
    size_t text_bytes = places->text.len + client_name.len;
    struct slow_entry *entry =
        mem_alloc_zero(sizeof(*entry) + places->count * sizeof(entry->words[0]) + text_bytes);
    uint8_t *text = (uint8_t *)&entry->words[places->count];
    if (places->text.len > 0) memcpy(text, places->text.data, places->text.len);
    size_t begin = 0;
    for (uint32_t i = 0; i < places->count; i++) {
        entry->words[i] = bytes_of(text + begin, places->ends[i] - begin);
        begin = places->ends[i];
    }
    entry->word_count = places->count;
    if (client_name.len > 0) memcpy(text + begin, client_name.data, client_name.len);
    entry->client_name = bytes_of(text + begin, client_name.len);
    return entry;
}

void slow_log_add(struct slow_log *log, const struct config *config, const struct session *session,
                  const struct command *row, const struct bytes *argv, uint32_t argc,
                  uint64_t duration_us) {
    struct word_places places = {.count = 0};
    collect_words(&places, config, row, argv, argc);
    struct slow_entry *entry =
        entry_create(&places, bytes_of_text(session->name == NULL ? "" : session->name));
    buffer_deinit(&places.text);
    entry->duration_us = duration_us;
    entry->time_s = clock_wall_ms() / 1000;
    snprintf(entry->peer, sizeof(entry->peer), "%s", session->peer);
    pthread_mutex_lock(&log->lock);
    entry->id = log->next_id++;
    entry->older = log->newest;
    if (log->newest != NULL) {
        log->newest->newer = entry;
    } else {
        log->oldest = entry;
    }
    log->newest = entry;
    log->count++;
    trim(log, log->max_entries);
    pthread_mutex_unlock(&log->lock);
}

/* -- commands -- */

static void reply_entry(struct reply *reply, const struct slow_entry *entry) {
    reply_array(reply, 6);
    reply_integer(reply, (int64_t)entry->id);
    reply_integer(reply, (int64_t)entry->time_s);
    reply_integer(reply, (int64_t)entry->duration_us);
    reply_array(reply, entry->word_count);
    for (uint32_t i = 0; i < entry->word_count; i++)
        reply_bulk(reply, entry->words[i]);
    reply_bulk(reply, bytes_of_text(entry->peer));
    reply_bulk(reply, entry->client_name);
}

static void command_get(struct command_context *context) {
    static const char error[] = "ERR count should be greater than or equal to -1";
    int64_t wanted = DEFAULT_COUNT;
    if (context->argc > 3) {
        char name[128];
        reply_error_format(context->reply,
                           "ERR unknown subcommand or wrong number of arguments for '%s'. Try "
                           "SLOWLOG HELP.",
                           bytes_to_text(context->argv[1], name, sizeof(name)));
        return;
    }
    if (context->argc == 3 && !context_integer_in(context, 2, -1, INT64_MAX, &wanted, error))
        return;
    struct slow_log *log = observer_slow_log(context->modules->observer);
    pthread_mutex_lock(&log->lock);
    uint64_t count = wanted < 0 || (uint64_t)wanted > log->count ? log->count : (uint64_t)wanted;
    reply_array(context->reply, count);
    const struct slow_entry *entry = log->newest;
    for (uint64_t i = 0; i < count; i++, entry = entry->older)
        reply_entry(context->reply, entry);
    pthread_mutex_unlock(&log->lock);
}

static void command_len(struct command_context *context) {
    struct slow_log *log = observer_slow_log(context->modules->observer);
    pthread_mutex_lock(&log->lock);
    reply_integer(context->reply, (int64_t)log->count);
    pthread_mutex_unlock(&log->lock);
}

static void command_reset(struct command_context *context) {
    struct slow_log *log = observer_slow_log(context->modules->observer);
    pthread_mutex_lock(&log->lock);
    trim(log, 0);
    pthread_mutex_unlock(&log->lock);
    reply_ok(context->reply);
}

static void command_help(struct command_context *context) {
    static const char *const lines[] = {
        "GET [<count>]",
        "    The newest <count> entries (default: 10; -1: all of them), each with its id, the",
        "    Unix time, the duration in microseconds, the command, the client's address and name.",
        "LEN",
        "    How many entries there are.",
        "RESET",
        "    Forget them.",
        NULL,
    };
    context_help(context, lines);
}

static const struct argument get_arguments[] = {
    {.name = "count", .kind = ARGUMENT_INTEGER, .is_optional = true},
    {.name = NULL},
};

static const char *const ask_tips[] = {"nondeterministic_output", "request_policy:all_nodes", NULL};
static const char *const len_tips[] = {"nondeterministic_output", "request_policy:all_nodes",
                                       "response_policy:agg_sum", NULL};
static const char *const reset_tips[] = {"request_policy:all_nodes",
                                         "response_policy:all_succeeded", NULL};

static const struct command subcommands[] = {
    {
        .name = "get",
        .container = "slowlog",
        .arity = -2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_LOADING | COMMAND_STALE,
        .handler = command_get,
        .since = "2.2.12",
        .summary = "The newest entries of the slow log.",
        .complexity = "O(N) where N is how many are asked for",
        .arguments = get_arguments,
        .tips = ask_tips,
    },
    {
        .name = "help",
        .container = "slowlog",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_LOADING | COMMAND_STALE,
        .handler = command_help,
        .since = "6.2.0",
        .summary = "Usage text for SLOWLOG.",
        .complexity = "O(1)",
    },
    {
        .name = "len",
        .container = "slowlog",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_LOADING | COMMAND_STALE,
        .handler = command_len,
        .since = "2.2.12",
        .summary = "How many entries the slow log has.",
        .complexity = "O(1)",
        .tips = len_tips,
    },
    {
        .name = "reset",
        .container = "slowlog",
        .arity = 2,
        .group = GROUP_SERVER,
        .class = COMMAND_CLASS_CLIENT,
        .flags = COMMAND_ADMIN | COMMAND_LOADING | COMMAND_STALE,
        .handler = command_reset,
        .since = "2.2.12",
        .summary = "Forgets the slow log's entries.",
        .complexity = "O(N) where N is how many there are",
        .tips = reset_tips,
    },
    COMMAND_END,
};

const struct command slow_log_commands[] = {
    {
        .name = "slowlog",
        .arity = -2,
        .group = GROUP_SERVER,
        .since = "2.2.12",
        .summary = "Parent of the slow log's subcommands.",
        .complexity = "depends",
        .subcommands = subcommands,
    },
    COMMAND_END,
};

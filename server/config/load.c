#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/base/mem.h"
#include "server/base/words.h"
#include "server/config/config_internal.h"

/* Where a line comes from. */
struct origin {
    enum config_place place;
    const char *source;
    unsigned line;
    unsigned depth; /* Of includes. */
};

static enum status load_lines(struct config *config, struct bytes text, struct origin origin,
                              struct config_error *out_error);

static void copy_cut(char *out, size_t cap, struct bytes text) {
    bytes_to_text(text, out, cap);
}

/* Fills the error with everything but the message. */
static void error_at(struct config_error *error, const struct origin *origin, struct bytes option,
                     struct bytes directive) {
    *error = (struct config_error){.place = origin->place, .line = origin->line};
    copy_cut(error->source, sizeof(error->source),
             bytes_of_text(origin->source == NULL ? "" : origin->source));
    copy_cut(error->option, sizeof(error->option), option);
    copy_cut(error->directive, sizeof(error->directive), directive);
}

static enum status fail_with(struct config_error *error, const char *message) {
    copy_cut(error->message, sizeof(error->message), bytes_of_text(message));
    return STATUS_BAD_FORMAT;
}

static enum status fail_unreadable(struct config_error *error, const char *path) {
    int reason = errno;
    error->place = CONFIG_PLACE_UNREADABLE;
    copy_cut(error->source, sizeof(error->source), bytes_of_text(path));
    snprintf(error->message, sizeof(error->message), "%s", strerror(reason));
    return STATUS_IO_ERROR;
}

/* Completes the reason of a refused value: most of the texts that users know say what is allowed,
 * those about numbers that are none do not. */
static enum status fail_with_value(const struct option *row, struct buffer *reason,
                                   struct config_error *error) {
    static const char range_text[] = "argument must be between";
    struct buffer limits = {0};
    value_describe_limits(row, &limits);
    bool is_said = reason->len >= sizeof(range_text) - 1 &&
                   memcmp(reason->data, range_text, sizeof(range_text) - 1) == 0;
    if (limits.len > 0 && !is_said) {
        buffer_append_format(reason, " ('%s' takes %.*s)", row->name, (int)limits.len,
                             (const char *)limits.data);
    }
    buffer_deinit(&limits);
    // What stands in the line may be a password.
    if (row->secret) snprintf(error->directive, sizeof(error->directive), "%s ***", row->name);
    copy_cut(error->message, sizeof(error->message), buffer_view(reason));
    return STATUS_BAD_FORMAT;
}

/* Reads one value and puts it in place of the member. */
static enum status load_value(struct config *config, struct config_entry *entry,
                              const struct bytes *words, size_t word_count,
                              struct config_error *error) {
    const struct option *row = entry->row;
    void *field = config_field(config, entry);
    void *fresh = row->file_only ? field : mem_alloc_zero(row->field.size);
    struct option_input input = {
        .words = words,
        .word_count = word_count,
        .current = field,
        .is_repeated = entry->is_loaded,
    };
    struct buffer reason = {0};
    enum status status = STATUS_OK;
    if (!value_parse(row, &input, fresh, &reason)) {
        status = fail_with_value(row, &reason, error);
    } else {
        entry->is_loaded = true;
        if (fresh != field) {
            value_deinit(row, field);
            memcpy(field, fresh, row->field.size);
        }
    }
    if (fresh != field) mem_free(fresh);
    buffer_deinit(&reason);
    return status;
}

struct include_visit {
    struct config *config;
    struct config_error *error;
    unsigned depth;
};

static enum status include_file(void *context, const char *path) {
    const struct include_visit *visit = context;
    struct buffer text = {0};
    enum status status = visit->config->io->read(path, &text);
    if (status != STATUS_OK) {
        fail_unreadable(visit->error, path);
    } else {
        struct origin origin = {CONFIG_PLACE_INCLUDE, path, 0, visit->depth};
        status = load_lines(visit->config, buffer_view(&text), origin, visit->error);
    }
    buffer_deinit(&text);
    return status;
}

static enum status load_include(struct config *config, const struct bytes *words, size_t word_count,
                                unsigned depth, struct config_error *error) {
    if (word_count != 1) return fail_with(error, "wrong number of arguments");
    if (config->io == NULL) return fail_with(error, "files can't be included here");
    if (depth == CONFIG_INCLUDE_DEPTH_MAX) {
        return fail_with(error, "includes are nested too deeply (at most 16)");
    }
    struct include_visit visit = {config, error, depth + 1};
    char *path = bytes_copy_text(words[0]);
    enum status status = strpbrk(path, "*?[") == NULL
                             ? include_file(&visit, path)
                             : config->io->each_match(path, include_file, &visit);
    // A pattern that can't be followed (no memory, no access) has left no report yet.
    if (status != STATUS_OK && error->message[0] == 0) fail_unreadable(error, path);
    mem_free(path);
    return status;
}

/* Carries out one line that is already cut into words; `error` has its place filled in. */
static enum status load_words(struct config *config, const struct bytes *words, size_t word_count,
                              unsigned depth, struct config_error *error) {
    if (bytes_equal_text_nocase(words[0], "include")) {
        return load_include(config, words + 1, word_count - 1, depth, error);
    }
    struct config_entry *entry = config_find(config, words[0]);
    if (entry != NULL) return load_value(config, entry, words + 1, word_count - 1, error);
    if (!config_name_is_known_elsewhere(words[0])) {
        return fail_with(error, "Bad directive or wrong number of arguments");
    }
    snprintf(error->message, sizeof(error->message),
             "The option '%s' exists elsewhere, but this build of Dunlin does not support it",
             error->option);
    return STATUS_BAD_FORMAT;
}

static struct bytes trim(struct bytes line) {
    static const char blanks[] = " \t\r\n";
    while (line.len > 0 && memchr(blanks, line.data[0], 4) != NULL)
        line = bytes_from(line, 1);
    while (line.len > 0 && memchr(blanks, line.data[line.len - 1], 4) != NULL)
        line.len--;
    return line;
}

static enum status load_line(struct config *config, struct bytes line, struct words *words,
                             const struct origin *origin, struct config_error *out_error) {
    line = trim(line);
    if (line.len == 0 || line.data[0] == '#') return STATUS_OK;
    struct config_error error;
    enum status status = words_split(words, line, CONFIG_LINE_WORDS_MAX);
    struct bytes name = words->count > 0 ? words->items[0] : (struct bytes){0};
    error_at(&error, origin, name, line);
    if (status == STATUS_BAD_FORMAT) {
        fail_with(&error, "Unbalanced quotes in configuration line");
    } else if (status != STATUS_OK) {
        fail_with(&error, "The line has too many words");
    } else if (words->count > 0) {
        status = load_words(config, words->items, words->count, origin->depth, &error);
    }
    if (status != STATUS_OK) *out_error = error;
    return status;
}

static enum status load_lines(struct config *config, struct bytes text, struct origin origin,
                              struct config_error *out_error) {
    struct words words = {0};
    enum status status = STATUS_OK;
    while (text.len > 0 && status == STATUS_OK) {
        const uint8_t *newline = memchr(text.data, '\n', text.len);
        size_t len = newline == NULL ? text.len : (size_t)(newline - text.data);
        origin.line++;
        status = load_line(config, bytes_of(text.data, len), &words, &origin, out_error);
        text = bytes_from(text, newline == NULL ? len : len + 1);
    }
    words_deinit(&words);
    return status;
}

enum status config_load_text(struct config *config, struct bytes text, const char *source,
                             struct config_error *out_error) {
    struct origin origin = {CONFIG_PLACE_FILE, source, 0, 0};
    return load_lines(config, text, origin, out_error);
}

enum status config_load_file(struct config *config, const char *path,
                             struct config_error *out_error) {
    bool is_stdin = strcmp(path, "-") == 0;
    struct buffer text = {0};
    enum status status = config->io == NULL ? STATUS_UNSUPPORTED : config->io->read(path, &text);
    if (status != STATUS_OK) {
        *out_error = (struct config_error){0};
        fail_unreadable(out_error, path);
    } else {
        if (!is_stdin) {
            mem_free(config->path);
            config->path = config_absolute_path(path);
        }
        status = config_load_text(config, buffer_view(&text), is_stdin ? "standard input" : path,
                                  out_error);
    }
    buffer_deinit(&text);
    return status;
}

static bool starts_option(const char *argument) {
    return argument[0] == '-' && argument[1] == '-';
}

/* The line as it would stand in a file: for the report. */
static void quote_words(const struct bytes *words, size_t word_count, struct buffer *out) {
    for (size_t i = 0; i < word_count; i++) {
        if (i == 0) {
            buffer_append_bytes(out, words[i]);
        } else {
            buffer_append_u8(out, ' ');
            words_append_quoted(out, words[i]);
        }
    }
}

/* Carries out `--name value ...`: `words` are without the dashes. */
static enum status load_option(struct config *config, const struct bytes *words, size_t word_count,
                               unsigned number, struct config_error *out_error) {
    struct origin origin = {CONFIG_PLACE_ARGUMENTS, NULL, number, 0};
    struct config_error error;
    struct buffer directive = {0};
    quote_words(words, word_count, &directive);
    error_at(&error, &origin, words[0], buffer_view(&directive));
    buffer_deinit(&directive);
    enum status status = load_words(config, words, word_count, 0, &error);
    if (status != STATUS_OK) *out_error = error;
    return status;
}

/* How many of the arguments behind an option are its values. */
static size_t count_values(const struct option *row, int argc, char *const *argv) {
    int count = 0;
    bool takes_any = row != NULL && !row->multi_word;
    if (argc > 0 && takes_any) count = 1;
    while (count < argc && !starts_option(argv[count]))
        count++;
    return (size_t)count;
}

static enum status load_options(struct config *config, int argc, char *const *argv,
                                struct config_error *out_error) {
    struct words head = {0};
    struct bytes *words = mem_alloc(sizeof(*words) * ((size_t)argc + CONFIG_LINE_WORDS_MAX));
    enum status status = STATUS_OK;
    unsigned number = 0;
    for (int i = 0; i < argc && status == STATUS_OK;) {
        struct bytes argument = bytes_of_text(argv[i++]);
        number++;
        size_t count = 0;
        // "--hz 20" may also come as one argument.
        bool is_option = starts_option((const char *)argument.data);
        if (is_option &&
            words_split(&head, bytes_from(argument, 2), CONFIG_LINE_WORDS_MAX) == STATUS_OK) {
            for (; count < head.count; count++)
                words[count] = head.items[count];
        }
        if (count == 0) words[count++] = is_option ? bytes_from(argument, 2) : argument;
        const struct config_entry *entry = config_find(config, words[0]);
        size_t values = 0;
        if (is_option && count == 1) {
            values = count_values(entry == NULL ? NULL : entry->row, argc - i, argv + i);
        }
        for (size_t v = 0; v < values; v++)
            words[count++] = bytes_of_text(argv[i++]);
        // `--save` alone means what `save ""` means.
        if (count == 1 && entry != NULL && entry->row->multi_word && !entry->row->file_only) {
            words[count++] = BYTES_LITERAL("");
        }
        status = load_option(config, words, count, number, out_error);
    }
    mem_free(words);
    words_deinit(&head);
    return status;
}

enum status config_load_arguments(struct config *config, int argc, char *const *argv,
                                  struct config_error *out_error) {
    enum status status = STATUS_OK;
    bool wants_stdin = false;
    if (argc > 0 && strcmp(argv[argc - 1], "-") == 0) {
        wants_stdin = true;
        argc--;
    }
    if (argc > 0 && !starts_option(argv[0])) {
        if (strcmp(argv[0], "-") == 0) {
            wants_stdin = true;
        } else {
            status = config_load_file(config, argv[0], out_error);
        }
        argc--;
        argv++;
    }
    if (status == STATUS_OK && wants_stdin) status = config_load_file(config, "-", out_error);
    if (status == STATUS_OK) status = load_options(config, argc, argv, out_error);
    return status;
}

void config_error_format(const struct config_error *error, struct buffer *out) {
    switch (error->place) {
    case CONFIG_PLACE_NONE:
        return;
    case CONFIG_PLACE_UNREADABLE:
        buffer_append_format(out, "Fatal error, can't open config file '%s': %s\n", error->source,
                             error->message);
        return;
    default:
        break;
    }
    buffer_append_text(out, "\n*** FATAL CONFIG FILE ERROR (Dunlin " DUNLIN_VERSION ") ***\n");
    if (error->place == CONFIG_PLACE_ARGUMENTS) {
        buffer_append_format(out, "Reading the command line, at option %u\n", error->line);
    } else if (error->place == CONFIG_PLACE_INCLUDE) {
        buffer_append_format(out, "Reading the configuration file '%s', at line %u\n",
                             error->source, error->line);
    } else {
        buffer_append_format(out, "Reading the configuration file, at line %u\n", error->line);
    }
    buffer_append_format(out, ">>> '%s'\n%s\n", error->directive, error->message);
}

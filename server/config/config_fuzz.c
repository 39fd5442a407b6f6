/* Any text is a configuration or a reported error, and what was read survives a rewrite.
 *
 * Run: config_fuzz CORPUS_FOLDER -max_len=4096
 */
#include <stdlib.h>

#include "server/base/check.h"
#include "server/base/words.h"
#include "server/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sample {
    bool is_on;
    int32_t number;
    uint64_t bytes;
    int64_t share;
    unsigned mode;
    int level;
    char *text;
};

static const struct option_choice levels[] = {{"low", 0}, {"high", 1}, {"both", 2}, {NULL, 0}};

static const struct option rows[] = {
    {.name = "on", .field = OPTION_BOOL(struct sample, is_on), .live = true, .doc = "A switch."},
    {.name = "number",
     .alias = "count",
     .field = OPTION_INT(struct sample, number),
     .range = {.initial = 1, .min = -5, .max = 500},
     .live = true,
     .doc = "A number."},
    {.name = "bytes", .field = OPTION_MEMORY(struct sample, bytes), .live = true, .doc = "A size."},
    {.name = "share",
     .field = OPTION_PERCENT(struct sample, share),
     .live = true,
     .doc = "A size or a share."},
    {.name = "mode",
     .field = OPTION_OCTAL(struct sample, mode),
     .range = {.max = 0777},
     .doc = "Octal."},
    {.name = "level",
     .field = OPTION_ENUM(struct sample, level),
     .choices = levels,
     .multi_word = true,
     .doc = "Words."},
    {.name = "text", .field = OPTION_STRING(struct sample, text), .live = true, .doc = "A text."},
};

static void append_pair(void *context, const char *name, struct bytes value) {
    buffer_append_format(context, "%s=", name);
    buffer_append_bytes(context, value);
    buffer_append_u8(context, '\n');
}

static void show(const struct config *config, struct buffer *out) {
    struct bytes all = BYTES_LITERAL("*");
    config_get(config, &all, 1, append_pair, out);
}

/* Reading the rewritten text gives the same values, and rewriting it again the same text. */
static void check_rewrite(const struct config *config, struct bytes text) {
    struct buffer first = {0};
    struct buffer second = {0};
    struct buffer shown = {0};
    struct buffer shown_again = {0};
    struct sample sample;
    struct config_error error;
    struct config *again = config_create(NULL);
    config_register(again, rows, ARRAY_COUNT(rows), &sample, NULL, NULL);
    config_rewrite_text(config, text, &first);
    ASSERT(config_load_text(again, buffer_view(&first), NULL, &error) == STATUS_OK);
    config_rewrite_text(again, buffer_view(&first), &second);
    ASSERT(bytes_equal(buffer_view(&first), buffer_view(&second)));
    show(config, &shown);
    show(again, &shown_again);
    ASSERT(bytes_equal(buffer_view(&shown), buffer_view(&shown_again)));
    config_destroy(again);
    buffer_deinit(&first);
    buffer_deinit(&second);
    buffer_deinit(&shown);
    buffer_deinit(&shown_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bytes text = bytes_of(data, size);
    struct words words = {0};
    if (words_split(&words, text, 64) == STATUS_OK) {
        for (size_t i = 0; i < words.count; i++)
            ASSERT(words.items[i].len <= size);
    }
    words_deinit(&words);

    struct sample sample;
    struct config_error error;
    struct config *config = config_create(NULL);
    config_register(config, rows, ARRAY_COUNT(rows), &sample, NULL, NULL);
    struct buffer report = {0};
    if (config_load_text(config, text, NULL, &error) != STATUS_OK) {
        config_error_format(&error, &report);
        ASSERT(report.len > 0 && error.line > 0);
    } else {
        check_rewrite(config, text);
    }
    struct bytes pairs[] = {BYTES_LITERAL("text"), text, BYTES_LITERAL("share"), text};
    buffer_clear(&report);
    (void)!config_set(config, pairs, 2, false, &report);
    buffer_deinit(&report);
    config_destroy(config);
    return 0;
}

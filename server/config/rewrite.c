#include <errno.h>
#include <string.h>

#include "server/base/mem.h"
#include "server/base/words.h"
#include "server/config/config_internal.h"

/* A line of the file; `entry` when it sets an option of ours. */
struct line {
    struct buffer text;
    const struct config_entry *entry;
    bool is_orphan; /* Its option needs fewer lines now. */
};

struct document {
    struct line *lines;
    size_t count;
    size_t cap;
    bool has_mark;
};

static struct line *document_add(struct document *doc) {
    if (doc->count == doc->cap) {
        doc->cap = doc->cap == 0 ? 64 : doc->cap * 2;
        doc->lines = mem_realloc(doc->lines, doc->cap * sizeof(*doc->lines));
    }
    doc->lines[doc->count] = (struct line){0};
    return &doc->lines[doc->count++];
}

static void document_deinit(struct document *doc) {
    for (size_t i = 0; i < doc->count; i++)
        buffer_deinit(&doc->lines[i].text);
    mem_free(doc->lines);
}

static struct bytes trim(struct bytes line) {
    static const char blanks[] = " \t\r\n";
    while (line.len > 0 && memchr(blanks, line.data[0], 4) != NULL)
        line = bytes_from(line, 1);
    while (line.len > 0 && memchr(blanks, line.data[line.len - 1], 4) != NULL)
        line.len--;
    return line;
}

static void read_line(const struct config *config, struct document *doc, struct words *words,
                      struct bytes text) {
    text = trim(text);
    struct line *line = document_add(doc);
    if (text.len > 0 && text.data[0] != '#') {
        if (words_split(words, text, CONFIG_LINE_WORDS_MAX) != STATUS_OK || words->count == 0) {
            buffer_append_text(&line->text, "# ??? "); // It would stop the next start.
        } else {
            line->entry = config_find(config, words->items[0]);
        }
    } else if (bytes_equal_text(text, CONFIG_REWRITE_MARK)) {
        doc->has_mark = true;
    }
    buffer_append_bytes(&line->text, text);
}

static void read_document(const struct config *config, struct bytes text, struct document *doc) {
    struct words words = {0};
    while (text.len > 0) {
        const uint8_t *newline = memchr(text.data, '\n', text.len);
        size_t len = newline == NULL ? text.len : (size_t)(newline - text.data);
        read_line(config, doc, &words, bytes_of(text.data, len));
        text = bytes_from(text, newline == NULL ? len : len + 1);
    }
    words_deinit(&words);
}

/* The next line of this option at or behind `from`, or `limit`. */
static size_t find_line(const struct document *doc, const struct config_entry *entry, size_t from,
                        size_t limit) {
    while (from < limit && doc->lines[from].entry != entry)
        from++;
    return from;
}

static void append_line(struct document *doc, struct bytes text) {
    if (!doc->has_mark) {
        if (doc->count > 0 && doc->lines[doc->count - 1].text.len > 0) document_add(doc);
        buffer_append_text(&document_add(doc)->text, CONFIG_REWRITE_MARK);
        doc->has_mark = true;
    }
    buffer_append_bytes(&document_add(doc)->text, text);
}

/* Writes one option: in place as far as the file has lines for it, behind the mark what is more. An
 * option that the file does not name and that has its initial value is left out. `old_count` lines
 * came from the file. */
static void update_entry(const struct config *config, struct document *doc, size_t old_count,
                         const struct config_entry *entry) {
    const struct option *row = entry->row;
    const void *field = config_field(config, entry);
    size_t at = find_line(doc, entry, 0, old_count);
    if (at == old_count && value_is_initial(row, field)) return;
    struct buffer text = {0};
    for (size_t i = 0;; i++) {
        buffer_clear(&text);
        buffer_append_format(&text, "%s ", row->name);
        if (!value_format_line(row, field, i, &text)) break;
        if (at < old_count) {
            buffer_clear(&doc->lines[at].text);
            buffer_append_bytes(&doc->lines[at].text, buffer_view(&text));
            at = find_line(doc, entry, at + 1, old_count);
        } else {
            append_line(doc, buffer_view(&text));
        }
    }
    while (at < old_count) {
        doc->lines[at].is_orphan = true;
        at = find_line(doc, entry, at + 1, old_count);
    }
    buffer_deinit(&text);
}

void config_rewrite_text(const struct config *config, struct bytes old_text, struct buffer *out) {
    struct document doc = {0};
    read_document(config, old_text, &doc);
    size_t old_count = doc.count;
    for (size_t i = 0; i < config->entry_count; i++) {
        update_entry(config, &doc, old_count, &config->entries[i]);
    }
    // Removed lines leave an empty one, and of several empty ones the first stays.
    bool was_empty = false;
    for (size_t i = 0; i < doc.count; i++) {
        bool is_empty = doc.lines[i].is_orphan || doc.lines[i].text.len == 0;
        if (is_empty && was_empty) continue;
        if (!is_empty) buffer_append_bytes(out, buffer_view(&doc.lines[i].text));
        buffer_append_u8(out, '\n');
        was_empty = is_empty;
    }
    document_deinit(&doc);
}

enum status config_rewrite(struct config *config, struct buffer *error) {
    if (config->path == NULL || config->io == NULL) {
        buffer_append_text(error, "The server is running without a config file");
        return STATUS_NOT_FOUND;
    }
    struct buffer old_text = {0};
    struct buffer new_text = {0};
    enum status status = config->io->read(config->path, &old_text);
    // A file that has been deleted meanwhile is written anew.
    if (status == STATUS_IO_ERROR && errno == ENOENT) status = STATUS_OK;
    if (status == STATUS_OK) {
        config_rewrite_text(config, buffer_view(&old_text), &new_text);
        status = config->io->replace(config->path, buffer_view(&new_text));
    }
    if (status != STATUS_OK) {
        buffer_append_format(error, "Rewriting config file: %s",
                             status == STATUS_IO_ERROR ? strerror(errno) : status_text(status));
    }
    buffer_deinit(&old_text);
    buffer_deinit(&new_text);
    return status;
}

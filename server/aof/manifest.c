#include "server/aof/manifest.h"

#include <inttypes.h>
#include <string.h>

#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/base/words.h"

enum {
    LINE_WORDS_MAX = AOF_MANIFEST_LINE_MAX_BYTES / 2, /* No line can have more. */
    LINE_WORDS_MIN = 6,
    FIRST_FILES = 4,
};

static const char bad_format[] = "Invalid AOF manifest file format";
static const char too_long[] = "The AOF manifest file contains too long line";

/* -- lists of files -- */

static void reserve_one(struct aof_file_list *list) {
    if (list->count < list->cap) return;
    list->cap = list->cap == 0 ? FIRST_FILES : list->cap * 2;
    list->items = mem_realloc(list->items, list->cap * sizeof(*list->items));
}

static void list_append(struct aof_file_list *list, struct aof_file file) {
    reserve_one(list);
    list->items[list->count++] = file;
}

static void list_put_first(struct aof_file_list *list, struct aof_file file) {
    reserve_one(list);
    memmove(list->items + 1, list->items, list->count * sizeof(*list->items));
    list->items[0] = file;
    list->count++;
}

static void list_deinit(struct aof_file_list *list) {
    for (size_t i = 0; i < list->count; i++)
        mem_free(list->items[i].name);
    mem_free(list->items);
    *list = (struct aof_file_list){0};
}

static struct aof_file file_copy(struct aof_file file) {
    if (file.name != NULL) file.name = bytes_copy_text(bytes_of_text(file.name));
    return file;
}

static struct aof_file_list list_copy(const struct aof_file_list *list) {
    struct aof_file_list copy = {0};
    for (size_t i = 0; i < list->count; i++)
        list_append(&copy, file_copy(list->items[i]));
    return copy;
}

void aof_manifest_deinit(struct aof_manifest *manifest) {
    mem_free(manifest->base.name);
    list_deinit(&manifest->history);
    list_deinit(&manifest->increments);
    *manifest = (struct aof_manifest){0};
}

struct aof_manifest aof_manifest_copy(const struct aof_manifest *manifest) {
    struct aof_manifest copy = *manifest;
    copy.base = file_copy(manifest->base);
    copy.history = list_copy(&manifest->history);
    copy.increments = list_copy(&manifest->increments);
    return copy;
}

/* -- writing -- */

static void encode_file(const struct aof_file *file, char type, struct buffer *out) {
    buffer_append_text(out, "file ");
    words_append(out, bytes_of_text(file->name));
    buffer_append_format(out, " seq %" PRIu64 " type %c\n", file->sequence, type);
}

static void encode_list(const struct aof_file_list *list, char type, struct buffer *out) {
    for (size_t i = 0; i < list->count; i++)
        encode_file(&list->items[i], type, out);
}

void aof_manifest_encode(const struct aof_manifest *manifest, struct buffer *out) {
    if (aof_manifest_is_empty(manifest) && manifest->history.count == 0)
        buffer_append_text(out, "# No files yet\n"); // A manifest of no bytes is a broken one.
    if (manifest->base.name != NULL) encode_file(&manifest->base, 'b', out);
    encode_list(&manifest->history, 'h', out);
    encode_list(&manifest->increments, 'i', out);
}

/* -- reading -- */

/* What a line says. The views are of the words that the line was cut into. */
struct entry {
    struct bytes name;
    uint64_t sequence; /* 0: absent or no such number. */
    uint8_t type;      /* 0: absent. */
};

static uint64_t parse_sequence(struct bytes text) {
    uint64_t sequence = 0;
    if (!number_parse_u64(text, &sequence) || sequence > AOF_SEQUENCE_MAX) return 0;
    return sequence;
}

static bool is_path(struct bytes name) {
    return memchr(name.data, '/', name.len) != NULL || bytes_equal_text(name, ".") ||
           bytes_equal_text(name, "..");
}

/* NULL, or what is wrong with the line. */
static const char *read_entry(const struct words *words, struct entry *out) {
    if (words->count < LINE_WORDS_MIN || words->count % 2 != 0) return bad_format;
    for (size_t i = 0; i < words->count; i += 2) {
        struct bytes key = words->items[i];
        struct bytes value = words->items[i + 1];
        if (bytes_equal_text_nocase(key, "file")) {
            if (value.len == 0 || memchr(value.data, 0, value.len) != NULL) return bad_format;
            if (is_path(value)) return "File can't be a path, just a filename";
            out->name = value;
        } else if (bytes_equal_text_nocase(key, "seq")) {
            out->sequence = parse_sequence(value);
        } else if (bytes_equal_text_nocase(key, "type")) {
            out->type = value.len == 0 ? 0 : value.data[0];
        }
    }
    return out->name.len == 0 || out->sequence == 0 || out->type == 0 ? bad_format : NULL;
}

/* Whether the file can be written down again: escaped, a name may be longer than it was read. */
static bool fits_line(const struct aof_file *file) {
    struct buffer line = {0};
    encode_file(file, 'h', &line);
    size_t len = line.len;
    buffer_deinit(&line);
    return len <= AOF_MANIFEST_LINE_MAX_BYTES;
}

static const char *add_entry(struct aof_manifest *manifest, const struct entry *entry) {
    if (entry->type == 'b' && manifest->base.name != NULL)
        return "Found duplicate base file information";
    if (entry->type == 'i' && entry->sequence <= manifest->increment_sequence)
        return "Found a non-monotonic sequence number";
    if (strchr("bih", entry->type) == NULL) return "Unknown AOF file type";

    struct aof_file file = {bytes_copy_text(entry->name), entry->sequence};
    if (!fits_line(&file)) {
        mem_free(file.name);
        return too_long;
    }
    if (entry->type == 'b') {
        manifest->base = file;
        manifest->base_sequence = file.sequence;
    } else if (entry->type == 'i') {
        list_append(&manifest->increments, file);
        manifest->increment_sequence = file.sequence;
    } else {
        list_append(&manifest->history, file);
    }
    return NULL;
}

static const char *read_line(struct aof_manifest *manifest, struct words *words,
                             struct bytes line) {
    if (line.len == 0 || memchr(line.data, 0, line.len) != NULL) return bad_format;
    if (words_split(words, line, LINE_WORDS_MAX) != STATUS_OK) return bad_format;
    struct entry entry = {0};
    const char *reason = read_entry(words, &entry);
    return reason != NULL ? reason : add_entry(manifest, &entry);
}

static bool is_blank(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct bytes trim(struct bytes line) {
    while (line.len > 0 && is_blank(line.data[0]))
        line = bytes_from(line, 1);
    while (line.len > 0 && is_blank(line.data[line.len - 1]))
        line.len--;
    return line;
}

enum status aof_manifest_parse(struct bytes text, struct aof_manifest *out_manifest,
                               struct aof_manifest_error *out_error) {
    struct words words = {0};
    unsigned line_number = 0;
    struct aof_manifest_error error = {.reason = "Found an empty AOF manifest"};
    if (text.len == 0) goto fail;
    while (text.len > 0) {
        line_number++;
        const uint8_t *newline = memchr(text.data, '\n', text.len);
        size_t len = newline == NULL ? text.len : (size_t)(newline - text.data) + 1;
        struct bytes line = bytes_of(text.data, len);
        text = bytes_from(text, len);
        if (line.data[0] == '#') continue;
        error = (struct aof_manifest_error){.reason = too_long};
        // A last line without its end is a line of which the rest may be missing.
        if (newline == NULL || len > AOF_MANIFEST_LINE_MAX_BYTES) goto fail;
        error.line = line_number;
        error.text = trim(line);
        error.reason = read_line(out_manifest, &words, error.text);
        if (error.reason != NULL) goto fail;
    }
    words_deinit(&words);
    return STATUS_OK;

fail:
    words_deinit(&words);
    aof_manifest_deinit(out_manifest);
    *out_error = error;
    return STATUS_BAD_FORMAT;
}

void aof_manifest_error_format(const struct aof_manifest_error *error, struct buffer *out) {
    buffer_append_text(out, "\n*** FATAL AOF MANIFEST FILE ERROR ***\n");
    if (error->line > 0) {
        buffer_append_format(out, "Reading the manifest file, at line %u\n>>> '", error->line);
        buffer_append_bytes(out, error->text);
        buffer_append_text(out, "'\n");
    }
    buffer_append_format(out, "%s\n", error->reason);
}

/* -- steps -- */

bool aof_manifest_is_empty(const struct aof_manifest *manifest) {
    return manifest->base.name == NULL && manifest->increments.count == 0;
}

static char *numbered_name(const char *prefix, uint64_t sequence, const char *suffix) {
    ASSERT(strlen(prefix) <= AOF_PREFIX_MAX_BYTES);
    struct buffer name = {0};
    buffer_append_format(&name, "%s.%" PRIu64 ".%s", prefix, sequence, suffix);
    char *text = bytes_copy_text(buffer_view(&name));
    buffer_deinit(&name);
    return text;
}

char *aof_manifest_next_increment_name(const struct aof_manifest *manifest, const char *prefix) {
    return numbered_name(prefix, manifest->increment_sequence + 1, "incr.aof");
}

char *aof_manifest_next_base_name(const struct aof_manifest *manifest, const char *prefix,
                                  enum aof_base_format format) {
    return numbered_name(prefix, manifest->base_sequence + 1,
                         format == AOF_BASE_RDB ? "base.rdb" : "base.aof");
}

const char *aof_manifest_add_increment(struct aof_manifest *manifest, const char *prefix) {
    char *name = aof_manifest_next_increment_name(manifest, prefix);
    list_append(&manifest->increments, (struct aof_file){name, ++manifest->increment_sequence});
    return name;
}

/* The increments become history in front of what is there, in their order. */
static void retire_increments(struct aof_manifest *manifest) {
    struct aof_file_list *increments = &manifest->increments;
    if (increments->count < 2) return;
    size_t last = increments->count - 1;
    for (size_t i = last; i-- > 0;)
        list_put_first(&manifest->history, increments->items[i]);
    increments->items[0] = increments->items[last];
    increments->count = 1;
}

const char *aof_manifest_begin_base(struct aof_manifest *manifest, const char *prefix,
                                    enum aof_base_format format) {
    char *name = aof_manifest_next_base_name(manifest, prefix, format);
    if (manifest->base.name != NULL) list_put_first(&manifest->history, manifest->base);
    manifest->base = (struct aof_file){name, ++manifest->base_sequence};
    retire_increments(manifest);
    return name;
}

void aof_manifest_adopt_base(struct aof_manifest *manifest, const char *name) {
    ASSERT(aof_manifest_is_empty(manifest));
    manifest->base = (struct aof_file){bytes_copy_text(bytes_of_text(name)), 1};
    manifest->base_sequence = 1;
}

void aof_manifest_drop_history(struct aof_manifest *manifest) {
    list_deinit(&manifest->history);
}

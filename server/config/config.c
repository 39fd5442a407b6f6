#include "server/config/config.h"

#include <string.h>

#include "server/base/check.h"
#include "server/base/glob.h"
#include "server/base/mem.h"
#include "server/config/config_internal.h"

struct config *config_create(const struct config_io *io) {
    struct config *config = mem_alloc_zero(sizeof(*config));
    config->io = io;
    return config;
}

void config_destroy(struct config *config) {
    if (config == NULL) return;
    for (size_t i = 0; i < config->entry_count; i++) {
        value_deinit(config->entries[i].row, config_field(config, &config->entries[i]));
    }
    mem_free(config->entries);
    mem_free(config->sections);
    mem_free(config->path);
    mem_free(config);
}

struct config_entry *config_find(const struct config *config, struct bytes name) {
    for (size_t i = 0; i < config->entry_count; i++) {
        const struct option *row = config->entries[i].row;
        if (bytes_equal_text_nocase(name, row->name) ||
            (row->alias != NULL && bytes_equal_text_nocase(name, row->alias))) {
            return &config->entries[i];
        }
    }
    return NULL;
}

const char *config_spelling(const struct option *row, struct bytes name) {
    return bytes_equal_text_nocase(name, row->name) ? row->name : row->alias;
}

void *config_field(const struct config *config, const struct config_entry *entry) {
    return (char *)config->sections[entry->section_index].base + entry->row->field.offset;
}

const char *config_path(const struct config *config) {
    return config->path;
}

static bool name_is_lower(const char *name) {
    for (; *name != 0; name++) {
        if (*name >= 'A' && *name <= 'Z') return false;
    }
    return true;
}

/* Asserts what a row promises, so that a typing error shows at the first start. */
static void check_row(const struct config *config, const struct option *row) {
    ASSERT(row->name != NULL && row->doc != NULL && name_is_lower(row->name));
    ASSERT(config_find(config, bytes_of_text(row->name)) == NULL);
    ASSERT(row->alias == NULL || config_find(config, bytes_of_text(row->alias)) == NULL);
    size_t size = row->field.size;
    int64_t initial = row->range.initial;
    switch (row->field.kind) {
    case OPTION_KIND_BOOL:
        ASSERT(initial == 0 || initial == 1);
        break;
    case OPTION_KIND_STRING:
        break;
    case OPTION_KIND_ENUM:
        ASSERT(row->choices != NULL && (size == 1 || size == 2 || size == 4 || size == 8));
        break;
    case OPTION_KIND_SPECIAL:
        ASSERT(row->ops != NULL && row->ops->parse != NULL);
        ASSERT(row->ops->format != NULL || (row->file_only && row->ops->format_line != NULL));
        break;
    default:
        ASSERT(size == 1 || size == 2 || size == 4 || size == 8);
        ASSERT(value_max(row) <= UINT64_MAX >> (64 - 8 * size));
        if (row->field.kind == OPTION_KIND_INT) {
            ASSERT(initial >= row->range.min && initial <= (int64_t)value_max(row));
        } else {
            ASSERT(row->range.min >= 0 && initial >= row->range.min);
            ASSERT((uint64_t)initial <= value_max(row));
        }
    }
    ASSERT(!row->file_only || (row->field.kind == OPTION_KIND_SPECIAL && !row->live));
}

void config_register(struct config *config, const struct option *rows, size_t count, void *base,
                     config_apply *apply, void *context) {
    config->sections =
        mem_realloc(config->sections, (config->section_count + 1) * sizeof(*config->sections));
    config->sections[config->section_count] =
        (struct config_section){.base = base, .apply = apply, .context = context};
    config->entries =
        mem_realloc(config->entries, (config->entry_count + count) * sizeof(*config->entries));
    for (size_t i = 0; i < count; i++) {
        check_row(config, &rows[i]);
        struct config_entry *entry = &config->entries[config->entry_count];
        *entry = (struct config_entry){.row = &rows[i], .section_index = config->section_count};
        void *field = (char *)base + rows[i].field.offset;
        memset(field, 0, rows[i].field.size);
        value_init(&rows[i], field);
        config->entry_count++;
    }
    config->section_count++;
}

void config_each_row(const struct config *config,
                     void (*visit)(void *context, const struct option *row), void *context) {
    for (size_t i = 0; i < config->entry_count; i++)
        visit(context, config->entries[i].row);
}

/* Redis takes a text without these three for a name, whatever else it holds. */
static bool is_pattern(struct bytes text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '*' || text.data[i] == '?' || text.data[i] == '[') return true;
    }
    return false;
}

/* Finds the first pattern that names this spelling. The client's own spelling comes back to it when
 * it was a plain name. */
static bool find_asked(const struct option *row, const char *spelling, const struct bytes *patterns,
                       size_t count, struct bytes *out_name) {
    struct bytes name = bytes_of_text(spelling);
    for (size_t i = 0; i < count; i++) {
        if (!is_pattern(patterns[i])) {
            if (!bytes_equal_nocase(patterns[i], name)) continue;
            *out_name = patterns[i];
            return true;
        }
        if (row->hidden || !glob_matches(patterns[i], name, true)) continue;
        *out_name = name;
        return true;
    }
    return false;
}

void config_get(const struct config *config, const struct bytes *patterns, size_t count,
                config_visit *visit, void *context) {
    struct buffer value = {0};
    for (size_t i = 0; i < config->entry_count; i++) {
        const struct option *row = config->entries[i].row;
        if (row->file_only) continue;
        const char *spellings[] = {row->name, row->alias};
        for (size_t s = 0; s < ARRAY_COUNT(spellings) && spellings[s] != NULL; s++) {
            struct bytes name;
            if (!find_asked(row, spellings[s], patterns, count, &name)) continue;
            char text[128];
            buffer_clear(&value);
            value_format(row, config_field(config, &config->entries[i]), &value);
            visit(context, bytes_to_text(name, text, sizeof(text)), buffer_view(&value));
        }
    }
    buffer_deinit(&value);
}

bool config_option_is_secret(const struct config *config, struct bytes name) {
    const struct config_entry *entry = config_find(config, name);
    return entry != NULL && entry->row->secret;
}

bool config_get_one(const struct config *config, const char *name, struct buffer *out) {
    const struct config_entry *entry = config_find(config, bytes_of_text(name));
    if (entry == NULL || entry->row->file_only) return false;
    value_format(entry->row, config_field(config, entry), out);
    return true;
}

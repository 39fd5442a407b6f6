#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/base/mem.h"
#include "server/config/config_internal.h"

/* One pair of the command. While it is tried, `kept` holds what is not in the member: first the new
 * value, after the swap the old one. */
struct staged {
    struct config_entry *entry;
    void *kept;
    bool is_parsed;
    bool is_changed;
};

struct config_change {
    const struct staged *staged;
    size_t count;
    size_t section_index;
    bool is_rollback;
    const char *blamed; /* The option that a callback names, or NULL. */
    struct buffer reason;
};

bool config_change_has(const struct config_change *change, const char *name) {
    for (size_t i = 0; i < change->count; i++) {
        if (change->staged[i].is_changed && strcmp(change->staged[i].entry->row->name, name) == 0) {
            return true;
        }
    }
    return false;
}

bool config_change_is_rollback(const struct config_change *change) {
    return change->is_rollback;
}

bool config_change_refuse(struct config_change *change, const char *name, const char *format, ...) {
    if (change->is_rollback) return false;
    change->blamed = NULL;
    for (size_t i = 0; name != NULL && i < change->count; i++) {
        const char *staged_name = change->staged[i].entry->row->name;
        if (strcmp(staged_name, name) == 0) change->blamed = staged_name;
    }
    buffer_clear(&change->reason);
    va_list args;
    va_start(args, format);
    buffer_append_format_list(&change->reason, format, args);
    va_end(args);
    return false;
}

static void write_failure(struct bytes name, struct bytes reason, struct buffer *error) {
    buffer_append_text(error, "CONFIG SET failed (possibly related to argument '");
    buffer_append_bytes(error, name);
    buffer_append_text(error, "') - ");
    buffer_append_bytes(error, reason);
}

static void write_unknown(struct bytes name, struct buffer *error) {
    buffer_append_text(error, "Unknown option or number of arguments for CONFIG SET - '");
    buffer_append_bytes(error, name);
    buffer_append_text(error, "'");
    if (config_name_is_known_elsewhere(name)) {
        buffer_append_text(error, " (this build of Dunlin does not support it)");
    }
}

bool config_has_still_while_loading(const struct config *config, const struct bytes *pairs,
                                    size_t pair_count) {
    for (size_t i = 0; i < pair_count; i++) {
        const struct config_entry *entry = config_find(config, pairs[2 * i]);
        if (entry != NULL && entry->row->still_while_loading) return true;
    }
    return false;
}

/* Looks at the names alone, in order: the first thing wrong is what the client reads. */
static bool check_names(const struct config *config, const struct bytes *pairs, size_t pair_count,
                        bool guarded_allowed, struct staged *staged, struct buffer *error) {
    for (size_t i = 0; i < pair_count; i++) {
        struct bytes name = pairs[2 * i];
        struct config_entry *entry = config_find(config, name);
        if (entry == NULL || entry->row->file_only) {
            write_unknown(name, error);
            return false;
        }
        const char *reason = NULL;
        if (!entry->row->live) {
            reason = "can't set immutable config";
        } else if (entry->row->guarded && !guarded_allowed) {
            reason = "can't set protected config";
        }
        for (size_t j = 0; j < i && reason == NULL; j++) {
            if (bytes_equal_nocase(pairs[2 * j], name)) reason = "duplicate parameter";
        }
        if (reason != NULL) {
            write_failure(name, bytes_of_text(reason), error);
            return false;
        }
        staged[i].entry = entry;
    }
    return true;
}

static bool parse_values(const struct config *config, const struct bytes *pairs, size_t pair_count,
                         struct staged *staged, struct buffer *error) {
    struct buffer reason = {0};
    bool is_good = true;
    for (size_t i = 0; i < pair_count && is_good; i++) {
        const struct option *row = staged[i].entry->row;
        struct option_input input = {
            .words = &pairs[2 * i + 1],
            .word_count = 1,
            .current = config_field(config, staged[i].entry),
            .is_live = true,
        };
        staged[i].kept = mem_alloc_zero(row->field.size);
        is_good = value_parse(row, &input, staged[i].kept, &reason);
        staged[i].is_parsed = is_good;
        if (is_good) continue;
        write_failure(bytes_of_text(config_spelling(row, pairs[2 * i])), buffer_view(&reason),
                      error);
    }
    buffer_deinit(&reason);
    return is_good;
}

static void swap_value(const struct config *config, struct staged *staged) {
    uint8_t *field = config_field(config, staged->entry);
    uint8_t *kept = staged->kept;
    for (size_t i = 0; i < staged->entry->row->field.size; i++) {
        uint8_t byte = field[i];
        field[i] = kept[i];
        kept[i] = byte;
    }
}

/* Calls the callback of one section when one of its values has changed. */
static bool apply_section(const struct config *config, struct config_change *change) {
    const struct config_section *section = &config->sections[change->section_index];
    if (section->apply == NULL) return true;
    for (size_t i = 0; i < change->count; i++) {
        const struct staged *staged = &change->staged[i];
        if (staged->is_changed && staged->entry->section_index == change->section_index) {
            return section->apply(section->context, change);
        }
    }
    return true;
}

/* The first changed option of the section that refused, when the callback has named none. */
static const char *blamed_name(const struct config_change *change) {
    if (change->blamed != NULL) return change->blamed;
    for (size_t i = 0; i < change->count; i++) {
        const struct staged *staged = &change->staged[i];
        if (staged->is_changed && staged->entry->section_index == change->section_index) {
            return staged->entry->row->name;
        }
    }
    return "";
}

/* Puts the values in place and tells the modules; puts everything back when one refuses. */
static enum status commit(struct config *config, struct staged *staged, size_t count,
                          struct buffer *error) {
    for (size_t i = 0; i < count; i++) {
        const struct option *row = staged[i].entry->row;
        staged[i].is_changed =
            !value_equal(row, config_field(config, staged[i].entry), staged[i].kept);
        swap_value(config, &staged[i]);
    }
    struct config_change change = {.staged = staged, .count = count};
    enum status status = STATUS_OK;
    for (size_t s = 0; s < config->section_count && status == STATUS_OK; s++) {
        change.section_index = s;
        if (!apply_section(config, &change)) status = STATUS_BUSY;
    }
    if (status != STATUS_OK) {
        write_failure(bytes_of_text(blamed_name(&change)), buffer_view(&change.reason), error);
        for (size_t i = count; i > 0; i--)
            swap_value(config, &staged[i - 1]);
        change.is_rollback = true;
        // The one that refused may have done half of its work: it is told as well.
        for (size_t s = change.section_index + 1; s > 0; s--) {
            change.section_index = s - 1;
            apply_section(config, &change);
        }
    }
    buffer_deinit(&change.reason);
    return status;
}

enum status config_set(struct config *config, const struct bytes *pairs, size_t pair_count,
                       bool guarded_allowed, struct buffer *error) {
    struct staged *staged = mem_try_alloc(pair_count * sizeof(*staged));
    if (staged == NULL) {
        buffer_append_text(error, "out of memory");
        return STATUS_NO_MEMORY;
    }
    memset(staged, 0, pair_count * sizeof(*staged));
    enum status status = STATUS_BAD_FORMAT;
    if (check_names(config, pairs, pair_count, guarded_allowed, staged, error) &&
        parse_values(config, pairs, pair_count, staged, error)) {
        status = commit(config, staged, pair_count, error);
    }
    for (size_t i = 0; i < pair_count; i++) {
        if (staged[i].is_parsed) value_deinit(staged[i].entry->row, staged[i].kept);
        mem_free(staged[i].kept);
    }
    mem_free(staged);
    return status;
}

/* Sets of libraries, and the directory of their functions. */
#include "server/script/libraries.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/base/mem.h"
#include "server/rdb/rdb_format.h"
#include "server/rdb/rdb_reader.h"
#include "server/script/script_internal.h"

/* -- life -- */

struct libraries *libraries_create(struct scripts *scripts) {
    struct libraries *libraries = mem_alloc_zero(sizeof(*libraries));
    libraries->scripts = scripts;
    return libraries;
}

void libraries_destroy(struct libraries *libraries) {
    if (libraries == NULL) return;
    for (uint32_t i = 0; i < libraries->count; i++)
        library_destroy(libraries->items[i]);
    mem_free(libraries->items);
    mem_free(libraries->by_name);
    mem_free(libraries);
}

uint32_t libraries_count(const struct libraries *libraries) {
    return libraries->count;
}

struct bytes libraries_source_view(const struct libraries *libraries, uint32_t index) {
    return libraries->items[index]->source;
}

const struct libraries *scripts_libraries(const struct scripts *scripts) {
    return scripts->libraries;
}

static uint64_t library_bytes(const struct library *library) {
    uint64_t bytes = sizeof(*library) + strlen(library->name) + 1 + library->source.len +
                     library->cap * sizeof(struct function *);
    for (uint32_t i = 0; i < library->count; i++) {
        const struct function *function = library->functions[i];
        bytes += sizeof(*function) + strlen(function->name) + 1 + function->description.len;
    }
    return bytes;
}

void scripts_note_libraries(struct scripts *scripts) {
    const struct libraries *libraries = scripts->libraries;
    uint64_t functions = 0;
    uint64_t bytes = sizeof(*libraries) + libraries->count * sizeof(struct library *) +
                     libraries->function_count * sizeof(struct function *);
    for (uint32_t i = 0; i < libraries->count; i++) {
        functions += libraries->items[i]->count;
        bytes += library_bytes(libraries->items[i]);
    }
    atomic_store(&scripts->function_count, functions);
    atomic_store(&scripts->library_count, libraries->count);
    atomic_store(&scripts->library_bytes, bytes);
}

void scripts_adopt_libraries(struct scripts *scripts, struct libraries *taken) {
    libraries_destroy(scripts->libraries);
    scripts->libraries = taken;
    scripts_note_libraries(scripts);
}

/* -- the directory of functions -- */

static int compare_functions(const void *a, const void *b) {
    const struct function *first = *(struct function *const *)a;
    const struct function *second = *(struct function *const *)b;
    int order = strcasecmp(first->name, second->name);
    return order != 0 ? order : strcmp(first->name, second->name);
}

static void index_functions(struct libraries *libraries) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < libraries->count; i++)
        count += libraries->items[i]->count;
    mem_free(libraries->by_name);
    libraries->by_name = mem_alloc((count + 1) * sizeof(struct function *));
    libraries->function_count = 0;
    for (uint32_t i = 0; i < libraries->count; i++) {
        for (uint32_t k = 0; k < libraries->items[i]->count; k++)
            libraries->by_name[libraries->function_count++] = libraries->items[i]->functions[k];
    }
    qsort(libraries->by_name, count, sizeof(struct function *), compare_functions);
}

static int compare_name(struct bytes name, const char *text) {
    size_t len = strlen(text);
    int order = strncasecmp((const char *)name.data, text, name.len < len ? name.len : len);
    return order != 0 ? order : (name.len > len) - (name.len < len);
}

struct function *libraries_find_function(const struct libraries *libraries, struct bytes name) {
    uint32_t low = 0;
    uint32_t high = libraries->function_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare_name(name, libraries->by_name[middle]->name) > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == libraries->function_count || memchr(name.data, '\0', name.len) != NULL ||
        compare_name(name, libraries->by_name[low]->name) != 0)
        return NULL;
    return libraries->by_name[low];
}

/* -- members -- */

/* Where the library of this name stands, or would stand. */
static bool find_library(const struct libraries *libraries, struct bytes name,
                         uint32_t *out_index) {
    uint32_t index = 0;
    int order = 1;
    for (; index < libraries->count; index++) {
        order = bytes_compare(bytes_of_text(libraries->items[index]->name), name);
        if (order >= 0) break;
    }
    *out_index = index;
    return index < libraries->count && order == 0;
}

static void insert_take(struct libraries *libraries, struct library *library) {
    uint32_t index = 0;
    if (find_library(libraries, bytes_of_text(library->name), &index)) {
        library_destroy(libraries->items[index]);
        libraries->items[index] = library;
        return;
    }
    libraries->items =
        mem_realloc(libraries->items, (libraries->count + 1) * sizeof(struct library *));
    memmove(&libraries->items[index + 1], &libraries->items[index],
            (libraries->count - index) * sizeof(struct library *));
    libraries->items[index] = library;
    libraries->count++;
}

bool libraries_remove(struct libraries *libraries, struct bytes name) {
    uint32_t index = 0;
    if (!find_library(libraries, name, &index)) return false;
    library_destroy(libraries->items[index]);
    libraries->count--;
    memmove(&libraries->items[index], &libraries->items[index + 1],
            (libraries->count - index) * sizeof(struct library *));
    index_functions(libraries);
    return true;
}

/* Whether a function's name is taken by a library that stays when those of `replacing` come. */
static bool has_clash(const struct libraries *libraries, const struct library *library,
                      const struct libraries *replacing, struct buffer *error) {
    for (uint32_t i = 0; i < library->count; i++) {
        const char *name = library->functions[i]->name;
        const struct function *other = libraries_find_function(libraries, bytes_of_text(name));
        uint32_t index = 0;
        if (other == NULL || find_library(replacing, bytes_of_text(other->library->name), &index))
            continue;
        buffer_append_format(error, "Function %s already exists", name);
        return true;
    }
    return false;
}

bool libraries_add(struct libraries *libraries, struct bytes source, enum library_clash clash,
                   uint64_t limit_ms, char **out_name, struct buffer *error) {
    uint32_t index = 0;
    char *name = library_parse_name(source, error);
    if (name == NULL) return false;
    if (clash == LIBRARY_CLASH_FAILS && find_library(libraries, bytes_of_text(name), &index)) {
        buffer_append_format(error, "Library '%s' already exists", name);
        mem_free(name);
        return false;
    }
    struct library *library = library_create(libraries->scripts, name, source, limit_ms, error);
    if (library == NULL) return false;
    const struct libraries alone = {.items = &library, .count = 1};
    if (has_clash(libraries, library, &alone, error)) {
        library_destroy(library);
        return false;
    }
    insert_take(libraries, library);
    index_functions(libraries);
    *out_name = library->name;
    return true;
}

bool libraries_load(struct libraries *libraries, struct bytes source, struct buffer *error) {
    char *name = NULL;
    return libraries_add(libraries, source, LIBRARY_CLASH_FAILS, ACCEPTED_LIMIT_MS, &name, error);
}

bool libraries_join(struct libraries *libraries, struct libraries *other, enum library_clash clash,
                    struct buffer *error) {
    uint32_t index = 0;
    for (uint32_t i = 0; clash == LIBRARY_CLASH_FAILS && i < other->count; i++) {
        const char *name = other->items[i]->name;
        if (!find_library(libraries, bytes_of_text(name), &index)) continue;
        buffer_append_format(error, "Library %s already exists", name);
        return false;
    }
    for (uint32_t i = 0; i < other->count; i++) {
        if (has_clash(libraries, other->items[i], other, error)) return false;
    }
    for (uint32_t i = 0; i < other->count; i++)
        insert_take(libraries, other->items[i]);
    other->count = other->function_count = 0;
    index_functions(libraries);
    return true;
}

/* -- payloads of FUNCTION DUMP -- */

static bool read_item(struct libraries *libraries, struct rdb_reader *reader, uint64_t limit_ms,
                      struct buffer *error) {
    uint8_t opcode = 0;
    struct buffer source = {0};
    const char *refused = NULL;
    if (rdb_read_u8(reader, &opcode) != STATUS_OK) {
        refused = "failed loading functions payload";
    } else if (opcode == RDB_OPCODE_FUNCTION_PRE_GA) {
        refused = "Pre-GA function format not supported";
    } else if (opcode != RDB_OPCODE_FUNCTION) {
        refused = "given type is not a function";
    } else if (rdb_read_string(reader, &source) != STATUS_OK) {
        refused = "Failed loading library code";
    }
    if (refused != NULL) buffer_append_text(error, refused);
    char *name = NULL;
    bool is_fine = refused == NULL && libraries_add(libraries, buffer_view(&source),
                                                    LIBRARY_CLASH_FAILS, limit_ms, &name, error);
    buffer_deinit(&source);
    return is_fine;
}

bool libraries_read_dump(struct libraries *libraries, struct bytes content, uint64_t limit_ms,
                         struct buffer *error) {
    struct rdb_reader reader;
    bool is_fine = true;
    rdb_reader_init_memory(&reader, content);
    while (is_fine && rdb_reader_offset(&reader) < content.len)
        is_fine = read_item(libraries, &reader, limit_ms, error);
    rdb_reader_deinit(&reader);
    return is_fine;
}

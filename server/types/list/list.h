/* Lists: elements in the order in which they were put.
 *
 * A small list is one listpack, a larger one a counted B+tree (structs/leaf_tree) whose leaves are
 * listpacks of the size that list-max-listpack-size allows: an end is reached at once, an element
 * by its index in O(log n), and an insertion moves the bytes of one leaf. With list-compress-depth
 * leaves further from both ends are kept compressed.
 */
#pragma once

#include "server/command/command.h"
#include "server/keyspace/data_type.h"
#include "server/structs/leaf_tree.h"
#include "server/structs/listpack.h"

extern const struct data_type list_type;
extern const struct command list_commands[];

/* -- for other modules (SORT) -- */

uint64_t list_count(const struct record *record);

/* An empty list; the caller fills it before others see it. */
MUST_USE struct record *list_record_create(struct bytes key);

/* Puts an element in front of the first or behind the last. It may not lie in the list. O(leaf) */
void list_push(struct record *record, struct bytes element, bool at_head,
               const struct data_type_options *options);

/* The same for several, one after the other; their blocks are made in the size that they need. */
void list_push_all(struct record *record, const struct bytes *elements, uint32_t count,
                   bool at_head, const struct data_type_options *options);

/* Where a walk over a list stands. What it shows ends with the next step or change. */
struct list_cursor {
    const uint8_t *block; /* NULL: behind the last element. */
    size_t at;
    struct leaf_place place; /* Of a list that is a tree. */
    bool is_tree;
    uint8_t *opened; /* The leaf's bytes, where it is compressed. */
};

/* The element at `index` (below list_count). O(log n) */
void list_cursor_begin(struct list_cursor *cursor, const struct record *record, uint64_t index);
void list_cursor_end(struct list_cursor *cursor);
static inline bool list_cursor_has(const struct list_cursor *cursor) {
    return cursor->block != NULL;
}
/* As text (`scratch` has NUMBER_TEXT_MAX bytes), or as it lies there. */
struct bytes list_cursor_text(const struct list_cursor *cursor, char *scratch);
struct listpack_value list_cursor_value(const struct list_cursor *cursor);
void list_cursor_next(struct list_cursor *cursor);
void list_cursor_previous(struct list_cursor *cursor);

/* The structure of a list: one listpack, or a tree of them. */
#include <liblzf/lzf.h>

#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/types/list/list_internal.h"

/* -- leaves --
 *
 * A leaf is a listpack, or, far from both ends and if list-compress-depth asks for it, a compressed
 * one: its pointer has bit 0 set. */

struct compressed_leaf {
    uint32_t len;  /* Of the listpack, */
    uint32_t size; /* and of `data`. */
    uint8_t data[];
};

enum { COMPRESS_FROM = 48 }; /* Bytes of a listpack that may be worth the trouble. */

static bool is_compressed(const void *leaf) {
    return ((uintptr_t)leaf & 1) != 0;
}

static struct compressed_leaf *compressed_of(const void *leaf) {
    return (struct compressed_leaf *)((uintptr_t)leaf & ~(uintptr_t)1);
}

static uint8_t *decompress(const void *leaf) {
    const struct compressed_leaf *compressed = compressed_of(leaf);
    uint8_t *block = mem_alloc(compressed->len);
    ASSERT(lzf_decompress(compressed->data, compressed->size, block, compressed->len) ==
           compressed->len);
    return block;
}

static void free_leaf(void *leaf) {
    mem_free(is_compressed(leaf) ? (void *)compressed_of(leaf) : leaf);
}

/* The leaf at the place as a listpack that may be changed. */
static uint8_t *open_leaf(struct leaf_place *place) {
    void *leaf = leaf_place_leaf(place);
    if (LIKELY(!is_compressed(leaf))) return leaf;
    uint8_t *block = decompress(leaf);
    free_leaf(leaf);
    leaf_tree_set_leaf(place, block);
    return block;
}

static void compress_leaf(struct leaf_place *place) {
    uint8_t *block = leaf_place_leaf(place);
    if (is_compressed(block)) return;
    size_t len = listpack_bytes(block);
    if (len < COMPRESS_FROM || len > UINT32_MAX) return;
    struct compressed_leaf *compressed = mem_alloc(sizeof(*compressed) + len);
    // It has to gain something, or it stays as it is.
    unsigned size =
        lzf_compress(block, (unsigned)len, compressed->data, (unsigned)(len - len / 16));
    if (size == 0) {
        mem_free(compressed);
        return;
    }
    compressed->len = (uint32_t)len;
    compressed->size = size;
    compressed = mem_realloc(compressed, sizeof(*compressed) + size);
    mem_free(block);
    leaf_tree_set_leaf(place, (void *)((uintptr_t)compressed | 1));
}

/* Opens the leaves near an end and compresses the first one that is not. */
static void settle_end(struct leaf_tree *tree, uint64_t depth, bool is_head) {
    struct leaf_place place;
    bool has_more = is_head ? leaf_tree_first(tree, &place) : leaf_tree_last(tree, &place);
    for (uint64_t i = 0; has_more && i < depth; i++) {
        open_leaf(&place);
        has_more = is_head ? leaf_place_next(&place) : leaf_place_previous(&place);
    }
    if (has_more && leaf_tree_leaf_count(tree) > 2 * depth) compress_leaf(&place);
}

static void settle_ends(struct leaf_tree *tree, const struct data_type_options *options) {
    if (LIKELY(options->list_compress_depth == 0)) return;
    settle_end(tree, options->list_compress_depth, true);
    settle_end(tree, options->list_compress_depth, false);
}

/* Compresses what a change in the middle has opened. */
static void settle_around(struct leaf_tree *tree, uint64_t index,
                          const struct data_type_options *options) {
    if (LIKELY(options->list_compress_depth == 0)) return;
    struct leaf_place place;
    uint64_t offset;
    if (leaf_tree_at(tree, index, &place, &offset)) {
        compress_leaf(&place);
        if (leaf_place_next(&place)) compress_leaf(&place);
    }
    settle_ends(tree, options);
}

/* -- limits -- */

/* Bytes of a leaf; a limit that counts elements has one of bytes as well. */
static size_t leaf_bytes_max(const struct data_type_options *options) {
    static const size_t sizes[] = {4096, 8192, 16384, 32768, 65536};
    int64_t limit = options->list_max_listpack_size;
    if (limit >= 0) return 8192;
    return sizes[limit < -5 ? 4 : -limit - 1];
}

static bool leaf_has_room(const uint8_t *block, size_t count, struct bytes element,
                          const struct data_type_options *options) {
    if (count == 0) return true;
    int64_t limit = options->list_max_listpack_size;
    if (limit >= 0 && count >= (uint64_t)limit) return false;
    return listpack_bytes(block) + listpack_entry_bytes(element) <= leaf_bytes_max(options);
}

/* -- life -- */

struct leaf_tree *list_tree_of(const struct record *record) {
    return record_encoding(record) == LIST_TREE ? record_pointer(record) : NULL;
}

static uint8_t *block_of(const struct record *record) {
    return record_pointer(record);
}

static struct record *create_around(struct bytes key, enum list_encoding encoding, void *value) {
    return record_create_pointer(
        &(struct record_spec){.type = RECORD_LIST, .encoding = encoding, .key = key}, value);
}

struct record *list_record_create(struct bytes key) {
    return create_around(key, LIST_LISTPACK, listpack_create(0));
}

void list_destroy(struct record *record) {
    struct leaf_tree *tree = list_tree_of(record);
    if (tree == NULL) {
        mem_free(block_of(record));
    } else {
        leaf_tree_destroy(tree, free_leaf);
    }
}

static void append_leaf(struct leaf_tree *tree, void *leaf, uint32_t count) {
    struct leaf_place place = {0};
    leaf_tree_last(tree, &place);
    leaf_tree_insert_after(tree, &place, leaf, count, (struct leaf_key){0});
}

static void *copy_leaf(const void *leaf) {
    if (!is_compressed(leaf)) return listpack_copy(leaf);
    const struct compressed_leaf *compressed = compressed_of(leaf);
    size_t len = sizeof(*compressed) + compressed->size;
    void *copy = mem_alloc(len);
    memcpy(copy, compressed, len);
    return (void *)((uintptr_t)copy | 1);
}

struct record *list_copy(const struct record *record, struct bytes key) {
    struct leaf_tree *tree = list_tree_of(record);
    if (tree == NULL) return create_around(key, LIST_LISTPACK, listpack_copy(block_of(record)));
    struct leaf_tree *copy = leaf_tree_create(false);
    struct leaf_place place;
    bool has_more = leaf_tree_first(tree, &place);
    for (; has_more; has_more = leaf_place_next(&place))
        append_leaf(copy, copy_leaf(leaf_place_leaf(&place)), leaf_place_count(&place));
    return create_around(key, LIST_TREE, copy);
}

static void become_tree(struct record *record) {
    struct leaf_tree *tree = leaf_tree_create(false);
    uint8_t *block = block_of(record);
    size_t count = listpack_count(block);
    if (count > 0) {
        append_leaf(tree, block, (uint32_t)count);
    } else {
        mem_free(block);
    }
    record_set_encoding(record, LIST_TREE);
    record_set_pointer(record, tree);
}

/* A tree of a single leaf, half full at the most, is a listpack again. */
static void shrink_to_listpack(struct record *record, const struct data_type_options *options) {
    struct leaf_tree *tree = list_tree_of(record);
    if (tree == NULL || leaf_tree_leaf_count(tree) != 1) return;
    struct leaf_place place;
    leaf_tree_first(tree, &place);
    uint8_t *block = open_leaf(&place);
    int64_t limit = options->list_max_listpack_size;
    if (listpack_bytes(block) > leaf_bytes_max(options) / 2 ||
        (limit >= 0 && leaf_tree_count(tree) > (uint64_t)limit / 2))
        return;
    leaf_tree_destroy(tree, NULL);
    record_set_encoding(record, LIST_LISTPACK);
    record_set_pointer(record, block);
}

void list_append_block_take(struct record *record, uint8_t *block) {
    if (list_tree_of(record) == NULL) become_tree(record);
    append_leaf(list_tree_of(record), block, (uint32_t)listpack_count(block));
}

void list_settle(struct record *record, const struct data_type_options *options) {
    struct leaf_tree *tree = list_tree_of(record);
    if (tree == NULL) return;
    if (leaf_tree_leaf_count(tree) == 0) {
        leaf_tree_destroy(tree, NULL);
        record_set_encoding(record, LIST_LISTPACK);
        record_set_pointer(record, listpack_create(0));
        return;
    }
    if (options->list_compress_depth > 0) {
        struct leaf_place place;
        bool has_more = leaf_tree_first(tree, &place);
        for (; has_more; has_more = leaf_place_next(&place))
            compress_leaf(&place);
        settle_ends(tree, options);
    }
    shrink_to_listpack(record, options);
}

/* -- walking -- */

uint64_t list_count(const struct record *record) {
    struct leaf_tree *tree = list_tree_of(record);
    return tree == NULL ? listpack_count(block_of(record)) : leaf_tree_count(tree);
}

void list_walk_blocks(const struct record *record, void (*visit)(void *arg, const uint8_t *block),
                      void *arg) {
    struct leaf_tree *tree = list_tree_of(record);
    if (tree == NULL) {
        if (listpack_count(block_of(record)) > 0) visit(arg, block_of(record));
        return;
    }
    struct leaf_place place;
    bool has_more = leaf_tree_first(tree, &place);
    for (; has_more; has_more = leaf_place_next(&place)) {
        void *leaf = leaf_place_leaf(&place);
        if (is_compressed(leaf)) {
            uint8_t *block = decompress(leaf);
            visit(arg, block);
            mem_free(block);
        } else {
            visit(arg, leaf);
        }
    }
}

uint64_t list_visit_block(const struct record *record, uint64_t index,
                          void (*visit)(void *arg, const uint8_t *block), void *arg) {
    struct leaf_tree *tree = list_tree_of(record);
    struct leaf_place place;
    uint64_t offset = 0;
    if (tree == NULL) {
        list_walk_blocks(record, visit, arg);
        return list_count(record);
    }
    if (!leaf_tree_at(tree, index, &place, &offset)) return index;
    void *leaf = leaf_place_leaf(&place);
    uint8_t *opened = is_compressed(leaf) ? decompress(leaf) : NULL;
    visit(arg, opened != NULL ? opened : leaf);
    mem_free(opened);
    return index - offset + leaf_place_count(&place);
}

static void enter_leaf(struct list_cursor *cursor) {
    mem_free(cursor->opened);
    cursor->opened = NULL;
    void *leaf = leaf_place_leaf(&cursor->place);
    if (is_compressed(leaf)) leaf = cursor->opened = decompress(leaf);
    cursor->block = leaf;
}

void list_cursor_begin(struct list_cursor *cursor, const struct record *record, uint64_t index) {
    struct leaf_tree *tree = list_tree_of(record);
    cursor->opened = NULL;
    cursor->is_tree = tree != NULL;
    uint64_t offset = index;
    if (tree == NULL) {
        cursor->block = block_of(record);
    } else {
        leaf_tree_at(tree, index, &cursor->place, &offset);
        enter_leaf(cursor);
    }
    cursor->at = listpack_seek(cursor->block, (int64_t)offset);
}

void list_cursor_end(struct list_cursor *cursor) {
    mem_free(cursor->opened);
    cursor->opened = NULL;
    cursor->block = NULL;
}

struct bytes list_cursor_text(const struct list_cursor *cursor, char *scratch) {
    return listpack_text(cursor->block, cursor->at, scratch);
}

struct listpack_value list_cursor_value(const struct list_cursor *cursor) {
    return listpack_get(cursor->block, cursor->at);
}

void list_cursor_next(struct list_cursor *cursor) {
    cursor->at = listpack_next(cursor->block, cursor->at);
    if (LIKELY(cursor->at != 0)) return;
    if (!cursor->is_tree || !leaf_place_next(&cursor->place)) {
        list_cursor_end(cursor);
        return;
    }
    enter_leaf(cursor);
    cursor->at = listpack_first(cursor->block);
}

void list_cursor_previous(struct list_cursor *cursor) {
    cursor->at = listpack_prev(cursor->block, cursor->at);
    if (LIKELY(cursor->at != 0)) return;
    if (!cursor->is_tree || !leaf_place_previous(&cursor->place)) {
        list_cursor_end(cursor);
        return;
    }
    enter_leaf(cursor);
    cursor->at = listpack_last(cursor->block);
}

/* -- adding -- */

static uint8_t *block_with(struct bytes element) {
    uint8_t *block = listpack_create(0);
    listpack_append(&block, element);
    return block;
}

/* Adds to a block that has room for the element. `further` bytes of entries come after it. */
static void add_to_block(uint8_t **block, struct bytes element, bool at_head, size_t further,
                         const struct data_type_options *options) {
    if (further > 0) {
        size_t wanted = listpack_entry_bytes(element) + further;
        size_t used = listpack_bytes(*block);
        size_t left = leaf_bytes_max(options) > used ? leaf_bytes_max(options) - used : 0;
        listpack_reserve(block, wanted < left ? wanted : left);
    }
    if (at_head) {
        listpack_prepend(block, element);
    } else {
        listpack_append(block, element);
    }
}

static void push_in_tree(struct leaf_tree *tree, struct bytes element, bool at_head, size_t further,
                         const struct data_type_options *options) {
    struct leaf_place place = {0};
    bool has_leaf = at_head ? leaf_tree_first(tree, &place) : leaf_tree_last(tree, &place);
    if (has_leaf) {
        uint8_t *block = open_leaf(&place);
        uint32_t count = leaf_place_count(&place);
        if (leaf_has_room(block, count, element, options)) {
            uint8_t *before = block;
            add_to_block(&block, element, at_head, further, options);
            if (block != before) leaf_tree_set_leaf(&place, block);
            leaf_tree_set_count(tree, &place, count + 1);
            return;
        }
        listpack_shrink(&block); // It is complete.
        leaf_tree_set_leaf(&place, block);
    }
    uint8_t *fresh = listpack_create(0);
    add_to_block(&fresh, element, at_head, further, options);
    if (at_head) {
        leaf_tree_insert_before(tree, &place, fresh, 1, (struct leaf_key){0});
    } else {
        leaf_tree_insert_after(tree, &place, fresh, 1, (struct leaf_key){0});
    }
    settle_ends(tree, options);
}

static void push(struct record *record, struct bytes element, bool at_head, size_t further,
                 const struct data_type_options *options) {
    if (list_tree_of(record) == NULL) {
        uint8_t *block = block_of(record);
        if (leaf_has_room(block, listpack_count(block), element, options)) {
            add_to_block(&block, element, at_head, further, options);
            record_set_pointer(record, block);
            return;
        }
        become_tree(record);
    }
    push_in_tree(list_tree_of(record), element, at_head, further, options);
}

void list_push(struct record *record, struct bytes element, bool at_head,
               const struct data_type_options *options) {
    push(record, element, at_head, 0, options);
}

void list_push_all(struct record *record, const struct bytes *elements, uint32_t count,
                   bool at_head, const struct data_type_options *options) {
    size_t further = 0;
    for (uint32_t i = 1; i < count; i++)
        further += listpack_entry_bytes(elements[i]);
    for (uint32_t i = 0; i < count; i++) {
        push(record, elements[i], at_head, further, options);
        if (i + 1 < count) further -= listpack_entry_bytes(elements[i + 1]);
    }
}

/* Puts an element before the one at `at` (0: at the end) of the leaf at the place. A full leaf is
 * cut there, and the element goes to the end of its first half, or between the halves. */
static void insert_in_tree(struct leaf_tree *tree, struct leaf_place *place, size_t at,
                           struct bytes element, const struct data_type_options *options) {
    uint8_t *block = leaf_place_leaf(place);
    uint32_t count = leaf_place_count(place);
    if (leaf_has_room(block, count, element, options)) {
        if (at == 0) {
            listpack_append(&block, element);
        } else {
            listpack_insert_before(&block, at, element);
        }
        leaf_tree_set_leaf(place, block);
        leaf_tree_set_count(tree, place, count + 1);
        return;
    }
    if (at == listpack_first(block)) {
        leaf_tree_insert_before(tree, place, block_with(element), 1, (struct leaf_key){0});
        return;
    }
    if (at != 0) {
        uint8_t *tail = listpack_split(&block, at);
        uint32_t head_count = (uint32_t)listpack_count(block);
        listpack_shrink(&block);
        leaf_tree_set_leaf(place, block);
        leaf_tree_set_count(tree, place, head_count);
        struct leaf_place behind = *place;
        leaf_tree_insert_after(tree, &behind, tail, count - head_count, (struct leaf_key){0});
        // The place of the first half is found again: the tree has changed.
        *place = behind;
        leaf_place_previous(place);
        if (leaf_has_room(block, head_count, element, options)) {
            listpack_append(&block, element);
            leaf_tree_set_leaf(place, block);
            leaf_tree_set_count(tree, place, head_count + 1);
            return;
        }
    }
    leaf_tree_insert_after(tree, place, block_with(element), 1, (struct leaf_key){0});
}

void list_insert(struct record *record, uint64_t index, bool is_behind, struct bytes element,
                 const struct data_type_options *options) {
    if (list_tree_of(record) == NULL) {
        uint8_t *block = block_of(record);
        if (leaf_has_room(block, listpack_count(block), element, options)) {
            size_t at = listpack_seek(block, (int64_t)index);
            if (is_behind) {
                listpack_insert_after(&block, at, element);
            } else {
                listpack_insert_before(&block, at, element);
            }
            record_set_pointer(record, block);
            return;
        }
        become_tree(record);
    }
    struct leaf_tree *tree = list_tree_of(record);
    struct leaf_place place;
    uint64_t offset;
    leaf_tree_at(tree, index, &place, &offset);
    uint8_t *block = open_leaf(&place);
    size_t at = listpack_seek(block, (int64_t)offset);
    if (is_behind) at = listpack_next(block, at);
    insert_in_tree(tree, &place, at, element, options);
    settle_around(tree, index, options);
}

void list_replace(struct record *record, uint64_t index, struct bytes element,
                  const struct data_type_options *options) {
    struct leaf_tree *tree = list_tree_of(record);
    uint8_t *block = block_of(record);
    struct leaf_place place = {0};
    uint64_t offset = index;
    size_t count;
    if (tree == NULL) {
        count = listpack_count(block);
    } else {
        leaf_tree_at(tree, index, &place, &offset);
        block = open_leaf(&place);
        count = leaf_place_count(&place);
    }
    size_t at = listpack_seek(block, (int64_t)offset);
    // As if the old one were gone already, whatever its size.
    if (count == 1 ||
        listpack_bytes(block) + listpack_entry_bytes(element) <= leaf_bytes_max(options)) {
        listpack_replace(&block, at, element);
        if (tree == NULL) {
            record_set_pointer(record, block);
        } else {
            leaf_tree_set_leaf(&place, block);
            settle_around(tree, index, options);
        }
        return;
    }
    list_insert(record, index, true, element, options);
    list_delete_range(record, index, 1, options);
}

/* -- removing -- */

/* Joins the leaf at the place with the one behind it when both together are small. */
static void join_with_next(struct leaf_tree *tree, struct leaf_place *place,
                           const struct data_type_options *options) {
    struct leaf_place next = *place;
    if (!leaf_place_next(&next)) return;
    uint8_t *block = open_leaf(place);
    void *behind = leaf_place_leaf(&next);
    if (is_compressed(behind)) return;
    uint32_t count = leaf_place_count(place) + leaf_place_count(&next);
    int64_t limit = options->list_max_listpack_size;
    if (listpack_bytes(block) + listpack_bytes(behind) > leaf_bytes_max(options) / 2 ||
        (limit >= 0 && count > (uint64_t)limit))
        return;
    listpack_append_all(&block, behind);
    leaf_tree_set_leaf(place, block);
    leaf_tree_set_count(tree, place, count);
    leaf_tree_remove(tree, &next);
    mem_free(behind);
}

static void delete_in_tree(struct leaf_tree *tree, uint64_t index, uint64_t count,
                           const struct data_type_options *options) {
    struct leaf_place place;
    uint64_t offset = 0;
    bool has_leaf = leaf_tree_at(tree, index, &place, &offset);
    while (has_leaf && count > 0) {
        uint32_t held = leaf_place_count(&place);
        uint64_t part = held - offset < count ? held - offset : count;
        count -= part;
        if (part == held) {
            free_leaf(leaf_place_leaf(&place));
            has_leaf = leaf_tree_remove(tree, &place);
            continue;
        }
        uint8_t *block = open_leaf(&place);
        listpack_delete_range(&block, listpack_seek(block, (int64_t)offset), (size_t)part);
        leaf_tree_set_leaf(&place, block);
        leaf_tree_set_count(tree, &place, held - (uint32_t)part);
        if (count > 0) {
            has_leaf = leaf_place_next(&place);
            offset = 0;
        }
    }
    if (leaf_tree_at(tree, index > 0 ? index - 1 : 0, &place, &offset))
        join_with_next(tree, &place, options);
}

void list_delete_range(struct record *record, uint64_t index, uint64_t count,
                       const struct data_type_options *options) {
    if (count == 0) return;
    struct leaf_tree *tree = list_tree_of(record);
    if (tree == NULL) {
        uint8_t *block = block_of(record);
        listpack_delete_range(&block, listpack_seek(block, (int64_t)index), (size_t)count);
        record_set_pointer(record, block);
        return;
    }
    bool is_at_end = index == 0 || index + count == leaf_tree_count(tree);
    delete_in_tree(tree, index, count, options);
    if (is_at_end) {
        settle_ends(tree, options);
    } else {
        settle_around(tree, index > 0 ? index - 1 : 0, options);
    }
    shrink_to_listpack(record, options);
}

#include "server/acl/rules_internal.h"
#include "server/base/mem.h"

void text_list_add(struct text_list *list, struct bytes text) {
    list->items = mem_realloc(list->items, (list->count + 1) * sizeof(*list->items));
    list->items[list->count++] = bytes_copy_text(text);
}

void text_list_remove(struct text_list *list, uint32_t index) {
    mem_free(list->items[index]);
    list->count--;
    memmove(list->items + index, list->items + index + 1,
            (list->count - index) * sizeof(*list->items));
}

void text_list_clear(struct text_list *list) {
    for (uint32_t i = 0; i < list->count; i++)
        mem_free(list->items[i]);
    mem_free(list->items);
    *list = (struct text_list){0};
}

bool text_list_has(const struct text_list *list, struct bytes text) {
    for (uint32_t i = 0; i < list->count; i++) {
        if (bytes_equal_text(text, list->items[i])) return true;
    }
    return false;
}

void text_list_copy(struct text_list *out, const struct text_list *list) {
    *out = (struct text_list){0};
    for (uint32_t i = 0; i < list->count; i++)
        text_list_add(out, bytes_of_text(list->items[i]));
}

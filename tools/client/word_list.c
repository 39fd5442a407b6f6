#include "tools/client/word_list.h"

#include "server/base/mem.h"
#include "server/base/words.h"

void word_list_deinit(struct word_list *list) {
    for (size_t i = 0; i < list->count; i++)
        mem_free((void *)list->items[i].data);
    mem_free(list->items);
    *list = (struct word_list){0};
}

void word_list_append(struct word_list *list, struct bytes word) {
    if (list->count == list->cap) {
        list->cap = list->cap == 0 ? 8 : list->cap * 2;
        list->items = mem_realloc(list->items, list->cap * sizeof(*list->items));
    }
    uint8_t *copy = mem_alloc(word.len + 1);
    if (word.len > 0) memcpy(copy, word.data, word.len);
    copy[word.len] = 0;
    list->items[list->count++] = bytes_of(copy, word.len);
}

void word_list_drop_last(struct word_list *list) {
    mem_free((void *)list->items[--list->count].data);
}

bool word_list_append_line(struct word_list *list, struct bytes line) {
    struct words words = {0};
    bool is_valid = words_split(&words, line, line.len + 1) == STATUS_OK;
    for (size_t i = 0; i < words.count && is_valid; i++)
        word_list_append(list, words.items[i]);
    words_deinit(&words);
    return is_valid;
}

/* A list of words that owns its bytes: a command with its arguments. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"

/* An all-zero struct is empty. */
struct word_list {
    struct bytes *items; /* Each owned, NUL behind the last byte. */
    size_t count;
    size_t cap;
};

void word_list_deinit(struct word_list *list);

/* Appends a copy of `word`. */
void word_list_append(struct word_list *list, struct bytes word);

/* Removes the last word; there is one. */
void word_list_drop_last(struct word_list *list);

/* Appends the words of a line in the language of server/base/words.h. False, and `list` unchanged,
 * when its quotes are wrong. */
MUST_USE bool word_list_append_line(struct word_list *list, struct bytes line);

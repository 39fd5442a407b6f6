/* The line being typed, and what keys do to it. No terminal: keys go in, the line changes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/base/buffer.h"
#include "tools/cli/history.h"
#include "tools/client/word_list.h"

enum key {
    KEY_LEFT = 256,
    KEY_RIGHT,
    KEY_UP,
    KEY_DOWN,
    KEY_HOME,
    KEY_END,
    KEY_DELETE,
    KEY_CTRL_A = 1,
    KEY_CTRL_B = 2,
    KEY_CTRL_C = 3,
    KEY_CTRL_D = 4,
    KEY_CTRL_E = 5,
    KEY_CTRL_F = 6,
    KEY_CTRL_G = 7,
    KEY_CTRL_H = 8,
    KEY_TAB = 9,
    KEY_ENTER = 13,
    KEY_NEWLINE = 10,
    KEY_CTRL_K = 11,
    KEY_CTRL_L = 12,
    KEY_CTRL_N = 14,
    KEY_CTRL_P = 16,
    KEY_CTRL_R = 18,
    KEY_CTRL_S = 19,
    KEY_CTRL_T = 20,
    KEY_CTRL_U = 21,
    KEY_CTRL_W = 23,
    KEY_ESCAPE = 27,
    KEY_BACKSPACE = 127,
};

/* What the caller has to do after a key. */
enum edit_result {
    EDIT_GOES_ON,
    EDIT_DONE,        /* The line is complete. */
    EDIT_END,         /* Ctrl-D on an empty line. */
    EDIT_INTERRUPTED, /* Ctrl-C. */
    EDIT_CLEAR,       /* Clear the screen. */
};

typedef void edit_complete(void *context, struct bytes line, struct word_list *out);

struct edit {
    struct buffer line;
    size_t cursor;                 /* Bytes before it. */
    const struct history *history; /* May be NULL. */
    size_t history_index;          /* Lines back from the newest; 0: the line being typed. */
    struct buffer typed;           /* What was typed before the history was walked. */

    edit_complete *complete; /* May be NULL. */
    void *complete_context;
    struct word_list completions; /* While Tab cycles; empty otherwise. */
    size_t completion_index;

    bool is_searching; /* Ctrl-R or Ctrl-S: keys go into `search`. */
    bool searches_forward;
    struct buffer search;
    size_t search_index; /* history_index of the hit. */
};

/* An empty line. Release with edit_deinit. */
void edit_init(struct edit *edit, const struct history *history, edit_complete *complete,
               void *complete_context);
void edit_deinit(struct edit *edit);

/* A key: a byte of text (UTF-8 passes through), or one of enum key. */
enum edit_result edit_key(struct edit *edit, int key);

#include "tools/cli/edit.h"

#include "server/base/mem.h"

void edit_init(struct edit *edit, const struct history *history, edit_complete *complete,
               void *complete_context) {
    *edit = (struct edit){
        .history = history, .complete = complete, .complete_context = complete_context};
}

void edit_deinit(struct edit *edit) {
    buffer_deinit(&edit->line);
    buffer_deinit(&edit->typed);
    buffer_deinit(&edit->search);
    word_list_deinit(&edit->completions);
}

static void set_line(struct edit *edit, struct bytes line) {
    buffer_clear(&edit->line);
    buffer_append_bytes(&edit->line, line);
    edit->cursor = edit->line.len;
}

static void insert(struct edit *edit, uint8_t byte) {
    buffer_append_u8(&edit->line, byte);
    memmove(edit->line.data + edit->cursor + 1, edit->line.data + edit->cursor,
            edit->line.len - edit->cursor - 1);
    edit->line.data[edit->cursor++] = byte;
}

static void remove_range(struct edit *edit, size_t from, size_t to) {
    memmove(edit->line.data + from, edit->line.data + to, edit->line.len - to);
    edit->line.len -= to - from;
    edit->cursor = from;
}

/* The bytes 10xxxxxx continue a character of UTF-8; the cursor never stands before one. */
static bool continues(const struct edit *edit, size_t at) {
    return at < edit->line.len && (edit->line.data[at] & 0xc0) == 0x80;
}

static size_t before_cursor(const struct edit *edit) {
    size_t at = edit->cursor;
    if (at > 0) at--;
    while (at > 0 && continues(edit, at))
        at--;
    return at;
}

static size_t behind_cursor(const struct edit *edit) {
    size_t at = edit->cursor;
    if (at < edit->line.len) at++;
    while (continues(edit, at))
        at++;
    return at;
}

static void delete_word(struct edit *edit) {
    size_t from = edit->cursor;
    while (from > 0 && edit->line.data[from - 1] == ' ')
        from--;
    while (from > 0 && edit->line.data[from - 1] != ' ')
        from--;
    remove_range(edit, from, edit->cursor);
}

static void swap_characters(struct edit *edit) {
    if (edit->cursor == 0 || edit->cursor >= edit->line.len) return;
    uint8_t *at = edit->line.data + edit->cursor;
    uint8_t byte = at[-1];
    at[-1] = at[0];
    at[0] = byte;
    if (edit->cursor + 1 < edit->line.len) edit->cursor++;
}

static size_t history_size(const struct edit *edit) {
    return edit->history == NULL ? 0 : history_count(edit->history);
}

static struct bytes line_back(const struct edit *edit, size_t index) {
    if (index == 0) return buffer_view(&edit->typed);
    return history_line_view(edit->history, history_size(edit) - index);
}

static void walk_history(struct edit *edit, bool is_older) {
    if (is_older ? edit->history_index == history_size(edit) : edit->history_index == 0) return;
    if (edit->history_index == 0) {
        buffer_clear(&edit->typed);
        buffer_append_bytes(&edit->typed, buffer_view(&edit->line));
    }
    if (is_older) {
        edit->history_index++;
    } else {
        edit->history_index--;
    }
    set_line(edit, line_back(edit, edit->history_index));
}

/* ---- completion ---- */

static void cycle_completions(struct edit *edit) {
    if (edit->complete == NULL) return;
    if (edit->completions.count == 0) {
        buffer_clear(&edit->typed);
        buffer_append_bytes(&edit->typed, buffer_view(&edit->line));
        edit->complete(edit->complete_context, buffer_view(&edit->line), &edit->completions);
        edit->completion_index = 0;
    } else {
        /* Behind the last one comes the line as it was typed. */
        edit->completion_index = (edit->completion_index + 1) % (edit->completions.count + 1);
    }
    if (edit->completion_index < edit->completions.count) {
        set_line(edit, edit->completions.items[edit->completion_index]);
    } else if (edit->completions.count > 0) {
        set_line(edit, buffer_view(&edit->typed));
    }
}

/* ---- search ---- */

static bool is_hit(const struct edit *edit, size_t index) {
    struct bytes line = line_back(edit, index);
    return edit->search.len > 0 && line.len > 0 &&
           memmem(line.data, line.len, edit->search.data, edit->search.len) != NULL;
}

/* Looks for the next hit from `index` on, that line included. */
static void search_from(struct edit *edit, size_t index) {
    size_t size = history_size(edit);
    while (index >= 1 && index <= size) {
        if (is_hit(edit, index)) {
            edit->search_index = index;
            set_line(edit, line_back(edit, index));
            return;
        }
        index = edit->searches_forward ? index - 1 : index + 1;
    }
}

static void start_search(struct edit *edit, bool is_forward) {
    if (edit->is_searching) {
        edit->searches_forward = is_forward;
        search_from(edit, is_forward ? edit->search_index - 1 : edit->search_index + 1);
        return;
    }
    edit->is_searching = true;
    edit->searches_forward = is_forward;
    edit->search_index = 1;
    buffer_clear(&edit->search);
    buffer_clear(&edit->typed);
    buffer_append_bytes(&edit->typed, buffer_view(&edit->line));
}

/* True when the key belonged to the search. Any other key ends it and does what it does. */
static bool search_key(struct edit *edit, int key) {
    if (key == KEY_CTRL_R || key == KEY_CTRL_S) {
        start_search(edit, key == KEY_CTRL_S);
        return true;
    }
    if (!edit->is_searching) return false;
    if (key >= 32 && key < 256 && key != KEY_BACKSPACE) {
        buffer_append_u8(&edit->search, (uint8_t)key);
        search_from(edit, edit->search_index);
        return true;
    }
    if (key == KEY_BACKSPACE || key == KEY_CTRL_H) {
        if (edit->search.len > 0) edit->search.len--;
        edit->search_index = 1;
        search_from(edit, 1);
        return true;
    }
    edit->is_searching = false;
    if (key == KEY_CTRL_G || key == KEY_ESCAPE) {
        set_line(edit, buffer_view(&edit->typed));
        return true;
    }
    edit->history_index = 0;
    return false;
}

/* ---- keys ---- */

static enum edit_result move_or_change(struct edit *edit, int key) {
    switch (key) {
    case KEY_LEFT:
    case KEY_CTRL_B:
        edit->cursor = before_cursor(edit);
        break;
    case KEY_RIGHT:
    case KEY_CTRL_F:
        edit->cursor = behind_cursor(edit);
        break;
    case KEY_HOME:
    case KEY_CTRL_A:
        edit->cursor = 0;
        break;
    case KEY_END:
    case KEY_CTRL_E:
        edit->cursor = edit->line.len;
        break;
    case KEY_UP:
    case KEY_CTRL_P:
        walk_history(edit, true);
        break;
    case KEY_DOWN:
    case KEY_CTRL_N:
        walk_history(edit, false);
        break;
    case KEY_BACKSPACE:
    case KEY_CTRL_H:
        remove_range(edit, before_cursor(edit), edit->cursor);
        break;
    case KEY_DELETE:
        remove_range(edit, edit->cursor, behind_cursor(edit));
        break;
    case KEY_CTRL_K:
        edit->line.len = edit->cursor;
        break;
    case KEY_CTRL_U:
        set_line(edit, (struct bytes){0});
        break;
    case KEY_CTRL_W:
        delete_word(edit);
        break;
    case KEY_CTRL_T:
        swap_characters(edit);
        break;
    default:
        if (key >= 32 && key < 256) insert(edit, (uint8_t)key);
    }
    return EDIT_GOES_ON;
}

enum edit_result edit_key(struct edit *edit, int key) {
    if (search_key(edit, key)) return EDIT_GOES_ON;
    if (key == KEY_TAB) {
        cycle_completions(edit);
        return EDIT_GOES_ON;
    }
    bool was_completing = edit->completions.count > 0;
    word_list_deinit(&edit->completions);
    if (key == KEY_ESCAPE && was_completing) {
        set_line(edit, buffer_view(&edit->typed));
        return EDIT_GOES_ON;
    }
    switch (key) {
    case KEY_ENTER:
    case KEY_NEWLINE:
        return EDIT_DONE;
    case KEY_CTRL_C:
        return EDIT_INTERRUPTED;
    case KEY_CTRL_L:
        return EDIT_CLEAR;
    case KEY_CTRL_D:
        if (edit->line.len == 0) return EDIT_END;
        return move_or_change(edit, KEY_DELETE);
    default:
        return move_or_change(edit, key);
    }
}

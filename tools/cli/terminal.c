#include "tools/cli/terminal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define ESCAPE_WAIT_MS 50 /* A lone Escape is followed by nothing for so long. */
#define COLUMNS_DEFAULT 80u

/* The terminal as we found it; there is one terminal in a process. */
static bool read_settings(struct termios *out) {
    return tcgetattr(STDIN_FILENO, out) == 0;
}

void terminal_set_raw(void) {
    struct termios settings;
    if (!read_settings(&settings)) return;
    settings.c_iflag &= ~(tcflag_t)(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
    settings.c_lflag &= ~(tcflag_t)(ECHO | ICANON | IEXTEN | ISIG);
    settings.c_cc[VMIN] = 1;
    settings.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &settings);
}

void terminal_restore(void) {
    struct termios settings;
    if (!read_settings(&settings)) return;
    settings.c_iflag |= BRKINT | ICRNL | IXON;
    settings.c_lflag |= ECHO | ICANON | IEXTEN | ISIG;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &settings);
}

bool terminal_is_editable(void) {
    static const char *const plain[] = {"dumb", "cons25", "emacs"};
    const char *term = getenv("TERM");
    if (term == NULL) return true;
    for (size_t i = 0; i < ARRAY_COUNT(plain); i++) {
        if (strcasecmp(term, plain[i]) == 0) return false;
    }
    return true;
}

static unsigned columns(void) {
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0) return COLUMNS_DEFAULT;
    return size.ws_col;
}

/* ---- keys ---- */

struct keys {
    struct bytes start;
};

static bool next_byte(struct keys *keys, int wait_ms, uint8_t *out) {
    if (keys->start.len > 0) {
        *out = keys->start.data[0];
        keys->start = bytes_from(keys->start, 1);
        return true;
    }
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    if (wait_ms >= 0 && poll(&input, 1, wait_ms) <= 0) return false;
    ssize_t n;
    do {
        n = read(STDIN_FILENO, out, 1);
    } while (n < 0 && errno == EINTR);
    return n == 1;
}

/* ESC [ ... and ESC O ...: one key; what is unknown is dropped. */
static int read_escape(struct keys *keys) {
    static const struct {
        const char *text;
        int key;
    } sequences[] = {
        {"[A", KEY_UP},    {"[B", KEY_DOWN},    {"[C", KEY_RIGHT}, {"[D", KEY_LEFT},
        {"[H", KEY_HOME},  {"[F", KEY_END},     {"OH", KEY_HOME},  {"OF", KEY_END},
        {"OA", KEY_UP},    {"OB", KEY_DOWN},    {"OC", KEY_RIGHT}, {"OD", KEY_LEFT},
        {"[1~", KEY_HOME}, {"[3~", KEY_DELETE}, {"[4~", KEY_END},  {"[7~", KEY_HOME},
        {"[8~", KEY_END},
    };
    char text[16];
    size_t len = 0;
    uint8_t byte;
    if (!next_byte(keys, ESCAPE_WAIT_MS, &byte)) return KEY_ESCAPE;
    text[len++] = (char)byte;
    while (len + 1 < sizeof(text) &&
           (byte == '[' || byte == 'O' || byte == ';' || (byte >= '0' && byte <= '9'))) {
        if (!next_byte(keys, ESCAPE_WAIT_MS, &byte)) break;
        text[len++] = (char)byte;
    }
    text[len] = 0;
    for (size_t i = 0; i < ARRAY_COUNT(sequences); i++) {
        if (strcmp(text, sequences[i].text) == 0) return sequences[i].key;
    }
    return 0;
}

/* -1 at the end of input. */
static int read_key(struct keys *keys) {
    uint8_t byte;
    if (!next_byte(keys, -1, &byte)) return -1;
    return byte == KEY_ESCAPE ? read_escape(keys) : byte;
}

/* ---- drawing ---- */

/* Cells that bytes take: one for each character of UTF-8. Wide characters are not told apart. */
static size_t cells(struct bytes text) {
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += (text.data[i] & 0xc0) != 0x80;
    return count;
}

/* Where the last drawing left the cursor. */
struct screen {
    size_t cursor_row; /* Below the prompt's first row. */
};

static void write_all(struct buffer *text) {
    size_t done = 0;
    while (done < text->len) {
        ssize_t n = write(STDOUT_FILENO, text->data + done, text->len - done);
        if (n < 0 && errno != EINTR) break;
        if (n > 0) done += (size_t)n;
    }
    buffer_deinit(text);
}

static void append_hint(const struct terminal_prompt *prompt, const struct edit *edit, size_t room,
                        struct buffer *out) {
    if (prompt->hint == NULL || edit->line.len == 0 || edit->is_searching) return;
    struct buffer hint = {0};
    struct bytes line = buffer_view(&edit->line);
    prompt->hint(prompt->context, line, &hint);
    if (hint.len > 0) {
        bool ends_in_blank = line.data[line.len - 1] == ' ';
        size_t len = hint.len < room ? hint.len : room;
        buffer_append_format(out, "\x1b[90m%s%.*s\x1b[0m", ends_in_blank ? "" : " ", (int)len,
                             (const char *)hint.data);
    }
    buffer_deinit(&hint);
}

static void append_search_prompt(const struct edit *edit, struct buffer *out) {
    buffer_append_format(out, "(%s-i-search)`%.*s': ", edit->searches_forward ? "i" : "reverse",
                         (int)edit->search.len, (const char *)edit->search.data);
}

/* Draws prompt, line and hint anew and puts the cursor where it belongs. Long lines wrap. */
static void draw(const struct terminal_prompt *prompt, const struct edit *edit,
                 struct screen *screen, bool has_hint) {
    struct buffer out = {0};
    struct buffer head = {0};
    size_t width = columns();
    if (edit->is_searching) {
        append_search_prompt(edit, &head);
    } else {
        buffer_append_bytes(&head, prompt->text);
    }
    size_t head_cells = cells(buffer_view(&head));
    size_t all = head_cells + cells(buffer_view(&edit->line));
    size_t at = head_cells + cells(bytes_of(edit->line.data, edit->cursor));
    if (screen->cursor_row > 0) buffer_append_format(&out, "\x1b[%zuA", screen->cursor_row);
    buffer_append_text(&out, "\r\x1b[J");
    buffer_append_bytes(&out, buffer_view(&head));
    buffer_append_bytes(&out, buffer_view(&edit->line));
    size_t room = width - all % width;
    if (has_hint && room > 2) append_hint(prompt, edit, room - 2, &out);
    /* A full last row leaves the cursor pending; a newline makes the next row real. */
    if (all > 0 && all % width == 0) buffer_append_text(&out, "\n\r");
    size_t last_row = all / width;
    screen->cursor_row = at / width;
    if (last_row > screen->cursor_row) {
        buffer_append_format(&out, "\x1b[%zuA", last_row - screen->cursor_row);
    }
    buffer_append_u8(&out, '\r');
    if (at % width > 0) buffer_append_format(&out, "\x1b[%zuC", at % width);
    buffer_deinit(&head);
    write_all(&out);
}

static void clear_screen(struct screen *screen) {
    struct buffer out = {0};
    buffer_append_text(&out, "\x1b[H\x1b[2J");
    write_all(&out);
    screen->cursor_row = 0;
}

enum edit_result terminal_read_line(const struct terminal_prompt *prompt, struct buffer *out) {
    struct keys keys = {.start = prompt->start};
    struct screen screen = {0};
    struct edit edit;
    enum edit_result result = EDIT_GOES_ON;
    edit_init(&edit, prompt->history, prompt->complete, prompt->context);
    terminal_set_raw();
    while (result == EDIT_GOES_ON || result == EDIT_CLEAR) {
        if (result == EDIT_CLEAR) clear_screen(&screen);
        draw(prompt, &edit, &screen, true);
        int key = read_key(&keys);
        result = key < 0 ? EDIT_END : edit_key(&edit, key);
    }
    edit.is_searching = false;
    edit.cursor = edit.line.len;
    draw(prompt, &edit, &screen, false); /* Without the hint, which was not typed. */
    terminal_restore();
    buffer_append_bytes(out, buffer_view(&edit.line));
    edit_deinit(&edit);
    struct buffer newline = {0};
    buffer_append_u8(&newline, '\n');
    write_all(&newline);
    return result;
}

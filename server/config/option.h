/* What an option is: a row in a table of the module that owns it.
 *
 * A module keeps its settings in a struct of its own and describes each settable member by one
 * `struct option`. The registry (config.h) fills the members, checks, reports, rewrites and
 * documents. Example:
 *
 *     const struct option bus_options[] = {
 *         {
 *             .name = "cluster-node-timeout",
 *             .field = OPTION_MS(struct bus_config, node_timeout_ms),
 *             .range = {.initial = 15000, .min = 100, .max = 3600000},
 *             .live = true,
 *             .doc = "Silence, in milliseconds, after which a peer is suspected to have failed.",
 *         },
 *     };
 *
 * Threads: a member changes at start, before other threads exist, and in CONFIG SET, which runs in
 * an exclusive section: every other thread is parked between two commands. So readers on any thread
 * use the members plainly within a command, and the old string is freed at once. Nobody may keep a
 * `char *` of an option across commands.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"

enum option_kind {
    OPTION_KIND_BOOL,    /* bool; "yes" or "no" */
    OPTION_KIND_INT,     /* signed integer of 1, 2, 4 or 8 bytes */
    OPTION_KIND_UINT,    /* unsigned integer of 1, 2, 4 or 8 bytes */
    OPTION_KIND_OCTAL,   /* unsigned integer in octal */
    OPTION_KIND_MEMORY,  /* unsigned integer; "10mb"; printed in bytes */
    OPTION_KIND_PERCENT, /* int64_t: bytes, or a negative number: percent of maxmemory ("5%") */
    OPTION_KIND_ENUM,    /* integer; one of `choices` */
    OPTION_KIND_STRING,  /* char *: never NULL, owned by the member, NUL-terminated */
    OPTION_KIND_SPECIAL, /* whatever `ops` reads and writes */
};

/* Where the value lies in the module's struct. Made by the macros below, which check the member's
 * type as far as the language allows. */
struct option_field {
    enum option_kind kind;
    uint16_t size;
    uint32_t offset;
};

#define OPTION_FIELD(kind_, type, member)                                                          \
    { .kind = (kind_), .size = sizeof(((type *)0)->member), .offset = offsetof(type, member) }
#define OPTION_FIELD_OF(kind_, type, member, wanted)                                               \
    {                                                                                              \
        .kind = (kind_), .size = sizeof(((type *)0)->member),                                      \
        .offset = offsetof(type, member) +                                                         \
                  0 * sizeof(char[_Generic(((type *)0)->member, wanted : 1, default                \
                                           : -1)])                                                 \
    }

#define OPTION_BOOL(type, member) OPTION_FIELD_OF(OPTION_KIND_BOOL, type, member, bool)
#define OPTION_INT(type, member) OPTION_FIELD(OPTION_KIND_INT, type, member)
#define OPTION_UINT(type, member) OPTION_FIELD(OPTION_KIND_UINT, type, member)
#define OPTION_MS(type, member) OPTION_FIELD(OPTION_KIND_UINT, type, member)
#define OPTION_SECONDS(type, member) OPTION_FIELD(OPTION_KIND_UINT, type, member)
#define OPTION_OCTAL(type, member) OPTION_FIELD(OPTION_KIND_OCTAL, type, member)
#define OPTION_MEMORY(type, member) OPTION_FIELD(OPTION_KIND_MEMORY, type, member)
#define OPTION_PERCENT(type, member) OPTION_FIELD_OF(OPTION_KIND_PERCENT, type, member, int64_t)
#define OPTION_ENUM(type, member) OPTION_FIELD(OPTION_KIND_ENUM, type, member)
#define OPTION_STRING(type, member) OPTION_FIELD_OF(OPTION_KIND_STRING, type, member, char *)
#define OPTION_SPECIAL(type, member) OPTION_FIELD(OPTION_KIND_SPECIAL, type, member)

/* Limits of the numeric kinds, both inclusive, in the unit of the member. `max` 0 means the most
 * that the member can hold (of a signed one also when `min` is negative). */
struct option_range {
    int64_t initial; /* Also of bool (0, 1) and enum (the choice's value). */
    int64_t min;
    uint64_t max;
};

/* One name of an enum's value; tables end with a NULL name. The first name of a value is the one
 * that is printed. */
struct option_choice {
    const char *name;
    int value;
};

/* What a special value is made from. */
struct option_input {
    const struct bytes *words; /* Without the option's name. At least one. */
    size_t word_count;
    const void *current; /* The member as it is. */
    bool is_initial;     /* The row's `initial_text` is being read. */
    bool is_live;        /* CONFIG SET; otherwise file or command line. */
    bool is_repeated;    /* Not the first line of this option in the files and on the command line:
                            an option of several lines (save) adds to `current` then. */
};

/* A special value must be movable: the registry keeps old and new values aside as plain bytes while
 * it tries a change, then deinits the one that lost. */
struct option_ops {
    /* Reads the words into `out`, which has the member's size, is all zero and gets a complete
     * value of its own (nothing shared with `current`). On failure appends the reason to `error`
     * (no newline, as "Invalid save parameters"), returns false and leaves nothing allocated in
     * `out`. Of a `file_only` row `out` is the member itself: the row adds to it. */
    bool (*parse)(void *out, const struct option_input *input, struct buffer *error);
    /* Appends the value as CONFIG GET shows it. NULL for `file_only`. */
    void (*format)(const void *field, struct buffer *out);
    /* For CONFIG REWRITE: the text behind the name of the index-th line, already quoted where
     * needed. Returns false behind the last one. NULL: one line, the words of `format`. */
    bool (*format_line)(const void *field, size_t index, struct buffer *out);
    /* Frees what the value owns. NULL when it owns nothing. */
    void (*deinit)(void *field);
};

/* Refuses a string: appends the reason to `error` and returns false. */
typedef bool option_check(const char *value, struct buffer *error);

struct option {
    const char *name;  /* Lower case. */
    const char *alias; /* A second name that works everywhere, or NULL. */
    struct option_field field;
    struct option_range range;
    const char *initial_text; /* Of strings (NULL is "") and specials (NULL: stays all zero). */
    const struct option_choice *choices; /* Of enums. */
    const struct option_ops *ops;        /* Of specials. */
    option_check *check;                 /* Of strings; may be NULL. */
    const char *doc;                     /* One sentence. */

    bool live;                /* CONFIG SET may change it. */
    bool still_while_loading; /* But not while data is being loaded. */
    bool guarded;             /* CONFIG SET only where enable-protected-configs allows it. */
    bool hidden;              /* Patterns of CONFIG GET do not find it, its plain name does. */
    bool multi_word; /* Takes several words; CONFIG SET and a single word are cut at spaces. */
    bool file_only;  /* A directive and no value (user, sentinel): CONFIG GET and SET do not know
                        it. Special, several lines. */
    bool secret;     /* Its value is not shown in error reports and logs. */
};

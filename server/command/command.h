/* Commands as rows: what a command is called, takes, touches and promises.
 *
 * One declarative row per command, next to its handler, in the folder of its type. Dispatch,
 * COMMAND, COMMAND DOCS, routing, ACL categories and the documentation all read the same row. A
 * handler may trust it: arity checked, slots locked, access allowed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"

struct command_context;

/* Where a command runs: the whole concurrency story of a handler. */
enum command_class {
    COMMAND_CLASS_EXCLUSIVE = 0, /* Every other thread parked between two commands. The default. */
    COMMAND_CLASS_KEYS,          /* With the slots of its keys locked, and nothing else. */
    COMMAND_CLASS_CLIENT, /* Nothing locked: own session, counters, what only exclusive sections
                             change. */
};

enum {
    COMMAND_WRITE = 1 << 0,
    COMMAND_READONLY = 1 << 1,
    COMMAND_DENY_OOM = 1 << 2,
    COMMAND_ADMIN = 1 << 3,
    COMMAND_PUBSUB = 1 << 4,
    COMMAND_NO_SCRIPT = 1 << 5,
    COMMAND_BLOCKING = 1 << 6,
    COMMAND_LOADING = 1 << 7, /* Allowed while loading. */
    COMMAND_STALE = 1 << 8,   /* Allowed on a replica without link. */
    COMMAND_SKIP_MONITOR = 1 << 9,
    COMMAND_SKIP_SLOWLOG = 1 << 10,
    COMMAND_ASKING = 1 << 11,
    COMMAND_FAST = 1 << 12,
    COMMAND_NO_AUTH = 1 << 13, /* Allowed before authentication. */
    COMMAND_MAY_REPLICATE = 1 << 14,
    COMMAND_NO_ASYNC_LOADING = 1 << 15,
    COMMAND_NO_MULTI = 1 << 16,
    COMMAND_MOVABLE_KEYS = 1 << 17,
    COMMAND_ALLOW_BUSY = 1 << 18,
    COMMAND_PROTECTED = 1 << 19,   /* DEBUG, MODULE: off unless enabled in the configuration. */
    COMMAND_TRANSACTION = 1 << 20, /* MULTI, EXEC, DISCARD, WATCH...: never queued. */
    COMMAND_TOUCHES_ARBITRARY_KEYS = 1 << 21,
    COMMAND_SENTINEL_ONLY = 1 << 22,
    COMMAND_NO_MANDATORY_KEYS = 1 << 23, /* Its count of keys may be 0. */
    COMMAND_SYSTEM = 1 << 24, /* For servers and tests among themselves; COMMAND DOCS says so. */
};

/* ACL categories beyond those that follow from the flags (@read, @write, @fast, @slow, @admin,
 * @pubsub, @blocking, @dangerous for admin commands are derived). */
enum {
    CATEGORY_KEYSPACE = 1 << 0,
    CATEGORY_SET = 1 << 1,
    CATEGORY_SORTED_SET = 1 << 2,
    CATEGORY_LIST = 1 << 3,
    CATEGORY_HASH = 1 << 4,
    CATEGORY_STRING = 1 << 5,
    CATEGORY_BITMAP = 1 << 6,
    CATEGORY_HYPERLOGLOG = 1 << 7,
    CATEGORY_GEO = 1 << 8,
    CATEGORY_STREAM = 1 << 9,
    CATEGORY_PUBSUB = 1 << 10,
    CATEGORY_DANGEROUS = 1 << 11,
    CATEGORY_CONNECTION = 1 << 12,
    CATEGORY_TRANSACTION = 1 << 13,
    CATEGORY_SCRIPTING = 1 << 14,
};

enum {
    KEY_RO = 1 << 0,
    KEY_RW = 1 << 1,
    KEY_OW = 1 << 2,
    KEY_RM = 1 << 3,
    KEY_ACCESS = 1 << 4,
    KEY_UPDATE = 1 << 5,
    KEY_INSERT = 1 << 6,
    KEY_DELETE = 1 << 7,
    KEY_NOT_KEY = 1 << 8, /* A channel, not a key: routed all the same. */
    KEY_INCOMPLETE = 1 << 9,
    KEY_VARIABLE_FLAGS = 1 << 10,
};

/* Which arguments name channels, for the rules about them. */
enum channel_arguments {
    CHANNELS_NONE,
    CHANNELS_FIRST,    /* The first one. */
    CHANNELS_ALL,      /* All from the first on. */
    CHANNELS_PATTERNS, /* The same, and they are patterns. */
};

enum key_spec_begin { KEY_BEGIN_NONE, KEY_BEGIN_INDEX, KEY_BEGIN_KEYWORD, KEY_BEGIN_UNKNOWN };
enum key_spec_find { KEY_FIND_RANGE, KEY_FIND_COUNT, KEY_FIND_UNKNOWN };

/* Where keys stand among the arguments, in the terms of COMMAND INFO's key specifications. */
struct key_spec {
    uint8_t begin;       /* enum key_spec_begin */
    uint8_t find;        /* enum key_spec_find */
    int16_t index;       /* BEGIN_INDEX: argument; BEGIN_KEYWORD: where the search starts. */
    const char *keyword; /* BEGIN_KEYWORD */
    int16_t last; /* FIND_RANGE: relative to the first, -1 = last argument, -2 = one before. */
    int16_t step;
    int16_t limit;
    int16_t
        count_index; /* FIND_COUNT: where the number of keys stands, relative to the beginning. */
    int16_t first_index; /* FIND_COUNT: where the first key stands, relative to the beginning. */
    uint32_t flags;      /* KEY_* */
    const char *notes;
};

#define COMMAND_KEY_SPEC_MAX 4

/* keys = KEYS_AT(1, KEY_RO | KEY_ACCESS) and the like. */
#define KEYS_AT(argument, key_flags)                                                               \
    {                                                                                              \
        { .begin = KEY_BEGIN_INDEX, .index = (argument), .step = 1, .flags = (key_flags) }         \
    }
#define KEYS_RANGE(first, last_key, key_step, key_flags)                                           \
    {                                                                                              \
        {                                                                                          \
            .begin = KEY_BEGIN_INDEX, .index = (first), .last = (last_key), .step = (key_step),    \
            .flags = (key_flags)                                                                   \
        }                                                                                          \
    }

/* One node of the argument tree that COMMAND DOCS shows. A list ends with a row without name. */
enum argument_kind {
    ARGUMENT_STRING,
    ARGUMENT_INTEGER,
    ARGUMENT_DOUBLE,
    ARGUMENT_KEY,
    ARGUMENT_PATTERN,
    ARGUMENT_UNIX_TIME,
    ARGUMENT_PURE_TOKEN,
    ARGUMENT_ONE_OF,
    ARGUMENT_BLOCK,
};

struct argument {
    const char *name;
    enum argument_kind kind;
    const char *token;
    bool is_optional;
    bool is_multiple;
    bool is_multiple_token;
    uint8_t key_spec; /* ARGUMENT_KEY: which specification. */
    const char *since;
    const char *deprecated_since;
    const struct argument *children; /* ONE_OF, BLOCK */
};

enum command_group {
    GROUP_GENERIC,
    GROUP_STRING,
    GROUP_LIST,
    GROUP_SET,
    GROUP_SORTED_SET,
    GROUP_HASH,
    GROUP_PUBSUB,
    GROUP_TRANSACTIONS,
    GROUP_CONNECTION,
    GROUP_SERVER,
    GROUP_SCRIPTING,
    GROUP_HYPERLOGLOG,
    GROUP_CLUSTER,
    GROUP_SENTINEL,
    GROUP_GEO,
    GROUP_STREAM,
    GROUP_BITMAP,
};

/* One change in a command's history, for COMMAND DOCS. A list ends with a row without version. */
struct command_history {
    const char *version;
    const char *change;
};

struct command {
    const char *name; /* Lower case. For a subcommand its second word alone. */
    int16_t arity;    /* Words including the name; negative: at least that many. */
    uint8_t group;    /* enum command_group */
    uint8_t class;    /* enum command_class */
    uint32_t flags;
    uint32_t categories;
    uint8_t channels; /* enum channel_arguments */
    uint8_t element;  /* The argument that names the (first) member or field it is about; or 0. */
    struct key_spec keys[COMMAND_KEY_SPEC_MAX];
    void (*handler)(struct command_context *context);

    /* Whether the words are as many as there may be, where that depends on them: an option that
     * older clients do not know is one word too many without its name. NULL: arity says it all. */
    bool (*fits)(const struct bytes *argv, uint32_t argc);

    /* The class where it depends on the arguments; called before anything is locked. */
    enum command_class (*classify)(const struct bytes *argv, uint32_t argc);
    /* Key positions where no specification can say them: writes argument indexes to `out` (room for
     * `cap`), returns how many there are or -1 for a malformed command. */
    int (*find_keys)(const struct bytes *argv, uint32_t argc, uint32_t *out, uint32_t cap);

    /* What it does with its index-th key (KEY_*), where that depends on the arguments. */
    uint32_t (*key_flags)(const struct bytes *argv, uint32_t argc, uint32_t index);

    const struct command *subcommands; /* A container's; ends with a row without name. */
    const char *container;             /* Of a subcommand: the first word. */

    const char *since;
    const char *summary;
    const char *complexity;
    const char *deprecated_since;
    const char *replaced_by;
    const struct argument *arguments;
    const struct command_history *history;
    const char *const *tips; /* Ends with NULL. */
};

#define COMMAND_END                                                                                \
    { .name = NULL }

/* Whether the words are as many as the command takes. */
static inline bool command_arity_fits(const struct command *row, const struct bytes *argv,
                                      uint32_t argc) {
    bool is_fine = row->arity > 0 ? argc == (uint32_t)row->arity : argc >= (uint32_t)-row->arity;
    return is_fine && (row->fits == NULL || row->fits(argv, argc));
}

/* The positions of all keys of a command line, by its specifications or find_keys.
 *
 * out:     argument indexes, `cap` of them at the most; may be NULL when cap is 0.
 * Returns  how many keys there are (more than `cap` is possible: call again with more room), or -1
 *          when the arguments do not say (a bad count of keys, for instance). */
int command_keys(const struct command *command, const struct bytes *argv, uint32_t argc,
                 uint32_t *out, uint32_t *out_flags, uint32_t cap);
bool command_has_keys(const struct command *command);

/* All rows, found by name. */
struct command_table;
struct command_table *command_table_create(void);
void command_table_destroy(struct command_table *table);

/* Adds rows up to COMMAND_END. They stay the caller's. Asserts that names are unique and rows
 * sound. */
void command_table_add(struct command_table *table, const struct command *rows);

/* The top-level row of this name (any case), or NULL. About 10 ns. */
const struct command *command_table_find(const struct command_table *table, struct bytes name);
/* The row of the subcommand `name`, or NULL. */
const struct command *command_find_subcommand(const struct command *container, struct bytes name);

/* The row of a command line: a container's alone where there is no second word. NULL: unknown. */
const struct command *command_table_find_line(const struct command_table *table,
                                              const struct bytes *argv, uint32_t argc);

uint32_t command_table_count(const struct command_table *table);
const struct command *command_table_at(const struct command_table *table, uint32_t index);

/* A number for each row, subcommands included, below command_table_id_count: index of statistics.
 */
uint32_t command_table_id(const struct command_table *table, const struct command *command);
uint32_t command_table_id_count(const struct command_table *table);

/* "config|get", "get": the name that errors and statistics show. Returns its length. */
unsigned command_full_name(const struct command *command, char *out, unsigned cap);

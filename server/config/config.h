/* The registry of options: one place that knows all rows, and the only one that parses, checks,
 * shows and rewrites settings.
 *
 * Modules register rows (option.h) together with the struct that holds their values. Files and the
 * command line are read once, at start; after that CONFIG GET, SET and REWRITE work on the same
 * rows. The registry owns the contents of the members (strings, special values) until
 * config_destroy; modules only read them.
 *
 * Not thread-safe: all calls after start come from exclusive sections, except config_get, which may
 * run beside readers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "server/base/status.h"
#include "server/config/option.h"

#define CONFIG_INCLUDE_DEPTH_MAX 16
#define CONFIG_FILE_BYTES_MAX (64u << 20)
#define CONFIG_LINE_WORDS_MAX 65536u

struct config;
struct config_change;

/* How the registry reaches files; a test hands in its own. Errors leave errno. */
struct config_io {
    /* Appends the file's bytes; at most CONFIG_FILE_BYTES_MAX. The path "-" is standard input. */
    enum status (*read)(const char *path, struct buffer *out);
    /* Replaces the file at once and durably: temporary file, fsync, rename, fsync of the folder. */
    enum status (*replace)(const char *path, struct bytes content);
    /* Visits the files that a pattern names, sorted; none is fine. Stops at the first visit that
     * does not return STATUS_OK and returns that. */
    enum status (*each_match)(const char *pattern,
                              enum status (*visit)(void *context, const char *path), void *context);
};

/* The file system itself. */
extern const struct config_io config_file_io;

/* Never NULL. Without `io` an include is an error and there is nothing to rewrite. */
struct config *config_create(const struct config_io *io);
void config_destroy(struct config *config); /* Frees the members' contents too. NULL is fine. */

/* Told after values of one registration have changed by CONFIG SET; the members hold the new
 * values. Returns true, or refuses with config_change_refuse: then every value of the command goes
 * back and the registrations that had been told before are told again. Never called at start. */
typedef bool config_apply(void *context, struct config_change *change);

/* Adds rows whose members lie in the struct at `base`, and gives the members their initial values
 * (what the struct held is overwritten, not freed). `rows` and `base` outlive the registry. `apply`
 * may be NULL. A name that is taken, a limit that the member can't hold, an initial value out of
 * range: caller bugs. */
void config_register(struct config *config, const struct option *rows, size_t count, void *base,
                     config_apply *apply, void *context);

/* Whether the option (by its main name) is among those that the command names and that differ from
 * before. */
bool config_change_has(const struct config_change *change, const char *name);

/* True when the members are back at their old values because a later registration refused. What
 * the callback answers then is ignored. */
bool config_change_is_rollback(const struct config_change *change);

/* Notes why, and which option is to blame; NULL: the first changed one. Always false. */
bool config_change_refuse(struct config_change *change, const char *name, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* Why a start failed. Texts are cut to fit; a plain value. */
struct config_error {
    enum config_place {
        CONFIG_PLACE_NONE,      /* No error. */
        CONFIG_PLACE_FILE,      /* The main file, or text without a name. */
        CONFIG_PLACE_INCLUDE,   /* An included file. */
        CONFIG_PLACE_ARGUMENTS, /* The command line. */
        CONFIG_PLACE_UNREADABLE /* `source` could not be read at all. */
    } place;
    unsigned line;       /* From 1; of the command line: the number of the option. */
    char source[512];    /* The file's path. */
    char option[64];     /* The option's name as it was given. */
    char directive[512]; /* The whole line. */
    char message[1024];  /* The reason, with what is allowed. */
};

/* Appends the report for standard error, in the form that operators know:
 *
 *     *** FATAL CONFIG FILE ERROR (Dunlin 0.1.0) ***
 *     Reading the configuration file, at line 3
 *     >>> 'port 70000'
 *     argument must be between 0 and 65535 inclusive
 */
void config_error_format(const struct config_error *error, struct buffer *out);

/* Reads the lines of a file's text; `source` names it in errors (NULL: the main file). Lines apply
 * one by one, a later one wins. `include` reads further files, patterns allowed, at most
 * CONFIG_INCLUDE_DEPTH_MAX deep.
 *
 * Returns STATUS_OK; STATUS_BAD_FORMAT or STATUS_IO_ERROR with `out_error` filled: the values read
 * before the bad line stay, the process is expected to end. */
MUST_USE enum status config_load_text(struct config *config, struct bytes text, const char *source,
                                      struct config_error *out_error);

/* The same for a file ("-": standard input), whose absolute path is remembered for rewriting. */
MUST_USE enum status config_load_file(struct config *config, const char *path,
                                      struct config_error *out_error);

/* Reads the command line without the program's name: [FILE | -] [--option value ...]...
 *
 * The file comes first, then standard input when "-" is given, then the options, which win. Up to
 * the next argument that starts with "--" the words behind an option are its values; the first one
 * may start with "--" itself where the option takes exactly one value. Flags of `main` (--sentinel)
 * are to be taken out before. */
MUST_USE enum status config_load_arguments(struct config *config, int argc, char *const *argv,
                                           struct config_error *out_error);

/* Absolute path of the main file, or NULL when there is none. Valid until the next load. */
const char *config_path(const struct config *config);

/* CONFIG GET: visits each option that one of the patterns names, once, in the order of
 * registration. A plain name finds it in any case, also by alias and when hidden; a pattern finds
 * aliases as options of their own. `name` is as the client reads it; both are valid during the
 * visit. */
typedef void config_visit(void *context, const char *name, struct bytes value);
void config_get(const struct config *config, const struct bytes *patterns, size_t count,
                config_visit *visit, void *context);

/* The value of one option as CONFIG GET shows it, appended to `out`. False: no such option. */
bool config_get_one(const struct config *config, const char *name, struct buffer *out);

/* Whether one of the pairs' names is an option that must not change while data is being loaded. */
bool config_has_still_while_loading(const struct config *config, const struct bytes *pairs,
                                    size_t pair_count);

/* CONFIG SET: all or nothing.
 *
 * pairs:  name, value, name, value ...; pair_count of them, at least one.
 * guarded_allowed: what enable-protected-configs says for this client.
 * error:  on failure gets the client's error text, without "-ERR " and newline.
 *
 * Returns STATUS_OK; STATUS_BAD_FORMAT for an unknown option or a bad value, STATUS_BUSY when a
 * module refused; everything is then as it was. */
MUST_USE enum status config_set(struct config *config, const struct bytes *pairs, size_t pair_count,
                                bool guarded_allowed, struct buffer *error);

/* CONFIG REWRITE: brings the main file up to date. Comments, order and unknown lines stay, changed
 * options change in place, new ones go behind the line "# Generated by CONFIG REWRITE".
 *
 * Returns STATUS_OK; STATUS_NOT_FOUND without a main file, STATUS_IO_ERROR; `error` gets the
 * client's text. */
MUST_USE enum status config_rewrite(struct config *config, struct buffer *error);

/* The same on text: what the file should hold, given what it holds. */
void config_rewrite_text(const struct config *config, struct bytes old_text, struct buffer *out);

/* Whether the option of this name or alias holds a password. */
bool config_option_is_secret(const struct config *config, struct bytes name);

/* Visits all rows in the order of registration, hidden ones included (docs, tests). */
void config_each_row(const struct config *config,
                     void (*visit)(void *context, const struct option *row), void *context);

/* Whether Redis 7 or its successors know an option of this name that no module has registered. */
bool config_name_is_known_elsewhere(struct bytes name);

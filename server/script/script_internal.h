/* What the files of this folder share. */
#pragma once

#include <lauxlib.h>
#include <lua-cjson.h>
#include <lua.h>
#include <stdatomic.h>

#include "server/base/buffer.h"
#include "server/command/context.h"
#include "server/command/scripted.h"
#include "server/script/libraries.h"
#include "server/script/script.h"

enum { SHA1_TEXT = 40 };

/* What a script's first line promises; SCRIPT_HAS_LINE: there is one. */
enum {
    SCRIPT_NO_WRITES = 1 << 0,
    SCRIPT_ALLOW_OOM = 1 << 1,
    SCRIPT_ALLOW_STALE = 1 << 2,
    SCRIPT_NO_CLUSTER = 1 << 3,
    SCRIPT_ALLOW_CROSS_SLOT = 1 << 4,
    SCRIPT_HAS_LINE = 1 << 5,
};

struct library;

/* A Lua state with what its C functions need. All zero: not made yet. */
struct interpreter {
    lua_State *lua;
    struct scripts *scripts;
    _Atomic uint64_t *memory;  /* Where the state's allocations are counted. */
    struct script_run *run;    /* NULL: no script runs in it. */
    struct library *loading;   /* Whose functions are being registered, or NULL; */
    uint64_t load_deadline_ms; /* until then; monotonic. */
    struct bytes *words;       /* Of the command that the script calls. */
    uint32_t word_cap;
    struct buffer numbers; /* The text of words that are numbers. */
    struct buffer packed;  /* What cmsgpack.pack and struct.pack make. */
    uint64_t random;       /* State of math.random. */
};

/* What is to be run: its function lies on top of the interpreter's stack. */
struct script_call {
    struct interpreter *interpreter;
    const char *name; /* For errors: the script's SHA1 or the function's name. */
    uint32_t flags;
    uint32_t key_count; /* Keys begin at argument 3. */
    bool is_function;   /* It takes keys and arguments as its parameters. */
};

/* One that runs. */
struct script_run {
    struct scripted scripted;
    const struct script_call *call;
    uint64_t began_ms; /* Monotonic. */
    bool is_busy;      /* Others are told that it runs. */
    bool is_killed;    /* Ends as soon as it does anything. */
};

struct scripts {
    const struct script_options *options;
    struct interpreter interpreter; /* Of EVAL. */
    _Atomic uint64_t count;
    _Atomic uint64_t memory;
    _Atomic uint64_t library_memory; /* Of all libraries' interpreters. */
    struct libraries *libraries;     /* Those that FCALL knows. */
    _Atomic uint64_t function_count; /* Of them, */
    _Atomic uint64_t library_count;
    _Atomic uint64_t library_bytes; /* and what they take beside their interpreters. */
    struct script_run *run;         /* NULL: none. */
};

/* -- interpreter.c -- */

/* Makes the state, with what scripts may use. `memory` outlives it. */
void interpreter_open(struct interpreter *interpreter, struct scripts *scripts,
                      _Atomic uint64_t *memory);
void interpreter_close(struct interpreter *interpreter); /* Fine when it was never opened. */
struct interpreter *interpreter_of(lua_State *lua);

/* Compiles text with the name that errors show; leaves the function on the stack, or an error's
 * text and returns false. Byte code is none. */
bool interpreter_compile(lua_State *lua, struct bytes text, const char *name);

/* For lua_pcall: makes the error a table that says where it happened: {err, source, line}. */
int interpreter_note_place(lua_State *lua);

/* Looks whether the script that runs there runs for too long, and serves others if so. Raises when
 * it was killed. Between two of its commands. */
void script_watch(lua_State *lua);

/* SCRIPT KILL and FUNCTION KILL. */
void script_kill(struct command_context *context, bool is_function);
/* What others are told while it runs. */
const char *script_busy_text(const struct script_run *run);

/* Takes the function from the stack, runs it and answers. */
void script_run(struct command_context *context, const struct script_call *call);

/* {err = text}: an error without a place in front of it. Pushes it; raises it, and does not return.
 */
void script_push_error(lua_State *lua, const char *text);
int script_raise(lua_State *lua, const char *text);

/* Lua's registry, by the address of a word of the caller's: pushes what is there; takes the value
 * on top and puts it there. */
void script_push_registered(lua_State *lua, const char *key);
void script_register(lua_State *lua, const char *key);

/* -- engine.c -- */

/* Forgets all scripts, and with them the interpreter. */
void scripts_flush(struct scripts *scripts);

/* The lower-case SHA1 of a text. */
void script_sha1(struct bytes text, char out[SHA1_TEXT + 1]);

/* The flag of this name; 0: there is none. */
uint32_t script_flag(struct bytes name, bool ignores_case);
/* The flags' names in the order in which FUNCTION LIST tells them; NULL after the last. */
const char *script_flag_name(uint32_t index, uint32_t *out_flag);

/* Keeps the script and leaves its function on Lua's stack. Answers the error and returns false when
 * it is none. */
bool script_load(struct command_context *context, struct bytes text, const char *sha1,
                 uint32_t *out_flags);
/* Leaves the function of a kept script on Lua's stack; false: there is none. */
bool script_find(struct scripts *scripts, const char *sha1, uint32_t *out_flags);

/* -- script_commands.c: what EVAL and FCALL share -- */

/* Reads the count of keys in argument 2; answers what is wrong with it, `not_a_number` (NULL: the
 * usual text) when it is none. */
bool script_parse_key_count(struct command_context *context, const char *not_a_number,
                            uint32_t *out);
/* Runs what is to be run unless the state of the node forbids it. */
void script_run_admitted(struct command_context *context, const struct script_call *call);

#define SCRIPT_KEYS(key_flags, key_notes)                                                          \
    {                                                                                              \
        {                                                                                          \
            .begin = KEY_BEGIN_INDEX, .index = 2, .find = KEY_FIND_COUNT, .count_index = 0,        \
            .first_index = 1, .step = 1, .flags = (key_flags), .notes = (key_notes)                \
        }                                                                                          \
    }

#define SCRIPT_UNKNOWN_USE "We cannot tell how the keys will be used so we assume the worst, "

#define SCRIPT_COMMAND_FLAGS                                                                       \
    (COMMAND_MOVABLE_KEYS | COMMAND_NO_MANDATORY_KEYS | COMMAND_NO_SCRIPT | COMMAND_SKIP_MONITOR | \
     COMMAND_STALE)

/* -- library.c -- */

struct function {
    struct library *library;
    char *name;
    struct bytes description; /* Owned; data is NULL without one. */
    uint32_t flags;
    int reference; /* To the Lua function, in its library's interpreter. */
};

/* A library with an interpreter of its own: libraries see nothing of each other, and one goes with
 * all that it has. */
struct library {
    struct interpreter interpreter;
    char *name;
    struct bytes source; /* Owned. */
    struct function **functions;
    uint32_t count;
    uint32_t cap;
};

/* The name in the first line of a source, for library_create. Owned by the caller; NULL after the
 * reason was appended to `error`. */
char *library_parse_name(struct bytes source, struct buffer *error);

/* Runs a source whose name was parsed (taken) so that it registers its functions. NULL after the
 * reason was appended to `error`, also when that takes more than limit_ms. */
struct library *library_create(struct scripts *scripts, char *name, struct bytes source,
                               uint64_t limit_ms, struct buffer *error);
void library_destroy(struct library *library); /* NULL is fine. Any thread. */

/* redis.register_function */
int library_register_function(lua_State *lua);

/* -- libraries.c -- */

struct libraries {
    struct scripts *scripts;
    struct library **items; /* By name. */
    uint32_t count;
    struct function **by_name; /* Of all libraries, by name without case. */
    uint32_t function_count;
};

/* How long a library may take to register its functions that was accepted once: it comes from a
 * file, a log or a primary. Nobody waits forever, whoever made these. */
enum { ACCEPTED_LIMIT_MS = 60000 };

enum library_clash { LIBRARY_CLASH_FAILS, LIBRARY_CLASH_REPLACES };

/* Creates a library from its source and adds it. On failure nothing has changed, and `error` holds
 * the reason, without a code word. */
bool libraries_add(struct libraries *libraries, struct bytes source, enum library_clash clash,
                   uint64_t limit_ms, char **out_name, struct buffer *error);
/* Moves all of `other` into `libraries`, or nothing when that fails. */
bool libraries_join(struct libraries *libraries, struct libraries *other, enum library_clash clash,
                    struct buffer *error);
/* False: there is none of this name. */
bool libraries_remove(struct libraries *libraries, struct bytes name);
struct function *libraries_find_function(const struct libraries *libraries, struct bytes name);
/* Reads the content of a FUNCTION DUMP payload into libraries that are still empty. A library may
 * take limit_ms to register its functions. */
bool libraries_read_dump(struct libraries *libraries, struct bytes content, uint64_t limit_ms,
                         struct buffer *error);
/* The figures that others read are those of the present libraries. */
void scripts_note_libraries(struct scripts *scripts);

/* -- sandbox.c -- */

/* Opens the libraries that scripts may use and makes them read-only. Leaves nothing on the stack.
 */
void sandbox_open(lua_State *lua);
/* Instead of the globals, what is compiled sees the table on top of the stack, which is taken;
 * names that it lacks are errors. sandbox_show_globals: the globals again. */
void sandbox_show(lua_State *lua);
void sandbox_show_globals(lua_State *lua);
/* Unknown names in the table on top of the stack are errors, as unknown globals are. */
void sandbox_make_strict(lua_State *lua);
/* Sets a global that scripts see and can't change: takes the value from the stack. */
void sandbox_set_global(lua_State *lua, const char *name);
/* Replaces the table on the stack by one that shows the same and can't be changed. */
void sandbox_protect(lua_State *lua);

/* -- redis_library.c -- */

/* The global `redis`, as scripts and as functions have it. */
void redis_library_open(lua_State *lua, bool is_for_functions);
/* Pushes what a library sees while it registers its functions: {redis = ...}. */
void redis_library_push_loading(lua_State *lua);

/* -- messagepack.c, bits.c, packing.c: push a table of functions -- */

int messagepack_open(lua_State *lua); /* cmsgpack */
int bits_open(lua_State *lua);        /* bit */
int packing_open(lua_State *lua);     /* struct */

/* -- values.c -- */

/* Reads one RESP value and pushes what scripts see of it. */
void value_push(lua_State *lua, struct bytes *inout_encoded);
/* Answers with the value on top of the stack and takes it away. `script_resp`: what the script
 * chose by redis.setresp. */
void value_reply(lua_State *lua, struct reply *reply, int script_resp);

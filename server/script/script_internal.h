/* What the files of this folder share. */
#pragma once

#include <lauxlib.h>
#include <lua-cjson.h>
#include <lua.h>
#include <stdatomic.h>

#include "server/base/buffer.h"
#include "server/command/context.h"
#include "server/command/scripted.h"
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

struct scripts {
    lua_State *lua; /* NULL: no script came yet. */
    _Atomic uint64_t count;
    _Atomic uint64_t memory;
    struct scripted *running; /* NULL: none. */
    struct bytes *words;      /* Of the command that the script calls. */
    uint32_t word_cap;
    struct buffer numbers; /* The text of words that are numbers. */
    struct buffer packed;  /* What cmsgpack.pack makes. */
    uint64_t random;       /* State of math.random. */
    uint64_t began_ms;     /* Of the running one; monotonic, */
    uint64_t next_look_ms; /* as is when it is next seen to. */
};

/* -- engine.c -- */

/* The interpreter, made when there is none. */
lua_State *scripts_lua(struct scripts *scripts);
/* Forgets all scripts, and with them the interpreter. */
void scripts_flush(struct scripts *scripts);
struct scripts *scripts_of(lua_State *lua);

/* The lower-case SHA1 of a text. */
void script_sha1(struct bytes text, char out[SHA1_TEXT + 1]);

/* Keeps the script and leaves its function on Lua's stack. Answers the error and returns false when
 * it is none. */
bool script_load(struct command_context *context, struct bytes text, const char *sha1,
                 uint32_t *out_flags);
/* Leaves the function of a kept script on Lua's stack; false: there is none. */
bool script_find(struct scripts *scripts, const char *sha1, uint32_t *out_flags);
/* Takes the function from Lua's stack, runs it and answers. Keys begin at argument 3. */
void script_run(struct command_context *context, const char *sha1, uint32_t flags,
                uint32_t key_count);

/* {err = text}: an error without a place in front of it. Pushes it; raises it, and does not return.
 */
void script_push_error(lua_State *lua, const char *text);
int script_raise(lua_State *lua, const char *text);

/* Lua's registry, by the address of a word of the caller's: pushes what is there; takes the value
 * on top and puts it there. */
void script_push_registered(lua_State *lua, const char *key);
void script_register(lua_State *lua, const char *key);

/* -- sandbox.c -- */

/* Opens the libraries that scripts may use and makes them read-only. Leaves nothing on the stack.
 */
void sandbox_open(lua_State *lua);
/* Sets a global that scripts see and can't change: takes the value from the stack. */
void sandbox_set_global(lua_State *lua, const char *name);
/* Replaces the table on the stack by one that shows the same and can't be changed. */
void sandbox_protect(lua_State *lua);

/* -- redis_library.c -- */

void redis_library_open(lua_State *lua); /* The global `redis`. */

/* -- messagepack.c, bits.c: push a table of functions -- */

int messagepack_open(lua_State *lua); /* cmsgpack */
int bits_open(lua_State *lua);        /* bit */

/* -- values.c -- */

/* Reads one RESP value and pushes what scripts see of it. */
void value_push(lua_State *lua, struct bytes *inout_encoded);
/* Answers with the value on top of the stack and takes it away. `script_resp`: what the script
 * chose by redis.setresp. */
void value_reply(lua_State *lua, struct reply *reply, int script_resp);

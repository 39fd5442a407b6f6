/* Interpreters: how one is made, and how what lies in it runs. */
#include <string.h>

#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/command/dispatch.h"
#include "server/script/script_internal.h"

enum { WATCH_INSTRUCTIONS = 100000 };
#define RANDOM_START 0x1234abcd330e /* Where the C library's lrand48 begins. */

/* -- life -- */

static void *allocate(void *state, void *block, size_t old_size, size_t size) {
    struct interpreter *interpreter = state;
    if (size == 0) {
        mem_free(block);
        atomic_fetch_sub_explicit(interpreter->memory, old_size, memory_order_relaxed);
        return NULL;
    }
    void *fresh = mem_try_realloc(block, size);
    if (fresh != NULL)
        atomic_fetch_add_explicit(interpreter->memory, size - old_size, memory_order_relaxed);
    return fresh;
}

struct interpreter *interpreter_of(lua_State *lua) {
    void *state = NULL;
    lua_getallocf(lua, &state);
    return state;
}

void interpreter_open(struct interpreter *interpreter, struct scripts *scripts,
                      _Atomic uint64_t *memory) {
    *interpreter = (struct interpreter){.scripts = scripts, .memory = memory};
    interpreter->random = RANDOM_START;
    interpreter->lua = lua_newstate(allocate, interpreter);
    ASSERT(interpreter->lua != NULL);
    sandbox_open(interpreter->lua);
}

void interpreter_close(struct interpreter *interpreter) {
    if (interpreter->lua != NULL) lua_close(interpreter->lua);
    mem_free(interpreter->words);
    buffer_deinit(&interpreter->numbers);
    buffer_deinit(&interpreter->packed);
    *interpreter = (struct interpreter){0};
}

void script_push_registered(lua_State *lua, const char *key) {
    lua_pushlightuserdata(lua, (void *)key);
    lua_rawget(lua, LUA_REGISTRYINDEX);
}

void script_register(lua_State *lua, const char *key) {
    lua_pushlightuserdata(lua, (void *)key);
    lua_insert(lua, -2);
    lua_rawset(lua, LUA_REGISTRYINDEX);
}

void script_push_error(lua_State *lua, const char *text) {
    lua_createtable(lua, 0, 1);
    lua_pushstring(lua, text);
    lua_setfield(lua, -2, "err");
}

int script_raise(lua_State *lua, const char *text) {
    script_push_error(lua, text);
    return lua_error(lua);
}

/* Byte code is not compiled but believed, and can do anything to the process. */
bool interpreter_compile(lua_State *lua, struct bytes text, const char *name) {
    if (text.len == 0 || text.data[0] != (uint8_t)LUA_SIGNATURE[0])
        return luaL_loadbuffer(lua, (const char *)text.data, text.len, name) == 0;
    lua_pushliteral(lua, "attempt to load chunk with wrong mode");
    return false;
}

/* -- running -- */

int interpreter_note_place(lua_State *lua) {
    lua_Debug place;
    bool is_known = lua_getstack(lua, 1, &place) && lua_getinfo(lua, "nSl", &place);
    if (is_known && strcmp(place.what, "C") == 0)
        is_known = lua_getstack(lua, 2, &place) && lua_getinfo(lua, "nSl", &place);
    if (!lua_istable(lua, 1)) {
        const char *text = lua_tostring(lua, 1);
        if (text == NULL && lua_isboolean(lua, 1)) text = lua_toboolean(lua, 1) ? "true" : "false";
        if (text == NULL) text = luaL_typename(lua, 1);
        lua_createtable(lua, 0, 3);
        lua_pushfstring(lua, "ERR %s", text);
        lua_setfield(lua, -2, "err");
        lua_replace(lua, 1);
    }
    lua_settop(lua, 1);
    if (!is_known) return 1;
    lua_pushliteral(lua, "source");
    lua_pushstring(lua, place.source);
    lua_rawset(lua, 1);
    lua_pushliteral(lua, "line");
    lua_pushinteger(lua, place.currentline);
    lua_rawset(lua, 1);
    return 1;
}

/* The error on top, and a field of it; NULL when it has none. */
static const char *error_field(lua_State *lua, const char *name) {
    if (!lua_istable(lua, -1)) return NULL;
    lua_pushstring(lua, name);
    lua_rawget(lua, -2);
    const char *text = lua_tostring(lua, -1);
    lua_pop(lua, 1); // The table keeps it.
    return text;
}

static void reply_failure(lua_State *lua, struct reply *reply, const char *sha1) {
    const char *text = lua_istable(lua, -1) ? error_field(lua, "err") : lua_tostring(lua, -1);
    if (text == NULL) text = "ERR unknown error";
    lua_pushliteral(lua, "line");
    int line = 0;
    if (lua_istable(lua, -2)) {
        lua_rawget(lua, -2);
        line = (int)lua_tointeger(lua, -1);
    }
    lua_pop(lua, 1);
    const char *source = error_field(lua, "source");
    const char *code = lua_istable(lua, -1) ? "" : "ERR ";
    if (source == NULL) {
        reply_error_format(reply, "%s%s script: %s", code, text, sha1);
    } else {
        reply_error_format(reply, "%s%s script: %s, on %s:%d.", code, text, sha1, source, line);
    }
}

static void push_words(lua_State *lua, const struct bytes *words, uint32_t count) {
    lua_createtable(lua, (int)count, 0);
    for (uint32_t i = 0; i < count; i++) {
        lua_pushlstring(lua, (const char *)words[i].data, words[i].len);
        lua_rawseti(lua, -2, (int)i + 1);
    }
}

/* Keys and arguments: a function's parameters, a script's globals. Returns how many were pushed. */
static int hand_over_words(lua_State *lua, const struct command_context *context,
                           const struct script_call *call) {
    const struct bytes *keys = context->argv + 3;
    push_words(lua, keys, call->key_count);
    if (!call->is_function) sandbox_set_global(lua, "KEYS");
    push_words(lua, keys + call->key_count, context->argc - 3 - call->key_count);
    if (!call->is_function) sandbox_set_global(lua, "ARGV");
    return call->is_function ? 2 : 0;
}

const char *script_busy_text(const struct script_run *run) {
    return run->call->is_function
               ? "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN "
                 "NOSAVE."
               : "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN "
                 "NOSAVE.";
}

static void serve_others(struct script_run *run, uint64_t now_ms) {
    if (!run->is_busy) {
        log_warning("Slow script detected: still in execution after %llu milliseconds. You can try "
                    "killing the script using the %s command. Script name is: %s.",
                    (unsigned long long)(now_ms - run->began_ms),
                    run->call->is_function ? "FUNCTION KILL" : "SCRIPT KILL", run->call->name);
        run->is_busy = true;
    }
    dispatcher_serve_busy(run->scripted.outer->modules->dispatcher, script_busy_text(run));
}

static void on_count(lua_State *lua, lua_Debug *activation) {
    (void)activation;
    // A function may keep a coroutine that was killed in another call.
    if (lua_gethookcount(lua) != WATCH_INSTRUCTIONS && !interpreter_of(lua)->run->is_killed)
        lua_sethook(lua, on_count, LUA_MASKCOUNT, WATCH_INSTRUCTIONS);
    script_watch(lua);
}

void script_watch(lua_State *lua) {
    const struct interpreter *interpreter = interpreter_of(lua);
    struct script_run *run = interpreter->run;
    uint64_t limit_ms = interpreter->scripts->options->busy_after_ms;
    uint64_t now_ms = clock_monotonic_ms();
    if (limit_ms == 0 || now_ms - run->began_ms < limit_ms) return;
    if (!run->is_killed) serve_others(run, now_ms);
    if (!run->is_killed) return;
    // Also where the script catches errors: whatever it does next fails as well.
    lua_sethook(interpreter->lua, on_count, LUA_MASKCOUNT, 1);
    lua_sethook(lua, on_count, LUA_MASKCOUNT, 1);
    script_raise(lua, "ERR Script killed by user with SCRIPT KILL...");
}

void script_kill(struct command_context *context, bool is_function) {
    struct script_run *run = context->modules->scripts->run;
    if (run == NULL) {
        reply_error(context->reply, "NOTBUSY No scripts in execution right now.");
    } else if (run->call->is_function != is_function) {
        reply_error(context->reply, script_busy_text(run));
    } else if (run->scripted.outer->is_from_primary) {
        reply_error(context->reply,
                    "UNKILLABLE The busy script was sent by a master instance in the context of "
                    "replication and cannot be killed.");
    } else if (run->scripted.has_written) {
        reply_error(context->reply,
                    "UNKILLABLE Sorry the script already executed write commands against the "
                    "dataset. You can either wait the script termination or kill the server in a "
                    "hard way using the SHUTDOWN NOSAVE command.");
    } else {
        run->is_killed = true;
        reply_ok(context->reply);
    }
}

static void begin(struct script_run *run, struct command_context *context) {
    const struct script_call *call = run->call;
    bool is_read_only = (context->command->flags & COMMAND_READONLY) != 0;
    const struct script_rights rights = {
        .is_read_only = is_read_only || (call->flags & SCRIPT_NO_WRITES) != 0,
        .ignores_memory = (call->flags & SCRIPT_ALLOW_OOM) != 0,
        .keeps_to_one_slot =
            (call->flags & SCRIPT_HAS_LINE) != 0 && (call->flags & SCRIPT_ALLOW_CROSS_SLOT) == 0,
    };
    scripted_begin(&run->scripted, context, &rights);
    run->began_ms = clock_monotonic_ms();
    call->interpreter->run = run;
    call->interpreter->scripts->run = run;
    lua_sethook(call->interpreter->lua, on_count, LUA_MASKCOUNT, WATCH_INSTRUCTIONS);
}

static void end(struct script_run *run) {
    struct interpreter *interpreter = run->call->interpreter;
    lua_sethook(interpreter->lua, NULL, 0, 0);
    interpreter->run = NULL;
    interpreter->scripts->run = NULL;
    if (run->is_busy) dispatcher_end_busy(run->scripted.outer->modules->dispatcher);
    scripted_end(&run->scripted);
}

void script_run(struct command_context *context, const struct script_call *call) {
    lua_State *lua = call->interpreter->lua;
    struct script_run run = {.call = call};
    int base = lua_gettop(lua) - 1;
    lua_pushcfunction(lua, interpreter_note_place);
    lua_insert(lua, -2);
    int parameters = hand_over_words(lua, context, call);
    begin(&run, context);
    if (lua_pcall(lua, parameters, 1, base + 1) == 0) {
        value_reply(lua, context->reply, run.scripted.session.reply.resp);
    } else {
        reply_failure(lua, context->reply, call->name);
    }
    end(&run);
    lua_settop(lua, base);
    context_propagate_nothing(context); // Its commands have noted their own effects.
}

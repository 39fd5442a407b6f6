/* The global `redis`: what a script can ask of the server. */
#include <string.h>

#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/script/script_internal.h"

enum { NUMBER_TEXT = 32 };

/* -- call and pcall -- */

/* Reads the words of a call from the stack; NULL or why they are none. */
static const char *read_words(lua_State *lua, struct interpreter *interpreter, uint32_t count) {
    if (count == 0) return "ERR Please specify at least one argument for this redis lib call";
    if (count > interpreter->word_cap) {
        interpreter->words = mem_realloc(interpreter->words, count * sizeof(*interpreter->words));
        interpreter->word_cap = count;
    }
    buffer_clear(&interpreter->numbers);
    buffer_reserve(&interpreter->numbers,
                   count * NUMBER_TEXT); // So that what points into it stays.
    for (uint32_t i = 0; i < count; i++) {
        int index = (int)i + 1;
        size_t len = 0;
        if (lua_type(lua, index) == LUA_TNUMBER) {
            size_t at = interpreter->numbers.len;
            buffer_append_format(&interpreter->numbers, "%.17g", (double)lua_tonumber(lua, index));
            interpreter->words[i] =
                bytes_of(interpreter->numbers.data + at, interpreter->numbers.len - at);
        } else if (lua_type(lua, index) == LUA_TSTRING) {
            const char *text = lua_tolstring(lua, index, &len);
            interpreter->words[i] = bytes_of(text, len);
        } else {
            return "ERR Lua redis lib command arguments must be strings or integers";
        }
    }
    return NULL;
}

/* Pushes the reply, or {err = ...}; true when that is an error. */
static bool call(lua_State *lua) {
    struct interpreter *interpreter = interpreter_of(lua);
    struct scripted *scripted = &interpreter->run->scripted;
    uint32_t count = (uint32_t)lua_gettop(lua);
    script_watch(lua); // Commands may take long, and few instructions.
    const char *refused = read_words(lua, interpreter, count);
    if (refused == NULL) refused = scripted_call(scripted, interpreter->words, count);
    if (refused != NULL) {
        script_push_error(lua, refused);
        return true;
    }
    struct bytes encoded = buffer_view(&scripted->out);
    if (encoded.len == 0) {
        lua_pushnil(lua);
        return false;
    }
    bool is_error = encoded.data[0] == '-';
    value_push(lua, &encoded);
    return is_error;
}

static int redis_call(lua_State *lua) {
    return call(lua) ? lua_error(lua) : 1;
}

static int redis_pcall(lua_State *lua) {
    call(lua);
    return 1;
}

/* Whether the user who runs the script may run that command; an error when there is none. */
static int redis_acl_check_cmd(lua_State *lua) {
    struct interpreter *interpreter = interpreter_of(lua);
    uint32_t count = (uint32_t)lua_gettop(lua);
    const char *refused = read_words(lua, interpreter, count);
    if (refused != NULL) return script_raise(lua, refused);
    bool may_call = false;
    if (!scripted_may_call(&interpreter->run->scripted, interpreter->words, count, &may_call))
        return script_raise(lua, "ERR Invalid command passed to redis.acl_check_cmd()");
    lua_pushboolean(lua, may_call);
    return 1;
}

/* -- replies -- */

static int single_field(lua_State *lua, const char *name) {
    if (lua_gettop(lua) != 1 || lua_type(lua, 1) != LUA_TSTRING) {
        script_push_error(lua, "ERR wrong number or type of arguments");
        return 1;
    }
    lua_createtable(lua, 0, 1);
    lua_pushvalue(lua, 1);
    lua_setfield(lua, -2, name);
    return 1;
}

static int redis_status_reply(lua_State *lua) {
    return single_field(lua, "ok");
}

/* An error has a code word in front; what is one word alone gets one. */
static int redis_error_reply(lua_State *lua) {
    if (lua_gettop(lua) == 1 && lua_type(lua, 1) == LUA_TSTRING) {
        const char *text = lua_tostring(lua, 1);
        if (text[0] == '-') text++;
        lua_pushfstring(lua, strchr(text, ' ') == NULL ? "ERR %s" : "%s", text);
        lua_replace(lua, 1);
    }
    return single_field(lua, "err");
}

/* -- the rest -- */

static int redis_sha1hex(lua_State *lua) {
    if (lua_gettop(lua) != 1) return script_raise(lua, "ERR wrong number of arguments");
    size_t len = 0;
    const char *text = lua_tolstring(lua, 1, &len);
    char sha1[SHA1_TEXT + 1];
    script_sha1(bytes_of(text == NULL ? "" : text, len), sha1);
    lua_pushlstring(lua, sha1, SHA1_TEXT);
    return 1;
}

static int redis_log(lua_State *lua) {
    static const enum log_level levels[] = {LOG_LEVEL_DEBUG, LOG_LEVEL_VERBOSE, LOG_LEVEL_NOTICE,
                                            LOG_LEVEL_WARNING};
    int count = lua_gettop(lua);
    if (count < 2) return script_raise(lua, "ERR redis.log() requires two arguments or more.");
    if (!lua_isnumber(lua, 1))
        return script_raise(lua, "ERR First argument must be a number (log level).");
    int level = (int)lua_tonumber(lua, 1);
    if (level < 0 || level > 3) return script_raise(lua, "ERR Invalid debug level.");
    struct buffer line = {0};
    for (int i = 2; i <= count; i++) {
        size_t len = 0;
        const char *text = lua_tolstring(lua, i, &len);
        if (text == NULL) continue;
        if (line.len > 0) buffer_append_u8(&line, ' ');
        buffer_append_bytes(&line, bytes_of(text, len < 1024 ? len : 1024));
    }
    log_write(levels[level], "%.*s", (int)line.len, (const char *)line.data);
    buffer_deinit(&line);
    return 0;
}

static int redis_setresp(lua_State *lua) {
    if (lua_gettop(lua) != 1)
        return script_raise(lua, "ERR redis.setresp() requires one argument.");
    lua_Number version = lua_tonumber(lua, 1);
    if (version != 2 && version != 3) return script_raise(lua, "ERR RESP version must be 2 or 3.");
    interpreter_of(lua)->run->scripted.session.reply.resp = (uint8_t)version;
    return 0;
}

enum { REPL_NONE = 0, REPL_AOF = 1, REPL_REPLICA = 2, REPL_ALL = 3 };

/* Who is told of what the script writes from here on. */
static int redis_set_repl(lua_State *lua) {
    if (lua_gettop(lua) != 1)
        return script_raise(lua, "ERR redis.set_repl() requires one argument.");
    lua_Number flags = lua_tonumber(lua, 1);
    if (flags < REPL_NONE || flags > REPL_ALL)
        return script_raise(lua, "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, "
                                 "REPL_ALL or REPL_NONE.");
    unsigned chosen = (unsigned)flags;
    interpreter_of(lua)->run->scripted.targets =
        ((chosen & REPL_AOF) != 0 ? JOURNAL_FOR_LOG : 0) |
        ((chosen & REPL_REPLICA) != 0 ? JOURNAL_FOR_REPLICAS : 0);
    return 0;
}

static int redis_replicate_commands(lua_State *lua) {
    lua_pushboolean(lua, 1); // Effects are propagated, whether that was asked for or not.
    return 1;
}

/* No debugger is attached: nothing stops, nothing is printed. */
static int redis_breakpoint(lua_State *lua) {
    lua_pushboolean(lua, 0);
    return 1;
}

static int redis_debug(lua_State *lua) {
    (void)lua;
    return 0;
}

static const luaL_Reg functions[] = {
    {"call", redis_call},
    {"pcall", redis_pcall},
    {"acl_check_cmd", redis_acl_check_cmd},
    {"status_reply", redis_status_reply},
    {"error_reply", redis_error_reply},
    {"sha1hex", redis_sha1hex},
    {"log", redis_log},
    {"setresp", redis_setresp},
    {"set_repl", redis_set_repl},
    {NULL, NULL},
};

static const luaL_Reg of_scripts_alone[] = {
    {"replicate_commands", redis_replicate_commands},
    {"breakpoint", redis_breakpoint},
    {"debug", redis_debug},
    {NULL, NULL},
};

static const luaL_Reg of_loading[] = {
    {"register_function", library_register_function},
    {"log", redis_log},
    {NULL, NULL},
};

struct named_number {
    const char *name;
    int value;
};

static const struct named_number log_levels[] = {
    {"LOG_DEBUG", 0}, {"LOG_VERBOSE", 1}, {"LOG_NOTICE", 2}, {"LOG_WARNING", 3}, {NULL, 0}};

static const struct named_number propagation[] = {
    {"REPL_NONE", REPL_NONE},       {"REPL_AOF", REPL_AOF}, {"REPL_SLAVE", REPL_REPLICA},
    {"REPL_REPLICA", REPL_REPLICA}, {"REPL_ALL", REPL_ALL}, {NULL, 0}};

/* Into the table on top of the stack. */
static void set_numbers(lua_State *lua, const struct named_number *numbers) {
    for (; numbers->name != NULL; numbers++) {
        lua_pushnumber(lua, numbers->value);
        lua_setfield(lua, -2, numbers->name);
    }
}

static void set_version(lua_State *lua) {
    static const struct named_number version[] = {{"REDIS_VERSION_NUM", 0x00070204}, {NULL, 0}};
    set_numbers(lua, version);
    lua_pushliteral(lua, "7.2.4");
    lua_setfield(lua, -2, "REDIS_VERSION");
}

void redis_library_open(lua_State *lua, bool is_for_functions) {
    lua_newtable(lua);
    luaL_register(lua, NULL, functions);
    if (!is_for_functions) luaL_register(lua, NULL, of_scripts_alone);
    set_numbers(lua, log_levels);
    set_numbers(lua, propagation);
    set_version(lua);
    sandbox_protect(lua);
    sandbox_set_global(lua, "redis");
}

void redis_library_push_loading(lua_State *lua) {
    lua_createtable(lua, 0, 1);
    lua_newtable(lua);
    luaL_register(lua, NULL, of_loading);
    set_numbers(lua, log_levels);
    set_version(lua);
    sandbox_make_strict(lua);
    sandbox_protect(lua);
    lua_setfield(lua, -2, "redis");
}

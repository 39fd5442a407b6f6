/* What scripts see of Lua: the libraries that can't reach outside, all of them read-only.
 *
 * Lua has no read-only tables, so a protected table is an empty one in whose place another answers
 * (__index) and whose __newindex refuses. The functions that would reach around that (rawset,
 * setmetatable, pairs, ...) know protected tables. All globals live in one such table, which is the
 * environment of every chunk that is compiled.
 */
#include <lualib.h>
#include <string.h>

#include "server/script/script_internal.h"

#define REFUSED "Attempt to modify a readonly table"

static const char globals_key;   /* In the registry: the real table of globals, */
static const char protected_key; /* and protected table -> the table that answers for it. */

/* -- protected tables -- */

/* Pushes the table that answers for the one at `index`; false, and nothing pushed, when that is an
 * ordinary one. */
static bool push_behind(lua_State *lua, int index) {
    script_push_registered(lua, &protected_key);
    lua_pushvalue(lua, index);
    lua_rawget(lua, -2);
    lua_remove(lua, -2);
    if (lua_istable(lua, -1)) return true;
    lua_pop(lua, 1);
    return false;
}

/* Raises when the first argument is one. */
static void refuse_protected(lua_State *lua) {
    if (push_behind(lua, 1)) script_raise(lua, "ERR " REFUSED);
}

static int refuse_write(lua_State *lua) {
    return luaL_error(lua, REFUSED);
}

void sandbox_protect(lua_State *lua) {
    lua_newtable(lua);
    lua_createtable(lua, 0, 3);
    lua_pushvalue(lua, -3);
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, refuse_write);
    lua_setfield(lua, -2, "__newindex");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_setmetatable(lua, -2);
    script_push_registered(lua, &protected_key);
    lua_pushvalue(lua, -2);
    lua_pushvalue(lua, -4);
    lua_rawset(lua, -3);
    lua_pop(lua, 1);
    lua_remove(lua, -2);
}

void sandbox_set_global(lua_State *lua, const char *name) {
    script_push_registered(lua, &globals_key);
    lua_insert(lua, -2);
    lua_pushstring(lua, name);
    lua_insert(lua, -2);
    lua_rawset(lua, -3);
    lua_pop(lua, 1);
}

static int unknown_global(lua_State *lua) {
    return luaL_error(lua, "Script attempted to access nonexistent global variable '%s'",
                      lua_tostring(lua, 2));
}

/* -- functions that would reach around -- */

static int safe_rawset(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checkany(lua, 2);
    luaL_checkany(lua, 3);
    refuse_protected(lua);
    lua_settop(lua, 3);
    lua_rawset(lua, 1);
    return 1;
}

static int safe_rawget(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checkany(lua, 2);
    lua_settop(lua, 2);
    if (push_behind(lua, 1)) lua_replace(lua, 1);
    lua_rawget(lua, 1);
    return 1;
}

static int safe_setmetatable(lua_State *lua) {
    int type = lua_type(lua, 2);
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_argcheck(lua, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table expected");
    refuse_protected(lua);
    if (luaL_getmetafield(lua, 1, "__metatable"))
        return luaL_error(lua, "cannot change a protected metatable");
    lua_settop(lua, 2);
    lua_setmetatable(lua, 1);
    return 1;
}

static int safe_next(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 2);
    if (push_behind(lua, 1)) lua_replace(lua, 1);
    if (lua_next(lua, 1)) return 2;
    lua_pushnil(lua);
    return 1;
}

static int safe_pairs(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_pushcfunction(lua, safe_next);
    lua_pushvalue(lua, 1);
    lua_pushnil(lua);
    return 3;
}

/* table.insert(t, [position,] value) */
static int safe_insert(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    refuse_protected(lua);
    int last = (int)lua_objlen(lua, 1) + 1;
    int position = last;
    int count = lua_gettop(lua);
    if (count == 3) {
        position = luaL_checkint(lua, 2);
        if (position > last) last = position;
        for (int i = last; i > position; i--) {
            lua_rawgeti(lua, 1, i - 1);
            lua_rawseti(lua, 1, i);
        }
    } else if (count != 2) {
        return luaL_error(lua, "wrong number of arguments to 'insert'");
    }
    lua_pushvalue(lua, count);
    lua_rawseti(lua, 1, position);
    return 0;
}

/* -- compiling: texts only, since a made-up byte code can do anything to the process -- */

static int loaded(lua_State *lua, int status) {
    if (status == 0) return 1;
    lua_pushnil(lua);
    lua_insert(lua, -2);
    return 2;
}

static bool is_byte_code(const char *text, size_t len) {
    return len > 0 && text[0] == LUA_SIGNATURE[0];
}

static int refuse_byte_code(lua_State *lua) {
    lua_pushnil(lua);
    lua_pushliteral(lua, "attempt to load chunk with wrong mode");
    return 2;
}

static int safe_loadstring(lua_State *lua) {
    size_t len = 0;
    const char *text = luaL_checklstring(lua, 1, &len);
    const char *name = luaL_optstring(lua, 2, text);
    if (is_byte_code(text, len)) return refuse_byte_code(lua);
    return loaded(lua, luaL_loadbuffer(lua, text, len, name));
}

struct pieces {
    bool has_begun;
    bool is_refused;
};

/* Calls the function at 1 for the next piece, which stays at 3 while it is read. */
static const char *next_piece(lua_State *lua, void *arg, size_t *out_len) {
    struct pieces *pieces = arg;
    *out_len = 0;
    luaL_checkstack(lua, 2, "too many nested functions");
    lua_pushvalue(lua, 1);
    lua_call(lua, 0, 1);
    if (lua_isnil(lua, -1)) return NULL;
    if (!lua_isstring(lua, -1)) luaL_error(lua, "reader function must return a string");
    lua_replace(lua, 3);
    const char *text = lua_tolstring(lua, 3, out_len);
    pieces->is_refused = !pieces->has_begun && is_byte_code(text, *out_len);
    pieces->has_begun = pieces->has_begun || *out_len > 0;
    if (pieces->is_refused) *out_len = 0;
    return *out_len == 0 ? NULL : text;
}

static int safe_load(lua_State *lua) {
    const char *name = luaL_optstring(lua, 2, "=(load)");
    struct pieces pieces = {0};
    luaL_checktype(lua, 1, LUA_TFUNCTION);
    lua_settop(lua, 3);
    int status = lua_load(lua, next_piece, &pieces, name);
    return pieces.is_refused ? refuse_byte_code(lua) : loaded(lua, status);
}

/* -- chance: the same numbers in every life of the interpreter -- */

/* The generator of the C library's lrand48. */
static uint32_t next_random(struct interpreter *interpreter) {
    interpreter->random = (interpreter->random * 0x5deece66du + 0xb) & 0xffffffffffffu;
    return (uint32_t)(interpreter->random >> 17);
}

static int safe_random(lua_State *lua) {
    lua_Number chance = (lua_Number)(next_random(interpreter_of(lua)) % INT32_MAX) / INT32_MAX;
    lua_Number low = 1;
    lua_Number high = 0;
    switch (lua_gettop(lua)) {
    case 0:
        lua_pushnumber(lua, chance);
        return 1;
    case 1:
        high = luaL_checkint(lua, 1);
        break;
    case 2:
        low = luaL_checkint(lua, 1);
        high = luaL_checkint(lua, 2);
        break;
    default:
        return luaL_error(lua, "wrong number of arguments");
    }
    luaL_argcheck(lua, low <= high, lua_gettop(lua), "interval is empty");
    lua_Number offset = chance * (high - low + 1);
    lua_pushnumber(lua, low + (lua_Number)(int64_t)offset);
    return 1;
}

static int safe_randomseed(lua_State *lua) {
    interpreter_of(lua)->random = (uint64_t)(uint32_t)luaL_checkint(lua, 1) << 16 | 0x330e;
    return 0;
}

/* -- opening -- */

static const luaL_Reg libraries[] = {
    {"", luaopen_base},
    {LUA_TABLIBNAME, luaopen_table},
    {LUA_STRLIBNAME, luaopen_string},
    {LUA_MATHLIBNAME, luaopen_math},
};

static const luaL_Reg codecs[] = {
    {"cjson", luaopen_cjson},
    {"cmsgpack", messagepack_open},
    {"bit", bits_open},
    {"struct", packing_open},
};

static const char *const removed[] = {"print",   "loadfile", "dofile", "getfenv",
                                      "setfenv", "newproxy", "gcinfo"};

static const luaL_Reg replaced[] = {
    {"load", safe_load},     {"loadstring", safe_loadstring},     {"rawset", safe_rawset},
    {"rawget", safe_rawget}, {"setmetatable", safe_setmetatable}, {"next", safe_next},
    {"pairs", safe_pairs},
};

static const char *const tables[] = {LUA_TABLIBNAME, LUA_STRLIBNAME, LUA_MATHLIBNAME, LUA_COLIBNAME,
                                     "cjson",        "cmsgpack",     "bit",           "struct"};

static void set_function(lua_State *lua, const char *table, const char *name, lua_CFunction fn) {
    lua_getglobal(lua, table);
    lua_pushcfunction(lua, fn);
    lua_setfield(lua, -2, name);
    lua_pop(lua, 1);
}

static void open_libraries(lua_State *lua) {
    for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++) {
        lua_pushcfunction(lua, libraries[i].func);
        lua_pushstring(lua, libraries[i].name);
        lua_call(lua, 1, 0);
    }
    for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++) {
        lua_pushcfunction(lua, codecs[i].func);
        lua_call(lua, 0, 1);
        lua_setglobal(lua, codecs[i].name);
    }
    for (size_t i = 0; i < sizeof(removed) / sizeof(removed[0]); i++) {
        lua_pushnil(lua);
        lua_setglobal(lua, removed[i]);
    }
    for (size_t i = 0; i < sizeof(replaced) / sizeof(replaced[0]); i++) {
        lua_pushcfunction(lua, replaced[i].func);
        lua_setglobal(lua, replaced[i].name);
    }
    set_function(lua, LUA_TABLIBNAME, "insert", safe_insert);
    set_function(lua, LUA_MATHLIBNAME, "random", safe_random);
    set_function(lua, LUA_MATHLIBNAME, "randomseed", safe_randomseed);
}

/* The methods of strings are the table `string` itself: nobody may get hold of it. */
static void hide_string_methods(lua_State *lua) {
    lua_pushliteral(lua, "");
    lua_getmetatable(lua, -1);
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_pop(lua, 2);
}

static void create_protected_set(lua_State *lua) {
    lua_newtable(lua);
    lua_createtable(lua, 0, 1);
    lua_pushliteral(lua, "k");
    lua_setfield(lua, -2, "__mode");
    lua_setmetatable(lua, -2);
    script_register(lua, &protected_key);
}

void sandbox_open(lua_State *lua) {
    open_libraries(lua);
    hide_string_methods(lua);
    create_protected_set(lua);
    lua_pushvalue(lua, LUA_GLOBALSINDEX);
    script_register(lua, &globals_key);
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        lua_getglobal(lua, tables[i]);
        sandbox_protect(lua);
        sandbox_set_global(lua, tables[i]);
    }
    script_push_registered(lua, &globals_key);
    sandbox_make_strict(lua);
    sandbox_protect(lua);
    lua_pushvalue(lua, -1);
    sandbox_set_global(lua, "_G");
    lua_replace(lua, LUA_GLOBALSINDEX); // What is compiled from now on lives in it.
}

void sandbox_make_strict(lua_State *lua) {
    lua_createtable(lua, 0, 1);
    lua_pushcfunction(lua, unknown_global);
    lua_setfield(lua, -2, "__index");
    lua_setmetatable(lua, -2);
}

void sandbox_show(lua_State *lua) {
    sandbox_make_strict(lua);
    lua_getmetatable(lua, LUA_GLOBALSINDEX);
    lua_pushvalue(lua, -2);
    lua_setfield(lua, -2, "__index");
    lua_pop(lua, 1);
    script_push_registered(lua, &protected_key);
    lua_pushvalue(lua, LUA_GLOBALSINDEX);
    lua_pushvalue(lua, -3);
    lua_rawset(lua, -3);
    lua_pop(lua, 2);
}

void sandbox_show_globals(lua_State *lua) {
    script_push_registered(lua, &globals_key);
    sandbox_show(lua);
}

/* Replies as Lua values, and Lua values as replies, as redis 7.0 converts them. */
#include <string.h>

#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/script/script_internal.h"

enum { PRESIZE_MAX = 1024 * 1024, STACK_A_LEVEL = 8 };

/* -- RESP to Lua. What is read was written by this server's own commands. -- */

/* The line up to CRLF, without the type byte; moves on behind it. */
static struct bytes take_line(struct bytes *encoded) {
    const uint8_t *end = memchr(encoded->data, '\r', encoded->len);
    struct bytes line = bytes_of(encoded->data + 1, (size_t)(end - encoded->data) - 1);
    *encoded = bytes_from(*encoded, line.len + 3);
    return line;
}

static int64_t to_number(struct bytes line) {
    int64_t value = 0;
    (void)number_parse_i64(line, &value);
    return value;
}

static void push_bytes(lua_State *lua, struct bytes bytes) {
    lua_pushlstring(lua, (const char *)bytes.data, bytes.len);
}

/* {name = text} */
static void push_field(lua_State *lua, const char *name, struct bytes text) {
    lua_createtable(lua, 0, 1);
    push_bytes(lua, text);
    lua_setfield(lua, -2, name);
}

static struct bytes take_bulk(struct bytes *encoded, int64_t len) {
    struct bytes value = bytes_of(encoded->data, (size_t)len);
    *encoded = bytes_from(*encoded, (size_t)len + 2);
    return value;
}

static int presize(int64_t count) {
    return (int)(count < PRESIZE_MAX ? count : PRESIZE_MAX);
}

static void push_array(lua_State *lua, struct bytes *encoded, int64_t count) {
    lua_createtable(lua, presize(count), 0);
    for (int64_t i = 1; i <= count; i++) {
        value_push(lua, encoded);
        lua_rawseti(lua, -2, (int)i);
    }
}

/* {map = {...}} or {set = {member = true, ...}} */
static void push_keyed(lua_State *lua, struct bytes *encoded, int64_t count, bool is_map) {
    lua_createtable(lua, 0, 1);
    lua_createtable(lua, 0, presize(count));
    for (int64_t i = 0; i < count; i++) {
        value_push(lua, encoded);
        if (is_map) {
            value_push(lua, encoded);
        } else {
            lua_pushboolean(lua, 1);
        }
        lua_rawset(lua, -3);
    }
    lua_setfield(lua, -2, is_map ? "map" : "set");
}

/* "txt:..." */
static void push_verbatim(lua_State *lua, struct bytes text) {
    lua_createtable(lua, 0, 1);
    push_field(lua, "string", bytes_from(text, 4));
    push_bytes(lua, bytes_of(text.data, 3));
    lua_setfield(lua, -2, "format");
    lua_setfield(lua, -2, "verbatim_string");
}

static void push_double(lua_State *lua, struct bytes line) {
    double value = 0;
    (void)number_parse_double(line, &value);
    lua_createtable(lua, 0, 1);
    lua_pushnumber(lua, value);
    lua_setfield(lua, -2, "double");
}

/* Behind '$' or '*'. */
static void push_sized(lua_State *lua, uint8_t type, int64_t len, struct bytes *encoded) {
    if (len < 0) {
        lua_pushboolean(lua, 0);
    } else if (type == '*') {
        push_array(lua, encoded, len);
    } else {
        push_bytes(lua, take_bulk(encoded, len));
    }
}

void value_push(lua_State *lua, struct bytes *encoded) {
    luaL_checkstack(lua, STACK_A_LEVEL, "the reply is nested too deeply");
    uint8_t type = encoded->data[0];
    struct bytes line = take_line(encoded);
    switch (type) {
    case '+':
        push_field(lua, "ok", line);
        break;
    case '-':
        push_field(lua, "err", line);
        break;
    case ':':
        lua_pushnumber(lua, (lua_Number)to_number(line));
        break;
    case '$':
    case '*':
        push_sized(lua, type, to_number(line), encoded);
        break;
    case '=':
        push_verbatim(lua, take_bulk(encoded, to_number(line)));
        break;
    case '%':
    case '~':
        push_keyed(lua, encoded, to_number(line), type == '%');
        break;
    case '#':
        lua_pushboolean(lua, line.data[0] == 't');
        break;
    case ',':
        push_double(lua, line);
        break;
    case '(':
        push_field(lua, "big_number", line);
        break;
    default: // '_'
        lua_pushnil(lua);
    }
}

/* -- Lua to RESP -- */

static struct bytes text_at(lua_State *lua, int index) {
    size_t len = 0;
    const char *text = lua_tolstring(lua, index, &len);
    return bytes_of(text, len);
}

/* The field of the table on top, pushed when it has this type; else nothing is. */
static bool push_if(lua_State *lua, const char *name, int type) {
    lua_pushstring(lua, name);
    lua_rawget(lua, -2);
    if (lua_type(lua, -1) == type) return true;
    lua_pop(lua, 1);
    return false;
}

/* A copy that fits into one line. mem_free it. */
static char *one_line(struct bytes text) {
    while (text.len > 0 && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        text.len--;
    char *copy = bytes_copy_text(text);
    for (char *at = copy; *at != '\0'; at++) {
        if (*at == '\r' || *at == '\n') *at = ' ';
    }
    return copy;
}

static void reply_line(struct reply *reply, struct bytes text,
                       void (*answer)(struct reply *reply, const char *line)) {
    char *line = one_line(text);
    answer(reply, line);
    mem_free(line);
}

static void reply_list(lua_State *lua, struct reply *reply, int script_resp) {
    size_t mark = reply_begin(reply);
    size_t count = 0;
    for (;;) {
        lua_rawgeti(lua, -1, (int)count + 1);
        if (lua_isnil(lua, -1)) break;
        value_reply(lua, reply, script_resp);
        count++;
    }
    lua_pop(lua, 1);
    reply_end_array(reply, mark, count);
}

/* The table on top as a map, or its keys as a set. */
static void reply_keyed(lua_State *lua, struct reply *reply, int script_resp, bool is_map) {
    size_t mark = reply_begin(reply);
    size_t count = 0;
    lua_pushnil(lua);
    while (lua_next(lua, -2) != 0) {
        lua_pushvalue(lua, -2);
        value_reply(lua, reply, script_resp);
        if (is_map) {
            value_reply(lua, reply, script_resp);
        } else {
            lua_pop(lua, 1);
        }
        count++;
    }
    if (is_map) {
        reply_end_map(reply, mark, count);
    } else {
        reply_end_set(reply, mark, count);
    }
}

static void reply_big_number(struct reply *reply, const char *digits) {
    if (!reply_is_resp3(reply)) {
        reply_bulk_text(reply, digits);
        return;
    }
    struct buffer line = {0};
    buffer_append_format(&line, "(%s\r\n", digits);
    reply_raw(reply, buffer_view(&line));
    buffer_deinit(&line);
}

static void reply_verbatim_as(struct reply *reply, const char *format, struct bytes text) {
    if (!reply_is_resp3(reply)) {
        reply_bulk(reply, text);
        return;
    }
    struct buffer line = {0};
    buffer_append_format(&line, "=%zu\r\n%s:", text.len + 4, format);
    buffer_append_bytes(&line, text);
    buffer_append_text(&line, "\r\n");
    reply_raw(reply, buffer_view(&line));
    buffer_deinit(&line);
}

/* {format = "txt", string = "..."} on top. */
static void reply_verbatim_table(lua_State *lua, struct reply *reply) {
    lua_pushliteral(lua, "string");
    lua_rawget(lua, -2);
    lua_pushliteral(lua, "format");
    lua_rawget(lua, -3);
    if (lua_type(lua, -2) == LUA_TSTRING && lua_type(lua, -1) == LUA_TSTRING &&
        text_at(lua, -1).len == 3) {
        char *format = one_line(text_at(lua, -1));
        reply_verbatim_as(reply, format, text_at(lua, -2));
        mem_free(format);
    } else {
        reply_null(reply);
    }
    lua_pop(lua, 2);
}

static void reply_table(lua_State *lua, struct reply *reply, int script_resp) {
    if (push_if(lua, "err", LUA_TSTRING)) {
        reply_line(reply, text_at(lua, -1), reply_error);
    } else if (push_if(lua, "ok", LUA_TSTRING)) {
        reply_line(reply, text_at(lua, -1), reply_simple);
    } else if (push_if(lua, "double", LUA_TNUMBER)) {
        reply_double(reply, lua_tonumber(lua, -1));
    } else if (push_if(lua, "map", LUA_TTABLE)) {
        reply_keyed(lua, reply, script_resp, true);
    } else if (push_if(lua, "set", LUA_TTABLE)) {
        reply_keyed(lua, reply, script_resp, false);
    } else if (push_if(lua, "big_number", LUA_TSTRING)) {
        reply_line(reply, text_at(lua, -1), reply_big_number);
    } else if (push_if(lua, "verbatim_string", LUA_TTABLE)) {
        reply_verbatim_table(lua, reply);
    } else {
        reply_list(lua, reply, script_resp);
        return;
    }
    lua_pop(lua, 1);
}

static int64_t truncated(lua_Number value) {
    // What no integer can hold is what the processor makes of it.
    if (!(value >= -9223372036854775808.0 && value < 9223372036854775808.0)) return INT64_MIN;
    return (int64_t)value;
}

static void reply_boolean(struct reply *reply, bool value, int script_resp) {
    if (script_resp >= 3) {
        reply_bool(reply, value);
    } else if (value) {
        reply_integer(reply, 1);
    } else {
        reply_null(reply);
    }
}

void value_reply(lua_State *lua, struct reply *reply, int script_resp) {
    if (!lua_checkstack(lua, STACK_A_LEVEL)) {
        reply_error(reply, "ERR reached lua stack limit");
        lua_pop(lua, 1);
        return;
    }
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING:
        reply_bulk(reply, text_at(lua, -1));
        break;
    case LUA_TNUMBER:
        reply_integer(reply, truncated(lua_tonumber(lua, -1)));
        break;
    case LUA_TBOOLEAN:
        reply_boolean(reply, lua_toboolean(lua, -1), script_resp);
        break;
    case LUA_TTABLE:
        reply_table(lua, reply, script_resp);
        break;
    default:
        reply_null(reply);
    }
    lua_pop(lua, 1);
}

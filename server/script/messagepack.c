/* The library `cmsgpack`: Lua values as MessagePack and back, as scripts of redis 7.0 know it.
 *
 * pack(...)                 the values, one behind the other, as a string
 * unpack(text)              all values in it
 * unpack_one(text, offset)  the offset behind the first value (-1 at the end), and the value
 * unpack_limit(text, limit, offset)   the same for up to `limit` values
 *
 * A table whose keys are 1 to n is an array, any other one a map. What lies deeper than NESTING_MAX
 * tables is packed as nil; what is unpacked may be as deep as Lua's stack allows.
 */
#include <string.h>

#include "server/base/mem.h"
#include "server/script/script_internal.h"

enum { NESTING_MAX = 16 };

/* -- packing: into a buffer that is kept, since an error leaves by a jump -- */

static void put_bytes(struct buffer *out, uint8_t mark, uint64_t value, unsigned size) {
    uint8_t bytes[9] = {mark};
    for (unsigned i = 0; i < size; i++)
        bytes[1 + i] = (uint8_t)(value >> 8 * (size - 1 - i));
    buffer_append(out, bytes, 1 + size);
}

/* The shortest of the forms that begin with these marks: 8, 16 and 32 bits. */
static void put_length(struct buffer *out, uint8_t mark8, uint8_t mark16, size_t len) {
    if (mark8 != 0 && len <= 0xff) {
        put_bytes(out, mark8, len, 1);
    } else if (len <= 0xffff) {
        put_bytes(out, mark16, len, 2);
    } else {
        put_bytes(out, (uint8_t)(mark16 + 1), len, 4);
    }
}

static void put_integer(struct buffer *out, int64_t value) {
    if (value >= 0) {
        if (value <= 127) {
            buffer_append_u8(out, (uint8_t)value);
        } else if (value <= 0xff) {
            put_bytes(out, 0xcc, (uint64_t)value, 1);
        } else if (value <= 0xffff) {
            put_bytes(out, 0xcd, (uint64_t)value, 2);
        } else if (value <= 0xffffffff) {
            put_bytes(out, 0xce, (uint64_t)value, 4);
        } else {
            put_bytes(out, 0xcf, (uint64_t)value, 8);
        }
    } else if (value >= -32) {
        buffer_append_u8(out, (uint8_t)value);
    } else if (value >= INT8_MIN) {
        put_bytes(out, 0xd0, (uint64_t)value, 1);
    } else if (value >= INT16_MIN) {
        put_bytes(out, 0xd1, (uint64_t)value, 2);
    } else if (value >= INT32_MIN) {
        put_bytes(out, 0xd2, (uint64_t)value, 4);
    } else {
        put_bytes(out, 0xd3, (uint64_t)value, 8);
    }
}

static void put_number(struct buffer *out, double value) {
    bool is_integer = value >= -9223372036854775808.0 && value < 9223372036854775808.0 &&
                      (double)(int64_t)value == value;
    float narrow = (float)value;
    if (is_integer) {
        put_integer(out, (int64_t)value);
    } else if ((double)narrow == value) {
        uint32_t bits;
        memcpy(&bits, &narrow, sizeof(bits));
        put_bytes(out, 0xca, bits, 4);
    } else {
        uint64_t bits;
        memcpy(&bits, &value, sizeof(bits));
        put_bytes(out, 0xcb, bits, 8);
    }
}

static void put_string(lua_State *lua, struct buffer *out) {
    size_t len = 0;
    const char *text = lua_tolstring(lua, -1, &len);
    if (len < 32) {
        buffer_append_u8(out, (uint8_t)(0xa0 | len));
    } else {
        put_length(out, 0xd9, 0xda, len);
    }
    buffer_append(out, text, len);
}

/* How many pairs the table on top has; *out_is_array when their keys are 1 to that many. */
static size_t measure(lua_State *lua, bool *out_is_array) {
    size_t count = 0;
    size_t largest = 0;
    bool has_others = false;
    lua_pushnil(lua);
    while (lua_next(lua, -2) != 0) {
        lua_pop(lua, 1);
        lua_Number key = lua_type(lua, -1) == LUA_TNUMBER ? lua_tonumber(lua, -1) : 0;
        has_others = has_others || !(key >= 1 && key <= INT32_MAX && key == (lua_Number)(int)key);
        if (!has_others && (size_t)key > largest) largest = (size_t)key;
        count++;
    }
    *out_is_array = !has_others && largest == count;
    return count;
}

static void put_value(lua_State *lua, struct buffer *out, int depth);

static void put_table(lua_State *lua, struct buffer *out, int depth) {
    bool is_array;
    size_t count = measure(lua, &is_array);
    if (count < 16) {
        buffer_append_u8(out, (uint8_t)((is_array ? 0x90 : 0x80) | count));
    } else {
        put_length(out, 0, is_array ? 0xdc : 0xde, count);
    }
    if (is_array) {
        for (size_t i = 1; i <= count; i++) {
            lua_rawgeti(lua, -1, (int)i);
            put_value(lua, out, depth);
            lua_pop(lua, 1);
        }
        return;
    }
    lua_pushnil(lua);
    while (lua_next(lua, -2) != 0) {
        lua_pushvalue(lua, -2);
        put_value(lua, out, depth);
        lua_pop(lua, 1);
        put_value(lua, out, depth);
        lua_pop(lua, 1);
    }
}

/* The value on top, which stays there. */
static void put_value(lua_State *lua, struct buffer *out, int depth) {
    luaL_checkstack(lua, 4, "in function mp_encode_lua_table");
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING:
        put_string(lua, out);
        break;
    case LUA_TBOOLEAN:
        buffer_append_u8(out, lua_toboolean(lua, -1) ? 0xc3 : 0xc2);
        break;
    case LUA_TNUMBER:
        put_number(out, lua_tonumber(lua, -1));
        break;
    case LUA_TTABLE:
        if (depth < NESTING_MAX) {
            put_table(lua, out, depth + 1);
            break;
        }
        buffer_append_u8(out, 0xc0);
        break;
    default:
        buffer_append_u8(out, 0xc0);
    }
}

static int pack(lua_State *lua) {
    int count = lua_gettop(lua);
    if (count == 0) return luaL_argerror(lua, 0, "MessagePack pack needs input.");
    struct buffer *out = &interpreter_of(lua)->packed;
    buffer_clear(out);
    for (int i = 1; i <= count; i++) {
        luaL_checkstack(lua, 1, "in function MessagePack check");
        lua_pushvalue(lua, i);
        put_value(lua, out, 0);
        lua_pop(lua, 1);
    }
    lua_pushlstring(lua, (const char *)out->data, out->len);
    return 1;
}

/* -- unpacking -- */

struct input {
    const uint8_t *at;
    size_t left;
};

static int fail_short(lua_State *lua) {
    return luaL_error(lua, "Missing bytes in input.");
}

/* `size` bytes, most significant first; moves on. */
static uint64_t take(lua_State *lua, struct input *input, unsigned size) {
    if (input->left < size) fail_short(lua);
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value = value << 8 | input->at[i];
    input->at += size;
    input->left -= size;
    return value;
}

static void push_text(lua_State *lua, struct input *input, uint64_t len) {
    if (input->left < len) fail_short(lua);
    lua_pushlstring(lua, (const char *)input->at, len);
    input->at += len;
    input->left -= len;
}

static void push_one(lua_State *lua, struct input *input);

static void push_array_of(lua_State *lua, struct input *input, uint64_t count) {
    lua_newtable(lua);
    for (uint64_t i = 1; i <= count; i++) {
        lua_pushnumber(lua, (lua_Number)i);
        push_one(lua, input);
        lua_settable(lua, -3);
    }
}

static void push_map_of(lua_State *lua, struct input *input, uint64_t count) {
    lua_newtable(lua);
    for (; count > 0; count--) {
        push_one(lua, input);
        push_one(lua, input);
        lua_settable(lua, -3);
    }
}

static void push_float(lua_State *lua, uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof(value));
    lua_pushnumber(lua, value);
}

static void push_double(lua_State *lua, uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof(value));
    lua_pushnumber(lua, value);
}

/* Marks from 0xc0 to 0xdf. */
static void push_marked(lua_State *lua, struct input *input, uint8_t mark) {
    switch (mark) {
    case 0xc0:
        lua_pushnil(lua);
        break;
    case 0xc2:
    case 0xc3:
        lua_pushboolean(lua, mark == 0xc3);
        break;
    case 0xca:
        push_float(lua, (uint32_t)take(lua, input, 4));
        break;
    case 0xcb:
        push_double(lua, take(lua, input, 8));
        break;
    case 0xcc:
    case 0xcd:
    case 0xce:
        lua_pushnumber(lua, (lua_Number)take(lua, input, 1u << (mark - 0xcc)));
        break;
    case 0xcf: // What has the highest bit set comes out negative: so redis 7.0 reads it.
    case 0xd3:
        lua_pushnumber(lua, (lua_Number)(int64_t)take(lua, input, 8));
        break;
    case 0xd0:
        lua_pushnumber(lua, (int8_t)take(lua, input, 1));
        break;
    case 0xd1:
        lua_pushnumber(lua, (int16_t)take(lua, input, 2));
        break;
    case 0xd2:
        lua_pushnumber(lua, (int32_t)take(lua, input, 4));
        break;
    case 0xd9:
    case 0xda:
    case 0xdb:
        push_text(lua, input, take(lua, input, 1u << (mark - 0xd9)));
        break;
    case 0xdc:
    case 0xdd:
        push_array_of(lua, input, take(lua, input, mark == 0xdc ? 2 : 4));
        break;
    case 0xde:
    case 0xdf:
        push_map_of(lua, input, take(lua, input, mark == 0xde ? 2 : 4));
        break;
    default:
        luaL_error(lua, "Bad data format in input.");
    }
}

static void push_one(lua_State *lua, struct input *input) {
    luaL_checkstack(lua, 4,
                    "too many return values at once; use unpack_one or unpack_limit instead.");
    uint8_t mark = (uint8_t)take(lua, input, 1);
    if (mark <= 0x7f || mark >= 0xe0) {
        lua_pushnumber(lua, (int8_t)mark);
    } else if (mark <= 0x8f) {
        push_map_of(lua, input, mark & 0xf);
    } else if (mark <= 0x9f) {
        push_array_of(lua, input, mark & 0xf);
    } else if (mark <= 0xbf) {
        push_text(lua, input, mark & 0x1f);
    } else {
        push_marked(lua, input, mark);
    }
}

/* Up to `limit` values from an offset on, behind the new offset; with 0 and 0 all values alone. */
static int unpack_some(lua_State *lua, int limit, int offset) {
    size_t len = 0;
    const char *text = luaL_checklstring(lua, 1, &len);
    if (offset < 0 || limit < 0)
        return luaL_error(lua, "Invalid request to unpack with offset of %d and limit of %d.",
                          offset, (int)len);
    if ((size_t)offset > len)
        return luaL_error(lua, "Start offset %d greater than input length %d.", offset, (int)len);
    struct input input = {(const uint8_t *)text + offset, len - (size_t)offset};
    bool takes_all = limit == 0 && offset == 0;
    int count = 0;
    for (; input.left > 0 && (takes_all || count < limit); count++) {
        luaL_checkstack(lua, 1, "in function mp_unpack_full");
        push_one(lua, &input);
    }
    if (takes_all) return count;
    luaL_checkstack(lua, 1, "in function mp_unpack_full");
    lua_pushinteger(lua, input.left == 0 ? -1 : (lua_Integer)(len - input.left));
    lua_insert(lua, 2);
    return count + 1;
}

static int unpack_all(lua_State *lua) {
    lua_settop(lua, 1);
    return unpack_some(lua, 0, 0);
}

static int unpack_one(lua_State *lua) {
    int offset = luaL_optint(lua, 2, 0);
    lua_settop(lua, 1);
    return unpack_some(lua, 1, offset);
}

static int unpack_limit(lua_State *lua) {
    int limit = luaL_checkint(lua, 2);
    int offset = luaL_optint(lua, 3, 0);
    lua_settop(lua, 1);
    return unpack_some(lua, limit, offset);
}

static const luaL_Reg functions[] = {
    {"pack", pack},
    {"unpack", unpack_all},
    {"unpack_one", unpack_one},
    {"unpack_limit", unpack_limit},
    {NULL, NULL},
};

int messagepack_open(lua_State *lua) {
    lua_newtable(lua);
    luaL_register(lua, NULL, functions);
    return 1;
}

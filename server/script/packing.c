/* The library `struct`: values as bytes of a given layout and back, as scripts of redis 7.0 know
 * it.
 *
 * A format is read letter by letter: '<' '>' the order of bytes from here on, '!n' the largest
 * alignment (a power of two; 8 without n), ' ' nothing; 'x' a byte of zero; 'b' 'h' 'i' 'l'
 * integers of 1, 2, 4 (or n: 'i3') and 8 bytes, in upper case without a sign, 'T' like 'L'; 'f' 'd'
 * floating point; 's' a text up to a zero; 'cn' n bytes, where 'c0' is all of the text, and in
 * unpack as many as the value before it says.
 */
#include <limits.h>
#include <string.h>

#include "server/script/script_internal.h"

enum { INTEGER_MAX_BYTES = 32, NATIVE_ALIGNMENT = 8, INT_BYTES = 4 };

struct layout {
    lua_State *lua;
    const char *format; /* What is left of it. */
    bool is_big_endian;
    size_t alignment;
};

struct item {
    char option;
    size_t size;
    size_t padding; /* In front of it. */
};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* A number in the format, or `absent` where none stands. */
static size_t read_count(struct layout *layout, size_t absent) {
    if (!is_digit(*layout->format)) return absent;
    size_t value = 0;
    while (is_digit(*layout->format)) {
        value = value * 10 + (size_t)(*layout->format++ - '0');
        if (value > INT_MAX) luaL_error(layout->lua, "integral size overflow");
    }
    return value;
}

static size_t read_integer_size(struct layout *layout) {
    size_t size = read_count(layout, INT_BYTES);
    if (size > INTEGER_MAX_BYTES)
        luaL_error(layout->lua, "integral size %d is larger than limit of %d", (int)size,
                   INTEGER_MAX_BYTES);
    return size;
}

static void read_alignment(struct layout *layout) {
    size_t alignment = read_count(layout, NATIVE_ALIGNMENT);
    if (alignment == 0 || (alignment & (alignment - 1)) != 0)
        luaL_error(layout->lua, "alignment %d is not a power of 2", (int)alignment);
    layout->alignment = alignment;
}

static size_t size_of_option(struct layout *layout, char option) {
    switch (option) {
    case 'B':
    case 'b':
    case 'x':
        return 1;
    case 'H':
    case 'h':
        return 2;
    case 'L':
    case 'l':
    case 'T':
    case 'd':
        return 8;
    case 'f':
        return 4;
    case 'c':
        return read_count(layout, 1);
    case 'i':
    case 'I':
        return read_integer_size(layout);
    default:
        return 0; // 's' tells its size itself; the others have none.
    }
}

static bool is_aligned(char option) {
    return strchr("bBhHlLTfdiI", option) != NULL;
}

/* The next letter of the format, `position` bytes from the beginning; false at the end. */
static bool next_item(struct layout *layout, size_t position, struct item *out) {
    char option = *layout->format;
    if (option == '\0') return false;
    layout->format++;
    *out = (struct item){.option = option, .size = size_of_option(layout, option)};
    size_t unit = out->size < layout->alignment ? out->size : layout->alignment;
    if (is_aligned(option) && unit > 1) // Sizes that are no powers of two are padded like this.
        out->padding = (unit - (position & (unit - 1))) & (unit - 1);
    return true;
}

/* True when the item stands for no bytes: what it says is done. */
static bool take_control(struct layout *layout, const struct item *item) {
    char option = item->option;
    if (option == 'x' || option == 's' || option == 'c' || is_aligned(option)) return false;
    switch (option) {
    case ' ':
        break;
    case '<':
    case '>':
        layout->is_big_endian = option == '>';
        break;
    case '!':
        read_alignment(layout);
        break;
    default:
        luaL_argerror(layout->lua, 1,
                      lua_pushfstring(layout->lua, "invalid format option '%c'", option));
    }
    return true;
}

static struct layout begin_layout(lua_State *lua) {
    return (struct layout){.lua = lua, .format = luaL_checkstring(lua, 1), .alignment = 1};
}

/* -- pack -- */

/* As a conversion of the machine has it, where C leaves it open. */
static uint64_t to_bits(lua_Number number) {
    const lua_Number half = 9223372036854775808.0; // 2^63
    if (number < 0) return number < -half ? (uint64_t)1 << 63 : (uint64_t)(int64_t)number;
    if (number < 2 * half) return (uint64_t)number;
    return number >= 2 * half ? 0 : (uint64_t)1 << 63; // The last: no number at all.
}

static void append_bytes(struct buffer *out, const uint8_t *bytes, size_t size, bool is_reversed) {
    for (size_t i = 0; i < size; i++)
        buffer_append_u8(out, bytes[is_reversed ? size - 1 - i : i]);
}

static void append_integer(struct buffer *out, uint64_t bits, size_t size, bool is_big_endian) {
    uint8_t bytes[INTEGER_MAX_BYTES] = {0};
    for (size_t i = 0; i < size; i++, bits >>= 8)
        bytes[i] = (uint8_t)bits;
    append_bytes(out, bytes, size, is_big_endian);
}

static void append_float(struct buffer *out, lua_Number number, size_t size, bool is_big_endian) {
    uint8_t bytes[sizeof(double)];
    float narrow = (float)number;
    if (size == sizeof(narrow)) {
        memcpy(bytes, &narrow, size);
    } else {
        memcpy(bytes, &number, size);
    }
    append_bytes(out, bytes, size, is_big_endian);
}

static void append_text(lua_State *lua, struct buffer *out, const struct item *item, int argument) {
    size_t len = 0;
    const char *text = luaL_checklstring(lua, argument, &len);
    bool is_whole = item->option == 's' || item->size == 0;
    if (!is_whole) luaL_argcheck(lua, len >= item->size, argument + 1, "string too short");
    buffer_append(out, text, is_whole ? len : item->size);
    if (item->option == 's') buffer_append_u8(out, 0);
}

static int packing_pack(lua_State *lua) {
    struct layout layout = begin_layout(lua);
    struct buffer *out = &interpreter_of(lua)->packed;
    struct item item;
    int argument = 2;
    buffer_clear(out);
    lua_pushnil(lua); // Behind the last argument there is nothing.
    while (next_item(&layout, out->len, &item)) {
        if (take_control(&layout, &item)) continue;
        for (size_t i = 0; i < item.padding; i++)
            buffer_append_u8(out, 0);
        switch (item.option) {
        case 'x':
            buffer_append_u8(out, 0);
            break;
        case 's':
        case 'c':
            append_text(lua, out, &item, argument++);
            break;
        case 'f':
        case 'd':
            append_float(out, luaL_checknumber(lua, argument++), item.size, layout.is_big_endian);
            break;
        default:
            append_integer(out, to_bits(luaL_checknumber(lua, argument++)), item.size,
                           layout.is_big_endian);
        }
    }
    lua_pushlstring(lua, (const char *)out->data, out->len);
    return 1;
}

/* -- unpack -- */

static lua_Number read_integer(const uint8_t *bytes, size_t size, bool is_big_endian,
                               bool is_signed) {
    uint64_t bits = 0;
    for (size_t i = 0; i < size; i++)
        bits = bits << 8 | bytes[is_big_endian ? i : size - 1 - i];
    if (!is_signed) return (lua_Number)bits;
    uint64_t sign = UINT64_MAX << ((size * 8 - 1) & 63);
    return (lua_Number)(int64_t)((bits & sign) != 0 ? bits | sign : bits);
}

static lua_Number read_float(const uint8_t *bytes, size_t size, bool is_big_endian) {
    uint8_t ordered[sizeof(double)];
    for (size_t i = 0; i < size; i++)
        ordered[i] = bytes[is_big_endian ? size - 1 - i : i];
    double wide = 0;
    float narrow = 0;
    if (size == sizeof(wide)) {
        memcpy(&wide, ordered, sizeof(wide));
        return wide;
    }
    memcpy(&narrow, ordered, sizeof(narrow));
    return narrow;
}

static void check_room(lua_State *lua, size_t len, size_t position, size_t size) {
    luaL_argcheck(lua, size <= len && position <= len - size, 2, "data string too short");
}

/* 'c0': the value that was read last says how many bytes. It is taken. */
static size_t take_size(lua_State *lua, bool has_value) {
    if (!has_value || !lua_isnumber(lua, -1)) luaL_error(lua, "format 'c0' needs a previous size");
    size_t size = (size_t)to_bits(lua_tonumber(lua, -1));
    lua_pop(lua, 1);
    return size;
}

/* The text at `position` up to its zero; returns how many bytes it takes. */
static size_t push_text(lua_State *lua, struct bytes data, size_t position) {
    const uint8_t *end = memchr(data.data + position, '\0', data.len - position);
    if (end == NULL) luaL_error(lua, "unfinished string in data");
    size_t len = (size_t)(end - data.data) - position;
    lua_pushlstring(lua, (const char *)data.data + position, len);
    return len + 1;
}

/* Pushes what the item stands for, if anything; returns how many bytes it took. Its size is there.
 */
static size_t push_item(const struct layout *layout, const struct item *item, struct bytes data,
                        size_t position, bool has_value) {
    lua_State *lua = layout->lua;
    size_t size = item->size;
    const uint8_t *bytes = data.data + position;
    switch (item->option) {
    case 'x':
        break;
    case 's':
        return push_text(lua, data, position);
    case 'c':
        if (size == 0) size = take_size(lua, has_value);
        check_room(lua, data.len, position, size);
        lua_pushlstring(lua, (const char *)bytes, size);
        break;
    case 'f':
    case 'd':
        lua_pushnumber(lua, read_float(bytes, size, layout->is_big_endian));
        break;
    default:
        lua_pushnumber(lua, read_integer(bytes, size, layout->is_big_endian,
                                         item->option >= 'a' && item->option <= 'z'));
    }
    return size;
}

static int packing_unpack(lua_State *lua) {
    struct layout layout = begin_layout(lua);
    struct item item;
    size_t len = 0;
    const char *text = luaL_checklstring(lua, 2, &len);
    lua_Integer first = luaL_optinteger(lua, 3, 1);
    luaL_argcheck(lua, first != 0, 3, "offset must be 1 or greater");
    size_t position = (size_t)first - 1;
    lua_settop(lua, 2);
    while (next_item(&layout, position, &item)) {
        position += item.padding;
        check_room(lua, len, position, item.size);
        if (take_control(&layout, &item)) continue;
        luaL_checkstack(lua, 2, "too many results");
        position += push_item(&layout, &item, bytes_of(text, len), position, lua_gettop(lua) > 2);
    }
    lua_pushinteger(lua, (lua_Integer)position + 1);
    return lua_gettop(lua) - 2;
}

/* -- size -- */

static int packing_size(lua_State *lua) {
    struct layout layout = begin_layout(lua);
    struct item item;
    size_t position = 0;
    while (next_item(&layout, position, &item)) {
        if (take_control(&layout, &item)) continue;
        if (item.option == 's') luaL_argerror(lua, 1, "option 's' has no fixed size");
        if (item.option == 'c' && item.size == 0)
            luaL_argerror(lua, 1, "option 'c0' has no fixed size");
        position += item.padding + item.size;
    }
    lua_pushinteger(lua, (lua_Integer)position);
    return 1;
}

int packing_open(lua_State *lua) {
    static const luaL_Reg functions[] = {
        {"pack", packing_pack},
        {"unpack", packing_unpack},
        {"size", packing_size},
        {NULL, NULL},
    };
    lua_newtable(lua);
    luaL_register(lua, NULL, functions);
    return 1;
}

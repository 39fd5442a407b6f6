/* The library `bit`: operations on the 32 low bits of numbers, whose results are signed. */
#include <stdio.h>

#include "server/script/script_internal.h"

/* The 32 low bits of a number's integer part, rounded as doubles are. */
static uint32_t bits_at(lua_State *lua, int index) {
    // Adding 2^52 * 1.5 leaves the integer in the low bits of the fraction.
    union {
        double number;
        uint64_t bits;
    } value = {.number = luaL_checknumber(lua, index) + 6755399441055744.0};
    return (uint32_t)value.bits;
}

static int push_bits(lua_State *lua, uint32_t bits) {
    lua_pushnumber(lua, (int32_t)bits);
    return 1;
}

static int bit_tobit(lua_State *lua) {
    return push_bits(lua, bits_at(lua, 1));
}

static int bit_bnot(lua_State *lua) {
    return push_bits(lua, ~bits_at(lua, 1));
}

static int bit_band(lua_State *lua) {
    uint32_t bits = bits_at(lua, 1);
    for (int i = lua_gettop(lua); i > 1; i--)
        bits &= bits_at(lua, i);
    return push_bits(lua, bits);
}

static int bit_bor(lua_State *lua) {
    uint32_t bits = bits_at(lua, 1);
    for (int i = lua_gettop(lua); i > 1; i--)
        bits |= bits_at(lua, i);
    return push_bits(lua, bits);
}

static int bit_bxor(lua_State *lua) {
    uint32_t bits = bits_at(lua, 1);
    for (int i = lua_gettop(lua); i > 1; i--)
        bits ^= bits_at(lua, i);
    return push_bits(lua, bits);
}

static int bit_lshift(lua_State *lua) {
    return push_bits(lua, bits_at(lua, 1) << (bits_at(lua, 2) & 31));
}

static int bit_rshift(lua_State *lua) {
    return push_bits(lua, bits_at(lua, 1) >> (bits_at(lua, 2) & 31));
}

static int bit_arshift(lua_State *lua) {
    return push_bits(lua, (uint32_t)((int32_t)bits_at(lua, 1) >> (bits_at(lua, 2) & 31)));
}

static uint32_t rotated_left(uint32_t bits, uint32_t count) {
    return bits << count | bits >> (-count & 31);
}

static int bit_rol(lua_State *lua) {
    return push_bits(lua, rotated_left(bits_at(lua, 1), bits_at(lua, 2) & 31));
}

static int bit_ror(lua_State *lua) {
    return push_bits(lua, rotated_left(bits_at(lua, 1), -bits_at(lua, 2) & 31));
}

static int bit_bswap(lua_State *lua) {
    return push_bits(lua, __builtin_bswap32(bits_at(lua, 1)));
}

/* tohex(number, digits): that many of the lowest digits; upper case when negative. */
static int bit_tohex(lua_State *lua) {
    uint32_t bits = bits_at(lua, 1);
    int32_t digits = lua_isnone(lua, 2) ? 8 : (int32_t)bits_at(lua, 2);
    char text[9];
    bool is_upper = digits < 0;
    if (is_upper) digits = digits == INT32_MIN ? 8 : -digits;
    if (digits > 8) digits = 8;
    snprintf(text, sizeof(text), is_upper ? "%08X" : "%08x", bits);
    lua_pushlstring(lua, text + 8 - digits, (size_t)digits);
    return 1;
}

static const luaL_Reg functions[] = {
    {"tobit", bit_tobit}, {"bnot", bit_bnot},     {"band", bit_band},     {"bor", bit_bor},
    {"bxor", bit_bxor},   {"lshift", bit_lshift}, {"rshift", bit_rshift}, {"arshift", bit_arshift},
    {"rol", bit_rol},     {"ror", bit_ror},       {"bswap", bit_bswap},   {"tohex", bit_tohex},
    {NULL, NULL},
};

int bits_open(lua_State *lua) {
    lua_newtable(lua);
    luaL_register(lua, NULL, functions);
    return 1;
}

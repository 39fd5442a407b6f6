/* The scripts that are kept by their SHA1. */
#include <stdio.h>
#include <string.h>

#include <openssl/sha.h>

#include "server/base/mem.h"
#include "server/script/script_internal.h"

static const char kept_key; /* In the registry: SHA1 -> {function, flags}. */
enum { KEPT_FUNCTION = 1, KEPT_FLAGS = 2 };

/* -- life -- */

const struct option script_option_rows[] = {
    {
        .name = "busy-reply-threshold",
        .alias = "lua-time-limit",
        .field = OPTION_MS(struct script_options, busy_after_ms),
        .range = {.initial = 5000, .max = INT64_MAX},
        .live = true,
        .doc = "Milliseconds after which others are answered BUSY while a script runs; 0: never.",
    },
};
const uint32_t script_option_count = sizeof(script_option_rows) / sizeof(script_option_rows[0]);

struct scripts *scripts_create(const struct script_options *options) {
    struct scripts *scripts = mem_alloc_zero(sizeof(struct scripts));
    scripts->options = options;
    scripts->libraries = libraries_create(scripts);
    return scripts;
}

void scripts_flush(struct scripts *scripts) {
    interpreter_close(&scripts->interpreter);
    atomic_store(&scripts->count, 0);
}

void scripts_destroy(struct scripts *scripts) {
    if (scripts == NULL) return;
    scripts_flush(scripts);
    libraries_destroy(scripts->libraries);
    mem_free(scripts);
}

void scripts_read_figures(const struct scripts *scripts, struct script_figures *out) {
    *out = (struct script_figures){
        .scripts = atomic_load_explicit(&scripts->count, memory_order_relaxed),
        .script_memory = atomic_load_explicit(&scripts->memory, memory_order_relaxed),
        .functions = atomic_load_explicit(&scripts->function_count, memory_order_relaxed),
        .libraries = atomic_load_explicit(&scripts->library_count, memory_order_relaxed),
        .library_memory = atomic_load_explicit(&scripts->library_memory, memory_order_relaxed),
        .library_bytes = atomic_load_explicit(&scripts->library_bytes, memory_order_relaxed),
    };
}

/* The interpreter, made when there is none. */
static lua_State *open_lua(struct scripts *scripts) {
    struct interpreter *interpreter = &scripts->interpreter;
    if (interpreter->lua != NULL) return interpreter->lua;
    interpreter_open(interpreter, scripts, &scripts->memory);
    redis_library_open(interpreter->lua, false);
    lua_newtable(interpreter->lua);
    script_register(interpreter->lua, &kept_key);
    return interpreter->lua;
}

void script_sha1(struct bytes text, char out[SHA1_TEXT + 1]) {
    uint8_t digest[SHA_DIGEST_LENGTH];
    SHA1(text.data, text.len, digest);
    for (int i = 0; i < SHA_DIGEST_LENGTH; i++)
        snprintf(out + i * 2, 3, "%02x", digest[i]);
}

/* -- the first line: "#!lua flags=no-writes,allow-oom" -- */

static const struct {
    const char *name;
    uint32_t flag;
} flag_names[] = {
    {"no-writes", SCRIPT_NO_WRITES},
    {"allow-oom", SCRIPT_ALLOW_OOM},
    {"allow-stale", SCRIPT_ALLOW_STALE},
    {"no-cluster", SCRIPT_NO_CLUSTER},
    {"allow-cross-slot-keys", SCRIPT_ALLOW_CROSS_SLOT},
};

uint32_t script_flag(struct bytes name, bool ignores_case) {
    for (size_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++) {
        const char *known = flag_names[i].name;
        if (ignores_case ? bytes_equal_text_nocase(name, known) : bytes_equal_text(name, known))
            return flag_names[i].flag;
    }
    return 0;
}

const char *script_flag_name(uint32_t index, uint32_t *out_flag) {
    if (index >= sizeof(flag_names) / sizeof(flag_names[0])) return NULL;
    *out_flag = flag_names[index].flag;
    return flag_names[index].name;
}

/* The part of `rest` up to the separator; moves behind that. */
static struct bytes take_part(struct bytes *rest, char separator) {
    const uint8_t *end = rest->len == 0 ? NULL : memchr(rest->data, separator, rest->len);
    size_t len = end == NULL ? rest->len : (size_t)(end - rest->data);
    struct bytes part = bytes_of(rest->data, len);
    *rest = bytes_from(*rest, end == NULL ? len : len + 1);
    return part;
}

static bool parse_flags(struct reply *reply, struct bytes names, uint32_t *inout_flags) {
    while (names.len > 0) {
        struct bytes name = take_part(&names, ',');
        uint32_t flag = script_flag(name, false);
        if (flag == 0) {
            reply_error_format(reply, "ERR Unexpected flag in script shebang: %.*s",
                               (int)(name.len < 128 ? name.len : 128), (const char *)name.data);
            return false;
        }
        *inout_flags |= flag;
    }
    return true;
}

/* Reads the first line if it is one of those; *inout_text is then what follows, beginning with the
 * line's end, so that lines are counted right. False after an error was answered. */
static bool parse_first_line(struct reply *reply, struct bytes *text, uint32_t *out_flags) {
    static const char prefix[] = "flags=";
    *out_flags = 0;
    if (text->len < 2 || memcmp(text->data, "#!", 2) != 0) return true;
    const uint8_t *end = memchr(text->data, '\n', text->len);
    if (end == NULL) {
        reply_error(reply, "ERR Invalid script shebang");
        return false;
    }
    struct bytes line = bytes_of(text->data, (size_t)(end - text->data));
    *text = bytes_from(*text, line.len);
    struct bytes engine = take_part(&line, ' ');
    if (!bytes_equal_text(engine, "#!lua")) {
        reply_error_format(reply, "ERR Unexpected engine in script shebang: %.*s",
                           (int)(engine.len < 128 ? engine.len : 128), (const char *)engine.data);
        return false;
    }
    *out_flags = SCRIPT_HAS_LINE;
    while (line.len > 0) {
        struct bytes word = take_part(&line, ' ');
        if (word.len == 0) continue;
        if (word.len < sizeof(prefix) - 1 || memcmp(word.data, prefix, sizeof(prefix) - 1) != 0) {
            reply_error_format(reply, "ERR Unknown lua shebang option: %.*s",
                               (int)(word.len < 128 ? word.len : 128), (const char *)word.data);
            return false;
        }
        if (!parse_flags(reply, bytes_from(word, sizeof(prefix) - 1), out_flags)) return false;
    }
    return true;
}

/* -- keeping -- */

bool script_find(struct scripts *scripts, const char *sha1, uint32_t *out_flags) {
    lua_State *lua = scripts->interpreter.lua;
    if (lua == NULL) return false;
    script_push_registered(lua, &kept_key);
    lua_pushlstring(lua, sha1, SHA1_TEXT);
    lua_rawget(lua, -2);
    lua_remove(lua, -2);
    if (!lua_istable(lua, -1)) {
        lua_pop(lua, 1);
        return false;
    }
    lua_rawgeti(lua, -1, KEPT_FLAGS);
    *out_flags = (uint32_t)lua_tonumber(lua, -1);
    lua_pop(lua, 1);
    lua_rawgeti(lua, -1, KEPT_FUNCTION);
    lua_remove(lua, -2);
    return true;
}

/* The function on top is kept and stays there. */
static void keep(struct scripts *scripts, const char *sha1, uint32_t flags) {
    lua_State *lua = scripts->interpreter.lua;
    script_push_registered(lua, &kept_key);
    lua_pushlstring(lua, sha1, SHA1_TEXT);
    lua_createtable(lua, 2, 0);
    lua_pushvalue(lua, -4);
    lua_rawseti(lua, -2, KEPT_FUNCTION);
    lua_pushnumber(lua, flags);
    lua_rawseti(lua, -2, KEPT_FLAGS);
    lua_rawset(lua, -3);
    lua_pop(lua, 1);
    atomic_fetch_add(&scripts->count, 1);
}

bool script_load(struct command_context *context, struct bytes text, const char *sha1,
                 uint32_t *out_flags) {
    struct scripts *scripts = context->modules->scripts;
    if (script_find(scripts, sha1, out_flags)) return true;
    if (!parse_first_line(context->reply, &text, out_flags)) return false;
    lua_State *lua = open_lua(scripts);
    if (interpreter_compile(lua, text, "@user_script")) {
        keep(scripts, sha1, *out_flags);
        return true;
    }
    reply_error_format(context->reply, "ERR Error compiling script (new function): %s",
                       lua_tostring(lua, -1));
    lua_pop(lua, 1);
    return false;
}

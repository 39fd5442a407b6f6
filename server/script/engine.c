/* The interpreter, the scripts that it keeps, and how one runs. */
#include <stdio.h>
#include <string.h>

#include <openssl/sha.h>

#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/script/script_internal.h"

static const char kept_key; /* In the registry: SHA1 -> {function, flags}. */
enum { KEPT_FUNCTION = 1, KEPT_FLAGS = 2 };

#define SOURCE_NAME "@user_script"
enum { READING_MAX_MS = 60000, LOOK_MS = 5000, WATCH_INSTRUCTIONS = 100000 };
#define RANDOM_START 0x1234abcd330e /* Where the C library's lrand48 begins. */

/* -- life -- */

static void *allocate(void *state, void *block, size_t old_size, size_t size) {
    struct scripts *scripts = state;
    if (size == 0) {
        mem_free(block);
        atomic_fetch_sub_explicit(&scripts->memory, old_size, memory_order_relaxed);
        return NULL;
    }
    void *fresh = mem_try_realloc(block, size);
    if (fresh != NULL)
        atomic_fetch_add_explicit(&scripts->memory, size - old_size, memory_order_relaxed);
    return fresh;
}

struct scripts *scripts_of(lua_State *lua) {
    void *state = NULL;
    lua_getallocf(lua, &state);
    return state;
}

struct scripts *scripts_create(void) {
    return mem_alloc_zero(sizeof(struct scripts));
}

void scripts_flush(struct scripts *scripts) {
    if (scripts->lua != NULL) lua_close(scripts->lua);
    scripts->lua = NULL;
    atomic_store(&scripts->count, 0);
    mem_free(scripts->words);
    scripts->words = NULL;
    scripts->word_cap = 0;
    buffer_deinit(&scripts->numbers);
    buffer_deinit(&scripts->packed);
}

void scripts_destroy(struct scripts *scripts) {
    if (scripts == NULL) return;
    scripts_flush(scripts);
    mem_free(scripts);
}

uint64_t scripts_count(const struct scripts *scripts) {
    return atomic_load_explicit(&scripts->count, memory_order_relaxed);
}

uint64_t scripts_memory(const struct scripts *scripts) {
    return atomic_load_explicit(&scripts->memory, memory_order_relaxed);
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

lua_State *scripts_lua(struct scripts *scripts) {
    if (scripts->lua != NULL) return scripts->lua;
    lua_State *lua = lua_newstate(allocate, scripts);
    ASSERT(lua != NULL);
    scripts->lua = lua;
    scripts->random = RANDOM_START;
    lua_newtable(lua);
    script_register(lua, &kept_key);
    sandbox_open(lua);
    redis_library_open(lua);
    return lua;
}

void script_sha1(struct bytes text, char out[SHA1_TEXT + 1]) {
    uint8_t digest[SHA_DIGEST_LENGTH];
    SHA1(text.data, text.len, digest);
    for (int i = 0; i < SHA_DIGEST_LENGTH; i++)
        snprintf(out + i * 2, 3, "%02x", digest[i]);
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
        uint32_t flag = 0;
        for (size_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++) {
            if (bytes_equal_text(name, flag_names[i].name)) flag = flag_names[i].flag;
        }
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
    lua_State *lua = scripts->lua;
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
    lua_State *lua = scripts->lua;
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
    lua_State *lua = scripts_lua(scripts);
    // Byte code is not compiled but believed, and can do anything to the process.
    bool is_text = text.len == 0 || text.data[0] != (uint8_t)LUA_SIGNATURE[0];
    if (is_text && luaL_loadbuffer(lua, (const char *)text.data, text.len, SOURCE_NAME) == 0) {
        keep(scripts, sha1, *out_flags);
        return true;
    }
    reply_error_format(context->reply, "ERR Error compiling script (new function): %s",
                       is_text ? lua_tostring(lua, -1) : "attempt to load chunk with wrong mode");
    if (is_text) lua_pop(lua, 1);
    return false;
}

/* -- running -- */

/* Makes the error a table that says where it happened: {err, source, line}. */
static int note_place(lua_State *lua) {
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

static void set_words(lua_State *lua, const char *name, const struct bytes *words, uint32_t count) {
    lua_createtable(lua, (int)count, 0);
    for (uint32_t i = 0; i < count; i++) {
        lua_pushlstring(lua, (const char *)words[i].data, words[i].len);
        lua_rawseti(lua, -2, (int)i + 1);
    }
    sandbox_set_global(lua, name);
}

/* Called every so many instructions. While a script runs nobody can ask for SCRIPT KILL, so one
 * that runs for long ends by itself, unless it has written something: that is never left half done.
 */
static void watch(lua_State *lua, lua_Debug *activation) {
    (void)activation;
    struct scripts *scripts = scripts_of(lua);
    uint64_t now_ms = clock_monotonic_ms();
    if (now_ms < scripts->next_look_ms) return;
    if (!scripts->running->has_written && now_ms - scripts->began_ms >= READING_MAX_MS) {
        // Also where the script catches errors: whatever it does next fails as well.
        lua_sethook(scripts->lua, watch, LUA_MASKCOUNT, 1);
        lua_sethook(lua, watch, LUA_MASKCOUNT, 1);
        script_raise(lua, "ERR Script stopped: it ran for 60 seconds and has written nothing yet");
        return;
    }
    log_warning("A script runs for %llu ms, and everything waits for it",
                (unsigned long long)(now_ms - scripts->began_ms));
    scripts->next_look_ms = now_ms + LOOK_MS;
}

static void watch_begin(struct scripts *scripts) {
    scripts->began_ms = clock_monotonic_ms();
    scripts->next_look_ms = scripts->began_ms + LOOK_MS;
    lua_sethook(scripts->lua, watch, LUA_MASKCOUNT, WATCH_INSTRUCTIONS);
}

void script_run(struct command_context *context, const char *sha1, uint32_t flags,
                uint32_t key_count) {
    struct scripts *scripts = context->modules->scripts;
    lua_State *lua = scripts->lua;
    bool is_read_only = (context->command->flags & COMMAND_READONLY) != 0;
    const struct script_rights rights = {
        .is_read_only = is_read_only || (flags & SCRIPT_NO_WRITES) != 0,
        .ignores_memory = (flags & SCRIPT_ALLOW_OOM) != 0,
        .keeps_to_one_slot =
            (flags & SCRIPT_HAS_LINE) != 0 && (flags & SCRIPT_ALLOW_CROSS_SLOT) == 0,
    };
    struct scripted running;
    int base = lua_gettop(lua) - 1;
    lua_pushcfunction(lua, note_place);
    lua_insert(lua, -2);
    set_words(lua, "KEYS", context->argv + 3, key_count);
    set_words(lua, "ARGV", context->argv + 3 + key_count, context->argc - 3 - key_count);
    scripted_begin(&running, context, &rights);
    scripts->running = &running;
    watch_begin(scripts);
    if (lua_pcall(lua, 0, 1, base + 1) == 0) {
        value_reply(lua, context->reply, running.session.reply.resp);
    } else {
        reply_failure(lua, context->reply, sha1);
    }
    scripts->running = NULL;
    scripted_end(&running);
    lua_settop(lua, base);
    context_propagate_nothing(context); // Its commands have noted their own effects.
}

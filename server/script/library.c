/* One library of functions: from its source to what FCALL can call. */
#include <string.h>

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/base/words.h"
#include "server/script/script_internal.h"

enum { LOAD_WATCH_INSTRUCTIONS = 10000, METADATA_WORDS_MAX = 64, FIRST_FUNCTIONS = 4 };

#define SOURCE_NAME "@user_function"
#define UNKNOWN_ARGUMENT "ERR unknown argument given to redis.register_function"
#define BAD_NAME                                                                                   \
    "Library names can only contain letters, numbers, or underscores(_) and must be at least "     \
    "one character long"

/* -- the first line: "#!lua name=mylib" -- */

static bool is_name(struct bytes name) {
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && c != '_') return false;
    }
    return name.len > 0;
}

static struct bytes first_line(struct bytes source) {
    const uint8_t *end = memchr(source.data, '\n', source.len);
    return bytes_of(source.data, end == NULL ? source.len : (size_t)(end - source.data));
}

static void append_word(struct buffer *error, const char *before, struct bytes word,
                        const char *behind) {
    buffer_append_text(error, before);
    buffer_append_bytes(error, bytes_of(word.data, word.len < 128 ? word.len : 128));
    buffer_append_text(error, behind);
}

/* The engine, then name=... once. */
static bool take_metadata(const struct words *words, struct buffer *error, struct bytes *out_name) {
    static const char prefix[] = "name=";
    const size_t prefix_len = sizeof(prefix) - 1;
    bool has_name = false;
    for (size_t i = 1; i < words->count; i++) {
        struct bytes word = words->items[i];
        bool is_name_word = word.len >= prefix_len &&
                            bytes_equal_text_nocase(bytes_of(word.data, prefix_len), prefix);
        if (!is_name_word) {
            append_word(error, "Invalid metadata value given: ", word, "");
            return false;
        }
        if (has_name) {
            buffer_append_text(error,
                               "Invalid metadata value, name argument was given multiple times");
            return false;
        }
        *out_name = bytes_from(word, prefix_len);
        has_name = true;
    }
    if (!has_name) buffer_append_text(error, "Library name was not given");
    return has_name;
}

static char *name_of(const struct words *words, struct buffer *error) {
    struct bytes name = {0};
    struct bytes engine = bytes_from(words->items[0], 2);
    if (!take_metadata(words, error, &name)) return NULL;
    if (!is_name(name)) {
        buffer_append_text(error, BAD_NAME);
        return NULL;
    }
    if (!bytes_equal_text_nocase(engine, "lua")) {
        append_word(error, "Engine '", engine, "' not found");
        return NULL;
    }
    return bytes_copy_text(name);
}

char *library_parse_name(struct bytes source, struct buffer *error) {
    if (source.len < 2 || memcmp(source.data, "#!", 2) != 0) {
        buffer_append_text(error, "Missing library metadata");
        return NULL;
    }
    struct words words = {0};
    struct bytes line = first_line(source);
    char *name = NULL;
    if (line.len == source.len || words_split(&words, line, METADATA_WORDS_MAX) != STATUS_OK ||
        words.count == 0) {
        buffer_append_text(error, "Invalid library metadata");
    } else {
        name = name_of(&words, error);
    }
    words_deinit(&words);
    return name;
}

/* -- redis.register_function -- */

struct registration {
    struct bytes name;
    struct bytes description;
    uint32_t flags;
    int callback; /* Where it lies on the stack. */
};

/* The text at `index`, which stays on the stack; false when it is none. */
static bool take_text(lua_State *lua, int index, struct bytes *out) {
    size_t len = 0;
    if (!lua_isstring(lua, index)) return false;
    const char *text = lua_tolstring(lua, index, &len);
    *out = bytes_of(text, len);
    return true;
}

static const char *take_flags(lua_State *lua, int index, uint32_t *out) {
    if (!lua_istable(lua, index))
        return "ERR flags argument to redis.register_function must be a table representing "
               "function flags";
    for (int i = 1;; i++) {
        struct bytes name = {0};
        lua_rawgeti(lua, index, i);
        bool is_end = lua_isnil(lua, -1);
        uint32_t flag = lua_type(lua, -1) == LUA_TSTRING && take_text(lua, -1, &name)
                            ? script_flag(name, true)
                            : 0;
        lua_pop(lua, 1);
        if (is_end) return NULL;
        if (flag == 0) return "ERR unknown flag given";
        *out |= flag;
    }
}

/* One named argument: its key is a text, its value lies at `value` and stays there. */
static const char *take_named(lua_State *lua, struct bytes key, int value,
                              struct registration *out) {
    if (bytes_equal_text_nocase(key, "function_name")) {
        if (take_text(lua, value, &out->name)) return NULL;
        return "ERR function_name argument given to redis.register_function must be a string";
    }
    if (bytes_equal_text_nocase(key, "description")) {
        if (take_text(lua, value, &out->description)) return NULL;
        return "ERR description argument given to redis.register_function must be a string";
    }
    if (bytes_equal_text_nocase(key, "callback")) {
        out->callback = value;
        if (lua_isfunction(lua, value)) return NULL;
        return "ERR callback argument given to redis.register_function must be a function";
    }
    if (bytes_equal_text_nocase(key, "flags")) return take_flags(lua, value, &out->flags);
    return UNKNOWN_ARGUMENT;
}

/* {function_name = ..., callback = ..., flags = ..., description = ...}: what is used of its values
 * is left on the stack. */
static const char *read_table(lua_State *lua, struct registration *out) {
    lua_pushnil(lua);
    while (lua_next(lua, 1) != 0) {
        struct bytes key = {0};
        if (lua_type(lua, -2) == LUA_TNUMBER) return UNKNOWN_ARGUMENT;
        if (!take_text(lua, -2, &key))
            return "ERR named argument key given to redis.register_function is not a string";
        if (!lua_checkstack(lua, 4)) return "ERR too many arguments to redis.register_function";
        const char *refused = take_named(lua, key, lua_gettop(lua), out);
        if (refused != NULL) return refused;
        lua_pushvalue(lua, -2); // The value stays, for we look at it; the key goes on.
    }
    if (out->name.data == NULL)
        return "ERR redis.register_function must get a function name argument";
    if (out->callback == 0) return "ERR redis.register_function must get a callback argument";
    return NULL;
}

static const char *read_pair(lua_State *lua, struct registration *out) {
    if (!take_text(lua, 1, &out->name))
        return "ERR first argument to redis.register_function must be a string";
    if (!lua_isfunction(lua, 2))
        return "ERR second argument to redis.register_function must be a function";
    out->callback = 2;
    return NULL;
}

static const char *read_registration(lua_State *lua, struct registration *out) {
    int count = lua_gettop(lua);
    if (count < 1 || count > 2) return "ERR wrong number of arguments to redis.register_function";
    if (count == 2) return read_pair(lua, out);
    if (!lua_istable(lua, 1))
        return "ERR calling redis.register_function with a single argument is only applicable to "
               "Lua table (representing named arguments).";
    return read_table(lua, out);
}

static const char *refuse_name(const struct library *library, struct bytes name) {
    if (!is_name(name)) return "ERR " BAD_NAME;
    for (uint32_t i = 0; i < library->count; i++) {
        if (bytes_equal_text(name, library->functions[i]->name))
            return "ERR Function already exists in the library";
    }
    return NULL;
}

static struct bytes copy_bytes(struct bytes bytes) {
    return bytes.data == NULL ? bytes : bytes_of(bytes_copy_text(bytes), bytes.len);
}

/* The callback lies on top of the stack and is taken. */
static void add_function(lua_State *lua, struct library *library,
                         const struct registration *registration) {
    struct function *function = mem_alloc_zero(sizeof(*function));
    function->library = library;
    function->name = bytes_copy_text(registration->name);
    function->description = copy_bytes(registration->description);
    function->flags = registration->flags | SCRIPT_HAS_LINE;
    function->reference = luaL_ref(lua, LUA_REGISTRYINDEX);
    if (library->count == library->cap) {
        library->cap = library->cap == 0 ? FIRST_FUNCTIONS : library->cap * 2;
        library->functions =
            mem_realloc(library->functions, library->cap * sizeof(struct function *));
    }
    library->functions[library->count++] = function;
}

int library_register_function(lua_State *lua) {
    struct library *library = interpreter_of(lua)->loading;
    struct registration registration = {0};
    if (library == NULL)
        return script_raise(
            lua, "ERR redis.register_function can only be called on FUNCTION LOAD command");
    const char *refused = read_registration(lua, &registration);
    if (refused == NULL) refused = refuse_name(library, registration.name);
    if (refused != NULL) return script_raise(lua, refused);
    lua_pushvalue(lua, registration.callback);
    add_function(lua, library, &registration);
    return 0;
}

/* -- loading -- */

static void watch_loading(lua_State *lua, lua_Debug *activation) {
    (void)activation;
    struct interpreter *interpreter = interpreter_of(lua);
    if (clock_monotonic_ms() < interpreter->load_deadline_ms) return;
    // Also where the library catches errors: whatever it does next fails as well.
    lua_sethook(interpreter->lua, watch_loading, LUA_MASKCOUNT, 1);
    lua_sethook(lua, watch_loading, LUA_MASKCOUNT, 1);
    script_raise(lua, "ERR FUNCTION LOAD timeout");
}

/* The text of the error on top of the stack. */
static void append_failure(lua_State *lua, struct buffer *error) {
    if (lua_istable(lua, -1)) {
        lua_pushliteral(lua, "err");
        lua_rawget(lua, -2);
    }
    const char *text = lua_tostring(lua, -1);
    buffer_append_text(error, "Error registering functions: ");
    buffer_append_text(error, text == NULL ? "ERR unknown error" : text);
}

/* Runs the source's body: it sees what it needs to register its functions, and no more. */
static bool run_source(struct library *library, uint64_t limit_ms, struct buffer *error) {
    struct interpreter *interpreter = &library->interpreter;
    lua_State *lua = interpreter->lua;
    // From the end of the first line on, so that lines are counted right.
    struct bytes body = bytes_from(library->source, first_line(library->source).len);
    lua_pushcfunction(lua, interpreter_note_place);
    if (!interpreter_compile(lua, body, SOURCE_NAME)) {
        buffer_append_text(error, "Error compiling function: ");
        buffer_append_text(error, lua_tostring(lua, -1));
        return false;
    }
    redis_library_push_loading(lua);
    sandbox_show(lua);
    interpreter->loading = library;
    interpreter->load_deadline_ms = clock_monotonic_ms() + limit_ms;
    lua_sethook(lua, watch_loading, LUA_MASKCOUNT, LOAD_WATCH_INSTRUCTIONS);
    bool is_fine = lua_pcall(lua, 0, 0, 1) == 0;
    lua_sethook(lua, NULL, 0, 0);
    interpreter->loading = NULL;
    if (!is_fine) append_failure(lua, error);
    if (is_fine && library->count == 0) {
        buffer_append_text(error, "No functions registered");
        is_fine = false;
    }
    lua_settop(lua, 0);
    return is_fine;
}

struct library *library_create(struct scripts *scripts, char *name, struct bytes source,
                               uint64_t limit_ms, struct buffer *error) {
    struct library *library = mem_alloc_zero(sizeof(*library));
    library->name = name;
    library->source = copy_bytes(source);
    interpreter_open(&library->interpreter, scripts, &scripts->library_memory);
    redis_library_open(library->interpreter.lua, true);
    if (!run_source(library, limit_ms, error)) {
        library_destroy(library);
        return NULL;
    }
    sandbox_show_globals(library->interpreter.lua);
    lua_gc(library->interpreter.lua, LUA_GCCOLLECT, 0);
    return library;
}

void library_destroy(struct library *library) {
    if (library == NULL) return;
    interpreter_close(&library->interpreter);
    for (uint32_t i = 0; i < library->count; i++) {
        mem_free(library->functions[i]->name);
        mem_free((void *)(uintptr_t)library->functions[i]->description.data);
        mem_free(library->functions[i]);
    }
    mem_free(library->functions);
    mem_free(library->name);
    mem_free((void *)(uintptr_t)library->source.data);
    mem_free(library);
}

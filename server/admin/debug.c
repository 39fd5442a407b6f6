/* DEBUG: what tests need and clients must not have. Runs with everything parked. */
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#include "server/admin/admin_internal.h"
#include "server/aof/aof.h"
#include "server/base/check.h"
#include "server/base/disk_fault.h"
#include "server/base/log.h"
#include "server/base/number.h"
#include "server/base/words.h"
#include "server/command/dispatch.h"
#include "server/keyspace/access.h"
#include "server/keyspace/digest.h"
#include "server/rdb/rdb_writer.h"
#include "server/snapshot/snapshot.h"
#include "server/types/string/string.h"

/* -- digests ------------------------------------------------------------------------------------
 */

struct digest_walk {
    struct command_context *context;
    struct digest *total;
};

static void add_record(void *arg, struct record *record) {
    struct digest_walk *walk = arg;
    struct digest digest = {0};
    digest_mix(&digest, record_key(record));
    digest_record(&digest, databases_type(walk->context->databases, record), record);
    digest_xor_digest(walk->total, &digest);
}

/* What is there counts, expired or not: replicas delete on the primary's word. */
static void add_keyspace(struct command_context *context, struct keyspace *keyspace, unsigned db,
                         struct digest *total) {
    if (!keyspace || keyspace_count(keyspace) == 0) return;
    struct digest_walk walk = {.context = context, .total = total};
    digest_mix_u32(total, db);
    for (unsigned slot = keyspace_next_slot(keyspace, 0); slot < SLOT_COUNT;
         slot = keyspace_next_slot(keyspace, slot + 1))
        table_walk(keyspace_table(keyspace, (uint16_t)slot), 0, 0, keyspace_hasher(keyspace),
                   add_record, &walk);
}

static void debug_digest(struct command_context *context) {
    struct digest total = {0};
    for (unsigned db = 0; db < databases_count(context->databases); db++)
        add_keyspace(context, databases_keyspace_if_any(context->databases, db), db, &total);
    char text[DIGEST_TEXT_SIZE];
    digest_text(&total, text);
    reply_simple(context->reply, text);
}

static void debug_digest_value(struct command_context *context) {
    reply_array(context->reply, context->argc - 2);
    for (uint32_t i = 2; i < context->argc; i++) {
        struct digest digest = {0};
        struct key key = context_key(context, i);
        const struct record *record = context_peek(context, &key);
        if (record) digest_record(&digest, databases_type(context->databases, record), record);
        char text[DIGEST_TEXT_SIZE];
        digest_text(&digest, text);
        reply_simple(context->reply, text);
    }
}

/* -- values -------------------------------------------------------------------------------------
 */

static uint64_t serialized_length(const struct data_type *type, const struct record *record) {
    struct rdb_writer writer;
    rdb_writer_init(&writer, &(struct rdb_writer_options){.is_compressing = true});
    type->save(record, &writer);
    uint64_t length = rdb_writer_offset(&writer);
    rdb_writer_deinit(&writer);
    return length;
}

static void debug_object(struct command_context *context) {
    struct key key = context_key(context, 2);
    const struct record *record = keyspace_find(context->keyspace, &key);
    if (!record) {
        reply_error(context->reply, "ERR no such key");
        return;
    }
    const struct data_type *type = databases_type(context->databases, record);
    char text[256];
    snprintf(
        text, sizeof(text),
        "Value at:%p refcount:1 encoding:%s serializedlength:%llu lru:%u lru_seconds_idle:%lld",
        (const void *)record, type->encoding_name(record),
        (unsigned long long)serialized_length(type, record), record_access(record),
        (long long)(access_idle_ms(record, context->now_ms) / 1000));
    reply_simple(context->reply, text);
}

/* Reads an argument that may not be negative. */
static bool parse_positive(struct command_context *context, uint32_t argument, int64_t *out) {
    return context_integer_in(context, argument, 0, INT64_MAX, out,
                              "ERR value is out of range, must be positive");
}

/* <prefix>:<n> = "value:<n>", cut or filled with zero bytes to `size` when that is not 0. */
static void populate_one(struct command_context *context, struct bytes prefix, int64_t number,
                         size_t size, struct buffer *name, struct buffer *value) {
    buffer_clear(name);
    buffer_append_bytes(name, prefix);
    buffer_append_format(name, ":%lld", (long long)number);
    struct key key = context_key_of(context, buffer_view(name));
    if (context_peek(context, &key)) return;
    buffer_clear(value);
    buffer_append_format(value, "value:%lld", (long long)number);
    if (size > value->len) {
        size_t missing = size - value->len;
        memset(buffer_reserve(value, missing), 0, missing);
        value->len = size;
    }
    struct bytes text = bytes_of(value->data, size ? size : value->len);
    context_insert_take(context, &key, string_record_create(key.name, text, false, 0));
}

/* Not propagated: what it makes is for this node alone. */
static void debug_populate(struct command_context *context) {
    int64_t count;
    int64_t size = 0;
    if (!parse_positive(context, 2, &count)) return;
    if (context->argc > 4 && !parse_positive(context, 4, &size)) return;
    if ((uint64_t)size > context->types->proto_max_bulk_len) {
        reply_error(context->reply, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        return;
    }
    struct bytes prefix = context->argc > 3 ? context->argv[3] : BYTES_LITERAL("key");
    struct buffer name = {0};
    struct buffer value = {0};
    for (int64_t i = 0; i < count; i++)
        populate_one(context, prefix, i, (size_t)size, &name, &value);
    buffer_deinit(&name);
    buffer_deinit(&value);
    reply_ok(context->reply);
}

/* -- the server ---------------------------------------------------------------------------------
 */

/* Everything stands still meanwhile, the node included: that is what tests mean by it. */
static void debug_sleep(struct command_context *context) {
    double seconds = 0;
    if (!number_parse_double(context->argv[2], &seconds) || seconds < 0) seconds = 0;
    if (seconds > 1e9) seconds = 1e9;
    struct timespec left = {.tv_sec = (time_t)seconds};
    left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
    while (nanosleep(&left, &left) != 0) {
    }
    reply_ok(context->reply);
}

static void debug_set_active_expire(struct command_context *context) {
    int64_t is_on = 0;
    if (!number_parse_i64(context->argv[2], &is_on)) is_on = 0;
    dispatcher_set_active_expire(context->modules->dispatcher, is_on != 0);
    reply_ok(context->reply);
}

static void debug_error(struct command_context *context) {
    reply_error_format(context->reply, "%.*s", (int)context->argv[2].len,
                       (const char *)context->argv[2].data);
}

static void debug_log(struct command_context *context) {
    log_warning("DEBUG LOG: %.*s", (int)context->argv[2].len, (const char *)context->argv[2].data);
    reply_ok(context->reply);
}

static void debug_panic(struct command_context *context) {
    log_warning("DEBUG PANIC: stopped on request of %s", context->session->peer);
    UNREACHABLE();
}

/* A write to a page that may only be read, as a stray pointer would do it. */
static void debug_segfault(struct command_context *context) {
    enum { PAGE_BYTES = 4096 };
    log_warning("DEBUG SEGFAULT: on request of %s", context->session->peer);
    volatile char *page = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if ((volatile void *)page == MAP_FAILED) UNREACHABLE();
    page[1] = 1;
}

/* -- DEBUG PROTOCOL: a sample of each kind of reply ---------------------------------------------
 */

static void sample_map(struct reply *reply) {
    reply_map(reply, 3);
    for (int i = 0; i < 3; i++) {
        reply_integer(reply, i);
        reply_bool(reply, i == 1);
    }
}

static void sample_numbers(struct reply *reply) {
    for (int i = 0; i < 3; i++)
        reply_integer(reply, i);
}

static void sample_attribute(struct reply *reply) {
    if (reply_is_resp3(reply)) {
        reply_raw(reply, BYTES_LITERAL("|1\r\n"));
        reply_bulk_text(reply, "key-popularity");
        reply_array(reply, 2);
        reply_bulk_text(reply, "key:123");
        reply_integer(reply, 90);
    }
    reply_bulk_text(reply, "Some real reply following the attribute");
}

static void sample_push(struct reply *reply) {
    if (!reply_is_resp3(reply)) {
        reply_error(reply, "ERR RESP2 is not supported by this command");
        return;
    }
    reply_push(reply, 2);
    reply_bulk_text(reply, "server-cpu-usage");
    reply_integer(reply, 42);
    reply_bulk_text(reply, "Some real reply following the push reply");
}

static void sample_big_number(struct reply *reply) {
    static const char digits[] = "1234567999999999999999999999999999999";
    if (reply_is_resp3(reply)) {
        reply_raw(reply, BYTES_LITERAL("("));
        reply_raw(reply, bytes_of_text(digits));
        reply_raw(reply, BYTES_LITERAL("\r\n"));
    } else {
        reply_bulk_text(reply, digits);
    }
}

static void debug_protocol(struct command_context *context) {
    struct reply *reply = context->reply;
    if (context_argument_is(context, 2, "string")) {
        reply_bulk_text(reply, "Hello World");
    } else if (context_argument_is(context, 2, "integer")) {
        reply_integer(reply, 12345);
    } else if (context_argument_is(context, 2, "double")) {
        reply_double(reply, 3.141);
    } else if (context_argument_is(context, 2, "null")) {
        reply_null(reply);
    } else if (context_argument_is(context, 2, "array")) {
        reply_array(reply, 3);
        sample_numbers(reply);
    } else if (context_argument_is(context, 2, "set")) {
        reply_set(reply, 3);
        sample_numbers(reply);
    } else if (context_argument_is(context, 2, "map")) {
        sample_map(reply);
    } else if (context_argument_is(context, 2, "attrib")) {
        sample_attribute(reply);
    } else if (context_argument_is(context, 2, "push")) {
        sample_push(reply);
    } else if (context_argument_is(context, 2, "bignum")) {
        sample_big_number(reply);
    } else if (context_argument_is(context, 2, "verbatim")) {
        reply_verbatim(reply, BYTES_LITERAL("This is a verbatim\nstring"));
    } else if (context_argument_is(context, 2, "true")) {
        reply_bool(reply, true);
    } else if (context_argument_is(context, 2, "false")) {
        reply_bool(reply, false);
    } else {
        reply_error(reply,
                    "ERR Wrong protocol type name. Please use one of the following: "
                    "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|"
                    "false");
    }
}

/* -- the list -----------------------------------------------------------------------------------
 */

static void debug_help(struct command_context *context) {
    static const char *const lines[] = {
        "DIGEST",
        "    A hash over all keys of all databases.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    A hash over the value of each key.",
        "DISK-FAULT <what> <operation> <nth> <pattern> | COUNT | OFF",
        "    Let operations on files fail, or the server be killed at one of them: kill-before,",
        "    kill-amid, kill-after, power-off-before, power-off-after or an error such as EIO;",
        "    open, write, truncate, sync, sync-folder, rename, remove or any; from the nth on of",
        "    the files that match. COUNT: how many have matched.",
        "ERROR <string>",
        "    Reply with <string> as an error.",
        "LOADAOF",
        "    Empty the databases and load the append-only file.",
        "LOG <message>",
        "    Write <message> to the server's log.",
        "OBJECT <key>",
        "    How a value is kept.",
        "PANIC",
        "    Stop the server as a broken invariant would.",
        "POPULATE <count> [<prefix>] [<size>]",
        "    Make <count> strings named <prefix>:<number> (default: key) of <size> bytes, here",
        "    alone: replicas do not hear of them.",
        "PROTOCOL <type>",
        "    Reply with a sample of <type>: string, integer, double, bignum, null, array, set,",
        "    map, attrib, push, verbatim, true, false.",
        "RELOAD [NOSAVE] [NOFLUSH] [MERGE]",
        "    Save the dump file, empty the databases and load it. NOFLUSH: add what it has to what",
        "    there is; with MERGE it takes the place of what has the same name.",
        "SEGFAULT",
        "    Stop the server as a stray pointer would.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    With 0 expired keys are deleted only when a command meets them.",
        "SLEEP <seconds>",
        "    Stop the whole server for that long. Decimals are allowed.",
        NULL,
    };
    context_help(context, lines);
}

/* -- files --------------------------------------------------------------------------------------
 */

/* What is served while data is being loaded is a part of it, or on its way out. */
static bool refuse_while_loading(struct command_context *context) {
    if (!dispatcher_is_loading(context->modules->dispatcher)) return false;
    reply_error(context->reply, DISPATCH_LOADING_ERROR);
    return true;
}

/* Saves and loads, so that tests see what survives it. */
static void debug_reload(struct command_context *context) {
    struct snapshot_reload how = {.is_saving = true};
    char error[128];
    if (refuse_while_loading(context)) return;
    for (uint32_t i = 2; i < context->argc; i++) {
        if (context_argument_is(context, i, "NOSAVE")) {
            how.is_saving = false;
        } else if (context_argument_is(context, i, "NOFLUSH")) {
            how.keeps_data = true;
        } else if (context_argument_is(context, i, "MERGE")) {
            how.is_merging = true;
        } else {
            reply_error(context->reply,
                        "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.");
            return;
        }
    }
    if (!snapshot_reload(context->modules->snapshotter, &how, error, sizeof(error))) {
        reply_error(context->reply, error);
        return;
    }
    log_warning("DB reloaded by DEBUG RELOAD");
    reply_ok(context->reply);
}

static void debug_load_aof(struct command_context *context) {
    if (refuse_while_loading(context)) return;
    if (!aof_reload(context->modules->aof, context->worker)) {
        reply_error(context->reply, "ERR Error trying to load the AOF files, check server logs.");
        return;
    }
    log_warning("Append Only File loaded by DEBUG LOADAOF");
    reply_ok(context->reply);
}

/* The order in force is the process's: see base/disk_fault.h. */
static void debug_disk_fault(struct command_context *context) {
    if (context->argc == 3 && context_argument_is(context, 2, "COUNT")) {
        reply_integer(context->reply, (int64_t)disk_fault_count());
        return;
    }
    struct buffer text = {0};
    for (uint32_t i = 2; i < context->argc; i++) {
        words_append(&text, context->argv[i]);
        buffer_append_u8(&text, ' ');
    }
    if (disk_fault_order(buffer_view(&text)) == STATUS_OK) {
        reply_ok(context->reply);
    } else {
        reply_error(context->reply, "ERR That is no fault of a disk. Try DEBUG HELP.");
    }
    buffer_deinit(&text);
}

static const struct debug_action {
    const char *name;
    uint32_t argc_min;
    uint32_t argc_max; /* 0: no limit */
    void (*run)(struct command_context *context);
} actions[] = {
    {"digest", 2, 2, debug_digest},
    {"digest-value", 2, 0, debug_digest_value},
    {"disk-fault", 3, 6, debug_disk_fault},
    {"error", 3, 3, debug_error},
    {"help", 2, 2, debug_help},
    {"loadaof", 2, 2, debug_load_aof},
    {"log", 3, 3, debug_log},
    {"object", 3, 4, debug_object},
    {"panic", 2, 2, debug_panic},
    {"populate", 3, 5, debug_populate},
    {"protocol", 3, 3, debug_protocol},
    {"reload", 2, 0, debug_reload},
    {"segfault", 2, 2, debug_segfault},
    {"set-active-expire", 3, 3, debug_set_active_expire},
    {"sleep", 3, 3, debug_sleep},
};

static const struct debug_action *find_action(const struct command_context *context) {
    for (size_t i = 0; i < ARRAY_COUNT(actions); i++) {
        const struct debug_action *action = &actions[i];
        if (!context_argument_is(context, 1, action->name)) continue;
        bool fits = context->argc >= action->argc_min &&
                    (action->argc_max == 0 || context->argc <= action->argc_max);
        return fits ? action : NULL;
    }
    return NULL;
}

void admin_debug(struct command_context *context) {
    if (!admin_allows_debug(context->modules->admin, context->session)) {
        reply_error(context->reply,
                    "ERR DEBUG command not allowed. If the enable-debug-command option is set to "
                    "\"local\", you can run it from a local connection, otherwise you need to set "
                    "this option in the configuration file, and then restart the server.");
        return;
    }
    const struct debug_action *action = find_action(context);
    if (action) {
        action->run(context);
        return;
    }
    char name[128];
    reply_error_format(context->reply,
                       "ERR unknown subcommand or wrong number of arguments for '%s'. Try DEBUG "
                       "HELP.",
                       bytes_to_text(context->argv[1], name, sizeof(name)));
}

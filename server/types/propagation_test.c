/* What commands give to the journal, through the real dispatcher. The expected effects are those
 * that redis 7.0 puts into its stream.
 *
 * The linker's --wrap puts the functions below in the journal's place. */
#include <criterion/criterion.h>

#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/base/words.h"
#include "server/command/dispatch.h"
#include "server/command/transaction.h"
#include "server/types/registry.h"

static const struct data_type_options type_options = {
    .hash_max_listpack_entries = 512,
    .hash_max_listpack_value = 64,
    .proto_max_bulk_len = 1 << 20,
};

/* Effects since the last command as text: words by blanks, effects by " | ". */
static struct buffer effects;

bool __wrap_journal_is_wanted(const struct journal *journal);
void __wrap_journal_unit_add(struct journal_unit *unit, uint32_t db, const struct bytes *argv,
                             uint32_t argc);

bool __wrap_journal_is_wanted(const struct journal *journal) {
    (void)journal;
    return true;
}

/* A time is shown as <ms>, but for the one of the far future that tests give themselves. */
static void append_word(struct bytes word) {
    int64_t number;
    bool is_time =
        number_parse_i64(word, &number) && number > 1000000000000 && number != 4102444800000;
    if (is_time) {
        buffer_append_text(&effects, "<ms>");
    } else {
        buffer_append_bytes(&effects, word);
    }
}

void __wrap_journal_unit_add(struct journal_unit *unit, uint32_t db, const struct bytes *argv,
                             uint32_t argc) {
    (void)unit; // Stays empty, so nothing is appended.
    (void)db;
    if (effects.len > 0) buffer_append_text(&effects, " | ");
    for (uint32_t i = 0; i < argc; i++) {
        if (i > 0) buffer_append_u8(&effects, ' ');
        append_word(argv[i]);
    }
}

/* A node of one worker without network. */
struct node {
    struct turn turn;
    struct exclusive *exclusive;
    struct command_modules modules;
    struct databases *databases;
    struct dispatcher *dispatcher;
    struct dispatch_worker *worker;
    struct session session;
    struct buffer out;
};

static struct node *node_create(void) {
    struct node *node = mem_alloc_zero(sizeof(*node));
    node->exclusive = exclusive_create();
    node->databases = databases_create(
        &(struct databases_options){.count = 16, .seed = 1, .types = registry_types});
    node->modules.commands = command_table_create();
    registry_add_commands(node->modules.commands);
    command_table_add(node->modules.commands, transaction_commands);
    node->modules.journal = (struct journal *)node; // Only looked whether it is there.
    node->dispatcher = dispatcher_create(&(struct dispatch_options){
        .databases = node->databases,
        .exclusive = node->exclusive,
        .types = &type_options,
        .modules = &node->modules,
    });
    node->modules.dispatcher = node->dispatcher;
    exclusive_add_turn(node->exclusive, &node->turn);
    node->worker = dispatch_worker_create(node->dispatcher, &node->turn);
    session_init(&node->session, 1, &node->out);
    session_trust(&node->session);
    turn_begin(&node->turn);
    dispatch_batch_begin(node->worker);
    return node;
}

static void node_destroy(struct node *node) {
    turn_end(&node->turn);
    session_deinit(&node->session);
    dispatch_worker_destroy(node->worker);
    dispatcher_destroy(node->dispatcher);
    databases_destroy(node->databases);
    command_table_destroy(node->modules.commands);
    exclusive_destroy(node->exclusive);
    buffer_deinit(&node->out);
    buffer_deinit(&effects);
    mem_free(node);
}

static void run(struct node *node, const char *line) {
    struct words words = {0};
    cr_assert_eq(words_split(&words, bytes_of_text(line), 32), STATUS_OK);
    enum dispatch_result result =
        dispatch_run(node->worker, &node->session, words.items, (uint32_t)words.count);
    cr_assert_eq(result, DISPATCH_DONE);
    words_deinit(&words);
}

struct step {
    const char *command;
    const char *effects;
};

static void check(const struct step *steps, size_t count) {
    struct node *node = node_create();
    for (size_t i = 0; i < count; i++) {
        buffer_clear(&effects);
        run(node, steps[i].command);
        buffer_append_u8(&effects, 0);
        cr_expect_str_eq((const char *)effects.data, steps[i].effects, "%s", steps[i].command);
    }
    node_destroy(node);
}

Test(propagation, of_strings_is_deterministic) {
    const struct step steps[] = {
        {"SET k v", "SET k v"},
        {"SET k v EX 1000", "SET k v PXAT <ms>"},
        {"SET nk v PX 100000 NX", "SET nk v PXAT <ms>"},
        {"SET k v EXAT 4102444800", "SET k v PXAT 4102444800000"},
        {"SET k v pxat 4102444800000", "SET k v PXAT 4102444800000"},
        {"SET k v2 KEEPTTL", "SET k v2 KEEPTTL"},
        {"SET k v3 GET", "SET k v3"},
        {"SET k v4 XX get KEEPTTL", "SET k v4 XX KEEPTTL"},
        {"SET nokey v3 XX", ""},
        {"SET k v NX GET", ""},
        {"SET k v PXAT 1000", "SET k v PXAT 1000"},
        {"SETEX k 1000 v", "DEL k | SET k v PXAT <ms>"},
        {"PSETEX k 100000 v", "SET k v PXAT <ms>"},
        {"SETNX k2 v", "SETNX k2 v"},
        {"SETNX k2 w", ""},
        {"GETSET k2 w", "SET k2 w"},
        {"GETDEL k2", "DEL k2"},
        {"GETDEL k2", ""},
        {"GETEX k EX 2000", "PEXPIREAT k <ms>"},
        {"GETEX k PERSIST", "PERSIST k"},
        {"GETEX k PERSIST", ""},
        {"GETEX k", ""},
        {"GETEX k EXAT 1", "DEL k"},
        {"INCRBYFLOAT fl 0.1", "SET fl 0.1 KEEPTTL"},
        {"INCR ctr", "INCR ctr"},
        {"INCR fl", ""},
        {"APPEND ap x", "APPEND ap x"},
        {"SETRANGE sr 3 x", "SETRANGE sr 3 x"},
        {"SETRANGE sr 3 ''", ""},
        {"MSETNX a 1 b 2", "MSETNX a 1 b 2"},
        {"MSETNX b 1 c 2", ""},
        {"MSET a 1 b 2", "MSET a 1 b 2"},
        {"LCS a b", ""},
        {"MGET a b", ""},
    };
    check(steps, ARRAY_COUNT(steps));
}

Test(propagation, of_hashes_is_deterministic) {
    const struct step steps[] = {
        {"HSET h f 1 g 2", "HSET h f 1 g 2"},
        {"HSET h f 1", "HSET h f 1"},
        {"HMSET h f 1", "HMSET h f 1"},
        {"HSETNX h f 1", ""},
        {"HSETNX h n 1", "HSETNX h n 1"},
        {"HINCRBY h f 5", "HINCRBY h f 5"},
        {"HINCRBYFLOAT hf f 10.5", "HSET hf f 10.5"},
        {"HINCRBYFLOAT hf f x", ""},
        {"HDEL h nofield", ""},
        {"HDEL h f g", "HDEL h f g"},
        {"HDEL h n", "HDEL h n"},
        {"HGETALL hf", ""},
        {"HRANDFIELD hf 5", ""},
    };
    check(steps, ARRAY_COUNT(steps));
}

Test(propagation, of_transactions_is_that_of_their_commands) {
    const struct step steps[] = {
        {"MULTI", ""},
        {"SET t 1", ""},
        {"EXEC", "SET t 1"},
        {"MULTI", ""},
        {"SET t 1", ""},
        {"INCR t", ""},
        {"EXEC", "SET t 1 | INCR t"},
        {"MULTI", ""},
        {"GET t", ""},
        {"EXEC", ""},
        {"MULTI", ""},
        {"SETEX t 10 v", ""},
        {"GETDEL t", ""},
        {"EXEC", "SET t v PXAT <ms> | DEL t"},
    };
    check(steps, ARRAY_COUNT(steps));
}

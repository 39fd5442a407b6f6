/* What happens while a line is typed: keys, history, hints, completion; and what the session knows.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tools/cli/edit.h"
#include "tools/cli/hints.h"
#include "tools/cli/history.h"
#include "tools/cli/session_state.h"

static struct reply *read_reply(const char *resp) {
    struct reply_reader *reader = reply_reader_create();
    struct reply *reply = NULL;
    reply_reader_feed(reader, bytes_of_text(resp));
    cr_assert_eq(reply_reader_next(reader, &reply), STATUS_OK);
    reply_reader_destroy(reader);
    return reply;
}

static void expect_text(struct buffer *text, const char *expected) {
    buffer_append_u8(text, 0);
    cr_assert_str_eq((char *)text->data, expected);
    buffer_deinit(text);
}

/* ---- editing ---- */

static void type(struct edit *edit, const char *text) {
    for (; *text != 0; text++)
        cr_assert_eq(edit_key(edit, (uint8_t)*text), EDIT_GOES_ON);
}

static void expect_line(struct edit *edit, const char *line, size_t cursor) {
    cr_assert(bytes_equal_text(buffer_view(&edit->line), line), "%.*s", (int)edit->line.len,
              (char *)edit->line.data);
    cr_assert_eq(edit->cursor, cursor);
}

Test(edit, moves_and_changes_by_keys) {
    struct edit edit;
    edit_init(&edit, NULL, NULL, NULL);
    type(&edit, "get foo");
    edit_key(&edit, KEY_HOME);
    edit_key(&edit, KEY_RIGHT);
    edit_key(&edit, KEY_DELETE);
    expect_line(&edit, "gt foo", 1);
    edit_key(&edit, KEY_CTRL_T);
    expect_line(&edit, "tg foo", 2);
    edit_key(&edit, KEY_CTRL_E);
    edit_key(&edit, KEY_CTRL_W);
    expect_line(&edit, "tg ", 3);
    edit_key(&edit, KEY_LEFT);
    edit_key(&edit, KEY_CTRL_K);
    expect_line(&edit, "tg", 2);
    edit_key(&edit, KEY_BACKSPACE);
    expect_line(&edit, "t", 1);
    edit_key(&edit, KEY_CTRL_U);
    expect_line(&edit, "", 0);
    cr_assert_eq(edit_key(&edit, KEY_CTRL_D), EDIT_END);
    cr_assert_eq(edit_key(&edit, KEY_CTRL_C), EDIT_INTERRUPTED);
    cr_assert_eq(edit_key(&edit, KEY_ENTER), EDIT_DONE);
    edit_deinit(&edit);
}

Test(edit, treats_a_character_of_several_bytes_as_one) {
    struct edit edit;
    edit_init(&edit, NULL, NULL, NULL);
    type(&edit, "a\xc3\xa9");
    edit_key(&edit, KEY_LEFT);
    expect_line(&edit, "a\xc3\xa9", 1);
    edit_key(&edit, KEY_END);
    edit_key(&edit, KEY_BACKSPACE);
    expect_line(&edit, "a", 1);
    edit_deinit(&edit);
}

Test(edit, walks_and_searches_the_history) {
    struct history *history = history_create(NULL);
    history_add(history, BYTES_LITERAL("set foo 1"));
    history_add(history, BYTES_LITERAL("get foo"));
    history_add(history, BYTES_LITERAL("ping"));
    struct edit edit;
    edit_init(&edit, history, NULL, NULL);
    type(&edit, "new");
    edit_key(&edit, KEY_UP);
    edit_key(&edit, KEY_UP);
    expect_line(&edit, "get foo", 7);
    edit_key(&edit, KEY_DOWN);
    edit_key(&edit, KEY_DOWN);
    expect_line(&edit, "new", 3);
    edit_key(&edit, KEY_CTRL_R);
    type(&edit, "foo");
    expect_line(&edit, "get foo", 7);
    edit_key(&edit, KEY_CTRL_R);
    expect_line(&edit, "set foo 1", 9);
    edit_key(&edit, KEY_CTRL_G);
    expect_line(&edit, "new", 3);
    edit_deinit(&edit);
    history_destroy(history);
}

static void two_completions(void *context UNUSED, struct bytes line UNUSED, struct word_list *out) {
    word_list_append(out, BYTES_LITERAL("get"));
    word_list_append(out, BYTES_LITERAL("getset"));
}

Test(edit, cycles_completions_back_to_what_was_typed) {
    struct edit edit;
    edit_init(&edit, NULL, two_completions, NULL);
    type(&edit, "ge");
    static const char *const lines[] = {"get", "getset", "ge", "get"};
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        edit_key(&edit, KEY_TAB);
        expect_line(&edit, lines[i], strlen(lines[i]));
    }
    edit_key(&edit, KEY_ESCAPE);
    expect_line(&edit, "ge", 2);
    edit_deinit(&edit);
}

/* ---- history ---- */

Test(history, never_writes_secrets_and_keeps_the_file_private) {
    char path[] = "/tmp/dunlin-history-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(fchmod(fd, 0644), 0);
    close(fd);
    struct history *history = history_create(path);
    history_add(history, BYTES_LITERAL("ping"));
    history_add(history, BYTES_LITERAL("ping"));
    history_add(history, BYTES_LITERAL("AUTH secret"));
    history_add(history, BYTES_LITERAL("get x"));
    cr_assert_eq(history_count(history), 3);
    history_destroy(history);
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(info.st_mode & 0777, 0600);
    history = history_create(path);
    cr_assert_eq(history_count(history), 2);
    cr_assert(bytes_equal_text(history_line_view(history, 1), "get x"));
    history_destroy(history);
    unlink(path);
}

Test(history, knows_which_lines_carry_secrets) {
    static const struct {
        const char *line;
        bool is_secret;
    } cases[] = {
        {"auth pw", true},
        {"3 AUTH user pw", true},
        {"acl setuser bob >pw", true},
        {"acl list", false},
        {"config set requirepass pw", true},
        {"config set maxmemory 1 masterauth pw", true},
        {"config set tls-key-file-pass pw", true},
        {"config set somepass pw", true},
        {"config set maxmemory 1", false},
        {"config get requirepass", false},
        {"hello 3 auth user pw", true},
        {"hello 3 setname x", false},
        {"migrate h 1 k 0 10 AUTH pw", true},
        {"migrate h 1 \"\" 0 10 AUTH2 u pw KEYS a", true},
        {"migrate h 1 \"\" 0 10 KEYS auth", false},
        {"sentinel set mymaster auth-pass pw", true},
        {"sentinel config set sentinel-pass pw", true},
        {"set auth x", false},
        {"auth \"mistyped", true},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cr_assert_eq(history_is_secret(bytes_of_text(cases[i].line)), cases[i].is_secret, "%s",
                     cases[i].line);
    }
}

/* ---- hints ---- */

/* A few commands in the form of COMMAND DOCS. */
static struct command_docs small_docs(void) {
    static const char docs_resp[] =
        "*8\r\n"
        "$3\r\nset\r\n*4\r\n+group\r\n+string\r\n+arguments\r\n*4\r\n"
        "*4\r\n+name\r\n+key\r\n+type\r\n+key\r\n"
        "*4\r\n+name\r\n+value\r\n+type\r\n+string\r\n"
        "*8\r\n+name\r\n+condition\r\n+type\r\n+oneof\r\n+flags\r\n*1\r\n+optional\r\n"
        "+arguments\r\n*2\r\n"
        "*6\r\n+name\r\n+nx\r\n+type\r\n+pure-token\r\n+token\r\n+NX\r\n"
        "*6\r\n+name\r\n+xx\r\n+type\r\n+pure-token\r\n+token\r\n+XX\r\n"
        "*8\r\n+name\r\n+seconds\r\n+type\r\n+integer\r\n+token\r\n+EX\r\n"
        "+flags\r\n*1\r\n+optional\r\n"
        "$4\r\nmset\r\n*4\r\n+group\r\n+string\r\n+arguments\r\n*1\r\n"
        "*8\r\n+name\r\n+key_value\r\n+type\r\n+block\r\n+flags\r\n*1\r\n+multiple\r\n"
        "+arguments\r\n*2\r\n"
        "*4\r\n+name\r\n+key\r\n+type\r\n+key\r\n"
        "*4\r\n+name\r\n+value\r\n+type\r\n+string\r\n"
        "$4\r\nauth\r\n*4\r\n+group\r\n+connection\r\n+arguments\r\n*2\r\n"
        "*6\r\n+name\r\n+username\r\n+type\r\n+string\r\n+flags\r\n*1\r\n+optional\r\n"
        "*4\r\n+name\r\n+password\r\n+type\r\n+string\r\n"
        "$6\r\nconfig\r\n*4\r\n+group\r\n+server\r\n+subcommands\r\n*2\r\n"
        "$10\r\nconfig|get\r\n*4\r\n+group\r\n+server\r\n+arguments\r\n*1\r\n"
        "*6\r\n+name\r\n+parameter\r\n+type\r\n+string\r\n+flags\r\n*1\r\n+multiple\r\n";
    struct reply *reply = read_reply(docs_resp);
    struct command_docs docs;
    command_docs_read(reply, &docs);
    reply_destroy(reply);
    return docs;
}

Test(hints, tell_what_is_missing) {
    static const struct {
        const char *line;
        const char *hint;
    } cases[] = {
        {"set", "key value [NX|XX] [EX seconds]"},
        {"SET k", "value [NX|XX] [EX seconds]"},
        {"set k v", "[NX|XX] [EX seconds]"},
        {"set k v xx", "[EX seconds]"},
        {"set k v EX", "seconds [NX|XX]"},
        {"set k v EX 10 NX", ""},
        {"set k v bogus", ""},
        {"mset", "key value [key value ...]"},
        {"mset k", "value"},
        {"mset k v", "[key value ...]"},
        {"auth", "[username] password"},
        {"auth pw", ""},
        {"auth user pw", ""},
        {"config get", "parameter [parameter ...]"},
        {"config get a", "[parameter ...]"},
        {"nonsense", ""},
        {"", ""},
    };
    struct command_docs docs = small_docs();
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buffer hint = {0};
        hint_append(&docs, bytes_of_text(cases[i].line), &hint);
        expect_text(&hint, cases[i].hint);
    }
    command_docs_deinit(&docs);
}

Test(hints, complete_names_in_the_typed_case) {
    static const struct {
        const char *line;
        const char *completions;
    } cases[] = {
        {"se", "set "},      {"M", "MSET "},           {"config g", "config get "},
        {"conf", "config "}, {"help se", "help set "}, {"help @con", "help @connection "},
        {"zzz", ""},
    };
    struct command_docs docs = small_docs();
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct word_list found = {0};
        struct buffer text = {0};
        hint_complete(&docs, bytes_of_text(cases[i].line), &found);
        for (size_t k = 0; k < found.count; k++) {
            buffer_append_bytes(&text, found.items[k]);
            buffer_append_u8(&text, ' ');
        }
        expect_text(&text, cases[i].completions);
        word_list_deinit(&found);
    }
    command_docs_deinit(&docs);
}

/* ---- the session's knowledge ---- */

static void note(struct session_state *state, const char *line, const char *resp) {
    struct word_list words = {0};
    struct reply *reply = read_reply(resp);
    cr_assert(word_list_append_line(&words, bytes_of_text(line)));
    session_state_note(state, words.count, words.items, reply);
    reply_destroy(reply);
    word_list_deinit(&words);
}

Test(session_state, follows_select_through_transactions) {
    struct session_state state = {0};
    note(&state, "select 3", "+OK\r\n");
    cr_assert_eq(state.db, 3);
    note(&state, "select 99", "-ERR DB index is out of range\r\n");
    cr_assert_eq(state.db, 3);
    note(&state, "multi", "+OK\r\n");
    note(&state, "select 5", "+QUEUED\r\n");
    cr_assert(state.in_transaction && state.db == 3);
    note(&state, "exec", "*-1\r\n");
    cr_assert(!state.in_transaction && state.db == 3);
    note(&state, "multi", "+OK\r\n");
    note(&state, "select 5", "+QUEUED\r\n");
    note(&state, "exec", "*1\r\n+OK\r\n");
    cr_assert_eq(state.db, 5);
    note(&state, "reset", "+RESET\r\n");
    cr_assert_eq(state.db, 0);
    session_state_deinit(&state);
}

Test(session_state, counts_subscriptions_by_their_confirmations) {
    struct session_state state = {0};
    struct bytes unsubscribe = BYTES_LITERAL("unsubscribe");
    struct reply *reply = read_reply("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    cr_assert(session_state_note_message(&state, reply));
    reply_destroy(reply);
    reply = read_reply("*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:2\r\n");
    cr_assert(session_state_note_message(&state, reply));
    reply_destroy(reply);
    cr_assert_eq(state.channel_count, 1);
    cr_assert_eq(state.pattern_count, 1);
    cr_assert_eq(session_state_confirmations(&state, 1, &unsubscribe), 1);
    reply = read_reply("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n");
    cr_assert_not(session_state_note_message(&state, reply));
    reply_destroy(reply);
    session_state_deinit(&state);
}

Test(session_state, reads_redirections) {
    struct redirect redirect;
    cr_assert(redirect_parse(BYTES_LITERAL("MOVED 12182 127.0.0.1:7002"), &redirect));
    cr_assert(!redirect.is_ask && redirect.slot == 12182 && redirect.port == 7002);
    cr_assert(bytes_equal_text(redirect.host, "127.0.0.1"));
    cr_assert(redirect_parse(BYTES_LITERAL("ASK 1 ::1:7002"), &redirect));
    cr_assert(redirect.is_ask && bytes_equal_text(redirect.host, "::1"));
    cr_assert(redirect_parse(BYTES_LITERAL("MOVED 1 :7002"), &redirect));
    cr_assert_eq(redirect.host.len, 0);
    cr_assert_not(redirect_parse(BYTES_LITERAL("ERR no"), &redirect));
    cr_assert_not(redirect_parse(BYTES_LITERAL("MOVED x 127.0.0.1:7002"), &redirect));
    cr_assert_not(redirect_parse(BYTES_LITERAL("MOVED 1 127.0.0.1"), &redirect));
}

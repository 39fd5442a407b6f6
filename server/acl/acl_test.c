/* Rules go in; verdicts and texts come out. The rows are those of the real commands. */
#include <stdio.h>

#include <criterion/criterion.h>

#include "server/acl/acl_internal.h"
#include "server/base/compiler.h"
#include "server/base/words.h"
#include "server/command/transaction.h"
#include "server/pubsub/pubsub.h"
#include "server/types/registry.h"

struct fixture {
    struct command_table *commands;
    struct rule_set rules;
    struct acl_user *user;
    struct buffer text;
};

static void setup(struct fixture *fixture) {
    *fixture = (struct fixture){.commands = command_table_create()};
    registry_add_commands(fixture->commands);
    command_table_add(fixture->commands, pubsub_commands);
    command_table_add(fixture->commands, transaction_commands);
    command_table_add(fixture->commands, acl_commands);
    fixture->rules.commands = fixture->commands;
    fixture->user = user_create(BYTES_LITERAL("u"), &fixture->rules);
}

static void teardown(struct fixture *fixture) {
    user_destroy(fixture->user);
    command_table_destroy(fixture->commands);
    buffer_deinit(&fixture->text);
}

/* Applies the rules of a line; the error, or "". */
static const char *apply(struct fixture *fixture, const char *line) {
    struct words words = {0};
    cr_assert_eq(words_split(&words, bytes_of_text(line), 100), STATUS_OK);
    buffer_clear(&fixture->text);
    bool is_fine = user_apply(fixture->user, &fixture->rules, words.items, (uint32_t)words.count,
                              false, &fixture->text);
    words_deinit(&words);
    cr_assert_eq(is_fine, fixture->text.len == 0);
    buffer_append_u8(&fixture->text, '\0');
    return (const char *)fixture->text.data;
}

/* The user as text, without "user u ". */
static const char *described(struct fixture *fixture) {
    buffer_clear(&fixture->text);
    user_describe(fixture->user, &fixture->text);
    buffer_append_u8(&fixture->text, '\0');
    return (const char *)fixture->text.data + strlen("user u ");
}

/* "ok", "command", "channel", or the key or channel that was denied. */
static const char *ask(struct fixture *fixture, const char *line) {
    struct words words = {0};
    uint32_t argument = 0;
    cr_assert_eq(words_split(&words, bytes_of_text(line), 100), STATUS_OK);
    const struct command *row =
        command_table_find_line(fixture->commands, words.items, (uint32_t)words.count);
    cr_assert_not_null(row, "%s", line);
    enum access_verdict verdict =
        user_check(fixture->user,
                   &(struct access_request){
                       .row = row,
                       .argv = words.items,
                       .argc = (uint32_t)words.count,
                       .command_id = command_table_id(fixture->commands, row),
                   },
                   &argument);
    buffer_clear(&fixture->text);
    if (verdict == ACCESS_GRANTED) buffer_append_text(&fixture->text, "ok");
    if (verdict == ACCESS_DENIED_COMMAND) buffer_append_text(&fixture->text, "command");
    if (verdict == ACCESS_DENIED_KEY || verdict == ACCESS_DENIED_CHANNEL)
        buffer_append_bytes(&fixture->text, words.items[argument]);
    buffer_append_u8(&fixture->text, '\0');
    words_deinit(&words);
    return (const char *)fixture->text.data;
}

Test(acl, what_was_said_is_shown_less_what_became_moot) {
    static const struct {
        const char *rules;
        const char *shown;
    } cases[] = {
        {"", "off sanitize-payload resetchannels -@all"},
        {"ON NoPass AllKeys allchannels allcommands", "on nopass sanitize-payload ~* &* +@all"},
        {"nopass resetpass", "off sanitize-payload resetchannels -@all"},
        {"skip-sanitize-payload", "off skip-sanitize-payload resetchannels -@all"},
        {"~a:* %R~r %w~w %rW~x ~a:*", "off sanitize-payload ~a:* %R~r %W~w ~x resetchannels -@all"},
        {"%R~a %W~a", "off sanitize-payload ~a resetchannels -@all"},
        {"%R~* %W~*", "off sanitize-payload ~* resetchannels -@all"},
        {"%RW~*", "off sanitize-payload ~* resetchannels -@all"},
        {"~a %R~* %W~* ~b", "off sanitize-payload ~a %RW~* ~b resetchannels -@all"},
        {"~a ~* resetkeys ~b", "off sanitize-payload ~b resetchannels -@all"},
        {"&a &a &b", "off sanitize-payload resetchannels &a &b -@all"},
        {"+get +set -set", "off sanitize-payload resetchannels -@all +get -set"},
        {"+@all -@dangerous +KEYS", "off sanitize-payload resetchannels +@all -@dangerous +keys"},
        {"+object|freq -object +object|encoding",
         "off sanitize-payload resetchannels -@all -object +object|encoding"},
        {"+@STRING -append +@string", "off sanitize-payload resetchannels -@all -append +@string"},
        {"+get -@all +set", "off sanitize-payload resetchannels -@all +set"},
        {"+get|A", "off sanitize-payload resetchannels -@all +get|a"},
        {"(~x +get) ( ~y &c )",
         "off sanitize-payload resetchannels -@all (~x resetchannels -@all +get) (~y resetchannels "
         "&c -@all)"},
        {"(~x) clearselectors on reset", "off sanitize-payload resetchannels -@all"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fixture fixture;
        setup(&fixture);
        cr_assert_str_eq(apply(&fixture, cases[i].rules), "");
        cr_assert_str_eq(described(&fixture), cases[i].shown);
        teardown(&fixture);
    }
}

Test(acl, what_is_shown_makes_the_same_user) {
    struct fixture one;
    struct fixture other;
    setup(&one);
    setup(&other);
    apply(&one,
          "on >pw ~a* %R~b* &c +@all -@write +set +object|freq (+@list ~l) (%W~w allchannels)");
    char text[1024];
    snprintf(text, sizeof(text), "%s", described(&one));
    cr_assert_str_eq(apply(&other, text), "");
    cr_assert_str_eq(described(&other), text);
    for (uint32_t id = 0; id < command_table_id_count(one.commands); id++)
        cr_assert_eq(one.user->root.commands[id / 64] >> (id % 64) & 1,
                     other.user->root.commands[id / 64] >> (id % 64) & 1);
    user_assign(other.user, one.user, &one.rules);
    cr_assert_str_eq(described(&other), text);
    teardown(&one);
    teardown(&other);
}

Test(acl, a_bad_rule_is_named_with_what_is_wrong) {
    static const struct {
        const char *rules;
        const char *error;
    } cases[] = {
        {"bogus", "Error in ACL SETUSER modifier 'bogus': Syntax error"},
        {"\"\"", "Error in ACL SETUSER modifier '': Syntax error"},
        {"\"~a b\"", "Error in ACL SETUSER modifier '~a b': Syntax error"},
        {"%~a", "Error in ACL SETUSER modifier '%~a': Syntax error"},
        {"%RR~a", "Error in ACL SETUSER modifier '%RR~a': Syntax error"},
        {"%R", "Error in ACL SETUSER modifier '%R': Syntax error"},
        {"+nosuch", "Error in ACL SETUSER modifier '+nosuch': Unknown command or category name in "
                    "ACL"},
        {"-@nosuch", "Error in ACL SETUSER modifier '-@nosuch': Unknown command or category name "
                     "in ACL"},
        {"+object|nosuch", "Error in ACL SETUSER modifier '+object|nosuch': Unknown command or "
                           "category name in ACL"},
        {"-get|a", "Error in ACL SETUSER modifier '-get|a': Unknown command or category name in "
                   "ACL"},
        {"+get|", "Error in ACL SETUSER modifier '+get|': Syntax error"},
        {"+object|freq|a", "Error in ACL SETUSER modifier '+object|freq|a': Allowing first-arg of "
                           "a subcommand is not supported"},
        {"#abc", "Error in ACL SETUSER modifier '#abc': The password hash must be exactly 64 "
                 "characters and contain only lowercase hexadecimal characters"},
        {"<x", "Error in ACL SETUSER modifier '<x': The password you are trying to remove from the "
               "user does not exist"},
        {"(~a", "Unmatched parenthesis in acl selector starting at '(~a'."},
        {"(~a) (", "Unmatched parenthesis in acl selector starting at '('."},
        {"(~a (~b))", "Error in ACL SETUSER modifier '(~a (~b))': Syntax error"},
        {"(~a))", "Error in ACL SETUSER modifier '(~a))': Syntax error"},
        {"(on)", "Error in ACL SETUSER modifier '(on)': Syntax error"},
        {"(+get (+set))", "Error in ACL SETUSER modifier '(+get (+set))': Syntax error"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fixture fixture;
        setup(&fixture);
        cr_assert_str_eq(apply(&fixture, cases[i].rules), cases[i].error);
        teardown(&fixture);
    }
}

Test(acl, commands_are_allowed_by_name_category_part_and_first_argument) {
    struct fixture fixture;
    setup(&fixture);
    apply(&fixture, "~* &* +@hash -hset +object|freq +incr|a");
    cr_assert_str_eq(ask(&fixture, "hget h f"), "ok");
    cr_assert_str_eq(ask(&fixture, "hset h f v"), "command");
    cr_assert_str_eq(ask(&fixture, "object freq k"), "ok");
    cr_assert_str_eq(ask(&fixture, "object encoding k"), "command");
    cr_assert_str_eq(ask(&fixture, "incr A"), "ok");
    cr_assert_str_eq(ask(&fixture, "incr b"), "command");
    apply(&fixture, "-@write +object");
    cr_assert_str_eq(ask(&fixture, "incr a"), "command");
    cr_assert_str_eq(ask(&fixture, "hdel h f"), "command");
    cr_assert_str_eq(ask(&fixture, "object encoding k"), "ok");
    apply(&fixture, "+@all");
    cr_assert_str_eq(ask(&fixture, "hset h f v"), "ok");
    cr_assert(fixture.user->may_do_everything);
    apply(&fixture, "-get");
    cr_assert_not(fixture.user->may_do_everything);
    teardown(&fixture);
}

Test(acl, keys_are_allowed_by_what_is_done_with_them) {
    struct fixture fixture;
    setup(&fixture);
    apply(&fixture, "+@all ~a* %R~r* %W~w*");
    static const struct {
        const char *line;
        const char *verdict;
    } cases[] = {
        {"get a1", "ok"},
        {"set a1 v", "ok"},
        {"get x", "x"},
        {"get r1", "ok"},
        {"set r1 v", "r1"},
        {"get w1", "w1"},
        {"set w1 v", "ok"},
        {"set w1 v GET", "w1"},
        {"append w1 v", "ok"},
        {"incr w1", "w1"},
        {"copy r1 w1", "ok"},
        {"copy w1 r1", "w1"},
        {"strlen w1", "ok"},
        {"strlen x", "x"},
        {"exists r1 w1 x", "x"},
        {"mget a1 r1 b", "b"},
        {"del w1", "ok"},
        {"del r1", "r1"},
        {"lmove a1 r1 LEFT LEFT", "r1"},
        {"zunionstore a1 2 r1 w1", "w1"},
        {"xread STREAMS r1 x 0 0", "x"},
        {"sort r1 STORE w1", "ok"},
        {"sort r1 STORE r2", "r2"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        cr_assert_str_eq(ask(&fixture, cases[i].line), cases[i].verdict, "%s", cases[i].line);
    cr_assert_not(selector_reads_all_keys(&fixture.user->root));
    apply(&fixture, "%R~*");
    cr_assert(selector_reads_all_keys(&fixture.user->root));
    teardown(&fixture);
}

Test(acl, channels_match_and_patterns_are_taken_literally) {
    struct fixture fixture;
    setup(&fixture);
    apply(&fixture, "+@all &a* &b");
    cr_assert_str_eq(ask(&fixture, "subscribe a1 b"), "ok");
    cr_assert_str_eq(ask(&fixture, "subscribe a1 c"), "c");
    cr_assert_str_eq(ask(&fixture, "ssubscribe c"), "c");
    cr_assert_str_eq(ask(&fixture, "publish a1 x"), "ok");
    cr_assert_str_eq(ask(&fixture, "spublish c a1"), "c");
    cr_assert_str_eq(ask(&fixture, "psubscribe a*"), "ok");
    cr_assert_str_eq(ask(&fixture, "psubscribe a1*"), "a1*");
    cr_assert_str_eq(ask(&fixture, "unsubscribe c"), "ok");
    teardown(&fixture);
}

Test(acl, one_selector_has_to_allow_all_of_it) {
    struct fixture fixture;
    setup(&fixture);
    apply(&fixture, "+get ~a (+set ~b) (+@list ~l*)");
    cr_assert_str_eq(ask(&fixture, "get a"), "ok");
    cr_assert_str_eq(ask(&fixture, "get b"), "b");
    cr_assert_str_eq(ask(&fixture, "set b v"), "ok");
    cr_assert_str_eq(ask(&fixture, "lmove l1 l2 LEFT LEFT"), "ok");
    cr_assert_str_eq(ask(&fixture, "lmove l1 a LEFT LEFT"), "a");
    cr_assert_str_eq(ask(&fixture, "mget a"), "command");
    teardown(&fixture);
}

Test(acl, many_keys_are_all_looked_at) {
    struct fixture fixture;
    setup(&fixture);
    apply(&fixture, "+mget ~k");
    struct buffer line = {0};
    buffer_append_text(&line, "mget");
    for (int i = 0; i < 60; i++)
        buffer_append_text(&line, " k");
    size_t len = line.len;
    buffer_append_u8(&line, '\0');
    cr_assert_str_eq(ask(&fixture, (const char *)line.data), "ok");
    line.len = len;
    buffer_append(&line, " x", 3);
    cr_assert_str_eq(ask(&fixture, (const char *)line.data), "x");
    buffer_deinit(&line);
    teardown(&fixture);
}

Test(acl, passwords_are_kept_as_digests) {
    struct fixture fixture;
    setup(&fixture);
    apply(&fixture, ">pw >\"\"");
    cr_assert(user_has_password(fixture.user, BYTES_LITERAL("pw")));
    cr_assert(user_has_password(fixture.user, BYTES_LITERAL("")));
    cr_assert_not(user_has_password(fixture.user, BYTES_LITERAL("pW")));
    apply(&fixture, "<pw");
    cr_assert_not(user_has_password(fixture.user, BYTES_LITERAL("pw")));
    apply(&fixture, "#30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4");
    cr_assert(user_has_password(fixture.user, BYTES_LITERAL("pw")));
    cr_assert_not(fixture.user->needs_no_password);
    apply(&fixture, "nopass");
    cr_assert_eq(fixture.user->passwords.count, 0u);
    teardown(&fixture);
}

Test(acl, names_have_no_blanks) {
    cr_assert(user_name_is_valid(BYTES_LITERAL("")));
    cr_assert(user_name_is_valid(BYTES_LITERAL("a:b|(c)")));
    cr_assert_not(user_name_is_valid(BYTES_LITERAL("a b")));
    cr_assert_not(user_name_is_valid(BYTES_LITERAL("a\0b")));
    cr_assert_not(user_name_is_valid(BYTES_LITERAL("a\n")));
}

/* -- the directory, without clients -- */

static struct acl *create_acl(struct fixture *fixture, struct acl_options *options) {
    static char nothing[] = "";
    *options = (struct acl_options){.file = nothing, .password = nothing, .log_max = 2};
    return acl_create(options, fixture->commands);
}

Test(acl, lines_of_the_configuration_become_users_when_it_starts) {
    struct fixture fixture;
    struct acl_options options;
    setup(&fixture);
    struct acl *acl = create_acl(&fixture, &options);
    const struct bytes line[] = {BYTES_LITERAL("bob"), BYTES_LITERAL("on"), BYTES_LITERAL("~\"a")};
    struct buffer error = {0};
    cr_assert(acl_declare(acl, line, 3, &error));
    cr_assert_not(acl_declare(acl, line, 3, &error));
    cr_assert_not(acl_user_exists(acl, line[0]));
    options.fresh_channels = ACL_FRESH_ALL_CHANNELS; // A line behind it said so.
    cr_assert(acl_start(acl, &error));
    cr_assert(acl_user_exists(acl, line[0]));
    struct buffer text = {0};
    cr_assert(acl_format_line(acl, 0, &text));
    buffer_append_u8(&text, '\0');
    cr_assert_str_eq((const char *)text.data, "bob on sanitize-payload \"~\\\"a\" &* -@all");
    cr_assert(acl_format_line(acl, 1, &text));
    cr_assert_not(acl_format_line(acl, 2, &text));
    buffer_deinit(&text);
    buffer_deinit(&error);
    acl_destroy(acl);
    teardown(&fixture);
}

Test(acl, the_log_counts_what_repeats_and_forgets_the_oldest) {
    struct fixture fixture;
    struct acl_options options;
    setup(&fixture);
    struct acl *acl = create_acl(&fixture, &options);
    struct session session = {0};
    static const char *const objects[] = {"a", "b", "a", "c"};
    for (size_t i = 0; i < ARRAY_COUNT(objects); i++)
        denial_log_add(acl, &session, DENIAL_KEY, ACCESS_AT_TOP, bytes_of_text(objects[i]),
                       BYTES_LITERAL("u"));
    cr_assert_eq(acl->log.count, 2u);
    cr_assert_str_eq(acl->log.first->object, "c");
    cr_assert_str_eq(acl->log.first->next->object, "a");
    cr_assert_eq(acl->log.first->next->count, 2u);
    cr_assert_null(acl->log.first->next->next);
    cr_assert_eq(acl->log.totals[DENIAL_KEY], 4u);
    acl_destroy(acl);
    teardown(&fixture);
}

Test(acl, a_session_asks_as_much_as_its_user_makes_it) {
    struct fixture fixture;
    struct acl_options options;
    setup(&fixture);
    struct acl *acl = create_acl(&fixture, &options);
    struct session session = {0};
    acl_session_begin(acl, &session);
    cr_assert_eq(session.access, SESSION_ACCESS_ALL);
    char password[] = "pw";
    options.password = password;
    acl_set_default_password(acl);
    acl_session_begin(acl, &session);
    cr_assert_eq(session.access, SESSION_ACCESS_NONE);
    struct command_context context = {
        .session = &session, .argv = (const struct bytes[]){BYTES_LITERAL("AUTH")}, .argc = 1};
    cr_assert_not(acl_authenticate(acl, &context, BYTES_LITERAL("default"), BYTES_LITERAL("px")));
    cr_assert_not(acl_authenticate(acl, &context, BYTES_LITERAL("bob"), BYTES_LITERAL("pw")));
    cr_assert(acl_authenticate(acl, &context, BYTES_LITERAL("default"), BYTES_LITERAL("pw")));
    cr_assert_eq(session.access, SESSION_ACCESS_ALL);
    struct acl_user *bob = user_create(BYTES_LITERAL("bob"), acl_rules(acl));
    const struct bytes rules[] = {BYTES_LITERAL("nopass"), BYTES_LITERAL("+get")};
    struct buffer error = {0};
    user_apply(bob, acl_rules(acl), rules, 2, true, &error);
    acl_add_take(acl, bob);
    cr_assert_not(acl_authenticate(acl, &context, BYTES_LITERAL("bob"), BYTES_LITERAL("pw")));
    bob->is_on = true;
    cr_assert(acl_authenticate(acl, &context, BYTES_LITERAL("bob"), BYTES_LITERAL("pw")));
    cr_assert_eq(session.access, SESSION_ACCESS_LIMITED);
    cr_assert(bytes_equal_text(acl_session_user_name(&session), "bob"));
    acl_destroy(acl);
    teardown(&fixture);
}

/* Rules of a user, a line each: whatever is taken is shown so that it makes the same user again,
 * and nothing is refused half way (a refused list is thrown away by whoever asked).
 */
#include "server/acl/rules_internal.h"
#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/command/transaction.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RULES_MAX = 64 };

static uint32_t cut_lines(struct bytes text, struct bytes *out) {
    uint32_t count = 0;
    while (text.len > 0 && count < RULES_MAX) {
        const uint8_t *newline = memchr(text.data, '\n', text.len);
        size_t len = newline == NULL ? text.len : (size_t)(newline - text.data);
        out[count++] = bytes_of(text.data, len);
        text = bytes_from(text, newline == NULL ? len : len + 1);
    }
    return count;
}

/* Blanks part the words of a description, and no rule holds one. */
static uint32_t cut_words(struct bytes text, struct bytes *out, uint32_t cap) {
    uint32_t count = 0;
    for (size_t at = 0; at <= text.len && count < cap;) {
        size_t end = at;
        while (end < text.len && text.data[end] != ' ')
            end++;
        out[count++] = bytes_of(text.data + at, end - at);
        at = end + 1;
    }
    return count;
}

static void check_description(const struct acl_user *user, const struct rule_set *rules) {
    struct buffer first = {0};
    struct buffer second = {0};
    struct buffer error = {0};
    user_describe(user, &first);
    struct bytes *words = mem_alloc((first.len + 1) * sizeof(*words));
    uint32_t count = cut_words(buffer_view(&first), words, (uint32_t)first.len + 1);
    struct acl_user *again = user_create(BYTES_LITERAL("u"), rules);
    // Without "user u".
    ASSERT(user_apply(again, rules, words + 2, count - 2, false, &error));
    user_describe(again, &second);
    ASSERT(bytes_equal(buffer_view(&first), buffer_view(&second)));
    user_destroy(again);
    mem_free(words);
    buffer_deinit(&first);
    buffer_deinit(&second);
    buffer_deinit(&error);
}

/* Asks for a command whose words are the rules themselves. */
static void ask(const struct acl_user *user, const struct command_table *commands,
                const struct bytes *lines, uint32_t count) {
    static const char *const names[] = {"watch", "multi", "exec"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct command *row = command_table_find(commands, bytes_of_text(names[i]));
        uint32_t argument = 0;
        user_check(user,
                   &(struct access_request){
                       .row = row,
                       .argv = lines,
                       .argc = count,
                       .command_id = command_table_id(commands, row),
                   },
                   &argument);
        ASSERT(argument == 0 || argument < count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bytes lines[RULES_MAX];
    uint32_t count = cut_lines(bytes_of(data, size), lines);
    struct command_table *commands = command_table_create();
    command_table_add(commands, transaction_commands);
    const struct rule_set rules = {.commands = commands};
    struct acl_user *user = user_create(BYTES_LITERAL("u"), &rules);
    struct buffer error = {0};
    if (user_apply(user, &rules, lines, count, false, &error)) {
        check_description(user, &rules);
    } else {
        ASSERT(error.len > 0);
    }
    ask(user, commands, lines, count);
    user_destroy(user);
    command_table_destroy(commands);
    buffer_deinit(&error);
    return 0;
}

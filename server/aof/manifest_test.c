#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "server/aof/manifest.h"
#include "server/base/compiler.h"
#include "server/base/mem.h"

#define PREFIX "appendonly.aof"

static struct aof_manifest parsed(const char *text) {
    struct aof_manifest manifest = {0};
    struct aof_manifest_error error = {0};
    enum status status = aof_manifest_parse(bytes_of_text(text), &manifest, &error);
    cr_assert_eq(status, STATUS_OK, "%s: %s", text, error.reason);
    return manifest;
}

static void expect_text(const struct aof_manifest *manifest, const char *wanted) {
    struct buffer text = {0};
    aof_manifest_encode(manifest, &text);
    cr_expect(bytes_equal_text(buffer_view(&text), wanted), "'%.*s' is not '%s'", (int)text.len,
              text.data == NULL ? "" : (const char *)text.data, wanted);
    buffer_deinit(&text);
}

static void expect_round_trip(const char *text, const char *wanted) {
    struct aof_manifest manifest = parsed(text);
    expect_text(&manifest, wanted);
    aof_manifest_deinit(&manifest);
}

Test(aof_manifest, reads_and_writes_what_servers_write) {
    static const char text[] = "file appendonly.aof.2.base.rdb seq 2 type b\n"
                               "file appendonly.aof.1.incr.aof seq 1 type h\n"
                               "file appendonly.aof.1.base.rdb seq 1 type h\n"
                               "file appendonly.aof.2.incr.aof seq 2 type i\n"
                               "file appendonly.aof.3.incr.aof seq 3 type i\n";
    struct aof_manifest manifest = parsed(text);
    cr_expect_str_eq(manifest.base.name, "appendonly.aof.2.base.rdb");
    cr_expect_eq(manifest.base_sequence, 2);
    cr_expect_eq(manifest.history.count, 2);
    cr_expect_eq(manifest.increments.count, 2);
    cr_expect_str_eq(manifest.increments.items[1].name, "appendonly.aof.3.incr.aof");
    cr_expect_eq(manifest.increment_sequence, 3);
    expect_text(&manifest, text);
    aof_manifest_deinit(&manifest);
}

Test(aof_manifest, is_lenient_where_the_format_is) {
    static const struct {
        const char *text;
        const char *wanted;
    } cases[] = {
        {"#x\nfile a seq 1 type i\n# y\n#no end", "file a seq 1 type i\n"},
        {"  FILE a\tSeq 1 TYPE incr \r\n", "file a seq 1 type i\n"},
        {"type b seq 7 file a\n", "file a seq 7 type b\n"},
        {"file a seq 1 type i future x\n", "file a seq 1 type i\n"},
        {"file \"a b\" seq 1 type i\n", "file \"a b\" seq 1 type i\n"},
        {"file 'a.1' seq 1 type i\n", "file a.1 seq 1 type i\n"},
        {"file \"\\xc3\\xa9\" seq 1 type h\n", "file \"\\xc3\\xa9\" seq 1 type h\n"},
        {"file i seq 1 type i\nfile b seq 9 type b\n",
         "file b seq 9 type b\nfile i seq 1 type i\n"},
        {"#nothing\n", "# No files yet\n"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        expect_round_trip(cases[i].text, cases[i].wanted);
}

Test(aof_manifest, refuses_with_the_known_texts) {
    static const char invalid[] = "Invalid AOF manifest file format";
    static const char path[] = "File can't be a path, just a filename";
    static const char too_long[] = "The AOF manifest file contains too long line";
    static const struct {
        const char *text;
        const char *reason;
        unsigned line;
    } cases[] = {
        {"", "Found an empty AOF manifest", 0},
        {"\n", invalid, 1},
        {"file a seq 1 type i\n   \n", invalid, 2},
        {"file a seq 1\n", invalid, 1},
        {"file a seq 1 type i x\n", invalid, 1},
        {"file a seq 1 kind i\n", invalid, 1},
        {"file \"a seq 1 type i\n", invalid, 1},
        {"file \"\" seq 1 type i\n", invalid, 1},
        {"file \"a\\x00b\" seq 1 type i\n", invalid, 1},
        {"file a seq 1 type \"\"\n", invalid, 1},
        {"file a seq 0 type b\n", invalid, 1},
        {"file a seq 1x type b\n", invalid, 1},
        {"file a seq -1 type b\n", invalid, 1},
        {"file a seq 4611686018427387905 type b\n", invalid, 1},
        {"file dir/a seq 1 type b\n", path, 1},
        {"file .. seq 1 type b\n", path, 1},
        {"#\nfile a seq 1 type b\nfile b seq 2 type b\n", "Found duplicate base file information",
         3},
        {"file a seq 2 type i\nfile b seq 1 type i\n", "Found a non-monotonic sequence number", 2},
        {"file a seq 2 type i\nfile b seq 2 type i\n", "Found a non-monotonic sequence number", 2},
        {"file a seq 1 type x\n", "Unknown AOF file type", 1},
        {"file a seq 1 type I\n", "Unknown AOF file type", 1},
        {"file a seq 1 type i", too_long, 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct aof_manifest manifest = {0};
        struct aof_manifest_error error = {0};
        enum status status = aof_manifest_parse(bytes_of_text(cases[i].text), &manifest, &error);
        cr_assert_eq(status, STATUS_BAD_FORMAT, "%s", cases[i].text);
        cr_expect_str_eq(error.reason, cases[i].reason, "%s: %s", cases[i].text, error.reason);
        cr_expect_eq(error.line, cases[i].line, "%s", cases[i].text);
        cr_expect(aof_manifest_is_empty(&manifest));
    }
}

/* `byte` is the only byte of the name. */
static enum status parse_long_name(size_t name_len, char byte, struct aof_manifest_error *error) {
    char line[2048];
    memset(line, byte, sizeof(line));
    memcpy(line, "file ", 5);
    int end = snprintf(line + 5 + name_len, sizeof(line) - 5 - name_len, " seq 1 type b\n");
    struct aof_manifest manifest = {0};
    enum status status =
        aof_manifest_parse(bytes_of(line, 5 + name_len + (size_t)end), &manifest, error);
    aof_manifest_deinit(&manifest);
    return status;
}

Test(aof_manifest, bounds_a_line) {
    struct aof_manifest_error error = {0};
    size_t rest = strlen("file  seq 1 type b\n");
    cr_expect_eq(parse_long_name(AOF_MANIFEST_LINE_MAX_BYTES - rest, 'n', &error), STATUS_OK);
    cr_expect_eq(parse_long_name(AOF_MANIFEST_LINE_MAX_BYTES - rest + 1, 'n', &error),
                 STATUS_BAD_FORMAT);
    cr_expect_eq(error.line, 0);
    // Written down, each of these bytes would take four.
    cr_expect_eq(parse_long_name(240, '\xe9', &error), STATUS_OK);
    cr_expect_eq(parse_long_name(260, '\xe9', &error), STATUS_BAD_FORMAT);
}

Test(aof_manifest, reports_an_error_with_its_line) {
    struct aof_manifest manifest = {0};
    struct aof_manifest_error error = {0};
    struct buffer report = {0};
    cr_assert_eq(aof_manifest_parse(BYTES_LITERAL("#\n  file a  \r\n"), &manifest, &error),
                 STATUS_BAD_FORMAT);
    aof_manifest_error_format(&error, &report);
    cr_expect(bytes_equal_text(buffer_view(&report), "\n*** FATAL AOF MANIFEST FILE ERROR ***\n"
                                                     "Reading the manifest file, at line 2\n"
                                                     ">>> 'file a'\n"
                                                     "Invalid AOF manifest file format\n"));
    buffer_deinit(&report);
}

Test(aof_manifest, counts_bases_and_increments_apart) {
    struct aof_manifest manifest = {0};
    cr_expect_str_eq(aof_manifest_begin_base(&manifest, PREFIX, AOF_BASE_RDB),
                     "appendonly.aof.1.base.rdb");
    cr_expect_str_eq(aof_manifest_add_increment(&manifest, PREFIX), "appendonly.aof.1.incr.aof");
    cr_expect_str_eq(aof_manifest_add_increment(&manifest, PREFIX), "appendonly.aof.2.incr.aof");
    char *base = aof_manifest_next_base_name(&manifest, PREFIX, AOF_BASE_COMMANDS);
    char *increment = aof_manifest_next_increment_name(&manifest, "x y");
    cr_expect_str_eq(base, "appendonly.aof.2.base.aof");
    cr_expect_str_eq(increment, "x y.3.incr.aof");
    mem_free(base);
    mem_free(increment);
    aof_manifest_deinit(&manifest);
}

/* The order is the one that a redis-server 7.0.15 with aof-disable-auto-gc writes. */
Test(aof_manifest, makes_history_of_what_a_new_base_replaces) {
    struct aof_manifest manifest = parsed("file A.5.base.aof seq 5 type b\n"
                                          "file old seq 2 type h\n"
                                          "file old2 seq 1 type h\n"
                                          "file A.1.incr.aof seq 1 type i\n"
                                          "file A.2.incr.aof seq 2 type i\n"
                                          "file A.3.incr.aof seq 3 type i\n");
    struct aof_manifest next = aof_manifest_copy(&manifest);
    aof_manifest_add_increment(&next, "A");
    aof_manifest_begin_base(&next, "A", AOF_BASE_RDB);
    expect_text(&next, "file A.6.base.rdb seq 6 type b\n"
                       "file A.1.incr.aof seq 1 type h\n"
                       "file A.2.incr.aof seq 2 type h\n"
                       "file A.3.incr.aof seq 3 type h\n"
                       "file A.5.base.aof seq 5 type h\n"
                       "file old seq 2 type h\n"
                       "file old2 seq 1 type h\n"
                       "file A.4.incr.aof seq 4 type i\n");
    aof_manifest_drop_history(&next);
    expect_text(&next, "file A.6.base.rdb seq 6 type b\nfile A.4.incr.aof seq 4 type i\n");
    cr_expect_eq(manifest.increments.count, 3); // The copy was one.
    aof_manifest_deinit(&next);
    aof_manifest_deinit(&manifest);
}

Test(aof_manifest, adopts_the_single_file_of_old) {
    struct aof_manifest manifest = {0};
    aof_manifest_adopt_base(&manifest, PREFIX);
    aof_manifest_add_increment(&manifest, PREFIX);
    expect_text(&manifest, "file appendonly.aof seq 1 type b\n"
                           "file appendonly.aof.1.incr.aof seq 1 type i\n");
    aof_manifest_deinit(&manifest);
}

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "server/base/compiler.h"
#include "tools/check/check_aof.h"

#define PING "*1\r\n$4\r\nPING\r\n"
#define MULTI "*1\r\n$5\r\nMULTI\r\n"

/* A folder with the files of a log; its name stands in texts as DIR. */
struct folder {
    char path[64];
};

static struct folder make_folder(void) {
    struct folder folder = {"/tmp/check-aof-XXXXXX"};
    cr_assert_not_null(mkdtemp(folder.path));
    return folder;
}

static void path_of(const struct folder *folder, const char *name, char out[128]) {
    snprintf(out, 128, "%s/%s", folder->path, name);
}

static void write_file(const struct folder *folder, const char *name, const char *text) {
    char path[128];
    path_of(folder, name, path);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static long file_size(const struct folder *folder, const char *name) {
    char path[128];
    struct stat facts;
    path_of(folder, name, path);
    cr_assert_eq(stat(path, &facts), 0);
    return (long)facts.st_size;
}

static void remove_folder(const struct folder *folder) {
    static const char *const names[] = {"m", "a", "b", "i"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        char path[128];
        path_of(folder, names[i], path);
        unlink(path);
    }
    rmdir(folder->path);
}

/* Stands in for the checker of dump files: a snapshot is nine bytes, and sound if it ends in '1'.
 */
static bool check_nine_bytes(FILE *out, const char *path, const char *name, uint64_t *out_bytes) {
    char head[10] = {0};
    FILE *file = fopen(path, "r");
    bool is_sound = file != NULL && fread(head, 1, 9, file) == 9 && head[8] == '1';
    if (file != NULL) fclose(file);
    fprintf(out, "snapshot %s\n", name);
    *out_bytes = 9;
    return is_sound;
}

/* Runs the tool on `name` with one word in front of it, or none; the caller frees the text. */
static char *run(const struct folder *folder, const char *word, const char *name,
                 const char *answer, int *out_status) {
    char path[128];
    path_of(folder, name, path);
    char tool[] = "check";
    char *argv[] = {tool, (char *)word, path, NULL};
    if (word == NULL) argv[1] = path;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    FILE *in = fmemopen((char *)answer, strlen(answer), "r");
    *out_status = check_aof_main(word == NULL ? 2 : 3, argv,
                                 &(struct check_aof_io){in, out, check_nine_bytes});
    fclose(in);
    fclose(out);
    return text;
}

static void expect_run(const struct folder *folder, const char *word, const char *name, int status,
                       const char *wanted) {
    int got = 0;
    char *text = run(folder, word, name, "y\n", &got);
    cr_expect_eq(got, status, "%s", text);
    cr_expect_not_null(strstr(text, wanted), "'%s' is not in '%s'", wanted, text);
    free(text);
}

Test(check_aof, goes_through_the_files_of_a_manifest) {
    struct folder folder = make_folder();
    write_file(&folder, "m", "file b seq 1 type b\nfile i seq 1 type i\n");
    write_file(&folder, "b", "REDIS0011" PING);
    write_file(&folder, "i", PING PING);
    expect_run(&folder, NULL, "m", 0,
               "Start checking Multi Part AOF\n"
               "Start to check BASE AOF (RDB format).\n"
               "snapshot b\n"
               "RDB preamble is OK, proceeding with AOF tail...\n"
               "AOF analyzed: filename=b, size=23, ok_up_to=23, ok_up_to_line=4, diff=0\n"
               "BASE AOF b is valid\n"
               "Start to check INCR files.\n"
               "AOF analyzed: filename=i, size=28, ok_up_to=28, ok_up_to_line=10, diff=0\n"
               "INCR AOF i is valid\n"
               "All AOF files and manifest are valid\n");
    write_file(&folder, "b", "REDIS0012");
    expect_run(&folder, "--fix", "m", 1, "RDB preamble of AOF file is not sane, aborting.\n");
    remove_folder(&folder);
}

Test(check_aof, cuts_only_the_last_file) {
    struct folder folder = make_folder();
    write_file(&folder, "m", "file b seq 1 type b\nfile i seq 1 type i\n");
    write_file(&folder, "b", PING);
    write_file(&folder, "i", PING MULTI PING);
    expect_run(&folder, NULL, "m", 1,
               "AOF i is not valid. Use the --fix option to try fixing it.\n");
    expect_run(&folder, "--fix", "m", 0, "Successfully truncated AOF i\n");
    cr_expect_eq(file_size(&folder, "i"), 14);
    write_file(&folder, "m", "file b seq 1 type b\nfile i seq 1 type i\nfile j seq 2 type i\n");
    write_file(&folder, "i", PING MULTI PING);
    write_file(&folder, "j", "");
    expect_run(&folder, "--fix", "m", 0, "Successfully truncated AOF i\n");
    cr_expect_eq(file_size(&folder, "i"), 14);
    write_file(&folder, "b", PING "x");
    expect_run(&folder, "--fix", "m", 1,
               "Failed to truncate AOF b because it is not the last file\n");
    cr_expect_eq(file_size(&folder, "b"), 15);
    remove_folder(&folder);
}

Test(check_aof, changes_nothing_without_a_yes) {
    struct folder folder = make_folder();
    static const char *const answers[] = {"n\n", "\n", " y\n"};
    write_file(&folder, "a", PING "x");
    for (size_t i = 0; i < ARRAY_COUNT(answers); i++) {
        int status = 0;
        char *text = run(&folder, "--fix", "a", answers[i], &status);
        cr_expect_eq(status, 1);
        cr_expect_not_null(strstr(text, "Continue? [y/N]: Aborting...\n"));
        cr_expect_eq(file_size(&folder, "a"), 15);
        free(text);
    }
    remove_folder(&folder);
}

Test(check_aof, tells_a_manifest_from_a_log) {
    struct folder folder = make_folder();
    static const struct {
        const char *text;
        const char *wanted;
    } cases[] = {
        {"#c\nfile a seq 1\n", "Reading the manifest file, at line 2\n>>> 'file a seq 1'\n"},
        {"seq 1 type h file x\nfile y seq 1 type h\n", "All AOF files and manifest are valid\n"},
        {"*1\r\n$8\r\nx\nfile y\r\n", "is valid\n"},
        {"REDIS001", "snapshot"},
        {"REDIS00", "format error\n"},
        {"", "is empty\n"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        write_file(&folder, "a", cases[i].text);
        int status = 0;
        char *text = run(&folder, NULL, "a", "n", &status);
        cr_expect_not_null(strstr(text, cases[i].wanted), "%s: %s", cases[i].text, text);
        free(text);
    }
    remove_folder(&folder);
}

Test(check_aof, gives_one_object_for_programs) {
    struct folder folder = make_folder();
    write_file(&folder, "a", "#TS:7\r\n" PING "*1\r\n$4\r\nPI");
    expect_run(&folder, "--json", "a", 1, "\"valid_up_to\": 21");
    expect_run(&folder, "--json", "a", 1, "\"outcome\": \"truncated\"");
    expect_run(&folder, "--json", "a", 1, "\"timestamps\": 1");
    remove_folder(&folder);
}

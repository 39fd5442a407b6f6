/* The command line of dunlin-check-rdb. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "server/base/mem.h"
#include "tools/check/check_rdb.h"

static const char *const called_names[] = {
    "dunlin-check-rdb",
    "redis-check-rdb",
    "valkey-check-rdb",
};

struct arguments {
    const char *program; /* As texts name it. */
    const char *file;    /* NULL: none or several were given. */
    bool is_json;
    bool wants_version;
    bool wants_help;
};

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

bool check_rdb_is_called_so(const char *path) {
    for (size_t i = 0; i < ARRAY_COUNT(called_names); i++) {
        if (strcmp(base_name(path), called_names[i]) == 0) return true;
    }
    return false;
}

static struct arguments read_arguments(int argc, char **argv) {
    struct arguments arguments = {.program = called_names[0]};
    if (argc > 0 && check_rdb_is_called_so(argv[0])) arguments.program = base_name(argv[0]);
    int files = 0;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--json") == 0) {
            arguments.is_json = true;
        } else if (argc == 2 && (strcmp(word, "-v") == 0 || strcmp(word, "--version") == 0)) {
            arguments.wants_version = true;
        } else if (argc == 2 && (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0)) {
            arguments.wants_help = true;
        } else {
            arguments.file = word;
            files++;
        }
    }
    if (files > 1) arguments.file = NULL;
    return arguments;
}

static void print_usage(const char *program, FILE *out) {
    fprintf(out, "Usage: %s <rdb-file-name>\n", program);
}

static int print_help(const char *program) {
    print_usage(program, stdout);
    puts("       with --json: prints one JSON object instead of text\n\n"
         "Checks an RDB file to its last byte and says what is in it. Status 0: it is good.");
    return 0;
}

static int print_version(const char *program) {
    printf("%s v=%s malloc=%s bits=%zu\n", program, DUNLIN_VERSION, mem_allocator_name(),
           sizeof(void *) * 8);
    return 0;
}

/* The first line is all that the reference says of a file that cannot be opened. */
static void report_unreadable(const struct arguments *arguments, const char *reason) {
    if (!arguments->is_json) {
        printf("[offset 0] Checking RDB file %s\n", arguments->file);
        fprintf(stderr, "%s: can't open '%s': %s\n", arguments->program, arguments->file, reason);
        return;
    }
    struct check_rdb_report report = {.error = {.is_set = true, .doing = "start"}};
    buffer_append_text(&report.error.text, reason);
    check_rdb_print_json(&report, arguments->file, stdout);
    check_rdb_report_deinit(&report);
}

static int check_file(const struct arguments *arguments) {
    int fd = open(arguments->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        report_unreadable(arguments, strerror(errno));
        return 1;
    }
    struct check_rdb_report report = {0};
    bool is_good =
        check_rdb_descriptor(fd, arguments->file, arguments->is_json ? NULL : stdout, &report);
    if (arguments->is_json)
        check_rdb_print_json(&report, arguments->file, stdout);
    else
        check_rdb_print_summary(&report, stdout);
    check_rdb_report_deinit(&report);
    close(fd);
    // A report that could not be written is no good report.
    return fflush(stdout) == 0 && is_good ? 0 : 1;
}

int check_rdb_main(int argc, char **argv) {
    struct arguments arguments = read_arguments(argc, argv);
    if (arguments.wants_version) return print_version(arguments.program);
    if (arguments.wants_help) return print_help(arguments.program);
    if (arguments.file == NULL) {
        print_usage(arguments.program, stderr);
        return 1;
    }
    return check_file(&arguments);
}

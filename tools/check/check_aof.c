#include "tools/check/check_aof.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <json-c/json.h>

#include "server/aof/manifest.h"
#include "server/base/mem.h"
#include "server/base/number.h"
#include "tools/check/check_aof_internal.h"

#define HEAD_BYTES ((size_t)64 * 1024)                /* What tells the kinds of files apart. */
#define MANIFEST_MAX_BYTES ((size_t)16 * 1024 * 1024) /* No manifest is that long. */
#define RDB_HEADER_MIN_BYTES 8u

/* -- the command line -- */

enum parsed { PARSED, PARSED_VERSION, PARSED_USAGE, PARSED_BAD_TIME };

static enum parsed parse_time(const char *text, struct check_aof_options *options) {
    if (text == NULL) return PARSED_USAGE;
    if (!number_parse_i64(bytes_of_text(text), &options->time_limit)) return PARSED_BAD_TIME;
    options->has_time_limit = options->time_limit != 0; // As the reference has it.
    return PARSED;
}

static enum parsed parse_options(int argc, char **argv, struct check_aof_options *out) {
    bool has_time = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--fix") == 0) {
            out->is_fixing = true;
        } else if (strcmp(word, "--yes") == 0) {
            out->is_sure = true;
        } else if (strcmp(word, "--json") == 0) {
            out->has_json = true;
        } else if (strcmp(word, "--truncate-to-timestamp") == 0) {
            has_time = true;
            enum parsed parsed = parse_time(argv[++i], out); // argv ends with NULL.
            if (parsed != PARSED) return parsed;
        } else if (argc == 2 && (strcmp(word, "-v") == 0 || strcmp(word, "--version") == 0)) {
            return PARSED_VERSION;
        } else if (out->path != NULL || word[0] == '-') {
            return PARSED_USAGE;
        } else {
            out->path = word;
        }
    }
    bool asks_unseen = out->has_json && out->is_fixing && !out->is_sure;
    return out->path == NULL || (out->is_fixing && has_time) || asks_unseen ? PARSED_USAGE : PARSED;
}

/* -- kinds of files -- */

enum kind { KIND_UNREADABLE, KIND_MANIFEST, KIND_RDB, KIND_COMMANDS };

/* Reads at most `cap` bytes from the beginning. */
static enum status read_head(const char *path, size_t cap, struct buffer *out) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return STATUS_NOT_FOUND;
    ssize_t got = 1;
    while (got != 0 && out->len < cap) {
        got = read(file, buffer_reserve(out, cap - out->len), cap - out->len);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) break;
        out->len += (size_t)got;
    }
    close(file);
    return got < 0 ? STATUS_IO_ERROR : STATUS_OK;
}

static bool starts_with(struct bytes text, const char *wanted) {
    size_t len = strlen(wanted);
    return text.len >= len && memcmp(text.data, wanted, len) == 0;
}

/* The text behind its first line, empty if there is no other. */
static struct bytes behind_line(struct bytes text) {
    const uint8_t *newline = memchr(text.data, '\n', text.len);
    return newline == NULL ? (struct bytes){0}
                           : bytes_from(text, (size_t)(newline - text.data) + 1);
}

/* A line that begins with "file" makes a manifest, but not one in a value of a log of commands. */
static bool is_manifest(struct bytes head) {
    while (head.len > 0 && head.data[0] == '#')
        head = behind_line(head);
    if (starts_with(head, "*") || starts_with(head, "REDIS")) return false;
    while (head.len > 0 && !starts_with(head, "file"))
        head = behind_line(head);
    return head.len > 0;
}

static enum kind find_kind(const struct check_aof *check, const char *path) {
    struct buffer head = {0};
    enum kind kind = KIND_UNREADABLE;
    enum status status = read_head(path, HEAD_BYTES, &head);
    if (status == STATUS_NOT_FOUND) {
        fprintf(check->out, "Cannot open file %s: %s\n", path, strerror(errno));
    } else if (status != STATUS_OK) {
        fprintf(check->out, "Cannot read file: %s\n", path);
    } else if (is_manifest(buffer_view(&head))) {
        kind = KIND_MANIFEST;
    } else {
        bool is_rdb = head.len >= RDB_HEADER_MIN_BYTES && starts_with(buffer_view(&head), "REDIS");
        kind = is_rdb ? KIND_RDB : KIND_COMMANDS;
    }
    buffer_deinit(&head);
    return kind;
}

/* -- logs of several files -- */

/* "BASE AOF x is valid"; what was cut or failed has been reported. */
static void print_result(const struct check_aof *check, const char *role, const char *name,
                         enum aof_part_result result) {
    if (result == AOF_PART_VALID) fprintf(check->out, "%sAOF %s is valid\n", role, name);
    if (result == AOF_PART_EMPTY) fprintf(check->out, "%sAOF %s is empty\n", role, name);
}

/* The path of a file beside the manifest. The caller frees it with mem_free. */
static char *path_beside(const char *manifest_path, const char *name) {
    const char *slash = strrchr(manifest_path, '/');
    struct buffer path = {0};
    if (slash == NULL) {
        buffer_append_text(&path, ".");
    } else {
        buffer_append(&path, manifest_path, (size_t)(slash - manifest_path));
    }
    buffer_append_format(&path, "/%s", name);
    char *text = bytes_copy_text(buffer_view(&path));
    buffer_deinit(&path);
    return text;
}

/* True when no bytes lie in the files behind the index-th increment (see server/aof/aof_load.c). */
static bool may_lose_tail(const struct check_aof *check, const struct aof_manifest *manifest,
                          size_t index) {
    for (size_t i = index + 1; i < manifest->increments.count; i++) {
        char *path = path_beside(check->options.path, manifest->increments.items[i].name);
        struct stat facts;
        bool is_empty = stat(path, &facts) == 0 && facts.st_size == 0;
        mem_free(path);
        if (!is_empty) return false;
    }
    return true;
}

static bool check_base(struct check_aof *check, const struct aof_manifest *manifest) {
    const char *name = manifest->base.name;
    if (name == NULL) return true;
    char *path = path_beside(check->options.path, name);
    enum aof_part_result result = AOF_PART_FAILED;
    enum kind kind = find_kind(check, path);
    if (kind != KIND_UNREADABLE) {
        fprintf(check->out, "Start to check BASE AOF (%s format).\n",
                kind == KIND_RDB ? "RDB" : "RESP");
        result = check_aof_part(check, &(struct aof_part){
                                           .path = path,
                                           .name = name,
                                           .role = AOF_ROLE_BASE,
                                           .has_rdb = kind == KIND_RDB,
                                           .is_last = manifest->increments.count == 0,
                                           .may_lose_tail = manifest->increments.count == 0,
                                       });
    }
    print_result(check, "BASE ", name, result);
    mem_free(path);
    return result != AOF_PART_FAILED;
}

static bool check_increments(struct check_aof *check, const struct aof_manifest *manifest) {
    size_t count = manifest->increments.count;
    enum aof_part_result result = AOF_PART_VALID;
    if (count > 0) fprintf(check->out, "Start to check INCR files.\n");
    for (size_t i = 0; i < count && result != AOF_PART_FAILED; i++) {
        const char *name = manifest->increments.items[i].name;
        char *path = path_beside(check->options.path, name);
        result = check_aof_part(check, &(struct aof_part){
                                           .path = path,
                                           .name = name,
                                           .role = AOF_ROLE_INCREMENT,
                                           .is_last = i + 1 == count,
                                           .may_lose_tail = may_lose_tail(check, manifest, i),
                                       });
        print_result(check, "INCR ", name, result);
        mem_free(path);
    }
    return result != AOF_PART_FAILED;
}

static void print_manifest_error(const struct check_aof *check,
                                 const struct aof_manifest_error *error) {
    struct buffer report = {0};
    aof_manifest_error_format(error, &report);
    fwrite(report.data, 1, report.len, check->out);
    buffer_deinit(&report);
}

static bool read_manifest(const struct check_aof *check, struct aof_manifest *out) {
    struct buffer text = {0};
    struct aof_manifest_error error = {.reason = "Read AOF manifest failed"};
    enum status status = read_head(check->options.path, MANIFEST_MAX_BYTES, &text);
    if (status == STATUS_OK) status = aof_manifest_parse(buffer_view(&text), out, &error);
    if (status != STATUS_OK) print_manifest_error(check, &error);
    buffer_deinit(&text);
    return status == STATUS_OK;
}

static bool check_log(struct check_aof *check) {
    struct aof_manifest manifest = {0};
    fprintf(check->out, "Start checking Multi Part AOF\n");
    bool is_ok = read_manifest(check, &manifest) && check_base(check, &manifest) &&
                 check_increments(check, &manifest);
    if (is_ok) fprintf(check->out, "All AOF files and manifest are valid\n");
    aof_manifest_deinit(&manifest);
    return is_ok;
}

/* -- logs of one file -- */

static bool check_file(struct check_aof *check, enum kind kind) {
    fprintf(check->out, "Start checking Old-Style AOF\n");
    const char *path = check->options.path;
    enum aof_part_result result = check_aof_part(check, &(struct aof_part){
                                                            .path = path,
                                                            .name = path,
                                                            .role = AOF_ROLE_ALONE,
                                                            .has_rdb = kind == KIND_RDB,
                                                            .is_last = true,
                                                            .may_lose_tail = true,
                                                        });
    print_result(check, "", path, result);
    return result != AOF_PART_FAILED;
}

/* -- running -- */

static bool check_anything(struct check_aof *check) {
    enum kind kind = find_kind(check, check->options.path);
    switch (kind) {
    case KIND_UNREADABLE:
        return false;
    case KIND_MANIFEST:
        return check_log(check);
    case KIND_RDB:
    case KIND_COMMANDS:
        break;
    }
    return check_file(check, kind);
}

static bool check_for_json(struct check_aof *check) {
    char *messages = NULL;
    size_t len = 0;
    check->out = open_memstream(&messages, &len);
    if (check->out == NULL) return false;
    check->files = json_object_new_array();
    bool is_ok = check_anything(check);
    fclose(check->out);
    check_aof_json_print(check, messages, is_ok);
    free(messages);
    return is_ok;
}

int check_aof_main(int argc, char **argv, const struct check_aof_io *io) {
    struct check_aof check = {.io = io, .out = io->out};
    switch (parse_options(argc, argv, &check.options)) {
    case PARSED:
        break;
    case PARSED_VERSION:
        fprintf(io->out, "dunlin-check-aof %s\n", DUNLIN_VERSION);
        return 0;
    case PARSED_USAGE:
        fprintf(io->out,
                "Usage: %s [--fix|--truncate-to-timestamp $timestamp] <file.manifest|file.aof>\n",
                argv[0]);
        return 1;
    case PARSED_BAD_TIME:
        fprintf(io->out, "Invalid timestamp, aborting...\n");
        return 1;
    }
    bool is_ok = check.options.has_json ? check_for_json(&check) : check_anything(&check);
    return is_ok ? 0 : 1;
}

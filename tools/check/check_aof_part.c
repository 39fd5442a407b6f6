/* One file of a log: the report on it, and its repair. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/check/check_aof_internal.h"

/* -- opening -- */

/* Opens for writing only what may have to be cut: a copy on a read-only medium can be checked. */
static int open_part(struct check_aof *check, const struct aof_part *part,
                     struct aof_part_report *report) {
    bool may_write = check->options.is_fixing || check->options.has_time_limit;
    struct stat facts;
    int file = open(part->path, (may_write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (file < 0) {
        fprintf(check->out, "Cannot open file %s: %s, aborting...\n", part->path, strerror(errno));
        return -1;
    }
    if (fstat(file, &facts) != 0) {
        fprintf(check->out, "Cannot stat file: %s, aborting...\n", part->path);
        close(file);
        return -1;
    }
    if (S_ISDIR(facts.st_mode)) {
        fprintf(check->out, "Cannot open file %s: %s, aborting...\n", part->path, strerror(EISDIR));
        close(file);
        return -1;
    }
    report->size = (uint64_t)facts.st_size;
    return file;
}

/* -- reporting -- */

static void print_offset(FILE *out, const struct aof_verdict *verdict) {
    fprintf(out, "0x%16" PRIx64 ": ", verdict->fault_offset);
}

/* A byte that is no character is written as one would write it in a string. */
static void print_wrong_prefix(FILE *out, uint8_t got) {
    bool is_plain = got >= 0x20 && got < 0x7f;
    fprintf(out,
            is_plain ? "Expected prefix '$', got: '%c'\n" : "Expected prefix '$', got: '\\x%02x'\n",
            got);
}

static void print_fault(FILE *out, const struct aof_part *part, const struct aof_verdict *verdict) {
    if (verdict->fault == AOF_FAULT_NONE || verdict->fault == AOF_FAULT_END) return;
    if (verdict->fault != AOF_FAULT_RECORD) print_offset(out, verdict);
    switch (verdict->fault) {
    case AOF_FAULT_RECORD:
        fprintf(out, "AOF %s format error\n", part->name);
        break;
    case AOF_FAULT_PREFIX:
        print_wrong_prefix(out, verdict->got[0]);
        break;
    case AOF_FAULT_LINE_END:
        fprintf(out, "Expected \\r\\n, got: %02x%02x\n", verdict->got[0], verdict->got[1]);
        break;
    case AOF_FAULT_NUMBER:
        fprintf(out, "Expected a number\n");
        break;
    case AOF_FAULT_COUNT:
        fprintf(out, "Expected a command with arguments, got %" PRId64 "\n", verdict->expected);
        break;
    case AOF_FAULT_LENGTH:
        fprintf(out,
                "Expected to read string of %" PRId64
                " bytes, which is not in the suitable range\n",
                verdict->expected);
        break;
    case AOF_FAULT_SHORT:
        fprintf(out, "Expected to read %" PRId64 " bytes, got %" PRId64 " bytes\n",
                verdict->expected, verdict->found);
        break;
    case AOF_FAULT_MULTI:
        fprintf(out, "Unexpected MULTI in AOF %s\n", part->path);
        break;
    case AOF_FAULT_EXEC:
        fprintf(out, "Unexpected EXEC in AOF %s\n", part->path);
        break;
    case AOF_FAULT_OPEN_MULTI:
        fprintf(out, "Reached EOF before reading EXEC for MULTI\n");
        break;
    case AOF_FAULT_NONE:
    case AOF_FAULT_END:
        break;
    }
}

static void print_analysis(const struct check_aof *check, const struct aof_part *part,
                           const struct aof_part_report *report) {
    uint64_t line = 1 + check->line_count + report->scan.verdict.line_count;
    fprintf(check->out,
            "AOF analyzed: filename=%s, size=%" PRIu64 ", ok_up_to=%" PRIu64
            ", ok_up_to_line=%" PRIu64 ", diff=%" PRIu64 "\n",
            part->name, report->size, report->valid_bytes, line,
            report->size - report->valid_bytes);
}

/* -- cutting -- */

static bool cut_file(int file, uint64_t size) {
    return ftruncate(file, (off_t)size) == 0 && fsync(file) == 0;
}

/* Reads an answer; only its first letter counts. */
static bool is_told_to_go_on(struct check_aof *check) {
    char answer[256];
    if (check->options.is_sure) return true;
    fprintf(check->out, "Continue? [y/N]: ");
    fflush(check->out);
    bool is_yes = fgets(answer, sizeof(answer), check->io->in) != NULL &&
                  (answer[0] == 'y' || answer[0] == 'Y');
    if (!is_yes) fprintf(check->out, "Aborting...\n");
    return is_yes;
}

static enum aof_part_result fix_part(struct check_aof *check, const struct aof_part *part, int file,
                                     const struct aof_part_report *report) {
    if (!check->options.is_fixing) {
        fprintf(check->out, "AOF %s is not valid. Use the --fix option to try fixing it.\n",
                part->name);
        return AOF_PART_FAILED;
    }
    if (!part->may_lose_tail) {
        fprintf(check->out, "Failed to truncate AOF %s because it is not the last file\n",
                part->name);
        return AOF_PART_FAILED;
    }
    fprintf(check->out,
            "This will shrink the AOF %s from %" PRIu64 " bytes, with %" PRIu64
            " bytes, to %" PRIu64 " bytes\n",
            part->name, report->size, report->size - report->valid_bytes, report->valid_bytes);
    if (!is_told_to_go_on(check)) return AOF_PART_FAILED;
    if (!cut_file(file, report->valid_bytes)) {
        fprintf(check->out, "Failed to truncate AOF %s\n", part->name);
        return AOF_PART_FAILED;
    }
    fprintf(check->out, "Successfully truncated AOF %s\n", part->name);
    return AOF_PART_CUT;
}

static enum aof_part_result cut_part_at_time(struct check_aof *check, const struct aof_part *part,
                                             int file, uint64_t offset) {
    int64_t limit = check->options.time_limit;
    if (offset == 0) {
        fprintf(check->out, "AOF %s has nothing before timestamp %" PRId64 ", aborting...\n",
                part->path, limit);
        return AOF_PART_FAILED;
    }
    if (!part->is_last) {
        fprintf(check->out,
                "Failed to truncate AOF %s to timestamp %" PRId64 " to offset %" PRIu64
                " because it is not the last file.\n"
                "To cut there all the same, remove the files that follow it in the manifest, and "
                "their lines, by hand and run this again.\n",
                part->path, limit, offset);
        return AOF_PART_FAILED;
    }
    if (!cut_file(file, offset)) {
        fprintf(check->out, "Failed to truncate AOF %s to timestamp %" PRId64 "\n", part->name,
                limit);
        return AOF_PART_FAILED;
    }
    fprintf(check->out, "Successfully truncated AOF %s to timestamp %" PRId64 "\n", part->name,
            limit);
    return AOF_PART_CUT;
}

/* -- checking -- */

static enum aof_part_result judge_commands(struct check_aof *check, const struct aof_part *part,
                                           int file, struct aof_part_report *report) {
    const struct aof_scan *scan = &report->scan;
    switch (scan->end) {
    case AOF_SCAN_BAD_TIMESTAMP:
        fprintf(check->out, "Invalid timestamp annotation\n");
        return AOF_PART_FAILED;
    case AOF_SCAN_LATER:
        report->valid_bytes = scan->cut_offset;
        return cut_part_at_time(check, part, file, scan->cut_offset);
    case AOF_SCAN_JUDGED:
        break;
    }
    bool is_valid = scan->verdict.outcome == AOF_COMPLETE;
    print_fault(check->out, part, &scan->verdict);
    if (is_valid && check->options.has_time_limit) {
        fprintf(check->out, "Truncate nothing in AOF %s to timestamp %" PRId64 "\n", part->name,
                check->options.time_limit);
    } else {
        print_analysis(check, part, report);
    }
    check->line_count += scan->verdict.line_count;
    return is_valid ? AOF_PART_VALID : fix_part(check, part, file, report);
}

static enum aof_part_result check_content(struct check_aof *check, const struct aof_part *part,
                                          int file, struct aof_part_report *report) {
    if (part->has_rdb) {
        if (!check->io->check_rdb(check->out, part->path, part->name, &report->rdb_bytes)) {
            fprintf(check->out, "RDB preamble of AOF file is not sane, aborting.\n");
            return AOF_PART_FAILED;
        }
        fprintf(check->out, "RDB preamble is OK, proceeding with AOF tail...\n");
    }
    const struct aof_scan_options options = {
        .start_offset = report->rdb_bytes,
        .has_time_limit = check->options.has_time_limit,
        .time_limit = check->options.time_limit,
    };
    if (aof_scan_run(file, &options, &report->scan) != STATUS_OK) {
        fprintf(check->out, "Failed to read from AOF %s, aborting...\n", part->name);
        return AOF_PART_FAILED;
    }
    report->valid_bytes = report->scan.verdict.valid_bytes;
    return judge_commands(check, part, file, report);
}

enum aof_part_result check_aof_part(struct check_aof *check, const struct aof_part *part) {
    struct aof_part_report report = {0};
    enum aof_part_result result = AOF_PART_FAILED;
    int file = open_part(check, part, &report);
    if (file >= 0) {
        result = report.size == 0 ? AOF_PART_EMPTY : check_content(check, part, file, &report);
        close(file);
    }
    check->command_count += report.scan.command_count;
    check->transaction_count += report.scan.transaction_count;
    check->timestamp_count += report.scan.timestamp_count;
    check->valid_bytes = report.valid_bytes;
    if (check->files != NULL) check_aof_json_add(check, part, &report, result);
    return result;
}

#include "tools/check/check_rdb.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/rdb/rdb_check.h"
#include "server/rdb/rdb_format.h"
#include "tools/check/check_guard.h"
#include "tools/check/check_text.h"

enum {
    SHOWN_MAX = 4096,    /* Bytes of a name or value in a line. */
    KEPT_NAME_MAX = 256, /* In the report. */
};

struct check {
    struct rdb_reader reader;
    struct rdb_file file;
    struct check_rdb_report *report;
    FILE *out;
    int64_t now_ms;
    uint64_t db;
    uint64_t item_offset; /* Where the item that is being read began. */
    bool is_empty_collection;
    struct buffer key; /* The one that is being read, made readable. */
    struct buffer line;
};

/* -- lines -- */

static void end_line(struct check *check) {
    buffer_append_u8(&check->line, '\n');
    if (check->out != NULL) fwrite(check->line.data, 1, check->line.len, check->out);
    buffer_clear(&check->line);
}

static void begin_line(struct check *check, uint64_t offset) {
    buffer_append_format(&check->line, "[offset %llu] ", (unsigned long long)offset);
}

static void write_line(struct check *check, const char *text) {
    begin_line(check, rdb_reader_offset(&check->reader));
    buffer_append_text(&check->line, text);
    end_line(check);
}

static void write_info(struct check *check, uint64_t count, const char *what) {
    buffer_append_format(&check->line, "[info] %llu %s", (unsigned long long)count, what);
    end_line(check);
}

static void write_counts(struct check *check) {
    const struct check_rdb_report *report = check->report;
    write_info(check, report->keys, "keys read");
    write_info(check, report->expires, "expires");
    write_info(check, report->already_expired, "already expired");
}

static void write_error(struct check *check) {
    const struct check_rdb_error *error = &check->report->error;
    struct buffer *line = &check->line;
    buffer_append_text(line, "--- RDB ERROR DETECTED ---");
    end_line(check);
    begin_line(check, error->offset);
    buffer_append_bytes(line, buffer_view(&error->text));
    end_line(check);
    buffer_append_format(line, "[additional info] While doing: %s", error->doing);
    end_line(check);
    if (error->has_key) {
        buffer_append_text(line, "[additional info] Reading key '");
        buffer_append_bytes(line, buffer_view(&error->key));
        buffer_append_text(line, "'");
        end_line(check);
    }
    if (error->has_type) {
        buffer_append_format(line, "[additional info] Reading type %u (%s)", error->type,
                             check_rdb_encoding_name(error->type));
        end_line(check);
    }
    if (error->is_empty_collection) {
        buffer_append_text(line, "[additional info] The value of this key has no elements");
        end_line(check);
    }
    write_counts(check);
}

static void write_good(struct check *check) {
    if (check->report->checksum == RDB_CHECKSUM_VERIFIED)
        write_line(check, "Checksum OK");
    else if (check->report->checksum == RDB_CHECKSUM_DISABLED)
        write_line(check, "RDB file was saved with checksum disabled: no check performed.");
    write_line(check, "\\o/ RDB looks OK! \\o/");
    write_counts(check);
}

/* -- counting -- */

static const enum check_rdb_type types_of_encodings[] = {
    [RDB_TYPE_STRING] = CHECK_RDB_STRING,
    [RDB_TYPE_LIST] = CHECK_RDB_LIST,
    [RDB_TYPE_SET] = CHECK_RDB_SET,
    [RDB_TYPE_ZSET_TEXT] = CHECK_RDB_ZSET,
    [RDB_TYPE_HASH] = CHECK_RDB_HASH,
    [RDB_TYPE_ZSET] = CHECK_RDB_ZSET,
    [RDB_TYPE_MODULE_PRE_GA] = CHECK_RDB_MODULE,
    [RDB_TYPE_MODULE] = CHECK_RDB_MODULE,
    [RDB_TYPE_HASH_ZIPMAP] = CHECK_RDB_HASH,
    [RDB_TYPE_LIST_ZIPLIST] = CHECK_RDB_LIST,
    [RDB_TYPE_SET_INTSET] = CHECK_RDB_SET,
    [RDB_TYPE_ZSET_ZIPLIST] = CHECK_RDB_ZSET,
    [RDB_TYPE_HASH_ZIPLIST] = CHECK_RDB_HASH,
    [RDB_TYPE_LIST_ZIPLISTS] = CHECK_RDB_LIST,
    [RDB_TYPE_STREAM_1] = CHECK_RDB_STREAM,
    [RDB_TYPE_HASH_LISTPACK] = CHECK_RDB_HASH,
    [RDB_TYPE_ZSET_LISTPACK] = CHECK_RDB_ZSET,
    [RDB_TYPE_LIST_NODES] = CHECK_RDB_LIST,
    [RDB_TYPE_STREAM_2] = CHECK_RDB_STREAM,
    [RDB_TYPE_SET_LISTPACK] = CHECK_RDB_SET,
    [RDB_TYPE_STREAM_3] = CHECK_RDB_STREAM,
};

const char *check_rdb_type_name(enum check_rdb_type type) {
    static const char *const names[CHECK_RDB_TYPE_COUNT] = {
        "string", "list", "set", "zset", "hash", "stream", "module",
    };
    return names[type];
}

const char *check_rdb_encoding_name(unsigned rdb_type) {
    static const char *const names[] = {
        "string",
        "list-linked",
        "set-hashtable",
        "zset-v1",
        "hash-hashtable",
        "zset-v2",
        "module-pre-release",
        "module-value",
        "",
        "hash-zipmap",
        "list-ziplist",
        "set-intset",
        "zset-ziplist",
        "hash-ziplist",
        "quicklist",
        "stream",
        "hash-listpack",
        "zset-listpack",
        "quicklist-v2",
        "stream-v2",
        "set-listpack",
        "stream-v3",
    };
    return rdb_type < ARRAY_COUNT(names) ? names[rdb_type] : "unknown";
}

static struct check_rdb_database *find_database(struct check_rdb_report *report, uint64_t db) {
    for (unsigned i = 0; i < report->database_count; i++) {
        if (report->databases[i].db == db) return &report->databases[i];
    }
    if (report->database_count == CHECK_RDB_DATABASES_MAX) return NULL;
    if (report->databases == NULL)
        report->databases = mem_alloc_zero(CHECK_RDB_DATABASES_MAX * sizeof(*report->databases));
    struct check_rdb_database *fresh = &report->databases[report->database_count++];
    fresh->db = db;
    return fresh;
}

static void keep_if_big(struct check_rdb_type_summary *summary, struct check_rdb_key key,
                        struct bytes name) {
    unsigned count = summary->biggest_count;
    bool is_full = count == CHECK_RDB_BIGGEST_MAX;
    if (is_full && summary->biggest[count - 1].bytes >= key.bytes) return;
    check_append_readable(&key.name, name, KEPT_NAME_MAX);
    if (is_full)
        buffer_deinit(&summary->biggest[--count].name);
    else
        summary->biggest_count++;
    for (; count > 0 && summary->biggest[count - 1].bytes < key.bytes; count--)
        summary->biggest[count] = summary->biggest[count - 1];
    summary->biggest[count] = key;
}

/* A key whose value was read to its end. */
static void count_key(struct check *check, const struct rdb_item *item, uint64_t elements) {
    struct check_rdb_report *report = check->report;
    struct check_rdb_type_summary *summary = &report->types[types_of_encodings[item->type]];
    const struct check_rdb_key key = {
        .db = check->db,
        .bytes = rdb_reader_offset(&check->reader) - check->item_offset,
        .elements = elements,
    };
    summary->keys++;
    summary->bytes += key.bytes;
    summary->elements += elements;
    keep_if_big(summary, key, buffer_view(&check->key));
    struct check_rdb_database *database = find_database(report, check->db);
    if (database != NULL) database->keys++;
    if (!item->has_expiry || item->expires_at_ms == -1) return; // -1 is how "never" is written.
    report->expires++;
    if (item->expires_at_ms < check->now_ms) report->already_expired++;
    if (database != NULL) database->expires++;
}

/* -- items -- */

static void take_aux(struct check *check, const struct rdb_item *item) {
    struct check_rdb_report *report = check->report;
    begin_line(check, rdb_reader_offset(&check->reader));
    buffer_append_text(&check->line, "AUX FIELD ");
    check_append_readable(&check->line, item->name, SHOWN_MAX);
    buffer_append_text(&check->line, " = '");
    check_append_readable(&check->line, item->value, SHOWN_MAX);
    buffer_append_text(&check->line, "'");
    end_line(check);
    if (report->aux_count == CHECK_RDB_AUX_MAX) return;
    struct check_rdb_aux *aux = &report->aux[report->aux_count++];
    check_append_readable(&aux->name, item->name, KEPT_NAME_MAX);
    check_append_readable(&aux->value, item->value, KEPT_NAME_MAX);
}

static void take_database(struct check *check, uint64_t db) {
    check->db = db;
    begin_line(check, rdb_reader_offset(&check->reader));
    buffer_append_format(&check->line, "Selecting DB ID %llu", (unsigned long long)db);
    end_line(check);
}

static void take_module_aux(struct check *check, const struct rdb_item *item) {
    check->report->module_aux++;
    begin_line(check, rdb_reader_offset(&check->reader));
    buffer_append_text(&check->line, "MODULE AUX for: ");
    buffer_append_bytes(&check->line, item->name);
    end_line(check);
}

static enum status take_key(struct check *check, const struct rdb_item *item) {
    check_append_readable(&check->key, item->name, SHOWN_MAX);
    check->report->keys++;
    struct rdb_value_facts facts = {0};
    enum status status = rdb_check_value(&check->reader, item->type, &facts);
    if (status != STATUS_OK) return status;
    if (facts.is_empty) {
        check->is_empty_collection = true;
        return rdb_reader_fail(&check->reader, STATUS_BAD_FORMAT,
                               "Unexpected EOF reading RDB file");
    }
    count_key(check, item, facts.element_count);
    buffer_clear(&check->key);
    return STATUS_OK;
}

static enum status take_item(struct check *check, const struct rdb_item *item) {
    switch (item->kind) {
    case RDB_ITEM_AUX:
        take_aux(check, item);
        return STATUS_OK;
    case RDB_ITEM_SELECT_DB:
        take_database(check, item->db);
        return STATUS_OK;
    case RDB_ITEM_MODULE_AUX:
        take_module_aux(check, item);
        return STATUS_OK;
    case RDB_ITEM_FUNCTION:
        check->report->functions++;
        return STATUS_OK;
    case RDB_ITEM_KEY:
        return take_key(check, item);
    case RDB_ITEM_RESIZE_DB:
        return STATUS_OK;
    case RDB_ITEM_END:
        check->report->checksum = item->checksum;
        return STATUS_OK;
    }
    return STATUS_OK;
}

/* To the end, or to a failure that the reader keeps. */
static void take_items(void *arg) {
    struct check *check = arg;
    struct rdb_item item = {0};
    do {
        uint64_t offset = rdb_reader_offset(&check->reader);
        check->item_offset = offset < RDB_HEADER_BYTES ? RDB_HEADER_BYTES : offset;
        enum status status = rdb_file_next(&check->file, &item);
        if (status == STATUS_OK) status = take_item(check, &item);
        if (status != STATUS_OK) return;
    } while (item.kind != RDB_ITEM_END);
}

/* True when all of the file is good. */
static bool take_file(struct check *check) {
    if (!check_guard_run(take_items, check))
        rdb_reader_fail(&check->reader, STATUS_BAD_FORMAT,
                        "Server crash checking the specified RDB file!");
    return check->reader.error.status == STATUS_OK;
}

/* The type stands in the message from its byte on until the value is read; the reference begins
 * with that of a string. */
static bool is_reading_type(const struct check *check) {
    enum rdb_stage stage = check->file.stage;
    bool is_first = check->report->keys == 0;
    return stage == RDB_STAGE_KEY || stage == RDB_STAGE_VALUE || is_first;
}

static void keep_error(struct check *check) {
    struct check_rdb_error *error = &check->report->error;
    const struct rdb_error *cause = &check->reader.error;
    *error = (struct check_rdb_error){
        .is_set = true,
        .has_key = check->file.stage == RDB_STAGE_VALUE,
        .has_type = is_reading_type(check),
        .is_empty_collection = check->is_empty_collection,
        .offset = cause->offset,
        .type = check->file.key_type,
        .doing = rdb_stage_name(check->file.stage),
        .key = check->key,
    };
    check->key = (struct buffer){0};
    bool is_library = check->file.stage == RDB_STAGE_FUNCTIONS && cause->status == STATUS_CLOSED;
    buffer_append_text(&error->text, is_library
                                         ? "Failed loading library, Failed loading library payload"
                                         : cause->reason);
}

bool check_rdb(const struct check_rdb_input *input, struct check_rdb_report *report) {
    struct check check = {.report = report, .out = input->out, .now_ms = input->now_ms};
    rdb_reader_init(&check.reader, input->source);
    rdb_file_init(
        &check.file, &check.reader,
        &(struct rdb_file_options){.is_skipping_modules = true, .checks_type_first = true});
    begin_line(&check, 0);
    buffer_append_format(&check.line, "Checking RDB file %s", input->name);
    end_line(&check);
    bool is_good = take_file(&check);
    report->version = check.file.version;
    report->end_offset = rdb_reader_offset(&check.reader);
    if (is_good) {
        write_good(&check);
    } else {
        keep_error(&check);
        write_error(&check);
    }
    rdb_file_deinit(&check.file);
    rdb_reader_deinit(&check.reader);
    buffer_deinit(&check.key);
    buffer_deinit(&check.line);
    return is_good;
}

static enum status fill_from_descriptor(void *context, uint8_t *out, size_t cap, size_t *out_len) {
    for (;;) {
        ssize_t got = read(*(int *)context, out, cap);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return STATUS_IO_ERROR;
        *out_len = (size_t)got;
        return STATUS_OK;
    }
}

bool check_rdb_descriptor(int fd, const char *name, FILE *out, struct check_rdb_report *report) {
    return check_rdb(
        &(struct check_rdb_input){
            .source = {fill_from_descriptor, &fd},
            .name = name,
            .out = out,
            .now_ms = (int64_t)clock_wall_ms(),
        },
        report);
}

void check_rdb_report_deinit(struct check_rdb_report *report) {
    for (unsigned i = 0; i < report->aux_count; i++) {
        buffer_deinit(&report->aux[i].name);
        buffer_deinit(&report->aux[i].value);
    }
    for (unsigned type = 0; type < CHECK_RDB_TYPE_COUNT; type++) {
        for (unsigned i = 0; i < report->types[type].biggest_count; i++)
            buffer_deinit(&report->types[type].biggest[i].name);
    }
    mem_free(report->databases);
    buffer_deinit(&report->error.key);
    buffer_deinit(&report->error.text);
    *report = (struct check_rdb_report){0};
}

/* The report as one JSON object. */
#include <string.h>

#include <json-c/json.h>

#include "tools/check/check_aof_internal.h"

static void add_number(json_object *object, const char *key, uint64_t value) {
    json_object_object_add(object, key, json_object_new_uint64(value));
}

static void add_text(json_object *object, const char *key, const char *text) {
    json_object_object_add(object, key, json_object_new_string(text));
}

static void add_bool(json_object *object, const char *key, bool value) {
    json_object_object_add(object, key, json_object_new_boolean(value));
}

static const char *role_text(enum aof_role role) {
    switch (role) {
    case AOF_ROLE_BASE:
        return "base";
    case AOF_ROLE_INCREMENT:
        return "increment";
    case AOF_ROLE_ALONE:
        break;
    }
    return "alone";
}

static const char *outcome_text(enum aof_outcome outcome) {
    switch (outcome) {
    case AOF_TRUNCATED:
        return "truncated";
    case AOF_CORRUPT:
        return "corrupt";
    case AOF_COMPLETE:
        break;
    }
    return "complete";
}

static void add_damage(json_object *object, const struct aof_scan *scan) {
    if (scan->end != AOF_SCAN_JUDGED || scan->verdict.outcome == AOF_COMPLETE) return;
    json_object *damage = json_object_new_object();
    add_text(damage, "outcome", outcome_text(scan->verdict.outcome));
    add_number(damage, "offset", scan->verdict.fault_offset);
    add_bool(damage, "in_transaction", scan->verdict.is_in_transaction);
    json_object_object_add(object, "damage", damage);
}

static void add_times(json_object *object, const struct aof_scan *scan) {
    if (scan->timestamp_count == 0) return;
    json_object_object_add(object, "first_timestamp", json_object_new_int64(scan->first_timestamp));
    json_object_object_add(object, "last_timestamp", json_object_new_int64(scan->last_timestamp));
}

void check_aof_json_add(struct check_aof *check, const struct aof_part *part,
                        const struct aof_part_report *report, enum aof_part_result result) {
    json_object *object = json_object_new_object();
    add_text(object, "file", part->name);
    add_text(object, "type", role_text(part->role));
    add_number(object, "size", report->size);
    add_number(object, "rdb_bytes", report->rdb_bytes);
    add_number(object, "commands", report->scan.command_count);
    add_number(object, "transactions", report->scan.transaction_count);
    add_number(object, "timestamps", report->scan.timestamp_count);
    add_times(object, &report->scan);
    add_number(object, "valid_up_to", report->valid_bytes);
    add_damage(object, &report->scan);
    add_bool(object, "cut", result == AOF_PART_CUT);
    add_bool(object, "ok", result != AOF_PART_FAILED);
    json_object_array_add(check->files, object);
}

/* The lines of `text` that are not empty. */
static json_object *lines_of(const char *text) {
    json_object *lines = json_object_new_array();
    while (*text != 0) {
        size_t len = strcspn(text, "\n");
        if (len > 0) json_object_array_add(lines, json_object_new_string_len(text, (int)len));
        text += len + (text[len] == '\n');
    }
    return lines;
}

void check_aof_json_print(struct check_aof *check, const char *messages, bool is_ok) {
    json_object *object = json_object_new_object();
    add_text(object, "file", check->options.path);
    json_object_object_add(object, "files", check->files);
    add_number(object, "commands", check->command_count);
    add_number(object, "transactions", check->transaction_count);
    add_number(object, "timestamps", check->timestamp_count);
    add_number(object, "valid_up_to", check->valid_bytes);
    json_object_object_add(object, "messages", lines_of(messages));
    add_bool(object, "ok", is_ok);
    const int format =
        JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE;
    fprintf(check->io->out, "%s\n", json_object_to_json_string_ext(object, format));
    json_object_put(object);
    check->files = NULL;
}

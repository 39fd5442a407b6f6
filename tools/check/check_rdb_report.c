/* What goes beyond the reference's output: the summary, and the JSON form. */
#include <inttypes.h>

#include <json-c/json.h>

#include "tools/check/check_rdb.h"

static void print_biggest(const struct check_rdb_type_summary *summary, FILE *out) {
    for (unsigned i = 0; i < summary->biggest_count; i++) {
        const struct check_rdb_key *key = &summary->biggest[i];
        fprintf(out, "[summary]   %" PRIu64 " bytes, %" PRIu64 " elements: db %" PRIu64 " '%.*s'\n",
                key->bytes, key->elements, key->db, (int)key->name.len,
                (const char *)key->name.data);
    }
}

void check_rdb_print_summary(const struct check_rdb_report *report, FILE *out) {
    for (int type = 0; type < CHECK_RDB_TYPE_COUNT; type++) {
        const struct check_rdb_type_summary *summary = &report->types[type];
        if (summary->keys == 0) continue;
        fprintf(out,
                "[summary] %s: %" PRIu64 " keys, %" PRIu64 " bytes in the file, %" PRIu64
                " elements; the biggest:\n",
                check_rdb_type_name((enum check_rdb_type)type), summary->keys, summary->bytes,
                summary->elements);
        print_biggest(summary, out);
    }
}

/* -- JSON -- */

static json_object *json_text(const struct buffer *text) {
    return json_object_new_string_len(text->len == 0 ? "" : (const char *)text->data,
                                      (int)text->len);
}

static void add_number(json_object *object, const char *name, uint64_t number) {
    json_object_object_add(object, name, json_object_new_uint64(number));
}

/* AUX fields may repeat: the last one counts, as it does for a loader. */
static json_object *json_aux(const struct check_rdb_report *report) {
    json_object *object = json_object_new_object();
    for (unsigned i = 0; i < report->aux_count; i++) {
        json_object *name = json_text(&report->aux[i].name);
        json_object_object_add(object, json_object_get_string(name),
                               json_text(&report->aux[i].value));
        json_object_put(name);
    }
    return object;
}

static json_object *json_databases(const struct check_rdb_report *report) {
    json_object *object = json_object_new_object();
    for (unsigned i = 0; i < report->database_count; i++) {
        const struct check_rdb_database *database = &report->databases[i];
        json_object *counts = json_object_new_object();
        char name[24];
        snprintf(name, sizeof(name), "%" PRIu64, database->db);
        add_number(counts, "keys", database->keys);
        add_number(counts, "expires", database->expires);
        json_object_object_add(object, name, counts);
    }
    return object;
}

static json_object *json_biggest(const struct check_rdb_type_summary *summary) {
    json_object *array = json_object_new_array();
    for (unsigned i = 0; i < summary->biggest_count; i++) {
        const struct check_rdb_key *key = &summary->biggest[i];
        json_object *object = json_object_new_object();
        json_object_object_add(object, "key", json_text(&key->name));
        add_number(object, "db", key->db);
        add_number(object, "bytes", key->bytes);
        add_number(object, "elements", key->elements);
        json_object_array_add(array, object);
    }
    return array;
}

static json_object *json_types(const struct check_rdb_report *report) {
    json_object *object = json_object_new_object();
    for (int type = 0; type < CHECK_RDB_TYPE_COUNT; type++) {
        const struct check_rdb_type_summary *summary = &report->types[type];
        if (summary->keys == 0) continue;
        json_object *counts = json_object_new_object();
        add_number(counts, "keys", summary->keys);
        add_number(counts, "bytes", summary->bytes);
        add_number(counts, "elements", summary->elements);
        json_object_object_add(counts, "biggest", json_biggest(summary));
        json_object_object_add(object, check_rdb_type_name((enum check_rdb_type)type), counts);
    }
    return object;
}

static json_object *json_errors(const struct check_rdb_error *error) {
    json_object *array = json_object_new_array();
    if (!error->is_set) return array;
    json_object *object = json_object_new_object();
    add_number(object, "offset", error->offset);
    json_object_object_add(object, "doing", json_object_new_string(error->doing));
    if (error->has_key) {
        json_object_object_add(object, "key", json_text(&error->key));
        json_object_object_add(object, "type",
                               json_object_new_string(check_rdb_encoding_name(error->type)));
    }
    json_object *text = error->is_empty_collection
                            ? json_object_new_string("The value of this key has no elements")
                            : json_text(&error->text);
    json_object_object_add(object, "text", text);
    json_object_array_add(array, object);
    return array;
}

static const char *checksum_word(const struct check_rdb_report *report) {
    if (report->error.is_set) return "unknown";
    switch (report->checksum) {
    case RDB_CHECKSUM_VERIFIED:
        return "ok";
    case RDB_CHECKSUM_ABSENT:
        return "absent";
    case RDB_CHECKSUM_DISABLED:
        return "disabled";
    case RDB_CHECKSUM_IGNORED:
        return "ignored";
    }
    return "unknown";
}

void check_rdb_print_json(const struct check_rdb_report *report, const char *name, FILE *out) {
    json_object *root = json_object_new_object();
    json_object_object_add(root, "file", json_object_new_string(name));
    json_object_object_add(root, "ok", json_object_new_boolean(!report->error.is_set));
    add_number(root, "version", report->version);
    add_number(root, "bytes", report->end_offset);
    json_object_object_add(root, "checksum", json_object_new_string(checksum_word(report)));
    add_number(root, "keys", report->keys);
    add_number(root, "expires", report->expires);
    add_number(root, "already_expired", report->already_expired);
    add_number(root, "functions", report->functions);
    add_number(root, "module_aux", report->module_aux);
    json_object_object_add(root, "aux", json_aux(report));
    json_object_object_add(root, "databases", json_databases(report));
    json_object_object_add(root, "types", json_types(report));
    json_object_object_add(root, "errors", json_errors(&report->error));
    const int flags = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;
    fprintf(out, "%s\n", json_object_to_json_string_ext(root, flags));
    json_object_put(root);
}

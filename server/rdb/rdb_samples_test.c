/* Files and payloads that real servers wrote or refused, against what they say of them. The samples
 * lie outside the tree; without them these tests are skipped. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <json-c/json.h>
#include <openssl/sha.h>

#include "server/base/buffer.h"
#include "server/base/mem.h"
#include "server/base/rng.h"
#include "server/rdb/rdb_blob.h"
#include "server/rdb/rdb_dump.h"
#include "server/rdb/rdb_file.h"
#include "server/rdb/rdb_fuzz.h"
#include "server/rdb/rdb_reader.h"
#include "server/rdb/rdb_writer.h"

enum { PATH_CAP = 1024 };

static const char *samples_dir(void) {
    const char *dir = getenv("DUNLIN_SAMPLES");
    DIR *open = dir == NULL ? NULL : opendir(dir);
    if (open == NULL) cr_skip_test("no samples at %s", dir == NULL ? "(unset)" : dir);
    closedir(open);
    return dir;
}

static struct buffer read_whole_file(const char *path) {
    struct buffer content = {0};
    FILE *file = fopen(path, "rbe");
    cr_assert_not_null(file, "%s", path);
    size_t got = 0;
    while ((got = fread(buffer_reserve(&content, 65536), 1, 65536, file)) > 0)
        content.len += got;
    fclose(file);
    return content;
}

/* One line of text for each element of a value, sorted where order means nothing: two values are
 * equal when their lines are. */
struct lines {
    char **texts;
    size_t count;
};

static void lines_take(struct lines *lines, struct buffer *line) {
    buffer_append_u8(line, 0);
    lines->texts = mem_realloc(lines->texts, (lines->count + 1) * sizeof(char *));
    lines->texts[lines->count++] = (char *)line->data;
    *line = (struct buffer){0};
}

static void lines_deinit(struct lines *lines) {
    for (size_t i = 0; i < lines->count; i++)
        mem_free(lines->texts[i]);
    mem_free(lines->texts);
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void lines_sort(struct lines *lines) {
    if (lines->count > 0) qsort(lines->texts, lines->count, sizeof(char *), compare_texts);
}

/* A byte string as the samples' JSON tells it. */
static void render_bytes(struct buffer *out, struct bytes bytes) {
    bool is_printable = true;
    for (size_t i = 0; i < bytes.len; i++)
        is_printable = is_printable && bytes.data[i] >= 0x20 && bytes.data[i] < 0x7f;
    uint8_t digest[SHA_DIGEST_LENGTH];
    if (bytes.len > 1000) {
        buffer_append_format(out, "len:%zu:", bytes.len);
        SHA1(bytes.data, bytes.len, digest);
        bytes = bytes_of(digest, sizeof(digest));
        is_printable = false;
    } else if (!is_printable) {
        buffer_append_text(out, "hex:");
    }
    if (is_printable) {
        buffer_append_bytes(out, bytes);
        return;
    }
    for (size_t i = 0; i < bytes.len; i++)
        buffer_append_format(out, "%02x", bytes.data[i]);
}

static void render_json(struct buffer *out, json_object *json) {
    json_object *member = NULL;
    if (json_object_object_get_ex(json, "hex", &member)) {
        buffer_append_format(out, "hex:%s", json_object_get_string(member));
    } else if (json_object_object_get_ex(json, "len", &member)) {
        buffer_append_format(out, "len:%d:", json_object_get_int(member));
        json_object_object_get_ex(json, "sha1", &member);
        buffer_append_text(out, json_object_get_string(member));
    } else {
        buffer_append_text(out, json_object_get_string(json));
    }
}

static void render_score(struct buffer *out, double score) {
    buffer_append_format(out, "=%.17g", score == 0 ? 0.0 : score);
}

static void render_value(struct buffer *out, struct listpack_value value) {
    if (value.text.data != NULL)
        render_bytes(out, value.text);
    else
        buffer_append_i64(out, value.number);
}

static struct lines lines_of_json(const char *type, json_object *value) {
    struct lines lines = {0};
    struct buffer line = {0};
    if (strcmp(type, "string") == 0) {
        render_json(&line, value);
        lines_take(&lines, &line);
        return lines;
    }
    bool has_pairs = strcmp(type, "hash") == 0 || strcmp(type, "zset") == 0;
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        json_object *element = json_object_array_get_idx(value, i);
        render_json(&line, has_pairs ? json_object_array_get_idx(element, 0) : element);
        if (strcmp(type, "hash") == 0) {
            buffer_append_u8(&line, '=');
            render_json(&line, json_object_array_get_idx(element, 1));
        } else if (has_pairs) {
            const char *score = json_object_get_string(json_object_array_get_idx(element, 1));
            render_score(&line, strtod(score, NULL));
        }
        lines_take(&lines, &line);
    }
    if (strcmp(type, "list") != 0) lines_sort(&lines);
    return lines;
}

static enum status blob_lines(struct rdb_reader *reader, unsigned type, struct lines *lines) {
    struct rdb_blob blob;
    enum status status = rdb_read_blob(reader, type, &blob);
    if (status != STATUS_OK) return status;
    bool is_zset = type == RDB_TYPE_ZSET_ZIPLIST || type == RDB_TYPE_ZSET_LISTPACK;
    struct rdb_blob_cursor cursor = {0};
    struct listpack_value value;
    while (rdb_blob_next(&blob, &cursor, &value)) {
        struct buffer line = {0};
        render_value(&line, value);
        if (is_zset) {
            cr_assert(rdb_blob_next(&blob, &cursor, &value));
            double score = (double)value.number;
            if (value.text.data != NULL) cr_assert(number_parse_double(value.text, &score));
            render_score(&line, score);
        }
        lines_take(lines, &line);
    }
    rdb_blob_deinit(&blob);
    return STATUS_OK;
}

static enum status pair_lines(struct rdb_reader *reader, unsigned type, struct lines *lines) {
    struct rdb_pairs pairs;
    enum status status = rdb_pairs_init(&pairs, reader, type);
    if (status != STATUS_OK) return status;
    struct bytes field;
    struct bytes value;
    while ((status = rdb_pairs_next(&pairs, &field, &value)) == STATUS_OK) {
        struct buffer line = {0};
        render_bytes(&line, field);
        buffer_append_u8(&line, '=');
        render_bytes(&line, value);
        lines_take(lines, &line);
    }
    rdb_pairs_deinit(&pairs);
    if (status != STATUS_NOT_FOUND) return status;
    lines_sort(lines);
    for (size_t i = 1; i < lines->count; i++) { // Type 4: a repeated field is the collector's.
        size_t field_len = strcspn(lines->texts[i], "=") + 1;
        if (strncmp(lines->texts[i - 1], lines->texts[i], field_len) == 0) return STATUS_BAD_FORMAT;
    }
    return STATUS_OK;
}

/* Types 1, 2, 3, 5: strings one by one, with a score behind or not. */
static enum status item_lines(struct rdb_reader *reader, unsigned type, struct lines *lines) {
    uint64_t count = 0;
    enum status status = rdb_read_count(reader, &count);
    while (status == STATUS_OK && count-- > 0) {
        struct bytes text;
        status = rdb_read_view(reader, &text);
        if (status != STATUS_OK) break;
        struct buffer line = {0};
        render_bytes(&line, text);
        double score = 0;
        if (type == RDB_TYPE_ZSET) status = rdb_read_double(reader, &score);
        if (type == RDB_TYPE_ZSET_TEXT) status = rdb_read_text_double(reader, &score);
        if (score != score) status = STATUS_BAD_FORMAT;
        if (type == RDB_TYPE_ZSET || type == RDB_TYPE_ZSET_TEXT) render_score(&line, score);
        lines_take(lines, &line);
    }
    if (type != RDB_TYPE_LIST) lines_sort(lines);
    for (size_t i = 1; type == RDB_TYPE_SET && i < lines->count; i++) {
        if (strcmp(lines->texts[i - 1], lines->texts[i]) == 0) return STATUS_BAD_FORMAT;
    }
    return status;
}

static enum status node_lines(struct rdb_reader *reader, unsigned type, struct lines *lines) {
    uint64_t count = 0;
    enum status status = rdb_read_count(reader, &count);
    while (status == STATUS_OK && count-- > 0) {
        uint64_t container = RDB_LIST_NODE_PACKED;
        if (type == RDB_TYPE_LIST_NODES) status = rdb_read_length(reader, &container);
        if (status != STATUS_OK) break;
        if (container == RDB_LIST_NODE_PACKED) {
            status = blob_lines(reader, type, lines);
            continue;
        }
        if (container != RDB_LIST_NODE_PLAIN) return STATUS_BAD_FORMAT;
        struct bytes text;
        status = rdb_read_view(reader, &text);
        if (status != STATUS_OK) break;
        struct buffer line = {0};
        render_bytes(&line, text);
        lines_take(lines, &line);
    }
    return status;
}

/* Streams give one line whatever they hold: their own codec has tests of its own. */
static enum status value_lines(struct rdb_reader *reader, unsigned type, struct lines *lines) {
    struct buffer line = {0};
    enum status status = STATUS_OK;
    switch (type) {
    case RDB_TYPE_STRING: {
        struct bytes text;
        status = rdb_read_view(reader, &text);
        if (status != STATUS_OK) return status;
        render_bytes(&line, text);
        lines_take(lines, &line);
        return STATUS_OK;
    }
    case RDB_TYPE_LIST:
    case RDB_TYPE_SET:
    case RDB_TYPE_ZSET_TEXT:
    case RDB_TYPE_ZSET:
        return item_lines(reader, type, lines);
    case RDB_TYPE_LIST_ZIPLISTS:
    case RDB_TYPE_LIST_NODES:
        return node_lines(reader, type, lines);
    case RDB_TYPE_HASH:
    case RDB_TYPE_HASH_ZIPMAP:
    case RDB_TYPE_HASH_ZIPLIST:
    case RDB_TYPE_HASH_LISTPACK:
        return pair_lines(reader, type, lines);
    case RDB_TYPE_LIST_ZIPLIST:
        return blob_lines(reader, type, lines);
    case RDB_TYPE_SET_INTSET:
    case RDB_TYPE_ZSET_ZIPLIST:
    case RDB_TYPE_ZSET_LISTPACK:
    case RDB_TYPE_SET_LISTPACK:
        status = blob_lines(reader, type, lines);
        lines_sort(lines);
        return status;
    default:
        buffer_append_text(&line, "stream");
        lines_take(lines, &line);
        return rdb_skip_value(reader, type);
    }
}

/* What a walk over one file met, against the JSON beside it. */
struct comparison {
    const char *path;
    json_object *dbs; /* NULL: nothing is compared. */
    bool is_written;  /* By that server itself, so that types and expiries are told. */
    char db[24];
    size_t found;
};

static void compare_key(struct comparison *it, const struct rdb_item *item,
                        const struct lines *lines) {
    struct buffer name = {0};
    render_bytes(&name, item->name);
    buffer_append_u8(&name, 0);
    const char *text = (const char *)name.data;
    json_object *db = NULL;
    json_object *key = NULL;
    if (json_object_object_get_ex(it->dbs, it->db, &db)) json_object_object_get_ex(db, text, &key);
    if (key == NULL) { // The server may have dropped it while loading.
        cr_assert(item->has_expiry || (!it->is_written && lines->count == 0), "%s: %s", it->path,
                  text);
        buffer_deinit(&name);
        return;
    }
    it->found++;
    json_object *expiry = NULL;
    json_object_object_get_ex(key, "expire_at_ms", &expiry);
    cr_assert_eq(expiry != NULL, item->has_expiry, "%s: %s", it->path, text);
    if (expiry != NULL) cr_assert_eq(json_object_get_int64(expiry), item->expires_at_ms);
    const char *type = json_object_get_string(json_object_object_get(key, "type"));
    if (it->is_written)
        cr_assert_eq(json_object_get_int(json_object_object_get(key, "rdb_type")), item->type);
    if (strcmp(type, "stream") != 0) {
        struct lines expected = lines_of_json(type, json_object_object_get(key, "value"));
        cr_assert_eq(lines->count, expected.count, "%s: %s", it->path, text);
        for (size_t i = 0; i < lines->count; i++)
            cr_assert_str_eq(lines->texts[i], expected.texts[i], "%s: %s", it->path, text);
        lines_deinit(&expected);
    }
    buffer_deinit(&name);
}

static enum status walk_file(struct rdb_reader *reader, struct comparison *it) {
    struct rdb_file file;
    rdb_file_init(&file, reader, &(struct rdb_file_options){.database_count = 16});
    struct rdb_item item;
    enum status status = STATUS_OK;
    while ((status = rdb_file_next(&file, &item)) == STATUS_OK && item.kind != RDB_ITEM_END) {
        if (item.kind == RDB_ITEM_SELECT_DB)
            snprintf(it->db, sizeof(it->db), "%llu", (unsigned long long)item.db);
        if (item.kind != RDB_ITEM_KEY) continue;
        struct lines lines = {0};
        status = value_lines(reader, item.type, &lines);
        if (status == STATUS_OK && it->dbs != NULL) compare_key(it, &item, &lines);
        lines_deinit(&lines);
        if (status != STATUS_OK) break;
    }
    rdb_file_deinit(&file);
    return status;
}

struct trickle {
    struct bytes left;
    size_t step;
};

static enum status trickle_fill(void *context, uint8_t *out, size_t cap, size_t *out_len) {
    struct trickle *trickle = context;
    *out_len = trickle->step < cap ? trickle->step : cap;
    if (*out_len > trickle->left.len) *out_len = trickle->left.len;
    if (*out_len > 0) memcpy(out, trickle->left.data, *out_len);
    trickle->left = bytes_from(trickle->left, *out_len);
    return STATUS_OK;
}

static enum status check_file(const char *path, json_object *dbs, bool is_written) {
    struct buffer content = read_whole_file(path);
    static const size_t steps[] = {0, 1, 1000}; // 0: from memory.
    enum status first = STATUS_OK;
    for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
        struct comparison it = {.path = path, .dbs = dbs, .is_written = is_written, .db = "0"};
        struct trickle trickle = {buffer_view(&content), steps[i]};
        struct rdb_reader reader;
        if (steps[i] == 0)
            rdb_reader_init_memory(&reader, buffer_view(&content));
        else
            rdb_reader_init(&reader, (struct rdb_source){trickle_fill, &trickle});
        enum status status = walk_file(&reader, &it);
        if (dbs != NULL) cr_assert_eq(status, STATUS_OK, "%s: %s", path, reader.error.reason);
        size_t expected = 0;
        json_object_iter db;
        if (dbs != NULL) {
            json_object_object_foreachC(dbs, db) expected +=
                (size_t)json_object_object_length(db.val);
        }
        if (dbs != NULL) cr_assert_eq(it.found, expected, "%s", path);
        if (i == 0) first = status;
        cr_assert_eq(first, status, "%s, %zu bytes at a time", path, steps[i]);
        rdb_reader_deinit(&reader);
    }
    buffer_deinit(&content);
    return first;
}

/* Calls `visit` for each .rdb file of a folder with the JSON whose name ends with `suffix`. */
static size_t for_each_file(const char *folder, const char *suffix,
                            void (*visit)(const char *path, const char *name, json_object *json)) {
    char dir_path[PATH_CAP];
    snprintf(dir_path, sizeof(dir_path), "%s/%s", samples_dir(), folder);
    DIR *dir = opendir(dir_path);
    cr_assert_not_null(dir, "%s", dir_path);
    size_t count = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char *dot = strrchr(entry->d_name, '.');
        if (dot == NULL || strcmp(dot, ".rdb") != 0) continue;
        char path[2 * PATH_CAP];
        snprintf(path, sizeof(path), "%s/%s", dir_path, entry->d_name);
        *dot = '\0';
        char json_path[2 * PATH_CAP];
        snprintf(json_path, sizeof(json_path), "%s/%s%s", dir_path, entry->d_name, suffix);
        json_object *json = json_object_from_file(json_path);
        cr_assert_not_null(json, "%s", json_path);
        visit(path, entry->d_name, json);
        json_object_put(json);
        count++;
    }
    closedir(dir);
    return count;
}

static void check_written_file(const char *path, const char *name, json_object *json) {
    (void)name;
    json_object *dbs = NULL;
    cr_assert(json_object_object_get_ex(json, "dbs", &dbs));
    check_file(path, dbs, true);
}

Test(rdb_samples, files_of_redis_7_0_read_as_written) {
    cr_assert_geq(for_each_file("rdb/redis-7.0.15", ".json", check_written_file), 20);
}

Test(rdb_samples, files_of_valkey_8_read_as_written) {
    cr_assert_geq(for_each_file("rdb/valkey-unstable", ".json", check_written_file), 20);
}

static void write_value(struct rdb_writer *writer, struct rdb_reader *reader, unsigned type,
                        struct bytes whole) {
    struct bytes text;
    uint64_t begin = rdb_reader_offset(reader);
    if (type == RDB_TYPE_STRING) {
        cr_assert_eq(rdb_read_view(reader, &text), STATUS_OK);
        rdb_write_string(writer, text);
    } else if (type == RDB_TYPE_HASH) {
        struct rdb_pairs pairs;
        struct bytes value;
        cr_assert_eq(rdb_pairs_init(&pairs, reader, type), STATUS_OK);
        rdb_write_length(writer, pairs.count);
        while (rdb_pairs_next(&pairs, &text, &value) == STATUS_OK) {
            rdb_write_string(writer, text);
            rdb_write_string(writer, value);
        }
        rdb_pairs_deinit(&pairs);
    } else {
        cr_assert_eq(rdb_skip_value(reader, type), STATUS_OK);
        rdb_write_raw(writer, bytes_of(whole.data + begin, rdb_reader_offset(reader) - begin));
    }
}

static void write_item(struct rdb_writer *writer, const struct rdb_item *item) {
    char name[64];
    switch (item->kind) {
    case RDB_ITEM_AUX:
        rdb_write_aux(writer, bytes_to_text(item->name, name, sizeof(name)), item->value);
        break;
    case RDB_ITEM_FUNCTION:
        rdb_write_function(writer, item->value);
        break;
    case RDB_ITEM_SELECT_DB:
        rdb_write_select_db(writer, item->db);
        break;
    case RDB_ITEM_RESIZE_DB:
        rdb_write_resize_db(writer, item->key_count, item->expiry_count);
        break;
    case RDB_ITEM_KEY:
        if (item->has_expiry) rdb_write_expiry(writer, item->expires_at_ms);
        if (item->has_idle) rdb_write_idle(writer, item->idle_seconds);
        if (item->has_freq) rdb_write_freq(writer, item->freq);
        rdb_write_key(writer, (enum rdb_type)item->type, item->name);
        break;
    default:
        cr_assert_fail("unexpected item %d", (int)item->kind);
    }
}

static void rewrite_file(const char *path, const char *name, json_object *json) {
    (void)json;
    struct buffer content = read_whole_file(path);
    struct rdb_reader reader;
    rdb_reader_init_memory(&reader, buffer_view(&content));
    struct rdb_file file;
    rdb_file_init(&file, &reader, &(struct rdb_file_options){0});
    struct rdb_writer writer;
    rdb_writer_init(&writer, &(struct rdb_writer_options){
                                 .has_checksum = strcmp(name, "nochecksum") != 0,
                                 .is_compressing = strcmp(name, "strings-nocompression") != 0,
                             });
    rdb_write_header(&writer);
    struct rdb_item item;
    while (rdb_file_next(&file, &item) == STATUS_OK && item.kind != RDB_ITEM_END) {
        write_item(&writer, &item);
        if (item.kind == RDB_ITEM_KEY)
            write_value(&writer, &reader, item.type, buffer_view(&content));
    }
    cr_assert_eq(reader.error.status, STATUS_OK, "%s: %s", path, reader.error.reason);
    rdb_write_end(&writer);
    cr_assert(bytes_equal(buffer_view(&writer.buffer), buffer_view(&content)), "%s", path);
    rdb_writer_deinit(&writer);
    rdb_file_deinit(&file);
    rdb_reader_deinit(&reader);
    buffer_deinit(&content);
}

Test(rdb_samples, files_of_redis_7_0_are_rewritten_byte_for_byte) {
    cr_assert_geq(for_each_file("rdb/redis-7.0.15", ".json", rewrite_file), 20);
}

/* Where the answer of the walk is not whether the server loaded the file. */
static const struct {
    const char *name;
    enum status status;
} own_answers[] = {
    {"bad-magic", STATUS_BAD_FORMAT},
    {"bad-version-0", STATUS_UNSUPPORTED},
    {"corrupt_ziplist", STATUS_BAD_FORMAT},
    {"v6-checksum-bad", STATUS_BAD_CHECKSUM},
    {"v6-no-checksum", STATUS_CLOSED},
    {"v9-module-aux", STATUS_UNSUPPORTED},
    {"v9-module-value", STATUS_UNSUPPORTED},
    {"v10-db-too-high", STATUS_OUT_OF_RANGE},
    {"v10-duplicate-key", STATUS_OK},     // Whoever keeps the keys sees it.
    {"v10-function-bad-code", STATUS_OK}, // Whoever compiles it sees it.
    {"v10-function-pre-ga", STATUS_UNSUPPORTED},
    {"v10-truncated", STATUS_CLOSED},
    {"v10-type-8", STATUS_UNSUPPORTED},
    {"v12-slot-info-opcode", STATUS_OK}, // Version 12 and Valkey 9's are read here.
    {"v80-valkey-magic", STATUS_OK},
};

static void check_foreign_file(const char *path, const char *name, json_object *json) {
    for (size_t i = 0; i < ARRAY_COUNT(own_answers); i++) {
        if (strcmp(own_answers[i].name, name) != 0) continue;
        cr_assert_eq(check_file(path, NULL, false), own_answers[i].status, "%s", path);
        return;
    }
    cr_assert(json_object_get_boolean(json_object_object_get(json, "starts")), "%s", path);
    json_object *dbs = NULL;
    cr_assert(json_object_object_get_ex(json, "dbs", &dbs), "%s", path);
    check_file(path, dbs, false);
}

Test(rdb_samples, made_files_are_read_or_refused) {
    cr_assert_geq(for_each_file("rdb/synthetic", ".valkey-unstable.json", check_foreign_file), 30);
}

Test(rdb_samples, files_of_old_servers_are_read_or_refused) {
    cr_assert_geq(for_each_file("rdb/legacy", ".valkey-unstable.json", check_foreign_file), 8);
}

static struct buffer parse_hex(const char *hex) {
    struct buffer bytes = {0};
    for (; hex[0] != '\0'; hex += 2) {
        const char pair[3] = {hex[0], hex[1], '\0'};
        buffer_append_u8(&bytes, (uint8_t)strtoul(pair, NULL, 16));
    }
    return bytes;
}

/* The reply that RESTORE would give as far as the payload decides it. */
static const char *restore_reply(struct bytes payload) {
    struct bytes content;
    if (rdb_dump_open(payload, &content) != STATUS_OK)
        return "-ERR DUMP payload version or checksum are wrong";
    struct rdb_reader reader;
    rdb_reader_init_memory(&reader, content);
    uint8_t type = 0;
    struct lines lines = {0};
    enum status status = rdb_read_u8(&reader, &type);
    if (status == STATUS_OK && type == RDB_TYPE_MODULE) status = STATUS_UNSUPPORTED;
    if (status == STATUS_OK) status = value_lines(&reader, type, &lines);
    if (lines.count == 0) status = STATUS_BAD_FORMAT; // An empty collection is none.
    lines_deinit(&lines);
    rdb_reader_deinit(&reader);
    return status == STATUS_OK ? "+OK" : "-ERR Bad data format";
}

static void check_payloads(const char *file, unsigned *checked) {
    char path[PATH_CAP];
    snprintf(path, sizeof(path), "%s/restore/%s", samples_dir(), file);
    json_object *json = json_object_from_file(path);
    cr_assert_not_null(json, "%s", path);
    json_object *rows = json_object_object_get(json, "rows");
    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        const char *what = json_object_get_string(json_object_object_get(row, "what"));
        const char *reply = json_object_get_string(json_object_object_get(row, "reply"));
        struct buffer payload =
            parse_hex(json_object_get_string(json_object_object_get(row, "payload_hex")));
        // Options and the key decide these, before the payload is looked at.
        bool is_about_payload = strcmp(reply, "+OK") == 0 ||
                                strcmp(reply, "-ERR Bad data format") == 0 ||
                                strncmp(reply, "-ERR DUMP payload", 17) == 0;
        // Deviations: the reader stops before the footer; version 11 is no longer too new.
        if (strcmp(what, "short string") == 0) reply = "-ERR Bad data format";
        bool is_version_11 = payload.len > 10 && payload.data[payload.len - 10] == 11;
        if (strcmp(what, "version one above the server") == 0 && is_version_11) reply = "+OK";
        if (is_about_payload) {
            cr_assert_str_eq(restore_reply(buffer_view(&payload)), reply, "%s", what);
            ++*checked;
        }
        buffer_deinit(&payload);
    }
    json_object_put(json);
}

Test(rdb_samples, payloads_get_the_replies_of_restore) {
    unsigned checked = 0;
    check_payloads("redis-7.0.15.json", &checked);
    check_payloads("valkey-unstable.json", &checked);
    cr_assert_geq(checked, 80);
}

/* Bounded fuzzing with every sample as the seed. */
static void damage_and_read(const char *path, const char *name, json_object *json) {
    (void)name;
    (void)json;
    enum { ROUNDS = 60 };
    struct buffer content = read_whole_file(path);
    struct rng rng;
    rng_seed(&rng, content.len);
    for (int round = 0; round < ROUNDS; round++) {
        bool is_cut = rng_below(&rng, 8) == 0;
        size_t len = is_cut ? rng_below(&rng, content.len) : content.len;
        uint8_t *damaged = mem_alloc(len + 1);
        memcpy(damaged, content.data, len);
        for (uint64_t i = 1 + rng_below(&rng, 6); i > 0 && len > 9; i--)
            damaged[9 + rng_below(&rng, len - 9)] = (uint8_t)rng_next(&rng);
        cr_assert_eq(LLVMFuzzerTestOneInput(damaged, len), 0);
        mem_free(damaged);
    }
    buffer_deinit(&content);
}

Test(rdb_samples, damaged_files_do_no_harm) {
    for_each_file("rdb/redis-7.0.15", ".json", damage_and_read);
    for_each_file("rdb/legacy", ".valkey-unstable.json", damage_and_read);
    for_each_file("rdb/synthetic", ".valkey-unstable.json", damage_and_read);
}

/* Strings as values of keys, for the handlers of this and other modules. */
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/types/string/string_internal.h"

/* A short string that grows once will grow again: it gets a blob of double its size, up to here. */
#define FIRST_BLOB_DOUBLING_MAX ((size_t)64 * 1024)

void string_reply(struct reply *reply, const struct record *record) {
    if (record_encoding(record) == STRING_INT) {
        reply_bulk_integer(reply, record_integer(record));
        return;
    }
    reply_bulk(reply, string_view(record, NULL));
}

/* What record_* made of the entry's record goes where that one was. */
static void put_back(struct command_context *context, const struct key *key,
                     struct table_entry *entry, struct record *record) {
    if (record != entry->record)
        context_moved(context, key, entry, record, record_has_deadline(record));
}

void string_store(struct command_context *context, const struct key *key, struct table_entry *entry,
                  struct bytes value, int64_t deadline_ms) {
    struct record *old = entry->record;
    bool has_deadline = deadline_ms != 0;
    if (old != NULL && record_type(old) == RECORD_STRING &&
        record_has_deadline(old) == has_deadline) {
        put_back(context, key, entry, string_record_set(old, value));
        if (has_deadline && record_deadline_ms(entry->record) != deadline_ms)
            context_set_deadline(context, key, entry, deadline_ms);
        return;
    }
    context_put_take(context, key, entry,
                     string_record_create(key->name, value, has_deadline, deadline_ms));
}

bool string_check_len(struct command_context *context, size_t len, size_t extra) {
    size_t total;
    if (context->is_from_primary) return true;
    if (!__builtin_add_overflow(len, extra, &total) && total <= context->types->proto_max_bulk_len)
        return true;
    reply_error(context->reply, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    return false;
}

static uint8_t *no_memory(struct command_context *context) {
    reply_error(context->reply, "ERR no memory for a string of this length");
    return NULL;
}

static uint8_t *create_writable(struct command_context *context, const struct key *key,
                                size_t len) {
    struct record *record = NULL;
    if (len <= STRING_EMBEDDED_MAX) {
        record = string_record_create_text(key->name, bytes_of(NULL, len), true, false, 0);
    } else {
        struct blob *blob = blob_try_create(len);
        if (blob == NULL) return no_memory(context);
        blob->len = len;
        record = string_record_create_blob(key->name, blob, false, 0);
    }
    uint8_t *bytes = string_bytes(record);
    memset(bytes, 0, len);
    context_insert_take(context, key, record);
    return bytes;
}

/* An integer or an embedded string becomes an embedded one of `len` bytes. */
static struct record *extend_embedded(struct record *record, size_t len) {
    uint8_t text[STRING_EMBEDDED_MAX];
    char scratch[NUMBER_TEXT_MAX];
    struct bytes old = string_view(record, scratch);
    size_t head = record_key_offset(record) + record_key_len(record);
    if (record_encoding(record) != STRING_INT && head + len <= mem_usable_size(record)) {
        record_set_encoding(record, STRING_EMBEDDED_RAW);
        record_set_payload_len(record, len);
        memset(record_payload(record) + old.len, 0, len - old.len);
        return record;
    }
    memcpy(text, old.data, old.len);
    memset(text + old.len, 0, len - old.len);
    return string_record_set_payload(record, STRING_EMBEDDED_RAW, bytes_of(text, len));
}

/* The value in a blob of `len` bytes that nobody else refers to; NULL when there is no memory. */
static struct blob *extend_to_blob(const struct record *record, size_t len) {
    struct blob *blob = NULL;
    size_t old_len = 0;
    if (record_encoding(record) == STRING_BLOB) {
        struct blob *old = record_pointer(record);
        old_len = old->len;
        blob = blob_make_room(old, len);
        if (blob == NULL) return NULL;
    } else {
        char scratch[NUMBER_TEXT_MAX];
        struct bytes old = string_view(record, scratch);
        old_len = old.len;
        blob = blob_try_create(len < FIRST_BLOB_DOUBLING_MAX ? len * 2 : len);
        if (blob == NULL) return NULL;
        memcpy(blob->data, old.data, old.len);
    }
    memset(blob->data + old_len, 0, len - old_len);
    blob->len = len;
    return blob;
}

uint8_t *string_make_writable(struct command_context *context, const struct key *key,
                              struct table_entry *entry, size_t len) {
    struct record *record = entry->record;
    if (record == NULL) return create_writable(context, key, len);
    size_t old_len = string_len(record);
    if (len < old_len) len = old_len;
    if (record_encoding(record) != STRING_BLOB && len <= STRING_EMBEDDED_MAX) {
        put_back(context, key, entry, extend_embedded(record, len));
        return record_payload(entry->record);
    }
    struct blob *blob = extend_to_blob(record, len);
    if (blob == NULL) return no_memory(context);
    put_back(context, key, entry, string_record_set_blob(record, blob));
    return blob->data;
}

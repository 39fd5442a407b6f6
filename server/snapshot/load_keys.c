/* Decoding keys as they stand in a file, and putting them in. */
#include <stdio.h>

#include "server/base/mem.h"
#include "server/keyspace/access.h"
#include "server/snapshot/load_internal.h"

enum { GROUP = 16 }; /* Keys whose places are sent for before the first is put in. */

/* A key whose name has been decoded. */
struct named_key {
    struct key key;
    struct bytes value; /* As it stands in the file. */
    char *owned_name;   /* Where the name does not stand there as it is; else NULL. */
};

static void fail_at(struct load_tally *tally, struct rdb_reader *reader, uint64_t offset) {
    if (tally->error.status != STATUS_OK && tally->error.offset <= offset) return;
    tally->error = reader->error;
    tally->error.offset += offset;
}

static int printed_len(struct bytes name) {
    enum { PRINTED_MAX = 64 };
    return (int)(name.len < PRINTED_MAX ? name.len : PRINTED_MAX);
}

/* False: there is such a key. */
static bool put_in(const struct load_context *context, const struct load_attributes *attributes,
                   const struct key *key, struct record *record) {
    struct keyspace *keyspace = attributes->keyspace;
    struct slot_lock *lock = &databases_slot(context->into, key->slot)->lock;
    if (attributes->has_expiry)
        record = record_with_deadline(record, true, attributes->expires_at_ms);
    record_set_access(record, attributes->access);
    slot_lock_acquire(lock);
    bool is_new = keyspace_find(keyspace, key) == NULL;
    if (is_new) {
        keyspace_expect(keyspace, key->slot, context->expected[keyspace_database(keyspace)]);
        keyspace_insert_take(keyspace, key, record);
    }
    slot_lock_release(lock);
    if (!is_new) keyspace_destroy_record(context->into, record, false);
    return is_new;
}

bool load_value(const struct load_context *context, const struct load_attributes *attributes,
                const struct key *key, struct rdb_reader *reader, uint64_t offset,
                struct load_tally *tally) {
    const struct data_type *type = context->types[attributes->rdb_type];
    struct record *record = NULL;
    enum status status =
        type->load(attributes->rdb_type, reader, key->name, &context->values, &record);
    if (status != STATUS_OK) {
        // A loader's refusal need not be one of the reader's.
        rdb_reader_fail(reader, status, "%s", status_text(status));
        fail_at(tally, reader, offset);
        return false;
    }
    if (record == NULL) return true; // An empty collection.
    if (context->drops_expired && attributes->has_expiry &&
        attributes->expires_at_ms < context->now_ms) {
        tally->expired++;
        if (!attributes->leaves_expired) {
            keyspace_destroy_record(context->into, record, false);
            return true;
        }
    } else {
        tally->keys++;
    }
    if (put_in(context, attributes, key, record)) return true;
    rdb_reader_fail(reader, STATUS_BAD_FORMAT, "the key '%.*s' comes twice", printed_len(key->name),
                    (const char *)key->name.data);
    fail_at(tally, reader, offset);
    return false;
}

static bool lies_in(struct bytes part, struct bytes whole) {
    return part.data >= whole.data && part.data + part.len <= whole.data + whole.len;
}

static bool decode_name(const struct load_context *context, const struct raw_key *raw,
                        struct rdb_reader *reader, struct named_key *out,
                        struct load_tally *tally) {
    struct bytes name;
    rdb_reader_reset_memory(reader, raw->raw);
    if (rdb_read_view(reader, &name) != STATUS_OK) {
        fail_at(tally, reader, raw->offset);
        return false;
    }
    out->value = rdb_reader_rest_view(reader);
    out->owned_name = NULL;
    if (UNLIKELY(!lies_in(name, raw->raw))) { // Compressed, or a number.
        out->owned_name = bytes_copy_text(name);
        name.data = (const uint8_t *)out->owned_name;
    }
    key_init(&out->key, context->into, name);
    keyspace_prefetch_slot(raw->attributes.keyspace, out->key.slot);
    return true;
}

/* Loads a group of keys: names first, so that the lines that they will want arrive meanwhile. */
static bool load_group(const struct load_context *context, const struct raw_key *keys,
                       uint32_t count, struct rdb_reader *reader, struct load_tally *tally) {
    struct named_key named[GROUP];
    uint32_t named_count = 0;
    bool is_fine = true;
    while (is_fine && named_count < count) {
        is_fine = decode_name(context, &keys[named_count], reader, &named[named_count], tally);
        if (is_fine) named_count++;
    }
    for (uint32_t i = 0; i < named_count; i++)
        keyspace_prefetch(keys[i].attributes.keyspace, &named[i].key);
    for (uint32_t i = 0; i < named_count; i++) {
        const struct raw_key *raw = &keys[i];
        rdb_reader_reset_memory(reader, named[i].value);
        uint64_t offset = raw->offset + (uint64_t)(named[i].value.data - raw->raw.data);
        is_fine =
            is_fine && load_value(context, &raw->attributes, &named[i].key, reader, offset, tally);
        mem_free(named[i].owned_name);
    }
    return is_fine;
}

bool load_keys(const struct load_context *context, const struct load_batch *batch,
               struct rdb_reader *reader, struct load_tally *tally) {
    for (uint32_t first = 0; first < batch->count; first += GROUP) {
        uint32_t count = batch->count - first < GROUP ? batch->count - first : GROUP;
        if (!load_group(context, &batch->keys[first], count, reader, tally)) return false;
    }
    return true;
}

/* A stream as commands: its entries, its counters, its groups. */
#include <string.h>

#include "server/rdb/rdb_blob.h"
#include "server/rdb/rdb_commands_internal.h"
#include "server/rdb/rdb_stream_node.h"

enum { ID_TEXT_MAX = 2 * NUMBER_TEXT_MAX + 1 };

/* A pending entry, as the group knows it. */
struct pending {
    struct rdb_stream_id id;
    int64_t delivered_ms;
    uint64_t deliveries;
};

static enum status corrupt(struct rdb_commands *commands, const char *reason) {
    return rdb_reader_fail(commands->reader, STATUS_BAD_FORMAT, "%s", reason);
}

static void write_id(struct rdb_commands *commands, struct rdb_stream_id id) {
    char text[ID_TEXT_MAX];
    unsigned len = number_format_u64(id.ms, text);
    text[len++] = '-';
    len += number_format_u64(id.seq, text + len);
    rdb_commands_word(commands, bytes_of(text, len));
}

/* -- entries -- */

static void write_entry(struct rdb_commands *commands, const uint8_t *block,
                        struct rdb_stream_id master, const struct rdb_stream_entry *entry) {
    char scratch[NUMBER_TEXT_MAX];
    rdb_commands_begin(commands, 3 + 2 * entry->field_count);
    rdb_commands_text(commands, "XADD");
    rdb_commands_key(commands);
    write_id(commands,
             (struct rdb_stream_id){master.ms + entry->ms_diff, master.seq + entry->seq_diff});
    size_t name = entry->names;
    size_t value = entry->values;
    for (uint64_t i = 0; i < entry->field_count; i++) {
        rdb_commands_word(commands, listpack_text(block, name, scratch));
        if (entry->has_own_names) value = listpack_next(block, name);
        rdb_commands_word(commands, listpack_text(block, value, scratch));
        name = listpack_next(block, entry->has_own_names ? value : name);
        value = listpack_next(block, value);
    }
}

static enum status write_node(struct rdb_commands *commands, unsigned type) {
    struct rdb_stream_id master = {0};
    struct rdb_blob blob;
    enum status status = rdb_read_stream_node(commands->reader, type, &master, &blob);
    if (status != STATUS_OK) return status;
    struct rdb_stream_node node;
    if (!rdb_stream_node_read(blob.data, &node)) {
        status = corrupt(commands, "Stream listpack integrity check failed.");
    } else {
        struct rdb_stream_cursor cursor = {0};
        struct rdb_stream_entry entry;
        while (rdb_stream_node_next(blob.data, &cursor, &entry)) {
            if (!entry.is_deleted) write_entry(commands, blob.data, master, &entry);
        }
    }
    rdb_blob_deinit(&blob);
    return status;
}

/* A stream that has no entries exists all the same. */
static void write_empty_stream(struct rdb_commands *commands) {
    static const char *const words[] = {"MAXLEN", "0", "0-1", "x", "y"};
    rdb_commands_begin(commands, 2 + sizeof(words) / sizeof(*words));
    rdb_commands_text(commands, "XADD");
    rdb_commands_key(commands);
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        rdb_commands_text(commands, words[i]);
}

static enum status write_nodes(struct rdb_commands *commands, unsigned type) {
    uint64_t count = 0;
    enum status status = rdb_read_count(commands->reader, &count);
    if (status == STATUS_OK && count == 0) write_empty_stream(commands);
    while (status == STATUS_OK && count-- > 0)
        status = write_node(commands, type);
    return status;
}

static enum status write_counters(struct rdb_commands *commands, unsigned type) {
    struct rdb_reader *reader = commands->reader;
    uint64_t len = 0;
    struct rdb_stream_id last = {0};
    struct rdb_stream_id first = {0};
    struct rdb_stream_id deleted = {0};
    enum status status = rdb_read_length(reader, &len);
    uint64_t added = len; // What a server says that never counted them.
    if (status == STATUS_OK) status = rdb_read_stream_id_lengths(reader, &last);
    if (status == STATUS_OK && type != RDB_TYPE_STREAM_1) {
        status = rdb_read_stream_id_lengths(reader, &first);
        if (status == STATUS_OK) status = rdb_read_stream_id_lengths(reader, &deleted);
        if (status == STATUS_OK) status = rdb_read_length(reader, &added);
    }
    if (status != STATUS_OK) return status;
    rdb_commands_begin(commands, 7);
    rdb_commands_text(commands, "XSETID");
    rdb_commands_key(commands);
    write_id(commands, last);
    rdb_commands_text(commands, "ENTRIESADDED");
    rdb_commands_number(commands, (int64_t)added);
    rdb_commands_text(commands, "MAXDELETEDID");
    write_id(commands, deleted);
    return STATUS_OK;
}

/* -- groups -- */

static enum status read_pending(struct rdb_commands *commands, struct buffer *out) {
    struct rdb_reader *reader = commands->reader;
    uint64_t count = 0;
    struct rdb_stream_id above = {0};
    enum status status = rdb_read_count(reader, &count);
    for (uint64_t i = 0; status == STATUS_OK && i < count; i++) {
        struct pending pending;
        status = rdb_read_stream_id(reader, &pending.id);
        if (status == STATUS_OK) status = rdb_read_ms(reader, &pending.delivered_ms);
        if (status == STATUS_OK) status = rdb_read_length(reader, &pending.deliveries);
        if (status != STATUS_OK) break;
        if (i > 0 && rdb_stream_id_compare(pending.id, above) <= 0)
            return corrupt(commands, "Global PEL entries of a consumer group are not in order");
        above = pending.id;
        buffer_append(out, &pending, sizeof(pending));
    }
    return status;
}

static bool find_pending(const struct buffer *all, struct rdb_stream_id id, struct pending *out) {
    size_t low = 0;
    size_t high = all->len / sizeof(*out);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        memcpy(out, all->data + middle * sizeof(*out), sizeof(*out));
        int order = rdb_stream_id_compare(out->id, id);
        if (order == 0) return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static void write_group(struct rdb_commands *commands, struct bytes group,
                        struct rdb_stream_id last, int64_t entries_read) {
    rdb_commands_begin(commands, 7);
    rdb_commands_text(commands, "XGROUP");
    rdb_commands_text(commands, "CREATE");
    rdb_commands_key(commands);
    rdb_commands_word(commands, group);
    write_id(commands, last);
    rdb_commands_text(commands, "ENTRIESREAD");
    rdb_commands_number(commands, entries_read);
}

static void write_idle_consumer(struct rdb_commands *commands, struct bytes group,
                                struct bytes consumer) {
    rdb_commands_begin(commands, 5);
    rdb_commands_text(commands, "XGROUP");
    rdb_commands_text(commands, "CREATECONSUMER");
    rdb_commands_key(commands);
    rdb_commands_word(commands, group);
    rdb_commands_word(commands, consumer);
}

static void write_claim(struct rdb_commands *commands, struct bytes group, struct bytes consumer,
                        const struct pending *pending) {
    rdb_commands_begin(commands, 12);
    rdb_commands_text(commands, "XCLAIM");
    rdb_commands_key(commands);
    rdb_commands_word(commands, group);
    rdb_commands_word(commands, consumer);
    rdb_commands_text(commands, "0");
    write_id(commands, pending->id);
    rdb_commands_text(commands, "TIME");
    rdb_commands_number(commands, pending->delivered_ms);
    rdb_commands_text(commands, "RETRYCOUNT");
    rdb_commands_number(commands, (int64_t)pending->deliveries);
    rdb_commands_text(commands, "JUSTID");
    rdb_commands_text(commands, "FORCE");
}

static enum status write_consumer(struct rdb_commands *commands, unsigned type, struct bytes group,
                                  const struct buffer *all, struct buffer *name) {
    struct rdb_reader *reader = commands->reader;
    int64_t seen_ms = 0;
    uint64_t count = 0;
    enum status status = rdb_read_string(reader, name);
    if (status == STATUS_OK) status = rdb_read_ms(reader, &seen_ms);
    if (status == STATUS_OK && type == RDB_TYPE_STREAM_3) status = rdb_read_ms(reader, &seen_ms);
    if (status == STATUS_OK) status = rdb_read_count(reader, &count);
    if (status == STATUS_OK && count == 0) write_idle_consumer(commands, group, buffer_view(name));
    while (status == STATUS_OK && count-- > 0) {
        struct rdb_stream_id id;
        struct pending pending;
        status = rdb_read_stream_id(reader, &id);
        if (status != STATUS_OK) break;
        if (!find_pending(all, id, &pending))
            return corrupt(commands, "Consumer entry not found in group global PEL");
        write_claim(commands, group, buffer_view(name), &pending);
    }
    return status;
}

static enum status write_consumers(struct rdb_commands *commands, unsigned type,
                                   struct bytes group) {
    struct buffer all = {0};
    struct buffer name = {0};
    uint64_t count = 0;
    enum status status = read_pending(commands, &all);
    if (status == STATUS_OK) status = rdb_read_count(commands->reader, &count);
    while (status == STATUS_OK && count-- > 0)
        status = write_consumer(commands, type, group, &all, &name);
    buffer_deinit(&all);
    buffer_deinit(&name);
    return status;
}

static enum status write_groups(struct rdb_commands *commands, unsigned type) {
    struct rdb_reader *reader = commands->reader;
    struct buffer group = {0};
    uint64_t count = 0;
    enum status status = rdb_read_count(reader, &count);
    while (status == STATUS_OK && count-- > 0) {
        struct rdb_stream_id last = {0};
        uint64_t entries_read = UINT64_MAX; // Not known: -1.
        status = rdb_read_string(reader, &group);
        if (status == STATUS_OK) status = rdb_read_stream_id_lengths(reader, &last);
        if (status == STATUS_OK && type != RDB_TYPE_STREAM_1)
            status = rdb_read_length(reader, &entries_read);
        if (status != STATUS_OK) break;
        write_group(commands, buffer_view(&group), last, (int64_t)entries_read);
        status = write_consumers(commands, type, buffer_view(&group));
    }
    buffer_deinit(&group);
    return status;
}

enum status rdb_commands_stream(struct rdb_commands *commands, unsigned type) {
    enum status status = write_nodes(commands, type);
    if (status == STATUS_OK) status = write_counters(commands, type);
    return status == STATUS_OK ? write_groups(commands, type) : status;
}

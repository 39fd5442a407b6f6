#include "server/rdb/rdb_check.h"

#include <math.h>
#include <string.h>

#include <xxhash.h>

#include "server/base/mem.h"
#include "server/rdb/rdb_blob.h"
#include "server/rdb/rdb_format.h"
#include "server/rdb/rdb_stream_node.h"

static enum status corrupt(struct rdb_reader *reader, const char *reason) {
    return rdb_reader_fail(reader, STATUS_BAD_FORMAT, "%s", reason);
}

/* -- fingerprints: which members have come by -- */

/* 127 bits of a hash; the lowest bit is a mark for whoever wants to see a member twice. All-zero is
 * a free place. Two members with one fingerprint are not expected in the life of this format. */
struct fingerprint {
    uint64_t high;
    uint64_t low;
};

/* Open addressing, at most half full. All-zero is the empty set. */
struct members {
    struct fingerprint *places;
    uint64_t cap; /* 0 or a power of two. */
    uint64_t count;
    bool is_full; /* RDB_CHECK_UNIQUE_MAX was reached: nothing more is known to be new. */
};

enum { MEMBERS_CAP_FIRST = 64 };

static struct fingerprint fingerprint_of(struct bytes member) {
    XXH128_hash_t hash = XXH3_128bits(member.data, member.len);
    return (struct fingerprint){hash.high64 | (uint64_t)(hash.high64 == 0), hash.low64 & ~1ull};
}

/* Where the fingerprint is, or where it would go. */
static struct fingerprint *members_place(const struct members *members, struct fingerprint wanted) {
    uint64_t index = wanted.low >> 1;
    for (;; index++) {
        struct fingerprint *place = &members->places[index & (members->cap - 1)];
        if (place->high == 0) return place;
        if (place->high == wanted.high && (place->low & ~1ull) == wanted.low) return place;
    }
}

static void members_grow(struct members *members) {
    struct members grown = {.cap = members->cap == 0 ? MEMBERS_CAP_FIRST : members->cap * 2};
    grown.places = mem_alloc_zero(grown.cap * sizeof(*grown.places));
    for (uint64_t i = 0; i < members->cap; i++) {
        struct fingerprint old = members->places[i];
        if (old.high == 0) continue;
        *members_place(&grown, (struct fingerprint){old.high, old.low & ~1ull}) = old;
    }
    mem_free(members->places);
    members->places = grown.places;
    members->cap = grown.cap;
}

/* False: it has come by before. */
static bool members_add(struct members *members, struct bytes member) {
    if ((members->count + 1) * 2 > members->cap) {
        if (members->count == RDB_CHECK_UNIQUE_MAX)
            members->is_full = true;
        else
            members_grow(members);
    }
    struct fingerprint wanted = fingerprint_of(member);
    struct fingerprint *place = members_place(members, wanted);
    if (place->high != 0) return false;
    if (members->is_full) return true;
    *place = wanted;
    members->count++;
    return true;
}

enum mark { MARK_SET, MARK_WAS_SET, MARK_NO_MEMBER };

/* Marks a member, once. Where the set is full, who is not in it may be one all the same. */
static enum mark members_mark(struct members *members, struct bytes member) {
    if (members->cap == 0) return members->is_full ? MARK_SET : MARK_NO_MEMBER;
    struct fingerprint *place = members_place(members, fingerprint_of(member));
    if (place->high == 0) return members->is_full ? MARK_SET : MARK_NO_MEMBER;
    if ((place->low & 1) != 0) return MARK_WAS_SET;
    place->low |= 1;
    return MARK_SET;
}

static void members_deinit(struct members *members) {
    mem_free(members->places);
}

/* -- strings and blobs -- */

static enum status check_string(struct rdb_reader *reader) {
    struct bytes text;
    return rdb_read_view(reader, &text);
}

static enum status check_blob(struct rdb_reader *reader, unsigned type, uint64_t *out_count) {
    struct rdb_blob blob;
    enum status status = rdb_read_blob(reader, type, &blob);
    if (status != STATUS_OK) return status;
    *out_count += blob.count;
    rdb_blob_deinit(&blob);
    return STATUS_OK;
}

static enum status check_pairs_blob(struct rdb_reader *reader, unsigned type, uint64_t *out_count) {
    uint64_t entries = 0;
    enum status status = check_blob(reader, type, &entries);
    *out_count = entries / 2;
    return status;
}

static enum status check_list_node(struct rdb_reader *reader, unsigned type, uint64_t *out_count) {
    if (type == RDB_TYPE_LIST_ZIPLISTS) return check_blob(reader, type, out_count);
    if (type == RDB_TYPE_LIST_NODES) {
        uint64_t container = 0;
        enum status status = rdb_read_length(reader, &container);
        if (status != STATUS_OK) return status;
        if (container == RDB_LIST_NODE_PACKED) return check_blob(reader, type, out_count);
        if (container != RDB_LIST_NODE_PLAIN)
            return corrupt(reader, "Quicklist integrity check failed.");
    }
    ++*out_count;
    return check_string(reader);
}

static enum status check_list(struct rdb_reader *reader, unsigned type, uint64_t *out_count) {
    uint64_t nodes = 0;
    enum status status = rdb_read_count(reader, &nodes);
    while (status == STATUS_OK && nodes-- > 0)
        status = check_list_node(reader, type, out_count);
    return status;
}

/* -- collections, member by member -- */

static enum status check_score(struct rdb_reader *reader, unsigned type) {
    double score = 0;
    enum status status = type == RDB_TYPE_ZSET ? rdb_read_double(reader, &score)
                                               : rdb_read_text_double(reader, &score);
    if (status == STATUS_OK && isnan(score)) return corrupt(reader, "Zset with NAN score detected");
    return status;
}

/* What stands behind a member: a hash's value, a sorted set's score. */
static enum status check_companion(struct rdb_reader *reader, unsigned type) {
    switch (type) {
    case RDB_TYPE_HASH:
        return check_string(reader);
    case RDB_TYPE_ZSET:
    case RDB_TYPE_ZSET_TEXT:
        return check_score(reader, type);
    default:
        return STATUS_OK;
    }
}

static const char *duplicate_reason(unsigned type) {
    if (type == RDB_TYPE_HASH) return "Duplicate hash fields detected";
    if (type == RDB_TYPE_SET) return "Duplicate set members detected";
    return "Duplicate zset fields detected";
}

static enum status check_members(struct rdb_reader *reader, unsigned type, uint64_t *out_count) {
    struct members members = {0};
    enum status status = rdb_read_count(reader, out_count);
    for (uint64_t left = *out_count; status == STATUS_OK && left > 0; left--) {
        struct bytes member;
        status = rdb_read_view(reader, &member);
        if (status != STATUS_OK) break;
        bool is_new = members_add(&members, member);
        status = check_companion(reader, type);
        if (status == STATUS_OK && !is_new) status = corrupt(reader, duplicate_reason(type));
    }
    members_deinit(&members);
    return status;
}

/* -- streams -- */

struct stream_check {
    struct rdb_reader *reader;
    unsigned type;
    uint64_t entries;
    struct rdb_stream_id master; /* Of the last node. */
    struct rdb_stream_id top;    /* Of the last living entry. */
};

static enum status check_stream_node(struct stream_check *check, bool is_first) {
    struct rdb_reader *reader = check->reader;
    struct rdb_stream_id master = {0};
    struct rdb_blob blob;
    enum status status = rdb_read_stream_node(reader, check->type, &master, &blob);
    if (status != STATUS_OK) return status;
    struct rdb_stream_node node;
    if (!is_first && rdb_stream_id_compare(master, check->master) <= 0)
        status = corrupt(reader, "Listpack re-added with existing key");
    else if (!rdb_stream_node_read(blob.data, &node))
        status = corrupt(reader, "Stream listpack integrity check failed.");
    rdb_blob_deinit(&blob);
    if (status != STATUS_OK) return status;
    check->master = master;
    check->top =
        (struct rdb_stream_id){master.ms + node.last_ms_diff, master.seq + node.last_seq_diff};
    check->entries += node.living_count;
    return STATUS_OK;
}

static enum status check_stream_nodes(struct stream_check *check) {
    uint64_t nodes = 0;
    enum status status = rdb_read_count(check->reader, &nodes);
    for (uint64_t i = 0; status == STATUS_OK && i < nodes; i++)
        status = check_stream_node(check, i == 0);
    return status;
}

static enum status check_group_pending(struct stream_check *check, struct members *pending,
                                       uint64_t *out_count) {
    struct rdb_reader *reader = check->reader;
    enum status status = rdb_read_count(reader, out_count);
    for (uint64_t left = *out_count; status == STATUS_OK && left > 0; left--) {
        struct rdb_stream_id id;
        int64_t delivered_ms = 0;
        uint64_t deliveries = 0;
        status = rdb_read_stream_id(reader, &id);
        if (status == STATUS_OK) status = rdb_read_ms(reader, &delivered_ms);
        if (status == STATUS_OK) status = rdb_read_length(reader, &deliveries);
        if (status == STATUS_OK && !members_add(pending, bytes_of(&id, sizeof(id))))
            status = corrupt(reader, "Duplicated global PEL entry loading stream consumer group");
    }
    return status;
}

static enum status check_consumer_pending(struct stream_check *check, struct members *pending,
                                          uint64_t *left_pending) {
    struct rdb_reader *reader = check->reader;
    uint64_t count = 0;
    enum status status = rdb_read_count(reader, &count);
    while (status == STATUS_OK && count-- > 0) {
        struct rdb_stream_id id;
        status = rdb_read_stream_id(reader, &id);
        if (status != STATUS_OK) break;
        enum mark mark = members_mark(pending, bytes_of(&id, sizeof(id)));
        if (mark == MARK_NO_MEMBER || *left_pending == 0)
            return corrupt(reader, "Consumer entry not found in group global PEL");
        if (mark == MARK_WAS_SET)
            return corrupt(reader, "Duplicated consumer PEL entry loading a stream consumer group");
        --*left_pending;
    }
    return status;
}

static enum status check_consumers(struct stream_check *check, struct members *pending,
                                   struct members *names, uint64_t left_pending) {
    struct rdb_reader *reader = check->reader;
    uint64_t consumers = 0;
    enum status status = rdb_read_count(reader, &consumers);
    while (status == STATUS_OK && consumers-- > 0) {
        struct bytes name;
        int64_t seen_ms = 0;
        status = rdb_read_view(reader, &name);
        bool is_new = status == STATUS_OK && members_add(names, name);
        if (status == STATUS_OK) status = rdb_read_ms(reader, &seen_ms);
        if (status == STATUS_OK && check->type == RDB_TYPE_STREAM_3)
            status = rdb_read_ms(reader, &seen_ms);
        if (status == STATUS_OK && !is_new)
            status = corrupt(reader, "Duplicate stream consumer detected");
        if (status == STATUS_OK) status = check_consumer_pending(check, pending, &left_pending);
    }
    if (status == STATUS_OK && left_pending > 0)
        return corrupt(reader, "NACK entry without consumer");
    return status;
}

static enum status check_group(struct stream_check *check, struct members *groups) {
    struct rdb_reader *reader = check->reader;
    struct bytes name;
    struct rdb_stream_id last;
    uint64_t entries_read = 0;
    enum status status = rdb_read_view(reader, &name);
    bool is_new = status == STATUS_OK && members_add(groups, name);
    if (status == STATUS_OK) status = rdb_read_stream_id_lengths(reader, &last);
    if (status == STATUS_OK && check->type != RDB_TYPE_STREAM_1)
        status = rdb_read_length(reader, &entries_read);
    if (status == STATUS_OK && !is_new) status = corrupt(reader, "Duplicated consumer group name");
    if (status != STATUS_OK) return status;
    struct members pending = {0};
    struct members names = {0};
    uint64_t pending_count = 0;
    status = check_group_pending(check, &pending, &pending_count);
    if (status == STATUS_OK) status = check_consumers(check, &pending, &names, pending_count);
    members_deinit(&pending);
    members_deinit(&names);
    return status;
}

static enum status check_groups(struct stream_check *check) {
    struct members groups = {0};
    uint64_t count = 0;
    enum status status = rdb_read_count(check->reader, &count);
    while (status == STATUS_OK && count-- > 0)
        status = check_group(check, &groups);
    members_deinit(&groups);
    return status;
}

static enum status check_stream_counters(struct stream_check *check) {
    struct rdb_reader *reader = check->reader;
    uint64_t len = 0;
    struct rdb_stream_id last = {0};
    enum status status = rdb_read_length(reader, &len);
    if (status == STATUS_OK && len != check->entries)
        return corrupt(reader, "Stream length inconsistent with its entries");
    if (status == STATUS_OK) status = rdb_read_stream_id_lengths(reader, &last);
    if (status == STATUS_OK && check->type != RDB_TYPE_STREAM_1) {
        struct rdb_stream_id ignored;
        uint64_t added = 0;
        status = rdb_read_stream_id_lengths(reader, &ignored); // The first living entry's.
        if (status == STATUS_OK)
            status = rdb_read_stream_id_lengths(reader, &ignored); // Deleted ones'.
        if (status == STATUS_OK) status = rdb_read_length(reader, &added);
    }
    if (status == STATUS_OK && len > 0 && rdb_stream_id_compare(check->top, last) > 0)
        return corrupt(reader, "Stream entry behind the last generated ID");
    return status;
}

static enum status check_stream(struct rdb_reader *reader, unsigned type, uint64_t *out_count) {
    struct stream_check check = {.reader = reader, .type = type};
    enum status status = check_stream_nodes(&check);
    if (status == STATUS_OK) status = check_stream_counters(&check);
    if (status == STATUS_OK) status = check_groups(&check);
    *out_count = check.entries;
    return status;
}

/* -- by type -- */

static enum status check_by_type(struct rdb_reader *reader, unsigned type, uint64_t *out_count) {
    switch (type) {
    case RDB_TYPE_STRING:
        *out_count = 1;
        return check_string(reader);
    case RDB_TYPE_LIST:
    case RDB_TYPE_LIST_ZIPLISTS:
    case RDB_TYPE_LIST_NODES:
        return check_list(reader, type, out_count);
    case RDB_TYPE_SET:
    case RDB_TYPE_HASH:
    case RDB_TYPE_ZSET:
    case RDB_TYPE_ZSET_TEXT:
        return check_members(reader, type, out_count);
    case RDB_TYPE_LIST_ZIPLIST:
    case RDB_TYPE_SET_INTSET:
    case RDB_TYPE_SET_LISTPACK:
        return check_blob(reader, type, out_count);
    case RDB_TYPE_HASH_ZIPMAP:
    case RDB_TYPE_HASH_ZIPLIST:
    case RDB_TYPE_HASH_LISTPACK:
    case RDB_TYPE_ZSET_ZIPLIST:
    case RDB_TYPE_ZSET_LISTPACK:
        return check_pairs_blob(reader, type, out_count);
    case RDB_TYPE_STREAM_1:
    case RDB_TYPE_STREAM_2:
    case RDB_TYPE_STREAM_3:
        return check_stream(reader, type, out_count);
    default: // Modules; anything else is refused there.
        *out_count = 1;
        return rdb_skip_value(reader, type);
    }
}

enum status rdb_check_value(struct rdb_reader *reader, unsigned type, struct rdb_value_facts *out) {
    uint64_t count = 0;
    enum status status = check_by_type(reader, type, &count);
    if (status != STATUS_OK) return status;
    bool may_be_empty =
        type == RDB_TYPE_STREAM_1 || type == RDB_TYPE_STREAM_2 || type == RDB_TYPE_STREAM_3;
    *out =
        (struct rdb_value_facts){.element_count = count, .is_empty = count == 0 && !may_be_empty};
    return STATUS_OK;
}

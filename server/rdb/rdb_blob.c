#include "server/rdb/rdb_blob.h"

#include <stdlib.h>

#include <xxhash.h>

#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/structs/intset.h"

enum { ZIPLIST_HEADER = 10, ZIPLIST_COUNT_UNKNOWN = 0xffff, ZIPMAP_COUNT_UNKNOWN = 254 };
enum { LENGTH_FOLLOWS = 254, END = 255 };

/* What a type asks of its blob beyond being well-formed. */
enum shape { SHAPE_ENTRIES, SHAPE_UNIQUE, SHAPE_PAIRS, SHAPE_SCORES };

struct blob_rule {
    unsigned type;
    enum rdb_blob_kind kind;
    enum shape shape;
    const char *reason;
};

static const struct blob_rule rules[] = {
    {RDB_TYPE_HASH_ZIPMAP, RDB_BLOB_ZIPMAP, SHAPE_PAIRS, "Zipmap integrity check failed."},
    {RDB_TYPE_LIST_ZIPLIST, RDB_BLOB_ZIPLIST, SHAPE_ENTRIES,
     "List ziplist integrity check failed."},
    {RDB_TYPE_SET_INTSET, RDB_BLOB_INTSET, SHAPE_ENTRIES, "Intset integrity check failed."},
    {RDB_TYPE_ZSET_ZIPLIST, RDB_BLOB_ZIPLIST, SHAPE_SCORES, "Zset ziplist integrity check failed."},
    {RDB_TYPE_HASH_ZIPLIST, RDB_BLOB_ZIPLIST, SHAPE_PAIRS, "Hash ziplist integrity check failed."},
    {RDB_TYPE_LIST_ZIPLISTS, RDB_BLOB_ZIPLIST, SHAPE_ENTRIES, "Ziplist integrity check failed."},
    {RDB_TYPE_STREAM_1, RDB_BLOB_LISTPACK, SHAPE_ENTRIES,
     "Stream listpack integrity check failed."},
    {RDB_TYPE_HASH_LISTPACK, RDB_BLOB_LISTPACK, SHAPE_PAIRS,
     "Hash listpack integrity check failed."},
    {RDB_TYPE_ZSET_LISTPACK, RDB_BLOB_LISTPACK, SHAPE_SCORES,
     "Zset listpack integrity check failed."},
    {RDB_TYPE_LIST_NODES, RDB_BLOB_LISTPACK, SHAPE_ENTRIES, "Listpack integrity check failed."},
    {RDB_TYPE_STREAM_2, RDB_BLOB_LISTPACK, SHAPE_ENTRIES,
     "Stream listpack integrity check failed."},
    {RDB_TYPE_SET_LISTPACK, RDB_BLOB_LISTPACK, SHAPE_UNIQUE,
     "Set listpack integrity check failed."},
    {RDB_TYPE_STREAM_3, RDB_BLOB_LISTPACK, SHAPE_ENTRIES,
     "Stream listpack integrity check failed."},
};

static uint32_t read_u32(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t read_u32_big_endian(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | (uint32_t)at[3];
}

static int64_t read_signed(const uint8_t *at, unsigned width) {
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++)
        value |= (uint64_t)at[i] << (8 * i);
    unsigned unused = 64 - 8 * width;
    return (int64_t)(value << unused) >> unused;
}

/* Bytes of the integer that an encoding byte announces; 0 when it announces none. */
static unsigned ziplist_integer_width(uint8_t encoding) {
    switch (encoding) {
    case 0xc0:
        return 2;
    case 0xd0:
        return 4;
    case 0xe0:
        return 8;
    case 0xf0:
        return 3;
    case 0xfe:
        return 1;
    default:
        return 0;
    }
}

/* The entry at `at`, which must end at or before `end`: its value, whole size, and the size of the
 * one before it as it says. Returns false when it is broken. */
static bool decode_ziplist_entry(const uint8_t *at, const uint8_t *end, struct listpack_value *out,
                                 size_t *out_size, size_t *out_previous) {
    const uint8_t *start = at;
    if (at >= end || *at == END) return false;
    size_t prefix = *at == LENGTH_FOLLOWS ? 5 : 1;
    if ((size_t)(end - at) <= prefix) return false; // The encoding byte must be there too.
    *out_previous = prefix == 1 ? *at : read_u32(at + 1);
    at += prefix;
    size_t left = (size_t)(end - at); // At least 1.
    uint8_t encoding = *at;
    size_t head = 1;
    size_t len = 0;
    if (encoding < 0x40) {
        len = encoding;
    } else if (encoding < 0x80) {
        head = 2;
        if (left < head) return false;
        len = (size_t)(encoding & 0x3f) << 8 | at[1];
    } else if (encoding == 0x80) {
        head = 5;
        if (left < head) return false;
        len = read_u32_big_endian(at + 1);
    } else {
        bool is_immediate = encoding >= 0xf1 && encoding <= 0xfd;
        unsigned width = ziplist_integer_width(encoding);
        if ((!is_immediate && width == 0) || left < 1 + (size_t)width) return false;
        int64_t number = is_immediate ? (encoding & 0x0f) - 1 : read_signed(at + 1, width);
        *out = (struct listpack_value){.number = number};
        *out_size = (size_t)(at - start) + 1 + width;
        return true;
    }
    if (len > left - head) return false;
    *out = (struct listpack_value){.text = bytes_of(at + head, len)};
    *out_size = (size_t)(at - start) + head + len;
    return true;
}

static bool is_valid_ziplist(struct bytes bytes, size_t *out_count) {
    if (bytes.len < ZIPLIST_HEADER + 1 || read_u32(bytes.data) != bytes.len) return false;
    if (bytes.data[bytes.len - 1] != END) return false;
    size_t tail = read_u32(bytes.data + 4);
    size_t claimed = (size_t)bytes.data[8] | (size_t)bytes.data[9] << 8;
    const uint8_t *end = bytes.data + bytes.len - 1;
    size_t last = ZIPLIST_HEADER;
    size_t size = 0;
    size_t count = 0;
    for (const uint8_t *at = bytes.data + ZIPLIST_HEADER; at < end; count++) {
        struct listpack_value value;
        size_t expected_previous = size;
        size_t previous = 0;
        if (!decode_ziplist_entry(at, end, &value, &size, &previous)) return false;
        if (previous != expected_previous) return false;
        last = (size_t)(at - bytes.data);
        at += size;
    }
    *out_count = count;
    return tail == last && (claimed == count || claimed == ZIPLIST_COUNT_UNKNOWN);
}

/* A length of a zipmap at `at`, in front of `end`. Returns false when it is none. */
static bool decode_zipmap_length(const uint8_t *at, const uint8_t *end, size_t *out_size,
                                 size_t *out_len) {
    if (at >= end || *at == END) return false;
    *out_size = *at == LENGTH_FOLLOWS ? 5 : 1;
    if ((size_t)(end - at) < *out_size) return false;
    *out_len = *at == LENGTH_FOLLOWS ? read_u32(at + 1) : *at;
    return true;
}

/* The field or value at `at`, a value with its padding. Returns false when it is broken or does not
 * end before `end`. */
static bool decode_zipmap_entry(const uint8_t *at, const uint8_t *end, bool is_value,
                                struct bytes *out, size_t *out_size) {
    size_t head = 0;
    size_t len = 0;
    if (!decode_zipmap_length(at, end, &head, &len)) return false;
    size_t left = (size_t)(end - at) - head;
    size_t padding = 0;
    if (is_value) {
        if (left == 0) return false;
        padding = at[head];
        head++;
        left--;
    }
    if (len > left || padding > left - len) return false;
    *out = bytes_of(at + head, len);
    *out_size = head + len + padding;
    return true;
}

static bool is_valid_zipmap(struct bytes bytes, size_t *out_count) {
    if (bytes.len < 2 || bytes.data[bytes.len - 1] != END) return false;
    const uint8_t *end = bytes.data + bytes.len - 1;
    size_t count = 0;
    for (const uint8_t *at = bytes.data + 1; at < end; count++) {
        struct bytes text;
        size_t size = 0;
        if (!decode_zipmap_entry(at, end, count % 2 == 1, &text, &size)) return false;
        at += size;
    }
    size_t pairs = count / 2;
    *out_count = count;
    return count % 2 == 0 && pairs > 0 &&
           (bytes.data[0] == pairs || bytes.data[0] == ZIPMAP_COUNT_UNKNOWN);
}

bool rdb_blob_is_valid(enum rdb_blob_kind kind, struct bytes bytes, size_t *out_count) {
    switch (kind) {
    case RDB_BLOB_LISTPACK:
        return listpack_is_valid(bytes, out_count);
    case RDB_BLOB_ZIPLIST:
        return is_valid_ziplist(bytes, out_count);
    case RDB_BLOB_ZIPMAP:
        return is_valid_zipmap(bytes, out_count);
    case RDB_BLOB_INTSET:
        if (!intset_is_valid(bytes)) return false;
        *out_count = intset_count(bytes.data);
        return true;
    }
    UNREACHABLE();
}

/* First places: 0 stands for the beginning in every kind. */
static size_t first_place(const struct rdb_blob *blob) {
    switch (blob->kind) {
    case RDB_BLOB_LISTPACK:
        return LISTPACK_HEADER_BYTES;
    case RDB_BLOB_ZIPLIST:
        return ZIPLIST_HEADER;
    case RDB_BLOB_ZIPMAP:
        return 1;
    case RDB_BLOB_INTSET:
        return INTSET_HEADER_BYTES;
    }
    UNREACHABLE();
}

/* The entry at `place`, the `index`-th, and its size. The blob has been checked. */
static struct listpack_value entry_at(const struct rdb_blob *blob, size_t place, size_t index,
                                      size_t *out_size) {
    const uint8_t *at = blob->data + place;
    const uint8_t *end = blob->data + blob->len - 1;
    struct listpack_value value = {0};
    size_t previous = 0;
    bool is_whole = true;
    *out_size = 0;
    switch (blob->kind) {
    case RDB_BLOB_LISTPACK:
        value = listpack_get(blob->data, place);
        break;
    case RDB_BLOB_ZIPLIST:
        is_whole = decode_ziplist_entry(at, end, &value, out_size, &previous);
        break;
    case RDB_BLOB_ZIPMAP:
        is_whole = decode_zipmap_entry(at, end, index % 2 == 1, &value.text, out_size);
        break;
    case RDB_BLOB_INTSET:
        value.number = intset_get(blob->data, index);
        break;
    }
    ASSERT(is_whole);
    return value;
}

bool rdb_blob_next(const struct rdb_blob *blob, struct rdb_blob_cursor *cursor,
                   struct listpack_value *out) {
    if (cursor->index == blob->count) return false;
    if (cursor->index == 0) cursor->place = first_place(blob);
    size_t size = 0;
    *out = entry_at(blob, cursor->place, cursor->index, &size);
    if (blob->kind == RDB_BLOB_LISTPACK)
        cursor->place = listpack_next(blob->data, cursor->place);
    else
        cursor->place += size;
    cursor->index++;
    return true;
}

/* An entry that must be unique. Sorted by hash and, where that ties, by what the entry says: the
 * order of most is decided by one compare, and an input that was made to collide costs no more than
 * a logarithm. Eight bytes, as a hostile blob may have an entry every two. */
struct member {
    uint32_t hash;
    uint32_t place;
};

enum { MEMBERS_ON_STACK = 128, INSERTION_SORT_MAX = 24 };

/* A number may have been stored as text; it is the same member. */
static void normalise(struct listpack_value *value) {
    if (value->text.data != NULL && number_parse_i64(value->text, &value->number))
        value->text.data = NULL;
}

static int compare_values(const struct listpack_value *a, const struct listpack_value *b) {
    bool a_is_text = a->text.data != NULL;
    bool b_is_text = b->text.data != NULL;
    if (a_is_text != b_is_text) return a_is_text ? 1 : -1;
    if (!a_is_text) return (a->number > b->number) - (a->number < b->number);
    return bytes_compare(a->text, b->text);
}

static int compare_members(const void *left, const void *right, void *context) {
    const struct member *a = left;
    const struct member *b = right;
    if (LIKELY(a->hash != b->hash)) return a->hash < b->hash ? -1 : 1;
    const struct rdb_blob *blob = context;
    size_t size = 0;
    struct listpack_value a_value = entry_at(blob, a->place, 0, &size);
    struct listpack_value b_value = entry_at(blob, b->place, 0, &size);
    normalise(&a_value);
    normalise(&b_value);
    return compare_values(&a_value, &b_value);
}

static void sort_members(struct member *members, size_t count, struct rdb_blob *blob) {
    if (count > INSERTION_SORT_MAX) {
        qsort_r(members, count, sizeof(*members), compare_members, blob);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        struct member moved = members[i];
        size_t to = i;
        for (; to > 0 && compare_members(&moved, &members[to - 1], blob) < 0; to--)
            members[to] = members[to - 1];
        members[to] = moved;
    }
}

/* Fills in every `stride`-th entry; blobs are below 4 GB, so a place fits 32 bits. */
static void gather_members(const struct rdb_blob *blob, size_t stride, struct member *members) {
    struct rdb_blob_cursor cursor = {.place = first_place(blob)};
    for (;;) {
        struct member member = {.place = (uint32_t)cursor.place};
        size_t index = cursor.index;
        struct listpack_value value;
        if (!rdb_blob_next(blob, &cursor, &value)) return;
        if (index % stride != 0) continue;
        normalise(&value);
        member.hash = value.text.data != NULL
                          ? (uint32_t)XXH3_64bits(value.text.data, value.text.len)
                          : (uint32_t)((uint64_t)value.number * 0x9e3779b97f4a7c15u >> 32);
        members[index / stride] = member;
    }
}

/* Looks at every `stride`-th entry. */
static enum status check_unique(struct rdb_reader *reader, struct rdb_blob *blob, size_t stride,
                                const char *reason) {
    _Static_assert(RDB_STRING_MAX_BYTES <= UINT32_MAX, "a place must fit a member");
    size_t count = blob->count / stride;
    struct member few[MEMBERS_ON_STACK];
    struct member *members = few;
    if (count > MEMBERS_ON_STACK) members = mem_try_alloc(count * sizeof(*members));
    if (members == NULL)
        return rdb_reader_fail(reader, STATUS_NO_MEMORY, "No memory to check %zu entries", count);
    gather_members(blob, stride, members);
    sort_members(members, count, blob);
    bool is_unique = true;
    for (size_t i = 1; i < count && is_unique; i++)
        is_unique = compare_members(&members[i - 1], &members[i], blob) != 0;
    if (members != few) mem_free(members);
    return is_unique ? STATUS_OK : rdb_reader_fail(reader, STATUS_BAD_FORMAT, "%s", reason);
}

static struct bytes value_text(struct listpack_value value, char *scratch) {
    if (value.text.data != NULL) return value.text;
    return bytes_of(scratch, number_format_i64(value.number, scratch));
}

/* Scores are numbers, and (score, member) ascends: whoever takes the blob does not sort again. */
static bool has_ascending_scores(const struct rdb_blob *blob) {
    struct rdb_blob_cursor cursor = {0};
    struct listpack_value member;
    struct listpack_value score_entry;
    char scratch[2][NUMBER_TEXT_MAX];
    struct bytes last_member = {0};
    double last_score = 0;
    for (size_t i = 0; rdb_blob_next(blob, &cursor, &member); i++) {
        if (!rdb_blob_next(blob, &cursor, &score_entry)) return false;
        double score = (double)score_entry.number;
        if (score_entry.text.data != NULL && !number_parse_double(score_entry.text, &score))
            return false;
        struct bytes text = value_text(member, scratch[i % 2]);
        if (i > 0) {
            bool is_ascending =
                score > last_score || (score == last_score && bytes_compare(last_member, text) < 0);
            if (!is_ascending) return false;
        }
        last_member = text;
        last_score = score;
    }
    return true;
}

static enum status check_shape(struct rdb_reader *reader, struct rdb_blob *blob,
                               const struct blob_rule *rule) {
    switch (rule->shape) {
    case SHAPE_ENTRIES:
        return STATUS_OK;
    case SHAPE_UNIQUE:
        return check_unique(reader, blob, 1, "Duplicate set members detected");
    case SHAPE_PAIRS:
        if (blob->count % 2 != 0) break;
        return check_unique(reader, blob, 2, "Duplicate hash fields detected");
    case SHAPE_SCORES:
        if (blob->count % 2 != 0 || !has_ascending_scores(blob)) break;
        return check_unique(reader, blob, 2, "Duplicate zset fields detected");
    }
    return rdb_reader_fail(reader, STATUS_BAD_FORMAT, "%s", rule->reason);
}

static const struct blob_rule *rule_of(unsigned type) {
    for (size_t i = 0; i < ARRAY_COUNT(rules); i++) {
        if (rules[i].type == type) return &rules[i];
    }
    UNREACHABLE();
}

enum status rdb_read_blob(struct rdb_reader *reader, unsigned type, struct rdb_blob *out) {
    const struct blob_rule *rule = rule_of(type);
    struct rdb_blob blob = {.kind = rule->kind};
    enum status status = rdb_read_block(reader, &blob.data, &blob.len);
    if (status != STATUS_OK) return status;
    if (rdb_blob_is_valid(blob.kind, bytes_of(blob.data, blob.len), &blob.count))
        status = check_shape(reader, &blob, rule);
    else
        status = rdb_reader_fail(reader, STATUS_BAD_FORMAT, "%s", rule->reason);
    if (status != STATUS_OK) {
        rdb_blob_deinit(&blob);
        return status;
    }
    *out = blob;
    return STATUS_OK;
}

enum status rdb_read_stream_node(struct rdb_reader *reader, unsigned type,
                                 struct rdb_stream_id *out_master, struct rdb_blob *out) {
    uint64_t key_len = 0;
    enum status status = rdb_read_length(reader, &key_len);
    if (status == STATUS_OK && key_len != sizeof(*out_master))
        return rdb_reader_fail(reader, STATUS_BAD_FORMAT,
                               "Stream node key entry is not the size of a stream ID");
    if (status == STATUS_OK) status = rdb_read_stream_id(reader, out_master);
    if (status == STATUS_OK) status = rdb_read_blob(reader, type, out);
    if (status != STATUS_OK || out->count > 0) return status;
    rdb_blob_deinit(out);
    return rdb_reader_fail(reader, STATUS_BAD_FORMAT, "Empty listpack inside stream");
}

void rdb_blob_deinit(struct rdb_blob *blob) {
    mem_free(blob->data);
    *blob = (struct rdb_blob){0};
}

enum status rdb_blob_detach_listpack(struct rdb_blob *blob, uint8_t **out_block) {
    if (blob->kind == RDB_BLOB_LISTPACK) {
        *out_block = blob->data;
        *blob = (struct rdb_blob){0};
        return STATUS_OK;
    }
    uint8_t *block = listpack_create(0);
    struct rdb_blob_cursor cursor = {0};
    struct listpack_value value;
    while (rdb_blob_next(blob, &cursor, &value)) {
        // The longest head and backlen that any entry can have.
        if (!listpack_fits(block, value.text.len + 16)) {
            listpack_destroy(block);
            return STATUS_TOO_BIG;
        }
        if (value.text.data != NULL)
            listpack_append(&block, value.text);
        else
            listpack_append_i64(&block, value.number);
    }
    listpack_shrink(&block);
    rdb_blob_deinit(blob);
    *out_block = block;
    return STATUS_OK;
}

enum status rdb_pairs_init(struct rdb_pairs *pairs, struct rdb_reader *reader, unsigned type) {
    *pairs = (struct rdb_pairs){.reader = reader};
    enum status status = STATUS_OK;
    if (type == RDB_TYPE_HASH) {
        status = rdb_read_count(reader, &pairs->count);
    } else {
        status = rdb_read_blob(reader, type, &pairs->blob);
        pairs->count = pairs->blob.count / 2;
    }
    pairs->left = pairs->count;
    return status;
}

void rdb_pairs_deinit(struct rdb_pairs *pairs) {
    rdb_blob_deinit(&pairs->blob);
    buffer_deinit(&pairs->field);
}

enum status rdb_pairs_next(struct rdb_pairs *pairs, struct bytes *out_field,
                           struct bytes *out_value) {
    if (pairs->left == 0) return STATUS_NOT_FOUND;
    pairs->left--;
    if (pairs->blob.data == NULL) {
        enum status status = rdb_read_string(pairs->reader, &pairs->field);
        if (status == STATUS_OK) status = rdb_read_view(pairs->reader, out_value);
        if (status == STATUS_OK) *out_field = buffer_view(&pairs->field);
        return status;
    }
    struct listpack_value field;
    struct listpack_value value;
    bool is_pair = rdb_blob_next(&pairs->blob, &pairs->cursor, &field) &&
                   rdb_blob_next(&pairs->blob, &pairs->cursor, &value);
    ASSERT(is_pair);
    *out_field = value_text(field, pairs->field_text);
    *out_value = value_text(value, pairs->value_text);
    return STATUS_OK;
}

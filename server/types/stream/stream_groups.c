/* Streams, groups, consumers: what they own, and finding them by name. */
#include "server/base/mem.h"
#include "server/types/stream/stream_internal.h"

/* -- arrays of things by name -- */

/* Where the name is or belongs among `count` things whose name `name_of` tells. */
static uint32_t find_name(const void *items, uint32_t count, struct bytes name,
                          struct bytes (*name_of)(const void *items, uint32_t index),
                          bool *out_found) {
    uint32_t low = 0;
    uint32_t high = count;
    *out_found = false;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = bytes_compare(name_of(items, middle), name);
        if (order == 0) *out_found = true;
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct bytes group_name(const void *items, uint32_t index) {
    return ((struct stream_group *const *)items)[index]->name;
}

static struct bytes consumer_name(const void *items, uint32_t index) {
    return ((struct stream_consumer *const *)items)[index]->name;
}

/* Makes a gap at `at` in an array of pointers. */
static void *open_gap(void *items, uint32_t *count, uint32_t *cap, uint32_t at) {
    void **array = items;
    if (*count == *cap) {
        *cap = *cap == 0 ? 2 : *cap * 2;
        array = mem_realloc(array, *cap * sizeof(void *));
    }
    memmove(&array[at + 1], &array[at], (*count - at) * sizeof(void *));
    ++*count;
    return array;
}

static void close_gap(void *items, uint32_t *count, uint32_t at) {
    void **array = items;
    --*count;
    memmove(&array[at], &array[at + 1], (*count - at) * sizeof(void *));
}

static struct bytes copy_name(void *behind, struct bytes name) {
    if (name.len > 0) memcpy(behind, name.data, name.len);
    return bytes_of(behind, name.len);
}

/* -- streams -- */

struct stream *stream_create(void) {
    struct stream *stream = mem_alloc_zero(sizeof(*stream));
    stream->nodes = leaf_tree_create(true);
    return stream;
}

static void free_consumer(struct stream_consumer *consumer) {
    stream_pel_deinit(&consumer->pel);
    mem_free(consumer);
}

static void free_group(struct stream_group *group) {
    for (uint32_t i = 0; i < group->consumer_count; i++)
        free_consumer(group->consumers[i]);
    struct stream_pel_cursor cursor;
    for (stream_pel_seek(&group->pel, STREAM_ID_MIN, &cursor); cursor.has; stream_pel_next(&cursor))
        mem_free(stream_pel_at(&cursor));
    stream_pel_deinit(&group->pel);
    mem_free(group->consumers);
    mem_free(group);
}

void stream_free(struct stream *stream) {
    for (uint32_t i = 0; i < stream->group_count; i++)
        free_group(stream->groups[i]);
    mem_free(stream->groups);
    leaf_tree_destroy(stream->nodes, mem_free);
    mem_free(stream);
}

static void clone_group(struct stream *copy, const struct stream_group *group) {
    struct stream_group *fresh =
        stream_add_group(copy, group->name, group->last, group->entries_read);
    for (uint32_t i = 0; i < group->consumer_count; i++) {
        const struct stream_consumer *consumer = group->consumers[i];
        struct stream_consumer *twin =
            stream_add_consumer(fresh, consumer->name, consumer->seen_ms);
        twin->active_ms = consumer->active_ms;
        struct stream_pel_cursor cursor;
        for (stream_pel_seek(&consumer->pel, STREAM_ID_MIN, &cursor); cursor.has;
             stream_pel_next(&cursor)) {
            const struct stream_pending *pending = stream_pel_at(&cursor);
            stream_add_pending(fresh, pending->id, twin, pending->delivered_ms)->count =
                pending->count;
        }
    }
}

struct stream *stream_clone(const struct stream *stream) {
    struct stream *copy = stream_create();
    copy->last = stream->last;
    copy->max_deleted = stream->max_deleted;
    copy->added = stream->added;
    struct leaf_place place;
    bool has_more = leaf_tree_first(stream->nodes, &place);
    for (; has_more; has_more = leaf_place_next(&place)) {
        struct leaf_key key = leaf_place_key(&place);
        stream_adopt_node_take(copy, (struct stream_id){key.high, key.low},
                               listpack_copy(leaf_place_leaf(&place)), leaf_place_count(&place));
    }
    for (uint32_t i = 0; i < stream->group_count; i++)
        clone_group(copy, stream->groups[i]);
    return copy;
}

/* -- groups -- */

struct stream_group *stream_find_group(const struct stream *stream, struct bytes name) {
    bool is_there;
    uint32_t at = find_name(stream->groups, stream->group_count, name, group_name, &is_there);
    return is_there ? stream->groups[at] : NULL;
}

struct stream_group *stream_add_group(struct stream *stream, struct bytes name,
                                      struct stream_id last, int64_t entries_read) {
    bool is_there;
    uint32_t at = find_name(stream->groups, stream->group_count, name, group_name, &is_there);
    if (is_there) return NULL;
    struct stream_group *group = mem_alloc_zero(sizeof(*group) + name.len);
    group->name = copy_name(group + 1, name);
    group->last = last;
    group->entries_read = entries_read;
    stream->groups = open_gap(stream->groups, &stream->group_count, &stream->group_cap, at);
    stream->groups[at] = group;
    return group;
}

bool stream_remove_group(struct stream *stream, struct bytes name) {
    bool is_there;
    uint32_t at = find_name(stream->groups, stream->group_count, name, group_name, &is_there);
    if (!is_there) return false;
    free_group(stream->groups[at]);
    close_gap(stream->groups, &stream->group_count, at);
    return true;
}

/* -- consumers -- */

struct stream_consumer *stream_find_consumer(const struct stream_group *group, struct bytes name) {
    bool is_there;
    uint32_t at =
        find_name(group->consumers, group->consumer_count, name, consumer_name, &is_there);
    return is_there ? group->consumers[at] : NULL;
}

struct stream_consumer *stream_add_consumer(struct stream_group *group, struct bytes name,
                                            int64_t now_ms) {
    bool is_there;
    uint32_t at =
        find_name(group->consumers, group->consumer_count, name, consumer_name, &is_there);
    if (is_there) return NULL;
    struct stream_consumer *consumer = mem_alloc_zero(sizeof(*consumer) + name.len);
    consumer->name = copy_name(consumer + 1, name);
    consumer->seen_ms = now_ms;
    consumer->active_ms = -1;
    group->consumers = open_gap(group->consumers, &group->consumer_count, &group->consumer_cap, at);
    group->consumers[at] = consumer;
    return consumer;
}

uint64_t stream_remove_consumer(struct stream_group *group, struct stream_consumer *consumer) {
    uint64_t pending = stream_pel_count(&consumer->pel);
    struct stream_pel_cursor cursor;
    for (stream_pel_seek(&consumer->pel, STREAM_ID_MIN, &cursor); cursor.has;
         stream_pel_next(&cursor)) {
        struct stream_pending *entry = stream_pel_at(&cursor);
        stream_pel_remove(&group->pel, entry->id);
        mem_free(entry);
    }
    bool is_there;
    uint32_t at = find_name(group->consumers, group->consumer_count, consumer->name, consumer_name,
                            &is_there);
    close_gap(group->consumers, &group->consumer_count, at);
    free_consumer(consumer);
    return pending;
}

/* -- pending entries -- */

struct stream_pending *stream_add_pending(struct stream_group *group, struct stream_id id,
                                          struct stream_consumer *consumer, int64_t now_ms) {
    struct stream_pending *pending = mem_alloc(sizeof(*pending));
    *pending =
        (struct stream_pending){.id = id, .delivered_ms = now_ms, .count = 1, .consumer = consumer};
    stream_pel_insert(&group->pel, pending);
    if (consumer != NULL) stream_pel_insert(&consumer->pel, pending);
    return pending;
}

void stream_remove_pending(struct stream_group *group, struct stream_pending *pending) {
    stream_pel_remove(&group->pel, pending->id);
    if (pending->consumer != NULL) stream_pel_remove(&pending->consumer->pel, pending->id);
    mem_free(pending);
}

void stream_give_pending(struct stream_pending *pending, struct stream_consumer *consumer) {
    if (pending->consumer == consumer) return;
    if (pending->consumer != NULL) stream_pel_remove(&pending->consumer->pel, pending->id);
    stream_pel_insert(&consumer->pel, pending);
    pending->consumer = consumer;
}

/* -- how far a group has read -- */

bool stream_has_tombstones(const struct stream *stream, struct stream_id start) {
    struct stream_id first;
    if (stream_id_is_zero(stream->max_deleted) || !stream_edge_id(stream, false, &first))
        return false;
    // What was deleted before the first entry is out of the way.
    if (stream_id_compare(first, stream->max_deleted) > 0) return false;
    return stream_id_compare(start, stream->max_deleted) <= 0;
}

int64_t stream_estimate_read(const struct stream *stream, struct stream_id id) {
    uint64_t len = stream_len(stream);
    if (stream->added == 0) return 0;
    int to_last = stream_id_compare(id, stream->last);
    if ((len == 0 && to_last <= 0) || to_last == 0) return (int64_t)stream->added;
    if (to_last > 0) return STREAM_READ_UNKNOWN;
    struct stream_id first = STREAM_ID_MIN;
    stream_edge_id(stream, false, &first);
    if (!stream_id_is_zero(stream->max_deleted) &&
        stream_id_compare(stream->max_deleted, first) >= 0)
        return STREAM_READ_UNKNOWN;
    int to_first = stream_id_compare(id, first);
    if (to_first < 0) return (int64_t)(stream->added - len);
    if (to_first == 0) return (int64_t)(stream->added - len + 1);
    return STREAM_READ_UNKNOWN;
}

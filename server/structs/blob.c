#include "server/structs/blob.h"

#include "server/base/mem.h"

#define DOUBLING_MAX ((size_t)1 << 20)

static struct blob *blob_init(struct blob *blob, size_t cap) {
    atomic_init(&blob->refs, 1);
    blob->len = 0;
    blob->cap = cap;
    return blob;
}

struct blob *blob_create(size_t cap) {
    return blob_init(mem_alloc(sizeof(struct blob) + cap), cap);
}

struct blob *blob_try_create(size_t cap) {
    struct blob *blob = mem_try_alloc(sizeof(*blob) + cap);
    return blob == NULL ? NULL : blob_init(blob, cap);
}

struct blob *blob_create_copy(struct bytes bytes) {
    struct blob *blob = blob_create(bytes.len);
    if (bytes.len > 0) memcpy(blob->data, bytes.data, bytes.len);
    blob->len = bytes.len;
    return blob;
}

struct blob *blob_retain(struct blob *blob) {
    atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
    return blob;
}

void blob_release(struct blob *blob) {
    if (blob == NULL) return;
    if (atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel) == 1) mem_free(blob);
}

static size_t grown_cap(size_t old_cap, size_t len) {
    size_t cap = old_cap < DOUBLING_MAX ? old_cap * 2 : old_cap + old_cap / 8;
    if (cap < len) cap = len;
    return mem_good_size(sizeof(struct blob) + cap) - sizeof(struct blob);
}

struct blob *blob_make_room(struct blob *blob, size_t len) {
    if (blob_is_shared(blob)) {
        struct blob *copy = blob_try_create(grown_cap(blob->len, len));
        if (copy == NULL) return NULL;
        memcpy(copy->data, blob->data, blob->len);
        copy->len = blob->len;
        blob_release(blob);
        return copy;
    }
    if (len <= blob->cap) return blob;
    size_t cap = grown_cap(blob->cap, len);
    struct blob *grown = mem_try_realloc(blob, sizeof(*blob) + cap);
    if (grown == NULL) return NULL;
    grown->cap = cap;
    return grown;
}

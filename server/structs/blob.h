/* A long string on its own, counted, so that others than its record may refer to it.
 *
 * The bytes are changed only by who holds the one reference (blob_is_shared is false). Any thread
 * may retain and release.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"

struct blob {
    _Atomic uint32_t refs;
    size_t len;
    size_t cap; /* Bytes that fit into data. */
    uint8_t data[];
};

/* A blob with one reference, length 0 and room for at least `cap` bytes. The first one never
 * returns NULL; the other one does when there is no such memory. */
MUST_USE struct blob *blob_create(size_t cap);
MUST_USE struct blob *blob_try_create(size_t cap);

/* A blob of these bytes. Never NULL. */
MUST_USE struct blob *blob_create_copy(struct bytes bytes);

/* One more reference to the same blob. */
struct blob *blob_retain(struct blob *blob);

/* Gives a reference back; the last one frees. NULL is fine. */
void blob_release(struct blob *blob);

static inline bool blob_is_shared(const struct blob *blob) {
    return atomic_load_explicit(&blob->refs, memory_order_acquire) > 1;
}

static inline struct bytes blob_view(const struct blob *blob) {
    return bytes_of(blob->data, blob->len);
}

/* The same bytes in a blob that only the caller refers to and that has room for `len` bytes: the
 * blob itself, or another one in whose favour the caller's reference was given up. Bytes behind the
 * old length are undefined. Room grows by doubling up to a megabyte and by an eighth afterwards, so
 * that appending is O(1) amortised. NULL, and the old reference stays, when there is no such
 * memory. */
MUST_USE struct blob *blob_make_room(struct blob *blob, size_t len);

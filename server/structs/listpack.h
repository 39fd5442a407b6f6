/* A listpack: a list of short strings and integers in one run of bytes, each entry with its length
 * before and behind it, so that it can be walked both ways.
 *
 * The block is the RDB format's own, byte for byte, so saving one is copying it:
 *
 *     total(u32 LE) count(u16 LE) { encoding [data] backlen } FF
 *
 * Words. A *block* is what listpack_create returns: memory of mem_alloc, owned by the caller, freed
 * with mem_free (listpack_destroy says the same). A *place* is the offset of an entry in its block;
 * 0 is no place. Places survive a move of the block, and changes behind them; a change before a
 * place moves it. Functions that may move the block take the address of the caller's pointer.
 *
 * A string that is a canonical decimal of 64 bits is kept as an integer, whoever adds it; a foreign
 * block may hold one as text, which compares equal all the same.
 *
 * Blocks from outside go through listpack_is_valid first; every other function trusts its block.
 * Adding beyond LISTPACK_MAX_BYTES asserts: a caller whose limits allow it asks listpack_fits.
 * Texts that are added or looked for may not lie in the block that is changed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "server/base/number.h"

#define LISTPACK_MAX_BYTES ((size_t)1 << 30) /* A whole block. */
#define LISTPACK_HEADER_BYTES 6u
#define LISTPACK_EMPTY_BYTES 7u

/* An entry's value: `text.data` is NULL for an integer. The text is a view into the block. */
struct listpack_value {
    struct bytes text;
    int64_t number;
};

/* An empty block with room for `cap_bytes` in all (0 when unknown). Never NULL. */
MUST_USE uint8_t *listpack_create(size_t cap_bytes);
void listpack_destroy(uint8_t *block); /* NULL is fine. */
MUST_USE uint8_t *listpack_copy(const uint8_t *block);

/* True when the bytes are a well-formed listpack to the last entry. Never reads outside. On true
 * `out_count` (may be NULL) has the number of entries. O(n). */
bool listpack_is_valid(struct bytes block, size_t *out_count);

size_t listpack_bytes(const uint8_t *block); /* The whole block, as it would be saved. */

/* Number of entries. O(1) below 65,535, else a walk. */
size_t listpack_count(const uint8_t *block);

/* Places. Each is 0 when there is no such entry. */
size_t listpack_first(const uint8_t *block);
size_t listpack_last(const uint8_t *block);
size_t listpack_next(const uint8_t *block, size_t place);
size_t listpack_prev(const uint8_t *block, size_t place);

/* The place of entry `index`; -1 is the last one. Walks from the nearer end. */
size_t listpack_seek(const uint8_t *block, int64_t index);

struct listpack_value listpack_get(const uint8_t *block, size_t place);

/* The entry as text: a view into the block, or of `scratch` (NUMBER_TEXT_MAX bytes). */
struct bytes listpack_text(const uint8_t *block, size_t place, char *scratch);

/* False when the entry is not a canonical integer, be it stored as one or as text. */
bool listpack_get_i64(const uint8_t *block, size_t place, int64_t *out);

bool listpack_equals(const uint8_t *block, size_t place, struct bytes text);

/* The first entry equal to `text`, looking at `place` and then at every (skip + 1)-th entry: skip 1
 * from the first place looks at the fields of a hash. 0 when there is none; place 0 is fine. */
size_t listpack_find(const uint8_t *block, size_t place, struct bytes text, size_t skip);

/* Bytes that an entry with this value takes in a block. */
size_t listpack_entry_bytes(struct bytes text);

/* True when `extra_bytes` of entries can be added. */
bool listpack_fits(const uint8_t *block, size_t extra_bytes);

/* Adders return the new entry's place. Appending is O(1) but for the growth of the block, the
 * others move what lies behind. */
size_t listpack_append(uint8_t **block, struct bytes text);
size_t listpack_append_i64(uint8_t **block, int64_t number);
size_t listpack_insert_before(uint8_t **block, size_t place, struct bytes text);
size_t listpack_insert_before_i64(uint8_t **block, size_t place, int64_t number);
size_t listpack_insert_after(uint8_t **block, size_t place, struct bytes text);
size_t listpack_prepend(uint8_t **block, struct bytes text);

/* The entry keeps its place. */
void listpack_replace(uint8_t **block, size_t place, struct bytes text);
void listpack_replace_i64(uint8_t **block, size_t place, int64_t number);

/* Removes the entry, or up to `count` entries from `place` on. Returns the place of what followed,
 * 0 when that was the end. */
size_t listpack_delete(uint8_t **block, size_t place);
size_t listpack_delete_range(uint8_t **block, size_t place, size_t count);

/* Cuts the block before `place`; what lay from there on is the block that it returns. */
MUST_USE uint8_t *listpack_split(uint8_t **block, size_t place);

/* Appends every entry of `tail`, which stays as it is and is another block. */
void listpack_append_all(uint8_t **block, const uint8_t *tail);

/* Makes room for `more` bytes of entries (listpack_entry_bytes) that are to come, at once. */
void listpack_reserve(uint8_t **block, size_t more);

/* Gives back what building left over. */
void listpack_shrink(uint8_t **block);

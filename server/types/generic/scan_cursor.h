/* The cursor of SCAN: a slot, and a place in the order of hashes inside it.
 *
 * The slot stands in the 14 bits below the sign, so that a cursor is a positive 64-bit integer for
 * every client; below it stand the upper 49 bits of the place. What is cut off lies behind the
 * place: a scan that goes on looks at it again rather than missing it. 0 is the beginning and the
 * end.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/bytes.h"
#include "server/structs/table.h"

#define SCAN_PLACE_BITS 49u
#define SCAN_PLACE_CUT (64u - SCAN_PLACE_BITS)
#define SCAN_SLOT_MAX 16383u

struct scan_position {
    uint32_t slot;
    uint64_t place;
};

static inline uint64_t scan_cursor_of(struct scan_position position) {
    return (uint64_t)position.slot << SCAN_PLACE_BITS | position.place >> SCAN_PLACE_CUT;
}

/* The place as a cursor can say it: at or before `place`. */
static inline uint64_t scan_place_cut(uint64_t place) {
    return place >> SCAN_PLACE_CUT << SCAN_PLACE_CUT;
}

static inline struct scan_position scan_position_of(uint64_t cursor) {
    return (struct scan_position){
        .slot = (uint32_t)(cursor >> SCAN_PLACE_BITS),
        .place = cursor << SCAN_PLACE_CUT,
    };
}

/* The place that a cursor can say behind about `buckets` buckets from `place` on, `place` being one
 * itself; 0: the end. Always further on: a bucket's border that is cut lies in the bucket before
 * it, whose rest alone would be no step. */
uint64_t scan_place_after(const struct table *table, uint64_t place, uint32_t buckets);

/* Reads a cursor: decimal digits, nothing else. False when it is none; *out is then untouched. A
 * cursor that no scan has given out is a position all the same. */
bool scan_cursor_parse(struct bytes text, uint64_t *out);

/* The part of a pattern by which a cluster's slot is chosen, where all that match must lie in one
 * slot: its hash tag, or the whole of a pattern without anything special. False when they may lie
 * anywhere. */
bool scan_pattern_tag(struct bytes pattern, struct bytes *out_tag);

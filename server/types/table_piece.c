#include "server/types/table_piece.h"

enum { BUCKETS_A_STEP = 32 };

bool table_walk_piece(struct reply_walk *walk, const struct table *table,
                      const struct table_hasher *hasher,
                      void (*visit)(void *arg, struct record *record), struct reply *reply,
                      size_t max_bytes) {
    size_t begin = reply->out->len;
    do {
        uint64_t next = table_place_after(table, walk->place, BUCKETS_A_STEP);
        table_walk(table, walk->place, next, hasher, visit, reply);
        walk->place = next;
    } while (walk->place != 0 && reply->out->len - begin < max_bytes);
    return walk->place == 0;
}

#include "tools/cluster/slot_set.h"

size_t slot_set_count(const struct slot_set *set) {
    size_t count = 0;
    for (size_t i = 0; i < CLUSTER_SLOTS / 64; i++) {
        count += (size_t)__builtin_popcountll(set->words[i]);
    }
    return count;
}

void slot_set_add_all(struct slot_set *set, const struct slot_set *other) {
    for (size_t i = 0; i < CLUSTER_SLOTS / 64; i++)
        set->words[i] |= other->words[i];
}

bool slot_set_next_run(const struct slot_set *set, unsigned *slot, unsigned *first,
                       unsigned *last) {
    unsigned at = *slot;
    while (at < CLUSTER_SLOTS && !slot_set_has(set, at))
        at++;
    if (at == CLUSTER_SLOTS) return false;
    *first = at;
    while (at + 1 < CLUSTER_SLOTS && slot_set_has(set, at + 1))
        at++;
    *last = at;
    *slot = at + 1;
    return true;
}

void slot_set_append_runs(const struct slot_set *set, bool has_brackets, struct buffer *out) {
    unsigned slot = 0;
    unsigned first;
    unsigned last;
    const char *before = "";
    while (slot_set_next_run(set, &slot, &first, &last)) {
        buffer_append_text(out, before);
        if (has_brackets) buffer_append_u8(out, '[');
        buffer_append_format(out, "%u", first);
        if (last != first) buffer_append_format(out, "-%u", last);
        if (has_brackets) buffer_append_u8(out, ']');
        before = ",";
    }
}

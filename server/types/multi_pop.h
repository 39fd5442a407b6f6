/* What LMPOP, BLMPOP, ZMPOP and BZMPOP have in common, and the blocking pops of one element:
 * several keys, an end, and a number. */
#pragma once

#include "server/command/context.h"

struct multi_pop {
    uint32_t first_key; /* Argument. */
    uint32_t key_count;
    bool is_far_end; /* RIGHT or MAX. */
    int64_t count;   /* At least 1. */
};

/* Reads `numkeys key ... NEAR|FAR [COUNT n]`, `argument` being numkeys; false after the error was
 * answered. */
bool multi_pop_parse(struct command_context *context, uint32_t argument, const char *near_end,
                     const char *far_end, struct multi_pop *out);

/* The first of the keys that holds a value of this type, for a change. False: none does, or one
 * before it holds another type, which was answered (*out_failed). */
bool multi_pop_find(struct command_context *context, uint32_t first_key, uint32_t key_count,
                    enum record_type type, struct key *out_key, struct table_entry *out_entry,
                    bool *out_failed);

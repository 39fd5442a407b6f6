/* The words of a command's row as clients and ACL rules spell them.
 *
 * Each list is in the order in which replies show it.
 */
#pragma once

#include "server/base/bytes.h"
#include "server/command/command.h"

/* A bit and its name. */
struct command_word {
    uint32_t bit;
    const char *name;
};

/* COMMAND_*: "write", "denyoom" ... Only what COMMAND INFO shows. Ends with a NULL name. */
extern const struct command_word command_flag_words[];

/* KEY_*: "RO", "access" ... */
extern const struct command_word command_key_flag_words[];

/* ACL categories, derived ones included: bits are those of command_acl_categories. */
extern const struct command_word command_category_words[];

/* Beyond CATEGORY_*: what follows from a row's flags. */
enum {
    CATEGORY_READ = 1 << 24,
    CATEGORY_WRITE = 1 << 25,
    CATEGORY_ADMIN = 1 << 26,
    CATEGORY_FAST = 1 << 27,
    CATEGORY_SLOW = 1 << 28,
    CATEGORY_BLOCKING = 1 << 29,
};

/* All categories of a command. */
uint32_t command_acl_categories(const struct command *command);

/* The bit of a category by its name, without "@", in any case; 0 when there is none. */
uint32_t command_category_find(struct bytes name);

/* "string", "sorted-set" ... */
const char *command_group_name(enum command_group group);

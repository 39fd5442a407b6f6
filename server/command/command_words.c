#include "server/command/command_words.h"

const struct command_word command_flag_words[] = {
    {COMMAND_WRITE, "write"},
    {COMMAND_READONLY, "readonly"},
    {COMMAND_DENY_OOM, "denyoom"},
    {COMMAND_ADMIN, "admin"},
    {COMMAND_PUBSUB, "pubsub"},
    {COMMAND_NO_SCRIPT, "noscript"},
    {COMMAND_BLOCKING, "blocking"},
    {COMMAND_LOADING, "loading"},
    {COMMAND_STALE, "stale"},
    {COMMAND_SKIP_MONITOR, "skip_monitor"},
    {COMMAND_SKIP_SLOWLOG, "skip_slowlog"},
    {COMMAND_ASKING, "asking"},
    {COMMAND_FAST, "fast"},
    {COMMAND_NO_AUTH, "no_auth"},
    {COMMAND_NO_MANDATORY_KEYS, "no_mandatory_keys"},
    {COMMAND_NO_ASYNC_LOADING, "no_async_loading"},
    {COMMAND_NO_MULTI, "no_multi"},
    {COMMAND_MOVABLE_KEYS, "movablekeys"},
    {COMMAND_ALLOW_BUSY, "allow_busy"},
    {0, NULL},
};

const struct command_word command_key_flag_words[] = {
    {KEY_RO, "RO"},
    {KEY_RW, "RW"},
    {KEY_OW, "OW"},
    {KEY_RM, "RM"},
    {KEY_ACCESS, "access"},
    {KEY_UPDATE, "update"},
    {KEY_INSERT, "insert"},
    {KEY_DELETE, "delete"},
    {KEY_NOT_KEY, "not_key"},
    {KEY_INCOMPLETE, "incomplete"},
    {KEY_VARIABLE_FLAGS, "variable_flags"},
    {0, NULL},
};

const struct command_word command_category_words[] = {
    {CATEGORY_KEYSPACE, "keyspace"},
    {CATEGORY_READ, "read"},
    {CATEGORY_WRITE, "write"},
    {CATEGORY_SET, "set"},
    {CATEGORY_SORTED_SET, "sortedset"},
    {CATEGORY_LIST, "list"},
    {CATEGORY_HASH, "hash"},
    {CATEGORY_STRING, "string"},
    {CATEGORY_BITMAP, "bitmap"},
    {CATEGORY_HYPERLOGLOG, "hyperloglog"},
    {CATEGORY_GEO, "geo"},
    {CATEGORY_STREAM, "stream"},
    {CATEGORY_PUBSUB, "pubsub"},
    {CATEGORY_ADMIN, "admin"},
    {CATEGORY_FAST, "fast"},
    {CATEGORY_SLOW, "slow"},
    {CATEGORY_BLOCKING, "blocking"},
    {CATEGORY_DANGEROUS, "dangerous"},
    {CATEGORY_CONNECTION, "connection"},
    {CATEGORY_TRANSACTION, "transaction"},
    {CATEGORY_SCRIPTING, "scripting"},
    {0, NULL},
};

uint32_t command_acl_categories(const struct command *command) {
    uint32_t categories = command->categories;
    uint32_t flags = command->flags;
    if (flags & COMMAND_WRITE) categories |= CATEGORY_WRITE;
    /* What a script reads depends on the script. */
    if ((flags & COMMAND_READONLY) && !(categories & CATEGORY_SCRIPTING))
        categories |= CATEGORY_READ;
    if (flags & COMMAND_ADMIN) categories |= CATEGORY_ADMIN | CATEGORY_DANGEROUS;
    if (flags & COMMAND_PUBSUB) categories |= CATEGORY_PUBSUB;
    if (flags & COMMAND_BLOCKING) categories |= CATEGORY_BLOCKING;
    return categories | (uint32_t)((flags & COMMAND_FAST) ? CATEGORY_FAST : CATEGORY_SLOW);
}

uint32_t command_category_find(struct bytes name) {
    for (const struct command_word *word = command_category_words; word->name; word++) {
        if (bytes_equal_text_nocase(name, word->name)) return word->bit;
    }
    return 0;
}

const char *command_group_name(enum command_group group) {
    static const char *const names[] = {
        [GROUP_GENERIC] = "generic",
        [GROUP_STRING] = "string",
        [GROUP_LIST] = "list",
        [GROUP_SET] = "set",
        [GROUP_SORTED_SET] = "sorted-set",
        [GROUP_HASH] = "hash",
        [GROUP_PUBSUB] = "pubsub",
        [GROUP_TRANSACTIONS] = "transactions",
        [GROUP_CONNECTION] = "connection",
        [GROUP_SERVER] = "server",
        [GROUP_SCRIPTING] = "scripting",
        [GROUP_HYPERLOGLOG] = "hyperloglog",
        [GROUP_CLUSTER] = "cluster",
        [GROUP_SENTINEL] = "sentinel",
        [GROUP_GEO] = "geo",
        [GROUP_STREAM] = "stream",
        [GROUP_BITMAP] = "bitmap",
    };
    return names[group];
}

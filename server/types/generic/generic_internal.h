/* The handlers that the rows name, and what they share. */
#pragma once

#include "server/command/context.h"

/* keys.c */
void generic_del(struct command_context *context);
void generic_unlink(struct command_context *context);
void generic_exists(struct command_context *context);
void generic_touch(struct command_context *context);
void generic_type(struct command_context *context);

/* move.c */
void generic_rename(struct command_context *context);
void generic_renamenx(struct command_context *context);
void generic_copy(struct command_context *context);
void generic_move(struct command_context *context);

/* expire.c */
void generic_expire(struct command_context *context);
void generic_pexpire(struct command_context *context);
void generic_expireat(struct command_context *context);
void generic_pexpireat(struct command_context *context);
void generic_ttl(struct command_context *context);
void generic_pttl(struct command_context *context);
void generic_expiretime(struct command_context *context);
void generic_pexpiretime(struct command_context *context);
void generic_persist(struct command_context *context);

/* databases.c */
void generic_dbsize(struct command_context *context);
void generic_flushdb(struct command_context *context);
void generic_flushall(struct command_context *context);
void generic_swapdb(struct command_context *context);

/* scan.c */
void generic_keys(struct command_context *context);
void generic_scan(struct command_context *context);
void generic_randomkey(struct command_context *context);

/* object.c */
void generic_object_encoding(struct command_context *context);
void generic_object_freq(struct command_context *context);
void generic_object_idletime(struct command_context *context);
void generic_object_refcount(struct command_context *context);
void generic_object_help(struct command_context *context);

/* dump.c */
void generic_dump(struct command_context *context);
void generic_restore(struct command_context *context);

/* Reads an argument as the number of a database; answers with redis's texts and returns false when
 * it is none. */
bool generic_database(struct command_context *context, uint32_t argument, unsigned *out);

/* True when the key is past its deadline and so hidden from the command. */
static inline bool generic_is_hidden(const struct command_context *context,
                                     const struct record *record) {
    int64_t deadline_ms = record_deadline_ms(record);
    return deadline_ms != 0 && context->now_ms >= deadline_ms && !context->is_from_primary;
}

/* Deletes the key at `entry`. A big value is freed in the background when `is_lazy`, else before
 * the command is answered, so that the memory is there again by then. */
static inline void generic_delete(struct command_context *context, const struct key *key,
                                  struct table_entry *entry, bool is_lazy) {
    keyspace_delete(context->keyspace, key, entry, is_lazy);
}

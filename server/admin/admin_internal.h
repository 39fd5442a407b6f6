/* The handlers that the rows name. */
#pragma once

#include "server/admin/admin.h"
#include "server/command/context.h"

enum admin_permission { ADMIN_NOBODY, ADMIN_ANYBODY, ADMIN_LOCAL };

struct admin_settings {
    int enable_debug_command; /* enum admin_permission, as the two below. */
    int enable_module_command;
    int enable_protected_configs;
};

struct admin {
    struct admin_settings settings;
    struct admin_hooks hooks;
};

/* command_list.c */
void admin_command(struct command_context *context);
void admin_command_count(struct command_context *context);
void admin_command_getkeys(struct command_context *context);
void admin_command_getkeysandflags(struct command_context *context);
void admin_command_list(struct command_context *context);
void admin_command_help(struct command_context *context);

/* command_info.c */
void admin_command_info(struct command_context *context);

/* command_docs.c */
void admin_command_docs(struct command_context *context);

/* config_commands.c */
void admin_config_get(struct command_context *context);
void admin_config_set(struct command_context *context);
void admin_config_rewrite(struct command_context *context);
void admin_config_resetstat(struct command_context *context);
void admin_config_help(struct command_context *context);

/* debug.c */
void admin_debug(struct command_context *context);

/* memory.c */
void admin_memory_usage(struct command_context *context);
void admin_memory_stats(struct command_context *context);
void admin_memory_doctor(struct command_context *context);
void admin_memory_malloc_stats(struct command_context *context);
void admin_memory_purge(struct command_context *context);
void admin_memory_help(struct command_context *context);

/* module.c */
void admin_module_list(struct command_context *context);
void admin_module_change(struct command_context *context);
void admin_module_help(struct command_context *context);

/* lolwut_command.c, time.c */
void admin_lolwut(struct command_context *context);
void admin_time(struct command_context *context);

/* The row that a client means by "get" or "config|get"; NULL: there is none. */
const struct command *admin_find_command(const struct command_context *context, struct bytes name);

/* Replies the names of the bits that are set as a set of simple strings. `prefix` stands before
 * each name. */
struct command_word;
void admin_reply_words(struct reply *reply, const struct command_word *words, uint32_t bits,
                       const char *prefix);

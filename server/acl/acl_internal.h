/* What the files of this folder share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "server/acl/acl.h"
#include "server/acl/rules_internal.h"

/* Denials of the last time, newest first. One that repeats within a minute is counted. */
struct denial {
    struct denial *next;
    uint64_t id;
    uint64_t count;
    uint8_t reason; /* enum denial_reason */
    uint8_t place;  /* enum access_place */
    char *object;   /* The command, key or channel. */
    size_t object_len;
    char *user_name;
    char *client;        /* Its line of CLIENT LIST. */
    uint64_t created_ms; /* Unix time. */
    uint64_t updated_ms;
};
enum denial_reason { DENIAL_AUTH, DENIAL_COMMAND, DENIAL_KEY, DENIAL_CHANNEL, DENIAL_REASONS };

struct denial_log {
    pthread_mutex_t lock; /* A leaf. */
    struct denial *first;
    uint64_t count;
    uint64_t next_id;
    _Atomic uint64_t totals[DENIAL_REASONS]; /* For INFO. */
};

struct acl {
    struct acl_options *options;
    struct rule_set rules;
    struct acl_user **users; /* In the order of their names. */
    uint32_t user_count;
    struct acl_user *default_user;
    struct text_list declared;       /* The `user` lines of the configuration, until acl_start. */
    struct acl_user *default_before; /* As it was before requirepass was set, to go back to. */
    struct acl_hooks hooks;
    struct denial_log log;
};

/* -- acl.c -- */

struct acl_user *acl_find(const struct acl *acl, struct bytes name);
/* The default user as it is where nobody has said anything: it may do everything. */
struct acl_user *acl_create_default(struct acl *acl);
/* What rules mean at present. */
const struct rule_set *acl_rules(struct acl *acl);
/* Puts it among the users; there is none of its name. */
void acl_add_take(struct acl *acl, struct acl_user *user);
/* Everything parked, for what follows. Closes the user's sessions, `me` after its reply, and
 * forgets it. Never the default user. */
void acl_delete(struct acl *acl, struct acl_user *user, const struct session *me);
/* Takes the new contents. Those who listen to what they may not hear any more are closed. */
void acl_change_take(struct acl *acl, struct acl_user *user, struct acl_user *fresh,
                     const struct session *me);
/* Closes the user's sessions. */
void acl_close_sessions(struct acl *acl, const struct acl_user *user, const struct session *me);
/* Brings the sessions' words up to date. After all changes of a command. */
void acl_refresh_sessions(struct acl *acl);

/* -- acl_file.c -- */

/* A `user` line of the configuration. */
bool acl_declare(struct acl *acl, const struct bytes *words, size_t count, struct buffer *error);
/* Reads the file; on failure nothing has changed and `error` has all reasons. */
bool acl_load(struct acl *acl, const struct session *me, struct buffer *error);
/* Replaces the file. errno says why not. */
bool acl_save(const struct acl *acl);
/* Appends the index-th `user` line for CONFIG REWRITE, without its first word. False: no more. */
bool acl_format_line(const struct acl *acl, size_t index, struct buffer *out);

/* -- acl_options.c -- */

bool acl_has_file(const struct acl *acl);
/* Gives the default user the password of requirepass, or none. */
void acl_set_default_password(struct acl *acl);

/* -- acl_log.c -- */

void denial_log_init(struct denial_log *log);
void denial_log_deinit(struct denial_log *log);
void denial_log_add(struct acl *acl, struct session *session, enum denial_reason reason,
                    enum access_place place, struct bytes object, struct bytes user_name);
void denial_log_trim(struct denial_log *log, uint64_t max);
void denial_log_reply(struct denial_log *log, struct reply *reply, uint64_t max);

/* -- acl_commands.c, for the rows -- */

void acl_command_cat(struct command_context *context);
void acl_command_deluser(struct command_context *context);
void acl_command_dryrun(struct command_context *context);
void acl_command_genpass(struct command_context *context);
void acl_command_getuser(struct command_context *context);
void acl_command_help(struct command_context *context);
void acl_command_list(struct command_context *context);
void acl_command_load(struct command_context *context);
void acl_command_log(struct command_context *context);
void acl_command_save(struct command_context *context);
void acl_command_setuser(struct command_context *context);
void acl_command_users(struct command_context *context);
void acl_command_whoami(struct command_context *context);

/* Access control: users, what each may do, and what was denied.
 *
 * A *user* has a name, passwords (kept as their SHA-256) and *selectors*: a root selector, and
 * further ones in parentheses. A selector says which commands, keys and channels it allows; a
 * command line is allowed when one selector allows all of it. Rules are the words of ACL SETUSER
 * and are applied from left to right.
 *
 * What ACL LIST shows, and files keep, are the rules as they were given, less those that a later
 * one has made pointless; so they mean the same in a release that knows more commands.
 *
 * Threads: users change only while everything is parked, and are read by whoever runs commands; so
 * nothing here takes a lock but the log of denials, which has one of its own (a leaf). A session
 * points to its user; a user that goes takes its sessions with it, and each change of rules brings
 * the sessions' words up to date (session.access, see command/access.h). "default" always exists:
 * it is the user of everybody who has not said another name.
 */
#pragma once

#include "server/command/access.h"
#include "server/command/context.h"
#include "server/config/config.h"

struct acl;
struct acl_user;

/* Options of this module. `acl` is set by acl_create: the `user` lines of configuration files go
 * there. */
struct acl_options {
    char *file;             /* aclfile */
    uint8_t fresh_channels; /* acl-pubsub-default: enum acl_fresh_channels */
    uint64_t log_max;       /* acllog-max-len */
    char *password;         /* requirepass */
    struct acl *acl;
};
enum acl_fresh_channels { ACL_FRESH_NO_CHANNELS, ACL_FRESH_ALL_CHANNELS };
extern const struct option acl_option_rows[];
extern const uint32_t acl_option_count;
/* For config_register; `context` is the struct acl. */
bool acl_apply_options(void *context, struct config_change *change);

extern const struct command acl_commands[];

/* What upper floors supply, all of it NULL where there are no clients. */
struct acl_hooks {
    struct network *network;
    struct pubsub *pubsub;
    struct dispatcher *dispatcher;
    /* network_each, network_kill */
    void (*each)(struct network *network, bool (*fn)(void *arg, struct session *session),
                 void *arg);
    void (*kill)(struct network *network, struct session *session, const struct session *me);
    /* network_describe: the session's line of CLIENT LIST. */
    void (*describe)(struct network *network, struct session *session, struct buffer *out);
    /* pubsub_each_own: false when `visit` returned false for one of the names. */
    bool (*each_subscription)(struct pubsub *pubsub, const struct session *session, unsigned kind,
                              bool (*visit)(void *arg, struct bytes name), void *arg);
};

/* `options` are registered already (their members have values) and outlive it, as `commands` does,
 * which holds all rows. The default user may do everything. */
struct acl *acl_create(struct acl_options *options, const struct command_table *commands);
void acl_destroy(struct acl *acl); /* NULL is fine. */
void acl_set_hooks(struct acl *acl, const struct acl_hooks *hooks);

/* After the configuration was read, before there are clients: gives the default user its password
 * unless a `user` line said something about it, and reads the ACL file. False: `error` says why the
 * server should not start. */
bool acl_start(struct acl *acl, struct buffer *error);

/* -- sessions -- */

/* Makes it the default user's, authenticated if that one asks for no password. On its worker. */
void acl_session_begin(const struct acl *acl, struct session *session);

/* Makes it this user's, or returns false: no such user, a wrong password, or the user is off; that
 * is logged, and `context` is the command that asked. Takes the same time whichever passwords there
 * are. */
bool acl_authenticate(struct acl *acl, struct command_context *context, struct bytes user,
                      struct bytes password);

/* "(superuser)" for the server's own. Valid while nothing changes users. */
struct bytes acl_session_user_name(const struct session *session);
bool acl_user_exists(const struct acl *acl, struct bytes name);

/* The default user needs no password, and is on or off. */
bool acl_default_has_no_password(const struct acl *acl);

/* -- for dispatch (its hooks) -- */

enum access_verdict acl_may_run(struct acl *acl, struct session *session,
                                const struct access_request *request);
bool acl_may_read_all_keys(const struct session *session);

/* -- figures -- */

/* INFO: how much was denied, as lines of the section Stats. `acl` is the struct acl. */
void acl_info_stats(void *acl, struct buffer *out);
void acl_reset_stats(struct acl *acl);

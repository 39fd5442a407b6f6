/* Commands for administrators and tools: COMMAND, CONFIG, DEBUG, TIME, LOLWUT.
 *
 * The module's own state is what decides who may use the guarded ones. It is made by main, filled
 * by the registry of options (admin_options), and reached by handlers through command_modules.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/command/command.h"
#include "server/command/session.h"
#include "server/config/option.h"

struct admin;

/* What main supplies. */
struct admin_hooks {
    /* CONFIG RESETSTAT: zeroes what lies outside the dispatcher's statistics. Everything is parked.
     * May be NULL. */
    void (*reset_statistics)(void *state);
    void *state;
};

/* Never NULL. */
struct admin *admin_create(const struct admin_hooks *hooks);
void admin_destroy(struct admin *admin); /* NULL is fine. */

extern const struct command admin_commands[]; /* Ends with COMMAND_END. */

/* Rows for config_register; their base is admin_settings. */
extern const struct option admin_options[];
extern const size_t admin_option_count;
void *admin_settings(struct admin *admin);

/* Whether this client may run a COMMAND_PROTECTED command (DEBUG, MODULE) by its name, or CONFIG
 * SET of guarded options. */
bool admin_allows_debug(const struct admin *admin, const struct session *session);
bool admin_allows_module(const struct admin *admin, const struct session *session);
bool admin_allows_guarded_options(const struct admin *admin, const struct session *session);

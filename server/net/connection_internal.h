/* The commands about connections: handlers (connection_commands.c, client_commands.c) for the rows
 * in connection_rows.c.
 */
#pragma once

#include "server/command/context.h"

#define SERVER_VERSION "7.2.4" /* The Redis whose behaviour clients may expect. */

void connection_ping(struct command_context *context);
void connection_echo(struct command_context *context);
void connection_select(struct command_context *context);
void connection_quit(struct command_context *context);
void connection_monitor(struct command_context *context);
void connection_reset(struct command_context *context);
void connection_hello(struct command_context *context);
void connection_auth(struct command_context *context);

void client_getname(struct command_context *context);
void client_setname(struct command_context *context);
void client_setinfo(struct command_context *context);
void client_id(struct command_context *context);
void client_info(struct command_context *context);
void client_list(struct command_context *context);
void client_kill_command(struct command_context *context);
void client_no_evict(struct command_context *context);
void client_no_touch(struct command_context *context);
void client_reply(struct command_context *context);
void client_pause(struct command_context *context);
void client_unpause(struct command_context *context);
void client_unblock(struct command_context *context);
void client_tracking(struct command_context *context);
enum command_class client_tracking_classify(const struct bytes *argv, uint32_t argc);
void client_caching(struct command_context *context);
void client_getredir(struct command_context *context);
void client_trackinginfo(struct command_context *context);
void client_help(struct command_context *context);

/* Gives the session a name; false (and the error is answered) when it has characters that would
 * spoil CLIENT LIST. */
bool session_set_name(struct command_context *context, struct bytes name);

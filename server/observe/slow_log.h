/* The slow log: the commands that took longest to run, newest first, up to a number of them.
 *
 * What is kept is bounded: 32 words of a command, 128 bytes of a word. Passwords are not kept.
 * Commands are added from any thread; a mutex that is a leaf guards the list.
 */
#pragma once

#include "server/base/bytes.h"
#include "server/command/context.h"

struct slow_log;

struct slow_log *slow_log_create(uint64_t max_entries);
void slow_log_destroy(struct slow_log *log);

/* slowlog-max-len: drops what is too much. */
void slow_log_limit(struct slow_log *log, uint64_t max_entries);

/* Any thread. `row` says which words are secret (command/secrets.h). */
void slow_log_add(struct slow_log *log, const struct config *config, const struct session *session,
                  const struct command *row, const struct bytes *argv, uint32_t argc,
                  uint64_t duration_us);

/* SLOWLOG GET, LEN, RESET, HELP. */
extern const struct command slow_log_commands[];

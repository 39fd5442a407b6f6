/* Scripts: Lua programs that clients send, which call commands as one execution unit.
 *
 * A script runs with everything parked and sees nothing but its arguments, the commands (through
 * `redis.call` and `redis.pcall`) and a few libraries; it can leave nothing behind but the keys
 * that it wrote. What it wrote is propagated as its effects, never the script. Scripts are kept by
 * the SHA1 of their text until SCRIPT FLUSH.
 *
 * The interpreter is Lua 5.1 with lua-cjson, made when the first script comes. It is touched only
 * while everything is parked, so any worker may run it.
 */
#pragma once

#include "server/base/bytes.h"
#include "server/command/command.h"

struct scripts;

struct scripts *scripts_create(void);
void scripts_destroy(struct scripts *scripts); /* NULL is fine. */

extern const struct command script_commands[]; /* EVAL and its like, SCRIPT. */

/* Any thread: how many are kept, and bytes that the interpreter and what it keeps take. */
uint64_t scripts_count(const struct scripts *scripts);
uint64_t scripts_memory(const struct scripts *scripts);

/* Scripts: Lua programs that clients send, which call commands as one execution unit.
 *
 * A script runs with everything parked and sees nothing but its arguments, the commands (through
 * `redis.call` and `redis.pcall`) and a few libraries; it can leave nothing behind but the keys
 * that it wrote. What it wrote is propagated as its effects, never the script. Scripts are kept by
 * the SHA1 of their text until SCRIPT FLUSH. Functions come in libraries (libraries.h), which are
 * data: they are saved, propagated and dumped.
 *
 * One that runs for longer than `busy-reply-threshold` serves the other clients itself, now and
 * then: they are answered BUSY, and may say SCRIPT KILL, FUNCTION KILL or SHUTDOWN NOSAVE.
 *
 * Interpreters are Lua 5.1 with lua-cjson: one for all scripts, made when the first one comes, and
 * one for each library. They are touched only while everything is parked, so any worker may run
 * them.
 */
#pragma once

#include "server/base/bytes.h"
#include "server/command/command.h"
#include "server/config/option.h"

struct scripts;

struct script_options {
    uint64_t busy_after_ms; /* busy-reply-threshold; 0: never. */
};
extern const struct option script_option_rows[];
extern const uint32_t script_option_count;

/* The options stay the caller's, and outlive it. */
struct scripts *scripts_create(const struct script_options *options);
void scripts_destroy(struct scripts *scripts); /* NULL is fine. */

extern const struct command script_commands[];   /* EVAL and its like, SCRIPT. */
extern const struct command function_commands[]; /* FCALL, FCALL_RO, FUNCTION. */

/* How many there are, and the bytes that they take. */
struct script_figures {
    uint64_t scripts; /* Kept by their SHA1; */
    uint64_t script_memory;
    uint64_t functions;
    uint64_t libraries;
    uint64_t library_memory; /* Their interpreters, */
    uint64_t library_bytes;  /* and what is kept beside these: sources, names. */
};
/* Any thread. */
void scripts_read_figures(const struct scripts *scripts, struct script_figures *out);

/* A typed line: the tool's own commands, repetition, everything else for the server. */
#pragma once

#include <stdbool.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "tools/cli/options.h"
#include "tools/cli/session.h"

struct command_docs;
struct builtin;

struct builtin *builtin_create(const struct cli_options *options, bool is_terminal,
                               bool waits_for_input);
void builtin_destroy(struct builtin *builtin);

struct session *builtin_session(struct builtin *builtin);

/* Runs one line. False when the tool shall end. */
MUST_USE bool builtin_run_line(struct builtin *builtin, struct bytes line);

/* Reads the preferences file, if there is one. */
void builtin_read_preferences(struct builtin *builtin);

bool builtin_shows_hints(const struct builtin *builtin);

/* What the server says of its commands; asked for once, empty when it cannot say. */
const struct command_docs *builtin_docs(struct builtin *builtin);

void builtin_write_prompt(struct builtin *builtin);

/* The exit status so far. */
int builtin_status(const struct builtin *builtin);

/* Lines typed before: kept in memory, and in a file except those that carry secrets. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "tools/client/word_list.h"

#define HISTORY_LINES_MAX 10000u

struct history;

/* Reads `path` if it exists; NULL or "/dev/null" means no file. */
struct history *history_create(const char *path);
void history_destroy(struct history *history); /* NULL is fine. */

/* Adds a line unless it is empty or repeats the one before, and rewrites the file (mode 0600)
 * unless the line carries a secret. */
void history_add(struct history *history, struct bytes line);

size_t history_count(const struct history *history);

/* The index-th line, 0 is the oldest. Valid until the next history_add. */
struct bytes history_line_view(const struct history *history, size_t index);

/* True for a line whose words hold a password: AUTH, ACL SETUSER, CONFIG SET requirepass, ... */
bool history_is_secret(struct bytes line);

/* The handlers that the rows name. */
#pragma once

#include "server/command/context.h"
#include "server/types/element.h"
#include "server/types/sort/sort.h"

void sort_sort(struct command_context *context);
void sort_sort_ro(struct command_context *context);

/* With patterns it reads keys that its arguments do not name: everything else has to stand still.
 */
enum command_class sort_classify(const struct bytes *argv, uint32_t argc);
/* The source, and the destination of STORE. */
uint32_t sort_key_flags(const struct bytes *argv, uint32_t argc, uint32_t index);
int sort_find_keys(const struct bytes *argv, uint32_t argc, uint32_t *out, uint32_t cap);

/* SORT and SORT_RO: the elements of a list, set or sorted set in another order, and what lies at
 * keys whose names are made from them. */
#pragma once

#include "server/command/command.h"

extern const struct command sort_commands[];

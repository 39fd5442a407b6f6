/* Strings as arrays of bits, the highest bit of a byte first, and as arrays of integers. */
#pragma once

#include "server/command/command.h"

extern const struct command bitmap_commands[];

/* Places on the globe: members of a sorted set whose score is a geohash of 52 bits. */
#pragma once

#include "server/command/command.h"

extern const struct command geo_commands[];

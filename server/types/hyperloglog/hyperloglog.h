/* HyperLogLogs: how many different elements were added, from 12 KB at the most. */
#pragma once

#include "server/command/command.h"

extern const struct command hyperloglog_commands[];

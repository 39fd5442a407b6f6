/* The handlers that the rows name. */
#pragma once

#include "server/command/context.h"
#include "server/types/hyperloglog/hyperloglog.h"

void hyperloglog_pfadd(struct command_context *context);
void hyperloglog_pfcount(struct command_context *context);
void hyperloglog_pfmerge(struct command_context *context);
void hyperloglog_pfdebug(struct command_context *context);
void hyperloglog_pfselftest(struct command_context *context);

#include "server/command/running.h"

static _Thread_local const struct command_context *running;

const struct command_context *running_command(void) {
    return running;
}

const struct command_context *running_exchange(const struct command_context *context) {
    const struct command_context *before = running;
    running = context;
    return before;
}

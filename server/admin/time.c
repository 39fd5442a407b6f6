#include "server/admin/admin_internal.h"
#include "server/base/clock.h"

/* Microseconds are finer than the clock of an execution unit, so this asks the clock itself. */
void admin_time(struct command_context *context) {
    uint64_t now_us = clock_wall_us();
    reply_array(context->reply, 2);
    reply_bulk_integer(context->reply, (int64_t)(now_us / 1000000));
    reply_bulk_integer(context->reply, (int64_t)(now_us % 1000000));
}

#include "server/aof/aof_internal.h"

static void bgrewriteaof(struct command_context *context) {
    struct aof *aof = context->modules->aof;
    if (aof->rewrite != NULL) {
        reply_error(context->reply,
                    "ERR Background append only file rewriting already in progress");
    } else if (context->in_transaction) {
        atomic_store(&aof->failures, 0);
        atomic_store(&aof->not_before_ms, 0);
        atomic_store(&aof->is_scheduled, true);
        reply_simple(context->reply, "Background append only file rewriting scheduled");
    } else if (aof_rewrite_start(aof)) {
        reply_simple(context->reply, "Background append only file rewriting started");
    } else {
        reply_error(context->reply, "ERR Can't execute an AOF background rewriting. Please check "
                                    "the server logs for more information.");
    }
}

const struct command aof_commands[] = {
    {
        .name = "bgrewriteaof",
        .arity = 1,
        .group = GROUP_SERVER,
        .flags = COMMAND_ADMIN | COMMAND_NO_SCRIPT | COMMAND_NO_ASYNC_LOADING,
        .handler = bgrewriteaof,
        .since = "1.0.0",
        .summary = "Replaces the append-only file by a shorter one in the background",
        .complexity = "O(1)",
    },
    COMMAND_END,
};

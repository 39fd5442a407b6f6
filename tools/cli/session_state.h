/* What a client knows of its own connection from the commands it sent and the replies it got. No
 * IO.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "server/resp/reply_reader.h"

struct session_state {
    int db;
    int queued_db; /* The database that EXEC will select; meaningful inside MULTI. */
    bool in_transaction;
    bool is_resp3;
    bool monitors;
    int64_t channel_count;
    int64_t pattern_count;
    int64_t shard_channel_count;
    char *user; /* Owned; what the last good AUTH used. NULL: the default user. */
    char *password;
    char *name; /* Owned; of CLIENT SETNAME. */
};

void session_state_deinit(struct session_state *state);

/* Takes note of what `reply` to the command means for the connection. */
void session_state_note(struct session_state *state, size_t argc, const struct bytes *argv,
                        const struct reply *reply);

/* Takes note of a subscription's confirmation; anything else changes nothing. Returns true for a
 * confirmation. */
bool session_state_note_message(struct session_state *state, const struct reply *message);

bool session_state_is_subscribed(const struct session_state *state);

/* How many confirmations answer the command; 0 when it is no (un)subscription. */
size_t session_state_confirmations(const struct session_state *state, size_t argc,
                                   const struct bytes *argv);

/* A redirection: "MOVED 12182 127.0.0.1:7002" or "ASK ...". */
struct redirect {
    bool is_ask;
    int slot;
    struct bytes host; /* Empty: the host that answered. Borrowed from the text. */
    int port;
};

/* False when the error text is no redirection. */
MUST_USE bool redirect_parse(struct bytes error, struct redirect *out);

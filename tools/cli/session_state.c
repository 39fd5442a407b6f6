#include "tools/cli/session_state.h"

#include "server/base/mem.h"
#include "server/base/number.h"

void session_state_deinit(struct session_state *state) {
    mem_free(state->user);
    mem_free(state->password);
    mem_free(state->name);
    *state = (struct session_state){0};
}

static void set_text(char **text, const struct bytes *value) {
    mem_free(*text);
    *text = value == NULL ? NULL : bytes_copy_text(*value);
}

static void note_select(struct session_state *state, struct bytes db) {
    int64_t number;
    if (!number_parse_i64(db, &number)) return;
    if (state->in_transaction) {
        state->queued_db = (int)number;
    } else {
        state->db = (int)number;
    }
}

static void note_auth(struct session_state *state, const struct bytes *user,
                      const struct bytes *password) {
    set_text(&state->user, user);
    set_text(&state->password, password);
}

static void note_hello(struct session_state *state, size_t argc, const struct bytes *argv) {
    if (argc > 1) state->is_resp3 = bytes_equal_text(argv[1], "3");
    for (size_t i = 2; i < argc; i++) {
        if (bytes_equal_text_nocase(argv[i], "auth") && i + 2 < argc) {
            note_auth(state, &argv[i + 1], &argv[i + 2]);
            i += 2;
        } else if (bytes_equal_text_nocase(argv[i], "setname") && i + 1 < argc) {
            set_text(&state->name, &argv[++i]);
        }
    }
}

static void note_reset(struct session_state *state) {
    session_state_deinit(state);
}

static void end_transaction(struct session_state *state, bool is_executed) {
    if (state->in_transaction && is_executed) state->db = state->queued_db;
    state->in_transaction = false;
}

void session_state_note(struct session_state *state, size_t argc, const struct bytes *argv,
                        const struct reply *reply) {
    bool is_error = reply->kind == REPLY_ERROR;
    struct bytes name = argv[0];
    if (bytes_equal_text_nocase(name, "exec")) {
        bool is_executed = !is_error && reply->kind != REPLY_NULL;
        end_transaction(state, is_executed);
    }
    if (is_error) return;
    if (bytes_equal_text_nocase(name, "multi")) {
        state->in_transaction = true;
        state->queued_db = state->db;
    } else if (bytes_equal_text_nocase(name, "discard")) {
        end_transaction(state, false);
    } else if (bytes_equal_text_nocase(name, "select") && argc == 2) {
        note_select(state, argv[1]);
    } else if (bytes_equal_text_nocase(name, "auth") && argc >= 2) {
        note_auth(state, argc > 2 ? &argv[1] : NULL, &argv[argc > 2 ? 2 : 1]);
    } else if (bytes_equal_text_nocase(name, "hello")) {
        note_hello(state, argc, argv);
    } else if (bytes_equal_text_nocase(name, "reset")) {
        note_reset(state);
    } else if (bytes_equal_text_nocase(name, "monitor")) {
        state->monitors = !state->in_transaction;
    } else if (bytes_equal_text_nocase(name, "client") && argc == 3 &&
               bytes_equal_text_nocase(argv[1], "setname")) {
        set_text(&state->name, argv[2].len > 0 ? &argv[2] : NULL);
    }
}

/* The six confirmations and the commands of the same names. */
enum topic { TOPIC_CHANNEL, TOPIC_PATTERN, TOPIC_SHARD };

static const struct {
    const char *name;
    enum topic topic;
    bool ends;
} subscriptions[] = {
    {"subscribe", TOPIC_CHANNEL, false},   {"psubscribe", TOPIC_PATTERN, false},
    {"ssubscribe", TOPIC_SHARD, false},    {"unsubscribe", TOPIC_CHANNEL, true},
    {"punsubscribe", TOPIC_PATTERN, true}, {"sunsubscribe", TOPIC_SHARD, true},
};

static size_t find_subscription(struct bytes name) {
    size_t i = 0;
    while (i < ARRAY_COUNT(subscriptions) &&
           !bytes_equal_text_nocase(name, subscriptions[i].name)) {
        i++;
    }
    return i;
}

bool session_state_note_message(struct session_state *state, const struct reply *message) {
    if (message->kind != REPLY_ARRAY && message->kind != REPLY_PUSH) return false;
    if (message->count != 3 || message->items[2].kind != REPLY_INTEGER) return false;
    if (message->items[0].kind != REPLY_BULK) return false;
    size_t i = find_subscription(message->items[0].text);
    if (i == ARRAY_COUNT(subscriptions)) return false;
    /* The server counts channels and patterns together, shard channels apart. */
    int64_t count = message->items[2].integer;
    switch (subscriptions[i].topic) {
    case TOPIC_CHANNEL:
        state->channel_count = count - state->pattern_count;
        break;
    case TOPIC_PATTERN:
        state->pattern_count = count - state->channel_count;
        break;
    case TOPIC_SHARD:
        state->shard_channel_count = count;
        break;
    }
    return true;
}

bool session_state_is_subscribed(const struct session_state *state) {
    return state->channel_count + state->pattern_count + state->shard_channel_count > 0;
}

size_t session_state_confirmations(const struct session_state *state, size_t argc,
                                   const struct bytes *argv) {
    size_t i = find_subscription(argv[0]);
    if (i == ARRAY_COUNT(subscriptions) || state->in_transaction) return 0;
    if (argc > 1) return argc - 1;
    if (!subscriptions[i].ends) return 0; /* Without channels it is an error, not a subscription. */
    int64_t count = subscriptions[i].topic == TOPIC_CHANNEL   ? state->channel_count
                    : subscriptions[i].topic == TOPIC_PATTERN ? state->pattern_count
                                                              : state->shard_channel_count;
    return count > 0 ? (size_t)count : 1;
}

bool redirect_parse(struct bytes error, struct redirect *out) {
    struct redirect redirect = {0};
    if (error.len > 6 && memcmp(error.data, "MOVED ", 6) == 0) {
        error = bytes_from(error, 6);
    } else if (error.len > 4 && memcmp(error.data, "ASK ", 4) == 0) {
        error = bytes_from(error, 4);
        redirect.is_ask = true;
    } else {
        return false;
    }
    const uint8_t *blank = memchr(error.data, ' ', error.len);
    if (blank == NULL) return false;
    size_t slot_len = (size_t)(blank - error.data);
    uint64_t slot;
    if (!number_parse_u64(bytes_of(error.data, slot_len), &slot) || slot > 16383) return false;
    struct bytes address = bytes_from(error, slot_len + 1);
    size_t colon = address.len;
    while (colon > 0 && address.data[colon - 1] != ':')
        colon--;
    uint64_t port;
    if (colon == 0 || !number_parse_u64(bytes_from(address, colon), &port)) return false;
    if (port == 0 || port > 65535) return false;
    redirect.slot = (int)slot;
    redirect.port = (int)port;
    redirect.host = bytes_of(address.data, colon - 1);
    *out = redirect;
    return true;
}

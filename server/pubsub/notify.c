/* Keyspace events: what happens to keys, published for those who asked. */
#include <stdio.h>

#include "server/base/mem.h"
#include "server/pubsub/pubsub_internal.h"

/* Letters of notify-keyspace-events, in the order in which they are shown. */
static const struct {
    char letter;
    uint32_t events;
} letters[] = {
    {'g', EVENT_GENERIC},   {'$', EVENT_STRING}, {'l', EVENT_LIST},    {'s', EVENT_SET},
    {'h', EVENT_HASH},      {'z', EVENT_ZSET},   {'x', EVENT_EXPIRED}, {'e', EVENT_EVICTED},
    {'t', EVENT_STREAM},    {'d', EVENT_MODULE}, {'n', EVENT_NEW},     {'K', EVENTS_KEYSPACE},
    {'E', EVENTS_KEYEVENT}, {'m', EVENT_MISS},
};

static const uint32_t all_events = EVENT_GENERIC | EVENT_STRING | EVENT_LIST | EVENT_SET |
                                   EVENT_HASH | EVENT_ZSET | EVENT_EXPIRED | EVENT_EVICTED |
                                   EVENT_STREAM | EVENT_MODULE;

static bool parse(void *out, const struct option_input *input, struct buffer *error) {
    uint32_t events = 0;
    struct bytes text = input->words[0];
    for (size_t i = 0; i < text.len; i++) {
        uint32_t found = text.data[i] == 'A' ? all_events : 0;
        for (size_t k = 0; k < ARRAY_COUNT(letters); k++) {
            if ((char)text.data[i] == letters[k].letter) found = letters[k].events;
        }
        if (found == 0) {
            buffer_append_text(error, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
            return false;
        }
        events |= found;
    }
    memcpy(out, &events, sizeof(events));
    return true;
}

static void format(const void *field, struct buffer *out) {
    uint32_t events;
    memcpy(&events, field, sizeof(events));
    bool has_all = (events & all_events) == all_events;
    if (has_all) buffer_append_u8(out, 'A');
    for (size_t i = 0; i < ARRAY_COUNT(letters); i++) {
        bool is_shown = (events & letters[i].events) != 0;
        // New keys are not among "all", and yet not shown beside it.
        bool is_covered = has_all && (letters[i].events & (all_events | EVENT_NEW)) != 0;
        if (is_shown && !is_covered) buffer_append_u8(out, (uint8_t)letters[i].letter);
    }
}

static const struct option_ops events_ops = {.parse = parse, .format = format};

const struct option pubsub_option_rows[] = {
    {
        .name = "notify-keyspace-events",
        .field = OPTION_SPECIAL(struct pubsub_options, events),
        .ops = &events_ops,
        .live = true,
        .doc = "Classes of events of keys that are published; nothing by default.",
    },
};
const uint32_t pubsub_option_count = ARRAY_COUNT(pubsub_option_rows);

static void publish_event(struct pubsub *pubsub, const char *kind, unsigned db, struct bytes about,
                          struct bytes message) {
    struct buffer channel = {0};
    buffer_append_format(&channel, "__%s@%u__:", kind, db);
    buffer_append_bytes(&channel, about);
    pubsub_publish(pubsub, buffer_view(&channel), message, false);
    buffer_deinit(&channel);
}

void pubsub_notify(struct pubsub *pubsub, const struct pubsub_options *options, unsigned db,
                   struct bytes key, unsigned event_class, const char *event) {
    if ((options->events & event_class) == 0) return;
    struct bytes name = bytes_of_text(event);
    if ((options->events & EVENTS_KEYSPACE) != 0) publish_event(pubsub, "keyspace", db, key, name);
    if ((options->events & EVENTS_KEYEVENT) != 0) publish_event(pubsub, "keyevent", db, name, key);
}

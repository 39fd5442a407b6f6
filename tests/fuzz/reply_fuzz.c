/* Replies from any bytes: fed at once or a few bytes at a time, the same replies come out and the
 * same end is met. */
#include <stddef.h>
#include <stdint.h>

#include "server/base/check.h"
#include "server/resp/reply_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    size_t reply_count;
    size_t text_bytes;
    enum status end;
};

static size_t text_bytes(const struct reply *reply) {
    size_t total = reply->text.len;
    for (size_t i = 0; i < reply->count; i++)
        total += text_bytes(&reply->items[i]);
    return reply->attributes == NULL ? total : total + text_bytes(reply->attributes);
}

static void drain(struct reply_reader *reader, struct outcome *outcome) {
    for (;;) {
        struct reply *reply = NULL;
        outcome->end = reply_reader_next(reader, &reply);
        if (outcome->end != STATUS_OK) return;
        outcome->reply_count++;
        outcome->text_bytes += text_bytes(reply);
        reply_destroy(reply);
    }
}

static struct outcome read_in_steps(struct bytes input, size_t first_step) {
    struct reply_reader *reader = reply_reader_create();
    struct outcome outcome = {.end = STATUS_AGAIN};
    size_t step = first_step;
    while (input.len > 0 && outcome.end == STATUS_AGAIN) {
        size_t len = step < input.len ? step : input.len;
        reply_reader_feed(reader, bytes_of(input.data, len));
        input = bytes_from(input, len);
        drain(reader, &outcome);
        if (first_step < SIZE_MAX) step = step * 5 % 61 + 1;
    }
    ASSERT(outcome.end == STATUS_AGAIN || reply_reader_error(reader)[0] != '\0');
    reply_reader_destroy(reader);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bytes input = bytes_of(data, size);
    struct outcome whole = read_in_steps(input, SIZE_MAX);
    struct outcome pieces = read_in_steps(input, 1);
    ASSERT(whole.end == pieces.end);
    ASSERT(whole.reply_count == pieces.reply_count);
    ASSERT(whole.text_bytes == pieces.text_bytes);
    return 0;
}

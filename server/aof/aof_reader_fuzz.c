/* Any bytes are commands and a verdict; how they are cut into pieces makes no difference, nor
 * whether arguments are kept, and what the verdict calls valid is a complete file.
 *
 * The first byte decides the pieces. Run: aof_reader_fuzz CORPUS_FOLDER -max_len=65536
 */
#include <string.h>

#include "server/aof/aof_reader.h"
#include "server/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct summary {
    uint64_t events;
    uint64_t arguments;
    uint64_t hash; /* Of all bytes that were given. */
    struct aof_verdict verdict;
};

static uint64_t mix(uint64_t hash, struct bytes bytes) {
    hash = (hash ^ bytes.len) * 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ bytes.data[i]) * 0x100000001b3u;
    return hash;
}

static void note_event(struct summary *summary, const struct aof_event *event,
                       enum aof_event_kind kind, struct bytes input) {
    ASSERT(event->offset < input.len);
    ASSERT(!event->ends_transaction || event->is_in_transaction);
    summary->events++;
    summary->arguments += kind == AOF_EVENT_COMMAND ? event->argc : 0;
    if (kind != AOF_EVENT_COMMAND) summary->hash = mix(summary->hash, event->text);
    for (uint64_t i = 0; event->argv != NULL && i < event->argc; i++)
        summary->hash = mix(summary->hash, event->argv[i]);
}

static struct summary read_input(struct bytes input, size_t step,
                                 const struct aof_reader_options *options) {
    struct summary summary = {0};
    struct aof_reader *reader = aof_reader_create(options);
    enum aof_event_kind kind = AOF_EVENT_MORE;
    for (size_t at = 0; at < input.len && kind != AOF_EVENT_BROKEN; at += step) {
        size_t len = input.len - at < step ? input.len - at : step;
        struct aof_event event;
        aof_reader_feed(reader, bytes_of(input.data + at, len));
        while ((kind = aof_reader_next(reader, &event)) > AOF_EVENT_BROKEN)
            note_event(&summary, &event, kind, input);
    }
    aof_reader_end(reader, &summary.verdict);
    aof_reader_destroy(reader);
    ASSERT(summary.verdict.valid_bytes <= input.len);
    ASSERT((summary.verdict.outcome == AOF_COMPLETE) == (summary.verdict.fault == AOF_FAULT_NONE));
    return summary;
}

static void expect_same_verdict(const struct aof_verdict *a, const struct aof_verdict *b) {
    ASSERT(a->outcome == b->outcome && a->fault == b->fault);
    ASSERT(a->valid_bytes == b->valid_bytes && a->fault_offset == b->fault_offset);
    ASSERT(a->line_count == b->line_count);
    ASSERT(a->expected == b->expected && a->found == b->found);
    ASSERT(memcmp(a->got, b->got, sizeof(a->got)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    size_t step = 1 + (size_t)data[0] * data[0] / 8;
    struct bytes input = bytes_of(data + 1, size - 1);
    const struct aof_reader_options keeping = {.keeps_arguments = true};
    const struct aof_reader_options passing = {0};
    const struct aof_reader_options strict = {.checks_nesting = true};

    struct summary whole = read_input(input, input.len + 1, &keeping);
    struct summary pieces = read_input(input, step, &keeping);
    struct summary passed = read_input(input, step, &passing);
    expect_same_verdict(&whole.verdict, &pieces.verdict);
    expect_same_verdict(&whole.verdict, &passed.verdict);
    ASSERT(whole.events == pieces.events && whole.hash == pieces.hash);
    ASSERT(whole.events == passed.events && whole.arguments == passed.arguments);

    struct summary checked = read_input(input, step, &strict);
    ASSERT(checked.verdict.valid_bytes <= whole.verdict.valid_bytes);
    struct bytes valid = bytes_of(input.data, (size_t)checked.verdict.valid_bytes);
    ASSERT(read_input(valid, step, &strict).verdict.outcome == AOF_COMPLETE);
    ASSERT(read_input(valid, step, &keeping).verdict.outcome == AOF_COMPLETE);
    return 0;
}

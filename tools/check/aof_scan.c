#include "tools/check/aof_scan.h"

#include <errno.h>
#include <unistd.h>

#include "server/base/bytes.h"
#include "server/base/mem.h"

#define PIECE_BYTES ((size_t)256 * 1024)

static bool is_meant_as_time(struct bytes text) {
    static const struct bytes mark = BYTES_LITERAL("#TS:");
    return text.len >= mark.len && bytes_equal(bytes_of(text.data, mark.len), mark);
}

static void note_timestamp(struct aof_scan *scan, int64_t timestamp) {
    if (scan->timestamp_count == 0) scan->first_timestamp = timestamp;
    scan->last_timestamp = timestamp;
    scan->timestamp_count++;
}

/* Counts what came out of the reader. False: there is no need to read on. */
static bool note_event(struct aof_scan *scan, const struct aof_scan_options *options,
                       const struct aof_reader *reader, const struct aof_event *event,
                       enum aof_event_kind kind) {
    if (kind == AOF_EVENT_COMMAND) {
        scan->command_count++;
        scan->transaction_count += event->ends_transaction;
    } else if (kind == AOF_EVENT_ANNOTATION) {
        if (options->has_time_limit && is_meant_as_time(event->text))
            scan->end = AOF_SCAN_BAD_TIMESTAMP;
    } else if (options->has_time_limit && event->timestamp > options->time_limit) {
        scan->end = AOF_SCAN_LATER;
        // Half a transaction would be undone by the next start anyhow.
        scan->cut_offset =
            event->is_in_transaction ? aof_reader_valid_bytes(reader) : event->offset;
    } else {
        note_timestamp(scan, event->timestamp);
    }
    return scan->end == AOF_SCAN_JUDGED;
}

/* Takes out what is complete. False: there is no need to read on. */
static bool drain(struct aof_scan *scan, const struct aof_scan_options *options,
                  struct aof_reader *reader) {
    struct aof_event event;
    enum aof_event_kind kind = AOF_EVENT_MORE;
    while ((kind = aof_reader_next(reader, &event)) > AOF_EVENT_BROKEN) {
        if (!note_event(scan, options, reader, &event, kind)) return false;
    }
    return kind == AOF_EVENT_MORE;
}

static enum status read_on(int file, struct aof_reader *reader, uint8_t *piece,
                           const struct aof_scan_options *options, struct aof_scan *scan) {
    uint64_t offset = options->start_offset;
    for (;;) {
        ssize_t got = pread(file, piece, PIECE_BYTES, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return STATUS_IO_ERROR;
        if (got == 0) return STATUS_OK;
        offset += (uint64_t)got;
        aof_reader_feed(reader, bytes_of(piece, (size_t)got));
        if (!drain(scan, options, reader)) return STATUS_OK;
    }
}

enum status aof_scan_run(int file, const struct aof_scan_options *options, struct aof_scan *out) {
    struct aof_scan scan = {0};
    uint8_t *piece = mem_alloc(PIECE_BYTES);
    struct aof_reader *reader = aof_reader_create(&(struct aof_reader_options){
        .start_offset = options->start_offset, .checks_nesting = true});
    enum status status = read_on(file, reader, piece, options, &scan);
    if (status == STATUS_OK) {
        if (scan.end == AOF_SCAN_JUDGED) aof_reader_end(reader, &scan.verdict);
        *out = scan;
    }
    aof_reader_destroy(reader);
    mem_free(piece);
    return status;
}

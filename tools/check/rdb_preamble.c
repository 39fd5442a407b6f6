#include "tools/check/rdb_preamble.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "server/rdb/rdb_file.h"

static enum status fill_from_file(void *context, uint8_t *out, size_t cap, size_t *out_len) {
    const int *file = context;
    ssize_t got = 0;
    do {
        got = read(*file, out, cap);
    } while (got < 0 && errno == EINTR);
    if (got < 0) return STATUS_IO_ERROR;
    *out_len = (size_t)got;
    return STATUS_OK;
}

static enum status walk(struct rdb_reader *reader, struct rdb_file *file) {
    struct rdb_item item = {0};
    do {
        enum status status = rdb_file_next(file, &item);
        if (status == STATUS_OK && item.kind == RDB_ITEM_KEY)
            status = rdb_skip_value(reader, item.type);
        if (status != STATUS_OK) return status;
    } while (item.kind != RDB_ITEM_END);
    return STATUS_OK;
}

bool rdb_preamble_check(FILE *out, const char *path, const char *name, uint64_t *out_bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    fprintf(out, "[offset 0] Checking RDB file %s\n", name);
    if (fd < 0) return false;
    struct rdb_reader reader;
    struct rdb_file file;
    rdb_reader_init(&reader, (struct rdb_source){fill_from_file, &fd});
    rdb_file_init(&file, &reader, &(struct rdb_file_options){.is_skipping_modules = true});
    bool is_sound = walk(&reader, &file) == STATUS_OK;
    if (is_sound) {
        *out_bytes = rdb_reader_offset(&reader);
        fprintf(out, "[offset %" PRIu64 "] \\o/ RDB looks OK! \\o/\n", *out_bytes);
    } else {
        fprintf(out, "--- RDB ERROR DETECTED ---\n[offset %" PRIu64 "] %s\n", reader.error.offset,
                reader.error.reason);
    }
    rdb_file_deinit(&file);
    rdb_reader_deinit(&reader);
    close(fd);
    return is_sound;
}

/* Any bytes are a FUNCTION DUMP payload (with or without its frame) or a reported error, and what
 * was accepted is accepted again as it is.
 *
 * Run: libraries_fuzz CORPUS_FOLDER -max_len=4096
 */
#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/rdb/rdb_dump.h"
#include "server/rdb/rdb_writer.h"
#include "server/script/script_internal.h"

enum { LIMIT_MS = 50 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool read_dump(struct scripts *scripts, struct bytes content, struct libraries **out) {
    struct buffer error = {0};
    *out = libraries_create(scripts);
    bool is_fine = libraries_read_dump(*out, content, LIMIT_MS, &error);
    ASSERT(is_fine == (error.len == 0));
    buffer_deinit(&error);
    return is_fine;
}

static void check_round_trip(struct scripts *scripts, const struct libraries *libraries) {
    struct rdb_writer writer;
    struct libraries *again = NULL;
    rdb_writer_init(&writer, &(struct rdb_writer_options){.is_compressing = true});
    for (uint32_t i = 0; i < libraries->count; i++)
        rdb_write_function(&writer, libraries_source_view(libraries, i));
    ASSERT(read_dump(scripts, buffer_view(&writer.buffer), &again));
    ASSERT(again->count == libraries->count);
    ASSERT(again->function_count == libraries->function_count);
    libraries_destroy(again);
    rdb_writer_deinit(&writer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct script_options options = {0};
    struct scripts *scripts = scripts_create(&options);
    struct bytes content = bytes_of(data, size);
    struct libraries *libraries = NULL;
    if (rdb_dump_open(bytes_of(data, size), &content) != STATUS_OK) content = bytes_of(data, size);
    if (read_dump(scripts, content, &libraries)) check_round_trip(scripts, libraries);
    libraries_destroy(libraries);
    scripts_destroy(scripts);
    return 0;
}

/* Any text is a manifest or a reported error, and what was read is written so that it reads back
 * the same, also after a step of a rewrite.
 *
 * Run: manifest_fuzz CORPUS_FOLDER -max_len=4096
 */
#include "server/aof/manifest.h"
#include "server/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const struct aof_manifest *manifest) {
    struct buffer first = {0};
    struct buffer second = {0};
    struct aof_manifest again = {0};
    struct aof_manifest_error error;
    aof_manifest_encode(manifest, &first);
    if (first.len > 0) {
        ASSERT(aof_manifest_parse(buffer_view(&first), &again, &error) == STATUS_OK);
        ASSERT(again.history.count == manifest->history.count);
        ASSERT(again.increments.count == manifest->increments.count);
        ASSERT(again.base.sequence == manifest->base.sequence);
        aof_manifest_encode(&again, &second);
        ASSERT(bytes_equal(buffer_view(&first), buffer_view(&second)));
    }
    aof_manifest_deinit(&again);
    buffer_deinit(&first);
    buffer_deinit(&second);
}

static void check_error(const struct aof_manifest_error *error, struct bytes text) {
    struct buffer report = {0};
    ASSERT(error->text.len <= text.len);
    aof_manifest_error_format(error, &report);
    ASSERT(report.len > 0);
    buffer_deinit(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bytes text = bytes_of(data, size);
    struct aof_manifest manifest = {0};
    struct aof_manifest_error error = {0};
    if (aof_manifest_parse(text, &manifest, &error) != STATUS_OK) {
        check_error(&error, text);
        return 0;
    }
    check_round_trip(&manifest);
    aof_manifest_add_increment(&manifest, "a b");
    aof_manifest_begin_base(&manifest, "a b", AOF_BASE_RDB);
    ASSERT(manifest.increments.count == 1);
    check_round_trip(&manifest);
    aof_manifest_drop_history(&manifest);
    check_round_trip(&manifest);
    aof_manifest_deinit(&manifest);
    return 0;
}

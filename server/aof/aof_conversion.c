/* Between a pass and the file of a base: the RDB that the one writes is read as it comes, and the
 * commands that build the same go to the other. The pass never waits for it but at the bound of
 * what lies between, like for any sink.
 */
#include "server/aof/aof_internal.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/rdb/rdb_commands.h"

enum { BETWEEN_BYTES_MAX = 4 << 20 };

struct aof_conversion {
    struct rdb_sink sink;
    bool has_stamp;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct buffer between; /* Given, not yet taken. */
    bool has_ended;
    bool has_failed;
    enum status end_status;

    struct buffer taken; /* The reading thread's own. */
    size_t taken_used;
};

struct aof_conversion *aof_conversion_create(struct rdb_sink sink, bool has_stamp) {
    struct aof_conversion *conversion = mem_alloc_zero(sizeof(*conversion));
    conversion->sink = sink;
    conversion->has_stamp = has_stamp;
    pthread_mutex_init(&conversion->lock, NULL);
    pthread_cond_init(&conversion->changed, NULL);
    return conversion;
}

void aof_conversion_destroy(struct aof_conversion *conversion) {
    if (conversion == NULL) return;
    buffer_deinit(&conversion->between);
    buffer_deinit(&conversion->taken);
    pthread_cond_destroy(&conversion->changed);
    pthread_mutex_destroy(&conversion->lock);
    mem_free(conversion);
}

/* -- the pass's side -- */

enum status aof_conversion_push(struct aof_conversion *conversion, struct bytes bytes) {
    pthread_mutex_lock(&conversion->lock);
    while (conversion->between.len >= BETWEEN_BYTES_MAX && !conversion->has_failed)
        pthread_cond_wait(&conversion->changed, &conversion->lock);
    bool has_failed = conversion->has_failed;
    if (!has_failed) buffer_append_bytes(&conversion->between, bytes);
    pthread_cond_signal(&conversion->changed);
    pthread_mutex_unlock(&conversion->lock);
    return has_failed ? STATUS_CLOSED : STATUS_OK;
}

void aof_conversion_end(struct aof_conversion *conversion, enum status status) {
    pthread_mutex_lock(&conversion->lock);
    conversion->has_ended = true;
    conversion->end_status = status;
    pthread_cond_signal(&conversion->changed);
    pthread_mutex_unlock(&conversion->lock);
}

/* -- the reading side -- */

static enum status take(struct aof_conversion *conversion) {
    pthread_mutex_lock(&conversion->lock);
    while (conversion->between.len == 0 && !conversion->has_ended)
        pthread_cond_wait(&conversion->changed, &conversion->lock);
    struct buffer empty = conversion->taken;
    conversion->taken = conversion->between;
    conversion->between = empty;
    conversion->taken_used = 0;
    buffer_clear(&conversion->between);
    enum status status = conversion->has_ended ? conversion->end_status : STATUS_OK;
    pthread_cond_signal(&conversion->changed);
    pthread_mutex_unlock(&conversion->lock);
    return status;
}

static enum status fill(void *context, uint8_t *out, size_t cap, size_t *out_len) {
    struct aof_conversion *conversion = context;
    if (conversion->taken_used == conversion->taken.len) {
        enum status status = take(conversion);
        if (status != STATUS_OK) return status;
    }
    size_t len = conversion->taken.len - conversion->taken_used;
    if (len > cap) len = cap;
    if (len > 0) memcpy(out, conversion->taken.data + conversion->taken_used, len);
    conversion->taken_used += len;
    *out_len = len;
    return STATUS_OK;
}

static enum status write_stamp(const struct aof_conversion *conversion) {
    struct buffer line = {0};
    if (!conversion->has_stamp) return STATUS_OK;
    buffer_append_format(&line, "#TS:%llu\r\n", (unsigned long long)(clock_wall_ms() / 1000));
    enum status status = conversion->sink.write(conversion->sink.context, buffer_view(&line));
    buffer_deinit(&line);
    return status;
}

enum status aof_conversion_run(struct aof_conversion *conversion) {
    struct rdb_reader reader;
    rdb_reader_init(&reader, (struct rdb_source){fill, conversion});
    enum status status = write_stamp(conversion);
    if (status == STATUS_OK) status = rdb_write_as_commands(&reader, conversion->sink);
    // The sink has told its own failures, and a pass that was given up needs no line.
    if (status != STATUS_OK && reader.error.status == status && status != STATUS_CLOSED)
        log_warning("Can't write the data set as commands: %s", reader.error.reason);
    rdb_reader_deinit(&reader);
    if (status == STATUS_OK) return status;
    pthread_mutex_lock(&conversion->lock);
    conversion->has_failed = true;
    pthread_cond_signal(&conversion->changed);
    pthread_mutex_unlock(&conversion->lock);
    return status;
}

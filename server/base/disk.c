#include "server/base/disk.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/disk_fault.h"

enum { FILE_MODE = 0644 };

/* What was ordered for an operation. The name may be NULL: the file's own. */
static inline struct disk_fault fault_of(enum disk_operation operation, int file,
                                         const char *name) {
    if (LIKELY(!atomic_load_explicit(&disk_fault_is_ordered, memory_order_relaxed)))
        return (struct disk_fault){0};
    return disk_fault_of(operation, file, name);
}

/* Before the operation. False: errno is set, and it is not to be done. */
static bool may_go_on(const struct disk_fault *fault) {
    if (LIKELY(fault->error == 0)) return true;
    errno = fault->error;
    return false;
}

/* After it. Keeps errno. */
static bool end(const struct disk_fault *fault, enum disk_operation operation, int file,
                bool is_done) {
    int error = errno;
    if (UNLIKELY(fault->is_tracked)) disk_fault_note(operation, file, is_done);
    if (UNLIKELY(fault->kills_after)) disk_fault_kill();
    errno = error;
    return is_done;
}

int disk_open(int folder, const char *name, int flags) {
    bool is_for_writing = (flags & O_ACCMODE) != O_RDONLY;
    struct disk_fault fault = {0};
    if (is_for_writing) fault = fault_of(DISK_OPEN, -1, name);
    if (!may_go_on(&fault)) return -1;
    int file = openat(folder, name, flags | O_CLOEXEC, FILE_MODE);
    end(&fault, DISK_OPEN, -1, file >= 0);
    return file;
}

static bool write_all(int file, struct bytes bytes, size_t *out_done) {
    size_t done = 0;
    bool is_good = true;
    while (done < bytes.len && is_good) {
        ssize_t written = write(file, bytes.data + done, bytes.len - done);
        if (written < 0 && errno == EINTR) continue;
        if (written == 0) errno = ENOSPC;
        is_good = written > 0;
        if (is_good) done += (size_t)written;
    }
    if (out_done != NULL) *out_done = done;
    return is_good;
}

/* The first half, as far as there is room for it. */
static bool write_half(int file, struct bytes bytes, size_t *out_done,
                       const struct disk_fault *fault) {
    size_t half = fault->error == ENOSPC || fault->kills_amid ? bytes.len / 2 : 0;
    bool is_written = write_all(file, bytes_of(bytes.data, half), out_done);
    if (fault->kills_amid) disk_fault_kill();
    if (is_written) errno = fault->error;
    return false;
}

bool disk_write(int file, struct bytes bytes, size_t *out_done) {
    struct disk_fault fault = fault_of(DISK_WRITE, file, NULL);
    if (UNLIKELY(fault.error != 0 || fault.kills_amid))
        return write_half(file, bytes, out_done, &fault);
    bool is_written = write_all(file, bytes, out_done);
    return end(&fault, DISK_WRITE, file, is_written);
}

bool disk_truncate(int file, uint64_t len) {
    struct disk_fault fault = fault_of(DISK_TRUNCATE, file, NULL);
    return may_go_on(&fault) && end(&fault, DISK_TRUNCATE, file, ftruncate(file, (off_t)len) == 0);
}

bool disk_sync(int file) {
    struct disk_fault fault = fault_of(DISK_SYNC, file, NULL);
    return may_go_on(&fault) && end(&fault, DISK_SYNC, file, fsync(file) == 0);
}

bool disk_sync_data(int file) {
    struct disk_fault fault = fault_of(DISK_SYNC, file, NULL);
    return may_go_on(&fault) && end(&fault, DISK_SYNC, file, fdatasync(file) == 0);
}

bool disk_sync_folder(int folder) {
    struct disk_fault fault = fault_of(DISK_SYNC_FOLDER, folder, NULL);
    return may_go_on(&fault) && end(&fault, DISK_SYNC_FOLDER, -1, fsync(folder) == 0);
}

bool disk_sync_folder_of(const char *path) {
    char name[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    if (slash == NULL) {
        snprintf(name, sizeof(name), ".");
    } else if (len == 0) {
        snprintf(name, sizeof(name), "/");
    } else {
        bytes_to_text(bytes_of(path, len), name, sizeof(name));
    }
    int folder = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return false;
    bool is_synced = disk_sync_folder(folder);
    int error = errno;
    close(folder);
    errno = error;
    return is_synced;
}

bool disk_rename(int from_folder, const char *from, int to_folder, const char *to) {
    struct disk_fault fault = fault_of(DISK_RENAME, -1, to);
    return may_go_on(&fault) &&
           end(&fault, DISK_RENAME, -1, renameat(from_folder, from, to_folder, to) == 0);
}

bool disk_remove(int folder, const char *name) {
    struct disk_fault fault = fault_of(DISK_REMOVE, -1, name);
    return may_go_on(&fault) && end(&fault, DISK_REMOVE, -1, unlinkat(folder, name, 0) == 0);
}

void disk_clean_up(int folder, const char *name) {
    int error = errno;
    disk_remove(folder, name);
    errno = error;
}

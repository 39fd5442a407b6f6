/* nodes.conf on the disk: locked by one process, never torn. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/disk.h"
#include "server/cluster/cluster_internal.h"

enum { LOCK_TRIES = 5, FILE_MAX_BYTES = 256 << 20 };

static int open_for_lock(const char *path) {
    return disk_open(AT_FDCWD, path, O_RDWR | O_CREAT);
}

/* True when the name still means this file: its owner replaces it as a whole. */
static bool is_current(const char *path, int file) {
    struct stat by_name;
    struct stat by_file;
    return stat(path, &by_name) == 0 && fstat(file, &by_file) == 0 &&
           by_name.st_ino == by_file.st_ino && by_name.st_dev == by_file.st_dev;
}

static bool read_all(int file, struct buffer *out) {
    enum { CHUNK_BYTES = 65536 };
    for (;;) {
        ssize_t got = read(file, buffer_reserve(out, CHUNK_BYTES), CHUNK_BYTES);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return false;
        if (got == 0) return true;
        out->len += (size_t)got;
        if (out->len > FILE_MAX_BYTES) {
            errno = EFBIG;
            return false;
        }
    }
}

bool nodes_file_open(const char *path, int *out_file, struct buffer *out_text, char *error,
                     size_t cap) {
    for (int i = 0; i < LOCK_TRIES; i++) {
        int file = open_for_lock(path);
        if (file < 0) {
            snprintf(error, cap, "Can't open %s in order to acquire a lock: %s", path,
                     strerror(errno));
            return false;
        }
        if (flock(file, LOCK_EX | LOCK_NB) != 0) {
            snprintf(error, cap,
                     errno == EWOULDBLOCK
                         ? "The cluster configuration file %s is already used by a different "
                           "cluster node. Each node needs a file, and better a folder, of its own"
                         : "Impossible to lock the cluster configuration file %s",
                     path);
            close(file);
            return false;
        }
        if (!is_current(path, file)) { // Replaced between our opening and its owner's end.
            close(file);
            continue;
        }
        if (!read_all(file, out_text)) {
            snprintf(error, cap, "Can't read the cluster configuration file %s: %s", path,
                     strerror(errno));
            close(file);
            return false;
        }
        *out_file = file;
        return true;
    }
    snprintf(error, cap, "The cluster configuration file %s is replaced by somebody all the time",
             path);
    return false;
}

int nodes_file_replace(const char *path, int *file, struct bytes text, bool must_fsync) {
    char temporary[1024];
    snprintf(temporary, sizeof(temporary), "%.990s.tmp-%d", path, (int)getpid());
    int fresh = disk_open(AT_FDCWD, temporary, O_RDWR | O_CREAT | O_TRUNC);
    if (fresh < 0) return errno;
    // Locked before it gets its name, so the name is never without a lock.
    bool is_written = flock(fresh, LOCK_EX | LOCK_NB) == 0 && disk_write(fresh, text, NULL) &&
                      (!must_fsync || disk_sync(fresh)) &&
                      disk_rename(AT_FDCWD, temporary, AT_FDCWD, path);
    if (!is_written) {
        int error = errno;
        disk_clean_up(AT_FDCWD, temporary);
        close(fresh);
        return error;
    }
    if (*file >= 0) close(*file);
    *file = fresh;
    return must_fsync && !disk_sync_folder_of(path) ? errno : 0;
}

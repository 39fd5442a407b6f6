#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/disk.h"
#include "server/base/mem.h"
#include "server/config/config_internal.h"

#define READ_STEP_BYTES 65536

static enum status read_all(int fd, struct buffer *out) {
    for (;;) {
        ssize_t got = read(fd, buffer_reserve(out, READ_STEP_BYTES), READ_STEP_BYTES);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return STATUS_IO_ERROR;
        if (got == 0) return STATUS_OK;
        out->len += (size_t)got;
        if (out->len > CONFIG_FILE_BYTES_MAX) {
            errno = EFBIG;
            return STATUS_IO_ERROR;
        }
    }
}

static enum status file_read(const char *path, struct buffer *out) {
    if (strcmp(path, "-") == 0) return read_all(STDIN_FILENO, out);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return STATUS_IO_ERROR;
    enum status status = read_all(fd, out);
    int reason = errno;
    close(fd);
    errno = reason;
    return status;
}

/* The temporary file lies beside the target, so that the rename stays within one file system. */
static enum status replace_resolved(const char *path, struct bytes content) {
    struct buffer name = {0};
    struct stat old;
    mode_t mode = stat(path, &old) == 0 ? old.st_mode & 07777 : 0644;
    buffer_append_format(&name, "%s.tmp-XXXXXX", path);
    buffer_append_u8(&name, 0);
    char *temporary = (char *)name.data;
    int fd = mkostemp(temporary, O_CLOEXEC);
    bool is_done =
        fd >= 0 && disk_write(fd, content, NULL) && fchmod(fd, mode) == 0 && disk_sync(fd);
    int reason = errno;
    if (fd >= 0 && close(fd) != 0 && is_done) {
        is_done = false;
        reason = errno;
    }
    if (is_done && !disk_rename(AT_FDCWD, temporary, AT_FDCWD, path)) {
        is_done = false;
        reason = errno;
    }
    if (!is_done && fd >= 0) disk_clean_up(AT_FDCWD, temporary);
    buffer_deinit(&name);
    errno = reason;
    return is_done && disk_sync_folder_of(path) ? STATUS_OK : STATUS_IO_ERROR;
}

static enum status file_replace(const char *path, struct bytes content) {
    // A link stays a link: what it names is replaced.
    char *resolved = realpath(path, NULL);
    enum status status = replace_resolved(resolved == NULL ? path : resolved, content);
    int reason = errno;
    free(resolved); // From the C library's allocator.
    errno = reason;
    return status;
}

static enum status file_each_match(const char *pattern,
                                   enum status (*visit)(void *context, const char *path),
                                   void *context) {
    glob_t found = {0};
    int result = glob(pattern, 0, NULL, &found);
    if (result == GLOB_NOMATCH) return STATUS_OK;
    enum status status = STATUS_OK;
    if (result != 0) {
        errno = result == GLOB_NOSPACE ? ENOMEM : EIO;
        status = STATUS_IO_ERROR;
    }
    for (size_t i = 0; i < found.gl_pathc && status == STATUS_OK; i++) {
        status = visit(context, found.gl_pathv[i]);
    }
    int reason = errno;
    globfree(&found);
    errno = reason;
    return status;
}

const struct config_io config_file_io = {
    .read = file_read,
    .replace = file_replace,
    .each_match = file_each_match,
};

char *config_absolute_path(const char *path) {
    char folder[PATH_MAX];
    if (path[0] == '/' || getcwd(folder, sizeof(folder)) == NULL) {
        return bytes_copy_text(bytes_of_text(path));
    }
    struct buffer out = {0};
    buffer_append_format(&out, "%s/%s", folder, path);
    char *absolute = bytes_copy_text(buffer_view(&out));
    buffer_deinit(&out);
    return absolute;
}

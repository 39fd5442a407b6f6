/* The folder of the log, and its manifest on the disk. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/aof/aof_internal.h"
#include "server/base/disk.h"
#include "server/base/log.h"
#include "server/base/mem.h"

enum { MANIFEST_BYTES_MAX = 16 << 20 };

/* -- files -- */

enum status aof_file_open(struct aof *aof, const char *name, bool truncates, int *out_file) {
    int flags = O_WRONLY | O_CREAT | O_APPEND | (truncates ? O_TRUNC : 0);
    int file = disk_open(aof->folder, name, flags);
    if (file < 0) {
        log_warning("Can't open the append-only file %s: %s", name, strerror(errno));
        return STATUS_IO_ERROR;
    }
    *out_file = file;
    return STATUS_OK;
}

enum status aof_file_bytes(struct aof *aof, const char *name, uint64_t *out_bytes) {
    struct stat status;
    if (fstatat(aof->folder, name, &status, 0) != 0) {
        log_warning("Unable to obtain the AOF file %s length. stat: %s", name, strerror(errno));
        return STATUS_IO_ERROR;
    }
    *out_bytes = (uint64_t)status.st_size;
    return STATUS_OK;
}

enum status aof_folder_sync(struct aof *aof) {
    if (disk_sync_folder(aof->folder)) return STATUS_OK;
    log_warning("Fail to fsync AOF directory %s: %s.", aof->options->folder, strerror(errno));
    return STATUS_IO_ERROR;
}

/* -- the folder -- */

static bool folder_exists(const char *name) {
    struct stat status;
    return stat(name, &status) == 0 && S_ISDIR(status.st_mode);
}

/* The entry in the folder above must last as well. */
static void sync_folder_above(void) {
    if (!disk_sync_folder_of(".")) log_warning("Can't fsync the data folder: %s", strerror(errno));
}

enum status aof_folder_open(struct aof *aof, bool makes) {
    const char *name = aof->options->folder;
    if (aof->folder >= 0) return STATUS_OK;
    if (makes && !folder_exists(name)) {
        if (mkdir(name, 0755) != 0) {
            log_warning("Can't open or create append-only dir %s: %s", name, strerror(errno));
            return STATUS_IO_ERROR;
        }
        sync_folder_above();
    }
    aof->folder = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (aof->folder >= 0) return STATUS_OK;
    if (!makes && errno == ENOENT) return STATUS_NOT_FOUND;
    log_warning("Can't open or create append-only dir %s: %s", name, strerror(errno));
    return STATUS_IO_ERROR;
}

void aof_folder_forget(struct aof *aof) {
    if (aof->folder >= 0) close(aof->folder);
    aof->folder = -1;
    aof_manifest_deinit(&aof->manifest);
    aof->has_manifest = false;
}

/* -- the manifest -- */

static void manifest_name(const struct aof *aof, bool is_temporary, char *out, size_t cap) {
    snprintf(out, cap, "%s%s.manifest", is_temporary ? "temp-" : "", aof->options->file_prefix);
}

static enum status write_manifest(struct aof *aof, const struct aof_manifest *manifest,
                                  const char *temporary) {
    int file = disk_open(aof->folder, temporary, O_WRONLY | O_CREAT | O_TRUNC);
    if (file < 0) return STATUS_IO_ERROR;
    struct buffer text = {0};
    aof_manifest_encode(manifest, &text);
    bool is_written = disk_write(file, buffer_view(&text), NULL) && disk_sync(file);
    int error = errno;
    buffer_deinit(&text);
    close(file);
    errno = error;
    return is_written ? STATUS_OK : STATUS_IO_ERROR;
}

enum status aof_manifest_replace(struct aof *aof, struct aof_manifest *fresh) {
    char name[NAME_MAX_BYTES];
    char temporary[NAME_MAX_BYTES];
    manifest_name(aof, false, name, sizeof(name));
    manifest_name(aof, true, temporary, sizeof(temporary));
    enum status status = write_manifest(aof, fresh, temporary);
    if (status == STATUS_OK && !disk_rename(aof->folder, temporary, aof->folder, name))
        status = STATUS_IO_ERROR;
    if (status != STATUS_OK) {
        log_warning("Fail to write the AOF manifest file %s: %s", name, strerror(errno));
        return status;
    }
    // From here on a restart reads the new one, whatever the folder's fsync says.
    status = aof_folder_sync(aof);
    aof_manifest_deinit(&aof->manifest);
    aof->manifest = *fresh;
    *fresh = (struct aof_manifest){0};
    aof->has_manifest = true;
    return status;
}

enum status aof_manifest_begin(struct aof *aof) {
    char name[NAME_MAX_BYTES];
    struct stat status;
    manifest_name(aof, false, name, sizeof(name));
    if (fstatat(aof->folder, name, &status, 0) == 0) return STATUS_OK;
    struct aof_manifest fresh = aof_manifest_copy(&aof->manifest);
    enum status begun = aof_manifest_replace(aof, &fresh);
    aof_manifest_deinit(&fresh);
    return begun;
}

void aof_drop_history(struct aof *aof) {
    struct aof_file_list *history = &aof->manifest.history;
    if (history->count == 0 || aof->options->keeps_history) return;
    for (size_t i = 0; i < history->count; i++) {
        log_notice("Removing the history file %s in the background", history->items[i].name);
        if (!disk_remove(aof->folder, history->items[i].name) && errno != ENOENT)
            log_warning("Can't remove the history file %s: %s", history->items[i].name,
                        strerror(errno));
    }
    struct aof_manifest fresh = aof_manifest_copy(&aof->manifest);
    aof_manifest_drop_history(&fresh);
    // If that fails they stay listed, and are looked for again by the next one.
    if (aof_manifest_replace(aof, &fresh) != STATUS_OK) aof_manifest_deinit(&fresh);
}

/* -- reading it -- */

static enum status read_whole(int file, struct buffer *out) {
    for (;;) {
        uint8_t *at = buffer_reserve(out, 4096);
        ssize_t got = read(file, at, 4096);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return STATUS_IO_ERROR;
        if (got == 0) return STATUS_OK;
        out->len += (size_t)got;
        if (out->len > MANIFEST_BYTES_MAX) return STATUS_TOO_BIG;
    }
}

static void report(const struct aof_manifest_error *error) {
    struct buffer text = {0};
    aof_manifest_error_format(error, &text);
    log_warning("%.*s", (int)text.len, (const char *)text.data);
    buffer_deinit(&text);
}

/* Files of a log that no manifest lists: one was lost, and what they hold would be appended to or
 * overwritten. */
static bool has_orphans(struct aof *aof) {
    size_t prefix_len = strlen(aof->options->file_prefix);
    int copy = openat(aof->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = copy < 0 ? NULL : fdopendir(copy);
    if (folder == NULL) return false;
    bool has = false;
    for (struct dirent *entry = readdir(folder); entry != NULL && !has; entry = readdir(folder)) {
        if (strncmp(entry->d_name, aof->options->file_prefix, prefix_len) != 0) continue;
        const char *rest = entry->d_name + prefix_len;
        if (*rest != '.' || rest[1] < '0' || rest[1] > '9') continue;
        has = true;
        log_warning("The append-only file %s is listed nowhere: there is no manifest. The server "
                    "does not start, so that nothing is overwritten. Bring the manifest back, or "
                    "move the files away.",
                    entry->d_name);
    }
    closedir(folder);
    return has;
}

static enum status read_manifest(struct aof *aof) {
    char name[NAME_MAX_BYTES];
    manifest_name(aof, false, name, sizeof(name));
    int file = disk_open(aof->folder, name, O_RDONLY);
    if (file < 0 && errno == ENOENT) return has_orphans(aof) ? STATUS_BAD_FORMAT : STATUS_OK;
    struct buffer text = {0};
    enum status status = file < 0 ? STATUS_IO_ERROR : read_whole(file, &text);
    struct aof_manifest_error error = {.reason = "Read AOF manifest failed"};
    if (status == STATUS_OK)
        status = aof_manifest_parse(buffer_view(&text), &aof->manifest, &error);
    if (status != STATUS_OK) report(&error);
    buffer_deinit(&text);
    if (file >= 0) close(file);
    return status;
}

enum status aof_manifest_load(struct aof *aof) {
    if (aof->has_manifest) return STATUS_OK;
    enum status status = aof_folder_open(aof, false);
    if (status == STATUS_OK) {
        status = read_manifest(aof);
    } else if (status == STATUS_NOT_FOUND) {
        status = STATUS_OK;
    }
    aof->has_manifest = status == STATUS_OK;
    return status;
}

/* -- a log of before there were manifests: one file in the data folder -- */

static bool is_in_folder(const struct aof *aof, const char *name) {
    struct stat status;
    return aof->folder >= 0 && fstatat(aof->folder, name, &status, 0) == 0;
}

/* The file is there, and the manifest is empty or was written by an upgrade that did not finish. */
static bool has_old_file(const struct aof *aof) {
    const char *name = aof->options->file_prefix;
    struct stat status;
    if (stat(name, &status) != 0 || !S_ISREG(status.st_mode)) return false;
    const struct aof_manifest *manifest = &aof->manifest;
    if (aof_manifest_is_empty(manifest)) return true;
    return manifest->base.name != NULL && manifest->increments.count == 0 &&
           strcmp(manifest->base.name, name) == 0 && !is_in_folder(aof, name);
}

enum status aof_adopt_old_file(struct aof *aof) {
    const char *name = aof->options->file_prefix;
    if (!has_old_file(aof)) return STATUS_OK;
    enum status status = aof_folder_open(aof, true);
    if (status == STATUS_OK && aof_manifest_is_empty(&aof->manifest)) {
        struct aof_manifest fresh = aof_manifest_copy(&aof->manifest);
        aof_manifest_adopt_base(&fresh, name);
        status = aof_manifest_replace(aof, &fresh);
        if (status != STATUS_OK) aof_manifest_deinit(&fresh);
    }
    if (status != STATUS_OK) return status;
    if (!disk_rename(AT_FDCWD, name, aof->folder, name)) {
        log_warning("Error trying to move the old AOF file %s into dir %s: %s", name,
                    aof->options->folder, strerror(errno));
        return STATUS_IO_ERROR;
    }
    sync_folder_above();
    log_notice("Successfully migrated an old-style AOF file (%s) into the AOF directory (%s).",
               name, aof->options->folder);
    return aof_folder_sync(aof);
}

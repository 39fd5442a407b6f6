#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/lifecycle/lifecycle.h"

bool lifecycle_open_log(const struct lifecycle_options *options, char *error, size_t cap) {
    const struct log_options log = {
        .path = options->log_file,
        .level = (enum log_level)options->log_level,
        .syslog_enabled = options->syslog_enabled,
        .syslog_ident = options->syslog_ident,
        .syslog_facility = options->syslog_facility,
    };
    if (log_configure(&log) == STATUS_OK) return true;
    snprintf(error, cap, "Can't open the log file '%s': %s", options->log_file, strerror(errno));
    return false;
}

bool lifecycle_enter_directory(const struct lifecycle_options *options, char *error, size_t cap) {
    if (chdir(options->directory) != 0) {
        snprintf(error, cap, "Can't chdir to '%s': %s", options->directory, strerror(errno));
        return false;
    }
    // A folder that cannot be written would lose the first save: better now than then.
    char name[64];
    snprintf(name, sizeof(name), "temp-probe-%d", (int)getpid());
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        snprintf(error, cap,
                 "The data folder '%s' is not writable: %s. Set 'dir' to a folder that "
                 "this user may write to.",
                 options->directory, strerror(errno));
        return false;
    }
    close(fd);
    unlink(name);
    return true;
}

void lifecycle_daemonize(void) {
    pid_t child = fork();
    if (child < 0) {
        perror("dunlin: can't go to the background");
        exit(1);
    }
    if (child > 0) _exit(0);
    setsid();
    int null = open("/dev/null", O_RDWR);
    if (null < 0) return;
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    if (null > STDERR_FILENO) close(null);
}

static const char *pid_path(const struct lifecycle_options *options) {
    if (options->pid_file[0] != '\0') return options->pid_file;
    return options->daemonize ? "/var/run/dunlin.pid" : NULL;
}

void lifecycle_write_pid_file(const struct lifecycle_options *options) {
    const char *path = pid_path(options);
    if (path == NULL) return;
    FILE *file = fopen(path, "we");
    if (file == NULL) {
        log_warning("Can't write the pid file '%s': %s", path, strerror(errno));
        return;
    }
    fprintf(file, "%d\n", (int)getpid());
    fclose(file);
}

void lifecycle_remove_pid_file(const struct lifecycle_options *options) {
    const char *path = pid_path(options);
    if (path != NULL) unlink(path);
}

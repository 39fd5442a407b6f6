#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "server/base/disk.h"
#include "server/base/disk_fault.h"

/* A folder of its own for each test, entered; the process of a test ends with it. */
static char folder[] = "/tmp/dunlin-disk-XXXXXX";

static void enter_folder(void) {
    cr_assert(mkdtemp(folder) != NULL);
    cr_assert(chdir(folder) == 0);
}

static void drop_folder(void) {
    disk_clean_up(AT_FDCWD, "a");
    disk_clean_up(AT_FDCWD, "b.rdb");
    cr_expect(rmdir(folder) == 0);
}

TestSuite(disk, .init = enter_folder, .fini = drop_folder);

static void order(const char *text) {
    cr_assert(disk_fault_order(bytes_of_text(text)) == STATUS_OK, "%s", text);
}

static long size_of(const char *name) {
    struct stat status;
    return stat(name, &status) == 0 ? (long)status.st_size : -1;
}

/* What is done with a file as a rule: written, made durable, put in place. */
static bool replace(const char *name) {
    int file = disk_open(AT_FDCWD, "a", O_WRONLY | O_CREAT | O_TRUNC);
    bool is_done = file >= 0 && disk_write(file, BYTES_LITERAL("0123456789"), NULL) &&
                   disk_sync(file) && disk_rename(AT_FDCWD, "a", AT_FDCWD, name) &&
                   disk_sync_folder_of(name);
    if (file >= 0) close(file);
    return is_done;
}

Test(disk, does_what_the_system_does_without_an_order) {
    cr_expect(replace("b.rdb"));
    cr_expect(size_of("b.rdb") == 10);
    cr_expect(!disk_rename(AT_FDCWD, "nothing", AT_FDCWD, "b.rdb"));
    cr_expect(errno == ENOENT);
    cr_expect(disk_open(AT_FDCWD, "nothing", O_RDONLY) == -1);
}

Test(disk, fails_from_the_ordered_operation_on_until_withdrawn) {
    order("EIO sync 2 a");
    cr_expect(replace("b.rdb"));
    cr_expect(!replace("b.rdb"));
    cr_expect(errno == EIO);
    cr_expect(!replace("b.rdb"));
    cr_expect(disk_fault_count() == 3);
    order("off");
    cr_expect(replace("b.rdb"));
}

Test(disk, picks_files_by_their_name) {
    order("EROFS rename 1 *.rdb");
    cr_expect(!replace("b.rdb"));
    cr_expect(errno == EROFS);
    cr_expect(replace("a"));
    order("EACCES open 1 x*");
    cr_expect(replace("b.rdb"));
}

Test(disk, that_fills_takes_half_of_a_write) {
    order("ENOSPC write 1 *");
    size_t done = 0;
    int file = disk_open(AT_FDCWD, "a", O_WRONLY | O_CREAT);
    cr_expect(!disk_write(file, BYTES_LITERAL("0123456789"), &done));
    cr_expect(errno == ENOSPC);
    cr_expect(done == 5 && size_of("a") == 5);
    cr_expect(disk_truncate(file, 0) && size_of("a") == 0);
    close(file);
}

Test(disk, refuses_what_is_no_order) {
    static const char *const texts[] = {
        "",
        "EIO",
        "EIO sync 0 *",
        "EIO sync x *",
        "EWHAT sync 1 *",
        "EIO think 1 *",
        "kill-amid sync 1 *",
        "EIO sync 1 * *",
    };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
        cr_expect(disk_fault_order(bytes_of_text(texts[i])) == STATUS_BAD_FORMAT, "%s", texts[i]);
}

/* Runs `replace` in a process of its own; true when it was killed. */
static bool is_killed_by(const char *text) {
    pid_t child = fork();
    if (child == 0) {
        order(text);
        _exit(replace("b.rdb") ? 0 : 1);
    }
    int status = 0;
    cr_assert(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

Test(disk, ends_the_process_at_the_ordered_moment) {
    cr_expect(is_killed_by("kill-before rename 1 *"));
    cr_expect(size_of("a") == 10 && size_of("b.rdb") == -1);
    cr_expect(is_killed_by("kill-amid write 1 *"));
    cr_expect(size_of("a") == 5);
    cr_expect(is_killed_by("kill-after rename 1 *"));
    cr_expect(size_of("a") == -1 && size_of("b.rdb") == 10);
    cr_expect(!is_killed_by("kill-before rename 2 *"));
}

/* Adds ten bytes, makes them durable, and again. */
static bool is_powered_off(const char *text) {
    pid_t child = fork();
    if (child == 0) {
        order(text);
        int file = disk_open(AT_FDCWD, "a", O_WRONLY | O_CREAT | O_APPEND);
        bool is_done = disk_write(file, BYTES_LITERAL("0123456789"), NULL) && disk_sync(file) &&
                       disk_write(file, BYTES_LITERAL("0123456789"), NULL) && disk_sync(file);
        _exit(is_done ? 0 : 1);
    }
    int status = 0;
    cr_assert(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

Test(disk, loses_what_is_not_durable_when_the_power_goes) {
    cr_expect(is_powered_off("power-off-before sync 2 *"));
    cr_expect(size_of("a") == 10);
    cr_expect(is_powered_off("power-off-after sync 2 *"));
    cr_expect(size_of("a") == 30);
    cr_expect(is_powered_off("power-off-after write 1 *"));
    cr_expect(size_of("a") == 30);
    cr_expect(!is_powered_off("power-off-before sync 3 *"));
    cr_expect(size_of("a") == 50);
}

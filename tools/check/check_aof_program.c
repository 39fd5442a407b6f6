#include "tools/check/check_aof_program.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tools/check/check_aof.h"
#include "tools/check/check_rdb.h"

static bool check_snapshot(FILE *out, const char *path, const char *name, uint64_t *out_bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    struct check_rdb_report report = {0};
    bool is_sound = check_rdb_descriptor(fd, name, out, &report);
    *out_bytes = report.end_offset;
    check_rdb_report_deinit(&report);
    close(fd);
    return is_sound;
}

int check_aof_program(int argc, char **argv) {
    return check_aof_main(argc, argv, &(struct check_aof_io){stdin, stdout, check_snapshot});
}

bool check_aof_is_called_so(const char *path) {
    static const char *const names[] = {"dunlin-check-aof", "redis-check-aof", "valkey-check-aof"};
    const char *slash = strrchr(path, '/');
    const char *base = slash == NULL ? path : slash + 1;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(base, names[i]) == 0) return true;
    }
    return false;
}

#include "server/base/disk_fault.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/glob.h"
#include "server/base/number.h"
#include "server/base/words.h"

enum { WORD_COUNT = 4, PATTERN_MAX_BYTES = 128, TRACKED_MAX = 256 };

enum moment {
    MOMENT_INSTEAD,
    MOMENT_BEFORE,
    MOMENT_AMID,
    MOMENT_AFTER,
    MOMENT_POWER_OFF_BEFORE,
    MOMENT_POWER_OFF_AFTER,
};

struct order {
    enum moment moment;
    int error;
    enum disk_operation operation;
    int64_t nth;
    char pattern[PATTERN_MAX_BYTES];
};

/* A file that was written, and how much of it is durable. */
struct tracked {
    int file;
    dev_t device; /* The descriptor may mean another file by now. */
    ino_t inode;
    off_t durable_bytes;
};

struct named {
    const char *name;
    int value;
};

_Atomic bool disk_fault_is_ordered;

static struct {
    pthread_mutex_t lock;
    struct order order;
    uint64_t count;
    struct tracked tracked[TRACKED_MAX];
    uint32_t tracked_count;
} disk_faults = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool loses(const struct order *order) {
    return order->moment == MOMENT_POWER_OFF_BEFORE || order->moment == MOMENT_POWER_OFF_AFTER;
}

/* -- orders -- */

static const struct named moments[] = {
    {"kill-before", MOMENT_BEFORE},
    {"kill-amid", MOMENT_AMID},
    {"kill-after", MOMENT_AFTER},
    {"power-off-before", MOMENT_POWER_OFF_BEFORE},
    {"power-off-after", MOMENT_POWER_OFF_AFTER},
};

static const struct named errors[] = {
    {"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EROFS", EROFS},
    {"EDQUOT", EDQUOT}, {"EMFILE", EMFILE}, {"EACCES", EACCES},
};

static const struct named operations[] = {
    {"open", DISK_OPEN},           {"write", DISK_WRITE},   {"truncate", DISK_TRUNCATE},
    {"sync", DISK_SYNC},           {"rename", DISK_RENAME}, {"sync-folder", DISK_SYNC_FOLDER},
    {"any", DISK_OPERATION_COUNT}, {"remove", DISK_REMOVE},
};

static bool find(const struct named *list, size_t count, struct bytes name, int *out) {
    for (size_t i = 0; i < count; i++) {
        if (!bytes_equal_text_nocase(name, list[i].name)) continue;
        *out = list[i].value;
        return true;
    }
    return false;
}

static bool parse(const struct words *words, struct order *out) {
    if (words->count != WORD_COUNT) return false;
    int moment = MOMENT_INSTEAD;
    int operation = 0;
    struct order order = {0};
    if (!find(moments, ARRAY_COUNT(moments), words->items[0], &moment) &&
        !find(errors, ARRAY_COUNT(errors), words->items[0], &order.error))
        return false;
    if (!find(operations, ARRAY_COUNT(operations), words->items[1], &operation)) return false;
    if (!number_parse_i64(words->items[2], &order.nth) || order.nth < 1) return false;
    if (words->items[3].len >= sizeof(order.pattern)) return false;
    if (moment == MOMENT_AMID && operation != DISK_WRITE) return false;
    order.moment = (enum moment)moment;
    order.operation = (enum disk_operation)operation;
    bytes_to_text(words->items[3], order.pattern, sizeof(order.pattern));
    *out = order;
    return true;
}

static void put_in_force(const struct order *order) {
    pthread_mutex_lock(&disk_faults.lock);
    bool was_tracking = atomic_load(&disk_fault_is_ordered) && loses(&disk_faults.order);
    if (order != NULL) {
        disk_faults.order = *order;
        disk_faults.count = 0;
        if (!was_tracking) disk_faults.tracked_count = 0;
    }
    atomic_store(&disk_fault_is_ordered, order != NULL);
    pthread_mutex_unlock(&disk_faults.lock);
}

enum status disk_fault_order(struct bytes text) {
    struct words words = {0};
    struct order order;
    enum status status = words_split(&words, text, WORD_COUNT);
    if (status == STATUS_OK && words.count == 1 && bytes_equal_text_nocase(words.items[0], "off")) {
        put_in_force(NULL);
    } else if (status == STATUS_OK && parse(&words, &order)) {
        put_in_force(&order);
    } else {
        status = STATUS_BAD_FORMAT;
    }
    words_deinit(&words);
    return status;
}

uint64_t disk_fault_count(void) {
    pthread_mutex_lock(&disk_faults.lock);
    uint64_t count = disk_faults.count;
    pthread_mutex_unlock(&disk_faults.lock);
    return count;
}

/* -- what is durable; the lock is held -- */

static struct tracked *find_tracked(int file, const struct stat *status) {
    for (uint32_t i = 0; i < disk_faults.tracked_count; i++) {
        struct tracked *tracked = &disk_faults.tracked[i];
        if (tracked->file == file && tracked->device == status->st_dev &&
            tracked->inode == status->st_ino)
            return tracked;
    }
    return NULL;
}

/* Before a write: what the file has now is older than the order, and counts as durable. */
static void track(int file) {
    struct stat status;
    if (fstat(file, &status) != 0 || find_tracked(file, &status) != NULL) return;
    if (disk_faults.tracked_count == TRACKED_MAX) return;
    disk_faults.tracked[disk_faults.tracked_count++] =
        (struct tracked){file, status.st_dev, status.st_ino, status.st_size};
}

static void note_durable(enum disk_operation operation, int file) {
    struct stat status;
    if (fstat(file, &status) != 0) return;
    struct tracked *tracked = find_tracked(file, &status);
    if (tracked == NULL) return;
    if (operation == DISK_SYNC || status.st_size < tracked->durable_bytes)
        tracked->durable_bytes = status.st_size;
}

static void lose_what_is_not_durable(void) {
    for (uint32_t i = 0; i < disk_faults.tracked_count; i++) {
        const struct tracked *tracked = &disk_faults.tracked[i];
        struct stat status;
        if (fstat(tracked->file, &status) != 0 || find_tracked(tracked->file, &status) != tracked ||
            status.st_size <= tracked->durable_bytes)
            continue;
        // Nobody is left to be told of a failure.
        if (ftruncate(tracked->file, tracked->durable_bytes) != 0) continue;
    }
}

void disk_fault_note(enum disk_operation operation, int file, bool is_done) {
    if (is_done && file >= 0) note_durable(operation, file);
    pthread_mutex_unlock(&disk_faults.lock);
}

/* -- operations -- */

/* The lock is held and stays so: nothing may be done to a tracked file any more. */
static NORETURN void end_process(void) {
    if (loses(&disk_faults.order)) lose_what_is_not_durable();
    for (;;) {
        kill(getpid(), SIGKILL);
        pause();
    }
}

void disk_fault_kill(void) {
    pthread_mutex_lock(&disk_faults.lock);
    end_process();
}

static struct bytes base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return bytes_of_text(slash == NULL ? path : slash + 1);
}

/* The system knows what a descriptor was opened as. */
static struct bytes name_of(int file, char path[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
    ssize_t len = readlink(link, path, PATH_MAX - 1);
    path[len < 0 ? 0 : len] = '\0';
    return base_name(path);
}

static bool matches(const struct order *order, enum disk_operation operation, struct bytes name) {
    return (order->operation == operation || order->operation == DISK_OPERATION_COUNT) &&
           glob_matches(bytes_of_text(order->pattern), name, false);
}

/* The lock is held. */
static struct disk_fault next_fault(void) {
    const struct order *order = &disk_faults.order;
    uint64_t count = ++disk_faults.count;
    bool is_now = count == (uint64_t)order->nth;
    struct disk_fault fault = {0};
    switch (order->moment) {
    case MOMENT_INSTEAD:
        if (count >= (uint64_t)order->nth) fault.error = order->error;
        break;
    case MOMENT_BEFORE:
    case MOMENT_POWER_OFF_BEFORE:
        if (is_now) end_process();
        break;
    case MOMENT_AMID:
        fault.kills_amid = is_now;
        break;
    case MOMENT_AFTER:
    case MOMENT_POWER_OFF_AFTER:
        fault.kills_after = is_now;
        break;
    }
    return fault;
}

struct disk_fault disk_fault_of(enum disk_operation operation, int file, const char *name) {
    char path[PATH_MAX];
    struct disk_fault fault = {0};
    struct bytes last = name != NULL ? base_name(name) : name_of(file, path);
    pthread_mutex_lock(&disk_faults.lock);
    const struct order *order = &disk_faults.order;
    bool is_ordered = atomic_load(&disk_fault_is_ordered);
    if (is_ordered && matches(order, operation, last)) fault = next_fault();
    fault.is_tracked = is_ordered && loses(order);
    if (fault.is_tracked && operation == DISK_WRITE) track(file);
    if (!fault.is_tracked) pthread_mutex_unlock(&disk_faults.lock);
    return fault;
}

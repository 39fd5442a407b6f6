#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "server/base/fault_stack.h"
#include "server/base/log.h"
#include "server/command/running.h"
#include "server/lifecycle/crash.h"

struct death {
    int status; /* Of waitpid. */
    struct buffer report;
};

static void read_file(const char *path, struct buffer *out) {
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file);
    size_t got = 0;
    while ((got = fread(buffer_reserve(out, 4096), 1, 4096, file)) > 0)
        out->len += got;
    fclose(file);
    buffer_append_u8(out, 0);
}

/* Runs `fall` in a process of its own, whose log is a file, and tells how it ended. */
static struct death die_by(void (*fall)(void),
                           bool (*append_info)(void *, unsigned, struct buffer *)) {
    char path[] = "/tmp/dunlin-crash-XXXXXX";
    close(mkstemp(path));
    struct death death = {0};
    pid_t child = fork();
    if (child == 0) {
        fault_stack_use();
        if (log_configure(&(struct log_options){.path = path, .level = LOG_LEVEL_NOTICE}) !=
            STATUS_OK)
            _exit(1);
        crash_set_sources(&(struct crash_sources){.append_info = append_info});
        crash_take_signals(true);
        fall();
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &death.status, 0), child);
    read_file(path, &death.report);
    unlink(path);
    return death;
}

static bool has(const struct death *death, const char *text) {
    return strstr((const char *)death->report.data, text) != NULL;
}

static void assert_ended_by(const struct death *death, int number) {
    cr_assert(WIFSIGNALED(death->status));
    cr_assert_eq(WTERMSIG(death->status), number);
}

static bool some_info(void *state, unsigned index, struct buffer *out) {
    (void)state;
    buffer_append_format(out, "section%u:1", index);
    return index < 2;
}

static bool faulty_info(void *state, unsigned index, struct buffer *out) {
    (void)state;
    (void)index;
    (void)out;
    raise(SIGSEGV);
    return false;
}

static const struct command auth_row = {.name = "auth"};

static void fall_in_auth(void) {
    struct session session = {.id = 17, .name = "bob\n", .peer = "127.0.0.1:5000"};
    const struct bytes words[] = {BYTES_LITERAL("AUTH"), BYTES_LITERAL("hunter2")};
    const struct command_context context = {
        .command = &auth_row, .argv = words, .argc = 2, .session = &session};
    running_exchange(&context);
    log_notice("the last line");
    raise(SIGBUS);
}

static void fall_plainly(void) {
    raise(SIGFPE);
}

/* Returns what it needs afterwards, so that no loop can be made of it; `depth` is never reached. */
static unsigned overflow(unsigned depth) {
    volatile char block[4096];
    block[depth % sizeof(block)] = 1;
    return depth == UINT32_MAX ? 0 : overflow(depth + 1) + (unsigned)block[0];
}

static void fall_by_overflow(void) {
    if (overflow(0) == 0) _exit(1);
}

#ifdef DUNLIN_SANITIZED
#define SKIP_WHERE_SANITIZED() cr_skip_test("the sanitizer takes the signals")
#else
#define SKIP_WHERE_SANITIZED() (void)0
#endif

Test(crash, tells_the_command_and_its_client_without_secrets) {
    SKIP_WHERE_SANITIZED();
    struct death death = die_by(fall_in_auth, some_info);
    assert_ended_by(&death, SIGBUS);
    cr_assert(has(&death, CRASH_REPORT_START));
    cr_assert(has(&death, "(SIGBUS)"));
    cr_assert(has(&death, "command: auth, 2 words\n"));
    cr_assert(has(&death, "client: id=17 addr=127.0.0.1:5000 name=bob\\x0a db=0\n"));
    cr_assert(has(&death, "word 1: '(redacted)'\n"));
    cr_assert_not(has(&death, "hunter2"));
    cr_assert(has(&death, "* the last line\n"));
    cr_assert(has(&death, "section1:1\n" CRASH_REPORT_END));
    buffer_deinit(&death.report);
}

Test(crash, ends_at_a_second_fault_with_what_was_written) {
    SKIP_WHERE_SANITIZED();
    struct death death = die_by(fall_plainly, faulty_info);
    assert_ended_by(&death, SIGSEGV);
    cr_assert(has(&death, "(SIGFPE)"));
    cr_assert(has(&death, "none on this thread\n"));
    cr_assert(has(&death, "a second fault ended the report\n" CRASH_REPORT_END));
    buffer_deinit(&death.report);
}

Test(crash, reports_a_stack_that_has_overflowed) {
    SKIP_WHERE_SANITIZED();
    struct death death = die_by(fall_by_overflow, some_info);
    assert_ended_by(&death, SIGSEGV);
    cr_assert(has(&death, "fault address: 0x"));
    cr_assert(has(&death, CRASH_REPORT_END));
    buffer_deinit(&death.report);
}

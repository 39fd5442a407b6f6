#include "server/lifecycle/crash.h"

#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "server/base/check.h"
#include "server/base/compiler.h"
#include "server/base/log.h"
#include "server/command/running.h"
#include "server/command/secrets.h"

enum {
    REPORT_SECONDS_MAX = 5,
    FRAMES_MAX = 64,
    WORDS_MAX = 32,
    WORD_BYTES_MAX = 128,
    INFO_SECTIONS_MAX = 32,
};

/* A signal handler has no argument to find its state by. */
static struct {
    struct crash_sources sources;
    atomic_int reporter; /* Thread id of who writes the report; 0: nobody. */
    atomic_int number;   /* The signal it writes about. */
    atomic_int fd;
} crash;

void crash_set_sources(const struct crash_sources *sources) {
    crash.sources = *sources;
    // The first call loads a library, which the handler must not do.
    void *frame = NULL;
    (void)backtrace(&frame, 1);
}

#ifdef DUNLIN_SANITIZED
void crash_take_signals(bool is_taken) {
    (void)is_taken;
}
#else

static const struct fatal_signal {
    int number;
    const char *name;
} fatal_signals[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},
    {SIGILL, "SIGILL"},   {SIGABRT, "SIGABRT"},
};

/* -- lines, without allocation and without stdio -- */

struct line {
    char text[1024];
    size_t len;
};

static void put_char(struct line *line, char c) {
    if (line->len < sizeof(line->text)) line->text[line->len++] = c;
}

static void put(struct line *line, const char *text) {
    while (*text != '\0')
        put_char(line, *text++);
}

static void put_number(struct line *line, uint64_t number) {
    char digits[20];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (count > 0)
        put_char(line, digits[--count]);
}

static void put_hex_digits(struct line *line, uint64_t number, unsigned digits) {
    while (digits-- > 0)
        put_char(line, "0123456789abcdef"[number >> (4 * digits) & 0xf]);
}

static void put_pointer(struct line *line, uint64_t pointer) {
    put(line, "0x");
    put_hex_digits(line, pointer, 16);
}

/* At most WORD_BYTES_MAX of a client's bytes, on one line whatever they are. */
static void put_foreign(struct line *line, struct bytes text) {
    size_t len = text.len < WORD_BYTES_MAX ? text.len : WORD_BYTES_MAX;
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = text.data[i];
        if (byte >= 0x20 && byte < 0x7f) {
            put_char(line, (char)byte);
        } else {
            put(line, "\\x");
            put_hex_digits(line, byte, 2);
        }
    }
    if (len == text.len) return;
    put(line, "... (");
    put_number(line, text.len);
    put(line, " bytes)");
}

static void write_all(const char *text, size_t len) {
    while (len > 0) {
        ssize_t written = write(atomic_load(&crash.fd), text, len);
        if (written <= 0) return; // Nobody is left to tell.
        text += written;
        len -= (size_t)written;
    }
}

static void end_line(struct line *line) {
    write_all(line->text, line->len);
    write_all("\n", 1);
    line->len = 0;
}

static void write_text(const char *text) {
    struct line line = {.len = 0};
    put(&line, text);
    end_line(&line);
}

static void write_fact(const char *name, const char *text) {
    struct line line = {.len = 0};
    put(&line, name);
    put(&line, ": ");
    put_foreign(&line, bytes_of_text(text));
    end_line(&line);
}

/* -- what happened -- */

static const char *signal_name(int number) {
    for (size_t i = 0; i < ARRAY_COUNT(fatal_signals); i++) {
        if (fatal_signals[i].number == number) return fatal_signals[i].name;
    }
    return "?";
}

static void write_signal(int number, const siginfo_t *info) {
    struct line line = {.len = 0};
    put(&line, "Dunlin " DUNLIN_VERSION ", pid ");
    put_number(&line, (uint64_t)getpid());
    put(&line, ", crashed by signal ");
    put_number(&line, (uint64_t)number);
    put(&line, " (");
    put(&line, signal_name(number));
    put(&line, "), code ");
    if (info->si_code < 0) put_char(&line, '-');
    put_number(&line, (uint64_t)(info->si_code < 0 ? -(int64_t)info->si_code : info->si_code));
    put(&line, ", unix time ");
    put_number(&line, (uint64_t)time(NULL));
    end_line(&line);
    bool is_sent = info->si_code <= 0; // By kill, raise or abort: there is no address.
    put(&line, is_sent ? "sent by pid: " : "fault address: ");
    if (is_sent)
        put_number(&line, (uint64_t)info->si_pid);
    else
        put_pointer(&line, (uint64_t)(uintptr_t)info->si_addr);
    end_line(&line);
    const char *assertion = check_failure_text();
    if (assertion[0] != '\0') {
        put(&line, "failed assertion: ");
        put(&line, assertion);
        end_line(&line);
    }
}

static void write_thread(void) {
    char name[17] = "";
    prctl(PR_GET_NAME, name);
    write_fact("thread", name);
}

/* -- registers -- */

static void write_register(const char *name, uint64_t value) {
    struct line line = {.len = 0};
    put(&line, name);
    put(&line, " ");
    put_pointer(&line, value);
    end_line(&line);
}

static void write_registers(const ucontext_t *context) {
    write_text("--- registers");
#if defined(__x86_64__)
    static const char *const names[] = {
        [REG_R8] = "r8",   [REG_R9] = "r9",   [REG_R10] = "r10", [REG_R11] = "r11",
        [REG_R12] = "r12", [REG_R13] = "r13", [REG_R14] = "r14", [REG_R15] = "r15",
        [REG_RDI] = "rdi", [REG_RSI] = "rsi", [REG_RBP] = "rbp", [REG_RBX] = "rbx",
        [REG_RDX] = "rdx", [REG_RAX] = "rax", [REG_RCX] = "rcx", [REG_RSP] = "rsp",
        [REG_RIP] = "rip", [REG_EFL] = "efl",
    };
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        write_register(names[i], (uint64_t)context->uc_mcontext.gregs[i]);
#elif defined(__aarch64__)
    for (unsigned i = 0; i < 31; i++) {
        const char name[] = {'x', (char)('0' + i / 10), (char)('0' + i % 10), '\0'};
        write_register(name, context->uc_mcontext.regs[i]);
    }
    write_register("sp", context->uc_mcontext.sp);
    write_register("pc", context->uc_mcontext.pc);
#else
    (void)context;
    write_text("not known on this processor");
#endif
}

static void write_stack(void) {
    void *frames[FRAMES_MAX];
    write_text("--- stack");
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), atomic_load(&crash.fd));
}

/* -- the command -- */

static void write_client(const struct session *session) {
    struct line line = {.len = 0};
    put(&line, "client: id=");
    put_number(&line, session->id);
    put(&line, " addr=");
    put_foreign(&line, bytes_of_text(session->peer));
    put(&line, " name=");
    if (session->name != NULL) put_foreign(&line, bytes_of_text(session->name));
    put(&line, " db=");
    put_number(&line, session->db);
    end_line(&line);
}

static void write_command(void) {
    write_text("--- command");
    const struct command_context *context = running_command();
    if (context == NULL) {
        write_text("none on this thread");
        return;
    }
    struct line line = {.len = 0};
    put(&line, "command: ");
    put(&line, context->command->name);
    put(&line, ", ");
    put_number(&line, context->argc);
    put(&line, " words");
    end_line(&line);
    write_client(context->session);
    for (uint32_t i = 0; i < context->argc && i < WORDS_MAX; i++) {
        put(&line, "word ");
        put_number(&line, i);
        put(&line, ": '");
        if (command_word_is_secret(crash.sources.config, context->command, context->argv,
                                   context->argc, i))
            put(&line, "(redacted)");
        else
            put_foreign(&line, context->argv[i]);
        put(&line, "'");
        end_line(&line);
    }
}

/* -- the server -- */

static void write_log(void) {
    write_text("--- last lines of the log");
    log_write_recent(atomic_load(&crash.fd));
}

/* Allocates and takes locks, so this comes last: it may fault, or hang until the time is over. */
static void write_info(void) {
    write_text("--- info");
    if (crash.sources.append_info == NULL) return;
    for (unsigned i = 0; i < INFO_SECTIONS_MAX; i++) {
        struct buffer section = {0};
        if (!crash.sources.append_info(crash.sources.state, i, &section)) return;
        write_all((const char *)section.data, section.len);
        write_all("\n", 1);
    }
}

/* -- ending -- */

NORETURN static void die(int number) {
    sigset_t set;
    signal(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
    _exit(128 + number);
}

static void on_time_over(int number) {
    (void)number;
    write_text("the rest of the report took too long");
    write_text(CRASH_REPORT_END);
    die(atomic_load(&crash.number));
}

/* Whoever faults while a report is written: the same thread ends it, others wait for its end. */
static void stand_aside(int number, int reporter, int self) {
    if (reporter != self) {
        for (;;)
            pause();
    }
    write_text("a second fault ended the report");
    write_text(CRASH_REPORT_END);
    die(number);
}

static void on_fatal_signal(int number, siginfo_t *info, void *context) {
    int self = (int)syscall(SYS_gettid);
    int reporter = 0;
    if (!atomic_compare_exchange_strong(&crash.reporter, &reporter, self))
        stand_aside(number, reporter, self);
    atomic_store(&crash.number, number);
    atomic_store(&crash.fd, log_descriptor());
    const struct sigaction on_alarm = {.sa_handler = on_time_over};
    sigaction(SIGALRM, &on_alarm, NULL);
    alarm(REPORT_SECONDS_MAX);
    write_text("\n" CRASH_REPORT_START);
    write_signal(number, info);
    write_thread();
    write_registers(context);
    write_stack();
    write_command();
    write_log();
    write_info();
    write_text(CRASH_REPORT_END);
    die(number);
}

void crash_take_signals(bool is_taken) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    if (is_taken)
        action.sa_sigaction = on_fatal_signal;
    else
        action = (struct sigaction){.sa_handler = SIG_DFL};
    for (size_t i = 0; i < ARRAY_COUNT(fatal_signals); i++)
        sigaction(fatal_signals[i].number, &action, NULL);
}

#endif

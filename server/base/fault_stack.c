#include "server/base/fault_stack.h"

#include <signal.h>

enum { FAULT_STACK_BYTES = 64 * 1024 };

void fault_stack_use(void) {
#ifndef DUNLIN_SANITIZED
    // In the thread's own storage, so that it goes with the thread.
    static _Thread_local char fault_stack[FAULT_STACK_BYTES];
    const stack_t stack = {.ss_sp = fault_stack, .ss_size = sizeof(fault_stack)};
    // Without it a fault is reported from the thread's stack.
    (void)sigaltstack(&stack, NULL);
#endif
}

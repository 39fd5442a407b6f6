/* A second stack for the handlers of fatal signals: a thread whose own stack has overflowed can
 * still say so. */
#pragma once

/* Gives the calling thread its second stack, which lasts as long as the thread. Each thread calls
 * it once, at its beginning. Does nothing in sanitized builds, which bring one of their own. */
void fault_stack_use(void);

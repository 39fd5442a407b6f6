#include "server/base/check.h"

#include <stdio.h>
#include <stdlib.h>

/* Read by the report on the signal that follows. */
static char failure[256];

const char *check_failure_text(void) {
    return failure;
}

void check_failed(const char *condition, const char *file, int line) {
    snprintf(failure, sizeof(failure), "%s:%d: %s", file, line, condition);
    fprintf(stderr, "dunlin: assertion failed at %s\n", failure);
    fflush(stderr);
    abort();
}

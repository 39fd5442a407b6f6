#include "server/base/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *condition, const char *file, int line) {
    fprintf(stderr, "dunlin: assertion failed at %s:%d: %s\n", file, line, condition);
    fflush(stderr);
    abort();
}

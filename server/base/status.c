#include "server/base/status.h"

#include "server/base/check.h"

const char *status_text(enum status status) {
    switch (status) {
#define STATUS_CASE(name, meaning)                                                                 \
    case name:                                                                                     \
        return meaning;
        STATUS_LIST(STATUS_CASE)
#undef STATUS_CASE
    }
    UNREACHABLE();
}

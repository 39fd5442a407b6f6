#include <stdio.h>

#include "clusterbus/bus.h"

static const char *const texts[] = {
#define BUS_RESULT_TEXT(name, text) [name] = (text),
    BUS_RESULT_LIST(BUS_RESULT_TEXT) // NOLINT(bugprone-suspicious-missing-comma)
#undef BUS_RESULT_TEXT
};

/* The texts' places are filled by what they ask for: %s the argument, %u the slots, %llu the epoch.
 */
void bus_result_write(enum bus_result result, const struct bus_result_args *args,
                      struct buffer *out) {
    unsigned numbers_used = 0;
    for (const char *at = texts[result]; *at != '\0'; at++) {
        if (*at != '%') {
            buffer_append_u8(out, (uint8_t)*at);
            continue;
        }
        at++;
        if (*at == 's') {
            buffer_append_bytes(out, args->argument);
        } else if (*at == 'u') {
            buffer_append_i64(out, numbers_used++ == 0 ? args->slots.first : args->slots.last);
        } else {
            at += 2; /* "llu" */
            buffer_append_format(out, "%llu", (unsigned long long)args->epoch);
        }
    }
}

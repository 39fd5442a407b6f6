/* What the tool tells: lines in the tones that scripts and people know, put together as text.
 *
 * Functions append a formatted text; line ends are the caller's. With colours each text is between
 * an escape sequence and its reset, the reset behind the newline, as tools have always done it.
 */
#pragma once

#include <stdbool.h>

#include "server/base/buffer.h"
#include "server/base/compiler.h"
#include "tools/client/profile.h"

struct report {
    struct buffer text;
    const struct profile *profile; /* Words for roles and for the tool itself. */
    bool has_color;
};

void report_plain(struct report *report, const char *format, ...) PRINTF_LIKE(2, 3);
void report_info(struct report *report, const char *format, ...) PRINTF_LIKE(2, 3);    /* >>> */
void report_ok(struct report *report, const char *format, ...) PRINTF_LIKE(2, 3);      /* [OK] */
void report_warning(struct report *report, const char *format, ...) PRINTF_LIKE(2, 3); /* *** */
void report_error(struct report *report, const char *format, ...) PRINTF_LIKE(2, 3);   /* [ERR] */

#include "tools/cluster/report.h"

#define TONE_INFO "\033[29;1m"
#define TONE_OK "\033[32;1m"
#define TONE_WARNING "\033[33;1m"
#define TONE_ERROR "\033[31;1m"
#define TONE_RESET "\033[0m"

static void append(struct report *report, const char *tone, const char *format, va_list args)
    PRINTF_LIKE(3, 0);

static void append(struct report *report, const char *tone, const char *format, va_list args) {
    bool is_toned = tone != NULL && report->has_color;
    if (is_toned) buffer_append_text(&report->text, tone);
    buffer_append_format_list(&report->text, format, args);
    if (is_toned) buffer_append_text(&report->text, TONE_RESET);
}

#define DEFINE_TONE(name, tone)                                                                    \
    void name(struct report *report, const char *format, ...) {                                    \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        append(report, tone, format, args);                                                        \
        va_end(args);                                                                              \
    }

DEFINE_TONE(report_plain, NULL)
DEFINE_TONE(report_info, TONE_INFO)
DEFINE_TONE(report_ok, TONE_OK)
DEFINE_TONE(report_warning, TONE_WARNING)
DEFINE_TONE(report_error, TONE_ERROR)

#include "server/admin/admin_internal.h"
#include "server/admin/lolwut.h"

#define AMOUNT_MAX 5000u

/* Reads the argument at *next when there is one, and holds it within 1 .. max. */
static bool parse_setting(struct command_context *context, uint32_t *next, unsigned max,
                          unsigned *inout) {
    if (*next >= context->argc) return true;
    int64_t value;
    if (!context_integer(context, (*next)++, &value, NULL)) return false;
    *inout = value < 1 ? 1 : value > max ? max : (unsigned)value;
    return true;
}

/* [VERSION n] [columns] [rows] [birds or waves]; odd versions show the flock, even ones the sand.
 */
void admin_lolwut(struct command_context *context) {
    int64_t version = 1;
    uint32_t next = 1;
    if (context->argc >= 3 && context_argument_is(context, 1, "VERSION")) {
        if (!context_integer(context, 2, &version, NULL)) return;
        next = 3;
    }
    bool is_flock = version % 2 != 0;
    struct lolwut_size size = {.columns = 66, .rows = 18};
    unsigned amount = is_flock ? 420 : 14;
    if (!parse_setting(context, &next, LOLWUT_COLUMNS_MAX, &size.columns) ||
        !parse_setting(context, &next, LOLWUT_ROWS_MAX, &size.rows) ||
        !parse_setting(context, &next, AMOUNT_MAX, &amount))
        return;
    struct buffer text = {0};
    if (is_flock)
        lolwut_flock(context->rng, size, amount, &text);
    else
        lolwut_ripples(context->rng, size, amount, &text);
    buffer_append_text(&text, is_flock ? "\nCalidris alpina, the dunlin, in numbers. "
                                       : "\nThe mudflat, an hour after high water. ");
    buffer_append_text(&text, "Dunlin ver. " DUNLIN_VERSION "\n");
    reply_verbatim(context->reply, buffer_view(&text));
    buffer_deinit(&text);
}

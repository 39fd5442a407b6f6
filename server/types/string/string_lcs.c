/* LCS: the longest common subsequence of two strings.
 *
 * The classic table of lengths, of which only two rows are kept; what the way back needs is one bit
 * a cell. Among several longest subsequences the one is answered that a walk from both ends finds
 * which steps back in the second string unless the first one promises more.
 */
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/types/string/string_internal.h"

struct lcs_options {
    bool wants_len;
    bool wants_ranges;
    bool wants_range_len;
    int64_t min_range_len;
};

struct lcs {
    struct bytes a;
    struct bytes b;
    uint32_t len;
    uint8_t
        *ways; /* A bit for each cell, a.len rows: set = go back in `a`. NULL: only len wanted. */
};

/* A run of bytes that both strings share, as the walk from behind finds it. */
struct range {
    size_t a;
    size_t b;
    size_t len;
};

static bool parse_lcs_options(struct command_context *context, struct lcs_options *out) {
    *out = (struct lcs_options){0};
    for (uint32_t i = 3; i < context->argc; i++) {
        if (context_argument_is(context, i, "idx")) {
            out->wants_ranges = true;
        } else if (context_argument_is(context, i, "len")) {
            out->wants_len = true;
        } else if (context_argument_is(context, i, "withmatchlen")) {
            out->wants_range_len = true;
        } else if (context_argument_is(context, i, "minmatchlen") && i + 1 < context->argc) {
            if (!context_integer(context, ++i, &out->min_range_len, NULL)) return false;
        } else {
            reply_syntax_error(context->reply);
            return false;
        }
    }
    if (out->wants_len && out->wants_ranges) {
        reply_error(context->reply,
                    "ERR If you want both the length and indexes, please just use IDX.");
        return false;
    }
    return true;
}

/* The work is the product of both lengths: bounded by what a table of 4-byte cells may take. */
static bool check_size(struct command_context *context, struct bytes a, struct bytes b) {
    uint64_t cells;
    if (!__builtin_mul_overflow((uint64_t)a.len + 1, (uint64_t)b.len + 1, &cells) &&
        cells <= context->types->proto_max_bulk_len / sizeof(uint32_t))
        return true;
    reply_error(context->reply,
                "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
    return false;
}

static size_t cell_bit(const struct lcs *lcs, size_t i, size_t j) {
    return i * lcs->b.len + j;
}

static void lcs_compute(struct lcs *lcs) {
    // row[j]: length for a's first i and b's first j bytes.
    uint32_t *row = mem_alloc_zero((lcs->b.len + 1) * sizeof(*row));
    for (size_t i = 0; i < lcs->a.len; i++) {
        uint32_t diagonal = 0;
        for (size_t j = 0; j < lcs->b.len; j++) {
            uint32_t above = row[j + 1];
            if (lcs->a.data[i] == lcs->b.data[j]) {
                row[j + 1] = diagonal + 1;
            } else if (above > row[j]) {
                size_t bit = cell_bit(lcs, i, j);
                if (lcs->ways != NULL) lcs->ways[bit / 8] |= (uint8_t)(1u << bit % 8);
            } else {
                row[j + 1] = row[j];
            }
            diagonal = above;
        }
    }
    lcs->len = row[lcs->b.len];
    mem_free(row);
}

/* Steps back from the ends i, j (both > 0 on a match): true when it stands on a common byte. */
static bool step_back(const struct lcs *lcs, size_t *i, size_t *j) {
    while (*i > 0 && *j > 0) {
        if (lcs->a.data[*i - 1] == lcs->b.data[*j - 1]) {
            --*i;
            --*j;
            return true;
        }
        size_t bit = cell_bit(lcs, *i - 1, *j - 1);
        if (lcs->ways[bit / 8] >> (bit % 8) & 1) {
            --*i;
        } else {
            --*j;
        }
    }
    return false;
}

static void reply_text(struct reply *reply, const struct lcs *lcs) {
    uint8_t *text = mem_alloc((size_t)lcs->len + 1);
    size_t at = lcs->len;
    size_t i = lcs->a.len;
    size_t j = lcs->b.len;
    while (step_back(lcs, &i, &j))
        text[--at] = lcs->a.data[i];
    reply_bulk(reply, bytes_of(text, lcs->len));
    mem_free(text);
}

static bool reply_range(struct reply *reply, const struct range *range,
                        const struct lcs_options *options) {
    if (range->len == 0 || (int64_t)range->len < options->min_range_len) return false;
    reply_array(reply, options->wants_range_len ? 3 : 2);
    reply_array(reply, 2);
    reply_integer(reply, (int64_t)range->a);
    reply_integer(reply, (int64_t)(range->a + range->len - 1));
    reply_array(reply, 2);
    reply_integer(reply, (int64_t)range->b);
    reply_integer(reply, (int64_t)(range->b + range->len - 1));
    if (options->wants_range_len) reply_integer(reply, (int64_t)range->len);
    return true;
}

static void reply_ranges(struct reply *reply, const struct lcs *lcs,
                         const struct lcs_options *options) {
    reply_map(reply, 2);
    reply_bulk_text(reply, "matches");
    size_t mark = reply_begin(reply);
    size_t count = 0;
    struct range range = {0};
    size_t i = lcs->a.len;
    size_t j = lcs->b.len;
    while (step_back(lcs, &i, &j)) {
        if (range.len > 0 && range.a == i + 1 && range.b == j + 1) {
            range = (struct range){i, j, range.len + 1};
            continue;
        }
        count += reply_range(reply, &range, options);
        range = (struct range){i, j, 1};
    }
    count += reply_range(reply, &range, options);
    reply_end_array(reply, mark, count);
    reply_bulk_text(reply, "len");
    reply_integer(reply, lcs->len);
}

/* The value of a key for LCS; absent is empty. False after an error was answered. */
static bool read_operand(struct command_context *context, uint32_t argument, char *scratch,
                         struct bytes *out) {
    struct key key = context_key(context, argument);
    const struct record *record = context_find(context, &key);
    *out = bytes_of(NULL, 0);
    if (record == NULL) return true;
    if (record_type(record) != RECORD_STRING) {
        reply_error(context->reply, "ERR The specified keys must contain string values");
        return false;
    }
    *out = string_view(record, scratch);
    return true;
}

void string_lcs(struct command_context *context) {
    char scratch_a[NUMBER_TEXT_MAX];
    char scratch_b[NUMBER_TEXT_MAX];
    struct lcs lcs = {0};
    struct lcs_options options;
    if (!read_operand(context, 1, scratch_a, &lcs.a)) return;
    if (!read_operand(context, 2, scratch_b, &lcs.b)) return;
    if (!parse_lcs_options(context, &options)) return;
    if (!check_size(context, lcs.a, lcs.b)) return;

    if (!options.wants_len) lcs.ways = mem_alloc_zero(lcs.a.len * lcs.b.len / 8 + 1);
    lcs_compute(&lcs);
    if (options.wants_len) {
        reply_integer(context->reply, lcs.len);
    } else if (options.wants_ranges) {
        reply_ranges(context->reply, &lcs, &options);
    } else {
        reply_text(context->reply, &lcs);
    }
    mem_free(lcs.ways);
}

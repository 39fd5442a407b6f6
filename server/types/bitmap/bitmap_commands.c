/* Single bits, counting, finding, and operations over whole strings. */
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/types/bitmap/bitmap_internal.h"
#include "server/types/bitmap/bits.h"
#include "server/types/string/string.h"

bool bitmap_parse_offset(struct command_context *context, uint32_t argument, unsigned width,
                         uint64_t *out) {
    struct bytes text = context->argv[argument];
    bool is_counted = width > 0 && text.len > 0 && text.data[0] == '#';
    if (is_counted) text = bytes_from(text, 1);
    int64_t offset;
    bool is_fine = number_parse_i64(text, &offset) && offset >= 0;
    if (is_fine && is_counted) is_fine = !__builtin_mul_overflow(offset, (int64_t)width, &offset);
    // What a primary has done before us is not to be doubted.
    bool is_bounded = !context->is_from_primary;
    if (is_fine && (!is_bounded || (uint64_t)offset / 8 < context->types->proto_max_bulk_len)) {
        *out = (uint64_t)offset;
        return true;
    }
    reply_error(context->reply, "ERR bit offset is not an integer or out of range");
    return false;
}

/* The string at the key as bytes, empty when it is absent; false after WRONGTYPE was answered. */
static bool read_string(struct command_context *context, uint32_t argument, char *scratch,
                        struct bytes *out, bool *out_exists) {
    struct key key = context_key(context, argument);
    bool failed;
    const struct record *record = context_find_typed(context, &key, RECORD_STRING, &failed);
    if (failed) return false;
    *out_exists = record != NULL;
    *out = record == NULL ? BYTES_LITERAL("") : string_view(record, scratch);
    return true;
}

/* -- SETBIT, GETBIT -- */

void bitmap_setbit(struct command_context *context) {
    uint64_t offset;
    int64_t value = 0;
    if (!bitmap_parse_offset(context, 2, 0, &offset)) return;
    if (!context_integer_in(context, 3, 0, 1, &value, "ERR bit is not an integer or out of range"))
        return;
    struct key key = context_key(context, 1);
    struct table_entry entry;
    if (!context_find_typed_for_write(context, &key, RECORD_STRING, &entry)) return;
    size_t needed = (size_t)(offset / 8) + 1;
    bool has_grown = entry.record == NULL || string_len(entry.record) < needed;
    uint8_t *bytes = string_make_writable(context, &key, &entry, needed);
    if (bytes == NULL) return;
    uint8_t mask = (uint8_t)(1u << (7 - offset % 8));
    bool was_set = (bytes[offset / 8] & mask) != 0;
    if (value != 0) {
        bytes[offset / 8] |= mask;
    } else {
        bytes[offset / 8] &= (uint8_t)~mask;
    }
    if (has_grown || was_set != (value != 0))
        context_changed(context, &key, EVENT_STRING, "setbit");
    reply_integer(context->reply, was_set);
}

void bitmap_getbit(struct command_context *context) {
    uint64_t offset;
    char scratch[NUMBER_TEXT_MAX];
    struct bytes value;
    bool exists;
    if (!bitmap_parse_offset(context, 2, 0, &offset) ||
        !read_string(context, 1, scratch, &value, &exists))
        return;
    reply_integer(context->reply, (int64_t)bits_get(value, offset, 1));
}

/* -- ranges -- */

struct bit_range {
    int64_t start;
    int64_t end;
    bool end_is_given;
    bool is_bits;   /* Else bytes. */
    bool is_strict; /* Ends that are the wrong way round before the string begins are nothing. */
};

static bool parse_unit(struct command_context *context, uint32_t argument, bool *out_bits) {
    *out_bits = context_argument_is(context, argument, "BIT");
    if (*out_bits || context_argument_is(context, argument, "BYTE")) return true;
    reply_syntax_error(context->reply);
    return false;
}

/* As bits from the first up to the last; false when there are none. */
static bool clamp_range(const struct bit_range *range, size_t len, uint64_t *out_first,
                        uint64_t *out_last) {
    int64_t start = range->start;
    int64_t end = range->end;
    int64_t total = (int64_t)len;
    if (range->is_strict && start < 0 && end < 0 && start > end) return false;
    if (range->is_bits) total *= 8;
    if (start < 0) start += total;
    if (end < 0) end += total;
    if (start < 0) start = 0;
    if (end < 0) end = 0;
    if (end >= total) end = total - 1;
    if (start > end) return false;
    *out_first = (uint64_t)(range->is_bits ? start : start * 8);
    *out_last = (uint64_t)(range->is_bits ? end : end * 8 + 7);
    return true;
}

void bitmap_bitcount(struct command_context *context) {
    struct bit_range range = {.end = -1, .is_strict = true};
    char scratch[NUMBER_TEXT_MAX];
    struct bytes value;
    bool exists;
    // An absent key has no bits in any range, whatever the range is written like.
    if (!read_string(context, 1, scratch, &value, &exists)) return;
    if (!exists) {
        reply_integer(context->reply, 0);
        return;
    }
    if (context->argc != 2 && context->argc != 4 && context->argc != 5) {
        reply_syntax_error(context->reply);
        return;
    }
    if (context->argc > 2 && (!context_integer(context, 2, &range.start, NULL) ||
                              !context_integer(context, 3, &range.end, NULL)))
        return;
    // A range that ends before it begins, both counted from the end, is empty in any unit.
    bool is_empty = range.start < 0 && range.end < 0 && range.start > range.end;
    if (!is_empty && context->argc == 5 && !parse_unit(context, 4, &range.is_bits)) return;
    uint64_t first;
    uint64_t last;
    if (is_empty || !clamp_range(&range, value.len, &first, &last)) {
        reply_integer(context->reply, 0);
        return;
    }
    uint64_t first_byte = first / 8;
    uint64_t last_byte = last / 8;
    uint64_t count = bits_count(bytes_of(value.data + first_byte, last_byte - first_byte + 1));
    // The first and the last byte were counted whole.
    count -= (unsigned)__builtin_popcount(value.data[first_byte] & ~(0xffu >> first % 8) & 0xffu);
    count -= (unsigned)__builtin_popcount(value.data[last_byte] & (0x7fu >> last % 8));
    reply_integer(context->reply, (int64_t)count);
}

void bitmap_bitpos(struct command_context *context) {
    struct bit_range range = {.end = -1};
    char scratch[NUMBER_TEXT_MAX];
    struct bytes value;
    bool exists;
    int64_t bit = 0;
    if (!context_integer(context, 2, &bit, NULL)) return;
    if (bit != 0 && bit != 1) {
        reply_error(context->reply, "ERR The bit argument must be 1 or 0.");
        return;
    }
    if (!read_string(context, 1, scratch, &value, &exists)) return;
    if (!exists) {
        // As if it were zeros without end.
        reply_integer(context->reply, bit != 0 ? -1 : 0);
        return;
    }
    if (context->argc > 6) {
        reply_syntax_error(context->reply);
        return;
    }
    if (context->argc > 3 && !context_integer(context, 3, &range.start, NULL)) return;
    if (context->argc == 6 && !parse_unit(context, 5, &range.is_bits)) return;
    range.end_is_given = context->argc > 4;
    if (range.end_is_given && !context_integer(context, 4, &range.end, NULL)) return;
    uint64_t first;
    uint64_t last;
    if (!clamp_range(&range, value.len, &first, &last)) {
        reply_integer(context->reply, -1);
        return;
    }
    int64_t found = bits_find(bytes_of(value.data, last / 8 + 1), first, bit != 0);
    if (found > (int64_t)last) found = -1;
    // Behind the end of a string there are zeros, unless the client has said where to end.
    if (found < 0 && bit == 0 && !range.end_is_given) found = (int64_t)last + 1;
    reply_integer(context->reply, found);
}

/* -- BITOP -- */

enum operation { OPERATION_AND, OPERATION_OR, OPERATION_XOR, OPERATION_NOT };

static bool parse_operation(struct command_context *context, enum operation *out) {
    static const char *const names[] = {"AND", "OR", "XOR", "NOT"};
    for (int i = 0; i < 4; i++) {
        if (!context_argument_is(context, 1, names[i])) continue;
        *out = (enum operation)i;
        return true;
    }
    reply_syntax_error(context->reply);
    return false;
}

/* Mixes a source into the result; behind the source's end there are zeros. */
static void mix(uint8_t *result, size_t len, struct bytes source, enum operation operation) {
    size_t shared = source.len < len ? source.len : len;
    for (size_t i = 0; i < shared; i++) {
        if (operation == OPERATION_AND) {
            result[i] &= source.data[i];
        } else if (operation == OPERATION_OR) {
            result[i] |= source.data[i];
        } else {
            result[i] ^= source.data[i];
        }
    }
    if (operation == OPERATION_AND) memset(result + shared, 0, len - shared);
}

struct operand {
    struct bytes value;
    char scratch[NUMBER_TEXT_MAX];
};

static void operate(uint8_t *result, size_t len, const struct operand *operands, uint32_t count,
                    enum operation operation) {
    size_t first_len = operands[0].value.len;
    memcpy(result, operands[0].value.data, first_len);
    memset(result + first_len, 0, len - first_len);
    if (operation == OPERATION_NOT) {
        for (size_t i = 0; i < len; i++)
            result[i] = (uint8_t)~result[i];
    }
    for (uint32_t i = 1; i < count; i++)
        mix(result, len, operands[i].value, operation);
}

static void store_result(struct command_context *context, const struct operand *operands,
                         uint32_t count, size_t len, enum operation operation) {
    struct key target = context_key(context, 2);
    struct record *result = NULL;
    if (len > 0) {
        result = string_record_create_text(target.name, bytes_of(NULL, len), true, false, 0);
        operate(string_bytes(result), len, operands, count, operation);
    }
    struct table_entry entry;
    bool was_there = context_find_to_remove(context, &target, &entry);
    if (result != NULL) {
        context_put_take(context, &target, &entry, result);
        context_changed(context, &target, EVENT_STRING, "set");
    } else if (was_there) {
        context_delete(context, &target, &entry);
        context_changed(context, &target, EVENT_GENERIC, "del");
    }
    reply_integer(context->reply, (int64_t)len);
}

void bitmap_bitop(struct command_context *context) {
    enum operation operation;
    if (!parse_operation(context, &operation)) return;
    uint32_t count = context->argc - 3;
    if (operation == OPERATION_NOT && count != 1) {
        reply_error(context->reply, "ERR BITOP NOT must be called with a single source key.");
        return;
    }
    struct operand *operands = mem_alloc(count * sizeof(*operands));
    size_t len = 0;
    bool is_fine = true;
    for (uint32_t i = 0; is_fine && i < count; i++) {
        bool exists;
        is_fine = read_string(context, 3 + i, operands[i].scratch, &operands[i].value, &exists);
        if (is_fine && operands[i].value.len > len) len = operands[i].value.len;
    }
    if (is_fine) store_result(context, operands, count, len, operation);
    mem_free(operands);
}

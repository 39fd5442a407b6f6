/* BITFIELD: a string as integers of any width. */
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/types/bitmap/bitmap_internal.h"
#include "server/types/bitmap/bits.h"
#include "server/types/string/string.h"

enum field_kind { FIELD_GET, FIELD_SET, FIELD_INCREMENT };

struct field_operation {
    enum field_kind kind;
    enum bits_overflow overflow;
    bool is_signed;
    unsigned width;
    uint64_t offset;
    int64_t value;
};

struct field_request {
    struct field_operation *operations;
    uint32_t count;
    bool is_readonly;
    uint64_t write_end; /* Bits that the string must have. */
};

/* "u8", "i16": up to 63 bits without a sign and up to 64 with one. */
static bool parse_type(struct command_context *context, uint32_t argument,
                       struct field_operation *out) {
    struct bytes text = context->argv[argument];
    int64_t width = 0;
    bool is_fine = text.len > 1 && (text.data[0] == 'i' || text.data[0] == 'u');
    if (is_fine) {
        out->is_signed = text.data[0] == 'i';
        is_fine = number_parse_i64(bytes_from(text, 1), &width) && width >= 1 &&
                  width <= (out->is_signed ? 64 : 63);
    }
    out->width = (unsigned)width;
    if (is_fine) return true;
    reply_error(context->reply, "ERR Invalid bitfield type. Use something like i16 u8. Note that "
                                "u64 is not supported but i64 is.");
    return false;
}

static bool parse_overflow(struct command_context *context, uint32_t argument,
                           enum bits_overflow *out) {
    if (context_argument_is(context, argument, "WRAP")) {
        *out = BITS_WRAP;
    } else if (context_argument_is(context, argument, "SAT")) {
        *out = BITS_SATURATE;
    } else if (context_argument_is(context, argument, "FAIL")) {
        *out = BITS_FAIL;
    } else {
        reply_error(context->reply, "ERR Invalid OVERFLOW type specified");
        return false;
    }
    return true;
}

static bool parse(struct command_context *context, struct field_request *request) {
    enum bits_overflow overflow = BITS_WRAP;
    request->is_readonly = true;
    for (uint32_t i = 2; i < context->argc;) {
        uint32_t left = context->argc - i - 1;
        struct field_operation *operation = &request->operations[request->count];
        bool is_get = context_argument_is(context, i, "GET") && left >= 2;
        bool is_set = context_argument_is(context, i, "SET") && left >= 3;
        bool is_increment = context_argument_is(context, i, "INCRBY") && left >= 3;
        if (context_argument_is(context, i, "OVERFLOW") && left >= 1) {
            if (!parse_overflow(context, i + 1, &overflow)) return false;
            i += 2;
            continue;
        }
        if (!is_get && !is_set && !is_increment) {
            reply_syntax_error(context->reply);
            return false;
        }
        *operation = (struct field_operation){.kind = is_get   ? FIELD_GET
                                                      : is_set ? FIELD_SET
                                                               : FIELD_INCREMENT,
                                              .overflow = overflow};
        if (!parse_type(context, i + 1, operation) ||
            !bitmap_parse_offset(context, i + 2, operation->width, &operation->offset))
            return false;
        if (!is_get) {
            if (!context_integer(context, i + 3, &operation->value, NULL)) return false;
            uint64_t end = operation->offset + operation->width;
            if (end > request->write_end) request->write_end = end;
            request->is_readonly = false;
        }
        request->count++;
        i += is_get ? 3 : 4;
    }
    return true;
}

static int64_t read_field(struct bytes value, const struct field_operation *operation) {
    uint64_t bits = bits_get(value, operation->offset, operation->width);
    return operation->is_signed ? bits_sign_extend(bits, operation->width) : (int64_t)bits;
}

/* SET and INCRBY; true when the bits have changed. */
static bool write_field(struct command_context *context, uint8_t *bytes, size_t len,
                        const struct field_operation *operation) {
    int64_t old = read_field(bytes_of(bytes, len), operation);
    bool is_set = operation->kind == FIELD_SET;
    uint64_t bits;
    // A value that is set has to fit as well as one that is reached.
    if (!bits_add(is_set ? (uint64_t)operation->value : (uint64_t)old,
                  is_set ? 0 : operation->value, operation->width, operation->is_signed,
                  operation->overflow, &bits)) {
        reply_null(context->reply);
        return false;
    }
    int64_t fresh = operation->is_signed ? bits_sign_extend(bits, operation->width) : (int64_t)bits;
    bits_set(bytes, operation->offset, operation->width, bits);
    reply_integer(context->reply, is_set ? old : fresh);
    return fresh != old;
}

static void run_readonly(struct command_context *context, const struct field_request *request) {
    struct key key = context_key(context, 1);
    bool failed;
    char scratch[NUMBER_TEXT_MAX];
    const struct record *record = context_find_typed(context, &key, RECORD_STRING, &failed);
    if (failed) return;
    struct bytes value = record == NULL ? BYTES_LITERAL("") : string_view(record, scratch);
    reply_array(context->reply, request->count);
    for (uint32_t i = 0; i < request->count; i++)
        reply_integer(context->reply, read_field(value, &request->operations[i]));
}

static void run(struct command_context *context, const struct field_request *request) {
    struct key key = context_key(context, 1);
    struct table_entry entry;
    if (!context_find_typed_for_write(context, &key, RECORD_STRING, &entry)) return;
    size_t needed = (size_t)((request->write_end + 7) / 8);
    size_t len = entry.record == NULL ? 0 : string_len(entry.record);
    bool has_grown = len < needed;
    uint8_t *bytes = string_make_writable(context, &key, &entry, needed);
    if (bytes == NULL) return;
    if (has_grown) len = needed;
    uint64_t changes = has_grown;
    reply_array(context->reply, request->count);
    for (uint32_t i = 0; i < request->count; i++) {
        const struct field_operation *operation = &request->operations[i];
        if (operation->kind == FIELD_GET) {
            reply_integer(context->reply, read_field(bytes_of(bytes, len), operation));
        } else {
            changes += write_field(context, bytes, len, operation);
        }
    }
    if (changes == 0) return;
    context_changed(context, &key, EVENT_STRING, "setbit");
    context->changes += changes - 1;
}

static void bitfield(struct command_context *context, bool only_reads) {
    struct field_request request = {
        .operations = mem_alloc((context->argc / 3 + 1) * sizeof(struct field_operation))};
    if (parse(context, &request)) {
        if (only_reads && !request.is_readonly) {
            reply_error(context->reply, "ERR BITFIELD_RO only supports the GET subcommand");
        } else if (request.is_readonly) {
            run_readonly(context, &request);
        } else {
            run(context, &request);
        }
    }
    mem_free(request.operations);
}

/* It only reads when all its operations are GETs. */
uint32_t bitmap_bitfield_key_flags(const struct bytes *argv, uint32_t argc, uint32_t index) {
    (void)index;
    for (uint32_t i = 2; i < argc; i++) {
        if (bytes_equal_text_nocase(argv[i], "GET") && i + 2 < argc) {
            i += 2;
        } else if (bytes_equal_text_nocase(argv[i], "OVERFLOW") && i + 1 < argc) {
            i++;
        } else {
            return KEY_RW | KEY_ACCESS | KEY_UPDATE;
        }
    }
    return KEY_RO | KEY_ACCESS;
}

void bitmap_bitfield(struct command_context *context) {
    bitfield(context, false);
}

void bitmap_bitfield_ro(struct command_context *context) {
    bitfield(context, true);
}

#include <inttypes.h>
#include <string.h>

#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/base/words.h"
#include "server/config/config_internal.h"

static bool refuse(struct buffer *error, const char *reason) {
    buffer_append_text(error, reason);
    return false;
}

/* Numbers of any width travel as int64_t; unsigned ones above its maximum keep their bits. */
static int64_t number_read(const struct option *row, const void *field) {
    bool is_signed = row->field.kind == OPTION_KIND_INT || row->field.kind == OPTION_KIND_ENUM;
    switch (row->field.size) {
    case 1:
        return is_signed ? *(const int8_t *)field : *(const uint8_t *)field;
    case 2:
        return is_signed ? *(const int16_t *)field : *(const uint16_t *)field;
    case 4:
        return is_signed ? *(const int32_t *)field : (int64_t) * (const uint32_t *)field;
    case 8:
        return *(const int64_t *)field;
    default:
        UNREACHABLE();
    }
}

static void number_write(const struct option *row, void *field, int64_t value) {
    switch (row->field.size) {
    case 1:
        *(uint8_t *)field = (uint8_t)value;
        break;
    case 2:
        *(uint16_t *)field = (uint16_t)value;
        break;
    case 4:
        *(uint32_t *)field = (uint32_t)value;
        break;
    case 8:
        *(int64_t *)field = value;
        break;
    default:
        UNREACHABLE();
    }
}

uint64_t value_max(const struct option *row) {
    if (row->range.max != 0) return row->range.max;
    uint64_t all = UINT64_MAX >> (64 - 8 * row->field.size);
    switch (row->field.kind) {
    case OPTION_KIND_INT:
        return all >> 1;
    case OPTION_KIND_UINT:
    case OPTION_KIND_PERCENT:
        return all > INT64_MAX ? INT64_MAX : all;
    default:
        return all;
    }
}

static bool check_signed(const struct option *row, int64_t value, struct buffer *error) {
    int64_t max = (int64_t)value_max(row);
    if (value >= row->range.min && value <= max) return true;
    buffer_append_format(error, "argument must be between %" PRId64 " and %" PRId64 " inclusive",
                         row->range.min, max);
    return false;
}

static bool check_unsigned(const struct option *row, uint64_t value, struct buffer *error) {
    uint64_t min = (uint64_t)row->range.min;
    uint64_t max = value_max(row);
    if (value >= min && value <= max) return true;
    bool is_octal = row->field.kind == OPTION_KIND_OCTAL;
    buffer_append_format(error,
                         is_octal ? "argument must be between %" PRIo64 " and %" PRIo64 " inclusive"
                                  : "argument must be between %" PRIu64 " and %" PRIu64
                                    " inclusive",
                         min, max);
    return false;
}

/* A size; one that no number holds counts as the largest, so that it meets the limit's message. An
 * empty text is 0, as `maxmemory ""` has always been. */
static bool memory_parse(struct bytes text, uint64_t *out) {
    if (text.len == 0) {
        *out = 0;
        return true;
    }
    if (number_parse_memory(text, out)) return true;
    size_t digits = 0;
    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
        digits++;
    if (digits == 0) return false;
    // The last digit with its unit says whether only the size was at fault.
    uint64_t probe;
    if (!number_parse_memory(bytes_from(text, digits - 1), &probe)) return false;
    *out = UINT64_MAX;
    return true;
}

static bool bool_parse(struct bytes text, void *out, struct buffer *error) {
    bool is_yes = bytes_equal_text_nocase(text, "yes");
    if (!is_yes && !bytes_equal_text_nocase(text, "no")) {
        return refuse(error, "argument must be 'yes' or 'no'");
    }
    *(bool *)out = is_yes;
    return true;
}

static bool integer_parse(const struct option *row, struct bytes text, void *out,
                          struct buffer *error) {
    int64_t value;
    if (!number_parse_i64(text, &value)) {
        return refuse(error, "argument couldn't be parsed into an integer");
    }
    if (!check_signed(row, value, error)) return false;
    number_write(row, out, value);
    return true;
}

static bool octal_parse(const struct option *row, struct bytes text, void *out,
                        struct buffer *error) {
    uint64_t value = 0;
    bool is_octal = text.len > 0;
    for (size_t i = 0; i < text.len && is_octal; i++) {
        is_octal = text.data[i] >= '0' && text.data[i] <= '7' && value <= UINT64_MAX >> 3;
        value = value * 8 + (uint64_t)(text.data[i] - '0');
    }
    if (!is_octal) return refuse(error, "argument couldn't be parsed as an octal number");
    if (!check_unsigned(row, value, error)) return false;
    number_write(row, out, (int64_t)value);
    return true;
}

static bool size_parse(const struct option *row, struct bytes text, void *out,
                       struct buffer *error) {
    uint64_t value;
    if (!memory_parse(text, &value)) return refuse(error, "argument must be a memory value");
    if (!check_unsigned(row, value, error)) return false;
    number_write(row, out, (int64_t)value);
    return true;
}

static bool percent_parse(const struct option *row, struct bytes text, void *out,
                          struct buffer *error) {
    uint64_t value;
    if (text.len > 0 && text.data[text.len - 1] == '%') {
        if (!number_parse_u64(bytes_of(text.data, text.len - 1), &value)) {
            return refuse(error, "argument must be a memory or percent value");
        }
        if (value > 100) {
            return refuse(error, "percentage argument must be less or equal to 100");
        }
        number_write(row, out, -(int64_t)value);
        return true;
    }
    if (!memory_parse(text, &value)) {
        return refuse(error, "argument must be a memory or percent value");
    }
    if (!check_unsigned(row, value, error)) return false;
    number_write(row, out, (int64_t)value);
    return true;
}

static const struct option_choice *choice_find(const struct option *row, struct bytes name) {
    for (const struct option_choice *c = row->choices; c->name != NULL; c++) {
        if (bytes_equal_text_nocase(name, c->name)) return c;
    }
    return NULL;
}

/* Several words of a multi_word row are bits that are put together. */
static bool enum_parse(const struct option *row, const struct bytes *words, size_t word_count,
                       void *out, struct buffer *error) {
    int64_t value = 0;
    for (size_t i = 0; i < word_count; i++) {
        const struct option_choice *choice = choice_find(row, words[i]);
        if (choice == NULL) {
            buffer_append_text(error, "argument(s) must be one of the following: ");
            for (const struct option_choice *c = row->choices; c->name != NULL; c++) {
                buffer_append_format(error, "%s%s", c == row->choices ? "" : ", ", c->name);
            }
            return false;
        }
        value |= choice->value;
    }
    number_write(row, out, value);
    return true;
}

static bool string_parse(const struct option *row, struct bytes text, void *out,
                         struct buffer *error) {
    if (text.len > 0 && memchr(text.data, 0, text.len) != NULL) {
        return refuse(error, "argument must not hold a NUL byte");
    }
    char *copy = bytes_copy_text(text);
    if (row->check != NULL && !row->check(copy, error)) {
        mem_free(copy);
        return false;
    }
    *(char **)out = copy;
    return true;
}

/* Several words of a multi_word row are one text, with a space between two. */
static bool strings_parse(const struct option *row, const struct bytes *words, size_t word_count,
                          void *out, struct buffer *error) {
    if (word_count == 1) return string_parse(row, words[0], out, error);
    struct buffer text = {0};
    for (size_t i = 0; i < word_count; i++) {
        if (i > 0) buffer_append_u8(&text, ' ');
        buffer_append_bytes(&text, words[i]);
    }
    bool is_good = string_parse(row, buffer_view(&text), out, error);
    buffer_deinit(&text);
    return is_good;
}

static bool words_parse(const struct option *row, const struct option_input *input, void *out,
                        struct buffer *error) {
    if (!row->multi_word && input->word_count != 1) {
        return refuse(error, "wrong number of arguments");
    }
    struct bytes first = input->words[0];
    switch (row->field.kind) {
    case OPTION_KIND_BOOL:
        return bool_parse(first, out, error);
    case OPTION_KIND_INT:
    case OPTION_KIND_UINT:
        return integer_parse(row, first, out, error);
    case OPTION_KIND_OCTAL:
        return octal_parse(row, first, out, error);
    case OPTION_KIND_MEMORY:
        return size_parse(row, first, out, error);
    case OPTION_KIND_PERCENT:
        return percent_parse(row, first, out, error);
    case OPTION_KIND_ENUM:
        return enum_parse(row, input->words, input->word_count, out, error);
    case OPTION_KIND_STRING:
        return strings_parse(row, input->words, input->word_count, out, error);
    case OPTION_KIND_SPECIAL:
        return row->ops->parse(out, input, error);
    }
    UNREACHABLE();
}

bool value_parse(const struct option *row, const struct option_input *input, void *out,
                 struct buffer *error) {
    if (input->word_count == 0) return refuse(error, "wrong number of arguments");
    if (!row->multi_word || input->word_count != 1 || row->file_only) {
        return words_parse(row, input, out, error);
    }
    // One word such as "900 1": cut at every single space, so that a doubled one is an error.
    struct bytes text = input->words[0];
    size_t count = 1;
    for (size_t i = 0; i < text.len; i++)
        count += text.data[i] == ' ';
    struct bytes *words = mem_try_alloc(count * sizeof(*words));
    if (words == NULL) return refuse(error, "argument is too long");
    size_t start = 0;
    count = 0;
    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && text.data[i] != ' ') continue;
        words[count++] = bytes_of(text.data + start, i - start);
        start = i + 1;
    }
    struct option_input cut = *input;
    cut.words = words;
    cut.word_count = count;
    bool is_good = words_parse(row, &cut, out, error);
    mem_free(words);
    return is_good;
}

void value_init(const struct option *row, void *out) {
    if (row->field.kind == OPTION_KIND_STRING) {
        *(char **)out =
            bytes_copy_text(bytes_of_text(row->initial_text == NULL ? "" : row->initial_text));
        return;
    }
    if (row->field.kind != OPTION_KIND_SPECIAL) {
        number_write(row, out, row->range.initial);
        return;
    }
    if (row->initial_text == NULL) return;
    struct words words = {0};
    struct buffer error = {0};
    enum status status =
        words_split(&words, bytes_of_text(row->initial_text), CONFIG_LINE_WORDS_MAX);
    ASSERT(status == STATUS_OK);
    struct bytes empty = BYTES_LITERAL("");
    struct option_input input = {
        .words = words.count == 0 ? &empty : words.items,
        .word_count = words.count == 0 ? 1 : words.count,
        .current = out,
        .is_initial = true,
    };
    bool is_good = row->ops->parse(out, &input, &error);
    ASSERT(is_good);
    words_deinit(&words);
    buffer_deinit(&error);
}

void value_deinit(const struct option *row, void *field) {
    if (row->field.kind == OPTION_KIND_STRING) {
        mem_free(*(char **)field);
    } else if (row->field.kind == OPTION_KIND_SPECIAL && row->ops->deinit != NULL) {
        row->ops->deinit(field);
    }
    memset(field, 0, row->field.size);
}

static void enum_format(const struct option *row, int64_t value, struct buffer *out) {
    for (const struct option_choice *c = row->choices; c->name != NULL; c++) {
        if (c->value != value) continue;
        buffer_append_text(out, c->name);
        return;
    }
    const char *separator = "";
    for (const struct option_choice *c = row->choices; c->name != NULL; c++) {
        if (c->value == 0 || (value & c->value) != c->value) continue;
        buffer_append_format(out, "%s%s", separator, c->name);
        value &= ~(int64_t)c->value;
        separator = " ";
    }
}

/* Sizes in files are written with the largest unit that divides them. */
static void memory_format_units(uint64_t value, struct buffer *out) {
    static const char *const units[] = {"", "kb", "mb", "gb"};
    unsigned unit = 0;
    while (unit < 3 && value != 0 && value % 1024 == 0) {
        value /= 1024;
        unit++;
    }
    buffer_append_format(out, "%" PRIu64 "%s", value, units[unit]);
}

static void number_format(const struct option *row, const void *field, bool with_units,
                          struct buffer *out) {
    int64_t value = number_read(row, field);
    if (row->field.kind == OPTION_KIND_OCTAL) {
        buffer_append_format(out, "%" PRIo64, (uint64_t)value);
    } else if (row->field.kind == OPTION_KIND_PERCENT && value < 0) {
        buffer_append_format(out, "%" PRId64 "%%", -value);
    } else if (row->field.kind == OPTION_KIND_INT || row->field.kind == OPTION_KIND_UINT) {
        buffer_append_i64(out, value);
    } else if (with_units) {
        memory_format_units((uint64_t)value, out);
    } else {
        buffer_append_format(out, "%" PRIu64, (uint64_t)value);
    }
}

void value_format(const struct option *row, const void *field, struct buffer *out) {
    switch (row->field.kind) {
    case OPTION_KIND_BOOL:
        buffer_append_text(out, *(const bool *)field ? "yes" : "no");
        break;
    case OPTION_KIND_ENUM:
        enum_format(row, number_read(row, field), out);
        break;
    case OPTION_KIND_STRING:
        buffer_append_text(out, *(char *const *)field);
        break;
    case OPTION_KIND_SPECIAL:
        row->ops->format(field, out);
        break;
    default:
        number_format(row, field, false, out);
    }
}

bool value_format_line(const struct option *row, const void *field, size_t index,
                       struct buffer *out) {
    if (row->field.kind == OPTION_KIND_SPECIAL && row->ops->format_line != NULL) {
        return row->ops->format_line(field, index, out);
    }
    if (index > 0) return false;
    size_t start = out->len;
    switch (row->field.kind) {
    case OPTION_KIND_STRING: {
        const char *text = *(char *const *)field;
        // An empty value that is the initial one needs no line.
        if (text[0] == 0 && (row->initial_text == NULL || row->initial_text[0] == 0)) return false;
        words_append_quoted(out, bytes_of_text(text));
        break;
    }
    case OPTION_KIND_BOOL:
    case OPTION_KIND_ENUM:
    case OPTION_KIND_SPECIAL:
        value_format(row, field, out);
        break;
    default:
        number_format(row, field, true, out);
    }
    if (out->len == start) buffer_append_text(out, "\"\"");
    return true;
}

bool value_equal(const struct option *row, const void *a, const void *b) {
    bool by_lines = row->field.kind == OPTION_KIND_SPECIAL && row->ops->format == NULL;
    struct buffer text_a = {0};
    struct buffer text_b = {0};
    bool is_equal = true;
    for (size_t i = 0; is_equal; i++) {
        buffer_clear(&text_a);
        buffer_clear(&text_b);
        bool has_a = by_lines && value_format_line(row, a, i, &text_a);
        bool has_b = by_lines && value_format_line(row, b, i, &text_b);
        if (!by_lines) {
            value_format(row, a, &text_a);
            value_format(row, b, &text_b);
        }
        is_equal = has_a == has_b && bytes_equal(buffer_view(&text_a), buffer_view(&text_b));
        if (!has_a) break;
    }
    buffer_deinit(&text_a);
    buffer_deinit(&text_b);
    return is_equal;
}

bool value_is_initial(const struct option *row, const void *field) {
    void *initial = mem_alloc_zero(row->field.size);
    value_init(row, initial);
    bool is_equal = value_equal(row, field, initial);
    value_deinit(row, initial);
    mem_free(initial);
    return is_equal;
}

void value_describe_limits(const struct option *row, struct buffer *out) {
    // Only numbers have limits; other members may be wider than any number.
    bool is_number = row->field.size <= sizeof(uint64_t);
    uint64_t min = (uint64_t)row->range.min;
    uint64_t max = is_number ? value_max(row) : 0;
    switch (row->field.kind) {
    case OPTION_KIND_INT:
    case OPTION_KIND_UINT:
        buffer_append_format(out, "an integer from %" PRId64 " to %" PRId64, row->range.min,
                             (int64_t)max);
        break;
    case OPTION_KIND_OCTAL:
        buffer_append_format(out, "an octal number from %" PRIo64 " to %" PRIo64, min, max);
        break;
    case OPTION_KIND_MEMORY:
        buffer_append_format(out, "bytes, or a size such as 10mb, from %" PRIu64 " to %" PRIu64,
                             min, max);
        break;
    case OPTION_KIND_PERCENT:
        buffer_append_text(out, "bytes, a size such as 10mb, or 0% to 100% of maxmemory");
        break;
    default:
        break;
    }
}

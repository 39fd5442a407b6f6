/* The bitmap commands as rows: see command/command.h. */
#include "server/types/bitmap/bitmap_internal.h"

static const struct argument bitcount_index_index_unit_arguments[] = {
    {.name = "byte", .kind = ARGUMENT_PURE_TOKEN, .token = "BYTE"},
    {.name = "bit", .kind = ARGUMENT_PURE_TOKEN, .token = "BIT"},
    {.name = NULL},
};

static const struct argument bitcount_index_arguments[] = {
    {.name = "start", .kind = ARGUMENT_INTEGER},
    {.name = "end", .kind = ARGUMENT_INTEGER},
    {.name = "index_unit",
     .kind = ARGUMENT_ONE_OF,
     .is_optional = true,
     .since = "7.0.0",
     .children = bitcount_index_index_unit_arguments},
    {.name = NULL},
};

static const struct argument bitcount_arguments[] = {
    {.name = "key", .kind = ARGUMENT_KEY},
    {.name = "index",
     .kind = ARGUMENT_BLOCK,
     .is_optional = true,
     .children = bitcount_index_arguments},
    {.name = NULL},
};

static const struct argument bitfield_operation_encoding_offset_arguments[] = {
    {.name = "encoding", .kind = ARGUMENT_STRING},
    {.name = "offset", .kind = ARGUMENT_INTEGER},
    {.name = NULL},
};

static const struct argument bitfield_operation_write_wrap_sat_fail_arguments[] = {
    {.name = "wrap", .kind = ARGUMENT_PURE_TOKEN, .token = "WRAP"},
    {.name = "sat", .kind = ARGUMENT_PURE_TOKEN, .token = "SAT"},
    {.name = "fail", .kind = ARGUMENT_PURE_TOKEN, .token = "FAIL"},
    {.name = NULL},
};

static const struct argument
    bitfield_operation_write_write_operation_encoding_offset_value_arguments[] = {
        {.name = "encoding", .kind = ARGUMENT_STRING},
        {.name = "offset", .kind = ARGUMENT_INTEGER},
        {.name = "value", .kind = ARGUMENT_INTEGER},
        {.name = NULL},
};

static const struct argument
    bitfield_operation_write_write_operation_encoding_offset_increment_arguments[] = {
        {.name = "encoding", .kind = ARGUMENT_STRING},
        {.name = "offset", .kind = ARGUMENT_INTEGER},
        {.name = "increment", .kind = ARGUMENT_INTEGER},
        {.name = NULL},
};

static const struct argument bitfield_operation_write_write_operation_arguments[] = {
    {.name = "encoding_offset_value",
     .kind = ARGUMENT_BLOCK,
     .token = "SET",
     .children = bitfield_operation_write_write_operation_encoding_offset_value_arguments},
    {.name = "encoding_offset_increment",
     .kind = ARGUMENT_BLOCK,
     .token = "INCRBY",
     .children = bitfield_operation_write_write_operation_encoding_offset_increment_arguments},
    {.name = NULL},
};

static const struct argument bitfield_operation_write_arguments[] = {
    {.name = "wrap_sat_fail",
     .kind = ARGUMENT_ONE_OF,
     .token = "OVERFLOW",
     .is_optional = true,
     .children = bitfield_operation_write_wrap_sat_fail_arguments},
    {.name = "write_operation",
     .kind = ARGUMENT_ONE_OF,
     .children = bitfield_operation_write_write_operation_arguments},
    {.name = NULL},
};

static const struct argument bitfield_operation_arguments[] = {
    {.name = "encoding_offset",
     .kind = ARGUMENT_BLOCK,
     .token = "GET",
     .children = bitfield_operation_encoding_offset_arguments},
    {.name = "write", .kind = ARGUMENT_BLOCK, .children = bitfield_operation_write_arguments},
    {.name = NULL},
};

static const struct argument bitfield_arguments[] = {
    {.name = "key", .kind = ARGUMENT_KEY},
    {.name = "operation",
     .kind = ARGUMENT_ONE_OF,
     .is_optional = true,
     .is_multiple = true,
     .children = bitfield_operation_arguments},
    {.name = NULL},
};

static const struct argument bitfield_ro_arguments[] = {
    {.name = "key", .kind = ARGUMENT_KEY},
    {.name = "encoding_offset",
     .kind = ARGUMENT_BLOCK,
     .token = "GET",
     .is_optional = true,
     .is_multiple = true,
     .is_multiple_token = true,
     .children = bitfield_operation_encoding_offset_arguments},
    {.name = NULL},
};

static const struct argument bitop_arguments[] = {
    {.name = "operation", .kind = ARGUMENT_STRING},
    {.name = "destkey", .kind = ARGUMENT_KEY},
    {.name = "key", .kind = ARGUMENT_KEY, .is_multiple = true, .key_spec = 1},
    {.name = NULL},
};

static const struct argument bitpos_index_end_index_arguments[] = {
    {.name = "end", .kind = ARGUMENT_INTEGER},
    {.name = "index_unit",
     .kind = ARGUMENT_ONE_OF,
     .is_optional = true,
     .since = "7.0.0",
     .children = bitcount_index_index_unit_arguments},
    {.name = NULL},
};

static const struct argument bitpos_index_arguments[] = {
    {.name = "start", .kind = ARGUMENT_INTEGER},
    {.name = "end_index",
     .kind = ARGUMENT_BLOCK,
     .is_optional = true,
     .children = bitpos_index_end_index_arguments},
    {.name = NULL},
};

static const struct argument bitpos_arguments[] = {
    {.name = "key", .kind = ARGUMENT_KEY},
    {.name = "bit", .kind = ARGUMENT_INTEGER},
    {.name = "index",
     .kind = ARGUMENT_BLOCK,
     .is_optional = true,
     .children = bitpos_index_arguments},
    {.name = NULL},
};

static const struct argument getbit_arguments[] = {
    {.name = "key", .kind = ARGUMENT_KEY},
    {.name = "offset", .kind = ARGUMENT_INTEGER},
    {.name = NULL},
};

static const struct argument setbit_arguments[] = {
    {.name = "key", .kind = ARGUMENT_KEY},
    {.name = "offset", .kind = ARGUMENT_INTEGER},
    {.name = "value", .kind = ARGUMENT_INTEGER},
    {.name = NULL},
};

const struct command bitmap_commands[] = {
    {
        .name = "bitcount",
        .arity = -2,
        .group = GROUP_BITMAP,
        .class = COMMAND_CLASS_KEYS,
        .flags = COMMAND_READONLY,
        .categories = CATEGORY_BITMAP,
        .keys = {{.begin = KEY_BEGIN_INDEX, .index = 1, .step = 1, .flags = KEY_RO | KEY_ACCESS}},
        .handler = bitmap_bitcount,
        .since = "2.6.0",
        .summary = "Number of one bits in a string or in a byte/bit window.",
        .complexity = "O(N)",
        .arguments = bitcount_arguments,
    },
    {
        .name = "bitfield",
        .arity = -2,
        .group = GROUP_BITMAP,
        .class = COMMAND_CLASS_KEYS,
        .flags = COMMAND_DENY_OOM | COMMAND_WRITE,
        .categories = CATEGORY_BITMAP,
        .keys = {{.begin = KEY_BEGIN_INDEX,
                  .index = 1,
                  .step = 1,
                  .flags = KEY_RW | KEY_ACCESS | KEY_UPDATE | KEY_VARIABLE_FLAGS,
                  .notes = "This command allows both access and modification of the key"}},
        .handler = bitmap_bitfield,
        .key_flags = bitmap_bitfield_key_flags,
        .since = "3.2.0",
        .summary = "Read, write and add packed integers inside a string.",
        .complexity = "O(1)",
        .arguments = bitfield_arguments,
    },
    {
        .name = "bitfield_ro",
        .arity = -2,
        .group = GROUP_BITMAP,
        .class = COMMAND_CLASS_KEYS,
        .flags = COMMAND_FAST | COMMAND_READONLY,
        .categories = CATEGORY_BITMAP,
        .keys = {{.begin = KEY_BEGIN_INDEX, .index = 1, .step = 1, .flags = KEY_RO | KEY_ACCESS}},
        .handler = bitmap_bitfield_ro,
        .since = "6.0.0",
        .summary = "GET-only form of BITFIELD, allowed on replicas.",
        .complexity = "O(1)",
        .arguments = bitfield_ro_arguments,
    },
    {
        .name = "bitop",
        .arity = -4,
        .group = GROUP_BITMAP,
        .class = COMMAND_CLASS_KEYS,
        .flags = COMMAND_DENY_OOM | COMMAND_WRITE,
        .categories = CATEGORY_BITMAP,
        .keys = {{.begin = KEY_BEGIN_INDEX, .index = 2, .step = 1, .flags = KEY_OW | KEY_UPDATE},
                 {.begin = KEY_BEGIN_INDEX,
                  .index = 3,
                  .last = -1,
                  .step = 1,
                  .flags = KEY_RO | KEY_ACCESS}},
        .handler = bitmap_bitop,
        .since = "2.6.0",
        .summary = "AND, OR, XOR or NOT whole strings into a destination key.",
        .complexity = "O(N)",
        .arguments = bitop_arguments,
    },
    {
        .name = "bitpos",
        .arity = -3,
        .group = GROUP_BITMAP,
        .class = COMMAND_CLASS_KEYS,
        .flags = COMMAND_READONLY,
        .categories = CATEGORY_BITMAP,
        .keys = {{.begin = KEY_BEGIN_INDEX, .index = 1, .step = 1, .flags = KEY_RO | KEY_ACCESS}},
        .handler = bitmap_bitpos,
        .since = "2.8.7",
        .summary = "Offset of the first 0 or 1 bit, optionally inside a window.",
        .complexity = "O(N)",
        .arguments = bitpos_arguments,
    },
    {
        .name = "getbit",
        .arity = 3,
        .group = GROUP_BITMAP,
        .class = COMMAND_CLASS_KEYS,
        .flags = COMMAND_FAST | COMMAND_READONLY,
        .categories = CATEGORY_BITMAP,
        .keys = {{.begin = KEY_BEGIN_INDEX, .index = 1, .step = 1, .flags = KEY_RO | KEY_ACCESS}},
        .handler = bitmap_getbit,
        .since = "2.2.0",
        .summary = "Read one bit.",
        .complexity = "O(1)",
        .arguments = getbit_arguments,
    },
    {
        .name = "setbit",
        .arity = 4,
        .group = GROUP_BITMAP,
        .class = COMMAND_CLASS_KEYS,
        .flags = COMMAND_DENY_OOM | COMMAND_WRITE,
        .categories = CATEGORY_BITMAP,
        .keys = {{.begin = KEY_BEGIN_INDEX,
                  .index = 1,
                  .step = 1,
                  .flags = KEY_RW | KEY_ACCESS | KEY_UPDATE}},
        .handler = bitmap_setbit,
        .since = "2.2.0",
        .summary = "Write one bit, giving the former one.",
        .complexity = "O(1)",
        .arguments = setbit_arguments,
    },
    COMMAND_END,
};

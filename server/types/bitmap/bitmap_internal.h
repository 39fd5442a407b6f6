/* The handlers that the rows name. */
#pragma once

#include "server/command/context.h"
#include "server/types/bitmap/bitmap.h"

/* Reads an argument as the offset of a bit; "#n" counts integers of `width` bits (0: not allowed).
 * False after the error was answered. */
bool bitmap_parse_offset(struct command_context *context, uint32_t argument, unsigned width,
                         uint64_t *out);

/* bitmap_commands.c */
void bitmap_setbit(struct command_context *context);
void bitmap_getbit(struct command_context *context);
void bitmap_bitcount(struct command_context *context);
void bitmap_bitpos(struct command_context *context);
void bitmap_bitop(struct command_context *context);

/* bitmap_field.c */
uint32_t bitmap_bitfield_key_flags(const struct bytes *argv, uint32_t argc, uint32_t index);
void bitmap_bitfield(struct command_context *context);
void bitmap_bitfield_ro(struct command_context *context);
